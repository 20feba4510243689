"""IPv4 and UDP in a frame, checked against sums that are made another way."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.testing import ip
from dhcptwist.transport import frames
from dhcptwist.transport.frames import PacketSocket, checksum, packet


# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

US = bytes([192, 0, 2, 1])
THEM = bytes([192, 0, 2, 10])


def slow_sum(data):
    """RFC 1071 section 1, word by word: the one's complement sum of the words."""
    total = 0
    for at in range(0, len(data), 2):
        low = data[at + 1] if at + 1 < len(data) else 0
        total += data[at] << 8 | low
        if total > 0xFFFF:  # the end-around carry
            total -= 0xFFFF
    return total


def pseudo_header(source, address, length):
    """RFC 768: what the UDP checksum covers beside the datagram."""
    return source + address + bytes([0, 17]) + length.to_bytes(2, "big")


class TestChecksum:
    """RFC 1071."""

    def test_example_of_the_rfc(self):
        """RFC 1071 section 3: the sum of the example is ddf2."""
        data = bytes.fromhex("0001f203f4f5f6f7")
        assert slow_sum(data) == 0xDDF2
        assert checksum(data) == 0xFFFF - 0xDDF2

    def test_well_known_header(self):
        """The IPv4 header that textbooks show has the checksum b861."""
        header = bytes.fromhex("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7")
        assert checksum(header) == 0xB861

    @pytest.mark.parametrize(
        ("data", "wanted"),
        [
            (b"", 0xFFFF),
            (b"\0", 0xFFFF),
            (b"\0\0", 0xFFFF),
            (b"\xff\xff", 0),
            (b"\xff\xff" * 40_000, 0),
            (b"\x01", 0xFEFF),
            (b"\x01\x02\x03", 0xFFFF - 0x0402),
            (b"\xff\xff\x00\x01", 0xFFFE),
        ],
    )
    def test_edges(self, data, wanted):
        """Nothing, odd lengths, carries, and the two zeros of one's complement."""
        assert checksum(data) == wanted

    @UNTIMED
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data):
        """Any bytes of any length have the sum that adding word by word gives."""
        assert checksum(data) == 0xFFFF - slow_sum(data)

    @UNTIMED
    @given(st.binary(min_size=2, max_size=200))
    def test_receiver(self, data):
        """RFC 1071 section 1: a receiver that sums all, checksum included, gets ffff."""
        even = data[: len(data) & ~1]
        assert slow_sum(even + checksum(even).to_bytes(2, "big")) == 0xFFFF

    @pytest.mark.parametrize("order", ["little", "big"])
    def test_byte_order(self, monkeypatch, order):
        """RFC 1071 section 2(B): the sum is the same in either order, but for a swap."""
        native = sys.byteorder
        monkeypatch.setattr(frames, "sys", SimpleNamespace(byteorder=order))
        number = checksum(bytes.fromhex("0001f203f4f5f6f7"))
        assert number == (0x220D if order == native else 0x0D22)


class TestPacket:
    """TRAPS 23: what a client without an address receives."""

    def test_layout(self):
        """Every field of both headers, then the data."""
        raw = packet(US, 67, THEM, 68, b"data!")
        assert raw[:10] == bytes.fromhex("45 10 0021 0000 0000 40 11")
        assert raw[12:20] == US + THEM
        assert raw[20:26] == bytes.fromhex("0043 0044 000d")
        assert raw[28:] == b"data!"
        assert len(raw) == 33

    def test_literal(self):
        """One packet whole, its two sums computed by hand."""
        # The header's words add up to 2094a, folded 094c; those of the pseudo header
        # and the datagram to 1ed20, folded ed21.
        assert packet(US, 67, THEM, 68, b"hi") == bytes.fromhex(
            "4510 001e 0000 0000 4011 f6b3 c000 0201 c000 020a 0043 0044 000a 12de 6869"
        )

    @UNTIMED
    @given(
        st.binary(min_size=4, max_size=4),
        st.integers(0, 65535),
        st.binary(min_size=4, max_size=4),
        st.integers(0, 65535),
        st.binary(max_size=600),
    )
    def test_sums(self, source, source_port, address, port, data):
        """A receiver accepts both checksums, and reads lengths and ports as they are."""
        raw = packet(source, source_port, address, port, data)
        header, udp = raw[:20], raw[20:]
        assert slow_sum(header) == 0xFFFF
        assert slow_sum(pseudo_header(source, address, len(udp)) + udp) == 0xFFFF
        assert udp[6:8] != b"\0\0"  # that would mean "not computed"
        assert int.from_bytes(header[2:4], "big") == len(raw)
        ports = source_port.to_bytes(2, "big") + port.to_bytes(2, "big")
        assert udp[:6] == ports + len(udp).to_bytes(2, "big")
        assert udp[8:] == data

    def test_zero_sum(self):
        """RFC 768: a UDP checksum that comes out as 0 is sent as ffff."""
        empty = packet(US, 67, THEM, 68, b"\0\0")
        # With the sum of everything else as data, all that is summed is ffff.
        rest = empty[26:28]
        raw = packet(US, 67, THEM, 68, rest)
        udp = raw[20:26] + b"\0\0" + raw[28:]
        assert slow_sum(pseudo_header(US, THEM, 10) + udp) == 0xFFFF
        assert raw[26:28] == b"\xff\xff"

    @pytest.mark.parametrize("size", [0, 1, 300, 301, 1472, 65507])
    def test_sizes(self, size):
        """Empty, odd, and as large as IPv4 can carry."""
        raw = packet(US, 67, b"\xff\xff\xff\xff", 68, bytes(size))
        assert len(raw) == 28 + size
        assert int.from_bytes(raw[2:4], "big") == 28 + size


class FakeSocket:
    """A socket that remembers what is done with it."""

    def __init__(self, *kind):
        self.kind = kind
        self.sent = []
        self.closed = False

    def sendto(self, data, address):
        """Remember what is sent."""
        self.sent.append((data, address))
        return len(data)

    def close(self):
        """Remember that too."""
        self.closed = True


class TestPacketSocket:
    """Sending to link addresses."""

    @pytest.fixture
    def fake(self, monkeypatch):
        """The socket that is opened, in a list."""
        opened = []

        def make(*kind):
            opened.append(FakeSocket(*kind))
            return opened[-1]

        monkeypatch.setattr(frames.socket, "socket", make)
        return opened

    def test_send(self, fake):
        """A packet goes to one hardware address, out of one interface, as IPv4."""
        sender = PacketSocket("eth0", ip("192.0.2.1"), 67)
        hardware = b"\2\0\0\0\0\1"
        sender.send(hardware, THEM, 68, b"reply")
        ((data, address),) = fake[0].sent
        assert data == packet(US, 67, THEM, 68, b"reply")
        assert address == ("eth0", 0x0800, 0, 0, hardware)

    def test_kind(self, fake):
        """It never blocks, hears nothing, and leaves the link header to the kernel."""
        PacketSocket("eth0", ip("192.0.2.1"), 67)
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        assert fake[0].kind == (socket.AF_PACKET, kind, 0)

    def test_close(self, fake):
        """Closing it closes the socket."""
        sender = PacketSocket("eth0", ip("192.0.2.1"), 67)
        assert not fake[0].closed
        sender.close()
        assert fake[0].closed

    def test_no_rights(self, monkeypatch):
        """Without rights it says so at once."""

        def refuse(*kind):
            raise PermissionError(1, "Operation not permitted", kind)

        monkeypatch.setattr(frames.socket, "socket", refuse)
        with pytest.raises(PermissionError):
            PacketSocket("eth0", ip("192.0.2.1"), 67)
