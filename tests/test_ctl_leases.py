"""``dhcpctl history`` and ``dhcpctl leases export|import``, against a server in process."""

# ruff: noqa: F811 - a fixture that comes from another module is named like the argument

from __future__ import annotations

import json
import time
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import pytest_twisted
from test_control import World, every
from test_ctl import UNIX, ask, bind, dhcpctl, here, serve  # noqa: F401 - fixtures
from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from dhcptwist.control import commands, tables
from dhcptwist.control.errors import InvalidRequest, NotPermitted
from dhcptwist.interfaces import IHistory
from dhcptwist.lease import Event, EventKind
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import ip, network
from dhcptwist.wire import MessageType


FIRST = "127.7.0.10"
SECOND = "127.7.0.11"
LAPTOP = "02:00:00:00:00:01"


@pytest.fixture
def site(serve):
    """A server that keeps a journal."""
    return serve(storage="sqlite:leases.sqlite", listen=UNIX)


def moment(when):
    """A time as ``--at`` wants it."""
    return f"@{when!r}"


def written(name):
    """What a file of the working directory holds."""
    return Path(name).read_text(encoding="utf-8")


class TestHistory:
    """``dhcpctl history``."""

    @pytest_twisted.ensureDeferred
    async def test_table(self, ask, bind):
        """What happened, the latest last, with who caused it."""
        assert await bind(1, b"laptop") == FIRST
        await bind(1)
        await ask("revoke", FIRST)
        done = await ask("history", FIRST)
        assert (done.code, done.err) == (0, "")
        heads, *lines = done.out.splitlines()
        assert " ".join(heads.split()) == "WHEN WHAT ADDRESS CLIENT NAME UNTIL BY"
        today = datetime.now().astimezone().date().isoformat()
        rows = [line.split() for line in lines]
        assert all(row[0] == today for row in rows)
        assert [(row[2], row[3], row[4], row[-1]) for row in rows] == [
            ("bound", FIRST, LAPTOP, "packet"),
            ("renewed", FIRST, LAPTOP, "packet"),
            ("revoked", FIRST, LAPTOP, "admin"),
        ]
        assert rows[0][5] == "laptop"

    @pytest_twisted.ensureDeferred
    async def test_json(self, ask, bind, site):
        """The same for programs, with times in seconds."""
        begun = time.time()
        await bind(1, b"laptop")
        done = await ask("--json", "history", LAPTOP)
        [event] = done.json
        assert begun - 6 < event.pop("when") < time.time() + 6
        assert 3590 < event.pop("expires") - event.pop("since") < 3610
        assert event == {
            "number": 1,
            "kind": "bound",
            "address": FIRST,
            "hardware": LAPTOP,
            "client_id": "",
            "hostname": "laptop",
            "circuit_id": "",
            "remote_id": "",
            "by": "packet",
        }

    @pytest_twisted.ensureDeferred
    async def test_of_whom(self, ask, site):
        """An address, a hardware address, and an identifier find their own events."""
        relay = site.relay()
        named = site.client(1)
        named.identifier = b"\0printer"
        named.options[82] = b"\1\4eth1"
        await deferToThread(relay.bind, named)
        await deferToThread(relay.bind, site.client(2))
        for what in (FIRST, LAPTOP, "hex:007072696e746572"):
            [event] = (await ask("--json", "history", what)).json
            assert (event["address"], event["client_id"]) == (
                FIRST,
                "hex:007072696e746572",
            )
            assert (event["circuit_id"], event["remote_id"]) == ("eth1", "")
        assert len((await ask("--json", "history", SECOND)).json) == 1

    @pytest_twisted.ensureDeferred
    async def test_at(self, ask, bind, site):
        """Who had it then, in one line."""
        await bind(1, b"laptop")
        [event] = (await ask("--json", "history", FIRST)).json
        now = moment(time.time())
        for what in (FIRST, LAPTOP):
            done = await ask("history", what, "--at", now)
            assert (done.code, done.err) == (0, "")
            assert done.out.startswith(f"{FIRST} was leased to {LAPTOP} (laptop) from ")
            assert "; bound " in done.out
            assert done.out.count("\n") == 1
        [same] = (await ask("--json", "history", FIRST, "--at", now)).json
        assert same == event
        done = await ask("history", SECOND, "--at", now)
        assert (done.code, done.out) == (1, "")
        assert f"{SECOND}: nobody had it at " in done.err
        done = await ask("--json", "history", SECOND, "--at", now)
        assert (done.code, done.json) == (1, [])

    @pytest_twisted.ensureDeferred
    async def test_at_times_of_which_nothing_is_known(self, ask, bind):
        """It is no evidence that nobody had it: the times before the journal, and to come."""
        for begun in (False, True):
            done = await ask("history", FIRST, "--at", "2020-01-01 10:00")
            assert (done.code, done.out) == (1, "")
            assert "not known: history begins at " in done.err
            assert tables.clock(time.time())[:10] in done.err
            if not begun:
                await bind(1)
        done = await ask("history", FIRST, "--at", moment(time.time() + 60))
        assert (done.code, done.out) == (1, "")
        assert "is still to come" in done.err

    @pytest_twisted.ensureDeferred
    async def test_at_of_a_port(self, ask, site):
        """The port where the holder was is said, too."""
        relay, who = site.relay(), site.client(1)
        who.options[82] = b"\1\4eth1\2\6switch"
        await deferToThread(relay.bind, who)
        done = await ask("history", FIRST, "--at", moment(time.time()))
        assert f"was leased to {LAPTOP} at port eth1 switch from " in done.out

    @pytest_twisted.ensureDeferred
    async def test_at_after_it_was_taken_away(self, ask, bind):
        """Until then it was its holder's, and nobody's afterwards."""
        await bind(1)
        await ask("revoke", FIRST)
        bound, revoked = (await ask("--json", "history", FIRST)).json
        done = await ask("history", FIRST, "--at", moment(revoked["when"]))
        assert done.code == 1
        done = await ask("history", FIRST, "--at", moment(bound["when"]))
        assert done.code == 0

    @pytest_twisted.ensureDeferred
    async def test_at_of_a_client(self, ask, bind):
        """Every address that the client had then."""
        await bind(1)
        await bind(2)
        later = moment(time.time())
        done = await ask("--json", "history", LAPTOP, "--at", later)
        assert [event["address"] for event in done.json] == [FIRST]
        done = await ask("history", "nobody", "--at", later)
        assert done.code == 1
        assert "nobody: nobody had it at " in done.err

    @pytest_twisted.ensureDeferred
    async def test_many(self, ask, site):
        """More than one page holds, all of them, in order."""
        relay, who = site.relay(), site.client(1)
        await deferToThread(relay.bind, who)

        def renew():
            for _ in range(200):
                relay.ask(who.message(MessageType.REQUEST, ciaddr=ip(FIRST)))

        await deferToThread(renew)
        found = (await ask("--json", "history", FIRST)).json
        assert [event["number"] for event in found] == list(range(1, 202))
        assert {event["kind"] for event in found[1:]} == {"renewed"}

    @pytest_twisted.ensureDeferred
    async def test_nothing(self, ask):
        """Of whom nothing is known, that is said."""
        done = await ask("history", FIRST)
        assert (done.code, done.out) == (1, "")
        assert done.err == f"dhcpctl: nothing is known of {FIRST}\n"
        done = await ask("--json", "history", FIRST)
        assert (done.code, done.json) == (1, [])

    @pytest.mark.parametrize("at", ["soon", "25:00", "@", "@nan", "@inf", "@1e300"])
    @pytest_twisted.ensureDeferred
    async def test_usage(self, ask, at):
        """A time that is none is wrong usage."""
        done = await ask("history", FIRST, "--at", at)
        assert (done.code, done.out) == (2, "")
        assert f"{at!r} is not a time like 14:03" in done.err


@pytest_twisted.ensureDeferred
async def test_memory_keeps_no_history(serve, dhcpctl):
    """A storage without a journal says so."""
    site = serve(listen=UNIX)
    done = await dhcpctl("--state", site.state, "history", FIRST)
    assert (done.code, done.out) == (1, "")
    assert "keeps no history" in done.err


@implementer(IHistory)
class Remembering(MemoryStorage):
    """A pool with a history of our making: three events, of two networks."""

    def __init__(self, net):
        super().__init__(net)
        self.asked = []
        self.past = [
            Event(number, 1000.0 + number, EventKind.BOUND, address, b"\1aaaaaa")
            for number, address in ((1, ip("192.0.2.10")), (2, ip("10.0.0.1")), (3, 0))
        ]

    def history(self, address, key, before, limit, until=None):
        """See `IHistory`."""
        self.asked.append((address, key, before, limit, until))
        found = [each for each in self.past if not before or each.number < before]
        found.reverse()
        return succeed(found[:limit])


class TestLeaseHistory:
    """The command behind it."""

    @pytest.fixture
    def world(self):
        """A server that remembers, and who may look back, as far as that goes."""
        networks = (IPv4Network("192.0.2.0/24"),)
        roles = [
            ("netbox", {"list"}, networks),
            ("all", {"list"}, ()),
            ("writer", {"reserve", "import"}, ()),
        ]
        return World(storage=Remembering(network()), roles=roles)

    @pytest_twisted.ensureDeferred
    async def test_who_may(self, world):
        """It takes the verb ``list``, and shows what is within one's networks."""
        for name, numbers in (
            ("admin", [3, 2, 1]),
            ("all", [3, 2, 1]),
            ("netbox", [1]),
        ):
            client = world.client(name)
            found = await every(client.history(client_id="pc"))
            assert [event["number"] for event in found] == numbers
        for name in ("writer", "stranger"):
            with pytest.raises(NotPermitted, match="may not list"):
                await every(world.client(name).history(FIRST))

    @pytest_twisted.ensureDeferred
    async def test_of_whom(self, world):
        """One of the three, and none that makes no sense."""
        client = world.client()
        for asked in ({}, {"address": FIRST, "hardware": LAPTOP}):
            with pytest.raises(InvalidRequest, match="the history of what"):
                await every(client.history(**asked))
        for name in ("address", "hardware"):
            with pytest.raises(InvalidRequest, match=f"{name}: 'pc'"):
                await every(client.history(**{name: "pc"}))
        assert not world.storage.asked

    @pytest_twisted.ensureDeferred
    async def test_what_is_asked(self, world):
        """The storage is asked in its own terms."""
        client = world.client()
        await every(client.history(FIRST))
        await every(client.history(hardware=LAPTOP, until=1234.5))
        await every(client.history(client_id="pc"))
        key = b"\1\2\0\0\0\0\1"
        assert world.storage.asked == [
            (ip(FIRST), None, 0, 500, None),
            (None, key, 0, 500, 1234.5),
            (None, b"pc", 0, 500, None),
        ]

    @pytest_twisted.ensureDeferred
    async def test_pages(self, world, monkeypatch):
        """Page by page, also where a page has nothing for this caller."""
        monkeypatch.setattr("dhcptwist.control.answering.PAGE_LENGTH", 1)
        for name, numbers in (("admin", [3, 2, 1]), ("netbox", [1])):
            found = await every(world.client(name).history(client_id="pc"))
            assert [event["number"] for event in found] == numbers
        befores = [before for _, _, before, _, _ in world.storage.asked]
        assert befores == [0, 3, 2, 1] * 2

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"limit": 0}, "limit"),
            ({"before": -1}, "before"),
            ({"before": 1 << 70}, "before"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_numbers(self, world, given, why):
        """Numbers that make no sense are refused, and never reach a database."""
        client = world.client()
        with pytest.raises(InvalidRequest, match=why):
            await client._call(commands.LeaseHistory, address=FIRST, **given)
        assert not world.storage.asked


class TestLeases:
    """``dhcpctl leases export`` and ``import``, between two servers."""

    @pytest_twisted.ensureDeferred
    async def test_move(self, ask, bind, serve, dhcpctl, here):
        """What one server gave is renewed by the next, whose history says so."""
        assert await bind(1, b"laptop") == FIRST
        assert await bind(2) == SECOND
        done = await ask("leases", "export", "leases.jsonl")
        assert (done.code, done.out) == (0, "")
        assert done.err == "2 leases written to leases.jsonl\n"
        other = serve(storage="sqlite:leases.sqlite", listen=UNIX)

        async def ask_other(*arguments):
            return await dhcpctl("--state", other.state, *arguments)

        done = await ask_other("leases", "import", "leases.jsonl", "--dry-run")
        assert done.code == 0
        assert (await ask_other("--json", "leases")).json == []
        done = await ask_other("--json", "leases", "import", "leases.jsonl")
        assert (done.code, done.json["taken"], done.json["known"]) == (0, 2, 0)
        before = (await ask("--json", "leases")).json
        assert (await ask_other("--json", "leases")).json == before
        [event] = (await ask_other("--json", "history", FIRST)).json
        assert (event["kind"], event["by"]) == ("imported", "admin")
        relay, who = other.relay(), other.client(1)
        renewal = who.message(MessageType.REQUEST, ciaddr=ip(FIRST))
        ack = await deferToThread(relay.ask, renewal)
        assert ack.type == MessageType.ACK
        stranger = await deferToThread(relay.bind, other.client(3))
        assert stranger.yiaddr not in {ip(FIRST), ip(SECOND)}
        done = await ask_other("--json", "leases", "import", "leases.jsonl")
        assert (done.code, done.json["taken"], done.json["known"]) == (0, 0, 2)

    @pytest_twisted.ensureDeferred
    async def test_csv_and_output(self, ask, bind, site):
        """To the output, as CSV if wanted, and only of one subnet if named."""
        await bind(1, b"laptop")
        done = await ask("leases", "export")
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out)["hostname"] == "laptop"
        done = await ask("leases", "--subnet", "far", "export", "--format", "csv")
        head, line = done.out.splitlines()
        assert head.startswith("address,state,hardware,")
        assert line.startswith(f"{FIRST},bound,{LAPTOP},,laptop,")
        done = await ask("leases", "export", "--subnet", "near")
        assert (done.code, done.out) == (1, "")
        for kind in ("kea", "dhcpd", "dnsmasq"):
            done = await ask("leases", "export", "--format", kind)
            assert (done.code, done.out) == (2, "")
            assert "as jsonl or csv" in done.err
        done = await ask("leases", "export", "--subnet", "far", "file.jsonl")
        assert (done.code, done.err) == (0, "1 leases written to file.jsonl\n")
        for name, begins in (("by-name.CSV", "address,state"), ("leases", "{")):
            done = await ask("leases", "export", name)
            assert (done.code, done.err) == (0, f"1 leases written to {name}\n")
            assert written(name).startswith(begins)
        done = await ask("leases", "export", "--format", "jsonl", "named.csv")
        assert done.code == 0
        assert written("named.csv").startswith("{")
        for words in (["--subnet", "near"], ["list", "--subnet", "near"]):
            assert (await ask("leases", *words)).code == 1

    @pytest_twisted.ensureDeferred
    async def test_conflict(self, ask, bind, here):
        """What conflicts is named, and the exit code says that there is something to do."""
        await bind(1)
        theirs = {"address": FIRST, "state": "bound", "hardware": "02:00:00:00:00:77"}
        text = json.dumps(theirs) + "\nnonsense\n"
        (here / "theirs.jsonl").write_text(text, "utf-8")
        done = await ask("leases", "import", "theirs.jsonl")
        assert done.code == 1
        assert f"{FIRST}  02:00:00:00:00:77" in done.out
        assert LAPTOP in done.out
        [lease] = (await ask("--json", "leases")).json
        assert lease["hardware"] == LAPTOP

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["import"], "required: FILE"),
            (["import", "nowhere"], "nowhere cannot be read"),
            (["import", "."], "cannot be read"),
            (["import", "empty"], "none of the lease files that are known"),
            (["list", "file"], "unrecognized arguments: file"),
            (["show"], "show"),
            (["export", "nowhere/file"], "cannot be written"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_usage(self, ask, here, arguments, why):
        """Wrong usage is exit 2, and says what is wrong."""
        (here / "empty").write_bytes(b"\xff\xfe\0")
        done = await ask("leases", *arguments)
        assert (done.code, done.out) == (2, "")
        assert why in done.err

    @pytest_twisted.ensureDeferred
    async def test_the_far_future(self, serve, here, dhcpctl):
        """A time that a storage would not believe later on is not taken now."""
        site = serve(storage="sqlite:leases.sqlite", listen=UNIX)
        row = {"address": FIRST, "state": "bound", "hardware": LAPTOP}
        (here / "far").write_text(
            json.dumps({**row, "expires": 1e12})
            + "\n"
            + json.dumps({**row, "address": SECOND, "expires": 1e11}),
            "utf-8",
        )
        done = await dhcpctl("--json", "--state", site.state, "leases", "import", "far")
        assert (done.json["taken"], done.json["unreadable"]) == (1, 1)
        done = await dhcpctl("--state", site.state, "history", SECOND)
        assert "5138-11-16" in done.out
        await site.service.stopService()
        site.service.startService()
        [kept] = (await dhcpctl("--json", "--state", site.state, "leases")).json
        assert (kept["address"], kept["expires"]) == (SECOND, 1e11)

    @pytest_twisted.ensureDeferred
    async def test_what_rests(self, ask, here):
        """An address that was found in use elsewhere rests; nobody is said to have it."""
        row = {"address": FIRST, "state": "declined", "client_id": "hex:00"}
        (here / "resting").write_text(json.dumps(row), "utf-8")
        done = await ask("leases", "import", "resting")
        assert done.code == 0
        [event] = (await ask("--json", "history", FIRST)).json
        assert (event["kind"], event["by"]) == ("declined", "admin")
        done = await ask("history", FIRST, "--at", moment(event["when"] + 1))
        assert (done.code, done.out) == (1, "")
