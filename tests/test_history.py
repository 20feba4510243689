"""Looking back: by address and by client, through what is indexed and what is not yet."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from itertools import product
from math import inf

import pytest
from disks import Disk
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.control.history import addresses_of, holder_at
from dhcptwist.lease import EventKind, Lease, LeaseState
from dhcptwist.storage import sqlite_history
from dhcptwist.storage.sqlite_file import Batch, SQLiteFile
from dhcptwist.storage.sqlite_history import HistoryReader
from dhcptwist.storage.sqlite_rows import read_event
from dhcptwist.testing import FakeClient, answer


#: Address, client, hardware and time of one entry.
ENTRY = st.tuples(
    st.integers(0, 3),
    st.sampled_from([b"\x01aaaaaa", b"\x01bbbbbb", b"\xffduid"]),
    st.sampled_from([b"\x01aaaaaa", b"\x01bbbbbb"]),
    st.integers(0, 100),
)


@pytest.fixture
def file(tmp_path):
    """An open file."""
    made = SQLiteFile(tmp_path / "leases.sqlite")
    made.open()
    yield made
    made.close()


def write(file, entries):
    """Put entries, each a transaction."""
    for address, key, hardware, when in entries:
        batch = Batch()
        lease = Lease(address, LeaseState.BOUND, key, hardware, when, when + 10.0)
        batch.entries.append((float(when), EventKind.BOUND, lease, "packet"))
        file.write(batch)


def tables(path):
    """What finds rows: address and client tables, and the rows there are."""
    with closing(sqlite3.connect(path)) as connection:
        ask = connection.execute
        return (
            set(ask("SELECT address, number FROM journal_address")),
            set(ask("SELECT client, number FROM journal_client")),
            ask("SELECT number, address, client, hardware FROM journal").fetchall(),
            ask("SELECT number FROM indexed").fetchone()[0],
        )


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.lists(ENTRY, max_size=6), max_size=5),
    st.lists(st.integers(0, 110), min_size=5, max_size=5),
)
def test_every_question(tmp_path, monkeypatch, groups, ages):
    """The same as looking through everything, however much is indexed or forgotten."""
    monkeypatch.setattr(sqlite_history, "INDEX_ROWS", 3)
    monkeypatch.setattr(sqlite_history, "FORGET_ROWS", 2)
    for old in tmp_path.iterdir():
        old.unlink()
    file = SQLiteFile(tmp_path / "leases.sqlite")
    file.open()
    reader = HistoryReader(file.path)
    for group, age in zip(groups, ages, strict=False):
        write(file, group)
        file.tidy(float(age), 1000.0)
        everything = reader.events(0, 1000)
        newest = list(reversed(everything))
        assert [each.number for each in everything] == sorted(
            {each.number for each in everything}
        )
        for address in (None, 0, 1, 2):
            for key in (None, b"\x01aaaaaa", b"\xffduid"):
                for until in (None, 50.0):
                    wanted = [
                        each
                        for each in newest
                        if address in (None, each.address)
                        and key in (None, each.key, each.hardware)
                        and (until is None or each.when <= until)
                    ]
                    found = reader.history(address, key, 0, 1000, until)
                    assert found == wanted
                    paged, before = [], 0
                    while page := reader.history(address, key, before, 2, until):
                        assert len(page) <= 2
                        paged += page
                        before = page[-1].number
                    assert paged == wanted
        by_address, by_client, rows, indexed = tables(file.path)
        there = {row[0] for row in rows if row[0] <= indexed}
        assert by_address == {(row[1], row[0]) for row in rows if row[0] in there}
        assert by_client == {
            (key, row[0])
            for row in rows
            if row[0] in there
            for key in row[2:]
            if key is not None
        }
    file.close()


class TestForgetting:
    """What is old goes away, some at a time, and the newest stays."""

    def test_in_steps(self, file, monkeypatch):
        """So that nobody waits for it."""
        monkeypatch.setattr(sqlite_history, "INDEX_ROWS", 100)
        monkeypatch.setattr(sqlite_history, "FORGET_ROWS", 10)
        write(file, [(1, b"\x01aaaaaa", b"\x01aaaaaa", n) for n in range(35)])
        reader = HistoryReader(file.path)
        left = []
        while file.tidy(1000.0, 1000.0):
            left.append(len(reader.events(0, 100)))
        assert left == [25, 15, 5, 1]
        assert reader.events(0, 100)[0].number == 35

    def test_what_is_young_stays(self, file):
        """Nothing is forgotten before its time; then there is nothing to do."""
        write(file, [(1, b"\x01aaaaaa", b"\x01aaaaaa", n) for n in range(35)])
        assert file.tidy(0.0, 1000.0)
        assert not file.tidy(0.0, 1000.0)
        assert len(HistoryReader(file.path).events(0, 100)) == 35

    def test_what_is_left_can_be_found(self, file):
        """With the steps as they are: each is bounded, and goes no further than is indexed."""
        fill(file, 3000)
        reader = HistoryReader(file.path)
        left = 3000
        while file.tidy(1000.0, 1000.0):
            now = len(reader.events(0, 5000))
            assert 0 <= left - now <= sqlite_history.FORGET_ROWS
            left = now
            by_address, by_client, rows, indexed = tables(file.path)
            numbers = {row[0] for row in rows if row[0] <= indexed}
            assert {number for _, number in by_address} == numbers
            assert {number for _, number in by_client} == numbers
            assert len(reader.history(2, None, 0, 5000)) == sum(r[1] == 2 for r in rows)
        assert left == 1

    def test_a_clock_that_was_not_set_yet(self, file):
        """TRAPS 51: rows of 1970 take nothing along that is young."""
        mine = b"\x01aaaaaa"
        write(file, [(1, mine, mine, n) for n in (990, 991, 20, 21, 992, 993)])
        while file.tidy(900.0, 1000.0):
            pass
        reader = HistoryReader(file.path)
        assert [each.when for each in reader.events(0, 9)] == [
            990,
            991,
            20,
            21,
            992,
            993,
        ]
        while file.tidy(992.0, 1100.0):
            pass
        assert [each.when for each in reader.events(0, 9)] == [992, 993]

    def test_a_clock_that_was_ahead(self, file, monkeypatch):
        """Rows from the future are in nobody's way."""
        monkeypatch.setattr(sqlite_history, "FORGET_ROWS", 2)
        mine = b"\x01aaaaaa"
        times = [*[99_999] * 5, 100, 990, 1010]
        write(file, [(1, mine, mine, when) for when in times])
        while file.tidy(900.0, 1000.0):
            pass
        reader = HistoryReader(file.path)
        assert [each.when for each in reader.events(0, 9)] == [990, 1010]

    @pytest.mark.parametrize("history", [100.0, inf])
    def test_as_the_clock_ticks(self, tmp_path, history):
        """A server forgets by itself what it was told to, and else nothing."""
        disk = Disk(tmp_path / "leases.sqlite", history=history)
        for n in range(4):
            disk.bind(FakeClient(f"02:00:00:00:00:0{n}"))
            disk.tick(20)
        disk.tick(45)
        disk.tick(1)
        # Bound at 1000, 1020, 1040 and 1060; now it is 1126.
        kept = [each.when for each in disk.events()]
        assert kept == [1000, 1020, 1040, 1060] if history == inf else [1040, 1060]
        disk.close()


def fill(file, count):
    """Put so many rows into the journal at once: address 2 to 1001 in turn."""
    (first,) = sqlite_query(file.path, "SELECT coalesce(max(number), 0) FROM journal")
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT ?)"
            " INSERT INTO journal SELECT ?+i, 1.0, 1, NULL, 2+i%1000,"
            " CAST(printf('client %d', i%1000) AS BLOB), NULL, '', 1.0, 2.0, x'', NULL"
            " FROM n",
            (count, first[0]),
        )
    file.number = first[0] + count


def sqlite_query(path, question):
    """What a file says."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


#: Everything that may be asked: address, key, and until when.
QUESTIONS = list(product((None, 1, 2), (None, b"\x01aaaaaa"), (None, 50.0)))


class Planned(HistoryReader):
    """Counts what SQLite does, and notes how it goes about it."""

    def __init__(self, path):
        super().__init__(path)
        self.plans = []
        self.hundreds = 0

    def _count(self):
        self.hundreds += 1

    def _ask(self, question, given):
        with closing(sqlite3.connect(self._path)) as connection:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {question}", given)
            self.plans.append([detail for *_, detail in plan])
            connection.set_progress_handler(self._count, 100)
            return list(map(read_event, connection.execute(question, given)))


@pytest.mark.parametrize(("address", "key", "until"), QUESTIONS)
def test_how_it_is_found(file, address, key, until):
    """By a place in the journal or in one of its indexes; it is never gone through."""
    reader = Planned(file.path)
    reader.history(address, key, 0, 10, until)
    [plan] = reader.plans
    # The table with one row, and what was found, are.
    gone_through = {each for each in plan if each.startswith("SCAN")}
    assert all("indexed" in each or "subquery" in each for each in gone_through)
    tail, found = [
        [each for each in part if each.startswith("SEARCH")]
        for part in (plan[: plan.index("RIGHT")], plan[plan.index("RIGHT") :])
    ]
    assert tail == ["SEARCH journal USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
    by_number = "SEARCH journal USING INTEGER PRIMARY KEY (rowid=?)"
    if address is not None:
        by = "SEARCH f USING PRIMARY KEY (address=? AND number<?)"
        assert found == [by, by_number]
    elif key is not None:
        by = "SEARCH f USING PRIMARY KEY (client=? AND number<?)"
        assert found == [by, by_number]


def test_a_long_journal_is_not_searched(file, monkeypatch):
    """200,000 rows cost no more than two hundred, wherever what is asked for stands."""
    monkeypatch.setattr(sqlite_history, "INDEX_ROWS", 50_000)
    mine = b"\x01aaaaaa"
    write(file, [(1, mine, mine, 1)])
    fill(file, 200_000)
    write(file, [(1, mine, mine, 60)])
    while file.tidy(0.0, 1000.0):
        pass
    fill(file, 100)  # not indexed yet
    reader = Planned(file.path)
    asked = [
        (reader.history(1, None, 0, 10), [200_002, 1]),
        (reader.history(None, mine, 0, 10), [200_002, 1]),
        (reader.history(1, mine, 0, 10, 50.0), [1]),
        (reader.history(1, None, 200_002, 10), [1]),
        (reader.history(2, None, 0, 3), [200_001, 199_001, 198_001]),
        (reader.history(2, None, 5000, 2), [4001, 3001]),
        (reader.history(None, b"client 7", 5000, 2), [4008, 3008]),
        (reader.history(None, None, 5000, 2), [4999, 4998]),
        (reader.events(100_000, 2), [100_001, 100_002]),
    ]
    for found, numbers in asked:
        assert [each.number for each in found] == numbers
    # What goes through the journal takes tens of thousands.
    assert reader.hundreds < 300
    forgets = [
        detail
        for table, column in (("address", "address"), ("client", "client"))
        for *_, detail in sqlite_query(
            file.path,
            f"EXPLAIN QUERY PLAN DELETE FROM journal_{table} WHERE ({column}, number)"
            f" IN (SELECT {column}, number FROM journal WHERE number <= 5)",
        )
    ]
    assert not any(each.startswith("SCAN") for each in forgets)


def test_while_somebody_writes(file):
    """What is not committed is not there; and nobody waits for anybody."""
    mine = b"\x01aaaaaa"
    write(file, [(1, mine, mine, 1)])
    file._connection.execute("BEGIN IMMEDIATE")
    file._connection.execute(
        "INSERT INTO journal SELECT 2, at, kind, state, address, client, hardware,"
        " hostname, since, expires, relay, who FROM journal"
    )
    reader = HistoryReader(file.path)
    assert [each.number for each in reader.history(1, None, 0, 9)] == [1]
    file._connection.execute("COMMIT")
    assert [each.number for each in reader.history(1, None, 0, 9)] == [2, 1]


def test_a_file_that_is_gone(tmp_path):
    """Who asks is told so; and is answered when it is back."""
    disk = Disk(tmp_path / "leases.sqlite")
    disk.bind(FakeClient())
    elsewhere = disk.path.with_name("elsewhere")
    disk.path.rename(elsewhere)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        answer(disk.storage.history(None, None, 0, 9))
    assert not disk.path.exists()
    elsewhere.rename(disk.path)
    assert len(answer(disk.storage.history(None, None, 0, 9))) == 1
    disk.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        "kind=99",
        "kind='bound'",
        "at='then'",
        "address='192.0.2.10'",
        "client='text'",
        "hardware='text'",
        "hostname=x'00'",
        "since='soon'",
        "expires='never'",
        "relay='text'",
        "who=x'00'",
    ],
)
def test_a_row_that_makes_no_sense(file, nonsense):
    """It is passed over, whichever column somebody has had a hand in."""
    write(file, [(1, b"\x01aaaaaa", b"\x01aaaaaa", 1)] * 2)
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute(f"UPDATE journal SET {nonsense} WHERE number = 1")
    reader = HistoryReader(file.path)
    assert [each.number for each in reader.events(0, 10)] == [2]
    assert [each.number for each in reader.history(1, None, 0, 10)] == [2]


def event(kind, when, expires=None, address="10.0.0.5"):
    """An event as the control channel tells it."""
    return {"kind": kind, "when": when, "expires": expires, "address": address}


class TestWhoHadIt:
    """Who had 10.0.0.5 at 14:03?"""

    def test_the_holder(self):
        """By the last word on the address before that time."""
        now = time.time()
        bound = event("bound", now, now + 100)
        renewed = event("renewed", now + 50, now + 150)
        events = [renewed, bound]
        assert holder_at(events, "10.0.0.5", now + 60) is renewed
        assert holder_at(events, "10.0.0.5", now + 49) is bound
        assert holder_at(events, "10.0.0.5", now - 1) is None
        assert holder_at(events, "10.0.0.5", now + 151) is None
        assert holder_at(events, "10.0.0.6", now + 60) is None
        assert holder_at([event("imported", 5.0)], "10.0.0.5", 6.0) is not None

    @pytest.mark.parametrize(
        "kind", ["released", "expired", "declined", "revoked", "freed"]
    )
    def test_nobody(self, kind):
        """It had ended."""
        events = [event(kind, 20.0), event("bound", 10.0)]
        assert holder_at(events, "10.0.0.5", 25.0) is None
        assert holder_at(events, "10.0.0.5", 15.0) is events[1]

    def test_what_changes_no_lease(self):
        """A reservation gives nobody an address."""
        events = [event("reserved", 20.0), event("bound", 10.0)]
        assert holder_at(events, "10.0.0.5", 25.0) is events[1]

    def test_addresses(self):
        """Each once, in order; those of settings are none."""
        found = [
            event("bound", 1.0, address="10.0.0.10"),
            event("bound", 1.0, address="10.0.0.9"),
            event("reserved", 1.0, address=None),
            event("bound", 2.0, address="10.0.0.9"),
        ]
        assert addresses_of(found) == ["10.0.0.9", "10.0.0.10"]
