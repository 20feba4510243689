"""A message as named parts that make the very same bytes again.

The text form and the JSON form are two ways of writing these parts.  What nearly every
message has is implied and is no part: one END behind the last option, and zeros after
it up to 300 bytes.  What deviates from that is a part of its own, so nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from .areas import MINIMUM_SIZE, OPTIONS, Piece, beginning, join_one, walk
from .building import LARGEST_MESSAGE, packed
from .codes import END, MAGIC_COOKIE, PAD, HardwareType
from .values import ADDRESS, ANY_TEXT, OPAQUE, U8, U16, U32, Choice, Shape


class Op(IntEnum):
    """Who sends a message."""

    REQUEST = 1
    REPLY = 2


class Flags(IntEnum):
    """The flags there are (RFC 2131 figure 2)."""

    NONE = 0
    BROADCAST = 0x8000


class _Flags(Choice):
    def format(self, value: Any) -> str:
        return super().format(value) if isinstance(value, Flags) else f"0x{value:04x}"

    def plain(self, value: Any) -> Any:
        return self.format(value)


class _Identifier(Shape):
    name = "number of four bytes"
    size = 4

    def decode(self, data: bytes) -> int:
        return U32.decode(data)

    def encode(self, value: Any) -> bytes:
        return U32.encode(value)

    def parse(self, text: str) -> int:
        return U32.parse(text)

    def format(self, value: Any) -> str:
        return f"0x{value:08x}"


class _Hardware(Shape):
    name = "hardware address"

    def format(self, value: Any) -> str:
        return bytes(value).hex(":")


#: What a message has besides options, in the order that it is shown.
FIELDS: dict[str, Shape] = {
    "op": Choice(Op),
    "htype": Choice(HardwareType),
    "hlen": U8,
    "hops": U8,
    "xid": _Identifier(),
    "secs": U16,
    "flags": _Flags(Flags, "H"),
    "ciaddr": ADDRESS,
    "yiaddr": ADDRESS,
    "siaddr": ADDRESS,
    "giaddr": ADDRESS,
    "chaddr": _Hardware(),
    "padding": OPAQUE,
    "sname": ANY_TEXT,
    "file": ANY_TEXT,
    "vendor": OPAQUE,
    "before-cookie": OPAQUE,
    "size": U16,
}

#: The fields that every message shows, and where they stand in it.
_PLACES = {
    "op": slice(0, 1),
    "htype": slice(1, 2),
    "hops": slice(3, 4),
    "xid": slice(4, 8),
    "secs": slice(8, 10),
    "flags": slice(10, 12),
    "ciaddr": slice(12, 16),
    "yiaddr": slice(16, 20),
    "siaddr": slice(20, 24),
    "giaddr": slice(24, 28),
}

#: The areas that may hold options, in the order they are read, and their sizes.
AREAS = {"options": 0, "file": 128, "sname": 64}


class Part(NamedTuple):
    """Something in an area of options.

    Attributes:
        word: ``option``, ``pad``, ``end`` or ``rest``.
        code: The option's number.
        data: The option's value, or the rest's bytes.
        times: How many pads, or ENDs; no END at all is 0.
        whole: Whether the value is all there is of the option, in the usual pieces of
            255 bytes.  If not, it is one piece of several.
    """

    word: str
    code: int = 0
    data: bytes = b""
    times: int = 0
    whole: bool = True


Areas = Mapping[str, Sequence[Part]]


class UnfitPart(ValueError):  # noqa: N818 - it says what
    """Parts do not make a message.

    Attributes:
        place: The field or area that is wrong.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def take_apart(raw: bytes) -> tuple[dict[str, bytes], dict[str, list[Part]]]:
    """A message's fields and its areas of options.

    The fields are the bytes of those in `FIELDS` that are worth showing.  There are no
    areas where there is no magic cookie; what stands there is ``vendor``.
    """
    areas: dict[str, list[Part]] = {}
    start = beginning(raw)
    if start:
        pieces = list(walk(raw, start))
        # Nothing at all may stand behind the cookie.
        for area in dict.fromkeys(["options", *(piece.area for piece in pieces)]):
            here = [piece for piece in pieces if piece.area == area]
            areas[area] = [*_parts(here)]
        _mark_pieces(areas)
    hardware = 28 + raw[2]
    fields = {name: raw[place] for name, place in _PLACES.items()}
    fields["chaddr"] = raw[28:hardware]
    unusual = {"padding": raw[hardware:44]}
    unusual |= {"sname": raw[44:108]} if "sname" not in areas else {}
    unusual |= {"file": raw[108:236]} if "file" not in areas else {}
    unusual |= {} if start else {"vendor": raw[236:]}
    for name, data in unusual.items():
        if any(data):
            fields[name] = data.rstrip(b"\0")
    if start > OPTIONS:
        fields["before-cookie"] = raw[236 : start - 4]
    if len(_joined(fields, areas)) != len(raw):
        fields["size"] = len(raw).to_bytes(2, "big")
    return fields, areas


def _parts(pieces: list[Piece]) -> Iterator[Part]:
    """The parts of one area, without the END and the zeros that are implied."""
    missing = True
    at = 0
    while at < len(pieces):
        _, _, code, data = pieces[at]
        at += 1
        if code == PAD:
            if at < len(pieces):  # if not, they are the zeros at the end
                yield Part("pad", times=len(data))
        elif code == END:
            missing = False
            yield from _end(pieces[at:])
            break
        elif code is None:
            missing = False
            yield Part("rest", data=data.rstrip(b"\0"))
        else:
            data, at = _gathered(pieces, at)
            yield Part("option", code, data)
    if missing:
        yield Part("end", times=0)


def _gathered(pieces: list[Piece], at: int) -> tuple[bytes, int]:
    """An option in the usual pieces of 255 bytes, and what comes behind them."""
    first = pieces[at - 1]
    values = [first.data]
    while len(values[-1]) == 255 and at < len(pieces):
        following = pieces[at]
        if following.code != first.code or not following.data:
            break
        values.append(following.data)
        at += 1
    return b"".join(values), at


def _end(behind: list[Piece]) -> Iterator[Part]:
    """END, unless it is the usual one, and what stands behind it."""
    rest = behind[0].data.rstrip(b"\0") if behind else b""
    filling = len(rest) - len(rest.lstrip(b"\xff"))
    if rest:
        yield Part("end", times=1 + filling)
    if rest[filling:]:
        yield Part("rest", data=rest[filling:])


def _mark_pieces(areas: dict[str, list[Part]]) -> None:
    """Mark options that come in other pieces than the usual ones."""
    counts = Counter(part.code for parts in areas.values() for part in parts)
    for parts in areas.values():
        parts[:] = [
            part._replace(whole=part.word != "option" or counts[part.code] == 1)
            for part in parts
        ]


def put_together(fields: Mapping[str, bytes], areas: Areas) -> bytes:
    """The message of these parts; what is not given is zero, ``op`` and ``htype`` 1.

    Args:
        fields: Those of `FIELDS`; ``hlen`` is the length of ``chaddr`` if not given.
        areas: The areas of options.  Without any there is no magic cookie.

    Raises:
        UnfitPart: Something does not fit its place, or goes not with something else.
    """
    _check(fields, areas)
    raw = _joined(fields, areas)
    size = int.from_bytes(fields.get("size", b""), "big")
    if "size" in fields:
        least = 236 + len(_tail(fields, areas))
        if size < least:
            raise UnfitPart("size", f"size is {size}, and there are {least} bytes")
        raw = raw[:least].ljust(size, b"\0")
    if len(raw) > LARGEST_MESSAGE:
        raise UnfitPart(
            "options", f"{len(raw)} bytes; a message has at most {LARGEST_MESSAGE}"
        )
    read = {piece.area for piece in walk(raw, beginning(raw))} if areas else set()
    for name, code in (("file", 1), ("sname", 2)):
        if name in areas and name not in read:
            raise UnfitPart(
                name, f"options in {name} are read if option 52 is {code} or 3 only"
            )
    return raw


def _check(fields: Mapping[str, bytes], areas: Areas) -> None:
    for name, data in fields.items():
        size = FIELDS[name].size
        if size is not None and len(data) != size:
            raise UnfitPart(name, f"{name} has {size} bytes, not {len(data)}")
    for name in ("sname", "file"):
        if name in fields and name in areas:
            raise UnfitPart(name, f"{name} holds options, and cannot hold text as well")
    if areas and "vendor" in fields:
        raise UnfitPart("vendor", "vendor is for messages that have no options")
    if "options" not in areas and ("before-cookie" in fields or areas):
        place = "before-cookie" if "before-cookie" in fields else next(iter(areas))
        raise UnfitPart(place, f"{place} needs options in the options field as well")


def _joined(fields: Mapping[str, bytes], areas: Areas) -> bytes:
    """The message before its size is looked at."""
    chaddr = fields.get("chaddr", b"")
    hlen = fields["hlen"][0] if "hlen" in fields else len(chaddr)
    if "hlen" in fields and hlen > 16:
        raise UnfitPart("hlen", f"a hardware address has at most 16 bytes, not {hlen}")
    chaddr = chaddr.ljust(hlen, b"\0") + fields.get("padding", b"")
    if len(chaddr) > 16:
        raise UnfitPart("chaddr", f"chaddr has 16 bytes, not {len(chaddr)}")
    boot: dict[str, bytes] = {}
    for name in ("sname", "file"):
        size = AREAS[name]
        data = _area(name, areas[name]) if name in areas else fields.get(name, b"")
        if len(data) > size:
            raise UnfitPart(name, f"{name} has {size} bytes, not {len(data)}")
        boot[name] = data
    given = {
        name: int.from_bytes(fields[name], "big") for name in _PLACES if name in fields
    }
    values = {**dict.fromkeys(_PLACES, 0), "op": 1, "htype": 1, **given}
    head = packed(
        hlen=hlen, chaddr=chaddr, sname=boot["sname"], file=boot["file"], **values
    )
    return (head + _tail(fields, areas)).ljust(MINIMUM_SIZE, b"\0")


def _tail(fields: Mapping[str, bytes], areas: Areas) -> bytes:
    """What stands behind the fixed fields, without the zeros at its end."""
    if "options" not in areas:
        return fields.get("vendor", b"")
    before = fields.get("before-cookie", b"")
    return before + MAGIC_COOKIE + _area("options", areas["options"])


def _area(area: str, parts: Sequence[Part]) -> bytes:
    """The bytes of an area; END is added if nothing is said of it."""
    found = []
    ended = False
    for word, code, data, times, _ in parts:
        if ended and word != "rest":
            raise UnfitPart(area, f"behind the end of {area} can only be rest")
        if word == "option":
            found.append(join_one(code, data))
        elif word == "pad":
            found.append(bytes(times))
        elif word == "end":
            found.append(b"\xff" * times)
        else:
            found.append(data)
        ended = ended or word in {"end", "rest"}
    return b"".join(found) + (b"" if ended else b"\xff")
