"""The `dhcpctl` commands about leases and reservations."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from ..wire.message import printable
from . import tables, transfer
from .client import ControlClient
from .errors import CommandError, NotFound
from .history import addresses_of, holder_at
from .shell import REFUSED, everything, fail, show, what, who


async def _status(client: ControlClient, options: argparse.Namespace) -> None:
    show(options, await client.status(), tables.status)


async def _reserve(client: ControlClient, options: argparse.Namespace) -> None:
    verdict = await client.reserve(
        options.address,
        **who(options),
        hostname=options.hostname,
        options=dict(options.option) or None,
        next_server=options.next_server,
        boot_file=options.boot_file,
        server_name=options.server_name,
        source=options.source,
        on_conflict=options.on_conflict,
        lifetime=options.lifetime,
        for_holder=options.for_holder,
        expect_revision=options.expect_revision,
    )
    fields = {
        "verdict": verdict.outcome,
        "holder": verdict.holder,
        "until": verdict.until,
        "revision": verdict.revision,
    }
    show(options, fields, _verdict)


def _verdict(fields: dict[str, Any]) -> str:
    if fields["verdict"] == "applied":
        return "applied: in force with the next packet"
    return (
        f"waiting: {fields['holder']} has the address; that ends"
        f" {tables.moment(fields['until'])}"
    )


async def _cancel(client: ControlClient, options: argparse.Namespace) -> None:
    cancelled = await client.cancel(
        options.address,
        **who(options),
        source=options.source,
        expect_revision=options.expect_revision,
    )
    show(options, cancelled, tables.reservations)


async def _reservations(client: ControlClient, options: argparse.Namespace) -> None:
    found = await everything(client.reservations(options.source))
    show(options, found, tables.reservations, "there are no reservations")


async def _leases(client: ControlClient, options: argparse.Namespace) -> None:
    if options.action == "export":
        await _export(client, options)
    elif options.action == "import":
        await _import(client, options)
    else:
        found = await everything(client.leases(options.subnet))
        show(options, found, tables.leases, "there are no leases")


async def _export(client: ControlClient, options: argparse.Namespace) -> None:
    kind, subnet = options.format, options.subnet
    if kind is None:
        is_csv = options.file is not None and options.file.suffix.lower() == ".csv"
        kind = "csv" if is_csv else "jsonl"
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
    show(options, report.as_json(), tables.report)
    if not report.is_good:
        raise SystemExit(REFUSED)


async def _find(client: ControlClient, options: argparse.Namespace) -> None:
    found = await client.find(**what(options.what))
    if not options.json and not any(found.values()):
        fail(f"nothing is known of {options.what}", REFUSED)
    show(options, found, _found_tables)
    if not any(found.values()):
        raise SystemExit(REFUSED)


def _found_tables(found: dict[str, Any]) -> str:
    parts = [tables.leases(found["leases"])]
    if found["reservations"]:
        parts.append("reserved:\n" + tables.reservations(found["reservations"]))
    return "\n\n".join(filter(None, parts))


async def _revoke(client: ControlClient, options: argparse.Namespace) -> None:
    lease = await client.revoke(options.address)
    show(options, lease, lambda each: tables.leases([each]))


async def _history(client: ControlClient, options: argparse.Namespace) -> None:
    named: dict[str, Any] = dict(what(options.what))
    if options.at is None:
        found = await everything(client.history(**named))
        found.reverse()
        if not found and not options.json:
            raise CommandError(f"nothing is known of {options.what}")
        show(options, found, tables.events)
        if not found:
            raise SystemExit(REFUSED)
        return
    if options.at > time.time():
        raise CommandError(f"{tables.clock(options.at)} is still to come")
    try:
        events = await everything(client.history(**named, until=options.at))
    except NotFound as error:
        begins = tables.clock(error.details["begins"])
        raise CommandError(f"not known: history begins at {begins}") from None
    places = [named["address"]] if "address" in named else addresses_of(events)
    held = [(each, holder_at(events, each, options.at)) for each in places]
    granted = [event for _, event in held if event is not None]
    when = tables.clock(options.at)
    if not granted and not options.json:
        raise CommandError(f"{options.what}: nobody had it at {when}")
    show(options, granted, lambda found: "\n".join(map(_held, found)))
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
