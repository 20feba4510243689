"""What reading the configuration again does, or would do, to a running server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import inf
from typing import Any

from ..lease import Lease, Reservation, format_holder
from ..wire.values import visible
from .written import Change, who_text


#: Leases and reservations of each kind that are named; the others are counted.
MOST_NAMED = 100


@dataclass(slots=True)
class Affected:
    """Clients or reservations that one thing happens to.

    Attributes:
        count: How many.
        named: The first of them, as other programs want them.
    """

    count: int = 0
    named: list[dict[str, Any]] = field(default_factory=list)

    def note(self, fields: dict[str, Any]) -> None:
        """One more."""
        self.count += 1
        if len(self.named) < MOST_NAMED:
            self.named.append(fields)


@dataclass(slots=True)
class Plan:
    """What a reload does.

    Attributes:
        source: Where the configuration is read from; empty if a program gave it.
        changes: What changes.
        restart: What would, but needs a restart.
        notes: What else whoever asks should know.
        stranded: Leases that cannot be renewed any more; they last to their end.
        moved: Clients that are sent to an address which is now reserved for them.
        waiting: Reservations whose address another client has.
        conflicts: Pushed reservations that are not in force for the file's.
        is_applied: Whether it has been done.
    """

    source: str
    changes: list[Change]
    restart: list[Change]
    notes: list[str] = field(default_factory=list)
    stranded: Affected = field(default_factory=Affected)
    moved: Affected = field(default_factory=Affected)
    waiting: Affected = field(default_factory=Affected)
    conflicts: Affected = field(default_factory=Affected)
    is_applied: bool = False

    def fields(self) -> dict[str, Any]:
        """For other programs; times are seconds since 1970, None for never."""
        return {
            "applied": self.is_applied,
            "source": self.source,
            "changes": list(map(_change_fields, self.changes)),
            "restart": list(map(_change_fields, self.restart)),
            "notes": self.notes,
            **{
                name: {"count": each.count, "named": each.named}
                for name, each in self.affected()
            },
        }

    def affected(self) -> list[tuple[str, Affected]]:
        """Those who are, by what happens to them."""
        return [
            ("stranded", self.stranded),
            ("moved", self.moved),
            ("waiting", self.waiting),
            ("conflicts", self.conflicts),
        ]

    def summary(self) -> str:
        """All of it in a line."""
        parts = [f"changed sections: {len(self.changes)}"]
        parts += [
            f"{_COUNTED[name]}: {each.count}"
            for name, each in self.affected()
            if each.count
        ]
        parts += [
            f"[{each.section}] {key} needs a restart"
            for each in self.restart
            for key, _, _ in each.keys
        ]
        return "; ".join(parts)


_COUNTED = {
    "stranded": "stranded leases",
    "moved": "clients to move",
    "waiting": "reservations that wait",
    "conflicts": "pushed reservations not in force",
}


def _change_fields(change: Change) -> dict[str, Any]:
    return {
        "section": change.section,
        "what": change.what,
        "keys": [{"key": key, "old": old, "new": new} for key, old, new in change.keys],
    }


def lease_fields(lease: Lease, why: str) -> dict[str, Any]:
    """A lease that something happens to, and why."""
    return {
        "address": str(IPv4Address(lease.address)),
        "client": format_holder(lease),
        "until": None if lease.expires == inf else lease.expires,
        "why": why,
    }


def reservation_fields(each: Reservation, why: str) -> dict[str, Any]:
    """A reservation that something happens to, and why."""
    return {
        "address": None if each.address is None else str(IPv4Address(each.address)),
        "client": who_text(each),
        "source": each.source,
        "why": why,
    }


def difference_lines(changes: Iterable[dict[str, Any]]) -> list[str]:
    """Changes as people read them: the ini file's lines that go, and that come."""
    lines = []
    for change in changes:
        mark = {"added": "+ ", "removed": "- "}.get(change["what"], "  ")
        lines.append(f"{mark}[{change['section']}]")
        for each in change["keys"]:
            for sign, value in (("-", each["old"]), ("+", each["new"])):
                if value is not None:
                    lines.append(f"{sign} {each['key']} = {value}")
    return list(map(visible, lines))
