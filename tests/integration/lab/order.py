"""What a server heard, wrote and said, in the order in which it did, by strace."""

from __future__ import annotations

from pathlib import Path

from promises import FILE

from dhcptwist.wire import Message
from lab.stage import ACK, REQUEST
from lab.strace import Call


def message_of(call: Call, kind: int) -> Message | None:
    """Read the message of a kind that a call has brought, or sends; or None."""
    if "sa_family=AF_INET," not in call.arguments:
        return None  # what the server asks the kernel about its interfaces, say
    assert call.name in {"recvfrom", "sendto"}, f"{call.name} is not understood"
    if call.name != ("recvfrom" if kind == REQUEST else "sendto"):
        return None
    message = Message.decode(call.data)
    return message if message.type == kind else None


def replies(
    calls: list[Call],
) -> tuple[dict[tuple[bytes, int], Call], dict[tuple[bytes, int], Call]]:
    """Find where each REQUEST was read, and where its ACK was sent."""
    asked: dict[tuple[bytes, int], Call] = {}
    answered: dict[tuple[bytes, int], Call] = {}
    for call in calls:
        if request := message_of(call, REQUEST):
            asked.setdefault((request.raw[28:34], request.xid), call)
        elif ack := message_of(call, ACK):
            answered[ack.raw[28:34], ack.xid] = call
    return asked, answered


def unsynced(calls: list[Call], state: Path) -> list[Message]:
    """Give the ACKs that were sent with no sync of the log since their REQUEST came."""
    log = str(state / f"{FILE}-wal")
    syncs = [
        call
        for call in calls
        if call.name in {"fdatasync", "fsync"} and call.path == log and call.result == 0
    ]
    asked, answered = replies(calls)
    return [
        Message.decode(sent.data)
        for who, sent in answered.items()
        if not any(
            asked[who].ended < sync.begun and sync.ended < sent.begun for sync in syncs
        )
    ]
