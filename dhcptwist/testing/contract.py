"""The executable definition of `IStorage`: what every pool must do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest import SkipTest

from ..client import ClientState
from ..interfaces import IHistory, ILeases, IReservations
from ..lease import Lease, Refused, Reservation, Settings
from ..network import Network
from .addresses import AddressContract
from .batches import BatchContract
from .packets import PacketContract
from .parts import FakeClient, ip, network, subnet
from .reloading import ReloadingContract
from .reserving import ReservationContract
from .running import Listener, RunningContract


SELECTING, RENEWING = ClientState.SELECTING, ClientState.RENEWING
KEPT = "restart equals no restart (invariant 1): "


class StorageContract(
    AddressContract,
    PacketContract,
    ReservationContract,
    BatchContract,
    RunningContract,
    ReloadingContract,
):
    """What every storage must do; mix it into a test class and write `make`.

    Times are given, so nothing waits.  A storage that needs the reactor overrides
    `wait`.  What a storage does not claim to provide is passed over, with the reason.
    """

    def restart(
        self, storage: Any, network: Network, reservations: Iterable[Reservation]
    ) -> Any:
        """The storage, closed and opened again; None if it keeps nothing."""
        return None

    def test_any_history(self) -> None:
        """Random clients, times and control calls against what must hold.

        The same two hundred each time; ``DHCPTWIST_HISTORIES`` set to a number tries as many
        new ones.
        """
        try:
            from .histories import try_histories  # noqa: PLC0415 - it is optional
        except ImportError as error:
            raise AssertionError(
                f"random histories need hypothesis ({error}): pip install"
                " 'dhcptwist[contract]'"
            ) from None
        try_histories(self)


class DurableStorageContract(StorageContract):
    """The contract of a storage that keeps what it decides; write `restart`, too.

    With `crash`, too, it is proved that nothing is answered or told that a crash could
    take back.
    """

    def restart(
        self, storage: Any, network: Network, reservations: Iterable[Reservation]
    ) -> Any:
        """The storage, closed and opened again."""
        raise AssertionError(
            "a durable storage needs restart(self, storage, network, reservations)"
        )

    def crash(
        self, storage: Any, network: Network, reservations: Iterable[Reservation]
    ) -> Any:
        """The storage as it is opened after ``kill -9``: what is not kept yet is lost.

        What was asked and is not answered may stay so for ever.  None if a test
        cannot do that; the rules about crashes are passed over then.
        """
        return None

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
        self._release(storage, net, gone, left.address, 110.0)
        self._decline(storage, net, bad, declined.address, 110.0)
        storage = self.restart(storage, net, reserved)
        others = self._clients(6, row=2)
        stolen = self._commit(storage, net, others[0], kept.address, 120.0)
        self.must_not_be_given(stolen, KEPT + "a lease that was ACKed is its client's")
        renewed = self._commit(
            storage, net, holder, kept.address, 120.0, ClientState.INIT_REBOOT
        )
        self.must_be_given(renewed, KEPT + "a lease that was ACKed can be renewed")
        back = self._offer(storage, net, gone, 120.0)
        self.must(
            back.address == left.address, KEPT + "a client's previous address is known"
        )
        given = self._given(storage, net, others, 121.0)
        self.must(not given, KEPT + "leased, offered, resting, reserved: all are taken")
        mine = self._bind(storage, net, owner, 122.0)
        self.must(mine.address == reserved[0].address, KEPT + "reserved is reserved")

    def test_a_restart_keeps_the_time_that_is_left(self) -> None:
        """Neither shorter nor longer, for leases and for what rests."""
        net = network(subnet(decline_hold=1000))
        storage: Any = self.make(net)
        clients = self._clients(4)
        leases = [self._bind(storage, net, who, 100.0) for who in clients]
        self._decline(storage, net, clients[3], leases[3].address, 110.0)
        end = 100.0 + leases[0].duration
        storage = self.restart(storage, net, ())
        other = FakeClient("02:00:00:00:02:00")
        rests = self._offer(storage, net, other, 1090.0)
        self.must_not_be_given(rests, KEPT + "what was declined rests as long as ever")
        storage = self.restart(storage, net, ())
        rested = self._offer(storage, net, other, 1115.0)
        self.must_be_given(rested, KEPT + "what was declined rests no longer than ever")
        third = FakeClient("02:00:00:00:02:01")
        early = self._offer(storage, net, third, end - 5)
        self.must(
            not isinstance(early, Lease) or early.address == rested.address,
            KEPT + "a lease lasts as long as its client was told",
        )
        late = self._given(storage, net, self._clients(4, row=3), end + 50)
        self.must(
            len(late) == 4, KEPT + "a lease lasts no longer than its client was told"
        )

    def test_a_restart_keeps_the_order(self) -> None:
        """RFC 2131 section 4.3.1: unused longest is unused longest."""
        net = network()
        storage: Any = self.make(net)
        clients = self._clients(4)
        leases = [self._bind(storage, net, who, 100.0) for who in clients]
        order = [leases[n].address for n in (2, 0, 3, 1)]
        for when, n in enumerate((2, 0, 3, 1), 200):
            self._release(storage, net, clients[n], leases[n].address, when)
        storage = self.restart(storage, net, ())
        new = self._clients(4, row=2)
        given = [self._bind(storage, net, who, 300.0).address for who in new]
        self.must(given == order, KEPT + "the address unused longest is given first")

    def test_a_restart_between_offer_and_request(self) -> None:
        """The client takes the offer that it has: it is served, if the address is free."""
        net = network()
        storage: Any = self.make(net)
        who = FakeClient()
        offer = self._offer(storage, net, who, 100.0)
        storage = self.restart(storage, net, ())
        found = self._commit(storage, net, who, offer.address, 101.0)
        self.must_be_given(found, KEPT + "what was offered is served, if it is free")

    def test_a_restart_keeps_a_client_s_port(self) -> None:
        """A renewal by unicast has no option 82; the port is the one before."""
        net = network()
        reserved = [Reservation(ip("192.0.2.12"), circuit_id=b"port")]
        storage: Any = self.make(net, reserved)
        who = FakeClient(options={82: b"\1\4port"})
        lease = self._bind(storage, net, who, 100.0)
        storage = self.restart(storage, net, reserved)
        who.options = {}
        kept = self._commit(storage, net, who, lease.address, 1000.0, RENEWING)
        self.must(
            isinstance(kept, Lease) and kept.duration == lease.duration,
            KEPT + "the relay port of a client is known, and what is reserved for it",
        )

    def test_pushed_reservations_are_kept(self) -> None:
        """Their answer meant that they were on disk."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        pushed = Reservation(
            ip("192.0.2.12"),
            hardware=FakeClient().hardware,
            hostname="printer",
            settings=Settings({6: b"\1\2\3\4"}, boot_file="x"),
            source="test",
            expires=5000.0,
        )
        gone = Reservation(ip("192.0.2.13"), hardware=b"\1gone!!", source="test")
        for each in (pushed, gone):
            self.called("reserve", storage.reserve(each, 100.0), 100.0)
        self.called("cancel", storage.cancel(gone, 101.0), 101.0)
        storage = self.restart(storage, net, ())
        found = storage.reservations(None, 10, None)
        self.must(
            found == [pushed],
            f"{KEPT}pushed reservations, whole: {found} is not {pushed}",
        )

    def test_a_batch_is_kept(self) -> None:
        """Whole, and a source has the revision that it had."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        clients = self._clients(3)
        pushed = [
            Reservation(
                ip("192.0.2.10") + n,
                hardware=who.hardware,
                source="test",
                settings=Settings({6: b"\1\2\3\4", 3: b"\4\3\2\1"}, boot_file="x"),
            )
            for n, who in enumerate(clients)
        ]
        self.called("change", storage.change(pushed, [], 100.0), 100.0)
        swapped = [replace(pushed[2], address=pushed[0].address)]
        self.called("change", storage.change(swapped, pushed[::2], 101.0), 101.0)
        before = storage.revision("test")
        storage = self.restart(storage, net, ())
        found = storage.reservations(None, 10, None)
        self.must(
            found == [*swapped, pushed[1]],
            f"{KEPT}what was changed at once: {found}",
        )
        self.must(storage.revision("test") == before, KEPT + "a source's revision")

    def test_revoked_leases_stay_so(self) -> None:
        """A restart gives nobody back what was taken away."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, ILeases)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        self.called("revoke", storage.revoke(lease.address, 101.0), 101.0)
        storage = self.restart(storage, net, ())
        found = self._commit(storage, net, who, lease.address, 102.0, RENEWING)
        self.must(isinstance(found, Refused), KEPT + "a revoked lease is not renewed")
        found = self._commit(storage, net, other, lease.address, 103.0)
        self.must_not_be_given(found, KEPT + "a revoked address rests")

    def test_history_is_kept(self) -> None:
        """The same events with the same numbers, and later ones behind them."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IHistory)
        who = FakeClient()
        lease = self._bind(storage, net, who, 100.0)
        before = self.called("events", storage.events(0, 100), 101.0)
        storage = self.restart(storage, net, ())
        self._release(storage, net, who, lease.address, 102.0)
        after = self.called("events", storage.events(0, 100), 103.0)
        self.must(
            after[: len(before)] == before and len(after) == len(before) + 1,
            f"{KEPT}what happened has happened: {before}, then {after}",
        )
        self.must(
            after[-1].number > before[-1].number,
            KEPT + "numbers go on where they were",
        )

    # --- crashes ------------------------------------------------------------------

    def test_a_crash_takes_nothing_back(self) -> None:
        """Invariant 1: what was answered or told survives; nothing is half there."""
        net = network()
        storage: Any = self.make(net)
        ears = Listener()
        if ILeases.providedBy(storage):
            storage.add_listener(ears)
        clients = self._clients(4)
        answered = self._bind(storage, net, clients[0], 100.0)
        offers = [self._offer(storage, net, who, 101.0) for who in clients[1:]]
        asked = [
            self.asks(storage, net, "commit", who, 102.0, offer.address, SELECTING)
            for who, offer in zip(clients[1:], offers, strict=True)
        ]
        promised = {clients[0].hardware: answered.address}
        for who, result in zip(clients[1:], asked, strict=True):
            found = result if isinstance(result, Lease) else _result(result)
            if isinstance(found, Lease):
                promised[who.hardware] = found.address
        promised |= {each.key: each.address for each in ears.events}
        again = self.crash(storage, net, ())
        if again is None:
            raise SkipTest(
                f"{type(self).__name__} has no crash(self, storage, network, reservations)"
            )
        for who in clients:
            if who.hardware in promised:
                found = self._commit(
                    again,
                    net,
                    who,
                    promised[who.hardware],
                    110.0,
                    ClientState.INIT_REBOOT,
                )
                self.must_be_given(
                    found,
                    "invariant 1: no ACK, and no event, before its lease is on disk; a"
                    f" crash took back {len(promised)} or fewer that were",
                )


def _result(asked: Any) -> Any:
    """What a Deferred has come to already; None if to nothing yet."""
    return getattr(asked, "result", None)
