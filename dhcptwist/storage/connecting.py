"""Connections to a web service: kept, few, bounded, and not asked for in vain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import (
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
    _HTTP11ClientFactory,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


#: Connections to one service.
MOST_CONNECTIONS = 32

#: Seconds that a connection is kept unused: less than what is usual between here and
#: there, so that seldom one is found closed.
KEPT = 60

#: Seconds without a new attempt after one that failed.
PAUSE = 1.0

#: Bytes that an answer may have.
MOST_BYTES = 64 << 10

#: Bytes that may come with it, as its head.
MOST_AROUND = 16 << 10


class KeptConnectionLost(Exception):  # noqa: N818 - it says what happened
    """A connection that had been used before was lost before any byte of an answer."""


class AnswerTooLong(Exception):  # noqa: N818 - it says what it is
    """The service says more than anybody can want to hear."""


class Reply(NamedTuple):
    """What came back.

    Attributes:
        code, phrase: The status.
        text: The body; empty if it broke off and the status is not 200, for then
            nobody reads it.
    """

    code: int
    phrase: bytes
    text: bytes


class Connection(HTTP11ClientProtocol):
    """One connection, which asks one question after the other."""

    transport: Any
    _used = False
    _room = 0

    def request(self, request: Any) -> Deferred[Any]:
        """Ask; unlike Twisted's, it gives a `Reply`, with all of its body.

        Raises:
            KeptConnectionLost: By the Deferred; see there.
            AnswerTooLong: Likewise.
        """
        kept, self._used = self._used, True
        self._room = MOST_BYTES + MOST_AROUND
        asked: Deferred[Any] = super().request(request)
        asked.addCallback(self._collected)
        return asked.addErrback(_lost) if kept else asked

    def dataReceived(self, data: bytes) -> None:
        """Some of the answer; Twisted's own would take a head without end."""
        self._room -= len(data)
        if self._room >= 0:
            super().dataReceived(data)
        else:
            self._giveUp(Failure(_too_long()))
            self.transport.abortConnection()

    def abort(self) -> Deferred[None]:
        """Close it, though the peer may never say a word again."""
        closed: Deferred[None] = super().abort()
        if ISSLTransport.providedBy(self.transport):
            # TLS would wait for the peer's goodbye.
            self.transport.abortConnection()
        return closed

    def _collected(self, response: Any) -> Deferred[Reply]:
        body = _Body(self.transport)
        response.deliverBody(body)
        if response.code != 200:
            # Read to its end all the same, so that the connection can be kept.
            body.whole.addErrback(lambda f: f if is_cancelled(f) else b"")
        return body.whole.addCallback(partial(Reply, response.code, response.phrase))


class _Body(Protocol):
    """Collects an answer; a Deferred that is cancelled lets go of the connection.

    Args:
        connection: The transport, for `Response` would give us one that cannot abort.
    """

    def __init__(self, connection: Any) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: connection.abortConnection())
        self._connection = connection
        self._parts: list[bytes] = []
        self._room = MOST_BYTES

    def dataReceived(self, data: bytes) -> None:
        """Some more of it."""
        self._room -= len(data)
        if self._room >= 0:
            self._parts.append(data)
        elif not self.whole.called:
            self._connection.abortConnection()
            self.whole.errback(_too_long())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That was all."""
        if self.whole.called:
            return
        # Whether an answer that does not tell its length is whole, its JSON tells.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)


def _too_long() -> AnswerTooLong:
    return AnswerTooLong(f"its answer is longer than {MOST_BYTES} bytes")


def _lost(failure: Failure) -> Failure:
    failure.trap(ResponseNeverReceived, RequestTransmissionFailed)
    if is_cancelled(failure):
        return failure
    raise KeptConnectionLost


def is_cancelled(failure: Failure) -> bool:
    """Whether it was we who wanted no answer any more."""
    if failure.check(CancelledError, ConnectingCancelledError):
        return True
    return any(map(is_cancelled, getattr(failure.value, "reasons", ())))


class _Factory(_HTTP11ClientFactory):
    #: Two log lines for each connection would be two for each packet, on a bad day.
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """See `IProtocolFactory`."""
        return Connection(self._quiescentCallback)


class Connections(HTTPConnectionPool):
    """The connections of one service."""

    _factory = _Factory
    maxPersistentPerHost = MOST_CONNECTIONS  # noqa: N815 - Twisted's name
    cachedConnectionTimeout = KEPT  # noqa: N815 - likewise
    retryAutomatically = False  # noqa: N815 - nor would it, a POST


class Turns:
    """At most so many at once; who comes later waits for a turn.

    `DeferredSemaphore` begins with the next one inside the end of the last: of a thousand
    that fail as soon as it is their turn, the last would be a thousand calls deep.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[Deferred[Any]] = deque()
        self._is_at_it = False

    def take(self, step: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """Take a step when it is its turn; cancelled before, it never is."""
        turn: Deferred[Any] = Deferred()
        turn.addCallback(lambda _: maybeDeferred(step).addBoth(self._over))
        self._waiting.append(turn)
        self._next()
        return turn

    def _over(self, result: Any) -> Any:
        self._free += 1
        self._next()
        return result

    def _next(self) -> None:
        if self._is_at_it:
            return
        self._is_at_it = True
        while self._free and self._waiting:
            turn = self._waiting.popleft()
            if not turn.called:
                self._free -= 1
                turn.callback(None)
        self._is_at_it = False


@implementer(IStreamClientEndpoint, IAgentEndpointFactory)
class Way:
    """The way to a service, which nobody is sent along while it leads nowhere.

    After an attempt that failed there is only one at a time, and none for a moment;
    whoever wants one meanwhile is told at once why the last one failed.

    Args:
        reactor: For connections.
        host, port: Where.
        patience: Seconds for a connection, finding out the host's address included.
        tls: What TLS needs to know; None for none.
    """

    def __init__(
        self, reactor: Any, host: str, port: int, patience: float, tls: Any = None
    ) -> None:
        kind: Any = HostnameEndpoint
        if isIPAddress(host):
            kind = TCP4ClientEndpoint
        elif isIPv6Address(host):
            kind = TCP6ClientEndpoint
        endpoint = kind(reactor, host, port, timeout=patience)
        self._endpoint: Any = endpoint if tls is None else wrapClientTLS(tls, endpoint)
        self._clock = reactor
        self._patience = patience
        self._failure: Failure | None = None
        self._rests_until = 0.0
        self._trying = 0

    def endpointForURI(self, uri: Any) -> Way:
        """See `IAgentEndpointFactory`: all questions go the same way."""
        return self

    def connect(
        self,
        protocolFactory: IProtocolFactory,  # noqa: N803 - Twisted's name
    ) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        # A clock that was set back must not make this a long rest.
        rests = 0 < self._rests_until - self._clock.seconds() <= PAUSE
        if self._failure is not None and (self._trying or rests):
            return fail(self._failure.value)
        self._trying += 1
        made: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        made.addTimeout(self._patience, self._clock, self._late)
        return made.addCallbacks(self._made, self._failed)

    def shut(self, failure: Failure) -> None:
        """It led to somebody who is of no use."""
        self._failure = failure
        self._rests_until = self._clock.seconds() + PAUSE

    def _made(self, connection: IProtocol) -> IProtocol:
        self._trying -= 1
        self._failure = None
        return connection

    def _failed(self, failure: Failure) -> Failure:
        self._trying -= 1
        if not is_cancelled(failure):
            self.shut(failure)
        return failure

    @staticmethod
    def _late(_: Any, patience: float) -> Any:
        raise ConnectError(string=f"no connection within {patience:g} seconds")
