"""The example whose verbs run in threads keeps the contract, with the real reactor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor

from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import StorageContract


EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
sys.path.insert(0, str(EXAMPLES))
from threads import Threaded  # noqa: E402 - it stands with the manual


class TestThreads(StorageContract):
    """A pool, asked in threads."""

    clock = reactor

    def make(self, network, reservations=()):
        """An empty one."""
        return Threaded(MemoryStorage(network, reservations))


def test_where_nobody_else_runs_the_reactor(tmp_path):
    """A stranger's pytest need not know of Twisted."""
    (tmp_path / "test_mine.py").write_text(
        "from test_threads import TestThreads as Theirs\n"
        "class TestMine(Theirs): pass\n"
        "del Theirs\n"
    )
    alone = ["-q", "-p", "no:pytest-twisted", "-p", "no:cacheprovider", "--timeout=100"]
    place = ["-c", "/dev/null", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *alone, *place],
        env={"PYTHONPATH": f"{Path(__file__).parent}:{EXAMPLES.parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
