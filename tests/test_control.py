"""The commands of the control channel: what they do, what they say, who may give them."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from ipaddress import IPv4Address
from math import inf

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address as Address
from twisted.internet.defer import ensureDeferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from dhcptwist.config import Role
from dhcptwist.control import commands
from dhcptwist.control.answering import PAGE_LENGTH, ControlServer
from dhcptwist.control.caller import Caller
from dhcptwist.control.client import ControlClient
from dhcptwist.control.connecting import Connection
from dhcptwist.control.errors import (
    AddressInUse,
    CommandError,
    InvalidRequest,
    NotFound,
    NotPermitted,
    NotSupported,
    ReservedByOther,
    StorageFailed,
)
from dhcptwist.control.server import Answers
from dhcptwist.control.values import format_place, parse_place
from dhcptwist.interfaces import ILeases, IProber, IReservations, IStorage
from dhcptwist.lease import OnConflict, Reservation
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite import SQLiteStorage
from dhcptwist.testing import FakeClient, MemoryServer, ip, network, subnet
from dhcptwist.wire import MessageType, relay as option_82
from dhcptwist.wire.codes import INFINITE


REQUEST, RELEASE = MessageType.REQUEST, MessageType.RELEASE
ACK, NAK = MessageType.ACK, MessageType.NAK
FIRST = "192.0.2.10"
OWNER = "02:00:00:00:00:0b"


class Wire:
    """A transport to somebody in this process."""

    def __init__(self):
        self.other = None
        self.is_open = True

    def write(self, data):
        """What is written arrives in a later turn, as from a network."""
        self._later(lambda: self.other.dataReceived(data))

    def loseConnection(self):
        """Both sides hear of it."""
        if self.is_open:
            self.is_open = self.other.transport.is_open = False
            for each in (self.other, self.other.transport.other):
                self._later(
                    lambda each=each: each.connectionLost(Failure(ConnectionDone()))
                )

    def abortConnection(self):
        """Nothing is on its way here that could be kept from arriving."""
        self.loseConnection()

    @staticmethod
    def _later(function):
        from twisted.internet import reactor

        reactor.callLater(0, function)

    def getPeer(self):
        """For Twisted's log."""
        return Address("TCP", "192.0.2.99", 1)

    def getHost(self):
        """The same."""
        return self.getPeer()


@implementer(IProber)
class FakeProber:
    """Says what it is told to say."""

    def __init__(self):
        self.answers = False
        self.asked = []

    def probe(self, address, subnet):
        """At once."""
        self.asked.append(str(IPv4Address(address)))
        return succeed(self.answers)


class Peer(amp.AMP):
    """The server's end of a connection."""

    def __init__(self, control, caller):
        self._answers = Answers(control, caller, self)
        super().__init__(locator=self._answers)

    def connectionLost(self, reason=connectionDone):
        """The other end has gone."""
        super().connectionLost(reason)
        self._answers.closed()


class World:
    """A server in memory: packets on one side, commands on the other."""

    def __init__(self, *subnets, reservations=(), storage=None, roles=(), prober=None):
        from twisted.internet import reactor

        self.network = network(*subnets)
        if storage is None:
            storage = MemoryStorage(self.network, reservations, prober=prober)
        self.storage = storage
        self.packets = MemoryServer(self.network, storage)
        self.control = ControlServer(
            storage,
            self.network,
            lambda: self.packets.now,
            lambda: {"version": "1", "uptime": 5},
            [Role(name, frozenset(verbs), nets) for name, verbs, nets in roles],
            reactor=reactor,
        )

    def client(self, name="admin"):
        """A connection of somebody with a certificate of this name."""
        from twisted.internet import reactor

        def caller():
            return Caller(name, self.control.roles.get(name))

        there, here = Wire(), Wire()
        protocol, mine = Peer(self.control, caller), Connection()
        there.other, here.other = mine, protocol
        protocol.makeConnection(there)
        mine.makeConnection(here)
        mine.handshakeCompleted()
        return ControlClient(mine, "memory", reactor, 10.0)

    def renew(self, who, address=FIRST):
        """What a renewal gets: its message type, and the seconds if it is an ACK."""
        got = self.packets.receive(who.message(REQUEST, ciaddr=address))
        return got.message.type, got.message.get(51)

    def bind(self, who, **fields):
        """The address that a client gets."""
        return str(IPv4Address(self.packets.bind(who, **fields).yiaddr))


@pytest.fixture
def prober():
    """A prober; nobody answers until told otherwise."""
    return FakeProber()


@pytest.fixture
def world(prober):
    """One subnet with four addresses, and three who may do something."""
    return World(
        reservations=[
            Reservation(
                ip("192.0.2.99"), hardware=FakeClient("02:00:00:00:00:99").hardware
            )
        ],
        roles=[
            ("netbox", {"reserve", "cancel", "list"}, ()),
            ("members", {"reserve", "cancel", "list"}, ()),
        ],
        prober=prober,
    )


@pytest.fixture
def admin(world):
    """The connection of who may do everything."""
    return world.client()


@pytest.fixture
def holder():
    """The client that has an address."""
    return FakeClient("02:00:00:00:00:0a", options={12: b"laptop"})


@pytest.fixture
def owner():
    """The client that it is reserved for."""
    return FakeClient(OWNER)


@pytest.fixture
def logged():
    """What was logged meanwhile, as text."""
    found = []

    def observe(event):
        found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


async def every(pages):
    """All that a list has."""
    return [each async for each in pages]


async def addresses(client, source=None):
    """The reserved addresses."""
    return [each["address"] for each in await every(client.reservations(source))]


def fields(verdict):
    """A verdict as a tuple."""
    return verdict.outcome, verdict.holder, verdict.until


def facade(storage, *interfaces):
    """A storage that provides only some of its interfaces."""

    class Facade:
        def __getattr__(self, name):
            return getattr(storage, name)

    made = Facade()
    directlyProvides(made, *interfaces)
    return made


class TestVerdicts:
    """DESIGN's table, row by row, as the caller sees it."""

    @pytest.mark.parametrize("conflict", [*OnConflict, None])
    @pytest_twisted.ensureDeferred
    async def test_free(self, world, admin, owner, holder, conflict):
        """Free: applied, and in force with the next packet."""
        conflict = conflict and conflict.value
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict=conflict)
        assert fields(verdict) == ("applied", "", None)
        assert world.bind(holder) == "192.0.2.11"
        assert world.bind(owner) == FIRST

    @pytest.mark.parametrize("conflict", list(OnConflict))
    @pytest_twisted.ensureDeferred
    async def test_its_own(self, world, admin, owner, conflict):
        """Already this client's: applied, and it keeps it."""
        assert world.bind(owner) == FIRST
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict=conflict.value)
        assert fields(verdict) == ("applied", "", None)
        assert world.renew(owner) == (ACK, 3600)

    @pytest_twisted.ensureDeferred
    async def test_refuse(self, world, admin, holder):
        """Refuse: an error with the holder and its time; nothing changed."""
        world.bind(holder)
        with pytest.raises(AddressInUse) as told:
            await admin.reserve(FIRST, hardware=OWNER, on_conflict="refuse")
        assert told.value.details == {
            "holder": "02:00:00:00:00:0a (laptop)",
            "until": world.packets.now + 3600,
        }
        assert "02:00:00:00:00:0a (laptop)" in str(told.value)
        assert await addresses(admin) == ["192.0.2.99"]
        assert world.renew(holder) == (ACK, 3600)

    @pytest.mark.parametrize("conflict", ["wait", None, ""])
    @pytest_twisted.ensureDeferred
    async def test_wait(self, world, admin, holder, owner, conflict):
        """Wait, which is the default: the holder keeps what remains, and no more."""
        world.bind(holder)
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict=conflict)
        until = world.packets.now + 3600
        assert fields(verdict) == ("waiting", "02:00:00:00:00:0a (laptop)", until)
        world.packets.now += 600
        assert world.renew(holder) == (ACK, 3000)
        world.packets.now = until + 1
        assert world.bind(owner) == FIRST

    @pytest_twisted.ensureDeferred
    async def test_move(self, world, admin, holder, owner):
        """Move: the holder leaves at its next contact, and its owner gets it."""
        world.bind(holder)
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict="move")
        until = world.packets.now + 3600
        assert fields(verdict) == ("waiting", "02:00:00:00:00:0a (laptop)", until)
        assert world.renew(holder) == (NAK, None)
        assert world.bind(holder) == "192.0.2.11"
        assert world.bind(owner) == FIRST

    @pytest_twisted.ensureDeferred
    async def test_preempt_silent(self, world, admin, holder, owner, prober):
        """Preempt: revoked, probed and silent: applied."""
        world.bind(holder)
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict="preempt")
        assert fields(verdict) == ("applied", "", None)
        assert prober.asked == [FIRST]
        assert world.bind(owner) == FIRST
        assert world.renew(holder) == (NAK, None)

    @pytest_twisted.ensureDeferred
    async def test_preempt_answering(self, world, admin, holder, owner, prober):
        """Preempt, while the old holder still answers: waiting, and who it is."""
        world.bind(holder)
        prober.answers = True
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict="preempt")
        until = world.packets.now + 3600
        assert fields(verdict) == ("waiting", "02:00:00:00:00:0a (laptop)", until)
        assert world.bind(owner) != FIRST

    @pytest_twisted.ensureDeferred
    async def test_preempt_without_a_prober(self, holder):
        """Where nothing can probe, what is revoked waits for its holder or its end."""
        world = World()
        world.bind(holder)
        verdict = await world.client().reserve(
            FIRST, hardware=OWNER, on_conflict="preempt"
        )
        assert verdict.outcome == "waiting"
        assert world.renew(holder) == (NAK, None)

    @pytest.mark.parametrize("conflict", ["wait", "move", "preempt"])
    @pytest_twisted.ensureDeferred
    async def test_for_ever(self, holder, conflict):
        """The time of an infinite lease has no end: until is None."""
        prober = FakeProber()
        prober.answers = True
        world = World(subnet(lease_time=INFINITE), prober=prober)
        world.bind(holder)
        verdict = await world.client().reserve(
            FIRST, hardware=OWNER, on_conflict=conflict
        )
        # Once it is taken away, its holder cannot keep the address from all for ever.
        until = world.packets.now + 86400 if conflict == "preempt" else None
        assert fields(verdict) == ("waiting", "02:00:00:00:00:0a (laptop)", until)

    @pytest_twisted.ensureDeferred
    async def test_refused_for_ever(self, holder):
        """So too in the error."""
        world = World(subnet(lease_time=INFINITE))
        world.bind(holder)
        with pytest.raises(AddressInUse) as told:
            await world.client().reserve(FIRST, hardware=OWNER, on_conflict="refuse")
        assert told.value.details["until"] is None

    @pytest.mark.parametrize("after", [RELEASE, None])
    @pytest_twisted.ensureDeferred
    async def test_no_longer_held(self, world, admin, holder, owner, after):
        """Released or expired is free: applied."""
        world.bind(holder)
        if after is None:
            world.packets.now += 3601
        else:
            world.packets.receive(holder.message(RELEASE, ciaddr=FIRST))
        verdict = await admin.reserve(FIRST, hardware=OWNER, on_conflict="refuse")
        assert fields(verdict) == ("applied", "", None)
        assert world.bind(owner) == FIRST

    @pytest_twisted.ensureDeferred
    async def test_holder_without_a_name(self, world, admin):
        """A holder is named by what is known of it; nothing in it moves a cursor."""
        world.bind(FakeClient("02:00:00:00:00:0a", options={12: b"a\x1b[2Jb"}))
        verdict = await admin.reserve(FIRST, hardware=OWNER)
        assert verdict.holder == r"02:00:00:00:00:0a (a\x1b[2Jb)"
        world.bind(FakeClient("02:00:00:00:00:0c"))
        verdict = await admin.reserve("192.0.2.11", hardware="02:00:00:00:00:0d")
        assert verdict.holder == "02:00:00:00:00:0c"

    @pytest_twisted.ensureDeferred
    async def test_a_change(self, world, admin, owner):
        """The same client in the same subnet again is moved, not doubled."""
        await admin.reserve("192.0.2.12", hardware=OWNER, hostname="old")
        verdict = await admin.reserve("192.0.2.13", hardware=OWNER, hostname="new")
        assert verdict.outcome == "applied"
        made = await every(admin.reservations("admin"))
        assert [(r["address"], r["hostname"]) for r in made] == [("192.0.2.13", "new")]
        assert world.bind(owner) == "192.0.2.13"
        others = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(3)]
        assert "192.0.2.12" in {world.bind(each) for each in others}


class TestWhat:
    """What a reservation may say, and what becomes of it."""

    @pytest_twisted.ensureDeferred
    async def test_everything(self, world, admin, owner):
        """All of it is listed as it was given, and reaches its client."""
        await admin.reserve(
            "192.0.2.200",
            hardware="02-00-00-00-00-0B",
            hostname="printer",
            options={
                "domain-name-servers": "192.0.2.53,192.0.2.54",
                "3": "192.0.2.1",
                "224": "hex:0102",
            },
            next_server="192.0.2.7",
            boot_file="pxelinux.0",
            server_name="boot",
            source="netbox",
            on_conflict="move",
            lifetime=86400,
        )
        assert await every(admin.reservations("netbox")) == [
            {
                "address": "192.0.2.200",
                "hardware": OWNER,
                "client_id": "",
                "circuit_id": "",
                "remote_id": "",
                "hostname": "printer",
                "options": {
                    "domain-name-servers": "192.0.2.53, 192.0.2.54",
                    "routers": "192.0.2.1",
                    "option-224": "hex:0102",
                },
                "next_server": "192.0.2.7",
                "boot_file": "pxelinux.0",
                "server_name": "boot",
                "source": "netbox",
                "on_conflict": "move",
                "expires": world.packets.now + 86400,
                "in_force": True,
            }
        ]
        ack = world.packets.bind(owner)
        assert ack.yiaddr == ip("192.0.2.200")
        assert ack.options[6] == bytes([192, 0, 2, 53, 192, 0, 2, 54])
        assert ack.options[3] == bytes([192, 0, 2, 1])
        assert ack.options[224] == b"\x01\x02"
        assert ack.options[12] == b"printer"
        assert ack.siaddr == ip("192.0.2.7")
        assert ack.raw[108:236].rstrip(b"\0") == b"pxelinux.0"
        assert ack.raw[44:108].rstrip(b"\0") == b"boot"

    @pytest_twisted.ensureDeferred
    async def test_little(self, world, admin):
        """What is not said is empty or None."""
        await admin.reserve(FIRST, client_id="printer")
        [made] = await every(admin.reservations("admin"))
        assert made == {
            "address": FIRST,
            "hardware": "",
            "client_id": "printer",
            "circuit_id": "",
            "remote_id": "",
            "hostname": "",
            "options": {},
            "next_server": None,
            "boot_file": None,
            "server_name": None,
            "source": "admin",
            "on_conflict": "wait",
            "expires": None,
            "in_force": True,
        }

    @pytest_twisted.ensureDeferred
    async def test_empty_is_absent(self, world, admin):
        """An empty text is as one that was not given: forms send those."""
        await admin.reserve(
            FIRST,
            hardware=OWNER,
            client_id="",
            circuit_id="",
            hostname="",
            next_server="",
            boot_file="",
            source="",
            options={},
        )
        [made] = await every(admin.reservations("admin"))
        assert (made["hardware"], made["boot_file"]) == (OWNER, None)

    @pytest.mark.parametrize(
        ("given", "data", "shown"),
        [
            ("printer", b"printer", "printer"),
            ("hex:00ff", b"\x00\xff", "hex:00ff"),
            ("hex:4142", b"AB", "AB"),
            ("hex:6865783a41", b"hex:A", "hex:6865783a41"),
            ("hex:20782020", b" x  ", "hex:20782020"),
            ("Büro", "Büro".encode(), "hex:42c3bc726f"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_identifiers(self, world, admin, given, data, shown):
        """What is shown of an identifier can be given back."""
        await admin.reserve(FIRST, client_id=given)
        [made] = await every(admin.reservations("admin"))
        assert made["client_id"] == shown
        assert world.bind(FakeClient(identifier=data)) == FIRST
        found = await admin.find(client_id=shown)
        assert [r["address"] for r in found["reservations"]] == [FIRST]
        assert [r["client_id"] for r in found["leases"]] == [shown]
        await admin.cancel(client_id=shown)
        assert await addresses(admin) == ["192.0.2.99"]

    @pytest.mark.parametrize(
        ("keys", "agent"),
        [
            ({"circuit_id": "eth7"}, {1: b"eth7", 2: b"any"}),
            (
                {"circuit_id": "eth7", "remote_id": "hex:00ff"},
                {1: b"eth7", 2: b"\0\xff"},
            ),
            ({"remote_id": "switch"}, {2: b"switch"}),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_ports(self, world, admin, keys, agent):
        """A relay's port: whoever is there gets the address, and nobody else does."""
        await admin.reserve("192.0.2.12", **keys)
        [made] = await every(admin.reservations("admin"))
        assert {k: v for k, v in made.items() if k.endswith("t_id") and v} == {
            k: v for k, v in keys.items() if k == "circuit_id"
        }
        assert made["remote_id"] == keys.get("remote_id", "")
        relayed = {"giaddr": "192.0.2.200"}
        there = {**relayed, "options": {82: option_82.join(agent)}}
        other = {**relayed, "options": {82: option_82.join({1: b"eth8"})}}
        assert world.bind(FakeClient("02:00:00:00:00:01"), **other) != "192.0.2.12"
        assert world.bind(FakeClient("02:00:00:00:00:02"), **there) == "192.0.2.12"
        [gone] = await admin.cancel(**keys)
        assert gone["address"] == "192.0.2.12"

    @pytest_twisted.ensureDeferred
    async def test_without_address(self, world, admin, owner):
        """Settings only: a dynamic address with a name and options of its own."""
        verdict = await admin.reserve(
            hardware=OWNER, hostname="pc7", options={"routers": "192.0.2.1"}
        )
        assert fields(verdict) == ("applied", "", None)
        [made] = await every(admin.reservations("admin"))
        assert made["address"] is None
        ack = world.packets.bind(owner)
        assert ack.yiaddr == ip(FIRST)
        assert (ack.options[12], ack.options[3]) == (b"pc7", b"\xc0\x00\x02\x01")
        [gone] = await admin.cancel(hardware=OWNER)
        assert gone["hostname"] == "pc7"
        assert 12 not in world.packets.bind(owner).options

    @pytest_twisted.ensureDeferred
    async def test_lifetime(self, world, admin, holder, owner):
        """A reservation ends by itself after its lifetime; its address is free then."""
        await admin.reserve(FIRST, hardware=OWNER, lifetime=60)
        [made] = await every(admin.reservations("admin"))
        assert made["expires"] == world.packets.now + 60
        assert world.bind(holder) != FIRST
        world.packets.now += 60
        others = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(3)]
        assert FIRST in {world.bind(each) for each in others}
        assert await addresses(admin) == ["192.0.2.99"]

    @pytest.mark.parametrize("lifetime", [None, 0xFFFFFFFF, 10**30])
    @pytest_twisted.ensureDeferred
    async def test_no_lifetime(self, world, admin, lifetime):
        """Without a lifetime, or one longer than all leases, it stays."""
        await admin.reserve(FIRST, hardware=OWNER, lifetime=lifetime)
        [made] = await every(admin.reservations("admin"))
        assert made["expires"] is None
        [kept] = world.storage.reservation_of(ip(FIRST), None)
        assert kept.expires == inf

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"address": "nonsense"}, "address: 'nonsense'"),
            ({"address": "192.0.2.300"}, "address: '192.0.2.300'"),
            ({"address": "::1"}, "address: '::1'"),
            ({"address": "10.0.0.1"}, "10.0.0.1 is in no subnet of this server"),
            ({"address": "192.0.2.0"}, "192.0.2.0 is no host's address"),
            ({"address": "192.0.2.255"}, "192.0.2.255 is no host's address"),
            ({"address": "192.0.2.1"}, "192.0.2.1 is an address of the server"),
            ({"hardware": "pc"}, "hardware: 'pc'"),
            ({"hardware": "02:00"}, "hardware: '02:00'"),
            ({"hardware": None, "client_id": "hex:xy"}, "client_id: "),
            ({"hardware": None, "circuit_id": "hex:"}, "circuit_id: "),
            ({"hardware": None, "remote_id": " "}, "remote_id: "),
            ({"hardware": None}, "for whom\\? give hardware, client_id"),
            ({"client_id": "x"}, "not hardware and client_id together"),
            ({"remote_id": "x"}, "not hardware and circuit_id together"),
            ({"hostname": "x" * 256}, "hostname: "),
            ({"next_server": "boot"}, "next_server: 'boot'"),
            ({"boot_file": "x" * 128}, "boot_file: "),
            ({"server_name": "x" * 64}, "server_name: "),
            ({"options": {"colour": "red"}}, "option colour: "),
            ({"options": {"routers": "here"}}, "option routers: "),
            ({"options": {"300": "1"}}, "option 300: "),
            ({"options": {"53": "1"}}, "option 53: "),
            ({"options": {"\ud800": "1"}}, "option "),
            ({"options": {"14": "\ud800"}}, "option 14: "),
            (
                {"options": {"routers": "192.0.2.1", "3": "192.0.2.2"}},
                "option 3: is set twice",
            ),
            ({"options": ["routers"]}, "options: must be an object"),
            ({"options": 7}, "options: must be an object"),
            ({"on_conflict": "fight"}, "on_conflict: 'fight' is none of refuse, wait"),
            ({"lifetime": 0}, "lifetime: "),
            ({"lifetime": -5}, "lifetime: "),
            ({"source": "x" * 65}, "source: "),
            ({"source": "a\nb"}, "source: "),
            ({"address": None}, "give an address, a hostname or options"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_invalid(self, world, admin, arguments, words):
        """What makes no sense is refused in words that name it; nothing changed."""
        given = {"address": FIRST, "hardware": OWNER, **arguments}
        with pytest.raises(InvalidRequest, match=words):
            await admin.reserve(given.pop("address"), **given)
        assert await addresses(admin) == ["192.0.2.99"]

    @pytest_twisted.ensureDeferred
    async def test_too_long_to_send(self, admin):
        """What does not fit into a box is not even sent."""
        with pytest.raises(InvalidRequest, match="is too long"):
            await admin.reserve(FIRST, hardware=OWNER, boot_file="x" * 70000)
        assert await addresses(admin) == ["192.0.2.99"]

    @pytest_twisted.ensureDeferred
    async def test_too_long_to_list(self, admin):
        """What could be set but never listed is refused."""
        # 7 bytes as they are written, 9 as they are listed.
        routers = ",".join(["1.2.3.4"] * 8000)
        with pytest.raises(InvalidRequest, match="options"):
            await admin.reserve(FIRST, hardware=OWNER, options={"routers": routers})
        assert await addresses(admin) == ["192.0.2.99"]


class TestSources:
    """Every reservation has an owner, and only that one changes it."""

    FILE_HARDWARE = "02:00:00:00:00:99"

    @pytest.mark.parametrize("name", ["admin", "netbox"])
    @pytest_twisted.ensureDeferred
    async def test_file(self, world, name):
        """What stands in the file is changed in the file, not here."""
        client = world.client(name)
        for address, hardware in (
            ("192.0.2.99", self.FILE_HARDWARE),
            ("192.0.2.99", OWNER),
            (FIRST, self.FILE_HARDWARE),
        ):
            with pytest.raises(ReservedByOther) as told:
                await client.reserve(address, hardware=hardware)
            assert told.value.details == {"source": "file"}
        for given in (
            {"address": "192.0.2.99"},
            {"hardware": self.FILE_HARDWARE},
            {"address": "192.0.2.99", "hardware": self.FILE_HARDWARE},
        ):
            with pytest.raises(ReservedByOther, match="change it there") as told:
                await client.cancel(**given)
            assert told.value.details == {"source": "file"}
        assert await addresses(client, "file") == ["192.0.2.99"]

    @pytest.mark.parametrize("name", ["admin", "netbox"])
    @pytest_twisted.ensureDeferred
    async def test_as_file(self, world, name):
        """Nobody acts as the file, not even admin."""
        client = world.client(name)
        with pytest.raises(NotPermitted, match="changed in the file"):
            await client.reserve(FIRST, hardware=OWNER, source="file")
        with pytest.raises(NotPermitted, match="changed in the file"):
            await client.cancel("192.0.2.99", source="file")

    @pytest_twisted.ensureDeferred
    async def test_called_file(self, world):
        """Nor somebody whose certificate happens to have that name."""
        world.control.roles["file"] = Role("file", frozenset({"reserve", "cancel"}))
        client = world.client("file")
        with pytest.raises(NotPermitted, match="changed in the file"):
            await client.reserve("192.0.2.50", hardware=self.FILE_HARDWARE)
        [kept] = world.storage.reservations(None, 10, None)
        assert kept.address == ip("192.0.2.99")

    @pytest_twisted.ensureDeferred
    async def test_own_name(self, world):
        """A role's reservations bear the name of its certificate."""
        netbox = world.client("netbox")
        await netbox.reserve(FIRST, hardware=OWNER)
        await netbox.reserve("192.0.2.11", client_id="x", source="netbox")
        assert await addresses(netbox, "netbox") == [FIRST, "192.0.2.11"]
        assert await addresses(netbox, "members") == []

    @pytest_twisted.ensureDeferred
    async def test_only_as_itself(self, world):
        """A role acts as nobody else."""
        netbox = world.client("netbox")
        for wanted in ("members", "admin", "nobody"):
            with pytest.raises(NotPermitted, match=f"as the source '{wanted}'"):
                await netbox.reserve(FIRST, hardware=OWNER, source=wanted)
        assert await addresses(netbox) == ["192.0.2.99"]

    @pytest_twisted.ensureDeferred
    async def test_admin_for_any(self, world, admin):
        """Admin acts for any source, and that source may go on from there."""
        await admin.reserve(FIRST, hardware=OWNER, source="netbox")
        assert await addresses(admin, "netbox") == [FIRST]
        await world.client("netbox").reserve(FIRST, hardware=OWNER, hostname="mine")
        await admin.reserve("192.0.2.11", hardware=OWNER, source="netbox")
        assert await addresses(admin, "netbox") == ["192.0.2.11"]

    @pytest.mark.parametrize("name", ["members", "admin"])
    @pytest.mark.parametrize(
        ("address", "hardware"),
        [
            (FIRST, OWNER),
            (FIRST, "02:00:00:00:00:01"),
            ("192.0.2.11", OWNER),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_anothers(self, world, name, address, hardware):
        """Another source's address or client is not touched, and who has it is told."""
        netbox = world.client("netbox")
        await netbox.reserve(FIRST, hardware=OWNER, hostname="mine")
        with pytest.raises(ReservedByOther) as told:
            await world.client(name).reserve(address, hardware=hardware)
        assert told.value.details == {"source": "netbox"}
        assert "'netbox'" in str(told.value)
        [kept] = await every(netbox.reservations("netbox"))
        assert (kept["address"], kept["hostname"]) == (FIRST, "mine")

    @pytest_twisted.ensureDeferred
    async def test_another_client(self, world):
        """An address is not taken from one client for another, even by its source."""
        netbox = world.client("netbox")
        await netbox.reserve(FIRST, hardware=OWNER)
        with pytest.raises(ReservedByOther, match="cancel that first") as told:
            await netbox.reserve(FIRST, hardware="02:00:00:00:00:01")
        assert told.value.details == {"source": "netbox"}

    @pytest_twisted.ensureDeferred
    async def test_cancel_anothers(self, world):
        """A role cancels its own only; admin anybody's, or one source's."""
        netbox, members, admin = map(world.client, ("netbox", "members", "admin"))
        await netbox.reserve(FIRST, hardware=OWNER)
        with pytest.raises(ReservedByOther) as told:
            await members.cancel(FIRST)
        assert told.value.details == {"source": "netbox"}
        with pytest.raises(ReservedByOther):
            await admin.cancel(FIRST, source="members")
        with pytest.raises(NotPermitted):
            await members.cancel(FIRST, source="netbox")
        [gone] = await admin.cancel(FIRST)
        assert (gone["address"], gone["source"]) == (FIRST, "netbox")
        await netbox.reserve(FIRST, hardware=OWNER)
        assert len(await admin.cancel(FIRST, source="netbox")) == 1


class TestCancel:
    """Taking reservations out."""

    @pytest_twisted.ensureDeferred
    async def test_client_keeps_its_lease(self, world, admin, owner):
        """Its client keeps the lease; then the address is anybody's."""
        await admin.reserve(FIRST, hardware=OWNER)
        world.bind(owner)
        [gone] = await admin.cancel(FIRST)
        assert (gone["address"], gone["hardware"]) == (FIRST, OWNER)
        assert world.renew(owner) == (ACK, 3600)
        world.packets.now += 3601
        others = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        assert FIRST in {world.bind(each) for each in others}

    @pytest_twisted.ensureDeferred
    async def test_nothing_named(self, admin):
        """Without an address and a client there is nothing to cancel."""
        with pytest.raises(InvalidRequest, match="cancel what"):
            await admin.cancel()

    @pytest.mark.parametrize(
        "given",
        [
            {"address": "192.0.2.77"},
            {"hardware": "02:00:00:00:00:77"},
            {"client_id": "nobody"},
            {"circuit_id": "eth0"},
            {"address": FIRST, "hardware": "02:00:00:00:00:77"},
            {"address": "192.0.2.11", "hardware": OWNER},
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_not_found(self, admin, given):
        """What is not there is NotFound; so is an address of another client."""
        await admin.reserve(FIRST, hardware=OWNER)
        with pytest.raises(NotFound):
            await admin.cancel(**given)
        assert await addresses(admin, "admin") == [FIRST]

    @pytest.mark.parametrize(
        "given", [{"address": "x"}, {"hardware": "x"}, {"client_id": "hex:"}]
    )
    @pytest_twisted.ensureDeferred
    async def test_invalid(self, admin, given):
        """A field that makes no sense is named."""
        [name] = given
        with pytest.raises(InvalidRequest, match=f"^{name}: "):
            await admin.cancel(**given)

    @pytest_twisted.ensureDeferred
    async def test_all_of_a_client(self):
        """By its client, the reservations in all subnets go; or the one of an address."""
        subnets = [
            subnet(f"10.0.{n}.0/24", f"10.0.{n}.10", name=f"n{n}") for n in range(3)
        ]
        admin = World(*subnets).client()
        for number in range(3):
            await admin.reserve(f"10.0.{number}.10", hardware=OWNER)
        [gone] = await admin.cancel("10.0.1.10", hardware=OWNER)
        assert gone["address"] == "10.0.1.10"
        gone = await admin.cancel(hardware=OWNER)
        assert {each["address"] for each in gone} == {"10.0.0.10", "10.0.2.10"}

    @pytest_twisted.ensureDeferred
    async def test_all_or_nothing(self):
        """If one of them is another's, none is taken out."""
        subnets = [
            subnet(f"10.0.{n}.0/24", f"10.0.{n}.10", name=f"n{n}") for n in range(2)
        ]
        world = World(*subnets, roles=[("netbox", {"reserve", "cancel"}, ())])
        admin, netbox = world.client(), world.client("netbox")
        await netbox.reserve("10.0.0.10", hardware=OWNER)
        await admin.reserve("10.0.1.10", hardware=OWNER)
        with pytest.raises(ReservedByOther):
            await netbox.cancel(hardware=OWNER)
        assert await addresses(admin) == ["10.0.0.10", "10.0.1.10"]

    @pytest_twisted.ensureDeferred
    async def test_very_many(self):
        """A client that is reserved in hundreds of subnets can be cancelled."""
        subnets = [
            subnet(f"10.{n // 256}.{n % 256}.0/24", "", name=f"n{n}")
            for n in range(400)
        ]
        admin = World(*subnets).client()
        for number in range(400):
            await admin.reserve(f"10.{number // 256}.{number % 256}.10", hardware=OWNER)
        assert await admin.cancel(hardware=OWNER)
        assert await addresses(admin) == []


class TestRoles:
    """Verbs and networks."""

    VERBS = ("reserve", "cancel", "list", "revoke", "status")

    @staticmethod
    def calls(client):
        """Each verb's commands."""
        return {
            "reserve": [lambda: client.reserve(FIRST, hardware=OWNER)],
            "cancel": [lambda: client.cancel(FIRST)],
            "list": [
                lambda: every(client.reservations()),
                lambda: every(client.leases()),
                lambda: client.find(FIRST),
            ],
            "revoke": [lambda: client.revoke(FIRST)],
            "status": [client.status],
        }

    @pytest.mark.parametrize("verb", VERBS)
    @pytest_twisted.ensureDeferred
    async def test_verbs(self, world, verb):
        """A role may do what its verbs say, and nothing else."""
        world.control.roles["some"] = Role("some", frozenset({verb}))
        for each, made in self.calls(world.client("some")).items():
            for call in made:
                if each != verb:
                    with pytest.raises(NotPermitted, match=f"'some' may not {each}"):
                        await call()
                    continue
                with suppress(NotFound):  # there is nothing yet, which it may know
                    await call()
        assert len(world.storage.reservations(None, 10, "some")) == (verb == "reserve")

    @pytest_twisted.ensureDeferred
    async def test_no_role(self, world):
        """A certificate without a role may do nothing."""
        for made in self.calls(world.client("stranger")).values():
            for call in made:
                with pytest.raises(NotPermitted, match="'stranger' may not"):
                    await call()

    @pytest.fixture
    def limited(self, world, admin):
        """Somebody who may do everything, in a small part of the subnet."""
        from ipaddress import IPv4Network

        nets = (IPv4Network("192.0.2.8/30"), IPv4Network("192.0.2.200/32"))
        world.control.roles["part"] = Role("part", frozenset(self.VERBS), nets)
        return world.client("part")

    @pytest_twisted.ensureDeferred
    async def test_inside(self, world, limited, owner):
        """Inside its networks it may."""
        await limited.reserve(FIRST, hardware=OWNER)
        await limited.reserve("192.0.2.200", client_id="x")
        world.bind(owner)
        assert await addresses(limited) == [FIRST, "192.0.2.200"]
        assert (await limited.revoke(FIRST))["address"] == FIRST
        await limited.cancel(FIRST)
        await limited.cancel(client_id="x")
        assert await addresses(limited) == []

    @pytest_twisted.ensureDeferred
    async def test_outside(self, world, limited, admin):
        """Outside it may nothing, and no address is outside."""
        for number in range(4):
            world.bind(FakeClient(f"02:00:00:00:01:0{number}"))
        await admin.reserve("192.0.2.13", hardware=OWNER, source="part")
        for call in (
            lambda: limited.reserve("192.0.2.12", hardware="02:00:00:00:00:01"),
            lambda: limited.cancel("192.0.2.13"),
            lambda: limited.revoke("192.0.2.12"),
        ):
            with pytest.raises(NotPermitted, match=r"do nothing at 192\.0\.2\.1[23]"):
                await call()
        with pytest.raises(NotPermitted, match="without an address"):
            await limited.reserve(client_id="x", hostname="pc")
        with pytest.raises(NotFound):  # it does not even learn that there is one
            await limited.cancel(hardware=OWNER)
        assert await addresses(admin, "part") == ["192.0.2.13"]

    @pytest_twisted.ensureDeferred
    async def test_sees(self, world, limited, admin):
        """Lists and searches show what is inside its networks, and nothing else."""
        clients = [FakeClient(f"02:00:00:00:01:0{number}") for number in range(4)]
        given = [world.bind(each) for each in clients]
        assert given == [f"192.0.2.{n}" for n in range(10, 14)]
        await admin.reserve(client_id="x", hostname="pc")
        await admin.reserve("192.0.2.200", client_id="x")
        leases = await every(limited.leases())
        assert [each["address"] for each in leases] == ["192.0.2.10", "192.0.2.11"]
        assert await addresses(limited) == ["192.0.2.200"]
        assert len((await limited.find("192.0.2.11"))["leases"]) == 1
        nothing = {"leases": [], "reservations": []}
        assert await limited.find("192.0.2.12") == nothing
        assert await limited.find(hardware="02:00:00:00:01:03") == nothing
        assert await limited.find("192.0.2.99") == nothing
        found = await limited.find(client_id="x")
        assert [each["address"] for each in found["reservations"]] == ["192.0.2.200"]

    @pytest_twisted.ensureDeferred
    async def test_pages_go_on(self):
        """Whole pages that it may not see do not end its lists."""
        from ipaddress import IPv4Network

        world = World(
            subnet("10.0.0.0/16", "10.0.1.0-10.0.10.255"),
            roles=[("part", {"list"}, (IPv4Network("10.0.9.0/24"),))],
        )
        for number in range(2400):
            reserved = world.storage.reserve(
                Reservation(
                    ip("10.0.0.0") + 256 + number,
                    client_id=b"client %d" % number,
                    source="test",
                ),
                world.packets.now,
            )
            assert reserved.called
        for number in range(2400):
            who = FakeClient(identifier=b"client %d" % number)
            world.packets.bind(who, giaddr="10.0.0.1")
        part = world.client("part")
        inside = [f"10.0.9.{number}" for number in range(256)]
        assert await addresses(part) == inside
        assert [each["address"] for each in await every(part.leases())] == inside


class TestLists:
    """Pages: all of it, each once, and none too large to be sent."""

    @pytest.fixture
    def large(self):
        """Thousands of reservations, many without an address, and as many leases."""
        world = World(subnet("10.0.0.0/16", "10.0.1.0-10.0.20.255"))
        for number in range(3000):
            address = ip("10.0.1.0") + number if number % 3 else None
            kind = ("client_id", "circuit_id", "remote_id", "hardware")[number % 4]
            who = number.to_bytes(6, "big")
            who = b"\x01" + who if kind == "hardware" else who
            made = Reservation(
                address, **{kind: who}, hostname=f"pc{number}", source="ab"[number % 2]
            )
            world.storage.reserve(made, world.packets.now)
        return world

    @pytest_twisted.ensureDeferred
    async def test_reservations(self, large):
        """Every reservation once, those without an address first, by address."""
        admin = large.client()
        found = await every(admin.reservations())
        assert len(found) == 3000
        assert {each["hostname"] for each in found} == {f"pc{n}" for n in range(3000)}
        given = [each["address"] for each in found]
        assert given[:1000] == [None] * 1000
        rest = [ip(each) for each in given[1000:]]
        assert rest == sorted(set(rest))

    @pytest_twisted.ensureDeferred
    async def test_of_a_source(self, large):
        """Every reservation of a source once, and nobody else's."""
        found = await every(large.client().reservations("a"))
        assert {each["hostname"] for each in found} == {
            f"pc{n}" for n in range(0, 3000, 2)
        }
        assert len(found) == 1500
        assert await every(large.client().reservations("nobody")) == []

    @pytest_twisted.ensureDeferred
    async def test_leases(self, large):
        """Every lease once, by address."""
        for number in range(2500):
            who = FakeClient(identifier=b"lease %d" % number)
            large.packets.bind(who, giaddr="10.0.0.1")
        found = await every(large.client().leases())
        assert len(found) == 2500
        given = [ip(each["address"]) for each in found]
        assert given == sorted(set(given))

    @pytest.mark.parametrize("limit", [1, 7, 500, 10**9])
    @pytest_twisted.ensureDeferred
    async def test_limit(self, large, limit):
        """A page has as many as were wanted, and never more than the most."""
        admin = large.client()
        after, seen = None, []
        for _ in range(5):
            page = await admin._call(
                commands.ListReservations, after=after, limit=limit
            )
            assert len(page["reservations"]) <= min(limit, PAGE_LENGTH)
            assert page["reservations"]
            seen += [each["hostname"] for each in page["reservations"]]
            after = page["next"]
        assert len(seen) == len(set(seen))

    @pytest_twisted.ensureDeferred
    async def test_exactly_full(self, admin):
        """A last page that happens to be full is followed by an empty one at most."""
        for number in range(4):
            await admin.reserve(f"192.0.2.{10 + number}", client_id=f"x{number}")
        after, seen = None, []
        for _ in range(4):
            page = await admin._call(commands.ListReservations, after=after, limit=5)
            seen += page["reservations"]
            after = page.get("next")
            if not after:
                break
        assert len(seen) == 5
        assert not after

    @pytest_twisted.ensureDeferred
    async def test_large_rows(self):
        """Rows that are long make pages short, not answers that cannot be sent."""
        world = World(subnet("10.0.0.0/16", "10.0.1.0-10.0.20.255"))
        admin = world.client()
        for number in range(40):
            routers = ", ".join(["192.0.2.1"] * 400)
            await admin.reserve(
                f"10.0.1.{number}", client_id=f"x{number}", options={"routers": routers}
            )
        found = await every(admin.reservations())
        assert [each["address"] for each in found] == [f"10.0.1.{n}" for n in range(40)]

    @pytest_twisted.ensureDeferred
    async def test_changed_meanwhile(self, large):
        """What goes between two pages disturbs nobody else's row."""
        admin = large.client()
        page = await admin._call(commands.ListReservations, limit=10)
        last = page["reservations"][-1]
        kind = next(k for k in ("client_id", "circuit_id", "remote_id") if last[k])
        await admin.cancel(**{kind: last[kind]})
        rest = await admin._call(
            commands.ListReservations, limit=10, after=page["next"]
        )
        names = [each["hostname"] for each in page["reservations"]]
        names += [each["hostname"] for each in rest["reservations"]]
        assert len(set(names)) == 20

    @pytest_twisted.ensureDeferred
    async def test_of_a_subnet(self):
        """Only the leases of one subnet, all of them."""
        world = World(
            subnet("192.0.2.0/24", "192.0.2.10-192.0.2.20", name="a"),
            subnet("10.0.0.0/16", "10.0.1.0-10.0.20.255", name="b"),
            subnet("10.1.0.0/16", "10.1.1.0-10.1.1.9", name="c"),
        )
        for number in range(1200):
            world.packets.bind(
                FakeClient(identifier=b"b %d" % number), giaddr="10.0.0.1"
            )
        world.packets.bind(FakeClient(identifier=b"an a"))
        world.packets.bind(FakeClient(identifier=b"a c"), giaddr="10.1.0.1")
        admin = world.client()
        assert len(await every(admin.leases())) == 1202
        for name, count in (("a", 1), ("b", 1200), ("c", 1)):
            found = await every(admin.leases(name))
            assert len({each["address"] for each in found}) == len(found) == count
            assert {each["subnet"] for each in found} == {name}
        with pytest.raises(NotFound, match="no subnet 'd'; there are a, b, c"):
            await every(admin.leases("d"))

    @pytest.mark.parametrize(
        "after", ["x", "1/client-id/00", "1/a/b/c/d", "x/y/00/00", "1/hardware/0g/"]
    )
    @pytest_twisted.ensureDeferred
    async def test_no_such_place(self, admin, after):
        """A place that no page ever named is refused."""
        with pytest.raises(InvalidRequest, match=r"^after: "):
            await admin._call(commands.ListReservations, after=after)

    @pytest.mark.parametrize("after", ["x", "192.0.2", " "])
    @pytest_twisted.ensureDeferred
    async def test_no_such_address(self, admin, after):
        """So too in the list of leases."""
        with pytest.raises(InvalidRequest, match=r"^after: "):
            await admin._call(commands.ListLeases, after=after)

    @pytest.mark.parametrize("command", ["ListReservations", "ListLeases"])
    @pytest.mark.parametrize("limit", [0, -1])
    @pytest_twisted.ensureDeferred
    async def test_no_limit(self, admin, command, limit):
        """A page of nothing would never end."""
        with pytest.raises(InvalidRequest, match=r"^limit: "):
            await admin._call(getattr(commands, command), limit=limit)

    @pytest.mark.parametrize(
        "who",
        [
            {"hardware": b"\x01\x02\x00\x00\x00\x00\x01"},
            {"client_id": b"a/b"},
            {"circuit_id": b"\x00/", "remote_id": b"/"},
            {"remote_id": b"switch"},
        ],
    )
    @pytest.mark.parametrize("address", [None, ip("192.0.2.1")])
    def test_places(self, who, address):
        """A place is read as it was written."""
        made = Reservation(address, **who)
        assert parse_place(format_place(made)) == made.place


class TestLeases:
    """Looking at leases, finding them, taking them away."""

    @pytest_twisted.ensureDeferred
    async def test_fields(self, world, admin):
        """All that is known of a lease, in text and numbers."""
        now = world.packets.now
        world.bind(FakeClient("02:00:00:00:00:0a", options={12: b"laptop"}))
        world.bind(FakeClient("02:00:00:00:00:0b", identifier=b"printer"))
        world.bind(FakeClient("02:00:00:00:00:0c", identifier=b"\x00\xff"))
        common = {
            "state": "bound",
            "since": now,
            "expires": now + 3600,
            "relay": "",
            "subnet": "lan",
        }
        assert await every(admin.leases()) == [
            {
                "address": "192.0.2.10",
                "hardware": "02:00:00:00:00:0a",
                "client_id": "",
                "hostname": "laptop",
                **common,
            },
            {
                "address": "192.0.2.11",
                "hardware": "02:00:00:00:00:0b",
                "client_id": "printer",
                "hostname": "",
                **common,
            },
            {
                "address": "192.0.2.12",
                "hardware": "02:00:00:00:00:0c",
                "client_id": "hex:00ff",
                "hostname": "",
                **common,
            },
        ]

    @pytest_twisted.ensureDeferred
    async def test_states(self, world, admin, holder):
        """What became of a lease in a word; ended ones are listed too."""
        clients = [FakeClient(f"02:00:00:00:01:0{number}") for number in range(3)]
        given = [world.bind(each) for each in clients]
        world.packets.receive(clients[0].message(RELEASE, ciaddr=given[0]))
        decline = clients[1].message(
            MessageType.DECLINE, requested=given[1], server="192.0.2.1"
        )
        world.packets.receive(decline)
        world.packets.now += 3601
        world.bind(holder)
        found = {each["address"]: each["state"] for each in await every(admin.leases())}
        assert found == {
            given[0]: "released",
            given[1]: "declined",
            given[2]: "expired",
            "192.0.2.13": "bound",
        }

    @pytest_twisted.ensureDeferred
    async def test_infinite(self, holder):
        """A lease without an end expires never: None."""
        world = World(subnet(lease_time=INFINITE))
        world.bind(holder)
        [lease] = await every(world.client().leases())
        assert lease["expires"] is None

    @pytest_twisted.ensureDeferred
    async def test_find(self, world, admin):
        """By address, by hardware address and by client identifier."""
        world.bind(FakeClient("02:00:00:00:00:0a", identifier=b"printer"))
        await admin.reserve("192.0.2.13", hardware="02:00:00:00:00:0a")
        await admin.reserve("192.0.2.12", client_id="printer")
        for given, reserved in (
            ({"address": FIRST}, []),
            ({"hardware": "02:00:00:00:00:0a"}, ["192.0.2.13"]),
            ({"client_id": "printer"}, ["192.0.2.12"]),
        ):
            found = await admin.find(**given)
            assert [each["address"] for each in found["leases"]] == [FIRST]
            assert [each["address"] for each in found["reservations"]] == reserved
        found = await admin.find("192.0.2.12")
        assert [each["client_id"] for each in found["reservations"]] == ["printer"]
        assert found["leases"] == []

    @pytest_twisted.ensureDeferred
    async def test_find_nothing(self, admin):
        """Nothing is no error: two empty lists."""
        for given in (
            {"address": "192.0.2.77"},
            {"address": "10.9.9.9"},
            {"hardware": "02:00:00:00:00:77"},
            {"client_id": "nobody"},
        ):
            assert await admin.find(**given) == {"leases": [], "reservations": []}

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "find what"),
            ({"address": FIRST, "hardware": OWNER}, "find what"),
            ({"address": "x"}, "^address: "),
            ({"hardware": "x"}, "^hardware: "),
            ({"client_id": "hex:x"}, "^client_id: "),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_find_invalid(self, admin, given, words):
        """One thing is looked for at a time, and it must make sense."""
        with pytest.raises(InvalidRequest, match=words):
            await admin.find(**given)

    @pytest_twisted.ensureDeferred
    async def test_find_very_much(self):
        """A client that is known in hundreds of subnets is found, as far as fits."""
        subnets = [
            subnet(f"10.0.{n}.0/24", f"10.0.{n}.10", name=f"n{n}") for n in range(200)
        ]
        world = World(*subnets)
        admin = world.client()
        routers = ", ".join(["192.0.2.1"] * 200)
        for number in range(200):
            await admin.reserve(
                f"10.0.{number}.10", hardware=OWNER, options={"routers": routers}
            )
            world.packets.bind(FakeClient(OWNER), giaddr=f"10.0.{number}.1")
        found = await admin.find(hardware=OWNER)
        assert found["leases"]
        assert found["reservations"]
        assert {each["hardware"] for each in found["reservations"]} == {OWNER}

    @pytest_twisted.ensureDeferred
    async def test_revoke(self, holder):
        """The lease ends now; its address rests until its holder has been told."""
        world = World()
        admin = world.client()
        world.bind(holder)
        world.packets.now += 10
        lease = await admin.revoke(FIRST)
        assert lease == {
            "address": FIRST,
            "state": "revoked",
            "hardware": "02:00:00:00:00:0a",
            "client_id": "",
            "hostname": "laptop",
            "since": world.packets.now,
            "expires": world.packets.now + 3590,
            "relay": "",
            "subnet": "lan",
        }
        others = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(3)]
        assert FIRST not in {world.bind(each) for each in others}
        assert world.renew(holder) == (NAK, None)

    @pytest_twisted.ensureDeferred
    async def test_revoke_silent(self, world, admin, holder, prober):
        """An address that is found silent is free at once."""
        world.bind(holder)
        lease = await admin.revoke(FIRST)
        assert lease["state"] == "released"
        assert prober.asked == [FIRST]
        others = [FakeClient(f"02:00:00:00:01:0{n}") for n in range(4)]
        assert FIRST in {world.bind(each) for each in others}

    @pytest_twisted.ensureDeferred
    async def test_revoke_answering(self, world, admin, holder, prober):
        """One that still answers is not."""
        world.bind(holder)
        prober.answers = True
        assert (await admin.revoke(FIRST))["state"] == "revoked"

    @pytest_twisted.ensureDeferred
    async def test_revoke_nothing(self, world, admin, holder):
        """What nobody has now cannot be revoked, and not twice."""
        for address in (FIRST, "10.0.0.1"):
            with pytest.raises(NotFound, match="not leased to anybody"):
                await admin.revoke(address)
        world.bind(holder)
        await admin.revoke(FIRST)
        with pytest.raises(NotFound):
            await admin.revoke(FIRST)
        world.bind(holder)
        world.packets.now += 3601
        with pytest.raises(NotFound):
            await admin.revoke("192.0.2.11")

    @pytest.mark.parametrize("address", ["", "x", "192.0.2.1000"])
    @pytest_twisted.ensureDeferred
    async def test_revoke_invalid(self, admin, address):
        """What is no address is named."""
        with pytest.raises(InvalidRequest, match=r"^address: "):
            await admin.revoke(address)

    @pytest_twisted.ensureDeferred
    async def test_log(self, world, admin, holder, logged):
        """A lease that is taken away is logged; the journal says it of all else."""
        world.bind(holder)
        await admin.reserve(f"\n{FIRST}\r\n", hardware=f"\n{OWNER}\n")
        await admin.reserve("192.0.2.11", client_id="hex:0a1b", source="netbox")
        await admin.revoke(f"\n{FIRST}\r\n")
        await admin.cancel(FIRST)
        mine = [each for each in logged if each.startswith("admin ")]
        assert mine == [f"admin revoked {FIRST}"]


class TestStatus:
    """Numbers."""

    @pytest_twisted.ensureDeferred
    async def test_figures(self, world, admin, holder):
        """What the server says of itself, and what its storage does."""
        world.bind(holder)
        await admin.reserve("192.0.2.12", hardware=OWNER)
        assert await admin.status() == {
            "version": "1",
            "uptime": 5,
            "subnets": {
                "lan": {
                    "network": "192.0.2.0/24",
                    "pool": 4,
                    "reserved": 2,
                    "bound": 1,
                }
            },
            "reservations": 2,
            "offers": 0,
            "storage": {},
        }

    @pytest_twisted.ensureDeferred
    async def test_many_subnets(self):
        """A thousand subnets come in pages, in their order, each once."""
        names = [f"a subnet with a rather long name, number {n}" for n in range(1000)]
        subnets = [
            subnet(f"10.{n // 256}.{n % 256}.0/24", "", name=name)
            for n, name in enumerate(names)
        ]
        admin = World(*subnets).client()
        first = await admin._call(commands.Status)
        assert first["next"] == list(first["status"]["subnets"])[-1]
        assert 0 < len(first["status"]["subnets"]) < 1000
        second = await admin._call(commands.Status, after=first["next"])
        assert not set(first["status"]["subnets"]) & set(second["status"]["subnets"])
        status = await admin.status()
        assert list(status["subnets"]) == names
        assert status["subnets"][names[999]]["network"] == "10.3.231.0/24"

    @pytest_twisted.ensureDeferred
    async def test_unknown_place(self, admin):
        """A subnet that there is not begins at the first one."""
        answer = await admin._call(commands.Status, after="nowhere")
        assert list(answer["status"]["subnets"]) == ["lan"]
        assert answer["next"] is None


class TestOtherStorages:
    """A storage of one's own need not do everything."""

    @pytest_twisted.ensureDeferred
    async def test_packets_only(self):
        """One that only answers packets: NotSupported, and a status all the same."""
        storage = facade(MemoryStorage(network()), IStorage)
        client = World(storage=storage).client()
        for call in (
            lambda: client.reserve(FIRST, hardware=OWNER),
            lambda: client.cancel(FIRST),
            lambda: every(client.reservations()),
        ):
            with pytest.raises(NotSupported, match="takes no reservations"):
                await call()
        for call in (
            lambda: every(client.leases()),
            lambda: client.find(FIRST),
            lambda: client.revoke(FIRST),
        ):
            with pytest.raises(NotSupported, match="does not show its leases"):
                await call()
        assert await client.status() == {"version": "1", "uptime": 5, "subnets": {}}

    @pytest_twisted.ensureDeferred
    async def test_leases_only(self, holder):
        """One that shows its leases only: those are found."""
        storage = MemoryStorage(network())
        MemoryServer(network(), storage).bind(holder)
        client = World(storage=facade(storage, IStorage, ILeases)).client()
        found = await client.find(FIRST)
        assert len(found["leases"]) == 1
        assert found["reservations"] == []
        with pytest.raises(NotSupported):
            await client.reserve(FIRST, hardware=OWNER)

    @pytest_twisted.ensureDeferred
    async def test_reservations_only(self):
        """One that only takes reservations: those are taken."""
        storage = facade(MemoryStorage(network()), IStorage, IReservations)
        client = World(storage=storage).client()
        assert (await client.reserve(FIRST, hardware=OWNER)).outcome == "applied"
        with pytest.raises(NotSupported):
            await every(client.leases())


class TestOnDisk:
    """The answer means that it is on disk."""

    @pytest.fixture
    def disk(self, tmp_path):
        """A server whose storage is a real file, written by a real thread."""
        from twisted.internet import reactor

        net = network()
        storage = SQLiteStorage(net, tmp_path / "leases.sqlite", reactor)
        storage.start(1000.0)
        yield World(storage=storage)
        pytest_twisted.blockon(storage.stop())

    @staticmethod
    def rows(world):
        """What another program reads in the file."""
        path = world.storage.journal.figures()["file"]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return file.execute(
                "SELECT address, hardware, hostname, source FROM reservation"
                " ORDER BY address"
            ).fetchall()

    @pytest_twisted.ensureDeferred
    async def test_reserve(self, disk, owner):
        """When the answer comes it is on disk, and in force with the very next packet."""
        admin = disk.client()
        verdict = await admin.reserve("192.0.2.12", hardware=OWNER, hostname="pc")
        assert self.rows(disk) == [(ip("192.0.2.12"), owner.hardware, "pc", "admin")]
        assert verdict.outcome == "applied"
        offer = disk.packets.receive(owner.message(MessageType.DISCOVER))
        assert offer.message.yiaddr == ip("192.0.2.12")

    @pytest_twisted.ensureDeferred
    async def test_cancel_and_change(self, disk, owner):
        """So are changes and cancellations."""
        admin = disk.client()
        await admin.reserve("192.0.2.12", hardware=OWNER, hostname="old")
        await admin.reserve("192.0.2.13", hardware=OWNER, hostname="new")
        assert self.rows(disk) == [(ip("192.0.2.13"), owner.hardware, "new", "admin")]
        await admin.cancel("192.0.2.13")
        assert self.rows(disk) == []
        offer = disk.packets.receive(owner.message(MessageType.DISCOVER))
        assert offer.message.yiaddr == ip(FIRST)

    @pytest_twisted.ensureDeferred
    async def test_many_at_once(self, disk):
        """A hundred callers at once: each answer is true when it comes."""
        from twisted.internet.defer import gatherResults

        async def reserve(number):
            await disk.client().reserve(
                f"192.0.2.{100 + number}", client_id=f"x{number}"
            )
            assert ip("192.0.2.100") + number in {row[0] for row in self.rows(disk)}

        await gatherResults([ensureDeferred(reserve(n)) for n in range(100)])
        assert len(self.rows(disk)) == 100

    @pytest_twisted.ensureDeferred
    async def test_cannot_be_written(self, disk, owner):
        """A disk that fails: StorageFailed, nothing is in force; then it goes on."""
        admin = disk.client()
        file = disk.storage.journal._file
        write = file.write

        def full(_):
            raise sqlite3.OperationalError("database or disk is full")

        file.write = full
        with pytest.raises(StorageFailed, match="disk is full"):
            await admin.reserve("192.0.2.12", hardware=OWNER)
        assert await addresses(admin) == []
        offer = disk.packets.receive(owner.message(MessageType.DISCOVER))
        assert offer.message.yiaddr == ip(FIRST)
        file.write = write
        assert (await admin.reserve("192.0.2.12", hardware=OWNER)).outcome == "applied"
        assert len(self.rows(disk)) == 1

    @pytest_twisted.ensureDeferred
    async def test_revoke(self, disk, holder):
        """A lease that was revoked is no longer bound in the file."""
        admin = disk.client()
        offer = disk.packets.receive(holder.message(MessageType.DISCOVER))
        wanted = str(IPv4Address(offer.message.yiaddr))
        disk.packets.receive(
            holder.message(REQUEST, requested=wanted, server="192.0.2.1")
        )
        await self.sent(disk, 2)
        assert (await admin.revoke(wanted))["state"] == "revoked"
        path = disk.storage.journal.figures()["file"]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            assert file.execute("SELECT state FROM lease").fetchall() == [(5,)]

    @staticmethod
    async def sent(world, count):
        """Wait until so many replies were sent."""
        from twisted.internet import reactor

        for _ in range(1000):
            if len(world.packets.sent) >= count:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("no reply")


class TestOnTheWire:
    """The form of errors, for clients in other languages."""

    @pytest.mark.parametrize("error", list(commands.ERRORS))
    def test_errors(self, error):
        """An error is JSON with its message, and comes back as it was."""
        made = error("why", source="netbox", until=None)
        again = error.from_wire(made.to_wire())
        assert type(again) is error
        assert (str(again), again.message) == ("why", "why")
        assert again.details == {"source": "netbox", "until": None}

    @pytest.mark.parametrize("text", ["plain", "{}", "[]", '"x"', "7", "null", ""])
    def test_other_errors(self, text):
        """Words that are no JSON of ours are taken as they are."""
        error = CommandError.from_wire(text)
        assert (str(error), error.details) == (text, {})

    def test_codes(self):
        """The codes are part of the contract."""
        assert {error.__name__: code for error, code in commands.ERRORS.items()} == {
            "InvalidRequest": b"INVALID_REQUEST",
            "NotPermitted": b"NOT_PERMITTED",
            "NotFound": b"NOT_FOUND",
            "AddressInUse": b"ADDRESS_IN_USE",
            "ReservedByOther": b"RESERVED_BY_OTHER",
            "RevisionChanged": b"REVISION_CHANGED",
            "NotSupported": b"NOT_SUPPORTED",
            "TooMany": b"TOO_MANY",
            "InvalidConfiguration": b"INVALID_CONFIGURATION",
            "StorageFailed": b"STORAGE_FAILED",
        }

    @pytest_twisted.ensureDeferred
    async def test_boxes(self, world, holder):
        """Every command as another program would write it: text in UTF-8 and JSON."""
        client = world.client()
        ask = client._protocol.callRemoteString
        world.bind(holder)
        applied = await ask(
            b"Reserve", address=b"192.0.2.12", hardware=OWNER.encode(), lifetime=b"60"
        )
        assert applied.pop(b"revision").startswith(b"1-")
        assert applied == {b"_answer": b"1", b"verdict": b"applied", b"holder": b""}
        waiting = await ask(b"Reserve", address=b"192.0.2.10", client_id=b"x")
        assert waiting[b"verdict"] == b"waiting"
        assert float(waiting[b"until"]) == world.packets.now + 3600
        assert (await ask(b"ListLeases", limit=b"1"))[b"next"] == b"192.0.2.10"
        with pytest.raises(amp.RemoteAmpError) as told:
            await ask(b"RevokeLease", address=b"192.0.2.13")
        assert told.value.errorCode == b"NOT_FOUND"
        await maybeDeferred(client.close().close)
