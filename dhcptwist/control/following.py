"""``dhcpctl watch``: what happens, printed or given to a program, as it happens."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from . import tables
from .client import ControlClient, NoServer


#: Seconds between two attempts to come back to a server that went away.
AGAIN = 2.0

#: What a program finds in its environment, as ``DHCPTWIST_`` and the name in capitals.
FIELDS = (
    *("number", "when", "kind", "address", "hardware", "client_id", "hostname"),
    *("circuit_id", "remote_id", "since", "expires", "by", "lost"),
)


class Follower:
    """Prints events, or runs a program for each.

    Args:
        reactor: For the programs.
        options: The command line's.
    """

    def __init__(self, reactor: Any, options: argparse.Namespace) -> None:
        self._reactor = reactor
        self._json = options.json
        self._program: list[str] = options.exec or []
        self._jobs = options.jobs
        self._turns = DeferredSemaphore(options.jobs)
        self._kinds: list[str] | None = options.kind
        self._left: int | None = options.count
        self._after: int | None = options.after

    async def follow(self, client: ControlClient) -> None:
        """Until the connection, or what is to be told, ends.

        Raises:
            NoServer: The connection ended; called again, it goes on where it was.
        """
        watch = await client.watch(self._after, self._kinds)
        self._after = watch.number
        async for event in watch:
            await self._tell(event)
            self._after = event["number"]
            if self._left is not None and event["kind"] != "lost":
                self._left -= 1
                if not self._left:
                    break
        # Those programs that still run.
        await gatherResults([self._turns.acquire() for _ in range(self._jobs)])

    async def _tell(self, event: dict[str, Any]) -> None:
        if not self._program:
            sys.stdout.write(
                (json.dumps(event) if self._json else tables.event_line(event)) + "\n"
            )
            sys.stdout.flush()
            return
        await self._turns.acquire()
        ended = self._run(event)
        ended.addBoth(self._over)

    def _run(self, event: dict[str, Any]) -> Deferred[None]:
        told = {
            f"DHCPTWIST_{name.upper()}": str(event[name])
            for name in FIELDS
            if event.get(name) is not None
        }
        process = _Program()
        self._reactor.spawnProcess(
            process,
            self._program[0],
            self._program,
            env=os.environ | told,
            childFDs={0: "w", 1: 1, 2: 2},
            usePTY=False,
        )
        return process.ended.addErrback(self._complain, event)

    def _complain(self, failure: Failure, event: dict[str, Any]) -> None:
        ended: Any = failure.value
        how = (
            f"signal {ended.signal}" if ended.signal else f"exit code {ended.exitCode}"
        )
        sys.stderr.write(
            f"dhcpctl: {self._program[0]} ended with {how} for event {event['number']}\n"
        )

    def _over(self, _: Any) -> None:
        self._turns.release()


async def watch(
    reactor: Any,
    options: argparse.Namespace,
    reach: Callable[[], Awaitable[ControlClient]],
) -> None:
    """Follow a server, and come back to it when it went away.

    Args:
        reactor: The reactor.
        options: The command line's.
        reach: Connects.

    Raises:
        NoServer: It was not there in the first place.
        ValueError: There is no such program.
    """
    if options.exec and shutil.which(options.exec[0]) is None:
        raise ValueError(f"--exec: there is no program {options.exec[0]}")
    follower = Follower(reactor, options)
    client = await reach()
    while True:
        try:
            await follower.follow(client)
        except NoServer as error:
            sys.stderr.write(f"dhcpctl: {error}; waiting for it to come back\n")
        else:
            return
        finally:
            await client.close()
        client = await _again(reactor, reach)


async def _again(
    reactor: Any, reach: Callable[[], Awaitable[ControlClient]]
) -> ControlClient:
    while True:
        await deferLater(reactor, AGAIN)
        with suppress(NoServer):
            return await reach()


class _Program(ProcessProtocol):
    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """There is nothing for it to read."""
        self.transport.closeStdin()  # type: ignore[union-attr]

    def processEnded(self, reason: Failure) -> None:
        """See `ProcessProtocol`."""
        if reason.check(ProcessDone):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)
