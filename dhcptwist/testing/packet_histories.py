"""Random histories of packets and of time, against the plain model."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ..client import ClientState
from ..interfaces import IClockListener
from ..lease import Lease, Refused, Settings
from .model import SLACK, Model
from .parts import FakeClient, begun, network, subnet


WHO = st.integers(0, 6)
ADDRESS = st.integers(0, 4)  # the last one is outside of the pool
CONFIRMS = st.sampled_from(
    [ClientState.RENEWING, ClientState.REBINDING, ClientState.INIT_REBOOT]
)
#: Clients from here on have an identifier; the last ones are behind a relay's port.
NAMED, BEHIND_A_PORT = 3, 5


class PacketHistories(RuleBasedStateMachine):
    """One storage, seven clients, four addresses, and whatever may happen."""

    def __init__(self, contract: Any) -> None:
        super().__init__()
        self.contract = contract
        self.network = network(subnet(decline_hold=500))
        self.subnet = self.network.subnets[0]
        self.first = self.subnet.ranges[0][0]
        self.storage = contract.make(self.network)
        self.model = Model(self.subnet)
        self.when = 1.7e9
        self.clients = [FakeClient(f"02:00:00:00:07:0{n}") for n in range(7)]
        for n, each in enumerate(self.clients):
            if NAMED <= n < BEHIND_A_PORT:
                each.identifier = b"\xff" + each.hardware
            if n >= BEHIND_A_PORT:
                each.options = {82: b"\1\2p%d" % n}
        self.offers: dict[int, int] = {}

    # --- helpers ------------------------------------------------------------------

    def device(self, n: int) -> bytes:
        """Which one a client is, whatever it calls itself."""
        return self.clients[n].hardware

    def key(self, n: int) -> bytes:
        """How the storage knows a client."""
        return self.clients[n].identifier or self.clients[n].hardware

    def asks(self, n: int, state: ClientState, address: int = 0) -> Any:
        """A client's question; a renewal by unicast does not pass the relay."""
        text = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        who = self.clients[n]
        if state == ClientState.RENEWING:
            who = FakeClient("02:00:00:00:07:0%d" % n, who.identifier)  # noqa: UP031
        return who.client(self.network, state, text if address else "")

    def wait(self, result: Any) -> Any:
        """The answer."""
        return self.contract.wait(begun(result))

    def mine(self, n: int) -> int:
        """The address that a client believes to have, or 0."""
        for address in self.model.granted:
            if self.model.holder(address, self.when) == self.device(n):
                return address
        return 0

    def commit(self, n: int, address: int, state: ClientState) -> None:
        """Ask for an address, and see that the answer may be."""
        who, key = self.device(n), self.key(n)
        before = self.model.granted.get(address)
        believed = self.model.holder(address, self.when) == who
        idle = self.model.is_idle(who, self.when)
        free = self.model.is_free(address, self.when)
        asks = self.asks(n, state, address)
        found = self.wait(self.storage.commit(asks, address, self.when))
        if state == ClientState.SELECTING and idle and free:
            assert isinstance(found, Lease), f"{address:#x} is free, and was not given"
        if isinstance(found, Lease):
            assert found.address == address, "an ACK for another address than asked for"
            why = self.model.may_not_have(who, address, self.when)
            assert not why, f"client {n} was given {address:#x}, though {why}"
            assert state == ClientState.SELECTING or self.model.knows(who, address), (
                f"{state.name} confirmed a lease that client {n} never had"
            )
            until = inf if found.duration == 0xFFFFFFFF else self.when + found.duration
            assert found.duration > 0, "a lease of no time"
            waits = self.model.reserved_for(who) - {address}
            same = believed and before is not None and before.key == key
            if before is not None and same and not waits:
                # One that was taken over may be longer than any that is given here.
                least = min(before.until, self.when + self.subnet.max_lease_time)
                assert until >= least - SLACK, "a renewal made a lease shorter"
            if before is not None:
                self.model.lapses(address, before.until)
            self.model.has_granted(who, address, until, key)
        elif isinstance(found, Refused) and believed:
            self.model.was_refused(address)

    # --- packets ------------------------------------------------------------------

    @rule(n=WHO, wish=ADDRESS)
    def discovers(self, n: int, wish: int) -> None:
        """DISCOVER, with or without a wish."""
        who = self.device(n)
        asks = self.asks(n, ClientState.INIT, self.first + wish if wish else 0)
        must = self.model.must_come_back_to(who, self.key(n), self.when)
        free = self.model.has_free(self.when)
        found = self.wait(self.storage.offer(asks, self.when))
        if not isinstance(found, Lease):
            assert must is None, f"client {n} was not offered its own address"
            assert not free, f"client {n} was offered nothing, and there is something"
            return
        why = self.model.may_not_have(who, found.address, self.when)
        assert not why, f"client {n} was offered {found.address:#x}, though {why}"
        assert must in {None, found.address}, (
            f"client {n} was offered another address than the one it had (invariant 4)"
        )
        again = self.wait(self.storage.offer(asks, self.when))
        assert isinstance(again, Lease), "the same DISCOVER again was not answered"
        assert again.address == found.address, "the same DISCOVER, another address"
        self.model.has_offered(who, found.address, self.when)
        self.offers[n] = found.address

    @rule(n=WHO)
    def takes_its_offer(self, n: int) -> None:
        """REQUEST for what it was offered, soon or late."""
        if n in self.offers:
            self.commit(n, self.offers[n], ClientState.SELECTING)

    @rule(n=WHO)
    def comes(self, n: int) -> None:
        """DISCOVER and REQUEST."""
        self.discovers(n, 0)
        self.takes_its_offer(n)

    @rule(n=WHO, address=ADDRESS)
    def takes_anything(self, n: int, address: int) -> None:
        """REQUEST for what it never was offered."""
        self.commit(n, self.first + address, ClientState.SELECTING)

    @rule(n=WHO, state=CONFIRMS)
    def goes_on(self, n: int, state: ClientState) -> None:
        """A renewal, or a reboot."""
        if address := self.mine(n):
            self.commit(n, address, state)

    @rule(n=WHO, address=ADDRESS, state=CONFIRMS)
    def claims(self, n: int, address: int, state: ClientState) -> None:
        """A client that is wrong about its address."""
        self.commit(n, self.first + address, state)

    @rule(n=WHO)
    def leaves(self, n: int) -> None:
        """RELEASE of what it has."""
        if address := self.mine(n):
            self.releases(n, address - self.first)

    @rule(n=WHO, address=ADDRESS)
    def releases(self, n: int, address: int) -> None:
        """RELEASE, of its own or of another's."""
        number = self.first + address
        asks = self.asks(n, ClientState.BOUND)
        mine = self.mine(n) == number
        same = mine and self.model.granted[number].key == self.key(n)
        done = self.wait(self.storage.release(asks, number, self.when))
        assert done or not same, f"client {n} could not release what it has"
        if mine and done:
            self.model.lost(number)
        elif mine:  # it called itself something else then
            self.model.was_refused(number)

    @rule(n=WHO)
    def chose_another_server(self, n: int) -> None:
        """A REQUEST for another server's offer."""
        asks = self.asks(n, ClientState.SELECTING)
        self.wait(self.storage.release(asks, 0, self.when))
        self.model.drop_offer(self.device(n))
        self.offers.pop(n, None)

    @rule(n=WHO)
    def declines(self, n: int) -> None:
        """DECLINE of what it has."""
        if not (address := self.mine(n)):
            return
        asks = self.asks(n, ClientState.BOUND)
        if self.wait(self.storage.decline(asks, address, self.when)):
            self.model.lost(address)
            self.model.forget_last(address)
            if address not in self.model.reserved:
                self.model.rests(address, self.when + self.subnet.decline_hold)
            else:
                self.model.never_ends(address)

    @rule(n=WHO, address=ADDRESS)
    def declines_another_s(self, n: int, address: int) -> None:
        """DECLINE of what it has not: nothing may come of it."""
        number = self.first + address
        offer = self.model.offered.get(number)
        holder = self.model.holder(number, self.when)
        mine = holder in {None, self.device(n)}
        if mine or (offer and offer.who == self.device(n)):
            return
        asks = self.asks(n, ClientState.BOUND)
        done = self.wait(self.storage.decline(asks, number, self.when))
        assert not done, f"client {n} declined {number:#x}, which another has"

    @rule(n=WHO)
    def informs(self, n: int) -> None:
        """INFORM is answered, whoever asks."""
        asks = self.asks(n, ClientState.BOUND)
        assert isinstance(self.wait(self.storage.configure(asks, self.when)), Settings)

    @rule(n=st.integers(0, BEHIND_A_PORT - 1))
    def calls_itself_something_else(self, n: int) -> None:
        """A boot ROM hands over to a system, which has an identifier; or back."""
        who = self.clients[n]
        who.identifier = b"" if who.identifier else b"\xff" + who.hardware
        self.offers.pop(n, None)

    # --- time ---------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0, 600.0, 3700.0, 90000.0]))
    def time_passes(self, seconds: float) -> None:
        """Some time passes, and the storage may see it."""
        self.when += seconds
        if IClockListener.providedBy(self.storage):
            self.storage.clock_ticked(self.when)

    @rule(by=st.sampled_from([86400.0, -86400.0, 5e8]))
    def the_clock_is_set(self, by: float) -> None:
        """By a day, or by years."""
        if IClockListener.providedBy(self.storage):
            self.when += by
            self.model.step(by)
            self.wait(self.storage.clock_stepped(by))

    @rule()
    def restarts(self) -> None:
        """It is closed and opened again, if it keeps anything."""
        again = self.contract.restart(self.storage, self.network, ())
        if again is not None:
            self.storage = again
            self.model.forget_offers()
