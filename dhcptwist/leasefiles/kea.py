"""Kea's memfile: comma-separated values with a header, the last line of a lease wins.

See "Memfile" in Kea's manual.  A lifetime of 0 is a deleted lease; commas in a value are
written ``&#x2c``; state 1 is declined, 2 reclaimed after its end, 3 released.  The file says
nothing of hardware types, so all are taken for Ethernet's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..lease import Lease, LeaseState
from ..wire.codes import INFINITE
from .found import Found, latest, made, read_address, read_hex, read_number, to_bytes


#: The columns without which there is no lease.
_NEEDED = ("address", "hwaddr", "client_id", "valid_lifetime", "expire", "state")
_STATES = {
    "0": LeaseState.BOUND,
    "1": LeaseState.DECLINED,
    "2": LeaseState.RELEASED,
    "3": LeaseState.RELEASED,
}
_ESCAPE = re.compile(r"&#x([0-9a-fA-F]{2})")


def parts(path: Path) -> list[Path]:
    """The files that are one file while Kea cleans it up, in the order to read them.

    What Kea reads when it starts: what the cleanup has finished, or else its last result
    and the file that it was cleaning; then the file itself.
    """

    def beside(suffix: str) -> list[Path]:
        other = path.with_name(path.name + suffix)
        return [other] if other.is_file() else []

    return [*(beside(".completed") or beside(".2") + beside(".1")), path]


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file, or of `parts` behind each other; see `found.Reader`."""
    return latest(_read(lines))


def _read(lines: Iterable[str]) -> Iterator[Found | int]:
    columns: _Columns | None = None
    for number, line in enumerate(lines, 1):
        values = line.rstrip("\r\n").split(",")
        if len(values) == 1 and not values[0].strip():
            continue
        try:
            if columns is None or values[0] == "address":
                columns = _Columns(values)
                continue
            lease = columns.lease(values)
        except ValueError as error:
            yield Found(number, None, str(error))
            if columns is None:
                return
            continue
        yield lease if isinstance(lease, int) else Found(number, lease)


class _Columns:
    """Where a file has what.

    Raises:
        ValueError: A column is missing.
    """

    def __init__(self, names: list[str]) -> None:
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise ValueError(f"the header has no {', '.join(missing)}")
        places = [names.index(name) for name in _NEEDED]
        self._needed = itemgetter(*places)
        self._least = 1 + max(places)
        self._more = [
            names.index(name) if name in names else len(names)
            for name in ("hostname", "user_context")
        ]

    def lease(self, values: list[str]) -> Lease | int:
        """The lease of a line, or the address that was given up.

        Raises:
            ValueError: It makes no sense.
        """
        if len(values) < self._least:
            raise ValueError("has too few columns")
        where, hwaddr, client_id, lasts, expires, code = self._needed(values)
        address = read_address(where)
        state = _STATES.get(code)
        if state is None:
            raise ValueError(f"{code[:40]!r} is not a state from 0 to 3")
        lifetime, expire = read_number(lasts), read_number(expires)
        # Versions that keep released leases write no lifetime for them, either.
        if not lifetime and state != LeaseState.RELEASED:
            return address
        if lifetime > INFINITE:
            raise ValueError(f"{lasts} is not a lifetime")
        hostname, context = (
            values[place] if place < len(values) else "" for place in self._more
        )
        hardware = read_hex(hwaddr, 16)
        endless = lifetime == INFINITE
        return made(
            address,
            state,
            read_hex(client_id),
            b"\x01" + hardware if hardware else b"",
            0.0 if endless else float(max(expire - lifetime, 0)),
            inf if endless else float(expire),
            _plain(hostname).rstrip("."),
            _relay(_plain(context)) if context else b"",
        )


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _relay(text: str) -> bytes:
    """Option 82 from the user context, where Kea may keep it."""
    try:
        known: Any = json.loads(to_bytes(text))["ISC"]["relay-agent-info"]
        if isinstance(known, dict):
            known = known["sub-options"]
        return read_hex(known.removeprefix("0x"), 1024)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return b""  # it is a remark of somebody else's
