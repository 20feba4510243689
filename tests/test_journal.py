"""What happens is written down: once, in order, with what it left."""

from __future__ import annotations

import sqlite3
from ipaddress import IPv4Address
from math import inf

import pytest
from disks import US, Disk
from hypothesis import HealthCheck, given, settings, strategies as st
from twisted.internet.defer import Deferred
from zope.interface import implementer

from dhcptwist.interfaces import ILeaseListener
from dhcptwist.lease import (
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    Settings,
)
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_journal import PATIENT_TICKS
from dhcptwist.testing import FakeClient, MemoryServer, answer, ip, network, subnet
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
RELEASE, DECLINE = MessageType.RELEASE, MessageType.DECLINE
FIRST = ip("192.0.2.10")
HOUR = 3600
FULL = sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def disk(tmp_path):
    """An empty storage."""
    made = Disk(tmp_path / "leases.sqlite")
    yield made
    made.fault = None
    made.close()


@implementer(ILeaseListener)
class Listener:
    """Remembers what it is told."""

    def __init__(self):
        self.events = []

    def lease_changed(self, event):
        """See `ILeaseListener`."""
        self.events.append(event)


def renew(disk, who, address="192.0.2.10"):
    """A renewal, written or not."""
    before = len(disk.server.sent)
    disk.server.receive(who.message(REQUEST, ciaddr=address))
    disk.sync()
    sent = disk.server.sent[before:]
    return sent[0].message if sent else None


class TestEntries:
    """Every change is one row."""

    def test_a_life(self, disk):
        """Bound, renewed, released, bound again, declined."""
        who = FakeClient(options={12: b"laptop"})
        disk.bind(who)
        disk.server.now += 10
        renew(disk, who)
        disk.server.receive(who.message(RELEASE, ciaddr="192.0.2.10", server=US))
        disk.sync()
        disk.bind(who)
        disk.server.receive(who.message(DECLINE, requested="192.0.2.10", server=US))
        disk.sync()
        assert disk.kinds() == ["bound", "renewed", "released", "bound", "declined"]
        bound, renewed, *_ = disk.events()
        assert [each.number for each in disk.events()] == [1, 2, 3, 4, 5]
        assert {each.address for each in disk.events()} == {FIRST}
        assert {each.by for each in disk.events()} == {"packet"}
        assert (bound.when, bound.since, bound.expires) == (1000.0, 1000.0, 4600.0)
        assert (renewed.when, renewed.since, renewed.expires) == (
            1010.0,
            1000.0,
            4610.0,
        )
        assert (bound.key, bound.hardware, bound.hostname) == (
            who.hardware,
            who.hardware,
            "laptop",
        )

    def test_behind_a_relay(self, disk):
        """A client with an identifier, at a port: all of it is kept."""
        who = FakeClient(
            identifier=b"\xff1234",
            options={82: b"\x01\x04eth1"},
            giaddr="192.0.2.2",
        )
        disk.bind(who)
        [event] = disk.events()
        assert (event.key, event.hardware) == (b"\xff1234", who.hardware)
        assert event.relay == b"\x01\x04eth1"

    def test_expiry_is_told_once(self, disk):
        """By the clock, whether anybody asks or not."""
        disk.bind(FakeClient())
        disk.tick(HOUR - 1)
        assert disk.kinds() == ["bound"]
        disk.tick(2)
        disk.tick(2)
        *_, event = disk.events()
        assert disk.kinds() == ["bound", "expired"]
        assert (event.by, event.expires) == ("expiry", 1000.0 + HOUR)

    def test_an_expiry_that_was_not_kept_is_told_again(self, disk):
        """It is no lease's change, but it is not lost."""
        disk.bind(FakeClient())
        disk.fault = FULL
        disk.tick(HOUR + 1)
        disk.fault = None
        assert disk.kinds() == ["bound"]
        disk.tick()
        assert disk.kinds() == ["bound", "expired"]

    def test_expiry_while_nobody_was_there(self, disk):
        """The next start tells of it; the one after that has nothing to tell."""
        disk.bind(FakeClient())
        disk.close()
        for _ in range(2):
            again = Disk(disk.path, when=1000.0 + 2 * HOUR)
            again.tick()
            assert again.kinds() == ["bound", "expired"]
            again.close()

    def test_control(self, disk):
        """Reservations and what they do to others, with the name of who asked."""
        disk.bind(FakeClient())
        owner = FakeClient("02:00:00:00:00:09")
        wanted = Reservation(
            FIRST,
            hardware=owner.hardware,
            source="ipam",
            on_conflict=OnConflict.PREEMPT,
        )
        disk.storage.reserve(wanted, 1001.0, "netbox")
        disk.storage.cancel(wanted, 1002.0, "admin")
        disk.storage.revoke(FIRST, 1003.0, "admin")
        disk.sync()
        found = [(e.kind.name, e.by, e.address) for e in disk.events()]
        assert found == [
            ("BOUND", "packet", FIRST),
            ("REVOKED", "netbox", FIRST),
            ("RESERVED", "netbox", FIRST),
            ("CANCELLED", "admin", FIRST),
        ]

    def test_a_port(self, disk):
        """A reservation for a relay's port says which."""
        disk.storage.reserve(
            Reservation(None, circuit_id=b"eth7", settings=Settings({6: b"\1\2\3\4"})),
            1001.0,
        )
        disk.sync()
        [event] = disk.events()
        assert (event.address, event.relay) == (0, b"\x01\x04eth7")
        assert event.by == "file"

    def test_the_lease_that_a_client_leaves(self, disk):
        """A move is an end and a beginning."""
        who = FakeClient()
        disk.bind(who)
        disk.storage.reserve(
            Reservation(FIRST + 1, hardware=who.hardware, source="x"), 1001.0
        )
        disk.sync()
        disk.bind(who)
        assert disk.kinds() == ["bound", "reserved", "bound", "released"]

    def test_a_clock_that_is_set(self, disk):
        """It is in the journal, and by how much."""
        disk.bind(FakeClient())
        disk.storage.clock_stepped(1000.0)
        disk.sync()
        *_, event = disk.events()
        assert event.kind == EventKind.CLOCK
        assert event.when - event.since == 1000.0


class TestNumbers:
    """A number is given once."""

    def test_over_restarts(self, disk):
        """They go on where they were."""
        disk.bind(FakeClient())
        disk.close()
        again = Disk(disk.path)
        again.bind(FakeClient("02:00:00:00:00:02"))
        assert [each.number for each in again.events()] == [1, 2]
        again.close()

    def test_after_everything_was_forgotten(self, tmp_path):
        """The newest row stays for that."""
        disk = Disk(tmp_path / "leases.sqlite", history=10.0)
        for n in range(4):
            disk.bind(FakeClient(f"02:00:00:00:00:0{n}"))
        for _ in range(2 * PATIENT_TICKS):
            disk.tick(20)
        assert [each.number for each in disk.events()] == [4]
        disk.close()
        again = Disk(disk.path, when=1100.0)
        again.bind(FakeClient())
        assert [each.number for each in again.events()][-1] == 5
        again.close()

    def test_after_a_failure(self, disk, logged_failures):
        """What failed had none."""
        disk.bind(FakeClient())
        disk.fault = FULL
        disk.server.receive(FakeClient("02:00:00:00:00:02").message(DISCOVER))
        taken = FakeClient("02:00:00:00:00:02").message(
            REQUEST, requested="192.0.2.11", server=US
        )
        disk.server.receive(taken)
        disk.sync()
        disk.fault = None
        disk.bind(FakeClient("02:00:00:00:00:03"))
        assert [each.number for each in disk.events()] == [1, 2]


class TestListeners:
    """Whoever listens is told, when it is true."""

    def test_when_it_is_on_disk(self, disk):
        """Not before; and with the numbers of the file."""
        listener = Listener()
        disk.storage.add_listener(listener)
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        assert listener.events == []
        disk.sync()
        renew(disk, who)
        assert listener.events == disk.events() != []
        disk.storage.remove_listener(listener)
        renew(disk, who)
        assert len(listener.events) == 2

    def test_not_of_what_failed(self, disk, logged_failures):
        """Nothing happened."""
        listener = Listener()
        disk.storage.add_listener(listener)
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.fault = FULL
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        disk.sync()
        assert listener.events == []

    def test_one_that_fails(self, disk, logged_failures):
        """It is logged, and the others are told."""

        @implementer(ILeaseListener)
        class Bad:
            def lease_changed(self, event):
                raise ZeroDivisionError

        listener = Listener()
        disk.storage.add_listener(Bad())
        disk.storage.add_listener(listener)
        assert disk.bind(FakeClient()).type == MessageType.ACK
        assert len(listener.events) == 1
        assert len(logged_failures.flush(ZeroDivisionError)) == 1

    def test_in_memory(self):
        """A storage that keeps nothing tells all the same, in order and numbered."""
        net = network()
        storage = MemoryStorage(net)
        listener = Listener()
        storage.add_listener(listener)
        server = MemoryServer(net, storage)
        server.bind(FakeClient())
        storage.reserve(Reservation(FIRST + 3, hardware=b"\x01mac..."), 1.0)
        storage.clock_stepped(5.0)
        kinds = [event.kind.name for event in listener.events]
        assert kinds == ["BOUND", "RESERVED", "CLOCK"]
        assert [event.number for event in listener.events] == [1, 2, 3]


class TestWhatIsOnDisk:
    """A client that has a lease on disk is granted what is left of it, and no more."""

    def test_renewal_while_the_disk_is_full(self, disk, logged_failures):
        """The time that is on disk; again, less; and nothing when it is over."""
        who = FakeClient()
        disk.bind(who)
        disk.fault = FULL
        disk.server.now += 1000
        ack = renew(disk, who)
        assert (ack.type, ack.get("dhcp-lease-time")) == (MessageType.ACK, HOUR - 1000)
        disk.server.now += 2599
        assert renew(disk, who).get("dhcp-lease-time") == 1
        disk.server.now += 1
        assert renew(disk, who) is None
        assert disk.storage.journal.figures()["stale"] == 2
        disk.fault = None
        disk.server.now -= 600
        assert renew(disk, who).get("dhcp-lease-time") == HOUR

    def test_not_what_was_never_written(self, disk, logged_failures):
        """A renewal in the same failing batch as its lease's beginning."""
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.fault = FULL
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        disk.sync()
        assert [sent.message.type for sent in disk.server.sent] == [MessageType.OFFER]

    def test_infinite(self, tmp_path):
        """What has no end stays so."""
        net = network(subnet(lease_time=0xFFFFFFFF))
        disk = Disk(tmp_path / "leases.sqlite", net=net)
        who = FakeClient()
        disk.bind(who)
        disk.fault = FULL
        disk.server.now += 1e9
        assert renew(disk, who).get("dhcp-lease-time") == 0xFFFFFFFF
        disk.fault = None
        disk.close()

    def test_a_release_is_not_said_to_be_done(self, disk, logged_failures):
        """It is undone, and counted as failed."""
        who = FakeClient()
        disk.bind(who)
        disk.fault = FULL
        disk.server.receive(who.message(RELEASE, ciaddr="192.0.2.10", server=US))
        disk.sync()
        assert disk.storage.index.leases[FIRST].state == LeaseState.BOUND


class TestClock:
    """Times move with the wall clock, in memory and in the file."""

    @pytest.mark.parametrize("by", [86400.0, -86400.0, -1.6e9])
    def test_restart_after_a_step(self, disk, by):
        """What was left is left."""
        disk.bind(FakeClient())
        disk.storage.reserve(
            Reservation(FIRST + 3, hardware=b"\x01123456", expires=2000.0), 1000.0
        )
        disk.sync()
        disk.storage.clock_stepped(by)
        disk.sync()
        disk.close()
        again = Disk(disk.path, when=1000.0 + by)
        assert again.storage.index.leases[FIRST].expires == 1000.0 + by + HOUR
        [kept] = again.storage.reservations(None, 10, None)
        assert kept.expires == 2000.0 + by
        again.close()

    def test_while_the_disk_is_full(self, disk):
        """It is tried again until it is there."""
        disk.bind(FakeClient())
        disk.fault = FULL
        disk.storage.clock_stepped(500.0)
        disk.sync()
        disk.fault = None
        disk.server.now += 500
        disk.tick()
        with sqlite3.connect(disk.path) as file:
            rows = file.execute("SELECT since, expires FROM lease").fetchall()
        file.close()
        assert rows == [(1500.0, 1500.0 + HOUR)]

    def test_while_a_lease_is_being_written(self, disk):
        """The times that are written last are those of the new clock."""
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        disk.begin()
        disk.storage.clock_stepped(500.0)
        disk.sync()
        disk.close()
        again = Disk(disk.path, when=1500.0)
        assert again.storage.index.leases[FIRST].expires == 1500.0 + HOUR
        again.close()

    def test_a_renewal_behind_the_step(self, disk):
        """In the same transaction: what the client was told is what is written."""
        who = FakeClient()
        disk.bind(who)
        disk.server.now += 1800
        disk.storage.now = disk.server.now
        disk.storage.clock_stepped(86400.0)
        disk.server.now += 86400
        ack = renew(disk, who)
        assert ack.get("dhcp-lease-time") == HOUR
        disk.close()
        again = Disk(disk.path, when=disk.server.now)
        assert again.storage.index.leases[FIRST].expires == disk.server.now + HOUR
        again.close()

    @pytest.mark.parametrize("by", [86400.0, -86400.0])
    def test_a_write_that_fails_behind_the_step(self, disk, by):
        """What is left is what was left, by either clock."""
        who = FakeClient()
        disk.bind(who)
        disk.server.now += 3000
        disk.fault = FULL
        disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        disk.begin()
        disk.storage.clock_stepped(by)
        disk.server.now += by
        disk.sync()
        assert disk.server.sent[-1].message.get("dhcp-lease-time") == 600

    def test_ends_are_not_told_again(self, disk):
        """Neither by a step, nor by a write that failed."""
        who = FakeClient()
        disk.bind(who)
        disk.tick(2 * HOUR)
        disk.storage.clock_stepped(5000.0)
        disk.server.now += 5000
        disk.tick()
        disk.fault = FULL
        disk.server.receive(who.message(DISCOVER))
        taken = who.message(REQUEST, requested="192.0.2.10", server=US)
        disk.server.receive(taken)
        disk.sync()
        disk.fault = None
        disk.tick()
        assert disk.kinds() == ["bound", "expired", "clock"]

    def test_the_order_after_a_gap(self, tmp_path):
        """Who ended first is given first, though its renewal stood elsewhere."""
        disk = Disk(tmp_path / "leases.sqlite")
        clients = [FakeClient(f"02:00:00:00:00:0{n}") for n in range(4)]
        for n, who in enumerate(clients):
            disk.server.now = 1000.0 + n
            disk.bind(who)
        disk.server.now = 2000.0
        renew(disk, clients[0])
        disk.tick(10 * HOUR)
        given = [disk.bind(FakeClient(f"02:00:00:00:01:0{n}")).yiaddr for n in range(4)]
        assert given == [FIRST + 1, FIRST + 2, FIRST + 3, FIRST]
        disk.close()


class TestFigures:
    """What `Status` tells of the disk."""

    def test_figures(self, disk):
        """Rows per transaction, and how long requests waited."""
        disk.bind(FakeClient())
        figures = disk.storage.figures(1000.0)["storage"]
        assert figures["rows per transaction"] == 1.0
        assert 0 <= figures["waited median ms"] <= figures["waited p99 ms"]
        assert "failing" not in figures
        disk.fault = FULL
        renew(disk, FakeClient())
        assert disk.storage.figures(1000.0)["storage"]["failing"] is True

    def test_tidying_fails(self, disk):
        """It is tried again, and harms nobody."""
        journal = disk.storage.journal
        tidy = journal._file.tidy

        def failing(*_):
            raise FULL

        journal._file.tidy = failing
        disk.tick()
        journal._file.tidy = tidy
        assert disk.bind(FakeClient()).type == MessageType.ACK
        disk.tick()

    def test_a_busy_server_is_tidied_at_last(self, disk):
        """Somebody always waits; after so many ticks the journal has its turn."""
        disk.bind(FakeClient())
        for _ in range(PATIENT_TICKS):
            disk.storage.journal.keep(None, 1000.0)
            disk.storage.clock_ticked(1000.0)
        assert any(
            isinstance(disk.storage.journal._work.get(), tuple)
            for _ in range(disk.storage.journal._work.qsize())
        )
        disk.storage.journal._tidying = False


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["bind", "bind", "renew", "release", "decline", "fail", "tick", "restart"]
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_the_leases_are_what_the_journal_says(  # noqa: C901 - a table of steps
    tmp_path, steps
):
    """Whatever happens: the last row of an address is its lease, here and in memory."""
    path = tmp_path / "leases.sqlite"
    for old in tmp_path.iterdir():
        old.unlink()
    disk = Disk(path)
    for step, n in steps:
        who = FakeClient(f"02:00:00:00:00:0{n}")
        mine = [
            str(IPv4Address(lease.address))
            for lease in disk.storage.index.leases.values()
            if lease.key == who.hardware and lease.bound(disk.server.now)
        ]
        if step == "bind":
            if disk.server.receive(who.message(DISCOVER)) is not None:
                wanted = str(IPv4Address(disk.server.sent[-1].message.yiaddr))
                disk.server.receive(who.message(REQUEST, requested=wanted, server=US))
        elif step == "fail":
            disk.fault = None if disk.fault else FULL
        elif step == "tick":
            disk.tick(n * 1000.0)
        elif step == "restart":
            disk.fault = None
            disk.close()
            disk = Disk(path, when=disk.server.now)
        elif mine and step == "renew":
            renew(disk, who, mine[0])
        elif mine and step == "release":
            disk.server.receive(who.message(RELEASE, ciaddr=mine[0], server=US))
        elif mine and step == "decline":
            disk.server.receive(who.message(DECLINE, requested=mine[0], server=US))
        disk.sync()
    disk.fault = None
    disk.close()
    with sqlite3.connect(path) as file:
        last = file.execute(
            "SELECT address, state, client, since, expires FROM journal WHERE number IN"
            " (SELECT max(number) FROM journal WHERE state NOT NULL GROUP BY address)"
        ).fetchall()
        now = file.execute(
            "SELECT address, state, client, since, expires FROM lease"
        ).fetchall()
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()
    assert sorted(last) == sorted(now)
    held = {
        (lease.address, lease.key, lease.expires)
        for lease in disk.storage.index.leases.values()
        if lease.state in {LeaseState.BOUND, LeaseState.DECLINED}
    }
    assert held == {
        (address, client, inf if expires is None else expires)
        for address, state, client, _, expires in now
        if state in {2, 4, 6}
    }


def test_a_history_that_is_asked_for(disk):
    """Without threads it is answered at once, by a Deferred all the same."""
    disk.bind(FakeClient())
    found = disk.storage.history(FIRST, None, 0, 10)
    assert isinstance(found, Deferred)
    assert answer(found) == answer(disk.storage.events(0, 10)) == disk.events()


def test_a_lease_of_no_subnet(disk):
    """Kept, shown, and never given: its network may come back."""
    far = ip("10.0.0.1")
    lease = Lease(far, key=b"\x01123456", since=1.0, expires=9000.0)
    kept = disk.storage.journal.keep(None, 1000.0, [(EventKind.BOUND, lease)])
    disk.sync()
    answer(kept)
    disk.close()
    again = Disk(disk.path)
    assert again.storage.index.leases[far].key == b"\x01123456"
    again.tick(10_000)
    again.close()
