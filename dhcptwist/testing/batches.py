"""The contract, part: reservations that are changed many at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..client import ClientState
from ..interfaces import ILeases, IReservations
from ..lease import (
    AddressInUse,
    EventKind,
    OnConflict,
    Refused,
    Reservation,
    ReservationConflict,
    Verdict,
)
from .parts import FakeClient, ip, network
from .running import Listener
from .steps import Steps


APPLIED = Verdict("applied")
WHOLE = "IReservations.change: all together, or nothing: "


class BatchContract(Steps):
    """Changing many reservations at once."""

    def _change(
        self,
        storage: Any,
        when: float,
        added: list[Reservation],
        removed: list[Reservation] | None = None,
        **how: bool,
    ) -> Any:
        asked = storage.change(added, removed or [], when, **how)
        return self.called("change", asked, when)

    def _reserved(self, clients: list[FakeClient]) -> list[Reservation]:
        """One after the other, from the first address of the pool."""
        return [
            Reservation(ip("192.0.2.10") + n, hardware=who.hardware, source="test")
            for n, who in enumerate(clients)
        ]

    def test_change_many(self) -> None:
        """All are in force, and told; the addresses are nobody else's."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        ears = Listener()
        if ILeases.providedBy(storage):
            storage.add_listener(ears)
        clients = self._clients(3)
        wanted = self._reserved(clients)
        self.must(
            self._change(storage, 100.0, wanted) == [APPLIED] * 3,
            "IReservations.change: a verdict for each, in their order",
        )
        self.must(
            storage.reservations(None, 10, "test") == wanted,
            WHOLE + "what was added is in force",
        )
        if ILeases.providedBy(storage):
            kinds = [each.kind for each in ears.events]
            self.must(
                kinds == [EventKind.RESERVED] * 3, WHOLE + f"each is told once: {kinds}"
            )
        for who, mine in zip(clients, wanted, strict=True):
            given = self._bind(storage, net, who, 101.0)
            self.must(given.address == mine.address, "invariant 3: its client gets it")
        stranger = self._bind(storage, net, FakeClient("02:00:00:00:03:01"), 102.0)
        self.must(
            stranger.address == ip("192.0.2.13"),
            "invariant 3: a reserved address is nobody else's",
        )
        self._change(storage, 103.0, [], [*wanted, wanted[0]])
        self.must(
            storage.reservations(None, 10, None) == [],
            WHOLE + "what was removed is out; what is not there is passed over",
        )

    def test_change_places(self) -> None:
        """Two clients exchange their addresses, and are sent to them."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        clients = self._clients(2)
        before = self._reserved(clients)
        self._change(storage, 100.0, before)
        leases = [self._bind(storage, net, who, 101.0) for who in clients]
        after = [
            replace(mine, address=other.address, on_conflict=OnConflict.MOVE)
            for mine, other in zip(before, reversed(before), strict=True)
        ]
        found = self._change(storage, 110.0, after, before)
        self.must(
            [_outcome(each) for each in found] == ["waiting"] * 2,
            f"each waits for the other: {found}",
        )
        self.must(
            storage.reservations(None, 10, None) == [after[1], after[0]],
            WHOLE + "addresses can be exchanged, for what is removed goes first",
        )
        for who, lease in zip(clients, leases, strict=True):
            sent = self._commit(
                storage, net, who, lease.address, 200.0, ClientState.RENEWING
            )
            self.must(isinstance(sent, Refused), "move: each is sent away")
        end = 101.0 + leases[0].duration + 10
        for who, mine in zip(clients, after, strict=True):
            given = self._bind(storage, net, who, end)
            self.must(given.address == mine.address, "in the end each has its own")

    def test_change_nothing_if_one_cannot_be(self) -> None:
        """``strict``: one that is refused keeps all others out, and those removed in."""
        net = network()
        theirs = Reservation(ip("192.0.2.13"), hardware=b"\1theirs")
        storage: Any = self.make(net, [theirs])
        self.needs(storage, IReservations)
        holder, *clients = self._clients(4)
        lease = self._bind(storage, net, holder, 100.0)
        self.must(lease.address == ip("192.0.2.10"), "the first address comes first")
        old = Reservation(ip("192.0.2.12"), hardware=b"\1forold", source="test")
        self._change(storage, 101.0, [old])
        revision = storage.revision("test")
        good, again = self._reserved(clients)[1:]
        for bad, error in (
            (replace(good, address=theirs.address), ReservationConflict),
            (replace(good, address=ip("9.9.9.9")), ValueError),
            (replace(good, hardware=again.hardware), ReservationConflict),
            (
                replace(good, address=lease.address, on_conflict=OnConflict.REFUSE),
                AddressInUse,
            ),
        ):
            others = [again] if bad.hardware != again.hardware else [again, good]
            found = self._change(storage, 102.0, [*others, bad], [old])
            self.must(
                isinstance(found[-1], error) and len(found) == len(others) + 1,
                f"what reserve would raise is answered for its reservation: {found}",
            )
            self.must(found[0] == APPLIED, "for the others, what would be")
            self.must(
                storage.reservations(None, 10, None) == [old, theirs],
                WHOLE + f"{error.__name__} of one changes nothing",
            )
        self.must(
            storage.revision("test") == revision, "nothing changed: same revision"
        )
        free = self._offer(storage, net, FakeClient("02:00:00:00:03:01"), 103.0)
        self.must_be_given(free, WHOLE + "the addresses are anybody's as before")
        found = self._change(storage, 104.0, [again, bad], [old], strict=False)
        self.must(
            found[0] == APPLIED and isinstance(found[1], AddressInUse),
            "not strict: each has its own answer",
        )
        self.must(
            storage.reservations(None, 10, "test") == [again],
            "not strict: what can be is, and what was removed is out",
        )

    def test_change_on_trial(self) -> None:
        """``dry_run``: the same answers, and nothing changed."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, *clients = self._clients(3)
        lease = self._bind(storage, net, holder, 100.0)
        old = Reservation(ip("192.0.2.11"), hardware=clients[1].hardware, source="test")
        self._change(storage, 101.0, [old])
        wanted = [
            replace(each, on_conflict=OnConflict.PREEMPT)
            for each in self._reserved(clients)
        ]
        found = self._change(storage, 102.0, wanted, [old], dry_run=True)
        self.must(
            [_outcome(each) for each in found] == ["waiting", "applied"],
            f"dry_run: what would be: {found}",
        )
        self.must(
            storage.reservations(None, 10, None) == [old], "dry_run: nothing changes"
        )
        kept = self._commit(
            storage, net, holder, lease.address, 1000.0, ClientState.RENEWING
        )
        self.must_be_given(kept, "dry_run: nobody's lease is taken away")

    def test_change_and_preempt(self) -> None:
        """Leases that are in the way are revoked, with what takes their place."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, *clients = self._clients(3)
        lease = self._bind(storage, net, holder, 100.0)
        wanted = [
            replace(each, on_conflict=OnConflict.PREEMPT)
            for each in self._reserved(clients)
        ]
        found = self._change(storage, 101.0, wanted)
        self.must(
            found[1] == APPLIED and isinstance(found[0], Verdict),
            f"preempt: a verdict, whoever has the address: {found}",
        )
        gone = self._commit(
            storage, net, holder, lease.address, 110.0, ClientState.RENEWING
        )
        self.must(isinstance(gone, Refused), "preempt: the holder's lease is revoked")

    def test_revisions(self) -> None:
        """The same content, the same revision; another, another."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        first, second = self._reserved(self._clients(2))
        seen = [storage.revision("test")]
        for change in (
            [first],
            [second],
            [replace(second, hostname="printer")],
            [replace(second, on_conflict=OnConflict.MOVE)],
            [replace(second, address=ip("192.0.2.12"))],
        ):
            self._change(storage, 100.0, change)
            seen.append(storage.revision("test"))
        self.must(
            len(set(seen)) == len(seen), f"each change is another revision: {seen}"
        )
        other = replace(first, address=ip("192.0.2.13"), hardware=b"\1other.")
        self._change(storage, 101.0, [replace(other, source="other")])
        self.must(
            storage.revision("test") == seen[-1], "another source has its own revision"
        )
        self._change(storage, 102.0, [second], storage.reservations(None, 9, "test"))
        self._change(storage, 103.0, [replace(first, expires=1e12)])
        self.must(
            storage.revision("test") == seen[2],
            "the same reservations in another order, and with another end, have the"
            " revision that they had",
        )


def _outcome(answered: Any) -> str:
    return answered.outcome if isinstance(answered, Verdict) else repr(answered)
