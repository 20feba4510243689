"""Asking a server to read its configuration again: dhcpctl, SIGHUP, roles."""

from __future__ import annotations

import json
import os
import signal
import socket
from threading import Event, Thread
from time import monotonic

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

from dhcptwist import ctl
from dhcptwist.config import ConfigError, Problem
from dhcptwist.config.plan import Plan
from dhcptwist.control.client import (
    InvalidConfiguration,
    NoServer,
    NotPermitted,
    NotSupported,
    StorageFailed,
    TooMany,
    connect,
)
from dhcptwist.hangup import Hangup
from dhcptwist.lease import Lease
from dhcptwist.reloading import CannotReload
from dhcptwist.service import DHCPService
from dhcptwist.testing import ip
from dhcptwist.wire import MessageType


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

DISCOVER, REQUEST, ACK = MessageType.DISCOVER, MessageType.REQUEST, MessageType.ACK
FIRST = ip("127.7.0.10")
TCP = "tcp:0:interface=127.0.0.1"
PRINTER = """
[reservation printer]
hardware = 02:00:00:00:00:50
address = 127.7.0.50
"""
POOLS = "127.7.0.10 - 127.7.0.250"


@pytest.fixture
def serve(make_site):
    """Start a server in this process, with its file; it is stopped in the end."""
    from twisted.internet import reactor

    services = []

    def serve(*, has_source=True, roles="", **keys):
        site = make_site(**{"storage": "memory:", "listen": TCP, **keys})
        site.path = site.directory / "dhcp.ini"
        listen = f"listen = {keys.get('listen', TCP)}\n"
        write(site, (listen, listen + roles))
        source = {"source": site.path} if has_source else {}
        site.service = DHCPService(reactor, site.config, **source)
        site.service.startService()
        services.append(site.service)
        return site

    yield serve
    for service in services:
        if service.running:
            pytest_twisted.blockon(service.stopService())


def write(site, *pairs, more=""):
    """Change a site's file."""
    for old, new in pairs:
        assert old in site.ini
        site.ini = site.ini.replace(old, new)
    site.ini += more
    site.path.write_text(site.ini)


def connected(site, identity="admin.pem"):
    """A connection to a site's control channel."""
    from twisted.internet import reactor

    control = site.state / "control"
    server = (control / "endpoint").read_text().strip()
    return connect(reactor, server, control / identity)


async def as_role(site, name):
    """A connection with a certificate that was made for a role."""
    admin = await connected(site)
    _, pem = await admin.new_identity(name)
    await admin.close()
    path = site.state / "control" / f"{name}.pem"
    path.write_text(pem)
    return await connected(site, path.name)


class TestClient:
    """The command on the wire."""

    @pytest_twisted.ensureDeferred
    async def test_plan_and_reload(self, serve):
        """What it would do, then that it is done."""
        site = serve()
        client = await connected(site)
        write(site, ("lease-time = 1h", "lease-time = 2h"), more=PRINTER)
        plan = await client.reload(plan=True)
        assert not plan["applied"]
        assert plan["source"] == str(site.path)
        assert plan["changes"] == [
            {
                "section": "subnet far",
                "what": "changed",
                "keys": [{"key": "lease-time", "old": "1h", "new": "2h"}],
            },
            {
                "section": "reservation of 02:00:00:00:00:50",
                "what": "added",
                "keys": [{"key": "address", "old": None, "new": "127.7.0.50"}],
            },
        ]
        assert await client.reload() == {**plan, "applied": True}
        assert await client.reload() == {**plan, "changes": []}
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_control_sees_the_new_subnets(self, serve):
        """Reservations and lists are about what is in force."""
        site = serve()
        client = await connected(site)
        write(site, more="\n[subnet near]\nnetwork = 127.8.0.0/16\n")
        await client.reload()
        await client.reserve("127.8.0.9", hardware="02:00:00:00:00:07")
        assert list((await client.status())["subnets"]) == ["far", "near"]
        assert [each async for each in client.leases("near")] == []
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, serve):
        """Each has its place; very many are counted."""
        site = serve()
        client = await connected(site)
        write(
            site, more="\n[subnet x]\n" + "".join(f"key-{n} = 1\n" for n in range(2000))
        )
        with pytest.raises(InvalidConfiguration, match="2001 mistakes") as error:
            await client.reload()
        found = error.value.details
        assert (found["source"], found["count"]) == (str(site.path), 2001)
        assert 50 < len(found["problems"]) < 2001
        first = found["problems"][0]
        assert (first["section"], first["reason"]) == ("subnet x", "has no network")
        assert site.ini.splitlines()[first["line"] - 1] == "[subnet x]"
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_file_is_gone(self, serve):
        """That is a mistake, too."""
        site = serve()
        client = await connected(site)
        site.path.unlink()
        with pytest.raises(InvalidConfiguration) as error:
            await client.reload()
        assert error.value.details["problems"][0]["reason"].startswith("cannot be read")
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_large(self, serve):
        """What does not fit into an answer is counted, and applied all the same."""
        site = serve()
        client = await connected(site)
        more = "".join(
            f"\n[reservation r{n}]\nhardware = 02:00:00:01:{n >> 8:02x}:{n & 255:02x}\n"
            f"address = 127.7.{10 + (n >> 8)}.{n & 255}\n"
            for n in range(2000)
        )
        write(site, more=more)
        result = await client.reload()
        assert result["applied"]
        assert 0 < len(result["changes"]) < 2000
        assert result["left_out"] == 2000 - len(result["changes"])
        assert len(site.service.config.reservations) == 2000
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_program_has_to(self, serve):
        """Who embeds the server without a source reloads it himself."""
        site = serve(has_source=False)
        client = await connected(site)
        with pytest.raises(NotSupported, match="where its configuration"):
            await client.reload()
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_storage_refuses(self, serve, logged_failures):
        """The caller is told, and the old configuration is in force."""
        site = serve()

        def refuse(*_):
            raise OSError("no room")

        site.service.storage.network_changed = refuse
        client = await connected(site)
        write(site, more=PRINTER)
        with pytest.raises(StorageFailed, match="no room"):
            await client.reload()
        assert site.service.config.reservations == ()
        assert len(logged_failures.flush(OSError)) == 1
        await client.close()


class TestRoles:
    """Who may ask, and what becomes of who may no longer."""

    @pytest_twisted.ensureDeferred
    async def test_verb(self, serve):
        """Reload is a verb of its own."""
        site = serve(roles="role ops = reload\nrole netbox = reserve, list\n")
        for name, may in (("ops", True), ("netbox", False)):
            client = await as_role(site, name)
            if may:
                assert not (await client.reload())["applied"]
            else:
                with pytest.raises(NotPermitted, match="may not reload"):
                    await client.reload(plan=True)
            await client.close()

    @pytest_twisted.ensureDeferred
    async def test_sees_its_networks(self, serve):
        """Leases elsewhere are counted, not named."""
        site = serve(roles="role ops = reload in 10.0.0.0/8\n")
        await deferToThread(site.relay().bind, site.client(1))
        client = await as_role(site, "ops")
        write(site, (POOLS, "127.7.1.1"))
        plan = await client.reload(plan=True)
        assert plan["stranded"] == {"count": 1, "named": []}
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_pages_are_waited_for(self, serve):
        """A list of several pages is not broken off by the role's rate."""
        site = serve(roles="role ops = list at 1 per 1s\n")
        storage = site.service.storage
        area = storage.index.area_of(FIRST)
        for number in range(700):
            hardware = b"\1\2\0\0\0" + number.to_bytes(2, "big")
            lease = Lease(ip("127.7.1.0") + number, key=hardware, hardware=hardware)
            storage.index.put(area, lease)
        client = await as_role(site, "ops")
        assert len([each async for each in client.leases()]) == 700
        with pytest.raises(TooMany) as error:
            async for _ in client.leases():
                pass
        assert 0 < error.value.details["retry_after"] <= 1
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_role_changes(self, serve):
        """An open connection may do what its role may now."""
        site = serve(roles="role ops = status\n")
        client = await as_role(site, "ops")
        with pytest.raises(NotPermitted):
            await client.reserve("127.7.0.50", hardware="02:00:00:00:00:50")
        write(site, ("role ops = status", "role ops = reserve"))
        await site.service.reload()
        await client.reserve("127.7.0.50", hardware="02:00:00:00:00:50")
        with pytest.raises(NotPermitted):
            await client.status()
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_watch_ends(self, serve, complaints):
        """Who watches and may no longer is told nothing more."""
        site = serve(roles="role ops = list\n")
        client = await as_role(site, "ops")
        watch = await client.watch()
        relay = site.relay()
        await deferToThread(relay.bind, site.client(1))
        assert (await anext(watch))["kind"] == "bound"
        write(site, ("role ops = list", "role ops = status"))
        await site.service.reload()
        await deferToThread(relay.bind, site.client(2))
        with pytest.raises(NoServer):
            await anext(watch)
        assert any("watch was ended" in line for line in complaints)


@pytest.fixture
def dhcpctl(monkeypatch, capsys):
    """Run ``dhcpctl`` in this process, over its reactor."""
    from twisted.internet import reactor

    running = []
    monkeypatch.setattr(
        "twisted.internet.task.react",
        lambda main: running.append(ensureDeferred(main(reactor))),
    )

    async def run(site, *arguments):
        capsys.readouterr()
        code = 0
        try:
            ctl.main(["--state", str(site.state), *arguments])
            await running.pop()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


class TestCommand:
    """``dhcpctl reload``."""

    @pytest_twisted.ensureDeferred
    async def test_text(self, serve, dhcpctl):
        """It reads like a difference, with who is affected, and what is not done."""
        site = serve()
        await deferToThread(site.relay().bind, site.client(1))
        write(
            site,
            (POOLS, "127.7.1.10 - 127.7.1.250"),
            (f"port = {site.port}", "port = 1067"),
            more=PRINTER,
        )
        code, out, err = await dhcpctl(site, "reload", "--plan")
        assert (code, err) == (0, "")
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert lines[:3] == [
            "[subnet far]",
            f"- pools = {POOLS}",
            "+ pools = 127.7.1.10 - 127.7.1.250",
        ]
        assert lines[3:5] == [
            "+ [reservation of 02:00:00:00:00:50]",
            "+ address = 127.7.0.50",
        ]
        assert "needs a restart, and is as it was until then:" in lines
        assert "+ port = 1067" in lines
        assert "leases that their clients cannot renew any more: 1" in lines
        assert any(
            line.startswith("127.7.0.10 02:00:00:00:00:01 in ")
            and line.endswith("in no pool")
            for line in lines
        )
        assert lines[-1] == "nothing was changed: this is what a reload would do"
        code, out, _ = await dhcpctl(site, "reload")
        assert (code, out.splitlines()[-1]) == (0, "in force with the next packet")
        code, out, _ = await dhcpctl(site, "reload")
        assert (code, out.splitlines()[-1]) == (0, "nothing changes")

    @pytest_twisted.ensureDeferred
    async def test_json(self, serve, dhcpctl):
        """One document, as the client has it."""
        site = serve()
        write(site, more=PRINTER)
        code, out, _ = await dhcpctl(site, "--json", "reload")
        assert code == 0
        assert json.loads(out)["applied"]

    @pytest_twisted.ensureDeferred
    async def test_conflict(self, serve, dhcpctl):
        """A pushed reservation that gives way is shown with its source."""
        site = serve()
        client = await connected(site)
        await client.reserve(
            "127.7.0.50", hardware="02:00:00:00:00:07", source="netbox"
        )
        await client.close()
        write(site, more=PRINTER)
        _, out, _ = await dhcpctl(site, "reload", "--plan")
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert "pushed reservations that are not in force: 1" in lines
        assert (
            "127.7.0.50 02:00:00:00:00:07 netbox the configuration has 127.7.0.50 for"
            " 02:00:00:00:00:50"
        ) in lines

    @pytest_twisted.ensureDeferred
    async def test_mistakes(self, serve, dhcpctl):
        """Every one of them with file and line, where an editor finds it; exit 1."""
        site = serve()
        write(site, ("lease-time = 1h", "lease-time = soon"), more="\n[subnet]\n")
        code, out, err = await dhcpctl(site, "reload")
        assert (code, out) == (1, "")
        head, *lines = err.splitlines()
        assert head.endswith("2 mistakes; the old configuration is in force")
        places = [line.split(" ", 1)[0] for line in lines]
        assert [p.rpartition(":")[0] for p in places] == [
            f"{site.path}:{number}"
            for number, line in enumerate(site.ini.splitlines(), 1)
            if line in {"lease-time = soon", "[subnet]"}
        ]
        assert "[subnet far] lease-time: 'soon' is not a time" in lines[0]
        code, out, _ = await dhcpctl(site, "--json", "reload")
        assert code == 1
        assert json.loads(out)["error"] == "InvalidConfiguration"


class FakeReload:
    """What `Hangup` calls: each answer comes when the test says so."""

    def __init__(self):
        self.asked = []

    async def __call__(self, *, by):
        """Wait."""
        self.asked.append((by, Deferred()))
        return await self.asked[-1][1]


class Now:
    """A reactor that calls at once."""

    def callFromThread(self, function):
        """Call it."""
        function()


class TestHangup:
    """SIGHUP, without a process of its own."""

    @pytest.fixture
    def hangup(self):
        """One that listens, with what it calls; in the end it does not listen."""
        before = signal.getsignal(signal.SIGHUP)
        reload = FakeReload()
        made = Hangup(Now(), reload)
        made.listen()
        yield made, reload
        made.ignore()
        assert signal.getsignal(signal.SIGHUP) == before

    def test_in_a_row(self, hangup):
        """Any number of signals while one is under way make one more."""
        _, reload = hangup
        for _ in range(5):
            signal.raise_signal(signal.SIGHUP)
        assert [by for by, _ in reload.asked] == ["SIGHUP"]
        reload.asked[0][1].callback(Plan("", [], []))
        assert len(reload.asked) == 2
        reload.asked[1][1].callback(Plan("", [], []))
        assert len(reload.asked) == 2

    def test_mistakes(self, hangup, complaints):
        """Every one of them is in the log."""
        signal.raise_signal(signal.SIGHUP)
        problems = [Problem(3, "server", "port", "is odd"), Problem(4, "", "", "worse")]
        hangup[1].asked[0][1].errback(ConfigError(problems, "dhcp.ini"))
        assert complaints == [
            "dhcp.ini has 2 mistakes; the old configuration stays in force",
            "  line 3: [server] port: is odd",
            "  line 4: worse",
        ]

    def test_not_now(self, hangup, complaints):
        """A server that is not serving says so in a line."""
        signal.raise_signal(signal.SIGHUP)
        hangup[1].asked[0][1].errback(CannotReload("it stops"))
        assert complaints == ["Not reloaded: it stops"]

    def test_breaks(self, hangup, logged_failures):
        """Whatever a storage raises is logged, and the next signal is heard."""
        signal.raise_signal(signal.SIGHUP)
        hangup[1].asked[0][1].errback(OSError("no room"))
        assert len(logged_failures.flush(OSError)) == 1
        signal.raise_signal(signal.SIGHUP)
        assert len(hangup[1].asked) == 2

    def test_ignored(self):
        """Stopped, it leaves the signal to whoever had it."""
        heard = []
        before = signal.signal(signal.SIGHUP, lambda *_: heard.append("other"))
        try:
            reload = FakeReload()
            made = Hangup(Now(), reload)
            made.listen()
            made.ignore()
            signal.raise_signal(signal.SIGHUP)
            assert (heard, reload.asked) == (["other"], [])
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_other_thread(self):
        """Where signals cannot be had there are none, and nothing breaks."""
        made = Hangup(Now(), FakeReload())
        thread = Thread(target=made.listen)
        thread.start()
        thread.join()
        made.ignore()


class TestProcess:
    """SIGHUP to a real process."""

    def wait_for(self, site, words, count=1):
        """Wait until the log has said so."""
        end = monotonic() + 20
        while site.log.count(words) < count:
            assert monotonic() < end, site.log
            Event().wait(0.02)

    def change(self, site, *pairs, more=""):
        """Change the file, and send the signal."""
        site.path = site.directory / "dhcp.ini"
        write(site, *pairs, more=more)
        os.kill(site.pid, signal.SIGHUP)

    def test_log(self, make_site):
        """What changes and who is affected is in the log, and then it is in force."""
        site = make_site()
        site.start()
        relay = site.relay()
        relay.bind(site.client(1))
        self.change(site, (POOLS, "127.7.1.10 - 127.7.1.99"), more=PRINTER)
        self.wait_for(site, "SIGHUP has reloaded the configuration")
        for words in (
            "+ pools = 127.7.1.10 - 127.7.1.99",
            "+ [reservation of 02:00:00:00:00:50]",
            "stranded: 127.7.0.10 02:00:00:00:00:01: in no pool",
        ):
            self.wait_for(site, words)
        assert relay.bind(site.client(2)).yiaddr == ip("127.7.1.10")
        assert relay.bind(site.client(0x50)).yiaddr == ip("127.7.0.50")
        site.stop()

    def test_mistakes(self, make_site):
        """A file with mistakes is told, and the process lives on as it was."""
        site = make_site()
        site.start()
        self.change(site, more="\n[subnet]\n")
        self.wait_for(site, "needs a name: [subnet NAME]")
        assert site.relay().bind(site.client(1)).yiaddr == FIRST
        site.stop()

    def test_under_load(self, make_site):
        """Clients renew all the time while it reloads again and again: all are answered."""
        site = make_site()
        site.start()
        relay = site.relay()
        clients = [site.client(number) for number in range(20)]
        leases = [relay.bind(who).raw[16:20] for who in clients]
        over = Event()
        times = set()
        renewed = [0]
        lost = []

        def renew():
            while not over.is_set() and not lost:
                for who, address in zip(clients, leases, strict=True):
                    try:
                        reply = relay.ask(
                            who.message(REQUEST, ciaddr=socket.inet_ntoa(address))
                        )
                    except AssertionError as error:
                        lost.append(str(error))
                        break
                    if reply.type != ACK:
                        lost.append(str(reply))
                    times.add(int.from_bytes(reply.options[51], "big"))
                    renewed[0] += 1

        thread = Thread(target=renew)
        thread.start()
        try:
            old = "1h"
            for count in range(1, 11):
                new = f"{count + 1}h"
                self.change(site, (f"lease-time = {old}\n", f"lease-time = {new}\n"))
                self.wait_for(site, "SIGHUP has reloaded the configuration", count)
                old = new
                before = renewed[0]
                while renewed[0] < before + 40 and thread.is_alive():
                    Event().wait(0.01)
        finally:
            over.set()
            thread.join()
        assert lost == []
        assert {3600 * hours for hours in range(2, 12)} <= times
        # And what was promised is on disk.
        site.kill()
        relay.socket.close()  # the port is the server's first
        site.start()
        relay = site.relay()
        for who, address in zip(clients, leases, strict=True):
            asked = who.message(REQUEST, ciaddr=socket.inet_ntoa(address))
            assert relay.ask(asked).type == ACK
        site.stop()
