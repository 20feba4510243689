"""The embedded storage: durable before the answer, whole or undone, back after a restart."""

from __future__ import annotations

import sqlite3
from ipaddress import IPv4Address

import pytest
from disks import Disk
from twisted.internet.defer import Deferred

from dhcptwist.lease import (
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    Settings,
)
from dhcptwist.storage.sqlite_file import Batch
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.storage.sqlite_schema import StorageUnusable
from dhcptwist.testing import (
    FakeClient,
    answer,
    ip,
)
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
FIRST = ip("192.0.2.10")
US = "192.0.2.1"


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
        disk.close()
        assert disk.server.sent[-1].message.type == MessageType.ACK
        again = Disk(disk.path)
        assert again.storage.index.leases[FIRST].key == who.hardware
        again.close()


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
