"""``sqlite:FILE``: a pool whose every ACK is on disk before it leaves.

The pool's index stays in memory; the journal keeps what it decides.  At most one
transaction is under way, in a thread; whatever arrives meanwhile waits together for the
next (group commit), so one sync serves all packets that came while the disk was busy.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IHistory, IProber
from ..lease import Event, Lease, Reservation
from ..network import Network
from .pool import PoolStorage
from .reservations import moved
from .sqlite_file import SQLiteFile
from .sqlite_history import HistoryReader
from .sqlite_journal import SQLiteJournal


_log = Logger()

#: Seconds by which a clock may be behind the file: that much is lost in any restart.
CLOCK_SLACK = 5.0


@implementer(IHistory)
class SQLiteStorage(PoolStorage):
    """A pool in memory with a journal on disk.

    Args:
        network: The subnets.
        path: The file; made if it is not there.
        reactor: For the journal's thread.
        reservations: Those of the configuration; they win over pushed ones.
        prober, members: See `PoolState`.
        history: Seconds for which the journal is kept; ``math.inf`` for ever.
    """

    journal: SQLiteJournal

    def __init__(
        self,
        network: Network,
        path: Path,
        reactor: Any,
        reservations: Iterable[Reservation] = (),
        prober: IProber | None = None,
        members: Any = None,
        history: float = inf,
    ) -> None:
        journal = SQLiteJournal(reactor, SQLiteFile(path), history)
        super().__init__(network, reservations, journal, prober, members)
        journal.index = self.index
        self._reactor = reactor
        self._reader = HistoryReader(path)
        self._times_unkept = 0.0

    def start(self, when: float) -> None:
        """See `IStorageService.start`.

        Raises:
            StorageUnusable: The file is another program's, from a newer version,
                damaged, or in use; the message says which.
        """
        self.now = when
        collecting = gc.isenabled()
        # A million objects that all stay: looking for garbage among them again and
        # again would take longer than reading them.
        gc.disable()
        try:
            self._read(when)
        finally:
            if collecting:
                gc.enable()

    def _read(self, when: float) -> None:
        (leases, told), reservations = self.journal.start(
            lambda file: (file.leases(when), file.reservations())
        )
        # A lease cannot have begun in the future: a clock behind what is in the file is
        # not set yet, and its step will move all times by what they are moved here.
        behind = max((lease.since for lease in leases), default=when) - when
        if behind > CLOCK_SLACK:
            reservations = self._moved_back(leases, reservations, behind)
            leases.sort(key=lambda lease: lease.expires)
        self.index.load(leases, when, told)
        for each in reservations:
            self.admit(each)
        self.forget_ended(when)
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
        back = [moved(each, -by) for each in reservations]
        self._keep_times(self.journal.moved(leases, back, self.now, -by), -by)
        return back

    async def _stop(self) -> None:
        self._keep_unkept_times(self.now)
        await self.journal.stop()
        await maybeDeferred(super().stop)

    def stop(self) -> Deferred[None]:
        """See `IStorageService.stop`: what waits is written first."""
        return Deferred.fromCoroutine(self._stop())

    # --- the clock ----------------------------------------------------------------

    def clock_ticked(self, when: float) -> None:
        """See `IClockListener`."""
        super().clock_ticked(when)
        self._keep_unkept_times(when)
        self.journal.tick(when)

    def _keep_unkept_times(self, when: float) -> None:
        """Try again to write what a step of the clock has moved."""
        if self._times_unkept:
            by, self._times_unkept = self._times_unkept, 0.0
            everything = self.reserved.page(None, len(self.reserved), None)
            lasting = [e for e in [*everything, *self.aside] if e.expires != inf]
            leases = list(self.index.leases.values())
            self._keep_times(self.journal.moved(leases, lasting, when, by), by)

    def clock_stepped(self, by: float) -> Deferred[None] | None:
        """See `IClockListener`: should the file not take it now, it is tried again."""
        self.journal.clock_stepped(by)
        self._keep_times(super().clock_stepped(by), by)
        return None

    def _keep_times(self, kept: Deferred[None] | None, by: float) -> None:
        def unkept(_: Any) -> None:
            # A restart in between would see times of another clock: try until they
            # are there.
            self._times_unkept += by

        if kept is not None:
            kept.addErrback(unkept)

    # --- IHistory -----------------------------------------------------------------

    def history(
        self,
        address: int | None,
        key: bytes | None,
        before: int,
        limit: int,
        until: float | None = None,
    ) -> Deferred[list[Event]]:
        """See `IHistory.history`."""
        ask = self._reader.history
        return self._in_thread(ask, address, key, before, limit, until)

    def events(self, after: int, limit: int) -> Deferred[list[Event]]:
        """See `IHistory.events`."""
        return self._in_thread(self._reader.events, after, limit)

    def _in_thread(self, ask: Any, *given: Any) -> Deferred[list[Event]]:
        """Look into the file beside the packets; at once where there are no threads."""
        if not IReactorThreads.providedBy(self._reactor):
            return execute(ask, *given)
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, ask, *given)
