"""Replies that would be too long: what spills, what is left out, and that it is said."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import OPTIONS, UNTIMED, in_order, messages, packet

from dhcptwist.wire import Message, MessageType


SERVER = "192.0.2.1"

#: About 500 bytes of options; what the protocol needs comes on top.
LONG = {15: b"d" * 120, 17: b"r" * 120, 43: b"v" * 120, 119: b"s" * 60, 12: b"h" * 20}


def discover(**options):
    """A DISCOVER with these options; ``o57`` is option 57."""
    given = {int(name[1:]): value for name, value in options.items()}
    return Message.build(chaddr=bytes(6), options={53: "discover", **given})


def offer(message, **more):
    """An OFFER that would like to be long."""
    arguments = {"server": SERVER, "yiaddr": "192.0.2.10", "lease_time": 60}
    return message.reply(MessageType.OFFER, **{**arguments, "options": LONG, **more})


def areas_of(reply):
    """The areas that the options of a reply stand in."""
    return {piece.area for piece in reply.pieces()}


class TestLimit:
    """TRAPS 26: how long a reply may be."""

    @pytest.mark.parametrize(
        ("asked", "limit"), [(None, 548), (0, 548), (576, 548), (600, 572), (700, 672)]
    )
    def test_option_57(self, asked, limit):
        """The limit is kept, and used: one byte less and more is left out."""
        options = {} if asked is None else {"o57": asked}
        reply = offer(discover(**options))
        assert limit - 62 < len(reply.raw) <= limit
        assert reply.dropped

    def test_enough(self):
        """A client that takes more gets all."""
        reply = offer(discover(o57=1500))
        assert reply.dropped == ()
        assert {**LONG, **reply.options} == dict(reply.options)
        assert areas_of(reply) == {"options"}

    @pytest.mark.parametrize("spare", [0, 1])
    def test_last_byte(self, spare):
        """The limit may be used to its last byte."""
        whole = len(offer(discover(o57=1500)).raw)
        reply = offer(discover(o57=whole + 28 - spare))
        assert (len(reply.raw) == whole) is (not spare)
        assert bool(reply.dropped) is bool(spare)

    @pytest.mark.parametrize(("path", "limit"), [(400, 400), (548, 548), (1000, 1000)])
    def test_path(self, path, limit):
        """The way to the client may carry less than the client takes."""
        reply = offer(discover(o57=1500), path=path)
        assert len(reply.raw) <= limit
        assert bool(reply.dropped) is (limit < 800)

    def test_largest(self):
        """Without being told otherwise nobody gets more than Ethernet carries."""
        reply = offer(discover(o57=65535), options={43: bytes(1100), 17: bytes(300)})
        assert reply.dropped == (17,)
        reply = offer(
            discover(o57=65535), options={43: bytes(1100), 17: bytes(300)}, path=9000
        )
        assert reply.dropped == ()

    def test_bootp(self):
        """RFC 1534 section 2: BOOTP has 300 bytes, or as many as it sent."""
        short = Message.build(chaddr=bytes(6))
        reply = short.reply(None, yiaddr=7, options={1: bytes(4), 17: b"r" * 60})
        assert len(reply.raw) == 300
        assert reply.dropped == (17,)
        longer = Message.build(chaddr=bytes(6), options={43: bytes(100)})
        reply = longer.reply(None, yiaddr=7, options={1: bytes(4), 17: b"r" * 60})
        assert len(reply.raw) <= len(longer.raw)
        assert reply.dropped == ()


class TestSpilling:
    """TRAPS 27: options in ``file`` and ``sname``."""

    def test_with_a_request_list(self):
        """All of it is used before anything is left out; ``file`` first."""
        reply = offer(discover(o55=[15, 17]))
        assert reply.dropped == ()
        assert areas_of(reply) == {"options", "file", "sname"}
        assert reply.get("dhcp-option-overload") == 3
        assert [piece.code for piece in reply.pieces()][1] == 52
        assert {**LONG, **reply.options} == dict(reply.options)

    @pytest.mark.parametrize("options", [{}, {"o55": b""}])
    def test_without_a_request_list(self, options):
        """A client that sends none may not know of option 52."""
        reply = offer(discover(**options))
        assert areas_of(reply) == {"options"}
        assert 52 not in reply.options
        assert reply.dropped

    @pytest.mark.parametrize(
        ("fields", "areas"),
        [
            ({"file": "boot"}, {"options", "sname"}),
            ({"sname": "tftp"}, {"options", "file"}),
            ({"file": "boot", "sname": "tftp"}, {"options"}),
        ],
    )
    def test_fields_in_use(self, fields, areas):
        """A field that says something itself is left alone."""
        reply = offer(discover(o55=[15, 17]), **fields)
        assert areas_of(reply) == areas
        for name, value in fields.items():
            assert getattr(reply, name).rstrip(b"\0") == value.encode()

    def test_bootp_never_spills(self):
        """BOOTP has no option 52, even if the client sent a request list."""
        message = Message.build(options={55: [1, 17]})
        reply = message.reply(None, yiaddr=7, options={1: bytes(4), 17: b"r" * 100})
        assert areas_of(reply) == {"options"}
        assert reply.dropped == (17,)

    def test_relay_information_never_spills(self):
        """RFC 3046 section 2.2: option 82 is last in the options field."""
        data = b"\1\x50" + b"p" * 80
        reply = offer(discover(o55=[15], o82=data))
        assert reply.options[82] == data
        found = [p for p in reply.pieces() if p.area == "options" and p.code]
        assert [piece.code for piece in found if piece.code != 255][-1] == 82
        assert b"ppp" not in reply.file + reply.sname


class TestDropped:
    """What is left out is the least important, and is reported."""

    def test_order_of_importance(self):
        """What the protocol needs, then what was asked for in that order, then others."""
        options = dict.fromkeys((15, 17, 43, 66), b"x" * 100)
        reply = offer(discover(o61=b"\1" + b"c" * 60), options=options)
        assert reply.dropped == (43, 66)
        message = discover(o61=b"\1" + b"c" * 60, o55=[66, 43])
        reply = offer(message, options=options, file="boot", sname="tftp")
        assert reply.dropped == (15, 17)
        assert list(reply.options) == [53, 54, 51, 61, 66, 43]

    def test_smaller_ones_fit(self):
        """Behind one that is left out a smaller one may still find room."""
        reply = offer(discover(), options={43: bytes(400), 12: b"h"})
        assert reply.dropped == (43,)
        assert reply.host_name == "h"

    def test_relay_information(self):
        """RFC 3046 section 2.2: an option 82 that leaves no room is left out whole."""
        reply = offer(discover(o82=bytes(250)))
        assert 82 in reply.dropped
        assert 82 not in reply.options

    def test_repeated_relay_information(self):
        """In two pieces it comes back joined (RFC 3396), and last."""
        area = b"\x52\3\1\1a\x35\1\1\x52\3\2\1b\xff"
        reply = offer(Message.decode(packet(area)), options={})
        assert list(reply.options.items())[-1] == (82, b"\1\1a\2\1b")

    def test_long_relay_information(self):
        """Longer than 255 bytes it comes back in pieces, all of them last."""
        data = b"\1\xfa" + b"p" * 250 + b"\2\x20" + b"r" * 32
        reply = offer(discover(o57=1500, o82=data))
        assert reply.options[82] == data
        codes = [p.code for p in reply.pieces() if p.code not in {None, 0, 255}]
        assert codes[-2:] == [82, 82]
        assert codes.count(82) == 2

    @pytest.mark.parametrize("size", [1000, 60_000])
    def test_huge_identifier(self, size):
        """A client identifier that no reply can hold is left out like anything."""
        reply = offer(discover(o61=bytes(size)), options={12: b"h"})
        assert reply.dropped == (61,)
        assert list(reply.options) == [53, 54, 51, 12]


class TestAny:
    """Any request, any options."""

    @staticmethod
    def reply(message, options, path):
        """A reply to whatever it is, or None if there is none."""
        kinds = {
            MessageType.DISCOVER: MessageType.OFFER,
            MessageType.REQUEST: MessageType.ACK,
            MessageType.INFORM: MessageType.ACK,
            None: None,
        }
        if message.type not in kinds:
            return None
        never = {50, 51, 52, 53, 54, 55, 57, 58, 59}
        given = {code: data for code, data in options.items() if code not in never}
        return message.reply(
            kinds[message.type], server=SERVER, options=given, path=path
        )

    @UNTIMED
    @given(messages(), OPTIONS, st.integers(300, 1600))
    def test_never_too_long(self, message, options, path):
        """No reply is longer than the client or the way to it can take."""
        reply = self.reply(message, options, path)
        if reply is None:
            return
        assert 300 <= len(reply.raw) <= path
        if reply.type:
            assert len(reply.raw) <= message.size_limit
        else:
            assert len(reply.raw) <= max(300, len(message.raw))
        again = Message.decode(reply.raw)
        assert again == reply
        # What was copied, given or left out: nothing else is there, nothing is missing.
        assert set(options) - {50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 82} <= {
            *again.options,
            *reply.dropped,
        }
        assert not {*again.options} & {*reply.dropped}

    @UNTIMED
    @given(messages(), OPTIONS, st.integers(300, 1600))
    def test_always_in_order(self, message, options, path):
        """Type first, mask before routers, 82 as it came and last in its field."""
        reply = self.reply(message, options, path)
        if reply is None:
            return
        stand = [p for p in reply.pieces() if p.code not in {None, 0, 255}]
        codes = [piece.code for piece in stand if piece.area == "options"]
        assert 53 not in codes[1:]
        assert (53 in codes) is (reply.type is not None)
        assert 82 not in {piece.code for piece in stand if piece.area != "options"}
        if 82 in message.options:
            assert reply.options.get(82, message.options[82]) == message.options[82]
            assert (82 in reply.options) is (82 not in reply.dropped)
            assert 82 not in codes or set(codes[codes.index(82) :]) == {82}
        if message.client_id and 61 not in reply.dropped:
            assert reply.options[61] == message.client_id
        assert in_order(codes, {1, 3}) in ([1, 3], [1], [3], [])

    @UNTIMED
    @given(messages(), OPTIONS, st.integers(300, 1600))
    def test_copied(self, message, options, path):
        """Whatever was asked, what the client knows its transaction by comes back."""
        reply = self.reply(message, options, path)
        if reply is None:
            return
        assert (reply.op, reply.hops, reply.secs) == (2, 0, 0)
        assert reply.raw[1:3] == message.raw[1:3]
        assert reply.xid == message.xid
        assert reply.flags == message.flags
        assert reply.raw[24:44] == message.raw[24:44]
