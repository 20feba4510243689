"""Packets of real clients, read by us and by others."""

from __future__ import annotations

import pytest
from support import IP, corpus, packet, survives

from dhcptwist.wire import Message, MessageType, option_kind


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

    def test_against_dissections(self):
        """Fields and options of every capture are those that tshark reads."""
        for each in corpus("local_clients.jsonl"):
            data = bytes.fromhex(each["hex"])
            message = Message.decode(data)
            assert message.encode() == data
            options = {}
            for option in each["dissection"]["options"]:
                value = bytes.fromhex(option["value"] or "")
                options[option["code"]] = options.get(option["code"], b"") + value
            read = list(message.options.items())
            assert read == list(options.items()), each["source"]
            said = each["dissection"]["fixed"]
            fixed = {
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
                "hw.mac_addr": message.chaddr.hex(":"),
                "server": message.sname.rstrip(b"\0").decode(),
                "file": message.file.rstrip(b"\0").decode(),
            }
            assert {name: said[name] for name in fixed} == fixed, each["source"]
            assert each["dissection"]["msgtype"] == message.type

    def test_values_against_dissections(self):
        """Addresses, numbers and texts of every capture are those that tshark reads."""
        shown = {
            1: "subnet_mask", 3: "router", 6: "domain_name_server", 12: "hostname",
            15: "domain_name", 28: "broadcast_address", 42: "ntp_server",
            50: "requested_ip_address", 51: "ip_address_lease_time", 53: "dhcp",
            54: "dhcp_server_id", 55: "request_list_item", 56: "message",
            57: "dhcp_max_message_size", 58: "renewal_time_value",
            59: "rebinding_time_value", 60: "vendor_class_id", 66: "tftp_server_name",
            67: "bootfile_name", 93: "client_system_architecture",
            116: "dhcp_auto_configuration",
        }  # fmt: skip
        for each in corpus("local_clients.jsonl"):
            for option in each["dissection"]["options"]:
                code = option["code"]
                if code in shown:
                    name = f"dhcp.option.{shown[code]}"
                    said = [value for key, value in option["fields"] if key == name]
                    data = bytes.fromhex(option["value"])
                    shape = option_kind(code).shape
                    value = shape.decode(data)
                    text = shape.describe(data)
                    if code in {53, 55, 93, 116}:  # these have names here
                        numbers = value if isinstance(value, list) else [value]
                        text = ", ".join(str(int(number)) for number in numbers)
                    assert text == ", ".join(said), (each["source"], code)

    def test_devices(self):
        """What devices are known to send is what we read, in their order."""
        for each in corpus("devices.jsonl"):
            data = bytes.fromhex(each["hex"])
            message = Message.decode(data)
            assert message.encode() == data
            order = [code for code in each["option_order"] if code not in {0, 255}]
            if 53 not in order:
                order.insert(0, 53)  # whoever made the packets did so too
            assert list(message.options) == list(dict.fromkeys(order)), each["device"]
            # For some devices it is known only that they send these options.
            if 55 in message.options and each["prl"]:
                assert list(message.requested_options) == each["prl"], each["device"]
            if 60 in message.options and each["vendor_class"]:
                vendor = message.get("vendor-class-identifier")
                assert vendor == each["vendor_class"], each["device"]

    def test_hostile(self):
        """What broke other servers is a message or malformed, and nothing else."""
        for each in corpus("hostile.jsonl"):
            survives(bytes.fromhex(each["hex"]))
