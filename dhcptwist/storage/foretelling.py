"""Which address a client would get, and why not another: the order of `choosing.py`, told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..client import Client
from ..explanation import Passed
from ..lease import LeaseState
from ..network import Subnet
from .foreseeing import returned
from .granting import Granting
from .wording import end_of, passed_over, reserved_for


class Choice(NamedTuple):
    """A dynamic address, and why this one."""

    subnet: Subnet
    address: int
    rule: str
    reason: str


class Foretelling(Granting):
    """The part of a pool that finds the address it would give, and takes it not."""

    def foretell(
        self,
        client: Client,
        requested: int,
        when: float,
        passed: list[Passed],
        avoid: int = 0,
    ) -> Choice | None:
        """See `choose`; what is passed over is added to a list."""
        back, dropped = returned(self.index, self.reserved, client, when)
        giaddr = client.message.giaddr
        relay = giaddr if self._is_relay(client, giaddr) else 0

        def is_free(address: int) -> bool:
            return (
                address not in (avoid, relay)
                and address not in self.network.addresses
                and address not in self._relays
                and self.is_available(address, client.key, when)
            )

        for address, rule, words in self._wishes(client, requested, when, dropped):
            subnet = client.subnet_of(address)
            if subnet is not None and subnet.in_pools(address) and is_free(address):
                return Choice(subnet, address, rule, words)
            if all(each.address != address for each in passed):
                passed.append(self.why_not(client, address, when))
        for subnet in client.subnets:
            free = self.index.area(subnet).free.order(back.get(subnet.name, ()))
            for address in free:
                if address in subnet.excluded or not is_free(address):
                    continue
                if address in self.index.leases:
                    words = "of the free addresses of the pool it is unused longest"
                    return Choice(subnet, address, "longest-unused", words)
                words = "the next address of the pool that nobody has had"
                return Choice(subnet, address, "free", words)
        return None

    def _wishes(
        self, client: Client, requested: int, when: float, dropped: set[int]
    ) -> Iterator[tuple[int, str, str]]:
        """The addresses that come before those of the pool, with rule and words."""
        index = self.index
        lease = index.of_client(client.key, client.subnets)
        if lease is not None and lease.bound(when):
            yield lease.address, "current", "its lease of this address goes on"
        elif lease is not None:
            yield lease.address, "previous", "it had this address last, and it is free"
        offered = index.offer_of.get(client.key)
        if offered is not None and offered not in dropped:
            yield offered, "offered", "it was offered this address already"
        if requested:
            yield requested, "requested", "it asks for it, and it is free"

    def why_not(self, client: Client, address: int, when: float) -> Passed:
        """Why a client is not given an address by the dynamic rules."""
        subnet = client.subnet_of(address)
        if subnet is None:
            return Passed(address, "is not on its link")
        if address in self.network.addresses:
            return Passed(address, "is the server's own")
        if address in self._relays or address == client.message.giaddr:
            return Passed(address, "is a relay's")
        if not subnet.in_pools(address):
            return Passed(address, f"is in no pool of {subnet.name}")
        lease = self.index.leases.get(address)
        if (
            lease is not None
            and lease.held(when)
            and (lease.key != client.key or lease.state != LeaseState.BOUND)
        ):
            return passed_over(lease)
        offer = self.index.offers.get(address)
        if offer is not None and offer.key != client.key and offer.expires > when:
            return passed_over(offer)
        owner = self.reserved.by_address.get(address)
        if owner is not None and owner.expires > when:
            return Passed(address, f"is {reserved_for(owner)}", end_of(owner))
        return Passed(address, "is what it has to leave")

    def exhausted(self, client: Client, when: float) -> str:
        """That nothing is left, in numbers."""
        links = client.subnets
        if not links:
            return "its link has no subnet, and the pool so no address for it"

        def inside(address: int) -> bool:
            return any(subnet.in_pools(address) for subnet in links)

        index = self.index
        there = [each for each in index.leases.values() if inside(each.address)]
        held = {each.address: each.state for each in there if each.held(when)}
        leased = sum(state is LeaseState.BOUND for state in held.values())
        reserved = {
            each
            for each in self.reserved.by_address
            if inside(each) and each not in held and self.is_reserved(each, when)
        }
        offered = {
            each.address
            for each in index.offers.values()
            if inside(each.address)
            and each.expires > when
            and each.address not in held
            and each.address not in reserved
        }
        names = " and ".join(subnet.name for subnet in links)
        return (
            f"of {sum(subnet.size for subnet in links)} addresses in the pools of"
            f" {names} {leased} are leased, {len(held) - leased} rest,"
            f" {len(reserved)} more are reserved, {len(offered)} are offered to others"
        )
