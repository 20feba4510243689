"""Reading ini text with the place of every word, and every mistake.

The standard library's reader stops at the first mistake and forgets line numbers; a
person who writes fifty subnets wants all mistakes at once, each with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..wire.values import visible


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is and what it is."""

    line: int
    section: str
    key: str
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        section = f"[{self.section}] " if self.section else ""
        text = f"{place}{section}{self.key + ': ' if self.key else ''}{self.reason}"
        return visible(text)


@dataclass(slots=True)
class Entry:
    """One ``key = value``; further lines of a value are kept apart."""

    line: int
    lines: list[str]

    @property
    def text(self) -> str:
        """The value on one line."""
        return " ".join(line for line in self.lines if line)


@dataclass(slots=True)
class Section:
    """One section.

    Attributes:
        kind: The first word of its heading: ``subnet``.
        name: The rest: ``office``; empty if there is none.
        line: Where it begins.
        entries: Key to value, keys in lower case.
    """

    kind: str
    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """What stands between the brackets."""
        return f"{self.kind} {self.name}".strip()


def read(text: str, problems: list[Problem]) -> list[Section]:
    """The sections of an ini text; mistakes are added to ``problems``.

    A line that begins with a blank continues the value above it.  ``;`` and ``#`` begin
    a comment at the start of a line or behind a blank.
    """
    sections: list[Section] = []
    known: set[str] = set()
    entry: Entry | None = None
    for number, raw in _lines(text):
        line = _without_comment(raw)
        if not line.strip():
            continue
        if raw[:1] in " \t" and entry is not None:
            entry.lines.append(line.strip())
            continue
        line = line.strip()
        entry = None
        if line.startswith("["):
            section = _section(line, number, problems)
            if section is None:
                continue
            if section.heading in known:
                problems.append(
                    Problem(number, section.heading, "", "this section is here twice")
                )
            known.add(section.heading)
            sections.append(section)
            continue
        key, equals, value = line.partition("=")
        first, *rest = key.split() or [""]
        first = first.lower()
        key = " ".join([first, *(rest if first == "role" else map(str.lower, rest))])
        if not equals:
            where = sections[-1].heading if sections else ""
            problems.append(Problem(number, where, "", f"{line!r} has no ="))
            continue
        entry = Entry(number, [value.strip()])
        if not sections:
            problems.append(Problem(number, "", key, "stands before any [section]"))
        elif key in sections[-1].entries:
            problems.append(Problem(number, sections[-1].heading, key, "is set twice"))
        else:
            sections[-1].entries[key] = entry
    return sections


def _section(line: str, number: int, problems: list[Problem]) -> Section | None:
    if not line.endswith("]"):
        problems.append(Problem(number, "", "", f"{line!r} lacks its ]"))
        return None
    words = line[1:-1].split(None, 1)
    if not words:
        problems.append(Problem(number, "", "", "a section without a name"))
        words = [""]
    return Section(words[0], words[1].strip() if words[1:] else "", number)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(re.split(r"\r\n|\n|\r", text.lstrip("\ufeff")), 1)


def _without_comment(line: str) -> str:
    for at, char in enumerate(line):
        if char in ";#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at]
    return line
