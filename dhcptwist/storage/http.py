"""``http://…`` and ``https://…``: a web service in any language decides.

One POST for each verb, with a JSON document in and out (`documents`).  Connections are
kept; what has to be durable before an ACK leaves is the service's duty: its answer to
``commit`` is taken as "it is on disk".
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
    _HTTP11ClientFactory,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ..client import Client
from ..interfaces import IStorage, IStorageService
from .documents import question, read_answer


#: Bytes that an answer may have.
MOST_BYTES = 64 << 10

#: Connections to the service; questions beyond wait for one, as long as the deadline lets.
MOST_CONNECTIONS = 32


class WebServiceFailed(Exception):  # noqa: N818 - "failed" says it
    """The service gave no answer that can be used; the message has its URL and why."""


class _QuietFactory(_HTTP11ClientFactory):
    """Two log lines for each connection would be two for each packet, on a bad day."""

    noisy = False


@implementer(IBodyProducer)
class _Bytes:
    """A body that is there already: sent at once, whatever the time."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """See `IBodyProducer`."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""


class _Body(Protocol):
    """Collects an answer that may not be too long."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(self._cancelled)
        self._parts: list[bytes] = []
        self._size = 0

    def _cancelled(self, _: Deferred[bytes]) -> None:
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None and hasattr(transport, "abortConnection"):
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Some more of it."""
        self._size += len(data)
        if self._size > MOST_BYTES:
            if not self.done.called:
                self.done.errback(
                    WebServiceFailed(f"the answer is longer than {MOST_BYTES} bytes")
                )
            self._abort()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That was all."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(WebServiceFailed("the answer broke off"))


class WebService:
    """Asks one service.

    Args:
        url: Its base; the verb is appended as ``/verb``.
        reactor: For connections.
        timeout: Seconds for a connection, and for a whole question.
        token: Sent as ``Authorization: Bearer``; empty for none.
        authority: File of the certificates that may sign the service's; None for the
            system's.

    Raises:
        ValueError: The URL or a file makes no sense.
    """

    def __init__(
        self,
        url: str,
        reactor: Any,
        timeout: float,
        token: str = "",
        authority: Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not like http://host:port/path")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError(f"{url!r}: only a host, a port and a path are wanted")
        self.url = url.rstrip("/")
        self._base = self.url.encode("ascii")
        self._clock: IReactorTime = reactor
        self._timeout = timeout
        self._headers = {
            b"Content-Type": [b"application/json"],
            b"User-Agent": [b"dhcptwist"],
        }
        if token:
            self._headers[b"Authorization"] = [b"Bearer " + token.encode("ascii")]
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = MOST_CONNECTIONS
        self._pool.retryAutomatically = False
        self._pool._factory = _QuietFactory  # noqa: SLF001 - there is no other way
        self._agent = Agent(
            reactor,
            BrowserLikePolicyForHTTPS(_trusted(authority)),
            connectTimeout=timeout,
            pool=self._pool,
        )
        self._free = DeferredSemaphore(MOST_CONNECTIONS)
        # Nobody else's questions have these numbers, not even ours before a restart.
        self._numbers = (f"{uuid4().hex}-{n}" for n in count(1))

    def ask(
        self, verb: str, client: Client, when: float, address: int | None = None
    ) -> Deferred[Any]:
        """Ask, and give the answer as a storage's verb would.

        Cancelled, it lets go of its connection.  It fails with `WebServiceFailed` when
        there is no answer in time, or none that makes sense.
        """
        document = question(verb, client, when, next(self._numbers), address)
        asked = Deferred.fromCoroutine(self._ask(verb, document, client))
        return asked.addTimeout(self._timeout, self._clock, self._late)

    def stop(self) -> Deferred[None]:
        """Close the connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _late(self, result: Any, timeout: float) -> Any:
        if isinstance(result, Failure):
            raise WebServiceFailed(
                f"{self.url} did not answer in {timeout:.0f} seconds"
            )
        return result

    async def _ask(self, verb: str, document: dict[str, Any], client: Client) -> Any:
        body = json.dumps(document, separators=(",", ":")).encode()
        await self._free.acquire()
        try:
            text = await self._sent(verb, body)
        finally:
            self._free.release()
        try:
            return read_answer(verb, json.loads(text), client)
        except (ValueError, RecursionError) as error:
            raise WebServiceFailed(f"{self.url}/{verb}: {error}") from None

    async def _sent(self, verb: str, body: bytes) -> bytes:
        try:
            return await self._once(verb, body)
        except (ResponseNeverReceived, RequestTransmissionFailed) as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from None  # given up: that is no lost answer
            # A connection that was kept, and that the service closed just then.  To ask
            # again is safe: every verb has the same answer for the same question, for
            # clients repeat themselves as well; and the id tells that it is the same.
        try:
            return await self._once(verb, body)
        except (ResponseNeverReceived, RequestTransmissionFailed) as error:
            why = "; ".join(str(reason.value) for reason in error.reasons)
            raise WebServiceFailed(
                f"{self.url}/{verb}: no answer came ({why})"
            ) from None

    async def _once(self, verb: str, body: bytes) -> bytes:
        response = await self._agent.request(
            b"POST",
            self._base + b"/" + verb.encode(),
            Headers(self._headers),
            _Bytes(body),
        )
        collected = _Body()
        response.deliverBody(collected)
        text = await collected.done
        if response.code != 200:
            # Redirections are not followed: leases are nobody else's business.
            phrase = response.phrase.decode("latin-1")
            raise WebServiceFailed(f"{self.url}/{verb}: {response.code} {phrase}")
        return text


@implementer(IStorage, IStorageService)
class HTTPStorage:
    """A service decides everything.

    Args:
        service: Whom to ask.
    """

    def __init__(self, service: WebService) -> None:
        self._service = service
        self._ask = service.ask

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`."""
        return self._ask("offer", client, when)

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        return self._ask("commit", client, when, address)

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`."""
        return self._ask("release", client, when, address)

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        return self._ask("decline", client, when, address)

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        return self._ask("configure", client, when)

    def start(self, when: float) -> None:
        """See `IStorageService.start`; connections are made when they are needed."""

    def stop(self) -> Deferred[None]:
        """See `IStorageService.stop`."""
        return self._service.stop()


class WebRegistry:
    """A service says who clients are; the pool does the rest.

    Args:
        service: Whom to ask.
        clock: Tells the time that the service is told.
    """

    def __init__(self, service: WebService, clock: IReactorTime) -> None:
        self._service = service
        self._clock = clock

    def reservation_for(self, client: Client) -> Deferred[Any]:
        """See `PoolStorage.reservation_for`."""
        return self._service.ask("reservation", client, self._clock.seconds())

    def stop(self) -> Deferred[None]:
        """Close the connections."""
        return self._service.stop()


def make_http(url: str, context: Any) -> HTTPStorage:
    """``storage = http://…``, from a `StorageContext`.

    Raises:
        ValueError: The URL or a file makes no sense.
    """
    return HTTPStorage(_service(url, context))


def make_registry(url: str, context: Any) -> WebRegistry:
    """``reservations = http://…`` of the ``[storage]`` section.

    Raises:
        ValueError: The URL or a file makes no sense.
    """
    return WebRegistry(_service(url, context), context.reactor)


def _service(url: str, context: Any) -> WebService:
    around = context.around
    token = ""
    if around.token:
        token = _read(context.state / around.token).strip()
        if not token or not token.isascii() or not token.isprintable():
            raise ValueError(f"token-file {around.token} holds no token on one line")
    return WebService(
        url,
        context.reactor,
        around.deadline,
        token,
        context.state / around.authority if around.authority else None,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _trusted(authority: Path | None) -> Any:
    """Whose certificates are believed, as Twisted wants it."""
    if authority is None:
        return None
    try:
        found = x509.load_pem_x509_certificates(_read(authority).encode())
    except ValueError as error:
        raise ValueError(f"authority {authority}: {error}") from None
    return trustRootFromCertificates(
        [Certificate.loadPEM(each.public_bytes(Encoding.PEM)) for each in found]
    )
