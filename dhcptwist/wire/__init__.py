r"""DHCP as bytes: packets decoded and encoded right, with the standard library only.

    >>> from dhcptwist.wire import Message, MessageType
    >>> discover = Message.build(xid=7, chaddr=bytes(6), options={53: b"\x01"})
    >>> Message.decode(discover.encode()).type is MessageType.DISCOVER
    True

``Message.decode`` raises ``MalformedMessage`` and nothing else.
"""

from __future__ import annotations

from .codes import HardwareType, MessageType
from .message import MalformedMessage, Message
from .options import OPTION_KINDS, OptionKind, option_kind


__all__ = [
    "OPTION_KINDS",
    "HardwareType",
    "MalformedMessage",
    "Message",
    "MessageType",
    "OptionKind",
    "option_kind",
]
