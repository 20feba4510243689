"""dnsmasq's lease file: one line for a lease.

``EXPIRY MAC ADDRESS NAME CLIENT-ID``, where 0 is an expiry that never comes, ``*`` stands
for an unknown name or identifier, and ``06-`` before a hardware address is its type.  A line
``duid …`` and the leases of DHCPv6 behind it are passed over.

Where it is built for machines without a clock, the length of a lease stands in place of its
expiry (dnsmasq(8), ``HAVE_BROKEN_RTC``).  Nobody can tell when those leases began, so they
last for their whole length from now: never shorter than the client believes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf

from ..lease import Lease, LeaseState
from ..wire.codes import INFINITE
from .found import Found, latest, made, read_address, read_hex, read_number


#: A number smaller than this is a length: as a time it would be a day of 1973 or before,
#: and as a length three years.
_LENGTH = 100_000_000

LINE = re.compile(r"\d+\s+\S+\s+\d+\.\d+\.\d+\.\d+\s")
_MAC = re.compile(r"(?:([0-9a-fA-F]{2})-)?([0-9a-fA-F:]*)")


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file; see `found.Reader`."""
    return latest(_read(lines, when))


def _read(lines: Iterable[str], when: float) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0] == "duid" or (len(words) > 2 and ":" in words[2]):
            continue
        try:
            yield Found(number, _lease(words, when))
        except ValueError as error:
            yield Found(number, None, str(error))


def _lease(words: list[str], when: float) -> Lease:
    if len(words) != 5:
        raise ValueError(
            "is not a time, a hardware address, an address, a name and an identifier"
        )
    expiry, mac, address, name, identifier = words
    expires = float(read_number(expiry))
    if expires in {0, INFINITE}:
        expires = inf
    elif expires < _LENGTH:
        expires += when
    return made(
        read_address(address),
        LeaseState.BOUND,
        b"" if identifier == "*" else read_hex(identifier),
        _hardware(mac),
        0.0,
        expires,
        "" if name == "*" else name,
    )


def _hardware(text: str) -> bytes:
    found = _MAC.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a hardware address")
    address = read_hex(found[2], 16)
    # Some clients have none, as on InfiniBand (RFC 4390).
    return bytes([int(found[1] or "01", 16)]) + address if address else b""
