"""What the control channel can do, and what packets notice of it.

    python benchmarks/control.py [--reserves 20000] [--set 100000] [--rate 2000]

A server with SQLite on loopback, and a client with a certificate in this process:

- single `Reserve` calls, pipelined over one connection, each on disk before its answer;
- a source's set of so many reservations, put in place for the first time, again with one
  in a hundred changed, and again with nothing changed;
- the time from REQUEST to ACK at ``--rate`` exchanges a second while each of these runs,
  and while nothing does.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from storages import HERE, ROOT, serve
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.protocols.amp import AmpBox

from dhcptwist.control.client import ControlClient, connect


INI = """
[server]
interfaces = lo
port = {port}
state = {state}
storage = {storage}

[control]
listen = tcp:0:interface=127.0.0.1

[subnet bench]
network = 10.64.0.0/10
pools = 10.64.1.0 - 10.127.255.250
relays = 127.0.0.2
lease-time = 12h
"""

#: Calls of one client that are under way at once.
WINDOW = 200


def row(number: int, **more: str) -> dict[str, Any]:
    """One of many reservations: an address behind those that the load gets."""
    address = 0x0A600000 + number
    octets = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
    mac = (0x020100000000 + number).to_bytes(6, "big").hex(":")
    return {"address": octets, "hardware": mac, "hostname": f"host-{number}", **more}


class Pipeline:
    """One TLS connection with so many `Reserve` calls under way.

    The calls are made before the clock starts, and an answer is looked at as little as
    may be, so that it is the server that is measured.
    """

    def __init__(self, where: str, identity: Path, count: int, first: int) -> None:
        host, _, port = where.rpartition(":")
        context = ssl.create_default_context(cadata=authority_of(identity))
        context.load_cert_chain(identity)
        plain = socket.create_connection((host, int(port)))
        self._socket = context.wrap_socket(plain, server_hostname=host)
        self._calls = [
            AmpBox(
                _ask=str(number).encode(),
                _command=b"Reserve",
                source=b"single",
                **{name: text.encode() for name, text in row(number).items()},
            ).serialize()
            for number in range(first, first + count)
        ]

    def run(self) -> float:
        """Seconds until all are answered."""
        begun = time.perf_counter()
        calls = self._calls
        sent = answered = 0
        tail = b""
        while answered < len(calls):
            more = min(WINDOW - (sent - answered), len(calls) - sent)
            if more > WINDOW // 4 or (more and sent + more == len(calls)):
                self._socket.sendall(b"".join(calls[sent : sent + more]))
                sent += more
            data = tail + self._socket.recv(1 << 16)
            if b"_error" in data or not data:
                raise SystemExit(f"it was refused: {data[:300]!r}")
            answered += data.count(b"\0\7_answer")
            tail = data[-8:] if not data.endswith(b"\0\7_answer") else b""
        took = time.perf_counter() - begun
        self._socket.close()
        return took


def authority_of(identity: Path) -> str:
    """The last certificate of an identity's file."""
    text = identity.read_text("ascii")
    return text[text.rindex("-----BEGIN CERTIFICATE") :]


def load(port: int, rate: float, seconds: float) -> dict[str, float]:
    """The figures of one run of load.py, in a process of its own."""
    command = [sys.executable, HERE / "load.py", "--server", "127.0.0.1"]
    command += ["--relay", "127.0.0.2", "--port", str(port), "--rate", str(rate)]
    command += ["--seconds", str(seconds)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return found


async def with_load(
    work: Callable[[], Awaitable[float]], port: int, rate: float, seconds: float
) -> tuple[float, dict[str, float]]:
    """Do it while clients come; the load lasts as long as given, or as that takes."""
    under_load = deferToThread(load, port, rate, seconds)
    await deferToThread(time.sleep, 1.0)  # the load makes its messages first
    took = await work()
    return took, await under_load


async def run(reactor: Any, options: argparse.Namespace) -> None:
    """Print the table."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        server = serve(Path(directory), options.storage, port, INI)
        control = Path(directory) / "state" / "control"
        try:
            where = (control / "endpoint").read_text("utf-8").strip()
            identity = control / "admin.pem"
            client = await connect(reactor, where, identity, timeout=120.0)

            def pipeline(first: int) -> Pipeline:
                return Pipeline(where, identity, options.reserves, first)

            await measure(client, pipeline, port, options)
            await client.close()
        finally:
            server.terminate()
            server.wait(60)


async def measure(
    client: ControlClient,
    pipeline: Callable[[int], Pipeline],
    port: int,
    options: argparse.Namespace,
) -> None:
    """Everything, one after the other."""
    rows = [row(number) for number in range(options.set)]
    print(
        f"{'':34} {'seconds':>8} {'per second':>11}   ACK ms at {options.rate}/s: p50, p99, lost"
    )

    def told(
        what: str, took: float, count: int, under: dict[str, float] | None
    ) -> None:
        line = f"{what:34} {took:8.2f} {count / took:11.0f}"
        if under is not None:
            line += (
                f"   {under['median ms']:.2f}, {under['p99 ms']:.2f}, {under['lost']}"
            )
        print(line, flush=True)

    async def nothing() -> float:
        await deferToThread(time.sleep, 4.0)
        return 4.0

    async def replace() -> float:
        begun = time.perf_counter()
        done = await client.replace(rows, source="set")
        assert done.done
        assert not done.refused
        return time.perf_counter() - begun

    _, quiet = await with_load(nothing, port, options.rate, 6)
    told("nothing", 4.0, 0, quiet)
    calls = pipeline(1_000_000)
    took = await deferToThread(calls.run)
    told("Reserve, alone", took, options.reserves, None)
    calls = pipeline(1_000_000 + options.reserves)
    took, under = await with_load(
        lambda: deferToThread(calls.run), port, options.rate, 8
    )
    told("Reserve, under load", took, options.reserves, under)
    told(f"a first set of {options.set}", await replace(), options.set, None)
    for number in range(0, options.set, 100):
        rows[number]["hostname"] = f"other-{number}"
    told("the same, 1 % changed", await replace(), options.set, None)
    for number in range(0, options.set, 100):
        rows[number]["hostname"] = f"third-{number}"
    took, under = await with_load(replace, port, options.rate, 10)
    told("the same, 1 % changed, under load", took, options.set, under)
    told("the same, nothing changed", await replace(), options.set, None)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reserves", type=int, default=20_000)
    parser.add_argument("--set", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--storage", default="sqlite:leases.sqlite")
    options = parser.parse_args()

    def begin(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(run(reactor, options))

    react(begin)


if __name__ == "__main__":
    main()
