"""A client that stays: it comes back to a server that went away.

client = ReconnectingClient(reactor, "dhcp.example.org:6768", Path("netbox.pem"))
client.service.setServiceParent(application)
verdict = await client.reserve("192.0.2.50", hardware="00:11:22:33:44:55")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

from OpenSSL.SSL import Error as SSLError
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError as TooLate,
    fail,
    succeed,
)
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from . import commands
from .client import ControlClient
from .connecting import Connection, NoServer, endpoint_of, no_server


#: Seconds between two attempts to reach a server, at first and at most.
SOONEST, LATEST = 0.5, 30.0

#: What may be asked again without harm.
_READS = (
    commands.ListReservations,
    commands.ListSources,
    commands.ListLeases,
    commands.FindLease,
    commands.LeaseHistory,
    commands.Status,
    commands.ListIdentities,
    commands.Explain,
)


class ReconnectingClient(ControlClient):
    """The same calls, on whatever connection there is.

    A call waits for a connection, at most ``timeout`` seconds.  If it is lost before the
    answer came, what only reads is asked again; so is what can carry a key, which it gets,
    so that it is done once.  Anything else raises `NoServer`, and may or may not be done;
    `replace` is safe to begin again.

    Args:
        reactor: The reactor.
        server, identity, timeout: See `client.connect`.

    Attributes:
        service: Start it, or give it a parent; stopped, it closes the connection.

    Raises:
        UnusableIdentity: The file cannot be used.
        ValueError: The server's name makes no sense.
    """

    def __init__(
        self,
        reactor: Any,
        server: str,
        identity: Path | None = None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(Connection(), server, reactor, timeout)
        self._endpoint = _Noting(endpoint_of(reactor, server, identity, timeout))
        self.service = ClientService(
            self._endpoint,
            Factory.forProtocol(_Connection),
            retryPolicy=backoffPolicy(SOONEST, LATEST),
            clock=reactor,
        )

    async def close(self) -> None:
        """Close the connection, and come back no more."""
        await self.service.stopService()

    async def follow(
        self, after: int | None = None, kinds: list[str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Everything that happens, over all connections, without a gap.

        See `watch`; a server that is away is waited for, however long.
        """
        while True:
            try:
                await self._connected(inf)
                watch = await self.watch(after, kinds)
                after = watch.number
                async for event in watch:
                    yield event
                    after = event["number"]
            except NoServer:
                if not self.service.running:
                    return

    async def _ask(
        self, command: type[amp.Command], given: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """See `Calls._ask`."""
        is_keyed = any(name == b"key" for name, _ in command.arguments)
        if is_keyed and "key" not in given:
            given = {**given, "key": uuid4().hex}
        end = self._reactor.seconds() + self._timeout
        while True:
            left = max(end - self._reactor.seconds(), 0.0)
            self._protocol = protocol = await self._connected(left)
            try:
                answer: dict[str, Any] = await protocol.callRemote(
                    command, **given
                ).addTimeout(seconds, self._reactor)
            except (ConnectionClosed, SSLError) as error:
                if not (is_keyed or command in _READS):
                    raise no_server(error, self._server) from error
            except TooLate as error:
                raise no_server(error, self._server) from error
            else:
                return answer

    async def _connected(self, seconds: float) -> _Connection:
        """The connection, once there is one whose other side has proved who it is."""
        end = self._reactor.seconds() + seconds
        while True:
            left = max(end - self._reactor.seconds(), 0.0)
            waiting: Deferred[Any] = self.service.whenConnected()
            try:
                found: _Connection = await self._told(waiting, left)
                if found.is_lost:  # and the service is about to be told
                    await deferLater(self._reactor, 0)
                    continue
                if self._server.startswith("unix:") and not found.ready.called:
                    found.handshakeCompleted()  # there is none
                await found.when_ready().addTimeout(
                    min(left, self._timeout), self._reactor
                )
            except CancelledError as error:
                raise NoServer("the client was stopped") from error
            except TooLate as error:
                known = self._endpoint.latest
                cause = error if known is None else known
                raise no_server(cause, self._server) from known
            except Exception as error:  # noqa: BLE001 - whatever TLS has said
                self._endpoint.latest = error
                # Not before it is known to be gone is there another.
                await deferLater(self._reactor, 0)
            else:
                return found

    async def _told(self, waiting: Deferred[Any], seconds: float) -> Any:
        if waiting.called:
            return await waiting
        if seconds != inf:
            waiting.addTimeout(seconds, self._reactor)
        found = await waiting
        # The service cannot be asked again by who has just been told.
        await deferLater(self._reactor, 0)
        return found


class _Connection(Connection):
    """One that many may wait for.

    Attributes:
        is_lost: Whether it has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False
        self._waiting: list[Deferred[None]] = []
        self._failure: Failure | None = None
        self.ready.addBoth(self._is_known)

    def when_ready(self) -> Deferred[None]:
        """Fires when the other side has proved who it is; fails if it never will."""
        if self.ready.called:
            return fail(self._failure) if self._failure else succeed(None)
        later: Deferred[None] = Deferred()
        self._waiting.append(later)
        return later

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.is_lost = True
        super().connectionLost(reason)

    def _is_known(self, result: Failure | None) -> None:
        self._failure = result
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)


@implementer(IStreamClientEndpoint)
class _Noting:
    """An endpoint that remembers why the last attempt failed.

    Attributes:
        latest: Why; None if it did not.
    """

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint
        self.latest: Exception | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        found: Deferred[Any] = self._endpoint.connect(factory)
        return found.addErrback(self.note)

    def note(self, failure: Failure) -> Failure:
        """Remember this."""
        if isinstance(failure.value, Exception):
            self.latest = failure.value
        return failure
