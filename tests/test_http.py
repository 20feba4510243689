"""A web service that decides: connections, time, trust, and all that may go wrong."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest
import pytest_twisted
from OpenSSL.SSL import Error as SSLError
from twisted.internet import ssl
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    fail,
    gatherResults,
    succeed,
)
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from dhcptwist.client import ClientState
from dhcptwist.config import StorageConfig
from dhcptwist.control import tls
from dhcptwist.interfaces import IStorage, IStorageService
from dhcptwist.lease import Lease, Refused, Settings, Silence
from dhcptwist.storage import connecting
from dhcptwist.storage.answers import BadAnswer
from dhcptwist.storage.asking import COMPLAIN_EVERY, WebServiceFailed, why
from dhcptwist.storage.connecting import (
    MOST_AROUND,
    MOST_BYTES,
    MOST_CONNECTIONS,
    PAUSE,
    AnswerTooLong,
    Connection,
    KeptConnectionLost,
    Reply,
    Turns,
    Way,
    _Body,
)
from dhcptwist.storage.http import make_http, make_registry
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, ip, network
from dhcptwist.wire import Message, MessageType


ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "docs" / "examples" / "webservice.py"
NET = network()
ADDRESS = ip("192.0.2.10")
LEASE = {"lease": {"address": "192.0.2.10", "lease_time": 60}}
FAILED = "The web service http://127.0.0.1:8/dhcp/offer failed: "
GIVEN = Reply(200, b"OK", json.dumps(LEASE).encode())


def client(number=1, state=ClientState.SELECTING):
    """What the server knows of a client."""
    return FakeClient(f"02:00:00:00:00:{number:02x}").client(NET, state, "192.0.2.10")


@pytest.fixture
def told():
    """What the log is told of web services, as text."""
    lines = []

    def observe(event):
        if event.get("log_namespace", "").startswith("dhcptwist.storage"):
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def context(state, reactor, **around):
    """What makers of storages are given."""
    config = StorageConfig(**around)
    return SimpleNamespace(reactor=reactor, state=state, around=config)


# --- without a network ------------------------------------------------------------


class Agent:
    """Stands in for Twisted's; every request waits until the test answers it."""

    def __init__(self):
        self.asked = []
        self.cancelled = 0

    def request(self, method, url, headers, body):
        """See `IAgent`."""
        sent = []
        body.startProducing(SimpleNamespace(write=sent.append))
        answer = Deferred(self._cancel)
        [text] = sent
        assert body.length == len(text)
        self.asked.append(
            SimpleNamespace(
                method=method,
                url=url,
                headers=headers,
                text=text,
                document=json.loads(text),
                answer=answer,
            )
        )
        return answer

    def _cancel(self, answer):
        self.cancelled += 1
        # As Twisted does, and not with a CancelledError.
        answer.errback(ResponseNeverReceived([Failure(CancelledError())]))


class Bench:
    """A storage whose connections and time are the test's."""

    def __init__(self, state, url="http://127.0.0.1:8/dhcp/", **around):
        self.clock = Clock()
        self.clock.advance(1000)
        self.storage = make_http(url, context(state, self.clock, **around))
        self.service = self.storage._service
        self.kept, self.anew = Agent(), Agent()
        self.service._agent, self.service._anew = self.kept, self.anew
        self.results = []

    def offer(self, number=1):
        """Ask for a client; results are collected in the order in which they come."""
        asked = self.storage.offer(client(number), 5.0)
        asked.addBoth(self.results.append)
        return asked

    def result(self):
        """The one that came last, which was not there before."""
        [found] = self.results
        self.results.clear()
        return found


@pytest.fixture
def bench(tmp_path):
    """One with the usual three seconds."""
    return Bench(tmp_path)


class TestAsking:
    """One question, one answer, in time or not at all."""

    def test_what_is_sent(self, bench):
        """A POST to the verb's own path, with its JSON."""
        bench.offer()
        [asked] = bench.kept.asked
        assert (asked.method, asked.url) == (b"POST", b"http://127.0.0.1:8/dhcp/offer")
        headers = dict(asked.headers.getAllRawHeaders())
        assert headers == {
            b"Host": [b"127.0.0.1:8"],
            b"Content-Type": [b"application/json"],
            b"User-Agent": [b"dhcptwist"],
        }
        assert (asked.document["verb"], asked.document["when"]) == ("offer", 5.0)
        asked.answer.callback(GIVEN)
        assert bench.result().address == ADDRESS

    def test_every_verb(self, bench):
        """Each has its own path, its address, and its own kind of answer."""
        storage = bench.storage
        verifyObject(IStorage, storage)
        verifyObject(IStorageService, storage)
        bound = client(state=ClientState.BOUND)
        for verb, asked, answer, wanted in (
            ("commit", storage.commit(client(), ADDRESS, 1.0), LEASE, 60),
            ("commit", storage.commit(client(), ADDRESS, 1.0), {"lease": None}, None),
            ("release", storage.release(bound, ADDRESS, 1.0), {"done": True}, True),
            ("release", storage.release(bound, 0, 1.0), {"done": False}, False),
            ("decline", storage.decline(bound, ADDRESS, 1.0), {"done": False}, False),
            ("configure", storage.configure(bound, 1.0), {"settings": {}}, Settings()),
            (
                "commit",
                storage.commit(client(), 1, 1.0),
                {"refused": "no"},
                Refused("no"),
            ),
        ):
            found = []
            asked.addCallback(found.append)
            request = bench.kept.asked.pop(0)
            assert request.url == f"http://127.0.0.1:8/dhcp/{verb}".encode()
            assert request.document["verb"] == verb
            request.answer.callback(Reply(200, b"", json.dumps(answer).encode()))
            [given] = found
            assert (given.duration if isinstance(given, Lease) else given) == wanted

    def test_addresses(self, bench):
        """What it is about; no address is none, and only a release may have none."""
        storage = bench.storage
        bound = client(state=ClientState.BOUND)
        asked = [
            storage.offer(client(), 1.0),
            storage.commit(client(), 0, 1.0),
            storage.release(bound, ADDRESS, 1.0),
            storage.release(bound, 0, 1.0),
            storage.decline(bound, ADDRESS, 1.0),
        ]
        found = [each.document.get("address") for each in bench.kept.asked]
        assert found == [None, "0.0.0.0", "192.0.2.10", None, "192.0.2.10"]
        for each in asked:
            each.addErrback(lambda _: None).cancel()

    def test_ids(self, bench, tmp_path):
        """No two questions have the same, not even those of another server."""
        other = Bench(tmp_path)
        for each in (bench, bench, other):
            each.offer()
        asked = [*bench.kept.asked, *other.kept.asked]
        assert len({each.document["id"] for each in asked}) == 3
        for each in asked:
            each.answer.callback(GIVEN)

    def test_late(self, bench, told):
        """It is given up, counted as late, told once, and not asked again."""
        bench.offer(1)
        bench.offer(2)
        bench.clock.advance(2.9)
        assert not bench.results
        bench.clock.advance(0.2)
        assert bench.results == [Silence.STORAGE_LATE] * 2
        assert bench.kept.cancelled == 2
        assert (len(bench.kept.asked), len(bench.anew.asked)) == (2, 0)
        [line] = told
        assert line == f"{FAILED}no answer within 3 seconds"
        assert not bench.clock.getDelayedCalls()

    def test_late_waiting(self, bench):
        """The time that a question waits for its turn is part of its time."""
        for n in range(MOST_CONNECTIONS):
            bench.offer(n)
        bench.clock.advance(2)
        bench.offer(99)
        bench.clock.advance(1)
        assert bench.results == [Silence.STORAGE_LATE] * MOST_CONNECTIONS
        assert len(bench.kept.asked) == MOST_CONNECTIONS + 1
        bench.clock.advance(2)
        assert bench.results == [Silence.STORAGE_LATE] * (MOST_CONNECTIONS + 1)

    def test_given_up(self, bench, told):
        """Cancelled from outside, it lets go, and nobody is to blame."""
        asked = bench.offer()
        asked.cancel()
        assert bench.result().check(CancelledError)
        assert bench.kept.cancelled == 1
        assert not bench.anew.asked
        assert not told
        assert not bench.clock.getDelayedCalls()

    def test_given_up_while_it_waits(self, bench):
        """Then it is never asked."""
        for n in range(MOST_CONNECTIONS):
            bench.offer(n)
        waiting = bench.offer(99)
        waiting.cancel()
        assert bench.result().check(CancelledError)
        for each in bench.kept.asked:
            each.answer.callback(GIVEN)
        assert len(bench.kept.asked) == MOST_CONNECTIONS

    def test_again(self, bench, told):
        """A kept connection that was lost: the same, once more, on a new one."""
        bench.offer()
        bench.kept.asked[0].answer.errback(KeptConnectionLost())
        [again] = bench.anew.asked
        assert again.text == bench.kept.asked[0].text
        again.answer.callback(GIVEN)
        assert bench.result().address == ADDRESS
        assert not told

    def test_not_a_third_time(self, bench, told):
        """The new one is lost as well: that is no kept connection's fault."""
        bench.offer()
        bench.kept.asked[0].answer.errback(KeptConnectionLost())
        lost = ResponseNeverReceived([Failure(ConnectionDone())])
        bench.anew.asked[0].answer.errback(lost)
        assert bench.result().check(WebServiceFailed)
        assert (len(bench.kept.asked), len(bench.anew.asked)) == (1, 1)
        assert "no answer came: Connection was closed cleanly." in told[0]

    @pytest.mark.parametrize(
        "error",
        [
            ResponseNeverReceived([Failure(ConnectionDone())]),
            RequestTransmissionFailed([Failure(ConnectionDone())]),
            ConnectError(),
        ],
    )
    def test_nothing_else_is_asked_again(self, bench, error):
        """Not what was lost on a connection of its own, nor what found none."""
        bench.offer()
        bench.kept.asked[0].answer.errback(error)
        assert bench.result().check(WebServiceFailed)
        assert not bench.anew.asked

    @pytest.mark.parametrize(
        ("code", "phrase", "shown"),
        [
            (500, b"Oops", "500 Oops"),
            (404, b"", "404"),
            (302, b"Found", "302 Found"),
            (204, b"No Content", "204 No Content"),
            (201, b"a\x1bb" + b"x" * 300, r"201 a\\x1bbx{94}$"),
        ],
    )
    def test_another_status(self, bench, told, code, phrase, shown):
        """Only 200 is an answer, whatever comes with it."""
        bench.offer()
        bench.kept.asked[0].answer.callback(Reply(code, phrase, GIVEN.text))
        failure = bench.result()
        with pytest.raises(WebServiceFailed, match=f"it says {shown}"):
            failure.raiseException()
        assert failure.value.is_logged
        assert len(told) == 1
        assert not bench.anew.asked

    def test_no_sense(self, bench, told):
        """The log has the URL and the member, once in a while."""
        for number in range(3):
            bench.offer(number)
            text = b'{"lease": {"address": 5}}'
            bench.kept.asked[-1].answer.callback(Reply(200, b"OK", text))
            assert bench.result().check(BadAnswer)
        [line] = told
        assert line == f"{FAILED}lease.address: 5 is not an IPv4 address"

    def test_a_mistake_of_our_own(self, bench, told, logged_failures):
        """It is no fault of the service, and keeps its traceback."""
        bench.service._answers.read = None
        bench.offer()
        bench.kept.asked[0].answer.callback(GIVEN)
        assert bench.result().check(TypeError)
        assert not told

    def test_the_log(self, bench, told):
        """Once in ten seconds, and when it is over; a clock set back is no reason."""

        def ask(answer):
            bench.offer()
            bench.kept.asked[-1].answer.callback(answer)
            bench.results.clear()

        down = Reply(503, b"Down", b"")
        for _ in range(5):
            ask(down)
        assert len(told) == 1
        ask(GIVEN)
        ask(GIVEN)
        assert len(told) == 2
        assert told[1] == "The web service http://127.0.0.1:8/dhcp/offer answers again"
        ask(down)
        ask(GIVEN)
        assert len(told) == 2  # much of the same
        bench.clock.advance(COMPLAIN_EVERY)
        ask(down)
        assert len(told) == 3
        bench.clock.rightNow -= 5000
        ask(down)
        assert len(told) == 4

    def test_answers_without_sense_are_answers(self, bench, told):
        """Who gives one has not been away, and does not come back."""
        bench.offer()
        bench.kept.asked[-1].answer.callback(Reply(200, b"OK", b"{}"))
        bench.offer()
        bench.kept.asked[-1].answer.callback(GIVEN)
        assert len(told) == 1

    def test_a_query(self, tmp_path, told):
        """It stays at the end, and out of the log: it may be a secret."""
        bench = Bench(tmp_path, "https://127.0.0.1/a/?key=secret")
        bench.offer()
        [asked] = bench.kept.asked
        assert asked.url == b"https://127.0.0.1/a/offer?key=secret"
        assert asked.headers.getRawHeaders("host") == ["127.0.0.1"]
        asked.answer.callback(Reply(500, b"", b""))
        assert "https://127.0.0.1/a/offer failed" in told[0]
        assert "secret" not in told[0]

    def test_most_at_once(self, bench):
        """Others wait, and are asked in their order as connections come free."""
        for n in range(MOST_CONNECTIONS + 2):
            bench.offer(n)
        asked = bench.kept.asked
        assert len(asked) == MOST_CONNECTIONS
        asked[7].answer.callback(GIVEN)
        asked[3].answer.errback(ConnectError())
        assert len(asked) == MOST_CONNECTIONS + 2
        last = [each.document["client"]["hardware"][-2:] for each in asked[-2:]]
        assert last == [f"{MOST_CONNECTIONS:02x}", f"{MOST_CONNECTIONS + 1:02x}"]
        for each in asked:
            if not each.answer.called:
                each.answer.callback(GIVEN)
        assert len(bench.results) == MOST_CONNECTIONS + 2

    def test_many_that_fail_at_once(self, bench):
        """Thousands that wait for a service that is gone are not thousands of calls."""
        for n in range(5000):
            bench.offer(n % 250)
        first, bench.kept.request = (
            bench.kept.asked[0],
            lambda *_: fail(ConnectError()),
        )
        first.answer.errback(ConnectError())
        assert len(bench.results) == 5000 - MOST_CONNECTIONS + 1
        assert all(each.check(WebServiceFailed) for each in bench.results)
        for each in bench.kept.asked[1:]:
            each.answer.callback(GIVEN)
        assert bench.results[-1].address == ADDRESS

    def test_stop_waits_for_what_is_under_way(self, bench):
        """An answer that is still to come is given, and then all is over."""
        bench.offer()
        stopped = []
        bench.storage.stop().addCallback(stopped.append)
        assert not stopped
        order = []
        bench.kept.asked[0].answer.callback(GIVEN)
        order.append(bench.result())
        assert not stopped
        bench.clock.advance(0)
        assert stopped == [None]

    def test_stop_with_nothing_to_do(self, bench):
        """Then there is nothing to wait for."""
        assert bench.storage.start(1.0) is None
        stopped = []
        bench.storage.stop().addCallback(stopped.append)
        assert stopped == [None]


class TestTurns:
    """At most so many at once."""

    def test_a_step_that_raises(self):
        """Its turn is over like any other."""
        turns = Turns(1)

        def wrong():
            raise ValueError("wrong")

        for _ in range(3):
            found = []
            turns.take(wrong).addErrback(found.append)
            assert found[0].check(ValueError)
        found = []
        turns.take(lambda: succeed(5)).addCallback(found.append)
        assert found == [5]

    def test_steps_that_take_steps(self):
        """Whoever is asked for in the middle comes later, and is not forgotten."""
        turns = Turns(2)
        order = []

        def step(n):
            order.append(n)
            if n < 5:
                turns.take(lambda: step(n + 1))
            return succeed(n)

        turns.take(lambda: step(0))
        assert order == [0, 1, 2, 3, 4, 5]


class Endpoint:
    """Stands in for the network."""

    def __init__(self):
        self.tries = []

    def connect(self, factory):
        """See `IStreamClientEndpoint`."""
        self.tries.append(Deferred())
        return self.tries[-1]


class TestWay:
    """Nobody is sent along a way that leads nowhere."""

    @pytest.fixture
    def clock(self):
        """The test's time."""
        clock = Clock()
        clock.advance(1000)
        return clock

    @pytest.fixture
    def way(self, clock):
        """One whose network is the test's."""
        way = Way(clock, "127.0.0.1", 80, 1.5)
        way._endpoint = Endpoint()
        return way

    def test_it_leads_somewhere(self, way):
        """Then as many go as want to."""
        assert way.endpointForURI(None) is way
        made = []
        for _ in range(3):
            way.connect(None).addCallback(made.append)
        for n, each in enumerate(way._endpoint.tries):
            each.callback(n)
        assert made == [0, 1, 2]

    def test_it_does_not(self, way, clock):
        """For a moment all are told why; then one tries, and the others hear of it."""
        tries, found = way._endpoint.tries, []

        def go():
            way.connect(None).addBoth(found.append)
            return found[-1] if found else None

        go()
        tries[0].errback(ConnectError("no"))
        for _ in range(100):
            assert go().check(ConnectError)
        assert len(tries) == 1
        clock.advance(PAUSE)
        found.clear()
        assert go() is None
        assert go().check(ConnectError)
        assert len(tries) == 2
        tries[1].callback("connection")
        assert found[-1] == "connection"
        found.clear()
        go()
        go()
        assert len(tries) == 4
        for each in tries[2:]:
            each.callback(None)

    def test_it_leads_to_nobody(self, way, clock):
        """An attempt has its own time, within which its host's name has to be found."""
        found = []
        way.connect(None).addErrback(found.append)
        clock.advance(1.5)
        assert "no connection within 1.5 seconds" in why(found[0])
        way.connect(None).addErrback(found.append)
        assert len(way._endpoint.tries) == 1
        assert not clock.getDelayedCalls()

    def test_nobody_waits_any_more(self, way):
        """That says nothing of the way."""
        way.connect(None).addErrback(lambda _: None).cancel()
        way.connect(None).addErrback(lambda _: None).cancel()
        assert len(way._endpoint.tries) == 2

    def test_a_connection_that_comes_too_late(self, way, clock):
        """It is nobody's, and not one more of those that are tried."""
        way.connect(None).addErrback(lambda _: None)
        clock.advance(2)
        clock.advance(PAUSE)
        way.connect(None).addErrback(lambda _: None)
        assert len(way._endpoint.tries) == 2
        way._endpoint.tries[1].callback(None)

    def test_the_clock_is_set_back(self, way, clock):
        """A rest of a second is not one of an hour."""
        way.connect(None).addErrback(lambda _: None)
        way._endpoint.tries[0].errback(ConnectError())
        clock.rightNow -= 3600
        way.connect(None).addErrback(lambda _: None)
        assert len(way._endpoint.tries) == 2
        way._endpoint.tries[1].callback(None)

    @pytest.mark.parametrize(
        ("host", "kind"),
        [
            ("192.0.2.1", "TCP4ClientEndpoint"),
            ("2001:db8::1", "TCP6ClientEndpoint"),
            ("who.example", "HostnameEndpoint"),
        ],
    )
    def test_where_to(self, host, kind):
        """Only names have to be found."""
        from twisted.internet import reactor

        assert type(Way(reactor, host, 80, 1.0)._endpoint).__name__ == kind


class TestWhy:
    """What a log says of a failure."""

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ConnectError(), "An error occurred while connecting."),
            (
                ResponseNeverReceived([Failure(ConnectionDone())]),
                "no answer came: Connection was closed cleanly.",
            ),
            (
                ResponseNeverReceived(
                    [
                        Failure(
                            SSLError(
                                [("SSL routines", "", "certificate verify failed")]
                            )
                        )
                    ]
                ),
                "TLS: certificate verify failed",
            ),
            (SSLError(), "Error"),
            (ValueError("a\x1b[31m" + "b" * 300), r"a\x1b[31m" + "b" * 191),
        ],
    )
    def test_words(self, error, text):
        """The bottom of it, short, and without what moves a cursor."""
        assert why(Failure(error)) == text


class TestMaking:
    """What a URL, a token and an authority may be."""

    @pytest.mark.parametrize("maker", [make_http, make_registry])
    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            *((each, "is not a URL like") for each in ("http://", "http:///x", "x")),
            ("ftp://x/", "is not a URL like"),
            ("http://u:p@x/", "no place for a password"),
            ("http://x/#a", "behind #"),
            ("http://x:99999/", "out of range"),
            ("http://\u00fcx/", "is not a URL like"),
        ],
    )
    def test_no_url(self, tmp_path, maker, url, reason):
        """It says what it should be like."""
        with pytest.raises(ValueError, match=reason):
            maker(url, context(tmp_path, Clock()))

    def test_token(self, tmp_path, told):
        """Who asks shows it."""
        path = tmp_path / "token"
        path.write_text("s3cret-_.~+/=\n")
        path.chmod(0o640)
        bench = Bench(tmp_path, token="token")
        bench.offer()
        [asked] = bench.kept.asked
        assert asked.headers.getRawHeaders("authorization") == ["Bearer s3cret-_.~+/="]
        asked.answer.callback(GIVEN)
        assert not told

    def test_a_token_that_everybody_can_read(self, tmp_path, told):
        """That is told, and no more."""
        path = tmp_path / "token"
        path.write_text("secret")
        path.chmod(0o644)
        Bench(tmp_path, token=str(path))
        assert told == [f"Everybody on this machine can read {path}: chmod 640, or 600"]

    @pytest.mark.parametrize(
        ("url", "count"),
        [
            ("http://192.0.2.1/", 1),
            ("http://who.example/", 1),
            ("http://127.0.0.1:8/", 0),
            ("http://[::1]:8/", 0),
            ("https://192.0.2.1/", 0),
        ],
    )
    def test_a_token_in_clear(self, tmp_path, told, url, count):
        """Over a network, anybody on the way can read it."""
        from twisted.internet import reactor

        path = tmp_path / "token"
        path.write_text("secret")
        path.chmod(0o600)
        make_http(url, context(tmp_path, reactor, token="token"))
        assert len(told) == count
        assert all("use https://" in each for each in told)

    @pytest.mark.parametrize(
        "text", ["", "\n", "one\ntwo\n", "two words", "\xfc", "a\x07", "a\r\nX: b"]
    )
    def test_no_token(self, tmp_path, text):
        """One line of what a header can hold."""
        (tmp_path / "token").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"token-file .*token holds no token"):
            make_http("http://127.0.0.1", context(tmp_path, Clock(), token="token"))

    def test_no_token_file(self, tmp_path):
        """What is not there, and what is something else."""
        for name, reason in (("none", "No such file"), (".", "Is a directory")):
            with pytest.raises(ValueError, match=f"cannot be read: {reason}"):
                make_http("http://127.0.0.1", context(tmp_path, Clock(), token=name))

    def test_no_authority(self, tmp_path):
        """What is not there, and what holds something else."""
        (tmp_path / "ca.pem").write_text("nothing\n")
        for name, reason in (
            ("ca.pem", r"ca\.pem holds no certificates in PEM form"),
            ("none.pem", r"none\.pem cannot be read: No such file"),
        ):
            with pytest.raises(ValueError, match=f"authority .*{reason}"):
                make_http(
                    "https://127.0.0.1", context(tmp_path, Clock(), authority=name)
                )
        make_http("http://127.0.0.1", context(tmp_path, Clock(), authority="none.pem"))


# --- over a network ---------------------------------------------------------------


class Service(Resource):
    """A web service whose every answer the test decides.

    Attributes:
        asked: Path and document of each question.
        answers: What is answered, in order; the last one again and again.
        connections: Those that questions came on.
        open, most, made: Those that are there; the most at once; all there were.
        waiting: For requests that are not answered: fires when they are gone.
    """

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self):
        super().__init__()
        self.asked = []
        self.answers = []
        self.connections = []
        self.open = set()
        self.waiting = []
        self.made = 0
        self.most = 0
        self.url = ""

    def render_POST(self, request):
        """The next answer: bytes, a document, or a function of the request."""
        self.asked.append((request.path, json.loads(request.content.read())))
        if request.channel not in self.connections:
            self.connections.append(request.channel)
        reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(reply):
            return reply(request)
        return reply if isinstance(reply, bytes) else json.dumps(reply).encode()

    def hang(self, request):
        """No answer."""
        self.waiting.append(request)
        request.gone = request.notifyFinish()
        request.gone.addErrback(lambda _: None)
        return NOT_DONE_YET


class Counted(Site):
    """A site that knows its connections, and keeps them."""

    noisy = False

    def __init__(self, service):
        super().__init__(service, timeout=None)
        self.service = service

    def buildProtocol(self, addr):
        """See `IProtocolFactory`."""
        made = super().buildProtocol(addr)
        lost, opened = made.connectionLost, self.service.open

        def connection_lost(reason):
            opened.discard(made)
            lost(reason)

        made.connectionLost = connection_lost
        opened.add(made)
        self.service.made += 1
        self.service.most = max(self.service.most, len(opened))
        return made


def transport_of(connection):
    """The transport behind a protocol of twisted.web's."""
    return connection._channel.transport


async def until(wanted):
    """Wait until something is so."""
    from twisted.internet import reactor

    end = monotonic() + 10
    while not wanted():
        assert monotonic() < end, "it never came"
        await deferLater(reactor, 0.01)


def status(code):
    """An answer with another status."""

    def reply(request):
        request.setResponseCode(code)
        request.setHeader("Location", "http://127.0.0.1:9/")
        return json.dumps(LEASE).encode()

    return reply


def close(request):
    """The connection is closed instead of an answer."""
    request.channel.loseConnection()
    return NOT_DONE_YET


def half(request):
    """An answer that breaks off."""
    request.setHeader("Content-Length", "100")
    request.write(b"{")
    request.channel.loseConnection()
    return NOT_DONE_YET


def chunks(request):
    """A good answer in several pieces, whose length is not told."""
    for each in (b'{"lease": {"address": "192.0.2.10", ', b'"lease_time": 60}}'):
        request.write(each)
    request.finish()
    return NOT_DONE_YET


def endless(request):
    """An answer that goes on."""
    for _ in range(20):
        request.write(b" " * 8192)
    return NOT_DONE_YET


@pytest.fixture
def service():
    """A service on loopback."""
    from twisted.internet import reactor

    made = Service()
    port = reactor.listenTCP(0, Counted(made), interface="127.0.0.1")
    made.port = port.getHost().port
    made.url = f"http://127.0.0.1:{made.port}/dhcp/"
    yield made
    pytest_twisted.blockon(port.stopListening())
    for each in list(made.open):
        transport_of(each).abortConnection()
    pytest_twisted.blockon(Deferred.fromCoroutine(until(lambda: not made.open)))


@pytest.fixture
def make(tmp_path):
    """Makes storages for URLs; they are closed behind the test."""
    from twisted.internet import reactor

    made = []

    def makes(url, maker=make_http, **around):
        around.setdefault("deadline", 10.0)
        made.append(maker(url, context(tmp_path, reactor, **around)))
        return made[-1]

    yield makes
    for each in made:
        pytest_twisted.blockon(each.stop().addTimeout(10, reactor))
    # What was let go of is closed in the reactor's next turns.
    pytest_twisted.blockon(deferLater(reactor, 0.01))


class TestService:
    """Over real connections."""

    @pytest_twisted.ensureDeferred
    async def test_a_connection_is_kept(self, service, make):
        """One after the other, questions need but one."""
        storage = make(service.url)
        service.answers = [LEASE]
        for n in range(5):
            assert (await storage.offer(client(n), 1.0)).address == ADDRESS
        assert len(service.asked) == 5
        assert len(service.connections) == service.most == 1
        assert {path for path, _ in service.asked} == {b"/dhcp/offer"}

    @pytest_twisted.ensureDeferred
    async def test_connections_are_few(self, service, make):
        """However many ask at once; and they are used again."""
        storage = make(service.url)
        service.answers = [service.hang]
        asked = [storage.offer(client(n), 1.0) for n in range(100)]
        await until(lambda: len(service.waiting) == MOST_CONNECTIONS)
        service.answers = [LEASE]
        for each in service.waiting:
            each.write(json.dumps(LEASE).encode())
            each.finish()
        assert len(await gatherResults(asked)) == 100
        assert service.most == MOST_CONNECTIONS
        assert len(service.asked) == 100

    @pytest_twisted.ensureDeferred
    async def test_once_again(self, service, make, told):
        """A kept connection that the service closes: the same question, the same id."""
        storage = make(service.url)
        service.answers = [LEASE, close, LEASE]
        await storage.offer(client(), 1.0)
        assert (await storage.commit(client(), ADDRESS, 1.0)).duration == 60
        documents = [document for _, document in service.asked]
        assert len(documents) == 3
        assert documents[1] == documents[2]
        assert len(service.connections) == 2
        assert not told

    @pytest_twisted.ensureDeferred
    async def test_a_connection_that_was_closed_meanwhile(self, service, make):
        """Nobody sends anything along it."""
        storage = make(service.url)
        service.answers = [LEASE]
        await storage.offer(client(), 1.0)
        for each in list(service.open):
            transport_of(each).loseConnection()
        await until(lambda: not service.open)
        assert await storage.offer(client(), 1.0)
        assert len(service.asked) == 2

    @pytest.mark.parametrize(
        ("reply", "error", "reason"),
        [
            (close, WebServiceFailed, "no answer came"),
            (half, WebServiceFailed, "its answer broke off"),
            (status(500), WebServiceFailed, "it says 500 Internal Server Error"),
            (status(302), WebServiceFailed, "it says 302 Found"),
            (status(404), WebServiceFailed, "it says 404"),
            (b"no JSON", BadAnswer, "its answer is no JSON"),
            (b" " * (MOST_BYTES + 1), WebServiceFailed, "is longer than 65536 bytes"),
            (endless, WebServiceFailed, "is longer than 65536 bytes"),
            ({"lease": {"address": 5}}, BadAnswer, r"lease\.address: 5"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_failures(self, service, make, told, reply, error, reason):
        """Each has its reason, and the next question is as good as new."""
        storage = make(service.url)
        service.answers = [reply]
        with pytest.raises(error, match=reason):
            await storage.offer(client(), 1.0)
        assert len(service.asked) == 1
        assert len(told) == 1
        assert told[0].startswith(f"The web service {service.url}offer failed: ")
        service.answers = [LEASE]
        assert await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_an_error_costs_no_connection(self, service, make):
        """Its page is read to the end, and the connection kept."""
        storage = make(service.url)
        service.answers = [status(500)]
        for _ in range(3):
            with pytest.raises(WebServiceFailed):
                await storage.offer(client(), 1.0)
        assert len(service.connections) == 1

    @pytest.mark.parametrize(
        "reply", [chunks, json.dumps(LEASE).ljust(MOST_BYTES).encode()]
    )
    @pytest_twisted.ensureDeferred
    async def test_other_ways_to_say_it(self, service, make, reply):
        """In chunks, or with as much around it as may be."""
        storage = make(service.url)
        service.answers = [reply]
        assert (await storage.offer(client(), 1.0)).address == ADDRESS

    @pytest_twisted.ensureDeferred
    async def test_late(self, service, make):
        """Nobody waits longer than the deadline; the connection is let go."""
        storage = make(service.url, deadline=0.2)
        service.answers = [service.hang]
        assert await storage.offer(client(), 1.0) is Silence.STORAGE_LATE
        assert len(service.asked) == 1
        await service.waiting[0].gone
        await until(lambda: not service.open)

    @pytest_twisted.ensureDeferred
    async def test_late_in_the_middle(self, service, make):
        """The same when an answer begins and does not end."""
        storage = make(service.url, deadline=0.2)

        def begins(request):
            request.write(b"{")
            return service.hang(request)

        service.answers = [begins]
        assert await storage.offer(client(), 1.0) is Silence.STORAGE_LATE
        await service.waiting[0].gone

    @pytest_twisted.ensureDeferred
    async def test_kept_connections_after_a_late_answer(self, service, make):
        """Those that were kept may be just as dead; none is used again."""
        storage = make(service.url, deadline=0.5)
        service.answers = [service.hang]
        asked = [storage.offer(client(n), 1.0) for n in range(3)]
        await until(lambda: len(service.waiting) == 3)
        for each in service.waiting:
            each.write(json.dumps(LEASE).encode())
            each.finish()
        await gatherResults(asked)
        assert len(service.open) == 3
        assert await storage.offer(client(), 1.0) is Silence.STORAGE_LATE
        await until(lambda: not service.open)

    @pytest_twisted.ensureDeferred
    async def test_given_up(self, service, make):
        """Cancelled from outside, it lets go at once."""
        storage = make(service.url)
        service.answers = [service.hang]
        asked = storage.offer(client(), 1.0)
        await until(lambda: service.waiting)
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        await service.waiting[0].gone
        assert len(service.asked) == 1

    @pytest_twisted.ensureDeferred
    async def test_stop(self, service, make):
        """Connections are closed, and nothing is left behind."""
        storage = make(service.url)
        service.answers = [LEASE]
        await storage.offer(client(), 1.0)
        await storage.stop()
        await until(lambda: not service.open)

    @pytest_twisted.ensureDeferred
    async def test_nobody_is_there(self, make, told):
        """That is known at once, and after a moment tried again."""
        storage = make(f"http://127.0.0.1:{free_tcp_port()}")
        for _ in range(50):
            with pytest.raises(WebServiceFailed, match="refused"):
                await storage.offer(client(), 1.0)
        assert len(told) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_name(self, service, make):
        """A host's name is found out."""
        service.answers = [LEASE]
        storage = make(f"http://localhost:{service.port}")
        assert await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_no_such_name(self, make):
        """Or it is not; names under .invalid never are (RFC 2606)."""
        storage = make("http://who.invalid")
        with pytest.raises(WebServiceFailed, match=r"who\.invalid|lookup|connection"):
            await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_no_proxy(self, service, make, monkeypatch):
        """What an environment says of proxies is for browsers."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/")
        service.answers = [LEASE]
        assert await make(service.url).offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_connections_are_not_told(self, service, make):
        """Two lines in the log for each would be two for each packet, on a bad day."""
        seen = []
        globalLogPublisher.addObserver(seen.append)
        try:
            storage = make(service.url)
            service.answers = [close]
            for _ in range(3):
                with pytest.raises(WebServiceFailed):
                    await storage.offer(client(), 1.0)
        finally:
            globalLogPublisher.removeObserver(seen.append)
        assert len([each for each in seen if each["log_level"] >= LogLevel.info]) == 1


class Raw(Protocol):
    """Says bytes, whatever it is asked."""

    def connectionMade(self):
        """One more."""
        self.factory.open.add(self)

    def connectionLost(self, reason):
        """One less."""
        self.factory.open.discard(self)

    def dataReceived(self, data):
        """Anything is a question."""
        self.factory.heard.append(data)
        self.transport.write(self.factory.says)
        if self.factory.closes:
            self.transport.loseConnection()


@pytest.fixture
def raw():
    """Makes servers that say bytes; gives their port."""
    from twisted.internet import reactor

    ports = []

    def makes(says, *, closes=False):
        factory = Factory.forProtocol(Raw)
        factory.noisy = False
        factory.says, factory.closes, factory.heard = says, closes, makes.heard
        factory.open = set()
        ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return ports[-1].getHost().port

    makes.heard = []
    yield makes
    for port in ports:
        pytest_twisted.blockon(port.stopListening())
        for each in list(port.factory.open):
            each.transport.abortConnection()
        gone = until(lambda: not port.factory.open)  # noqa: B023 - awaited here
        pytest_twisted.blockon(Deferred.fromCoroutine(gone))


def test_bytes_behind_too_many():
    """What still comes of an answer that is given up is nobody's."""
    aborted = []
    body = _Body(SimpleNamespace(abortConnection=lambda: aborted.append(1)))
    found = []
    body.whole.addErrback(found.append)
    for _ in range(3):
        body.dataReceived(b"x" * MOST_BYTES)
    body.connectionLost(Failure(ConnectionDone()))
    assert found[0].check(AnswerTooLong)
    assert aborted == [1]


def test_bytes_that_nobody_asked_for():
    """They are the end of a connection, though a peer of TLS's never said goodbye."""
    done = []
    connection = Connection()
    connection.makeConnection(
        SimpleNamespace(
            loseConnection=lambda: done.append("closed"),
            abortConnection=lambda: done.append("aborted"),
        )
    )
    connection.dataReceived(b"HTTP/1.1 200 OK")
    assert done == ["closed", "aborted"]


HEAD = b"HTTP/1.1 200 OK\r\n"
TEXT = json.dumps(LEASE).encode()


class TestBytes:
    """What a server may say that no web server should."""

    @pytest.mark.parametrize(
        "says",
        [
            HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
            HEAD + b"\r\n" + TEXT,  # its end is the connection's
            b"HTTP/1.0 200 OK\r\n\r\n" + TEXT,
            b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\n" + TEXT,
            HEAD + b"Content-Length: %d\r\n\r\n%s more" % (len(TEXT), TEXT),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_good_enough(self, raw, make, says):
        """It can be understood."""
        storage = make(f"http://127.0.0.1:{raw(says, closes=True)}")
        for _ in range(2):
            assert (await storage.offer(client(), 1.0)).address == ADDRESS

    @pytest.mark.parametrize(
        ("says", "reason"),
        [
            (b"", "no answer came"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off|wrong number of parts"),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", "non-integer status code|broke off"),
            (HEAD + b"Content-Length: -5\r\n\r\n{}", "broke off"),
            (HEAD + b"Content-Length: 9\r\nContent-Length: 8\r\n\r\n{}", "broke off"),
            (HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}", "broke off"),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", "broke off"),
            (HEAD + b"Content-Length: 99\r\n\r\n" + TEXT, "broke off"),
            (HEAD + b"nonsense", "broke off"),
            (HEAD + b"X: y\r\n" * (MOST_BYTES + MOST_AROUND), "longer than"),
            (
                HEAD + b"X: " + b"y" * (MOST_BYTES + MOST_AROUND),
                "longer than|broke off",
            ),
            (b"\0" * 1000, "broke off"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_of_no_use(self, raw, make, told, says, reason):
        """One failure, one line, and nothing that grows."""
        storage = make(f"http://127.0.0.1:{raw(says, closes=True)}")
        with pytest.raises(WebServiceFailed, match=reason):
            await storage.offer(client(), 1.0)
        assert len(told) == 1
        assert told[0].isprintable()

    @pytest_twisted.ensureDeferred
    async def test_an_answer_to_no_question(self, raw, make):
        """What comes behind an answer is no answer to the next question."""
        one = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT), TEXT)
        two = one.replace(b"192.0.2.10", b"192.0.2.11")
        storage = make(f"http://127.0.0.1:{raw(one + two)}")
        for _ in range(3):
            assert (await storage.offer(client(), 1.0)).address == ADDRESS


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestTrust:
    """Who is believed to be the service."""

    @pytest.fixture
    def authority(self, tmp_path):
        """One that signs for 127.0.0.1."""
        tls.prepare(tmp_path / "ours", [])
        return tmp_path / "ours" / "authority.pem"

    @staticmethod
    def options(path):
        """What a server is, by its certificate's file."""
        return ssl.PrivateCertificate.loadPEM(path.read_bytes()).options()

    @pytest.fixture
    def secure(self, service):
        """Lets the service listen with a certificate."""
        from twisted.internet import reactor

        ports = []

        def listens(path):
            site, options = Counted(service), self.options(path)
            port = reactor.listenSSL(0, site, options, interface="127.0.0.1")
            ports.append(port)
            return f"https://127.0.0.1:{port.getHost().port}/"

        yield listens
        for each in ports:
            pytest_twisted.blockon(each.stopListening())

    @pytest_twisted.ensureDeferred
    async def test_ours(self, service, secure, make, authority):
        """Signed by whom we trust, for the name in the URL; connections are kept."""
        service.answers = [LEASE]
        url = secure(authority.with_name("server.pem"))
        storage = make(url, authority=str(authority))
        for _ in range(3):
            assert await storage.offer(client(), 1.0)
        assert len(service.connections) == 1
        by_name = make(url.replace("127.0.0.1", "localhost"), authority=str(authority))
        assert await by_name.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_signed_by_somebody_else(
        self, service, secure, make, authority, tmp_path, told, monkeypatch
    ):
        """Another authority, or none that the system knows: nothing is said to it."""
        # Handshakes are dear, for both: after one that failed there is a rest.
        monkeypatch.setattr(connecting, "PAUSE", 60.0)
        tls.prepare(tmp_path / "theirs", [])
        url = secure(tmp_path / "theirs" / "server.pem")
        for words in ({"authority": str(authority)}, {}):
            storage = make(url, **words)
            for _ in range(20):
                with pytest.raises(WebServiceFailed, match="certificate verify failed"):
                    await storage.offer(client(), 1.0)
        assert not service.asked
        assert len(told) == service.made == 2

    @pytest_twisted.ensureDeferred
    async def test_another_name(self, service, secure, make, authority):
        """A certificate of the right authority for somebody else."""
        other = authority.with_name("other.pem")
        other.write_bytes(tls._issue(authority, "other", ["other.example"]))
        storage = make(secure(other), authority=str(authority))
        with pytest.raises(WebServiceFailed, match="is for another name"):
            await storage.offer(client(), 1.0)
        assert not service.asked

    @pytest_twisted.ensureDeferred
    async def test_no_tls_at_all(self, raw, make, authority):
        """https:// never becomes http://: nothing is said in clear."""
        url = f"https://127.0.0.1:{raw(b'')}"
        storage = make(url, authority=str(authority), deadline=0.5)
        assert await storage.offer(client(), 1.0) is Silence.STORAGE_LATE
        [heard] = raw.heard
        assert heard[:1] == b"\x16"
        assert b"POST" not in heard

    @pytest_twisted.ensureDeferred
    async def test_no_tls_but_words(self, raw, make, authority):
        """Somebody else's port says something else."""
        storage = make(f"https://127.0.0.1:{raw(HEAD)}", authority=str(authority))
        with pytest.raises(WebServiceFailed, match="TLS: "):
            await storage.offer(client(), 1.0)

    @pytest_twisted.ensureDeferred
    async def test_no_way_down(self, service, secure, make, authority):
        """Nor does a redirection lead there."""

        def down(request):
            request.setResponseCode(307)
            request.setHeader("Location", service.url)
            return b""

        service.answers = [down]
        url = secure(authority.with_name("server.pem"))
        storage = make(url, authority=str(authority))
        with pytest.raises(WebServiceFailed, match="it says 307"):
            await storage.offer(client(), 1.0)
        assert len(service.asked) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_peer_that_never_says_goodbye(
        self, service, secure, make, authority
    ):
        """TLS wants both to close; a service that hangs does not hold us up."""
        service.answers = [LEASE]
        storage = make(
            secure(authority.with_name("server.pem")), authority=str(authority)
        )
        await storage.offer(client(), 1.0)
        [connection] = service.open
        transport_of(connection).pauseProducing()
        await storage.stop()


class TestRegistry:
    """A service says who clients are, and our pool does the rest."""

    @pytest_twisted.ensureDeferred
    async def test_members(self, service, make):
        """One has an address, one a name, one is a guest, one is banned, one refused."""
        registry = make(service.url, make_registry)
        storage = MemoryStorage(NET, members=registry)
        known = {
            "00": {"reservation": {"address": "192.0.2.13", "hostname": "me"}},
            "01": {"reservation": {"options": {"domain-name": "members.example"}}},
            "02": {"reservation": None},
            "03": {"silence": "banned"},
            "04": {"refused": "you have moved"},
        }

        def reply(_):
            hardware = service.asked[-1][1]["client"]["hardware"]
            return json.dumps(known[hardware[-2:]]).encode()

        service.answers = [reply]
        offers = [
            await storage.offer(client(n, ClientState.INIT), 1.0) for n in range(5)
        ]
        assert offers[0].address == ip("192.0.2.13")
        assert offers[0].settings == Settings(hostname="me")
        assert offers[1].settings == Settings({15: b"members.example"})
        assert offers[2].settings is None
        assert isinstance(offers[2], Lease)
        assert offers[3] is Silence.NOT_ALLOWED
        assert offers[4] == Refused("you have moved")
        assert {path for path, _ in service.asked} == {b"/dhcp/reservation"}
        told = await storage.configure(client(1, ClientState.BOUND), 1.0)
        assert told == offers[1].settings
        lease = await storage.commit(client(0), ip("192.0.2.13"), 2.0)
        assert lease.address == ip("192.0.2.13")
        [kept] = storage.find_leases(ip("192.0.2.13"), None, None)
        assert kept.hardware == client(0).hardware

    @pytest_twisted.ensureDeferred
    async def test_it_is_gone(self, service, make):
        """Who cannot be found out gets nothing; releases go on."""
        registry = make(service.url, make_registry, deadline=0.2)
        storage = MemoryStorage(NET, members=registry)
        service.answers = [{"reservation": None}, {"reservation": None}, service.hang]
        offer = await storage.offer(client(), 1.0)
        await storage.commit(client(), offer.address, 1.0)
        found = await storage.offer(client(2), 1.0)
        assert found is Silence.STORAGE_LATE
        assert storage.release(client(state=ClientState.BOUND), offer.address, 2.0)

    @pytest_twisted.ensureDeferred
    async def test_stop(self, service, make):
        """The pool lets it go."""
        storage = MemoryStorage(NET, members=make(service.url, make_registry))
        service.answers = [{"reservation": None}]
        await storage.offer(client(), 1.0)
        await storage.stop()
        await until(lambda: not service.open)

    def test_one_that_answers_at_once(self):
        """A registry of one's own needs no Deferred."""

        class Members:
            def reservation_for(self, _):
                return Refused("banned")

        storage = MemoryStorage(NET, members=Members())
        assert storage.offer(client(), 1.0) == Refused("banned")

    def test_the_time(self, tmp_path):
        """The service is told the time, though nobody tells the registry."""
        registry = make_registry("http://127.0.0.1", context(tmp_path, Clock()))
        agent = registry._service._agent = Agent()
        registry._clock = lambda: 77.5
        registry.reservation_for(client()).addErrback(lambda _: None).cancel()
        assert agent.asked[0].document["when"] == 77.5
        assert agent.asked[0].document["verb"] == "reservation"


# --- a whole server ---------------------------------------------------------------


def free_tcp_port():
    """A port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Reference:
    """The service of the documentation, in a process of its own."""

    def __init__(self, directory):
        self.port = free_tcp_port()
        self.file = directory / "service.sqlite"
        self._process = None
        self.start()

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        """Begin, and wait until it hears."""
        pool = [f"127.7.0.{n}" for n in range(10, 60)]
        command = [sys.executable, SERVICE, str(self.port), self.file, *pool]
        self._process = subprocess.Popen(command)
        end = monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self._process.poll() is None
                assert monotonic() < end, "the service does not start"
                sleep(0.05)
            else:
                return

    def kill(self):
        """End it without a warning."""
        self._process.kill()
        self._process.wait(10)

    def leases(self):
        """Its table: address to who has it until when."""
        with sqlite3.connect(self.file) as database:
            rows = database.execute("SELECT address, key, until FROM lease").fetchall()
        database.close()
        return {address: (key, until) for address, key, until in rows}


@pytest.fixture
def reference(tmp_path):
    """The running service."""
    made = Reference(tmp_path)
    yield made
    made.kill()


def packets(site):
    """What the server's status counts as not answered."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dhcptwist.ctl", "--state", str(site.state)),
            *("--json", "status"),
        ],
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)["packets"]["silent"]


def soon(wanted):
    """Wait until another process has come so far."""
    end = monotonic() + 20
    while not wanted():
        assert monotonic() < end, "it never came"
        sleep(0.02)


@pytest.mark.timeout(180)
class TestWholeServer:
    """A process of ours, clients behind a relay, and a service that comes and goes."""

    def test_a_life(self, reference, make_site):
        """DISCOVER to RELEASE, and everything on the service's disk."""
        site = make_site(storage=reference.url)
        site.start()
        relay, who = site.relay(), site.client(1)
        ack = relay.bind(who)
        address = socket.inet_ntoa(ack.raw[16:20])
        assert ack.lease_time == 3600
        key, until = reference.leases()[address]
        assert key == "hex:01020000000001"
        renewed = relay.ask(who.message(MessageType.REQUEST, ciaddr=address))
        assert (renewed.type, renewed.yiaddr) == (MessageType.ACK, ack.yiaddr)
        assert reference.leases()[address][1] > until
        thief = site.client(2).message(
            MessageType.REQUEST, requested=address, server="127.0.0.1"
        )
        assert relay.ask(thief).type == MessageType.NAK
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            # It is answered where it is, without the relay (RFC 2131 section 4.3.5).
            mine.bind((address, site.port + 1))
            mine.settimeout(10)
            relay.send(who.message(MessageType.INFORM, ciaddr=address))
            informed = Message.decode(mine.recv(65536))
        assert (informed.type, informed.yiaddr) == (MessageType.ACK, 0)
        relay.send(who.message(MessageType.RELEASE, ciaddr=address))
        soon(lambda: reference.leases()[address][1] < until)
        assert relay.bind(who).yiaddr == ack.yiaddr
        relay.send(who.message(MessageType.DECLINE, requested=address))
        soon(lambda: reference.leases()[address][0] is None)
        assert relay.bind(who).yiaddr != ack.yiaddr
        site.stop()
        assert "failed" not in site.log

    def test_it_goes_and_comes_back(self, reference, make_site):
        """Meanwhile clients get silence, and ours has to do nothing about it."""
        site = make_site(storage=reference.url, listen="unix:control.sock:mode=600")
        site.start()
        relay, who = site.relay(), site.client(1)
        ack = relay.bind(who)
        address = socket.inet_ntoa(ack.raw[16:20])
        reference.kill()
        for number in range(2, 8):
            relay.send(site.client(number).message(MessageType.DISCOVER))
        relay.send(who.message(MessageType.REQUEST, ciaddr=address))
        assert relay.receive(1.0) is None
        assert packets(site)["storage-failed"] == 7
        reference.start()
        end = monotonic() + 30
        while True:
            relay.send(site.client(2).message(MessageType.DISCOVER))
            if relay.receive(1.0) is not None:
                break
            assert monotonic() < end, site.log
        renewed = relay.ask(who.message(MessageType.REQUEST, ciaddr=address))
        assert renewed.yiaddr == ack.yiaddr
        assert relay.bind(site.client(9)).yiaddr
        site.stop()
        assert site.log.count(f"The web service {reference.url}") == 2
        assert f"{reference.url}offer answers again" in site.log
        assert "Traceback" not in site.log

    def test_fallback(self, reference, make_site):
        """``fallback = stale``: who has a lease keeps it for its time."""
        site = make_site(storage=reference.url)
        site.ini += "[storage]\nfallback = stale\n"
        site.start()
        relay, who = site.relay(), site.client(1)
        ack = relay.bind(who)
        address = socket.inet_ntoa(ack.raw[16:20])
        reference.kill()
        renewed = relay.ask(who.message(MessageType.REQUEST, ciaddr=address))
        assert renewed.yiaddr == ack.yiaddr
        assert renewed.lease_time <= 3600
        relay.send(site.client(2).message(MessageType.DISCOVER))
        assert relay.receive(1.0) is None

    def test_members(self, make_site):
        """``reservations =``: the pool is ours, and who clients are the service's."""

        class Members(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                assert self.headers["Authorization"] == "Bearer secret"
                assert self.path == "/members/reservation"
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hardware = asked["client"]["hardware"]
                answer = {"reservation": None}
                if hardware.endswith("01"):
                    answer = {"reservation": {"address": "127.7.0.99"}}
                elif hardware.endswith("02"):
                    answer = {"silence": "banned"}
                text = json.dumps(answer)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
                self.wfile.write((head + text).encode())

        with ExitStack() as open_ones:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Members)
            server.daemon_threads = True
            open_ones.callback(server.server_close)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            open_ones.callback(server.shutdown)
            site = make_site()
            url = f"http://127.0.0.1:{server.server_port}/members"
            site.ini += f"[storage]\nreservations = {url}\ntoken-file = token\n"
            site.state.mkdir()
            (site.state / "token").write_text("secret\n")
            (site.state / "token").chmod(0o600)
            site.start()
            relay = site.relay()
            assert relay.bind(site.client(1)).yiaddr == ip("127.7.0.99")
            assert relay.bind(site.client(3)).yiaddr == ip("127.7.0.10")
            relay.send(site.client(2).message(MessageType.DISCOVER))
            assert relay.receive(1.0) is None
            assert relay.bind(site.client(1)).yiaddr == ip("127.7.0.99")
            site.stop()
            assert "Traceback" not in site.log

    def test_no_token(self, make_site):
        """A file that is not there is told when it starts, not at the first packet."""
        site = make_site(storage="http://127.0.0.1:9/")
        site.ini += "[storage]\ntoken-file = token\n"
        with pytest.raises(AssertionError, match=r"token-file .*token cannot be read"):
            site.start()
