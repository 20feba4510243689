"""What the embedded storage's file must be before it is used: ours, whole, up to date."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from twisted.logger import Logger


_log = Logger()

#: "DHCT": marks the file as ours (PRAGMA application_id).
APPLICATION_ID = 0x44484354
SCHEMA = 2


class StorageUnusable(Exception):  # noqa: N818 - it says what is wrong with it
    """The storage cannot be opened; the message says why and what to do."""


def see_whose(path: Path, patience: float) -> None:
    """Look at a file without touching it: closing another's could write its log back.

    Args:
        path: The file.
        patience: Seconds to wait for who has locked it.

    Raises:
        StorageUnusable: It is another program's.
        sqlite3.Error: It is no SQLite file.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(uri, patience, uri=True)) as connection:
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute(
                "SELECT count(*) FROM sqlite_master"
            ).fetchone()
        except sqlite3.OperationalError:
            return  # it has a log that only a writer can read: ours, as a rule
    if application != APPLICATION_ID and (tables or application):
        raise StorageUnusable(
            f"{path} is not a lease file of dhcptwist; name another one, and this is"
            " left as it is"
        )


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty file, or bring those of an older version up to date.

    Whatever happens on the way, the file is afterwards as it was or as it should be.

    Raises:
        StorageUnusable: It is another program's, from a newer version, or damaged.
        sqlite3.Error: It cannot be read or written.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not version:
        _run(connection, f"sqlite-{SCHEMA}.sql", SCHEMA)
        return
    if application != APPLICATION_ID:
        raise StorageUnusable(f"{path} is not a lease file of dhcptwist")
    if version > SCHEMA:
        raise StorageUnusable(
            f"{path} has schema {version}, written by a newer dhcptwist; this one knows"
            f" schemas up to {SCHEMA}: use the newer one, or the backup"
            f" {path.name}.schema-{SCHEMA} that it made"
        )
    (found,) = connection.execute("PRAGMA quick_check('lease')").fetchone()
    if found != "ok":
        raise StorageUnusable(_damaged(path, found.splitlines()[-1]))
    if version < SCHEMA:
        backup = _back_up(connection, path, version)
        for newer in range(version + 1, SCHEMA + 1):
            _run(connection, f"sqlite-upgrade-{newer}.sql", newer)
        _log.info(
            "{path} was brought from schema {old} to {new}; as it was: {backup}",
            path=path,
            old=version,
            new=SCHEMA,
            backup=backup,
        )


def _run(connection: sqlite3.Connection, name: str, version: int) -> None:
    script = files(__package__).joinpath("schemas", name).read_text("utf-8")
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}"
            f"PRAGMA application_id={APPLICATION_ID};"
            f"PRAGMA user_version={version}; COMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """A copy of the file, on disk under its own name before anything is changed."""
    backup = path.with_name(f"{path.name}.schema-{version}")
    unfinished = backup.with_name(f"{backup.name}.part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    copy = sqlite3.connect(unfinished)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(backup)
    return backup


def explained(path: Path, error: Exception) -> str:
    """What went wrong with a file, and the way out."""
    text = str(error)
    if isinstance(error, sqlite3.Error):
        if "not a database" in text:
            return (
                f"{path} is no SQLite file; name another one in storage =, or move this"
                " one away"
            )
        if "malformed" in text or "corrupt" in text:
            return _damaged(path, text)
        if "locked" in text or "busy" in text:
            return f"{path} is locked by another program ({text}); end that one first"
        if "readonly" in text or "read-only" in text or "unable to open" in text:
            return (
                f"{path} cannot be written ({text}): see who owns it and its directory,"
                " and whether the disk is mounted read-only"
            )
        if "full" in text:
            return f"{path} cannot be written ({text}): make room on its disk"
    return f"{path} cannot be used: {text}"


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged ({why}) and was left as it is.  Put a backup in its place,"
        f" or save what can be read: sqlite3 {path.name} .recover | sqlite3 new.sqlite"
    )
