"""Which address a client is offered, as tests of a storage: RFC 2131 section 4.3.1."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from ..client import ClientState
from ..lease import Lease
from .parts import FakeClient, ip, network
from .steps import Steps


SELECTING, RENEWING = ClientState.SELECTING, ClientState.RENEWING

ORDER = (
    "RFC 2131 section 4.3.1: a client gets its current address, else its previous one,"
    " else the one it asks for (option 50), else the one unused longest; here "
)


class AddressContract(Steps):
    """The rules for offers; mixed into `StorageContract`."""

    # --- offers -------------------------------------------------------------------

    def test_an_offer_is_held(self) -> None:
        """Invariant 5: offered to one, an address is not offered to another."""
        net = network()
        storage: Any = self.make(net)
        given = self._given(storage, net, self._clients(4), 100.0)
        self.must(
            len(given) == 4, "invariant 5: one address was offered to two clients"
        )
        soon = self._offer(storage, net, FakeClient(), 110.0)
        self.must_not_be_given(soon, "invariant 5: an offer is held for its client")
        late = self._offer(storage, net, FakeClient(), 140.0)
        self.must_be_given(
            late,
            "RFC 2131 section 4.3.1: an offer that nobody took is free again after the"
            " subnet's offer-hold (30 s)",
        )

    def test_an_offered_address_is_not_another_s_to_take(self) -> None:
        """Invariant 5: a REQUEST for what somebody else was offered is refused."""
        net = network()
        storage: Any = self.make(net)
        who, thief = self._clients(2)
        offer = self._offer(storage, net, who, 100.0)
        found = self._commit(storage, net, thief, offer.address, 101.0)
        self.must_not_be_given(
            found, "invariant 5: it took an address offered to another"
        )
        wish = self._offer(storage, net, thief, 101.0, "192.0.2.10")
        self.must(
            wish.address != offer.address,
            "invariant 5: asking for it by option 50 gets nobody another's offer",
        )
        mine = self._commit(storage, net, who, offer.address, 102.0)
        self.must_be_given(mine, "invariant 5: who was offered it gets it")

    def test_an_offer_that_another_server_won(self) -> None:
        """RFC 2131 section 3.1 step 4: what was offered is free again at once."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(4)
        for who in clients:
            self._offer(storage, net, who, 100.0)
        self.answered(storage, net, "release", clients[0], 101.0, 0, SELECTING)
        self.must_be_given(
            self._offer(storage, net, FakeClient(), 102.0),
            "section 3.1 step 4: release of address 0 in SELECTING gives the offer back",
        )

    def test_another_server_won_and_the_lease_stays(self) -> None:
        """It gives back what was offered, and nothing that is leased."""
        net = network()
        storage: Any = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        self.answered(storage, net, "release", who, 101.0, 0, SELECTING)
        rule = "IStorage.release: address 0 gives back the offer, never the lease"
        thief = self._commit(storage, net, other, lease.address, 102.0)
        self.must_not_be_given(thief, rule)
        kept = self._commit(storage, net, who, lease.address, 102.0, RENEWING)
        self.must_be_given(kept, rule)

    # --- which address ------------------------------------------------------------

    def test_a_client_comes_back_to_its_address(self) -> None:
        """Invariant 4: current, and after expiry and release, while nobody has it."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(2)
        lease, other = (self._bind(storage, net, who, 100.0) for who in clients)
        later = 100.0 + 2 * lease.duration
        for when in (200.0, later):
            back = self._offer(storage, net, clients[0], when)
            self.must(
                back.address == lease.address,
                "invariant 4: a client that comes back gets its address back",
            )
        self._release(storage, net, clients[1], other.address, later)
        self.must(
            self._offer(storage, net, clients[1], later).address == other.address,
            "invariant 4: also after it has released it",
        )

    def test_the_whole_order(self) -> None:
        """RFC 2131 section 4.3.1: current, previous, option 50, longest unused."""
        net = network()
        storage: Any = self.make(net)
        who, second, third = self._clients(3)
        lease = self._bind(storage, net, who, 100.0)
        wish = max({ip("192.0.2.12"), ip("192.0.2.13")} - {lease.address})
        hopes = str(IPv4Address(wish))
        found = self._offer(storage, net, who, 200.0, hopes)
        self.must(
            found.address == lease.address, ORDER + "current comes before option 50"
        )
        self._release(storage, net, who, lease.address, 210.0)
        found = self._offer(storage, net, who, 220.0, hopes)
        self.must(
            found.address == lease.address, ORDER + "previous comes before option 50"
        )
        self.answered(storage, net, "release", who, 221.0, 0, SELECTING)
        taken = self._commit(storage, net, second, lease.address, 222.0)
        self.must_be_given(taken, "section 4.3.4: what was released is anybody's")
        found = self._offer(storage, net, who, 230.0, hopes)
        self.must(
            found.address == wish,
            ORDER + "the previous address is another's now, so option 50 decides",
        )
        found = self._offer(storage, net, third, 231.0, hopes)
        self.must(
            isinstance(found, Lease) and found.address not in {wish, lease.address},
            ORDER + "option 50 names what another was offered, so the pool decides",
        )

    def test_the_requested_address_is_given_if_free(self) -> None:
        """RFC 2131 section 4.3.1: behind current and previous comes option 50."""
        net = network()
        storage: Any = self.make(net)
        wish = self._offer(storage, net, FakeClient(), 100.0, "192.0.2.12")
        self.must(wish.address == ip("192.0.2.12"), ORDER + "it asked for a free one")
        other = FakeClient("02:00:00:00:00:02")
        found = self._offer(storage, net, other, 100.0, "192.0.2.12")
        self.must(
            found.address != wish.address, ORDER + "what it asked for is not free"
        )
        for odd in ("9.9.9.9", "192.0.2.200", "192.0.2.1"):
            found = self._offer(storage, net, other, 100.0, odd)
            self.must(
                isinstance(found, Lease) and found.address != ip(odd),
                ORDER + f"{odd} is in no pool, so another is given",
            )

    def test_the_longest_unused_address_is_given_first(self) -> None:
        """RFC 2131 section 4.3.1 leaves the choice; this is the one that lasts."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(4)
        leases = [
            self._bind(storage, net, who, 100.0 + n) for n, who in enumerate(clients)
        ]
        for when, n in enumerate((2, 0, 3, 1), 200):
            self._release(storage, net, clients[n], leases[n].address, when)
        order = [leases[n].address for n in (2, 0, 3, 1)]
        given = [
            self._bind(storage, net, who, 300.0).address
            for who in self._clients(4, row=2)
        ]
        self.must(given == order, ORDER + "those released first are given first")

    def test_never_used_addresses_go_first(self) -> None:
        """Who has left finds its address again as long as there are others."""
        net = network()
        storage: Any = self.make(net)
        who, *others = self._clients(4)
        lease = self._bind(storage, net, who, 100.0)
        self._release(storage, net, who, lease.address, 110.0)
        for other in others:
            self._bind(storage, net, other, 120.0)
        self.must(
            self._offer(storage, net, who, 130.0).address == lease.address,
            ORDER + "addresses that nobody ever had are unused longest",
        )
