"""The options area: splitting it, joining it, and the table of what options mean.

Splitting knows RFC 3396 (an option may come in pieces) and RFC 2131 section 4.1 (it
may spill into ``file`` and ``sname``).  Joining knows the order that clients expect
and what to do when a reply would be too long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from . import values as v
from .codes import OVERLOAD, RELAY_AGENT_INFORMATION


#: Where the fields end and the options begin, in bytes.
SNAME = slice(44, 108)
FILE = slice(108, 236)
OPTIONS = 240


def split(data: bytes) -> dict[int, bytes]:
    """The options of a whole message by code, pieces joined, in the order received.

    An option whose length runs past its area ends the reading of that area: nothing
    behind it can be trusted.  Missing END and bytes after END are common and fine.
    """
    options: dict[int, bytes] = {}
    again: dict[int, list[bytes]] = {}
    _split_area(data, OPTIONS, len(data), options, again)
    overload = options.get(OVERLOAD)
    if overload:
        # RFC 3396 section 5: first the options field, then file, then sname.
        if overload[0] in {1, 3}:
            _split_area(data, FILE.start, FILE.stop, options, again)
        if overload[0] in {2, 3}:
            _split_area(data, SNAME.start, SNAME.stop, options, again)
    for code, pieces in again.items():
        options[code] = b"".join(pieces)
    return options


def _split_area(
    data: bytes,
    start: int,
    end: int,
    options: dict[int, bytes],
    again: dict[int, list[bytes]],
) -> None:
    """Add the options of one area to ``options``; further pieces go to ``again``."""
    at = start
    while at < end:
        code = data[at]
        if code == 0:
            at += 1
            continue
        value = at + 2
        if code == 255 or value > end:
            return
        at = value + data[at + 1]
        if at > end:
            return
        if code not in options:
            options[code] = data[value:at]
        elif code in again:
            again[code].append(data[value:at])
        else:  # joined once at the end: adding up would be quadratic
            again[code] = [options[code], data[value:at]]


def join_one(code: int, value: bytes) -> bytes:
    """One option in bytes, in pieces of at most 255 (RFC 3396 section 4)."""
    size = len(value)
    if size < 256:
        return bytes((code, size)) + value
    return b"".join(
        bytes((code, min(255, size - at))) + value[at : at + 255]
        for at in range(0, size, 255)
    )


def join(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options in bytes in the order given, without END."""
    return b"".join(join_one(code, value) for code, value in options)


class Fitted(NamedTuple):
    """Options made to fit: the three areas, and the codes there was no room for."""

    options: bytes
    file: bytes | None
    sname: bytes | None
    dropped: list[int]


def fit(
    options: Iterable[tuple[int, bytes]], room: int, *, file: bool, sname: bool
) -> Fitted:
    """Lay out options that are too long for the options field.

    The order given is the order of importance: the first are kept.  Option 82 goes
    last and whole into the options field or not at all (RFC 3046 section 2.2).

    Args:
        options: Pairs of code and value.
        room: Bytes of the options field, END included.
        file: Whether the ``file`` field may be used (option 52).
        sname: Whether the ``sname`` field may be used.
    """
    wanted = list(options)
    relay = b""
    for code, value in wanted:
        if code == RELAY_AGENT_INFORMATION:
            relay = join_one(code, value)
    dropped = []
    free = room - 1
    if len(relay) > free // 2:
        dropped.append(RELAY_AGENT_INFORMATION)
        relay = b""
    free -= len(relay)
    overload = 0
    if file or sname:
        free -= 3
    areas: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    left = {0: free, 1: 127 if file else 0, 2: 63 if sname else 0}
    for code, value in wanted:
        if code == RELAY_AGENT_INFORMATION:
            continue
        encoded = join_one(code, value)
        for area in (0, 1, 2):
            if len(encoded) <= left[area]:
                areas[area].append(encoded)
                left[area] -= len(encoded)
                overload |= area
                break
        else:
            dropped.append(code)
    first = list(areas[0])
    if overload:
        # Behind the message type, which some ROMs expect to come first.
        first.insert(1, bytes((OVERLOAD, 1, overload)))
    return Fitted(
        b"".join(first) + relay + b"\xff",
        b"".join(areas[1]).ljust(128, b"\xff")[:128] if overload & 1 else None,
        b"".join(areas[2]).ljust(64, b"\xff")[:64] if overload & 2 else None,
        dropped,
    )


@dataclass(frozen=True, slots=True)
class OptionKind:
    """What an option is: its number, its name (ISC dhcpd's and Kea's), its shape."""

    code: int
    name: str
    shape: v.Shape


def _table() -> dict[int, OptionKind]:
    rows: list[tuple[int, str, v.Shape]] = [
        (1, "subnet-mask", v.ADDRESS),
        (2, "time-offset", v.S32),
        (3, "routers", v.ADDRESSES),
        (4, "time-servers", v.ADDRESSES),
        (5, "name-servers", v.ADDRESSES),
        (6, "domain-name-servers", v.ADDRESSES),
        (7, "log-servers", v.ADDRESSES),
        (8, "cookie-servers", v.ADDRESSES),
        (9, "lpr-servers", v.ADDRESSES),
        (10, "impress-servers", v.ADDRESSES),
        (11, "resource-location-servers", v.ADDRESSES),
        (12, "host-name", v.TEXT),
        (13, "boot-size", v.U16),
        (14, "merit-dump", v.TEXT),
        (15, "domain-name", v.TEXT),
        (16, "swap-server", v.ADDRESS),
        (17, "root-path", v.TEXT),
        (18, "extensions-path", v.TEXT),
        (19, "ip-forwarding", v.BOOLEAN),
        (20, "non-local-source-routing", v.BOOLEAN),
        (21, "policy-filter", v.ADDRESS_PAIRS),
        (22, "max-dgram-reassembly", v.U16),
        (23, "default-ip-ttl", v.U8),
        (24, "path-mtu-aging-timeout", v.U32),
        (25, "path-mtu-plateau-table", v.U16S),
        (26, "interface-mtu", v.U16),
        (27, "all-subnets-local", v.BOOLEAN),
        (28, "broadcast-address", v.ADDRESS),
        (29, "perform-mask-discovery", v.BOOLEAN),
        (30, "mask-supplier", v.BOOLEAN),
        (31, "router-discovery", v.BOOLEAN),
        (32, "router-solicitation-address", v.ADDRESS),
        (33, "static-routes", v.ADDRESS_PAIRS),
        (34, "trailer-encapsulation", v.BOOLEAN),
        (35, "arp-cache-timeout", v.U32),
        (36, "ieee802-3-encapsulation", v.BOOLEAN),
        (37, "default-tcp-ttl", v.U8),
        (38, "tcp-keepalive-interval", v.U32),
        (39, "tcp-keepalive-garbage", v.BOOLEAN),
        (40, "nis-domain", v.TEXT),
        (41, "nis-servers", v.ADDRESSES),
        (42, "ntp-servers", v.ADDRESSES),
        (43, "vendor-encapsulated-options", v.OPAQUE),
        (44, "netbios-name-servers", v.ADDRESSES),
        (45, "netbios-dd-server", v.ADDRESSES),
        (46, "netbios-node-type", v.U8),
        (47, "netbios-scope", v.TEXT),
        (48, "font-servers", v.ADDRESSES),
        (49, "x-display-manager", v.ADDRESSES),
        (50, "dhcp-requested-address", v.ADDRESS),
        (51, "dhcp-lease-time", v.U32),
        (52, "dhcp-option-overload", v.U8),
        (53, "dhcp-message-type", v.U8),
        (54, "dhcp-server-identifier", v.ADDRESS),
        (55, "dhcp-parameter-request-list", v.U8S),
        (56, "dhcp-message", v.TEXT),
        (57, "dhcp-max-message-size", v.U16),
        (58, "dhcp-renewal-time", v.U32),
        (59, "dhcp-rebinding-time", v.U32),
        (60, "vendor-class-identifier", v.TEXT),
        (61, "dhcp-client-identifier", v.OPAQUE),
        (62, "nwip-domain-name", v.TEXT),
        (63, "nwip-suboptions", v.OPAQUE),
        (64, "nisplus-domain-name", v.TEXT),
        (65, "nisplus-servers", v.ADDRESSES),
        (66, "tftp-server-name", v.TEXT),
        (67, "boot-file-name", v.TEXT),
        (68, "mobile-ip-home-agent", v.ADDRESSES),
        (69, "smtp-server", v.ADDRESSES),
        (70, "pop-server", v.ADDRESSES),
        (71, "nntp-server", v.ADDRESSES),
        (72, "www-server", v.ADDRESSES),
        (73, "finger-server", v.ADDRESSES),
        (74, "irc-server", v.ADDRESSES),
        (75, "streettalk-server", v.ADDRESSES),
        (76, "streettalk-directory-assistance-server", v.ADDRESSES),
        (77, "user-class", v.OPAQUE),
        (78, "slp-directory-agent", v.OPAQUE),
        (79, "slp-service-scope", v.OPAQUE),
        (80, "rapid-commit", v.EMPTY),
        (81, "fqdn", v.OPAQUE),
        (82, "dhcp-agent-options", v.OPAQUE),
        (85, "nds-servers", v.ADDRESSES),
        (86, "nds-tree-name", v.TEXT),
        (87, "nds-context", v.TEXT),
        (88, "bcms-controller-names", v.DOMAINS),
        (89, "bcms-controller-address", v.ADDRESSES),
        (91, "client-last-transaction-time", v.U32),
        (92, "associated-ip", v.ADDRESSES),
        (93, "client-system", v.U16S),
        (94, "client-ndi", v.OPAQUE),
        (97, "uuid-guid", v.OPAQUE),
        (98, "uap-servers", v.TEXT),
        (99, "geoconf-civic", v.OPAQUE),
        (100, "pcode", v.TEXT),
        (101, "tcode", v.TEXT),
        (108, "v6-only-preferred", v.U32),
        (112, "netinfo-server-address", v.ADDRESSES),
        (113, "netinfo-server-tag", v.TEXT),
        (114, "v4-captive-portal", v.TEXT),
        (116, "auto-config", v.U8),
        (117, "name-service-search", v.U16S),
        (118, "subnet-selection", v.ADDRESS),
        (119, "domain-search", v.DOMAINS),
        (121, "classless-static-route", v.ROUTES),
        (124, "vivco-suboptions", v.OPAQUE),
        (125, "vivso-suboptions", v.OPAQUE),
        (136, "pana-agent", v.ADDRESSES),
        (137, "v4-lost", v.DOMAINS),
        (138, "capwap-ac-v4", v.ADDRESSES),
        (141, "sip-ua-cs-domains", v.DOMAINS),
        (143, "v4-sztp-redirect", v.OPAQUE),
        (146, "rdnss-selection", v.OPAQUE),
        (150, "tftp-server-address", v.ADDRESSES),
        (159, "v4-portparams", v.OPAQUE),
        (162, "v4-dnr", v.OPAQUE),
        (208, "pxelinux-magic", v.OPAQUE),
        (209, "loader-configfile", v.TEXT),
        (210, "loader-pathprefix", v.TEXT),
        (211, "loader-reboottime", v.U32),
        (212, "option-6rd", v.OPAQUE),
        (213, "v4-access-domain", v.DOMAINS),
        (249, "classless-static-route-windows", v.ROUTES),
        (252, "wpad", v.TEXT),
    ]
    return {code: OptionKind(code, name, shape) for code, name, shape in rows}


#: code -> what it is.  An option that is not here is bytes, and survives as bytes.
OPTION_KINDS = _table()

_BY_NAME = {kind.name: kind for kind in OPTION_KINDS.values()}


def option_kind(name_or_code: str | int) -> OptionKind:
    """What the option of this name or number is.

    Raises:
        ValueError: There is no option of that name, or the number is not 1 to 254.
    """
    text = str(name_or_code).strip()
    if not text.isascii() or not text.isdigit():
        try:
            return _BY_NAME[text]
        except KeyError:
            raise ValueError(f"there is no option named {text!r}") from None
    code = int(text)
    if not 0 < code < 255:
        raise ValueError(f"options have the numbers 1 to 254, not {code}")
    return OPTION_KINDS.get(code) or OptionKind(code, f"option-{code}", v.OPAQUE)
