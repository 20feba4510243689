"""Packets, clients and a server without a network, for tests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ..client import Client, ClientState
from ..exchanges import Responder
from ..lease import parse_hardware
from ..network import Network, Subnet, Via
from ..storage.memory import MemoryStorage
from ..transport.counters import Counters
from ..transport.protocol import DHCPProtocol
from ..wire import Message, MessageType


#: Steps in which a clock is moved on while an answer is waited for.
TRIES = 100


def ip(text: str) -> int:
    """An address as the number that the server works with."""
    return int(IPv4Address(text))


def subnet(
    cidr: str = "192.0.2.0/24",
    pool: str = "192.0.2.10-192.0.2.13",
    **attributes: Any,
) -> Subnet:
    """A subnet with one pool; further attributes as of `Subnet`."""
    ranges = []
    if pool:
        first, _, last = pool.partition("-")
        ranges.append((ip(first), ip(last or first)))
    name = attributes.pop("name", "lan")
    attributes.setdefault("lease_time", 3600)
    return Subnet(name, IPv4Network(cidr), tuple(ranges), **attributes)


def network(*subnets: Subnet) -> Network:
    """The subnets on interface ``eth0``, which has 192.0.2.1; one by default."""
    return Network(subnets or (subnet(),), {"eth0": [ip("192.0.2.1")]})


class FakeClient:
    """A client that speaks to no network: it makes messages and reads replies.

    Args:
        hardware: Its Ethernet address, as text.
        identifier: Option 61; none by default.
        options: Sent in every message.
        fields: Header fields of every message, as of `Message.build`.
    """

    def __init__(
        self,
        hardware: str = "02:00:00:00:00:01",
        identifier: bytes = b"",
        options: Mapping[int, bytes] | None = None,
        **fields: Any,
    ) -> None:
        self.hardware = parse_hardware(hardware)
        self.identifier = identifier
        self.options = dict(options or {})
        self.fields = fields
        self.xid = 0

    def message(
        self,
        kind: MessageType,
        *,
        requested: str = "",
        server: str = "",
        options: Mapping[int, bytes] | None = None,
        **fields: Any,
    ) -> Message:
        """A message of this client.

        Args:
            kind: Option 53.
            requested: Option 50.
            server: Option 54.
            options: Further options.
            fields: Header fields.
        """
        self.xid += 1
        mine: dict[int, bytes] = {53: bytes([kind])}
        if self.identifier:
            mine[61] = self.identifier
        if requested:
            mine[50] = IPv4Address(requested).packed
        if server:
            mine[54] = IPv4Address(server).packed
        return Message.build(
            **{
                "xid": self.xid,
                "htype": self.hardware[0],
                "chaddr": self.hardware[1:],
                **self.fields,
                **fields,
            },
            options={**mine, **self.options, **(options or {})},
        )

    def client(
        self,
        network: Network,
        state: ClientState = ClientState.INIT,
        requested: str = "",
        **fields: Any,
    ) -> Client:
        """What a storage is given when this client asks on ``eth0``."""
        kind = MessageType.REQUEST
        if state == ClientState.INIT:
            kind = MessageType.DISCOVER
        message = self.message(kind, requested=requested, **fields)
        link = network.link_of_interface("eth0")
        via = Via("eth0", ip("192.0.2.1"))
        return Client(message, link, via, state, ip(requested) if requested else 0)


def begun(result: Any) -> Any:
    """What a verb returned; a coroutine is begun, as the server does at once."""
    if hasattr(result, "send") and not isinstance(result, Deferred):
        return Deferred.fromCoroutine(result)
    return result


def answer(result: Any, clock: Any = None, patience: float = 0.0) -> Any:
    """The answer of a storage that may be a Deferred or a coroutine.

    Args:
        result: What a verb returned.
        clock: What the storage has for a reactor, if it has one: a `Clock` is moved on,
            the real reactor is turned, until there is an answer.
        patience: Seconds, after which there has to be one.

    Raises:
        AssertionError: There is none yet.
    """
    result = begun(result)
    if not isinstance(result, Deferred):
        return result
    found: list[Any] = []
    result.addBoth(found.append)
    if isinstance(clock, Clock):
        tries = 0
        while not found and tries < TRIES:
            tries += 1
            clock.advance(patience / TRIES)
    elif clock is not None:
        _turn(clock, found, patience)
    assert found, (
        "no answer yet; a storage that needs a reactor says so: clock = reactor"
        " (docs/contract.md)"
    )
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def _turn(reactor: Any, found: list[Any], patience: float) -> None:
    """Let the real reactor work until something is found."""
    if not reactor.running:
        reactor.startRunning(installSignalHandlers=False)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        reactor.runUntilCurrent()
        if found:  # else ``iterate`` would wait for what need not come any more
            return
        reactor.doIteration(0.01)


class Sent(NamedTuple):
    """A reply that a `MemoryServer` sent.

    Attributes:
        message: What was sent.
        address, port: Where to.
        hardware: The link address, if it went out as a frame.
    """

    message: Message
    address: str
    port: int
    hardware: bytes | None


class MemoryServer:
    """A server without a network: packets in, packets out, time as you set it.

    Args:
        net: The subnets; one by default.
        storage: Who decides; a `MemoryStorage` by default.
        authoritative: See `Responder`.
        unicast: Whether packets seem to have been sent to our own address.
        frames: Whether it may send frames.
        interface: Where packets come in.

    Attributes:
        now: The time.
        sent: Every reply so far.
    """

    def __init__(
        self,
        net: Network | None = None,
        storage: Any = None,
        *,
        authoritative: bool = True,
        unicast: bool = False,
        frames: bool = True,
        interface: str = "eth0",
        server_id: str = "192.0.2.1",
    ) -> None:
        self.network = network() if net is None else net
        self.storage = MemoryStorage(self.network) if storage is None else storage
        self.now = 1000.0
        self.sent: list[Sent] = []
        self.counters = Counters()
        via = Via(interface, ip(server_id), unicast=unicast, frames=frames)
        responder = Responder(self.network, authoritative=authoritative)
        self.protocol = DHCPProtocol(
            via,
            responder,
            self.storage,
            self.counters,
            lambda: self.now,
            self if frames else None,
        )
        self.protocol.makeConnection(self)  # type: ignore[arg-type]

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """For the protocol: a datagram."""
        self.sent.append(Sent(Message.decode(data), *address, None))

    def send(self, hardware: bytes, address: bytes, port: int, data: bytes) -> None:
        """For the protocol: a frame."""
        text = str(IPv4Address(address))
        self.sent.append(Sent(Message.decode(data), text, port, hardware))

    def receive(
        self,
        message: Message | bytes,
        source: str = "0.0.0.0",  # noqa: S104
    ) -> Sent | None:
        """What is answered to a message at once, or None."""
        before = len(self.sent)
        data = message if isinstance(message, bytes) else message.encode()
        self.protocol.datagramReceived(data, (source, 68))
        assert len(self.sent) <= before + 1
        return self.sent[-1] if len(self.sent) > before else None

    def silences(self) -> dict[str, int]:
        """The counters of what got no answer."""
        return self.counters.figures()["silent"]

    def bind(self, who: FakeClient, **fields: Any) -> Message:
        """The ACK of a whole exchange."""
        offer = self.receive(who.message(MessageType.DISCOVER, **fields))
        assert offer is not None, self.silences()
        address = str(IPv4Address(offer.message.yiaddr))
        server = str(IPv4Address(offer.message.address(54)))
        request = who.message(
            MessageType.REQUEST, requested=address, server=server, **fields
        )
        ack = self.receive(request)
        assert ack is not None, self.silences()
        assert ack.message.type == MessageType.ACK, ack
        return ack.message
