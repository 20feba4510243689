"""The file of the embedded storage: its lock, its rows, its transactions."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from ..lease import Lease, Reservation
from .journal import Entry
from .sqlite_history import tidy
from .sqlite_rows import (
    JOURNAL_VALUES,
    LEASE_COLUMNS,
    RESERVATION_COLUMNS,
    RESERVATION_VALUES,
    SANE_LEASE,
    journal_row,
    read_leases,
    read_reservation,
    reservation_key,
    reservation_row,
)
from .sqlite_schema import StorageUnusable, explained, prepare, see_whose


_log = Logger()

#: Seconds to wait for another program that has the file locked, as a backup may.
PATIENCE = 1.0

#: Rows put by one statement.  One step of SQLite for many rows lets go of Python's
#: lock once for all of them, and not once for each while packets want it too.
_ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_ROW = "(" + ",".join("?" * 12) + ")"
_NOTHING = (0,) * 12
#: A handful of statements serve every number of rows: what is left over is 0.
_PUT = {
    rows: f"INSERT INTO journal SELECT {JOURNAL_VALUES}"
    f" FROM (VALUES {','.join([_ROW] * rows)}) WHERE column1 > 0"
    for rows in _ROWS
}
_RESERVED = f"({','.join('?' * 10)})"
_PUT_RESERVATIONS = {
    # Not OR REPLACE: what is only changed leaves the index as it is.
    rows: f"INSERT INTO reservation SELECT {RESERVATION_VALUES}"
    f" FROM (VALUES {','.join([_RESERVED] * rows)}) WHERE column8 != ''"
    " ON CONFLICT DO UPDATE SET hostname=excluded.hostname, settings=excluded.settings,"
    " source=excluded.source, on_conflict=excluded.on_conflict,"
    " expires=excluded.expires"
    for rows in _ROWS
}
_DROP_RESERVATIONS = {
    rows: "DELETE FROM reservation WHERE rowid IN (SELECT reservation.rowid"
    # In this order: each of the values is looked for, and not each that there is.
    f" FROM (VALUES {','.join(['(?,?,?,?,?)'] * rows)}) CROSS JOIN reservation"
    " ON address=column1 AND hardware=column2 AND client_id=column3"
    " AND circuit_id=column4 AND remote_id=column5)"
    for rows in _ROWS
}
_NO_RESERVATION = (-1, "", "", "", "", "", "", "", "", "")


class Batch:
    """What one transaction writes.

    Attributes:
        entries: What happened, in order; leases are written as it leaves them.
        reservations: Pairs of those removed and those added, in order.
        times: New times of leases: since, expires, address; written last.
    """

    __slots__ = ("entries", "reservations", "times")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.reservations: list[
            tuple[tuple[Reservation, ...], tuple[Reservation, ...]]
        ] = []
        self.times: list[tuple[float, float | None, int]] = []


class SQLiteFile:
    """One file, used by one server at a time.

    One thread at a time uses it: the reactor's before the journal starts and after it
    stops, the journal's in between.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self.number = 0
        self._written_back = False
        self._place: tuple[int, int] | None = None
        self._log_place: tuple[int, int] | None = None

    # --- opening ------------------------------------------------------------------

    def open(self) -> None:
        """Open it; make it if it is not there.

        Raises:
            StorageUnusable: It cannot be used; says why.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            # Who is where, and when, is nobody's business: SQLite would let all read.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            see_whose(self.path, PATIENCE)
            self._connect(new=True)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise StorageUnusable(explained(self.path, error)) from None
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        # Two servers on one file would give one address twice; SQLite's own locks
        # are let go between transactions.
        path = self.path.with_name(self.path.name + ".lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StorageUnusable(
                f"{self.path} is in use by another server; stop that one, or give this"
                " one a state directory of its own"
            ) from None
        self._lock = lock

    def _connect(self, *, new: bool = False) -> None:
        connection = sqlite3.connect(
            # mode=rw: what has vanished is not silently begun anew.
            f"file:{quote(str(self.path.absolute()))}?mode=rw",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if new:
                prepare(connection, self.path)
            connection.execute("PRAGMA journal_mode=WAL")
            # FULL syncs the write-ahead log at each commit: the ACK may leave after it.
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA temp_store=MEMORY")
            (number,) = connection.execute("SELECT max(number) FROM journal").fetchone()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._written_back = False
        self.number = number or 0
        if new:
            self._place = _whereabouts(self.path)

    @property
    def _wal(self) -> Path:
        """Where SQLite appends what it will bring into the file itself later."""
        return self.path.with_name(self.path.name + "-wal")

    def close(self) -> None:
        """Close it and let others use it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- reading ------------------------------------------------------------------

    def leases(self, when: float) -> tuple[list[Lease], set[int]]:
        """All leases: those that go on, then the others, longest ended first.

        Returns:
            The leases, and the addresses of those whose end is in the journal.
        """
        assert self._connection is not None
        execute = self._connection.execute
        told: set[int] = set()
        rows = execute(f"SELECT {LEASE_COLUMNS} FROM lease WHERE {SANE_LEASE}")
        found = list(read_leases(rows, told))
        (count,) = execute("SELECT count(*) FROM lease").fetchone()
        if count != len(found):
            for row in execute(f"SELECT * FROM lease WHERE {SANE_LEASE} IS NOT TRUE"):
                self._complain(row)
        ended = [lease for lease in found if lease.expires <= when]
        if ended:
            found = [lease for lease in found if lease.expires > when]
            found += sorted(ended, key=attrgetter("expires"))
        return found, told

    def reservations(self) -> list[Reservation]:
        """All pushed reservations."""
        assert self._connection is not None
        rows = self._connection.execute(
            f"SELECT {RESERVATION_COLUMNS} FROM reservation ORDER BY address"
        )
        found = []
        for row in rows:
            try:
                found.append(read_reservation(row))
            except (ValueError, TypeError, KeyError, AttributeError):
                self._complain(row)
        return found

    def _complain(self, row: tuple[Any, ...]) -> None:
        _log.warn("A row of {path} makes no sense: {row}", path=self.path, row=row)

    # --- writing ------------------------------------------------------------------

    def write(self, batch: Batch) -> int:
        """Write a batch, whole and synced, or not at all.

        Returns:
            The number of its first event.

        Raises:
            sqlite3.Error, OSError: It is not on disk.
        """
        connection = self._connected()
        entries = batch.entries
        first = self.number + 1
        try:
            if (
                entries
                and len(entries) <= _ROWS[-1]
                and not (batch.reservations or batch.times)
            ):
                # One statement is a transaction of its own.
                _put(connection, entries, first)
            else:
                connection.execute("BEGIN IMMEDIATE")
                for at in range(0, len(entries), _ROWS[-1]):
                    _put(connection, entries[at : at + _ROWS[-1]], first + at)
                _put_others(connection, batch)
                connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self.number += len(entries)
        return first

    def tidy(self, before: float, now: float) -> bool:
        """Index some of the journal, and forget some of what is older than ``before``.

        Returns:
            Whether there is more to do.

        Raises:
            sqlite3.Error, OSError: It could not be done.
        """
        connection = self._connected()
        try:
            return tidy(connection, before, now)
        except BaseException:
            self._roll_back()
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._place != _whereabouts(self.path):
            # Writing to what nobody finds again would be a promise without a disk.
            raise FileNotFoundError(
                f"{self.path} was taken away or replaced by another file: put it back, or"
                " start the server again"
            )
        if self._written_back and self._log_place != _whereabouts(self._wal):
            # Somebody took the log for left over.  SQLite has it still, and can write it
            # back.
            _log.warn("{log} was taken away", log=self._wal)
            if self._connection is not None:
                _write_back(self._connection)
            self._drop()
        if self._connection is None:
            self._connect()
        assert self._connection is not None
        if not self._written_back:
            # Only now: on a full disk, what is there can still be read and renewed.
            _write_back(self._connection)
            self._written_back = True
            self._log_place = _whereabouts(self._wal)
        return self._connection

    def _roll_back(self) -> None:
        """Back to what is on disk.

        The connection stays if it can: it knows where in its log the transaction began
        that could not be synced, and writes over it.
        """
        assert self._connection is not None
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop()

    def _drop(self) -> None:
        """Begin with a new connection next time."""
        connection, self._connection = self._connection, None
        self._written_back = False
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _whereabouts(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _write_back(connection: sqlite3.Connection) -> None:
    """Bring what the log holds into the file itself, synced.

    After a sync that failed, the system may take pages of the log for written that are
    in its memory only; whatever is appended behind them would be lost with them.

    Raises:
        sqlite3.Error: It could not be done.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("database is locked by who reads or writes it")


def _put(connection: sqlite3.Connection, entries: Sequence[Entry], first: int) -> None:
    """Append up to 256 entries with one statement."""
    rows = next(rows for rows in _ROWS if rows >= len(entries))
    values: list[Any] = []
    for number, entry in enumerate(entries, first):
        values += journal_row(number, entry)
    values += _NOTHING * (rows - len(entries))
    connection.execute(_PUT[rows], values)


def _put_others(connection: sqlite3.Connection, batch: Batch) -> None:
    # What becomes of each in the end; changes of one batch may be about the same.
    last: dict[tuple[Any, ...], Reservation | None] = {}
    for removed, added in batch.reservations:
        last.update((reservation_key(each), None) for each in removed)
        last.update((reservation_key(each), each) for each in added)
    gone = [key for key, each in last.items() if each is None]
    for at in range(0, len(gone), _ROWS[-1]):
        _put_rows(
            connection,
            _DROP_RESERVATIONS,
            gone[at : at + _ROWS[-1]],
            _NO_RESERVATION[:5],
        )
    there = [each for each in last.values() if each is not None]
    for at in range(0, len(there), _ROWS[-1]):
        rows = [reservation_row(each) for each in there[at : at + _ROWS[-1]]]
        _put_rows(connection, _PUT_RESERVATIONS, rows, _NO_RESERVATION)
    if batch.times:
        connection.executemany(
            "UPDATE lease SET since=?, expires=? WHERE address=?", batch.times
        )


def _put_rows(
    connection: sqlite3.Connection,
    statements: dict[int, str],
    rows: Sequence[tuple[Any, ...]],
    nothing: tuple[Any, ...],
) -> None:
    """Up to 256 rows with one statement."""
    size = next(size for size in _ROWS if size >= len(rows))
    values = [value for row in rows for value in row]
    connection.execute(statements[size], [*values, *(nothing * (size - len(rows)))])
