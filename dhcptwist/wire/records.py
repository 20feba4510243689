"""Shapes made of other shapes: fields in a row, and values with a length before them."""

from __future__ import annotations

from typing import Any

from .lists import apart, braced, part
from .values import Shape


class Record(Shape):
    """Fields in a row, each with a name; the value is a dict.

    Only the last may be of no certain size.  In text the fields follow each other,
    separated by commas: ``true, 192.0.2.1, 192.0.2.2``.  Bytes behind the last field
    are not looked at.
    """

    def __init__(self, name: str, /, **fields: Shape) -> None:
        self.name = name
        self.fields = fields
        sizes = [shape.size for shape in fields.values()]
        self.size = None if None in sizes else sum(filter(None, sizes))

    def take(self, data: bytes, at: int) -> tuple[dict[str, Any], int]:
        """The fields from an offset on, and the offset behind them."""
        value = {}
        for field, shape in self.fields.items():
            try:
                value[field], at = shape.take(data, at)
            except ValueError as error:
                raise ValueError(f"{field} of {self.name}: {error}") from None
        return value, at

    def decode(self, data: bytes) -> dict[str, Any]:
        """The fields by name."""
        return self.take(data, 0)[0]

    def encode(self, value: Any) -> bytes:
        """The fields' bytes; each may be a value or its plain form."""
        if isinstance(value, str):
            value = self.parse(value)
        wrong = set(value) ^ set(self.fields)
        if wrong:
            raise ValueError(
                f"{self.name} has the fields {', '.join(self.fields)};"
                f" wrong or missing: {', '.join(sorted(map(str, wrong)))}"
            )
        return b"".join(
            shape.encode_plain(value[field]) for field, shape in self.fields.items()
        )

    def parse(self, text: str) -> dict[str, Any]:
        """The fields from text that has them separated by commas."""
        parts = apart(text, ",", len(self.fields)) if text.strip() else []
        # Nothing at all may be the text of a last field that may be empty.
        if len(parts) == len(self.fields) - 1:
            parts.append("")
        if len(parts) != len(self.fields):
            raise ValueError(f"{text!r} is not {self.name}: {', '.join(self.fields)}")
        return {
            field: part(shape, words)
            for (field, shape), words in zip(self.fields.items(), parts, strict=True)
        }

    def format(self, value: Any) -> str:
        """The fields in a row."""
        *first, last = (
            (shape.format(value[field])) for field, shape in self.fields.items()
        )
        words = [braced(word, ",") for word in first]
        return ", ".join([*words, last] if last else words)

    def plain(self, value: Any) -> dict[str, Any]:
        """The fields as an object."""
        return {
            field: shape.plain(value[field]) for field, shape in self.fields.items()
        }


class Counted(Shape):
    """A value with its length before it.

    Args:
        inner: The value's shape.
        width: How many bytes the length has.
        least: The smallest length that is allowed, in bytes.
        unit: How many bytes the length counts as one.
    """

    def __init__(
        self, inner: Shape, width: int = 1, least: int = 0, unit: int = 1
    ) -> None:
        self.name = f"counted {inner.name}"
        self.inner = inner
        self._width = width
        self._least = least
        self._unit = unit

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        """The value behind the length at an offset, and the offset behind it."""
        start = at + self._width
        if start > len(data):
            raise ValueError(f"the length of {self.inner.name} is cut off")
        size = int.from_bytes(data[at:start], "big") * self._unit
        stop = start + size
        if stop > len(data):
            raise ValueError(f"{self.inner.name} of {size} bytes runs past the end")
        if size < self._least:
            raise ValueError(f"{self.inner.name} has at least {self._least} bytes")
        return self.inner.decode(data[start:stop]), stop

    def decode(self, data: bytes) -> Any:
        """The value."""
        return self.take(data, 0)[0]

    def encode(self, value: Any) -> bytes:
        """The length and the value."""
        data = self.inner.encode_plain(value)
        size, odd = divmod(len(data), self._unit)
        if odd or len(data) < self._least or size >= 1 << 8 * self._width:
            raise ValueError(f"{self.inner.name} of {len(data)} bytes does not fit")
        return size.to_bytes(self._width, "big") + data

    def parse(self, text: str) -> Any:
        """The value from its own text."""
        return part(self.inner, text)

    def format(self, value: Any) -> str:
        """The value's own text."""
        return self.inner.format(value)

    def plain(self, value: Any) -> Any:
        """The value's own plain form."""
        return self.inner.plain(value)

    def encode_plain(self, value: Any) -> bytes:
        """From a value or its plain form; blanks around text are part of it."""
        return self.encode(value)
