"""Real DHCP clients behind one face, for what an administrator would see them do.

Each program calls a script of ours, as it would call its distribution's: the script
sets the address, and notes the call with its environment.  That is how a test knows
what has been *delivered*, not just what was on the wire.  The host's own files
(/etc/resolv.conf, /var/lib/dhcp) stay as they are.
"""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from lab.hosts import Host, end, wait_until


# Notes what the client calls it for, and everything it was told.
NOTE = """#!/bin/sh
checks={checks}
note() {{ {{ printf 'call=%s\\0' "$1"; env -0; printf '\\0'; }} >> {calls}; }}
flush() {{ ip -4 addr flush dev "$interface" scope global; }}
route() {{ for r in $1; do ip route replace default via "$r"; break; done; }}
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a client was told, in one form for all of them."""

    address: str
    mask: str
    routers: tuple[str, ...]
    name_servers: tuple[str, ...]
    server: str
    seconds: int


class Client(ABC):
    """One DHCP client program on one machine, started and ended by the test.

    What it remembers lies in the machine's folder, so that a second object for the
    same machine is the same client after a reboot.
    """

    # Calls by which the program says that it has, or still has, an address.
    has_address: frozenset[str]
    # Whether it remembers its lease: INIT-REBOOT (RFC 2131 3.2) needs a memory.
    remembers: bool
    # Whether it can be told to renew, or does so by its own timer only.
    obeys: bool
    # Whether a NAK reaches it in RENEWING, being broadcast (RFC 2131 4.1).
    hears_nak: bool
    script: str

    def __init__(self, host: Host, *, checks: bool = False) -> None:
        """Prepare, but do not start.

        Args:
            host: The machine, whose interface c0 is to get an address.
            checks: Whether to look by ARP if somebody uses the address already.
        """
        self.host = host
        self.hardware = host.hardware["c0"]
        self._checks = checks
        self._calls = host.directory / "calls"
        self._calls.touch()
        self._script = host.directory / "script"
        text = NOTE.format(calls=self._calls, checks=int(checks)) + self.script
        self._script.write_text(text, encoding="utf-8")
        self._script.chmod(0o755)
        self._seen = 0
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self, requested: str) -> list[str]:
        """Give the command line that keeps the program in the foreground."""

    @abstractmethod
    def lease_in(self, call: dict[str, str]) -> Lease:
        """Read a call's environment."""

    @abstractmethod
    def ask_to_renew(self) -> None:
        """Make it renew now, or see to it that it will soon."""

    @abstractmethod
    def ask_to_release(self) -> None:
        """Make it send a DHCPRELEASE."""

    @property
    def output(self) -> str:
        """What the program has said, for a test that fails."""
        return self._output.read_text("utf-8", "replace")

    @property
    def _output(self) -> Path:
        return self.host.directory / "client.txt"

    def calls(self) -> list[dict[str, str]]:
        """List all calls of the script that are complete, with their environments."""
        *complete, _ = self._calls.read_text("utf-8", "replace").split("\0\0")
        return [
            dict(word.split("=", 1) for word in call.split("\0") if "=" in word)
            for call in complete
        ]

    def begin(self, requested: str = "") -> None:
        """Start the program, and do not wait for it to get anything."""
        self._seen = len(self.calls())
        self._process = self.host.start(*self.command(requested), output=self._output)

    def start(self, requested: str = "") -> Lease:
        """Start the program, and wait until it has an address."""
        self.begin(requested)
        return self.wait()

    def wait(self, patience: float = 20.0) -> Lease:
        """Wait until it says again that it has an address, and give what it was told."""

        def next_lease() -> dict[str, str] | None:
            calls = self.calls()
            for number in range(self._seen, len(calls)):
                if calls[number]["call"] in self.has_address:
                    self._seen = number + 1
                    return calls[number]
            return None

        try:
            call = wait_until(next_lease, f"{type(self).__name__}'s address", patience)
        except AssertionError as error:
            error.add_note(self.output)
            raise
        return self.lease_in(call)

    def wait_for_call(self, *names: str) -> None:
        """Wait until it calls its script for one of these reasons."""

        def called() -> bool:
            return any(call["call"] in names for call in self.calls()[self._seen :])

        try:
            wait_until(called, f"{type(self).__name__} to say {' or '.join(names)}")
        except AssertionError as error:
            error.add_note(self.output)
            raise

    def renew(self) -> Lease:
        """Have it extend its lease: the same one, or what it got instead."""
        self.begin_renewal()
        return self.wait()

    def begin_renewal(self) -> None:
        """Have it extend its lease, and do not wait for what comes of it."""
        self._seen = len(self.calls())
        self.ask_to_renew()

    def release(self) -> None:
        """Have it give its address back, and end."""
        self.ask_to_release()
        self.stop()

    def stop(self) -> None:
        """End it without a word to the server, as pulling the plug would."""
        if self._process is not None:
            end(self._process)
            self._process = None
        self.host.ip("addr", "flush", "dev", "c0", "scope", "global")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the client has not been started"
        os.kill(self._process.pid, number)


def new_lease(call: dict[str, str]) -> Lease:
    """Read the environment that dhclient has invented, and dhcpcd uses too."""
    return Lease(
        address=call["new_ip_address"],
        mask=call["new_subnet_mask"],
        routers=tuple(call.get("new_routers", "").split()),
        name_servers=tuple(call.get("new_domain_name_servers", "").split()),
        server=call["new_dhcp_server_identifier"],
        seconds=int(call["new_dhcp_lease_time"]),
    )


class Dhclient(Client):
    """ISC dhclient: it renews by its own timer only, so give it short leases."""

    has_address = frozenset({"BOUND", "RENEW", "REBIND", "REBOOT"})
    remembers = True
    obeys = False
    hears_nak = True
    # Debian's own script does not look for conflicts; Red Hat's does, this way.
    script = """
    ask() { [ $checks = 0 ] ||
      arping -q -D -c 1 -w 1 -I "$interface" "$new_ip_address"; }
    case "$reason" in
      PREINIT) flush; ip link set "$interface" up ;;
      BOUND|REBOOT) ask || { note CONFLICT; exit 1; }; flush
        ip addr add "$new_ip_address/$new_subnet_mask" dev "$interface"
        route "$new_routers" ;;
      RENEW|REBIND) [ "$new_ip_address" = "$old_ip_address" ] || { flush
        ip addr add "$new_ip_address/$new_subnet_mask" dev "$interface"
        route "$new_routers"; } ;;
      EXPIRE|FAIL|RELEASE|STOP) flush ;;
    esac
    note "$reason"
    """

    config = """
    initial-delay 0;
    initial-interval 2;
    backoff-cutoff 2;
    reboot 3;
    retry 3;
    timeout 20;
    request subnet-mask, broadcast-address, time-offset, routers, domain-name,
      domain-name-servers, domain-search, host-name, interface-mtu, ntp-servers;
    """

    def command(self, requested: str) -> list[str]:
        """Give its command line; it takes the address to ask for from its lease file."""
        del requested
        config = self.host.directory / "dhclient.conf"
        config.write_text(self.config, encoding="utf-8")
        return ["dhclient", "-4", "-d", "-v", *self._files(), "c0"]

    def _files(self) -> list[str]:
        directory = self.host.directory
        return [
            "-cf", str(directory / "dhclient.conf"), "-sf", str(self._script),
            "-lf", str(directory / "leases"), "-pf", str(directory / "pid"),
        ]  # fmt: skip

    def lease_in(self, call: dict[str, str]) -> Lease:
        """Read its environment."""
        return new_lease(call)

    def ask_to_renew(self) -> None:
        """Do nothing: its timer will."""

    def ask_to_release(self) -> None:
        """Let a second dhclient end the first, and send the RELEASE."""
        self.host.run("dhclient", "-4", "-r", "-v", *self._files(), "c0")


class Udhcpc(Client):
    """busybox's udhcpc, of home routers and small boards: it remembers nothing."""

    has_address = frozenset({"bound", "renew"})
    remembers = False
    obeys = True
    hears_nak = True
    script = """
    case "$1" in
      deconfig) flush; ip link set "$interface" up ;;
      bound) flush; ip addr add "$ip/$mask" dev "$interface"; route "$router" ;;
    esac
    note "$1"
    """

    broadcast = False

    def command(self, requested: str) -> list[str]:
        """Give its command line."""
        return [
            "busybox", "udhcpc", "-f", "-i", "c0", "-s", str(self._script),
            "-t", "2", "-T", "2", "-A", "1",
            *(["-r", requested] if requested else []),
            *(["-a"] if self._checks else []),
            *(["-B"] if self.broadcast else []),
        ]  # fmt: skip

    def lease_in(self, call: dict[str, str]) -> Lease:
        """Read its environment."""
        return Lease(
            address=call["ip"],
            mask=call["subnet"],
            routers=tuple(call.get("router", "").split()),
            name_servers=tuple(call.get("dns", "").split()),
            server=call["serverid"],
            seconds=int(call["lease"]),
        )

    def ask_to_renew(self) -> None:
        """Signal it: it renews by unicast."""
        self._signal(signal.SIGUSR1)

    def ask_to_release(self) -> None:
        """Signal it, and wait until it has given its address up."""
        self._seen = len(self.calls())
        self._signal(signal.SIGUSR2)
        self.wait_for_call("deconfig")


class BroadcastUdhcpc(Udhcpc):
    """udhcpc as it is used where a client cannot hear unicast before it is set up."""

    broadcast = True


class Dhcpcd(Client):
    """dhcpcd: it sets the address itself, and asks with rapid commit by default."""

    has_address = frozenset({"BOUND", "RENEW", "REBIND", "REBOOT"})
    remembers = True
    obeys = True
    # Once bound it listens on a socket of its address, where no broadcast arrives; in
    # REBINDING, after T2, it reads raw frames again.
    hears_nak = False
    script = """
    note "$reason"
    """

    config = """
    option rapid_commit
    option domain_name_servers, domain_name, domain_search
    option classless_static_routes, interface_mtu
    require dhcp_server_identifier
    clientid
    nodelay
    noipv4ll
    reboot 3
    """

    # Its leases and sockets have fixed places, where the host's own may be running.
    view = (
        "unshare", "--mount", "sh", "-c",
        'mount --bind "$0" /var/lib/dhcpcd; mount --bind "$1" /run; shift; exec "$@"',
    )  # fmt: skip

    def command(self, requested: str) -> list[str]:
        """Give its command line; it takes the address to ask for from its memory."""
        del requested
        config = self.host.directory / "dhcpcd.conf"
        config.write_text(self.config, encoding="utf-8")
        quick = [] if self._checks else ["--noarp"]
        return self._inside("-B", "-d", *quick, "c0")

    def _inside(self, *arguments: str) -> list[str]:
        memory = self.host.directory / "memory"
        sockets = self.host.directory / "run"
        memory.mkdir(exist_ok=True)
        (sockets / "dhcpcd").mkdir(parents=True, exist_ok=True)
        return [
            *self.view, str(memory), str(sockets), "dhcpcd", "-4",
            "-f", str(self.host.directory / "dhcpcd.conf"), "-c", str(self._script),
            *arguments,
        ]  # fmt: skip

    def lease_in(self, call: dict[str, str]) -> Lease:
        """Read its environment."""
        return new_lease(call)

    def ask_to_renew(self) -> None:
        """Tell it over its socket."""
        self.host.run(*self._inside("-N", "c0"))

    def ask_to_release(self) -> None:
        """Tell it over its socket; that waits until it has ended."""
        self.host.run(*self._inside("-k", "c0"))
