"""What a client sends, held against RFC 2131 table 5 row by row."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dhcptwist.wire import Message, MessageType, OptionKind
from dhcptwist.wire.requests import (
    USUAL_REQUEST_LIST,
    decline,
    discover,
    inform,
    reboot,
    release,
    renew,
    select,
)
from dhcptwist.wire.values import U16


HARDWARE = bytes.fromhex("020000000001")
ADDRESS = int(IPv4Address("192.0.2.10"))
SERVER = int(IPv4Address("192.0.2.1"))

#: Options that table 5 has rows for, with a value each, and some of "all others".
EVERYTHING = {
    50: "192.0.2.99",
    51: 7200,
    55: [1, 3, 51, 58, 59, 6],
    57: 1400,
    60: "vendor",
    61: b"\x01client",
    12: "laptop",
    80: True,
    224: b"of this site",
}

FIRST = discover(HARDWARE, xid=0x11111111, broadcast=True, options=EVERYTHING).replace(
    secs=9
)
OFFER = FIRST.reply(
    MessageType.OFFER, server=SERVER, yiaddr=ADDRESS, lease_time=3600
).replace(xid=0x22222222)
ACK = select(FIRST, OFFER).reply(
    MessageType.ACK, server=SERVER, yiaddr=ADDRESS, lease_time=3600
)

MESSAGES = {
    "DISCOVER": FIRST,
    "SELECTING": select(FIRST, OFFER),
    "INIT-REBOOT": reboot(FIRST, ADDRESS),
    "RENEWING": renew(FIRST, ACK),
    "INFORM": inform(FIRST, ADDRESS),
    "DECLINE": decline(FIRST, ACK),
    "RELEASE": release(FIRST, ACK),
}

TYPES = {
    "DISCOVER": MessageType.DISCOVER,
    "SELECTING": MessageType.REQUEST,
    "INIT-REBOOT": MessageType.REQUEST,
    "RENEWING": MessageType.REQUEST,
    "INFORM": MessageType.INFORM,
    "DECLINE": MessageType.DECLINE,
    "RELEASE": MessageType.RELEASE,
}

EVERY = pytest.mark.parametrize("state", list(MESSAGES))
PARTING = {"DECLINE", "RELEASE"}


class TestFields:
    """The upper half of table 5."""

    @EVERY
    def test_hardware(self, state):
        """Rows op, htype, hlen, hops and chaddr: a request of this client."""
        message = MESSAGES[state]
        assert (message.op, message.htype, message.hlen, message.hops) == (1, 1, 6, 0)
        assert message.chaddr == HARDWARE
        assert message.raw[34:44] == bytes(10)

    @EVERY
    def test_zero(self, state):
        """Rows yiaddr, siaddr and giaddr are 0, and sname and file are unused."""
        message = MESSAGES[state]
        assert (message.yiaddr, message.siaddr, message.giaddr) == (0, 0, 0)
        assert not any(message.sname + message.file)

    def test_xid(self):
        """Row xid: a REQUEST has the OFFER's, all others one that the client selects."""
        assert MESSAGES["SELECTING"].xid == OFFER.xid == 0x22222222
        for state in MESSAGES.keys() - {"DISCOVER", "SELECTING"}:
            assert MESSAGES[state].xid not in {FIRST.xid, OFFER.xid}

    def test_random_xid(self):
        """A number is drawn for each transaction, and one that is given is taken."""
        assert len({discover(HARDWARE).xid for _ in range(8)}) > 1
        assert len({renew(FIRST, ACK).xid for _ in range(8)}) > 1
        assert len({release(FIRST, ACK).xid for _ in range(8)}) > 1
        assert discover(HARDWARE, xid=0).xid == 0

    def test_secs(self):
        """Row secs: the same in the REQUEST that follows (3.1 step 3); 0 when parting."""
        assert discover(HARDWARE).secs == 0
        assert MESSAGES["SELECTING"].secs == FIRST.secs == 9
        for state in MESSAGES.keys() - {"DISCOVER", "SELECTING"}:
            assert MESSAGES[state].secs == 0

    @pytest.mark.parametrize(
        ("state", "flags"),
        [
            ("DISCOVER", 0x8000),
            ("SELECTING", 0x8000),
            ("INIT-REBOOT", 0x8000),
            ("RENEWING", 0),
            ("INFORM", 0),
            ("DECLINE", 0),
            ("RELEASE", 0),
        ],
    )
    def test_flags(self, state, flags):
        """Row flags: broadcast if the client needs it; who has an address does not."""
        assert MESSAGES[state].flags == flags

    def test_no_broadcast(self):
        """Broadcast replies are asked for only if they are wanted."""
        assert discover(HARDWARE).flags == 0
        assert reboot(discover(HARDWARE), ADDRESS).flags == 0

    @pytest.mark.parametrize(
        ("state", "ciaddr"),
        [
            ("DISCOVER", 0),
            ("SELECTING", 0),
            ("INIT-REBOOT", 0),
            ("RENEWING", ADDRESS),
            ("INFORM", ADDRESS),
            ("DECLINE", 0),
            ("RELEASE", ADDRESS),
        ],
    )
    def test_ciaddr(self, state, ciaddr):
        """Row ciaddr: the address of those who have one, and may be asked at it."""
        assert MESSAGES[state].ciaddr == ciaddr

    @pytest.mark.parametrize("make", [select, renew, decline, release])
    def test_ciaddr_of_before(self, make):
        """What stood in ciaddr of the first message does not linger on."""
        first = FIRST.replace(ciaddr="198.51.100.1")
        wanted = ADDRESS if make in {renew, release} else 0
        assert make(first, ACK).ciaddr == wanted
        assert reboot(first, ADDRESS).ciaddr == 0


class TestOptions:
    """The lower half of table 5."""

    @EVERY
    def test_type(self, state):
        """Row message type: it is there, and it is the first."""
        assert MESSAGES[state].type is TYPES[state]
        assert next(iter(MESSAGES[state].options)) == 53

    @pytest.mark.parametrize(
        ("state", "address"),
        [
            ("DISCOVER", int(IPv4Address("192.0.2.99"))),
            ("SELECTING", ADDRESS),
            ("INIT-REBOOT", ADDRESS),
            ("RENEWING", None),
            ("INFORM", None),
            ("DECLINE", ADDRESS),
            ("RELEASE", None),
        ],
    )
    def test_requested_address(self, state, address):
        """Row requested address: MAY, MUST, MUST, MUST NOT, MUST NOT, MUST, MUST NOT."""
        message = MESSAGES[state]
        assert (50 in message.options) == (address is not None)
        assert message.requested_address == (address or 0)

    @EVERY
    def test_lease_time(self, state):
        """Row lease time: kept where it may be, but not in INFORM and when parting."""
        may = state not in {"INFORM", *PARTING}
        assert MESSAGES[state].lease_time == (7200 if may else None)

    @EVERY
    def test_overload(self, state):
        """Row use of file and sname: there is no need."""
        assert 52 not in MESSAGES[state].options

    @EVERY
    def test_client_id(self, state):
        """Row client identifier: once used, it is in all messages (section 4.2)."""
        assert MESSAGES[state].client_id == b"\x01client"

    @EVERY
    def test_server_id(self, state):
        """Row server identifier: only after SELECTING, and in DECLINE and RELEASE."""
        must = state in {"SELECTING", *PARTING}
        assert (54 in MESSAGES[state].options) == must
        assert MESSAGES[state].server_id == (SERVER if must else 0)

    @EVERY
    @pytest.mark.parametrize("code", [12, 57, 60, 224])
    def test_others(self, state, code):
        """Rows class, size, site and all others: as at first, MUST NOT when parting."""
        wanted = None if state in PARTING else FIRST.options[code]
        assert MESSAGES[state].options.get(code) == wanted

    @EVERY
    def test_request_list(self, state):
        """Row request list: the same in all that follow; an INFORM wants no times."""
        wanted = {
            "INFORM": bytes([1, 3, 6]),  # section 4.4.3
            "DECLINE": None,
            "RELEASE": None,
        }.get(state, bytes([1, 3, 51, 58, 59, 6]))
        assert MESSAGES[state].requested_options == wanted

    @EVERY
    def test_message(self, state):
        """Row message: SHOULD NOT, but when parting it SHOULD be there."""
        assert (56 in MESSAGES[state].options) == (state in PARTING)

    @EVERY
    def test_rapid_commit(self, state):
        """RFC 4039 section 4: option 80 is for DISCOVER alone."""
        assert (80 in MESSAGES[state].options) == (state == "DISCOVER")

    @EVERY
    def test_clean(self, state):
        """There is nothing odd about any of them, and old relays take them."""
        assert MESSAGES[state].diagnostics == []
        assert len(MESSAGES[state].raw) >= 300
        assert Message.decode(MESSAGES[state].raw, strict=True) == MESSAGES[state]

    @pytest.mark.parametrize("make", [select, renew])
    def test_order(self, make):
        """What stays keeps its order, so servers know the device by it."""
        kept = [code for code in make(FIRST, OFFER).options if code in FIRST.options]
        assert kept == [code for code in FIRST.options if code in kept]


class TestDiscover:
    """What `discover` takes."""

    def test_usual(self):
        """Without options it asks for the usual ones."""
        first = discover(HARDWARE)
        assert list(first.options) == [53, 55]
        assert first.requested_options == USUAL_REQUEST_LIST
        assert first.diagnostics == []

    def test_names_and_kinds(self):
        """Options may be given by name, number and description."""
        mine = OptionKind(230, "mine", U16)
        first = discover(HARDWARE, options={"host-name": "a", 60: b"v", mine: 5})
        assert list(first.options) == [53, 55, 12, 60, 230]
        assert first.get(mine) == 5

    def test_own_request_list(self):
        """A request list of one's own takes the usual one's place."""
        first = discover(
            HARDWARE, options={12: "a", "dhcp-parameter-request-list": [3]}
        )
        assert list(first.options) == [53, 12, 55]
        assert first.requested_options == b"\3"

    def test_own_type(self):
        """The type may be said again, but not another one."""
        assert discover(HARDWARE, options={53: "discover"}).type is MessageType.DISCOVER
        with pytest.raises(ValueError, match="53"):
            discover(HARDWARE, options={53: "request"})

    def test_server_id(self):
        """Table 5: a DISCOVER MUST NOT have a server identifier."""
        with pytest.raises(ValueError, match="54"):
            discover(HARDWARE, options={54: "192.0.2.1"})

    def test_other_hardware(self):
        """RFC 4390: over InfiniBand there is no hardware address, but an identifier."""
        first = discover(
            b"", htype=32, broadcast=True, options={61: b"\xff" + bytes(11)}
        )
        assert (first.htype, first.hlen, first.raw[28:44]) == (32, 0, bytes(16))
        assert first.diagnostics == []
        ack = first.reply(MessageType.OFFER, server=1, yiaddr=2, lease_time=3)
        assert (release(first, ack).htype, release(first, ack).hlen) == (32, 0)
        assert release(first, ack).client_id == first.client_id

    @pytest.mark.parametrize(
        "bad", [{"chaddr": bytes(17)}, {"chaddr": b"", "options": {12: ""}}]
    )
    def test_bad(self, bad):
        """What does not fit its place is the caller's mistake."""
        with pytest.raises(ValueError, match=r"longer|empty"):
            discover(**bad)


class TestAnswers:
    """What the messages are made from."""

    @pytest.mark.parametrize("make", [select, renew, decline, release])
    def test_no_address(self, make):
        """A reply that gives no address cannot be taken, extended or given back."""
        with pytest.raises(ValueError, match="gives no address"):
            make(FIRST, ACK.replace(yiaddr=0))

    @pytest.mark.parametrize("make", [select, decline, release])
    def test_no_server(self, make):
        """Without a server identifier nobody would know who is meant."""
        with pytest.raises(ValueError, match="no server identifier"):
            make(FIRST, ACK.replace(options={54: None}))

    def test_later_messages(self):
        """Any message of the client will do for the next one."""
        request = MESSAGES["SELECTING"]
        again = renew(request, ACK)
        assert again.options == renew(FIRST, ACK).options
        assert reboot(again, ADDRESS).options == reboot(FIRST, ADDRESS).options
        assert inform(again, ADDRESS).options == inform(FIRST, ADDRESS).options
        assert release(again, ACK).options == release(FIRST, ACK).options
        assert (
            select(again, OFFER).options.items()
            >= {
                50: OFFER.raw[16:20],
                54: OFFER.options[54],
            }.items()
        )

    def test_no_request_list(self):
        """An INFORM of a client without a request list has none; nor an empty one."""
        first = Message.build(chaddr=HARDWARE, options={53: "discover"})
        assert 55 not in inform(first, ADDRESS).options
        times = discover(HARDWARE, options={55: [51, 58, 59]})
        assert 55 not in inform(times, ADDRESS).options

    @pytest.mark.parametrize("make", [decline, release])
    def test_reason(self, make):
        """The words go into option 56; long ones in pieces, none not at all."""
        assert make(FIRST, ACK, "gone").options[56] == b"gone"
        assert make(FIRST, ACK, "x" * 300).get("dhcp-message") == "x" * 300
        assert 56 not in make(FIRST, ACK, "").options
        assert len(make(FIRST, ACK).get("dhcp-message")) > 10

    @pytest.mark.parametrize("make", [decline, release])
    def test_no_client_id(self, make):
        """A client identifier that was not used does not appear."""
        first = discover(HARDWARE)
        assert 61 not in make(first, ACK).options

    @pytest.mark.parametrize("address", [ADDRESS, "192.0.2.10", IPv4Address(ADDRESS)])
    def test_addresses(self, address):
        """An address may be a number, text or of its type."""
        assert reboot(FIRST, address).requested_address == ADDRESS
        assert inform(FIRST, address).ciaddr == ADDRESS
