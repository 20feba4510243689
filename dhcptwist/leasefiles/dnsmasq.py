"""dnsmasq's lease file: one line for a lease.

``EXPIRY MAC ADDRESS NAME CLIENT-ID``, where 0 is an expiry that never comes, ``*`` stands
for an unknown name or identifier, and ``06-`` before a hardware address is its type.  Behind
a line ``duid …`` come leases of DHCPv6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf

from ..lease import Lease
from .found import Found, latest, read_address, read_hex


#: A number smaller than this (some day of 1973) is not a time but how long a lease lasts:
#: what dnsmasq writes where it is built for machines without a clock.
_LENGTH = 100_000_000

LINE = re.compile(r"\d+\s+\S+\s+\d+\.\d+\.\d+\.\d+\s")


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file; see `found.Reader`."""
    return latest(_read(lines, when))


def _read(lines: Iterable[str], when: float) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if words[0] == "duid":
            return
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
    if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        raise ValueError(f"{expiry!r} is not a time")
    kind, dash, bare = mac.rpartition("-")
    htype = int(kind, 16) if dash else 1
    hardware = bytes([htype]) + read_hex(bare, 16) if 0 < htype < 256 else b""
    key = b"" if identifier == "*" else read_hex(identifier)
    if len(hardware) < 2 and not key:
        raise ValueError(f"{mac!r} is not a hardware address")
    ends = float(expiry)
    if not ends:
        ends = inf
    elif ends < _LENGTH:
        ends += when
    return Lease(
        read_address(address),
        key=key or hardware,
        hardware=hardware if len(hardware) > 1 else b"",
        expires=ends,
        hostname="" if name == "*" else name,
    )
