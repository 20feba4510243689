"""Storages around storages: deadlines, what holds meanwhile, and who asks too often."""

from __future__ import annotations

import gc

import pytest
from disks import Disk
from hypothesis import given, settings, strategies as st
from storages import (
    BUSY,
    FIRST,
    LATE,
    NET,
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
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from dhcptwist.config import Rate, StorageConfig
from dhcptwist.interfaces import IStorage
from dhcptwist.lease import (
    Lease,
    Refused,
    Settings,
    Silence,
)
from dhcptwist.storage import flood
from dhcptwist.storage.around import Around
from dhcptwist.storage.flood import Bucket, FloodLimit
from dhcptwist.storage.limits import LOST, Deadline, limited
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.stale import Stale
from dhcptwist.testing import FakeClient, MemoryServer, ip
from dhcptwist.wire import MessageType, relay as option_82


ACK, NAK = MessageType.ACK, MessageType.NAK
DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST


VERBS = ["offer", "commit", "release", "decline", "configure"]


@pytest.fixture
def clock():
    """The reactor's time."""
    return Clock()


@pytest.fixture
def log():
    """What is logged."""
    lines = []

    def observe(event):
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def slow():
    """The storage inside."""
    return Slow()


class TestDeadline:
    """A slow storage costs a bounded amount, for a bounded time."""

    @pytest.mark.parametrize("verb", VERBS)
    def test_late(self, clock, slow, verb):
        """Who waits too long is left alone, whatever was asked, and it is counted."""
        limit = Deadline(slow, clock, 3.0)
        found = ask(limit, verb)
        clock.advance(2.9)
        assert not found
        assert limit.own_figures()["waiting"] == 1
        clock.advance(0.2)
        assert found == [LATE]
        figures = limit.own_figures()
        assert figures == {"waiting": 1, "late": 1, "busy": 0, "most waiting": 1}
        slow.asked[0].callback(None)
        assert limit.own_figures()["waiting"] == 0
        clock.advance(3)
        assert not clock.getDelayedCalls()

    @pytest.mark.parametrize("verb", VERBS)
    def test_busy(self, clock, slow, verb):
        """More than so many do not wait: the storage is not even asked."""
        limit = Deadline(slow, clock, 3.0, most=2)
        waiting = [ask(limit), ask(limit, "commit")]
        assert ask(limit, verb) == [BUSY]
        assert len(slow.verbs) == 2
        assert limit.own_figures()["busy"] == 1
        slow.asked[0].callback(None)
        assert waiting == [[None], []]
        assert not ask(limit, verb), "one may wait again"
        assert slow.verbs == ["offer", "commit", verb]
        clock.advance(3)
        assert ask(limit, verb) == [BUSY], "who was late is still owed an answer"
        for each in slow.asked[1:]:
            each.errback(Trouble())
        assert limit.own_figures()["waiting"] == 0
        assert limit.own_figures()["most waiting"] == 2
        assert not ask(limit, verb)

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(
        "value", [Lease(FIRST), None, True, Refused("no"), Settings(), LATE, "odd"]
    )
    def test_at_once(self, clock, verb, value):
        """A value goes through as it is, costs no timer, and does not wait."""
        storage = Slow(value)
        if value is None:
            storage._ask = lambda _: None
        limit = Deadline(storage, clock, 3.0)
        [found] = ask(limit, verb)
        assert found is value
        assert not clock.getDelayedCalls()
        assert limit.own_figures()["most waiting"] == 0

    @pytest.mark.parametrize("verb", VERBS)
    def test_failures(self, clock, verb):
        """What is raised is raised, and what fails fails, as without it."""
        limit = Deadline(Slow(Trouble("now")), clock, 3.0)
        with pytest.raises(Trouble, match="now"):
            ask(limit, verb)
        failed = fail(Trouble("at once"))
        [failure] = ask(Deadline(Slow(failed), clock, 3.0), verb)
        assert failure.check(Trouble)
        slow = Slow()
        limit = Deadline(slow, clock, 3.0)
        found = ask(limit, verb)
        trouble = Trouble("later")
        slow.asked[0].errback(trouble)
        assert found[0].value is trouble
        assert limit.own_figures()["waiting"] == 0
        clock.advance(3)
        assert limit.own_figures()["late"] == 0

    def test_answered_in_time(self, clock, slow):
        """What was answered is not late, and its place is free at once."""
        limit = Deadline(slow, clock, 3.0, most=1)
        lease = Lease(FIRST)
        for _ in range(5):
            found = ask(limit)
            slow.asked[-1].callback(lease)
            assert found == [lease]
        clock.advance(10)
        assert limit.own_figures()["late"] == 0
        assert not clock.getDelayedCalls()

    def test_fired_already(self, clock):
        """A Deferred that has its answer needs no timer."""
        limit = Deadline(Slow(), clock, 3.0)
        limit._storage._ask = succeed
        assert ask(limit) == ["offer"]
        assert not clock.getDelayedCalls()

    def test_lost(self, clock, slow):
        """What has no answer after ten deadlines is cancelled, and has its place back."""
        cancelled = []
        question = Deferred(cancelled.append)
        limit = Deadline(Slow(question), clock, 3.0, most=1)
        found = ask(limit)
        clock.pump([1] * (3 * LOST - 1))
        assert found == [LATE]
        assert ask(limit) == [BUSY]
        assert not cancelled
        clock.advance(1)
        assert cancelled == [question]
        assert limit.own_figures() == {
            "waiting": 0,
            "late": 1,
            "busy": 1,
            "most waiting": 1,
        }
        assert not clock.getDelayedCalls()
        limit._storage.answer = None
        assert ask(limit) == []

    def test_lost_answers(self, clock, slow):
        """What comes when nobody waits for it any more changes nothing."""
        limit = Deadline(slow, clock, 3.0)
        found = ask(limit)
        clock.pump([3] * (LOST + 1))
        slow.asked[0].callback("very late")
        assert found == [LATE]
        assert limit.own_figures()["waiting"] == 0

    def test_late_answer(self, clock, slow):
        """What comes after all is dropped, be it an answer or a failure."""
        limit = Deadline(slow, clock, 3.0)
        first, second = ask(limit), ask(limit)
        clock.advance(3)
        slow.asked[0].callback(Lease(FIRST))
        slow.asked[1].errback(Trouble())
        assert first == second == [LATE]
        assert limit.own_figures()["waiting"] == 0
        gc.collect()  # and no failure is logged

    def test_uncancellable(self, clock, logged_failures):
        """A canceller that raises harms nobody, not even who comes after it."""

        def refuses(_):
            raise Trouble

        limit = Deadline(Slow(Deferred(refuses)), clock, 3.0)
        first = ask(limit)
        limit._storage.answer = None
        second = ask(limit)
        clock.pump([3] * LOST)
        assert first == second == [LATE]
        assert limit.own_figures()["waiting"] == 0
        assert len(logged_failures.flush(Trouble)) == 1

    def test_canceller_that_answers_others(self, clock, slow):
        """To give up one may answer another: that one has its answer, and is not late."""
        limit = Deadline(slow, clock, 3.0)
        slow.answer = Deferred(lambda _: slow.asked[0].callback("just so"))
        first = ask(limit)
        clock.advance(3 * LOST - 3)
        slow.answer = None
        second = ask(limit)
        clock.advance(3)
        assert first == [LATE]
        assert second == ["just so"]
        assert limit.own_figures()["waiting"] == 0

    def test_canceller_that_asks(self, clock, slow):
        """To give up one may set off another question: there is one timer all the same."""
        limit = Deadline(slow, clock, 3.0)
        slow.answer = Deferred(lambda _: ask(limit, "commit"))
        ask(limit)
        clock.advance(3 * LOST - 4)
        slow.answer = None
        ask(limit)
        clock.advance(4)
        assert slow.verbs == ["offer", "offer", "commit"]
        assert len(clock.getDelayedCalls()) == 1

    def test_asking_again_when_late(self, clock, slow):
        """Who asks anew the moment he hears that it was late has a deadline, too."""
        limit = Deadline(slow, clock, 3.0)
        again = []
        result = limit.offer(FakeClient().client(NET), 1000.0)
        result.addCallback(lambda _: again.append(ask(limit)))
        clock.advance(3)
        assert len(clock.getDelayedCalls()) == 1
        clock.advance(3)
        assert again == [[LATE]]
        limit.stop()

    def test_one_timer(self, clock, slow):
        """However many wait there is one timer, and each is given up in its time."""
        limit = Deadline(slow, clock, 3.0)
        found = []
        for _ in range(100):
            found.append(ask(limit))
            assert len(clock.getDelayedCalls()) == 1
            clock.advance(0.01)
        slow.asked[0].callback("first")
        slow.asked[50].callback("middle")
        clock.advance(1.995)  # the first 1 s ago is due at 3.0
        assert found[:2] == [["first"], []]
        for _ in range(110):
            assert len(clock.getDelayedCalls()) <= 1
            clock.advance(0.01)
        assert found.pop(50) == ["middle"]
        assert found.pop(0) == ["first"]
        assert found == [[LATE]] * 98
        assert len(clock.getDelayedCalls()) == 1
        clock.pump([1] * 30)
        assert limit.own_figures()["waiting"] == 0
        assert not clock.getDelayedCalls()

    def test_in_order_of_time(self, clock, slow):
        """Nobody is given up before his time because of who came earlier."""
        limit = Deadline(slow, clock, 3.0)
        first = ask(limit)
        clock.advance(2)
        second = ask(limit)
        clock.advance(1)
        assert (first, second) == ([LATE], [])
        clock.advance(1.5)
        assert second == []
        clock.advance(0.5)
        assert second == [LATE]

    def test_nothing_is_kept(self, clock, slow):
        """Behind one that hangs, those that are answered leave nothing."""
        limit = Deadline(slow, clock, 60.0)
        ask(limit)
        for _ in range(100):
            ask(limit)
            slow.asked.pop().callback(None)
        assert len(limit._waiting) + len(limit._late) == 1

    def test_log(self, clock, slow, log):
        """That a storage is late is told, at most every ten seconds."""
        limit = Deadline(slow, clock, 3.0)
        for _ in range(20):
            ask(limit)
            clock.advance(1)
        assert len(log) == 2
        assert "has not answered for 3.0 seconds: 1 requests were late" in log[0]

    def test_coroutines(self, clock, slow):
        """An ``async def`` may wait as long as a Deferred, and is ended likewise."""
        ended = []

        async def think(verb):
            try:
                return await Slow._ask(slow, verb)
            except CancelledError:
                ended.append(verb)
                raise

        storage = Slow()
        storage._ask = think
        limit = Deadline(storage, clock, 3.0)
        first, second, third = ask(limit), ask(limit, "commit"), ask(limit, "offer")
        slow.asked[0].callback("thought")
        assert first == ["thought"]
        clock.advance(3)
        assert second == third == [LATE]
        assert not ended, "half done might be worse"
        slow.asked[1].callback("thought at last")
        clock.pump([3] * LOST)
        assert ended == ["offer"]
        assert limit.own_figures()["waiting"] == 0

        async def at_once(verb):
            return verb

        storage._ask = at_once
        assert ask(limit, "configure") == ["configure"]
        assert not clock.getDelayedCalls()

    def test_stop(self, clock, slow):
        """In the end nobody is hurried: what is on its way is still answered."""
        limit = Deadline(slow, clock, 3.0)
        found = ask(limit)
        limit.stop()
        assert not clock.getDelayedCalls()
        clock.advance(10)
        assert not found
        slow.asked[0].callback("in the end")
        assert found == ["in the end"]
        last = ask(limit)
        assert not clock.getDelayedCalls()
        slow.asked[1].callback("the last")
        assert last == ["the last"]
        limit.stop()

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["ask", "answer", "fail", "wait"]), st.integers(0, 40)
            ),
            max_size=60,
        )
    )
    def test_any_order(self, steps):  # noqa: C901, PLR0912 - one step is as simple as the other
        """Everybody has one answer: its own in time, else late or busy; counted so."""
        clock, slow = Clock(), Slow()
        limit = Deadline(slow, clock, 1.0, most=4)
        owed = {}  # number to when it came
        got = {}
        busy = late = number = 0
        for step, n in steps:
            if step == "ask":
                number += 1
                got[number] = ask(limit, VERBS[n % 5])
                if len(owed) >= 4:
                    assert got[number] == [BUSY]
                    busy += 1
                    slow.asked.append(None)
                else:
                    assert got[number] == []
                    owed[number] = clock.seconds()
            elif step == "wait":
                for _ in range(n % 16 + 1):
                    clock.advance(1 / 4)  # exact in floats
                now = clock.seconds()
                for each, came in list(owed.items()):
                    if now - came >= 1 and not got[each]:
                        raise AssertionError("it has no answer in time")
                    if now - came >= LOST:
                        del owed[each]
            elif owed:
                each = list(owed)[n % len(owed)]
                del owed[each]
                in_time = not got[each]
                question = slow.asked[each - 1]
                if step == "answer":
                    question.callback(each)
                    assert got[each] == [each if in_time else LATE]
                else:
                    question.errback(Trouble(each))
                    if in_time:
                        assert got[each].pop().value.args == (each,)
                    else:
                        assert got[each] == [LATE]
            for each, came in owed.items():
                assert got[each] == ([LATE] if clock.seconds() - came >= 1 else [])
            late = sum(each == [LATE] for each in got.values())
            assert len(clock.getDelayedCalls()) <= 1
            figures = limit.own_figures()
            assert (figures["waiting"], figures["late"], figures["busy"]) == (
                len(owed),
                late,
                busy,
            )


FLOOD = Silence.FLOOD
RATE = Rate(4, 2.0)


def admitted(bucket, key, when):
    """How many of ten that come at once are admitted."""
    return sum(bucket.admits(key, when) for _ in range(10))


class TestBucket:
    """So many at once, and as many back in so many seconds."""

    def test_at_once(self):
        """As many as the rate says, and not one more."""
        bucket = Bucket(RATE)
        assert [bucket.admits("a", 1000.0) for _ in range(6)] == [True] * 4 + [
            False
        ] * 2
        assert bucket.refused == 2
        assert bucket.admits("b", 1000.0), "others are others"

    def test_coming_back(self):
        """They come back evenly, all of them in the rate's time, and no more."""
        bucket = Bucket(RATE)
        admitted(bucket, "a", 1000.0)
        assert [admitted(bucket, "a", 1000.5 + n / 2) for n in range(3)] == [1, 1, 1]
        assert admitted(bucket, "a", 1003.5) == 4
        assert admitted(bucket, "a", 9999.0) == 4

    def test_refused_costs_nothing(self):
        """Who goes on asking is not kept out for that: the clock is not wound up."""
        bucket = Bucket(RATE)
        admitted(bucket, "a", 1000.0)
        for n in range(1, 40):
            bucket.admits("a", 1000.0 + n / 100)
        assert not bucket.admits("a", 1000.49)
        assert bucket.admits("a", 1000.5)

    def test_times_of_today(self):
        """Seconds since 1970 are large numbers, and their floats are rough."""
        bucket = Bucket(Rate(300, 1.0))
        when = 1.76e9 + 0.1
        assert sum(bucket.admits("a", when) for _ in range(400)) == 300
        assert sum(bucket.admits("a", when + 1) for _ in range(400)) == 300

    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(1, 6),
        st.integers(1, 64),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200)), max_size=80),
        st.sampled_from([0.0, 1.76e9]),
    )
    def test_any_times(self, count, pace, comings, began):
        """Never more than the rate, and nobody is refused who has kept to it.

        In any stretch of time a key gets what comes back in it, and one whole rate
        (a hundredth of one more is for rounding); and who is refused would have had more.
        """
        each = pace / 64  # exact in floats
        bucket = Bucket(Rate(count, count * each))
        when = began
        had = {}
        for key, pause in comings:
            when += pause / 64
            got = had.setdefault(key, [])
            if bucket.admits(key, when):
                got.append(when)
                for n, first in enumerate(got):
                    assert len(got) - n <= count + 0.01 + (when - first) / each
            else:
                assert any(
                    len(got) - n + 1 > count + (when - first) / each
                    for n, first in enumerate(got)
                ), "refused without a reason"

    @settings(max_examples=300, deadline=None)
    @given(
        st.integers(1, 4),
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(-200, 700)),
            min_size=10,
            max_size=80,
        ),
        st.sampled_from([2, 100_000]),
    )
    def test_foretold(self, count, comings, most):
        """`wait` says who would be admitted, or when, and counts nothing."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flood, "MOST_KEYS", most)
            bucket = Bucket(Rate(count, count / 4))
            when = 1.76e9
            for key, pause in comings:
                if pause > 680 or pause < -190:
                    when += pause / 256  # beyond all that is remembered
                else:
                    when += max(pause, 0) / 4096
                before = dict(bucket._young), dict(bucket._old), bucket._began
                wait = bucket.wait(key, when)
                assert (dict(bucket._young), dict(bucket._old), bucket._began) == before
                if wait and most > 2:
                    assert bucket.wait(key, when + wait + 0.001) == 0
                    assert bucket.wait(key, when + wait - 0.01) > 0 or wait < 0.01
                assert bucket.admits(key, when) is (wait == 0)

    @pytest.mark.parametrize("by", [-1e9, -4.0, -2.1, 2.1, 1e9])
    def test_clock_set(self, by):
        """Who was refused is as good as new when the clock is set."""
        bucket = Bucket(RATE)
        admitted(bucket, "a", 1.5e9)
        assert admitted(bucket, "a", 1.5e9 + by) == 4
        assert admitted(bucket, "a", 1.5e9 + by) == 0
        assert admitted(bucket, "a", 1.5e9 + by + 2) == 4

    def test_clock_set_back_a_little(self):
        """A little costs a little: nobody is kept out for longer than that and a rate."""
        bucket = Bucket(RATE)
        bucket.admits("z", 1000.0)
        admitted(bucket, "a", 1001.9)
        assert admitted(bucket, "a", 1000.1) == 0
        assert admitted(bucket, "a", 1000.1 + 1.8 + 2) == 4

    def test_bounded(self, monkeypatch):
        """However many keys somebody makes up, only so many are remembered."""
        monkeypatch.setattr(flood, "MOST_KEYS", 50)
        bucket = Bucket(RATE)
        for n in range(1000):
            assert bucket.admits(n, 1000.0)
            assert len(bucket) <= 100
        assert admitted(bucket, 999, 1000.0) == 3, "the latest are remembered"

    def test_forgets(self):
        """Who has not come for two rates is not remembered."""
        bucket = Bucket(RATE)
        for n in range(100):
            bucket.admits(n, 1000.0)
        for when in (1001.0, 1002.0, 1003.0, 1004.0):
            bucket.admits("a", when)
        assert len(bucket) == 2, "once in each generation"


PORT_1 = option_82.join({1: b"eth1", 2: b"switch"})
PORT_2 = option_82.join({1: b"eth2", 2: b"switch"})


def at_port(number, port):
    """One of the clients at a port."""
    return FakeClient(
        f"02:00:00:00:02:{number:02x}", options={82: port} if port else {}
    )


class TestFloodLimit:
    """Who asks too often is not answered, and does not reach the storage."""

    @pytest.mark.parametrize("verb", VERBS)
    def test_client(self, verb):
        """One client, whatever it asks."""
        pool = Pool()
        limit = FloodLimit(pool, RATE)
        for _ in range(4):
            assert ask(limit, verb, A) != [FLOOD]
        assert ask(limit, verb, A) == [FLOOD]
        assert pool.verbs == [verb] * 4
        assert ask(limit, verb, B) != [FLOOD]
        assert ask(limit, verb, A, when=1002.0) != [FLOOD]
        assert limit.own_figures() == {"flood clients": 1}

    def test_all_verbs_together(self):
        """It is the client that has a limit, not the kind of its message."""
        limit = FloodLimit(Pool(), RATE)
        assert [ask(limit, verb, A) == [FLOOD] for verb in VERBS] == [False] * 4 + [
            True
        ]

    def test_identifier(self):
        """A client is known by its identifier, as everywhere."""
        limit = FloodLimit(Pool(), RATE)
        for n in range(4):
            ask(limit, "offer", FakeClient(f"02:00:00:00:00:{n:02x}", b"\0same"))
        assert ask(limit, "offer", FakeClient(identifier=b"\0same")) == [FLOOD]

    def test_port(self):
        """All clients of one relay port together, made up or not."""
        pool = Pool()
        limit = FloodLimit(pool, None, RATE)
        for n in range(4):
            assert ask(limit, "offer", at_port(n, PORT_1)) != [FLOOD]
        assert ask(limit, "offer", at_port(9, PORT_1)) == [FLOOD]
        assert ask(limit, "offer", at_port(9, PORT_2)) != [FLOOD]
        for n in range(9):
            assert ask(limit, "offer", at_port(n, b"")) != [FLOOD], "nobody's port"
        assert limit.own_figures() == {"flood ports": 1}

    def test_both(self):
        """A client that has gone mad does not use up what its port has."""
        limit = FloodLimit(Pool(), Rate(2, 10.0), RATE)
        for _ in range(50):
            ask(limit, "offer", at_port(1, PORT_1))
        assert ask(limit, "offer", at_port(2, PORT_1)) != [FLOOD]
        assert ask(limit, "offer", at_port(3, PORT_1)) != [FLOOD]
        assert ask(limit, "offer", at_port(4, PORT_1)) == [FLOOD]
        assert limit.own_figures() == {"flood clients": 48, "flood ports": 1}

    @pytest.mark.parametrize(
        "junk", [b"\1", b"\1\xff", b"\0\0", bytes(255), b"\5\4\xc0\0\2\0"]
    )
    def test_no_port(self, junk):
        """An option that names no port, or makes no sense, limits nobody."""
        limit = FloodLimit(Pool(), None, RATE)
        for n in range(9):
            assert ask(limit, "offer", at_port(n, junk)) != [FLOOD]

    def test_relays(self):
        """Ports of two relays may have one name."""
        limit = FloodLimit(Pool(), None, Rate(1, 10.0))
        port = option_82.join({1: b"Gi1/0/1"})

        def through(giaddr, number):
            who = at_port(number, port)
            who.fields["giaddr"] = giaddr
            return ask(limit, "offer", who)

        assert through("192.0.2.200", 1) != [FLOOD]
        assert through("192.0.2.201", 2) != [FLOOD]
        assert through("192.0.2.200", 3) == [FLOOD]

    def test_figures_from_the_beginning(self):
        """A limit that has refused nobody yet is shown, one that is not there is not."""
        assert FloodLimit(Pool(), RATE, RATE).own_figures() == {
            "flood clients": 0,
            "flood ports": 0,
        }
        assert FloodLimit(Pool(), None).own_figures() == {}


class TestAround:
    """Several around one."""

    CONFIG = StorageConfig(
        deadline=3.0, outstanding=2, stale=True, client_limit=RATE, port_limit=RATE
    )

    def test_order(self, clock):
        """From outside: the flood, the fallback, the deadline, the storage."""
        slow = Slow()
        outer = limited(slow, self.CONFIG, clock)
        kinds = []
        while isinstance(outer, Around):
            assert verifyObject(IStorage, outer)
            kinds.append(type(outer))
            outer = outer._storage
        assert kinds == [FloodLimit, Stale, Deadline]
        assert outer is slow

    def test_no_more_than_wanted(self, clock):
        """What is not configured is not there."""
        assert type(limited(Slow(), StorageConfig(), clock)) is Deadline
        assert type(limited(Slow(), StorageConfig(stale=True), clock)) is Stale
        for key in ("client_limit", "port_limit"):
            made = limited(Slow(), StorageConfig(**{key: RATE}), clock)
            assert type(made) is FloodLimit
            assert type(made._storage) is Deadline

    def test_figures(self, clock):
        """All numbers of all of them."""
        outer = limited(Slow(), self.CONFIG, clock)
        found = [ask(outer, "commit", who) for who in (A, B, A)]
        clock.advance(3)
        assert found == [[LATE], [LATE], [BUSY]]
        assert outer.figures() == {
            "flood clients": 0,
            "flood ports": 0,
            "remembered": 0,
            "stale": 0,
            "waiting": 2,
            "late": 2,
            "busy": 1,
            "most waiting": 2,
        }

    def test_clock_and_stop(self, clock):
        """The clock and the end are told to all of them."""
        slow = Slow()
        outer = limited(slow, self.CONFIG, clock)
        found = ask(outer, "commit", A)
        slow.asked[0].callback(Lease(FIRST, duration=WHOLE))
        outer.clock_stepped(1e6)
        late = ask(outer, "commit", A, when=1e6 + 1600.0)
        clock.advance(3)
        assert left_of(found) == WHOLE
        assert left_of(late) == WHOLE - 603
        found = ask(outer, "offer", B)
        outer.stop()
        assert not clock.getDelayedCalls()
        slow.asked[2].callback("in the end")
        assert found == ["in the end"]

    def test_all_of_them_hear(self, clock):
        """Whatever is inside, of every one that may be outside."""

        class Listening(Around):
            def __init__(self):
                super().__init__(None)
                self.heard = []

            def stop(self):
                self.heard.append("stop")

            def clock_stepped(self, by):
                self.heard.append(by)

            def own_figures(self):
                return {"inside": 1}

        makers = (
            lambda inner: Deadline(inner, clock, 3.0),
            lambda inner: Stale(inner, clock),
            lambda inner: FloodLimit(inner, RATE),
            Around,
        )
        for make in makers:
            inner = Listening()
            outer = make(inner)
            outer.clock_stepped(5.0)
            outer.stop()
            assert inner.heard == [5.0, "stop"]
            assert outer.figures()["inside"] == 1
            bare = make(Slow())
            bare.clock_stepped(5.0)
            bare.stop()

    def test_stale_shows(self, clock):
        """A pool is looked at through all that is around it."""
        memory = Held(NET)
        address = bound(memory, A).address
        memory.gone = Deferred()
        outer = limited(memory, self.CONFIG, clock)
        found = ask(outer, "commit", A, address, 1600.0)
        clock.advance(3)
        assert left_of(found) == WHOLE - 603


class TestOtherLimits:
    """The [storage] section changes while requests are under way."""

    def test_deadline(self, clock):
        """What comes next has the new time, and the new place in the queue."""
        slow = Slow()
        before = limited(slow, StorageConfig(deadline=3.0, outstanding=1), clock)
        first = ask(before)
        assert ask(before) == [BUSY]
        outer = limited(slow, StorageConfig(deadline=5.0, outstanding=2), clock, before)
        second = ask(outer)
        assert ask(outer) == [BUSY]
        clock.advance(3)
        assert (first, second) == ([LATE], [])
        clock.advance(2)
        assert second == [LATE]
        for each in slow.asked:
            each.callback(None)
        assert outer.figures()["waiting"] == 0
        outer.stop()
        assert not clock.getDelayedCalls()

    def test_stale_remembers(self, clock):
        """What was granted before still holds when the storage is gone afterwards."""
        pool = Pool()
        before = limited(pool, StorageConfig(stale=True), clock)
        ask(before, "commit", A)
        other = StorageConfig(stale=True, client_limit=RATE)
        outer = limited(pool, other, clock, before)
        pool.gone = Silence.STORAGE_FAILED
        assert left_of(ask(outer, "commit", A, when=1600.0)) == WHOLE - 600

    def test_stale_from_now_on(self, clock):
        """Where there was no fallback there is one, which looks at what is shown."""
        memory = Held(NET)
        address = bound(memory, A).address
        before = limited(memory, StorageConfig(), clock)
        outer = limited(memory, StorageConfig(stale=True), clock, before)
        memory.gone = Silence.STORAGE_FAILED
        assert left_of(ask(outer, "commit", A, address, 1600.0)) == WHOLE - 600

    def test_stale_while_something_is_under_way(self, clock):
        """What is shown then may never be on disk: it is not taken for promised."""
        memory = Held(NET)
        address = bound(memory, A).address
        memory.gone = Deferred()
        before = limited(memory, StorageConfig(), clock)
        ask(before, "commit", B, address + 1)
        outer = limited(memory, StorageConfig(stale=True), clock, before)
        memory.gone = succeed(Silence.STORAGE_FAILED)
        found = ask(outer, "commit", A, address, 1600.0)
        assert found == [Silence.STORAGE_FAILED]
        outer.stop()

    def test_no_fallback_any_more(self, clock):
        """It is gone with what it knew."""
        pool = Pool()
        before = limited(pool, StorageConfig(stale=True), clock)
        outer = limited(pool, StorageConfig(), clock, before)
        assert type(outer) is Deadline

    @pytest.mark.parametrize("key", ["client_limit", "port_limit"])
    def test_flood(self, clock, key):
        """The same limit goes on counting; another begins anew."""
        port = FakeClient(options={82: option_82.join({1: b"eth1"})})
        once, twice = Rate(1, 60.0), Rate(2, 60.0)
        slow = Slow(Lease(FIRST))
        before = limited(slow, StorageConfig(**{key: once}), clock)
        assert ask(before, who=port) != [Silence.FLOOD]
        same = StorageConfig(deadline=9.0, **{key: once})
        outer = limited(slow, same, clock, before)
        assert ask(outer, who=port) == [Silence.FLOOD]
        assert next(iter(outer.figures().values())) == 1
        other = limited(slow, StorageConfig(**{key: twice}), clock, outer)
        assert ask(other, who=port) != [Silence.FLOOD]
        none = limited(slow, StorageConfig(), clock, other)
        assert type(none) is Deadline


class TestPackets:
    """A whole server, packets in and packets out, whose storage has a bad day."""

    CONFIG = StorageConfig(deadline=3.0, outstanding=3)

    def make(self, storage, clock, config=CONFIG):
        """The server."""
        return MemoryServer(NET, limited(storage, config, clock))

    def renew(self, server, who, address="192.0.2.10"):
        """A renewal, and what is answered at once."""
        return server.receive(who.message(REQUEST, ciaddr=ip(address)))

    def test_hangs(self, clock):
        """A storage that hangs: silence, counted as late or busy; then all is well."""
        slow = Slow()
        server = self.make(slow, clock)
        for who in (A, B):
            assert server.receive(who.message(DISCOVER)) is None
        assert server.receive(A.message(MessageType.INFORM, ciaddr=FIRST)) is None
        assert server.silences() == {}
        for kind in (DISCOVER, MessageType.INFORM, MessageType.RELEASE):
            assert server.receive(A.message(kind, ciaddr=FIRST)) is None
        declined = A.message(MessageType.DECLINE, requested="192.0.2.10")
        assert server.receive(declined) is None
        assert server.silences() == {"storage-busy": 4}
        clock.advance(3)
        assert server.silences() == {"storage-busy": 4, "storage-late": 3}
        for each in slow.asked:
            each.callback(None)
        for verb in (MessageType.RELEASE, MessageType.INFORM):
            server.receive(A.message(verb, ciaddr=FIRST))
        clock.advance(3)
        assert server.silences()["storage-late"] == 5
        assert not server.sent
        slow.answer = Lease(FIRST, duration=WHOLE)
        assert server.bind(A).yiaddr == FIRST

    def test_answers_late(self, clock):
        """An answer that comes late is not sent."""
        slow = Slow()
        server = self.make(slow, clock)
        server.receive(A.message(DISCOVER))
        clock.advance(3)
        slow.asked[0].callback(Lease(FIRST, duration=WHOLE))
        assert not server.sent
        server.receive(A.message(DISCOVER))
        clock.advance(2.9)
        slow.asked[1].callback(Lease(FIRST, duration=WHOLE))
        assert server.sent[-1].message.yiaddr == FIRST

    def test_fails(self, clock, logged_failures):
        """A storage that fails, in each way: counted, and told once."""
        server = self.make(Slow(Trouble()), clock)
        assert server.receive(A.message(DISCOVER)) is None
        server.storage._storage.answer = fail(Trouble())
        assert self.renew(server, A) is None
        server.storage._storage.answer = None
        assert self.renew(server, A) is None
        server.storage._storage.asked[-1].errback(Trouble())
        assert server.silences() == {"storage-failed": 3}
        assert len(logged_failures.flush(Trouble)) == 1

    def test_stale(self, clock):
        """Clients that have a lease go on, others are left alone, and it is counted."""
        memory = Held(NET)
        server = self.make(memory, clock, StorageConfig(stale=True))
        address = server.bind(A).yiaddr
        memory.gone = Deferred()
        server.now += 600
        assert self.renew(server, A) is None
        clock.advance(3)
        ack = server.sent[-1].message
        assert (ack.type, ack.yiaddr) == (ACK, address)
        assert ack.options[51] == (WHOLE - 603).to_bytes(4, "big")
        sent = len(server.sent)
        memory.gone = Deferred()
        self.renew(server, B)
        clock.advance(3)
        assert len(server.sent) == sent
        assert server.silences() == {"storage-late": 1}
        assert server.storage.figures()["stale"] == 1
        memory.gone = None
        server.now += 600
        assert self.renew(server, A).message.options[51] == WHOLE.to_bytes(4, "big")

    def test_flood(self, clock):
        """Who floods is silenced, and nobody else is."""
        config = StorageConfig(client_limit=Rate(20, 10.0), port_limit=Rate(30, 10.0))
        server = self.make(MemoryStorage(NET), clock, config)
        answered = [server.receive(A.message(DISCOVER)) for _ in range(50)]
        assert sum(each is not None for each in answered) == 20
        assert server.silences() == {"flood": 30}
        assert server.bind(B)
        for n in range(50):
            server.receive(at_port(n, PORT_1).message(DISCOVER))
        silences = server.silences()
        assert silences["flood"] == 30 + 20
        assert silences["pool-exhausted"] == 30 - 2
        server.now += 10
        assert server.receive(A.message(DISCOVER)) is not None

    def test_retransmissions_are_no_flood(self, clock):
        """RFC 2131 section 4.1: after 4, 8 and 16 seconds, and begun anew for hours."""
        config = StorageConfig(client_limit=Rate(4, 30.0))
        server = self.make(MemoryStorage(NET), clock, config)
        for _ in range(100):
            for pause in (0, 4, 8, 16):
                server.now += pause
                assert server.receive(A.message(DISCOVER)) is not None
            server.now += 32

    def test_sqlite_hangs(self, clock, tmp_path):
        """A disk that hangs: who is promised something has it on disk (invariant 1)."""
        disk = Disk(tmp_path / "leases.sqlite")
        disk.bind(A)
        disk.sync()
        server = MemoryServer(
            disk.network, limited(disk.storage, StorageConfig(stale=True), clock)
        )
        server.now = 1600.0
        for _ in range(2):
            assert self.renew(server, A) is None
            disk.begin()
            clock.advance(3)
            server.now += 3
            ack = server.sent[-1].message
            assert ack.type == ACK
            left = int.from_bytes(ack.options[51], "big")
            assert left == 1000 + WHOLE - server.now
        disk.finish()
        disk.sync()
        assert self.renew(server, A) is None
        disk.sync()
        assert server.sent[-1].message.options[51] == WHOLE.to_bytes(4, "big")
        disk.close()
        server.storage.stop()
