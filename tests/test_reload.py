"""Other subnets and reservations while a pool runs: as after a restart, but at once."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from tempfile import mkdtemp

import pytest
from disks import Disk
from hypothesis import HealthCheck, given, settings, strategies as st
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dhcptwist.config.written import changed_reservations
from dhcptwist.exchanges import Responder
from dhcptwist.interfaces import INetworkListener, IProber
from dhcptwist.lease import Reservation, ReservationConflict, Settings
from dhcptwist.network import Network, Subnet
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.testing import FakeClient, MemoryServer, answer, ip, network, subnet
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK
US = "192.0.2.1"
FIRST = ip("192.0.2.10")
PRINTER = Reservation(FIRST, hardware=b"\1\2\0\0\0\0\x50", hostname="printer")


def text(number):
    """An address as text."""
    return str(IPv4Address(number))


def client(number, **fields):
    """One of many clients."""
    hardware = (0x02 << 40 | number).to_bytes(6, "big").hex(":")
    return FakeClient(hardware, **fields)


def reload(server, net, added=(), removed=()):
    """Swap the subnets as the service does."""
    server.storage.network_changed(net, added, removed, server.now)
    server.protocol.responder = Responder(net)
    server.network = net


def renew(server, who, address, **fields):
    """The reply to a client that renews, or None."""
    found = server.receive(who.message(REQUEST, ciaddr=text(address), **fields))
    return found and found.message


@pytest.fixture
def server():
    """A server with one subnet and a pool in memory."""
    return MemoryServer()


@pytest.fixture
def disk(tmp_path):
    """An empty storage."""
    made = Disk(tmp_path / "leases.sqlite")
    yield made
    made.fault = None
    made.close()


class TestSubnets:
    """What a lease becomes when its subnet does."""

    def test_interface(self, server):
        """The pool says that it wants to be told."""
        verifyObject(INetworkListener, server.storage)

    def test_same(self, server):
        """With the same subnets a client renews, and others are given what is free."""
        ack = server.bind(client(1))
        reload(server, network())
        assert renew(server, client(1), ack.yiaddr).type == ACK
        assert server.bind(client(2)).yiaddr == FIRST + 1

    def test_lease_time_and_options(self, server):
        """They are those of now with the next packet."""
        ack = server.bind(client(1))
        reload(server, network(subnet(lease_time=7200, options={3: b"\xc0\0\2\1"})))
        renewed = renew(server, client(1), ack.yiaddr)
        assert renewed.options[51] == (7200).to_bytes(4, "big")
        assert renewed.options[3] == b"\xc0\0\2\1"

    def test_pool_grows(self, server):
        """What is new in a pool is given once the rest is."""
        for number in range(4):
            server.bind(client(number))
        assert server.receive(client(9).message(DISCOVER)) is None
        reload(server, network(subnet(pool="192.0.2.10-192.0.2.20")))
        assert server.bind(client(9)).yiaddr == ip("192.0.2.14")

    def test_pool_goes(self, server):
        """Who has an address outside the pools is sent to one inside."""
        ack = server.bind(client(1))
        reload(server, network(subnet(pool="192.0.2.100-192.0.2.110")))
        assert renew(server, client(1), ack.yiaddr).type == NAK
        assert server.bind(client(1)).yiaddr == ip("192.0.2.100")

    def test_pool_comes_back(self, server):
        """What was given before a pool went is still its holder's when it is back."""
        ack = server.bind(client(1))
        reload(server, network(subnet(pool="192.0.2.100-192.0.2.110")))
        reload(server, network())
        assert server.bind(client(2)).yiaddr == FIRST + 1
        assert renew(server, client(1), ack.yiaddr).type == ACK

    def test_ended_leases_go_last(self, server):
        """RFC 2131 section 4.3.1: what was never used first, then the longest unused."""
        taken = {number: text(server.bind(client(number)).yiaddr) for number in (1, 2)}
        for number in (2, 1):
            server.now += 1
            left = client(number).message(MessageType.RELEASE, ciaddr=taken[number])
            server.receive(left)
        reload(server, network(subnet(pool="192.0.2.10-192.0.2.12")))
        given = [server.bind(client(number)).yiaddr - FIRST for number in (7, 8, 9)]
        assert given == [2, 1, 0]

    def test_lease_that_ends_meanwhile(self, server):
        """An address comes back in time in a pool that has changed."""
        server.bind(client(1))
        reload(server, network(subnet(pool="192.0.2.10")))
        server.now += 3601
        assert server.bind(client(2)).yiaddr == FIRST

    def test_subnet_goes(self, server):
        """Its leases are kept, and known, to their end; nobody is served there."""
        ack = server.bind(client(1))
        reload(server, network(subnet("10.0.0.0/24", "10.0.0.5")))
        assert renew(server, client(1), ack.yiaddr) is None
        assert server.silences() == {"no-subnet": 1}
        assert server.storage.find_leases(FIRST, None, None)[0].bound(server.now)
        server.storage.clock_ticked(server.now + 3601)
        assert server.storage.find_leases(FIRST, None, None)[0].queued is None

    def test_subnet_comes_back(self, server):
        """And then its leases count."""
        ack = server.bind(client(1))
        reload(server, network(subnet("10.0.0.0/24", "10.0.0.5")))
        reload(server, network())
        assert server.bind(client(2)).yiaddr == FIRST + 1
        assert server.bind(client(1)).yiaddr == ack.yiaddr

    def test_other_name(self, server):
        """A subnet is known by its network, whatever it is called."""
        ack = server.bind(client(1))
        reload(server, network(subnet(name="floor-1")))
        assert renew(server, client(1), ack.yiaddr).type == ACK
        assert server.bind(client(2)).yiaddr == FIRST + 1

    def test_names_change_places(self):
        """Two subnets that are called by each other's names keep their leases."""
        one = subnet(name="one")
        other = subnet("192.0.3.0/24", "192.0.3.10-192.0.3.13", name="other")
        server = MemoryServer(network(one, other))
        far = {"giaddr": "192.0.3.1"}
        near_ack, far_ack = server.bind(client(1)), server.bind(client(2), **far)
        reload(
            server,
            network(
                subnet(name="other"),
                subnet("192.0.3.0/24", "192.0.3.10-192.0.3.13", name="one"),
            ),
        )
        assert renew(server, client(1), near_ack.yiaddr).type == ACK
        assert renew(server, client(2), far_ack.yiaddr, **far).type == ACK
        assert server.bind(client(3)).yiaddr == FIRST + 1

    def test_larger_network(self, server):
        """Leases of a network that grows stay, with the new mask."""
        ack = server.bind(client(1))
        reload(server, network(subnet("192.0.2.0/23")))
        renewed = renew(server, client(1), ack.yiaddr)
        assert (renewed.type, renewed.options[1]) == (ACK, bytes([255, 255, 254, 0]))
        assert server.bind(client(2)).yiaddr == FIRST + 1

    def test_router_moves(self, server):
        """The old router's address may be given, the new one's may not."""
        router = frozenset({FIRST})
        reload(server, network(subnet(excluded=router)))
        assert server.bind(client(1)).yiaddr == FIRST + 1
        reload(server, network(subnet(excluded=frozenset({FIRST + 2}))))
        given = [server.bind(client(number)).yiaddr - FIRST for number in (2, 3)]
        assert given == [0, 3]

    def test_subnets_join_a_wire(self):
        """A client with a lease in each of two subnets keeps the later one alone."""

        def subnets(wire):
            return network(
                subnet(shared_network=wire),
                subnet(
                    "192.0.3.0/24",
                    "192.0.3.10-192.0.3.13",
                    name="other",
                    shared_network=wire,
                ),
            )

        server = MemoryServer(subnets(None))
        server.bind(client(1))
        server.now += 10
        later = server.bind(client(1), giaddr="192.0.3.1").yiaddr
        reload(server, subnets("hall"))
        offer = server.receive(client(1).message(DISCOVER)).message
        assert offer.yiaddr == later

    def test_declined_rests(self, server):
        """What a client has declined is not given in the new pool either."""
        ack = server.bind(client(1))
        server.receive(
            client(1).message(
                MessageType.DECLINE, requested=text(ack.yiaddr), server=US
            )
        )
        reload(server, network(subnet(pool="192.0.2.10-192.0.2.11")))
        assert server.bind(client(2)).yiaddr == FIRST + 1
        assert server.receive(client(3).message(DISCOVER)) is None

    def test_client_without_identifier(self, server):
        """It is found by its hardware address in what was made anew."""
        known = client(1, identifier=b"\0me")
        ack = server.bind(known)
        reload(server, network(subnet(pool="192.0.2.10-192.0.2.20")))
        assert renew(server, client(1), ack.yiaddr).type == ACK
        assert server.bind(client(1)).yiaddr == ack.yiaddr

    def test_client_without_identifier_in_a_new_subnet(self, tmp_path):
        """Likewise where the leases were there before their subnet was."""
        disk = Disk(tmp_path / "leases.sqlite")
        ack = disk.bind(client(1, identifier=b"\0me"))
        disk.close()
        disk = Disk(disk.path, net=network(subnet("10.0.0.0/24", "10.0.0.5")))
        reload(disk.server, network())
        renew(disk.server, client(1), ack.yiaddr)
        disk.sync()
        assert disk.server.sent[-1].message.type == ACK
        disk.close()

    def test_client_without_identifier_in_the_subnet_that_stays(self):
        """Its hardware address leads to no subnet that is gone."""
        far = {"giaddr": "192.0.3.1"}
        other = subnet("192.0.3.0/24", "192.0.3.10", name="other")
        server = MemoryServer(network(subnet(), other))
        known = client(1, identifier=b"\0me")
        there = server.bind(known, **far)
        server.now += 1
        server.bind(known)
        larger = subnet("192.0.3.0/24", "192.0.3.10-192.0.3.11", name="other")
        reload(server, network(larger))
        assert renew(server, client(1), there.yiaddr, **far).type == ACK


class TestOffers:
    """What was offered and not taken yet."""

    def offered(self, server, who):
        """The address that a client is offered."""
        return server.receive(who.message(DISCOVER)).message.yiaddr

    def take(self, server, who, address):
        """The reply to a client that takes an offer."""
        taken = who.message(REQUEST, requested=text(address), server=US)
        return server.receive(taken).message

    def test_held(self, server):
        """Invariant 5: an offer is its client's, also in a pool that has changed."""
        address = self.offered(server, client(1))
        reload(server, network(subnet(pool="192.0.2.10-192.0.2.20")))
        assert self.offered(server, client(2)) == FIRST + 1
        assert self.take(server, client(1), address).type == ACK

    def test_lapses(self, server):
        """And ends in its time, too."""
        self.offered(server, client(1))
        reload(server, network(subnet(pool="192.0.2.10")))
        assert server.receive(client(2).message(DISCOVER)) is None
        server.now += 31
        assert self.offered(server, client(2)) == FIRST

    def test_outside(self, server):
        """An offer from a pool that has gone is refused, so that its client asks again."""
        address = self.offered(server, client(1))
        reload(server, network(subnet(pool="192.0.2.100-192.0.2.101")))
        assert self.take(server, client(1), address).type == NAK
        assert self.offered(server, client(1)) == ip("192.0.2.100")

    def test_in_no_subnet(self, server):
        """An offer in no subnet is forgotten, not kept for ever."""
        self.offered(server, client(1))
        reload(server, network(subnet("10.0.0.0/24", "10.0.0.5")))
        assert server.storage.figures(server.now)["offers"] == 0


class TestReservations:
    """Those of the configuration that come and go."""

    def test_comes(self, server):
        """It is in force with the next packet, and its address nobody else's."""
        reload(server, network(), [PRINTER])
        assert server.bind(client(1)).yiaddr == FIRST + 1
        ack = server.bind(client(0x50))
        assert (ack.yiaddr, ack.options[12]) == (FIRST, b"printer")

    def test_goes(self):
        """Its client keeps what it has, as one of the pool's; then it is anybody's."""
        net = network()
        server = MemoryServer(net, MemoryStorage(net, [PRINTER]))
        server.bind(client(0x50))
        reload(server, network(), (), [PRINTER])
        renewed = renew(server, client(0x50), FIRST)
        assert renewed.type == ACK
        assert 12 not in renewed.options
        server.receive(client(0x50).message(MessageType.RELEASE, ciaddr=text(FIRST)))
        given = [server.bind(client(number)).yiaddr for number in range(1, 5)]
        assert given[-1] == FIRST

    def test_goes_outside_the_pools(self):
        """An address that was only reserved is nobody's: its client gets another."""
        net = network()
        printer = replace(PRINTER, address=ip("192.0.2.200"))
        server = MemoryServer(net, MemoryStorage(net, [printer]))
        server.bind(client(0x50))
        reload(server, network(), (), [printer])
        assert renew(server, client(0x50), printer.address).type == NAK
        assert server.bind(client(0x50)).yiaddr == FIRST

    def test_moves(self):
        """Its client is refused where it was, and gets the new address at once."""
        net = network()
        server = MemoryServer(net, MemoryStorage(net, [PRINTER]))
        server.bind(client(0x50))
        moved = replace(PRINTER, address=FIRST + 3)
        reload(server, network(), [moved], [PRINTER])
        assert renew(server, client(0x50), FIRST).type == NAK
        assert server.bind(client(0x50)).yiaddr == FIRST + 3

    def test_never_given_before(self):
        """An address that was passed over while it was reserved is given afterwards."""
        net = network(subnet(pool="192.0.2.10-192.0.2.11"))
        server = MemoryServer(net, MemoryStorage(net, [PRINTER]))
        assert server.bind(client(1)).yiaddr == FIRST + 1
        again = network(subnet(pool="192.0.2.10-192.0.2.11"))
        reload(server, again, (), [PRINTER])
        assert server.bind(client(2)).yiaddr == FIRST

    def test_held_by_another(self, server):
        """The holder keeps it to its end, and is given no more than that."""
        server.bind(client(1))
        reload(server, network(), [PRINTER])
        server.now += 100
        renewed = renew(server, client(1), FIRST)
        assert int.from_bytes(renewed.options[51], "big") == 3500
        assert server.bind(client(0x50)).yiaddr == FIRST + 1

    def test_pushed_gives_way(self, server):
        """The configuration's wins, as after a restart; the pushed one is set aside."""
        pushed = replace(
            PRINTER, hardware=b"\1\2\0\0\0\0\1", source="netbox", hostname=""
        )
        answer(server.storage.reserve(pushed, server.now))
        reload(server, network(), [PRINTER])
        assert server.storage.reservations(None, 10, None) == [PRINTER]
        assert server.bind(client(1)).yiaddr == FIRST + 1
        assert server.bind(client(0x50)).yiaddr == FIRST

    def test_pushed_comes_back(self, server):
        """When the configuration's has gone, the pushed one is in force again."""
        pushed = replace(
            PRINTER, hardware=b"\1\2\0\0\0\0\1", source="netbox", hostname=""
        )
        answer(server.storage.reserve(pushed, server.now))
        reload(server, network(), [PRINTER])
        reload(server, network(), (), [PRINTER])
        assert server.storage.reservations(None, 10, None) == [pushed]
        assert server.bind(client(1)).yiaddr == FIRST

    def test_pushed_for_the_same_client(self, server):
        """One client has one address in a subnet; in another it may have a pushed one."""

        def net():
            return network(subnet(), subnet("192.0.3.0/24", "", name="other"))

        reload(server, net())
        here = replace(PRINTER, address=FIRST + 1, source="netbox")
        there = replace(PRINTER, address=ip("192.0.3.9"), source="netbox")
        answer(server.storage.reserve(here, server.now))
        answer(server.storage.reserve(there, server.now))
        reload(server, net(), [PRINTER])
        assert server.storage.reservations(None, 10, None) == [PRINTER, there]

    def test_subnets_of_pushed_ones_merge(self, server):
        """What was one client's in two subnets is one of the two in the larger one."""
        reload(server, network(subnet(), subnet("192.0.3.0/24", "", name="other")))
        here = replace(PRINTER, source="netbox")
        there = replace(PRINTER, address=ip("192.0.3.9"), source="netbox")
        for each in (there, here):
            answer(server.storage.reserve(each, server.now))
        reload(server, network(subnet("192.0.2.0/23")))
        assert server.storage.reservations(None, 10, None) == [here]
        assert server.storage.aside == [there]

    def test_set_aside_ends(self, server):
        """A reservation's own time passes while it is not in force."""
        pushed = replace(PRINTER, source="netbox", expires=server.now + 60)
        answer(server.storage.reserve(pushed, server.now))
        reload(server, network(), [PRINTER])
        assert server.storage.aside == [pushed]
        server.storage.clock_ticked(server.now + 61)
        assert server.storage.aside == []

    def test_order(self):
        """Which of two on one wire is meant does not depend on which came first."""
        wire = {"shared_network": "hall"}

        def net():
            other = subnet("192.0.3.0/24", "", name="other", **wire)
            return network(subnet(**wire), other)

        there = replace(PRINTER, address=ip("192.0.3.9"))
        for first, second in ((PRINTER, there), (there, PRINTER)):
            first_net = net()
            server = MemoryServer(first_net, MemoryStorage(first_net, [first]))
            reload(server, net(), [second])
            offer = server.receive(client(0x50).message(DISCOVER)).message
            assert offer.yiaddr == FIRST

    def test_embedder_s_own(self):
        """What a program gave its storage is not the configuration's to take."""
        net = network()
        own = replace(PRINTER, address=FIRST + 2)
        server = MemoryServer(net, MemoryStorage(net, [own]))
        reload(server, network(), [], [])
        assert server.storage.reservations(None, 10, None) == [own]


class TestUnderWay:
    """What was asked before and is answered afterwards."""

    def commit(self, disk, who, address=FIRST):
        """Ask for an address; the answer waits for the disk."""
        disk.server.receive(who.message(DISCOVER))
        before = len(disk.server.sent)
        disk.server.receive(who.message(REQUEST, requested=text(address), server=US))
        assert len(disk.server.sent) == before

    @pytest.mark.parametrize("began", [False, True])
    def test_ack(self, disk, began):
        """A lease that is being written is answered, and is there afterwards."""
        self.commit(disk, client(1))
        if began:
            disk.begin()
        reload(disk.server, network(subnet(pool="192.0.2.10-192.0.2.20")))
        disk.sync()
        assert disk.server.sent[-1].message.type == ACK
        disk.server.now += 60
        assert (
            disk.server.receive(client(2).message(DISCOVER)).message.yiaddr == FIRST + 1
        )

    @pytest.mark.parametrize("began", [False, True])
    @pytest.mark.parametrize("pool", ["192.0.2.10-192.0.2.20", "192.0.2.10-192.0.2.13"])
    def test_undone(self, disk, began, pool):
        """A lease that cannot be written is nobody's, in the new pool too."""
        self.commit(disk, client(1))
        if began:
            disk.begin()
        reload(disk.server, network(subnet(pool=pool)))
        disk.fault = OSError("full")
        disk.sync()
        disk.fault = None
        disk.server.now += 60
        offer = disk.server.receive(client(2).message(DISCOVER)).message
        assert offer.yiaddr == FIRST
        area = disk.storage.index.area_of(FIRST)
        assert area.clients == {}

    def test_undone_lease_before(self, disk):
        """What a client had before is its own again, where areas were made anew."""
        who = client(1)
        first = disk.bind(who).yiaddr
        disk.server.receive(who.message(MessageType.RELEASE, ciaddr=text(first)))
        disk.sync()
        other = disk.server.receive(
            client(2).message(DISCOVER, requested=text(first))
        ).message
        assert other.yiaddr == first
        disk.server.receive(
            client(2).message(REQUEST, requested=text(first), server=US)
        )
        reload(disk.server, network(subnet(pool="192.0.2.10-192.0.2.20")))
        disk.fault = OSError("full")
        disk.sync()
        disk.fault = None
        disk.server.now += 60
        assert disk.server.receive(who.message(DISCOVER)).message.yiaddr == first

    def test_undone_reservation(self, disk, logged_failures):
        """One that could not be kept leaves the configuration's alone."""
        pushed = replace(PRINTER, source="netbox", hostname="")
        kept = disk.storage.reserve(pushed, 1000.0)
        reload(disk.server, network(), [PRINTER])
        disk.fault = OSError("full")
        disk.sync()
        with pytest.raises(StorageFailure):
            answer(kept)
        assert disk.storage.reservations(None, 10, None) == [PRINTER]
        assert disk.storage.aside == []
        assert disk.storage.reserved.by_address == {FIRST: PRINTER}

    def test_undone_cancel(self, disk):
        """One whose cancelling could not be kept stands behind the configuration's."""
        pushed = replace(PRINTER, source="netbox", hostname="")
        done = disk.storage.reserve(pushed, 1000.0)
        disk.sync()
        answer(done)
        kept = disk.storage.cancel(pushed, 1000.0)
        reload(disk.server, network(), [PRINTER])
        disk.fault = OSError("full")
        disk.sync()
        with pytest.raises(StorageFailure):
            answer(kept)
        assert disk.storage.reservations(None, 10, None) == [PRINTER]
        assert disk.storage.aside == [pushed]

    def test_pushed_is_kept_on_disk(self, disk, tmp_path):
        """What is set aside is set aside after a restart, and is back when it may be."""
        pushed = replace(PRINTER, source="netbox", hostname="")
        answer_later = disk.storage.reserve(pushed, 1000.0)
        disk.sync()
        answer(answer_later)
        reload(disk.server, network(), [PRINTER])
        disk.close()
        again = Disk(disk.path, [PRINTER])
        assert again.storage.aside == [pushed]
        reload(again.server, network(), (), [PRINTER])
        assert again.storage.reservations(None, 10, None) == [pushed]
        again.close()

    def members(self, found):
        """A server whose pool asks another system, which answers with this."""

        class Members:
            def reservation_for(self, client):
                """Wait."""
                return found

        net = network()
        return MemoryServer(net, MemoryStorage(net, members=Members()))

    def test_subnet_changes_while_another_system_thinks(self):
        """The client is served by what its subnet is by then."""
        found = Deferred()
        server = self.members(found)
        server.receive(client(1).message(DISCOVER))
        reload(server, network(subnet(name="new", pool="192.0.2.50-192.0.2.60")))
        found.callback(None)
        assert server.sent[-1].message.yiaddr == ip("192.0.2.50")

    def test_subnet_goes_while_another_system_thinks(self):
        """The client is left alone, and nothing breaks."""
        found = Deferred()
        server = self.members(found)
        server.receive(client(1).message(DISCOVER))
        reload(server, network(subnet("10.0.0.0/24", "10.0.0.5")))
        found.callback(None)
        assert server.sent == []
        assert server.silences() == {"no-subnet": 1}

    @pytest.mark.parametrize("gone", [False, True])
    def test_reservation_goes_while_its_address_is_probed(self, gone):
        """Who no longer owns an address does not get it; who does, does."""
        asked = Deferred()

        @implementer(IProber)
        class Prober:
            def probe(self, address, subnet):
                """Wait."""
                return asked

        net = network()
        server = MemoryServer(net, MemoryStorage(net, prober=Prober()))
        server.bind(client(1))
        answer(server.storage.reserve(replace(PRINTER, source="netbox"), server.now))
        server.storage.prober = None
        answer(server.storage.revoke(FIRST, server.now))
        server.storage.prober = Prober()
        before = len(server.sent)
        server.receive(client(0x50).message(DISCOVER))
        other = replace(PRINTER, hardware=b"\1\2\0\0\0\0\x60")
        reload(server, network(), [other] if gone else [])
        asked.callback(False)
        given = [each.message.yiaddr for each in server.sent[before:]]
        assert given == ([] if gone else [FIRST])


# --- any two configurations -------------------------------------------------------

CIDRS = ("10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25", "10.0.0.0/23", "10.0.1.0/24")
SPOTS = [ip(f"10.0.{net}.{host}") for net in (0, 1) for host in (10, 11, 12, 140, 141)]
RELAYS = ("10.0.0.1", "10.0.0.129", "10.0.1.1")


@st.composite
def configurations(draw):
    """Subnets that do not overlap, and reservations in them."""
    chosen = []
    for cidr in draw(st.lists(st.sampled_from(CIDRS), min_size=1, unique=True)):
        net = IPv4Network(cidr)
        if not any(net.overlaps(each) for each in chosen):
            chosen.append(net)
    subnets = []
    for number, net in enumerate(chosen):
        inside = [each for each in SPOTS if IPv4Address(each) in net]
        spots = draw(st.lists(st.sampled_from(inside), unique=True, max_size=4))
        subnets.append(
            Subnet(
                draw(st.sampled_from("abc")) + str(number),
                net,
                tuple((each, each) for each in spots),
                shared_network=draw(st.sampled_from([None, "wire"])),
                excluded=frozenset(draw(st.lists(st.sampled_from(SPOTS), max_size=1))),
                lease_time=draw(st.sampled_from([600, 3600])),
                options={6: bytes([10, 0, 0, draw(st.integers(1, 3))])},
            )
        )
    reservations = {}
    for _ in range(draw(st.integers(0, 3))):
        each = Reservation(
            draw(st.sampled_from([*SPOTS, None])),
            hardware=client(draw(st.integers(1, 4))).hardware,
            settings=Settings({42: b"\x0a\0\0\7"}),
        )
        home = next(
            (s for s in subnets if each.address and s.contains(each.address)), None
        )
        if (home is not None or each.address is None) and not any(
            each.address == other.address or (each.who == other.who and place == home)
            for other, place in reservations.values()
        ):
            reservations[each.place] = each, home
    return tuple(subnets), tuple(each for each, _ in reservations.values())


HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(["bind", "bind", "bind", "release", "decline", "push", "wait"]),
        st.integers(1, 5),
        st.sampled_from(RELAYS),
        st.sampled_from(SPOTS),
    ),
    max_size=15,
)


def netted(subnets):
    """Subnets behind relays."""
    return Network(subnets, {"eth0": [ip(US)]})


def happen(disk, history):
    """Let clients do something; give the last address of each, and its relay."""
    last = {}
    for what, number, relay, spot in history:
        who, server = client(number, giaddr=relay), disk.server
        if what == "bind":
            offer = server.receive(who.message(DISCOVER, requested=text(spot)))
            if offer is not None:
                taken = text(offer.message.yiaddr)
                server.receive(who.message(REQUEST, requested=taken, server=US))
                last[number] = offer.message.yiaddr, relay
        elif what == "push":
            pushed = Reservation(spot, hardware=who.hardware, source="netbox")
            with suppress(ReservationConflict, ValueError):  # another, or no subnet
                disk.storage.reserve(pushed, server.now)
        elif what == "wait":
            server.now += 300
            disk.storage.clock_ticked(server.now)
        elif number in last:
            kind = MessageType.RELEASE if what == "release" else MessageType.DECLINE
            address, home = last[number]
            where = {"ciaddr" if what == "release" else "requested": text(address)}
            server.receive(
                client(number, giaddr=home).message(kind, server=US, **where)
            )
        disk.sync()
    return last


def told(reply, *, wholly):
    """What matters of a reply; the address only where the rules leave no choice."""
    if reply is None:
        return None
    options = {code: data for code, data in reply.options.items() if code != 56}
    return reply.type, options, reply.yiaddr if wholly else reply.yiaddr != 0


def asked(disk, last):
    """What clients are answered that come back, and then those that are new."""
    server = disk.server
    server.now += 60  # by then every offer has ended
    disk.storage.clock_ticked(server.now)
    disk.sync()
    found = []
    for number, (address, relay) in sorted(last.items()):
        for fields in ({"ciaddr": text(address)}, {"requested": text(address)}):
            before = len(server.sent)
            server.receive(client(number, giaddr=relay).message(REQUEST, **fields))
            disk.sync()
            reply = server.sent[-1].message if len(server.sent) > before else None
            found.append((number, told(reply, wholly=True)))
    for number in range(1, 8):
        for relay in RELAYS:
            reply = server.receive(client(number, giaddr=relay).message(DISCOVER))
            message = reply and reply.message
            found.append((number, relay, told(message, wholly=False)))
            if message is not None:
                see_it_is_allowed(disk, client(number).hardware, message.yiaddr)
                disk.storage.index.drop_offer(message.yiaddr)
    return found


def in_force(disk):
    """The reservations that are, and those that are not."""
    every = disk.storage.reservations(None, 100, None)
    return every, sorted(each.place for each in disk.storage.aside)


def see_it_is_allowed(disk, hardware, address):
    """Invariants 2 and 3, and the pools' bounds, for an offer."""
    home = disk.server.network.subnet_of(address)
    assert home is not None
    owner = disk.storage.reserved.by_address.get(address)
    if owner is None:
        assert home.in_pools(address)
    else:
        assert owner.hardware == hardware
    lease = disk.storage.index.leases.get(address)
    assert lease is None or not lease.held(disk.server.now) or lease.key == hardware


class TestAnyTwo:
    """Whatever the configurations are."""

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(configurations(), configurations(), HAPPENS)
    def test_reload_is_a_restart(self, old, new, history):
        """Clients are answered as after a restart with the new configuration."""
        directory = Path(mkdtemp())
        try:
            disk = Disk(directory / "one.sqlite", old[1], netted(old[0]))
            last = happen(disk, history)
            # As it would be found by another process.
            for each in directory.glob("one.sqlite*"):
                shutil.copyfile(each, directory / each.name.replace("one", "other"))
            added, removed = changed_reservations(old[1], new[1])
            now = disk.server.now
            reload(disk.server, netted(new[0]), added, removed)
            restarted = Disk(directory / "other.sqlite", new[1], netted(new[0]), now)
            assert asked(disk, last) == asked(restarted, last)
            assert in_force(disk) == in_force(restarted)
            disk.close()
            restarted.close()
        finally:
            shutil.rmtree(directory)
