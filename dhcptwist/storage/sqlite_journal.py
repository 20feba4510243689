"""Group commit: what happened is written in groups, in order, off the reactor's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..lease import EventKind, Lease, LeaseState, Reservation
from ..wire.codes import INFINITE
from .index import Change, LeaseIndex
from .journal import CLOCK, PACKET, Journal, clock_set, reserved
from .sqlite_file import Batch, SQLiteFile


_log = Logger()
T = TypeVar("T")

#: Seconds from the beginning of one transaction to that of the next, if requests wait.
#: A sync costs the same for one lease as for fifty; after a quiet moment there is none
#: to wait for.
PACE = 0.003

#: Transactions that the figures of `Status` are about.
RECENT = 1000

#: Seconds without a failure after which a disk is believed to be well again.
QUIET = 10.0

#: Ticks of a busy server after which the journal is tidied all the same.
PATIENT_TICKS = 30


class StorageFailure(Exception):  # noqa: N818 - "failure" says it
    """What was decided could not be written, and is undone."""

    #: The journal has said so in the log, once for all of them.
    is_logged = True


class SQLiteJournal(Journal):
    """Writes changes in groups, in order, off the reactor's thread.

    A transaction that fails takes everything with it that was decided since it began,
    for that was decided upon what never came to be: the index goes back to what is on
    disk, and those requests fail; a client whose lease is on disk is granted what is left
    of that.

    Args:
        reactor: For the thread and the pace.
        file: Where to.
        history: Seconds after which what happened is forgotten.
    """

    def __init__(self, reactor: Any, file: SQLiteFile, history: float = inf) -> None:
        super().__init__()
        self.log: list[Change] = []
        self.index: LeaseIndex | None = None
        self._reactor = reactor
        self._file = file
        self._history = history
        self._work: SimpleQueue[Batch | tuple[float, float] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._waiting = Batch()
        self._waiting_since = 0.0
        self._oldest = 0.0
        self._results: list[tuple[Deferred[Any], Any, float]] = []
        self._under_way: list[tuple[Deferred[Any], Any, float]] | None = None
        self._log_under_way: list[Change] = []
        self._call: IDelayedCall | None = None
        self._began = 0.0
        self._idle: list[Deferred[None]] = []
        self._failing = False
        self._failed_at = 0.0
        self._tidying = False
        self._untidied = 0
        self._untidy = False
        self._figures = {
            "transactions": 0,
            "rows": 0,
            "largest": 0,
            "failed": 0,
            "stale": 0,
        }
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def start(self, reads: Callable[[SQLiteFile], T]) -> T:
        """Open the file and read it."""
        self._file.open()
        try:
            found = reads(self._file)
        except BaseException:
            self._file.close()
            raise
        self._thread = Thread(target=self._run, name="dhcptwist-sqlite", daemon=True)
        self._thread.start()
        return found

    async def stop(self) -> None:
        """Finish what waits, then close."""
        while self._results or self._under_way is not None:
            if self._call is not None and self._call.active():
                self._call.reset(0)
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None
        self._file.close()

    # --- Journal ------------------------------------------------------------------

    def keep(
        self,
        result: T,
        when: float,
        changes: Sequence[tuple[EventKind, Lease]] = (),
        by: str = PACKET,
        added: Sequence[Reservation] = (),
        removed: Sequence[Reservation] = (),
    ) -> Any:
        """See `Journal.keep`."""
        waiting = self._waiting
        if not self._results:
            self._waiting_since = self._reactor.seconds()
        for kind, lease in changes:
            waiting.entries.append((when, kind, lease, by))
        if waiting.times:
            # All times are about to be written anew: these are later still.
            waiting.times += map(_times, (lease for _, lease in changes))
        if added or removed:
            waiting.entries += reserved(when, by, added, removed)
            waiting.reservations.append((tuple(removed), tuple(added)))
        kept: Deferred[T] = Deferred()
        self._results.append((kept, result, when))
        if self._under_way is None and self._call is None:
            self._schedule()
        return kept

    def moved(
        self,
        leases: Sequence[Lease],
        reservations: Sequence[Reservation],
        when: float,
        by: float,
    ) -> Deferred[None]:
        """See `Journal.moved`."""
        # As they are now; what waits already is written before these, and what comes
        # later behind them.
        self._waiting.times = [_times(each) for each in leases]
        if reservations:
            self._waiting.reservations.append(((), tuple(reservations)))
        kept: Deferred[None] = self.keep(
            None, when, [(EventKind.CLOCK, clock_set(when, by))], CLOCK
        )
        return kept

    def clock_stepped(self, by: float) -> None:
        """What waits was asked by the old clock; its leases are about to be moved."""
        waiting = self._waiting
        waiting.entries = [
            (when + by, kind, of, who) for when, kind, of, who in waiting.entries
        ]
        self._results = [(k, result, when + by) for k, result, when in self._results]
        if self._under_way is not None:
            self._under_way = [(k, r, when + by) for k, r, when in self._under_way]

    def settled(self) -> Deferred[None] | None:
        """See `Journal.settled`; it fails if that cannot be kept."""
        if self._under_way is None and not self._results:
            return None
        kept: Deferred[None] = self.keep(None, 0.0)
        return kept

    def unfinished(self) -> list[Change]:
        """See `Journal.unfinished`."""
        return [*self._log_under_way, *self.log]

    def last_event(self) -> int:
        """See `ILeases.last_event`."""
        return self._file.number

    def figures(self) -> dict[str, Any]:
        """See `Journal.figures`; the waiting times are those of the recent past."""
        recent = sorted(waited for _, waited in self._recent)
        rows = sum(rows for rows, _ in self._recent)
        figures: dict[str, Any] = {"file": str(self._file.path), **self._figures}
        if recent:
            figures["rows per transaction"] = round(rows / len(recent), 1)
            for name, part in (("median", 0.5), ("p99", 0.99)):
                waited = recent[int(part * (len(recent) - 1))]
                figures[f"waited {name} ms"] = round(1000 * waited, 2)
        if self._failing:
            figures["failing"] = True
        return figures

    # --- transactions -------------------------------------------------------------

    def _schedule(self) -> None:
        pause = self._began + PACE - self._reactor.seconds()
        # Clocks may step; the pause never grows.
        self._call = self._reactor.callLater(min(max(pause, 0.0), PACE), self._begin)

    def _begin(self) -> None:
        self._call = None
        self._began = self._reactor.seconds()
        self._oldest = self._waiting_since
        batch, self._waiting = self._waiting, Batch()
        self._under_way, self._results = self._results, []
        self._log_under_way, self.log = self.log, []
        if self.index is not None:
            self.index.log = self.log
        self._work.put(batch)

    def _run(self) -> None:
        """The thread: one transaction after the other."""
        ended = self._reactor.callFromThread
        while (work := self._work.get()) is not None:
            failure = None
            first = 0
            try:
                if isinstance(work, Batch):
                    first = self._file.write(work)
                else:
                    self._file.tidy(*work)
            except Exception:  # noqa: BLE001 - whatever it is, its requests fail by it
                failure = Failure()
            if isinstance(work, Batch):
                ended(self._ended, work, first, failure)
            else:
                ended(self._tidied, failure)

    def _ended(self, batch: Batch, first: int, failure: Failure | None) -> None:
        assert self._under_way is not None
        results, self._under_way = self._under_way, None
        undone, self._log_under_way = self._log_under_way, []
        if failure is None:
            self._count(len(batch.entries))
            if self._failing:
                self._see_it_is_well()
            if self._results:
                self._schedule()
            if self._listeners:
                self.tell(batch.entries, first)
            for kept, result, _ in results:
                kept.callback(result)
        else:
            self._fail(results, undone, failure)
        if not self._results and self._under_way is None:
            idle, self._idle = self._idle, []
            for each in idle:
                each.callback(None)

    def _count(self, rows: int) -> None:
        figures = self._figures
        figures["transactions"] += 1
        figures["rows"] += rows
        figures["largest"] = max(figures["largest"], rows)
        self._recent.append((rows, self._reactor.seconds() - self._oldest))

    def _see_it_is_well(self) -> None:
        # A disk that fails now and then would say so for each transaction.
        if self._reactor.seconds() - self._failed_at >= QUIET:
            self._failing = False
            _log.info("{path} can be written again", path=self._file.path)

    def _fail(
        self,
        results: list[tuple[Deferred[Any], Any, float]],
        undone: list[Change],
        failure: Failure,
    ) -> None:
        self._figures["failed"] += 1
        self._failed_at = self._reactor.seconds()
        if not self._failing:
            self._failing = True
            _log.error(
                "{path} could not be written ({why}); until it can, nothing is granted"
                " but what is on disk already",
                path=self._file.path,
                why=failure.getErrorMessage(),
            )
        if self.index is not None:
            self.index.undo([*undone, *self.log])
        self.log.clear()
        results, self._results = [*results, *self._results], []
        self._waiting = Batch()
        error = StorageFailure(failure.getErrorMessage())
        for kept, result, when in results:
            left = self._on_disk(result, when)
            if left is None:
                kept.errback(error)
            else:
                self._figures["stale"] += 1
                kept.callback(left)

    def _on_disk(self, result: Any, when: float) -> Lease | None:
        """What is left of a client's lease that could not be made longer."""
        if not isinstance(result, Lease) or self.index is None:
            return None
        lease = self.index.leases.get(result.address)
        if lease is None or lease.key != result.key or not lease.bound(when):
            return None
        if lease.expires < when + 1:
            return None  # less than a second cannot be said
        left = INFINITE if lease.expires == inf else int(lease.expires - when)
        return Lease(
            lease.address,
            LeaseState.BOUND,
            lease.key,
            lease.hardware,
            lease.since,
            lease.expires,
            min(left, result.duration),
            lease.hostname,
            lease.relay,
            result.settings,
        )

    # --- the journal's own order --------------------------------------------------

    def tick(self, when: float) -> None:
        """Look after the journal, if nobody waits."""
        busy = self._under_way is not None or bool(self._results)
        self._untidied += 1
        if self._tidying or (busy and self._untidied < PATIENT_TICKS):
            return
        self._untidied = 0
        self._tidying = True
        self._work.put((when - self._history, when))

    def _tidied(self, failure: Failure | None) -> None:
        self._tidying = False
        said, self._untidy = self._untidy, failure is not None
        if failure is not None and not self._failing and not said:
            _log.warn(
                "The journal in {path} could not be tidied ({why}); it is tried again",
                path=self._file.path,
                why=failure.getErrorMessage(),
            )


def _times(lease: Lease) -> tuple[float, float | None, int]:
    """A lease's times, as they are written anew."""
    expires = None if lease.expires == inf else lease.expires
    return lease.since, expires, lease.address
