"""The calls about reservations: one by one, several at once, a whole set."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from . import commands
from .calls import Calls
from .errors import ERRORS, CommandError, InvalidRequest


#: Bytes and rows of one page of a set; an AMP value ends at 65,535 bytes.
_BYTES = 48 << 10
_ROWS = 400

#: Pages of a set that are under way at once.
_PAGES = 4

_BY_CODE: dict[str, type[CommandError]] = {
    code.decode("ascii"): kind  # type: ignore[misc] # they all are
    for kind, code in ERRORS.items()
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reservation really did.

    Attributes:
        outcome: ``applied``: in force with the next packet; ``waiting``: somebody has
            the address still.
        holder: Who has it; empty when applied.
        until: When the holder's time ends, in seconds since 1970; None for never, and
            when applied.
        revision: The source's, from now on; empty in a list of results.
    """

    outcome: str
    holder: str = ""
    until: float | None = None
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """What several changes came to.

    Attributes:
        results: For each its verdict (``cancelled`` is one, too), or why there is none.
        done: Whether anything was changed.
        revision: The source's, from now on.
    """

    results: list[Verdict | CommandError]
    done: bool
    revision: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a new set of reservations came to, in numbers.

    Attributes:
        added, changed, removed, same, refused: How many; together all there were and are.
        waiting: How many of those added and changed wait for somebody who has the address.
        done: Whether anything was changed.
        revision: The source's, from now on.
    """

    added: int
    changed: int
    removed: int
    same: int
    refused: int
    waiting: int
    done: bool
    revision: str


class ReservationCalls(Calls):
    """The part of a client that is about reservations."""

    async def reserve(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        circuit_id: str | None = None,
        remote_id: str | None = None,
        hostname: str | None = None,
        options: dict[str, str] | None = None,
        next_server: str | None = None,
        boot_file: str | None = None,
        server_name: str | None = None,
        source: str | None = None,
        on_conflict: str | None = None,
        lifetime: int | None = None,
        for_holder: str | None = None,
        while_connected: bool | None = None,
        expect_revision: str | None = None,
        key: str | None = None,
    ) -> Verdict:
        """Put a reservation into the live pool; see `commands.Reserve`.

        Raises:
            AddressInUse: ``on_conflict`` is ``refuse`` and somebody has the address.
            ReservedByOther: It is reserved for somebody else, or by another source.
            RevisionChanged: The source is not at ``expect_revision``.
        """
        answer = await self._call(
            commands.Reserve,
            address=address,
            hardware=hardware,
            client_id=client_id,
            circuit_id=circuit_id,
            remote_id=remote_id,
            hostname=hostname,
            options=options,
            next_server=next_server,
            boot_file=boot_file,
            server_name=server_name,
            source=source,
            on_conflict=on_conflict,
            lifetime=lifetime,
            for_holder=for_holder,
            while_connected=while_connected,
            expect_revision=expect_revision,
            key=key,
        )
        return Verdict(
            answer["verdict"],
            answer["holder"],
            answer.get("until"),
            answer.get("revision", ""),
        )

    async def cancel(
        self,
        address: str | None = None,
        *,
        hardware: str | None = None,
        client_id: str | None = None,
        circuit_id: str | None = None,
        remote_id: str | None = None,
        source: str | None = None,
        expect_revision: str | None = None,
        key: str | None = None,
    ) -> list[dict[str, Any]]:
        """Take reservations out; see `commands.CancelReservation`.  Returns them."""
        answer = await self._call(
            commands.CancelReservation,
            address=address,
            hardware=hardware,
            client_id=client_id,
            circuit_id=circuit_id,
            remote_id=remote_id,
            source=source,
            expect_revision=expect_revision,
            key=key,
        )
        return list(answer["cancelled"])

    async def reservations(
        self, source: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All reservations, or those of a source, page by page.

        ``in_force`` is false for those that come last: the configuration's own are in
        their way.
        """
        aside: list[dict[str, Any]] = []
        after = None
        while True:
            answer = await self._page(
                commands.ListReservations,
                first=after is None,
                after=after,
                source=source,
            )
            aside += answer.get("set_aside") or []
            for each in answer["reservations"]:
                yield {**each, "in_force": True}
            after = answer.get("next")
            if not after:
                break
        for each in aside:
            yield {**each, "in_force": False}

    async def sources(self) -> list[dict[str, Any]]:
        """Everybody who has reservations, how many, and their revisions."""
        return list((await self._call(commands.ListSources))["sources"])

    async def change(
        self,
        changes: Sequence[dict[str, dict[str, Any]]],
        *,
        source: str | None = None,
        strict: bool | None = None,
        dry_run: bool | None = None,
        expect_revision: str | None = None,
        key: str | None = None,
    ) -> Changed:
        """Make several changes at once; see `commands.ChangeReservations`.

        Args:
            changes: Each ``{"reserve": {…}}`` with arguments of `reserve`, or
                ``{"cancel": {…}}`` with those of `cancel`; up to some hundreds.
            source: Whose reservations; None for our own name.
            strict: Whether nothing is to change if one cannot be made; None for yes.
            dry_run: Whether to say only what would be.
            expect_revision: What the source has to be like now.
            key: Makes it safe to ask again; see `fields.GUARD`.

        Raises:
            RevisionChanged: The source is not at ``expect_revision``.
        """
        answer = await self._call(
            commands.ChangeReservations,
            changes=list(changes),
            source=source,
            strict=strict,
            dry_run=dry_run,
            expect_revision=expect_revision,
            key=key,
        )
        results = [_result(each) for each in answer["results"]]
        return Changed(results, answer["done"], answer["revision"])

    async def replace(
        self,
        reservations: Iterable[dict[str, Any]],
        *,
        source: str | None = None,
        strict: bool | None = None,
        dry_run: bool | None = None,
        expect_revision: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Replaced:
        """Put a new set in the place of all that a source has; see `commands.CommitReplace`.

        Args:
            reservations: Each an object with arguments of `reserve`.
            source: Whose; None for our own name.
            strict: Whether nothing is to change if one of them cannot be reserved.
            dry_run: Whether to say only what would be.
            expect_revision: What the source has to be like now.
            progress: Is told how many the server has looked at so far.

        Raises:
            RevisionChanged: It is not, or somebody else changed it meanwhile.
            InvalidRequest: One makes no sense; ``number`` in its details says which,
                counted from 0.
        """
        await self._call(
            commands.BeginReplace, source=source, expect_revision=expect_revision
        )
        under_way: deque[tuple[int, Deferred[Any]]] = deque()
        try:
            for first, page in _pages(reservations):
                call = self._page(
                    commands.StageReservations, first=False, reservations=page
                )
                under_way.append((first, Deferred.fromCoroutine(call)))
                if len(under_way) == _PAGES:
                    await self._staged(under_way, progress)
            while under_way:
                await self._staged(under_way, progress)
        finally:
            for _, each in under_way:
                each.addErrback(lambda _: None)  # one has failed; so do these
        answer = await self._page(
            commands.CommitReplace, first=False, strict=strict, dry_run=dry_run
        )
        return Replaced(**answer)

    @staticmethod
    async def _staged(
        under_way: deque[tuple[int, Deferred[Any]]],
        progress: Callable[[int], None] | None,
    ) -> None:
        first, call = under_way.popleft()
        try:
            answer = await call
        except InvalidRequest as error:
            raise _numbered(error, first) from None
        if progress is not None:
            progress(answer["staged"])

    async def replaced(
        self, only: Sequence[str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """What the last `replace` came to, one by one; see `commands.ListReplaced`."""
        chosen = None if only is None else list(only)
        async for each in self._list(commands.ListReplaced, "replaced", only=chosen):
            yield each


def _pages(
    rows: Iterable[dict[str, Any]],
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """As many together as one value may have, and the number of the first."""
    page: list[dict[str, Any]] = []
    first = size = 0
    for row in rows:
        more = len(json.dumps(row)) + 1
        if page and (size + more > _BYTES or len(page) == _ROWS):
            yield first, page
            first, page, size = first + len(page), [], 0
        page.append(row)
        size += more
    if page:
        yield first, page


def _numbered(error: InvalidRequest, first: int) -> InvalidRequest:
    """The same, with the number of the one that is meant in the whole set."""
    found = re.match(r"reservations\[(\d+)\]: (.*)", error.message, re.DOTALL)
    if found is None:
        return error
    return InvalidRequest(found[2], number=first + int(found[1]))


def _result(fields: dict[str, Any]) -> Verdict | CommandError:
    if "error" in fields:
        known = {k: v for k, v in fields.items() if k not in ("error", "message")}
        kind = _BY_CODE.get(fields["error"], CommandError)
        return kind(fields["message"], **known)
    return Verdict(fields["verdict"], fields.get("holder", ""), fields.get("until"))
