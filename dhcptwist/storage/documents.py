"""What the server asks a web service and what it is told, as JSON's own types.

``docs/http-storage.schema.json`` describes both; members of an answer that are not known
are passed over, so that a service may be newer than the server.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from ..client import Client
from ..config.values import parse_option
from ..lease import (
    Lease,
    Refused,
    Reservation,
    Settings,
    Silence,
    format_hardware,
    format_identifier,
    port_of,
)
from ..wire.codes import INFINITE
from ..wire.options import option_kind


VERSION = 1


class BadAnswer(ValueError):  # noqa: N818 - it says what it is
    """The service's answer makes no sense; the message names the member."""


# --- questions --------------------------------------------------------------------


def question(
    verb: str, client: Client, when: float, number: str, address: int | None = None
) -> dict[str, Any]:
    """The document of one question.

    Args:
        verb: ``offer``, ``commit``, ``release``, ``decline``, ``configure`` or
            ``reservation``.
        client: Who asks.
        when: Now, in seconds since 1970.
        number: Tells this question from others; the same if it is asked again.
        address: What it is about, for the verbs that have one.
    """
    document = {
        "version": VERSION,
        "id": number,
        "verb": verb,
        "when": when,
        "client": client_fields(client),
    }
    if address is not None:
        document["address"] = str(IPv4Address(address))
    return document


def client_fields(client: Client) -> dict[str, Any]:
    """All that is known of a client."""
    message = client.message
    circuit, remote = port_of(client.relay) if client.relay else (b"", b"")
    options = {}
    for code, data in message.options.items():
        kind = option_kind(code)
        options[kind.name] = kind.shape.decode_text(data)
    giaddr = message.giaddr
    return {
        "hardware": format_hardware(client.hardware),
        "identifier": format_identifier(client.identifier),
        "key": f"hex:{client.key.hex()}",
        "state": client.state.name.lower().replace("_", "-"),
        "requested": str(IPv4Address(client.requested)) if client.requested else None,
        "requested_time": client.requested_time,
        "hostname": client.hostname,
        "vendor_class": format_identifier(client.vendor_class),
        "interface": client.via.interface,
        "relay": str(IPv4Address(giaddr)) if giaddr else None,
        "circuit_id": format_identifier(circuit),
        "remote_id": format_identifier(remote),
        "subnets": [
            {"name": subnet.name, "network": str(subnet.cidr)}
            for subnet in client.subnets
        ],
        "options": options,
    }


# --- answers ----------------------------------------------------------------------


def read_answer(verb: str, document: Any, client: Client) -> Any:
    """What a storage's verb would return, from the service's document.

    Raises:
        BadAnswer: It is no answer to that verb.
    """
    if not isinstance(document, dict):
        raise BadAnswer("the answer is not an object")
    version = document.get("version", VERSION)
    if version != VERSION:
        raise BadAnswer(f"version: {version!r} is not {VERSION}")
    if "silence" in document:
        return _silence(document)
    if "refused" in document and verb in {"commit", "reservation"}:
        return Refused(_text(document, "refused", 200) or "refused")
    if verb in {"offer", "commit"}:
        if document.get("unknown") is True:
            return None
        return _lease(_member(document, "lease", dict))
    if verb in {"release", "decline"}:
        return _member(document, "done", bool)
    if verb == "configure":
        return _settings(_member(document, "settings", dict))
    if document.get("reservation", False) is None:
        return None
    return _reservation(_member(document, "reservation", dict), client)


def _silence(document: dict[str, Any]) -> Silence:
    reason = _text(document, "silence", 200)
    try:
        return Silence(reason)
    except ValueError:
        return Silence.NOT_ALLOWED


def _lease(found: dict[str, Any]) -> Lease:
    time = found.get("lease_time")
    if time == "infinite":
        time = INFINITE
    duration = _whole(time, "lease_time", 1, INFINITE)
    return Lease(
        _address(found, "address"),
        duration=duration,
        settings=_settings(found) or None,
    )


def _reservation(found: dict[str, Any], client: Client) -> Reservation:
    return Reservation(
        None if found.get("address") is None else _address(found, "address"),
        hardware=client.hardware,
        client_id=b"" if client.hardware else client.key,
        hostname=_text(found, "hostname", 255) or "",
        settings=_settings(found) or None,
        source="http",
    )


def _settings(found: dict[str, Any]) -> Settings:
    given = found.get("options") or {}
    if not isinstance(given, dict):
        raise BadAnswer("options: must be an object of names and texts")
    options = {}
    for name, text in given.items():
        try:
            code, data = parse_option(
                name, text if isinstance(text, str) else str(text)
            )
        except ValueError as error:
            raise BadAnswer(f"options: {name}: {error}") from None
        options[code] = data
    server = found.get("next_server")
    times = {
        name: None
        if found.get(name) is None
        else _whole(found[name], name, 1, INFINITE - 1)
        for name in ("renewal_time", "rebinding_time")
    }
    return Settings(
        options,
        None if server is None else _address(found, "next_server"),
        _text(found, "boot_file", 127),
        _text(found, "server_name", 63),
        _text(found, "hostname", 255),
        times["renewal_time"],
        times["rebinding_time"],
        _text(found, "class", 255) or "",
    )


def _member(document: dict[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise BadAnswer(
            f"{name}: is missing"
            if name not in document
            else f"{name}: must be {'an object' if kind is dict else 'true or false'}"
        )
    return value


def _address(found: dict[str, Any], name: str) -> int:
    text = found.get(name)
    try:
        if isinstance(text, str):
            return int(IPv4Address(text))
    except ValueError:
        pass
    raise BadAnswer(f"{name}: {text!r} is not an IPv4 address")


def _text(found: dict[str, Any], name: str, most: int) -> str | None:
    text = found.get(name)
    if text is not None and not isinstance(text, str):
        raise BadAnswer(f"{name}: must be a text")
    if text is not None and len(text.encode(errors="replace")) > most:
        raise BadAnswer(f"{name}: is longer than {most} bytes")
    return text


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadAnswer(f"{name}: must be a whole number of seconds")
    if not least <= value <= most:
        raise BadAnswer(f"{name}: {value} is not from {least} to {most}")
    return value
