"""What a packet would find changed when it comes: ends that nobody has noticed yet.

A pool looks at what has ended when somebody asks for an address.  Who only wants to know
what would be given must not touch it, and sees here what would come of the look.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

from ..client import Client
from ..lease import Lease, LeaseState
from .areas import Area
from .index import LeaseIndex
from .reservations import ReservationIndex


def returned(
    index: LeaseIndex, reserved: ReservationIndex, client: Client, when: float
) -> tuple[dict[str, list[int]], set[int]]:
    """What would be given back before a client is given an address dynamically.

    Returns:
        By the name of its subnet, the addresses in the order in which they come back;
        and the addresses of the offers that would be dropped.
    """
    back: dict[str, list[int]] = {}

    def give_back(address: int) -> None:
        area = index.area_of(address)
        if area is not None:
            back.setdefault(area.subnet.name, []).append(address)

    for address in _unreserved(index, reserved, when):
        give_back(address)
    dropped: set[int] = set()
    for subnet in client.subnets:
        for offer in lapsing(index, index.area(subnet), when):
            dropped.add(offer.address)
            if not index.comes_back(offer.address):
                give_back(offer.address)
    for lease in ending(index, when):
        area = index.area_of(lease.address)
        if (
            area is not None
            and (lease.address not in index.offers or lease.address in dropped)
            and lease.address not in area.free
            and lease.address not in back.get(area.subnet.name, ())
        ):
            give_back(lease.address)
    return back, dropped


def _unreserved(
    index: LeaseIndex, reserved: ReservationIndex, when: float
) -> Iterator[int]:
    """Addresses that come back because their reservation has ended."""
    for reservation in reserved.ending(when):
        address = reservation.address
        if address is not None and address not in index.offers:
            lease = index.leases.get(address)
            if lease is None or not lease.held(when):
                yield address


def lapsing(index: LeaseIndex, area: Area, when: float) -> Iterator[Lease]:
    """The offers that `LeaseIndex.lapse` would drop."""
    for offer in area.lapses:
        if offer.expires > when:
            return
        if index.offers.get(offer.address) is offer:
            yield offer


def ending(index: LeaseIndex, when: float, most: int = 100) -> list[Lease]:
    """Whose leases `LeaseIndex.expire` would end."""
    pages = index.ends.pages
    seconds = index.ends.seconds(when)
    ended: list[Lease] = []
    seen: set[int] = set()
    later: dict[int, list[int]] = {}
    while seconds and most > 0:
        second = heappop(seconds)
        page = pages.get(second)
        noted = [] if page is None else page[1 : 1 + most].tolist()
        moved = later.pop(second, [])[: most - len(noted)]
        most -= len(noted) + len(moved)
        found = (index.leases.get(address) for address in noted)
        true = [each for each in found if each is not None and each.queued is page]
        for lease in (*true, *(index.leases[address] for address in moved)):
            if lease.address in seen or lease.state is LeaseState.RELEASED:
                continue
            if lease.expires < second and not lease.held(when):
                seen.add(lease.address)
                ended.append(lease)
                continue
            # It was renewed since: it would be looked at again in its turn.
            turn = inf if lease.expires == inf else int(lease.expires) + 1
            if turn <= when:
                if turn not in later and turn not in pages:
                    heappush(seconds, int(turn))
                later.setdefault(int(turn), []).append(lease.address)
    return ended
