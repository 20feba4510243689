"""Layout held against bytes that nobody laid out: reading agrees, answers stay in order."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import OPTIONS, UNTIMED, messages, packet

from dhcptwist.wire import Message, MessageType
from dhcptwist.wire.areas import FILE, SNAME, beginning, split, walk
from dhcptwist.wire.codes import MAGIC_COOKIE


SERVER = "192.0.2.1"

#: Mostly short options, many of them option 52 and many of them broken.
_SCRAPS = st.sampled_from(
    [
        *(b"\x34\1\0", b"\x34\1\1", b"\x34\1\2", b"\x34\1\3", b"\x34\1\4"),
        *(b"\x34\0", b"\x34\2\3\1", b"\x34", b"\0", b"\0\0", b"\xff"),
        *(b"\x0c\1h", b"\x0c\0", b"\x0c\x05ab", b"\x52\2\1\0"),
    ]
)
ANY_AREA = st.lists(_SCRAPS, max_size=8).map(b"".join) | st.binary(max_size=64)


def agree(data):
    """Walk and split read the same, and walk leaves out no byte of an area."""
    start = beginning(data)
    assert start
    joined = {}
    stands = {"options": [], "file": [], "sname": []}
    for piece in walk(data, start):
        stands[piece.area].append(piece)
        if piece.code not in {None, 0, 255}:
            joined[piece.code] = joined.get(piece.code, b"") + piece.data
    assert list(split(data, start).items()) == list(joined.items())
    places = {
        "options": data[start:],
        "file": data[FILE],
        "sname": data[SNAME],
    }
    for area, pieces in stands.items():
        whole = b"".join(data[piece.offset : piece.end] for piece in pieces)
        assert whole == (places[area] if pieces else b"")
    return joined, {area for area, pieces in stands.items() if pieces}


class TestAgree:
    """Two readers of one layout: `walk` for people and edits, `split` for the server."""

    @UNTIMED
    @given(ANY_AREA, ANY_AREA, ANY_AREA)
    def test_any_bytes(self, options, file, sname):
        """Whatever stands in the areas."""
        agree(packet(options, file=file, sname=sname))

    @UNTIMED
    @given(
        st.binary(max_size=60).filter(
            lambda b: MAGIC_COOKIE not in b + MAGIC_COOKIE[:3]
        )
    )
    def test_any_bytes_before_the_cookie(self, late):
        """However late the cookie stands, what is behind it is read from there."""
        data = packet(b"\x34\1\1\xff", file=b"\x0c\1f\xff")
        moved = data[:236] + late + data[236:]
        assert beginning(moved) == 240 + len(late)
        assert agree(moved) == ({52: b"\1", 12: b"f"}, {"options", "file"})

    @pytest.mark.parametrize(
        ("options", "areas"),
        [
            (b"\x34\1\1\xff", {"options", "file"}),
            (b"\x34\1\1\x34\1\2\xff", {"options", "file"}),
            (b"\x34\1\2\x34\1\1\xff", {"options", "sname"}),
            (b"\x34\1\0\x34\1\3\xff", {"options"}),
            (b"\x34\2\3\1\xff", {"options", "file", "sname"}),
        ],
    )
    def test_option_52_again(self, options, areas):
        """Its first byte counts; what stands in ``file`` opens nothing more."""
        data = packet(options, file=b"\x34\1\3\xff", sname=b"\x34\1\1\xff")
        assert agree(data)[1] == areas

    @pytest.mark.parametrize("second", [b"\x34\1\1", b"\x34\1\3", b"\x34\3\1\2\3"])
    def test_option_52_empty(self, second):
        """An empty first one is read alike by both, whatever a second one says."""
        data = packet(b"\x34\0" + second + b"\xff", file=b"\x0c\1f\xff")
        assert agree(data) == ({52: second[2:]}, {"options"})

    @pytest.mark.parametrize("field", ["file", "sname"])
    def test_end_of_a_field(self, field):
        """A field ends with its last byte: an option up to there is read, past it none."""
        size = {"file": 128, "sname": 64}[field]
        opens = {"file": b"\x34\1\1", "sname": b"\x34\1\2"}[field] + b"\xff"
        full = bytes([12, size - 2]) + b"h" * (size - 2)
        over = bytes([12, size - 1]) + b"h" * (size - 2)
        assert agree(packet(opens, **{field: full}))[0][12] == b"h" * (size - 2)
        assert 12 not in agree(packet(opens, **{field: over}))[0]


class TestAnswers:
    """A client can use every answer, however little room there is for it."""

    KINDS = st.sampled_from(
        [
            (MessageType.DISCOVER, MessageType.OFFER),
            (MessageType.REQUEST, MessageType.ACK),
            (MessageType.REQUEST, MessageType.NAK),
            (MessageType.INFORM, MessageType.ACK),
        ]
    )

    @UNTIMED
    @given(messages(), KINDS, OPTIONS, st.integers(300, 1600))
    def test_what_no_answer_lacks(self, message, kinds, options, path):
        """Type and server identifier stand in the options field, and there first."""
        asked, kind = kinds
        message = message.replace(options={53: asked})
        reasons = {56: b"no"} if kind is MessageType.NAK else options
        ours = {50, 51, 52, 53, 54, 55, 57, 58, 59}
        given_ = {code: data for code, data in reasons.items() if code not in ours}
        reply = message.reply(kind, server=SERVER, options=given_, path=path)
        assert len(reply.raw) <= min(path, message.size_limit)
        assert reply.type is kind
        assert reply.options[54] == bytes([192, 0, 2, 1])
        stand = [
            piece.code
            for piece in reply.pieces()
            if piece.area == "options" and piece.code != 52
        ]
        assert stand[:2] == [53, 54]
        assert not {53, 54} & {*reply.dropped}

    @UNTIMED
    @given(messages(), st.binary(max_size=300))
    def test_nak(self, message, reason):
        """Nothing but what table 3 lets a NAK have, whoever asked for what."""
        message = message.replace(options={53: MessageType.REQUEST})
        reply = message.reply(MessageType.NAK, server=SERVER, options={56: reason})
        assert {*reply.options} <= {52, 53, 54, 56, 61, 82}
        assert reply.ciaddr == reply.yiaddr == reply.siaddr == 0
        assert reply.wants_broadcast is (
            bool(message.giaddr) or message.wants_broadcast
        )

    @pytest.mark.parametrize("late", [1, 4, 60])
    def test_late_cookie(self, late):
        """TRAPS 36: who put the cookie late is answered with one in its place."""
        data = packet(b"\x35\1\1\x3d\2ab\x52\2\1\0\xff")
        message = Message.decode(data[:236] + bytes(late) + data[236:])
        reply = message.reply(MessageType.OFFER, server=SERVER)
        assert beginning(reply.raw) == 240
        assert list(reply.options) == [53, 54, 61, 82]


class TestTakenBack:
    """An edit of a message whose options spill."""

    def test_without_pads(self):
        """Pads that filled three areas are not carried into one."""
        data = packet(
            b"\0\x35\1\1\x34\1\3\0\0\xff",
            file=b"\0\0\x0c\1f\0\xff",
            sname=b"\x0f\1s",
        )
        edited = Message.decode(data).replace(options={12: b"new"})
        area = MAGIC_COOKIE + b"\x35\1\1\x0c\3new\x0f\1s\xff"
        assert edited.raw[236:] == area.ljust(64, b"\0")
