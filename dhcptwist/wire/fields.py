"""The fixed fields of a message, read in place (RFC 2131 section 2)."""

from __future__ import annotations

from .areas import FILE, SNAME
from .codes import BROADCAST_FLAG


class Fields:
    """The fields that stand at the same place in every message.

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

    Addresses are numbers: ``ipaddress.IPv4Address(message.yiaddr)`` makes one of its
    type, and is left to those who need it.

    Attributes:
        raw: The datagram.
    """

    __slots__ = ("raw",)

    raw: bytes

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
