"""The message that somebody wants explained, from its pieces or as it was captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from ..network import Network, Via
from ..wire import relay as relay_options
from ..wire.codes import (
    CIRCUIT_ID,
    CLIENT_ID,
    MESSAGE_TYPE,
    RELAY_AGENT_INFORMATION,
    REMOTE_ID,
    REQUESTED_ADDRESS,
    SERVER_ID,
    MessageType,
)
from ..wire.message import Message
from ..wire.options import option_kind
from ..wire.values import visible
from .errors import InvalidRequest
from .values import read_fields


@dataclass(frozen=True, slots=True)
class Kind:
    """What a message of a client is made of.

    Attributes:
        type: Its option 53.
        has_ciaddr: Whether the address stands in ``ciaddr``; else in option 50.
        names_server: Whether it names the server it is for (option 54).
        is_direct: Whether it goes to the server itself, past all relays.
        needs_address: Whether it makes no sense without one.
    """

    type: MessageType
    has_ciaddr: bool = False
    names_server: bool = False
    is_direct: bool = False
    needs_address: bool = True


#: RFC 2131 tables 4 and 5.
KINDS = {
    "discover": Kind(MessageType.DISCOVER, needs_address=False),
    "request": Kind(MessageType.REQUEST, names_server=True),
    "reboot": Kind(MessageType.REQUEST),
    "renew": Kind(MessageType.REQUEST, has_ciaddr=True, is_direct=True),
    "rebind": Kind(MessageType.REQUEST, has_ciaddr=True),
    "inform": Kind(MessageType.INFORM, has_ciaddr=True),
    "decline": Kind(MessageType.DECLINE, names_server=True),
    "release": Kind(
        MessageType.RELEASE, has_ciaddr=True, names_server=True, is_direct=True
    ),
}

_EVERYBODY = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Asked:
    """A datagram that may come in.

    Attributes:
        data: What it holds.
        via: By which interface.
        source: From which address.
    """

    data: bytes
    via: Via
    source: str


def read_packet(
    given: Mapping[str, Any], network: Network, vias: Sequence[Via]
) -> Asked:
    """A datagram that is given as it was captured.

    Raises:
        InvalidRequest: It is not said where it came in, or something is said of it that
            stands in itself.
    """
    data: bytes = given["packet"]
    for name in given.keys() - {"packet", "interface", "source", "destination"}:
        if given[name] is not None:
            raise InvalidRequest(f"{name}: stands in the packet, so leave it out")
    source = _address("source", given.get("source")) or 0
    destination = _address("destination", given.get("destination"))
    giaddr = int.from_bytes(data[24:28], "big") if len(data) >= 28 else 0
    name = interface(given.get("interface"), network, vias, giaddr, destination or 0)
    # Packets of relays, and renewals, are sent to the server's own address.
    direct = destination != _EVERYBODY if destination else bool(giaddr)
    return Asked(data, _via(vias, name, direct=direct), str(IPv4Address(source)))


class Pieces:
    """A message that is to be made of what is known of a client.

    Args:
        given: The arguments of `commands.Explain`.
        network: The subnets.
        vias: The server's interfaces.

    Raises:
        InvalidRequest: They make no sense.
    """

    def __init__(
        self, given: Mapping[str, Any], network: Network, vias: Sequence[Via]
    ) -> None:
        kind = given.get("kind") or "discover"
        if kind not in KINDS:
            raise InvalidRequest(
                f"kind: {visible(kind)[:64]!r} is none of {', '.join(KINDS)}"
            )
        for name in ("source", "destination"):
            if given.get(name) is not None:
                raise InvalidRequest(f"{name}: is only said of a packet")
        self.kind = KINDS[kind]
        values = read_fields(dict(given))
        self.hardware: bytes = values.get("hardware", b"")
        self.client_id: bytes = values.get("client_id", b"")
        if not self.hardware and not self.client_id:
            raise InvalidRequest(
                "which client? give hardware or client_id, or a packet"
            )
        self.address: int = values.get("address") or 0
        self.relay = _address("relay", given.get("relay")) or 0
        port = _port(values)
        if self.kind.is_direct and (self.relay or port):
            raise InvalidRequest(
                f"relay: a client that sends a {kind} sends it to the server itself, not"
                " to a relay"
            )
        self._options = _options(given.get("options"))
        if port:
            if RELAY_AGENT_INFORMATION in self._options:
                raise InvalidRequest("option 82: is given twice, whole and in parts")
            self._options[RELAY_AGENT_INFORMATION] = relay_options.join(port)
        name = interface(given.get("interface"), network, vias, self.relay, 0)
        direct = self.kind.is_direct or bool(self.relay)
        self.via = _via(vias, name, direct=direct)

    def message(self, kind: Kind, address: int) -> Asked:
        """The message, or another one of the same client.

        Raises:
            InvalidRequest: There is no room for all that.
        """
        options: dict[int, bytes] = {MESSAGE_TYPE: bytes([kind.type])}
        if self.client_id:
            options[CLIENT_ID] = self.client_id
        if address and not kind.has_ciaddr:
            options[REQUESTED_ADDRESS] = address.to_bytes(4, "big")
        if kind.names_server:
            options[SERVER_ID] = self.via.server
        for code, data in self._options.items():
            if code in options and code != SERVER_ID:
                raise InvalidRequest(f"option {code}: is given twice")
            options[code] = data
        ciaddr = address if kind.has_ciaddr else 0
        try:
            message = Message.build(
                htype=self.hardware[0] if self.hardware else 1,
                chaddr=self.hardware[1:],
                ciaddr=ciaddr,
                giaddr=self.relay,
                options=options,
            )
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        source = str(IPv4Address(self.relay or ciaddr))
        return Asked(message.raw, self.via, source)


def interface(
    name: str | None,
    network: Network,
    vias: Sequence[Via],
    giaddr: int,
    destination: int,
) -> str:
    """By which interface a packet comes in: as it is said, or as far as it is clear.

    Raises:
        InvalidRequest: It is not said, or there is none of that name.
    """
    names = list(dict.fromkeys(via.interface for via in vias))
    known = ", ".join(names[:50])
    if name:
        if name not in names:
            shown = visible(name)[:64]
            raise InvalidRequest(
                f"interface: {shown!r} is none that is served: {known}"
            )
        return name
    others = [each for each in names if each != "lo"]
    if len(others) < 2 and (not others or not IPv4Address(giaddr).is_loopback):
        return (others or names)[0]
    for via in vias:
        if destination and via.server_id == destination:
            return via.interface
    if not giaddr:
        raise InvalidRequest(f"interface: by which one does it come in? {known}")
    for each in names:
        if any(home.contains(giaddr) for home in network.link_of_interface(each)):
            return each
    # Whichever it is, the relay says more about the client.
    return "lo" if IPv4Address(giaddr).is_loopback and "lo" in names else others[0]


def _via(vias: Sequence[Via], name: str, *, direct: bool) -> Via:
    """What stands for the packets of an interface that are sent to us, or to all."""
    mine = [via for via in vias if via.interface == name]
    return next((via for via in mine if via.unicast == direct), mine[0])


def _address(name: str, text: Any) -> int | None:
    if not text:
        return None
    try:
        return int(IPv4Address(text))
    except ValueError:
        shown = visible(str(text))[:64]
        raise InvalidRequest(f"{name}: {shown!r} is not an IPv4 address") from None


def _port(values: Mapping[str, bytes]) -> dict[int, bytes]:
    """The sub-options that name a relay's port."""
    port: dict[int, bytes] = {}
    for code, name in ((CIRCUIT_ID, "circuit_id"), (REMOTE_ID, "remote_id")):
        if name in values:
            port[code] = values[name]
            if len(port[code]) > 255:
                raise InvalidRequest(f"{name}: has more than 255 bytes")
    return port


def _options(given: Any) -> dict[int, bytes]:
    """The client's options, by name or number, as text or as JSON has them."""
    if given is not None and not isinstance(given, dict):
        raise InvalidRequest("options: must be an object of names and values")
    options: dict[int, bytes] = {}
    for name, value in (given or {}).items():
        shown = visible(str(name))[:64]
        try:
            kind = option_kind(name)
            data = kind.encode(value)
        except (ValueError, RecursionError) as error:
            words = visible(str(error))[:200]
            raise InvalidRequest(f"option {shown}: {words}") from None
        if kind.code == MESSAGE_TYPE:
            raise InvalidRequest(f"option {shown}: is what kind says")
        if kind.code in options:
            raise InvalidRequest(
                f"option {shown}: is given twice, by name and by number"
            )
        options[kind.code] = data
    return options
