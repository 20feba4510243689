"""A source's whole set of reservations, put in the place of the one before at once.

What is staged is held against what there is as it comes, in slices, so that a hundred
thousand of them hold up no packet; only what differs is kept until the commit.
"""

from __future__ import annotations

from math import inf
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..lease import Reservation
from ..network import Network
from . import commands
from .answering import page_length, paged
from .caller import Caller
from .changing import ChangingAnswers, result_fields
from .errors import CommandError, InvalidRequest, RevisionChanged
from .holding import Place
from .values import entry_of, read_reservation, reservation_fields


_log = Logger()

#: Reservations that one set may have.
MOST_STAGED = 500_000

#: Reservations that are looked at in one go.
SLICE = 40

#: Rows of the last commit that one `ListReplaced` goes through.
MOST_LOOKED_AT = 20_000

#: What has become of a reservation, which, and the verdict, error, or None.
_Row: TypeAlias = tuple[str, Reservation, Any]

#: What `ListReplaced` may be asked for.
_CHANGES = ("added", "changed", "removed", "refused", "waiting")


class ReplacingAnswers(ChangingAnswers):
    """The commands that replace a source's reservations."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._stage: _Stage | None = None
        self._replaced: list[_Row] = []
        # One after the other, even if the caller does not wait for the answers.
        self._turn = DeferredLock()

    def closed(self) -> None:
        """See `Answering.closed`: what is staged is nothing."""
        super().closed()
        self._stage = None

    @commands.BeginReplace.responder
    def begin_replace(self, **given: Any) -> Deferred[dict[str, Any]]:
        """See `commands.BeginReplace`."""
        return self._in_turn(self._begin, given)

    @commands.StageReservations.responder
    def stage(self, **given: Any) -> Deferred[dict[str, Any]]:
        """See `commands.StageReservations`."""
        return self._in_turn(self._take, given)

    @commands.CommitReplace.responder
    def commit_replace(self, **given: Any) -> Deferred[dict[str, Any]]:
        """See `commands.CommitReplace`."""
        return self._in_turn(self._commit, given)

    def _in_turn(self, step: Any, given: dict[str, Any]) -> Deferred[dict[str, Any]]:
        done: Deferred[dict[str, Any]] = self._turn.run(
            lambda: Deferred.fromCoroutine(step(given))
        )
        return done

    def _replacer(self) -> Caller:
        caller = self.permitted("reserve")
        caller.must("cancel")
        return caller

    async def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        caller = self._replacer()
        storage = self.server.reserving()
        source = caller.source(given.get("source"))
        self.expect(source, given)
        self._stage = _Stage(source, storage.revision(source))
        self._replaced = []
        return {"revision": self._stage.revision}

    async def _take(self, given: dict[str, Any]) -> dict[str, Any]:
        caller = self._replacer()
        stage = self._begun()
        rows = given["reservations"]
        if not isinstance(rows, list):
            raise InvalidRequest("reservations: must be a list")
        if stage.count + len(rows) > MOST_STAGED:
            raise InvalidRequest(f"a set may have {MOST_STAGED} reservations at most")
        taken: list[Reservation] = []
        for number, row in enumerate(rows):
            if number % SLICE == SLICE - 1:
                await self._breath()
            try:
                taken.append(self._read_staged(row, stage, caller))
            except (CommandError, ValueError) as error:
                raise InvalidRequest(f"reservations[{number}]: {error}") from None
        twice = stage.first_known(taken, self.server.network)
        if twice is not None:
            raise InvalidRequest(
                f"reservations[{twice}]: its client, or its address, is in the set already"
            )
        reservation_of = self.server.reserving().reservation_of
        for number, each in enumerate(taken):
            if number % SLICE == SLICE - 1:
                await self._breath()
            there = (
                old for old in reservation_of(None, each.who) if _is_same(old, each)
            )
            stage.put(each, is_there=next(there, None) is not None)
        return {"staged": stage.count}

    def _read_staged(self, row: Any, stage: _Stage, caller: Caller) -> Reservation:
        entry = entry_of(row, stage.source)
        if entry.get("while_connected") or entry.get("for_holder"):
            raise InvalidRequest("a set has no while_connected, and no for_holder")
        made = read_reservation(entry, stage.source, self.server.clock())
        caller.must_reach(made.address)
        _ = made.weight  # worked out now, in slices, and not when all is put in force
        return made

    async def _commit(self, given: dict[str, Any]) -> dict[str, Any]:
        caller = self._replacer()
        stage = self._begun()
        strict, dry_run = bool(given.get("strict")), bool(given.get("dry_run"))
        old = await self._old(stage, caller)
        storage = self.server.reserving()
        revision = storage.revision(stage.source)
        if revision != stage.revision:
            raise RevisionChanged(
                f"the reservations of {stage.source!r} were changed meanwhile; they are"
                f" at revision {revision}: begin again",
                revision=revision,
            )
        wanted = list(stage.wanted.values())
        found = await storage.change(
            wanted,
            old,
            self.server.clock(),
            caller.name,
            strict=strict,
            dry_run=dry_run,
        )
        rows = _compared(old, wanted, found)
        counts = dict.fromkeys(_CHANGES, 0)
        for change, _, verdict in rows:
            counts[change] += 1
            counts["waiting"] += getattr(verdict, "outcome", "") == "waiting"
        done = not dry_run and not (strict and counts["refused"])
        self._replaced = rows
        if done:
            self._stage = None
            self.took([each.place for each in (*old, *wanted)], [], caller)
            _log.info(
                "{caller} replaced the reservations of {source}: {added} added,"
                " {changed} changed, {removed} removed, {refused} refused",
                caller=caller.name,
                source=stage.source,
                **counts,
            )
        return {
            **counts,
            "same": len(stage.same),
            "done": done,
            "revision": storage.revision(stage.source),
        }

    async def _old(self, stage: _Stage, caller: Caller) -> list[Reservation]:
        """What the source has that is not in the set as it is."""
        storage = self.server.reserving()
        found: list[Reservation] = [
            each for each in storage.set_aside() if each.source == stage.source
        ]
        after = None
        while page := storage.reservations(after, SLICE * 4, stage.source):
            for each in page:
                if each.place not in stage.same:
                    caller.must_reach(each.address)
                    found.append(each)
            after = page[-1].place
            await self._breath()
        return found

    def _begun(self) -> _Stage:
        if self._stage is None:
            raise InvalidRequest(
                "there is nothing to go on with: BeginReplace comes first"
            )
        return self._stage

    def _breath(self) -> Deferred[None]:
        """Let packets have their turn."""
        return deferLater(self.server.reactor, 0)

    @commands.ListReplaced.responder
    def list_replaced(
        self, only: Any = None, after: int | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """See `commands.ListReplaced`."""
        self._replacer()
        wanted = set(_CHANGES) if only is None else _chosen(only)
        begin = after or 0
        if not 0 <= begin <= len(self._replaced):
            raise InvalidRequest("after: must be the next of an answer")
        length = page_length(limit)
        rows = []
        at = begin
        for at, row in enumerate(self._replaced[begin:], begin + 1):
            if _names(row) & wanted:
                rows.append((str(at), _row_fields(*row)))
            if len(rows) == length or at - begin >= MOST_LOOKED_AT:
                break
        more = at < len(self._replaced)
        if more and not rows:
            return {"replaced": [], "next": at}
        answer = paged("replaced", rows, more)
        if "next" in answer:
            answer["next"] = int(answer["next"])
        return answer


class _Stage:
    """The new set, as far as it has come.

    Args:
        source: Whose.
        revision: What the source was like at the beginning.

    Attributes:
        wanted: What is to be reserved, by place.
        same: The places of what is there already, just so.
        count: How many there are of both.
    """

    def __init__(self, source: str, revision: str) -> None:
        self.source = source
        self.revision = revision
        self.wanted: dict[Place, Reservation] = {}
        self.same: set[Place] = set()
        self._known: set[Any] = set()

    @property
    def count(self) -> int:
        """How many."""
        return len(self.wanted) + len(self.same)

    def first_known(self, taken: list[Reservation], network: Network) -> int | None:
        """The number of the first that cannot be in the set; None, and all are known.

        A client has one reservation in a subnet, and an address one client.
        """
        marks: set[Any] = set()
        for number, each in enumerate(taken):
            subnet = None if each.address is None else network.subnet_of(each.address)
            mine: set[Any] = {(each.who, None if subnet is None else subnet.network)}
            if each.address is not None:
                mine.add(each.address)
            if not mine.isdisjoint(marks) or not mine.isdisjoint(self._known):
                return number
            marks |= mine
        self._known |= marks
        return None

    def put(self, each: Reservation, *, is_there: bool) -> None:
        """Take one in."""
        if is_there:
            self.same.add(each.place)
        else:
            self.wanted[each.place] = each


def _is_same(old: Reservation, new: Reservation) -> bool:
    """Whether a reservation is there already; one that ends begins anew."""
    return old == new and old.expires == inf


def _compared(
    old: list[Reservation], wanted: list[Reservation], found: list[Any]
) -> list[_Row]:
    """What has changed, and how."""
    before = {each.who for each in old}
    after = {each.who for each in wanted}
    rows: list[_Row] = []
    for each, verdict in zip(wanted, found, strict=True):
        change = "changed" if each.who in before else "added"
        rows.append(
            ("refused" if isinstance(verdict, Exception) else change, each, verdict)
        )
    rows += [("removed", each, None) for each in old if each.who not in after]
    return rows


def _chosen(only: Any) -> set[str]:
    if not isinstance(only, list) or not {*map(str, only)} <= set(_CHANGES):
        raise InvalidRequest(f"only: must be a list of some of {', '.join(_CHANGES)}")
    return set(only)


def _names(row: _Row) -> set[str]:
    change, _, verdict = row
    return {change, getattr(verdict, "outcome", "")}


def _row_fields(change: str, each: Reservation, verdict: Any) -> dict[str, Any]:
    said = {"verdict": "cancelled"} if verdict is None else result_fields(verdict)
    if "source" in said:  # whose reservation is in the way
        said["reserved_by"] = said.pop("source")
    return {**reservation_fields(each), "change": change, **said}
