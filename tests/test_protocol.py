"""Where packets meet Twisted: what is counted, sent, logged and put off."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import FakeDatagramTransport
from twisted.logger import globalLogPublisher

from dhcptwist.exchanges import Responder
from dhcptwist.lease import Lease, Refused, Settings, Silence
from dhcptwist.network import Via
from dhcptwist.testing import FakeClient, ip, network
from dhcptwist.transport.counters import Counters
from dhcptwist.transport.protocol import (
    BREATHER,
    BUSY_COUNT,
    COMPLAIN_EVERY,
    DHCPProtocol,
)
from dhcptwist.wire import Message, MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK = MessageType.OFFER, MessageType.ACK
WHERE = ip("192.0.2.10")


class Transport(FakeDatagramTransport):
    """A socket that notes whether it is read."""

    reading = True

    def stopReading(self):
        """Leave it alone."""
        self.reading = False

    def startReading(self):
        """Read it again."""
        self.reading = True


class Storage:
    """Answers every verb with what the test says; an exception is raised."""

    def __init__(self):
        self.result = Lease(WHERE)

    def offer(self, client, when):
        """Give the result."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def commit(self, client, address, when):
        """Likewise."""
        return self.offer(client, when)


class Frames:
    """Takes frames, or fails to."""

    def __init__(self):
        self.sent = []
        self.fault = None

    def send(self, hardware, address, port, data):
        """Note it."""
        if self.fault is not None:
            raise self.fault
        self.sent.append((hardware, address, port, Message.decode(data)))


class Bench:
    """A protocol whose every neighbour is in the test's hands."""

    def __init__(self, *, frames=None, send=None, reactor=None):
        net = network()
        self.storage = Storage()
        self.counters = Counters()
        self.clock = Clock()
        self.clock.advance(1000)
        self.transport = Transport()
        self.protocol = DHCPProtocol(
            Via("eth0", ip("192.0.2.1"), frames=frames is not None),
            Responder(net),
            self.storage,
            self.counters,
            self.clock.seconds,
            frames,
            send,
            self.clock if reactor else None,
        )
        self.protocol.makeConnection(self.transport)

    def receive(self, kind=DISCOVER, count=1, **fields):
        """Messages of one client."""
        who = FakeClient()
        for _ in range(count):
            data = who.message(kind, **fields).encode()
            self.protocol.datagramReceived(data, ("0.0.0.0", 68))

    @property
    def sent(self):
        """What went out as datagrams: type and where to."""
        return [
            (Message.decode(data).type, address)
            for data, address in self.transport.written
        ]

    def figures(self):
        """The counters that are not zero."""
        return self.counters.figures()


EVERYONE = ("255.255.255.255", 68)


class TestAnswers:
    """What a storage may answer with, and when."""

    def test_value(self):
        """At once."""
        bench = Bench()
        bench.receive()
        assert bench.sent == [(OFFER, EVERYONE)]
        assert bench.figures() == {
            "received": {"discover": 1},
            "sent": {"offer": 1},
            "silent": {},
            "failed": {},
        }

    def test_deferred(self):
        """Later, each to the one who asked."""
        bench = Bench()
        first, second = Deferred(), Deferred()
        for bench.storage.result in (first, second):
            bench.receive()
        assert bench.sent == []
        second.callback(Lease(WHERE + 1))
        first.callback(None)
        [(data, _)] = bench.transport.written
        assert Message.decode(data).yiaddr == WHERE + 1
        assert bench.figures()["silent"] == {"no-lease": 1}

    def test_fired_deferred(self):
        """A Deferred that has its answer already is an answer."""
        bench = Bench()
        bench.storage.result = succeed(Lease(WHERE))
        bench.receive(REQUEST, requested="192.0.2.10", server="192.0.2.1")
        assert bench.sent == [(ACK, EVERYONE)]

    def test_coroutine(self):
        """An ``async def`` will do, and may wait."""
        bench = Bench()
        wait = Deferred()

        async def asks():
            return await wait

        bench.storage.result = asks()
        bench.receive()
        assert bench.sent == []
        wait.callback(Lease(WHERE))
        assert bench.sent == [(OFFER, EVERYONE)]

    def test_silence(self):
        """A reason for silence is counted by its name."""
        bench = Bench()
        bench.storage.result = Silence.POOL_EXHAUSTED
        bench.receive()
        bench.storage.result = succeed(Silence.POOL_EXHAUSTED)
        bench.receive()
        assert bench.sent == []
        assert bench.figures()["silent"] == {"pool-exhausted": 2}

    def test_given_send(self):
        """A function to send by is preferred to the transport."""
        went = []
        bench = Bench(send=lambda data, address: went.append((data, address)))
        bench.receive()
        assert bench.sent == []
        [(data, address)] = went
        assert (Message.decode(data).type, address) == (OFFER, EVERYONE)

    def test_frame(self):
        """A client without an address is sent a frame, if frames can be sent."""
        frames = Frames()
        bench = Bench(frames=frames)
        bench.receive()
        [(hardware, address, port, message)] = frames.sent
        assert hardware == FakeClient().hardware[1:]
        assert (address, port) == (bytes([192, 0, 2, 10]), 68)
        assert (message.type, bench.sent) == (OFFER, [])
        assert bench.figures()["sent"] == {"offer": 1}


class TestNoAnswer:
    """Invariant 6: what is no message costs one counter."""

    @pytest.mark.parametrize("data", [b"", b"\x01", bytes(300), b"\xff" * 65507])
    def test_malformed(self, data):
        """It is counted; the storage does not hear of it, nor does the log."""
        bench = Bench()
        bench.storage.result = AssertionError("asked")
        bench.protocol.datagramReceived(data, ("192.0.2.7", 68))
        assert bench.sent == []
        figures = bench.figures()
        assert sum(figures["silent"].values()) == 1
        assert "storage-failed" not in figures["silent"]

    def test_not_a_message(self):
        """The counter of what cannot be decoded."""
        bench = Bench()
        bench.protocol.datagramReceived(b"GET / HTTP/1.0\r\n\r\n", ("192.0.2.7", 80))
        assert bench.figures()["silent"] == {"malformed": 1}
        assert bench.figures()["received"] == {}

    def test_every_type_is_counted(self):
        """By option 53, also one that nobody has defined, or none."""
        bench = Bench()
        for option in (b"\x01", b"\x04", b"\x63", b""):
            message = Message.build(chaddr=bytes(5) + b"\x01", options={53: option})
            bench.protocol.datagramReceived(message.encode(), ("0.0.0.0", 68))
        assert bench.figures()["received"] == {"discover": 1, "decline": 1, "other": 2}

    @pytest.mark.parametrize("frames", [True, False])
    @pytest.mark.parametrize("later", [True, False])
    def test_cannot_be_sent(self, frames, later):
        """The system would not take it: counted, not sent, not logged."""
        fault = OSError(105, "No buffer space available")

        def send(*_):
            raise fault

        taker = Frames()
        taker.fault = fault
        bench = Bench(frames=taker if frames else None, send=send)
        if later:
            bench.storage.result = Deferred()
        bench.receive()
        if later:
            bench.storage.result.callback(Lease(WHERE))
        figures = bench.figures()
        assert figures["failed"] == {"unsendable": 1}
        assert (figures["sent"], figures["silent"]) == ({}, {})


class Broken(Exception):  # noqa: N818 - it is
    """What a stranger's storage raises."""


def raising():
    """Fail at once."""
    return Broken("gone")


def failing():
    """Fail by a Deferred."""
    return fail(Broken("gone"))


async def failing_coroutine():
    """Fail by a coroutine."""
    raise Broken("gone")


@pytest.fixture
def lines():
    """The events that our modules log."""
    events = []

    def note(event):
        if event["log_namespace"].startswith("dhcptwist"):
            events.append(event)

    globalLogPublisher.addObserver(note)
    yield events
    globalLogPublisher.removeObserver(note)


class TestStorageFails:
    """A storage may do anything; the server goes on."""

    @pytest.mark.parametrize("way", [raising, failing, failing_coroutine])
    def test_silence(self, way, logged_failures):
        """No answer, one counter, one log line; the next packet is answered."""
        bench = Bench()
        bench.storage.result = way()
        bench.receive()
        assert bench.sent == []
        assert bench.figures()["silent"] == {"storage-failed": 1}
        assert len(logged_failures.flush(Broken)) == 1
        bench.storage.result = Lease(WHERE)
        bench.receive()
        assert bench.sent == [(OFFER, EVERYONE)]

    def test_one_line_for_many(self, monkeypatch, lines, logged_failures):
        """A thousand packets that fail together need no more; later ones get theirs."""
        now = Clock()
        monkeypatch.setattr(
            "dhcptwist.transport.protocol.time", SimpleNamespace(monotonic=now.seconds)
        )
        bench = Bench()
        bench.storage.result = raising()
        for expected in (1, 2):
            bench.receive(count=500)
            now.advance(COMPLAIN_EVERY - 0.1)
            bench.receive(count=500)
            assert len(lines) == expected
            now.advance(0.2)
        assert bench.figures()["silent"] == {"storage-failed": 2000}
        assert len(logged_failures.flush(Broken)) == 2

    def test_what_is_logged_already(self, lines):
        """A storage that has told of a full disk itself is only counted here."""
        bench = Bench()
        bench.storage.result = error = Broken("full")
        error.is_logged = True
        bench.receive(count=20)
        assert bench.figures()["silent"] == {"storage-failed": 20}
        assert not lines

    @pytest.mark.parametrize("later", [True, False])
    def test_nonsense(self, later, logged_failures):
        """An answer of which no reply can be made: counted and logged; we go on."""
        bench = Bench()
        nowhere = Lease(1 << 40)
        bench.storage.result = succeed(nowhere) if later else nowhere
        bench.receive()
        assert bench.sent == []
        assert bench.figures()["silent"] == {"storage-failed": 1}
        [failure] = logged_failures.flush(TypeError)
        assert "a Lease whose address is 1099511627776; it has" in str(failure.value)

    def test_much_nonsense(self, lines, logged_failures):
        """That, too, is one line for many."""
        bench = Bench()
        for _ in range(100):
            bench.storage.result = succeed(Lease(1 << 40))
            bench.receive()
        assert bench.figures()["silent"] == {"storage-failed": 100}
        assert len(lines) == len(logged_failures.flush(TypeError)) == 1

    @pytest.mark.parametrize(
        ("kind", "result", "words"),
        [
            (DISCOVER, "192.0.2.10", "answered offer with '192.0.2.10'; a Lease, a"),
            (DISCOVER, 5, "answered offer with 5; a Lease, a Silence or None was"),
            (REQUEST, True, "answered commit with True; a Lease, a Refused, a Silence"),
            (REQUEST, Lease("192.0.2.10"), "answered commit with '192.0.2.10'; an int"),
            (DISCOVER, Lease("192.0.2.10"), "address is '192.0.2.10'; an int was"),
            (REQUEST, Lease(WHERE, duration=3600.5), "duration is 3600.5; an int was"),
            (
                DISCOVER,
                Lease(WHERE, duration=-1),
                "duration is -1; it has to be from 0",
            ),
            (
                DISCOVER,
                Lease(WHERE, settings={6: b""}),
                "settings are {6: b''}; Settings",
            ),
            (
                DISCOVER,
                Lease(WHERE, settings=Settings(boot_file=b"x")),
                "settings have boot_file b'x'; str or None was expected",
            ),
            (
                DISCOVER,
                Lease(WHERE, settings=Settings({300: b"x"})),
                "settings have an option 300; there are 1 to 254",
            ),
            (
                REQUEST,
                Refused(None),
                "a Refused whose reason is None; text was expected",
            ),
        ],
        ids=itertools.count(),
    )
    def test_wrong_answers(self, kind, result, words, logged_failures):
        """What a storage may not say is its failure, and the log shows what it said."""
        bench = Bench()
        bench.storage.result = result
        bench.receive(kind, requested="192.0.2.10")
        assert bench.sent == []
        assert bench.figures()["silent"] == {"storage-failed": 1}
        [failure] = logged_failures.flush(TypeError)
        assert words in str(failure.value)

    def test_our_own_mistake(self, monkeypatch, logged_failures):
        """If nothing is wrong with the answer, it is a bug."""
        bench = Bench()

        def answer(_, __):
            raise Broken("ours")

        monkeypatch.setattr("dhcptwist.exchanges.Discover.answer", answer)
        bench.receive()
        assert bench.figures()["silent"] == {"bug": 1}
        assert len(logged_failures.flush(Broken)) == 1


class TestBreather:
    """A busy socket is left alone for a moment, so that packets share a waking."""

    def test_quiet(self):
        """Who asks now and then is answered at once, always."""
        bench = Bench(reactor=True)
        for _ in range(10 * BUSY_COUNT):
            bench.clock.advance(0.01)
            bench.receive()
            assert bench.transport.reading
        assert bench.clock.getDelayedCalls() == []

    def test_busy(self):
        """Each reading is followed by one breather; what is there is still answered."""
        bench = Bench(reactor=True)
        bench.receive(count=2 * BUSY_COUNT - 1)
        assert bench.transport.reading
        bench.receive()
        assert not bench.transport.reading
        bench.receive(count=5)
        assert len(bench.clock.getDelayedCalls()) == 1
        assert len(bench.sent) == 2 * BUSY_COUNT + 5
        bench.clock.advance(BREATHER)
        assert bench.transport.reading
        bench.receive()
        assert not bench.transport.reading
        bench.clock.advance(BREATHER)
        assert bench.transport.reading
        assert bench.clock.getDelayedCalls() == []

    def test_quiet_again(self):
        """When the rush is over it is read at once again."""
        bench = Bench(reactor=True)
        bench.receive(count=2 * BUSY_COUNT)
        for _ in range(BUSY_COUNT):
            bench.clock.advance(0.01)
            bench.receive()
        bench.clock.advance(BREATHER)
        bench.receive()
        assert bench.transport.reading

    def test_clock_set_back(self):
        """A clock that jumps back makes nothing look busy."""
        bench = Bench(reactor=True)
        bench.receive(count=BUSY_COUNT)
        bench.clock.rightNow -= 500
        bench.receive(count=BUSY_COUNT)
        assert bench.transport.reading

    def test_rubbish_is_no_rush(self):
        """What is not answered does not make the socket busy."""
        bench = Bench(reactor=True)
        for _ in range(4 * BUSY_COUNT):
            bench.protocol.datagramReceived(b"", ("0.0.0.0", 68))
        assert bench.transport.reading

    def test_without_reactor(self):
        """Without one to wake it, it is always read."""
        bench = Bench()
        bench.receive(count=4 * BUSY_COUNT)
        assert bench.transport.reading
        assert len(bench.sent) == 4 * BUSY_COUNT


class TestStopping:
    """The end of a protocol."""

    def test_stop_hearing(self):
        """It is not read any more, also not when its breather would have ended."""
        bench = Bench(reactor=True)
        bench.receive(count=2 * BUSY_COUNT)
        bench.protocol.stop_hearing()
        assert bench.clock.getDelayedCalls() == []
        bench.clock.advance(1)
        assert not bench.transport.reading

    def test_nothing_wakes_it(self):
        """A packet that was read with the last ones begins no breather."""
        bench = Bench(reactor=True)
        bench.receive(count=2 * BUSY_COUNT)
        bench.protocol.stop_hearing()
        bench.receive(count=2 * BUSY_COUNT)
        assert bench.clock.getDelayedCalls() == []
        assert not bench.transport.reading

    def test_under_way_is_answered(self):
        """What the storage was asked before is answered all the same."""
        bench = Bench(reactor=True)
        bench.storage.result = answer = Deferred()
        bench.receive()
        bench.protocol.stop_hearing()
        answer.callback(Lease(WHERE))
        assert bench.sent == [(OFFER, EVERYONE)]

    def test_socket_gone(self):
        """When the socket goes, no timer stays."""
        bench = Bench(reactor=True)
        bench.receive(count=2 * BUSY_COUNT)
        bench.protocol.doStop()
        assert bench.clock.getDelayedCalls() == []
