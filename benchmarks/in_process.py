"""Microseconds per DORA in this process: no sockets, memory storage.

    python benchmarks/in_process.py [--clients 20000] [--rounds 5]

Each client sends a DISCOVER and the REQUEST that follows from the OFFER; what is timed
is everything between the datagram and the reply.  The last line compares it with a bare
loop that only decodes and packs, so that figures of two machines can be compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from ipaddress import IPv4Address, IPv4Network

from dhcptwist.exchanges import Responder
from dhcptwist.network import Network, Subnet, Via
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.transport.counters import Counters
from dhcptwist.transport.protocol import DHCPProtocol
from dhcptwist.wire import Message


SERVER = int(IPv4Address("10.0.0.1"))
REQUEST_LIST = bytes([1, 3, 6, 15, 28, 51, 54, 58, 59])


class Transport:
    """Takes what the protocol writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Keep a reply."""
        self.written.append(data)


def messages(count: int) -> tuple[list[bytes], list[bytes]]:
    """DISCOVERs, and REQUESTs that lack the address, for so many clients."""
    discovers, requests = [], []
    for number in range(count):
        mac = b"\x02\x00" + number.to_bytes(4, "big")
        common = {61: b"\x01" + mac, 12: b"client", 55: REQUEST_LIST}
        for kind, into in ((1, discovers), (3, requests)):
            options = {53: bytes([kind])}
            if kind == 3:
                options |= {50: b"\0\0\0\0", 54: SERVER.to_bytes(4, "big")}
            built = Message.build(
                xid=number,
                chaddr=mac,
                giaddr="10.0.0.2",
                hops=1,
                options=options | common,
            )
            into.append(built.encode())
    return discovers, requests


def server() -> tuple[DHCPProtocol, Transport]:
    """A protocol over a memory storage, without a socket."""
    subnet = Subnet(
        "bench",
        IPv4Network("10.0.0.0/8"),
        ranges=((SERVER + 255, SERVER + 2_000_000),),
        options={3: SERVER.to_bytes(4, "big"), 6: SERVER.to_bytes(4, "big")},
    )
    network = Network([subnet], {"eth0": [SERVER]})
    protocol = DHCPProtocol(
        Via("eth0", SERVER), Responder(network), MemoryStorage(network), Counters()
    )
    transport = Transport()
    protocol.makeConnection(transport)
    return protocol, transport


def dora(discovers: list[bytes], requests: list[bytes]) -> float:
    """Seconds for all of them."""
    protocol, transport = server()
    received = protocol.datagramReceived
    source = ("10.0.0.2", 67)
    began = time.perf_counter()
    for discover in discovers:
        received(discover, source)
    took = time.perf_counter() - began
    at = requests[0].index(b"\x32\x04") + 2
    filled = [
        request[:at] + offer[16:20] + request[at + 4 :]
        for request, offer in zip(requests, transport.written, strict=True)
    ]
    transport.written = []
    began = time.perf_counter()
    for request in filled:
        received(request, source)
    took += time.perf_counter() - began
    assert len(transport.written) == len(requests)
    assert all(reply[242] == 5 for reply in transport.written)
    return took


def bare(discovers: list[bytes], requests: list[bytes]) -> float:
    """Seconds to decode them and pack as many bytes: the least any server does."""
    began = time.perf_counter()
    for data in [*discovers, *requests]:
        message = Message.decode(data)
        b"".join((b"\x02", data[1:44], bytes(192), *message.options.values()))
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clients", type=int, default=20000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    packets = messages(options.clients)
    scale = 1e6 / options.clients
    whole = [dora(*packets) * scale for _ in range(options.rounds)]
    least = [bare(*packets) * scale for _ in range(options.rounds)]
    for name, figures in (("whole path", whole), ("decode and join", least)):
        print(
            f"{name:16} median {statistics.median(figures):6.1f} us per DORA"
            f"  (min {min(figures):.1f}, max {max(figures):.1f})"
        )
    ratio = statistics.median(whole) / statistics.median(least)
    print(f"{'ratio':16} {ratio:.2f}")


if __name__ == "__main__":
    main()
