"""What clients believe, and what follows from it: the plain model of a pool.

It does not know how a storage decides; it knows what no decision may do to somebody.  A
client is a device here, whatever identifiers it sends: two of them at one time cannot use
one address, and one of them believes one thing.  Times that a storage may round are given
a second or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from ..network import Subnet


#: Seconds by which a storage may round.
SLACK = 2.0


@dataclass(slots=True)
class Grant:
    """What a client was told, or whom an address is kept for.

    Attributes:
        who: The device.
        until: When that ends, by the clock as it is now.
        key: What it called itself then.
    """

    who: bytes
    until: float
    key: bytes = b""


class Model:
    """One subnet, as its clients see it.

    Attributes:
        granted: Address to the last grant, ended or not.
        offered: Address to the offer that is out; its end is the earliest.
        unsure: Address to when the last offer of it is surely over.
        lapsing: Address to when a lease that was ended is surely over.
        resting: Address to when nobody may have it.
        reserved: Address to the client it belongs to, and for how long.
        last: Key to the address that it had last.
        had: Device to every address that it ever had.
        ends: Device and key to when every lease it was given by it has ended.
    """

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self.granted: dict[int, Grant] = {}
        self.offered: dict[int, Grant] = {}
        self.unsure: dict[int, float] = {}
        self.lapsing: dict[int, float] = {}
        self.resting: dict[int, float] = {}
        self.reserved: dict[int, Grant] = {}
        self.last: dict[bytes, int] = {}
        self.had: dict[bytes, set[int]] = {}
        self.ends: dict[tuple[bytes, bytes], float] = {}

    # --- what happened ------------------------------------------------------------

    def has_offered(self, who: bytes, address: int, when: float) -> None:
        """A client was offered an address; it has one offer at a time."""
        self.drop_offer(who)
        self.offered[address] = Grant(who, when + self.subnet.offer_hold / 2)
        self.unsure[address] = when + self.subnet.offer_hold

    def drop_offer(self, who: bytes) -> None:
        """Its offer is nothing any more."""
        for address in [a for a, each in self.offered.items() if each.who == who]:
            del self.offered[address]

    def has_granted(self, who: bytes, address: int, until: float, key: bytes) -> None:
        """A client has an ACK; what it had before, it has left."""
        for other in [a for a, each in self.granted.items() if each.who == who]:
            left = self.granted[other]
            if other != address:
                del self.granted[other]
            if left.key != key:
                # Who calls itself something else is somebody else to a storage, which
                # may keep what that one had to its end.
                self.lapses(other, left.until)
                self.last.pop(left.key, None)
        self.granted[address] = Grant(who, until, key)
        self.unsure.pop(address, None)
        self.last[key] = address
        self.had.setdefault(who, set()).add(address)
        self.ends[who, key] = max(until, self.ends.get((who, key), 0.0))
        self.drop_offer(who)

    def lost(self, address: int) -> None:
        """Its holder has it no longer, and knows, and so does the storage."""
        grant = self.granted.pop(address)
        self.ends.pop((grant.who, grant.key), None)

    def has_been_revoked(self, address: int) -> None:
        """Its holder does not know yet; nobody need get it before its time is over."""
        grant = self.granted.get(address)
        if grant is not None:
            self.lapses(address, grant.until)
        self.forget_last(address)

    def was_refused(self, address: int) -> None:
        """Its holder had a NAK, which may be lost on the way: nobody need get it yet."""
        self.lapses(address, self.granted.pop(address).until)

    def forget_last(self, address: int) -> None:
        """Nobody need get it back."""
        self.last = {key: at for key, at in self.last.items() if at != address}

    def rests(self, address: int, until: float) -> None:
        """Nobody may have it for a while."""
        self.resting[address] = max(until, self.resting.get(address, 0.0))

    def lapses(self, address: int, until: float) -> None:
        """It need not be free for a while."""
        self.lapsing[address] = max(until, self.lapsing.get(address, 0.0))

    def reserves(self, who: bytes, address: int, until: float) -> None:
        """It is reserved for a client; what was reserved for it before is not."""
        self.reserved = {
            a: each for a, each in self.reserved.items() if each.who != who
        }
        self.reserved[address] = Grant(who, until)

    def step(self, by: float) -> None:
        """The clock was set: what is left stays the same."""
        for kept in (self.granted, self.offered, self.reserved):
            for grant in kept.values():
                grant.until += by
        for times in (self.resting, self.lapsing, self.unsure):
            for address in times:
                times[address] += by
        self.ends = {whose: end + by for whose, end in self.ends.items()}

    def forget_offers(self) -> None:
        """A restart: offers may be forgotten, and are free or not."""
        self.offered.clear()

    # --- what follows -------------------------------------------------------------

    def holder(self, address: int, when: float) -> bytes | None:
        """Who believes to have an address now."""
        grant = self.granted.get(address)
        return grant.who if grant is not None and grant.until > when else None

    def owner(self, address: int, when: float) -> bytes | None:
        """Whom an address is surely reserved for."""
        reserved = self.reserved.get(address)
        surely = reserved is not None and reserved.until > when + SLACK
        return reserved.who if reserved is not None and surely else None

    def may_not_have(self, who: bytes, address: int, when: float) -> str:
        """Why a client must not be given an address; empty if it may."""
        holder = self.holder(address, when)
        if holder is not None and holder != who:
            return f"{holder.hex()} believes to have it (invariant 2)"
        offer = self.offered.get(address)
        if offer is not None and offer.who != who and offer.until > when:
            return f"it is offered to {offer.who.hex()} (invariant 5)"
        if self.resting.get(address, 0.0) > when + SLACK:
            return "it rests: it was declined (RFC 2131 section 4.3.3)"
        owner = self.owner(address, when)
        if owner is not None and who not in {owner, holder}:
            return f"it is reserved for {owner.hex()} (invariant 3)"
        if owner is None and not self.subnet.in_pools(address):
            mine = who in {
                holder,
                *(each.who for each in self._maybe_reserved(address)),
            }
            return "" if mine else "it is in no pool, and not reserved"
        return ""

    def _maybe_reserved(self, address: int) -> Iterator[Grant]:
        # A reservation whose end is now, give or take, may be one still.
        if address in self.reserved:
            yield self.reserved[address]

    def reserved_for(self, who: bytes) -> set[int]:
        """The addresses that are, or just were, reserved for a client."""
        return {a for a, each in self.reserved.items() if each.who == who}

    def knows(self, who: bytes, address: int) -> bool:
        """Whether a storage may know that an address is, or will be, this client's."""
        offer = self.offered.get(address)
        return (
            address in self.had.get(who, ())
            or address in self.reserved_for(who)
            or (offer is not None and offer.who == who)
        )

    def is_idle(self, who: bytes, when: float) -> bool:
        """Whether a client has nothing, and nothing is kept for it."""
        ends = [end for (device, _), end in self.ends.items() if device == who]
        return all(end + SLACK < when for end in ends) and not self.reserved_for(who)

    def is_free(self, address: int, when: float) -> bool:
        """Whether nothing at all can speak against giving an address away."""
        grant = self.granted.get(address)
        reserved = self.reserved.get(address)
        return (
            self.subnet.in_pools(address)
            and (grant is None or grant.until + SLACK < when)
            and self.unsure.get(address, 0.0) + SLACK < when
            and self.lapsing.get(address, 0.0) + SLACK < when
            and self.resting.get(address, 0.0) + SLACK < when
            and (reserved is None or reserved.until + SLACK < when)
        )

    def has_free(self, when: float) -> bool:
        """Whether somebody new must be offered something."""
        return any(
            self.is_free(address, when)
            for first, last in self.subnet.ranges
            for address in range(first, last + 1)
        )

    def must_come_back_to(self, who: bytes, key: bytes, when: float) -> int | None:
        """The address that a client must be offered (invariant 4); None for any."""
        if self.reserved_for(who):
            return None  # its reservation decides
        address = self.last.get(key, 0)
        grant = self.granted.get(address)
        nobody_since = grant is None or grant.who == who
        others = [k for k, a in self.last.items() if a == address and k != key]
        if not address or others or not nobody_since:
            return None
        reserved = self.reserved.get(address)
        if reserved is not None and reserved.until + SLACK >= when:
            return None
        return None if self.may_not_have(who, address, when) else address

    def never_ends(self, address: int) -> None:
        """How long it is not free is the storage's affair."""
        self.lapsing[address] = inf
