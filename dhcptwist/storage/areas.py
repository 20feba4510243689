"""What a pool knows of each subnet, and how that is made of its leases."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from ..lease import Lease, LeaseState
from ..network import Network, Subnet
from .free import FreeAddresses


class Area:
    """What belongs to one subnet.

    Attributes:
        subnet: The subnet.
        reach: Its first and last address.
        free: Its free addresses.
        clients: Client key to the address it has, or had last.
        lapses: Offers in the order in which they end.
    """

    __slots__ = ("clients", "free", "lapses", "reach", "subnet")

    def __init__(self, subnet: Subnet, leases: dict[int, Lease]) -> None:
        self.subnet = subnet
        self.reach = subnet.network, subnet.network | ~subnet.mask & 0xFFFFFFFF
        self.free = FreeAddresses(subnet.ranges, leases)
        self.clients: dict[bytes, int] = {}
        self.lapses: deque[Lease] = deque()

    def remember(self, key: bytes, address: int) -> None:
        """A client had this address last, as before it went elsewhere."""
        self.clients.setdefault(key, address)

    def fill(
        self, leases: Mapping[int, Lease], offers: Mapping[int, Lease], when: float
    ) -> dict[bytes, int]:
        """Take in what there is of this subnet among all.

        Returns:
            Hardware address to the address leased by it, where the client is known by
            another key.
        """
        by_hardware = {}
        ended = []
        for lease in self._inside(leases):
            key = lease.key
            if lease.state is not LeaseState.DECLINED:
                had = self.clients.setdefault(key, lease.address)
                if had != lease.address and is_later(lease, leases[had], when):
                    self.clients[key] = lease.address
            if lease.hardware not in (b"", key):
                by_hardware[lease.hardware] = lease.address
            # What is noted in the calendar is given back in its time.
            told = lease.queued is None and lease.expires != inf
            if told or lease.state is LeaseState.RELEASED:
                ended.append(lease)
        for lease in sorted(ended, key=_end):
            self.free.give_back(lease.address)
        self.lapses.extend(sorted(self._inside(offers), key=_end))
        return by_hardware

    def _inside(self, leases: Mapping[int, Lease]) -> Iterator[Lease]:
        first, last = self.reach
        if last - first < len(leases):
            found = map(leases.get, range(first, last + 1))
            return (each for each in found if each is not None)
        return (each for each in leases.values() if first <= each.address <= last)


def stays(area: Area, old: Network, subnet: Subnet, new: Network) -> bool:
    """Whether what is known of a subnet holds for what it becomes."""
    was = area.subnet
    return (
        was.cidr == subnet.cidr
        and was.ranges == subnet.ranges
        and was.excluded == subnet.excluded
        and {each.cidr for each in old.link(was)}
        == {each.cidr for each in new.link(subnet)}
    )


def keep_latest(link: Sequence[Area], leases: Mapping[int, Lease], when: float) -> None:
    """Forget what clients had in other subnets of a wire than they were in last."""
    latest: dict[bytes, Area] = {}
    for area in link if len(link) > 1 else ():
        for key, address in list(area.clients.items()):
            other = latest.setdefault(key, area)
            if other is area:
                continue
            if is_later(leases[address], leases[other.clients[key]], when):
                del other.clients[key]
                latest[key] = area
            else:
                del area.clients[key]


def is_later(lease: Lease, other: Lease, when: float) -> bool:
    """Which of its addresses a client gets: the one it uses, or that of its latest lease.

    One that was taken over may have begun before another of its client's that has ended.
    """
    return (lease.bound(when), lease.since, lease.expires) >= (
        other.bound(when),
        other.since,
        other.expires,
    )


def _end(lease: Lease) -> float:
    return lease.expires
