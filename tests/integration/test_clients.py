"""A client's whole life, told by dhclient, udhcpc and dhcpcd themselves."""

from __future__ import annotations

import ipaddress

import pytest
from lab.capture import Capture
from lab.clients import Client, Dhclient, Dhcpcd, Udhcpc
from lab.hosts import Lan, wait_until
from lab.server import Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("dhclient", "busybox", "dhcpcd", "tcpdump", "tshark", "arping")

# Two pools of one subnet which have nothing in common.
OLD = "192.168.100.10 - 192.168.100.20"
NEW = "192.168.100.110 - 192.168.100.120"


@pytest.fixture(params=[Dhclient, Udhcpc, Dhcpcd], ids=lambda it: it.__name__.lower())
def program(request: pytest.FixtureRequest) -> type[Client]:
    """Each client program in turn."""
    return request.param


def within(address: str, pool: str) -> bool:
    """Tell whether an address is in a pool, written as in the ini file."""
    first, last = map(ipaddress.ip_address, pool.split(" - "))
    return first <= ipaddress.ip_address(address) <= last


def test_lease(lan: Lan, server: Server, program: type[Client]) -> None:
    """A new client gets an address and all that was set for it (RFC 2131 3.1)."""
    server.start(subnet(pools=OLD, lease_time="5m"))
    computer = lan.computer()
    client = program(computer)
    capture = Capture(computer, "c0")

    lease = client.start()

    assert within(lease.address, OLD)
    assert lease.mask == "255.255.255.0"
    assert lease.routers == ("192.168.100.1",)
    assert lease.name_servers == ("192.168.100.1", "192.0.2.53")
    assert lease.server == "192.168.100.1"
    assert lease.seconds == 300
    wait_until(lambda: computer.addresses("c0") == [lease.address], "the address")
    assert server.leases("bound")[lease.address]["hardware"] == client.hardware
    # One answer to each question, and no question asked twice.
    assert capture.types() == ["DISCOVER", "OFFER", "REQUEST", "ACK"]


def test_renew(lan: Lan, server: Server, program: type[Client]) -> None:
    """A renewal goes by unicast, and extends the same lease (RFC 2131 4.4.5)."""
    server.start(subnet(pools=OLD, lease_time="60s" if program.obeys else "8s"))
    computer = lan.computer()
    client = program(computer)
    first = client.start()
    wait_until(lambda: computer.addresses("c0") == [first.address], "the address")
    capture = Capture(computer, "c0")

    again = client.renew()

    assert again == first
    request, ack = capture.packets()[:2]
    assert (request.type, ack.type) == ("REQUEST", "ACK")
    assert (request.source, request.destination) == (first.address, "192.168.100.1")
    assert (request.ciaddr, request.requested) == (first.address, "")
    assert (ack.source, ack.destination) == ("192.168.100.1", first.address)
    assert ack.yiaddr == first.address


@pytest.mark.parametrize("ending", ["stop", "crash"])
def test_server_comes_back(
    lan: Lan, server: Server, program: type[Client], ending: str
) -> None:
    """What was acknowledged is on disk, however the server ends (RFC 2131 3.1)."""
    section = subnet(pools=OLD)
    server.start(section)
    client = program(lan.computer())
    other = Udhcpc(lan.computer())
    before = client.start()
    taken = other.start().address
    client.stop()

    getattr(server, ending)()
    server.start(section)

    assert client.start(requested=before.address).address == before.address
    assert other.renew().address == taken
    assert sorted(server.leases("bound")) == sorted([before.address, taken])


def test_client_reboots(lan: Lan, server: Server, program: type[Client]) -> None:
    """A client that comes back gets the address it had (RFC 2131 3.2 and 4.3.1).

    One that remembers does not DISCOVER: in INIT-REBOOT it asks at once.  One that
    does not remember may wish for an address, and gets it for it is its own.
    """
    server.start(subnet(pools=OLD))
    computer = lan.computer()
    client = program(computer)
    # Somebody else has the address that would come first.
    Udhcpc(lan.computer()).start()
    before = client.start()
    client.stop()
    capture = Capture(computer, "c0")

    after = client.start(requested="" if client.remembers else before.address)

    assert after.address == before.address
    if client.remembers:
        assert capture.types() == ["REQUEST", "ACK"]
        request = capture.packets("REQUEST")[0]
        assert (request.ciaddr, request.server_id) == ("0.0.0.0", "")
    else:
        assert capture.types() == ["DISCOVER", "OFFER", "REQUEST", "ACK"]
        request = capture.packets("DISCOVER")[0]
    assert request.requested == before.address


def test_release(lan: Lan, server: Server, program: type[Client]) -> None:
    """A released address is free, and yet kept for who had it (RFC 2131 4.3.1, 4.3.4).

    A stranger gets another one, as long as there is one that nobody has had.
    """
    server.start(subnet(pools=OLD))
    client = program(lan.computer())
    address = client.start().address

    client.release()
    wait_until(lambda: server.state_of(address) == "released", "the release")

    assert Udhcpc(lan.computer()).start().address != address
    assert client.start().address == address


def test_address_is_no_longer_valid(
    lan: Lan, server: Server, program: type[Client]
) -> None:
    """A client that comes back with an address of a pool that is gone moves (4.3.2)."""
    server.start(subnet(pools=OLD))
    computer = lan.computer()
    client = program(computer)
    before = client.start().address
    client.stop()
    server.restart(subnet(pools=NEW))
    capture = Capture(computer, "c0")

    after = client.start(requested=before).address

    assert within(before, OLD)
    assert within(after, NEW)
    if client.remembers:
        (nak,) = capture.packets("NAK")
        assert nak.destination == "255.255.255.255"
        assert nak.server_id == "192.168.100.1"
        assert (nak.ciaddr, nak.yiaddr) == ("0.0.0.0", "0.0.0.0")


def test_network_is_another(lan: Lan, server: Server) -> None:
    """In INIT-REBOOT on a wrong network a client MUST be told so (RFC 2131 4.3.2)."""
    server.start(subnet(pools=OLD))
    client = Dhclient(lan.computer())
    before = client.start().address
    client.stop()
    server.stop()
    lan.server.ip("addr", "flush", "dev", "s0")
    lan.server.ip("addr", "add", "10.77.0.1/24", "dev", "s0")
    pool = "10.77.0.10 - 10.77.0.20"
    server.start(subnet(network="10.77.0.0/24", pools=pool, router="10.77.0.1"))
    capture = Capture(client.host, "c0")

    lease = client.start()

    assert within(before, OLD)
    assert within(lease.address, pool)
    assert capture.types() == ["REQUEST", "NAK", "DISCOVER", "OFFER", "REQUEST", "ACK"]


def test_renewal_is_refused(lan: Lan, server: Server, program: type[Client]) -> None:
    """A NAK moves a client that runs, and that had no reason to doubt (4.4.5).

    Its next DISCOVER is served at once: it does not go in circles.
    """
    section = subnet(pools=OLD, lease_time="10s")
    server.start(section)
    computer = lan.computer()
    client = program(computer)
    before = client.start().address
    wait_until(lambda: computer.addresses("c0") == [before], "the address")
    capture = Capture(computer, "c0")
    server.restart(subnet(pools=NEW, lease_time="10s"))

    after = (client.renew() if client.hears_nak else client.wait()).address

    assert within(after, NEW)
    wait_until(lambda: computer.addresses("c0") == [after], "the new address")
    told = capture.packets()
    assert [it.type for it in told][-4:] == ["DISCOVER", "OFFER", "REQUEST", "ACK"]
    naks = [it for it in told if it.type == "NAK"]
    assert {it.destination for it in naks} == {"255.255.255.255"}
    assert len(naks) == 1 or not client.hears_nak


def test_decline(lan: Lan, server: Server, program: type[Client]) -> None:
    """An address that somebody uses already is given to nobody (RFC 2131 3.1, 4.3.3).

    The client comes back to an address which a machine has taken meanwhile that
    never asked for one; it finds that out by ARP (RFC 5227), and declines.
    """
    server.start(subnet(pools=OLD))
    computer = lan.computer()
    client = program(computer, checks=True)
    taken = client.start().address
    client.stop()
    lan.squatter(taken)
    capture = Capture(computer, "c0")

    client.begin(requested=taken)
    # Clients wait for ten seconds and more before they ask again (3.1, step 5).
    moved = client.wait(patience=40).address

    assert moved != taken
    assert within(moved, OLD)
    (decline,) = capture.packets("DECLINE")
    assert decline.requested == taken
    assert server.state_of(taken) == "declined"
    assert Udhcpc(lan.computer()).start(requested=taken).address not in {taken, moved}
