"""The `dhcpctl` command that has the configuration read again."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..config.plan import difference_lines
from ..wire.values import visible
from . import tables
from .client import ControlClient, InvalidConfiguration
from .shell import REFUSED, print_json, show


async def _reload(client: ControlClient, options: argparse.Namespace) -> None:
    try:
        result = await client.reload(plan=options.plan)
    except InvalidConfiguration as error:
        if options.json:
            print_json(
                {"error": type(error).__name__, "message": str(error), **error.details}
            )
        sys.stderr.write("\n".join(_mistakes(error)) + "\n")
        raise SystemExit(REFUSED) from None
    show(options, result, _text)


def _mistakes(error: InvalidConfiguration) -> list[str]:
    """Each with the place that an editor goes to."""
    source = error.details["source"]
    lines = [f"dhcpctl: {error}"]
    for each in error.details["problems"]:
        place = ":".join(filter(None, [source, str(each["line"] or "")]))
        words = [
            place and f"{place}:",
            each["section"] and f"[{each['section']}]",
            each["key"] and f"{each['key']}:",
            each["reason"],
        ]
        lines.append(" ".join(filter(None, words)))
    more = error.details["count"] - len(error.details["problems"])
    if more:
        lines.append(f"and {more} more; twistd dhcp --check tells them all")
    return list(map(visible, lines))


def _text(result: dict[str, Any]) -> str:
    parts: list[list[str]] = [difference_lines(result["changes"])]
    if result["left_out"]:
        parts.append([f"and {result['left_out']} more sections"])
    if result["restart"]:
        parts.append(
            ["needs a restart, and is as it was until then:"]
            + [f"  {line}" for line in difference_lines(result["restart"])]
        )
    parts += [_affected(result[name], *words) for name, words in _KINDS.items()]
    parts += [[visible(note)] for note in result["notes"]]
    parts.append([_outcome(result)])
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


_KINDS = {
    "stranded": ("leases that their clients cannot renew any more", "until"),
    "moved": ("clients that get another address at their next contact", "until"),
    "waiting": ("reservations that wait until their address is free", "until"),
    "conflicts": ("pushed reservations that are not in force", "source"),
}


def _affected(found: dict[str, Any], words: str, third: str) -> list[str]:
    count, named = found["count"], found["named"]
    if not count:
        return []
    rows = tables.table(
        ("address", "client", third, "why"),
        (
            (
                each["address"] or "",
                each["client"],
                tables.moment(each["until"]) if third == "until" else each["source"],
                each["why"],
            )
            for each in named
        ),
    )
    lines = [f"{words}: {count}"]
    lines += [f"  {line}" for line in rows.splitlines()]
    if count > len(named):
        lines.append(f"  and {count - len(named)} more")
    return lines


def _outcome(result: dict[str, Any]) -> str:
    if result["applied"]:
        return "in force with the next packet"
    if result["changes"]:
        return "nothing was changed: this is what a reload would do"
    return "nothing changes"


COMMANDS = {"reload": _reload}
