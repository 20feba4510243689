"""``dhcpd.leases`` of ISC dhcpd: blocks, the last one of an address wins.

See dhcpd.leases(5).  Blocks of DHCPv6, failover peers and what scripts have set in a lease
are passed over.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from ..lease import Lease, LeaseState
from ..wire.codes import CIRCUIT_ID, REMOTE_ID
from .found import Found, latest, read_address, read_hex


_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|[{};]|[^\s{};"#]+|"', re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)", re.DOTALL)

#: Statements of a lease that a file may have at most; more is not a lease file.
_MOST = 1000

_HARDWARE = {"ethernet": 1, "token-ring": 6, "fddi": 8, "infiniband": 32}
_STATES = {
    "active": LeaseState.BOUND,
    "abandoned": LeaseState.DECLINED,
    "free": LeaseState.RELEASED,
    "backup": LeaseState.RELEASED,
    "expired": LeaseState.RELEASED,
    "released": LeaseState.RELEASED,
    "reset": LeaseState.RELEASED,
}


@dataclass(slots=True)
class _Block:
    """A block, or a statement if it has no body."""

    line: int
    words: list[str]
    body: list[_Block] = field(default_factory=list)


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file; see `found.Reader`."""
    return latest(_read(lines))


def _read(lines: Iterable[str]) -> Iterator[Found]:
    for block in _blocks(lines):
        if not block.words or block.words[0] != "lease":
            if block.words[:1] == ["}"]:
                yield Found(block.line, None, "a brace is closed that was not opened")
            elif block.words[:1] == [""]:
                yield Found(block.line, None, "the file ends inside of a block")
            continue
        try:
            lease = _lease(block)
        except ValueError as error:
            yield Found(block.line, None, str(error))
            continue
        if lease is not None:
            yield Found(block.line, lease)


def _tokens(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        for token in _TOKEN.findall(line):
            if token[0] != "#":
                yield number, token


def _blocks(lines: Iterable[str]) -> Iterator[_Block]:  # noqa: C901 - one loop, one stack
    """The outermost blocks, one after the other."""
    open_blocks: list[_Block] = []
    words: list[str] = []
    line = 0
    for line, token in _tokens(lines):
        if token == "{":
            block = _Block(line, words)
            words = []
            if len(open_blocks) < 20:
                open_blocks.append(block)
        elif token in {";", "}"}:
            if words and open_blocks and len(open_blocks[-1].body) < _MOST:
                open_blocks[-1].body.append(_Block(line, words))
            words = []
            if token == "}":
                if not open_blocks:
                    yield _Block(line, ["}"])
                    continue
                block = open_blocks.pop()
                if not open_blocks:
                    yield block
        elif len(words) < _MOST:
            words.append(token)
    if open_blocks:
        yield _Block(line, [""])


def _lease(block: _Block) -> Lease | None:
    if len(block.words) != 2:
        raise ValueError("is not: lease ADDRESS { … }")
    address = read_address(block.words[1])
    said = {tuple(each.words[:1]): each.words[1:] for each in block.body}
    options = {
        each.words[1]: each.words[2:]
        for each in block.body
        if each.words[0] == "option" and len(each.words) > 2
    }
    state = _state(block)
    hardware = _hardware(said.get(("hardware",), []))
    key = _data(said.get(("uid",), [])) or hardware
    if not key:
        if state == LeaseState.RELEASED:
            return None  # nobody's, and never was
        if state != LeaseState.DECLINED:
            raise ValueError("there is neither hardware nor uid")
        key = b"\x00"
    name = _data(said.get(("client-hostname",), []))
    return Lease(
        address,
        state,
        key,
        hardware,
        max(_time(said.get(("starts",), ["never"])), 0.0),
        inf if state == LeaseState.DECLINED else _ends(said, state),
        hostname=name.decode("utf-8", "replace"),
        relay=b"".join(
            bytes((code, len(data))) + data
            for code, option in (
                (CIRCUIT_ID, "agent.circuit-id"),
                (REMOTE_ID, "agent.remote-id"),
            )
            if (data := _data(options.get(option, [])))
        ),
    )


def _state(block: _Block) -> LeaseState:
    for each in block.body:
        if each.words[:2] == ["binding", "state"] and len(each.words) > 2:
            state = _STATES.get(each.words[2])
            if state is None:
                raise ValueError(f"binding state {each.words[2]!r} is not known")
            return state
        if each.words == ["abandoned"]:
            return LeaseState.DECLINED
    return LeaseState.BOUND  # files of old versions say nothing


def _ends(said: dict[tuple[str, ...], list[str]], state: LeaseState) -> float:
    ends = _time(said.get(("ends",), ["never"]))
    if ends < 0:
        return inf if state == LeaseState.BOUND else 0.0
    return ends


def _time(words: list[str]) -> float:
    """Seconds since 1970; -1 for never.

    ``W YYYY/MM/DD hh:mm:ss`` in UTC, or ``epoch SECONDS``.
    """
    if words[:1] == ["never"]:
        return -1.0
    try:
        if words[0] == "epoch":
            return float(int(words[1]))
        year, month, day = map(int, words[1].split("/"))
        hour, minute, second = map(int, words[2].split(":"))
        if not (1970 <= year < 3000 and 1 <= month <= 12 and 1 <= day <= 31):
            raise ValueError
        return float(timegm((year, month, day, hour, minute, second)))
    except (ValueError, IndexError, OverflowError):
        raise ValueError(f"{' '.join(words)!r} is not a time") from None


def _hardware(words: list[str]) -> bytes:
    if len(words) != 2:
        if words:
            raise ValueError("hardware is not: hardware TYPE ADDRESS")
        return b""
    kind = words[0]
    number = kind.removeprefix("unknown-")
    htype = _HARDWARE.get(kind) or (int(number) if number.isdecimal() else 0)
    if not 0 < htype < 256:
        raise ValueError(f"hardware type {kind!r} is not known")
    return bytes([htype]) + _octets(words[1], 16)


def _octets(text: str, most: int = 255) -> bytes:
    # dhcpd writes 0:1:2 as well as 00:01:02.
    return read_hex(":".join(part.zfill(2) for part in text.split(":")), most)


def _data(words: list[str]) -> bytes:
    r"""Bytes from ``"text\001"`` or ``0:1:2``; empty for nothing."""
    if not words:
        return b""
    text = words[0]
    if not text.startswith('"'):
        return _octets(text)
    if len(text) < 2 or not text.endswith('"'):
        raise ValueError(f"{text[:40]!r} does not end")

    def unescaped(found: re.Match[str]) -> str:
        escaped = found[1]
        return chr(int(escaped, 8) & 0xFF) if escaped[0] in "01234567" else escaped

    data = _ESCAPE.sub(unescaped, text[1:-1]).encode("latin-1", "replace")
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r} is longer than 255 bytes")
    return data
