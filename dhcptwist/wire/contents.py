"""What a message says: its options, read in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import suboptions
from .areas import Piece, beginning, size_limit, split, walk
from .codes import (
    CLIENT_ID,
    HOST_NAME,
    LEASE_TIME,
    MESSAGE_TYPE,
    PARAMETER_REQUEST_LIST,
    RELAY_AGENT_INFORMATION,
    REQUESTED_ADDRESS,
    SERVER_ID,
    MessageType,
)
from .diagnosis import Diagnostic, diagnose
from .fields import Fields
from .options import OPTION_KINDS, OptionKind
from .values import visible


_TYPES = [None, *MessageType]


class MalformedMessage(ValueError):  # noqa: N818 - the name is part of the promise
    """The bytes are not a DHCP message; the sender is to blame, never the caller.

    Attributes:
        reason: What is wrong, in words.
        offset: At which byte of the message.
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"{reason} (offset {offset})")
        self.reason = reason
        self.offset = offset

    def __reduce__(self) -> tuple[type[MalformedMessage], tuple[str, int]]:
        return type(self), (self.reason, self.offset)


class Contents(Fields):
    """The fixed fields and the options of a message.

    The options are taken apart on the first look at them.
    """

    __slots__ = ("_offsets", "_options")

    _offsets: dict[int, int]  # not there until `get` has to complain

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._options: dict[int, bytes] | None = None

    @property
    def options(self) -> Mapping[int, bytes]:
        """Option code to the option's joined bytes, in the order received.

        Empty where there is no magic cookie (plain BOOTP).
        """
        options = self._options
        if options is None:
            start = beginning(self.raw)
            options = self._options = split(self.raw, start) if start else {}
        return options

    def get(self, option: str | int | OptionKind, default: Any = None) -> Any:
        """An option's value in its own shape, or the default if it is not there.

        Raises:
            MalformedMessage: The option's bytes do not fit its shape.
            ValueError: There is no option of that name or number.
        """
        kind = OPTION_KINDS.kind(option)
        data = (self._options or self.options).get(kind.code)
        if data is None:
            return default
        try:
            return kind.shape.decode(data)
        except ValueError as error:
            offset = self._offset(kind.code)
            raise MalformedMessage(f"{kind.name}: {error}", offset) from None

    def _offset(self, code: int) -> int:
        """Where an option stands first.

        They are found all at once: to walk anew for each bad option would be quadratic.
        """
        try:
            return self._offsets[code]
        except AttributeError:
            self._offsets = {}
            missing = set(self.options)
            for piece in self.pieces():
                if piece.code in missing:
                    self._offsets[piece.code] = piece.offset
                    missing.discard(piece.code)
                    if not missing:
                        break
            return self._offsets[code]

    def pieces(self) -> Iterator[Piece]:
        """Everything behind the cookie as it stands there: `areas.walk`."""
        start = beginning(self.raw)
        return walk(self.raw, start) if start else iter(())

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What is odd about the message (`diagnosis.diagnose`), found anew each time."""
        return diagnose(self)

    @property
    def type(self) -> MessageType | None:
        """Option 53, or None for BOOTP and for types nobody has defined."""
        data = (self._options or self.options).get(MESSAGE_TYPE)
        return _TYPES[data[0]] if data and data[0] < len(_TYPES) else None

    def address(self, code: int) -> int:
        """An option that is one address, as a number; 0 if absent or cut off.

        A longer value is read by its first four bytes: servers that send an option
        twice produce such.
        """
        data = (self._options or self.options).get(code)
        return int.from_bytes(data[:4], "big") if data and len(data) >= 4 else 0

    @property
    def requested_address(self) -> int:
        """Option 50, or 0."""
        return self.address(REQUESTED_ADDRESS)

    @property
    def server_id(self) -> int:
        """Option 54, or 0."""
        return self.address(SERVER_ID)

    @property
    def lease_time(self) -> int | None:
        """Option 51 in seconds, ``0xFFFFFFFF`` for ever; None if absent or cut off."""
        data = (self._options or self.options).get(LEASE_TIME, b"")
        return int.from_bytes(data[:4], "big") if len(data) >= 4 else None

    @property
    def client_id(self) -> bytes:
        """Option 61; empty if absent or shorter than RFC 2132 9.14 allows (two)."""
        data = (self._options or self.options).get(CLIENT_ID, b"")
        return data if len(data) > 1 else b""

    @property
    def requested_options(self) -> bytes | None:
        """The codes of option 55 in the client's order; None if there is no list."""
        return (self._options or self.options).get(PARAMETER_REQUEST_LIST) or None

    @property
    def size_limit(self) -> int:
        """The most bytes that a reply to it may have (option 57, `areas.size_limit`)."""
        return size_limit(self._options or self.options)

    @property
    def host_name(self) -> str:
        """Option 12 as printable text; empty if there is none."""
        data = (self._options or self.options).get(HOST_NAME)
        return printable(data) if data else ""

    @property
    def relay_information(self) -> dict[int, bytes]:
        """The sub-options of option 82 by code."""
        data = (self._options or self.options).get(RELAY_AGENT_INFORMATION)
        return suboptions.split(data) if data else {}


def printable(data: bytes) -> str:
    r"""Text from the wire that is safe in a log, a table or a terminal.

    Trailing NULs go (RFC 2132 section 2); what cannot be printed becomes ``\xNN``.
    """
    return visible(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))
