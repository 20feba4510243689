"""Answers `commands.Explain`: what the server would answer, and why; nothing changes."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from ..forecast import Forecast, foretell
from ..interfaces import ILeases
from ..replies import Reply
from ..wire.message import Message
from . import commands
from .answering import Answering
from .asked import KINDS, Asked, Pieces, read_packet
from .caller import Caller
from .errors import InvalidRequest, NotPermitted, StorageFailed
from .explained import forecast_fields


#: Seconds that a storage may take to explain itself.
PATIENCE = 8.0

_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


class ExplainAnswers(Answering):
    """The command, answered for one caller."""

    @commands.Explain.responder
    async def explain(self, **given: Any) -> dict[str, Any]:
        """See `commands.Explain`."""
        caller = self.permitted("explain")
        _, responder, vias = self.server.explaining()
        if given.get("packet") is not None:
            asked = read_packet(given, responder.network, vias)
        else:
            pieces = Pieces(given, responder.network, vias)
            address = pieces.address
            if not address and pieces.kind.needs_address:
                address = await self._usual_address(caller, pieces)
            asked = pieces.message(pieces.kind, address)
        forecast = await self._foretold(caller, asked)
        return {"explanation": forecast_fields(forecast)}

    async def _foretold(self, caller: Caller, asked: Asked) -> Forecast:
        """As much as the caller may see of what a message would come to."""
        storage, responder, _ = self.server.explaining()
        when, limits = self.server.clock(), self.server.limits
        told = Deferred.fromCoroutine(
            foretell(
                responder, storage, asked.data, asked.via, asked.source, when, limits
            )
        )
        told.addTimeout(PATIENCE, self.server.reactor, _too_late)
        return _for(caller, await told)

    async def _usual_address(self, caller: Caller, pieces: Pieces) -> int:
        """What a client would ask for: what it would be offered, or what it has.

        Raises:
            InvalidRequest: There is nothing of the kind.
        """
        if pieces.kind is KINDS["request"]:
            asked = pieces.message(KINDS["discover"], 0)
            offered = (await self._foretold(caller, asked)).answer
            if isinstance(offered, Reply):
                return Message.decode(offered.data).yiaddr
            raise InvalidRequest(
                "address: it would be offered none; which does it ask for?"
            )
        storage, _, _ = self.server.explaining()
        if ILeases.providedBy(storage):
            when = self.server.clock()
            found = [
                lease
                for lease in storage.find_leases(
                    None, pieces.hardware or None, pieces.client_id or None
                )
                if lease.bound(when) and caller.reaches(lease.address)
            ]
            if found:
                return int(max(found, key=lambda lease: lease.since).address)
        raise InvalidRequest("address: it has no lease; which address does it ask for?")


def _too_late(_: Any, seconds: float) -> NoReturn:
    raise StorageFailed(
        f"the storage has not explained itself within {seconds:g} seconds"
    )


def _for(caller: Caller, forecast: Forecast) -> Forecast:
    """As much of it as the caller may see.

    Raises:
        NotPermitted: Some of the client's subnets are not within its networks.
    """
    if forecast.exchange is None:
        return forecast
    subnets = forecast.exchange.client.subnets
    whole = all(caller.reaches_all(subnet.cidr) for subnet in subnets)
    if not whole or not (subnets or caller.reaches(None)):
        raise NotPermitted(
            f"{caller.name!r} may explain nothing that has to do with other networks than"
            " its own"
        )
    told = forecast.told
    if told is None:
        return forecast
    reservation = told.reservation
    hidden = (
        reservation is not None
        and reservation.address is not None
        and not caller.reaches(reservation.address)
    )
    # What is reserved for the client on other links is in the notes, too.
    notes = tuple(note for note in told.notes if _is_within(caller, note))
    told = replace(told, reservation=None if hidden else reservation, notes=notes)
    return replace(forecast, told=told)


def _is_within(caller: Caller, note: str) -> bool:
    """Whether all addresses in a text are the caller's to see."""
    for text in _ADDRESS.findall(note):
        try:
            address = int(IPv4Address(text))
        except ValueError:
            continue  # a client may call itself 999.999.999.999
        if not caller.reaches(address):
            return False
    return True
