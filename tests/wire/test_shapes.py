"""The shapes that options have, with vectors made by hand from the RFCs' text."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

import pytest

from dhcptwist.wire import Message, MessageType, option_kind
from dhcptwist.wire.codes import (
    Architecture,
    AutoConfigure,
    BindingState,
    HardwareType,
    NameService,
    NodeType,
    NonceAlgorithm,
    Overload,
    QueryStatus,
    ServerPreference,
)
from dhcptwist.wire.identity import DUID, duid_identifier, hardware_identifier
from dhcptwist.wire.lists import ADDRESSES, apart, braced, unbraced
from dhcptwist.wire.mixed import OCTETS, Bit, Bits, Flags, Tagged
from dhcptwist.wire.names import SEARCH_LIST, Domain
from dhcptwist.wire.pxe import PXE_OPTIONS
from dhcptwist.wire.records import Counted, Record
from dhcptwist.wire.relay import RADIUS_ATTRIBUTES, join, split
from dhcptwist.wire.special import CLIENT_FQDN, RESOLVERS, SIP_SERVERS
from dhcptwist.wire.suboptions import Enterprise, SubKind, SubOptions
from dhcptwist.wire.values import ADDRESS, OPAQUE, TEXT, U8, U16
from dhcptwist.wire.vendor import VENDOR_OPTIONS


IP = IPv4Address
IP6 = IPv6Address

ONE, TWO = IP("192.0.2.1"), IP("192.0.2.2")
A1, A2 = "c0000201", "c0000202"

# The option, its bytes, its value, and its text.
VECTORS = [
    # RFC 2132
    (43, "01 02 61 62 02 00", {"1": b"ab", "2": b""}, "1=hex:6162; 2=hex:"),
    (46, "08", NodeType.H_NODE, "h-node"),
    (52, "03", Overload.BOTH, "both"),
    (53, "0d", MessageType.LEASEACTIVE, "leaseactive"),
    (55, "01 03 e0", [1, 3, 224], "subnet-mask, routers, 224"),
    (
        61,
        "01 020000000001",
        {"ethernet": b"\2\0\0\0\0\1"},
        "ethernet=02:00:00:00:00:01",
    ),
    (61, "00 6162", {"opaque": b"ab"}, 'opaque="ab"'),
    (61, "00 ff00", {"opaque": b"\xff\0"}, "opaque=hex:ff00"),
    (61, "60 6162", b"`ab", '"`ab"'),
    # RFC 4361 section 6.1, RFC 8415 section 11: IAID, then a DUID of each type
    (
        61,
        "ff 00000001 0001 0001 00000002 020000000001",
        {
            "duid": {
                "iaid": 1,
                "duid": {
                    "llt": {
                        "hardware": HardwareType.ETHERNET,
                        "time": 2,
                        "address": b"\2\0\0\0\0\1",
                    }
                },
            }
        },
        "duid={1, llt={ethernet, 2, 02:00:00:00:00:01}}",
    ),
    (
        61,
        "ff 00000001 0002 00000009 0cc084d303000912",
        {
            "duid": {
                "iaid": 1,
                "duid": {
                    "en": {
                        "enterprise": 9,
                        "identifier": bytes.fromhex("0cc084d303000912"),
                    }
                },
            }
        },
        "duid={1, en={9, hex:0cc084d303000912}}",
    ),
    # RFC 4390: InfiniBand has no address in chaddr, and a DUID here
    (
        61,
        "ff 00000001 0003 0020 1122334455667788",
        {
            "duid": {
                "iaid": 1,
                "duid": {
                    "ll": {
                        "hardware": HardwareType.INFINIBAND,
                        "address": bytes.fromhex("1122334455667788"),
                    }
                },
            }
        },
        "duid={1, ll={infiniband, 11:22:33:44:55:66:77:88}}",
    ),
    (
        61,
        "ff 00000001 0004 00112233445566778899aabbccddeeff",
        {
            "duid": {
                "iaid": 1,
                "duid": {"uuid": UUID("00112233-4455-6677-8899-aabbccddeeff")},
            }
        },
        "duid={1, uuid=00112233-4455-6677-8899-aabbccddeeff}",
    ),
    (
        61,
        "ff 00000001 0009 01",
        {"duid": {"iaid": 1, "duid": b"\0\x09\1"}},
        "duid={1, hex:000901}",
    ),
    # RFC 2242 section 3
    (
        63,
        f"02 00 05 01 01 06 08 {A1} {A2} 08 01 05",
        {
            "exist-in-options-area": True,
            "nsq-broadcast": True,
            "preferred-dss": [ONE, TWO],
            "autoretries": 5,
        },
        (
            "exist-in-options-area=; nsq-broadcast=true;"
            " preferred-dss=192.0.2.1, 192.0.2.2; autoretries=5"
        ),
    ),
    # RFC 3004 section 4, and what iPXE sends
    (77, "02 7879 03 7a7a7a", ["xy", "zzz"], "xy, zzz"),
    (77, "02 7879", ["xy"], "{xy}"),
    (77, "69505845", "iPXE", "iPXE"),
    # RFC 2610 sections 3 and 4
    (78, f"01 {A1}", {"mandatory": True, "addresses": [ONE]}, "true, 192.0.2.1"),
    (
        79,
        "00 612c62",
        {"mandatory": False, "scopes": "a,b"},
        "false, a,b",
    ),
    (79, "01", {"mandatory": True, "scopes": ""}, "true"),
    # RFC 4702 sections 2 and 3.3: labels, full and partial; ASCII
    (
        81,
        "05 00 00 04 68 6f 73 74 07 65 78 61 6d 70 6c 65 00",
        {"flags": ["s", "e"], "rcode1": 0, "rcode2": 0, "name": "host.example."},
        "s e, 0, 0, host.example.",
    ),
    (
        81,
        "04 ff ff 04 68 6f 73 74",
        {"flags": ["e"], "rcode1": 255, "rcode2": 255, "name": "host"},
        "e, 255, 255, host",
    ),
    (
        81,
        "04 00 00 00",
        {"flags": ["e"], "rcode1": 0, "rcode2": 0, "name": "."},
        "e, 0, 0, .",
    ),
    (81, "04 0000", {"flags": ["e"], "rcode1": 0, "rcode2": 0, "name": ""}, "e, 0, 0"),
    (
        81,
        "1a 00 00 61 2e 62 2e",
        {"flags": ["o", "n", "0x10"], "rcode1": 0, "rcode2": 0, "name": "a.b."},
        "o n 0x10, 0, 0, a.b.",
    ),
    # RFC 4174 section 2
    (
        83,
        f"0001 0002 0003 00000004 {A1} {A2}",
        {
            "functions": 1,
            "dd_access": 2,
            "administration": 3,
            "security": 4,
            "addresses": [ONE, TWO],
        },
        "1, 2, 3, 4, 192.0.2.1, 192.0.2.2",
    ),
    # RFC 3118 section 5: delayed authentication
    (
        90,
        "01 01 00 0000000000000005 00000007 00112233445566778899aabbccddeeff",
        {
            "protocol": 1,
            "algorithm": 1,
            "rdm": 0,
            "replay_detection": 5,
            "information": bytes.fromhex("0000000700112233445566778899aabbccddeeff"),
        },
        "1, 1, 0, 5, hex:0000000700112233445566778899aabbccddeeff",
    ),
    # RFC 4578 section 2
    (93, "0000 0007", [Architecture.BIOS, Architecture.X64_UEFI], "bios, x64-uefi"),
    (93, "7777", [0x7777], "30583"),
    (94, "01 03 10", {"type": 1, "major": 3, "minor": 16}, "1, 3, 16"),
    (95, "6c6461703a2f2f78", "ldap://x", "ldap://x"),
    (
        97,
        "00 00112233445566778899aabbccddeeff",
        {"type": 0, "uuid": UUID("00112233-4455-6677-8899-aabbccddeeff")},
        "0, 00112233-4455-6677-8899-aabbccddeeff",
    ),
    # RFC 4776 section 3.1, its example of Germany's capital
    (
        99,
        "02 4445 00 02 6465 03 06 4265726c696e",
        {
            "what": 2,
            "country": "DE",
            "elements": {"language": "de", "city": "Berlin"},
        },
        "2, DE, language=de; city=Berlin",
    ),
    (100, "43455431", "CET1", "CET1"),
    (101, "4575726f70652f5a7572696368", "Europe/Zurich", "Europe/Zurich"),
    (108, "00000708", 1800, "1800"),
    (109, "20010db8" + "00" * 11 + "01", IP6("2001:db8::1"), "2001:db8::1"),
    (114, "68747470733a2f2f78", "https://x", "https://x"),
    (116, "01", AutoConfigure.AUTO_CONFIGURE, "auto-configure"),
    (117, "0006 0029", [NameService.DNS, NameService.NIS], "dns, nis"),
    # RFC 3397 section 2: the example's names, the second with a pointer to the first
    (
        119,
        "03656e67 056170706c65 03636f6d 00 096d61726b6574696e67 c004",
        ["eng.apple.com", "marketing.apple.com"],
        "eng.apple.com, marketing.apple.com",
    ),
    # RFC 3361 section 3
    (120, f"01 {A1} {A2}", [ONE, TWO], "192.0.2.1, 192.0.2.2"),
    (120, "00 0178 0179 00 017a 00", ["x.y", "z"], "x.y, z"),
    # RFC 3495 sections 5.1 to 5.8, RFC 3594, RFC 3634
    (
        122,
        (
            f"01 04 {A1} 03 06 00 0178 0179 00"
            " 04 0c 00000001 00000002 00000003 06 03 0152 00"
            f" 07 01 01 08 01 05 09 02 0003 0a 08 {A1} {A2}"
        ),
        {
            "tsp-primary-server": ONE,
            "tsp-provisioning-server": {"name": "x.y"},
            "tsp-as-parameters": {
                "nominal_timeout": 1,
                "maximum_timeout": 2,
                "maximum_retries": 3,
            },
            "tsp-realm": "R",
            "tsp-use-tgt": True,
            "tsp-provisioning-timer": 5,
            "tsp-sct": 3,
            "kdc-servers": [ONE, TWO],
        },
        (
            "tsp-primary-server=192.0.2.1; tsp-provisioning-server=name=x.y;"
            " tsp-as-parameters=1, 2, 3; tsp-realm=R; tsp-use-tgt=true;"
            " tsp-provisioning-timer=5; tsp-sct=3; kdc-servers=192.0.2.1, 192.0.2.2"
        ),
    ),
    # RFC 6225 section 2.2: nine bits of degrees before the point and 25 behind it
    (
        123,
        (
            f"{18 << 34 | 77 << 24:010x} {18 << 34 | 2**34 - (77 << 25):010x}"
            f" {1 << 36 | 17 << 30 | 15 << 8:010x} 01"
        ),
        {
            "latitude_resolution": 18,
            "latitude": 38.5,
            "longitude_resolution": 18,
            "longitude": -77.0,
            "altitude_type": 1,
            "altitude_resolution": 17,
            "altitude": 15.0,
            "reserved": 0,
            "datum": 1,
        },
        "18, 38.5, 18, -77.0, 1, 17, 15.0, 0, 1",
    ),
    (
        144,
        f"{7 << 34 | 0x3FFFFFFFF:010x} {63 << 34:010x} {0x3FFFFFFF:010x} 41",
        {
            "latitude_uncertainty": 7,
            "latitude": -(2**-25),
            "longitude_uncertainty": 63,
            "longitude": 0.0,
            "altitude_type": 0,
            "altitude_uncertainty": 0,
            "altitude": -(2**-8),
            "version": 1,
            "reserved": 0,
            "datum": 1,
        },
        "7, -2.9802322387695312e-08, 63, 0.0, 0, 0, -0.00390625, 1, 0, 1",
    ),
    # RFC 3925 sections 3 and 4
    (
        124,
        "00000009 05 02 6162 01 ff 0000118b 01 00",
        {9: [b"ab", b"\xff"], 4491: [b""]},
        '9: {"ab", hex:ff}; 4491: hex:00',
    ),
    (
        125,
        "00000de9 09 04 03 303032 05 02 7879 00000009 00",
        {
            3561: {"gateway-manufacturer-oui": "002", "gateway-serial-number": "xy"},
            9: {},
        },
        "3561: {gateway-manufacturer-oui=002; gateway-serial-number=xy}; 9: {}",
    ),
    (136, A1, [ONE], "192.0.2.1"),
    (137, "0178 0179 00", "x.y", "x.y"),
    (138, A1 + A2, [ONE, TWO], "192.0.2.1, 192.0.2.2"),
    # RFC 5678 section 2
    (
        139,
        f"01 04 {A1} 03 08 {A1} {A2}",
        {"information": [ONE], "event": [ONE, TWO]},
        "information=192.0.2.1; event=192.0.2.1, 192.0.2.2",
    ),
    (140, "02 05 0178 0179 00", {"command": ["x.y"]}, "command=x.y"),
    (141, "0178 00 0179 00", ["x", "y"], "x, y"),
    (142, A1, [ONE], "192.0.2.1"),
    # RFC 8572 section 8.1
    (
        143,
        "0009 68747470733a2f2f78 0009 68747470733a2f2f79",
        ["https://x", "https://y"],
        "https://x, https://y",
    ),
    (145, "01 02", [NonceAlgorithm.HMAC_MD5, 2], "hmac-md5, 2"),
    # RFC 6731 section 4.3: a root label is for all names
    (
        146,
        f"01 {A1} {A2} 00 0178 00",
        {
            "preference": ServerPreference.HIGH,
            "primary": ONE,
            "secondary": TWO,
            "domains": [".", "x"],
        },
        "high, 192.0.2.1, 192.0.2.2, ., x",
    ),
    (
        146,
        f"00 {A1} 00000000",
        {
            "preference": ServerPreference.MEDIUM,
            "primary": ONE,
            "secondary": IP(0),
            "domains": [],
        },
        "medium, 192.0.2.1, 0.0.0.0",
    ),
    (147, "0178 0179 00", "x.y", "x.y"),
    (148, A1, [ONE], "192.0.2.1"),
    (150, A1, [ONE], "192.0.2.1"),
    # RFC 6926 section 6.2
    (
        151,
        "03 6261642c207665727921",
        {"status": QueryStatus.MALFORMED_QUERY, "message": "bad, very!"},
        "malformed-query, bad, very!",
    ),
    (151, "00", {"status": QueryStatus.SUCCESS, "message": ""}, "success"),
    (152, "6553f100", 1700000000, "1700000000"),
    (153, "0000003c", 60, "60"),
    (154, "00000001", 1, "1"),
    (155, "00000002", 2, "2"),
    (156, "02", BindingState.ACTIVE, "active"),
    (157, "01", ["remote"], "remote"),
    (157, "00", [], "none"),
    # RFC 7291 section 4
    (
        158,
        f"08 {A1} {A2} 04 {A1}",
        [[ONE, TWO], [ONE]],
        "192.0.2.1, 192.0.2.2; 192.0.2.1",
    ),
    # RFC 7618 section 9
    (159, "06 04 9000", {"offset": 6, "psid_length": 4, "psid": 0x9000}, "6, 4, 36864"),
    (161, "68747470733a2f2f78", "https://x", "https://x"),
    # RFC 9463 section 5.1: with addresses and parameters, and the name alone
    (
        162,
        (
            f"001f 0001 05 0178 0179 00 08 {A1} {A2}"
            " 0001 0004 03 646f74 0003 0002 0355 0008 0002 05 0178 0179 00"
        ),
        [
            {
                "priority": 1,
                "name": "x.y",
                "addresses": [ONE, TWO],
                "parameters": {"alpn": ["dot"], "port": 853},
            },
            {"priority": 2, "name": "x.y", "addresses": [], "parameters": {}},
        ],
        "{1, x.y, {192.0.2.1, 192.0.2.2}, alpn=dot; port=853}; 2, x.y",
    ),
    (
        162,
        f"000d 0001 05 0178 0179 00 04 {A1}",
        [{"priority": 1, "name": "x.y", "addresses": [ONE], "parameters": {}}],
        "1, x.y, {192.0.2.1}",
    ),
    # what iPXE sends
    (
        175,
        "13 01 01 b1 05 0180861000 eb 03 010000",
        {"http": 1, "bus-id": b"\1\x80\x86\x10\0", "version": b"\1\0\0"},
        "http=1; bus-id=hex:0180861000; version=hex:010000",
    ),
    (175, "f5", b"\xf5", "hex:f5"),
    (176, "4d4349504144443d31", "MCIPADD=1", "MCIPADD=1"),
    (177, f"01 04 {A1}", {"tsp-primary-server": ONE}, "tsp-primary-server=192.0.2.1"),
    (208, "f100747e", b"\xf1\0\x74\x7e", "hex:f100747e"),
    # RFC 5969 section 7.1.1
    (
        212,
        f"08 20 20010db8{'00' * 12} {A1}",
        {
            "ipv4_mask_length": 8,
            "prefix_length": 32,
            "prefix": IP6("2001:db8::"),
            "border_relays": [ONE],
        },
        "8, 32, 2001:db8::, 192.0.2.1",
    ),
    (213, "0178 00", "x", "x"),
    # RFC 6656 section 3
    (
        220,
        f"00 01 02 02 18 02 0a 01 {A1} 1c 01 02 0001 03 02 7879 04 04 0000003c",
        {
            "flags": 0,
            "suboptions": {
                "request": {"flags": ["information"], "prefix": 24},
                "information": {
                    "flags": ["server"],
                    "subnets": [
                        {
                            "network": ONE,
                            "prefix": 28,
                            "flags": ["deprecated"],
                            "statistics": b"\0\1",
                        }
                    ],
                },
                "name": "xy",
                "suggested-lease-time": 60,
            },
        },
        (
            "0, request=information, 24;"
            " information=server, 192.0.2.1, 28, deprecated, hex:0001;"
            " name=xy; suggested-lease-time=60"
        ),
    ),
    # RFC 6607 section 3.1
    (221, "00 767066", {"name": "vpf"}, "name=vpf"),
    (221, "01 00112233445566", {"vpn-id": b'\0\x11"3DUf'}, "vpn-id=hex:00112233445566"),
    (221, "ff", {"global": True}, "global="),
    (221, "07 01", {"7": b"\1"}, "7=hex:01"),
]

# Every sub-option of option 82: its bytes, its value, and its text.
RELAY_VECTORS = [
    ("circuit-id", "01 04 65746830", b"eth0", '"eth0"'),
    ("circuit-id", "01 02 0004", b"\0\4", "hex:0004"),
    ("circuit-id", "01 03 613b62", b"a;b", '{"a;b"}'),
    ("remote-id", "02 00", b"", "hex:"),
    ("docsis-device-class", "04 04 00000002", 2, "2"),
    ("link-selection", f"05 04 {A1}", ONE, "192.0.2.1"),
    ("subscriber-id", "06 03 626f62", "bob", "bob"),
    # RFC 2865 section 5: the length counts type and length
    (
        "radius",
        "07 0b 01 05 626f62 1b 06 0000003c",
        {"user-name": "bob", "session-timeout": 60},
        "{user-name=bob; session-timeout=60}",
    ),
    (
        "authentication",
        f"08 10 01 01 0000000000000007 {A1} aabb",
        {
            "algorithm": 1,
            "rdm": 1,
            "replay_detection": 7,
            "relay": ONE,
            "information": b"\xaa\xbb",
        },
        "1, 1, 7, 192.0.2.1, hex:aabb",
    ),
    ("vendor-specific", "09 07 00000009 02 abcd", {9: b"\xab\xcd"}, "9: hex:abcd"),
    ("flags", "0a 01 80", ["unicast"], "unicast"),
    ("server-id-override", f"0b 04 {A1}", ONE, "192.0.2.1"),
    (
        "relay-id",
        "0c 08 0002 00000009 ffff",
        {"en": {"enterprise": 9, "identifier": b"\xff\xff"}},
        "en={9, hex:ffff}",
    ),
    ("access-technology-type", "0d 02 00 04", {"reserved": 0, "type": 4}, "0, 4"),
    ("access-network-name", "0e 02 7879", "xy", "xy"),
    ("access-point-name", "0f 02 7879", "xy", "xy"),
    ("access-point-bssid", "10 06 020000000001", b"\2\0\0\0\0\1", "02:00:00:00:00:01"),
    ("operator-id", "11 02 0001", b"\0\1", "hex:0001"),
    ("operator-realm", "12 02 7879", "xy", "xy"),
    ("relay-source-port", "13 00", True, ""),
    ("virtual-subnet-selection", "97 03 00 7879", {"name": "xy"}, "name=xy"),
    ("virtual-subnet-selection", "97 01 ff", {"global": True}, "global="),
    ("virtual-subnet-selection-control", "98 00", True, ""),
    ("3", "03 01 ff", b"\xff", "hex:ff"),
]


def way(shape, data, value, text):
    """Bytes to value, text and JSON, and each of them back."""
    assert shape.decode(data) == value
    assert shape.encode_plain(value) == data
    assert shape.decode_text(data) == text
    assert shape.encode_text(text) == data
    plain = shape.decode_plain(data)
    assert plain == shape.plain(value)
    assert shape.encode_plain(json.loads(json.dumps(plain))) == data


class TestVectors:
    """Bytes, value and text of every option that is more than addresses or numbers."""

    @pytest.mark.parametrize(("code", "data", "value", "text"), VECTORS)
    def test_option(self, code, data, value, text):
        """What the RFC's text says."""
        way(option_kind(code).shape, bytes.fromhex(data), value, text)

    @pytest.mark.parametrize(("name", "data", "value", "text"), RELAY_VECTORS)
    def test_relay(self, name, data, value, text):
        """Each sub-option that is registered for option 82."""
        shape = option_kind(82).shape
        way(shape, bytes.fromhex(data), {name: value}, f"{name}={text}")

    def test_every_relay_suboption(self):
        """None is left out."""
        known = {kind.name for kind in option_kind(82).shape.inner.kinds.values()}
        assert {row[0] for row in RELAY_VECTORS} == known | {"3"}

    def test_pxe(self):
        """PXE 2.1 section 2.2.3: option 43 with an end behind it."""
        data = bytes.fromhex(
            f"06 01 0b 08 07 0001 01 {A1} 09 07 0001 04 426f6f74 0a 04 05 507265"
            " 47 04 8000 0001 ff"
        )
        value = {
            "discovery-control": ["no-broadcast", "no-multicast", "no-menu"],
            "boot-server": [{"type": 1, "addresses": [ONE]}],
            "boot-menu": [{"type": 1, "text": "Boot"}],
            "menu-prompt": {"timeout": 5, "text": "Pre"},
            "boot-item": {"type": 0x8000, "layer": 1},
        }
        text = (
            "discovery-control=no-broadcast no-multicast no-menu;"
            " boot-server=1, 192.0.2.1; boot-menu=1, Boot; menu-prompt=5, Pre;"
            " boot-item=32768, 1"
        )
        way(PXE_OPTIONS.shape, data, value, text)
        message = Message.build(options={53: "offer", PXE_OPTIONS: value})
        assert message.get(PXE_OPTIONS) == value
        assert message.options[43] == data

    def test_option_43_with_pads(self):
        """TRAPS 37: pads and an end are no sub-options, and are not lost."""
        shape = option_kind(43).shape
        data = bytes.fromhex("00 01 01 61 00 ff 07")
        assert shape.decode(data) == {"1": b"a"}
        assert shape.decode_text(data) == "hex:0001016100ff07"

    def test_option_43_without_structure(self):
        """A vendor's own bytes are bytes."""
        assert option_kind(43).shape.decode(b"\1\5a") == b"\1\5a"


# What may not be written, and why.
REFUSED = [
    (46, "x-node", "'x-node' is not a number"),
    (55, "subnet", "no option named 'subnet'"),
    (61, "ethernet=x", "is not hexadecimal"),
    (61, "duid={x, 01}", "'x' is not a number"),
    (61, "duid={}", "is not IAID and DUID: iaid, duid"),
    (61, "token=01", "client identifier is never 'token'"),
    (63, "autoretries=5; autoretries=6", "autoretries stands twice"),
    (63, "300=00", "has no sub-option '300'"),
    (77, "a,,b", "has an empty entry"),
    (78, "true", "has an empty entry"),
    (94, "1", "is not network interface: type, major, minor"),
    (81, "x, 0, 0, host", "'x' is none of the FQDN flags"),
    (81, "e, 0, 0, a..b", "is not a domain name"),
    (81, "0x100, 0, 0, a", "none of the FQDN flags"),
    (97, "0, 1234", "'1234' is not a UUID"),
    (99, "2, DEU, city=x", "does not have 2 letters"),
    (109, "192.0.2.x", "is not an IPv6 address"),
    (120, "a..b", "is not a domain name"),
    (123, "1, 2, 3", "is not coordinates: latitude_resolution, "),
    (123, "64, 0, 0, 0, 0, 0, 0, 0, 0", "does not fit latitude_resolution"),
    (123, "0, 256, 0, 0, 0, 0, 0, 0, 0", "256.0 does not fit latitude"),
    (123, "0, nan, 0, 0, 0, 0, 0, 0, 0", "latitude is no number"),
    (124, "x: hex:00", "is not ENTERPRISE"),
    (125, "9: {1=hex:00}; 9: {}", "9 stands twice"),
    (125, f"9: {{1=hex:{'00' * 254}}}", "bytes do not fit"),
    (125, "4294967296: {}", "do not fit"),
    (162, "1", "is not a resolver: priority, name, addresses, parameters"),
    (221, "256=hex:00", "is never '256'"),
]

# What the shape does not allow on the wire, and why.
MALFORMED = [
    (63, "05 02 01", "sub-option 5 of NetWare/IP options runs past the end"),
    (63, "05", "sub-option 5 of NetWare/IP options runs past the end"),
    (77, "", "no user classes"),
    (78, "02 c0000201", "mandatory of SLP directory agents: a boolean"),
    (78, "01", "there are no addresses"),
    (81, "05 00", "rcode2 of client FQDN"),
    (81, "05 00 00 04 61", "label runs past the end"),
    (82, "01 04 65", "sub-option 1 of relay agent information runs past the end"),
    (90, "01 01 00 0000", "replay_detection of authentication"),
    (97, "00 0011", "uuid of machine identifier: UUID runs past the end"),
    (99, "02 44", "2 letters runs past the end"),
    (99, "02 44ff", "country of civic address"),
    (120, "02 00", "encoded as 0 .names. or 1 .addresses."),
    (123, "00" * 15, "coordinates has 16 bytes"),
    (124, "00000009 05 02 61", "runs past the end"),
    (124, "", "there is nothing in vendor classes"),
    (125, "00000009 00 00000009 00", "enterprise 9 stands twice"),
    (143, "0009 68", "runs past the end"),
    (143, "00", "the length of text is cut off"),
    (157, "", "data source have one byte"),
    (158, "03 c00002", "addresses has at least 4 bytes"),
    (162, "0001 00", "priority of resolver"),
    (221, "", "virtual subnet is cut off"),
]


class TestRefused:
    """What does not fit says why."""

    @pytest.mark.parametrize(("code", "text", "reason"), REFUSED)
    def test_text(self, code, text, reason):
        """A person learns what was wrong."""
        with pytest.raises(ValueError, match=reason):
            option_kind(code).shape.encode_text(text)

    @pytest.mark.parametrize(("code", "data", "reason"), MALFORMED)
    def test_bytes(self, code, data, reason):
        """The reason names the part, and the bytes print as hex."""
        shape = option_kind(code).shape
        data = bytes.fromhex(data)
        with pytest.raises(ValueError, match=reason):
            shape.decode(data)
        assert shape.decode_text(data) == f"hex:{data.hex()}"
        assert shape.describe(data) == f"hex:{data.hex()}"


class TestOptionNames:
    """Option 55 says names, and takes names, numbers and ``option-N``."""

    def test_ways_to_write(self):
        """All of them are the same option."""
        shape = option_kind(55).shape
        assert shape.encode_text("routers, 3, option-3, option-224") == b"\3\3\3\xe0"
        assert shape.encode_plain(["routers", 6]) == b"\3\6"
        assert shape.decode_plain(b"\3\xe0") == [3, 224]

    def test_large_numbers(self):
        """What is no byte is refused."""
        with pytest.raises(ValueError, match="does not fit a u8"):
            option_kind(55).shape.encode_text("256")


class TestIdentifiers:
    """What names a client (RFC 2132 section 9.14, RFC 4361, RFC 4390)."""

    def test_hardware(self):
        """A hardware type and its address, as most clients send it."""
        assert hardware_identifier(1, b"\2\0\0\0\0\1") == b"\1\2\0\0\0\0\1"

    @pytest.mark.parametrize(
        ("htype", "address"),
        [
            (32, bytes(20)),
            (24, bytes(8)),
            (1, b""),
            (0, b"a"),
            (255, b"a"),
            (256, b"a"),
        ],
    )
    def test_no_hardware(self, htype, address):
        """TRAPS 24: InfiniBand and FireWire need a DUID; so does who has no address."""
        with pytest.raises(ValueError, match=f"type {htype} names nobody"):
            hardware_identifier(htype, address)

    @pytest.mark.parametrize(
        "duid",
        [
            {"ll": {"hardware": 32, "address": b"\1\2"}},
            "ll={infiniband, 01:02}",
            bytes.fromhex("000300200102"),
            {"ll": {"hardware": "infiniband", "address": "01:02"}},
        ],
    )
    def test_duid(self, duid):
        """A DUID may be written in any form."""
        wanted = bytes.fromhex("ff 00000007 0003 0020 0102")
        assert duid_identifier(7, duid) == wanted
        assert option_kind(61).decode(wanted)["duid"]["iaid"] == 7

    def test_no_duid(self):
        """Numbers that are too large, and what is no DUID, are refused."""
        with pytest.raises(ValueError, match="does not fit a u32"):
            duid_identifier(2**32, b"\0\3")
        with pytest.raises(ValueError, match="DUID"):
            duid_identifier(1, {"ether": b""})

    def test_short(self):
        """TRAPS 35: what is too short to name anybody is bytes, not an error."""
        shape = option_kind(61).shape
        assert shape.decode(b"") == b""
        assert shape.decode(b"\1") == {"ethernet": b""}
        assert shape.decode_text(b"\1") == "ethernet="

    def test_cut_off_duid(self):
        """A DUID that is cut off is bytes."""
        assert DUID.decode(b"\0") == b"\0"
        assert option_kind(61).shape.decode(b"\xff\0") == {"duid": b"\0"}
        assert option_kind(61).shape.decode_text(b"\xff\0") == "duid=hex:00"
        assert DUID.decode(b"\0\4\1") == {"uuid": b"\1"}
        assert DUID.decode_plain(b"\0\4\1") == {"uuid": "hex:01"}


class TestOctets:
    """Bytes that are often text."""

    @pytest.mark.parametrize(
        ("data", "text", "plain"),
        [
            (b"eth0", '"eth0"', "eth0"),
            (b"cafe", '"cafe"', "cafe"),
            (b" ", '" "', " "),
            (b"hex:00", '"hex:00"', "hex:6865783a3030"),
            (b'a"b', "hex:612262", "hex:612262"),
            (b"{", "hex:7b", "hex:7b"),
            (b"\0", "hex:00", "hex:00"),
            (b"", "hex:", "hex:"),
        ],
    )
    def test_forms(self, data, text, plain):
        """Text in quotes, other bytes as hex digits; both come back."""
        assert OCTETS.decode_text(data) == text
        assert OCTETS.encode_text(text) == data
        assert OCTETS.decode_plain(data) == plain
        assert OCTETS.encode_plain(plain) == data

    def test_digits(self):
        """A person may leave out the ``hex:``."""
        assert OCTETS.encode_text("01:02ff") == b"\1\2\xff"
        with pytest.raises(ValueError, match="neither hexadecimal nor in quotes"):
            OCTETS.encode_text("eth0")

    def test_value(self):
        """Programs give text or bytes."""
        kind = option_kind(82)
        assert kind.encode({"circuit-id": "eth0"}) == b"\1\4eth0"
        assert kind.encode({"circuit-id": b"eth0", 2: "hex:00"}) == b"\1\4eth0\2\1\0"


class TestLists:
    """How lists are written."""

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("a, b", ["a", "b"]),
            ("{a, b}, c", ["{a, b}", "c"]),
            ("{{a,b},c},d", ["{{a,b},c}", "d"]),
            ("a", ["a"]),
        ],
    )
    def test_apart(self, text, parts):
        """Braces keep what they enclose together."""
        assert apart(text, ",") == parts

    def test_most(self):
        """The last part keeps its separators, but its braces must match."""
        assert apart("a, b, c", ",", 2) == ["a", "b, c"]
        assert apart("a, b", ",", 1) == ["a, b"]

    @pytest.mark.parametrize("text", ["{", "}", "}{", "a, {b", "{a}}, {b"])
    def test_braces(self, text):
        """Braces that do not match are refused."""
        with pytest.raises(ValueError, match="braces that do not match"):
            apart(text, ",")

    @pytest.mark.parametrize(
        ("text", "inner"),
        [("{a}", "a"), ("{ a, b }", "a, b"), ("{a}, {b}", "{a}, {b}"), ("a}", "a}")],
    )
    def test_unbraced(self, text, inner):
        """Only braces around all of it go."""
        assert unbraced(text) == inner

    @pytest.mark.parametrize("text", ["a", "a, b", "{a}", "{a}, {b}"])
    def test_braced(self, text):
        """What was put into braces comes out as it was."""
        assert unbraced(braced(text, ",")) == text


class TestParts:
    """The shapes that others are made of."""

    def test_record(self):
        """A dict must have just the fields; the reason says which."""
        shape = Record("pair", first=U8, second=TEXT)
        assert shape.encode_plain({"first": "1", "second": " x"}) == b"\1 x"
        assert shape.encode("1, x") == b"\1x"
        assert shape.parse("hex:01, x") == {"first": b"\1", "second": "x"}
        assert shape.encode(shape.parse("hex:01, {x, y}")) == b"\1x, y"
        with pytest.raises(ValueError, match="wrong or missing: second, third"):
            shape.encode({"first": 1, "third": 2})
        assert Record("one", only=TEXT).encode_text("a, b") == b"a, b"
        assert Record("fixed", first=U8, second=U16).size == 3

    def test_counted(self):
        """A length of any width, in any unit."""
        assert Counted(TEXT, 2).encode_text("ab") == b"\0\2ab"
        assert Counted(ADDRESS, unit=4).encode(ONE) == b"\1\xc0\0\2\1"
        with pytest.raises(ValueError, match="of 3 bytes does not fit"):
            Counted(TEXT, unit=2).encode("abc")
        with pytest.raises(ValueError, match="of 256 bytes does not fit"):
            Counted(OPAQUE).encode(bytes(256))
        with pytest.raises(ValueError, match=r"is no .*addresses"):
            Counted(ADDRESSES).encode_plain(5)
        assert Counted(TEXT).decode(b"\1ab") == "a"

    def test_suboptions(self):
        """Names and numbers lead to the same; the first of two counts."""
        shape = SubOptions("test", [SubKind(1, "one", U8)])
        assert shape.encode({"one": 5, 2: b"x"}) == b"\1\1\5\2\1x"
        assert shape.encode("1=5") == b"\1\1\5"
        assert shape.decode(b"\1\1\5\1\1\6") == {"one": 5}
        assert shape.decode(b"\1\0") == {"one": b""}
        assert shape.decode_text(b"\1\0") == "one=hex:"
        assert shape.decode_plain(b"\1\0") == {"one": "hex:"}
        with pytest.raises(ValueError, match="is not NAME=VALUE"):
            shape.encode_text("one")
        with pytest.raises(ValueError, match="256 bytes is too long"):
            shape.encode({2: bytes(256)})

    def test_inclusive_length(self):
        """RFC 2865 section 5: a RADIUS length below two is none."""
        with pytest.raises(ValueError, match="sub-option 1 of RADIUS attributes runs"):
            RADIUS_ATTRIBUTES.decode(b"\1\1")
        with pytest.raises(ValueError, match="too long"):
            RADIUS_ATTRIBUTES.encode({"user-name": "x" * 254})

    def test_enterprise(self):
        """RFC 3925: a block whose inside is something else is bytes."""
        shape = Enterprise("test", U16)
        assert shape.decode(b"\0\0\0\1\1\5") == {1: b"\5"}
        assert shape.decode_text(b"\0\0\0\1\1\5") == "1: hex:05"
        assert shape.decode_plain(b"\0\0\0\1\1\5") == {"1": "hex:05"}
        assert shape.encode("1: 5") == b"\0\0\0\1\2\0\5"
        with pytest.raises(ValueError, match="there is nothing in test"):
            shape.encode({})

    def test_tagged(self):
        """One thing at a time, by name or number."""
        shape = Tagged("test", {1: ("one", U8)}, width=2)
        assert shape.encode({"1": 5}) == shape.encode("one=5") == b"\0\1\5"
        assert shape.encode_text("7=0a") == b"\0\7\x0a"
        assert shape.decode(b"\0\1") == {"one": b""}
        with pytest.raises(ValueError, match="is one thing, not 2"):
            shape.encode({"one": 1, "7": b""})

    def test_flags(self):
        """Flags by name and by number."""
        shape = Flags("flags", low=1, very_high=0x80)
        assert shape.decode_text(b"\x81") == "low very-high"
        assert shape.decode_text(b"\x42") == "0x42"
        assert shape.encode("LOW 0x40") == shape.encode(["low", 0x40]) == b"\x41"
        with pytest.raises(ValueError, match="'high' is none of the flags"):
            shape.encode_text("high")

    def test_bits(self):
        """All fields must be there."""
        shape = Bits("test", Bit("first", 4), Bit("second", 4, signed=True))
        assert shape.encode("1, -1") == b"\x1f"
        assert shape.decode(b"\x1f") == {"first": 1, "second": -1}
        with pytest.raises(ValueError, match="has the fields first, second"):
            shape.encode({"first": 1})

    def test_root(self):
        """RFC 6731: a single dot is a name where a name may be the root."""
        assert Domain(root=True).encode_text(".") == b"\0"
        assert Domain(root=True).decode(b"\0") == "."

    def test_long_name(self):
        """Nobody's time is spent on text that is far too long for a name."""
        with pytest.raises(ValueError, match="is too long for a domain name"):
            Domain().encode_text("ä" * 100000)

    def test_sip_servers(self):
        """RFC 3361: a value's own kind says how it is encoded."""
        shape = option_kind(120).shape
        assert shape.encode(["192.0.2.1"]) == b"\1\xc0\0\2\1"
        assert shape.encode(["x"]) == b"\0\1x\0"

    def test_text_for_values(self):
        """Where a value has parts, its text will do as well."""
        assert SEARCH_LIST.encode("a, b.a") == b"\1a\0\1b\xc0\0"
        assert CLIENT_FQDN.encode("e, 0, 0, a") == b"\4\0\0\1a"
        assert SIP_SERVERS.encode("a") == b"\0\1a\0"
        assert VENDOR_OPTIONS.encode("1=00") == b"\1\1\0"
        assert VENDOR_OPTIONS.encode(b"\5") == b"\5"
        assert RESOLVERS.encode("1, a") == b"\0\6\0\1\3\1a\0"
        assert RESOLVERS.element.inner.encode("1, a") == b"\0\1\3\1a\0"

    def test_name_of_many_labels(self):
        """RFC 1035 section 2.3.4: labels may be short and yet too many."""
        with pytest.raises(ValueError, match="too long for a domain name"):
            Domain().encode_text(".".join("a" * 128))

    def test_relay_helpers(self):
        """`split` takes what can be taken; `join` undoes it."""
        assert split(b"\1\1a\2\5b") == {1: b"a"}
        assert join({1: b"a", 2: b""}) == b"\1\1a\2\0"
