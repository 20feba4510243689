"""The numbers of DHCP and their names.

Plain integers for options, because the packet's path looks them up millions of
times; enumerations for what stands in them, because people read those.
"""

from __future__ import annotations

from enum import IntEnum


#: BOOTP ``op``: what a client sends, and what a server sends (RFC 951).
BOOTREQUEST = 1
BOOTREPLY = 2

#: The four bytes that say "options follow" (RFC 2131 section 3).
MAGIC_COOKIE = b"\x63\x82\x53\x63"

#: The flag by which a client asks for broadcast replies (RFC 2131 section 4.1).
BROADCAST_FLAG = 0x8000

#: Option 51's value for a lease that does not end (RFC 2131 section 3.3).
INFINITE = 0xFFFFFFFF

SERVER_PORT = 67
CLIENT_PORT = 68


class MessageType(IntEnum):
    """Option 53 (RFC 2132 section 9.6 and the registry that followed it)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8
    FORCERENEW = 9
    LEASEQUERY = 10
    LEASEUNASSIGNED = 11
    LEASEUNKNOWN = 12
    LEASEACTIVE = 13
    BULKLEASEQUERY = 14
    LEASEQUERYDONE = 15
    ACTIVELEASEQUERY = 16
    LEASEQUERYSTATUS = 17
    TLS = 18


class HardwareType(IntEnum):
    """The hardware types of ARP (RFC 1700 and the registry that followed it)."""

    ETHERNET = 1
    EXPERIMENTAL_ETHERNET = 2
    AX_25 = 3
    PRONET = 4
    CHAOS = 5
    IEEE_802 = 6
    ARCNET = 7
    HYPERCHANNEL = 8
    LANSTAR = 9
    AUTONET = 10
    LOCALTALK = 11
    LOCALNET = 12
    ULTRA_LINK = 13
    SMDS = 14
    FRAME_RELAY = 15
    ATM_16 = 16
    HDLC = 17
    FIBRE_CHANNEL = 18
    ATM_19 = 19
    SERIAL_LINE = 20
    ATM_21 = 21
    MIL_STD_188_220 = 22
    METRICOM = 23
    IEEE_1394 = 24
    MAPOS = 25
    TWINAXIAL = 26
    EUI_64 = 27
    HIPARP = 28
    ISO_7816_3 = 29
    ARPSEC = 30
    IPSEC_TUNNEL = 31
    INFINIBAND = 32
    TIA_102 = 33
    WIEGAND = 34
    PURE_IP = 35
    EXPERIMENT_1 = 36
    HFI = 37
    UNIFIED_BUS = 38
    EXPERIMENT_2 = 256
    AETHERNET = 257


class NodeType(IntEnum):
    """Option 46 (RFC 2132 section 8.7)."""

    B_NODE = 1
    P_NODE = 2
    M_NODE = 4
    H_NODE = 8


class Overload(IntEnum):
    """Option 52: which fields hold options (RFC 2132 section 9.3)."""

    FILE = 1
    SNAME = 2
    BOTH = 3


class Architecture(IntEnum):
    """Option 93 (RFC 4578 section 2.1, RFC 5970 and the registry that followed)."""

    BIOS = 0x00
    PC_98 = 0x01
    ITANIUM = 0x02
    ALPHA = 0x03
    ARC_X86 = 0x04
    LEAN_CLIENT = 0x05
    X86_UEFI = 0x06
    X64_UEFI = 0x07
    XSCALE_EFI = 0x08
    EBC = 0x09
    ARM32_UEFI = 0x0A
    ARM64_UEFI = 0x0B
    POWERPC_OPEN_FIRMWARE = 0x0C
    POWERPC_EPAPR = 0x0D
    POWER_OPAL = 0x0E
    X86_UEFI_HTTP = 0x0F
    X64_UEFI_HTTP = 0x10
    EBC_HTTP = 0x11
    ARM32_UEFI_HTTP = 0x12
    ARM64_UEFI_HTTP = 0x13
    BIOS_HTTP = 0x14
    ARM32_UBOOT = 0x15
    ARM64_UBOOT = 0x16
    ARM32_UBOOT_HTTP = 0x17
    ARM64_UBOOT_HTTP = 0x18
    RISCV32_UEFI = 0x19
    RISCV32_UEFI_HTTP = 0x1A
    RISCV64_UEFI = 0x1B
    RISCV64_UEFI_HTTP = 0x1C
    RISCV128_UEFI = 0x1D
    RISCV128_UEFI_HTTP = 0x1E
    S390_BASIC = 0x1F
    S390_EXTENDED = 0x20
    MIPS32_UEFI = 0x21
    MIPS64_UEFI = 0x22
    SUNWAY32_UEFI = 0x23
    SUNWAY64_UEFI = 0x24
    LOONGARCH32_UEFI = 0x25
    LOONGARCH32_UEFI_HTTP = 0x26
    LOONGARCH64_UEFI = 0x27
    LOONGARCH64_UEFI_HTTP = 0x28
    ARM_RPIBOOT = 0x29


class AutoConfigure(IntEnum):
    """Option 116 (RFC 2563 section 2)."""

    DO_NOT_AUTO_CONFIGURE = 0
    AUTO_CONFIGURE = 1


class NameService(IntEnum):
    """Option 117: the numbers of the services' own options (RFC 2937)."""

    LOCAL = 0
    DNS = 6
    NIS = 41
    NETBIOS = 44
    NIS_PLUS = 65


class NonceAlgorithm(IntEnum):
    """Option 145 (RFC 6704 section 3.1.1)."""

    HMAC_MD5 = 1


class ServerPreference(IntEnum):
    """The preference of option 146 (RFC 6731 section 4.3)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 3


class QueryStatus(IntEnum):
    """Option 151 (RFC 6926 section 6.2.2, RFC 7724 section 5.2)."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    QUERY_TERMINATED = 2
    MALFORMED_QUERY = 3
    NOT_ALLOWED = 4
    DATA_MISSING = 5
    CONNECTION_ACTIVE = 6
    CATCH_UP_COMPLETE = 7
    TLS_CONNECTION_REFUSED = 8


class BindingState(IntEnum):
    """Option 156 (RFC 6926 section 6.2.7)."""

    AVAILABLE = 1
    ACTIVE = 2
    EXPIRED = 3
    RELEASED = 4
    ABANDONED = 5
    RESET = 6
    REMOTE = 7
    TRANSITIONING = 8


# Options that the server itself reads or writes (RFC 2132 unless noted).
PAD = 0
SUBNET_MASK = 1
ROUTERS = 3
DOMAIN_NAME_SERVERS = 6
HOST_NAME = 12
DOMAIN_NAME = 15
BROADCAST_ADDRESS = 28
VENDOR_OPTIONS = 43
REQUESTED_ADDRESS = 50
LEASE_TIME = 51
OVERLOAD = 52
MESSAGE_TYPE = 53
SERVER_ID = 54
PARAMETER_REQUEST_LIST = 55
MESSAGE = 56
MAX_MESSAGE_SIZE = 57
RENEWAL_TIME = 58
REBINDING_TIME = 59
VENDOR_CLASS = 60
CLIENT_ID = 61
TFTP_SERVER_NAME = 66
BOOT_FILE_NAME = 67
USER_CLASS = 77
RAPID_COMMIT = 80  # RFC 4039
CLIENT_FQDN = 81  # RFC 4702
RELAY_AGENT_INFORMATION = 82  # RFC 3046
CLIENT_ARCHITECTURE = 93  # RFC 4578
SUBNET_SELECTION = 118  # RFC 3011
CLASSLESS_ROUTES = 121  # RFC 3442
END = 255

# Sub-options of option 82.
CIRCUIT_ID = 1  # RFC 3046
REMOTE_ID = 2  # RFC 3046
LINK_SELECTION = 5  # RFC 3527
SERVER_ID_OVERRIDE = 11  # RFC 5107

#: Options whose value the protocol decides; nobody may configure them.
PROTOCOL_OPTIONS = frozenset(
    {
        PAD,
        REQUESTED_ADDRESS,
        LEASE_TIME,
        OVERLOAD,
        MESSAGE_TYPE,
        SERVER_ID,
        PARAMETER_REQUEST_LIST,
        MESSAGE,
        MAX_MESSAGE_SIZE,
        RENEWAL_TIME,
        REBINDING_TIME,
        CLIENT_ID,
        RAPID_COMMIT,
        CLIENT_FQDN,
        RELAY_AGENT_INFORMATION,
        SUBNET_SELECTION,
        END,
    }
)
