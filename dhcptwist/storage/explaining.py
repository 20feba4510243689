"""Why a client gets what it gets: the pool's rules, told instead of carried out.

Each step here is that of the same name in `pool.py` and `choosing.py`, with the questions
that those ask, and without what they do.  `tests/test_explain.py` holds both against each
other in random histories.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from math import inf
from types import CoroutineType

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..client import Client, ClientState
from ..explanation import Explanation, Passed
from ..interfaces import IExplainer
from ..lease import (
    Lease,
    LeaseState,
    OnConflict,
    Refused,
    Reservation,
    Settings,
    Silence,
)
from ..network import Subnet
from ..wire.codes import MessageType
from .foretelling import Foretelling
from .granting import TEMPORARY_TIME
from .waiting import checked
from .wording import end_of, held_by, passed_over, reserved_for


@implementer(IExplainer)
class Explaining(Foretelling):
    """The part of a pool that says what it would do."""

    async def explain(self, client: Client, address: int, when: float) -> Explanation:
        """See `IExplainer.explain`."""
        self.recognise(client, when)
        kind = client.message.type
        if kind == MessageType.RELEASE:
            return self._explain_release(client, address, when)
        if kind == MessageType.DECLINE:
            return self._explain_decline(client, address, when)
        found = self.reservation_for(client)
        if isinstance(found, CoroutineType | Deferred):
            found = await found
        found = checked(found)
        if isinstance(found, Refused | Silence):
            return Explanation(
                found, "excluded", f"who knows the clients says: {_word(found)}"
            )
        if kind == MessageType.INFORM:
            return Explanation(
                (found and found.settings) or Settings(),
                "settings",
                "it has an address already, and is told the rest",
                found,
            )
        reservation, notes = self._while_somebody_answers(client, found, when)
        if client.state == ClientState.INIT:
            told = self._explain_offer(client, when, reservation)
        else:
            told = self._explain_commit(client, address, when, reservation)
        notes += self._overridden(client)
        if found is None or found.address is None:
            notes += self._reserved_elsewhere(client, when)
        return replace(told, reservation=found, notes=(*notes, *told.notes))

    def _overridden(self, client: Client) -> list[str]:
        """That a class of somebody else's decides what is explained here, if one does."""
        verb = "offer" if client.state == ClientState.INIT else "commit"
        decides = getattr(type(self), verb)
        if decides.__module__.partition(".")[0] == __name__.partition(".")[0]:
            return []
        return [f"{decides.__qualname__} is not the pool's, and may answer otherwise"]

    def _reserved_elsewhere(self, client: Client, when: float) -> list[str]:
        """That addresses of other links are reserved for it, which is often the puzzle."""
        names = ("client-id", client.key, b""), ("hardware", client.hardware, b"")
        return [
            _elsewhere(each)
            for who in names
            for each in self.reservation_of(None, who)
            if each.expires > when
            and each.address is not None
            and client.subnet_of(each.address) is None
        ]

    def _while_somebody_answers(
        self, client: Client, reservation: Reservation | None, when: float
    ) -> tuple[Reservation | None, list[str]]:
        """See `_once_silent`: nobody is asked, and so the address counts as used."""
        if reservation is None or reservation.address is None or self.prober is None:
            return reservation, []
        lease = self.index.leases.get(reservation.address)
        there = client.subnet_of(reservation.address) is not None
        if lease is None or not there or not lease.held(when):
            return reservation, []
        text = IPv4Address(lease.address)
        note = f"{text} {held_by(lease)}: the server asks the network first, and if"
        if lease.state == LeaseState.REVOKED:
            return reservation, [f"{note} nobody answers there, the client gets it"]
        if self._is_neighbour(client, lease, reservation):
            elsewhere = replace(reservation, address=None)
            return elsewhere, [f"{note} nobody answers there, the client gets it"]
        return reservation, []

    # --- DISCOVER -----------------------------------------------------------------

    def _explain_offer(
        self, client: Client, when: float, reservation: Reservation | None
    ) -> Explanation:
        passed: list[Passed] = []
        notes: list[str] = []
        until = inf
        settings = None if reservation is None else reservation.settings
        if reservation is not None and reservation.address is not None:
            address = reservation.address
            subnet = client.subnet_of(address)
            if subnet is None:
                notes.append(_elsewhere(reservation))
            else:
                blocker = self.blocker(reservation, client.key, when)
                if blocker is None:
                    lease = would_be(client, subnet, address, when, settings)
                    return Explanation(lease, "reserved", reserved_for(reservation))
                until = self.patience(blocker, when)
                passed.append(passed_over(blocker, "is reserved for it, and"))
        chosen = self.foretell(client, client.requested, when, passed)
        if chosen is None:
            words = self.exhausted(client, when)
            return Explanation(
                Silence.POOL_EXHAUSTED,
                "exhausted",
                words,
                passed=tuple(passed),
                notes=tuple(notes),
            )
        if until != inf:
            notes.append(
                "the lease is short, so that it comes back for its own address"
            )
        lease = would_be(client, chosen.subnet, chosen.address, when, settings, until)
        return Explanation(
            lease,
            chosen.rule,
            chosen.reason,
            passed=tuple(passed),
            notes=tuple(notes),
        )

    # --- REQUEST ------------------------------------------------------------------

    def _explain_commit(
        self,
        client: Client,
        address: int,
        when: float,
        reservation: Reservation | None,
    ) -> Explanation:
        subnet = client.subnet_of(address)
        if subnet is None:
            return Explanation(None, "unknown", "the address is not on its link")
        settings = None if reservation is None else reservation.settings
        until = inf
        passed: tuple[Passed, ...] = ()
        if reservation is not None and reservation.address is not None:
            wanted = reservation.address
            if client.subnet_of(wanted) is not None:
                blocker = self.blocker(reservation, client.key, when)
                words = f"{IPv4Address(wanted)} is {reserved_for(reservation)}"
                if blocker is None:
                    if address != wanted:
                        refused = Refused("another address is reserved for you")
                        return Explanation(refused, "refused", words)
                    lease = would_be(client, subnet, address, when, settings)
                    return Explanation(lease, "reserved", reserved_for(reservation))
                if address == wanted:
                    refused = Refused("your reserved address is not free yet")
                    words = f"{words}, and {held_by(blocker)}"
                    return Explanation(refused, "refused", words, until=blocker.expires)
                until = self.patience(blocker, when)
                passed = (passed_over(blocker, "is reserved for it, and"),)
        told = self._explain_dynamic(client, subnet, address, when, reservation, until)
        return replace(told, passed=(*passed, *told.passed))

    def _explain_dynamic(
        self,
        client: Client,
        subnet: Subnet,
        address: int,
        when: float,
        reservation: Reservation | None,
        until: float,
    ) -> Explanation:
        """See `_commit_dynamic`."""
        index = self.index
        lease = index.leases.get(address)
        settings = None if reservation is None else reservation.settings
        mine = (
            lease is not None
            and lease.key == client.key
            and lease.state in (LeaseState.BOUND, LeaseState.RELEASED)
        )
        current = index.of_client(client.key, client.subnets)
        if self._has_another(client, address, when) and current is not None:
            words = f"its lease is that of {IPv4Address(current.address)}"
            return Explanation(
                Refused("another address is yours"),
                "refused",
                words,
                until=current.expires,
            )
        refused = self._refusal(client, lease, address, when, reservation, mine=mine)
        if refused is not None:
            why = self._why_refused(client, address, when, reservation)
            return Explanation(refused, "refused", f"it {why.reason}", until=why.until)
        owner = self.reserved.by_address.get(address)
        theirs = owner is not reservation and owner is not None
        if owner is not None and theirs and owner.expires > when and lease is not None:
            return self._explain_yield(owner, client, subnet, lease, when, settings)
        ours = subnet.in_pools(address) and address not in self.network.addresses
        if not ours or (not mine and address in self._relays):
            why = self.why_not(client, address, when)
            if mine or client.state == ClientState.SELECTING:
                refused = Refused("not an address of a pool")
                return Explanation(refused, "refused", f"the address {why.reason}")
            return Explanation(None, "unknown", f"the address {why.reason}")
        rule, words = self._rule(client, address, when, mine=mine)
        if rule:
            given = would_be(client, subnet, address, when, settings, until)
            return Explanation(given, rule, words)
        if current is not None:
            words = f"its address was {IPv4Address(current.address)}"
            refused = Refused("another address is yours")
            return Explanation(refused, "refused", words)
        return Explanation(
            None, "unknown", "no lease of this client and address is known"
        )

    def _rule(
        self, client: Client, address: int, when: float, *, mine: bool
    ) -> tuple[str, str]:
        """By which rule a client may have an address that nobody else has, or none."""
        lease = self.index.leases.get(address)
        offer = self.index.offers.get(address)
        if mine and lease is not None and lease.bound(when):
            return "current", "its lease of this address goes on"
        if mine:
            return "previous", "it had this address last, and it is free"
        if offer is not None and offer.key == client.key:
            return "offered", "it was offered this address"
        if client.state == ClientState.SELECTING:
            return "requested", "it asks for it, and it is free"
        return "", ""

    def _why_refused(
        self, client: Client, address: int, when: float, reservation: Reservation | None
    ) -> Passed:
        """What `_refusal` found, with who and until when."""
        owner = self.reserved.by_address.get(address)
        if owner is not None and owner.expires > when and owner is not reservation:
            return Passed(address, f"is {reserved_for(owner)}", end_of(owner))
        lease = self.index.leases.get(address)
        mine = lease is not None and lease.key == client.key
        taken = lease is not None and lease.held(when)
        if lease is not None and taken and not (mine and lease.state is _BOUND):
            return passed_over(lease)
        return passed_over(self.index.offers[address])

    def _explain_yield(
        self,
        owner: Reservation,
        client: Client,
        subnet: Subnet,
        lease: Lease,
        when: float,
        settings: Settings | None,
    ) -> Explanation:
        """See `_yield_to`."""
        words = f"it is {reserved_for(owner)}"
        if owner.on_conflict in (OnConflict.MOVE, OnConflict.PREEMPT):
            chosen = self.foretell(client, 0, when, [], avoid=lease.address)
            if chosen is not None:
                other = IPv4Address(chosen.address)
                return Explanation(
                    Refused("reserved for another client"),
                    "refused",
                    words,
                    notes=(f"{other} would be kept for it, for its next DISCOVER",),
                )
            words += ", and no other address is left to move it to"
        given = would_be(
            client, subnet, lease.address, when, settings, lease.expires, least=1
        )
        return Explanation(
            given,
            "yields",
            f"{words}; the lease goes on for the time that it has",
            until=lease.expires,
        )

    # --- RELEASE and DECLINE ------------------------------------------------------

    def _explain_release(
        self, client: Client, address: int, when: float
    ) -> Explanation:
        lease = self.index.leases.get(address)
        if (
            lease is not None
            and self.index.area_of(address) is not None
            and self.is_holder(client, lease)
            and lease.state in {LeaseState.BOUND, LeaseState.REVOKED}
        ):
            return Explanation(True, "released", "it gives back what it has")
        return Explanation(False, "ignored", "it has no lease of this address")

    def _explain_decline(
        self, client: Client, address: int, when: float
    ) -> Explanation:
        index = self.index
        lease = index.leases.get(address)
        offer = index.offers.get(address)
        bound = lease is not None and lease.bound(when)
        mine = bound and lease is not None and self.is_holder(client, lease)
        offered = offer is not None and offer.key == client.key and not bound
        if index.area_of(address) is not None and (mine or offered):
            return Explanation(True, "declined", "it was given this address")
        return Explanation(False, "ignored", "it was not given this address")


_BOUND = LeaseState.BOUND


def _elsewhere(reservation: Reservation) -> str:
    address = IPv4Address(reservation.address or 0)
    return f"{address}, which is {reserved_for(reservation)}, is not on its link"


def _word(found: Refused | Silence) -> str:
    return found.reason if isinstance(found, Refused) else found.value


def would_be(
    client: Client,
    subnet: Subnet,
    address: int,
    when: float,
    settings: Settings | None,
    until: float = inf,
    least: int = TEMPORARY_TIME,
) -> Lease:
    """What would be granted: the address, the time and the settings are true of it."""
    duration = subnet.duration(client.requested_time)
    if until != inf:
        duration = min(duration, max(int(until - when), least))
    return Lease(
        address,
        key=client.key,
        hardware=client.hardware,
        since=when,
        expires=when + duration,
        duration=duration,
        settings=settings,
    )
