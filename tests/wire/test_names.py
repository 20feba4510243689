"""Domain names and routes inside options."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import IP, NET, UNTIMED, packet

from dhcptwist.wire import Message, lists, names, option_kind
from dhcptwist.wire.names import encode_domain


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
