"""Laying out options: in pieces, in order, and where they fit."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import UNTIMED, options_of

from dhcptwist.wire.areas import fit, join, join_one


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

    def test_relay_information_may_take_half(self):
        """With what else there is, option 82 gets half of the room and no more."""
        options = [(53, b"\5"), (82, bytes(18)), (12, b"h" * 40)]
        assert fit(options, 41, file=False, sname=False).dropped == [12]
        assert fit(options, 40, file=False, sname=False).dropped == [82, 12]
        assert fit(options[:2], 24, file=False, sname=False).dropped == []

    @pytest.mark.parametrize("room", [44, 60, 100])
    def test_relay_information_never_spills(self, room):
        """RFC 3046 section 2.2: whatever room the fields have, 82 does not go there."""
        options = [(82, b"\1\x10" + b"p" * 16), (12, b"h" * 50), (43, b"v" * 60)]
        fitted = fit(options, room, file=True, sname=True)
        assert fitted.options.endswith(b"p" * 16 + b"\xff")
        assert b"pp" not in (fitted.file or b"") + (fitted.sname or b"")
        assert self.read(fitted) == dict(options)

    def test_relay_information_is_last_without_need(self):
        """If there is room for all, it still goes last."""
        fitted = fit([(82, b"r"), (53, b"\5")], 99, file=True, sname=True)
        assert fitted == (b"\x35\1\5\x52\1r\xff", None, None, [])

    @pytest.mark.parametrize(("file", "sname"), [(True, False), (True, True)])
    def test_overload_that_is_useless(self, file, sname):
        """Option 52 does not push out a more important option for nothing."""
        options = [(53, b"\5"), (43, bytes(300)), (12, bytes(200))]
        fitted = fit(options, 310, file=file, sname=sname)
        assert fitted.dropped == [12]
        assert fitted.file is fitted.sname is None
        assert self.read(fitted) == {53: b"\5", 43: bytes(300)}

    def test_overload_that_costs_more(self):
        """Nor for a less important one that would go into the fields."""
        options = [(53, b"\5"), (43, bytes(300)), (12, bytes(100))]
        fitted = fit(options, 310, file=True, sname=True)
        assert fitted.dropped == [12]
        assert self.read(fitted) == {53: b"\5", 43: bytes(300)}

    @UNTIMED
    @given(
        st.lists(
            st.tuples(
                st.integers(1, 81).filter(lambda code: code != 52),
                st.binary(max_size=300),
            ),
            max_size=14,
            unique_by=lambda each: each[0],
        ),
        st.integers(4, 900),
    )
    def test_fields_never_cost(self, options, room):
        """With more fields to use, the first that is lost is never more important."""
        codes = [code for code, _ in options]

        def lost(**fields):
            dropped = fit(options, room, **fields).dropped
            return [code in dropped for code in codes]

        without = lost(file=False, sname=False)
        assert lost(file=True, sname=False) <= without
        assert lost(file=False, sname=True) <= without
        assert lost(file=True, sname=True) <= without

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
