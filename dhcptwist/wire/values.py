"""The shapes that an option's value can have: text form <-> value <-> bytes.

An option is described by a name and one of these shapes, so a new option is one
line in a table and never a class.  Each shape turns the words people write in a
configuration into a value, a value into the option's bytes, and back.

Everything here raises ``ValueError`` and nothing else for what does not fit.
"""

from __future__ import annotations

import re
import struct
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any


class Shape:
    """How one kind of value reads and writes; the base of the shapes below."""

    name = "opaque"

    def decode(self, data: bytes) -> Any:
        """The value that an option's bytes stand for."""
        return data

    def encode(self, value: Any) -> bytes:
        """The bytes that stand for a value."""
        return bytes(value)

    def parse(self, text: str) -> Any:
        """The value that a person wrote."""
        return unhex(text)

    def format(self, value: Any) -> str:
        """A value as a person would write it."""
        return f"hex:{bytes(value).hex()}"

    def encode_text(self, text: str) -> bytes:
        """From what a person wrote to bytes.

        ``hex:`` in front gives the raw bytes, whatever the shape.
        """
        text = text.strip()
        if text.startswith("hex:"):
            return unhex(text)
        return self.encode(self.parse(text))

    def decode_text(self, data: bytes) -> str:
        """From bytes to words; bytes that do not fit the shape print as hex."""
        try:
            return self.format(self.decode(data))
        except ValueError:
            return f"hex:{data.hex()}"


def unhex(text: str) -> bytes:
    """Bytes from hex digits, with an optional ``hex:`` in front.

    Digits may be grouped by colons, dashes, dots or blanks.
    """
    digits = re.sub(r"[:.\-\s]", "", text.strip().removeprefix("hex:"))
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"{text!r} is not hexadecimal") from None


def visible(text: str) -> str:
    r"""Text without what could move a cursor: that becomes ``\xNN``."""
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable()
        else f"\\x{ord(c):02x}"
        if c < "\u0100"
        else f"\\u{ord(c):04x}"
        for c in text
    )


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(f"{text!r} has an empty entry")
    return words


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except AddressValueError:
        raise ValueError(f"{text.strip()!r} is not an IPv4 address") from None


class _Address(Shape):
    name = "address"

    def decode(self, data: bytes) -> IPv4Address:
        # A longer value is what concatenation makes of an option sent twice
        # (RFC 3396); the first is meant.
        if len(data) < 4:
            raise ValueError("an address has four bytes")
        return IPv4Address(data[:4])

    def encode(self, value: Any) -> bytes:
        return IPv4Address(value).packed

    def parse(self, text: str) -> IPv4Address:
        return _address(text)

    def format(self, value: Any) -> str:
        return str(value)


class _Addresses(Shape):
    name = "addresses"

    def decode(self, data: bytes) -> list[IPv4Address]:
        if not data or len(data) % 4:
            raise ValueError("addresses have four bytes each")
        return [IPv4Address(data[i : i + 4]) for i in range(0, len(data), 4)]

    def encode(self, value: Any) -> bytes:
        return b"".join(IPv4Address(each).packed for each in value)

    def parse(self, text: str) -> list[IPv4Address]:
        return [_address(word) for word in _words(text)]

    def format(self, value: Any) -> str:
        return ", ".join(map(str, value))


class _AddressPairs(Shape):
    """Pairs of addresses: options 21 (policy-filter) and 33 (static-routes)."""

    name = "address-pairs"

    def decode(self, data: bytes) -> list[tuple[IPv4Address, IPv4Address]]:
        if not data or len(data) % 8:
            raise ValueError("pairs of addresses have eight bytes each")
        return [
            (IPv4Address(data[i : i + 4]), IPv4Address(data[i + 4 : i + 8]))
            for i in range(0, len(data), 8)
        ]

    def encode(self, value: Any) -> bytes:
        return b"".join(IPv4Address(a).packed + IPv4Address(b).packed for a, b in value)

    def parse(self, text: str) -> list[tuple[IPv4Address, IPv4Address]]:
        pairs = []
        for word in _words(text):
            parts = word.split()
            if len(parts) != 2:
                raise ValueError(f"{word!r} is not a pair of addresses")
            pairs.append((_address(parts[0]), _address(parts[1])))
        return pairs

    def format(self, value: Any) -> str:
        return ", ".join(f"{a} {b}" for a, b in value)


class _Number(Shape):
    def __init__(self, name: str, code: str) -> None:
        self.name = name
        self._struct = struct.Struct("!" + code)

    def decode(self, data: bytes) -> int:
        if len(data) < self._struct.size:
            raise ValueError(f"a {self.name} has {self._struct.size} bytes")
        number: int = self._struct.unpack_from(data)[0]
        return number

    def encode(self, value: Any) -> bytes:
        try:
            return self._struct.pack(value)
        except struct.error:
            raise ValueError(f"{value!r} does not fit a {self.name}") from None

    def parse(self, text: str) -> int:
        try:
            return int(text.strip(), 0)
        except ValueError:
            raise ValueError(f"{text.strip()!r} is not a number") from None

    def format(self, value: Any) -> str:
        return str(value)


class _Numbers(_Number):
    def decode(self, data: bytes) -> Any:
        if not data or len(data) % self._struct.size:
            raise ValueError(f"{self.name} have {self._struct.size} bytes each")
        return [each[0] for each in self._struct.iter_unpack(data)]

    def encode(self, value: Any) -> bytes:
        encode = super().encode
        return b"".join(encode(each) for each in value)

    def parse(self, text: str) -> Any:
        parse = super().parse
        return [parse(word) for word in _words(text)]

    def format(self, value: Any) -> str:
        return ", ".join(map(str, value))


class _Boolean(Shape):
    name = "boolean"

    def decode(self, data: bytes) -> bool:
        if not data or data[0] > 1:
            raise ValueError("a boolean is one byte, 0 or 1")
        return bool(data[0])

    def encode(self, value: Any) -> bytes:
        return b"\x01" if value else b"\x00"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in {"true", "yes", "on", "1"}:
            return True
        if word in {"false", "no", "off", "0"}:
            return False
        raise ValueError(f"{text.strip()!r} is neither true nor false")

    def format(self, value: Any) -> str:
        return "true" if value else "false"


class _Text(Shape):
    name = "text"

    def decode(self, data: bytes) -> str:
        # Windows ends names with NUL; RFC 2132 section 2 says strip it.
        return data.rstrip(b"\0").decode("utf-8", "backslashreplace")

    def encode(self, value: Any) -> bytes:
        data: bytes = str(value).encode()
        if not data:
            raise ValueError("a text option may not be empty")
        return data

    def parse(self, text: str) -> str:
        return text.strip()

    def format(self, value: Any) -> str:
        return visible(value)


class _Empty(Shape):
    name = "empty"

    def decode(self, data: bytes) -> bool:
        if data:
            raise ValueError("this option has no value")
        return True

    def encode(self, value: Any) -> bytes:
        return b""

    def parse(self, text: str) -> bool:
        if text.strip():
            raise ValueError("this option has no value")
        return True

    def format(self, value: Any) -> str:
        return ""


class _Domains(Shape):
    """Domain names as DNS writes them (RFC 1035 3.1): option 119 (RFC 3397)."""

    name = "domains"

    def decode(self, data: bytes) -> list[str]:
        names: list[str] = []
        at = 0
        while at < len(data):
            name, at = self._name(data, at)
            names.append(name)
        return names

    @staticmethod
    def _name(data: bytes, at: int) -> tuple[str, int]:
        labels: list[str] = []
        resume = None
        size = 1
        limit = at  # a pointer goes strictly backwards, so this ends
        while True:
            if at >= len(data):
                raise ValueError("a domain name runs past the end")
            length = data[at]
            if length == 0:
                break
            if length >= 0xC0:
                if at + 1 >= len(data):
                    raise ValueError("a domain name's pointer is cut off")
                target = (length & 0x3F) << 8 | data[at + 1]
                if target >= limit:
                    raise ValueError("a domain name's pointer does not go back")
                if resume is None:
                    resume = at + 2
                at = limit = target
                continue
            if length > 63 or at + 1 + length > len(data):
                raise ValueError("a domain name's label runs past the end")
            size += 1 + length
            if size > 255:
                raise ValueError("a domain name is too long")
            label = data[at + 1 : at + 1 + length]
            labels.append(label.decode("ascii", "backslashreplace"))
            at += 1 + length
        return ".".join(labels), at + 1 if resume is None else resume

    def encode(self, value: Any) -> bytes:
        return b"".join(encode_domain(name) for name in value)

    def parse(self, text: str) -> list[str]:
        return _words(text)

    def format(self, value: Any) -> str:
        return visible(", ".join(value))


def encode_domain(name: str) -> bytes:
    """A domain name in the labels of RFC 1035 section 3.1, uncompressed."""
    labels = re.sub("[\u3002\uff0e\uff61]", ".", name).strip().rstrip(".").split(".")
    if any(
        not 0 < len(label.encode("idna" if label else "ascii")) < 64 for label in labels
    ):
        raise ValueError(f"{name!r} is not a domain name")
    data = b"".join(bytes([len(e)]) + e for e in (x.encode("idna") for x in labels))
    if len(data) > 254:
        raise ValueError(f"{name!r} is too long for a domain name")
    return data + b"\0"


class _Routes(Shape):
    """Classless routes (RFC 3442): ``10.0.0.0/8 - 192.0.2.1, 0.0.0.0/0 - …``."""

    name = "routes"

    def decode(self, data: bytes) -> list[tuple[IPv4Network, IPv4Address]]:
        routes = []
        at = 0
        while at < len(data):
            width = data[at]
            octets = (width + 7) // 8
            if width > 32 or at + 1 + octets + 4 > len(data):
                raise ValueError("a route is cut off or wider than 32 bits")
            net = data[at + 1 : at + 1 + octets].ljust(4, b"\0")
            at += 1 + octets
            network = IPv4Network((net, width), strict=False)
            routes.append((network, IPv4Address(data[at : at + 4])))
            at += 4
        if not routes:
            raise ValueError("no route")
        return routes

    def encode(self, value: Any) -> bytes:
        parts = []
        for network, router in value:
            width = network.prefixlen
            octets = network.network_address.packed[: (width + 7) // 8]
            parts.append(bytes([width]) + octets + IPv4Address(router).packed)
        return b"".join(parts)

    def parse(self, text: str) -> list[tuple[IPv4Network, IPv4Address]]:
        routes = []
        for word in _words(text):
            net, dash, router = word.partition(" - ")
            if not dash:
                raise ValueError(f"{word!r} is not a route like 10.0.0.0/8 - 192.0.2.1")
            try:
                network = IPv4Network(net.strip())
            except ValueError as error:
                raise ValueError(f"{net.strip()!r} is not a network: {error}") from None
            routes.append((network, _address(router)))
        return routes

    def format(self, value: Any) -> str:
        return ", ".join(f"{network} - {router}" for network, router in value)


OPAQUE = Shape()
ADDRESS = _Address()
ADDRESSES = _Addresses()
ADDRESS_PAIRS = _AddressPairs()
U8 = _Number("u8", "B")
U16 = _Number("u16", "H")
U32 = _Number("u32", "I")
S32 = _Number("s32", "i")
U8S = _Numbers("u8s", "B")
U16S = _Numbers("u16s", "H")
BOOLEAN = _Boolean()
TEXT = _Text()
EMPTY = _Empty()
DOMAINS = _Domains()
ROUTES = _Routes()
