"""Invariant 6: no datagram stops the server, grows it, or writes into its log."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from twisted.logger import globalLogPublisher

from dhcptwist.lease import Silence
from dhcptwist.testing import FakeClient, MemoryServer, ip, network, subnet
from dhcptwist.wire import Message, MessageType, relay as option_82


# Packets that broke other servers; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "hostile.jsonl"

MANY = 10_000
BURST = 100
LARGEST = 65507  # what IPv4 and UDP can carry
RELAY = "127.0.0.2"
US = "127.0.0.1"


def corpus():
    """The packets of the corpus, if it is there."""
    if not CORPUS.exists():
        return []
    lines = CORPUS.read_text("utf-8").splitlines()
    return [bytes.fromhex(json.loads(line)["hex"])[:LARGEST] for line in lines]


def good_packets():
    """What well-behaved clients send, behind a relay and without one."""
    agent = option_82.join({1: b"port 7\x00", 2: b"\x00\x01switch"})
    packets = []
    for number, giaddr in enumerate((RELAY, 0)):
        who = FakeClient(
            f"02:00:00:00:77:0{number}",
            identifier=b"\xff\x00\x00\x00\x01\x00\x02duid",
            options={
                12: b"box",
                55: bytes([1, 3, 6, 15, 42, 119, 121]),
                57: (1400).to_bytes(2, "big"),
                60: b"MSFT 5.0",
                77: b"\x04iPXE",
                81: b"\x00\x00\x00box.example",
                82: agent,
            },
            giaddr=giaddr,
        )
        here = "127.7.0.20"
        packets += [
            who.message(MessageType.DISCOVER, requested=here),
            who.message(MessageType.REQUEST, requested=here, server=US),
            who.message(MessageType.REQUEST, requested=here),
            who.message(MessageType.REQUEST, requested=here, server="192.0.2.9"),
            who.message(MessageType.REQUEST, ciaddr=here),
            who.message(MessageType.RELEASE, ciaddr=here, server=US),
            who.message(MessageType.DECLINE, requested="127.7.0.21", server=US),
            who.message(MessageType.INFORM, ciaddr=here),
            who.message(MessageType.DISCOVER, options={51: b"\xff\xff\xff\xff"}),
            Message.build(chaddr=bytes(5) + b"\x01", giaddr=giaddr, options={}),
        ]
    return [packet.encode() for packet in packets]


def mutated(data, chance):
    """A packet with a few of its bytes, lengths or parts not as they should be."""
    packet = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(packet)) if packet else 0
        match chance.randrange(7):
            case 0:  # another byte anywhere
                packet[at : at + 1] = chance.randbytes(1)
            case 1:  # another client
                packet[28:34] = b"\x02" + chance.randbytes(5)
            case 2:  # an option's code, length or value
                at = chance.randrange(240, max(len(packet), 241))
                packet[at : at + 1] = bytes([chance.choice((0, 1, 52, 82, 127, 255))])
            case 3:  # cut
                del packet[chance.randrange(len(packet) + 1) :]
            case 4:  # something in between
                packet[at:at] = chance.randbytes(chance.randrange(300))
            case 5:  # a piece again
                packet[at:at] = packet[at : at + chance.randrange(60)]
            case 6:  # another option at the end
                size = chance.randrange(256)
                extra = bytes([chance.randrange(256), size]) + chance.randbytes(size)
                end = packet.rfind(b"\xff")
                packet[end if end >= 240 else len(packet) :] = extra + b"\xff"
    return bytes(packet[:LARGEST])


def hostile(seed, count=MANY):
    """So many datagrams: noise, mutated good packets, and what broke others."""
    chance = random.Random(seed)
    good = good_packets()
    known = corpus()
    for number in range(count):
        kind = chance.random()
        if kind < 0.1:
            yield chance.randbytes(chance.choice((0, 1, 236, 240, 300, 576, 1472)))
        elif kind < 0.2:
            # Noise behind a header that is in order.
            yield chance.choice(good)[:240] + chance.randbytes(chance.randrange(400))
        elif kind < 0.4 and known:
            data = known[number % len(known)]
            yield data if number & 1 else mutated(data, chance)
        else:
            yield mutated(chance.choice(good), chance)


class TestInProcess:
    """Without a network, where everything can be seen."""

    @pytest.fixture
    def server(self):
        """A server for clients on the wire and behind the relay."""
        lan = subnet("127.7.0.0/16", "127.7.0.10-127.7.0.250", interface="eth0")
        far = subnet(
            "127.8.0.0/16",
            "127.8.0.10-127.8.0.250",
            name="far",
            relays=frozenset({ip(RELAY)}),
            selectable=True,
        )
        return MemoryServer(network(lan, far), server_id=US)

    def _all(self, server, datagrams):
        count = 0
        for data in datagrams:
            count += 1
            server.now += 0.01
            server.receive(data, RELAY)
        return count

    @pytest.mark.parametrize("seed", range(3))
    def test_each_costs_one_counter(self, server, seed):
        """Every datagram ends in one reply or one reason; none of them is a bug."""
        count = self._all(server, hostile(seed))
        figures = server.counters.figures()
        silent = figures["silent"]
        assert count == MANY
        assert sum(figures["sent"].values()) + sum(silent.values()) == count
        assert sum(figures["received"].values()) + silent["malformed"] == count
        assert len(server.sent) == sum(figures["sent"].values())
        assert not {Silence.BUG.value, Silence.STORAGE_FAILED.value} & set(silent)
        # It has seen something of everything, or this proves little.
        assert len(silent) >= 8
        assert set(figures["sent"]) == {"offer", "ack", "nak"}

    def test_nothing_grows(self, server):
        """What is remembered of strangers has bounds: the pools, and a few tables."""
        self._all(server, hostile(seed=11))
        index = server.storage.index
        pools = sum(each.size for each in server.network.subnets)
        assert len(index.leases) <= pools
        assert len(index.offers) <= pools
        assert len(index.offer_of) == len(index.offers)
        assert len(index.by_hardware) <= pools
        for each in server.network.subnets:
            assert len(index.area(each).clients) <= pools
            assert len(each.option_set._tails) <= each.option_set.REMEMBERED
        assert len(index._ends) <= 2 * pools

    def test_still_serves(self, server):
        """Afterwards a client gets its address as before."""
        who = FakeClient("02:00:00:00:99:01")
        before = server.bind(who).yiaddr
        self._all(server, hostile(seed=12))
        assert server.bind(who).yiaddr == before

    def test_nothing_is_written(self, server):
        """No log line for any of them, and no control character in any name kept."""
        events = []
        globalLogPublisher.addObserver(events.append)
        self._all(server, hostile(seed=13))
        globalLogPublisher.removeObserver(events.append)
        assert events == []
        for lease in server.storage.index.leases.values():
            assert lease.hostname.isprintable()


class TestRealServer:
    """A process with sockets and a disk."""

    @staticmethod
    def _memory(pid):
        """Its resident memory in KiB."""
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    @staticmethod
    def _lost(port):
        """How many datagrams its sockets had no room for."""
        lines = Path("/proc/net/udp").read_text("ascii").splitlines()[1:]
        fields = [line.split() for line in lines]
        server = {f"{address}:{port:04X}" for address in ("00000000", "0100007F")}
        drops = [int(each[-1]) for each in fields if each[1] in server]
        assert len(drops) == len(server)
        return sum(drops)

    @staticmethod
    def _send(relay, who, datagrams):
        """Send it all; after each burst wait until the server has come so far."""
        sent = 0
        address = relay.bind(who).raw[16:20]
        for data in datagrams:
            relay.send(data)
            sent += 1
            if sent % BURST == 0:
                # Its answer comes behind all the others: they are read in order.
                asks = who.message(MessageType.REQUEST, options={50: address})
                ack = relay.ask(asks)
                assert (ack.type, ack.raw[16:20]) == (MessageType.ACK, address)
        return sent

    @pytest.mark.timeout(180)
    def test_survives(self, make_site):
        """It answers, is as large as before, and has nothing to say about it."""
        site = make_site()
        site.start()
        relay, who = site.relay(), site.client(0x990001)
        self._send(relay, who, hostile(seed=21))
        before = self._memory(site.pid)
        lines = site.log.count("\n")
        assert self._send(relay, who, hostile(seed=22)) == MANY
        assert self._lost(site.port) == 0
        assert self._memory(site.pid) - before < 8 * 1024
        assert "Traceback" not in site.log
        assert site.log.count("\n") - lines < 5, site.log
        assert site.log.isascii()
        assert all(line.isprintable() for line in site.log.splitlines())
        assert relay.bind(who).type == MessageType.ACK
        assert relay.bind(site.client(0x990002)).type == MessageType.ACK
        site.stop()
        assert "Traceback" not in site.log
