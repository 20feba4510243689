"""Other DHCP servers, whose leases are to be taken over."""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod

from lab.hosts import Host, end, wait_until


POOL = ("192.168.100.10", "192.168.100.40")
US = "192.168.100.1"


class OtherServer(ABC):
    """A server on a lab's machine, at `US` with the addresses of `POOL` to give.

    Attributes:
        kind: What `dhcpctl leases import` calls its lease file.
        leases: Its lease file.
    """

    kind: str
    #: Seconds that a lease lasts.
    LEASE_TIME = 600

    def __init__(self, host: Host, interface: str = "s0") -> None:
        self._host = host
        self._interface = interface
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = host.directory / self.kind
        self._directory.mkdir()
        self.leases = self._directory / "leases"
        self._said = self._directory / "said.txt"

    @abstractmethod
    def command(self) -> list[str]:
        """Write its configuration, and give the command that keeps it in front."""

    def start(self) -> None:
        """Start it, and wait until it listens."""
        process = self._process = self._host.start(*self.command(), output=self._said)

        def listens() -> bool:
            assert process.poll() is None, self.said
            # On a socket for datagrams, or one for frames.
            datagrams, frames = (self._host.run("ss", f"-Hln{kind}") for kind in "u0")
            return ":67 " in datagrams or bool(frames)

        wait_until(listens, f"{self.kind} to listen")

    @property
    def said(self) -> str:
        """What it has printed, for a test that fails."""
        return self._said.read_text("utf-8", "replace")

    def stop(self) -> None:
        """End it as an administrator would."""
        assert self._process is not None, "it has not been started"
        end(self._process)

    def wait_for(self, address: str) -> None:
        """Wait until an address is in its file: not all write it before the ACK."""
        wait_until(
            lambda: f"{address}" in self.leases.read_text("utf-8", "replace"),
            f"{self.kind} to write {address}",
        )


class Dhcpd(OtherServer):
    """ISC dhcpd."""

    kind = "dhcpd"

    def command(self) -> list[str]:
        """Leases as long as the client wants."""
        config = self._directory / "dhcpd.conf"
        config.write_text(
            "authoritative; ddns-update-style none; ping-check off;\n"
            f"default-lease-time {self.LEASE_TIME}; max-lease-time 4294967295;\n"
            "subnet 192.168.100.0 netmask 255.255.255.0 {\n"
            f"  range {' '.join(POOL)};\n  option routers {US};\n"
            "}\n",
            "ascii",
        )
        self.leases.touch()
        return [
            *("dhcpd", "-4", "-f", "-d", "--no-pid", "-user", "root", "-group", "root"),
            *("-cf", str(config), "-lf", str(self.leases), self._interface),
        ]


class Kea(OtherServer):
    """ISC Kea, told to keep the relays' ports and the clients' names as they are."""

    kind = "kea"

    def command(self) -> list[str]:
        """With its files in our folder, not the system's."""
        config = self._directory / "kea.json"
        settings = {
            "interfaces-config": {"interfaces": [self._interface]},
            "lease-database": {"type": "memfile", "name": str(self.leases)},
            "valid-lifetime": self.LEASE_TIME,
            "store-extended-info": True,
            "hostname-char-set": "",
            "subnet4": [
                {
                    "id": 1,
                    "subnet": "192.168.100.0/24",
                    "pools": [{"pool": " - ".join(POOL)}],
                    "option-data": [{"name": "routers", "data": US}],
                }
            ],
        }
        config.write_text(json.dumps({"Dhcp4": settings}), "ascii")
        return [
            *("env", f"KEA_PIDFILE_DIR={self._directory}", "KEA_LOCKFILE_DIR=none"),
            # Where later versions allow lease files to be.
            f"KEA_DHCP_DATA_DIR={self._directory}",
            *("kea-dhcp4", "-c", str(config)),
        ]


class Dnsmasq(OtherServer):
    """dnsmasq."""

    kind = "dnsmasq"

    def command(self) -> list[str]:
        """Without any DNS."""
        return [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
            *("--no-resolv", "--no-hosts", "--user=root", "--group=root"),
            *(f"--interface={self._interface}", "--bind-interfaces", "--no-ping"),
            *("--dhcp-authoritative", "--log-dhcp", "--log-facility=-", "--pid-file="),
            f"--dhcp-leasefile={self.leases}",
            f"--dhcp-range={','.join(POOL)},{self.LEASE_TIME}",
        ]
