"""What a process asks of the kernel, in the order in which it does; and what if it fails."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.hosts import wait_until


#: Whatever can change a file of SQLite's, or tell a client something.
DISK = (
    "write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,"
    "ftruncate,fallocate,unlink,unlinkat,rename,renameat,renameat2"
)
WIRE = "recvfrom,recvmsg,recvmmsg,sendto,sendmsg,sendmmsg"

BEGUN = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)", re.DOTALL)
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)")
ENDED = re.compile(
    r"(?P<arguments>.*)\) += (?P<result>-?\d+)(?:<[^>]*>)?"
    r"(?: E[A-Z0-9]+ \([^)]*\))?(?: \((?:INJECTED|DELAYED)\))*"
)
# A process that is killed at the edge of a call leaves one without a name.
SIGNAL = re.compile(r"\d+ +(--- |\+\+\+ |\?\?\?\(\) +=)")
UNFINISHED = " <unfinished ...>"
CUT_OFF = re.compile(r" <(unfinished|detached) \.\.\.>$|\) += \?$")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
FILE = re.compile(r"\d+<([^>]*)>")


@dataclass(slots=True)
class Call:
    """One system call.

    Attributes:
        name: Its name.
        arguments: As strace writes them.
        begun, ended: Places in the order of all that happened; `ended` is 0 for one
            that was never seen to end.
        result: None if it was not seen, negative if it failed.
    """

    name: str
    arguments: str
    begun: int
    ended: int = 0
    result: int | None = None

    @property
    def path(self) -> str:
        """The file, or the socket, that is its first argument."""
        found = FILE.match(self.arguments)
        if found is None:
            return self.data.decode()  # by its name
        return bytes.fromhex(found[1].replace("\\x", "")).decode()

    @property
    def data(self) -> bytes:
        """The bytes it was given, or has brought."""
        found = STRING.search(self.arguments)
        assert found, f"no data in {self.arguments[:100]}"
        assert not found[2], "more data than strace was told to print"
        return bytes.fromhex(found[1].replace("\\x", ""))

    @property
    def numbers(self) -> list[int]:
        """The numbers behind its first argument and its data."""
        rest = STRING.sub("", self.arguments.partition(",")[2])
        return [int(word) for word in re.findall(r"(?<=[ ,])\d+(?=,|$)", " " + rest)]


class Strace:
    """Looks over the shoulder of a process, and may trip it up.

    Args:
        log: Where it writes.
        options: Further options.

    Attributes:
        prefix: Before a command, starts it and watches it from its beginning.
    """

    def __init__(self, log: Path, *options: str) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        # Whole pages of SQLite's fit, and every file has its name.
        self._command = (
            "strace", "-f", "-y", "-xx", "-s", "5000", "-o", str(log), *options,
        )  # fmt: skip
        # With -D the command is our child, and strace is a stranger.
        self.prefix = (*self._command, "-D")

    def attach(self, pid: int) -> None:
        """Watch a process that is there, all its threads, from now on."""
        said = self._log.with_suffix(".said")
        with said.open("wb") as sink:
            process = self._process = subprocess.Popen(
                [*self._command, "-p", str(pid)], stdout=sink, stderr=sink
            )
        tasks = Path(f"/proc/{pid}/task")
        mine = f"TracerPid:\t{process.pid}\n"

        def is_there() -> bool:
            assert process.poll() is None, said.read_text()
            statuses = ((task / "status").read_text() for task in tasks.iterdir())
            return all(mine in status for status in statuses)

        wait_until(is_there, "strace to attach")

    def stop(self) -> None:
        """Leave the process alone from now on."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
        else:
            wait_until(self._has_ended, "strace to end")

    def _has_ended(self) -> bool:
        last = self._log.read_text("ascii").rstrip().rpartition("\n")[2]
        return "+++ exited with" in last or "+++ killed by" in last

    def calls(self) -> list[Call]:
        """Read the system calls, in the order in which they began.

        The calls of several threads lie over each other.  strace holds a thread at the
        beginning and at the end of each call, so one that has ended in this order before
        another begins has in fact.
        """
        return list(_read(self._log.read_text("ascii")))

    def place_of(self, what: str) -> int:
        """Find where a signal arrived, in the order of all that happened."""
        lines = self._log.read_text("ascii").splitlines()
        return next(n for n, line in enumerate(lines, 1) if what in line)


def steps(calls: list[Call]) -> Iterator[tuple[bool, Call]]:
    """Go through what happened: each call, and whether it begins or has ended."""
    places = [(call.begun, 0, call) for call in calls]
    places += [(call.ended, 1, call) for call in calls if call.ended]
    for _, ended, call in sorted(places, key=lambda place: place[:2]):
        yield not ended, call


def _read(text: str) -> Iterator[Call]:
    under_way: dict[str, Call] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if resumed := RESUMED.match(line):
            call = under_way.pop(resumed["pid"])
            assert call.name == resumed["call"], line[:200]
            _end(call, call.arguments + resumed["rest"], place)
        elif begun := BEGUN.match(line):
            call = Call(begun["call"], begun["rest"], place)
            if call.arguments.endswith(UNFINISHED):
                call.arguments = call.arguments.removesuffix(UNFINISHED)
                under_way[begun["pid"]] = call
            else:
                _end(call, call.arguments, place)
            yield call
        else:
            assert SIGNAL.match(line), f"not understood: {line[:200]}"


def _end(call: Call, text: str, place: int) -> None:
    if CUT_OFF.search(text):
        return  # the process was killed in it, or strace left
    ended = ENDED.fullmatch(text)
    assert ended, f"not understood: {text[-200:]}"
    call.arguments = ended["arguments"]
    call.ended = place
    call.result = int(ended["result"])
