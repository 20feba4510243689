"""Where the control channel meets the network: connections, and their bounds."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import SSL4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IListeningPort,
    IPushProducer,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import ControlConfig
from ..transport.sockets import CannotServe
from . import tls
from .answering import ControlServer
from .caller import Caller
from .errors import NotPermitted
from .server import Answers


_log = Logger()

#: Connections at once; more are closed.
MOST_CONNECTIONS = 64

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
    handle = getattr(transport, "transport", transport).getHandle()
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
        if self._is_refused:
            self.close()

    def connectionMade(self) -> None:
        """See `Protocol`."""
        super().connectionMade()
        self._factory.connections.add(self)
        _notice_if_it_vanishes(self.transport)
        self.transport.registerProducer(self, True)
        if len(self._factory.connections) > MOST_CONNECTIONS:
            _log.warn("There are {n} control connections already", n=MOST_CONNECTIONS)
            self.transport.abortConnection()
        elif self._factory.is_secure:
            self._hurry = self._factory.reactor.callLater(
                HANDSHAKE_TIME, self.transport.abortConnection
            )

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        try:
            self.caller()
        except NotPermitted as error:
            # Its first command is told why; if there is none, its time is short.
            _log.warn("A control connection was refused: {why}", why=str(error))
        else:
            self._be_calm()

    def close_if(self, revoked: frozenset[int]) -> None:
        """Close the connection at once if its certificate is one of these."""
        if self._shown is not None and self._shown.serial in revoked:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._factory.connections.discard(self)
        self._be_calm()
        super().connectionLost(reason)
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
            self.paused = True
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

    # Who does not read our answers is not read either: `pauseProducing` and
    # `resumeProducing` are the string receiver's, which also keep what was read in one
    # piece with the last command from being answered.

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


async def listen(
    reactor: Any,
    config: ControlConfig,
    state: Path,
    server: ControlServer,
    names: Iterable[str] = (),
) -> IListeningPort:
    """Open the control channel that a configuration names.

    Where it is stands afterwards in ``control/endpoint`` of the state directory.

    Args:
        reactor: The reactor.
        config: What to open, and with which certificates.
        state: The state directory.
        server: Who answers.
        names: Further names and addresses for a new server certificate.

    Raises:
        ValueError: The endpoint or a certificate cannot be used.
        OSError: A file cannot be written.
        CannotServe: The port or socket is taken.
    """
    directory = state / "control"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if config.listen.startswith("unix:"):
            port, where = await _listen_unix(reactor, config, state, server)
        else:
            port, where = await _listen_tcp(reactor, config, state, server, names)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        raise CannotServe(f"[control] listen = {config.listen}: {reason}") from None
    (directory / "endpoint").write_text(where + "\n", encoding="utf-8")
    return port


async def _listen_unix(
    reactor: Any, config: ControlConfig, state: Path, server: ControlServer
) -> tuple[IListeningPort, str]:
    text = config.listen
    first, named = _words(text)
    path = state.absolute() / (first or named.get("address", ""))  # noqa: ASYNC240 - no I/O
    try:
        mode = int(named["mode"], 8)
    except (KeyError, ValueError):
        raise ValueError(f"listen = {text}: needs its mode, as in :mode=660") from None
    authority = state / "control" / "authority.pem"
    is_ours = config.certificate is None and config.authority is None
    server.identities.open(
        state / "control",
        tls.read_certificate(authority) if is_ours and authority.exists() else None,
        has_key=is_ours,
    )
    # With a lock beside it, the socket of a server that crashed is no hindrance.
    endpoint = UNIXServerEndpoint(reactor, str(path), mode=mode, wantPID=True)
    port = await endpoint.listen(ControlFactory(server, reactor, is_secure=False))
    return port, f"unix:{path}"


async def _listen_tcp(
    reactor: Any,
    config: ControlConfig,
    state: Path,
    server: ControlServer,
    names: Iterable[str],
) -> tuple[IListeningPort, str]:
    first, named = _words(config.listen)
    number = first or named.get("port", "")
    known = set(named) <= {"port", "interface"}
    if not known or not number.isdecimal() or int(number) > 65535:
        raise ValueError(
            f"listen = {config.listen}: should be like tcp:6768:interface=127.0.0.1"
        )
    interface = named.get("interface", "127.0.0.1")
    if config.certificate is None or config.authority is None:
        everywhere = interface in _EVERYWHERE
        tls.prepare(state / "control", [*names, *([] if everywhere else [interface])])
    certificate = state / (config.certificate or "control/server.pem")
    authority = state / (config.authority or "control/authority.pem")
    options = tls.server_options(certificate, authority)
    server.identities.open(
        state / "control",
        tls.read_certificate(authority),
        has_key=config.certificate is None and config.authority is None,
    )
    for what, path in (("certificate", certificate), ("authority", authority)):
        end = tls.end_of(tls.read_certificate(path))
        if end is not None:
            server.identities.ends[what] = end
    endpoint = SSL4ServerEndpoint(reactor, int(number), options, 50, interface)
    port = await endpoint.listen(ControlFactory(server, reactor, is_secure=True))
    host = _EVERYWHERE.get(interface, interface)
    host = f"[{host}]" if ":" in host else host
    return port, f"{host}:{port.getHost().port}"


#: Addresses that stand for all, and where a program on this machine finds those.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def _words(text: str) -> tuple[str, dict[str, str]]:
    """The words of an endpoint behind its kind: the first plain one, the named ones."""
    _, *words = [re.sub(r"\\(.)", r"\1", w) for w in re.split(r"(?<!\\):", text)]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    return next((word for word in words if "=" not in word), ""), named
