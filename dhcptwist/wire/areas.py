"""Where options stand in a message: taking them apart, and laying them out.

Taking apart knows RFC 3396 (an option may come in pieces) and RFC 2131 section 4.1 (it
may spill into ``file`` and ``sname``).  Laying out knows the order that clients expect
and what to do when a message would be too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .codes import (
    CLIENT_ID,
    END,
    LEASE_TIME,
    MAGIC_COOKIE,
    MAX_MESSAGE_SIZE,
    MESSAGE,
    MESSAGE_TYPE,
    OVERLOAD,
    PAD,
    REBINDING_TIME,
    RELAY_AGENT_INFORMATION,
    RENEWAL_TIME,
    SERVER_ID,
    SUBNET_MASK,
)


#: Where the fields end and the options begin, in bytes.
SNAME = slice(44, 108)
FILE = slice(108, 236)
OPTIONS = 240

#: Messages shorter than this are discarded by old relays and ROMs (RFC 1542 section 2.1).
MINIMUM_SIZE = 300

#: A payload that every client takes: RFC 2131 section 2 asks for an IP datagram of 576
#: bytes, of which 28 are the IP and UDP headers.
SAFE_SIZE = 576 - 28

#: The largest payload that goes over Ethernet in one piece.
LARGEST_SIZE = 1500 - 28

#: What a client cannot do without comes before what it asked for, whenever there is not
#: room for all of it.
IMPORTANT = (
    MESSAGE_TYPE,
    SERVER_ID,
    LEASE_TIME,
    RENEWAL_TIME,
    REBINDING_TIME,
    CLIENT_ID,
    MESSAGE,
)


class Piece(NamedTuple):
    """A stretch of bytes in one of the three areas, as `walk` finds it.

    Attributes:
        area: ``options``, ``file`` or ``sname``.
        offset: Where it begins in the message.
        code: The option; 0 for a run of pads, 255 for END, None for what stands behind
            END or cannot be read.
        data: The option's value, the pads, or the bytes that cannot be read.
    """

    area: str
    offset: int
    code: int | None
    data: bytes

    @property
    def end(self) -> int:
        """Where it ends in the message."""
        head = 1 if self.code == END else 0 if self.code in {None, PAD} else 2
        return self.offset + head + len(self.data)


def beginning(data: bytes) -> int:
    """Where the options of a message begin; 0 if it has no magic cookie.

    That is byte 240, but some clients put the cookie a few bytes late.
    """
    if data[236:240] == MAGIC_COOKIE:
        return OPTIONS
    # The vendor field of BOOTP has 64 bytes (RFC 951).
    return data.find(MAGIC_COOKIE, 237, 300) + 4 if MAGIC_COOKIE in data[237:300] else 0


def split(data: bytes, start: int = OPTIONS) -> dict[int, bytes]:
    """The options of a whole message by code, pieces joined, in the order received.

    An option whose length runs past its area ends the reading of that area: nothing
    behind it can be trusted.  Missing END and bytes after END are common and fine.

    Args:
        data: The message.
        start: Where the options begin.
    """
    options: dict[int, bytes] = {}
    again: dict[int, list[bytes]] = {}
    _split_area(data, start, len(data), options, again)
    overload = options.get(OVERLOAD)
    if overload:
        # RFC 3396 section 5: first the options field, then file, then sname.
        if overload[0] in {1, 3}:
            _split_area(data, FILE.start, FILE.stop, options, again)
        if overload[0] in {2, 3}:
            _split_area(data, SNAME.start, SNAME.stop, options, again)
    for code, pieces in again.items():
        options[code] = b"".join(pieces)
    return options


def _split_area(
    data: bytes,
    start: int,
    end: int,
    options: dict[int, bytes],
    again: dict[int, list[bytes]],
) -> None:
    """Add the options of one area to ``options``; further pieces go to ``again``."""
    at = start
    while at < end:
        code = data[at]
        if code == 0:
            at += 1
            continue
        value = at + 2
        if code == 255 or value > end:
            return
        at = value + data[at + 1]
        if at > end:
            return
        if code not in options:
            options[code] = data[value:at]
        elif code in again:
            again[code].append(data[value:at])
        else:  # joined once at the end: adding up would be quadratic
            again[code] = [options[code], data[value:at]]


def walk(data: bytes, start: int) -> Iterator[Piece]:
    """Everything in the areas of a message, in the order that it is read.

    The pieces of an area, put one behind the other, are its bytes.

    Args:
        data: The message.
        start: Where the options begin.
    """
    overload = None
    for piece in _walk_area(data, "options", start, len(data)):
        if piece.code == OVERLOAD and overload is None:
            overload = piece.data[0] if piece.data else 0
        yield piece
    if overload in {1, 3}:
        yield from _walk_area(data, "file", FILE.start, FILE.stop)
    if overload in {2, 3}:
        yield from _walk_area(data, "sname", SNAME.start, SNAME.stop)


def _walk_area(data: bytes, area: str, start: int, end: int) -> Iterator[Piece]:
    at = start
    while at < end:
        code = data[at]
        if code == PAD:
            stop = at + 1
            while stop < end and data[stop] == PAD:
                stop += 1
            yield Piece(area, at, PAD, data[at:stop])
        elif code == END:
            yield Piece(area, at, END, b"")
            if at + 1 < end:
                yield Piece(area, at + 1, None, data[at + 1 : end])
            return
        else:
            stop = at + 2 + data[at + 1] if at + 2 <= end else end + 1
            if stop > end:
                yield Piece(area, at, None, data[at:end])
                return
            yield Piece(area, at, code, data[at + 2 : stop])
        at = stop


def join_one(code: int, value: bytes) -> bytes:
    """One option in bytes, in pieces of at most 255 (RFC 3396 section 4)."""
    size = len(value)
    if size < 256:
        return bytes((code, size)) + value
    return b"".join(
        bytes((code, min(255, size - at))) + value[at : at + 255]
        for at in range(0, size, 255)
    )


def join(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options in bytes in the order given, without END."""
    area = bytearray()
    for code, value in options:
        size = len(value)
        if size < 256:
            # As `join_one` does, without a call and an object for each option.
            area.append(code)
            area.append(size)
            area += value
        else:
            area += join_one(code, value)
    return bytes(area)


def ordered(codes: Iterable[int], requested: bytes | None = None) -> list[int]:
    """Codes in the order that clients expect, each once.

    The message type comes first, for some ROMs read nothing else; then what the
    protocol needs (`IMPORTANT`); the mask, before the routers (RFC 2132 section 3.3);
    what the client asked for, in its order (section 9.8); the rest in the order given;
    the relay's information last (RFC 3046 section 2.1).

    Args:
        codes: What there is.
        requested: The parameter request list (option 55).
    """
    have = dict.fromkeys(codes)
    last = [RELAY_AGENT_INFORMATION] if RELAY_AGENT_INFORMATION in have else []
    have.pop(RELAY_AGENT_INFORMATION, None)
    wanted = dict.fromkeys((*IMPORTANT, SUBNET_MASK, *(requested or b""), *have))
    return [code for code in wanted if code in have] + last


def size_limit(options: Mapping[int, bytes], path: int = LARGEST_SIZE) -> int:
    """How many bytes a reply to a message may have.

    Option 57 counts the IP and UDP headers, and may not be less than 576 (RFC 2132
    section 9.10); smaller values are taken for that.

    Args:
        options: The options of the message that is answered.
        path: The most that the way to the client carries.
    """
    size = options.get(MAX_MESSAGE_SIZE, b"")
    asked = int.from_bytes(size[:2], "big") - 28 if len(size) >= 2 else 0
    return min(max(asked, SAFE_SIZE), path)


class Fitted(NamedTuple):
    """Options made to fit: the three areas, and the codes there was no room for."""

    options: bytes
    file: bytes | None
    sname: bytes | None
    dropped: list[int]


def fit(
    options: Iterable[tuple[int, bytes]], room: int, *, file: bool, sname: bool
) -> Fitted:
    """Lay out options that may be too long for the options field.

    The order given is the order of importance: the first are kept, and an option is
    kept whole or dropped.  Option 82 goes last and whole into the options field or not
    at all (RFC 3046 section 2.2); where room is short it may take half of it.  The other
    two fields are used only if there is need, and if that saves more than it costs.

    Args:
        options: Pairs of code and value.
        room: Bytes of the options field, END included.
        file: Whether the ``file`` field may be used (option 52).
        sname: Whether the ``sname`` field may be used.
    """
    wanted = [(code, join_one(code, value)) for code, value in options]
    if sum(len(encoded) for _, encoded in wanted) < room:
        relay = [e for code, e in wanted if code == RELAY_AGENT_INFORMATION]
        rest = [e for code, e in wanted if code != RELAY_AGENT_INFORMATION]
        return Fitted(b"".join(rest + relay) + b"\xff", None, None, [])
    fitted = _squeezed(wanted, room, file=False, sname=False)
    if not (file or sname):
        return fitted
    # Option 52 takes room as well, and that may have been what a more important one has.
    spilled = _squeezed(wanted, room, file=file, sname=sname)
    lost = [
        code
        for code, _ in wanted
        if (code in fitted.dropped) != (code in spilled.dropped)
    ]
    return spilled if lost and lost[0] in fitted.dropped else fitted


def _squeezed(
    wanted: list[tuple[int, bytes]], room: int, *, file: bool, sname: bool
) -> Fitted:
    """Lay out encoded options that are too long, in all the areas that may be used."""
    free = room - 1
    dropped = []
    relay_bytes = b"".join(e for code, e in wanted if code == RELAY_AGENT_INFORMATION)
    if relay_bytes and len(relay_bytes) > free // 2:
        dropped.append(RELAY_AGENT_INFORMATION)
        relay_bytes = b""
    free -= len(relay_bytes)
    overload = 0
    if file or sname:
        free -= 3
    areas: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    left = {0: free, 1: 127 if file else 0, 2: 63 if sname else 0}
    for code, encoded in wanted:
        if code == RELAY_AGENT_INFORMATION:
            continue
        for area in (0, 1, 2):
            if len(encoded) <= left[area]:
                areas[area].append(encoded)
                left[area] -= len(encoded)
                overload |= area
                break
        else:
            dropped.append(code)
    first = list(areas[0])
    if overload:
        # Behind the message type, which some ROMs expect to come first.
        first.insert(1, bytes((OVERLOAD, 1, overload)))
    return Fitted(
        b"".join(first) + relay_bytes + b"\xff",
        (b"".join(areas[1]) + b"\xff").ljust(128, b"\0") if overload & 1 else None,
        (b"".join(areas[2]) + b"\xff").ljust(64, b"\0") if overload & 2 else None,
        dropped,
    )
