"""Clients behind a relay that says where it is (RFC 3046): ISC dhcrelay, and our own.

Ours is the example of the documentation, `docs/examples/relay.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.capture import Capture
from lab.clients import Dhclient, Udhcpc
from lab.hosts import Host, Lab, wait_until
from lab.server import ENVIRONMENT, Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("dhclient", "busybox", "dhcrelay", "tcpdump", "tshark")

FAR = {
    "name": "far",
    "network": "192.168.50.0/24",
    "pools": "192.168.50.10 - 192.168.50.20",
    "router": "192.168.50.1",
}

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "relay.py"

# What `dhcrelay -a`, and the example, put into option 82: the name of the client's interface.
CIRCUIT = b"r1".hex()


class Relayed:
    """Two wires with a router between them, which relays DHCP."""

    def __init__(self, lab: Lab, relay: str) -> None:
        self.server = lab.host("server")
        self.router = lab.host("router")
        self.client = lab.host("far")
        lab.wire(self.server, "s0", self.router, "r0")
        lab.wire(self.router, "r1", self.client, "c0")
        self.server.ip("addr", "add", "192.168.200.1/30", "dev", "s0")
        self.router.ip("addr", "add", "192.168.200.2/30", "dev", "r0")
        self.router.ip("addr", "add", "192.168.50.1/24", "dev", "r1")
        self.server.ip("route", "add", "192.168.50.0/24", "via", "192.168.200.2")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        said = self.router.directory / "relay.txt"
        commands = {
            "dhcrelay": (
                *("dhcrelay", "-4", "-d", "-a", "--no-pid"),
                *("-id", "r1", "-iu", "r0", "192.168.200.1"),
            ),
            "example": (
                *(sys.executable, str(EXAMPLE)),
                *("r1", "192.168.50.1", "192.168.200.1"),
            ),
        }
        self.router.start(*commands[relay], output=said, env=ENVIRONMENT)
        listening = "192.168.50.1:67" if relay == "example" else "0.0.0.0:67"
        wait_until(
            lambda: listening in self.router.run("ss", "-Hlun"), f"{relay} to listen"
        )


@pytest.fixture(params=["dhcrelay", "example"])
def relayed(lab: Lab, request: pytest.FixtureRequest) -> Relayed:
    """A client's wire, a relay, a server's wire."""
    return Relayed(lab, request.param)


@pytest.fixture
def server(relayed: Relayed) -> Iterator[Server]:
    """The server beyond the relay."""
    server = Server(relayed.server)
    yield server
    server.stop()
    assert "Traceback" not in server.log, server.log


def on_wire(host: Host) -> Capture:
    """Listen between relay and server."""
    return Capture(host, "s0")


def test_lease_behind_a_relay(relayed: Relayed, server: Server) -> None:
    """The relay's address chooses the subnet, and gets the answer (RFC 2131 4.1, 4.3.1).

    Option 82 comes back in every reply as it went (RFC 3046 2.2): by it the relay
    finds the client's port.
    """
    server.start(subnet(**FAR))
    client = Udhcpc(relayed.client)
    capture = on_wire(relayed.server)

    lease = client.start()

    assert lease.address.startswith("192.168.50.")
    assert lease.routers == ("192.168.50.1",)
    assert lease.server == "192.168.200.1"
    offer, ack = capture.packets("OFFER", "ACK")
    for reply in (offer, ack):
        assert reply.giaddr == "192.168.50.1"
        assert (reply.destination, reply.port) == ("192.168.50.1", "67")
        assert reply.circuit_id == CIRCUIT
    assert list(server.leases("bound")) == [lease.address]


def test_renewal_goes_past_the_relay(relayed: Relayed, server: Server) -> None:
    """A renewal is unicast through the router, and names no relay (RFC 2131 4.3.2).

    The subnet follows from ciaddr then: the server has no interface in it.  dhcrelay
    hears what goes through its machine, and relays it a second time; the answer to
    that copy is its own affair.
    """
    server.start(subnet(**FAR))
    client = Udhcpc(relayed.client)
    lease = client.start()
    wait_until(lambda: lease.address in relayed.client.addresses("c0"), "the address")
    capture = on_wire(relayed.server)

    again = client.renew()

    assert again == lease
    request, ack = (it for it in capture.packets() if it.giaddr == "0.0.0.0")
    assert (request.type, ack.type) == ("REQUEST", "ACK")
    assert (request.source, request.giaddr) == (lease.address, "0.0.0.0")
    assert request.circuit_id == ""
    assert (ack.destination, ack.port) == (lease.address, "68")


def test_nak_through_a_relay(relayed: Relayed, server: Server) -> None:
    """A NAK goes to the relay, to be broadcast beyond it (RFC 2131 4.3.2).

    It carries option 82 too, or the relay would not know where to.
    """
    server.start(subnet(**FAR))
    client = Dhclient(relayed.client)
    before = client.start().address
    client.stop()
    server.restart(subnet(**FAR | {"pools": "192.168.50.110 - 192.168.50.120"}))
    capture = on_wire(relayed.server)

    after = client.start().address

    assert after != before
    (nak,) = capture.packets("NAK")
    assert (nak.destination, nak.port) == ("192.168.50.1", "67")
    assert nak.giaddr == "192.168.50.1"
    assert nak.broadcast == "1"
    assert nak.circuit_id == CIRCUIT


def test_reservation_by_circuit(relayed: Relayed, server: Server) -> None:
    """An address belongs to a port: whoever is plugged in there gets it (RFC 3046).

    It stays after a renewal, which comes without option 82: the server remembers.
    """
    server.start(subnet(**FAR))
    address = "192.168.50.77"
    verdict = server.ask("reserve", address, "--circuit-id", "r1")
    assert verdict["verdict"] == "applied"
    client = Udhcpc(relayed.client)

    assert client.start().address == address
    wait_until(lambda: address in relayed.client.addresses("c0"), "the address")
    assert client.renew().address == address
