"""Networks as the server sees them: subnets, their pools, their options.

All of it is made once from the configuration and then only read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from socket import inet_ntoa
from types import MappingProxyType

from .lease import Settings
from .optionset import NOTHING, Classes, OptionSet, over
from .wire.codes import BROADCAST_ADDRESS, SUBNET_MASK


@dataclass(frozen=True, slots=True, eq=False)
class Subnet:
    """One subnet: its addresses, its times, its options.

    Attributes:
        name: What the configuration calls it.
        cidr: The network.
        ranges: First and last address of each pool, in order, not overlapping.
        interface: The interface it is on; None for the one with an address in it.
        shared_network: Subnets with this name in common are on one wire.
        relays: Relays (giaddr) of it whose addresses lie outside it.
        excluded: Addresses never given away: the routers, our own.
        lease_time, min_lease_time, max_lease_time: Seconds; ``0xFFFFFFFF`` is infinite.
        offer_hold: Seconds that an offered address is kept for its client.
        decline_hold: Seconds that a declined address rests.
        broadcast_always: Whether clients get broadcasts even unasked.
        options: Option code to bytes.
        settings: Boot file, next server, server name.
        selectable: Whether a client may choose this subnet by option 118 (RFC 3011).
    """

    name: str
    cidr: IPv4Network
    ranges: tuple[tuple[int, int], ...] = ()
    interface: str | None = None
    shared_network: str | None = None
    relays: frozenset[int] = frozenset()
    excluded: frozenset[int] = frozenset()
    lease_time: int = 12 * 3600
    min_lease_time: int = 0
    max_lease_time: int = 0
    offer_hold: int = 30
    decline_hold: int = 86400
    broadcast_always: bool = False
    options: Mapping[int, bytes] = field(default_factory=dict)
    settings: Settings = NOTHING
    selectable: bool = False
    network: int = field(init=False)
    mask: int = field(init=False)
    option_set: OptionSet = field(init=False)
    _told: Settings = field(init=False)
    _merged: dict[int, tuple[Settings, Classes | None, OptionSet]] = field(init=False)

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        set_once(self, "network", int(self.cidr.network_address))
        set_once(self, "mask", int(self.cidr.netmask))
        set_once(self, "min_lease_time", self.min_lease_time or self.lease_time)
        set_once(self, "max_lease_time", self.max_lease_time or self.lease_time)
        set_once(self, "_merged", {})
        base = {}
        if self.cidr.prefixlen:
            base = {
                SUBNET_MASK: self.cidr.netmask.packed,
                BROADCAST_ADDRESS: self.cidr.broadcast_address.packed,
            }
        everybody = over(Settings({**base, **self.options}), self.settings)
        set_once(self, "_told", everybody)
        set_once(self, "option_set", OptionSet(everybody))

    def options_with(
        self, own: Settings | None, classes: Classes | None = None
    ) -> OptionSet:
        """The subnet's options, a client's class over them, and its own on top.

        Args:
            own: What the client's lease says; None for nothing.
            classes: Where the class is found that ``own`` names.
        """
        if own is None:
            return self.option_set
        known = self._merged.get(id(own))
        if known is None or known[0] is not own or known[1] is not classes:
            if len(self._merged) >= OptionSet.REMEMBERED:
                self._merged.clear()
            lower = self._told
            if own.client_class and classes is not None:
                lower = over(lower, classes.named(own.client_class))
            option_set = OptionSet(over(lower, own))
            known = self._merged[id(own)] = own, classes, option_set
        return known[2]

    def contains(self, address: int) -> bool:
        """Whether an address lies in the subnet."""
        return address & self.mask == self.network

    def in_pools(self, address: int) -> bool:
        """Whether an address may be given dynamically here."""
        for first, last in self.ranges:
            if first <= address <= last:
                return address not in self.excluded
        return False

    def duration(self, requested: int | None) -> int:
        """The lease time in seconds for a client that asks for ``requested``.

        What a client wants is held between the least and the most (RFC 2131 section
        4.3.1 leaves it to the server); zero asks for the least.
        """
        if requested is None:
            return self.lease_time
        return min(max(requested, self.min_lease_time), self.max_lease_time)

    @property
    def size(self) -> int:
        """How many addresses the pools have."""
        return sum(last - first + 1 for first, last in self.ranges)


class Via:
    """The way a packet came in: what the reply needs to know of the interface.

    Attributes:
        interface: Its name.
        server_id: Our address there: option 54 and the reply's source.
        unicast: Whether packets here were sent to our own address, which tells a
            renewing client from a rebinding one.
        port: The port we listen on; clients listen on the next one.
        frames: Whether replies can go out as frames, to clients without an address.
        head: Options 53 and 54 encoded, by message type.
        server: Our address in bytes.
    """

    __slots__ = (
        "_texts",
        "frames",
        "head",
        "interface",
        "port",
        "server",
        "server_id",
        "unicast",
    )

    def __init__(
        self,
        interface: str,
        server_id: int,
        *,
        unicast: bool = False,
        port: int = 67,
        frames: bool = False,
    ) -> None:
        self.interface = interface
        self.server_id = server_id
        self.unicast = unicast
        self.port = port
        self.frames = frames
        self.server = server_id.to_bytes(4, "big")
        self.head = [bytes((53, 1, kind, 54, 4)) + self.server for kind in range(9)]
        self._texts: dict[bytes, str] = {}

    def text(self, relay: bytes) -> str:
        """A relay's address as sockets want it; there are few, so they are remembered."""
        text = self._texts.get(relay)
        if text is None:
            if len(self._texts) >= OptionSet.REMEMBERED:
                self._texts.clear()
            text = self._texts[relay] = inet_ntoa(relay)
        return text


class Network:
    """All subnets, and which of them a client is on.

    Args:
        subnets: The subnets, in the order of the configuration.
        interfaces: Interface name to our addresses on it.
        classes: Settings by the name of the class that has them.
        unknown_class: Is called with the name of a class that a storage names and that
            is not there, once for each.

    Attributes:
        by_name: The subnets by their names.
        addresses: Our own.
        cidrs: The networks of the subnets.
        selectable: Whether clients may choose one of the subnets (RFC 3011).
    """

    def __init__(
        self,
        subnets: Iterable[Subnet],
        interfaces: Mapping[str, Iterable[int]] | None = None,
        classes: Mapping[str, Settings] = MappingProxyType({}),
        unknown_class: Callable[[str], object] | None = None,
    ) -> None:
        self.subnets = tuple(subnets)
        self.classes = Classes(classes, unknown_class)
        self.by_name = {subnet.name: subnet for subnet in self.subnets}
        self.addresses = frozenset(
            address for mine in (interfaces or {}).values() for address in mine
        )
        self.cidrs = frozenset(subnet.cidr for subnet in self.subnets)
        self.selectable = any(subnet.selectable for subnet in self.subnets)
        self._sorted = sorted(self.subnets, key=lambda each: each.network)
        self._starts = [subnet.network for subnet in self._sorted]
        self._by_relay: dict[int, tuple[Subnet, ...]] = {}
        for subnet in self.subnets:
            for relay in subnet.relays:
                self._by_relay.setdefault(relay, self.link(subnet))
        self._by_interface: dict[str, tuple[Subnet, ...]] = {}
        for subnet in self.subnets:
            if subnet.interface is not None:
                self._join(subnet.interface, subnet)
        for name, mine in (interfaces or {}).items():
            for address in mine:
                found = self.subnet_of(address)
                if found is not None and found.interface is None:
                    self._join(name, found)

    def _join(self, interface: str, subnet: Subnet) -> None:
        link = self._by_interface.get(interface, ())
        more = tuple(each for each in self.link(subnet) if each not in link)
        self._by_interface[interface] = link + more

    def link(self, subnet: Subnet) -> tuple[Subnet, ...]:
        """The subnets on the wire of this one, itself included, in filling order."""
        if subnet.shared_network is None:
            return (subnet,)
        return tuple(
            each
            for each in self.subnets
            if each.shared_network == subnet.shared_network
        )

    def subnet_of(self, address: int) -> Subnet | None:
        """The subnet that an address lies in, or None."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0 and self._sorted[at].contains(address):
            return self._sorted[at]
        return None

    def link_of_interface(self, interface: str) -> tuple[Subnet, ...]:
        """The subnets of clients that an interface hears directly."""
        return self._by_interface.get(interface, ())

    def link_of_relay(self, giaddr: int) -> tuple[Subnet, ...]:
        """The subnets of clients behind a relay (RFC 2131 section 4.3.1)."""
        link = self._by_relay.get(giaddr)
        if link is None:
            subnet = self.subnet_of(giaddr)
            if subnet is None:
                return ()
            # Not kept for every giaddr that a stranger may claim to be.
            link = self.link(subnet)
            if len(self._by_relay) < 4096:
                self._by_relay[giaddr] = link
        return link
