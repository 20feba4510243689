"""Reservations pushed into a pool that is in use: what then really happens.

Static and dynamic addresses share one pool.  dhcpctl's verdict says what to expect;
real clients show whether it came true.
"""

from __future__ import annotations

import pytest
from lab.capture import Capture
from lab.clients import Client, Dhclient, Udhcpc
from lab.hosts import Lan, wait_until
from lab.server import Refused, Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEEDS = ("dhclient", "busybox", "tcpdump", "tshark")

POOL = "192.168.100.10 - 192.168.100.13"
ADDRESSES = {f"192.168.100.{number}" for number in range(10, 14)}

# What a client that is told to move says and hears, and nothing in between.
MOVED = ["REQUEST", "NAK", "DISCOVER", "OFFER", "REQUEST", "ACK"]


def name(program: type[Client]) -> str:
    """Name a test after its client."""
    return program.__name__.lower()


def holder_of_lease(
    lan: Lan, server: Server, program: type[Client] = Udhcpc
) -> tuple[Client, str]:
    """Start the server, and a client that gets an address from it."""
    seconds = "60s" if program.obeys else "10s"
    server.start(subnet(pools=POOL, lease_time=seconds))
    holder = program(lan.computer())
    address = holder.start().address
    wait_until(lambda: holder.host.addresses("c0") == [address], "the address")
    return holder, address


def test_last_free_address(lan: Lan, server: Server) -> None:
    """A reserved address is given to nobody else, however full the pool is."""
    server.start(subnet(pools=POOL))
    others = [Udhcpc(lan.computer()) for _ in range(3)]
    held = {other: other.start().address for other in others}
    (free,) = ADDRESSES - set(held.values())
    owner = Udhcpc(lan.computer())

    verdict = server.reserve(free, owner.hardware)
    stranger = Udhcpc(lan.computer())
    stranger.begin(requested=free)
    stranger.wait_for_call("leasefail")

    assert verdict["verdict"] == "applied"
    assert owner.start().address == free
    assert {other: other.renew().address for other in others} == held
    assert set(server.leases("bound")) == ADDRESSES


def test_cancelled(lan: Lan, server: Server) -> None:
    """A reservation that is taken back makes its address one like all others."""
    server.start(subnet(pools="192.168.100.10 - 192.168.100.10"))
    server.reserve("192.168.100.10", "02:00:00:00:00:ff")
    client = Udhcpc(lan.computer())
    client.begin()
    client.wait_for_call("leasefail")

    server.ask("cancel", "192.168.100.10")

    assert client.wait().address == "192.168.100.10"


@pytest.mark.parametrize("program", [Dhclient, Udhcpc], ids=name)
def test_owner_has_another_address(
    lan: Lan, server: Server, program: type[Client]
) -> None:
    """A reservation moves its owner at the next renewal, not when the lease ends."""
    owner, before = holder_of_lease(lan, server, program)
    reserved = min(ADDRESSES - {before})
    capture = Capture(owner.host, "c0")

    verdict = server.reserve(reserved, owner.hardware)

    assert verdict["verdict"] == "applied"
    assert owner.renew().address == reserved
    assert capture.types()[-6:] == MOVED


def test_owner_reboots(lan: Lan, server: Server) -> None:
    """Nor is it overlooked when its owner asks in INIT-REBOOT for what it had."""
    owner, before = holder_of_lease(lan, server, Dhclient)
    owner.stop()
    reserved = min(ADDRESSES - {before})
    server.reserve(reserved, owner.hardware)
    capture = Capture(owner.host, "c0")

    assert owner.start().address == reserved
    assert capture.types() == MOVED


def test_wait(lan: Lan, server: Server) -> None:
    """`wait`: the holder stays until its lease ends, which is not put off any more."""
    holder, address = holder_of_lease(lan, server)
    owner = Udhcpc(lan.computer())

    verdict = server.reserve(address, owner.hardware, "wait")

    assert verdict["verdict"] == "waiting"
    assert holder.hardware in str(verdict["holder"])
    assert verdict["until"]
    meanwhile = owner.start().address
    assert meanwhile in ADDRESSES - {address}
    # No renewal goes beyond the end that the verdict has named.
    ends = server.leases()[address]["expires"]
    again = holder.renew()
    assert again.address == address
    assert again.seconds <= 60
    assert server.leases()[address]["expires"] == ends
    holder.release()
    assert owner.renew().address == address


def test_move(lan: Lan, server: Server) -> None:
    """`move`: the holder is told so when it renews, and gets another one at once."""
    holder, address = holder_of_lease(lan, server)
    owner = Udhcpc(lan.computer())
    capture = Capture(holder.host, "c0")

    verdict = server.reserve(address, owner.hardware, "move")

    assert verdict["verdict"] == "waiting"
    assert holder.hardware in str(verdict["holder"])
    moved = holder.renew().address
    assert moved in ADDRESSES - {address}
    assert capture.types(holder.hardware) == MOVED
    assert owner.start().address == address
    assert holder.renew().address == moved


def test_move_by_timer(lan: Lan, server: Server) -> None:
    """`move` with a client that contacts the server when it likes (4.4.5)."""
    holder, address = holder_of_lease(lan, server, Dhclient)
    owner = Udhcpc(lan.computer())

    server.reserve(address, owner.hardware, "move")

    assert holder.wait().address in ADDRESSES - {address}
    assert owner.start().address == address


def test_move_without_room(lan: Lan, server: Server) -> None:
    """`move` with nowhere to go to: the holder stays, rather than being told to ask.

    A client is sent away only if its next DISCOVER will be served.
    """
    server.start(subnet(pools="192.168.100.10 - 192.168.100.10"))
    holder = Udhcpc(lan.computer())
    address = holder.start().address
    wait_until(lambda: holder.host.addresses("c0") == [address], "the address")
    capture = Capture(holder.host, "c0")

    verdict = server.reserve(address, "02:00:00:00:00:ff", "move")

    assert verdict["verdict"] == "waiting"
    assert holder.renew().address == address
    assert capture.types() == ["REQUEST", "ACK"]


def test_refuse(lan: Lan, server: Server) -> None:
    """`refuse`: the caller learns who has the address, and nothing has changed."""
    holder, address = holder_of_lease(lan, server)
    owner = Udhcpc(lan.computer())

    with pytest.raises(Refused, match=holder.hardware):
        server.reserve(address, owner.hardware, "refuse")

    assert server.ask("reservations") == []
    assert holder.renew().address == address
    assert owner.start().address != address


def test_preempt_a_silent_holder(lan: Lan, server: Server) -> None:
    """`preempt`: nobody answers at the address any more, so it is the owner's now.

    Whoever had it comes back, and is given another.
    """
    holder, address = holder_of_lease(lan, server)
    owner = Udhcpc(lan.computer())
    lan.unplug(holder.host)

    verdict = server.reserve(address, owner.hardware, "preempt")

    assert verdict["verdict"] == "applied"
    assert owner.start().address == address
    lan.plug_in(holder.host)
    assert holder.renew().address in ADDRESSES - {address}
    assert owner.renew().address == address


def test_preempt_a_holder_that_answers(lan: Lan, server: Server) -> None:
    """`preempt`: an address that is in use is not given out a second time (RFC 5227).

    The lease is revoked all the same, so the holder leaves when it asks.
    """
    holder, address = holder_of_lease(lan, server)
    owner = Udhcpc(lan.computer())

    verdict = server.reserve(address, owner.hardware, "preempt")

    assert verdict["verdict"] == "waiting"
    assert holder.hardware in str(verdict["holder"])
    assert address not in server.leases("bound")
    assert holder.renew().address in ADDRESSES - {address}
    again = wait_until(
        lambda: server.reserve(address, owner.hardware, "preempt"), "a verdict"
    )
    assert again["verdict"] == "applied"
    assert owner.start().address == address
