"""A clock that a set wall clock does not move."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def _elapsed() -> float:
    """Seconds that pass even while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Wall-clock time that only ever flows.

    It begins at the wall clock's time and goes on by the seconds that pass.  When the
    wall clock is set (by NTP on a board that wakes up in 1970, or by hand), leases
    neither all end nor last forever: `step` tells by how much it was set, and whoever
    keeps times moves them.

    Args:
        wall: Seconds since 1970.
        elapsed: Seconds since whenever, which nobody can set.
    """

    #: A difference smaller than this many seconds is left alone.
    TOLERANCE = 5.0

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = _elapsed,
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._base = wall() - elapsed()

    def __call__(self) -> float:
        """The present, in seconds since 1970."""
        return self._base + self._elapsed()

    def step(self) -> float:
        """Take over the wall clock if it was set.

        Returns:
            By how many seconds it was; 0.0 if it was not.
        """
        by = self._wall() - self()
        if abs(by) < self.TOLERANCE:
            return 0.0
        self._base += by
        return by


def steady_timers(reactor: Any) -> None:
    """Let a reactor's timers go by the seconds that pass.

    Twisted's own go by the wall clock: set back by an hour, they would all stand still
    for that hour, and with them whoever waits for one.  Timers made before stay right.

    Args:
        reactor: It; ``twistd dhcp`` does this, other programs do it once, at their start.
    """
    elapsed, boot = time.clock_gettime, time.CLOCK_BOOTTIME
    base = time.time() - elapsed(boot)
    reactor.seconds = lambda: base + elapsed(boot)
