"""`dhcpctl replace` and `sources`: whole sets of reservations."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import tables
from .client import ControlClient, InvalidRequest
from .errors import CommandError
from .reservation_files import UnusableLine, read
from .shell import REFUSED, show


#: Rows of what was refused or waits that are shown; the others are counted.
MOST_SHOWN = 1000


async def _replace(client: ControlClient, options: argparse.Namespace) -> None:
    # All of it is read before anything is asked: a file that is half right changes
    # nothing, and its mistakes are told by their lines.
    lines, rows = _read(options.file, options.format)
    with tables.Progress() as progress:
        try:
            replaced = await client.replace(
                rows,
                source=options.source,
                strict=options.strict or None,
                dry_run=options.dry_run or None,
                expect_revision=options.expect_revision,
                progress=lambda count: progress("staged", count, len(rows)),
            )
        except InvalidRequest as error:
            if "number" not in error.details:
                raise
            place = f"{options.file}:{lines[error.details['number']]}"
            raise CommandError(f"{place}: {error}; nothing changed") from None
    named: list[dict[str, Any]] = []
    if replaced.refused or replaced.waiting:
        only = ["refused", "waiting"]
        async for each in client.replaced(only):
            named.append(each)
            if len(named) == MOST_SHOWN:
                break
    document = {**asdict(replaced), "dry_run": options.dry_run, "named": named}
    show(options, document, _text)
    if replaced.refused or not (replaced.done or options.dry_run):
        raise SystemExit(REFUSED)


def _read(path: Path, kind: str | None) -> tuple[list[int], list[dict[str, Any]]]:
    if kind is None:
        kind = "csv" if path.suffix.lower() == ".csv" else "jsonl"
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    try:
        for line, row in read(_lines_of(path), kind):
            lines.append(line)
            rows.append(row)
    except UnusableLine as error:
        raise CommandError(f"{path}:{error.line}: {error}; nothing changed") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no text in UTF-8") from None
    return lines, rows


def _lines_of(path: Path) -> Iterator[str]:
    if str(path) == "-":
        yield from sys.stdin
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from file


def _text(found: dict[str, Any]) -> str:
    counts = ("added", "changed", "removed", "same", "refused", "waiting")
    words = ", ".join(f"{found[name]} {name}" for name in counts)
    if found["dry_run"]:
        words = f"it would be: {words}; nothing changed"
    elif not found["done"]:
        words = f"nothing changed: {words}"
    else:
        words += f"; revision {found['revision']}"
    table = tables.table(
        ("address", "client", "what", "why"), map(_row, found["named"])
    )
    more = found["refused"] + found["waiting"] - len(found["named"])
    rest = f"and {more} more" if more > 0 else ""
    return "\n".join(filter(None, (words, table, rest)))


def _row(each: dict[str, Any]) -> tuple[Any, ...]:
    keys = ("hardware", "client_id", "circuit_id", "remote_id")
    client = " ".join(each[key] for key in keys if each[key])
    if each["change"] == "refused":
        return each["address"] or "", client, "refused", each["message"]
    until = tables.moment(each.get("until"))
    why = f"{each['holder']} has it; that ends {until}"
    return each["address"] or "", client, "waiting", why


async def _sources(client: ControlClient, options: argparse.Namespace) -> None:
    show(options, await client.sources(), _table, "there are no reservations")


def _table(found: list[dict[str, Any]]) -> str:
    names = ("source", "reservations", "revision")
    return tables.table(names, ([each[name] for name in names] for each in found))


COMMANDS = {"replace": _replace, "sources": _sources}
