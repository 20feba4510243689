"""What a server does of its own accord, once a second: look at its clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .interfaces import IClockListener


_log = Logger()

#: Seconds between two looks at whether the wall clock was set.
CLOCK_WATCH = 10.0

#: Seconds between two ticks of a storage's clock.
CLOCK_TICK = 1.0

#: Seconds for which nothing may happen in this process before it is told and counted.
LONGEST_STALL = 1.0


class Heartbeat:
    """Tells a storage of the time, and people of time that went wrong.

    Args:
        reactor: The reactor.
        clock: The server's time, a `clock.SteadyClock`.
        storage: Is told of ticks and steps, if it is an `IClockListener`.
        limited: The limits around it; they are told of steps.

    Attributes:
        limited: The limits around it.
        stalls: How often nothing was heard for more than `LONGEST_STALL`.
    """

    def __init__(self, reactor: Any, clock: Any, storage: Any, limited: Any) -> None:
        self.reactor = reactor
        self.clock = clock
        self.stalls = 0
        self._storage: Any = IClockListener(storage, None)
        self.limited = limited
        self._loops: list[LoopingCall] = []
        self._looked = 0.0
        self._tick_failed = False

    def start(self) -> None:
        """Begin to beat."""
        self._looked = time.monotonic()
        self._every(CLOCK_WATCH, self._watch_clock)
        self._every(CLOCK_TICK, self._watch_stalls)
        if self._storage is not None:
            self._every(CLOCK_TICK, self._tick)

    def stop(self) -> None:
        """Beat no more."""
        for loop in self._loops:
            loop.stop()
        self._loops = []

    def _every(self, seconds: float, step: Callable[[], Any]) -> None:
        loop = LoopingCall(step)
        loop.clock = self.reactor
        loop.start(seconds, now=False)
        self._loops.append(loop)

    def _watch_clock(self) -> None:
        by = self.clock.step()
        if by:
            _log.warn("The wall clock was set by {by:.0f} seconds", by=by)
            self.limited.clock_stepped(by)
            if self._storage is not None:
                moved: Deferred[None] = maybeDeferred(self._storage.clock_stepped, by)
                moved.addErrback(
                    lambda failure: _log.failure("Times could not be moved", failure)
                )

    def _watch_stalls(self) -> None:
        """Nothing is heard while a storage, or whoever shares the process, blocks."""
        now = time.monotonic()
        late, self._looked = now - self._looked - CLOCK_TICK, now
        if late > LONGEST_STALL:
            self.stalls += 1
            _log.warn(
                "The whole server stood still for {late:.1f} seconds: something blocked"
                " it, such as a storage that waits for a database or disk without a"
                " thread or a Deferred",
                late=late,
            )

    def _tick(self) -> Deferred[None]:
        ticked: Deferred[None] = maybeDeferred(self._storage.clock_ticked, self.clock())
        return ticked.addCallbacks(self._has_ticked, self._has_not_ticked)

    def _has_ticked(self, _: Any) -> None:
        self._tick_failed = False

    def _has_not_ticked(self, failure: Failure) -> None:
        # Once for all of a row: what fails now will fail in a second, too.
        if not self._tick_failed:
            self._tick_failed = True
            _log.failure("The storage does not follow the clock", failure)
