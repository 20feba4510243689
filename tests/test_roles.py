"""What a role may do: as which source it writes, and how often it may ask."""

from __future__ import annotations

import pytest
import pytest_twisted
from hypothesis import given, strategies as st

from dhcptwist.config import ConfigError, Rate, parse
from dhcptwist.config.written import role_text
from dhcptwist.control.allowance import Allowance
from dhcptwist.control.answering import ControlServer
from dhcptwist.control.caller import Caller
from dhcptwist.control.errors import NotPermitted, ReservedByOther, TooMany
from dhcptwist.control.server import Answers
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import network


MAC = "02:00:00:00:00:{:02x}"


def role(text):
    """A role named netbox, from what stands behind its equals sign."""
    (found,) = parse(f"[control]\nrole netbox = {text}\n").control.roles
    return found


class World:
    """A server without a wire, and the commands of its callers."""

    def __init__(self, *roles):
        self.now = 1000.0
        net = network()
        self.storage = MemoryStorage(net)
        self.server = ControlServer(
            self.storage, net, lambda: self.now, dict, roles, reactor=None
        )

    def caller(self, name="netbox"):
        """Its commands."""
        return Answers(self.server, lambda: Caller(name, self.server.roles.get(name)))

    def sources(self):
        """The source of each reservation, by address."""
        return [each.source for each in self.storage.reservations(None, 100, None)]


class TestWords:
    """The ini file's words for it."""

    @pytest.mark.parametrize(
        "text",
        [
            "list",
            "cancel, list, reserve in 10.0.0.0/8, 192.0.2.0/24",
            "reserve as netbox",
            "reserve as net box, spares",
            "reserve at 500 per 10s",
            "cancel, reserve in 10.0.0.0/16 as netbox, spares at 5 per 1m30s",
        ],
    )
    def test_there_and_back(self, text):
        """What is read is written as it was."""
        assert role_text(role(text)) == text

    def test_any_order(self):
        """As, at and in may stand in any order."""
        one = role("reserve in 10.0.0.0/8 as a, b at 5 per 1s")
        assert role("reserve at 5 per 1s as a, b in 10.0.0.0/8") == one
        assert (one.sources, one.rate) == (("a", "b"), Rate(5, 1.0))

    def test_no_limit(self):
        """None is a limit that is none."""
        assert role("reserve at none").rate is None

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("reserve as file", "file is the source of"),
            ("reserve as ,", "as which sources?"),
            ("reserve as " + "x" * 65, "64 printable"),
            ("reserve at often", "'often' is neither like 20 per 10s nor none"),
            ("reserve at 0 per 1s", "neither like 20 per 10s"),
            ("reserve as a as b", "each be said once"),
            ("reserve in 10.0.0.0/8 as a in 10.0.0.0/8", "each be said once"),
            ("reserve as", "verbs are"),
            ("in 10.0.0.0/8 as x", "verbs are"),
        ],
    )
    def test_mistakes(self, text, why):
        """Each is told."""
        with pytest.raises(ConfigError, match=why.replace("?", r"\?")):
            role(text)


class TestSources:
    """As whom a role writes."""

    @pytest_twisted.ensureDeferred
    async def test_first_is_usual(self):
        """Unless it says otherwise it writes as the first."""
        world = World(role("reserve as dns, spares"))
        caller = world.caller()
        await caller.reserve(address="192.0.2.10", hardware=MAC.format(1))
        await caller.reserve(
            address="192.0.2.11", hardware=MAC.format(2), source="spares"
        )
        assert world.sources() == ["dns", "spares"]

    @pytest.mark.parametrize("source", ["netbox", "other", "file"])
    @pytest_twisted.ensureDeferred
    async def test_no_other(self, source):
        """Nor as its own name, if it is not among them."""
        world = World(role("reserve, cancel as dns"))
        caller, one = (
            world.caller(),
            {"address": "192.0.2.10", "hardware": MAC.format(1)},
        )
        with pytest.raises(NotPermitted):
            await caller.reserve(**one, source=source)
        await caller.reserve(**one)
        with pytest.raises(NotPermitted):
            await caller.cancel(**one, source=source)

    @pytest_twisted.ensureDeferred
    async def test_cancels_its_own(self):
        """Those of any of its sources, and of no other."""
        world = World(role("reserve, cancel as dns, spares"))
        caller, admin = world.caller(), world.caller("admin")
        for number, source in ((10, "dns"), (11, "spares"), (12, "members")):
            await admin.reserve(
                address=f"192.0.2.{number}",
                hardware=MAC.format(number),
                source=source,
            )
        await caller.cancel(address="192.0.2.10")
        await caller.cancel(address="192.0.2.11")
        with pytest.raises(ReservedByOther, match="members"):
            await caller.cancel(address="192.0.2.12")
        assert world.sources() == ["members"]

    @pytest_twisted.ensureDeferred
    async def test_cancels_of_the_source_it_names(self):
        """One source of its own is not another."""
        world = World(role("reserve, cancel as dns, spares"))
        caller = world.caller()
        await caller.reserve(address="192.0.2.10", hardware=MAC.format(1))
        with pytest.raises(ReservedByOther):
            await caller.cancel(address="192.0.2.10", source="spares")
        await caller.cancel(address="192.0.2.10", source="dns")


class TestRate:
    """How often it may ask."""

    def ask(self, world, name="netbox"):
        """One command of it; the seconds that it has to wait, or 0."""
        try:
            world.caller(name).list_reservations()
        except TooMany as error:
            return error.details["retry_after"]
        return 0

    def test_retry_after(self):
        """Beyond its rate it is told when it may ask again, and then it may."""
        world = World(role("list at 5 per 10s"))
        assert [self.ask(world) for _ in range(5)] == [0] * 5
        wait = self.ask(world)
        assert wait == pytest.approx(2)
        world.now += wait / 2
        assert self.ask(world) == pytest.approx(1)
        world.now += wait / 2
        assert self.ask(world) == 0
        assert self.ask(world) > 0

    def test_message(self):
        """The words say it, too."""
        world = World(role("list at 1 per 1m"))
        self.ask(world)
        with pytest.raises(
            TooMany, match=r"'netbox' may ask 1 times in 60 s; again in 60"
        ):
            world.caller().list_reservations()

    def test_others(self):
        """Nobody else is held up: neither admin nor another role."""
        other = parse("[control]\nrole other = list\n").control.roles
        world = World(role("list at 1 per 1h"), *other)
        assert self.ask(world) == 0
        assert self.ask(world) > 0
        assert [self.ask(world, name) for name in ("admin", "other")] == [0, 0]

    def test_not_permitted_comes_first(self):
        """What it may not do at all is told as that, and does not count."""
        world = World(role("list at 1 per 1h"))
        for _ in range(3):
            with pytest.raises(NotPermitted):
                world.caller().status()
        assert self.ask(world) == 0

    @pytest_twisted.ensureDeferred
    async def test_nothing_was_done(self):
        """A reservation that was one too many is not there."""
        world = World(role("reserve at 1 per 1h"))
        caller = world.caller()
        await caller.reserve(address="192.0.2.10", hardware=MAC.format(1))
        with pytest.raises(TooMany):
            await caller.reserve(address="192.0.2.11", hardware=MAC.format(2))
        assert world.sources() == ["netbox"]

    def test_other_roles(self):
        """After a reload the same limit goes on, another begins anew."""
        world = World(role("list at 1 per 1h"))
        self.ask(world)
        world.server.serve(world.server.network, [role("list, status at 1 per 1h")])
        assert self.ask(world) > 0
        world.server.serve(world.server.network, [role("list at 2 per 1h")])
        assert self.ask(world) == 0

    def test_clock_set_back(self):
        """Nobody is shut out for longer than a whole rate takes."""
        world = World(role("list at 5 per 10s"))
        for _ in range(9):
            self.ask(world)
        world.now -= 3600
        assert self.ask(world) == pytest.approx(2)
        world.now += 10
        assert [self.ask(world) for _ in range(5)] == [0] * 5

    @given(
        st.integers(1, 20),
        st.integers(1, 100),
        st.lists(st.floats(0, 30), min_size=1, max_size=100),
    )
    def test_never_too_many(self, count, seconds, pauses):
        """In no stretch of time are there more than at once and come back in it."""
        allowance = Allowance(Rate(count, float(seconds)))
        now, taken = 1000.0, []
        for pause in pauses:
            now += pause
            if allowance.take(now) == 0:
                taken.append(now)
        for at, begin in enumerate(taken):
            for more, end in enumerate(taken[at:], 1):
                most = count + (end - begin) * count / seconds
                assert more <= most + 0.1

    @given(st.integers(1, 20), st.integers(1, 100), st.floats(0, 100))
    def test_comes_back(self, count, seconds, pause):
        """Who waits as long as he is told is admitted, whatever was before."""
        allowance = Allowance(Rate(count, float(seconds)))
        while allowance.take(1000.0) == 0:
            pass
        now = 1000.0 + pause
        now += allowance.take(now)
        # Either it was taken just now, a hundredth too early at most, or there is one.
        assert pause >= seconds / count * 0.989 or allowance.take(now) == 0
