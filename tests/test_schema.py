"""The embedded storage's file: made, brought up to date, or refused as it is."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from disks import US, Disk

from dhcptwist.storage import sqlite_file, sqlite_schema
from dhcptwist.storage.sqlite_file import SQLiteFile
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.storage.sqlite_schema import APPLICATION_ID, SCHEMA, StorageUnusable
from dhcptwist.testing import FakeClient, answer, ip
from dhcptwist.wire import MessageType


OLD = Path(__file__).parent / "data" / "sqlite-1.sql"
DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST


@pytest.fixture
def path(tmp_path):
    """Where the file will be."""
    return tmp_path / "leases.sqlite"


@pytest.fixture
def old(path):
    """A file as the first version made it, with a lease and a reservation."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"BEGIN; {OLD.read_text()} PRAGMA application_id={APPLICATION_ID};"
            "PRAGMA user_version=1; COMMIT;"
        )
        connection.execute("PRAGMA journal_mode=WAL")
        who = FakeClient().hardware
        connection.execute(
            "INSERT INTO lease VALUES (?,2,?,?,1000.0,5000.0,'laptop',x'')",
            (ip("192.0.2.10"), who, who),
        )
        connection.execute(
            "INSERT INTO reservation VALUES (?,x'0102',x'',x'',x'','','"
            '{"options": {"6": "01020304"}}'
            "','ipam','wait',NULL)",
            (ip("192.0.2.12"),),
        )
        connection.commit()
    return path


def rows(path, question="SELECT * FROM lease"):
    """What a file says."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def version(path):
    """A file's schema."""
    return rows(path, "PRAGMA user_version")[0][0]


def opened(path):
    """Whether a file can be opened; it is closed again."""
    file = SQLiteFile(path)
    file.open()
    file.close()


def content(path):
    """Everything that a file has, tables and rows."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def opens(monkeypatch):
    """Calls a function with each connection that is made, and with what it was made."""
    connect = sqlite3.connect
    watchers = []

    def watched(database, *given, **more):
        connection = connect(database, *given, **more)
        for watcher in watchers:
            watcher(connection, str(database))
        return connection

    monkeypatch.setattr(sqlite3, "connect", watched)
    return watchers.append


class TestUpgrade:
    """From the first version to this one."""

    @pytest.mark.parametrize("mode", ["wal", "delete"])
    def test_killed_at_any_moment(
        self, old, tmp_path_factory, opens, monkeypatch, mode
    ):
        """What is on disk then is old or new, and whole; the next start makes it new.

        Copies are made before each statement and inside of them, and when the backup is
        there but has no name yet, as ``kill -9`` would leave the files.
        """
        with closing(sqlite3.connect(old)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
        old.with_name("leases.sqlite.lock").touch()
        before = content(old)
        places = tmp_path_factory.mktemp("killed")
        copies = []

        def snapshot(*_):
            copies.append(places / str(len(copies)))
            shutil.copytree(old.parent, copies[-1])

        def watch(connection, database):
            if "mode=rw" in database and str(old) in database:
                connection.set_trace_callback(snapshot)
                connection.set_progress_handler(snapshot, 30)

        opens(watch)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", snapshot)
            opened(old)
        watched = tuple(copies)
        after = content(old)
        versions = []
        unnamed = [copy for copy in watched if list(copy.glob("*.part"))]
        for copy in watched:
            found = shutil.copytree(copy, places / "found")
            versions.append(version(found / old.name))
            wanted = before if versions[-1] == 1 else after
            assert content(found / old.name) == wanted
            backup = found / "leases.sqlite.schema-1"
            if versions[-1] == SCHEMA or backup.exists():
                assert content(backup) == before
            shutil.rmtree(found)
            opened(copy / old.name)
            assert content(copy / old.name) == after
            assert content(copy / "leases.sqlite.schema-1") == before
            assert not list(copy.glob("*.part")) or versions[-1] == SCHEMA
        assert versions == sorted(versions)
        assert set(versions) == {1, SCHEMA}
        assert len(versions) > 20
        assert unnamed

    def test_what_a_crash_left_in_the_log(self, old, tmp_path):
        """It is part of the file, and of the backup."""
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        with closing(sqlite3.connect(old)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("UPDATE lease SET hostname = 'tower'")
            connection.commit()
            for end in ("", "-wal"):
                shutil.copy(f"{old}{end}", crashed / f"leases.sqlite{end}")
        path = crashed / "leases.sqlite"
        opened(path)
        assert rows(path, "SELECT hostname FROM lease") == [("tower",)]
        backup = path.with_name("leases.sqlite.schema-1")
        assert rows(backup, "SELECT hostname FROM lease") == [("tower",)]
        assert not backup.with_name(f"{backup.name}-wal").exists()

    def test_a_full_disk(self, old, opens):
        """No room for the new tables: it says so, and everything is as it was."""
        before = content(old)

        def fill(connection, database):
            if "mode=rw" in database:
                [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
                connection.execute(f"PRAGMA max_page_count={pages + 2}")

        opens(fill)
        with pytest.raises(StorageUnusable, match="make room on its disk"):
            opened(old)
        assert content(old) == before

    def test_no_room_for_the_backup(self, old, monkeypatch):
        """Nothing is changed; half a backup is no backup, and in nobody's way later."""
        before = content(old)
        fsync = os.fsync

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageUnusable, match="No space left on device"):
            opened(old)
        assert content(old) == before
        assert not old.with_name("leases.sqlite.schema-1").exists()
        [half] = old.parent.glob("*.part")
        half.write_bytes(half.read_bytes()[:5000])
        monkeypatch.setattr(os, "fsync", fsync)
        opened(old)
        assert content(old.with_name("leases.sqlite.schema-1")) == before
        assert not list(old.parent.glob("*.part"))

    def test_nothing_is_made_of_a_damaged_file(self, old):
        """No backup that nobody can read, and no upgrade."""
        with closing(sqlite3.connect(old)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        data = damage(old)
        with pytest.raises(StorageUnusable, match=r"damaged.*backup.*\.recover"):
            opened(old)
        assert old.read_bytes() == data
        assert sorted(each.name for each in old.parent.iterdir()) == [
            "leases.sqlite",
            "leases.sqlite.lock",
        ]

    def test_everything_is_there(self, old):
        """Leases, reservations; and from now on the journal."""
        disk = Disk(old)
        lease = disk.storage.index.leases[ip("192.0.2.10")]
        assert (lease.hostname, lease.expires) == ("laptop", 5000.0)
        [kept] = disk.storage.reservations(None, 10, None)
        assert kept.settings.options == {6: b"\1\2\3\4"}
        assert disk.kinds() == []
        assert disk.bind(FakeClient()).yiaddr == ip("192.0.2.10")
        assert disk.kinds() == ["renewed"]
        disk.close()
        assert version(old) == SCHEMA
        opened(old)

    def test_the_same_as_a_new_one(self, old, tmp_path):
        """Whoever upgrades has what whoever begins has."""
        new = tmp_path / "new.sqlite"
        opened(new)
        opened(old)
        ask = "SELECT name, sql FROM sqlite_master ORDER BY name"

        def tables(path):
            return [
                (n, re.sub(r"\s*--.*", "", sql or "")) for n, sql in rows(path, ask)
            ]

        assert tables(old) == tables(new)
        assert rows(old, "SELECT * FROM indexed") == [(0,)]

    def test_a_backup_first(self, old):
        """As it was, and nobody else's to read."""
        before = rows(old)
        opened(old)
        backup = old.with_name("leases.sqlite.schema-1")
        assert (rows(backup), version(backup)) == (before, 1)
        assert backup.stat().st_mode & 0o137 == 0
        assert not list(old.parent.glob("*.part"))

    def test_whole_or_absent(self, old, monkeypatch):
        """Whatever statement it fails at: the file is as it was, and can be tried again."""
        script = (Path(sqlite_schema.__file__).parent / "schemas").joinpath(
            f"sqlite-upgrade-{SCHEMA}.sql"
        )
        statements = script.read_text().split(";\n")
        before = rows(old), rows(old, "SELECT sql FROM sqlite_master")

        class Broken:
            def __init__(self, count):
                self.text = ";\n".join([*statements[:count], "THIS IS NO SQL;"])

            def joinpath(self, *_):
                return self

            def read_text(self, _):
                return self.text

        with monkeypatch.context() as patch:
            for count in range(len(statements)):
                patch.setattr(sqlite_schema, "files", lambda _, n=count: Broken(n))
                with pytest.raises(StorageUnusable):
                    opened(old)
                assert version(old) == 1
                after = rows(old), rows(old, "SELECT sql FROM sqlite_master")
                assert after == before
        opened(old)
        assert version(old) == SCHEMA

    def test_no_backup_no_upgrade(self, old):
        """Where the copy cannot be made, nothing is touched."""
        old.with_name("leases.sqlite.schema-1.part").mkdir()
        with pytest.raises(StorageUnusable, match="cannot be used"):
            opened(old)
        assert version(old) == 1


def damage(path):
    """Break a page of leases; what the file is then."""
    [(page,)] = rows(path, "SELECT rootpage FROM sqlite_master WHERE name='lease'")
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    data[(page - 1) * size : (page - 1) * size + 64] = b"\xa5" * 64
    path.write_bytes(data)
    return data


@contextmanager
def locked_by_a_process(path):
    """Another program that writes, and takes its time."""
    script = (
        "import sqlite3, sys; file = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "file.execute('BEGIN IMMEDIATE'); print('locked', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


class TestRefused:
    """What is not ours, or not whole, is left as it is; the message says what to do."""

    def test_newer(self, path):
        """It names the backup that the newer version made."""
        opened(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
        before = path.read_bytes()
        with pytest.raises(StorageUnusable, match=f"leases.sqlite.schema-{SCHEMA}"):
            opened(path)
        assert path.read_bytes() == before

    def test_foreign(self, path):
        """Another program's database: not a byte is changed."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE photos (name)")
        before = path.read_bytes()
        with pytest.raises(StorageUnusable, match="not a lease file of dhcptwist"):
            opened(path)
        assert path.read_bytes() == before

    def test_foreign_and_in_use(self, path, tmp_path):
        """Its log stays where it is, too: its program wants it."""
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE photos (name)")
            connection.commit()
            for end in ("", "-wal"):
                shutil.copy(f"{path}{end}", crashed / f"leases.sqlite{end}")
        theirs = [crashed / f"leases.sqlite{end}" for end in ("", "-wal")]
        before = [each.read_bytes() for each in theirs]
        with pytest.raises(StorageUnusable, match="not a lease file of dhcptwist"):
            opened(theirs[0])
        assert [each.read_bytes() for each in theirs] == before

    def test_foreign_and_empty(self, path):
        """It has no tables yet, but it says whose it is."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA application_id=77")
        before = path.read_bytes()
        with pytest.raises(StorageUnusable, match="not a lease file of dhcptwist"):
            opened(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "text", [b"my leases, by hand\n" * 100, b"\0" * 4096, b"SQLite format 3\0" * 9]
    )
    def test_no_database(self, path, text):
        """Text, nothing, or something that only begins well."""
        path.write_bytes(text)
        with pytest.raises(StorageUnusable, match=f"{path} is no SQLite file; name an"):
            opened(path)
        assert path.read_bytes() == text

    def test_without_its_tables(self, path):
        """Somebody has dropped one: that is said, and not mended silently."""
        opened(path)
        for table in ("journal", "lease"):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"DROP TABLE {table}")
            with pytest.raises(StorageUnusable, match=f"no such table: {table}"):
                opened(path)

    def test_damaged(self, path):
        """A page of leases is broken: a backup, or what can be saved."""
        disk = Disk(path)
        disk.bind(FakeClient())
        disk.close()
        data = damage(path)
        with pytest.raises(StorageUnusable, match=r"damaged.*backup.*\.recover"):
            opened(path)
        assert path.read_bytes() == data

    def test_damaged_where_it_can_still_be_read(self, path):
        """Two rows have changed places: SQLite would give one of them to nobody."""
        disk = Disk(path)
        for n in range(3):
            disk.bind(FakeClient(f"02:00:00:00:00:0{n}"))
        disk.close()
        [(page,)] = rows(path, "SELECT rootpage FROM sqlite_master WHERE name='lease'")
        data = bytearray(path.read_bytes())
        size = int.from_bytes(data[16:18], "big")
        cells = (page - 1) * size + 8  # behind the header of a leaf
        data[cells : cells + 4] = data[cells + 2 : cells + 4] + data[cells : cells + 2]
        path.write_bytes(data)
        assert len(rows(path)) == 3
        with pytest.raises(StorageUnusable, match="is damaged"):
            opened(path)
        assert path.read_bytes() == data

    def test_cut_off(self, path):
        """Half a file."""
        disk = Disk(path)
        disk.bind(FakeClient())
        disk.close()
        path.write_bytes(path.read_bytes()[:6000])
        with pytest.raises(StorageUnusable, match=r"damaged|cannot be used"):
            opened(path)

    def test_a_directory(self, path):
        """That is a strange place."""
        path.mkdir()
        with pytest.raises(StorageUnusable, match="cannot be"):
            opened(path)

    def test_empty(self, path):
        """An empty file is a new one."""
        path.touch()
        opened(path)
        assert version(path) == SCHEMA

    def test_locked(self, path, monkeypatch):
        """Another program is writing: it is named as the reason."""
        monkeypatch.setattr("dhcptwist.storage.sqlite_file.PATIENCE", 0.01)
        path.touch()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StorageUnusable, match="locked by another program"):
                opened(path)
        opened(path)

    def test_locked_by_another_process(self, path, monkeypatch):
        """A file with leases in it, and somebody in the middle of a change: who waits?

        Reading it is possible, so the server starts; or it says what is wrong.
        """
        monkeypatch.setattr(sqlite_file, "PATIENCE", 0.0)
        disk = Disk(path)
        who = FakeClient()
        disk.bind(who)
        disk.close()
        with locked_by_a_process(path):
            disk = Disk(path, when=2000.0)
            disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
            disk.sync()
            assert disk.server.sent[-1].message.get("dhcp-lease-time") == 2600
        disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        disk.sync()
        assert disk.server.sent[-1].message.get("dhcp-lease-time") == 3600
        disk.close()


def ask_for_one(disk, number):
    """A new client takes an address; what it hears of its REQUEST."""
    new = FakeClient(f"02:00:00:00:00:{number:02x}")
    offer = disk.server.receive(new.message(DISCOVER)).message
    before = len(disk.server.sent)
    disk.server.receive(new.message(REQUEST, requested=offer.yiaddr, server=US))
    disk.sync()
    return [sent.message.type for sent in disk.server.sent[before:]]


class TestWhileItRuns:
    """What happens to the file under a running server."""

    @pytest.mark.parametrize(
        "what",
        ["locked", "taken away", "replaced by a copy", "replaced by an empty one"],
    )
    def test_whatever_happens_to_it(self, path, monkeypatch, complaints, what):
        """No new lease, what is left for the old; one line; and then all is well again."""
        monkeypatch.setattr(sqlite_file, "PATIENCE", 0.0)
        disk = Disk(path)
        who = FakeClient()
        disk.bind(who)
        disk.server.now += 600
        elsewhere = path.with_name("elsewhere")

        def meanwhile():
            for number in (2, 3):
                disk.tick()
                assert ask_for_one(disk, number) == []
                disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
                disk.sync()
                ack = disk.server.sent[-1].message
                left = 4600 - disk.server.now
                assert (ack.type, ack.get("dhcp-lease-time")) == (MessageType.ACK, left)
            revoked = disk.storage.revoke(ip("192.0.2.10"), disk.server.now, "admin")
            disk.sync()
            with pytest.raises(StorageFailure):
                answer(revoked)

        if what == "locked":
            with locked_by_a_process(path):
                meanwhile()
        else:
            path.rename(elsewhere)
            if what == "replaced by a copy":
                shutil.copy(elsewhere, path)
            elif what == "replaced by an empty one":
                path.touch()
            there = path.read_bytes() if path.exists() else None
            meanwhile()
            assert (path.read_bytes() if path.exists() else None) == there
            elsewhere.replace(path)
        assert ask_for_one(disk, 4) == [MessageType.ACK]
        disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        disk.sync()
        assert disk.server.sent[-1].message.get("dhcp-lease-time") == 3600
        written, tidied = [
            [each for each in complaints if f"could not be {done}" in each]
            for done in ("written", "tidied")
        ]
        assert len(written) == 1 >= len(tidied)
        assert len(complaints) == len(written + tidied), complaints
        assert ("locked" if what == "locked" else "taken away") in written[0]
        disk.close()
        assert len(rows(path)) == 2

    def test_a_reader_is_in_nobodys_way(self, path):
        """A shell or a backup that reads for as long as it likes."""
        disk = Disk(path)
        disk.bind(FakeClient())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM lease").fetchall()
            assert ask_for_one(disk, 2) == [MessageType.ACK]
            assert len(other.execute("SELECT * FROM lease").fetchall()) == 1
        disk.close()
        assert len(rows(path)) == 2

    def test_locked(self, path, monkeypatch, logged_failures):
        """New clients get silence, running ones what is on disk; then all is well."""
        monkeypatch.setattr("dhcptwist.storage.sqlite_file.PATIENCE", 0.01)
        disk = Disk(path)
        who = FakeClient()
        disk.bind(who)
        disk.server.now += 600
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            disk.server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
            disk.sync()
            assert disk.server.sent[-1].message.get("dhcp-lease-time") == 3000
            new = FakeClient("02:00:00:00:00:02")
            disk.server.receive(new.message(DISCOVER))
            taken = new.message(REQUEST, requested="192.0.2.11", server=US)
            disk.server.receive(taken)
            disk.sync()
            assert disk.server.sent[-1].message.type == MessageType.OFFER
        assert disk.bind(new).type == MessageType.ACK
        disk.close()

    def test_taken_away(self, path, logged_failures):
        """Nothing is promised that nobody would find again; put back, it goes on."""
        disk = Disk(path)
        who = FakeClient()
        disk.bind(who)
        elsewhere = path.with_name("moved")
        path.rename(elsewhere)
        new = FakeClient("02:00:00:00:00:02")
        disk.server.receive(new.message(DISCOVER))
        taken = new.message(REQUEST, requested="192.0.2.11", server=US)
        disk.server.receive(taken)
        disk.sync()
        assert disk.server.sent[-1].message.type == MessageType.OFFER
        assert not path.exists()
        elsewhere.rename(path)
        assert disk.bind(new).type == MessageType.ACK
        disk.close()
        assert len(rows(path)) == 2

    @pytest.mark.parametrize("watched", [False, True])
    def test_the_log_taken_for_left_over(self, path, watched):
        """What was in it is written back, whoever has the file open; nothing is lost."""
        disk = Disk(path)
        disk.bind(FakeClient())
        other = sqlite3.connect(path)
        if watched:
            assert len(other.execute("SELECT * FROM lease").fetchall()) == 1
        path.with_name("leases.sqlite-wal").unlink()
        assert disk.bind(FakeClient("02:00:00:00:00:02")).type == MessageType.ACK
        copy = path.with_name("copy.sqlite")
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{copy}{end}")
        assert len(rows(copy)) == 2
        other.close()
        disk.close()

    def test_replaced(self, path, logged_failures):
        """Another file in its place is not written to."""
        disk = Disk(path)
        disk.bind(FakeClient())
        path.unlink()
        path.write_bytes(b"")
        new = FakeClient("02:00:00:00:00:02")
        disk.server.receive(new.message(DISCOVER))
        taken = new.message(REQUEST, requested="192.0.2.11", server=US)
        disk.server.receive(taken)
        disk.sync()
        assert disk.server.sent[-1].message.type == MessageType.OFFER
        assert path.read_bytes() == b""
        with pytest.raises(FileNotFoundError, match="replaced by another file"):
            disk.storage.journal._file.tidy(0.0, 0.0)
        disk.close()


@contextmanager
def small_disk(place, size):
    """A file system of its own; it needs root."""
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.integration
class TestDisks:
    """Disks as they are: full, or for reading only."""

    def test_read_only(self, tmp_path):
        """A start says what is wrong, whether or not there is a file already."""
        with small_disk(tmp_path / "disk", "4m") as place:
            path = place / "leases.sqlite"
            disk = Disk(path)
            disk.bind(FakeClient())
            disk.close()
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
            for each in (path, place / "new" / "leases.sqlite"):
                with pytest.raises(StorageUnusable, match=r"[Rr]ead-only file system"):
                    opened(each)
            subprocess.run(["mount", "-o", "remount,rw", place], check=True)
            opened(path)
            assert len(rows(path)) == 1

    def test_not_ours(self):
        """Somebody else owns the file: it says so, and which."""
        with TemporaryDirectory() as place:
            path = Path(place) / "leases.sqlite"
            opened(path)
            path.parent.chmod(0o755)
            path.chmod(0o600)
            path.with_name("leases.sqlite.lock").chmod(0o666)
            os.seteuid(65534)
            try:
                with pytest.raises(
                    StorageUnusable, match=f"Permission denied: '{path}'"
                ):
                    opened(path)
            finally:
                os.seteuid(0)
            opened(path)

    def test_an_upgrade_without_room(self, old, tmp_path):
        """For the backup, or for the new tables: the file stays as it was, and old."""
        before = content(old)
        with small_disk(tmp_path / "disk", "192k") as place:
            path = shutil.copy(old, place / "leases.sqlite")
            ballast = place / "ballast"
            refused = 0
            for size in range(0, 168, 8):
                ballast.write_bytes(bytes(size << 10))
                why = ""
                try:
                    opened(path)
                except StorageUnusable as error:
                    why = str(error)
                # There may be no room to look at it here.
                aside = tmp_path / "aside"
                shutil.rmtree(aside, ignore_errors=True)
                shutil.copytree(place, aside)
                if why:
                    refused += 1
                    # The last one is what SQLite says if it has no room for its index.
                    assert re.search("make room|No space left|disk I/O error", why)
                    assert content(aside / path.name) == before
                else:
                    assert content(aside / "leases.sqlite.schema-1") == before
                for each in place.iterdir():
                    each.unlink()
                shutil.copy(old, path)
            assert 5 < refused < 19

    @pytest.mark.timeout(120)
    def test_a_disk_that_fills_up_under_a_server(self, make_site, tmp_path):
        """No ACK without its row; who has a lease keeps it; with room again all goes on."""
        site = make_site()
        granted = {}

        def ask(number, address=None):
            """A client's REQUEST: the ACK, or None; all that were heard are noted."""
            who = site.client(number)
            if address is None:
                relay.send(who.message(DISCOVER))
                offer = relay.receive()
                address = offer.yiaddr
            wanted = {50: address.to_bytes(4, "big")}
            relay.send(who.message(REQUEST, options=wanted))
            ack = relay.receive(2.0)
            if ack is not None:
                assert (ack.type, ack.chaddr) == (MessageType.ACK, who.hardware[1:])
                granted[ack.chaddr] = ack.yiaddr
            return ack

        with small_disk(site.state, "2m"):
            site.start()
            relay = site.relay()
            holder = ask(1)
            place = site.state / "ballast"
            with place.open("wb", buffering=0) as ballast, suppress(OSError):
                while ballast.write(bytes(4096)):
                    pass
            number = 2
            while ask(number) is not None:
                number += 1
                assert number < 200, "the disk is not full"
            known = dict(granted)
            assert ask(number + 1) is None
            left = ask(1, holder.yiaddr).get("dhcp-lease-time")
            assert 3500 < left < 3600
            assert granted == known
            # As a crash now would leave it.
            aside = shutil.copytree(site.state, tmp_path / "aside")
            leased = "SELECT substr(hardware, 2), address FROM lease WHERE state = 2"
            assert granted.items() <= dict(rows(aside / path_of(site), leased)).items()
            place.unlink()
            for more in range(number, number + 5):
                assert ask(more).get("dhcp-lease-time") == 3600
            assert ask(1, holder.yiaddr).get("dhcp-lease-time") == 3600
            site.kill()
            relay.socket.close()
            site.start()
            relay = site.relay()
            for chaddr, address in dict(granted).items():
                assert ask(int.from_bytes(chaddr, "big") & 0xFFFF, address) is not None
            assert site.log.count("could not be written") == 1
            assert "Traceback" not in site.log
            site.stop()


def path_of(site):
    """The name of a site's lease file."""
    return site.config.storage.partition(":")[2]
