"""Keeping what was decided: the boundary between the rules and a disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..interfaces import ILeaseListener
from ..lease import Event, EventKind, Lease, Reservation
from ..wire.codes import CIRCUIT_ID, REMOTE_ID
from .index import Change


_log = Logger()
T = TypeVar("T")

#: What a journal is told: when, what, of which lease or reservation, by whom.
Entry: TypeAlias = "tuple[float, EventKind, Lease | Reservation, str]"

#: Who caused what no control identity did.
PACKET, EXPIRY, PROBE, CLOCK = "packet", "expiry", "probe", "clock"


class Journal:
    """Keeps nothing, and tells its listeners; the base of those that keep.

    Attributes:
        log: Where the index writes down its changes so that they can be undone; None
            where nothing can fail.
    """

    log: list[Change] | None = None

    def __init__(self) -> None:
        self._listeners: tuple[ILeaseListener, ...] = ()
        self._number = 0

    def keep(
        self,
        result: T,
        when: float,
        changes: Sequence[tuple[EventKind, Lease]] = (),
        by: str = PACKET,
        added: Sequence[Reservation] = (),
        removed: Sequence[Reservation] = (),
    ) -> Any:
        """Keep changes that have been made in the index.

        Args:
            result: What to answer once they are kept.
            when: Now.
            changes: What happened, with each lease in its new state.
            by: Who caused it: one of the words above, or a control identity.
            added: Reservations put in.
            removed: Reservations taken out.

        Returns:
            The result, or a Deferred of it that fails if the changes could not be
            kept; the index is then as it was before.
        """
        if self._listeners:
            entries: list[Entry] = [(when, kind, each, by) for kind, each in changes]
            entries += reserved(when, by, added, removed)
            self.tell(entries, self._number + 1)
            self._number += len(entries)
        return result

    def moved(
        self,
        leases: Sequence[Lease],
        reservations: Sequence[Reservation],
        when: float,
        by: float,
    ) -> Deferred[None] | None:
        """Keep the new times of everything, after the clock was set.

        Args:
            leases: All of them, with their new times.
            reservations: Those that have an end, likewise.
            when: Now, by the new clock.
            by: By how many seconds it was set.
        """
        result: Deferred[None] | None = self.keep(
            None, when, [(EventKind.CLOCK, clock_set(when, by))], CLOCK
        )
        return result

    def settled(self) -> Deferred[None] | None:
        """When everything decided by now is kept; None if it is already."""
        return None

    def unfinished(self) -> list[Change]:
        """Changes of the index that may still have to be undone."""
        return []

    def figures(self) -> dict[str, Any]:
        """Numbers for `Status`."""
        return {}

    # --- listeners ----------------------------------------------------------------

    def last_event(self) -> int:
        """See `ILeases.last_event`; they are counted only while somebody listens."""
        return self._number

    def add_listener(self, listener: ILeaseListener) -> None:
        """See `ILeases.add_listener`."""
        self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: ILeaseListener) -> None:
        """See `ILeases.remove_listener`."""
        self._listeners = tuple(
            each for each in self._listeners if each is not listener
        )

    def tell(self, entries: Iterable[Entry], number: int) -> None:
        """Tell the listeners of what is kept, numbered from ``number``."""
        for entry in entries:
            event = event_of(number, *entry)
            number += 1
            for listener in self._listeners:
                try:
                    listener.lease_changed(event)
                except Exception:  # noqa: BLE001 - a stranger's may raise anything
                    _log.failure("A lease listener failed")


def reserved(
    when: float, by: str, added: Sequence[Reservation], removed: Sequence[Reservation]
) -> list[Entry]:
    """Entries for changes of reservations; one that is put in anew was not cancelled."""
    places = {each.place for each in added}
    entries: list[Entry] = [
        (when, EventKind.CANCELLED, each, by)
        for each in removed
        if each.place not in places
    ]
    entries += [(when, EventKind.RESERVED, each, by) for each in added]
    return entries


def clock_set(when: float, by: float) -> Lease:
    """What stands for the clock in the journal: set at ``expires``, from ``since``."""
    return Lease(0, key=b"", since=when - by, expires=when)


def event_of(
    number: int, when: float, kind: EventKind, of: Lease | Reservation, by: str
) -> Event:
    """An event from an entry of the journal."""
    if isinstance(of, Lease):
        return Event(
            number,
            when,
            kind,
            of.address,
            of.key,
            of.hardware,
            of.hostname,
            of.since,
            of.expires,
            of.relay,
            by,
        )
    return Event(
        number,
        when,
        kind,
        of.address or 0,
        of.client_id or of.hardware,
        of.hardware,
        of.hostname,
        when,
        of.expires,
        b"".join(
            bytes((code, len(part))) + part
            for code, part in ((CIRCUIT_ID, of.circuit_id), (REMOTE_ID, of.remote_id))
            if part
        ),
        by,
    )
