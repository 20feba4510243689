"""What the tests of the packet library share."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hypothesis import HealthCheck, settings, strategies as st

from dhcptwist.wire import MalformedMessage, Message, MessageType, option_kind
from dhcptwist.wire.codes import MAGIC_COOKIE


# Packets with what others read in them; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

IP = IPv4Address
NET = IPv4Network

# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def corpus(name):
    """The lines of a file of the corpus, or nothing where there is no corpus."""
    path = CORPUS / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def packet(options=b"", *, sname=b"", file=b"", head=b"\x01\x01\x06\x00"):
    """A datagram with these bytes behind the cookie and in its two other areas."""
    fields = sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return head.ljust(44, b"\0") + fields + MAGIC_COOKIE + options


def options_of(options=b"", **fields):
    """The options that are read from such a datagram."""
    return dict(Message.decode(packet(options, **fields)).options)


def survives(data):
    """Only MalformedMessage comes out of decode; everything else can be read."""
    try:
        message = Message.decode(data)
    except MalformedMessage:
        assert len(data) < 236 or data[2] > 16
        return
    assert message.encode() == data
    assert all(0 < code < 255 for code in message.options)
    assert sum(map(len, message.options.values())) <= len(data)
    assert message.type in {None, *MessageType}
    assert 0 <= message.address(50) < 2**32
    assert message.host_name.isprintable()
    assert isinstance(message.relay_information, dict)
    assert len(message.client_id) != 1
    assert repr(message).isprintable()
    for code in message.options:
        kind = option_kind(code)
        text = kind.shape.decode_text(message.options[code])
        assert kind.shape.encode_text(text) == message.options[code]
        try:
            message.get(code)
        except MalformedMessage as error:
            assert kind.name in error.reason  # noqa: PT017
            assert 44 <= error.offset < len(data)  # noqa: PT017


def in_order(codes, kept):
    """The codes of one collection that are in the other, in the order of the first."""
    return [code for code in codes if code in kept]


#: Option 52 is what a layout decides, not who asks for one.
CODES = st.sampled_from([1, 3, 12, 53, 54, 55, 57, 61, 82]) | st.integers(
    1, 254
).filter(lambda code: code != 52)

OPTIONS = st.dictionaries(CODES, st.binary(max_size=300), max_size=10)

#: An option, a pad, or nothing that can be told from an option.
_PIECES = st.tuples(CODES, st.binary(max_size=40)).map(
    lambda each: bytes([each[0], len(each[1])]) + each[1]
) | st.just(b"\0")


@st.composite
def messages(draw):
    """Messages as they come: options in pieces and pads, all three areas, END or none."""
    area = st.lists(_PIECES, max_size=8).map(b"".join)
    overload = st.sampled_from([b"", b"", b"\x34\1\1", b"\x34\1\2", b"\x34\1\3"])
    ends = st.sampled_from([b"", b"\xff", b"\xff\0\0\0", b"\xffjunk", b"\x0c\xffcut"])
    options = draw(area) + draw(overload) + draw(area) + draw(ends)
    file = (draw(area)[:127] + draw(ends))[:128]
    sname = (draw(area)[:63] + draw(ends))[:64]
    head = bytes([draw(st.integers(1, 2)), 1, 6, 0]) + draw(
        st.binary(min_size=40, max_size=40)
    )
    if not draw(st.integers(0, 9)):
        return Message.decode(head + bytes(192) + draw(st.binary(max_size=9)))
    late = b"\0" * draw(st.sampled_from([0, 0, 0, 4]))
    data = packet(options, sname=sname, file=file, head=head)
    return Message.decode(data[:236] + late + data[236:])
