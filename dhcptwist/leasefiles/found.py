"""What reading a lease file finds: leases, and lines that make no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from ..lease import Lease
from ..wire.values import unhex


class Found(NamedTuple):
    """One thing that was found.

    Attributes:
        line: Where in the file, from 1.
        lease: The lease; None if the line makes no sense.
        problem: Why it makes none; empty if there is a lease.
    """

    line: int
    lease: Lease | None
    problem: str = ""


#: Reads the lines of a file; the number is the present, in seconds since 1970.
Reader: TypeAlias = "Callable[[Iterable[str], float], Iterator[Found]]"


def latest(found: Iterable[Found]) -> Iterator[Found]:
    """Problems at once, then each address's last lease, by address.

    The servers append what changed, so the last word on an address is the true one.
    """
    leases: dict[int, Found] = {}
    for each in found:
        if each.lease is None:
            yield each
        else:
            leases[each.lease.address] = each
    for address in sorted(leases):
        yield leases[address]


def read_address(text: str) -> int:
    """An IPv4 address as a number.

    Raises:
        ValueError: It is none that a host can have.
    """
    try:
        address = int(IPv4Address(text.strip()))
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not an IPv4 address") from None
    if not address:
        raise ValueError("0.0.0.0 is nobody's address")
    return address


def read_hex(text: str, most: int = 255) -> bytes:
    """Bytes from ``01:02:03`` or ``010203``; empty for nothing.

    Raises:
        ValueError: It is neither, or longer than ``most`` bytes.
    """
    text = text.strip()
    if not text:
        return b""
    data = unhex(text)
    if len(data) > most:
        raise ValueError(f"{text[:40]!r} is longer than {most} bytes")
    return data
