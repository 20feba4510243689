"""What a client sends: the messages of RFC 2131 table 5.

Each but the first is made from messages that came before, so a client is a few lines::

    first = discover(bytes.fromhex("020000000001"))
    offer = ask(first)
    ack = ask(select(first, offer))
    tell(release(first, ack))
"""

from __future__ import annotations

from collections.abc import Mapping
from random import getrandbits
from typing import Any

from .building import AnyAddress, encoded, number
from .codes import (
    BROADCAST_FLAG,
    CLIENT_ID,
    LEASE_TIME,
    MESSAGE,
    MESSAGE_TYPE,
    PARAMETER_REQUEST_LIST,
    RAPID_COMMIT,
    REBINDING_TIME,
    RENEWAL_TIME,
    REQUESTED_ADDRESS,
    SERVER_ID,
    MessageType,
)
from .message import Message


#: What `discover` asks for if it is not told: mask, routers, name servers, names, times.
USUAL_REQUEST_LIST = bytes([1, 3, 6, 12, 15, 28, 42, 51, 54, 58, 59, 119, 121])

_TIMES = bytes([LEASE_TIME, RENEWAL_TIME, REBINDING_TIME])


def discover(
    chaddr: bytes,
    *,
    htype: int = 1,
    xid: int | None = None,
    broadcast: bool = False,
    options: Mapping[Any, Any] | None = None,
) -> Message:
    """A DISCOVER: a client looks for servers.

    Args:
        chaddr: The hardware address.
        htype: Its kind.
        xid: The transaction's number; a random one if not given.
        broadcast: Whether the client cannot receive unicast yet.
        options: More options, by number, name or `OptionKind`; a request list (55) of
            your own takes the place of the `USUAL_REQUEST_LIST`.

    Raises:
        ValueError: A value does not fit its place, or is a server identifier (54) or
            another message type (53).
    """
    values = encoded(options or {})
    kind = bytes([MessageType.DISCOVER])
    if SERVER_ID in values or values.get(MESSAGE_TYPE, kind) != kind:
        raise ValueError("a DISCOVER has its own type (53), and no option 54")
    if PARAMETER_REQUEST_LIST not in values:
        values = {PARAMETER_REQUEST_LIST: USUAL_REQUEST_LIST, **values}
    return Message.build(
        htype=htype,
        xid=getrandbits(32) if xid is None else xid,
        flags=BROADCAST_FLAG if broadcast else 0,
        chaddr=chaddr,
        options={MESSAGE_TYPE: kind, **values},
    )


def select(first: Message, offer: Message) -> Message:
    """The REQUEST that takes an offer (RFC 2131 section 4.3.2, SELECTING).

    ``secs``, flags and options are the DISCOVER's, so that relays treat both alike.

    Args:
        first: The client's DISCOVER.
        offer: The OFFER that it takes.

    Raises:
        ValueError: The offer has no address or no server identifier.
    """
    return first.replace(
        xid=offer.xid,
        ciaddr=0,
        options={
            MESSAGE_TYPE: bytes([MessageType.REQUEST]),
            RAPID_COMMIT: None,
            REQUESTED_ADDRESS: _given(offer),
            SERVER_ID: _server(offer),
        },
    )


def reboot(first: Message, address: AnyAddress) -> Message:
    """The REQUEST of a client that had an address and starts again (INIT-REBOOT).

    Args:
        first: A DISCOVER of the client.
        address: The address it had.
    """
    return first.replace(
        xid=getrandbits(32),
        secs=0,
        ciaddr=0,
        options={
            MESSAGE_TYPE: bytes([MessageType.REQUEST]),
            RAPID_COMMIT: None,
            REQUESTED_ADDRESS: number(address).to_bytes(4, "big"),
            SERVER_ID: None,
        },
    )


def renew(first: Message, ack: Message) -> Message:
    """The REQUEST that extends a lease.

    Sent to the server it is RENEWING, broadcast it is REBINDING: the message is the
    same.

    Args:
        first: The client's DISCOVER, or any later one of it.
        ack: The ACK that gave the lease.

    Raises:
        ValueError: The ACK gives no address.
    """
    return first.replace(
        xid=getrandbits(32),
        secs=0,
        flags=0,
        ciaddr=_given(ack),
        options={
            MESSAGE_TYPE: bytes([MessageType.REQUEST]),
            RAPID_COMMIT: None,
            REQUESTED_ADDRESS: None,
            SERVER_ID: None,
        },
    )


def inform(first: Message, address: AnyAddress) -> Message:
    """An INFORM: a client that has an address wants to know the rest (section 4.4.3).

    It asks for what the DISCOVER asks for, but not for the times of a lease.

    Args:
        first: A DISCOVER of the client.
        address: The address that it has from elsewhere.
    """
    wanted = (first.requested_options or b"").translate(None, _TIMES)
    return first.replace(
        xid=getrandbits(32),
        secs=0,
        flags=0,
        ciaddr=address,
        options={
            MESSAGE_TYPE: bytes([MessageType.INFORM]),
            RAPID_COMMIT: None,
            REQUESTED_ADDRESS: None,
            LEASE_TIME: None,
            SERVER_ID: None,
            PARAMETER_REQUEST_LIST: wanted or None,
        },
    )


def decline(
    first: Message, ack: Message, reason: str = "the address is in use"
) -> Message:
    """A DECLINE: somebody else has the address (section 4.4.1).

    Args:
        first: The client's DISCOVER.
        ack: The ACK that gave the address.
        reason: Words for the server's log; there should be some.

    Raises:
        ValueError: The ACK gives no address, or has no server identifier.
    """
    return _parting(
        first, ack, MessageType.DECLINE, 0, {REQUESTED_ADDRESS: _given(ack)}, reason
    )


def release(
    first: Message, ack: Message, reason: str = "the address is not needed any more"
) -> Message:
    """A RELEASE: the address is not needed any more (section 4.4.6).

    Args:
        first: The client's DISCOVER.
        ack: The ACK that gave the address.
        reason: Words for the server's log; there should be some.

    Raises:
        ValueError: The ACK gives no address, or has no server identifier.
    """
    return _parting(first, ack, MessageType.RELEASE, _given(ack), {}, reason)


def _parting(
    first: Message,
    ack: Message,
    kind: MessageType,
    ciaddr: AnyAddress,
    more: dict[int, bytes],
    reason: str,
) -> Message:
    """A message that table 5 allows hardly any option in."""
    options = {MESSAGE_TYPE: bytes([kind]), SERVER_ID: _server(ack), **more}
    if CLIENT_ID in first.options:
        options[CLIENT_ID] = first.options[CLIENT_ID]
    if reason:
        options[MESSAGE] = reason.encode()
    return Message.build(
        htype=first.htype,
        xid=getrandbits(32),
        ciaddr=ciaddr,
        chaddr=first.chaddr,
        options=options,
    )


def _given(reply: Message) -> bytes:
    address = reply.yiaddr
    if not address:
        raise ValueError(f"{reply!r} gives no address")
    return address.to_bytes(4, "big")


def _server(reply: Message) -> bytes:
    server = reply.server_id
    if not server:
        raise ValueError(f"{reply!r} has no server identifier")
    return server.to_bytes(4, "big")
