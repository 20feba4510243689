"""Where each part of a reply comes from: subnet, class, reservation, the packet itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import NamedTuple

from .exchanges import Exchange, Inform
from .forecast import Forecast
from .lease import Settings
from .network import Subnet
from .optionset import OptionSet
from .replies import NAK, Reply
from .wire.codes import (
    CLIENT_ID,
    LEASE_TIME,
    MESSAGE,
    MESSAGE_TYPE,
    PARAMETER_REQUEST_LIST,
    PROTOCOL_OPTIONS,
    REBINDING_TIME,
    RELAY_AGENT_INFORMATION,
    RENEWAL_TIME,
    SERVER_ID,
    SUBNET_SELECTION,
)
from .wire.message import Message


SERVER, CLIENT, RELAY, STORAGE = "server", "client", "relay", "storage"

#: What the server says of itself, and what only comes back.
_FIXED = {
    MESSAGE_TYPE: SERVER,
    SERVER_ID: SERVER,
    MESSAGE: SERVER,
    CLIENT_ID: CLIENT,
    SUBNET_SELECTION: CLIENT,
    RELAY_AGENT_INFORMATION: RELAY,
}
_TIMES = {RENEWAL_TIME: "renewal_time", REBINDING_TIME: "rebinding_time"}


class Layer(NamedTuple):
    """Settings, and whose they are."""

    origin: str
    settings: Settings


class Field(NamedTuple):
    """A header field of a reply."""

    name: str
    value: str
    origin: str


class Option(NamedTuple):
    """An option of a reply."""

    code: int
    data: bytes
    origin: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reply says, and what not.

    Attributes:
        fields: Next server, server name and boot file, as far as there are any.
        options: The options, in order.
        left_out: Codes of options that there is no room for.
        not_asked: Codes of options that are set, and that the client does not ask for.
        not_set: Codes of options that it asks for, and that nobody has set.
    """

    fields: tuple[Field, ...]
    options: tuple[Option, ...]
    left_out: tuple[int, ...] = ()
    not_asked: tuple[int, ...] = ()
    not_set: tuple[int, ...] = ()


def parts_of(forecast: Forecast, exchange: Exchange, reply: Reply) -> Parts:
    """What a reply is made of."""
    message = Message.decode(reply.data)
    options = message.options
    if reply.kind == NAK:
        return Parts((), tuple(Option(c, d, _FIXED[c]) for c, d in options.items()))
    subnet = subnet_of(exchange, message.yiaddr)
    layers = _layers(forecast, exchange, subnet)
    option_set = subnet.options_with(
        forecast.settings or None, exchange.responder.network.classes
    )
    came = exchange.message.options
    asked = came.get(PARAMETER_REQUEST_LIST) or None
    meant = option_set.order(asked)
    known = option_set.values.keys() - PROTOCOL_OPTIONS
    echoed = [CLIENT_ID] if len(came.get(CLIENT_ID, b"")) > 1 else []
    echoed += [RELAY_AGENT_INFORMATION] if RELAY_AGENT_INFORMATION in came else []
    return Parts(
        tuple(_fields(layers)),
        tuple(
            Option(code, data, _origin(code, data, layers, exchange, subnet))
            for code, data in options.items()
        ),
        tuple(code for code in (*meant, *echoed) if code not in options),
        tuple(sorted(known - set(meant))),
        tuple(
            code
            for code in dict.fromkeys(asked or b"")
            if code not in known and code not in PROTOCOL_OPTIONS
        ),
    )


def subnet_of(exchange: Exchange, yiaddr: int) -> Subnet:
    """Whose settings an OFFER or ACK has, beside the client's own."""
    first = exchange.subnet()
    if isinstance(exchange, Inform):
        return first
    return exchange.client.subnet_of(yiaddr) or first


def _layers(forecast: Forecast, exchange: Exchange, subnet: Subnet) -> list[Layer]:
    """Whose settings the reply has; those that win come first."""
    layers = []
    own = forecast.settings
    if own:
        layers.append(Layer(whose(forecast), own))
        if own.client_class:
            settings = exchange.responder.network.classes.named(own.client_class)
            layers.append(Layer(f"class {own.client_class}", settings))
    told = replace(subnet.settings, options=subnet.option_set.values)
    layers.append(Layer(f"subnet {subnet.name}", told))
    return layers


def whose(forecast: Forecast) -> str:
    """Who has said what the client gets of its own: its reservation, or the storage."""
    told = forecast.told
    reservation = None if told is None else told.reservation
    if reservation is None or reservation.settings is None:
        return STORAGE
    return "reservation"


def _fields(layers: list[Layer]) -> Iterator[Field]:
    """The header fields for booting."""
    for name in ("next_server", "server_name", "boot_file"):
        for origin, settings in layers:
            value = getattr(settings, name)
            if value is None:
                continue
            text = str(IPv4Address(value)) if isinstance(value, int) else value
            if value:
                yield Field(name, text, origin)
            break


def _origin(
    code: int, data: bytes, layers: list[Layer], exchange: Exchange, subnet: Subnet
) -> str:
    """Where an option of an OFFER or ACK comes from."""
    if code in _FIXED:
        return _FIXED[code]
    number = int.from_bytes(data, "big")
    if code == LEASE_TIME:
        asked = exchange.client.requested_time
        if number != subnet.duration(asked):
            return STORAGE
        # What it asks for is held between the subnet's least and most.
        return CLIENT if number == asked else layers[-1].origin
    if code in _TIMES:
        for origin, settings in layers:
            seconds = getattr(settings, _TIMES[code])
            if seconds is not None:
                # One that does not fit into the lease has given way to what is usual.
                return origin if seconds == number else SERVER
        return SERVER
    for origin, settings in layers:
        if code in OptionSet(settings).values:
            return origin
    return SERVER
