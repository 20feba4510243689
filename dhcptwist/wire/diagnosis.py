"""What is odd about a message that can be read all the same.

Decoding is lenient, because clients are not: it takes what it can get and loses
nothing.  Whoever wants to know what was taken with a pinch of salt asks here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .areas import OPTIONS, Piece, beginning, split, walk
from .codes import (
    BOOTREPLY,
    BOOTREQUEST,
    CLIENT_FQDN,
    CLIENT_ID,
    END,
    INFINITE,
    LEASE_TIME,
    MAGIC_COOKIE,
    MAX_MESSAGE_SIZE,
    MESSAGE_TYPE,
    OVERLOAD,
    PAD,
    PARAMETER_REQUEST_LIST,
    REBINDING_TIME,
    RELAY_AGENT_INFORMATION,
    RENEWAL_TIME,
    ROUTERS,
    SUBNET_MASK,
    USER_CLASS,
    HardwareType,
    MessageType,
)
from .fields import Fields
from .options import OPTION_KINDS, OptionKind
from .values import Text


class Diagnostic(NamedTuple):
    """Something odd about a message.

    Attributes:
        offset: At which byte of the message.
        reason: What it is, in words.
    """

    offset: int
    reason: str

    def __str__(self) -> str:
        return f"offset {self.offset}: {self.reason}"


#: Messages that servers send.
_FROM_SERVERS = {
    MessageType.OFFER,
    MessageType.ACK,
    MessageType.NAK,
    MessageType.FORCERENEW,
    MessageType.LEASEUNASSIGNED,
    MessageType.LEASEUNKNOWN,
    MessageType.LEASEACTIVE,
    MessageType.LEASEQUERYDONE,
    MessageType.LEASEQUERYSTATUS,
}

#: Messages that clients and relays send.  TLS (RFC 7724) goes both ways.
_TO_SERVERS = set(MessageType) - _FROM_SERVERS - {MessageType.TLS}

#: Hardware whose address does not go into the message.
_WITHOUT_ADDRESS: dict[int, str] = {
    HardwareType.IEEE_1394: "FireWire it is 0 (RFC 2855)",
    HardwareType.INFINIBAND: "InfiniBand it is 0 (RFC 4390)",
}


def diagnose(message: Fields) -> list[Diagnostic]:
    """Everything that is odd about a message, in the order of its bytes.

    It costs about as much as reading every option, so ask only if someone reads it.
    """
    found = [*_header(message.raw)]
    start = beginning(message.raw)
    if start:
        pieces = list(walk(message.raw, start))
        found += _ends(pieces, len(message.raw))
        found += _places(pieces)
        options = split(message.raw, start)
        first: dict[int, int] = {}
        for piece in pieces:
            if piece.code is not None:
                first.setdefault(piece.code, piece.offset)
        for code, data in options.items():
            reasons = _value(OPTION_KINDS.kind(code), data)
            found += (Diagnostic(first[code], reason) for reason in reasons)
        found += _together(message.raw, options, first)
    return sorted(found)


def _header(raw: bytes) -> Iterator[Diagnostic]:
    op, htype, hlen, hops = raw[:4]
    if op not in {BOOTREQUEST, BOOTREPLY}:
        yield Diagnostic(0, f"op is {op}; 1 is a request and 2 a reply")
    if htype == HardwareType.ETHERNET and hlen != 6:
        yield Diagnostic(2, f"hlen is {hlen}; an Ethernet address has 6 bytes")
    if htype in _WITHOUT_ADDRESS and hlen:
        yield Diagnostic(2, f"hlen is {hlen}; over {_WITHOUT_ADDRESS[htype]}")
    if hops > 16:
        yield Diagnostic(3, f"{hops} hops; a relay discards more than 16 (RFC 1542)")
    if raw[10] & 0x7F or raw[11]:
        yield Diagnostic(10, f"flags are 0x{raw[10:12].hex()}; only 0x8000 is defined")
    if any(raw[28 + hlen : 44]):
        yield Diagnostic(28 + hlen, "chaddr is not zero behind the hardware address")
    start = beginning(raw)
    if start > OPTIONS:
        late = _bytes(start - OPTIONS)
        yield Diagnostic(236, f"the magic cookie comes {late} late")
    elif not start and 236 < len(raw) < OPTIONS and MAGIC_COOKIE.startswith(raw[236:]):
        yield Diagnostic(236, "the magic cookie is cut off")
    elif not start and any(raw[236:]):
        yield Diagnostic(
            236, f"no magic cookie but 0x{raw[236:240].hex()}; no options are read"
        )


def _ends(pieces: list[Piece], size: int) -> Iterator[Diagnostic]:
    """Where the areas end, and what is not read of them."""
    ended = set()
    for area, offset, code, data in pieces:
        if code == END:
            ended.add(area)
        elif code is None and area not in ended:
            ended.add(area)
            yield Diagnostic(offset, _overrun(area, data))
        elif code is None and any(data):
            yield Diagnostic(offset, f"{_bytes(len(data))} behind END, not all zero")
    ends = {"options": size, "file": 236, "sname": 108}
    for area in dict.fromkeys(["options", *(piece.area for piece in pieces)]):
        if area not in ended:
            yield Diagnostic(ends[area], f"END is missing from {area}")


def _overrun(area: str, data: bytes) -> str:
    if len(data) < 2:
        return f"option {data[0]} has no length; the rest of {area} is not read"
    return (
        f"option {data[0]} says {_bytes(data[1])}, and there are {len(data) - 2};"
        f" the rest of {area} is not read"
    )


def _places(pieces: list[Piece]) -> Iterator[Diagnostic]:
    """Where options stand that may not stand everywhere."""
    options = [piece for piece in pieces if piece.code not in {None, PAD, END}]
    last: dict[int | None, Piece] = {}
    before = None
    for piece in options:
        area, offset, code, _ = piece
        # A piece of 255 bytes, or the last of its area, had no room for more.
        full = last.get(code) is before and before and before.area != area
        if code in last and len(last[code].data) < 255 and not full:
            yield Diagnostic(
                offset, f"option {code} comes again; it is joined (RFC 3396)"
            )
        last[code] = before = piece
        if area != "options" and code in {OVERLOAD, RELAY_AGENT_INFORMATION}:
            yield Diagnostic(offset, f"option {code} may not stand in {area}")
    here = [piece for piece in options if piece.area == "options"]
    relays = [piece for piece in here if piece.code == RELAY_AGENT_INFORMATION]
    if relays and relays[-1] is not here[-1]:
        yield Diagnostic(
            relays[-1].offset, "option 82 is not the last (RFC 3046 section 2.1)"
        )


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _value(kind: OptionKind, data: bytes) -> Iterator[str]:
    """What is odd about an option's bytes, taken alone."""
    label = f"{kind.name} ({kind.code})"
    try:
        kind.shape.decode(data)
    except ValueError as error:
        yield f"{label} of {_bytes(len(data))}: {error}"
        return
    size = kind.shape.size
    if size and len(data) > size:
        yield f"{label}: {len(data)} bytes, of which only the first {size} count"
    if isinstance(kind.shape, Text):
        yield from (f"{label}: {reason}" for reason in _text(kind.shape, data))
    rule = _RULES.get(kind.code)
    for reason in rule(data) if rule else ():
        yield f"{label}: {reason}"


def _text(shape: Text, data: bytes) -> Iterator[str]:
    if data.endswith(b"\0"):
        yield "text ends with NUL (RFC 2132 section 2)"
    elif not data:
        try:
            shape.encode("")
        except ValueError:
            yield "there is no text"


def _client_id(data: bytes) -> Iterator[str]:
    if len(data) < 2:
        yield "shorter than 2 bytes; it names nobody (RFC 2132 section 9.14)"


def _message_type(data: bytes) -> Iterator[str]:
    if data[0] not in set(MessageType):
        yield f"nobody has defined type {data[0]}"


def _overload(data: bytes) -> Iterator[str]:
    if data[0] not in {1, 2, 3}:
        yield f"{data[0]} is not 1, 2 or 3; it is not heeded"


def _request_list(data: bytes) -> Iterator[str]:
    if PAD in data or END in data:
        yield "asks for PAD or END"


def _max_size(data: bytes) -> Iterator[str]:
    size = int.from_bytes(data[:2], "big")
    if size < 576:
        yield f"{size} is less than 576; it is taken for that (RFC 2132 section 9.10)"


def _fqdn(data: bytes) -> Iterator[str]:
    if data[0] & 0xF0:
        yield f"flags 0x{data[0]:02x}; the upper four must be zero"
    if data[0] & 0x09 == 0x09:
        yield "flags S and N are both set (RFC 4702 section 2.1)"


def _user_class(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data) and data[at]:
        at += 1 + data[at]
    if at != len(data):
        yield "not the lengths and texts of RFC 3004"


#: What to look at in an option whose bytes fit its shape, which has none that is empty
#: but for option 61.
_RULES = {
    CLIENT_ID: _client_id,
    MESSAGE_TYPE: _message_type,
    OVERLOAD: _overload,
    PARAMETER_REQUEST_LIST: _request_list,
    MAX_MESSAGE_SIZE: _max_size,
    USER_CLASS: _user_class,
    CLIENT_FQDN: _fqdn,
}


def _together(
    raw: bytes, options: dict[int, bytes], first: dict[int, int]
) -> Iterator[Diagnostic]:
    """What is odd about options beside each other."""
    kind = options.get(MESSAGE_TYPE, b"")[:1]
    wrong = _FROM_SERVERS if raw[0] == BOOTREQUEST else _TO_SERVERS
    if kind and kind[0] in wrong and raw[0] in {BOOTREQUEST, BOOTREPLY}:
        name = MessageType(kind[0]).name
        yield Diagnostic(0, f"op is {raw[0]}, which does not go with {name}")
    for code in options:  # in the order that they are read, whatever the area
        if code == SUBNET_MASK:
            break
        if code == ROUTERS and SUBNET_MASK in options:
            yield Diagnostic(
                first[SUBNET_MASK],
                "the mask stands behind the routers (RFC 2132 section 3.3)",
            )
    times = [
        (code, int.from_bytes(options[code][:4], "big"))
        for code in (RENEWAL_TIME, REBINDING_TIME, LEASE_TIME)
        if len(options.get(code, b"")) >= 4
    ]
    for (early, one), (late, other) in pairwise(times):
        if one >= other != INFINITE:
            yield Diagnostic(
                first[early],
                f"option {early} is {one}, and option {late} {other}, which is not"
                " later (RFC 2131 section 4.4.5)",
            )
