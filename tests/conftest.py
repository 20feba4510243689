"""What every test gets: no error is lost, and no test needs root unasked."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import greenlet
import pytest
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dhcptwist.config import Config, parse
from dhcptwist.testing import FakeClient
from dhcptwist.wire import Message, MessageType


ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # for disks, beside this file

SITE = """
[server]
interfaces = lo
port = {port}
state = {state}
storage = {storage}

[control]
listen = {listen}

[subnet far]
network = 127.7.0.0/16
pools = {pools}
relays = 127.0.0.2
lease-time = 1h
"""


class LoggedFailures(list[Failure]):
    """The failures that were logged during one test.

    A lost error of a Deferred, or an exception inside `datagramReceived`, ends up
    in Twisted's log and nowhere else, where a plain pytest function would pass.
    """

    def __call__(self, event: LogEvent) -> None:
        """Observe one log event."""
        # "log_failure" is what Logger.failure() says, "failure" the older log.err().
        failure = event.get("log_failure") or event.get("failure")
        if failure is None:
            return
        waiting = greenlet.getcurrent().parent
        if waiting is not None and failure.check(pytest.fail.Exception):
            # pytest-timeout interrupted a test that awaits something for ever.  The
            # reactor has caught that, and would go on; tell pytest, which waits in
            # the greenlet that pytest-twisted started the reactor from.
            waiting.throw(failure.value)
        else:
            self.append(failure)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Take out the failures of these types, which the test expects.

        A Deferred that is dropped with its error logs it when it is collected; call
        `gc.collect()` first if it may be part of a cycle.
        """
        expected = [failure for failure in self if failure.check(*types)]
        self[:] = [failure for failure in self if failure not in expected]
        return expected


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    """Fail a test that loses an error, or leaves a timer behind.

    Being automatic it is set up before, and so torn down after, the other fixtures
    of a test: they may still clean up what they have started.
    """
    # Late: pytest-twisted installs the reactor, after this file has been imported.
    from twisted.internet import reactor

    observer = LoggedFailures()
    if isinstance(request.instance, SynchronousTestCase):
        yield observer  # trial's own cases look after themselves
        return

    timers = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(observer)
    try:
        yield observer
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observer)
        left = [call for call in reactor.getDelayedCalls() if call not in timers]
        for call in left:
            call.cancel()
    assert not observer, "\n".join(failure.getTraceback() for failure in observer)
    assert not left, f"timers left behind: {left}"


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What is logged that somebody should see, as text."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def pytest_collection_finish() -> None:
    """Make the `gc.collect()` after each test cheap.

    Modules and collected tests live until the end; looking through them again after
    every test would take most of the time of a quick one.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, but never in CI: there it shall fail."""
    if os.environ.get("CI"):
        return
    if not sys.platform.startswith("linux"):
        reason = "network namespaces exist on Linux only"
    elif os.geteuid() != 0:
        reason = "network namespaces need root: run it again with sudo"
    else:
        return
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.skip(reason=reason))


class Relay:
    """A relay at 127.0.0.2 and the clients behind it, in one socket.

    Args:
        port: The server's, at 127.0.0.1; a relay has the same.
    """

    ADDRESS = "127.0.0.2"

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # The server's sockets hold the port for every address, and share it so.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((self.ADDRESS, port))

    def send(self, message: Message | bytes) -> None:
        """Forward a message to the server."""
        data = message if isinstance(message, bytes) else message.encode()
        self.socket.sendto(data, self._server)

    def receive(self, patience: float = 10.0) -> Message | None:
        """Give the next reply, or None if there is none for so many seconds."""
        self.socket.settimeout(patience)
        try:
            return Message.decode(self.socket.recv(65536))
        except (TimeoutError, BlockingIOError):
            return None

    def ask(self, message: Message) -> Message:
        """Forward a message and give the reply to it; others are passed over."""
        self.send(message)
        while (reply := self.receive()) is not None:
            if (reply.xid, reply.raw[28:44]) == (message.xid, message.raw[28:44]):
                return reply
        raise AssertionError(f"no answer to {message}")

    def bind(self, who: FakeClient) -> Message:
        """Give the ACK of a whole exchange; the client's giaddr must be ours."""
        offer = self.ask(who.message(MessageType.DISCOVER))
        assert offer.type == MessageType.OFFER, offer
        taken = {50: offer.raw[16:20], 54: offer.options[54]}
        ack = self.ask(who.message(MessageType.REQUEST, options=taken))
        assert ack.type == MessageType.ACK, ack
        return ack


class Site:
    """A configuration on loopback with a port of its own, and a server for it.

    Args:
        directory: Where everything lies.
        pools, storage, listen: What the configuration says.
        path: Where the server finds modules beside this checkout's.

    Attributes:
        port: The server's port.
        state: The state directory.
        ini: The configuration's text.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pools: str = "127.7.0.10 - 127.7.0.250",
        storage: str = "sqlite:leases.sqlite",
        listen: str = "",
        path: Path = ROOT,
    ) -> None:
        self.directory = directory
        self.environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{path}"}
        self.port = free_port()
        self.state = directory / "state"
        self.ini = SITE.format(
            port=self.port,
            state=self.state,
            storage=storage,
            listen=listen,
            pools=pools,
        )
        self._open = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Config:
        """The configuration, read."""
        return parse(self.ini)

    @property
    def log(self) -> str:
        """What the server's process has logged, over all its starts."""
        path = self.directory / "twistd.log"
        return path.read_text("utf-8") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    def relay(self) -> Relay:
        """Put up a relay; the server must be there already, for it wants the port."""
        relay = Relay(self.port)
        self._open.enter_context(relay.socket)
        return relay

    def client(self, number: int) -> FakeClient:
        """Give a client behind the relay."""
        hardware = (0x02 << 40 | number).to_bytes(6, "big").hex(":")
        return FakeClient(hardware, giaddr=Relay.ADDRESS)

    def start(self) -> None:
        """Start a process with the server, and wait until it serves."""
        path = self.directory / "dhcp.ini"
        path.write_text(self.ini, encoding="utf-8")
        before = self.log.count("dhcptwist is serving")
        log = self.directory / "twistd.log"
        self._process = subprocess.Popen(
            [
                Path(sys.executable).with_name("twistd"),
                "--nodaemon",
                "--pidfile=",
                f"--logfile={log}",
                "dhcp",
                f"--config={path}",
            ],
            cwd=self.directory,
            env=self.environment,
        )
        end = monotonic() + 30
        while self.log.count("dhcptwist is serving") == before:
            assert self._process.poll() is None, self.log
            assert monotonic() < end, self.log
            Event().wait(0.02)

    def stop(self) -> int:
        """End the process as an administrator would, and give its exit status."""
        assert self._process is not None, "it has not been started"
        self._process.terminate()
        status = self._process.wait(20)
        self._process = None
        return status

    def kill(self) -> None:
        """End the process without a warning, as ``kill -9`` does."""
        assert self._process is not None, "it has not been started"
        self._process.kill()
        self._process.wait(20)
        self._process = None

    def close(self) -> None:
        """Stop and close whatever is left."""
        self._open.close()
        if self._process is not None:
            self.kill()


def free_port() -> int:
    """Find a port that nobody has, and whose neighbour above is free for clients."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("", 0))
            port = server.getsockname()[1]
            try:
                client.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Give a maker of sites; each has its own port and directory."""
    sites: list[Site] = []

    def make(**keys: Any) -> Site:
        directory = tmp_path / f"site{len(sites)}"
        directory.mkdir()
        sites.append(Site(directory, **keys))
        return sites[-1]

    yield make
    for site in sites:
        site.close()
