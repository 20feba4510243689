"""Whom another configuration affects, as far as a storage shows leases and reservations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, Protocol

from twisted.internet.task import deferLater

from .config.plan import Plan, lease_fields, reservation_fields
from .config.written import who_text
from .interfaces import ILeases, INetworkListener, IReservations
from .lease import FILE, Lease, LeaseState, Reservation
from .network import Network, Subnet


#: Seconds that looking may hold up packets at a time.
LOOK = 0.003

_WHY_HELD = {
    LeaseState.BOUND: "{} has it",
    LeaseState.DECLINED: "{} found it in use",
    LeaseState.REVOKED: "it was taken from {}",
}

#: Leases or reservations that are looked at together.
PAGE = 200


class Looked(Protocol):
    """What a look needs of a server."""

    reactor: Any
    network: Network
    storage: Any
    clock: Any


class Look:
    """Looks for them, with pauses; what it finds is in the plan.

    Args:
        server: As it is.
        network: The subnets that will be.
        added: Reservations that are new in the configuration.
        removed: Those that have gone from it; one that was changed is in both.
        plan: Where to note who is affected.
    """

    def __init__(
        self,
        server: Looked,
        network: Network,
        added: Sequence[Reservation],
        removed: Sequence[Reservation],
        plan: Plan,
    ) -> None:
        self._reactor = server.reactor
        self._storage = server.storage
        self._old = server.network
        self._new = network
        self._added = added
        self._removed = removed
        self._plan = plan
        self._when = server.clock()
        self._to_be = {each.address: each for each in added}
        self._gone = {each.address for each in removed}
        self._rested = time.monotonic()

    async def run(self) -> None:
        """Look everywhere."""
        storage, notes = self._storage, self._plan.notes
        changed = self._changed_subnets()
        if (self._added or self._removed) and not INetworkListener.providedBy(storage):
            notes.append(
                "the storage is not told of reservations that change, for it does not"
                " want to know (INetworkListener)"
            )
        if IReservations.providedBy(storage):
            await self._find_conflicts()
            await self._find_homeless()
        if ILeases.providedBy(storage):
            await self._find_stranded(changed)
            await self._find_waiting()
        elif changed:
            notes.append(
                "which leases are stranded is not known, for the storage does not show"
                " them (ILeases)"
            )

    async def _rest(self) -> None:
        """Let packets through, if it is time."""
        if time.monotonic() - self._rested > LOOK:
            await deferLater(self._reactor, 0)
            self._rested = time.monotonic()

    def _changed_subnets(self) -> list[Subnet]:
        """Those of now in which addresses may no longer be given."""
        found = []
        for each in self._old.subnets:
            same = self._new.subnet_of(each.network)
            if (
                same is None
                or same.cidr != each.cidr
                or same.ranges != each.ranges
                or same.excluded != each.excluded
            ):
                found.append(each)
        return found

    # --- leases -------------------------------------------------------------------

    async def _find_stranded(self, changed: Sequence[Subnet]) -> None:
        for subnet in changed:
            page = self._storage.leases(-1, PAGE, subnet)
            while page:
                for lease in page:
                    self._note_stranded(lease)
                await self._rest()
                page = self._storage.leases(page[-1].address, PAGE, subnet)
        for each in self._removed:
            if each.address is None or self._old.subnet_of(each.address) in changed:
                continue
            for lease in self._storage.find_leases(each.address, None, None):
                self._note_stranded(lease)
            await self._rest()

    def _note_stranded(self, lease: Lease) -> None:
        # One that could not be renewed until now is not stranded by this.
        if lease.bound(self._when) and self._can_be_renewed(lease):
            why = self._why_stranded(lease)
            if why:
                self._plan.stranded.note(lease_fields(lease, why))

    def _can_be_renewed(self, lease: Lease) -> bool:
        subnet = self._old.subnet_of(lease.address)
        return subnet is not None and (
            subnet.in_pools(lease.address) or _owns(self._reserved(lease), lease)
        )

    def _why_stranded(self, lease: Lease) -> str:
        """Why a lease cannot be renewed with the new configuration; empty if it can."""
        address = lease.address
        subnet = self._new.subnet_of(address)
        if subnet is None:
            return "in no subnet"
        owner = self._to_be.get(address)
        if owner is None and address not in self._gone:
            owner = self._reserved(lease)
        if subnet.in_pools(address) or _owns(owner, lease):
            return ""
        return "a router's address" if address in subnet.excluded else "in no pool"

    def _reserved(self, lease: Lease) -> Reservation | None:
        if not IReservations.providedBy(self._storage):
            return None
        found = self._storage.reservation_of(lease.address, None)
        return found[0] if found else None

    async def _find_waiting(self) -> None:
        """Who has what is to be reserved, and what those have whom it is for."""
        for each in self._added:
            if each.address is None:
                continue
            held = [
                lease
                for lease in self._storage.find_leases(each.address, None, None)
                if lease.held(self._when)
                and not (lease.state == LeaseState.BOUND and each.owns(lease))
            ]
            for lease in held:
                holder = lease_fields(lease, "")
                why = _WHY_HELD[lease.state].format(holder["client"])
                fields = reservation_fields(each, why)
                self._plan.waiting.note({**fields, "until": holder["until"]})
            if not held:
                self._note_moved(each, each.address)
            await self._rest()

    def _note_moved(self, each: Reservation, address: int) -> None:
        home = self._new.subnet_of(address)
        if home is None or not (each.hardware or each.client_id):
            return
        link = self._new.link(home)
        for lease in self._storage.find_leases(
            None, each.hardware or None, each.client_id or None
        ):
            if (
                lease.bound(self._when)
                and lease.address != address
                and each.owns(lease)
                and self._new.subnet_of(lease.address) in link
            ):
                why = f"{IPv4Address(address)} is reserved for it"
                self._plan.moved.note(lease_fields(lease, why))

    # --- reservations -------------------------------------------------------------

    async def _find_conflicts(self) -> None:
        """Pushed reservations that one of the file's is in the way of."""
        seen = set()
        for each in self._added:
            home = None if each.address is None else self._new.subnet_of(each.address)
            for other in self._storage.reservation_of(each.address, each.who):
                meets = other.address == each.address or (
                    home is not None
                    and other.address is not None
                    and home.contains(other.address)
                )
                if other.source != FILE and meets and other.place not in seen:
                    seen.add(other.place)
                    why = f"the configuration has {_words(each)}"
                    self._plan.conflicts.note(reservation_fields(other, why))
            await self._rest()

    async def _find_homeless(self) -> None:
        """Pushed reservations whose subnet goes."""
        if self._old.cidrs <= self._new.cidrs:
            return
        page = self._storage.reservations(None, PAGE, None)
        while page:
            for each in page:
                if (
                    each.source != FILE
                    and each.address is not None
                    and self._old.subnet_of(each.address) is not None
                    and self._new.subnet_of(each.address) is None
                ):
                    self._plan.conflicts.note(reservation_fields(each, "in no subnet"))
            await self._rest()
            page = self._storage.reservations(page[-1].place, PAGE, None)


def _owns(owner: Reservation | None, lease: Lease) -> bool:
    return owner is not None and owner.owns(lease)


def _words(each: Reservation) -> str:
    what = "settings" if each.address is None else str(IPv4Address(each.address))
    return f"{what} for {who_text(each)}"
