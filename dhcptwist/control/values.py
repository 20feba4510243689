"""Leases and reservations as they cross the wire: text and numbers, no objects of ours."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address
from math import inf
from typing import Any

from ..config.values import RESERVATION_KEYS, parse_option
from ..lease import (
    FILE,
    Event,
    Lease,
    OnConflict,
    Reservation,
    Settings,
    format_hardware,
    format_identifier,
    port_of,
)
from ..network import Network
from ..wire.codes import HOST_NAME
from ..wire.options import option_kind
from .errors import InvalidRequest
from .issued import Identity


#: Names of our fields that are spelled like keys of the ini file, with dashes there.
_KEYS = (
    "address",
    "hardware",
    "client_id",
    "circuit_id",
    "remote_id",
    "hostname",
    "next_server",
    "boot_file",
    "server_name",
)

#: What a reservation in a list may have, and of which kind.
_ENTRY: dict[str, type] = {
    **dict.fromkeys(_KEYS, str),
    "options": dict,
    "source": str,
    "on_conflict": str,
    "lifetime": int,
    "for_holder": str,
    "while_connected": bool,
}
_KINDS = {
    str: "text",
    dict: "an object of names and texts",
    int: "a whole number",
    bool: "true or false",
}

#: Bytes that a reservation may have in a list.
_MOST_BYTES = 16 << 10

#: Arguments that make settings.
_SETTINGS = ("options", "next_server", "boot_file", "server_name")
_CONFLICTS = {each.value: each for each in OnConflict}

#: The longest lifetime of a reservation, in seconds; longer is for ever.
_LONGEST = 0xFFFFFFFF


def lease_fields(lease: Lease, network: Network, when: float) -> dict[str, Any]:
    """A lease for other programs; ``expires`` is None for never."""
    subnet = network.subnet_of(lease.address)
    return {
        "address": str(IPv4Address(lease.address)),
        "state": lease.state_name(when),
        "hardware": format_hardware(lease.hardware),
        "client_id": ""
        if lease.key == lease.hardware
        else format_identifier(lease.key),
        "hostname": lease.hostname,
        "since": lease.since,
        "expires": None if lease.expires == inf else lease.expires,
        "relay": lease.relay.hex(),
        "subnet": "" if subnet is None else subnet.name,
    }


def event_fields(event: Event) -> dict[str, Any]:
    """What happened, for other programs; ``expires`` is None for never."""
    circuit, remote = port_of(event.relay) if event.relay else (b"", b"")
    return {
        "number": event.number,
        "when": event.when,
        "kind": event.kind.name.lower(),
        "address": str(IPv4Address(event.address)) if event.address else None,
        "hardware": format_hardware(event.hardware),
        "client_id": ""
        if event.key == event.hardware
        else format_identifier(event.key),
        "hostname": event.hostname,
        "circuit_id": format_identifier(circuit),
        "remote_id": format_identifier(remote),
        "since": event.since,
        "expires": None if event.expires == inf else event.expires,
        "by": event.by,
    }


def reservation_fields(each: Reservation) -> dict[str, Any]:
    """A reservation for other programs; what it does not say is empty or None."""
    settings = each.settings or Settings()
    options = {}
    for code, data in settings.options.items():
        if code == HOST_NAME and data == each.hostname.encode():
            continue
        kind = option_kind(code)
        options[kind.name] = kind.shape.decode_text(data)
    server = settings.next_server
    return {
        "address": None if each.address is None else str(IPv4Address(each.address)),
        "hardware": format_hardware(each.hardware),
        "client_id": format_identifier(each.client_id),
        "circuit_id": format_identifier(each.circuit_id),
        "remote_id": format_identifier(each.remote_id),
        "hostname": each.hostname,
        "options": options,
        "next_server": None if server is None else str(IPv4Address(server)),
        "boot_file": settings.boot_file,
        "server_name": settings.server_name,
        "source": each.source,
        "on_conflict": each.on_conflict.value,
        "expires": None if each.expires == inf else each.expires,
    }


def format_place(reservation: Reservation) -> str:
    """Where a reservation stands in the list of all, as `parse_place` reads it."""
    address, kind, *who = reservation.place
    return "/".join([str(address), kind, *(part.hex() for part in who)])


def parse_place(text: str) -> tuple[int, str, bytes, bytes]:
    """What `format_place` wrote.

    Raises:
        ValueError: It is something else.
    """
    address, kind, first, second = text.split("/")
    return int(address), kind, bytes.fromhex(first), bytes.fromhex(second)


def read_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that name an address, a client or settings, as our values.

    Raises:
        InvalidRequest: One of them makes no sense.
    """
    values = {}
    for name in _KEYS:
        text = given.get(name)
        if text is None or text == "":
            continue
        try:
            values[name] = RESERVATION_KEYS[name.replace("_", "-")](text)
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}") from None
    return values


def read_who(values: dict[str, Any]) -> Reservation | None:
    """Who a reservation is for, as one without an address; None if nobody is named.

    Raises:
        InvalidRequest: More than one client is named.
    """
    kinds: list[str] = [kind for kind in ("hardware", "client_id") if kind in values]
    if "circuit_id" in values or "remote_id" in values:
        kinds.append("circuit_id")
    if len(kinds) > 1:
        raise InvalidRequest(f"one client, one key: not {' and '.join(kinds)} together")
    if not kinds:
        return None
    return Reservation(
        hardware=values.get("hardware", b""),
        client_id=values.get("client_id", b""),
        circuit_id=values.get("circuit_id", b""),
        remote_id=values.get("remote_id", b""),
    )


def read_reservation(given: dict[str, Any], source: str, when: float) -> Reservation:
    """The reservation that the arguments of `Reserve` describe.

    Raises:
        InvalidRequest: They make no sense.
    """
    values = read_fields(given)
    if read_who(values) is None:
        raise InvalidRequest(
            "for whom? give hardware, client_id, or circuit_id with or without remote_id"
        )
    settings = None
    if any(given.get(name) for name in _SETTINGS):
        settings = Settings(
            _options(given.get("options") or {}),
            values.get("next_server"),
            values.get("boot_file"),
            values.get("server_name"),
        )
    hostname = values.get("hostname", "")
    if "address" not in values and not settings and not hostname:
        raise InvalidRequest("reserves nothing: give an address, a hostname or options")
    on_conflict = given.get("on_conflict") or OnConflict.WAIT.value
    conflict = _CONFLICTS.get(on_conflict)
    if conflict is None:
        known = ", ".join(_CONFLICTS)
        raise InvalidRequest(f"on_conflict: {on_conflict!r} is none of {known}")
    lifetime = given.get("lifetime")
    if lifetime is not None and lifetime <= 0:
        raise InvalidRequest("lifetime: must be at least one second")
    made = Reservation(
        values.get("address"),
        values.get("hardware", b""),
        values.get("client_id", b""),
        values.get("circuit_id", b""),
        values.get("remote_id", b""),
        hostname,
        settings or None,
        source,
        conflict,
        inf if lifetime is None or lifetime >= _LONGEST else when + lifetime,
    )
    _see_it_fits(made, given)
    return made


def _see_it_fits(made: Reservation, given: dict[str, Any]) -> None:
    """See that a list can show it.

    Raises:
        InvalidRequest: It is too long.
    """
    # What is short as text is short as JSON; there it is twelve times as long at most.
    texts = sum(len(each) for each in given.values() if isinstance(each, str))
    if (given.get("options") or texts > _MOST_BYTES // 12) and len(
        json.dumps(reservation_fields(made))
    ) > _MOST_BYTES:
        raise InvalidRequest("options: are too long altogether")


def entry_of(entry: Any, source: str) -> dict[str, Any]:
    """The arguments of `Reserve` or `CancelReservation` from an object of a list.

    Raises:
        InvalidRequest: It is none, or is for another source.
    """
    if not isinstance(entry, dict):
        raise InvalidRequest("must be an object with the arguments of Reserve")
    for name, value in entry.items():
        kind = _ENTRY.get(name)
        if kind is None:
            raise InvalidRequest(
                f"{name}: there is no such argument; there are {', '.join(_ENTRY)}"
            )
        if value is not None and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise InvalidRequest(f"{name}: must be {_KINDS[kind]}")
    if entry.get("source") not in (None, "", source):
        raise InvalidRequest(f"source: all have to be for {source!r}")
    return entry


def _options(given: Any) -> dict[int, bytes]:
    if not isinstance(given, dict):
        raise InvalidRequest("options: must be an object of names and texts")
    options: dict[int, bytes] = {}
    for name, text in given.items():
        try:
            code, data = parse_option(str(name), str(text))
        except ValueError as error:
            raise InvalidRequest(f"option {name}: {error}") from None
        if code in options:
            raise InvalidRequest(f"option {name}: is set twice, by name and by number")
        options[code] = data
    return options


def identity_fields(each: Identity, role: str | None) -> dict[str, Any]:
    """An identity for other programs; ``expires`` and ``revoked`` are None for never."""
    return {
        "name": each.name,
        "serial": f"{each.serial:x}",
        "issued": each.issued,
        "expires": each.expires,
        "by": each.by,
        "revoked": each.revoked,
        "revoked_by": each.revoked_by,
        "role": role,
    }


def check_name(name: str) -> str:
    """A name that an identity may have.

    Raises:
        ValueError: It may not.
    """
    if not name or not name.isprintable() or len(name.encode()) > 64:
        raise ValueError("must be 1 to 64 bytes of printable characters")
    if name != " ".join(name.split()) or re.search("[/=;#]", name) or name[0] == ".":
        raise ValueError(
            f"{name!r} cannot be: it becomes a file's name and a role's in the ini file,"
            " so no / = ; #, no dot in front, and no blank but single ones inside"
        )
    if name == FILE:
        raise ValueError(f"{FILE!r} is the source of the ini file's reservations")
    if parse_serial(name) is not None:
        raise ValueError(f"{name!r} looks like a serial number")
    return name


def parse_serial(text: str) -> int | None:
    """A certificate's number from how we or openssl write it; None if it is none.

    A short one, as other authorities give, is told from a name by ``0x`` before it.
    """
    if re.fullmatch(r"0x[0-9a-fA-F]{1,40}|[0-9a-fA-F]{16,40}", text):
        return int(text, 16)
    if re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7,19}", text):
        return int(text.replace(":", ""), 16)
    return None
