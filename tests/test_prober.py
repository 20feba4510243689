"""Is somebody using this address?  Asked on sockets that exist only here."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from dhcptwist.interfaces import IProber
from dhcptwist.network import Network
from dhcptwist.testing import ip, subnet
from dhcptwist.transport import probe as module
from dhcptwist.transport.probe import AGAIN, PATIENCE, Prober


# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LAN = subnet("192.0.2.0/24", name="lan")
HALL = subnet("198.51.100.0/24", "198.51.100.10-198.51.100.20", name="hall")
FAR = subnet("203.0.113.0/24", "203.0.113.10-203.0.113.20", name="far")
INTERFACES = {"eth0": [ip("192.0.2.1")], "eth1": [ip("198.51.100.1")]}

HERE = ip("192.0.2.10")
THERE = ip("203.0.113.10")
MAC = b"\2\0\0\0\0\1"


class FakeSocket:
    """A socket with what others send to it, and what we sent.

    Attributes:
        incoming: What `recv` gives, one after the other.
        sent: What went out and to where.
        fails: Whether sending does not work.
    """

    number = 100

    def __init__(self, family, kind, protocol):
        self.family, self.kind, self.protocol = family, kind, protocol
        self.bound = None
        self.hardware = MAC
        self.incoming = []
        self.sent = []
        self.fails = False
        self.closed = False
        FakeSocket.number += 1
        self._number = FakeSocket.number

    def bind(self, address):
        """As for real."""
        self.bound = address

    def getsockname(self):
        """As for real, with a link address."""
        return (*self.bound, 0, 1, self.hardware)

    def fileno(self):
        """Give some number."""
        return self._number

    def recv(self, size):
        """Give what came next, or fail as a socket without anything does."""
        if self.closed or not self.incoming:
            raise BlockingIOError
        return self.incoming.pop(0)[:size]

    def sendto(self, data, address):
        """Send it, unless the network is down."""
        if self.fails:
            raise OSError(100, "Network is down")
        self.sent.append((data, address))

    def close(self):
        """As for real."""
        self.closed = True


class FakeReactor(Clock):
    """A clock that also knows who wants to read."""

    def __init__(self):
        super().__init__()
        self.readers = []

    def addReader(self, reader):
        """As for real."""
        assert reader not in self.readers
        self.readers.append(reader)

    def removeReader(self, reader):
        """As for real: it is no mistake if it is not there."""
        if reader in self.readers:
            self.readers.remove(reader)

    def read(self):
        """Let everybody read who wants to, as `select` would."""
        for reader in list(self.readers):
            if reader in self.readers:
                reader.doRead()


class Wires:
    """A prober with its sockets and its reactor.

    Attributes:
        sockets: What it opened: one for each interface, then ICMP's.
    """

    def __init__(self, monkeypatch, interfaces=INTERFACES):
        self.sockets = []
        monkeypatch.setattr(module.socket, "socket", self._open)
        self.reactor = FakeReactor()
        network = Network([LAN, HALL, FAR], INTERFACES)
        self.prober = Prober(self.reactor, network, interfaces)
        *self.arp, self.icmp = self.sockets

    def _open(self, *kind):
        self.sockets.append(FakeSocket(*kind))
        return self.sockets[-1]

    def ask(self, address=HERE, where=LAN):
        """Ask, and give a list that the answer will be in."""
        answers = []
        self.prober.probe(address, where).addCallback(answers.append)
        return answers

    def begin(self):
        """Let the first question go out."""
        self.reactor.advance(0)

    def idle(self):
        """Whether nothing is asked, waited for or listened to."""
        return not self.reactor.getDelayedCalls() and not self.reactor.readers


@pytest.fixture
def wires(monkeypatch):
    """A prober on two interfaces."""
    return Wires(monkeypatch)


def arp(sender, *, operation=2, target="192.0.2.1"):
    """An ARP packet that says who has the sender's address."""
    return struct.pack(
        "!HHBBH6s4s6s4s",
        *(1, 0x0800, 6, 4, operation),
        *(b"\2\0\0\0\0\7", sender.to_bytes(4, "big")),
        *(MAC, ip(target).to_bytes(4, "big")),
    )


def icmp(sender, kind=0, options=b""):
    """An ICMP message as a raw socket hears it, with its IPv4 header in front."""
    head = bytes([0x45 + len(options) // 4]) + bytes(8) + b"\1\0\0"
    addresses = sender.to_bytes(4, "big") + ip("192.0.2.1").to_bytes(4, "big")
    return head + addresses + options + bytes([kind]) + bytes(7)


class TestOtherSubnets:
    """The configuration is read again while something is asked."""

    @pytest.mark.parametrize("comes", [True, False])
    def test_asked_by_what_is_there(self, wires, comes):
        """An address is asked for on the wire it is on by now, whatever was known before."""
        lan = subnet(
            "192.0.2.0/24", name="other", **({} if comes else {"interface": "no"})
        )
        wires.prober.network = Network([lan, HALL], INTERFACES)
        wires.ask()
        wires.begin()
        assert [len(each.sent) for each in wires.arp] == [int(comes), 0]
        assert len(wires.icmp.sent) == int(not comes)
        wires.reactor.advance(PATIENCE)


class TestSockets:
    """What is opened, and when it is listened to."""

    def test_interface(self, wires):
        """A prober is what its interface says."""
        assert verifyObject(IProber, wires.prober)

    def test_opened_at_once(self, wires):
        """While there are rights to: one socket for ARP on each interface, one for ICMP."""
        quick = socket.SOCK_NONBLOCK
        assert [each.bound for each in wires.arp] == [
            ("eth0", 0x0806),
            ("eth1", 0x0806),
        ]
        for each in wires.arp:
            assert (each.family, each.kind) == (
                socket.AF_PACKET,
                socket.SOCK_DGRAM | quick,
            )
            # Protocol 0 hears nothing before the socket is bound to its interface.
            assert each.protocol == 0
        assert wires.icmp.family == socket.AF_INET
        assert wires.icmp.kind == socket.SOCK_RAW | quick
        assert wires.icmp.protocol == socket.IPPROTO_ICMP

    def test_idle(self, wires):
        """Between two questions nobody listens and no timer runs."""
        assert wires.idle()
        wires.ask()
        assert not wires.idle()
        wires.reactor.advance(PATIENCE)
        assert wires.idle()

    def test_listeners(self, wires):
        """All sockets are listened to while something is asked."""
        wires.ask()
        numbers = [each.fileno() for each in wires.reactor.readers]
        assert numbers == [each.fileno() for each in wires.sockets]
        for each in wires.reactor.readers:
            assert verifyObject(IReadDescriptor, each)
            assert each.logPrefix() == "probe"
            each.connectionLost(None)

    def test_stale_answers(self, wires):
        """What came in before the question does not answer it."""
        wires.arp[0].incoming = [arp(HERE), arp(HERE)]
        wires.icmp.incoming = [icmp(HERE)]
        answers = wires.ask()
        wires.reactor.read()
        assert answers == []
        wires.reactor.advance(PATIENCE)
        assert answers == [False]

    def test_close(self, wires):
        """Closing closes every socket."""
        wires.prober.close()
        assert all(each.closed for each in wires.sockets)

    def test_no_rights(self, monkeypatch):
        """Without rights it says so at once."""

        def refuse(*kind):
            raise PermissionError(1, "Operation not permitted", kind)

        monkeypatch.setattr(module.socket, "socket", refuse)
        with pytest.raises(PermissionError):
            Prober(FakeReactor(), Network([LAN]), INTERFACES)


class TestAsking:
    """What goes out."""

    def test_arp(self, wires):
        """RFC 5227 section 2.1.1: an ARP probe without our address, to everybody."""
        wires.ask()
        wires.begin()
        ((data, address),) = wires.arp[0].sent
        assert data == bytes.fromhex("0001 0800 06 04 0001") + MAC + bytes(10) + bytes(
            [192, 0, 2, 10]
        )
        assert address == ("eth0", 0x0806, 0, 0, b"\xff" * 6)
        assert wires.arp[1].sent == wires.icmp.sent == []

    def test_other_interface(self, wires):
        """The question goes out where the subnet is."""
        wires.ask(ip("198.51.100.10"), HALL)
        wires.begin()
        assert [len(each.sent) for each in wires.sockets] == [0, 1, 0]
        assert wires.arp[1].sent[0][1][0] == "eth1"

    def test_icmp(self, wires):
        """Behind a relay ARP reaches nobody: an echo request does (RFC 792)."""
        wires.ask(THERE, FAR)
        wires.begin()
        ((data, address),) = wires.icmp.sent
        assert address == ("203.0.113.10", 0)
        assert (data[0], data[1], len(data)) == (8, 0, 8)
        assert int.from_bytes(data[4:6], "big") == os.getpid() & 0xFFFF
        words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, 8, 2)]
        assert sum(words) % 0xFFFF == 0
        assert data[2:4] != b"\0\0"
        assert [each.sent for each in wires.arp] == [[], []]

    def test_again(self, wires):
        """It is asked again while nobody answers, and then no more."""
        wires.ask()
        sent = []
        for _ in range(20):
            wires.reactor.advance(0.1)
            sent.append(len(wires.arp[0].sent))
        assert sent[0] == 1
        assert sent[-1] == len(AGAIN) == 3
        assert max(AGAIN) < PATIENCE

    @pytest.mark.parametrize("hardware", [b"", b"\0" * 20])
    def test_no_ethernet(self, wires, hardware):
        """A link whose addresses are not Ethernet's is asked by ICMP."""
        wires.arp[0].hardware = hardware
        wires.ask()
        wires.begin()
        assert wires.arp[0].sent == []
        assert wires.icmp.sent[0][1] == ("192.0.2.10", 0)

    def test_interface_is_down(self, wires):
        """An interface that cannot send is no reason to fail: ICMP may find a way."""
        wires.arp[0].fails = True
        wires.ask()
        wires.begin()
        assert wires.icmp.sent[0][1] == ("192.0.2.10", 0)

    def test_nothing_can_be_sent(self, wires):
        """If nothing can be sent nobody answers, and that is the answer."""
        wires.arp[0].fails = wires.icmp.fails = True
        answers = wires.ask()
        wires.reactor.pump([0.25] * 5)
        assert answers == [False]
        assert wires.idle()

    def test_no_interfaces(self, monkeypatch):
        """A server without interfaces of its own asks by ICMP."""
        wires = Wires(monkeypatch, {})
        answers = wires.ask()
        wires.begin()
        assert [address for _, address in wires.icmp.sent] == [("192.0.2.10", 0)]
        wires.icmp.incoming = [icmp(HERE)]
        wires.reactor.read()
        assert answers == [True]


class TestAnswers:
    """What comes back."""

    def test_silence(self, wires):
        """Nobody answers within PATIENCE: the address is free, and not before."""
        answers = wires.ask()
        wires.reactor.advance(PATIENCE - 0.125)
        assert answers == []
        wires.reactor.advance(0.125)
        assert answers == [False]

    @pytest.mark.parametrize("operation", [1, 2])
    def test_arp(self, wires, operation):
        """Whoever says in ARP that it has the address settles it, asking or answering."""
        answers = wires.ask()
        wires.begin()
        wires.arp[0].incoming = [arp(HERE, operation=operation)]
        wires.reactor.read()
        assert answers == [True]
        assert wires.idle()

    def test_padded_arp(self, wires):
        """Ethernet pads short frames: what is behind the packet does not matter."""
        answers = wires.ask()
        wires.arp[0].incoming = [arp(HERE) + bytes(18)]
        wires.reactor.read()
        assert answers == [True]

    @pytest.mark.parametrize("options", [b"", b"\1" * 4, b"\1" * 40])
    def test_icmp(self, wires, options):
        """An echo reply settles it, also behind IPv4 options."""
        answers = wires.ask(THERE, FAR)
        wires.begin()
        wires.icmp.incoming = [icmp(THERE, options=options)]
        wires.reactor.read()
        assert answers == [True]
        assert wires.idle()

    @pytest.mark.parametrize("kind", [3, 8, 11])
    def test_other_icmp(self, wires, kind):
        """Unreachable, somebody's own request, exceeded: none of them is an answer."""
        answers = wires.ask(THERE, FAR)
        wires.icmp.incoming = [icmp(THERE, kind=kind)]
        wires.reactor.read()
        assert answers == []
        wires.reactor.advance(PATIENCE)
        assert answers == [False]

    def test_somebody_else(self, wires):
        """Answers for other addresses are nobody's business."""
        answers = wires.ask()
        wires.arp[0].incoming = [
            arp(HERE + 1),
            arp(HERE - 1, target="192.0.2.10"),
            arp(0),
        ]
        wires.icmp.incoming = [icmp(HERE + 1)]
        wires.reactor.read()
        assert answers == []
        wires.reactor.advance(PATIENCE)

    def test_cut_off(self, wires):
        """Too short to be read is not read."""
        answers = wires.ask()
        wires.arp[0].incoming = [arp(HERE)[:cut] for cut in range(1, 28)]
        wires.icmp.incoming = [icmp(HERE)[:cut] for cut in range(1, 28)]
        wires.reactor.read()
        assert answers == []
        wires.reactor.advance(PATIENCE)

    def test_many_in_one_turn(self, wires):
        """An answer behind others in the buffer is found."""
        answers = wires.ask()
        wires.arp[0].incoming = [arp(HERE + 1 + n) for n in range(40)] + [arp(HERE)]
        wires.reactor.read()
        assert answers == [True]

    def test_a_turn_ends(self, wires):
        """A flood does not hold up the reactor: the rest waits for the next turn."""
        answers = wires.ask()
        wires.arp[0].incoming = [arp(HERE + 1)] * 200 + [arp(HERE)]
        wires.reactor.read()
        assert answers == []
        assert len(wires.arp[0].incoming) > 100
        for _ in range(4):
            wires.reactor.read()
        assert answers == [True]

    def test_late(self, wires):
        """An answer after PATIENCE changes nothing, and breaks nothing."""
        answers = wires.ask()
        readers = list(wires.reactor.readers)
        wires.reactor.advance(PATIENCE)
        wires.arp[0].incoming = [arp(HERE)]
        for reader in readers:
            reader.doRead()
        assert answers == [False]

    def test_answered_twice(self, wires):
        """Two that have the address answer: the second is too late to matter."""
        answers = wires.ask()
        wires.arp[0].incoming = [arp(HERE), arp(HERE)]
        wires.reactor.read()
        assert answers == [True]

    @UNTIMED
    @given(st.lists(st.binary(max_size=80), max_size=5))
    def test_any_bytes(self, heard):
        """Whatever is heard: no error, and no answer for an address not in it."""
        with pytest.MonkeyPatch.context() as patch:
            wires = Wires(patch)
        answers = wires.ask()
        address = HERE.to_bytes(4, "big")
        wires.arp[0].incoming = list(heard)
        # The kernel hands on whole ICMP headers only.
        wires.icmp.incoming = [icmp(HERE + 1) + each for each in heard]
        wires.reactor.read()
        assert answers == [] or any(address in each for each in heard)
        wires.reactor.advance(PATIENCE)
        assert len(answers) == 1
        assert wires.idle()


class TestShared:
    """Several questions at once."""

    def test_same_address(self, wires):
        """Asked again meanwhile, it shares question and answer."""
        first = wires.ask()
        wires.begin()
        wires.reactor.advance(0.125)
        second = wires.ask()
        wires.begin()
        assert len(wires.arp[0].sent) == 1
        assert len(wires.reactor.readers) == len(wires.sockets)
        wires.arp[0].incoming = [arp(HERE)]
        wires.reactor.read()
        assert first == second == [True]
        assert wires.idle()

    def test_same_silence(self, wires):
        """The second asker waits no longer than the first."""
        first = wires.ask()
        wires.reactor.advance(PATIENCE / 2)
        second = wires.ask()
        wires.reactor.advance(PATIENCE / 2)
        assert first == second == [False]
        assert wires.idle()

    def test_asked_anew(self, wires):
        """An answer is not kept: who asks later asks anew."""
        assert wires.ask() == []
        wires.reactor.advance(PATIENCE)
        sent = len(wires.arp[0].sent)
        answers = wires.ask()
        wires.begin()
        assert len(wires.arp[0].sent) == sent + 1
        wires.arp[0].incoming = [arp(HERE)]
        wires.reactor.read()
        assert answers == [True]

    def test_two_addresses(self, wires):
        """Each address has its own answer; listening ends with the last."""
        one, other = wires.ask(), wires.ask(HERE + 1)
        wires.begin()
        assert len(wires.arp[0].sent) == 2
        wires.arp[0].incoming = [arp(HERE)]
        wires.reactor.read()
        assert (one, other) == ([True], [])
        assert len(wires.reactor.readers) == len(wires.sockets)
        wires.reactor.advance(PATIENCE)
        assert other == [False]
        assert wires.idle()

    def test_asked_from_an_answer(self, wires):
        """Who is told "in use" may ask for the next address at once."""
        answers = []

        def ask_next(used):
            answers.append(used)
            wires.prober.probe(HERE + 1, LAN).addCallback(answers.append)

        wires.prober.probe(HERE, LAN).addCallback(ask_next)
        wires.arp[0].incoming = [arp(HERE)]
        wires.reactor.read()
        assert answers == [True]
        wires.arp[0].incoming = [arp(HERE + 1)]
        wires.reactor.read()
        assert answers == [True, True]
        assert wires.idle()


class TestClose:
    """The end, with questions open."""

    def test_in_use(self, wires):
        """What is still asked is answered "in use": nothing is known of it."""
        answers = [wires.ask(), wires.ask(), wires.ask(THERE, FAR)]
        wires.begin()
        wires.prober.close()
        assert answers == [[True], [True], [True]]

    def test_nothing_is_left(self, wires):
        """No timer and no reader is left behind."""
        wires.ask()
        wires.prober.close()
        assert wires.idle()
        assert all(each.closed for each in wires.sockets)

    def test_closed_from_an_answer(self, wires):
        """Closing from inside an answer stops the reading of that turn."""
        wires.prober.probe(HERE, LAN).addCallback(lambda _: wires.prober.close())
        other = wires.ask(HERE + 1)
        wires.arp[0].incoming = [arp(HERE), arp(HERE + 1)]
        wires.reactor.read()
        assert other == [True]
        assert len(wires.arp[0].incoming) == 1
        assert wires.idle()
