"""Random histories of a storage, with hypothesis, against the plain model."""

from __future__ import annotations

import os
from functools import partial
from math import inf
from typing import Any

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from ..interfaces import ILeases, IReservations
from ..lease import (
    AddressInUse,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
    Verdict,
)
from .model import SLACK
from .packet_histories import ADDRESS, BEHIND_A_PORT, WHO, PacketHistories


CONFLICT = st.sampled_from(list(OnConflict))
LIFETIME = st.sampled_from([inf, inf, 300.0, 5000.0])


def try_histories(contract: Any, *, shrink: bool = True) -> None:
    """Try as many as ``DHCPTWIST_HISTORIES`` says.

    Args:
        contract: Its hooks are used.
        shrink: Whether to look for the shortest history that fails, which takes a while.

    Raises:
        AssertionError: One of them breaks a rule; the shortest that does is shown.
    """
    wanted = os.environ.get("DHCPTWIST_HISTORIES")
    run_state_machine_as_test(
        partial(Histories, contract),  # type: ignore[arg-type]
        settings=settings(
            max_examples=int(wanted or "200"),
            derandomize=not wanted,  # the same ones each time, unless asked for more
            stateful_step_count=40,
            deadline=None,
            phases=tuple(Phase) if shrink else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


class Histories(PacketHistories):
    """The same, and what other processes ask of it meanwhile."""

    def owned(self, n: int) -> dict[str, Any]:
        """What a reservation for a client knows it by."""
        if n >= BEHIND_A_PORT:
            return {"circuit_id": b"p%d" % n}
        return {"hardware": self.device(n)}

    @rule(
        n=WHO,
        address=ADDRESS,
        conflict=CONFLICT,
        lifetime=LIFETIME,
    )
    def reserves(
        self, n: int, address: int, conflict: OnConflict, lifetime: float
    ) -> None:
        """Somebody pushes a reservation."""
        if not IReservations.providedBy(self.storage):
            return
        wanted = self.wanted(n, address, conflict, lifetime)
        try:
            verdict = self.wait(self.storage.reserve(wanted, self.when))
        except (AddressInUse, ReservationConflict) as error:
            self.was_not_reserved(wanted, error)
        else:
            self.was_reserved(n, wanted, verdict)

    @rule(
        places=st.dictionaries(WHO, ADDRESS, min_size=1, max_size=3),
        conflict=CONFLICT,
        lifetime=LIFETIME,
        anew=st.booleans(),
        strict=st.booleans(),
        dry=st.booleans(),
    )
    def changes(
        self,
        places: dict[int, int],
        conflict: OnConflict,
        lifetime: float,
        anew: bool,
        strict: bool,
        dry: bool,
    ) -> None:
        """Somebody pushes several at once, perhaps in place of all there were."""
        if not IReservations.providedBy(self.storage):
            return
        before = self.storage.reservations(None, 100, None)
        revision = self.storage.revision("test")
        wanted = {
            n: self.wanted(n, place, conflict, lifetime) for n, place in places.items()
        }
        found = self.wait(
            self.storage.change(
                list(wanted.values()),
                before if anew else [],
                self.when,
                strict=strict,
                dry_run=dry,
            )
        )
        assert len(found) == len(wanted), "an answer for each"
        if dry or (strict and any(isinstance(each, Exception) for each in found)):
            there = self.storage.reservations(None, 100, None)
            ended = [each for each in before if each.expires <= self.when]
            assert there == [each for each in before if each not in ended], (
                f"nothing was to change: {before}, then {there}"
            )
            assert ended or self.storage.revision("test") == revision
            return
        if anew:
            self.model.reserved.clear()
        for (n, each), verdict in zip(wanted.items(), found, strict=True):
            if isinstance(verdict, Verdict):
                self.was_reserved(n, each, verdict)
            else:
                self.was_not_reserved(each, verdict)

    def wanted(
        self, n: int, place: int, conflict: OnConflict, lifetime: float
    ) -> Reservation:
        """What somebody would reserve for a client."""
        return Reservation(
            self.first + place,
            **self.owned(n),
            source="test",
            on_conflict=conflict,
            expires=self.when + lifetime,
        )

    def was_not_reserved(self, wanted: Reservation, error: Exception) -> None:
        """See that the reason is one."""
        number = self.first if wanted.address is None else wanted.address
        if isinstance(error, AddressInUse):
            assert wanted.on_conflict == OnConflict.REFUSE
            assert not self.model.is_free(number, self.when), (
                "a free address was called in use"
            )
        else:
            assert isinstance(error, ReservationConflict), f"an unknown error: {error}"
            assert number in self.model.reserved, "a conflict with nobody's reservation"

    def was_reserved(self, n: int, wanted: Reservation, verdict: Verdict) -> None:
        """See that the verdict may be, and note what is in force."""
        who, number = self.device(n), wanted.address
        assert number is not None
        holder = self.model.holder(number, self.when + SLACK)
        if verdict.outcome == "applied":
            assert holder in {None, who}, (
                f"applied, but {holder!r} believes to have the address"
            )
        owner = self.model.owner(number, self.when)
        assert owner in {None, who}, (
            f"{number:#x} is reserved for another client already"
        )
        self.model.reserves(who, number, wanted.expires)
        # An offer that is out for it may be taken back.
        if wanted.on_conflict == OnConflict.PREEMPT:
            self.model.offered.pop(number, None)
            self.model.has_been_revoked(number)

    @rule(n=WHO)
    def cancels(self, n: int) -> None:
        """And takes it back."""
        if IReservations.providedBy(self.storage):
            who = Reservation(**self.owned(n)).who
            for each in self.storage.reservation_of(None, who):
                assert each.address in self.model.reserved_for(self.device(n)), (
                    f"a reservation that nobody made, or that was cancelled: {each}"
                )
                self.wait(self.storage.cancel(each, self.when))
            for address in self.model.reserved_for(self.device(n)):
                del self.model.reserved[address]

    @rule(address=ADDRESS)
    def revokes(self, address: int) -> None:
        """An administrator ends a lease; its holder knows nothing of it."""
        if ILeases.providedBy(self.storage):
            self.wait(self.storage.revoke(self.first + address, self.when))
            self.model.has_been_revoked(self.first + address)

    @rule(
        n=WHO,
        address=ADDRESS,
        seconds=st.sampled_from([100.0, 7200.0]),
        dry=st.booleans(),
    )
    def takes_over(self, n: int, address: int, seconds: float, dry: bool) -> None:
        """A lease of another server, which its client has still."""
        number, who, key = self.first + address, self.device(n), self.key(n)
        if not ILeases.providedBy(self.storage) or self.mine(n) not in {0, number}:
            return
        until = self.when + seconds
        relay = self.clients[n].options.get(82, b"")
        lease = Lease(
            number, LeaseState.BOUND, key, who, self.when - 10, until, relay=relay
        )
        free = self.model.is_free(number, self.when)
        unknown = who not in self.model.had and not self.model.reserved_for(who)
        why = self.model.may_not_have(who, number, self.when)
        told = self.storage.import_leases([lease], self.when, "test", dry)
        [verdict] = self.wait(told)
        if free and unknown:
            assert verdict == "taken", f"{number:#x} is free, but: {verdict}"
        if verdict == "taken":
            assert not why, f"client {n}'s lease of {number:#x} was taken, though {why}"
        if verdict == "taken" and not dry:
            offered = dict(self.model.offered)  # which only an ACK would have taken
            self.model.has_granted(who, number, until, key)
            self.model.offered = offered
