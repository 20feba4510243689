"""What a web service is asked, as JSON: ``question`` in ``docs/http-storage.schema.json``."""

from __future__ import annotations

import json
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from ..client import Client
from ..lease import (
    format_hardware,
    format_identifier,
    port_of,
)
from ..wire import relay
from ..wire.codes import (
    PARAMETER_REQUEST_LIST,
    RELAY_AGENT_INFORMATION,
)
from ..wire.options import OPTION_KINDS, option_kind
from ..wire.special import USER_CLASS
from ..wire.values import visible


#: The version of questions and answers.
VERSION = 1

_encode = json.JSONEncoder(separators=(",", ":")).encode


def question(
    verb: str, client: Client, when: float, number: str, address: int | None = None
) -> bytes:
    """One question, as JSON.

    Args:
        verb: ``offer``, ``commit``, ``release``, ``decline``, ``configure`` or
            ``reservation``.
        client: Who asks.
        when: Now, in seconds since 1970.
        number: Tells this question from others; the same if it is asked again.
        address: What it is about; None where there is none.
    """
    document: dict[str, Any] = {
        "version": VERSION,
        "verb": verb,
        "id": number,
        "when": when,
        "client": client_members(client),
    }
    if address is not None:
        document["address"] = str(IPv4Address(address))
    return _encode(document).encode("ascii")


def client_members(client: Client) -> dict[str, Any]:
    """All that is known of a client; None for what it did not say."""
    message = client.message
    sent = message.options
    return {
        "hardware": format_hardware(client.hardware) or None,
        "identifier": _identifier(client.identifier),
        "key": format_identifier(client.key),
        "state": client.state.name.lower().replace("_", "-"),
        "requested": _dotted(client.requested),
        "requested_time": client.requested_time,
        "hostname": client.hostname or None,
        "vendor_class": _identifier(client.vendor_class),
        "user_class": _user_class(client.user_class),
        "relay": _relay(message.giaddr, sent.get(RELAY_AGENT_INFORMATION)),
        "subnets": [
            {"name": subnet.name, "network": str(subnet.cidr)}
            for subnet in client.subnets
        ],
        "interface": client.via.interface,
        "server": str(IPv4Address(client.via.server_id)),
        "parameter_request_list": _names(sent.get(PARAMETER_REQUEST_LIST)),
        "options": dict(
            # Most clients send most options as others do, or as they did before.
            _option(code, data) if len(data) <= 64 else _option_text(code, data)
            for code, data in sent.items()
        ),
    }


def _identifier(data: bytes) -> str | None:
    return format_identifier(data) if data else None


def _dotted(address: int) -> str | None:
    return str(IPv4Address(address)) if address else None


def _user_class(data: bytes) -> list[str]:
    """Its user classes, in whichever dialect of option 77 it says them."""
    if not data:
        return []
    found = USER_CLASS.decode(data)
    return [visible(each) for each in ([found] if isinstance(found, str) else found)]


def _relay(giaddr: int, information: bytes | None) -> dict[str, Any] | None:
    if not giaddr and information is None:
        return None
    kind = relay.RELAY_INFORMATION.kind
    information = information or b""
    circuit, remote = port_of(information)
    return {
        "giaddr": _dotted(giaddr),
        "circuit_id": _identifier(circuit),
        "remote_id": _identifier(remote),
        "suboptions": {
            kind(code).name: kind(code).shape.decode_plain(data)
            for code, data in relay.split(information).items()
        },
    }


def _names(codes: bytes | None) -> list[str] | None:
    if codes is None:
        return None
    names = OPTION_KINDS
    return [names[c].name if c in names else f"option-{c}" for c in codes]


def _option_text(code: int, data: bytes) -> tuple[str, str]:
    kind = option_kind(code)
    return kind.name, kind.shape.decode_text(data)


_option = lru_cache(maxsize=4096)(_option_text)
