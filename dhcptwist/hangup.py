"""SIGHUP: an administrator's word that the configuration has changed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .config import ConfigError
from .config.plan import Plan, difference_lines
from .reloading import CannotReload


_log = Logger()

#: Lines of the log that tell what changes; the rest is counted.
MOST_LINES = 200


class Hangup:
    """Reloads at SIGHUP, and tells the log what there is to tell.

    Args:
        reactor: The reactor.
        reload: `DHCPService.reload`.
    """

    def __init__(
        self, reactor: Any, reload: Callable[..., Coroutine[Any, Any, Plan]]
    ) -> None:
        self._reactor = reactor
        self._reload = reload
        self._before: Any = None
        self._is_listening = False
        self._is_running = False
        self._again = False

    def listen(self) -> None:
        """Hear the signal from now on."""
        if self._is_listening:
            return
        try:
            self._before = signal.signal(signal.SIGHUP, self._hung_up)
        except ValueError:
            return  # signals are the main thread's
        self._is_listening = True

    def ignore(self) -> None:
        """Leave the signal to whoever had it before."""
        if self._is_listening:
            self._is_listening = False
            signal.signal(signal.SIGHUP, self._before or signal.SIG_DFL)

    def _hung_up(self, *_: object) -> None:
        self._reactor.callFromThread(self._begin)

    def _begin(self) -> None:
        if not self._is_listening:
            return
        # Whatever comes while one is under way is for one more: the last reading counts.
        if self._is_running:
            self._again = True
            return
        self._is_running = True
        ended = Deferred.fromCoroutine(self._run())
        ended.addBoth(self._ended)

    def _ended(self, result: Any) -> Any:
        self._is_running = False
        if self._again:
            self._again = False
            self._begin()
        return result  # a failure would be a bug: it is logged as one

    async def _run(self) -> None:
        _log.info("SIGHUP: reading the configuration again")
        try:
            _tell(await self._reload(by="SIGHUP"))
        except ConfigError as error:
            _log.error(
                "{name} has {count} mistakes; the old configuration stays in force",
                name=error.name,
                count=len(error.problems),
            )
            for problem in error.problems[:MOST_LINES]:
                _log.error("  {problem}", problem=str(problem))
        except CannotReload as error:
            _log.error("Not reloaded: {why}", why=str(error))
        except Exception:  # noqa: BLE001 - a storage of somebody's may raise anything
            _log.failure("Not reloaded; the old configuration stays in force")


def _tell(plan: Plan) -> None:
    fields = plan.fields()
    lines = difference_lines(fields["changes"])
    for line in lines[:MOST_LINES]:
        _log.info("  {line}", line=line)
    if len(lines) > MOST_LINES:
        _log.info("  and {more} more lines", more=len(lines) - MOST_LINES)
    for name, affected in plan.affected():
        for each in affected.named:
            _log.warn("  {name}: {address} {client}: {why}", name=name, **each)
    for line in difference_lines(fields["restart"]):
        _log.warn("  needs a restart: {line}", line=line)
    for note in plan.notes:
        _log.warn("  {note}", note=note)
    if not plan.changes:
        _log.info("Nothing changes")
