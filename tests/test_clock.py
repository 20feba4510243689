"""Invariant 8: time that jumps moves nobody's lease."""

from __future__ import annotations

import time

import pytest

from dhcptwist.clock import SteadyClock


class Times:
    """A wall clock that can be set, and seconds that only pass."""

    def __init__(self, wall=1_700_000_000.0, elapsed=250.0):
        self.wall = wall
        self.elapsed = elapsed

    def pass_by(self, seconds):
        """Let so many seconds pass."""
        self.wall += seconds
        self.elapsed += seconds


@pytest.fixture
def times():
    """Times to play with."""
    return Times()


@pytest.fixture
def clock(times):
    """A clock on them."""
    return SteadyClock(lambda: times.wall, lambda: times.elapsed)


class TestSteadyClock:
    """The wall clock's time, but for its jumps."""

    def test_begins_with_the_wall_clock(self, clock):
        """A new clock shows the wall clock's time."""
        assert clock() == 1_700_000_000.0

    def test_flows(self, clock, times):
        """It goes on by the seconds that pass."""
        times.pass_by(90.5)
        assert clock() == 1_700_000_090.5

    @pytest.mark.parametrize("by", [3600.0, -3600.0, 1.6e9, -1.6e9, 0.5])
    def test_a_set_wall_clock_does_not_move_it(self, clock, times, by):
        """Setting the wall clock changes nothing until `step` is asked."""
        times.wall += by
        assert clock() == 1_700_000_000.0
        times.pass_by(10)
        assert clock() == 1_700_000_010.0

    @pytest.mark.parametrize("by", [3600.0, -3600.0, 1.6e9, -1.6e9, 5.0, -5.0])
    def test_step(self, clock, times, by):
        """`step` takes the wall clock over, and tells by how much it was set."""
        times.pass_by(10)
        times.wall += by
        assert clock.step() == by
        assert clock() == times.wall
        assert clock.step() == 0.0
        times.pass_by(10)
        assert clock() == times.wall

    @pytest.mark.parametrize("by", [0.0, 0.25, -0.25, 4.75, -4.75])
    def test_small_differences(self, clock, times, by):
        """What is below the tolerance is left alone: it is no setting."""
        times.wall += by
        assert clock.step() == 0.0
        assert clock() == 1_700_000_000.0

    def test_small_differences_add_up(self, clock, times):
        """A wall clock that drifts is followed once it is far enough away."""
        times.wall += 3.0
        assert clock.step() == 0.0
        times.wall += 3.0
        assert clock.step() == 6.0
        assert clock() == times.wall

    def test_suspended(self, clock, times):
        """Sleep is time that passes, on the wall and in here: it is no step."""
        times.pass_by(8 * 3600)
        assert clock.step() == 0.0
        assert clock() == times.wall

    def test_from_1970(self, times):
        """TRAPS 51: a board without a battery starts in 1970 until NTP comes."""
        times.wall = 12.0
        clock = SteadyClock(lambda: times.wall, lambda: times.elapsed)
        times.pass_by(30)
        times.wall += 1.7e9
        assert clock() == 42.0
        assert clock.step() == 1.7e9
        assert clock() == 1.7e9 + 42

    def test_real_clocks(self, monkeypatch):
        """Without arguments these are the wall clock and the time since boot."""
        asked = []

        def elapsed(which):
            asked.append(which)
            return 1000.0 + len(asked)

        monkeypatch.setattr(time, "clock_gettime", elapsed)
        clock = SteadyClock(wall=lambda: 5000.0)
        assert clock() == 5001.0
        # BOOTTIME, unlike MONOTONIC, counts while the machine sleeps.
        assert asked == [time.CLOCK_BOOTTIME] * 2

    def test_default_wall_clock(self):
        """The default wall clock counts seconds since 1970."""
        assert SteadyClock.__init__.__defaults__[0] is time.time
