"""What a message would come to, and why: the exchange's half of an explanation.

The real `Responder` opens the message, and the real `Exchange` asks and answers.  Only
the storage is left alone: one that provides `IExplainer` says what it would decide.
Nothing is sent, counted or changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import isawaitable
from ipaddress import IPv4Address
from typing import Any

from zope.interface import implementer

from .client import Client, ClientState
from .exchanges import Exchange, Request, Responder
from .explanation import Explanation
from .interfaces import IExplainer, IStorage
from .lease import Lease, Settings, Silence
from .network import Network, Via
from .replies import NAK, Reply
from .wire import relay
from .wire.codes import (
    LINK_SELECTION,
    RELAY_AGENT_INFORMATION,
    SERVER_ID,
    SUBNET_SELECTION,
)
from .wire.message import MalformedMessage, Message


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a message would come to.

    Attributes:
        via: The interface it comes in by.
        answer: The reply, or the silence; None if that cannot be known, for the storage
            decides it and is none that explains itself.
        reason: Why, in a sentence.
        message: The message; None if it is none.
        field: What tells the client's subnets: ``link-selection``, ``subnet-selection``,
            ``giaddr``, ``ciaddr`` or ``interface``.
        exchange: What the message begins; None if nothing.
        key: The client, as it says itself; a storage may know it better
            (``exchange.client.key``).
        verb: What the storage is asked; empty if nothing.
        told: What the storage says; None if it was not asked, or does not say.
        settings: What the client gets of its own; None for nothing.
        unknown_class: The class that the storage names and that is not there.
    """

    via: Via
    answer: Reply | Silence | None
    reason: str
    message: Message | None = None
    field: str = ""
    exchange: Exchange | None = None
    key: bytes = b""
    verb: str = ""
    told: Explanation | None = None
    settings: Settings | None = None
    unknown_class: str = ""


#: Why limits would keep a client's question from the storage now; None if they let it.
Limits = Callable[[Client, float], "tuple[Silence, str] | None"]


@implementer(IStorage)
class _Question:
    """Stands where the storage does, and notes what it is asked."""

    def __init__(self) -> None:
        self.verb = ""

    def _asked(self, verb: str) -> _Question:
        self.verb = verb
        return self

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`."""
        return self._asked("offer")

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        return self._asked("commit")

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`."""
        return self._asked("release")

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        return self._asked("decline")

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        return self._asked("configure")


async def foretell(
    responder: Responder,
    storage: Any,
    data: bytes,
    via: Via,
    source: str,
    when: float,
    limits: Limits = lambda _client, _when: None,
) -> Forecast:
    """What a datagram would come to.

    Args:
        responder: The server's.
        storage: The server's, without the limits that are around it for packets.
        data: What the datagram holds.
        via: The interface it would come in by, and whether by unicast.
        source: The address that it would come from.
        when: Now.
        limits: Why those limits would let the client's question not through, if so.
    """
    try:
        message = Message.decode(data)
    except MalformedMessage as error:
        return Forecast(via, Silence.MALFORMED, f"it is no DHCP message: {error}")
    field, address = chosen_by(responder.network, message, via)
    exchange = responder.open(message, via, source)
    if isinstance(exchange, Silence):
        reason = _why_not_opened(exchange, message, via, field, address)
        return Forecast(via, exchange, reason, message, field)
    begun = Forecast(via, None, "", message, field, exchange, exchange.client.key)
    question = _Question()
    asked = exchange.ask(question, when)
    if asked is not question:
        silence = exchange.answer(asked)
        return replace(begun, answer=silence, reason=_why_not_asked(silence, message))
    limited = limits(exchange.client, when)
    if question.verb == "release" and isinstance(exchange, Request):
        # It chose another server: what was offered to it is free again.
        silence = exchange.answer(True)
        made = replace(begun, answer=silence, reason=_why_not_asked(silence, message))
    elif IExplainer.providedBy(storage):
        begun = replace(begun, verb=question.verb)
        made = await _explained(begun, exchange, storage, when)
    else:
        reason = (
            f"the storage decides, by its {question.verb}(); it cannot be asked without"
            " consequences, for it does not explain itself (IExplainer)"
        )
        made = replace(begun, verb=question.verb, reason=reason)
    if limited is None:
        return made
    silence, why = limited
    return replace(made, answer=silence, reason=f"{why}; afterwards: {made.reason}")


async def _explained(
    begun: Forecast, exchange: Exchange, storage: Any, when: float
) -> Forecast:
    """What it comes to by the word of a storage that explains itself."""
    unknown = ""
    try:
        told = storage.explain(exchange.client, exchange.address, when)
        if isawaitable(told):
            told = await told
        result = told.result
        settings = result.settings if isinstance(result, Lease) else result
        if not isinstance(settings, Settings):
            settings = None
        elif settings.client_class and (
            settings.client_class not in exchange.responder.network.classes
        ):
            # The reply is the same without it; but the first with it would be told to
            # the log, and this is none.
            unknown = settings.client_class
            settings = replace(settings, client_class="")
            result = _with_settings(result, settings)
        answer = exchange.answer(result)
    except Exception as error:  # noqa: BLE001 - a stranger's storage may raise anything
        reason = f"the storage fails: {str(error) or type(error).__name__}"
        return replace(begun, answer=Silence.STORAGE_FAILED, reason=reason)
    return replace(
        begun,
        answer=answer,
        reason=told.reason + _and_so(exchange, told, answer),
        told=told,
        settings=settings,
        unknown_class=unknown,
    )


def _with_settings(result: Lease | Settings, settings: Settings) -> Lease | Settings:
    if isinstance(result, Settings):
        return settings
    return Lease(result.address, duration=result.duration, settings=settings)


def chosen_by(network: Network, message: Message, via: Via) -> tuple[str, int]:
    """By which field a client's subnets are found, and the address in it.

    The order is that of `Responder.open`; ``interface`` has no address.
    """
    options = message.options
    giaddr = message.giaddr
    if giaddr and RELAY_AGENT_INFORMATION in options:
        selected = relay.split(options[RELAY_AGENT_INFORMATION]).get(LINK_SELECTION)
        if selected is not None:
            return "link-selection", int.from_bytes(selected, "big")
    if network.selectable and SUBNET_SELECTION in options:
        return "subnet-selection", message.address(SUBNET_SELECTION)
    if giaddr:
        return "giaddr", giaddr
    if via.unicast and message.ciaddr and network.subnet_of(message.ciaddr):
        return "ciaddr", message.ciaddr
    return "interface", 0


def _why_not_opened(
    silence: Silence, message: Message, via: Via, field: str, address: int
) -> str:
    """Why a message begins nothing."""
    text = str(IPv4Address(address)) if address < 1 << 32 else f"{address:#x}"
    if silence is Silence.NO_SUBNET:
        return {
            "link-selection": f"no subnet has {text}, which its relay selects (option 82,"
            " link selection)",
            "subnet-selection": f"no subnet that clients may select (subnet-selection ="
            f" yes) has {text}, which it selects (option 118)",
            "giaddr": f"no subnet has the relay {text}: it lies in none, and no relays ="
            " names it",
        }.get(
            field,
            f"no subnet is on {via.interface}: none has an address of that interface in"
            f" it, and no interface = names it",
        )
    return {
        Silence.NOT_A_REQUEST: f"it is no client's message (op {message.op})",
        Silence.BOOTP: "it is BOOTP: there is no message type (option 53)",
        Silence.UNKNOWN_TYPE: "its message type (option 53) is none that clients send"
        " to servers",
        Silence.BAD_RELAY: f"{IPv4Address(message.giaddr)} (giaddr) can be no relay's"
        " address",
        Silence.NO_IDENTITY: "it has neither a client identifier (option 61) nor a"
        " hardware address",
    }[silence]


def _why_not_asked(silence: Reply | Silence, message: Message) -> str:
    """Why the storage is not asked."""
    if silence is Silence.NOT_FOR_US:
        server = IPv4Address(message.address(SERVER_ID))
        return f"it is for the server {server} (option 54), which is another"
    return "it names no address: neither as its own (ciaddr) nor in option 50"


def _and_so(exchange: Exchange, told: Explanation, answer: Reply | Silence) -> str:
    """What the exchange makes of the storage's word, where that is not plain."""
    refused = isinstance(answer, Reply) and answer.kind == NAK
    if answer is Silence.NO_ADDRESS:
        ciaddr = IPv4Address(exchange.message.ciaddr)
        return f"; but {ciaddr} (ciaddr) is no host's address"
    if refused and isinstance(told.result, Lease):
        return "; but it asks for another address"
    if told.result is not None:
        return ""
    if refused:
        return ", and this server is authoritative"
    if answer is not Silence.UNKNOWN_CLIENT:
        return ""
    if not exchange.responder.authoritative:
        return "; this server is not authoritative: another may know it"
    state = exchange.client.state
    asks = "takes an offer" if state == ClientState.SELECTING else "comes back"
    return f"; to a client that {asks} nothing is said then: another server may know it"
