"""Taking leases over from other servers: the rules."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import pytest
from disks import Disk
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.control.values import lease_fields
from dhcptwist.lease import (
    EventKind,
    Lease,
    LeaseState,
    Reservation,
)
from dhcptwist.leasefiles.found import NOBODY
from dhcptwist.leasefiles.rows import lease_from
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_journal import StorageFailure
from dhcptwist.testing import FakeClient, MemoryServer, answer, ip, network, subnet
from dhcptwist.wire import MessageType


ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data" / "leases"
DISCOVER, REQUEST, ACK = MessageType.DISCOVER, MessageType.REQUEST, MessageType.ACK
BOUND, RELEASED, DECLINED = LeaseState.BOUND, LeaseState.RELEASED, LeaseState.DECLINED
NOW = 1000.0
FIRST = ip("192.0.2.10")


def hardware(number: int) -> bytes:
    """Give a hardware address with its type."""
    return b"\x01\x02\0\0\0\0" + bytes([number])


def client(number: int) -> FakeClient:
    """Give the client with that hardware address."""
    return FakeClient(f"02:00:00:00:00:{number:02x}")


def lease(
    who: int,
    address: int | str = FIRST,
    state: LeaseState = BOUND,
    *,
    expires: float = NOW + 600,
    since: float = NOW - 100,
    **more: object,
) -> Lease:
    """Write a lease that another server has given."""
    number = ip(address) if isinstance(address, str) else address
    mac = hardware(who)
    return Lease(number, state, mac, mac, since, expires, 0, **more)


class World:
    """A server in memory, and what is taken over by it."""

    def __init__(self, *subnets, reservations=(), when=NOW):
        self.network = network(*subnets)
        self.storage = MemoryStorage(self.network, reservations)
        self.server = MemoryServer(self.network, self.storage)
        self.server.now = when

    def take(self, *leases, dry_run=False):
        """What is said of each."""
        return answer(
            self.storage.import_leases(leases, self.server.now, "me", dry_run)
        )

    def renew(self, who, address=FIRST):
        """Whether a client can renew its address, and the seconds it gets."""
        sent = self.server.receive(client(who).message(REQUEST, ciaddr=address))
        if sent is None or sent.message.type != ACK:
            return None
        assert sent.message.yiaddr == address
        return int.from_bytes(sent.message.options[51], "big")

    def discover(self, who):
        """The address that a client is offered."""
        sent = self.server.receive(client(who).message(DISCOVER))
        return None if sent is None else sent.message.yiaddr

    def at(self, address=FIRST):
        """The lease of an address."""
        return self.storage.index.leases.get(address)

    def shown(self):
        """Everything that is listed."""
        page = self.storage.leases(0, 1 << 20, None)
        return [lease_fields(each, self.network, self.server.now) for each in page]


@pytest.fixture
def world():
    """One subnet with the addresses .10 to .13 to give."""
    return World()


# --- the rules ----------------------------------------------------------------------


class TestWhatIsTaken:
    """A lease that its client could renew."""

    def test_a_lease(self, world):
        """It is the client's, who renews it as if it had been ours."""
        there = lease(1, hostname="pc", relay=b"\1\1a")
        assert world.take(there) == ["taken"]
        mine = world.at()
        assert (mine.state, mine.key, mine.hardware) == (BOUND, *[hardware(1)] * 2)
        assert (mine.since, mine.expires) == (there.since, there.expires)
        assert (mine.hostname, mine.relay) == ("pc", b"\1\1a")
        assert world.renew(1) == 3600
        assert world.at().since == there.since  # it is the same lease

    def test_by_identifier(self, world):
        """One whose identifier is its type and address is the same as one without."""
        world.take(lease(1))
        known = FakeClient("02:00:00:00:00:01", identifier=hardware(1))
        sent = world.server.receive(known.message(REQUEST, ciaddr=FIRST))
        assert sent.message.type == ACK

    def test_nobody_else_gets_it(self, world):
        """Not while it lasts; then it is free."""
        world.take(*(lease(n, FIRST + n) for n in range(4)))
        assert world.discover(9) is None
        world.server.now += 601
        world.storage.clock_ticked(world.server.now)
        assert world.discover(9) is not None

    def test_for_ever(self, world):
        """A lease without an end stays one."""
        assert world.take(lease(1, expires=inf)) == ["taken"]
        assert world.at().expires == inf
        world.server.now += 1e9
        assert world.discover(9) != FIRST
        assert world.renew(1) == 3600

    def test_times(self, world):
        """Nothing has begun in the future; an unknown beginning is now."""
        world.take(lease(1, since=NOW + 50), lease(2, FIRST + 1, since=0.0))
        assert [world.at(FIRST + n).since for n in (0, 1)] == [NOW, NOW]

    def test_expired(self, world):
        """One that has run out is the client's previous address."""
        assert world.take(lease(1, expires=NOW - 5)) == ["taken"]
        world.storage.clock_ticked(NOW)
        assert world.shown()[0]["state"] == "expired"
        assert world.discover(2) == FIRST + 1  # never used ones come first
        assert world.discover(1) == FIRST

    def test_released(self, world):
        """So is one that was given back."""
        there = lease(1, FIRST + 2, RELEASED, expires=NOW + 500)
        assert world.take(there) == ["taken"]
        assert world.at(FIRST + 2).expires == NOW
        assert world.at(FIRST + 2).since == there.since
        assert world.discover(1) == FIRST + 2
        assert world.discover(2) == FIRST

    def test_declined(self, world):
        """It rests, but no longer than our own do."""
        short = subnet(decline_hold=50)
        world = World(short)
        there = [
            Lease(FIRST + n, DECLINED, NOBODY, b"", 5.0, expires)
            for n, expires in enumerate((inf, NOW + 20, NOW))
        ]
        assert world.take(*there) == ["taken", "taken", "ended"]
        assert [world.at(FIRST + n).expires for n in (0, 1)] == [NOW + 50, NOW + 20]
        assert world.at(FIRST + 2) is None
        assert world.discover(1) == FIRST + 2
        world.server.now += 51
        world.storage.clock_ticked(world.server.now)
        order = [world.discover(number) for number in range(2, 6)]
        assert order == [FIRST + 2, FIRST + 3, FIRST + 1, FIRST]

    def test_listeners_are_told(self, world):
        """By whom it was."""
        events = []

        class Listener:
            def lease_changed(self, event):
                events.append(event)

        world.storage.add_listener(Listener())
        world.take(lease(1), dry_run=True)
        assert events == []
        world.take(lease(1))
        (event,) = events
        assert (event.kind, event.by, event.when) == (EventKind.IMPORTED, "me", NOW)
        assert (event.address, event.key) == (FIRST, hardware(1))

    def test_nothing(self, world):
        """Nothing to do is done."""
        assert world.take() == []


class TestWhatIsKnown:
    """What we have already, or know better."""

    def test_twice(self, world):
        """To do it again changes nothing."""
        there = [
            lease(1),
            lease(2, FIRST + 1, RELEASED, expires=NOW - 1),
            lease(3, FIRST + 2, expires=NOW - 1),
            Lease(FIRST + 3, DECLINED, NOBODY, b"", 5.0, inf),
        ]
        assert world.take(*there) == ["taken"] * 4
        before = world.shown()
        assert world.take(*there) == ["known"] * 4
        assert world.shown() == before
        world.server.now += 10
        assert world.take(there[3]) == ["known"]  # it does not rest longer for that

    def test_extended(self, world):
        """A later end is new, an earlier one is known."""
        world.take(lease(1))
        assert world.take(lease(1, expires=NOW + 500)) == ["known"]
        assert world.at().expires == NOW + 600
        assert world.take(lease(1, expires=NOW + 700)) == ["taken"]
        assert world.at().expires == NOW + 700
        assert world.take(lease(1, expires=inf)) == ["taken"]
        assert world.take(lease(1, expires=NOW + 700)) == ["known"]

    @pytest.mark.parametrize("state", [RELEASED, BOUND])
    def test_ended_there(self, world, state):
        """What our client has now is not taken away for it had it before."""
        world.take(lease(1))
        assert world.take(lease(1, state=state, expires=NOW - 50)) == ["known"]
        assert world.at().bound(NOW)

    def test_released_since(self, world):
        """A client that gave its lease back here does not get it back by a file."""
        world.take(lease(1))
        world.server.receive(
            client(1).message(
                MessageType.RELEASE, ciaddr=FIRST, options={54: b"\xc0\0\2\1"}
            )
        )
        assert world.at().state == RELEASED
        assert world.take(lease(1)) == ["known"]
        assert world.at().state == RELEASED
        # But one that began later is another; and so may be one that does not say.
        assert world.take(lease(1, since=NOW + 0.5), dry_run=True) == ["taken"]
        assert world.take(lease(1, since=0.0)) == ["taken"]


class TestConflicts:
    """What its client could not renew."""

    @pytest.mark.parametrize(
        ("address", "why"),
        [
            ("10.0.0.5", "in no subnet of this server"),
            ("192.0.2.1", "is an address of the server or of a router"),
            ("192.0.2.11", "is an address of the server or of a router"),
            ("192.0.2.9", "is in no pool, and not reserved for its client"),
            ("192.0.2.255", "is in no pool, and not reserved for its client"),
        ],
    )
    def test_addresses(self, address, why):
        """Those that we give to nobody."""
        world = World(subnet(excluded=frozenset([ip("192.0.2.11")])))
        assert world.take(lease(1, address)) == [why]
        assert world.take(lease(1, address, RELEASED)) == ["ended"]
        assert world.shown() == []

    def test_reserved(self):
        """For somebody else; or for its client, also outside of the pools."""
        mine = [
            Reservation(FIRST, hardware=hardware(1)),
            Reservation(ip("192.0.2.99"), client_id=b"\0one"),
            Reservation(FIRST + 1, hardware=hardware(5), expires=NOW),
            Reservation(ip("192.0.2.98"), circuit_id=b"eth1", source="netbox"),
        ]
        world = World(reservations=mine)
        assert world.take(
            lease(2),
            lease(2, FIRST + 1),
            lease(3, "192.0.2.99"),
            lease(3, "192.0.2.98", relay=b"\1\4eth2"),
        ) == [
            "is reserved for another client by 'file'",
            "taken",
            "is reserved for another client by 'file'",
            "is reserved for another client by 'netbox'",
        ]
        named = Lease(ip("192.0.2.99"), BOUND, b"\0one", hardware(7), 5.0, NOW + 60)
        at_port = lease(4, "192.0.2.98", relay=b"\1\4eth1")
        assert world.take(lease(1), named, at_port) == ["taken"] * 3
        assert world.renew(1) == 3600
        assert world.renew(4, ip("192.0.2.98")) == 3600

    def test_reserved_does_not_rest(self):
        """Who it is reserved for is the only one who would suffer."""
        world = World(reservations=[Reservation(FIRST, hardware=hardware(1))])
        there = Lease(FIRST, DECLINED, NOBODY, b"", 5.0, inf)
        assert world.take(there) == ["is reserved by 'file', so it does not rest"]
        assert world.discover(1) == FIRST

    def test_its_client_has_another_reserved(self):
        """It would be sent there at its next contact; not while that is taken."""
        world = World(reservations=[Reservation(FIRST, hardware=hardware(1))])
        conflict = "its client has 192.0.2.10 reserved"
        assert world.take(lease(1, FIRST + 1)) == [conflict]
        assert world.renew(1, FIRST + 1) is None
        rests = lease(1, FIRST + 1, DECLINED)
        assert world.take(rests) == ["taken"]  # it is nobody's
        world = World()
        world.take(lease(2))
        owner = Reservation(FIRST, hardware=hardware(1), source="x")
        answer(world.storage.reserve(owner, NOW))
        assert world.take(lease(1, FIRST + 1)) == ["taken"]
        assert world.renew(1, FIRST + 1) == 600  # until the other one is gone

    def test_only_options_reserved(self):
        """That stands in nobody's way, not even of a reservation that says less."""
        world = World(
            reservations=[
                Reservation(client_id=hardware(1), hostname="pc"),
                Reservation(FIRST, hardware=hardware(1)),
            ]
        )
        assert world.take(lease(1, FIRST + 1)) == ["taken"]
        assert world.renew(1, FIRST + 1) == 3600

    def test_held(self, world):
        """By another client, who is named; one that had it before is not in the way."""
        world.take(lease(1, hostname="pc"))
        assert world.take(lease(2)) == ["is bound to 02:00:00:00:00:01 (pc) here"]
        assert world.take(lease(2, state=RELEASED)) == ["ended"]
        rests = Lease(FIRST, DECLINED, NOBODY, b"", 5.0, inf)
        assert world.take(rests) == ["is bound to 02:00:00:00:00:01 (pc) here"]
        world.server.now += 600
        assert world.take(lease(2, expires=NOW + 900)) == ["taken"]
        assert world.at().key == hardware(2)

    def test_offered(self, world):
        """To another client, whose address it may be in a moment."""
        assert world.discover(1) == FIRST
        assert world.take(lease(2)) == ["is being offered to 02:00:00:00:00:01"]
        assert world.take(lease(1)) == ["taken"]
        world.server.now += 31
        assert world.discover(3) == FIRST + 1
        world.server.now += 31
        assert world.take(lease(4, FIRST + 1)) == ["taken"]

    def test_declined_here(self, world):
        """It rests, whoever had it."""
        world.take(Lease(FIRST, DECLINED, hardware(1), b"", 5.0, NOW + 50))
        why = "rests here, for it was declined"
        assert world.take(lease(1)) == [why]
        assert world.take(lease(2)) == [why]
        assert world.take(lease(1, state=RELEASED)) == ["ended"]

    def test_revoked_here(self, world):
        """It was taken away, and is not given back by a file."""
        world.take(lease(1))
        answer(world.storage.revoke(FIRST, NOW, "me"))
        why = "is revoked to 02:00:00:00:00:01 here"
        assert world.take(lease(1, expires=NOW + 900)) == [why]

    def test_two_had_it(self, world):
        """Of two that had an address, the one who had it last gets it back."""
        world.take(lease(1, expires=NOW - 10))
        assert world.take(lease(2, expires=NOW - 20)) == ["ended"]
        assert world.take(lease(2, state=RELEASED, expires=NOW - 10)) == ["ended"]
        assert world.take(lease(3, state=RELEASED, expires=NOW - 5)) == ["taken"]
        assert world.discover(3) == FIRST

    def test_a_client_comes_back_after_import(self, world):
        """A dry run does not hold anything."""
        assert world.take(lease(1), dry_run=True) == ["taken"]
        assert world.shown() == []
        assert world.discover(2) == FIRST


class TestOneClient:
    """A client has one address on a wire: the one that lasts longest."""

    @pytest.mark.parametrize("dry_run", [True, False])
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_in_one_call(self, world, order, dry_run):
        """In whatever order they come."""
        there = [
            lease(1, FIRST, expires=NOW + 100),
            lease(1, FIRST + 1, expires=NOW + 200),
            lease(1, FIRST + 2, RELEASED, expires=NOW + 300),
        ]
        said = world.take(*(there[n] for n in order), dry_run=dry_run)
        assert [said[order.index(n)] for n in range(3)] == [
            "its client has a later lease, of 192.0.2.11",
            "taken",
            "ended",
        ]

    def test_one_after_the_other(self, world):
        """The one that it leaves is free at once, as if it had moved."""
        world.take(lease(1, FIRST, expires=NOW + 100))
        assert world.take(lease(1, FIRST + 1, expires=NOW + 200)) == ["taken"]
        assert world.at(FIRST).state == RELEASED
        assert world.renew(1, FIRST + 1) == 3600
        assert world.discover(1) == FIRST + 1
        assert world.take(lease(1, FIRST + 2, expires=NOW + 150)) == [
            "its client has a later lease, of 192.0.2.11"
        ]

    def test_of_two_that_have_ended(self, world):
        """The one that it had last is the one it gets back."""
        world.take(lease(1, FIRST, RELEASED, expires=NOW - 50, since=NOW - 90))
        assert world.discover(1) == FIRST
        world.server.now += 31
        later = lease(1, FIRST + 2, RELEASED, expires=NOW - 10, since=NOW - 40)
        assert world.take(later) == ["taken"]
        assert world.discover(1) == FIRST + 2
        earlier = lease(1, FIRST + 3, RELEASED, expires=NOW - 20)
        assert world.take(earlier) == ["ended"]

    def test_its_address_has_gone_to_another(self, world):
        """What a client had is no obstacle once somebody else has it."""
        world.take(lease(2, expires=NOW - 50))
        there = lease(1, expires=inf), lease(2, FIRST + 1, expires=inf)
        assert world.take(*there, dry_run=True) == ["taken", "taken"]
        assert world.take(*there) == ["taken", "taken"]

    @pytest.mark.parametrize(
        ("state", "expires", "kinds"),
        [
            (BOUND, NOW + 50, [EventKind.RELEASED, EventKind.IMPORTED]),
            (BOUND, NOW - 50, [EventKind.IMPORTED]),
            (RELEASED, NOW - 50, [EventKind.IMPORTED]),
        ],
    )
    def test_only_what_lasts_is_left(self, world, state, expires, kinds):
        """An address that its client had before is left alone."""
        world.take(lease(1, FIRST, state, expires=expires))
        events = []

        class Listener:
            def lease_changed(self, event):
                events.append(event.kind)

        world.storage.add_listener(Listener())
        assert world.take(lease(1, FIRST + 1)) == ["taken"]
        assert events == kinds

    def test_on_one_wire(self):
        """Two subnets on a wire are one for a client; those elsewhere are not."""
        second = subnet("198.51.100.0/24", "198.51.100.10-198.51.100.13", name="second")
        third = subnet("203.0.113.0/24", "203.0.113.10-203.0.113.13", name="third")
        for shared in ("hall", None):
            world = World(
                subnet(shared_network=shared),
                subnet(
                    str(second.cidr),
                    "198.51.100.10-198.51.100.13",
                    name="second",
                    shared_network=shared,
                ),
                third,
            )
            said = world.take(
                lease(1, expires=NOW + 100),
                lease(1, "198.51.100.10", expires=NOW + 200),
                lease(1, "203.0.113.10", expires=NOW + 50),
            )
            later = "its client has a later lease, of 198.51.100.10"
            assert said == [later if shared else "taken", "taken", "taken"]
            if shared:
                assert world.renew(1, ip("198.51.100.10")) == 3600
                assert world.take(lease(1, expires=NOW + 9999)) == ["taken"]
                assert world.renew(1) == 3600
                assert world.discover(1) == FIRST


class TestRestart:
    """What was taken over is the same to a server that has read it from its disk."""

    def restarted(self, tmp_path, subnets, *there, later=0.0):
        """A server that starts again some time after it has taken leases over."""
        disk = Disk(tmp_path / "leases.sqlite", net=network(*subnets), when=NOW)
        for each in there:
            done = disk.storage.import_leases([each], NOW, "me")
            disk.sync()
            assert answer(done) == ["taken"]
        disk.close()
        net = network(*subnets)
        return Disk(tmp_path / "leases.sqlite", net=net, when=NOW + later)

    def discover(self, disk):
        """The address that the client is offered."""
        sent = disk.server.receive(client(1).message(DISCOVER))
        disk.close()
        return sent.message.yiaddr

    def test_the_lease_that_lasts(self, tmp_path):
        """Not one that began later, and has ended."""
        ended = lease(1, expires=NOW - 5, since=NOW - 10)
        lasts = lease(1, FIRST + 1, since=NOW - 90)
        disk = self.restarted(tmp_path, [subnet()], ended, lasts)
        assert self.discover(disk) == FIRST + 1

    @pytest.mark.parametrize("later", [0.0, 5000.0])
    def test_the_lease_it_moved_to(self, tmp_path, later):
        """Also when both have ended."""
        left = lease(1, expires=NOW + 50, since=NOW - 10)
        lasts = lease(1, FIRST + 1, since=NOW - 90)
        disk = self.restarted(tmp_path, [subnet()], left, lasts, later=later)
        assert self.discover(disk) == FIRST + 1

    @pytest.mark.parametrize("address", ["192.0.2.10", "198.51.100.10"])
    def test_in_another_subnet(self, tmp_path, address):
        """Of its wire; whichever stands first."""
        other = {"192.0.2.10": "198.51.100.10"}.get(address, "192.0.2.10")
        ended = lease(1, other, expires=NOW - 5, since=NOW - 10)
        disk = self.restarted(tmp_path, HALL, ended, lease(1, address))
        assert self.discover(disk) == ip(address)


# --- the same, at random --------------------------------------------------------------

HALL = (
    subnet("192.0.2.0/24", "192.0.2.10-192.0.2.12", shared_network="hall"),
    subnet(
        "198.51.100.0/24",
        "198.51.100.10-198.51.100.11",
        name="second",
        shared_network="hall",
    ),
)
PLACES = [ip("192.0.2.9"), FIRST, FIRST + 1, FIRST + 2]
PLACES += [ip("198.51.100.10"), ip("198.51.100.11"), ip("10.0.0.1")]
THERE = st.builds(
    lease,
    st.integers(1, 4),
    st.sampled_from(PLACES),
    st.sampled_from([BOUND, BOUND, BOUND, RELEASED, DECLINED]),
    expires=st.sampled_from([inf, *(NOW + n for n in (-200, -50, 0, 50, 300))]),
    since=st.sampled_from([0.0, NOW - 300, NOW - 60, NOW + 10]),
)
BATCH = st.lists(THERE, max_size=7, unique_by=lambda each: each.address)
RESERVED = st.lists(
    st.builds(
        lambda address, who, by_id: Reservation(
            address,
            **({"client_id": hardware(who)} if by_id else {"hardware": hardware(who)}),
        ),
        st.sampled_from([None, *PLACES[:6]]),
        st.integers(1, 5),
        st.booleans(),
    ),
    max_size=3,
    unique_by=(lambda each: each.address, lambda each: each.who),
)


def state_of(storage):
    """Everything a storage knows, to compare."""
    index = storage.index
    return (
        {
            a: (each.state, each.key, each.since, each.expires)
            for a, each in index.leases.items()
        },
        [dict(index.area(each).clients) for each in storage.network.subnets],
        [
            (list(index.area(each).free._used), list(index.area(each).free._lapsed))
            for each in storage.network.subnets
        ],
        dict(index.by_hardware),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(BATCH, min_size=1, max_size=3), RESERVED, st.integers(0, 3))
def test_what_is_taken_can_be_renewed(batches, reservations, asking):
    """And nothing else is said to be taken; a dry run says the same and does nothing."""
    world = World(*HALL, reservations=reservations)
    for number in range(asking):
        world.discover(number)
    for batch in batches:
        before = state_of(world.storage)
        foretold = world.take(*batch, dry_run=True)
        assert state_of(world.storage) == before
        said = world.take(*batch)
        assert said == foretold
        if set(said) <= {"known", "ended"}:
            assert state_of(world.storage) == before
        taken = [
            each for each, word in zip(batch, said, strict=True) if word == "taken"
        ]
        for each in taken:
            assert world.at(each.address).key == each.key
            assert world.at(each.address).state == each.state
            if each.held(NOW) or each.state == DECLINED:
                assert world.at(each.address).held(NOW)
        again = world.take(*batch)
        for first, second in zip(said, again, strict=True):
            # What stood in the way may have gone away in the same call, but after that.
            gone = first.startswith("is bound to") and second == "taken"
            assert gone or second in (
                {"known"} if first == "taken" else {first, "known"}
            )
        for each in taken:
            if each.state == BOUND and each.held(NOW):
                assert world.renew(each.key[-1], each.address), (each, said)


@settings(max_examples=200, deadline=None)
@given(st.lists(BATCH, min_size=1, max_size=3))
def test_round_trip(batches):
    """What is exported and imported into an empty server is exported the same again."""
    first, second = World(*HALL), World(*HALL)
    for batch in batches:
        first.take(*batch)
    shown = first.shown()
    said = second.take(*map(lease_from, json.loads(json.dumps(shown))))
    assert set(said) <= {"taken", "ended"}
    kept = {row["address"] for row in second.shown()}
    for row, word in zip(shown, said, strict=True):
        # A client keeps one previous address, and what has rested needs no rest.
        assert (word == "taken") is (row["address"] in kept)
        if word == "ended":
            assert row["state"] in {"released", "expired", "declined"}
    assert second.shown() == [row for row in shown if row["address"] in kept]
    # And once it is so, for ever.
    third = World(*HALL)
    assert set(third.take(*map(lease_from, second.shown()))) <= {"taken"}
    assert third.shown() == second.shown()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(BATCH, BATCH, st.booleans())
def test_a_disk(tmp_path, batch, more, fails):
    """It is on disk when it is said, as it is in memory; or it is not at all."""
    for old in tmp_path.iterdir():
        old.unlink()
    disk = Disk(tmp_path / "leases.sqlite", net=network(*HALL), when=NOW)
    done = disk.storage.import_leases(batch, NOW, "me")
    if not done.called:
        disk.sync()
    said = answer(done)
    memory = World(*HALL)
    assert memory.take(*batch) == said
    assert state_of(disk.storage) == state_of(memory.storage)
    before = state_of(disk.storage)
    disk.fault = OSError(28, "No space left on device") if fails else None
    done = disk.storage.import_leases(more, NOW, "me")
    if done.called:  # there was nothing to do
        assert not set(answer(done)) & {"taken"}
    elif fails:
        disk.sync()
        with pytest.raises(StorageFailure, match="No space left"):
            answer(done)
        leases, clients, _, by_hardware = state_of(disk.storage)
        assert (leases, clients, by_hardware) == (before[0], before[1], before[3])
    else:
        assert memory.take(*more)
        disk.sync()
        assert answer(done)
        assert state_of(disk.storage) == state_of(memory.storage)
    known = state_of(disk.storage)
    disk.fault = None
    disk.close()
    again = Disk(tmp_path / "leases.sqlite", net=network(*HALL), when=NOW)
    assert state_of(again.storage)[0] == known[0]
    for number in range(1, 5):
        was, now = (
            server.receive(client(number).message(DISCOVER))
            for server in (disk.server, again.server)
        )
        lasting = {
            each.key for each in disk.storage.index.leases.values() if each.bound(NOW)
        }
        if hardware(number) in lasting:
            assert now.message.yiaddr == was.message.yiaddr
    again.close()
