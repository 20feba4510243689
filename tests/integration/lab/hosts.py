"""Machines, wires and captures that exist for one test, made of namespaces.

Nothing here touches the host's own network: every interface is born inside a
namespace whose name carries this process's id, and goes away with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar


T = TypeVar("T")

# Seconds.  What is waited for usually takes a tenth of this; a loaded machine may
# take its time, and only a test that fails waits to the end.
PATIENCE = 20.0

# These are no traffic of ours, and would fill every capture.
QUIET = (
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
)


def run(*command: str, check: bool = True) -> str:
    """Run a program to its end, and give what it printed.

    Raises:
        AssertionError: it failed, with all that it said.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert not check or done.returncode == 0, (
        f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def wait_until(
    condition: Callable[[], T | None], what: str, patience: float = PATIENCE
) -> T:
    """Poll until the condition gives something true, and give that.

    Raises:
        AssertionError: it did not within `patience` seconds, naming `what`.
    """
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what}"
        time.sleep(0.05)
    return result


class Host:
    """A machine of its own: one network namespace, with a folder for its files."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.namespace = f"dt{os.getpid()}-{name}"
        self.directory = directory / name
        self.directory.mkdir()
        self.hardware: dict[str, str] = {}  # interface: MAC address
        self._processes: list[subprocess.Popen[bytes]] = []
        run("ip", "netns", "add", self.namespace)
        self.run("sysctl", "-qw", *QUIET)
        self.ip("link", "set", "lo", "up")

    def inside(self, *command: str) -> list[str]:
        """Turn a command into one that runs on this machine."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program on this machine to its end, as `run` does."""
        return run(*self.inside(*command), check=check)

    def ip(self, *arguments: str) -> str:
        """Change or ask about interfaces, addresses and routes here."""
        return run("ip", "-n", self.namespace, *arguments)

    def start(
        self, *command: str, output: Path, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program that stays in the foreground; it ends with the host.

        `ip netns exec` becomes the program, so the process id is the program's own.
        """
        with output.open("ab") as sink:
            process = subprocess.Popen(
                self.inside(*command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=env,
            )
        self._processes.append(process)
        return process

    def addresses(self, interface: str) -> list[str]:
        """List the IPv4 addresses that an interface has now."""
        lines = self.ip("-o", "-4", "addr", "show", "dev", interface).splitlines()
        return [line.split()[3].split("/")[0] for line in lines]

    def close(self) -> None:
        """End what was started here, then the machine itself."""
        for process in self._processes:
            end(process)
        # What those have started and left behind is alone in this namespace, and
        # would keep it alive without its name.
        for pid in run("ip", "netns", "pids", self.namespace, check=False).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", self.namespace, check=False)


def end(process: subprocess.Popen[bytes], patience: float = 5.0) -> int:
    """Ask a process to end, insist if it does not, and give its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(patience)


class Lab:
    """All the machines of one test, and the wires between them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hosts: list[Host] = []
        self._numbers = itertools.count(1)

    def host(self, name: str) -> Host:
        """Put up one more machine, without any wire yet."""
        host = Host(name, self.directory)
        self._hosts.append(host)
        return host

    def wire(self, here: Host, interface: str, there: Host, other: str) -> None:
        """Run a wire between two machines; both ends are up, without addresses."""
        ends = ((here, interface), (there, other))
        for host, name in ends:
            host.hardware[name] = f"02:00:00:00:00:{next(self._numbers):02x}"
        run("ip", "link", "add", interface, "netns", here.namespace,
            "address", here.hardware[interface], "type", "veth",
            "peer", "name", other, "netns", there.namespace,
            "address", there.hardware[other])  # fmt: skip
        for host, name in ends:
            # The kernel leaves the checksum of a veth to a card that is not there;
            # whoever reads raw frames would see it unfinished.
            host.run("ethtool", "-K", name, "tx", "off")
            host.ip("link", "set", name, "up")

    def close(self) -> None:
        """Take everything down, whatever of it exists."""
        for host in reversed(self._hosts):
            host.close()


class Lan:
    """A server and any number of computers on one switch: 192.168.100.0/24."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._computers = itertools.count(1)
        self._switch = lab.host("switch")
        self._switch.ip("link", "add", "br0", "type", "bridge")
        self._switch.ip("link", "set", "br0", "up")
        self.server = lab.host("server")
        self._plug(self.server, "s0", "server")
        self.server.ip("addr", "add", "192.168.100.1/24", "dev", "s0")

    def computer(self) -> Host:
        """Plug in one more computer, whose interface c0 has no address."""
        number = next(self._computers)
        host = self.lab.host(f"pc{number}")
        self._plug(host, "c0", f"pc{number}")
        return host

    def squatter(self, address: str) -> Host:
        """Plug in a computer that uses an address nobody has given to it."""
        host = self.computer()
        host.ip("addr", "add", f"{address}/24", "dev", "c0")
        return host

    def unplug(self, computer: Host) -> None:
        """Pull a computer's wire: it keeps what it has, and hears nothing more."""
        self._switch.ip("link", "set", computer.name, "down")

    def plug_in(self, computer: Host) -> None:
        """Put a computer's wire back."""
        self._switch.ip("link", "set", computer.name, "up")

    def _plug(self, host: Host, interface: str, port: str) -> None:
        self.lab.wire(host, interface, self._switch, port)
        self._switch.ip("link", "set", port, "master", "br0")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Lab]:
    """Open a lab, and close it whatever happens."""
    lab = Lab(directory)
    try:
        yield lab
    finally:
        lab.close()


def missing(*programs: str) -> list[str]:
    """Tell which of these programs this machine does not have."""
    return [name for name in programs if shutil.which(name) is None]
