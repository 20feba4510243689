"""Verdicts under pressure: a full pool, everybody at once, a crash, an exchange.

`test_reservations.py` shows each row of the verdict table on a calm day; here is what
holder and owner of a reserved address see on the others.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable
from time import time

import pytest
from lab.capture import Capture, Packet
from lab.clients import Client, Dhclient, Dhcpcd, Udhcpc
from lab.hosts import Host, Lab, Lan, wait_until
from lab.server import ENVIRONMENT, Refused, Server, subnet

from dhcptwist.control import blocking


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("dhclient", "dhcpcd", "busybox", "tcpdump", "tshark")

NET = "192.168.100."

# What a client that is told to move says and hears, and nothing in between.
MOVED = ["REQUEST", "NAK", "DISCOVER", "OFFER", "REQUEST", "ACK"]

# A program that has a reservation for as long as it lives.
PUSHER = """
import sys, time
from dhcptwist.control import blocking
with blocking.connect(sys.argv[1]) as client:
    made = client.reserve(sys.argv[2], hardware=sys.argv[3], while_connected=True)
    print(made.outcome, flush=True)
    time.sleep(600)
"""


def pool(*, ends: int, lease_time: str = "60s") -> str:
    """Write a subnet with the addresses from .10 on."""
    return subnet(pools=f"{NET}10 - {NET}{ends}", lease_time=lease_time)


def bound(client: Client) -> str:
    """Start a client, and give its address once it uses it."""
    address = client.start().address
    wait_until(lambda: client.host.addresses("c0") == [address], "the address")
    return address


def rebooted(client: Client) -> str:
    """Let a client that remembers ask for what it had, and give what it gets."""
    client.stop()
    return bound(client)


def pushed(server: Server) -> blocking.BlockingClient:
    """Connect as a program would: at once, where dhcpctl has to start first."""
    return blocking.connect(f"unix:{server.state / 'control.sock'}")


def see_nobody_twice(packets: Iterable[Packet]) -> None:
    """See that no address was given while somebody else had it, as the wire tells."""
    holders: dict[str, str] = {}
    for each in packets:
        if each.type in {"ACK", "NAK", "RELEASE"}:
            for address in [a for a, who in holders.items() if who == each.hardware]:
                del holders[address]
        if each.type == "ACK":
            other = holders.setdefault(each.yiaddr, each.hardware)
            assert other == each.hardware, f"{each.yiaddr} has two: {holders}, {each}"


# --- the pool is full -----------------------------------------------------------------


def full(
    lan: Lan, server: Server, program: type[Client] = Dhclient
) -> tuple[Client, Client, Client, str]:
    """A pool of two: a holder, another, and an owner for whom there is nothing left."""
    server.start(pool(ends=11))
    holder, other = program(lan.computer()), Dhclient(lan.computer())
    address = bound(holder)
    bound(other)
    return holder, other, Udhcpc(lan.computer()), address


def test_full_and_wait(lan: Lan, server: Server) -> None:
    """`wait` in a full pool: the owner has nothing until the holder's lease ends."""
    holder, _, owner, address = full(lan, server)

    verdict = server.reserve(address, owner.hardware, "wait")
    owner.begin()
    owner.wait_for_call("leasefail")
    ends = server.leases()[address]["expires"]

    assert verdict["verdict"] == "waiting"
    assert rebooted(holder) == address
    assert server.leases()[address]["expires"] == ends
    holder.release()
    assert owner.wait().address == address


def test_full_and_move(lan: Lan, server: Server) -> None:
    """`move` in a full pool: nobody is sent away until there is a place to go to."""
    holder, other, owner, address = full(lan, server)
    capture = Capture(lan.server, "s0")

    verdict = server.reserve(address, owner.hardware, "move")
    owner.begin()
    owner.wait_for_call("leasefail")

    assert verdict["verdict"] == "waiting"
    assert rebooted(holder) == address
    assert not capture.packets("NAK")
    owner.stop()  # or it would take the place that becomes free
    other.release()
    assert rebooted(holder) != address
    assert owner.start().address == address
    assert len(capture.packets("NAK")) == 1
    see_nobody_twice(capture.packets())


def test_full_and_preempt(lan: Lan, server: Server) -> None:
    """`preempt` in a full pool: the owner is served, and the holder has nothing.

    It is told so once, and not again each time it asks.
    """
    holder, other, owner, address = full(lan, server, Udhcpc)
    capture = Capture(holder.host, "c0")

    verdict = server.reserve(address, owner.hardware, "preempt")

    # It answers at the address, so that is not given out while it does.
    assert verdict["verdict"] == "waiting"
    owner.begin()
    owner.wait_for_call("leasefail")
    holder.begin_renewal()
    # Nobody has to push again: whether it is silent is seen when the owner asks.
    assert owner.wait().address == address
    holder.wait_for_call("leasefail")
    assert len(capture.packets("NAK", hardware=holder.hardware)) == 1
    other.release()
    assert holder.wait().address != address


# --- everybody at once ----------------------------------------------------------------


@pytest.mark.parametrize("on_conflict", ["wait", "move", "preempt"])
def test_both_at_once(lan: Lan, server: Server, on_conflict: str) -> None:
    """Holder and owner ask in the same moment, in either order; several such pairs."""
    server.start(pool(ends=25))
    pairs = []
    for _ in range(3):
        holder, owner = Udhcpc(lan.computer()), Udhcpc(lan.computer())
        pairs.append((holder, owner, bound(holder)))
    capture = Capture(lan.server, "s0")
    with pushed(server) as admin:
        for _, owner, address in pairs:
            verdict = admin.reserve(
                address, hardware=owner.hardware, on_conflict=on_conflict
            )
            assert verdict.outcome == "waiting"

        for number, (holder, owner, _) in enumerate(pairs):
            first, second = (
                (holder.begin_renewal, owner.begin)
                if number % 2
                else (owner.begin, holder.begin_renewal)
            )
            first()
            second()
    waiting = []
    for holder, owner, address in pairs:
        got, theirs = holder.wait().address, owner.wait().address
        assert (got == address) == (on_conflict == "wait")
        assert theirs != got
        if theirs != address:
            waiting.append((owner, theirs if on_conflict == "wait" else address))
    for owner, _ in waiting:
        owner.begin_renewal()
    for owner, address in waiting:
        assert owner.wait().address == address
    see_nobody_twice(capture.packets())
    most = 0 if on_conflict == "wait" else 2 * len(pairs)
    assert len(capture.packets("NAK")) <= most


# --- a crash --------------------------------------------------------------------------


@pytest.mark.parametrize("on_conflict", ["refuse", "wait", "move", "preempt"])
def test_crash_behind_a_verdict(lan: Lan, server: Server, on_conflict: str) -> None:
    """What was answered to `reserve` holds, though the server died at that moment."""
    sections = pool(ends=20)
    server.start(sections)
    holder, owner = Dhclient(lan.computer()), Dhclient(lan.computer())
    address = bound(holder)
    wanted = f"{NET}20" if on_conflict == "refuse" else address
    with pushed(server) as admin:
        verdict = admin.reserve(
            wanted, hardware=owner.hardware, on_conflict=on_conflict
        )
        server.crash()
    server.start(sections)

    [kept] = server.ask("reservations")
    assert (kept["address"], kept["on_conflict"]) == (wanted, on_conflict)
    if on_conflict == "refuse":
        assert verdict.outcome == "applied"
        assert bound(owner) == wanted
        with pytest.raises(Refused):
            server.reserve(address, "02:00:00:00:00:ff", "refuse")
        assert rebooted(holder) == address
        return
    assert verdict.outcome == "waiting"
    assert bound(owner) != address
    if on_conflict == "wait":
        holder.stop()
        lease = holder.start()
        assert lease.address == address
        assert time() + lease.seconds <= (verdict.until or 0) + 2
        return
    assert rebooted(holder) != address
    assert rebooted(owner) == address


# --- whole sets -----------------------------------------------------------------------


@pytest.mark.parametrize("room", [True, False], ids=["room", "full"])
def test_exchange_of_addresses(lan: Lan, server: Server, room: bool) -> None:
    """Two clients hold each other's new addresses: both end right, and nobody in a loop.

    Where there is no third address to step aside to, nobody is sent away; once both
    leases have ended, each has its own.
    """
    server.start(pool(ends=12 if room else 11, lease_time="60s" if room else "5s"))
    one, two = Dhclient(lan.computer()), Dhclient(lan.computer())
    first, second = bound(one), bound(two)
    capture = Capture(lan.server, "s0")
    path = server.directory / "exchange.jsonl"
    rows = [
        {"address": address, "hardware": who.hardware, "on_conflict": "move"}
        for address, who in ((second, one), (first, two))
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    done = server.ask("replace", str(path), "--source", "netbox")

    assert (done["added"], done["waiting"]) == (2, 2), done
    if room:
        aside = rebooted(one)
        assert aside not in {first, second}
        assert rebooted(two) == first
        assert rebooted(one) == second
        assert len(capture.packets("NAK")) == 3
    else:
        wait_until(
            lambda: (
                one.host.addresses("c0") + two.host.addresses("c0") == [second, first]
            ),
            "the exchange",
            40,
        )
        assert len(capture.packets("NAK")) <= 4
    see_nobody_twice(capture.packets())
    before = len(capture.packets("NAK"))
    assert (rebooted(one), rebooted(two)) == (second, first)
    assert len(capture.packets("NAK")) == before


# --- leases that become reservations, and the other way round --------------------------


def test_for_holder(lan: Lan, server: Server) -> None:
    """Who had an address when it was reserved for its holder finds it again.

    Its lease has ended meanwhile, and the pool was full.
    """
    server.start(pool(ends=11, lease_time="4s"))
    client, other = Dhclient(lan.computer()), Dhclient(lan.computer())
    address = bound(client)
    made = server.ask("reserve", address, "--for-holder", "hardware")
    assert made["verdict"] == "applied"
    client.stop()
    assert bound(other) != address
    wait_until(lambda: server.state_of(address) != "bound", "the end of the lease")

    stranger = Udhcpc(lan.computer())
    stranger.begin(requested=address)
    stranger.wait_for_call("leasefail")

    assert bound(client) == address


def test_while_connected(lan: Lan, server: Server) -> None:
    """A reservation ends with who made it, and the lease by it does not."""
    server.start(pool(ends=10))
    owner, stranger = Udhcpc(lan.computer()), Udhcpc(lan.computer())
    address = f"{NET}10"
    said = server.directory / "pusher.txt"
    pusher = lan.server.start(
        sys.executable, "-c", PUSHER,
        f"unix:{server.state / 'control.sock'}", address, owner.hardware,
        output=said, env=ENVIRONMENT,
    )  # fmt: skip
    wait_until(lambda: "applied" in said.read_text(), "the verdict")
    stranger.begin()
    stranger.wait_for_call("leasefail")
    assert bound(owner) == address

    os.kill(pusher.pid, signal.SIGKILL)
    wait_until(lambda: server.ask("reservations") == [], "the end of the reservation")

    again = owner.renew()
    assert (again.address, again.seconds) == (address, 60)
    owner.release()
    assert stranger.wait().address == address


# --- keys -----------------------------------------------------------------------------


def test_move_by_client_identifier(lan: Lan, server: Server) -> None:
    """An owner that is known by its client identifier, and has another address."""
    server.start(pool(ends=20))
    holder, owner = Dhclient(lan.computer()), Dhcpcd(lan.computer())
    address, before = bound(holder), owner.start().address
    identifier = f"hex:01{owner.hardware.replace(':', '')}"

    verdict = server.ask(
        "reserve", address, "--client-id", identifier, "--on-conflict", "move"
    )

    assert verdict["verdict"] == "waiting"
    capture = Capture(holder.host, "c0")
    assert rebooted(holder) not in {address, before}
    assert capture.types(holder.hardware) == MOVED
    owner.stop()
    assert owner.start().address == address


class Ports:
    """Two clients, each at a port of its own of one relay, in one subnet."""

    def __init__(self, lab: Lab) -> None:
        self.server = lab.host("server")
        router = lab.host("router")
        lab.wire(self.server, "s0", router, "r0")
        self.server.ip("addr", "add", "192.168.200.1/30", "dev", "s0")
        router.ip("addr", "add", "192.168.200.2/30", "dev", "r0")
        self.server.ip("route", "add", "192.168.100.0/24", "via", "192.168.200.2")
        self.clients: list[Host] = []
        for number in (1, 2):
            client = lab.host(f"far{number}")
            lab.wire(router, f"r{number}", client, "c0")
            router.ip("addr", "add", f"{NET}{number}/24", "dev", f"r{number}")
            self.clients.append(client)
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        router.start(
            "dhcrelay", "-4", "-d", "-a", "--no-pid",
            "-id", "r1", "-id", "r2", "-iu", "r0", "192.168.200.1",
            output=router.directory / "relay.txt",
        )  # fmt: skip
        wait_until(lambda: "0.0.0.0:67" in router.run("ss", "-Hlun"), "dhcrelay")


@pytest.mark.parametrize("on_conflict", ["wait", "move"])
def test_by_circuit(lab: Lab, on_conflict: str) -> None:
    """An address becomes that of a port (RFC 3046) while a client of another has it."""
    ports = Ports(lab)
    server = Server(ports.server)
    server.start(pool(ends=20))
    try:
        owner, holder = map(Dhclient, ports.clients)
        address = bound(holder)
        capture = Capture(ports.server, "s0")

        verdict = server.ask(
            "reserve", address, "--circuit-id", "r1", "--on-conflict", on_conflict
        )

        assert verdict["verdict"] == "waiting"
        assert bound(owner) != address
        if on_conflict == "wait":
            ends = server.leases()[address]["expires"]
            assert rebooted(holder) == address
            assert server.leases()[address]["expires"] == ends
            assert rebooted(owner) != address
        else:
            assert rebooted(holder) != address
            assert rebooted(owner) == address
        see_nobody_twice(capture.packets())
    finally:
        server.stop()
    assert "Traceback" not in server.log, server.log
