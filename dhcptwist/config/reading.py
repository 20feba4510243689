"""From sections to a `Config`: what is wrong is collected, not raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ..lease import Reservation, Settings
from ..network import Subnet
from ..wire.codes import ROUTERS
from .agreeing import check_reservations, check_storage, check_subnets
from .ini import Entry, Problem, Section, read
from .model import Config, ConfigError, ControlConfig, StorageConfig
from .values import (
    CLASS_KEYS,
    RESERVATION_KEYS,
    SERVER_KEYS,
    STORAGE_FIELDS,
    STORAGE_KEYS,
    SUBNET_KEYS,
    only_no,
    parse_option,
    parse_pool,
    parse_role,
)


T = TypeVar("T")

_ABSENT: tuple[Section | None, Any] = (None, MappingProxyType({}))
_NO_SUCH_SECTION = (
    "there is no such section; there are [server], [storage], [control], [subnet NAME],"
    " [class NAME] and [reservation NAME]"
)
_NO_MATCHING = (
    "this version of dhcptwist cannot match clients yet; a storage's answer names the"
    " class, or class = in a [reservation]"
)


def load(path: str | Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: Mistakes, all of them; or the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problem = Problem(0, "", "", f"cannot be read: {reason}")
        raise ConfigError([problem], str(path)) from None
    return parse(text, str(path))


def parse(text: str, name: str = "") -> Config:
    """Read a configuration from text.

    Raises:
        ConfigError: Mistakes, all of them.
    """
    problems: list[Problem] = []
    config = Reading(problems).config(read(text, problems))
    if problems:
        raise ConfigError(problems, name)
    return config


def _no_such_key(key: str, known: dict[str, Callable[[str], Any]]) -> str:
    """That, and which there are: the one that was meant first."""
    usable = sorted(each for each, read in known.items() if read is not only_no)
    near = get_close_matches(key, usable, 1)
    meant = f" (is it {near[0]}?)" if near else ""
    return f"there is no such key{meant}; there are {', '.join(usable)}"


class Reading:
    """One reading of one file: sections to values, mistakes to a list."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def config(self, sections: list[Section]) -> Config:
        """The whole, as far as it can be made out."""
        plain: dict[str, Callable[[Section], Any]] = {
            "server": lambda section: self._values(section, SERVER_KEYS),
            "storage": self._storage,
            "control": self._control,
        }
        named: dict[str, Callable[[Section], Any]] = {
            "subnet": self._subnet,
            "class": self._class,
            "reservation": self._reservation,
        }
        found: dict[str, list[tuple[Section, Any]]] = {}
        for section in sections:
            make = (named if section.name else plain).get(section.kind)
            if make is not None:
                value = make(section)
                if value is not None:
                    found.setdefault(section.kind, []).append((section, value))
            elif section.kind in named:
                self._wrong(section, "", f"needs a name: [{section.kind} NAME]")
            elif section.kind == "ddns":
                self._wrong(section, "", "this version of dhcptwist has none of these")
            else:
                self._wrong(section, "", _NO_SUCH_SECTION)
        subnets: list[tuple[Section, Subnet]] = found.get("subnet", [])
        reservations: list[tuple[Section, Reservation]] = found.get("reservation", [])
        classes = {section.name: each for section, each in found.get("class", [])}
        place, server = found.get("server", [_ABSENT])[-1]
        _, control = found.get("control", [_ABSENT])[-1]
        around, storage = found.get("storage", [_ABSENT])[-1]
        check_subnets(subnets, server.get("interfaces", ("*",)), self._wrong)
        check_reservations(
            reservations, [each for _, each in subnets], classes, self._wrong
        )
        if around is not None:
            chosen = place.entries.get("storage") if place else None
            text = chosen.text if chosen else Config().storage
            check_storage(around, text, self._wrong)
        state = Path(server.get("state", Config().state)).absolute()
        for name in {"token", "authority"} & set(storage):
            storage[name] = str(state / storage[name])
        return Config(
            tuple(each for _, each in subnets),
            tuple(each for _, each in reservations),
            control=control or ControlConfig(),
            around=StorageConfig(**storage),
            classes=classes,
            **{**server, "state": state},
        )

    # --- values -------------------------------------------------------------------

    def _wrong(self, section: Section, key: str, reason: str) -> None:
        entry = section.entries.get(key)
        line = entry.line if entry else section.line
        self._problems.append(Problem(line, section.heading, key, reason))

    def _try(
        self, section: Section, key: str, make: Callable[[str], T], text: str
    ) -> T | None:
        try:
            return make(text)
        except ValueError as error:
            self._wrong(section, key, str(error))
            return None

    def _values(
        self, section: Section, known: dict[str, Callable[[str], Any]]
    ) -> dict[str, Any]:
        """The values of known keys; unknown keys are mistakes."""
        values: dict[str, Any] = {}
        for key, entry in section.entries.items():
            if key in known:
                value = self._try(section, key, known[key], entry.text)
                if value is not None:
                    values[key] = value
            elif not (key.startswith("option.") and "boot-file" in known):
                self._wrong(section, key, _no_such_key(key, known))
        return values

    def _options(self, section: Section) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        for key, entry in section.entries.items():
            if not key.startswith("option."):
                continue
            made = self._try(
                section,
                key,
                lambda text, key=key: parse_option(key, text),  # type: ignore[misc]
                entry.text,
            )
            if made is not None:
                if made[0] in options:
                    self._wrong(section, key, "is set twice, by name and by number")
                options[made[0]] = made[1]
        return options

    @staticmethod
    def _settings(values: dict[str, Any], options: dict[int, bytes]) -> Settings:
        return Settings(
            options,
            values.get("next-server"),
            values.get("boot-file"),
            values.get("server-name"),
            client_class=values.get("class", ""),
        )

    # --- sections -----------------------------------------------------------------

    def _control(self, section: Section) -> ControlConfig:
        values: dict[str, Any] = {}
        roles = []
        for key, entry in section.entries.items():
            if key.startswith("role "):
                role = self._try(
                    section,
                    key,
                    lambda text, key=key: parse_role(key[5:].strip(), text),  # type: ignore[misc]
                    entry.text,
                )
                if role is not None:
                    roles.append(role)
            elif key in {"listen", "certificate", "authority"}:
                values[key] = entry.text or ("" if key == "listen" else None)
            else:
                self._wrong(
                    section,
                    key,
                    "there is no such key; there are listen, certificate, authority"
                    " and role NAME",
                )
        listen = values.get("listen", "")
        if listen and not listen.startswith(("tcp:", "unix:")):
            self._wrong(section, "listen", f"{listen!r} is neither tcp:… nor unix:…")
        if listen.startswith("unix:") and ":mode=" not in listen:
            self._wrong(
                section, "listen", "a unix: socket needs its mode, as in :mode=660"
            )
        return ControlConfig(roles=tuple(roles), **values)

    def _storage(self, section: Section) -> dict[str, Any]:
        values = self._values(section, STORAGE_KEYS)
        return {STORAGE_FIELDS.get(key, key): value for key, value in values.items()}

    def _class(self, section: Section) -> Settings:
        matching = [key for key in section.entries if key.startswith("match.")]
        for key in matching:
            self._wrong(section, key, _NO_MATCHING)
        entries = {k: e for k, e in section.entries.items() if k not in matching}
        section = replace(section, entries=entries)
        values = self._values(section, CLASS_KEYS)
        return self._settings(values, self._options(section))

    def _subnet(self, section: Section) -> Subnet | None:
        values = self._values(section, SUBNET_KEYS)
        options = self._options(section)
        network: IPv4Network | None = values.get("network")
        if network is None:
            if "network" not in section.entries:
                self._wrong(section, "", "has no network")
            return None
        ranges = tuple(self._pools(section, network))
        routers = options.get(ROUTERS, b"")
        lease_time = values.get("lease-time", 12 * 3600)
        least = values.get("min-lease-time", lease_time)
        most = values.get("max-lease-time", lease_time)
        times = {"lease-time", "min-lease-time", "max-lease-time"}
        readable = not (times & set(section.entries)) - set(values)
        if readable and not least <= lease_time <= most:
            self._wrong(
                section,
                "lease-time",
                "must lie between min-lease-time and max-lease-time",
            )
        return Subnet(
            section.name,
            network,
            ranges,
            values.get("interface"),
            values.get("shared-network"),
            values.get("relays", frozenset()),
            frozenset(
                int.from_bytes(routers[at : at + 4], "big")
                for at in range(0, len(routers), 4)
            ),
            lease_time,
            least,
            most,
            values.get("offer-hold", 30),
            values.get("decline-hold", 86400),
            values.get("broadcast", False),
            options,
            self._settings(values, {}),
            values.get("subnet-selection", False),
        )

    def _pools(
        self, section: Section, network: IPv4Network
    ) -> Iterator[tuple[int, int]]:
        entry = section.entries.get("pools", Entry(0, []))
        found: list[tuple[int, int]] = []
        for line in entry.lines:
            for text in filter(None, (each.strip() for each in line.split(","))):
                pool = self._try(
                    section,
                    "pools",
                    lambda text: parse_pool(text, network),
                    text,
                )
                if pool is not None:
                    found.append(pool)
        reach = -1
        for first, last in sorted(found):
            if first <= reach:
                self._wrong(
                    section, "pools", f"{IPv4Address(first)} is in two of the pools"
                )
            reach = max(reach, last)
        yield from found

    def _reservation(self, section: Section) -> Reservation | None:
        values = self._values(section, RESERVATION_KEYS)
        options = self._options(section)
        keys: list[str] = [
            k for k in ("hardware", "client-id", "circuit-id") if k in values
        ]
        if "remote-id" in values and "circuit-id" not in values:
            keys.append("remote-id")
        wanted = {"hardware", "client-id", "circuit-id", "remote-id"}
        if not wanted & set(section.entries):
            self._wrong(section, "", "for whom? set hardware, client-id or circuit-id")
            return None
        if len(keys) > 1:
            self._wrong(
                section, keys[1], f"one client, one key: there is {keys[0]} too"
            )
            return None
        if not keys:
            return None
        return Reservation(
            values.get("address"),
            values.get("hardware", b""),
            values.get("client-id", b""),
            values.get("circuit-id", b""),
            values.get("remote-id", b""),
            values.get("hostname", ""),
            self._settings(values, options) or None,
        )
