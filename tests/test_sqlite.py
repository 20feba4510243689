"""The embedded storage: durable before the answer, whole or undone, back after a restart."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import mkdtemp

import pytest
from disks import US, Disk
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from dhcptwist.interfaces import ILeaseListener, IProber
from dhcptwist.lease import (
    AddressInUse,
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
    Settings,
)
from dhcptwist.storage import sqlite_file
from dhcptwist.storage.sqlite_file import Batch
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.storage.sqlite_rows import (
    EXPIRED,
    JOURNAL_COLUMNS,
    RESERVATION_COLUMNS,
    read_event,
    read_reservation,
)
from dhcptwist.storage.sqlite_schema import StorageUnusable
from dhcptwist.testing import FakeClient, answer, ip, network, subnet
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
RELEASE, DECLINE = MessageType.RELEASE, MessageType.DECLINE
FIRST = ip("192.0.2.10")


def text(number):
    """An address as text."""
    return str(IPv4Address(number))


@pytest.fixture
def disk(tmp_path):
    """An empty storage."""
    made = Disk(tmp_path / "leases.sqlite")
    yield made
    made.fault = None
    made.close()


class TestDurability:
    """Invariant 1: no ACK before its lease is on disk."""

    def test_ack_waits_for_the_disk(self, disk):
        """Nothing leaves before the transaction has ended."""
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        taken = who.message(REQUEST, requested="192.0.2.10", server=US)
        assert disk.server.receive(taken) is None
        disk.begin()
        assert len(disk.server.sent) == 1
        disk.finish()
        assert disk.server.sent[-1].message.type == MessageType.ACK
        row = sqlite3.connect(disk.path).execute("SELECT address, state FROM lease")
        assert row.fetchall() == [(FIRST, LeaseState.BOUND)]

    def test_one_transaction_for_all_who_wait(self, disk):
        """Group commit: what arrives while the disk is busy shares the next sync."""
        clients = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        for n, who in enumerate(clients):
            disk.server.receive(who.message(DISCOVER))
            asks = who.message(REQUEST, requested=f"192.0.2.{10 + n}", server=US)
            disk.server.receive(asks)
            if n == 0:
                disk.begin()  # the first is alone: it need not wait
        disk.finish()
        disk.begin()
        disk.finish()
        figures = disk.storage.journal.figures()
        assert (figures["transactions"], figures["rows"]) == (2, 4)
        assert figures["largest"] == 3
        acks = [
            sent.message
            for sent in disk.server.sent
            if sent.message.options[53] == b"\5"
        ]
        assert [ack.yiaddr for ack in acks] == [FIRST + n for n in range(4)]

    def test_settings_of_the_file(self, disk):
        """WAL and a sync at each commit, or the promise is empty."""
        connection = disk.storage.journal._file._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_others_may_not_read(self, disk):
        """Who is where is the business of the server's user and group."""
        path = disk.storage.journal._file.path
        assert path.stat().st_mode & 0o137 == 0

    @pytest.mark.parametrize("count", [1, 2, 3, 5, 255, 256, 257, 600])
    def test_every_row_of_a_batch(self, disk, count):
        """One statement or several: what is written is all there is, once each."""
        batch = Batch()
        for address in range(1, count + 1):
            lease = Lease(address, key=address.to_bytes(7, "big"))
            batch.entries.append((5.0, EventKind.BOUND, lease, "packet"))
        file = disk.storage.journal._file
        assert file.write(batch) == 1
        leases, _ = file.leases(1000.0)
        found = {lease.address: lease.key for lease in leases}
        assert found == {n: n.to_bytes(7, "big") for n in range(1, count + 1)}

    def test_a_failed_write(self, disk, logged_failures):
        """No ACK, and memory as it was before; when the disk is back, so are we."""
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.fault = sqlite3.OperationalError("database or disk is full")
        taken = who.message(REQUEST, requested="192.0.2.10", server=US)
        disk.server.receive(taken)
        disk.sync()
        assert [sent.message.type for sent in disk.server.sent] == [MessageType.OFFER]
        assert disk.server.silences() == {"storage-failed": 1}
        assert disk.storage.index.leases == {}
        disk.fault = None
        disk.server.receive(taken)
        disk.sync()
        assert disk.server.sent[-1].message.type == MessageType.ACK

    def test_a_failed_write_takes_back_what_was_built_on_it(
        self, disk, logged_failures
    ):
        """What was decided upon an unwritten change is undone with it."""
        one, two = FakeClient("02:00:00:00:01:01"), FakeClient("02:00:00:00:01:02")
        disk.bind(one)
        disk.server.receive(one.message(MessageType.RELEASE, ciaddr="192.0.2.10"))
        disk.begin()
        disk.fault = OSError(5, "Input/output error")
        # The address looks free: it is given on, in the transaction behind.
        asks = two.message(REQUEST, requested="192.0.2.10", server=US)
        disk.server.receive(asks)
        assert disk.storage.index.leases[FIRST].key == two.hardware
        disk.finish()
        lease = disk.storage.index.leases[FIRST]
        assert (lease.key, lease.state) == (one.hardware, LeaseState.BOUND)
        disk.sync()
        assert len(disk.server.sent) == 2
        disk.fault = None
        disk.server.receive(one.message(REQUEST, ciaddr="192.0.2.10"))
        disk.sync()
        assert disk.server.sent[-1].message.type == MessageType.ACK

    def test_a_client_that_did_not_move(self, tmp_path):
        """It had an address in another subnet of its wire, and would get that again."""
        names = {"shared_network": "wire"}
        there = subnet("10.0.0.0/24", "10.0.0.10", name="there", **names)
        disk = Disk(tmp_path / "leases.sqlite", net=network(subnet(**names), there))
        who = FakeClient()
        for address, fault in (("10.0.0.10", None), (text(FIRST), OSError(5, "no"))):
            disk.fault = fault
            disk.server.receive(who.message(REQUEST, requested=address, server=US))
            disk.sync()
            gone = who.message(RELEASE, ciaddr=address, server=US)
            disk.server.receive(gone)
            disk.sync()
        disk.fault = None
        assert disk.bind(who).yiaddr == ip("10.0.0.10")
        disk.close()

    def test_a_failed_reservation(self, disk):
        """It is not in force, and the caller is told."""
        owner = FakeClient()
        disk.fault = sqlite3.OperationalError("disk I/O error")
        wanted = Reservation(FIRST, hardware=owner.hardware, source="test")
        made = disk.storage.reserve(wanted, 1000.0)
        disk.sync()
        with pytest.raises(StorageFailure):
            answer(made)
        assert disk.storage.reservation_of(FIRST, None) == []
        disk.fault = None
        assert disk.bind(FakeClient("02:00:00:00:01:01")).yiaddr == FIRST

    def test_stopping_writes_what_waits(self, disk):
        """Nothing that was decided is lost when the server is stopped."""
        who = FakeClient()
        disk.server.receive(who.message(DISCOVER))
        disk.server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        stopped = disk.storage.stop()
        file = disk.storage.journal._file
        assert file._connection is not None, "closed, and somebody waits"
        disk.sync()
        answer(stopped)
        assert (file._connection, file._lock) == (None, None)
        assert disk.server.sent[-1].message.type == MessageType.ACK
        again = Disk(disk.path)
        assert again.storage.index.leases[FIRST].key == who.hardware
        again.close()


@implementer(IProber)
class NobodyThere:
    """Nobody answers, and it is noted what had been sent by then."""

    def __init__(self):
        self.disk = None
        self.sent = []

    def probe(self, address, subnet):
        """See `IProber`."""
        self.sent.append([sent.message.type for sent in self.disk.server.sent])
        return succeed(False)


class TestProbing:
    """Invariant 2: who is looked for knows already what it has."""

    @pytest.fixture
    def disk(self, tmp_path):
        """An empty storage that can probe."""
        prober = NobodyThere()
        made = prober.disk = Disk(tmp_path / "leases.sqlite", prober=prober)
        made.probes = prober.sent
        yield made
        made.close()

    def begin(self, disk, who):
        """A client asks for what it was offered, and nothing is written yet."""
        disk.server.receive(who.message(DISCOVER))
        disk.server.receive(who.message(REQUEST, requested=text(FIRST), server=US))

    def test_revoked_twice_at_once(self, disk):
        """The holder is not looked for before its ACK has left."""
        self.begin(disk, FakeClient())
        done = [disk.storage.revoke(FIRST, 1000.0, "admin") for _ in range(2)]
        assert not disk.probes
        disk.sync()
        assert all(MessageType.ACK in sent for sent in disk.probes)
        assert len(disk.probes) == 2
        assert [each.state for each in map(answer, done)] == [LeaseState.RELEASED] * 2

    def test_a_reserved_client_comes_at_once(self, disk):
        """Nor for a client whose reserved address it has."""
        self.begin(disk, FakeClient())
        owner = FakeClient("02:00:00:00:00:99")
        wanted = Reservation(
            FIRST,
            hardware=owner.hardware,
            source="x",
            on_conflict=OnConflict.PREEMPT,
        )
        made = disk.storage.reserve(wanted, 1000.0, "x")
        disk.server.receive(owner.message(DISCOVER))
        assert not disk.probes
        disk.sync()
        assert all(MessageType.ACK in sent for sent in disk.probes)
        assert answer(made).outcome == "applied"
        assert disk.bind(owner).yiaddr == FIRST

    def test_a_swapped_device(self, disk):
        """Nor for one that takes the place of another at its relay's port."""
        port = Reservation(FIRST, circuit_id=b"eth0", source="x")
        made = disk.storage.reserve(port, 1000.0)
        disk.sync()
        answer(made)
        relay = {82: b"\1\4eth0"}
        self.begin(disk, FakeClient(options=relay))
        new = FakeClient("02:00:00:00:00:99", options=relay)
        disk.server.receive(new.message(DISCOVER))
        assert not disk.probes
        disk.sync()
        assert disk.probes == [[MessageType.OFFER, MessageType.ACK]]
        assert disk.bind(new).yiaddr == FIRST


class TestRestart:
    """What is there after a restart."""

    def test_leases(self, tmp_path):
        """The same client, the same address; nobody else gets it."""
        first = Disk(tmp_path / "leases.sqlite")
        clients = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(3)]
        given = [first.bind(who).yiaddr for who in clients]
        first.close()
        second = Disk(tmp_path / "leases.sqlite")
        assert second.bind(FakeClient()).yiaddr not in given
        for who, address in zip(reversed(clients), reversed(given), strict=True):
            asks = who.message(REQUEST, requested=str(IPv4Address(address)))
            second.server.receive(asks)
            second.sync()
            assert second.server.sent[-1].message.yiaddr == address
        second.close()

    def test_a_clock_that_is_not_set_yet(self, tmp_path):
        """TRAPS 51: a board that wakes up in 1970 makes no lease immortal."""
        disk = Disk(tmp_path / "leases.sqlite")
        disk.server.now = 1.7e9
        disk.bind(FakeClient())
        left = disk.storage.index.leases[FIRST].expires - disk.server.now
        disk.close()
        again = Disk(tmp_path / "leases.sqlite")  # at 1000 seconds
        lease = again.storage.index.leases[FIRST]
        assert lease.expires - 1000 == pytest.approx(left)
        again.sync()
        again.storage.clock_stepped(1.7e9 - 1000)  # NTP
        lease = again.storage.index.leases[FIRST]
        assert lease.expires - 1.7e9 == pytest.approx(left)
        again.sync()
        again.close()

    @pytest.mark.parametrize("clock", ["set", "not set yet"])
    def test_the_order_of_what_has_ended(self, tmp_path, clock):
        """RFC 2131 section 4.3.1: the address unused longest is given first."""
        disk = Disk(tmp_path / "leases.sqlite", when=1.7e9)
        clients = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        for who in clients:
            disk.bind(who)
        for n in (2, 0, 3, 1):
            disk.server.now += 100
            disk.server.receive(clients[n].message(REQUEST, ciaddr=text(FIRST + n)))
            disk.sync()
        disk.close()
        again = Disk(disk.path, when=1.7e9 + 9000 if clock == "set" else 1000.0)
        if clock != "set":
            # The board was off for as long as nobody knows; then it learns the date.
            again.tick(9000)
            again.storage.clock_stepped(1.7e9)
            again.server.now += 1.7e9
            again.sync()
        new = [FakeClient(f"02:00:00:00:02:0{n}") for n in range(4)]
        given = [again.bind(who).yiaddr - FIRST for who in new]
        assert given == [2, 0, 3, 1]
        again.close()

    def test_the_order_of_what_had_ended_before_the_clock_was_set(self, tmp_path):
        """Also of what had ended already when a board without a clock went off."""
        disk = Disk(tmp_path / "leases.sqlite", when=1.7e9)
        clients = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(3)]
        for who in clients:
            disk.bind(who)
        for n in (2, 0):
            disk.server.now += 100
            disk.server.receive(clients[n].message(REQUEST, ciaddr=text(FIRST + n)))
            disk.sync()
        disk.tick(3750)  # all three have ended, the last one a moment ago
        disk.bind(FakeClient())
        disk.close()
        again = Disk(disk.path, when=1000.0)
        new = [FakeClient(f"02:00:00:00:02:0{n}") for n in range(3)]
        given = [again.bind(who).yiaddr - FIRST for who in new]
        assert given == [1, 2, 0]
        again.close()

    def test_the_client_s_latest_of_two_infinite_leases(self, tmp_path):
        """The one it left does not come back because the other has no end."""
        disk = Disk(tmp_path / "leases.sqlite")
        key = b"\x01\x02\0\0\0\0\1"
        batch = Batch()
        left = Lease(FIRST, LeaseState.RELEASED, key, key, 5.0, 5.0, 0)
        now = Lease(FIRST + 1, key=key, since=5.0)
        batch.entries = [
            (5.0, EventKind.BOUND, now, "packet"),
            (5.0, EventKind.RELEASED, left, "packet"),
        ]
        disk.storage.journal._file.write(batch)
        disk.close()
        again = Disk(tmp_path / "leases.sqlite")
        found = again.storage.index.of_client(key, again.network.subnets)
        assert found.address == FIRST + 1
        again.close()

    def test_everything_of_a_lease(self, tmp_path):
        """Hostname, option 82, identifier, times, and an infinite end."""
        disk = Disk(tmp_path / "leases.sqlite")
        who = FakeClient(
            identifier=b"\xff\x00id", options={12: b"box", 82: b"\x01\x01x"}
        )
        disk.bind(who)
        lease = disk.storage.index.leases[FIRST]
        disk.close()
        again = Disk(tmp_path / "leases.sqlite")
        read = again.storage.index.leases[FIRST]
        for name in (
            "state",
            "key",
            "hardware",
            "since",
            "expires",
            "hostname",
            "relay",
        ):
            assert getattr(read, name) == getattr(lease, name)
        assert again.storage.index.by_hardware[who.hardware] == FIRST
        again.close()

    def test_states(self, tmp_path):
        """A declined address still rests, a released one is still its last client's."""
        disk = Disk(tmp_path / "leases.sqlite")
        one, two = FakeClient("02:00:00:00:01:01"), FakeClient("02:00:00:00:01:02")
        disk.bind(one)
        disk.bind(two)
        disk.server.receive(one.message(MessageType.DECLINE, requested="192.0.2.10"))
        disk.server.receive(two.message(MessageType.RELEASE, ciaddr="192.0.2.11"))
        disk.sync()
        disk.close()
        again = Disk(tmp_path / "leases.sqlite")
        assert again.bind(one).yiaddr == ip("192.0.2.12")
        assert again.bind(two).yiaddr == ip("192.0.2.11")
        again.close()

    def test_reservations(self, tmp_path):
        """Pushed ones are there with all they say; ended ones are not."""
        disk = Disk(tmp_path / "leases.sqlite")
        pushed = Reservation(
            FIRST,
            circuit_id=b"eth\x00",
            remote_id=b"sw",
            hostname="box",
            settings=Settings(
                {12: b"box", 224: b"\x00\xff"}, ip("192.0.2.9"), "f", "s"
            ),
            source="netbox",
            on_conflict=OnConflict.MOVE,
            expires=2000.0,
        )
        short = Reservation(FIRST + 1, client_id=b"id", source="x", expires=999.0)
        only = Reservation(
            None, hardware=FakeClient().hardware, hostname="h", source="x"
        )
        for each in (pushed, short, only):
            made = disk.storage.reserve(each, 900.0)
            disk.sync()
            answer(made)
        disk.close()
        again = Disk(tmp_path / "leases.sqlite")
        assert again.storage.reservations(None, 10, None) == [only, pushed]
        gone = again.storage.cancel(pushed, 1000.0)
        again.sync()
        answer(gone)
        again.close()
        third = Disk(tmp_path / "leases.sqlite")
        assert third.storage.reservations(None, 10, None) == [only]
        third.close()

    def test_the_configuration_wins(self, tmp_path):
        """A pushed reservation that the ini file contradicts is kept but not in force."""
        disk = Disk(tmp_path / "leases.sqlite")
        pushed = Reservation(FIRST, hardware=FakeClient().hardware, source="x")
        made = disk.storage.reserve(pushed, 1000.0)
        disk.sync()
        answer(made)
        disk.close()
        mine = Reservation(FIRST, hardware=FakeClient("02:00:00:00:00:99").hardware)
        again = Disk(tmp_path / "leases.sqlite", [mine])
        assert again.storage.reservations(None, 10, None) == [mine]
        again.close()

    @pytest.mark.parametrize("there", [True, False])
    def test_a_reservation_that_ends_while_nobody_serves(self, tmp_path, there):
        """It goes with the next start, in force or not, and if not then, later."""
        disk = Disk(tmp_path / "leases.sqlite")
        hardware = FakeClient().hardware
        pushed = Reservation(FIRST, hardware=hardware, source="x", expires=1500.0)
        made = disk.storage.reserve(pushed, 1000.0)
        disk.sync()
        answer(made)
        disk.close()
        mine = Reservation(FIRST, hardware=FakeClient("02:00:00:00:00:99").hardware)
        again = Disk(tmp_path / "leases.sqlite", [mine] if there else (), when=2000.0)
        again.fault = OSError(5, "Input/output error")
        again.sync()
        assert again.kinds() == ["reserved"]
        again.fault = None
        again.tick()
        assert again.kinds() == ["reserved", "cancelled"]
        last = again.events()[-1]
        assert (last.address, last.by) == (FIRST, "expiry")
        assert again.storage.journal._file.reservations() == []
        assert again.storage.reservations(None, 10, None) == [mine] * there
        again.close()


class TestFile:
    """A file that cannot be used is a clear message."""

    def test_another_programs(self, tmp_path):
        """A database of somebody else is left alone."""
        path = tmp_path / "leases.sqlite"
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (a)")
        with pytest.raises(StorageUnusable, match="not a lease file"):
            Disk(path)

    def test_no_database(self, tmp_path):
        """A text file is not overwritten."""
        path = tmp_path / "leases.sqlite"
        path.write_text("my leases, by hand, for years\n" * 100)
        with pytest.raises(StorageUnusable, match="no SQLite file"):
            Disk(path)
        assert path.read_text().startswith("my leases")

    def test_from_the_future(self, tmp_path):
        """A newer schema is not guessed at."""
        path = tmp_path / "leases.sqlite"
        Disk(path).close()
        sqlite3.connect(path).execute("PRAGMA user_version=99").connection.close()
        with pytest.raises(StorageUnusable, match="schema 99"):
            Disk(path)

    def test_two_servers(self, disk):
        """The second is refused: two would give one address twice."""
        with pytest.raises(StorageUnusable, match="another server"):
            Disk(disk.path)

    def test_no_directory(self, tmp_path):
        """Where nothing can be made, the reason is told."""
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageUnusable, match="cannot be used"):
            Disk(tmp_path / "file" / "leases.sqlite")

    def test_rows_nobody_wrote(self, tmp_path):
        """A row of nonsense is passed over; it stops nothing."""
        path = tmp_path / "leases.sqlite"
        Disk(path).close()
        connection = sqlite3.connect(path)
        for address, state in ((5_000_000_000, 2), (FIRST, 77), (FIRST + 1, 2)):
            connection.execute(
                "INSERT INTO lease VALUES (?,?,x'01',x'',0,9e9,'',x'')",
                (address, state),
            )
        # Nothing that ends, or began, so far away was ever ours; one such row would
        # move all the others, were it taken for a clock that is behind.
        times = [(1e300, 9.0), (1e18, 9.0), (-1e300, 9.0), (9.0, 1e300), (9.0, -1e300)]
        for n, (since, expires) in enumerate([*times, (inf, inf)]):
            connection.execute(
                "INSERT INTO lease VALUES (?,2,x'01',x'',?,?,'',x'')",
                (FIRST + 10 + n, since, expires),
            )
        connection.commit()
        connection.close()
        connection = sqlite3.connect(path)
        connection.execute(
            "INSERT INTO lease VALUES (?,2,'text',x'',0,'soon',x'00',x'')", (FIRST + 2,)
        )
        connection.execute(
            "INSERT INTO reservation VALUES (1,x'01',x'',x'',x'','','{','s','no',NULL)"
        )
        connection.commit()
        connection.close()
        disk = Disk(path)
        assert list(disk.storage.index.leases) == [FIRST + 1]
        assert disk.storage.index.leases[FIRST + 1].expires == 9e9
        assert disk.storage.reservations(None, 10, None) == []
        disk.close()


def test_results_come_in_order(disk):
    """Results fire in the order in which they were asked for."""
    order = []
    for n in range(5):
        kept = disk.storage.journal.keep(n, 1000.0)
        assert isinstance(kept, Deferred)
        kept.addCallback(order.append)
        if n == 2:
            disk.begin()
    disk.sync()
    assert order == [0, 1, 2, 3, 4]


KEPT = {
    EventKind.BOUND: LeaseState.BOUND,
    EventKind.RENEWED: LeaseState.BOUND,
    EventKind.RELEASED: LeaseState.RELEASED,
    EventKind.DECLINED: LeaseState.DECLINED,
    EventKind.REVOKED: LeaseState.REVOKED,
    EventKind.FREED: LeaseState.RELEASED,
}
WHO = st.integers(0, 4)
PLACE = st.integers(0, 4)  # the last one is outside of the pool
FOREVER = {51: b"\xff\xff\xff\xff"}
HISTORY = 20_000.0


@implementer(IProber, ILeaseListener)
class Lives(RuleBasedStateMachine):
    """A server on a real file, with everything that can happen to it, in any order.

    It listens itself, and looks into the file at each thing that it is told; and it keeps
    what clients were promised.
    """

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(sqlite_file, "PATIENCE", 0.0)
        self.place = Path(mkdtemp(prefix="lives-"))
        self.starts = 0
        self.clients = [FakeClient(f"02:00:00:00:00:0{n}") for n in range(4)]
        self.clients.append(FakeClient("02:00:00:00:00:0f", identifier=b"\xffduid"))
        self.errors = []
        self.told = []
        self.rests = {}
        self.state = {}  # of each address, and whose, as the events have it
        self.promised = {}  # address: client, and until when it believes to have it
        self.asked = {}
        self.deaf = {}
        self.stepped = 0.0
        self.stepped_on_disk = 0.0
        self.other = None
        self.net = network(
            subnet(min_lease_time=60, max_lease_time=0xFFFFFFFF, decline_hold=500)
        )
        self.open(self.place / "leases.sqlite", 1e9)

    # --- opening and closing ------------------------------------------------------

    def open(self, path, when):
        """Start on a file."""
        self.disk = Disk(path, net=self.net, when=when, prober=self, history=HISTORY)
        self.storage = self.disk.storage
        self.storage.add_listener(self)
        self.reader = sqlite3.connect(path, isolation_level=None)
        self.seen = 0
        self.disk.sync()  # what the start has to say of what ended meanwhile

    @rule(down=st.sampled_from([0.0, 100.0, 5000.0]))
    def restarts(self, down):
        """Stopped in good order, what waits is written; and started again."""
        self.mends()
        self.disk.close()
        self.look()
        self.reader.close()
        self.open(self.disk.path, self.disk.server.now + down)

    @precondition(lambda self: self.stepped == self.stepped_on_disk)
    @rule(down=st.sampled_from([0.0, 5000.0]))
    def crashes(self, down):
        """It is gone, with all that was not written."""
        self.starts += 1
        elsewhere = self.place / str(self.starts)
        elsewhere.mkdir()
        file = elsewhere / "leases.sqlite"
        for end in ("", "-wal"):
            copyfile(f"{self.disk.path}{end}", f"{file}{end}")
        self.leave()
        self.open(file, self.disk.server.now + down)

    def leave(self):
        """Let go of the file, and do not care."""
        self.repair()
        self.reader.close()
        self.storage.journal._file.close()

    def teardown(self):
        """In the end everything is what it should be."""
        try:
            self.comes_to_rest()
            for _ in range(2):
                before = len(self.told)
                self.restarts(0.0)
                self.comes_to_rest()
                assert len(self.told) == before, "a restart is no event"
            self.disk.close()
        finally:
            self.leave()
            self.patch.undo()
            rmtree(self.place)

    # --- packets ------------------------------------------------------------------

    def send(self, n, kind, **more):
        """A packet, and what came of it at once."""
        message = self.clients[n].message(kind, **more)
        self.asked[message.raw[28:34], message.xid] = self.disk.server.now
        self.disk.server.receive(message)
        self.look()

    @rule(n=WHO, wish=PLACE, forever=st.booleans())
    def binds(self, n, wish, forever):
        """A client begins, and takes what it is offered."""
        before = len(self.disk.server.sent)
        more = {"requested": text(FIRST + wish)} if wish else {}
        self.disk.server.receive(self.clients[n].message(DISCOVER, **more))
        offers = self.disk.server.sent[before:]
        self.look()
        if offers:
            wanted = text(offers[0].message.yiaddr)
            options = FOREVER if forever else {}
            self.send(n, REQUEST, requested=wanted, server=US, options=options)

    def mine(self, n):
        """What a client believes to have."""
        now = self.disk.server.now
        for address, (who, until) in self.promised.items():
            if who == n and until > now:
                return address
        return None

    @rule(n=WHO, forever=st.booleans(), reboots=st.booleans())
    def renews(self, n, forever, reboots):
        """A client goes on."""
        if address := self.mine(n):
            how = "requested" if reboots else "ciaddr"
            options = FOREVER if forever else {}
            self.send(n, REQUEST, options=options, **{how: text(address)})

    @rule(n=WHO)
    def releases(self, n):
        """A client leaves."""
        if address := self.mine(n):
            self.is_deaf(n, address)
            self.send(n, RELEASE, ciaddr=text(address), server=US)

    @rule(n=WHO)
    def declines(self, n):
        """A client finds its address in use."""
        if address := self.mine(n):
            self.is_deaf(n, address)
            self.send(n, DECLINE, requested=text(address), server=US)

    def is_deaf(self, n, address):
        """A client that says farewell takes no answer to what it asked before."""
        del self.promised[address]
        self.deaf[n] = self.clients[n].xid

    # --- control ------------------------------------------------------------------

    def quietly(self, result):
        """It fails if the disk does."""
        result.addErrback(lambda failure: failure.trap(StorageFailure))

    @rule(
        n=WHO,
        place=PLACE,
        conflict=st.sampled_from(list(OnConflict)),
        lifetime=st.sampled_from([100.0, inf]),
    )
    def reserves(self, n, place, conflict, lifetime):
        """Another process pushes a reservation."""
        now = self.disk.server.now
        wanted = Reservation(
            FIRST + place,
            hardware=self.clients[n].hardware,
            source="test",
            on_conflict=conflict,
            expires=now + lifetime,
        )
        with suppress(AddressInUse, ReservationConflict):
            self.quietly(self.storage.reserve(wanted, now, "netbox"))

    @rule(
        places=st.dictionaries(PLACE, WHO, min_size=1, max_size=3),
        conflict=st.sampled_from(list(OnConflict)),
        strict=st.booleans(),
    )
    def changes(self, places, conflict, strict):
        """Another process pushes all it has, in place of what it had."""
        now = self.disk.server.now
        wanted = [
            Reservation(
                FIRST + place,
                hardware=self.clients[n].hardware,
                source="test",
                on_conflict=conflict,
            )
            for place, n in places.items()
        ]
        before = self.storage.reservations(None, 100, "test")
        self.quietly(self.storage.change(wanted, before, now, "netbox", strict=strict))

    @rule(place=PLACE)
    def cancels(self, place):
        """And takes it back."""
        for each in self.storage.reservation_of(FIRST + place, None):
            self.quietly(self.storage.cancel(each, self.disk.server.now, "netbox"))

    @rule(place=PLACE)
    def revokes(self, place):
        """A lease is taken away; its holder may be there still."""
        self.quietly(self.storage.revoke(FIRST + place, self.disk.server.now, "admin"))

    def probe(self, address, subnet):
        """See `IProber`: whoever believes to have an address answers."""
        self.look()
        _, until = self.promised.get(address, (0, -inf))
        return succeed(until > self.disk.server.now)

    # --- the disk -----------------------------------------------------------------

    @rule()
    def a_transaction_begins(self):
        """If there is one to begin."""
        self.disk.begin()
        self.look()

    @rule()
    def a_transaction_ends(self):
        """If there is one under way."""
        self.disk.finish()
        self.look()

    @rule()
    def all_is_written(self):
        """Or fails."""
        self.disk.sync()
        self.look()

    @precondition(lambda self: self.other is None and self.disk.fault is None)
    @rule(how=st.sampled_from(["raises", "full", "locked"]))
    def breaks(self, how):
        """Nothing can be written, or not much more."""
        if how == "raises":
            self.disk.fault = OSError(5, "Input/output error")
        elif how == "locked":
            self.other = sqlite3.connect(self.disk.path, isolation_level=None)
            self.other.execute("BEGIN IMMEDIATE")
        else:
            connection = self.storage.journal._file._connection
            if connection is not None:
                (pages,) = connection.execute("PRAGMA page_count").fetchone()
                connection.execute(f"PRAGMA max_page_count={pages}")

    @rule()
    def mends(self):
        """All is well again."""
        self.repair()

    def repair(self):
        """Undo whatever is wrong with the disk."""
        self.disk.fault = None
        if self.other is not None:
            self.other.close()
            self.other = None
        connection = self.storage.journal._file._connection
        if connection is not None:
            connection.execute(f"PRAGMA max_page_count={1 << 30}")

    # --- time ---------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 1.0, 40.0, 2000.0, 4000.0]))
    def time_passes(self, seconds):
        """And the clock ticks; the journal is tidied if nobody waits."""
        self.disk.server.now += seconds
        self.storage.clock_ticked(self.disk.server.now)
        self.look()

    @rule(by=st.sampled_from([500.0, -500.0, 86400.0, -86400.0]))
    def the_clock_is_set(self, by):
        """Nobody's remaining time changes."""
        self.move(by)
        self.storage.clock_stepped(by)
        self.look()

    def move(self, by):
        """The clock of the server's machine, and all times that are noted here."""
        self.disk.server.now += by
        self.stepped += by
        self.asked = {each: when + by for each, when in self.asked.items()}
        self.promised = {
            address: (who, until + by)
            for address, (who, until) in self.promised.items()
        }
        self.rests = {each: until + by for each, until in self.rests.items()}

    # --- what must hold -----------------------------------------------------------

    def lease_changed(self, event):
        """See `ILeaseListener`; whatever we find would only be logged here."""
        try:
            self.hear(event)
        except Exception as error:  # noqa: BLE001 - it is raised in `look`
            self.errors.append(error)

    def hear(self, event):
        """An event: it is on disk, and the next one."""
        assert event.number == len(self.told) + 1, (
            "a number was left out, or given twice"
        )
        asks = f"SELECT {JOURNAL_COLUMNS} FROM journal WHERE number = {event.number}"
        [row] = self.reader.execute(asks).fetchall()
        there = read_event(row)
        if there.kind == EventKind.CLOCK:
            self.stepped_on_disk += there.expires - there.since
        bare = {"since": 0.0, "expires": 0.0}
        assert there._replace(**bare) == event._replace(**bare)
        self.told.append(event)
        if event.kind == EventKind.REVOKED:
            self.rests[event.address, event.key] = event.expires
        elif event.kind == EventKind.BOUND:
            self.rests.pop((event.address, event.key), None)
        if event.kind == EventKind.REVOKED and event.address in self.promised:
            n, until = self.promised[event.address]
            self.promised[event.address] = n, min(until, event.expires)
        if event.kind in KEPT:
            self.state[event.address] = KEPT[event.kind], event.key
        elif event.kind == EventKind.EXPIRED:
            state, key = self.state[event.address]
            assert key == event.key
            assert event.by == "expiry"
            assert state in {
                LeaseState.BOUND,
                LeaseState.DECLINED,
                LeaseState.REVOKED,
            }, "an end was told twice, or of what had none"
            if state == LeaseState.BOUND:
                state = EXPIRED
            self.state[event.address] = state, key

    def look(self):
        """Hear what clients are told."""
        if self.errors:
            raise self.errors[0]
        sent = self.disk.server.sent
        while self.seen < len(sent):
            message = sent[self.seen].message
            self.seen += 1
            n = next(
                n
                for n, who in enumerate(self.clients)
                if who.hardware[1:] == message.chaddr
            )
            if message.type == MessageType.NAK:
                if address := self.mine(n):
                    del self.promised[address]
            elif message.type == MessageType.ACK:
                self.promise(n, message)

    def promise(self, n, message):
        """An ACK: it must be on disk, for as long."""
        address, lasts = message.yiaddr, message.get("dhcp-lease-time")
        asked = self.asked[message.raw[28:34], message.xid]
        until = inf if lasts == 0xFFFFFFFF else asked + lasts
        who = self.clients[n].identifier or self.clients[n].hardware
        # Where the clock was set since, the file may not know yet.
        until_on_disk = self.on_disk(address, who)
        assert until_on_disk + max(0.0, self.stepped - self.stepped_on_disk) >= until
        if message.xid <= self.deaf.get(n, 0):
            return
        # If it was revoked in the same transaction, for ever is what it rests then.
        until = min(until, self.rests.get((address, who), inf))
        other, ends = self.promised.get(address, (n, -inf))
        assert other == n or ends <= self.disk.server.now, "two have one address"
        for had in [a for a, (whose, _) in self.promised.items() if whose == n]:
            del self.promised[had]
        self.promised[address] = n, until

    def on_disk(self, address, who):
        """Until when a client has an address; what it is since is in the same transaction."""
        found = [
            inf if expires is None else expires
            for (expires,) in self.reader.execute(
                "SELECT expires FROM lease WHERE address=?1 AND client=?2 AND state=2"
                " UNION ALL"
                " SELECT expires FROM journal WHERE address=?1 AND client=?2 AND state=2",
                (address, who),
            )
        ]
        assert found, "an ACK that no disk knows of"
        return max(found)

    @rule()
    def comes_to_rest(self):
        """Everything is written: file, memory, events and promises are one."""
        self.repair()
        for _ in range(3):
            self.disk.sync()
            self.look()  # before the tick may forget it
            self.storage.clock_ticked(self.disk.server.now)
        self.disk.sync()
        self.look()
        assert self.stepped == self.stepped_on_disk
        self.the_leases_agree()
        self.the_reservations_agree()
        self.the_journal_is_whole()
        self.promises_are_kept()

    def the_leases_agree(self):
        """The table is the index, and what the events say."""
        rows = self.reader.execute(
            "SELECT address, state, client, hardware, since, expires, hostname, relay"
            " FROM lease"
        ).fetchall()
        assert {row[0]: row[1:3] for row in rows} == self.state
        found = {
            (
                lease.address,
                lease.state,
                lease.key,
                lease.hardware,
                lease.since,
                lease.expires,
            )
            for lease in self.storage.index.leases.values()
        }
        assert found == {
            (
                address,
                LeaseState.BOUND if state == EXPIRED else state,
                client,
                hardware,
                since,
                inf if expires is None else expires,
            )
            for address, state, client, hardware, since, expires, *_ in rows
        }
        now = self.disk.server.now
        for lease in self.storage.index.leases.values():
            if lease.state == LeaseState.BOUND and lease.expires < now - 1:
                assert self.state[lease.address][0] == EXPIRED, "an end was not told"

    def the_reservations_agree(self):
        """What is in force is in the file."""
        rows = self.reader.execute(f"SELECT {RESERVATION_COLUMNS} FROM reservation")
        in_file = {each.place: each for each in map(read_reservation, rows)}
        # One that has ended while the disk failed goes with the next start.
        now = self.disk.server.now
        assert {k: each for k, each in in_file.items() if each.expires > now} == {
            each.place: each for each in self.storage.reservations(None, 100, None)
        }
        assert self.storage.reserved.by_address.keys() == {
            each.address for each in self.storage.reservations(None, 100, None)
        }

    def the_journal_is_whole(self):
        """What was told is there, but for what is old; the tables find what is there."""
        rows = self.reader.execute(f"SELECT {JOURNAL_COLUMNS} FROM journal").fetchall()
        there = [read_event(row)[:5] for row in rows]
        told = [event[:5] for event in self.told]
        assert there == told[len(told) - len(there) :]
        assert there or not told, "the newest was forgotten"
        numbers = {event[0] for event in there}
        for table in ("journal_address", "journal_client"):
            indexed = self.reader.execute(f"SELECT number FROM {table}").fetchall()
            assert {number for (number,) in indexed} <= numbers

    def promises_are_kept(self):
        """Who was told that it has an address has it, or had it taken away."""
        now = self.disk.server.now
        for address, (n, until) in self.promised.items():
            if until <= now:
                continue
            lease = self.storage.index.leases[address]
            assert lease.key == (self.clients[n].identifier or self.clients[n].hardware)
            if lease.state != LeaseState.REVOKED:
                assert (lease.state, lease.expires >= until) == (LeaseState.BOUND, True)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
