"""Shapes whose bytes may mean one of several things, or several things in one byte."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .lists import apart, braced, part
from .values import OPAQUE, Shape, unhex


# Digits as nobody would write anything else: a domain name has dots, a number commas.
_DIGITS = re.compile(r"[0-9a-fA-F]{2}([:-]?[0-9a-fA-F]{2})*")


class HexToo(Shape):
    """A shape whose text may as well be bare hex digits: ``01:02ff``.

    Options that had no shape at first were written like that, and stay so.

    Args:
        inner: The shape.
        first: Whether what can be digits is digits; else only what is nothing else.
    """

    def __init__(self, inner: Shape, *, first: bool = False) -> None:
        self.name = inner.name
        self.inner = inner
        self.size = inner.size
        self._first = first

    def decode(self, data: bytes) -> Any:
        """The inner shape's value."""
        return self.inner.decode(data)

    def encode(self, value: Any) -> bytes:
        """The inner shape's bytes."""
        return self.inner.encode_plain(value)

    def parse(self, text: str) -> Any:
        """The inner shape's value, or the bytes that the digits stand for."""
        if self._first and _DIGITS.fullmatch(text.strip()):
            return unhex(text)
        try:
            return self.inner.parse(text)
        except ValueError as error:
            try:
                return unhex(text)
            except ValueError:
                raise error from None

    def format(self, value: Any) -> str:
        """The inner shape's text."""
        return self.inner.format(value)

    def plain(self, value: Any) -> Any:
        """The inner shape's plain form."""
        return self.inner.plain(value)

    def encode_plain(self, value: Any) -> bytes:
        """From the inner shape's plain form, from text, or from digits."""
        try:
            return super().encode_plain(value)
        except ValueError:
            return self.inner.encode_plain(value)


class Octets(Shape):
    """Bytes that are often text, like the name of a relay's port.

    A person writes text in quotes, and other bytes as hex digits.  In JSON text is just
    text, and other bytes are ``hex:…``.
    """

    name = "octets"

    def encode(self, value: Any) -> bytes:
        """The bytes themselves, or those of text."""
        if isinstance(value, str):
            return unhex(value) if value.startswith("hex:") else value.encode()
        return bytes(value)

    def parse(self, text: str) -> bytes:
        """The bytes from text in quotes, or from hex digits."""
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            return text[1:-1].encode()
        try:
            return unhex(text)
        except ValueError:
            raise ValueError(f"{text!r} is neither hexadecimal nor in quotes") from None

    def format(self, value: Any) -> str:
        """The bytes in quotes if they can be read, else as ``hex:…``."""
        if value and all(32 <= each < 127 and each not in b'"\\{}' for each in value):
            return f'"{value.decode()}"'
        return super().format(value)

    def plain(self, value: Any) -> str:
        """The bytes as text if they can be read, else as ``hex:…``."""
        text = self.format(value)
        bare = text[1:-1] if text[0] == '"' else text
        return super().format(value) if bare.startswith("hex:") else bare

    def encode_plain(self, value: Any) -> bytes:
        """From bytes, text, or ``hex:…``."""
        if isinstance(value, str):
            return self.encode(value)
        return super().encode_plain(value)


class Either(Shape):
    """A shape that not everybody keeps to: what does not fit it is bytes.

    Args:
        name: What the documentation calls it.
        first: The shape; its values are not bytes.
        rest: The shape of the bytes that do not fit.
    """

    def __init__(self, name: str, first: Shape, rest: Shape = OPAQUE) -> None:
        self.name = name
        self.first = first
        self.rest = rest

    def decode(self, data: bytes) -> Any:
        """The value, or the bytes."""
        try:
            return self.first.decode(data)
        except ValueError:
            return self.rest.decode(data)

    def encode(self, value: Any) -> bytes:
        """The bytes of a value, or the bytes."""
        if isinstance(value, str):
            value = self.parse(value)
        if isinstance(value, bytes):
            return value
        return self.first.encode_plain(value)

    def encode_plain(self, value: Any) -> bytes:
        """From the plain form of either, or from text."""
        try:
            return super().encode_plain(value)
        except ValueError:
            if not isinstance(value, str):
                raise
            return self.rest.encode_plain(value)

    def parse(self, text: str) -> Any:
        """The value, or the bytes if it is written as those are."""
        try:
            return self.first.parse(text)
        except ValueError as error:
            try:
                return self.rest.parse(text)
            except ValueError:
                raise error from None

    def format(self, value: Any) -> str:
        """The value's text, or that of the bytes."""
        return self._shape(value).format(value)

    def plain(self, value: Any) -> Any:
        """The value's plain form, or that of the bytes."""
        return self._shape(value).plain(value)

    def _shape(self, value: Any) -> Shape:
        return self.rest if isinstance(value, bytes) else self.first


class Tagged(Shape):
    """A number that says what the rest is; the value is a dict with one key.

    In text: ``ethernet=02:00:00:00:00:01``.  A rest that does not fit is bytes.

    Args:
        name: What the documentation calls it.
        kinds: The name and the shape for each number.
        width: How many bytes the number has.
        closed: Whether other numbers do not fit; else what follows them is bytes, and
            the number their name.
    """

    def __init__(
        self,
        name: str,
        kinds: Mapping[int, tuple[str, Shape]],
        *,
        width: int = 1,
        closed: bool = False,
    ) -> None:
        self.name = name
        self.kinds = dict(kinds)
        self._by_name = {word: (tag, inner) for tag, (word, inner) in kinds.items()}
        self.width = width
        self.closed = closed

    def _find(self, name: str) -> tuple[int, Shape]:
        word = str(name).strip()
        if word in self._by_name:
            return self._by_name[word]
        number = int(word[:6]) if word.isascii() and word.isdigit() else -1
        if number in self.kinds:
            return number, self.kinds[number][1]
        if self.closed or not 0 <= number < 1 << 8 * self.width:
            raise ValueError(f"{self.name} is never {word!r}")
        return number, OPAQUE

    def decode(self, data: bytes) -> dict[str, Any]:
        """What it is, and the value."""
        if len(data) < self.width:
            raise ValueError(f"{self.name} is cut off")
        tag = int.from_bytes(data[: self.width], "big")
        if tag not in self.kinds and self.closed:
            raise ValueError(f"{self.name} of type {tag} is not known")
        name, inner = self.kinds.get(tag, (str(tag), OPAQUE))
        rest = data[self.width :]
        try:
            return {name: inner.decode(rest)}
        except ValueError:
            return {name: rest}

    def encode(self, value: Any) -> bytes:
        """The number and the rest."""
        if isinstance(value, str):
            value = self.parse(value)
        if len(value) != 1:
            raise ValueError(f"{self.name} is one thing, not {len(value)}")
        ((name, each),) = value.items()
        tag, inner = self._find(name)
        return tag.to_bytes(self.width, "big") + inner.encode_plain(each)

    def parse(self, text: str) -> dict[str, Any]:
        """From ``name=value``."""
        name, equals, words = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not NAME=VALUE, and not hex:…")
        tag, inner = self._find(name)
        word = self.kinds[tag][0] if tag in self.kinds else str(tag)
        return {word: part(inner, words.strip())}

    def format(self, value: Any) -> str:
        """As ``name=value``."""
        ((name, each),) = value.items()
        words = self._shape(name, each).format(each)
        return f"{name}={braced(words, ',;')}"

    def plain(self, value: Any) -> dict[str, Any]:
        """As an object with one key."""
        ((name, each),) = value.items()
        return {name: self._shape(name, each).plain(each)}

    def _shape(self, name: str, value: Any) -> Shape:
        inner = self._find(name)[1]
        if not isinstance(value, bytes):
            return inner
        try:  # some shapes have bytes as values; for the others they did not fit
            return inner if isinstance(inner.decode(value), bytes) else OPAQUE
        except ValueError:
            return OPAQUE


class Flags(Shape):
    """A byte of flags; the value is a list of the names of those that are set.

    In text they are separated by blanks; ``none`` if none is set.  A bit that has no name
    is written as the number it stands for: ``0x40``.
    """

    size = 1

    def __init__(self, name: str, **flags: int) -> None:
        self.name = name
        self.flags = {word.replace("_", "-"): bit for word, bit in flags.items()}

    def decode(self, data: bytes) -> list[str]:
        """The names of the flags, those without one behind the others."""
        if not data:
            raise ValueError(f"{self.name} have one byte")
        known = [word for word, bit in self.flags.items() if data[0] & bit]
        rest = data[0] & ~sum(self.flags.values())
        return [*known, f"0x{rest:02x}"] if rest else known

    def encode(self, value: Any) -> bytes:
        """The byte."""
        if isinstance(value, str):
            value = self.parse(value)
        byte = 0
        for each in value:
            byte |= self._bit(each)
        return bytes([byte])

    def _bit(self, flag: str | int) -> int:
        if flag in self.flags:
            return self.flags[str(flag)]
        try:
            bit = flag if isinstance(flag, int) else int(flag, 0)
        except ValueError:
            bit = -1
        if not 0 <= bit < 256:
            raise ValueError(f"{flag!r} is none of the {self.name}")
        return bit

    def parse(self, text: str) -> list[str]:
        """The names from a row of words."""
        words = text.lower().split()
        if words == ["none"]:
            return []
        for word in words:
            self._bit(word)
        return words

    def format(self, value: Any) -> str:
        """The names in a row."""
        return " ".join(value) or "none"

    def plain(self, value: Any) -> list[str]:
        """The names as a list."""
        return list(value)


class Bit(NamedTuple):
    """A field of `Bits`: its name and how wide it is.

    Attributes:
        fraction: How many of the bits stand behind the point.
        signed: Whether it is a two's complement.
    """

    name: str
    width: int
    fraction: int = 0
    signed: bool = False


class Bits(Shape):
    """Fields that do not begin where bytes do; the value is a dict of numbers.

    In text the numbers follow each other, separated by commas.
    """

    def __init__(self, name: str, *fields: Bit) -> None:
        self.name = name
        self.fields = fields
        self.size = sum(field.width for field in fields) // 8

    def decode(self, data: bytes) -> dict[str, int | float]:
        """The numbers by name; those with bits behind the point are floats."""
        size = self.size or 0
        if len(data) < size:
            raise ValueError(f"{self.name} has {size} bytes")
        whole = int.from_bytes(data[:size], "big")
        value: dict[str, int | float] = {}
        for name, width, fraction, signed in reversed(self.fields):
            number = whole & (1 << width) - 1
            whole >>= width
            if signed and number >> width - 1:
                number -= 1 << width
            value[name] = number / (1 << fraction) if fraction else number
        return {field.name: value[field.name] for field in self.fields}

    def encode(self, value: Any) -> bytes:
        """The numbers put together; fractions are rounded."""
        if isinstance(value, str):
            value = self.parse(value)
        if set(value) != {field.name for field in self.fields}:
            names = ", ".join(field.name for field in self.fields)
            raise ValueError(f"{self.name} has the fields {names}")
        whole = 0
        for name, width, fraction, signed in self.fields:
            if not math.isfinite(value[name]):
                raise ValueError(f"{name} is no number")
            number = round(value[name] * (1 << fraction))
            low = -(1 << width - 1) if signed else 0
            if not low <= number < low + (1 << width):
                raise ValueError(f"{value[name]!r} does not fit {name}")
            whole = whole << width | number & (1 << width) - 1
        return whole.to_bytes(self.size or 0, "big")

    def parse(self, text: str) -> dict[str, int | float]:
        """The numbers from a row of them."""
        words = apart(text, ",")
        if len(words) != len(self.fields):
            names = ", ".join(field.name for field in self.fields)
            raise ValueError(f"{text!r} is not {self.name}: {names}")
        return {
            field.name: float(word) if field.fraction else int(word, 0)
            for field, word in zip(self.fields, words, strict=True)
        }

    def format(self, value: Any) -> str:
        """The numbers in a row."""
        return ", ".join(repr(value[field.name]) for field in self.fields)

    def plain(self, value: Any) -> dict[str, int | float]:
        """The numbers as an object."""
        return dict(value)


OCTETS = Octets()
