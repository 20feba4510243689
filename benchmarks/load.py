"""A relay with many clients: so many exchanges a second, or so many at once.

    python benchmarks/load.py --server 127.0.0.1 --port 6767 --relay 127.0.0.2 --window 64

Prints one JSON document: exchanges finished, exchanges per second, the time from REQUEST to
ACK in milliseconds (median and 99th percentile), and how many were lost.  Messages are
made before the clock starts, and an answer is looked at as little as may be, so that on
two processors this is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections import deque
from ipaddress import IPv4Address

from dhcptwist.wire import Message


REQUEST_LIST = bytes([1, 3, 6, 15, 28, 51, 54, 58, 59])

#: Seconds after which an exchange counts as lost.
PATIENCE = 2.0


def templates(relay: str, count: int, first: int) -> list[tuple[bytes, bytes]]:
    """DISCOVER, and REQUEST without its address, of so many clients."""
    made = []
    for number in range(first, first + count):
        mac = b"\x02\x00" + number.to_bytes(4, "big")
        common = {61: b"\x01" + mac, 12: b"client-%d" % number, 55: REQUEST_LIST}
        fields = {"xid": number, "chaddr": mac, "giaddr": relay, "hops": 1}
        discover = Message.build(**fields, options={53: b"\1"} | common)
        request = Message.build(
            **fields, options={53: b"\3", 54: bytes(4), 50: bytes(4)} | common
        )
        made.append((discover.encode(), request.encode()))
    return made


def kind_and_server(data: bytes) -> tuple[int, bytes]:
    """Options 53 and 54, which some servers put first and others in order."""
    kind, server, at = 0, bytes(4), 240
    while at < len(data) and data[at] != 255 and not (kind and any(server)):
        size = data[at + 1]
        if data[at] == 53:
            kind = data[at + 2]
        elif data[at] == 54:
            server = data[at + 2 : at + 6]
        at += 2 + size
    return kind, server


class Load:
    """The exchanges that are under way."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._server = (options.server, options.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((options.relay, options.port))
        self.socket.setblocking(False)
        self.clients = deque(templates(options.relay, options.clients, options.first))
        sample = self.clients[0][1]
        # Our options are all of one place in every message.
        self._server_id = sample.index(b"\x36\x04") + 2
        self._wish = sample.index(b"\x32\x04") + 2
        self.under_way: dict[bytes, tuple[bytes, float]] = {}
        self.asked: deque[tuple[bytes, float]] = deque()
        self.waited: list[float] = []
        self.lost = 0

    def begin(self) -> None:
        """One more client discovers."""
        discover, request = self.clients.popleft()
        xid = discover[4:8]
        now = time.perf_counter()
        self.under_way[xid] = request, 0.0
        self.asked.append((xid, now))
        self.socket.sendto(discover, self._server)

    def hear(self, patience: float) -> None:
        """Take the answers that are there."""
        if not select.select([self.socket], [], [], max(patience, 0))[0]:
            return
        for _ in range(64):
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            known = self.under_way.get(data[4:8])
            if known is None:
                continue
            request, since = known
            kind, server = kind_and_server(data)
            if kind == 2 and not since:
                at, wish = self._server_id, self._wish
                filled = bytearray(request)
                filled[at : at + 4] = server
                filled[wish : wish + 4] = data[16:20]
                self.under_way[data[4:8]] = request, time.perf_counter()
                self.socket.sendto(filled, self._server)
            elif kind == 5:
                self.waited.append(time.perf_counter() - since)
                del self.under_way[data[4:8]]

    def give_up(self) -> None:
        """Count those as lost that wait too long."""
        limit = time.perf_counter() - PATIENCE
        while self.asked and self.asked[0][1] < limit:
            xid, _ = self.asked.popleft()
            self.lost += self.under_way.pop(xid, None) is not None


def run(options: argparse.Namespace) -> dict[str, float]:
    """The figures of one run."""
    load = Load(options)
    began = time.perf_counter()
    end = began + options.seconds
    started = 0
    while (now := time.perf_counter()) < end and load.clients:
        if options.rate:
            due = int((now - began) * options.rate) - started
        else:
            due = options.window - len(load.under_way)
        for _ in range(min(due, len(load.clients))):
            load.begin()
            started += 1
        load.hear(0.0005 if options.rate else 0.01)
        load.give_up()
    took = time.perf_counter() - began
    finished = len(load.waited)
    while load.under_way and time.perf_counter() < end + PATIENCE:
        load.hear(0.05)
        load.give_up()
    waited = sorted(load.waited) or [0.0]
    return {
        "started": started,
        "finished": len(load.waited),
        "per second": round(finished / took, 1),
        "median ms": round(1000 * waited[len(waited) // 2], 3),
        "p99 ms": round(1000 * waited[int(0.99 * (len(waited) - 1))], 3),
        "lost": load.lost + len(load.under_way),
    }


def wait(options: argparse.Namespace) -> dict[str, float]:
    """When somebody answers first, by the clock that all processes share."""
    load = Load(options)
    discover, _ = load.clients[0]
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        load.socket.sendto(discover, (options.server, options.port))
        if select.select([load.socket], [], [], 0.02)[0]:
            return {"answered": time.monotonic()}
    return {"answered": 0.0}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=lambda t: str(IPv4Address(t)), required=True)
    parser.add_argument("--port", type=int, default=67)
    parser.add_argument("--relay", type=lambda t: str(IPv4Address(t)), required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument(
        "--first", type=int, default=1, help="number of the first client"
    )
    parser.add_argument("--window", type=int, default=64, help="exchanges at once")
    parser.add_argument("--rate", type=float, default=0.0, help="exchanges per second")
    parser.add_argument("--wait", action="store_true", help="only for an answer")
    options = parser.parse_args()
    print(json.dumps(wait(options) if options.wait else run(options)))


if __name__ == "__main__":
    main()
