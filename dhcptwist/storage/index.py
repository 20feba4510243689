"""Who has which address: the index that the allocation rules work on.

Every change of a lease goes through `LeaseIndex.put`, so there is one place where the
views of it agree, and one that can take a change back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable
from math import inf
from typing import Any, NamedTuple

from ..lease import Lease, LeaseState
from ..network import Network, Subnet
from .areas import Area, is_later, keep_latest, stays
from .calendar import Calendar


class LeaseChange(NamedTuple):
    """What `put` has to know to take a change back."""

    area: Area
    new: Lease
    old: Lease | None
    had: int | None  # where the new lease's client was before
    was_known: bool  # whether the old lease's client was known by this address


#: What an undo log holds: a lease's change, or a function that undoes another's.
Change = LeaseChange | Callable[[], None]


class LeaseIndex:
    """Leases and offers, by address and by client, with the time they end.

    Attributes:
        leases: Address to its last lease, ended or not.
        offers: Address to the offer that is out.
        offer_of: Client key to the address offered.
        by_hardware: Hardware address to the address leased by it, where the client is
            known by another key.
        log: Changes since the transaction before, or None when nobody undoes.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.leases: dict[int, Lease] = {}
        self.offers: dict[int, Lease] = {}
        self.offer_of: dict[bytes, int] = {}
        self.by_hardware: dict[bytes, int] = {}
        self.log: list[Change] | None = None
        self._areas = {
            subnet.name: Area(subnet, self.leases) for subnet in network.subnets
        }
        self._ends = Calendar()
        self._sorted: list[int] = []
        self._changed = 0.0  # when there were other subnets

    @property
    def ends(self) -> Calendar:
        """What ends when, for those who only look."""
        return self._ends

    def area(self, subnet: Subnet) -> Area:
        """What belongs to a subnet."""
        return self._areas[subnet.name]

    def area_of(self, address: int) -> Area | None:
        """What belongs to the subnet an address lies in; None if in none."""
        subnet = self.network.subnet_of(address)
        return None if subnet is None else self._areas[subnet.name]

    # --- leases -------------------------------------------------------------------

    def put(self, area: Area, lease: Lease) -> None:
        """Make this the lease of its address."""
        address = lease.address
        key = lease.key
        clients = area.clients
        old = self.leases.get(address)
        known = False
        if old is not None and old.key != key:
            known = clients.get(old.key) == address
            if known:
                del clients[old.key]
        if self.log is not None:
            self.log.append(LeaseChange(area, lease, old, clients.get(key), known))
        self.leases[address] = lease
        if lease.state is _DECLINED:
            if clients.get(key) == address:
                del clients[key]
        elif lease.state is not _RELEASED or key not in clients:
            clients[key] = address
        if lease.hardware and lease.hardware != key:
            self.by_hardware[lease.hardware] = address
        if old is not None and old.hardware not in (lease.hardware, old.key):
            self._forget_hardware(old.hardware, address)
        if lease.state is _RELEASED:
            area.free.give_back(address)
        else:
            area.free.remove(address)
        self._queue(lease, old)

    def load(
        self, leases: Iterable[Lease], when: float, told: Container[int] = ()
    ) -> None:
        """Take in leases that were kept; ended ones with the oldest first.

        One outside every subnet is known by its address and never given.

        Args:
            leases: They.
            when: Now.
            told: Addresses of ended leases of which `expire` has told already; of the
                others it tells once more that they ended, while nobody was there.
        """
        every = self.leases
        pages, new = self._ends.pages, self._ends.new
        declined, released, bound = _DECLINED, _RELEASED, _BOUND
        area: Area | None = None
        low, high = 1, 0
        for lease in leases:
            address, key = lease.address, lease.key
            every[address] = lease
            # They come by address mostly, so the area is that of the one before.
            if not low <= address <= high:
                area = self.area_of(address)
                low, high = (address, address) if area is None else area.reach
            if area is None:
                continue
            state, expires = lease.state, lease.expires
            if state is not declined:
                had = area.clients.setdefault(key, address)
                if had != address and is_later(lease, every[had], when):
                    area.clients[key] = address
            if lease.hardware is not key and lease.hardware not in (b"", key):
                self.by_hardware[lease.hardware] = address
            if state is released or expires <= when:
                area.free.give_back(address)
                if state is not bound or address in told:
                    continue
            if expires != inf:
                second = int(expires) + 1
                page = pages.get(second) or new(second)
                page.append(address)
                lease.queued = page
        self._keep_latest(self.network.subnets, when)

    def _forget_hardware(self, hardware: bytes, address: int) -> None:
        if self.by_hardware.get(hardware) == address:
            del self.by_hardware[hardware]

    def undo(self, log: list[Change]) -> None:
        """Take changes back, the last one first."""
        missed: set[Subnet] = set()
        for change in reversed(log):
            if not isinstance(change, LeaseChange):
                change()
                continue
            self._undo(change)
            if self._areas.get(change.area.subnet.name) is not change.area:
                area = self.area_of(change.new.address)
                missed |= set() if area is None else {area.subnet}
        # Where an area is no more, that which is there instead has not heard of it.
        self._make_areas(missed, self._changed)

    def _undo(self, change: LeaseChange) -> None:
        area, new, old, had, known = change
        address = new.address
        clients = area.clients
        if had is not None:
            clients[new.key] = had
        elif clients.get(new.key) == address:
            del clients[new.key]
        if new.hardware != new.key:
            self._forget_hardware(new.hardware, address)
        if old is None:
            del self.leases[address]
            area.free.give_back(address)
            return
        self.leases[address] = old
        if known:
            clients[old.key] = address
        if old.hardware and old.hardware != old.key:
            self.by_hardware[old.hardware] = address
        told = old.queued is None and old.expires != inf
        if told or old.state == LeaseState.RELEASED:
            area.free.give_back(address)
        else:
            area.free.remove(address)
            old.queued = None
            self._queue(old, None)

    # --- other subnets ------------------------------------------------------------

    def change_network(self, network: Network, when: float) -> None:
        """Have these subnets from now on.

        What belongs to a subnet that stays as it is stays, too; the rest is made of the
        leases.  They are all kept: those in no subnet end in their time.
        """
        before = {area.subnet.network: area for area in self._areas.values()}
        old, self.network = self.network, network
        self._areas, self._changed = {}, when
        others = []
        for subnet in network.subnets:
            area = before.get(subnet.network)
            if area is not None and stays(area, old, subnet, network):
                area.subnet = subnet
                self._areas[subnet.name] = area
            else:
                others.append(subnet)
        self._make_areas(others, when)
        for address in list(self.offers):
            if network.subnet_of(address) is None:
                self.drop_offer(address)

    def _make_areas(self, subnets: Collection[Subnet], when: float) -> None:
        for subnet in subnets:
            area = self._areas[subnet.name] = Area(subnet, self.leases)
            found = area.fill(self.leases, self.offers, when)
            for hardware, address in found.items():
                had = self.by_hardware.get(hardware)
                if had is None or self.area_of(had) is None:
                    self.by_hardware[hardware] = address
        self._keep_latest(subnets, when)

    def _keep_latest(self, subnets: Iterable[Subnet], when: float) -> None:
        for link in {self.network.link(each) for each in subnets}:
            keep_latest([self._areas[each.name] for each in link], self.leases, when)

    def of_client(self, key: bytes, subnets: tuple[Subnet, ...]) -> Lease | None:
        """The lease a client has on its link, or had and could have again."""
        for subnet in subnets:
            address = self._areas[subnet.name].clients.get(key)
            if address is not None:
                lease = self.leases[address]
                if lease.state in _ITS_OWN:
                    return lease
        return None

    def addresses_of(self, key: bytes) -> set[int]:
        """Every address a client has or had last, by its key or hardware address."""
        found = {a.clients[key] for a in self._areas.values() if key in a.clients}
        if key in self.by_hardware:
            found.add(self.by_hardware[key])
        return found

    def page(self, after: int, limit: int) -> list[Lease]:
        """Leases by address, from the one behind ``after``."""
        # Leases are hardly ever taken out, so their number tells whether this is old.
        if len(self._sorted) != len(self.leases):
            self._sorted = sorted(self.leases)
        start = bisect_right(self._sorted, after)
        found = map(self.leases.get, self._sorted[start : start + limit])
        return [lease for lease in found if lease is not None]

    # --- the end of leases --------------------------------------------------------
    #
    # An address is on one page of the calendar at most (`Lease.queued` says on which),
    # and a renewal leaves it there: it is put off when its time comes.  So renewing
    # costs nothing here.

    def _queue(self, lease: Lease, old: Lease | None) -> None:
        queued: Any = None if old is None else old.queued
        if (
            lease.expires == inf
            or lease.state is _RELEASED
            or (queued is not None and queued[0] <= lease.expires + 1)
        ):
            lease.queued = queued
        else:
            lease.queued = self._ends.note(int(lease.expires) + 1, lease.address)

    def expire(self, when: float, most: int = 100) -> list[Lease]:
        """Give back addresses whose time has ended, ``most`` at a time; whose it was."""
        ended = []
        while most > 0 and (found := self._ends.due(when, most)) is not None:
            page, addresses = found
            most -= len(addresses)
            for address in addresses:
                lease = self.leases.get(address)
                if lease is None or lease.queued is not page:
                    continue
                lease.queued = None
                if lease.state == LeaseState.RELEASED:
                    continue  # given back when it was released
                if lease.expires >= page[0] or lease.held(when):
                    self._queue(lease, None)  # it was renewed since: in its turn
                    continue
                area = self.area_of(address)
                if (
                    area is not None
                    and address not in self.offers
                    and address not in area.free
                ):
                    area.free.give_back(address)
                ended.append(lease)
        return ended

    def look_again(self, lease: Lease) -> None:
        """That a lease has ended was not kept; it will be found once more."""
        if self.leases.get(lease.address) is lease and lease.queued is None:
            lease.queued = self._ends.note(int(lease.expires) + 1, lease.address)

    def shift(self, by: float, unfinished: Iterable[Change]) -> list[Lease]:
        """Move all times by so many seconds; what was moved."""
        every = {id(lease): lease for lease in self.leases.values()}
        every |= {id(offer): offer for offer in self.offers.values()}
        for change in unfinished:
            if isinstance(change, LeaseChange) and change.old is not None:
                every[id(change.old)] = change.old
        for area in self._areas.values():
            area.lapses = deque(
                offer
                for offer in area.lapses
                if self.offers.get(offer.address) is offer
            )
        self._ends = ends = Calendar()
        for lease in every.values():
            lease.since += by
            lease.expires += by
            if lease.expires == inf:
                lease.queued = None
            elif lease.queued is not None:  # else its end was told
                lease.queued = ends.note(int(lease.expires) + 1, lease.address)
        return list(self.leases.values())

    # --- offers -------------------------------------------------------------------

    def hold(self, area: Area, offer: Lease) -> None:
        """Keep an address for the client it is offered to; a client has one offer."""
        had = self.offer_of.get(offer.key)
        if had is not None and had != offer.address:
            self.drop_offer(had)
        before = self.offers.get(offer.address)
        if before is not None and before.key != offer.key:
            del self.offer_of[before.key]  # it has ended, and nobody had noticed
        self.offers[offer.address] = offer
        self.offer_of[offer.key] = offer.address
        area.lapses.append(offer)

    def drop_offer(self, address: int) -> None:
        """The offer was taken, or will not be."""
        offer = self.offers.pop(address, None)
        if offer is None:
            return
        if self.offer_of.get(offer.key) == address:
            del self.offer_of[offer.key]
        if self.comes_back(address):
            return
        area = self.area_of(address)
        if area is not None:
            area.free.give_back(address)

    def comes_back(self, address: int) -> bool:
        """Whether an address is given back when its lease ends, and not before."""
        lease = self.leases.get(address)
        return (
            lease is not None
            and lease.state != LeaseState.RELEASED
            and (lease.queued is not None or lease.expires == inf)
        )

    def lapse(self, area: Area, when: float) -> None:
        """Drop the offers that nobody took in time."""
        lapses = area.lapses
        while lapses and lapses[0].expires <= when:
            offer = lapses.popleft()
            if self.offers.get(offer.address) is offer:
                self.drop_offer(offer.address)


# To look a member of an enumeration up takes as long as three steps of a loop.
_BOUND, _RELEASED = LeaseState.BOUND, LeaseState.RELEASED
_DECLINED = LeaseState.DECLINED
_ITS_OWN = frozenset({_BOUND, _RELEASED})
