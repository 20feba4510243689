"""Clients that change servers: from dhcpd, Kea and dnsmasq to ours, by their lease files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from lab.capture import Capture
from lab.clients import Udhcpc
from lab.hosts import Host, Lan
from lab.others import POOL, US, Dhcpd, Dnsmasq, Kea, OtherServer
from lab.server import Refused, Server, subnet
from lab.stage import Relay, socket_on

from dhcptwist.testing import FakeClient
from dhcptwist.wire import Message, MessageType


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("busybox", "dhcpd", "dnsmasq", "kea-dhcp4", "ss", "tcpdump", "tshark")

SECTION = subnet(pools=" - ".join(POOL), lease_time="1h")
RELAY = "192.168.100.2"
DUID = bytes.fromhex("ff000000010001000102030405060708090a0b0c")


@pytest.fixture(params=[Dhcpd, Kea, Dnsmasq], ids=lambda it: it.kind)
def other(lan: Lan, request: pytest.FixtureRequest) -> OtherServer:
    """Each of the other servers in turn, serving."""
    other: OtherServer = request.param(lan.server)
    other.start()
    return other


class Neighbour(Relay):
    """A relay on the clients' own wire, with a few clients of whom a test knows more."""

    def __init__(self, host: Host) -> None:
        self.socket = socket_on(host)
        self.socket.bind((RELAY, 67))

    def send(self, message: Message) -> None:
        """Forward a message to the server."""
        self.socket.sendto(message.encode(), (US, 67))


@pytest.fixture
def relay(lan: Lan) -> Iterator[Neighbour]:
    """A relay."""
    host = lan.computer()
    host.ip("addr", "add", f"{RELAY}/24", "dev", "c0")
    relay = Neighbour(host)
    yield relay
    relay.socket.close()


def take_over(server: Server, other: OtherServer) -> dict[str, int]:
    """Do as docs/moving.md says, and give the report.

    Nobody is served before the leases are there.
    """
    server._interfaces = "lo\nport = 6767"  # the other one has port 67
    server.start(SECTION)
    file = str(other.leases)
    foretold = server.ask("leases", "import", file, "--dry-run")
    assert server.leases() == {}
    other.stop()
    report = server.ask("leases", "import", file)
    assert report["taken"] == foretold["taken"]
    assert report["format"] == other.kind
    server._interfaces = "s0"
    server.restart(SECTION)
    return report


def test_a_client_renews(lan: Lan, server: Server, other: OtherServer) -> None:
    """A real client renews at our server what the other one gave it (RFC 2131 4.4.5)."""
    client = Udhcpc(lan.computer())
    before = client.start().address
    other.wait_for(before)

    report = take_over(server, other)
    capture = Capture(client.host, "c0")
    after = client.renew()

    assert (report["taken"], report["conflicts"], report["unreadable"]) == (1, 0, 0)
    assert (after.address, after.seconds, after.server) == (before, 3600, US)
    assert capture.types(client.hardware) == ["REQUEST", "ACK"]
    assert Udhcpc(lan.computer()).start(requested=before).address != before
    assert server.leases("bound")[before]["hardware"] == client.hardware
    kinds = [event["kind"] for event in server.ask("history", before)]
    assert kinds == ["imported", "renewed"]


def test_everybody(server: Server, other: OtherServer, relay: Neighbour) -> None:
    """Every kind of client is the same one to us, and has the same address.

    With identifiers of each kind, hardware of several, at ports that option 82 names;
    and what was released is free, what was declined rests.
    """
    clients = [
        FakeClient("02:00:00:00:01:01"),
        FakeClient("02:00:00:00:01:02", b"\1\2\0\0\0\1\2"),
        FakeClient("02:00:00:00:01:03", DUID),
        FakeClient("02:00:00:00:01:04", b'\0he said "hi"\\;{}#,\xff'),
        FakeClient("02:00:00:00:01:05", options={12: b"lap-top"}),
        FakeClient("02:00:00:00:01:06", options={12: b'a,b "q" \\ \xe4{}; #x&#x2c'}),
        FakeClient("02:00:00:00:01:07", options={82: b"\1\4\0\1\2\3\2\5eth,0"}),
        FakeClient("32/00:00", b"\xff\0\0\0\1\0\3\0\1abcdef", chaddr=b""),
    ]
    if other.kind != "kea":  # which forgets what is not Ethernet
        clients.append(FakeClient("6/02:00:00:00:01:09"))
    given = {}
    for who in clients:
        who.fields["giaddr"] = RELAY
        given[who] = relay.bind(who).yiaddr
    gone = [FakeClient(f"02:00:00:00:02:0{n}", giaddr=RELAY) for n in range(2)]
    left = [relay.bind(who) for who in gone]
    relay.send(
        gone[0].message(
            MessageType.RELEASE,
            ciaddr=left[0].yiaddr,
            options={54: left[0].options[54]},
        )
    )
    relay.send(
        gone[1].message(
            MessageType.DECLINE,
            options={54: left[1].options[54], 50: left[1].raw[16:20]},
        )
    )
    last = relay.bind(FakeClient("02:00:00:00:03:01", giaddr=RELAY)).yiaddr
    other.wait_for(str(IPv4Address(last)))

    report = take_over(server, other)

    known = {"dhcpd": 2, "kea": 1, "dnsmasq": 0}[other.kind]
    assert report["taken"] == len(clients) + 1 + known
    assert (report["conflicts"], report["unreadable"]) == (0, 0)
    for who, address in given.items():
        ack = relay.ask(who.message(MessageType.REQUEST, ciaddr=address))
        assert ack is not None, who.hardware
        assert (ack.type, ack.yiaddr) == (MessageType.ACK, address), who.hardware
    leases = server.leases()
    named = leases[str(IPv4Address(given[clients[4]]))]
    assert named["hostname"] == "lap-top"
    state = leases.get(str(IPv4Address(left[1].yiaddr)), {}).get("state", "")
    assert state == ("" if other.kind == "dnsmasq" else "declined")
    if other.kind == "dhcpd":
        back = relay.ask(gone[0].message(MessageType.DISCOVER))
        assert back is not None
        assert back.yiaddr == left[0].yiaddr


def test_somebody_was_faster(lan: Lan, server: Server, other: OtherServer) -> None:
    """What conflicts is told with its line, and no address is given to two."""
    first, second = Udhcpc(lan.computer()), Udhcpc(lan.computer())
    before = first.start().address
    other.wait_for(before)
    other.stop()
    server.start(subnet(pools=f"{before} - {before}"))
    assert second.start().address == before

    with pytest.raises(Refused) as refused:
        server.ask("leases", "import", str(other.leases))

    report = json.loads(str(refused.value).rpartition("}")[0] + "}")
    (problem,) = report["problems"]
    assert (problem["address"], problem["client"]) == (before, first.hardware)
    assert problem["reason"].startswith(f"is bound to {second.hardware}")
    lines = other.leases.read_text("utf-8").splitlines()
    assert before in lines[problem["line"] - 1]
    assert server.leases("bound")[before]["hardware"] == second.hardware
