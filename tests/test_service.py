"""The whole server in somebody's process: real sockets on loopback, a real reactor."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from dhcptwist import __version__
from dhcptwist.clock import SteadyClock
from dhcptwist.interfaces import IClockListener, IStorage, IStorageService
from dhcptwist.lease import EventKind, Lease, LeaseState, Settings, Silence
from dhcptwist.service import DHCPService
from dhcptwist.storage.around import Around
from dhcptwist.storage.sqlite_schema import StorageUnusable
from dhcptwist.testing import ip
from dhcptwist.transport.sockets import CannotServe, open_socket
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK = MessageType.OFFER, MessageType.ACK
US = "127.0.0.1"
PXE = "02:00:00:00:00:01"  # the first client of a site


@implementer(IStorage, IStorageService, IClockListener)
class Slow:
    """A storage that notes what it is asked, and answers when the test says so."""

    def __init__(self):
        self.asked = []
        self.steps = []
        self.ticks = []
        self.started = self.commits = self.stopped = None

    def start(self, when):
        """Begin; at once if the test has nothing else in mind."""
        self.asked.append("start")
        return self.started

    def stop(self):
        """End, likewise."""
        self.asked.append("stop")
        return self.stopped

    async def offer(self, client, when):
        """Propose one address to everyone."""
        self.asked.append("offer")
        return Lease(ip("127.7.0.99"))

    async def commit(self, client, address, when):
        """Bind it when the test says so."""
        self.asked.append("commit")
        if self.commits is not None:
            await self.commits
        return Lease(address)

    def clock_ticked(self, when):
        """Note it."""
        self.ticks.append(when)

    def clock_stepped(self, by):
        """Note it."""
        self.steps.append(by)


@pytest.fixture
def start():
    """Start services for sites, and stop those that the test leaves running."""
    from twisted.internet import reactor

    services = []

    def start(site, storage=None, *, privileged=True):
        service = DHCPService(reactor, site.config, storage)
        if privileged:
            service.privilegedStartService()
        service.startService()
        services.append(service)
        return service

    yield start
    for service in services:
        if service.running:
            pytest_twisted.blockon(service.stopService())


async def until(condition):
    """Let the reactor work until something is the case."""
    from twisted.internet import reactor

    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it has not come about")


def sockets():
    """The sockets that this process has open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            name = str(each.readlink())
        except FileNotFoundError:
            continue  # the one that lists the directory
        if name.startswith("socket:"):
            found.add(name)
    return found


@pytest.fixture(autouse=True)
def _warm():
    """Open what the reactor and its threads keep, before a test counts sockets."""
    pytest_twisted.blockon(deferToThread(os.getpid))


class TestServing:
    """Packets through the kernel and the reactor."""

    @pytest_twisted.ensureDeferred
    async def test_whole_exchange(self, make_site, start):
        """DISCOVER, OFFER, REQUEST, ACK; and the lease is on disk when the ACK is here."""
        site = make_site()
        service = start(site)
        relay, who = site.relay(), site.client(1)
        ack = await deferToThread(relay.bind, who)
        assert ack.yiaddr == ip("127.7.0.10")
        assert ack.address(54) == ip(US)
        with closing(sqlite3.connect(site.state / "leases.sqlite")) as file:
            rows = file.execute("SELECT address, state, client FROM lease").fetchall()
        assert rows == [(ack.yiaddr, LeaseState.BOUND, who.hardware)]
        assert service.counters.sent[OFFER] == service.counters.sent[ACK] == 1

    @pytest_twisted.ensureDeferred
    async def test_renewal_by_unicast(self, make_site, start):
        """A client that has its address is answered there, on the clients' port."""
        site = make_site()
        start(site)
        who = site.client(1)
        ack = await deferToThread(site.relay().bind, who)
        address = socket.inet_ntoa(ack.raw[16:20])
        who.fields = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((address, site.port + 1))
            client.settimeout(10)
            renewal = who.message(REQUEST, ciaddr=address).encode()
            client.sendto(renewal, (US, site.port))
            data, source = await deferToThread(client.recvfrom, 2048)
        assert data[4:8] == renewal[4:8]
        assert data[16:20] == ack.raw[16:20]
        assert source == (US, site.port)

    @pytest_twisted.ensureDeferred
    async def test_without_privileged_start(self, make_site, start):
        """A runner like twist calls startService only: sockets are opened there."""
        site = make_site()
        start(site, privileged=False)
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.yiaddr == ip("127.7.0.10")

    @pytest_twisted.ensureDeferred
    async def test_privileged_start_binds(self, make_site, start):
        """After it a port below 1024 would be ours, and rights can be dropped."""
        from twisted.internet import reactor

        site = make_site()
        service = DHCPService(reactor, site.config)
        service.privilegedStartService()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
            pytest.raises(OSError, match="in use"),
        ):
            other.bind(("", site.port))
        before = sockets()
        service.startService()
        # The reactor reads from copies of the sockets there are; none is new.
        assert sockets() == before
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.type == ACK
        await service.stopService()

    @pytest_twisted.ensureDeferred
    async def test_without_rights(self, make_site, start, monkeypatch):
        """Who may not open raw sockets serves without frames and probes."""

        def forbidden(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("dhcptwist.service.Prober", forbidden)
        site = make_site()
        service = start(site)
        assert service.storage.prober is None
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.type == ACK

    @pytest_twisted.ensureDeferred
    async def test_two_in_one_process(self, make_site, start):
        """Invariant 7: each with its own port, state and leases, and nothing shared."""
        one, two = make_site(), make_site()
        first, second = start(one), start(two)
        who, other = one.client(1), one.client(2)
        here, there = one.relay(), two.relay()
        ack = await deferToThread(here.bind, who)
        assert (await deferToThread(there.bind, other)).yiaddr == ack.yiaddr
        assert first.storage.index.leases[ack.yiaddr].key == who.hardware
        assert second.storage.index.leases[ack.yiaddr].key == other.hardware
        assert first.counters.figures() == second.counters.figures()
        assert sum(first.counters.received) == 2
        await first.stopService()
        assert (await deferToThread(there.bind, other)).yiaddr == ack.yiaddr


class TestInterfaces:
    """An interface that is no loopback, as far as one without a network goes."""

    @pytest.fixture
    def opened(self, monkeypatch):
        """An interface eth9 with two addresses; what was opened on it."""
        mine = [ip("192.0.2.1"), ip("127.7.0.1")]
        opened = []

        def sockets_on(name, address, port):
            opened.append((name, address, port))
            return open_socket("lo", address and ip("127.0.0.1"), port)

        monkeypatch.setattr(
            "dhcptwist.service.choose_interfaces", lambda _: {"eth9": mine}
        )
        monkeypatch.setattr("dhcptwist.service.open_socket", sockets_on)
        monkeypatch.setattr("dhcptwist.service.Prober", lambda *_: None)
        return opened

    @pytest_twisted.ensureDeferred
    async def test_frames(self, make_site, start, opened, monkeypatch):
        """A socket for broadcasts, one for each address, one for frames; all closed."""
        site = make_site()
        frames = []

        class Frames:
            closed = False

            def __init__(self, *arguments):
                frames.append((arguments, self))

            def close(self):
                self.closed = True

        monkeypatch.setattr("dhcptwist.service.PacketSocket", Frames)
        service = start(site)
        assert opened == [
            ("eth9", 0, site.port),
            ("eth9", ip("192.0.2.1"), site.port),
            ("eth9", ip("127.7.0.1"), site.port),
        ]
        vias = [protocol.via for _, protocol in service._ports]
        assert [via.unicast for via in vias] == [False, True, True]
        # Clients know us by the address that is in their subnet.
        assert {via.server_id for via in vias} == {ip("127.7.0.1")}
        assert all(via.frames and via.interface == "eth9" for via in vias)
        assert service.network.link_of_interface("eth9") == service.network.subnets
        [(arguments, sender)] = frames
        assert arguments == ("eth9", ip("127.7.0.1"), site.port)
        assert all(protocol.frames is sender for _, protocol in service._ports)
        await service.stopService()
        assert sender.closed

    @pytest_twisted.ensureDeferred
    async def test_no_right_to_frames(self, make_site, start, opened, monkeypatch):
        """Without the right to frames replies are broadcast, as the RFC allows."""

        def forbidden(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("dhcptwist.service.PacketSocket", forbidden)
        service = start(make_site())
        assert len(opened) == 3
        assert not any(protocol.via.frames for _, protocol in service._ports)


class TestStorage:
    """Who decides."""

    @pytest_twisted.ensureDeferred
    async def test_own(self, make_site, start):
        """A storage that is handed in is the one that is asked; async def will do."""
        site = make_site(storage="no-such-storage:")
        storage = Slow()
        service = start(site, storage)
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.yiaddr == ip("127.7.0.99")
        assert storage.asked == ["start", "offer", "commit"]
        assert service.storage is storage
        await service.stopService()
        assert storage.asked[-1] == "stop"
        assert not site.state.exists()

    @pytest_twisted.ensureDeferred
    async def test_start_takes_time(self, make_site, start):
        """Nothing is answered before the storage has read what it knows."""
        site = make_site()
        storage = Slow()
        storage.started = Deferred()
        service = start(site, storage)
        relay = site.relay()
        relay.send(site.client(1).message(DISCOVER))
        assert service._ports == []
        storage.started.callback(None)
        reply = await deferToThread(relay.receive)
        assert reply.yiaddr == ip("127.7.0.99")

    @pytest_twisted.ensureDeferred
    async def test_stop_while_starting(self, make_site, start):
        """Stopped before the storage was ready, it does not begin to serve afterwards."""
        site = make_site()
        storage = Slow()
        storage.started = Deferred()
        service = start(site, storage)
        before = sockets()
        await service.stopService()
        assert len(sockets()) < len(before)
        storage.started.callback(None)
        assert service._ports == []
        assert service._heartbeat is None

    def test_unusable(self, make_site, start):
        """StorageUnusable reaches who starts it, and no socket stays open."""
        site = make_site()
        site.state.mkdir()
        (site.state / "leases.sqlite").write_text("not a database, by any means" * 50)
        before = sockets()
        with pytest.raises(StorageUnusable, match=r"leases\.sqlite"):
            start(site)
        assert sockets() == before

    def test_unusable_without_privileged_start(self, make_site, start):
        """The same where sockets are opened by startService."""
        site = make_site()
        site.state.write_text("a file, where a directory should be")
        before = sockets()
        with pytest.raises(StorageUnusable, match="cannot be used"):
            start(site, privileged=False)
        assert sockets() == before

    def test_no_storage(self, make_site):
        """What is handed in and is none is refused before anything is opened."""

        class Almost:
            """It lacks its @implementer."""

        with pytest.raises(TypeError, match=r"a Almost does not provide .*IStorage"):
            DHCPService(None, make_site().config, Almost())

    @pytest_twisted.ensureDeferred
    async def test_what_it_is_made_of(self, make_site, start, monkeypatch):
        """A storage may look at everything that the configuration says of storages."""
        made = []

        def make_storage(text, context):
            made.append((text, context))
            return Slow()

        monkeypatch.setattr("dhcptwist.service.make_storage", make_storage)
        site = make_site(storage="sqlite:a")
        site.ini += "[storage]\nhistory = 1d\n[class pxe]\nboot-file = x\n"
        service = start(site)
        [(text, context)] = made
        assert text == "sqlite:a"
        assert context.network is service.network
        assert context.state == site.state
        assert context.around.history == 86400.0
        assert context.classes == {"pxe": Settings(boot_file="x")}

    def test_unknown(self, make_site, start):
        """A storage that does not exist is a ValueError, and leaves nothing open."""
        before = sockets()
        with pytest.raises(ValueError, match="there is no storage 'csv'"):
            start(make_site(storage="csv:leases"))
        assert sockets() == before

    @pytest_twisted.ensureDeferred
    async def test_fails_later(self, make_site, start, logged_failures):
        """A storage that fails after startService: it is told, and no socket stays.

        A port that is held by nobody who answers looks like a server from outside.
        """
        site = make_site()
        storage = Slow()
        storage.started = Deferred()
        before = sockets()
        service = start(site, storage)
        storage.started.errback(StorageUnusable("the database is gone"))
        assert len(logged_failures.flush(StorageUnusable)) == 1
        left = sockets()
        await service.stopService()
        assert sockets() == before
        assert left == before


@implementer(IStorage)
class Watcher(Around):
    """A storage around a storage that notes what it is asked."""

    def __init__(self, storage, *given):
        super().__init__(storage)
        self.inner = storage
        self.given = given
        self.asked = []
        self.steps = []

    def offer(self, client, when):
        """Pass it on."""
        self.asked.append("offer")
        return self.inner.offer(client, when)

    def commit(self, client, address, when):
        """Pass it on."""
        self.asked.append("commit")
        return self.inner.commit(client, address, when)

    def own_figures(self):
        """What `Status` shows."""
        return {"asked": len(self.asked)}

    def clock_stepped(self, by):
        """Note it."""
        self.steps.append(by)

    def stop(self):
        """Note whether the storage had gone already."""
        self.asked.append(("stop", self.inner.asked[-1]))


class TestLimits:
    """What stands between packets and the storage."""

    @pytest.fixture
    def around(self, monkeypatch):
        """What is put around storages."""
        made = []

        def limited(*given):
            made.append(Watcher(*given))
            return made[-1]

        monkeypatch.setattr("dhcptwist.service.limited", limited)
        return made

    @pytest_twisted.ensureDeferred
    async def test_packets_ask_it(self, make_site, start, around):
        """Packets do; start, stop and whoever looks at the storage do not."""
        from twisted.internet import reactor

        site = make_site()
        site.ini += "[storage]\nfallback = stale\n"
        storage = Slow()
        service = start(site, storage)
        [limits] = around
        config = service.config.around
        assert config.stale
        assert limits.given == (config, reactor)
        assert limits.inner is service.storage is storage
        await deferToThread(site.relay().bind, site.client(1))
        assert limits.asked == ["offer", "commit"]
        assert storage.asked == ["start", "offer", "commit"]
        assert service.status()["limits"] == {"asked": 2}
        await service.stopService()
        # It hears of the end before the storage does, and waits for what is under way.
        assert limits.asked[2:] == [("stop", "commit")]
        assert storage.asked[-1] == "stop"
        assert service.status()["limits"] == {}

    @pytest_twisted.ensureDeferred
    async def test_again(self, make_site, start, around):
        """Each start has limits of its own."""
        service = start(make_site(), Slow())
        await service.stopService()
        service.startService()
        assert len(around) == 2
        assert all(protocol.storage is around[1] for _, protocol in service._ports)

    @pytest_twisted.ensureDeferred
    async def test_stop_before_there_are_any(self, make_site, start, around):
        """Stopped while the storage opens, there is nothing to stop but that."""
        storage = Slow()
        storage.started = Deferred()
        service = start(make_site(), storage)
        await service.stopService()
        assert (around, storage.asked) == ([], ["start", "stop"])
        storage.started.callback(None)

    @pytest_twisted.ensureDeferred
    async def test_late(self, make_site, start):
        """The limits are there: an answer that comes too late is none."""
        site = make_site()
        site.ini += "[storage]\ndeadline = 1s\n"
        storage = Slow()
        storage.commits = Deferred()
        service = start(site, storage)
        relay, who = site.relay(), site.client(1)
        relay.send(who.message(REQUEST, requested="127.7.0.50", server=US))
        late = service.counters.silences
        await until(lambda: late[Silence.STORAGE_LATE] == 1)
        storage.commits.callback(None)
        assert relay.receive(0) is None


class TestClasses:
    """Settings by name, all the way from the file to a client."""

    INI = "[class pxe]\nboot-file = pxe.efi\noption.domain-name = pxe.example\n"

    @pytest_twisted.ensureDeferred
    async def test_of_a_reservation(self, make_site, start):
        """A reservation that names a class gets what it says."""
        site = make_site()
        site.ini += f"{self.INI}[reservation box]\nhardware = {PXE}\nclass = pxe\n"
        start(site)
        relay = site.relay()
        ack = await deferToThread(relay.bind, site.client(1))
        assert ack.file.rstrip(b"\0") == b"pxe.efi"
        assert ack.options[15] == b"pxe.example"
        other = await deferToThread(relay.bind, site.client(2))
        assert (other.file.rstrip(b"\0"), 15 in other.options) == (b"", False)

    @pytest_twisted.ensureDeferred
    async def test_of_a_storage(self, make_site, start):
        """So does a lease; a class that is not there is told, once, and harms nobody."""
        names = ["pxe", "go\x1bne", "go\x1bne", "pxe"]
        told = []

        class Naming(Slow):
            async def commit(self, client, address, when):
                return Lease(address, settings=Settings(client_class=names.pop(0)))

        def observe(event):
            if "names the class" in str(event.get("log_format")):
                told.append(event["name"])

        site = make_site()
        site.ini += self.INI
        start(site, Naming())
        relay = site.relay()
        globalLogPublisher.addObserver(observe)
        try:
            acks = [
                await deferToThread(relay.bind, site.client(n)) for n in range(1, 5)
            ]
        finally:
            globalLogPublisher.removeObserver(observe)
        files = [ack.file.rstrip(b"\0") for ack in acks]
        assert files == [b"pxe.efi", b"", b"", b"pxe.efi"]
        assert told == ["go\\x1bne"]


class TestCannotServe:
    """What a person is told who asks for what cannot be had."""

    def test_port_in_use(self, make_site, start):
        """It says which port, and how to find out who has it."""
        site = make_site()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", site.port))
            before = sockets()
            with pytest.raises(CannotServe) as told:
                start(site)
            assert sockets() == before
        assert f"port {site.port} on lo: another program has it" in str(told.value)
        assert f"ss -lunp 'sport = {site.port}'" in str(told.value)

    @pytest_twisted.ensureDeferred
    async def test_twice(self, make_site, start):
        """A second server on the same port is refused, and the first goes on."""
        site = make_site()
        start(site)
        with pytest.raises(CannotServe, match="another program has it"):
            start(site)
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.type == ACK

    def test_no_such_interface(self, make_site, start):
        """It names those there are."""
        site = make_site()
        site.ini = site.ini.replace("interfaces = lo", "interfaces = lo, nosuch0")
        before = sockets()
        with pytest.raises(CannotServe, match=r"no interface nosuch0; there are .*lo"):
            start(site)
        assert sockets() == before

    @pytest_twisted.ensureDeferred
    async def test_another_try(self, make_site, start):
        """Once the port is free the same service can be started."""
        from twisted.internet import reactor

        site = make_site()
        service = DHCPService(reactor, site.config)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", site.port))
            with pytest.raises(CannotServe):
                service.startService()
        assert not service.running
        service.startService()
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.type == ACK
        await service.stopService()

    @pytest_twisted.ensureDeferred
    async def test_control_in_use(self, make_site, start):
        """If the control channel cannot listen, the storage is let go again too."""
        with socket.socket() as other:
            other.bind((US, 0))
            other.listen()
            taken = other.getsockname()[1]
            site = make_site(listen=f"tcp:{taken}:interface=127.0.0.1")
            before = sockets()
            with pytest.raises(CannotServe, match=str(taken)):
                start(site)
            assert sockets() == before
        site.ini = site.ini.replace(f"listen = tcp:{taken}:interface=127.0.0.1", "")
        site.ini = site.ini.replace("[control]", "[control]\nlisten =")
        start(site)
        ack = await deferToThread(site.relay().bind, site.client(1))
        assert ack.type == ACK


class TestStopping:
    """Nothing is lost, and everything is let go."""

    @pytest.mark.parametrize("same", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_leases_stay(self, make_site, start, same):
        """Started again, as the same object or another, everyone keeps what it has."""
        site = make_site()
        service = start(site)
        clients = [site.client(number) for number in range(1, 4)]
        relay = site.relay()
        given = [(await deferToThread(relay.bind, who)).yiaddr for who in clients]
        relay.socket.close()
        await service.stopService()
        if same:
            service.startService()
        else:
            start(site)
        relay = site.relay()
        new = await deferToThread(relay.bind, site.client(9))
        assert new.yiaddr not in given
        for who, address in zip(reversed(clients), reversed(given), strict=True):
            asks = who.message(REQUEST, options={50: address.to_bytes(4, "big")})
            ack = await deferToThread(relay.ask, asks)
            assert (ack.type, ack.yiaddr) == (ACK, address)

    @pytest_twisted.ensureDeferred
    async def test_everything_is_closed(self, make_site, start):
        """No socket, no thread at work, no lock; another server can have it all."""
        site = make_site(listen="unix:control.sock:mode=600")
        before = sockets()
        service = start(site)
        assert service.control_port is not None
        assert len(sockets()) > len(before)
        await service.stopService()
        assert sockets() == before
        assert service.control_port is None
        start(site)

    @pytest_twisted.ensureDeferred
    async def test_waits_for_the_disk(self, make_site, start):
        """A REQUEST that waits for its transaction is answered before all ends."""
        site = make_site()
        service = start(site)
        relay, who = site.relay(), site.client(1)
        offer = await deferToThread(relay.ask, who.message(DISCOVER))
        begun, go_on = Event(), Event()
        file = service.storage.journal._file
        write = file.write

        def slow(batch):
            begun.set()
            assert go_on.wait(20)
            write(batch)

        file.write = slow
        taken = {50: offer.raw[16:20], 54: offer.options[54]}
        relay.send(who.message(REQUEST, options=taken))
        assert await deferToThread(begun.wait, 10)
        stopped = service.stopService()
        late = site.client(2).message(DISCOVER)
        relay.send(late)
        await until(lambda: service.running == 0)
        assert not stopped.called
        assert relay.receive(0) is None
        go_on.set()
        await stopped
        ack = relay.receive(0)
        assert (ack.type, ack.yiaddr) == (ACK, offer.yiaddr)
        # What came after the stop was not heard.
        assert relay.receive(0) is None
        assert service.counters.received[DISCOVER] == 1

    @pytest_twisted.ensureDeferred
    async def test_waits_for_any_storage(self, make_site, start):
        """A storage of one's own says by its stop how long its answers may take."""
        site = make_site()
        storage = Slow()
        storage.commits, storage.stopped = Deferred(), Deferred()
        service = start(site, storage)
        relay, who = site.relay(), site.client(1)
        relay.send(who.message(REQUEST, requested="127.7.0.50", server=US))
        await until(lambda: "commit" in storage.asked)
        stopped = service.stopService()
        await until(lambda: "stop" in storage.asked)
        assert not stopped.called
        storage.commits.callback(None)
        storage.stopped.callback(None)
        await stopped
        assert relay.receive(0).yiaddr == ip("127.7.0.50")


class TestStatus:
    """What the server tells of itself."""

    @pytest_twisted.ensureDeferred
    async def test_figures(self, make_site, start):
        """Version, time, port, and what became of packets."""
        site = make_site(storage="memory:")
        service = start(site)
        relay = site.relay()
        relay.send(b"nonsense")
        await deferToThread(relay.bind, site.client(1))
        start_of_it = service.clock()
        service.clock = lambda: start_of_it + 100
        status = service.status()
        assert status.pop("uptime") in {100, 101}
        assert status == {
            "version": __version__,
            "port": site.port,
            "stalls": 0,
            "packets": {
                "received": {"discover": 1, "request": 1},
                "sent": {"offer": 1, "ack": 1},
                "silent": {"malformed": 1},
                "failed": {},
            },
            "limits": {"waiting": 0, "late": 0, "busy": 0, "most waiting": 0},
        }


class TestReservations:
    """``[reservation]`` sections that nobody heeds are told of."""

    RESERVED = (
        "[reservation printer]\nhardware = 02:00:00:00:00:07\naddress = 127.7.0.9\n"
    )

    @pytest.mark.parametrize("sections", [True, False])
    @pytest.mark.parametrize("heeded", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_told(self, make_site, start, complaints, sections, heeded):
        """Once, at the start, with how many there are; a pool heeds them."""
        site = make_site(storage="memory:")
        if sections:
            site.ini += self.RESERVED
        start(site, None if heeded else Slow())
        told = [line for line in complaints if "[reservation]" in line]
        if sections and not heeded:
            [line] = told
            assert line.startswith("1 [reservation] sections are up to ")
            assert "Slow" in line
        else:
            assert told == []


class Wall:
    """A wall clock that the test sets."""

    def __init__(self):
        self.now = 1_000_000.0
        self.looks = 0

    def __call__(self):
        """What it shows; counts how often it was looked at."""
        self.looks += 1
        return self.now

    async def seen(self):
        """Wait until it was looked at again since now."""
        looks = self.looks
        await until(lambda: self.looks > looks)


class TestClock:
    """Invariant 8: a wall clock that is set moves nobody's remaining time."""

    @pytest.fixture
    def wall(self, monkeypatch):
        """The wall clock, looked at often by a server whose own time stands still."""
        wall = Wall()
        monkeypatch.setattr("dhcptwist.heartbeat.CLOCK_WATCH", 0.01)
        monkeypatch.setattr(
            "dhcptwist.service.SteadyClock", lambda: SteadyClock(wall, lambda: 0.0)
        )
        return wall

    @pytest_twisted.ensureDeferred
    async def test_storage_is_told(self, make_site, start, wall):
        """By how much, and once; not when it merely drifts."""
        storage = Slow()
        start(make_site(), storage)
        for step in (86400.0, 1.0, 0.0, -7201.0):
            wall.now += step
            await wall.seen()
        assert storage.steps == [86400.0, -7200.0]

    @pytest_twisted.ensureDeferred
    async def test_leases_move(self, make_site, start, wall):
        """Who had an hour left has it still, twenty years later."""
        site = make_site()
        service = start(site)
        ack = await deferToThread(site.relay().bind, site.client(1))
        lease = service.storage.index.leases[ack.yiaddr]
        assert lease.expires - service.clock() == 3600
        wall.now += 20 * 365 * 86400.0
        await wall.seen()
        assert service.clock() == wall.now
        assert lease.expires - service.clock() == 3600

    @pytest_twisted.ensureDeferred
    async def test_storage_fails(self, make_site, start, wall, logged_failures):
        """It is told, and the server looks after its clock as before."""
        storage = Slow()
        start(make_site(), storage)

        async def broken(by):
            storage.steps.append(by)
            raise OSError(5, "Input/output error")

        storage.clock_stepped = broken
        for _ in range(2):
            wall.now += 100.0
            await wall.seen()
        assert storage.steps == [100.0, 100.0]
        assert len(logged_failures.flush(OSError)) == 2


class TestTick:
    """A storage that keeps times is told of every second."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch):
        """Seconds that are short."""
        monkeypatch.setattr("dhcptwist.heartbeat.CLOCK_TICK", 0.01)

    @pytest_twisted.ensureDeferred
    async def test_storage_is_told(self, make_site, start):
        """With the server's time; no more once it is stopped."""
        storage = Slow()
        service = start(make_site(), storage)
        service._heartbeat.clock = iter(range(1, 10_000)).__next__
        await until(lambda: len(storage.ticks) >= 3)
        assert storage.ticks[:3] == [1, 2, 3]
        await service.stopService()
        count = len(storage.ticks)
        assert service._heartbeat._loops == []
        assert storage.asked == ["start", "stop"]
        assert len(storage.ticks) == count

    @pytest_twisted.ensureDeferred
    async def test_leases_end(self, make_site, start):
        """A lease ends when its time is over, even if no packet comes."""
        site = make_site(storage="memory:")
        service = start(site)
        ack = await deferToThread(site.relay().bind, site.client(1))
        ended = []

        class Listener:
            def lease_changed(self, event):
                ended.append((event.kind, event.address))

        service.storage.add_listener(Listener())
        later = service.clock() + 7200
        service._heartbeat.clock = lambda: later
        await until(lambda: ended)
        assert ended == [(EventKind.EXPIRED, ack.yiaddr)]

    @pytest.mark.parametrize("is_async", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_errors(self, make_site, start, logged_failures, is_async):
        """They are told once for all of a row, and the next tick comes all the same."""
        storage = Slow()
        broken = True

        def tick(when):
            storage.ticks.append(when)
            if broken:
                raise OSError(5, "Input/output error")

        async def later(when):
            tick(when)

        storage.clock_ticked = later if is_async else tick
        start(make_site(), storage)

        async def some_ticks():
            seen = len(storage.ticks)
            await until(lambda: len(storage.ticks) >= seen + 3)

        await some_ticks()
        assert len(logged_failures.flush(OSError)) == 1
        broken = False
        await some_ticks()
        broken = True
        await some_ticks()
        assert len(logged_failures.flush(OSError)) == 1

    @pytest_twisted.ensureDeferred
    async def test_one_that_keeps_no_times(self, make_site, start, monkeypatch):
        """A storage that does not listen is not told; its limits keep times, though."""
        wall = Wall()
        monkeypatch.setattr("dhcptwist.heartbeat.CLOCK_WATCH", 0.01)
        monkeypatch.setattr("dhcptwist.service.limited", Watcher)
        monkeypatch.setattr(
            "dhcptwist.service.SteadyClock", lambda: SteadyClock(wall, lambda: 0.0)
        )

        @implementer(IStorage)
        class Timeless:
            """It has no idea of time."""

            asked = ("nothing",)

        service = start(make_site(), Timeless())
        wall.now += 3600.0
        await wall.seen()
        assert service._limited.steps == [3600.0]
