"""Leases, reservations and events as rows of the embedded storage's file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from math import inf
from types import NoneType
from typing import Any

from ..lease import (
    Event,
    EventKind,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    Settings,
)
from ..wire.codes import INFINITE
from .journal import PACKET, Entry, event_of


#: A lease's row whose end was journaled; it is a bound one that ended.
EXPIRED = 6

#: What every row that we wrote is like.  SQLite lets anybody put anything anywhere; but
#: it has an order of types, numbers before text before blobs, so that comparing tells the
#: type as well, in a third of the time that `typeof` takes.
SANE_LEASE = (
    "(address BETWEEN 1 AND 4294967295 AND state IN (2, 3, 4, 5, 6)"
    " AND client > x'' AND hardware >= x'' AND relay >= x''"
    " AND hostname >= '' AND hostname < x''"
    " AND since BETWEEN -1e11 AND 1e11 AND coalesce(expires, 0) BETWEEN -1e11 AND 1e11)"
)
LEASE_COLUMNS = (
    "address, state, client, CASE WHEN hardware=client THEN NULL ELSE hardware END,"
    " since, expires, hostname, relay"
)
_STATES = [LeaseState(max(1, min(n, 5))) for n in range(7)]
_STATES[EXPIRED] = LeaseState.BOUND


def read_leases(rows: Iterable[tuple[Any, ...]], told: set[int]) -> Iterator[Lease]:
    """Leases from rows of `LEASE_COLUMNS` that are `SANE_LEASE`.

    Args:
        rows: They.
        told: Takes the addresses of those whose end is in the journal.
    """
    # Many leases begin or end in one second; they need not have a number each.
    one = {}.setdefault  # type: ignore[var-annotated]
    for address, state, client, hardware, since, expires, hostname, relay in rows:
        if state == EXPIRED:
            told.add(address)
        yield Lease(
            address,
            _STATES[state],
            client,
            client if hardware is None else hardware,  # one object for both
            one(since, since),
            inf if expires is None else one(expires, expires),
            INFINITE if expires is None else 0,
            hostname,
            relay,
        )


# --- the journal ------------------------------------------------------------------

JOURNAL_COLUMNS = (
    "number, at, kind, address, client, hardware, hostname, since, expires, relay, who"
)


_MAYBE_BYTES, _MAYBE_TEXT = (bytes, NoneType), (str, NoneType)
_EVENT_TYPES: tuple[Any, ...] = (
    *(int, float, int, int, bytes, _MAYBE_BYTES, str),
    *(float, (float, NoneType), bytes, _MAYBE_TEXT),
)


# To look a member of an enumeration up takes as long as three steps of a function.
_EXPIRED, _CLOCK, _BOUND = EventKind.EXPIRED, EventKind.CLOCK, int(LeaseState.BOUND)
_EMPTY = bytearray()

#: What the table gets from a `journal_row`.
JOURNAL_VALUES = (
    "column1, column2, column3, nullif(column4, 0), column5, column6, nullif(column7, 0),"
    " column8, column9, nullif(column10, ''), column11, nullif(column12, 0)"
)


def journal_row(number: int, entry: Entry) -> tuple[Any, ...]:
    """What `JOURNAL_VALUES` makes the row of one thing that happened of.

    Python's sqlite3 takes numbers, text and bytearray as they are; for everything else,
    bytes and None too, it looks for an adapter, which takes ten times as long.
    """
    when, kind, of, by = entry
    if of.__class__ is Lease:
        state = int(of.state)
        if kind is _EXPIRED and state == _BOUND:
            state = EXPIRED
        elif kind is _CLOCK:
            state = 0
        event: Any = of
    else:
        state = 0
        event = event_of(number, *entry)
    key, hardware, expires = event.key, event.hardware, event.expires
    return (
        number,
        when,
        int(kind),
        state,
        event.address,
        bytearray(key),
        0 if hardware == key else bytearray(hardware),
        event.hostname,
        event.since,
        "" if expires == inf else expires,
        bytearray(event.relay) if event.relay else _EMPTY,
        0 if by == PACKET else by,
    )


def read_event(row: tuple[Any, ...]) -> Event:
    """An event from its row of `JOURNAL_COLUMNS`.

    Raises:
        ValueError: No version of ours wrote it.
    """
    number, at, kind, address, client, hardware, hostname, since, *rest = row
    expires, relay, who = rest
    if not all(isinstance(*each) for each in zip(row, _EVENT_TYPES, strict=True)):
        raise ValueError("a column is of another type")
    return Event(
        number,
        at,
        EventKind(kind),
        address,
        client,
        client if hardware is None else hardware,
        hostname,
        since,
        inf if expires is None else expires,
        relay,
        PACKET if who is None else who,
    )


# --- reservations -----------------------------------------------------------------

RESERVATION_COLUMNS = (
    "address, hardware, client_id, circuit_id, remote_id, hostname, settings, source,"
    " on_conflict, expires"
)


def read_reservation(row: tuple[Any, ...]) -> Reservation:
    """A reservation from its row of `RESERVATION_COLUMNS`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: No version of ours wrote it.
    """
    address, hardware, client_id, circuit_id, remote_id, *rest = row
    hostname, settings, source, on_conflict, expires = rest
    return Reservation(
        None if address < 0 else address,
        hardware,
        client_id,
        circuit_id,
        remote_id,
        hostname,
        _settings(settings),
        source,
        OnConflict(on_conflict),
        inf if expires is None else float(expires),
    )


#: What the table gets from a `reservation_row`; see `journal_row` for why not as it is.
RESERVATION_VALUES = (
    "column1, column2, column3, column4, column5, column6, nullif(column7, ''), column8,"
    " column9, nullif(column10, '')"
)


def reservation_key(each: Reservation) -> tuple[Any, ...]:
    """The columns that make a reservation the one it is."""
    return (
        -1 if each.address is None else each.address,
        each.hardware,
        each.client_id,
        each.circuit_id,
        each.remote_id,
    )


def reservation_row(each: Reservation) -> tuple[Any, ...]:
    """What `RESERVATION_VALUES` makes the row of a reservation of."""
    return (
        -1 if each.address is None else each.address,
        bytearray(each.hardware),
        bytearray(each.client_id),
        bytearray(each.circuit_id),
        bytearray(each.remote_id),
        each.hostname,
        # A name alone is made settings of again when it is read.
        ""
        if each.settings is None or each.settings == Settings(hostname=each.hostname)
        else json.dumps(_plain(each.settings)),
        each.source,
        each.on_conflict.value,
        "" if each.expires == inf else each.expires,
    )


def _plain(settings: Settings) -> dict[str, Any]:
    server = settings.next_server
    return {
        "options": {str(code): data.hex() for code, data in settings.options.items()},
        "next-server": None if server is None else str(IPv4Address(server)),
        "boot-file": settings.boot_file,
        "server-name": settings.server_name,
        "hostname": settings.hostname,
        "renewal-time": settings.renewal_time,
        "rebinding-time": settings.rebinding_time,
        "class": settings.client_class,
    }


def _settings(text: str | None) -> Settings | None:
    if text is None:
        return None
    read = json.loads(text)
    server = read.get("next-server")
    return Settings(
        {int(code): bytes.fromhex(value) for code, value in read["options"].items()},
        None if server is None else int(IPv4Address(server)),
        read.get("boot-file"),
        read.get("server-name"),
        read.get("hostname"),
        read.get("renewal-time"),
        read.get("rebinding-time"),
        read.get("class", ""),
    )
