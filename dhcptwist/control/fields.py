"""What arguments of commands are made of, and those that many commands have."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from twisted.protocols import amp

from .errors import InvalidRequest


class Documented(amp.Argument):
    """A part of a command or an answer, and what it means.

    Args:
        optional: Whether it may be left out.
        doc: What it means, with its unit; docs/control-reference.md is made of it.
    """

    def __init__(self, *, optional: bool = False, doc: str = "") -> None:
        super().__init__(optional)
        self.doc = doc


class Unicode(Documented, amp.Unicode):
    """Text, in UTF-8."""


class Integer(Documented, amp.Integer):
    """A whole number, in decimal digits."""


class Float(Documented, amp.Float):
    """A number, in decimal digits, with a point or an exponent."""


class Boolean(Documented, amp.Boolean):
    """``True`` or ``False``, just so."""


class JSON(Documented):
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


class Text(Unicode):
    """Text, in UTF-8."""


class Number(Integer):
    """A whole number, in decimal digits."""


class Time(Float):
    """Seconds since 1970, in decimal digits, with a point or an exponent."""


class Flag(Boolean):
    """``True`` or ``False``, just so."""

    def fromString(self, inString: bytes) -> bool:  # noqa: N803 - amp's name
        """See `amp.Argument`; raises ``ValueError`` for anything else."""
        if inString not in (b"True", b"False"):
            raise ValueError("must be True or False")
        return inString == b"True"


class Bytes(Documented, amp.String):
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
WHO = [
    (
        b"hardware",
        Text(
            optional=True,
            doc="A client by its hardware address, like ``00:11:22:33:44:55``; or",
        ),
    ),
    (
        b"client_id",
        Text(optional=True, doc="by its client identifier, text or ``hex:…``; or"),
    ),
    (
        b"circuit_id",
        Text(optional=True, doc="by its relay's port (option 82), text or ``hex:…``,"),
    ),
    (
        b"remote_id",
        Text(optional=True, doc="with or without this, text or ``hex:…``."),
    ),
]

#: Whose leases are looked for.
WHOSE = [
    (b"address", Text(optional=True, doc="An address; or")),
    (
        b"hardware",
        Text(optional=True, doc="a hardware address, like ``00:11:22:33:44:55``; or"),
    ),
    (
        b"client_id",
        Text(optional=True, doc="a client identifier, text or ``hex:…``."),
    ),
]

#: Do nothing if somebody else was faster.
EXPECT = (
    b"expect_revision",
    Text(
        optional=True,
        doc="Do nothing, and fail with `RevisionChanged`, if the source's reservations"
        " have another revision than this.",
    ),
)

#: What every write may carry.
GUARD = [
    EXPECT,
    (
        b"key",
        Text(
            optional=True,
            doc="Any text of the caller's, of up to 200 characters; the same request with"
            " the same key again, on any connection within an hour, is answered as the"
            " first one was, and done once.",
        ),
    ),
]

#: Whose reservations a command is about.
SOURCE = [
    (
        b"source",
        Text(
            optional=True,
            doc="Whose; absent: the first of the role's, or the certificate's name.",
        ),
    )
]

LIMIT = (
    b"limit",
    Number(optional=True, doc="Rows of a page, 1 or more; never more than 500 come."),
)

#: Which page of a list.
PAGE = [
    (
        b"after",
        Text(optional=True, doc="``next`` of the page before; absent: the first page."),
    ),
    LIMIT,
]

NEXT = (
    b"next",
    Unicode(
        optional=True,
        doc="Give it as ``after`` for the next page; absent: there is none.",
    ),
)

REVISION = (b"revision", Unicode(doc="Of the source, from now on."))
