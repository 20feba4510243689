"""Who is calling, and what it may do."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from ..config import Role
from ..lease import FILE
from .errors import InvalidRequest, NotPermitted
from .tls import ADMIN


class Caller:
    """Who is calling, and what it may do.

    Args:
        name: The common name of its certificate.
        role: Its role; None for nothing at all, unless it is ``admin``.
        serial: The number of its certificate; None if it has shown none.

    Attributes:
        name, role, serial: The same.
        is_admin: Whether it may do everything.
    """

    def __init__(self, name: str, role: Role | None, serial: int | None = None) -> None:
        self.name = name
        self.serial = serial
        self.role = role
        self.is_admin = name == ADMIN

    def must(self, verb: str) -> None:
        """See that it may do this at all.

        Raises:
            NotPermitted: It may not.
        """
        if not self.is_admin and (self.role is None or verb not in self.role.verbs):
            raise NotPermitted(f"{self.name!r} may not {verb} on this server")

    def reaches(self, address: int | None) -> bool:
        """Whether it may do what it may at this address; None for no address."""
        if self.is_admin or self.role is None or not self.role.networks:
            return self.is_admin or self.role is not None
        return address is not None and any(
            IPv4Address(address) in network for network in self.role.networks
        )

    def reaches_all(self, network: IPv4Network) -> bool:
        """Whether it may do what it may at every address of a network."""
        if self.is_admin or self.role is None or not self.role.networks:
            return self.reaches(None)
        return any(network.subnet_of(each) for each in self.role.networks)

    def must_reach(self, address: int | None) -> None:
        """See that an address is within its networks.

        Raises:
            NotPermitted: It is not.
        """
        if not self.reaches(address):
            where = (
                "without an address" if address is None else str(IPv4Address(address))
            )
            raise NotPermitted(f"{self.name!r} may do nothing at {where}")

    @property
    def sources(self) -> tuple[str, ...]:
        """Whose reservations it may write: its own, or its role's; ``admin`` any."""
        if self.role is not None and self.role.sources:
            return self.role.sources
        return (self.name,)

    def source(self, wanted: str | None) -> str:
        """The source it acts for: the first of its own, or any if it is ``admin``.

        Raises:
            NotPermitted: The source is another's, or the file's.
        """
        wanted = wanted or self.sources[0]
        if wanted == FILE:
            raise NotPermitted(
                "the reservations of the configuration file are changed in the file"
            )
        if wanted in self.sources:
            return wanted
        if not self.is_admin:
            raise NotPermitted(f"{self.name!r} may not act as the source {wanted!r}")
        if len(wanted) > 64 or not wanted.isprintable():
            raise InvalidRequest("source: must be 1 to 64 printable characters")
        return wanted
