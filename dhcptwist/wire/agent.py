"""What a relay agent does to messages (RFC 1542 section 4.1, RFC 3046 section 2).

A function for each way: `forward` for what clients send, `deliver` for what the server
answers.  Neither opens a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from .areas import LARGEST_SIZE, MINIMUM_SIZE, beginning
from .building import AnyAddress, number
from .codes import BOOTREPLY, BOOTREQUEST, RELAY_AGENT_INFORMATION
from .message import Message
from .options import OPTION_KINDS
from .suboptions import split


#: A relay silently discards what has been passed on more often (RFC 1542 section 4.1.1).
MOST_HOPS = 16


class Present(Enum):
    """What to do with option 82 that a message has which no relay has had before us.

    RFC 3046 section 2.1.1 lets a switch put it there, if the circuit is trusted.  From
    anyone else it is forged.
    """

    DISCARD = "discard"  # the whole message: the circuit is not trusted
    KEEP = "keep"  # pass it on as it is: a switch that we trust put it there
    REPLACE = "replace"  # take it out, and put ours in if we have any


def forward(
    message: Message,
    giaddr: AnyAddress,
    information: Mapping[str | int, object] | None = None,
    *,
    present: Present = Present.DISCARD,
    most_hops: int = MOST_HOPS,
    limit: int = LARGEST_SIZE,
) -> Message | None:
    """A client's message as it goes on to the server; None if it must be discarded.

    What another relay has passed on already gets no information of ours.

    Args:
        message: What the client, or a relay before us, sent.
        giaddr: Our address on the side that it came from.
        information: Sub-options of option 82 by name or number, to be added.
        present: What to do if there is such information already.
        most_hops: How many relays may have had it before us.
        limit: The most bytes that the way to the server carries.  Information that
            would make the message longer is not added.

    Raises:
        ValueError: A sub-option's value does not fit its shape.
    """
    # One byte counts the hops, and it is full at 255.
    if message.op != BOOTREQUEST or message.hops > min(most_hops, 254):
        return None
    hops = message.hops + 1
    if message.giaddr:
        # Our own address there is forged, or the message goes round in circles.
        if message.giaddr == number(giaddr):
            return None
        return message.replace(hops=hops)
    has = RELAY_AGENT_INFORMATION in message.options
    if has and present is Present.DISCARD:
        return None
    relayed = message.replace(hops=hops, giaddr=giaddr)
    if has and present is Present.KEEP:
        return relayed
    if has:
        relayed = relayed.replace(options={RELAY_AGENT_INFORMATION: None})
    # Without the magic cookie it is BOOTP that has no options.
    if information and beginning(message.raw) and len(relayed.raw) <= limit:
        ours = OPTION_KINDS[RELAY_AGENT_INFORMATION].encode(information)
        longer = relayed.replace(options={RELAY_AGENT_INFORMATION: ours})
        if len(longer.raw) <= limit:
            return longer
    return relayed


def deliver(
    reply: Message, giaddr: AnyAddress, *, keep: bool = False
) -> Message | None:
    """A server's reply as it goes on to the client; None if it is not ours.

    The relay's information is taken out: it was for the server only.  All else stays
    as it is, and so does what stands in ``file`` and ``sname`` (RFC 3046 section 2.1).

    Args:
        reply: What the server sent us.
        giaddr: The address that `forward` was given.
        keep: Whether to leave the information to the switch that added it
            (`Present.KEEP`).
    """
    if reply.op != BOOTREPLY or reply.giaddr != number(giaddr):
        return None
    if keep or RELAY_AGENT_INFORMATION not in reply.options:
        return reply
    kept = []
    at = 0
    for piece in reply.pieces():
        if piece.area == "options" and piece.code == RELAY_AGENT_INFORMATION:
            kept.append(reply.raw[at : piece.offset])
            at = piece.end
    kept.append(reply.raw[at:])
    return Message(b"".join(kept).ljust(MINIMUM_SIZE, b"\0"))


def matches(message: Message, information: Mapping[str | int, object]) -> bool:
    """Whether a message came by a relay's port.

    Args:
        message: What came.
        information: Sub-options of option 82 by name or number; all must be there and
            have these values, and others may be there, too.  None at all is any port.

    Raises:
        ValueError: A sub-option's value does not fit its shape.
    """
    wanted = split(OPTION_KINDS[RELAY_AGENT_INFORMATION].encode(information))
    return wanted.items() <= message.relay_information.items()
