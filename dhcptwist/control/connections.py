"""Connections of the control channel, and the bounds on what a peer may cost."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from . import tls
from .answering import ControlServer
from .caller import Caller
from .errors import NotPermitted
from .server import Answers


_log = Logger()

#: Connections at once; more are closed.
MOST_CONNECTIONS = 64

#: Those beside them that have shown no certificate yet; if there is one more, the one
#: that has been there longest is closed: strangers take nobody's place.
MOST_STRANGERS = 64

#: Seconds a stranger may take to show its certificate.
HANDSHAKE_TIME = 30.0

#: Seconds of silence after which a peer is asked whether it is there, between two such
#: questions, and how many of them.
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 4),
)

#: Seconds between two warnings of certificates that end soon.
WARNING_TIME = 86400.0

#: Commands that one connection is heard in one turn of the reactor: between two such
#: turns, packets have theirs.
COMMANDS_A_TURN = 4

#: Commands of one connection that are answered at once, so that their answers, which may
#: all become known in one moment, hold up no packet either.
MOST_OWED = 32

#: Bytes that one command may have.
MOST_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class _Shown:
    """What we want to know of a peer's certificate."""

    name: str
    serial: int
    ends: float | None


def _notice_if_it_vanishes(transport: Any) -> None:
    """See within two minutes that a silent peer is gone without a word."""
    # Around TLS, what has the socket is within.
    plain: Any = getattr(transport, "transport", transport)
    handle = None
    if ITCPTransport.providedBy(plain):
        handle = plain.getHandle()  # type: ignore[attr-defined] # all of Twisted's have it
    if isinstance(handle, socket.socket) and handle.family != socket.AF_UNIX:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            handle.setsockopt(socket.IPPROTO_TCP, option, value)


def _shown(transport: Any) -> _Shown | None:
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return None
    made = certificate.to_cryptography()
    return _Shown(tls.name_in(made), made.serial_number, tls.end_of(made))


@implementer(IHandshakeListener, IPushProducer)
class ControlProtocol(amp.AMP):
    """One connection: AMP, with bounds on what a peer may make us keep."""

    transport: Any

    def __init__(self, factory: ControlFactory) -> None:
        self._answers = Answers(factory.server, self.caller, self)
        super().__init__(locator=self._answers)
        self._factory = factory
        self._hurry: IDelayedCall | None = None
        self._box_size = 0
        self._shown: _Shown | None = None
        self._is_refused = False
        self._heard = 0
        self._owed = 0
        self._breath: IDelayedCall | None = None
        self._is_held_back = False
        self._is_stopped = False

    def caller(self) -> Caller:
        """Who is on the other end.

        Raises:
            NotPermitted: Nobody that has a certificate which is worth something; the
                connection is closed once that is told.
        """
        if not self._factory.is_secure:
            # Whoever may open the socket's file may do everything.
            return Caller(tls.ADMIN, None)
        why = self._refusal()
        if why or self._shown is None:
            self._is_refused = True
            raise NotPermitted(why)
        name = self._shown.name
        return Caller(name, self._factory.server.roles.get(name), self._shown.serial)

    def _refusal(self) -> str:
        """Why the peer's certificate is worth nothing; empty if it is."""
        server = self._factory.server
        shown = self._shown = self._shown or _shown(self.transport)
        if shown is None:
            return "there is no certificate"
        if server.identities.is_revoked(shown.serial):
            return (
                f"the certificate of {shown.name!r} with the serial number"
                f" {shown.serial:x} was revoked"
            )
        # TLS has looked at this, but maybe long ago.
        if shown.ends is not None and shown.ends <= server.clock():
            return f"the certificate of {shown.name!r} has ended"
        return ""

    def sendBox(self, box: amp.AmpBox) -> None:
        """See `amp.IBoxSender`."""
        super().sendBox(box)
        if amp.ANSWER in box or amp.ERROR in box:
            self._owed -= 1
            if self._owed == MOST_OWED - 1:
                self._listen()
        if self._is_refused:
            self.close()

    def makeConnection(self, transport: Any) -> None:
        """See `Protocol`."""
        # Past AMP's own, which logs two lines of each connection: any stranger could
        # fill a disk with them.
        super(amp.AMP, self).makeConnection(transport)

    def connectionMade(self) -> None:
        """See `Protocol`."""
        super().connectionMade()
        _notice_if_it_vanishes(self.transport)
        self.transport.registerProducer(self, True)
        if self._factory.is_secure:
            self._hurry = self._factory.reactor.callLater(
                HANDSHAKE_TIME, self.transport.abortConnection
            )
            self._factory.stranger_came(self)
        elif not self._factory.has_room_for(self):
            self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        try:
            self.caller()
        except NotPermitted as error:
            # Its first command is told why; if there is none, its time is short.
            _log.warn("A control connection was refused: {why}", why=str(error))
        else:
            self._be_calm()
            if not self._factory.has_room_for(self):
                self.transport.abortConnection()

    def close_if(self, revoked: frozenset[int]) -> None:
        """Close the connection at once if its certificate is one of these."""
        if self._shown is not None and self._shown.serial in revoked:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._factory.has_gone(self)
        self._be_calm()
        if self._breath is not None:
            self._breath.cancel()
            self._breath = None
        super(amp.AMP, self).connectionLost(reason)
        self.transport = None
        self._answers.closed()

    def _be_calm(self) -> None:
        if self._hurry is not None and self._hurry.active():
            self._hurry.cancel()
        self._hurry = None

    def proto_init(self, string: bytes) -> Any:
        """See `amp.BinaryBoxProtocol`: a new box begins."""
        self._box_size = 0
        return super().proto_init(string)

    def proto_value(self, string: bytes) -> Any:
        """See `amp.BinaryBoxProtocol`: a box may have any number of values."""
        self._box_size += len(string) + 256
        if self._box_size > MOST_BYTES:
            self.transport.abortConnection()
            # Nothing of what has been read already is looked at any more.
            self.paused = self._is_held_back = True
            string = b""
        return super().proto_value(string)

    def lengthLimitExceeded(self, length: int) -> None:
        """See `amp.BinaryBoxProtocol`: this is not AMP."""
        self.close()

    def close(self) -> None:
        """Close the connection once what was answered is sent."""
        # TLS does not end while there is a producer.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # Who does not read our answers is not read either, nor is who has been heard enough
    # for one turn, or has asked enough: the string receiver's own methods also keep what
    # was read in one piece with the last command from being answered.

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """See `amp.IBoxReceiver`."""
        self._heard += 1
        self._owed += amp.ASK in box
        super().ampBoxReceived(box)
        if self._breath is None and self._heard >= COMMANDS_A_TURN:
            # For one turn what comes may come; it is only not looked at.
            self._breath = self._factory.reactor.callLater(0, self._go_on)
            self.paused = True
        if self._owed >= MOST_OWED and not self._is_stopped:
            self._is_stopped = True
            super().pauseProducing()

    def _go_on(self) -> None:
        self._breath = None
        self._heard = 0
        self._listen()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._is_held_back = self._is_stopped = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._is_held_back = False
        self._listen()

    def _listen(self) -> None:
        if self._is_held_back or self._breath is not None or self._owed >= MOST_OWED:
            return
        if self._is_stopped:
            self._is_stopped = False
            super().resumeProducing()
        elif self.paused:
            self.paused = False
            self.dataReceived(b"")

    def stopProducing(self) -> None:
        """See `IPushProducer`."""


class ControlFactory(Factory):
    """Makes connections.

    Args:
        server: Who answers.
        reactor: For the handshake's time limit.
        is_secure: Whether peers show certificates; else whoever gets here is ``admin``.

    Attributes:
        connections: Those that are open.
    """

    noisy = False

    def __init__(self, server: ControlServer, reactor: Any, *, is_secure: bool) -> None:
        self.server = server
        self.reactor = reactor
        self.is_secure = is_secure
        self.connections: set[ControlProtocol] = set()
        self._strangers: dict[ControlProtocol, None] = {}
        self._is_full = False
        self._warnings: LoopingCall | None = None

    def doStart(self) -> None:
        """See `Factory`: from now on certificates are looked after."""
        super().doStart()
        if not self.is_secure:
            return
        self.server.identities.add_listener(self._revoked)
        self._warnings = LoopingCall(self._warn)
        self._warnings.clock = self.reactor
        self._warnings.start(WARNING_TIME)

    def buildProtocol(self, addr: Any) -> ControlProtocol:
        """See `Factory`."""
        return ControlProtocol(self)

    def stranger_came(self, stranger: ControlProtocol) -> None:
        """It has to show its certificate, before too many others come."""
        self.connections.add(stranger)
        self._strangers[stranger] = None
        if len(self._strangers) > MOST_STRANGERS:
            longest = next(iter(self._strangers))
            del self._strangers[longest]
            longest.transport.abortConnection()

    def has_room_for(self, friend: ControlProtocol) -> bool:
        """Whether it may stay, now that it is known."""
        self._strangers.pop(friend, None)
        self.connections.add(friend)
        if len(self.connections) - len(self._strangers) <= MOST_CONNECTIONS:
            return True
        if not self._is_full:
            self._is_full = True
            _log.warn("There are {n} control connections already", n=MOST_CONNECTIONS)
        return False

    def has_gone(self, connection: ControlProtocol) -> None:
        """There is room for another."""
        self.connections.discard(connection)
        self._strangers.pop(connection, None)
        known = len(self.connections) - len(self._strangers)
        self._is_full = self._is_full and known >= MOST_CONNECTIONS

    def doStop(self) -> None:
        """See `Factory`: no more is heard, so what is open is closed."""
        super().doStop()
        self.server.holding.stop()
        if self._warnings is not None:
            self._warnings.stop()
            self._warnings = None
            self.server.identities.remove_listener(self._revoked)
        for each in list(self.connections):
            each.close()

    def _revoked(self, serials: frozenset[int]) -> None:
        for each in list(self.connections):
            each.close_if(serials)

    def _warn(self) -> None:
        when = self.server.clock()
        for what, end in self.server.identities.ending(when):
            _log.warn(
                "The control channel's {what} {ends} on {day}; see docs/control.md",
                what=what,
                ends="ends" if end > when else "has ended",
                day=datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            )
