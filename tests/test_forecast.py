"""Forecasts: what is said of a message is what the server then does, to the byte."""

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
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from dhcptwist.config import Rate
from dhcptwist.exchanges import Responder
from dhcptwist.explanation import Explanation
from dhcptwist.forecast import foretell
from dhcptwist.interfaces import IExplainer, IStorage
from dhcptwist.lease import (
    AddressInUse,
    Lease,
    OnConflict,
    Refused,
    Reservation,
    ReservationConflict,
    Settings,
    Silence,
)
from dhcptwist.network import Network, Via
from dhcptwist.origins import parts_of
from dhcptwist.replies import Reply
from dhcptwist.storage.flood import FloodLimit
from dhcptwist.storage.limits import Deadline
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, MemoryServer, answer, ip, subnet
from dhcptwist.wire import Message, MessageType


FIRST = ip("192.0.2.10")
RELAY, STRANGE = "10.9.9.1", "10.9.9.2"
PLACES = [*range(FIRST, FIRST + 4), ip("198.51.100.10"), ip("203.0.113.7")]
ADDRESS = st.sampled_from([0, *PLACES])
WHO = st.integers(0, 5)
DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
ACK, NAK, OFFER = MessageType.ACK, MessageType.NAK, MessageType.OFFER

#: How a message may be odd: options and fields over those that it has.
ODD = [
    {},
    {},
    {},
    {55: bytes([1, 3, 6, 51, 42, 12, 252])},
    {51: (100).to_bytes(4, "big")},
    {118: bytes((198, 51, 100, 0))},
    {118: bytes((9, 9, 9, 0))},
    {82: b"\1\2p5"},
    {82: b"\1\2p5\5\4\xc6\x33\x64\0"},
    {82: b"\1\2p5\5\4\x09\x09\x09\x09"},
    {57: b"\2\x40", 55: bytes(range(1, 120))},
    {54: bytes((192, 0, 2, 1))},
    {54: bytes((9, 9, 9, 9))},
    {53: b""},
    {53: b"\x0d"},
]
FIELDS = [
    *({} for _ in range(6)),
    {"flags": 0x8000},
    {"giaddr": RELAY},
    {"giaddr": RELAY},
    {"giaddr": STRANGE},
    {"giaddr": "224.0.0.1"},
    {"giaddr": "192.0.2.3"},
    {"htype": 6},
    {"chaddr": b"", "hlen": 0},
    {"op": 2},
]


def text(address):
    """An address for a message, or nothing."""
    return str(IPv4Address(address)) if address else ""


def made():
    """A network where much can be told apart; the hall is not on its wire."""
    lan = subnet(
        "192.0.2.0/24",
        "192.0.2.10-192.0.2.12",
        shared_network="wire",
        lease_time=600,
        min_lease_time=60,
        max_lease_time=1200,
        decline_hold=300,
        relays=frozenset({ip(RELAY)}),
        options={3: bytes((192, 0, 2, 1)), 15: b"lan.example", 119: b"\3lan\0" * 80},
        settings=Settings(boot_file="lan.0", renewal_time=100),
    )
    hall = subnet(
        "198.51.100.0/24",
        "198.51.100.10",
        name="hall",
        selectable=True,
        broadcast_always=True,
    )
    classes = {"pxe": Settings({15: b"pxe.example"}, boot_file="pxe.0")}
    complaints = []
    net = Network([lan, hall], {"eth0": [ip("192.0.2.1")]}, classes, complaints.append)
    return net, complaints


class Foretold(RuleBasedStateMachine):
    """A server, six clients, and whatever they may send it."""

    def __init__(self, seen, *, authoritative, rate):
        super().__init__()
        self.seen = seen
        self.network, self.complaints = made()
        self.storage = MemoryStorage(self.network)
        self.limits = FloodLimit(self.storage, rate, rate)
        self.servers = [
            MemoryServer(
                self.network, self.limits, authoritative=authoritative, unicast=unicast
            )
            for unicast in (False, True)
        ]
        self.when = 1.7e9
        self.clients = [FakeClient(f"02:00:00:00:07:0{n}") for n in range(6)]
        self.clients[3].identifier = b"\xff" + self.clients[3].hardware
        self.offers = {}

    def picture(self):
        """Everything that there is to be changed."""
        return [
            picture(self.storage),
            self.limits.figures(),
            *(server.counters.figures() for server in self.servers),
            self.complaints[:],
        ]

    def sends(self, message, *, unicast=False, source="0.0.0.0"):
        """What is said of a message, and then what comes of it."""
        server = self.servers[unicast]
        server.now = self.when
        via = server.protocol.via
        responder = server.protocol.responder
        refusal = self.limits.refusal
        before = self.picture()
        told = answer(
            foretell(
                responder, self.storage, message.raw, via, source, self.when, refusal
            )
        )
        assert self.picture() == before, "to explain has changed something"
        assert told.reason, "no reason"
        if told.exchange is not None:
            self.is_told_by(told.field, told.exchange.client)
        silences = dict(server.counters.silences)
        sent = server.receive(message, source)
        if sent is None:
            [real] = [
                each
                for each, count in server.counters.silences.items()
                if count != silences[each]
            ]
            assert told.answer is real, told
            self.seen.add(real.value)
            return None
        assert isinstance(told.answer, Reply), told
        reply = told.answer
        assert Message(reply.data) == sent.message
        assert (reply.address, reply.port) == (sent.address, sent.port)
        assert reply.hardware == sent.hardware
        parts = parts_of(told, told.exchange, reply)
        assert {each.code for each in parts.options} == {*sent.message.options}
        assert not {*parts.left_out, *parts.not_asked, *parts.not_set} & {
            *sent.message.options
        }
        self.seen |= {sent.message.type.name, *(each.origin for each in parts.options)}
        self.seen |= {each.origin for each in parts.fields}
        self.seen |= {"dropped"} if parts.left_out else set()
        return sent.message

    def is_told_by(self, field, client):
        """The field that is named tells the client's subnets."""
        net, message = self.network, client.message
        of = {
            "giaddr": lambda: net.link_of_relay(message.giaddr),
            "ciaddr": lambda: net.link(net.subnet_of(message.ciaddr)),
            "interface": lambda: net.link_of_interface("eth0"),
            "link-selection": lambda: net.link(net.subnet_of(ip("198.51.100.0"))),
            "subnet-selection": lambda: net.link(net.subnet_of(message.address(118))),
        }
        assert {*client.subnets} == {*of[field]()}
        self.seen.add(field)

    @rule(
        n=WHO,
        wish=ADDRESS,
        odd=st.sampled_from(ODD),
        fields=st.sampled_from(FIELDS),
        unicast=st.booleans(),
    )
    def discovers(self, n, wish, odd, fields, unicast):
        """DISCOVER, odd or not."""
        asks = self.clients[n].message(
            DISCOVER, requested=text(wish), options=odd, **fields
        )
        found = self.sends(asks, unicast=unicast)
        if found is not None:
            self.offers[n] = found.yiaddr

    @rule(n=WHO)
    def comes(self, n):
        """DISCOVER, and REQUEST for the offer."""
        self.discovers(n, 0, {}, {}, False)
        if n in self.offers:
            asks = self.clients[n].message(
                REQUEST, requested=text(self.offers[n]), server="192.0.2.1"
            )
            self.sends(asks)

    @rule(
        n=WHO,
        address=ADDRESS,
        has_it=st.booleans(),
        odd=st.sampled_from(ODD),
        fields=st.sampled_from(FIELDS),
        unicast=st.booleans(),
    )
    def requests(self, n, address, has_it, odd, fields, unicast):
        """REQUEST for anything, in any state."""
        address = address or self.offers.get(n, 0)
        asks = self.clients[n].message(
            REQUEST,
            requested="" if has_it else text(address),
            ciaddr=address if has_it else 0,
            options=odd,
            **fields,
        )
        self.sends(asks, unicast=unicast)

    @rule(
        n=WHO,
        address=ADDRESS,
        kind=st.sampled_from(
            [MessageType.RELEASE, MessageType.DECLINE, MessageType.INFORM]
        ),
        mine=st.booleans(),
        odd=st.sampled_from(ODD),
        fields=st.sampled_from(FIELDS),
    )
    def says(self, n, address, kind, mine, odd, fields):
        """What is no question for an address."""
        address = self.offers.get(n, 0) if mine else address
        declines = kind == MessageType.DECLINE
        asks = self.clients[n].message(
            kind,
            requested=text(address) if declines else "",
            ciaddr=0 if declines else address,
            options=odd,
            **fields,
        )
        self.sends(asks, source="192.0.2.99")

    @rule(seconds=st.sampled_from([0.5, 20.0, 40.0, 300.0, 700.0]))
    def time_passes(self, seconds):
        """Nobody looks at the clock."""
        self.when += seconds

    @rule(
        n=WHO,
        address=ADDRESS,
        conflict=st.sampled_from(list(OnConflict)),
        lifetime=st.sampled_from([inf, 30.0]),
        own=st.sampled_from(
            [
                None,
                Settings({12: b"named", 42: bytes((192, 0, 2, 5))}, next_server=FIRST),
                Settings(client_class="pxe", boot_file="own.0", rebinding_time=450),
                Settings(client_class="gone"),
            ]
        ),
    )
    def reserves(self, n, address, conflict, lifetime, own):
        """Somebody pushes a reservation, with or without settings of its own."""
        who = {"circuit_id": b"p5"} if n > 4 else {"hardware": self.clients[n].hardware}
        wanted = Reservation(
            address or None,
            **who,
            settings=own,
            source="test",
            on_conflict=conflict,
            expires=self.when + lifetime,
        )
        with suppress(AddressInUse, ReservationConflict, ValueError):
            answer(self.storage.reserve(wanted, self.when))


@pytest.mark.parametrize(
    ("authoritative", "rate", "limited"),
    [
        (True, None, set()),
        (False, None, set()),
        (True, Rate(3, 60.0), {"flood"}),
    ],
)
def test_what_is_foretold_is_what_is_done(authoritative, rate, limited):
    """Type, address, options, way and silence are those of the packet that follows."""
    seen = set()
    run_state_machine_as_test(
        lambda: Foretold(seen, authoritative=authoritative, rate=rate),
        settings=settings(
            max_examples=int(os.environ.get("DHCPTWIST_HISTORIES", "250")),
            derandomize="DHCPTWIST_HISTORIES" not in os.environ,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        ),
    )
    silences = {
        *("not-a-request", "unknown-type", "no-identity", "bad-relay", "no-subnet"),
        *("no-address", "not-for-us", "pool-exhausted", "unknown-client", "released"),
        *("declined", "ignored-release", "ignored-decline"),
    }
    fields = {*("giaddr", "ciaddr", "interface", "link-selection", "subnet-selection")}
    origins = {"server", "client", "relay", "subnet lan", "subnet hall", "reservation"}
    wanted = {
        *silences,
        *limited,
        *fields,
        *origins,
        "class pxe",
        "OFFER",
        "ACK",
        "NAK",
        "dropped",
    }
    assert seen >= wanted, f"never seen: {wanted - seen}"


# --- in words ---------------------------------------------------------------------


def foretold(message, storage=None, via=None, source="0.0.0.0", **keys):
    """What is said of a message by a server of its own."""
    net, complaints = made()
    storage = MemoryStorage(net) if storage is None else storage(net)
    responder = Responder(net, **keys)
    via = via or Via("eth0", ip("192.0.2.1"), frames=True)
    data = message if isinstance(message, bytes) else message.raw
    told = answer(foretell(responder, storage, data, via, source, 1.7e9))
    assert not complaints
    return told


def asks(kind=DISCOVER, **keys):
    """A client's message."""
    return FakeClient().message(kind, **keys)


@pytest.mark.parametrize(
    ("message", "silence", "words"),
    [
        (b"\1" * 100, "malformed", "it is no DHCP message: 100 bytes"),
        (Message.build(chaddr=b"\2" * 6), "bootp", "no message type"),
        (asks(op=2), "not-a-request", "no client's message (op 2)"),
        (asks(options={53: b"\x0d"}), "unknown-type", "none that clients send"),
        (asks(giaddr="224.0.0.1"), "bad-relay", "224.0.0.1 (giaddr) can be no relay's"),
        (asks(chaddr=b"", hlen=0), "no-identity", "neither a client identifier"),
        (asks(giaddr=STRANGE), "no-subnet", f"the relay {STRANGE}: it lies in none"),
        (asks(options={118: bytes(4)}), "no-subnet", "(option 118)"),
        (
            asks(giaddr=RELAY, options={82: b"\5\4\x09\x09\x09\x09"}),
            "no-subnet",
            "9.9.9.9, which its relay selects",
        ),
        (asks(REQUEST), "no-address", "neither as its own (ciaddr) nor in option 50"),
        (
            asks(REQUEST, requested="192.0.2.10", server="9.9.9.9"),
            "not-for-us",
            "the server 9.9.9.9 (option 54)",
        ),
        (asks(MessageType.INFORM, ciaddr="224.0.0.9"), "no-address", "is no host's"),
        (
            asks(REQUEST, requested="192.0.2.10"),
            "unknown-client",
            "to a client that comes back nothing is said",
        ),
        (
            asks(REQUEST, requested="192.0.2.200", server="192.0.2.1"),
            None,
            "the address is in no pool of lan",
        ),
        (
            asks(REQUEST, ciaddr="192.0.2.10"),
            None,
            "no lease of this client and address is known, and this server is",
        ),
        (asks(), None, "the next address of the pool"),
    ],
)
def test_reasons(message, silence, words):
    """Every silence and every answer has its reason, in a sentence."""
    told = foretold(message)
    found = told.answer.value if isinstance(told.answer, Silence) else None
    assert found == silence
    assert words in told.reason


def test_no_subnet_on_an_interface():
    """It is said where a subnet would be looked for."""
    told = foretold(asks(), via=Via("eth9", ip("192.0.2.1")))
    assert told.answer is Silence.NO_SUBNET
    assert told.reason.startswith("no subnet is on eth9:")


def test_another_may_know_it():
    """A server that is not authoritative says so."""
    told = foretold(asks(REQUEST, ciaddr="192.0.2.10"), authoritative=False)
    assert told.answer is Silence.UNKNOWN_CLIENT
    assert told.reason.endswith("not authoritative: another may know it")


@implementer(IStorage)
class Mute:
    """Decides, and explains nothing."""

    def __init__(self, net):
        self.net = net

    def __getattr__(self, verb):
        raise AssertionError(f"nobody asked for {verb}")


@pytest.mark.parametrize(
    ("message", "verb"),
    [
        (asks(), "offer"),
        (asks(REQUEST, requested="192.0.2.10"), "commit"),
        (asks(MessageType.INFORM, ciaddr="192.0.2.10"), "configure"),
        (asks(MessageType.RELEASE, ciaddr="192.0.2.10"), "release"),
        (asks(MessageType.DECLINE, requested="192.0.2.10"), "decline"),
    ],
)
def test_storages_that_do_not_explain_themselves(message, verb):
    """Are not asked, for that might change something; all else is said."""
    told = foretold(message, Mute)
    assert (told.answer, told.told, told.verb) == (None, None, verb)
    assert f"the storage decides, by its {verb}()" in told.reason
    assert [each.name for each in told.exchange.client.subnets] == ["lan"]
    refused = foretold(asks(giaddr=STRANGE), Mute)
    assert refused.answer is Silence.NO_SUBNET


def test_networks_where_nothing_may_be_selected():
    """Option 118 tells nothing there, and is not said to."""
    net = Network([subnet()], {"eth0": [ip("192.0.2.1")]})
    message = asks(options={118: bytes((9, 9, 9, 0))})
    via = Via("eth0", ip("192.0.2.1"))
    told = answer(
        foretell(Responder(net), MemoryStorage(net), message.raw, via, "0.0.0.0", 9.0)
    )
    assert (told.field, told.answer.kind) == ("interface", OFFER)


def saying(result, reservation=None):
    """A storage that explains itself so."""

    @implementer(IStorage, IExplainer)
    class Saying(Mute):
        def explain(self, client, address, when):
            """What was told it to say, or the failure."""
            if isinstance(result, Exception):
                raise result
            return Explanation(result, "mine", "I say so", reservation)

    return Saying


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ValueError("no connection"), "the storage fails: no connection"),
        (ValueError(), "the storage fails: ValueError"),
        ("laptop", "the storage fails: the storage answered offer with 'laptop'"),
        (Lease("192.0.2.10"), "the storage fails: "),
    ],
)
def test_storages_that_fail(result, words):
    """The silence that a packet would get, and what went wrong."""
    told = foretold(asks(), saying(result))
    assert told.answer is Silence.STORAGE_FAILED
    assert told.reason.startswith(words)


def test_word_of_a_stranger():
    """What the exchange makes of it is said as well."""
    lease = Lease(ip("192.0.2.77"), duration=60)
    told = foretold(asks(), saying(lease))
    assert (told.answer.kind, told.reason) == (OFFER, "I say so")
    took = asks(REQUEST, requested="192.0.2.10", server="192.0.2.1")
    told = foretold(took, saying(lease))
    assert told.answer.kind == NAK
    assert told.reason == "I say so; but it asks for another address"
    told = foretold(asks(), saying(None))
    assert (told.answer, told.reason) == (Silence.NO_LEASE, "I say so")
    told = foretold(asks(), saying(Refused("go away")))
    assert (told.answer, told.reason) == (Silence.NOT_ALLOWED, "I say so")


def test_who_asks_too_often():
    """Is silence for so long; and what would come then is said behind it."""
    server = MemoryServer()
    limits = FloodLimit(server.storage, Rate(2, 10.0), Rate(3, 10.0))
    responder, via = server.protocol.responder, server.protocol.via

    def told(number, port=b"p5"):
        who = FakeClient(f"02:00:00:00:00:0{number}", options={82: b"\1\2" + port})
        raw = who.message(DISCOVER).raw
        found = foretell(
            responder, server.storage, raw, via, "0.0.0.0", 9.0, limits.refusal
        )
        told = answer(found)
        limits.offer(who.client(server.network), 9.0)
        return told

    assert told(1).answer.kind == OFFER
    assert told(1).answer.kind == OFFER
    often = told(1)
    assert often.answer is Silence.FLOOD
    assert often.reason == (
        "the client asks more often than client-limit allows, for 5.0 s more;"
        " afterwards: it was offered this address already"
    )
    assert often.told.rule == "offered"
    assert told(2).answer.kind == OFFER
    crowd = told(3)
    assert crowd.answer is Silence.FLOOD
    assert crowd.reason.startswith("those of its port ask more often than port-limit")
    assert told(3, b"p6").answer.kind == OFFER


def test_storage_that_owes_too_many_answers():
    """What is not asked for that reason is silence, too."""
    clock = Clock()
    net, _ = made()

    class Slow(MemoryStorage):
        def offer(self, client, when):
            """Some day."""
            return Deferred()

    storage = Slow(net)
    limits = Deadline(storage, clock, 3.0, 1)
    responder = Responder(net)
    raw, via = asks().raw, Via("eth0", ip("192.0.2.1"))
    everything = FloodLimit(limits, None)
    assert everything.refusal(FakeClient().client(net), 9.0) is None
    limits.offer(FakeClient().client(net), 9.0)
    told = answer(
        foretell(responder, storage, raw, via, "0.0.0.0", 9.0, everything.refusal)
    )
    assert told.answer is Silence.STORAGE_BUSY
    assert told.reason.startswith("the storage is busy: it owes 1 answers")
    limits.stop()


# --- origins ----------------------------------------------------------------------


def origins(told):
    """From whom each part of a reply comes."""
    parts = parts_of(told, told.exchange, told.answer)
    fields = {each.name: (each.value, each.origin) for each in parts.fields}
    return parts, {each.code: each.origin for each in parts.options} | fields


def test_origins():
    """Its own wins over its class, that over the subnet; the rest is the server's."""
    own = Settings(
        {42: bytes((192, 0, 2, 5))},
        next_server=ip("192.0.2.9"),
        hostname="printer",
        rebinding_time=180,
        client_class="pxe",
    )
    reservation = Reservation(
        FIRST, hardware=FakeClient().hardware, settings=own, source="netbox"
    )
    message = FakeClient(identifier=b"me!").message(
        DISCOVER,
        giaddr=RELAY,
        options={51: (200).to_bytes(4, "big"), 82: b"\1\2p5"},
    )
    told = foretold(message, lambda net: MemoryStorage(net, [reservation]))
    parts, found = origins(told)
    assert found == {
        53: "server",
        54: "server",
        51: "client",
        58: "subnet lan",
        59: "reservation",
        1: "subnet lan",
        28: "subnet lan",
        3: "subnet lan",
        15: "class pxe",
        42: "reservation",
        12: "reservation",
        61: "client",
        82: "relay",
        "next_server": ("192.0.2.9", "reservation"),
        "boot_file": ("pxe.0", "class pxe"),
    }
    assert parts.left_out == (119,)  # 400 bytes, and no request list
    assert (parts.not_asked, parts.not_set) == ((), ())


def test_origins_of_a_stranger():
    """What a storage says without a reservation is the storage's."""
    own = Settings({15: b"mine.example"}, client_class="pxe", renewal_time=5)
    lease = Lease(ip("192.0.2.77"), duration=61, settings=own)
    nothing = Reservation(hardware=FakeClient().hardware)
    message = asks(options={55: bytes([15, 1, 3, 42, 252])})
    told = foretold(message, saying(lease, nothing))
    parts, found = origins(told)
    assert (found[15], found[51], found[58]) == ("storage", "storage", "storage")
    assert found[59] == "server"
    assert parts.not_asked == (28, 119)
    assert parts.not_set == (42, 252)


def test_options_that_spill():
    """What does not fit goes into other fields, and an empty file name takes one away."""
    own = Settings(
        dict.fromkeys(range(224, 230), b"x" * 50), boot_file="", next_server=0
    )
    message = asks(options={55: bytes([1, *range(224, 230)])})
    parts, found = origins(
        foretold(message, saying(Lease(FIRST, duration=60, settings=own)))
    )
    assert parts.left_out == ()
    assert found[229] == "storage"
    assert not {"boot_file", "next_server"} & found.keys()


def test_nothing_is_left_out_that_was_never_meant():
    """An identifier of one byte is none, and does not come back."""
    message = FakeClient(identifier=b"x").message(DISCOVER, options={55: b"\1"})
    assert origins(foretold(message))[0].left_out == ()


def test_times_that_do_not_fit():
    """T1 of the subnet that is longer than the lease gives way, and is the server's."""
    told = foretold(asks(options={51: (80).to_bytes(4, "big")}))
    assert origins(told)[1][58] == "server"


def test_class_that_is_not_there():
    """It is told to who asks, and not to the log; the reply is the same."""
    own = Settings({15: b"mine.example"}, client_class="gone")
    told = foretold(asks(), saying(Lease(FIRST, duration=60, settings=own)))
    assert told.unknown_class == "gone"
    assert origins(told)[1][15] == "storage"
    inform = asks(MessageType.INFORM, ciaddr="192.0.2.10")
    told = foretold(inform, saying(Settings(client_class="gone")))
    assert (told.unknown_class, told.answer.kind) == ("gone", ACK)
    assert origins(told)[1][15] == "subnet lan"


def test_origins_of_a_nak():
    """A NAK has nothing of anybody's but the server's word."""
    took = asks(REQUEST, requested="192.0.2.200", server="192.0.2.1")
    parts, found = origins(foretold(took))
    assert found == {53: "server", 54: "server", 56: "server"}
    assert parts.left_out == parts.not_asked == parts.not_set == ()
