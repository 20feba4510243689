"""What the README and the manual show is run here, so that it stays true."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest

from dhcptwist.config import load
from dhcptwist.control import tls
from dhcptwist.lease import parse_hardware
from dhcptwist.wire import MessageType, to_text
from dhcptwist.wire.requests import discover, select


ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MINE = "00:11:22:33:44:55"


def blocks(page: Path) -> list[str]:
    """Give the Python code that a page shows."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands(page: Path) -> list[str]:
    """Give the dhcpctl commands that a page shows."""
    lines = re.findall(
        r"^    (?:\.venv/bin/)?dhcpctl (.*)$", page.read_text("utf-8"), re.MULTILINE
    )
    return [line for line in lines if "--server" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_that_of_an_example_or_runs(page: Path) -> None:
    """No page shows code that nobody has run."""
    examples = [path.read_text("utf-8") for path in EXAMPLES.glob("*.py")]
    for block in blocks(page):
        if not any(block in example for example in examples):
            exec(compile(block, str(page), "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """What a page links to is there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "control.md"])
def test_commands(page: Path, make_site: Callable[..., Any]) -> None:
    """Every dhcpctl command of a page does what it says, on the example's server."""
    site = make_site(listen="unix:control.sock:mode=600")
    example = (ROOT / "etc" / "dhcp.ini").read_text("utf-8")
    listen = "listen = tcp:6768:interface=127.0.0.1"
    for old, new in (
        ("port = 6767", f"port = {site.port}"),
        ("state = dhcptwist-state", f"state = {site.state}"),
        (listen, "listen = unix:control.sock:mode=600"),
    ):
        assert old in example
        example = example.replace(old, new)
    site.ini = example
    # Identities come from an authority, which a server on a socket does not make.
    tls.prepare(site.state / "control", [])
    site.start()
    shutil.copy(EXAMPLES / "hosts.csv", site.state)
    found = commands(page)
    assert len(found) > 3
    for line in found:
        if "revoke" in line:  # there must be a lease to take away
            run_ctl(site, "probe", "--keep", "--hardware", "00:11:22:33:44:66")
        run_ctl(site, *shlex.split(line))


def sessions(page: Path) -> list[tuple[str, str]]:
    """Give the commands that a page shows with what they print."""
    shown = re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    parts = re.split(r"^\$ dhcpctl ", "".join(shown), flags=re.MULTILINE)[1:]
    return [(command, out) for command, _, out in (p.partition("\n") for p in parts)]


def without_times(text: str) -> str:
    """What is printed, whenever it is."""
    text = re.sub(r"\d+[dhms]( \d+[dhms])?\b", "TIME", text)
    return re.sub(r"[\d.]+ ms", "MS", text)


def test_explanations(make_site: Callable[..., Any]) -> None:
    """What docs/explain.md shows is what the example's server says of its clients."""
    site = make_site(listen="unix:control.sock:mode=600")
    example = (ROOT / "etc" / "dhcp.ini").read_text("utf-8")
    for old, new in (
        ("port = 6767", f"port = {site.port}"),
        ("state = dhcptwist-state", f"state = {site.state}"),
        (
            "listen = tcp:6768:interface=127.0.0.1",
            "listen = unix:control.sock:mode=600",
        ),
    ):
        example = example.replace(old, new)
    site.ini = example
    site.start()
    found = sessions(ROOT / "docs" / "explain.md")
    assert len(found) > 5
    for command, expected in found:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "dhcptwist.ctl"),
                *("--state", str(site.state), *shlex.split(command)),
            ],
            cwd=EXAMPLES,
            env=site.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert not done.stderr, command
        said = done.stdout
        for mine, usual in ((site.port, 6767), (site.port + 1, 6768)):
            said = said.replace(f"port {mine},", f"port {usual},")
        said = without_times(said).strip()
        shown, cut, _ = without_times(expected).strip().partition("\n…")
        assert said.startswith(shown) if cut else said == shown, command


def run_ctl(site: Any, *words: str) -> str:
    """Run dhcpctl, which must succeed, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dhcptwist.ctl", "--state", str(site.state), *words],
        cwd=site.state,
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def test_table(make_site: Callable[..., Any]) -> None:
    """The storage of twenty lines answers whom it knows, and nobody else."""
    site = make_site(storage="python:table:make", path=EXAMPLES)
    site.ini = site.ini.replace("127.7.0.0/16", "192.0.2.0/24").replace(
        "127.7.0", "192.0.2"
    )
    site.start()
    relay, mine = site.relay(), site.client(1)
    mine.hardware = parse_hardware(MINE)
    assert relay.bind(mine).yiaddr == 0xC0000232
    wrong = mine.message(MessageType.REQUEST, options={50: bytes((192, 0, 2, 9))})
    assert relay.ask(wrong).type == MessageType.NAK
    relay.send(site.client(2).message(MessageType.DISCOVER))
    assert relay.bind(mine).yiaddr == 0xC0000232  # and before that, no other answer


def test_members(make_site: Callable[..., Any]) -> None:
    """What the club's table says of each, guests one of the pool, the banned nothing."""
    site = make_site(storage="python:members:Members:leases.sqlite", path=EXAMPLES)
    numbers = {name: site.client(n) for n, name in enumerate(("ann", "bob", "eve"), 1)}
    with sqlite3.connect(site.directory / "members.sqlite") as database:
        database.execute(
            "CREATE TABLE member (mac TEXT PRIMARY KEY, name TEXT, address TEXT,"
            " allowed INT)"
        )
        for name, address, allowed in (
            ("ann", "127.7.0.5", 1),
            ("bob", None, 1),
            ("eve", "127.7.0.6", 0),
        ):
            mac = numbers[name].hardware[1:].hex(":")
            database.execute(
                "INSERT INTO member VALUES (?,?,?,?)", (mac, name, address, allowed)
            )
    database.close()
    site.start()
    relay = site.relay()
    ann = relay.bind(numbers["ann"])
    assert (ann.yiaddr & 0xFFFF, ann.get("host-name")) == (5, "ann")
    bob = relay.bind(numbers["bob"])
    assert (bob.yiaddr & 0xFFFF, bob.get("host-name")) == (10, "bob")
    relay.send(numbers["eve"].message(MessageType.DISCOVER))
    wish = {50: bytes((127, 7, 0, 6))}
    asked = numbers["eve"].message(MessageType.REQUEST, options=wish)
    assert relay.ask(asked).type == MessageType.NAK
    guest = relay.bind(site.client(9))
    assert (guest.yiaddr & 0xFFFF, guest.get("host-name")) == (11, None)


@pytest.mark.parametrize("name", ["embedded", "two_servers"])
def test_embedding(name: str, make_site: Callable[..., Any], tmp_path: Path) -> None:
    """The examples of servers in other programs serve, and end when they are told."""
    sites = [make_site(), make_site()]
    program = (EXAMPLES / f"{name}.py").read_text("utf-8")
    config = (ROOT / "etc" / "dhcp.ini").read_text("utf-8")
    for old, site in zip((6767, 6769), sites, strict=True):
        assert str(old) in program or name == "embedded"
        program = program.replace(str(old), str(site.port))
        config = config.replace(str(old), str(site.port))
    (tmp_path / "etc").mkdir()
    config = config.replace("listen = tcp:6768:interface=127.0.0.1", "listen =")
    (tmp_path / "etc" / "dhcp.ini").write_text(config, "utf-8")
    path = tmp_path / f"{name}.py"
    path.write_text(program.replace("from table ", "from examples.table "), "utf-8")
    environment = {**sites[0].environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'docs'}"}
    process = subprocess.Popen([sys.executable, path], cwd=tmp_path, env=environment)
    try:
        for site in sites if name == "two_servers" else sites[:1]:
            patience = 200
            while True:  # until the sockets are there
                done = subprocess.run(
                    [
                        *(sys.executable, "-m", "dhcptwist.ctl", "probe"),
                        *("--to", "127.0.0.1", "--port", str(site.port)),
                        *("--hardware", MINE),
                    ],
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                patience -= 1
                assert process.poll() is None
                if done.returncode == 0 or not patience:
                    break
            assert done.returncode == 0, done.stderr
            assert "192.0.2." in done.stdout or "198.51.100." in done.stdout
    finally:
        process.terminate()
        assert process.wait(20) is not None


def test_netbox(make_site: Callable[..., Any], tmp_path: Path) -> None:
    """The example of another program pushes its reservation, and says so."""
    site = make_site(listen="tcp:0:interface=127.0.0.1")
    site.ini = site.ini.replace("127.7.0.0/16", "192.0.2.0/24").replace(
        "127.7.0", "192.0.2"
    )
    site.start()
    endpoint = (site.state / "control" / "endpoint").read_text("utf-8").strip()
    program = (EXAMPLES / "netbox.py").read_text("utf-8")
    for old, new in (
        ("localhost:6768", endpoint),
        ("dhcptwist-state", str(site.state)),
    ):
        assert old in program
        program = program.replace(old, new)
    path = tmp_path / "netbox.py"
    path.write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, path],
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.splitlines()[0] == "applied", done.stderr


def test_two_servers_are_shown_in_fifteen_lines() -> None:
    """Embedding stays as small as the README promises."""
    program = (EXAMPLES / "two_servers.py").read_text("utf-8")
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.parametrize("path", sorted((ROOT / "etc").glob("*.ini")), ids=str)
def test_examples_of_configuration(path: Path) -> None:
    """Every file in etc/ can be used as it is."""
    assert load(path).subnets


def test_example_is_the_one_in_the_package() -> None:
    """`--example-config` prints etc/dhcp.ini, which wheels do not have."""
    packaged = (ROOT / "dhcptwist" / "example.ini").read_bytes()
    assert packaged == (ROOT / "etc" / "dhcp.ini").read_bytes()


def test_options_page_is_that_of_the_code() -> None:
    """The table of options is made by the script beside it, and up to date."""
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_options.py"],
        capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    ).stdout.decode()
    assert made == (ROOT / "docs" / "options.md").read_text("utf-8")


def test_capture(tmp_path: Path) -> None:
    """The page's example prints the lease of a capture, and the command all of it."""
    first = discover(bytes.fromhex("020000000001"), options={"host-name": "laptop"})
    options = {"host-name": "laptop"}
    ack = select(
        first,
        first.reply(
            MessageType.OFFER, server="192.0.2.1", yiaddr="192.0.2.10", lease_time=600
        ),
    ).reply(
        MessageType.ACK,
        server="192.0.2.1",
        yiaddr="192.0.2.10",
        lease_time=600,
        options=options,
    )
    path = tmp_path / "capture.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for message in (first, ack):
            udp = dpkt.udp.UDP(sport=67, dport=68, data=message.encode())
            udp.ulen = len(udp)
            packet = dpkt.ip.IP(p=17, src=bytes(4), dst=b"\xff" * 4, data=udp)
            packet.len = len(packet)
            writer.writepkt(bytes(dpkt.ethernet.Ethernet(data=packet)), ts=1)

    def said(*command: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, *command, path],
            capture_output=True,
            env={"PYTHONPATH": str(ROOT)},
            check=True,
        )
        return done.stdout.decode()

    assert said(EXAMPLES / "capture.py") == "192.0.2.10 02:00:00:00:00:01 600 laptop\n"
    shown = said("-m", "dhcptwist.wire")
    for line in to_text(ack).splitlines():
        assert line in shown
