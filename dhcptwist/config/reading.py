"""From sections to a `Config`: what is wrong is collected, not raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from ..lease import Reservation, Settings
from ..network import Subnet
from ..wire.codes import ROUTERS
from .ini import Entry, Problem, Section, read
from .model import Config, ConfigError, ControlConfig, reservation_with
from .values import (
    RESERVATION_KEYS,
    SERVER_KEYS,
    SUBNET_KEYS,
    parse_option,
    parse_pool,
    parse_role,
)


T = TypeVar("T")


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


class Reading:
    """One reading of one file: sections to values, mistakes to a list."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def config(self, sections: list[Section]) -> Config:
        """The whole, as far as it can be made out."""
        subnets: list[tuple[Section, Subnet]] = []
        reservations: list[tuple[Section, Reservation]] = []
        server: dict[str, Any] = {}
        control = ControlConfig()
        for section in sections:
            named = bool(section.name)
            if section.kind == "server" and not named:
                server = self._values(section, SERVER_KEYS)
            elif section.kind == "control" and not named:
                control = self._control(section)
            elif section.kind == "subnet" and named:
                subnet = self._subnet(section)
                if subnet is not None:
                    subnets.append((section, subnet))
            elif section.kind == "reservation" and named:
                reservation = self._reservation(section)
                if reservation is not None:
                    reservations.append((section, reservation))
            elif section.kind in {"subnet", "reservation"}:
                self._wrong(section, "", f"needs a name: [{section.kind} NAME]")
            elif section.kind in {"class", "ddns"}:
                self._wrong(section, "", "this version of dhcptwist has none of these")
            else:
                self._wrong(
                    section,
                    "",
                    "there is no such section; there are [server], [control],"
                    " [subnet NAME] and [reservation NAME]",
                )
        self._check_subnets(subnets, server.get("interfaces", ("*",)))
        self._check_reservations(reservations, [each for _, each in subnets])
        state = Path(server.pop("state", "/var/lib/dhcptwist")).absolute()
        return Config(
            tuple(each for _, each in subnets),
            tuple(each for _, each in reservations),
            state=state,
            control=control,
            **server,
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
                near = ", ".join(sorted(known))
                self._wrong(section, key, f"there is no such key; there are {near}")
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
        return reservation_with(
            Reservation(
                values.get("address"),
                values.get("hardware", b""),
                values.get("client-id", b""),
                values.get("circuit-id", b""),
                values.get("remote-id", b""),
                values.get("hostname", ""),
            ),
            self._settings(values, options),
        )

    # --- what belongs together ----------------------------------------------------

    def _check_subnets(
        self, subnets: list[tuple[Section, Subnet]], interfaces: tuple[str, ...]
    ) -> None:
        ordered = sorted(subnets, key=lambda each: each[1].cidr)
        one = None
        for section, other in ordered:
            if one is not None and one.cidr.overlaps(other.cidr):
                self._wrong(section, "network", f"overlaps that of [subnet {one.name}]")
            else:
                one = other
        relays: dict[int, str] = {}
        for section, subnet in subnets:
            for relay in subnet.relays:
                if relay in relays:
                    self._wrong(
                        section,
                        "relays",
                        f"{IPv4Address(relay)} is in [subnet {relays[relay]}] too",
                    )
                relays[relay] = subnet.name
            named = subnet.interface
            if named and "*" not in interfaces and named not in interfaces:
                self._wrong(
                    section,
                    "interface",
                    f"{named} is not among the server's interfaces",
                )

    def _check_reservations(
        self, reservations: list[tuple[Section, Reservation]], subnets: list[Subnet]
    ) -> None:
        addresses: dict[int, str] = {}
        clients: dict[tuple[Any, ...], str] = {}
        for section, each in reservations:
            home = None
            if each.address is not None:
                address = each.address
                home = next((s for s in subnets if s.contains(address)), None)
                text = str(IPv4Address(address))
                if home is None:
                    self._wrong(section, "address", f"{text} is in no [subnet]")
                elif home.cidr.prefixlen < 31 and address in (
                    int(home.cidr.network_address),
                    int(home.cidr.broadcast_address),
                ):
                    self._wrong(section, "address", f"{text} is no host's address")
                if address in addresses:
                    self._wrong(
                        section,
                        "address",
                        f"{text} is reserved in [{addresses[address]}] too",
                    )
                addresses[address] = section.heading
            client = (*each.who, home.name if home else None)
            if client in clients:
                self._wrong(
                    section,
                    each.who[0]
                    if each.who[0] != "port"
                    else "circuit-id"
                    if each.circuit_id
                    else "remote-id",
                    f"this client is in [{clients[client]}] too",
                )
            clients[client] = section.heading
