"""Taking over leases that another server has given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address
from math import inf

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..interfaces import ILeases
from ..lease import EventKind, Lease, LeaseState, Reservation, format_holder
from ..network import Subnet
from ..wire.codes import INFINITE
from .areas import Area
from .changing import Changing
from .index import LeaseIndex


#: What `import_leases` says of a lease, if not why it is a conflict.
TAKEN, KNOWN, ENDED = "taken", "known", "ended"

_ITS_OWN = frozenset({LeaseState.BOUND, LeaseState.RELEASED})


class _Holder:
    """A lease's client, as far as reservations ask for one."""

    def __init__(self, lease: Lease, link: tuple[Subnet, ...]) -> None:
        self.key = lease.key
        self.hardware = lease.hardware
        self.relay = lease.relay
        self._link = link

    def subnet_of(self, address: int) -> Subnet | None:
        """See `Client.subnet_of`."""
        return next((each for each in self._link if each.contains(address)), None)


class _Plan:
    """The leases as they will be, which a dry run leaves at that.

    Attributes:
        changes: What is to happen, in order.
    """

    def __init__(self, index: LeaseIndex) -> None:
        self.changes: list[tuple[EventKind, Lease]] = []
        self._index = index
        self._leases: dict[int, Lease] = {}
        self._clients: dict[tuple[str, bytes], int] = {}

    def at(self, address: int) -> Lease | None:
        """The lease of an address."""
        return self._leases.get(address) or self._index.leases.get(address)

    def of_client(self, key: bytes, subnet: Subnet) -> Lease | None:
        """What a client has in a subnet, or had and could have again."""
        address = self._clients.get((subnet.name, key))
        if address is None:
            address = self._index.area(subnet).clients.get(key)
        lease = None if address is None else self.at(address)
        if lease is None or lease.key != key or lease.state not in _ITS_OWN:
            return None  # another client has it, in the plan at least
        return lease

    def put(self, kind: EventKind, lease: Lease, subnet: Subnet) -> None:
        """Put a lease in; it is then the one that its client has in the subnet."""
        self.changes.append((kind, lease))
        self._leases[lease.address] = lease
        if kind == EventKind.IMPORTED and lease.state in _ITS_OWN:
            self._clients[subnet.name, lease.key] = lease.address


@implementer(ILeases)
class Importing(Changing):
    """The part of a pool that takes leases over.

    What is taken is what a client could renew here; a lease that would only be refused
    at its next contact is a conflict now, while somebody is looking.  One that has ended
    cannot conflict with anything: it makes its address the client's previous one, which it
    gets back (RFC 2131 section 4.3.1), or it is left.
    """

    def import_leases(
        self, leases: Sequence[Lease], when: float, by: str = "", dry_run: bool = False
    ) -> Deferred[list[str]]:
        """See `ILeases.import_leases`."""
        self.now = when
        plan = _Plan(self.index)
        verdicts = [""] * len(leases)

        def merit(number: int) -> tuple[bool, float]:
            return leases[number].held(when), leases[number].expires

        # Of a client's leases the one that lasts longest is seen first, and wins.
        for number in sorted(range(len(leases)), key=merit, reverse=True):
            verdicts[number] = self._decide(leases[number], plan, when)
        if dry_run or not plan.changes:
            return succeed(verdicts)
        for kind, lease in plan.changes:
            self._put_over(lease, imported=kind == EventKind.IMPORTED)
        kept = self.journal.keep(verdicts, when, plan.changes, by or "import")
        return kept if isinstance(kept, Deferred) else succeed(kept)

    def _decide(self, lease: Lease, plan: _Plan, when: float) -> str:
        """Put a lease into the plan, or say why not."""
        area = self.index.area_of(lease.address)
        live = lease.held(when)
        if not live and lease.state == LeaseState.DECLINED:
            return ENDED  # it has rested enough
        if area is None:
            return "in no subnet of this server" if live else ENDED
        link = self.network.link(area.subnet)
        why = (
            self._known(lease, plan, when)
            or self._not_here(lease, area.subnet, link, when)
            or self._other_address(lease, plan, link, when)
        )
        if why:
            return why if live or why == KNOWN else ENDED
        new = _with_our_limits(lease, area.subnet, when)
        for subnet in link:
            other = plan.of_client(new.key, subnet)
            if (
                other is not None
                and other.address != new.address
                and other.bound(when)
                and new.state == LeaseState.BOUND
            ):
                # As if at the moment when the client moved, so that the new one stays
                # its latest, also when this is read from a disk again.
                left = self.ended(other, min(new.since, when))
                plan.put(EventKind.RELEASED, left, subnet)
        rests = new.state == LeaseState.DECLINED
        # What rests has no holder, and history should not name one.
        kind = EventKind.DECLINED if rests else EventKind.IMPORTED
        plan.put(kind, new, area.subnet)
        return TAKEN

    def _known(self, lease: Lease, plan: _Plan, when: float) -> str:
        """Whether what is known of the address already is better; else empty."""
        live = lease.held(when)
        here = plan.at(lease.address)
        if here is not None and here.key == lease.key:
            if here.state == lease.state and here.expires >= lease.expires:
                return KNOWN
            if not live and here.state in _ITS_OWN:
                return KNOWN
            released = here.state == LeaseState.RELEASED
            if released and live and lease.since and here.since >= lease.since:
                return KNOWN  # the client has given it back since then
        if here is not None and here.held(when):
            if here.state == lease.state == LeaseState.DECLINED:
                return KNOWN  # or to import it again would make it rest for ever
            extends = here.key == lease.key and here.state == lease.state
            return "" if extends else _has_it(here, when)
        if here is not None and not live and here.expires >= lease.expires:
            return "somebody else had it later"
        offer = self.index.offers.get(lease.address)
        if offer is not None and offer.key != lease.key and offer.expires > when:
            return f"is being offered to {format_holder(offer)}"
        return ""

    def _not_here(
        self, lease: Lease, subnet: Subnet, link: tuple[Subnet, ...], when: float
    ) -> str:
        """Why its client could not have the address here; empty if it could."""
        address = lease.address
        if address in self.network.addresses or address in subnet.excluded:
            return "is an address of the server or of a router"
        owner = self.reserved.by_address.get(address)
        mine = self._reservation_of(lease, link, when)
        if owner is not None and owner.expires > when:
            if lease.state == LeaseState.DECLINED:
                return f"is reserved by {owner.source!r}, so it does not rest"
            if owner is not mine:
                return f"is reserved for another client by {owner.source!r}"
        elif not subnet.in_pools(address):
            return "is in no pool, and not reserved for its client"
        if (
            mine is not None
            and mine.address not in (None, address)
            and lease.state != LeaseState.DECLINED
            and self.blocker(mine, lease.key, when) is None
        ):
            return f"its client has {IPv4Address(mine.address or 0)} reserved"
        return ""

    def _reservation_of(
        self, lease: Lease, link: tuple[Subnet, ...], when: float
    ) -> Reservation | None:
        holder = _Holder(lease, link)
        return self.reserved.for_client(holder, None, when)  # type: ignore[arg-type]

    def _other_address(
        self, lease: Lease, plan: _Plan, link: tuple[Subnet, ...], when: float
    ) -> str:
        """Which better lease its client has on the same wire; empty if none."""
        if lease.state == LeaseState.DECLINED:
            return ""
        for subnet in link:
            other = plan.of_client(lease.key, subnet)
            if other is None or other.address == lease.address:
                continue
            ours = other.held(when), other.expires
            if ours >= (lease.held(when), lease.expires):
                return f"its client has a later lease, of {IPv4Address(other.address)}"
        return ""

    def _put_over(self, lease: Lease, *, imported: bool) -> None:
        """Put a lease into the index, as the one that its client has on the wire."""
        area = self.index.area_of(lease.address)
        assert area is not None
        if imported and lease.state in _ITS_OWN:
            for subnet in self.network.link(area.subnet):
                self._forget(self.index.area(subnet), lease)
        self.index.put(area, lease)

    def _forget(self, area: Area, lease: Lease) -> None:
        had = area.clients.get(lease.key)
        if had is None or had == lease.address:
            return
        del area.clients[lease.key]
        if self.index.log is not None:
            self.index.log.append(partial(area.clients.__setitem__, lease.key, had))


def _with_our_limits(lease: Lease, subnet: Subnet, when: float) -> Lease:
    """A lease as ours are: nothing begins in the future, and nothing rests too long."""
    expires = lease.expires
    if lease.state == LeaseState.DECLINED:
        expires = min(expires, when + subnet.decline_hold)
    elif lease.state == LeaseState.RELEASED:
        expires = min(expires, when)
    return Lease(
        lease.address,
        lease.state,
        lease.key,
        lease.hardware,
        min(lease.since or when, when, expires),
        expires,
        INFINITE if expires == inf else 0,
        lease.hostname,
        lease.relay,
    )


def _has_it(here: Lease, when: float) -> str:
    state = here.state_name(when)
    if here.state == LeaseState.DECLINED:
        return "rests here, for it was declined"
    return f"is {state} to {format_holder(here)} here"
