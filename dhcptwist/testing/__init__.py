"""For those who embed or extend: packets, a client, and a contract for storages.

`StorageContract` is the executable definition of `IStorage`: a storage of your own proves
itself with three lines::

    class TestMine(StorageContract):
        def make(self, network, reservations=()):
            return MyStorage(network, reservations)

One that keeps what it decides takes `DurableStorageContract`, and says how it is opened
again.  Both try random histories with hypothesis, which has to be installed.
"""

from .contract import DurableStorageContract, StorageContract
from .parts import FakeClient, MemoryServer, Sent, answer, ip, network, subnet


__all__ = [
    "DurableStorageContract",
    "FakeClient",
    "MemoryServer",
    "Sent",
    "StorageContract",
    "answer",
    "ip",
    "network",
    "subnet",
]
