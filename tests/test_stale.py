"""What was granted holds while a storage is gone, and not a second more."""

from __future__ import annotations

import gc
from math import inf

import pytest
from disks import Disk
from hypothesis import given, settings, strategies as st
from storages import (
    BUSY,
    FIRST,
    LATE,
    NET,
    RENEWING,
    WHOLE,
    A,
    B,
    Held,
    Pool,
    Slow,
    Trouble,
    ask,
    bound,
    left_of,
)
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from dhcptwist.client import ClientState
from dhcptwist.config import StorageConfig
from dhcptwist.interfaces import ILeases
from dhcptwist.lease import Lease, Refused, Reservation, Settings, Silence
from dhcptwist.network import Network
from dhcptwist.storage.limits import limited
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.stale import Stale
from dhcptwist.testing import FakeClient, answer, ip, subnet
from dhcptwist.wire.codes import INFINITE


SELECTING = ClientState.SELECTING


@pytest.fixture
def clock():
    """The reactor's time."""
    return Clock()


QUIET = Trouble("its storage has told of it")
QUIET.is_logged = True
GONE = [LATE, BUSY, Silence.STORAGE_FAILED, QUIET]


def gone_words(gone):
    """For the names of tests."""
    return getattr(gone, "value", "raises")


class TestStale:
    """What was granted holds while it lasts, and not a second more."""

    @pytest.fixture
    def pool(self):
        """The storage inside."""
        return Pool()

    @pytest.fixture
    def stale(self, pool, clock):
        """What is around it."""
        return Stale(pool, clock)

    @pytest.mark.parametrize("gone", GONE, ids=gone_words)
    def test_what_is_left(self, pool, stale, gone):
        """A renewal has the time that remains, with the settings that it had."""
        pool.settings = Settings({6: b"\1\2\3\4"}, hostname="pc")
        [granted] = ask(stale, "commit", A)
        pool.gone = gone
        [found] = ask(stale, "commit", A, when=1600.5)
        assert (found.address, found.key, found.hardware) == (
            FIRST,
            A.hardware,
            A.hardware,
        )
        assert found.duration == 2999
        assert found.expires == 1000 + WHOLE
        assert found.settings is granted.settings
        assert stale.own_figures() == {"remembered": 1, "stale": 1}

    @pytest.mark.parametrize("state", list(ClientState))
    def test_whatever_state(self, pool, stale, state):
        """Who reboots, or asks everybody, has its lease just the same."""
        ask(stale, "commit", A)
        pool.gone = LATE
        found = stale.commit(A.client(NET, state), FIRST, 1001.0)
        assert found.duration == WHOLE - 1

    def test_to_the_last_second(self, pool, stale):
        """Less than a second cannot be said, and what has ended is over."""
        ask(stale, "commit", A)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A, when=999.0 + WHOLE)) == 1
        assert ask(stale, "commit", A, when=999.5 + WHOLE) == [LATE]
        assert ask(stale, "commit", A, when=1000.0 + WHOLE) == [LATE]
        assert ask(stale, "commit", A, when=1e9) == [LATE]
        assert stale.own_figures()["stale"] == 1

    def test_what_was_told_counts(self, pool, stale):
        """The latest answer counts, be it shorter or longer than the one before."""
        ask(stale, "commit", A)
        pool.duration = 60
        ask(stale, "commit", A, when=1100.0)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A, when=1110.0)) == 50
        assert ask(stale, "commit", A, when=1160.0) == [LATE]
        pool.gone, pool.duration = None, 600
        ask(stale, "commit", A, when=1170.0)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A, when=1171.0)) == 599

    def test_what_is_left_grows_not(self, pool, stale):
        """What is left of what is left is no more."""
        ask(stale, "commit", A)
        pool.gone = LATE
        for passed in range(0, WHOLE, 100):
            found = ask(stale, "commit", A, when=1000.0 + passed)
            assert left_of(found) == WHOLE - passed

    def test_infinite(self, pool, stale):
        """An infinite lease stays infinite."""
        pool.duration = INFINITE
        ask(stale, "commit", A)
        pool.gone = LATE
        [found] = ask(stale, "commit", A, when=1e10)
        assert (found.duration, found.expires) == (INFINITE, inf)

    def test_waiting_takes_from_it(self, pool, stale, clock):
        """It is granted when the storage was found late, not when it was asked."""
        ask(stale, "commit", A)
        pool.gone = Deferred()
        found = ask(stale, "commit", A, when=1600.0)
        clock.advance(3)
        pool.gone.callback(LATE)
        assert left_of(found) == WHOLE - 603
        pool.gone = Deferred()
        found = ask(stale, "commit", A, when=1000.0 + WHOLE - 3)
        clock.advance(3)
        pool.gone.callback(LATE)
        assert found == [LATE]

    def test_reactor_s_clock_set_back(self, pool, stale, clock):
        """How long it took is then unknown, so there is no answer rather than a wrong one."""
        clock.advance(100)
        ask(stale, "commit", A)
        pool.gone = Deferred()
        found = ask(stale, "commit", A, when=1600.0)
        clock.rightNow -= 50
        pool.gone.errback(Trouble())
        assert found.pop().check(Trouble)

    def test_failures(self, pool, stale, logged_failures):
        """A Deferred that fails, and a coroutine, likewise."""
        ask(stale, "commit", A)
        pool.gone = fail(Trouble())
        assert left_of(ask(stale, "commit", A, when=1600.0)) == WHOLE - 600

        async def fails():
            raise Trouble

        pool.gone = fails()
        assert left_of(ask(stale, "commit", A, when=1700.0)) == WHOLE - 700
        gc.collect()
        assert len(logged_failures.flush(Trouble)) == 1

    def test_who_has_nothing(self, pool, stale):
        """Who has nothing gets what the storage says, and fails as it does."""
        ask(stale, "commit", A)
        for gone in (LATE, BUSY):
            pool.gone = gone
            assert ask(stale, "commit", B) == [gone]
            assert ask(stale, "commit", A, address=FIRST + 1) == [gone]
        pool.gone = Trouble()
        with pytest.raises(Trouble):
            ask(stale, "commit", B)
        pool.gone = fail(Trouble("later"))
        [failure] = ask(stale, "commit", B)
        assert failure.check(Trouble)
        assert stale.own_figures()["stale"] == 0

    @pytest.mark.parametrize("verb", ["offer", "configure", "release", "decline"])
    def test_nothing_else(self, pool, stale, verb):
        """Only a REQUEST has a fallback: nobody gets an address anew."""
        ask(stale, "commit", A)
        pool.gone = LATE
        assert ask(stale, verb, A) == [LATE]
        pool.gone = Trouble()
        with pytest.raises(Trouble):
            ask(stale, verb, A)

    @pytest.mark.parametrize("verb", ["release", "decline"])
    @pytest.mark.parametrize("gone", [None, LATE, Trouble()], ids=str)
    def test_given_back(self, pool, stale, verb, gone):
        """What was given back is granted no more, whether the storage heard it or not."""
        ask(stale, "commit", A)
        pool.gone = gone
        try:
            ask(stale, verb, A)
        except Trouble:
            assert isinstance(gone, Trouble)
        pool.gone = LATE
        assert ask(stale, "commit", A) == [LATE]

    def test_given_back_by_somebody_else(self, pool, stale):
        """Only who has it can give it back."""
        ask(stale, "commit", A)
        ask(stale, "release", B)
        ask(stale, "decline", B)
        ask(stale, "release", A, address=FIRST + 1)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A)) == WHOLE

    def test_given_back_without_identifier(self, pool, stale):
        """Some clients' last words have no identifier; their hardware tells."""
        named = FakeClient("02:00:00:00:00:0a", b"\0printer")
        other = FakeClient("02:00:00:00:00:0a", b"\0another")
        ask(stale, "commit", named)
        ask(stale, "release", other)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", named)) == WHOLE
        ask(stale, "release", A)
        assert ask(stale, "commit", named) == [LATE]

    @pytest.mark.parametrize(
        "word", [Refused("no"), None, Silence.NOT_ALLOWED, Lease(FIRST + 1)], ids=str
    )
    def test_last_word(self, pool, stale, word):
        """Who was refused, or is not known any more, has nothing left."""
        ask(stale, "commit", A)
        pool._ask, granting = lambda _: word, pool._ask
        assert ask(stale, "commit", A) == [word]
        pool._ask, pool.gone = granting, LATE
        assert ask(stale, "commit", A) == [LATE]
        assert stale.own_figures()["remembered"] == 0

    def test_somebody_else_has_it_now(self, pool, stale):
        """An address that was granted to another is the other's alone."""
        ask(stale, "commit", A)
        ask(stale, "commit", B, when=1010.0)
        pool.gone = LATE
        assert ask(stale, "commit", A, when=1020.0) == [LATE]
        assert left_of(ask(stale, "commit", B, when=1020.0)) == WHOLE - 10
        assert stale.own_figures()["remembered"] == 1

    @pytest.mark.parametrize("by", [1e6, -1e6])
    def test_clock_steps(self, pool, stale, by):
        """What is left stays the same when the clock is set."""
        ask(stale, "commit", A)
        stale.clock_stepped(by)
        ask(stale, "commit", B, address=FIRST + 1, when=1100.0 + by)
        pool.gone = LATE
        [found] = ask(stale, "commit", A, when=1100.0 + by)
        assert (found.duration, found.expires) == (WHOLE - 100, 1000.0 + WHOLE + by)
        found = ask(stale, "commit", B, address=FIRST + 1, when=1100.0 + by)
        assert left_of(found) == WHOLE

    @pytest.mark.parametrize("by", [1e6, -1e6])
    def test_clock_steps_under_way(self, pool, stale, by, clock):
        """Also for an answer that was asked for by the old clock."""
        pool.gone = Deferred()
        found = ask(stale, "commit", A)
        stale.clock_stepped(by)
        pool.gone.callback(pool.answer)
        assert found == [pool.answer]
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A, when=1010.0 + by)) == WHOLE - 10
        pool.gone = Deferred()
        found = ask(stale, "commit", A, when=1020.0 + by)
        stale.clock_stepped(-by)
        clock.advance(3)
        pool.gone.callback(LATE)
        assert left_of(found) == WHOLE - 23

    def test_bounded(self, pool, clock):
        """Of more leases than so many those asked for least recently are forgotten."""
        stale = Stale(pool, clock, most=3)
        clients = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        for n in (0, 1, 2, 0, 3):
            ask(stale, "commit", clients[n], address=FIRST + n)
        assert stale.own_figures()["remembered"] == len(stale._addresses) == 3
        pool.gone = LATE
        found = [ask(stale, "commit", clients[n], address=FIRST + n) for n in range(4)]
        assert [left_of(each) for each in found] == [WHOLE, None, WHOLE, WHOLE]

    def test_odd_answers(self, pool, stale):
        """What is no answer at all goes through; somebody else will say so."""
        for odd in ([], {}, "lease"):
            pool._ask = lambda _, odd=odd: odd
            assert ask(stale, "commit", A) == [odd]


@pytest.fixture
def memory():
    """A pool that shows its leases, and whose answers can be held up."""
    return Held(NET)


class TestStaleShown:
    """A storage that shows its leases is looked at, too."""

    @pytest.fixture
    def stale(self, memory, clock):
        """What is around it."""
        made = Stale(memory, clock)
        made.show(memory)
        return made

    @pytest.mark.parametrize("gone", GONE, ids=gone_words)
    def test_what_is_left(self, memory, stale, gone):
        """After a restart, all that is known is what the storage shows."""
        lease = bound(memory, A)
        lease.settings = Settings(hostname="pc")
        address = lease.address
        memory.gone = gone
        found = ask(stale, "commit", A, address, 1600.0)
        assert left_of(found) == WHOLE - 600
        assert found[0].settings is lease.settings
        again = ask(stale, "commit", A, address, 1700.0)
        assert left_of(again) == WHOLE - 700
        if isinstance(gone, Trouble):
            with pytest.raises(Trouble):
                ask(stale, "commit", B, address, 1600.0)
        else:
            assert ask(stale, "commit", B, address, 1600.0) == [gone]
            assert ask(stale, "commit", A, address, 1000.0 + WHOLE) == [gone]

    def test_no_more_than_is_promised(self, memory, stale):
        """What a late storage is about to write may not be granted yet (invariant 1)."""
        address = bound(memory, A).address
        memory.gone, memory.decides = LATE, True
        for when in (1600.0, 1700.0, 1000.0 + WHOLE - 1):
            found = ask(stale, "commit", A, address, when)
            assert left_of(found) == 1000 + WHOLE - when
            assert memory.index.leases[address].expires == when + WHOLE
        assert ask(stale, "commit", A, address, 1000.0 + WHOLE) == [LATE]

    def test_nothing_that_was_never_promised(self, memory, stale):
        """The same for a lease that is new: its client has no ACK yet."""
        offer = memory.offer(A.client(NET), 1000.0)
        memory.gone, memory.decides = LATE, True
        for when in (1000.0, 1004.0, 1012.0):
            asks = A.client(NET, ClientState.SELECTING)
            assert stale.commit(asks, offer.address, when) is LATE
            assert memory.index.leases[offer.address].bound(when)

    def test_promised_at_last(self, memory, stale):
        """Once it has answered, what it says counts."""
        address = bound(memory, A).address
        memory.gone, memory.decides = LATE, True
        ask(stale, "commit", A, address, 1600.0)
        memory.gone = None
        assert left_of(ask(stale, "commit", A, address, 1700.0)) == WHOLE
        memory.gone = LATE
        assert left_of(ask(stale, "commit", A, address, 1800.0)) == WHOLE - 100

    def test_revoked(self, memory, stale):
        """What was taken away behind the packets' back is not granted."""
        address = bound(memory, A).address
        assert left_of(ask(stale, "commit", A, address, 1000.0)) == WHOLE
        answer(memory.revoke(address, 1100.0))
        memory.gone = LATE
        assert ask(stale, "commit", A, address, 1200.0) == [LATE]

    def test_given_to_another(self, memory, stale):
        """Nor what somebody else has got meanwhile."""
        address = bound(memory, A).address
        assert left_of(ask(stale, "commit", A, address, 1000.0)) == WHOLE
        memory.release(A.client(NET), address, 1001.0)
        taken = Reservation(address, hardware=B.hardware, source="test")
        answer(memory.reserve(taken, 1001.0))
        assert bound(memory, B, 1002.0).address == address
        memory.gone = LATE
        assert left_of(ask(stale, "commit", B, address, 1202.0)) == WHOLE - 200
        assert ask(stale, "commit", A, address, 1203.0) == [LATE]

    def test_declined_and_released(self, memory, stale):
        """Given back is given back."""
        for who, verb in ((A, "release"), (B, "decline")):
            address = bound(memory, who).address
            assert ask(stale, verb, who, address, 1001.0) == [True]
            memory.gone = LATE
            assert ask(stale, "commit", who, address, 1002.0) == [LATE]
            memory.gone = None

    def test_infinite(self, memory, stale, clock):
        """What has no end has none here."""
        address = bound(memory, A).address
        memory.index.leases[address].expires = inf
        memory.gone = LATE
        assert left_of(ask(stale, "commit", A, address, 1e10)) == INFINITE

    def test_clock_steps(self, memory, stale):
        """Times that are shown have moved with the clock, those remembered as well."""
        address = bound(memory, A).address
        other = bound(memory, B).address
        ask(stale, "commit", B, other, 1000.0)
        for each in (stale, memory):
            each.clock_stepped(1e6)
        memory.gone = LATE
        found = ask(stale, "commit", A, address, 1e6 + 1600.0)
        assert left_of(found) == WHOLE - 600
        found = ask(stale, "commit", B, other, 1e6 + 1600.0)
        assert left_of(found) == WHOLE - 600

    def test_clock_steps_before(self, memory, stale):
        """What is looked up after the clock was set is understood by the new clock."""
        address = bound(memory, A).address
        for each in (stale, memory):
            each.clock_stepped(1e6)
        memory.gone, memory.decides = LATE, True
        for when in (1600.0, 1700.0):
            found = ask(stale, "commit", A, address, 1e6 + when)
            assert left_of(found) == 1000 + WHOLE - when

    def test_shortened(self, memory, stale):
        """What the storage has shortened meanwhile is shorter."""
        address = bound(memory, A).address
        ask(stale, "commit", A, address, 1000.0)
        memory.index.leases[address].expires = 1500.0
        memory.gone = LATE
        assert left_of(ask(stale, "commit", A, address, 1200.0)) == 300
        assert ask(stale, "commit", A, address, 1499.5) == [LATE]

    def test_very_long(self, memory, stale):
        """A lease of centuries is said to be as long as can be said, not infinite."""
        address = bound(memory, A).address
        memory.index.leases[address].expires = 1e11
        memory.gone = LATE
        assert left_of(ask(stale, "commit", A, address, 1200.0)) == INFINITE - 1

    def test_forgotten(self, memory, clock):
        """Who is forgotten while it waits is not looked up anew: that may be too much."""
        stale = Stale(memory, clock, most=2)
        stale.show(memory)
        leases = [
            (who, bound(memory, who).address)
            for who in (A, B, FakeClient("02:00:00:00:01:01"))
        ]
        memory.gone, memory.decides = LATE, True
        for who, address in leases:
            found = ask(stale, "commit", who, address, 1600.0)
            assert left_of(found) == WHOLE - 600
        assert stale.own_figures()["remembered"] == 2
        assert ask(stale, "commit", A, leases[0][1], 1700.0) == [LATE]

    def test_forgotten_in_peace(self, memory, clock):
        """Who is forgotten with its answer in hand can be looked up again."""
        stale = Stale(memory, clock, most=2)
        stale.show(memory)
        everybody = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        leases = [bound(memory, who) for who in everybody]
        for who, lease in zip(everybody, leases, strict=True):
            assert left_of(ask(stale, "commit", who, lease.address, 1000.0)) == WHOLE
        memory.gone = LATE
        found = ask(stale, "commit", everybody[0], leases[0].address, 1600.0)
        assert left_of(found) == WHOLE - 600

    def test_recognised(self, memory, stale):
        """A client that the storage knows by another key leaves nothing behind."""
        named = FakeClient("02:00:00:00:00:0a", b"\0printer")
        address = bound(memory, named).address
        assert left_of(ask(stale, "commit", A, address, 1000.0)) == WHOLE
        assert stale.own_figures()["remembered"] == 1
        memory.gone = LATE
        assert left_of(ask(stale, "commit", named, address, 1600.0)) == WHOLE - 600

    def test_silent_about_its_leases(self, clock):
        """A storage that shows nothing is not looked at."""
        pool = Pool()
        stale = Stale(pool, clock)
        stale.show(pool)
        ask(stale, "commit", A)
        pool.gone = LATE
        assert left_of(ask(stale, "commit", A)) == WHOLE


CLIENTS = [A, B, FakeClient("02:00:00:00:00:0c")]


class Told(Slow):
    """A storage that answers what it is told; by Deferreds if it is told nothing."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def _ask(self, verb):
        if verb in {"release", "decline"}:
            return True
        if not self.answers:
            return super()._ask(verb)
        told = self.answers.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def commit(self, client, address, when):
        """See `IStorage`."""
        return self._ask("commit")


def lease(address, duration=WHOLE):
    """What a storage grants."""
    return Lease(address, duration=duration)


def request(storage, who, address=FIRST, when=1000.0, state=RENEWING):
    """Ask for an address, and give a list that the answer will be in."""
    try:
        result = storage.commit(who.client(NET, state), address, when)
    except Trouble as error:
        return [error]
    found = []
    if isinstance(result, Deferred):
        result.addBoth(found.append)
        return found
    return [result]


@pytest.fixture
def told():
    """The storage inside."""
    return Told()


@pytest.fixture
def stale(told, clock):
    """What holds around it."""
    return Stale(told, clock)


class TestOvertaken:
    """Answers that come behind something that changes their meaning."""

    @pytest.mark.parametrize("verb", ["release", "decline"])
    def test_given_back_meanwhile(self, told, stale, verb):
        """What was given back while it was granted is not held."""
        found = request(stale, A)
        getattr(stale, verb)(A.client(NET, ClientState.BOUND), FIRST, 1001.0)
        told.asked[0].callback(lease(FIRST))
        assert left_of(found) == 3600
        told.answers = [LATE]
        assert request(stale, A, when=1002.0) == [LATE]

    def test_refused_meanwhile(self, told, stale):
        """Nor what was refused."""
        request(stale, A)
        told.answers = [Refused("no"), LATE]
        request(stale, A, when=1001.0)
        told.asked[0].callback(lease(FIRST))
        assert request(stale, A, when=1002.0) == [LATE]

    def test_given_to_another_meanwhile(self, told, stale):
        """Of two that were granted one address, neither is held."""
        request(stale, A)
        told.answers = [lease(FIRST)]
        request(stale, B, when=1001.0, state=SELECTING)
        told.asked[0].callback(lease(FIRST))
        for who in (A, B):
            told.answers = [LATE]
            assert request(stale, who, when=1002.0) == [LATE]

    def test_twice(self, told, stale):
        """A retransmission's answer is as good as the first one's."""
        request(stale, A)
        request(stale, A, when=1004.0)
        for each in told.asked:
            each.callback(lease(FIRST))
        told.answers = [LATE]
        assert left_of(request(stale, A, when=1100.0)) == 3504
        assert not stale._questions

    def test_moved(self, told, stale):
        """Who was given another address on its link has left the one before."""
        told.answers = [lease(FIRST), lease(FIRST + 1), LATE, LATE]
        request(stale, A)
        request(stale, A, FIRST + 1)
        assert request(stale, A) == [LATE]
        assert left_of(request(stale, A, FIRST + 1)) == 3600

    def test_moved_meanwhile(self, told, stale):
        """Of two addresses on its link that it was ACKed at once, it has neither here."""
        found = request(stale, A, FIRST + 1)
        told.answers = [lease(FIRST)]
        request(stale, A)
        told.asked[0].callback(lease(FIRST + 1))
        assert left_of(found) == WHOLE
        for address in (FIRST, FIRST + 1):
            told.answers = [LATE]
            assert request(stale, A, address) == [LATE]
        assert not stale._questions

    def test_given_back_on_one_link(self, told, stale):
        """What a client gives back on one link it keeps on another."""
        far = ip("10.0.0.1")
        told.answers = [lease(far), lease(FIRST)]
        request(stale, A, far)
        request(stale, A)
        stale.release(A.client(NET, ClientState.BOUND), FIRST, 1001.0)
        told.answers = [LATE, LATE]
        assert request(stale, A, when=1002.0) == [LATE]
        assert left_of(request(stale, A, far, 1002.0)) == WHOLE - 2

    def test_moved_without_subnets(self, told, stale):
        """Where no subnet is configured, a client has one address."""
        nowhere = Network([], {"eth0": [ip("192.0.2.1")]})
        for address in (FIRST, ip("10.0.0.1")):
            told.answers = [lease(address)]
            stale.commit(A.client(nowhere, RENEWING), address, 1000.0)
        told.answers = [LATE]
        assert request(stale, A) == [LATE]

    def test_given_back_twice(self, told, stale):
        """Given back while it is asked for: who has it in the end, nobody knows here."""
        told.answers = [lease(FIRST)]
        request(stale, A)
        request(stale, A, when=1001.0)
        stale.release(A.client(NET, ClientState.BOUND), FIRST, 1002.0)
        told.answers = [LATE]
        assert request(stale, A, when=1003.0) == [LATE]
        told.asked[0].callback(lease(FIRST))
        told.answers = [LATE]
        assert request(stale, A, when=1004.0) == [LATE]

    def test_elsewhere_meanwhile(self, told, stale):
        """Of two on different links it has both."""
        there = Network([subnet("10.0.0.0/24", "")], {"eth0": [ip("10.0.0.2")]})
        far = ip("10.0.0.1")
        stale.commit(A.client(there, RENEWING), far, 1000.0)
        told.answers = [lease(FIRST)]
        request(stale, A)
        told.asked[0].callback(lease(far))
        for address in (FIRST, far):
            told.answers = [LATE]
            assert left_of(request(stale, A, address)) == WHOLE

    def test_elsewhere(self, told, stale):
        """One on another link it keeps (TRAPS 45)."""
        far = ip("10.0.0.1")
        told.answers = [lease(far), lease(FIRST), LATE, LATE]
        request(stale, A, far)
        request(stale, A)
        assert left_of(request(stale, A, far)) == left_of(request(stale, A)) == 3600

    @pytest.mark.parametrize("gone", [LATE, Silence.STORAGE_FAILED, Trouble()])
    def test_unknown_outcome(self, told, stale, gone):
        """An address may be another's by now, if that one could create a binding."""
        told.answers = [lease(FIRST), gone, LATE]
        request(stale, A)
        request(stale, B, when=1001.0, state=SELECTING)
        assert request(stale, A, when=1002.0) == [LATE]

    @pytest.mark.parametrize(
        ("gone", "state"), [(BUSY, SELECTING), (LATE, ClientState.INIT_REBOOT)]
    )
    def test_no_outcome(self, told, stale, gone, state):
        """It is not if the storage was not asked, or could only confirm."""
        told.answers = [lease(FIRST), gone, LATE]
        request(stale, A)
        request(stale, B, when=1001.0, state=state)
        assert left_of(request(stale, A, when=1002.0)) == 3598

    def test_failures_are_told(self, told, stale, clock, logged_failures):
        """Somebody has to hear of a failure that no client feels; now and then."""
        told.answers = [lease(FIRST)]
        request(stale, A)
        for pause, lines in ((0, 1), (9, 1), (2, 2)):
            clock.advance(pause)
            told.answers = [Trouble()]
            assert left_of(request(stale, A, when=1002.0)) == 3598
            assert len(logged_failures) == lines
        logged_failures.flush(Trouble)
        quiet = Trouble()
        quiet.is_logged = True
        clock.advance(20)
        told.answers = [quiet]
        assert left_of(request(stale, A, when=1002.0)) == 3598


class TestShown:
    """A storage that shows its leases."""

    def test_raises(self, clock):
        """One whose list cannot be had shows nothing, and is asked all the same."""

        @implementer(ILeases)
        class Shy(Told):
            def find_leases(self, *_):
                raise Trouble

        shy = Shy()
        stale = Stale(shy, clock)
        stale.show(shy)
        shy.answers = [lease(FIRST), LATE]
        assert left_of(request(stale, A)) == 3600
        assert request(stale, A) == [LATE]

    def test_refused_strangers(self, clock):
        """Who is refused pushes nobody out of the memory."""
        memory = MemoryStorage(NET)
        stale = Stale(memory, clock, most=2)
        stale.show(memory)
        for who in (A, B):
            offer = answer(stale.offer(who.client(NET), 1000.0))
            request(stale, who, offer.address, state=SELECTING)
        assert stale.own_figures()["remembered"] == 2
        for n in range(5):
            request(stale, FakeClient(f"02:00:00:00:01:{n:02x}"))
        assert {each.key for each in stale._granted.values()} == {
            A.hardware,
            B.hardware,
        }

    def test_two_names(self, tmp_path):
        """A boot ROM asks, its system asks: no more than is on disk (invariant 1)."""
        rom = FakeClient("02:00:00:00:00:0c")
        system = FakeClient("02:00:00:00:00:0c", b"\xffsystem")
        path = tmp_path / "leases.sqlite"
        disk = Disk(path)
        disk.storage.commit(system.client(NET, SELECTING), FIRST, 1000.0)
        disk.close()
        disk = Disk(path, when=2000.0)
        clock = Clock()
        stack = limited(disk.storage, StorageConfig(stale=True), clock)
        for when, who in ((2000.0, rom), (2004.0, system), (2010.0, rom)):
            found = request(stack, who, when=when, state=ClientState.INIT_REBOOT)
            clock.advance(4)
            assert (left_of(found) or 0) <= 4600 - when
        assert disk.storage.index.leases[FIRST].expires > 5000
        disk.close()


class Model:
    """Who may count on what, said as plainly as possible."""

    def __init__(self):
        self.ends = {}  # (client, address): end

    def acknowledged(self, who, address, ends):
        """A client got an ACK."""
        self.ends = {
            (client, place): end
            for (client, place), end in self.ends.items()
            if client != who and place != address
        }
        self.ends[who, address] = ends

    def uncertain(self, who, address):
        """A client may have got what others had."""
        for other, place in list(self.ends):
            if place == address and other != who:
                del self.ends[other, place]

    def ended(self, who, address):
        """Given back, or refused."""
        self.ends.pop((who, address), None)


class History:
    """A storage that comes and goes, what surrounds it, and the model beside it."""

    TIME = 20

    def __init__(self):
        self.told = Told()
        self.clock = Clock()
        self.stale = Stale(self.told, self.clock)
        self.model = Model()
        self.now = 1000.0
        self.waiting = []  # client, address, when, question, answers, overtaken

    def commit(self, n, address, k):
        """Ask."""
        state = SELECTING if k % 2 else RENEWING
        return request(self.stale, CLIENTS[n], address, self.now, state)

    def acknowledge(self, n, address, when):
        """Somebody has an ACK; what others wait for there, or he elsewhere, is old."""
        for each in self.waiting:
            each[5] |= (each[0] == n) != (each[1] == address)
        self.model.acknowledged(n, address, when + self.TIME)

    def grant(self, n, address, k):
        """The storage grants."""
        self.told.answers = [lease(address, self.TIME)]
        assert left_of(self.commit(n, address, k)) == self.TIME
        self.acknowledge(n, address, self.now)

    def later(self, n, address, k):
        """It thinks about it."""
        found = self.commit(n, address, k)
        question = self.told.asked.pop()
        self.waiting.append([n, address, self.now, question, found, False])

    def settle(self, n, address, k):
        """It has thought, and grants."""
        if not self.waiting:
            return
        at = k % len(self.waiting)
        n, address, when, question, found, overtaken = self.waiting.pop(at)
        question.callback(lease(address, self.TIME))
        assert left_of(found) == self.TIME
        self.acknowledge(n, address, when)
        if overtaken:
            self.model.uncertain(None, address)

    def gone(self, n, address, k):
        """It is not there: what is left, or nothing."""
        gone = GONE[k // 2 % 4]
        self.told.answers = [gone]
        found = self.commit(n, address, k)
        ends = self.model.ends.get((n, address), -inf)
        left = ends - self.now
        assert left_of(found) == (int(left) if left >= 1 else None)
        mine = (n, address) in self.model.ends
        if gone is not BUSY and k % 2 and not mine:
            self.model.uncertain(n, address)

    def over(self, n, address):
        """The client has it no more."""
        self.model.ended(n, address)
        for each in self.waiting:
            each[5] |= each[:2] == [n, address]

    def back(self, n, address, k):
        """The client gives it back."""
        verb = self.stale.release if k % 2 else self.stale.decline
        verb(CLIENTS[n].client(NET, ClientState.BOUND), address, self.now)
        self.over(n, address)

    def no(self, n, address, k):
        """The storage says no."""
        self.told.answers = [[Refused("no"), None, Silence.NOT_ALLOWED][k % 3]]
        self.commit(n, address, k)
        self.over(n, address)

    def step(self, n, address, k):
        """The wall clock is set."""
        by = 86400.0 * (k - 20)
        self.now += by
        self.stale.clock_stepped(by)
        ends = self.model.ends
        self.model.ends = {each: end + by for each, end in ends.items()}
        for each in self.waiting:
            each[2] += by

    def check(self):
        """The two views of what is remembered agree."""
        stale = self.stale
        held = {(g.key, place) for place, g in stale._granted.items() if g.key}
        both = stale._addresses.items()
        assert {(key, place) for key, places in both for place in places} == held
        # Each by its address and by its client.
        assert sum(map(len, stale._questions.values())) == 2 * len(self.waiting)


KINDS = ["grant", "grant", "later", "settle", "gone", "gone", "back", "no", "step"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 2),
            st.integers(0, 1),
            st.integers(0, 40),
        ),
        min_size=20,
        max_size=60,
    )
)
def test_stale_is_what_it_says(steps):
    """Never more than was granted, never to another, never after it was given back."""
    history = History()
    for kind, n, m, k in steps:
        history.now += k / 4
        history.clock.advance(k / 4)
        getattr(history, kind)(n, FIRST + m, k)
        history.check()
