"""A million leases: time to start with them, memory, and what an exchange then costs.

    sudo python benchmarks/leases.py [--leases 1000000] [--rounds 3]

Our server with a thousand leases and with so many, and Kea (Debian's kea-dhcp4-server,
memfile) with as many, in turns, each in a network namespace of its own that goes away
again.  ``start`` is from the command to the first OFFER; ``memory`` is what is resident
then, ``a lease`` the part that is more than with one lease; ``CPU`` is per exchange of
new clients at a low rate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from dhcptwist.storage.sqlite_file import SQLiteFile


ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
FIRST = int(IPv4Address("10.64.4.0"))
SERVER, RELAY = "10.64.0.1", "10.64.0.2"
SECONDS = 43200

INI = """
[server]
interfaces = dtb0
state = {state}

[control]
listen =

[subnet bench]
network = 10.64.0.0/10
pools = 10.64.4.0 - 10.120.255.255
lease-time = 12h
option.routers = 10.64.0.1
option.domain-name-servers = 10.64.0.1
"""

KEA = {
    "interfaces-config": {"interfaces": ["dtb0"], "dhcp-socket-type": "udp"},
    "multi-threading": {"enable-multi-threading": False},
    "valid-lifetime": SECONDS,
    "subnet4": [
        {
            "id": 1,
            "subnet": "10.64.0.0/10",
            "pools": [{"pool": "10.64.4.0 - 10.120.255.255"}],
            "option-data": [
                {"name": "routers", "data": "10.64.0.1"},
                {"name": "domain-name-servers", "data": "10.64.0.1"},
            ],
        }
    ],
    "loggers": [{"name": "kea-dhcp4", "severity": "WARN"}],
}


def clients(count: int) -> Iterator[tuple[int, bytes, int]]:
    """Address, hardware address and end of so many leases."""
    now = int(time.time())
    for number in range(count):
        mac = b"\x06\x00" + number.to_bytes(4, "big")
        yield FIRST + number, mac, now + 3600 + number * 7919 % (SECONDS - 3600)


def our_leases(path: Path, count: int) -> None:
    """A file of ours."""
    file = SQLiteFile(path)
    file.open()
    file.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO lease VALUES (?,2,?,?,?,?,?,x'')",
            (
                (
                    address,
                    b"\x01" + mac,
                    b"\x01" + mac,
                    float(end - SECONDS),
                    float(end),
                    f"host-{address & 0xFFFFFF}",
                )
                for address, mac, end in clients(count)
            ),
        )


def kea_leases(path: Path, count: int) -> None:
    """The same for Kea."""
    with path.open("w") as out:
        out.write(
            "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,"
            "hostname,state,user_context\n"
        )
        for address, mac, end in clients(count):
            text = mac.hex(":")
            out.write(
                f"{IPv4Address(address)},{text},01:{text},{SECONDS},{end},1,0,0,"
                f"host-{address & 0xFFFFFF},0,\n"
            )


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Two hosts and a wire."""
    names = f"dtb-server-{os.getpid()}", f"dtb-client-{os.getpid()}"
    try:
        for name in names:
            _ip("netns", "add", name)
        wire = ("link", "add", "dtb0", "netns", names[0], "type", "veth")
        _ip(*wire, "peer", "name", "dtb1", "netns", names[1])
        for name, link, address in zip(
            names, ("dtb0", "dtb1"), (SERVER, RELAY), strict=True
        ):
            _ip("-n", name, "address", "add", f"{address}/10", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def load(namespace: str, *options: str) -> list[str | Path]:
    """The command of load.py behind the relay."""
    command = ["ip", "netns", "exec", namespace, sys.executable, HERE / "load.py"]
    return [*command, "--server", SERVER, "--relay", RELAY, *options]


def measured(
    command: list[str | Path], names: tuple[str, str], directory: Path, number: int
) -> dict[str, float]:
    """Start, wait for the first OFFER, look, and load a little."""
    server_ns, client_ns = names
    waits = ("--wait", "--seconds", "180", "--clients", "1", "--first", str(number))
    with (
        (directory / "output").open("wb") as output,
        subprocess.Popen(load(client_ns, *waits), stdout=subprocess.PIPE) as probe,
    ):
        time.sleep(1)  # so that it is there before the server
        began = time.monotonic()
        server = subprocess.Popen(
            ["ip", "netns", "exec", server_ns, *command],
            cwd=directory,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "KEA_PIDFILE_DIR": str(directory),
                "KEA_LOCKFILE_DIR": str(directory),
            },
        )
        try:
            answered = json.loads(probe.communicate()[0])["answered"]
            if not answered:
                raise SystemExit((directory / "output").read_text())
            resident = _resident(server.pid)
            before = _cpu(server.pid)
            words = ("--rate", "500", "--seconds", "6", "--clients", "4000")
            command = load(client_ns, *words, "--first", str(number + 10))
            found = json.loads(subprocess.check_output(command, cwd=ROOT))
            used = _cpu(server.pid) - before
        finally:
            server.terminate()
            server.wait(60)
    return {
        "start": answered - began,
        "memory": resident,
        "cpu": 1e6 * used / max(found["finished"], 1),
        "p99": found["p99 ms"],
        "lost": found["lost"],
    }


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024.0
    return 0.0


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(count: int, names: tuple[str, str], number: int) -> dict[str, float]:
    """Our server with so many leases."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        (directory / "state").mkdir()
        our_leases(directory / "state" / "leases.sqlite", count)
        ini = directory / "dhcp.ini"
        ini.write_text(INI.format(state=directory / "state"))
        twistd = Path(sys.executable).with_name("twistd")
        command: list[str | Path] = [
            twistd,
            "-n",
            "--pidfile=",
            "dhcp",
            "--config",
            ini,
        ]
        return measured(command, names, directory, number)


def kea(count: int, names: tuple[str, str], number: int) -> dict[str, float]:
    """Kea with so many leases."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        kea_leases(directory / "leases.csv", count)
        database = {
            "type": "memfile",
            "name": str(directory / "leases.csv"),
            "lfc-interval": 0,
        }
        config = {"Dhcp4": {**KEA, "lease-database": database}}
        (directory / "kea.json").write_text(json.dumps(config))
        command: list[str | Path] = ["kea-dhcp4", "-c", directory / "kea.json"]
        return measured(command, names, directory, number)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs = [("ours", ours, 1), ("ours", ours, 1000), ("ours", ours, options.leases)]
    if shutil.which("kea-dhcp4"):
        runs += [("kea", kea, 1), ("kea", kea, options.leases)]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with namespaces() as names:
        for turn in range(options.rounds):
            for name, run, count in runs:
                figures = run(count, names, 1_000_000 + turn * 10_000)
                found.setdefault((name, count), []).append(figures)
    print(
        f"{'server':6} {'leases':>9} {'start s':>8} {'memory MB':>10} {'B a lease':>10}"
        f" {'CPU us':>7} {'p99 ms':>7} {'lost':>5}"
    )
    for (name, count), rounds in found.items():
        mean = {
            key: statistics.median(each[key] for each in rounds) for key in rounds[0]
        }
        empty = statistics.median(each["memory"] for each in found[name, 1])
        more = (mean["memory"] - empty) / count
        print(
            f"{name:6} {count:9} {mean['start']:8.2f} {mean['memory'] / 1e6:10.1f}"
            f" {more if count > 1000 else 0:10.0f} {mean['cpu']:7.0f}"
            f" {mean['p99']:7.2f} {mean['lost']:5.0f}"
        )


if __name__ == "__main__":
    main()
