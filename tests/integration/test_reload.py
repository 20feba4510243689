"""Another configuration while real clients have leases."""

from __future__ import annotations

import pytest
from lab.capture import Capture
from lab.clients import Client, Dhclient, Dhcpcd, Udhcpc
from lab.hosts import Lan, wait_until
from lab.server import Refused, Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("dhclient", "busybox", "dhcpcd", "tcpdump", "tshark", "arping")

# Two pools of one subnet which have nothing in common.
OLD = "192.168.100.10 - 192.168.100.20"
NEW = "192.168.100.110 - 192.168.100.120"


@pytest.fixture(params=[Dhclient, Udhcpc, Dhcpcd], ids=lambda it: it.__name__.lower())
def program(request: pytest.FixtureRequest) -> type[Client]:
    """Each client program in turn."""
    return request.param


def test_lease_stays(lan: Lan, server: Server, program: type[Client]) -> None:
    """A client renews what it has, and is told what holds by now."""
    seconds = 60 if program.obeys else 8
    server.start(subnet(pools=OLD, lease_time=f"{seconds}s"))
    computer = lan.computer()
    client = program(computer)
    before = client.start()
    wait_until(lambda: computer.addresses("c0") == [before.address], "the address")
    wide = OLD.replace("100.20", "100.30")
    server.reload(subnet(pools=wide, lease_time=f"{2 * seconds}s"))
    capture = Capture(computer, "c0")

    after = client.renew()

    assert (after.address, after.seconds) == (before.address, 2 * seconds)
    assert [it.type for it in capture.packets()][:2] == ["REQUEST", "ACK"]


def test_pool_moves(lan: Lan, server: Server, program: type[Client]) -> None:
    """A client is sent from a pool that goes to one that comes, without going in circles."""
    server.start(subnet(pools=OLD, lease_time="10s"))
    computer = lan.computer()
    client = program(computer)
    before = client.start().address
    wait_until(lambda: computer.addresses("c0") == [before], "the address")
    capture = Capture(computer, "c0")
    plan = server.reload(subnet(pools=NEW, lease_time="10s"))

    after = (client.renew() if client.hears_nak else client.wait()).address

    assert [each["address"] for each in plan["stranded"]["named"]] == [before]
    assert after.startswith("192.168.100.11")
    wait_until(lambda: computer.addresses("c0") == [after], "the new address")
    told = [it.type for it in capture.packets()]
    assert told[-4:] == ["DISCOVER", "OFFER", "REQUEST", "ACK"]


def test_reservation_comes(lan: Lan, server: Server) -> None:
    """A client is sent to the address that the file reserves for it now, by SIGHUP."""
    section = subnet(pools=OLD, lease_time="10s")
    server.start(section)
    computer = lan.computer()
    client = Udhcpc(computer)
    before = client.start().address
    wait_until(lambda: computer.addresses("c0") == [before], "the address")
    server.hang_up(
        section,
        f"[reservation it]\nhardware = {client.hardware}\naddress = 192.168.100.99\n",
    )
    wait_until(
        lambda: computer.addresses("c0") == ["192.168.100.99"], "the new address"
    )


def test_mistakes(lan: Lan, server: Server) -> None:
    """A file with mistakes changes nothing for anybody."""
    server.start(subnet(pools=OLD))
    client = Udhcpc(lan.computer())
    before = client.start()
    wait_until(lambda: client.host.addresses("c0") == [before.address], "the address")
    with pytest.raises(Refused, match="InvalidConfiguration"):
        server.reload(subnet(pools="192.168.100.110 - 192.168.1.1"))
    assert client.renew() == before
    assert Udhcpc(lan.computer()).start().address.startswith("192.168.100.1")


def test_network_moves(lan: Lan, server: Server) -> None:
    """Clients are answered by the address that is in their network by now."""
    lan.server.ip("addr", "add", "10.77.0.1/24", "dev", "s0")
    server.start(subnet(pools=OLD))
    assert Dhclient(lan.computer()).start().server == "192.168.100.1"
    pool = "10.77.0.10 - 10.77.0.20"
    server.reload(subnet(network="10.77.0.0/24", pools=pool, router="10.77.0.1"))
    computer = lan.computer()
    client = Dhclient(computer)
    capture = Capture(computer, "c0")

    lease = client.start()

    assert (lease.address, lease.server) == ("10.77.0.10", "10.77.0.1")
    # Also in the frames that go to clients without an address.
    assert {it.source for it in capture.packets("OFFER", "ACK")} == {"10.77.0.1"}
