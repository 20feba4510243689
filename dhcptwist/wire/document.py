"""A message as a document of JSON's own types, and back.

::

    {
      "op": "request", "htype": "ethernet", "hops": 0,
      "xid": "0x3903f326", "secs": 0, "flags": "broadcast",
      "ciaddr": "0.0.0.0", "yiaddr": "0.0.0.0",
      "siaddr": "0.0.0.0", "giaddr": "0.0.0.0",
      "chaddr": "00:05:3c:04:8d:59",
      "options": [
        {"code": 53, "name": "dhcp-message-type", "value": "discover"},
        {"code": 50, "name": "dhcp-requested-address", "value": "192.0.2.9"}
      ]
    }

``op``, ``htype`` and ``flags`` are names, or numbers where there is no name (flags then
are hexadecimal text).  The keys above are always there but for ``options``: no such key
means no magic cookie.  A ``value`` has the shape of its option (`values.Shape.plain`), or
is text ``hex:…`` if the bytes have no other form that keeps them, or are one of several
pieces of an option.

These keys are there only if there is something to say:

* ``sname`` and ``file``: text, or ``hex:…`` without the zeros at the end;
* ``padding``: the bytes of ``chaddr`` behind the address, ``hex:…``;
* ``vendor``: what stands in the place of cookie and options, ``hex:…``;
* ``before-cookie``: what comes before a late cookie, ``hex:…``;
* ``size``: the bytes of the whole message, if there are not 300 or as many more as it
  needs; what is missing at the end are zeros.

In the list of options there may also be:

* ``{"pad": 3}``: so many pads, but for the zeros behind END;
* ``{"end": 2}``: so many ENDs; 1 is implied; 0 means that END is missing;
* ``{"rest": "hex:…"}``: what is not read, because it stands behind END or is cut off.

Each entry that stands in another field (option 52) has ``"area": "file"`` or ``"sname"``.

Documents may be written by hand: keys that are missing are zero, but ``op`` is a request
and ``htype`` Ethernet; ``hlen`` may be given; an option needs its ``code`` or its ``name``;
and ``options`` may be an object of names or numbers and values.  The keys ``capture`` and
``diagnostics`` are not looked at, so that others may put there what they know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .message import Message
from .options import OPTION_KINDS, OptionTable
from .parts import AREAS, FIELDS, Part, UnfitPart, put_together, take_apart
from .values import OPAQUE


#: Keys for what is known of a message and is not in it.
BESIDE = frozenset({"capture", "diagnostics"})


def to_document(message: Message, kinds: OptionTable = OPTION_KINDS) -> dict[str, Any]:
    """A message in JSON's own types; `from_document` gives the same, byte for byte.

    Args:
        message: Any message.
        kinds: Names and shapes of the options.
    """
    fields, areas = take_apart(message.raw)
    document = {name: FIELDS[name].decode_plain(data) for name, data in fields.items()}
    if areas:
        document["options"] = [
            _entry(part, kinds) | ({"area": area} if area != "options" else {})
            for area, parts in areas.items()
            # Of a field that is there and holds nothing something must be said.
            for part in parts or [Part("end", times=1)][: area != "options"]
        ]
    return document


def _entry(part: Part, kinds: OptionTable) -> dict[str, Any]:
    if part.word == "rest":
        return {"rest": f"hex:{part.data.hex()}"}
    if part.word != "option":
        return {part.word: part.times}
    kind = kinds.kind(part.code)
    value = (kind.shape if part.whole else OPAQUE).decode_plain(part.data)
    return {"code": part.code, "name": kind.name, "value": value}


def from_document(
    document: Mapping[str, Any], kinds: OptionTable = OPTION_KINDS
) -> Message:
    """The message that a document describes.

    Args:
        document: What `to_document` made, or a person.
        kinds: Names and shapes of the options.

    Raises:
        ValueError: It describes no message; it says where, and what was expected.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"a message is an object, not {document!r}")  # noqa: TRY004
    fields = {}
    areas: dict[str, list[Part]] = {}
    for name, value in document.items():
        if name in FIELDS:
            try:
                fields[name] = FIELDS[name].encode_plain(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        elif name == "options":
            areas = _areas(value, kinds)
        elif name not in BESIDE:
            raise ValueError(
                f"{name!r} is no field; expected {', '.join(FIELDS)} or options"
            )
    try:
        return Message(put_together(fields, areas))
    except UnfitPart as error:
        raise ValueError(f"{error.place}: {error}") from None


def _areas(value: Any, kinds: OptionTable) -> dict[str, list[Part]]:
    if isinstance(value, Mapping):
        value = [{"name": name, "value": each} for name, each in value.items()]
    if not isinstance(value, list | tuple):
        raise ValueError(f"options: a list or an object, not {value!r}")  # noqa: TRY004
    areas: dict[str, list[Part]] = {"options": []}
    for at, entry in enumerate(value):
        try:
            area = entry.get("area", "options")
            if area not in AREAS:
                raise ValueError(f"area is {', '.join(AREAS)}, not {area!r}")  # noqa: TRY301
            areas.setdefault(area, []).append(_part(entry, kinds))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"options[{at}]: {error}") from None
    return areas


def _part(entry: Mapping[str, Any], kinds: OptionTable) -> Part:
    for word in ("pad", "end"):
        if word in entry:
            count = entry[word]
            if type(count) is not int or not 0 <= count < 1 << 16:
                raise ValueError(f"{word}: {count!r} is not a number of bytes")
            return Part(word, times=count)
    if "rest" in entry:
        return Part("rest", data=OPAQUE.encode_plain(entry["rest"]))
    if "value" not in entry or not {"code", "name"} & set(entry):
        raise ValueError(
            f"{entry!r} is no option with code or name and a value, nor pad, end or rest"
        )
    kind = kinds.kind(entry["code"] if "code" in entry else entry["name"])
    return Part("option", kind.code, kind.encode(entry["value"]))


def to_json(
    message: Message,
    kinds: OptionTable = OPTION_KINDS,
    *,
    indent: int | None = None,
) -> str:
    """A message as JSON in ASCII: `to_document`.

    Args:
        message: Any message.
        kinds: Names and shapes of the options.
        indent: Blanks per level; None for all on one line.
    """
    return json.dumps(to_document(message, kinds), indent=indent)


def from_json(text: str | bytes, kinds: OptionTable = OPTION_KINDS) -> Message:
    """The message that JSON describes: `from_document`.

    Raises:
        ValueError: It is no JSON, or describes no message.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    return from_document(document, kinds)
