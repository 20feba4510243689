"""The relay agent: RFC 1542 section 4.1 and RFC 3046, and all of the protocol over it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.wire import Message, MessageType
from dhcptwist.wire.agent import MOST_HOPS, Present, deliver, forward, matches
from dhcptwist.wire.areas import LARGEST_SIZE
from dhcptwist.wire.codes import MAGIC_COOKIE
from dhcptwist.wire.requests import (
    decline,
    discover,
    inform,
    reboot,
    release,
    renew,
    select,
)


UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HARDWARE = bytes.fromhex("020000000001")
RELAY = int(IPv4Address("192.0.2.254"))
FARTHER = int(IPv4Address("198.51.100.254"))
SERVER = int(IPv4Address("203.0.113.1"))
PORT = {1: b"port 7"}
PORT_BYTES = b"\1\6port 7"
FORGED = b"\1\4mine"

FIRST = discover(HARDWARE, options={12: "laptop"})


def reply(to, kind=MessageType.OFFER, **more):
    """What a server answers."""
    return to.reply(kind, server=SERVER, yiaddr="192.0.2.10", lease_time=60, **more)


class TestForward:
    """RFC 1542 section 4.1.1: what goes up."""

    def test_fields(self):
        """Hops count up, giaddr is filled in, and all else is as it was."""
        first = FIRST.replace(secs=3, flags=0x8000, sname=b"s", file=b"f")
        up = forward(first, RELAY)
        assert (up.hops, up.giaddr) == (1, RELAY)
        assert up.replace(hops=0, giaddr=0).raw == first.raw

    def test_giaddr_stays(self):
        """A giaddr that is there already MUST NOT be modified; hops still count."""
        message = FIRST.replace(giaddr=FARTHER, hops=1)
        up = forward(message, RELAY)
        assert (up.hops, up.giaddr) == (2, FARTHER)
        assert up.replace(hops=1).raw == message.raw

    def test_own_giaddr(self):
        """RFC 3046 section 2.1.1: a message that has our own giaddr is forged."""
        assert forward(FIRST.replace(giaddr=RELAY), RELAY, PORT) is None
        assert forward(FIRST.replace(giaddr=RELAY), "192.0.2.254") is None

    @pytest.mark.parametrize(("hops", "passed"), [(0, 1), (15, 1), (16, 1), (17, 0)])
    def test_hops(self, hops, passed):
        """What has more than 16 hops MUST silently be discarded."""
        up = forward(FIRST.replace(hops=hops), RELAY)
        assert (up is not None) == bool(passed)
        assert up is None or up.hops == hops + 1
        assert MOST_HOPS == 16

    @pytest.mark.parametrize(("hops", "passed"), [(4, True), (5, False)])
    def test_fewer_hops(self, hops, passed):
        """The threshold SHOULD be configurable to something smaller."""
        up = forward(FIRST.replace(hops=hops), RELAY, most_hops=4)
        assert (up is not None) == passed

    def test_all_hops(self):
        """The counter has one byte, and never runs over."""
        assert forward(FIRST.replace(hops=254), RELAY, most_hops=999).hops == 255
        assert forward(FIRST.replace(hops=255), RELAY, most_hops=999) is None

    @pytest.mark.parametrize("op", [0, 2, 3, 255])
    def test_only_requests(self, op):
        """Replies are never passed up, nor what is neither."""
        assert forward(FIRST.replace(op=op), RELAY) is None

    def test_bootp(self):
        """A BOOTP message without a cookie gets no option, nor a cookie."""
        for raw in (FIRST.raw[:236], FIRST.raw[:236] + bytes(64)):
            up = forward(Message.decode(raw), RELAY, PORT)
            assert up.replace(hops=0, giaddr=0).raw == raw

    @pytest.mark.parametrize("tail", [b"\xff\xff\xff\1\2", b"", b"\x0c\xff", b"\0\x0c"])
    def test_odd_tail(self, tail):
        """Without option 82 to add, what is odd goes on untouched."""
        raw = FIRST.raw[:236] + MAGIC_COOKIE + b"\x35\1\1" + tail
        assert forward(Message.decode(raw), RELAY).raw[28:] == raw[28:]


class TestInformation:
    """RFC 3046 section 2.1: what a relay adds."""

    def test_last(self):
        """Option 82 is the last, right before END, and nothing else changes."""
        up = forward(FIRST, RELAY, {"circuit-id": b"port 7", 2: b"modem"})
        assert list(up.options.items()) == [
            *FIRST.options.items(),
            (82, PORT_BYTES + b"\2\5modem"),
        ]
        *_, last, end, _ = up.pieces()
        assert (last.code, end.code) == (82, 255)
        assert up.diagnostics == []

    def test_bootp_with_cookie(self):
        """BOOTP with options is a recognized packet, too."""
        message = Message.build(chaddr=HARDWARE, options={})
        assert forward(message, RELAY, PORT).options == {82: PORT_BYTES}

    @pytest.mark.parametrize("information", [None, {}])
    def test_none(self, information):
        """Without sub-options there is no option."""
        assert forward(FIRST, RELAY, information).options == FIRST.options

    def test_another_relay(self):
        """Section 2.1.1: what another relay has passed on gets nothing from us."""
        message = FIRST.replace(giaddr=FARTHER)
        assert 82 not in forward(message, RELAY, PORT).options
        theirs = message.replace(options={82: FORGED})
        for present in Present:
            up = forward(theirs, RELAY, PORT, present=present)
            assert up.options[82] == FORGED

    def test_untrusted(self):
        """Section 2.1.1: a client's own option 82 makes the whole message suspect."""
        assert forward(FIRST.replace(options={82: FORGED}), RELAY, PORT) is None
        assert forward(FIRST.replace(options={82: b""}), RELAY) is None

    def test_untrusted_overload(self):
        """It is no better if it hides in the file field."""
        raw = bytearray(FIRST.replace(options={52: 1}).raw)
        raw[108:115] = b"\x52\4\1\2xy\xff"
        message = Message.decode(bytes(raw))
        assert message.options[82] == b"\1\2xy"
        assert forward(message, RELAY, PORT) is None
        up = forward(message, RELAY, PORT, present=Present.REPLACE)
        assert up.options == {**FIRST.options, 82: PORT_BYTES}

    @pytest.mark.parametrize("information", [None, PORT])
    def test_trusted(self, information):
        """Section 2.1.1: a trusted switch's is kept, none is added, giaddr is set."""
        message = FIRST.replace(options={82: FORGED})
        up = forward(message, RELAY, information, present=Present.KEEP)
        assert (up.options[82], up.giaddr) == (FORGED, RELAY)

    def test_keep_nothing(self):
        """Where there is none to keep, ours is added."""
        assert (
            forward(FIRST, RELAY, PORT, present=Present.KEEP).options[82] == PORT_BYTES
        )

    def test_replaced(self):
        """Ours takes the place of a client's, and stands last."""
        message = Message.build(chaddr=HARDWARE, options={53: b"\1", 60: b"v"})
        raw = message.raw[:240] + b"\x52\6" + FORGED + message.raw[240:]
        up = forward(Message.decode(raw), RELAY, PORT, present=Present.REPLACE)
        assert list(up.options.items()) == [(53, b"\1"), (60, b"v"), (82, PORT_BYTES)]

    def test_replaced_by_none(self):
        """A relay that has nothing to say takes it out all the same."""
        message = FIRST.replace(options={82: FORGED})
        up = forward(message, RELAY, present=Present.REPLACE)
        assert up.options == FIRST.options

    @pytest.mark.parametrize(("over", "added"), [(0, True), (1, False)])
    def test_limit(self, over, added):
        """Section 2.1: nothing is added that would make it longer than the way takes."""
        message = FIRST.replace(options={224: bytes(200)})
        size = len(forward(message, RELAY, PORT).raw)
        up = forward(message, RELAY, PORT, limit=size - over)
        assert (82 in up.options) == added
        assert (up.hops, up.giaddr) == (1, RELAY)
        assert len(up.raw) <= size - over

    def test_usual_limit(self):
        """Without being told, that is what Ethernet takes; larger ones still go on."""
        for size in (900, 950, 1200, 60_000):
            message = FIRST.replace(options={224: bytes(size)})
            up = forward(message, RELAY, {1: bytes(250)})
            assert (82 in up.options) == (len(message.raw) + 254 <= LARGEST_SIZE)
            assert (82 in up.options) == (size == 900)
            assert up.giaddr == RELAY

    def test_whole_datagram(self):
        """A message as long as can be goes on without ours, and nothing is raised."""
        raw = FIRST.raw.ljust(65535, b"\0")
        assert 82 not in forward(Message.decode(raw), RELAY, PORT).options

    @pytest.mark.parametrize("bad", [{1: bytes(256)}, {"door": b""}, {256: b""}])
    def test_bad(self, bad):
        """What is no sub-option is the caller's mistake."""
        with pytest.raises(ValueError, match=r"\d+|door"):
            forward(FIRST, RELAY, bad)


class TestDeliver:
    """RFC 1542 section 4.1.2, RFC 3046 section 2.1: what comes down."""

    def test_taken_out(self):
        """The information is removed, and all else is as it was."""
        up = forward(FIRST, RELAY, PORT)
        offer = reply(up, options={1: "255.255.255.0"})
        down = deliver(offer, RELAY)
        assert offer.options[82] == PORT_BYTES
        assert down.options == {c: v for c, v in offer.options.items() if c != 82}
        assert down.raw[:236] == offer.raw[:236]
        assert len(down.raw) == 300
        assert down.diagnostics == []

    def test_nothing_to_take_out(self):
        """A server that does not echo it is passed on as it is."""
        offer = reply(FIRST.replace(giaddr=RELAY))
        assert deliver(offer, RELAY) is offer

    def test_kept(self):
        """What a trusted switch added, that switch takes out."""
        offer = reply(FIRST.replace(giaddr=RELAY, options={82: FORGED}))
        assert deliver(offer, RELAY, keep=True) is offer

    @pytest.mark.parametrize("giaddr", [0, FARTHER])
    def test_not_ours(self, giaddr):
        """A reply for no interface of ours MUST silently be discarded."""
        assert deliver(reply(FIRST.replace(giaddr=giaddr)), RELAY) is None

    @pytest.mark.parametrize("op", [0, 1, 3])
    def test_only_replies(self, op):
        """Requests are never passed down."""
        assert deliver(reply(FIRST.replace(giaddr=RELAY)).replace(op=op), RELAY) is None

    def test_pieces(self):
        """All pieces go, wherever in the options field they stand (RFC 3396)."""
        head = reply(FIRST.replace(giaddr=RELAY)).raw[:240]
        area = b"\x52\2\1\0\x35\1\2\0\x52\1x\x36\4\1\2\3\4"
        raw = (head + area + b"\xff\xee").ljust(310, b"\0")
        down = deliver(Message.decode(raw), RELAY)
        rest = b"\x35\1\2\0\x36\4\1\2\3\4\xff\xee".ljust(310 - 240 - 7, b"\0")
        assert down.raw == head + rest

    def test_overload(self):
        """Options in file and sname stay there, or the client might not take them all."""
        up = forward(FIRST, RELAY, PORT)
        offer = reply(up, options={67: "f" * 100, 224: bytes(150), 225: bytes(60)})
        assert offer.options[52]
        assert len(offer.raw) <= 548
        down = deliver(offer, RELAY)
        assert down.raw[:236] == offer.raw[:236]
        assert down.options == {c: v for c, v in offer.options.items() if c != 82}

    def test_option_in_file(self):
        """RFC 3046 section 2.1: in file it SHALL NOT be removed."""
        raw = bytearray(reply(FIRST.replace(giaddr=RELAY, options={52: b"\1"})).raw)
        raw[240:] = b"\x35\1\2\x34\1\1\x52\2\1\0\xff".ljust(60, b"\0")
        raw[108:115] = b"\x52\4\1\2xy\xff"
        down = deliver(Message.decode(bytes(raw)), RELAY)
        rest = b"\x35\1\2\x34\1\1\xff"
        assert down.raw == (raw[:240] + rest).ljust(300, b"\0")

    @UNTIMED
    @given(st.binary(max_size=120), st.booleans())
    def test_any_tail(self, tail, cookie):
        """Whatever a server sends, fields and the other options come through."""
        head = reply(FIRST.replace(giaddr=RELAY)).raw[:236]
        message = Message.decode(head + (MAGIC_COOKIE if cookie else b"") + tail)
        down = deliver(message, RELAY)
        assert down.raw[:236] == head
        assert len(down.raw) >= min(300, len(message.raw))
        assert {c: v for c, v in down.options.items() if c != 82} == {
            c: v for c, v in message.options.items() if c != 82
        }


class TestMatches:
    """Which port a message came by."""

    MESSAGE = forward(FIRST, RELAY, {1: b"port 7", "remote-id": b"modem"})

    @pytest.mark.parametrize(
        ("information", "same"),
        [
            ({1: b"port 7"}, True),
            ({"circuit-id": b"port 7", 2: b"modem"}, True),
            ({"circuit-id": b"port 8"}, False),
            ({1: b"port 7", 2: b"other"}, False),
            ({1: b"port"}, False),
            ({5: "192.0.2.0"}, False),
            ({}, True),
        ],
    )
    def test_matches(self, information, same):
        """All that is named must be there and be the same."""
        assert matches(self.MESSAGE, information) is same

    def test_without(self):
        """A message that came by no relay matches no port."""
        assert not matches(FIRST, PORT)

    def test_bad(self):
        """A name that no sub-option has is the caller's mistake."""
        with pytest.raises(ValueError, match="door"):
            matches(FIRST, {"door": b""})


class Server:
    """As little of a server as shows that its replies are right."""

    def __init__(self):
        self.leases = {}
        self.declined = set()

    def answer(self, message):
        """The reply to a message, or None."""
        key = message.client_id or message.chaddr
        times = {"lease_time": 600, "options": {58: 300, 59: 525, 1: "255.255.255.0"}}
        match message.type:
            case MessageType.DISCOVER:
                free = (RELAY - n for n in range(1, 99))
                address = next(each for each in free if each not in self.declined)
                return self.reply(message, MessageType.OFFER, address, **times)
            case MessageType.REQUEST if message.server_id not in {0, SERVER}:
                return None
            case MessageType.REQUEST:
                address = message.requested_address or message.ciaddr
                if address in self.declined or (
                    not message.server_id and self.leases.get(key) != address
                ):
                    return message.reply(
                        MessageType.NAK, server=SERVER, options={56: "not yours"}
                    )
                self.leases[key] = address
                return self.reply(message, MessageType.ACK, address, **times)
            case MessageType.DECLINE:
                self.declined.add(message.requested_address)
                del self.leases[key]
            case MessageType.RELEASE if self.leases.get(key) == message.ciaddr:
                del self.leases[key]
            case MessageType.INFORM:
                return message.reply(
                    MessageType.ACK, server=SERVER, options={6: "203.0.113.53"}
                )
        return None

    @staticmethod
    def reply(message, kind, address, **more):
        """A reply that gives an address."""
        return message.reply(kind, server=SERVER, yiaddr=address, **more)


class Way:
    """How messages get to the server and back; all that passes must be clean."""

    def __init__(self, server, *, relayed):
        self.server = server
        self.relayed = relayed

    def __call__(self, message):
        """What the client gets for a message."""
        clean(message)
        if not self.relayed:
            back = self.server.answer(Message.decode(message.encode(), strict=True))
            return back and clean(back)
        up = clean(forward(message, RELAY, PORT))
        assert matches(up, PORT)
        back = self.server.answer(Message.decode(up.encode(), strict=True))
        if back is None:
            return None
        assert clean(back).options[82] == PORT_BYTES
        assert forward(back, RELAY) is None
        down = clean(deliver(back, RELAY))
        assert 82 not in down.options
        return down


def clean(message):
    """The message, if there is nothing odd about it."""
    assert message.diagnostics == []
    return message


@pytest.mark.parametrize("relayed", [False, True], ids=["direct", "relayed"])
@pytest.mark.parametrize(
    "options", [{}, {61: b"\1me", 12: "laptop"}], ids=["bare", "id"]
)
class TestWhole:
    """Client, relay and server speak to each other, without a socket."""

    def test_life(self, relayed, options):
        """A lease from DISCOVER to RELEASE."""
        server = Server()
        ask = Way(server, relayed=relayed)
        first = discover(HARDWARE, options=options)
        offer = ask(first)
        assert (offer.type, offer.xid) == (MessageType.OFFER, first.xid)
        ack = ask(select(first, offer))
        assert (ack.type, ack.yiaddr, ack.lease_time) == (
            MessageType.ACK,
            offer.yiaddr,
            600,
        )
        assert ack.client_id == first.client_id
        assert list(server.leases.values()) == [ack.yiaddr]
        again = ask(renew(first, ack))
        assert (again.type, again.yiaddr) == (MessageType.ACK, ack.yiaddr)
        assert again.ciaddr == ack.yiaddr
        back = ask(reboot(first, ack.yiaddr))
        assert (back.type, back.yiaddr) == (MessageType.ACK, ack.yiaddr)
        assert ask(release(first, ack)) is None
        assert server.leases == {}
        refused = ask(reboot(first, ack.yiaddr))
        assert (refused.type, refused.yiaddr) == (MessageType.NAK, 0)
        assert refused.get("dhcp-message") == "not yours"
        assert refused.wants_broadcast is relayed

    def test_decline(self, relayed, options):
        """An address that somebody else has is given back, and another one found."""
        server = Server()
        ask = Way(server, relayed=relayed)
        first = discover(HARDWARE, options=options)
        ack = ask(select(first, ask(first)))
        assert ask(decline(first, ack)) is None
        assert server.declined == {ack.yiaddr}
        other = ask(select(first, ask(discover(HARDWARE, options=options))))
        assert other.type is MessageType.ACK
        assert other.yiaddr != ack.yiaddr

    def test_inform(self, relayed, options):
        """A client with an address of its own learns the rest."""
        ask = Way(Server(), relayed=relayed)
        ack = ask(inform(discover(HARDWARE, options=options), "192.0.2.77"))
        assert (ack.type, ack.yiaddr, ack.lease_time) == (MessageType.ACK, 0, None)
        assert ack.get("domain-name-servers") == [IPv4Address("203.0.113.53")]

    def test_other_server(self, relayed, options):
        """A REQUEST that takes another server's offer is not for this one."""
        server = Server()
        ask = Way(server, relayed=relayed)
        first = discover(HARDWARE, options=options)
        offer = ask(first).replace(options={54: "203.0.113.2"})
        assert ask(select(first, offer)) is None
        assert server.leases == {}
