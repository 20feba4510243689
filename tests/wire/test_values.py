"""Shapes: from text to bytes to a value and to text again."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given, strategies as st
from support import IP, NET, UNTIMED

from dhcptwist.wire import lists, names, values as v
from dhcptwist.wire.values import unhex


IP6 = IPv6Address("2001:db8::1")


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
