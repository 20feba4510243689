"""Option 82: what a relay says of the port a client is on (RFC 3046)."""

from __future__ import annotations

from .identity import DUID, HARDWARE
from .mixed import OCTETS, Flags
from .records import Record
from .special import VIRTUAL_SUBNET
from .suboptions import Enterprise, SubKind, SubOptions, join, split
from .values import ADDRESS, EMPTY, OPAQUE, TEXT, U8, U32, U64


#: The attributes that RFC 4014 section 3 lets a relay pass on, with RADIUS's own numbers.
RADIUS_ATTRIBUTES = SubOptions(
    "RADIUS attributes",
    [
        SubKind(1, "user-name", TEXT),
        SubKind(6, "service-type", U32),
        SubKind(26, "vendor-specific", OPAQUE),
        SubKind(27, "session-timeout", U32),
        SubKind(88, "framed-pool", TEXT),
        SubKind(100, "framed-ipv6-pool", TEXT),
    ],
    inclusive=True,
)

#: Sub-option 8 (RFC 4030 section 4).
AUTHENTICATION = Record(
    "relay's authentication",
    algorithm=U8,
    rdm=U8,
    replay_detection=U64,
    relay=ADDRESS,
    information=OCTETS,
)

#: The sub-options of option 82 by number (the registry of relay agent sub-options).
RELAY_SUBOPTIONS = [
    SubKind(1, "circuit-id", OCTETS),  # RFC 3046 section 3.1
    SubKind(2, "remote-id", OCTETS),  # RFC 3046 section 3.2
    SubKind(4, "docsis-device-class", U32),  # RFC 3256
    SubKind(5, "link-selection", ADDRESS),  # RFC 3527
    SubKind(6, "subscriber-id", TEXT),  # RFC 3993
    SubKind(7, "radius", RADIUS_ATTRIBUTES),  # RFC 4014
    SubKind(8, "authentication", AUTHENTICATION),  # RFC 4030
    SubKind(9, "vendor-specific", Enterprise("relay's vendor", OCTETS)),  # RFC 4243
    SubKind(10, "flags", Flags("relay's flags", unicast=0x80)),  # RFC 5010
    SubKind(11, "server-id-override", ADDRESS),  # RFC 5107
    SubKind(12, "relay-id", DUID),  # RFC 6925
    # RFC 7839 section 4: the access network.
    SubKind(
        13, "access-technology-type", Record("access technology", reserved=U8, type=U8)
    ),
    SubKind(14, "access-network-name", TEXT),
    SubKind(15, "access-point-name", TEXT),
    SubKind(16, "access-point-bssid", HARDWARE),
    SubKind(17, "operator-id", OCTETS),
    SubKind(18, "operator-realm", TEXT),
    SubKind(19, "relay-source-port", EMPTY),  # RFC 8357 section 5.1
    SubKind(151, "virtual-subnet-selection", VIRTUAL_SUBNET),  # RFC 6607 section 3.2
    SubKind(152, "virtual-subnet-selection-control", EMPTY),  # RFC 6607 section 3.3
]

#: The shape of option 82.
RELAY_INFORMATION = SubOptions("relay agent information", RELAY_SUBOPTIONS)


__all__ = [
    "AUTHENTICATION",
    "RADIUS_ATTRIBUTES",
    "RELAY_INFORMATION",
    "RELAY_SUBOPTIONS",
    "join",
    "split",
]
