"""Leases to and from files, for ``dhcpctl``: what is read, sent and reported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import Any, TextIO

from ..lease import Lease, LeaseState, format_hardware, format_identifier
from ..leasefiles.found import Found
from ..leasefiles.kinds import READERS, recognised
from ..leasefiles.rows import FIELDS
from .client import ControlClient


#: What one call carries: an AMP value ends at 65,535 bytes.
_ROWS = 250
_BYTES = 48 << 10

#: Conflicts and lines without sense that a report names; the others it counts.
MOST_NAMED = 1000

_STATES = {
    LeaseState.BOUND: "bound",
    LeaseState.RELEASED: "released",
    LeaseState.DECLINED: "declined",
}


@dataclass(slots=True)
class Problem:
    """A lease that was not taken, or a line that is none.

    Attributes:
        line: Where in the file, from 1.
        address, client: Whose it is, as text; empty if that could not be made out.
        reason: Why not.
    """

    line: int
    address: str
    client: str
    reason: str


@dataclass(slots=True)
class Report:
    """What became of a file.

    Attributes:
        format: Whose file it was taken for.
        dry_run: Whether nothing was changed.
        taken, known, conflicts, unreadable: How many.
        ended: How many of those taken or known had ended already: their clients get the
            address back if nobody else has had it.
        problems: The conflicts and the unreadable lines, up to `MOST_NAMED`.
    """

    format: str
    dry_run: bool
    taken: int = 0
    known: int = 0
    ended: int = 0
    conflicts: int = 0
    unreadable: int = 0
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report for other programs."""
        return asdict(self)

    def _name(self, problem: Problem) -> None:
        if len(self.problems) < MOST_NAMED:
            self.problems.append(problem)

    def unread(self, found: Found) -> None:
        """Count a line that makes no sense."""
        self.unreadable += 1
        self._name(Problem(found.line, "", "", found.problem))

    def judged(self, found: Found, verdict: str, now: float) -> None:
        """Count what the server said of a lease."""
        lease = found.lease
        assert lease is not None
        if verdict in {"taken", "known"}:
            setattr(self, verdict, getattr(self, verdict) + 1)
            self.ended += not lease.held(now)
            return
        self.conflicts += 1
        client = format_hardware(lease.hardware) or format_identifier(lease.key)
        address = str(IPv4Address(lease.address))
        self._name(Problem(found.line, address, client, verdict))


def open_leases(path: Path, wanted: str) -> tuple[str, TextIO]:
    """A lease file and its format.

    Raises:
        ValueError: It cannot be read, or is none of the formats.
    """
    try:
        # Not every server writes names in UTF-8; none of their bytes may be lost.
        file = path.open(encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if wanted == "auto":
            wanted = recognised(file.read(4096))
            file.seek(0)
    except ValueError as error:
        file.close()
        raise ValueError(f"{path}: {error}") from None
    return wanted, file


async def import_leases(
    client: ControlClient,
    path: Path,
    wanted: str,
    now: float,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Read a file and have the server take it over, some leases at a time.

    Raises:
        ValueError: The file cannot be read.
        CommandError: The server refused or failed; what it took before, it has.
    """
    kind, file = open_leases(path, wanted)
    report = Report(kind, dry_run)
    waiting = []
    with file:
        for found in READERS[kind](file, now):
            if found.lease is None:
                report.unread(found)
            else:
                waiting.append(found)
    done = 0
    for page in _pages(waiting):
        rows = [row for _, row in page]
        verdicts = await client.import_leases(rows, dry_run=dry_run)
        for (found, _), verdict in zip(page, verdicts, strict=True):
            report.judged(found, verdict, now)
        done += len(page)
        if progress is not None:
            progress(done, len(waiting))
    return report


def _pages(
    waiting: list[Found],
) -> Iterator[list[tuple[Found, dict[str, Any]]]]:
    page: list[tuple[Found, dict[str, Any]]] = []
    size = 0
    for found in waiting:
        assert found.lease is not None
        row = row_of(found.lease)
        size += len(json.dumps(row)) + 1
        if page and (size > _BYTES or len(page) >= _ROWS):
            yield page
            page, size = [], len(json.dumps(row)) + 1
        page.append((found, row))
    if page:
        yield page


def row_of(lease: Lease) -> dict[str, Any]:
    """A lease as `ImportLeases` wants it."""
    return {
        "address": str(IPv4Address(lease.address)),
        "state": _STATES[lease.state],
        "hardware": format_hardware(lease.hardware),
        "client_id": ""
        if lease.key == lease.hardware
        else format_identifier(lease.key),
        "hostname": lease.hostname,
        "since": lease.since,
        "expires": None if lease.expires == inf else lease.expires,
        "relay": lease.relay.hex(),
    }


async def export_leases(
    client: ControlClient, out: TextIO, kind: str, subnet: str | None
) -> int:
    """Write the leases of a server, as they come; how many."""
    count = 0
    table = csv.DictWriter(out, FIELDS, extrasaction="ignore", lineterminator="\n")
    if kind == "csv":
        table.writeheader()
    async for lease in client.leases(subnet):
        count += 1
        if kind == "csv":
            table.writerow(lease)
        else:
            out.write(json.dumps({name: lease[name] for name in FIELDS}) + "\n")
    return count
