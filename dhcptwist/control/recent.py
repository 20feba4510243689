"""What happened lately, kept for those who watch it; and who waits for more."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from ..interfaces import ILeaseListener
from ..lease import Event


#: Events that are kept in memory, whoever watches; older ones are read from the journal.
MOST = 4096

#: Seconds for which events are let come together: packets do not wait for watchers.
PAUSE = 0.02


@implementer(ILeaseListener)
class Recent:
    """The latest events, while anybody watches.

    Args:
        storage: Tells of them; an `ILeases`, once somebody watches.
        reactor: For the pause.
    """

    def __init__(self, storage: Any, reactor: Any) -> None:
        self._storage = storage
        self._reactor = reactor
        self._events: deque[Event] = deque(maxlen=MOST)
        self._watchers = 0
        self._waiting: list[Deferred[None]] = []
        self._call: IDelayedCall | None = None

    def join(self) -> None:
        """One more watches."""
        if not self._watchers:
            self._storage.add_listener(self)
        self._watchers += 1

    def leave(self) -> None:
        """One less does."""
        self._watchers -= 1
        if not self._watchers:
            self._storage.remove_listener(self)
            self._events.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None

    def lease_changed(self, event: Event) -> None:
        """See `ILeaseListener`."""
        self._events.append(event)
        if self._waiting and self._call is None:
            self._call = self._reactor.callLater(PAUSE, self._wake)

    def _wake(self) -> None:
        self._call = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def more(self, number: int) -> Deferred[None]:
        """When something has happened since that number; may be cancelled."""
        if self._events and self._events[-1].number > number:
            return succeed(None)
        waits: Deferred[None] = Deferred(self._give_up)
        self._waiting.append(waits)
        return waits

    def _give_up(self, waits: Deferred[None]) -> None:
        if waits in self._waiting:
            self._waiting.remove(waits)

    @property
    def oldest(self) -> int:
        """The number of the first that is here; 0 if none is."""
        return self._events[0].number if self._events else 0

    def after(self, number: int, limit: int) -> list[Event] | None:
        """Events behind that number; None if not all of them are here."""
        events = self._events
        if not events or events[-1].number <= number:
            return []
        begin = number + 1 - events[0].number
        if begin < 0:
            return None
        return list(islice(events, begin, begin + limit))
