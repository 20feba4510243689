"""The server without root: it binds port 67, and then gives all of that up."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.capture import Capture
from lab.clients import Dhclient, Udhcpc
from lab.hosts import Lan, wait_until
from lab.server import ENVIRONMENT, Refused, Server, subnet


pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NEEDS = ("dhclient", "busybox", "tcpdump", "tshark")

NOBODY = 65534  # by number: the group's name is not the same everywhere


def reachable(*paths: Path, aside: Path) -> tuple[str, ...]:
    """Write a command prefix for a view of the disk where everyone can reach paths.

    An interpreter in root's own folder could not import anything any more, once it has
    given up root.  The folder that is closed is covered by an open one, in a mount
    namespace of the server's own; nobody else sees anything of it.
    """
    closed, put_aside, put_back = set(), [], []
    for number, path in enumerate(paths):
        shut = [above for above in path.parents if not is_open(above)]
        if shut:
            closed.add(shut[-1])
            kept = aside / str(number)
            kept.mkdir(parents=True)
            put_aside.append(f"mount --bind {path} {kept}")
            put_back += [f"mkdir -p {path}", f"mount --bind {kept} {path}"]
    cover = [f"mount -t tmpfs -o mode=755 tmpfs {path}" for path in closed]
    script = " && ".join([*put_aside, *cover, *put_back, 'exec "$@"'])
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def is_open(path: Path) -> bool:
    """Tell whether everyone may pass through a folder."""
    return bool(path.stat().st_mode & stat.S_IXOTH)


@pytest.fixture
def server(lan: Lan) -> Iterator[Server]:
    """A server that becomes nobody, with a state directory which is nobody's."""
    # Not pytest's folder, which is closed to all but root.
    with tempfile.TemporaryDirectory(prefix="dhcptwist-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = Server(
            lan.server,
            directory=directory,
            twistd=(f"--uid={NOBODY}", f"--gid={NOBODY}"),
            prefix=reachable(
                Path(sys.base_prefix),
                Path(sys.prefix),
                Path(ENVIRONMENT["PYTHONPATH"]),
                aside=lan.server.directory / "aside",
            ),
        )
        server.state.mkdir(mode=0o700)
        os.chown(server.state, NOBODY, NOBODY)
        yield server
        server.stop()
        assert "Traceback" not in server.log, server.log


def test_privileges_are_dropped(lan: Lan, server: Server) -> None:
    """Frames for clients without an address still go out, and leases to the disk.

    Raw sockets can be opened by root only, so they must have been, before.
    """
    section = subnet()
    server.start(section)
    client = Dhclient(lan.computer())
    capture = Capture(client.host, "c0")

    lease = client.start()

    status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    rights = dict(line.split(":\t", 1) for line in status.splitlines())
    assert rights["Uid"].split() == [str(NOBODY)] * 4
    assert rights["Gid"].split() == [str(NOBODY)] * 4
    assert int(rights["CapEff"], 16) == 0
    for reply in capture.packets("OFFER", "ACK"):
        assert reply.ethernet_destination == client.hardware
    client.stop()
    server.restart(section)
    assert client.start().address == lease.address


def test_reload_without_root(lan: Lan, server: Server) -> None:
    """What the server may not read any more changes nothing; what it may, does."""
    section, other = subnet(), subnet(lease_time="90s")
    server.start(section)
    config = server.directory / "dhcp.ini"
    config.chmod(0o600)
    with pytest.raises(Refused, match="cannot be read: Permission denied"):
        server.reload(other)
    assert Udhcpc(lan.computer()).start().seconds == 60
    config.chmod(0o644)
    assert server.reload(other)["applied"]
    assert Udhcpc(lan.computer()).start().seconds == 90


def test_renewals_without_root(lan: Lan, server: Server) -> None:
    """Answers by way of the kernel go out as well, from port 67."""
    server.start(subnet())
    client = Udhcpc(lan.computer())
    lease = client.start()
    wait_until(lambda: client.host.addresses("c0") == [lease.address], "the address")

    assert client.renew() == lease
