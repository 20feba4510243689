"""Hostile and broken peers of the control channel: bounded memory, and no packet.

A real server over TLS, each kind of peer as bad as it can be, and all the while clients
behind a relay of whom every one has to be answered.
"""

from __future__ import annotations

import json
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import pytest
from twisted.protocols import amp

from dhcptwist.control import connections, tls


pytestmark = pytest.mark.timeout(120)

#: Exchanges of clients that are answered, at least, while a peer is hostile.
EXCHANGES = 60

#: Bytes that the server may grow by at most, at its worst moment: of 64 peers each may
#: keep one box half said and some answers unread.
MOST_GROWTH = 64 << 20

#: The same of a crowd.  Connections that are gone are cycles, which wait for the garbage
#: collector, and the server lets that come seldom: it levels off at some 180 MiB.
MOST_GARBAGE = 256 << 20

#: Connections one after the other, and at once.
CROWD = 10_000

# A record of TLS that announces a ClientHello of 512 bytes, and its first bytes.
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20)


def box(command: str, **fields: bytes) -> bytes:
    """One command, as it is on the wire."""
    named = {name.encode(): value for name, value in fields.items()}
    head = {amp.COMMAND: command.encode(), amp.ASK: b"1"}
    return amp.AmpBox({**head, **named}).serialize()


class Peer:
    """Whoever can reach the port of a server, and what it may do there."""

    def __init__(self, site: Any, stack: ExitStack) -> None:
        where = (site.state / "control" / "endpoint").read_text().strip()
        host, _, port = where.rpartition(":")
        self.site = site
        self.admin = site.state / "control" / "admin.pem"
        self._address = host, int(port)
        self._stack = stack

    def connect(self) -> socket.socket:
        """A plain connection, open until the attack is over."""
        return self._stack.enter_context(
            socket.create_connection(self._address, timeout=10)
        )

    def knock(self) -> socket.socket:
        """Begin a connection, and leave the rest to the kernel.

        It lets fifty wait; who comes then is heard when it asks again, in a second.
        """
        stranger = socket.socket()
        stranger.settimeout(0.05)
        with suppress(TimeoutError):
            stranger.connect(self._address)
        return stranger

    def secure(
        self, identity: Path | None = None, plain: socket.socket | None = None
    ) -> ssl.SSLSocket:
        """A connection with TLS, with or without a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity is not None:
            context.load_cert_chain(identity)
        return self._stack.enter_context(
            context.wrap_socket(plain or self.connect(), server_hostname="localhost")
        )


def until_closed(peer: socket.socket) -> bytes:
    """What a peer hears until the server closes its connection."""
    peer.settimeout(20)
    heard = b""
    # A reset, or an alert of TLS, is an end as well.
    with suppress(ConnectionError, ssl.SSLError):
        while data := peer.recv(65536):
            heard += data
    return heard


def until_it_blocks(peer: ssl.SSLSocket, data: bytes) -> int:
    """Send without reading for as long as the server takes it; how much that was."""
    peer.setblocking(False)
    sent, quiet = 0, monotonic()
    while monotonic() - quiet < 0.5 and sent < 200 << 20:
        try:
            sent += peer.send(data[sent % len(data) :] or data)
            quiet = monotonic()
        except ssl.SSLWantWriteError:
            sleep(0.005)
    return sent


# --- the server, as the kernel sees it --------------------------------------------------


def memory(site: Any, what: str = "VmRSS") -> int:
    """Bytes of memory that the server has, or (``VmHWM``) has ever had."""
    for line in Path(f"/proc/{site.pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no {what}")


def descriptors(site: Any) -> int:
    """How many files and sockets the server has open."""
    return len(list(Path(f"/proc/{site.pid}/fd").iterdir()))


def status(site: Any) -> dict[str, object]:
    """What ``dhcpctl status`` says."""
    done = subprocess.run(
        [sys.executable, "-m", "dhcptwist.ctl",
         "--state", str(site.state), "--json", "status"],
        capture_output=True, text=True, timeout=30, check=False, env=site.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@contextmanager
def clients(site: Any) -> Iterator[None]:
    """Clients behind a relay, each of whom is answered: as many as there is time for."""
    relay = site.relay()
    enough = Event()
    lost: list[BaseException] = []
    bound = 0

    def come() -> None:
        nonlocal bound
        try:
            for number in count():
                if enough.is_set() and bound >= EXCHANGES:
                    return
                relay.bind(site.client(1 + number % 100))
                bound += 1
        except BaseException as error:  # noqa: BLE001 - told to the test's thread
            lost.append(error)

    thread = Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(60)
        relay.socket.close()
    assert not thread.is_alive()
    assert not lost, f"after {bound} exchanges: {lost[0]!r}"


@pytest.fixture
def site(make_site: Callable[..., Any]) -> Any:
    """A server whose control channel is a TCP port, and which has been in use."""
    site = make_site(listen="tcp:0:interface=127.0.0.1")
    site.start()
    with clients(site):
        status(site)
    return site


@contextmanager
def attack(site: Any, most: int = MOST_GROWTH) -> Iterator[Peer]:
    """See what peers cost that do what they do in here, and stay until its end."""
    memory_before, open_before = memory(site), descriptors(site)
    log_before = len(site.log)
    with clients(site), ExitStack() as stack:
        yield Peer(site, stack)
        # Each may be there once, and those that have just been refused not yet gone.
        assert descriptors(site) < open_before + 3 * connections.MOST_CONNECTIONS
    end = monotonic() + 20
    while descriptors(site) != open_before and monotonic() < end:
        sleep(0.05)
    assert descriptors(site) == open_before
    assert status(site)["subnets"]
    grown = memory(site, "VmHWM") - memory_before
    logged = len(site.log) - log_before
    assert grown < most, f"{grown >> 20} MiB"
    assert logged < 64 << 10, site.log[-2000:]
    assert "Traceback" not in site.log, site.log


# --- strangers --------------------------------------------------------------------------


def test_no_certificate(site: Any) -> None:
    """Who shows no certificate is told so by TLS, and is gone."""
    with attack(site) as peer:
        for _ in range(100):
            until_closed(peer.secure())


def test_wrong_authority(site: Any, tmp_path: Path) -> None:
    """A certificate that somebody else has signed is worth as much as none."""
    tls.prepare(tmp_path / "other", [])
    with attack(site) as peer:
        for _ in range(100):
            stranger = peer.secure(tmp_path / "other" / "admin.pem")
            with suppress(OSError):  # it may be refused before it has asked
                stranger.sendall(box("Status"))
            assert b"uptime" not in until_closed(stranger)


@pytest.mark.parametrize("said", [b"", HALF_A_HELLO], ids=["nothing", "half"])
def test_half_open(site: Any, said: bytes) -> None:
    """Who says nothing, or half of what it should, takes nobody's place."""
    with attack(site) as peer:
        for _ in range(200):
            with suppress(OSError):
                peer.connect().sendall(said)
        # While all of them are there:
        assert status(site)["subnets"]


def test_slow(site: Any) -> None:
    """A ClientHello, and a command, of which each byte comes alone."""
    command = box("Status", padding=bytes(200))
    with attack(site) as peer:
        friend = peer.secure(peer.admin)
        strangers = [peer.connect() for _ in range(30)]
        for number, byte in enumerate(command):
            friend.sendall(bytes([byte]))
            for each in strangers:
                each.sendall((HALF_A_HELLO + bytes(600))[number : number + 1])
        friend.settimeout(20)
        assert friend.recv(65536)


def test_something_else(site: Any) -> None:
    """HTTP, SSH, nothing but noise: each is closed out."""
    noise = bytes(range(256)) * 200
    with attack(site) as peer:
        for said in (b"GET / HTTP/1.1\r\nHost: dhcp\r\n\r\n", b"SSH-2.0-x\r\n", noise):
            for _ in range(100):
                stranger = peer.connect()
                with suppress(OSError):
                    stranger.sendall(said)
                until_closed(stranger)


def test_one_after_the_other(site: Any) -> None:
    """Thousands of connections that are gone as soon as they are there."""
    with attack(site, MOST_GARBAGE) as peer:
        for _ in range(CROWD):
            peer.knock().close()


def test_all_at_once(site: Any) -> None:
    """As many connections at once as this machine lets one program have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(before[1], CROWD + 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        with attack(site, MOST_GARBAGE) as peer, ExitStack() as stack:
            for _ in range(most - 1000):
                stack.enter_context(peer.knock())
            # While all of them are there:
            assert status(site)["subnets"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# --- who has a certificate --------------------------------------------------------------


def test_idle(site: Any) -> None:
    """As many as may be there, saying nothing and reading nothing; one more is refused."""
    with attack(site) as peer:
        friends = [peer.secure(peer.admin) for _ in range(connections.MOST_CONNECTIONS)]
        # Each is known once it has been answered.
        for each in friends:
            each.sendall(box("Status"))
            each.settimeout(20)
            assert each.recv(1)
        assert until_closed(peer.secure(peer.admin)) == b""
        friends[0].close()


def test_never_reads(site: Any) -> None:
    """Who asks for everything again and again and never reads is not heard any more."""
    with attack(site) as peer:
        for _ in range(4):
            eager = peer.secure(peer.admin)
            sent = until_it_blocks(eager, box("ListLeases", limit=b"1000") * 500)
            assert sent < 100 << 20, "it takes whatever is sent"


def test_large_values(site: Any) -> None:
    """Values as long as can be, in commands that are well formed and make no sense."""
    large = b"x" * 0xFFFF
    with attack(site) as peer:
        for command, name in (
            ("Reserve", "hardware"), ("Reserve", "options"), ("FindLease", "client_id"),
            ("StageReservations", "reservations"), ("ListLeases", "after"),
        ):  # fmt: skip
            friend = peer.secure(peer.admin)
            friend.settimeout(20)
            for _ in range(10):
                friend.sendall(box(command, **{name: large}))
                assert friend.recv(65536)


def test_box_without_end(site: Any) -> None:
    """A command that goes on and on is cut off, from as many as may be there."""
    value = b"\x00\x01x\xff\xff" + bytes(0xFFFF)
    with attack(site) as peer:
        for _ in range(20):
            friend = peer.secure(peer.admin)
            friend.settimeout(20)
            with pytest.raises((ConnectionError, ssl.SSLError)):
                friend.sendall(value * 1000)


def test_nearly_too_large(site: Any) -> None:
    """As many as may be there, each with a command that is as large as one may be."""
    value = b"\x00\x01x\xea\x60" + bytes(60000)
    with attack(site) as peer:
        for _ in range(connections.MOST_CONNECTIONS):
            friend = peer.secure(peer.admin)
            friend.settimeout(20)
            friend.sendall(value * (connections.MOST_BYTES // 60300))


def test_ten_thousand_keys(site: Any) -> None:
    """A box of many small values costs more than its bytes, and is cut off too."""
    with attack(site) as peer:
        for _ in range(5):
            friend = peer.secure(peer.admin)
            keys = {f"k{number:05}": b"" for number in range(10_000)}
            with suppress(OSError):
                friend.sendall(box("Status", **keys))
            assert until_closed(friend) == b""


def test_unknown_commands(site: Any) -> None:
    """Commands that there are not are answered, each; there may be any number."""
    with attack(site) as peer:
        friend = peer.secure(peer.admin)
        friend.settimeout(20)
        for number in range(20):
            friend.sendall(box(f"Explode{number}") * 50)
            heard = b""
            while heard.count(amp.ERROR_CODE) < 50:
                heard += friend.recv(65536)


def test_garbage_within(site: Any) -> None:
    """Noise from somebody whose certificate is good."""
    with attack(site) as peer:
        for noise in (b"\xff" * 100_000, b"GET / HTTP/1.1\r\n\r\n", b"\x01" * 5000):
            for _ in range(20):
                friend = peer.secure(peer.admin)
                with suppress(OSError):
                    friend.sendall(noise)
                until_closed(friend)
