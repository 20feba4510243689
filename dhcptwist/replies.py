"""What goes back: a reply put together, and where it goes (RFC 2131 section 4.1)."""

from __future__ import annotations

from socket import inet_ntoa

from .network import Via
from .wire.areas import join_one
from .wire.codes import SUBNET_SELECTION, HardwareType, MessageType
from .wire.message import Message
from .wire.replying import NO_ADDRESS as ZERO, NO_BOOT_FIELDS, answered


_BROADCAST = "255.255.255.255"

OFFER = int(MessageType.OFFER)
ACK = int(MessageType.ACK)
NAK = int(MessageType.NAK)


class Reply:
    """A datagram and where it goes.

    Attributes:
        data: The payload.
        kind: Option 53, to count it by.
        address, port: Where to, for the socket.
        hardware: The link address to send a frame to instead, for a client that
            cannot be reached by IP yet; None for an ordinary datagram.
    """

    __slots__ = ("address", "data", "hardware", "kind", "port")

    def __init__(
        self, data: bytes, kind: int, address: str, port: int, hardware: bytes | None
    ) -> None:
        self.data = data
        self.kind = kind
        self.address = address
        self.port = port
        self.hardware = hardware


def destination(
    message: Message, via: Via, kind: int, yiaddr: bytes, *, broadcast: bool
) -> tuple[str, int, bytes | None]:
    """Where a reply to a client's message goes: RFC 2131 section 4.1.

    Args:
        message: What the client sent.
        via: The interface it came in by.
        kind: The reply's message type.
        yiaddr: The address it is given.
        broadcast: Whether its subnet always broadcasts.

    Returns:
        Address, port, and the hardware address for a frame or None.
    """
    raw = message.raw
    # "If the 'giaddr' field in a DHCP message from a client is non-zero, the server
    # sends any return messages to the 'DHCP server' port on the BOOTP relay agent."
    giaddr = raw[24:28]
    if giaddr != ZERO:
        return via.text(giaddr), via.port, None
    client_port = via.port + 1
    # "In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages
    # to 0xffffffff."
    if kind == NAK:
        return _BROADCAST, client_port, None
    # "If the 'giaddr' field is zero and the 'ciaddr' field is nonzero, then the server
    # unicasts DHCPOFFER and DHCPACK messages to the address in 'ciaddr'."  Table 5
    # wants it zero in a DISCOVER, and clients that fill it there do not listen to it.
    if kind == ACK and raw[12:16] != ZERO:
        return inet_ntoa(raw[12:16]), client_port, None
    # "If 'giaddr' is zero and 'ciaddr' is zero, and the broadcast bit is set, then the
    # server broadcasts"; it has to where there is no hardware address (RFC 4390).
    hlen = raw[2]
    if (
        raw[10] & 0x80
        or broadcast
        or not via.frames
        or raw[1] != HardwareType.ETHERNET
        or hlen != 6
        or raw[28] & 1
    ):
        return _BROADCAST, client_port, None
    # "If the broadcast bit is not set and 'giaddr' is zero and 'ciaddr' is zero, then
    # the server unicasts to the client's hardware address and 'yiaddr' address."
    return inet_ntoa(yiaddr), client_port, raw[28:34]


def compose(
    message: Message,
    via: Via,
    kind: int,
    area: bytes,
    *,
    yiaddr: bytes = ZERO,
    ciaddr: bytes = ZERO,
    siaddr: bytes = ZERO,
    boot_fields: bytes = NO_BOOT_FIELDS,
    broadcast: bool = False,
    ask_relay_to_broadcast: bool = False,
    echo_selection: bool = False,
) -> Reply:
    """Put a reply together: header, options, what is echoed, and where to.

    Args:
        message: What the client sent.
        via: The interface it came in by.
        kind: Option 53.
        area: Encoded options, beginning with 53 and 54.
        yiaddr: The client's address to be.
        ciaddr: The client's address as it is.
        siaddr: Where the boot file is.
        boot_fields: ``sname`` and ``file``.
        broadcast: Whether the subnet always broadcasts.
        ask_relay_to_broadcast: Whether a relay cannot reach the client otherwise.
        echo_selection: Whether the subnet may have been chosen by option 118.
    """
    options = message.options
    if echo_selection and SUBNET_SELECTION in options:
        area += join_one(SUBNET_SELECTION, options[SUBNET_SELECTION])  # RFC 3011
    data, _ = answered(
        message.raw,
        options,
        area,
        yiaddr=yiaddr,
        ciaddr=ciaddr,
        siaddr=siaddr,
        boot_fields=boot_fields,
        broadcast=ask_relay_to_broadcast,
    )
    address, port, hardware = destination(
        message, via, kind, yiaddr, broadcast=broadcast
    )
    return Reply(data, kind, address, port, hardware)
