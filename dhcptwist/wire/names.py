"""Domain names inside options, as DNS writes them (RFC 1035 sections 3.1 and 4.1.4)."""

from __future__ import annotations

import re
from typing import Any

from .lists import Many
from .values import Shape, visible


#: The most characters that are looked at: every byte of a name may be escaped in text.
LONGEST_TEXT = 4 * 255

#: The most that the names of one option may take together, pointers followed, in bytes:
#: more than any option could hold without pointers.
MOST_TOGETHER = 0xFFFF


def encode_domain(name: str) -> bytes:
    """A domain name in the labels of RFC 1035 section 3.1, uncompressed.

    Raises:
        ValueError: It is none: an empty or long label, or more than 255 bytes.
    """
    return b"".join(bytes([len(e)]) + e for e in _labels(name)) + b"\0"


def _labels(name: str) -> list[bytes]:
    if len(name) > LONGEST_TEXT:
        raise ValueError(f"{name[:64]!r}… is too long for a domain name")
    words = re.sub("[\u3002\uff0e\uff61]", ".", name).strip().rstrip(".").split(".")
    labels = [word.encode("idna" if word else "ascii") for word in words]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is not a domain name")
    if sum(map(len, labels)) + len(labels) > 254:
        raise ValueError(f"{name!r} is too long for a domain name")
    return labels


def _read(
    data: bytes, at: int, known: dict[int, tuple[str, int]]
) -> tuple[str, int, int]:
    """The name at an offset, its size, and the offset behind it; pointers are followed.

    Args:
        data: All that pointers may point to.
        at: Where the name begins.
        known: The names (and sizes) that begin at offsets read before; it is added to,
            so that no byte is read twice however many pointers lead to it.
    """
    seen: list[tuple[int, str]] = []
    resume = 0
    size = 1
    limit = at  # a pointer goes strictly backwards, so this ends
    while at not in known:
        length = data[at] if at < len(data) else 0x3F
        if not length:
            break
        if length >= 0xC0:
            resume = resume or at + 2
            seen.append((at, ""))
            at = limit = _target(data, at, limit)
            continue
        label = data[at + 1 : at + 1 + length]
        if length > 63 or len(label) < length:
            raise ValueError("a domain name's label runs past the end")
        size += 1 + length
        if size > 255:
            raise ValueError("a domain name is too long")
        seen.append((at, label.decode("ascii", "backslashreplace")))
        at += 1 + length
    name, rest = known.get(at, ("", 1))
    if size + rest > 256:
        raise ValueError("a domain name is too long")
    resume = resume or at + 1
    for start, word in reversed(seen):
        if word:
            name = f"{word}.{name}" if name else word
            rest += 1 + data[start]
        if start < 0x4000:  # no pointer reaches further
            known[start] = name, rest
    return name, rest, resume


def _target(data: bytes, at: int, limit: int) -> int:
    """Where the pointer at an offset points to."""
    if at + 1 >= len(data):
        raise ValueError("a domain name's pointer is cut off")
    target = (data[at] & 0x3F) << 8 | data[at + 1]
    if target >= limit:
        raise ValueError("a domain name's pointer does not go back")
    return target


class Domain(Shape):
    """One domain name.

    Args:
        root: Whether it may be the root, which is written as a single dot.
    """

    name = "domain"

    def __init__(self, *, root: bool = False) -> None:
        self.root = root

    def take(self, data: bytes, at: int) -> tuple[str, int]:
        """The name at an offset, pointers followed, and the offset behind it."""
        name, _, stop = _read(data, at, {})
        return name or "." * self.root, stop

    def decode(self, data: bytes) -> str:
        """The name that begins the bytes."""
        return self.take(data, 0)[0]

    def encode(self, value: Any) -> bytes:
        """The name's labels."""
        if self.root and value == ".":
            return b"\0"
        return encode_domain(value)

    def parse(self, text: str) -> str:
        """The name itself."""
        return text.strip()

    def format(self, value: Any) -> str:
        """The name with what cannot be printed made visible."""
        return visible(value)

    def plain(self, value: Any) -> str:
        """The name."""
        return str(value)


class Domains(Many):
    """A list of domain names; common endings are written once (RFC 3397 section 2).

    Args:
        compress: Whether to write a pointer to an ending that came before.  Only option
            119 says that its readers understand those.
        element: The shape of each, if it may be the root; then there may be none, too.
    """

    def __init__(
        self, *, compress: bool = False, element: Domain | None = None
    ) -> None:
        super().__init__(element or DOMAIN, "domain names", empty=bool(element))
        self._compress = compress

    def decode(self, data: bytes) -> list[str]:
        """The names, in the order they stand in."""
        root = "." if self.empty else ""
        known: dict[int, tuple[str, int]] = {}
        found = []
        at = total = 0
        while at < len(data):
            name, size, at = _read(data, at, known)
            total += size
            if total > MOST_TOGETHER:
                raise ValueError("the domain names are too long together")
            found.append(name or root)
        if not found and not self.empty:
            raise ValueError("there are no domain names")
        return found

    def encode(self, value: Any) -> bytes:
        """The names one behind the other."""
        if not self._compress:
            return super().encode(value)
        if isinstance(value, str):
            value = self.parse(value)
        area = bytearray()
        known: dict[tuple[bytes, ...], int] = {}
        for name in value:
            labels = tuple(_labels(name))
            while labels:
                if labels in known:
                    area += (0xC000 | known[labels]).to_bytes(2, "big")
                    break
                if len(area) < 0x4000:
                    known[labels] = len(area)
                area += bytes([len(labels[0])]) + labels[0]
                labels = labels[1:]
            else:
                area.append(0)
        if not area:
            raise ValueError("there are no domain names")
        return bytes(area)


DOMAIN = Domain()
DOMAINS = Domains()
SEARCH_LIST = Domains(compress=True)

#: Names that something is looked up under, where "." is everything (RFC 6731).
SUFFIXES = Domains(element=Domain(root=True))
