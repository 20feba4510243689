"""A configuration as text again: what two of them differ in, key by key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from math import inf

from ..lease import (
    FILE,
    OnConflict,
    Reservation,
    Settings,
    format_hardware,
    format_identifier,
)
from ..network import Subnet
from ..wire.codes import HOST_NAME, INFINITE, ROUTERS
from ..wire.options import option_kind
from .model import Config, Rate, Role, StorageConfig


#: What a running server cannot change: it would have to open or move something.
NEEDS_RESTART: Mapping[str, frozenset[str]] = {
    "server": frozenset({"interfaces", "port", "state", "storage"}),
    "storage": frozenset({"history", "reservations", "token-file", "authority"}),
    "control": frozenset({"listen", "certificate", "authority"}),
}

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in one section.

    Attributes:
        section: Its heading; a reservation's has the client instead of the name.
        what: ``added``, ``removed`` or ``changed``.
        keys: Each key that differs, with its old and its new value; None for none.
    """

    section: str
    what: str
    keys: tuple[tuple[str, str | None, str | None], ...]


def differences(old: Config, new: Config) -> tuple[list[Change], list[Change]]:
    """What changes, and what would but needs a restart."""
    several = _several(old.reservations) | _several(new.reservations)
    before, after = _sections(old, several), _sections(new, several)
    changes: list[Change] = []
    restart: list[Change] = []
    for heading in {**before, **after}:
        one, other = before.get(heading), after.get(heading)
        if one == other:
            continue
        what = "added" if one is None else "removed" if other is None else "changed"
        one, other = one or {}, other or {}
        keys = [
            (key, one.get(key), other.get(key))
            for key in {**one, **other}
            if one.get(key) != other.get(key)
        ]
        if what != "changed":
            keys = [key for key in keys if not _is_usual(heading, *key)]
        fixed = NEEDS_RESTART.get(heading, frozenset())
        live = tuple(key for key in keys if key[0] not in fixed)
        stuck = tuple(key for key in keys if key[0] in fixed)
        if live or what != "changed":
            changes.append(Change(heading, what, live))
        if stuck:
            restart.append(Change(heading, what, stuck))
    return changes, restart


def _is_usual(heading: str, key: str, old: str | None, new: str | None) -> bool:
    """Whether a key of a section that comes or goes says what holds without it."""
    return heading.startswith("subnet ") and _USUAL.get(key, "") in {old, new}


def without_restart(old: Config, new: Config) -> Config:
    """The new configuration, but for what needs a restart."""
    return replace(
        new,
        interfaces=old.interfaces,
        port=old.port,
        state=old.state,
        storage=old.storage,
        control=replace(old.control, roles=new.control.roles),
        around=replace(
            new.around,
            history=old.around.history,
            reservations=old.around.reservations,
            token=old.around.token,
            authority=old.around.authority,
        ),
    )


def changed_reservations(
    old: Iterable[Reservation], new: Iterable[Reservation]
) -> tuple[list[Reservation], list[Reservation]]:
    """Those that are new, and those that have gone; a changed one is in both."""
    before = {each.place: each for each in old}
    after = {each.place: each for each in new}
    return (
        [each for place, each in after.items() if before.get(place) != each],
        [each for place, each in before.items() if after.get(place) != each],
    )


# --- sections ---------------------------------------------------------------------


def _several(reservations: Iterable[Reservation]) -> set[tuple[str, bytes, bytes]]:
    """The clients that have more than one reservation."""
    counts = Counter(each.who for each in reservations)
    return {who for who, count in counts.items() if count > 1}


def _sections(
    config: Config, several: set[tuple[str, bytes, bytes]]
) -> dict[str, dict[str, str]]:
    found = {
        "server": {
            "interfaces": ", ".join(config.interfaces),
            "port": str(config.port),
            "authoritative": _yes_no(config.authoritative),
            "state": str(config.state),
            "storage": config.storage,
        },
        "storage": _storage(config.around),
        "control": {
            "listen": config.control.listen,
            "certificate": config.control.certificate or "",
            "authority": config.control.authority or "",
            **{f"role {role.name}": role_text(role) for role in config.control.roles},
        },
    }
    for subnet in config.subnets:
        found[f"subnet {subnet.name}"] = _subnet(subnet)
    for name, settings in config.classes.items():
        found[f"class {name}"] = dict(_settings(settings))
    for each in config.reservations:
        at = ""
        if each.who in several:
            at = (
                " without an address"
                if each.address is None
                else f" at {_address(each.address)}"
            )
        found[f"reservation of {who_text(each)}{at}"] = _reservation(each)
    return found


def role_text(role: Role) -> str:
    """A role as it stands in the ini file."""
    text = ", ".join(sorted(role.verbs))
    if role.networks:
        text += f" in {', '.join(map(str, role.networks))}"
    if role.sources:
        text += f" as {', '.join(role.sources)}"
    if role.rate is not None:
        text += f" at {_rate(role.rate)}"
    return text


def who_text(each: Reservation) -> str:
    """Who a reservation is for, for people."""
    if each.hardware:
        return format_hardware(each.hardware)
    if each.client_id:
        return format_identifier(each.client_id)
    parts = (("circuit-id", each.circuit_id), ("remote-id", each.remote_id))
    return " ".join(f"{name} {format_identifier(part)}" for name, part in parts if part)


def _storage(around: StorageConfig) -> dict[str, str]:
    history = around.history
    return {
        "history": "infinite" if history == inf else _time(int(history)),
        "deadline": _time(int(around.deadline)),
        "outstanding": str(around.outstanding),
        "fallback": "stale" if around.stale else "silence",
        "client-limit": _rate(around.client_limit),
        "port-limit": _rate(around.port_limit),
        "reservations": around.reservations,
        "token-file": around.token,
        "authority": around.authority,
    }


def _subnet(subnet: Subnet) -> dict[str, str]:
    found = {
        "network": str(subnet.cidr),
        "pools": ", ".join(f"{_address(a)} - {_address(b)}" for a, b in subnet.ranges),
        "interface": subnet.interface or "",
        "shared-network": subnet.shared_network or "",
        "relays": ", ".join(map(_address, sorted(subnet.relays))),
        "lease-time": _time(subnet.lease_time),
        "min-lease-time": _time(subnet.min_lease_time),
        "max-lease-time": _time(subnet.max_lease_time),
        "offer-hold": _time(subnet.offer_hold),
        "decline-hold": _time(subnet.decline_hold),
        "broadcast": "always" if subnet.broadcast_always else "as-asked",
        "subnet-selection": _yes_no(subnet.selectable),
    }
    # What is as the lease time says is not set, or might as well not be.
    for key in ("min-lease-time", "max-lease-time"):
        if found[key] == found["lease-time"]:
            del found[key]
    routers = subnet.options.get(ROUTERS, b"")
    quads = {routers[at : at + 4] for at in range(0, len(routers), 4)}
    excluded = {
        address
        for address in subnet.excluded
        if address.to_bytes(4, "big") not in quads
    }
    found["excluded"] = ", ".join(map(_address, sorted(excluded)))
    found |= _settings(subnet.settings)
    found |= _options(subnet.options)
    return {key: value for key, value in found.items() if value}


def _settings(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.next_server is not None:
        yield "next-server", _address(settings.next_server)
    if settings.boot_file is not None:
        yield "boot-file", settings.boot_file
    if settings.server_name is not None:
        yield "server-name", settings.server_name
    if settings.hostname is not None:
        yield "hostname", settings.hostname
    if settings.client_class:
        yield "class", settings.client_class
    for name, seconds in (
        ("renewal-time", settings.renewal_time),
        ("rebinding-time", settings.rebinding_time),
    ):
        if seconds is not None:
            yield name, _time(seconds)
    yield from _options(settings.options).items()


def _options(options: Mapping[int, bytes]) -> dict[str, str]:
    found = {}
    for code, data in options.items():
        kind = option_kind(code)
        name = kind.name if kind.name != f"option-{code}" else code
        found[f"option.{name}"] = kind.shape.decode_text(data)
    return found


def _reservation(each: Reservation) -> dict[str, str]:
    found = {
        "address": "" if each.address is None else _address(each.address),
        "hostname": each.hostname,
        # These three are a program's to say; the ini file has no words for them.
        "source": "" if each.source == FILE else each.source,
        "on-conflict": ""
        if each.on_conflict == OnConflict.WAIT
        else each.on_conflict.value,
        "expires": "" if each.expires == inf else f"@{each.expires:.0f}",
    }
    settings = each.settings or Settings()
    found |= _settings(settings)
    if settings.options.get(HOST_NAME) == each.hostname.encode():
        del found["option.host-name"]
    return {key: value for key, value in found.items() if value}


# --- values -----------------------------------------------------------------------


def _address(number: int) -> str:
    return str(IPv4Address(number))


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


def _time(seconds: int) -> str:
    """Seconds as `parse_duration` reads them."""
    if seconds == INFINITE:
        return "infinite"
    text = ""
    for unit, size in _UNITS:
        if seconds >= size:
            text += f"{seconds // size}{unit}"
            seconds %= size
    return text or "0s"


def _rate(rate: Rate | None) -> str:
    return "none" if rate is None else f"{rate.count} per {_time(int(rate.seconds))}"


#: What a subnet is without being told.
_USUAL = {
    key: value
    for key, value in _subnet(Subnet("", IPv4Network("0.0.0.0/0"))).items()
    if key != "network"
}
