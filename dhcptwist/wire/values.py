"""The shapes that an option's value can have: text form <-> value <-> bytes.

An option is described by a name and one of these shapes, so a new option is one
line in a table and never a class.  Each shape turns the words people write in a
configuration into a value, a value into the option's bytes, and back.  Here are the
plain ones; `lists`, `names`, `records`, `suboptions` and `identity` build on them.

Everything here raises ``ValueError`` and nothing else for what does not fit.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any


_BYTES = (bytes, bytearray, memoryview)


class Shape:
    """How one kind of value reads and writes; the base of the shapes below.

    As it stands it is the shape of plain bytes, written in hexadecimal.

    Attributes:
        name: What the documentation calls it.
        size: How many bytes a value has; None if that varies.
    """

    name = "opaque"
    size: int | None = None

    def decode(self, data: bytes) -> Any:
        """The value that an option's bytes stand for."""
        return data

    def encode(self, value: Any) -> bytes:
        """The bytes that stand for a value, or for its `plain` form."""
        if isinstance(value, str):
            return unhex(value)
        return bytes(memoryview(value))  # which a number or a list has none of

    def parse(self, text: str) -> Any:
        """The value that a person wrote."""
        return unhex(text)

    def format(self, value: Any) -> str:
        """A value as a person would write it."""
        return f"hex:{bytes(value).hex()}"

    def plain(self, value: Any) -> Any:
        """A value in JSON's own types: numbers, text, lists and objects."""
        return self.format(value)

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        """The value that begins at an offset, and the offset behind it.

        A shape of no fixed size takes all there is; those that know their own end
        say so themselves.
        """
        stop = len(data) if self.size is None else at + self.size
        if stop > len(data):
            raise ValueError(f"{self.name} runs past the end")
        return self.decode(data[at:stop]), stop

    def encode_text(self, text: str) -> bytes:
        """From what a person wrote to bytes.

        ``hex:`` in front gives the raw bytes, whatever the shape.
        """
        text = text.strip()
        if is_hex(text):
            return unhex(text)
        return self.encode(self.parse(text))

    def decode_text(self, data: bytes) -> str:
        """From bytes to words that `encode_text` turns into the same bytes.

        Bytes that do not fit the shape, or not in its usual form, print as hex.
        """
        try:
            text = self.format(self.decode(data))
            if self.encode_text(text) == data:
                return text
        except ValueError:
            pass
        return f"hex:{data.hex()}"

    def describe(self, data: bytes) -> str:
        """From bytes to words for a person to read, which may lose something.

        Text loses the NUL that ends it, say, which `decode_text` would not.
        """
        try:
            return self.format(self.decode(data))
        except ValueError:
            return f"hex:{data.hex()}"

    def encode_plain(self, value: Any) -> bytes:
        """From a value, its `plain` form, its text or its bytes to bytes.

        Text that begins with ``hex:`` gives the raw bytes, whatever the shape.

        Raises:
            ValueError: It is none of these.
        """
        if isinstance(value, _BYTES):
            return bytes(value)
        try:
            if isinstance(value, str):
                return self.encode_text(value)
            return self.encode(value)
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"{value!r} is no {self.name}: {error}") from None

    def decode_plain(self, data: bytes) -> Any:
        """From bytes to what JSON holds and `encode_plain` turns into the same bytes."""
        try:
            value = self.plain(self.decode(data))
            if self.encode_plain(value) == data:
                return value
        except ValueError:
            pass
        return f"hex:{data.hex()}"


def is_hex(text: str) -> bool:
    """Whether text is raw bytes: ``hex:…``, and not a list that begins with such."""
    return text.startswith("hex:") and not set(text) & set(",;{")


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


class _Address(Shape):
    name = "address"
    size = 4

    def decode(self, data: bytes) -> IPv4Address:
        # A longer value is what concatenation makes of an option sent twice
        # (RFC 3396); the first is meant.
        if len(data) < 4:
            raise ValueError("an address has four bytes")
        return IPv4Address(data[:4])

    def encode(self, value: Any) -> bytes:
        # IPv4Address makes text of another one, and reads that.
        address = value if type(value) is IPv4Address else IPv4Address(value)
        return address.packed

    def parse(self, text: str) -> IPv4Address:
        try:
            return IPv4Address(text.strip())
        except AddressValueError:
            raise ValueError(f"{text.strip()!r} is not an IPv4 address") from None

    def format(self, value: Any) -> str:
        return str(value)


class _Address6(_Address):
    name = "IPv6 address"
    size = 16

    def decode(self, data: bytes) -> Any:
        if len(data) < 16:
            raise ValueError("an IPv6 address has sixteen bytes")
        return IPv6Address(data[:16])

    def encode(self, value: Any) -> bytes:
        address = value if type(value) is IPv6Address else IPv6Address(value)
        return address.packed

    def parse(self, text: str) -> Any:
        try:
            return IPv6Address(text.strip())
        except AddressValueError:
            raise ValueError(f"{text.strip()!r} is not an IPv6 address") from None


class _Number(Shape):
    def __init__(self, name: str, code: str) -> None:
        self.name = name
        self._struct = struct.Struct("!" + code)
        self.size = self._struct.size

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

    def plain(self, value: Any) -> int:
        return int(value)


class Choice(_Number):
    """A number that has names: the members of an enumeration, or just itself."""

    def __init__(self, names: type[IntEnum], code: str = "B") -> None:
        super().__init__(f"choice of {names.__name__}", code)
        self._names = names
        # Calling the enumeration costs more than all the rest of reading a value.
        self._members = {int(member): member for member in names}
        self._by_word = {
            member.name.lower().replace("_", "-"): member for member in names
        }

    def decode(self, data: bytes) -> int:
        """The member of that number, or the number itself."""
        number = super().decode(data)
        return self._members.get(number, number)

    def encode(self, value: Any) -> bytes:
        """The number, of a member or of its name."""
        return super().encode(self.parse(value) if isinstance(value, str) else value)

    def parse(self, text: str) -> int:
        """The member of that name, or a number."""
        word = text.strip().lower().replace("_", "-")
        return self._by_word[word] if word in self._by_word else super().parse(text)

    def format(self, value: Any) -> str:
        """The name, or the number of one that has none."""
        if isinstance(value, self._names):
            return value.name.lower().replace("_", "-")
        return str(value)

    def plain(self, value: Any) -> Any:
        """The name, or the number of one that has none."""
        return self.format(value) if isinstance(value, self._names) else value


class _Boolean(Shape):
    name = "boolean"
    size = 1

    def decode(self, data: bytes) -> bool:
        if not data or data[0] > 1:
            raise ValueError("a boolean is one byte, 0 or 1")
        return bool(data[0])

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            value = self.parse(value)
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

    def plain(self, value: Any) -> bool:
        return bool(value)


class Text(Shape):
    """Text: UTF-8, without the NULs that Windows ends it with (RFC 2132 section 2)."""

    def __init__(self, name: str = "text", *, empty: bool = False) -> None:
        self.name = name
        self._empty = empty

    def decode(self, data: bytes) -> str:
        """The text without the NULs at its end; what is not UTF-8 is spelt out."""
        return data.rstrip(b"\0").decode("utf-8", "backslashreplace")

    def encode(self, value: Any) -> bytes:
        """The text in UTF-8."""
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - as all shapes
        data = value.encode()
        if not data and not self._empty:
            raise ValueError("a text option may not be empty")
        return data

    def parse(self, text: str) -> str:
        """The text without blanks around it."""
        return text.strip()

    def format(self, value: Any) -> str:
        """The text with what cannot be printed made visible."""
        return visible(value)

    def plain(self, value: Any) -> str:
        """The text itself."""
        return str(value)

    def encode_plain(self, value: Any) -> bytes:
        """The text with all its blanks, or raw bytes after ``hex:``."""
        if isinstance(value, str) and not value.startswith("hex:"):
            return self.encode(value)  # blanks around it are part of it
        return super().encode_plain(value)


class _Empty(Shape):
    name = "empty"
    size = 0

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

    def plain(self, value: Any) -> bool:
        return True


OPAQUE = Shape()
ADDRESS = _Address()
ADDRESS6 = _Address6()
U8 = _Number("u8", "B")
U16 = _Number("u16", "H")
U32 = _Number("u32", "I")
U64 = _Number("u64", "Q")
S32 = _Number("s32", "i")
BOOLEAN = _Boolean()
TEXT = Text()
ANY_TEXT = Text("text, or nothing", empty=True)
EMPTY = _Empty()
