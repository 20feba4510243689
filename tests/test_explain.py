"""Explanations: what a pool says it would answer is what it then answers, and why."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import IPv4Address
from math import inf

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from pictures import picture
from twisted.internet.defer import succeed
from zope.interface import implementer

from dhcptwist.client import Client, ClientState
from dhcptwist.interfaces import IProber, WrongAnswer
from dhcptwist.lease import (
    AddressInUse,
    Lease,
    OnConflict,
    Refused,
    Reservation,
    ReservationConflict,
    Silence,
)
from dhcptwist.network import Network
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, answer, ip, subnet
from dhcptwist.wire import MessageType


FIRST = ip("192.0.2.10")
#: Those of the pools, one beside them, and one of the server itself.
PLACES = [*range(FIRST, FIRST + 5), ip("198.51.100.10"), ip("198.51.100.11")]
WHO = st.integers(0, 6)
ADDRESS = st.sampled_from([0, *PLACES])
STATES = [
    ClientState.SELECTING,
    ClientState.RENEWING,
    ClientState.REBINDING,
    ClientState.INIT_REBOOT,
]
#: Every rule that there is for an address, or against one.
RULES = {
    *("reserved", "current", "previous", "offered", "requested", "free"),
    *("longest-unused", "yields", "released", "declined"),
    *("exhausted", "refused", "unknown", "ignored"),
}


@implementer(IProber)
class Occupied:
    """Finds somebody at every address, at once."""

    def probe(self, address, subnet):
        """Somebody answers."""
        return succeed(True)


def told(result):
    """What of an answer its client gets to know."""
    if isinstance(result, Lease):
        return "lease", result.address, result.duration, result.settings
    return result


class Foretold(MemoryStorage):
    """Explains each question before it is answered, and compares."""

    def _foretold(self, verb, client, address, when):
        copy = Client(
            client.message, client.subnets, client.via, client.state, client.requested
        )
        before = picture(self)
        explanation = answer(self.explain(copy, address, when))
        assert picture(self) == before, "to explain has changed something"
        real = answer(verb())
        assert told(explanation.result) == told(real), (explanation, real)
        assert explanation.reason, "no reason"
        self.rules.add(explanation.rule)
        return real

    def offer(self, client, when):
        """As it was explained."""
        verb = super().offer
        return self._foretold(lambda: verb(client, when), client, 0, when)

    def commit(self, client, address, when):
        """As it was explained."""
        verb = super().commit
        return self._foretold(
            lambda: verb(client, address, when), client, address, when
        )

    def release(self, client, address, when):
        """As it was explained."""
        verb = super().release
        return self._foretold(
            lambda: verb(client, address, when), client, address, when
        )

    def decline(self, client, address, when):
        """As it was explained."""
        verb = super().decline
        return self._foretold(
            lambda: verb(client, address, when), client, address, when
        )


def test_an_answer_of_ones_own_is_no_explanation():
    """Who overrides the pool's verbs is told that they may answer otherwise."""

    class Moody(MemoryStorage):
        def offer(self, client, when):
            """Nothing, today."""

    def notes(kind):
        net = Network([subnet()], {"eth0": [ip("192.0.2.1")]})
        asks = FakeClient().client(net)
        return answer(kind(net).explain(asks, 0, 1.7e9)).notes

    assert notes(MemoryStorage) == ()
    [note] = notes(Moody)
    assert "Moody.offer is not the pool's" in note


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Refused("you are banned"), "you are banned"),
        (Silence.NOT_ALLOWED, "not-allowed"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_who_knows_the_clients_may_exclude_them(found, words, later):
    """At once or later; a banned client has its word as the reason."""

    class Club(MemoryStorage):
        def reservation_for(self, client):
            """Nobody gets in."""
            return self.later() if later else found

        async def later(self):
            """It took a while."""
            return await succeed(found)

    net = Network([subnet()], {"eth0": [ip("192.0.2.1")]})
    told = answer(Club(net).explain(FakeClient().client(net), 0, 1.7e9))
    assert (told.result, told.rule) == (found, "excluded")
    assert told.reason == f"who knows the clients says: {words}"


def test_what_is_reserved_elsewhere():
    """Is noted, as long as it is, and if nothing nearer is in force."""
    far = subnet("198.51.100.0/24", "", name="far")
    net = Network([subnet(), far], {"eth0": [ip("192.0.2.1")]})
    who = FakeClient(identifier=b"me!")
    names = {"hardware": who.hardware}, {"client_id": b"me!"}
    near, there = ip("192.0.2.11"), ip("198.51.100.9")

    def notes(*reservations):
        storage = MemoryStorage(net, reservations)
        return answer(storage.explain(who.client(net), 0, 1.7e9)).notes

    for each in names:
        [note] = notes(Reservation(there, **each))
        assert note.startswith("198.51.100.9, which is reserved for ")
        assert note.endswith(", is not on its link")
        assert notes(Reservation(there, **each, expires=1.6e9)) == ()
        assert notes(Reservation(hostname="pc", **each)) == ()
    assert notes(Reservation(near, **names[1]), Reservation(there, **names[0])) == ()
    assert (
        notes(
            Reservation(hostname="pc", client_id=b"me!"),
            Reservation(near, **names[0]),
        )
        == ()
    )


@pytest.mark.parametrize("found", ["laptop", Reservation("192.0.2.10", hardware=b"x")])
def test_wrong_answers_are_not_explained(found):
    """What a packet would fail by is no explanation either."""

    class Odd(MemoryStorage):
        def reservation_for(self, client):
            """Something that it may not be."""
            return found

    net = Network([subnet()], {"eth0": [ip("192.0.2.1")]})
    with pytest.raises(WrongAnswer, match="reservation_for"):
        answer(Odd(net).explain(FakeClient().client(net), 0, 1.7e9))


class Foretelling(RuleBasedStateMachine):
    """A pool of two subnets on a wire, seven clients, and whatever may happen."""

    def __init__(self, prober=None):
        super().__init__()
        self.network = Network(
            [
                subnet(decline_hold=500, shared_network="wire", lease_time=600),
                subnet(
                    "198.51.100.0/24",
                    "198.51.100.10-198.51.100.11",
                    name="hall",
                    shared_network="wire",
                ),
            ],
            {"eth0": [ip("192.0.2.1")]},
        )
        self.storage = Foretold(self.network, prober=prober)
        self.storage.rules = set()
        self.when = 1.7e9
        self.clients = [FakeClient(f"02:00:00:00:07:0{n}") for n in range(7)]
        for n, each in enumerate(self.clients):
            if n == 3:
                each.identifier = b"\xff" + each.hardware
            if n > 4:
                each.options = {82: b"\1\2p5"}
        self.offers = {}

    def asks(self, n, state, address=0, **fields):
        """A client's question; a renewal by unicast does not pass the relay."""
        who = self.clients[n]
        if state is ClientState.RENEWING:
            who = FakeClient(f"02:00:00:00:07:0{n}", who.identifier)
        text = str(IPv4Address(address)) if address else ""
        return who.client(self.network, state, text, **fields)

    @rule(n=WHO, wish=ADDRESS, relay=st.sampled_from([0, 0, 0, *PLACES]))
    def discovers(self, n, wish, relay):
        """DISCOVER, with or without a wish, maybe by somebody who says it is a relay."""
        asks = self.asks(n, ClientState.INIT, wish, giaddr=relay)
        found = self.storage.offer(asks, self.when)
        if isinstance(found, Lease):
            self.offers[n] = found.address

    @rule(n=WHO, state=st.sampled_from(STATES), address=ADDRESS)
    def requests(self, n, state, address):
        """REQUEST for anything."""
        if address:
            asks = self.asks(n, state, address)
            self.storage.commit(asks, address, self.when)

    @rule(n=WHO)
    def comes(self, n):
        """DISCOVER, and REQUEST for the offer."""
        self.discovers(n, 0, 0)
        self.takes(n)

    @rule(n=WHO)
    def takes(self, n):
        """REQUEST for an offer, soon or late."""
        if n in self.offers:
            self.requests(n, ClientState.SELECTING, self.offers[n])

    def mine(self, n):
        """The address that a client has, had, or was offered; or 0."""
        key = self.clients[n].identifier or self.clients[n].hardware
        link = self.network.link_of_interface("eth0")
        lease = self.storage.index.of_client(key, link)
        return self.offers.get(n, 0) if lease is None else lease.address

    @rule(n=WHO, state=st.sampled_from(STATES))
    def goes_on(self, n, state):
        """REQUEST for what it has, or had."""
        self.requests(n, state, self.mine(n))

    @rule(n=WHO, conflict=st.sampled_from(list(OnConflict)), holder=WHO)
    def takes_from(self, n, conflict, holder):
        """Somebody reserves what another has."""
        self.reserves(n, self.mine(holder), conflict, inf, named=False)

    @rule(n=WHO, address=ADDRESS, declines=st.booleans())
    def parts(self, n, address, declines):
        """RELEASE or DECLINE, of its own or of another's."""
        address = address or self.mine(n)
        kind = MessageType.DECLINE if declines else MessageType.RELEASE
        message = self.clients[n].message(kind)
        via = self.asks(n, ClientState.BOUND).via
        link = self.network.link_of_interface("eth0")
        asks = Client(message, link, via, ClientState.BOUND)
        verb = self.storage.decline if declines else self.storage.release
        verb(asks, address, self.when)

    @rule(seconds=st.sampled_from([0.5, 1.0, 20.0, 40.0, 300.0, 700.0, 90000.0]))
    def time_passes(self, seconds):
        """Nobody looks at the clock."""
        self.when += seconds

    @rule()
    def clock_ticks(self):
        """Somebody does."""
        self.storage.clock_ticked(self.when)

    @rule(
        n=WHO,
        address=ADDRESS,
        conflict=st.sampled_from(list(OnConflict)),
        lifetime=st.sampled_from([inf, 30.0, 500.0]),
        named=st.booleans(),
    )
    def reserves(self, n, address, conflict, lifetime, named):
        """Somebody pushes a reservation."""
        who = {"circuit_id": b"p5"} if n > 4 else {"hardware": self.clients[n].hardware}
        wanted = Reservation(
            address or None,
            **who,
            hostname="named" if named or not address else "",
            source="test",
            on_conflict=conflict,
            expires=self.when + lifetime,
        )
        with suppress(AddressInUse, ReservationConflict):
            answer(self.storage.reserve(wanted, self.when))

    @rule(address=st.sampled_from(PLACES), cancel=st.booleans())
    def takes_away(self, address, cancel):
        """A lease is revoked, or a reservation taken out."""
        if not cancel:
            answer(self.storage.revoke(address, self.when))
        for each in self.storage.reservation_of(address, None) if cancel else ():
            answer(self.storage.cancel(each, self.when))


@pytest.mark.parametrize("prober", [None, Occupied()], ids=["unprobed", "occupied"])
def test_what_is_explained_is_what_is_answered(prober):
    """In random histories; and to explain it changes nothing at all."""
    rules = set()

    class Machine(Foretelling):
        def __init__(self):
            super().__init__(prober)
            self.storage.rules = rules

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=int(os.environ.get("DHCPTWIST_HISTORIES", "200")),
            derandomize="DHCPTWIST_HISTORIES" not in os.environ,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        ),
    )
    assert rules >= RULES, f"never seen: {RULES - rules}"
