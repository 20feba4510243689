"""Calls the commands: an asynchronous API for other programs.

client = await connect(reactor, "dhcp.example.org:6768", Path("netbox.pem"))
verdict = await client.reserve("192.0.2.50", hardware="00:11:22:33:44:55")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from . import commands
from .connecting import (
    NoServer,
    NotAccepted,
    WrongServer,
    no_server,
    open_connection,
)
from .errors import (
    AddressInUse,
    CommandError,
    InvalidConfiguration,
    InvalidRequest,
    NotFound,
    NotPermitted,
    NotSupported,
    ReservedByOther,
    RevisionChanged,
    StorageFailed,
    TooMany,
)
from .reservation_calls import Changed, Replaced, ReservationCalls, Verdict
from .watch import Watch


__all__ = [
    "AddressInUse",
    "Changed",
    "CommandError",
    "ControlClient",
    "InvalidConfiguration",
    "InvalidRequest",
    "NoServer",
    "NotAccepted",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "Replaced",
    "ReservedByOther",
    "RevisionChanged",
    "StorageFailed",
    "TooMany",
    "Verdict",
    "Watch",
    "WrongServer",
    "connect",
]


#: Seconds that a large configuration may take to be read and compared.
RELOAD_TIME = 60.0


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
    protocol = await open_connection(reactor, server, identity, timeout)
    return ControlClient(protocol, server, reactor, timeout)


class ControlClient(ReservationCalls):
    """One connection to a server; made by `connect`.

    Every method may raise a `CommandError` (see `dhcptwist.control.commands`), or
    `NoServer` when the connection is lost.
    """

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
            answer = await self._page(
                commands.LeaseHistory,
                first=before is None,
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
            answer["number"], batches, lambda error: no_server(error, self._server)
        )

    async def new_identity(
        self, name: str, *, lifetime: int | None = None
    ) -> tuple[dict[str, Any], str]:
        """Make a certificate; see `commands.NewIdentity`.

        Args:
            name: Whose; a role's name.
            lifetime: Seconds; None for ever.

        Returns:
            What it is, and what its file must hold; nobody but us has its key.

        Raises:
            NotSupported: The server's authority is elsewhere.
        """
        answer = await self._call(commands.NewIdentity, name=name, lifetime=lifetime)
        return answer["identity"], answer["pem"]

    async def identities(self) -> AsyncIterator[dict[str, Any]]:
        """All certificates that the server's authority has made, page by page."""
        async for each in self._list(commands.ListIdentities, "identities"):
            yield each

    async def revoke_identity(
        self, name: str | None = None, *, serial: str | None = None
    ) -> list[dict[str, Any]]:
        """Take a certificate back, or all of a name; see `commands.RevokeIdentity`."""
        answer = await self._call(commands.RevokeIdentity, name=name, serial=serial)
        return list(answer["revoked"])

    async def explain(
        self,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        circuit_id: str | None = None,
        remote_id: str | None = None,
        relay: str | None = None,
        interface: str | None = None,
        kind: str | None = None,
        address: str | None = None,
        options: dict[str, Any] | None = None,
        packet: bytes | None = None,
        source: str | None = None,
        destination: str | None = None,
    ) -> dict[str, Any]:
        """What the server would answer, and why; see `commands.Explain`."""
        answer = await self._call(
            commands.Explain,
            hardware=hardware,
            client_id=client_id,
            circuit_id=circuit_id,
            remote_id=remote_id,
            relay=relay,
            interface=interface,
            kind=kind,
            address=address,
            options=options,
            packet=packet,
            source=source,
            destination=destination,
        )
        explanation: dict[str, Any] = answer["explanation"]
        return explanation

    async def reload(self, *, plan: bool = False) -> dict[str, Any]:
        """Have the server read its configuration again; see `commands.Reload`.

        Args:
            plan: Change nothing, and say what would be.

        Raises:
            InvalidConfiguration: It has mistakes; the old one is in force.
        """
        result: dict[str, Any] = (
            await self._call(commands.Reload, plan=plan or None, _timeout=RELOAD_TIME)
        )["result"]
        return result

    async def status(self) -> dict[str, Any]:
        """What the server is and does, in numbers."""
        answer = await self._call(commands.Status)
        status: dict[str, Any] = answer["status"]
        while answer.get("next"):
            answer = await self._page(
                commands.Status, first=False, after=answer["next"]
            )
            status["subnets"] |= answer["status"]["subnets"]
        return status
