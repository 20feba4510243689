"""The executable definition of `IStorage`: what every pool must do."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any

from zope.interface.verify import verifyObject

from ..client import ClientState
from ..interfaces import IClockListener, ILeases, IReservations, IStorage
from ..lease import (
    AddressInUse,
    Lease,
    OnConflict,
    Refused,
    Reservation,
    Settings,
)
from ..network import Network
from ..wire.codes import INFINITE
from .parts import FakeClient, answer, ip, network, subnet


class StorageContract:
    """What every storage must do; mix it into a test class and write `make`.

    Times are given, so nothing waits.  A storage that needs the reactor overrides
    `wait`.
    """

    def make(
        self, network: Network, reservations: Iterable[Reservation] = ()
    ) -> IStorage:
        """The storage to prove, empty."""
        raise AssertionError("a contract needs a storage")

    def wait(self, result: Any) -> Any:
        """The answer behind what a verb returned."""
        return answer(result)

    # --- steps --------------------------------------------------------------------

    def _offer(
        self, storage: Any, net: Network, who: FakeClient, when: float, wish: str = ""
    ) -> Any:
        return self.wait(storage.offer(who.client(net, ClientState.INIT, wish), when))

    def _commit(
        self,
        storage: Any,
        net: Network,
        who: FakeClient,
        address: int,
        when: float,
        state: ClientState = ClientState.SELECTING,
    ) -> Any:
        asks = who.client(net, state, str(IPv4Address(address)))
        return self.wait(storage.commit(asks, address, when))

    def _bind(self, storage: Any, net: Network, who: FakeClient, when: float) -> Lease:
        offer = self._offer(storage, net, who, when)
        assert isinstance(offer, Lease), offer
        lease = self._commit(storage, net, who, offer.address, when)
        assert isinstance(lease, Lease), lease
        assert lease.address == offer.address
        return lease

    @staticmethod
    def _clients(count: int) -> list[FakeClient]:
        return [FakeClient(f"02:00:00:00:01:{n:02x}") for n in range(count)]

    # --- the contract -------------------------------------------------------------

    def test_provides_the_interface(self) -> None:
        """Every verb is there, with the right arguments."""
        verifyObject(IStorage, self.make(network()))

    def test_an_address_has_one_client(self) -> None:
        """Invariant 2: never one address for two clients; a full pool is silence."""
        net = network()
        storage = self.make(net)
        leases = [self._bind(storage, net, who, 100.0) for who in self._clients(4)]
        assert len({lease.address for lease in leases}) == 4
        fifth = self._offer(storage, net, FakeClient(), 101.0)
        assert not isinstance(fifth, Lease)

    def test_an_offer_is_held(self) -> None:
        """Invariant 5: offered to one, an address is not offered to another."""
        net = network()
        storage = self.make(net)
        offers = [self._offer(storage, net, who, 100.0) for who in self._clients(4)]
        assert len({offer.address for offer in offers}) == 4
        assert not isinstance(self._offer(storage, net, FakeClient(), 110.0), Lease)
        assert isinstance(self._offer(storage, net, FakeClient(), 140.0), Lease)

    def test_retransmissions_change_nothing(self) -> None:
        """The same question has the same answer."""
        net = network()
        storage = self.make(net)
        who = FakeClient()
        first = self._offer(storage, net, who, 100.0)
        assert self._offer(storage, net, who, 101.0).address == first.address
        one = self._commit(storage, net, who, first.address, 102.0)
        two = self._commit(storage, net, who, first.address, 103.0)
        assert one.address == two.address == first.address

    def test_a_client_comes_back_to_its_address(self) -> None:
        """Invariant 4: current, and after expiry and release, while nobody has it."""
        net = network()
        storage = self.make(net)
        clients = self._clients(2)
        lease, other = (self._bind(storage, net, who, 100.0) for who in clients)
        assert self._offer(storage, net, clients[0], 200.0).address == lease.address
        later = 100.0 + 2 * lease.duration
        assert self._offer(storage, net, clients[0], later).address == lease.address
        asks = clients[1].client(net, ClientState.BOUND)
        self.wait(storage.release(asks, other.address, later))
        assert self._offer(storage, net, clients[1], later).address == other.address

    def test_the_requested_address_is_given_if_free(self) -> None:
        """RFC 2131 section 4.3.1: behind current and previous comes option 50."""
        net = network()
        storage = self.make(net)
        wish = self._offer(storage, net, FakeClient(), 100.0, "192.0.2.12")
        assert wish.address == ip("192.0.2.12")
        other = FakeClient("02:00:00:00:00:02")
        assert self._offer(storage, net, other, 100.0, "192.0.2.12").address != wish
        assert isinstance(self._offer(storage, net, other, 100.0, "9.9.9.9"), Lease)

    def test_the_longest_unused_address_is_given_first(self) -> None:
        """RFC 2131 section 4.3.1 leaves the choice; this is the one that lasts."""
        net = network()
        storage = self.make(net)
        clients = self._clients(4)
        leases = [
            self._bind(storage, net, who, 100.0 + n) for n, who in enumerate(clients)
        ]
        for n in (2, 0, 3, 1):
            asks = clients[n].client(net, ClientState.BOUND)
            self.wait(storage.release(asks, leases[n].address, 200.0 + n))
        when = 300.0
        order = [leases[n].address for n in (2, 0, 3, 1)]
        new = [FakeClient(f"02:00:00:00:02:{n:02x}") for n in range(4)]
        given = [self._bind(storage, net, who, when).address for who in new]
        assert given == order

    def test_only_the_holder_releases(self) -> None:
        """A RELEASE of another's address changes nothing."""
        net = network()
        storage = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        asks = thief.client(net, ClientState.BOUND)
        assert not self.wait(storage.release(asks, lease.address, 101.0))
        kept = self._commit(
            storage, net, who, lease.address, 102.0, ClientState.RENEWING
        )
        assert isinstance(kept, Lease)

    def test_a_declined_address_rests(self) -> None:
        """RFC 2131 section 4.3.3; from its client only, or anybody drains the pool."""
        net = network(subnet(decline_hold=1000))
        storage = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        bad = thief.client(net, ClientState.BOUND)
        assert not self.wait(storage.decline(bad, lease.address, 101.0))
        good = who.client(net, ClientState.BOUND)
        assert self.wait(storage.decline(good, lease.address, 102.0))
        again = self._bind(storage, net, who, 103.0)
        assert again.address != lease.address
        given = [self._bind(storage, net, c, 104.0) for c in self._clients(4)[2:]]
        assert lease.address not in {each.address for each in given}

    def test_unknown_clients_are_confirmed_nothing(self) -> None:
        """INIT-REBOOT, RENEWING and REBINDING confirm a binding; they make none."""
        net = network()
        storage = self.make(net)
        for state in (
            ClientState.INIT_REBOOT,
            ClientState.RENEWING,
            ClientState.REBINDING,
        ):
            wish = ip("192.0.2.11")
            found = self._commit(storage, net, FakeClient(), wish, 100.0, state)
            assert found is None or isinstance(found, Refused)

    def test_anothers_address_is_refused(self) -> None:
        """A client whose notion of its address is wrong is told so."""
        net = network()
        storage = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        for state in (ClientState.SELECTING, ClientState.RENEWING):
            found = self._commit(storage, net, other, lease.address, 101.0, state)
            assert isinstance(found, Refused)

    def test_a_reserved_address_is_its_clients_alone(self) -> None:
        """Invariant 3: static and dynamic share the pool, and nobody else gets it."""
        net = network()
        owner = FakeClient("02:00:00:00:99:01")
        reserved = Reservation(ip("192.0.2.10"), hardware=owner.hardware)
        storage = self.make(net, [reserved])
        others = self._clients(4)
        given = [self._bind(storage, net, who, 100.0).address for who in others[:3]]
        assert reserved.address not in given
        assert not isinstance(self._offer(storage, net, others[3], 101.0), Lease)
        assert self._bind(storage, net, owner, 102.0).address == reserved.address

    def test_a_reservation_holds_for_any_identifier(self) -> None:
        """Reserved by hardware address, a client keeps it when its option 61 changes."""
        net = network()
        reserved = Reservation(ip("192.0.2.12"), hardware=FakeClient().hardware)
        storage = self.make(net, [reserved])
        rom = FakeClient()
        system = FakeClient(identifier=b"\xff\x00\x00\x00\x01\x00\x02duid")
        assert self._bind(storage, net, rom, 100.0).address == reserved.address
        assert self._bind(storage, net, system, 101.0).address == reserved.address

    def test_settings_for_those_who_have_an_address(self) -> None:
        """INFORM is answered without looking for a lease."""
        net = network()
        storage = self.make(net)
        asks = FakeClient().client(net, ClientState.BOUND)
        assert isinstance(self.wait(storage.configure(asks, 100.0)), Settings)

    # --- many at once -------------------------------------------------------------

    def test_many_ask_before_anybody_is_answered(self) -> None:
        """Invariant 2 holds while answers are still being thought about."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(8)
        first = ip("192.0.2.10")
        asked = [
            (who, storage.commit(self._selecting(net, who, first), first, 100.0))
            for who in clients
        ]
        given = [who for who, result in asked if isinstance(self.wait(result), Lease)]
        assert len(given) == 1, f"{len(given)} clients were given one address"

    def test_offers_asked_for_at_once(self) -> None:
        """Invariant 5: four addresses are offered to four of eight who ask together."""
        net = network()
        storage: Any = self.make(net)
        asked = [
            storage.offer(who.client(net, ClientState.INIT), 100.0)
            for who in self._clients(8)
        ]
        offers = [found for found in map(self.wait, asked) if isinstance(found, Lease)]
        addresses = [offer.address for offer in offers]
        assert len(addresses) == len(set(addresses)), "one address offered to two"
        assert len(addresses) == 4, "an address that is free was offered to nobody"

    @staticmethod
    def _selecting(net: Network, who: FakeClient, address: int) -> Any:
        return who.client(net, ClientState.SELECTING, str(IPv4Address(address)))

    def test_an_offered_address_is_not_another_s_to_take(self) -> None:
        """Invariant 5: a REQUEST for what somebody else was offered is refused."""
        net = network()
        storage: Any = self.make(net)
        who, thief = self._clients(2)
        offer = self._offer(storage, net, who, 100.0)
        found = self._commit(storage, net, thief, offer.address, 101.0)
        assert not isinstance(found, Lease), "it took an address offered to another"

    def test_an_offer_that_another_server_won(self) -> None:
        """RFC 2131 section 3.1 step 4: what was offered is free again at once."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(4)
        for who in clients:
            self._offer(storage, net, who, 100.0)
        asks = clients[0].client(net, ClientState.SELECTING)
        self.wait(storage.release(asks, 0, 101.0))
        assert isinstance(self._offer(storage, net, FakeClient(), 102.0), Lease)

    def test_a_release_that_is_repeated(self) -> None:
        """RELEASE has no answer, so it may come twice; a new holder is not harmed."""
        net = network()
        storage: Any = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        asks = who.client(net, ClientState.BOUND)
        assert self.wait(storage.release(asks, lease.address, 101.0))
        taken = self._commit(storage, net, other, lease.address, 102.0)
        assert isinstance(taken, Lease), "what was released is free (section 4.3.4)"
        self.wait(storage.release(asks, lease.address, 103.0))
        kept = self._commit(
            storage, net, other, lease.address, 104.0, ClientState.RENEWING
        )
        assert isinstance(kept, Lease), "a late RELEASE took another's address"

    # --- time ---------------------------------------------------------------------

    def test_infinite_leases(self) -> None:
        """RFC 2131 section 3.3: 0xffffffff has no end; it can be revoked all the same."""
        net = network(subnet(lease_time=INFINITE, decline_hold=1000))
        storage: Any = self.make(net)
        who = FakeClient()
        lease = self._bind(storage, net, who, 100.0)
        assert lease.duration == INFINITE
        later = self._commit(
            storage, net, who, lease.address, 4e9, ClientState.RENEWING
        )
        assert isinstance(later, Lease)
        assert later.duration == INFINITE
        if ILeases.providedBy(storage):
            assert self.wait(storage.revoke(lease.address, 4e9)) is not None
            taken = [
                self._offer(storage, net, each, 4e9 + 1001) for each in self._clients(4)
            ]
            assert all(isinstance(each, Lease) for each in taken)

    def test_the_clock_is_set(self) -> None:
        """Invariant 8: nobody's remaining time changes, whichever way it goes."""
        for by in (86400.0, -86400.0, -1.7e9):
            net = network()
            storage: Any = self.make(net)
            if not IClockListener.providedBy(storage):
                return
            clients = self._clients(5)
            when = 1.8e9
            leases = [self._bind(storage, net, who, when) for who in clients[:4]]
            self.wait(storage.clock_stepped(by))
            when += by
            late = self._offer(storage, net, clients[4], when + 3500)
            assert not isinstance(late, Lease), f"{by:+}: leases ended with the clock"
            kept = self._commit(
                storage,
                net,
                clients[0],
                leases[0].address,
                when + 3500,
                ClientState.RENEWING,
            )
            assert isinstance(kept, Lease), f"{by:+}: a renewal was refused"
            late = self._offer(storage, net, clients[4], when + 3700)
            assert isinstance(late, Lease), f"{by:+}: leases became immortal"

    # --- control ------------------------------------------------------------------

    def test_reservations_pushed_while_it_runs(self) -> None:
        """Invariant 3, live: the verdict tells what will really happen."""
        net = network()
        storage: Any = self.make(net)
        if not IReservations.providedBy(storage):
            return
        holder, owner, other = self._clients(3)
        lease = self._bind(storage, net, holder, 100.0)
        refuse = Reservation(
            lease.address,
            hardware=owner.hardware,
            source="test",
            on_conflict=OnConflict.REFUSE,
        )
        until = 0.0
        try:
            self.wait(storage.reserve(refuse, 101.0))
        except AddressInUse as error:
            until = error.until
        assert until >= 100.0 + lease.duration, "refuse: it has to say until when"
        waits = Reservation(lease.address, hardware=owner.hardware, source="test")
        assert self.wait(storage.reserve(waits, 101.0)).outcome == "waiting"
        renewed = self._commit(
            storage, net, holder, lease.address, 200.0, ClientState.RENEWING
        )
        assert isinstance(renewed, Lease), "wait: the holder keeps what remains"
        assert renewed.duration <= lease.duration - 100 + 1
        mine = self._offer(storage, net, owner, 100.0 + lease.duration + 2)
        assert mine.address == lease.address, "the reserved client gets it in the end"
        free = Reservation(ip("192.0.2.13"), hardware=other.hardware, source="test")
        assert self.wait(storage.reserve(free, 300.0)).outcome == "applied"
        assert self._bind(storage, net, other, 301.0).address == free.address
        self.wait(storage.cancel(free, 302.0))
        assert free not in storage.reservations(None, 10, None)

    # --- anything -----------------------------------------------------------------

    def test_any_history(self) -> None:
        """Random clients, times and control calls against what must hold.

        The same hundred each time; ``DHCPTWIST_HISTORIES`` set to a number tries as many
        new ones.
        """
        _any_history(self)

    def restart(
        self, storage: Any, network: Network, reservations: Iterable[Reservation]
    ) -> Any:
        """The storage, closed and opened again; None if it keeps nothing."""
        return None


class DurableStorageContract(StorageContract):
    """The contract of a storage that keeps what it decides; write `restart`, too."""

    def restart(
        self, storage: Any, network: Network, reservations: Iterable[Reservation]
    ) -> Any:
        """The storage, closed and opened again."""
        raise AssertionError("a durable storage needs a restart")

    def test_a_restart_changes_nothing(self) -> None:
        """Invariant 1: who has an ACK has its address, for as long as it was told."""
        net = network(subnet(decline_hold=1000))
        owner = FakeClient("02:00:00:00:99:01")
        reserved = [Reservation(ip("192.0.2.13"), hardware=owner.hardware)]
        storage: Any = self.make(net, reserved)
        holder, gone, bad = self._clients(3)
        kept = self._bind(storage, net, holder, 100.0)
        left = self._bind(storage, net, gone, 100.0)
        declined = self._bind(storage, net, bad, 100.0)
        asks = gone.client(net, ClientState.BOUND)
        self.wait(storage.release(asks, left.address, 110.0))
        asks = bad.client(net, ClientState.BOUND)
        self.wait(storage.decline(asks, declined.address, 110.0))
        storage = self.restart(storage, net, reserved)
        renewed = self._commit(
            storage, net, holder, kept.address, 120.0, ClientState.INIT_REBOOT
        )
        assert isinstance(renewed, Lease), "an ACKed lease was lost"
        back = self._offer(storage, net, gone, 120.0)
        assert back.address == left.address, "a client's previous address was forgotten"
        others = [self._offer(storage, net, each, 121.0) for each in self._clients(6)]
        given = {each.address for each in others if isinstance(each, Lease)}
        assert declined.address not in given, "a declined address did not rest"
        assert kept.address not in given - {kept.address} or len(given) < 2
        assert reserved[0].address not in given, "a reserved address was given away"

    def test_a_restart_between_offer_and_request(self) -> None:
        """The client takes the offer that it has: it is served, if the address is free."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        offer = self._offer(storage, net, who, 100.0)
        storage = self.restart(storage, net, ())
        found = self._commit(storage, net, who, offer.address, 101.0)
        assert isinstance(found, Lease)

    def test_pushed_reservations_are_kept(self) -> None:
        """Their answer meant that they were on disk."""
        net = network()
        storage: Any = self.make(net)
        if not IReservations.providedBy(storage):
            return
        pushed = Reservation(
            ip("192.0.2.12"),
            hardware=FakeClient().hardware,
            hostname="printer",
            settings=Settings({6: b"\1\2\3\4"}, boot_file="x"),
            source="test",
        )
        self.wait(storage.reserve(pushed, 100.0))
        storage = self.restart(storage, net, ())
        assert storage.reservations(None, 10, None) == [pushed]


def _any_history(contract: StorageContract) -> None:
    try:
        from .histories import try_histories  # noqa: PLC0415 - hypothesis is optional
    except ImportError as error:
        raise AssertionError(
            f"random histories need hypothesis ({error}): pip install dhcptwist[contract]"
        ) from None
    try_histories(contract)
