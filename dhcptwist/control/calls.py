"""How a client asks, and what an answer or an error becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectionClosed
from twisted.internet.task import deferLater
from twisted.protocols import amp

from .connecting import Connection, no_server
from .errors import CommandError, InvalidRequest, NotSupported, TooMany


class Calls:
    """What all calls have in common.

    Args:
        protocol: The connection.
        server: Where that leads.
        reactor: The reactor.
        timeout: Seconds to wait for each answer.
    """

    def __init__(
        self, protocol: Connection, server: str, reactor: Any, timeout: float
    ) -> None:
        self._protocol = protocol
        self._server = server
        self._reactor = reactor
        self._timeout = timeout

    async def close(self) -> None:
        """Close the connection."""
        if self._protocol.transport is not None:
            self._protocol.transport.loseConnection()
        await self._protocol.gone

    async def _list(
        self, command: type[amp.Command], name: str, **arguments: Any
    ) -> AsyncIterator[dict[str, Any]]:
        after = None
        while True:
            answer = await self._page(
                command, first=after is None, after=after, **arguments
            )
            for each in answer[name]:
                yield each
            after = answer.get("next")
            if not after:
                return

    async def _page(
        self, command: type[amp.Command], *, first: bool, **arguments: Any
    ) -> dict[str, Any]:
        """One page of several; who has begun may go on, if not as fast as he would like.

        Raises:
            TooMany: The role has asked as often as it may already.
        """
        while True:
            try:
                return await self._call(command, **arguments)
            except TooMany as error:
                if first:
                    raise
                await self._pause(error.details["retry_after"])

    async def _pause(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    async def _call(
        self, command: type[amp.Command], _timeout: float = 0.0, **arguments: Any
    ) -> dict[str, Any]:
        given = {name: each for name, each in arguments.items() if each is not None}
        try:
            return await self._ask(command, given, max(_timeout, self._timeout))
        except CommandError as error:
            raise type(error).from_wire(error.message) from None
        except amp.TooLong as error:
            raise InvalidRequest(f"{error.keyName or 'a value'} is too long") from None
        except amp.UnhandledCommand:
            raise NotSupported(
                f"the server at {self._server} does not know {command.__name__}"
            ) from None

    async def _ask(
        self, command: type[amp.Command], given: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Send it, and wait for the answer, as long as that.

        Raises:
            NoServer: There is no connection, or it went away.
        """
        try:
            answer: dict[str, Any] = await self._protocol.callRemote(
                command, **given
            ).addTimeout(seconds, self._reactor)
        except (ConnectionClosed, SSLError, TooLate) as error:
            raise no_server(error, self._server) from error
        return answer
