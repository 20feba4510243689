"""The storages pass the contract, and keep what they promise beyond it."""

from __future__ import annotations

from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import StorageContract


class TestMemory(StorageContract):
    """``memory:`` keeps the contract."""

    def make(self, network, reservations=()):
        """An empty pool."""
        return MemoryStorage(network, reservations)
