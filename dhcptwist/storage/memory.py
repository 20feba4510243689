"""``memory:``: a pool that forgets everything when the server stops."""

from __future__ import annotations

from .pool import PoolStorage


class MemoryStorage(PoolStorage):
    """For tests, for load measurements, and for networks where nobody minds."""
