"""Random histories of a storage, with hypothesis, against the plain model."""

from __future__ import annotations

import os
from functools import partial
from math import inf
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ..client import ClientState
from ..interfaces import IClockListener, ILeases, IReservations
from ..lease import (
    AddressInUse,
    Lease,
    OnConflict,
    Refused,
    Reservation,
    ReservationConflict,
    Settings,
)
from .model import SLACK, Model
from .parts import FakeClient, network, subnet


WHO = st.integers(0, 5)
ADDRESS = st.integers(0, 4)  # the last one is outside of the pool
CONFIRMS = st.sampled_from(
    [ClientState.RENEWING, ClientState.REBINDING, ClientState.INIT_REBOOT]
)
CONFLICT = st.sampled_from(list(OnConflict))


def try_histories(contract: Any) -> None:
    """Try as many as ``DHCPTWIST_HISTORIES`` says.

    Raises:
        AssertionError: One of them breaks a rule; the shortest that does is shown.
    """
    wanted = os.environ.get("DHCPTWIST_HISTORIES")
    run_state_machine_as_test(
        partial(Histories, contract),  # type: ignore[arg-type]
        settings=settings(
            max_examples=int(wanted or "100"),
            derandomize=not wanted,  # the same ones each time, unless asked for more
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


class Histories(RuleBasedStateMachine):
    """One storage, six clients, four addresses, and whatever may happen."""

    def __init__(self, contract: Any) -> None:
        super().__init__()
        self.contract = contract
        self.network = network(subnet(decline_hold=500))
        self.subnet = self.network.subnets[0]
        self.first = self.subnet.ranges[0][0]
        self.storage = contract.make(self.network)
        self.model = Model(self.subnet)
        self.when = 1.7e9
        self.clients = [FakeClient(f"02:00:00:00:07:0{n}") for n in range(6)]
        for each in self.clients[4:]:
            each.identifier = b"\xff" + each.hardware
        self.offers: dict[int, int] = {}
        self.pushed: dict[int, Reservation] = {}

    # --- helpers ------------------------------------------------------------------

    def key(self, n: int) -> bytes:
        """How the storage knows a client."""
        return self.clients[n].identifier or self.clients[n].hardware

    def asks(self, n: int, state: ClientState, address: int = 0) -> Any:
        """A client's question."""
        text = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        return self.clients[n].client(self.network, state, text if address else "")

    def wait(self, result: Any) -> Any:
        """The answer."""
        return self.contract.wait(result)

    def mine(self, n: int) -> int:
        """The address that a client believes to have, or 0."""
        for address in self.model.granted:
            if self.model.holder(address, self.when) == self.key(n):
                return address
        return 0

    def commit(self, n: int, address: int, state: ClientState) -> None:
        """Ask for an address, and see that the answer may be."""
        who = self.key(n)
        believed = self.model.holder(address, self.when) == who
        before = self.model.granted.get(address)
        asks = self.asks(n, state, address)
        found = self.wait(self.storage.commit(asks, address, self.when))
        if isinstance(found, Lease):
            assert found.address == address, "an ACK for another address than asked for"
            why = self.model.may_not_have(who, address, self.when)
            assert not why, f"client {n} was given {address:#x}, though {why}"
            assert state == ClientState.SELECTING or self.model.knows(who, address), (
                f"{state.name} confirmed a lease that client {n} never had"
            )
            until = inf if found.duration == 0xFFFFFFFF else self.when + found.duration
            assert found.duration > 0, "a lease of no time"
            waits = self.model.reserved_for(who) not in {None, address}
            if believed and before is not None and not waits:
                assert until >= before.until - SLACK, "a renewal made a lease shorter"
            self.model.has_granted(who, address, until)
        elif isinstance(found, Refused) and believed:
            self.model.was_refused(address)

    # --- packets ------------------------------------------------------------------

    @rule(n=WHO, wish=ADDRESS)
    def discovers(self, n: int, wish: int) -> None:
        """DISCOVER, with or without a wish."""
        who = self.key(n)
        asks = self.asks(n, ClientState.INIT, self.first + wish if wish else 0)
        must = self.model.must_come_back_to(who, self.when)
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

    @rule(n=WHO, address=ADDRESS)
    def releases(self, n: int, address: int) -> None:
        """RELEASE, of its own or of another's."""
        asks = self.asks(n, ClientState.BOUND)
        mine = self.mine(n) == self.first + address
        done = self.wait(self.storage.release(asks, self.first + address, self.when))
        assert done or not mine, f"client {n} could not release what it has"
        if mine:
            self.model.lost(self.first + address)

    @rule(n=WHO)
    def chose_another_server(self, n: int) -> None:
        """A REQUEST for another server's offer."""
        asks = self.asks(n, ClientState.SELECTING)
        self.wait(self.storage.release(asks, 0, self.when))
        self.model.drop_offer(self.key(n))
        self.offers.pop(n, None)

    @rule(n=WHO)
    def declines(self, n: int) -> None:
        """DECLINE of what it has."""
        if not (address := self.mine(n)):
            return
        asks = self.asks(n, ClientState.BOUND)
        if self.wait(self.storage.decline(asks, address, self.when)):
            self.model.lost(address)
            self.model.last.pop(self.key(n), None)
            if address not in self.model.reserved:
                self.model.rests(address, self.when + self.subnet.decline_hold)
            else:
                self.model.lapsing[address] = inf  # how long is the storage's affair

    @rule(n=WHO, address=ADDRESS)
    def declines_another_s(self, n: int, address: int) -> None:
        """DECLINE of what it has not: nothing may come of it."""
        number = self.first + address
        offer = self.model.offered.get(number)
        holder = self.model.holder(number, self.when)
        if holder in {None, self.key(n)} or (offer and offer.who == self.key(n)):
            return
        asks = self.asks(n, ClientState.BOUND)
        done = self.wait(self.storage.decline(asks, number, self.when))
        assert not done, f"client {n} declined {number:#x}, which another has"

    @rule(n=WHO)
    def informs(self, n: int) -> None:
        """INFORM is answered, whoever asks."""
        asks = self.asks(n, ClientState.BOUND)
        assert isinstance(self.wait(self.storage.configure(asks, self.when)), Settings)

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
            self.pushed = {
                n: each for n, each in self.pushed.items() if each.expires == inf
            }
            self.wait(self.storage.clock_stepped(by))

    @rule()
    def restarts(self) -> None:
        """It is closed and opened again, if it keeps anything."""
        again = self.contract.restart(self.storage, self.network, ())
        if again is not None:
            self.storage = again
            self.model.forget_offers()

    # --- control ------------------------------------------------------------------

    @rule(n=WHO, address=ADDRESS, conflict=CONFLICT)
    def reserves(self, n: int, address: int, conflict: OnConflict) -> None:
        """Somebody pushes a reservation."""
        if not IReservations.providedBy(self.storage):
            return
        number = self.first + address
        wanted = Reservation(
            number,
            hardware=self.clients[n].hardware,
            source="test",
            on_conflict=conflict,
        )
        try:
            verdict = self.wait(self.storage.reserve(wanted, self.when))
        except AddressInUse:
            assert conflict == OnConflict.REFUSE
            assert not self.model.is_free(number, self.when), (
                "a free address was called in use"
            )
            return
        except ReservationConflict:
            assert number in self.model.reserved, "a conflict with nobody's reservation"
            return
        holder = self.model.holder(number, self.when + SLACK)
        if verdict.outcome == "applied":
            assert holder in {None, self.key(n)}, (
                f"applied, but {holder!r} believes to have the address"
            )
        for other in [
            a for a, who in self.model.reserved.items() if who == self.key(n)
        ]:
            del self.model.reserved[other]
        self.model.reserved[number] = self.key(n)
        self.pushed[n] = wanted
        # An offer that is out for it may be taken back.
        if conflict == OnConflict.PREEMPT:
            self.model.offered.pop(number, None)
            self.model.has_been_revoked(number)

    @rule(n=WHO)
    def cancels(self, n: int) -> None:
        """And takes it back."""
        if n in self.pushed:
            wanted = self.pushed.pop(n)
            self.wait(self.storage.cancel(wanted, self.when))
            self.model.reserved.pop(wanted.address or 0, None)

    @rule(address=ADDRESS)
    def revokes(self, address: int) -> None:
        """An administrator ends a lease; its holder knows nothing of it."""
        if ILeases.providedBy(self.storage):
            self.wait(self.storage.revoke(self.first + address, self.when))
            self.model.has_been_revoked(self.first + address)
