"""Which reservations are in force, and what that becomes when the configuration changes.

The configuration's own win over pushed ones.  A pushed one that one of them stands in
the way of is set aside, and in force again when that is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address

from twisted.logger import Logger
from zope.interface import implementer

from ..config.written import who_text
from ..interfaces import INetworkListener
from ..lease import FILE, Reservation
from ..network import Network
from .journal import EXPIRY
from .reservations import moved
from .state import PoolState, keep_quietly


_log = Logger()


@implementer(INetworkListener)
class Admitting(PoolState):
    """The part of a pool that puts reservations in and takes them out."""

    def reservation_of(
        self, address: int | None, who: tuple[str, bytes, bytes] | None
    ) -> list[Reservation]:
        """See `IReservations.reservation_of`."""
        found = list(self.reserved.of(who)) if who is not None else []
        if address is not None and address in self.reserved.by_address:
            there = self.reserved.by_address[address]
            if there not in found:
                found.append(there)
        return found

    def set_aside(self) -> list[Reservation]:
        """See `IReservations.set_aside`."""
        return list(self.aside)

    def forget(self, reservation: Reservation) -> bool:
        """Take it out, if it is in force or set aside; whether it was."""
        if reservation in self.reserved.of(reservation.who):
            self.take_out(reservation)
        elif reservation in self.aside:
            self.aside.remove(reservation)
            if self.index.log is not None:
                self.index.log.append(
                    partial(self._put_aside, reservation, self.stepped)
                )
        else:
            return False
        return True

    def put_aside(self, reservation: Reservation) -> None:
        """It is kept, and not in force."""
        self.aside.append(reservation)
        if self.index.log is not None:
            self.index.log.append(partial(self._drop, reservation))

    def put_in(self, reservation: Reservation) -> None:
        """It is in force; what stood in its place has been taken out."""
        self._add(reservation)
        if self.index.log is not None:
            self.index.log.append(partial(self._drop, reservation))

    def take_out(self, reservation: Reservation) -> None:
        """It is in force no more."""
        self._remove(reservation)
        if self.index.log is not None:
            self.index.log.append(partial(self._put_back, reservation, self.stepped))

    def admit(self, pushed: Reservation) -> None:
        """Put a pushed one in force, unless another is in its way."""
        if self._is_in_the_way(pushed):
            self.aside.append(pushed)
            _log.warn(
                "The reservation of {what} for {who}, by {source}, is not in force: the"
                " configuration has another for its address or client",
                what="settings"
                if pushed.address is None
                else IPv4Address(pushed.address),
                who=who_text(pushed),
                source=pushed.source,
            )
        else:
            self._add(pushed)

    def _is_in_the_way(self, pushed: Reservation) -> bool:
        """Whether there is one for its address, or for its client where it has one."""
        home = None
        if pushed.address is not None:
            home = self.network.subnet_of(pushed.address)
        return any(
            other.address == pushed.address
            or (
                home is not None
                and other.address is not None
                and home.contains(other.address)
            )
            for other in self.reservation_of(pushed.address, pushed.who)
        )

    def _add(self, reservation: Reservation) -> None:
        self.reserved.add(reservation)
        area = None
        if reservation.address is not None:
            area = self.index.area_of(reservation.address)
        if area is not None and reservation.address is not None:
            area.free.remove(reservation.address)

    def _remove(self, reservation: Reservation) -> None:
        self.reserved.remove(reservation)
        address = reservation.address
        if address is None or address in self.index.offers:
            return
        lease = self.index.leases.get(address)
        area = self.index.area_of(address)
        if area is not None and (lease is None or not lease.held(self.now)):
            area.free.give_back(address)

    # --- taking back what could not be kept -----------------------------------------

    def _drop(self, reservation: Reservation) -> None:
        """It was never put in; by now it may have been set aside."""
        for each in self.reserved.of(reservation.who):
            if _same(each, reservation):
                self._remove(each)
                return
        self.aside = [each for each in self.aside if not _same(each, reservation)]

    def _put_back(self, reservation: Reservation, stepped: float) -> None:
        """As it was; its end by the clock as it is now."""
        self.admit(moved(reservation, self.stepped - stepped))

    def _put_aside(self, reservation: Reservation, stepped: float) -> None:
        self.aside.append(moved(reservation, self.stepped - stepped))

    # --- the clock ------------------------------------------------------------------

    def clock_ticked(self, when: float) -> None:
        """See `IClockListener`."""
        super().clock_ticked(when)
        self.forget_ended(when)

    def forget_ended(self, when: float) -> None:
        """Take out the reservations whose lifetime has ended."""
        ended = self.reserved.ended(when)
        for each in ended:
            self.take_out(each)
        for each in [each for each in self.aside if each.expires <= when]:
            self.forget(each)
            ended.append(each)
        if ended:
            # Should it not be kept: loading passes over what has ended.
            keep_quietly(self.journal.keep(None, when, by=EXPIRY, removed=ended))

    def shift_reservations(self, by: float) -> list[Reservation]:
        """Those that are not in force may be again: they have an end, too."""
        self.aside = [moved(each, by) for each in self.aside]
        return [*super().shift_reservations(by), *self.aside]

    # --- another configuration ------------------------------------------------------

    def network_changed(
        self,
        network: Network,
        added: Sequence[Reservation],
        removed: Sequence[Reservation],
        when: float,
    ) -> None:
        """See `INetworkListener`; leases stay as they are, to their end."""
        self.now = when
        for each in removed:
            if each in self.reserved.of(each.who):
                self._remove(each)
        pushed = self._in_question(network, added)
        for each in pushed:
            self._remove(each)
        self.network = network
        self.index.change_network(network, when)
        for each in added:
            self._add(each)
        aside, self.aside = self.aside, []
        for each in aside:
            if self._is_in_the_way(each):
                self.aside.append(each)
            else:
                self._add(each)
        for each in pushed:
            self.admit(each)

    def _in_question(
        self, network: Network, added: Sequence[Reservation]
    ) -> list[Reservation]:
        """Those in force that others may be in the way of."""
        if self.network.cidrs != network.cidrs:
            # What a client has in two subnets may be in one now.
            every = self.reserved.page(None, len(self.reserved), None)
            return [each for each in every if each.source != FILE]
        found: dict[tuple[object, ...], Reservation] = {}
        for new in added:
            for each in self.reservation_of(new.address, new.who):
                found[each.place] = each
        return list(found.values())


def _same(one: Reservation, other: Reservation) -> bool:
    """Whether they are one, whatever its end is by now."""
    return one.place == other.place and one.source == other.source
