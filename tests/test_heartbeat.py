"""What a server does once a second, by a clock that the test moves."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from dhcptwist import heartbeat
from dhcptwist.clock import SteadyClock
from dhcptwist.config import StorageConfig
from dhcptwist.heartbeat import Heartbeat
from dhcptwist.storage.limits import limited
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import network


class TestStalls:
    """What blocks the server is told, and counted."""

    @pytest.fixture
    def reactor(self, monkeypatch):
        """Time, as the reactor and as the processor sees it."""
        reactor = Clock()
        monkeypatch.setattr(heartbeat.time, "monotonic", reactor.seconds)
        return reactor

    @pytest.fixture
    def beating(self, reactor):
        """A server's heart."""
        storage = MemoryStorage(network())
        made = Heartbeat(
            reactor,
            SteadyClock(),
            storage,
            limited(storage, StorageConfig(), reactor),
        )
        made.start()
        yield made
        made.stop()
        assert reactor.getDelayedCalls() == []

    def test_none(self, reactor, beating, complaints):
        """Seconds that come nearly in time are none."""
        for _ in range(30):
            reactor.advance(1.0)
        for _ in range(10):
            reactor.advance(1.9)
        assert (beating.stalls, complaints) == (0, [])

    def test_told_and_counted(self, reactor, beating, complaints):
        """Each is told, with how long it lasted, and what it may have been."""
        reactor.advance(1.0)
        reactor.advance(7.5)
        assert beating.stalls == 1
        [line] = complaints
        assert line.startswith("The whole server stood still for 6.5 seconds: ")
        assert "storage" in line
        for _ in range(5):
            reactor.advance(1.0)
        assert beating.stalls == 1
        reactor.advance(3.1)
        assert beating.stalls == len(complaints) == 2

    def test_a_start_is_none(self, reactor, beating, complaints):
        """Time before it beats does not count; nor while it did not."""
        beating.stop()
        reactor.advance(100.0)
        beating.start()
        reactor.advance(1.0)
        assert (beating.stalls, complaints) == (0, [])
