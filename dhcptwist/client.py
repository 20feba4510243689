"""Who is asking: everything a storage may want to know of a client."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from .wire.codes import (
    LEASE_TIME,
    RELAY_AGENT_INFORMATION,
    USER_CLASS,
    VENDOR_CLASS,
)


if TYPE_CHECKING:
    from .network import Subnet, Via
    from .wire import Message


class ClientState(IntEnum):
    """Where in RFC 2131 figure 5 the client is, as far as its message tells."""

    INIT = 1  # DISCOVER
    SELECTING = 2  # REQUEST for an offer: may create a binding
    INIT_REBOOT = 3  # REQUEST for the address it had: confirms one
    RENEWING = 4  # REQUEST with ciaddr, by unicast: confirms one
    REBINDING = 5  # REQUEST with ciaddr, by broadcast: confirms one
    BOUND = 6  # DECLINE, RELEASE, INFORM


class Client:
    """A client as one message shows it.

    Attributes:
        message: The message itself.
        key: Who it is: its client identifier if it sent one, else hardware type and
            address (RFC 2131 section 4.2).  An identifier made of type and address,
            as most are, is therefore the same client as one that sends none.
        hardware: Hardware type and address; empty when hlen is 0 (RFC 4390).
        subnets: The subnets of its link, in the order they are to be filled.
        state: Where in the protocol it is.
        requested: The address it asks for; 0 for none.
        via: The interface that heard it.
    """

    __slots__ = ("hardware", "key", "message", "requested", "state", "subnets", "via")

    def __init__(
        self,
        message: Message,
        subnets: tuple[Subnet, ...],
        via: Via,
        state: ClientState = ClientState.INIT,
        requested: int = 0,
    ) -> None:
        raw = message.raw
        self.message = message
        self.subnets = subnets
        self.via = via
        self.state = state
        self.requested = requested
        hlen = raw[2]
        self.hardware = raw[1:2] + raw[28 : 28 + hlen] if hlen else b""
        self.key = message.client_id or self.hardware

    @property
    def identifier(self) -> bytes:
        """Option 61, or empty."""
        return self.message.client_id

    @property
    def relay(self) -> bytes:
        """Option 82 as the relay sent it, or empty."""
        return self.message.options.get(RELAY_AGENT_INFORMATION, b"")

    @property
    def hostname(self) -> str:
        """Option 12, printable, or empty."""
        return self.message.host_name

    @property
    def vendor_class(self) -> bytes:
        """Option 60, or empty."""
        return self.message.options.get(VENDOR_CLASS, b"")

    @property
    def user_class(self) -> bytes:
        """Option 77 as it came, or empty."""
        return self.message.options.get(USER_CLASS, b"")

    @property
    def requested_time(self) -> int | None:
        """The lease time it asks for in seconds, or None (option 51)."""
        data = self.message.options.get(LEASE_TIME, b"")
        return int.from_bytes(data[:4], "big") if len(data) >= 4 else None

    def subnet_of(self, address: int) -> Subnet | None:
        """The subnet of its link that an address belongs to, or None."""
        for subnet in self.subnets:
            if address & subnet.mask == subnet.network:
                return subnet
        return None
