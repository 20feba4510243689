"""Asking a web service: one question, one answer, in time or not at all.

What may happen on the way is dealt with here and in `connecting`, so that the rest sees
an answer or one kind of failure.

**What is asked again**: a question whose connection had been used before and was lost
without one byte of an answer; once, at once, on a new connection, with the same ``id``.
That is how it looks when a service closes a connection it has kept for long enough.  It
may have read the question all the same; but every verb has the same answer when it is
asked the same again (`IStorage`), for clients repeat themselves, too.  Nothing else is
asked again: not after an answer of any kind, and not after the time is over, for the
client will ask again, and a service that is slow is not helped by more to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ..client import Client
from ..lease import Silence
from ..wire.values import visible
from .answers import Answers, BadAnswer
from .connecting import (
    MOST_CONNECTIONS,
    AnswerTooLong,
    Connections,
    KeptConnectionLost,
    Reply,
    Turns,
    Way,
    is_cancelled,
)
from .questions import question


_log = Logger()

#: Seconds between two lines in the log about the same service.
COMPLAIN_EVERY = 10.0


class WebServiceFailed(Exception):  # noqa: N818 - "failed" says it
    """The service gave no answer; the message says why.

    Attributes:
        is_logged: The log has it already, or had the like a moment ago.
    """

    is_logged = True


@implementer(IBodyProducer)
class _Bytes:
    """A body that is there already, and is sent at once."""

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


def why(failure: Failure) -> str:
    """What was the matter, in words for a log."""
    error = cause(failure)
    if isinstance(error, VerificationError):
        return "its certificate is for another name"
    text = str(error) or type(error).__name__
    if isinstance(error, SSLError) and error.args and error.args[0]:
        text = "TLS: " + ", ".join(str(each[-1]) for each in error.args[0])
    elif failure.check(ResponseNeverReceived):
        text = f"no answer came: {text}"
    elif failure.check(ResponseFailed) and not isinstance(error, AnswerTooLong):
        text = f"its answer broke off: {text}"
    return visible(text)[:200]


def cause(failure: Failure) -> Any:
    """What is at the bottom of a failure that tells of others."""
    error: Any = failure.value
    while getattr(error, "reasons", None):
        error = error.reasons[0].value
    return error


def is_untrusted(failure: Failure) -> bool:
    """Whether who answered could not show to be the service."""
    return isinstance(cause(failure), VerificationError | SSLError)


class _Trouble:
    """What the log is told of a service: once for much of the same."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since: float | None = None
        self._is_gone = False

    def tell(self, url: str, reason: str, *, is_gone: bool = True) -> None:
        """It gives no answer, or none that can be used."""
        now = self._clock.seconds()
        # A clock that was set back must not make this a long silence.
        if self._since is not None and 0 <= now - self._since < COMPLAIN_EVERY:
            return
        self._since = now
        self._is_gone = is_gone
        _log.warn("The web service {url} failed: {reason}", url=url, reason=reason)

    def is_over(self, url: str) -> None:
        """It gives answers."""
        if self._is_gone:
            self._is_gone = False
            _log.info("The web service {url} answers again", url=url)


class WebService:
    """Asks one service.

    Args:
        urls: Where to send a question, by its verb.
        way: How to get there.
        reactor: For the time.
        timeout: Seconds for a question, everything included.
        headers: Sent with every question.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        way: Way,
        reactor: Any,
        timeout: float,
        headers: Mapping[str, str],
    ) -> None:
        self._urls = {verb: url.encode() for verb, url in urls.items()}
        #: What stands in the log: a query may hold what is nobody's business.
        self._shown = {verb: url.partition("?")[0] for verb, url in urls.items()}
        self._way = way
        self._clock: IReactorTime = reactor
        self._timeout = timeout
        self._headers = Headers({name: [text] for name, text in headers.items()})
        self._kept = Connections(reactor)
        self._agent = Agent.usingEndpointFactory(reactor, way, self._kept)
        self._anew = Agent.usingEndpointFactory(
            reactor, way, Connections(reactor, persistent=False)
        )
        self._turns = Turns(MOST_CONNECTIONS)
        self._answers = Answers()
        self._trouble = _Trouble(reactor)
        self._under_way = 0
        self._until_idle: list[Deferred[None]] = []
        # Nobody else's questions have these, nor had ours before a restart.
        mine = uuid4().hex
        self._ids = (f"{mine}-{n}" for n in count(1))

    def ask(
        self, verb: str, client: Client, when: float, address: int | None = None
    ) -> Deferred[Any]:
        """Ask, and give the answer as a storage's verb would.

        A service that is late is `Silence.STORAGE_LATE`.  Cancelled, the question lets go
        of its connection.

        Raises:
            WebServiceFailed: By the Deferred: there is no answer.
            BadAnswer: Likewise: it makes no sense.
        """
        body = question(verb, client, when, next(self._ids), address)
        self._under_way += 1
        asked: Deferred[Any] = self._turns.take(partial(self._sent, verb, body))
        asked.addCallback(self._read, verb, client)
        asked.addTimeout(self._timeout, self._clock, partial(self._late, verb))
        return asked.addBoth(self._ended, verb)

    def stop(self) -> Deferred[None]:
        """Wait for the answers that are still to come, and close the connections."""
        idle: Deferred[None] = Deferred()
        self._until_idle.append(idle)
        if not self._under_way:
            self._tell_idle()
        return idle.addCallback(lambda _: self._kept.closeCachedConnections())

    def _sent(self, verb: str, body: bytes) -> Deferred[Reply]:
        sent = self._once(self._agent, verb, body)
        sent.addErrback(self._again, verb, body)
        return sent.addErrback(self._unanswered)

    def _once(self, agent: Agent, verb: str, body: bytes) -> Deferred[Any]:
        return agent.request(b"POST", self._urls[verb], self._headers, _Bytes(body))

    def _again(self, failure: Failure, verb: str, body: bytes) -> Deferred[Any]:
        failure.trap(KeptConnectionLost)
        return self._once(self._anew, verb, body)

    def _unanswered(self, failure: Failure) -> Failure:
        if is_cancelled(failure):
            return failure
        if is_untrusted(failure):
            self._way.shut(failure)
        return Failure(WebServiceFailed(why(failure)))

    def _read(self, reply: Reply, verb: str, client: Client) -> Any:
        if reply.code != 200:
            # Redirections are not followed: leases are nobody else's business.
            phrase = visible(reply.phrase.decode("latin-1"))[:100]
            raise WebServiceFailed(f"it says {reply.code} {phrase}".rstrip())
        self._trouble.is_over(self._shown[verb])
        return self._answers.read(verb, reply.text, client)

    def _late(self, verb: str, _: Any, timeout: float) -> Silence:
        self._trouble.tell(self._shown[verb], f"no answer within {timeout:g} seconds")
        # Connections that a firewall has forgotten look like this, all of them at once.
        self._kept.closeCachedConnections()
        return Silence.STORAGE_LATE

    def _ended(self, result: Any, verb: str) -> Any:
        self._under_way -= 1
        if self._until_idle and not self._under_way:
            # Not before whoever has waited for this answer has it.
            self._clock.callLater(0, self._tell_idle)
        if not isinstance(result, Failure):
            return result
        if is_cancelled(result):
            return Failure(CancelledError())
        if result.check(WebServiceFailed, BadAnswer):
            is_gone = result.check(WebServiceFailed) is not None
            self._trouble.tell(self._shown[verb], str(result.value), is_gone=is_gone)
        return result

    def _tell_idle(self) -> None:
        waiting, self._until_idle = self._until_idle, []
        for idle in waiting:
            idle.callback(None)
