"""No moment loses a lease: crashes, full and failing disks, power cuts, under load."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from time import sleep

import pytest
from lab.disk import Disk
from lab.hosts import Lab, run
from lab.order import message_of, replies, unsynced
from lab.stage import ACK, HOUR, Stage, wait_for_log
from lab.strace import DISK, WIRE, Call, Strace, steps
from promises import FILE, Promises, copied


#: Crashes, and a measure of everything else that happens at random moments.
CRASHES = int(os.environ.get("CRASHES", "20"))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60 + 10 * CRASHES)]

NEEDS = ("mount", "perfdhcp", "strace", "tcpdump")

FAILS = "could not be written"

WATCH = ("-e", f"trace={DISK},{WIRE}")

# A storage whose ACKs leave when the kernel has them, and the disk perhaps has not.
CARELESS = """
from dhcptwist.storage.sqlite import SQLiteStorage

class Careless(SQLiteStorage):
    def start(self, when):
        super().start(when)
        self.journal._file._connection.execute("PRAGMA synchronous=OFF")
"""


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    """A server, and the wire to its crowd."""
    with closing(Stage(lab)) as stage:
        yield stage


def check(stage: Stage, tmp_path: Path) -> None:
    """See that the server that is gone has kept all its promises."""
    stage.hear()
    stage.promises.check(copied(stage.state, tmp_path))


# --- crashes --------------------------------------------------------------------------


def test_kill_9_under_load(stage: Stage, tmp_path: Path) -> None:
    """Thousands of DORAs a second, and no crash loses a lease that was acknowledged."""
    chance = random.Random(2131)
    load = stage.load(3000)
    heard = 0
    for number in range(CRASHES):
        stage.begin()
        if number % 4 == 3:
            sleep(chance.uniform(0, 0.8))  # while it starts, and reads the file
        else:
            stage.server.wait()
            sleep(chance.uniform(0, 0.6))
        stage.server.crash()
        heard += stage.hear()
        stage.promises.check(copied(stage.state, tmp_path))
    load.stop()
    stage.start()
    stage.holders(1)
    stage.server.stop()
    check(stage, tmp_path)
    # A crash that hits a server without work would prove nothing.
    assert heard > CRASHES * 100, heard
    for bad in ("Traceback", "makes no sense", FAILS):
        assert bad not in stage.server.log


def generation(log: Path) -> tuple[bytes, int]:
    """Read which generation a write-ahead log is, and find the end of what is committed."""
    content = log.read_bytes()
    salt, end = content[16:24], 32
    if not salt:
        return b"", 0  # nothing has been written yet
    size = struct.unpack_from(">I", content, 8)[0] + 24
    for at in range(32, len(content) - size + 1, size):
        if content[at + 8 : at + 16] != salt:
            break  # left from the generation before
        if content[at + 4 : at + 8] != bytes(4):
            end = at + size
    return salt, end


def test_snapshots(stage: Stage, tmp_path: Path) -> None:
    """What a disk has at any moment of the server's life is enough to go on from.

    And what was written since need not be there: the file with a log that is torn off
    somewhere behind what it was still has all that was acknowledged then.
    """
    chance = random.Random(951)
    stage.start()
    load = stage.load(2000)
    then, now, torn = (tmp_path / name for name in ("then", "now", "torn"))
    for each in (then, now, torn):
        each.mkdir()
    log = f"{FILE}-wal"
    known, salt, end, tears = Promises(), b"", 0, 0
    for _ in range(CRASHES // 2):
        sleep(chance.uniform(0, 0.2))
        with stage.paused():
            stage.hear()
            copied(stage.state, now)
        if salt and salt == generation(now / log)[0]:
            tears += 1
            for _ in range(3):
                copied(then, torn)
                shutil.copyfile(now / log, torn / log)
                size = (torn / log).stat().st_size
                os.truncate(torn / log, chance.randint(end, size))
                known.check(torn / FILE)
        copied(now, then)
        salt, end = generation(then / log)
        known = deepcopy(stage.promises)
        known.check(now / FILE)
    load.stop()
    assert tears
    assert len(known.owned) > CRASHES * 50


def test_stop_in_a_transaction(stage: Stage, tmp_path: Path) -> None:
    """Who asks before the server is told to stop is answered, and after the sync."""
    chance = random.Random(3203)
    on_the_way = 0
    for number in range(3):
        stage.start()
        delay = "inject=fdatasync:delay_enter=30000"
        log = tmp_path / f"trace{number}"
        strace = stage.strace(log, *WATCH, "-e", delay)
        load = stage.load(500)
        sleep(chance.uniform(0.3, 0.6))
        stage.server.stop()
        strace.stop()
        load.stop()
        check(stage, tmp_path)
        asked, answered = replies(strace.calls())
        assert asked.keys() == answered.keys(), "somebody was heard, and not answered"
        assert not unsynced(strace.calls(), stage.state)
        told = strace.place_of("--- SIGTERM ")
        on_the_way += sum(
            read.ended < told < answered[who].begun for who, read in asked.items()
        )
    assert on_the_way, "no transaction was ever under way"


# --- the order of things --------------------------------------------------------------


def traced(
    stage: Stage, log: Path, *options: str, acks: int = 300
) -> tuple[Disk, list[Call]]:
    """Watch a server serve a few clients, then a crowd, some of them twice; and crash."""
    stage.start()
    disk = Disk(stage.state)
    strace = stage.strace(log, *WATCH, *options)
    stage.holders(3).renew()
    load = stage.load(250, clients=400)
    stage.wait_for_acks(acks)
    if options:
        wait_for_log(stage.server, FAILS)
    load.stop()
    stage.server.crash()
    strace.stop()
    return disk, strace.calls()


def cut(disk: Disk, calls: list[Call], to: Path, promises: Promises) -> None:
    """Cut the power at random moments, and see what has been promised until then."""
    chance = random.Random(2132)
    moments = {
        call.begun for call in chance.sample(calls, min(3 * CRASHES, len(calls)))
    }
    for begins, call in steps(calls):
        if call.name not in WIRE.split(","):
            disk.step(call, begins=begins)
        elif begins and (ack := message_of(call, ACK)):
            promises.note(ack.raw[28:34], ack.yiaddr)
        if begins and call.begun in moments:
            disk.found(chance, to)
            promises.check(to / FILE)


def test_sync_before_send(stage: Stage, tmp_path: Path) -> None:
    """Invariant 1: between a REQUEST and its ACK the log is synced, and the lease in it."""
    disk, calls = traced(stage, tmp_path / "trace")
    _, answered = replies(calls)
    assert len(answered) >= 300
    assert not unsynced(calls, stage.state)
    cut(disk, calls, tmp_path, Promises())


@pytest.mark.parametrize("when", ["100..101", "50+7"])
def test_sync_that_fails(stage: Stage, tmp_path: Path, when: str) -> None:
    """What was to be synced and was not is lost, and nobody builds upon it."""
    fault = f"inject=fdatasync:error=EIO:when={when}"
    disk, calls = traced(stage, tmp_path / "trace", "-e", fault)
    assert any(call.result == -1 and call.name == "fdatasync" for call in calls)
    promises = Promises()
    cut(disk, calls, tmp_path, promises)
    assert len(promises.owned) > 100


def test_crash_behind_a_sync_that_fails(stage: Stage, tmp_path: Path) -> None:
    """The next server takes over what is in the kernel only, and does not build on it."""
    fault = "inject=fdatasync:error=EIO:when=100+"
    disk, calls = traced(stage, tmp_path / "trace1", "-e", fault, acks=80)
    assert any(call.result == -1 and call.name == "fdatasync" for call in calls)
    promises = Promises()
    cut(disk, calls, tmp_path, promises)
    before = len(promises.owned)

    strace = Strace(tmp_path / "trace2", *WATCH)
    stage.server.prefix = strace.prefix
    stage.start()
    load = stage.load(250)
    stage.wait_for_acks(200)
    load.stop()
    stage.server.crash()
    strace.stop()
    cut(disk, strace.calls(), tmp_path, promises)
    assert len(promises.owned) > before + 150


def test_a_missing_sync_is_seen(lab: Lab, tmp_path: Path) -> None:
    """The two tests above do fail for a storage that does not wait for the disk."""
    with closing(Stage(lab, "python:careless:Careless:leases.sqlite")) as stage:
        module = stage.host.directory / "careless.py"
        module.write_text(CARELESS, encoding="utf-8")
        disk, calls = traced(stage, tmp_path / "trace")
        assert len(unsynced(calls, stage.state)) >= 300
    with pytest.raises(AssertionError, match="leases are lost"):
        cut(disk, calls, tmp_path, Promises())


# --- disks that fail ------------------------------------------------------------------


@contextmanager
def small_disk(stage: Stage) -> Iterator[Path]:
    """Give the server a disk of its own, almost full, and yield what may be removed."""
    stage.state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(stage.state))
    try:
        ballast = stage.state / "ballast"
        ballast.write_bytes(bytes(14 << 20))
        yield ballast
    finally:
        # Lazily: if the test has failed, the server is still there.
        run("umount", "--lazy", str(stage.state))


def see_it_fail(stage: Stage, renew: Callable[[], list[int]]) -> None:
    """While nothing can be written: who has a lease keeps it, nobody gets a new one."""
    wait_for_log(stage.server, FAILS)
    stage.hear()
    known = set(stage.promises.owned)
    sleep(1)
    granted = renew()
    assert max(granted) < HOUR, "more was granted than is on disk"
    assert min(granted) > HOUR - 30
    sleep(0.5)
    stage.hear()
    assert set(stage.promises.owned) == known, "a new client was granted something"
    assert stage.server.log.count(FAILS) == 1, "it complains again and again"


def see_it_work(stage: Stage, renew: Callable[[], list[int]]) -> None:
    """Once it can be written again: new clients are served, and leases prolonged."""
    stage.hear()
    stage.wait_for_acks(100)
    assert renew() == [HOUR] * 5


@pytest.mark.parametrize("then", ["room", "crash"])
def test_full_disk(stage: Stage, tmp_path: Path, then: str) -> None:
    """A disk runs full under load, and the server goes on when there is room again.

    Should it crash before, the next one serves those who have a lease just as well.
    """
    with small_disk(stage) as ballast:
        stage.start()
        holders = stage.holders()
        load = stage.load(2000)
        see_it_fail(stage, holders.renew)
        load.check()
        if then == "crash":
            stage.server.crash()
            check(stage, tmp_path)
            stage.start()
            assert max(holders.renew()) < HOUR
        with stage.paused():
            check(stage, tmp_path)
        ballast.unlink()
        see_it_work(stage, holders.renew)
        stage.server.crash()
        check(stage, tmp_path)
        stage.start()
        assert holders.renew() == [HOUR] * 5
        stage.server.stop()


def test_read_only_disk(stage: Stage) -> None:
    """What cannot be written is not served; the server says so, and harms nothing."""
    with small_disk(stage):
        stage.start()
        holders = stage.holders()
        stage.server.stop()
        run("mount", "-o", "remount,ro", str(stage.state))
        with pytest.raises(AssertionError, match=r"cannot be used: .*Read-only"):
            stage.start()
        stage.server.crash()
        run("mount", "-o", "remount,rw", str(stage.state))
        stage.start()
        assert holders.renew() == [HOUR] * 5
        stage.server.stop()


# What a disk may say.  The kernel makes none read-only while a file is open on it, unless
# the disk has errors: that is what its files say then.
FAULTS = {
    "bad": "fdatasync:error=EIO",
    "full": "pwrite64:error=ENOSPC",
    "broken": "pwrite64,fdatasync,ftruncate:error=EIO",
    "read-only": "pwrite64,ftruncate,unlink,openat:error=EROFS",
}


@pytest.mark.parametrize(
    ("fault", "then"),
    [
        *((fault, "mended") for fault in FAULTS),
        ("bad", "killed"),
        ("broken", "stopped"),
    ],
)
def test_failing_disk(stage: Stage, tmp_path: Path, fault: str, then: str) -> None:
    """Errors of a disk cost new clients an answer, and nobody a lease."""
    stage.start()
    holders = stage.holders()
    stage.load(1500)
    stage.wait_for_acks(100)
    files = [stage.state / f"{FILE}{end}" for end in ("", "-wal", "-shm")]
    strace = stage.strace(
        tmp_path / "trace",
        *(word for file in files for word in ("-P", str(file))),
        "-e", f"trace={DISK},openat", "-e", f"inject={FAULTS[fault]}",
    )  # fmt: skip
    see_it_fail(stage, holders.renew)
    if then == "mended":
        strace.stop()
        see_it_work(stage, holders.renew)
    if then == "stopped":
        stage.server.stop()
    else:
        stage.server.crash()
    strace.stop()
    check(stage, tmp_path)
    stage.start()
    assert holders.renew() == [HOUR] * 5
    stage.server.stop()
    check(stage, tmp_path)
