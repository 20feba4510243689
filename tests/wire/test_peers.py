"""Our messages read by scapy and tshark, and scapy's messages read by us.

They know nothing of each other, nor of us: what all read alike is likely to be right.
Where they do not, and the RFC says that it is theirs to mend, a comment says what.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
import subprocess
import warnings
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from support import IP

from dhcptwist.wire import Message, MessageType, option_kind


# Code, our value, scapy's name and values, and what tshark shows in which fields.
ROWS = [
    (1, "255.255.255.0", ("subnet_mask", "255.255.255.0"),
     {"option.subnet_mask": ["255.255.255.0"]}),
    # scapy knows no negative numbers.
    (2, "-3600", ("time_zone", 4294963696), {"option.time_offset": ["-3600"]}),
    (3, "192.0.2.1, 192.0.2.2", ("router", "192.0.2.1", "192.0.2.2"),
     {"option.router": ["192.0.2.1", "192.0.2.2"]}),
    (4, "192.0.2.3", ("time_server", "192.0.2.3"), {"option.time_server": ["192.0.2.3"]}),
    (6, "192.0.2.5, 192.0.2.6", ("name_server", "192.0.2.5", "192.0.2.6"),
     {"option.domain_name_server": ["192.0.2.5", "192.0.2.6"]}),
    (12, "printer", ("hostname", b"printer"), {"option.hostname": ["printer"]}),
    (13, "512", ("boot-size", 512), {"option.boot_file_size": ["512"]}),
    (15, "example.org", ("domain", b"example.org"), {"option.domain_name": ["example.org"]}),
    (16, "192.0.2.7", ("swap-server", "192.0.2.7"), {"option.swap_server": ["192.0.2.7"]}),
    (17, "/srv/root", ("root_disk_path", b"/srv/root"), {"option.root_path": ["/srv/root"]}),
    (19, "true", ("ip-forwarding", 1), {"option.ip_forwarding": ["1"]}),
    (21, "198.51.100.0 255.255.255.0", ("policy-filter", "198.51.100.0", "255.255.255.0"),
     {"option.policy_filter.ip": ["198.51.100.0"], "option.policy_filter.subnet_mask": ["255.255.255.0"]}),
    (22, "1500", ("max_dgram_reass_size", 1500), {"option.max_datagram_reassembly_size": ["1500"]}),
    (23, "64", ("default_ttl", 64), {"option.default_ip_ttl": ["64"]}),
    (24, "600", ("pmtu_timeout", 600), {"option.path_mtu_aging_timeout": ["600"]}),
    (25, "68, 296", ("path-mtu-plateau-table", 68, 296),
     {"option.path_mtu_plateau_table_item": ["68", "296"]}),
    (26, "1400", ("interface-mtu", 1400), {"option.interface_mtu": ["1400"]}),
    (28, "192.0.2.255", ("broadcast_address", "192.0.2.255"),
     {"option.broadcast_address": ["192.0.2.255"]}),
    (33, "198.51.100.9 192.0.2.1, 203.0.113.9 192.0.2.2", ("static-routes", "198.51.100.9", "192.0.2.1", "203.0.113.9", "192.0.2.2"),
     {"option.static_route.ip": ["198.51.100.9", "203.0.113.9"], "option.static_route.router": ["192.0.2.1", "192.0.2.2"]}),
    (35, "60", ("arp_cache_timeout", 60), {"option.arp_cache_timeout": ["60"]}),
    (37, "63", ("tcp_ttl", 63), {"option.tcp_default_ttl": ["63"]}),
    (38, "7200", ("tcp_keepalive_interval", 7200), {"option.tcp_keepalive_interval": ["7200"]}),
    (40, "nis", ("NIS_domain", b"nis"), {"option.nis_domain": ["nis"]}),
    (42, "192.0.2.8", ("NTP_server", "192.0.2.8"), {"option.ntp_server": ["192.0.2.8"]}),
    (44, "192.0.2.9", ("NetBIOS_server", "192.0.2.9"),
     {"option.netbios_over_tcpip_name_server": ["192.0.2.9"]}),
    (46, "8", ("NetBIOS_node_type", 8), {"option.netbios_over_tcpip_node_type": ["8"]}),
    (47, "scope", ("netbios-scope", b"scope"), {"option.netbios_over_tcpip_scope": ["scope"]}),
    (50, "192.0.2.10", ("requested_addr", "192.0.2.10"),
     {"option.requested_ip_address": ["192.0.2.10"]}),
    (51, "86400", ("lease_time", 86400), {"option.ip_address_lease_time": ["86400"]}),
    (54, "192.0.2.1", ("server_id", "192.0.2.1"), {"option.dhcp_server_id": ["192.0.2.1"]}),
    (55, "1, 3, 6, 15, 121", ("param_req_list", [1, 3, 6, 15, 121]),
     {"option.request_list_item": ["1", "3", "6", "15", "121"]}),
    (56, "no more", ("error_message", b"no more"), {"option.message": ["no more"]}),
    (57, "1472", ("max_dhcp_size", 1472), {"option.dhcp_max_message_size": ["1472"]}),
    (58, "43200", ("renewal_time", 43200), {"option.renewal_time_value": ["43200"]}),
    (59, "75600", ("rebinding_time", 75600), {"option.rebinding_time_value": ["75600"]}),
    (60, "vendor 1.0", ("vendor_class_id", b"vendor 1.0"),
     {"option.vendor_class_id": ["vendor 1.0"]}),
    (61, "ethernet=02:00:00:00:00:01", ("client_id", b"\x01\x02\x00\x00\x00\x00\x01"),
     {"hw.type": ["0x01"], "hw.mac_addr": ["02:00:00:00:00:01"]}),
    (64, "nisplus", ("NISplus_domain", b"nisplus"), {"option.nis_plus_domain": ["nisplus"]}),
    (66, "boot.example.org", ("tftp_server_name", b"boot.example.org"),
     {"option.tftp_server_name": ["boot.example.org"]}),
    (67, "pxelinux.0", ("boot-file-name", b"pxelinux.0"), {"option.bootfile_name": ["pxelinux.0"]}),
    (69, "192.0.2.11", ("SMTP_server", "192.0.2.11"), {"option.smtp_server": ["192.0.2.11"]}),
    (77, "{accounting, guests}", ("user_class", b"\naccounting\x06guests"),
     {"option.user_class.data": ["61:63:63:6f:75:6e:74:69:6e:67", "67:75:65:73:74:73"]}),
    (80, "", ("rapid_commit", b""), {}),
    # tshark has no dot at the end of a full name.
    (81, {"flags": ["s", "e"], "rcode1": 0, "rcode2": 0, "name": "host.example.org."}, ("client_FQDN", b"\x05\x00\x00\x04host\x07example\x03org\x00"),
     {"fqdn.e": ["1"], "fqdn.s": ["1"], "fqdn.rcode1": ["0"], "fqdn.rcode2": ["0"], "fqdn.name": ["host.example.org"]}),
    (82, "circuit-id=hex:0102; remote-id=hex:7879; link-selection=192.0.2.0", ("relay_agent_information", b"\x01\x02\x01\x02\x02\x02xy\x05\x04\xc0\x00\x02\x00"),
     {"option.agent_information_option.agent_circuit_id": ["01:02"], "option.agent_information_option.agent_remote_id": ["78:79"], "option.agent_information_option.link_selection": ["192.0.2.0"]}),
    (91, "77", ("client-last-transaction-time", 77),
     {"option.client_last_transaction_time": ["77"]}),
    (92, "192.0.2.20, 192.0.2.21", ("associated-ip", "192.0.2.20", "192.0.2.21"),
     {"option.associated_ip_option": ["192.0.2.20", "192.0.2.21"]}),
    (93, "0, 7", ("pxe_client_architecture", b"\x00\x00\x00\x07"),
     {"option.client_system_architecture": ["0", "7"]}),
    (94, "1, 3, 16", ("pxe_client_network_interface", b"\x01\x03\x10"),
     {"client_network_id_major": ["3"], "client_network_id_minor": ["16"]}),
    # tshark swaps the first three groups, as firmware often does and no RFC says.
    (97, "0, 00010203-0405-0607-0809-0a0b0c0d0e0f",
     ("pxe_client_machine_identifier", b"\0" + bytes(range(16))),
     {"client_id.uuid": ["03020100-0504-0706-0809-0a0b0c0d0e0f"]}),
    (100, "CET-1CEST", ("pcode", b"CET-1CEST"), {"option.tz_pcode": ["CET-1CEST"]}),
    (101, "Europe/Berlin", ("tcode", b"Europe/Berlin"), {"option.tz_tcode": ["Europe/Berlin"]}),
    # tshark 4.0 knows nothing of RFC 8925.
    (108, "1800", ("ipv6-only-preferred", 1800), {}),
    (114, "https://portal.example/", ("captive-portal", b"https://portal.example/"),
     {"option.captive_portal": ["https://portal.example/"]}),
    (116, "1", ("auto-config", 1), {"option.dhcp_auto_configuration": ["1"]}),
    # tshark has names for these numbers, and shows nothing else.
    (117, "0, 6", ("name-service-search", 0, 6), {}),
    (118, "192.0.2.0", ("subnet-selection", "192.0.2.0"),
     {"option.subnet_selection_option": ["192.0.2.0"]}),
    # scapy leaves 119, 120, 249 and 252 as bytes.
    (119, "example.org, sales.example.org", (119, b"\x07example\x03org\x00\x05sales\xc0\x00"),
     {"option.dhcp_dns_domain_search_list_fqdn": ["example.org", "sales.example.org"]}),
    (120, "192.0.2.30", (120, b"\x01\xc0\x00\x02\x1e"),
     {"option.sip_server.address": ["192.0.2.30"]}),
    (121, "198.51.100.0/25 - 192.0.2.1, 0.0.0.0/0 - 192.0.2.2", ("classless_static_routes", ["198.51.100.0/25:192.0.2.1", "0.0.0.0/0:192.0.2.2"]),
     {"option.classless_static_route": ["19:c6:33:64:00:c0:00:02:01", "00:c0:00:02:02"]}),
    # tshark shows the length before the class as its first character.
    (124, {3561: [b"ab"]}, ("vendor_class", b"\x00\x00\r\xe9\x03\x02ab"),
     {"option.vi_class.enterprise": ["3561"], "option.vi_class.data": ["\\x2ab"]}),
    (125, {3561: {"device-serial-number": "A1"}}, ("vendor_specific_information", b"\x00\x00\r\xe9\x04\x02\x02A1"),
     {"option.vi.enterprise": ["3561"], "option.vi.tr111.device_serial_number": ["A1"]}),
    (138, "192.0.2.31", ("capwap-ac-v4", "192.0.2.31"),
     {"option.capwap_access_controller": ["192.0.2.31"]}),
    (145, "1", ("forcerenew_nonce_capable", [1]), {"option.forcerenew_nonce.algorithm": ["1"]}),
    (150, "192.0.2.32, 192.0.2.33", ("tftp_server_address", "192.0.2.32", "192.0.2.33"),
     {"option.tftp_server_address": ["192.0.2.32", "192.0.2.33"]}),
    (161, "https://mud.example/a", ("mud-url", b"https://mud.example/a"),
     {"option.mudurl": ["https://mud.example/a"]}),
    (209, "config", ("pxelinux_configuration_file", b"config"),
     {"option.pxe_config_file": ["config"]}),
    (210, "/pxe/", ("pxelinux_path_prefix", b"/pxe/"), {"option.pxe_path_prefix": ["/pxe/"]}),
    # Neither takes it for a number.
    (211, "30", ("pxelinux_reboot_time", b"\x00\x00\x00\x1e"), {}),
    (249, "198.51.100.0/25 - 192.0.2.1", (249, b"\x19\xc63d\x00\xc0\x00\x02\x01"),
     {"option.classless_static_route": ["19:c6:33:64:00:c0:00:02:01"]}),
    (252, "http://wpad.example/wpad.dat", (252, b"http://wpad.example/wpad.dat"),
     {"option.private_proxy_autodiscovery": ["http://wpad.example/wpad.dat"]}),
]  # fmt: skip

FIXED = {
    "op": 2,
    "htype": 1,
    "hlen": 6,
    "hops": 3,
    "xid": 0x12345678,
    "secs": 257,
    "flags": 0x8000,
    "ciaddr": "192.0.2.1",
    "yiaddr": "192.0.2.2",
    "siaddr": "192.0.2.3",
    "giaddr": "192.0.2.4",
    "chaddr": bytes.fromhex("020000000001"),
    "sname": b"server",
    "file": b"boot/file",
}


def one(code, value):
    """A message with a type and one more option."""
    return Message.build(xid=code, options={53: "discover", code: value})


# --- tshark -----------------------------------------------------------------------------


class Seen(NamedTuple):
    """What tshark reads in one message.

    Attributes:
        fixed: Fields by name, without "dhcp." before it.
        options: Place, code and bytes of each option, in the order of places.
        shown: For each code, the fields inside it by name.
    """

    fixed: dict[str, str]
    options: list[tuple[int, int, bytes]]
    shown: dict[int, dict[str, list[str]]]


def checksum(data):
    """The sum of RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(payload):
    """A payload as broadcast over Ethernet, from a client or a server."""
    ports = (68, 67) if payload[0] == 1 else (67, 68)
    ends = bytes(4) + b"\xff" * 4
    size = 8 + len(payload)
    pseudo = ends + struct.pack("!HH", 17, size)
    udp = struct.pack("!HHH", *ports, size)
    total = checksum(pseudo + udp + bytes(2) + payload) or 0xFFFF
    ip = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, 17)
    ip += struct.pack("!H", checksum(ip + bytes(2) + ends)) + ends
    ethernet = b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x08\0"
    return ethernet + ip + udp + struct.pack("!H", total) + payload


def tshark(path, messages):
    """What tshark reads in messages: `Seen` of each.

    Args:
        path: Where the capture may be written.
        messages: Any number of them.
    """
    found = shutil.which("tshark")
    if not found and not os.environ.get("CI"):
        pytest.skip("not installed: tshark")
    assert found, "not installed: tshark"
    capture = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)]
    for message in messages:
        data = frame(message.raw)
        capture += [struct.pack("<IIII", 0, 0, len(data), len(data)), data]
    path.write_bytes(b"".join(capture))
    checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    command = (found, "-n", "-r", str(path), "-T", "pdml", *checked)
    done = subprocess.run(command, capture_output=True, check=True)
    packets = ET.fromstring(done.stdout).findall("packet")
    assert len(packets) == len(messages)
    return [seen(packet) for packet in packets]


def seen(packet):
    """One packet of tshark's."""
    layers = {layer.get("name"): layer for layer in packet.findall("proto")}
    for layer in ("ip", "udp"):
        fields = {each.get("name"): each.get("show") for each in layers[layer].iter()}
        assert fields[f"{layer}.checksum.status"] == "1"
    assert "_ws.malformed" not in layers
    layer = layers["dhcp"]
    start = int(layer.get("pos"))
    fixed = {
        each.get("name").removeprefix("dhcp."): each.get("show")
        for each in layer.findall("field")
        if each.get("name") != "dhcp.option.type"
    }
    options = []
    shown = {}
    for option in layer.iter("field"):
        code = (
            int(option.get("show")) if option.get("name") == "dhcp.option.type" else 0
        )
        if code:
            data = bytes.fromhex(option.get("value"))
            options.append((int(option.get("pos")) - start, code, data[2:]))
            fields = shown.setdefault(code, {})
            for each in option.iter("field"):
                name = each.get("name").removeprefix("dhcp.")
                fields.setdefault(name, []).append(each.get("show"))
    return Seen(fixed, sorted(options), shown)


def pieces(message):
    """Our options as tshark's are."""
    return sorted(
        (piece.offset, piece.code, piece.data)
        for piece in message.pieces()
        if piece.code not in {None, 0, 255}
    )


def fixed(message):
    """Our fixed fields as tshark's are, but for the two of text."""
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
    if message.htype == 1:
        fields["hw.mac_addr"] = message.chaddr.hex(":")
    return fields


ADDRESSES = st.integers(0, 2**32 - 1)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-./", max_size=60)
# tshark reads no further where an option of a form it knows does not keep to it, so there
# are any bytes only in options that it knows no form of.
BYTES = st.dictionaries(st.integers(224, 248), st.binary(max_size=600), max_size=6)
# The text of 66 and 67 would be taken for that of ``sname`` and ``file``.
TEXTS = st.dictionaries(
    st.sampled_from([12, 14, 15, 17, 40, 56, 64, 66, 67, 114]),
    WORDS.filter(bool).map(str.encode),
    max_size=5,
)
LISTS = st.dictionaries(
    st.sampled_from([3, 4, 5, 6, 7, 8, 42, 44, 150]),
    st.lists(ADDRESSES.map(IP), min_size=1, max_size=90),
    max_size=2,
)


@st.composite
def random_messages(draw):
    """Messages that keep to the rules, with options in one area or in all."""
    options = {53: draw(st.sampled_from(MessageType))}
    for some in (TEXTS, LISTS, BYTES):
        options |= draw(some)
    limited = draw(st.booleans())
    return Message.build(
        op=draw(st.sampled_from([1, 2])),
        hops=draw(st.integers(0, 255)),
        xid=draw(ADDRESSES),
        # tshark takes a number to have its bytes swapped if the result would be small.
        secs=draw(st.integers(0, 65535).filter(lambda secs: not secs or secs % 256)),
        flags=draw(st.sampled_from([0, 0x8000])),
        ciaddr=draw(ADDRESSES),
        yiaddr=draw(ADDRESSES),
        siaddr=draw(ADDRESSES),
        giaddr=draw(ADDRESSES),
        chaddr=draw(st.binary(min_size=6, max_size=6)),
        sname="" if limited else draw(WORDS),
        file="" if limited else draw(WORDS),
        options=options,
        requested=bytes(options) if limited else None,
        limit=draw(st.integers(300, 900)) if limited else None,
    )


def some_messages(count):
    """As many random messages, the same ones each time."""
    found = []

    @seed(2131)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(random_messages())
    def collect(message):
        found.append(message)

    collect()
    return found


class TestTshark:
    """tshark reads what we have written."""

    def test_fixed_fields_and_types(self, tmp_path):
        """Every fixed field, and every type of message."""
        messages = [
            Message.build(**FIXED | {"op": 1 + (kind in {2, 5, 6})}, options={53: kind})
            for kind in MessageType
        ]
        for message, read in zip(
            messages, tshark(tmp_path / "a", messages), strict=True
        ):
            assert fixed(message).items() <= read.fixed.items()
            assert read.fixed["server"] == "server"
            assert read.fixed["file"] == "boot/file"
            assert read.shown[53]["option.dhcp"] == [str(int(message.type))]

    def test_hardware(self, tmp_path):
        """Hardware that is no Ethernet, and none at all."""
        messages = [
            Message.build(htype=6, chaddr=bytes(range(16)), options={53: 1}),
            Message.build(htype=32, hlen=0, options={53: 1}),
        ]
        long, none = tshark(tmp_path / "a", messages)
        assert fixed(messages[0]).items() <= long.fixed.items()
        assert long.fixed["hw.addr"] == bytes(range(16)).hex(":")
        assert fixed(messages[1]).items() <= none.fixed.items()

    def test_bootp(self, tmp_path):
        """A message without cookie is BOOTP to both."""
        message = Message.build(xid=5, chaddr=bytes.fromhex("020000000001"))
        (read,) = tshark(tmp_path / "a", [message])
        assert fixed(message).items() <= read.fixed.items()
        assert "cookie" not in read.fixed
        assert read.options == pieces(message) == []

    def test_values(self, tmp_path):
        """Options of many shapes."""
        messages = [one(code, value) for code, value, *_ in ROWS]
        for row, message, read in zip(
            ROWS, messages, tshark(tmp_path / "a", messages), strict=True
        ):
            code, _, _, fields = row
            assert read.options == pieces(message)
            assert {name: read.shown[code].get(name) for name in fields} == fields, code

    def test_long(self, tmp_path):
        """An option in several pieces, which tshark leaves to whoever looks."""
        value = bytes(range(256)) * 3
        message = Message.build(options={53: 1, 230: value, 231: b"x" * 255, 232: b""})
        (read,) = tshark(tmp_path / "a", [message])
        assert read.options == pieces(message)
        found = b"".join(data for _, code, data in read.options if code == 230)
        assert found == message.options[230] == value

    def test_overloaded(self, tmp_path):
        """Options in all three areas."""
        # tshark reads the two fields when it meets option 52, and not, as RFC 3396 section
        # 5 says, when it is done with the options; where an option stands is the same.
        options = {53: 2, 54: "192.0.2.1", 12: "a" * 60, 15: "b" * 90, 14: "c" * 50}
        message = Message.build(
            op=2, options=options, requested=bytes(options), limit=350
        )
        assert not message.dropped
        assert {piece.area for piece in message.pieces()} == {
            "options",
            "file",
            "sname",
        }
        (read,) = tshark(tmp_path / "a", [message])
        assert read.options == pieces(message)
        assert read.shown[52]["option.option_overload"] == ["3"]
        assert "file" not in read.fixed
        assert "server" not in read.fixed

    def test_random(self, tmp_path):
        """Two hundred random messages."""
        messages = some_messages(200)
        assert len(messages) > 150
        overloaded = 0
        for message, read in zip(
            messages, tshark(tmp_path / "a", messages), strict=True
        ):
            assert fixed(message).items() <= read.fixed.items()
            assert read.options == pieces(message)
            overload = message.get(52)
            overloaded += bool(overload)
            if not overload:
                assert read.fixed["server"] == message.sname.rstrip(b"\0").decode()
                assert read.fixed["file"] == message.file.rstrip(b"\0").decode()
        assert overloaded


# --- scapy ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scapy():
    """The module of DHCP in scapy, imported late because that takes long."""
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers import dhcp
    return dhcp


def scapy_options(scapy, message):
    """What scapy reads: options up to END, which must be there."""
    options = scapy.BOOTP(message.raw)[scapy.DHCP].options
    return options[: options.index("end")]


class TestScapy:
    """scapy reads what we have written, and we what scapy has."""

    def test_fixed_fields(self, scapy):
        """Every fixed field, both ways."""
        ours = Message.build(**FIXED, options={53: 2})
        theirs = scapy.BOOTP(**FIXED) / scapy.DHCP(options=[("message-type", 2), "end"])
        # scapy has all of a field's bytes; and pads nothing at the end.
        sizes = {"chaddr": 16, "sname": 64, "file": 128}
        read = scapy.BOOTP(ours.raw)
        for name, value in FIXED.items():
            expected = value.ljust(sizes[name], b"\0") if name in sizes else value
            assert getattr(read, name) == expected
        assert bytes(theirs).ljust(300, b"\0") == ours.raw

    @pytest.mark.parametrize("kind", MessageType)
    def test_types(self, scapy, kind):
        """Every type of message, both ways, by scapy's own name if it has one."""
        assert scapy_options(scapy, one(53, kind)) == [("message-type", kind)]
        name = scapy.DHCPTypes.get(int(kind), int(kind))
        data = bytes(
            scapy.BOOTP() / scapy.DHCP(options=[("message-type", name), "end"])
        )
        assert Message.decode(data).type is kind

    @pytest.mark.parametrize(("code", "value", "entry"), [row[:3] for row in ROWS])
    def test_values(self, scapy, code, value, entry):
        """Options of many shapes, both ways."""
        kinds = [("message-type", 1)]
        assert scapy_options(scapy, one(code, value)) == [*kinds, entry]
        data = bytes(scapy.BOOTP() / scapy.DHCP(options=[*kinds, entry, "end"]))
        message = Message.decode(data)
        kind = option_kind(code)
        assert message.options == {53: b"\1", code: kind.encode(value)}
        assert kind.encode(message.get(code)) == kind.encode(value)

    def test_all_at_once(self, scapy):
        """All of them in one message, in the order in which they are written."""
        values = {code: value for code, value, *_ in ROWS}
        message = Message.build(options={53: 1} | values)
        entries = {row[0]: row[2] for row in ROWS} | {53: ("message-type", 1)}
        expected = [entries[code] for code in message.options]
        assert scapy_options(scapy, message) == expected

    def test_long(self, scapy):
        """An option in several pieces: scapy joins none, and makes none by itself."""
        value = bytes(range(256)) * 3
        message = Message.build(options={53: 1, 43: value, 230: b"x" * 300})
        cut = [value[at : at + 255] for at in range(0, len(value), 255)]
        entries = [
            ("message-type", 1),
            *(("vendor_specific", each) for each in cut),
            (230, b"x" * 255),
            (230, b"x" * 45),
        ]
        assert scapy_options(scapy, message) == entries
        data = bytes(scapy.BOOTP() / scapy.DHCP(options=[*entries, "end"]))
        assert Message.decode(data).options == message.options

    def test_pads(self, scapy):
        """Pads among the options, and bytes behind their end."""
        entries = ["pad", ("message-type", 3), "pad", "pad", ("hostname", "a"), "end"]
        data = bytes(scapy.BOOTP() / scapy.DHCP(options=[*entries, ("domain", "b")]))
        assert Message.decode(data).options == {53: b"\3", 12: b"a"}

    def test_overloaded(self, scapy):
        """Options in all three areas; scapy must be told to read the two fields."""
        options = {53: 2, 54: "192.0.2.1", 12: "a" * 60, 15: "b" * 90, 14: "c" * 50}
        message = Message.build(
            op=2, options=options, requested=bytes(options), limit=350
        )
        read = scapy_options(scapy, message)
        for area in (message.file, message.sname):
            found = scapy.DHCP(area).options
            read += found[: found.index("end")]
        expected = {
            ("message-type", 2),
            ("dhcp-option-overload", 3),
            ("server_id", "192.0.2.1"),
            ("hostname", b"a" * 60),
            ("domain", b"b" * 90),
            ("dump_path", b"c" * 50),
        }
        assert len(read) == len(expected)
        assert set(read) == expected

    def test_joined(self, scapy):
        """An option in three areas, as scapy wrote them, is read in RFC 3396's order."""
        file = bytes(scapy.DHCP(options=[("hostname", "b"), ("domain", "d"), "end"]))
        sname = bytes(scapy.DHCP(options=[("hostname", "c"), "end"]))
        kinds = [("message-type", 1), ("dhcp-option-overload", 3), ("hostname", "a")]
        built = scapy.BOOTP(file=file, sname=sname) / scapy.DHCP(
            options=[*kinds, "end"]
        )
        options = Message.decode(bytes(built)).options
        assert options == {53: b"\1", 52: b"\3", 12: b"abc", 15: b"d"}
        assert list(options) == [53, 52, 12, 15]

    def test_random(self, scapy):
        """A hundred random messages: scapy reads the fields and bytes that we wrote."""
        for message in some_messages(100):
            read = scapy.BOOTP(message.raw)
            for name in ("op", "hops", "xid", "secs", "flags"):
                assert getattr(read, name) == getattr(message, name)
            for name in ("ciaddr", "yiaddr", "siaddr", "giaddr"):
                assert IP(getattr(read, name)) == IP(getattr(message, name))
            assert read.chaddr[:6] == message.chaddr
            assert (read.sname, read.file) == (message.sname, message.file)
            found = scapy_options(scapy, message)
            opaque = [each for each in found if type(each[0]) is int]
            assert opaque == [
                (piece.code, piece.data)
                for piece in message.pieces()
                if piece.area == "options" and (piece.code or 0) in range(224, 249)
            ]
