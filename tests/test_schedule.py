"""A thousand clients at once, with everything that goes wrong: the invariants hold.

A seeded scheduler interleaves packets that are repeated, late and out of order, control
calls, the disk's transactions and their failures, and time.  What clients were told is
looked at after each step: nobody else has the address, nobody else was offered it or has it
reserved, and it is on disk.  In the end everything is, also for who opens the file again.
``SEEDS`` is how many seeds are tried (``make torture``).
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from disks import US, Disk, FakeReactor

from dhcptwist.lease import (
    AddressInUse,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
)
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.testing import FakeClient, MemoryServer, ip, network, subnet
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
RELEASE, DECLINE = MessageType.RELEASE, MessageType.DECLINE
OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK

SEEDS = int(os.environ.get("SEEDS", "40"))
CLIENTS = 1000
STEPS = 6000
FIRST = ip("192.0.2.10")

#: Seconds for which an offer is surely held: half of the 30 that it may be.
HELD = 15


class Memory:
    """A storage in memory, which needs no disk."""

    def __init__(self, path, net):
        self.reactor = FakeReactor()
        self.network = net
        self.storage = MemoryStorage(net)
        self.server = MemoryServer(net, self.storage)
        self.fault = None

    def written(self, address):
        """The lease as it is kept: as it is."""
        return [self.storage.index.leases[address]]

    def again(self):
        """It keeps nothing."""

    def begin(self):
        """Nothing waits."""

    def finish(self):
        """Nothing is under way."""

    def sync(self):
        """Everything is done."""

    def close(self):
        """Nothing is open."""


class File(Disk):
    """A storage in a file, which knows what has been written."""

    def __init__(self, path, net):
        super().__init__(path, net=net)
        self._written = {}

    def write(self, batch):
        """What the journal calls; what came through is on disk."""
        first = super().write(batch)
        leases = [of for _, _, of, _ in batch.entries if isinstance(of, Lease)]
        for lease in leases:
            self._written[lease.address] = []
        for lease in leases:
            self._written[lease.address].append(lease)
        return first

    def written(self, address):
        """What the last transaction that changed a lease made of it, one by one."""
        return self._written.get(address, ())

    def again(self):
        """The same file, opened by the next server."""
        return Disk(self.path, net=self.network, when=self.server.now)


class World:
    """One seed's clients, server and checks."""

    def __init__(self, seed, make, path):
        self.chance = random.Random(seed)
        # Fewer addresses than clients, and short leases: everybody is in the way.
        net = network(
            subnet(
                "192.0.0.0/16",
                "192.0.2.10-192.0.4.100",
                lease_time=600,
                min_lease_time=60,
                decline_hold=300,
            )
        )
        self.disk = make(path, net)
        self.server = self.disk.server
        self.storage = self.disk.storage
        self.clients = [
            FakeClient(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}")
            for n in range(CLIENTS)
        ]
        self.numbers = {who.hardware[1:]: n for n, who in enumerate(self.clients)}
        self.offers = {}
        #: Client to address and end, and the other way round: what ACKs said.
        self.has = {}
        self.owner = {}
        self.in_flight = []
        self.sent_at = {}
        self.deaf = {}
        #: Address to client and end, and the other way round: the offers that the server
        #: must keep.
        self.offered = {}
        self.offered_to = {}
        #: Address to the last client that it was granted to, heard or not, and its end.
        self.granted_to = {}
        #: Address to its owner and the step since which that is surely in force, and the
        #: other way round.
        self.reserved = {}
        self.reserved_for = {}
        self.came = {}
        self.number = 0
        self.seen = 0
        self.granted = 0

    # --- what may happen ----------------------------------------------------------

    def step(self):
        """One thing happens."""
        kind = self.chance.choices(
            [
                self.discover,
                self.request,
                self.renew,
                self.release,
                self.decline,
                self.deliver,
                self.repeat,
                self.reserve,
                self.revoke,
                self.work,
                self.fail,
                self.wait,
            ],
            [20, 14, 12, 3, 1, 40, 4, 1, 0.5, 25, 0.3, 8],
        )[0]
        self.number += 1
        kind()
        self.look()

    def someone(self):
        """Any client; few of them are busy, so that they meet themselves."""
        return int(CLIENTS * self.chance.random() ** 2)

    def send(self, message):
        """A packet sets out; it arrives when it arrives."""
        self.sent_at[message.chaddr, message.xid] = self.server.now
        self.in_flight.append(message)

    def at_once(self, message):
        """A farewell is lost, or arrives, perhaps doubled, before anything else.

        One that comes after its client is back ends the new lease, whoever serves it:
        the protocol has nothing against that.
        """
        self.deaf[message.chaddr] = message.xid
        self.take_back(self.numbers[message.chaddr])
        for _ in range(self.chance.choice([0, 1, 1, 1, 1, 2])):
            self.server.receive(message)

    def discover(self):
        """Somebody looks for an address, perhaps for one that it likes."""
        wish = str(IPv4Address(FIRST + self.chance.randrange(600)))
        wish = wish if self.chance.random() < 0.2 else ""
        who = self.clients[self.someone()]
        self.send(who.message(DISCOVER, requested=wish))

    def request(self):
        """Somebody takes what it was offered, now and then somebody else's."""
        if self.offers:
            n = self.chance.choice(list(self.offers))
            wanted = str(IPv4Address(self.offers[n]))
            if self.chance.random() < 0.05:
                n = self.someone()
            who = self.clients[n]
            server = US if self.chance.random() < 0.95 else "192.0.2.99"
            self.send(who.message(REQUEST, requested=wanted, server=server))

    def renew(self):
        """Somebody goes on with what it has, or believes to have."""
        if self.has:
            n = self.chance.choice(list(self.has))
            address = str(IPv4Address(self.has[n][0]))
            if self.chance.random() < 0.7:
                self.send(self.clients[n].message(REQUEST, ciaddr=address))
            else:
                self.send(self.clients[n].message(REQUEST, requested=address))

    def release(self):
        """Somebody gives its address back; from then on it does not use it."""
        if self.has:
            n = self.chance.choice(list(self.has))
            address = self.forget(n)
            text = str(IPv4Address(address))
            self.at_once(self.clients[n].message(RELEASE, ciaddr=text, server=US))

    def decline(self):
        """Somebody finds its address in use."""
        if self.has:
            n = self.chance.choice(list(self.has))
            text = str(IPv4Address(self.forget(n)))
            self.at_once(self.clients[n].message(DECLINE, requested=text, server=US))

    def deliver(self):
        """A packet arrives: any of those that are on their way."""
        if self.in_flight:
            at = self.chance.randrange(len(self.in_flight))
            message = self.in_flight.pop(at)
            if self.chance.random() < 0.9:  # the others are lost
                self.came.setdefault((message.chaddr, message.xid), self.number)
                if message.type == REQUEST:
                    self.take_back(self.numbers[message.chaddr])
                self.server.receive(message)

    def repeat(self):
        """A packet is doubled."""
        if self.in_flight:
            self.in_flight.append(self.chance.choice(self.in_flight))

    def reserve(self):
        """Another process pushes a reservation, or takes one out."""
        now = self.server.now
        there = self.storage.reservations(None, 1000, None)
        if there and self.chance.random() < 0.5:
            gone = self.chance.choice(there)
            self.reserved_for.pop(self.reserved.pop(gone.address, (None, 0))[0], None)
            self.quietly(self.storage.cancel(gone, now))
            return
        n = self.someone()
        address = FIRST + self.chance.randrange(600)
        wanted = Reservation(
            address,
            hardware=self.clients[n].hardware,
            source="test",
            on_conflict=self.chance.choice(list(OnConflict)),
        )

        def reserved(_):
            if wanted in self.storage.reservation_of(address, None):
                self.reserved[address] = n, self.number
                self.reserved_for[n] = address

        with suppress(AddressInUse, ReservationConflict):
            kept = self.storage.reserve(wanted, now)
            self.reserved.pop(self.reserved_for.pop(n, None), None)
            self.take_back(
                self.offered.get(address, (None, 0))[0]
            )  # preempted, perhaps
            self.quietly(kept.addCallback(reserved))

    def revoke(self):
        """An administrator ends a lease; its holder goes on in good faith."""
        self.quietly(
            self.storage.revoke(FIRST + self.chance.randrange(600), self.server.now)
        )

    def work(self):
        """The disk begins a transaction, or ends one."""
        self.chance.choice([self.disk.begin, self.disk.finish])()

    def fail(self):
        """The disk breaks, or is mended."""
        self.disk.fault = None if self.disk.fault else OSError(28, "no space left")

    def wait(self):
        """Time passes; no transaction takes longer than some seconds."""
        seconds = self.chance.choice([0.1, 1, 5, 30])
        if self.chance.random() < 0.05:
            seconds = 300
        if seconds > 5:
            self.disk.sync()
            self.look()
        self.server.now += seconds
        self.storage.clock_ticked(self.server.now)

    @staticmethod
    def quietly(result):
        """What a control call comes to is not looked at here."""
        result.addErrback(lambda failure: failure.trap(StorageFailure))

    # --- what must hold -----------------------------------------------------------

    def take_back(self, n):
        """A client may have no offer any more."""
        self.offered.pop(self.offered_to.pop(n, None), None)

    def forget(self, n):
        """A client has its address no longer."""
        address, _ = self.has.pop(n)
        if self.owner.get(address) == n:
            del self.owner[address]
        return address

    def look(self):
        """Every reply since the last step."""
        sent = self.server.sent
        for reply in sent[self.seen :]:
            self.reply(reply.message)
        del sent[:]
        self.seen = 0

    def reply(self, message):
        """What a client is told must not harm another."""
        n = self.numbers[message.chaddr]
        address = message.yiaddr
        now = self.server.now
        asked = self.sent_at[message.chaddr, message.xid]
        came = self.came[message.chaddr, message.xid]
        if message.type == OFFER:
            self.may(n, address, came)
            self.take_back(n)
            self.take_back(self.offered.get(address, (None, 0))[0])  # it has ended
            self.offered[address] = n, now + HELD
            self.offered_to[n] = address
        elif message.type == ACK:
            # A client counts from when it asked (RFC 2131 section 4.4.1).
            until = asked + message.get("dhcp-lease-time")
            self.granted_to[address] = n, now + message.get("dhcp-lease-time")
        if message.xid <= self.deaf.get(message.chaddr, -1):
            return  # it had said farewell since, and takes no more of this
        if message.type == OFFER:
            assert not self.somebody_else(address, n, now), "offered, and in use"
            self.offers[n] = address
        elif message.type == NAK:
            if n in self.has:
                self.forget(n)
        else:
            other = self.somebody_else(address, n, now)
            assert not other, f"{address:#x} for client {n}, but {other} has it"
            if n in self.has:
                self.forget(n)
            key = self.clients[n].hardware
            kept = self.disk.written(address)
            assert any(
                each.key == key and each.expires >= until - 1 for each in kept
            ), (
                f"an ACK of {address:#x} for client {n}, and it is not on disk for as long"
            )
            if kept[-1].key == key and kept[-1].bound(now):  # else it has moved since
                self.may(n, address, came)
            self.has[n] = address, until
            self.owner[address] = n
            self.offers.pop(n, None)
            self.granted += 1

    def may(self, n, address, came):
        """See that nobody was offered an address, or owns it, that a client gets."""
        other, until = self.offered.get(address, (n, 0))
        assert other == n or until <= self.server.now, (
            f"{address:#x} for client {n}, but client {other} was offered it"
        )
        owner, since = self.reserved.get(address, (n, 0))
        before, until = self.granted_to.get(address, (n, 0))
        held = before == n and until > self.server.now
        assert owner == n or since >= came or held, (
            f"{address:#x} for client {n}, but it is reserved for client {owner}"
        )

    def somebody_else(self, address, n, now):
        """Another client that believes to have the address."""
        other = self.owner.get(address)
        if other is None or other == n or self.has[other][1] <= now:
            return None
        return f"client {other}"

    def end(self):
        """Everything comes to rest, and is looked through."""
        self.disk.fault = None
        self.disk.sync()
        self.look()
        index = self.storage.index
        for n, (address, until) in self.has.items():
            if until <= self.server.now:
                continue
            lease = index.leases[address]
            mine = lease.key == self.clients[n].hardware
            assert mine, f"client {n} lost {address:#x}"
            assert lease.state in {LeaseState.BOUND, LeaseState.REVOKED}
            assert lease.state == LeaseState.REVOKED or lease.expires >= until - 1
        offers = index.offers
        assert {each.key: at for at, each in offers.items()} == index.offer_of
        pushed = self.storage.reservations(None, 1000, None)
        self.disk.close()
        again = self.disk.again()
        if again is not None:
            there = again.storage.index.leases
            assert words(there) == words(index.leases), "the file has other leases"
            assert again.storage.reservations(None, 1000, None) == pushed
            again.close()


def words(leases):
    """What makes a lease the one it is."""
    return {
        at: (lease.state, lease.key, lease.since, lease.expires)
        for at, lease in leases.items()
    }


@pytest.mark.timeout(60 + 10 * SEEDS)
@pytest.mark.parametrize("make", [Memory, File])
def test_a_thousand_clients(make, tmp_path):
    """Each seed is a history; the message says which one failed, and where."""
    granted = 0
    for seed in range(SEEDS):
        path = tmp_path / f"{seed}.sqlite"
        world = World(seed, make, path)
        step = 0
        try:
            for step in range(STEPS):  # noqa: B007 - the message wants it
                world.step()
            world.end()
        except BaseException as error:
            error.add_note(f"seed {seed}, step {step}")
            raise
        granted += world.granted
        for file in tmp_path.iterdir():
            file.unlink()
    assert granted > 100 * SEEDS
