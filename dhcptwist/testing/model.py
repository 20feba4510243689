"""What clients believe, and what follows from it: the plain model of a pool.

It does not know how a storage decides; it knows what no decision may do to somebody.  Times
that a storage may round are given a second or two.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..network import Subnet


#: Seconds by which a storage may round.
SLACK = 2.0


@dataclass(slots=True)
class Grant:
    """What a client was told, or an address that rests.

    Attributes:
        who: The client's key; empty for an address that rests.
        until: When that ends, by the clock as it is now.
    """

    who: bytes
    until: float


class Model:
    """One subnet, as its clients see it.

    Attributes:
        granted: Address to the last grant, ended or not.
        offered: Address to the offer that is out; its end is the earliest.
        lapsing: Address to when an offer or a lease that was ended is surely over.
        resting: Address to when nobody may have it.
        reserved: Address to the client it belongs to.
        last: Client to the address that it had last.
    """

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self.granted: dict[int, Grant] = {}
        self.offered: dict[int, Grant] = {}
        self.lapsing: dict[int, float] = {}
        self.resting: dict[int, float] = {}
        self.reserved: dict[int, bytes] = {}
        self.last: dict[bytes, int] = {}

    # --- what happened ------------------------------------------------------------

    def has_offered(self, who: bytes, address: int, when: float) -> None:
        """A client was offered an address; it has one offer at a time."""
        self.drop_offer(who)
        self.offered[address] = Grant(who, when + self.subnet.offer_hold / 2)
        self.lapsing[address] = when + self.subnet.offer_hold

    def drop_offer(self, who: bytes) -> None:
        """Its offer is nothing any more."""
        for address in [a for a, each in self.offered.items() if each.who == who]:
            del self.offered[address]

    def has_granted(self, who: bytes, address: int, until: float) -> None:
        """A client has an ACK; what it had before, it has left."""
        for other in [a for a, each in self.granted.items() if each.who == who]:
            if other != address:
                del self.granted[other]
        self.granted[address] = Grant(who, until)
        self.last[who] = address
        self.drop_offer(who)

    def lost(self, address: int) -> None:
        """Its holder has it no longer, and knows."""
        self.granted.pop(address, None)

    def has_been_revoked(self, address: int) -> None:
        """Its holder does not know yet; nobody need get it before its time is over."""
        grant = self.granted.get(address)
        if grant is not None:
            self.lapsing[address] = max(grant.until, self.lapsing.get(address, 0.0))
        self.last = {who: at for who, at in self.last.items() if at != address}

    def was_refused(self, address: int) -> None:
        """Its holder had a NAK, which may be lost on the way: nobody need get it yet."""
        grant = self.granted.pop(address)
        self.lapsing[address] = max(grant.until, self.lapsing.get(address, 0.0))

    def rests(self, address: int, until: float) -> None:
        """Nobody may have it for a while."""
        self.resting[address] = max(until, self.resting.get(address, 0.0))

    def step(self, by: float) -> None:
        """The clock was set: what is left stays the same."""
        for grant in [*self.granted.values(), *self.offered.values()]:
            grant.until += by
        for times in (self.resting, self.lapsing):
            for address in times:
                times[address] += by

    def forget_offers(self) -> None:
        """A restart: offers may be forgotten, and are free or not."""
        self.offered.clear()

    # --- what follows -------------------------------------------------------------

    def holder(self, address: int, when: float) -> bytes | None:
        """Who believes to have an address now."""
        grant = self.granted.get(address)
        return grant.who if grant is not None and grant.until > when else None

    def may_not_have(self, who: bytes, address: int, when: float) -> str:
        """Why a client must not be given an address; empty if it may."""
        holder = self.holder(address, when)
        if holder is not None and holder != who:
            return f"{holder.hex()} believes to have it (invariant 2)"
        offer = self.offered.get(address)
        if offer is not None and offer.who != who and offer.until > when:
            return f"it is offered to {offer.who.hex()} (invariant 5)"
        if self.resting.get(address, 0.0) > when + SLACK:
            return "it rests: it was declined or revoked (RFC 2131 section 4.3.3)"
        owner = self.reserved.get(address)
        if owner is not None and who not in {owner, holder}:
            return f"it is reserved for {owner.hex()} (invariant 3)"
        return ""

    def reserved_for(self, who: bytes) -> int | None:
        """The address that is reserved for a client, or None."""
        for address, owner in self.reserved.items():
            if owner == who:
                return address
        return None

    def knows(self, who: bytes, address: int) -> bool:
        """Whether a storage may know that an address is, or will be, this client's."""
        offer = self.offered.get(address)
        return (
            who in self.last
            or self.reserved.get(address) == who
            or (offer is not None and offer.who == who)
        )

    def is_free(self, address: int, when: float) -> bool:
        """Whether nothing at all can speak against giving an address away."""
        grant = self.granted.get(address)
        return (
            (grant is None or grant.until + SLACK < when)
            and self.lapsing.get(address, 0.0) + SLACK < when
            and self.resting.get(address, 0.0) + SLACK < when
            and address not in self.reserved
        )

    def has_free(self, when: float) -> bool:
        """Whether somebody new must be offered something."""
        return any(
            self.is_free(address, when)
            for first, last in self.subnet.ranges
            for address in range(first, last + 1)
        )

    def must_come_back_to(self, who: bytes, when: float) -> int | None:
        """The address that a client must be offered (invariant 4); None for any."""
        if self.reserved_for(who) is not None:
            return None  # its reservation decides
        address = self.last.get(who, 0)
        grant = self.granted.get(address)
        nobody_since = grant is None or grant.who == who
        others = [w for w, a in self.last.items() if a == address and w != who]
        if not address or others or not nobody_since:
            return None
        return None if self.may_not_have(who, address, when) else address
