"""What has to be known before an address can be given: who it is for, who is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred

from ..client import Client
from ..interfaces import WrongAnswer
from ..lease import Lease, LeaseState, Refused, Reservation, Silence
from ..network import Network
from .choosing import Choosing


class Waiting(Choosing):
    """The part of a pool that may have to wait: for another system, or for a probe."""

    def reservation_for(self, client: Client) -> Any:
        """The reservation of a client, or None: it gets a dynamic address.

        Or a `Silence`: it is not answered at all; or `Refused`: it is not answered, and
        what it has is ended by a NAK.  May be an ``async def`` or return a Deferred.
        """
        found = None
        if self.reserved:
            previous = self.index.of_client(client.key, client.subnets)
            found = self.reserved.for_client(client, previous, self.now)
        if found is None and self.members is not None:
            return self.members.reservation_for(client)
        return found

    def once_known(
        self, found: Any, client: Client, step: Callable[[Reservation | None], Any]
    ) -> Any:
        """Take a step when `reservation_for` has answered."""
        if found is None or found.__class__ is Reservation:
            return self._once_silent(client, checked(found), step)
        if isinstance(found, Refused | Silence):
            return found
        if isinstance(found, CoroutineType):
            found = Deferred.fromCoroutine(found)
        if not isinstance(found, Deferred):  # one of another kind, or a mistake
            return self._once_silent(client, checked(found), step)
        network = self.network

        def known(found: Any) -> Any:
            if self._is_elsewhere(client, network):
                return Silence.NO_SUBNET
            return self._once_silent(client, checked(found), step)

        return found.addCallback(known)

    def _once_silent(
        self,
        client: Client,
        reservation: Reservation | Refused | Silence | None,
        step: Callable[[Reservation | None], Any],
    ) -> Any:
        """See first whether a holder of the reserved address is gone, if it must be.

        It must if the lease was revoked; and where the reservation is for a relay's
        port: a device that was swapped is silent, two on one port are not, and the
        second gets another address.
        """
        if isinstance(reservation, Refused | Silence):
            return reservation
        if reservation is None or reservation.address is None:
            return step(reservation)
        lease = self.index.leases.get(reservation.address)
        subnet = client.subnet_of(reservation.address)
        if lease is None or subnet is None or not lease.held(self.now):
            return step(reservation)
        if lease.state == LeaseState.REVOKED:
            probe = self.probe(lease, subnet)
            if probe is not None:
                return probe.addCallback(self._looked(client, reservation, step))
        elif self._is_neighbour(client, lease, reservation):
            asked = self.ask(lease.address, subnet)
            if asked is not None:
                elsewhere = replace(reservation, address=None)
                return asked.addCallback(
                    self._looked(client, reservation, step, elsewhere)
                )
        return step(reservation)

    def _looked(
        self,
        client: Client,
        reservation: Reservation,
        step: Callable[[Reservation | None], Any],
        elsewhere: Reservation | None = None,
    ) -> Callable[[bool], Any]:
        """What is to be done after a probe: the step, if all is still as it was."""
        network = self.network
        is_ours = reservation in self.reserved.of(reservation.who)

        def looked(answered: bool) -> Any:
            if network is self.network:
                return step(elsewhere if answered and elsewhere else reservation)
            if self._is_elsewhere(client, network):
                return Silence.NO_SUBNET
            if is_ours and reservation not in self.reserved.of(reservation.who):
                return Silence.NO_LEASE  # the next time it asks, there may be another
            return step(elsewhere if answered and elsewhere else reservation)

        return looked

    def _is_elsewhere(self, client: Client, network: Network) -> bool:
        """Whether a client that had to wait is in no subnet of now, by what it told then.

        If it still is in one, it has the subnets of that one's wire.
        """
        if network is self.network or not client.subnets:
            return False
        for each in client.subnets:
            same = self.network.subnet_of(each.network)
            if same is not None and same.cidr == each.cidr:
                client.subnets = self.network.link(same)
                return False
        return True

    def _is_neighbour(
        self, client: Client, lease: Lease, reservation: Reservation
    ) -> bool:
        """Whether another client of the same port has the address, and may still."""
        offer = self.index.offers.get(lease.address)
        return (
            reservation.port is not None
            and lease.state == LeaseState.BOUND
            and lease.key != client.key
            and (offer is None or offer.key != client.key)
            and reservation.owns(lease)
        )


def checked(found: Any) -> Any:
    """What `reservation_for` has answered, if it is something that it may."""
    if found is None or isinstance(found, Refused | Silence):
        return found
    expected = "a Reservation, a Refused, a Silence or None"
    if isinstance(found, Reservation):
        address: Any = found.address
        if address is None or isinstance(address, int):
            return found
        expected = "an int, or None, as its address"
    raise WrongAnswer("reservation_for", found, expected)
