"""The configuration of a running server, read again: checked whole, then swapped.

Whoever asks, by `dhcpctl reload`, SIGHUP or from the same process, comes through here:
the new configuration is read and compared while packets go on; what it does to leases
and reservations is looked up, with pauses; then everything that knows the old one is
given the new between two packets.  Whatever goes wrong before that changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from .affected import Look
from .config import Config, ConfigError, Problem, load
from .config.plan import Plan
from .config.written import changed_reservations, differences, without_restart
from .interfaces import INetworkListener
from .lease import Reservation
from .network import Network
from .storage.make import check_storage


_log = Logger()
T = TypeVar("T")

#: Where a configuration comes from: a file, or a function that gives one.
Source: TypeAlias = "str | Path | Callable[[], Config | Awaitable[Config]]"


class CannotReload(Exception):  # noqa: N818 - it says what
    """It cannot be done now, or not at all; the old configuration is in force."""

    #: Whoever asked is told; the log has no need of it.
    is_logged = True


class Serving(Protocol):
    """What a reload needs of a server."""

    reactor: Any
    config: Config
    network: Network
    storage: Any
    clock: Any

    @property
    def is_serving(self) -> bool:
        """Whether it has started, and not stopped."""

    def network_for(self, config: Config) -> Network:
        """The subnets of a configuration, with the interfaces that are served."""

    def change(self, config: Config, network: Network) -> None:
        """Have these from now on; the storage has them already."""


class Reloading:
    """Reads the configuration of a server again; one at a time.

    Args:
        server: Whose.
        source: Where it comes from; None if only the program knows.
    """

    def __init__(self, server: Serving, source: Source | None) -> None:
        self._server = server
        self._source = source
        self._lock = DeferredLock()

    @property
    def source(self) -> str:
        """The file's name; empty if there is none."""
        return str(self._source) if isinstance(self._source, str | Path) else ""

    @property
    def has_source(self) -> bool:
        """Whether it can be read without being given."""
        return self._source is not None

    async def asked(self, by: str, only_plan: bool) -> Plan:
        """Run for the control channel."""
        return await self.run(None, by, only_plan=only_plan)

    async def run(self, config: Config | None, by: str, *, only_plan: bool) -> Plan:
        """See `DHCPService.reload`."""
        await self._lock.acquire()
        try:
            return await self._run(config, by, only_plan)
        finally:
            self._lock.release()

    async def _run(self, config: Config | None, by: str, only_plan: bool) -> Plan:
        server = self._server
        self._see_it_serves()
        source = "" if config is not None else self.source
        new = await self._read() if config is None else config
        old = server.config
        changes, restart = await self._in_thread(differences, old, new)
        if new.storage != old.storage:
            _check_storage(new.storage, source)
        plan = Plan(source, changes, restart)
        new = without_restart(old, new)
        network = server.network_for(new)
        added, removed = changed_reservations(old.reservations, new.reservations)
        self._see_it_serves()
        await Look(server, network, added, removed, plan).run()
        if not only_plan and changes:
            await self._swap(new, network, added, removed)
            _log.info(
                "{by} has reloaded the configuration{source}: {summary}",
                by=by or "the program",
                source=f" from {source}" if source else "",
                summary=plan.summary(),
            )
        plan.is_applied = not only_plan and bool(changes)
        return plan

    async def _swap(
        self,
        config: Config,
        network: Network,
        added: list[Reservation],
        removed: list[Reservation],
    ) -> None:
        server = self._server
        self._see_it_serves()
        storage = server.storage
        if INetworkListener.providedBy(storage):
            # What it has done when it returns is followed by what comes here without a
            # packet in between.
            done = storage.network_changed(network, added, removed, server.clock())
            if done is not None:
                await done
                self._see_it_serves()
        server.change(config, network)

    def _see_it_serves(self) -> None:
        if not self._server.is_serving:
            raise CannotReload("the server is not serving: it starts, or stops")

    async def _read(self) -> Config:
        source = self._source
        if source is None:
            raise CannotReload(
                "this server does not know where its configuration comes from; give it"
                " one: reload(config)"
            )
        if isinstance(source, str | Path):
            return await self._in_thread(load, source)
        given: Any = source()
        return cast(Config, await given if isawaitable(given) else given)

    def _in_thread(self, step: Callable[..., T], *given: Any) -> Deferred[T]:
        """Do what takes time beside the packets; at once where there are no threads."""
        reactor = self._server.reactor
        if not IReactorThreads.providedBy(reactor):
            return maybeDeferred(step, *given)
        return deferToThreadPool(reactor, reactor.getThreadPool(), step, *given)


def _check_storage(storage: str, source: str) -> None:
    try:
        check_storage(storage)
    except ValueError as error:
        raise ConfigError(
            [Problem(0, "server", "storage", str(error))], source
        ) from None
