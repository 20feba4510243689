"""A DHCP message: checked once, read in place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from . import relay
from .codes import (
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST_FLAG,
    CLIENT_ID,
    HOST_NAME,
    MAGIC_COOKIE,
    MESSAGE_TYPE,
    PARAMETER_REQUEST_LIST,
    RELAY_AGENT_INFORMATION,
    MessageType,
)
from .options import FILE, SNAME, join, option_kind, split
from .values import visible


#: BOOTP replies shorter than this are discarded by old relays and ROMs (RFC 1542 2.1).
MINIMUM_SIZE = 300

_NO_ADDRESS = b"\0\0\0\0"


class MalformedMessage(ValueError):  # noqa: N818 - the name is part of the promise
    """The bytes are not a DHCP message; the sender is to blame, never the caller."""


class Message:
    """A BOOTP or DHCP message (RFC 2131 section 2).

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +---------------+---------------+---------------+---------------+
        |     op (1)    |   htype (1)   |   hlen (1)    |   hops (1)    |
        +---------------+---------------+---------------+---------------+
        |                            xid (4)                            |
        +-------------------------------+-------------------------------+
        |           secs (2)            |           flags (2)           |
        +-------------------------------+-------------------------------+
        |                          ciaddr  (4)                          |
        |                          yiaddr  (4)                          |
        |                          siaddr  (4)                          |
        |                          giaddr  (4)                          |
        +---------------------------------------------------------------+
        |                          chaddr  (16)                         |
        |                          sname   (64)                         |
        |                          file    (128)                        |
        +---------------------------------------------------------------+
        |            cookie (4), then options (variable)                |
        +---------------------------------------------------------------+

    The message *is* its bytes, so decoding and encoding again changes nothing.  Header
    fields are read when asked for; the options are split once.

    Attributes:
        raw: The datagram.
        options: Option code to the option's joined bytes, in the order received.
            Empty where there is no magic cookie (plain BOOTP).
    """

    __slots__ = ("options", "raw")

    raw: bytes
    options: Mapping[int, bytes]

    def __init__(self, raw: bytes, options: Mapping[int, bytes]) -> None:
        self.raw = raw
        self.options = options

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read a message from a datagram's payload.

        Raises:
            MalformedMessage: It is shorter than the fixed fields (236 bytes) or its
                hardware address is longer than its field (16 bytes).
        """
        if len(data) < 236:
            raise MalformedMessage(
                f"{len(data)} bytes; a message has at least 236 (offset {len(data)})"
            )
        if data[2] > 16:
            raise MalformedMessage(
                f"hlen is {data[2]}; a hardware address has at most 16 bytes (offset 2)"
            )
        if data[236:240] == MAGIC_COOKIE:
            return cls(data, split(data))
        return cls(data, {})

    @classmethod
    def build(
        cls,
        *,
        op: int = BOOTREQUEST,
        htype: int = 1,
        hops: int = 0,
        xid: int = 0,
        secs: int = 0,
        flags: int = 0,
        ciaddr: int | str | IPv4Address = 0,
        yiaddr: int | str | IPv4Address = 0,
        siaddr: int | str | IPv4Address = 0,
        giaddr: int | str | IPv4Address = 0,
        chaddr: bytes = b"",
        sname: bytes = b"",
        file: bytes = b"",
        options: Mapping[int, bytes] | None = None,
    ) -> Message:
        """Make a message; options are written in the order of the mapping.

        Raises:
            ValueError: A field is too long or a number too large for its place.
        """
        if len(chaddr) > 16 or len(sname) > 64 or len(file) > 128:
            raise ValueError("chaddr, sname or file is longer than its field")
        options = dict(options or {})
        try:
            head = (
                bytes((op, htype, len(chaddr), hops))
                + xid.to_bytes(4, "big")
                + secs.to_bytes(2, "big")
                + flags.to_bytes(2, "big")
            )
        except OverflowError:
            raise ValueError("xid, secs or flags is too large") from None
        raw = b"".join(
            (
                head,
                *(IPv4Address(a).packed for a in (ciaddr, yiaddr, siaddr, giaddr)),
                chaddr.ljust(16, b"\0"),
                sname.ljust(64, b"\0"),
                file.ljust(128, b"\0"),
                MAGIC_COOKIE,
                join(options.items()),
                b"\xff",
            )
        )
        return cls(raw.ljust(MINIMUM_SIZE, b"\0"), options)

    def encode(self) -> bytes:
        """The message's bytes."""
        return self.raw

    # --- the fixed fields ---------------------------------------------------------

    @property
    def op(self) -> int:
        """1 for what clients and relays send on, 2 for what servers send."""
        return self.raw[0]

    @property
    def htype(self) -> int:
        """The kind of hardware address; 1 is Ethernet."""
        return self.raw[1]

    @property
    def hlen(self) -> int:
        """The length of the hardware address in bytes."""
        return self.raw[2]

    @property
    def hops(self) -> int:
        """How many relays say they have passed it on."""
        return self.raw[3]

    @property
    def xid(self) -> int:
        """The transaction's number, chosen by the client."""
        return int.from_bytes(self.raw[4:8], "big")

    @property
    def secs(self) -> int:
        """Seconds since the client began; a hint at most."""
        return int.from_bytes(self.raw[8:10], "big")

    @property
    def flags(self) -> int:
        """The flags; only the highest bit means anything."""
        return int.from_bytes(self.raw[10:12], "big")

    @property
    def wants_broadcast(self) -> bool:
        """Whether the client cannot receive unicast yet (RFC 2131 section 4.1)."""
        return bool(self.flags & BROADCAST_FLAG)

    @property
    def ciaddr(self) -> int:
        """The address the client has and can use."""
        return int.from_bytes(self.raw[12:16], "big")

    @property
    def yiaddr(self) -> int:
        """The address a server gives the client."""
        return int.from_bytes(self.raw[16:20], "big")

    @property
    def siaddr(self) -> int:
        """The next server of the boot."""
        return int.from_bytes(self.raw[20:24], "big")

    @property
    def giaddr(self) -> int:
        """The relay's address on the client's network, or 0."""
        return int.from_bytes(self.raw[24:28], "big")

    @property
    def chaddr(self) -> bytes:
        """The hardware address, ``hlen`` bytes long."""
        return self.raw[28 : 28 + self.raw[2]]

    @property
    def sname(self) -> bytes:
        """The server name field, all 64 bytes."""
        return self.raw[SNAME]

    @property
    def file(self) -> bytes:
        """The boot file field, all 128 bytes."""
        return self.raw[FILE]

    # --- options ------------------------------------------------------------------

    @property
    def type(self) -> MessageType | None:
        """Option 53, or None for BOOTP and for types nobody has defined."""
        data = self.options.get(MESSAGE_TYPE)
        try:
            return MessageType(data[0]) if data else None
        except ValueError:
            return None

    def get(self, name_or_code: str | int) -> Any:
        """An option's value in its own shape, or None if it is not there.

        Raises:
            ValueError: There is no such option, or its bytes do not fit its shape.
        """
        kind = option_kind(name_or_code)
        data = self.options.get(kind.code)
        return None if data is None else kind.shape.decode(data)

    def address(self, code: int) -> int:
        """An option that is one address, as a number; 0 if absent or cut off.

        A longer value is read by its first four bytes: servers that send an option
        twice produce such.
        """
        data = self.options.get(code, _NO_ADDRESS)
        return int.from_bytes(data[:4], "big") if len(data) >= 4 else 0

    @property
    def client_id(self) -> bytes:
        """Option 61; empty if absent or shorter than RFC 2132 9.14 allows (two)."""
        data = self.options.get(CLIENT_ID, b"")
        return data if len(data) > 1 else b""

    @property
    def requested_options(self) -> bytes | None:
        """The codes of option 55 in the client's order; None if there is no list."""
        return self.options.get(PARAMETER_REQUEST_LIST) or None

    @property
    def host_name(self) -> str:
        """Option 12 as printable text; empty if there is none."""
        data = self.options.get(HOST_NAME)
        return printable(data) if data else ""

    @property
    def relay_information(self) -> dict[int, bytes]:
        """The sub-options of option 82 by code."""
        data = self.options.get(RELAY_AGENT_INFORMATION)
        return relay.split(data) if data else {}

    def __repr__(self) -> str:
        kind = self.type
        name = kind.name if kind else ("BOOTREPLY" if self.op == BOOTREPLY else "BOOTP")
        return (
            f"<Message {name} xid={self.xid:#010x} {self.chaddr.hex(':')}"
            f" ciaddr={IPv4Address(self.ciaddr)} yiaddr={IPv4Address(self.yiaddr)}"
            f" giaddr={IPv4Address(self.giaddr)} options={list(self.options)}>"
        )


def printable(data: bytes) -> str:
    r"""Text from the wire that is safe in a log, a table or a terminal.

    Trailing NULs go (RFC 2132 section 2); what cannot be printed becomes ``\xNN``.
    """
    return visible(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))
