"""What arguments of commands are made of, and those that many commands have."""

from __future__ import annotations

import json
from typing import Any

from twisted.protocols import amp

from .errors import InvalidRequest


class JSON(amp.Argument):
    """A value of JSON, in UTF-8."""

    def toString(self, inObject: Any) -> bytes:  # noqa: N803 - amp's name
        """See `amp.Argument`."""
        return json.dumps(inObject, separators=(",", ":")).encode()

    def fromString(self, inString: bytes) -> Any:  # noqa: N803 - amp's name
        """See `amp.Argument`; raises ``ValueError`` for anything else than JSON."""
        try:
            return json.loads(inString)
        except RecursionError:
            raise ValueError("too deep") from None


class _Named(amp.Argument):
    """An argument of a command; an error about it names it."""

    def fromBox(self, name: bytes, strings: Any, objects: Any, proto: Any) -> None:
        try:
            super().fromBox(name, strings, objects, proto)
        except KeyError:
            raise InvalidRequest(f"{name.decode()}: is missing") from None
        except ValueError as error:
            raise InvalidRequest(f"{name.decode()}: {error}") from None


class Text(_Named, amp.Unicode):
    """Text, in UTF-8."""


class Number(_Named, amp.Integer):
    """A whole number, in decimal digits."""


class Time(_Named, amp.Float):
    """Seconds since 1970."""


class Bytes(_Named, amp.String):
    """Bytes as they are."""


class Object(_Named, JSON):
    """A value of JSON."""


#: Who a reservation is for; one of them, or circuit_id and remote_id together.
#: Hardware addresses as ``00:11:22:33:44:55``, the rest as text or ``hex:…``.
WHO = [
    (b"hardware", Text(optional=True)),
    (b"client_id", Text(optional=True)),
    (b"circuit_id", Text(optional=True)),
    (b"remote_id", Text(optional=True)),
]


#: What every write may carry.  ``expect_revision``: do nothing, and fail with
#: `RevisionChanged`, if the source's reservations have another revision than this.
#: ``key``: any text of the caller's; the same request with the same key again, on any
#: connection within an hour, is answered as the first one was, and done once.
GUARD = [
    (b"expect_revision", Text(optional=True)),
    (b"key", Text(optional=True)),
]
