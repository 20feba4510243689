"""Many clients at once, by perfdhcp: no address goes to two, and few must ask twice."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict

import pytest
from lab.capture import Capture, Packet
from lab.clients import Udhcpc
from lab.hosts import Host, Lan
from lab.server import Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("busybox", "perfdhcp", "tcpdump", "tshark")

CROWD = 500


def perfdhcp(host: Host, *arguments: str) -> tuple[int, str]:
    """Be many clients behind one relay, and give the exit status and the statistics.

    perfdhcp takes the part of a relay: its own address is the giaddr.
    """
    done = subprocess.run(
        host.inside("perfdhcp", "-4", "-B", "-l", "c0", *arguments),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def clients_by_address(packets: list[Packet]) -> dict[str, set[str]]:
    """Tell to whom each address was acknowledged, by hardware address."""
    clients = defaultdict(set)
    for packet in packets:
        clients[packet.yiaddr].add(packet.hardware)
    return dict(clients)


def test_crowd_at_once(lan: Lan, server: Server) -> None:
    """Power comes back, and 500 machines ask in the same second: each has its own."""
    lan.server.ip("addr", "add", "10.1.0.1/16", "dev", "s0")
    crowd = lan.computer()
    crowd.ip("addr", "add", "10.1.0.2/16", "dev", "c0")
    server.start(
        subnet(network="10.1.0.0/16", pools="10.1.4.0 - 10.1.6.255", router="10.1.0.1")
    )
    capture = Capture(crowd, "c0")

    status, told = perfdhcp(crowd, "--scenario", "avalanche", "-R", str(CROWD))

    assert status == 0, told
    # Of both exchanges: the OFFERs, and the ACKs.
    assert (
        re.findall(r"^(?:sent|received) packets: (\d+)", told, re.MULTILINE)
        == ["500"] * 4
    )
    assert re.findall(r"^drops: (\d+)", told, re.MULTILINE) == ["0", "0"], told
    acknowledged = clients_by_address(capture.packets("ACK"))
    assert len(acknowledged) == CROWD
    assert {len(clients) for clients in acknowledged.values()} == {1}
    bound = server.leases("bound")
    assert {address: {lease["hardware"]} for address, lease in bound.items()} == (
        acknowledged
    )


def test_steady_stream(lan: Lan, server: Server) -> None:
    """250 new clients in a second are served without a drop worth mentioning."""
    lan.server.ip("addr", "add", "10.1.0.1/16", "dev", "s0")
    crowd = lan.computer()
    crowd.ip("addr", "add", "10.1.0.2/16", "dev", "c0")
    server.start(
        subnet(network="10.1.0.0/16", pools="10.1.4.0 - 10.1.6.255", router="10.1.0.1")
    )

    _, told = perfdhcp(
        crowd, "-r", "250", "-R", str(CROWD), "-n", str(CROWD), "-W", "2"
    )

    drops = [int(number) for number in re.findall(r"^drops: (\d+)", told, re.MULTILINE)]
    assert len(drops) == 2, told
    assert sum(drops) <= CROWD // 100, told
    assert len(server.leases("bound")) >= CROWD - sum(drops)


def test_more_clients_than_addresses(lan: Lan, server: Server) -> None:
    """When the pool is exhausted, what is reserved in it stays reserved."""
    crowd = lan.computer()
    crowd.ip("addr", "add", "192.168.100.2/24", "dev", "c0")
    server.start(subnet(pools="192.168.100.10 - 192.168.100.19"))
    owner = Udhcpc(lan.computer())
    reserved = "192.168.100.15"
    assert server.reserve(reserved, owner.hardware)["verdict"] == "applied"
    capture = Capture(crowd, "c0")

    _, told = perfdhcp(crowd, "-r", "30", "-R", "30", "-n", "60", "-W", "1")

    given = clients_by_address(capture.packets("OFFER", "ACK"))
    assert len(given) == 9, told
    assert reserved not in given
    assert {len(clients) for clients in given.values()} == {1}
    assert owner.start().address == reserved
    assert len(server.leases("bound")) == 10
