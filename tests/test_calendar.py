"""The ends of leases: each is told once, in its time, whatever happened before it."""

from __future__ import annotations

from functools import partial
from math import inf

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from dhcptwist.lease import Lease, LeaseState
from dhcptwist.storage.calendar import Calendar
from dhcptwist.storage.index import LeaseIndex
from dhcptwist.testing import ip, network, subnet


FIRST = ip("192.0.2.10")
BOUND, RELEASED = LeaseState.BOUND, LeaseState.RELEASED
DECLINED, REVOKED = LeaseState.DECLINED, LeaseState.REVOKED
ELSEWHERE = ip("10.0.0.1")
EVERYTHING = 1 << 20

NOTES = st.lists(st.tuples(st.integers(-5, 12), st.integers(1, 99)), max_size=30)


@given(st.lists(st.tuples(NOTES, st.integers(-6, 14), st.integers(1, 5)), max_size=8))
def test_the_calendar(rounds):
    """Pages come in order and when they are due, with what was noted, in its order."""
    calendar = Calendar()
    model = {}
    for notes, when, most in rounds:
        for second, address in notes:
            page = calendar.note(second, address)
            assert page[0] == second
            model.setdefault(second, []).append(address)
        assert len(calendar) == sum(map(len, model.values()))
        while (due := calendar.due(when + 0.5, most)) is not None:
            page, addresses = due
            second = min(model)
            assert page[0] == second <= when
            assert addresses == model[second][:most]
            del model[second][:most]
            if not model[second]:
                del model[second]
        assert all(second > when for second in model)


def test_what_is_due_at_the_very_second():
    """A page is due when its second begins, and not before."""
    calendar = Calendar()
    calendar.note(10, 1)
    assert calendar.due(9.999, 5) is None
    page, addresses = calendar.due(10.0, 5)
    assert (page[0], addresses) == (10, [1])
    assert calendar.due(99.0, 5) is None


class Kept:
    """What the naive model knows of an address.

    Attributes:
        lease: State, key, and when it ends.
        told: Whether its end was told.
    """

    def __init__(self, state, key, expires, told=False):
        self.state = state
        self.key = key
        self.expires = expires
        self.told = told

    def copy(self):
        """For those who have to go back."""
        return Kept(self.state, self.key, self.expires, self.told)

    def has_ended(self, when):
        """Whether there is something to tell."""
        return self.state != RELEASED and self.expires <= when and not self.told


#: The last one is outside of the pool.  Few, so that much happens to each.
ADDRESS = st.sampled_from([FIRST, FIRST + 1, FIRST + 4])
KEY = st.sampled_from([b"\x01aaaaaa", b"\x01bbbbbb"])
LENGTH = st.sampled_from([0.5, 1.0, 3.25, 50.0, inf])


class Ends(RuleBasedStateMachine):
    """Leases that are made, renewed, shortened, given back and undone, against a table."""

    def __init__(self):
        super().__init__()
        self.network = network(subnet())
        self.index = LeaseIndex(self.network)
        self.index.log = []
        self.when = 1e6
        self.now = {}
        #: As it was when the transaction began; what it has changed can be undone.
        self.before = {}

    def lease(self, address):
        """What the index has."""
        return self.index.leases[address]

    def put(self, address, state, key, expires):
        """A lease, here and in the model."""
        area = self.index.area_of(address)
        lease = Lease(address, state, key, key, self.when, expires)
        self.index.put(area, lease)
        self.now[address] = Kept(state, key, expires)

    @rule(address=ADDRESS, key=KEY, length=LENGTH)
    def is_bound(self, address, key, length):
        """A new lease, or a renewal; longer or shorter than what was there."""
        self.put(address, BOUND, key, self.when + length)

    @rule(address=ADDRESS)
    def is_released(self, address):
        """Given back."""
        if address in self.now and self.now[address].state == BOUND:
            self.put(address, RELEASED, self.now[address].key, self.when)

    @rule(address=ADDRESS, key=KEY, length=LENGTH)
    def is_declined(self, address, key, length):
        """Somebody found it in use."""
        self.put(address, DECLINED, key, self.when + length)

    @rule(address=ADDRESS)
    def is_revoked(self, address):
        """It rests until the lease would have ended."""
        kept = self.now.get(address)
        if kept is not None and kept.state == BOUND and kept.expires != inf:
            self.put(address, REVOKED, kept.key, kept.expires)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 20.0]))
    def time_passes(self, seconds):
        """Nobody looks."""
        self.when += seconds

    @rule(seconds=st.sampled_from([1.0, 3.0, 60.0]))
    def time_passes_and_all_end(self, seconds):
        """As the clock's ticks do it."""
        self.when += seconds
        self.all_end()

    @rule(address=ADDRESS, key=KEY)
    def is_bound_for_a_moment(self, address, key):
        """A lease whose end is near."""
        self.put(address, BOUND, key, self.when + 0.5)

    @rule(most=st.integers(1, 4))
    def some_end(self, most):
        """What has ended is told, some at a time (or none, if only old notes are due)."""
        ended = self.index.expire(self.when, most)
        assert len(ended) <= most
        self.index.log += [partial(self.index.look_again, each) for each in ended]
        for each in ended:
            kept = self.now[each.address]
            assert each is self.lease(each.address)
            assert kept.has_ended(self.when), f"{each} told too soon, or twice"
            kept.told = True
            free = self.index.area_of(each.address).free
            assert (each.address in free) == (each.address < FIRST + 4)

    @rule()
    def all_end(self):
        """The one that ended first comes first, by the second; and nobody is left out."""
        ended = self.index.expire(self.when, EVERYTHING)
        for each in ended:
            assert self.now[each.address].has_ended(self.when), f"{each} told twice"
            self.now[each.address].told = True
        self.index.log += [partial(self.index.look_again, each) for each in ended]
        seconds = [int(each.expires) for each in ended]
        assert seconds == sorted(seconds)
        # A second is over when the next one has begun.
        late = [
            address
            for address, kept in self.now.items()
            if kept.has_ended(self.when - 1)
        ]
        assert late == []

    @precondition(lambda self: self.index.log)
    @rule()
    def is_written(self):
        """The transaction was kept."""
        self.index.log.clear()
        self.before = {address: kept.copy() for address, kept in self.now.items()}

    @precondition(lambda self: self.index.log)
    @rule()
    def has_failed(self):
        """It was not: everything is as it was, also what had been told."""
        self.index.undo(self.index.log)
        self.index.log.clear()
        self.now = {address: kept.copy() for address, kept in self.before.items()}

    @rule(by=st.sampled_from([5.0, 1000.0, -1000.0, -500.5]))
    def the_clock_is_set(self, by):
        """Nobody's remaining time changes, and what was told stays told."""
        self.when += by
        self.index.shift(by, self.index.log)
        for kept in [*self.now.values(), *self.before.values()]:
            kept.expires += by

    @precondition(lambda self: not self.index.log)
    @rule(down=st.sampled_from([0.0, 2.0, 30.0]))
    def restarts(self, down):
        """Whoever ended while nobody was there is told once, and not again."""
        self.when += down
        told = {
            address
            for address, kept in self.now.items()
            if kept.told and kept.state == BOUND
        }
        leases = [
            Lease(address, kept.state, kept.key, kept.key, 0.0, kept.expires)
            for address, kept in self.now.items()
        ]
        leases.sort(key=lambda lease: (lease.expires <= self.when, lease.expires))
        self.index = LeaseIndex(self.network)
        self.index.load(leases, self.when, told)
        self.index.log = []
        for kept in self.now.values():
            # Of what rests, the end is nothing that somebody would want to know later.
            if kept.state != BOUND and kept.expires <= self.when:
                kept.told = True
        self.is_written()

    @invariant()
    def the_index_is_the_table(self):
        """Address by address."""
        found = {
            address: (lease.state, lease.key, lease.expires)
            for address, lease in self.index.leases.items()
        }
        assert found == {
            address: (kept.state, kept.key, kept.expires)
            for address, kept in self.now.items()
        }

    @invariant()
    def who_has_something_is_not_free(self):
        """What is held is not to be taken; what was given back is."""
        for address, kept in self.now.items():
            free = address in self.index.area_of(address).free
            held = kept.state != RELEASED and kept.expires > self.when
            assert not (held and free), f"{address:#x} is held and free"
            if address < FIRST + 4 and (kept.told or kept.state == RELEASED):
                assert free, f"{address:#x} was given back and is not free"

    def teardown(self):
        """In the end everything ends, once; but for what has no end."""
        self.when += 1e7
        self.all_end()
        assert self.index.expire(self.when, EVERYTHING) == []
        for kept in self.now.values():
            assert kept.told or kept.state == RELEASED or kept.expires == inf


TestEnds = Ends.TestCase
TestEnds.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def index_with(*leases, when=1000.0, told=()):
    """An index as after a start."""
    index = LeaseIndex(network(subnet()))
    index.load(leases, when, told)
    return index


class TestStart:
    """What is read from a file."""

    def test_which_ends_are_told(self):
        """A lease that ended while nobody was there; not what was told or given back."""
        mine = b"\x01aaaaaa"
        leases = [
            Lease(FIRST, BOUND, mine, mine, 0.0, 5000.0),
            Lease(FIRST + 1, BOUND, mine, mine, 0.0, 500.0),
            Lease(FIRST + 2, BOUND, mine, mine, 0.0, 600.0),
            Lease(FIRST + 3, RELEASED, mine, mine, 0.0, 700.0),
            Lease(ELSEWHERE, BOUND, mine, mine, 0.0, 800.0),
        ]
        index = index_with(*leases, told={FIRST + 2})
        assert index.expire(1000.0) == [leases[1]]
        assert index.expire(1000.0) == []
        assert index.expire(5001.0) == [leases[0]]
        free = index.area_of(FIRST).free
        assert [free.take(lambda _: True) for _ in range(4)] == [
            FIRST + n for n in (1, 2, 3, 0)
        ]

    @pytest.mark.parametrize("state", [DECLINED, REVOKED])
    def test_what_rested_is_free_and_not_told(self, state):
        """That nobody rests there any more is no news after a start."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, state, mine, mine, 0.0, 500.0))
        assert index.expire(9999.0) == []
        assert FIRST in index.area_of(FIRST).free

    def test_a_told_end_is_told_again_for_a_new_lease(self):
        """What was told is one lease's end, not its address's."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, 500.0), told={FIRST})
        index.put(index.area_of(FIRST), Lease(FIRST, BOUND, mine, mine, 1e3, 1010.0))
        assert index.expire(1009.0) == []
        assert [each.address for each in index.expire(1011.0)] == [FIRST]

    def test_without_an_end(self):
        """An infinite lease is on no page, whatever becomes of the clock."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, inf))
        assert index.expire(1e15) == []
        index.shift(1e6, [])
        assert index.expire(1e15) == []
        assert FIRST not in index.area_of(FIRST).free


class TestLookingAgain:
    """An end that could not be kept."""

    def test_it_is_found_once_more(self):
        """And once only, however often it was put back."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, 1500.0))
        [lease] = index.expire(1600.0)
        index.look_again(lease)
        index.look_again(lease)
        assert len(index._ends) == 1
        assert index.expire(1600.0) == [lease]
        assert index.expire(1600.0) == []

    def test_not_what_is_somebody_else_s_since(self):
        """Its address has another lease now, whose end is its own affair."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, 1500.0))
        [lease] = index.expire(1600.0)
        index.put(index.area_of(FIRST), Lease(FIRST, BOUND, mine, mine, 1600.0, 1700.0))
        index.look_again(lease)
        assert len(index._ends) == 1
        assert index.expire(1650.0) == []
        assert len(index.expire(1701.0)) == 1


class TestUndoing:
    """A lease that was not to be takes nothing along."""

    def test_an_end_that_was_told(self):
        """A new lease over it fails: the address is free, and there is nothing to tell."""
        mine, other = b"\x01aaaaaa", b"\x01bbbbbb"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, 1500.0))
        index.expire(1600.0)
        index.log = []
        area = index.area_of(FIRST)
        index.put(area, Lease(FIRST, BOUND, other, other, 1600.0, 1700.0))
        assert FIRST not in area.free
        index.undo(index.log)
        assert FIRST in area.free
        assert index.expire(9999.0) == []

    @pytest.mark.parametrize("by", [0.0, 100.0, -100.0])
    @pytest.mark.parametrize("again", [1505.0, 1700.0, inf])
    def test_a_renewal(self, by, again):
        """The lease before it ends when it would have, whatever the clock did since."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 900.0, 1500.0))
        index.log = []
        area = index.area_of(FIRST)
        index.put(area, Lease(FIRST, BOUND, mine, mine, 900.0, again))
        index.shift(by, index.log)
        index.undo(index.log)
        lease = index.leases[FIRST]
        assert (lease.since, lease.expires) == (900.0 + by, 1500.0 + by)
        assert FIRST not in area.free
        assert index.expire(1500.0 + by) == []
        assert index.expire(1501.0 + by) == [lease]
        assert index.expire(9999.0) == []

    def test_a_renewal_whose_lease_should_have_ended_meanwhile(self):
        """Its page was read while the renewal stood there: its end is told all the same."""
        mine = b"\x01aaaaaa"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 900.0, 1500.0))
        index.log = []
        area = index.area_of(FIRST)
        index.put(area, Lease(FIRST, BOUND, mine, mine, 900.0, 1700.0))
        assert index.expire(1510.0) == []
        index.undo(index.log)
        assert index.expire(1510.0) == [index.leases[FIRST]]
        assert index.expire(9999.0) == []

    def test_whose_it_was(self):
        """Clients are found where they were, by identifier and by hardware address."""
        mine, other, card = b"\xffmine", b"\xffother", b"\x01aaaaaa"
        index = index_with(
            Lease(FIRST, BOUND, mine, card, 900.0, 950.0),
            Lease(FIRST + 1, BOUND, other, b"\x01bbbbbb", 900.0, 1500.0),
        )
        subnets = index.network.subnets
        index.log = []
        area = index.area_of(FIRST)
        # The other moves to where mine was; mine comes back to another place.
        left = Lease(FIRST + 1, RELEASED, other, b"\x01bbbbbb", 1000.0, 1000.0)
        index.put(area, left)
        index.put(area, Lease(FIRST, BOUND, other, b"\x01bbbbbb", 1000.0, 2000.0))
        index.put(area, Lease(FIRST + 2, BOUND, mine, card, 1000.0, 2000.0))
        assert index.of_client(other, subnets).address == FIRST
        assert index.of_client(mine, subnets).address == FIRST + 2
        index.undo(index.log)
        assert index.of_client(mine, subnets).address == FIRST
        assert index.of_client(other, subnets).address == FIRST + 1
        assert index.by_hardware == {card: FIRST, b"\x01bbbbbb": FIRST + 1}

    def test_an_infinite_lease(self):
        """It is nobody else's, and on no page."""
        mine, other = b"\x01aaaaaa", b"\x01bbbbbb"
        index = index_with(Lease(FIRST, BOUND, mine, mine, 900.0, inf))
        index.log = []
        area = index.area_of(FIRST)
        index.put(area, Lease(FIRST, RELEASED, mine, mine, 1000.0, 1000.0))
        index.put(area, Lease(FIRST, BOUND, other, other, 1000.0, 1100.0))
        index.undo(index.log)
        assert FIRST not in area.free
        assert index.expire(1e9) == []

    def test_a_first_lease(self):
        """The address is as good as new."""
        mine = b"\x01aaaaaa"
        index = index_with()
        index.log = []
        area = index.area_of(FIRST)
        assert area.free.take(lambda _: True) == FIRST
        index.put(area, Lease(FIRST, BOUND, mine, mine, 1000.0, 1100.0))
        index.undo(index.log)
        assert index.leases == {}
        assert area.free.take(lambda _: True) == FIRST
        assert index.expire(9999.0) == []


def test_an_end_while_the_address_is_offered():
    """It is told, and the address stays with the offer; then it is free."""
    mine, other = b"\x01aaaaaa", b"\x01bbbbbb"
    index = index_with(Lease(FIRST, BOUND, mine, mine, 0.0, 1500.0))
    area = index.area_of(FIRST)
    index.hold(area, Lease(FIRST, LeaseState.OFFERED, other, other, 1490.0, 1520.0))
    assert len(index.expire(1501.0)) == 1
    assert FIRST not in area.free
    index.lapse(area, 1521.0)
    assert FIRST in area.free


def test_renewing_notes_nothing():
    """A thousand renewals leave one place in the calendar, and the right end."""
    mine = b"\x01aaaaaa"
    index = index_with()
    area = index.area_of(FIRST)
    for n in range(1000):
        index.put(area, Lease(FIRST, BOUND, mine, mine, 1000.0, 1100.0 + n))
    assert len(index._ends) == 1
    index.put(area, Lease(FIRST, RELEASED, mine, mine, 1000.0, 1000.0))
    assert len(index._ends) == 1
    index.put(area, Lease(FIRST, BOUND, mine, mine, 1000.0, 2099.0))
    assert len(index._ends) == 1
    assert index.expire(2098.0) == []
    assert len(index.expire(2100.0)) == 1
