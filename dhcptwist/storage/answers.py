"""What a web service answers, from JSON: ``answers`` in ``docs/http-storage.schema.json``.

A service may be newer than the server: what is not known in an answer is passed over.  What
is known has to be right; what is wrong with it is a `BadAnswer` that names the member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from ..client import Client
from ..lease import Lease, Refused, Reservation, Settings, Silence
from ..wire.codes import INFINITE, PROTOCOL_OPTIONS
from ..wire.options import option_kind
from ..wire.values import visible
from .questions import VERSION


#: What each verb may be answered with; of these, just one.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "offer": ("lease", "silence"),
    "commit": ("lease", "refused", "silence"),
    "release": ("done", "silence"),
    "decline": ("done", "silence"),
    "configure": ("settings", "silence"),
    "reservation": ("reservation", "refused", "silence"),
}

#: Reasons for silence that have counters of their own.
_SILENCES = {
    each.value: each
    for each in (
        Silence.NO_LEASE,
        Silence.NOT_ALLOWED,
        Silence.POOL_EXHAUSTED,
        Silence.UNKNOWN_CLIENT,
    )
}

_SETTINGS = frozenset(
    {
        *("options", "next_server", "boot_file", "server_name", "hostname", "class"),
        *("renewal_time", "rebinding_time"),
    }
)
_NOTHING = Settings()

#: Text that fits an option, whatever UTF-8 makes of it, and moves no cursor.
_TEXT = re.compile("[ -~]{1,255}|[^\0-\x1f\x7f-\x9f\ud800-\udfff]{1,63}")

#: What ROMs can read, in fields of a fixed size.
_BOOT_FILE = re.compile("[ -~]{1,127}")
_SERVER_NAME = re.compile("[ -~]{1,63}")

_encode = json.JSONEncoder(separators=(",", ":")).encode


class BadAnswer(ValueError):  # noqa: N818 - it says what it is
    """The service's answer makes no sense; the message names the member.

    Attributes:
        is_logged: Whoever asks has told the log.
    """

    is_logged = True


class Answers:
    """Reads what one service answers.

    Settings that it repeats are the same object again, because whoever encodes them
    remembers what they become.
    """

    #: So many settings are remembered, each of so many characters at most.
    MOST_SETTINGS = 1024
    MOST_CHARACTERS = 2048

    def __init__(self) -> None:
        self._known: dict[str, Settings] = {}

    def read(self, verb: str, text: bytes, client: Client) -> Any:
        """What a storage's verb would return, from what a service has said.

        Raises:
            BadAnswer: It is no answer to that verb.
        """
        try:
            return self._read(verb, _parsed(text), client)
        except RecursionError:
            raise BadAnswer("its answer is nested too deep") from None

    def _read(self, verb: str, document: Any, client: Client) -> Any:
        name, value = _chosen(verb, document)
        if name == "lease":
            return None if value is None else self._lease(value)
        if name == "reservation":
            return None if value is None else self._reservation(value, client)
        if name == "settings":
            return self._settings(name, _object(name, value))
        if name == "done":
            if not isinstance(value, bool):
                raise BadAnswer(f"done: {_shown(value)} is neither true nor false")
            return value
        reason = _text(name, value, _TEXT)
        if name == "refused":
            return Refused(reason)
        return _SILENCES.get(reason, Silence.NOT_ALLOWED)

    def _lease(self, value: Any) -> Lease:
        found = _object("lease", value)
        address = _address("lease.address", found.get("address"))
        if not 0 < address >> 24 < 224:
            raise BadAnswer(f"lease.address: {IPv4Address(address)} is no host's")
        time = found.get("lease_time")
        if time == "infinite":
            time = INFINITE
        return Lease(
            address,
            duration=_seconds("lease.lease_time", time, INFINITE),
            settings=self._settings("lease", found) or None,
        )

    def _reservation(self, value: Any, client: Client) -> Reservation:
        found = _object("reservation", value)
        settings = self._settings("reservation", found)
        address = found.get("address")
        # Any number of clients have the hardware address 0, and only their identifiers
        # tell them apart.
        hardware = client.hardware if client.hardware[1:].strip(b"\0") else b""
        return Reservation(
            None if address is None else _address("reservation.address", address),
            hardware=hardware,
            client_id=b"" if hardware else client.key,
            hostname=settings.hostname or "",
            settings=settings or None,
            source="http",
        )

    def _settings(self, where: str, found: Mapping[str, Any]) -> Settings:
        members = {
            name: value
            for name, value in found.items()
            if value is not None and name in _SETTINGS
        }
        if not members:
            return _NOTHING
        text = _encode(members)
        settings = self._known.get(text)
        if settings is None:
            settings = _read_settings(where, members)
            if len(text) <= self.MOST_CHARACTERS:
                if len(self._known) >= self.MOST_SETTINGS:
                    self._known.clear()
                self._known[text] = settings
        return settings


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadAnswer(f"its answer is no JSON: {visible(str(error))}") from None


def _chosen(verb: str, document: Any) -> tuple[str, Any]:
    """The one member of an answer that says what the answer is."""
    if not isinstance(document, dict):
        raise BadAnswer(f"its answer is no object: {_shown(document)}")
    version = document.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise BadAnswer(f"version: {_shown(version)} is not {VERSION}")
    found = [name for name in ANSWERS[verb] if name in document]
    if len(found) != 1:
        raise BadAnswer(
            f"{verb} is answered with one of {', '.join(ANSWERS[verb])}, not with"
            f" {' and '.join(found) or 'none of them'}"
        )
    return found[0], document[found[0]]


def _read_settings(where: str, members: Mapping[str, Any]) -> Settings:
    def text(name: str, pattern: re.Pattern[str] = _TEXT) -> str | None:
        value = members.get(name)
        return None if value is None else _text(f"{where}.{name}", value, pattern)

    def seconds(name: str) -> int | None:
        value = members.get(name)
        most = INFINITE - 1
        return None if value is None else _seconds(f"{where}.{name}", value, most)

    server = members.get("next_server")
    return Settings(
        _options(f"{where}.options", members.get("options", {})),
        None if server is None else _address(f"{where}.next_server", server),
        text("boot_file", _BOOT_FILE),
        text("server_name", _SERVER_NAME),
        text("hostname"),
        seconds("renewal_time"),
        seconds("rebinding_time"),
        text("class") or "",
    )


def _options(where: str, value: Any) -> dict[int, bytes]:
    """Options by name or number; their values as the ini file or `wire` writes them."""
    options: dict[int, bytes] = {}
    for name, each in _object(where, value).items():
        place = f"{where}.{visible(name)[:64]}"
        if each is None:
            raise BadAnswer(f"{place}: null is no value; leave the option out")
        try:
            kind = option_kind(name)
            data = kind.encode(each)
        except ValueError as error:
            raise BadAnswer(f"{place}: {visible(str(error))[:200]}") from None
        if kind.code in PROTOCOL_OPTIONS:
            raise BadAnswer(f"{place}: belongs to the protocol and cannot be set")
        if kind.code in options:
            raise BadAnswer(f"{place}: is there twice, as a name and as a number")
        options[kind.code] = data
    return options


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(f"{where}: {_shown(value)} is no object")
    return value


def _address(where: str, value: Any) -> int:
    try:
        if isinstance(value, str):
            return int(IPv4Address(value))
    except ValueError:
        pass
    raise BadAnswer(f"{where}: {_shown(value)} is not an IPv4 address")


def _text(where: str, value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadAnswer(
            f"{where}: {_shown(value)} is no text that fits: empty, too long, or not"
            " printable"
        )
    return value


def _seconds(where: str, value: Any, most: int) -> int:
    # To JSON, 60.0 is a whole number like any other; true is not.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        raise BadAnswer(f"{where}: {_shown(value)} is no whole number of seconds")
    if not 1 <= value <= most:
        raise BadAnswer(f"{where}: {_shown(value)} is not from 1 to {most}")
    return int(value)


def _shown(value: Any) -> str:
    """A value for people, not too long, and without what could move a cursor."""
    return _encode(value)[:64]
