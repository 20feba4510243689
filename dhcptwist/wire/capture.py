"""The DHCP messages in a capture file: pcap or pcapng, as tcpdump and Wireshark write.

The files are read with dpkt, an optional extra: ``pip install "dhcptwist[pcap]"``.  The
headers of each frame are read here, since only a few of their bytes matter.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .codes import CLIENT_PORT, MAGIC_COOKIE, SERVER_PORT
from .message import MalformedMessage, Message


#: Where PXE boot servers listen (PXE 2.1 section 2.2.3).
PXE_PORT = 4011

_PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAP = {
    order
    for magic in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d", b"\xa1\xb2\xcd\x34")
    for order in (magic, magic[::-1])
}

#: A block of a pcapng file that is longer than this is taken for a broken file.
_LARGEST_BLOCK = 1 << 20

#: Link types (LINKTYPE_…) by what stands before the IP header.
_ETHERNET = 1
_LINUX_COOKED = 113
_LINUX_COOKED_2 = 276
_LOOPBACK = {0, 108}
_RAW = {12, 14, 101, 228}
_KNOWN = {_ETHERNET, _LINUX_COOKED, _LINUX_COOKED_2, *_LOOPBACK, *_RAW}

_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPES_VLAN = {0x8100, 0x88A8, 0x9100}
_PROTOCOL_UDP = 17


class CaptureError(ValueError):
    """The file is no capture, is broken, or is of a kind that is not read."""


class MissingReader(ImportError):  # noqa: N818 - it says what
    """dpkt is not installed."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A DHCP message and how it came.

    Attributes:
        frame: The frame's number in the file, from 1 as Wireshark counts.
        time: When, in seconds since 1970.
        source: Address and port.
        destination: Address and port.
        vlans: The VLANs it was tagged with, the outer first.
        interface: Where it was captured, if the file says so.
        payload: What the UDP datagram held, as far as it was captured.
        message: The message; None if there is none.
        malformed: Why there is none.
    """

    frame: int
    time: float
    source: str
    destination: str
    vlans: tuple[int, ...]
    interface: str
    payload: bytes
    message: Message | None
    malformed: MalformedMessage | None = None


def is_capture(head: bytes) -> bool:
    """Whether a file that begins with these four bytes or more is a capture."""
    return head[:4] in _PCAP or head[:4] == _PCAPNG


def captured(
    source: str | os.PathLike[str] | BinaryIO, head: bytes = b""
) -> Iterator[Captured]:
    """The DHCP messages of a capture, in the order of the file.

    They come as they are read, so a pipe from a running tcpdump will do.  A datagram
    counts if it goes to or from a DHCP port (67, 68; 4011 if it may be a message) or
    carries the magic cookie where a message has it.  Frames that are cut, broken or of
    anything else are passed over; but of a message that was cut or sent in fragments
    there is a `Captured` that says so.

    Args:
        source: A path, or a file that is open in binary.
        head: What was already read of it.

    Raises:
        CaptureError: The file is no capture or broken, or it holds frames of a link
            type that is not read.  What could be read comes first.
        MissingReader: dpkt is not installed.
        OSError: The file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield from _captured(_Ahead(file, head))
    else:
        yield from _captured(_Ahead(source, head))


def payload_of(link: int, frame: bytes) -> bytes | None:
    """What the UDP datagram in a frame of a link type holds; None if there is none."""
    found = _datagram(link, frame)
    return found.payload if found else None


class _Ahead:
    """A file of which something was read already."""

    def __init__(self, file: BinaryIO | _Ahead, head: bytes) -> None:
        self._file = file
        self._head = head

    def read(self, size: int) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        while len(data) < size:  # a file without a buffer gives what it has
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        return data


class _Frame(NamedTuple):
    time: float
    link: int
    interface: str
    data: bytes


def _captured(file: _Ahead) -> Iterator[Captured]:
    others: Counter[int] = Counter()
    number = 0
    try:
        for number, frame in enumerate(_frames(file), 1):
            if frame.link not in _KNOWN:
                others[frame.link] += 1
                continue
            found = _datagram(frame.link, frame.data)
            if found is None or not found.is_dhcp():
                continue
            yield Captured(
                number,
                frame.time,
                found.source,
                found.destination,
                found.vlans,
                frame.interface,
                found.payload,
                *found.message(),
            )
    except CaptureError as error:
        raise CaptureError(f"after frame {number}: {error}") from None
    if others:
        kinds = ", ".join(f"{count} of {link}" for link, count in others.items())
        raise CaptureError(f"frames of link types that are not read: {kinds}")


# --- files ------------------------------------------------------------------------


def _frames(file: _Ahead) -> Iterator[_Frame]:
    head = file.read(4)
    if not is_capture(head):
        raise CaptureError("neither pcap nor pcapng")
    whole = _Ahead(file, head)
    frames = _pcapng(whole) if head == _PCAPNG else _pcap(whole)
    while True:
        try:
            frame = next(frames, None)
        except (OSError, CaptureError, MissingReader):
            raise
        except Exception as error:  # dpkt has many, and its own are no ValueErrors
            reason = str(error) or type(error).__name__
            raise CaptureError(f"the file is broken: {reason}") from error
        if frame is None:
            return
        yield frame


def _reader(name: str) -> Any:
    """One of dpkt's modules.

    It is looked for only when a capture is read; the library needs nothing but Python.
    """
    try:
        return importlib.import_module(f"dpkt.{name}")
    except ImportError:
        raise MissingReader(
            'captures are read with dpkt: pip install "dhcptwist[pcap]"'
        ) from None


def _pcap(file: _Ahead) -> Iterator[_Frame]:
    reader = _reader("pcap").Reader(file)
    # The upper bits say how long the frame's checksum is.
    link = reader.datalink() & 0xFFFF
    for time, data in reader:
        yield _Frame(float(time), link, "", data)


def _pcapng(file: _Ahead) -> Iterator[_Frame]:
    """The frames of a pcapng file.

    dpkt's own reader takes all interfaces for the first, so only its blocks are used.
    """
    blocks = _reader("pcapng")
    order: Any = "big"
    interfaces: list[_Interface] = []
    while head := file.read(8):
        kind = head[:4]
        if kind == _PCAPNG:
            head += file.read(4)
            order = "little" if head[8:] == b"\x4d\x3c\x2b\x1a" else "big"
            interfaces = []
        size = int.from_bytes(head[4:8], order)
        if not 12 <= size <= _LARGEST_BLOCK:
            raise CaptureError(f"a block of {size} bytes")
        block = head + file.read(size - len(head))
        if len(block) < size:
            raise CaptureError("the file is cut off")
        ending = "LE" if order == "little" else ""
        number = int.from_bytes(kind, order)
        if number == blocks.PCAPNG_BT_IDB:
            described = getattr(blocks, f"InterfaceDescriptionBlock{ending}")(block)
            interfaces.append(_Interface(described, order))
        elif number in {blocks.PCAPNG_BT_EPB, blocks.PCAPNG_BT_PB}:
            enhanced = number == blocks.PCAPNG_BT_EPB
            name = "EnhancedPacketBlock" if enhanced else "PacketBlock"
            packet = getattr(blocks, f"{name}{ending}")(block)
            if packet.iface_id >= len(interfaces):
                raise CaptureError(f"there is no interface {packet.iface_id}")
            interface = interfaces[packet.iface_id]
            ticks = packet.ts_high << 32 | packet.ts_low
            yield _Frame(
                interface.time(ticks), interface.link, interface.name, packet.pkt_data
            )
        elif number == _SIMPLE_PACKET:
            if not interfaces:
                raise CaptureError("a frame comes before its interface")
            length = int.from_bytes(block[8:12], order)
            data = block[12 : min(12 + length, size - 4)]
            yield _Frame(0.0, interfaces[0].link, interfaces[0].name, data)


#: A frame without a time; dpkt does not know it.
_SIMPLE_PACKET = 3


class _Interface:
    """An interface of a pcapng file: its name, its link type and its clock."""

    def __init__(self, block: Any, order: Any) -> None:
        self.link: int = block.linktype
        self.name = ""
        self._ticks = 10**6  # a second
        self._offset = 0
        for option in block.opts:
            if option.code == 2:  # if_name
                self.name = option.data.rstrip(b"\0").decode("utf-8", "replace")
            elif option.code == 9 and option.data:  # if_tsresol
                digit = option.data[0]
                self._ticks = 2 ** (digit & 0x7F) if digit & 0x80 else 10**digit
            elif option.code == 14:  # if_tsoffset
                self._offset = int.from_bytes(option.data, order, signed=True)

    def time(self, ticks: int) -> float:
        return self._offset + ticks / self._ticks


# --- frames -----------------------------------------------------------------------


class _Datagram(NamedTuple):
    """A UDP datagram, or what there is of it."""

    source: str
    destination: str
    ports: tuple[int, int]
    vlans: tuple[int, ...]
    payload: bytes
    problem: str

    def is_dhcp(self) -> bool:
        payload = self.payload
        if {SERVER_PORT, CLIENT_PORT} & {*self.ports}:
            return True
        if PXE_PORT in self.ports and payload[:1] in {b"\1", b"\2"}:
            return True
        return payload[236:240] == MAGIC_COOKIE

    def message(self) -> tuple[Message | None, MalformedMessage | None]:
        if self.problem:
            return None, MalformedMessage(self.problem, len(self.payload))
        try:
            return Message.decode(self.payload), None
        except MalformedMessage as error:
            return None, error


def _datagram(link: int, frame: bytes) -> _Datagram | None:
    """The UDP datagram over IPv4 in a frame."""
    if link in _RAW:
        return _udp(frame, ())
    if link in _LOOPBACK:
        # The family is in the byte order of the machine that captured.
        family = frame[:4]
        return _udp(frame[4:], ()) if family in {b"\0\0\0\2", b"\2\0\0\0"} else None
    if link == _LINUX_COOKED_2:
        frame, at = frame[:2] + frame[20:], 0
    else:
        at = 12 if link == _ETHERNET else 14
    vlans: list[int] = []
    while (kind := int.from_bytes(frame[at : at + 2], "big")) in _ETHERTYPES_VLAN:
        vlans.append(int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF)
        at += 4
    if kind != _ETHERTYPE_IPV4:
        return None
    return _udp(frame[at + 2 :], tuple(vlans))


def _udp(packet: bytes, vlans: tuple[int, ...]) -> _Datagram | None:
    """The UDP datagram in an IPv4 packet (RFC 791 section 3.1, RFC 768)."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != _PROTOCOL_UDP:
        return None
    start = (packet[0] & 0xF) * 4
    fragment = int.from_bytes(packet[6:8], "big")
    if start < 20 or fragment & 0x1FFF:  # only the first fragment says the ports
        return None
    # Cards that cut packets themselves leave the length to be filled in.
    end = int.from_bytes(packet[2:4], "big") or len(packet)
    udp = packet[start:end]
    if len(udp) < 8:
        return None
    ports = int.from_bytes(udp[:2], "big"), int.from_bytes(udp[2:4], "big")
    size = int.from_bytes(udp[4:6], "big") - 8
    payload = udp[8 : max(8, 8 + size)]
    problem = ""
    if fragment & 0x2000:
        problem = f"only the first fragment, {len(payload)} of {size} bytes"
    elif len(packet) < end:
        problem = f"only {len(payload)} of {size} bytes were captured"
    elif len(payload) != size:
        problem = f"UDP says {size + 8} bytes, and IP has {len(udp)}"
    return _Datagram(
        f"{IPv4Address(packet[12:16])}:{ports[0]}",
        f"{IPv4Address(packet[16:20])}:{ports[1]}",
        ports,
        vlans,
        payload,
        problem,
    )
