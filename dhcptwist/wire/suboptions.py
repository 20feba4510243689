"""Options inside an option: code, length, value, as in options 43, 82, 122 and 125."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .lists import apart, braced, part
from .values import OPAQUE, Shape


#: More sub-options, or pads, than this are no honest packet: there are 256 codes, of two
#: with one code the first counts, and an option in one piece has no room for more.
#: Without a limit 64 KiB of them would take 20 ms to read.
MOST_SUBOPTIONS = 256


def split(data: bytes) -> dict[int, bytes]:
    """The sub-options by code, in the order received.

    A sub-option that runs past the end stops the reading, and so does one too many
    (`MOST_SUBOPTIONS`); what came before it counts.  The first of two with one code wins.
    """
    found: dict[int, bytes] = {}
    at = 0
    end = len(data)
    for _ in range(MOST_SUBOPTIONS):
        if at + 2 > end:
            break
        stop = at + 2 + data[at + 1]
        if stop > end:
            break
        found.setdefault(data[at], data[at + 2 : stop])
        at = stop
    return found


def join(suboptions: Mapping[int, bytes]) -> bytes:
    """The bytes of sub-options in the order given.

    Raises:
        ValueError: A sub-option is longer than 255 bytes.
    """
    return b"".join(
        bytes((code, len(value))) + value for code, value in suboptions.items()
    )


class SubKind(NamedTuple):
    """What a sub-option is: its number, its name and its shape."""

    code: int
    name: str
    shape: Shape


class SubOptions(Shape):
    """Sub-options by name, or by number where they have none; the value is a dict.

    In text: ``circuit-id=hex:0102; link-selection=192.0.2.0``.

    Args:
        name: What the documentation calls the option.
        kinds: The sub-options that have a name and a shape; others are bytes.
        padded: Whether code 0 is a pad and 255 an end, as in option 43 (RFC 2132
            section 8.4).  In option 82 they are codes like any other.
        ended: Whether to write an end.
        width: How many bytes a code has, and a length.
        inclusive: Whether the length counts code and length as well, as RADIUS does.
    """

    def __init__(
        self,
        name: str,
        kinds: Iterable[SubKind] = (),
        *,
        padded: bool = False,
        ended: bool = False,
        width: int = 1,
        inclusive: bool = False,
    ) -> None:
        self.name = name
        self.kinds = {kind.code: kind for kind in kinds}
        self._by_name = {kind.name: kind for kind in self.kinds.values()}
        self._padded = padded
        self._ended = ended
        self._width = width
        self._more = 2 * width if inclusive else 0

    def kind(self, code: int) -> SubKind:
        """What the sub-option of this number is."""
        return self.kinds.get(code) or SubKind(code, str(code), OPAQUE)

    def _find(self, name: str | int) -> SubKind:
        word = str(name).strip()
        if word in self._by_name:
            return self._by_name[word]
        if not (
            word.isascii() and word.isdigit() and int(word[:6]) < 1 << 8 * self._width
        ):
            raise ValueError(f"{self.name} has no sub-option {word!r}")
        return self.kind(int(word))

    def _pieces(self, data: bytes) -> Iterable[tuple[int, bytes]]:
        width = self._width
        at = count = 0
        end = len(data)
        while at < end:
            count += 1
            if count > MOST_SUBOPTIONS:
                raise ValueError(f"{self.name} has more than {MOST_SUBOPTIONS} of them")
            if self._padded and data[at] in {0, 255}:
                if data[at]:
                    return
                at += 1
                continue
            value = at + 2 * width
            code = int.from_bytes(data[at : at + width], "big")
            stop = at + int.from_bytes(data[at + width : value], "big")
            stop += 0 if self._more else 2 * width
            if not value <= stop <= end:
                raise ValueError(f"sub-option {code} of {self.name} runs past the end")
            at = stop
            yield code, data[value:stop]

    def decode(self, data: bytes) -> dict[str, Any]:
        """The sub-options' values by name, those without one by number.

        One whose bytes do not fit its shape stays bytes; of two with one code the first
        counts.
        """
        found: dict[str, Any] = {}
        for code, value in self._pieces(data):
            _, name, shape = self.kind(code)
            if name not in found:
                try:
                    found[name] = shape.decode(value)
                except ValueError:
                    found[name] = value
        return found

    def encode(self, value: Any) -> bytes:
        """The sub-options' bytes in the order of the mapping."""
        if isinstance(value, str):
            value = self.parse(value)
        width = self._width
        pieces = []
        for name, each in value.items():
            kind = self._find(name)
            data = kind.shape.encode_plain(each)
            size = len(data) + self._more
            if size >= 1 << 8 * width:
                raise ValueError(f"sub-option {name} of {len(data)} bytes is too long")
            pieces.append(
                kind.code.to_bytes(width, "big") + size.to_bytes(width, "big")
            )
            pieces.append(data)
        if self._ended:
            pieces.append(b"\xff")
        return b"".join(pieces)

    def parse(self, text: str) -> dict[str, Any]:
        """The sub-options from ``name=value; name=value``."""
        found: dict[str, Any] = {}
        for each in apart(text, ";") if text.strip() else ():
            name, equals, words = each.partition("=")
            if not equals:
                raise ValueError(f"{each!r} is not NAME=VALUE, and not hex:…")
            kind = self._find(name)
            if kind.name in found:
                raise ValueError(f"{kind.name} stands twice in {self.name}")
            found[kind.name] = part(kind.shape, words.strip())
        return found

    def format(self, value: Any) -> str:
        """The sub-options one behind the other."""
        return "; ".join(
            f"{name}={braced(self._text(name, each), ';')}"
            for name, each in value.items()
        )

    def _text(self, name: str, value: Any) -> str:
        shape = self._find(name).shape
        if isinstance(value, bytes):
            return shape.decode_text(value)
        return shape.decode_text(shape.encode(value))

    def plain(self, value: Any) -> dict[str, Any]:
        """The sub-options as an object."""
        return {
            name: self._find(name).shape.decode_plain(each)
            if isinstance(each, bytes)
            else self._find(name).shape.plain(each)
            for name, each in value.items()
        }


class Enterprise(Shape):
    """Blocks by enterprise number, each with its length (RFC 3925; 4243 section 2).

    The value is a dict of number to what stands in the block.  In text:
    ``4491: {1=hex:02; 5=hex:ff}``, with semicolons between the blocks.
    """

    def __init__(
        self, name: str, inner: Shape, inners: Mapping[int, Shape] | None = None
    ) -> None:
        self.name = name
        self._inner = inner
        self._inners = dict(inners or {})

    def _shape(self, number: int) -> Shape:
        return self._inners.get(number, self._inner)

    def decode(self, data: bytes) -> dict[int, Any]:
        """The blocks by enterprise number."""
        found: dict[int, Any] = {}
        at = 0
        while at < len(data):
            stop = at + 5
            stop += data[at + 4] if stop <= len(data) else 0
            if stop > len(data):
                raise ValueError(f"a block of {self.name} runs past the end")
            number = int.from_bytes(data[at : at + 4], "big")
            if number in found:
                raise ValueError(f"enterprise {number} stands twice in {self.name}")
            try:
                found[number] = self._shape(number).decode(data[at + 5 : stop])
            except ValueError:
                found[number] = data[at + 5 : stop]
            at = stop
        if not found:
            raise ValueError(f"there is nothing in {self.name}")
        return found

    def encode(self, value: Any) -> bytes:
        """The blocks' bytes in the order of the mapping."""
        if isinstance(value, str):
            value = self.parse(value)
        pieces = []
        for key, each in value.items():
            number = int(key)
            data = self._shape(number).encode_plain(each)
            if len(data) > 255 or not 0 <= number < 1 << 32:
                raise ValueError(
                    f"enterprise {key} or its {len(data)} bytes do not fit"
                )
            pieces.append(number.to_bytes(4, "big") + bytes([len(data)]) + data)
        if not pieces:
            raise ValueError(f"there is nothing in {self.name}")
        return b"".join(pieces)

    def parse(self, text: str) -> dict[int, Any]:
        """The blocks from ``number: {…}; number: {…}``."""
        found = {}
        for each in apart(text, ";"):
            number, colon, words = each.partition(":")
            if not colon or not number.strip().isdigit():
                raise ValueError(f"{each!r} is not ENTERPRISE: {{…}}, and not hex:…")
            if int(number) in found:
                raise ValueError(f"{number.strip()} stands twice in {self.name}")
            found[int(number)] = part(self._shape(int(number)), words.strip())
        return found

    def format(self, value: Any) -> str:
        """The blocks one behind the other."""
        return "; ".join(
            f"{number}: {braced(self._text(number, each), '{};,') or '{}'}"
            for number, each in value.items()
        )

    def _text(self, number: int, value: Any) -> str:
        shape = self._shape(number)
        return shape.decode_text(
            value if isinstance(value, bytes) else shape.encode(value)
        )

    def plain(self, value: Any) -> dict[str, Any]:
        """The blocks as an object; its keys are the numbers, as text."""
        return {
            str(number): f"hex:{each.hex()}"
            if isinstance(each, bytes)
            else self._shape(number).plain(each)
            for number, each in value.items()
        }
