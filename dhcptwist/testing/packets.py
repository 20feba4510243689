"""What packets must come to, as tests of a storage: RFC 2131 sections 4.3.2 to 4.3.5."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from ..client import ClientState
from ..interfaces import IStorage
from ..lease import Lease, Refused, Settings
from .parts import FakeClient, ip, network, subnet
from .steps import Steps


SELECTING, REBOOT = ClientState.SELECTING, ClientState.INIT_REBOOT
RENEWING, REBINDING = ClientState.RENEWING, ClientState.REBINDING
CONFIRMING = REBOOT, RENEWING, REBINDING


class PacketContract(Steps):
    """The rules for packets; mixed into `StorageContract`."""

    def test_provides_the_interface(self) -> None:
        """Every verb is there, with the right arguments."""
        verifyObject(IStorage, self.make(network()))

    def test_storages_do_not_share(self) -> None:
        """Invariant 7: two servers live in one process, with a storage each."""
        net = network()
        one: Any = self.make(net)
        two: Any = self.make(net)
        for who in self._clients(4):
            self._bind(one, net, who, 100.0)
        for who in self._clients(4, row=2):
            self._bind(two, net, who, 101.0)

    # --- one address, one client --------------------------------------------------

    def test_an_address_has_one_client(self) -> None:
        """Invariant 2: never one address for two clients; a full pool is silence."""
        net = network()
        storage: Any = self.make(net)
        leases = [self._bind(storage, net, who, 100.0) for who in self._clients(4)]
        self.must(
            len({lease.address for lease in leases}) == 4,
            "invariant 2: one address was given to two clients",
        )
        fifth = self._offer(storage, net, FakeClient(), 101.0)
        self.must_not_be_given(fifth, "invariant 2: a full pool has nothing to offer")

    def test_anothers_address_is_refused(self) -> None:
        """A client whose notion of its address is wrong is told so."""
        net = network()
        storage: Any = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        for state in (SELECTING, *CONFIRMING):
            found = self._commit(storage, net, other, lease.address, 101.0, state)
            self.must(
                isinstance(found, Refused),
                f"RFC 2131 section 4.3.2: a client in {state.name} that asks for an"
                " address which another has is refused (NAK)",
            )

    def test_unknown_clients_are_confirmed_nothing(self) -> None:
        """INIT-REBOOT, RENEWING and REBINDING confirm a binding; they make none."""
        net = network()
        storage: Any = self.make(net)
        for state in CONFIRMING:
            wish = ip("192.0.2.11")
            found = self._commit(storage, net, FakeClient(), wish, 100.0, state)
            self.must(
                found is None or isinstance(found, Refused),
                f"RFC 2131 section 4.3.2: {state.name} confirms a lease that exists;"
                " there is none, so the answer is None (or a refusal)",
            )

    def test_odd_questions(self) -> None:
        """Invariant 6: what makes no sense is answered with no, not with an error."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        for address in (0, ip("9.9.9.9"), ip("192.0.2.200"), 0xFFFFFFFF):
            for state in CONFIRMING:
                found = self._commit(storage, net, who, address, 100.0, state)
                self.must_not_be_given(found, "invariant 6: nobody has that address")
            for leave in (self._release, self._decline):
                self.must(
                    not leave(storage, net, who, address, 101.0),
                    "sections 4.3.3 and 4.3.4: it is not this client's to leave",
                )
        nameless = FakeClient("20/00", identifier=b"\xff\x01\x02", hlen=0)
        self._bind(storage, net, nameless, 102.0)  # RFC 4390: known by option 61 only

    # --- retransmissions ----------------------------------------------------------

    def test_retransmissions_change_nothing(self) -> None:
        """The same question has the same answer."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        first = self._offer(storage, net, who, 100.0)
        rule = (
            "RFC 2131 section 4.1: clients repeat; the same question, the same answer"
        )
        self.must(self._offer(storage, net, who, 101.0).address == first.address, rule)
        when = 102.0
        for state in (SELECTING, *CONFIRMING):
            for _ in range(3):
                found = self._commit(storage, net, who, first.address, when, state)
                self.must(
                    isinstance(found, Lease) and found.address == first.address, rule
                )
                when += 1.0
        told = [
            self.answered(storage, net, "configure", who, when + n) for n in range(3)
        ]
        self.must(told[0] == told[1] == told[2], rule)

    def test_repeated_before_it_is_answered(self) -> None:
        """A client that repeats has no second lease for it."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        asked = [
            self.asks(storage, net, "offer", who, 100.0, state=ClientState.INIT)
            for _ in range(3)
        ]
        offers = [self.wait(each) for each in asked]
        rule = "a packet that was doubled on the way has the same answer twice"
        self.must(len({offer.address for offer in offers}) == 1, rule)
        address = offers[0].address
        asked = [
            self.asks(storage, net, "commit", who, 101.0, address, SELECTING)
            for _ in range(3)
        ]
        found = [self.wait(each) for each in asked]
        self.must(all(isinstance(each, Lease) for each in found), rule)
        others = self._given(storage, net, self._clients(4), 102.0)
        self.must(len(others) == 3, "a client that repeats takes one address, not more")

    def test_a_release_that_is_repeated(self) -> None:
        """RELEASE has no answer, so it may come twice; a new holder is not harmed."""
        net = network()
        storage: Any = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        self.must(
            self._release(storage, net, who, lease.address, 101.0),
            "section 4.3.4: it was the client's to release, so the answer is True",
        )
        self._release(storage, net, who, lease.address, 101.5)
        taken = self._commit(storage, net, other, lease.address, 102.0)
        self.must_be_given(taken, "section 4.3.4: what was released is free")
        self._release(storage, net, who, lease.address, 103.0)
        kept = self._commit(storage, net, other, lease.address, 104.0, RENEWING)
        self.must_be_given(
            kept, "section 4.3.4: a late RELEASE ends no lease of somebody else"
        )

    def test_a_decline_that_is_repeated(self) -> None:
        """DECLINE has no answer either; it does not make the rest longer."""
        net = network(subnet(pool="192.0.2.10", decline_hold=1000))
        storage: Any = self.make(net)
        who = FakeClient()
        lease = self._bind(storage, net, who, 100.0)
        self._decline(storage, net, who, lease.address, 101.0)
        for when in (102.0, 500.0, 1000.0):
            self._decline(storage, net, who, lease.address, when)
        self.must_be_given(
            self._offer(storage, net, who, 1105.0),
            "section 4.3.3: a DECLINE of what rests already prolongs nothing",
        )

    # --- leaving ------------------------------------------------------------------

    def test_only_the_holder_releases(self) -> None:
        """A RELEASE of another's address changes nothing."""
        net = network()
        storage: Any = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        self.must(
            not self._release(storage, net, thief, lease.address, 101.0),
            "section 4.3.4: only its holder can release an address",
        )
        kept = self._commit(storage, net, who, lease.address, 102.0, RENEWING)
        self.must_be_given(
            kept, "section 4.3.4: somebody else's RELEASE changes nothing"
        )

    def test_a_declined_address_rests(self) -> None:
        """RFC 2131 section 4.3.3; from its client only, or anybody drains the pool."""
        net = network(subnet(decline_hold=1000))
        storage: Any = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        self.must(
            not self._decline(storage, net, thief, lease.address, 101.0),
            "section 4.3.3: only its holder can decline an address",
        )
        self.must(
            self._decline(storage, net, who, lease.address, 102.0),
            "section 4.3.3: it was the client's to decline, so the answer is True",
        )
        rule = "section 4.3.3: a declined address is given to nobody while it rests"
        again = self._bind(storage, net, who, 103.0)
        self.must(again.address != lease.address, rule)
        row = self._clients(4, row=2)
        self.must(lease.address not in self._given(storage, net, row, 104.0), rule)
        for state in (SELECTING, *CONFIRMING):
            asked = self._commit(storage, net, thief, lease.address, 105.0, state)
            self.must_not_be_given(asked, rule)
        self.pass_time(storage, 1110.0)
        self.must(
            lease.address in self._given(storage, net, row, 1110.0),
            "section 4.3.3: after its decline-hold (1000 s here) an address is free"
            " again, or DECLINEs drain the pool",
        )

    # --- answers ------------------------------------------------------------------

    def test_a_renewal_makes_no_lease_shorter(self) -> None:
        """RFC 2131 section 4.3.2: a client is told no end that is before the last."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        lease = self._bind(storage, net, who, 100.0)
        ends = 100.0 + lease.duration
        for n, state in enumerate((RENEWING, REBINDING, REBOOT, SELECTING), 1):
            when = 100.0 + n * 300.0
            found = self._commit(storage, net, who, lease.address, when, state)
            self.must(
                isinstance(found, Lease) and when + found.duration >= ends - 1,
                f"section 4.3.2: {state.name} extends a lease, and never shortens it",
            )
            ends = max(ends, when + found.duration)
        late = self._offer(storage, net, FakeClient("02:00:00:00:00:09"), ends - 10)
        self.must(
            late.address != lease.address,
            "invariant 2: a lease that was renewed lasts as long as the client was told",
        )

    def test_settings_for_those_who_have_an_address(self) -> None:
        """INFORM is answered without looking for a lease."""
        net = network()
        storage: Any = self.make(net)
        found = self.answered(storage, net, "configure", FakeClient(), 100.0)
        self.must(
            isinstance(found, Settings),
            "section 4.3.5: INFORM is answered with settings, whoever has a lease",
        )
