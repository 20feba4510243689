"""Bytes in disguise: messages in hexadecimal, in base64, or in a dump with offsets."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence

from .capture import CaptureError, payload_of
from .codes import MAGIC_COOKIE


#: The link types that bytes in hexadecimal may begin with.
_ETHERNET, _RAW_IP = 1, 101

#: A line of a dump: an offset, and what stands there.
_DUMPED = re.compile(r"(?:0x)?([0-9a-f]{4,8}):?(?:\s+(.*))?", re.IGNORECASE)

#: How long a packet of a dump may be that leaves out lines like the one before.
_LARGEST_DUMP = 1 << 16


def datagrams(data: bytes) -> Iterator[bytes]:
    """The messages that bytes or a text of bytes hold.

    The text is hexadecimal, base64 or a dump with offsets; of a packet or a frame it is
    what its datagram holds.

    Raises:
        CaptureError: It is text of another kind.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip() or not re.fullmatch(r"[\x20-\x7e\s]*", text):
        yield _unwrapped(data)
        return
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("0x0000:") for line in lines):
        # tcpdump says something of each packet before its bytes.
        lines = [line for line in lines if line.startswith("0x")]
    found: Sequence[bytes | None] | None = _dumped(lines)
    if found is None and len(lines) > 1:
        found = [_plain(line) for line in lines]
        # Lines that could be messages are, and others are parts of one.
        if max(len(each or b"") for each in found) < 236:
            found = None
    for each in found or [_plain("\n".join(lines))]:
        if each is None:
            raise CaptureError("neither hexadecimal nor base64 nor a capture")
        yield _unwrapped(each)


def _dumped(lines: list[str]) -> list[bytes] | None:
    """The packets of a dump with offsets, as of xxd, hexdump -C or tcpdump -x."""
    found = [b""]
    row, again = b"", False
    for line in lines:
        if line == "*":
            again = True
            continue
        match = _DUMPED.fullmatch(line)
        offset = int(match[1], 16) if match else -1
        if again and row and len(found[-1]) < offset <= _LARGEST_DUMP:
            missing = offset - len(found[-1])
            found[-1] += (row * (missing // len(row) + 1))[:missing]
        if not offset and found[-1]:
            found.append(b"")
        again = False
        words = _columns(match[2] or "") if match else ""
        more = _unhexed(words)
        if offset != len(found[-1]) or more is None:
            return None
        row = more
        found[-1] += row
    return found if found[0] else None


def _columns(line: str) -> str:
    """A line of a dump without the text that may stand beside its bytes."""
    before = re.sub(r"\s*\|.*\|$", "", line)
    return before if before != line else re.split(r"\s{2,}", line)[0]


def _plain(text: str) -> bytes | None:
    """The bytes of hexadecimal or base64; None if it is neither."""
    data = _unhexed(text)
    if data is None:
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except ValueError:
            return None
    return data


def _unhexed(text: str) -> bytes | None:
    try:
        return bytes.fromhex(re.sub(r"0x|\\x|hex:|[\s:;,.\-]", "", text))
    except ValueError:
        return None


def _unwrapped(data: bytes) -> bytes:
    """The message in a packet or frame, if the bytes are one, else the bytes."""
    if data[236:240] == MAGIC_COOKIE:
        return data
    for link in (_RAW_IP, _ETHERNET):
        payload = payload_of(link, data)
        if payload is not None:
            return payload
    return data
