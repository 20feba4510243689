"""Kea's memfile: comma-separated values with a header, the last line of a lease wins.

See "Memfile" in Kea's manual.  A lifetime of 0 is a deleted lease; commas in a value are
written ``&#x2c``; state 1 is declined, 2 reclaimed after its end, 3 released.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from ..lease import Lease, LeaseState
from ..wire.codes import INFINITE
from .found import Found, latest, read_address, read_hex


_NEEDED = ("address", "hwaddr", "client_id", "valid_lifetime", "expire", "state")
_STATES = {
    "0": LeaseState.BOUND,
    "1": LeaseState.DECLINED,
    "2": LeaseState.RELEASED,
    "3": LeaseState.RELEASED,
}


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file; see `found.Reader`."""
    last: dict[int, Found] = {}
    for found in latest(_read(lines, last)):
        # A deletion further down is the last word, too.
        if found.lease is None or last.get(found.lease.address) is found:
            yield found


def _read(lines: Iterable[str], last: dict[int, Found]) -> Iterator[Found]:
    rows = csv.reader(lines)
    try:
        names = next(rows, [])
    except csv.Error as error:
        yield Found(1, None, str(error))
        return
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        yield Found(1, None, f"the header has no {', '.join(missing)}")
        return
    while True:
        try:
            values = next(rows, None)
            if values is None:
                return
            if not values:
                continue
            row = dict(zip(names, values, strict=False))
            if len(values) < len(_NEEDED):
                raise ValueError("has too few columns")
            address = read_address(row["address"])
            lease = _lease(row, address)
        except (ValueError, KeyError, csv.Error) as error:
            yield Found(rows.line_num, None, str(error))
            continue
        if lease is None:
            last.pop(address, None)
        else:
            last[address] = Found(rows.line_num, lease)
            yield last[address]


def _lease(row: dict[str, str], address: int) -> Lease | None:
    state = _STATES.get(row["state"].strip())
    if state is None:
        raise ValueError(f"{row['state']!r} is not a state from 0 to 3")
    lifetime, expire = int(row["valid_lifetime"]), int(row["expire"])
    if not lifetime and state == LeaseState.BOUND:
        return None
    if not 0 <= lifetime <= INFINITE or not 0 <= expire < 1 << 40:
        raise ValueError("the times are no times")
    hardware = read_hex(row["hwaddr"], 16)
    hardware = b"\x01" + hardware if hardware else b""
    key = read_hex(row["client_id"]) or hardware
    if not key:
        if state != LeaseState.DECLINED:
            raise ValueError("there is neither a hardware address nor a client_id")
        key = b"\x00"  # Kea forgets whose it was
    hostname = row.get("hostname", "").replace("&#x2c", ",").rstrip(".")
    return Lease(
        address,
        state,
        key,
        hardware,
        float(max(expire - lifetime, 0)) if lifetime != INFINITE else 0.0,
        inf if lifetime == INFINITE else float(expire),
        hostname=hostname,
        relay=_relay(row.get("user_context", "")),
    )


def _relay(text: str) -> bytes:
    """Option 82 from the user context, where Kea may keep it."""
    if not text:
        return b""
    try:
        known: Any = json.loads(text.replace("&#x2c", ","))["ISC"]["relay-agent-info"]
        if isinstance(known, dict):
            known = known["sub-options"]
        return read_hex(known.removeprefix("0x"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return b""  # it is a remark of somebody else's
