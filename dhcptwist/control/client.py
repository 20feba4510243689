"""Calls the commands: an asynchronous API for other programs.

client = await connect(reactor, "dhcp.example.org:6768", Path("netbox.pem"))
verdict = await client.reserve("192.0.2.50", hardware="00:11:22:33:44:55")
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from . import commands, tls
from .errors import (
    AddressInUse,
    CommandError,
    InvalidRequest,
    NotFound,
    NotPermitted,
    NotSupported,
    ReservedByOther,
    StorageFailed,
)
from .watch import Batches, Watch


__all__ = [
    "AddressInUse",
    "CommandError",
    "ControlClient",
    "InvalidRequest",
    "NoServer",
    "NotAccepted",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "ReservedByOther",
    "StorageFailed",
    "Verdict",
    "Watch",
    "WrongServer",
    "connect",
]

#: The port where a server is if none is named.
PORT = 6768


class NoServer(Exception):  # noqa: N818 - it says what, not that
    """There is no server, or it went away; what was asked may or may not be done."""


class WrongServer(NoServer):
    """The server's certificate is for another name, or from another authority."""


class NotAccepted(NoServer):
    """The server does not accept our certificate."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reservation really did.

    Attributes:
        outcome: ``applied``: in force with the next packet; ``waiting``: somebody has
            the address still.
        holder: Who has it; empty when applied.
        until: When the holder's time ends, in seconds since 1970; None for never, and
            when applied.
    """

    outcome: str
    holder: str
    until: float | None


async def connect(
    reactor: Any,
    server: str,
    identity: Path | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - Twisted has no asyncio.timeout
) -> ControlClient:
    """Connect to a server.

    Args:
        reactor: The reactor.
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
    if server.startswith("unix:"):
        path = server.removeprefix("unix:")
        endpoint: Any = UNIXClientEndpoint(reactor, path, timeout=timeout)
    else:
        host, port = _host_and_port(server)
        if identity is None:
            raise tls.UnusableIdentity("a certificate is needed to talk to a server")
        options = tls.client_options(identity, host)
        plain = HostnameEndpoint(reactor, host.encode("idna"), port, timeout=timeout)
        endpoint = wrapClientTLS(options, plain)
    protocol = _Connection()
    try:
        await connectProtocol(endpoint, protocol)
        if server.startswith("unix:"):
            protocol.handshakeCompleted()  # there is none
        await protocol.ready.addTimeout(timeout, reactor)
    except Exception as error:
        if protocol.transport is not None:
            protocol.transport.abortConnection()
        raise _no_server(error, server) from error
    return ControlClient(protocol, server, reactor, timeout)


def _host_and_port(server: str) -> tuple[str, int]:
    server = server.removeprefix("tcp:")
    host, colon, port = server.rpartition(":")
    # An IPv6 address has colons of its own; with a port it stands in brackets.
    if not colon or "]" in port or (":" in host and not host.startswith("[")):
        host, port = server, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{server!r} is neither HOST:PORT nor unix:PATH")
    return host, int(port)


def _no_server(error: Exception, server: str) -> Exception:
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
    if "alert" in words:
        return NotAccepted(
            f"the server at {server} does not accept this certificate: it is not from"
            " its authority"
        )
    if "verify failed" in words or "unknown" in words:
        return WrongServer(
            f"the server at {server} has a certificate from another authority than"
            " ours: it is another server, or its certificates were made anew"
        )
    return NoServer(f"the server at {server} does not speak TLS as we do: {words}")


def _flat(reason: Any) -> list[Any]:
    if isinstance(reason, list | tuple):
        return [part for each in reason for part in _flat(each)]
    return [reason]


@implementer(IHandshakeListener)
class _Connection(amp.AMP):
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


class ControlClient:
    """One connection to a server; made by `connect`.

    Every method may raise a `CommandError` (see `dhcptwist.control.commands`), or
    `NoServer` when the connection is lost.
    """

    def __init__(
        self, protocol: _Connection, server: str, reactor: Any, timeout: float
    ) -> None:
        self._protocol = protocol
        self._server = server
        self._reactor = reactor
        self._timeout = timeout

    async def reserve(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        circuit_id: str | None = None,
        remote_id: str | None = None,
        hostname: str | None = None,
        options: dict[str, str] | None = None,
        next_server: str | None = None,
        boot_file: str | None = None,
        server_name: str | None = None,
        source: str | None = None,
        on_conflict: str | None = None,
        lifetime: int | None = None,
    ) -> Verdict:
        """Put a reservation into the live pool; see `commands.Reserve`.

        Raises:
            AddressInUse: ``on_conflict`` is ``refuse`` and somebody has the address.
            ReservedByOther: It is reserved for somebody else, or by another source.
        """
        answer = await self._call(
            commands.Reserve,
            address=address,
            hardware=hardware,
            client_id=client_id,
            circuit_id=circuit_id,
            remote_id=remote_id,
            hostname=hostname,
            options=options,
            next_server=next_server,
            boot_file=boot_file,
            server_name=server_name,
            source=source,
            on_conflict=on_conflict,
            lifetime=lifetime,
        )
        return Verdict(answer["verdict"], answer["holder"], answer.get("until"))

    async def cancel(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        circuit_id: str | None = None,
        remote_id: str | None = None,
        source: str | None = None,
    ) -> list[dict[str, Any]]:
        """Take reservations out; see `commands.CancelReservation`.  Returns them."""
        answer = await self._call(
            commands.CancelReservation,
            address=address,
            hardware=hardware,
            client_id=client_id,
            circuit_id=circuit_id,
            remote_id=remote_id,
            source=source,
        )
        return list(answer["cancelled"])

    async def reservations(
        self, source: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All reservations, or those of a source, page by page."""
        async for each in self._list(
            commands.ListReservations, "reservations", source=source
        ):
            yield each

    async def leases(self, subnet: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """All leases, or those of a subnet, page by page."""
        async for each in self._list(commands.ListLeases, "leases", subnet=subnet):
            yield each

    async def find(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """The ``leases`` and ``reservations`` of an address or a client."""
        return await self._call(
            commands.FindLease,
            address=address,
            hardware=hardware,
            client_id=client_id,
        )

    async def revoke(self, address: str) -> dict[str, Any]:
        """End a lease now; see `commands.RevokeLease`.  Returns what became of it."""
        lease: dict[str, Any] = (
            await self._call(commands.RevokeLease, address=address)
        )["lease"]
        return lease

    async def import_leases(
        self, leases: list[dict[str, Any]], *, dry_run: bool = False
    ) -> list[str]:
        """Take over some leases; see `commands.ImportLeases`.  Returns the verdicts."""
        answer = await self._call(
            commands.ImportLeases, leases=leases, dry_run=dry_run or None
        )
        return list(answer["verdicts"])

    async def history(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        until: float | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """What happened to an address or a client, the latest first.

        Name one of an address, a hardware address and a client identifier.  With
        ``until``, only what happened at that time (seconds since 1970) or before.

        Raises:
            NotFound: What happened until then is not kept; ``begins`` in its details says
                from when on it is.
        """
        before = None
        while True:
            answer = await self._call(
                commands.LeaseHistory,
                address=address,
                hardware=hardware,
                client_id=client_id,
                before=before,
                until=until,
            )
            begins = answer.get("begins")
            if begins is not None and until is not None and begins > until:
                raise NotFound("that is before the oldest event kept", begins=begins)
            for each in answer["events"]:
                yield each
            before = answer.get("next")
            if not before:
                return

    async def watch(
        self, after: int | None = None, kinds: list[str] | None = None
    ) -> Watch:
        """Be told of everything that happens; a connection can do so once.

        Args:
            after: The number of the last event that is known; None for from now on.
            kinds: Only these, like ``bound``; None for all.
        """
        answer = await self._call(commands.WatchEvents, after=after, kinds=kinds)
        batches = self._protocol.batches
        return Watch(
            answer["number"], batches, lambda error: _no_server(error, self._server)
        )

    async def status(self) -> dict[str, Any]:
        """What the server is and does, in numbers."""
        answer = await self._call(commands.Status)
        status: dict[str, Any] = answer["status"]
        while answer.get("next"):
            answer = await self._call(commands.Status, after=answer["next"])
            status["subnets"] |= answer["status"]["subnets"]
        return status

    async def close(self) -> None:
        """Close the connection."""
        if self._protocol.transport is not None:
            self._protocol.transport.loseConnection()
        await self._protocol.gone

    async def _list(
        self, command: type[amp.Command], name: str, **arguments: Any
    ) -> AsyncIterator[dict[str, Any]]:
        after = None
        while True:
            answer = await self._call(command, after=after, **arguments)
            for each in answer[name]:
                yield each
            after = answer.get("next")
            if not after:
                return

    async def _call(
        self, command: type[amp.Command], **arguments: Any
    ) -> dict[str, Any]:
        given = {name: each for name, each in arguments.items() if each is not None}
        try:
            answer: dict[str, Any] = await self._protocol.callRemote(
                command, **given
            ).addTimeout(self._timeout, self._reactor)
        except CommandError as error:
            raise type(error).from_wire(error.message) from None
        except amp.TooLong as error:
            raise InvalidRequest(f"{error.keyName or 'a value'} is too long") from None
        except amp.UnhandledCommand:
            raise NotSupported(
                f"the server at {self._server} does not know {command.__name__}"
            ) from None
        except ConnectionClosed as error:
            raise _no_server(error, self._server) from error
        except SSLError as error:
            raise _not_trusted(error, self._server) from error
        except TooLate:
            raise NoServer(f"the server at {self._server} does not answer") from None
        return answer
