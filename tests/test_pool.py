"""The allocation rules, and what a reservation does to other clients."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from dhcptwist.interfaces import IProber, WrongAnswer
from dhcptwist.lease import (
    AddressInUse,
    Lease,
    LeaseState,
    OnConflict,
    Reservation,
    ReservationConflict,
)
from dhcptwist.network import Network
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, MemoryServer, answer, ip, network, subnet
from dhcptwist.wire import MessageType, relay as option_82


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
US = "192.0.2.1"
FIRST = ip("192.0.2.10")


@implementer(IProber)
class FakeProber:
    """Says what it is told to say, or what a function finds."""

    def __init__(self, in_use=None):
        self.answers = False
        self.asked = []
        self._in_use = in_use

    def probe(self, address, subnet):
        """At once."""
        self.asked.append(address)
        return succeed(self._in_use(address) if self._in_use else self.answers)


@pytest.fixture
def prober():
    """A prober; nobody answers until told otherwise."""
    return FakeProber()


@pytest.fixture
def server(prober):
    """A server whose storage can probe."""
    net = network()
    return MemoryServer(net, MemoryStorage(net, prober=prober))


@pytest.fixture
def holder():
    """The client that has the address."""
    return FakeClient("02:00:00:00:00:0a", options={12: b"laptop"})


@pytest.fixture
def owner():
    """The client it is reserved for."""
    return FakeClient("02:00:00:00:00:0b")


def text(number):
    """An address as text."""
    return str(IPv4Address(number))


def reserve(server, owner, address=FIRST, conflict=OnConflict.WAIT, **more):
    """Push a reservation."""
    wanted = Reservation(
        address, hardware=owner.hardware, on_conflict=conflict, source="test", **more
    )
    return answer(server.storage.reserve(wanted, server.now))


def renew(server, who, address):
    """What a renewal gets: its message type, and the seconds if it is an ACK."""
    got = server.receive(who.message(REQUEST, ciaddr=text(address)))
    return got.message.type, got.message.get(51)


class TestNotToGive:
    """Addresses of a pool that are somebody's by other means (TRAPS 49)."""

    def test_ours_is_not_given_to_who_asks(self):
        """Wished for or not: an offer of it would only end in a NAK."""
        net = Network([subnet()], {"eth0": [FIRST]})
        server = MemoryServer(net, MemoryStorage(net))
        who = FakeClient()
        offer = server.receive(who.message(DISCOVER, requested=text(FIRST))).message
        assert offer.yiaddr == FIRST + 1

    def test_a_relay_s_is_not_given_to_who_asks(self, server):
        """Nor in an OFFER, nor for a REQUEST out of the blue."""
        relayed = {"giaddr": text(FIRST)}
        assert server.bind(FakeClient(), **relayed).yiaddr == FIRST + 1
        other = FakeClient("02:00:00:00:01:00")
        offer = server.receive(other.message(DISCOVER, requested=text(FIRST))).message
        assert offer.yiaddr == FIRST + 2
        taken = {"requested": text(FIRST), "server": "192.0.2.1"}
        got = server.receive(other.message(REQUEST, **taken)).message
        assert got.type == MessageType.NAK

    def test_liars_do_not_use_up_the_pool(self):
        """Whoever claims to be every relay there could be takes a handful at most."""
        net = network(subnet("192.0.2.0/24", "192.0.2.10-192.0.2.200"))
        server = MemoryServer(net, MemoryStorage(net))
        for n in range(191):
            liar = FakeClient(f"02:00:00:00:02:{n:02x}", giaddr=text(FIRST + n))
            server.receive(liar.message(DISCOVER))
        server.now += 100
        given = {
            server.bind(FakeClient(f"02:00:00:00:01:{n:02x}")).yiaddr
            for n in range(180)
        }
        assert len(given) == 180


class TestVerdicts:
    """DESIGN's table, row by row."""

    @pytest.mark.parametrize("conflict", list(OnConflict))
    def test_free(self, server, owner, holder, conflict):
        """Free: applied, whatever was to happen on a conflict."""
        verdict = reserve(server, owner, conflict=conflict)
        assert (verdict.outcome, verdict.holder, verdict.until) == ("applied", "", None)
        assert server.bind(holder).yiaddr == FIRST + 1
        assert server.bind(owner).yiaddr == FIRST

    def test_its_own(self, server, owner):
        """Already this client's: applied, and it renews as before."""
        server.bind(owner)
        assert reserve(server, owner, conflict=OnConflict.REFUSE).outcome == "applied"
        assert renew(server, owner, FIRST) == (MessageType.ACK, 3600)

    def test_refuse(self, server, holder, owner):
        """Somebody else's: an error that names the holder; nothing changed."""
        server.bind(holder)
        with pytest.raises(AddressInUse) as caught:
            reserve(server, owner, conflict=OnConflict.REFUSE)
        assert caught.value.holder == "02:00:00:00:00:0a (laptop)"
        assert caught.value.until == server.now + 3600
        assert server.storage.reservations(None, 10, None) == []
        assert renew(server, holder, FIRST) == (MessageType.ACK, 3600)

    def test_wait(self, server, holder, owner):
        """The holder keeps the time that remains, and no more."""
        server.bind(holder)
        verdict = reserve(server, owner)
        assert (verdict.outcome, verdict.until) == ("waiting", server.now + 3600)
        server.now += 600
        assert renew(server, holder, FIRST) == (MessageType.ACK, 3000)
        # Meanwhile the owner has another one, for no longer than it has to wait.
        got = server.bind(owner)
        assert got.yiaddr != FIRST
        assert got.get(51) == 3000
        server.now += 3001
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert renew(server, owner, got.yiaddr)[0] == MessageType.NAK
        assert server.bind(owner).yiaddr == FIRST

    def test_wait_until_released(self, server, holder, owner):
        """A release ends the waiting at once."""
        server.bind(holder)
        reserve(server, owner)
        server.receive(holder.message(MessageType.RELEASE, ciaddr=text(FIRST)))
        assert server.bind(owner).yiaddr == FIRST
        assert server.bind(holder).yiaddr != FIRST

    def test_move(self, server, holder, owner):
        """The holder is sent away at its next contact, and served at once."""
        server.bind(holder)
        verdict = reserve(server, owner, conflict=OnConflict.MOVE)
        assert verdict.outcome == "waiting"
        assert server.bind(owner).yiaddr != FIRST
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(holder).yiaddr != FIRST
        assert server.bind(owner).yiaddr == FIRST

    def test_move_without_a_place(self, server, holder, owner):
        """TRAPS 9: no loop: with a full pool the holder keeps the time it has."""
        server.bind(holder)
        for n in range(3):
            server.bind(FakeClient(f"02:00:00:00:01:0{n}"))
        reserve(server, owner, conflict=OnConflict.MOVE)
        server.now += 100
        assert renew(server, holder, FIRST) == (MessageType.ACK, 3500)

    def test_moved_holder_that_does_not_listen(self, server, holder, owner):
        """TRAPS 10: a NAK may be ignored; nobody gets the address before it moved."""
        server.bind(holder)
        reserve(server, owner, conflict=OnConflict.MOVE)
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(owner).yiaddr != FIRST
        server.now += 1000
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(holder).yiaddr != FIRST
        assert server.bind(owner).yiaddr == FIRST

    def test_preempt_silent(self, server, holder, owner, prober):
        """Revoked, probed, silent: applied."""
        server.bind(holder)
        assert reserve(server, owner, conflict=OnConflict.PREEMPT).outcome == "applied"
        assert prober.asked == [FIRST]
        assert server.bind(owner).yiaddr == FIRST
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(holder).yiaddr != FIRST

    def test_preempt_answering(self, server, holder, owner, prober):
        """While the old holder answers nobody gets it; then its owner does."""
        server.bind(holder)
        prober.answers = True
        verdict = reserve(server, owner, conflict=OnConflict.PREEMPT)
        assert (verdict.outcome, verdict.until) == ("waiting", server.now + 3600)
        got = server.bind(owner)
        assert got.yiaddr != FIRST
        assert got.get(51) <= 300
        assert renew(server, owner, got.yiaddr)[0] == MessageType.ACK
        prober.answers = False
        assert renew(server, owner, got.yiaddr)[0] == MessageType.NAK
        assert server.bind(owner).yiaddr == FIRST

    def test_preempt_holder_comes_first(self, server, holder, owner, prober):
        """The holder hears of it at its next contact and leaves: its owner gets it."""
        server.bind(holder)
        prober.answers = True
        reserve(server, owner, conflict=OnConflict.PREEMPT)
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(holder).yiaddr != FIRST
        assert server.bind(owner).yiaddr == FIRST

    def test_preempt_without_a_prober(self, holder, owner):
        """Where nothing can be asked, the address rests until its time is over."""
        server = MemoryServer()
        server.bind(holder)
        assert reserve(server, owner, conflict=OnConflict.PREEMPT).outcome == "waiting"
        assert server.bind(owner).yiaddr != FIRST
        server.now += 3601
        assert server.bind(owner).yiaddr == FIRST

    def test_preempt_an_offer(self, server, holder, owner, prober):
        """Nobody uses an address before the ACK: an offer is simply dropped."""
        server.receive(holder.message(DISCOVER))
        assert reserve(server, owner, conflict=OnConflict.PREEMPT).outcome == "applied"
        assert prober.asked == []
        taken = holder.message(REQUEST, requested=text(FIRST), server=US)
        assert server.receive(taken).message.type == MessageType.NAK

    def test_between_offer_and_request(self, server, holder, owner):
        """Reserved in that moment: the REQUEST is refused, not the reservation."""
        server.receive(holder.message(DISCOVER))
        assert reserve(server, owner).outcome == "waiting"
        taken = holder.message(REQUEST, requested=text(FIRST), server=US)
        assert server.receive(taken).message.type == MessageType.NAK

    def test_the_client_holds_another(self, server, owner):
        """A client that has another address is moved at its next contact, once."""
        got = server.bind(owner)
        reserve(server, owner, address=FIRST + 3)
        assert renew(server, owner, got.yiaddr)[0] == MessageType.NAK
        assert server.bind(owner).yiaddr == FIRST + 3
        assert renew(server, owner, FIRST + 3)[0] == MessageType.ACK
        assert server.bind(FakeClient("02:00:00:00:00:0c")).yiaddr == FIRST + 1

    def test_init_reboot_is_no_way_around(self, server, owner):
        """Theme A: a reservation is not bypassed by asking for the old address."""
        got = server.bind(owner)
        reserve(server, owner, address=FIRST + 3)
        asked = server.receive(owner.message(REQUEST, requested=text(got.yiaddr)))
        assert asked.message.type == MessageType.NAK

    def test_never_given_away_when_full(self, server, owner):
        """Invariant 3, with the pool empty but for the reserved address."""
        reserve(server, owner)
        for n in range(3):
            server.bind(FakeClient(f"02:00:00:00:01:0{n}"))
        late = FakeClient("02:00:00:00:02:00")
        assert server.receive(late.message(DISCOVER, requested=text(FIRST))) is None
        taken = late.message(REQUEST, requested=text(FIRST), server=US)
        assert server.receive(taken).message.type == MessageType.NAK
        assert server.bind(owner).yiaddr == FIRST

    def test_outside_the_pool(self, server, owner):
        """A reserved address need not be in a pool."""
        reserve(server, owner, address=ip("192.0.2.200"))
        assert server.bind(owner).yiaddr == ip("192.0.2.200")
        assert renew(server, owner, ip("192.0.2.200"))[0] == MessageType.ACK

    def test_declined_by_its_owner(self, server, owner):
        """TRAPS 13: it rests, but not for a day: its owner gets it back."""
        reserve(server, owner)
        server.bind(owner)
        server.receive(owner.message(MessageType.DECLINE, requested=text(FIRST)))
        assert server.bind(owner).yiaddr != FIRST
        server.now += 601
        assert server.bind(owner).yiaddr == FIRST


class TestReservations:
    """Putting them in and taking them out."""

    @pytest.mark.parametrize(
        "bad", ["10.0.0.1", "192.0.2.1", "192.0.2.0", "192.0.2.255"]
    )
    def test_impossible_addresses(self, server, owner, bad):
        """In no subnet, our own, no host's: said at once, nothing changed."""
        with pytest.raises(ValueError, match=bad):
            reserve(server, owner, address=ip(bad))

    def test_reserved_for_another(self, server, owner, holder):
        """One address, one client: the second is told whose it is."""
        reserve(server, owner)
        with pytest.raises(ReservationConflict) as caught:
            reserve(server, holder)
        assert caught.value.source == "test"

    def test_another_sources_client(self, server, owner):
        """A source cannot change another's reservation."""
        reserve(server, owner)
        other = Reservation(FIRST + 1, hardware=owner.hardware, source="other")
        with pytest.raises(ReservationConflict):
            server.storage.reserve(other, server.now)

    def test_change(self, server, owner):
        """The same client again in the same subnet is a change: the old one is free."""
        reserve(server, owner)
        reserve(server, owner, address=FIRST + 1)
        assert server.bind(FakeClient("02:00:00:00:00:0c")).yiaddr == FIRST
        assert server.bind(owner).yiaddr == FIRST + 1

    def test_cancel(self, server, owner):
        """Its client keeps the lease to its end and renews it; it is dynamic now."""
        reserve(server, owner)
        server.bind(owner)
        (reservation,) = server.storage.reservation_of(FIRST, None)
        answer(server.storage.cancel(reservation, server.now))
        assert renew(server, owner, FIRST) == (MessageType.ACK, 3600)
        assert server.storage.reservation_of(FIRST, None) == []

    def test_cancelled_before_use(self, server, owner, holder):
        """An address skipped while it was reserved comes back to the pool."""
        reserve(server, owner)
        assert server.bind(holder).yiaddr == FIRST + 1
        (reservation,) = server.storage.reservation_of(FIRST, None)
        answer(server.storage.cancel(reservation, server.now))
        given = {
            server.bind(FakeClient(f"02:00:00:00:01:0{n}")).yiaddr for n in range(3)
        }
        assert FIRST in given

    def test_lifetime(self, server, owner, holder):
        """A reservation that ends leaves nothing behind."""
        reserve(server, owner, expires=server.now + 60)
        server.now += 61
        assert server.bind(holder).yiaddr == FIRST + 1 or server.bind(holder)
        for n in range(3):
            server.bind(FakeClient(f"02:00:00:00:01:0{n}"))
        assert FIRST in server.storage.index.leases
        assert server.storage.reservations(None, 10, None) == []

    def test_by_port(self, server):
        """Whoever is on the port gets it: a device is swapped without anybody's help."""
        agent = option_82.join({1: b"eth7", 2: b"switch"})
        wanted = Reservation(FIRST, circuit_id=b"eth7", remote_id=b"switch", source="t")
        answer(server.storage.reserve(wanted, server.now))
        old = FakeClient("02:00:00:00:01:00")
        new = FakeClient("02:00:00:00:01:01")
        relayed = {"giaddr": "192.0.2.200", "options": {82: agent}}
        assert server.bind(old, **relayed).yiaddr == FIRST
        # TRAPS 30: a renewal by unicast carries no option 82.
        assert renew(server, old, FIRST)[0] == MessageType.ACK
        assert server.bind(new, **relayed).yiaddr == FIRST
        assert renew(server, old, FIRST)[0] == MessageType.NAK

    def test_two_on_one_port(self, server, prober):
        """Both alive: the first keeps the address, the second gets another; no loop."""
        agent = option_82.join({1: b"eth7", 2: b"switch"})
        wanted = Reservation(FIRST, circuit_id=b"eth7", remote_id=b"switch", source="t")
        answer(server.storage.reserve(wanted, server.now))
        phone = FakeClient("02:00:00:00:01:00")
        computer = FakeClient("02:00:00:00:01:01")
        relayed = {"giaddr": "192.0.2.200", "options": {82: agent}}
        assert server.bind(phone, **relayed).yiaddr == FIRST
        prober.answers = True
        assert server.bind(computer, **relayed).yiaddr == FIRST + 1
        for who, address in ((phone, FIRST), (computer, FIRST + 1)) * 2:
            assert renew(server, who, address)[0] == MessageType.ACK
        prober.answers = False  # the phone is unplugged
        assert server.bind(computer, **relayed).yiaddr == FIRST

    @pytest.mark.parametrize("named", [{"circuit_id": b"eth7"}, {"remote_id": b"sw"}])
    def test_by_half_a_port(self, server, named):
        """Circuit or remote alone: the other may be anything, and it owns its lease."""
        agent = option_82.join({1: b"eth7", 2: b"sw"})
        relayed = {"giaddr": "192.0.2.200", "options": {82: agent}}
        who = FakeClient("02:00:00:00:01:00")
        assert server.bind(who, **relayed).yiaddr == FIRST
        wanted = Reservation(FIRST, on_conflict=OnConflict.PREEMPT, source="t", **named)
        verdict = answer(server.storage.reserve(wanted, server.now))
        assert verdict.outcome == "applied"
        assert renew(server, who, FIRST)[0] == MessageType.ACK
        assert server.bind(who, **relayed).yiaddr == FIRST

    def test_offers_of_reserved_clients_are_forgotten(self, server, owner):
        """What each exchange leaves behind is swept away by the next ones."""
        reserve(server, owner)
        for _ in range(50):
            assert server.bind(owner).yiaddr == FIRST
            server.now += 100
        area = server.storage.index.area_of(FIRST)
        assert len(area.lapses) <= 1

    def test_an_infinite_lease_can_be_taken_back(self):
        """TRAPS 43: revoked and never seen again, it does not rest for ever."""
        net = network(subnet(lease_time=0xFFFFFFFF))
        server = MemoryServer(net, MemoryStorage(net))
        server.bind(FakeClient())
        lease = answer(server.storage.revoke(FIRST, server.now))
        assert lease.expires == server.now + 86400
        assert answer(server.storage.revoke(FIRST, server.now)) is lease

    def test_pages(self, server):
        """By address, each once, whatever the page."""
        clients = [FakeClient(f"02:00:00:00:03:{n:02x}") for n in range(20)]
        for n, who in enumerate(clients):
            reserve(server, who, address=ip("192.0.2.100") + n)
        page, seen = server.storage.reservations(None, 7, "test"), []
        while page:
            seen += [each.address for each in page]
            page = server.storage.reservations(page[-1].place, 7, "test")
        assert seen == [ip("192.0.2.100") + n for n in range(20)]
        assert server.storage.reservations(None, 7, "other") == []

    def test_revoke(self, server, holder, prober):
        """Taken away now; found silent, it is free for the next one."""
        server.bind(holder)
        lease = answer(server.storage.revoke(FIRST, server.now))
        assert lease.state == LeaseState.RELEASED
        assert answer(server.storage.revoke(FIRST, server.now)) is None

    def test_revoked_but_in_use(self, server, holder, prober):
        """Its holder still answers: it rests until the lease would have ended."""
        prober.answers = True
        server.bind(holder)
        lease = answer(server.storage.revoke(FIRST, server.now))
        assert lease.state == LeaseState.REVOKED
        assert renew(server, holder, FIRST)[0] == MessageType.NAK
        assert server.bind(holder).yiaddr != FIRST
        server.now += 3601
        assert FIRST in {
            server.bind(FakeClient(f"02:00:00:00:01:0{n}")).yiaddr for n in range(3)
        }


class TestIdentity:
    """TRAPS 44: who is the same client."""

    def test_identifier_beats_hardware(self, server):
        """Two identifiers on one hardware address are two clients (RFC 2131 4.2)."""
        one = FakeClient(identifier=b"\xffone")
        two = FakeClient(identifier=b"\xfftwo")
        assert server.bind(one).yiaddr != server.bind(two).yiaddr

    def test_hardware_may_change(self, server):
        """One identifier on a new hardware address is the same client."""
        one = FakeClient("02:00:00:00:00:01", identifier=b"\xffone")
        two = FakeClient("02:00:00:00:00:02", identifier=b"\xffone")
        assert server.bind(one).yiaddr == server.bind(two).yiaddr

    def test_the_usual_identifier(self, server):
        """Type and address as identifier is the client that sends none."""
        rom = FakeClient("02:00:00:00:00:01")
        system = FakeClient("02:00:00:00:00:01", identifier=rom.hardware)
        assert server.bind(rom).yiaddr == server.bind(system).yiaddr

    def test_identifier_dropped(self, server):
        """A client that stops sending it keeps its lease by its hardware address."""
        full = FakeClient(identifier=b"\xffone")
        bare = FakeClient()
        assert server.bind(full).yiaddr == server.bind(bare).yiaddr


class TestAsync:
    """A storage that asks another system first."""

    @pytest.mark.parametrize("kind", ["coroutine", "deferred", "value"])
    def test_reservation_for(self, owner, holder, kind):
        """``reservation_for`` may answer at once, by Deferred or ``async def``."""
        mine = Reservation(FIRST + 2, hardware=owner.hardware)
        waiting = []

        class Members(MemoryStorage):
            def reservation_for(self, client):
                found = mine if client.hardware == owner.hardware else None
                if kind == "value":
                    return found
                later = Deferred()
                waiting.append((later, found))
                if kind == "deferred":
                    return later

                async def ask():
                    return await later

                return ask()

        net = network()
        server = MemoryServer(net, Members(net))
        for who, expected in ((owner, FIRST + 2), (holder, FIRST)):
            server.receive(who.message(DISCOVER))
            for later, found in waiting:
                later.callback(found)
            waiting.clear()
            offer = server.sent[-1].message
            assert (offer.type, offer.yiaddr) == (MessageType.OFFER, expected)

    def test_reservation_of_another_kind(self, owner):
        """One that has more to it than ours is one."""

        class Member(Reservation):
            """With a name of the club's."""

        class Members(MemoryStorage):
            def reservation_for(self, client):
                return Member(FIRST + 2, hardware=owner.hardware)

        net = network()
        server = MemoryServer(net, Members(net))
        assert server.bind(owner).yiaddr == FIRST + 2

    @pytest.mark.parametrize(
        "answer",
        [
            "192.0.2.12",
            Lease(FIRST),
            Reservation("192.0.2.12", hardware=b"\1x"),
            {"address": FIRST},
        ],
        ids=["text", "lease", "address", "mapping"],
    )
    @pytest.mark.parametrize("kind", ["coroutine", "deferred", "value"])
    def test_wrong_answers(self, owner, answer, kind, logged_failures):
        """What is no reservation is the storage's failure, and the log shows it."""

        class Members(MemoryStorage):
            def reservation_for(self, client):
                async def ask():
                    return answer

                if kind == "coroutine":
                    return ask()
                return succeed(answer) if kind == "deferred" else answer

        net = network()
        server = MemoryServer(net, Members(net))
        assert server.receive(owner.message(DISCOVER)) is None
        assert server.silences() == {"storage-failed": 1}
        [failure] = logged_failures.flush(WrongAnswer)
        words = str(failure.value)
        assert words.startswith("the storage answered reservation_for with ")
        assert repr(answer)[:20] in words


class TestScale:
    """A pool costs nothing for what is not used."""

    def test_a_pool_of_a_whole_class_a(self, owner):
        """16 million addresses: made at once, and no larger for it."""
        net = network(subnet("10.0.0.0/8", "10.0.0.1-10.255.255.254", interface="eth0"))
        server = MemoryServer(net)
        first = [server.bind(FakeClient(f"02:00:00:00:01:{n:02x}")) for n in range(50)]
        assert [got.yiaddr for got in first] == [ip("10.0.0.1") + n for n in range(50)]

    def test_a_flood_of_discovers(self, server):
        """Offers nobody takes are gone after their time, and so is their memory."""
        net = network(subnet("10.0.0.0/8", "10.0.0.1-10.255.255.254", interface="eth0"))
        server = MemoryServer(net)
        for n in range(3000):
            server.now += 0.1
            server.receive(
                FakeClient(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}").message(DISCOVER)
            )
        index = server.storage.index
        assert len(index.offers) <= 301
        assert len(index.offer_of) <= 301
        assert max(index.offers) < ip("10.0.0.1") + 400


class Churn(RuleBasedStateMachine):
    """Random clients, times and control calls against the invariants of DESIGN."""

    def __init__(self):
        super().__init__()
        self.prober = FakeProber(self._in_use)
        net = network(subnet(min_lease_time=60, max_lease_time=7200))
        self.server = MemoryServer(net, MemoryStorage(net, prober=self.prober))
        self.server.now = 1e9
        self.clients = [FakeClient(f"02:00:00:00:00:{n:02x}") for n in range(7)]
        # What each client believes: address and until when.
        self.belief = {}

    def _heard(self, number, got):
        if got is None:
            return
        message = got.message
        if message.type == MessageType.ACK:
            until = self.server.now + message.get(51)
            self.belief[number] = (message.yiaddr, until)
        elif message.type == MessageType.NAK:
            self.belief.pop(number, None)

    @rule(number=st.integers(0, 6), wish=st.integers(0, 5))
    def starts(self, number, wish):
        """A client begins, with or without a wish, and takes what it is offered."""
        who = self.clients[number]
        options = {"requested": text(FIRST + wish)} if wish else {}
        offer = self.server.receive(who.message(DISCOVER, **options))
        self.belief.pop(number, None)
        if offer is not None:
            address = text(offer.message.yiaddr)
            asks = who.message(REQUEST, requested=address, server=US)
            self._heard(number, self.server.receive(asks))

    @rule(number=st.integers(0, 6))
    def only_looks(self, number):
        """A client that never takes the offer."""
        self.server.receive(self.clients[number].message(DISCOVER))

    @rule(number=st.integers(0, 6))
    def renews(self, number):
        """A client renews what it believes to have."""
        if number in self.belief:
            address, until = self.belief[number]
            if until <= self.server.now:
                del self.belief[number]
                return
            asks = self.clients[number].message(REQUEST, ciaddr=text(address))
            self._heard(number, self.server.receive(asks))

    @rule(number=st.integers(0, 6), address=st.integers(0, 4))
    def reboots(self, number, address):
        """A client asks for an address it remembers, rightly or not."""
        asks = self.clients[number].message(REQUEST, requested=text(FIRST + address))
        self._heard(number, self.server.receive(asks))

    @rule(number=st.integers(0, 6))
    def releases(self, number):
        """A client leaves."""
        if number in self.belief:
            address, _ = self.belief.pop(number)
            gone = self.clients[number].message(
                MessageType.RELEASE, ciaddr=text(address)
            )
            self.server.receive(gone)

    @rule(number=st.integers(0, 6))
    def declines(self, number):
        """A client finds its address in use."""
        if number in self.belief:
            address, _ = self.belief.pop(number)
            self.server.receive(
                self.clients[number].message(
                    MessageType.DECLINE, requested=text(address)
                )
            )

    @rule(seconds=st.sampled_from([1, 20, 31, 1800, 3601, 90000]))
    def time_passes(self, seconds):
        """Offers lapse, leases end, rests are over."""
        self.server.now += seconds

    @rule(by=st.sampled_from([-100000.0, 100000.0]))
    def clock_is_set(self, by):
        """Invariant 8: nobody's remaining time changes."""
        answer(self.server.storage.clock_stepped(by) or succeed(None))
        self.server.now += by
        self.belief = {n: (a, until + by) for n, (a, until) in self.belief.items()}

    @rule(
        number=st.integers(0, 6),
        address=st.integers(0, 4),
        conflict=st.sampled_from(list(OnConflict)),
        silent=st.booleans(),
    )
    def is_reserved(self, number, address, conflict, silent):
        """Somebody pushes a reservation; its holder may have left without a word."""
        if silent:
            self._leave(FIRST + address)
        try:
            reserve(self.server, self.clients[number], FIRST + address, conflict)
        except (AddressInUse, ReservationConflict):
            return

    @rule(address=st.integers(0, 4), silent=st.booleans())
    def is_revoked(self, address, silent):
        """Somebody takes a lease away."""
        if silent:
            self._leave(FIRST + address)
        answer(self.server.storage.revoke(FIRST + address, self.server.now))

    def _leave(self, address):
        for number, (held, _) in list(self.belief.items()):
            if held == address:
                del self.belief[number]

    def _in_use(self, address):
        """What a probe finds: whoever believes to have an address answers for it."""
        now = self.server.now
        return any(a == address and until > now for a, until in self.belief.values())

    @rule(address=st.integers(0, 4))
    def is_cancelled(self, address):
        """Somebody takes a reservation out."""
        for each in self.server.storage.reservation_of(FIRST + address, None):
            answer(self.server.storage.cancel(each, self.server.now))

    @invariant()
    def nobody_shares_an_address(self):
        """Invariant 2, as the clients see it: after silent evictions they are gone."""
        now = self.server.now
        held = [a for a, until in self.belief.values() if until > now]
        assert len(held) == len(set(held)), self.belief

    @invariant()
    def the_index_agrees_with_itself(self):
        """Every view of the index says the same."""
        index = self.server.storage.index
        for key, address in index.offer_of.items():
            assert index.offers[address].key == key
        for area in index._areas.values():
            for key, address in area.clients.items():
                assert index.leases[address].key == key

    def teardown(self):
        """No address is lost: when all is over the whole pool can be given again."""
        self.server.now += 10 * 86400
        for n in range(5):
            self.is_cancelled(n)
        given = {
            self.server.bind(FakeClient(f"02:00:00:00:77:0{n}")).yiaddr
            for n in range(4)
        }
        assert given == {FIRST + n for n in range(4)}


TestChurn = Churn.TestCase
TestChurn.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_lifetime_that_was_noted_twice():
    """A source that repeats itself with the same end: it ends once."""
    net = network()
    storage = MemoryStorage(net)
    wanted = Reservation(
        FIRST, hardware=b"\1\2\0\0\0\0\1", source="test", expires=400.0
    )
    for when in (100.0, 101.0):
        answer(storage.reserve(wanted, when))
    storage.clock_ticked(500.0)
    assert storage.reservations(None, 10, None) == []
