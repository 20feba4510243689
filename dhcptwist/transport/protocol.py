"""The only place where packets meet Twisted: bytes in, bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from socket import inet_aton
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exchanges import Exchange, Responder
from ..interfaces import WrongAnswer
from ..lease import Lease, Silence
from ..network import Via
from ..wire.codes import MESSAGE_TYPE
from ..wire.message import MalformedMessage, Message
from .complaints import wrong_in
from .counters import Counters


if TYPE_CHECKING:
    from ..interfaces import IStorage

_log = Logger()

#: Above so many packets a second, measured over so many packets, a socket is busy.
BUSY_RATE = 1000
BUSY_COUNT = 32

#: Seconds for which a busy socket is left alone after each reading.  Waking up costs as
#: much as answering several packets; those that gather meanwhile share it, and their
#: leases share a transaction.  A socket that is not busy is read at once.
BREATHER = 0.003

#: Seconds between two log lines about a storage that fails.
COMPLAIN_EVERY = 10.0


class FrameSender(Protocol):
    """Sends to a link address; see `dhcptwist.transport.frames`."""

    def send(self, hardware: bytes, address: bytes, port: int, data: bytes) -> None:
        """Send a datagram in a frame; raises OSError if that fails."""


class DHCPProtocol(DatagramProtocol):
    """Serves one socket of one interface.

    Args:
        via: The interface.
        responder: Finds the exchange for a message.
        storage: Decides.
        counters: Where everything is counted.
        clock: Seconds since 1970, read once for each packet.
        frames: For clients that have no address yet; None to broadcast to them.
        send: Sends a datagram, as ``socket.sendto``; None for ``transport.write``.
        reactor: For `BREATHER`; None to read whenever there is something.
    """

    noisy = False

    def __init__(
        self,
        via: Via,
        responder: Responder,
        storage: IStorage,
        counters: Counters,
        clock: Callable[[], float] = time.time,
        frames: FrameSender | None = None,
        send: Callable[[bytes, tuple[str, int]], object] | None = None,
        reactor: IReactorTime | None = None,
    ) -> None:
        self.via = via
        self.responder = responder
        self.storage = storage
        self.counters = counters
        self.clock = clock
        self.frames = frames
        self._send = send
        self._reactor = reactor
        self._complained = -inf
        self._heard = 0
        self._heard_since = 0.0
        self._busy = False
        self._breather: IDelayedCall | None = None

    def datagramReceived(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Answer a packet, now or when the storage has its answer."""
        counters = self.counters
        try:
            message = Message.decode(datagram)
        except MalformedMessage:
            counters.silences[Silence.MALFORMED] += 1
            return
        kind = message.options.get(MESSAGE_TYPE)
        counters.received[kind[0] if kind else 0] += 1
        exchange = self.responder.open(message, self.via, address[0])
        if isinstance(exchange, Silence):
            counters.silences[exchange] += 1
            return
        when = self.clock()
        self._heard += 1
        if self._heard == BUSY_COUNT:
            self._busy = 0 <= when - self._heard_since < BUSY_COUNT / BUSY_RATE
            self._heard = 0
            self._heard_since = when
        if self._busy and self._breather is None and self._reactor is not None:
            # What is there is still read to its end before the reactor goes on.
            self.transport.stopReading()  # type: ignore[union-attr]
            self._breather = self._reactor.callLater(BREATHER, self._resume)
        try:
            result = exchange.ask(self.storage, when)
        except Exception:  # noqa: BLE001 - a stranger's storage may raise anything
            self._storage_failed(Failure())
            return
        if result.__class__ is Lease:  # most often, and cheap to see
            self._now_answered(result, exchange)
        elif isinstance(result, Deferred):
            self._wait(result, exchange)
        elif isinstance(result, CoroutineType):
            self._wait(Deferred.fromCoroutine(result), exchange)
        else:
            self._now_answered(result, exchange)

    def _now_answered(self, result: Any, exchange: Exchange) -> None:
        try:
            self._answered(result, exchange)
        except WrongAnswer:
            self._storage_failed(Failure())
        except Exception:  # noqa: BLE001 - a stranger's answer may be anything, too
            wrong = wrong_in(result)
            if wrong:
                self._storage_failed(
                    Failure(TypeError(f"the storage answered {wrong}"))
                )
            else:
                self._bug(Failure())

    def _wait(self, result: Deferred[Any], exchange: Exchange) -> None:
        result.addBoth(self._settled, exchange)

    def _settled(self, result: Any, exchange: Exchange) -> None:
        if isinstance(result, Failure):
            self._storage_failed(result)
        else:
            self._now_answered(result, exchange)

    def _answered(self, result: Any, exchange: Exchange) -> None:
        counters = self.counters
        reply = exchange.answer(result)
        if isinstance(reply, Silence):
            counters.silences[reply] += 1
            return
        try:
            if reply.hardware is not None and self.frames is not None:
                self.frames.send(
                    reply.hardware, inet_aton(reply.address), reply.port, reply.data
                )
            else:
                self._send(reply.data, (reply.address, reply.port))  # type: ignore[misc]
        except OSError:
            # UDP is not buffered: a full buffer or no route.  The client asks again.
            counters.unsendable += 1
            return
        counters.sent[reply.kind] += 1

    def be_known_as(self, server_id: int) -> None:
        """Have another of our addresses here from now on, if it is another."""
        old = self.via
        if server_id != old.server_id:
            self.via = Via(
                old.interface,
                server_id,
                unicast=old.unicast,
                port=old.port,
                frames=old.frames,
            )

    def startProtocol(self) -> None:
        """The socket is there."""
        if self._send is None:
            self._send = self.transport.write  # type: ignore[union-attr]

    def stopProtocol(self) -> None:
        """The socket is gone."""
        self._rest()

    def stop_hearing(self) -> None:
        """Take no more packets; what is under way is still answered."""
        self._rest()
        self.transport.stopReading()  # type: ignore[union-attr]

    def _rest(self) -> None:
        self._reactor = None
        if self._breather is not None:
            self._breather.cancel()
            self._breather = None

    def _resume(self) -> None:
        self._breather = None
        self.transport.startReading()  # type: ignore[union-attr]

    def _storage_failed(self, failure: Failure) -> None:
        self.counters.silences[Silence.STORAGE_FAILED] += 1
        if getattr(failure.value, "is_logged", False):
            return  # the storage has told of its trouble itself
        self._complain("The storage failed; its clients get no answer", failure)

    def _bug(self, failure: Failure) -> None:
        self.counters.silences[Silence.BUG] += 1
        self._complain("A reply could not be made", failure)

    def _complain(self, text: str, failure: Failure) -> None:
        # One line tells it; a thousand packets that fail together need no more.
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            _log.failure(text, failure)
