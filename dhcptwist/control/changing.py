"""Several reservations changed by one command: all of them, or none."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from ..lease import Reservation
from . import commands
from .answering import declared
from .caller import Caller
from .errors import CommandError, InvalidRequest
from .reserving import ReservingAnswers, verdict_fields
from .values import entry_of, read_reservation


_log = Logger()

#: Changes of one command at most: they are made in one go, while packets wait.
MOST_CHANGES = 1000


class ChangingAnswers(ReservingAnswers):
    """The command that changes several."""

    @commands.ChangeReservations.responder
    async def change(self, **given: Any) -> dict[str, Any]:
        """See `commands.ChangeReservations`."""
        caller = self.admitted()
        if _is_for_now(given["changes"]):
            return await self._change(caller, given)
        return await self.server.repeating.once(
            caller.name,
            "ChangeReservations",
            given,
            lambda: self._change(caller, given),
        )

    async def _change(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        storage = self.server.reserving()
        when = self.server.clock()
        source = caller.source(given.get("source"))
        changes = given["changes"]
        if not isinstance(changes, list) or not 0 < len(changes) <= MOST_CHANGES:
            raise InvalidRequest(f"changes: must be a list of 1 to {MOST_CHANGES}")
        self.expect(source, given)
        wanted = _Wanted()
        for number, change in enumerate(changes):
            try:
                self._read(change, number, wanted, caller, source, when)
            except (CommandError, ValueError) as error:
                wanted.results[number] = error_fields(error)
        strict = given.get("strict") is not False
        dry_run = bool(given.get("dry_run")) or (strict and bool(wanted.results))
        removed = list(wanted.removed.values())
        found = await storage.change(
            list(wanted.added.values()),
            removed,
            when,
            caller.name,
            strict=strict,
            dry_run=dry_run,
        )
        refused = bool(wanted.results)
        for number, verdict in zip(wanted.added, found, strict=True):
            refused = refused or isinstance(verdict, Exception)
            wanted.results[number] = result_fields(verdict)
        for number in wanted.cancelled:
            wanted.results[number] = {"verdict": "cancelled"}
        done = not dry_run and not (strict and refused)
        if done:
            self._note(wanted, found, caller, source)
        return {
            "results": [wanted.results[number] for number in range(len(changes))],
            "done": done,
            "revision": storage.revision(source),
        }

    def _read(
        self,
        change: Any,
        number: int,
        wanted: _Wanted,
        caller: Caller,
        source: str,
        when: float,
    ) -> None:
        """Take one change in."""
        if not isinstance(change, dict) or len(change) != 1:
            raise InvalidRequest('must be {"reserve": {…}} or {"cancel": {…}}')
        [(verb, entry)] = change.items()
        if verb == "reserve":
            caller.must("reserve")
            given = entry_of(entry, source)
            if given.get("for_holder"):
                given |= self.holder(given, when)
            made = read_reservation(given, source, when)
            caller.must_reach(made.address)
            if given.get("while_connected"):
                made = self.for_now(made, when)
                wanted.held.add(number)
            wanted.added[number] = made
        elif verb == "cancel":
            caller.must("cancel")
            for each in self.to_cancel(
                caller, {**entry_of(entry, source), "source": source}
            ):
                wanted.removed[each.place] = each
            wanted.cancelled.append(number)
        else:
            raise InvalidRequest(f"{verb!r} is neither reserve nor cancel")

    def _note(
        self, wanted: _Wanted, found: list[Any], caller: Caller, source: str
    ) -> None:
        made = {
            number: each
            for (number, each), verdict in zip(wanted.added.items(), found, strict=True)
            if not isinstance(verdict, Exception)
        }
        places = [each.place for each in made.values()]
        held = [each for number, each in made.items() if number in wanted.held]
        self.took([*wanted.removed, *places], held, caller)
        _log.info(
            "{caller} reserved {added} and cancelled {removed} for {source} at once",
            caller=caller.name,
            added=len(made),
            removed=len(wanted.removed),
            source=source,
        )


def _is_for_now(changes: Any) -> bool:
    """Whether some of it ends with the connection, and is made anew on another."""
    return isinstance(changes, list) and any(
        isinstance(each, dict)
        and isinstance(each.get("reserve"), dict)
        and bool(each["reserve"].get("while_connected"))
        for each in changes
    )


class _Wanted:
    """What is to be changed, each by its place in the list.

    Attributes:
        added: To be reserved.
        removed: To be cancelled, by their own places.
        cancelled: The changes that are about those.
        held: Those that end with the connection.
        results: What is known already.
    """

    def __init__(self) -> None:
        self.added: dict[int, Reservation] = {}
        self.removed: dict[tuple[int, str, bytes, bytes], Reservation] = {}
        self.cancelled: list[int] = []
        self.held: set[int] = set()
        self.results: dict[int, dict[str, Any]] = {}


def result_fields(answered: Any) -> dict[str, Any]:
    """A verdict, or why there is none, for other programs."""
    if isinstance(answered, Exception):
        return error_fields(answered)
    return verdict_fields(answered)


def error_fields(error: Exception) -> dict[str, Any]:
    """An error as one of a list of results."""
    known = declared(error)
    if known is None:
        raise error
    return {
        "error": known.code.decode("ascii"),
        "message": known.message,
        **known.details,
    }
