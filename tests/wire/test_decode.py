"""Reading a datagram: its fields, its options and their three areas."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st
from support import UNTIMED, messages, options_of, packet, survives

from dhcptwist.wire import HardwareType, MalformedMessage, Message, MessageType
from dhcptwist.wire.areas import split
from dhcptwist.wire.codes import MAGIC_COOKIE


class TestDecode:
    """RFC 2131 section 2: the fixed fields."""

    def test_fields(self):
        """Every field stands where the RFC draws it."""
        head = bytes.fromhex(
            "0220060312345678 00018000 c0000201 c0000202 c0000203 c0000204"
            "020000000001 aabbccddeeff00112233"
        )
        data = packet(b"\xff", head=head, sname=b"server", file=b"boot.bin")
        message = Message.decode(data)
        assert (message.op, message.htype, message.hlen, message.hops) == (2, 32, 6, 3)
        assert (message.xid, message.secs, message.flags) == (0x12345678, 1, 0x8000)
        addresses = (message.ciaddr, message.yiaddr, message.siaddr, message.giaddr)
        assert addresses == tuple(range(0xC0000201, 0xC0000205))
        assert message.chaddr == bytes.fromhex("020000000001")
        assert message.sname == b"server".ljust(64, b"\0")
        assert message.file == b"boot.bin".ljust(128, b"\0")
        assert message.htype == HardwareType.INFINIBAND
        assert message.raw is data

    @pytest.mark.parametrize("size", [0, 1, 27, 108, 235])
    def test_too_short(self, size):
        """Less than the fixed fields is no message, and the reason says how long."""
        with pytest.raises(MalformedMessage, match=rf"^{size} bytes.*offset {size}\)"):
            Message.decode(bytes(size))

    def test_plain_bootp(self):
        """The fixed fields alone are a message without options, as BOOTP has it."""
        message = Message.decode(bytes(236))
        assert (message.options, message.type, message.chaddr) == ({}, None, b"")

    @pytest.mark.parametrize(
        "tail", [b"", b"\x63", b"\x63\x82\x53", b"\x63\x82\x53\x62"]
    )
    def test_no_cookie(self, tail):
        """Without the whole magic cookie nothing behind the fields is an option."""
        data = bytes(236) + tail + b"\x35\x01\x01\xff"
        assert Message.decode(data).options == {}
        assert Message.decode(bytes(236) + tail).options == {}

    @pytest.mark.parametrize("late", [1, 4, 60, 65])
    def test_late_cookie(self, late):
        """TRAPS 36: the cookie may stand a little late, but within BOOTP's vendor field."""
        data = bytes(236 + late) + MAGIC_COOKIE + b"\x35\x01\x01\xff"
        message = Message.decode(data)
        assert message.type is (MessageType.DISCOVER if late < 65 else None)
        if late < 65:
            assert next(message.pieces()).offset == 240 + late
        else:
            assert list(message.pieces()) == []

    def test_cookie_only(self):
        """A cookie and nothing behind it is a message without options."""
        assert options_of(b"") == {}

    @pytest.mark.parametrize("hlen", [17, 128, 255])
    def test_long_hardware_address(self, hlen):
        """TRAPS 24: a hardware address is at most as long as its field."""
        head = bytes([1, 1, hlen])
        with pytest.raises(MalformedMessage, match=rf"^hlen is {hlen}.*offset 2\)"):
            Message.decode(packet(head=head))

    @pytest.mark.parametrize("hlen", [0, 1, 6, 8, 16])
    def test_hardware_address(self, hlen):
        """TRAPS 24: the address has the length the client says, zero included."""
        head = bytes([1, 32, hlen]).ljust(28, b"\0") + bytes(range(16))
        assert Message.decode(packet(head=head)).chaddr == bytes(range(hlen))

    def test_malformed(self):
        """It says what is wrong and where, also when it has come from another process."""
        with pytest.raises(MalformedMessage) as caught:
            Message.decode(packet(head=b"\x01\x01\x11"))
        error = caught.value
        assert isinstance(error, ValueError)  # who catches those catches it
        assert error.offset == 2
        assert error.reason == "hlen is 17; a hardware address has at most 16 bytes"
        assert str(error) == f"{error.reason} (offset 2)"
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is MalformedMessage
        assert (again.reason, again.offset, str(again)) == (
            error.reason,
            error.offset,
            str(error),
        )

    def test_where_it_begins(self):
        """An error that says no place is about the whole message."""
        assert MalformedMessage("odd").offset == 0

    @pytest.mark.parametrize("size", [236, 65535, 65536])
    def test_longest(self, size):
        """A message is as long as a datagram can be, and no longer."""
        data = packet().ljust(size, b"\0")[:size]
        if size == 65536:
            with pytest.raises(MalformedMessage, match=r"^65536 bytes.*offset 65535"):
                Message.decode(data)
        else:
            assert Message.decode(data).raw is data

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_other_bytes(self, kind):
        """What a socket reads into is copied: changing it later changes nothing."""
        data = packet(b"\x35\x01\x01\xff")
        buffer = bytearray(data)
        message = Message.decode(kind(buffer))
        buffer[242] = 5
        assert type(message.raw) is bytes
        assert message.raw == data
        assert message.type is MessageType.DISCOVER

    def test_strict(self):
        """What is odd is refused if that is asked for, at the place where it is odd."""
        data = packet(b"\x35\x01\x01\x0c\x40x")
        message = Message.decode(data)
        first = message.diagnostics[0]
        with pytest.raises(MalformedMessage) as caught:
            Message.decode(data, strict=True)
        assert (caught.value.offset, caught.value.reason) == tuple(first)
        clean = Message.build(chaddr=bytes(range(6)), options={53: "discover"}).raw
        assert Message.decode(clean, strict=True).raw is clean

    @pytest.mark.parametrize(("flags", "wanted"), [(0x8000, True), (0x7FFF, False)])
    def test_broadcast_flag(self, flags, wanted):
        """Only the highest flag asks for broadcast."""
        assert Message.build(flags=flags).wants_broadcast is wanted


class TestOptions:
    """RFC 2132 section 2, RFC 3396, RFC 2131 section 4.1: reading the options."""

    def test_order_received(self):
        """The mapping keeps the order in which the options came."""
        got = options_of(b"\x35\x01\x01\x3c\x02ab\x01\x04\xff\xff\xff\x00\xff")
        assert list(got.items()) == [(53, b"\1"), (60, b"ab"), (1, b"\xff\xff\xff\0")]

    def test_same_code_twice(self):
        """TRAPS 28: pieces are joined, and the option stands where its first stood."""
        got = options_of(b"\x32\x02\xc0\x00\x35\x01\x01\x32\x02\x02\x07\xff")
        assert list(got.items()) == [(50, b"\xc0\x00\x02\x07"), (53, b"\x01")]

    def test_three_pieces_and_more(self):
        """Every further piece is added at the end, empty ones too."""
        got = options_of(b"\x3d\x01a\x3d\x00\x3d\x01b\x0c\x01x\x3d\x01c\x0c\x01y")
        assert got == {61: b"abc", 12: b"xy"}

    def test_pads(self):
        """TRAPS 36: pads may stand before, between and behind options."""
        got = options_of(b"\0\0\x35\x01\x01\0\x0c\x01h\0\0\xff\0\0")
        assert got == {53: b"\x01", 12: b"h"}

    def test_only_pads(self):
        """Pads alone are no options."""
        assert options_of(bytes(300)) == {}

    def test_missing_end(self):
        """TRAPS 36: the options may run to the end of the datagram."""
        assert options_of(b"\x35\x01\x01\x0c\x03box") == {53: b"\x01", 12: b"box"}

    @pytest.mark.parametrize("junk", [b"\x0c\x03box", b"\xff" * 60, b"\x0c", b"\0" * 9])
    def test_junk_after_end(self, junk):
        """TRAPS 36: nothing behind END counts."""
        assert options_of(b"\x35\x01\x01\xff" + junk) == {53: b"\x01"}

    @pytest.mark.parametrize(
        "tail", [b"\x0c", b"\x0c\x01", b"\x0c\x05ab", b"\x0c\xff" + bytes(254)]
    )
    def test_overrun(self, tail):
        """TRAPS 36: a length past the end stops the reading; what came before stays."""
        assert options_of(b"\x35\x01\x01\x32\x01a" + tail) == {53: b"\x01", 50: b"a"}

    def test_overrun_hides_what_follows(self):
        """Behind an overrun nothing is guessed, even if it looks like an option."""
        assert options_of(b"\x35\x01\x01\x0c\x40\x36\x01\x09\xff") == {53: b"\x01"}

    def test_exactly_to_the_end(self):
        """A value may end with the datagram."""
        assert options_of(b"\x0c\xff" + bytes(255)) == {12: bytes(255)}

    @pytest.mark.parametrize("code", [12, 50, 53, 55, 61, 80, 82, 224, 254])
    def test_zero_length(self, code):
        """TRAPS 34: an empty option is there, and is empty."""
        assert options_of(bytes([code, 0]) + b"\x0f\x01a\xff") == {code: b"", 15: b"a"}

    def test_every_code(self):
        """All codes from 1 to 254 are kept, known or not."""
        data = b"".join(
            bytes([code, 2, code, 1]) for code in range(1, 255) if code != 52
        )
        got = options_of(data)
        assert got == {code: bytes([code, 1]) for code in range(1, 255) if code != 52}


class TestOverload:
    """RFC 2131 section 4.1, option 52: the options spill into ``file`` and ``sname``."""

    SNAME = b"\x38\x05sname\xff"
    FILE = b"\x38\x04file\xff"

    @pytest.mark.parametrize(
        ("overload", "text"),
        [
            (b"\x34\x01\x01", b"begin file"),
            (b"\x34\x01\x02", b"begin sname"),
            (b"\x34\x01\x03", b"begin filesname"),
            (b"", b"begin "),
            (b"\x34\x00", b"begin "),
            (b"\x34\x01\x00", b"begin "),
            (b"\x34\x01\x04", b"begin "),
            (b"\x34\x01\xff", b"begin "),
            (b"\x34\x02\x03\x00", b"begin filesname"),
            (b"\x34\x01\x03\x34\x01\x00", b"begin filesname"),
        ],
    )
    def test_order(self, overload, text):
        """TRAPS 27: first the options field, then ``file``, then ``sname``."""
        area = b"\x38\x06begin " + overload + b"\xff"
        got = options_of(area, sname=self.SNAME, file=self.FILE)
        assert got[56] == text

    def test_overload_behind_other_options(self):
        """Option 52 may stand anywhere in the options field."""
        got = options_of(b"\x0c\x01h\x34\x01\x01\x0f\x01d", file=b"\x32\x01a\xff")
        assert list(got) == [12, 52, 15, 50]

    @pytest.mark.parametrize("end", [b"", b"\xff\x34\x01\x03"])
    def test_overload_that_does_not_count(self, end):
        """Behind END there is no option 52, nor inside the other areas."""
        areas = {
            "sname": b"\x34\x01\x03" + self.SNAME,
            "file": b"\x34\x01\x03" + self.FILE,
        }
        assert options_of(b"\x0c\x01h" + end, **areas) == {12: b"h"}

    def test_overload_inside_file(self):
        """An option 52 in ``file`` opens no further area."""
        file = b"\x34\x01\x03\x0f\x01d\xff"
        got = options_of(b"\x34\x01\x01\xff", sname=self.SNAME, file=file)
        assert 56 not in got
        assert got[15] == b"d"

    def test_pieces_across_areas(self):
        """RFC 3396 section 5: one option may come in pieces from all three areas."""
        got = options_of(
            b"\x34\x01\x03\x3d\x01a\xff", file=b"\x3d\x01b\xff", sname=b"\x3d\x01c\xff"
        )
        assert got == {52: b"\x03", 61: b"abc"}

    def test_no_end_in_the_fields(self):
        """Areas that are full to the last byte end there."""
        file = b"\x0c\x7e" + b"f" * 126
        sname = b"\x0f\x3e" + b"s" * 62
        got = options_of(b"\x34\x01\x03\xff", sname=sname, file=file)
        assert got == {52: b"\x03", 12: b"f" * 126, 15: b"s" * 62}

    def test_length_leaves_its_area(self):
        """A length that leaves ``file`` is an overrun there, and nowhere else."""
        file = b"\x0f\x01d\x0c\xfa" + b"x" * 123
        got = options_of(b"\x34\x01\x03\xff", sname=self.SNAME, file=file)
        assert got == {52: b"\x03", 15: b"d", 56: b"sname"}

    def test_code_is_the_last_byte(self):
        """A code without a length at an area's end is not an option."""
        got = options_of(b"\x34\x01\x02\xff", sname=bytes(63) + b"\x0c")
        assert got == {52: b"\x02"}

    def test_overrun_in_the_options_field(self):
        """An overrun there ends that area only."""
        got = options_of(b"\x34\x01\x01\x0c\x40x", file=self.FILE)
        assert got == {52: b"\x01", 56: b"file"}


class Counted(bytes):
    """Bytes that count how many of them are read or copied."""

    work = 0

    def __getitem__(self, key):
        got = super().__getitem__(key)
        if isinstance(got, int):
            Counted.work += 1
            return got
        Counted.work += len(got)
        return Counted(got)

    def __add__(self, other):
        Counted.work += len(self) + len(other)
        return Counted(super().__add__(other))


class TestBounded:
    """No datagram costs more than in proportion to its length."""

    @pytest.mark.parametrize(
        "area",
        [
            b"\x3d\x01x" * 21_000,
            b"\x3d\x00" * 32_000,
            b"".join(bytes([1 + n % 254, 1, n & 255]) for n in range(21_000)),
            b"\0" * 65_000,
            (b"\x3d\xff" + b"y" * 255) * 254,
        ],
        ids=["one-code", "empty", "all-codes", "pads", "long"],
    )
    def test_work(self, monkeypatch, area):
        """64 KiB of anything: each byte is read and copied a few times at most."""
        monkeypatch.setattr(Counted, "work", 0)
        data = Counted(packet(area))
        split(data)
        assert len(area) <= Counted.work < 5 * len(data)

    def test_many_pieces(self):
        """21,000 pieces of one option, among others, come out whole and in order."""
        pieces = [n.to_bytes(2, "big") for n in range(16_000)]
        area = b"\x35\x01\x01" + b"".join(b"\x3d\x02" + each for each in pieces)
        assert options_of(area) == {53: b"\x01", 61: b"".join(pieces)}


class TestIdentity:
    """Decoding and encoding again changes nothing, whatever came in."""

    @UNTIMED
    @given(messages())
    def test_messages(self, message):
        """Messages that are mostly right."""
        survives(message.raw)
        assert Message.decode(message.encode()) == message

    @UNTIMED
    @given(st.binary(max_size=600))
    def test_any_bytes(self, data):
        """Any bytes."""
        survives(data)

    @UNTIMED
    @given(st.binary(min_size=236, max_size=236), st.binary(max_size=400))
    def test_any_options(self, head, area):
        """Any bytes behind any fields and a cookie."""
        survives(head + MAGIC_COOKIE + area)

    @UNTIMED
    @given(
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40)),
            max_size=20,
        ),
        st.binary(max_size=64),
        st.binary(max_size=128),
        st.integers(0, 16),
    )
    def test_almost_options(self, options, sname, file, hlen):
        """Options whose lengths mostly fit, in all three areas."""
        area = b"\x34\x01\x03" + b"".join(
            bytes([code, len(value) if length < 200 else length]) + value
            for code, length, value in options
        )
        head = bytes([1, 1, hlen])
        survives(packet(area, sname=sname, file=file, head=head))
