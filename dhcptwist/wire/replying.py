"""The bytes of a reply: what a server copies, adds and leaves out (RFC 2131 table 3)."""

from __future__ import annotations

from collections.abc import Mapping

from .areas import (
    LARGEST_SIZE,
    MINIMUM_SIZE,
    OPTIONS,
    SAFE_SIZE,
    fit,
    join_one,
    ordered,
    size_limit,
    split,
)
from .codes import (
    CLIENT_ID,
    LEASE_TIME,
    MAGIC_COOKIE,
    MAX_MESSAGE_SIZE,
    MESSAGE,
    MESSAGE_TYPE,
    OVERLOAD,
    PARAMETER_REQUEST_LIST,
    REBINDING_TIME,
    RELAY_AGENT_INFORMATION,
    RENEWAL_TIME,
    REQUESTED_ADDRESS,
    SERVER_ID,
    VENDOR_CLASS,
    MessageType,
)


NO_ADDRESS = b"\0\0\0\0"
NO_BOOT_FIELDS = bytes(192)

#: What may be answered with what (RFC 2131 section 3.1; RFC 4039 for ACK to DISCOVER).
_ANSWERS = {
    MessageType.OFFER: {MessageType.DISCOVER},
    MessageType.ACK: {MessageType.DISCOVER, MessageType.REQUEST, MessageType.INFORM},
    MessageType.NAK: {MessageType.REQUEST},
}

_TIMES = {LEASE_TIME, RENEWAL_TIME, REBINDING_TIME}
_IN_A_NAK = {MESSAGE, VENDOR_CLASS}
_ONLY_ASKED = {REQUESTED_ADDRESS, PARAMETER_REQUEST_LIST, MAX_MESSAGE_SIZE}
_IN_DHCP = {LEASE_TIME, MESSAGE_TYPE, SERVER_ID}


def check(
    asked: MessageType | None,
    kind: MessageType | None,
    codes: set[int],
    *,
    server: bool,
    gives: bool,
    timed: bool,
    boots: bool,
) -> None:
    """See that table 3 of RFC 2131 allows a reply.

    Args:
        asked: The type of the message that is answered.
        kind: The reply's.
        codes: Options that are to be in it, besides those the protocol decides.
        server: Whether there is a server identifier.
        gives: Whether it gives an address.
        timed: Whether a lease time is given apart from the options.
        boots: Whether ``siaddr``, ``sname`` or ``file`` is given.

    Raises:
        ValueError: It does not; the text says what and why.
    """
    if (kind is None) != (asked is None):
        raise ValueError("BOOTP is answered by BOOTP (kind None), DHCP by DHCP")
    if kind is not None and not server:
        raise ValueError("a DHCP reply must have a server identifier (server=…)")
    if kind in _ANSWERS and asked not in _ANSWERS[kind]:
        raise ValueError(f"{kind.name} does not answer {asked and asked.name}")
    if kind in _ANSWERS and codes & _ONLY_ASKED:
        raise ValueError("options 50, 55 and 57 are for clients to send")
    if OVERLOAD in codes:
        raise ValueError("option 52 is written when there is need of it, not given")
    timed = timed or LEASE_TIME in codes
    if kind is None and (timed or codes & _IN_DHCP):
        raise ValueError("BOOTP has no options 51, 53 and 54")
    if kind == MessageType.NAK and (gives or timed or boots or not codes <= _IN_A_NAK):
        raise ValueError(
            "a NAK has no address, no boot file and no options but 56 and 60"
        )
    if asked == MessageType.INFORM and (gives or timed or codes & _TIMES):
        raise ValueError("an ACK for an INFORM has no yiaddr and no times (51, 58, 59)")
    if kind in {MessageType.OFFER, MessageType.ACK} and gives and not timed:
        raise ValueError(f"an {kind.name} with an address must have a lease_time")


def answered(
    raw: bytes,
    options: Mapping[int, bytes],
    area: bytes,
    *,
    yiaddr: bytes = NO_ADDRESS,
    ciaddr: bytes = NO_ADDRESS,
    siaddr: bytes = NO_ADDRESS,
    boot_fields: bytes = NO_BOOT_FIELDS,
    broadcast: bool = False,
    path: int = LARGEST_SIZE,
) -> tuple[bytes, tuple[int, ...]]:
    """Put a reply together.

    Args:
        raw: The message that is answered.
        options: Its options.
        area: Encoded options without END, in the order they are to stand in.  The client
            identifier (RFC 6842) and the relay's information are added.
        yiaddr: The client's address to be, four bytes.
        ciaddr: The client's address as it is, four bytes.
        siaddr: The next server of the boot, four bytes.
        boot_fields: ``sname`` and ``file``, 192 bytes.
        broadcast: Whether a relay is to broadcast it whatever the client asked for.
        path: The most bytes that the way to the client carries.

    Returns:
        The bytes, and the codes of options that there was no room for.
    """
    if CLIENT_ID in options and len(options[CLIENT_ID]) > 1:
        area += join_one(CLIENT_ID, options[CLIENT_ID])
    if RELAY_AGENT_INFORMATION in options:  # RFC 3046 section 2.2: as it came, last
        area += join_one(RELAY_AGENT_INFORMATION, options[RELAY_AGENT_INFORMATION])
    dropped: tuple[int, ...] = ()
    if len(area) >= min(SAFE_SIZE, path) - OPTIONS:
        area, boot_fields, dropped = _squeezed(options, area, boot_fields, path)
    else:
        area += b"\xff"
    flags = raw[10:12]
    if broadcast and raw[24:28] != NO_ADDRESS:
        flags = bytes((flags[0] | 0x80, flags[1]))
    data = b"".join(
        (
            b"\x02",
            raw[1:3],
            b"\0",
            raw[4:8],
            b"\0\0",
            flags,
            ciaddr,
            yiaddr,
            siaddr,
            raw[24:44],
            boot_fields,
            MAGIC_COOKIE,
            area,
        )
    )
    if len(data) < MINIMUM_SIZE:
        data = data.ljust(MINIMUM_SIZE, b"\0")
    return data, dropped


def _squeezed(
    options: Mapping[int, bytes], area: bytes, boot_fields: bytes, path: int
) -> tuple[bytes, bytes, tuple[int, ...]]:
    """Make options fit that may be too long for the client."""
    room = size_limit(options, path) - OPTIONS
    if len(area) < room:
        return area + b"\xff", boot_fields, ()
    mine = split(bytes(OPTIONS) + area)
    # A client that sends no request list, or speaks BOOTP, may not know of option 52.
    spill = MESSAGE_TYPE in options and bool(options.get(PARAMETER_REQUEST_LIST))
    sname, file = boot_fields[:64], boot_fields[64:]
    fitted = fit(
        [(code, mine[code]) for code in ordered(mine)],
        room,
        file=spill and not any(file),
        sname=spill and not any(sname),
    )
    return (
        fitted.options,
        (fitted.sname or sname) + (fitted.file or file),
        tuple(fitted.dropped),
    )
