"""Looking back: who had which address when."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from . import commands
from .answering import Answering, page_length, paged
from .errors import InvalidRequest
from .values import event_fields, read_fields


#: The largest number that an event can have.
_LAST = (1 << 63) - 1


class HistoryAnswers(Answering):
    """The commands about what happened."""

    @commands.LeaseHistory.responder
    async def lease_history(self, **given: Any) -> dict[str, Any]:
        """See `commands.LeaseHistory`."""
        caller = self.permitted("list")
        values = read_fields(given)
        if len(values) != 1:
            raise InvalidRequest(
                "the history of what? give an address, hardware or client_id"
            )
        storage = self.server.remembering()
        limit = page_length(given.get("limit"))
        key = values.get("hardware") or values.get("client_id")
        before = given.get("before") or 0
        if not 0 <= before <= _LAST:
            raise InvalidRequest("before: must be the next of an answer")
        found = await storage.history(
            values.get("address"),
            key,
            before,
            limit,
            given.get("until"),
        )
        rows = [
            (
                str(each.number),
                event_fields(each) if caller.reaches(each.address or None) else None,
            )
            for each in found
        ]
        answer = paged("events", rows, len(found) == limit)
        if "next" in answer:
            answer["next"] = int(answer["next"])
        if not found and given.get("until") is not None:
            oldest = await storage.events(0, 1)
            answer["begins"] = oldest[0].when if oldest else self.server.clock()
        return answer


def holder_at(
    events: list[dict[str, Any]], address: str, when: float
) -> dict[str, Any] | None:
    """Who had an address at a time, from its events until then, the latest first.

    Returns:
        The event that gave it to its holder, or None: nobody had it.
    """
    for event in events:
        if event["address"] != address or event["when"] > when:
            continue
        if event["kind"] in {"bound", "renewed", "imported"}:
            lasts = event["expires"] is None or event["expires"] > when
            return event if lasts else None
        if event["kind"] in {"released", "expired", "declined", "revoked", "freed"}:
            return None
    return None


def addresses_of(events: list[dict[str, Any]]) -> list[str]:
    """The addresses that are named, each once, in order."""
    named = {event["address"] for event in events if event["address"]}
    return sorted(named, key=IPv4Address)
