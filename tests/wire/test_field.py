"""Packets of real clients, read by us and by others."""

from __future__ import annotations

import pytest
from support import IP, packet

from dhcptwist.wire import Message, MessageType


def field_packet(head, tail, size):
    """A packet from the field whose ``sname`` and ``file`` are empty."""
    data = bytes.fromhex(head).ljust(236, b"\0") + bytes.fromhex(tail)
    return data.ljust(size, b"\0")


# What real clients and relays sent, and what tshark 4.0 reads in it.
FIELD = [
    pytest.param(
        field_packet(
            "01010601e5e4e43500000000000000000000000000000000c0a83201961e834ca66b",
            "638253633501013902024037070103060c0f1c2a3c0c756468637020312e33352e303d0701961e"
            "834ca66b520501036d7231ff",
            300,
        ),
        {"xid": 0xE5E4E435, "hops": 1, "giaddr": 0xC0A83201},
        {
            53: "01",
            57: "0240",
            55: "0103060c0f1c2a",
            60: "756468637020312e33352e30",
            61: "01961e834ca66b",
            82: "01036d7231",
        },
        id="udhcpc-through-dhcrelay",
    ),
    pytest.param(
        field_packet(
            "01010600c207359e00010000000000000000000000000000000000000200000064c1",
            "638253633501013d13ffe23095f500020000ab110033bdebf95e192c37090103060c0f212a7879"
            "390205c00c02766dff",
            284,
        ),
        {"xid": 0xC207359E, "secs": 1, "chaddr": bytes.fromhex("0200000064c1")},
        {
            53: "01",
            61: "ffe23095f500020000ab110033bdebf95e192c",
            55: "0103060c0f212a7879",
            57: "05c0",
            12: "766d",
        },
        id="systemd-networkd",
    ),
    pytest.param(
        field_packet(
            "020106001c23a4380000000000000000c0a8644bc0a86401000000000200000064c1",
            "638253633501023604c0a8640133040000007842046d617400430e756e64696f6e6c792e6b7078"
            "65003a040000003c3b04000000690104ffffff001c04c0a864ff510b05ffff076d6174686f7374"
            "2a04c0a864010f0b6d61742e6578616d706c650604c0a864010304c0a86401ff",
            346,
        ),
        {"op": 2, "yiaddr": 0xC0A8644B, "siaddr": 0xC0A86401},
        {
            53: "02",
            54: "c0a86401",
            51: "00000078",
            66: "6d617400",
            67: "756e64696f6e6c792e6b70786500",
            58: "0000003c",
            59: "00000069",
            1: "ffffff00",
            28: "c0a864ff",
            81: "05ffff076d6174686f7374",
            42: "c0a86401",
            15: "6d61742e6578616d706c65",
            6: "c0a86401",
            3: "c0a86401",
        },
        id="offer-of-another-server",
    ),
    pytest.param(
        field_packet(
            "01010600e547de1100000000000000000000000000000000000000000200000064c1",
            "63825363ff",
            300,
        ),
        {"type": None, "xid": 0xE547DE11},
        {},
        id="bootpc",
    ),
]


class TestField:
    """Packets of real clients, read by us and by others."""

    @pytest.mark.parametrize(("data", "fields", "options"), FIELD)
    def test_literals(self, data, fields, options):
        """What others read in these packets is what we read."""
        message = Message.decode(data)
        assert message.encode() == data
        assert {name: getattr(message, name) for name in fields} == fields
        read = [(code, value.hex()) for code, value in message.options.items()]
        assert read == list(options.items())

    def test_overloaded(self):
        """A DISCOVER with both fields overloaded, from a public test suite."""
        message = Message.decode(
            packet(
                bytes.fromhex(
                    "3501013902024e3704011c032b330400000e10340103380750616464696e67003d0701"
                    "00006c82dc4eff"
                ),
                sname=b"\x38\x14sname field overload\xff",
                file=b"\x38\x18file name field overload\xff",
            )
        )
        said = b"Paddingfile name field overloadsname field overload"
        assert message.options[56] == said
        assert list(message.options) == [53, 57, 55, 51, 52, 56, 61]

    def test_names_and_values(self):
        """A relay's packet, by name, in the shapes a person would expect."""
        message = Message.decode(FIELD[0].values[0])
        assert message.type is MessageType.DISCOVER
        assert message.get("vendor-class-identifier") == "udhcp 1.35.0"
        assert message.get("dhcp-max-message-size") == 576
        assert message.requested_options == bytes([1, 3, 6, 12, 15, 28, 42])
        assert message.relay_information == {1: b"mr1"}
        offer = Message.decode(FIELD[2].values[0])
        assert offer.get("boot-file-name") == "undionly.kpxe"
        assert offer.get("routers") == [IP("192.168.100.1")]
