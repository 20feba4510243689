"""A disk as it may be found after a power cut, from what a process asked of the kernel.

What was written and synced is there.  Of what was written since, each sector may be
there or not.  A sync that fails loses what it should have kept: Linux says so once, and
then takes the pages for clean (they are read back as if they were on disk).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from promises import FILE

from lab.strace import Call


SECTOR = 512

SYNCS = ("fdatasync", "fsync")

# What is understood; nothing else may be done to the files.
LOOKED_AT = ("pwrite64", "ftruncate", "unlink", *SYNCS)


@dataclass
class File:
    """One file.

    Attributes:
        kept: What is on disk for certain.
        waiting: Since then: data and where it goes, or None and the new length.
        before: What may still be found under its name, until the directory is synced;
            None for no such file.
        entered: Whether the directory was.
    """

    kept: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)
    before: bytes | None = None
    entered: bool = False

    def apply(self, at: int, data: bytes | None) -> None:
        """Do to what is kept what has been waiting."""
        _do(self.kept, at, data)

    def found(self, chance: Random) -> bytes | None:
        """Choose what a power cut leaves; None for no such file."""
        if not self.entered and chance.random() < 0.5:
            return self.before
        left = bytearray(self.kept)
        fate = chance.choice(("none", "all", "some"))
        for at, data in self.waiting:
            if data is None:
                if fate == "all" or (fate == "some" and chance.random() < 0.5):
                    _do(left, at, None)
            else:
                for start, part in _sectors(at, data):
                    if fate == "all" or (fate == "some" and chance.random() < 0.5):
                        _do(left, start, part)
        return bytes(left)


def _do(content: bytearray, at: int, data: bytes | None) -> None:
    length = at if data is None else max(len(content), at + len(data))
    del content[length:]
    content.extend(bytes(length - len(content)))
    if data is not None:
        content[at : at + len(data)] = data


def _sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    end = at + len(data)
    start = at
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, data[start - at : stop - at]
        start = stop


class Disk:
    """The lease file and its log, as the disk has them at each moment.

    Args:
        state: The state directory, where all is on disk when the story begins.
    """

    def __init__(self, state: Path) -> None:
        self._state = str(state)
        self._files: dict[str, File] = {}
        for name in (FILE, f"{FILE}-wal"):
            if (state / name).exists():
                content = bytearray((state / name).read_bytes())
                self._files[name] = File(content, entered=True)
        self._syncing: dict[int, int] = {}  # place of a sync: how many it will keep
        self._gone: dict[str, bytes] = {}

    def step(self, call: Call, *, begins: bool) -> None:
        """A system call begins, or has ended."""
        if begins:
            self._begin(call)
        else:
            self._end(call)

    def found(self, chance: Random, to: Path) -> None:
        """Write what a power cut now would leave."""
        for name in (FILE, f"{FILE}-wal"):
            (to / name).unlink(missing_ok=True)
            left = self._left(name, chance)
            if left is not None:
                (to / name).write_bytes(left)
        # Shared memory never is on a disk.
        (to / f"{FILE}-shm").unlink(missing_ok=True)

    def _left(self, name: str, chance: Random) -> bytes | None:
        if name in self._files:
            return self._files[name].found(chance)
        # Removed, but the directory has not been synced since.
        return self._gone.get(name) if chance.random() < 0.5 else None

    def _begin(self, call: Call) -> None:
        name = self._name(call)
        if call.name in SYNCS and name:
            self._syncing[call.begun] = len(self._file(name).waiting)

    def _end(self, call: Call) -> None:
        name = self._name(call)
        assert call.result is not None
        if call.name in SYNCS:
            if name:
                self._synced(self._files[name], call)
            elif call.path == self._state:
                # SQLite does not ask what has become of it, nor do we.
                for each in self._files.values():
                    each.entered = True
                self._gone.clear()
        elif name and call.result >= 0:
            doing: dict[str, Callable[[str, Call], None]] = {
                "pwrite64": self._written,
                "ftruncate": self._cut,
                "unlink": self._removed,
            }
            doing[call.name](name, call)

    def _name(self, call: Call) -> str:
        """The name of the file that a call is about; empty for others."""
        path = call.path
        for name in (FILE, f"{FILE}-wal"):
            if path == f"{self._state}/{name}":
                assert call.name in LOOKED_AT, f"{call.name} is not understood"
                return name
        return ""

    def _file(self, name: str) -> File:
        if name not in self._files:
            self._files[name] = File(before=self._gone.get(name))
        return self._files[name]

    def _written(self, name: str, call: Call) -> None:
        assert call.result is not None
        _, at = call.numbers
        self._file(name).waiting.append((at, call.data[: call.result]))

    def _cut(self, name: str, call: Call) -> None:
        (length,) = call.numbers
        self._file(name).waiting.append((length, None))

    def _removed(self, name: str, call: Call) -> None:
        file = self._files.pop(name, None)
        if file is not None and file.entered:
            self._gone[name] = bytes(file.kept)

    def _synced(self, file: File, call: Call) -> None:
        count = self._syncing.pop(call.begun)
        if call.result == 0:
            for at, data in file.waiting[:count]:
                file.apply(at, data)
        del file.waiting[:count]
