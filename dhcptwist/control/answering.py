"""What is the same for all commands: who calls, what an error becomes, how long a list is.

An answer is a box of values that end at 65,535 bytes each, so lists come in pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from ..config import Role
from ..config.plan import Plan
from ..exchanges import Responder
from ..forecast import Limits
from ..interfaces import IHistory, ILeases, IReservations
from ..lease import AddressInUse, Event, ReservationConflict
from ..network import Network, Via
from . import errors
from .allowance import Allowance
from .caller import Caller
from .errors import (
    CommandError,
    InvalidRequest,
    NotSupported,
    ReservedByOther,
    TooMany,
)
from .holding import Holding
from .issued import Identities
from .recent import Recent
from .repeating import Repeating


_log = Logger()

#: Bytes and rows that the lists of one answer may have (an AMP value ends at 65,535).
PAGE_BYTES = 48 << 10
PAGE_LENGTH = 500


#: Reads the configuration again, for whom; whether that is only to be planned.
Reload: TypeAlias = "Callable[[str, bool], Coroutine[Any, Any, Plan]]"


class ControlServer:
    """What may be asked of a server from outside.

    Args:
        storage: Asked as far as it provides `IReservations` and `ILeases`.
        network: The subnets.
        clock: Seconds since 1970.
        status: What the server says of itself.
        roles: Who may do what, beside ``admin``.
        reactor: For what is put off.
        responder: What opens messages; None if none can be explained.
        vias: The interfaces that are served.
        limits: See `foretell`.
        reload: Reads the configuration again; None if nobody can.

    Attributes:
        network, roles, reload: The same; others may take their place at any time.
        recent: What happened lately, for those who watch.
        identities: The certificates; `listening.listen` opens them.
        repeating: Requests with a key.
        holding: The reservations that end with their connections.
    """

    def __init__(
        self,
        storage: Any,
        network: Network,
        clock: Callable[[], float],
        status: Callable[[], dict[str, Any]],
        roles: Iterable[Role] = (),
        *,
        reactor: Any,
        responder: Responder | None = None,
        vias: Sequence[Via] = (),
        limits: Limits = lambda _client, _when: None,
        reload: Reload | None = None,
    ) -> None:
        self.reactor = reactor
        self.reload = reload
        self.network = network
        self.clock = clock
        self.status = status
        self.roles: dict[str, Role] = {}
        self._allowances: dict[str, Allowance] = {}
        self.serve(network, roles)
        self.identities = Identities()
        self._storage = storage
        self._responder = responder
        self._vias = tuple(vias)
        self.limits = limits
        self.recent = Recent(storage, reactor)
        self.repeating = Repeating(clock)
        self.holding = Holding(self.reserving, clock, reactor)

    def serve(self, network: Network, roles: Iterable[Role]) -> None:
        """Have these subnets and roles from now on."""
        self.network = network
        self.roles = {role.name: role for role in roles}
        self._allowances = {
            name: allowance
            for name, allowance in self._allowances.items()
            if name in self.roles and self.roles[name].rate == allowance.rate
        }

    def admit(self, role: Role) -> None:
        """Count a command of a role.

        Raises:
            TooMany: It has had as many as it may for now.
        """
        rate = role.rate
        if rate is None:
            return
        allowance = self._allowances.get(role.name)
        if allowance is None:
            allowance = self._allowances[role.name] = Allowance(rate)
        wait = allowance.take(self.clock())
        if wait:
            raise TooMany(
                f"{role.name!r} may ask {rate.count} times in {rate.seconds:.0f} s;"
                f" again in {wait:.1f} s",
                retry_after=wait,
            )

    def reserving(self) -> Any:
        """The storage, if it can reserve."""
        if not IReservations.providedBy(self._storage):
            raise NotSupported(
                "the storage of this server takes no reservations (IReservations)"
            )
        return self._storage

    def leasing(self) -> Any:
        """The storage, if it can show leases."""
        if not ILeases.providedBy(self._storage):
            raise NotSupported(
                "the storage of this server does not show its leases (ILeases)"
            )
        return self._storage

    def remembering(self) -> Any:
        """The storage, if it keeps a journal."""
        if not IHistory.providedBy(self._storage):
            raise NotSupported("the storage of this server keeps no history (IHistory)")
        return self._storage

    def explaining(self) -> tuple[Any, Responder, tuple[Via, ...]]:
        """The storage, what opens messages, and the interfaces they come in by."""
        if self._responder is None or not self._vias:
            raise NotSupported("this server hears no packets that could be explained")
        return self._storage, self._responder, self._vias

    @property
    def remembers(self) -> bool:
        """Whether events are kept."""
        return IHistory.providedBy(self._storage)

    def last_event(self) -> int:
        """The number of the latest."""
        number: int = self.leasing().last_event()
        return number

    async def events(self, after: int, limit: int) -> list[Event]:
        """Events that are kept, from behind that number."""
        if not self.remembers:
            return []
        found: list[Event] = await self._storage.events(after, limit)
        return found

    def figures(self) -> dict[str, Any]:
        """All numbers there are."""
        figures = dict(self.status())
        if ILeases.providedBy(self._storage):
            figures |= self._storage.figures(self.clock())
        ends = self.identities.ends
        if ends:
            figures["control"] = {f"{what} ends": end for what, end in ends.items()}
        return figures


class Answering(amp.CommandLocator):
    """What is the same for every command: who calls, and what an error becomes.

    Args:
        server: Whom it is about.
        caller: Tells who is calling, when it is needed.
        peer: The connection, for what the server calls; None where there is none.
    """

    def __init__(
        self,
        server: ControlServer,
        caller: Callable[[], Caller],
        peer: amp.AMP | None = None,
    ) -> None:
        super().__init__()
        self.server = server
        self._caller = caller
        self._peer = peer
        self.is_closed = False

    def closed(self) -> None:
        """The connection is gone."""
        self.is_closed = True

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

    def permitted(self, verb: str) -> Caller:
        """Who is calling, if it may do this.

        Raises:
            NotPermitted: It may not.
            TooMany: It may, but not now.
        """
        caller = self._caller()
        caller.must(verb)
        return self.admitted(caller)

    def admitted(self, caller: Caller | None = None) -> Caller:
        """Who is calling, if it may do anything at all now.

        Raises:
            NotPermitted: Nobody that we know.
            TooMany: It may, but not now.
        """
        caller = caller or self._caller()
        if caller.role is not None:
            self.server.admit(caller.role)
        return caller


def _declared(failure: Failure, name: bytes) -> Failure:
    """Any error as one that the command declares."""
    error: Any = failure.value
    if isinstance(error, amp.RemoteAmpError) and error.local is not None:
        error = error.local.value
    known = declared(error)
    if known is None:
        if not getattr(error, "is_logged", False):
            _log.failure("{name} failed", failure, name=name.decode("ascii"))
        known = errors.StorageFailed(f"the server could not do it: {error}")
    return Failure(amp.RemoteAmpError(known.code, known.to_wire()))


def declared(error: Exception) -> CommandError | None:
    """What goes over the wire for an error; None for one that nobody expects."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, AddressInUse):
        until = None if error.until == inf else error.until
        return errors.AddressInUse(str(error), holder=error.holder, until=until)
    if isinstance(error, ReservationConflict):
        return ReservedByOther(str(error), source=error.source)
    return InvalidRequest(str(error)) if isinstance(error, ValueError) else None


def _sendable(answer: amp.AmpBox) -> amp.AmpBox:
    """The answer, if it can be sent.

    Raises:
        StorageFailed: A value is longer than one may be.
    """
    for name, value in answer.items():
        if len(value) > amp.MAX_VALUE_LENGTH:
            raise errors.StorageFailed(f"{name.decode()} is too long to be sent")
    return answer


def fitting(rows: Iterable[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """As many rows as an answer may have; there is no second page."""
    kept = []
    for row in rows:
        size -= len(json.dumps(row)) + 1
        if size < 0:
            break
        kept.append(row)
    return kept


def page_length(wanted: int | None) -> int:
    """How many rows a page may have, for who wants so many.

    Raises:
        InvalidRequest: None at all.
    """
    if wanted is None:
        return PAGE_LENGTH
    if wanted < 1:
        raise InvalidRequest("limit: must be at least 1")
    return min(wanted, PAGE_LENGTH)


def paged(
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
