"""What happens is written down: once, in order, with what it left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from math import inf

import pytest
from disks import US, Disk
from hypothesis import HealthCheck, given, settings, strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from dhcptwist.interfaces import ILeaseListener, IProber
from dhcptwist.lease import (
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    Settings,
)
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_file import Batch
from dhcptwist.storage.sqlite_journal import PACE, PATIENT_TICKS, QUIET
from dhcptwist.storage.sqlite_rows import read_reservation
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


@implementer(IProber)
class Silent:
    """Nobody answers a probe."""

    def probe(self, address, subnet):
        """See `IProber`."""
        return succeed(False)


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

    def test_a_revoked_address_that_is_silent(self, tmp_path):
        """Somebody took the lease away; the probe found the address free."""
        disk = Disk(tmp_path / "leases.sqlite", prober=Silent())
        disk.bind(FakeClient())
        disk.storage.revoke(FIRST, 1003.0, "admin")
        disk.sync()
        found = [(e.kind.name, e.by, e.when, e.expires) for e in disk.events()]
        assert found == [
            ("BOUND", "packet", 1000.0, 4600.0),
            ("REVOKED", "admin", 1003.0, 4600.0),
            ("FREED", "probe", 1003.0, 1003.0),
        ]
        disk.close()

    def test_an_import(self, disk):
        """With the name of who took it over, and the times it came with."""
        mine = FakeClient().hardware
        lease = Lease(FIRST, LeaseState.BOUND, mine, mine, 900.0, 5000.0, hostname="pc")
        done = disk.storage.import_leases([lease], 1001.0, "admin")
        disk.sync()
        assert answer(done) == ["taken"]
        [event] = disk.events()
        assert (event.kind, event.by, event.when) == (EventKind.IMPORTED, "admin", 1001)
        assert (event.key, event.hostname) == (mine, "pc")
        assert (event.since, event.expires) == (900.0, 5000.0)

    def test_a_lifetime(self, disk):
        """A reservation that ends is cancelled by that, once; also if it is not kept."""
        wanted = Reservation(FIRST, hardware=b"\x01123456", source="x", expires=1010.0)
        disk.storage.reserve(wanted, 1000.0)
        disk.tick(9)
        assert disk.kinds() == ["reserved"]
        disk.fault = FULL
        disk.tick(2)
        disk.tick(2)
        disk.fault = None
        disk.tick()
        disk.tick()
        assert disk.kinds() == ["reserved", "cancelled"]
        [_, event] = disk.events()
        assert (event.by, event.address, event.expires) == ("expiry", FIRST, 1010.0)
        assert disk.storage.reservations(None, 10, None) == []

    def test_a_lifetime_that_ended_while_nobody_was_there(self, disk):
        """It is told at the start, and nothing of it is left in the file."""
        wanted = Reservation(FIRST, hardware=b"\x01123456", source="x", expires=1010.0)
        disk.storage.reserve(wanted, 1000.0)
        disk.close()
        for _ in range(2):
            again = Disk(disk.path, when=2000.0)
            again.tick()
            assert again.kinds() == ["reserved", "cancelled"]
            again.close()
        with closing(sqlite3.connect(disk.path)) as file:
            assert file.execute("SELECT * FROM reservation").fetchall() == []

    def test_a_failed_change_of_a_reservation(self, disk):
        """The old one is in force again, and ends when it should, once."""
        mine = b"\x01123456"
        disk.storage.reserve(Reservation(FIRST, mine, source="x", expires=1010.0), 1e3)
        disk.sync()
        disk.fault = FULL
        longer = Reservation(FIRST, mine, source="x", expires=1020.0)
        disk.storage.reserve(longer, 1001.0).addErrback(lambda _: None)
        disk.sync()
        disk.fault = None
        [kept] = disk.storage.reservations(None, 10, None)
        assert kept.expires == 1010.0
        disk.tick(15)
        assert disk.kinds() == ["reserved", "cancelled"]

    def test_a_changed_reservation(self, disk):
        """It is made anew, and nothing is cancelled; the new one is in the file."""
        mine = b"\x01123456"
        for expires in (5000.0, 6000.0):
            each = Reservation(FIRST, hardware=mine, source="x", expires=expires)
            disk.storage.reserve(each, 1000.0)
        disk.sync()
        assert disk.kinds() == ["reserved", "reserved"]
        _, _, reservations = everything(disk.path)
        assert [each.expires for each in reservations.values()] == [6000.0]

    def test_the_end_of_a_rest(self, tmp_path):
        """It is told once, and what rested there is still what it was."""
        net = network(subnet(decline_hold=100))
        disk = Disk(tmp_path / "leases.sqlite", net=net)
        disk.bind(FakeClient())
        declines = FakeClient().message(DECLINE, requested="192.0.2.10", server=US)
        disk.server.receive(declines)
        disk.tick(102)
        disk.close()
        again = Disk(disk.path, net=net, when=1200.0)
        again.tick()
        assert again.kinds() == ["bound", "declined", "expired"]
        _, leases, _ = everything(disk.path)
        assert leases[FIRST][1] == LeaseState.DECLINED
        again.close()

    def test_a_client_without_hardware(self, disk):
        """RFC 4390: it has an identifier, and nothing is made up for the rest."""
        lease = Lease(FIRST, key=b"\xff1234", since=1000.0, expires=5000.0)
        disk.storage.journal.keep(None, 1000.0, [(EventKind.BOUND, lease)])
        disk.sync()
        [event] = disk.events()
        assert (event.key, event.hardware) == (b"\xff1234", b"")
        _, leases, _ = everything(disk.path)
        assert leases[FIRST][2:4] == (b"\xff1234", b"")

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


def everything(path):
    """The journal, the leases and the reservations of a file, as they are."""
    with closing(sqlite3.connect(path)) as file:
        return (
            file.execute(
                "SELECT number, at, kind, state, address, client FROM journal"
            ).fetchall(),
            {row[0]: row for row in file.execute("SELECT * FROM lease")},
            {
                each.place: each
                for each in map(
                    read_reservation, file.execute("SELECT * FROM reservation")
                )
            },
        )


SIZES = st.one_of(
    st.sampled_from([0, 0, 1, 2, 255, 256, 257, 512, 513, 600]), st.integers(0, 600)
)


class TestBatches:
    """What one transaction writes: all that there is to write, once, and nothing else."""

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.tuples(
                SIZES,
                st.lists(st.tuples(st.booleans(), st.integers(0, 3))),
                st.booleans(),
            ),
            max_size=4,
        )
    )
    def test_whatever_is_in_it(self, tmp_path, batches):
        """Entries, reservations that come and go, and times; of any number."""
        for old in tmp_path.iterdir():
            old.unlink()
        disk = Disk(tmp_path / "leases.sqlite")
        file = disk.storage.journal._file
        rows, leases, reserved = [], {}, {}
        for round_, (size, changes, step) in enumerate(batches):
            batch = Batch()
            for n in range(size):
                # Some addresses come twice: what is journaled of them last is so.
                lease = Lease(
                    1 + n % 400, key=b"\x01%03d%03d" % (round_, n), expires=9.0
                )
                batch.entries.append((float(n), EventKind.BOUND, lease, "packet"))
                rows.append((len(rows) + 1, float(n), 1, 2, lease.address, lease.key))
                leases[lease.address] = lease
            for there, n in changes:
                each = Reservation(FIRST + n, hardware=b"\x01123456", source="x")
                batch.reservations.append(((), (each,)) if there else ((each,), ()))
                reserved[each.place] = each
                if not there:
                    del reserved[each.place]
            if step:
                batch.times = [(5.0, None, address) for address in range(100, 200)]
                for address in set(range(100, 200)) & leases.keys():
                    key = leases[address].key
                    leases[address] = Lease(address, key=key, since=5.0, expires=inf)
            assert file.write(batch) == len(rows) - size + 1
        journal, table, reservations = everything(disk.path)
        assert journal == rows
        assert {
            address: (row[2], row[4], row[5]) for address, row in table.items()
        } == {
            address: (each.key, each.since, None if each.expires == inf else 9.0)
            for address, each in leases.items()
        }
        assert reservations == reserved
        disk.close()

    @pytest.mark.parametrize("extra", [False, True])
    @pytest.mark.parametrize("count", [200, 256, 257, 600])
    def test_a_disk_that_fills_up_in_the_middle(self, disk, count, extra):
        """Nothing of it is there, and its numbers are still to be given."""
        disk.bind(FakeClient())
        before = everything(disk.path)
        file = disk.storage.journal._file
        [(pages,)] = file._connection.execute("PRAGMA page_count").fetchall()
        file._connection.execute(f"PRAGMA max_page_count={pages + 1}")
        batch = Batch()
        for n in range(count):
            lease = Lease(1 + n, key=bytes(100), hostname="x" * 60)
            batch.entries.append((1.0, EventKind.BOUND, lease, "packet"))
        if extra:
            each = Reservation(FIRST + 1, hardware=b"\x01123456", source="x")
            batch.reservations.append(((), (each,)))
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="full"):
                file.write(batch)
            assert everything(disk.path) == before
        file._connection.execute(f"PRAGMA max_page_count={1 << 30}")
        assert file.write(batch) == 2
        journal, leases, _ = everything(disk.path)
        assert [row[0] for row in journal] == list(range(1, count + 2))
        assert len(leases) == count + 1

    def test_a_reservation_that_cannot_be_written(self, disk):
        """The leases beside it are not written either."""
        before = everything(disk.path)
        batch = Batch()
        lease = Lease(FIRST, key=b"\x01123456")
        batch.entries.append((1.0, EventKind.BOUND, lease, "packet"))
        batch.reservations.append(((), (Reservation(FIRST, hostname=None),)))
        file = disk.storage.journal._file
        with pytest.raises(sqlite3.IntegrityError):
            file.write(batch)
        assert everything(disk.path) == before

    def test_what_waits_behind_a_failure(self, disk):
        """It goes with it; the next transaction writes what is its own, and no more."""
        one, two = FakeClient(), FakeClient("02:00:00:00:00:02")
        disk.bind(one)
        disk.fault = FULL
        disk.server.receive(one.message(REQUEST, ciaddr="192.0.2.10"))
        disk.begin()
        asks = two.message(REQUEST, requested="192.0.2.11", server=US)
        disk.server.receive(asks)
        disk.finish()
        disk.fault = None
        disk.bind(FakeClient("02:00:00:00:00:03"))
        assert [each.key[-1] for each in disk.events()] == [1, 3]
        _, leases, _ = everything(disk.path)
        assert sorted(row[2][-1] for row in leases.values()) == [1, 3]

    def test_a_connection_that_is_lost(self, disk):
        """The next one goes on with the numbers of the file."""
        disk.bind(FakeClient())
        disk.storage.journal._file._drop()
        disk.bind(FakeClient("02:00:00:00:00:02"))
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

    def test_on_disk_means_that_others_can_read_it(self, disk):
        """Each of a transaction is there when the first of them is told."""
        seen = []

        @implementer(ILeaseListener)
        class Reader:
            def lease_changed(self, event):
                with closing(sqlite3.connect(disk.path)) as file:
                    rows = file.execute("SELECT number FROM journal").fetchall()
                seen.append((event.number, [number for (number,) in rows]))

        disk.storage.add_listener(Reader())
        for n in range(3):
            disk.storage.reserve(
                Reservation(FIRST + n, hardware=bytes([1, n]), source="x"), 1000.0
            )
        disk.sync()
        assert seen == [(n, [1, 2, 3]) for n in (1, 2, 3)]

    def test_before_the_answer(self, disk):
        """Who hears of an ACK can look up what it is about."""
        order = []

        @implementer(ILeaseListener)
        class First:
            def lease_changed(self, event):
                order.append((event.kind.name, len(disk.server.sent)))

        disk.storage.add_listener(First())
        disk.bind(FakeClient())
        assert order == [("BOUND", 1)]
        assert len(disk.server.sent) == 2

    def test_one_that_leaves_or_acts(self, disk):
        """While it is told: the others are told, and what it does is an event itself."""
        listener = Listener()

        @implementer(ILeaseListener)
        class Acting:
            def lease_changed(self, event):
                disk.storage.remove_listener(self)
                disk.storage.reserve(
                    Reservation(FIRST + 3, hardware=b"\x01123456", source="x"), 1e3
                )

        disk.storage.add_listener(Acting())
        disk.storage.add_listener(listener)
        disk.bind(FakeClient())
        assert [event.kind.name for event in listener.events] == ["BOUND", "RESERVED"]
        assert listener.events == disk.events()

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
        memory = MemoryServer()
        memory.storage.add_listener(Bad())
        memory.storage.add_listener(listener)
        assert memory.bind(FakeClient()).type == MessageType.ACK
        assert len(listener.events) == 2
        assert len(logged_failures.flush(ZeroDivisionError)) == 1

    def test_in_memory(self):
        """A storage that keeps nothing tells all the same, in order and numbered."""
        net = network()
        storage = MemoryStorage(net)
        listener = Listener()
        storage.add_listener(listener)
        server = MemoryServer(net, storage)
        server.bind(FakeClient())
        mine = FakeClient().hardware
        storage.reserve(Reservation(FIRST + 3, hardware=mine, source="x"), 1.0)
        server.bind(FakeClient())  # it moves: two events at once
        storage.clock_stepped(5.0)
        server.now = 1e6
        storage.clock_ticked(server.now)
        kinds = [event.kind.name for event in listener.events]
        assert kinds == ["BOUND", "RESERVED", "BOUND", "RELEASED", "CLOCK", "EXPIRED"]
        assert [event.number for event in listener.events] == [1, 2, 3, 4, 5, 6]


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
        disk.server.now -= 0.5
        assert renew(disk, who) is None  # half a second cannot be said
        disk.server.now += 0.5
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

    def test_no_longer_than_was_asked_for(self, tmp_path):
        """Nor without the settings that the client would have had."""
        net = network(subnet(min_lease_time=60))
        disk = Disk(tmp_path / "leases.sqlite", net=net)
        who = FakeClient()
        disk.bind(who)
        given = Settings({6: b"\1\2\3\4"})
        disk.storage.reserve(
            Reservation(FIRST, hardware=who.hardware, settings=given), 1000.0
        )
        disk.sync()
        disk.fault = FULL
        asks = who.message(
            REQUEST, ciaddr="192.0.2.10", options={51: (90).to_bytes(4, "big")}
        )
        disk.server.receive(asks)
        disk.sync()
        ack = disk.server.sent[-1].message
        assert (ack.get("dhcp-lease-time"), ack.options[6]) == (90, b"\1\2\3\4")
        disk.fault = None
        disk.close()

    def test_not_somebody_else_s(self, disk):
        """Released and given on in what fails: the old holder has it, the new one not."""
        one, two = FakeClient(), FakeClient("02:00:00:00:00:02")
        disk.bind(one)
        disk.fault = FULL
        disk.server.receive(one.message(RELEASE, ciaddr="192.0.2.10", server=US))
        asks = two.message(REQUEST, requested="192.0.2.10", server=US)
        disk.server.receive(asks)
        disk.sync()
        assert len(disk.server.sent) == 2
        assert disk.storage.index.leases[FIRST].key == one.hardware

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

    @pytest.mark.parametrize("under_way", [True, False])
    @pytest.mark.parametrize("by", [86400.0, -86400.0])
    def test_a_write_that_fails_behind_the_step(self, disk, by, under_way):
        """What is left is what was left, by either clock."""
        who = FakeClient()
        disk.bind(who)
        disk.server.now += 3000
        disk.fault = FULL
        disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        if under_way:
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

    @pytest.mark.parametrize("by", [86400.0, -86400.0])
    def test_a_release_behind_the_step(self, disk, by):
        """What is written last of a lease is what became of it last."""
        one, two = FakeClient(), FakeClient("02:00:00:00:00:02")
        disk.bind(one)
        disk.server.now += 1800
        disk.storage.clock_ticked(disk.server.now)
        disk.storage.clock_stepped(by)
        now = disk.server.now = disk.server.now + by
        disk.server.receive(one.message(RELEASE, ciaddr="192.0.2.10", server=US))
        asks = two.message(REQUEST, requested="192.0.2.10", server=US)
        disk.server.receive(asks)
        disk.sync()
        _, leases, _ = everything(disk.path)
        assert leases[FIRST][1:6] == (2, two.hardware, two.hardware, now, now + HOUR)

    @pytest.mark.parametrize("by", [86400.0, -86400.0])
    def test_what_waits_is_of_one_clock(self, disk, by):
        """Its rows, and what listeners are told, have all times of the new one."""
        listener = Listener()
        disk.storage.add_listener(listener)
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        disk.storage.clock_stepped(by)
        disk.sync()
        event, clock = disk.events()
        when = 1000.0 + by
        assert (event.when, event.since, event.expires) == (when, when, when + HOUR)
        assert (clock.when, clock.since, clock.expires) == (when, 1000.0, when)
        assert listener.events == [event, clock]

    def test_twice_while_the_disk_is_full(self, disk):
        """It is the sum that is written; of reservations, too, also of those aside."""
        disk.bind(FakeClient())
        disk.storage.reserve(
            Reservation(FIRST + 1, hardware=b"\x01123456", expires=9000.0), 1000.0
        )
        disk.storage.reserve(
            Reservation(FIRST + 2, hardware=b"\x01654321", expires=9000.0), 1000.0
        )
        disk.close()
        ini = [Reservation(FIRST + 2, hardware=b"\x01999999")]
        disk = Disk(disk.path, ini)
        disk.fault = FULL
        for by in (500.0, -200.0):
            disk.storage.clock_stepped(by)
            disk.server.now += by
            disk.sync()
        disk.tick()
        assert disk.kinds() == ["bound", "reserved", "reserved"]
        disk.fault = None
        disk.tick()
        disk.tick()
        assert disk.kinds() == ["bound", "reserved", "reserved", "clock"]
        *_, event = disk.events()
        assert event.expires - event.since == 300.0
        _, leases, reservations = everything(disk.path)
        assert leases[FIRST][4:6] == (1300.0, 1300.0 + HOUR)
        assert {each.expires for each in reservations.values()} == {9300.0}
        disk.close()

    @pytest.mark.parametrize("well", [True, False])
    def test_a_stop_before_it_was_written(self, disk, well):
        """It is tried once more; and if that fails, it stops all the same."""
        disk.bind(FakeClient())
        disk.fault = FULL
        disk.storage.clock_stepped(500.0)
        disk.sync()
        disk.fault = None if well else FULL
        disk.close()
        _, leases, _ = everything(disk.path)
        by = 500.0 if well else 0.0
        assert leases[FIRST][4:6] == (1000.0 + by, 1000.0 + by + HOUR)

    def test_a_reservation_that_was_not_to_be(self, disk):
        """Made or cancelled when the clock stepped, and not kept: it is as before."""
        mine = Reservation(FIRST, hardware=b"\x01123456", source="x", expires=9000.0)
        other = Reservation(
            FIRST + 1, hardware=b"\x01654321", source="x", expires=9000.0
        )
        disk.storage.reserve(mine, 1000.0)
        disk.sync()
        disk.fault = FULL
        disk.storage.cancel(mine, 1000.0).addErrback(lambda _: None)
        disk.begin()
        disk.storage.reserve(other, 1000.0).addErrback(lambda _: None)
        disk.storage.clock_stepped(500.0)
        disk.server.now += 500
        disk.sync()
        disk.fault = None
        [kept] = disk.storage.reservations(None, 10, None)
        assert (kept.address, kept.expires) == (FIRST, 9500.0)
        assert disk.storage.reserved.by_address == {FIRST: kept}
        disk.storage.clock_stepped(500.0)
        disk.server.now += 500
        disk.tick(8001)
        assert disk.storage.reservations(None, 10, None) == []

    def test_a_reservation_that_is_not_in_force(self, disk):
        """The configuration has another for its client; its time moves all the same."""
        pushed = Reservation(FIRST, hardware=b"\x01123456", source="x", expires=5000.0)
        disk.storage.reserve(pushed, 1000.0)
        disk.close()
        again = Disk(disk.path, [Reservation(FIRST, hardware=b"\x01999999")])
        again.storage.clock_stepped(1e5)
        again.close()
        third = Disk(disk.path, when=1000.0 + 1e5)
        [kept] = third.storage.reservations(None, 10, None)
        assert (kept.hardware, kept.expires) == (b"\x01123456", 5000.0 + 1e5)
        third.close()

    def test_without_a_lease(self, disk):
        """There is nothing to move, and it is in the journal."""
        disk.storage.clock_stepped(500.0)
        disk.sync()
        assert disk.kinds() == ["clock"]


class TestInfinite:
    """A lease without an end."""

    def test_to_the_end(self, tmp_path):
        """It survives restarts and steps; revoked, it rests, and then is free."""
        path = tmp_path / "leases.sqlite"
        net = network(
            subnet(pool="192.0.2.10", lease_time=0xFFFFFFFF, decline_hold=1000)
        )
        who, other = FakeClient(), FakeClient("02:00:00:00:00:02")
        disk = Disk(path, net=net)
        disk.bind(who)
        for when in (1e5, 2e9, 1e5):
            disk.close()
            disk = Disk(path, net=net, when=when)
            disk.tick(1e6)
            assert disk.storage.index.leases[FIRST].expires == inf
            assert renew(disk, who).get("dhcp-lease-time") == 0xFFFFFFFF
            disk.storage.clock_stepped(5000.0)
            disk.server.now += 5000
            disk.sync()
        assert "expired" not in disk.kinds()
        now = disk.server.now
        disk.storage.revoke(FIRST, now, "admin")
        disk.close()
        disk = Disk(path, net=net, when=now)
        lease = disk.storage.index.leases[FIRST]
        assert (lease.state, lease.expires) == (LeaseState.REVOKED, now + 1000)
        assert renew(disk, who).type == MessageType.NAK
        assert disk.server.receive(other.message(DISCOVER)) is None
        disk.tick(1002)
        assert disk.bind(other).yiaddr == FIRST
        disk.close()

    def test_from_and_to_one_that_ends(self, tmp_path):
        """A client may be given more, or less; its end is that of the last."""
        net = network(subnet(max_lease_time=0xFFFFFFFF))
        disk = Disk(tmp_path / "leases.sqlite", net=net)
        who = FakeClient()
        disk.bind(who)
        asks = who.message(REQUEST, ciaddr="192.0.2.10", options={51: b"\xff" * 4})
        disk.server.receive(asks)
        disk.sync()
        disk.storage.clock_stepped(500.0)
        disk.server.now += 500
        disk.tick(10 * HOUR)
        assert disk.kinds() == ["bound", "renewed", "clock"]
        # Never less than the client believes to have.
        assert renew(disk, who).get("dhcp-lease-time") == HOUR
        assert disk.storage.index.leases[FIRST].expires == inf
        disk.close()


class TestComplaints:
    """A disk that fails is one line in the log, whatever else happens."""

    def test_a_disk_that_is_full(self, disk, complaints):
        """For a minute, with clients that come and go; then it is well, which is told."""
        who = FakeClient()
        disk.bind(who)
        disk.fault = FULL
        for n in range(60):
            renew(disk, who)
            disk.server.receive(FakeClient(f"02:00:00:00:01:{n:02x}").message(DISCOVER))
            disk.tick()
        assert len(complaints) == 1
        assert "could not be written (database or disk is full)" in complaints[0]
        disk.fault = None
        told = []
        globalLogPublisher.addObserver(told.append)
        for _ in range(5):
            renew(disk, who)
            disk.reactor.advance(QUIET)
        globalLogPublisher.removeObserver(told.append)
        lines = [formatEvent(event) for event in told]
        assert [line for line in lines if "can be written again" in line] == [
            f"{disk.path} can be written again"
        ]
        assert "failing" not in disk.storage.journal.figures()

    def test_a_disk_that_fails_now_and_then(self, disk, complaints):
        """It is not said again and again."""
        who = FakeClient()
        disk.bind(who)
        for n in range(20):
            disk.fault = FULL if n % 2 else None
            renew(disk, who)
            disk.reactor.advance(QUIET / 2)
        assert len(complaints) == 1
        disk.fault = None

    @pytest.mark.parametrize("what", ["locked", "taken away"])
    def test_a_journal_that_cannot_be_tidied(self, disk, complaints, what):
        """Though nobody writes: once, and once more when it had been well."""
        connection = disk.storage.journal._file._connection
        connection.execute("PRAGMA busy_timeout=0")
        disk.bind(FakeClient())
        elsewhere = disk.path.with_name("elsewhere")
        for times in (1, 2):
            with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
                if what == "locked":
                    disk.bind(FakeClient(f"02:00:00:00:00:1{times}"))  # to be indexed
                    other.execute("BEGIN IMMEDIATE")
                else:
                    disk.path.rename(elsewhere)
                for _ in range(10):
                    disk.tick()
                if what == "taken away":
                    elsewhere.rename(disk.path)
            assert len(complaints) == times, complaints
            assert "could not be tidied" in complaints[-1]
            for _ in range(3):
                disk.tick()
        assert len(complaints) == 2


class TestFigures:
    """What `Status` tells of the disk."""

    def test_waiting_times(self, disk):
        """The median and the 99th percentile of what requests waited; rows of each."""
        disk._write = lambda _: 1
        journal = disk.storage.journal
        for n in range(1, 102):
            lease = Lease(FIRST, key=b"\x01123456")
            for _ in range(1 + n % 2):
                journal.keep(None, 1000.0, [(EventKind.BOUND, lease)])
            disk.begin()
            # Whoever comes now waits for the next one.
            disk.reactor.advance(n / 1000)
            disk.finish()
        figures = journal.figures()
        assert figures["waited median ms"] == pytest.approx(51 + 1000 * PACE, abs=0.1)
        assert figures["waited p99 ms"] == pytest.approx(100 + 1000 * PACE, abs=0.1)
        assert figures["rows per transaction"] == 1.5
        assert (figures["transactions"], figures["rows"]) == (101, 152)
        assert (figures["largest"], figures["failed"]) == (2, 0)

    def test_who_waits_is_counted_from_its_own_arrival(self, disk):
        """One that came while another transaction was under way."""
        disk._write = lambda _: 1
        journal = disk.storage.journal
        journal.keep(None, 1000.0)
        disk.begin()
        disk.reactor.advance(1.0)
        journal.keep(None, 1000.0)
        disk.reactor.advance(1.5)
        journal.keep(None, 1000.0)
        disk.reactor.advance(0.5)
        disk.finish()
        disk.begin()
        disk.reactor.advance(4.0)
        disk.finish()
        assert [waited for _, waited in journal._recent] == [
            pytest.approx(3.0 + PACE, abs=0.01),
            pytest.approx(6.0 + PACE, abs=0.01),
        ]

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
