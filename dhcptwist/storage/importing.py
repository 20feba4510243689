"""Taking over leases that another server has given."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from math import inf

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..interfaces import ILeases
from ..lease import EventKind, Lease, LeaseState, format_holder
from .index import Area
from .reserving import Reserving


TAKEN, KNOWN = "taken", "known"


@implementer(ILeases)
class Importing(Reserving):
    """The part of a pool that takes leases over.

    What is taken is what a client could renew here; a lease that would only be refused
    at its next contact is a conflict now, while somebody is looking.
    """

    def import_leases(
        self, leases: Sequence[Lease], when: float, by: str = "", dry_run: bool = False
    ) -> Deferred[list[str]]:
        """See `ILeases.import_leases`."""
        self.now = when
        verdicts = []
        taken: list[tuple[EventKind, Lease]] = []
        # A client's own leases in this batch, so that a dry run sees them, too.
        coming: dict[tuple[str, bytes], Lease] = {}
        for lease in leases:
            area = self.index.area_of(lease.address)
            verdict = (
                "in no subnet of this server"
                if area is None
                else self._verdict_of(lease, area, coming, when)
            )
            verdicts.append(verdict)
            if verdict == TAKEN and area is not None:
                coming[area.subnet.name, lease.key] = lease
                new = self._taken(lease, area, when)
                if not dry_run:
                    taken += self._leave(area, new, when)
                    self.index.put(area, new)
                    taken.append((EventKind.IMPORTED, new))
        if not taken:
            return succeed(verdicts)
        kept = self.journal.keep(verdicts, when, taken, by or "import")
        return kept if isinstance(kept, Deferred) else succeed(kept)

    def _verdict_of(
        self,
        lease: Lease,
        area: Area,
        coming: dict[tuple[str, bytes], Lease],
        when: float,
    ) -> str:
        """``taken``, ``known``, or why not."""
        address, key, subnet = lease.address, lease.key, area.subnet
        if address in self.network.addresses or address in subnet.excluded:
            return "an address of the server or a router"
        owner = self.reserved.by_address.get(address)
        mine = owner is not None and owner.owns(lease)
        if owner is not None and owner.expires > when and not mine:
            return f"reserved for another client by {owner.source!r}"
        if not mine and not subnet.in_pools(address):
            return "in no pool, and not reserved for this client"
        here = self.index.leases.get(address)
        offer = self.index.offers.get(address)
        if here is not None and here.key == key and here.state == lease.state:
            if here.expires >= lease.expires:
                return KNOWN
        elif here is not None and here.held(when):
            return (
                f"{here.state_name(when)} to {format_holder(here)} here"
                if here.key != key or here.state != LeaseState.BOUND
                else KNOWN
            )
        elif here is not None and not lease.held(when) and here.since >= lease.since:
            return "somebody had it later here"
        if offer is not None and offer.key != key and offer.expires > when:
            return f"being offered to {format_holder(offer)}"
        return self._other_lease(lease, area, coming, when)

    def _other_lease(
        self,
        lease: Lease,
        area: Area,
        coming: dict[tuple[str, bytes], Lease],
        when: float,
    ) -> str:
        """``taken``, unless its client has a better one in the subnet."""
        if lease.state == LeaseState.DECLINED:
            return TAKEN
        other = coming.get((area.subnet.name, lease.key))
        if other is None:
            other = self.index.of_client(lease.key, (area.subnet,))
        if other is None or other.address == lease.address:
            return TAKEN
        ours = other.held(when), other.expires
        if ours >= (lease.held(when), lease.expires):
            return f"its client has {IPv4Address(other.address)}, for longer"
        return TAKEN

    def _taken(self, lease: Lease, area: Area, when: float) -> Lease:
        """A lease of ours, with our limits."""
        expires = lease.expires
        if lease.state == LeaseState.DECLINED:
            expires = min(expires, when + area.subnet.decline_hold)
        # Nothing can have begun in the future, and what has ended began before.
        since = min(lease.since or when, when, expires)
        ended = lease.state == LeaseState.RELEASED
        return Lease(
            lease.address,
            lease.state,
            lease.key,
            lease.hardware,
            since,
            min(expires, when) if ended and expires != inf else expires,
            0,
            lease.hostname,
            lease.relay,
        )

    def _leave(
        self, area: Area, new: Lease, when: float
    ) -> list[tuple[EventKind, Lease]]:
        """End what the client had in the subnet before, as a move does."""
        had = area.clients.get(new.key)
        if had is None or had == new.address or new.state == LeaseState.DECLINED:
            return []
        left = self.index.leases[had]
        if left.state != LeaseState.BOUND:
            return []
        ended = self.ended(left, when)
        self.index.put(area, ended)
        return [(EventKind.RELEASED, ended)]
