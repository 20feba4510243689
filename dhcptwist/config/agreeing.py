"""Whether what stands in several places of a configuration agrees."""

from __future__ import annotations

from collections.abc import Callable, Container
from ipaddress import IPv4Address
from typing import Any

from ..lease import Reservation
from ..network import Subnet
from .ini import Section


#: Notes a mistake: section, key, reason.
Wrong = Callable[[Section, str, str], None]


def check_subnets(
    subnets: list[tuple[Section, Subnet]], interfaces: tuple[str, ...], wrong: Wrong
) -> None:
    """No address, and no relay, is of two subnets; interfaces are among the server's."""
    ordered = sorted(subnets, key=lambda each: each[1].cidr)
    one = None
    for section, other in ordered:
        if one is not None and one.cidr.overlaps(other.cidr):
            wrong(section, "network", f"overlaps that of [subnet {one.name}]")
        else:
            one = other
    relays: dict[int, str] = {}
    for section, subnet in subnets:
        for relay in subnet.relays:
            if relay in relays:
                wrong(
                    section,
                    "relays",
                    f"{IPv4Address(relay)} is in [subnet {relays[relay]}] too",
                )
            relays[relay] = subnet.name
        named = subnet.interface
        if named and "*" not in interfaces and named not in interfaces:
            wrong(
                section,
                "interface",
                f"{named} is not among the server's interfaces",
            )


def check_reservations(
    reservations: list[tuple[Section, Reservation]],
    subnets: list[Subnet],
    classes: Container[str],
    wrong: Wrong,
) -> None:
    """Each has an address and a client to itself, and names what there is."""
    addresses: dict[int, str] = {}
    clients: dict[tuple[Any, ...], str] = {}
    for section, each in reservations:
        home = None
        if each.address is not None:
            address = each.address
            home = next((s for s in subnets if s.contains(address)), None)
            text = str(IPv4Address(address))
            if home is None:
                wrong(section, "address", f"{text} is in no [subnet]")
            elif home.cidr.prefixlen < 31 and address in (
                int(home.cidr.network_address),
                int(home.cidr.broadcast_address),
            ):
                wrong(section, "address", f"{text} is no host's address")
            if address in addresses:
                wrong(
                    section,
                    "address",
                    f"{text} is reserved in [{addresses[address]}] too",
                )
            addresses[address] = section.heading
        client = (*each.who, home.name if home else None)
        if client in clients:
            wrong(
                section,
                each.who[0]
                if each.who[0] != "port"
                else "circuit-id"
                if each.circuit_id
                else "remote-id",
                f"this client is in [{clients[client]}] too",
            )
        clients[client] = section.heading
        named = each.settings.client_class if each.settings else ""
        if named and named not in classes:
            wrong(section, "class", f"there is no [class {named}]")


def check_storage(section: Section, storage: str, wrong: Wrong) -> None:
    """What surrounds the storage is of use to it.

    Args:
        section: The ``[storage]`` section.
        storage: What ``[server] storage`` says, right or wrong.
        wrong: Notes a mistake.
    """
    keys = section.entries
    scheme = storage.partition(":")[0].strip().lower()
    if scheme in _DECIDES_ALONE and "reservations" in keys:
        wrong(
            section,
            "reservations",
            f"storage = {scheme}: decides everything itself; this is for the pools of"
            " memory: and sqlite:",
        )
    url = keys["reservations"].text if "reservations" in keys else ""
    if scheme in _WEB:
        url = storage
    elif scheme not in _DECIDES_ALONE | _POOLS:
        return  # somebody's plug-in: only it knows what it wants
    for key in ("token-file", "authority"):
        if key in keys and not url:
            wrong(
                section,
                key,
                "is for a web service, and none is asked: neither reservations here nor"
                " storage in [server] is a URL",
            )
    if "authority" in keys and url.lower().startswith("http:"):
        wrong(section, "authority", "is for https://, and the URL begins with http://")


_POOLS = frozenset({"memory", "sqlite"})
_WEB = frozenset({"http", "https"})
_DECIDES_ALONE = _WEB | {"python"}
