"""Looking back: by address and by client, through what is indexed and what is not yet."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.control.history import addresses_of, holder_at
from dhcptwist.lease import EventKind, Lease, LeaseState
from dhcptwist.storage import sqlite_history
from dhcptwist.storage.sqlite_file import Batch, SQLiteFile
from dhcptwist.storage.sqlite_history import HistoryReader


#: Address, client, hardware and time of one entry.
ENTRY = st.tuples(
    st.integers(1, 3),
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
    max_examples=80,
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
        for address in (None, 1, 2):
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
                    if len(wanted) > 1:
                        first = reader.history(address, key, 0, 1, until)
                        rest = reader.history(
                            address, key, first[0].number, 1000, until
                        )
                        assert first + rest == wanted
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


def test_a_long_journal_is_not_searched(file):
    """What is indexed is looked up: 60,000 rows cost no more than sixty."""
    write(file, [(1, b"\x01aaaaaa", b"\x01aaaaaa", 1)])
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n LIMIT 60000)"
            " INSERT INTO journal SELECT i, 1.0, 1, NULL, 2, x'02', NULL, '', 1.0, 2.0,"
            " x'', NULL FROM n"
        )
    file._number = 60001
    while file.tidy(0.0, 1000.0):
        pass
    steps = []

    class Counted(HistoryReader):
        def _ask(self, question, given):
            with closing(sqlite3.connect(file.path)) as connection:
                connection.set_progress_handler(lambda: steps.append(1), 100)
                return connection.execute(question, given).fetchall()

    reader = Counted(file.path)
    assert len(reader.history(1, None, 0, 10)) == 1
    assert len(reader.history(None, b"\x01aaaaaa", 0, 10)) == 1
    assert len(reader.history(2, None, 0, 10)) == 10
    assert len(steps) < 100  # of a hundred instructions each; a search takes thousands


def test_a_row_that_makes_no_sense(file):
    """It is passed over."""
    write(file, [(1, b"\x01aaaaaa", b"\x01aaaaaa", 1)] * 2)
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute("UPDATE journal SET kind = 99 WHERE number = 1")
    reader = HistoryReader(file.path)
    assert [each.number for each in reader.events(0, 10)] == [2]


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
