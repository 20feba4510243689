"""DHCP as bytes: what is read, what is written, and what may never come out."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.wire import (
    OPTION_KINDS,
    HardwareType,
    MalformedMessage,
    Message,
    MessageType,
    lists,
    names,
    option_kind,
    relay,
    values as v,
)
from dhcptwist.wire.areas import MINIMUM_SIZE, fit, join, join_one
from dhcptwist.wire.building import encoded
from dhcptwist.wire.codes import MAGIC_COOKIE
from dhcptwist.wire.message import printable
from dhcptwist.wire.names import encode_domain
from dhcptwist.wire.values import unhex


# Packets with what others read in them; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

IP = IPv4Address
NET = IPv4Network
IP6 = IPv6Address("2001:db8::1")

# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def corpus(name):
    """The lines of a file of the corpus, or nothing where there is no corpus."""
    path = CORPUS / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def packet(options=b"", *, sname=b"", file=b"", head=b"\x01\x01\x06\x00"):
    """A datagram with these bytes behind the cookie and in its two other areas."""
    fields = sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return head.ljust(44, b"\0") + fields + MAGIC_COOKIE + options


def options_of(options=b"", **fields):
    """The options that are read from such a datagram."""
    return dict(Message.decode(packet(options, **fields)).options)


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

    def test_malformed_is_a_value_error(self):
        """Who catches ValueError catches it."""
        assert issubclass(MalformedMessage, ValueError)

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
        Message.decode(data)
        assert 0 < Counted.work < 5 * len(data)

    def test_many_pieces(self):
        """21,000 pieces of one option, among others, come out whole and in order."""
        pieces = [n.to_bytes(2, "big") for n in range(16_000)]
        area = b"\x35\x01\x01" + b"".join(b"\x3d\x02" + each for each in pieces)
        assert options_of(area) == {53: b"\x01", 61: b"".join(pieces)}

    def test_many_suboptions(self):
        """An option 82 of 64 KiB is read whole."""
        data = b"\x01\x01a" * 21_000 + b"\x02\x01b"
        assert relay.split(data) == {1: b"a", 2: b"b"}

    def test_domain_bomb(self):
        """A name longer than DNS allows is refused: pointers could repeat it for ever.

        One of 16,000 bytes and 20,000 pointers of two bytes to it would be 320 MB.
        """
        long = b"\x01a" * 130 + b"\x00"
        with pytest.raises(ValueError, match="too long"):
            names.DOMAINS.decode(long)
        with pytest.raises(ValueError, match="too long"):
            names.DOMAINS.decode(
                b"\x01a" * 120 + b"\x00" + b"\x3f" + b"b" * 63 + b"\xc0\x00"
            )


class TestIdentity:
    """Decoding and encoding again changes nothing, whatever came in."""

    @staticmethod
    def check(data):
        """Only MalformedMessage comes out of decode; everything else can be read."""
        try:
            message = Message.decode(data)
        except MalformedMessage:
            assert len(data) < 236 or data[2] > 16
            return
        assert message.encode() == data
        assert all(0 < code < 255 for code in message.options)
        assert sum(map(len, message.options.values())) <= len(data)
        assert message.type in {None, *MessageType}
        assert 0 <= message.address(50) < 2**32
        assert message.host_name.isprintable()
        assert isinstance(message.relay_information, dict)
        assert len(message.client_id) != 1
        assert repr(message).isprintable()
        for code in message.options:
            kind = option_kind(code)
            text = kind.shape.decode_text(message.options[code])
            assert kind.shape.encode_text(text) == message.options[code]
            try:
                message.get(code)
            except MalformedMessage as error:
                assert kind.name in error.reason  # noqa: PT017
                assert 44 <= error.offset < len(data)  # noqa: PT017

    @UNTIMED
    @given(st.binary(max_size=600))
    def test_any_bytes(self, data):
        """Any bytes."""
        self.check(data)

    @UNTIMED
    @given(st.binary(min_size=236, max_size=236), st.binary(max_size=400))
    def test_any_options(self, head, area):
        """Any bytes behind any fields and a cookie."""
        self.check(head + MAGIC_COOKIE + area)

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
        self.check(packet(area, sname=sname, file=file, head=head))

    @UNTIMED
    @given(
        st.dictionaries(
            st.integers(1, 254).filter(lambda code: code != 52),
            st.binary(max_size=600),
            max_size=12,
        ),
        st.binary(max_size=16),
    )
    def test_built(self, options, chaddr):
        """What is built is read again as it was meant, in the same order."""
        message = Message.build(options=options, chaddr=chaddr)
        again = Message.decode(message.encode())
        assert again == message
        assert list(again.options.items()) == list(encoded(options).items())
        assert again.options == options
        assert again.chaddr == chaddr


class TestReading:
    """What a message says of its options."""

    @staticmethod
    def message(**options):
        """A message with these options; ``o53`` is option 53."""
        return Message.build(
            options={int(k[1:]): value for k, value in options.items()}
        )

    def test_types(self):
        """Every type of the registry is known by its name."""
        for kind in MessageType:
            assert self.message(o53=bytes([kind])).type is kind

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\x13", b"\xff"])
    def test_no_type(self, data):
        """An empty or undefined type is None, not an error."""
        assert self.message(o53=data).type is None

    def test_long_type(self):
        """TRAPS 28: a type sent twice is read by its first byte."""
        assert self.message(o53=b"\x01\x01").type is MessageType.DISCOVER

    def test_get(self):
        """An option is found by name and by number, and has its shape's value."""
        message = self.message(o3=bytes([192, 0, 2, 1, 192, 0, 2, 2]), o224=b"\0\1")
        assert message.get("routers") == [IP("192.0.2.1"), IP("192.0.2.2")]
        assert message.get(3) == message.get("3") == message.get("routers")
        assert message.get(224) == b"\0\1"
        assert message.get("domain-name") is None

    def test_get_refuses(self):
        """Bytes that do not fit the shape, and unknown names, are ValueErrors."""
        message = self.message(o3=b"abc")
        with pytest.raises(ValueError, match="4 bytes each"):
            message.get("routers")
        with pytest.raises(ValueError, match="no option named 'router'"):
            message.get("router")

    @pytest.mark.parametrize(
        ("data", "number"),
        [
            (b"\xc0\x00\x02\x07", 0xC0000207),
            (b"\xc0\x00\x02\x07\xc0\x00\x02\x07", 0xC0000207),
            (b"\xc0\x00\x02", 0),
            (b"", 0),
        ],
    )
    def test_address(self, data, number):
        """TRAPS 28: one address is four bytes; more are cut, fewer are none."""
        assert self.message(o54=data).address(54) == number

    def test_no_address(self):
        """An absent option is address 0."""
        assert self.message().address(54) == 0

    @pytest.mark.parametrize(
        ("data", "identifier"),
        [(b"", b""), (b"\x01", b""), (b"\x01\x02", b"\x01\x02"), (b"\0\0", b"\0\0")],
    )
    def test_client_id(self, data, identifier):
        """TRAPS 35: a client identifier has at least two bytes, or is none."""
        assert self.message(o61=data).client_id == identifier
        assert self.message().client_id == b""

    def test_requested_options(self):
        """The list in the client's order; None if absent or empty."""
        assert self.message(o55=b"\x03\x01\x03").requested_options == b"\x03\x01\x03"
        assert self.message(o55=b"").requested_options is None
        assert self.message().requested_options is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"box", "box"),
            (b"box\0", "box"),
            (b"box\0\0\0", "box"),
            (b"\0\0", ""),
            (b"", ""),
            (b"a\0b", r"a\x00b"),
            (b"a\nb\x1b[31m", r"a\x0ab\x1b[31m"),
            ("Büro".encode(), "Büro"),
            (b"B\xfcro", r"B\xfcro"),
            ("a\u2028b\u202e".encode(), r"a\u2028b\u202e"),
        ],
    )
    def test_host_name(self, data, text):
        """TRAPS 34: trailing NULs go, and what cannot be printed is spelt out."""
        assert self.message(o12=data).host_name == text
        assert printable(data) == text
        assert self.message().host_name == ""

    def test_relay_information(self):
        """The sub-options of option 82 by code."""
        assert self.message(o82=b"\1\1p\2\1r").relay_information == {1: b"p", 2: b"r"}
        assert self.message(o82=b"").relay_information == {}
        assert self.message().relay_information == {}

    def test_repr(self):
        """A message in one line says what a person looks for."""
        message = Message.build(
            xid=7,
            chaddr=b"\2\0\0\0\0\1",
            ciaddr="192.0.2.7",
            giaddr="192.0.2.1",
            options={53: b"\1", 12: b"box"},
        )
        assert repr(message) == (
            "<Message DISCOVER xid=0x00000007 02:00:00:00:00:01 ciaddr=192.0.2.7"
            " yiaddr=0.0.0.0 giaddr=192.0.2.1 options=[53, 12]>"
        )

    @pytest.mark.parametrize(
        ("op", "name"), [(1, "BOOTP"), (2, "BOOTREPLY"), (9, "BOOTP")]
    )
    def test_repr_without_type(self, op, name):
        """A message without a type is named by its direction."""
        assert repr(Message.build(op=op)).startswith(f"<Message {name} ")


class TestBuild:
    """Making a message."""

    def test_layout(self):
        """Fields, cookie, options in the order given, END, pads to 300 bytes."""
        message = Message.build(
            op=2,
            htype=6,
            hops=1,
            xid=0x01020304,
            secs=5,
            flags=0x8000,
            ciaddr=1,
            yiaddr="0.0.0.2",
            siaddr=IP(3),
            giaddr=4,
            chaddr=b"\2\0\0\0\0\1",
            sname=b"srv",
            file=b"boot",
            options={53: b"\5", 1: b"\xff\xff\xff\0"},
        )
        raw = message.encode()
        assert raw[:28] == bytes.fromhex(
            "02060601 01020304 0005 8000 00000001 00000002 00000003 00000004"
        )
        assert raw[28:44] == b"\2\0\0\0\0\1".ljust(16, b"\0")
        assert raw[44:108] == b"srv".ljust(64, b"\0")
        assert raw[108:236] == b"boot".ljust(128, b"\0")
        end = bytes.fromhex("63825363 350105 0104ffffff00 ff")
        assert raw[236:] == end.ljust(MINIMUM_SIZE - 236, b"\0")
        assert message.options == {53: b"\5", 1: b"\xff\xff\xff\0"}

    def test_minimum_size(self):
        """TRAPS 25: old relays throw away less than 300 bytes; longer has no pads."""
        assert len(Message.build().encode()) == MINIMUM_SIZE == 300
        options = {43: bytes(100)}
        assert len(Message.build(options=options).encode()) == 240 + 102 + 1

    def test_fields_at_their_limits(self):
        """What just fits is taken."""
        message = Message.build(
            op=255, htype=255, hops=255, xid=2**32 - 1, secs=65535, flags=65535,
            ciaddr=2**32 - 1, chaddr=bytes(16), sname=b"s" * 64, file=b"f" * 128,
        )  # fmt: skip
        assert (message.op, message.xid, message.ciaddr) == (255, 2**32 - 1, 2**32 - 1)
        assert message.sname + message.file == b"s" * 64 + b"f" * 128

    @pytest.mark.parametrize(
        "field",
        [
            {"chaddr": bytes(17)},
            {"sname": bytes(65)},
            {"file": bytes(129)},
            {"op": 256},
            {"op": -1},
            {"htype": 256},
            {"hops": 256},
            {"xid": 2**32},
            {"xid": -1},
            {"secs": 65536},
            {"flags": 65536},
            {"ciaddr": 2**32},
            {"yiaddr": "192.0.2"},
            {"siaddr": "192.0.2.256"},
            {"giaddr": -1},
            {"options": {256: b""}},
        ],
        ids=repr,
    )
    def test_refuses(self, field):
        """A field that does not fit is the caller's ValueError, not a MalformedMessage."""
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - bytes() words some
            Message.build(**field)
        assert not isinstance(caught.value, MalformedMessage)

    def test_the_mapping_is_copied(self):
        """What the caller does to the mapping afterwards changes nothing."""
        options = {53: b"\1"}
        message = Message.build(options=options)
        options[53] = b"\2"
        assert message.type is MessageType.DISCOVER


class TestJoin:
    """RFC 3396 section 4: writing options."""

    @pytest.mark.parametrize(
        ("size", "pieces"),
        [
            (0, [0]),
            (1, [1]),
            (255, [255]),
            (256, [255, 1]),
            (510, [255, 255]),
            (511, [255, 255, 1]),
        ],
    )
    def test_pieces(self, size, pieces):
        """A long value goes in pieces of 255, and none is empty unless the value is."""
        value = bytes(n & 255 for n in range(size))
        data = join_one(61, value)
        lengths = []
        at = 0
        while at < len(data):
            assert data[at] == 61
            lengths.append(data[at + 1])
            at += 2 + data[at + 1]
        assert lengths == pieces
        assert options_of(data) == {61: value}

    def test_order(self):
        """Options are written in the order given, without END."""
        assert join([(53, b"\1"), (1, b"ab"), (80, b"")]) == b"\x35\1\1\1\2ab\x50\0"
        assert join([]) == b""


class TestFit:
    """TRAPS 26 and 27: a reply that would be too long."""

    @staticmethod
    def read(fitted):
        """What a client reads from the areas, but for option 52."""
        got = options_of(
            fitted.options, file=fitted.file or b"", sname=fitted.sname or b""
        )
        got.pop(52, None)
        return got

    def test_it_fits(self):
        """Nothing is overloaded or dropped if there is room."""
        options = [(53, b"\5"), (1, bytes(4)), (12, b"box")]
        fitted = fit(options, 64, file=True, sname=True)
        assert fitted == (join(options) + b"\xff", None, None, [])

    def test_exact(self):
        """Without overload the room may be used to its last byte, END included."""
        options = [(53, b"\5"), (12, b"n" * 10)]
        assert fit(options, 16, file=False, sname=False).dropped == []
        assert fit(options, 15, file=False, sname=False).dropped == [12]

    def test_file_comes_first(self):
        """TRAPS 27: ``file`` is filled before ``sname``; 52 stands behind the type."""
        options = [(53, b"\5"), (15, b"d" * 30), (12, b"h" * 120), (17, b"r" * 50)]
        fitted = fit(options, 44, file=True, sname=True)
        assert fitted.options == b"\x35\1\5\x34\1\3\x0f\x1e" + b"d" * 30 + b"\xff"
        assert fitted.file == (b"\x0c\x78" + b"h" * 120 + b"\xff").ljust(128, b"\0")
        assert fitted.sname == (b"\x11\x32" + b"r" * 50 + b"\xff").ljust(64, b"\0")
        assert fitted.dropped == []
        assert self.read(fitted) == dict(options)

    @pytest.mark.parametrize(
        ("file", "sname", "overload"), [(True, False, 1), (False, True, 2)]
    )
    def test_one_field(self, file, sname, overload):
        """Only the fields that are free are used, and 52 says which."""
        options = [(53, b"\5"), (12, b"h" * 60)]
        fitted = fit(options, 32, file=file, sname=sname)
        assert (fitted.file is not None, fitted.sname is not None) == (file, sname)
        assert fitted.options == bytes([0x35, 1, 5, 0x34, 1, overload, 0xFF])
        assert self.read(fitted) == dict(options)

    @pytest.mark.parametrize(("room", "field"), [(126, "file"), (62, "sname")])
    def test_fields_end(self, room, field):
        """Each area ends with 255: one byte of a field is kept for it."""
        free = {"file": False, "sname": False, field: True}
        fitted = fit([(12, b"h" * (room - 1))], 5, **free)
        assert getattr(fitted, field)[-1] == 255
        assert self.read(fitted) == {12: b"h" * (room - 1)}
        assert fit([(12, b"h" * room)], 5, **free).dropped == [12]

    def test_first_are_kept(self):
        """What is dropped is named in order, and later small ones still get in."""
        options = [
            (53, b"\5"),
            (54, bytes(4)),
            (43, bytes(90)),
            (12, b"h"),
            (15, bytes(80)),
        ]
        fitted = fit(options, 40, file=False, sname=False)
        assert fitted.dropped == [43, 15]
        assert list(self.read(fitted)) == [53, 54, 12]

    def test_long_options(self):
        """An option of several pieces stays whole in one area."""
        options = [(53, b"\5"), (43, bytes(300)), (12, b"h" * 100)]
        fitted = fit(options, 320, file=True, sname=True)
        assert fitted.dropped == []
        assert self.read(fitted) == dict(options)
        assert len(fitted.options) <= 320

    def test_relay_information_is_last(self):
        """TRAPS 29: option 82 goes last, whole, into the options field."""
        options = [(53, b"\5"), (82, b"\1\4port"), (43, bytes(60)), (12, b"h" * 50)]
        fitted = fit(options, 30, file=True, sname=True)
        assert fitted.options.endswith(b"\x52\6\1\4port\xff")
        assert fitted.dropped == []
        assert self.read(fitted) == dict(options)

    def test_relay_information_is_too_long(self):
        """RFC 3046 section 2.2: what does not fit is left out whole, and named."""
        options = [(53, b"\5"), (82, bytes(200)), (12, b"h" * 120)]
        fitted = fit(options, 312, file=True, sname=True)
        assert fitted.dropped == [82]
        assert self.read(fitted) == {53: b"\5", 12: b"h" * 120}

    def test_nothing(self):
        """No options at all are an END."""
        assert fit([], 1, file=False, sname=False) == (b"\xff", None, None, [])

    @UNTIMED
    @given(
        st.lists(
            st.tuples(
                st.integers(1, 254).filter(lambda code: code != 52),
                st.binary(max_size=300),
            ),
            max_size=14,
            unique_by=lambda each: each[0],
        ),
        st.integers(4, 900),
        st.booleans(),
        st.booleans(),
    )
    def test_whatever_is_not_dropped_is_read(self, options, room, file, sname):
        """Any options, any room: the areas keep their sizes, and nothing is lost."""
        fitted = fit(options, room, file=file, sname=sname)
        assert len(fitted.options) <= room
        assert fitted.options.endswith(b"\xff")
        assert fitted.file is None or (file and len(fitted.file) == 128)
        assert fitted.sname is None or (sname and len(fitted.sname) == 64)
        kept = {code: value for code, value in options if code not in fitted.dropped}
        assert self.read(fitted) == kept
        assert set(fitted.dropped) <= {code for code, _ in options}


class TestRelay:
    """RFC 3046: option 82."""

    def test_split(self):
        """Sub-options by code; a trailing zero is part of the value (TRAPS 29)."""
        data = b"\x01\x05eth0\0\x02\x03\0\1\0\x97\x00"
        assert relay.split(data) == {1: b"eth0\0", 2: b"\0\1\0", 0x97: b""}

    def test_no_pad_and_no_end(self):
        """RFC 3046 section 2.0: codes 0 and 255 are sub-options like others."""
        assert relay.split(b"\0\1a\xff\1b\1\1c") == {0: b"a", 255: b"b", 1: b"c"}

    def test_first_wins(self):
        """Of two with one code the first counts."""
        assert relay.split(b"\1\1a\1\1b\2\1c") == {1: b"a", 2: b"c"}

    @pytest.mark.parametrize("tail", [b"", b"\2", b"\2\1", b"\2\xffabc"])
    def test_overrun(self, tail):
        """What runs past the end stops the reading; what came before counts."""
        assert relay.split(b"\1\1a" + tail) == {1: b"a"}

    @UNTIMED
    @given(st.dictionaries(st.integers(0, 255), st.binary(max_size=255), max_size=6))
    def test_join(self, suboptions):
        """Joined and split again they are the same, in the same order."""
        again = relay.split(relay.join(suboptions))
        assert list(again.items()) == list(suboptions.items())

    def test_join_refuses(self):
        """A sub-option has at most 255 bytes."""
        with pytest.raises(ValueError, match="256"):
            relay.join({1: bytes(256)})


# The shape, what a person writes, the bytes, the value, and how it is printed.
SHAPES = [
    (v.OPAQUE, "00:01-02.0a ff", b"\0\1\2\n\xff", b"\0\1\2\n\xff", "hex:0001020aff"),
    (v.OPAQUE, "", b"", b"", "hex:"),
    (v.ADDRESS, " 192.0.2.1 ", b"\xc0\0\2\1", IP("192.0.2.1"), "192.0.2.1"),
    (
        lists.ADDRESSES,
        "192.0.2.1,192.0.2.2 , 0.0.0.0",
        b"\xc0\0\2\1\xc0\0\2\2\0\0\0\0",
        [IP("192.0.2.1"), IP("192.0.2.2"), IP(0)],
        "192.0.2.1, 192.0.2.2, 0.0.0.0",
    ),
    (
        lists.ADDRESS_PAIRS,
        "10.0.0.0 192.0.2.1,10.1.0.0  192.0.2.2",
        b"\x0a\0\0\0\xc0\0\2\1\x0a\1\0\0\xc0\0\2\2",
        [(IP("10.0.0.0"), IP("192.0.2.1")), (IP("10.1.0.0"), IP("192.0.2.2"))],
        "10.0.0.0 192.0.2.1, 10.1.0.0 192.0.2.2",
    ),
    (v.U8, "255", b"\xff", 255, "255"),
    (v.U8, "0x40", b"\x40", 64, "64"),
    (v.U16, "1500", b"\x05\xdc", 1500, "1500"),
    (v.U32, "4294967295", b"\xff\xff\xff\xff", 2**32 - 1, "4294967295"),
    (v.S32, "-3600", b"\xff\xff\xf1\xf0", -3600, "-3600"),
    (lists.U8S, "1, 3,6", b"\1\3\6", [1, 3, 6], "1, 3, 6"),
    (lists.U16S, "68, 65535", b"\0\x44\xff\xff", [68, 65535], "68, 65535"),
    (v.BOOLEAN, "true", b"\1", True, "true"),
    (v.BOOLEAN, " Yes ", b"\1", True, "true"),
    (v.BOOLEAN, "ON", b"\1", True, "true"),
    (v.BOOLEAN, "1", b"\1", True, "true"),
    (v.BOOLEAN, "false", b"\0", False, "false"),
    (v.BOOLEAN, "no", b"\0", False, "false"),
    (v.BOOLEAN, "off", b"\0", False, "false"),
    (v.BOOLEAN, "0", b"\0", False, "false"),
    (v.TEXT, "  a, b ", b"a, b", "a, b", "a, b"),
    (v.ANY_TEXT, " ", b"", "", ""),
    (v.ADDRESS6, "2001:db8::1", IP6.packed, IP6, "2001:db8::1"),
    (lists.ADDRESSES6, "2001:db8:0::1", IP6.packed, [IP6], "2001:db8::1"),
    (v.U64, "0x100", bytes(6) + b"\1\0", 256, "256"),
    (v.TEXT, "Büro", "Büro".encode(), "Büro", "Büro"),
    (v.EMPTY, " ", b"", True, ""),
    (
        names.DOMAINS,
        "eng.example, example.com.",
        b"\3eng\7example\0\7example\3com\0",
        ["eng.example", "example.com"],
        "eng.example, example.com",
    ),
    (
        names.DOMAINS,
        "büro.example",
        b"\x0bxn--bro-hoa\7example\0",
        ["xn--bro-hoa.example"],
        "xn--bro-hoa.example",
    ),
    (
        lists.ROUTES,
        "10.0.0.0/8 - 192.0.2.1, 0.0.0.0/0  -  192.0.2.2",
        b"\x08\x0a\xc0\0\2\1\0\xc0\0\2\2",
        [(NET("10.0.0.0/8"), IP("192.0.2.1")), (NET("0.0.0.0/0"), IP("192.0.2.2"))],
        "10.0.0.0/8 - 192.0.2.1, 0.0.0.0/0 - 192.0.2.2",
    ),
]

REFUSED_TEXTS = [
    (v.OPAQUE, "xyz", "'xyz' is not hexadecimal"),
    (v.OPAQUE, "123", "is not hexadecimal"),
    (v.ADDRESS, "hex:0g", "is not hexadecimal"),
    (v.ADDRESS, "192.0.2", "'192.0.2' is not an IPv4 address"),
    (v.ADDRESS, "", "'' is not an IPv4 address"),
    (v.ADDRESS, "192.0.2.1, 192.0.2.2", "is not an IPv4 address"),
    (lists.ADDRESSES, "192.0.2.1, router", "'router' is not an IPv4 address"),
    (lists.ADDRESSES, "192.0.2.1,,192.0.2.2", "has an empty entry"),
    (lists.ADDRESSES, "192.0.2.1,", "has an empty entry"),
    (lists.ADDRESSES, "", "has an empty entry"),
    (lists.ADDRESS_PAIRS, "10.0.0.0", "'10.0.0.0' is not a pair of addresses"),
    (lists.ADDRESS_PAIRS, "10.0.0.0 192.0.2.1 1.1.1.1", "is not a pair of addresses"),
    (lists.ADDRESS_PAIRS, "10.0.0.0 here", "'here' is not an IPv4 address"),
    (v.U8, "256", "256 does not fit a u8"),
    (v.U8, "-1", "-1 does not fit a u8"),
    (v.U8, "many", "'many' is not a number"),
    (v.U8, "1.5", "'1.5' is not a number"),
    (v.U8, "", "'' is not a number"),
    (v.U16, "65536", "65536 does not fit a u16"),
    (v.U32, "4294967296", "does not fit a u32"),
    (v.U32, "1" + "0" * 100, "does not fit a u32"),
    (v.S32, "2147483648", "does not fit a s32"),
    (lists.U8S, "1, 256", "256 does not fit a u8"),
    (lists.U8S, "1, x", "'x' is not a number"),
    (lists.U16S, "1,", "has an empty entry"),
    (v.BOOLEAN, "maybe", "'maybe' is neither true nor false"),
    (v.BOOLEAN, "", "'' is neither true nor false"),
    (v.TEXT, "  ", "may not be empty"),
    (v.TEXT, "\ud800", "surrogates not allowed"),
    (v.EMPTY, "x", "has no value"),
    (names.DOMAINS, "", "has an empty entry"),
    (names.DOMAINS, "a..b", "'a..b' is not a domain name"),
    (names.DOMAINS, ".", "'.' is not a domain name"),
    (names.DOMAINS, ".a", "'.a' is not a domain name"),
    (names.DOMAINS, "a" * 64, "too long"),
    (names.DOMAINS, ".".join(["a" * 63] * 4), "is too long for a domain name"),
    (lists.ROUTES, "", "has an empty entry"),
    (lists.ROUTES, "10.0.0.0/8", "'10.0.0.0/8' is not a route like"),
    (lists.ROUTES, "10.0.0.0/8-192.0.2.1", "is not a route like"),
    (
        lists.ROUTES,
        "10.0.0.1/8 - 192.0.2.1",
        "'10.0.0.1/8' is not a network: .*host bits",
    ),
    (lists.ROUTES, "10.0.0.0/33 - 192.0.2.1", "'10.0.0.0/33' is not a network"),
    (lists.ROUTES, "10.0.0.0/8 - gate", "'gate' is not an IPv4 address"),
]

REFUSED_BYTES = [
    (v.ADDRESS, b"", "an address has four bytes"),
    (v.ADDRESS, b"\xc0\0\2", "an address has four bytes"),
    (lists.ADDRESSES, b"", "no addresses"),
    (lists.ADDRESSES, b"\xc0\0\2\1\xc0", "4 bytes each"),
    (lists.ADDRESS_PAIRS, b"", "no address pairs"),
    (lists.ADDRESS_PAIRS, bytes(12), "8 bytes each"),
    (v.U8, b"", "a u8 has 1 bytes"),
    (v.U16, b"\1", "a u16 has 2 bytes"),
    (v.U32, b"\1\2\3", "a u32 has 4 bytes"),
    (v.S32, b"", "a s32 has 4 bytes"),
    (lists.U8S, b"", "no u8s"),
    (lists.U16S, b"\1\2\3", "u16s have 2 bytes each"),
    (v.BOOLEAN, b"", "one byte, 0 or 1"),
    (v.BOOLEAN, b"\2", "one byte, 0 or 1"),
    (v.EMPTY, b"\0", "has no value"),
    (names.DOMAINS, b"\3en", "label runs past the end"),
    (names.DOMAINS, b"\3eng", "runs past the end"),
    (names.DOMAINS, b"\x40" + b"a" * 64 + b"\0", "label runs past the end"),
    (names.DOMAINS, b"\x80a\0", "label runs past the end"),
    (names.DOMAINS, b"\1a\xc0", "pointer is cut off"),
    (names.DOMAINS, b"\xc0\0", "pointer does not go back"),
    (names.DOMAINS, b"\1a\xc0\0", "pointer does not go back"),
    (names.DOMAINS, b"\1a\0\xc0\5\1b\0", "pointer does not go back"),
    (names.DOMAINS, b"\1a\0\1b\xc0\3", "pointer does not go back"),
    (lists.ROUTES, b"", "no route"),
    (lists.ROUTES, b"\x21" + bytes(9), "cut off or wider than 32 bits"),
    (lists.ROUTES, b"\x08\x0a\xc0\0\2", "cut off or wider than 32 bits"),
    (lists.ROUTES, b"\0\xc0\0\2\1\0", "cut off or wider than 32 bits"),
]


class TestShapes:
    """Text to bytes to value to text, for every shape there is."""

    @pytest.mark.parametrize(("shape", "text", "data", "value", "printed"), SHAPES)
    def test_all_the_way(self, shape, text, data, value, printed):
        """What a person writes becomes bytes, a value, and words again."""
        assert shape.encode_text(text) == data
        assert shape.decode(data) == value
        assert type(shape.decode(data)) is type(value)
        assert shape.encode(value) == data
        assert shape.decode_text(data) == printed
        assert shape.encode_text(printed) == data

    def test_every_shape_is_tried(self):
        """The table above leaves no shape out."""
        shapes = {
            id(each)
            for module in (v, lists)
            for each in vars(module).values()
            if isinstance(each, v.Shape)
        } | {id(names.DOMAINS)}
        assert {id(row[0]) for row in SHAPES} == shapes

    @pytest.mark.parametrize(("shape", "text", "reason"), REFUSED_TEXTS)
    def test_texts_refused(self, shape, text, reason):
        """What does not fit is a ValueError with a reason."""
        with pytest.raises(ValueError, match=reason):
            shape.encode_text(text)

    @pytest.mark.parametrize(("shape", "data", "reason"), REFUSED_BYTES)
    def test_bytes_refused(self, shape, data, reason):
        """Bytes that do not fit are a ValueError, and print as hex."""
        with pytest.raises(ValueError, match=reason):
            shape.decode(data)
        assert shape.decode_text(data) == f"hex:{data.hex()}"

    @pytest.mark.parametrize("shape", [row[0] for row in SHAPES], ids=lambda s: s.name)
    def test_hex(self, shape):
        """``hex:`` gives the raw bytes, whatever the shape, and even if they do not fit."""
        assert shape.encode_text(" hex:01:02 03 ") == b"\1\2\3"
        assert shape.encode_text("hex:") == b""

    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ("0aFF", b"\n\xff"),
            ("hex:0a-ff", b"\n\xff"),
            (" 0a.ff ", b"\n\xff"),
            ("", b""),
        ],
    )
    def test_unhex(self, text, data):
        """Hex digits with or without ``hex:``, grouped or not."""
        assert unhex(text) == data

    @pytest.mark.parametrize(
        ("shape", "data", "value"),
        [
            (v.ADDRESS, b"\xc0\0\2\1\xc0\0\2\1", IP("192.0.2.1")),
            (v.U8, b"\1\1", 1),
            (v.U16, b"\1\2\1\2", 0x102),
            (v.U32, b"\0\0\0\1\0\0\0\1", 1),
            (v.S32, b"\xff\xff\xff\xff\0", -1),
            (v.BOOLEAN, b"\1\1", True),
        ],
    )
    def test_longer_than_needed(self, shape, data, value):
        """TRAPS 28: an option sent twice is read by its first piece."""
        assert shape.decode(data) == value

    @pytest.mark.parametrize(
        ("data", "value", "printed"),
        [
            (b"lan\0", "lan", "lan"),
            (b"lan\0\0", "lan", "lan"),
            (b"\0", "", ""),
            (b"", "", ""),
            (b"l\xe4n", r"l\xe4n", r"l\xe4n"),
            (b"a\x1b[m\n", "a\x1b[m\n", r"a\x1b[m\x0a"),
        ],
    )
    def test_texts_of_clients(self, data, value, printed):
        """TRAPS 34: NULs at the end go; what is not UTF-8 or not printable is spelt."""
        assert v.TEXT.decode(data) == value
        assert v.TEXT.describe(data) == printed
        # What is not just text is written so that nothing is lost.
        assert v.TEXT.encode_text(v.TEXT.decode_text(data)) == data

    # In these a loop stands where a parameter would: pytest-twisted cannot have both
    # parameters and hypothesis.
    ALL = tuple({row[0].name: row[0] for row in SHAPES}.values())

    @pytest.mark.parametrize(
        "data",
        [b"\x03\x1b[m\0", b"\x03a\nb\0", b"\x03\xc2\x9b1\0", b"\x1b[31m", b"\n\0\r\1"],
    )
    def test_control_characters(self, data):
        """What a client sends puts no control characters into a log or a terminal."""
        for shape in self.ALL:
            assert shape.decode_text(data).isprintable(), shape.name

    @UNTIMED
    @given(st.binary(max_size=80))
    def test_any_bytes_print(self, data):
        """Any bytes of any option give printable words."""
        for shape in self.ALL:
            assert shape.decode_text(data).isprintable(), shape.name

    @UNTIMED
    @given(st.text(max_size=40))
    def test_any_text(self, text):
        """Any text is bytes or a ValueError."""
        for shape in self.ALL:
            try:
                data = shape.encode_text(text)
            except ValueError as error:
                assert str(error)  # noqa: PT017 - either outcome is right
            else:
                assert isinstance(data, bytes)

    @UNTIMED
    @given(st.lists(st.ip_addresses(v=4), min_size=1))
    def test_any_addresses(self, addresses):
        """Addresses survive the way to text and back."""
        text = lists.ADDRESSES.format(addresses)
        assert lists.ADDRESSES.decode(lists.ADDRESSES.encode_text(text)) == addresses


class TestDomains:
    """RFC 3397: option 119."""

    def test_example_of_the_rfc(self):
        """In three pieces, the second name pointing into the first."""
        area = (
            b"\x77\x09\x03eng\x05appl"
            b"\x77\x09e\x03com\0\x09ma"
            b"\x77\x09rketing\xc0\x04\xff"
        )
        message = Message.decode(packet(area))
        found = ["eng.apple.com", "marketing.apple.com"]
        assert message.get("domain-search") == found
        assert names.SEARCH_LIST.encode(found) == message.options[119]

    @pytest.mark.parametrize(
        ("data", "found"),
        [
            (b"\1a\0\xc0\0", ["a", "a"]),
            (b"\1a\1b\0\1c\xc0\2\1d\xc0\5", ["a.b", "c.b", "d.c.b"]),
            (b"\1a\0\1b\xc0\0\1c\0", ["a", "b.a", "c"]),
        ],
    )
    def test_pointers(self, data, found):
        """Pointers go back, may be chained, and the next name is behind the first one."""
        assert names.DOMAINS.decode(data) == found

    def test_longest_name(self):
        """RFC 1035 section 2.3.4: 255 bytes, its last one included, and no more."""
        longest = ".".join(["a" * 63] * 3 + ["a" * 61])
        data = encode_domain(longest)
        assert len(data) == 255
        assert names.DOMAINS.decode(data) == [longest]
        with pytest.raises(ValueError, match="too long"):
            encode_domain(longest + "a")
        with pytest.raises(ValueError, match="too long"):
            names.DOMAINS.decode(data[:192] + b"\x3e" + b"a" * 62 + b"\0")

    def test_other_full_stops(self):
        """RFC 3490 section 3.1: an ideographic full stop parts labels too."""
        assert encode_domain("a。b") == b"\1a\1b\0"

    @UNTIMED
    @given(
        st.lists(
            st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9-]{1,20}){0,5}", fullmatch=True),
            min_size=1,
            max_size=6,
        )
    )
    def test_any_names(self, found):
        """Names survive the way to bytes and back."""
        assert names.DOMAINS.decode(names.DOMAINS.encode(found)) == found
        assert names.SEARCH_LIST.decode(names.SEARCH_LIST.encode(found)) == found

    @UNTIMED
    @given(st.binary(max_size=80))
    def test_any_bytes(self, data):
        """Any bytes are names or a ValueError; loops of pointers end."""
        try:
            found = names.DOMAINS.decode(data)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        else:
            assert len(found) <= len(data)


class TestRoutes:
    """RFC 3442: option 121."""

    @pytest.mark.parametrize(
        ("network", "descriptor"),
        [
            ("0.0.0.0/0", [0]),
            ("10.0.0.0/8", [8, 10]),
            ("10.0.0.0/24", [24, 10, 0, 0]),
            ("10.17.0.0/16", [16, 10, 17]),
            ("10.27.129.0/24", [24, 10, 27, 129]),
            ("10.229.0.128/25", [25, 10, 229, 0, 128]),
            ("10.198.122.47/32", [32, 10, 198, 122, 47]),
        ],
    )
    def test_examples_of_the_rfc(self, network, descriptor):
        """TRAPS 39: only the significant octets are encoded."""
        data = bytes(descriptor) + b"\x0a\0\0\1"
        assert lists.ROUTES.encode_text(f"{network} - 10.0.0.1") == data
        assert lists.ROUTES.decode(data) == [(NET(network), IP("10.0.0.1"))]
        assert option_kind(249).shape is option_kind(121).shape

    def test_bits_outside_the_mask(self):
        """RFC 3442: bits that a client's width does not cover are read as zero."""
        assert lists.ROUTES.decode(b"\x09\x0a\xff\xc0\0\2\1") == [
            (NET("10.128.0.0/9"), IP("192.0.2.1"))
        ]


# Some of those that people write; taken from the manuals of ISC dhcpd and Kea.
OPTION_NAMES = {
    "subnet-mask": 1, "time-offset": 2, "routers": 3, "time-servers": 4,
    "domain-name-servers": 6, "log-servers": 7, "lpr-servers": 9, "host-name": 12,
    "boot-size": 13, "domain-name": 15, "swap-server": 16, "root-path": 17,
    "ip-forwarding": 19, "policy-filter": 21, "interface-mtu": 26,
    "broadcast-address": 28, "static-routes": 33, "nis-domain": 40,
    "nis-servers": 41, "ntp-servers": 42, "vendor-encapsulated-options": 43,
    "netbios-name-servers": 44, "netbios-node-type": 46, "netbios-scope": 47,
    "dhcp-requested-address": 50, "dhcp-lease-time": 51, "dhcp-message-type": 53,
    "dhcp-server-identifier": 54, "dhcp-parameter-request-list": 55,
    "dhcp-max-message-size": 57, "dhcp-renewal-time": 58, "dhcp-rebinding-time": 59,
    "vendor-class-identifier": 60, "dhcp-client-identifier": 61,
    "tftp-server-name": 66, "boot-file-name": 67, "smtp-server": 69,
    "user-class": 77, "dhcp-agent-options": 82, "uuid-guid": 97,
    "v6-only-preferred": 108, "v4-captive-portal": 114, "subnet-selection": 118,
    "domain-search": 119, "classless-static-route": 121, "vivso-suboptions": 125,
    "capwap-ac-v4": 138,
}  # fmt: skip


class TestOptionKind:
    """The table of what options are."""

    @pytest.mark.parametrize(("name", "code"), OPTION_NAMES.items())
    def test_names(self, name, code):
        """ISC's and Kea's names, and the numbers, lead to the same."""
        kind = option_kind(name)
        assert (kind.code, kind.name) == (code, name)
        assert option_kind(code) is option_kind(str(code)) is option_kind(f" {name} ")

    def test_table(self):
        """Every row is found by its name and its number; no name is there twice."""
        for code, kind in OPTION_KINDS.items():
            assert option_kind(code) is option_kind(kind.name) is kind
            assert kind.code == code
        assert len({kind.name for kind in OPTION_KINDS.values()}) == len(OPTION_KINDS)

    @pytest.mark.parametrize("code", [224, "224", "0224"])
    def test_unknown_number(self, code):
        """An option that nobody has described is bytes."""
        kind = option_kind(code)
        assert (kind.code, kind.name, kind.shape) == (224, "option-224", v.OPAQUE)

    @pytest.mark.parametrize("code", [0, 255, 256, "0", "255", 10**9])
    def test_no_such_number(self, code):
        """PAD and END are no options, nor is what does not fit a byte."""
        reason = f"options have the numbers 1 to 254, not {code}"
        with pytest.raises(ValueError, match=reason):
            option_kind(code)

    @pytest.mark.parametrize("name", ["router", "", "Routers", "-1", -1, "3.0", "²"])
    def test_no_such_name(self, name):
        """An unknown name is refused, and the reason repeats it."""
        with pytest.raises(ValueError, match=f"^there is no option named '{name}'$"):
            option_kind(name)


def field_packet(head, tail, size):
    """A packet from the field whose ``sname`` and ``file`` are empty."""
    data = bytes.fromhex(head).ljust(236, b"\0") + bytes.fromhex(tail)
    return data.ljust(size, b"\0")


# What real clients and relays sent, and what tshark 4.0 reads in it.
FIELD = [
    pytest.param(
        field_packet(
            "01010601e5e4e43500000000000000000000000000000000c0a83201961e834ca66b",
            "638253633501013902024037070103060c0f1c2a3c0c756468637020312e33352e303d0701961e"
            "834ca66b520501036d7231ff",
            300,
        ),
        {"xid": 0xE5E4E435, "hops": 1, "giaddr": 0xC0A83201},
        {
            53: "01",
            57: "0240",
            55: "0103060c0f1c2a",
            60: "756468637020312e33352e30",
            61: "01961e834ca66b",
            82: "01036d7231",
        },
        id="udhcpc-through-dhcrelay",
    ),
    pytest.param(
        field_packet(
            "01010600c207359e00010000000000000000000000000000000000000200000064c1",
            "638253633501013d13ffe23095f500020000ab110033bdebf95e192c37090103060c0f212a7879"
            "390205c00c02766dff",
            284,
        ),
        {"xid": 0xC207359E, "secs": 1, "chaddr": bytes.fromhex("0200000064c1")},
        {
            53: "01",
            61: "ffe23095f500020000ab110033bdebf95e192c",
            55: "0103060c0f212a7879",
            57: "05c0",
            12: "766d",
        },
        id="systemd-networkd",
    ),
    pytest.param(
        field_packet(
            "020106001c23a4380000000000000000c0a8644bc0a86401000000000200000064c1",
            "638253633501023604c0a8640133040000007842046d617400430e756e64696f6e6c792e6b7078"
            "65003a040000003c3b04000000690104ffffff001c04c0a864ff510b05ffff076d6174686f7374"
            "2a04c0a864010f0b6d61742e6578616d706c650604c0a864010304c0a86401ff",
            346,
        ),
        {"op": 2, "yiaddr": 0xC0A8644B, "siaddr": 0xC0A86401},
        {
            53: "02",
            54: "c0a86401",
            51: "00000078",
            66: "6d617400",
            67: "756e64696f6e6c792e6b70786500",
            58: "0000003c",
            59: "00000069",
            1: "ffffff00",
            28: "c0a864ff",
            81: "05ffff076d6174686f7374",
            42: "c0a86401",
            15: "6d61742e6578616d706c65",
            6: "c0a86401",
            3: "c0a86401",
        },
        id="offer-of-another-server",
    ),
    pytest.param(
        field_packet(
            "01010600e547de1100000000000000000000000000000000000000000200000064c1",
            "63825363ff",
            300,
        ),
        {"type": None, "xid": 0xE547DE11},
        {},
        id="bootpc",
    ),
]


class TestField:
    """Packets of real clients, read by us and by others."""

    @pytest.mark.parametrize(("data", "fields", "options"), FIELD)
    def test_literals(self, data, fields, options):
        """What others read in these packets is what we read."""
        message = Message.decode(data)
        assert message.encode() == data
        assert {name: getattr(message, name) for name in fields} == fields
        read = [(code, value.hex()) for code, value in message.options.items()]
        assert read == list(options.items())

    def test_overloaded(self):
        """A DISCOVER with both fields overloaded, from a public test suite."""
        message = Message.decode(
            packet(
                bytes.fromhex(
                    "3501013902024e3704011c032b330400000e10340103380750616464696e67003d0701"
                    "00006c82dc4eff"
                ),
                sname=b"\x38\x14sname field overload\xff",
                file=b"\x38\x18file name field overload\xff",
            )
        )
        said = b"Paddingfile name field overloadsname field overload"
        assert message.options[56] == said
        assert list(message.options) == [53, 57, 55, 51, 52, 56, 61]

    def test_names_and_values(self):
        """A relay's packet, by name, in the shapes a person would expect."""
        message = Message.decode(FIELD[0].values[0])
        assert message.type is MessageType.DISCOVER
        assert message.get("vendor-class-identifier") == "udhcp 1.35.0"
        assert message.get("dhcp-max-message-size") == 576
        assert message.requested_options == bytes([1, 3, 6, 12, 15, 28, 42])
        assert message.relay_information == {1: b"mr1"}
        offer = Message.decode(FIELD[2].values[0])
        assert offer.get("boot-file-name") == "undionly.kpxe"
        assert offer.get("routers") == [IP("192.168.100.1")]

    def test_against_dissections(self):
        """Fields and options of every capture are those that tshark reads."""
        for each in corpus("local_clients.jsonl"):
            data = bytes.fromhex(each["hex"])
            message = Message.decode(data)
            assert message.encode() == data
            options = {}
            for option in each["dissection"]["options"]:
                value = bytes.fromhex(option["value"] or "")
                options[option["code"]] = options.get(option["code"], b"") + value
            read = list(message.options.items())
            assert read == list(options.items()), each["source"]
            said = each["dissection"]["fixed"]
            fixed = {
                "type": str(message.op),
                "hw.type": f"0x{message.htype:02x}",
                "hw.len": str(message.hlen),
                "hops": str(message.hops),
                "id": f"0x{message.xid:08x}",
                "secs": str(message.secs),
                "flags": f"0x{message.flags:04x}",
                "ip.client": str(IP(message.ciaddr)),
                "ip.your": str(IP(message.yiaddr)),
                "ip.server": str(IP(message.siaddr)),
                "ip.relay": str(IP(message.giaddr)),
                "hw.mac_addr": message.chaddr.hex(":"),
                "server": message.sname.rstrip(b"\0").decode(),
                "file": message.file.rstrip(b"\0").decode(),
            }
            assert {name: said[name] for name in fixed} == fixed, each["source"]
            assert each["dissection"]["msgtype"] == message.type

    def test_values_against_dissections(self):
        """Addresses, numbers and texts of every capture are those that tshark reads."""
        shown = {
            1: "subnet_mask", 3: "router", 6: "domain_name_server", 12: "hostname",
            15: "domain_name", 28: "broadcast_address", 42: "ntp_server",
            50: "requested_ip_address", 51: "ip_address_lease_time", 53: "dhcp",
            54: "dhcp_server_id", 55: "request_list_item", 56: "message",
            57: "dhcp_max_message_size", 58: "renewal_time_value",
            59: "rebinding_time_value", 60: "vendor_class_id", 66: "tftp_server_name",
            67: "bootfile_name", 93: "client_system_architecture",
            116: "dhcp_auto_configuration",
        }  # fmt: skip
        for each in corpus("local_clients.jsonl"):
            for option in each["dissection"]["options"]:
                code = option["code"]
                if code in shown:
                    name = f"dhcp.option.{shown[code]}"
                    said = [value for key, value in option["fields"] if key == name]
                    data = bytes.fromhex(option["value"])
                    shape = option_kind(code).shape
                    value = shape.decode(data)
                    text = shape.describe(data)
                    if code in {53, 55, 93, 116}:  # these have names here
                        numbers = value if isinstance(value, list) else [value]
                        text = ", ".join(str(int(number)) for number in numbers)
                    assert text == ", ".join(said), (each["source"], code)

    def test_devices(self):
        """What devices are known to send is what we read, in their order."""
        for each in corpus("devices.jsonl"):
            data = bytes.fromhex(each["hex"])
            message = Message.decode(data)
            assert message.encode() == data
            order = [code for code in each["option_order"] if code not in {0, 255}]
            if 53 not in order:
                order.insert(0, 53)  # whoever made the packets did so too
            assert list(message.options) == list(dict.fromkeys(order)), each["device"]
            # For some devices it is known only that they send these options.
            if 55 in message.options and each["prl"]:
                assert list(message.requested_options) == each["prl"], each["device"]
            if 60 in message.options and each["vendor_class"]:
                vendor = message.get("vendor-class-identifier")
                assert vendor == each["vendor_class"], each["device"]

    def test_hostile(self):
        """What broke other servers is a message or malformed, and nothing else."""
        for each in corpus("hostile.jsonl"):
            TestIdentity.check(bytes.fromhex(each["hex"]))
