r"""DHCP as bytes: packets decoded and encoded right, with the standard library only.

    >>> from dhcptwist.wire import Message, MessageType
    >>> discover = Message.build(xid=7, chaddr=bytes(6), options={53: "discover"})
    >>> Message.decode(discover.encode()).type is MessageType.DISCOVER
    True

``Message.decode`` raises ``MalformedMessage`` and nothing else.
"""

from __future__ import annotations

from .codes import HardwareType, MessageType
from .diagnosis import Diagnostic
from .document import from_document, from_json, to_document, to_json
from .message import MalformedMessage, Message
from .options import OPTION_KINDS, OptionKind, OptionTable, option_kind
from .text import from_text, to_text


__all__ = [
    "OPTION_KINDS",
    "Diagnostic",
    "HardwareType",
    "MalformedMessage",
    "Message",
    "MessageType",
    "OptionKind",
    "OptionTable",
    "from_document",
    "from_json",
    "from_text",
    "option_kind",
    "to_document",
    "to_json",
    "to_text",
]
