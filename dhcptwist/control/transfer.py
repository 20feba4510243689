"""Leases to and from files, for ``dhcpctl``: what is read, sent and reported."""

from __future__ import annotations

import csv
import gc
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from ..lease import Lease, LeaseState, format_hardware, format_identifier
from ..leasefiles import kea
from ..leasefiles.found import Found
from ..leasefiles.kinds import READERS, recognised
from ..leasefiles.rows import FIELDS
from .client import ControlClient, NoServer
from .errors import StorageFailed


#: Rows of one call; a client's leases go together, which may take some more.  An AMP value
#: ends at 65,535 bytes.
_ROWS = 250
_MOST_ROWS = 500
_BYTES = 48 << 10

#: Characters of a line at most; a file without ends of lines is none of ours.
_LONGEST_LINE = 1 << 16

#: Conflicts and lines without sense that a report names; the others it counts.
MOST_NAMED = 1000

_STATES = {
    LeaseState.BOUND: "bound",
    LeaseState.RELEASED: "released",
    LeaseState.DECLINED: "declined",
}
_COUNTED = frozenset({"taken", "known", "ended"})


#: Is told what is being done, how much of it is done, and of how much.
Progress: TypeAlias = "Callable[[str, int, int], None]"


@dataclass(slots=True)
class Problem:
    """A lease that was not taken, or a line that is none.

    Attributes:
        file: Its name.
        line: Where in the file, from 1.
        address: Whose it is, as text; empty if that could not be made out.
        client: Likewise.
        reason: Why not.
    """

    file: str
    line: int
    address: str
    client: str
    reason: str


@dataclass(slots=True)
class Report:
    """What became of a file.

    Attributes:
        format: Whose file it was taken for.
        files: The names of what was read.
        dry_run: Whether nothing was changed.
        taken: How many are ours now, those that have ended but are kept for their
            clients to come back among them.
        known: How many we had already, or better.
        ended: How many had ended and are not kept.
        conflicts: How many could not be taken.
        unreadable: Lines that make no sense.
        problems: The conflicts and the unreadable lines, up to `MOST_NAMED`.
        failed: Why it did not come to the end; empty if it did.
        missing: How many leases were not taken over then.  To do it all again is safe:
            what is there is known.
    """

    format: str
    files: list[str]
    dry_run: bool
    taken: int = 0
    known: int = 0
    ended: int = 0
    conflicts: int = 0
    unreadable: int = 0
    problems: list[Problem] = field(default_factory=list)
    failed: str = ""
    missing: int = 0

    @property
    def is_good(self) -> bool:
        """Whether every line was a lease that is taken care of."""
        return not (self.conflicts or self.unreadable or self.failed)

    def as_json(self) -> dict[str, Any]:
        """The report for other programs."""
        return asdict(self)

    def name(self, problem: Problem) -> None:
        """Name a problem, if there are not too many."""
        if len(self.problems) < MOST_NAMED:
            self.problems.append(problem)


class Lines:
    """The lines of some files behind each other.

    Bytes that are no UTF-8 become surrogate escapes: not every server writes names in
    it, and none of their bytes may be lost.

    Raises:
        ValueError: A file cannot be read; while reading, too.
    """

    def __init__(self, paths: list[Path], progress: Progress | None = None) -> None:
        self.paths = paths
        self.size = sum(path.stat().st_size for path in paths if path.exists())
        self._progress = progress
        self._begins: list[int] = []

    @staticmethod
    def open(path: Path) -> TextIO:
        """Open one file for reading."""
        try:
            # A mark at the beginning, as spreadsheets leave it in CSV, is passed over.
            return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None

    def __iter__(self) -> Iterator[str]:
        number = size = 0
        for path in self.paths:
            self._begins.append(number)
            with self.open(path) as file:
                while line := _read_line(file, path):
                    number += 1
                    size += len(line)
                    if self._progress is not None and number % 1000 == 0:
                        self._progress("reading", size, self.size)
                    yield line

    def place(self, number: int) -> tuple[str, int]:
        """The file and the line in it, by the number in all of them."""
        which = bisect_right(self._begins, number - 1) - 1
        return str(self.paths[which]), number - self._begins[which]


def _read_line(file: TextIO, path: Path) -> str:
    try:
        return file.readline(_LONGEST_LINE)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def lines_of(
    path: Path, wanted: str, progress: Progress | None = None
) -> tuple[str, Lines]:
    """The format of a lease file and its lines.

    Args:
        path: The file.
        wanted: Its format; ``auto`` to have it recognised.
        progress: Is told how far the reading is, in bytes.

    Raises:
        ValueError: It cannot be read, or is none of the formats.
    """
    with Lines.open(path) as file:
        if wanted == "auto":
            try:
                wanted = recognised(file.read(4096))
            except (OSError, ValueError) as error:
                raise ValueError(f"{path}: {error}") from None
    paths = kea.parts(path) if wanted == "kea" else [path]
    return wanted, Lines(paths, progress)


async def import_leases(
    client: ControlClient,
    path: Path,
    wanted: str,
    now: float,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Read a file and have the server take it over, some leases at a time.

    Raises:
        ValueError: The file cannot be read.
        CommandError: The server refuses.
        NoServer: The connection was lost before anything was sent.
    """
    kind, lines = lines_of(path, wanted, progress)
    report = Report(kind, list(map(str, lines.paths)), dry_run)
    found = _read(lines, READERS[kind](lines, now), report)
    # Of a client's leases the one that lasts longest is the one to take, so the
    # server should see them together.
    found.sort(key=_by_client)
    done = 0
    for page in _pages(found):
        rows = [row for _, row in page]
        try:
            verdicts = await client.import_leases(rows, dry_run=dry_run)
        except (NoServer, StorageFailed) as error:
            if not done and isinstance(error, NoServer):
                raise
            report.failed = f"leases {done + 1} to {done + len(page)}: {error}"
            report.missing = len(found) - done
            break
        for (each, _), verdict in zip(page, verdicts, strict=True):
            if verdict in _COUNTED:
                setattr(report, verdict, getattr(report, verdict) + 1)
            else:
                report.conflicts += 1
                report.name(_conflict(lines, each, verdict))
        done += len(page)
        if progress is not None:
            progress("leases", done, len(found))
    report.problems.sort(key=lambda each: (report.files.index(each.file), each.line))
    return report


def _read(lines: Lines, reader: Iterator[Found], report: Report) -> list[Found]:
    """The leases; what makes no sense is reported."""
    leases = []
    collecting = gc.isenabled()
    # A million objects that all stay are not worth looking for garbage in.
    gc.disable()
    try:
        for found in reader:
            if found.lease is not None:
                leases.append(found)
                continue
            report.unreadable += 1
            report.name(Problem(*lines.place(found.line), "", "", found.problem))
    finally:
        if collecting:
            gc.enable()
    return leases


def _by_client(found: Found) -> tuple[bytes, int]:
    assert found.lease is not None
    return found.lease.key, found.lease.address


def _conflict(lines: Lines, found: Found, verdict: str) -> Problem:
    lease = found.lease
    assert lease is not None
    client = format_hardware(lease.hardware) or format_identifier(lease.key)
    address = str(IPv4Address(lease.address))
    return Problem(*lines.place(found.line), address, client, verdict)


def _pages(found: list[Found]) -> Iterator[list[tuple[Found, dict[str, Any]]]]:
    """The leases in pieces of a size to send, a client's together."""
    page: list[tuple[Found, dict[str, Any]]] = []
    size = 0
    last = b""
    for each in found:
        assert each.lease is not None
        row = row_of(each.lease)
        length = len(json.dumps(row)) + 1
        full = len(page) >= _ROWS and each.lease.key != last
        if full or len(page) >= _MOST_ROWS or (page and size + length > _BYTES):
            yield page
            page, size = [], 0
        page.append((each, row))
        size += length
        last = each.lease.key
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


async def export_file(
    client: ControlClient, path: Path, kind: str, subnet: str | None
) -> int:
    """Write the leases of a server to a file; how many.

    The file is whole or as it was before: a half of it would be taken for all there is.

    Raises:
        ValueError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            count = await export_leases(client, out, kind, subnet)
        part.replace(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return count
