"""Reservations that live as long as the connection that made them.

They are ordinary ones with a lifetime that is made longer while the connection is there;
so they end even if the server does not see the connection end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..lease import Reservation


_log = Logger()

#: Seconds that such a reservation lasts if nobody makes it longer, and after which that
#: is done.
LIFETIME = 300
RENEWED_EVERY = 120.0

Place = tuple[int, str, bytes, bytes]


class Holding:
    """Those of all connections, by place; one that is made anew belongs to who did.

    Args:
        reserving: Gives the storage.
        clock: Seconds since 1970.
        reactor: For their renewal.
    """

    def __init__(
        self, reserving: Callable[[], Any], clock: Callable[[], float], reactor: Any
    ) -> None:
        self._reserving = reserving
        self._clock = clock
        self._reactor = reactor
        self._holders: dict[Place, tuple[object, str]] = {}
        self._loop: LoopingCall | None = None

    def hold(self, reservation: Reservation, holder: object, by: str) -> None:
        """This one is to end with its holder."""
        self._holders[reservation.place] = holder, by
        if self._loop is None:
            self._loop = LoopingCall(self._renew)
            self._loop.clock = self._reactor
            self._loop.start(RENEWED_EVERY, now=False)

    def let_go(self, places: Iterable[Place]) -> None:
        """These are somebody else's now, or nobody's."""
        if self._holders:
            for place in places:
                self._holders.pop(place, None)
            self._rest()

    def stop(self) -> None:
        """Do nothing more: the server ends, and so do these by their lifetimes."""
        self.let_go(list(self._holders))

    def end(self, holder: object) -> None:
        """The holder is gone, and so are its reservations."""
        mine = {
            place: by for place, (who, by) in self._holders.items() if who is holder
        }
        if not mine:
            return
        found = self._there(mine)
        self.let_go(mine)
        by = next(iter(mine.values()))
        _log.info(
            "{by} is gone, and so are its {count} reservations for that time",
            by=by,
            count=len(found),
        )
        self._change([], found, by)

    def _renew(self) -> None:
        """Make all of them longer."""
        by_whom: dict[str, list[Place]] = {}
        for place, (_, by) in self._holders.items():
            by_whom.setdefault(by, []).append(place)
        expires = self._clock() + LIFETIME
        for by, places in by_whom.items():
            found = self._there(places)
            self.let_go(set(places) - {each.place for each in found})
            self._change([replace(each, expires=expires) for each in found], [], by)

    def _there(self, places: Iterable[Place]) -> list[Reservation]:
        """Those that are still in force, as they are now."""
        storage = self._reserving()
        return [
            each
            for place in places
            for each in storage.reservation_of(None, place[1:])
            if each.place == place
        ]

    def _change(
        self, added: list[Reservation], removed: list[Reservation], by: str
    ) -> None:
        if added or removed:
            storage = self._reserving()
            done: Deferred[Any] = storage.change(
                added, removed, self._clock(), by, strict=False
            )
            done.addErrback(self._failed)

    @staticmethod
    def _failed(failure: Any) -> None:
        # Their lifetime ends them; a disk that fails has said so itself.
        if not getattr(failure.value, "is_logged", False):
            _log.failure("Reservations could not be renewed, or taken out", failure)

    def _rest(self) -> None:
        if not self._holders and self._loop is not None:
            self._loop.stop()
            self._loop = None
