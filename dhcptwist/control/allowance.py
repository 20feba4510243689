"""How often one may ask: so many at once, and as many again in a time."""

from __future__ import annotations

from ..config import Rate


class Allowance:
    """What is left of a rate, with one number (the generic cell rate algorithm).

    Args:
        rate: How many at once, and in how many seconds they come back.

    Attributes:
        rate: The same.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._each = rate.seconds / rate.count
        self._even = 0.0  # when everything will have come back

    def take(self, when: float) -> float:
        """Take one; 0, or the seconds after which there will be one."""
        seconds = self.rate.seconds
        # Never more than a whole rate away: the clock may have been set back.
        even = self._even = min(max(self._even, when), when + seconds)
        wait = even + self._each - when - seconds
        # A hundredth of one is for the rounding of floats.
        if wait > self._each / 100:
            return wait
        self._even = even + self._each
        return 0.0
