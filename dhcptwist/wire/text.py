"""A message as lines that a person reads at a glance, and that parse back.

::

    op      request
    htype   ethernet
    hops    0
    xid     0x3903f326
    secs    0
    flags   broadcast
    ciaddr  0.0.0.0
    yiaddr  0.0.0.0
    siaddr  0.0.0.0
    giaddr  0.0.0.0
    chaddr  00:05:3c:04:8d:59
    options
       53  dhcp-message-type       request
       50  dhcp-requested-address  192.0.2.9
       12  host-name               hex:706300
           # pc

What is usual is not written: that ``sname`` and ``file`` are empty, that the options
end with END and that zeros follow it up to 300 bytes.  Other lines there may be:

* ``hlen``, if it is not the number of bytes of ``chaddr``; ``padding``, the bytes of that
  field behind the address; ``size`` of the whole message, whatever is missing being zeros;
* ``vendor``, what stands in the place of cookie and options; ``before-cookie``, what comes
  before a late cookie;
* ``options in file`` and ``options in sname``, headings like ``options``;
* under these: ``pad N``; ``end N``, so many ENDs, or ``end missing``; ``rest hex:…``, what is
  not read because it stands behind END or is cut off.

An option that comes in other pieces than RFC 3396's has a line for each, in hexadecimal.
Lines that begin with ``#`` are comments.  One that is indented by six characters more than
the line before goes on with its value, but for headings, which have none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from .message import Message
from .options import OPTION_KINDS, OptionKind, OptionTable
from .parts import AREAS, FIELDS, Part, UnfitPart, put_together, take_apart
from .values import Text, unhex, visible


#: Lines are broken to have at most this many characters, where they can be.
WIDTH = 88

#: A line that stands so much more to the right than the one before belongs to it.
_ONWARDS = 6


def to_text(message: Message, kinds: OptionTable = OPTION_KINDS) -> str:
    """A message as lines; `from_text` gives the same message, byte for byte.

    Args:
        message: Any message.
        kinds: Names and shapes of the options.
    """
    fields, areas = take_apart(message.raw)
    width = max(map(len, fields))
    lines: list[str] = []
    for name, data in fields.items():
        words = FIELDS[name].decode_text(data)
        lead = f"{name:{width}}  "
        if not words.startswith("hex:"):
            lines.append(f"{lead}{words}")
            continue
        lines += _broken(lead, words)
        told = visible(data.partition(b"\0")[0].decode("utf-8", "backslashreplace"))
        if told and name in {"sname", "file"}:
            lines.append(f"{' ' * len(lead)}# {told}")
    last = {part.code: part for parts in areas.values() for part in parts}
    for area, parts in areas.items():
        lines.append("options" if area == "options" else f"options in {area}")
        lines += _area(parts, kinds, last, message.options)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _area(
    parts: list[Part],
    kinds: OptionTable,
    last: Mapping[int, Part],
    values: Mapping[int, bytes],
) -> Iterator[str]:
    """The lines of an area of options."""
    names = [
        kinds.kind(part.code).name if part.word == "option" else part.word
        for part in parts
    ]
    width = max(map(len, names), default=0)
    for name, part in zip(names, parts, strict=True):
        lead = f"      {name:{width}}  "
        if part.word == "pad":
            yield f"{lead}{part.times}"
        elif part.word == "end":
            yield f"{lead}{part.times or 'missing'}"
        elif part.word == "rest":
            yield from _broken(lead, f"hex:{part.data.hex()}")
        else:
            lead = f"  {part.code:3}  {name:{width}}  "
            kind = kinds.kind(part.code)
            words = _value(kind, part)
            if words.startswith("hex:") or not isinstance(kind.shape, Text):
                yield from _broken(lead, words)
            else:
                yield f"{lead}{words}"
            if last[part.code] is not part:
                continue  # it is said below the last piece
            remark = _remark(kind, part, words, values[part.code])
            yield from textwrap.wrap(
                remark,
                max(WIDTH, len(lead) + 40),
                initial_indent=" " * len(lead) + "# ",
                subsequent_indent=" " * len(lead) + "# ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def _value(kind: OptionKind, part: Part) -> str:
    if part.whole:
        words = kind.shape.decode_text(part.data)
        if words.isprintable() and words == words.strip():
            return words
    return f"hex:{part.data.hex()}"


def _remark(kind: OptionKind, part: Part, words: str, whole: bytes) -> str:
    """What helps to understand a value that the line itself does not make plain."""
    if words.startswith("hex:"):
        told = visible(kind.shape.describe(whole))
        if not told.startswith("hex:"):
            return told if part.whole else f"all pieces: {told}"
        if len(whole) > 2 and whole.isascii() and whole.decode().isprintable():
            return f'"{whole.decode()}"'
    return ""


def _broken(lead: str, words: str) -> Iterator[str]:
    """A value on as many lines as it needs; their joined words are the value."""
    room = max(WIDTH - len(lead), 40)
    if len(words) <= room:
        yield f"{lead}{words}"
        return
    if words.startswith("hex:"):
        room = (room - 4) // 2 * 2
        rows = [words[4:][at : at + room] for at in range(0, len(words) - 4, room)]
        rows[0] = f"hex:{rows[0]}"
    else:
        rows = _listed(words, room)
        if any(not row or row != row.strip() for row in rows):
            rows = [words]  # the blanks would be lost
    yield f"{lead}{rows[0]}"
    for row in rows[1:]:
        yield f"{' ' * len(lead)}{row}"


def _listed(words: str, room: int) -> list[str]:
    """A list cut behind commas and semicolons to fit, and outside braces behind each ;."""
    rows = [""]
    depth = 0
    for each in words.split(" "):
        full = rows[-1].endswith((",", ";")) and len(rows[-1]) + 1 + len(each) > room
        if full or (rows[-1].endswith(";") and not depth):
            rows.append(each)
        else:
            rows[-1] += f" {each}"
        depth += each.count("{") - each.count("}")
    return [rows[0][1:], *rows[1:]]


def from_text(text: str, kinds: OptionTable = OPTION_KINDS) -> Message:
    """The message that a text describes.

    The text may be written by hand: fields in any order, options by number, by name or
    by both.  Fields that are not given are zero, but ``op`` is a request and ``htype``
    Ethernet.  If there is neither an option nor the word ``options``, it is plain BOOTP.

    Args:
        text: What `to_text` wrote, or a person.
        kinds: Names and shapes of the options.

    Raises:
        ValueError: It describes no message; it says which line, and what was expected.
    """
    fields: dict[str, bytes] = {}
    areas: dict[str, list[Part]] = {}
    area = "options"
    places: dict[str, int] = {}
    number = 0
    for number, line in _lines(text):
        try:
            word, value = _split(line)
            if word in FIELDS:
                fields[word] = _field(word, value, fields)
                places[word] = number
            elif word == "options":
                area = _heading(value)
                areas.setdefault(area, [])
                places.setdefault(area, number)
            else:
                areas.setdefault(area, []).append(_part(word, value, kinds))
                places.setdefault(area, number)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    try:
        return Message(put_together(fields, areas))
    except UnfitPart as error:
        line_number = places.get(error.place, number)
        raise ValueError(f"line {line_number}: {error}") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers; values put together again."""
    found: list[tuple[int, list[str]]] = []
    onwards = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        if not words or words.startswith("#"):
            continue
        if found and indent >= onwards and not found[-1][1][0].startswith("options"):
            found[-1][1].append(words)
        else:
            found.append((number, [words]))
            onwards = indent + _ONWARDS
    for number, rows in found:
        yield number, " ".join(rows)


def _split(line: str) -> tuple[str, str]:
    word, *value = line.split(None, 1)
    return word, "".join(value)


def _field(name: str, value: str, known: Mapping[str, bytes]) -> bytes:
    if name in known:
        raise ValueError(f"{name} stands twice")
    try:
        return FIELDS[name].encode_text(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _heading(value: str) -> str:
    area = value.removeprefix("in ").strip() or "options"
    if area not in AREAS:
        raise ValueError(f"options stand in file or in sname, not {value!r}")
    return area


def _part(word: str, value: str, kinds: OptionTable) -> Part:
    if word == "pad":
        return Part("pad", times=_count(value or "1"))
    if word == "end":
        return Part("end", times=0 if value == "missing" else _count(value or "1"))
    if word == "rest":
        return Part("rest", data=unhex(value))
    try:
        kind = kinds.kind(word)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected {', '.join(FIELDS)}, options, pad, end, rest,"
            " or an option by number or name"
        ) from None
    for name in (kind.name, f"option-{kind.code}"):
        if word != name and (value == name or value.startswith(f"{name} ")):
            value = value[len(name) :].strip()
            break
    try:
        return Part("option", kind.code, kind.shape.encode_text(value))
    except ValueError as error:
        raise ValueError(f"{kind.name} ({kind.code}): {error}") from None


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value[:6]) < 1 << 16):
        raise ValueError(f"{value!r} is not a number of bytes")
    return int(value)
