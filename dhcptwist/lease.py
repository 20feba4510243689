"""What a server knows of an address: leases, reservations and their states.

Times are seconds since 1970 as floats; ``math.inf`` is a time that never comes, for
leases without end.  Addresses are integers and hardware addresses bytes with their
type in front; the text forms are made at the edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from hashlib import blake2b
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from .wire import relay as relay_options
from .wire.codes import CIRCUIT_ID, HOST_NAME, INFINITE, REMOTE_ID
from .wire.message import printable
from .wire.options import option_kind
from .wire.values import unhex


class LeaseState(IntEnum):
    """What became of an address.  The numbers are in people's databases."""

    OFFERED = 1
    BOUND = 2  # past its end it is expired; nothing has to happen for that
    RELEASED = 3
    DECLINED = 4
    REVOKED = 5  # taken from its holder, who may still be using it


class EventKind(IntEnum):
    """What happened to an address.  The numbers are in people's databases."""

    BOUND = 1
    RENEWED = 2
    RELEASED = 3
    EXPIRED = 4
    DECLINED = 5
    REVOKED = 6
    FREED = 7  # a revoked address was found silent
    IMPORTED = 8
    RESERVED = 9
    CANCELLED = 10  # a reservation, by somebody or because its time was over
    CLOCK = 11  # the wall clock was set; what is left of each lease stayed the same


class Event(NamedTuple):
    """One thing that happened to an address, as the journal keeps it.

    Attributes:
        number: Its place in the journal, from 1; later events have larger numbers.
        when: The wall clock's time, in seconds since 1970.
        kind: What happened.
        address: Where; 0 for a reservation without an address, or the clock.
        key: Whose: as `Lease.key`; empty if nobody's.
        hardware: Hardware type and address; empty if unknown.
        hostname: What the client calls itself.
        since: When its lease began.
        expires: When the lease or reservation ends; ``math.inf`` for never.
        relay: Option 82 of its relay; empty if there is none.
        by: Who caused it: ``packet``, ``expiry``, ``probe``, ``clock`` or the name of a
            control identity.
    """

    number: int
    when: float
    kind: EventKind
    address: int
    key: bytes = b""
    hardware: bytes = b""
    hostname: str = ""
    since: float = 0.0
    expires: float = inf
    relay: bytes = b""
    by: str = "packet"


class Silence(Enum):
    """Why a packet gets no answer.  Each adds one to the counter of its name."""

    MALFORMED = "malformed"
    NOT_A_REQUEST = "not-a-request"
    BOOTP = "bootp"
    UNKNOWN_TYPE = "unknown-type"
    NO_IDENTITY = "no-identity"
    BAD_RELAY = "bad-relay"
    NO_SUBNET = "no-subnet"
    NO_ADDRESS = "no-address"
    NOT_FOR_US = "not-for-us"
    POOL_EXHAUSTED = "pool-exhausted"
    NO_LEASE = "no-lease"
    UNKNOWN_CLIENT = "unknown-client"
    RELEASED = "released"
    DECLINED = "declined"
    IGNORED_RELEASE = "ignored-release"
    IGNORED_DECLINE = "ignored-decline"
    STORAGE_FAILED = "storage-failed"
    STORAGE_LATE = "storage-late"
    STORAGE_BUSY = "storage-busy"
    FLOOD = "flood"
    NOT_ALLOWED = "not-allowed"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one client gets beside its address; it wins over what its subnet says.

    Attributes:
        options: Option code to bytes.  Names, and values as in the ini file, are made so:
            ``{"routers": "192.0.2.1"}``.
        next_server: ``siaddr``, or None to leave it to the subnet.
        boot_file: The ``file`` field, or None.
        server_name: The ``sname`` field, or None.
        hostname: The client's name (option 12, unless ``options`` has one), or None.
        renewal_time, rebinding_time: T1 and T2 (options 58 and 59) in seconds; None for
            half and seven eighths of the lease time.
        client_class: A ``[class NAME]`` of the configuration whose options the client
            gets, below those here and above its subnet's; empty for none.
    """

    options: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))
    next_server: int | None = None
    boot_file: str | None = None
    server_name: str | None = None
    hostname: str | None = None
    renewal_time: int | None = None
    rebinding_time: int | None = None
    client_class: str = ""

    def __post_init__(self) -> None:
        """Make options of what people write.

        Raises:
            ValueError: There is no such option, or its value does not fit.
        """
        for code, data in self.options.items():
            if code.__class__ is not int or data.__class__ is not bytes:
                object.__setattr__(self, "options", _encoded(self.options))
                return

    def __bool__(self) -> bool:
        return bool(self.options or self.client_class) or not (
            self.next_server is None
            and self.boot_file is None
            and self.server_name is None
            and self.hostname is None
            and self.renewal_time is None
            and self.rebinding_time is None
        )


def _encoded(options: Mapping[Any, Any]) -> Mapping[int, bytes]:
    found = {}
    for name, value in options.items():
        kind = option_kind(name)
        if isinstance(value, bytes | bytearray | memoryview):
            found[kind.code] = bytes(value)
        else:
            found[kind.code] = kind.encode(value)
    return MappingProxyType(found)


class Lease:
    """One address and who has it.  A value: a change makes a new one.

    Attributes:
        address: The address.
        state: What became of it.
        key: Who has it: the client identifier, or type and hardware address.
        hardware: Hardware type and address of who has it; empty if unknown.
        since: When this state began.
        expires: When it ends; ``math.inf`` for never.
        duration: Seconds to tell the client now; ``0xFFFFFFFF`` for an infinite lease.
        hostname: What the client calls itself, printable.
        relay: Option 82 as it was when last heard through a relay: a renewal comes
            without it (TRAPS 30's ground: RFC 3046 is silent on unicast renewals).
        settings: Options and boot file of its own, or None.
        queued: Where its end is noted (`storage.index`); the storage's own mark.
    """

    __slots__ = (
        "address",
        "duration",
        "expires",
        "hardware",
        "hostname",
        "key",
        "queued",
        "relay",
        "settings",
        "since",
        "state",
    )

    def __init__(
        self,
        address: int,
        state: LeaseState = LeaseState.BOUND,
        key: bytes = b"",
        hardware: bytes = b"",
        since: float = 0.0,
        expires: float = inf,
        duration: int = INFINITE,
        hostname: str = "",
        relay: bytes = b"",
        settings: Settings | None = None,
    ) -> None:
        self.address = address
        self.state = state
        self.key = key
        self.hardware = hardware
        self.since = since
        self.expires = expires
        self.duration = duration
        self.hostname = hostname
        self.relay = relay
        self.settings = settings
        self.queued: object = None

    def held(self, when: float) -> bool:
        """Whether nobody else may have the address now (an offer does not count)."""
        return self.expires > when and self.state in _HELD

    def bound(self, when: float) -> bool:
        """Whether a client is using it by right."""
        return self.state == LeaseState.BOUND and self.expires > when

    def state_name(self, when: float) -> str:
        """The state in a word, ``expired`` included."""
        if self.state == LeaseState.BOUND and self.expires <= when:
            return "expired"
        return self.state.name.lower()

    def __repr__(self) -> str:
        return (
            f"<Lease {self.address:#010x} {self.state.name} {self.key.hex()}"
            f" until {self.expires}>"
        )


_HELD = frozenset({LeaseState.BOUND, LeaseState.DECLINED, LeaseState.REVOKED})


@dataclass(frozen=True, slots=True)
class Refused:
    """The client may not have that address; it gets a NAK with the reason."""

    reason: str


class ReservationConflict(Exception):  # noqa: N818 - it crosses the control wire
    """The reservation collides with one that is not the caller's to change.

    Attributes:
        source: Whose reservation is in the way.
    """

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class AddressInUse(Exception):  # noqa: N818 - the name is part of the contract
    """``refuse``: somebody has the address.

    Attributes:
        holder: Who, as text.
        until: When that ends; ``math.inf`` for never.
    """

    def __init__(self, holder: str, until: float) -> None:
        super().__init__(f"the address is in use by {holder}")
        self.holder = holder
        self.until = until


class OnConflict(Enum):
    """What to do when a reserved address is leased to somebody else."""

    REFUSE = "refuse"
    WAIT = "wait"
    MOVE = "move"
    PREEMPT = "preempt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reservation really did.

    Attributes:
        outcome: ``applied``: in force with the next packet; ``waiting``: somebody has
            the address still.
        holder: Who has it, as text; empty when applied.
        until: When the holder's time ends; None when applied, ``math.inf`` for never.
    """

    outcome: str
    holder: str = ""
    until: float | None = None


#: The source of the configuration's own reservations, which nobody else may use.
FILE = "file"


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address (or only settings) that belongs to one client.

    Who the client is: a hardware address, a client identifier, or the port that
    option 82 names.

    Attributes:
        address: What is reserved; None for settings only.
        hardware: Type and address (``01`` in front for Ethernet).
        client_id: Option 61.
        circuit_id: Sub-option 1 of option 82.
        remote_id: Sub-option 2; together with ``circuit_id``, or alone.
        hostname: Option 12 for the client; empty for none.
        settings: What the client gets beside the address; with the hostname, unless it
            has one already.
        source: Who made it: ``file`` for the configuration, else who pushed it.
        on_conflict: What happens to another holder of the address.
        expires: When the reservation itself ends; ``math.inf`` for never.
    """

    address: int | None = None
    hardware: bytes = b""
    client_id: bytes = b""
    circuit_id: bytes = b""
    remote_id: bytes = b""
    hostname: str = ""
    settings: Settings | None = None
    source: str = FILE
    on_conflict: OnConflict = OnConflict.WAIT
    expires: float = inf
    _weight: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """What is given is the settings alone, so the name has to be among them."""
        if self.hostname:
            settings = self.settings or Settings()
            if settings.hostname is None and HOST_NAME not in settings.options:
                named = replace(settings, hostname=self.hostname)
                object.__setattr__(self, "settings", named)

    @property
    def weight(self) -> int:
        """A number for all that it says but when it ends; the same in every process."""
        if not self._weight:
            settings = self.settings
            said = (
                self.place,
                self.hostname,
                self.on_conflict.value,
                settings
                and (
                    sorted(settings.options.items()),
                    settings.next_server,
                    settings.boot_file,
                    settings.server_name,
                    settings.hostname,
                    settings.renewal_time,
                    settings.rebinding_time,
                    settings.client_class,
                ),
            )
            digest = blake2b(repr(said).encode(), digest_size=8).digest()
            object.__setattr__(self, "_weight", int.from_bytes(digest, "big"))
        return self._weight

    def owns(self, lease: Lease) -> bool:
        """Whether the client of a lease is the one this reservation is for."""
        if self.hardware:
            return lease.hardware == self.hardware
        if self.client_id:
            return lease.key == self.client_id
        if not lease.relay:
            return False
        circuit, remote = port_of(lease.relay)
        # What the reservation leaves open may be anything.
        return self.circuit_id in (b"", circuit) and self.remote_id in (b"", remote)

    @property
    def port(self) -> tuple[bytes, bytes] | None:
        """The relay port, as an index's key; None if it is not known by its port."""
        if self.circuit_id or self.remote_id:
            return self.circuit_id, self.remote_id
        return None

    @property
    def who(self) -> tuple[str, bytes, bytes]:
        """The identity as a key: its kind and its bytes."""
        if self.hardware:
            return "hardware", self.hardware, b""
        if self.client_id:
            return "client-id", self.client_id, b""
        return "port", self.circuit_id, self.remote_id

    @property
    def place(self) -> tuple[int, str, bytes, bytes]:
        """Where it stands in a list of all: those without an address come first."""
        return -1 if self.address is None else self.address, *self.who


def port_of(relay_information: bytes) -> tuple[bytes, bytes]:
    """The relay port that option 82 names: circuit-id and remote-id."""
    suboptions = relay_options.split(relay_information)
    return suboptions.get(CIRCUIT_ID, b""), suboptions.get(REMOTE_ID, b"")


def parse_hardware(text: str) -> bytes:
    """A hardware address with its type in front, from what a person writes.

    ``00:11:22:33:44:55`` is Ethernet; ``32/…`` names another type.

    Raises:
        ValueError: Not hexadecimal, or not 1 to 16 bytes.
    """
    kind, slash, address = text.strip().rpartition("/")
    try:
        htype = int(kind) if slash else 1
        data = bytes([htype]) + unhex(address)
    except ValueError:
        raise ValueError(
            f"{text.strip()!r} is not a hardware address like 00:11:22:33:44:55"
        ) from None
    if not 2 <= len(data) <= 17 or (htype == 1 and len(data) != 7):
        raise ValueError(f"{text.strip()!r} is not as long as a hardware address is")
    return data


def format_hardware(hardware: bytes) -> str:
    """A hardware address as people write it; empty for none."""
    if len(hardware) < 2:
        return ""
    text = hardware[1:].hex(":")
    return text if hardware[0] == 1 else f"{hardware[0]}/{text}"


def parse_identifier(text: str) -> bytes:
    """A client, circuit or remote identifier: ``hex:…``, or the text itself.

    Raises:
        ValueError: Empty, or ``hex:`` followed by something else.
    """
    text = text.strip()
    data = unhex(text) if text.startswith("hex:") else text.encode()
    if not data:
        raise ValueError("an identifier may not be empty")
    return data


def format_identifier(data: bytes) -> str:
    """An identifier as text if it is plain text, else as ``hex:…``."""
    text = data.decode("ascii", "replace")
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not text.startswith("hex:"):
        return text
    return f"hex:{data.hex()}"


def format_holder(lease: Lease) -> str:
    """Who has a lease, for people: hardware address, name."""
    who = format_hardware(lease.hardware) or format_identifier(lease.key)
    return f"{who} ({printable(lease.hostname.encode())})" if lease.hostname else who
