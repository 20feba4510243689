"""A storage that somebody else wrote, and one that is slow, for tests of the contract."""

from __future__ import annotations

from math import inf

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from dhcptwist.client import ClientState
from dhcptwist.interfaces import IStorage
from dhcptwist.lease import Lease, Refused, Settings
from dhcptwist.wire.codes import INFINITE


@implementer(IStorage)
class Stranger:
    """A pool that somebody else wrote: dictionaries, coroutines, and none of our code."""

    def __init__(self, network, reservations):
        self.reserved = tuple(reservations)
        self.leases = {}
        self.offers = {}
        self.resting = {}
        self.used = {}
        self.last = {}
        self.ports = {}

    def reservation(self, client):
        """Find what is reserved for a client."""
        relay = client.relay or self.ports.get(client.key, b"")
        known = Lease(0, key=client.key, hardware=client.hardware, relay=relay)
        return next((each for each in self.reserved if each.owns(known)), None)

    def is_free(self, client, address, when):
        """Tell whether a client may have an address."""
        mine = self.reservation(client)
        owner = next((r for r in self.reserved if r.address == address), None)
        lease = self.leases.get(address)
        held = lease is not None and lease.expires > when and lease.key != client.key
        if held and mine is not None and mine.owns(lease):
            held = False
        key, until = self.offers.get(address, (b"", 0))
        return (
            not held
            and owner in (None, mine)
            and (key in (b"", client.key) or until <= when)
            and self.resting.get(address, 0) <= when
        )

    def choose(self, client, when):
        """Find an address in the order of RFC 2131 section 4.3.1."""
        mine = self.reservation(client)
        if mine is not None and mine.address is not None:
            return mine.address if self.is_free(client, mine.address, when) else None
        offered = [a for a, (key, _) in self.offers.items() if key == client.key]
        wishes = [self.last.get(client.key), *offered, client.requested]
        pool = [
            address
            for subnet in client.subnets
            for first, last in subnet.ranges
            for address in range(first, last + 1)
        ]
        pool.sort(key=lambda address: self.used.get(address, 0))
        for address in [*(wish for wish in wishes if wish in pool), *pool]:
            if self.is_free(client, address, when):
                return address
        return None

    def leave(self, key):
        """Forget a client's offer."""
        self.offers = {a: each for a, each in self.offers.items() if each[0] != key}

    async def offer(self, client, when):
        """See `IStorage.offer`."""
        address = self.choose(client, when)
        if address is None:
            return None
        self.leave(client.key)
        self.offers[address] = client.key, when + 30
        return self.lease(client, address, when)

    def lease(self, client, address, when):
        """Make a lease."""
        duration = client.subnet_of(address).duration(client.requested_time)
        until = inf if duration == INFINITE else when + duration
        mine = self.reservation(client)
        relay = client.relay or self.ports.get(client.key, b"")
        return Lease(
            address,
            key=client.key,
            hardware=client.hardware,
            expires=until,
            duration=duration,
            relay=relay,
            settings=None if mine is None else mine.settings,
        )

    async def commit(self, client, address, when):
        """See `IStorage.commit`."""
        subnet = client.subnet_of(address)
        if subnet is None:
            return None
        mine = self.reservation(client)
        reserved = mine is not None and mine.address is not None
        if not self.is_free(client, address, when):
            return Refused("somebody else has it")
        if reserved and mine.address != address:
            return Refused("another is yours")
        selecting = client.state == ClientState.SELECTING
        if not reserved and not subnet.in_pools(address):
            return Refused("not one of ours") if selecting else None
        if not selecting and self.last.get(client.key) != address:
            return None
        for other, lease in list(self.leases.items()):
            if lease.key == client.key and other != address:
                del self.leases[other]
                self.used[other] = when
        self.leave(client.key)
        self.last[client.key] = address
        self.ports[client.key] = client.relay or self.ports.get(client.key, b"")
        self.leases[address] = self.lease(client, address, when)
        self.used[address] = self.leases[address].expires
        return self.leases[address]

    async def release(self, client, address, when):
        """See `IStorage.release`."""
        lease = self.leases.get(address)
        if not address:
            self.leave(client.key)
        if lease is None or lease.key != client.key:
            return False
        del self.leases[address]
        self.used[address] = when
        return True

    async def decline(self, client, address, when):
        """See `IStorage.decline`."""
        if not await self.release(client, address, when):
            return False
        del self.last[client.key]
        self.resting[address] = when + client.subnet_of(address).decline_hold
        return True

    async def configure(self, client, when):
        """See `IStorage.configure`."""
        mine = self.reservation(client)
        return (mine and mine.settings) or Settings()


@implementer(IStorage)
class Late:
    """A storage whose every answer takes a while."""

    def __init__(self, storage, clock, seconds):
        self.storage, self.clock, self.seconds = storage, clock, seconds

    def _later(self, verb, *given):
        asked = deferLater(self.clock, self.seconds, verb, *given)
        return asked.addCallback(
            lambda found: ensureDeferred(found) if hasattr(found, "send") else found
        )

    def offer(self, client, when):
        """See `IStorage`."""
        return self._later(self.storage.offer, client, when)

    def commit(self, client, address, when):
        """See `IStorage`."""
        return self._later(self.storage.commit, client, address, when)

    def release(self, client, address, when):
        """See `IStorage`."""
        return self._later(self.storage.release, client, address, when)

    def decline(self, client, address, when):
        """See `IStorage`."""
        return self._later(self.storage.decline, client, address, when)

    def configure(self, client, when):
        """See `IStorage`."""
        return self._later(self.storage.configure, client, when)
