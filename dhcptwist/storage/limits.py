"""Storages around storages: how long one may take to answer, and all limits together.

The protocol's promise to the network does not depend on how well somebody's database is
today: a request that waits costs a bounded amount, and for a bounded time.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from types import CoroutineType
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..client import Client
from ..config import StorageConfig
from ..interfaces import IStorage
from ..lease import Lease, Silence
from .around import Around
from .flood import FloodLimit
from .stale import Stale


_log = Logger()

#: Deadlines after which an answer is no longer expected at all.
LOST = 10

#: Seconds between two log lines about a storage that is late.
COMPLAIN_EVERY = 10.0

#: What a client is told, to what the storage was asked and when that is due.
_Requests: TypeAlias = "OrderedDict[Deferred[Any], tuple[Deferred[Any], float]]"


@implementer(IStorage)
class Deadline(Around):
    """A storage around a slow one: it answers in time, or its client is left alone.

    A request that is late gets `Silence.STORAGE_LATE`.  The storage is left to finish it,
    for half done might be worse: the client's next question will find it done.  Until
    then it counts: the storage never owes more than ``most`` answers, and others get
    `Silence.STORAGE_BUSY` at once, without asking.  What has no answer after ten
    deadlines is cancelled and taken for lost, so that a storage that forgets requests is
    not shut for ever.

    Args:
        storage: Asked; what it answers at once goes through as it is.
        clock: The reactor.
        seconds: How long an answer may take.
        most: How many answers it may owe.
    """

    def __init__(
        self, storage: IStorage, clock: IReactorTime, seconds: float, most: int = 5000
    ) -> None:
        super().__init__(storage)
        self._clock = clock
        self._seconds = seconds
        self._most = most
        # All have the same time, so they stand in the order in which they are due: one
        # timer, for the first of them, is enough.
        self._waiting: _Requests = OrderedDict()
        self._late: _Requests = OrderedDict()
        self._timer: IDelayedCall | None = None
        self._owed = 0
        self._complained = -inf
        self._figures = {"late": 0, "busy": 0, "most waiting": 0}

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`."""
        if self._owed >= self._most:
            return self._busy()
        result = self._storage.offer(client, when)
        return result if result.__class__ is Lease else self._in_time(result)

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        if self._owed >= self._most:
            return self._busy()
        result = self._storage.commit(client, address, when)
        return result if result.__class__ is Lease else self._in_time(result)

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`."""
        if self._owed >= self._most:
            return self._busy()
        return self._in_time(self._storage.release(client, address, when))

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        if self._owed >= self._most:
            return self._busy()
        return self._in_time(self._storage.decline(client, address, when))

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        if self._owed >= self._most:
            return self._busy()
        return self._in_time(self._storage.configure(client, when))

    def change(self, seconds: float, most: int) -> None:
        """Have other limits.

        What is under way keeps the time that it was given, and what comes next may have
        as much as long as there is any of it.
        """
        self._seconds = seconds
        self._most = most

    @property
    def owes(self) -> bool:
        """Whether there are answers to come."""
        return self._owed > 0

    def own_figures(self) -> dict[str, int]:
        """How many answers it owes; how many were late, or not asked for."""
        return {"waiting": self._owed, **self._figures}

    def refusal(self, client: Client, when: float) -> tuple[Silence, str] | None:
        """See `Around.refusal`."""
        if self._owed >= self._most:
            words = f"the storage is busy: it owes {self._owed} answers (outstanding)"
            return Silence.STORAGE_BUSY, words
        return super().refusal(client, when)

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
        answer: Deferred[Any] = Deferred()
        self._owed += 1
        figures = self._figures
        figures["most waiting"] = max(figures["most waiting"], self._owed)
        self._waiting[answer] = result, self._clock.seconds() + self._seconds
        result.addBoth(self._answered, answer)
        if self._timer is None:
            self._look_again()
        return answer

    def _answered(self, result: Any, answer: Deferred[Any]) -> None:
        if self._waiting.pop(answer, None) is not None:
            self._owed -= 1
            answer.callback(result)
        elif self._late.pop(answer, None) is not None:
            self._owed -= 1  # what has become of it is nobody's business here

    def _look(self) -> None:
        """Give up those who are late, and look again when the next will be."""
        self._timer = None
        now = self._clock.seconds()
        waiting, late = self._waiting, self._late
        while late and _due(late) <= now:
            _, (asked, _) = late.popitem(last=False)
            self._owed -= 1
            _cancel(asked)
        given_up = []
        while waiting and _due(waiting) <= now:
            answer, (asked, due) = waiting.popitem(last=False)
            late[answer] = asked, due + (LOST - 1) * self._seconds
            given_up.append(answer)
        if given_up:
            self._figures["late"] += len(given_up)
            self._complain(now)
        self._look_again()
        for answer in given_up:
            answer.callback(Silence.STORAGE_LATE)

    def _look_again(self) -> None:
        if self._timer is not None or self._seconds == inf:
            return
        first = [_due(each) for each in (self._waiting, self._late) if each]
        if first:
            pause = max(min(first) - self._clock.seconds(), 0.0)
            self._timer = self._clock.callLater(min(pause, self._seconds), self._look)

    def _complain(self, now: float) -> None:
        if not 0 <= now - self._complained < COMPLAIN_EVERY:
            self._complained = now
            _log.warn(
                "The storage has not answered for {seconds} seconds: {late} requests"
                " were late so far, and {owed} wait",
                seconds=self._seconds,
                late=self._figures["late"],
                owed=self._owed,
            )


def _due(requests: _Requests) -> float:
    """When the first of them is due."""
    return next(iter(requests.values()))[1]


def _cancel(asked: Deferred[Any]) -> None:
    try:
        asked.cancel()
    except Exception:  # noqa: BLE001 - a stranger's may raise anything
        _log.failure("A lost question could not be cancelled")


def limited(
    storage: IStorage,
    around: StorageConfig,
    clock: IReactorTime,
    before: Around | None = None,
) -> Any:
    """What surrounds a storage, as the ``[storage]`` section says.

    Args:
        storage: The inner one.
        around: The section.
        clock: The reactor.
        before: What has surrounded the same storage so far, when the section has changed:
            what is under way there, and what it knows of clients, is kept.

    Returns:
        The outermost, which packets ask; an `IStorage` and an `Around`.
    """
    known = () if before is None else before.layers()
    layers: dict[type[Around], Any] = {type(each): each for each in known}
    deadline = layers.get(Deadline)
    if deadline is None:
        deadline = Deadline(storage, clock, around.deadline, around.outstanding)
    else:
        deadline.change(around.deadline, around.outstanding)
    outer = deadline
    if around.stale:
        outer = layers.get(Stale)
        if outer is None:
            outer = Stale(deadline, clock)
            if not deadline.owes:
                # Else what is shown may be more than has been promised.
                outer.show(storage)
    if around.client_limit is not None or around.port_limit is not None:
        flood = FloodLimit(outer, around.client_limit, around.port_limit)
        flood.remember(layers.get(FloodLimit))
        outer = flood
    return outer
