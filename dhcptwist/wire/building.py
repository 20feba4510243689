"""The bytes of a message that is made, or made from another."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

from .areas import MINIMUM_SIZE, Piece, beginning, join_one, ordered, walk
from .codes import (
    END,
    MAGIC_COOKIE,
    MESSAGE_TYPE,
    OVERLOAD,
    PAD,
    RELAY_AGENT_INFORMATION,
    ROUTERS,
    SUBNET_MASK,
)
from .options import OPTION_KINDS


#: What may stand for an address where one is asked for.
AnyAddress = int | str | bytes | IPv4Address

#: A UDP datagram's length is a number of two bytes.
LARGEST_MESSAGE = 65535

_FIELDS = struct.Struct("!4BIHHIIII16s64s128s")
_NAMES = (
    *("op", "htype", "hlen", "hops", "xid", "secs", "flags"),
    *("ciaddr", "yiaddr", "siaddr", "giaddr", "chaddr", "sname", "file"),
)


def sized(raw: bytes) -> bytes:
    """The bytes of a message, if a datagram can hold them.

    Raises:
        ValueError: It cannot.
    """
    if len(raw) > LARGEST_MESSAGE:
        raise ValueError(f"{len(raw)} bytes; a message has at most {LARGEST_MESSAGE}")
    return raw


def number(address: AnyAddress) -> int:
    """An address as a number.

    Raises:
        ValueError: It is none.
    """
    if type(address) is int:
        return address
    # IPv4Address makes text of another one, and reads that.
    return int(address if type(address) is IPv4Address else IPv4Address(address))


def packed(
    op: int,
    htype: int,
    hlen: int | None,
    hops: int,
    xid: int,
    secs: int,
    flags: int,
    ciaddr: AnyAddress,
    yiaddr: AnyAddress,
    siaddr: AnyAddress,
    giaddr: AnyAddress,
    chaddr: bytes,
    sname: bytes | str,
    file: bytes | str,
) -> bytes:
    """The fixed fields of a message.

    Raises:
        ValueError: One of them does not fit its place.
    """
    if isinstance(sname, str):
        sname = sname.encode()
    if isinstance(file, str):
        file = file.encode()
    if len(chaddr) > 16 or len(sname) > 64 or len(file) > 128:
        raise ValueError("chaddr, sname or file is longer than its field")
    if hlen is None:
        hlen = len(chaddr)
    elif hlen > 16:
        raise ValueError(f"hlen is {hlen}; a hardware address has at most 16 bytes")
    try:
        return _FIELDS.pack(
            op,
            htype,
            hlen,
            hops,
            xid,
            secs,
            flags,
            number(ciaddr),
            number(yiaddr),
            number(siaddr),
            number(giaddr),
            chaddr,
            sname,
            file,
        )
    except struct.error as error:
        raise ValueError(f"a field does not fit its place: {error}") from None


def encoded(
    options: Mapping[Any, Any], requested: bytes | None = None
) -> dict[int, bytes]:
    """Options by number as bytes, in the order that they are to be written.

    Args:
        options: By number, name or `OptionKind`; bytes, or what the shape encodes.
        requested: A request list to order them by; without one their order stays, but
            for what the protocol fixes.

    Raises:
        ValueError: A value does not fit its option's shape.
    """
    found: dict[int, bytes] = {}
    for key, value in options.items():
        if type(key) is int and type(value) is bytes and 0 < key < 255:
            found[key] = value
        else:
            kind = OPTION_KINDS.kind(key)
            found[kind.code] = kind.encode(value)
    if requested is not None:
        return {code: found[code] for code in ordered(found, requested)}
    if MESSAGE_TYPE in found and next(iter(found)) != MESSAGE_TYPE:
        found = {MESSAGE_TYPE: found.pop(MESSAGE_TYPE), **found}
    if ROUTERS in found and SUBNET_MASK in found:
        found = _mask_first(found)
    if RELAY_AGENT_INFORMATION in found:
        found[RELAY_AGENT_INFORMATION] = found.pop(RELAY_AGENT_INFORMATION)
    return found


def _mask_first(options: dict[int, bytes]) -> dict[int, bytes]:
    for code in options:
        if code == SUBNET_MASK:
            return options
        if code == ROUTERS:
            break
    codes = [code for code in options if code != SUBNET_MASK]
    codes.insert(codes.index(ROUTERS), SUBNET_MASK)
    return {code: options[code] for code in codes}


def edited(
    raw: bytes, fields: Mapping[str, Any], options: Mapping[Any, Any] | None
) -> bytes:
    """A message's bytes with some fields and options changed: `Message.replace`."""
    values = dict(zip(_NAMES, _FIELDS.unpack_from(raw), strict=True))
    unknown = set(fields) - set(values)
    if unknown:
        raise TypeError(f"a message has no field {', '.join(sorted(unknown))}")
    if "chaddr" in fields and "hlen" not in fields:
        values["hlen"] = None
    values |= fields
    rest = raw[236:]
    if options or "file" in fields or "sname" in fields:
        changes = _changes(options or {})
        start = beginning(raw)
        pieces = list(walk(raw, start)) if start else []
        spilled = {piece.area for piece in pieces} - {"options"}
        if spilled and (options or spilled & fields.keys()):
            values |= dict.fromkeys(spilled - fields.keys(), b"")
            changes.setdefault(OVERLOAD, None)
            pieces = [piece for piece in pieces if piece.code != PAD]
        # Where there are no options, there is none to take away.
        if changes and (start or any(each is not None for each in changes.values())):
            area = _edited_area(raw, pieces, changes)
            rest = (MAGIC_COOKIE + area + b"\xff").ljust(MINIMUM_SIZE - 236, b"\0")
    return sized(packed(**values) + rest)


def _changes(options: Mapping[Any, Any]) -> dict[int, bytes | None]:
    changes: dict[int, bytes | None] = {}
    for key, value in options.items():
        kind = OPTION_KINDS.kind(key)
        changes[kind.code] = None if value is None else kind.encode(value)
    return changes


def _edited_area(
    raw: bytes, pieces: Iterable[Piece], changes: dict[int, bytes | None]
) -> bytes:
    """All pieces in one area, options put in their old places, without END."""
    new = dict(changes)
    parts: list[tuple[int, bytes]] = []
    for piece in pieces:
        if piece.code is None or piece.code == END:
            continue
        if piece.code not in changes:
            parts.append((piece.code, raw[piece.offset : piece.end]))
            continue
        value = new.pop(piece.code, None)
        if value is not None:
            parts.append((piece.code, join_one(piece.code, value)))
    while parts and parts[-1][0] == PAD:
        parts.pop()
    for code, value in new.items():
        if value is not None:
            at = _place(code, [part[0] for part in parts])
            parts.insert(at, (code, join_one(code, value)))
    return b"".join(data for _, data in parts)


def _place(code: int, codes: list[int]) -> int:
    """Where a new option stands among others: at the end, unless it has its own place."""
    if code == MESSAGE_TYPE:
        return 0
    if code == SUBNET_MASK and ROUTERS in codes:
        return codes.index(ROUTERS)
    if RELAY_AGENT_INFORMATION in codes:
        return codes.index(RELAY_AGENT_INFORMATION)
    return len(codes)
