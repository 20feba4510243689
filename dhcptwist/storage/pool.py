"""The allocation rules: static and dynamic addresses in one pool.

`PoolStorage` decides who gets which address, over an index in memory; a `Journal`
keeps what was decided.  The rules are those of RFC 2131 sections 4.3.1 to 4.3.4; what a
reservation does to other clients is DESIGN's verdict table (`reserving.py`).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from math import inf
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from ..client import Client, ClientState
from ..interfaces import IStorage
from ..lease import (
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Refused,
    Reservation,
    Settings,
    Silence,
    format_holder,
)
from .areas import Area
from .explaining import Explaining


_log = Logger()
_NOTHING = Settings()

#: A declined address that is reserved rests this long at most, in seconds: nobody else
#: can have it, and its owner is the one who suffers.
RESERVED_DECLINE_HOLD = 600


@implementer(IStorage)
class PoolStorage(Explaining):
    """Static and dynamic addresses in one pool.

    Override `reservation_for` to ask another system who a client is.  See `PoolState`
    for the arguments.
    """

    # --- IStorage -----------------------------------------------------------------

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`; the order is that of RFC 2131 section 4.3.1."""
        self.recognise(client, when)
        if self.reserved:
            self.forget_ended(when)
        found = self.reservation_for(client)
        if found is None:
            return self._offer(client, when, None)
        return self.once_known(found, client, lambda r: self._offer(client, when, r))

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        self.recognise(client, when)
        if self.reserved:
            self.forget_ended(when)
        found = self.reservation_for(client)
        if found is None:
            return self._commit(client, address, when, None)
        return self.once_known(
            found, client, lambda r: self._commit(client, address, when, r)
        )

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        self.recognise(client, when)
        if self.reserved:
            self.forget_ended(when)
        found = self.reservation_for(client)
        return self.once_known(found, client, lambda r: (r and r.settings) or _NOTHING)

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`.

        The client must be the holder; where its message has no identifier, as some
        clients' last words have none, its hardware address tells.
        """
        self.recognise(client, when)
        index = self.index
        offered = index.offer_of.get(client.key)
        if not address:
            if offered is not None:
                index.drop_offer(offered)
            return False
        lease = index.leases.get(address)
        area = index.area_of(address)
        if lease is None or area is None or not self.is_holder(client, lease):
            return False
        if lease.state not in {LeaseState.BOUND, LeaseState.REVOKED}:
            return False
        released = self.ended(lease, when)
        index.put(area, released)
        return self.journal.keep(True, when, [(EventKind.RELEASED, released)])

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`: only from whom the address was given or offered."""
        self.recognise(client, when)
        index = self.index
        area = index.area_of(address)
        lease = index.leases.get(address)
        offer = index.offers.get(address)
        if area is None:
            return False
        offered = offer is not None and offer.key == client.key
        bound = lease is not None and lease.bound(when)
        if not offered and not (
            lease is not None and bound and self.is_holder(client, lease)
        ):
            return False
        if bound and lease is not None and not self.is_holder(client, lease):
            return False
        rest = float(area.subnet.decline_hold)
        if address in self.reserved.by_address:
            rest = min(rest, RESERVED_DECLINE_HOLD)
        declined = Lease(
            address,
            LeaseState.DECLINED,
            client.key,
            client.hardware,
            when,
            when + rest,
            int(rest),
            client.hostname,
        )
        index.put(area, declined)
        index.drop_offer(address)
        _log.warn(
            "{address} is in use by somebody unknown, says {client}; it rests for"
            " {rest:.0f} seconds",
            address=str(IPv4Address(address)),
            client=format_holder(declined),
            rest=rest,
        )
        return self.journal.keep(True, when, [(EventKind.DECLINED, declined)])

    # --- the rules ----------------------------------------------------------------

    def _offer(
        self, client: Client, when: float, reservation: Reservation | None
    ) -> Any:
        index = self.index
        for link in client.subnets:
            index.lapse(index.area(link), when)
        settings: Settings | None = None
        until = inf
        if reservation is not None:
            settings = reservation.settings
            address = reservation.address
            subnet = None if address is None else client.subnet_of(address)
            if address is not None and subnet is not None:
                blocker = self.blocker(reservation, client.key, when)
                if blocker is None:
                    return self.propose(client, subnet, address, when, settings)
                until = self.patience(blocker, when)
        self.expire(when)
        chosen = self.choose(client, when)
        if chosen is None:
            return Silence.POOL_EXHAUSTED
        subnet, address = chosen
        return self.propose(client, subnet, address, when, settings, until)

    def _commit(
        self,
        client: Client,
        address: int,
        when: float,
        reservation: Reservation | None,
    ) -> Any:
        index = self.index
        subnet = client.subnet_of(address)
        if subnet is None:
            return None
        area = index.area(subnet)
        settings = None if reservation is None else reservation.settings
        until = inf
        if reservation is not None and reservation.address is not None:
            wanted = reservation.address
            if client.subnet_of(wanted) is not None:
                blocker = self.blocker(reservation, client.key, when)
                if blocker is None:
                    if address != wanted:
                        return Refused("another address is reserved for you")
                    return self.bind(client, area, address, when, settings)
                if address == wanted:
                    return Refused("your reserved address is not free yet")
                until = self.patience(blocker, when)
        return self._commit_dynamic(client, area, address, when, reservation, until)

    def _commit_dynamic(
        self,
        client: Client,
        area: Area,
        address: int,
        when: float,
        reservation: Reservation | None,
        until: float,
    ) -> Any:
        """An address that is not reserved for this client."""
        index = self.index
        lease = index.leases.get(address)
        settings = None if reservation is None else reservation.settings
        mine = (
            lease is not None
            and lease.key == client.key
            and lease.state in (LeaseState.BOUND, LeaseState.RELEASED)
        )
        if self._has_another(client, address, when):
            return Refused("another address is yours")
        refused = self._refusal(client, lease, address, when, reservation, mine=mine)
        if refused is not None:
            return refused
        owner = self.reserved.by_address.get(address)
        theirs = owner is not reservation and owner is not None
        if owner is not None and theirs and owner.expires > when and lease is not None:
            return self._yield_to(owner, client, area, lease, when, settings)
        # Somebody who claims to be a relay takes no address from its holder.
        ours = area.subnet.in_pools(address) and address not in self.network.addresses
        if not ours or (not mine and address in self._relays):
            known = mine or client.state == ClientState.SELECTING
            return Refused("not an address of a pool") if known else None
        offer = index.offers.get(address)
        if (
            mine
            or (offer is not None and offer.key == client.key)
            or client.state == ClientState.SELECTING
        ):
            return self.bind(client, area, address, when, settings, until)
        if index.of_client(client.key, client.subnets) is not None:
            # "If the client's notion of its IP address is not correct …"
            return Refused("another address is yours")
        return None

    def _yield_to(
        self,
        owner: Reservation,
        client: Client,
        area: Area,
        lease: Lease,
        when: float,
        settings: Settings | None,
    ) -> Any:
        """The holder of an address that is reserved for somebody else comes back.

        ``wait`` lets it keep the time that remains.  ``move`` sends it away, but only
        with another address kept for it, so that its next DISCOVER is served.
        """
        if owner.on_conflict in (OnConflict.MOVE, OnConflict.PREEMPT):
            index = self.index
            for subnet in client.subnets:
                index.lapse(index.area(subnet), when)
            self.expire(when)
            client.requested = 0
            chosen = self.choose(client, when, avoid=lease.address)
            if chosen is not None:
                self.propose(client, *chosen, when, settings)
                return Refused("reserved for another client")
        return self.bind(
            client, area, lease.address, when, settings, lease.expires, least=1
        )
