"""A whole DORA as a relayed client, to see that a server really serves.

It speaks as a relay does, from an address of this machine to the server's port, so it
needs no interface of its own, changes no address, and needs no rights on a high port.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from ..lease import format_hardware
from ..wire import MalformedMessage, Message, MessageType, option_kind
from ..wire.agent import forward
from ..wire.codes import LEASE_TIME, MESSAGE, PARAMETER_REQUEST_LIST, SERVER_ID
from ..wire.message import printable
from ..wire.requests import discover, release, select


#: Linux's IP_RECVERR (ip(7)): "connection refused" for a socket that is not connected.
_IP_RECVERR = 11

#: Seconds to wait for an answer before asking again, one after the other.
PATIENCE = (0.5, 1.0, 2.0)

#: Options that are asked for and shown: mask, routers, name servers, name, domain, broadcast
#: address, times, boot file.
_WANTED = {PARAMETER_REQUEST_LIST: bytes((1, 3, 6, 12, 15, 28, 51, 54, 58, 59, 66, 67))}


class ProbeFailed(Exception):  # noqa: N818 - it says what
    """There was no lease; the message says how far it came and what may be wrong.

    Attributes:
        refused: Whether the server said no, rather than nothing.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and as whom.

    Attributes:
        server: The server's address.
        port: Its port.
        relay: The address of this machine to speak from (giaddr): it tells the server
            which subnet the client is on, and its answers go there.
        hardware: The client's hardware address with its type in front.
    """

    server: str
    port: int
    relay: str
    hardware: bytes


def own_hardware() -> bytes:
    """A hardware address that is this machine's alone, and the same every time.

    So a probe that runs each minute uses one address of the pool, not all of them.
    """
    seed = f"dhcptwist probe from {socket.gethostname()}".encode()
    return b"\x01\x02" + hashlib.sha256(seed).digest()[:5]


def relay_towards(server: str) -> str:
    """The address of this machine to speak to a server from."""
    if IPv4Address(server).is_loopback:
        # The server has 127.0.0.1 itself; all of 127.0.0.0/8 is this machine.
        return "127.0.0.2"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((server, 67))
        except OSError as error:
            raise ProbeFailed(f"{server} cannot be reached: {error.strerror}") from None
        relay: str = sock.getsockname()[0]
    if relay == server:
        raise ProbeFailed(
            f"{server} is this machine: its answers would come back to the server;"
            " probe from another one, or let the server serve loopback, too"
            " (interfaces = …, lo and relays = 127.0.0.2 in a subnet)"
        )
    return relay


def probe(target: Target, *, keep: bool = False) -> dict[str, Any]:
    """DISCOVER, OFFER, REQUEST, ACK, and a RELEASE unless ``keep``.

    Returns:
        What the client was told, as text and numbers for `dhcpctl`.

    Raises:
        ProbeFailed: There is no lease.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _bind(sock, target)
        began = time.monotonic()
        first = discover(target.hardware[1:], htype=target.hardware[0], options=_WANTED)
        offer = _ask(sock, target, first, MessageType.OFFER)
        offered = time.monotonic()
        try:
            request = select(first, offer)
        except ValueError as error:
            raise ProbeFailed(f"the OFFER cannot be taken: {error}") from None
        ack = _ask(sock, target, request, MessageType.ACK)
        acked = time.monotonic()
        if not keep:
            _send(sock, target, release(first, ack))
    return {
        "address": str(IPv4Address(ack.yiaddr)),
        "server": str(IPv4Address(ack.address(SERVER_ID))),
        "hardware": format_hardware(target.hardware),
        "relay": target.relay,
        "lease_time": ack.address(LEASE_TIME),
        "subnet_mask": _text(ack, "subnet-mask"),
        "routers": _text(ack, "routers"),
        "domain_name_servers": _text(ack, "domain-name-servers"),
        "host_name": _text(ack, "host-name"),
        "domain_name": _text(ack, "domain-name"),
        "offer_ms": round((offered - began) * 1000, 1),
        "ack_ms": round((acked - offered) * 1000, 1),
        "released": not keep,
    }


def _text(message: Message, name: str) -> str:
    kind = option_kind(name)
    data = message.options.get(kind.code)
    return "" if data is None else kind.shape.describe(data)


def _bind(sock: socket.socket, target: Target) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    try:
        sock.bind((target.relay, target.port))
    except PermissionError:
        raise ProbeFailed(
            f"port {target.port} may be used by root only, and a relay speaks from the"
            " server's own port: use sudo"
        ) from None
    except OSError as error:
        raise ProbeFailed(
            f"{target.relay} port {target.port} cannot be used: {error.strerror}"
        ) from None


def _send(sock: socket.socket, target: Target, message: Message) -> None:
    relayed = forward(message, target.relay)
    assert relayed is not None
    try:
        sock.sendto(relayed.encode(), (target.server, target.port))
    except ConnectionRefusedError:
        raise _nobody(target) from None
    except OSError as error:
        raise ProbeFailed(
            f"{target.server} cannot be reached: {error.strerror}"
        ) from None


def _nobody(target: Target) -> ProbeFailed:
    return ProbeFailed(f"there is no server on port {target.port} of {target.server}")


def _ask(
    sock: socket.socket, target: Target, message: Message, wanted: MessageType
) -> Message:
    """Send until there is an answer."""
    for patience in PATIENCE:
        _send(sock, target, message)
        for answer in _answers(sock, target, message.xid, time.monotonic() + patience):
            if answer.type == wanted:
                return answer
            if answer.type == MessageType.NAK:
                reason = printable(answer.options.get(MESSAGE, b""))
                raise ProbeFailed(f"the server refused: {reason}", refused=True)
    if wanted == MessageType.ACK:
        raise ProbeFailed(
            f"{target.server} made an offer, and did not confirm it: its storage did not,"
            " failed or was late; `dhcpctl status` counts which"
        )
    raise ProbeFailed(
        f"no {wanted.name} from {target.server} port {target.port}: the server is not"
        f" running, or no subnet of it has {target.relay} as a relay (relays = …), or"
        " the pool is full, or its storage does not know the client; `dhcpctl status`"
        " counts what was not answered, and why"
    )


def _answers(
    sock: socket.socket, target: Target, xid: int, until: float
) -> Iterator[Message]:
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, _ = sock.recvfrom(65536)
        except TimeoutError:
            return
        except ConnectionRefusedError:
            raise _nobody(target) from None
        try:
            answer = Message.decode(data)
        except MalformedMessage:
            continue
        if answer.xid == xid:
            yield answer
