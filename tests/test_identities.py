"""Identities: made for a name, worth nothing once revoked, and told of before they end."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols import amp

from dhcptwist import ctl
from dhcptwist.control import connections, issued, tables, tls
from dhcptwist.control.answering import ControlServer
from dhcptwist.control.client import (
    InvalidRequest,
    NoServer,
    NotAccepted,
    NotFound,
    NotPermitted,
    NotSupported,
    StorageFailed,
    WrongServer,
    connect,
)
from dhcptwist.control.commands import ListIdentities
from dhcptwist.control.issued import SOON, Identities
from dhcptwist.control.tls import UnusableIdentity
from dhcptwist.control.values import check_name, parse_serial
from dhcptwist.service import DHCPService
from dhcptwist.testing import network


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[1]
TCP = "tcp:0:interface=127.0.0.1"
UNIX = "unix:control.sock:mode=600"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DAY = 86400
ROLES = """
role netbox = reserve, status in 127.7.0.0/24
role all = reserve, cancel, import, list, revoke, status
"""


async def until(condition):
    """Let the reactor work until something is the case."""
    from twisted.internet import reactor

    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it has not come about")


async def until_gone(client):
    """Let the reactor work until a client's connection has ended."""
    await until(lambda: client._protocol.gone.called)


class Served:
    """A server in this process, and ways to talk to it."""

    def __init__(self, site, service, clients):
        self.site = site
        self.service = service
        self.directory = site.state / "control"
        self._clients = clients

    @property
    def endpoint(self):
        """Where it is."""
        return (self.directory / "endpoint").read_text("utf-8").strip()

    @property
    def factory(self):
        """What makes its connections."""
        return self.service.control_port.factory.wrappedFactory

    async def call(self, identity=None):
        """Connect with an identity; as ``admin`` without."""
        from twisted.internet import reactor

        mine = identity or self.directory / "admin.pem"
        self._clients.append(await connect(reactor, self.endpoint, mine))
        return self._clients[-1]

    async def make(self, name, **given):
        """A file with a new identity, made by ``admin``."""
        made, pem = await (await self.call()).new_identity(name, **given)
        path = self.site.directory / f"{made['serial']}.pem"
        path.write_text(pem, "utf-8")
        return path

    def forge(self, name, end=tls._END):
        """A file with an identity that the server does not know to have been made."""
        pem = tls._issue(self.directory / "authority.pem", name, [], end)
        path = self.site.directory / f"forged {name}.pem"
        path.write_bytes(pem)
        return path


@pytest.fixture
def serve(make_site):
    """Start servers in this process; they, and all connections, end with the test."""
    from twisted.internet import reactor

    services, clients = [], []

    def serve(more=ROLES, site=None, **keys):
        site = site or make_site(**{"storage": "memory:", "listen": TCP, **keys})
        listen = f"listen = {keys.get('listen', TCP)}\n"
        site.ini = site.ini.replace(listen, f"{listen}{more}\n")
        service = DHCPService(reactor, site.config)
        services.append(service)
        service.startService()
        return Served(site, service, clients)

    async def stop():
        for client in clients:
            if client._protocol.transport is not None:
                client._protocol.transport.abortConnection()
                await client._protocol.gone
        for service in services:
            if service.running:
                await service.stopService()
        await deferLater(reactor, 0)

    yield serve
    pytest_twisted.blockon(ensureDeferred(stop()))


class Done:
    """What a command has said, and how it ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        """Its output, which must be one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def dhcpctl(monkeypatch, capsys, tmp_path):
    """Run ``dhcpctl`` in this process, over its reactor, in a directory of its own."""
    from twisted.internet import reactor

    running = []
    monkeypatch.setattr(
        "twisted.internet.task.react",
        lambda main: running.append(ensureDeferred(main(reactor))),
    )
    monkeypatch.chdir(tmp_path)

    async def run(served, *arguments):
        capsys.readouterr()
        code = 0
        try:
            ctl.main(["--state", str(served.site.state), *map(str, arguments)])
            await running.pop()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def warned():
    """The warnings that were logged meanwhile, as text."""
    texts = []

    def observe(event):
        if event.get("log_level") and event["log_level"].name == "warn":
            texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


def certificate(path):
    """The first certificate of a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def serial_of(path):
    """Its serial number, as we write it."""
    return f"{certificate(path).serial_number:x}"


async def listed(client):
    """Every identity that the server tells of."""
    return [each async for each in client.identities()]


async def assert_closed(served, path, words):
    """An identity is told why it is worth nothing, and put out."""
    client = await served.call(path)
    with pytest.raises(NotPermitted, match=words):
        await client.status()
    await until_gone(client)


class TestNew:
    """Identities are made for names."""

    @pytest_twisted.ensureDeferred
    async def test_works_at_once(self, serve):
        """Whoever has the file may do what the role of its name says, and no more."""
        served = serve()
        client = await served.call(await served.make("netbox"))
        assert (await client.status())["port"] == served.site.port
        with pytest.raises(NotPermitted, match="'netbox' may not list"):
            [each async for each in client.leases()]

    @pytest_twisted.ensureDeferred
    async def test_what_it_is(self, serve):
        """The answer describes the certificate, which does not end."""
        served = serve()
        before = time.time()
        made, pem = await (await served.call()).new_identity("netbox")
        [mine, authority] = x509.load_pem_x509_certificates(pem.encode())
        assert before <= made.pop("issued") <= time.time()
        assert made == {
            "name": "netbox",
            "serial": f"{mine.serial_number:x}",
            "expires": None,
            "by": "admin",
            "revoked": None,
            "revoked_by": "",
            "role": "reserve, status in 127.7.0.0/24",
        }
        assert tls.name_in(mine) == "netbox"
        assert tls.end_of(mine) is None
        assert authority == certificate(served.directory / "authority.pem")
        mine.verify_directly_issued_by(authority)
        assert pem.count("PRIVATE KEY") == 2

    @pytest.mark.parametrize("lifetime", [1, 90 * DAY, 0xFFFFFFFE])
    @pytest_twisted.ensureDeferred
    async def test_lifetime(self, serve, lifetime):
        """It ends when it was asked to, to the second."""
        made, pem = await (await serve().call()).new_identity("x", lifetime=lifetime)
        [mine, _] = x509.load_pem_x509_certificates(pem.encode())
        assert tls.end_of(mine) == made["expires"] == int(made["issued"]) + lifetime

    @pytest_twisted.ensureDeferred
    async def test_endless_lifetime(self, serve):
        """What is longer than any lease is for ever."""
        made, pem = await (await serve().call()).new_identity("x", lifetime=0xFFFFFFFF)
        assert made["expires"] is None
        assert tls.end_of(x509.load_pem_x509_certificate(pem.encode())) is None

    @pytest.mark.parametrize("lifetime", [0, -1])
    @pytest_twisted.ensureDeferred
    async def test_no_lifetime(self, serve, lifetime):
        """One that has ended already is not made."""
        client = await serve().call()
        with pytest.raises(InvalidRequest, match="lifetime: must be at least"):
            await client.new_identity("x", lifetime=lifetime)
        assert len(await listed(client)) == 1

    @pytest_twisted.ensureDeferred
    async def test_renewal(self, serve):
        """A second one of a name is accepted beside the first."""
        served = serve()
        paths = [await served.make("netbox") for _ in range(2)]
        for path in paths:
            assert await (await served.call(path)).status()
        found = await listed(await served.call())
        assert [each["serial"] for each in found[1:]] == [*map(serial_of, paths)]

    @pytest_twisted.ensureDeferred
    async def test_another_admin(self, serve):
        """Another ``admin`` may do everything, too."""
        served = serve()
        client = await served.call(await served.make("admin"))
        made, _ = await client.new_identity("netbox")
        assert made["by"] == "admin"
        assert (await listed(client))[1]["role"] == "everything"

    @pytest_twisted.ensureDeferred
    async def test_without_role(self, serve):
        """A name that the configuration does not know may do nothing."""
        served = serve()
        path = await served.make("stranger")
        assert (await listed(await served.call()))[1]["role"] is None
        with pytest.raises(NotPermitted, match="'stranger' may not status"):
            await (await served.call(path)).status()

    @pytest_twisted.ensureDeferred
    async def test_only_admin(self, serve):
        """No role may make, list or revoke, whatever else it may."""
        served = serve()
        client = await served.call(await served.make("all"))
        assert await client.status()
        for asked in (
            client.new_identity("x"),
            listed(client),
            client.revoke_identity("all"),
            client.revoke_identity(serial="ff"),
        ):
            with pytest.raises(NotPermitted, match="'all' may not deal with ident"):
                await asked
        assert len(await listed(await served.call())) == 2

    @pytest_twisted.ensureDeferred
    async def test_names_in_the_journal(self, serve):
        """What an identity writes stands in the journal with its name."""
        served = serve(storage="sqlite:leases.sqlite")
        client = await served.call(await served.make("netbox"))
        await client.reserve("127.7.0.20", hardware="02:00:00:00:00:01")
        admin = await served.call()
        [event] = [each async for each in admin.history("127.7.0.20")]
        assert (event["kind"], event["by"]) == ("reserved", "netbox")

    @pytest.mark.parametrize(
        "name",
        ["netbox", "a", "x" * 64, "Ümlaut", "two words", "a.b", "a-b_c", "cafe", "0x"],
    )
    def test_names(self, name):
        """What a file and a role can be called is a name."""
        assert check_name(name) == name
        assert parse_serial(name) is None

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("", "1 to 64 bytes"),
            ("x" * 65, "1 to 64 bytes"),
            ("ü" * 33, "1 to 64 bytes"),
            ("a\nb", "printable"),
            ("a\x1b[2J", "printable"),
            ("\udcff", "printable"),
            ("../admin", "cannot be"),
            ("a/b", "cannot be"),
            (".hidden", "cannot be"),
            (" admin", "cannot be"),
            ("admin ", "cannot be"),
            ("a  b", "cannot be"),
            ("a=b", "cannot be"),
            ("a #b", "cannot be"),
            ("a ;b", "cannot be"),
            ("file", "source of the ini file"),
            ("0x10", "looks like a serial number"),
            ("deadbeefdeadbeef", "looks like a serial number"),
        ],
    )
    def test_no_names(self, name, words):
        """What would be a path, another's name or a number is none."""
        with pytest.raises(ValueError, match=words):
            check_name(name)

    @pytest_twisted.ensureDeferred
    async def test_no_name_on_the_wire(self, serve):
        """The server looks at names itself."""
        client = await serve().call()
        for name in ("", "../x", "file", "x" * 5000):
            with pytest.raises(InvalidRequest, match="name: "):
                await client.new_identity(name)
        assert len(await listed(client)) == 1


class TestWhoseAuthority:
    """Identities are made where the authority's key is, and nowhere else."""

    @pytest_twisted.ensureDeferred
    async def test_own_certificates(self, serve, tmp_path):
        """Who brings an authority makes identities with it, but may revoke here."""
        own = tmp_path / "own"
        tls.prepare(own, [])
        served = serve(
            f"certificate = {own / 'server.pem'}\nauthority = {own / 'authority.pem'}"
        )
        client = await served.call(own / "admin.pem")
        with pytest.raises(NotSupported, match="no authority of its own"):
            await client.new_identity("netbox")
        assert await listed(client) == []
        other = tmp_path / "other.pem"
        other.write_bytes(tls._issue(own / "authority.pem", "admin", []))
        victim = await served.call(other)
        assert await victim.status()
        [revoked] = await client.revoke_identity(serial=serial_of(other))
        assert (revoked["name"], revoked["issued"]) == ("", None)
        await until_gone(victim)
        await assert_closed(served, other, "'admin' .* was revoked")

    @pytest_twisted.ensureDeferred
    async def test_own_server_certificate(self, serve, tmp_path):
        """Our identities would not trust a server of another authority."""
        own = tmp_path / "own"
        tls.prepare(own, [])
        served = serve(f"certificate = {own / 'server.pem'}")
        pem = served.forge("admin").read_bytes()
        mine = tmp_path / "mine.pem"
        mine.write_bytes(pem + (own / "authority.pem").read_bytes())
        client = await served.call(mine)
        with pytest.raises(NotSupported, match="no authority of its own"):
            await client.new_identity("netbox")

    @pytest_twisted.ensureDeferred
    async def test_socket(self, serve):
        """A server that listens on a socket has no authority, nor identities."""
        served = serve(listen=UNIX)
        client = await served.call()
        assert await listed(client) == []
        for asked in (
            client.new_identity("netbox"),
            client.revoke_identity("netbox"),
            client.revoke_identity(serial="10"),
        ):
            with pytest.raises(NotSupported, match="when it listens on tcp:"):
                await asked
        assert not (served.directory / "identities.json").exists()

    @pytest_twisted.ensureDeferred
    async def test_socket_with_authority(self, serve, make_site):
        """One whose authority is there still makes identities, and revokes all."""
        site = make_site(storage="memory:", listen=UNIX)
        tls.prepare(site.state / "control", [])
        client = await serve(site=site, listen=UNIX).call()
        await client.new_identity("netbox")
        admin, netbox = await listed(client)
        assert (admin["name"], netbox["by"]) == ("admin", "admin")
        for each in (admin, netbox):
            [revoked] = await client.revoke_identity(serial=each["serial"])
            assert revoked["revoked"]

    @pytest.mark.parametrize("how", ["gone", "without key", "another"])
    @pytest_twisted.ensureDeferred
    async def test_authority_has_changed(self, serve, tmp_path, how):
        """A key that is not there any more makes nothing, and nothing is noted."""
        served = serve()
        client = await served.call()
        path = served.directory / "authority.pem"
        words = r"authority\.pem"
        if how == "gone":
            path.unlink()
        elif how == "without key":
            pem = path.read_text()
            path.write_text(pem[: pem.index("-----BEGIN PRIVATE")])
        else:
            tls.prepare(tmp_path / "other", [])
            path.write_bytes((tmp_path / "other" / "authority.pem").read_bytes())
            words = "start the server again"
        with pytest.raises(NotSupported, match=words):
            await client.new_identity("netbox")
        assert len(await listed(client)) == 1


class TestRevoke:
    """What is revoked is worth nothing from that moment."""

    @pytest_twisted.ensureDeferred
    async def test_while_connected(self, serve):
        """Its connections are closed at once, and those of others are not."""
        served = serve()
        netbox, other = [await served.make(name) for name in ("netbox", "all")]
        clients = [await served.call(netbox) for _ in range(2)]
        stays = await served.call(other)
        for client in (*clients, stays):
            await client.status()
        admin = await served.call()
        [revoked] = await admin.revoke_identity("netbox")
        assert revoked["serial"] == serial_of(netbox)
        assert revoked["revoked_by"] == "admin"
        assert abs(revoked["revoked"] - time.time()) < 60
        for client in clients:
            await until_gone(client)
            with pytest.raises(NoServer):
                await client.status()
        assert await stays.status()
        assert await admin.status()

    @pytest_twisted.ensureDeferred
    async def test_before_connecting(self, serve, warned):
        """A handshake with it leads to one sentence and an end; the log has it, too."""
        served = serve()
        path = await served.make("netbox")
        await (await served.call()).revoke_identity("netbox")
        number = serial_of(path)
        await assert_closed(served, path, f"'netbox' .* number {number} was revoked")
        assert len([text for text in warned if number in text]) == 1

    @pytest_twisted.ensureDeferred
    async def test_after_a_restart(self, serve):
        """It is on disk: another process knows."""
        served = serve()
        path, other = [await served.make("netbox") for _ in range(2)]
        await (await served.call()).revoke_identity(serial=serial_of(path))
        before = await listed(await served.call())
        await served.service.stopService()
        served.service.startService()
        await assert_closed(served, path, "was revoked")
        assert await (await served.call(other)).status()
        assert await listed(await served.call()) == before

    @pytest_twisted.ensureDeferred
    async def test_serial(self, serve):
        """By its number one is revoked, and no other of the name."""
        served = serve()
        paths = [await served.make("netbox") for _ in range(3)]
        client = await served.call()
        await client.revoke_identity(serial=serial_of(paths[1]))
        await assert_closed(served, paths[1], "was revoked")
        for path in (paths[0], paths[2]):
            assert await (await served.call(path)).status()
        revoked = [bool(each["revoked"]) for each in await listed(client)]
        assert revoked == [False, False, True, False]

    @pytest_twisted.ensureDeferred
    async def test_name(self, serve):
        """By its name all are; a new one of the name is accepted again."""
        served = serve()
        paths = [await served.make("netbox") for _ in range(3)]
        client = await served.call()
        assert len(await client.revoke_identity("netbox")) == 3
        for path in paths:
            await assert_closed(served, path, "was revoked")
        assert await (await served.call(await served.make("netbox"))).status()

    @pytest_twisted.ensureDeferred
    async def test_again(self, serve):
        """What was revoked stays so from then on; saying it twice does no harm."""
        served = serve()
        await served.make("netbox")
        client = await served.call()
        first = await client.revoke_identity("netbox")
        assert await client.revoke_identity("netbox") == first
        assert await client.revoke_identity(serial=first[0]["serial"]) == first

    @pytest_twisted.ensureDeferred
    async def test_made_elsewhere(self, serve):
        """One that we do not know to have made is revoked by its number only."""
        served = serve()
        path = served.forge("netbox")
        victim = await served.call(path)
        assert await victim.status()
        client = await served.call()
        with pytest.raises(NotFound, match="no identity 'netbox'"):
            await client.revoke_identity("netbox")
        assert await victim.status()
        await client.revoke_identity(serial=serial_of(path).upper())
        await until_gone(victim)
        await assert_closed(served, path, "was revoked")

    @pytest_twisted.ensureDeferred
    async def test_who_asks(self, serve):
        """Nobody takes away the certificate that it is asking with, nor all of admin."""
        served = serve()
        first, second = served.directory / "admin.pem", await served.make("admin")
        client = await served.call()
        with pytest.raises(InvalidRequest, match="one by one"):
            await client.revoke_identity("admin")
        with pytest.raises(InvalidRequest, match="certificate that asks"):
            await client.revoke_identity(serial=serial_of(first))
        assert not any(each["revoked"] for each in await listed(client))
        other = await served.call(second)
        [revoked] = await other.revoke_identity(serial=serial_of(first))
        assert revoked["name"] == "admin"
        await until_gone(client)
        await assert_closed(served, first, "'admin' .* was revoked")
        assert await other.status()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "revoke what"),
            ({"name": "", "serial": ""}, "revoke what"),
            ({"name": "a", "serial": "10"}, "revoke what"),
            ({"serial": "netbox"}, "no hexadecimal number"),
            ({"serial": "-1"}, "no hexadecimal number"),
            ({"serial": "f" * 50}, "no hexadecimal number"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_nonsense(self, serve, given, words):
        """What names nothing, or two things, revokes nothing."""
        client = await serve().call()
        with pytest.raises(InvalidRequest, match=words):
            await client.revoke_identity(**given)
        assert len(await listed(client)) == 1

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("0x0A", 10),
            ("00ff00ff00ff00ff", 0xFF00FF00FF00FF),
            ("00:FF:00:FF:00:FF:00:FF", 0xFF00FF00FF00FF),
            ("cafe", None),
            ("00:ff:00:ff:00:ff", None),
            ("0x", None),
            ("0x" + "f" * 41, None),
        ],
    )
    def test_serials(self, text, number):
        """Numbers are read as we and openssl write them; short ones look like names."""
        assert parse_serial(text) == number

    @pytest_twisted.ensureDeferred
    async def test_silent(self, serve, monkeypatch):
        """One that shows a revoked certificate and asks nothing is not kept."""
        served = serve()
        path = await served.make("netbox")
        await (await served.call()).revoke_identity("netbox")
        monkeypatch.setattr(connections, "HANDSHAKE_TIME", 0.2)
        client = await served.call(path)
        await until_gone(client)

    @pytest_twisted.ensureDeferred
    async def test_many_at_once(self, serve):
        """Of what is sent in one go with a revoked certificate nothing is done."""
        from twisted.internet import reactor

        served = serve()
        path = await served.make("netbox")
        admin = await served.call()
        await admin.revoke_identity("netbox")

        class Hasty(Protocol):
            def __init__(self):
                self.heard = bytearray()
                self.gone = Deferred()

            def connectionMade(self):
                box = amp.AmpBox(
                    _command=b"Reserve",
                    _ask=b"1",
                    address=b"127.7.0.20",
                    hardware=b"02:00:00:00:00:01",
                )
                self.transport.write(box.serialize() * 3)

            def dataReceived(self, data):
                self.heard += data

            def connectionLost(self, reason):
                self.gone.callback(None)

        host, _, port = served.endpoint.partition(":")
        plain = HostnameEndpoint(reactor, host.encode(), int(port))
        peer = Hasty()
        endpoint = wrapClientTLS(tls.client_options(path, host), plain)
        await connectProtocol(endpoint, peer)
        await until(lambda: peer.gone.called)
        assert b"NOT_PERMITTED" in peer.heard
        assert [each async for each in admin.reservations()] == []

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_left(self, serve):
        """A server that has stopped does not want to know any more."""
        served = serve()
        identities = served.factory.server.identities
        assert len(identities._listeners) == 1
        await served.service.stopService()
        assert not identities._listeners


class TestEnds:
    """A certificate's time is up whatever else is said."""

    @pytest_twisted.ensureDeferred
    async def test_expired(self, serve):
        """An identity that has ended is not let in, and its holder is told why."""
        served = serve()
        with pytest.raises(NotAccepted, match="it has ended"):
            await (await served.call(served.forge("admin", LONG_AGO))).status()
        assert await (await served.call()).status()

    @pytest_twisted.ensureDeferred
    async def test_ends_while_connected(self, serve):
        """Nor is one let stay that was in before."""
        served = serve()
        client = await served.call(await served.make("netbox", lifetime=3600))
        assert await client.status()
        served.factory.server.clock = lambda: time.time() + 3601
        with pytest.raises(NotPermitted, match="certificate of 'netbox' has ended"):
            await client.status()
        await until_gone(client)

    @pytest_twisted.ensureDeferred
    async def test_expired_server(self, serve, make_site):
        """A server whose certificate has ended is not talked to."""
        site = make_site(storage="memory:", listen=TCP)
        directory = site.state / "control"
        tls.prepare(directory, [])
        pem = tls._issue(directory / "authority.pem", "x", ["127.0.0.1"], LONG_AGO)
        (directory / "server.pem").write_bytes(pem)
        with pytest.raises(WrongServer, match="or one that has ended"):
            await serve(site=site).call()

    @pytest_twisted.ensureDeferred
    async def test_warned_of_at_start(self, serve, make_site, warned):
        """A certificate of one's own that ends soon stands in the log and the status."""
        site = make_site(storage="memory:", listen=TCP)
        directory = site.state / "control"
        tls.prepare(directory, [])
        end = int(time.time()) + 10 * DAY
        when = datetime.fromtimestamp(end, UTC)
        pem = tls._issue(directory / "authority.pem", "x", ["127.0.0.1"], when)
        (directory / "server.pem").write_bytes(pem)
        client = await serve(site=site).call()
        [text] = warned
        assert f"certificate ends on {when:%Y-%m-%d %H:%M} UTC" in text
        status = await client.status()
        assert status["control"] == {"certificate ends": end}
        assert "control certificate ends:  in 9d 23h" in tables.status(status)

    @pytest_twisted.ensureDeferred
    async def test_nothing_to_warn_of(self, serve, warned):
        """What we have made does not end, and nothing is said of it."""
        status = await (await serve().call()).status()
        assert "control" not in status
        assert not warned

    def test_every_day(self, warned):
        """The warning comes once a day, until the server stops."""
        clock = Clock()
        server = ControlServer(None, network(), clock.seconds, dict, reactor=clock)
        server.identities.ends = {"authority": SOON + 5 * DAY}
        factory = connections.ControlFactory(server, clock, is_secure=True)
        factory.doStart()
        clock.pump([DAY] * 5)
        assert warned == []
        clock.advance(DAY)
        assert len(warned) == 1
        clock.pump([DAY] * 30)
        assert "authority has ended on 1970-02-05" in warned[-1]
        assert len(warned) == 31
        factory.doStop()
        assert not clock.getDelayedCalls()

    @pytest_twisted.ensureDeferred
    async def test_identities_that_end(self, serve):
        """Names whose last identity ends soon are told; those renewed in time are not."""
        served = serve()
        for name, lifetime in (
            ("soon", 29 * DAY),
            ("late", 31 * DAY),
            ("renewed", 5 * DAY),
            ("renewed", 90 * DAY),
            ("endless", 5 * DAY),
            ("endless", None),
            ("over", 1),
            ("revoked", 5 * DAY),
        ):
            await served.make(name, lifetime=lifetime)
        await (await served.call()).revoke_identity("revoked")
        found = served.factory.server.identities.ending(time.time() + 2)
        assert [what for what, _ in found] == ["identity 'soon'"]


class TestDowngrade:
    """Nothing less than TLS 1.2 is spoken."""

    @pytest.fixture(autouse=True)
    def lenient(self, monkeypatch):
        """A library that would take anything: what refuses it is our own setting."""
        make = tls.server_options

        def options(*files):
            made = make(*files)
            made.getContext().set_cipher_list(b"ALL:@SECLEVEL=0")
            return made

        monkeypatch.setattr(tls, "server_options", options)

    @staticmethod
    def _shake_hands(served, version):
        """What a client of that version hears; blocks."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = version
            context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_verify_locations(served.directory / "authority.pem")
        context.load_cert_chain(served.directory / "admin.pem")
        host, _, port = served.endpoint.partition(":")
        with (
            socket.create_connection((host, int(port)), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(amp.AmpBox(_command=b"Status", _ask=b"1").serialize())
            return secure.recv(100)

    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    @pytest_twisted.ensureDeferred
    async def test_accepted(self, serve, version):
        """What is safe today is answered."""
        version = getattr(ssl.TLSVersion, version)
        heard = await deferToThread(self._shake_hands, serve(), version)
        assert b"_answer" in heard

    @pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
    @pytest_twisted.ensureDeferred
    async def test_refused(self, serve, version):
        """What was so once is refused by the server, for its version."""
        version = getattr(ssl.TLSVersion, version)
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            await deferToThread(self._shake_hands, serve(), version)

    @pytest_twisted.ensureDeferred
    async def test_no_tls_at_all(self, serve):
        """Commands in the clear are not read, whoever sends them."""
        from twisted.internet import reactor

        served = serve()
        host, _, port = served.endpoint.partition(":")
        peer = amp.AMP()
        await connectProtocol(HostnameEndpoint(reactor, host, int(port)), peer)
        with pytest.raises(Exception, match=r"lost|closed|aborted"):
            await peer.callRemoteString(b"Status")


class TestRecord:
    """What is revoked stands in a file, which must be right."""

    @pytest_twisted.ensureDeferred
    async def test_mode(self, serve):
        """Only its owner reads it."""
        path = serve().directory / "identities.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        [admin] = json.loads(path.read_text())["identities"]
        assert (admin["name"], admin["revoked"]) == ("admin", None)

    @pytest_twisted.ensureDeferred
    async def test_no_room(self, serve, monkeypatch):
        """What cannot be written down is not done, and that is said."""
        served = serve()
        path = await served.make("netbox")
        client, netbox = await served.call(), await served.call(path)
        before = await listed(client)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tls, "write", full)
        for asked in (client.new_identity("x"), client.revoke_identity("netbox")):
            with pytest.raises(
                StorageFailed, match=r"identities\.json .*No space left"
            ):
                await asked
        monkeypatch.undo()
        assert await listed(client) == before
        assert await netbox.status()

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            "{}",
            '{"identities": 1}',
            '{"identities": [1]}',
            '{"identities": ["x"]}',
            '{"identities": [{"serial": "1"}]}',
            '{"identities": [{"name": "a", "serial": 1, "authority": "b"}]}',
            '{"identities": [{"name": 1, "serial": "1", "authority": "b"}]}',
            '{"identities": [{"name": "a", "serial": "1", "authority": "b", "x": 1}]}',
            '{"identities": [{"name": "", "serial": "1", "authority": "", "by": NaN}]}',
            '{"identities": [{"name": "", "serial": "1", "authority": "", "issued": NaN}]}',
            "\xff\x00",
            "[" * 100_000,
        ],
    )
    def test_damaged(self, tmp_path, content):
        """A file that cannot be understood stops the start, and says what to do."""
        tls.prepare(tmp_path, [])
        (tmp_path / "identities.json").write_text(content, "latin-1")
        authority = certificate(tmp_path / "authority.pem")
        with pytest.raises(
            UnusableIdentity, match=r"identities\.json is damaged"
        ) as it:
            Identities().open(tmp_path, authority, has_key=True)
        assert "from a backup" in str(it.value)

    def test_unreadable(self, tmp_path):
        """So does one that cannot be read."""
        (tmp_path / "identities.json").mkdir()
        with pytest.raises(UnusableIdentity, match=r"json cannot be read: Is a dir"):
            Identities().open(tmp_path, None, has_key=True)

    def test_damaged_at_start(self, make_site):
        """The process ends with that one message."""
        site = make_site(listen=TCP)
        directory = site.state / "control"
        directory.mkdir(parents=True)
        (directory / "identities.json").write_text("{}")
        path = site.directory / "dhcp.ini"
        path.write_text(site.ini, "utf-8")
        twistd = Path(sys.executable).with_name("twistd")
        done = subprocess.run(
            [twistd, "--nodaemon", "--pidfile=", "dhcp", f"--config={path}"],
            cwd=site.directory,
            env=site.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert "Traceback" not in told
        [line] = [line for line in told.splitlines() if "cannot start" in line]
        assert f"{directory / 'identities.json'} is damaged" in line

    @pytest.mark.parametrize("content", [b"garbage", b"", None])
    def test_another_admin_file(self, tmp_path, content):
        """What is no identity of ours in admin's place is left alone."""
        tls.prepare(tmp_path / "here", [])
        tls.prepare(tmp_path / "there", [])
        path = tmp_path / "here" / "admin.pem"
        path.write_bytes(
            (tmp_path / "there" / "admin.pem").read_bytes()
            if content is None
            else content
        )
        identities = Identities()
        authority = certificate(tmp_path / "here" / "authority.pem")
        identities.open(tmp_path / "here", authority, has_key=True)
        assert identities.all() == []

    def test_authorities_are_told_apart(self, tmp_path):
        """Another authority's numbers are others; the first one's are not forgotten."""
        authorities = []
        for name in ("here", "there"):
            tls.prepare(tmp_path / name, [])
            authorities.append(certificate(tmp_path / name / "authority.pem"))
        ours, theirs = authorities
        identities = Identities()
        identities.open(tmp_path, ours, has_key=False)
        identities.revoke(None, 7, 1000.0, "admin", None)
        assert identities.is_revoked(7)
        identities.open(tmp_path, theirs, has_key=False)
        assert not identities.is_revoked(7)
        assert identities.all() == []
        identities.open(tmp_path, ours, has_key=False)
        assert identities.is_revoked(7)

    def test_renewed_authority(self, tmp_path):
        """An authority whose certificate was renewed is the same: its key is."""
        tls.prepare(tmp_path, [])
        pem = (tmp_path / "authority.pem").read_bytes()
        from cryptography.hazmat.primitives import serialization

        key = serialization.load_pem_private_key(pem, None)
        again = tls._sign(key, "dhcptwist authority", None)
        first = certificate(tmp_path / "authority.pem")
        assert again.serial_number != first.serial_number
        assert issued.authority_of(again) == issued.authority_of(first)

    @pytest_twisted.ensureDeferred
    async def test_pages(self, serve):
        """Many identities come in pages, each once and in order."""
        served = serve()
        identities = served.factory.server.identities
        for number in range(30):
            identities.issue(f"n{number}", None, 1000.0, "admin")
        client = await served.call()
        answer = await client._call(ListIdentities, limit=7)
        names = [each["name"] for each in answer["identities"]]
        while answer.get("next"):
            answer = await client._call(ListIdentities, limit=7, after=answer["next"])
            names += [each["name"] for each in answer["identities"]]
        assert names == ["admin", *(f"n{number}" for number in range(30))]
        assert [each["name"] for each in await listed(client)] == names
        for after in ("ff", "never"):
            with pytest.raises(InvalidRequest, match="was never a next"):
                await client._call(ListIdentities, after=after)


class TestCommand:
    """``dhcpctl identity``."""

    @pytest_twisted.ensureDeferred
    async def test_new(self, serve, dhcpctl, tmp_path):
        """A file for its owner only, which can be used, and what it may do."""
        served = serve()
        before = os.umask(0)
        try:
            done = await dhcpctl(served, "identity", "new", "netbox")
        finally:
            os.umask(before)
        assert (done.code, done.err) == (0, "")
        assert done.out == (
            "netbox.pem: the identity netbox, which does not end\n"
            "it may do reserve, status in 127.7.0.0/24\n"
        )
        path = tmp_path / "netbox.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await dhcpctl(served, "--identity", path, "status")).code == 0

    @pytest_twisted.ensureDeferred
    async def test_new_without_role(self, serve, dhcpctl):
        """Without a role, the line that the configuration needs."""
        done = await dhcpctl(serve(), "identity", "new", "stranger")
        assert done.code == 0
        assert "may do nothing yet" in done.out
        assert "[control] needs a line role stranger = VERB" in done.out

    @pytest.mark.parametrize(
        ("lasts", "days"), [("1y", 365), ("90d", 90), ("1y2w", 379), ("2Y", 730)]
    )
    @pytest_twisted.ensureDeferred
    async def test_new_lasting(self, serve, dhcpctl, tmp_path, lasts, days):
        """Another file, a time to last, and a document."""
        path = tmp_path / "mine.pem"
        done = await dhcpctl(
            serve(),
            *("--json", "identity", "new", "netbox"),
            *("--out", path, "--lasts", lasts),
        )
        assert (done.code, done.err) == (0, "")
        assert done.json["file"] == str(path)
        assert done.json["serial"] == serial_of(path)
        assert done.json["expires"] == tls.end_of(certificate(path))
        assert done.json["expires"] == int(done.json["issued"]) + days * DAY

    @pytest_twisted.ensureDeferred
    async def test_new_is_not_written_over(self, serve, dhcpctl, tmp_path):
        """A file that is there stays as it is, and no identity is made."""
        served = serve()
        path = tmp_path / "netbox.pem"
        path.write_text("mine")
        done = await dhcpctl(served, "identity", "new", "netbox")
        assert (done.code, done.out) == (1, "")
        assert "netbox.pem is there already; name another with --out" in done.err
        assert path.read_text() == "mine"
        assert len(await listed(await served.call())) == 1

    @pytest_twisted.ensureDeferred
    async def test_new_nowhere(self, serve, dhcpctl, tmp_path):
        """A file that cannot be written is told before an identity is made."""
        served = serve()
        path = tmp_path / "none" / "netbox.pem"
        done = await dhcpctl(served, "identity", "new", "netbox", "--out", path)
        assert (done.code, done.out) == (1, "")
        assert "cannot be written: No such file or directory" in done.err
        assert len(await listed(await served.call())) == 1

    @pytest_twisted.ensureDeferred
    async def test_new_refused(self, serve, dhcpctl, tmp_path):
        """What the server refuses leaves no file behind: exit 3 by a role, else 1."""
        served = serve()
        mine = await served.make("all")
        done = await dhcpctl(served, "--identity", mine, "identity", "new", "netbox")
        assert (done.code, done.out) == (3, "")
        assert "'all' may not deal with identities" in done.err
        done = await dhcpctl(serve(listen=UNIX), "identity", "new", "netbox")
        assert (done.code, done.out) == (1, "")
        assert "no authority" in done.err
        assert not (tmp_path / "netbox.pem").exists()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["new"], "NAME"),
            (["new", "../admin"], "cannot be"),
            (["new", "file"], "source of the ini file"),
            (["new", "a", "--lasts", "soon"], "'soon' is not a time like"),
            (["new", "a", "--lasts", "999y"], "is not between"),
            (["revoke"], "NAME|SERIAL"),
            (["explode"], "invalid choice"),
            ([], "new|list|revoke"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_usage(self, serve, dhcpctl, arguments, words):
        """What makes no sense is exit 2, and why."""
        done = await dhcpctl(serve(), "identity", *arguments)
        assert (done.code, done.out) == (2, "")
        assert words in done.err

    @pytest_twisted.ensureDeferred
    async def test_list(self, serve, dhcpctl):
        """Who there is, with numbers; who is revoked, and when."""
        served = serve()
        paths = [await served.make(name) for name in ("netbox", "stranger")]
        await (await served.call()).revoke_identity("stranger")
        done = await dhcpctl(served, "identity", "list")
        assert (done.code, done.err) == (0, "")
        heads, *lines = [re.split(" {2,}", line) for line in done.out.splitlines()]
        assert heads == ["NAME", "ISSUED", "ENDS", "REVOKED", "MAY DO", "SERIAL"]
        assert [line[0] for line in lines] == ["admin", "netbox", "stranger"]
        assert [line[3] == "-" for line in lines] == [True, True, False]
        assert [line[4] for line in lines] == [
            "everything",
            "reserve, status in 127.7.0.0/24",
            "nothing",
        ]
        assert [line[5] for line in lines[1:]] == [*map(serial_of, paths)]
        document = (await dhcpctl(served, "--json", "identity", "list")).json
        assert document == await listed(await served.call())

    @pytest_twisted.ensureDeferred
    async def test_list_nothing(self, serve, dhcpctl):
        """Where there are none, that is said."""
        done = await dhcpctl(serve(listen=UNIX), "identity", "list")
        assert (done.code, done.out) == (0, "this server has made no identities\n")

    @pytest.mark.parametrize("how", ["name", "serial", "as openssl writes it"])
    @pytest_twisted.ensureDeferred
    async def test_revoke(self, serve, dhcpctl, how):
        """By name or number; the next command of its holder is exit 3."""
        served = serve()
        path = await served.make("netbox")
        number = serial_of(path)
        pairs = bytes.fromhex(number.zfill(len(number) + len(number) % 2)).hex(":")
        which = {"name": "netbox", "serial": number}.get(how, pairs.upper())
        done = await dhcpctl(served, "identity", "revoke", which)
        assert (done.code, done.err) == (0, "")
        assert number in done.out
        done = await dhcpctl(served, "--identity", path, "status")
        assert (done.code, done.out) == (3, "")
        assert f"serial number {number} was revoked" in done.err

    @pytest_twisted.ensureDeferred
    async def test_revoke_unknown(self, serve, dhcpctl):
        """An unknown name is exit 1; an unknown number is refused all the same."""
        served = serve()
        done = await dhcpctl(served, "--json", "identity", "revoke", "nobody")
        assert done.code == 1
        assert done.json["error"] == "NotFound"
        done = await dhcpctl(served, "identity", "revoke", "0x1000")
        assert done.code == 0
        assert "this server has not made that certificate" in done.err
        assert served.factory.server.identities.is_revoked(0x1000)

    @pytest.mark.parametrize(("days", "words"), [(29, "ends in 2"), (31, "")])
    @pytest_twisted.ensureDeferred
    async def test_warning(self, serve, dhcpctl, days, words):
        """Who uses an identity that ends within a month is told, beside its answer."""
        served = serve()
        path = await served.make("netbox", lifetime=days * DAY)
        done = await dhcpctl(served, "--json", "--identity", path, "status")
        assert done.code == 0
        assert done.json["port"] == served.site.port
        assert bool(done.err) is bool(words)
        assert words in done.err
        assert done.err.count("\n") == bool(words)

    @pytest_twisted.ensureDeferred
    async def test_ended(self, serve, dhcpctl):
        """One that has ended already: exit 3, and since when."""
        served = serve()
        path = served.forge("admin", LONG_AGO)
        done = await dhcpctl(served, "--identity", path, "status")
        assert (done.code, done.out) == (3, "")
        warning, error = done.err.splitlines()
        assert "the certificate of admin in" in warning
        assert " ago, on 2020-01-01" in warning
        assert error.endswith("does not accept this certificate: it has ended")
