"""A client for scripts: the same calls, and each returns when it is done.

with blocking.connect("dhcp.example.org:6768", "netbox.pem") as client:
    print(client.reserve("192.0.2.50", hardware="00:11:22:33:44:55").outcome)

It needs no reactor, and only one thread may use one at a time.
"""

from __future__ import annotations

import functools
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.protocols import amp

from . import commands, tls
from .client import ControlClient
from .connecting import NoServer, NotAccepted, WrongServer, host_and_port


P = ParamSpec("P")
T = TypeVar("T")


def connect(
    server: str, identity: str | Path | None = None, timeout: float = 10.0
) -> BlockingClient:
    """Connect to a server.

    Args:
        server: ``HOST:PORT``, ``HOST`` or ``unix:PATH``.
        identity: File with our certificate and key, and the authority's certificate;
            needed for all but ``unix:``.
        timeout: Seconds to wait for a connection, and for each answer.

    Raises:
        NoServer: There is none.
        WrongServer: It is not the one of this name.
        UnusableIdentity: The file cannot be used.
        ValueError: The server's name makes no sense.
    """
    path = None if identity is None else Path(identity)
    return BlockingClient(_Calls(_Line(server, path, timeout)))


class _Line:
    """A socket, and the boxes that go over it."""

    def __init__(self, server: str, identity: Path | None, seconds: float) -> None:
        self._server = server
        self.seconds = seconds
        self._unread = bytearray()
        self._numbers = count(1)
        self.told: deque[amp.AmpBox] = deque()
        try:
            self._socket = _opened(server, identity, seconds)
        except OSError as error:
            raise self._no_server(error) from error

    def ask(
        self, command: type[amp.Command], given: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Call a command, and wait for its answer, as long as that."""
        box = command.makeArguments(given, None)
        number = b"%x" % next(self._numbers)
        box[amp.COMMAND] = command.commandName
        box[amp.ASK] = number
        self.send(box)
        while True:
            answer = self.receive(seconds)
            if answer.get(amp.ANSWER) == number:
                found: dict[str, Any] = command.parseResponse(answer, None)
                return found
            if answer.get(amp.ERROR) == number:
                code = answer[amp.ERROR_CODE]
                if code == amp.UNHANDLED_ERROR_CODE:
                    raise amp.UnhandledCommand
                words = answer[amp.ERROR_DESCRIPTION].decode("utf-8", "replace")
                kinds: dict[bytes, type[Exception]] = command.reverseErrors  # type: ignore[attr-defined] # amp makes it
                raise kinds.get(code, NoServer)(words)
            self.told.append(answer)

    def send(self, box: amp.AmpBox) -> None:
        """Send a box."""
        try:
            self._socket.sendall(box.serialize())
        except OSError as error:
            raise self._no_server(error) from error

    def receive(self, seconds: float | None) -> amp.AmpBox:
        """The next box, however long it takes if no time is given."""
        box = amp.AmpBox()
        self._socket.settimeout(seconds)
        while key := self._string():
            self._socket.settimeout(self.seconds)
            box[key] = self._string()
        return box

    def _string(self) -> bytes:
        size = int.from_bytes(self._read(2), "big")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        while len(self._unread) < size:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise self._no_server(error) from error
            if not data:
                raise NoServer(f"the server at {self._server} closed the connection")
            self._unread += data
        found = bytes(self._unread[:size])
        del self._unread[:size]
        return found

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _no_server(self, error: OSError) -> NoServer:
        where = f"the server at {self._server}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return WrongServer(
                f"{where} has another certificate: {error.verify_message}"
            )
        if isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason):
            return NotAccepted(
                f"{where} does not accept this certificate: {error.reason}"
            )
        if isinstance(error, TimeoutError):
            return NoServer(f"{where} does not answer")
        return NoServer(f"{where} cannot be reached: {error.strerror or error}")


def _opened(server: str, identity: Path | None, seconds: float) -> socket.socket:
    if server.startswith("unix:"):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(seconds)
        try:
            plain.connect(server.removeprefix("unix:"))
        except BaseException:
            plain.close()
            raise
        return plain
    host, port = host_and_port(server)
    if identity is None:
        raise tls.UnusableIdentity("a certificate is needed to talk to a server")
    context = _context(identity)
    plain = socket.create_connection((host, port), seconds)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _context(identity: Path) -> ssl.SSLContext:
    tls.client_options(identity, "localhost")  # says what is wrong with the file
    trusted = x509.load_pem_x509_certificates(identity.read_bytes())[-1]
    context = ssl.create_default_context(
        cadata=trusted.public_bytes(Encoding.PEM).decode("ascii")
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(identity)
    return context


class _Calls(ControlClient):
    """Calls that never wait for a reactor."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self._timeout = line.seconds
        self._server = line._server  # noqa: SLF001 - these two are one

    async def _ask(
        self, command: type[amp.Command], given: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        return self.line.ask(command, given, seconds)

    async def _pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks: that is what it is for


def _now(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingClient, P], T]:
    """A call that returns when it is done."""

    @functools.wraps(method)
    def call(self: BlockingClient, *given: P.args, **named: P.kwargs) -> T:
        return _result(method(self.calls, *given, **named))

    return call  # type: ignore[return-value] # ``self`` has a name


def _all(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[BlockingClient, P], list[T]]:
    """A list of all pages."""

    @functools.wraps(method)
    def call(self: BlockingClient, *given: P.args, **named: P.kwargs) -> list[T]:
        async def everything() -> list[T]:
            return [each async for each in method(self.calls, *given, **named)]

        return _result(everything())

    return call  # type: ignore[return-value] # as above


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    raise AssertionError("a call waited for something")


class BlockingClient:
    """One connection to a server; made by `connect`.

    Each call does what that of `client.ControlClient` does, and raises the same errors;
    what gives pages there is a list here.
    """

    def __init__(self, calls: _Calls) -> None:
        self.calls = calls

    reserve = _now(ControlClient.reserve)
    cancel = _now(ControlClient.cancel)
    change = _now(ControlClient.change)
    replace = _now(ControlClient.replace)
    replaced = _all(ControlClient.replaced)
    reservations = _all(ControlClient.reservations)
    sources = _now(ControlClient.sources)
    leases = _all(ControlClient.leases)
    find = _now(ControlClient.find)
    revoke = _now(ControlClient.revoke)
    import_leases = _now(ControlClient.import_leases)
    history = _all(ControlClient.history)
    status = _now(ControlClient.status)
    new_identity = _now(ControlClient.new_identity)
    identities = _all(ControlClient.identities)
    revoke_identity = _now(ControlClient.revoke_identity)
    explain = _now(ControlClient.explain)
    reload = _now(ControlClient.reload)

    def watch(
        self, after: int | None = None, kinds: list[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Everything that happens, as it happens; a connection can do so once.

        Args:
            after: The number of the last event that is known; None for from now on.
            kinds: Only these, like ``bound``; None for all.
        """
        # Asked at once: what happens from here on is told, whenever that is looked at.
        asked = self.calls._call(commands.WatchEvents, after=after, kinds=kinds)  # noqa: SLF001
        return self._events(_result(asked)["number"])

    def _events(self, number: int) -> Iterator[dict[str, Any]]:
        line = self.calls.line
        while True:
            box = line.told.popleft() if line.told else line.receive(None)
            told = commands.Events.parseArguments(box, None)
            if told.get("lost"):
                lost = told["lost"]
                yield {"kind": "lost", "number": number + lost, "lost": lost}
            yield from told["events"]
            number = told["number"]
            line.send(amp.AmpBox({amp.ANSWER: box[amp.ASK]}))

    def close(self) -> None:
        """Close the connection."""
        self.calls.line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
