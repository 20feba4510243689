"""``sqlite:FILE``: a pool whose every ACK is on disk before it leaves.

The pool's index stays in memory; this keeps what it decides.  At most one transaction
is under way, in a thread; whatever arrives meanwhile waits together for the next
(group commit), so one sync serves all packets that came while the disk was busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..interfaces import IProber, IStorageService
from ..lease import Lease, Reservation
from ..network import Network
from .index import Change, LeaseIndex
from .journal import Journal
from .pool import PoolStorage
from .sqlite_file import Batch, SQLiteFile


_log = Logger()
T = TypeVar("T")

#: Seconds from the beginning of one transaction to that of the next, if requests wait.
#: A sync costs the same for one lease as for fifty; after a quiet moment there is none
#: to wait for.
PACE = 0.003


#: Seconds by which a clock may be behind the file: that much is lost in any restart.
CLOCK_SLACK = 5.0


class StorageFailure(Exception):  # noqa: N818 - "failure" says it
    """What was decided could not be written, and is undone."""


class SQLiteJournal(Journal):
    """Writes changes in groups, in order, off the reactor's thread.

    A transaction that fails takes everything with it that was decided since it began,
    for that was decided upon what never came to be: the index goes back to what is on
    disk, and those requests fail.

    Args:
        reactor: For the thread and the pace.
        file: Where to.
    """

    def __init__(self, reactor: Any, file: SQLiteFile) -> None:
        self.log: list[Change] = []
        self.index: LeaseIndex | None = None
        self._reactor = reactor
        self._file = file
        self._work: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._waiting = Batch()
        self._results: list[tuple[Deferred[Any], Any]] = []
        self._under_way: list[tuple[Deferred[Any], Any]] | None = None
        self._log_under_way: list[Change] = []
        self._call: IDelayedCall | None = None
        self._began = 0.0
        self._idle: list[Deferred[None]] = []
        self._failing = False
        self._figures = {"transactions": 0, "rows": 0, "failed": 0, "largest": 0}

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
        leases: Sequence[Lease] = (),
        added: Sequence[Reservation] = (),
        removed: Sequence[Reservation] = (),
    ) -> Any:
        """See `Journal.keep`."""
        waiting = self._waiting
        for lease in leases:
            waiting.leases[lease.address] = lease
        if added or removed:
            waiting.reservations.append((tuple(removed), tuple(added)))
        kept: Deferred[T] = Deferred()
        self._results.append((kept, result))
        if self._under_way is None and self._call is None:
            self._schedule()
        return kept

    def unfinished(self) -> list[Change]:
        """See `Journal.unfinished`."""
        return [*self._log_under_way, *self.log]

    def figures(self) -> dict[str, Any]:
        """See `Journal.figures`."""
        return {"file": str(self._file.path), **self._figures}

    # --- transactions -------------------------------------------------------------

    def _schedule(self) -> None:
        pause = self._began + PACE - self._reactor.seconds()
        # Clocks may step; the pause never grows.
        self._call = self._reactor.callLater(min(max(pause, 0.0), PACE), self._begin)

    def _begin(self) -> None:
        self._call = None
        self._began = self._reactor.seconds()
        batch, self._waiting = self._waiting, Batch()
        self._under_way, self._results = self._results, []
        self._log_under_way, self.log = self.log, []
        if self.index is not None:
            self.index.log = self.log
        self._work.put(batch)

    def _run(self) -> None:
        """The thread: one transaction after the other."""
        while (batch := self._work.get()) is not None:
            failure = None
            try:
                self._file.write(batch)
            except Exception:  # noqa: BLE001 - whatever it is, its requests fail by it
                failure = Failure()
            self._reactor.callFromThread(self._ended, len(batch.leases), failure)

    def _ended(self, rows: int, failure: Failure | None) -> None:
        assert self._under_way is not None
        results, self._under_way = self._under_way, None
        undone, self._log_under_way = self._log_under_way, []
        figures = self._figures
        if failure is None:
            figures["transactions"] += 1
            figures["rows"] += rows
            figures["largest"] = max(figures["largest"], rows)
            if self._failing:
                self._failing = False
                _log.info("{path} can be written again", path=self._file.path)
            if self._results:
                self._schedule()
            for kept, result in results:
                kept.callback(result)
        else:
            self._fail(results, undone, failure)
        if not self._results and self._under_way is None:
            idle, self._idle = self._idle, []
            for each in idle:
                each.callback(None)

    def _fail(
        self,
        results: list[tuple[Deferred[Any], Any]],
        undone: list[Change],
        failure: Failure,
    ) -> None:
        self._figures["failed"] += 1
        if not self._failing:
            self._failing = True
            _log.error(
                "{path} could not be written ({why}); nothing is granted until it can",
                path=self._file.path,
                why=failure.getErrorMessage(),
            )
        if self.index is not None:
            self.index.undo([*undone, *self.log])
        self.log.clear()
        results, self._results = [*results, *self._results], []
        self._waiting = Batch()
        error = StorageFailure(failure.getErrorMessage())
        for kept, _ in results:
            kept.errback(error)


@implementer(IStorageService)
class SQLiteStorage(PoolStorage):
    """A pool in memory with a journal on disk.

    Args:
        network: The subnets.
        path: The file; made if it is not there.
        reactor: For the journal's thread.
        reservations: Those of the configuration; they win over pushed ones.
        prober: See `PoolState`.
    """

    journal: SQLiteJournal

    def __init__(
        self,
        network: Network,
        path: Path,
        reactor: Any,
        reservations: Iterable[Reservation] = (),
        prober: IProber | None = None,
    ) -> None:
        journal = SQLiteJournal(reactor, SQLiteFile(path))
        super().__init__(network, reservations, journal, prober)
        journal.index = self.index

    def start(self, when: float) -> None:
        """See `IStorageService.start`.

        Raises:
            StorageUnusable: The file is another program's, from a newer version, or in
                use; the message says which.
        """
        leases, reservations = self.journal.start(
            lambda file: (file.leases(), file.reservations())
        )
        self.now = when
        # A lease cannot have begun in the future: a clock behind what is in the file is
        # not set yet, and its step will move all times by what they are moved here.
        behind = max((lease.since for lease in leases), default=when) - when
        if behind > CLOCK_SLACK:
            reservations = self._moved_back(leases, reservations, behind)
        for lease in leases:
            self.index.load(lease, when)
        for each in reservations:
            if each.expires > when:
                self._load_reservation(each)
        _log.info(
            "{leases} leases and {reservations} pushed reservations read from {path}",
            leases=len(leases),
            reservations=len(reservations),
            path=self.journal.figures()["file"],
        )

    def _moved_back(
        self, leases: list[Lease], reservations: list[Reservation], by: float
    ) -> list[Reservation]:
        """Bring times that were kept to the clock as it is, here and in the file."""
        _log.warn("The clock is {by:.0f} seconds behind the lease file", by=by)
        for lease in leases:
            lease.since -= by
            lease.expires -= by
        moved = [replace(each, expires=each.expires - by) for each in reservations]
        kept = self.journal.keep(None, leases, moved)
        kept.addErrback(lambda _: None)  # logged by the journal; it tries again
        return moved

    def _load_reservation(self, pushed: Reservation) -> None:
        there = self.reservation_of(pushed.address, pushed.who)
        for other in there:
            same = other.address == pushed.address
            if same or (
                other.address is not None
                and pushed.address is not None
                and self.network.subnet_of(other.address)
                is self.network.subnet_of(pushed.address)
            ):
                _log.warn(
                    "The reservation {pushed} of {source} is not in force: the"
                    " configuration has another for its address or client",
                    pushed=pushed,
                    source=pushed.source,
                )
                return
        self.reserved.add(pushed)

    async def _stop(self) -> None:
        await self.journal.stop()

    def stop(self) -> Deferred[None]:
        """See `IStorageService.stop`: what waits is written first."""
        return Deferred.fromCoroutine(self._stop())
