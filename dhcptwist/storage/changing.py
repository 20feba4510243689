"""Many reservations changed at once: together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer

from ..interfaces import IReservations
from ..lease import (
    AddressInUse,
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
    Verdict,
)
from .reserving import Reserving, deferred, waiting_for


#: What `IReservations.change` answers of one reservation.
Outcome = Verdict | Exception


@implementer(IReservations)
class Changing(Reserving):
    """The part of a pool that changes many reservations in one transaction."""

    def change(
        self,
        added: Sequence[Reservation],
        removed: Sequence[Reservation],
        when: float,
        by: str = "",
        *,
        strict: bool = True,
        dry_run: bool = False,
    ) -> Deferred[list[Outcome]]:
        """See `IReservations.change`."""
        self.now = when
        self.forget_ended(when)
        # First all is put in its place, so that each is held against all others; then,
        # if it is to stay, whoever has to leave is sent away.
        aside = [each for each in self.aside if each in removed]
        gone = [each for each in removed if self.forget(each)]
        batch = _Batch()
        for each in added:
            batch.outcomes.append(self._try(each, batch, when))
        refused = any(isinstance(each, Exception) for each in batch.outcomes)
        if dry_run or (strict and refused):
            for each in batch.kept:
                self.take_out(each)
            for each in [*batch.replaced, *gone]:
                (self.put_aside if each in aside else self.put_in)(each)
            # What would be, as far as nobody has to be asked.
            return succeed(
                [
                    _foreseen(*each) if isinstance(each, tuple) else each
                    for each in batch.outcomes
                ]
            )
        revoked = []
        settled: list[Outcome | tuple[Reservation, Lease | None]] = []
        for outcome in batch.outcomes:
            if isinstance(outcome, tuple):
                blocker, taken = self._preempted(*outcome, when)
                settled.append((outcome[0], blocker))
                revoked += [] if taken is None else [(EventKind.REVOKED, taken)]
            else:
                settled.append(outcome)
        kept = self.journal.keep(
            settled, when, revoked, by, batch.kept, [*gone, *batch.replaced]
        )
        return deferred(kept).addCallback(self._verdicts)

    def _try(
        self, new: Reservation, batch: _Batch, when: float
    ) -> Outcome | tuple[Reservation, Lease | None]:
        """Put a reservation in its place: who has the address, or why it cannot be."""
        try:
            replaced, blocker = self._ready(new, when)
            if any(each.place in batch.places for each in replaced):
                raise ReservationConflict(  # noqa: TRY301 - as the others, it is told
                    "the same client is reserved something else in the same batch",
                    new.source,
                )
        except (AddressInUse, ReservationConflict, ValueError) as error:
            return error
        for each in replaced:
            self.take_out(each)
        self.put_in(new)
        batch.replaced += replaced
        batch.kept.append(new)
        batch.places.add(new.place)
        return new, blocker

    def _verdicts(
        self, settled: list[Outcome | tuple[Reservation, Lease | None]]
    ) -> list[Outcome] | Deferred[list[Outcome]]:
        found = [
            self._verdict(*each) if isinstance(each, tuple) else each
            for each in settled
        ]
        if not any(isinstance(each, Deferred) for each in found):
            return found  # type: ignore[return-value] # that is what was just seen
        return gatherResults(map(deferred, found))


class _Batch:
    """What has become of a change so far."""

    def __init__(self) -> None:
        self.kept: list[Reservation] = []
        self.replaced: list[Reservation] = []
        self.places: set[tuple[int, str, bytes, bytes]] = set()
        self.outcomes: list[Outcome | tuple[Reservation, Lease | None]] = []


def _foreseen(reservation: Reservation, blocker: Lease | None) -> Verdict:
    goes = (
        blocker is not None
        and blocker.state == LeaseState.OFFERED
        and reservation.on_conflict == OnConflict.PREEMPT
    )
    return Verdict("applied") if blocker is None or goes else waiting_for(blocker)
