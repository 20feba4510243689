"""The JSON form: plain types, and the very same bytes when read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.wire import OPTION_KINDS, MalformedMessage, Message, OptionKind
from dhcptwist.wire.codes import MAGIC_COOKIE
from dhcptwist.wire.document import from_document, from_json, to_document, to_json
from dhcptwist.wire.values import U16


# Packets of the world; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

UNTIMED = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)

OFFER = Message.build(
    op=2,
    xid=0x3903F326,
    flags=0x8000,
    yiaddr="192.0.2.9",
    chaddr=bytes.fromhex("00053c048d59"),
    options={53: "offer", 54: "192.0.2.1", 51: 3600, 3: "192.0.2.1, 192.0.2.2"},
)

pieces = st.one_of(
    st.builds(
        lambda code, data: bytes((code, len(data))) + data,
        st.sampled_from([12, 43, 52, 53, 77, 81, 82, 119, 125, 224]),
        st.binary(max_size=12) | st.sampled_from([b"\1", b"\2", b"\3"]),
    ),
    st.binary(max_size=3),
    st.just(b"\xff"),
    st.just(b"\xe0\xff" + bytes(255)),
)
streams = st.lists(pieces, max_size=9).map(b"".join)


def test_the_usual_case_is_clean():
    """A message with nothing odd is its fields and its options."""
    assert to_document(OFFER) == {
        "op": "reply",
        "htype": "ethernet",
        "hops": 0,
        "xid": "0x3903f326",
        "secs": 0,
        "flags": "broadcast",
        "ciaddr": "0.0.0.0",
        "yiaddr": "192.0.2.9",
        "siaddr": "0.0.0.0",
        "giaddr": "0.0.0.0",
        "chaddr": "00:05:3c:04:8d:59",
        "options": [
            {"code": 53, "name": "dhcp-message-type", "value": "offer"},
            {"code": 54, "name": "dhcp-server-identifier", "value": "192.0.2.1"},
            {"code": 51, "name": "dhcp-lease-time", "value": 3600},
            {"code": 3, "name": "routers", "value": ["192.0.2.1", "192.0.2.2"]},
        ],
    }
    assert "options" not in to_document(Message.build())


@UNTIMED
@given(
    st.binary(min_size=192, max_size=192) | streams.map(lambda b: b.ljust(192)[:192]),
    st.sampled_from([MAGIC_COOKIE, b"\0" + MAGIC_COOKIE, b"", b"\x63\x82"]),
    streams,
    st.integers(0, 80),
)
def test_every_message_survives(boot, cookie, options, zeros):
    """Whatever can be decoded has a document that gives the same bytes back."""
    read = Message(OFFER.raw[:44] + boot + cookie + options + bytes(zeros))
    assert from_document(to_document(read)) == read
    assert from_json(to_json(read)) == read
    assert to_json(read).isascii()


def test_every_packet_of_the_corpus_survives():
    """Real packets and hostile ones give the same bytes back."""
    seen = 0
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                packet = Message.decode(bytes.fromhex(json.loads(line)["hex"]))
            except MalformedMessage:
                continue
            seen += 1
            assert from_json(to_json(packet, indent=2)) == packet
    if not seen:
        pytest.skip(f"no corpus at {CORPUS}")


def behind(options: bytes, boot: bytes = bytes(192)) -> list:
    """Read the options of a document of the bytes behind a cookie."""
    read = Message((OFFER.raw[:44] + boot + MAGIC_COOKIE + options).ljust(300, b"\0"))
    assert from_document(to_document(read)) == read
    return to_document(read)["options"]


def test_what_is_odd_is_an_entry():
    """Pads, ENDs and what is not read stand among the options."""
    rapid = {"code": 80, "name": "rapid-commit", "value": True}
    assert behind(b"\0\0\x50\0\xff") == [{"pad": 2}, rapid]
    assert behind(b"\x50\0") == [rapid, {"end": 0}]
    assert behind(b"\xff\xff\3\4") == [{"end": 2}, {"rest": "hex:0304"}]
    assert behind(b"\x50\0\x0c\x90") == [rapid, {"rest": "hex:0c90"}]
    assert [each["value"] for each in behind(b"\x0c\1a\x50\0\x0c\1b\xff")] == [
        "hex:61",
        True,
        "hex:62",
    ]


def test_options_of_other_fields_say_so():
    """An option that spilt into file or sname has an area; others have none."""
    file = b"\x0c\2pc\xff".ljust(128, b"\0")
    assert behind(b"\x34\1\3\xff", b"\xff".ljust(64, b"\0") + file)[1:] == [
        {"code": 12, "name": "host-name", "value": "pc", "area": "file"},
        {"end": 1, "area": "sname"},
    ]


def test_documents_by_hand():
    """Little is asked of who writes one: numbers or words, a list or an object."""
    short = {"xid": 7, "options": {"host-name": " pc", "53": "discover"}}
    read = from_document(short)
    assert read.xid == 7
    assert dict(read.options) == {12: b" pc", 53: b"\1"}
    assert from_document({}) == Message.build()
    assert from_document({"options": []}) == Message.build(options={})
    assert from_document({"op": 2, "hlen": 6, "flags": 0x8000}).raw[:12] == (
        b"\2\1\6\0\0\0\0\0\0\0\x80\0"
    )
    options = [{"code": 53, "value": 1}, {"name": "routers", "value": "192.0.2.1"}]
    assert from_document({"options": options}).options == {
        53: b"\1",
        3: bytes((192, 0, 2, 1)),
    }


def test_what_others_know_of_it_is_not_looked_at():
    """A capture and diagnostics may stand beside a message's own keys."""
    known = {"capture": {"frame": 1}, "diagnostics": [{"offset": 0, "reason": "x"}]}
    assert from_document(to_document(OFFER) | known) == OFFER


def test_options_of_ones_own():
    """A private option has its name and its own shape's value."""
    door = OptionKind(224, "club-door", U16)
    mine = OPTION_KINDS.extended(door)
    opened = Message.build(options={door: 7})
    entry = {"code": 224, "name": "club-door", "value": 7}
    assert to_document(opened, mine)["options"] == [entry]
    assert from_json(to_json(opened, mine), mine) == opened
    assert from_document({"options": {"club-door": 7}}, mine) == opened


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "a message is an object, not []"),
        ({"xd": 1}, "'xd' is no field; expected op, htype"),
        ({"xid": []}, "xid: "),
        ({"xid": None}, "xid: "),
        ({"ciaddr": "1.2.3"}, "ciaddr: "),
        ({"hops": 256}, "hops: "),
        ({"options": 1}, "options: a list or an object, not 1"),
        ({"options": [1]}, "options[0]: "),
        ({"options": [{"pad": 1}, {"pad": -1}]}, "options[1]: pad: -1 is not a"),
        ({"options": [{"end": True}]}, "options[0]: end: True is not a number"),
        ({"options": [{"pad": 1 << 40}]}, "options[0]: pad: "),
        ({"options": [{"rest": 1.5}]}, "options[0]: "),
        ({"options": [{"code": 53}]}, "options[0]: {'code': 53} is no option"),
        ({"options": [{"value": 53}]}, "options[0]: {'value': 53} is no option"),
        ({"options": [{"code": 0, "value": ""}]}, "options[0]: options have the"),
        ({"options": {"nonsense": 1}}, "options[0]: there is no option named"),
        ({"options": {"53": "x"}}, "options[0]: dhcp-message-type (53): "),
        ({"options": [{"pad": 1, "area": "chaddr"}]}, "options[0]: area is options"),
        ({"options": [{"pad": 1, "area": "file"}]}, "file: options in file are read"),
        ({"options": [{"end": 1}, {"end": 1}]}, "options: behind the end"),
        ({"size": 10}, "size: size is 10, and there are 236 bytes"),
        ({"chaddr": "00" * 17}, "chaddr: chaddr has 16 bytes, not 17"),
    ],
)
def test_what_is_wrong_names_the_place(document, reason):
    """Whoever wrote the document learns where to look and what was expected."""
    with pytest.raises(ValueError, match=r".") as caught:
        from_document(document)
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "nonsense", "[]", "1"])
def test_what_is_no_json_is_a_value_error(text):
    """Not even nesting without end gets another exception out."""
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
