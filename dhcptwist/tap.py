"""``twistd dhcp``: the server as a command."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.python.failure import Failure

from .clock import steady_timers
from .config import Config, ConfigError, load
from .hangup import Hangup
from .service import DHCPService
from .storage.make import check_storage
from .storage.sqlite_schema import StorageUnusable
from .transport.sockets import CannotServe


class Options(usage.Options):
    """The command line of ``twistd dhcp``."""

    synopsis = "[options] --config FILE"
    optParameters: ClassVar = [
        ["config", "c", "/etc/dhcptwist/dhcp.ini", "The configuration file."],
    ]
    optFlags: ClassVar = [
        ["check", None, "Only check the configuration, and exit."],
        ["example-config", None, "Print a commented configuration, and exit."],
    ]
    longdesc = (
        "A DHCPv4 server.  With --check it tells every mistake of the configuration and"
        " starts nothing."
    )

    def postOptions(self) -> None:
        """Read the configuration; every mistake is told at once."""
        if self["example-config"]:
            sys.stdout.write(files("dhcptwist").joinpath("example.ini").read_text())
            raise SystemExit(0)
        try:
            self["parsed"] = config = load(self["config"])
            if self["check"]:
                self._check(config)
        except ConfigError as error:
            if self["check"]:
                # Alone, without the options that a usage error would show before it.
                raise SystemExit(str(error)) from None
            raise usage.UsageError(str(error)) from None

    def _check(self, config: Config) -> None:
        """What only a start would show otherwise."""
        try:
            check_storage(config.storage)
        except ValueError as error:
            raise SystemExit(f"{self['config']}: {error}") from None
        sys.stdout.write(f"{self['config']}: no mistakes\n")
        raise SystemExit(0)


#: What is explained by one sentence; anything else is a bug and shows where it is.
_REASONS = (CannotServe, OSError, StorageUnusable, ValueError)


class _Served(DHCPService):
    """Ends the process with one sentence where an embedding program gets an error.

    It also reads its configuration again at SIGHUP, which is the process's to have.
    """

    def __init__(self, reactor: Any, config: Config, path: Path) -> None:
        super().__init__(reactor, config, source=path)
        self._hangup = Hangup(reactor, self.reload)

    def privilegedStartService(self) -> None:
        """See `DHCPService`."""
        _or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """See `DHCPService`."""
        _or_exit(super().startService)
        self._hangup.listen()
        # What is there now stays: the collector need not look at it again and again;
        # and a packet leaves no cycles behind, so it need not look often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)

    def stopService(self) -> Deferred[None]:
        """See `DHCPService`."""
        self._hangup.ignore()
        return super().stopService()

    def _could_not_start(self, failure: Failure) -> None:
        """A process that does not serve ends."""
        if failure.check(*_REASONS) is None:
            super()._could_not_start(failure)
        sys.stderr.write(f"dhcptwist cannot start: {failure.getErrorMessage()}\n")
        # The reactor has no exit status of its own to give; this is the last word,
        # after twistd has put everything away.
        atexit.register(_exit_failed)
        self.reactor.stop()


def _exit_failed() -> None:
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(1)


def _or_exit(step: Any) -> None:
    try:
        step()
    except _REASONS as error:
        raise SystemExit(f"dhcptwist cannot start: {error}") from None


def makeService(options: Options) -> IService:
    """The service for a command line."""
    # Late: twistd may still be choosing the reactor when this module is imported.
    from twisted.internet import reactor  # noqa: PLC0415

    steady_timers(reactor)
    config: Config = options["parsed"]
    # Whole, for a daemon may be elsewhere when it is read again.
    service: IService = _Served(reactor, config, Path(options["config"]).absolute())
    return service
