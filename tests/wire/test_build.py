"""Making a message."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support import IP, UNTIMED

from dhcptwist.wire import MalformedMessage, Message, MessageType
from dhcptwist.wire.areas import MINIMUM_SIZE
from dhcptwist.wire.building import encoded


class TestBuild:
    """Making a message."""

    def test_layout(self):
        """Fields, cookie, options in the order given, END, pads to 300 bytes."""
        message = Message.build(
            op=2,
            htype=6,
            hops=1,
            xid=0x01020304,
            secs=5,
            flags=0x8000,
            ciaddr=1,
            yiaddr="0.0.0.2",
            siaddr=IP(3),
            giaddr=4,
            chaddr=b"\2\0\0\0\0\1",
            sname=b"srv",
            file=b"boot",
            options={53: b"\5", 1: b"\xff\xff\xff\0"},
        )
        raw = message.encode()
        assert raw[:28] == bytes.fromhex(
            "02060601 01020304 0005 8000 00000001 00000002 00000003 00000004"
        )
        assert raw[28:44] == b"\2\0\0\0\0\1".ljust(16, b"\0")
        assert raw[44:108] == b"srv".ljust(64, b"\0")
        assert raw[108:236] == b"boot".ljust(128, b"\0")
        end = bytes.fromhex("63825363 350105 0104ffffff00 ff")
        assert raw[236:] == end.ljust(MINIMUM_SIZE - 236, b"\0")
        assert message.options == {53: b"\5", 1: b"\xff\xff\xff\0"}

    def test_minimum_size(self):
        """TRAPS 25: old relays throw away less than 300 bytes; longer has no pads."""
        assert len(Message.build().encode()) == MINIMUM_SIZE == 300
        options = {43: bytes(100)}
        assert len(Message.build(options=options).encode()) == 240 + 102 + 1

    def test_fields_at_their_limits(self):
        """What just fits is taken."""
        message = Message.build(
            op=255, htype=255, hops=255, xid=2**32 - 1, secs=65535, flags=65535,
            ciaddr=2**32 - 1, chaddr=bytes(16), sname=b"s" * 64, file=b"f" * 128,
        )  # fmt: skip
        assert (message.op, message.xid, message.ciaddr) == (255, 2**32 - 1, 2**32 - 1)
        assert message.sname + message.file == b"s" * 64 + b"f" * 128

    @pytest.mark.parametrize(
        "field",
        [
            {"chaddr": bytes(17)},
            {"sname": bytes(65)},
            {"file": bytes(129)},
            {"op": 256},
            {"op": -1},
            {"htype": 256},
            {"hops": 256},
            {"xid": 2**32},
            {"xid": -1},
            {"secs": 65536},
            {"flags": 65536},
            {"ciaddr": 2**32},
            {"yiaddr": "192.0.2"},
            {"siaddr": "192.0.2.256"},
            {"giaddr": -1},
            {"options": {256: b""}},
        ],
        ids=repr,
    )
    def test_refuses(self, field):
        """A field that does not fit is the caller's ValueError, not a MalformedMessage."""
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - bytes() words some
            Message.build(**field)
        assert not isinstance(caught.value, MalformedMessage)

    def test_the_mapping_is_copied(self):
        """What the caller does to the mapping afterwards changes nothing."""
        options = {53: b"\1"}
        message = Message.build(options=options)
        options[53] = b"\2"
        assert message.type is MessageType.DISCOVER

    @UNTIMED
    @given(
        st.dictionaries(
            st.integers(1, 254).filter(lambda code: code != 52),
            st.binary(max_size=600),
            max_size=12,
        ),
        st.binary(max_size=16),
    )
    def test_built(self, options, chaddr):
        """What is built is read again as it was meant, in the same order."""
        message = Message.build(options=options, chaddr=chaddr)
        again = Message.decode(message.encode())
        assert again == message
        assert list(again.options.items()) == list(encoded(options).items())
        assert again.options == options
        assert again.chaddr == chaddr
