"""RFC 2131 section 4.3: what to ask the storage, and what to answer.

Read it beside the RFC: sections 4.3.1 to 4.3.5 say what each of a client's messages
wants, and the classes below come in that order.  Where replies go, section 4.1, is in
`dhcptwist.replies`.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from socket import inet_ntoa
from typing import TYPE_CHECKING, Any

from .client import Client, ClientState
from .interfaces import WrongAnswer
from .lease import Lease, Refused, Settings, Silence
from .network import Network, Subnet, Via
from .replies import ACK, NAK, OFFER, Reply, compose
from .wire import relay
from .wire.areas import join_one
from .wire.codes import (
    BOOTREQUEST,
    LINK_SELECTION,
    MESSAGE,
    MESSAGE_TYPE,
    PARAMETER_REQUEST_LIST,
    RELAY_AGENT_INFORMATION,
    REQUESTED_ADDRESS,
    SERVER_ID,
    SUBNET_SELECTION,
    MessageType,
)
from .wire.message import Message
from .wire.replying import NO_ADDRESS as ZERO


if TYPE_CHECKING:
    from .interfaces import IStorage


class Responder:
    """Opens the exchange that belongs to a message.

    Args:
        network: The subnets.
        authoritative: Whether to NAK what we know nothing of (DESIGN: server section).
    """

    def __init__(self, network: Network, *, authoritative: bool = True) -> None:
        self.network = network
        self.authoritative = authoritative
        #: Stands in where no subnet is configured and the storage knows everything.
        self.nowhere = Subnet("nowhere", IPv4Network("0.0.0.0/0"))

    def open(self, message: Message, via: Via, source: str) -> Exchange | Silence:
        """Which exchange a message begins, with who the client is and where."""
        raw = message.raw
        if raw[0] != BOOTREQUEST:
            return Silence.NOT_A_REQUEST
        kind = message.options.get(MESSAGE_TYPE)
        if not kind:
            return Silence.BOOTP if kind is None else Silence.UNKNOWN_TYPE
        exchange = EXCHANGES.get(kind[0])
        if exchange is None:
            return Silence.UNKNOWN_TYPE
        link = self._link(message, via)
        if isinstance(link, Silence):
            return link
        client = Client(message, link, via)
        if not client.key or (
            client.key is client.hardware and not client.hardware[1:].strip(b"\0")
        ):
            return Silence.NO_IDENTITY
        return exchange(self, client, source)

    def _link(self, message: Message, via: Via) -> tuple[Subnet, ...] | Silence:
        """The subnets a client may be given an address of.

        In order of precedence: link selection (RFC 3527), subnet selection (RFC 3011),
        the relay, for a renewal by unicast its own address, the interface.
        """
        raw = message.raw
        network = self.network
        options = message.options
        relayed = raw[24:28] != ZERO
        chosen: Subnet | None = None
        if relayed and (raw[24] >= 224 or raw[24] == 0):
            return Silence.BAD_RELAY
        if relayed and RELAY_AGENT_INFORMATION in options:
            selected = relay.split(options[RELAY_AGENT_INFORMATION]).get(LINK_SELECTION)
            if selected is not None:
                chosen = network.subnet_of(int.from_bytes(selected, "big"))
                return network.link(chosen) if chosen else Silence.NO_SUBNET
        if network.selectable and SUBNET_SELECTION in options:
            chosen = network.subnet_of(message.address(SUBNET_SELECTION))
            if chosen is None or not chosen.selectable:
                return Silence.NO_SUBNET
            return network.link(chosen)
        link: tuple[Subnet, ...] = ()
        if relayed:
            link = network.link_of_relay(int.from_bytes(raw[24:28], "big"))
        elif via.unicast and raw[12:16] != ZERO:
            chosen = network.subnet_of(message.ciaddr)
            link = network.link(chosen) if chosen else ()
        if not link and not relayed:
            link = network.link_of_interface(via.interface)
        if not link and network.subnets:
            return Silence.NO_SUBNET
        # With no subnet configured at all, the storage decides everything.
        return link

    def is_ours(self, address: int, via: Via) -> bool:
        """Whether a server identifier is one of ours (RFC 2131 section 4.1)."""
        return address == via.server_id or address in self.network.addresses


class Exchange:
    """One message of a client and what comes of it: `ask`, then `answer`."""

    __slots__ = ("address", "client", "message", "responder", "source", "via")

    def __init__(self, responder: Responder, client: Client, source: str) -> None:
        self.responder = responder
        self.client = client
        self.message = client.message
        self.via = client.via
        self.source = source
        self.address = 0

    def ask(self, storage: IStorage, when: float) -> Any:
        """What to ask the storage; its answer, or a Deferred or awaitable of it."""
        raise AssertionError("an exchange says what it asks")

    def answer(self, result: Any) -> Reply | Silence:
        """What to send for the storage's answer."""
        raise AssertionError("an exchange says what it answers")

    def subnet(self) -> Subnet:
        """The client's first subnet, or the one of no address."""
        subnets = self.client.subnets
        return subnets[0] if subnets else self.responder.nowhere

    def grant(self, kind: int, lease: Lease) -> Reply:
        """An OFFER or ACK for a lease: RFC 2131 section 4.3.1, table 3."""
        client = self.client
        subnet = client.subnet_of(lease.address) or self.subnet()
        option_set = subnet.option_set
        if lease.settings is not None:
            classes = self.responder.network.classes
            option_set = subnet.options_with(lease.settings, classes)
        requested = self.message.options.get(PARAMETER_REQUEST_LIST) or None
        return compose(
            self.message,
            self.via,
            kind,
            option_set.area(self.via.head[kind], lease.duration, requested),
            yiaddr=lease.address.to_bytes(4, "big"),
            ciaddr=self.message.raw[12:16] if kind == ACK else ZERO,
            siaddr=option_set.siaddr,
            boot_fields=option_set.boot_fields,
            broadcast=subnet.broadcast_always,
            echo_selection=self.responder.network.selectable,
        )

    def refuse(self, reason: str) -> Reply:
        """A NAK: table 3 allows nothing in it but what is here."""
        message = self.message
        # "If 'giaddr' is set in the DHCPREQUEST message … the server MUST set the
        # broadcast bit in the DHCPNAK" (section 4.3.2).
        reply = compose(
            message,
            self.via,
            NAK,
            self.via.head[NAK] + join_one(MESSAGE, reason.encode()[:255]),
            ask_relay_to_broadcast=True,
        )
        ciaddr = message.ciaddr
        if (
            self.via.unicast
            and ciaddr
            and message.raw[24:28] == ZERO
            and not any(
                subnet.contains(ciaddr)
                for subnet in self.responder.network.link_of_interface(
                    self.via.interface
                )
            )
        ):
            # It renews from behind a router: a broadcast would never reach it.
            reply.address = inet_ntoa(message.raw[12:16])
        return reply


class Discover(Exchange):
    """Section 4.3.1: a client looks for servers."""

    __slots__ = ()

    def ask(self, storage: IStorage, when: float) -> Any:
        """Ask for a lease to propose."""
        self.client.requested = self.message.address(REQUESTED_ADDRESS)
        return storage.offer(self.client, when)

    def answer(self, result: Any) -> Reply | Silence:
        """OFFER, or silence; a DISCOVER is never NAKed."""
        if result.__class__ is Lease or isinstance(result, Lease):
            return self.grant(OFFER, result)
        if isinstance(result, Silence):
            return result
        if isinstance(result, Refused):
            return Silence.NOT_ALLOWED
        if result is not None:
            raise WrongAnswer("offer", result, "a Lease, a Silence or None")
        return Silence.NO_LEASE


class Request(Exchange):
    """Section 4.3.2: a client takes an offer, comes back, or goes on."""

    __slots__ = ()

    def ask(self, storage: IStorage, when: float) -> Any:
        """Find out the client's state, then ask for the binding."""
        client = self.client
        message = self.message
        options = message.options
        ciaddr = message.ciaddr
        requested = message.address(REQUESTED_ADDRESS) if 50 in options else 0
        if SERVER_ID in options and len(options[SERVER_ID]) >= 4:
            # "DHCPREQUEST generated during SELECTING state": 'server identifier' is
            # filled in, 'ciaddr' zero, 'requested IP address' is the yiaddr offered.
            # Some send it in a renewal, too, with ciaddr.
            client.state = ClientState.SELECTING
            if options[SERVER_ID] != self.via.server and not self.responder.is_ours(
                message.address(SERVER_ID), self.via
            ):
                return storage.release(client, 0, when)
            self.address = ciaddr or requested
            if ciaddr:
                client.state = ClientState.RENEWING
        elif ciaddr:
            # "RENEWING state": 'server identifier' and 'requested IP address' are not
            # filled in, 'ciaddr' is; the message is unicast.  "REBINDING state": the
            # same, broadcast.
            unicast = self.via.unicast and message.raw[24:28] == ZERO
            client.state = ClientState.RENEWING if unicast else ClientState.REBINDING
            self.address = ciaddr
        elif requested:
            # "INIT-REBOOT state": 'server identifier' MUST NOT be filled in,
            # 'requested IP address' MUST be.
            client.state = ClientState.INIT_REBOOT
            self.address = requested
        if not self.address:
            return Silence.NO_ADDRESS
        client.requested = self.address
        return storage.commit(client, self.address, when)

    def answer(self, result: Any) -> Reply | Silence:
        """ACK, NAK or silence."""
        if isinstance(result, Lease):
            if not self.address:
                return Silence.NOT_FOR_US
            if result.address != self.address:
                # An ACK for another address than was asked for would be obeyed by
                # nobody, or worse, by somebody.
                if not isinstance(result.address, int):
                    raise WrongAnswer("commit", result.address, "an int as address")
                return self.refuse("another address is yours")
            return self.grant(ACK, result)
        if isinstance(result, Refused):
            return self.refuse(result.reason)
        if isinstance(result, Silence):
            return result
        if not self.address:
            # It chose another server; its offer is free again (section 3.1 step 4).
            return Silence.NOT_FOR_US
        if result is not None:
            expected = "a Lease, a Refused, a Silence or None"
            raise WrongAnswer("commit", result, expected)
        return self._unknown()

    def _unknown(self) -> Reply | Silence:
        """Nothing is known of this client and address."""
        client = self.client
        if not self.responder.authoritative:
            return Silence.UNKNOWN_CLIENT
        if client.subnets and client.subnet_of(self.address) is None:
            # "If the server detects that the client is on the wrong net … SHOULD send
            # a DHCPNAK."
            return self.refuse("wrong network")
        if client.state in {ClientState.INIT_REBOOT, ClientState.SELECTING}:
            # "If the DHCP server has no record of this client, then it MUST remain
            # silent."
            return Silence.UNKNOWN_CLIENT
        return self.refuse("lease unknown")


class Decline(Exchange):
    """Section 4.3.3: a client found its new address in use."""

    __slots__ = ()

    def ask(self, storage: IStorage, when: float) -> Any:
        """Let the address rest, if the client is the one it was given to."""
        message = self.message
        server = message.address(SERVER_ID)
        if server and not self.responder.is_ours(server, self.via):
            return Silence.NOT_FOR_US
        self.address = message.address(REQUESTED_ADDRESS)
        if not self.address:
            return Silence.IGNORED_DECLINE
        self.client.state = ClientState.BOUND
        return storage.decline(self.client, self.address, when)

    def answer(self, result: Any) -> Reply | Silence:
        """Nothing is sent; it is counted."""
        if isinstance(result, Silence):
            return result
        return Silence.DECLINED if result else Silence.IGNORED_DECLINE


class Release(Exchange):
    """Section 4.3.4: a client gives its address back."""

    __slots__ = ()

    def ask(self, storage: IStorage, when: float) -> Any:
        """Free the address; the storage remembers whose it was."""
        message = self.message
        server = message.address(SERVER_ID)
        if server and not self.responder.is_ours(server, self.via):
            return Silence.NOT_FOR_US
        self.address = message.ciaddr
        if not self.address:
            return Silence.IGNORED_RELEASE
        self.client.state = ClientState.BOUND
        return storage.release(self.client, self.address, when)

    def answer(self, result: Any) -> Reply | Silence:
        """Nothing is sent; it is counted."""
        if isinstance(result, Silence):
            return result
        return Silence.RELEASED if result else Silence.IGNORED_RELEASE


class Inform(Exchange):
    """Section 4.3.5: a client has its address already and wants the rest."""

    __slots__ = ()

    def ask(self, storage: IStorage, when: float) -> Any:
        """Ask for settings; whether there is a lease is nobody's business here."""
        client = self.client
        client.state = ClientState.BOUND
        ciaddr = self.message.ciaddr
        mine = client.subnet_of(ciaddr)
        if mine is not None and mine is not client.subnets[0]:
            client.subnets = (mine, *client.subnets)
        client.requested = ciaddr
        return storage.configure(client, when)

    def answer(self, result: Any) -> Reply | Silence:
        """ACK without yiaddr and lease times, "unicast to the address in 'ciaddr'"."""
        if not isinstance(result, Settings):
            if isinstance(result, Silence):
                return result
            if isinstance(result, Refused):
                return Silence.NOT_ALLOWED
            if result is not None:
                raise WrongAnswer("configure", result, "Settings, a Silence or None")
            return Silence.NO_LEASE
        raw = self.message.raw
        subnet = self.subnet()
        classes = self.responder.network.classes
        option_set = subnet.options_with(result or None, classes)
        requested = self.message.options.get(PARAMETER_REQUEST_LIST) or None
        reply = compose(
            self.message,
            self.via,
            ACK,
            self.via.head[ACK] + option_set.tail(requested),
            ciaddr=raw[12:16],
            siaddr=option_set.siaddr,
            boot_fields=option_set.boot_fields,
            broadcast=True,
            ask_relay_to_broadcast=raw[12:16] == ZERO,
            echo_selection=self.responder.network.selectable,
        )
        if raw[12:16] != ZERO:
            if raw[12] >= 224 or (raw[12] == 127 and not self.source.startswith("127")):
                return Silence.NO_ADDRESS
            # Even if it came through a relay: the client can be reached.
            reply.address, reply.port = inet_ntoa(raw[12:16]), self.via.port + 1
        elif raw[24:28] == ZERO and self.source != "0.0.0.0":  # noqa: S104
            reply.address = self.source
        return reply


#: Section 4.3: the messages a client may send a server, and what each begins.
EXCHANGES: dict[int, type[Exchange]] = {
    MessageType.DISCOVER: Discover,
    MessageType.REQUEST: Request,
    MessageType.DECLINE: Decline,
    MessageType.RELEASE: Release,
    MessageType.INFORM: Inform,
}
