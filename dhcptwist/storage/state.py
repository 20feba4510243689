"""What a pool knows, and the questions that packets and control calls both ask of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..interfaces import IClockListener, IProber, IStorageService
from ..lease import EventKind, Lease, LeaseState, Reservation
from ..network import Network, Subnet
from ..wire.codes import INFINITE
from .index import LeaseIndex
from .journal import EXPIRY, PROBE, Journal
from .reservations import ReservationIndex


#: Leases that end in one tick of the clock: more would hold up packets.
MOST_ENDS = 1000


@implementer(IClockListener, IStorageService)
class PoolState:
    """The leases, the reservations, and where they are kept.

    Args:
        network: The subnets.
        reservations: Those of the configuration.
        journal: Keeps what is decided; by default nothing is kept.
        prober: Finds out whether a revoked address is still used; None if nothing can.
        members: Another system that knows who clients are, asked by its
            ``reservation_for(client)`` about those who have no reservation here.

    Attributes:
        now: The time of the packet or call last seen.
        reserved: The reservations that are in force.
        aside: Pushed ones that are not, for the configuration's are in their way.
    """

    def __init__(
        self,
        network: Network,
        reservations: Iterable[Reservation] = (),
        journal: Journal | None = None,
        prober: IProber | None = None,
        members: Any = None,
    ) -> None:
        self.network = network
        self.journal = Journal() if journal is None else journal
        self.prober = prober
        self.members = members
        self.index = LeaseIndex(network)
        self.index.log = self.journal.log
        self.reserved = ReservationIndex()
        for reservation in reservations:
            self.reserved.add(reservation)
        self.aside: list[Reservation] = []
        self.now = 0.0
        self.stepped = 0.0
        self._relays: set[int] = set()
        self._second = -inf
        self._ends: dict[tuple[int, bool], float] = {}

    def start(self, when: float) -> Deferred[None] | None:
        """See `IStorageService.start`."""
        self.now = when
        return None

    def stop(self) -> Deferred[None] | None:
        """See `IStorageService.stop`: the other system is let go."""
        if hasattr(self.members, "stop"):
            stopped: Deferred[None] | None = self.members.stop()
            return stopped
        return None

    def clock_stepped(self, by: float) -> Deferred[None] | None:
        """See `IClockListener`: every time moves, so nobody's remaining time does."""
        self.now += by
        self.stepped += by
        moved = self.index.shift(by, self.journal.unfinished())
        return self.journal.moved(moved, self.shift_reservations(by), self.now, by)

    def shift_reservations(self, by: float) -> list[Reservation]:
        """Move the ends of those that have one; what was moved."""
        return self.reserved.shift(by)

    def clock_ticked(self, when: float) -> None:
        """See `IClockListener`: what has ended is told, even if nobody asks."""
        self.now = when
        for subnet in self.network.subnets:
            self.index.lapse(self.index.area(subnet), when)
        self.expire(when, MOST_ENDS)

    def expire(self, when: float, most: int = 100) -> None:
        """Give back addresses whose time has ended, so many at once, and say so."""
        ended = self.index.expire(when, most)
        if ended:
            if self.index.log is not None:
                self.index.log += [
                    partial(self.index.look_again, each) for each in ended
                ]
            keep_quietly(
                self.journal.keep(
                    None, when, [(EventKind.EXPIRED, each) for each in ended], EXPIRY
                )
            )

    def seconds_of(self, when: float, duration: int) -> tuple[float, float]:
        """When a lease of so many seconds begins and ends, in whole seconds.

        It never ends before what the client was told.  Leases of one second share these
        objects, which would otherwise be a seventh of what a lease takes in memory.
        """
        if not self._second <= when < self._second + 1:
            self._second = float(int(when))
            self._ends = {}
        begun = when > self._second
        ends = self._ends.get((duration, begun))
        if ends is None:
            ends = inf if duration == INFINITE else self._second + begun + duration
            self._ends[duration, begun] = ends
        return self._second, ends

    def is_reserved(self, address: int, when: float) -> bool:
        """Whether an address belongs to one client, whoever that is."""
        reservation = self.reserved.by_address.get(address)
        return reservation is not None and reservation.expires > when

    def blocker(
        self, reservation: Reservation, key: bytes, when: float
    ) -> Lease | None:
        """Who keeps a reserved address from its client: a lease or an offer."""
        address = reservation.address
        if address is None:
            return None
        lease = self.index.leases.get(address)
        if lease is not None and lease.held(when):
            owned = lease.key == key or reservation.owns(lease)
            if lease.state != LeaseState.BOUND or not owned:
                return lease
            return None
        offer = self.index.offers.get(address)
        if (
            offer is not None
            and offer.expires > when
            and offer.key != key
            and not reservation.owns(offer)
        ):
            return offer
        return None

    @staticmethod
    def ended(lease: Lease, when: float) -> Lease:
        """The lease after its holder has left it."""
        return Lease(
            lease.address,
            LeaseState.RELEASED,
            lease.key,
            lease.hardware,
            when,
            when,
            0,
            lease.hostname,
            lease.relay,
        )

    def probe(self, revoked: Lease, subnet: Subnet) -> Deferred[bool] | None:
        """Ask whether the holder of a revoked address has left it.

        Returns:
            None if nothing can probe here; else a Deferred of whether the address was
            silent and is free now, on disk.
        """
        asked = self.ask(revoked.address, subnet)
        return None if asked is None else asked.addCallback(self._probed, revoked)

    def ask(self, address: int, subnet: Subnet) -> Deferred[bool] | None:
        """Ask whether somebody uses an address; None if nothing can probe here.

        Nobody is asked before what is under way is on disk: a client whose ACK waits
        for that does not know yet that it has the address.
        """
        if self.prober is None:
            return None
        settled = self.journal.settled()
        return Deferred.fromCoroutine(_ask(self.prober, address, subnet, settled))

    def _probed(self, answered: bool, revoked: Lease) -> Any:
        area = self.index.area_of(revoked.address)
        if (
            answered
            or area is None
            or self.index.leases[revoked.address] is not revoked
        ):
            return not answered
        ended = self.ended(revoked, self.now)
        self.index.put(area, ended)
        return self.journal.keep(True, self.now, [(EventKind.FREED, ended)], PROBE)


def keep_quietly(kept: Any) -> None:
    """Wait for nobody: that it failed is logged by the journal."""
    if isinstance(kept, Deferred):
        kept.addErrback(lambda _: None)


async def _ask(
    prober: IProber, address: int, subnet: Subnet, settled: Deferred[None] | None
) -> bool:
    if settled is not None:
        await settled
    answered: bool = await prober.probe(address, subnet)
    return answered
