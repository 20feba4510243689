"""Many reservations by one hand: several at once, whole sets, and who is the latest."""

# ruff: noqa: F811 - a fixture that comes from another module is named like the argument

from __future__ import annotations

import pytest
import pytest_twisted
from test_control import (  # noqa: F401 - fixtures
    FIRST,
    OWNER,
    World,
    admin,
    every,
    facade,
    holder,
    owner,
    prober,
    world,
)
from test_ctl import UNIX, ask, bind, dhcpctl, here, serve  # noqa: F401 - fixtures
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.task import Clock

from dhcptwist.control import commands, holding, replacing
from dhcptwist.control.client import (
    AddressInUse,
    InvalidRequest,
    NotFound,
    NotPermitted,
    NotSupported,
    ReservedByOther,
    RevisionChanged,
    Verdict,
)
from dhcptwist.control.repeating import KEPT_FOR, MOST_ANSWERS, Repeating
from dhcptwist.control.reservation_files import UnusableLine, read
from dhcptwist.interfaces import IStorage
from dhcptwist.lease import Reservation, parse_hardware
from dhcptwist.testing import FakeClient, ip, subnet


SECOND = "192.0.2.11"
WIDE = subnet("10.0.0.0/8", "10.0.0.10-10.0.200.255")


def row(n, **more):
    """The arguments of one reservation of many."""
    return {
        "address": f"10.0.{n // 250}.{n % 250 + 1}",
        "hardware": f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}",
        **more,
    }


def counts(replaced):
    """Added, changed, removed, same, refused, waiting."""
    return (
        replaced.added,
        replaced.changed,
        replaced.removed,
        replaced.same,
        replaced.refused,
        replaced.waiting,
    )


async def rows_of(client, source):
    """Address and hardware of a source's reservations."""
    return [
        (each["address"], each["hardware"])
        for each in await every(client.reservations(source))
    ]


@pytest.fixture
def site(serve):
    """A server for the command line."""
    return serve(listen=UNIX)


@pytest.fixture
def wide():
    """A server with room for many."""
    return World(WIDE, roles=[("netbox", {"reserve", "cancel", "list"}, ())])


class TestRevisions:
    """Compare and set: nobody overwrites what he has not seen."""

    @pytest_twisted.ensureDeferred
    async def test_reserve(self, world, admin):
        """With the revision that is, it is done; with one that was, it is told which is."""
        first = await admin.reserve(FIRST, hardware=OWNER, source="netbox")
        second = await admin.reserve(
            SECOND,
            hardware="02:00:00:00:00:0c",
            source="netbox",
            expect_revision=first.revision,
        )
        assert second.revision != first.revision
        with pytest.raises(RevisionChanged) as told:
            await admin.reserve(
                "192.0.2.12",
                hardware="02:00:00:00:00:0d",
                source="netbox",
                expect_revision=first.revision,
            )
        assert told.value.details == {"revision": second.revision}
        assert len(await rows_of(admin, "netbox")) == 2

    @pytest_twisted.ensureDeferred
    async def test_cancel(self, world, admin):
        """The same for taking out; the revision is that of the source that is named."""
        empty = (
            await admin.change([{"cancel": {"address": FIRST}}], dry_run=True)
        ).revision
        verdict = await admin.reserve(FIRST, hardware=OWNER)
        with pytest.raises(RevisionChanged):
            await admin.cancel(FIRST, expect_revision=empty)
        assert len(await admin.cancel(FIRST, expect_revision=verdict.revision)) == 1
        assert (await admin.reserve(FIRST, hardware=OWNER)).revision == verdict.revision

    @pytest_twisted.ensureDeferred
    async def test_lists(self, world, admin):
        """Sources are listed with their revisions, and a source's list has its own."""
        netbox = world.client("netbox")
        verdict = await netbox.reserve(FIRST, hardware=OWNER)
        assert await admin.sources() == [
            {
                "source": "file",
                "reservations": 1,
                "revision": world.storage.revision("file"),
            },
            {"source": "netbox", "reservations": 1, "revision": verdict.revision},
        ]
        for source, revision in (("netbox", verdict.revision), (None, None)):
            answer = await admin._call(commands.ListReservations, source=source)
            assert answer.get("revision") == revision


class TestKeys:
    """A request that is asked again is done once."""

    @pytest_twisted.ensureDeferred
    async def test_again(self, world, admin):
        """Whatever the connection, the answer is the first one, though things changed."""
        asked = {"hardware": OWNER, "key": "one"}
        first = await admin.reserve(FIRST, **asked)
        await admin.cancel(FIRST, key="two")
        assert len(await world.client().cancel(FIRST, key="two")) == 1
        assert await world.client().reserve(FIRST, **asked) == first
        assert await rows_of(admin, None) == [("192.0.2.99", "02:00:00:00:00:99")]
        with pytest.raises(NotFound):
            await admin.cancel(FIRST, key="three")

    @pytest_twisted.ensureDeferred
    async def test_errors(self, world, admin, holder):
        """What was refused is refused again, in the same words."""
        world.bind(holder)
        asked = {"hardware": OWNER, "on_conflict": "refuse", "key": "x"}
        with pytest.raises(AddressInUse) as first:
            await admin.reserve(FIRST, **asked)
        world.packets.now += 10_000
        world.storage.clock_ticked(world.packets.now)
        with pytest.raises(NotPermitted):
            await world.client("nobody").reserve(FIRST, **asked)
        world.packets.now -= 10_000
        with pytest.raises(AddressInUse) as again:
            await admin.reserve(FIRST, **asked)
        assert again.value.details == first.value.details

    @pytest_twisted.ensureDeferred
    async def test_another_request(self, world, admin):
        """One key is for one request; another caller's keys are its own."""
        await admin.reserve(FIRST, hardware=OWNER, key="x")
        with pytest.raises(InvalidRequest, match="'x' was used for another request"):
            await admin.reserve(SECOND, hardware=OWNER, key="x")
        with pytest.raises(InvalidRequest, match="another request"):
            await admin.cancel(FIRST, key="x")
        await world.client("netbox").reserve(
            SECOND, hardware="02:00:00:00:00:0c", key="x"
        )
        with pytest.raises(InvalidRequest, match="key: may have 200 characters"):
            await admin.cancel(FIRST, key="x" * 201)

    @pytest_twisted.ensureDeferred
    async def test_while_it_is_done(self):
        """Who asks again meanwhile waits, and is told the same."""
        repeating = Repeating(lambda: 100.0)
        under_way, done = Deferred(), []

        async def work():
            done.append(1)
            return await under_way

        calls = [
            ensureDeferred(repeating.once("a", "Reserve", {"key": "k"}, work))
            for _ in range(3)
        ]
        under_way.callback({"verdict": "applied"})
        assert [await each for each in calls] == [{"verdict": "applied"}] * 3
        assert done == [1]

    @pytest_twisted.ensureDeferred
    async def test_what_failed_may_be_tried_again(self):
        """A disk that failed is no answer to keep."""
        repeating, tried = Repeating(lambda: 100.0), []

        async def work():
            tried.append(1)
            if len(tried) == 1:
                raise OSError(28, "no space left")
            return {}

        with pytest.raises(OSError, match="no space"):
            await repeating.once("a", "Reserve", {"key": "k"}, work)
        assert await repeating.once("a", "Reserve", {"key": "k"}, work) == {}

    @pytest_twisted.ensureDeferred
    async def test_bounds(self):
        """So many are kept, for so long."""
        now, done = [100.0], []
        repeating = Repeating(lambda: now[0])

        async def work():
            done.append(1)
            return {}

        for n in range(MOST_ANSWERS + 5):
            await repeating.once("a", "Reserve", {"key": str(n)}, work)
        assert len(repeating._requests) == MOST_ANSWERS
        await repeating.once("a", "Reserve", {"key": "0"}, work)
        await repeating.once("a", "Reserve", {"key": str(MOST_ANSWERS)}, work)
        assert len(done) == MOST_ANSWERS + 6
        now[0] += KEPT_FOR + 1
        await repeating.once("a", "Reserve", {"key": "new"}, work)
        assert len(repeating._requests) == 1

        async def much():
            return {"results": "x" * (1 << 20)}

        for n in range(40):
            await repeating.once("a", "Reserve", {"key": f"much {n}"}, much)
        assert len(repeating._requests) <= 17
        assert repeating._bytes <= 17 << 20
        now[0] += KEPT_FOR + 1
        await repeating.once("a", "Reserve", {"key": "last"}, work)
        assert repeating._bytes < 100


class TestChange:
    """Several changes in one call."""

    @pytest_twisted.ensureDeferred
    async def test_exchange(self, world, admin):
        """What is cancelled goes first, whatever its place."""
        other = "02:00:00:00:00:0c"
        await admin.reserve(FIRST, hardware=OWNER)
        before = (await admin.reserve(SECOND, hardware=other)).revision
        changed = await admin.change(
            [
                {"reserve": {"address": SECOND, "hardware": OWNER}},
                {"reserve": {"address": FIRST, "hardware": other, "hostname": "b"}},
                {"cancel": {"address": FIRST}},
                {"cancel": {"hardware": other}},
            ],
            expect_revision=before,
            key="k",
        )
        assert changed.results == [Verdict("applied")] * 2 + [Verdict("cancelled")] * 2
        assert (changed.done, changed.revision) == (
            True,
            world.storage.revision("admin"),
        )
        assert await rows_of(admin, "admin") == [(FIRST, other), (SECOND, OWNER)]

    @pytest_twisted.ensureDeferred
    async def test_all_or_nothing(self, world, admin, holder):
        """One that cannot be keeps all others from being; each says how it would be."""
        world.bind(holder)
        changes = [
            {"reserve": {"address": SECOND, "hardware": OWNER}},
            {"reserve": {"address": FIRST, "client_id": "x", "on_conflict": "refuse"}},
            {"reserve": {"address": "192.0.2.99", "client_id": "y"}},
            {"reserve": {"address": "nowhere", "client_id": "z"}},
            {"reserve": {"address": 5, "client_id": "z"}},
            {"reserve": {"speed": "fast"}},
            {"cancel": {"address": "192.0.2.13"}},
            {"cancel": {"address": "192.0.2.99"}},
            {"keep": {}},
            "text",
        ]
        changed = await admin.change(changes)
        kinds = [type(each) for each in changed.results]
        assert kinds == [
            Verdict,
            AddressInUse,
            ReservedByOther,
            *[InvalidRequest] * 3,
            NotFound,
            ReservedByOther,
            *[InvalidRequest] * 2,
        ]
        assert not changed.done
        assert changed.results[1].details["holder"] == "02:00:00:00:00:0a (laptop)"
        assert "address: must be text" in str(changed.results[4])
        assert "speed: there is no such argument" in str(changed.results[5])
        assert await rows_of(admin, "admin") == []
        changed = await admin.change(changes, strict=False)
        assert [type(each) for each in changed.results] == kinds
        assert changed.done
        assert await rows_of(admin, "admin") == [(SECOND, OWNER)]

    @pytest_twisted.ensureDeferred
    async def test_dry_run(self, world, admin, holder):
        """What would be."""
        world.bind(holder)
        changed = await admin.change(
            [{"reserve": {"address": FIRST, "hardware": OWNER}}], dry_run=True
        )
        [verdict] = changed.results
        assert (verdict.outcome, changed.done) == ("waiting", False)
        assert await rows_of(admin, "admin") == []

    @pytest_twisted.ensureDeferred
    async def test_who_may(self, world, holder):
        """Verbs, networks and sources hold for each of them."""
        world.control.roles |= {
            role.name: role
            for role in World(
                roles=[
                    ("reserver", {"reserve"}, ()),
                    ("far", {"reserve"}, (WIDE.cidr,)),
                ]
            ).control.roles.values()
        }
        good = {"reserve": {"address": FIRST, "hardware": OWNER}}
        await world.client("netbox").reserve(SECOND, client_id="theirs")
        for name, change, error in (
            ("reserver", {"cancel": {"address": SECOND}}, NotPermitted),
            ("far", good, NotPermitted),
            ("members", {"cancel": {"address": SECOND}}, ReservedByOther),
            (
                "members",
                {"reserve": {"address": FIRST, "client_id": "a", "source": "netbox"}},
                InvalidRequest,
            ),
        ):
            changed = await world.client(name).change([change])
            assert isinstance(changed.results[0], error), name
            assert not changed.done
        with pytest.raises(NotPermitted):
            await world.client("members").change([good], source="netbox")
        assert isinstance(
            (await world.client("stranger").change([good])).results[0], NotPermitted
        )

    @pytest.mark.parametrize("changes", [[], {}, [{}] * 1001])
    @pytest_twisted.ensureDeferred
    async def test_how_many(self, admin, changes):
        """One at least, and a bounded number."""
        with pytest.raises(InvalidRequest, match="list of 1 to 1000"):
            await admin._call(commands.ChangeReservations, changes=changes)


class TestReplace:
    """A source's whole set."""

    @pytest_twisted.ensureDeferred
    async def test_difference(self, wide):
        """Added, changed, removed and left alone; other sources are untouched."""
        netbox, admin = wide.client("netbox"), wide.client()
        await admin.reserve("10.0.150.1", client_id="mine")
        seen = []
        first = await netbox.replace(map(row, range(1000)), progress=seen.append)
        assert counts(first) == (1000, 0, 0, 0, 0, 0)
        assert (seen[-1], first.done) == (1000, True)
        assert first.revision == wide.storage.revision("netbox")
        rows = [row(n) for n in range(10, 1005)]
        rows[0]["hostname"] = "changed"
        rows[1]["address"] = "10.0.99.1"
        second = await netbox.replace(rows, expect_revision=first.revision)
        assert counts(second) == (5, 2, 10, 988, 0, 0)
        there = await rows_of(admin, "netbox")
        assert sorted(there) == sorted((r["address"], r["hardware"]) for r in rows)
        assert await rows_of(admin, "admin") == [("10.0.150.1", "")]
        told = await every(netbox.replaced())
        assert [each["change"] for each in told] == (
            ["changed"] * 2 + ["added"] * 5 + ["removed"] * 10
        )
        assert {each["verdict"] for each in told} == {"applied", "cancelled"}
        assert len(await every(netbox.replaced(["added"]))) == 5
        again = await netbox.replace(rows)
        assert counts(again) == (0, 0, 0, 995, 0, 0)
        assert again.revision == second.revision
        nothing = await netbox.replace([])
        assert counts(nothing) == (0, 0, 995, 0, 0, 0)

    @pytest_twisted.ensureDeferred
    async def test_is_not_counted_twice(self, wide):
        """Addresses go round, all at once; order does not matter."""
        netbox = wide.client("netbox")
        await netbox.replace([row(0), row(1), row(2)])
        swapped = [
            {**row(0), "address": row(1)["address"]},
            {**row(1), "address": row(2)["address"]},
            {**row(2), "address": row(0)["address"]},
        ]
        assert counts(await netbox.replace(swapped)) == (0, 3, 0, 0, 0, 0)

    @pytest_twisted.ensureDeferred
    async def test_conflicts(self, wide):
        """What cannot be is left out, and named; strict keeps everything as it was."""
        netbox, admin = wide.client("netbox"), wide.client()
        await netbox.replace([row(5)])
        await admin.reserve(row(1)["address"], client_id="mine")
        who = FakeClient("02:00:00:00:00:0a")
        taken = wide.bind(who, giaddr="10.0.255.1")
        rows = [
            row(0),
            row(1),
            {"address": taken, "client_id": "waits"},
            {**row(2), "address": "203.0.113.1"},
        ]
        before = await rows_of(admin, "netbox")
        strict = await netbox.replace(rows, strict=True)
        assert (counts(strict), strict.done) == ((2, 0, 1, 0, 2, 1), False)
        assert await rows_of(admin, "netbox") == before
        trial = await netbox.replace(rows, dry_run=True)
        assert (counts(trial), trial.done) == ((2, 0, 1, 0, 2, 1), False)
        assert await rows_of(admin, "netbox") == before
        done = await netbox.replace(rows)
        assert (counts(done), done.done) == ((2, 0, 1, 0, 2, 1), True)
        assert await rows_of(admin, "netbox") == [
            (row(0)["address"], row(0)["hardware"]),
            (taken, ""),
        ]
        named = await every(netbox.replaced(["refused", "waiting"]))
        assert [
            (each["address"], each.get("verdict"), each.get("error")) for each in named
        ] == [
            (row(1)["address"], None, "RESERVED_BY_OTHER"),
            (taken, "waiting", None),
            ("203.0.113.1", None, "INVALID_REQUEST"),
        ]
        assert (named[0]["source"], named[0]["reserved_by"]) == ("netbox", "admin")
        assert "'admin'" in named[0]["message"]
        assert named[1]["holder"] == "02:00:00:00:00:0a"

    @pytest_twisted.ensureDeferred
    async def test_changed_meanwhile(self, wide):
        """Somebody else's change is not overwritten, at whatever moment it comes."""
        netbox, admin = wide.client("netbox"), wide.client()
        first = await netbox.replace([row(0)])
        await admin.reserve("10.0.0.99", client_id="x", source="netbox")
        with pytest.raises(RevisionChanged):
            await netbox.replace([row(1)], expect_revision=first.revision)
        await netbox._call(commands.BeginReplace)
        await netbox._call(commands.StageReservations, reservations=[row(1)])
        await admin.cancel("10.0.0.99")
        with pytest.raises(RevisionChanged, match=r"changed meanwhile.*begin again"):
            await netbox._call(commands.CommitReplace)
        assert await rows_of(admin, "netbox") == [
            (row(0)["address"], row(0)["hardware"])
        ]

    @pytest_twisted.ensureDeferred
    async def test_changed_while_it_is_compared(self, wide):
        """Between two slices of the comparison, too."""
        netbox, admin = wide.client("netbox"), wide.client()
        await netbox.replace([row(n) for n in range(1000)])
        await netbox._call(commands.BeginReplace)
        commit = ensureDeferred(netbox._call(commands.CommitReplace))
        other = ensureDeferred(
            admin.reserve("10.0.99.99", client_id="x", source="netbox")
        )
        with pytest.raises(RevisionChanged):
            await commit
        await other
        assert len(await rows_of(admin, "netbox")) == 1001

    @pytest_twisted.ensureDeferred
    async def test_dies_half_way(self, wide):
        """Nothing is left of it; another begins anew."""
        netbox = wide.client("netbox")
        await netbox.replace([row(0)])
        await netbox._call(commands.BeginReplace)
        await netbox._call(commands.StageReservations, reservations=[row(1)])
        await maybeDeferred(netbox.close)
        another = wide.client("netbox")
        with pytest.raises(InvalidRequest, match="BeginReplace comes first"):
            await another._call(commands.CommitReplace)
        with pytest.raises(InvalidRequest, match="BeginReplace comes first"):
            await another._call(commands.StageReservations, reservations=[])
        assert len(await rows_of(another, "netbox")) == 1

    @pytest_twisted.ensureDeferred
    async def test_not_waited_for(self, wide):
        """Who writes all commands at once is served in their order."""
        netbox = wide.client("netbox")
        calls = [
            ensureDeferred(netbox._call(command, **arguments))
            for command, arguments in (
                (commands.BeginReplace, {}),
                (
                    commands.StageReservations,
                    {"reservations": [row(n) for n in range(200)]},
                ),
                (commands.StageReservations, {"reservations": [row(500)]}),
                (commands.CommitReplace, {}),
            )
        ]
        answers = [await each for each in calls]
        assert answers[2] == {"staged": 201}
        assert answers[3]["added"] == 201

    @pytest.mark.parametrize(
        ("rows", "number", "words"),
        [
            ([row(0), {**row(1), "hardware": "soon"}], 1, "hardware: 'soon'"),
            ([row(0), row(0)], 1, "is in the set already"),
            (
                [row(0), {**row(1), "address": row(0)["address"]}],
                1,
                "in the set already",
            ),
            ([row(0), {**row(0), "address": "10.0.99.1"}], 1, "in the set already"),
            ([*map(row, range(900)), row(3)], 900, "in the set already"),
            ([*map(row, range(900)), {"hostname": "x"}], 900, "for whom?"),
            ([row(0), {**row(1), "while_connected": True}], 1, "no while_connected"),
            ([row(0), {**row(1), "for_holder": "port"}], 1, "no for_holder"),
            ([row(0), {**row(1), "source": "other"}], 1, "all have to be for 'netbox'"),
            (["text"], 0, "must be an object"),
            ([row(0), {**row(1), "lifetime": True}], 1, "lifetime: must be a whole"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, wide, rows, number, words):
        """Each is told with its number in the whole set, and nothing changes."""
        netbox = wide.client("netbox")
        await netbox.replace([row(7)])
        with pytest.raises(InvalidRequest, match=words.replace("?", r"\?")) as told:
            await netbox.replace(rows)
        assert told.value.details == {"number": number}
        assert await rows_of(netbox, "netbox") == [
            (row(7)["address"], row(7)["hardware"])
        ]

    @pytest_twisted.ensureDeferred
    async def test_bounds(self, wide, monkeypatch):
        """A set has a size."""
        monkeypatch.setattr(replacing, "MOST_STAGED", 10)
        netbox = wide.client("netbox")
        with pytest.raises(InvalidRequest, match="at most"):
            await netbox.replace(map(row, range(11)))
        with pytest.raises(InvalidRequest, match="must be a list"):
            await netbox._call(commands.StageReservations, reservations={})
        with pytest.raises(InvalidRequest, match="only: must be a list"):
            await every(netbox.replaced(["lost"]))
        for after in (-1, 5):
            with pytest.raises(InvalidRequest, match="after: must be"):
                await netbox._call(commands.ListReplaced, after=after)

    @pytest_twisted.ensureDeferred
    async def test_pages(self, wide, monkeypatch):
        """What it came to is told whole, even if few rows are wanted of many."""
        monkeypatch.setattr(replacing, "MOST_LOOKED_AT", 50)
        netbox = wide.client("netbox")
        rows = [row(n) for n in range(1200)]
        rows[1100]["address"] = "203.0.113.1"
        await netbox.replace(rows)
        assert len(await every(netbox.replaced())) == 1200
        [refused] = await every(netbox.replaced(["refused"]))
        assert refused["hardware"] == row(1100)["hardware"]

    @pytest_twisted.ensureDeferred
    async def test_who_may(self, wide):
        """Both verbs are needed, and all of the source has to be within reach."""
        from dhcptwist.config import Role

        near = subnet("10.0.0.0/24").cidr
        wide.control.roles |= {
            "one": Role("one", frozenset({"reserve"}), ()),
            "near": Role("near", frozenset({"reserve", "cancel"}), (near,)),
        }
        with pytest.raises(NotPermitted, match="'one' may not cancel"):
            await wide.client("one").replace([])
        with pytest.raises(NotPermitted, match="may not act as the source 'netbox'"):
            await wide.client("near").replace([], source="netbox")
        with pytest.raises(NotPermitted, match="in the file"):
            await wide.client().replace([], source="file")
        with pytest.raises(InvalidRequest, match=r"may do nothing at 10\.0\.9\.1"):
            await wide.client("near").replace([{**row(1), "address": "10.0.9.1"}])
        await wide.client().reserve("10.0.9.1", client_id="x", source="near")
        with pytest.raises(NotPermitted, match=r"may do nothing at 10\.0\.9\.1"):
            await wide.client("near").replace([row(1)])

    @pytest_twisted.ensureDeferred
    async def test_lifetimes(self, wide):
        """One that ends begins anew each time."""
        netbox = wide.client("netbox")
        await netbox.replace([row(0, lifetime=60)])
        wide.packets.now += 50
        assert counts(await netbox.replace([row(0, lifetime=60)])) == (0, 1, 0, 0, 0, 0)
        [each] = wide.storage.reservations(None, 10, "netbox")
        assert each.expires == wide.packets.now + 60

    @pytest_twisted.ensureDeferred
    async def test_not_supported(self, world):
        """A storage that takes no reservations says so."""
        bare = World(storage=facade(world.storage, IStorage))
        with pytest.raises(NotSupported, match="IReservations"):
            await bare.client().replace([])
        with pytest.raises(NotSupported):
            await bare.client().sources()


class TestSetAside:
    """Pushed ones that the configuration's own are in the way of."""

    @pytest.fixture
    def crowded(self, world):
        """Two are pushed, and then the configuration has the address of one."""
        for n, who in ((10, OWNER), (11, "02:00:00:00:00:0c")):
            pushed = Reservation(
                ip(f"192.0.2.{n}"), hardware=parse_hardware(who), source="netbox"
            )
            world.storage.reserve(pushed, world.packets.now)
        self.revision = world.storage.revision("netbox")
        self.own = Reservation(ip(FIRST), hardware=b"\1file..")
        world.storage.network_changed(world.network, [self.own], [], world.packets.now)
        return world

    def reload(self, world):
        """The configuration's is gone again."""
        world.storage.network_changed(world.network, [], [self.own], world.packets.now)

    @pytest_twisted.ensureDeferred
    async def test_listed(self, crowded):
        """They are shown, as what they are, and are still their source's."""
        netbox = crowded.client("netbox")
        found = await every(netbox.reservations("netbox"))
        assert [(each["address"], each["in_force"]) for each in found] == [
            (SECOND, True),
            (FIRST, False),
        ]
        assert crowded.storage.revision("netbox") == self.revision
        assert (await netbox.sources())[1]["reservations"] == 2
        assert await every(netbox.reservations("members")) == []

    @pytest_twisted.ensureDeferred
    async def test_cancelled(self, crowded):
        """Cancelled, they do not come back."""
        netbox = crowded.client("netbox")
        [gone] = await netbox.cancel(FIRST)
        assert gone["source"] == "netbox"
        self.reload(crowded)
        assert [a for a, _ in await rows_of(netbox, "netbox")] == [SECOND]
        with pytest.raises(NotFound):
            await netbox.cancel(FIRST)

    @pytest_twisted.ensureDeferred
    async def test_replaced(self, crowded):
        """A new set leaves none of them behind; asked for again, it is refused."""
        netbox = crowded.client("netbox")
        same = {"address": FIRST, "hardware": OWNER}
        told = await netbox.replace([same], strict=True)
        assert (counts(told), told.done) == ((0, 0, 1, 0, 1, 0), False)
        assert crowded.storage.revision("netbox") == self.revision
        assert len(await every(netbox.reservations("netbox"))) == 2
        told = await netbox.replace([same])
        assert counts(told) == (0, 0, 1, 0, 1, 0)
        assert await every(netbox.reservations("netbox")) == []
        self.reload(crowded)
        assert await every(netbox.reservations("netbox")) == []

    @pytest_twisted.ensureDeferred
    async def test_back_in_force(self, crowded):
        """When what is in the way is gone, they are in force."""
        self.reload(crowded)
        netbox = crowded.client("netbox")
        found = await every(netbox.reservations("netbox"))
        assert {each["in_force"] for each in found} == {True}
        assert crowded.storage.revision("netbox") == self.revision


class TestHolder:
    """A lease becomes a reservation in one call."""

    @pytest_twisted.ensureDeferred
    async def test_hardware(self, world, admin, holder):
        """For the one who has the address now, whatever it calls itself."""
        world.bind(holder)
        verdict = await admin.reserve(FIRST, for_holder="hardware", hostname="plotter")
        assert verdict.outcome == "applied"
        [each] = world.storage.reservations(None, 10, "admin")
        assert (each.hardware, each.hostname) == (holder.hardware, "plotter")
        assert world.renew(holder)[1] == 3600
        world.packets.now += 7200
        other = FakeClient("02:00:00:00:00:0c")
        assert world.bind(other) != FIRST
        assert world.bind(holder) == FIRST

    @pytest_twisted.ensureDeferred
    async def test_identifier_and_port(self, world, admin):
        """By its client identifier, or by the port where it is."""
        named = FakeClient("02:00:00:00:00:0d", identifier=b"\0printer")
        wired = FakeClient("02:00:00:00:00:0e", options={82: b"\1\4eth1\2\2r1"})
        for who, kind, field, value in (
            (named, "client_id", "client_id", b"\0printer"),
            (wired, "port", "port", (b"eth1", b"r1")),
        ):
            address = world.bind(who)
            await admin.reserve(address, for_holder=kind)
            [each] = world.storage.reservation_of(ip(address), None)
            assert getattr(each, field) == value

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, world, admin, holder):
        """Nobody there, or who cannot be known like that."""
        with pytest.raises(NotFound, match="not leased to anybody now"):
            await admin.reserve(FIRST, for_holder="hardware")
        world.bind(holder)
        with pytest.raises(InvalidRequest, match="the holder has no relay's port"):
            await admin.reserve(FIRST, for_holder="port")
        with pytest.raises(InvalidRequest, match="'name' is none of hardware"):
            await admin.reserve(FIRST, for_holder="name")
        with pytest.raises(InvalidRequest, match="needs an address, and no other"):
            await admin.reserve(FIRST, for_holder="hardware", client_id="x")
        with pytest.raises(InvalidRequest, match="needs an address"):
            await admin.reserve(for_holder="hardware", hostname="x")
        await admin.revoke(FIRST)
        with pytest.raises(NotFound):
            await admin.reserve(FIRST, for_holder="hardware")


class TestWhileConnected:
    """Reservations that live as long as the connection of who made them."""

    @pytest.fixture
    def timed(self, world):
        """Its renewals come when the test says so."""
        clock = Clock()
        world.control.holding._reactor = clock
        return clock

    @pytest_twisted.ensureDeferred
    async def test_ends_with_it(self, world, admin, timed):
        """All of them, at once; and no others."""
        pusher = world.client("netbox")
        await pusher.reserve(FIRST, hardware=OWNER, while_connected=True)
        await pusher.reserve(SECOND, client_id="stays")
        changed = await pusher.change(
            [
                {
                    "reserve": {
                        "address": "192.0.2.12",
                        "client_id": "goes",
                        "while_connected": True,
                    }
                }
            ]
        )
        assert changed.done
        assert len(await rows_of(admin, "netbox")) == 3
        await pusher.close()
        assert await rows_of(admin, "netbox") == [(SECOND, "")]
        assert timed.getDelayedCalls() == []

    @pytest_twisted.ensureDeferred
    async def test_asked_again_elsewhere(self, world, admin, timed):
        """A key does not answer for a connection that is gone: it is made anew."""
        change = {"address": SECOND, "client_id": "x", "while_connected": True}
        for _ in range(2):
            pusher = world.client("netbox")
            await pusher.reserve(FIRST, hardware=OWNER, while_connected=True, key="k")
            await pusher.change([{"reserve": change}], key="l")
            assert len(await rows_of(admin, "netbox")) == 2
            await pusher.close()
            assert await rows_of(admin, "netbox") == []

    @pytest_twisted.ensureDeferred
    async def test_lasts_as_long(self, world, admin, timed):
        """However long that is; a server that dies leaves it for five minutes."""
        pusher = world.client("netbox")
        await pusher.reserve(FIRST, hardware=OWNER, while_connected=True)
        [each] = world.storage.reservations(None, 10, "netbox")
        assert (
            each.expires
            == world.packets.now + holding.LIFETIME
            == world.packets.now + 300
        )
        for _ in range(20):
            world.packets.now += holding.RENEWED_EVERY
            timed.advance(holding.RENEWED_EVERY)
            world.storage.clock_ticked(world.packets.now)
        [each] = world.storage.reservations(None, 10, "netbox")
        assert each.expires == world.packets.now + holding.LIFETIME
        world.control.holding.stop()
        await pusher.close()
        assert len(await rows_of(admin, "netbox")) == 1
        world.packets.now += holding.LIFETIME
        world.storage.clock_ticked(world.packets.now)
        assert await rows_of(admin, "netbox") == []

    @pytest_twisted.ensureDeferred
    async def test_becomes_somebody_else_s(self, world, admin, timed):
        """Made anew, it is who made it last who holds it; or nobody has to."""
        first, second = world.client("netbox"), world.client("netbox")
        for address, takes_over in ((FIRST, True), (SECOND, None)):
            who = {"client_id": address}
            await first.reserve(address, **who, while_connected=True)
            await second.reserve(address, **who, while_connected=takes_over)
        await first.reserve("192.0.2.12", client_id="x", while_connected=True)
        await admin.cancel("192.0.2.12")
        await admin.reserve("192.0.2.12", client_id="x", source="netbox")
        await first.close()
        assert len(await rows_of(admin, "netbox")) == 3
        await second.close()
        assert await rows_of(admin, "netbox") == [(SECOND, ""), ("192.0.2.12", "")]

    @pytest_twisted.ensureDeferred
    async def test_gone_before_it_was_there(self, world, admin, timed):
        """A connection that ends while the disk works holds nothing."""
        waiting = []
        reserve = world.storage.reserve

        def slow(*given):
            later = Deferred()
            waiting.append((later, reserve(*given)))
            return later

        world.storage.reserve = slow
        pusher = world.client("netbox")
        call = ensureDeferred(
            pusher.reserve(FIRST, hardware=OWNER, while_connected=True)
        )
        call.addErrback(lambda _: None)
        while not waiting:
            await _turn()
        await pusher.close()
        [(later, verdict)] = waiting
        later.callback(await verdict)
        assert await rows_of(admin, "netbox") == []

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, world, admin):
        """It has no lifetime beside that."""
        with pytest.raises(InvalidRequest, match="leaves no room for a lifetime"):
            await admin.reserve(
                FIRST, hardware=OWNER, while_connected=True, lifetime=60
            )


async def _turn():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0)


class TestFiles:
    """What `dhcpctl replace` reads."""

    def test_csv(self):
        """A header names the columns; an empty one says nothing."""
        lines = [
            "\n",
            "address,hardware,client-id,hostname,option.routers,lifetime\r\n",
            '192.0.2.1,02:00:00:00:00:01,,"a, b",192.0.2.254,60\r\n',
            "\r\n",
            "192.0.2.2,,x\r\n",
        ]
        assert list(read(lines, "csv")) == [
            (
                3,
                {
                    "address": "192.0.2.1",
                    "hardware": "02:00:00:00:00:01",
                    "hostname": "a, b",
                    "options": {"routers": "192.0.2.254"},
                    "lifetime": 60,
                },
            ),
            (5, {"address": "192.0.2.2", "client_id": "x"}),
        ]

    def test_json(self):
        """One object a line; what a list of reservations says besides is passed over."""
        lines = [
            '{"address": "192.0.2.1", "client-id": "x", "source": "a", "expires": null}\n',
            "\n",
            '{"address": null, "client_id": "y", "options": {"224": 5}, "lifetime": 60}',
        ]
        assert list(read(lines, "jsonl")) == [
            (1, {"address": "192.0.2.1", "client_id": "x"}),
            (3, {"client_id": "y", "options": {"224": "5"}, "lifetime": 60}),
        ]

    @pytest.mark.parametrize(
        ("kind", "text", "line", "words"),
        [
            ("jsonl", "{}\n{", 2, "is no JSON"),
            ("jsonl", "[]", 1, "is no object"),
            (
                "jsonl",
                '{"mac": "x"}',
                1,
                "mac: there is no such column; there are address",
            ),
            ("jsonl", '{"address": true}', 1, "address: is no text"),
            ("jsonl", '{"options": []}', 1, "options: is no object"),
            ("jsonl", '{"lifetime": "soon"}', 1, "lifetime: is no number"),
            ("jsonl", '{"option.routers": {}}', 1, "option.routers: is no text"),
            ("csv", "address,address\n", 1, "names a column twice"),
            ("csv", "address\n1,2\n", 2, "has 2 values, and the first line 1"),
            ("csv", 'address\n"x', 2, "unexpected end"),
        ],
    )
    def test_mistakes(self, kind, text, line, words):
        """Each with its line."""
        with pytest.raises(UnusableLine, match=words) as told:
            list(read(text.splitlines(keepends=True), kind))
        assert told.value.line == line


class TestCommandLine:
    """``dhcpctl replace`` and its like."""

    @pytest_twisted.ensureDeferred
    async def test_replace(self, ask, bind, here):
        """What changed, in a line, and what stands in the way, in a table."""
        path = here / "hosts.csv"
        await bind(1)
        path.write_text(
            "address,hardware,hostname\n127.7.0.20,02:00:00:00:01:01,a\n"
            "127.7.0.21,02:00:00:00:01:02,b\n"
        )
        done = await ask("replace", path, "--source", "csv")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(
            "2 added, 0 changed, 0 removed, 0 same, 0 refused, 0 waiting; revision 2-"
        )
        path.write_text(
            "address,hardware,hostname\n127.7.0.20,02:00:00:00:01:01,a\n"
            "127.7.0.10,02:00:00:00:01:03,c\n127.7.0.99,02:00:00:00:01:04,d\n"
        )
        trial = await ask("replace", path, "--source", "csv", "--dry-run")
        assert trial.code == 1
        assert trial.out.startswith(
            "it would be: 1 added, 0 changed, 1 removed, 1 same"
        )
        strict = await ask("replace", path, "--source", "csv", "--strict")
        assert strict.code == 1
        assert strict.out.startswith("nothing changed: 1 added")
        done = await ask("replace", path, "--source", "csv")
        assert done.code == 1
        first, heads, *rows = done.out.splitlines()
        assert first.startswith(
            "1 added, 0 changed, 1 removed, 1 same, 1 refused, 1 wai"
        )
        assert heads.split() == ["ADDRESS", "CLIENT", "WHAT", "WHY"]
        assert "127.7.0.10  02:00:00:00:01:03  waiting" in rows[0]
        assert "has it; that ends in " in rows[0]
        assert "reserved for another client by 'file'" in rows[1]
        listed = (await ask("reservations", "--source", "csv")).rows
        assert [each[0] for each in listed] == ["127.7.0.10", "127.7.0.20"]

    @pytest_twisted.ensureDeferred
    async def test_what_a_server_lists_can_be_put_back(self, ask, here):
        """JSON lines of a list, as another tool makes them."""
        await ask(
            "reserve", "127.7.0.20", "--hardware", OWNER, "--option", "routers=1.2.3.4"
        )
        import json

        listed = (await ask("--json", "reservations", "--source", "admin")).json
        path = here / "all.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in listed))
        done = await ask("--json", "replace", path, "--source", "admin")
        assert done.code == 0
        document = done.json
        assert (document["same"], document["added"], document["changed"]) == (1, 0, 0)
        assert document["named"] == []

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, ask, here):
        """A line that makes no sense to us, or to the server, is named."""
        path = here / "hosts.jsonl"
        for text, line, words in (
            ('{"address": "127.7.0.20", "hardware": "x"}', 1, "hardware: 'x'"),
            ('\n{"mac": "x"}', 2, "mac: there is no such column"),
            ("\n\n{", 3, "is no JSON"),
        ):
            path.write_text(text)
            done = await ask("replace", path, "--source", "csv")
            assert (done.code, done.out) == (1, "")
            assert f"{path}:{line}: {words}" in done.err
            assert "nothing changed" in done.err
        done = await ask("replace", here / "none", "--source", "csv")
        assert (done.code, done.err) == (
            1,
            f"dhcpctl: {here / 'none'} cannot be read: No such file or directory\n",
        )
        path.write_bytes(b"\xff\xfe")
        assert "is no text" in (await ask("replace", path, "--source", "csv")).err

    @pytest_twisted.ensureDeferred
    async def test_revisions(self, ask, here):
        """``sources`` shows them, and what expects another one is not done."""
        await ask("reserve", "127.7.0.20", "--hardware", OWNER)
        heads, *rows = (await ask("sources")).out.splitlines()
        assert heads.split() == ["SOURCE", "REVISION"] or heads.split() == [
            "SOURCE",
            "RESERVATIONS",
            "REVISION",
        ]
        revision = rows[0].split()[2]
        path = here / "empty.jsonl"
        path.write_text("")
        for words in (
            ("cancel", "127.7.0.20", "--source", "admin"),
            ("reserve", "127.7.0.21", "--client-id", "x"),
            ("replace", path, "--source", "admin"),
        ):
            done = await ask(*words, "--expect-revision", "7-0")
            assert (done.code, done.out) == (1, "")
            assert f"are at revision {revision}" in done.err
        done = await ask(
            "replace", path, "--source", "admin", "--expect-revision", revision
        )
        assert (done.code, done.out.startswith("0 added, 0 changed, 1 removed")) == (
            0,
            True,
        )

    @pytest_twisted.ensureDeferred
    async def test_for_holder(self, ask, bind):
        """A lease becomes a reservation."""
        address = await bind(1, b"laptop")
        done = await ask("reserve", address, "--for-holder")
        assert (done.code, done.out) == (0, "applied: in force with the next packet\n")
        [listed] = [
            row for row in (await ask("reservations")).rows if row[0] == address
        ]
        assert listed[1] == "02:00:00:00:00:01"
        done = await ask("reserve", "127.7.0.77", "--for-holder")
        assert done.code == 1
        assert "is not leased to anybody now" in done.err
