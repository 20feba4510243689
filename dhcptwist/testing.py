"""For those who embed or extend: packets, a client, and a contract for storages.

`StorageContract` is the executable definition of `IStorage`: a storage of your own proves
itself with three lines::

    class TestMine(StorageContract):
        def make(self, network, reservations=()):
            return MyStorage(network, reservations)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from .client import Client, ClientState
from .exchanges import Responder
from .interfaces import IStorage
from .lease import Lease, Refused, Reservation, Settings, parse_hardware
from .network import Network, Subnet, Via
from .storage.memory import MemoryStorage
from .transport.counters import Counters
from .transport.protocol import DHCPProtocol
from .wire import Message, MessageType


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


def answer(result: Any) -> Any:
    """The answer of a storage that may be a Deferred or a coroutine.

    Raises:
        AssertionError: There is none yet; use `StorageContract.wait` for storages that
            need the reactor.
    """
    if hasattr(result, "send") and not isinstance(result, Deferred):
        result = Deferred.fromCoroutine(result)
    if not isinstance(result, Deferred):
        return result
    found: list[Any] = []
    result.addBoth(found.append)
    assert found, "no answer yet"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


class StorageContract:
    """What every storage must do; mix it into a test class and write `make`.

    Times are given, so nothing waits.  A storage that needs the reactor overrides
    `wait`.
    """

    def make(
        self, network: Network, reservations: Iterable[Reservation] = ()
    ) -> IStorage:
        """The storage to prove, empty."""
        raise AssertionError("a contract needs a storage")

    def wait(self, result: Any) -> Any:
        """The answer behind what a verb returned."""
        return answer(result)

    # --- steps --------------------------------------------------------------------

    def _offer(
        self, storage: Any, net: Network, who: FakeClient, when: float, wish: str = ""
    ) -> Any:
        return self.wait(storage.offer(who.client(net, ClientState.INIT, wish), when))

    def _commit(
        self,
        storage: Any,
        net: Network,
        who: FakeClient,
        address: int,
        when: float,
        state: ClientState = ClientState.SELECTING,
    ) -> Any:
        asks = who.client(net, state, str(IPv4Address(address)))
        return self.wait(storage.commit(asks, address, when))

    def _bind(self, storage: Any, net: Network, who: FakeClient, when: float) -> Lease:
        offer = self._offer(storage, net, who, when)
        assert isinstance(offer, Lease), offer
        lease = self._commit(storage, net, who, offer.address, when)
        assert isinstance(lease, Lease), lease
        assert lease.address == offer.address
        return lease

    @staticmethod
    def _clients(count: int) -> list[FakeClient]:
        return [FakeClient(f"02:00:00:00:01:{n:02x}") for n in range(count)]

    # --- the contract -------------------------------------------------------------

    def test_provides_the_interface(self) -> None:
        """Every verb is there, with the right arguments."""
        verifyObject(IStorage, self.make(network()))

    def test_an_address_has_one_client(self) -> None:
        """Invariant 2: never one address for two clients; a full pool is silence."""
        net = network()
        storage = self.make(net)
        leases = [self._bind(storage, net, who, 100.0) for who in self._clients(4)]
        assert len({lease.address for lease in leases}) == 4
        fifth = self._offer(storage, net, FakeClient(), 101.0)
        assert not isinstance(fifth, Lease)

    def test_an_offer_is_held(self) -> None:
        """Invariant 5: offered to one, an address is not offered to another."""
        net = network()
        storage = self.make(net)
        offers = [self._offer(storage, net, who, 100.0) for who in self._clients(4)]
        assert len({offer.address for offer in offers}) == 4
        assert not isinstance(self._offer(storage, net, FakeClient(), 110.0), Lease)
        assert isinstance(self._offer(storage, net, FakeClient(), 140.0), Lease)

    def test_retransmissions_change_nothing(self) -> None:
        """The same question has the same answer."""
        net = network()
        storage = self.make(net)
        who = FakeClient()
        first = self._offer(storage, net, who, 100.0)
        assert self._offer(storage, net, who, 101.0).address == first.address
        one = self._commit(storage, net, who, first.address, 102.0)
        two = self._commit(storage, net, who, first.address, 103.0)
        assert one.address == two.address == first.address

    def test_a_client_comes_back_to_its_address(self) -> None:
        """Invariant 4: current, and after expiry and release, while nobody has it."""
        net = network()
        storage = self.make(net)
        clients = self._clients(2)
        lease, other = (self._bind(storage, net, who, 100.0) for who in clients)
        assert self._offer(storage, net, clients[0], 200.0).address == lease.address
        later = 100.0 + 2 * lease.duration
        assert self._offer(storage, net, clients[0], later).address == lease.address
        asks = clients[1].client(net, ClientState.BOUND)
        self.wait(storage.release(asks, other.address, later))
        assert self._offer(storage, net, clients[1], later).address == other.address

    def test_the_requested_address_is_given_if_free(self) -> None:
        """RFC 2131 section 4.3.1: behind current and previous comes option 50."""
        net = network()
        storage = self.make(net)
        wish = self._offer(storage, net, FakeClient(), 100.0, "192.0.2.12")
        assert wish.address == ip("192.0.2.12")
        other = FakeClient("02:00:00:00:00:02")
        assert self._offer(storage, net, other, 100.0, "192.0.2.12").address != wish
        assert isinstance(self._offer(storage, net, other, 100.0, "9.9.9.9"), Lease)

    def test_the_longest_unused_address_is_given_first(self) -> None:
        """RFC 2131 section 4.3.1 leaves the choice; this is the one that lasts."""
        net = network()
        storage = self.make(net)
        clients = self._clients(4)
        leases = [
            self._bind(storage, net, who, 100.0 + n) for n, who in enumerate(clients)
        ]
        for n in (2, 0, 3, 1):
            asks = clients[n].client(net, ClientState.BOUND)
            self.wait(storage.release(asks, leases[n].address, 200.0 + n))
        when = 300.0
        order = [leases[n].address for n in (2, 0, 3, 1)]
        new = [FakeClient(f"02:00:00:00:02:{n:02x}") for n in range(4)]
        given = [self._bind(storage, net, who, when).address for who in new]
        assert given == order

    def test_only_the_holder_releases(self) -> None:
        """A RELEASE of another's address changes nothing."""
        net = network()
        storage = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        asks = thief.client(net, ClientState.BOUND)
        assert not self.wait(storage.release(asks, lease.address, 101.0))
        kept = self._commit(
            storage, net, who, lease.address, 102.0, ClientState.RENEWING
        )
        assert isinstance(kept, Lease)

    def test_a_declined_address_rests(self) -> None:
        """RFC 2131 section 4.3.3; from its client only, or anybody drains the pool."""
        net = network(subnet(decline_hold=1000))
        storage = self.make(net)
        who, thief = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        bad = thief.client(net, ClientState.BOUND)
        assert not self.wait(storage.decline(bad, lease.address, 101.0))
        good = who.client(net, ClientState.BOUND)
        assert self.wait(storage.decline(good, lease.address, 102.0))
        again = self._bind(storage, net, who, 103.0)
        assert again.address != lease.address
        given = [self._bind(storage, net, c, 104.0) for c in self._clients(4)[2:]]
        assert lease.address not in {each.address for each in given}

    def test_unknown_clients_are_confirmed_nothing(self) -> None:
        """INIT-REBOOT, RENEWING and REBINDING confirm a binding; they make none."""
        net = network()
        storage = self.make(net)
        for state in (
            ClientState.INIT_REBOOT,
            ClientState.RENEWING,
            ClientState.REBINDING,
        ):
            wish = ip("192.0.2.11")
            found = self._commit(storage, net, FakeClient(), wish, 100.0, state)
            assert found is None or isinstance(found, Refused)

    def test_anothers_address_is_refused(self) -> None:
        """A client whose notion of its address is wrong is told so."""
        net = network()
        storage = self.make(net)
        who, other = self._clients(2)
        lease = self._bind(storage, net, who, 100.0)
        for state in (ClientState.SELECTING, ClientState.RENEWING):
            found = self._commit(storage, net, other, lease.address, 101.0, state)
            assert isinstance(found, Refused)

    def test_a_reserved_address_is_its_clients_alone(self) -> None:
        """Invariant 3: static and dynamic share the pool, and nobody else gets it."""
        net = network()
        owner = FakeClient("02:00:00:00:99:01")
        reserved = Reservation(ip("192.0.2.10"), hardware=owner.hardware)
        storage = self.make(net, [reserved])
        others = self._clients(4)
        given = [self._bind(storage, net, who, 100.0).address for who in others[:3]]
        assert reserved.address not in given
        assert not isinstance(self._offer(storage, net, others[3], 101.0), Lease)
        assert self._bind(storage, net, owner, 102.0).address == reserved.address

    def test_a_reservation_holds_for_any_identifier(self) -> None:
        """Reserved by hardware address, a client keeps it when its option 61 changes."""
        net = network()
        reserved = Reservation(ip("192.0.2.12"), hardware=FakeClient().hardware)
        storage = self.make(net, [reserved])
        rom = FakeClient()
        system = FakeClient(identifier=b"\xff\x00\x00\x00\x01\x00\x02duid")
        assert self._bind(storage, net, rom, 100.0).address == reserved.address
        assert self._bind(storage, net, system, 101.0).address == reserved.address

    def test_settings_for_those_who_have_an_address(self) -> None:
        """INFORM is answered without looking for a lease."""
        net = network()
        storage = self.make(net)
        asks = FakeClient().client(net, ClientState.BOUND)
        assert isinstance(self.wait(storage.configure(asks, 100.0)), Settings)


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
