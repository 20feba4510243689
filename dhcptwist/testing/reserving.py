"""What reservations must come to, as tests of a storage: DESIGN's verdict table."""

from __future__ import annotations

from typing import Any

from ..client import ClientState
from ..interfaces import IClockListener, IReservations
from ..lease import (
    AddressInUse,
    Lease,
    OnConflict,
    Refused,
    Reservation,
    ReservationConflict,
    Settings,
    Verdict,
)
from .parts import FakeClient, ip, network, subnet
from .steps import Steps


RENEWING = ClientState.RENEWING
ALONE = "invariant 3: a reserved address is its client's alone"


class ReservationContract(Steps):
    """The rules for reservations; mixed into `StorageContract`."""

    def _push(self, storage: Any, wanted: Reservation, when: float) -> Any:
        """The verdict; an error that `IReservations.reserve` names is one, too."""
        words = f"reserve({wanted.address}, on_conflict={wanted.on_conflict.name})"
        try:
            return self.called(words, storage.reserve(wanted, when), when)
        except (AddressInUse, ReservationConflict, ValueError) as error:
            self.tell(words, when, error)
            return error

    # --- those of the configuration -----------------------------------------------

    def test_a_reserved_address_is_its_clients_alone(self) -> None:
        """Invariant 3: static and dynamic share the pool, and nobody else gets it."""
        net = network()
        owner = FakeClient("02:00:00:00:99:01")
        reserved = Reservation(ip("192.0.2.10"), hardware=owner.hardware)
        storage: Any = self.make(net, [reserved])
        others = self._clients(4)
        given = [self._bind(storage, net, who, 100.0).address for who in others[:3]]
        self.must(reserved.address not in given, ALONE)
        for wish in ("", "192.0.2.10"):
            found = self._offer(storage, net, others[3], 101.0, wish)
            self.must_not_be_given(found, ALONE)
        for state in (ClientState.SELECTING, ClientState.INIT_REBOOT):
            found = self._commit(
                storage, net, others[3], ip("192.0.2.10"), 101.0, state
            )
            self.must_not_be_given(found, ALONE)
        mine = self._bind(storage, net, owner, 102.0)
        self.must(mine.address == reserved.address, "invariant 3: its client gets it")

    def test_a_reserved_address_outside_the_pools(self) -> None:
        """What is reserved needs no pool; and nobody else can ask for it."""
        net = network()
        owner, other = self._clients(2)
        reserved = Reservation(ip("192.0.2.200"), hardware=owner.hardware)
        storage: Any = self.make(net, [reserved])
        stolen = self._commit(storage, net, other, ip("192.0.2.200"), 100.0)
        self.must_not_be_given(stolen, ALONE)
        mine = self._bind(storage, net, owner, 101.0)
        self.must(mine.address == reserved.address, "invariant 3: its client gets it")
        self._release(storage, net, owner, mine.address, 102.0)
        given = self._given(storage, net, self._clients(5, row=2), 103.0)
        self.must(reserved.address not in given, ALONE)
        self.must(len(given) == 4, "what is reserved elsewhere takes nothing of a pool")

    def test_a_reservation_holds_for_any_identifier(self) -> None:
        """Reserved by hardware address, a client keeps it when its option 61 changes."""
        net = network()
        reserved = Reservation(ip("192.0.2.12"), hardware=FakeClient().hardware)
        storage: Any = self.make(net, [reserved])
        rom = FakeClient()
        system = FakeClient(identifier=b"\xff\x00\x00\x00\x01\x00\x02duid")
        for when, who in ((100.0, rom), (101.0, system), (102.0, rom)):
            self.must(
                self._bind(storage, net, who, when).address == reserved.address,
                "reserved by hardware address: whatever identifier (option 61) it sends",
            )

    def test_reserved_by_client_identifier(self) -> None:
        """Whatever its hardware address."""
        net = network()
        identifier = b"\xff\x00\x00\x00\x01\x00\x02duid"
        reserved = Reservation(ip("192.0.2.12"), client_id=identifier)
        storage: Any = self.make(net, [reserved])
        plain = self._bind(storage, net, FakeClient(), 100.0)
        self.must(plain.address != reserved.address, ALONE)
        named = FakeClient("02:00:00:00:00:07", identifier=identifier)
        self.must(
            self._bind(storage, net, named, 101.0).address == reserved.address,
            "reserved by client identifier: who sends it (option 61) gets the address",
        )

    def test_reserved_for_a_relay_s_port(self) -> None:
        """By option 82; renewals go past the relay and have none (RFC 3046)."""
        net = network()
        port = {82: b"\1\4port\2\1r"}
        reserved = Reservation(ip("192.0.2.12"), circuit_id=b"port", remote_id=b"r")
        storage: Any = self.make(net, [reserved])
        there, elsewhere = self._clients(2)
        elsewhere.options = {82: b"\1\5port2\2\1r"}
        other = self._bind(storage, net, elsewhere, 100.0)
        self.must(other.address != reserved.address, ALONE)
        there.options = port
        mine = self._bind(storage, net, there, 100.0)
        self.must(
            mine.address == reserved.address,
            "reserved for a port: who is behind it (option 82) gets the address",
        )
        there.options = {}
        kept = self._commit(storage, net, there, mine.address, 1000.0, RENEWING)
        self.must(
            isinstance(kept, Lease) and kept.duration == mine.duration,
            "RFC 3046: a renewal by unicast has no option 82; the port is the one that"
            " the client was last seen on, and what is reserved for it is renewed",
        )

    def test_settings_without_an_address(self) -> None:
        """A reservation may be of options only: the address is a dynamic one."""
        net = network()
        owner = FakeClient()
        wanted = Settings({6: b"\1\2\3\4"}, boot_file="boot")
        reserved = Reservation(None, hardware=owner.hardware, settings=wanted)
        storage: Any = self.make(net, [reserved])
        rule = "a reservation's settings come with every answer to its client"
        offer = self._offer(storage, net, owner, 100.0)
        self.must_be_given(offer, "settings alone reserve no address")
        self.must(offer.settings == wanted, rule + " (offer)")
        lease = self._commit(storage, net, owner, offer.address, 101.0)
        self.must(lease.settings == wanted, rule + " (commit)")
        told = self.answered(storage, net, "configure", owner, 102.0)
        self.must(told == wanted, rule + " (configure)")
        other = self._offer(storage, net, FakeClient("02:00:00:00:00:09"), 103.0)
        self.must(other.settings != wanted, "a client's own settings are nobody else's")

    # --- those that are pushed ----------------------------------------------------

    def test_push_a_free_address(self) -> None:
        """Applied: in force with the next packet; and out again."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        owner, *others = self._clients(5)
        wanted = Reservation(ip("192.0.2.10"), hardware=owner.hardware, source="test")
        verdict = self._push(storage, wanted, 100.0)
        self.must(
            verdict == Verdict("applied"), "a free address: the verdict is applied"
        )
        self.must(
            self._push(storage, wanted, 100.0) == Verdict("applied"),
            "the same reservation again: the same verdict",
        )
        for reading in (
            storage.reservations(None, 10, None),
            storage.reservations(None, 10, "test"),
            storage.reservation_of(wanted.address, None),
            storage.reservation_of(None, wanted.who),
        ):
            self.must(reading == [wanted], "what was reserved can be read, once")
        self.must(
            storage.reservations(wanted.place, 10, None) == []
            and storage.reservations(None, 10, "other") == [],
            "a page begins behind a place, and has one source's if it is named",
        )
        self.must(wanted.address not in self._given(storage, net, others, 101.0), ALONE)
        mine = self._bind(storage, net, owner, 102.0)
        self.must(mine.address == wanted.address, "invariant 3: its client gets it")
        self.called("cancel", storage.cancel(wanted, 140.0), 140.0)
        self.must(
            storage.reservations(None, 10, None) == [], "what was cancelled is out"
        )
        kept = self._commit(storage, net, owner, mine.address, 141.0, RENEWING)
        self.must_be_given(
            kept, "IReservations.cancel: its client keeps the lease it has"
        )
        self._release(storage, net, owner, mine.address, 142.0)
        wish = self._offer(storage, net, FakeClient(), 190.0, "192.0.2.10")
        self.must(
            wish.address == wanted.address, "cancelled and released: it is anybody's"
        )

    def test_push_and_refuse(self) -> None:
        """``refuse``: an error that says who and until when; nothing changed."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, owner = self._clients(2)
        lease = self._bind(storage, net, holder, 100.0)
        wanted = _for(owner, lease, OnConflict.REFUSE)
        found = self._push(storage, wanted, 101.0)
        self.must(isinstance(found, AddressInUse), "refuse: raises AddressInUse")
        self.must(
            found.until >= 100.0 + lease.duration and found.holder,
            "refuse: the error says who has the address, and until when",
        )
        self.must(storage.reservations(None, 10, None) == [], "refuse: nothing changed")
        kept = self._commit(storage, net, holder, lease.address, 1000.0, RENEWING)
        self.must(
            isinstance(kept, Lease) and kept.duration == lease.duration,
            "refuse: nothing changed, and the holder renews as ever",
        )
        mine = _for(holder, lease, OnConflict.REFUSE)
        self.must(
            self._push(storage, mine, 1001.0) == Verdict("applied"),
            "the holder itself is nobody to refuse for: applied",
        )

    def test_push_and_wait(self) -> None:
        """``wait``: the holder keeps what remains, no more; then it is the owner's."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, owner = self._clients(2)
        lease = self._bind(storage, net, holder, 100.0)
        verdict = self._push(storage, _for(owner, lease, OnConflict.WAIT), 101.0)
        self._must_wait(verdict, lease)
        soon = self._offer(storage, net, owner, 150.0)
        self.must(
            soon.address != lease.address, "wait: while its holder has it, not yet"
        )
        kept = self._commit(storage, net, holder, lease.address, 200.0, RENEWING)
        self.must(
            isinstance(kept, Lease) and kept.duration <= lease.duration - 100 + 1,
            "wait: a renewal is granted the time that remains, no more",
        )
        late = self._offer(storage, net, owner, 100.0 + lease.duration + 2)
        self.must(
            late.address == lease.address,
            "wait: in the end it is the reserved client's",
        )

    def test_push_and_move(self) -> None:
        """``move``: the holder is sent to another address, and the owner gets this one."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, owner = self._clients(2)
        lease = self._bind(storage, net, holder, 100.0)
        verdict = self._push(storage, _for(owner, lease, OnConflict.MOVE), 101.0)
        self._must_wait(verdict, lease)
        soon = self._offer(storage, net, owner, 150.0)
        self.must(soon.address != lease.address, "move: not before its holder has left")
        sent = self._commit(storage, net, holder, lease.address, 200.0, RENEWING)
        self.must(
            isinstance(sent, Refused), "move: at its next contact the holder is refused"
        )
        other = self._bind(storage, net, holder, 201.0)
        self.must(
            other.address != lease.address,
            "move: its next DISCOVER gets another address",
        )
        mine = self._bind(storage, net, owner, 202.0)
        self.must(
            mine.address == lease.address, "move: then it is the reserved client's"
        )

    def test_push_and_move_to_nowhere(self) -> None:
        """No loops: with no other address to give, the holder is not sent away."""
        net = network(subnet(pool="192.0.2.10"))
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, owner = self._clients(2)
        lease = self._bind(storage, net, holder, 100.0)
        self._push(storage, _for(owner, lease, OnConflict.MOVE), 101.0)
        kept = self._commit(storage, net, holder, lease.address, 200.0, RENEWING)
        self.must(
            isinstance(kept, Lease) and kept.duration <= lease.duration - 100 + 1,
            "a client is refused only when its next DISCOVER will be served; until then"
            " it is granted the time that remains",
        )

    def test_push_and_preempt(self) -> None:
        """``preempt``: the lease is revoked; nobody else ever gets the address."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        holder, owner, *others = self._clients(6)
        lease = self._bind(storage, net, holder, 100.0)
        verdict = self._push(storage, _for(owner, lease, OnConflict.PREEMPT), 101.0)
        self.must(
            isinstance(verdict, Verdict), "preempt: a verdict, whoever has the address"
        )
        if verdict.outcome == "waiting":  # nobody has probed whether the holder is gone
            soon = self._offer(storage, net, owner, 150.0)
            self.must(
                not isinstance(soon, Lease) or soon.address != lease.address,
                "waiting: it was promised to nobody before its holder is gone",
            )
        gone = self._commit(storage, net, holder, lease.address, 200.0, RENEWING)
        self.must(isinstance(gone, Refused), "preempt: the holder's lease is revoked")
        self.must(lease.address not in self._given(storage, net, others, 201.0), ALONE)
        late = self._offer(storage, net, owner, 100.0 + lease.duration + 2)
        self.must(
            late.address == lease.address,
            "preempt: when the holder's time is over at the latest, it is the owner's",
        )

    def test_pushes_that_conflict(self) -> None:
        """Another client's, another source's, or no address to reserve: an error."""
        net = network()
        ours = Reservation(ip("192.0.2.11"), hardware=FakeClient().hardware)
        storage: Any = self.make(net, [ours])
        self.needs(storage, IReservations)
        other = FakeClient("02:00:00:00:00:09").hardware
        for address, hardware, source, error in (
            ("192.0.2.11", other, "test", ReservationConflict),
            ("192.0.2.11", other, "file", ReservationConflict),
            ("192.0.2.12", ours.hardware, "test", ReservationConflict),
            ("9.9.9.9", other, "test", ValueError),
            ("192.0.2.1", other, "test", ValueError),
        ):
            wanted = Reservation(ip(address), hardware=hardware, source=source)
            found = self._push(storage, wanted, 100.0)
            self.must(
                isinstance(found, error),
                f"IReservations.reserve of {address} by {source} raises {error.__name__}",
            )
            self.must(
                storage.reservations(None, 10, None) == [ours],
                "a reservation that is refused changes nothing",
            )

    def test_push_a_change(self) -> None:
        """The same client in the same subnet again is a change, not a second one."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations)
        owner, other = self._clients(2)
        one = Reservation(ip("192.0.2.10"), hardware=owner.hardware, source="test")
        two = Reservation(ip("192.0.2.11"), hardware=owner.hardware, source="test")
        for each in (one, two):
            verdict = self._push(storage, each, 100.0)
            self.must(verdict == Verdict("applied"), "a free address: applied")
        self.must(
            storage.reservations(None, 10, None) == [two],
            "IReservations.reserve: the same client again is a change",
        )
        free = self._offer(storage, net, other, 101.0, "192.0.2.10")
        self.must(free.address == one.address, "what it was before is anybody's")
        mine = self._bind(storage, net, owner, 102.0)
        self.must(mine.address == two.address, "what it is now is the client's")

    def test_push_for_a_while(self) -> None:
        """A reservation may have an end of its own; the clock's steps move it."""
        net = network()
        storage: Any = self.make(net)
        self.needs(storage, IReservations, IClockListener)
        owner, other = self._clients(2)
        wanted = Reservation(
            ip("192.0.2.10"), hardware=owner.hardware, source="test", expires=1000.0
        )
        for when in (100.0, 101.0):
            self._push(storage, wanted, when)
        for by, when in ((70000.0, 70101.0), (-20000.0, 50101.0)):
            stepped = storage.clock_stepped(by)
            self.called(f"clock_stepped({by:+.0f})", stepped, when)
        self.pass_time(storage, 50990.0)
        early = self._offer(storage, net, other, 50990.0, "192.0.2.10")
        self.must(
            early.address != wanted.address,
            "invariant 8: the end of a reservation moves with the clock",
        )
        self.pass_time(storage, 51010.0)
        self.must(
            storage.reservations(None, 10, None) == [],
            "Reservation.expires: past its end there is no reservation",
        )
        late = self._offer(storage, net, self._clients(3)[2], 51011.0, "192.0.2.10")
        self.must(
            late.address == wanted.address, "past its end, the address is anybody's"
        )

    def _must_wait(self, verdict: Any, lease: Lease) -> None:
        self.must(
            isinstance(verdict, Verdict)
            and verdict.outcome == "waiting"
            and bool(verdict.holder)
            and (verdict.until or 0.0) >= 100.0 + lease.duration,
            "somebody has the address: the verdict is waiting, with holder and until",
        )


def _for(owner: FakeClient, lease: Lease, on_conflict: OnConflict) -> Reservation:
    """A leased address, reserved for somebody."""
    return Reservation(
        lease.address,
        hardware=owner.hardware,
        source="test",
        on_conflict=on_conflict,
    )
