"""What a storage costs: a whole server on loopback with each of ours, in one run.

    python benchmarks/storages.py [--seconds 5] [--rounds 3] [--rate 1000]

For each storage: exchanges (DORA) per second with 256 under way, what each costs the server,
and the time from REQUEST to ACK at a rate that all can serve.  With fewer under way, a
storage that has a disk to wait for is measured by its patience.  The load takes one of two
processors for itself; where there are more, the one with a thread of its own gains.  ``http`` asks the reference service of
``docs/examples/webservice.py``, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent

#: What the web service gives away.
POOL = [f"10.64.{n // 250 + 1}.{n % 250 + 1}" for n in range(20000)]

INI = """
[server]
interfaces = lo
port = {port}
state = {state}
storage = {storage}

[control]
listen =

[subnet bench]
network = 10.64.0.0/10
pools = 10.64.1.0 - 10.80.255.255
relays = 127.0.0.2
lease-time = 12h
option.routers = 10.64.0.1
option.domain-name-servers = 10.64.0.1
"""


def serve(
    directory: Path, storage: str, port: int, text: str = INI
) -> subprocess.Popen[bytes]:
    """A server that answers."""
    ini = directory / "dhcp.ini"
    ini.write_text(text.format(port=port, state=directory / "state", storage=storage))
    log = directory / "log"
    twistd = Path(sys.executable).with_name("twistd")
    server = subprocess.Popen(
        [twistd, "-n", "--pidfile=", f"--logfile={log}", "dhcp", f"--config={ini}"],
        cwd=ROOT,
    )
    end = time.monotonic() + 60
    while not log.exists() or "is serving" not in log.read_text():
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(log.read_text() if log.exists() else "it does not start")
        time.sleep(0.05)
    return server


def load(port: int, *options: str) -> dict[str, float]:
    """The figures of one run of load.py."""
    command = [sys.executable, HERE / "load.py", "--server", "127.0.0.1"]
    command += ["--relay", "127.0.0.2", "--port", str(port), *options]
    found: dict[str, float] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return found


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a process has used of a processor so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def one(storage: str, options: argparse.Namespace, port: int) -> dict[str, float]:
    """Both figures of one storage, on a new server each."""
    seconds = str(options.seconds)
    helpers = []
    url = storage
    figures: dict[str, float] = {}
    try:
        if storage == "http:":
            url = f"http://127.0.0.1:{port + 2}/"
            script = ROOT / "docs" / "examples" / "webservice.py"
            helpers.append(
                subprocess.Popen(
                    [sys.executable, script, str(port + 2), ":memory:", *POOL],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(1)
        for name, words in (
            ("most", ("--window", str(options.window), "--seconds", seconds)),
            ("rate", ("--rate", str(options.rate), "--seconds", seconds)),
        ):
            with tempfile.TemporaryDirectory() as directory:
                server = serve(Path(directory), url, port)
                try:
                    before = cpu_seconds(server)
                    found = load(port, *words)
                    used = cpu_seconds(server) - before
                finally:
                    server.terminate()
                    server.wait(30)
            if name == "most":
                figures["per second"] = found["per second"]
                figures["cpu us"] = 1e6 * used / max(found["finished"], 1)
            else:
                figures["median ms"] = found["median ms"]
                figures["p99 ms"] = found["p99 ms"]
            figures[f"lost at {name}"] = found["lost"]
    finally:
        for helper in helpers:
            helper.terminate()
            helper.wait(10)
    return figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--port", type=int, default=16767)
    parser.add_argument(
        "--storages", default="memory:,sqlite:leases.sqlite,http:", metavar="A,B,…"
    )
    options = parser.parse_args()
    storages = options.storages.split(",")
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in storages}
    for _ in range(options.rounds):
        for name in storages:  # in turns, so that a slow spell meets all
            rounds[name].append(one(name, options, options.port))
    base = 0.0
    print(
        f"{'storage':22} {'DORA/s':>8} {'of first':>8} {'CPU us':>7}"
        f" {'ACK median ms':>14} {'p99 ms':>8} {'lost':>5}"
    )
    for name in storages:
        mean = {
            key: statistics.median(each[key] for each in rounds[name])
            for key in rounds[name][0]
        }
        base = base or mean["per second"]
        lost = mean["lost at most"] + mean["lost at rate"]
        print(
            f"{name:22} {mean['per second']:8.0f} {mean['per second'] / base:8.0%}"
            f" {mean['cpu us']:7.0f} {mean['median ms']:14.2f} {mean['p99 ms']:8.2f}"
            f" {lost:5.0f}"
        )


if __name__ == "__main__":
    main()
