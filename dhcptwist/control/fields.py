"""What arguments of commands are made of, and those that many commands have."""

from __future__ import annotations

import json
from functools import cache
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


class Text(amp.Unicode):
    """Text, in UTF-8."""


class Number(amp.Integer):
    """A whole number, in decimal digits."""


class Time(amp.Float):
    """Seconds since 1970."""


class Bytes(amp.String):
    """Bytes as they are."""


class Object(JSON):
    """A value of JSON."""


class Command(amp.Command):
    """A command whose mistakes are told by the argument's name.

    What is read and written here is what `amp.Command` does, in a third of the time.
    """

    @classmethod
    def parseArguments(cls, box: Any, protocol: Any) -> dict[str, Any]:
        """See `amp.Command`; what is absent is None."""
        found: dict[str, Any] = {}
        for wire, argument in cls.arguments:
            text = box.get(wire)
            if text is not None:
                try:
                    found[_named(wire)] = argument.fromStringProto(text, protocol)
                except ValueError as error:
                    raise InvalidRequest(f"{wire.decode()}: {error}") from None
            elif argument.optional:
                found[_named(wire)] = None
            else:
                raise InvalidRequest(f"{wire.decode()}: is missing")
        return found

    @classmethod
    def makeResponse(cls, objects: dict[str, Any], proto: Any) -> amp.AmpBox:
        """See `amp.Command`."""
        box = amp.AmpBox()
        for wire, argument in cls.response:
            value = objects.get(_named(wire))
            if value is not None:
                box[wire] = argument.toStringProto(value, proto)
            elif not argument.optional:
                raise KeyError(wire)
        return box


@cache
def _named(wire: bytes) -> str:
    return wire.decode("ascii")


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
