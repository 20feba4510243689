"""Watching what happens: the side that is told.

The server tells a batch of events, and waits with the next until that is answered; it
is answered when all of it has been looked at.  So nobody is flooded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.python.failure import Failure


class Batch(NamedTuple):
    """Some events, in order.

    Attributes:
        events: They.
        number: Of the last one that was looked at for them.
        lost: How many before them are no longer kept.
        looked_at: Fires when the next ones may come.
    """

    events: list[dict[str, Any]]
    number: int
    lost: int
    looked_at: Deferred[dict[str, Any]]


class Batches:
    """Between a connection, which is told, and a `Watch`, which asks."""

    def __init__(self) -> None:
        self._queue: DeferredQueue[Batch | None] = DeferredQueue()
        self._reason: Failure | None = None

    def put(
        self, events: list[dict[str, Any]], number: int, lost: int
    ) -> Deferred[dict[str, Any]]:
        """Some events have come."""
        batch = Batch(events, number, lost, Deferred())
        self._queue.put(batch)
        return batch.looked_at

    def end(self, reason: Failure) -> None:
        """No more will."""
        self._reason = reason
        self._queue.put(None)

    async def get(self) -> Batch:
        """The next ones; raises what the connection ended with."""
        batch = await self._queue.get()
        if batch is None:
            assert self._reason is not None
            self._queue.put(None)  # for whoever asks again
            self._reason.raiseException()
        return batch


class Watch:
    """What happens, as it happens: ``async for event in watch``.

    Args:
        number: Of the last event before the first that will come.
        batches: What comes.
        translate: Makes an error of ours of one of the connection.

    Attributes:
        number: Of the last event that was looked at: who asks for the next one has.
            A new watch that begins behind it misses nothing.
    """

    def __init__(
        self,
        number: int,
        batches: Batches,
        translate: Callable[[Exception], Exception],
    ) -> None:
        self.number = number
        self._batches = batches
        self._translate = translate
        self._batch = Batch([], number, 0, Deferred())
        self._left: list[dict[str, Any]] = []
        self._now = number

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next event.

        One of kind ``lost`` stands for as many as its ``lost`` says, which are no longer
        kept; its ``number`` is that of the last of them.

        Raises:
            NoServer: The connection is gone.
        """
        self.number = self._now
        while not self._left:
            self.number = self._now = self._batch.number
            if not self._batch.looked_at.called:
                self._batch.looked_at.callback({})
            try:
                self._batch = await self._batches.get()
            except Exception as error:
                raise self._translate(error) from error
            self._left = list(reversed(self._batch.events))
            if self._batch.lost:
                last = self.number + self._batch.lost
                lost = {"kind": "lost", "number": last, "lost": self._batch.lost}
                self._left.append(lost)
        event = self._left.pop()
        self._now = event["number"]
        return event
