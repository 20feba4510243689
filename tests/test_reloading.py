"""A running server that reads its configuration again: whole, planned, or not at all."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from dhcptwist.config import (
    Config,
    ConfigError,
    ControlConfig,
    StorageConfig,
    parse,
)
from dhcptwist.config.plan import MOST_NAMED, difference_lines
from dhcptwist.config.written import differences, without_restart
from dhcptwist.interfaces import INetworkListener, IStorage
from dhcptwist.lease import Lease, OnConflict, Reservation, Settings
from dhcptwist.reloading import CannotReload
from dhcptwist.service import DHCPService
from dhcptwist.testing import ip
from dhcptwist.wire import MessageType


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[1]
DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
ACK, NAK = MessageType.ACK, MessageType.NAK
FIRST = ip("127.7.0.10")
TCP = "tcp:0:interface=127.0.0.1"

PRINTER = """
[reservation printer]
hardware = 02:00:00:00:00:50
address = 127.7.0.50
"""

SMALL = """
[server]
interfaces = lo
[control]
listen =
[subnet far]
network = 127.7.0.0/16
pools = 127.7.0.10 - 127.7.0.20
"""


def changes_of(old, new):
    """What changes between two texts, as people read it."""
    return difference_lines(
        {
            "section": each.section,
            "what": each.what,
            "keys": [{"key": k, "old": o, "new": n} for k, o, n in each.keys],
        }
        for each in differences(parse(old), parse(new))[0]
    )


def is_like(config, text):
    """Whether a configuration is what a text says."""
    return differences(config, parse(text)) == ([], [])


class TestDifferences:
    """What two configurations differ in."""

    def test_none(self):
        """The same in other words is the same."""
        other = SMALL.replace("pools =", "lease-time = 43200s\npools =")
        assert differences(parse(SMALL), parse(other)) == ([], [])

    @pytest.mark.parametrize(
        ("key", "old", "new"),
        [
            ("lease-time", None, "1h"),
            ("lease-time", "1h", "infinite"),
            ("offer-hold", "1m", "1m30s"),
            ("decline-hold", "1d", "2d12h"),
            ("pools", "127.7.0.10 - 127.7.0.20", "127.7.0.10 - 127.7.0.21"),
            ("relays", None, "127.0.0.2, 127.0.0.3"),
            ("shared-network", None, "hall"),
            ("interface", None, "lo"),
            ("broadcast", "as-asked", "always"),
            ("subnet-selection", "no", "yes"),
            ("next-server", None, "127.0.0.9"),
            ("boot-file", "a", "b"),
            ("server-name", "a", None),
            ("option.routers", None, "127.7.0.1"),
            ("option.domain-name-servers", "127.0.0.1", "127.0.0.1, 127.0.0.2"),
            ("option.224", None, "hex:0102"),
        ],
    )
    def test_subnet(self, key, old, new):
        """Each key of a subnet, with both values, and no other key."""

        def text(value):
            lines = SMALL.splitlines()[: -1 if key == "pools" else None]
            return "\n".join(lines) + ("" if value is None else f"\n{key} = {value}\n")

        usual = {"lease-time": "12h"}.get(key) if old is None else old
        assert changes_of(text(old), text(new)) == [
            "  [subnet far]",
            *([] if usual is None else [f"- {key} = {usual}"]),
            *([] if new is None else [f"+ {key} = {new}"]),
        ]

    def test_sections_that_come_and_go(self):
        """Only what was said of them, not what holds for every subnet."""
        other = SMALL.replace("[subnet far]", "[subnet near]")
        assert changes_of(SMALL, other) == [
            "- [subnet far]",
            "- network = 127.7.0.0/16",
            "- pools = 127.7.0.10 - 127.7.0.20",
            "+ [subnet near]",
            "+ network = 127.7.0.0/16",
            "+ pools = 127.7.0.10 - 127.7.0.20",
        ]

    def test_reservation(self):
        """A client that gets another address is one that changes."""
        old, new = SMALL + PRINTER, SMALL + PRINTER.replace("0.50\n", "0.51\n")
        assert changes_of(old, new) == [
            "  [reservation of 02:00:00:00:00:50]",
            "- address = 127.7.0.50",
            "+ address = 127.7.0.51",
        ]

    def test_reservations_of_one_client(self):
        """Where it has several, the address tells which."""
        more = "\n[reservation other]\nhardware = 02:00:00:00:00:50\noption.routers = 127.7.0.1\n"
        assert changes_of(SMALL + PRINTER, SMALL + PRINTER + more) == [
            "+ [reservation of 02:00:00:00:00:50 without an address]",
            "+ option.routers = 127.7.0.1",
        ]

    def test_reservation_of_a_port(self):
        """It is named by what the relay says."""
        port = (
            "\n[reservation port]\ncircuit-id = eth1\nremote-id = sw7\nhostname = tap\n"
        )
        assert changes_of(SMALL, SMALL + port) == [
            "+ [reservation of circuit-id eth1 remote-id sw7]",
            "+ hostname = tap",
        ]

    def test_class(self):
        """Its options, by name."""
        new = SMALL + "\n[class pxe]\nboot-file = x\noption.routers = 127.7.0.1\n"
        assert changes_of(SMALL, new) == [
            "+ [class pxe]",
            "+ boot-file = x",
            "+ option.routers = 127.7.0.1",
        ]

    def test_storage_and_roles(self):
        """What surrounds the storage, and who may do what."""
        new = SMALL.replace(
            "listen =\n", "listen =\nrole ops = reload, list in 10.0.0.0/8\n"
        )
        new += (
            "\n[storage]\ndeadline = 5s\nclient-limit = 20 per 10s\nfallback = stale\n"
        )
        assert changes_of(SMALL, new) == [
            "  [storage]",
            "- deadline = 3s",
            "+ deadline = 5s",
            "- fallback = silence",
            "+ fallback = stale",
            "- client-limit = none",
            "+ client-limit = 20 per 10s",
            "  [control]",
            "+ role ops = list, reload in 10.0.0.0/8",
        ]

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("server", "port = 1067"),
            ("server", "state = elsewhere"),
            ("server", "storage = memory:"),
            ("storage", "history = infinite"),
            ("storage", "reservations = https://who.example/"),
            ("control", "certificate = mine.pem"),
        ],
    )
    def test_needs_a_restart(self, section, line):
        """What a running server cannot change is told apart, and left."""
        new = SMALL.replace("[control]\n", "[storage]\ndeadline = 3s\n[control]\n")
        new = new.replace(f"[{section}]\n", f"[{section}]\n{line}\n")
        changes, restart = differences(parse(SMALL), parse(new))
        assert changes == []
        key, _, value = line.partition(" = ")
        (change,) = restart
        assert (change.section, change.what) == (section, "changed")
        assert change.keys[0][0] == key
        assert change.keys[0][2].endswith(value)
        assert is_like(without_restart(parse(SMALL), parse(new)), SMALL)

    def test_without_restart(self):
        """Roles and limits are taken over, and nothing that a start would open."""
        roles = parse("[control]\nrole ops = reload\n").control.roles
        new = Config(
            interfaces=("eth7",),
            port=1067,
            state=Path("/elsewhere"),
            storage="memory:",
            control=ControlConfig("", "mine.pem", "ours.pem", roles),
            around=StorageConfig(1.0, 2.0, 3, True, None, None, "https://a", "b", "c"),
        )
        assert without_restart(Config(), new) == Config(
            control=ControlConfig(roles=roles),
            around=StorageConfig(deadline=2.0, outstanding=3, stale=True),
        )

    def test_what_only_programs_say(self):
        """What the ini file has no words for is seen, too."""
        (far,) = parse(SMALL).subnets
        one = Reservation(FIRST, hardware=b"\1\2\0\0\0\0\1")
        old = Config((far,), (one,), classes={"pxe": Settings()})
        new = Config(
            (replace(far, excluded=frozenset({FIRST, FIRST + 1})),),
            (replace(one, source="me", on_conflict=OnConflict.MOVE, expires=9.0),),
            classes={"pxe": Settings(hostname="x", renewal_time=90)},
        )
        changes, _ = differences(old, new)
        assert {each.section: each.keys for each in changes} == {
            "subnet far": (("excluded", None, "127.7.0.10, 127.7.0.11"),),
            "class pxe": (("hostname", None, "x"), ("renewal-time", None, "1m30s")),
            "reservation of 02:00:00:00:00:01": (
                ("source", None, "me"),
                ("on-conflict", None, "move"),
                ("expires", None, "@9"),
            ),
        }

    def test_control_characters(self):
        """What could move a cursor is not printed as it is."""
        new = SMALL + "boot-file = a\x1b[2Jb\n"
        assert changes_of(SMALL, new)[1] == "+ boot-file = a\\x1b[2Jb"


async def until(condition):
    """Let the reactor work until something is the case."""
    from twisted.internet import reactor

    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it has not come about")


@pytest.fixture
def start():
    """Start services for sites, each with its file; they are stopped in the end."""
    from twisted.internet import reactor

    services = []

    def start(site, storage=None, **keys):
        path = site.directory / "dhcp.ini"
        path.write_text(site.ini)
        service = DHCPService(reactor, site.config, storage, **{"source": path, **keys})
        service.startService()
        services.append(service)
        return service

    yield start
    for service in services:
        if service.running:
            pytest_twisted.blockon(service.stopService())


def write(site, *pairs, more=""):
    """Change a site's file."""
    for old, new in pairs:
        assert old in site.ini
        site.ini = site.ini.replace(old, new)
    site.ini += more
    (site.directory / "dhcp.ini").write_text(site.ini)


def renewal(site, who, address):
    """A client that asks for the address it has."""
    return site.client(who).message(
        REQUEST, ciaddr=socket.inet_ntoa(address.to_bytes(4, "big"))
    )


class TestService:
    """In somebody's process."""

    @pytest_twisted.ensureDeferred
    async def test_in_force(self, make_site, start):
        """The next packet is answered by the new configuration; leases stay."""
        site = make_site(storage="memory:")
        service = start(site)
        relay = site.relay()
        await deferToThread(relay.bind, site.client(1))
        write(site, ("lease-time = 1h", "lease-time = 2h"), more=PRINTER)
        plan = await service.reload(by="test")
        assert plan.is_applied
        ack = await deferToThread(relay.ask, renewal(site, 1, FIRST))
        assert (ack.type, ack.options[51]) == (ACK, (7200).to_bytes(4, "big"))
        assert (await deferToThread(relay.bind, site.client(0x50))).yiaddr == ip(
            "127.7.0.50"
        )
        assert is_like(service.config, site.ini)

    @pytest_twisted.ensureDeferred
    async def test_plan(self, make_site, start):
        """A plan says the same and changes nothing."""
        site = make_site(storage="memory:")
        service = start(site)
        before, network = service.config, service.network
        write(site, ("lease-time = 1h", "lease-time = 2h"))
        plan = await service.reload(only_plan=True)
        assert not plan.is_applied
        assert plan.changes == (await service.reload()).changes
        assert service.network is not network
        assert before.subnets[0].lease_time == 3600

    @pytest_twisted.ensureDeferred
    async def test_nothing_changes(self, make_site, start):
        """The same file again touches nothing."""
        service = start(make_site(storage="memory:"))
        network = service.network
        plan = await service.reload()
        assert (plan.changes, plan.is_applied) == ([], False)
        assert service.network is network

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, make_site, start):
        """All of them are told, and the old configuration is in force."""
        site = make_site(storage="memory:")
        service = start(site)
        network, good = service.network, site.ini
        write(site, ("lease-time = 1h", "lease-time = 1x"), more="\n[subnet]\n")
        with pytest.raises(ConfigError) as error:
            await service.reload()
        assert len(error.value.problems) == 2
        assert service.network is network
        assert is_like(service.config, good)

    @pytest_twisted.ensureDeferred
    async def test_no_such_storage(self, make_site, start):
        """A storage that a restart would not find is a mistake now."""
        site = make_site(storage="memory:")
        service = start(site)
        write(site, ("storage = memory:", "storage = memry:"))
        with pytest.raises(ConfigError, match="no storage 'memry'"):
            await service.reload()

    @pytest_twisted.ensureDeferred
    async def test_given(self, make_site, start):
        """A program may hand the configuration over."""
        site = make_site(storage="memory:")
        service = start(site, source=None)
        (far,) = service.config.subnets
        new = replace(
            service.config,
            subnets=(replace(far, lease_time=7200, max_lease_time=7200),),
        )
        plan = await service.reload(new)
        assert (plan.is_applied, plan.source) == (True, "")
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.options[51] == (7200).to_bytes(4, "big")

    @pytest.mark.parametrize("kind", ["plain", "async"])
    @pytest_twisted.ensureDeferred
    async def test_function(self, make_site, start, kind):
        """Or a function that is asked for it."""
        site = make_site(storage="memory:")

        def source():
            return parse(site.ini)

        async def later():
            return source()

        service = start(site, source=later if kind == "async" else source)
        site.ini += PRINTER
        assert (await service.reload()).is_applied
        assert len(service.config.reservations) == 1

    @pytest_twisted.ensureDeferred
    async def test_from_nowhere(self, make_site, start):
        """Who gives none, and has said nothing of where it is, is told so."""
        service = start(make_site(storage="memory:"), source=None)
        with pytest.raises(CannotReload, match="where its configuration"):
            await service.reload()

    @pytest_twisted.ensureDeferred
    async def test_not_serving(self, make_site, start):
        """Stopped, or not started yet, there is nothing to reload."""
        service = start(make_site(storage="memory:"))
        await service.stopService()
        with pytest.raises(CannotReload, match="not serving"):
            await service.reload()

    @pytest_twisted.ensureDeferred
    async def test_stopped_meanwhile(self, make_site, start):
        """A reload that is still reading when the server stops changes nothing."""
        site = make_site(storage="memory:")
        found = Deferred()
        service = start(site, source=lambda: found)
        network = service.network
        reloading = ensureDeferred(service.reload())
        await service.stopService()
        found.callback(parse(site.ini + PRINTER))
        with pytest.raises(CannotReload, match="not serving"):
            await reloading
        assert service.network is network

    @pytest_twisted.ensureDeferred
    async def test_restart(self, make_site, start):
        """What needs a restart is told each time, and is in force after one."""
        site = make_site(storage="memory:")
        service = start(site)
        port = site.port
        write(
            site, (f"port = {port}", "port = 1"), ("lease-time = 1h", "lease-time = 2h")
        )
        for applied in (True, False):
            plan = await service.reload()
            assert plan.is_applied is applied
            assert [each.keys for each in plan.restart] == [(("port", str(port), "1"),)]
        assert service.config.port == port
        assert service.config.subnets[0].lease_time == 7200

    @pytest_twisted.ensureDeferred
    async def test_again_after_a_restart(self, make_site, start):
        """A service that is started again serves what was in force, and reloads."""
        site = make_site(storage="memory:")
        service = start(site)
        write(site, more=PRINTER)
        await service.reload()
        await service.stopService()
        service.startService()
        assert (await deferToThread(site.relay().bind, site.client(0x50))).yiaddr == ip(
            "127.7.0.50"
        )
        write(site, ("lease-time = 1h", "lease-time = 2h"))
        assert (await service.reload()).is_applied

    @pytest_twisted.ensureDeferred
    async def test_limits(self, make_site, start):
        """[storage] changes; what was counted under the same limit still counts."""
        site = make_site(storage="memory:")
        service = start(site)
        relay = site.relay()
        write(site, more="\n[storage]\nclient-limit = 1 per 1h\n")
        await service.reload()
        await deferToThread(relay.ask, site.client(1).message(DISCOVER))
        write(
            site, ("client-limit = 1 per 1h", "client-limit = 1 per 1h\ndeadline = 5s")
        )
        await service.reload()
        relay.send(site.client(1).message(DISCOVER))
        await until(lambda: service.status()["limits"].get("flood clients") == 1)
        assert service._heartbeat.limited is service._limited
        write(site, ("client-limit = 1 per 1h\n", ""))
        await service.reload()
        await deferToThread(relay.ask, site.client(1).message(DISCOVER))

    @pytest_twisted.ensureDeferred
    async def test_authoritative(self, make_site, start):
        """Whether what is unknown is refused."""
        site = make_site(storage="memory:")
        service = start(site)
        relay = site.relay()
        assert (await deferToThread(relay.ask, renewal(site, 1, FIRST))).type == NAK
        write(site, ("interfaces = lo", "interfaces = lo\nauthoritative = no"))
        await service.reload()
        relay.send(renewal(site, 1, FIRST))
        await until(
            lambda: service.status()["packets"]["silent"].get("unknown-client") == 1
        )

    @pytest_twisted.ensureDeferred
    async def test_prober(self, make_site, start):
        """Whoever asks whether an address is used knows where subnets are by now."""
        site = make_site(storage="memory:")
        service = start(site)

        class Prober:
            """It asks nobody."""

            network = None

            def close(self):
                """Nothing is open."""

        if service._prober is not None:
            service._prober.close()
        service._prober = Prober()
        write(site, ("lease-time = 1h", "lease-time = 2h"))
        await service.reload()
        assert service._prober.network is service.network

    @pytest_twisted.ensureDeferred
    async def test_two_in_one_process(self, make_site, start):
        """Each has its own configuration."""
        sites = [make_site(storage="memory:") for _ in range(2)]
        services = [start(site) for site in sites]
        write(sites[0], more=PRINTER)
        await services[0].reload()
        assert [len(each.config.reservations) for each in services] == [1, 0]
        assert services[1].network.by_name["far"].lease_time == 3600

    @pytest_twisted.ensureDeferred
    async def test_probe_file(self, make_site, start):
        """`dhcpctl probe` finds the subnet that is served by now."""
        site = make_site()
        service = start(site)
        assert (site.state / "probe").read_text().split()[2] == "127.0.0.2"
        write(site, ("relays = 127.0.0.2", "relays = 127.0.0.3"))
        await service.reload()
        assert (site.state / "probe").read_text().split()[2] == "127.0.0.3"

    @pytest_twisted.ensureDeferred
    async def test_probe_file_is_not_ours(self, make_site, start, complaints):
        """Where it cannot be written, everything else is in force all the same."""
        site = make_site()
        service = start(site)
        (site.state / "probe").unlink()
        (site.state / "probe").mkdir()
        write(site, ("relays = 127.0.0.2", "relays = 127.0.0.3"))
        assert (await service.reload()).is_applied
        assert "dhcpctl probe" in complaints[-1]

    @pytest_twisted.ensureDeferred
    async def test_other_server_identifier(self, make_site, start):
        """Clients know us by the address that is in their network, by now."""
        site = make_site(storage="memory:")
        service = start(site)
        # As if the interface had a second address, in a network that comes.
        service._interfaces["lo"] = [*service._interfaces["lo"], ip("127.9.0.1")]
        spoken = []

        class Frames:
            """What speaks to clients without an address."""

            def speak_as(self, source):
                """Note it."""
                spoken.append(source)

            def close(self):
                """Nothing is open."""

        service._sockets = [(sock, via, Frames()) for sock, via, _ in service._sockets]
        write(site, more="\n[subnet near]\nnetwork = 127.9.0.0/16\n")
        await service.reload()
        assert set(spoken) == {ip("127.9.0.1")}
        assert {via.server_id for _, via, _ in service._sockets} == {ip("127.9.0.1")}
        offer = await deferToThread(site.relay().ask, site.client(1).message(DISCOVER))
        assert offer.options[54] == socket.inet_aton("127.9.0.1")


class TestStorages:
    """Storages of somebody's own."""

    @implementer(IStorage)
    class Plain:
        """It knows nothing of subnets."""

        def offer(self, client, when):
            """Propose the second address of the client's first subnet."""
            return Lease(client.subnets[0].network + 2)

        def commit(self, client, address, when):
            """Bind it."""
            return Lease(address)

        def release(self, client, address, when):
            """Take it back."""
            return True

        def decline(self, client, address, when):
            """Take it back."""
            return True

        def configure(self, client, when):
            """Say nothing."""

    @implementer(INetworkListener)
    class Told(Plain):
        """It wants to be told, and answers when the test says so."""

        def __init__(self):
            self.told = []
            self.answer = None

        def network_changed(self, network, added, removed, when):
            """Note it."""
            self.told.append((network, list(added), list(removed)))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    @pytest_twisted.ensureDeferred
    async def test_plain(self, make_site, start):
        """One that looks at the client's subnets has the new ones at once."""
        site = make_site()
        service = start(site, self.Plain())
        write(
            site,
            ("127.7.0.0/16", "127.8.0.0/16"),
            ("127.7.0.10 - 127.7.0.250", "127.8.0.9"),
            more=PRINTER.replace("127.7", "127.8"),
        )
        plan = await service.reload()
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.yiaddr == ip("127.8.0.2")
        assert [
            "INetworkListener" in note or "ILeases" in note for note in plan.notes
        ] == [True, True]

    @pytest_twisted.ensureDeferred
    async def test_told(self, make_site, start):
        """One that wants to know is told of subnets and reservations, and waited for."""
        site = make_site()
        storage = self.Told()
        service = start(site, storage)
        network, storage.answer = service.network, Deferred()
        write(site, more=PRINTER)
        reloading = ensureDeferred(service.reload())
        await until(lambda: storage.told)
        assert service.network is network
        storage.answer.callback(None)
        await reloading
        told, added, removed = storage.told[0]
        assert told is service.network
        assert [each.address for each in added] == [ip("127.7.0.50")]
        assert removed == []

    @pytest_twisted.ensureDeferred
    async def test_stopped_while_it_is_told(self, make_site, start):
        """A server that stops meanwhile is not given another configuration."""
        site = make_site()
        storage = self.Told()
        service = start(site, storage)
        network, storage.answer = service.network, Deferred()
        write(site, more=PRINTER)
        reloading = ensureDeferred(service.reload())
        await until(lambda: storage.told)
        await service.stopService()
        storage.answer.callback(None)
        with pytest.raises(CannotReload):
            await reloading
        assert service.network is network

    @pytest_twisted.ensureDeferred
    async def test_one_at_a_time(self, make_site, start):
        """The second begins when the first has ended, and finds what that has done."""
        site = make_site()
        storage = self.Told()
        service = start(site, storage)
        storage.answer = Deferred()
        write(site, more=PRINTER)
        first, second = (ensureDeferred(service.reload()) for _ in range(2))
        await until(lambda: storage.told)
        assert len(storage.told) == 1
        storage.answer.callback(None)
        assert [(await each).is_applied for each in (first, second)] == [True, False]
        assert len(storage.told) == 1

    @pytest.mark.parametrize("late", [False, True])
    @pytest_twisted.ensureDeferred
    async def test_refuses(self, make_site, start, late):
        """One that refuses has the last word: the old configuration stays."""
        site = make_site()
        storage = self.Told()
        service = start(site, storage)
        before = service.config, service.network
        storage.answer = OSError("no room")
        if late:
            storage.answer = Deferred()
            storage.answer.errback(OSError("no room"))
        write(site, more=PRINTER)
        with pytest.raises(OSError, match="no room"):
            await service.reload()
        assert (service.config, service.network) == before
        storage.answer = None
        assert (await service.reload()).is_applied


@pytest.fixture
def pool(make_site, start):
    """A server with a pool in memory, its relay, and a way to bind clients."""
    site = make_site(storage="memory:")
    site.service = start(site)
    site.link = site.relay()

    async def bind(number):
        ack = await deferToThread(site.link.bind, site.client(number))
        return ack.yiaddr

    site.bind = bind
    return site


class TestPlan:
    """Whom a reload affects."""

    @pytest_twisted.ensureDeferred
    async def test_stranded(self, pool):
        """Leases outside the new pools are named, with their end and the reason."""
        for number in (1, 2, 3):
            await pool.bind(number)
        write(
            pool,
            ("127.7.0.10 - 127.7.0.250", "127.7.0.11 - 127.7.0.250"),
            ("lease-time", "option.routers = 127.7.0.12\nlease-time"),
        )
        plan = await pool.service.reload(only_plan=True)
        found = [(each["address"], each["why"]) for each in plan.stranded.named]
        assert found == [
            ("127.7.0.10", "in no pool"),
            ("127.7.0.12", "a router's address"),
        ]
        assert plan.stranded.named[0]["client"] == "02:00:00:00:00:01"
        assert plan.stranded.named[0]["until"] > time.time()
        await pool.service.reload()
        for number, kind in ((1, NAK), (2, ACK), (3, NAK)):
            address = FIRST - 1 + number
            reply = await deferToThread(pool.link.ask, renewal(pool, number, address))
            assert reply.type == kind
        # They are stranded already: another reload does not strand them.
        write(pool, ("127.7.0.11 - 127.7.0.250", "127.7.0.11 - 127.7.0.240"))
        assert (await pool.service.reload(only_plan=True)).stranded.count == 0

    @pytest_twisted.ensureDeferred
    async def test_subnet_goes(self, pool):
        """All its leases are stranded; the first are named, the rest counted."""
        for number in range(1, 4):
            await pool.bind(number)
        write(
            pool,
            ("127.7.0.0/16", "127.8.0.0/16"),
            ("127.7.0.10 - 127.7.0.250", "127.8.0.9"),
        )
        plan = await pool.service.reload(only_plan=True)
        assert plan.stranded.count == 3
        assert {each["why"] for each in plan.stranded.named} == {"in no subnet"}
        plan.stranded.count = 0
        for _ in range(MOST_NAMED):
            plan.stranded.note({})
        assert len(plan.stranded.named) == MOST_NAMED

    @pytest_twisted.ensureDeferred
    async def test_saved_by_a_reservation(self, pool):
        """A lease outside the pools that is reserved for its client is not stranded."""
        await pool.bind(1)
        mine = (
            "\n[reservation one]\nhardware = 02:00:00:00:00:01\naddress = 127.7.0.10\n"
        )
        write(pool, ("127.7.0.10 - 127.7.0.250", "127.7.0.11 - 127.7.0.250"), more=mine)
        assert (await pool.service.reload()).stranded.count == 0
        write(pool, (mine, ""))
        plan = await pool.service.reload(only_plan=True)
        assert [each["address"] for each in plan.stranded.named] == ["127.7.0.10"]

    @pytest_twisted.ensureDeferred
    async def test_waiting_and_moved(self, pool):
        """Who has a reserved address, and who is to get one, is told."""
        for number in (1, 2):
            await pool.bind(number)
        write(
            pool,
            more="\n[reservation a]\nhardware = 02:00:00:00:00:09\naddress = 127.7.0.10\n\n[reservation b]\nhardware = 02:00:00:00:00:02\naddress = 127.7.0.99\n",
        )
        plan = await pool.service.reload()
        assert [(each["address"], each["why"]) for each in plan.waiting.named] == [
            ("127.7.0.10", "02:00:00:00:00:01 has it")
        ]
        assert [(each["address"], each["why"]) for each in plan.moved.named] == [
            ("127.7.0.11", "127.7.0.99 is reserved for it")
        ]
        assert (
            await deferToThread(pool.link.ask, renewal(pool, 2, FIRST + 1))
        ).type == NAK
        assert await pool.bind(2) == ip("127.7.0.99")
        assert await pool.bind(9) not in {FIRST, ip("127.7.0.99")}

    @pytest_twisted.ensureDeferred
    async def test_waiting_for_what_rests(self, pool):
        """A reserved address may rest because it was declined, or taken away."""
        storage, when = pool.service.storage, pool.service.clock()
        for number in (1, 2):
            await pool.bind(number)
        storage.prober = None
        await storage.revoke(FIRST, when)
        bad = pool.client(2).message(
            MessageType.DECLINE, requested="127.7.0.11", server="127.0.0.1"
        )
        pool.link.send(bad)
        await until(lambda: not storage.index.leases[FIRST + 1].bound(when))
        more = (
            "".join(
                f"\n[reservation r{n}]\nhardware = 02:00:00:00:00:0{n}\naddress = 127.7.0.{n}\n"
                for n in (10, 11)
            )
            .replace(":010", ":0a")
            .replace(":011", ":0b")
        )
        write(pool, more=more)
        plan = await pool.service.reload(only_plan=True)
        assert [each["why"] for each in plan.waiting.named] == [
            "it was taken from 02:00:00:00:00:01",
            "02:00:00:00:00:02 found it in use",
        ]

    @pytest_twisted.ensureDeferred
    async def test_at_home(self, pool):
        """Who has already what is reserved for it neither waits nor moves."""
        await pool.bind(1)
        write(
            pool,
            more="\n[reservation a]\nhardware = 02:00:00:00:00:01\naddress = 127.7.0.10\n",
        )
        plan = await pool.service.reload()
        assert (plan.waiting.count, plan.moved.count) == (0, 0)

    @pytest_twisted.ensureDeferred
    async def test_conflicts(self, pool):
        """Pushed reservations that the file's are in the way of, once each."""
        storage, when = pool.service.storage, pool.service.clock()
        at = Reservation(ip("127.7.0.50"), hardware=b"\1\2\0\0\0\0\7", source="netbox")
        for each in (
            at,
            replace(at, address=ip("127.7.0.60"), hardware=b"\1\2\0\0\0\0\x50"),
        ):
            await storage.reserve(each, when)
        write(pool, more=PRINTER)
        plan = await pool.service.reload()
        found = [
            (each["address"], each["client"], each["source"])
            for each in plan.conflicts.named
        ]
        assert sorted(found) == [
            ("127.7.0.50", "02:00:00:00:00:07", "netbox"),
            ("127.7.0.60", "02:00:00:00:00:50", "netbox"),
        ]
        assert (
            plan.conflicts.named[0]["why"]
            == "the configuration has 127.7.0.50 for 02:00:00:00:00:50"
        )
        assert len(storage.reservations(None, 10, None)) == 1

    @pytest_twisted.ensureDeferred
    async def test_no_conflict_with_itself(self, pool):
        """A reservation of the file that changes is in nobody's way."""
        write(pool, more=PRINTER)
        await pool.service.reload()
        write(pool, ("address = 127.7.0.50", "address = 127.7.0.51"))
        assert (await pool.service.reload()).conflicts.count == 0

    @pytest_twisted.ensureDeferred
    async def test_homeless(self, pool):
        """Pushed reservations whose subnet goes."""
        each = Reservation(
            ip("127.7.0.50"), hardware=b"\1\2\0\0\0\0\7", source="netbox"
        )
        await pool.service.storage.reserve(each, pool.service.clock())
        write(
            pool,
            ("127.7.0.0/16", "127.8.0.0/16"),
            ("127.7.0.10 - 127.7.0.250", "127.8.0.9"),
        )
        plan = await pool.service.reload()
        assert [each["why"] for each in plan.conflicts.named] == ["in no subnet"]
        # It is homeless already: another reload does not make it so.
        write(pool, ("127.8.0.0/16", "127.9.0.0/16"), ("127.8.0.9", "127.9.0.9"))
        assert (await pool.service.reload()).conflicts.count == 0

    @pytest_twisted.ensureDeferred
    async def test_counted_once(self, pool):
        """A lease whose reservation and whose pool both go is stranded once."""
        mine = PRINTER.replace("0.50\n", "0.10\n")
        write(pool, more=mine)
        await pool.service.reload()
        await pool.bind(0x50)
        write(pool, ("127.7.0.10 - ", "127.7.0.11 - "), (mine, ""))
        assert (await pool.service.reload(only_plan=True)).stranded.count == 1

    @pytest_twisted.ensureDeferred
    async def test_many_leases(self, pool, monkeypatch):
        """Looking through very many gives way to packets."""
        storage = pool.service.storage
        area = storage.index.area_of(FIRST)
        for number in range(1, 5000):
            hardware = b"\1\2\0\0" + number.to_bytes(3, "big")
            storage.index.put(
                area, Lease(ip("127.7.1.0") + number, key=hardware, hardware=hardware)
            )
        monkeypatch.setattr("dhcptwist.affected.LOOK", 0.0)
        write(pool, ("127.7.0.10 - 127.7.0.250", "127.7.1.1 - 127.7.9.250"))
        reloading = ensureDeferred(pool.service.reload(only_plan=True))
        await deferToThread(pool.link.ask, pool.client(1).message(DISCOVER))
        assert (await reloading).stranded.count == 0
