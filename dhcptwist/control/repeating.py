"""Requests that are asked again because an answer was lost, and are done once.

A caller that gives a request a key gets the same answer for it again, on whatever
connection, for an hour.  It is not kept over a restart: who asks then should compare
revisions.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..lease import AddressInUse, ReservationConflict
from .errors import CommandError, InvalidRequest, StorageFailed


#: Answers that are kept, how long they may be altogether, and for how many seconds.
MOST_ANSWERS = 10_000
MOST_BYTES = 16 << 20
KEPT_FOR = 3600.0

#: Characters of a key.
_LONGEST_KEY = 200

#: What will be so the next time, too; any other failure may be tried again.
_FINAL = (CommandError, AddressInUse, ReservationConflict, ValueError)


class _Request:
    """One that was asked.

    Attributes:
        digest: What it asked for.
        since: When, in seconds since 1970.
        size: How long the answer is, about.
        answer: What it came to, or a failure; None before that.
        waiting: Who asked for it again meanwhile.
    """

    __slots__ = ("answer", "digest", "since", "size", "waiting")

    def __init__(self, digest: bytes, since: float) -> None:
        self.digest = digest
        self.since = since
        self.size = 0
        self.answer: Any = None
        self.waiting: list[Deferred[Any]] = []


class Repeating:
    """The latest requests that had a key, by caller and key.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._requests: OrderedDict[tuple[str, str], _Request] = OrderedDict()
        self._bytes = 0

    async def once(
        self,
        caller: str,
        command: str,
        given: dict[str, Any],
        work: Callable[[], Awaitable[dict[str, Any]]],
    ) -> dict[str, Any]:
        """Do it, or answer as it was answered before.

        Args:
            caller: Who asks.
            command: For what.
            given: Its arguments; ``key`` is the key, if there is one.
            work: Does it.

        Raises:
            InvalidRequest: The key stands for another request.
        """
        key = given.get("key")
        if not key:
            return await work()
        if len(key) > _LONGEST_KEY:
            raise InvalidRequest(f"key: may have {_LONGEST_KEY} characters at most")
        said = json.dumps([command, given], sort_keys=True, default=str)
        digest = blake2b(said.encode(), digest_size=16).digest()
        self._forget()
        place = caller, key
        known = self._requests.get(place)
        if known is not None:
            if known.digest != digest:
                raise InvalidRequest(f"key: {key!r} was used for another request")
            return await self._again(known)
        request = self._requests[place] = _Request(digest, self._clock())
        try:
            request.answer = await work()
            request.size = len(repr(request.answer))
            self._bytes += request.size
        except BaseException as error:
            request.answer = Failure()
            if not isinstance(error, _FINAL) or isinstance(error, StorageFailed):
                self._requests.pop(place, None)
            raise
        finally:
            waiting, request.waiting = request.waiting, []
            for each in waiting:
                each.callback(None)
        answer: dict[str, Any] = request.answer
        return answer

    @staticmethod
    async def _again(known: _Request) -> dict[str, Any]:
        if known.answer is None:
            later: Deferred[Any] = Deferred()
            known.waiting.append(later)
            await later
        if isinstance(known.answer, Failure):
            known.answer.raiseException()
        answer: dict[str, Any] = known.answer
        return answer

    def _forget(self) -> None:
        old = self._clock() - KEPT_FOR
        while self._requests:
            first = next(iter(self._requests.values()))
            if (
                first.since > old
                and len(self._requests) < MOST_ANSWERS
                and self._bytes < MOST_BYTES
            ):
                return
            self._requests.popitem(last=False)
            self._bytes -= first.size
