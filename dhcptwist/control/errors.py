"""What a command may fail with: declared, typed, and with what the caller needs.

An error's description is a JSON object: ``message`` for people, and what the error's own
docstring names.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar


#: Characters that the message of an error may have: a value ends at 65,535 bytes.
_LONGEST = 2000


class CommandError(Exception):
    """A command was not done.

    Attributes:
        message: Why, for people.
        details: What the error carries for programs.
    """

    #: The error's code on the wire.
    code: ClassVar[bytes] = b"ERROR"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_wire(self) -> str:
        """The error's description on the wire."""
        message = self.message
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + "…"
        return json.dumps({"message": message, **self.details})

    @classmethod
    def from_wire(cls, text: str) -> CommandError:
        """The error from its description."""
        try:
            fields = json.loads(text)
            message = fields.pop("message")
        except (ValueError, AttributeError, KeyError, TypeError):
            return cls(text)
        return cls(str(message), **fields)


class InvalidRequest(CommandError):  # noqa: N818 - the name is the contract
    """An argument makes no sense; the message says which and why."""

    code = b"INVALID_REQUEST"


class NotPermitted(CommandError):  # noqa: N818
    """The certificate's role may not do that."""

    code = b"NOT_PERMITTED"


class NotFound(CommandError):  # noqa: N818
    """There is no such lease, reservation, subnet or identity."""

    code = b"NOT_FOUND"


class AddressInUse(CommandError):  # noqa: N818
    """``on_conflict`` is ``refuse`` and somebody has the address; nothing changed.

    Carries ``holder`` (text) and ``until`` (seconds since 1970; null for never).
    """

    code = b"ADDRESS_IN_USE"


class ReservedByOther(CommandError):  # noqa: N818
    """The address or the client is reserved, and not by this source or client.

    Carries ``source``, whose reservation is in the way.
    """

    code = b"RESERVED_BY_OTHER"


class RevisionChanged(CommandError):  # noqa: N818
    """The source's reservations are not what the caller takes them for; nothing changed.

    Carries ``revision``, which they have now.
    """

    code = b"REVISION_CHANGED"


class NotSupported(CommandError):  # noqa: N818
    """This server's storage cannot do that."""

    code = b"NOT_SUPPORTED"


class StorageFailed(CommandError):  # noqa: N818
    """The storage could not keep it; nothing changed."""

    code = b"STORAGE_FAILED"


class TooMany(CommandError):  # noqa: N818
    """The role has asked as often as it may for now; nothing was done.

    Carries ``retry_after``: the seconds after which it may ask again.
    """

    code = b"TOO_MANY"


class InvalidConfiguration(CommandError):  # noqa: N818
    """The configuration has mistakes; the old one is in force.

    Carries ``source`` (the file's name, or empty), ``count`` and ``problems``: each with
    line, section, key and reason, as many as one answer can hold.
    """

    code = b"INVALID_CONFIGURATION"


#: What every command may fail with, by its code.
ERRORS: dict[type[Exception], bytes] = {
    error: error.code
    for error in (
        InvalidRequest,
        NotPermitted,
        NotFound,
        AddressInUse,
        ReservedByOther,
        RevisionChanged,
        NotSupported,
        StorageFailed,
        TooMany,
        InvalidConfiguration,
    )
}
