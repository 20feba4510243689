"""The only place where packets meet Twisted: bytes in, bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from math import inf
from socket import inet_aton
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exchanges import Exchange, Reply, Responder
from ..lease import Silence
from ..network import Via
from ..wire.codes import MESSAGE_TYPE
from ..wire.message import MalformedMessage, Message
from .counters import Counters


if TYPE_CHECKING:
    from ..interfaces import IStorage

_log = Logger()

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
    ) -> None:
        self.via = via
        self.responder = responder
        self.storage = storage
        self.counters = counters
        self.clock = clock
        self.frames = frames
        self._complained = -inf

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
        try:
            result = exchange.ask(self.storage, self.clock())
        except Exception:  # noqa: BLE001 - a stranger's storage may raise anything
            self._storage_failed(Failure())
            return
        if isinstance(result, Deferred):
            self._wait(result, exchange)
        elif isinstance(result, Coroutine):
            self._wait(Deferred.fromCoroutine(result), exchange)
        else:
            self._answered(result, exchange)

    def _wait(self, result: Deferred[Any], exchange: Exchange) -> None:
        result.addCallbacks(
            self._answered, self._storage_failed, callbackArgs=(exchange,)
        )
        result.addErrback(self._bug)

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
                self._write(reply.data, (reply.address, reply.port))
        except OSError:
            # UDP is not buffered: a full buffer or no route.  The client asks again.
            counters.unsendable += 1
            return
        counters.sent[reply.kind] += 1

    def startProtocol(self) -> None:
        """The socket is there."""
        self._write = self.transport.write  # type: ignore[union-attr]

    def _storage_failed(self, failure: Failure) -> None:
        self.counters.silences[Silence.STORAGE_FAILED] += 1
        # One line tells it; a thousand packets that fail together need no more.
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            _log.failure("The storage failed; its clients get no answer", failure)

    def _bug(self, failure: Failure) -> None:
        self.counters.silences[Silence.BUG] += 1
        _log.failure("A reply could not be made", failure)
