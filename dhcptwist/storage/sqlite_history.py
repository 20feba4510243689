"""The journal of the embedded storage, read and kept in order.

Rows are only appended by the packets' transactions.  What finds them by address or client
is brought up to date in quiet moments, and a question looks through the rest itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from ..lease import Event
from .sqlite_rows import JOURNAL_COLUMNS, read_event


_log = Logger()

_COLUMNS = ", ".join(f"journal.{each}" for each in JOURNAL_COLUMNS.split(", "))

#: Rows that are indexed, and rows that are forgotten, in one go: some milliseconds,
#: for which a packet may have to wait.
INDEX_ROWS = 500
FORGET_ROWS = 1000


def tidy(connection: sqlite3.Connection, before: float, now: float) -> bool:
    """Index some rows, and forget some that are older than ``before``.

    Only from the front, up to the first that is young: a row in between may have its time
    from a clock that was not set yet.  One from far in the future counts as old.

    Returns:
        Whether there is more to do.
    """
    execute = connection.execute
    (indexed,) = execute("SELECT number FROM indexed").fetchone()
    first, last = execute(
        "SELECT (SELECT min(number) FROM journal), (SELECT max(number) FROM journal)"
    ).fetchone()
    if last is None:
        return False
    upto = min(indexed + INDEX_ROWS, last)
    old = 0
    if before != -inf:
        young, seen = execute(
            "SELECT min(CASE WHEN at BETWEEN ? AND ? THEN number END), max(number) FROM"
            " (SELECT number, at FROM journal ORDER BY number LIMIT ?)",
            (before, now + (now - before), FORGET_ROWS),
        ).fetchone()
        # The last one stays: its number must not be given again.
        old = min(seen if young is None else young - 1, last - 1, upto)
    if upto <= indexed and old < first:
        return False
    execute("BEGIN IMMEDIATE")
    if upto > indexed:
        _index(connection, indexed, upto)
    if old >= first:
        _forget(connection, old)
    execute("COMMIT")
    return True


def _index(connection: sqlite3.Connection, after: int, upto: int) -> None:
    span = (after, upto)
    connection.execute(
        "INSERT OR IGNORE INTO journal_address SELECT address, number FROM journal"
        " WHERE number > ? AND number <= ? ORDER BY address, number",
        span,
    )
    connection.execute(
        "INSERT OR IGNORE INTO journal_client SELECT client, number FROM journal"
        " WHERE number > ?1 AND number <= ?2 AND length(client)"
        " UNION ALL SELECT hardware, number FROM journal"
        " WHERE number > ?1 AND number <= ?2 AND length(hardware) ORDER BY 1, 2",
        span,
    )
    connection.execute("UPDATE indexed SET number = ?", (upto,))


def _forget(connection: sqlite3.Connection, upto: int) -> None:
    for table, column, source in (
        ("journal_address", "address", "address"),
        ("journal_client", "client", "client"),
        ("journal_client", "client", "hardware"),
    ):
        connection.execute(
            f"DELETE FROM {table} WHERE ({column}, number) IN"
            f" (SELECT {source}, number FROM journal WHERE number <= ?)",
            (upto,),
        )
    connection.execute("DELETE FROM journal WHERE number <= ?", (upto,))


class HistoryReader:
    """Answers questions about the past, from any thread, while the server writes.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self, after: int, limit: int) -> list[Event]:
        """See `IHistory.events`."""
        return self._ask(
            f"SELECT {JOURNAL_COLUMNS} FROM journal WHERE number > ?"
            " ORDER BY number LIMIT ?",
            (after, limit),
        )

    def history(
        self,
        address: int | None,
        key: bytes | None,
        before: int,
        limit: int,
        until: float | None = None,
    ) -> list[Event]:
        """See `IHistory.history`."""
        given: dict[str, Any] = {
            "address": address,
            "key": key,
            "before": before or 1 << 62,
            "until": until,
            "limit": limit,
        }
        # One of the tables finds the rows, the latest first; the rest is looked at.
        table, wanted = "journal", ["journal.number < :before"]
        if address is not None:
            table = "journal_address"
            wanted.append("journal.address = :address")
        if key is not None:
            table = "journal_client" if address is None else table
            wanted.append("(journal.client = :key OR journal.hardware = :key)")
        if until is not None:
            wanted.append("journal.at <= :until")
        matches = " AND ".join(wanted)
        found = {
            "journal": "journal",
            "journal_address": "journal_address AS f CROSS JOIN journal"
            " ON journal.number = f.number AND f.address = :address"
            " AND f.number < :before",
            "journal_client": "journal_client AS f CROSS JOIN journal"
            " ON journal.number = f.number AND f.client = :key AND f.number < :before",
        }[table]
        order = "f.number" if table != "journal" else "journal.number"
        select = f"SELECT * FROM (SELECT {_COLUMNS} FROM"
        return self._ask(
            # What is not indexed yet, and then what is.
            f"{select} journal WHERE {matches}"
            " AND journal.number > (SELECT number FROM indexed)"
            " ORDER BY journal.number DESC LIMIT :limit)"
            f" UNION ALL {select} {found} WHERE {matches}"
            " AND journal.number <= (SELECT number FROM indexed)"
            f" ORDER BY {order} DESC LIMIT :limit) ORDER BY 1 DESC LIMIT :limit",
            given,
        )

    def _ask(self, question: str, given: Any) -> list[Event]:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path.absolute()))}?mode=ro", uri=True
        )
        found = []
        with closing(connection):
            for row in connection.execute(question, given):
                try:
                    found.append(read_event(row))
                except (ValueError, TypeError):
                    _log.warn(
                        "A row of {path} makes no sense: {row}",
                        path=self._path,
                        row=row,
                    )
        return found
