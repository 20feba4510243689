"""Our own form of leases: JSON lines, or comma-separated values with a header.

The fields are text and numbers; times are seconds since 1970, and an empty ``expires``
(null in JSON) is never.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from ..lease import Lease, LeaseState, parse_identifier
from .found import LAST, Found, latest, made, read_address, read_hex


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
_TYPE = re.compile("[0-9]{1,3}")
_TEXTS = ("address", "state", "hardware", "client_id", "hostname", "relay")

#: Characters of a field at most, and bytes of what is written in hexadecimal: more than a
#: datagram can hold.
_LONGEST = 8192
_MOST_BYTES = 2048

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
                missing = [each for each in ("address", "state") if each not in names]
                if missing:
                    yield Found(1, None, f"the header has no {' and '.join(missing)}")
                    return
            elif values:
                yield Found(rows.line_num, lease_from(_row(names, values)))
        except (ValueError, csv.Error) as error:
            yield Found(rows.line_num, None, str(error))


def _row(names: list[str], values: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(names, values, strict=False))
    for name in ("since", "expires"):
        row[name] = float(row[name]) if row.get(name) else None
    return row


def lease_from(row: Any) -> Lease:
    """A lease from its fields.

    Raises:
        ValueError: They make no sense; the message says which.
    """
    if not isinstance(row, dict):
        raise ValueError("is not an object of names and values")
    texts = []
    for name in _TEXTS:
        text = row.get(name, "")
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError(f"{name} is not a text")
        texts.append(text)
    address, word, hardware, client_id, hostname, relay = texts
    state = _STATES.get(word)
    if state is None:
        raise ValueError(f"state {word[:40]!r} is none of {', '.join(sorted(_STATES))}")
    key = parse_identifier(client_id) if client_id else b""
    if len(key) > _MOST_BYTES:
        raise ValueError(f"client_id is longer than {_MOST_BYTES} bytes")
    return made(
        read_address(address),
        state,
        key,
        _hardware(hardware) if hardware else b"",
        _time(row, "since", 0.0),
        _time(row, "expires", inf),
        hostname,
        read_hex(relay, _MOST_BYTES) if relay else b"",
    )


def _hardware(text: str) -> bytes:
    """Type and address from what `format_hardware` wrote, of whatever length."""
    kind, slash, address = text.rpartition("/")
    htype = 1 if not slash else int(kind) if _TYPE.fullmatch(kind) else 256
    data = read_hex(address, 16)
    if htype > 255 or not data:
        raise ValueError(f"hardware {text[:40]!r} is not like 00:11:22:33:44:55")
    return bytes([htype]) + data


def _time(row: dict[str, Any], name: str, without: float) -> float:
    value = row.get(name)
    if value is None:
        return without
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    if not 0 <= value <= LAST:
        raise ValueError(f"{name} is not a time in seconds since 1970")
    return float(value)
