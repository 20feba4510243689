"""What the tests of the packet library share."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hypothesis import HealthCheck, settings

from dhcptwist.wire import MalformedMessage, Message, MessageType, option_kind
from dhcptwist.wire.codes import MAGIC_COOKIE


# Packets with what others read in them; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

IP = IPv4Address
NET = IPv4Network

# However slow the machine is, that is no failure.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def corpus(name):
    """The lines of a file of the corpus, or nothing where there is no corpus."""
    path = CORPUS / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def packet(options=b"", *, sname=b"", file=b"", head=b"\x01\x01\x06\x00"):
    """A datagram with these bytes behind the cookie and in its two other areas."""
    fields = sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return head.ljust(44, b"\0") + fields + MAGIC_COOKIE + options


def options_of(options=b"", **fields):
    """The options that are read from such a datagram."""
    return dict(Message.decode(packet(options, **fields)).options)


def survives(data):
    """Only MalformedMessage comes out of decode; everything else can be read."""
    try:
        message = Message.decode(data)
    except MalformedMessage:
        assert len(data) < 236 or data[2] > 16
        return
    assert message.encode() == data
    assert all(0 < code < 255 for code in message.options)
    assert sum(map(len, message.options.values())) <= len(data)
    assert message.type in {None, *MessageType}
    assert 0 <= message.address(50) < 2**32
    assert message.host_name.isprintable()
    assert isinstance(message.relay_information, dict)
    assert len(message.client_id) != 1
    assert repr(message).isprintable()
    for code in message.options:
        kind = option_kind(code)
        text = kind.shape.decode_text(message.options[code])
        assert kind.shape.encode_text(text) == message.options[code]
        try:
            message.get(code)
        except MalformedMessage as error:
            assert kind.name in error.reason  # noqa: PT017
            assert 44 <= error.offset < len(data)  # noqa: PT017
