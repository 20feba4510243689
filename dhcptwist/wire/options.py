"""What options mean: each one's number, its name and the shape of its value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .registry import REGISTERED
from .values import OPAQUE, Shape


@dataclass(frozen=True, slots=True)
class OptionKind:
    """What an option is.

    A private option is described by making one of these, and may then stand wherever
    the name or number of a registered one may.

    Attributes:
        code: Its number, 1 to 254.
        name: ISC dhcpd's and Kea's name for it.
        shape: How its value reads and writes.
        source: The RFC that defines it.
    """

    code: int
    name: str
    shape: Shape = OPAQUE
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.code < 255:
            raise ValueError(f"options have the numbers 1 to 254, not {self.code}")

    def decode(self, data: bytes) -> Any:
        """The value that the option's bytes stand for.

        Raises:
            ValueError: They do not fit its shape.
        """
        return self.shape.decode(data)

    def encode(self, value: Any) -> bytes:
        """The bytes for a value: itself, its text, what JSON made of it, or bytes.

        Raises:
            ValueError: It does not fit the option's shape.
        """
        if type(value) is bytes:
            return value
        try:
            return self.shape.encode_plain(value)
        except ValueError as error:
            raise ValueError(f"{self.name} ({self.code}): {error}") from None


class OptionTable(Mapping[int, OptionKind]):
    """Kinds of options by number; they are found by name, too.

    It never changes: `extended` makes another one.
    """

    def __init__(self, kinds: Iterable[OptionKind]) -> None:
        self._kinds = {kind.code: kind for kind in kinds}
        self._by_name = {kind.name: kind for kind in self._kinds.values()}

    def __getitem__(self, code: int) -> OptionKind:
        return self._kinds[code]

    def __iter__(self) -> Iterator[int]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def kind(self, option: str | int | OptionKind) -> OptionKind:
        """What the option of this name or number is.

        One that is in no table is bytes, and is called ``option-N``.

        Raises:
            ValueError: There is no option of that name, or the number is not 1 to 254.
        """
        if isinstance(option, OptionKind):
            return option
        if type(option) is int and option in self._kinds:
            return self._kinds[option]
        text = str(option).strip()
        if text in self._by_name:
            return self._by_name[text]
        number = text.removeprefix("option-")
        if not (number.isascii() and number.isdigit()):
            raise ValueError(f"there is no option named {text!r}")
        number = number.lstrip("0") or "0"
        if len(number) > 3:
            raise ValueError(f"options have the numbers 1 to 254, not {number}")
        code = int(number)
        return self._kinds.get(code) or OptionKind(code, f"option-{code}")

    def extended(self, *kinds: OptionKind) -> OptionTable:
        """A table with these kinds as well; they win over those of the same number."""
        codes = {kind.code for kind in kinds}
        kept = [kind for kind in self._kinds.values() if kind.code not in codes]
        return OptionTable([*kept, *kinds])


#: The registered options.  One that is not here is bytes, and survives as bytes.
OPTION_KINDS = OptionTable(OptionKind(*row) for row in REGISTERED)

#: What the option of a name or number is (`OptionTable.kind` of the registered ones).
option_kind = OPTION_KINDS.kind
