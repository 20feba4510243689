"""Answers the commands: is it permitted, is it well formed; then asks the storage.

It knows the interfaces of storages only, and nothing of packets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from ..config import Role
from ..interfaces import ILeases, IReservations
from ..lease import AddressInUse, Reservation, ReservationConflict
from ..network import Network
from . import commands
from .caller import FILE, Caller
from .commands import (
    CommandError,
    InvalidRequest,
    NotFound,
    NotSupported,
    ReservedByOther,
)
from .values import (
    format_place,
    lease_fields,
    parse_place,
    read_fields,
    read_reservation,
    read_who,
    reservation_fields,
)


_log = Logger()

#: Bytes and rows that the lists of one answer may have (an AMP value ends at 65,535).
PAGE_BYTES = 48 << 10
PAGE_LENGTH = 500


class ControlServer:
    """What may be asked of a server from outside.

    Args:
        storage: Asked as far as it provides `IReservations` and `ILeases`.
        network: The subnets.
        clock: Seconds since 1970.
        status: What the server says of itself.
        roles: Who may do what, beside ``admin``.
    """

    def __init__(
        self,
        storage: Any,
        network: Network,
        clock: Callable[[], float],
        status: Callable[[], dict[str, Any]],
        roles: Iterable[Role] = (),
    ) -> None:
        self.network = network
        self.clock = clock
        self.status = status
        self.roles = {role.name: role for role in roles}
        self._storage = storage

    def reserving(self) -> Any:
        """The storage, if it can reserve."""
        if not IReservations.providedBy(self._storage):
            raise NotSupported("the storage of this server takes no reservations")
        return self._storage

    def leasing(self) -> Any:
        """The storage, if it can show leases."""
        if not ILeases.providedBy(self._storage):
            raise NotSupported("the storage of this server does not show its leases")
        return self._storage

    def figures(self) -> dict[str, Any]:
        """All numbers there are."""
        figures = dict(self.status())
        if ILeases.providedBy(self._storage):
            figures |= self._storage.figures(self.clock())
        return figures


class Answers(amp.CommandLocator):
    """The commands, answered for one caller.

    Args:
        server: Whom it is about.
        caller: Tells who is calling, when it is needed.
    """

    def __init__(self, server: ControlServer, caller: Callable[[], Caller]) -> None:
        super().__init__()
        self._server = server
        self._caller = caller

    def locateResponder(self, name: bytes) -> Any:
        """See `amp.IResponderLocator`; an error never ends the connection."""
        respond = super().locateResponder(name)

        def answer(box: amp.AmpBox) -> Deferred[Any]:
            if respond is None:
                words = f"there is no command {name[:64]!r}"
                result: Deferred[Any] = fail(
                    amp.RemoteAmpError(amp.UNHANDLED_ERROR_CODE, words)
                )
            else:
                result = maybeDeferred(respond, box).addCallback(_sendable)
                result.addErrback(_declared, name)
            if amp.ASK not in box:
                result.addErrback(lambda _: None)  # nobody wants to know
            return result

        return answer

    def _permitted(self, verb: str) -> Caller:
        caller = self._caller()
        caller.must(verb)
        return caller

    @commands.Reserve.responder
    async def reserve(self, **given: Any) -> dict[str, Any]:
        """See `commands.Reserve`."""
        caller = self._permitted("reserve")
        storage = self._server.reserving()
        when = self._server.clock()
        source = caller.source(given.get("source"))
        reservation = read_reservation(given, source, when)
        caller.must_reach(reservation.address)
        verdict = await storage.reserve(reservation, when)
        _log.info(
            "{caller} reserved {what} for {source}: {outcome}",
            caller=caller.name,
            what=_name(reservation),
            source=source,
            outcome=verdict.outcome,
        )
        answer = {"verdict": verdict.outcome, "holder": verdict.holder}
        if verdict.until is not None and verdict.until != inf:
            answer["until"] = verdict.until
        return answer

    @commands.CancelReservation.responder
    async def cancel(self, **given: Any) -> dict[str, Any]:
        """See `commands.CancelReservation`."""
        caller = self._permitted("cancel")
        storage = self._server.reserving()
        values = read_fields(given)
        address, who = values.get("address"), read_who(values)
        if address is None and who is None:
            raise InvalidRequest("cancel what? give an address or a client")
        found = storage.reservation_of(address, who.who if who else None)
        if address is not None and who is not None:
            found = [r for r in found if r.address == address and r.who == who.who]
        if address is None:
            found = [each for each in found if caller.reaches(each.address)]
        if not found:
            raise NotFound("there is no such reservation")
        # Without a source, admin cancels whoever's it is, others only their own.
        wanted = given.get("source")
        source = caller.source(wanted) if wanted or not caller.is_admin else None
        for each in found:
            caller.must_reach(each.address)
            if each.source == FILE or source not in (None, each.source):
                where = (
                    "the configuration file: change it there"
                    if each.source == FILE
                    else f"{each.source!r}: only that source or admin may cancel it"
                )
                raise ReservedByOther(
                    f"{_name(each)} is a reservation of {where}", source=each.source
                )
        for each in found:
            await storage.cancel(each, self._server.clock())
            _log.info("{caller} cancelled {what}", caller=caller.name, what=_name(each))
        return {"cancelled": _fitting(map(reservation_fields, found), PAGE_BYTES)}

    @commands.ListReservations.responder
    def list_reservations(
        self,
        after: str | None = None,
        limit: int | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        """See `commands.ListReservations`."""
        caller = self._permitted("list")
        storage = self._server.reserving()
        place = None
        if after:
            try:
                place = parse_place(after)
            except ValueError:
                raise InvalidRequest(f"after: {after!r} was never a next") from None
        page = storage.reservations(place, _limit(limit), source)
        rows = [(format_place(each), _visible(caller, each)) for each in page]
        return _page("reservations", rows, len(page) == _limit(limit))

    @commands.ListLeases.responder
    def list_leases(
        self,
        after: str | None = None,
        limit: int | None = None,
        subnet: str | None = None,
    ) -> dict[str, Any]:
        """See `commands.ListLeases`."""
        caller = self._permitted("list")
        storage = self._server.leasing()
        network = self._server.network
        wanted = None
        if subnet:
            wanted = network.by_name.get(subnet)
            if wanted is None:
                raise NotFound(
                    f"there is no subnet {subnet!r}; there are"
                    f" {', '.join(list(network.by_name)[:50])}"
                )
        start = -1
        if after:
            try:
                start = int(IPv4Address(after))
            except ValueError:
                raise InvalidRequest(f"after: {after!r} was never a next") from None
        when = self._server.clock()
        page = storage.leases(start, _limit(limit), wanted)
        rows = [
            (
                str(IPv4Address(each.address)),
                lease_fields(each, network, when)
                if caller.reaches(each.address)
                else None,
            )
            for each in page
        ]
        return _page("leases", rows, len(page) == _limit(limit))

    @commands.FindLease.responder
    def find_lease(self, **given: Any) -> dict[str, Any]:
        """See `commands.FindLease`."""
        caller = self._permitted("list")
        values = read_fields(given)
        if len(values) != 1:
            raise InvalidRequest("find what? give an address, hardware or client_id")
        storage = self._server.leasing()
        when = self._server.clock()
        found = storage.find_leases(
            values.get("address"), values.get("hardware"), values.get("client_id")
        )
        reserved: list[Reservation] = []
        if IReservations.providedBy(storage):
            who = read_who(values)
            reserved = storage.reservation_of(
                values.get("address"), who.who if who else None
            )
        network = self._server.network
        leases = [(r.address, lease_fields(r, network, when)) for r in found]
        reservations = [(r.address, reservation_fields(r)) for r in reserved]
        return {
            name: _fitting(
                (fields for address, fields in rows if caller.reaches(address)),
                PAGE_BYTES,
            )
            for name, rows in (("leases", leases), ("reservations", reservations))
        }

    @commands.RevokeLease.responder
    async def revoke(self, address: str) -> dict[str, Any]:
        """See `commands.RevokeLease`."""
        caller = self._permitted("revoke")
        storage = self._server.leasing()
        values = read_fields({"address": address})
        if not values:
            raise InvalidRequest("address: is empty")
        number = values["address"]
        caller.must_reach(number)
        lease = await storage.revoke(number, self._server.clock())
        if lease is None:
            raise NotFound(f"{IPv4Address(number)} is not leased to anybody now")
        _log.info(
            "{caller} revoked {address}",
            caller=caller.name,
            address=str(IPv4Address(number)),
        )
        network, when = self._server.network, self._server.clock()
        return {"lease": lease_fields(lease, network, when)}

    @commands.Status.responder
    def status(self, after: str | None = None) -> dict[str, Any]:
        """See `commands.Status`."""
        self._permitted("status")
        figures = self._server.figures()
        subnets = figures.get("subnets", {})
        names = list(subnets)
        begin = names.index(after) + 1 if after in subnets else 0
        page: dict[str, Any] = {}
        size = 0
        for name in names[begin:]:
            size += len(json.dumps({name: subnets[name]})) + 2
            if size > PAGE_BYTES:
                break
            page[name] = subnets[name]
        answer: dict[str, Any] = {"status": figures | {"subnets": page}}
        if page and begin + len(page) < len(names):
            answer["next"] = list(page)[-1]
        return answer


def _declared(failure: Failure, name: bytes) -> Failure:
    """Any error as one that the command declares."""
    error: Any = failure.value
    if isinstance(error, amp.RemoteAmpError) and error.local is not None:
        error = error.local.value
    if isinstance(error, AddressInUse):
        until = None if error.until == inf else error.until
        error = commands.AddressInUse(str(error), holder=error.holder, until=until)
    elif isinstance(error, ReservationConflict):
        error = ReservedByOther(str(error), source=error.source)
    elif isinstance(error, ValueError):
        error = InvalidRequest(str(error))
    elif not isinstance(error, CommandError):
        _log.failure("{name} failed", failure, name=name.decode("ascii"))
        error = commands.StorageFailed(f"the server could not do it: {error}")
    return Failure(amp.RemoteAmpError(error.code, error.to_wire()))


def _sendable(answer: amp.AmpBox) -> amp.AmpBox:
    """The answer, if it can be sent.

    Raises:
        StorageFailed: A value is longer than one may be.
    """
    for name, value in answer.items():
        if len(value) > amp.MAX_VALUE_LENGTH:
            raise commands.StorageFailed(f"{name.decode()} is too long to be sent")
    return answer


def _fitting(rows: Iterable[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """As many rows as an answer may have; there is no second page."""
    kept = []
    for row in rows:
        size -= len(json.dumps(row)) + 1
        if size < 0:
            break
        kept.append(row)
    return kept


def _limit(wanted: int | None) -> int:
    if wanted is None:
        return PAGE_LENGTH
    if wanted < 1:
        raise InvalidRequest("limit: must be at least 1")
    return min(wanted, PAGE_LENGTH)


def _visible(caller: Caller, each: Reservation) -> dict[str, Any] | None:
    return reservation_fields(each) if caller.reaches(each.address) else None


def _page(
    name: str, rows: Iterable[tuple[str, dict[str, Any] | None]], more: bool
) -> dict[str, Any]:
    """An answer with as many rows as it may have, and where the next page begins.

    Args:
        name: What the list is called.
        rows: Each with its place, and None for what the caller may not see.
        more: Whether there may be others behind them.
    """
    kept: list[dict[str, Any]] = []
    last = ""
    size = 0
    for place, fields in rows:
        size += 0 if fields is None else len(json.dumps(fields)) + 1
        if size > PAGE_BYTES and last:
            more = True
            break
        last = place
        if fields is not None:
            kept.append(fields)
    return {name: kept, "next": last} if more else {name: kept}


def _name(reservation: Reservation) -> str:
    fields = reservation_fields(reservation)
    keys = ("hardware", "client_id", "circuit_id", "remote_id")
    who = " ".join(fields[key] for key in keys if fields[key])
    return f"{fields['address'] or 'settings'} for {who}"
