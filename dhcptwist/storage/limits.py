"""Storages around storages: how long one may take, and what holds while it does not answer.

The protocol's promise to the network does not depend on how well somebody's database is
today: a request that waits costs a bounded amount, and for a bounded time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import inf
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from ..client import Client
from ..config import StorageConfig
from ..interfaces import ILeases, IStorage
from ..lease import Lease, Refused, Settings, Silence
from ..wire.codes import INFINITE
from .around import Around
from .flood import FloodLimit


#: Leases that `Stale` remembers; of more than so many the least recent are forgotten.
MOST_REMEMBERED = 100_000


class _Request:
    """One question that waits for its answer."""

    __slots__ = ("answer", "asked", "due")

    def __init__(self, asked: Deferred[Any], due: float) -> None:
        self.asked: Deferred[Any] | None = asked
        self.answer: Deferred[Any] = Deferred()
        self.due = due


@implementer(IStorage)
class Deadline(Around):
    """A storage around a slow one: it answers in time, or its client is left alone.

    A request that is late gets `Silence.STORAGE_LATE`, and its Deferred is cancelled so
    that nothing piles up behind it; what it still does is done, and the client's next
    question will find it so.  While ``most`` wait, others get `Silence.STORAGE_BUSY`
    at once, without asking.

    Args:
        storage: Asked; what it answers at once goes through as it is.
        clock: The reactor.
        seconds: How long an answer may take.
        most: How many may wait.
    """

    def __init__(
        self, storage: IStorage, clock: IReactorTime, seconds: float, most: int = 5000
    ) -> None:
        super().__init__(storage)
        self._clock = clock
        self._seconds = seconds
        self._most = most
        # All have the same time, so they are due in the order in which they came: one
        # timer, for the first of them, is enough.
        self._requests: deque[_Request] = deque()
        self._timer: IDelayedCall | None = None
        self._waiting = 0
        self._figures = {"late": 0, "busy": 0, "most waiting": 0}

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`."""
        if self._waiting >= self._most:
            return self._busy()
        result = self._storage.offer(client, when)
        return result if result.__class__ is Lease else self._in_time(result)

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        if self._waiting >= self._most:
            return self._busy()
        result = self._storage.commit(client, address, when)
        return result if result.__class__ is Lease else self._in_time(result)

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`."""
        if self._waiting >= self._most:
            return self._busy()
        return self._in_time(self._storage.release(client, address, when))

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        if self._waiting >= self._most:
            return self._busy()
        return self._in_time(self._storage.decline(client, address, when))

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        if self._waiting >= self._most:
            return self._busy()
        return self._in_time(self._storage.configure(client, when))

    def own_figures(self) -> dict[str, int]:
        """How many wait, were late, or found too many before them."""
        return {"waiting": self._waiting, **self._figures}

    def stop(self) -> None:
        """See `Around.stop`: nobody is hurried any more."""
        super().stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._seconds = inf

    def _busy(self) -> Silence:
        self._figures["busy"] += 1
        return Silence.STORAGE_BUSY

    def _in_time(self, result: Any) -> Any:
        if isinstance(result, CoroutineType):
            result = Deferred.fromCoroutine(result)
        if not isinstance(result, Deferred):
            return result
        request = _Request(result, self._clock.seconds() + self._seconds)
        self._waiting += 1
        self._figures["most waiting"] = max(
            self._figures["most waiting"], self._waiting
        )
        result.addBoth(self._answered, request)
        if request.asked is not None and self._seconds != inf:
            self._requests.append(request)
            if self._timer is None:
                self._timer = self._clock.callLater(self._seconds, self._look)
        return request.answer

    def _answered(self, result: Any, request: _Request) -> None:
        if request.asked is None:
            return  # late; what has become of it is nobody's business here
        request.asked = None
        self._waiting -= 1
        request.answer.callback(result)

    def _look(self) -> None:
        """Give up those who are late, and look again when the next will be."""
        self._timer = None
        now = self._clock.seconds()
        requests = self._requests
        while requests and (requests[0].asked is None or requests[0].due <= now):
            request = requests.popleft()
            asked, request.asked = request.asked, None
            if asked is not None:
                self._waiting -= 1
                self._figures["late"] += 1
                asked.cancel()
                request.answer.callback(Silence.STORAGE_LATE)
        if requests and self._seconds != inf:
            pause = min(max(requests[0].due - now, 0.0), self._seconds)
            self._timer = self._clock.callLater(pause, self._look)


#: Answers that say nothing of the client: the storage was not there.
_GONE = frozenset({Silence.STORAGE_LATE, Silence.STORAGE_BUSY})


@implementer(IStorage)
class Stale(Around):
    """A storage around one that may be gone: what it has granted holds while it lasts.

    ``fallback = stale``: a client that asks for the lease it has is given what is left of
    it, not a second more, when the storage fails, is late or busy.  Nobody gets an
    address anew.  What was granted is remembered from the answers seen here; and a
    storage that shows its leases (`ILeases`) is asked for them, too.

    Args:
        storage: Asked first.
        clock: The reactor: waiting for the storage takes from what is left.
        most: Leases to remember.
    """

    def __init__(
        self, storage: IStorage, clock: IReactorTime, most: int = MOST_REMEMBERED
    ) -> None:
        super().__init__(storage)
        self._clock = clock
        self._most = most
        self._shown: Any = None
        self._granted: OrderedDict[tuple[bytes, int], tuple[float, Settings | None]] = (
            OrderedDict()
        )  # client key and address to when it ends
        self._figures = {"stale": 0}

    def show(self, leases: Any) -> None:
        """Look for leases there as well, if it has any to show."""
        self._shown = leases if ILeases.providedBy(leases) else None

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`; nothing is offered for a storage that is gone."""
        return self._storage.offer(client, when)

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        return self._storage.configure(client, when)

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        asked = self._clock.seconds()
        try:
            result = self._storage.commit(client, address, when)
        except Exception:
            left = self._left(client, address, when)
            if left is None:
                raise
            return left
        if isinstance(result, CoroutineType):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            return result.addBoth(self._settled, client, address, when, asked)
        return self._settled(result, client, address, when, asked)

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`; what is given back is no longer granted."""
        self._granted.pop((client.key, address), None)
        return self._storage.release(client, address, when)

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        self._granted.pop((client.key, address), None)
        return self._storage.decline(client, address, when)

    def clock_stepped(self, by: float) -> None:
        """See `Around.clock_stepped`: what is left of each lease stays the same."""
        super().clock_stepped(by)
        for who, (expires, settings) in self._granted.items():
            self._granted[who] = expires + by, settings

    def own_figures(self) -> dict[str, int]:
        """How often what was left was given."""
        return {"remembered": len(self._granted), **self._figures}

    def _settled(
        self, result: Any, client: Client, address: int, when: float, asked: float
    ) -> Any:
        who = client.key, address
        if isinstance(result, Lease):
            if result.address == address:
                # What the client is told, which may be less than the storage keeps.
                ends = inf if result.duration == INFINITE else when + result.duration
                self._remember(who, ends, result.settings)
            return result
        if isinstance(result, Failure) or result in _GONE:
            passed = max(self._clock.seconds() - asked, 0.0)
            left = self._left(client, address, when + passed)
            return result if left is None else left
        if result is None or isinstance(result, Refused):
            self._granted.pop(who, None)
        return result

    def _remember(
        self, who: tuple[bytes, int], ends: float, settings: Settings | None
    ) -> None:
        granted = self._granted
        granted[who] = ends, settings
        granted.move_to_end(who)
        if len(granted) > self._most:
            granted.popitem(last=False)

    def _left(self, client: Client, address: int, when: float) -> Lease | None:
        """What is left of the lease the client has, or None."""
        ends, settings = self._granted.get((client.key, address), (-inf, None))
        if ends == -inf and self._shown is not None:
            for lease in self._shown.find_leases(address, None, None):
                if lease.key == client.key and lease.bound(when):
                    ends, settings = lease.expires, lease.settings
        if ends < when + 1:
            return None
        self._figures["stale"] += 1
        return Lease(
            address,
            key=client.key,
            hardware=client.hardware,
            expires=ends,
            duration=INFINITE if ends == inf else int(ends - when),
            settings=settings,
        )


def limited(storage: IStorage, around: StorageConfig, clock: IReactorTime) -> Any:
    """What surrounds a storage, as the ``[storage]`` section says.

    Returns:
        The outermost, which packets ask; an `IStorage` and an `Around`.
    """
    outer: Any = Deadline(storage, clock, around.deadline, around.outstanding)
    if around.stale:
        outer = Stale(outer, clock)
        outer.show(storage)
    if around.client_limit is not None or around.port_limit is not None:
        outer = FloodLimit(outer, around.client_limit, around.port_limit)
    return outer
