"""Making a message: its fields, its options, their order, and how long it may be."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import IP, OPTIONS, UNTIMED, in_order

from dhcptwist.wire import (
    MalformedMessage,
    Message,
    MessageType,
    OptionKind,
    option_kind,
    values as v,
)
from dhcptwist.wire.areas import MINIMUM_SIZE, ordered
from dhcptwist.wire.building import encoded
from dhcptwist.wire.codes import MAGIC_COOKIE


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


class TestOptionsOfBuild:
    """Options by name, number or kind; values, text or bytes; their order."""

    @pytest.mark.parametrize(
        "options",
        [
            {53: b"\1", 3: b"\xc0\0\2\1", 12: b"box"},
            {
                "dhcp-message-type": "discover",
                "routers": "192.0.2.1",
                "host-name": "box",
            },
            {"53": 1, "option-3": [IP("192.0.2.1")], " host-name ": "box"},
            {
                option_kind(53): MessageType.DISCOVER,
                option_kind("routers"): ["192.0.2.1"],
                OptionKind(12, "mine", v.TEXT): "box",
            },
            {53: bytearray(b"\1"), 3: memoryview(b"\xc0\0\2\1"), 12: "hex:626f78"},
        ],
        ids=["bytes", "names", "numbers", "kinds", "other-bytes"],
    )
    def test_ways_to_say(self, options):
        """However an option and its value are given, the bytes are the same."""
        found = Message.build(options=options).options
        assert list(found.items()) == [(53, b"\1"), (3, b"\xc0\0\2\1"), (12, b"box")]
        assert {type(value) for value in found.values()} == {bytes}

    def test_private(self):
        """A private option is described where it is used, and nowhere else."""
        site = OptionKind(224, "site", v.U16)
        assert Message.build(options={site: 258}).options == {224: b"\1\2"}
        assert Message.build(options={224: b"\1\2\3"}).options == {224: b"\1\2\3"}
        with pytest.raises(ValueError, match="no option named 'site'"):
            Message.build(options={"site": 258})

    def test_said_twice(self):
        """Of one option under two names the last value counts; it is there once."""
        message = Message.build(options={12: "a", 15: "b", "host-name": "c"})
        assert list(message.options.items()) == [(12, b"c"), (15, b"b")]

    @pytest.mark.parametrize(
        ("options", "order"),
        [
            ([12, 53, 1], [53, 12, 1]),
            ([53, 3, 12, 1], [53, 1, 3, 12]),
            ([53, 1, 12, 3], [53, 1, 12, 3]),
            ([82, 12, 53], [53, 12, 82]),
            ([3, 82, 15, 1, 53, 6], [53, 1, 3, 15, 6, 82]),
            ([82], [82]),
            ([3, 15], [3, 15]),
            ([61, 12, 50], [61, 12, 50]),
        ],
    )
    def test_order(self, options, order):
        """TRAPS 32: type first, mask before routers, 82 last, else as given."""
        message = Message.build(options=dict.fromkeys(options, b"\0"))
        assert list(message.options) == order

    def test_requested(self):
        """With a request list the order is that of replies (`areas.ordered`)."""
        options = dict.fromkeys([82, 12, 15, 6, 3, 1, 54, 53], b"\0")
        message = Message.build(options=options, requested=b"\x06\x03\x0f")
        assert list(message.options) == [53, 54, 1, 6, 3, 15, 12, 82]
        message = Message.build(options=options, requested=b"")
        assert list(message.options) == [53, 54, 1, 12, 15, 6, 3, 82]

    def test_no_options(self):
        """No mapping is BOOTP without a cookie; an empty one is a cookie and END."""
        assert Message.build().raw[236:] == bytes(64)
        assert Message.build(options={}).raw[236:] == MAGIC_COOKIE + b"\xff" + bytes(59)

    def test_long_value(self):
        """RFC 3396: what is longer than 255 bytes is written in pieces."""
        message = Message.build(options={43: bytes(range(250)) * 4})
        sizes = [len(piece.data) for piece in message.pieces() if piece.code == 43]
        assert sizes == [255, 255, 255, 235]
        assert message.options[43] == bytes(range(250)) * 4

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({0: b""}, "1 to 254, not 0"),
            ({255: b""}, "1 to 254, not 255"),
            ({-1: b""}, "no option named '-1'"),
            ({True: b""}, "no option named 'True'"),
            ({"router": "192.0.2.1"}, "no option named 'router'"),
            ({"routers": "router"}, r"^routers \(3\): 'router' is not an IPv4 address"),
            ({1: "255.255.255"}, r"^subnet-mask \(1\): "),
            ({51: 2**32}, r"^dhcp-lease-time \(51\): 4294967296 does not fit"),
            ({51: None}, r"^dhcp-lease-time \(51\): "),
            ({3: 5.0}, r"^routers \(3\): "),
            ({224: 5}, r"^option-224 \(224\): "),
            ({43: bytes(66_000)}, "at most 65535"),
        ],
    )
    def test_refuses(self, options, reason):
        """What does not fit names the option and says why."""
        with pytest.raises(ValueError, match=reason) as caught:
            Message.build(options=options)
        assert not isinstance(caught.value, MalformedMessage)

    @pytest.mark.parametrize(("hlen", "says"), [(None, 6), (0, 0), (16, 16), (5, 5)])
    def test_hardware_length(self, hlen, says):
        """TRAPS 24: the length is that of the address, or what is said."""
        message = Message.build(chaddr=b"\2\0\0\0\0\1", hlen=hlen)
        assert message.hlen == says
        assert message.raw[28:34] == b"\2\0\0\0\0\1"
        assert len(message.chaddr) == says

    def test_hardware_length_refused(self):
        """No address is longer than its field."""
        with pytest.raises(ValueError, match="hlen is 17"):
            Message.build(hlen=17)

    @pytest.mark.parametrize(
        "address", [0xC0000207, "192.0.2.7", b"\xc0\0\2\7", IP("192.0.2.7")], ids=type
    )
    def test_addresses(self, address):
        """An address is given in any of its forms."""
        assert Message.build(ciaddr=address).ciaddr == 0xC0000207

    def test_text_fields(self):
        """Names may be text, which is UTF-8 on the wire."""
        message = Message.build(sname="Büro", file="boot/é")
        assert message.sname.rstrip(b"\0") == "Büro".encode()
        assert message.file.rstrip(b"\0") == "boot/é".encode()


#: More than 160 bytes of options.
LONG = {53: 2, 54: "192.0.2.1", 15: b"d" * 100, 17: b"r" * 90, 82: b"\1\4port"}


class TestLimit:
    """TRAPS 26: a message that would be too long."""

    def test_enough(self):
        """What fits is laid out as without a limit."""
        free = Message.build(options=LONG)
        limited = Message.build(
            options=LONG, limit=len(free.raw), requested=b"\x0f\x11"
        )
        assert limited == free
        assert limited.dropped == ()

    def test_too_long(self):
        """Without a request list nothing spills: the last in order is left out."""
        message = Message.build(options=LONG, limit=400)
        assert len(message.raw) <= 400
        assert message.dropped == (17,)
        assert list(message.options) == [53, 54, 15, 82]

    def test_spills(self):
        """With a request list the two fields are used before anything is left out."""
        message = Message.build(options=LONG, limit=400, requested=b"\x11\x0f")
        assert len(message.raw) <= 400
        assert message.dropped == ()
        assert message.get("dhcp-option-overload") == 1
        assert list(message.options) == [53, 52, 54, 17, 82, 15]
        assert {piece.area for piece in message.pieces() if piece.code == 82} == {
            "options"
        }

    @pytest.mark.parametrize(
        ("fields", "area"),
        [({"file": "boot"}, "sname"), ({"sname": b"tftp"}, "file")],
    )
    def test_spills_into_what_is_free(self, fields, area):
        """A field that says something itself is left alone."""
        options = {53: 2, 15: b"d" * 100, 17: b"r" * 50}
        message = Message.build(options=options, limit=360, requested=b"", **fields)
        assert message.dropped == ()
        assert {piece.area for piece in message.pieces()} == {"options", area}
        plain = Message.build(**fields)
        for name in fields:
            assert getattr(message, name) == getattr(plain, name)

    def test_both_fields_taken(self):
        """With both fields in use there is nowhere to spill to."""
        message = Message.build(
            options=LONG, limit=400, requested=b"", file="boot", sname="tftp"
        )
        assert message.dropped == (17,)
        assert 52 not in message.options

    def test_most_important_is_kept(self):
        """What the protocol needs is kept whatever was asked for first."""
        options = {17: b"r" * 200, 12: b"h" * 60, 53: 2, 54: "192.0.2.1", 51: 60}
        message = Message.build(options=options, limit=320)
        assert message.dropped == (17,)
        assert list(message.options) == [53, 54, 51, 12]

    @UNTIMED
    @given(OPTIONS, st.none() | st.binary(max_size=8), st.integers(300, 1500))
    def test_any(self, options, requested, limit):
        """No message is longer than its limit; what is not in it is reported."""
        message = Message.build(options=options, requested=requested, limit=limit)
        assert len(message.raw) <= limit
        kept = {code: options[code] for code in options if code not in message.dropped}
        assert {**message.options, 52: b""} == {**kept, 52: b""}
        assert Message.decode(message.raw) == message
        assert (52 in message.options) <= (requested is not None)
        assert set(message.dropped) <= set(options)


class TestAnyBuild:
    """Whatever is built is read as it was meant, in the order that there should be."""

    @UNTIMED
    @given(OPTIONS, st.none() | st.binary(max_size=8))
    def test_order(self, options, requested):
        """Type first, mask before routers, 82 last; the rest as given or as asked."""
        message = Message.build(options=options, requested=requested)
        codes = list(message.options)
        assert message.options == options
        assert 53 not in codes[1:]
        assert 82 not in codes[:-1]
        assert in_order(codes, {1, 3}) in ([1, 3], [1], [3], [])
        if requested is None:
            fixed = {53, 82, 1}
            assert [code for code in codes if code not in fixed] == [
                code for code in options if code not in fixed
            ]
        else:
            assert codes == ordered(options, requested)

    @UNTIMED
    @given(
        OPTIONS,
        st.fixed_dictionaries(
            {},
            optional={
                "op": st.integers(0, 255),
                "htype": st.integers(0, 255),
                "hops": st.integers(0, 255),
                "xid": st.integers(0, 2**32 - 1),
                "secs": st.integers(0, 65535),
                "flags": st.integers(0, 65535),
                "ciaddr": st.integers(0, 2**32 - 1),
                "yiaddr": st.integers(0, 2**32 - 1),
                "siaddr": st.integers(0, 2**32 - 1),
                "giaddr": st.integers(0, 2**32 - 1),
                "chaddr": st.binary(max_size=16),
            },
        ),
    )
    def test_fields(self, options, fields):
        """Every field is read as it was given, and the message is its bytes."""
        message = Message.build(options=options, **fields)
        assert {name: getattr(message, name) for name in fields} == fields
        again = Message.decode(message.encode())
        assert again == message
        assert again.options == options
