"""What clients were promised, held against the lease file that a server left."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


FILE = "leases.sqlite"

#: Leases that are not what the journal says of their address last; both ways.
DISAGREEING = """
WITH last AS (
    SELECT address, state, client, coalesce(hardware, client), since, expires, hostname,
           relay
    FROM journal WHERE number IN (
        SELECT max(number) FROM journal WHERE state IS NOT NULL GROUP BY address
    )
)
SELECT * FROM (SELECT * FROM lease EXCEPT SELECT * FROM last)
UNION ALL
SELECT * FROM (SELECT * FROM last EXCEPT SELECT * FROM lease)
"""


class Promises:
    """Every ACK there was: clients that keep what they have got, and never move.

    Attributes:
        owned: Hardware address to the address that an ACK gave it.
        owners: The same the other way round.
        ends: Hardware address to when the lease ends, as the client sees it.
    """

    def __init__(self) -> None:
        self.owned: dict[bytes, int] = {}
        self.owners: dict[int, bytes] = {}
        self.ends: dict[bytes, float] = {}

    def note(self, hardware: bytes, address: int, ends: float = 0.0) -> None:
        """Hold one more ACK against those before.

        Raises:
            AssertionError: Somebody else has the address, or the client another one.
        """
        had = self.owned.setdefault(hardware, address)
        owner = self.owners.setdefault(address, hardware)
        who = hardware.hex(":")
        assert had == address, f"{who} had {had:#x}, and now {address:#x}"
        assert owner == hardware, f"{address:#x} is {owner.hex(':')}'s, and now {who}'s"
        self.ends[hardware] = max(ends, self.ends.get(hardware, 0.0))

    def check(self, path: Path) -> None:
        """See that a file is whole, and has every lease for as long as was promised.

        Raises:
            AssertionError: It is not.
            sqlite3.Error: It cannot even be read.
        """
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = file.execute(
                "SELECT substr(hardware, 2), address, expires FROM lease"
                " WHERE state = 2"
            ).fetchall()
            numbers = file.execute(
                "SELECT count(*), coalesce(max(number) - min(number) + 1, 0)"
                " FROM journal"
            ).fetchone()
            assert numbers[0] == numbers[1], f"numbers are missing: {numbers}"
            odd = file.execute(DISAGREEING).fetchmany(3)
            assert not odd, f"the journal and the leases disagree: {odd}"
        leases = {hardware: address for hardware, address, _ in rows}
        assert len(leases) == len(rows), "a client has two addresses"
        lost = self.owned.items() - leases.items()
        assert not lost, f"{len(lost)} leases are lost, of {len(self.owned)}"
        short = [
            (who.hex(":"), self.ends[who] - expires)
            for who, _, expires in rows
            if self.ends.get(who, 0.0) > expires
        ]
        assert not short, f"{len(short)} leases end too soon, such as {short[:3]}"


def copied(state: Path, to: Path) -> Path:
    """Copy a lease file as a crash has left it, and leave that one as it is.

    Whoever opens it changes it: the log is taken over, and then removed.
    """
    for each in (FILE, f"{FILE}-wal"):
        (to / each).unlink(missing_ok=True)
        if (state / each).exists():
            shutil.copyfile(state / each, to / each)
    # What the server has in shared memory is gone with the server.
    (to / f"{FILE}-shm").unlink(missing_ok=True)
    return to / FILE
