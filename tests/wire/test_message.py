"""What a message says of its options."""

from __future__ import annotations

import pytest
from support import IP

from dhcptwist.wire import Message, MessageType
from dhcptwist.wire.message import printable


class TestReading:
    """What a message says of its options."""

    @staticmethod
    def message(**options):
        """A message with these options; ``o53`` is option 53."""
        return Message.build(
            options={int(k[1:]): value for k, value in options.items()}
        )

    def test_types(self):
        """Every type of the registry is known by its name."""
        for kind in MessageType:
            assert self.message(o53=bytes([kind])).type is kind

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\x13", b"\xff"])
    def test_no_type(self, data):
        """An empty or undefined type is None, not an error."""
        assert self.message(o53=data).type is None

    def test_long_type(self):
        """TRAPS 28: a type sent twice is read by its first byte."""
        assert self.message(o53=b"\x01\x01").type is MessageType.DISCOVER

    def test_get(self):
        """An option is found by name and by number, and has its shape's value."""
        message = self.message(o3=bytes([192, 0, 2, 1, 192, 0, 2, 2]), o224=b"\0\1")
        assert message.get("routers") == [IP("192.0.2.1"), IP("192.0.2.2")]
        assert message.get(3) == message.get("3") == message.get("routers")
        assert message.get(224) == b"\0\1"
        assert message.get("domain-name") is None

    def test_get_refuses(self):
        """Bytes that do not fit the shape, and unknown names, are ValueErrors."""
        message = self.message(o3=b"abc")
        with pytest.raises(ValueError, match="4 bytes each"):
            message.get("routers")
        with pytest.raises(ValueError, match="no option named 'router'"):
            message.get("router")

    @pytest.mark.parametrize(
        ("data", "number"),
        [
            (b"\xc0\x00\x02\x07", 0xC0000207),
            (b"\xc0\x00\x02\x07\xc0\x00\x02\x07", 0xC0000207),
            (b"\xc0\x00\x02", 0),
            (b"", 0),
        ],
    )
    def test_address(self, data, number):
        """TRAPS 28: one address is four bytes; more are cut, fewer are none."""
        assert self.message(o54=data).address(54) == number

    def test_no_address(self):
        """An absent option is address 0."""
        assert self.message().address(54) == 0

    @pytest.mark.parametrize(
        ("data", "identifier"),
        [(b"", b""), (b"\x01", b""), (b"\x01\x02", b"\x01\x02"), (b"\0\0", b"\0\0")],
    )
    def test_client_id(self, data, identifier):
        """TRAPS 35: a client identifier has at least two bytes, or is none."""
        assert self.message(o61=data).client_id == identifier
        assert self.message().client_id == b""

    def test_requested_options(self):
        """The list in the client's order; None if absent or empty."""
        assert self.message(o55=b"\x03\x01\x03").requested_options == b"\x03\x01\x03"
        assert self.message(o55=b"").requested_options is None
        assert self.message().requested_options is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"box", "box"),
            (b"box\0", "box"),
            (b"box\0\0\0", "box"),
            (b"\0\0", ""),
            (b"", ""),
            (b"a\0b", r"a\x00b"),
            (b"a\nb\x1b[31m", r"a\x0ab\x1b[31m"),
            ("Büro".encode(), "Büro"),
            (b"B\xfcro", r"B\xfcro"),
            ("a\u2028b\u202e".encode(), r"a\u2028b\u202e"),
        ],
    )
    def test_host_name(self, data, text):
        """TRAPS 34: trailing NULs go, and what cannot be printed is spelt out."""
        assert self.message(o12=data).host_name == text
        assert printable(data) == text
        assert self.message().host_name == ""

    def test_relay_information(self):
        """The sub-options of option 82 by code."""
        assert self.message(o82=b"\1\1p\2\1r").relay_information == {1: b"p", 2: b"r"}
        assert self.message(o82=b"").relay_information == {}
        assert self.message().relay_information == {}

    def test_repr(self):
        """A message in one line says what a person looks for."""
        message = Message.build(
            xid=7,
            chaddr=b"\2\0\0\0\0\1",
            ciaddr="192.0.2.7",
            giaddr="192.0.2.1",
            options={53: b"\1", 12: b"box"},
        )
        assert repr(message) == (
            "<Message DISCOVER xid=0x00000007 02:00:00:00:00:01 ciaddr=192.0.2.7"
            " yiaddr=0.0.0.0 giaddr=192.0.2.1 options=[53, 12]>"
        )

    @pytest.mark.parametrize(
        ("op", "name"), [(1, "BOOTP"), (2, "BOOTREPLY"), (9, "BOOTP")]
    )
    def test_repr_without_type(self, op, name):
        """A message without a type is named by its direction."""
        assert repr(Message.build(op=op)).startswith(f"<Message {name} ")
