"""Watching: in order, resumable, filtered, and no faster than the watcher."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from ipaddress import IPv4Network

import pytest
import pytest_twisted
from test_control import World
from twisted.internet.task import deferLater
from twisted.protocols import amp

from dhcptwist.control import commands, recent
from dhcptwist.control.client import NoServer
from dhcptwist.control.errors import InvalidRequest, NotPermitted, NotSupported
from dhcptwist.lease import EventKind, Lease
from dhcptwist.storage.sqlite import SQLiteStorage
from dhcptwist.testing import FakeClient, ip, network


FIRST = "192.0.2.10"
NEAR = IPv4Network("192.0.2.10/31")


async def soon(wanted, patience=300):
    """Wait until something is so."""
    from twisted.internet import reactor

    while not wanted():
        patience -= 1
        assert patience, "it never came"
        await deferLater(reactor, 0.01)


async def rest():
    """Let come what may come."""
    from twisted.internet import reactor

    await deferLater(reactor, 5 * recent.PAUSE)


async def some(watch, count):
    """The next events."""
    return [await anext(watch) for _ in range(count)]


def happen(world, count, address=FIRST):
    """So many leases begin, each at the next address."""
    first, journal = ip(address), world.storage.journal
    for number in range(count):
        lease = Lease(first + number, key=b"\1\2\3", since=1.0, expires=2.0)
        journal.keep(None, 1000.0, [(EventKind.BOUND, lease)])


def what(events):
    """What happened where."""
    return [(each["kind"], each["address"]) for each in events]


@pytest.fixture
def world():
    """A pool in memory."""
    return World(
        roles=[("near", {"list"}, (NEAR,)), ("blind", {"status"}, ())],
    )


@pytest.fixture
def kept(tmp_path):
    """One whose events are kept, written by a real thread."""
    from twisted.internet import reactor

    storage = SQLiteStorage(network(), tmp_path / "leases.sqlite", reactor)
    storage.start(1000.0)
    made = World(storage=storage)
    yield made
    pytest_twisted.blockon(storage.stop())


class TestLive:
    """From now on."""

    @pytest_twisted.ensureDeferred
    async def test_what_happens(self, world):
        """Each change, once, in order, with what a program needs to know."""
        admin, other = world.client(), world.client()
        watch = await admin.watch()
        assert watch.number == 0
        who = FakeClient()
        world.bind(who)
        await other.revoke(FIRST)
        await other.reserve("192.0.2.12", client_id="box", source="ipam")
        found = await some(watch, 3)
        assert what(found) == [
            ("bound", FIRST),
            ("revoked", FIRST),
            ("reserved", "192.0.2.12"),
        ]
        assert [each["number"] for each in found] == [1, 2, 3]
        assert [each["by"] for each in found] == ["packet", "admin", "admin"]
        assert found[0]["hardware"] == "02:00:00:00:00:01"
        await rest()
        assert not admin._protocol.batches._queue.pending  # each comes once
        # The last one has not been looked at before the next one is asked for.
        assert watch.number == 2
        await admin.close()
        with pytest.raises(NoServer):
            await anext(watch)
        assert watch.number == 3
        await other.close()

    @pytest_twisted.ensureDeferred
    async def test_kinds(self, world):
        """Only what is asked for; the others count all the same."""
        admin = world.client()
        watch = await admin.watch(kinds=["revoked", "released"])
        world.bind(FakeClient())
        await admin.revoke(FIRST)
        assert what(await some(watch, 1)) == [("revoked", FIRST)]
        await admin.close()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"kinds": ["bound", "taken"]}, "kinds: 'taken' is none of bound, renewed"),
            ({"kinds": "bound"}, "kinds: must be a list of words"),
            ({"kinds": [1]}, "kinds: must be a list of words"),
            ({"after": -1}, "after: must be from 0 to 0, the latest event"),
            ({"after": 1}, "after: must be from 0 to 0, the latest event"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_wrong(self, world, given, words):
        """It is said, and the connection may still watch."""
        admin = world.client()
        with pytest.raises(InvalidRequest, match=words):
            await admin.watch(**given)
        watch = await admin.watch()
        world.bind(FakeClient())
        assert what(await some(watch, 1)) == [("bound", FIRST)]
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_twice(self, world):
        """A connection watches once."""
        admin = world.client()
        await admin.watch()
        with pytest.raises(InvalidRequest, match="watches already; open another"):
            await admin.watch()
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_who_may(self, world):
        """A role sees what is in its networks."""
        near, blind = world.client("near"), world.client("blind")
        with pytest.raises(NotPermitted):
            await blind.watch()
        watch = await near.watch()
        for n in range(4):
            world.bind(FakeClient(f"02:00:00:00:01:0{n}"))
        happen(world, 1)
        addresses = [each["address"] for each in await some(watch, 3)]
        assert addresses == [FIRST, "192.0.2.11", FIRST]
        await near.close()
        await blind.close()

    @pytest_twisted.ensureDeferred
    async def test_nobody_listens_any_more(self, world):
        """When the last one has gone nothing is kept for anybody."""
        one, two = world.client(), world.client()
        for each in (one, two):
            await each.watch()
        journal = world.storage.journal
        assert len(journal._listeners) == 1
        happen(world, 3)
        for left, each in ((1, one), (0, two)):
            await each.close()
            await soon(lambda left=left: len(journal._listeners) == left)
        assert not world.control.recent._events
        await rest()

    @pytest_twisted.ensureDeferred
    async def test_one_that_does_not_know_events(self, world):
        """It is told no more; the connection stays."""
        admin = world.client()
        admin._protocol.locateResponder = lambda _: None
        await admin.watch()
        happen(world, 1)
        await rest()
        assert (await admin.status())["version"] == "1"
        await admin.close()


class TestSlow:
    """One that does not look costs bounded memory, and is never deceived."""

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_kept(self, world, monkeypatch):
        """What nobody keeps is lost; how much, it is told."""
        monkeypatch.setattr(recent, "MOST", 50)
        world = World()
        admin = world.client()
        watch = await admin.watch()
        happen(world, 1)
        await rest()  # that is on its way, and not answered
        happen(world, 120, "192.0.2.20")
        assert len(world.control.recent._events) == 50
        first, lost, *others = await some(watch, 52)
        assert first["number"] == 1
        assert lost == {"kind": "lost", "number": 71, "lost": 70}
        assert [each["number"] for each in others] == list(range(72, 122))
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_the_journal_has_it(self, kept):
        """What is no longer in memory is read from the disk, page by page."""
        admin = kept.client()
        watch = await admin.watch()
        count = 2 * recent.MOST
        happen(kept, count)
        found = await some(watch, count)
        assert [each["number"] for each in found] == list(range(1, count + 1))
        addresses = [each["address"] for each in found]
        assert addresses[:2] == [FIRST, "192.0.2.11"]
        assert len(set(addresses)) == count
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_one_batch_at_a_time(self, world):
        """The next one comes when the last one was looked at."""
        admin = world.client()
        watch = await admin.watch()
        told = []
        put = admin._protocol.batches.put
        admin._protocol.batches.put = lambda *given: told.append(given) or put(*given)
        happen(world, 1000)
        await rest()
        assert len(told) == 1
        await some(watch, len(told[0][0]) + 1)
        await rest()
        assert len(told) == 2
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_long_names(self, kept):
        """A batch fits into a message, whatever clients call themselves."""
        admin = kept.client()
        watch = await admin.watch()
        journal = kept.storage.journal
        for number in range(300):
            lease = Lease(
                number + 1, key=b"\0" * 255, hostname="\N{GRINNING FACE}" * 255
            )
            journal.keep(None, 1000.0, [(EventKind.BOUND, lease)])
        found = await some(watch, 300)
        assert [each["number"] for each in found] == list(range(1, 301))
        await admin.close()


class TestResume:
    """From an event that was seen before."""

    @pytest_twisted.ensureDeferred
    async def test_after(self, kept):
        """Everything behind it, then what happens."""
        admin = kept.client()
        for n in range(3):
            await admin.reserve(f"192.0.2.{10 + n}", client_id=f"c{n}")
        for after, expected in ((0, [1, 2, 3, 4]), (2, [3, 4]), (3, [4])):
            client = kept.client()
            watch = await client.watch(after)
            if after == 0:
                early = await some(watch, 3)
                await admin.reserve("192.0.2.13", client_id="c3")
                found = early + await some(watch, 1)
            else:
                found = await some(watch, len(expected))
            assert [each["number"] for each in found] == expected
            await client.close()
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_again_and_again(self, kept):
        """Whoever comes back with its number misses nothing, and gets nothing twice."""
        happen(kept, 250)
        after, seen = 0, []
        while len(seen) < 250:
            client = kept.client()
            watch = await client.watch(after)
            found = await some(watch, min(60, 250 - len(seen)))
            seen += [each["number"] for each in found]
            after = seen[-1]
            await client.close()
            happen(kept, 1)
        assert seen == list(range(1, 251))

    @pytest_twisted.ensureDeferred
    async def test_forgotten(self, kept):
        """What the journal has forgotten is named, not passed over."""
        admin = kept.client()
        for n in range(4):
            await admin.reserve(f"192.0.2.{10 + n}", client_id=f"c{n}")
        path = kept.storage.journal.figures()["file"]
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("DELETE FROM journal WHERE number < 3")
        watch = await admin.watch(1)
        lost, *found = await some(watch, 3)
        assert lost == {"kind": "lost", "number": 2, "lost": 1}
        assert [each["number"] for each in found] == [3, 4]
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_while_it_is_read(self, kept, monkeypatch):
        """What happens while the journal is asked is told without waiting for more."""
        happen(kept, 1)
        await soon(lambda: kept.storage.last_event() == 1)
        storage = kept.control._storage

        async def nothing(*_):
            monkeypatch.undo()
            happen(kept, 1)
            await soon(lambda: kept.storage.last_event() == 2)
            return []

        monkeypatch.setattr(storage, "events", nothing)
        admin = kept.client()
        watch = await admin.watch(0)
        assert [each["number"] for each in await some(watch, 2)] == [1, 2]
        await admin.close()

    @pytest_twisted.ensureDeferred
    async def test_the_journal_cannot_be_read(self, kept, monkeypatch, logged_failures):
        """The watcher is not left to wait for ever: it may come back."""

        async def broken(*_):
            raise OSError(5, "Input/output error")

        happen(kept, 1)
        await soon(lambda: kept.storage.last_event() == 1)
        monkeypatch.setattr(kept.control._storage, "events", broken)
        admin = kept.client()
        watch = await admin.watch(0)
        with pytest.raises(NoServer):
            await anext(watch)
        assert len(logged_failures.flush(OSError)) == 1
        monkeypatch.undo()
        again = kept.client()
        assert len(await some(await again.watch(watch.number), 1)) == 1
        await again.close()

    @pytest_twisted.ensureDeferred
    async def test_not_kept(self, world):
        """A storage without a journal says so."""
        one, two = world.client(), world.client()
        await one.watch()
        world.bind(FakeClient())
        with pytest.raises(NotSupported, match="keeps no events"):
            await two.watch(0)
        await two.watch(1)
        for each in (one, two):
            await each.close()

    @pytest_twisted.ensureDeferred
    async def test_the_contract(self, world):
        """In any language: the answer first, then calls that are to be answered."""
        happen(world, 1)
        client = world.client()
        protocol = client._protocol
        boxes = []
        receive = protocol.ampBoxReceived
        protocol.ampBoxReceived = lambda box: boxes.append(box) or receive(box)
        assert await protocol.callRemote(commands.WatchEvents) == {"number": 0}
        happen(world, 2)
        await soon(lambda: len(boxes) == 2)
        assert boxes[0][amp.ANSWER] == b"1"
        assert boxes[1][amp.COMMAND] == b"Events"
        assert boxes[1][b"number"] == b"2"
        assert len(json.loads(boxes[1][b"events"])) == 2
        await client.close()


class TestProgram:
    """``dhcpctl watch``, as a program of its own."""

    @pytest.fixture
    def site(self, make_site):
        """A server that keeps its events."""
        made = make_site(listen="unix:control.sock:mode=600")
        made.start()
        return made

    @staticmethod
    def ctl(site, *words, **keys):
        """Run it until it ends, or else let it run."""
        command = [sys.executable, "-m", "dhcptwist.ctl", "--state", str(site.state)]
        keys = {"env": site.environment, "text": True, "cwd": site.directory, **keys}
        if "stdout" in keys:
            return subprocess.Popen([*command, *words], **keys)
        return subprocess.run(
            [*command, *words], capture_output=True, timeout=60, check=False, **keys
        )

    def reserve(self, site, *numbers):
        """Something happens."""
        for number in numbers:
            done = self.ctl(
                site, "reserve", f"127.7.0.{number}", "--client-id", f"c{number}"
            )
            assert done.returncode == 0, done.stderr

    def test_lines(self, site):
        """For people, or one JSON document each."""
        self.reserve(site, 20, 21)
        done = self.ctl(site, "watch", "--after", "0", "--count", "2")
        assert done.returncode == 0
        first, second = done.stdout.splitlines()
        assert first.startswith("1  ")
        assert "reserved   127.7.0.20       c20 by admin" in first
        assert "127.7.0.21" in second
        done = self.ctl(site, "--json", "watch", "--after", "1", "--count", "1")
        assert json.loads(done.stdout)["address"] == "127.7.0.21"

    def test_a_program_for_each(self, site):
        """In order, with what happened in its environment; no shell reads it."""
        self.reserve(site, 20, 21, 22)
        script = (
            "import os, sys; print(sys.argv[1], os.environ['DHCPTWIST_NUMBER'],"
            " os.environ['DHCPTWIST_KIND'], os.environ['DHCPTWIST_ADDRESS'],"
            " os.environ['DHCPTWIST_CLIENT_ID'], sys.stdin.read() == '', flush=True);"
            " sys.exit(os.environ['DHCPTWIST_ADDRESS'] == '127.7.0.21')"
        )
        done = self.ctl(
            site,
            *("watch", "--after", "0", "--count", "3"),
            *("--exec", sys.executable, "-c", script, "$HOME; *"),
        )
        assert done.returncode == 0
        assert done.stdout.splitlines() == [
            f"$HOME; * {n} reserved 127.7.0.{19 + n} c{19 + n} True" for n in (1, 2, 3)
        ]
        assert "ended with exit code 1 for event 2" in done.stderr

    def test_several_at_once(self, site):
        """As many as --jobs allows, and no more."""
        self.reserve(site, *range(20, 28))
        script = (
            "import os, pathlib, time; here = pathlib.Path('running');"
            " here.mkdir(exist_ok=True); mine = here / str(os.getpid()); mine.touch();"
            " os.write(1, b'%d\\n' % len(list(here.iterdir()))); time.sleep(0.3);"
            " mine.unlink()"
        )
        done = self.ctl(
            site,
            *("watch", "--after", "0", "--count", "8", "--jobs", "3"),
            *("--exec", sys.executable, "-c", script),
        )
        running = list(map(int, done.stdout.split()))
        assert len(running) == 8
        assert 1 < max(running) <= 3

    @pytest.mark.parametrize(
        ("words", "code", "why"),
        [
            (["--exec", "./not-there"], 2, "--exec: there is no program ./not-there"),
            (["--count", "0"], 2, "'0' is not a whole number above 0"),
            (["--kind", "taken"], 2, "invalid choice: 'taken'"),
            (["--after", "9"], 1, "after: must be from 0 to 0, the latest event"),
        ],
    )
    def test_wrong(self, site, words, code, why):
        """One sentence, and an exit code."""
        done = self.ctl(site, "watch", *words)
        assert done.returncode == code
        assert why in done.stderr
        assert "Traceback" not in done.stderr

    def test_the_server_is_started_again(self, site):
        """It comes back to it, and nothing is missed in between."""
        watching = self.ctl(
            site,
            *("--json", "watch", "--count", "2"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            while "watches" not in site.log:
                assert watching.poll() is None
            self.reserve(site, 20)
            assert json.loads(watching.stdout.readline())["number"] == 1
            site.stop()
            assert "waiting for it to come back" in watching.stderr.readline()
            site.start()
            self.reserve(site, 21)
            assert json.loads(watching.stdout.readline())["number"] == 2
            assert watching.wait(20) == 0
        finally:
            watching.kill()
            watching.communicate()

    def test_nobody_there(self, make_site):
        """Who is not there in the first place is not waited for."""
        site = make_site(listen="unix:control.sock:mode=600")
        done = self.ctl(site, "watch")
        assert done.returncode == 3
