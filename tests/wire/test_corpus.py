"""Packets that others collected: real ones, and some built to break decoders.

They are kept outside this repository; without them these tests are skipped.
"""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest
from support import CORPUS, IP, corpus, survives

from dhcptwist.wire import (
    OPTION_KINDS,
    MalformedMessage,
    Message,
    MessageType,
    from_json,
    from_text,
    to_json,
    to_text,
)
from dhcptwist.wire.codes import MAGIC_COOKIE


pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of packets is not here"
)

DISSECTED = ("payloads.jsonl", "local_clients.jsonl")

# No messages: tshark calls them malformed, too.
MALFORMED = {
    "google/gopacket@b7d9dbd15a:pcapgo/tests/be/test102.pcapng#2": "54 bytes",
    "google/gopacket@b7d9dbd15a:pcapgo/tests/be/test102.pcapng#5": "54 bytes",
    "google/gopacket@b7d9dbd15a:pcapgo/tests/be/test102.pcapng#6": "54 bytes",
    "systemd/systemd@v252.39(debian src):test/fuzz/fuzz-dhcp-server/buffer-overflow-1#0": (
        "hlen is 250"
    ),
}

# What tshark reads otherwise than the RFCs.
BY_ITS_OWN_RULE = {
    # It takes a number that would be small with its bytes swapped to be swapped; RFC 2131
    # section 2 has all numbers in network order.
    "seladb/PcapPlusPlus@200853b3a0:Tests/ExamplesTest/pcap_examples/solaris.snoop#245": (
        "secs"
    ),
    "seladb/PcapPlusPlus@200853b3a0:Tests/Pcap++Test/PcapExamples/raw_ip.pcap#67": "secs",
    # RFC 2132 section 6.3 knows the values 0 and 1; it takes 2 to be 1.
    "secdev/scapy@ac38b27340:test/scapy/layers/dhcp.uts#v3": 36,
    # There is no cookie, so it is BOOTP with a vendor field of whatever form (RFC 951);
    # tshark looks for options there nevertheless.
    "systemd/systemd@v252.39(debian src):test/fuzz/fuzz-dhcp-server-relay/too-large-packet#0": (
        "options"
    ),
}


def shown(data):
    """Text as tshark shows it: up to a NUL, ASCII, and what is no character escaped."""
    text = data.partition(b"\0")[0].decode("ascii", "replace")
    return "".join(each if each.isprintable() else f"\\x{ord(each):x}" for each in text)


def messages():
    """Each packet with a dissection that has one, decoded, with that dissection."""
    for name in DISSECTED:
        for each in corpus(name):
            if each["source"] not in MALFORMED:
                message = Message.decode(bytes.fromhex(each["hex"]))
                yield each["source"], message, each["dissection"]


def fixed_fields(message):
    """The fixed fields as tshark names and shows them."""
    raw = message.raw
    fields = {
        "type": str(message.op),
        "hw.type": f"0x{message.htype:02x}",
        "hw.len": str(message.hlen),
        "hops": str(message.hops),
        "id": f"0x{message.xid:08x}",
        "secs": str(message.secs),
        "flags": f"0x{message.flags:04x}",
        "ip.client": str(IP(message.ciaddr)),
        "ip.your": str(IP(message.yiaddr)),
        "ip.server": str(IP(message.siaddr)),
        "ip.relay": str(IP(message.giaddr)),
    }
    if (message.htype, message.hlen) == (1, 6):
        fields["hw.mac_addr"] = message.chaddr.hex(":")
        fields["hw.addr_padding"] = raw[34:44].hex(":")
    elif message.hlen and message.htype != 1:
        fields["hw.addr"] = raw[28:44].hex(":")
    overload = (message.options.get(52) or b"\0")[0]
    if overload not in {2, 3}:
        fields["server"] = shown(message.sname)
    if overload not in {1, 3}:
        fields["file"] = shown(message.file)
    if raw[236:240] == MAGIC_COOKIE:
        fields["cookie"] = MAGIC_COOKIE.hex()
    return fields


class TestDissected:
    """Real packets are what tshark reads in them."""

    def test_malformed(self):
        """What is no message is refused, for the reason we know."""
        found = {}
        for name in DISSECTED:
            for each in corpus(name):
                try:
                    Message.decode(bytes.fromhex(each["hex"]))
                except MalformedMessage as error:
                    found[each["source"]] = error.reason
                    assert each["dissection"]["proto"] == "_ws.malformed"
        assert found.keys() == MALFORMED.keys()
        for source, reason in found.items():
            assert reason.startswith(MALFORMED[source])

    def test_same_bytes(self):
        """Encoded again, and read from their text and JSON, they have the same bytes."""
        for source, message, _ in messages():
            raw = message.raw
            assert message.encode() == raw
            assert Message.decode(raw).options == message.options
            assert from_text(to_text(message)).raw == raw, source
            assert from_json(to_json(message)).raw == raw, source

    def test_fixed_fields(self):
        """Every fixed field is what tshark says."""
        seen = set()
        for source, message, dissection in messages():
            ours = fixed_fields(message)
            said = {name: dissection["fixed"].get(name) for name in ours}
            if BY_ITS_OWN_RULE.get(source) == "secs":
                swapped = message.secs.to_bytes(2, "little")
                assert said.pop("secs") == str(int.from_bytes(swapped, "big"))
                del ours["secs"]
            assert said == ours, source
            assert ("cookie" in dissection["fixed"]) == ("cookie" in ours), source
            seen |= ours.keys()
        assert {"hw.mac_addr", "hw.addr", "cookie", "server", "file"} <= seen

    def test_types(self):
        """The message's type is what tshark says, or nobody has defined it."""
        for source, message, dissection in messages():
            said = dissection["msgtype"]
            known = said in set(MessageType)
            assert message.type == (said if known else None), source

    def test_options(self):
        """Each option's code, place, order and bytes are what tshark says."""
        for source, message, dissection in messages():
            said = dissection["options"]
            if BY_ITS_OWN_RULE.get(source) == "options":
                assert said
                assert not message.options
                continue
            # One that runs past the end is named there, but has no value.
            for each in said[:-1]:
                assert "value" in each, source
            if said and "value" not in said[-1]:
                cut = said.pop()
                offsets = [offset for offset, _ in message.diagnostics]
                assert cut["pos"] in offsets, source
            found = [
                (piece.offset, piece.code, piece.data.hex())
                for piece in message.pieces()
                if piece.code not in {None, 0, 255}
            ]
            theirs = [(each["pos"], each["code"], each["value"] or "") for each in said]
            assert found == theirs, source
            joined = {}
            for _, code, data in theirs:
                joined[code] = joined.get(code, "") + data
            read = [(code, data.hex()) for code, data in message.options.items()]
            assert read == list(joined.items()), source


def number(value):
    """A number, or a name of one, as tshark shows it."""
    return [str(int(value))]


def numbers(value):
    """A list of such."""
    return [str(int(each)) for each in value]


def address(value):
    """An address."""
    return [str(value)]


def addresses(value):
    """A list of such."""
    return [str(each) for each in value]


def text(value):
    """A text, shown."""
    return [shown(value.encode())]


def routes(value):
    """Routes as their bytes: tshark cuts them apart, and reads no further."""
    found = []
    for network, router in value:
        octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
        width = bytes([network.prefixlen])
        found.append((width + octets + router.packed).hex(":"))
    return found


def user_classes(value):
    """Option 77 where it is a list as RFC 3004 wants it."""
    return [each.encode().hex(":") for each in value] if type(value) is list else []


def user_class(value):
    """Option 77 where it is one bare text."""
    return text(value) if type(value) is str else []


def bare_hardware(value):
    """The address of an identifier that is one of Ethernet, if it has six bytes."""
    found = value.get("ethernet", b"") if type(value) is dict else b""
    return [found.hex(":")] if len(found) == 6 else []


def inside(value, name):
    """What is in a value by a name, if it has names at all, or nothing."""
    return value.get(name, {}) if type(value) is dict else {}


def duid(value, kind, field):
    """A part of the DUID in an identifier."""
    parts = inside(inside(value, "duid"), "duid")
    return [inside(parts, kind)[field]] if kind in parts else []


def enterprise_values(value):
    """The bytes of option 125's sub-options: all in the corpus are text."""
    return [
        each.encode().hex(":") for group in value.values() for each in group.values()
    ]


# Option code to the fields in which tshark shows it (without "dhcp.option.", but for
# names with a leading dot, which are without "dhcp"), and how to show our value so.
SHOWN = {
    1: {"subnet_mask": address},
    2: {"time_offset": number},
    3: {"router": addresses},
    6: {"domain_name_server": addresses},
    12: {"hostname": text},
    15: {"domain_name": text},
    22: {"max_datagram_reassembly_size": number},
    26: {"interface_mtu": number},
    28: {"broadcast_address": address},
    33: {
        "static_route.ip": lambda value: [str(each) for each, _ in value],
        "static_route.router": lambda value: [str(each) for _, each in value],
    },
    36: {"ethernet_encapsulation": number},
    42: {"ntp_server": addresses},
    50: {"requested_ip_address": address},
    51: {"ip_address_lease_time": number},
    53: {"dhcp": number},
    54: {"dhcp_server_id": address},
    55: {"request_list_item": numbers},
    56: {"message": text},
    57: {"dhcp_max_message_size": number},
    58: {"renewal_time_value": number},
    59: {"rebinding_time_value": number},
    60: {"vendor_class_id": text},
    61: {
        ".hw.mac_addr": bare_hardware,
        # Where there is no text, it shows the field's own title.
        ".client_id.undef": lambda value: [
            shown(value[kind]) or "Client Identifier: "
            for kind in value
            if kind == "opaque"
        ],
        ".client_id.iaid": lambda value: [
            f"{value[kind]['iaid']:08x}" for kind in value if kind == "duid"
        ],
        ".client_id.time": lambda value: numbers(duid(value, "llt", "time")),
        ".client_id.link_layer_address": lambda value: [
            each.hex(":") for each in duid(value, "llt", "address")
        ],
        ".client_id.enterprise_num": lambda value: numbers(
            duid(value, "en", "enterprise")
        ),
        ".client_id": lambda value: [
            each.hex(":") for each in duid(value, "en", "identifier")
        ],
    },
    66: {"tftp_server_name": text},
    67: {"bootfile_name": text},
    77: {"user_class.data": user_classes, "user_class.text": user_class},
    81: {
        ".fqdn.s": lambda value: [str(int("s" in value["flags"]))],
        ".fqdn.o": lambda value: [str(int("o" in value["flags"]))],
        ".fqdn.e": lambda value: [str(int("e" in value["flags"]))],
        ".fqdn.n": lambda value: [str(int("n" in value["flags"]))],
        ".fqdn.rcode1": lambda value: number(value["rcode1"]),
        ".fqdn.rcode2": lambda value: number(value["rcode2"]),
        # With labels, the dot at the end says that the name is full; tshark has none.
        ".fqdn.name": lambda value: text(
            value["name"].rstrip("." if "e" in value["flags"] else "")
        ),
    },
    82: {
        "agent_information_option.agent_circuit_id": lambda value: [
            value[name].hex(":") for name in value if name == "circuit-id"
        ],
        "agent_information_option.agent_remote_id": lambda value: [
            value[name].hex(":") for name in value if name == "remote-id"
        ],
    },
    90: {
        "dhcp_authentication.protocol": lambda value: number(value["protocol"]),
        "dhcp_authentication.alg_delay": lambda value: number(value["algorithm"]),
        "dhcp_authentication.rdm": lambda value: number(value["rdm"]),
        "dhcp_authentication.rdm_replay_detection": lambda value: [
            f"{value['replay_detection']:#018x}"
        ],
    },
    91: {"client_last_transaction_time": number},
    92: {"associated_ip_option": addresses},
    93: {"client_system_architecture": numbers},
    94: {
        ".client_network_id_major": lambda value: number(value["major"]),
        ".client_network_id_minor": lambda value: number(value["minor"]),
    },
    97: {".client_id.uuid": lambda value: [str(value["uuid"])]},
    101: {"tz_tcode": text},
    112: {"netinfo_parent_server_address": addresses},
    114: {"captive_portal": text},
    116: {"dhcp_auto_configuration": number},
    120: {"sip_server.address": addresses},
    121: {"classless_static_route": routes},
    125: {"vi.enterprise": numbers, "vi.value": enterprise_values},
    145: {"forcerenew_nonce.algorithm": numbers},
    150: {"tftp_server_address": addresses},
    161: {"mudurl": text},
    210: {"pxe_path_prefix": text},
}


class TestValues:
    """Values of real packets are what tshark reads in them."""

    def test_values(self):
        """Every value that tshark shows is ours; what does not fit, it does not show."""
        met = set()
        for source, message, dissection in messages():
            said = {}
            for option in dissection["options"]:
                said.setdefault(option["code"], []).append(option["fields"])
            for code, fields in said.items():
                if code not in SHOWN or len(fields) > 1 or code not in message.options:
                    continue  # tshark reads the pieces of an option each for itself
                if BY_ITS_OWN_RULE.get(source) == code:
                    with pytest.raises(MalformedMessage):
                        message.get(code)
                    met.add(code)
                    continue
                try:
                    value = message.get(code)
                except MalformedMessage:
                    value = None
                for word, show in SHOWN[code].items():
                    name = f"dhcp{word}" if word[0] == "." else f"dhcp.option.{word}"
                    theirs = [each for key, each in fields[0] if key == name]
                    ours = show(value) if value is not None else []
                    assert ours == theirs, (source, code, name)
                    met |= {code} if theirs else set()
        assert met == set(SHOWN)


class TestDevices:
    """What devices are known to send is what we read, in their order."""

    def test_order(self):
        """The options come in the device's order, and are the same bytes again."""
        for each in corpus("devices.jsonl"):
            data = bytes.fromhex(each["hex"])
            message = Message.decode(data)
            assert message.encode() == data
            assert from_text(to_text(message)).raw == data
            assert from_json(to_json(message)).raw == data
            order = [code for code in each["option_order"] if code not in {0, 255}]
            if 53 not in order:
                order.insert(0, 53)  # whoever made the packets did so too
            assert list(message.options) == list(dict.fromkeys(order)), each["device"]

    def test_values(self):
        """The request list and the vendor class are the device's."""
        lists = classes = 0
        for each in corpus("devices.jsonl"):
            message = Message.decode(bytes.fromhex(each["hex"]))
            # For some devices it is known only that they send these options.
            if 55 in message.options and each["prl"]:
                assert list(message.requested_options) == each["prl"], each["device"]
                lists += 1
            if 60 in message.options and each["vendor_class"]:
                vendor = message.get("vendor-class-identifier")
                assert vendor == each["vendor_class"], each["device"]
                classes += 1
        assert lists
        assert classes


HOSTILE = [
    pytest.param(bytes.fromhex(each["hex"]), id=each["name"])
    for each in corpus("hostile.jsonl")
]

# Reading all values of a message may take so many bytes and so many lines of Python: the
# most that the packets take is 160 kB, and 13,200 lines, which is less than a millisecond.
MEMORY = 1 << 20
LINES = 20_000

# What is told of a message is in proportion to it.  In so few bytes so many options must
# be named that each byte may take many lines.
LINES_AT_ALL = 4000
LINES_A_BYTE = 64


def read(data):
    """Read all that can be read of a datagram, as a server would and more."""
    try:
        message = Message.decode(data)
    except MalformedMessage:
        return None
    for code in {*message.options, *OPTION_KINDS}:
        try:
            message.get(code)
        except MalformedMessage as error:
            assert error.reason.startswith(OPTION_KINDS.kind(code).name)  # noqa: PT017
    return message


def lines_of(function):
    """How many lines of Python a call runs."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("data", HOSTILE)
class TestHostile:
    """What broke other decoders is a message or malformed, at little cost."""

    def test_read(self, data):
        """Everything of it can be read, and written in all forms and read again."""
        survives(data)
        message = read(data)
        if message is None:
            return
        for offset, reason in message.diagnostics:
            assert 0 <= offset <= len(data)
            assert reason.isprintable()
        lines = to_text(message)
        assert all(line.isprintable() for line in lines.splitlines())
        assert from_text(lines).raw == data
        document = to_json(message)
        assert json.loads(document)
        assert from_json(document).raw == data

    def test_memory(self, data):
        """Reading all of its values takes less than a mebibyte, diagnostics as well."""
        read(data)  # what is made once for all is not the packet's
        tracemalloc.start()
        try:
            message = read(data)
            assert message is None or message.diagnostics is not None
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY

    def test_work(self, data):
        """Reading all of its values takes little work, however long it is."""
        read(data)  # as above
        assert lines_of(lambda: read(data)) < LINES

    def test_work_of_forms(self, data):
        """The work of diagnostics, text and JSON is in proportion to its length."""
        message = read(data)
        if message is not None:
            for form in (to_text, to_json, lambda message: message.diagnostics):
                work = lines_of(lambda form=form: form(message))
                assert work < LINES_AT_ALL + LINES_A_BYTE * len(data)
