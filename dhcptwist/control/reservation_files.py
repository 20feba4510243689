"""Files of reservations: JSON lines, or comma-separated values with a header.

The names are those of `Reserve`'s arguments, with dashes or without, and ``option.NAME``
for an option, as in the ini file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any


#: Columns that are text, as they may stand in a file.
_TEXTS = frozenset(
    {
        "address",
        "hardware",
        "client_id",
        "circuit_id",
        "remote_id",
        "hostname",
        "next_server",
        "boot_file",
        "server_name",
        "on_conflict",
    }
)

#: What `dhcpctl --json reservations` says besides, and nobody can ask for.
_TOLD = frozenset({"source", "expires", "in_force"})

_KNOWN = ", ".join(sorted(name.replace("_", "-") for name in _TEXTS))


class UnusableLine(ValueError):  # noqa: N818 - it says what it is
    """A line of a file is no reservation.

    Attributes:
        line: Which, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read(lines: Iterable[str], kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reservations, each with its line, as arguments of `Reserve`.

    Args:
        lines: The file's.
        kind: ``csv`` or ``jsonl``.

    Raises:
        UnusableLine: One makes no sense; what it says is looked at by the server.
    """
    for line, row in _csv(lines) if kind == "csv" else _json(lines):
        try:
            yield line, _reservation(row)
        except ValueError as error:
            raise UnusableLine(line, str(error)) from None


def _json(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UnusableLine(number, f"is no JSON: {error}") from None


def _csv(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(lines, strict=True)
    heads: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if heads is None:
                heads = [head.strip() for head in cells]
                if len(set(heads)) < len(heads):
                    raise UnusableLine(reader.line_num, "names a column twice")
                continue
            if len(cells) > len(heads):
                raise UnusableLine(
                    reader.line_num,
                    f"has {len(cells)} values, and the first line {len(heads)} names",
                )
            yield reader.line_num, dict(zip(heads, cells, strict=False))
    except csv.Error as error:
        raise UnusableLine(reader.line_num, str(error)) from None


def _reservation(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError("is no object")  # noqa: TRY004 - whatever is wrong with a line
    found: dict[str, Any] = {}
    options: dict[str, str] = {}
    for head, value in row.items():
        name = head.replace("-", "_").lower()
        if value is None or value == "" or name in _TOLD:
            continue
        if head.startswith("option."):
            options[head.removeprefix("option.")] = _text(head, value)
        elif name == "options":
            if not isinstance(value, dict):
                raise ValueError(f"{head}: is no object of names and texts")
            options |= {each: _text(each, text) for each, text in value.items()}
        elif name == "lifetime":
            found[name] = _number(head, value)
        elif name in _TEXTS:
            found[name] = _text(head, value)
        else:
            raise ValueError(
                f"{head}: there is no such column; there are {_KNOWN}, lifetime and"
                " option.NAME"
            )
    if options:
        found["options"] = options
    return found


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name}: is no text")  # noqa: TRY004 - as above
    return str(value).strip()


def _number(name: str, value: Any) -> int:
    text = _text(name, value)
    if not text.isdecimal():
        raise ValueError(f"{name}: is no number of seconds")
    return int(text)
