"""Leases on their way in and out: the channel, the files, the report, the page."""

from __future__ import annotations

import gc
import io
import json
import re
import shlex
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from disks import Disk
from test_import import DATA, FIRST, NOW, ROOT, World, lease
from twisted.internet.task import Clock
from twisted.protocols import amp

from dhcptwist.config import Role, parse
from dhcptwist.control import commands, tables, transfer
from dhcptwist.control.answering import ControlServer
from dhcptwist.control.caller import Caller
from dhcptwist.control.client import NoServer
from dhcptwist.control.errors import (
    InvalidRequest,
    NotPermitted,
    NotSupported,
    StorageFailed,
)
from dhcptwist.control.importing import MOST_LEASES
from dhcptwist.control.server import Answers
from dhcptwist.leasefiles.rows import FIELDS
from dhcptwist.testing import answer, subnet


class Channel:
    """What `ControlClient` is to a transfer, without a network.

    Every call goes through AMP's boxes, so what is too long for one fails.
    """

    def __init__(self, world, name="admin", roles=()):
        control = ControlServer(
            world.storage,
            world.network,
            lambda: world.server.now,
            dict,
            [Role(role, frozenset(verbs), nets) for role, verbs, nets in roles],
            reactor=Clock(),
        )
        caller = Caller(name, control.roles.get(name))
        self._answers = Answers(control, lambda: caller)
        self.pages = []
        self.fails_at = {}

    def call(self, command, **given):
        """The answer of a command; it is there at once."""
        box = command.makeArguments(given, None)
        box[amp.ASK] = b"1"
        box.serialize()
        try:
            got = answer(self._answers.locateResponder(command.commandName)(box))
        except amp.RemoteAmpError as error:
            kinds = {code: kind for kind, code in commands.ERRORS.items()}
            raise kinds[error.errorCode].from_wire(error.description) from None
        got.serialize()
        return command.parseResponse(got, None)

    async def import_leases(self, leases, *, dry_run=False):
        """See `ControlClient.import_leases`."""
        if len(self.pages) in self.fails_at:
            raise self.fails_at[len(self.pages)]
        self.pages.append(leases)
        got = self.call(commands.ImportLeases, leases=leases, dry_run=dry_run)
        return got["verdicts"]

    async def leases(self, subnet=None):
        """See `ControlClient.leases`."""
        given = {"subnet": subnet} if subnet else {}
        while True:
            got = self.call(commands.ListLeases, **given)
            for each in got["leases"]:
                yield each
            if not got.get("next"):
                return
            given["after"] = got["next"]


def row(who, address="192.0.2.10", **more):
    """Write a row of `ImportLeases`."""
    return {
        "address": address,
        "state": "bound",
        "hardware": f"02:00:00:00:00:{who:02x}",
        "expires": NOW + 600,
        **more,
    }


def spread(n):
    """Give the address of the n-th of many, and a client that has few of them."""
    return n % 200, f"10.0.{1 + n // 200}.{n % 200}"


def jsonl(*rows):
    """Write rows as JSON lines."""
    return "".join(json.dumps(each) + "\n" for each in rows)


@pytest.fixture
def world():
    """One subnet with the addresses .10 to .13 to give."""
    return World()


@pytest.fixture
def large():
    """A subnet in which there is room."""
    return World(subnet("10.0.0.0/8", "10.0.1.0-10.200.0.0"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the channel ----------------------------------------------------------------------


class TestCommand:
    """`ImportLeases`: who may, and what comes of what is sent."""

    def ask(self, channel, rows, **more):
        """The verdicts."""
        return channel.call(commands.ImportLeases, leases=rows, **more)["verdicts"]

    def test_each_has_a_verdict(self, world):
        """In order, whatever is wrong with the others."""
        channel = Channel(world)
        rows = [row(1), 5, row(2), row(3, "192.0.2.11", state="lost")]
        rows.append(row(4, "10.0.0.1"))
        before = self.ask(channel, rows, dry_run=True)
        assert world.shown() == []
        verdicts = self.ask(channel, rows)
        assert verdicts == before
        assert verdicts[0] == "taken"
        assert verdicts[1] == "makes no sense: is not an object of names and values"
        assert verdicts[2] == "the address is in the list twice"
        assert verdicts[3].startswith("makes no sense: state 'lost' is none of")
        assert verdicts[4] == "in no subnet of this server"
        assert [each["hardware"] for each in world.shown()] == ["02:00:00:00:00:01"]

    def test_who_may(self, world):
        """The verb is ``import``, and a role's networks are its limits."""
        roles = [
            ("lister", {"list", "reserve"}, ()),
            ("here", {"import"}, (IPv4Network("192.0.2.12/31"),)),
        ]
        for name in ("lister", "nobody"):
            with pytest.raises(NotPermitted, match=f"'{name}' may not import"):
                self.ask(Channel(world, name, roles), [row(1)])
        verdicts = self.ask(
            Channel(world, "here", roles), [row(1), row(2, "192.0.2.12")]
        )
        assert verdicts == ["'here' may do nothing there", "taken"]
        assert [each["address"] for each in world.shown()] == ["192.0.2.12"]

    def test_the_verb_can_be_given(self):
        """In the configuration file."""
        config = parse("[control]\nlisten =\nrole x = import in 10.0.0.0/8\n")
        assert config.control.roles[0].verbs == {"import"}

    @pytest.mark.parametrize("rows", [{}, "x", None, [5] * (MOST_LEASES + 1)])
    def test_what_is_no_list(self, world, rows):
        """Or one that would hold up the packets."""
        with pytest.raises(InvalidRequest, match="must be a list of up to"):
            self.ask(Channel(world), rows)
        assert len(self.ask(Channel(world), [5] * MOST_LEASES)) == MOST_LEASES

    def test_storage_that_cannot(self, world):
        """A storage of another kind says so."""
        world.storage = object()
        with pytest.raises(NotSupported):
            self.ask(Channel(world), [row(1)])

    def test_storage_that_fails(self, tmp_path):
        """The caller gets the error, and nothing of the page is there."""
        disk = Disk(tmp_path / "leases.sqlite", when=NOW)
        channel = Channel(disk)
        box = commands.ImportLeases.makeArguments(
            {"leases": [row(1), row(2, "192.0.2.11")]}, None
        )
        box[amp.ASK] = b"1"
        for fault in (OSError(28, "No space left on device"), None):
            disk.fault = fault
            done = channel._answers.locateResponder(b"ImportLeases")(box.copy())
            assert not done.called  # not before it is on disk
            disk.sync()
            if fault is not None:
                with pytest.raises(amp.RemoteAmpError, match="No space left") as error:
                    answer(done)
                assert error.value.errorCode == StorageFailed.code
                assert disk.storage.index.leases == {}
        assert json.loads(answer(done)[b"verdicts"]) == ["taken", "taken"]
        assert len(disk.storage.index.leases) == 2
        assert [event.by for event in disk.events()] == ["admin", "admin"]
        disk.close()

    def test_hostname_is_printable(self, world):
        """Nobody's name moves a cursor, or adds a line to a log."""
        self.ask(Channel(world), [row(1, hostname="a\n\x1b[2J")])
        assert world.at().hostname == "a\\x0a\\x1b[2J"


# --- the command line's part ------------------------------------------------------------


def bring(channel, path, kind="auto", **more):
    """Import a file."""
    return answer(transfer.import_leases(channel, Path(path), kind, NOW, **more))


class TestImport:
    """Files in, reports out."""

    def test_report(self, world, here):
        """Everything is counted, and what needs a person is named."""
        world.take(lease(9, FIRST + 1, hostname="pc"))
        text = jsonl(
            row(1),
            row(2, "192.0.2.11"),
            row(3, "192.0.2.12", state="released"),
            row(4, "192.0.2.12", state="released"),  # the last word
            row(9, "192.0.2.11", expires=NOW + 1),  # and here, too
            row(5, "10.0.0.1", state="released"),
            row(6, "10.0.0.2"),
        )
        (here / "file").write_text(text + "\n{\n", "utf-8")
        report = bring(Channel(world), "file")
        assert (report.format, report.files) == ("jsonl", ["file"])
        assert (report.taken, report.known, report.ended) == (2, 1, 1)
        assert (report.conflicts, report.unreadable) == (1, 1)
        conflict, unreadable = report.problems
        assert (conflict.file, conflict.line) == ("file", 7)
        assert (conflict.address, conflict.client) == ("10.0.0.2", "02:00:00:00:00:06")
        assert conflict.reason == "in no subnet of this server"
        assert (unreadable.file, unreadable.line, unreadable.address) == ("file", 9, "")
        assert not report.is_good
        found = report.as_json()
        assert json.loads(json.dumps(found)) == found
        text = tables.report(found)
        for words in (
            r"read: +file \(jsonl\)$",
            r"taken: +2$",
            r"known already: +1$",
            r"ended: +1$",
            r"conflicts: +1$",
            r"unreadable lines: +1$",
            r"^7 +10.0.0.2 +02:00:00:00:00:06 +in no subnet of this server$",
            r"^9 +- +- +Expecting",
        ):
            assert re.search(words, text, re.MULTILINE), words
        assert "failed" not in text

    def test_dry_run(self, world, here):
        """It says what would be, and nothing is."""
        (here / "file").write_text(jsonl(row(1), row(2, "10.0.0.1")), "utf-8")
        report = bring(Channel(world), "file", dry_run=True)
        assert (report.taken, report.conflicts, report.dry_run) == (1, 1, True)
        assert world.shown() == []
        assert re.search(
            r"would be taken: +1$", tables.report(report.as_json()), re.MULTILINE
        )

    def test_all_is_well(self, world, here):
        """What is taken, known or ended is no reason to worry."""
        text = jsonl(row(1), row(2, "10.0.0.1", state="expired", expires=1.0))
        (here / "file").write_text(text, "utf-8")
        assert bring(Channel(world), "file").is_good
        report = bring(Channel(world), "file")
        assert report.is_good
        assert (report.taken, report.known, report.ended) == (0, 1, 1)

    @pytest.mark.parametrize("name", ["x" * 250, "ä" * 250, '"' * 250])
    def test_pages(self, large, here, name):
        """None is longer than AMP can send, whatever is in it."""
        rows = [row(*spread(n), hostname=name, client_id=f"c{n}") for n in range(1000)]
        (here / "file").write_text(jsonl(*rows), "utf-8")
        channel = Channel(large)
        assert bring(channel, "file").taken == 1000
        assert sum(map(len, channel.pages)) == 1000
        assert max(map(len, channel.pages)) <= 250
        assert len(channel.pages) < 100

    def test_a_clients_leases_go_together(self, large, here):
        """So that a dry run, too, sees which one lasts longest."""
        rows = [row(*spread(n), expires=NOW + n // 200) for n in range(600)]
        (here / "file").write_text(jsonl(*rows), "utf-8")
        channel = Channel(large)
        foretold = bring(channel, "file", dry_run=True)
        assert len(channel.pages) == 3
        assert (foretold.taken, foretold.conflicts, foretold.ended) == (200, 200, 200)
        assert bring(channel, "file").taken == 200
        assert all(each["address"].startswith("10.0.3.") for each in large.shown())

    def test_a_client_with_very_many(self, large, here):
        """It does not make a page too long."""
        rows = [row(1, spread(n)[1]) for n in range(1100)]
        (here / "file").write_text(jsonl(*rows), "utf-8")
        channel = Channel(large)
        bring(channel, "file")
        assert max(map(len, channel.pages)) <= 500

    @pytest.mark.parametrize(
        "error", [StorageFailed("the disk is full"), NoServer("gone")]
    )
    def test_it_fails_in_the_middle(self, large, here, error):
        """The report says how far it came; what was taken is known next time."""
        rows = [row(*spread(n), client_id=f"c{n:03}") for n in range(600)]
        (here / "file").write_text(jsonl(*rows), "utf-8")
        channel = Channel(large)
        channel.fails_at = {1: error}
        report = bring(channel, "file")
        assert report.failed == f"leases 251 to 500: {error}"
        assert (report.taken, report.missing, report.is_good) == (250, 350, False)
        text = tables.report(report.as_json())
        assert re.search(rf"failed: +leases 251 to 500: {error}$", text, re.MULTILINE)
        assert re.search(r"missing: +350$", text, re.MULTILINE)
        channel.fails_at = {}
        report = bring(channel, "file")
        assert (report.known, report.taken, report.failed) == (250, 350, "")

    def test_it_does_not_begin(self, world, here):
        """Without a server or a permission there is nothing to report."""
        (here / "file").write_text(jsonl(row(1)), "utf-8")
        channel = Channel(world)
        channel.fails_at = {0: NoServer("gone")}
        with pytest.raises(NoServer):
            bring(channel, "file")
        channel.fails_at = {0: NotPermitted("no")}
        with pytest.raises(NotPermitted):
            bring(channel, "file")
        channel.fails_at = {0: StorageFailed("full")}
        assert bring(channel, "file").missing == 1

    def test_many_problems(self, world, here, monkeypatch):
        """They are all counted; so many are named."""
        monkeypatch.setattr(transfer, "MOST_NAMED", 3)
        rows = jsonl(*(row(n, f"10.0.0.{n}") for n in range(1, 5)))
        (here / "file").write_text("{\n{\n" + rows, "utf-8")
        report = bring(Channel(world), "file")
        assert (report.unreadable, report.conflicts) == (2, 4)
        assert len(report.problems) == 3
        assert tables.report(report.as_json()).endswith("\nand 3 more")

    def test_parts_of_kea(self, world, here):
        """While Kea cleans up, its leases are in several files, each with its lines."""
        header = "address,hwaddr,client_id,valid_lifetime,expire,state\n"

        def line(who, address, lifetime=600):
            return f"{address},02:00:00:00:00:{who:02x},,{lifetime},1600,0\n"

        first, second = line(1, "192.0.2.10"), line(2, "192.0.2.11")
        (here / "k.csv.2").write_text(header + first + second)
        (here / "k.csv.1").write_text(header + line(1, "192.0.2.10", 0) + "x,,,,,\n")
        (here / "k.csv").write_text(header + line(3, "10.0.0.1"))
        report = bring(Channel(world), "k.csv")
        assert report.files == ["k.csv.2", "k.csv.1", "k.csv"]
        assert [each["hardware"][-1] for each in world.shown()] == ["2"]
        named = [(each.file, each.line) for each in report.problems]
        assert named == [("k.csv.1", 3), ("k.csv", 2)]
        text = tables.report(report.as_json())
        assert re.search(r"read: +k.csv.2, k.csv.1, k.csv \(kea\)$", text, re.MULTILINE)
        assert re.search(r"^k.csv.1:3 ", text, re.MULTILINE)

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"\xef\xbb\xbfaddress,state,hardware,hostname\n%sh\xc3\xa4\n", "hä"),
            (b"address,state,hardware,hostname\r\n%sh\xe4\r\n", "h\\xe4"),
        ],
    )
    def test_bytes(self, world, here, data, name):
        """Spreadsheets put a mark in front; not every name is UTF-8."""
        (here / "file").write_bytes(data % b"192.0.2.10,bound,02:00,")
        assert bring(Channel(world), "file").taken == 1
        assert world.at().hostname == name

    @pytest.mark.parametrize("enabled", [True, False])
    def test_the_collector_is_left_as_it_was(self, world, here, enabled):
        """It rests while a file is read."""
        (here / "file").write_text(jsonl(row(1)) + "{", "utf-8")
        was = gc.isenabled()
        try:
            (gc.enable if enabled else gc.disable)()
            bring(Channel(world), "file")
            assert gc.isenabled() is enabled
        finally:
            (gc.enable if was else gc.disable)()

    def test_lines_without_end(self, here):
        """A file of another kind does not fill the memory with one line."""
        (here / "file").write_bytes(b"x" * 300_000)
        assert max(map(len, transfer.Lines([Path("file")]))) < 70_000

    def test_unreadable_files(self, world, here):
        """The reason is told."""
        (here / "empty").touch()
        (here / "other").write_text("<html>")
        for name, why in (
            ("nowhere", "nowhere cannot be read: No such file"),
            (".", "cannot be read: Is a directory"),
            ("empty", "empty: there is nothing in it"),
            ("other", "other: it is none of the lease files"),
        ):
            with pytest.raises(ValueError, match=why):
                bring(Channel(world), name)
        assert bring(Channel(world), "empty", "dnsmasq").is_good
        assert bring(Channel(world), "other", "dnsmasq").unreadable == 1

    def test_a_disk_that_fails_while_it_is_read(self):
        """It is told as what it is."""

        class Failing:
            def readline(self, size):
                raise OSError(5, "Input/output error")

        with pytest.raises(ValueError, match="file cannot be read: Input/output error"):
            transfer._read_line(Failing(), Path("file"))


class TestExport:
    """Leases out, and in again."""

    def test_round_trip(self, large, here):
        """By pages; and what is exported is imported as it was."""
        states = ("bound", "released", "declined", "expired")
        rows = [
            row(
                *spread(n),
                client_id=f"c{n}",
                since=5.0,
                state=states[n % 4],
                expires=None if n % 8 == 0 else NOW + (50 if n % 4 in {0, 2} else -50),
                relay="0102abcd",
                hostname='a,"b',
            )
            for n in range(1200)
        ]
        (here / "file").write_text(jsonl(*rows), "utf-8")
        assert bring(Channel(large), "file").taken == 1200
        shown = large.shown()
        exported = {}
        for kind in ("jsonl", "csv"):
            export = transfer.export_file(Channel(large), Path(kind), kind, None)
            assert answer(export) == 1200
            other = World(*large.network.subnets)
            assert bring(Channel(other), kind).taken == 1200
            again = transfer.export_file(Channel(other), Path("again"), kind, None)
            assert answer(again) == 1200
            exported[kind] = (here / kind).read_text("utf-8")
            assert (here / "again").read_text("utf-8") == exported[kind]
        lines = exported["jsonl"].splitlines()
        assert [json.loads(line) for line in lines] == shown
        assert not list(here.glob("*.part"))

    def test_of_a_subnet(self):
        """Only what is in it."""
        world = World(subnet(), subnet("10.0.0.0/8", "", name="far"))
        world.take(lease(1), lease(2, FIRST + 1))
        out = io.StringIO()
        assert answer(transfer.export_leases(Channel(world), out, "jsonl", "far")) == 0
        assert answer(transfer.export_leases(Channel(world), out, "csv", "lan")) == 2
        head, *rest = out.getvalue().splitlines()
        assert head == ",".join(FIELDS)
        assert len(rest) == 2

    def test_is_whole_or_as_it_was(self, world, here):
        """Half of it would be taken for all there is."""
        (here / "file").write_text("before")
        world.take(lease(1))

        class Failing:
            async def leases(self, subnet):
                yield world.shown()[0]
                raise NoServer("gone")

        with pytest.raises(NoServer):
            answer(transfer.export_file(Failing(), Path("file"), "jsonl", None))
        assert (here / "file").read_text() == "before"
        assert [each.name for each in here.iterdir()] == ["file"]
        nowhere = transfer.export_file(
            Channel(world), Path("nowhere/file"), "csv", None
        )
        with pytest.raises(ValueError, match="nowhere/file cannot be written: No such"):
            answer(nowhere)


class TestProgress:
    """A bar for people, on a terminal only."""

    def test_reports(self, world, here):
        """Of reading in bytes, then of sending in leases."""
        lines = jsonl(*(row(n, f"10.0.0.{n}") for n in range(1, 255))) * 10
        (here / "file").write_text(lines, "utf-8")
        seen = []
        bring(Channel(world), "file", progress=lambda *each: seen.append(each))
        size = len(lines)
        assert [each[0] for each in seen] == ["reading"] * 2 + ["leases"] * 2
        assert seen[0][1] < seen[1][1] < size
        assert seen[0][2] == size
        assert seen[2:] == [("leases", 250, 254), ("leases", 254, 254)]

    def drawn(self, monkeypatch, *, terminal):
        """What is written on the error output."""
        out = io.StringIO()
        out.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", out)
        with tables.Progress() as progress:
            progress("reading", 10, 1000)
            progress("leases", 5, 20)
            progress("leases", 20, 20)
        return out.getvalue()

    def test_on_a_terminal(self, monkeypatch):
        """Both are drawn, to their end."""
        drawn = self.drawn(monkeypatch, terminal=True)
        assert "reading:" in drawn
        assert "leases: 100%" in drawn

    def test_elsewhere(self, monkeypatch):
        """Nothing is, into files and pipes."""
        assert self.drawn(monkeypatch, terminal=False) == ""

    def test_without_the_library(self, monkeypatch):
        """It is done all the same."""
        monkeypatch.setitem(sys.modules, "tqdm", None)
        assert self.drawn(monkeypatch, terminal=True) == ""


# --- the page -------------------------------------------------------------------------

MOVING = ROOT / "docs" / "moving.md"
THERE = {
    "/var/lib/dhcp/dhcpd.leases": "dhcpd.leases",
    "/var/lib/kea/kea-leases4.csv": "kea-leases4.csv",
    "/var/lib/misc/dnsmasq.leases": "dnsmasq.leases",
}


def test_page(make_site, tmp_path):
    """Every command of docs/moving.md does what it says, with real files."""
    site = make_site(listen="unix:control.sock:mode=600")
    for old, new in (("127.7.0.0/16", "192.168.100.0/24"), ("127.7.0", "192.168.100")):
        site.ini = site.ini.replace(old, new)
    site.start()
    lines = re.findall(r"^ {4,}dhcpctl (.*)$", MOVING.read_text("utf-8"), re.MULTILINE)
    assert set(THERE) <= {word for line in lines for word in shlex.split(line)}
    for line in lines:
        words = [
            str(DATA / THERE[word]) if word in THERE else word
            for word in shlex.split(line)
        ]
        done = subprocess.run(
            [sys.executable, "-m", "dhcptwist.ctl", "--state", str(site.state), *words],
            cwd=tmp_path,
            env=site.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        # The files' clients are the same ones, at other addresses; some may conflict.
        assert done.returncode in ({0, 1} if "import" in words else {0}), done
        assert re.fullmatch(r"(\d+ leases written to \S+\n)?", done.stderr), done
        if "import" in words:
            assert re.search(r"(taken|known already): +[1-9]", done.stdout), done.stdout
