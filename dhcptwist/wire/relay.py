"""Option 82: what a relay says of the port a client is on (RFC 3046)."""

from __future__ import annotations


def split(data: bytes) -> dict[int, bytes]:
    """The sub-options by code.

    A sub-option that runs past the end stops the reading; what came before it
    counts.  The first of two with one code wins.
    """
    found: dict[int, bytes] = {}
    at = 0
    end = len(data)
    while at + 2 <= end:
        stop = at + 2 + data[at + 1]
        if stop > end:
            break
        found.setdefault(data[at], data[at + 2 : stop])
        at = stop
    return found


def join(suboptions: dict[int, bytes]) -> bytes:
    """The bytes of option 82 from its sub-options.

    Raises:
        ValueError: A sub-option is longer than 255 bytes.
    """
    return b"".join(
        bytes((code, len(value))) + value for code, value in suboptions.items()
    )
