"""``dhcpd.leases`` of ISC dhcpd: blocks, the last one of an address wins.

See dhcpd.leases(5).  Blocks of DHCPv6, failover peers, hosts and what scripts have set in
a lease are passed over.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from ..lease import Lease, LeaseState
from ..wire.codes import CIRCUIT_ID, REMOTE_ID
from .found import Found, latest, made, read_address, read_hex, read_number, to_bytes


#: A statement as dhcpd writes it, on a line of its own.
_STATEMENT = re.compile(
    r'\s*([a-z-]+)\s+([^"{};#]*)("(?:[^"\\]|\\.)*")?\s*;\s*(?:#.*)?\n?'
)
#: Whatever else may stand there: people edit these files.
_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|[{};]|[^\s{};"#]+|"', re.DOTALL)
_PAIRS = re.compile("[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2})*")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_OCTAL = {b"%03o" % number: bytes([number]) for number in range(256)}

#: Blocks that are no leases, or none of DHCPv4.
OTHERS = frozenset(
    {"class", "failover", "group", "host", "ia-na", "ia-pd", "ia-ta", "ia_na", "ia_pd"}
    | {"ia_ta", "subclass"}
)
#: The statements of a lease that are ours to know.
_WANTED = frozenset(
    {"abandoned", "binding", "client-hostname", "ends", "hardware", "option"}
    | {"starts", "uid"}
)
_OPTIONS = {"agent.circuit-id": CIRCUIT_ID, "agent.remote-id": REMOTE_ID}

#: Words of a statement at most; more is not a lease file.
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

#: First word to the words behind it; of options, the name to its value.
_Said = dict[str, list[str]]


def read(lines: Iterable[str], when: float) -> Iterator[Found]:
    """The leases of a file; see `found.Reader`."""
    return latest(_Blocks().read(lines))


class _Blocks:
    """The outermost blocks of a file, one after the other."""

    def __init__(self) -> None:
        self._number = 0
        self._days: dict[str, int] = {}
        self._open: list[str] = []  # the words that a block is opened with
        self._began = 0
        self._depth = 0
        self._said: _Said = {}
        self._words: list[str] = []

    def read(self, lines: Iterable[str]) -> Iterator[Found]:
        """All leases and problems, in the order of the file."""
        for line in lines:
            self._number += 1
            if self._depth == 1 and not self._words:
                simple = _STATEMENT.fullmatch(line)
                if simple is not None:
                    name, words, text = simple.groups()
                    if name in _WANTED:
                        self._say([name, *words.split(), *([text] if text else [])])
                    continue
            for token in _TOKEN.findall(line):
                if token[0] != "#":
                    yield from self._take(token)
        if self._depth:
            yield self._unfinished("the file ends")
        elif self._words:
            yield Found(self._number, None, "the file ends inside of a statement")

    def _take(self, token: str) -> Iterator[Found]:
        words = self._words
        if token == "{":
            if self._depth and words[:1] == ["lease"]:
                # Leases do not stand inside of anything, so a brace was lost.
                yield self._unfinished("the next one begins")
            if not self._depth:
                self._open, self._began, self._said = words, self._number, {}
            self._depth += 1
            self._words = []
        elif token == ";":
            if self._depth == 1 and words and words[0] in _WANTED:
                self._say(words)
            self._words = []
        elif token == "}":
            self._words = []
            if not self._depth:
                yield Found(self._number, None, "a brace is closed that was not opened")
                return
            self._depth -= 1
            if not self._depth:
                yield from self._closed()
        elif len(words) < _MOST:
            words.append(token)

    def _unfinished(self, why: str) -> Found:
        what = " ".join(self._open[:2])[:60]
        self._depth = 0
        return Found(self._began, None, f"{why} before the block {what!r} is closed")

    def _say(self, words: list[str]) -> None:
        name, *words = words
        if name == "option":
            if not words or words[0] not in _OPTIONS:
                return
            name, *words = words
        self._said[name] = words

    def _closed(self) -> Iterator[Found]:
        head = self._open
        if head and head[0] in OTHERS:
            return
        try:
            if len(head) != 2 or head[0] != "lease":
                raise ValueError(f"is not: lease ADDRESS, but {' '.join(head)[:40]!r}")
            lease = self._made(read_address(head[1]), self._said.get)
        except ValueError as error:
            yield Found(self._began, None, str(error))
            return
        if lease is not None:
            yield Found(self._began, lease)

    def _made(self, address: int, said: Any) -> Lease | None:
        state = _state(said("binding"), said("abandoned"))
        hardware = _hardware(said("hardware"))
        key = _data(said("uid"))
        if state == LeaseState.RELEASED and not (key or hardware):
            return None  # nobody's, and never was
        since = max(self._time(said("starts")), 0.0)
        ends = self._time(said("ends"))
        if ends < 0:
            ends = since if state == LeaseState.RELEASED else inf
        relay = b""
        for option, code in _OPTIONS.items():
            if data := _data(said(option)):
                relay += bytes((code, len(data))) + data
        name = _data(said("client-hostname")).decode("utf-8", "surrogateescape")
        return made(address, state, key, hardware, since, ends, name, relay)

    def _time(self, words: list[str] | None) -> float:
        """Seconds since 1970; -1 for never.

        ``W YYYY/MM/DD hh:mm:ss`` in UTC, or ``epoch SECONDS``.
        """
        if not words or words[0] == "never":
            return -1.0
        try:
            if words[0] == "epoch":
                return float(read_number(words[1]))
            _, day, time = words
            hour, minute, second = map(int, time.split(":"))
            if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
                raise ValueError
            midnight = self._days.get(day)
            if midnight is None:
                midnight = self._days[day] = _midnight(day)
            return float(midnight + 3600 * hour + 60 * minute + second)
        except (ValueError, IndexError):
            raise ValueError(f"{' '.join(words)[:40]!r} is not a time") from None


def _midnight(day: str) -> int:
    year, month, date = map(int, day.split("/"))
    if not (1970 <= year < 3000 and 1 <= month <= 12 and 1 <= date <= 31):
        raise ValueError
    return timegm((year, month, date, 0, 0, 0))


def _state(binding: list[str] | None, abandoned: list[str] | None) -> LeaseState:
    if abandoned is not None:
        return LeaseState.DECLINED
    if binding is None:
        return LeaseState.BOUND  # files of old versions say nothing
    state = _STATES.get(binding[-1]) if len(binding) == 2 else None
    if state is None:
        raise ValueError(f"'binding {' '.join(binding)[:40]}' is not known")
    return state


def _hardware(words: list[str] | None) -> bytes:
    if not words:
        return b""
    kind = words[0]
    number = kind.removeprefix("unknown-")
    htype = _HARDWARE.get(kind)
    if htype is None and number.isascii() and number.isdigit() and len(number) < 4:
        htype = int(number)
    if htype is None or htype > 255 or len(words) > 2:
        raise ValueError(f"'hardware {' '.join(words)[:40]}' is not known")
    if len(words) == 1:
        return b""  # as InfiniBand has it (RFC 4390)
    return bytes([htype]) + _octets(words[1], 16)


def _octets(text: str, most: int = 255) -> bytes:
    if _PAIRS.fullmatch(text) is None:
        # dhcpd writes 0:1:2 as well as 00:01:02.
        text = ":".join(part.zfill(2) for part in text.split(":"))
        if _PAIRS.fullmatch(text) is None:
            raise ValueError(f"{text[:40]!r} is not hexadecimal")
    return read_hex(text.replace(":", ""), most)


def _data(words: list[str] | None) -> bytes:
    r"""Bytes from ``"text\001"`` or ``0:1:2``; empty for nothing."""
    if not words:
        return b""
    text = words[0]
    if not text.startswith('"'):
        return _octets(text)
    if len(text) < 2 or not text.endswith('"'):
        raise ValueError(f"{text[:40]!r} does not end")
    data = to_bytes(text[1:-1])
    if b"\\" in data:
        data = _ESCAPE.sub(_unescaped, data)
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r} is longer than 255 bytes")
    return data


def _unescaped(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    known = _OCTAL.get(escaped)
    if known is not None:
        return known
    return bytes([int(escaped, 8) & 255]) if escaped[0] in b"01234567" else escaped
