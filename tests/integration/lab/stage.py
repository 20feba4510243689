"""A server and a crowd that never ceases, and all that the server has promised it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from promises import Promises

from dhcptwist.testing import FakeClient
from dhcptwist.wire import Message, MessageType
from lab.capture import Capture
from lab.hosts import Host, Lab, end, wait_until
from lab.server import Server, subnet
from lab.strace import Strace


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK = MessageType.OFFER, MessageType.ACK

US, CROWD, RELAY = "10.1.0.1", "10.1.0.2", "10.1.0.3"

HOUR = 3600

_CLONE_NEWNET = 0x40000000


def socket_on(host: Host) -> socket.socket:
    """Make a UDP socket that is on a machine, though we are not."""
    made: list[socket.socket] = []

    def make() -> None:
        # A thread may move where its process stays; a socket remains where it was made.
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", host.namespace).open("rb") as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    thread = Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


class Relay:
    """A relay beside the crowd, with a few clients of whom a test knows more."""

    def __init__(self, host: Host) -> None:
        self.socket = socket_on(host)
        self.socket.bind((RELAY, 67))
        self._seen = 0

    def client(self) -> FakeClient:
        """One more client."""
        self._seen += 1
        return FakeClient(f"02:aa:00:00:00:{self._seen:02x}", giaddr=RELAY)

    def send(self, message: Message) -> None:
        """Forward a message to the server."""
        self.socket.sendto(message.encode(), (US, 67))

    def receive(self, patience: float) -> Message | None:
        """Give the next reply, or None if there is none for so many seconds."""
        self.socket.settimeout(patience)
        try:
            return Message.decode(self.socket.recv(4096))
        except TimeoutError:
            return None

    def ask(self, message: Message, patience: float = 10.0) -> Message | None:
        """Forward a message, and give the reply to it; others are passed over."""
        self.send(message)
        while (reply := self.receive(patience)) is not None:
            if (reply.xid, reply.raw[28:34]) == (message.xid, message.raw[28:34]):
                return reply
        return None

    def bind(self, who: FakeClient) -> Message:
        """Give the ACK of a whole exchange."""
        offer = self.ask(who.message(DISCOVER))
        assert offer is not None, "no offer"
        taken = {50: offer.raw[16:20], 54: offer.options[54]}
        ack = self.ask(who.message(REQUEST, options=taken))
        assert ack is not None, "no answer to a REQUEST"
        assert ack.type == ACK, ack
        return ack


class Holders:
    """A few clients that have a lease each, and come back for more time."""

    def __init__(self, relay: Relay, count: int) -> None:
        self._relay = relay
        self._leases = []
        for _ in range(count):
            who = relay.client()
            self._leases.append((who, relay.bind(who).yiaddr))

    def renew(self) -> list[int]:
        """Renew all leases, and give the seconds that each was granted."""
        return [self._granted(who, address) for who, address in self._leases]

    def _granted(self, who: FakeClient, address: int) -> int:
        reply = self._relay.ask(who.message(REQUEST, ciaddr=address))
        assert reply is not None, "a client that has a lease gets no answer"
        assert reply.type == ACK, reply
        assert reply.yiaddr == address, reply
        return int.from_bytes(reply.options[51], "big")


class Stage:
    """Two machines and a wire: the server, and all its clients behind relays.

    Attributes:
        server: Not started yet.
        promises: Every ACK that was on the wire, once `hear` has been called.
    """

    def __init__(self, lab: Lab, storage: str = "sqlite:leases.sqlite") -> None:
        self.host = lab.host("server")
        self.crowd = lab.host("crowd")
        lab.wire(self.host, "s0", self.crowd, "c0")
        self.host.ip("addr", "add", f"{US}/16", "dev", "s0")
        for address in (CROWD, RELAY):
            self.crowd.ip("addr", "add", f"{address}/16", "dev", "c0")
        self.server = Server(self.host, storage=storage)
        self.promises = Promises()
        self._capture = Capture(self.crowd, "c0")
        self._asked: dict[tuple[bytes, int], float] = {}
        self._loads = 0
        self._open = ExitStack()

    def close(self) -> None:
        """Stop what is not the lab's to stop."""
        self._open.close()
        self.server.stop()

    @property
    def state(self) -> Path:
        """The server's state directory."""
        return self.server.state

    def begin(self) -> None:
        """Start the server, and do not wait until it serves."""
        self.server.begin(
            subnet(
                network="10.1.0.0/16",
                pools="10.1.4.0 - 10.1.250.255",
                router=US,
                lease_time="1h",
            )
        )

    def start(self) -> None:
        """Start the server."""
        self.begin()
        self.server.wait()

    def holders(self, count: int = 5) -> Holders:
        """Let a few clients get their leases."""
        relay = Relay(self.crowd)
        self._open.enter_context(relay.socket)
        return Holders(relay, count)

    def strace(self, log: Path, *options: str) -> Strace:
        """Watch the server from now on."""
        strace = Strace(log, *options)
        self._open.callback(strace.stop)
        strace.attach(self.server.pid)
        return strace

    def load(self, rate: int, clients: int = 20000) -> Load:
        """Let the crowd loose: so many DORAs a second, until it is called off."""
        self._loads += 1
        # Those of one crowd are not those of another.
        return Load(self.crowd, rate, clients, f"02:0c:{self._loads:02x}:00:00:00")

    def wait_for_acks(self, acks: int) -> None:
        """Wait until there have been so many more."""
        heard = 0

        def enough() -> bool:
            nonlocal heard
            heard += self.hear()
            return heard >= acks

        wait_until(enough, f"{acks} ACKs", 60)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold all threads of the server still, wherever they are."""
        pid = self.server.pid

        def still() -> bool:
            states = (
                (task / "stat").read_text().rpartition(")")[2].split()[0]
                for task in Path(f"/proc/{pid}/task").iterdir()
            )
            return set(states) == {"T"}

        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(still, "the server to stand still")
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def hear(self) -> int:
        """Note all ACKs that have passed since the last call, and count them.

        The server's clock was read after the client's REQUEST passed here, so a lease
        must not end before that moment and its length.
        """
        heard = 0
        for passed, data in self._capture.datagrams():
            message = Message.decode(data)
            who = message.raw[28:34], message.xid
            if message.type == REQUEST:
                self._asked.setdefault(who, passed)
            elif message.type == ACK:
                heard += 1
                lasts = int.from_bytes(message.options[51], "big")
                ends = self._asked[who] + lasts
                self.promises.note(who[0], message.yiaddr, ends)
        return heard


class Load:
    """perfdhcp, which goes on whether there is a server or not."""

    def __init__(self, host: Host, rate: int, clients: int, hardware: str) -> None:
        self._said = host.directory / "perfdhcp.txt"
        self._process = host.start(
            "perfdhcp", "-4", "-B", "-g", "single", "-l", CROWD,
            "-r", str(rate), "-R", str(clients), "-b", f"mac={hardware}",
            "-p", "3600", US,
            output=self._said,
        )  # fmt: skip

    def check(self) -> None:
        """See that it is still there."""
        assert self._process.poll() is None, self._said.read_text("utf-8", "replace")

    def stop(self) -> None:
        """Call it off."""
        self.check()
        end(self._process)


def wait_for_log(server: Server, text: str, patience: float = 60.0) -> None:
    """Wait until the server has logged something."""
    wait_until(lambda: text in server.log, f"the log to say {text!r}", patience)
