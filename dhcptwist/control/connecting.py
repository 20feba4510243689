"""How a client reaches a server, and why it does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import Deferred, TimeoutError as TooLate
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from . import commands, tls
from .watch import Batches


#: The port where a server is if none is named.
PORT = 6768


class NoServer(Exception):  # noqa: N818 - it says what, not that
    """There is no server, or it went away; what was asked may or may not be done."""


class WrongServer(NoServer):
    """The server's certificate is for another name, or from another authority."""


class NotAccepted(NoServer):
    """The server does not accept our certificate."""


@implementer(IHandshakeListener)
class Connection(amp.AMP):
    """Knows when the other side has proved who it is, and why it went away."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.ready: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.batches = Batches()

    @commands.Events.responder
    def events(
        self, events: list[dict[str, Any]], number: int, lost: int | None = None
    ) -> Deferred[dict[str, Any]]:
        """See `commands.Events`: answered when they have been looked at."""
        return self.batches.put(events, number, lost or 0)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self.ready.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        if not self.ready.called:
            self.ready.errback(reason)
        super().connectionLost(reason)
        self.gone.callback(None)
        self.batches.end(reason)


async def open_connection(
    reactor: Any, server: str, identity: Path | None, seconds: float
) -> Connection:
    """A connection whose other side has proved who it is; see `client.connect`."""
    endpoint = endpoint_of(reactor, server, identity, seconds)
    protocol = Connection()
    try:
        await connectProtocol(endpoint, protocol)
        if server.startswith("unix:"):
            protocol.handshakeCompleted()  # there is none
        await protocol.ready.addTimeout(seconds, reactor)
    except Exception as error:
        if protocol.transport is not None:
            protocol.transport.abortConnection()
        raise no_server(error, server) from error
    return protocol


def endpoint_of(
    reactor: Any, server: str, identity: Path | None, seconds: float
) -> Any:
    """Where a server is to be reached.

    Raises:
        UnusableIdentity: The file cannot be used.
        ValueError: The server's name makes no sense.
    """
    if server.startswith("unix:"):
        path = server.removeprefix("unix:")
        return UNIXClientEndpoint(reactor, path, timeout=seconds)
    host, port = host_and_port(server)
    if identity is None:
        raise tls.UnusableIdentity("a certificate is needed to talk to a server")
    options = tls.client_options(identity, host)
    plain = HostnameEndpoint(reactor, host.encode("idna"), port, timeout=seconds)
    return wrapClientTLS(options, plain)


def host_and_port(server: str) -> tuple[str, int]:
    """What ``HOST:PORT`` or ``HOST`` names.

    Raises:
        ValueError: It is neither.
    """
    server = server.removeprefix("tcp:")
    host, colon, port = server.rpartition(":")
    # An IPv6 address has colons of its own; with a port it stands in brackets.
    if not colon or "]" in port or (":" in host and not host.startswith("[")):
        host, port = server, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{server!r} is neither HOST:PORT nor unix:PATH")
    return host, int(port)


def no_server(error: Exception, server: str) -> Exception:
    """An error of the connection as one of ours, with words for people."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, VerificationError):
            return WrongServer(
                f"the server at {server} has a certificate for another name; use the"
                " name or address that stands in it"
            )
        if isinstance(cause, SSLError):
            return _not_trusted(cause, server)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ConnectError):
        number = error.osError
        reason = os.strerror(number) if isinstance(number, int) else error
        return NoServer(f"there is no server at {server}: {reason}")
    if isinstance(error, TooLate):
        return NoServer(f"the server at {server} does not answer")
    return NoServer(f"the server at {server} cannot be reached: {error}")


def _not_trusted(error: SSLError, server: str) -> Exception:
    words = " ".join(str(part) for reason in error.args for part in _flat(reason))
    if "alert" in words and "expired" in words:
        return NotAccepted(
            f"the server at {server} does not accept this certificate: it has ended"
        )
    if "alert" in words:
        return NotAccepted(
            f"the server at {server} does not accept this certificate: it is not from"
            " its authority"
        )
    if "verify failed" in words or "unknown" in words:
        return WrongServer(
            f"the server at {server} has a certificate from another authority than"
            " ours, or one that has ended: it is another server, or its certificates"
            " were made anew"
        )
    return NoServer(f"the server at {server} does not speak TLS as we do: {words}")


def _flat(reason: Any) -> list[Any]:
    if isinstance(reason, list | tuple):
        return [part for each in reason for part in _flat(each)]
    return [reason]
