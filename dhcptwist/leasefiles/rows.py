"""Our own form of leases: JSON lines, or comma-separated values with a header.

The fields are text and numbers; times are seconds since 1970, and an empty ``expires``
(null in JSON) is never.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from math import inf, isfinite
from typing import Any

from ..lease import Lease, LeaseState, parse_hardware, parse_identifier
from .found import Found, latest, read_address, read_hex


#: Columns, in order; ``subnet`` is for people and not read.
FIELDS = (
    "address",
    "state",
    "hardware",
    "client_id",
    "hostname",
    "since",
    "expires",
    "relay",
    "subnet",
)
_STATES = {
    "bound": LeaseState.BOUND,
    "expired": LeaseState.BOUND,
    "released": LeaseState.RELEASED,
    "declined": LeaseState.DECLINED,
    # Its holder may not know yet: it should rest, wherever that is.
    "revoked": LeaseState.DECLINED,
}


def read_lines(lines: Iterable[str], when: float) -> Iterator[Found]:
    """Leases from JSON lines; see `found.Reader`."""
    return latest(_read_lines(lines))


def _read_lines(lines: Iterable[str]) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Found(number, lease_from(json.loads(line)))
        except (ValueError, RecursionError) as error:
            yield Found(number, None, str(error))


def read_csv(lines: Iterable[str], when: float) -> Iterator[Found]:
    """Leases from comma-separated values; see `found.Reader`."""
    return latest(_read_csv(lines))


def _read_csv(lines: Iterable[str]) -> Iterator[Found]:
    rows = csv.reader(lines)
    names: list[str] = []
    while True:
        try:
            values = next(rows, None)
            if values is None:
                return
            if not names:
                names = values
            elif values:
                row: dict[str, Any] = dict(zip(names, values, strict=False))
                for name in ("since", "expires"):
                    row[name] = float(row[name]) if row.get(name) else None
                yield Found(rows.line_num, lease_from(row))
        except (ValueError, csv.Error) as error:
            yield Found(rows.line_num, None, str(error))


def lease_from(row: Any) -> Lease:
    """A lease from its fields.

    Raises:
        ValueError: They make no sense; the message says which.
    """
    if not isinstance(row, dict):
        raise ValueError("is not an object of names and values")
    texts = {}
    for name in FIELDS:
        text = row.get(name, "")
        if name not in {"since", "expires"}:
            if not isinstance(text, str) or len(text) > 1024:
                raise ValueError(f"{name} is not a text")
            texts[name] = text
    state = _STATES.get(texts["state"])
    if state is None:
        raise ValueError(
            f"state {texts['state']!r} is none of {', '.join(sorted(_STATES))}"
        )
    hardware = parse_hardware(texts["hardware"]) if texts["hardware"] else b""
    key = parse_identifier(texts["client_id"]) if texts["client_id"] else hardware
    if not key:
        raise ValueError("there is neither hardware nor client_id")
    if len(key) > 255:
        raise ValueError("client_id is longer than 255 bytes")
    if len(texts["hostname"]) > 255:
        raise ValueError("hostname is longer than 255 characters")
    return Lease(
        read_address(texts["address"]),
        state,
        key,
        hardware,
        _time(row, "since", 0.0),
        _time(row, "expires", inf),
        hostname=texts["hostname"],
        relay=read_hex(texts["relay"]),
    )


def _time(row: dict[str, Any], name: str, without: float) -> float:
    value = row.get(name)
    if value is None:
        return without
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    if not isfinite(value) or not 0 <= value < 1 << 40:
        raise ValueError(f"{name} is not a time in seconds since 1970")
    return float(value)
