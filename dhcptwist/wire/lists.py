"""Shapes of options that hold several values, and how such are written in text."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from .values import ADDRESS, ADDRESS6, U8, U16, Shape, is_hex, unhex


def apart(text: str, separator: str, most: int = 0) -> list[str]:
    """Text cut at a separator, but not inside braces; the parts without blanks.

    Args:
        text: What to cut.
        separator: One character.
        most: How many parts there may be; the last keeps its separators.

    Raises:
        ValueError: A part is empty, or the braces do not match.
    """
    parts: list[str] = []
    depth = start = 0
    for mark in re.finditer(f"[{{}}{separator}]", text):
        character = mark[0]
        if character != separator:
            depth += 1 if character == "{" else -1
            if depth < 0:
                break
        elif not depth and len(parts) + 1 != most:
            parts.append(text[start : mark.start()].strip())
            start = mark.end()
    parts.append(text[start:].strip())
    if depth:
        raise ValueError(f"{text!r} has braces that do not match")
    if not all(parts):
        raise ValueError(f"{text!r} has an empty entry")
    return parts


def braced(text: str, separators: str) -> str:
    """Text as one part of a list: in braces if it would be cut, or lose its own."""
    if text[:1] == "{" or any(each in text for each in separators):
        return f"{{{text}}}"
    return text


def unbraced(text: str) -> str:
    """A part of a list without the braces around all of it."""
    if text[:1] != "{" or text[-1:] != "}":
        return text
    depth = 0
    for mark in re.finditer("[{}]", text):
        depth += 1 if mark[0] == "{" else -1
        if not depth and mark.end() < len(text):
            return text  # like {a}, {b}: these are the braces of two
    return text[1:-1].strip()


def part(shape: Shape, text: str) -> Any:
    """What a person wrote for one part of an option; ``hex:`` gives its bytes."""
    text = unbraced(text)
    return unhex(text) if is_hex(text) else shape.parse(text)


class Many(Shape):
    """Values of one shape, one behind the other, until the end.

    Args:
        element: The shape of each.
        name: What the documentation calls them.
        separator: What stands between them in text: commas, or semicolons if their own
            text usually holds a comma.
        empty: Whether there may be none.
    """

    def __init__(
        self, element: Shape, name: str, separator: str = ",", *, empty: bool = False
    ) -> None:
        self.element = element
        self.name = name
        self.empty = empty
        self._separator = separator

    def decode(self, data: bytes) -> list[Any]:
        """The values, in the order they stand in."""
        end = len(data)
        size = self.element.size
        found = []
        if size:  # as `take` does, without a call for each
            if end % size:
                raise ValueError(f"{self.name} have {size} bytes each")
            decode = self.element.decode
            found = [decode(data[at : at + size]) for at in range(0, end, size)]
        else:
            at = 0
            while at < end:
                value, at = self.element.take(data, at)
                found.append(value)
        if not found and not self.empty:
            raise ValueError(f"there are no {self.name}")
        return found

    def encode(self, value: Any) -> bytes:
        """The values one behind the other; text is parsed first."""
        if isinstance(value, str):
            value = self.parse(value)
        data = b"".join(map(self.element.encode, value))
        if not data and not self.empty:
            raise ValueError(f"there are no {self.name}")
        return data

    def parse(self, text: str) -> list[Any]:
        """The values from a list in text."""
        if self.empty and not text.strip():
            return []
        parse = self.element.parse
        return [parse(unbraced(word)) for word in apart(text, self._separator)]

    def format(self, value: Any) -> str:
        """The values as a list."""
        words = (braced(self.element.format(each), self._separator) for each in value)
        return f"{self._separator} ".join(words)

    def plain(self, value: Any) -> list[Any]:
        """The values as a list of JSON's own types."""
        return [self.element.plain(each) for each in value]


class _Pair(Shape):
    """Two addresses: options 21 (policy-filter) and 33 (static-routes)."""

    name = "address pair"
    size = 8

    def decode(self, data: bytes) -> tuple[IPv4Address, IPv4Address]:
        return ADDRESS.decode(data[:4]), ADDRESS.decode(data[4:8])

    def encode(self, value: Any) -> bytes:
        first, second = value
        return ADDRESS.encode(first) + ADDRESS.encode(second)

    def parse(self, text: str) -> tuple[IPv4Address, IPv4Address]:
        parts = text.split()
        if len(parts) != 2:
            raise ValueError(f"{text!r} is not a pair of addresses")
        return ADDRESS.parse(parts[0]), ADDRESS.parse(parts[1])

    def format(self, value: Any) -> str:
        return "{} {}".format(*value)

    def plain(self, value: Any) -> list[str]:
        return [str(each) for each in value]


class _Route(Shape):
    """A classless route (RFC 3442): ``10.0.0.0/8 - 192.0.2.1``."""

    name = "route"

    def take(self, data: bytes, at: int) -> tuple[tuple[IPv4Network, IPv4Address], int]:
        width = data[at]
        octets = (width + 7) // 8
        stop = at + 1 + octets + 4
        if width > 32 or stop > len(data):
            raise ValueError("a route is cut off or wider than 32 bits")
        net = data[at + 1 : at + 1 + octets].ljust(4, b"\0")
        network = IPv4Network((net, width), strict=False)
        return (network, IPv4Address(data[stop - 4 : stop])), stop

    def encode(self, value: Any) -> bytes:
        network, router = value
        if isinstance(network, str):
            network = IPv4Network(network)
        width = network.prefixlen
        octets = network.network_address.packed[: (width + 7) // 8]
        data: bytes = bytes([width]) + octets + ADDRESS.encode(router)
        return data

    def parse(self, text: str) -> tuple[IPv4Network, IPv4Address]:
        net, dash, router = text.partition(" - ")
        if not dash:
            raise ValueError(f"{text!r} is not a route like 10.0.0.0/8 - 192.0.2.1")
        try:
            network = IPv4Network(net.strip())
        except ValueError as error:
            raise ValueError(f"{net.strip()!r} is not a network: {error}") from None
        return network, ADDRESS.parse(router)

    def format(self, value: Any) -> str:
        return "{} - {}".format(*value)

    def plain(self, value: Any) -> list[str]:
        return [str(each) for each in value]


ADDRESSES = Many(ADDRESS, "addresses")
ADDRESSES6 = Many(ADDRESS6, "IPv6 addresses")
ADDRESS_PAIRS = Many(_Pair(), "address pairs")
U8S = Many(U8, "u8s")
U16S = Many(U16, "u16s")
ROUTES = Many(_Route(), "routes")
