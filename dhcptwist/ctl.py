"""``dhcpctl``: the command line over `dhcptwist.control.client`.

Exit codes, for scripts: 0 done, 1 refused or not found, 2 wrong usage, 3 no server or
no permission.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from .control import arguments, probe, tables, transfer
from .control.client import (
    CommandError,
    ControlClient,
    NoServer,
    NotPermitted,
    connect,
)
from .control.history import addresses_of, holder_at
from .control.tls import UnusableIdentity
from .wire.codes import INFINITE
from .wire.message import printable


DONE, REFUSED, USAGE, NO_SERVER = 0, 1, 2, 3


class NoState(Exception):  # noqa: N818 - it says what
    """No server was named, and none is found on this machine."""


def main(words: Sequence[str] | None = None) -> None:
    """Run one command, and exit."""
    options = arguments.parser().parse_args(words)
    try:
        if options.command == "probe":
            _show(options, probe_server(options), _probed)
            raise SystemExit(DONE)
        # Late, so that --help and probe do not wait for Twisted.
        from twisted.internet.task import react  # noqa: PLC0415

        react(lambda reactor: _run(reactor, options))
    except probe.ProbeFailed as error:
        _fail(error, REFUSED if error.refused else NO_SERVER)
    except (NoState, UnusableIdentity) as error:
        _fail(error, NO_SERVER)
    except BrokenPipeError:
        _seen_enough()


def _seen_enough() -> None:
    """Whoever read our output has gone; end quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(DONE) from None


def _fail(error: Exception | str, code: int) -> None:
    sys.stderr.write(f"dhcpctl: {error}\n")
    raise SystemExit(code) from None


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
            f"to talk to {server} a certificate is needed: name one with --identity"
        )
    return server, identity


# --- the commands -----------------------------------------------------------------


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    try:
        server, identity = _server(options)
        client = await connect(reactor, server, identity)
        try:
            await COMMANDS[options.command](client, options)
        finally:
            await client.close()
    except NotPermitted as error:
        _fail(error, NO_SERVER)
    except CommandError as error:
        if options.json:
            _print_json(
                {"error": type(error).__name__, "message": str(error), **error.details}
            )
        _fail(_explained(error), REFUSED)
    except (NoState, NoServer, UnusableIdentity) as error:
        _fail(error, NO_SERVER)
    except ValueError as error:
        _fail(error, USAGE)
    except BrokenPipeError:
        _seen_enough()  # here, for react() would make a traceback of it


def _explained(error: CommandError) -> str:
    if "until" in error.details:
        return f"{error}; that ends {tables.moment(error.details['until'])}"
    return str(error)


async def _status(client: ControlClient, options: argparse.Namespace) -> None:
    _show(options, await client.status(), tables.status)


async def _reserve(client: ControlClient, options: argparse.Namespace) -> None:
    verdict = await client.reserve(
        options.address,
        **_who(options),
        hostname=options.hostname,
        options=dict(options.option) or None,
        next_server=options.next_server,
        boot_file=options.boot_file,
        server_name=options.server_name,
        source=options.source,
        on_conflict=options.on_conflict,
        lifetime=options.lifetime,
    )
    fields = {
        "verdict": verdict.outcome,
        "holder": verdict.holder,
        "until": verdict.until,
    }
    _show(options, fields, _verdict)


def _verdict(fields: dict[str, Any]) -> str:
    if fields["verdict"] == "applied":
        return "applied: in force with the next packet"
    return (
        f"waiting: {fields['holder']} has the address; that ends"
        f" {tables.moment(fields['until'])}"
    )


async def _cancel(client: ControlClient, options: argparse.Namespace) -> None:
    cancelled = await client.cancel(
        options.address, **_who(options), source=options.source
    )
    _show(options, cancelled, tables.reservations)


async def _reservations(client: ControlClient, options: argparse.Namespace) -> None:
    found = await _all(client.reservations(options.source))
    _show(options, found, tables.reservations, "there are no reservations")


async def _leases(client: ControlClient, options: argparse.Namespace) -> None:
    if options.action == "export":
        await _export(client, options)
    elif options.action == "import":
        await _import(client, options)
    else:
        found = await _all(client.leases(options.subnet))
        _show(options, found, tables.leases, "there are no leases")


async def _export(client: ControlClient, options: argparse.Namespace) -> None:
    kind, subnet = options.format, options.subnet
    if options.file is None:
        await transfer.export_leases(client, sys.stdout, kind, subnet)
        sys.stdout.flush()
        return
    count = await transfer.export_file(client, options.file, kind, subnet)
    sys.stderr.write(f"{count} leases written to {options.file}\n")


async def _import(client: ControlClient, options: argparse.Namespace) -> None:
    with tables.Progress() as progress:
        report = await transfer.import_leases(
            client,
            options.file,
            options.format,
            time.time(),
            dry_run=options.dry_run,
            progress=progress,
        )
    _show(options, report.as_json(), tables.report)
    if not report.is_good:
        raise SystemExit(REFUSED)


async def _find(client: ControlClient, options: argparse.Namespace) -> None:
    found = await client.find(**_what(options.what))
    if not options.json and not any(found.values()):
        _fail(f"nothing is known of {options.what}", REFUSED)
    _show(options, found, _found_tables)
    if not any(found.values()):
        raise SystemExit(REFUSED)


def _found_tables(found: dict[str, Any]) -> str:
    parts = [tables.leases(found["leases"])]
    if found["reservations"]:
        parts.append("reserved:\n" + tables.reservations(found["reservations"]))
    return "\n\n".join(filter(None, parts))


async def _revoke(client: ControlClient, options: argparse.Namespace) -> None:
    lease = await client.revoke(options.address)
    _show(options, lease, lambda each: tables.leases([each]))


async def _history(client: ControlClient, options: argparse.Namespace) -> None:
    what: dict[str, Any] = dict(_what(options.what))
    if options.at is None:
        found = await _all(client.history(**what))
        found.reverse()
        _show(options, found, tables.events, f"nothing is known of {options.what}")
        return
    events = await _all(client.history(**what, until=options.at))
    named = [what["address"]] if "address" in what else addresses_of(events)
    held = [(each, holder_at(events, each, options.at)) for each in named]
    granted = [event for _, event in held if event is not None]
    when = tables.clock(options.at)
    if not granted and not options.json:
        raise CommandError(f"{options.what}: nobody had it at {when}")
    _show(options, granted, lambda found: "\n".join(map(_held, found)))
    if not granted:
        raise SystemExit(REFUSED)


def _held(event: dict[str, Any]) -> str:
    client = event["hardware"] or event["client_id"]
    name = f" ({event['hostname']})" if event["hostname"] else ""
    port = " ".join(filter(None, (event["circuit_id"], event["remote_id"])))
    until = "for ever" if event["expires"] is None else tables.clock(event["expires"])
    return printable(
        f"{event['address']} was leased to {client}{name}"
        f"{' at port ' + port if port else ''} from {tables.clock(event['since'])};"
        f" {event['kind']} {tables.clock(event['when'])} until {until}".encode()
    )


async def _all(pages: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each async for each in pages]


def _who(options: argparse.Namespace) -> dict[str, str | None]:
    names = ("hardware", "client_id", "circuit_id", "remote_id")
    return {name: getattr(options, name) for name in names}


def _what(text: str) -> dict[str, str]:
    """What a person names: an address, a hardware address, or a client identifier."""
    try:
        return {"address": str(IPv4Address(text))}
    except ValueError:
        pass
    if re.fullmatch(r"(\d+/)?[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2})+", text):
        return {"hardware": text}
    return {"client_id": text}


def probe_server(options: argparse.Namespace) -> dict[str, Any]:
    """``dhcpctl probe``: whom to ask is the command line's word, else the state's."""
    server, port, relay = options.to, options.port, options.relay
    if server is None:
        path = _found(options, "probe")
        if path is None:
            raise NoState(
                "no server is known here that serves loopback; name one with --to"
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


def _show(
    options: argparse.Namespace,
    found: Any,
    text: Callable[[Any], str],
    nothing: str = "",
) -> None:
    if options.json:
        _print_json(found)
    else:
        sys.stdout.write((text(found) or nothing) + "\n")
    sys.stdout.flush()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


#: Each command that a server is asked for.
COMMANDS = {
    "status": _status,
    "reserve": _reserve,
    "cancel": _cancel,
    "reservations": _reservations,
    "leases": _leases,
    "find": _find,
    "revoke": _revoke,
    "history": _history,
}


if __name__ == "__main__":
    main()
