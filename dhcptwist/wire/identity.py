"""How clients and relays name themselves: client identifiers, DUIDs, hardware.

Option 61 begins with a type (RFC 2132 section 9.14): a hardware type of ARP with the
address behind it, zero for something else, or 255 for what RFC 4361 section 6.1 asks
for: an identity association (IAID) and a DUID of DHCPv6 (RFC 8415 section 11).

Where the hardware address does not fit or says nothing, as with InfiniBand (RFC 4390)
and FireWire (RFC 2855), a client sends ``hlen`` 0 and a zero ``chaddr``, and its client
identifier is all there is to know it by.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from .codes import HardwareType
from .mixed import OCTETS, Either, Tagged
from .records import Record
from .values import U32, Choice, Shape


#: Hardware whose address does not go into ``chaddr``.
WITHOUT_ADDRESS = frozenset({HardwareType.IEEE_1394, HardwareType.INFINIBAND})


class _Hardware(Shape):
    """A hardware address: bytes, written as ``02:00:00:00:00:01``."""

    name = "hardware address"

    def format(self, value: Any) -> str:
        address: str = value.hex(":")
        return address


class _Uuid(Shape):
    """A UUID in the order its bytes are sent in.

    Firmware often sends the first three groups with their bytes swapped, and nothing in
    the packet says so: they are shown as they came.
    """

    name = "UUID"
    size = 16

    def decode(self, data: bytes) -> UUID:
        if len(data) != 16:
            raise ValueError("a UUID has sixteen bytes")
        return UUID(bytes=bytes(data))

    def encode(self, value: Any) -> bytes:
        return value.bytes if isinstance(value, UUID) else self.parse(value).bytes

    def parse(self, text: str) -> UUID:
        try:
            return UUID(text.strip())
        except ValueError:
            raise ValueError(f"{text.strip()!r} is not a UUID") from None

    def format(self, value: Any) -> str:
        return str(value)


HARDWARE = _Hardware()
UUID_BYTES = _Uuid()

_HARDWARE_TYPE = Choice(HardwareType, "H")

_DUID = Tagged(
    "DUID",
    {
        1: (
            "llt",
            Record(
                "link-layer address and time",
                hardware=_HARDWARE_TYPE,
                time=U32,  # seconds since 2000-01-01
                address=HARDWARE,
            ),
        ),
        2: ("en", Record("enterprise's identifier", enterprise=U32, identifier=OCTETS)),
        3: (
            "ll",
            Record("link-layer address", hardware=_HARDWARE_TYPE, address=HARDWARE),
        ),
        4: ("uuid", UUID_BYTES),
    },
    width=2,
    closed=True,
)

#: A DUID (RFC 8415 section 11): one key, ``llt``, ``en``, ``ll`` or ``uuid``, or bytes.
DUID = Either("DUID", _DUID, OCTETS)

#: The value of option 61: one key, a hardware type, ``opaque`` or ``duid``, or bytes.
CLIENT_IDENTIFIER = Either(
    "client identifier",
    Tagged(
        "client identifier",
        {
            0: ("opaque", OCTETS),
            **{
                each.value: (each.name.lower().replace("_", "-"), HARDWARE)
                for each in HardwareType
                if each < 255
            },
            255: ("duid", Record("IAID and DUID", iaid=U32, duid=DUID)),
        },
        closed=True,
    ),
    OCTETS,
)


def hardware_identifier(htype: int, address: bytes) -> bytes:
    """Option 61 made of a hardware address, as most clients send it.

    Raises:
        ValueError: There is no address, or one that does not name the client: RFC 4390
            section 2.1 and RFC 4361 want a DUID then (`duid_identifier`).
    """
    if not address or htype in WITHOUT_ADDRESS or not 0 < htype < 255:
        raise ValueError(
            f"hardware of type {htype} names nobody by {address.hex(':')!r}"
        )
    return bytes([htype]) + address


def duid_identifier(iaid: int, duid: Any) -> bytes:
    """Option 61 made of a DUID (RFC 4361 section 6.1).

    Args:
        iaid: A number for each interface of a machine.
        duid: The DUID as bytes, text or value, like ``{"uuid": …}``.

    Raises:
        ValueError: The number does not fit 32 bits, or the DUID is none.
    """
    return b"\xff" + U32.encode(iaid) + DUID.encode_plain(duid)
