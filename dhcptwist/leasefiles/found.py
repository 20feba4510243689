"""What reading a lease file finds: leases, and lines that make no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from socket import AF_INET, inet_pton
from typing import NamedTuple, TypeAlias

from ..lease import Lease, LeaseState
from ..wire.contents import printable
from ..wire.values import unhex


#: Who declined an address, where that was forgotten.  A client identifier has two bytes
#: at least (RFC 2132 section 9.14), so this is nobody's.
NOBODY = b"\0"


#: The last time that makes sense, in the year 5138: what lies behind it a storage takes for
#: damage when it reads it again.
LAST = 1e11


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


#: Reads the lines of a file; the number is the present, in seconds since 1970.  Bytes that
#: are no UTF-8 are surrogate escapes in the lines.  It raises nothing.
Reader: TypeAlias = "Callable[[Iterable[str], float], Iterator[Found]]"


def latest(found: Iterable[Found | int]) -> Iterator[Found]:
    """Problems at once, then each address's last lease.

    The servers append what changed, so the last word on an address is the true one.

    Args:
        found: In the order of the file; a number is an address that was given up.
    """
    leases: dict[int, Found] = {}
    for each in found:
        if isinstance(each, int):
            leases.pop(each, None)
        elif each.lease is None:
            yield each
        else:
            leases[each.lease.address] = each
    yield from leases.values()


def made(
    address: int,
    state: LeaseState,
    key: bytes,
    hardware: bytes,
    since: float,
    expires: float,
    hostname: str = "",
    relay: bytes = b"",
) -> Lease:
    """A lease from what a file says.

    Args:
        address: The address.
        state: What became of it.
        key: The client identifier; empty if the client sent none.
        hardware: Type and address; empty if unknown.
        since: When it was given; 0 if unknown.
        expires: When it ends or ended; ``math.inf`` for never.
        hostname: As it stands in the file.
        relay: Option 82.

    Raises:
        ValueError: It is nobody's, or ends in the far future.
    """
    if LAST < expires < inf or since > LAST:
        raise ValueError("there is a time in the far future")
    if not key or key == hardware:
        key = hardware  # one object for both: there may be a million
    if not key:
        if state != LeaseState.DECLINED:
            raise ValueError("there is neither a hardware address nor an identifier")
        key = NOBODY
    if hostname and not (hostname.isascii() and hostname.isprintable()):
        hostname = printable(to_bytes(hostname))
    return Lease(
        address, state, key, hardware, since, expires, hostname=hostname, relay=relay
    )


def to_bytes(text: str) -> bytes:
    """The bytes that text from a file was."""
    return text.encode("utf-8", "surrogateescape")


def read_address(text: str) -> int:
    """An IPv4 address as a number.

    Raises:
        ValueError: It is none that a host can have.
    """
    try:
        address = int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError):
        raise ValueError(f"{text[:40]!r} is not an IPv4 address") from None
    if not address:
        raise ValueError("0.0.0.0 is nobody's address")
    return address


def read_hex(text: str, most: int = 255) -> bytes:
    """Bytes from ``01:02:03`` or ``010203``; empty for nothing.

    Raises:
        ValueError: It is neither, or longer than ``most`` bytes.
    """
    if len(text) == 17 and text.count(":") == 5:  # nearly all are Ethernet's
        text = text.replace(":", "")
    try:
        data = bytes.fromhex(text)
    except ValueError:
        try:
            data = unhex(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not hexadecimal") from None
    if len(data) > most:
        raise ValueError(f"{text[:40]!r} is longer than {most} bytes")
    return data


def read_number(text: str) -> int:
    """A number of up to twelve decimal digits.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ValueError(f"{text[:40]!r} is not a number of seconds")
    return int(text)
