"""What a server answers, held against RFC 2131 table 3 row by row."""

from __future__ import annotations

import pytest
from support import IP

from dhcptwist.wire import (
    MalformedMessage,
    Message,
    MessageType,
    OptionKind,
    values as v,
)


ADDRESS = int(IP("192.0.2.10"))
SERVER = int(IP("192.0.2.1"))
NEXT = int(IP("192.0.2.2"))
RELAY = int(IP("192.0.2.254"))
OLD = int(IP("192.0.2.99"))

#: Every field is set, so that what is copied can be told from what is not.
ASKED = {
    "htype": 6,
    "hops": 3,
    "xid": 0x12345678,
    "secs": 9,
    "flags": 0x8000,
    "ciaddr": OLD,
    "yiaddr": 1,
    "siaddr": 2,
    "giaddr": RELAY,
    "chaddr": b"\2\0\0\0\0\1",
    "sname": "a name",
    "file": "a file",
}

#: What table 3 has rows for, and a few of "all others".
SENT = {
    50: OLD,
    51: 7200,
    54: "192.0.2.77",
    55: [3, 6, 15, 1],
    56: "why",
    57: 1400,
    60: "vendor",
    61: b"\1client",
    12: "laptop",
    82: b"\1\4port",
    224: b"site",
}

TYPES = {
    "OFFER": MessageType.DISCOVER,
    "ACK": MessageType.REQUEST,
    "RAPID": MessageType.DISCOVER,
    "INFORMED": MessageType.INFORM,
    "NAK": MessageType.REQUEST,
    "BOOTP": None,
}

CONFIGURED = {15: "lan", 3: "192.0.2.254", 6: "192.0.2.53", 1: "255.255.255.0"}


def asked(kind, **fields):
    """The message that gets a reply of this kind."""
    options = dict(SENT)
    if TYPES[kind]:
        options[53] = TYPES[kind]
    if kind == "RAPID":
        options[80] = b""
    return Message.build(options=options, **{**ASKED, **fields})


def reply_to(message, kind, **more):
    """A reply of a kind with all that table 3 lets a server choose."""
    given = {"yiaddr": ADDRESS, "lease_time": 3600}
    boots = {"siaddr": NEXT, "sname": "tftp", "file": "boot"}
    arguments = {
        "OFFER": {"kind": MessageType.OFFER, **given, **boots},
        "ACK": {"kind": MessageType.ACK, **given, **boots},
        "RAPID": {"kind": MessageType.ACK, **given, **boots},
        "INFORMED": {"kind": MessageType.ACK, **boots},
        "NAK": {"kind": MessageType.NAK},
        "BOOTP": {"kind": None, "yiaddr": ADDRESS, **boots},
    }[kind]
    options = {56: "no"} if kind == "NAK" else CONFIGURED
    return message.reply(**{"server": SERVER, "options": options, **arguments, **more})


REPLIES = {kind: reply_to(asked(kind), kind) for kind in TYPES}
DHCP = [kind for kind in TYPES if kind != "BOOTP"]
GIVING = ["OFFER", "ACK", "RAPID"]

EACH = pytest.mark.parametrize("kind", list(TYPES))


class TestFields:
    """The upper half of table 3."""

    @EACH
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("op", 2),
            ("htype", ASKED["htype"]),
            ("hlen", 6),
            ("hops", 0),
            ("xid", ASKED["xid"]),
            ("secs", 0),
            ("flags", ASKED["flags"]),
            ("giaddr", RELAY),
            ("chaddr", ASKED["chaddr"]),
        ],
    )
    def test_same_in_all(self, kind, name, value):
        """What is fixed, or copied from the client's message."""
        assert getattr(REPLIES[kind], name) == value

    @pytest.mark.parametrize(
        ("kind", "ciaddr"),
        [("OFFER", 0), ("ACK", OLD), ("INFORMED", OLD), ("NAK", 0), ("BOOTP", OLD)],
    )
    def test_ciaddr(self, kind, ciaddr):
        """An ACK repeats it, and so does BOOTP; OFFER and NAK have none."""
        assert REPLIES[kind].ciaddr == ciaddr

    @EACH
    def test_yiaddr(self, kind):
        """The address given; none in a NAK, nor for who has one."""
        none = kind in {"INFORMED", "NAK"}
        assert REPLIES[kind].yiaddr == (0 if none else ADDRESS)

    @EACH
    def test_boot(self, kind):
        """``siaddr``, ``sname`` and ``file`` are the server's; unused in a NAK."""
        reply = REPLIES[kind]
        found = (reply.siaddr, reply.sname.rstrip(b"\0"), reply.file.rstrip(b"\0"))
        assert found == ((0, b"", b"") if kind == "NAK" else (NEXT, b"tftp", b"boot"))

    @EACH
    def test_no_boot(self, kind):
        """What a server does not say is zero, not what the client sent."""
        given = {"siaddr": 0, "sname": b"", "file": b""} if kind != "NAK" else {}
        reply = reply_to(asked(kind), kind, **given)
        assert (reply.siaddr, reply.sname, reply.file) == (0, bytes(64), bytes(128))

    @EACH
    @pytest.mark.parametrize("flags", [0, 0x8000, 0x7FFF])
    @pytest.mark.parametrize("giaddr", [0, RELAY])
    def test_flags(self, kind, flags, giaddr):
        """They are copied; RFC 2131 4.3.2: a NAK through a relay is to be broadcast."""
        reply = reply_to(asked(kind, flags=flags, giaddr=giaddr), kind)
        forced = 0x8000 if kind == "NAK" and giaddr else 0
        assert reply.flags == flags | forced
        assert reply.giaddr == giaddr

    @EACH
    def test_hardware_address(self, kind):
        """TRAPS 24: all 16 bytes are copied back, whatever their length is said to be."""
        message = asked(kind, chaddr=bytes(range(1, 17)), hlen=0)
        reply = reply_to(message, kind)
        assert reply.hlen == 0
        assert reply.raw[28:44] == bytes(range(1, 17))


class TestOptions:
    """The lower half of table 3."""

    @pytest.mark.parametrize("kind", DHCP)
    def test_type(self, kind):
        """DHCPOFFER, DHCPACK or DHCPNAK, and it stands first (TRAPS 32)."""
        reply = REPLIES[kind]
        names = {"RAPID": "ACK", "INFORMED": "ACK"}
        assert reply.type is MessageType[names.get(kind, kind)]
        assert next(iter(reply.options)) == 53

    def test_no_type(self):
        """RFC 1534: BOOTP is answered without any of what makes it DHCP."""
        assert not {50, 51, 52, 53, 54, 55, 57, 58, 59} & set(REPLIES["BOOTP"].options)

    @EACH
    @pytest.mark.parametrize("code", [50, 55, 57])
    def test_must_not(self, kind, code):
        """Requested address, request list and largest size: MUST NOT."""
        assert code not in REPLIES[kind].options

    @pytest.mark.parametrize("kind", [*GIVING, "INFORMED"])
    @pytest.mark.parametrize("code", [50, 55, 57])
    def test_must_not_be_given(self, kind, code):
        """Who wants to send them is told."""
        options = {code: Message.build(options=SENT).options[code]}
        with pytest.raises(ValueError, match="50, 55 and 57"):
            reply_to(asked(kind), kind, options=options)

    @EACH
    def test_lease_time(self, kind):
        """MUST in an OFFER and an ACK for a REQUEST, else MUST NOT."""
        assert REPLIES[kind].lease_time == (3600 if kind in GIVING else None)

    def test_lease_time_as_an_option(self):
        """It may be given as option 51, too; as an argument it wins."""
        reply = asked("ACK").reply(
            MessageType.ACK, server=SERVER, yiaddr=ADDRESS, options={51: 60}
        )
        assert reply.lease_time == 60
        reply = reply_to(asked("ACK"), "ACK", options={51: 60})
        assert reply.lease_time == 3600

    @EACH
    def test_overload(self, kind):
        """MAY: only if there is need."""
        assert 52 not in REPLIES[kind].options

    def test_message(self):
        """SHOULD in a NAK."""
        assert REPLIES["NAK"].get("dhcp-message") == "no"

    @pytest.mark.parametrize("kind", DHCP)
    def test_server_id(self, kind):
        """MUST, and the server's own, not what the client named."""
        assert REPLIES[kind].server_id == SERVER
        assert list(REPLIES[kind].options)[1] == 54

    @EACH
    def test_client_id(self, kind):
        """RFC 6842, which changes the table: what the client sent is sent back."""
        assert REPLIES[kind].options[61] == SENT[61]

    @EACH
    @pytest.mark.parametrize("identifier", [b"", b"\1"])
    def test_no_client_id(self, kind, identifier):
        """TRAPS 35: what is too short to be one is not."""
        message = asked(kind).replace(options={61: identifier})
        assert 61 not in reply_to(message, kind).options
        message = asked(kind).replace(options={61: None})
        assert 61 not in reply_to(message, kind).options

    def test_client_id_is_not_the_servers(self):
        """Neither identifier nor option 82 can be given: they are the request's."""
        options = {61: b"\1other", 82: b"\1\1x"}
        reply = reply_to(asked("ACK"), "ACK", options=options)
        assert (reply.options[61], reply.options[82]) == (SENT[61], SENT[82])
        bare = asked("ACK").replace(options={61: None, 82: None})
        assert not {61, 82} & set(reply_to(bare, "ACK", options=options).options)

    @pytest.mark.parametrize("kind", [*GIVING, "INFORMED", "BOOTP"])
    def test_others(self, kind):
        """MAY: what the server has been told to send, and nothing of the client's."""
        reply = REPLIES[kind]
        assert reply.get("domain-name") == "lan"
        assert reply.get("routers") == [IP("192.0.2.254")]
        assert not {12, 60, 224} & set(reply.options)

    def test_all_of_a_nak(self):
        """MUST NOT: a NAK has these and no others."""
        assert list(REPLIES["NAK"].options) == [53, 54, 56, 61, 82]
        reply = reply_to(asked("NAK"), "NAK", options={60: "vendor"})
        assert list(reply.options) == [53, 54, 60, 61, 82]

    def test_rapid_commit(self):
        """RFC 4039 section 4: the ACK to a DISCOVER says that it is one."""
        assert REPLIES["RAPID"].options[80] == b""
        assert 80 not in REPLIES["ACK"].options

    @EACH
    def test_order(self, kind):
        """TRAPS 32: 53, 54 and the times, the mask, the client's list, 82 last."""
        reply = REPLIES[kind]
        rest = [53, 54] if kind in DHCP else []
        rest += [51] if kind in GIVING else []
        rest += [1, 3, 6, 15] if kind != "NAK" else []
        rest += [56] if kind == "NAK" else []
        found = [code for code in reply.options if code not in {61, 80, 82}]
        assert found == rest
        assert list(reply.options)[-1] == 82

    def test_names_and_kinds(self):
        """Options are given as in `build`."""
        site = OptionKind(224, "site", v.U16)
        reply = reply_to(asked("ACK"), "ACK", options={"host-name": "x", site: 5})
        assert reply.options[12] == b"x"
        assert reply.get(site) == 5

    @EACH
    def test_size(self, kind):
        """TRAPS 25: never less than 300 bytes."""
        assert len(REPLIES[kind].raw) >= 300
        bare = Message.decode(asked(kind).raw)
        assert len(reply_to(bare, kind, options={}).raw) == 300


class TestRelayInformation:
    """RFC 3046 section 2.2: what the relay added comes back as it was."""

    @EACH
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\1\4port",
            b"\2\3\0\1\0\1\4port\0\0\xff",
            b"\1\xffcut",
            bytes(255),
        ],
        ids=["empty", "usual", "odd", "cut", "long"],
    )
    @pytest.mark.parametrize("giaddr", [0, RELAY])
    def test_echo(self, kind, data, giaddr):
        """Byte for byte and last, also for a switch that sets no ``giaddr``."""
        message = asked(kind, giaddr=giaddr).replace(options={82: data})
        reply = reply_to(message, kind)
        assert reply.options[82] == data
        codes = [p.code for p in reply.pieces() if p.code not in {None, 0, 255}]
        assert codes[-1] == 82


class TestRefused:
    """What table 3 does not allow is the caller's ValueError."""

    @pytest.mark.parametrize("asked_with", [*MessageType, None])
    def test_who_answers_what(self, asked_with):
        """RFC 2131 section 3.1: an OFFER for a DISCOVER, a NAK for a REQUEST, ..."""
        options = {80: b""} | ({53: asked_with} if asked_with else {})
        message = Message.build(options=options)
        answers = {
            MessageType.DISCOVER: {MessageType.OFFER, MessageType.ACK},
            MessageType.REQUEST: {MessageType.ACK, MessageType.NAK},
            MessageType.INFORM: {MessageType.ACK},
            None: {None},
        }
        kinds = (MessageType.OFFER, MessageType.ACK, MessageType.NAK, None)
        for kind in kinds:
            if kind in answers.get(asked_with, ()):
                assert message.reply(kind, server=SERVER).type is kind
            else:
                with pytest.raises(ValueError, match="answer"):
                    message.reply(kind, server=SERVER)

    @pytest.mark.parametrize(
        ("kind", "arguments", "reason"),
        [
            ("OFFER", {"server": 0}, "must have a server identifier"),
            ("NAK", {"server": "0.0.0.0"}, "must have a server identifier"),
            ("OFFER", {"lease_time": None}, "an OFFER with an address must have"),
            ("ACK", {"lease_time": None}, "an ACK with an address must have"),
            ("INFORMED", {"yiaddr": ADDRESS}, "no yiaddr and no times"),
            ("INFORMED", {"lease_time": 60}, "no yiaddr and no times"),
            ("INFORMED", {"options": {51: 60}}, "no yiaddr and no times"),
            ("INFORMED", {"options": {58: 60}}, "no yiaddr and no times"),
            ("INFORMED", {"options": {59: 60}}, "no yiaddr and no times"),
            ("NAK", {"yiaddr": ADDRESS}, "a NAK has no address"),
            ("NAK", {"lease_time": 60}, "a NAK has no address"),
            ("NAK", {"options": {1: "255.0.0.0"}}, "no options but 56 and 60"),
            ("NAK", {"siaddr": NEXT}, "a NAK has no"),
            ("NAK", {"sname": "tftp"}, "a NAK has no"),
            ("NAK", {"file": b"boot"}, "a NAK has no"),
            ("OFFER", {"file": "x" * 129}, "longer than its field"),
            ("OFFER", {"sname": "x" * 65}, "longer than its field"),
            ("OFFER", {"yiaddr": 2**32}, "does not fit"),
            ("OFFER", {"siaddr": "192.0.2"}, "192.0.2"),
            ("OFFER", {"server": 2**32}, "does not fit"),
            ("OFFER", {"server": -1}, "does not fit"),
            ("OFFER", {"server": "server"}, "server"),
            ("OFFER", {"lease_time": 2**32}, "does not fit"),
            ("OFFER", {"lease_time": -1}, "does not fit"),
            ("OFFER", {"options": {"routers": "here"}}, r"^routers \(3\)"),
            ("OFFER", {"options": {"router": "192.0.2.1"}}, "no option named"),
        ],
    )
    def test_refuses(self, kind, arguments, reason):
        """Each with the reason."""
        with pytest.raises(ValueError, match=reason) as caught:
            reply_to(asked(kind), kind, **arguments)
        assert not isinstance(caught.value, MalformedMessage)

    def test_no_rapid_commit(self):
        """RFC 4039: a DISCOVER without option 80 is not answered with an ACK."""
        with pytest.raises(ValueError, match="only option 80"):
            reply_to(asked("OFFER"), "RAPID")

    def test_an_offer_of_nothing(self):
        """Without an address an OFFER needs no time (RFC 8925, RFC 2563)."""
        reply = asked("OFFER").reply(
            MessageType.OFFER, server=SERVER, options={116: b"\1", 108: 300}
        )
        assert (reply.yiaddr, reply.lease_time) == (0, None)
        assert reply.get("v6-only-preferred") == 300


@pytest.mark.parametrize("given", [{52: b"\1"}, {51: b"\0\0\0\1"}, {54: b"\1\2\3\4"}])
def test_not_in_bootp(given):
    """BOOTP knows none of these; and 52 nobody may give at all."""
    with pytest.raises(ValueError, match=r"BOOTP has no options|option 52 is written"):
        Message.build(chaddr=bytes(6)).reply(None, yiaddr=1, options=given)
