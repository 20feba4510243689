"""What holds when the configuration is read again, as tests of a storage."""

from __future__ import annotations

from typing import Any

from ..client import ClientState
from ..interfaces import INetworkListener, IReservations
from ..lease import Lease, Reservation
from .parts import FakeClient, ip, network, subnet
from .steps import Steps


SELECTING, RENEWING = ClientState.SELECTING, ClientState.RENEWING

SWAP = "INetworkListener.network_changed: "


class ReloadingContract(Steps):
    """The rules for a storage that is given other subnets; mixed into `StorageContract`."""

    def _changed(
        self,
        storage: Any,
        net: Any,
        when: float,
        added: tuple[Reservation, ...] = (),
        removed: tuple[Reservation, ...] = (),
    ) -> None:
        asked = storage.network_changed(net, added, removed, when)
        self.called("network_changed", asked, when)

    def test_pools_that_change(self) -> None:
        """What is given comes from the pools of now; what was leased ends in its time."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, INetworkListener)
        inside, outside, other = self._clients(3)
        leases = [self._bind(storage, net, who, 100.0) for who in (inside, outside)]
        first = leases[0].address
        net = network(subnet(pool="192.0.2.10-192.0.2.10", lease_time=1800))
        self._changed(storage, net, 200.0)
        kept = self._commit(storage, net, inside, first, 201.0, RENEWING)
        self.must_be_given(kept, SWAP + "a lease that is in a pool can be renewed")
        self.must(kept.duration == 1800, SWAP + "lease times are those of now")
        lost = self._commit(storage, net, outside, leases[1].address, 202.0, RENEWING)
        self.must_not_be_given(lost, SWAP + "what is in no pool is not renewed")
        none = self._offer(storage, net, other, 203.0)
        self.must_not_be_given(none, SWAP + "what is in no pool is not given")
        net = network()
        self._changed(storage, net, 300.0)
        given = self._given(storage, net, self._clients(5, row=2), 301.0)
        self.must(
            first not in given and len(given) >= 2,
            SWAP + "what comes back is given, and what is leased is not",
        )

    def test_subnets_that_come_and_go(self) -> None:
        """Leases of a subnet that stays are untouched, those of one that goes are kept."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, INetworkListener)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        far = subnet("198.51.100.0/24", "198.51.100.10", name="far", interface="eth0")
        self._changed(storage, network(far), 200.0)
        given = self._bind(storage, network(far), other, 201.0)
        self.must(
            given.address == ip("198.51.100.10"), SWAP + "a subnet that comes is served"
        )
        net = network(subnet(name="again"))
        self._changed(storage, net, 300.0)
        thief = self._commit(storage, net, other, lease.address, 301.0, SELECTING)
        self.must_not_be_given(thief, SWAP + "invariant 2 holds when a subnet is back")
        back = self._offer(storage, net, who, 302.0)
        self.must(
            isinstance(back, Lease) and back.address == lease.address,
            SWAP + "a client that comes back gets its address back (invariant 4)",
        )

    def test_reservations_that_change(self) -> None:
        """Those that come are in force, those that go are not."""
        net = network()
        owner, heir, other = self._clients(3)
        old = Reservation(ip("192.0.2.200"), hardware=owner.hardware)
        storage: Any = self.make(net, [old])
        self.needs(storage, INetworkListener)
        self._bind(storage, net, owner, 100.0)
        new = Reservation(ip("192.0.2.201"), hardware=heir.hardware)
        net = network()
        self._changed(storage, net, 200.0, (new,), (old,))
        lost = self._commit(storage, net, owner, old.address or 0, 201.0, RENEWING)
        self.must_not_be_given(lost, SWAP + "what is reserved no more is in no pool")
        thief = self._commit(storage, net, other, new.address or 0, 202.0)
        self.must_not_be_given(thief, SWAP + "invariant 3: it is reserved")
        mine = self._bind(storage, net, heir, 203.0)
        self.must(mine.address == new.address, SWAP + "its client gets it")

    def test_a_pushed_reservation_gives_way(self) -> None:
        """The configuration's wins, as after a restart, and the other is kept."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, INetworkListener, IReservations)
        owner = FakeClient()
        pushed = Reservation(ip("192.0.2.12"), hardware=b"\1pushed", source="test")
        self.called("reserve", storage.reserve(pushed, 100.0), 100.0)
        mine = Reservation(ip("192.0.2.12"), hardware=owner.hardware)
        self._changed(storage, net, 200.0, (mine,))
        lease = self._bind(storage, net, owner, 201.0)
        self.must(
            lease.address == mine.address, SWAP + "the configuration's reservation wins"
        )
        self.must(
            storage.set_aside() == [pushed] and storage.sources().get("test") == 1,
            "IReservations.set_aside: it is its source's still, and can be seen",
        )
        self._changed(storage, net, 300.0, (), (mine,))
        found = storage.reservations(None, 10, None)
        self.must(
            found == [pushed] and storage.set_aside() == [],
            f"{SWAP}a pushed one is in force again when nothing is in its way: {found}",
        )

    def test_what_was_set_aside_can_be_taken_out(self) -> None:
        """Cancelled, or left out of a change, it does not come back."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, INetworkListener, IReservations)
        pushed = [
            Reservation(ip("192.0.2.12") + n, hardware=b"\1pushe%d" % n, source="test")
            for n in range(2)
        ]
        mine = [
            Reservation(each.address, hardware=b"\1mine.%d" % n)
            for n, each in enumerate(pushed)
        ]
        self.called("change", storage.change(pushed, [], 100.0), 100.0)
        revision = storage.revision("test")
        self._changed(storage, net, 200.0, tuple(mine))
        self.must(
            storage.revision("test") == revision,
            "IReservations.revision: it is no part of it whether they are in force",
        )
        trial = storage.change([], pushed, 201.0, dry_run=True)
        self.called("change", trial, 201.0)
        self.must(storage.set_aside() == pushed, "dry_run: nothing changes")
        self.called("cancel", storage.cancel(pushed[0], 202.0), 202.0)
        self.called("change", storage.change([], pushed, 203.0), 203.0)
        self.must(storage.set_aside() == [], "what is taken out is out")
        self._changed(storage, net, 300.0, (), tuple(mine))
        found = storage.reservations(None, 10, None)
        self.must(found == [], f"{SWAP}what was taken out does not come back: {found}")
