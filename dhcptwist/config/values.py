"""The words behind the equals signs: each key's reader.

Every reader takes text and raises ``ValueError`` with a reason a person can act on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from math import inf
from typing import Any
from urllib.parse import urlsplit

from ..lease import FILE, parse_hardware, parse_identifier
from ..wire.codes import INFINITE, PROTOCOL_OPTIONS
from ..wire.options import option_kind
from .model import VERBS, Rate, Role


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_duration(text: str) -> int:
    """Seconds from ``90``, ``30s``, ``12h``, ``1d12h``; ``infinite`` is 0xFFFFFFFF.

    Raises:
        ValueError: It is none of these, or zero.
    """
    text = text.strip().lower()
    if text == "infinite":
        return INFINITE
    if text.isascii() and text.isdigit():
        seconds = int(text)
    elif re.fullmatch(r"(\d+[smhdw])+", text, re.ASCII):
        parts = re.findall(r"(\d+)([smhdw])", text)
        seconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
    else:
        raise ValueError(f"{text!r} is not a time like 30s, 12h, 7d or infinite")
    if not 0 < seconds < INFINITE:
        raise ValueError(f"{text!r} is not between 1 second and {INFINITE - 1} seconds")
    return seconds


def _yes_no(text: str) -> bool:
    if text.lower() in {"yes", "true", "on", "1"}:
        return True
    if text.lower() in {"no", "false", "off", "0"}:
        return False
    raise ValueError(f"{text!r} is neither yes nor no")


def only_no(text: str) -> bool:
    """A key whose yes is not built yet."""
    if _yes_no(text):
        raise ValueError("this version of dhcptwist cannot do that; leave it at no")
    return False


def _address(text: str) -> int:
    try:
        return int(IPv4Address(text.strip()))
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not an IPv4 address") from None


def _addresses(text: str) -> frozenset[int]:
    return frozenset(_address(each) for each in re.split(r"[,\s]+", text.strip()))


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a network like 192.0.2.0/24: {error}"
        ) from None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65534")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not names:
        raise ValueError("names an interface, or * for all")
    return names


def _word(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _short(limit: int) -> Callable[[str], str]:
    def short(text: str) -> str:
        if not 0 < len(text.encode()) < limit:
            raise ValueError(f"is empty or longer than {limit - 1} bytes")
        return text

    return short


def _broadcast(text: str) -> bool:
    if text not in {"as-asked", "always"}:
        raise ValueError(f"{text!r} is neither as-asked nor always")
    return text == "always"


def _storage(text: str) -> str:
    if re.match(r"https?:", text, re.IGNORECASE):
        return parse_url(text)
    return _word(text)


def _history(text: str) -> float:
    seconds = parse_duration(text)
    return inf if seconds == INFINITE else float(seconds)


def _deadline(text: str) -> float:
    seconds = parse_duration(text)
    # RFC 2131 section 4.1: by then a client has asked again, several times.
    if seconds > 60:
        raise ValueError(f"{text!r} is more than a minute; no client waits as long")
    return float(seconds)


def _outstanding(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= 100_000:
        raise ValueError(f"{text!r} is not a number from 1 to 100000")
    return int(text[:9])


def _fallback(text: str) -> bool:
    if text not in {"stale", "silence"}:
        raise ValueError(f"{text!r} is neither stale nor silence")
    return text == "stale"


def parse_rate(text: str) -> Rate | None:
    """How often, from ``20 per 10s``; None for ``none``.

    Raises:
        ValueError: It is neither.
    """
    if text == "none":
        return None
    words = re.fullmatch(r"(\d{1,6})\s+per\s+(\S+)", text, re.ASCII)
    try:
        rate = words and Rate(int(words[1]), float(parse_duration(words[2])))
    except ValueError:
        rate = None
    if rate is None or not rate.count or rate.seconds > 86400:
        raise ValueError(f"{text!r} is neither like 20 per 10s nor none")
    return rate


def parse_url(text: str) -> str:
    """The URL of a web service.

    Raises:
        ValueError: It is none, or holds what does not belong into one.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not re.fullmatch(r"[!-~]+", text)
    ):
        raise ValueError(f"{text!r} is not a URL like https://who.example/dhcp")
    if "@" in parts.netloc:
        raise ValueError(
            "a URL is no place for a password; see token-file in [storage]"
        )
    if "#" in text:
        raise ValueError("what stands behind # in a URL is never sent; leave it out")
    return text


_SETTINGS: dict[str, Callable[[str], Any]] = {
    "next-server": _address,
    "boot-file": _short(128),
    "server-name": _short(64),
}

SERVER_KEYS: dict[str, Callable[[str], Any]] = {
    "interfaces": _names,
    "port": _port,
    "authoritative": _yes_no,
    "state": _word,
    "storage": _storage,
}

STORAGE_KEYS: dict[str, Callable[[str], Any]] = {
    "history": _history,
    "deadline": _deadline,
    "outstanding": _outstanding,
    "fallback": _fallback,
    "client-limit": parse_rate,
    "port-limit": parse_rate,
    "reservations": parse_url,
    "token-file": _word,
    "authority": _word,
}

#: The names that keys of [storage] have in a `StorageConfig`, where these differ.
STORAGE_FIELDS = {
    "fallback": "stale",
    "client-limit": "client_limit",
    "port-limit": "port_limit",
    "token-file": "token",
}

SUBNET_KEYS: dict[str, Callable[[str], Any]] = {
    "network": _network,
    "pools": _word,
    "interface": _word,
    "shared-network": _word,
    "relays": _addresses,
    "lease-time": parse_duration,
    "min-lease-time": parse_duration,
    "max-lease-time": parse_duration,
    "offer-hold": parse_duration,
    "decline-hold": parse_duration,
    "broadcast": _broadcast,
    "subnet-selection": _yes_no,
    "probe": only_no,
    "rapid-commit": only_no,
    "ddns": only_no,
    **_SETTINGS,
}

CLASS_KEYS = _SETTINGS

RESERVATION_KEYS: dict[str, Callable[[str], Any]] = {
    "hardware": parse_hardware,
    "client-id": parse_identifier,
    "circuit-id": parse_identifier,
    "remote-id": parse_identifier,
    "address": _address,
    "hostname": _short(256),
    "class": _word,
    **_SETTINGS,
}


def parse_option(key: str, text: str) -> tuple[int, bytes]:
    """An option's code and bytes, from its name or number and its text."""
    kind = option_kind(key.removeprefix("option."))
    if kind.code in PROTOCOL_OPTIONS:
        raise ValueError("this option belongs to the protocol and cannot be set")
    return kind.code, kind.shape.encode_text(text)


def parse_pool(text: str, network: IPv4Network) -> tuple[int, int]:
    """The first and last address of a pool inside a network."""
    first_text, dash, last_text = text.partition("-")
    first = _address(first_text)
    last = _address(last_text) if dash else first
    if first > last:
        raise ValueError(f"{text!r} begins behind its end")
    low, high = int(network.network_address), int(network.broadcast_address)
    if first < low or last > high:
        raise ValueError(f"{text!r} is not inside {network}")
    if network.prefixlen < 31 and (first == low or last == high):
        raise ValueError(
            f"{text!r} holds the network's or the broadcast address of {network}"
        )
    return first, last


def parse_role(name: str, text: str) -> Role:
    """What a certificate's name may do.

    From ``VERB, VERB in NETWORK, NETWORK as SOURCE, SOURCE at COUNT per TIME``; what
    follows the verbs may be left out, and stand in any order.
    """
    verbs_text, *rest = re.split(r"\s+(in|as|at)\s+", text)
    said = list(zip(rest[::2], rest[1::2], strict=True))
    parts = dict(said)
    verbs = frozenset(filter(None, re.split(r"[,\s]+", verbs_text.strip())))
    if not name or name == "admin":
        raise ValueError("a role needs a certificate's name; admin may do everything")
    if not verbs or not verbs <= VERBS:
        raise ValueError(f"verbs are {', '.join(sorted(VERBS))}")
    if len(parts) < len(said):
        raise ValueError("in, as and at may each be said once, with commas behind it")
    networks = tuple(
        _network(each) for each in re.split(r"[,\s]+", parts.get("in", "")) if each
    )
    if "in" in parts and not networks:
        raise ValueError("in which networks?")
    sources = _sources(parts["as"]) if "as" in parts else ()
    rate = parse_rate(parts["at"].strip()) if "at" in parts else None
    return Role(name, verbs, networks, sources, rate)


def _sources(text: str) -> tuple[str, ...]:
    sources = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not sources:
        raise ValueError("as which sources?")
    for each in sources:
        if each == FILE:
            raise ValueError(f"{FILE} is the source of the [reservation]s here")
        if len(each) > 64 or not each.isprintable():
            raise ValueError(f"{each!r} is not 1 to 64 printable characters")
    return sources
