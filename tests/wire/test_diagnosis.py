"""What is odd about a message: each reason once by hand, and none where all is well."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from dhcptwist.wire import Diagnostic, MalformedMessage, Message, MessageType
from dhcptwist.wire.areas import join, join_one
from dhcptwist.wire.codes import MAGIC_COOKIE
from dhcptwist.wire.diagnosis import diagnose
from dhcptwist.wire.requests import discover, select


# Packets with what others read in them; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DISCOVER = b"\x35\1\1"
OFFER = b"\x35\1\2"
REPLY = {"op": 2}

#: What a server gives out.
GIVEN = {
    1: "255.255.255.0",
    3: "192.0.2.1",
    6: "192.0.2.1, 192.0.2.2",
    15: "example.org",
    58: 30,
    59: 50,
    119: "example.org, a.example.org",
    121: "0.0.0.0/0 - 192.0.2.1",
    43: b"\1\1a",
}

#: What is odd about packets of real devices.
KNOWN = {
    "devices.jsonl": (
        "asks for PAD or END",  # Windows 7 asks for option 0
        "option 61 comes again",
        "END is missing from file",
        # Some entries have one byte where nobody wrote down what the device sends.
        "(22) of 1 byte",
        "(25) of 1 byte",
        "(33) of 1 byte",
        "(44) of 1 byte",
        "(150) of 1 byte",
    ),
    "local_clients.jsonl": (
        "text ends with NUL",
        "flags are 0x0008",  # dhcpstarv swaps the bytes
        "not the lengths and texts of RFC 3004",  # iPXE, dhclient, dhtest
        "no magic cookie but 0x00000000",  # dhcpd leaves it out as klibc does
    ),
}


def corpus(name):
    """The entries of a file of the corpus, with the message of each that has one."""
    path = CORPUS / name
    if not path.exists():
        pytest.skip("there is no corpus of packets beside this checkout")
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line)
        try:
            yield entry, Message.decode(bytes.fromhex(entry["hex"]))
        except MalformedMessage:
            continue


def packet(
    options=DISCOVER + b"\xff",
    *,
    op=1,
    htype=1,
    hlen=6,
    hops=0,
    flags=0,
    chaddr=b"",
    sname=b"",
    file=b"",
    cookie=MAGIC_COOKIE,
):
    """A datagram with these bytes in its fields, and behind the cookie."""
    head = bytes((op, htype, hlen, hops)) + bytes(6) + flags.to_bytes(2, "big")
    return b"".join(
        (
            head.ljust(28, b"\0"),
            chaddr.ljust(16, b"\0"),
            sname.ljust(64, b"\0"),
            file.ljust(128, b"\0"),
            cookie,
            options,
        )
    )


def found(*args, **fields):
    """What is odd about such a datagram, as pairs; strict reading stops at the first."""
    raw = packet(*args, **fields)
    odd = Message.decode(raw).diagnostics
    if not odd:
        assert Message.decode(raw, strict=True).raw == raw
    else:
        with pytest.raises(MalformedMessage) as caught:
            Message.decode(raw, strict=True)
        assert (caught.value.offset, caught.value.reason) == odd[0]
    return [tuple(each) for each in odd]


def of_option(code, data, name=""):
    """The reasons for an option behind the message type, without its name."""
    found_here = found(DISCOVER + join_one(code, data) + b"\xff")
    assert all(offset == 243 for offset, _ in found_here)
    assert all(f"({code})" in reason for _, reason in found_here)
    assert all(reason.startswith(name) for _, reason in found_here)
    return [reason.partition(f"({code})")[2].lstrip(": ") for _, reason in found_here]


class TestHeader:
    """The fixed fields."""

    def test_clean(self):
        """The packet that all others here are made from has nothing odd."""
        assert found() == []

    @pytest.mark.parametrize("op", [0, 3, 255])
    def test_op(self, op):
        """It is neither a request nor a reply."""
        assert found(op=op) == [(0, f"op is {op}; 1 is a request and 2 a reply")]

    @pytest.mark.parametrize("hlen", [0, 5, 8, 16])
    def test_ethernet(self, hlen):
        """An Ethernet address of another length."""
        assert found(hlen=hlen) == [
            (2, f"hlen is {hlen}; an Ethernet address has 6 bytes")
        ]

    @pytest.mark.parametrize(
        ("htype", "what", "rfc"), [(32, "InfiniBand", 4390), (24, "FireWire", 2855)]
    )
    def test_no_address(self, htype, what, rfc):
        """TRAPS 24: hardware that puts no address into the message."""
        reason = f"hlen is 8; over {what} it is 0 (RFC {rfc})"
        assert found(htype=htype, hlen=8) == [(2, reason)]
        assert found(htype=htype, hlen=0) == []

    @pytest.mark.parametrize(("htype", "hlen"), [(6, 6), (7, 1), (0, 0), (255, 16)])
    def test_other_hardware(self, htype, hlen):
        """Of other hardware nobody knows how long its addresses are."""
        assert found(htype=htype, hlen=hlen, chaddr=b"\1" * hlen) == []

    def test_hops(self):
        """More hops than a relay passes on."""
        assert found(hops=16) == []
        assert found(hops=17) == [
            (3, "17 hops; a relay discards more than 16 (RFC 1542)")
        ]

    @pytest.mark.parametrize("flags", [0x0001, 0x0080, 0x0100, 0x4000, 0xFFFF])
    def test_flags(self, flags):
        """Bits that must be zero (RFC 2131 figure 2), like a byte-swapped broadcast."""
        reason = f"flags are 0x{flags:04x}; only 0x8000 is defined"
        assert found(flags=flags) == [(10, reason)]

    def test_broadcast_flag(self):
        """The flag that means something is not odd."""
        assert found(flags=0x8000) == []

    def test_chaddr(self):
        """Something behind the hardware address."""
        chaddr = bytes(6) + b"\0\0\1"
        reason = "chaddr is not zero behind the hardware address"
        assert found(chaddr=chaddr) == [(34, reason)]
        assert found(htype=32, hlen=0, chaddr=b"\1") == [(28, reason)]


class TestCookie:
    """TRAPS 36: the four bytes that say that options follow."""

    @pytest.mark.parametrize(
        ("late", "words"), [(1, "1 byte"), (2, "2 bytes"), (60, "60 bytes")]
    )
    def test_late(self, late, words):
        """Bytes before the cookie: the options are read."""
        cookie = bytes(late) + MAGIC_COOKIE
        assert found(cookie=cookie) == [(236, f"the magic cookie comes {words} late")]
        assert Message.decode(packet(cookie=cookie)).type is MessageType.DISCOVER

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_cut_off(self, size):
        """The message ends inside the cookie."""
        assert found(b"", cookie=MAGIC_COOKIE[:size]) == [
            (236, "the magic cookie is cut off")
        ]

    @pytest.mark.parametrize(
        ("cookie", "digits"),
        [
            (b"\1\2\3\4", "01020304"),
            (b"\0\0\0\0", "00000000"),
            (b"\x63\x01", "63013501"),
        ],
    )
    def test_other(self, cookie, digits):
        """Something stands there, but not behind a cookie; so no options are read."""
        reason = f"no magic cookie but 0x{digits}; no options are read"
        assert found(cookie=cookie) == [(236, reason)]
        assert Message.decode(packet(cookie=cookie)).options == {}

    @pytest.mark.parametrize("size", [0, 3, 4, 64])
    def test_bootp(self, size):
        """Plain BOOTP is not odd."""
        assert found(bytes(size), cookie=b"") == []


class TestEnds:
    """TRAPS 36: where the options end, and what is not read."""

    @pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0\0"])
    def test_no_end(self, tail):
        """END is missing: at the end of the message."""
        assert found(DISCOVER + tail) == [
            (243 + len(tail), "END is missing from options")
        ]
        assert Message.decode(packet(DISCOVER + tail)).options == {53: b"\1"}

    def test_no_options(self):
        """Nothing at all behind the cookie."""
        assert found(b"") == [(240, "END is missing from options")]

    @pytest.mark.parametrize(
        ("tail", "words"),
        [(b"\xff", "1 byte"), (b"\0\0\1", "3 bytes"), (b"\x0c\1a\xff", "4 bytes")],
    )
    def test_behind_end(self, tail, words):
        """Bytes behind END: they are not read."""
        assert found(DISCOVER + b"\xff" + tail) == [
            (244, f"{words} behind END, not all zero")
        ]
        assert list(Message.decode(packet(DISCOVER + b"\xff" + tail)).options) == [53]

    def test_pads(self):
        """Pads between options and behind END are as they should be."""
        options = b"\0" + DISCOVER + b"\0\0" + b"\x0c\1a" + b"\xff" + bytes(40)
        assert found(options) == []
        assert Message.decode(packet(options)).options == {53: b"\1", 12: b"a"}

    def test_overrun(self):
        """An option longer than its area: those before it are read."""
        options = DISCOVER + b"\x3c\5abc"
        reason = (
            "option 60 says 5 bytes, and there are 3; the rest of options is not read"
        )
        assert found(options) == [(243, reason)]
        assert Message.decode(packet(options)).options == {53: b"\1"}

    def test_overrun_by_one(self):
        """Where there is only one byte to be had, it is one byte that is said."""
        reason = (
            "option 60 says 1 byte, and there are 0; the rest of options is not read"
        )
        assert found(DISCOVER + b"\x3c\1") == [(243, reason)]

    def test_no_length(self):
        """A code, and then nothing."""
        reason = "option 60 has no length; the rest of options is not read"
        assert found(DISCOVER + b"\x3c") == [(243, reason)]

    def test_file_and_sname(self):
        """The other two areas have ends of their own."""
        options = DISCOVER + b"\x34\1\3\xff"
        full = b"\x0c\x7e" + b"a" * 126, b"\x3c\x3e" + b"b" * 62
        assert found(options, file=full[0], sname=full[1]) == [
            (108, "END is missing from sname"),
            (236, "END is missing from file"),
        ]
        assert found(options, file=b"\xff\1", sname=b"\x0c\x3f") == [
            (
                44,
                "option 12 says 63 bytes, and there are 62; the rest of sname is not read",
            ),
            (109, "127 bytes behind END, not all zero"),
        ]
        assert found(options, file=b"\xff", sname=b"\0\xff") == []

    def test_plain_file_and_sname(self):
        """Without option 52 they are text, and nobody's business here."""
        assert found(file=b"pxelinux.0", sname=b"server") == []


class TestPlaces:
    """Where options stand, and in what order."""

    def test_same_code_twice(self):
        """TRAPS 28: joined, so an address twice has eight bytes."""
        options = OFFER + b"\x36\4\1\2\3\4\x33\4\0\0\0\1\x36\4\5\6\7\x08\xff"
        assert found(options, **REPLY) == [
            (
                243,
                "dhcp-server-identifier (54): 8 bytes, of which only the first 4 count",
            ),
            (255, "option 54 comes again; it is joined (RFC 3396)"),
        ]
        message = Message.decode(packet(options, **REPLY))
        assert message.options[54] == b"\1\2\3\4\5\6\7\x08"
        assert message.server_id == 0x01020304

    def test_three_pieces(self):
        """Each piece but the first is named."""
        options = DISCOVER + b"\x0c\1a\x0c\1b\x0c\1c\xff"
        again = "option 12 comes again; it is joined (RFC 3396)"
        assert found(options) == [(246, again), (249, again)]
        assert Message.decode(packet(options)).host_name == "abc"

    def test_long_option(self):
        """RFC 3396: what does not fit one piece is rightly in several."""
        assert found(DISCOVER + join_one(12, b"a" * 600) + b"\xff") == []

    def test_split_between_areas(self):
        """RFC 3396: so is what did not fit the area, and goes on in the next one."""
        options = DISCOVER + b"\x34\1\3\x0c\1a\xff"
        sname = b"\x0c\1c\xff"
        assert found(options, file=b"\x0c\1b\xff", sname=sname) == []
        again = "option 12 comes again; it is joined (RFC 3396)"
        assert found(options, file=b"\x38\1b\xff", sname=sname) == [(44, again)]

    @pytest.mark.parametrize(("code", "piece"), [(52, b"\1"), (82, b"\1\0")])
    def test_not_in_file(self, code, piece):
        """RFC 2131 section 4.1, RFC 3046 section 2: not in file or sname."""
        data = join_one(code, piece) + b"\xff"
        options = DISCOVER + b"\x34\1\1\xff"
        where = f"option {code} may not stand in file"
        assert (108, where) in found(options, file=data)
        options = DISCOVER + b"\x34\1\2\xff"
        where = f"option {code} may not stand in sname"
        assert (44, where) in found(options, sname=data)

    def test_relay_information(self):
        """RFC 3046 section 2.1: option 82 is the last in the options field."""
        options = DISCOVER + b"\x52\3\1\1p" + b"\x0c\1a\xff"
        reason = "option 82 is not the last (RFC 3046 section 2.1)"
        assert found(options) == [(243, reason)]
        assert found(DISCOVER + b"\x52\3\1\1p\0\0\xff") == []

    def test_relay_information_and_overload(self):
        """What stands in file is read later, but not behind it in the options field."""
        options = DISCOVER + b"\x34\1\1\x52\3\1\1p\xff"
        assert found(options, file=b"\x0c\1a\xff") == []

    def test_mask(self):
        """RFC 2132 section 3.3: the mask comes before the routers."""
        routers, mask = b"\3\4\1\2\3\4", b"\1\4\xff\xff\xff\0"
        reason = "the mask stands behind the routers (RFC 2132 section 3.3)"
        assert found(OFFER + routers + mask + b"\xff", **REPLY) == [(249, reason)]
        assert found(OFFER + mask + routers + b"\xff", **REPLY) == []

    def test_mask_and_overload(self):
        """It is the order of reading that counts, not the offsets: file, then sname."""
        mask, routers = b"\1\4\xff\xff\xff\0", b"\3\4\1\2\3\4"
        reason = "the mask stands behind the routers (RFC 2132 section 3.3)"
        both = OFFER + b"\x34\1\3"
        one, two = mask + b"\xff", routers + b"\xff"
        assert found(both + one, file=two, sname=b"\xff", **REPLY) == []
        assert found(both + b"\xff", file=one, sname=two, **REPLY) == []
        assert found(both + two, file=one, sname=b"\xff", **REPLY) == [(108, reason)]
        assert found(both + b"\xff", file=two, sname=one, **REPLY) == [(44, reason)]

    @pytest.mark.parametrize("kind", list(MessageType))
    def test_direction(self, kind):
        """A type that goes the other way than op says."""
        server = kind in {2, 5, 6, 9, 11, 12, 13, 15, 17}
        options = bytes((53, 1, kind, 255))
        right, wrong = (2, 1) if server else (1, 2)
        reason = f"op is {wrong}, which does not go with {kind.name}"
        odd = [] if kind == MessageType.TLS else [(0, reason)]  # both ways: RFC 7724
        assert found(options, op=right) == []
        assert found(options, op=wrong) == odd


class TestTimes:
    """RFC 2131 section 4.4.5: T1 is earlier than T2, and T2 than the lease's end."""

    @staticmethod
    def times(renew=None, rebind=None, lease=None):
        """What is odd about an OFFER with these."""
        times = {58: renew, 59: rebind, 51: lease}
        options = join(
            (code, time.to_bytes(4, "big"))
            for code, time in times.items()
            if time is not None
        )
        return found(OFFER + options + b"\xff", **REPLY)

    @pytest.mark.parametrize(
        "times",
        [
            (50, 87, 100),
            (0, 1, 2),
            (None, None, 100),
            (50, None, 100),
            (None, 99, 100),
            (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
            (50, 87, 0xFFFFFFFF),
        ],
    )
    def test_right(self, times):
        """In order, and for ever."""
        assert self.times(*times) == []

    @pytest.mark.parametrize(
        ("times", "offset", "early", "one", "late", "other"),
        [
            ((90, 87, 100), 243, 58, 90, 59, 87),
            ((87, 87, 100), 243, 58, 87, 59, 87),
            ((50, 101, 100), 249, 59, 101, 51, 100),
            ((50, 100, 100), 249, 59, 100, 51, 100),
            ((200, None, 100), 243, 58, 200, 51, 100),
            ((0xFFFFFFFF, None, 100), 243, 58, 0xFFFFFFFF, 51, 100),
        ],
    )
    def test_wrong(self, times, offset, early, one, late, other):
        """Out of order: the earlier one is named, and both numbers."""
        reason = (
            f"option {early} is {one}, and option {late} {other}, which is not later"
            " (RFC 2131 section 4.4.5)"
        )
        assert self.times(*times) == [(offset, reason)]


class TestValues:
    """TRAPS 34, 35, 37, 38 and 40: bytes of an option that are not as they should be."""

    @pytest.mark.parametrize(
        ("code", "data", "reason"),
        [
            (50, b"\1\2\3", "of 3 bytes: an address has four bytes"),
            (50, b"", "of 0 bytes: an address has four bytes"),
            (6, b"\1\2\3\4\5", "of 5 bytes: addresses have 4 bytes each"),
            (6, b"", "of 0 bytes: there are no addresses"),
            (80, b"\0", "of 1 byte: this option has no value"),
            (19, b"\2", "of 1 byte: a boolean is one byte, 0 or 1"),
        ],
    )
    def test_does_not_fit(self, code, data, reason):
        """The option's shape says why; the option's bytes are there all the same."""
        assert of_option(code, data) == [reason]
        message = Message.decode(packet(DISCOVER + join_one(code, data) + b"\xff"))
        assert message.options[code] == data
        with pytest.raises(MalformedMessage, match=r"offset 243\)"):
            message.get(code)

    @pytest.mark.parametrize("code", [51, 119, 121, 82, 125])
    def test_cut_off(self, code):
        """Whatever the shape, bytes that stop too early are told."""
        (reason,) = of_option(code, b"\1")
        assert reason.startswith("of 1 byte: ")

    def test_offset_of_the_first_piece(self):
        """An option in pieces is judged as a whole, and named where it begins."""
        odd = found(DISCOVER + b"\6\2\1\2" + b"\x0c\1a" + b"\6\1\3\xff")
        reason = "domain-name-servers (6) of 3 bytes: addresses have 4 bytes each"
        assert odd[0] == (243, reason)
        assert found(DISCOVER + b"\6\2\1\2" + b"\x0c\1a" + b"\6\2\3\4\xff")[1:] == []

    @pytest.mark.parametrize(("code", "size"), [(1, 4), (23, 1), (26, 2), (51, 4)])
    def test_too_long(self, code, size):
        """TRAPS 28: only the first bytes of a value that is too long count."""
        reason = f"{size + 1} bytes, of which only the first {size} count"
        assert of_option(code, b"\1" * (size + 1)) == [reason]
        assert of_option(code, b"\1" * size) == []

    @pytest.mark.parametrize("data", [b"laptop\0", b"laptop\0\0", b"\0"])
    def test_nul(self, data):
        """TRAPS 34: Windows ends text with NUL; it is read without."""
        reason = "text ends with NUL (RFC 2132 section 2)"
        assert of_option(12, data, "host-name") == [reason]
        message = Message.decode(packet(DISCOVER + join_one(12, data) + b"\xff"))
        assert (
            message.host_name == message.get("host-name") == data.decode().strip("\0")
        )

    @pytest.mark.parametrize("code", [12, 15, 60, 67])
    def test_no_text(self, code):
        """TRAPS 34: text of no length; the packet is read, and the other options."""
        assert of_option(code, b"") == ["there is no text"]
        raw = packet(DISCOVER + join_one(code, b"") + b"\x39\2\5\xdc\xff")
        message = Message.decode(raw)
        assert message.options == {53: b"\1", code: b"", 57: b"\5\xdc"}

    @pytest.mark.parametrize("data", [b"", b"\1"])
    def test_client_id(self, data):
        """TRAPS 35: a client identifier needs two bytes; a shorter one counts as none."""
        assert of_option(61, data) == [
            "shorter than 2 bytes; it names nobody (RFC 2132 section 9.14)"
        ]
        message = Message.decode(packet(DISCOVER + join_one(61, data) + b"\xff"))
        assert message.client_id == b""

    @pytest.mark.parametrize(
        "data", [b"\0a", b"\1" + bytes(6), b"\xff" + bytes(12), b"whatever", b"\x07abc"]
    )
    def test_any_client_id(self, data):
        """Of two bytes and more it is whatever the client likes."""
        assert of_option(61, data) == []

    @pytest.mark.parametrize("kind", [0, 19, 255])
    def test_message_type(self, kind):
        """A type that nobody knows."""
        options = bytes((53, 1, kind, 255))
        reason = f"dhcp-message-type (53): nobody has defined type {kind}"
        assert found(options) == found(options, **REPLY) == [(240, reason)]
        assert Message.decode(packet(options)).type is None

    @pytest.mark.parametrize("number", [0, 4, 255])
    def test_overload(self, number):
        """A number that names no fields: none are read."""
        assert of_option(52, bytes([number])) == [
            f"{number} is not 1, 2 or 3; it is not heeded"
        ]

    @pytest.mark.parametrize("data", [b"\1\0", b"\xff\3"])
    def test_request_list(self, data):
        """Nobody can be given PAD or END."""
        assert of_option(55, data) == ["asks for PAD or END"]

    def test_request_list_twice(self):
        """Many a client asks for the same twice, and no RFC minds."""
        assert of_option(55, b"\1\3\1\3") == []

    @pytest.mark.parametrize("size", [0, 300, 575])
    def test_max_size(self, size):
        """RFC 2132 section 9.10: less than every client must take."""
        reason = (
            f"{size} is less than 576; it is taken for that (RFC 2132 section 9.10)"
        )
        assert of_option(57, size.to_bytes(2, "big")) == [reason]
        assert of_option(57, b"\x02\x40") == []

    def test_vendor_options(self):
        """TRAPS 37: PAD and END inside option 43 are as they should be."""
        data = b"\0\1\1a\0\xff"
        assert of_option(43, data) == []
        message = Message.decode(packet(DISCOVER + join_one(43, data) + b"\xff"))
        assert message.get(43) == {"1": b"a"}

    @pytest.mark.parametrize("data", [b"\1\5a", b"5A1N;B2;K4", b"\xf1"])
    def test_vendor_bytes(self, data):
        """What no sub-options are, is the vendor's own (RFC 2132 section 8.4)."""
        assert of_option(43, data) == []
        message = Message.decode(packet(DISCOVER + join_one(43, data) + b"\xff"))
        assert message.get(43) == data

    @pytest.mark.parametrize("data", [b"iPXE", b"\4iPX", b"\1a\0", b"\0"])
    def test_bare_user_class(self, data):
        """TRAPS 38: a bare text where RFC 3004 wants lengths; it is read as text."""
        assert of_option(77, data) == ["not the lengths and texts of RFC 3004"]
        message = Message.decode(packet(DISCOVER + join_one(77, data) + b"\xff"))
        assert message.get("user-class") == data.decode().rstrip("\0")

    def test_user_class(self):
        """TRAPS 38: lengths that add up are a list."""
        assert of_option(77, b"\4iPXE\1a") == []
        message = Message.decode(packet(DISCOVER + b"\x4d\7\4iPXE\1a\xff"))
        assert message.get("user-class") == ["iPXE", "a"]

    @pytest.mark.parametrize(
        ("flags", "reasons"),
        [
            (0x00, []),
            (0x05, []),
            (0x0C, []),
            (0x0D, ["flags S and N are both set (RFC 4702 section 2.1)"]),
            (0x14, ["flags 0x14; the upper four must be zero"]),
            (0x84, ["flags 0x84; the upper four must be zero"]),
            (
                0xFD,
                [
                    "flags 0xfd; the upper four must be zero",
                    "flags S and N are both set (RFC 4702 section 2.1)",
                ],
            ),
        ],
    )
    def test_fqdn(self, flags, reasons):
        """TRAPS 40: flags that must be zero, and two that exclude each other."""
        name = b"\4host\0" if flags & 4 else b"host"
        data = bytes((flags, 255, 255)) + name
        assert of_option(81, data, "fqdn") == reasons
        message = Message.decode(packet(DISCOVER + join_one(81, data) + b"\xff"))
        assert message.get("fqdn")["name"].rstrip(".") == "host"

    @pytest.mark.parametrize("data", [b"", b"\4", b"\4\0", b"\4\0\0\5host"])
    def test_fqdn_cut_off(self, data):
        """TRAPS 40: too short, or with a label that is longer than the option."""
        (reason,) = of_option(81, data)
        assert reason.startswith(f"of {len(data)} byte")

    @pytest.mark.parametrize("code", [224, 240, 254])
    def test_unknown(self, code):
        """Of options that nobody has described, nothing is odd."""
        assert of_option(code, b"") == of_option(code, b"\1\2\3") == []


class TestTogether:
    """All of it at once."""

    def test_order(self):
        """Diagnostics come in the order of the bytes, and strict raises the first."""
        options = b"\x35\1\x63\x3d\1a\x0c\2a\0"
        odd = found(options, op=9, flags=1)
        assert [offset for offset, _ in odd] == [0, 10, 240, 243, 246, 250]

    def test_words(self):
        """A diagnostic prints as offset and reason."""
        (odd,) = Message.decode(packet(op=3)).diagnostics
        assert str(odd) == "offset 0: op is 3; 1 is a request and 2 a reply"
        assert odd == Diagnostic(0, odd.reason)

    def test_strict_is_not_more(self):
        """What cannot be read at all is refused as ever."""
        for strict in (True, False):
            with pytest.raises(MalformedMessage, match="235 bytes"):
                Message.decode(bytes(235), strict=strict)

    def test_strict_keeps(self):
        """Strict or not, the message is the same."""
        assert Message.decode(packet(), strict=True) == Message.decode(packet())


class TestOurs:
    """What we make ourselves is beyond reproach."""

    @pytest.mark.parametrize(
        "relayed", [{}, {82: b"\1\4port"}], ids=["direct", "relay"]
    )
    @pytest.mark.parametrize("more", [{}, {61: b"\1me", 77: ["iPXE"], 57: 1400}])
    def test_replies(self, relayed, more):
        """OFFER, ACK, NAK and the REQUEST between them."""
        first = discover(b"\2\0\0\0\0\1", options={12: "a", **more, **relayed})
        given = {"server": 1, "yiaddr": 2, "lease_time": 60, "options": GIVEN}
        offer = first.reply(MessageType.OFFER, **given)
        request = select(first, offer)
        ack = request.reply(MessageType.ACK, **given)
        nak = request.reply(MessageType.NAK, server=1, options={56: "no"})
        for message in (first, offer, request, ack, nak):
            assert message.diagnostics == []

    def test_overloaded(self):
        """RFC 2131 section 4.1: END ends file and sname, and pads fill them."""
        first = discover(b"\2\0\0\0\0\1", options={82: b"\1\4port"})
        options = {**GIVEN, 224: bytes(200), 225: bytes(100), 226: bytes(40)}
        given = {"server": 1, "yiaddr": 2, "lease_time": 60, "options": options}
        offer = first.reply(MessageType.OFFER, **given)
        assert offer.options[52] == b"\3"
        assert offer.diagnostics == []

    @UNTIMED
    @given(
        st.dictionaries(st.integers(224, 248), st.binary(max_size=300)), st.booleans()
    )
    def test_built(self, options, end):
        """Messages of any options, in any order."""
        options = {**options, 12: "a"} if end else {53: "discover", **options}
        message = Message.build(chaddr=bytes(6), options=options)
        assert message.diagnostics == []
        assert message.replace(options={82: b"\1\1a", 1: "255.0.0.0"}).diagnostics == []

    def test_bootp(self):
        """BOOTP with and without a cookie, asked and answered."""
        for options in (None, {}, {12: "a"}):
            message = Message.build(chaddr=bytes(6), options=options)
            reply = message.reply(None, yiaddr=1, options=GIVEN)
            assert message.diagnostics == reply.diagnostics == []


def lines_run(call):
    """How many lines of Python are run by a call."""
    count = 0

    def trace(_frame, event, _arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class TestAnyBytes:
    """No input breaks it, or makes it slow."""

    @UNTIMED
    @given(
        st.binary(max_size=236),
        st.binary(max_size=600),
        st.sampled_from([b"", MAGIC_COOKIE, MAGIC_COOKIE + DISCOVER + b"\x34\1\3"]),
    )
    def test_never_raises(self, head, tail, cookie):
        """It says what is odd, at offsets of the message, in words that end."""
        head = head.ljust(236, b"\0")
        self.check(head[:2] + bytes([head[2] % 17]) + head[3:] + cookie + tail)

    @UNTIMED
    @given(
        st.lists(st.tuples(st.integers(1, 254), st.binary(max_size=40)), max_size=60)
    )
    @example([(code, b"") for code in range(1, 255)])
    @example([(code, b"\0") for code in range(1, 255)])
    @example([(code, b"\xff" * 40) for code in range(1, 255)])
    def test_any_values(self, options):
        """Whatever stands in the options that have shapes."""
        self.check(packet(join(options) + b"\xff"))

    @settings(UNTIMED, max_examples=20)
    @given(st.integers(1, 254), st.binary(min_size=1, max_size=8))
    def test_large(self, code, filling):
        """Messages as long as a datagram can be."""
        value = (filling * 64_000)[:64_000]
        self.check(packet(DISCOVER + join_one(code, value) + b"\xff"))
        self.check(packet((filling * 65_000)[:65_000]))

    @staticmethod
    def check(raw):
        """Hold the diagnostics to what is promised of them."""
        message = Message.decode(raw)
        odd = diagnose(message)
        assert odd == sorted(odd) == message.diagnostics
        assert all(0 <= offset <= len(raw) for offset, _ in odd)
        assert all(0 < len(reason) < 300 for _, reason in odd)
        assert all(reason.isprintable() for _, reason in odd)
        assert len(odd) <= len(raw)

    @pytest.mark.parametrize(
        "filling",
        [
            b"\x0c\0",  # the same option over and over
            b"\x0c\1a\x3c\1b",
            b"\x52\0\x0c\0",
            b"\x34\1\3",
            b"\0",
            b"\xff",
            bytes(range(1, 255)),
        ],
    )
    def test_linear(self, filling):
        """Twice the bytes are twice the work, not four times."""
        small, large = (
            Message.decode(packet((filling * size)[:size])) for size in (4_000, 16_000)
        )
        base = lines_run(lambda: diagnose(Message.decode(packet())))
        work = lines_run(lambda: diagnose(small)) - base
        assert lines_run(lambda: diagnose(large)) - base < 4.5 * max(work, 1000)

    @pytest.mark.parametrize(
        ("code", "filling"),
        [
            (119, b"\1a\0"),
            (119, b"\1a"),
            (119, b"\0" + b"\xc0\0" * 9),
            (121, b"\0\1\2\3\4"),
            (55, b"\1"),
            (77, b"\1a"),
            (77, b"\xff"),
            (43, b"\1\0"),
            (82, b"\1\0"),
            (81, b"\4"),
            (124, b"\0\0\0\1\2\1a"),
            (125, b"\0\0\0\1\3\1\1a"),
        ],
    )
    def test_linear_values(self, code, filling):
        """The same for one option that goes on and on."""

        def work(size):
            value = (filling * size)[: size // len(filling) * len(filling)]
            message = Message.decode(packet(join_one(code, value) + b"\xff"))
            return lines_run(lambda: diagnose(message))

        assert work(16_000) < 4.5 * max(work(4_000), 1000)

    def test_pointers(self):
        """RFC 1035 section 4.1.4: a chain of pointers is not walked again and again."""

        def work(count):
            chain = (b"\0" if not n else bytes((0xC0, 0)) for n in range(1))
            targets = [0, *range(1, 2 * count, 2)]
            area = b"".join(
                [*chain, *((0xC000 | at).to_bytes(2, "big") for at in targets)]
            )
            last = (0xC000 | targets[-1]).to_bytes(2, "big")
            value = area + last * count
            message = Message.decode(packet(join_one(119, value) + b"\xff"))
            return lines_run(lambda: diagnose(message))

        assert work(4_000) < 4.5 * work(1_000)


class TestCorpus:
    """Real packets: a correct one has nothing odd, and of others it is known what."""

    @pytest.mark.parametrize("name", list(KNOWN))
    def test_real(self, name):
        """Most are clean, and nothing but what is known is said of the rest."""
        clean = total = 0
        for entry, message in corpus(name):
            reasons = [reason for _, reason in message.diagnostics]
            total += 1
            clean += not reasons
            for reason in reasons:
                assert any(known in reason for known in KNOWN[name]), (
                    entry["source"],
                    reason,
                )
        assert clean > 0.8 * total

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("end-then-options", "17 bytes behind END"),
            ("hlen-0", "hlen is 0"),
            ("hops-255", "255 hops"),
            ("hdr-239-cookie-cut", "cut off"),
            ("opt-last-code-no-len", "has no length"),
            ("opt-len-past-end-1", "and there are 2"),
            ("opt53-twice-same", "comes again"),
            ("opt57-zero", "less than 576"),
            ("opt81-all-flags-mbz", "upper four"),
            ("opt82-subopt-past-end", "runs past the end"),
            ("overload-4", "not heeded"),
            ("overload-no-end-in-fields", "END is missing from sname"),
            ("op-255", "op is 255"),
            ("opt53-value-5-ack", "does not go with ACK"),
            ("opt119-pointer-loop", "pointer"),
        ],
    )
    def test_hostile(self, name, reason):
        """What is wrong with packets made to break servers is what is said of them."""
        (message,) = (
            each for entry, each in corpus("hostile.jsonl") if entry["name"] == name
        )
        assert any(reason in each.reason for each in message.diagnostics)

    @pytest.mark.parametrize("name", ["payloads.jsonl", "hostile.jsonl"])
    def test_all(self, name):
        """Nothing raises, and strict refuses just those that something is said of."""
        for _, message in corpus(name):
            TestAnyBytes.check(message.raw)
            refused = []
            try:
                Message.decode(message.raw, strict=True)
            except MalformedMessage as error:
                refused.append((error.offset, error.reason))
            assert message.diagnostics[:1] == refused
