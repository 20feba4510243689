"""Where options stand: every piece in its place, their order, and how long is too long."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import CODES, UNTIMED, in_order, messages, options_of, packet

from dhcptwist.wire import Message
from dhcptwist.wire.areas import (
    IMPORTANT,
    LARGEST_SIZE,
    SAFE_SIZE,
    Piece,
    beginning,
    join,
    ordered,
    size_limit,
    split,
    walk,
)
from dhcptwist.wire.codes import MAGIC_COOKIE


def walked(options, **fields):
    """The pieces of a datagram with these areas, as plain tuples."""
    return [tuple(piece) for piece in walk(packet(options, **fields), 240)]


class TestWalk:
    """Every stretch of bytes in the order that it is read."""

    def test_one_area(self):
        """Pads in one piece, options, END, and what stands behind it."""
        assert walked(b"\x35\1\1\0\0\x0c\2hi\x50\0\xff\0\0x") == [
            ("options", 240, 53, b"\1"),
            ("options", 243, 0, b"\0\0"),
            ("options", 245, 12, b"hi"),
            ("options", 249, 80, b""),
            ("options", 251, 255, b""),
            ("options", 252, None, b"\0\0x"),
        ]

    @pytest.mark.parametrize("rest", [b"\x0c", b"\x0c\5abcd", b"\x0c\xff\xff"])
    def test_overrun(self, rest):
        """What cannot be read is one piece that has no code."""
        assert walked(b"\x35\1\1" + rest) == [
            ("options", 240, 53, b"\1"),
            ("options", 243, None, rest),
        ]

    def test_nothing(self):
        """An empty area has no pieces."""
        assert walked(b"") == []

    @pytest.mark.parametrize(
        ("overload", "areas"),
        [
            (b"\x34\1\1", ["options", "file"]),
            (b"\x34\1\2", ["options", "sname"]),
            (b"\x34\1\3", ["options", "file", "sname"]),
            (b"\x34\1\4", ["options"]),
            (b"\x34\0", ["options"]),
            (b"", ["options"]),
        ],
    )
    def test_areas(self, overload, areas):
        """TRAPS 27: first the options field, then ``file``, then ``sname``."""
        found = walked(b"\x35\1\1" + overload, file=b"\x0c\1f", sname=b"\x0c\1s")
        assert list(dict.fromkeys(area for area, *_ in found)) == areas
        names = [piece for piece in found if piece[2] == 12]
        at = {"file": ("file", 108, 12, b"f"), "sname": ("sname", 44, 12, b"s")}
        assert names == [at[area] for area in areas[1:]]

    @pytest.mark.parametrize(
        ("overload", "opened"),
        [
            (b"\x34\1\1\x34\1\0", True),
            (b"\x34\1\0\x34\1\1", False),
            (b"\x34\0\x34\1\1", False),
        ],
    )
    def test_overload_twice(self, overload, opened):
        """The first option 52 counts, and reading the options takes it the same way."""
        found = walked(overload + b"\xff", file=b"\x0c\1f")
        assert ("file", 108, 12, b"f") in found or not opened
        assert (12 in options_of(overload + b"\xff", file=b"\x0c\1f")) is opened
        assert any(area == "file" for area, *_ in found) is opened

    @pytest.mark.parametrize(
        ("piece", "end"),
        [
            (Piece("options", 240, 12, b"box"), 245),
            (Piece("options", 240, 12, b""), 242),
            (Piece("options", 240, 0, b"\0\0"), 242),
            (Piece("options", 240, 255, b""), 241),
            (Piece("options", 240, None, b"\x0c"), 241),
        ],
    )
    def test_end(self, piece, end):
        """A piece ends behind its data; options have a code and a length as well."""
        assert piece.end == end

    @UNTIMED
    @given(messages())
    def test_put_together(self, message):
        """The pieces of an area, one behind the other, are the area's bytes."""
        raw = message.raw
        start = beginning(raw)
        areas = {"options": (start, len(raw)), "file": (108, 236), "sname": (44, 108)}
        pieces = list(message.pieces())
        for name in {piece.area for piece in pieces}:
            at, stop = areas[name]
            for piece in pieces:
                if piece.area == name:
                    assert piece.offset == at
                    assert piece.end > at
                    assert raw[at : piece.end].endswith(piece.data)
                    at = piece.end
            assert at == stop

    @UNTIMED
    @given(messages())
    def test_same_as_options(self, message):
        """The options are what the pieces with a code are when they are joined."""
        joined = {}
        for piece in message.pieces():
            if piece.code not in {None, 0, 255}:
                joined[piece.code] = joined.get(piece.code, b"") + piece.data
        assert list(message.options.items()) == list(joined.items())


class TestBeginning:
    """Where the options begin."""

    @pytest.mark.parametrize("size", [0, 236, 239])
    def test_no_room(self, size):
        """Nothing of a cookie fits there."""
        assert beginning(bytes(size)) == 0

    def test_usual(self):
        """Byte 240, wherever else the cookie's bytes may be."""
        assert beginning(packet()) == 240
        assert beginning(packet(MAGIC_COOKIE * 2)) == 240
        assert beginning(packet(file=MAGIC_COOKIE)) == 240

    @pytest.mark.parametrize("late", [1, 2, 3, 4, 8, 60])
    def test_late(self, late):
        """TRAPS 36: some clients put a few bytes before the cookie."""
        assert beginning(bytes(236 + late) + MAGIC_COOKIE) == 240 + late

    def test_too_late(self):
        """Behind BOOTP's vendor field it is not looked for."""
        assert beginning(bytes(236 + 65) + MAGIC_COOKIE + b"\x35\1\1") == 0

    def test_not_before(self):
        """Inside the fields the same bytes mean nothing."""
        assert beginning(bytes(232) + MAGIC_COOKIE + bytes(64)) == 0
        assert beginning(bytes(235) + MAGIC_COOKIE) == 0

    def test_split(self):
        """Options are read from there, and the other areas stand where they always do."""
        data = packet(b"\x34\1\1\xff", file=b"\x0c\1f\xff")
        late = data[:236] + b"abc" + data[236:]
        assert split(late, beginning(late)) == {52: b"\1", 12: b"f"}


class TestOrdered:
    """TRAPS 32: the order that clients expect."""

    def test_all_rules(self):
        """Type, what the protocol needs, mask, the client's list, the rest, 82."""
        codes = [82, 15, 3, 6, 1, 61, 51, 54, 12, 53, 58, 59, 56]
        requested = bytes([3, 6, 1, 42])
        wanted = [53, 54, 51, 58, 59, 61, 56, 1, 3, 6, 15, 12, 82]
        assert ordered(codes, requested) == wanted
        assert wanted[:7] == list(IMPORTANT)

    def test_no_list(self):
        """Without a list the rest keeps the order given."""
        assert ordered([15, 6, 3, 1, 12]) == [1, 15, 6, 3, 12]

    def test_each_once(self):
        """What is asked for, or given, twice is there once."""
        assert ordered([12, 3, 12], b"\x0c\x0c\x03") == [12, 3]

    @pytest.mark.parametrize("requested", [b"\x52\x0c", b"\x0c\x52\x03", b"\x03\x01"])
    def test_what_no_list_changes(self, requested):
        """Neither the mask's place before the routers, nor that 82 is last."""
        found = ordered([82, 3, 1, 12], requested)
        assert found[-1] == 82
        assert found.index(1) < found.index(3)

    @UNTIMED
    @given(st.lists(CODES), st.none() | st.binary(max_size=20))
    def test_any(self, codes, requested):
        """Any codes, any list: each once, and every rule holds."""
        found = ordered(codes, requested)
        assert sorted(found) == sorted(set(codes))
        assert 53 not in found[1:]
        assert 82 not in found[:-1]
        fixed = {*IMPORTANT, 1, 82}
        rest = [code for code in found if code not in fixed]
        asked = in_order(dict.fromkeys(requested or b""), set(rest))
        assert rest[: len(asked)] == asked
        others = set(rest) - set(asked)
        assert rest[len(asked) :] == in_order(dict.fromkeys(codes), others)
        assert in_order(found, IMPORTANT) == in_order(IMPORTANT, found)


class TestSizeLimit:
    """TRAPS 26: option 57 counts the headers, and may not ask for less than 576."""

    @pytest.mark.parametrize(
        ("asked", "limit"),
        [
            (b"", 548),
            (b"\xff", 548),
            (b"\0\0", 548),
            (b"\x02\x3f", 548),
            (b"\x02\x40", 548),
            (b"\x02\x41", 549),
            (b"\x05\xdc", 1472),
            (b"\xff\xff", 1472),
            (b"\x03\xe8\xff", 972),
        ],
    )
    def test_option_57(self, asked, limit):
        """What a client asks for, within what the protocol and Ethernet allow."""
        assert size_limit({57: asked}) == limit
        assert Message.build(options={57: asked}).size_limit == limit

    def test_no_option(self):
        """Without it the limit is what every client takes."""
        assert size_limit({}) == SAFE_SIZE == 548
        assert LARGEST_SIZE == 1472

    @pytest.mark.parametrize(
        ("path", "limit"), [(500, 500), (548, 548), (1000, 1000), (9000, 8972)]
    )
    def test_path(self, path, limit):
        """The way to the client may carry less, or more, than Ethernet."""
        assert size_limit({57: (9000).to_bytes(2, "big")}, path) == limit

    def test_join_and_split(self):
        """What is written is what is read (the pair that everything here rests on)."""
        options = {53: b"\1", 43: bytes(600), 80: b""}
        assert split(packet(join(options.items()))) == options
