"""Coverage-guided fuzzing of the packet library, by atheris.

    python fuzz/wire.py [-max_total_time=SECONDS] [-runs=NUMBER] [CORPUS ...]

It gives `dhcptwist.wire` bytes that lead it down new paths, and stops with a traceback
at the first broken promise: any exception but `MalformedMessage` from decoding, a
message that does not come back as the same bytes, a text or JSON form that loses
something, a reply over its limit.  The bytes are left in a file ``crash-…``; give that
file as the argument to see it again.  Folders named are read, and new inputs are added
to the first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris


with atheris.instrument_imports(include=["dhcptwist.wire"]):
    from dhcptwist.wire import MalformedMessage, Message, MessageType, option_kind
    from dhcptwist.wire.agent import deliver, forward
    from dhcptwist.wire.document import from_json, to_json
    from dhcptwist.wire.text import from_text, to_text


REPLIES = {
    MessageType.DISCOVER: MessageType.OFFER,
    MessageType.REQUEST: MessageType.ACK,
}


def check(data: bytes) -> None:
    """Hold the library to what it promises of any bytes."""
    try:
        message = Message.decode(data)
    except MalformedMessage as error:
        assert 0 <= error.offset <= len(data)
        return
    assert message.encode() == data
    assert message.replace() == message
    assert from_text(to_text(message)) == message
    assert from_json(to_json(message)) == message
    assert all(0 <= each.offset <= len(data) for each in message.diagnostics)
    assert repr(message).isprintable()
    assert message.host_name.isprintable()
    for code, value in message.options.items():
        shape = option_kind(code).shape
        assert shape.encode_text(shape.decode_text(value)) == value
        assert shape.encode_plain(shape.decode_plain(value)) == value
        shape.describe(value)
        try:
            message.get(code)
        except MalformedMessage as error:
            assert 44 <= error.offset < len(data)
    answer(message)


def answer(message: Message) -> None:
    """Pass a message on and reply to it."""
    try:
        up = forward(message, "192.0.2.1", {1: b"port"})
    except ValueError as error:
        assert "at most 65535" in str(error)  # it was as long as can be
        return
    if up is not None and message.options:
        assert Message.decode(up.encode()).options.keys() >= message.options.keys() - {
            52
        }
    kind = REPLIES.get(message.type) if message.type else None
    if kind is not None:
        reply = message.reply(
            kind,
            server="192.0.2.9",
            yiaddr="192.0.2.7",
            lease_time=60,
            options={3: b"\1" * 200},
        )
        assert len(reply.raw) <= message.size_limit
        assert not reply.giaddr or deliver(reply, reply.giaddr)


def seeds() -> Iterator[bytes]:
    """Messages to begin with: small ones that have every option there is."""
    for kind in MessageType:
        yield Message.build(chaddr=bytes(6), options={53: bytes([kind])}).raw
    for code in range(1, 255):
        yield Message.build(options={53: b"\1", code: b"\1\2\3\4"}).raw[:260]
    yield Message.build(
        options={52: b"\3", 53: b"\3"}, file=b"\x0c\1a", sname=b"\6\0"
    ).raw
    yield Message.build().raw


def main() -> None:
    """Run until something breaks, or as long as the arguments say."""
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders and Path(folders[0]).is_dir():
        for number, seed in enumerate(seeds()):
            Path(folders[0], f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
