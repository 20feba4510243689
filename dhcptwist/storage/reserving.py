"""Reservations pushed into the live pool: DESIGN's verdict table, and looking at leases.

The rules for packets (`pool.py`) ask only what is reserved now; everything that changes
it is here.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, succeed

from ..interfaces import ILeaseListener
from ..lease import (
    AddressInUse,
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
    Verdict,
    format_holder,
)
from ..network import Subnet
from .admitting import Admitting


class Reserving(Admitting):
    """The part of a pool that other processes talk to."""

    # --- IReservations ------------------------------------------------------------

    def reserve(
        self, reservation: Reservation, when: float, by: str = ""
    ) -> Deferred[Verdict]:
        """See `IReservations.reserve`."""
        self.now = when
        self.forget_ended(when)
        replaced, blocker = self._ready(reservation, when)
        for each in replaced:
            self.take_out(each)
        self.put_in(reservation)
        blocker, revoked = self._preempted(reservation, blocker, when)
        kept = deferred(
            self.journal.keep(
                None,
                when,
                [(EventKind.REVOKED, revoked)] if revoked else [],
                by or reservation.source,
                [reservation],
                replaced,
            )
        )
        return kept.addCallback(lambda _: self._verdict(reservation, blocker))

    def _ready(
        self, new: Reservation, when: float
    ) -> tuple[list[Reservation], Lease | None]:
        """What a reservation replaces, and who has its address still.

        Raises:
            AddressInUse, ReservationConflict, ValueError: As `reserve` does.
        """
        replaced = self._replaced(new)
        blocker = self.blocker(new, b"", when)
        if blocker is not None and new.on_conflict == OnConflict.REFUSE:
            raise AddressInUse(format_holder(blocker), blocker.expires)
        return replaced, blocker

    def _preempted(
        self, new: Reservation, blocker: Lease | None, when: float
    ) -> tuple[Lease | None, Lease | None]:
        """Who has the address now, and the lease that was taken away for it."""
        if blocker is not None and new.on_conflict == OnConflict.PREEMPT:
            if blocker.state == LeaseState.OFFERED:
                # Nobody uses an address before the ACK: it can go at once.
                self.index.drop_offer(blocker.address)
                return None, None
            if blocker.state == LeaseState.BOUND:
                revoked = self._revoke(blocker, when)
                return revoked, revoked
        return blocker, None

    def _replaced(self, new: Reservation) -> list[Reservation]:
        """What a reservation takes the place of.

        Raises:
            ReservationConflict: It may not.
            ValueError: The address cannot be reserved.
        """
        replaced: list[Reservation] = []
        subnet = self._home(new)
        there = (
            None if new.address is None else self.reserved.by_address.get(new.address)
        )
        if there is not None:
            if there.who != new.who:
                raise ReservationConflict(
                    f"{IPv4Address(new.address or 0)} is reserved for another client"
                    f" by {there.source!r}; cancel that first",
                    there.source,
                )
            replaced.append(there)
        for old in self.reserved.of(new.who):
            same_place = (old.address is None) == (new.address is None) and (
                old.address is None or subnet is None or subnet.contains(old.address)
            )
            if same_place and old not in replaced:
                replaced.append(old)
        for old in replaced:
            if old.source != new.source:
                raise ReservationConflict(
                    f"the client has a reservation made by {old.source!r}, which only"
                    " that source may change",
                    old.source,
                )
        return replaced

    def _home(self, new: Reservation) -> Subnet | None:
        """The subnet of a reservation's address; None if it has no address.

        Raises:
            ValueError: The address cannot be reserved.
        """
        if new.address is None:
            return None
        text = str(IPv4Address(new.address))
        subnet = self.network.subnet_of(new.address)
        if subnet is None:
            raise ValueError(f"{text} is in no subnet of this server")
        if new.address in self.network.addresses:
            raise ValueError(f"{text} is an address of the server itself")
        cidr = subnet.cidr
        ends = int(cidr.network_address), int(cidr.broadcast_address)
        if cidr.prefixlen < 31 and new.address in ends:
            raise ValueError(f"{text} is no host's address in {cidr}")
        return subnet

    def _verdict(
        self, reservation: Reservation, blocker: Lease | None
    ) -> Verdict | Deferred[Verdict]:
        if blocker is None:
            return Verdict("applied")
        waiting = waiting_for(blocker)
        if (
            reservation.on_conflict != OnConflict.PREEMPT
            or blocker.state != LeaseState.REVOKED
        ):
            return waiting
        subnet = self.network.subnet_of(blocker.address)
        probe = self.probe(blocker, subnet) if subnet is not None else None
        if probe is None:
            return waiting
        return probe.addCallback(
            lambda silent: Verdict("applied") if silent else waiting
        )

    def cancel(
        self, reservation: Reservation, when: float, by: str = ""
    ) -> Deferred[None]:
        """See `IReservations.cancel`."""
        self.now = when
        if not self.forget(reservation):
            return succeed(None)
        by = by or reservation.source
        return deferred(self.journal.keep(None, when, by=by, removed=[reservation]))

    def sources(self) -> dict[str, int]:
        """See `IReservations.sources`."""
        found = self.reserved.sources()
        for each in self.aside:
            found[each.source] = found.get(each.source, 0) + 1
        return found

    def revision(self, source: str) -> str:
        """See `IReservations.revision`."""
        aside = [each for each in self.aside if each.source == source]
        return self.reserved.revision(source, aside)

    def reservations(
        self,
        after: tuple[int, str, bytes, bytes] | None,
        limit: int,
        source: str | None,
    ) -> list[Reservation]:
        """See `IReservations.reservations`."""
        return self.reserved.page(after, limit, source)

    # --- ILeases ------------------------------------------------------------------

    def leases(self, after: int, limit: int, subnet: Subnet | None) -> list[Lease]:
        """See `ILeases.leases`."""
        if subnet is None:
            return self.index.page(after, limit)
        page: list[Lease] = []
        after = max(after, subnet.network - 1)
        while len(page) < limit:
            more = self.index.page(after, limit)
            inside = [lease for lease in more if subnet.contains(lease.address)]
            page += inside
            if len(inside) < limit:
                break
            after = more[-1].address
        return page[:limit]

    def find_leases(
        self, address: int | None, hardware: bytes | None, client_id: bytes | None
    ) -> list[Lease]:
        """See `ILeases.find_leases`."""
        index = self.index
        addresses = set() if address is None else {address}
        for key in (hardware, client_id):
            if key is not None:
                addresses |= index.addresses_of(key)
        found = (index.leases.get(each) for each in sorted(addresses))
        return [lease for lease in found if lease is not None]

    def revoke(self, address: int, when: float, by: str = "") -> Deferred[Lease | None]:
        """See `ILeases.revoke`."""
        self.now = when
        lease = self.index.leases.get(address)
        if lease is None or not lease.held(when):
            return succeed(None)
        if lease.state == LeaseState.REVOKED:
            return deferred(self._revoked(lease))  # see again whether it is silent
        if lease.state != LeaseState.BOUND:
            return succeed(None)
        revoked = self._revoke(lease, when)
        kept = deferred(
            self.journal.keep(None, when, [(EventKind.REVOKED, revoked)], by)
        )
        return kept.addCallback(lambda _: self._revoked(revoked))

    def _revoked(self, revoked: Lease) -> Lease | Deferred[Lease]:
        subnet = self.network.subnet_of(revoked.address)
        probe = self.probe(revoked, subnet) if subnet is not None else None
        if probe is None:
            return revoked
        return probe.addCallback(lambda _: self.index.leases[revoked.address])

    def _revoke(self, lease: Lease, when: float) -> Lease:
        """End a lease; its address rests, for its holder has not been told."""
        area = self.index.area_of(lease.address)
        expires = lease.expires
        if expires == inf and area is not None:
            # Nobody reclaims what rests for ever (RFC 2131 has no end for it either).
            expires = when + area.subnet.decline_hold
        revoked = Lease(
            lease.address,
            LeaseState.REVOKED,
            lease.key,
            lease.hardware,
            when,
            expires,
            0,
            lease.hostname,
            lease.relay,
        )
        if area is None:
            self.index.leases[lease.address] = revoked
        else:
            self.index.put(area, revoked)
        return revoked

    def figures(self, when: float) -> dict[str, Any]:
        """See `ILeases.figures`."""
        subnets = {}
        states: dict[str, Counter[str]] = {
            subnet.name: Counter() for subnet in self.network.subnets
        }
        for lease in self.index.leases.values():
            subnet = self.network.subnet_of(lease.address)
            if subnet is not None:
                states[subnet.name][lease.state_name(when)] += 1
        for subnet in self.network.subnets:
            reserved = sum(map(subnet.contains, self.reserved.by_address))
            subnets[subnet.name] = {
                "network": str(subnet.cidr),
                "pool": subnet.size,
                "reserved": reserved,
                **dict(states[subnet.name]),
            }
        return {
            "subnets": subnets,
            "reservations": len(self.reserved),
            "offers": len(self.index.offers),
            "storage": self.journal.figures(),
        }

    def last_event(self) -> int:
        """See `ILeases.last_event`."""
        return self.journal.last_event()

    def add_listener(self, listener: ILeaseListener) -> None:
        """See `ILeases.add_listener`."""
        self.journal.add_listener(listener)

    def remove_listener(self, listener: ILeaseListener) -> None:
        """See `ILeases.remove_listener`."""
        self.journal.remove_listener(listener)


def waiting_for(blocker: Lease) -> Verdict:
    """The verdict while somebody has the address."""
    return Verdict("waiting", format_holder(blocker), blocker.expires)


def deferred(result: Any) -> Deferred[Any]:
    """A Deferred of what a journal answered."""
    return result if isinstance(result, Deferred) else succeed(result)
