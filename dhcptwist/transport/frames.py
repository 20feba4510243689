"""IPv4 and UDP in a frame, for a client that has no address yet.

An ordinary socket would ask by ARP who has the address, and nobody has it yet (RFC 2131
section 4.1).  The packet socket is opened before rights are dropped; sending needs none.
"""

from __future__ import annotations

import socket
import struct
import sys


_ETH_P_IP = 0x0800
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PSEUDO = struct.Struct("!4s4sBBH")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071), as the number to store in network order."""
    if len(data) & 1:
        data += b"\0"
    # The sum is the same in either byte order, but for the swap at its end.
    total = sum(memoryview(data).cast("H"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    total = ~total & 0xFFFF
    if sys.byteorder == "little":
        return (total & 0xFF) << 8 | total >> 8
    return total


def packet(
    source: bytes, source_port: int, address: bytes, port: int, data: bytes
) -> bytes:
    """An IPv4 packet with a UDP datagram in it; both checksums are filled in."""
    length = 8 + len(data)
    pseudo = _PSEUDO.pack(source, address, 0, socket.IPPROTO_UDP, length)
    udp = _UDP.pack(source_port, port, length, 0) + data
    udp_sum = checksum(pseudo + udp) or 0xFFFF
    head = (0x45, 0x10, 20 + length, 0, 0, 64, socket.IPPROTO_UDP)
    ip_sum = checksum(_IP.pack(*head, 0, source, address))
    return (
        _IP.pack(*head, ip_sum, source, address)
        + _UDP.pack(source_port, port, length, udp_sum)
        + data
    )


class PacketSocket:
    """Sends to link addresses on one interface.

    Args:
        interface: Its name.
        source: Our address there.
        port: The server's port, where the packet says it comes from.

    Raises:
        PermissionError: Needs root or CAP_NET_RAW.
    """

    def __init__(self, interface: str, source: int, port: int) -> None:
        self._interface = interface
        self._source = source.to_bytes(4, "big")
        self._port = port
        # Protocol 0 receives nothing; the kernel writes the link header.
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0
        )

    def speak_as(self, source: int) -> None:
        """Have another of our addresses from now on."""
        self._source = source.to_bytes(4, "big")

    def send(self, hardware: bytes, address: bytes, port: int, data: bytes) -> None:
        """Send a datagram to a link address; raises OSError if that fails."""
        self._socket.sendto(
            packet(self._source, self._port, address, port, data),
            (self._interface, _ETH_P_IP, 0, 0, hardware),
        )

    def close(self) -> None:
        """No more."""
        self._socket.close()
