"""The text form: read at a glance, and the very same bytes when read back."""

from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.wire import OPTION_KINDS, MalformedMessage, Message, OptionKind
from dhcptwist.wire.codes import MAGIC_COOKIE
from dhcptwist.wire.text import WIDTH, from_text, to_text
from dhcptwist.wire.values import TEXT, U16, Shape


# Packets of the world; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

UNTIMED = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)

HEAD = Message.build(
    op=2,
    xid=0x3903F326,
    flags=0x8000,
    yiaddr="192.0.2.9",
    chaddr=bytes.fromhex("00053c048d59"),
).raw[:236]


def message(options: bytes, *, head: bytes = HEAD, size: int = 300) -> Message:
    """Make a message of the bytes behind its cookie."""
    return Message((head + MAGIC_COOKIE + options).ljust(size, b"\0"))


def option(code: int, data: bytes) -> bytes:
    """One piece of an option."""
    return bytes((code, len(data))) + data


pieces = st.one_of(
    st.builds(
        option,
        st.sampled_from([12, 43, 52, 53, 54, 55, 61, 77, 82, 119, 224]),
        st.binary(max_size=12) | st.sampled_from([b"\1", b"\2", b"\3"]),
    ),
    st.builds(option, st.just(43), st.just(bytes(255))),
    st.builds(bytes, st.integers(0, 9)),
    st.builds(option, st.integers(1, 254), st.text(max_size=9).map(str.encode)),
    st.binary(max_size=3),
    st.just(b"\xff"),
)
streams = st.lists(pieces, max_size=9).map(b"".join)


@st.composite
def payloads(draw) -> bytes:
    """Draw bytes that are a message, more or less."""
    head = bytearray(draw(st.sampled_from([HEAD, bytes(236), b"\xff" * 236])))
    head[2] = draw(st.integers(0, 16))
    if draw(st.booleans()):
        head[28:44] = draw(st.binary(min_size=16, max_size=16))
    for area in (slice(44, 108), slice(108, 236)):
        size = area.stop - area.start
        stream = draw(st.just(b"") | streams | st.text(max_size=9).map(str.encode))
        head[area] = stream[:size].ljust(size, draw(st.sampled_from([b"\0", b"\xff"])))
    late = draw(st.just(b"") | st.binary(max_size=9))
    cookie = draw(st.sampled_from([MAGIC_COOKIE] * 4 + [b"", MAGIC_COOKIE[:3]]))
    tail = draw(st.sampled_from([0, 0, 1, 7, 64, 312]))
    return bytes(head) + late + cookie + draw(streams) + bytes(tail)


def corpus() -> list[Message]:
    """Read every packet of the corpus that is a message."""
    found = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(Message.decode(bytes.fromhex(json.loads(line)["hex"])))
            except MalformedMessage:
                continue
    if not found:
        pytest.skip(f"no corpus at {CORPUS}")
    return found


def test_the_usual_case_is_clean():
    """A message with nothing odd shows its fields, its options and nothing else."""
    ack = message(
        bytes.fromhex("350105 0304c0000201 0c04")
        + b"pc-1"
        + bytes.fromhex("0608c0000202c0000203 ff")
    )
    assert to_text(ack) == textwrap.dedent("""\
        op      reply
        htype   ethernet
        hops    0
        xid     0x3903f326
        secs    0
        flags   broadcast
        ciaddr  0.0.0.0
        yiaddr  192.0.2.9
        siaddr  0.0.0.0
        giaddr  0.0.0.0
        chaddr  00:05:3c:04:8d:59
        options
           53  dhcp-message-type    ack
            3  routers              192.0.2.1
           12  host-name            pc-1
            6  domain-name-servers  192.0.2.2, 192.0.2.3
        """)


def lines(given_message: Message) -> list[list[str]]:
    """Cut the lines of a message's text that stand behind the fixed fields in words."""
    assert from_text(to_text(given_message)) == given_message
    return [line.split() for line in to_text(given_message).splitlines()[11:]]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (message(b"\0\0\0\x35\1\1\xff"), ["pad", "3"]),
        (message(b"\x35\1\1"), ["end", "missing"]),
        (message(b"", size=240), ["end", "missing"]),
        (message(b"\xff\xff\xff"), ["end", "3"]),
        (message(b"\xff\1\2"), ["rest", "hex:0102"]),
        (message(b"\x35\1\1\x0c\x90abc"), ["rest", "hex:0c90616263"]),
        (message(b"\xff", size=241), ["size", "241"]),
        (message(b"\xff", size=548), ["size", "548"]),
        (Message(HEAD), ["size", "236"]),
        (Message(HEAD + b"\x63\x82\x53"), ["vendor", "hex:638253"]),
        (Message(HEAD + b"\0\0" + MAGIC_COOKIE), ["before-cookie", "hex:0000"]),
        (message(b"\x50\0\xff"), ["80", "rapid-commit"]),
        (message(b"\x0c\0\xff"), ["12", "host-name", "hex:"]),
        (message(b"\x0c\3pc\0\xff"), ["#", "pc"]),
        (message(b"\xe0\3abc\xff"), ["#", '"abc"']),
        (
            message(b"\xff", head=HEAD[:40] + b"\1\2\3\0" + HEAD[44:]),
            ["padding", "hex:000000000000010203"],
        ),
        (message(b"\xff", head=HEAD[:44] + b"a\0b".ljust(192, b"\0")), ["#", "a"]),
    ],
)
def test_what_is_odd_is_a_line(odd, said):
    """Each deviation from what is usual is said, and survives."""
    assert said in lines(odd)


def test_an_option_in_the_usual_pieces_is_one_line():
    """What RFC 3396 cuts at 255 bytes is put together; any other cut is shown."""
    whole = message(option(224, b"a" * 255) + option(224, b"b") + b"\xff")
    assert sum("option-224" in words for words in lines(whole)) == 1
    other = message(option(224, b"a" * 254) + option(224, b"b") + b"\xff")
    assert sum("option-224" in words for words in lines(other)) == 2
    closed = message(option(224, b"a" * 255) + option(224, b"") + b"\xff")
    assert sum("option-224" in words for words in lines(closed)) == 2


def test_pieces_of_an_option_tell_what_they_are_together():
    """Under the last of several pieces stands the value they make."""
    cut = message(
        option(12, b"pri") + option(53, b"\1") + option(12, b"nter") + b"\xff"
    )
    assert [words for words in lines(cut) if words[0] in {"12", "#"}] == [
        ["12", "host-name", "hex:707269"],
        ["12", "host-name", "hex:6e746572"],
        ["#", "all", "pieces:", "printer"],
    ]


def test_options_in_file_and_sname_have_sections():
    """Overloaded fields show their options, and not their bytes as text."""
    sname = (b"\x0f\3org" + b"\xff").ljust(64, b"\0")
    file = (b"\x0c\2pc" + b"\xff").ljust(128, b"\xff")
    both = message(b"\x34\1\3\xff", head=HEAD[:44] + sname + file)
    shown = to_text(both)
    assert from_text(shown) == both
    assert shown.index("options in file") < shown.index("host-name")
    assert shown.index("host-name") < shown.index("options in sname")
    assert shown.index("options in sname") < shown.index("domain-name")
    assert ["end", "124"] in lines(both)
    empty = message(b"\x34\1\1\xff", head=HEAD[:108] + b"\xff".ljust(128, b"\0"))
    assert from_text(to_text(empty)) == empty


def test_long_values_are_broken():
    """Hexadecimal and lists fit on a screen, and are one value when read."""
    servers = b"".join(bytes((192, 0, 2, last)) for last in range(60))
    long = message(
        option(6, servers)
        + option(224, bytes(range(200)))
        + option(55, bytes(range(1, 60)))
        + b"\xff\1\2\3"
        + bytes(range(1, 99))
    )
    assert from_text(to_text(long)) == long
    assert max(map(len, to_text(long).splitlines())) <= WIDTH


@UNTIMED
@given(payloads())
def test_every_message_survives(data):
    """Whatever can be decoded has a text that gives the same bytes back."""
    try:
        read = Message.decode(data)
    except MalformedMessage:
        return
    assert from_text(to_text(read)) == read


@UNTIMED
@given(payloads())
def test_every_text_is_printable(data):
    """Nothing that could move a cursor gets from a packet to a terminal."""
    try:
        text = to_text(Message.decode(data))
    except MalformedMessage:
        return
    assert text.replace("\n", "").isprintable()


def test_every_packet_of_the_corpus_survives():
    """Real packets and hostile ones give the same bytes back."""
    packets = corpus()
    assert len(packets) > 1000
    for packet in packets:
        assert from_text(to_text(packet)) == packet


def test_a_message_in_thousands_of_pieces_takes_no_time():
    """The text of a hostile packet grows with the packet and not faster."""
    options = option(12, b"x") * 21000
    begun = time.process_time()
    text = to_text(message(options))
    assert from_text(text) == message(options)
    assert time.process_time() - begun < 5
    assert len(text) < 100 * len(options)


def test_text_by_hand():
    """Fields in any order, options by name or number, comments and blank lines."""
    read = from_text(
        """
        # an offer
        yiaddr 192.0.2.9

        options
            53 offer
            54  192.0.2.1
            routers 192.0.2.1,
                    192.0.2.2
            option-224 hex:01
        op 2
        chaddr 0005.3c04.8d59
        xid 7
    """.replace("lease-free", "option-224 hex:0")
    )
    assert (read.op, read.xid, read.hlen, len(read.raw)) == (2, 7, 6, 300)
    assert read.chaddr == bytes.fromhex("00053c048d59")
    assert dict(read.options) == {
        53: b"\2",
        54: bytes((192, 0, 2, 1)),
        3: bytes((192, 0, 2, 1, 192, 0, 2, 2)),
        224: b"\1",
    }
    assert not read.diagnostics


def test_text_with_nothing_in_it():
    """No option at all is plain BOOTP, as a message that is built without them."""
    assert from_text("") == Message.build()
    assert from_text("options") == Message.build(options={})
    assert from_text("hlen 6").hlen == 6
    assert from_text("53 discover") == Message.build(options={53: "discover"})
    assert from_text("pad\n53 discover\nend").raw[240:245] == b"\0\x35\1\1\xff"


def test_options_of_ones_own():
    """A private option has its name, and is found by it."""
    door = OptionKind(224, "club-door", U16)
    words = OptionKind(225, "two words", TEXT)
    mine = OPTION_KINDS.extended(door, words)
    opened = Message.build(options={door: 7, words: "two words too"})
    assert "224  club-door  7\n" in to_text(opened, mine)
    assert from_text(to_text(opened, mine), mine) == opened
    assert from_text("club-door 7", mine).options == {224: b"\0\7"}
    assert from_text(to_text(opened), mine) == opened


class _Odd(Shape):
    """A shape whose text is nothing that a line could hold as it is."""

    def format(self, value):
        return value.decode()

    def parse(self, text):
        return text.encode()


@pytest.mark.parametrize("value", [b"two\nlines", b"a\tb", b"one,  two " * 20 + b"."])
def test_shapes_whose_text_has_blanks(value):
    """What a line would lose is not left to the line."""
    mine = OPTION_KINDS.extended(OptionKind(224, "odd", _Odd()))
    odd = Message.build(options={224: value})
    assert from_text(to_text(odd, mine), mine) == odd


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("op request\n\nnonsense 1", "line 3: there is no option named 'nonsense'"),
        ("nonsense", "expected op, htype"),
        ("xid zero", "line 1: xid: 'zero' is not a number"),
        ("xid hex:00", "line 1: xid has 4 bytes, not 1"),
        ("xid 0x100000000", "line 1: xid"),
        ("ciaddr 1.2.3", "line 1: ciaddr: '1.2.3' is not an IPv4 address"),
        ("xid 1\nxid 2", "line 2: xid stands twice"),
        ("# x\n53 nothing", "line 2: dhcp-message-type"),
        ("300 1", "line 1: options have the numbers 1 to 254"),
        ("pad many", "line 1: 'many' is not a number of bytes"),
        ("pad 65536", "line 1: '65536' is not a number of bytes"),
        ("rest x", "line 1: 'x' is not hexadecimal"),
        ("options in chaddr", "line 1: options stand in file or in sname"),
        ("chaddr " + "00" * 17, "line 1: chaddr has 16 bytes, not 17"),
        ("hlen 17", "line 1: a hardware address has at most 16 bytes"),
        ("xid 1\nsname " + "a" * 65, "line 2: sname has 64 bytes, not 65"),
        ("53 ack\nsize 200", "line 2: size is 200, and there are 244 bytes"),
        ("op reply\nend\n53 ack", "line 2: behind the end of options can only be rest"),
        ("53 ack\nvendor hex:00", "line 2: vendor is for messages that have no"),
        ("before-cookie hex:00", "line 1: before-cookie needs options"),
        ("options in file\n12 a", "line 1: file needs options in the options field"),
        ("53 ack\noptions in file\n12 a", "line 2: options in file are read if"),
        ("52 2\nfile a\noptions in file\n", "line 2: file holds options"),
        ("224 hex:" + "00" * 66000, "line 1: 66"),
    ],
)
def test_what_is_wrong_names_the_line(text, reason):
    """Whoever wrote the text learns where to look and what was expected."""
    with pytest.raises(ValueError, match="line") as caught:
        from_text(text)
    assert reason in str(caught.value)
