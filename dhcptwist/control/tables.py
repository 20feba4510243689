"""What people read: lists as tables, times as words."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Self

from ..wire.message import printable


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns under their heads, each as wide as it must be; "" for no rows.

    What a client calls itself is in there, so nothing that could move a cursor is.
    """
    cells = [[printable(str(cell).encode()) or "-" for cell in row] for row in rows]
    if not cells:
        return ""
    lines = [[head.upper() for head in heads], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def pairs(values: Iterable[tuple[str, Any]]) -> str:
    """Names and values below each other."""
    rows = [(f"{name}:", printable(str(value).encode())) for name, value in values]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that fit: ``3d 4h``, ``12m 30s``."""
    left = int(max(seconds, 0))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def moment(when: float | None, now: float | None = None) -> str:
    """When something ends, from now: ``in 3h 10m``, ``2d 1h ago``, ``never``."""
    if when is None:
        return "never"
    left = when - (time.time() if now is None else now)
    return f"in {duration(left)}" if left >= 0 else f"{duration(-left)} ago"


def leases(found: Iterable[dict[str, Any]]) -> str:
    """Leases as a table."""
    heads = ("address", "state", "client", "name", "ends", "subnet")
    return table(heads, map(_lease, found))


def _lease(lease: dict[str, Any]) -> tuple[Any, ...]:
    client = lease["hardware"] or lease["client_id"]
    ends = "" if lease["state"] == "released" else moment(lease["expires"])
    name, subnet = lease["hostname"], lease["subnet"]
    return lease["address"], lease["state"], client, name, ends, subnet


def clock(when: float) -> str:
    """A time as the wall clock here shows it."""
    return datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def events(found: Iterable[dict[str, Any]]) -> str:
    """What happened, as a table."""
    heads = ("when", "what", "address", "client", "name", "until", "by")
    return table(heads, map(_event, found))


def event_line(event: dict[str, Any]) -> str:
    """What happened, in a line of its own."""
    if event["kind"] == "lost":
        return f"{event['lost']} events are no longer kept"
    when, kind, address, client, name, until, by = _event(event)
    line = f"{event['number']}  {when}  {kind:9}  {address or '-':15}  {client}"
    if name:
        line += f" ({name})"
    if until:
        line += f" until {until}"
    if by != "packet":
        line += f" by {by}"
    return printable(line.encode())


def _event(event: dict[str, Any]) -> tuple[Any, ...]:
    lasts = event["kind"] in {"bound", "renewed", "imported", "declined", "revoked"}
    until = "never" if event["expires"] is None else clock(event["expires"])
    ports = (event["circuit_id"], event["remote_id"])
    client = event["hardware"] or event["client_id"] or " ".join(filter(None, ports))
    if event["kind"] == "clock":
        client = f"set by {event['when'] - event['since']:+.0f} s"
    return (
        clock(event["when"]),
        event["kind"],
        event["address"] or "",
        client,
        event["hostname"],
        until if lasts else "",
        event["by"],
    )


def reservations(found: Iterable[dict[str, Any]]) -> str:
    """Reservations as a table."""
    heads = ("address", "client", "name", "source", "ends", "options")
    return table(heads, map(_reservation, found))


def _reservation(each: dict[str, Any]) -> tuple[Any, ...]:
    keys = ("hardware", "client_id", "circuit_id", "remote_id")
    client = " ".join(each[key] for key in keys if each[key])
    source = each["source"]
    if not each.get("in_force", True):
        source += " (not in force)"
    options = "; ".join(f"{name} {text}" for name, text in each["options"].items())
    return (
        each["address"] or "",
        client,
        each["hostname"],
        source,
        moment(each["expires"]),
        options,
    )


def report(found: dict[str, Any]) -> str:
    """What became of a lease file."""
    taken = "would be taken" if found["dry_run"] else "taken"
    rows = [
        ("read", f"{', '.join(found['files'])} ({found['format']})"),
        (taken, found["taken"]),
        ("known already", found["known"]),
        ("ended", found["ended"]),
        ("conflicts", found["conflicts"]),
        ("unreadable lines", found["unreadable"]),
    ]
    if found["failed"]:
        rows += [("failed", found["failed"]), ("missing", found["missing"])]
    several = len(found["files"]) > 1
    named = table(
        ("line", "address", "client", "why not"),
        (
            (
                f"{p['file']}:{p['line']}" if several else p["line"],
                p["address"],
                p["client"],
                p["reason"],
            )
            for p in found["problems"]
        ),
    )
    more = found["conflicts"] + found["unreadable"] - len(found["problems"])
    rest = f"and {more} more" if more else ""
    return "\n".join(filter(None, (pairs(rows), named and "\n" + named, rest)))


class Progress:
    """A bar on a terminal, and nothing anywhere else."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, what: str, done: int, of: int) -> None:
        """So much of it is done."""
        if self._what != what:
            self.__exit__()
            self._what = what
            self._bar = _bar(what, of)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)


def _bar(what: str, of: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        # Late, for most commands have no use for it; and none depends on it.
        from tqdm import tqdm  # noqa: PLC0415
    except ImportError:
        return None
    return tqdm(desc=what, total=of, unit_scale=True)


def status(figures: dict[str, Any]) -> str:
    """The server's figures."""
    packets, ends = figures["packets"], figures.get("control", {})
    parts: list[str] = [
        pairs(
            [
                ("version", figures["version"]),
                ("running for", duration(figures["uptime"])),
                ("port", figures["port"]),
                *((f"packets {kind}", _counts(each)) for kind, each in packets.items()),
                *figures.get("limits", {}).items(),
                *((f"control {what}", moment(end)) for what, end in ends.items()),
            ]
        )
    ]
    if "subnets" in figures:
        parts.append(_subnets(figures["subnets"]))
    if "storage" in figures:
        known = {"version", "uptime", "port", "packets", "limits", "control"}
        known |= {"subnets", "storage"}
        more = [(name, each) for name, each in figures.items() if name not in known]
        more += [(f"storage {name}", each) for name, each in figures["storage"].items()]
        if more:
            parts.append(pairs(more))
    return "\n\n".join(filter(None, parts))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _subnets(subnets: dict[str, dict[str, Any]]) -> str:
    states = ("bound", "expired", "released", "declined", "revoked")
    return table(
        ("subnet", "network", "pool", "reserved", *states),
        (
            (
                name,
                each["network"],
                each["pool"],
                each["reserved"],
                *(each.get(state, 0) for state in states),
            )
            for name, each in subnets.items()
        ),
    )
