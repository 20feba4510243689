"""A web service decides: what it is asked, what it may say, and all that may go wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import jsonschema
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from dhcptwist.client import ClientState
from dhcptwist.config import StorageConfig
from dhcptwist.control import tls
from dhcptwist.interfaces import IStorage
from dhcptwist.lease import Lease, Refused, Reservation, Settings, Silence
from dhcptwist.storage.documents import BadAnswer, question, read_answer
from dhcptwist.storage.http import (
    MOST_BYTES,
    MOST_CONNECTIONS,
    WebServiceFailed,
    make_http,
    make_registry,
)
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, answer, ip, network
from dhcptwist.wire import MessageType


ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / "docs" / "http-storage.schema.json").read_text())
NET = network()
VERBS = ("offer", "commit", "release", "decline", "configure", "reservation")
LEASE = {"lease": {"address": "192.0.2.10", "lease_time": 60}}


def checked(document, path):
    """A document, if it is what a part of the schema says."""
    part = {**SCHEMA, "$ref": path}
    jsonschema.Draft202012Validator(
        part, format_checker=jsonschema.FormatChecker()
    ).validate(document)
    return document


def fits(document, verb):
    """Whether the schema has this answer."""
    try:
        checked(document, f"#/$defs/answers/{verb}")
    except jsonschema.ValidationError:
        return False
    return True


def client(who=None, state=ClientState.SELECTING, wish="192.0.2.10", **fields):
    """What the server knows of a client."""
    return (who or FakeClient()).client(NET, state, wish, **fields)


class TestQuestions:
    """What is sent is what the schema says."""

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(
        "who",
        [
            FakeClient(),
            FakeClient(identifier=b"\xff\0\1binary", options={12: b"laptop\0"}),
            FakeClient(
                options={
                    82: b"\x01\x04eth1\x02\x02\xff\xfe",
                    60: b"PXEClient:Arch",
                    51: b"\0\0\1\0",
                    250: b"\0\1",
                },
                giaddr="192.0.2.2",
            ),
        ],
    )
    def test_schema(self, verb, who):
        """Every verb, and whatever clients send."""
        address = ip("192.0.2.10") if verb in {"commit", "release", "decline"} else None
        asked = question(verb, client(who), 1000.5, "7", address)
        checked(json.loads(json.dumps(asked)), "#/$defs/request")

    def test_what_is_known(self):
        """The fields, by their meaning."""
        who = FakeClient(
            identifier=b"\x00me",
            options={82: b"\x01\x04eth1", 12: b"laptop"},
            giaddr="192.0.2.2",
        )
        asked = question("commit", client(who), 5.0, "n", ip("192.0.2.10"))
        known = asked["client"]
        assert asked["address"] == known["requested"] == "192.0.2.10"
        assert known["hardware"] == "02:00:00:00:00:01"
        assert known["key"] == known["identifier"] == "hex:006d65"
        assert (known["state"], known["hostname"]) == ("selecting", "laptop")
        assert (known["relay"], known["circuit_id"]) == ("192.0.2.2", "eth1")
        assert known["subnets"] == [{"name": "lan", "network": "192.0.2.0/24"}]
        assert known["options"]["host-name"] == "laptop"


GOOD = [
    ("offer", LEASE),
    (
        "commit",
        {"version": 1, "lease": {"address": "1.2.3.4", "lease_time": "infinite"}},
    ),
    ("commit", {"refused": "not yours"}),
    ("commit", {"unknown": True}),
    ("offer", {"silence": "pool-exhausted"}),
    ("offer", {"silence": "banned", "more": "of a newer service"}),
    ("release", {"done": True}),
    ("decline", {"done": False}),
    ("configure", {"settings": {"options": {"routers": "192.0.2.1"}}}),
    ("reservation", {"reservation": None}),
    ("reservation", {"reservation": {"hostname": "printer", "address": None}}),
    ("reservation", {"refused": "banned"}),
]
BAD = [
    ("offer", []),
    ("offer", {}),
    ("offer", {"refused": "an offer is not refused"}),
    ("offer", {"lease": None}),
    ("offer", {"lease": {"lease_time": 60}}),
    ("offer", {"lease": {"address": "192.0.2.300", "lease_time": 60}}),
    ("offer", {"lease": {"address": "192.0.2.10"}}),
    ("offer", {"lease": {"address": "192.0.2.10", "lease_time": 0}}),
    ("offer", {"lease": {"address": "192.0.2.10", "lease_time": True}}),
    ("offer", {"lease": {"address": "192.0.2.10", "lease_time": "60"}}),
    ("offer", {"version": 2, **LEASE}),
    ("offer", {"silence": 5}),
    ("commit", {"unknown": False}),
    ("release", {"done": "yes"}),
    ("configure", {"settings": {"boot_file": "x" * 128}}),
    ("configure", {"settings": {"renewal_time": 1.5}}),
    ("configure", {"settings": {"options": ["routers"]}}),
    ("configure", {"settings": {"next_server": 5}}),
    ("reservation", {}),
    ("reservation", {"reservation": []}),
]


class TestAnswers:
    """What is accepted is what the schema says; an error names the member."""

    @pytest.mark.parametrize(("verb", "document"), GOOD)
    def test_good(self, verb, document):
        """It makes what a storage would return."""
        assert fits(document, verb)
        found = read_answer(verb, document, client())
        kinds = (Lease, Refused, Silence, Settings, Reservation, bool, type(None))
        assert isinstance(found, kinds)

    @pytest.mark.parametrize(("verb", "document"), BAD)
    def test_bad(self, verb, document):
        """Neither of the two takes it."""
        assert not fits(document, verb)
        with pytest.raises(BadAnswer):
            read_answer(verb, document, client())

    def test_everything_of_a_lease(self):
        """Address, times, options, boot file, hostname, class."""
        document = {
            "lease": {
                "address": "192.0.2.10",
                "lease_time": 600,
                "hostname": "printer",
                "class": "pxe",
                "renewal_time": 100,
                "rebinding_time": 200,
                "options": {"routers": "192.0.2.1", "224": "hex:0102", "mtu": 1400},
                "next_server": "192.0.2.3",
                "boot_file": "pxelinux.0",
                "server_name": "boot",
            }
        }
        document["lease"]["options"] = {
            "routers": "192.0.2.1",
            "224": "hex:0102",
            "interface-mtu": 1400,
        }
        assert fits(document, "offer")
        lease = read_answer("offer", document, client())
        assert (lease.address, lease.duration) == (ip("192.0.2.10"), 600)
        assert lease.settings == Settings(
            {3: b"\xc0\0\2\1", 224: b"\1\2", 26: b"\x05\x78"},
            ip("192.0.2.3"),
            "pxelinux.0",
            "boot",
            "printer",
            100,
            200,
            "pxe",
        )

    def test_a_protocol_option(self):
        """They are ours."""
        document = {"settings": {"options": {"dhcp-lease-time": "5"}}}
        with pytest.raises(BadAnswer, match="options: dhcp-lease-time"):
            read_answer("configure", document, client())

    def test_silences(self):
        """A reason that we count keeps its name."""
        found = read_answer("offer", {"silence": "no-lease"}, client())
        assert found is Silence.NO_LEASE
        found = read_answer("offer", {"silence": "I do not like it"}, client())
        assert found is Silence.NOT_ALLOWED

    def test_a_reservation_is_the_client_s(self):
        """By its hardware address, or else by its identifier."""
        document = {"reservation": {"address": "192.0.2.12"}}
        found = read_answer("reservation", document, client())
        assert found.hardware == FakeClient().hardware
        assert (found.address, found.client_id) == (ip("192.0.2.12"), b"")
        nobody = SimpleNamespace(hardware=b"", key=b"\xffid")
        assert read_answer("reservation", document, nobody).client_id == b"\xffid"


class Service(Resource):
    """A web service whose every answer the test decides."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self):
        super().__init__()
        self.asked = []
        self.headers = []
        self.answers = []
        self.connections = set()
        self.waiting = []

    def render_POST(self, request):
        """The next answer: bytes, a document, or a function of the request."""
        self.asked.append((request.path, json.loads(request.content.read())))
        self.headers.append(request.requestHeaders)
        self.connections.add(id(request.channel))
        reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(reply):
            return reply(request)
        return reply if isinstance(reply, bytes) else json.dumps(reply).encode()

    def hang(self, request):
        """No answer, until it goes away."""
        gone = request.notifyFinish()
        gone.addErrback(lambda _: None)
        self.waiting.append(gone)
        return NOT_DONE_YET


def status(code):
    """An answer with another status."""

    def reply(request):
        request.setResponseCode(code)
        request.setHeader("Location", "http://127.0.0.1:9/")
        return b"{}"

    return reply


def close(request):
    """The connection is closed instead of an answer."""
    request.channel.transport.abortConnection()
    return NOT_DONE_YET


def half(request):
    """An answer that breaks off."""
    request.setHeader("Content-Length", "100")
    request.write(b"{")
    request.channel.transport.loseConnection()
    return NOT_DONE_YET


@pytest.fixture
def service():
    """A service on loopback, with its URL."""
    from twisted.internet import reactor

    made = Service()
    site = Site(made, timeout=None)
    site.noisy = False
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    made.url = f"http://127.0.0.1:{port.getHost().port}/dhcp/"
    yield made
    pytest_twisted.blockon(port.stopListening())


@pytest.fixture
def make(tmp_path):
    """Makes a storage for a URL; they are closed behind the test."""
    from twisted.internet import reactor

    made = []

    def makes(url, maker=make_http, **around):
        around.setdefault("deadline", 5.0)
        context = SimpleNamespace(
            reactor=reactor, state=tmp_path, around=StorageConfig(**around)
        )
        made.append(maker(url, context))
        return made[-1]

    yield makes
    for each in made:
        pytest_twisted.blockon(each.stop())


class TestService:
    """Over real connections."""

    @pytest_twisted.ensureDeferred
    async def test_verbs(self, service, make):
        """Each has its path, and its answer."""
        storage = make(service.url)
        assert IStorage.providedBy(storage)
        service.answers = [
            LEASE,
            LEASE,
            {"done": True},
            {"done": False},
            {"settings": {}},
        ]
        address = ip("192.0.2.10")
        assert (await storage.offer(client(), 1.0)).address == address
        assert (await storage.commit(client(), address, 1.0)).duration == 60
        assert await storage.release(client(), address, 1.0) is True
        assert await storage.decline(client(), address, 1.0) is False
        assert await storage.configure(client(), 1.0) == Settings()
        paths = [path for path, _ in service.asked]
        assert paths == [f"/dhcp/{verb}".encode() for verb in VERBS[:5]]
        for _, asked in service.asked:
            checked(asked, "#/$defs/request")
        assert len({asked["id"] for _, asked in service.asked}) == 5
        assert len(service.connections) == 1  # kept

    @pytest_twisted.ensureDeferred
    async def test_token(self, service, make, tmp_path):
        """Who asks shows it."""
        (tmp_path / "token").write_text("secret\n")
        storage = make(service.url, token="token")
        service.answers = [LEASE]
        await storage.offer(client(), 1.0)
        [headers] = service.headers
        assert headers.getRawHeaders("authorization") == ["Bearer secret"]

    @pytest_twisted.ensureDeferred
    async def test_once_again(self, service, make):
        """A kept connection that was closed: the same question, with the same id."""
        storage = make(service.url)
        service.answers = [LEASE, close, LEASE]
        await storage.offer(client(), 1.0)
        assert (await storage.commit(client(), 5, 1.0)).duration == 60
        ids = [asked["id"] for _, asked in service.asked]
        assert (len(ids), ids[1]) == (3, ids[2])

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (close, "no answer came"),
            (half, "broke off"),
            (status(500), "500"),
            (status(302), "302"),
            (b"no JSON", "Expecting value"),
            (b"[" * 5000, "recursion|Expecting"),
            (b" " * (MOST_BYTES + 1), "longer than"),
            ({"lease": {"address": 5}}, "address|lease_time"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_failures(self, service, make, reply, reason):
        """Each has its reason, with the URL; and the next question is as good as new."""
        storage = make(service.url)
        service.answers = [reply]
        with pytest.raises(WebServiceFailed, match=reason):
            await storage.offer(client(), 1.0)
        # Only what was never answered is asked twice.
        assert len(service.asked) == (2 if reply is close else 1)
        service.answers = [LEASE]
        assert await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_late(self, service, make):
        """Nobody waits longer than the deadline, and the connection is let go."""
        storage = make(service.url, deadline=0.05)
        service.answers = [service.hang]
        with pytest.raises(WebServiceFailed, match="did not answer"):
            await storage.offer(client(), 1.0)
        assert len(service.asked) == 1
        await service.waiting[0]

    @pytest_twisted.ensureDeferred
    async def test_given_up(self, service, make):
        """Cancelled from outside, it is given up, too."""
        from twisted.internet import reactor

        storage = make(service.url)
        service.answers = [service.hang]
        asked = storage.offer(client(), 1.0)
        while not service.waiting:
            waited: Deferred[None] = Deferred()
            reactor.callLater(0.01, waited.callback, None)
            await waited
        asked.addErrback(lambda _: None)
        asked.cancel()
        await service.waiting[0]

    @pytest_twisted.ensureDeferred
    async def test_many_at_once(self, service, make):
        """Never more connections than there may be; everybody is answered."""
        storage = make(service.url)
        service.answers = [LEASE]
        asked = [storage.offer(client(), 1.0) for _ in range(4 * MOST_CONNECTIONS)]
        for each in asked:
            assert (await each).duration == 60
        assert len(service.connections) <= MOST_CONNECTIONS

    @pytest_twisted.ensureDeferred
    async def test_nobody_there(self, make):
        """It fails at once; there is nothing to wait for."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        storage = make(url)
        with pytest.raises(ConnectError):
            await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_registry(self, service, make):
        """It says who a client is, and our pool does the rest."""
        registry = make(service.url, make_registry)
        storage = MemoryStorage(NET, members=registry)
        mine, guest, banned = (FakeClient(f"02:00:00:00:00:0{n}") for n in range(3))

        def reply(_):
            document = service.asked[-1][1]
            return json.dumps(
                {
                    "02:00:00:00:00:00": {
                        "reservation": {"address": "192.0.2.13", "hostname": "me"}
                    },
                    "02:00:00:00:00:01": {"reservation": None},
                    "02:00:00:00:00:02": {"silence": "banned"},
                }[document["client"]["hardware"]]
            ).encode()

        service.answers = [reply]
        offers = []
        for who in (mine, guest, banned):
            asks = who.client(NET, ClientState.INIT)
            offers.append(await storage.offer(asks, 1.0))
        assert offers[0].address == ip("192.0.2.13")
        assert offers[1].address == ip("192.0.2.10")
        assert offers[2] is Silence.NOT_ALLOWED
        assert {path for path, _ in service.asked} == {b"/dhcp/reservation"}


class TestMaking:
    """What a URL or a file may be."""

    @pytest.mark.parametrize(
        "url",
        ["http://", "http:///x", "ftp://x/", "http://x/?a=1", "http://u:p@x/", "x"],
    )
    def test_no_url(self, make, url):
        """It says what it should be like."""
        with pytest.raises(ValueError, match=r"is not like|only a host"):
            make(url)

    def test_no_token(self, make):
        """A file that is not there, or holds two lines."""
        with pytest.raises(ValueError, match="token cannot be read"):
            make("http://localhost", token="token")

    def test_two_tokens(self, make, tmp_path):
        """One line is wanted."""
        (tmp_path / "token").write_text("one\ntwo\n")
        with pytest.raises(ValueError, match="no token on one line"):
            make("http://localhost", token="token")

    def test_no_authority(self, make, tmp_path):
        """Something else than certificates."""
        (tmp_path / "ca.pem").write_text("nothing\n")
        with pytest.raises(ValueError, match=r"authority .*ca\.pem"):
            make("https://localhost", authority="ca.pem")


def free_tcp_port():
    """A port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Reference:
    """The service of the documentation, in a process of its own."""

    def __init__(self, port):
        self.port = port
        self.start()

    def start(self):
        """Begin, and wait until it hears."""
        script = ROOT / "docs" / "examples" / "webservice.py"
        self._process = subprocess.Popen(
            [sys.executable, script, str(self.port)], stderr=subprocess.DEVNULL
        )
        end = monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert monotonic() < end, "the service does not start"
                sleep(0.05)
            else:
                return

    def stop(self):
        """End it."""
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def reference():
    """The running service."""
    made = Reference(free_tcp_port())
    yield made
    made.stop()


class TestReference:
    """The service of forty lines."""

    @pytest_twisted.ensureDeferred
    async def test_its_answers(self, reference, make):
        """They are what the schema says, and a whole life of a client works."""
        storage = make(f"http://127.0.0.1:{reference.port}/")
        seen = []
        ask = storage._service._sent

        async def listened(verb, body):
            text = await ask(verb, body)
            seen.append(verb)
            checked(json.loads(body), "#/$defs/request")
            checked(json.loads(text), f"#/$defs/answers/{verb}")
            return text

        storage._service._sent = listened
        offer = await storage.offer(client(wish=""), 1.0)
        assert (await storage.commit(client(), offer.address, 1.0)).duration == 3600
        assert isinstance(await storage.commit(client(), 5, 1.0), Refused)
        assert await storage.release(client(), offer.address, 1.0) is True
        assert await storage.decline(client(), offer.address, 1.0) is False
        assert await storage.commit(client(), offer.address, 1.0) is None
        assert await storage.configure(client(), 1.0) == Settings()
        assert await storage._ask("reservation", client(), 1.0) is None
        assert set(seen) == set(VERBS)

    @pytest.mark.timeout(120)
    @pytest_twisted.ensureDeferred
    async def test_a_whole_server(self, reference, make_site):
        """It goes away and comes back, and our server does not have to."""

        def run():
            site = make_site(storage=f"http://127.0.0.1:{reference.port}/")
            site.start()
            relay = site.relay()
            who = site.client(1)
            ack = relay.bind(who)
            reference.stop()
            relay.send(site.client(2).message(MessageType.DISCOVER))
            assert relay.receive(0.5) is None
            reference.start()
            again = relay.bind(site.client(2))
            site.stop()
            return ack, again, site.log

        ack, again, log = await deferToThread(run)
        assert ack.yiaddr == again.yiaddr != 0  # it forgets; ours does not decide
        assert log.count("The storage failed") == 1
        assert "_HTTP11ClientFactory" not in log

    def test_its_size(self):
        """Forty lines, as promised."""
        script = ROOT / "docs" / "examples" / "webservice.py"
        assert len(script.read_text().splitlines()) <= 40


def test_answers_at_once_are_possible():
    """A registry of one's own needs no Deferred."""

    class Members:
        def reservation_for(self, client):
            return Refused("banned")

    storage = MemoryStorage(NET, members=Members())
    assert answer(storage.offer(client(), 1.0)) == Refused("banned")


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestTLS:
    """Who the service is, is looked at."""

    @pytest.fixture(params=["127.0.0.1"])
    def secure(self, request, tmp_path):
        """A service over TLS, whose certificate an authority of its own has signed."""
        from twisted.internet import reactor

        tls.prepare(tmp_path, [])  # for localhost and 127.0.0.1
        pem = (tmp_path / "server.pem").read_bytes()
        made = Service()
        made.answers = [LEASE]
        options = PrivateCertificate.loadPEM(pem).options()
        port = reactor.listenSSL(
            0, Site(made, timeout=None), options, interface=request.param
        )
        made.url = f"https://{request.param}:{port.getHost().port}"
        yield made
        pytest_twisted.blockon(port.stopListening())

    @pytest_twisted.ensureDeferred
    async def test_known(self, secure, make):
        """Signed by the authority that is named."""
        storage = make(secure.url, authority="authority.pem")
        assert (await storage.offer(client(), 1.0)).duration == 60

    @pytest_twisted.ensureDeferred
    async def test_unknown(self, secure, make):
        """Signed by nobody that the system knows: nothing is asked."""
        storage = make(secure.url)
        with pytest.raises(Exception, match="certificate verify failed"):
            await storage.offer(client(), 1.0)
        assert secure.asked == []

    @pytest.mark.parametrize("secure", ["127.0.0.2"], indirect=True)
    @pytest_twisted.ensureDeferred
    async def test_another_name(self, secure, make):
        """A good certificate of somebody else."""
        storage = make(secure.url, authority="authority.pem")
        with pytest.raises(Exception, match="IPAddressMismatch"):
            await storage.offer(client(), 1.0)
        assert secure.asked == []
