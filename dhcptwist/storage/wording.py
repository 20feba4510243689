"""What a pool says of addresses and clients when it explains itself."""

from __future__ import annotations

from math import inf

from ..explanation import Passed
from ..lease import (
    Lease,
    LeaseState,
    Reservation,
    format_hardware,
    format_holder,
    format_identifier,
)


_KINDS = {
    "hardware": "hardware address",
    "client-id": "client identifier",
    "port": "relay port",
}


def owner_of(reservation: Reservation) -> str:
    """Who a reservation is for."""
    kind, first, second = reservation.who
    if kind == "hardware":
        name = format_hardware(first)
    else:
        name = " ".join(format_identifier(each) for each in (first, second) if each)
    return f"{_KINDS[kind]} {name}"


def made_by(reservation: Reservation) -> str:
    """Whose a reservation is."""
    if reservation.source == "file":
        return "the configuration file"
    return reservation.source


def held_by(lease: Lease) -> str:
    """What stands in the way of an address that somebody has, or is offered."""
    holder = format_holder(lease)
    if lease.state is LeaseState.OFFERED:
        return f"is offered to {holder}"
    if lease.state is LeaseState.DECLINED:
        return f"rests, for {holder} found it in use"
    if lease.state is LeaseState.REVOKED:
        return f"rests, for it was revoked from {holder}, who may still use it"
    return f"is leased to {holder}"


def passed_over(holder: Lease, before: str = "") -> Passed:
    """An address that is not given because of who has it."""
    words = f"{before} {held_by(holder)}".strip()
    return Passed(holder.address, words, holder.expires)


def reserved_for(reservation: Reservation) -> str:
    """For whom, and by whom."""
    return f"reserved for {owner_of(reservation)} by {made_by(reservation)}"


def end_of(reservation: Reservation) -> float | None:
    """When a reservation ends; None if nothing ends it but its source."""
    return None if reservation.expires == inf else reservation.expires
