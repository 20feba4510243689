"""Captures: what is found in them, and what is passed over."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from dhcptwist.wire import Message
from dhcptwist.wire.capture import (
    Captured,
    CaptureError,
    MissingReader,
    captured,
    is_capture,
    payload_of,
)


DISCOVER = Message.build(
    xid=7, chaddr=bytes.fromhex("020000000001"), options={53: "discover"}
)
RAW = DISCOVER.raw

NULL, ETHERNET, RAW_IP, LOOP, COOKED, COOKED_2 = 0, 1, 101, 108, 113, 276


def udp(
    payload: bytes = RAW,
    *,
    ports: tuple[int, int] = (68, 67),
    fragment: int = 0,
    size: int | None = None,
    protocol: int = 17,
    options: bytes = b"",
) -> bytes:
    """Make an IPv4 packet with a datagram in it."""
    size = len(payload) + 8 if size is None else size
    first = 0x45 + len(options) // 4
    length = 28 + len(options) + len(payload)
    head = struct.pack("!BBHHHBBH", first, 0, length, 1, fragment, 64, protocol, 0)
    return (
        head
        + bytes((0, 0, 0, 0, 255, 255, 255, 255))
        + options
        + struct.pack("!4H", *ports, size, 0)
        + payload
    )


def ethernet(packet: bytes | None = None, *tags: int, kind: int = 0x0800) -> bytes:
    """Make an Ethernet frame, with VLAN tags if wanted."""
    inner = b"".join(struct.pack("!HH", 0x8100, 0x2000 | tag) for tag in tags)
    packet = udp() if packet is None else packet
    return b"\xff" * 6 + b"\2" + bytes(5) + inner + struct.pack("!H", kind) + packet


def pcap(
    frames: list[bytes], link: int = ETHERNET, order: str = "<", nano: bool = False
) -> bytes:
    """Make a pcap file."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for second, frame in enumerate(frames, 100):
        fraction = 500_000_000 if nano else 500_000
        head = struct.pack(f"{order}4I", second, fraction, len(frame), len(frame))
        parts += [head, frame]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Make a block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    """Make the header of a section."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, *options: tuple[int, bytes], order: str = "<") -> bytes:
    """Make the description of an interface."""
    body = struct.pack(f"{order}HHI", link, 0, 0)
    for code, data in options:
        body += struct.pack(f"{order}HH", code, len(data)) + data
        body += bytes(-len(data) % 4)
    return block(1, body, order)


def packet(frame: bytes, number: int = 0, ticks: int = 0, order: str = "<") -> bytes:
    """Make an enhanced packet block."""
    words = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, struct.pack(f"{order}5I", *words) + frame, order)


def read(data: bytes) -> list[Captured]:
    """Read a capture from memory."""
    return list(captured(io.BytesIO(data)))


def until_broken(found: Iterator[Captured]) -> tuple[list[Captured], str]:
    """Read a capture up to where it is broken, and why it is."""
    seen = []
    with pytest.raises(CaptureError) as caught:
        seen.extend(found)
    return seen, str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap(order, nano):
    """Both byte orders and both clocks; frames are counted as Wireshark does."""
    other = ethernet(kind=0x0806)
    found = read(pcap([other, ethernet(), other, ethernet()], order=order, nano=nano))
    assert [(each.frame, each.time) for each in found] == [(2, 101.5), (4, 103.5)]
    assert found[0].message == DISCOVER
    assert found[0].malformed is None
    assert found[0].payload == RAW
    assert found[0].source == "0.0.0.0:68"
    assert found[0].destination == "255.255.255.255:67"
    assert found[0].vlans == ()
    assert found[0].interface == ""


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_has_interfaces(order):
    """Each interface has its own link type, name and clock."""
    byteorder = "little" if order == "<" else "big"
    offset = (1000).to_bytes(8, byteorder)
    data = (
        section(order)
        + interface(ETHERNET, (2, b"eth0"), order=order)
        + interface(RAW_IP, (9, b"\x09"), (14, offset), order=order)
        + interface(RAW_IP, (9, b"\x8a"), order=order)
        + block(5, bytes(12), order)  # statistics
        + packet(ethernet(), 0, 5_500_000, order)
        + packet(udp(), 1, 5_500_000_000, order)
        + packet(udp(), 2, 1536, order)
        + block(3, struct.pack(f"{order}I", len(ethernet())) + ethernet(), order)
    )
    found = read(data)
    assert [(each.frame, each.interface, each.time) for each in found] == [
        (1, "eth0", 5.5),
        (2, "", 1005.5),
        (3, "", 1.5),
        (4, "eth0", 0.0),
    ]
    assert {each.message for each in found} == {DISCOVER}


def test_pcapng_has_sections():
    """A section begins anew, in a byte order of its own."""
    one = section("<") + interface(ETHERNET) + packet(ethernet())
    two = section(">") + interface(RAW_IP, order=">") + packet(udp(), order=">")
    assert [each.message for each in read(one + two)] == [DISCOVER, DISCOVER]
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 0, 28 + len(RAW), 0) + udp())
    assert len(read(section() + interface(RAW_IP) + old)) == 1


@pytest.mark.parametrize(
    ("link", "frame", "vlans"),
    [
        (ETHERNET, ethernet(), ()),
        (ETHERNET, ethernet() + bytes(9), ()),  # trailer
        (ETHERNET, ethernet(udp(), 12), (12,)),
        (ETHERNET, ethernet(udp(), 100, 12), (100, 12)),
        (ETHERNET | 0x14000000, ethernet() + bytes(4), ()),  # with its checksum
        (RAW_IP, udp(), ()),
        (228, udp(options=bytes(8)), ()),
        (NULL, b"\2\0\0\0" + udp(), ()),
        (NULL, b"\0\0\0\2" + udp(), ()),
        (LOOP, b"\0\0\0\2" + udp(), ()),
        (COOKED, bytes(14) + b"\x08\0" + udp(), ()),
        (COOKED, bytes(14) + b"\x81\0\0\7\x08\0" + udp(), (7,)),
        (COOKED_2, b"\x08\0" + bytes(18) + udp(), ()),
        (COOKED_2, b"\x81\0" + bytes(18) + b"\0\7\x08\0" + udp(), (7,)),
    ],
)
def test_link_types(link, frame, vlans):
    """The datagram is found behind each kind of header."""
    (found,) = read(pcap([frame], link))
    assert found.message == DISCOVER
    assert found.vlans == vlans


@pytest.mark.parametrize(
    ("ports", "payload", "counts"),
    [
        ((67, 68), RAW, True),
        ((67, 67), b"", True),
        ((4011, 4011), RAW, True),
        ((4011, 53), b"\1\2\3", True),
        ((4011, 53), b"\7\2\3", False),
        ((1067, 1068), RAW, True),  # the cookie is where it belongs
        ((1067, 1068), RAW[:239], False),
        ((53, 53), b"query", False),
    ],
)
def test_what_counts_as_dhcp(ports, payload, counts):
    """The ports decide, or the cookie."""
    found = read(pcap([udp(payload, ports=ports)], RAW_IP))
    assert len(found) == counts


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (udp()[:-10], "only 290 of 300 bytes were captured"),
        (udp(fragment=0x2000, size=608), "only the first fragment, 300 of 600 bytes"),
        (udp(size=408), "UDP says 408 bytes, and IP has 308"),
        (udp(size=3), "UDP says 3 bytes, and IP has 308"),
        (udp(b"\1\1"), "2 bytes; a message has 236 to 65535"),
        (udp(b"\1\1\x11" + RAW[3:]), "hlen is 17"),
    ],
)
def test_what_is_no_message_says_why(frame, reason):
    """A message that was cut, or is none, is told of and not lost."""
    found = read(pcap([frame, udp()], RAW_IP))
    assert [each.message for each in found] == [None, DISCOVER]
    assert reason in found[0].malformed.reason
    assert found[1].frame == 2


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        ethernet()[:13],
        ethernet()[:30],
        ethernet(b""),
        ethernet(udp(protocol=6)),
        ethernet(udp(fragment=1)),
        ethernet(b"\x44" + udp()[1:]),
        ethernet(b"\x65" + udp()[1:]),
        ethernet(udp(), kind=0x86DD),
        ethernet(b"", 1, 2, 3)[:17],
        ethernet(udp()[:2] + b"\0\x15" + udp()[4:]),
    ],
)
def test_broken_frames_are_passed_over(frame):
    """They are no DHCP, and the frames behind them are read."""
    assert [each.frame for each in read(pcap([frame, ethernet()]))] == [2]
    assert payload_of(ETHERNET, frame) is None


def test_offloaded_packets_have_no_length():
    """A length that the card fills in later is that of what is there."""
    (found,) = read(pcap([udp()[:2] + b"\0\0" + udp()[4:]], RAW_IP))
    assert found.message == DISCOVER


def test_unknown_link_types_are_an_error_at_the_end():
    """What can be read is read, and what cannot is not kept secret."""
    data = section() + interface(127) + interface(RAW_IP) + packet(b"?") + packet(b"?")
    seen, reason = until_broken(captured(io.BytesIO(data + packet(udp(), 1))))
    assert [each.message for each in seen] == [DISCOVER]
    assert reason == "frames of link types that are not read: 2 of 127"


WHOLE = section() + interface(ETHERNET) + packet(ethernet())


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 0),
        (b"nonsense", 0),
        (b"\xa1\xb2\xc3\xd4", 0),
        (pcap([])[:20], 0),
        (pcap([ethernet()]) + b"\0\0\0", 1),
        (b"\x0a\x0d\x0d\x0a", 0),
        (section()[:20], 0),
        (WHOLE + b"\6\0\0\0", 1),
        (WHOLE + packet(ethernet())[:-8], 1),
        (WHOLE + packet(ethernet(), 1), 1),
        (WHOLE + struct.pack("<II", 6, 8), 1),
        (WHOLE + struct.pack("<II", 6, 1 << 31), 1),
        (WHOLE + block(6, b"\0\0\0\0"), 1),
        (WHOLE + section() + block(3, bytes(8)), 1),
        (section() + block(1, b"\1"), 0),
    ],
)
def test_broken_files(data, count):
    """One documented error, behind everything that could be read."""
    seen, reason = until_broken(captured(io.BytesIO(data)))
    assert [each.message for each in seen] == [DISCOVER] * count
    assert reason


@settings(deadline=None)
@given(st.data())
def test_nothing_else_is_ever_raised(data):
    """A capture with any bytes changed gives messages, or the one error."""
    whole = data.draw(st.sampled_from([WHOLE + WHOLE, pcap([ethernet(), ethernet()])]))
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 120) | st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    kept = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    try:
        for each in captured(io.BytesIO(bytes(changed[:kept]))):
            assert (each.message is None) != (each.malformed is None)
    except CaptureError:
        pass


@given(st.sampled_from([0, 1, 101, 113, 276, 999]), st.binary(max_size=80))
def test_no_frame_raises(link, frame):
    """Whatever a frame is, there is a payload in it or there is none."""
    assert payload_of(link, frame) is None or payload_of(link, frame) in frame


def test_paths_and_missing_files(tmp_path):
    """A path is opened and closed; one that is not there is an OSError."""
    path = tmp_path / "ünïcode.pcap"
    path.write_bytes(pcap([ethernet()]))
    assert [each.message for each in captured(path)] == [DISCOVER]
    assert [each.message for each in captured(str(path))] == [DISCOVER]
    with pytest.raises(FileNotFoundError):
        next(captured(tmp_path / "none"))


def test_messages_come_as_they_are_read():
    """From a pipe that stays open, what came so far is there; nothing is rewound."""
    outlet, inlet = os.pipe()
    with os.fdopen(outlet, "rb", buffering=0) as source, os.fdopen(inlet, "wb") as sink:
        data = pcap([ethernet(), ethernet()])
        half = 24 + 16 + len(ethernet())

        def write():
            for at in range(0, half, 100):
                sink.write(data[at : min(at + 100, half)])
                sink.flush()

        writer = threading.Thread(target=write)
        writer.start()
        found = captured(source)
        assert next(found).message == DISCOVER
        writer.join()
        sink.write(data[half:])
        sink.close()
        assert [each.frame for each in found] == [2]


def test_without_dpkt_it_says_what_to_install(monkeypatch):
    """The reader is an extra, and who lacks it learns its name."""
    monkeypatch.setitem(sys.modules, "dpkt", None)
    monkeypatch.setitem(sys.modules, "dpkt.pcap", None)
    with pytest.raises(MissingReader, match=r'pip install "dhcptwist\[pcap\]"'):
        read(pcap([ethernet()]))
    assert issubclass(MissingReader, ImportError)


def test_is_capture():
    """The first four bytes tell, and no message begins so."""
    for data in (pcap([]), pcap([], order=">"), pcap([], nano=True), section(">")):
        assert is_capture(data)
    assert not is_capture(RAW)
    assert not is_capture(b"")


@pytest.mark.skipif(not shutil.which("text2pcap"), reason="text2pcap is not installed")
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_files_that_wireshark_writes(tmp_path, kind):
    """Not only our own idea of the formats is read."""
    dump = "".join(
        f"{at:06x} {RAW[at : at + 16].hex(' ')}\n" for at in range(0, len(RAW), 16)
    )
    path = tmp_path / "capture"
    subprocess.run(
        ["text2pcap", "-q", "-F", kind, "-u", "68,67", "-", str(path)],
        input=dump.encode(),
        check=True,
        capture_output=True,
    )
    (found,) = captured(path)
    assert found.message == DISCOVER
    assert found.destination.endswith(":67")
