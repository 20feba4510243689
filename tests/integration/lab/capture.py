"""What goes over a wire, as tshark reads it: somebody else's eyes, not ours."""

from __future__ import annotations

import itertools
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.hosts import Host, run, wait_until


# tshark's field for each field of `Packet`, in its order.
FIELDS = (
    "dhcp.option.dhcp",
    "eth.src",
    "eth.dst",
    "ip.src",
    "ip.dst",
    "udp.srcport",
    "udp.dstport",
    "ip.checksum.status",
    "udp.checksum.status",
    "dhcp.hw.mac_addr",
    "dhcp.flags.bc",
    "dhcp.ip.client",
    "dhcp.ip.your",
    "dhcp.ip.relay",
    "dhcp.option.requested_ip_address",
    "dhcp.option.dhcp_server_id",
    "dhcp.option.agent_information_option.agent_circuit_id",
)

TYPES = (
    "BOOTP",
    "DISCOVER",
    "OFFER",
    "REQUEST",
    "DECLINE",
    "ACK",
    "NAK",
    "RELEASE",
    "INFORM",
)

GOOD_CHECKSUM = "1"  # of tshark's statuses; 0 is wrong, 2 not looked at, 3 absent

# A frame of an experimental type (IEEE 802) that says how far a capture has come.
MARKER = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind((sys.argv[1], 0))
    wire.send(b"\\xff" * 6 + b"\\x02" + bytes(5) + b"\\x88\\xb5" + sys.argv[2].encode())
"""

FILTER = "udp port 67 or udp port 68 or ether proto 0x88b5"


@dataclass(frozen=True, slots=True)
class Packet:
    """A DHCP message with the headers it came in; empty strings for what is absent."""

    type: str
    ethernet_source: str
    ethernet_destination: str
    source: str
    destination: str
    source_port: str
    port: str
    ip_checksum: str
    udp_checksum: str
    hardware: str
    broadcast: str
    ciaddr: str
    yiaddr: str
    giaddr: str
    requested: str
    server_id: str
    circuit_id: str


class Capture:
    """All DHCP that passes an interface, from now on."""

    _numbers = itertools.count(1)

    def __init__(self, host: Host, interface: str) -> None:
        number = next(self._numbers)
        self._host = host
        self._interface = interface
        self.path = host.directory / f"capture{number}.pcap"
        said = host.directory / f"capture{number}.txt"
        self._read = 24  # bytes of the file; its header is that long
        self._process = host.start(
            "tcpdump", "-U", "--immediate-mode", "-n", "-Z", "root",
            # Room for a crowd: so many KiB, divided into frames of this length.
            "-B", "16384", "-s", "2048",
            "-i", interface, "-w", str(self.path), FILTER,
            output=said,
        )  # fmt: skip
        wait_until(lambda: b"listening on" in said.read_bytes(), "tcpdump to listen")

    def packets(self, *types: str, hardware: str = "") -> list[Packet]:
        """Read what has passed until now: all of it, or some types, or one client's.

        tcpdump writes some time after the fact, so a frame with a mark is sent after
        what is asked for, and waited for.
        """
        self._wait_for_mark()
        found = [
            Packet(TYPES[int(kind or 0)], *rest) for kind, *rest in _read(self.path)
        ]
        return [
            packet
            for packet in found
            if (not types or packet.type in types)
            and (not hardware or packet.hardware == hardware)
        ]

    def types(self, hardware: str = "") -> list[str]:
        """Name the messages that have passed until now, in their order."""
        return [packet.type for packet in self.packets(hardware=hardware)]

    def datagrams(self) -> list[tuple[float, bytes]]:
        """Take the messages that have passed since the last call, with their times.

        Tens of thousands of them would be a long read for tshark.
        """
        self._wait_for_mark()
        with self.path.open("rb") as file:
            file.seek(self._read)
            read = file.read()
        found = []
        at = 0
        # A frame that tcpdump is just writing is for the next call.
        while at + 16 <= len(read):
            seconds, micros, size, _ = struct.unpack_from("=IIII", read, at)
            if at + 16 + size > len(read):
                break
            frame = read[at + 16 : at + 16 + size]
            at += 16 + size
            if frame[12:14] == b"\x08\x00":
                message = frame[14 + 4 * (frame[14] & 15) + 8 :]
                found.append((seconds + micros / 1e6, message))
        self._read += at
        return found

    def _wait_for_mark(self) -> None:
        mark = f"mark {next(self._numbers)} of {self._host.namespace}".ljust(60, ".")
        until_now = self.path.stat().st_size
        self._host.run(sys.executable, "-c", MARKER, self._interface, mark)
        wait_until(
            lambda: _has(self.path, until_now, mark.encode()),
            "tcpdump to write everything",
        )


def _has(path: Path, behind: int, mark: bytes) -> bool:
    """Tell whether a mark is among the frames of a capture behind so many bytes."""
    with path.open("rb") as file:
        file.seek(behind)
        return mark in file.read()


def _read(path: Path) -> list[list[str]]:
    """Let tshark take a capture apart: one list of `FIELDS` for each message."""
    wanted = [word for field in FIELDS for word in ("-e", field)]
    said = run(
        "tshark", "-n", "-r", str(path), "-Y", "dhcp",
        "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
        "-T", "fields", "-E", "separator=/t", "-E", "occurrence=f", *wanted,
        check=False,  # it complains of a frame that tcpdump is just writing
    )  # fmt: skip
    return [line.split("\t") for line in said.splitlines()]
