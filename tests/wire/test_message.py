"""What a message says of its options."""

from __future__ import annotations

import copy
import pickle

import pytest
from support import IP, packet

from dhcptwist.wire import (
    MalformedMessage,
    Message,
    MessageType,
    OptionKind,
    areas,
    values as v,
)
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


class TestValue:
    """A message is a value: it is its bytes."""

    RAW = Message.build(xid=1, options={53: b"\1", 12: "box"}).raw

    def test_equality(self):
        """Equal bytes are equal messages, and find each other in a set."""
        one, other = Message.decode(self.RAW), Message.decode(bytes(self.RAW))
        assert one == other
        assert hash(one) == hash(other)
        assert len({one, other}) == 1
        assert one != one.replace(xid=2)

    def test_what_is_no_message(self):
        """A message is not its bytes, but a thing of its own."""
        assert Message.decode(self.RAW) != self.RAW
        assert Message.decode(self.RAW).__eq__(self.RAW) is NotImplemented

    @pytest.mark.parametrize("looked_at", [False, True])
    @pytest.mark.parametrize(
        "again",
        [copy.copy, copy.deepcopy, lambda message: pickle.loads(pickle.dumps(message))],
        ids=["copy", "deepcopy", "pickle"],
    )
    def test_copies(self, again, looked_at):
        """A copy is equal, and knows what was left out, read or not read before."""
        message = Message(self.RAW, (6, 15))
        if looked_at:
            assert message.options
        twin = again(message)
        assert twin == message
        assert twin.dropped == (6, 15)
        assert twin.options == {53: b"\1", 12: b"box"}

    def test_dropped(self):
        """Nothing was left out of a message that came from outside."""
        assert Message.decode(self.RAW).dropped == ()
        assert Message.build().dropped == ()

    def test_lazy(self, monkeypatch):
        """Options are taken apart on the first look at them, once, and not before."""
        calls = []

        def split(data, start):
            calls.append(start)
            return areas.split(data, start)

        monkeypatch.setattr("dhcptwist.wire.contents.split", split)
        message = Message.decode(self.RAW)
        assert (message.xid, message.chaddr, message.wants_broadcast) == (1, b"", False)
        assert message == Message.decode(self.RAW)
        assert calls == []
        assert (message.type, message.host_name) == (MessageType.DISCOVER, "box")
        assert message.options is message.options
        assert calls == [240]

    def test_no_other_attributes(self):
        """A misspelt attribute is an error, not a new one."""
        with pytest.raises(AttributeError):
            Message.decode(self.RAW).xld = 5

    def test_subclass(self):
        """What makes a message of a message makes one of the same class."""

        class Mine(Message):
            """A subclass."""

        mine = Mine.decode(Message.build(options={53: 1}).raw)
        assert type(mine) is type(Mine.build()) is type(mine.replace(xid=2)) is Mine
        assert type(mine.reply(MessageType.OFFER, server="192.0.2.1")) is Mine


class TestShortcuts:
    """The options that everybody reads."""

    MESSAGE = Message.build(
        options={
            50: "192.0.2.7",
            54: "192.0.2.1",
            51: 3600,
            57: 1000,
            119: ["example.com"],
        }
    )

    def test_addresses(self):
        """Options 50 and 54 as numbers; 0 if they are not there."""
        assert self.MESSAGE.requested_address == int(IP("192.0.2.7"))
        assert self.MESSAGE.server_id == int(IP("192.0.2.1"))
        assert Message.build().requested_address == Message.build().server_id == 0

    @pytest.mark.parametrize(
        ("data", "seconds"),
        [
            (b"\0\0\x0e\x10", 3600),
            (b"\xff" * 4, 0xFFFFFFFF),
            (b"\0\0\0\0", 0),
            (b"\0\0\0\1\0\0\0\2", 1),
            (b"\0\0\1", None),
            (b"", None),
        ],
    )
    def test_lease_time(self, data, seconds):
        """Option 51 in seconds; cut off it is none, and sent twice the first counts."""
        assert Message.build(options={51: data}).lease_time == seconds
        assert Message.build().lease_time is None

    def test_size_limit(self):
        """Option 57 without the headers of IP and UDP."""
        assert self.MESSAGE.size_limit == 972
        assert Message.build().size_limit == 548

    def test_get_by_kind(self):
        """A private option is read by its own description, whatever is registered."""
        site = OptionKind(224, "site", v.U16)
        message = Message.build(options={site: 7, 12: b"box"})
        assert message.get(site) == 7
        assert message.get("option-224") == b"\0\7"
        assert message.get(OptionKind(12, "mine", v.OPAQUE)) == b"box"

    def test_get_default(self):
        """What is not there is the default, and only what is not there."""
        message = Message.build(options={80: b"", 19: False})
        assert message.get("domain-name", "lan") == "lan"
        assert message.get(80, "absent") is True
        assert message.get(19, "absent") is False

    @pytest.mark.parametrize(
        ("options", "offset"),
        [
            (b"\0\0\x0c\1h\x03\3abc\xff", 245),
            (b"\x03\1a\x0c\1h\x03\1b\xff", 240),
            (b"\x34\1\2\xff", 44),
        ],
    )
    def test_get_says_where(self, options, offset):
        """What does not fit names the option and where its first piece stands."""
        message = Message.decode(packet(options, sname=b"\x03\1a\xff"))
        with pytest.raises(MalformedMessage, match=r"^routers: ") as caught:
            message.get("routers")
        assert caught.value.offset == offset
