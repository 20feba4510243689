"""The control channel's door: certificates, who gets in, and what a peer may cost us."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from ipaddress import ip_address

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from service_identity import CertificateError
from twisted.internet import ssl
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import (
    MemoryReactorClock,
    StringTransportWithDisconnection,
)
from twisted.protocols import amp
from zope.interface import implementer

from dhcptwist.config import ControlConfig, Role
from dhcptwist.control import commands, connections, listening, tls
from dhcptwist.control.answering import ControlServer
from dhcptwist.control.client import (
    NoServer,
    NotAccepted,
    WrongServer,
    connect,
)
from dhcptwist.control.errors import NotPermitted, NotSupported, StorageFailed
from dhcptwist.control.tls import UnusableIdentity
from dhcptwist.interfaces import ILeases, IReservations
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import network
from dhcptwist.transport.sockets import CannotServe


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

TCP = "tcp:0:interface=127.0.0.1"
UNIX = "unix:control.sock:mode=600"
FILES = ("authority.pem", "server.pem", "admin.pem")


async def until(condition):
    """Let the reactor work until something is the case."""
    from twisted.internet import reactor

    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it has not come about")


def factory_of(port):
    """The `ControlFactory` behind a port."""
    return getattr(port.factory, "wrappedFactory", port.factory)


@pytest.fixture
def state(tmp_path):
    """The state directory, in a place short enough for a socket."""
    return tmp_path / "state"


@pytest.fixture
def serve(state):
    """Open control channels; what the test leaves open is closed."""
    from twisted.internet import reactor

    ports = []

    async def serve(
        listen=TCP, *, storage=None, state=state, roles=(), names=(), **config
    ):
        net = network()
        server = ControlServer(
            MemoryStorage(net) if storage is None else storage,
            net,
            lambda: 1000.0,
            lambda: {"version": "1", "uptime": 1},
            roles,
            reactor=reactor,
        )
        control = ControlConfig(listen, roles=tuple(roles), **config)
        ports.append(await listening.listen(reactor, control, state, server, names))
        return ports[-1]

    async def stop():
        for port in ports:
            await maybeDeferred(port.stopListening)
            factory = factory_of(port)
            for each in list(factory.connections):
                each.transport.abortConnection()
            await until(lambda factory=factory: not factory.connections)

    yield serve
    pytest_twisted.blockon(ensureDeferred(stop()))


@pytest.fixture
def call(state):
    """Connect clients to a port; they are closed in the end."""
    from twisted.internet import reactor

    clients = []

    async def call(port, identity=None, *, host="127.0.0.1", patience=10.0):
        where = port if isinstance(port, str) else f"{host}:{port.getHost().port}"
        mine = identity or state / "control" / "admin.pem"
        clients.append(await connect(reactor, where, mine, patience))
        return clients[-1]

    async def stop():
        for client in clients:
            transport = client._protocol.transport
            if transport is not None:
                transport.abortConnection()
                await client._protocol.gone
        # One that could not connect is aborted, which takes another turn.
        await deferLater(reactor, 0)

    yield call
    pytest_twisted.blockon(ensureDeferred(stop()))


class Talk(Protocol):
    """A peer that says what it likes and keeps what it hears."""

    def __init__(self):
        self.heard = bytearray()
        self.lost = Deferred()
        self.is_lost = False

    def dataReceived(self, data):
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason=None):
        """Tell the test."""
        self.is_lost = True
        self.lost.callback(None)


class Caller(amp.AMP):
    """A peer that sends boxes of its own making."""

    def __init__(self):
        super().__init__()
        self.lost = Deferred()

    def connectionLost(self, reason):
        """Tell the test."""
        super().connectionLost(reason)
        self.lost.callback(None)


@pytest.fixture
def talk(state):
    """Connect a protocol of the test's to a port; it is closed in the end."""
    from twisted.internet import reactor

    protocols = []

    async def talk(port, protocol, *, secure=False):
        host = port.getHost()
        if not hasattr(host, "port"):
            endpoint = UNIXClientEndpoint(reactor, host.name)
        else:
            endpoint = HostnameEndpoint(reactor, b"127.0.0.1", host.port)
        if secure:
            options = tls.client_options(state / "control" / "admin.pem", "127.0.0.1")
            endpoint = wrapClientTLS(options, endpoint)
        protocols.append(await connectProtocol(endpoint, protocol))
        return protocol

    async def stop():
        for protocol in protocols:
            transport = protocol.transport
            if transport is not None and not protocol.lost.called:
                transport.abortConnection()
            await protocol.lost

    yield talk
    pytest_twisted.blockon(ensureDeferred(stop()))


def issue(directory, name, names=(), *, authority=None, trusted=None):
    """A file with an identity: whose, and whom it trusts, may differ."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = authority or directory / "authority.pem"
    if not authority.exists():
        tls.prepare(authority.parent, [])
    pem = tls._issue(authority, name, list(names))
    if trusted is not None:
        mine = pem[: pem.rindex(b"-----BEGIN CERTIFICATE")]
        pem = mine + certificate(trusted).public_bytes(serialization.Encoding.PEM)
    path = directory / f"{name.replace(' ', '-')}.pem"
    path.write_bytes(pem)
    return path


def certificate(path):
    """The first certificate of a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def alternatives(path):
    """The names and addresses that a server's certificate is for."""
    return list(
        certificate(path)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )


def rsa_authority(path):
    """An authority with another kind of key than ours have."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(tls._BEGIN)
        .not_valid_after(tls._END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class TestPrepare:
    """A first start makes what is needed, and nothing is made twice."""

    def test_modes(self, tmp_path):
        """Three files that only their owner reads, in a directory of its owner's."""
        before = os.umask(0)
        try:
            tls.prepare(tmp_path / "state" / "control", [])
        finally:
            os.umask(before)
        directory = tmp_path / "state" / "control"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {each.name for each in directory.iterdir()} == set(FILES)
        for name in FILES:
            assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600

    def test_once(self, tmp_path):
        """A second call changes nothing, whatever names it is given."""
        tls.prepare(tmp_path, ["dhcp.example.org"])
        before = {name: (tmp_path / name).read_bytes() for name in FILES}
        tls.prepare(tmp_path, ["other.example.org"])
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == before

    def test_a_new_authority(self, tmp_path):
        """With the authority goes all that it signed: so trust is taken away."""
        tls.prepare(tmp_path, [])
        before = {name: (tmp_path / name).read_bytes() for name in FILES}
        (tmp_path / "authority.pem").unlink()
        tls.prepare(tmp_path, [])
        for name in FILES:
            assert (tmp_path / name).read_bytes() != before[name]

    @pytest.mark.parametrize("name", ["server.pem", "admin.pem"])
    def test_made_again(self, tmp_path, name):
        """What was taken away is made anew by the same authority; the rest stays."""
        tls.prepare(tmp_path, [])
        before = {each: (tmp_path / each).read_bytes() for each in FILES}
        (tmp_path / name).unlink()
        tls.prepare(tmp_path, [])
        after = {each: (tmp_path / each).read_bytes() for each in FILES}
        assert [each for each in FILES if before[each] != after[each]] == [name]
        authority = certificate(tmp_path / "authority.pem")
        certificate(tmp_path / name).verify_directly_issued_by(authority)

    def test_after_a_crash(self, tmp_path):
        """A file half written by a start that was cut short is no hindrance."""
        (tmp_path / "server.pem.new").write_text("half of")
        tls.prepare(tmp_path, [])
        assert {each.name for each in tmp_path.iterdir()} == set(FILES)

    def test_names(self, tmp_path):
        """The server's names are those of this machine's loopback and those given."""
        tls.prepare(tmp_path, ["dhcp.example.org", "192.0.2.1", "2001:db8::1"])
        assert alternatives(tmp_path / "server.pem") == [
            x509.DNSName("localhost"),
            x509.IPAddress(ip_address("127.0.0.1")),
            x509.IPAddress(ip_address("::1")),
            x509.DNSName("dhcp.example.org"),
            x509.IPAddress(ip_address("192.0.2.1")),
            x509.IPAddress(ip_address("2001:db8::1")),
        ]

    def test_each_name_once(self, tmp_path):
        """A name that is known already is not put in again."""
        tls.prepare(tmp_path, ["localhost", "a.example", "127.0.0.1", "a.example"])
        names = alternatives(tmp_path / "server.pem")
        assert len(names) == len(set(names)) == 4

    def test_lasting(self, tmp_path):
        """None of them ends, nor begins later than a clock without a battery says."""
        tls.prepare(tmp_path, [])
        for name in FILES:
            made = certificate(tmp_path / name)
            assert made.not_valid_before_utc.year == 1970
            assert made.not_valid_after_utc.year == 9999

    def test_purposes(self, tmp_path):
        """A server's is no client's, a client's no server's, and neither may sign."""
        tls.prepare(tmp_path, [])
        uses = {"server.pem": "SERVER_AUTH", "admin.pem": "CLIENT_AUTH"}
        for name, use in uses.items():
            extensions = certificate(tmp_path / name).extensions
            found = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            assert list(found) == [getattr(ExtendedKeyUsageOID, use)]
            basic = extensions.get_extension_for_class(x509.BasicConstraints)
            assert not basic.value.ca
            usage = extensions.get_extension_for_class(x509.KeyUsage).value
            assert usage.digital_signature
            assert not usage.key_cert_sign

    @pytest.mark.parametrize("how", ["garbage", "no key", "rsa", "a directory"])
    def test_unusable_authority(self, tmp_path, how):
        """An authority that cannot sign is named."""
        path = tmp_path / "authority.pem"
        if how == "a directory":
            path.mkdir()
        elif how == "garbage":
            path.write_text("not a certificate")
        elif how == "rsa":
            rsa_authority(path)
        else:
            tls.prepare(tmp_path / "other", [])
            made = certificate(tmp_path / "other" / "authority.pem")
            path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        with pytest.raises(UnusableIdentity, match=r"authority\.pem"):
            tls.prepare(tmp_path, [])
        assert not (tmp_path / "server.pem").exists()
        assert not (tmp_path / "admin.pem").exists()


class TestWhoGetsIn:
    """Both sides prove who they are."""

    @pytest_twisted.ensureDeferred
    async def test_admin(self, serve, call):
        """The identity that a first start makes may do everything."""
        client = await call(await serve())
        assert (await client.status())["version"] == "1"
        verdict = await client.reserve("192.0.2.10", hardware="02:00:00:00:00:01")
        assert verdict.outcome == "applied"
        [made] = [each async for each in client.reservations()]
        assert made["source"] == "admin"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    @pytest_twisted.ensureDeferred
    async def test_names(self, serve, call, host):
        """A server is known by its address, and by its name."""
        client = await call(await serve(), host=host)
        assert (await client.status())["version"] == "1"

    @pytest_twisted.ensureDeferred
    async def test_further_names(self, serve, state):
        """The names that are given, and the address it listens on, stand in it too."""
        await serve("tcp:0:interface=127.0.0.9", names=["dhcp.example"])
        names = alternatives(state / "control" / "server.pem")
        assert x509.DNSName("dhcp.example") in names
        assert x509.IPAddress(ip_address("127.0.0.9")) in names

    @pytest_twisted.ensureDeferred
    async def test_role(self, serve, call, state):
        """Another identity of the authority may do what its role says."""
        port = await serve(roles=[Role("netbox", frozenset({"status"}))])
        client = await call(port, issue(state / "control", "netbox"))
        assert (await client.status())["version"] == "1"
        with pytest.raises(NotPermitted, match="'netbox' may not reserve"):
            await client.reserve("192.0.2.10", hardware="02:00:00:00:00:01")
        assert (await client.status())["version"] == "1"

    @pytest_twisted.ensureDeferred
    async def test_without_role(self, serve, call, state):
        """Who has no role may do nothing at all, and stays connected."""
        client = await call(await serve(), issue(state / "control", "nobody"))
        for _ in range(2):
            with pytest.raises(NotPermitted, match="'nobody' may not status"):
                await client.status()

    @pytest_twisted.ensureDeferred
    async def test_another_authority(self, serve, call, state, tmp_path):
        """An identity of another authority is not accepted, though it trusts ours."""
        port = await serve()
        ours = state / "control" / "authority.pem"
        stranger = issue(tmp_path / "other", "admin", trusted=ours)
        with pytest.raises(NotAccepted, match="does not accept this certificate"):
            await (await call(port, stranger)).status()
        assert await (await call(port)).status()

    @pytest_twisted.ensureDeferred
    async def test_server_as_client(self, serve, call, state):
        """Who has stolen the server's certificate cannot give commands with it."""
        port = await serve()
        with pytest.raises(NotAccepted, match="does not accept this certificate"):
            await (await call(port, state / "control" / "server.pem")).status()

    @pytest_twisted.ensureDeferred
    async def test_closing_when_not_accepted(self, serve, call, state, tmp_path):
        """A client that was thrown out can still be closed, also twice."""
        port = await serve()
        ours = state / "control" / "authority.pem"
        stranger = issue(tmp_path / "other", "admin", trusted=ours)
        client = await call(port, stranger)
        with pytest.raises(NotAccepted):
            await client.status()
        for _ in range(2):
            await client.close()
        with pytest.raises(NoServer):
            await client.status()

    @pytest_twisted.ensureDeferred
    async def test_no_certificate(self, serve, talk, state):
        """Who shows none is closed out, and the server goes on."""
        from twisted.internet import reactor

        port = await serve()
        authority = certificate(state / "control" / "authority.pem")
        pem = authority.public_bytes(serialization.Encoding.PEM)
        options = ssl.optionsForClientTLS(
            "127.0.0.1", trustRoot=ssl.Certificate.loadPEM(pem)
        )
        number = port.getHost().port
        plain = HostnameEndpoint(reactor, b"127.0.0.1", number)
        peer = Talk()
        await connectProtocol(wrapClientTLS(options, plain), peer)
        await peer.lost
        assert peer.heard == b""
        await until(lambda: not factory_of(port).connections)

    @pytest_twisted.ensureDeferred
    async def test_wrong_name(self, serve, call, state):
        """A server whose certificate is for another name is not talked to."""
        theirs = issue(state / "control", "elsewhere", ["dhcp.example.org"])
        port = await serve(certificate=str(theirs))
        with pytest.raises(WrongServer, match="certificate for another name"):
            await call(port)

    @pytest_twisted.ensureDeferred
    async def test_wrong_authority(self, serve, call, tmp_path):
        """Nor is one that another authority has signed."""
        port = await serve()
        tls.prepare(tmp_path / "other", [])
        with pytest.raises(WrongServer, match="from another authority"):
            await call(port, tmp_path / "other" / "admin.pem")

    @pytest_twisted.ensureDeferred
    async def test_client_as_server(self, serve, call, state, logged_failures):
        """A client's identity makes no server, not even of the right authority."""
        tls.prepare(state / "control", [])
        port = await serve(certificate=str(state / "control" / "admin.pem"))
        with pytest.raises(WrongServer):
            await call(port)
        logged_failures.flush(CertificateError)  # by Twisted

    @pytest_twisted.ensureDeferred
    async def test_given_files(self, serve, call, state, tmp_path):
        """A certificate and an authority of one's own are used; nothing is made."""
        own = tmp_path / "own"
        theirs = issue(own, "our dhcp", ["127.0.0.1"])
        port = await serve(
            certificate=str(theirs), authority=str(own / "authority.pem")
        )
        client = await call(port, own / "admin.pem")
        assert (await client.status())["version"] == "1"
        assert [each.name for each in (state / "control").iterdir()] == ["endpoint"]

    @pytest_twisted.ensureDeferred
    async def test_given_authority(self, serve, call, state, tmp_path):
        """With an authority of one's own, the state's identities are worth nothing."""
        own = tmp_path / "own"
        tls.prepare(own, [])
        port = await serve(authority=str(own / "authority.pem"))
        with pytest.raises(NotAccepted):
            await (await call(port)).status()
        ours = state / "control" / "authority.pem"
        client = await call(port, issue(own, "admin", trusted=ours))
        assert (await client.status())["version"] == "1"

    def test_certificate_is_gone(self):
        """Without a certificate nobody is anybody, should it ever come so far."""
        server = ControlServer(None, network(), float, dict, reactor=Clock())
        factory = connections.ControlFactory(server, Clock(), is_secure=True)
        protocol = factory.buildProtocol(None)
        protocol.transport = StringTransportWithDisconnection()
        protocol.transport.getPeerCertificate = lambda: None
        with pytest.raises(NotPermitted, match="there is no certificate"):
            protocol.caller()

    def test_certificate_without_a_name(self, tmp_path):
        """A certificate that names nobody has an empty name, and so no role."""
        tls.prepare(tmp_path, [])
        path = issue(tmp_path, "x")
        made = ssl.Certificate.loadPEM(path.read_bytes()).original
        assert tls.common_name(made) == "x"
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        nobody = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(certificate(path).issuer)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(tls._BEGIN)
            .not_valid_after(tls._END)
            .sign(key, hashes.SHA256())
        )
        pem = nobody.public_bytes(serialization.Encoding.PEM)
        assert tls.common_name(ssl.Certificate.loadPEM(pem).original) == ""


class TestNobodyThere:
    """What a person is told whose server is not there."""

    @pytest_twisted.ensureDeferred
    async def test_refused(self, call, state):
        """Nobody on the port: where, and why."""
        tls.prepare(state / "control", [])
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(NoServer) as told:
                await call(where)
        assert type(told.value) is NoServer
        assert str(told.value) == f"there is no server at {where}: Connection refused"

    @pytest_twisted.ensureDeferred
    async def test_no_socket(self, call, tmp_path):
        """No file where the socket should be."""
        where = f"unix:{tmp_path / 'none.sock'}"
        with pytest.raises(NoServer) as told:
            await call(where)
        assert f"there is no server at {where}: No such file" in str(told.value)

    @pytest_twisted.ensureDeferred
    async def test_silent(self, call, state):
        """A server that takes the connection and says nothing is given up."""
        tls.prepare(state / "control", [])
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            where = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(NoServer, match="does not answer"):
                await call(where, patience=0.05)

    @pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b""])
    @pytest_twisted.ensureDeferred
    async def test_something_else(self, call, state, greeting):
        """A server of another kind is told from ours."""
        from twisted.internet import reactor

        class Other(Protocol):
            def connectionMade(self):
                self.transport.write(greeting)
                self.transport.loseConnection()

        tls.prepare(state / "control", [])
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Other))
        with pytest.raises(NoServer) as told:
            await call(port)
        assert type(told.value) is NoServer
        assert f"127.0.0.1:{port.getHost().port}" in str(told.value)
        await maybeDeferred(port.stopListening)

    @pytest_twisted.ensureDeferred
    async def test_does_not_answer(self, serve, call):
        """A server that hangs is given up after the time that the caller has."""

        @implementer(ILeases)
        class Hanging(MemoryStorage):
            def revoke(self, address, when, by=""):
                return Deferred()

        port = await serve(storage=Hanging(network()))
        client = await call(port)
        client._timeout = 0.01
        with pytest.raises(NoServer, match="does not answer"):
            await client.revoke("192.0.2.10")

    @pytest_twisted.ensureDeferred
    async def test_goes_away(self, serve, call):
        """A connection that ends while a command is under way fails that command."""

        @implementer(ILeases)
        class Hanging(MemoryStorage):
            def revoke(self, address, when, by=""):
                [connection] = factory_of(port).connections
                connection.transport.abortConnection()
                return Deferred()

        port = await serve(storage=Hanging(network()))
        client = await call(port)
        with pytest.raises(NoServer, match="cannot be reached"):
            await client.revoke("192.0.2.10")
        await client.close()

    @pytest_twisted.ensureDeferred
    async def test_close(self, serve, call):
        """After close() the server has no connection any more."""
        port = await serve()
        client = await call(port)
        assert len(factory_of(port).connections) == 1
        await client.close()
        await until(lambda: not factory_of(port).connections)

    @pytest.mark.parametrize(
        "server",
        ["", ":6768", "dhcp:0", "dhcp:65536", "dhcp:name", "[::1", "dhcp:", "a..b:1"],
    )
    @pytest_twisted.ensureDeferred
    async def test_nonsense(self, call, state, server):
        """A server's name that makes no sense is a ValueError."""
        tls.prepare(state / "control", [])
        with pytest.raises(ValueError, match=r".") as told:
            await call(server)
        assert not isinstance(told.value, UnusableIdentity)

    @pytest.mark.parametrize(
        ("server", "host", "port"),
        [
            ("dhcp.example.org:1", "dhcp.example.org", 1),
            ("dhcp.example.org", "dhcp.example.org", 6768),
            ("192.0.2.1", "192.0.2.1", 6768),
            ("tcp:192.0.2.1:99", "192.0.2.1", 99),
            ("[2001:db8::1]:99", "2001:db8::1", 99),
            ("[2001:db8::1]", "2001:db8::1", 6768),
        ],
    )
    def test_host_and_port(self, server, host, port):
        """A server may be named with and without its port."""
        from dhcptwist.control.connecting import host_and_port

        assert host_and_port(server) == (host, port)


class TestUnusable:
    """Files that are no certificates are named."""

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, "cannot be read: No such file or directory"),
            (b"", "not a certificate with its key"),
            (b"\xff\x00garbage", "not a certificate with its key"),
            (b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n", "not a"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_identity(self, serve, call, tmp_path, content, words):
        """The client's identity: missing, empty, garbage."""
        port = await serve()
        path = tmp_path / "mine.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UnusableIdentity, match=words) as told:
            await call(port, path)
        assert str(path) in str(told.value)

    @pytest_twisted.ensureDeferred
    async def test_identity_is_a_directory(self, serve, call, tmp_path):
        """A directory is no identity."""
        port = await serve()
        with pytest.raises(UnusableIdentity, match="Is a directory"):
            await call(port, tmp_path)

    @pytest.mark.parametrize("missing", ["key", "authority", "certificate"])
    @pytest_twisted.ensureDeferred
    async def test_identity_in_parts(self, serve, call, state, tmp_path, missing):
        """It has three parts; without one of them it cannot be used."""
        port = await serve()
        pem = (state / "control" / "admin.pem").read_bytes()
        mine, rest = pem.split(b"-----BEGIN PRIVATE", 1)
        key, _, authority = (b"-----BEGIN PRIVATE" + rest).partition(b"-----BEGIN CER")
        parts = {
            "certificate": mine,
            "key": key,
            "authority": b"-----BEGIN CER" + authority,
        }
        del parts[missing]
        path = tmp_path / "mine.pem"
        path.write_bytes(b"".join(parts.values()))
        with pytest.raises(UnusableIdentity, match=r"mine\.pem"):
            await call(port, path)

    @pytest_twisted.ensureDeferred
    async def test_no_identity(self, serve):
        """There is no way in without a certificate but the socket's file."""
        from twisted.internet import reactor

        port = await serve()
        with pytest.raises(UnusableIdentity, match="a certificate is needed"):
            await connect(reactor, f"127.0.0.1:{port.getHost().port}")

    @pytest.mark.parametrize("which", ["certificate", "authority"])
    @pytest.mark.parametrize("content", [None, "garbage", "certificate only"])
    @pytest_twisted.ensureDeferred
    async def test_server(self, serve, tmp_path, which, content):
        """The server's own files, as the configuration names them."""
        tls.prepare(tmp_path / "own", [])
        path = tmp_path / "wrong.pem"
        if content == "garbage":
            path.write_text("garbage")
        elif content is not None and which == "certificate":
            made = certificate(tmp_path / "own" / "server.pem")
            path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        elif content is not None:
            key = (tmp_path / "own" / "authority.pem").read_text()
            path.write_text(key[key.index("-----BEGIN PRIVATE") :])
        with pytest.raises(UnusableIdentity, match=r"wrong\.pem"):
            await serve(**{which: str(path)})


class TestPlaces:
    """Where a server listens, and how it is found."""

    @pytest.fixture
    def gone(self):
        """The number of a process that has ended."""
        done = subprocess.Popen([sys.executable, "-c", ""])
        done.wait(20)
        return done.pid

    @pytest_twisted.ensureDeferred
    async def test_endpoint(self, serve, state):
        """Where it is stands in the state directory, for programs on this machine."""
        port = await serve()
        text = (state / "control" / "endpoint").read_text()
        assert text == f"127.0.0.1:{port.getHost().port}\n"

    @pytest_twisted.ensureDeferred
    async def test_everywhere(self, serve, state):
        """Who listens everywhere is found on loopback; the certificate says so, too."""
        port = await serve("tcp:0:interface=0.0.0.0", names=["192.0.2.1"])
        text = (state / "control" / "endpoint").read_text()
        assert text == f"127.0.0.1:{port.getHost().port}\n"
        names = alternatives(state / "control" / "server.pem")
        assert x509.IPAddress(ip_address("0.0.0.0")) not in names
        assert x509.IPAddress(ip_address("192.0.2.1")) in names

    @pytest.mark.parametrize(
        ("listen", "interface", "where"),
        [
            ("tcp:6768", "127.0.0.1", "127.0.0.1:"),
            ("tcp:port=6768", "127.0.0.1", "127.0.0.1:"),
            ("tcp:6768:interface=192.0.2.1", "192.0.2.1", "192.0.2.1:"),
            (r"tcp:6768:interface=\:\:1", "::1", "[::1]:"),
            (r"tcp:6768:interface=\:\:", "::", "[::1]:"),
            ("tcp:6768:interface=", "", "127.0.0.1:"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_tcp(self, state, listen, interface, where):
        """The words of the endpoint; loopback if they say nothing else."""
        memory = MemoryReactorClock()
        server = ControlServer(None, network(), float, dict, reactor=Clock())
        await listening.listen(memory, ControlConfig(listen), state, server)
        [(number, _, _, _, wanted)] = memory.sslServers
        assert (number, wanted) == (6768, interface)
        assert (state / "control" / "endpoint").read_text().startswith(where)

    @pytest.mark.parametrize(
        "listen",
        [
            "tcp:",
            "tcp:name",
            "tcp:65536",
            "tcp:-1",
            "tcp:1:backlog=5",
            "tcp:1:mode=600",
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_tcp_nonsense(self, serve, state, listen):
        """What is no endpoint is a ValueError that shows one."""
        with pytest.raises(ValueError, match="should be like tcp:6768") as told:
            await serve(listen)
        assert listen in str(told.value)
        assert not (state / "control" / "endpoint").exists()

    @pytest_twisted.ensureDeferred
    async def test_port_in_use(self, serve, state, tmp_path):
        """Another program has the port: the key of the configuration, and why."""
        port = await serve()
        listen = f"tcp:{port.getHost().port}:interface=127.0.0.1"
        other = tmp_path / "other"
        with pytest.raises(CannotServe, match="Address already in use") as told:
            await serve(listen, state=other)
        assert f"[control] listen = {listen}" in str(told.value)
        assert not (other / "control" / "endpoint").exists()

    @pytest.mark.parametrize("mode", ["600", "660", "666"])
    @pytest_twisted.ensureDeferred
    async def test_unix(self, serve, call, state, mode):
        """A socket with its mode in the state directory; who opens it is admin."""
        port = await serve(f"unix:control.sock:mode={mode}")
        path = state / "control.sock"
        status = path.stat().st_mode
        assert stat.S_ISSOCK(status)
        assert stat.S_IMODE(status) == int(mode, 8)
        where = (state / "control" / "endpoint").read_text()
        assert where == f"unix:{path}\n"
        client = await call(where.strip(), identity="none is needed")
        await client.reserve("192.0.2.10", hardware="02:00:00:00:00:01")
        [made] = [each async for each in client.reservations()]
        assert made["source"] == "admin"
        await maybeDeferred(port.stopListening)
        assert not path.exists()
        assert not (state / "control" / "server.pem").exists()

    @pytest_twisted.ensureDeferred
    async def test_unix_elsewhere(self, serve, call, tmp_path, state):
        """A socket may be anywhere, also by the named word."""
        path = tmp_path / "here.sock"
        await serve(f"unix:address={path}:mode=600")
        assert path.is_socket()
        client = await call(f"unix:{path}")
        assert await client.status()

    @pytest.mark.parametrize("words", ["", ":mode=", ":mode=rw", ":mode=999"])
    @pytest_twisted.ensureDeferred
    async def test_unix_without_mode(self, serve, words):
        """A socket without a mode is not opened: the default would be everybody's."""
        with pytest.raises(ValueError, match="needs its mode, as in :mode=660"):
            await serve(f"unix:control.sock{words}")

    @pytest_twisted.ensureDeferred
    async def test_unix_in_use(self, serve, call, state):
        """A living server keeps its socket."""
        await serve(UNIX)
        with pytest.raises(CannotServe, match=r"listen = unix:control\.sock"):
            await serve(UNIX)
        assert await (await call(f"unix:{state / 'control.sock'}")).status()

    # Twisted leaves the socket that it could not bind to the garbage collector.
    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    @pytest_twisted.ensureDeferred
    async def test_unix_too_long(self, serve):
        """A path that no socket can have is told as what cannot be served."""
        with pytest.raises(CannotServe, match="AF_UNIX path too long"):
            await serve(f"unix:{'x' * 200}:mode=600")

    @pytest_twisted.ensureDeferred
    async def test_unix_after_a_crash(self, serve, call, state, gone):
        """The socket of a server that was killed is no hindrance."""
        state.mkdir()
        path = state / "control.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        path.with_name("control.sock.lock").symlink_to(str(gone))
        await serve(UNIX)
        assert await (await call(f"unix:{path}")).status()


class TestBounds:
    """What a peer can cost us has an end."""

    @pytest.mark.parametrize("listen", [TCP, UNIX])
    @pytest.mark.parametrize(
        "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"\x16\x03\x01\xff\xff"]
    )
    @pytest_twisted.ensureDeferred
    async def test_garbage(self, serve, call, talk, state, listen, garbage):
        """Who speaks something else is closed out, and the server goes on."""
        port = await serve(listen)
        peer = await talk(port, Talk())
        peer.transport.write(garbage)
        if listen == UNIX or garbage[0] != 0x16:
            await peer.lost
        where = (state / "control" / "endpoint").read_text().strip()
        assert await (await call(where)).status()

    @pytest_twisted.ensureDeferred
    async def test_garbage_inside(self, serve, talk):
        """The same from somebody with a certificate."""
        port = await serve()
        peer = await talk(port, Talk(), secure=True)
        peer.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        await peer.lost
        await until(lambda: not factory_of(port).connections)

    @pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
    @pytest_twisted.ensureDeferred
    async def test_handshake_takes_too_long(
        self, serve, talk, monkeypatch, said, logged_failures
    ):
        """A stranger that does not show its certificate in time is closed out."""
        monkeypatch.setattr(connections, "HANDSHAKE_TIME", 0.01)
        port = await serve()
        peer = await talk(port, Talk())
        peer.transport.write(said)
        await peer.lost
        await until(lambda: not factory_of(port).connections)
        assert not logged_failures

    @pytest_twisted.ensureDeferred
    async def test_handshake_in_time(self, serve, call):
        """Who has shown its certificate may stay as long as it likes."""
        port = await serve()
        client = await call(port)
        await client.status()
        [connection] = factory_of(port).connections
        assert connection._hurry is None

    def test_handshake_time(self):
        """The time runs from the beginning of the connection, and ends with it."""
        clock = Clock()
        server = ControlServer(None, network(), float, dict, reactor=Clock())
        factory = connections.ControlFactory(server, clock, is_secure=True)
        transports = []
        for _ in range(2):
            protocol = factory.buildProtocol(None)
            transport = StringTransportWithDisconnection()
            transport.protocol = protocol
            transport.getPeerCertificate = lambda: None
            protocol.makeConnection(transport)
            transports.append(transport)
        transports[0].loseConnection()
        clock.advance(connections.HANDSHAKE_TIME - 1)
        assert transports[1].connected
        clock.advance(1)
        assert not transports[1].connected
        assert not clock.getDelayedCalls()

    def test_most_strangers(self):
        """Who has shown nothing makes room for who comes, and takes nobody's place."""
        server = ControlServer(None, network(), float, dict, reactor=Clock())
        factory = connections.ControlFactory(server, Clock(), is_secure=True)
        transports = []
        for _ in range(connections.MOST_STRANGERS + 3):
            protocol = factory.buildProtocol(None)
            transport = StringTransportWithDisconnection()
            transport.protocol = protocol
            transport.getPeerCertificate = lambda: None
            protocol.makeConnection(transport)
            transports.append(transport)
        gone = [each for each in transports if each.disconnecting or not each.connected]
        assert gone == transports[:3]

    @pytest.mark.parametrize("listen", [TCP, UNIX])
    @pytest_twisted.ensureDeferred
    async def test_most_connections(self, serve, call, state, monkeypatch, listen):
        """More than the most are closed; once one has gone there is room again."""
        monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
        port = await serve(listen)
        where = (state / "control" / "endpoint").read_text().strip()
        first, second = await call(where), await call(where)
        for _ in range(3):
            with pytest.raises(NoServer):
                await (await call(where)).status()
        assert await first.status()
        assert await second.status()
        await first.close()
        await until(lambda: len(factory_of(port).connections) == 1)
        assert await (await call(where)).status()

    @pytest.mark.parametrize("secure", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_large_box(self, serve, call, talk, secure):
        """A command that does not end is cut off before it fills our memory."""
        port = await serve(TCP if secure else UNIX)
        peer = await talk(port, Talk(), secure=secure)
        value = b"\x00\x01x" + (60000).to_bytes(2, "big") + bytes(60000)
        for _ in range(connections.MOST_BYTES // 60000 + 1):
            peer.transport.write(value)
        await peer.lost
        assert peer.heard == b""

    @pytest_twisted.ensureDeferred
    async def test_many_small_values(self, serve, talk):
        """Keys without values count too: each of them costs us something."""
        port = await serve(UNIX)
        peer = await talk(port, Talk())
        for number in range(connections.MOST_BYTES // 256 + 1):
            peer.transport.write(b"\x00\x08%08d\x00\x00" % number)
        await peer.lost

    @pytest_twisted.ensureDeferred
    async def test_large_box_is_not_done(self, serve, talk):
        """What is cut off for its size is not carried out, though its end came too."""
        storage = MemoryStorage(network())
        port = await serve(UNIX, storage=storage)
        box = amp.AmpBox(
            _command=b"Reserve",
            _ask=b"1",
            address=b"192.0.2.10",
            hardware=b"02:00:00:00:00:01",
        )
        for number in range(connections.MOST_BYTES // 256 + 1):
            box[b"z%07d" % number] = b""
        peer = await talk(port, Talk())
        peer.transport.write(box.serialize())
        await peer.lost
        assert storage.reservations(None, 10, None) == []

    @pytest_twisted.ensureDeferred
    async def test_many_boxes(self, serve, talk):
        """Only one command at a time counts: a long conversation is no large box."""
        port = await serve(UNIX)
        peer = await talk(port, Caller())
        padding = {f"x{number}": bytes(60000) for number in range(2)}
        for _ in range(5):
            await peer.callRemoteString(
                b"Status",
                **{name.encode().decode(): each for name, each in padding.items()},
            )

    @pytest.mark.parametrize("listen", [TCP, UNIX])
    @pytest_twisted.ensureDeferred
    async def test_who_does_not_read(self, serve, call, talk, state, listen):
        """Nothing more is read from a peer that does not read our answers."""
        storage = MemoryStorage(network())
        asked = []
        figures = storage.figures
        storage.figures = lambda when: {
            **figures(when),
            "padding": "x" * 30000,
            "asked": asked.append(when),
        }
        port = await serve(listen, storage=storage)
        peer = await talk(port, Talk(), secure=listen == TCP)
        box = amp.AmpBox(_command=b"Status", _ask=b"1").serialize()
        peer.transport.write(box)
        await until(lambda: peer.heard)
        peer.transport.pauseProducing()
        # Far more answers than the buffers of two sockets hold: 600 MB.
        peer.transport.write(box * 20000)
        await until(lambda: len(asked) > 1)
        where = (state / "control" / "endpoint").read_text().strip()
        for _ in range(20):
            await (await call(where)).status()
        heard = len(asked)
        assert heard < 2000
        # Once it reads, it is served on.
        peer.transport.resumeProducing()
        await until(lambda: len(asked) > heard + 500)

    @pytest.mark.parametrize("listen", [TCP, UNIX])
    @pytest_twisted.ensureDeferred
    async def test_stop(self, serve, call, state, listen):
        """A server that stops closes what is open."""
        port = await serve(listen)
        client = await call((state / "control" / "endpoint").read_text().strip())
        await client.status()
        await maybeDeferred(port.stopListening)
        await client._protocol.gone
        await until(lambda: not factory_of(port).connections)
        with pytest.raises(NoServer):
            await client.status()


class TestErrors:
    """Mistakes cost their command, never the connection."""

    @pytest.fixture
    def peer(self, serve, talk):
        """A peer of the socket that may send anything, and keeps its connection."""

        async def start():
            return await talk(await serve(UNIX), Caller())

        peer = pytest_twisted.blockon(ensureDeferred(start()))
        yield peer
        status = pytest_twisted.blockon(peer.callRemoteString(b"Status"))
        assert b"status" in status

    @staticmethod
    async def refused(peer, command, **arguments):
        """The code and the words of the error that a command ends with."""
        with pytest.raises(amp.RemoteAmpError) as told:
            await peer.callRemoteString(command, **arguments)
        assert len(told.value.description) <= 0xFFFF
        return told.value.errorCode, told.value.description

    @pytest_twisted.ensureDeferred
    async def test_unknown_command(self, peer):
        """A command there is not, nor will be."""
        for name in (b"Explode", b"", b"\xff\x00", b"StartTLS", b"reserve"):
            with pytest.raises(amp.UnhandledCommand):
                await peer.callRemoteString(name)

    @pytest_twisted.ensureDeferred
    async def test_long_command(self, peer):
        """The same with a name that would not fit into the answer."""
        with pytest.raises(amp.UnhandledCommand):
            await peer.callRemoteString(b"x" * 0xFFFF)

    @pytest_twisted.ensureDeferred
    async def test_client_says_it(self, serve, call):
        """A newer client learns that this server does not know its command."""

        class Explode(amp.Command):
            arguments = ()
            errors = commands.ERRORS

        client = await call(await serve())
        with pytest.raises(NotSupported, match="does not know Explode"):
            await client._call(Explode)
        assert await client.status()

    @pytest.mark.parametrize(
        ("command", "field", "value"),
        [
            (b"Reserve", "hardware", b"\xff\xfe"),
            (b"Reserve", "lifetime", b"soon"),
            (b"Reserve", "lifetime", b""),
            (b"Reserve", "lifetime", b"9" * 5000),
            (b"Reserve", "options", b"{"),
            (b"Reserve", "options", b"[" * 60000),
            (b"Reserve", "options", b"\xff"),
            (b"ListLeases", "limit", b"1.5"),
            (b"ListLeases", "after", b"\x80"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_unreadable(self, peer, command, field, value):
        """What is no text, number or JSON at all; the answer names it."""
        code, words = await self.refused(peer, command, **{field: value})
        assert code == b"INVALID_REQUEST"
        assert field in words

    @pytest_twisted.ensureDeferred
    async def test_missing(self, peer):
        """An argument that has to be there is named."""
        code, words = await self.refused(peer, b"RevokeLease")
        assert code == b"INVALID_REQUEST"
        assert "address" in words

    @pytest.mark.parametrize(
        ("command", "field"),
        [
            (b"Reserve", "hardware"),
            (b"Reserve", "address"),
            (b"Reserve", "on_conflict"),
            (b"Reserve", "hostname"),
            (b"Reserve", "options"),
            (b"CancelReservation", "address"),
            (b"ListReservations", "after"),
            (b"ListLeases", "after"),
            (b"ListLeases", "subnet"),
            (b"FindLease", "hardware"),
            (b"RevokeLease", "address"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_as_long_as_can_be(self, peer, command, field):
        """A value that fills its box is refused in words that fit into one."""
        given = {"hardware": b"02:00:00:00:00:01", "hostname": b"pc"}
        if command != b"Reserve":
            given = {}
        given[field] = b'"' + b"\xc3\xa9" * 32766 + b'"'
        code, _ = await self.refused(peer, command, **given)
        assert code in {b"INVALID_REQUEST", b"NOT_FOUND"}

    @pytest_twisted.ensureDeferred
    async def test_unknown_argument(self, peer):
        """An argument of a newer client is passed over."""
        answer = await peer.callRemoteString(b"ListLeases", colour=b"red")
        assert answer[b"leases"] == b"[]"

    @pytest.mark.parametrize("command", [b"Explode", b"RevokeLease", b"Status"])
    @pytest_twisted.ensureDeferred
    async def test_without_ask(self, peer, command):
        """A command that wants no answer may be wrong, too."""
        peer.callRemoteString(command, requiresAnswer=False)
        assert await peer.callRemoteString(b"Status")

    @pytest.mark.parametrize("box", [{"x": b"1"}, {"_answer": b"9"}, {"_error": b"9"}])
    @pytest_twisted.ensureDeferred
    async def test_no_command(self, serve, call, talk, state, box, logged_failures):
        """A box that is no command ends the connection at most, not the server."""
        port = await serve(UNIX)
        peer = await talk(port, Talk())
        peer.transport.write(amp.AmpBox(**box).serialize())
        peer.transport.loseConnection()
        await peer.lost
        assert await (await call(f"unix:{state / 'control.sock'}")).status()
        logged_failures.flush(amp.NoEmptyBoxes, KeyError)

    @pytest_twisted.ensureDeferred
    async def test_bug(self, serve, call, logged_failures):
        """A storage with a bug: its caller and the log are told, and it goes on."""

        @implementer(IReservations)
        class Buggy(MemoryStorage):
            def reserve(self, reservation, when, by=""):
                raise ZeroDivisionError("a bug of ours")

            def reservations(self, after, limit, source):
                raise KeyError("another")

        client = await call(await serve(storage=Buggy(network())))
        with pytest.raises(StorageFailed, match="a bug of ours"):
            await client.reserve("192.0.2.10", hardware="02:00:00:00:00:01")
        assert len(logged_failures.flush(ZeroDivisionError)) == 1
        with pytest.raises(StorageFailed):
            [each async for each in client.reservations()]
        assert len(logged_failures.flush(KeyError)) == 1
        assert await client.status()

    @pytest.mark.parametrize("wrong", [object(), "x" * 70_000])
    @pytest_twisted.ensureDeferred
    async def test_wrong_answer(self, serve, call, logged_failures, wrong):
        """So too if what the storage says cannot be sent, or is too long for it."""
        storage = MemoryStorage(network())
        figures = storage.figures
        storage.figures = lambda when: {**figures(when), "storage": wrong}
        client = await call(await serve(storage=storage))
        for _ in range(2):
            with pytest.raises(StorageFailed):
                await client.status()
        storage.figures = figures
        assert (await client.status())["storage"] == {}
        logged_failures.flush(amp.BadLocalReturn)

    @pytest_twisted.ensureDeferred
    async def test_long_reason(self, serve, call, logged_failures):
        """A failure with more to say than fits into a box is told in short."""

        @implementer(IReservations)
        class Buggy(MemoryStorage):
            def reserve(self, reservation, when, by=""):
                raise RuntimeError("x" * 100_000)

        client = await call(await serve(storage=Buggy(network())))
        with pytest.raises(StorageFailed):
            await client.reserve("192.0.2.10", hardware="02:00:00:00:00:01")
        assert len(logged_failures.flush(RuntimeError)) == 1
        assert (await client.status())["version"] == "1"
