"""What a decision does to the index and the journal: an offer held, a lease bound."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

from ..client import Client
from ..lease import EventKind, Lease, LeaseState, Refused, Reservation, Settings
from ..network import Subnet
from .areas import Area
from .waiting import Waiting


#: A client that has to wait for its reserved address comes back at least this often,
#: and gets at least this long, in seconds.
TEMPORARY_TIME = 60

#: A client whose reserved address rests or was revoked comes back after so many seconds.
RETRY_TIME = 300


class Granting(Waiting):
    """The part of a pool that gives addresses out, once it is decided which."""

    def propose(
        self,
        client: Client,
        subnet: Subnet,
        address: int,
        when: float,
        settings: Settings | None,
        until: float = inf,
    ) -> Lease:
        """Hold an address for a client and say so."""
        index = self.index
        duration = subnet.duration(client.requested_time)
        if until != inf:
            duration = min(duration, max(int(until - when), TEMPORARY_TIME))
        hold = when + subnet.offer_hold
        offer = Lease(
            address,
            LeaseState.OFFERED,
            client.key,
            client.hardware,
            when,
            hold,
            duration,
            "",
            b"",
            settings,
        )
        held = index.offers.get(address)
        if (
            held is None
            or held.key != client.key
            or held.expires < when + subnet.offer_hold / 2
        ):
            # Retransmissions need not prolong it each time.
            index.hold(index.area(subnet), offer)
        return offer

    def bind(
        self,
        client: Client,
        area: Area,
        address: int,
        when: float,
        settings: Settings | None,
        until: float = inf,
        least: int = TEMPORARY_TIME,
    ) -> Any:
        """Make the lease, and end the one the client leaves on the same link."""
        index = self.index
        key = client.key
        duration = area.subnet.duration(client.requested_time)
        if until != inf:
            duration = min(duration, max(int(until - when), least))
        old = index.leases.get(address)
        same = old is not None and old.key == key and old.bound(when)
        began, ends = self.seconds_of(when, duration)
        lease = Lease(
            address,
            LeaseState.BOUND,
            key,
            client.hardware or (old.hardware if old is not None and same else b""),
            old.since if old is not None and same else began,
            # Never less than the client believes to have, in case this ACK is lost.
            max(ends, old.expires) if old is not None and same else ends,
            duration,
            client.hostname,
            client.relay or (old.relay if old is not None and same else b""),
            settings,
        )
        changes = [(EventKind.RENEWED if same else EventKind.BOUND, lease)]
        for subnet in client.subnets:
            other = index.area(subnet)
            had = other.clients.get(key)
            if had is not None and had != address:
                left = index.leases[had]
                if left.state in (LeaseState.BOUND, LeaseState.REVOKED):
                    ended = self.ended(left, when)
                    index.put(other, ended)
                    changes.append((EventKind.RELEASED, ended))
                if other is not area:
                    del other.clients[key]
                    if index.log is not None:
                        index.log.append(partial(other.remember, key, had))
        index.put(area, lease)
        offered = index.offer_of.get(key)
        if offered is not None:
            index.drop_offer(offered)
        index.drop_offer(address)
        return self.journal.keep(lease, when, changes)

    def recognise(self, client: Client, when: float) -> None:
        """Find a client again that no longer sends its identifier.

        A boot ROM and the system it boots, or a client's last RELEASE, may leave it
        out; the lease by the same hardware address on the same link is then meant.
        """
        self.now = when
        index = self.index
        if client.key is client.hardware and client.hardware in index.by_hardware:
            lease = index.leases[index.by_hardware[client.hardware]]
            if (
                lease.hardware == client.hardware
                and client.subnet_of(lease.address) is not None
                and index.of_client(client.key, client.subnets) is None
            ):
                client.key = lease.key

    @staticmethod
    def patience(blocker: Lease, when: float) -> float:
        """Until when a client should wait for its reserved address."""
        if blocker.state == LeaseState.BOUND:
            return blocker.expires
        # It may be free any moment: the client should come and look.
        return min(blocker.expires, when + RETRY_TIME)

    def is_holder(self, client: Client, lease: Lease) -> bool:
        """Whether a lease is this client's, which may have sent no identifier."""
        return lease.key == client.key or (
            not client.identifier
            and bool(client.hardware)
            and lease.hardware == client.hardware
        )

    def _has_another(self, client: Client, address: int, when: float) -> bool:
        """Whether a client asks for an address that it has left for another.

        It may be a REQUEST that was long on its way, or the repetition of one; to grant
        it would end the lease that the client uses now.  Nobody is offered another
        address without a reason, and then the offer is known.
        """
        index = self.index
        current = index.of_client(client.key, client.subnets)
        if current is None or current.address == address or not current.bound(when):
            return False
        offer = index.offers.get(address)
        return offer is None or offer.key != client.key

    def _refusal(
        self,
        client: Client,
        lease: Lease | None,
        address: int,
        when: float,
        reservation: Reservation | None,
        *,
        mine: bool,
    ) -> Refused | None:
        """Why a client may not have an address that somebody else has; or None."""
        owner = self.reserved.by_address.get(address)
        if owner is not None and owner.expires > when and owner is not reservation:
            if not mine or lease is None or lease.expires - when < 1:
                return Refused("reserved for another client")
            return None
        if lease is not None and lease.held(when) and not mine:
            return Refused("in use by another client")
        offer = self.index.offers.get(address)
        if offer is not None and offer.key != client.key and offer.expires > when:
            return Refused("offered to another client")
        return None
