"""A message made of another: what is changed, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import CODES, IP, UNTIMED, in_order, messages, packet

from dhcptwist.wire import Message, MessageType, OptionKind, values as v
from dhcptwist.wire.codes import MAGIC_COOKIE


MESSAGE = Message.build(
    xid=7,
    secs=3,
    chaddr=b"\2\0\0\0\0\1",
    sname="tftp",
    file="boot",
    options={53: "discover", 12: "box", 55: [1, 3], 82: b"\1\4port"},
)

#: Options that spill into both fields; 82 and the mask are not where we would put them.
SPILLED = Message.decode(
    packet(
        b"\x52\2\1\0\x35\1\1\x34\1\3\0\0\x3d\2ab\xff",
        file=b"\x03\4\xc0\0\2\1\x3d\2cd\xff\x0c\1x",
        sname=b"\0\x01\4\xff\xff\xff\0\x0c\3box",
    )
)


def pieces(message):
    """The options as they stand, in pieces, with pads and END."""
    return [(piece.code, piece.data) for piece in message.pieces()]


class TestFields:
    """Fields of the head."""

    def test_nothing(self):
        """Nothing changed is the same message."""
        assert MESSAGE.replace() == MESSAGE
        assert MESSAGE.replace(options={}) == MESSAGE
        assert MESSAGE.replace(options=None) == MESSAGE
        assert MESSAGE.replace() is not MESSAGE

    @UNTIMED
    @given(messages())
    def test_nothing_of_any(self, message):
        """Whatever message: nothing changed is the same bytes."""
        assert message.replace() == message
        assert message.replace(options={}) == message
        assert message.replace(xid=message.xid, flags=message.flags) == message

    @pytest.mark.parametrize(
        ("name", "value", "where"),
        [
            ("op", 2, slice(0, 1)),
            ("htype", 32, slice(1, 2)),
            ("hlen", 5, slice(2, 3)),
            ("hops", 4, slice(3, 4)),
            ("xid", 8, slice(4, 8)),
            ("secs", 65535, slice(8, 10)),
            ("flags", 0x8000, slice(10, 12)),
            ("ciaddr", "192.0.2.1", slice(12, 16)),
            ("yiaddr", IP("192.0.2.2"), slice(16, 20)),
            ("siaddr", b"\xc0\0\2\3", slice(20, 24)),
            ("giaddr", 0xC0000204, slice(24, 28)),
            ("chaddr", b"\2\0\0\0\0\2", slice(28, 44)),
            ("sname", "other", slice(44, 108)),
            ("file", b"other", slice(108, 236)),
        ],
    )
    def test_one(self, name, value, where):
        """Only that field changes, and it is what `build` makes of the same."""
        before, after = MESSAGE.raw, MESSAGE.replace(**{name: value}).raw
        assert after[: where.start] == before[: where.start]
        assert after[where.stop :] == before[where.stop :]
        assert after[where] == Message.build(**{name: value}).raw[where]
        assert after[where] != before[where]

    @pytest.mark.parametrize("address", [b"", b"\1", bytes(range(16))])
    def test_hardware_address(self, address):
        """Another hardware address brings its length with it, unless that is said."""
        assert MESSAGE.replace(chaddr=address).hlen == len(address)
        assert MESSAGE.replace(chaddr=address).chaddr == address
        assert MESSAGE.replace(chaddr=address, hlen=0).hlen == 0

    def test_no_such_field(self):
        """A misspelt field is a TypeError that names it, as for any argument."""
        with pytest.raises(TypeError, match="no field giadr, options82"):
            MESSAGE.replace(giadr=1, options82=b"")

    @pytest.mark.parametrize(
        "field",
        [
            {"xid": 2**32},
            {"hops": -1},
            {"giaddr": "x"},
            {"hlen": 17},
            {"file": "x" * 129},
        ],
        ids=repr,
    )
    def test_refuses(self, field):
        """A field that does not fit is a ValueError."""
        with pytest.raises(ValueError):  # noqa: PT011 - test_build knows the words
            MESSAGE.replace(**field)

    def test_original_stays(self):
        """A message never changes."""
        before = MESSAGE.raw
        MESSAGE.replace(xid=9, options={12: "other", 53: None})
        assert MESSAGE.raw is before
        assert MESSAGE.options[12] == b"box"

    def test_dunder(self):
        """That is what Python 3.13 calls."""
        assert Message.__replace__ is Message.replace


class TestOptionsOfReplace:
    """Options: changed in place, added, taken away."""

    @staticmethod
    def codes(**edits):
        """The order of the options after an edit."""
        options = {int(name[1:]): value for name, value in edits.items()}
        return list(MESSAGE.replace(options=options).options)

    def test_in_place(self):
        """A changed option stays where it was, longer or shorter, and last if it was."""
        assert self.codes(o12=b"other", o53=b"\3") == [53, 12, 55, 82]
        assert self.codes(o82=b"\1\1x") == [53, 12, 55, 82]
        message = MESSAGE.replace(options={12: "a-much-longer-name"})
        assert message.get("host-name") == "a-much-longer-name"
        assert pieces(message)[0] == (53, b"\1")

    def test_new(self):
        """New ones stand at the end in the order given, but before option 82."""
        assert self.codes(o61=b"\1a", o15=b"lan") == [53, 12, 55, 61, 15, 82]

    def test_new_without_82(self):
        """Without option 82 the end is the end."""
        message = MESSAGE.replace(options={82: None}).replace(options={61: b"\1a"})
        assert list(message.options) == [53, 12, 55, 61]

    def test_new_82(self):
        """A new option 82 is last, whatever is new beside it."""
        message = MESSAGE.replace(options={82: None})
        edited = message.replace(options={82: b"\1\1a", 61: b"\1a"})
        assert list(edited.options) == [53, 12, 55, 61, 82]

    def test_new_type(self):
        """A message type is put in front."""
        message = MESSAGE.replace(options={53: None})
        assert list(message.options) == [12, 55, 82]
        edited = message.replace(options={15: b"lan", "dhcp-message-type": "request"})
        assert list(edited.options) == [53, 12, 55, 15, 82]
        assert edited.type is MessageType.REQUEST

    def test_removed(self):
        """None takes an option away; one that is not there is no error."""
        assert self.codes(o12=None) == [53, 55, 82]
        assert self.codes(o82=None) == [53, 12, 55]
        assert self.codes(o99=None) == [53, 12, 55, 82]
        everything = dict.fromkeys(MESSAGE.options)
        assert MESSAGE.replace(options=everything).raw[236:] == (
            MAGIC_COOKIE + b"\xff"
        ).ljust(64, b"\0")

    def test_back_again(self):
        """Taken out and put in again, what was last is the same message."""
        without = MESSAGE.replace(options={82: None})
        assert without != MESSAGE
        assert without.replace(options={82: MESSAGE.options[82]}) == MESSAGE

    def test_empty_value(self):
        """An empty value is an option, not none."""
        assert MESSAGE.replace(options={80: b"", 12: b""}).options[12] == b""
        assert 80 in MESSAGE.replace(options={80: True}).options

    def test_ways_to_say(self):
        """By name, number or kind, as in `build`."""
        site = OptionKind(224, "site", v.U16)
        message = MESSAGE.replace(options={"host-name": "x", site: 1, "55": [6]})
        assert message.options == {**MESSAGE.options, 12: b"x", 224: b"\0\1", 55: b"\6"}

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"router": "192.0.2.1"}, "no option named 'router'"),
            ({"routers": "here"}, r"^routers \(3\): "),
            ({0: None}, "1 to 254, not 0"),
            ({255: b""}, "1 to 254, not 255"),
            ({43: bytes(66_000)}, "at most 65535"),
        ],
    )
    def test_refuses(self, options, reason):
        """As `build` does."""
        with pytest.raises(ValueError, match=reason):
            MESSAGE.replace(options=options)

    def test_pieces(self):
        """A changed option of several pieces stands whole where its first stood."""
        message = Message.decode(packet(b"\x0c\1a\x35\1\1\x0c\1b\x0f\1d\x0c\1c\xff"))
        edited = message.replace(options={12: b"new"})
        assert list(edited.options.items()) == [(12, b"new"), (53, b"\1"), (15, b"d")]
        assert [code for code, _ in pieces(edited)][:4] == [12, 53, 15, 255]
        assert 12 not in message.replace(options={12: None}).options

    def test_other_pieces_stay(self):
        """What is not changed keeps its pieces and the pads between."""
        area = b"\0\x3d\1a\0\0\x0c\1h\x3d\1b\x35\1\1"
        message = Message.decode(packet(area + b"\xff"))
        edited = message.replace(options={15: b"d"})
        assert edited.raw[240:].rstrip(b"\0") == area + b"\x0f\1d\xff"

    def test_long(self):
        """RFC 3396: a value that grows is written in pieces."""
        edited = MESSAGE.replace(options={12: bytes(300)})
        assert [len(data) for code, data in pieces(edited) if code == 12] == [255, 45]
        assert list(edited.options) == [53, 12, 55, 82]

    @pytest.mark.parametrize(
        "tail", [b"", b"\0\0\0", b"\xff", b"\xff\0\0", b"\xffjunk", b"\x0c\x40cut"]
    )
    def test_tails(self, tail):
        """The end is written anew: one END, and pads up to 300 bytes."""
        message = Message.decode(packet(b"\x35\1\1" + tail))
        edited = message.replace(options={15: b"d"})
        assert edited.raw[236:] == (MAGIC_COOKIE + b"\x35\1\1\x0f\1d\xff").ljust(
            64, b"\0"
        )

    @pytest.mark.parametrize("late", [1, 4])
    def test_late_cookie(self, late):
        """A cookie that stood late is put where it belongs."""
        data = bytes(236 + late) + MAGIC_COOKIE + b"\x35\1\1\xff"
        edited = Message.decode(data).replace(options={15: b"d"})
        assert edited.raw[236:247] == MAGIC_COOKIE + b"\x35\1\1\x0f\1d\xff"
        assert list(edited.options) == [53, 15]

    @pytest.mark.parametrize("tail", [b"", bytes(64)])
    def test_no_cookie(self, tail):
        """An option for plain BOOTP brings a cookie with it."""
        message = Message.decode(bytes(236) + tail)
        edited = message.replace(options={12: b"h"})
        assert edited.options == {12: b"h"}
        assert len(edited.raw) == 300
        assert edited.raw[:236] == message.raw[:236]

    @pytest.mark.parametrize("tail", [b"", bytes(64), b"vendor"])
    def test_no_cookie_and_nothing_to_remove(self, tail):
        """Where there are no options there is none to take away."""
        message = Message.decode(bytes(236) + tail)
        assert message.replace(options={12: None}) == message

    def test_mask_before_routers(self):
        """RFC 2132 section 3.3: a mask that is new stands before the routers."""
        message = Message.build(options={53: b"\5", 3: b"\1\2\3\4", 12: b"a"})
        assert list(message.replace(options={1: b"\xff" * 4}).options) == [53, 1, 3, 12]


class TestSpilled:
    """RFC 2131 section 4.1: messages whose options spill into the other fields."""

    def test_what_it_is(self):
        """The message that the others are made of."""
        assert list(SPILLED.options) == [82, 53, 52, 61, 3, 1, 12]
        assert SPILLED.options[61] == b"abcd"
        assert SPILLED.options[12] == b"box"

    def test_taken_back(self):
        """An edit takes all options back into their field, in the order they were."""
        edited = SPILLED.replace(options={12: b"new", 15: b"lan"})
        assert list(edited.options) == [15, 82, 53, 61, 3, 1, 12]
        assert {**SPILLED.options, 12: b"new", 15: b"lan"} == {
            **edited.options,
            52: b"\3",
        }
        assert edited.file == bytes(128)
        assert edited.sname == bytes(64)
        assert {piece.area for piece in edited.pieces()} == {"options"}

    def test_order_stays(self):
        """What is not changed keeps its order, though we would have chosen another."""
        edited = SPILLED.replace(options={3: None})
        assert list(edited.options) == [82, 53, 61, 1, 12]

    def test_field_given(self):
        """A boot file that is given stays, and the options come back all the same."""
        edited = SPILLED.replace(file="boot", options={12: b"new"})
        assert edited.file == b"boot".ljust(128, b"\0")
        assert edited.sname == bytes(64)
        assert 52 not in edited.options

    @pytest.mark.parametrize("field", ["file", "sname"])
    def test_only_the_field_given(self, field):
        """A field is not a field while options stand in it: they are taken back first."""
        edited = SPILLED.replace(**{field: b"boot"})
        assert getattr(edited, field).rstrip(b"\0") == b"boot"
        assert list(edited.options) == [82, 53, 61, 3, 1, 12]
        assert {**edited.options, 52: b"\3"} == SPILLED.options

    def test_free_field(self):
        """The field that is not used for options is a field like any other."""
        message = Message.decode(
            packet(b"\x34\1\1\x35\1\1\xff", file=b"\x0c\1h\xff", sname=b"tftp")
        )
        assert message.replace(options={15: b"d"}).sname == message.sname
        edited = message.replace(sname="other")
        assert edited.options == message.options
        assert edited.file == message.file

    @pytest.mark.parametrize("overload", [b"\x34\1\0", b"\x34\1\4", b"\x34\0\x34\1\1"])
    def test_no_overload(self, overload):
        """Option 52 that opens no field leaves the fields alone."""
        message = Message.decode(packet(overload + b"\xff", file=b"boot", sname=b"srv"))
        edited = message.replace(options={12: b"h"})
        assert edited.file == message.file
        assert edited.sname == message.sname

    def test_fields_only(self):
        """Where only the head changes, options stay where they are."""
        edited = SPILLED.replace(giaddr="192.0.2.1", hops=1)
        assert edited.raw[44:] == SPILLED.raw[44:]
        assert edited.options == SPILLED.options


EDITS = st.dictionaries(CODES, st.none() | st.binary(max_size=300), max_size=5)


class TestAny:
    """Any message, any edit."""

    @UNTIMED
    @given(messages(), EDITS)
    def test_others_stay(self, message, edits):
        """The other options keep their values and their order; so do changed ones."""
        before = message.options
        after = message.replace(options=edits).options
        values = {code: value for code, value in edits.items() if value is not None}
        removed = set(edits) - set(values)
        wanted = {**before, **values}
        assert {code: after[code] for code in after if code != 52} == {
            code: wanted[code] for code in wanted if code not in {52, *removed}
        }
        assert in_order(after, before) == [
            code for code in before if code in after and code not in removed
        ]

    @UNTIMED
    @given(messages(), EDITS)
    def test_new_ones(self, message, edits):
        """New options come behind the others in the order given, 53 and 82 apart."""
        before = message.options
        after = list(message.replace(options=edits).options)
        new = [
            code
            for code, value in edits.items()
            if value is not None and code not in before
        ]
        assert in_order(after, {*new} - {53, 82}) == in_order(new, {*new} - {53, 82})
        if 53 in new:
            assert after[0] == 53
        if 82 in after:
            assert not set(after[after.index(82) :]) & set(new) - {82}

    @UNTIMED
    @given(messages(), EDITS)
    def test_fields_stay(self, message, edits):
        """Everything before the options stays, but for fields that held options."""
        edited = message.replace(options=edits)
        assert edited.raw[:44] == message.raw[:44]
        areas = {piece.area for piece in message.pieces()}
        for name in ("file", "sname"):
            kept = name not in areas or not edits
            assert getattr(edited, name) == getattr(message, name) or not kept
            assert kept or not any(getattr(edited, name))
        assert Message.decode(edited.raw) == edited
