"""How an answer reaches a client that has no address yet (RFC 2131 4.1).

Such a client answers no ARP, so the kernel cannot send to it: the server makes the
frame itself, with checksums that clients on raw sockets verify.
"""

from __future__ import annotations

import pytest
from lab.capture import GOOD_CHECKSUM, Capture, Packet
from lab.clients import BroadcastUdhcpc, Client, Dhclient, Dhcpcd, Udhcpc
from lab.hosts import Lan
from lab.server import Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NEEDS = ("dhclient", "busybox", "dhcpcd", "tcpdump", "tshark")


def name(program: type[Client]) -> str:
    """Name a test after its client."""
    return program.__name__.lower()


def answers(lan: Lan, server: Server, client: Client) -> list[Packet]:
    """Have a client get its lease, and give the OFFER and the ACK as it saw them."""
    server.start(subnet())
    capture = Capture(client.host, "c0")
    client.start()
    offer, ack = capture.packets("OFFER", "ACK")
    assert (offer.type, ack.type) == ("OFFER", "ACK")
    for reply in (offer, ack):
        assert reply.ethernet_source == lan.server.hardware["s0"]
        assert reply.source == reply.server_id == "192.168.100.1"
        assert (reply.source_port, reply.port) == ("67", "68")  # TRAPS 22: iPXE looks
        assert reply.ip_checksum == GOOD_CHECKSUM
        assert reply.udp_checksum == GOOD_CHECKSUM
    return [offer, ack]


@pytest.mark.parametrize("program", [Dhclient, Udhcpc, Dhcpcd], ids=name)
def test_unicast(lan: Lan, server: Server, program: type[Client]) -> None:
    """Without the broadcast flag: to the client's own hardware address and yiaddr."""
    client = program(lan.computer())
    for reply in answers(lan, server, client):
        assert reply.broadcast == "0"
        assert reply.ethernet_destination == client.hardware
        assert reply.destination == reply.yiaddr


def test_broadcast(lan: Lan, server: Server) -> None:
    """With the flag: to everyone, for the client cannot hear anything else yet."""
    client = BroadcastUdhcpc(lan.computer())
    for reply in answers(lan, server, client):
        assert reply.broadcast == "1"  # the flags come back as they went (table 3)
        assert reply.ethernet_destination == "ff:ff:ff:ff:ff:ff"
        assert reply.destination == "255.255.255.255"
