"""An explanation as it crosses the wire: text and numbers, no objects of ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from math import inf
from typing import Any

from ..exchanges import Exchange
from ..explanation import Explanation
from ..forecast import Forecast
from ..lease import Silence, format_hardware, format_identifier, port_of
from ..origins import Parts, parts_of, subnet_of, whose
from ..replies import Reply
from ..wire.codes import HardwareType, MessageType
from ..wire.message import Message
from ..wire.options import option_kind
from .values import reservation_fields


#: What `forecast_fields` says is answered, if it is neither OFFER nor ACK nor NAK.
SILENCE, UNKNOWN = "silence", "unknown"

_BROADCAST = "255.255.255.255"


#: Characters of a text that somebody else has written: an answer ends at 65,535 bytes.
_LONGEST = 1000


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def forecast_fields(forecast: Forecast) -> dict[str, Any]:
    """All of an explanation; ``control/commands.py`` says what it means."""
    exchange, answer = forecast.exchange, forecast.answer
    fields: dict[str, Any] = {
        "answer": UNKNOWN,
        "reason": _short(forecast.reason),
        "silence": None,
        "message": _message_fields(forecast),
        "client": None,
        "subnets": [],
        "subnets_by": forecast.field or None,
        "storage": None,
        "class": None,
        "reply": None,
    }
    if exchange is not None:
        fields["client"] = _client_fields(forecast, exchange)
        fields["subnets"] = [
            {"name": each.name, "network": str(each.cidr)}
            for each in exchange.client.subnets
        ]
    if forecast.told is not None:
        fields["storage"] = _told_fields(forecast.told)
        fields["class"] = _class_fields(forecast)
    if isinstance(answer, Silence):
        fields["answer"] = SILENCE
        fields["silence"] = answer.value
    elif isinstance(answer, Reply) and exchange is not None:
        fields["answer"] = MessageType(answer.kind).name
        fields["reply"] = _reply_fields(forecast, exchange, answer)
    return fields


def _message_fields(forecast: Forecast) -> dict[str, Any]:
    via, message = forecast.via, forecast.message
    fields: dict[str, Any] = {"interface": via.interface, "to_us": via.unicast}
    if message is None:
        return {**fields, "type": None}
    kind = message.type
    circuit, remote = port_of(message.options.get(82, b""))
    return {
        **fields,
        "type": None if kind is None else kind.name,
        "hardware": _hardware(message),
        "client_id": _short(_identifier(message.client_id)),
        "hostname": _short(message.host_name),
        "ciaddr": _text(message.ciaddr),
        "requested": _text(message.requested_address),
        "relay": _text(message.giaddr),
        "circuit_id": _identifier(circuit),
        "remote_id": _identifier(remote),
    }


def _hardware(message: Message) -> str:
    return format_hardware(bytes([message.htype]) + message.chaddr)


def _text(address: int) -> str | None:
    return str(IPv4Address(address)) if address else None


def _identifier(data: bytes) -> str:
    return format_identifier(data) if data else ""


def _client_fields(forecast: Forecast, exchange: Exchange) -> dict[str, Any]:
    """Who the client is, and by what; and who it is taken for."""
    client, key = exchange.client, forecast.key
    named = bool(client.identifier)
    return {
        "state": client.state.name,
        "known_by": "client_id" if named else "hardware",
        "key": _short(format_identifier(key) if named else format_hardware(key)),
        # A client that leaves its identifier out is known again by its hardware.
        "taken_for": _short(_identifier(client.key)) if client.key != key else None,
    }


def _told_fields(told: Explanation) -> dict[str, Any]:
    reservation = told.reservation
    return {
        "rule": told.rule,
        "reason": _short(told.reason),
        "until": _time(told.until),
        "reservation": None if reservation is None else reservation_fields(reservation),
        "passed": [
            {
                "address": str(IPv4Address(each.address)),
                "reason": _short(each.reason),
                "until": _time(each.until),
            }
            for each in told.passed
        ],
        "notes": [_short(note) for note in told.notes],
    }


def _time(until: float | None) -> float | None:
    return None if until in (None, inf) else until


def _class_fields(forecast: Forecast) -> dict[str, Any] | None:
    named = "" if forecast.settings is None else forecast.settings.client_class
    name = named or forecast.unknown_class
    if not name:
        return None
    return {"name": name, "by": whose(forecast), "known": bool(named)}


def _reply_fields(
    forecast: Forecast, exchange: Exchange, reply: Reply
) -> dict[str, Any]:
    message = Message.decode(reply.data)
    parts = parts_of(forecast, exchange, reply)
    return {
        "address": _text(message.yiaddr),
        "lease_time": message.lease_time,
        "server": _text(message.server_id),
        "fields": [
            {"name": name, "value": value, "from": origin}
            for name, value, origin in parts.fields
        ],
        "options": list(_option_fields(parts)),
        "left_out": _names(parts.left_out),
        "not_asked": _names(parts.not_asked),
        "not_set": _names(parts.not_set),
        "to": _destination(exchange, reply, message),
        "packet": reply.data.hex(),
    }


def _option_fields(parts: Parts) -> Iterable[dict[str, Any]]:
    for code, data, origin in parts.options:
        kind = option_kind(code)
        yield {
            "code": code,
            "name": kind.name,
            "value": kind.shape.decode_text(data),
            "from": origin,
        }


def _names(codes: Iterable[int]) -> list[str]:
    return [option_kind(code).name for code in codes]


def _destination(exchange: Exchange, reply: Reply, message: Message) -> dict[str, Any]:
    """Where the reply goes, and why there."""
    return {
        "address": reply.address,
        "port": reply.port,
        "hardware": None if reply.hardware is None else reply.hardware.hex(":"),
        "interface": exchange.via.interface,
        "reason": _why_there(exchange, reply, message),
    }


def _why_there(exchange: Exchange, reply: Reply, message: Message) -> str:
    """See `replies.destination`: the same rules, in the same order."""
    asked = exchange.message
    if reply.hardware is not None:
        return "in a frame, for the client has no address yet"
    if reply.address == str(IPv4Address(asked.giaddr)):
        return "to the relay (giaddr)"
    if reply.address != _BROADCAST:
        if reply.address != str(IPv4Address(asked.ciaddr)):
            return "to where it came from"
        if reply.kind == MessageType.NAK:
            return "to the address it has, for it renews from behind a router"
        return "to the address it has (ciaddr)"
    return f"to everybody, {_why_broadcast(exchange, reply, message)}"


def _why_broadcast(exchange: Exchange, reply: Reply, message: Message) -> str:
    asked, via = exchange.message, exchange.via
    if reply.kind == MessageType.NAK:
        return "as every NAK that no relay hands on"
    if asked.wants_broadcast:
        return "for the client wants it so (broadcast flag)"
    if subnet_of(exchange, message.yiaddr).broadcast_always:
        return "for the subnet wants it so (broadcast = always)"
    if message.yiaddr == 0:
        return "for nobody knows the client's address"
    if not via.frames:
        return f"for no frames can be sent on {via.interface}"
    kind = asked.htype
    name = "its hardware address" if kind == HardwareType.ETHERNET else f"htype {kind}"
    return f"for a frame cannot be sent to {name}"
