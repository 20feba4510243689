"""Options that vendors fill: 43, 63, 122, 124, 125, 175, 177, and 220."""

from __future__ import annotations

from .lists import ADDRESSES, Many
from .mixed import OCTETS, Either, Flags, Tagged
from .names import DOMAIN, DOMAINS
from .records import Counted, Record
from .suboptions import Enterprise, SubKind, SubOptions
from .values import ADDRESS, BOOLEAN, EMPTY, TEXT, U8, U16, U32, Shape


#: Option 43 while nobody says whose it is (RFC 2132 section 8.4): sub-options by number,
#: or bytes where the vendor does not keep to the RFC's advice.
VENDOR_OPTIONS = Either("vendor options", SubOptions("vendor options", padded=True))

#: Option 43 of PXE, "PXEClient" in option 60 (PXE 2.1 section 2.2.3, RFC 4578).
PXE_SUBOPTIONS = SubOptions(
    "PXE options",
    [
        SubKind(1, "mtftp-ip", ADDRESS),
        SubKind(2, "mtftp-cport", U16),
        SubKind(3, "mtftp-sport", U16),
        SubKind(4, "mtftp-tmout", U8),
        SubKind(5, "mtftp-delay", U8),
        SubKind(
            6,
            "discovery-control",
            Flags(
                "discovery control",
                no_broadcast=1,
                no_multicast=2,
                servers_only=4,
                no_menu=8,
            ),
        ),
        SubKind(7, "discovery-mcast-addr", ADDRESS),
        SubKind(
            8,
            "boot-server",
            Many(
                Record(
                    "boot server",
                    type=U16,
                    addresses=Counted(Many(ADDRESS, "addresses", empty=True), unit=4),
                ),
                "boot servers",
                ";",
            ),
        ),
        SubKind(
            9,
            "boot-menu",
            Many(Record("entry", type=U16, text=Counted(TEXT)), "boot menu", ";"),
        ),
        SubKind(10, "menu-prompt", Record("menu prompt", timeout=U8, text=TEXT)),
        SubKind(11, "mcast-addrs-alloc", OCTETS),
        SubKind(12, "credential-types", OCTETS),
        SubKind(71, "boot-item", Record("boot item", type=U16, layer=U16)),
    ],
    padded=True,
    ended=True,
)

#: Option 63: NetWare over IP (RFC 2242 section 3).
NWIP_SUBOPTIONS = SubOptions(
    "NetWare/IP options",
    [
        SubKind(1, "does-not-exist", EMPTY),
        SubKind(2, "exist-in-options-area", EMPTY),
        SubKind(3, "exist-in-sname-file", EMPTY),
        SubKind(4, "exist-but-too-big", EMPTY),
        SubKind(5, "nsq-broadcast", BOOLEAN),
        SubKind(6, "preferred-dss", ADDRESSES),
        SubKind(7, "nearest-nwip-server", ADDRESSES),
        SubKind(8, "autoretries", U8),
        SubKind(9, "autoretry-secs", U8),
        SubKind(10, "nwip-1-1", BOOLEAN),
        SubKind(11, "primary-dss", ADDRESS),
    ],
)


def _backoff(name: str) -> Record:
    """The retries of Kerberos: milliseconds, seconds, a count (RFC 3495 section 5.4)."""
    return Record(name, nominal_timeout=U32, maximum_timeout=U32, maximum_retries=U32)


_CABLELABS = [
    SubKind(1, "tsp-primary-server", ADDRESS),  # RFC 3495
    SubKind(2, "tsp-secondary-server", ADDRESS),
    SubKind(
        3,
        "tsp-provisioning-server",
        Tagged("provisioning server", {0: ("name", DOMAIN), 1: ("address", ADDRESS)}),
    ),
    SubKind(4, "tsp-as-parameters", _backoff("AS-REQ/AS-REP retries")),
    SubKind(5, "tsp-ap-parameters", _backoff("AP-REQ/AP-REP retries")),
    SubKind(6, "tsp-realm", DOMAIN),
    SubKind(7, "tsp-use-tgt", BOOLEAN),
    SubKind(8, "tsp-provisioning-timer", U8),
    SubKind(9, "tsp-sct", U16),  # RFC 3594
    SubKind(10, "kdc-servers", ADDRESSES),  # RFC 3634
]

#: Option 122, for cable modems with telephones.
CABLELABS_SUBOPTIONS = SubOptions("CableLabs client configuration", _CABLELABS)

#: Option 177, which 122 took the place of.
PACKETCABLE_SUBOPTIONS = Either(
    "PacketCable options", SubOptions("PacketCable options", _CABLELABS)
)

#: Option 124 (RFC 3925 section 3): for each enterprise a list of classes.
VENDOR_CLASSES = Enterprise("vendor classes", Many(Counted(OCTETS), "vendor classes"))

#: Option 125 (RFC 3925 section 4), with the Broadband Forum's (TR-069, TR-111).
VENDOR_SUBOPTIONS = Enterprise(
    "vendor options",
    SubOptions("vendor options"),
    {
        3561: SubOptions(
            "Broadband Forum's options",
            [
                SubKind(1, "device-manufacturer-oui", TEXT),
                SubKind(2, "device-serial-number", TEXT),
                SubKind(3, "device-product-class", TEXT),
                SubKind(4, "gateway-manufacturer-oui", TEXT),
                SubKind(5, "gateway-serial-number", TEXT),
                SubKind(6, "gateway-product-class", TEXT),
                SubKind(11, "acs-url", TEXT),
                SubKind(12, "provisioning-code", TEXT),
            ],
        )
    },
)

# What a network boot program can do: a byte each, usually 1.
_FEATURES = {
    16: "pxe-extensions",
    17: "iscsi",
    18: "aoe",
    19: "http",
    20: "https",
    21: "tftp",
    22: "ftp",
    23: "dns",
    24: "bzimage",
    25: "multiboot",
    26: "slam",
    27: "srp",
    32: "nbi",
    33: "pxe",
    34: "elf",
    35: "comboot",
    36: "efi",
    37: "fcoe",
    38: "vlan",
    39: "menu",
    40: "sdi",
    41: "nfs",
}

#: Option 175, which Etherboot and iPXE fill with sub-options.
ETHERBOOT_SUBOPTIONS = Either(
    "Etherboot options",
    SubOptions(
        "Etherboot options",
        [
            SubKind(1, "priority", U8),
            SubKind(8, "keep-san", U8),
            SubKind(9, "skip-san-boot", U8),
            *(SubKind(code, name, U8) for code, name in _FEATURES.items()),
            SubKind(85, "syslogs", TEXT),
            SubKind(176, "no-pxedhcp", U8),
            SubKind(177, "bus-id", OCTETS),
            SubKind(188, "san-filename", TEXT),
            SubKind(189, "bios-drive", U8),
            SubKind(190, "username", TEXT),
            SubKind(191, "password", TEXT),
            SubKind(192, "reverse-username", TEXT),
            SubKind(193, "reverse-password", TEXT),
            SubKind(235, "version", OCTETS),
        ],
        padded=True,
    ),
)


def _mobility(inner: Shape) -> list[SubKind]:
    """The three services of media independent handover (RFC 5678 section 2)."""
    names = {1: "information", 2: "command", 3: "event"}
    return [SubKind(code, name, inner) for code, name in names.items()]


#: Option 139: the servers' addresses for each service.
MOBILITY_ADDRESSES = SubOptions("mobility servers", _mobility(ADDRESSES))

#: Option 140: the servers' names for each service.
MOBILITY_NAMES = SubOptions("mobility servers", _mobility(DOMAINS))

#: Option 220: asking for whole subnets (RFC 6656 section 3).
SUBNET_ALLOCATION = Record(
    "subnet allocation",
    flags=U8,
    suboptions=SubOptions(
        "subnet allocation",
        [
            SubKind(
                1,
                "request",
                Record(
                    "subnet request",
                    flags=Flags("request flags", information=2, hierarchical=1),
                    prefix=U8,
                ),
            ),
            SubKind(
                2,
                "information",
                Record(
                    "subnets",
                    flags=Flags("information flags", client=2, server=1),
                    subnets=Many(
                        Record(
                            "subnet",
                            network=ADDRESS,
                            prefix=U8,
                            flags=Flags("subnet flags", hierarchical=2, deprecated=1),
                            statistics=Counted(OCTETS),
                        ),
                        "subnets",
                        ";",
                    ),
                ),
            ),
            SubKind(3, "name", TEXT),
            SubKind(4, "suggested-lease-time", U32),
        ],
    ),
)
