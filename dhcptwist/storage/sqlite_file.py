"""The file of the embedded storage: its schema, its rows, its lock."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from importlib.resources import files
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from types import NoneType
from typing import Any

from twisted.logger import Logger

from ..lease import Lease, LeaseState, OnConflict, Reservation, Settings
from ..wire.codes import INFINITE


_log = Logger()

#: "DHCT": marks the file as ours (PRAGMA application_id).
APPLICATION_ID = 0x44484354
SCHEMA = 1

_COLUMNS = 8  # of a lease
_DROP_RESERVATION = (
    "DELETE FROM reservation WHERE address=? AND hardware=? AND client_id=?"
    " AND circuit_id=? AND remote_id=?"
)
_PUT_RESERVATION = "INSERT OR REPLACE INTO reservation VALUES (?,?,?,?,?,?,?,?,?,?)"

#: Rows put by one statement.  One step of SQLite for many rows lets go of Python's
#: lock once for all of them, and not once for each while packets want it too.
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PUT_LEASE = "INSERT OR REPLACE INTO lease VALUES (?,?,?,?,?,?,?,?)"
_PUT_LEASES = {rows: _PUT_LEASE + ",(?,?,?,?,?,?,?,?)" * (rows - 1) for rows in _ROWS}


class StorageUnusable(Exception):  # noqa: N818 - it says what is wrong with it
    """The storage cannot be opened; the message says why and what to do."""


class Batch:
    """What one transaction writes.

    Attributes:
        leases: Address to its latest lease.
        reservations: Pairs of those removed and those added, in order.
    """

    __slots__ = ("leases", "reservations")

    def __init__(self) -> None:
        self.leases: dict[int, Lease] = {}
        self.reservations: list[
            tuple[tuple[Reservation, ...], tuple[Reservation, ...]]
        ] = []


class SQLiteFile:
    """One file, used by one server at a time.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None

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
        except OSError as error:
            self.close()
            raise StorageUnusable(f"{self.path} cannot be used: {error}") from None
        try:
            self._connect()
            self._prepare()
        except (sqlite3.Error, StorageUnusable) as error:
            self.close()
            if isinstance(error, StorageUnusable):
                raise
            raise StorageUnusable(f"{self.path} cannot be used: {error}") from None

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

    def _connect(self) -> None:
        # One thread at a time uses it: the reactor's before the journal starts and
        # after it stops, the journal's in between.
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL syncs the write-ahead log at each commit: the ACK may leave after it.
        connection.execute("PRAGMA synchronous=FULL")

    def _prepare(self) -> None:
        assert self._connection is not None
        execute = self._connection.execute
        (version,) = execute("PRAGMA user_version").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not version:
            script = files(__package__).joinpath("schemas", f"sqlite-{SCHEMA}.sql")
            self._connection.executescript(
                "BEGIN;"
                + script.read_text()
                + f"PRAGMA application_id={APPLICATION_ID};"
                + f"PRAGMA user_version={SCHEMA}; COMMIT;"
            )
        elif application != APPLICATION_ID:
            raise StorageUnusable(f"{self.path} is not a lease file of dhcptwist")
        elif version != SCHEMA:
            raise StorageUnusable(
                f"{self.path} has schema {version}; this version of dhcptwist reads"
                f" {SCHEMA}"
            )

    def close(self) -> None:
        """Close it and let others use it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- reading ------------------------------------------------------------------

    def leases(self) -> list[Lease]:
        """All leases, the one that ended longest ago first."""
        assert self._connection is not None
        rows = self._connection.execute(
            "SELECT address, state, client, hardware, since, expires, hostname, relay"
            " FROM lease ORDER BY expires IS NULL, expires"
        )
        found = []
        for row in rows:
            lease = _lease(row)
            if lease is None:
                _log.warn(
                    "A row of {path} makes no sense: {row}", path=self.path, row=row
                )
            else:
                found.append(lease)
        return found

    def reservations(self) -> list[Reservation]:
        """All pushed reservations."""
        assert self._connection is not None
        rows = self._connection.execute(
            "SELECT address, hardware, client_id, circuit_id, remote_id, hostname,"
            " settings, source, on_conflict, expires FROM reservation ORDER BY address"
        )
        found = []
        for row in rows:
            try:
                found.append(_reservation(row))
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warn(
                    "A row of {path} makes no sense: {row}", path=self.path, row=row
                )
        return found

    # --- writing ------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Write a batch, whole and synced, or not at all.

        Raises:
            sqlite3.Error: It is not on disk.
        """
        if self._connection is None:
            self._connect()
        assert self._connection is not None
        execute = self._connection.execute
        leases = list(batch.leases.values())
        try:
            if leases and len(leases) <= _ROWS[-1] and not batch.reservations:
                # One statement is a transaction of its own.
                self._put_leases(leases)
                return
            execute("BEGIN IMMEDIATE")
            for at in range(0, len(leases), _ROWS[-1]):
                self._put_leases(leases[at : at + _ROWS[-1]])
            for removed, added in batch.reservations:
                for each in removed:
                    execute(_DROP_RESERVATION, _reservation_key(each))
                for each in added:
                    execute(_PUT_RESERVATION, _reservation_row(each))
            execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _put_leases(self, leases: list[Lease]) -> None:
        """Put up to 256 rows with one statement."""
        assert self._connection is not None
        rows = next(rows for rows in _ROWS if rows >= len(leases))
        values: list[Any] = []
        for lease in leases:
            expires = lease.expires
            values += (
                lease.address,
                int(lease.state),
                lease.key,
                lease.hardware,
                lease.since,
                None if expires == inf else expires,
                lease.hostname,
                lease.relay,
            )
        # The last row again, as often as the statement has room for: that changes
        # nothing, and a handful of statements serve every number of rows.
        values += values[-_COLUMNS:] * (rows - len(leases))
        self._connection.execute(_PUT_LEASES[rows], values)

    def _roll_back(self) -> None:
        """Back to what is on disk; with a new connection if this one is spoilt."""
        assert self._connection is not None
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.close()
            self._connection = None


_LEASE_TYPES: tuple[Any, ...] = (
    int,
    int,
    bytes,
    bytes,
    float,
    (float, NoneType),
    str,
    bytes,
)
_STATES = {state.value: state for state in LeaseState}


def _lease(row: tuple[Any, ...]) -> Lease | None:
    """A lease from its row; None for a row that no version of ours wrote."""
    if not all(isinstance(*each) for each in zip(row, _LEASE_TYPES, strict=True)):
        return None
    address, state, client, hardware, since, expires, hostname, relay = row
    if state not in _STATES or not 0 < address < 1 << 32 or not client:
        return None
    return Lease(
        address,
        _STATES[state],
        client,
        client if client == hardware else hardware,  # one object for both
        since,
        inf if expires is None else expires,
        INFINITE if expires is None else 0,
        hostname,
        relay,
    )


def _reservation(row: tuple[Any, ...]) -> Reservation:
    address, hardware, client_id, circuit_id, remote_id, *rest = row
    hostname, settings, source, on_conflict, expires = rest
    return Reservation(
        None if address < 0 else address,
        hardware,
        client_id,
        circuit_id,
        remote_id,
        hostname,
        _settings(settings),
        source,
        OnConflict(on_conflict),
        inf if expires is None else float(expires),
    )


def _reservation_key(each: Reservation) -> tuple[Any, ...]:
    return (
        -1 if each.address is None else each.address,
        each.hardware,
        each.client_id,
        each.circuit_id,
        each.remote_id,
    )


def _reservation_row(each: Reservation) -> tuple[Any, ...]:
    settings = None
    if each.settings is not None:
        settings = json.dumps(
            {
                "options": {
                    str(code): value.hex()
                    for code, value in each.settings.options.items()
                },
                "next-server": None
                if each.settings.next_server is None
                else str(IPv4Address(each.settings.next_server)),
                "boot-file": each.settings.boot_file,
                "server-name": each.settings.server_name,
            }
        )
    return (
        *_reservation_key(each),
        each.hostname,
        settings,
        each.source,
        each.on_conflict.value,
        None if each.expires == inf else each.expires,
    )


def _settings(text: str | None) -> Settings | None:
    if text is None:
        return None
    read = json.loads(text)
    server = read.get("next-server")
    return Settings(
        {int(code): bytes.fromhex(value) for code, value in read["options"].items()},
        None if server is None else int(IPv4Address(server)),
        read.get("boot-file"),
        read.get("server-name"),
    )
