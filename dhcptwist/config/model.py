"""What a configuration is once it is read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path

from ..lease import Reservation, Settings
from ..network import Subnet
from ..wire.codes import HOST_NAME
from .ini import Problem


#: The verbs that a role may have.
VERBS = frozenset({"reserve", "cancel", "list", "revoke", "status"})


class ConfigError(ValueError):
    """The configuration cannot be used.

    Attributes:
        problems: Every mistake, in the order of the file.
    """

    def __init__(self, problems: list[Problem], name: str = "") -> None:
        self.problems = sorted(problems, key=lambda each: each.line)
        where = f"{name}: " if name else ""
        count = len(problems)
        super().__init__(
            "\n".join(
                [
                    f"{where}{count} mistake{'s' if count > 1 else ''}; nothing starts",
                    *(f"  {problem}" for problem in self.problems),
                ]
            )
        )


@dataclass(frozen=True, slots=True)
class Role:
    """What the holder of a certificate may do.

    Attributes:
        name: The certificate's common name.
        verbs: Of `VERBS`.
        networks: Where; empty for everywhere.
    """

    name: str
    verbs: frozenset[str]
    networks: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """The control channel.

    Attributes:
        listen: An endpoint, ``tcp:…`` or ``unix:…``; empty for none.
        certificate: File of the server's certificate and key; None for the state's.
        authority: File of the authority's certificate; None for the state's.
        roles: Who may do what, beside ``admin``.
    """

    listen: str = "tcp:6768:interface=127.0.0.1"
    certificate: str | None = None
    authority: str | None = None
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, checked.

    Attributes:
        subnets: The subnets, in order.
        reservations: The file's own.
        interfaces: Names; ``("*",)`` for all that have an address.
        port: The server's port; clients are answered on the next one.
        authoritative: Whether to NAK what is unknown.
        state: The directory of storage, certificates and sockets.
        storage: Which storage, ``SCHEME:ARGUMENT``.
        control: The control channel.
    """

    subnets: tuple[Subnet, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    interfaces: tuple[str, ...] = ("*",)
    port: int = 67
    authoritative: bool = True
    state: Path = Path("/var/lib/dhcptwist")
    storage: str = "sqlite:leases.sqlite"
    control: ControlConfig = field(default_factory=ControlConfig)


def reservation_with(reservation: Reservation, settings: Settings) -> Reservation:
    """A reservation with settings, its hostname among them as option 12."""
    options = dict(settings.options)
    if reservation.hostname:
        options.setdefault(HOST_NAME, reservation.hostname.encode())
    merged = replace(settings, options=options)
    return replace(reservation, settings=merged or None)
