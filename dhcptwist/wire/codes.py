"""The numbers of DHCP and their names.

Plain integers for options, because the packet's path looks them up millions of
times; an enumeration for message types, because people read those.
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
    """The hardware types (RFC 1700 and later) that change how a server behaves."""

    ETHERNET = 1
    IEEE_802 = 6
    IEEE_1394 = 24
    INFINIBAND = 32


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
