"""Which address a client gets: the order of RFC 2131 section 4.3.1."""

from __future__ import annotations

from ..client import Client
from ..lease import LeaseState
from ..network import Subnet
from .importing import Importing


#: Relays of one subnet whose addresses are remembered and kept out of its pools.
MOST_RELAYS = 8


class Choosing(Importing):
    """The part of a pool that finds addresses."""

    def may_give(self, subnet: Subnet, address: int) -> bool:
        """Whether an address is one to give: of a pool, not ours, not a relay's."""
        return (
            subnet.in_pools(address)
            and address not in self.network.addresses
            and address not in self._relays
        )

    def choose(
        self, client: Client, when: float, avoid: int = 0
    ) -> tuple[Subnet, int] | None:
        """A dynamic address for a client, in the order of RFC 2131 section 4.3.1."""
        self._learn_relay(client)
        index = self.index
        key = client.key
        # "The client's current address as recorded in the client's current binding,
        # ELSE the client's previous address … if that address is in the server's pool
        # of available addresses and not already allocated"
        lease = index.of_client(key, client.subnets)
        wishes = [] if lease is None else [lease.address]
        # What it was offered is its own, too, until the offer ends.
        if key in index.offer_of:
            wishes.append(index.offer_of[key])
        # "ELSE the address requested in the 'Requested IP Address' option, if that
        # address is valid and not already allocated"
        if client.requested:
            wishes.append(client.requested)
        for address in wishes:
            subnet = client.subnet_of(address)
            if (
                subnet is not None
                and address != avoid
                and self.may_give(subnet, address)
                and self.is_available(address, key, when)
            ):
                return subnet, address
        # "ELSE a new address allocated from the server's pool of available addresses"
        for subnet in client.subnets:
            taken = index.area(subnet).free.take(
                lambda address, subnet=subnet: (  # type: ignore[misc]
                    address not in subnet.excluded
                    and address not in self.network.addresses
                    and address not in self._relays
                    and address != avoid
                    and self.is_available(address, key, when)
                )
            )
            if taken is not None:
                return subnet, taken
        return None

    def is_available(self, address: int, key: bytes, when: float) -> bool:
        """Whether a client may have an address by the dynamic rules."""
        index = self.index
        lease = index.leases.get(address)
        if (
            lease is not None
            and lease.held(when)
            and (lease.key != key or lease.state != LeaseState.BOUND)
        ):
            return False
        offer = index.offers.get(address)
        if offer is not None and offer.key != key and offer.expires > when:
            return False
        return not self.is_reserved(address, when)

    def _learn_relay(self, client: Client) -> None:
        """Never give away the address of the relay that asks."""
        giaddr = client.message.giaddr
        if giaddr and giaddr not in self._relays and self._is_relay(client, giaddr):
            self._relays.add(giaddr)

    def _is_relay(self, client: Client, giaddr: int) -> bool:
        """Whether to believe that an address is a relay's of the client's link."""
        home = client.subnet_of(giaddr)
        # A subnet has few relays; who claims to be more of them is lying.
        return home is not None and sum(map(home.contains, self._relays)) < MOST_RELAYS
