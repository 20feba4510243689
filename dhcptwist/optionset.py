"""What a client is told, put together from its subnet, its class and itself.

Encoded once and remembered: most replies of a network say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from .lease import Settings
from .wire.areas import join_one, ordered
from .wire.codes import (
    HOST_NAME,
    INFINITE,
    LEASE_TIME,
    PROTOCOL_OPTIONS,
    REBINDING_TIME,
    RENEWAL_TIME,
    SUBNET_MASK,
)


NOTHING = Settings()


class OptionSet:
    """Options and boot fields, encoded once for each request list.

    Clients of one kind send the same list, so the encoded options are remembered by
    it.  The memory is bounded: an attacker who varies the list only empties it.
    """

    __slots__ = ("_areas", "_tails", "_times", "boot_fields", "siaddr", "values")

    #: How many different request lists are remembered.
    REMEMBERED = 512

    def __init__(self, settings: Settings) -> None:
        self.values = _with_name(settings)
        self.siaddr = (settings.next_server or 0).to_bytes(4, "big")
        self.boot_fields = _field(settings.server_name, 64) + _field(
            settings.boot_file, 128
        )
        self._times = settings.renewal_time, settings.rebinding_time
        self._tails: dict[bytes | None, bytes] = {}
        self._areas: dict[tuple[bytes, int, bytes | None], bytes] = {}

    def area(self, head: bytes, duration: int, requested: bytes | None) -> bytes:
        """All that an OFFER or ACK says of a lease, encoded, without END.

        Args:
            head: Options 53 and 54, encoded (`Via.head`).
            duration: Seconds of the lease.
            requested: The parameter request list (option 55), or None.
        """
        key = head, duration, requested
        area = self._areas.get(key)
        if area is None:
            if len(self._areas) >= self.REMEMBERED:
                self._areas.clear()
            times = encoded_times(duration, *self._times)
            area = self._areas[key] = head + times + self.tail(requested)
        return area

    def tail(self, requested: bytes | None) -> bytes:
        """The options for a parameter request list (option 55), encoded, without END.

        The mask comes first (RFC 2132 section 3.3 wants it before the routers), the
        rest in the client's order (section 9.8).  No list means all there are.
        """
        tail = self._tails.get(requested)
        if tail is None:
            if len(self._tails) >= self.REMEMBERED:
                self._tails.clear()
            tail = self._tails[requested] = b"".join(
                join_one(code, self.values[code]) for code in self.order(requested)
            )
        return tail

    def order(self, requested: bytes | None) -> list[int]:
        """The codes that a client with this request list gets, in order, each once."""
        wanted = self.values if requested is None else (SUBNET_MASK, *requested)
        have = (code for code in wanted if code in self.values)
        return [
            code for code in ordered(have, requested) if code not in PROTOCOL_OPTIONS
        ]


def over(lower: Settings, upper: Settings) -> Settings:
    """Settings where ``upper`` wins, and ``lower`` has the rest."""
    return Settings(
        {**_with_name(lower), **_with_name(upper)},
        lower.next_server if upper.next_server is None else upper.next_server,
        lower.boot_file if upper.boot_file is None else upper.boot_file,
        lower.server_name if upper.server_name is None else upper.server_name,
        None,
        lower.renewal_time if upper.renewal_time is None else upper.renewal_time,
        lower.rebinding_time if upper.rebinding_time is None else upper.rebinding_time,
    )


class Classes:
    """The settings of each class, for those who name it.

    A storage that names a class which is not there is no reason to leave its client
    without a reply; somebody should hear of it, though.

    Args:
        settings: By the name of their class.
        unknown: Is called with the name of a class that is not there, once for each.
    """

    __slots__ = ("_settings", "_unknown", "_unknown_names")

    #: So many different names are told; a storage may make up any number.
    MOST_UNKNOWN = 100

    def __init__(
        self,
        settings: Mapping[str, Settings] = MappingProxyType({}),
        unknown: Callable[[str], object] | None = None,
    ) -> None:
        self._settings = dict(settings)
        self._unknown = unknown
        self._unknown_names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._settings

    def named(self, name: str) -> Settings:
        """The settings of a class; none if there is no such class."""
        found = self._settings.get(name)
        if found is not None:
            return found
        known = self._unknown_names
        if name not in known and len(known) < self.MOST_UNKNOWN:
            known.add(name)
            if self._unknown is not None:
                self._unknown(name)
        return NOTHING


@lru_cache(maxsize=4096)
def encoded_times(
    duration: int, renewal: int | None = None, rebinding: int | None = None
) -> bytes:
    """Options 51, 58 and 59 for a lease time.

    T1 < T2 < the lease time always holds (RFC 2131 section 4.4.5).  T1 or T2 that does
    not fit into the lease, as when only some seconds of it remain, gives way to what is
    usual; T1 that does not fit below T2 gives way to T2.  All are sent unasked, because
    some clients want them in the OFFER.  An infinite lease has neither.

    Args:
        duration: Seconds of the lease.
        renewal: T1 in seconds; None for half the lease time.
        rebinding: T2 in seconds; None for seven eighths of it.
    """
    times = [(LEASE_TIME, duration)]
    # Between the ends of a shorter lease there is no room for two seconds.
    if 3 <= duration < INFINITE:
        t1 = renewal if renewal and 0 < renewal < duration - 1 else None
        t2 = rebinding if rebinding and 1 < rebinding < duration else None
        if t2 is None:
            t2 = duration * 7 // 8
            if t1 is not None and t1 >= t2:
                t2 = (t1 + duration) // 2
        if t1 is None or t1 >= t2:
            t1 = duration // 2
            if t1 >= t2:
                t1 = t2 // 2
        times += [(RENEWAL_TIME, t1), (REBINDING_TIME, t2)]
    return b"".join(join_one(code, each.to_bytes(4, "big")) for code, each in times)


def _with_name(settings: Settings) -> dict[int, bytes]:
    """The options, the hostname among them unless they have one."""
    options = dict(settings.options)
    if settings.hostname and HOST_NAME not in options:
        # Clients hand it to scripts, and a storage may have it from anywhere.
        plain = "".join(filter(str.isprintable, settings.hostname)).strip()
        name = plain.encode()
        # A name cut short would be another's.
        if 0 < len(name) < 256:
            options[HOST_NAME] = name
    return options


def _field(text: str | None, size: int) -> bytes:
    # One byte stays free: ROMs read these as NUL-terminated strings.
    return (text or "").encode()[: size - 1].ljust(size, b"\0")
