"""What holds while a storage runs, as tests: its clock, control calls, events, answers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..client import ClientState
from ..interfaces import (
    IClockListener,
    IHistory,
    ILeaseListener,
    ILeases,
    IReservations,
)
from ..lease import Event, EventKind, Lease, LeaseState, Reservation
from ..wire.codes import INFINITE
from .parts import FakeClient, ip, network, subnet
from .steps import Steps


SELECTING, RENEWING = ClientState.SELECTING, ClientState.RENEWING

LEFT = "invariant 8: when the clock is set by {:+.0f} s, "
ONCE = "ILeases.add_listener: each change is told once, in order; "


@implementer(ILeaseListener)
class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def lease_changed(self, event: Event) -> None:
        """See `ILeaseListener`."""
        self.events.append(event)


class RunningContract(Steps):
    """The rules for a storage that runs; mixed into `StorageContract`."""

    # --- many at once -------------------------------------------------------------

    def test_many_ask_before_anybody_is_answered(self) -> None:
        """Invariant 2 holds while answers are still being thought about."""
        net = network()
        storage: Any = self.make(net)
        first = ip("192.0.2.10")
        asked = [
            self.asks(storage, net, "commit", who, 100.0, first, SELECTING)
            for who in self._clients(8)
        ]
        found = list(map(self.wait, asked))
        given = sum(isinstance(each, Lease) for each in found)
        self.must(
            given == 1,
            f"invariant 2: of eight who ask for one address at once {given} were given"
            " it; it has to be one",
        )

    def test_offers_asked_for_at_once(self) -> None:
        """Invariant 5: four addresses are offered to four of eight who ask together."""
        net = network()
        storage: Any = self.make(net)
        asked = [
            self.asks(storage, net, "offer", who, 100.0, state=ClientState.INIT)
            for who in self._clients(8)
        ]
        found = [each for each in map(self.wait, asked) if isinstance(each, Lease)]
        given = {offer.address for offer in found}
        self.must(len(given) == len(found), "invariant 5: one address offered to two")
        self.must(
            len(given) == 4, "a free address was offered to none of those who ask"
        )

    def test_every_question_is_answered(self) -> None:
        """Whatever is asked at once, and however much: answered or failed, in time."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(60)
        verbs: tuple[tuple[str, int | None, ClientState], ...] = (
            ("offer", None, ClientState.INIT),
            ("commit", ip("192.0.2.10"), SELECTING),
            ("commit", ip("192.0.2.11"), RENEWING),
            ("release", ip("192.0.2.10"), ClientState.BOUND),
            ("decline", ip("192.0.2.11"), ClientState.BOUND),
            ("release", 0, SELECTING),
            ("configure", None, ClientState.BOUND),
        )
        for verb, address, state in verbs:
            asked = []
            for who in clients:
                found = self.asks(storage, net, verb, who, 100.0, address, state)
                if isinstance(found, Deferred):
                    found.addErrback(lambda _: None)  # failing is an answer, too
                asked.append(found)
            for each in asked:
                self.called(
                    f"{verb} in {state.name} by one of {len(clients)}, which has to be"
                    f" answered, or to fail, within {self.patience:.0f} s",
                    each,
                    100.0,
                )

    # --- time ---------------------------------------------------------------------

    def test_infinite_leases(self) -> None:
        """RFC 2131 section 3.3: 0xffffffff has no end; it can be revoked all the same."""
        net = network(subnet(lease_time=INFINITE, decline_hold=1000))
        storage: Any = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        rule = (
            "RFC 2131 section 3.3: an infinite lease is told as 0xffffffff, and stays"
        )
        self.must(lease.duration == INFINITE, rule)
        self.pass_time(storage, 4e9)
        found = self._commit(storage, net, who, lease.address, 4e9, RENEWING)
        self.must(isinstance(found, Lease) and found.duration == INFINITE, rule)
        thief = self._commit(storage, net, other, lease.address, 8e9)
        self.must_not_be_given(thief, "an infinite lease never ends by itself")
        self.needs(storage, ILeases)
        revoked = storage.revoke(lease.address, 8e9)
        self.must(
            self.called("revoke", revoked, 8e9), "ILeases.revoke: there was a lease"
        )
        row = self._clients(4, row=2)
        self.pass_time(storage, 8e9 + 1001)
        self.must(
            lease.address in self._given(storage, net, row, 8e9 + 1001),
            "an infinite lease that is revoked rests no longer than decline-hold",
        )

    def test_the_clock_is_set(self) -> None:
        """Invariant 8: nobody's remaining time changes, whichever way it goes."""
        for by in (86400.0, -86400.0, -1.6e9):
            net = network()
            storage: Any = self.make(net)
            self.needs(storage, IClockListener)
            clients = self._clients(5)
            when = 1.8e9
            leases = [self._bind(storage, net, who, when) for who in clients[:4]]
            self.called(
                f"clock_stepped({by:+.0f})", storage.clock_stepped(by), when + by
            )
            when += by
            rule = LEFT.format(by)
            self.pass_time(storage, when + 3500)
            late = self._offer(storage, net, clients[4], when + 3500)
            self.must_not_be_given(late, rule + "leases do not end with it")
            kept = self._commit(
                storage, net, clients[0], leases[0].address, when + 3500, RENEWING
            )
            self.must_be_given(kept, rule + "leases can be renewed as before")
            self.pass_time(storage, when + 3700)
            late = self._offer(storage, net, clients[4], when + 3700)
            self.must_be_given(late, rule + "leases end when they would have")

    def test_the_clock_is_set_while_addresses_rest(self) -> None:
        """Invariant 8: a declined address rests, an offer is held, as long as ever."""
        for by in (86400.0, -86400.0, -1.6e9):
            net = network(subnet(pool="192.0.2.10-192.0.2.11", decline_hold=1000))
            storage: Any = self.make(net)
            self.needs(storage, IClockListener)
            bad, who, other = self._clients(3)
            when = 1.8e9
            lease = self._bind(storage, net, bad, when)
            self._decline(storage, net, bad, lease.address, when)
            offer = self._offer(storage, net, who, when)
            self.called(
                f"clock_stepped({by:+.0f})", storage.clock_stepped(by), when + by
            )
            when += by
            rule = LEFT.format(by)
            soon = self._offer(storage, net, other, when + 10)
            self.must_not_be_given(
                soon, rule + "an offer is held, and what rests rests"
            )
            taken = self._commit(storage, net, who, offer.address, when + 20)
            self.must_be_given(taken, rule + "an offer can be taken")
            self.pass_time(storage, when + 990)
            soon = self._offer(storage, net, other, when + 990)
            self.must_not_be_given(soon, rule + "a declined address rests as long")
            self.pass_time(storage, when + 1010)
            late = self._offer(storage, net, other, when + 1010)
            self.must_be_given(late, rule + "a declined address rests no longer")

    # --- leases, looked at and taken away -----------------------------------------

    def test_revoke(self) -> None:
        """Its holder is told at its next contact, and until then nobody gets it."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, ILeases)
        who = FakeClient()
        nothing = self.called("revoke", storage.revoke(ip("192.0.2.10"), 99.0), 99.0)
        self.must(nothing is None, "ILeases.revoke: None where there is no lease")
        lease = self._bind(storage, net, who, 100.0)
        found = self.called("revoke", storage.revoke(lease.address, 101.0), 101.0)
        self.must(
            isinstance(found, Lease) and not found.bound(101.0),
            "ILeases.revoke: the lease as it is now, which is not bound",
        )
        others = self._clients(4, row=2)
        rule = "ILeases.revoke: its holder may use it still, so nobody else gets it"
        self.must(lease.address not in self._given(storage, net, others, 102.0), rule)
        thief = self._commit(storage, net, others[0], lease.address, 103.0)
        self.must_not_be_given(thief, rule)
        told = self._commit(storage, net, who, lease.address, 104.0, RENEWING)
        self.must_not_be_given(told, "a revoked lease is not renewed")
        self.pass_time(storage, 100.0 + lease.duration + 2)
        late = self._given(storage, net, others, 100.0 + lease.duration + 2)
        self.must(
            lease.address in late, "a revoked address is free when its time is over"
        )

    def test_leases_can_be_found(self) -> None:
        """By page, by address, and by what a client is known by."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, ILeases)
        who, other = self._clients(2)
        other.identifier = b"\xff\x01\x02"
        for each in (who, other):
            self._bind(storage, net, each, 100.0)
        every = storage.leases(0, 10, None)
        self.must(
            [each.address for each in every] == [ip("192.0.2.10"), ip("192.0.2.11")],
            "ILeases.leases: a page by address",
        )
        pages = [storage.leases(after, 1, None) for after in (0, every[0].address)]
        self.must(
            [[each.address for each in page] for page in pages]
            == [[each.address] for each in every],
            "ILeases.leases: from behind an address, so many at most",
        )
        for asked, wanted in (
            ((every[0].address, None, None), every[0]),
            ((None, who.hardware, None), every[0]),
            ((None, other.hardware, None), every[1]),
            ((None, None, other.identifier), every[1]),
        ):
            found = [each.address for each in storage.find_leases(*asked)]
            self.must(
                found == [wanted.address],
                f"ILeases.find_leases{asked}: {found} is wrong",
            )

    def test_leases_of_another_server(self) -> None:
        """What is taken can be renewed; what somebody has here stays as it is."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, ILeases)
        here, new, late = self._clients(3)
        lease = self._bind(storage, net, here, 100.0)
        free = ip("192.0.2.13")
        there = [
            Lease(at, LeaseState.BOUND, who.hardware, who.hardware, 50.0, 5000.0)
            for at, who in ((free, new), (lease.address, late), (ip("9.9.9.9"), late))
        ]
        rule = "ILeases.import_leases: "
        for dry in (True, False):
            told = storage.import_leases(there, 101.0, "test", dry)
            verdicts = self.called(f"import_leases(dry_run={dry})", told, 101.0)
            self.must(
                verdicts[0] == "taken" and not {"taken", "known"} & set(verdicts[1:]),
                rule + "taken, or a sentence that says why not; dry or not",
            )
            known = self.answered(
                storage, net, "commit", new, 102.0, free, ClientState.INIT_REBOOT
            )
            self.must(
                isinstance(known, Lease) is not dry,
                rule + "a dry run changes nothing; what is taken can be renewed",
            )
        again = self.called("again", storage.import_leases(there[:1], 103.0), 103.0)
        self.must(again == ["known"], rule + "what we have already is known")
        kept = self._commit(storage, net, here, lease.address, 104.0, RENEWING)
        self.must_be_given(kept, rule + "a lease that is here is not overwritten")

    # --- events -------------------------------------------------------------------

    def test_events(self) -> None:
        """Each change is told once, in order, with who caused it."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, ILeases)
        ears, deaf = Listener(), Listener()
        storage.add_listener(ears)
        storage.add_listener(deaf)
        storage.remove_listener(deaf)
        wanted = self._history(storage, net)
        told = [(each.kind, each.address, each.by) for each in ears.events]
        self.must(told == wanted, f"{ONCE}this was told: {told}\ninstead of: {wanted}")
        numbers = [each.number for each in ears.events]
        self.must(
            numbers == sorted(set(numbers)),
            f"{ONCE}numbers grow, and these do not: {numbers}",
        )
        last = storage.last_event()
        self.must(
            last == numbers[-1],
            f"ILeases.last_event: the last one told was {numbers[-1]}, it says {last}",
        )
        self.must(not deaf.events, "ILeases.remove_listener: it is told no more")

    def test_history(self) -> None:
        """Who had which address when, and everything that was told."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IHistory)
        wanted = self._history(storage, net)
        everything = self.called("events", storage.events(0, 100), 9000.0)
        found = [(each.kind, each.address, each.by) for each in everything]
        self.must(found == wanted, f"IHistory.events: {found}\ninstead of: {wanted}")
        rest = self.called("events", storage.events(everything[2].number, 2), 9000.0)
        self.must(
            rest == everything[3:5], "IHistory.events: from behind a number, a page"
        )
        address = ip("192.0.2.10")
        key = self._clients(1)[0].hardware
        for words, given, mine in (
            ("an address", (address, None), lambda each: each.address == address),
            ("a client", (None, key), lambda each: each.key == key),
        ):
            latest = [each for each in reversed(everything) if mine(each)]  # type: ignore[no-untyped-call]
            rule = f"IHistory.history of {words}: "
            found = self.called("history", storage.history(*given, 0, 100), 9000.0)
            self.must(found == latest, rule + "everything, the latest first")
            page = storage.history(*given, latest[0].number, 1)
            page = self.called("history", page, 9000.0)
            self.must(page == latest[1:2], rule + "a page, from before a number")
            then = self.called("history", storage.history(*given, 0, 1, 101.0), 9000.0)
            until = [each for each in latest if each.when <= 101.0]
            self.must(then == until[:1], rule + "the last that happened until then")

    def _history(self, storage: Any, net: Any) -> list[tuple[EventKind, int, str]]:
        """Some history of everything that a storage claims, and its events."""
        kind = EventKind
        who, other, third = self._clients(3)
        first = self._bind(storage, net, who, 100.0).address
        self._commit(storage, net, who, first, 101.0, RENEWING)
        self._release(storage, net, who, first, 102.0)
        self._release(storage, net, who, first, 103.0)
        wanted = [(kind.BOUND, first, "packet"), (kind.RENEWED, first, "packet")]
        wanted.append((kind.RELEASED, first, "packet"))
        self._bind(storage, net, who, 104.0)
        self._decline(storage, net, who, first, 105.0)
        self._decline(storage, net, who, first, 106.0)
        wanted += [(kind.BOUND, first, "packet"), (kind.DECLINED, first, "packet")]
        second = self._bind(storage, net, other, 107.0).address
        wanted.append((kind.BOUND, second, "packet"))
        if ILeases.providedBy(storage):
            revoked = storage.revoke(second, 108.0, "somebody")
            self.called("revoke", revoked, 108.0)
            wanted.append((kind.REVOKED, second, "somebody"))
        if IReservations.providedBy(storage):
            free = ip("192.0.2.13")
            reserved = Reservation(free, hardware=third.hardware, source="test")
            self.called("reserve", storage.reserve(reserved, 109.0, "netbox"), 109.0)
            self.called("cancel", storage.cancel(reserved, 110.0, "netbox"), 110.0)
            wanted += [
                (kind.RESERVED, free, "netbox"),
                (kind.CANCELLED, free, "netbox"),
            ]
        last = self._bind(storage, net, third, 111.0)
        wanted.append((kind.BOUND, last.address, "packet"))
        if IClockListener.providedBy(storage):
            # The revoked one ends first, and what was declined rests for a day.
            for when in (3720.0, 3721.0):
                self.pass_time(storage, when)
            wanted += [
                (kind.EXPIRED, each, "expiry") for each in (second, last.address)
            ]
            self.called("clock_stepped", storage.clock_stepped(10.0), 3731.0)
            wanted.append((kind.CLOCK, 0, "clock"))
        return wanted
