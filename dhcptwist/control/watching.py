"""Telling others what happens: in order, resumable, and no faster than they listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger
from twisted.protocols import amp

from ..lease import Event, EventKind
from . import commands
from .answering import Answering, ControlServer, paged
from .caller import Caller
from .errors import InvalidRequest, NotPermitted, NotSupported
from .values import event_fields


_log = Logger()

#: Events in one call: more at once would hold up packets.
MOST_EVENTS = 100


class Watch:
    """One that watches.

    Nothing is kept for it but where it is: what comes next is read when it has answered
    for the last, from what happened lately or from the journal.

    Args:
        server: Whose events.
        caller: Tells who watches: it is told of what it may see, and no more when it may
            no longer watch.
        kinds: Of which kinds; empty for all.
        number: Of the last event that it knows.
        peer: Its connection.
    """

    def __init__(
        self,
        server: ControlServer,
        caller: Callable[[], Caller],
        kinds: frozenset[EventKind],
        number: int,
        peer: amp.AMP,
    ) -> None:
        self._server = server
        self._caller = caller
        self._kinds = kinds
        self._number = number
        self._peer = peer
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Tell it, until `stop`."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    def stop(self) -> None:
        """It is gone."""
        if self._running is not None:
            self._running.cancel()

    def _ended(self, failure: Any) -> None:
        if failure.check(NotPermitted):
            _log.warn("A watch was ended: {why}", why=failure.getErrorMessage())
            self._peer.transport.abortConnection()  # type: ignore[union-attr]
            return
        # A watcher that does not know `Events`, or has gone, is told no more.
        if not failure.check(
            CancelledError, ConnectionClosed, amp.RemoteAmpError, amp.UnhandledCommand
        ):
            # Without a connection it knows that there is more, and comes back for it.
            _log.failure("Events could not be told", failure)
            self._peer.transport.abortConnection()  # type: ignore[union-attr]

    async def _run(self) -> None:
        while True:
            found = await self._next()
            if not found:
                await self._server.recent.more(self._number)
                continue
            caller = self._caller()  # its role may be another by now
            caller.must("list")
            # Numbers leave no gap, but for those that the journal has forgotten.
            lost = found[0].number - self._number - 1
            rows = [
                (
                    str(each.number),
                    event_fields(each) if self._sees(each, caller) else None,
                )
                for each in found
            ]
            page = paged("events", rows, more=False)
            self._number = int(page.get("next", found[-1].number))
            if page["events"] or lost:
                await self._peer.callRemote(
                    commands.Events,
                    events=page["events"],
                    number=self._number,
                    lost=lost or None,
                )

    async def _next(self) -> list[Event]:
        server, recent = self._server, self._server.recent
        found = recent.after(self._number, MOST_EVENTS)
        if server.remembers:
            if found is None or (not found and server.last_event() > self._number):
                found = await server.events(self._number, MOST_EVENTS)
        elif found is None:  # what is no longer here is nowhere
            found = recent.after(recent.oldest - 1, MOST_EVENTS)
        return found or []

    def _sees(self, event: Event, caller: Caller) -> bool:
        wanted = not self._kinds or event.kind in self._kinds
        return wanted and caller.reaches(event.address or None)


class WatchAnswers(Answering):
    """The command of those who watch."""

    _watch: Watch | None = None

    @commands.WatchEvents.responder
    def watch_events(
        self, after: int | None = None, kinds: Any = None
    ) -> dict[str, Any]:
        """See `commands.WatchEvents`."""
        caller = self.permitted("list")
        self.server.leasing()
        if self._peer is None:
            raise NotSupported("events are told to a connection, and there is none")
        if self._watch is not None:
            raise InvalidRequest("this connection watches already; open another")
        wanted = _kinds(kinds)
        last = self.server.last_event()
        if after is None:
            after = last
        elif not 0 <= after <= last:
            raise InvalidRequest(f"after: must be from 0 to {last}, the latest event")
        elif after < last and not self.server.remembers:
            raise NotSupported(
                "the storage of this server keeps no events: watch without after"
            )
        self.server.recent.join()
        self._watch = Watch(self.server, self._caller, wanted, after, self._peer)
        _log.info("{caller} watches from {after}", caller=caller.name, after=after)
        # The answer goes first.
        self._begins = self.server.reactor.callLater(0, self._watch.start)
        return {"number": after}

    def closed(self) -> None:
        """See `Answering.closed`."""
        super().closed()
        if self._watch is not None:
            if self._begins.active():
                self._begins.cancel()
            self._watch.stop()
            self._watch = None
            self.server.recent.leave()


def _kinds(given: Any) -> frozenset[EventKind]:
    if given is None:
        return frozenset()
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise InvalidRequest("kinds: must be a list of words")
    known = {kind.name.lower(): kind for kind in EventKind}
    for each in given:
        if each not in known:
            raise InvalidRequest(f"kinds: {each[:40]!r} is none of {', '.join(known)}")
    return frozenset(known[each] for each in given)
