"""``dhcpctl``: the command line over `dhcptwist.control.client`.

Exit codes, for scripts: 0 done, 1 refused or not found, 2 wrong usage, 3 no server or
no permission.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .control import (
    acting,
    arguments,
    explain_actions,
    identity_actions,
    probe,
    reload_actions,
    replace_actions,
    tables,
)
from .control.client import CommandError, NoServer, NotPermitted, connect
from .control.shell import (
    DONE,
    NO_SERVER,
    REFUSED,
    USAGE,
    fail,
    print_json,
    show,
)
from .control.tls import UnusableIdentity
from .wire.codes import INFINITE


class NoState(Exception):  # noqa: N818 - it says what
    """No server was named, and none is found on this machine."""


def main(words: Sequence[str] | None = None) -> None:
    """Run one command, and exit."""
    options = arguments.parser().parse_args(words)
    try:
        if options.command == "probe":
            show(options, probe_server(options), _probed)
            raise SystemExit(DONE)
        # Late, so that --help and probe do not wait for Twisted.
        from twisted.internet.task import react  # noqa: PLC0415

        react(lambda reactor: _run(reactor, options))
    except probe.ProbeFailed as error:
        fail(error, REFUSED if error.refused else NO_SERVER)
    except (NoState, UnusableIdentity) as error:
        fail(error, NO_SERVER)
    except BrokenPipeError:
        _seen_enough()


def _seen_enough() -> None:
    """Whoever read our output has gone; end quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(DONE) from None


# --- where the server is ----------------------------------------------------------


def _states(options: argparse.Namespace) -> list[Path]:
    named = options.state or os.environ.get("DHCPTWIST_STATE")
    return [Path(named)] if named else list(arguments.STATES)


def _found(options: argparse.Namespace, *names: str) -> Path | None:
    """The first state directory's file of that name."""
    for state in _states(options):
        path = state.joinpath(*names)
        try:
            if path.exists():
                return path
        except PermissionError:
            raise NoState(
                f"{path.parent} may be read by the server's own user only: use sudo, or"
                " name --server and --identity"
            ) from None
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NoState(f"{path} cannot be read: {error.strerror}") from None


def _server(options: argparse.Namespace) -> tuple[str, Path | None]:
    """The server to talk to, and the identity to show."""
    server: str = options.server or ""
    if not server:
        endpoint = _found(options, "control", "endpoint")
        if endpoint is None:
            looked = ", ".join(map(str, _states(options)))
            raise NoState(
                f"no server is known here: there is no control/endpoint in {looked}."
                "  Is the server running?  Name its state directory with --state, or"
                " itself with --server"
            )
        server = _read(endpoint)
    if server.startswith("unix:"):
        return server, None
    identity = options.identity and Path(options.identity)
    identity = identity or _found(options, "control", "admin.pem")
    if identity is None:
        raise NoState(
            f"to talk to {server} a certificate is needed: name one with --identity, or"
            " the server's state directory with --state"
        )
    return server, identity


# --- the commands -----------------------------------------------------------------


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    try:
        server, identity = _server(options)
        if identity is not None:
            identity_actions.warn_of_end(identity)
        if options.command == "watch":
            # Late: it needs the reactor, which is there by now.
            from .control.following import watch  # noqa: PLC0415

            await watch(reactor, options, lambda: connect(reactor, server, identity))
            return
        client = await connect(reactor, server, identity)
        try:
            await COMMANDS[options.command](client, options)
        finally:
            await client.close()
    except NotPermitted as error:
        fail(error, NO_SERVER)
    except CommandError as error:
        if options.json:
            print_json(
                {"error": type(error).__name__, "message": str(error), **error.details}
            )
        fail(_explained(error), REFUSED)
    except (NoState, NoServer, UnusableIdentity) as error:
        fail(error, NO_SERVER)
    except ValueError as error:
        fail(error, USAGE)
    except BrokenPipeError:
        _seen_enough()  # here, for react() would make a traceback of it


def _explained(error: CommandError) -> str:
    if "until" in error.details:
        return f"{error}; that ends {tables.moment(error.details['until'])}"
    return str(error)


def probe_server(options: argparse.Namespace) -> dict[str, Any]:
    """``dhcpctl probe``: whom to ask is the command line's word, else the state's."""
    server, port, relay = options.to, options.port, options.relay
    if server is None:
        path = _found(options, "probe")
        if path is None:
            raise NoState(
                "no server is known here that serves loopback; name one with --to, or"
                " the state directory of one with --state"
            )
        words = _read(path).split()
        if len(words) != 3:
            raise NoState(f"{path} is not what a server writes; name one with --to")
        server, known_port, known_relay = words
        port, relay = port or int(known_port), relay or known_relay
    target = probe.Target(
        server,
        port or 67,
        relay or probe.relay_towards(server),
        options.hardware or probe.own_hardware(),
    )
    return probe.probe(target, keep=options.keep)


def _probed(lease: dict[str, Any]) -> str:
    time = lease["lease_time"]
    ending = "released again" if lease["released"] else "kept"
    rows = [
        ("address", lease["address"]),
        ("subnet mask", lease["subnet_mask"]),
        ("routers", lease["routers"]),
        ("name servers", lease["domain_name_servers"]),
        ("host name", lease["host_name"]),
        ("domain", lease["domain_name"]),
        ("lease time", "infinite" if time == INFINITE else tables.duration(time)),
        ("server", lease["server"]),
        ("client", f"{lease['hardware']}, as if behind the relay {lease['relay']}"),
        (
            "took",
            f"{lease['offer_ms']} ms to the offer, {lease['ack_ms']} ms to the ACK",
        ),
        ("now", ending),
    ]
    return tables.pairs((name, value) for name, value in rows if value)


#: Each command that a server is asked for.
COMMANDS = (
    acting.COMMANDS
    | explain_actions.COMMANDS
    | identity_actions.COMMANDS
    | reload_actions.COMMANDS
    | replace_actions.COMMANDS
)


if __name__ == "__main__":
    main()
