"""Storages that do one thing wrong each, for tests of the contract that has to see it."""

# ruff: noqa: D102 - what is wrong with its methods is what a class is about

from __future__ import annotations

from dataclasses import replace
from math import inf

from strangers import Stranger
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater

from dhcptwist.client import ClientState
from dhcptwist.lease import (
    AddressInUse,
    Lease,
    LeaseState,
    OnConflict,
    Refused,
    ReservationConflict,
)
from dhcptwist.storage.journal import Journal
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import answer
from dhcptwist.wire.codes import INFINITE


class NoOfferCheck(MemoryStorage):
    """Gives away what is offered to another."""

    def _refusal(self, *given, **keys):
        found = super()._refusal(*given, **keys)
        return None if found and found.reason.startswith("offered") else found


class OffersAnything(MemoryStorage):
    """Offers what is asked for, whoever has it."""

    def offer(self, client, when):
        found = super().offer(client, when)
        if isinstance(found, Lease) and client.subnet_of(client.requested):
            found.address = client.requested
        return found


class WishFirst(MemoryStorage):
    """Prefers option 50 to the address that a client has."""

    def choose(self, client, when, avoid=0):
        address, found = client.requested, super().choose(client, when, avoid)
        subnet = client.subnet_of(address)
        free = subnet is not None and self.may_give(subnet, address)
        if free and self.is_available(address, client.key, when):
            return subnet, address
        return found


class LatestFirst(MemoryStorage):
    """Gives what was given back last."""

    def choose(self, client, when, avoid=0):
        for subnet in client.subnets:
            used = self.index.area(subnet).free._used
            back = list(reversed(used))
            used.clear()
            used.update(dict.fromkeys(back))
        return super().choose(client, when, avoid)


class OffersForever(MemoryStorage):
    """Never takes an offer back."""

    def propose(self, *given, **keys):
        found = super().propose(*given, **keys)
        found.expires = inf
        return found


class ReleaseForgotten(MemoryStorage):
    """Says that it released, and did not."""

    def release(self, client, address, when):
        lease = self.index.leases.get(address)
        return lease is not None and self.is_holder(client, lease)


class ReleaseTakesTheLease(MemoryStorage):
    """Takes a client's lease when another server's offer was chosen."""

    def release(self, client, address, when):
        last = self.index.of_client(client.key, client.subnets)
        address = address or (0 if last is None else last.address)
        return super().release(client, address, when)


class AnybodyReleases(MemoryStorage):
    """Takes anybody for the holder."""

    def is_holder(self, client, lease):
        return True


class DeclineForgotten(MemoryStorage):
    """A declined address does not rest."""

    def decline(self, client, address, when):
        return super().release(client, address, when)


class DeclineForever(MemoryStorage):
    """A declined address rests for ever."""

    def decline(self, client, address, when):
        done = super().decline(client, address, when)
        if done:
            self.index.leases[address].expires = inf
        return done


class DeclineExtended(MemoryStorage):
    """Every DECLINE begins the rest anew."""

    def decline(self, client, address, when):
        lease = self.index.leases.get(address)
        if lease is not None and lease.state == LeaseState.DECLINED:
            lease.expires = when + 1000
        return super().decline(client, address, when)


class ShortRenewals(MemoryStorage):
    """A renewal makes a lease shorter."""

    def bind(self, client, area, address, when, settings, until=inf, least=60):
        if client.state == ClientState.RENEWING:
            until = min(until, when + 100)
        return super().bind(client, area, address, when, settings, until, least)


class NoSettings(MemoryStorage):
    """Forgets what a reservation says beside the address."""

    def bind(self, client, area, address, when, settings, until=inf, least=60):
        return super().bind(client, area, address, when, None, until, least)


class NoPorts(MemoryStorage):
    """Does not remember the relay port that a client was seen on."""

    def bind(self, *given, **keys):
        found = super().bind(*given, **keys)
        found.relay = b""
        return found


class ConfirmsAnything(MemoryStorage):
    """Takes a rebinding client for one that selects."""

    def commit(self, client, address, when):
        if client.state == ClientState.REBINDING:
            client.state = ClientState.SELECTING
        return super().commit(client, address, when)


class FailsOnOddities(MemoryStorage):
    """Raises where it should say no."""

    def commit(self, client, address, when):
        return super().commit(client, address, when) or {}[address]


class FreeForAllOutside(MemoryStorage):
    """Reserved addresses outside the pools are anybody's."""

    def _refusal(self, client, lease, address, when, reservation, *, mine):
        owner = self.reserved.by_address.get(address, reservation)
        found = super()._refusal(client, lease, address, when, owner, mine=mine)
        return found or None

    def commit(self, client, address, when):
        subnet = client.subnet_of(address)
        if subnet is not None and not subnet.in_pools(address):
            return self.bind(client, self.index.area(subnet), address, when, None)
        return super().commit(client, address, when)


class MoveStays(MemoryStorage):
    """``move`` is taken for ``wait``."""

    def reserve(self, reservation, when, by=""):
        if reservation.on_conflict == OnConflict.MOVE:
            reservation = replace(reservation, on_conflict=OnConflict.WAIT)
        return super().reserve(reservation, when, by)


class MoveLoops(MemoryStorage):
    """``move`` sends its holder away to nowhere."""

    def _yield_to(self, *given):
        return Refused("reserved for another client")


class WaitIsForever(MemoryStorage):
    """``wait`` lets the holder renew as ever."""

    def _yield_to(self, owner, client, area, lease, when, settings):
        return self.bind(client, area, lease.address, when, settings)


class RefuseIsHalfDone(MemoryStorage):
    """``refuse`` raises, and has changed something."""

    def reserve(self, reservation, when, by=""):
        try:
            return super().reserve(reservation, when, by)
        except AddressInUse:
            self.reserved.add(reservation)
            raise


class AnySource(MemoryStorage):
    """Anybody changes anybody's reservations."""

    def _replaced(self, new):
        try:
            return super()._replaced(new)
        except ReservationConflict:
            return list(self.reserved.of(new.who))


class TwoForOne(MemoryStorage):
    """A change is a second reservation."""

    def _replaced(self, new):
        super()._replaced(new)
        return []


class NoLifetimes(MemoryStorage):
    """A reservation never ends."""

    def reserve(self, reservation, when, by=""):
        return super().reserve(replace(reservation, expires=inf), when, by)


class HalfABatch(MemoryStorage):
    """What can be reserved is, if it should be or not."""

    def change(self, added, removed, when, by="", *, strict=True, dry_run=False):
        return super().change(added, removed, when, by, strict=False, dry_run=dry_run)


class LeftOut(MemoryStorage):
    """A batch that is refused has taken out what it was to replace."""

    def change(self, added, removed, when, by="", *, strict=True, dry_run=False):
        done = super().change(added, removed, when, by, strict=strict, dry_run=dry_run)
        found = answer(done)
        if any(isinstance(each, Exception) for each in found):
            for each in removed:
                self.take_out(each)
        return succeed(found)


class AddsFirst(MemoryStorage):
    """Clients cannot exchange their addresses."""

    def change(self, added, removed, when, by="", **how):
        done = super().change(added, [], when, by, **how)
        for each in removed:
            self.cancel(each, when, by)
        return done


class NoTrial(MemoryStorage):
    """A dry run is none."""

    def change(self, added, removed, when, by="", *, strict=True, dry_run=False):
        return super().change(added, removed, when, by, strict=strict)


class OneRevision(MemoryStorage):
    """Counts, and calls that a revision."""

    def revision(self, source):
        return str(len(self.reserved.page(None, 1000, source)))


class CancelForgotten(MemoryStorage):
    """Says that it cancelled, and did not."""

    def cancel(self, reservation, when, by=""):
        return succeed(None)


class RevokeFrees(MemoryStorage):
    """A revoked address is anybody's at once."""

    def _revoke(self, lease, when):
        ended = self.ended(lease, when)
        self.index.put(self.index.area_of(lease.address), ended)
        return ended


class RevokeForgotten(MemoryStorage):
    """Says that it revoked, and did not."""

    def _revoke(self, lease, when):
        return lease


class DryRunTakes(MemoryStorage):
    """A dry run is none."""

    def import_leases(self, leases, when, by="", dry_run=False):
        return super().import_leases(leases, when, by)


class ImportOverwrites(MemoryStorage):
    """What is imported wins over who is here."""

    def import_leases(self, leases, when, by="", dry_run=False):
        for lease in leases:
            area = self.index.area_of(lease.address)
            if area is not None and not dry_run:
                self.index.put(area, lease)
        return succeed(["taken"] * len(leases))


class DeafToTheClock(MemoryStorage):
    """Times stay where they are when the clock is set."""

    def clock_stepped(self, by):
        return None


class RestsMoveNot(MemoryStorage):
    """Only bound leases move with the clock."""

    def clock_stepped(self, by):
        found = super().clock_stepped(by)
        for lease in self.index.leases.values():
            if lease.state == LeaseState.DECLINED:
                lease.expires -= by
        return found


class ReservationsMoveNot(MemoryStorage):
    """The ends of reservations stay where they are."""

    def shift_reservations(self, by):
        return []


class NearlyInfinite(MemoryStorage):
    """An infinite lease is told as a long one."""

    def commit(self, client, address, when):
        found = super().commit(client, address, when)
        if isinstance(found, Lease) and found.duration == INFINITE:
            found.duration -= 1
        return found


class Hangs(MemoryStorage):
    """INFORM is never answered."""

    def configure(self, client, when):
        return Deferred()


class OldPools(MemoryStorage):
    """Is deaf to another configuration."""

    def network_changed(self, network, added, removed, when):
        return None


class LosesLeases(MemoryStorage):
    """Throws away the leases of a subnet that goes."""

    def network_changed(self, network, added, removed, when):
        for address in list(self.index.leases):
            if network.subnet_of(address) is None:
                del self.index.leases[address]
        super().network_changed(network, added, removed, when)


class KeepsReservations(MemoryStorage):
    """Keeps what has gone from the configuration."""

    def network_changed(self, network, added, removed, when):
        super().network_changed(network, added, (), when)


class PushedWins(MemoryStorage):
    """Takes no reservation of the configuration that a pushed one is in the way of."""

    def network_changed(self, network, added, removed, when):
        free = [r for r in added if not self.reservation_of(r.address, r.who)]
        super().network_changed(network, free, removed, when)


class PushedIsLost(MemoryStorage):
    """Forgets a pushed reservation that has to give way."""

    def network_changed(self, network, added, removed, when):
        super().network_changed(network, added, removed, when)
        self.aside = []


class TellsTwice(MemoryStorage):
    """Every event is told twice."""

    def add_listener(self, listener):
        super().add_listener(listener)
        super().add_listener(listener)


class TellsNothing(MemoryStorage):
    """No event is told."""

    def add_listener(self, listener):
        pass


class TellsForever(MemoryStorage):
    """Who does not want to be told is told."""

    def remove_listener(self, listener):
        pass


class Thinks(MemoryStorage):
    """Decides, and lets others in before it acts upon it."""

    clock = Clock()

    async def commit(self, client, address, when):
        held = self.index.leases.get(address)
        await deferLater(self.clock, 0.1)
        if held is None:
            self.index.leases.pop(address, None)
        return super().commit(client, address, when)


TOGETHER: dict[int, Lease] = {}


class Together(Stranger):
    """All storages of the process have one dictionary."""

    def __init__(self, network, reservations):
        super().__init__(network, reservations)
        self.leases = TOGETHER


# --- a journal and an index that do one thing wrong, from those that do it right ----------


def early(keep):
    """Answer before the sync."""

    def keep_early(self, result, *given, **keys):
        kept = keep(self, result, *given, **keys)
        kept.addErrback(lambda _: None)
        return result if isinstance(result, Lease) else kept

    return keep_early


def told_early(keep):
    """Tell of what is not on disk."""

    def keep_told(self, result, when, changes=(), by="packet", added=(), removed=()):
        Journal.keep(self, None, when, changes, by, added, removed)
        return keep(self, result, when, changes, by, added, removed)

    return keep_told


def loaded_forever(load):
    """Take what rested for what was given for ever."""

    def load_longer(self, leases, when, told=()):
        leases = list(leases)
        for lease in leases:
            lease.expires += 86400
        load(self, leases, when, told)

    return load_longer


def loaded_without_ports(load):
    """Forget the ports."""

    def load_less(self, leases, when, told=()):
        leases = list(leases)
        for lease in leases:
            lease.relay = b""
        load(self, leases, when, told)

    return load_less


def loaded_in_any_order(load):
    """Forget who was there first."""

    def load_sorted(self, leases, when, told=()):
        load(self, sorted(leases, key=lambda lease: lease.address), when, told)

    return load_sorted
