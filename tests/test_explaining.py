"""`commands.Explain`: what is asked, what is said, to whom; and that nothing changes."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest
import pytest_twisted
from pictures import picture
from test_control import FakeProber, World
from twisted.internet.defer import Deferred
from zope.interface import implementer

from dhcptwist.control import explaining
from dhcptwist.control.errors import (
    InvalidRequest,
    NotPermitted,
    NotSupported,
    StorageFailed,
)
from dhcptwist.interfaces import IExplainer, IStorage
from dhcptwist.lease import Reservation, Settings
from dhcptwist.network import Via
from dhcptwist.testing import FakeClient, ip, subnet
from dhcptwist.wire import Message, MessageType


MAC = "02:00:00:00:00:01"
OTHER = "02:00:00:00:00:02"
FIRST = "192.0.2.10"
RELAY = "10.9.9.1"
DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST


class Explained(World):
    """A server in memory that explains itself."""

    def __init__(self, *subnets, vias=(), **keys):
        super().__init__(*subnets, **keys)
        self.control._responder = self.packets.protocol.responder
        self.control._vias = tuple(vias) or (
            Via("eth0", ip("192.0.2.1"), frames=True),
            Via("eth0", ip("192.0.2.1"), unicast=True, frames=True),
        )

    async def explain(self, name="admin", **asked):
        """What is said, and that it has changed nothing."""
        pool = hasattr(self.storage, "index")
        before = pool and picture(self.storage), self.packets.counters.figures()
        found = await self.client(name).explain(**asked)
        after = pool and picture(self.storage), self.packets.counters.figures()
        assert after == before
        assert json.loads(json.dumps(found)) == found
        return found


@pytest.fixture
def world():
    """One subnet with a relay, and another one beside it."""
    return Explained(
        subnet(relays=frozenset({ip(RELAY)}), options={3: bytes((192, 0, 2, 1))}),
        subnet("198.51.100.0/24", "198.51.100.10", name="far"),
    )


@pytest_twisted.ensureDeferred
async def test_everything_that_is_said(world):
    """All of a document, for one client."""
    settings = Settings({42: bytes((192, 0, 2, 5))}, client_class="gone")
    who = FakeClient(MAC)
    await world.storage.reserve(
        Reservation(
            ip("192.0.2.11"),
            hardware=who.hardware,
            settings=settings,
            source="netbox",
            expires=2000.0,
        ),
        1000.0,
    )
    holder = world.bind(FakeClient(OTHER))
    found = await world.explain(
        hardware=MAC,
        relay=RELAY,
        circuit_id="port 7",
        remote_id="hex:00ff",
        address=holder,
        options={"host-name": "laptop", "55": "hex:0103060c2a"},
    )
    reply = found["reply"]
    packet = Message.decode(bytes.fromhex(reply.pop("packet")))
    assert packet.yiaddr == ip("192.0.2.11")
    assert found == {
        "answer": "OFFER",
        "reason": f"reserved for hardware address {MAC} by netbox",
        "silence": None,
        "message": {
            "type": "DISCOVER",
            "interface": "eth0",
            "to_us": True,
            "hardware": MAC,
            "client_id": "",
            "hostname": "laptop",
            "ciaddr": None,
            "requested": holder,
            "relay": RELAY,
            "circuit_id": "port 7",
            "remote_id": "hex:00ff",
        },
        "client": {
            "state": "INIT",
            "known_by": "hardware",
            "key": MAC,
            "taken_for": None,
        },
        "subnets": [{"name": "lan", "network": "192.0.2.0/24"}],
        "subnets_by": "giaddr",
        "storage": {
            "rule": "reserved",
            "reason": f"reserved for hardware address {MAC} by netbox",
            "until": None,
            "reservation": {
                "address": "192.0.2.11",
                "hardware": MAC,
                "client_id": "",
                "circuit_id": "",
                "remote_id": "",
                "hostname": "",
                "options": {"ntp-servers": "192.0.2.5"},
                "next_server": None,
                "boot_file": None,
                "server_name": None,
                "source": "netbox",
                "on_conflict": "wait",
                "expires": 2000.0,
            },
            "passed": [],
            "notes": [],
        },
        "class": {"name": "gone", "by": "reservation", "known": False},
        "reply": reply,
    }
    options = [(each["name"], each["value"], each["from"]) for each in reply["options"]]
    assert options[:3] == [
        ("dhcp-message-type", "offer", "server"),
        ("dhcp-server-identifier", "192.0.2.1", "server"),
        ("dhcp-lease-time", "3600", "subnet lan"),
    ]
    assert options[5:] == [
        ("subnet-mask", "255.255.255.0", "subnet lan"),
        ("routers", "192.0.2.1", "subnet lan"),
        ("ntp-servers", "192.0.2.5", "reservation"),
        (
            "dhcp-agent-options",
            'circuit-id="port 7"; remote-id=hex:00ff',
            "relay",
        ),
    ]
    assert (reply["address"], reply["lease_time"]) == ("192.0.2.11", 3600)
    assert (reply["server"], reply["fields"]) == ("192.0.2.1", [])
    assert reply["not_asked"] == ["broadcast-address"]
    assert reply["not_set"] == ["domain-name-servers", "host-name"]
    assert reply["left_out"] == []
    assert reply["to"] == {
        "address": RELAY,
        "port": 67,
        "hardware": None,
        "interface": "eth0",
        "reason": "to the relay (giaddr)",
    }


@pytest.mark.parametrize(
    ("kind", "kind_name", "state", "answer"),
    [
        (None, "DISCOVER", "INIT", "OFFER"),
        ("discover", "DISCOVER", "INIT", "OFFER"),
        ("request", "REQUEST", "SELECTING", "ACK"),
        ("reboot", "REQUEST", "INIT_REBOOT", "ACK"),
        ("renew", "REQUEST", "RENEWING", "ACK"),
        ("rebind", "REQUEST", "REBINDING", "ACK"),
        ("inform", "INFORM", "BOUND", "ACK"),
        ("release", "RELEASE", "BOUND", "silence"),
        ("decline", "DECLINE", "BOUND", "silence"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_kinds(world, kind, kind_name, state, answer):
    """Each message that a client sends, for the address that it has."""
    mine = world.bind(FakeClient(MAC))
    found = await world.explain(hardware=MAC, kind=kind)
    assert found["message"]["type"] == kind_name
    assert found["client"]["state"] == state
    assert found["answer"] == answer
    if answer == "silence":
        assert found["silence"] in {"released", "declined"}
    else:
        given = None if kind == "inform" else mine
        assert found["reply"]["address"] == given


@pytest_twisted.ensureDeferred
async def test_offers_are_what_is_asked_for(world):
    """A client that takes an offer asks for the one that it would get."""
    world.bind(FakeClient(OTHER))
    found = await world.explain(hardware=MAC, kind="request")
    assert (found["answer"], found["reply"]["address"]) == ("ACK", "192.0.2.11")
    with pytest.raises(InvalidRequest, match="would be offered none"):
        await world.explain(hardware=MAC, kind="request", relay="10.1.1.1")


@pytest_twisted.ensureDeferred
async def test_offers_of_another_server(world):
    """Whose offer a client takes may be said."""
    found = await world.explain(
        hardware=MAC, kind="request", options={"54": "192.0.2.2"}
    )
    assert found["silence"] == "not-for-us"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("192.0.2.1", "is the server's own"),
        ("192.0.2.3", "is a relay's"),
        ("192.0.2.99", "is in no pool of lan"),
        ("9.9.9.9", "is not on its link"),
        ("192.0.2.11", "is reserved for hardware address 02:00:00:00:00:0b by netbox"),
        ("192.0.2.12", "is offered to 02:00:00:00:00:02"),
        ("192.0.2.13", "rests, for 02:00:00:00:00:03 found it in use"),
        ("192.0.2.10", "is leased to 02:00:00:00:00:04"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_why_not_the_one_it_asks_for(wish, why):
    """What it asks for and does not get is passed over for a reason."""
    world = Explained(subnet(pool="192.0.2.10-192.0.2.14"))
    one, two, three = (FakeClient(f"02:00:00:00:00:0{n}") for n in (4, 2, 3))
    world.bind(one)
    owner = FakeClient("02:00:00:00:00:0b").hardware
    reserved = Reservation(ip("192.0.2.11"), hardware=owner, source="netbox")
    await world.storage.reserve(reserved, 1.0)
    world.packets.receive(two.message(DISCOVER, requested="192.0.2.12"))
    world.bind(three, options={50: bytes((192, 0, 2, 13))})
    world.packets.receive(three.message(MessageType.DECLINE, requested="192.0.2.13"))
    found = await world.explain(hardware=MAC, address=wish, relay="192.0.2.3")
    [passed] = found["storage"]["passed"]
    assert (passed["address"], passed["reason"]) == (wish, why)
    assert found["reply"]["address"] == "192.0.2.14"


@pytest_twisted.ensureDeferred
async def test_no_lease_to_ask_for(world):
    """Who has none has to say what it asks for."""
    for kind in ("renew", "rebind", "reboot", "inform", "release", "decline"):
        with pytest.raises(InvalidRequest, match="it has no lease; which address"):
            await world.explain(hardware=MAC, kind=kind)
    who = FakeClient(MAC)
    mine = world.bind(who)
    world.packets.receive(who.message(MessageType.RELEASE, ciaddr=mine))
    with pytest.raises(InvalidRequest, match="it has no lease; which address"):
        await world.explain(hardware=MAC, kind="renew")
    found = await world.explain(hardware=MAC, kind="renew", address="9.9.9.9")
    assert found["answer"] == "NAK"
    assert found["reply"]["options"][2]["value"] == "wrong network"
    world.control._storage = Silent(lambda: None)
    with pytest.raises(InvalidRequest, match="it has no lease"):
        await world.explain(hardware=MAC, kind="renew")


@pytest_twisted.ensureDeferred
async def test_client_identifier(world):
    """A client may be known by that alone, or be known again by its hardware."""
    who = FakeClient(MAC, b"laptop!")
    mine = world.bind(who)
    found = await world.explain(client_id="laptop!", kind="renew")
    assert (found["answer"], found["reply"]["address"]) == ("ACK", mine)
    assert found["client"]["known_by"] == "client_id"
    assert found["client"]["key"] == "laptop!"
    found = await world.explain(hardware=MAC)
    assert found["client"]["key"] == MAC
    assert found["client"]["taken_for"] == "laptop!"
    assert found["reply"]["address"] == mine


@pytest.mark.parametrize(
    ("keys", "fields", "goes"),
    [
        ({}, {}, "in a frame, for the client has no address yet"),
        ({}, {"flags": 0x8000}, "for the client wants it so (broadcast flag)"),
        ({"broadcast_always": True}, {}, "the subnet wants it so"),
        ({}, {"htype": 6}, "a frame cannot be sent to htype 6"),
        ({}, {"chaddr": b"\3" * 6}, "cannot be sent to its hardware address"),
        ({}, {"kind": 8}, "for nobody knows the client's address"),
        ({}, {"kind": 8, "ciaddr": FIRST}, "to the address it has (ciaddr)"),
        ({}, {"kind": 3, "ciaddr": "9.9.9.9"}, "as every NAK that no relay hands on"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ways(keys, fields, goes):
    """Where a reply goes, and why there."""
    world = Explained(subnet(**keys))
    kind = MessageType(fields.pop("kind", 1))
    packet = FakeClient(MAC).message(kind, **fields).raw
    found = await world.explain(packet=packet)
    assert goes in found["reply"]["to"]["reason"]


@pytest_twisted.ensureDeferred
async def test_other_ways(world):
    """Where the interface, or where the packet came from, says how."""
    packet = FakeClient(MAC).message(MessageType.INFORM).raw
    found = await world.explain(packet=packet, source="192.0.2.77")
    to = found["reply"]["to"]
    assert (to["address"], to["reason"]) == ("192.0.2.77", "to where it came from")
    packet = FakeClient(MAC).message(REQUEST, ciaddr="198.51.100.10").raw
    found = await world.explain(packet=packet, destination="192.0.2.1")
    assert found["answer"] == "NAK"
    assert found["reply"]["to"]["address"] == "198.51.100.10"
    assert "from behind a router" in found["reply"]["to"]["reason"]
    plain = Explained(vias=[Via("eth0", ip("192.0.2.1"))])
    to = (await plain.explain(hardware=MAC))["reply"]["to"]
    assert to["address"] == "255.255.255.255"
    assert to["reason"].endswith("for no frames can be sent on eth0")


# --- where it comes in ------------------------------------------------------------


def several():
    """A server on two networks, and on loopback."""
    vias = [
        Via(name, ip(address), unicast=unicast)
        for name, address in (
            ("lo", "127.0.0.1"),
            ("eth0", "192.0.2.1"),
            ("eth1", "198.51.100.1"),
        )
        for unicast in (False, True)
    ]
    return Explained(
        subnet(relays=frozenset({ip("127.0.0.2"), ip(RELAY)})),
        subnet("198.51.100.0/24", "198.51.100.10", name="far", interface="eth1"),
        vias=vias,
    )


@pytest.mark.parametrize(
    ("asked", "interface", "direct"),
    [
        ({"interface": "eth1"}, "eth1", False),
        ({"interface": "eth0", "kind": "renew", "address": FIRST}, "eth0", True),
        ({"relay": "198.51.100.3"}, "eth1", True),
        ({"relay": RELAY}, "eth0", True),
        ({"relay": "127.0.0.2"}, "lo", True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_interfaces(asked, interface, direct):
    """The one that is named, else the one where its relay would be heard."""
    found = await several().explain(hardware=MAC, **asked)
    assert found["message"]["interface"] == interface
    assert found["message"]["to_us"] is direct


@pytest.mark.parametrize(
    ("keys", "interface", "direct"),
    [
        ({"destination": "198.51.100.1"}, "eth1", True),
        ({"destination": "192.0.2.1"}, "eth0", True),
        ({"destination": "255.255.255.255", "interface": "eth1"}, "eth1", False),
        ({"interface": "eth1"}, "eth1", False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_interfaces_of_packets(keys, interface, direct):
    """Where it was sent to tells it as well."""
    packet = FakeClient(MAC).message(REQUEST, ciaddr=FIRST).raw
    found = await several().explain(packet=packet, **keys)
    assert found["message"]["interface"] == interface
    assert found["message"]["to_us"] is direct
    relayed = FakeClient(MAC).message(DISCOVER, giaddr="198.51.100.3").raw
    found = await several().explain(packet=relayed)
    assert found["message"]["to_us"]


@pytest_twisted.ensureDeferred
async def test_one_interface_and_loopback():
    """Loopback is not meant, unless the relay is there or there is nothing else."""
    world = several()
    world.control._vias = world.control._vias[:4]
    for relay, name in ((None, "eth0"), (RELAY, "eth0"), ("127.0.0.2", "lo")):
        found = await world.explain(hardware=MAC, relay=relay)
        assert found["message"]["interface"] == name
    world.control._vias = world.control._vias[:2]
    found = await world.explain(hardware=MAC)
    assert found["message"]["interface"] == "lo"


@pytest_twisted.ensureDeferred
async def test_unclear_interfaces():
    """One that is not there, or none where there are several, is said."""
    for asked in ({"hardware": MAC}, {"packet": FakeClient(MAC).message(DISCOVER).raw}):
        with pytest.raises(InvalidRequest, match=r"which one .* lo, eth0, eth1"):
            await several().explain(**asked)
        with pytest.raises(InvalidRequest, match="'eth7' is none that is served"):
            await several().explain(**asked, interface="eth7")


# --- hostile ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "which client"),
        ({"hardware": ""}, "which client"),
        ({"hardware": "zz"}, "hardware: 'zz' is not a hardware address"),
        ({"hardware": "00:11"}, "hardware: "),
        ({"client_id": "hex:0"}, "client_id: "),
        ({"hardware": MAC, "kind": "offer"}, "kind: 'offer' is none of discover"),
        ({"hardware": MAC, "kind": "\x1b[2J"}, "kind: '\\\\\\\\x1b"),
        ({"hardware": MAC, "address": "192.0.2"}, "address: "),
        ({"hardware": MAC, "relay": "\x1b[2J"}, "relay: .* is not an IPv4 address"),
        ({"hardware": MAC, "source": "192.0.2.1"}, "source: is only said of a packet"),
        ({"hardware": MAC, "kind": "renew", "relay": RELAY}, "relay: .* itself"),
        ({"hardware": MAC, "kind": "release", "circuit_id": "x"}, "relay: .* itself"),
        ({"hardware": MAC, "circuit_id": "x" * 256}, "circuit_id: .* 255"),
        ({"hardware": MAC, "options": []}, "options: must be an object"),
        ({"hardware": MAC, "options": ["routers"]}, "options: must be an object"),
        (
            {"hardware": MAC, "options": {"nonsense": "1"}},
            "option nonsense: there is no",
        ),
        ({"hardware": MAC, "options": {"0": "hex:"}}, "option 0: "),
        ({"hardware": MAC, "options": {"255": "hex:"}}, "option 255: "),
        ({"hardware": MAC, "options": {"\x1b[2J": "1"}}, "option "),
        ({"hardware": MAC, "options": {"routers": "zz"}}, "option routers: "),
        ({"hardware": MAC, "options": {"routers": None}}, "option routers: "),
        ({"hardware": MAC, "options": {"routers": {"a": [1]}}}, "option routers: "),
        ({"hardware": MAC, "options": {"host-name": "hex:zz"}}, "option host-name: "),
        (
            {"hardware": MAC, "options": {"53": "hex:05"}},
            "option 53: is what kind says",
        ),
        ({"hardware": MAC, "options": {"12": "a", "host-name": "b"}}, "is given twice"),
        (
            {"hardware": MAC, "client_id": "x", "options": {"61": "hex:0102"}},
            "option 61: is given twice",
        ),
        (
            {"hardware": MAC, "address": FIRST, "options": {"50": "192.0.2.1"}},
            "option 50: is given twice",
        ),
        (
            {"hardware": MAC, "circuit_id": "x", "options": {"82": "hex:010178"}},
            "option 82: is given twice",
        ),
        (
            {"hardware": MAC, "options": {str(n): "x" * 30000 for n in (12, 15, 17)}},
            "too long|at most",
        ),
        (
            {"hardware": MAC, "client_id": "x" * 30000, "options": {"12": "x" * 40000}},
            "at most 65535",
        ),
        ({"packet": b"", "hardware": MAC}, "hardware: stands in the packet"),
        ({"packet": b"", "options": {"12": "x"}}, "options: stands in the packet"),
        ({"packet": b"", "source": "x"}, "source: 'x' is not an IPv4 address"),
        ({"packet": b"", "destination": "9.9"}, "destination: '9.9' is not"),
        ({"packet": bytes(65536)}, "packet.* is too long"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_hostile_arguments(world, asked, reason):
    """What makes no sense is one clear error, and the connection goes on."""
    client = world.client()
    with pytest.raises(InvalidRequest, match=reason) as raised:
        await client.explain(**asked)
    assert "\x1b" not in str(raised.value)
    assert (await client.explain(hardware=MAC))["answer"] == "OFFER"


@pytest.mark.parametrize(
    "packet",
    [b"", b"\1" * 27, b"\1" * 235, bytes(236), bytes(65535), b"\xff" * 65535],
)
@pytest_twisted.ensureDeferred
async def test_hostile_packets(world, packet):
    """What is no client's message is explained as that."""
    found = await world.explain(packet=packet)
    assert found["answer"] == "silence"
    assert found["reason"]


@pytest_twisted.ensureDeferred
async def test_options_as_json_has_them(world):
    """Values may be lists and numbers, and option 82 be given whole."""
    found = await world.explain(
        hardware=MAC,
        relay=RELAY,
        options={
            "dhcp-parameter-request-list": [3, 1],
            "51": 99999,
            "82": 'circuit-id="p5"; link-selection=192.0.2.0',
            "dhcp-client-identifier": "hex:ff0102",
        },
    )
    assert found["subnets_by"] == "link-selection"
    assert found["client"]["key"] == "hex:ff0102"
    assert found["message"]["circuit_id"] == "p5"


@pytest_twisted.ensureDeferred
async def test_long_words(world):
    """Whatever somebody else has written at length is cut short."""
    who = FakeClient(
        MAC, b"\xff" * 30000, {12: b"\xfe" * 30000, 82: b"\1\xff" + b"x" * 255}
    )
    found = await world.explain(packet=who.message(DISCOVER, giaddr=RELAY).raw)
    assert found["answer"] == "OFFER"
    assert found["client"]["key"] == "hex:" + "ff" * 498 + "…"
    assert "dhcp-client-identifier" in found["reply"]["left_out"]

    def fail():
        raise OSError("no" * 99999)

    found = await Explained(storage=Silent(fail)).explain(hardware=MAC)
    assert len(found["reason"]) == 1001


@pytest_twisted.ensureDeferred
async def test_largest_answer(world):
    """The longest reply there is fits an answer."""
    long = dict.fromkeys(range(224, 254), b"x" * 255)
    who = FakeClient(MAC)
    await world.storage.reserve(
        Reservation(hardware=who.hardware, settings=Settings(long), source="a"), 1.0
    )
    found = await world.explain(hardware=MAC, options={"57": 65535})
    assert found["answer"] == "OFFER"
    assert found["reply"]["left_out"]


# --- who may ----------------------------------------------------------------------


NEAR = IPv4Network("192.0.2.0/24")


def ruled(*networks, verb="explain"):
    """A server with a role."""
    return Explained(
        subnet(),
        subnet("198.51.100.0/24", "198.51.100.10", name="far"),
        roles=[("netbox", [verb], networks)],
    )


@pytest_twisted.ensureDeferred
async def test_roles():
    """It takes the verb, and networks that hold the client's subnets whole."""
    for name, world in (("netbox", ruled(verb="list")), ("nobody", ruled())):
        with pytest.raises(NotPermitted, match="may not explain"):
            await world.explain(name, hardware=MAC)
    for nets in ((), (NEAR,), (IPv4Network("192.0.0.0/16"),)):
        assert (await ruled(*nets).explain("netbox", hardware=MAC))["answer"] == "OFFER"
    for nets in ((IPv4Network("198.51.100.0/24"),), (IPv4Network("192.0.2.0/25"),)):
        with pytest.raises(NotPermitted, match="other networks than its own"):
            await ruled(*nets).explain("netbox", hardware=MAC)
    far = {"hardware": MAC, "relay": "198.51.100.3"}
    with pytest.raises(NotPermitted, match="other networks"):
        await ruled(NEAR).explain("netbox", **far)
    # Of a packet that begins nothing there is nothing to hide.
    found = await ruled(NEAR).explain("netbox", hardware=MAC, relay="10.1.1.1")
    assert found["silence"] == "no-subnet"


@pytest_twisted.ensureDeferred
async def test_what_a_role_does_not_see():
    """Reservations and leases elsewhere are not spoken of."""
    world = ruled(NEAR)
    who = FakeClient(MAC)
    await world.storage.reserve(
        Reservation(ip("198.51.100.10"), hardware=who.hardware, source="x"), 1.0
    )
    found = (await world.explain(hardware=MAC))["storage"]
    [note] = found["notes"]
    assert note.startswith("198.51.100.10, which is reserved for hardware address 02:")
    assert note.endswith(" by x, is not on its link")
    text = json.dumps(await world.explain("netbox", hardware=MAC))
    assert "198.51.100.10" not in text
    await world.storage.cancel(world.storage.reservations(None, 9, None)[0], 1.0)
    near = FakeClient(OTHER, options={12: b"999.999.999.999"})
    port = Reservation(ip(world.bind(near)), circuit_id=b"p5", source="x")
    world.storage.prober = FakeProber()
    await world.storage.reserve(port, 1000.0)
    swapped = FakeClient(OTHER, options={12: b"999.999.999.999", 82: b"\1\2p5"})
    world.bind(swapped)
    found = await world.explain("netbox", hardware=MAC, circuit_id="p5")
    assert "999.999.999.999" in found["storage"]["notes"][0]
    world.bind(who, giaddr="198.51.100.3")
    assert (await world.explain(hardware=MAC, kind="renew"))["answer"] == "ACK"
    with pytest.raises(InvalidRequest, match="it has no lease"):
        await world.explain("netbox", hardware=MAC, kind="renew")


@pytest_twisted.ensureDeferred
async def test_reservations_that_lead_elsewhere():
    """A storage's own may name an address of another's network."""
    world = ruled(NEAR)
    who = FakeClient(MAC)
    far = Reservation(ip("198.51.100.10"), hardware=who.hardware)
    world.storage.reservation_for = lambda _: far
    found = (await world.explain(hardware=MAC))["storage"]
    assert found["reservation"]["address"] == "198.51.100.10"
    assert "198.51.100.10" in found["notes"][0]
    found = (await world.explain("netbox", hardware=MAC))["storage"]
    assert (found["reservation"], found["notes"]) == (None, [])


@pytest_twisted.ensureDeferred
async def test_no_subnets_at_all():
    """Where only a storage knows networks, a role with networks has none of them."""
    world = ruled(NEAR)
    responder = world.control._responder
    responder.network = type(responder.network)([])
    assert (await world.explain(hardware=MAC))["subnets"] == []
    with pytest.raises(NotPermitted, match="other networks"):
        await world.explain("netbox", hardware=MAC)


# --- storages of one's own --------------------------------------------------------


@implementer(IStorage, IExplainer)
class Silent:
    """Explains itself some day."""

    def __init__(self, explain):
        self._explain = explain

    def explain(self, client, address, when):
        """Maybe."""
        return self._explain()


@implementer(IStorage)
class Own:
    """Decides, and says nothing of it."""


@pytest_twisted.ensureDeferred
async def test_storage_of_ones_own():
    """All but its decision is explained."""
    world = Explained(storage=Own())
    found = await world.explain(hardware=MAC)
    assert (found["answer"], found["storage"], found["reply"]) == (
        "unknown",
        None,
        None,
    )
    assert "the storage decides, by its offer()" in found["reason"]
    assert [each["name"] for each in found["subnets"]] == ["lan"]


@pytest_twisted.ensureDeferred
async def test_storage_that_never_answers(monkeypatch):
    """Is waited for for a while, and the question taken back."""
    monkeypatch.setattr(explaining, "PATIENCE", 0.01)
    asked = []

    def never():
        asked.append(Deferred(lambda _: asked.append("cancelled")))
        return asked[0]

    world = Explained(storage=Silent(never))
    with pytest.raises(StorageFailed, match=r"not explained itself within 0\.01 s"):
        await world.explain(hardware=MAC)
    assert asked[1:] == ["cancelled"]


@pytest_twisted.ensureDeferred
async def test_storage_that_fails():
    """Its client would get no answer; why is said."""

    def fail():
        raise OSError("no database")

    found = await Explained(storage=Silent(fail)).explain(hardware=MAC)
    assert found["silence"] == "storage-failed"
    assert found["reason"] == "the storage fails: no database"


@pytest_twisted.ensureDeferred
async def test_server_without_packets():
    """A control channel of its own has nothing to explain."""
    with pytest.raises(NotSupported, match="hears no packets"):
        await World().client().explain(hardware=MAC)
