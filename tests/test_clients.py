"""Clients for programs: one that blocks, and one that comes back."""

# ruff: noqa: F811 - a fixture that comes from another module is named like the argument

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from test_ctl import FIRST, OWNER, TCP, UNIX, dhcpctl, here, serve  # noqa: F401 - fixtures
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from dhcptwist.control import blocking, tls
from dhcptwist.control.client import (
    AddressInUse,
    InvalidRequest,
    NoServer,
    NotAccepted,
    NotFound,
    NotSupported,
    Verdict,
    WrongServer,
)
from dhcptwist.control.reconnecting import ReconnectingClient


pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


EVERYWHERE = "tcp:0:interface=0.0.0.0"


def place(site):
    """Where a server is, and the identity that may do everything."""
    control = site.state / "control"
    where = (control / "endpoint").read_text("utf-8").strip()
    return where, control / "admin.pem"


async def turns(condition):
    """Let the reactor work until something is the case."""
    from twisted.internet import reactor

    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it has not come about")


class TestBlocking:
    """``dhcptwist.control.blocking``."""

    @pytest.fixture(params=[TCP, UNIX], ids=["tcp", "unix"])
    def site(self, serve, request):
        """A server, over TLS or a socket's file."""
        return serve(listen=request.param)

    @pytest_twisted.ensureDeferred
    async def test_everything(self, site):
        """Each call is there, and says what the other client's does."""
        where, identity = place(site)

        def script():
            with blocking.connect(where, identity) as client:
                verdict = client.reserve("127.7.0.20", hardware=OWNER, hostname="a")
                assert verdict == Verdict("applied", revision=verdict.revision)
                [mine] = client.reservations("admin")
                assert (mine["address"], mine["hostname"]) == ("127.7.0.20", "a")
                changed = client.change(
                    [{"cancel": {"address": "127.7.0.20"}}],
                    expect_revision=verdict.revision,
                )
                assert changed.done
                rows = [
                    {"address": f"127.7.1.{n}", "client_id": f"c{n}"}
                    for n in range(1, 251)
                ]
                assert client.replace(rows * 1, source="set").added == 250
                assert len(client.replaced(["added"])) == 250
                assert len(client.reservations()) == 251
                assert [each["source"] for each in client.sources()] == ["file", "set"]
                assert client.leases() == []
                assert client.find(hardware=OWNER) == {"leases": [], "reservations": []}
                assert len(client.cancel("127.7.1.1", source="set")) == 1
                with pytest.raises(NotFound, match="not leased"):
                    client.revoke("127.7.0.10")
                with pytest.raises(NotSupported, match="no history"):
                    client.history("127.7.0.10")
                with pytest.raises(InvalidRequest) as told:
                    client.replace([{"client_id": "x"}], source="set")
                assert told.value.details == {"number": 0}
                assert client.import_leases([], dry_run=True) == []
                return client.status()["version"]

        assert await deferToThread(script)

    @pytest_twisted.ensureDeferred
    async def test_errors_are_typed(self, site):
        """With what they carry."""
        where, identity = place(site)
        await deferToThread(site.relay().bind, site.client(1))

        def script():
            with (
                blocking.connect(where, identity) as client,
                pytest.raises(AddressInUse) as told,
            ):
                client.reserve(FIRST, hardware=OWNER, on_conflict="refuse")
            return told.value.details["holder"]

        assert await deferToThread(script) == "02:00:00:00:00:01"

    @pytest_twisted.ensureDeferred
    async def test_watch(self, site):
        """What happens, also while other calls are made; the server waits for us."""
        where, identity = place(site)

        def script():
            with blocking.connect(where, identity) as client:
                watch = client.watch(after=0)
                found = []
                for n in range(20, 23):
                    client.reserve(f"127.7.0.{n}", client_id=f"c{n}")
                    found.append(next(watch))
                    client.cancel(f"127.7.0.{n}")
                    found.append(next(watch))
                return [(each["number"], each["kind"]) for each in found]

        found = await deferToThread(script)
        assert found == [
            (number, "cancelled" if number % 2 == 0 else "reserved")
            for number in range(1, 7)
        ]


class TestBlockingFails:
    """What a script is told when there is nobody, or the wrong one."""

    @pytest.fixture
    def site(self, serve):
        """A server that is heard at more addresses than its certificate has."""
        return serve(listen=EVERYWHERE)

    def test_nobody(self, tmp_path):
        """At a port, and at a path."""
        tls.prepare(tmp_path, [])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            with pytest.raises(
                NoServer, match=f"{port} cannot be reached: Connection ref"
            ):
                blocking.connect(f"127.0.0.1:{port}", tmp_path / "admin.pem", timeout=5)
        with pytest.raises(NoServer, match="No such file"):
            blocking.connect(f"unix:{tmp_path}/none")
        with pytest.raises(ValueError, match="neither HOST:PORT nor"):
            blocking.connect("[", tmp_path / "admin.pem")
        with pytest.raises(tls.UnusableIdentity, match="certificate is needed"):
            blocking.connect("127.0.0.1:1")
        alone = tmp_path / "alone.pem"
        text = (tmp_path / "admin.pem").read_text()
        alone.write_text(text[: text.rindex("-----BEGIN CERT")])
        with pytest.raises(tls.UnusableIdentity, match="no authority"):
            blocking.connect("127.0.0.1:1", alone)

    @pytest_twisted.ensureDeferred
    async def test_strangers(self, site, tmp_path):
        """Another authority's server, another name, another's certificate."""
        where, identity = place(site)
        tls.prepare(tmp_path / "theirs", [])
        theirs = tmp_path / "theirs" / "admin.pem"
        ours = identity.read_text("ascii")

        def refused(server, path):
            with blocking.connect(server, path, timeout=5) as client:
                client.status()

        with pytest.raises(WrongServer):
            await deferToThread(refused, where, theirs)
        port = where.rpartition(":")[2]
        with pytest.raises(WrongServer, match="another certificate"):
            await deferToThread(refused, f"127.0.0.2:{port}", identity)
        mixed = tmp_path / "mixed.pem"
        text = theirs.read_text("ascii")
        mixed.write_text(
            text[: text.rindex("-----BEGIN CERT")]
            + ours[ours.rindex("-----BEGIN CERT") :]
        )
        with pytest.raises(NotAccepted):
            await deferToThread(refused, where, mixed)

    def test_silence_and_farewell(self, tmp_path):
        """A server that says nothing, or goes away."""
        path = str(tmp_path / "sock")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            with (
                blocking.connect(f"unix:{path}", timeout=0.05) as client,
                pytest.raises(NoServer, match="does not answer"),
            ):
                client.status()
            server.accept()[0].close()
            with blocking.connect(f"unix:{path}", timeout=5) as client:
                other, _ = server.accept()
                other.close()
                with pytest.raises(
                    NoServer, match=r"closed the connection|Broken|reset"
                ):
                    client.status()


class TestReconnecting:
    """``dhcptwist.control.reconnecting``."""

    @pytest.fixture
    def site(self, serve):
        """A server with a journal, that can be stopped and started."""
        return serve(
            listen="unix:control.sock:mode=600", storage="sqlite:leases.sqlite"
        )

    @pytest.fixture
    def client(self, site):
        """A client of it."""
        from twisted.internet import reactor

        made = ReconnectingClient(reactor, *place(site), timeout=5.0)
        made.service.startService()
        yield made
        pytest_twisted.blockon(ensureDeferred(made.close()))

    async def restart(self, site):
        """The server goes away, and comes back."""
        await site.service.stopService()
        site.service.startService()

    @pytest_twisted.ensureDeferred
    async def test_comes_back(self, site, client):
        """Calls go on as if nothing had been."""
        await client.reserve("127.7.0.20", hardware=OWNER)
        for _ in range(3):
            await self.restart(site)
            [mine] = [each async for each in client.reservations("admin")]
            assert mine["address"] == "127.7.0.20"
        replaced = await client.replace(
            [{"address": "127.7.0.21", "client_id": "x"}], source="set"
        )
        assert replaced.added == 1

    @pytest_twisted.ensureDeferred
    async def test_waits_for_it(self, site, client):
        """A call that is made while the server is away is done when it is back."""
        await client.status()
        await site.service.stopService()
        call = ensureDeferred(client.reserve("127.7.0.20", hardware=OWNER))
        await turns(lambda: client._protocol.transport is None)
        assert not call.called
        site.service.startService()
        assert (await call).outcome == "applied"

    @pytest_twisted.ensureDeferred
    async def test_not_for_ever(self, site, client):
        """Then it is told why there is none."""
        await client.status()
        await site.service.stopService()
        client._timeout = 3.0
        with pytest.raises(NoServer, match="there is no server at"):
            await client.status()
        site.service.startService()

    @pytest_twisted.ensureDeferred
    async def test_lost_in_the_middle(self, site, client, monkeypatch):
        """What was done is not done twice, and the first answer is told."""
        storage = site.service.storage
        cancel, done = storage.change, []

        def breaks(*given, **how):
            done.append(given)
            client._protocol.transport.abortConnection()
            return cancel(*given, **how)

        await client.reserve("127.7.0.20", hardware=OWNER)
        monkeypatch.setattr(storage, "change", breaks)
        [gone] = await client.cancel("127.7.0.20")
        assert gone["address"] == "127.7.0.20"
        assert len(done) == 1
        monkeypatch.undo()
        # A whole set is not begun again by itself.
        ask = site.service.storage.revision

        def away(source):
            client._protocol.transport.abortConnection()
            return ask(source)

        monkeypatch.setattr(storage, "revision", away)
        with pytest.raises(NoServer):
            await client.replace([], source="set")

    @pytest_twisted.ensureDeferred
    async def test_follow(self, site, client):
        """Every event once, in order, over restarts."""
        found = []

        async def listen():
            async for event in client.follow(after=0):
                note(event)

        def note(event):
            found.append((event["number"], event["kind"]))

        following = ensureDeferred(listen())
        for n in range(3):
            await client.reserve(f"127.7.0.2{n}", client_id=f"c{n}")
            await turns(lambda n=n: len(found) == n + 1)
            await self.restart(site)
        assert found == [(1, "reserved"), (2, "reserved"), (3, "reserved")]
        following.addErrback(lambda _: None)
        following.cancel()

    @pytest_twisted.ensureDeferred
    async def test_tls(self, serve):
        """With certificates, too; and one that is not accepted is told of."""
        from twisted.internet import reactor

        site = serve(listen=EVERYWHERE)
        where, identity = place(site)
        client = ReconnectingClient(reactor, where, identity, timeout=5.0)
        client.service.startService()
        assert (await client.status())["version"]
        await client.close()
        port = where.rpartition(":")[2]
        other = ReconnectingClient(reactor, f"127.0.0.2:{port}", identity, timeout=1.0)
        other.service.startService()
        with pytest.raises(WrongServer, match="another name"):
            await other.status()
        await other.close()
