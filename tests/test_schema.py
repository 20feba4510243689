"""The embedded storage's file: made, brought up to date, or refused as it is."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from disks import US, Disk

from dhcptwist.storage import sqlite_schema
from dhcptwist.storage.sqlite_file import SQLiteFile
from dhcptwist.storage.sqlite_schema import APPLICATION_ID, SCHEMA, StorageUnusable
from dhcptwist.testing import FakeClient, ip
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


class TestUpgrade:
    """From the first version to this one."""

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


class TestRefused:
    """What is not ours, or not whole, is left as it is; the message says what to do."""

    def test_newer(self, path):
        """It names the backup that the newer version made."""
        opened(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
        with pytest.raises(StorageUnusable, match=f"leases.sqlite.schema-{SCHEMA}"):
            opened(path)

    def test_foreign(self, path):
        """Another program's database: not a byte is changed."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE photos (name)")
        before = path.read_bytes()
        with pytest.raises(StorageUnusable, match="not a lease file of dhcptwist"):
            opened(path)
        assert path.read_bytes() == before

    def test_damaged(self, path):
        """A page of leases is broken: a backup, or what can be saved."""
        disk = Disk(path)
        disk.bind(FakeClient())
        disk.close()
        [(page,)] = rows(path, "SELECT rootpage FROM sqlite_master WHERE name='lease'")
        data = bytearray(path.read_bytes())
        size = int.from_bytes(data[16:18], "big")
        data[(page - 1) * size : (page - 1) * size + 64] = b"\xa5" * 64
        path.write_bytes(data)
        with pytest.raises(StorageUnusable, match=r"damaged.*backup.*\.recover"):
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


class TestWhileItRuns:
    """What happens to the file under a running server."""

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

    def test_the_log_taken_for_left_over(self, path):
        """What was in it is written back; nothing that was ACKed is lost."""
        disk = Disk(path)
        disk.bind(FakeClient())
        path.with_name("leases.sqlite-wal").unlink()
        assert disk.bind(FakeClient("02:00:00:00:00:02")).type == MessageType.ACK
        copy = path.with_name("copy.sqlite")
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{copy}{end}")
        assert len(rows(copy)) == 2
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
