"""Our storages pass the contract, alone and with everything around them."""

from __future__ import annotations

import shutil
from itertools import count

import pytest
from disks import Disk
from twisted.internet.task import Clock

from dhcptwist.config import Rate, StorageConfig
from dhcptwist.storage.limits import limited
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import DurableStorageContract, StorageContract, answer


class TestMemory(StorageContract):
    """``memory:`` keeps the contract."""

    def make(self, network, reservations=()):
        """An empty pool."""
        return MemoryStorage(network, reservations)


class TestLimited(StorageContract):
    """Limits, deadlines and fallbacks change nothing for who keeps to them."""

    def make(self, network, reservations=()):
        """An empty pool with all there is around it."""
        around = StorageConfig(
            stale=True, client_limit=Rate(1000, 1.0), port_limit=Rate(1000, 1.0)
        )
        return limited(MemoryStorage(network, reservations), around, Clock())


class TestSQLite(DurableStorageContract):
    """``sqlite:`` keeps the contract, with real files."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path):
        self.places = (tmp_path / f"{n}.sqlite" for n in count())
        self.disks = []
        yield
        for disk in self.disks:
            disk.close()

    def make(self, network, reservations=()):
        """An empty file."""
        self.disks.append(Disk(next(self.places), reservations, network))
        return self.disks[-1].storage

    def wait(self, result):
        """After a sync."""
        for disk in self.disks:
            disk.sync()
        return answer(result)

    def restart(self, storage, network, reservations):
        """Close the file, and open it again."""
        old = self.disks.pop()
        old.close()
        when = old.storage.now
        self.disks.append(Disk(old.path, reservations, network, when))
        return self.disks[-1].storage

    def crash(self, storage, network, reservations):
        """Open what a power cut would have left of the file at this moment."""
        path = next(self.places)
        for end in ("", "-wal"):
            shutil.copyfile(f"{self.disks[-1].path}{end}", f"{path}{end}")
        when = storage.now
        self.disks.append(Disk(path, reservations, network, when))
        return self.disks[-1].storage
