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
from zope.interface import implementer

from dhcptwist import __version__
from dhcptwist.clock import SteadyClock
from dhcptwist.interfaces import IClockListener, IStorage, IStorageService
from dhcptwist.lease import Lease, LeaseState
from dhcptwist.service import DHCPService
from dhcptwist.storage.sqlite_file import StorageUnusable
from dhcptwist.testing import ip
from dhcptwist.transport.sockets import CannotServe, open_socket
from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK = MessageType.OFFER, MessageType.ACK
US = "127.0.0.1"


@implementer(IStorage, IStorageService, IClockListener)
class Slow:
    """A storage that notes what it is asked, and answers when the test says so."""

    def __init__(self):
        self.asked = []
        self.steps = []
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
        assert service._watch is None

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
            "packets": {
                "received": {"discover": 1, "request": 1},
                "sent": {"offer": 1, "ack": 1},
                "silent": {"malformed": 1},
                "failed": {},
            },
        }


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
        monkeypatch.setattr("dhcptwist.service.CLOCK_WATCH", 0.01)
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
