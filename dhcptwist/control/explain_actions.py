"""``dhcpctl explain``: what a client would be answered, and why, for people."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..lease import FILE
from ..wire.capture import CaptureError, MissingReader, captured, is_capture
from ..wire.codes import BOOTREQUEST, INFINITE
from ..wire.dumps import datagrams
from ..wire.message import printable
from . import tables
from .client import ControlClient
from .errors import CommandError
from .explained import SILENCE, UNKNOWN
from .shell import REFUSED, show


#: What tells a client's subnets, for people.
_FIELDS = {
    "link-selection": "by what its relay selects (option 82, link selection)",
    "subnet-selection": "by what it selects (option 118)",
    "giaddr": "by its relay's address (giaddr)",
    "ciaddr": "by the address it has (ciaddr)",
    "interface": "by the interface",
}

_STATES = {
    "SELECTING": "takes an offer (SELECTING)",
    "INIT_REBOOT": "comes back (INIT-REBOOT)",
    "RENEWING": "renews its lease (RENEWING)",
    "REBINDING": "renews its lease with any server (REBINDING)",
}


async def _explain(client: ControlClient, options: argparse.Namespace) -> None:
    if options.packet is not None:
        asked = _packet(options)
    else:
        asked = {
            "hardware": options.hardware,
            "client_id": options.client_id,
            "circuit_id": options.circuit_id,
            "remote_id": options.remote_id,
            "relay": options.relay,
            "kind": options.kind,
            "address": options.request,
            "options": dict(options.option) or None,
        }
        if options.number is not None:
            raise ValueError("--number goes with --packet")
    found = await client.explain(**asked, interface=options.interface)
    show(options, found, _text)
    if found["answer"] not in {"OFFER", "ACK"}:
        raise SystemExit(REFUSED)


# --- a packet from a file ---------------------------------------------------------


def _packet(options: argparse.Namespace) -> dict[str, Any]:
    """The message that a file holds, and what it knows of its way.

    Raises:
        CommandError: There is none, or the file cannot be read.
        ValueError: The command line says what stands in the packet.
    """
    path, number = options.packet, options.number
    names = ("hardware", "client_id", "circuit_id", "remote_id", "relay", "kind")
    if any(getattr(options, name) for name in (*names, "request", "option")):
        raise ValueError(
            "what --packet holds says it all; only --interface goes with it"
        )
    try:
        found = list(_messages(path))
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except (CaptureError, MissingReader) as error:
        raise CommandError(f"{path}: {error}") from None
    for n, asked in found:
        if n == number or (number is None and asked["packet"][:1] == _FROM_CLIENT):
            return asked
    if number is not None:
        numbers = ", ".join(str(n) for n, _ in found[:20]) or "none at all"
        raise CommandError(f"{path}: {number} is no DHCP message; there is {numbers}")
    raise CommandError(f"{path}: there is no client's message in it")


_FROM_CLIENT = bytes([BOOTREQUEST])


def _messages(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The datagrams of a file with their numbers, as far as they can be read."""
    with path.open("rb") as file:
        head = file.read(4)
        if not is_capture(head):
            data = head + file.read()
            for n, packet in enumerate(datagrams(data), 1):
                yield n, {"packet": packet}
            return
        for each in captured(file, head):
            yield (
                each.frame,
                {
                    "packet": each.payload,
                    "source": each.source.partition(":")[0],
                    "destination": each.destination.partition(":")[0],
                },
            )


# --- the text ---------------------------------------------------------------------


def _text(found: dict[str, Any]) -> str:
    rows = [
        ("answer", _answer(found)),
        ("because", _because(found)),
        ("message", _message(found)),
        ("client", _client(found)),
        ("subnet", _subnets(found)),
    ]
    storage, reply = found["storage"], found["reply"]
    if storage:
        if storage["reservation"]:
            rows.append(("reserved", _reservation(storage["reservation"])))
        rows += [
            ("passed over", _until(each)) for each in map(_passed, storage["passed"])
        ]
        rows += [("note", note) for note in storage["notes"]]
    if found["class"]:
        rows.append(("class", _class(found["class"])))
    if reply:
        rows.append(("goes", _way(reply["to"])))
    parts = [tables.pairs(row for row in rows if row[1])]
    if reply:
        fields = [(each["name"].replace("_", " "), each) for each in reply["fields"]]
        options = [
            (f"{each['name']} ({each['code']})", each) for each in reply["options"]
        ]
        parts.append(
            tables.table(
                ("option", "value", "from"),
                (
                    (name, each["value"], each["from"])
                    for name, each in fields + options
                ),
            )
        )
        parts.append(_missing(reply))
    return "\n\n".join(filter(None, parts))


def _answer(found: dict[str, Any]) -> str:
    answer, reply = found["answer"], found["reply"]
    if answer == SILENCE:
        return f"none ({found['silence']})"
    if answer == UNKNOWN:
        return "not known"
    if not reply["address"]:
        return str(answer)
    time = reply["lease_time"]
    lasts = "for ever" if time == INFINITE else f"for {tables.duration(time or 0)}"
    return f"{answer} of {reply['address']} {lasts}"


def _because(found: dict[str, Any]) -> str:
    storage = found["storage"]
    until = None if storage is None else storage["until"]
    return _until((found["reason"], until))


def _until(what: tuple[str, float | None]) -> str:
    words, until = what
    return words if until is None else f"{words}; that ends {tables.moment(until)}"


def _message(found: dict[str, Any]) -> str:
    message, client = found["message"], found["client"]
    if message["type"] is None:
        return f"on {message['interface']}"
    words = str(message["type"])
    if client and client["state"] in _STATES:
        words += f" of a client that {_STATES[client['state']]}"
    if message["ciaddr"]:
        words += f", from {message['ciaddr']}"
    if message["requested"]:
        words += f", for {message['requested']}"
    if message["relay"]:
        words += f", through the relay {message['relay']}"
    for name in ("circuit_id", "remote_id"):
        if message[name]:
            words += f", {name.replace('_', '-')} {message[name]}"
    return f"{words}, on {message['interface']}"


def _client(found: dict[str, Any]) -> str:
    client, message = found["client"], found["message"]
    if client is None:
        return str(message.get("hardware") or message.get("client_id") or "")
    name = f" ({message['hostname']})" if message["hostname"] else ""
    if client["known_by"] == "hardware":
        words = f"{client['key']}{name}, known by its hardware address"
    else:
        words = f"{client['key']}{name}, its client identifier (option 61)"
        if message["hardware"]:
            words += f"; hardware address {message['hardware']}"
    if client["taken_for"]:
        words += f"; taken for {client['taken_for']}, who has the same hardware address"
    return words


def _subnets(found: dict[str, Any]) -> str:
    names = " and ".join(
        f"{each['name']} ({each['network']})" for each in found["subnets"]
    )
    by = _FIELDS.get(found["subnets_by"], "")
    if found["subnets_by"] == "interface":
        by += f" {found['message']['interface']}"
    return f"{names}, {by}" if names else ""


def _reservation(each: dict[str, Any]) -> str:
    who = " ".join(
        each[key]
        for key in ("hardware", "client_id", "circuit_id", "remote_id")
        if each[key]
    )
    what = each["address"] or "names and options"
    source = "the configuration file" if each["source"] == FILE else each["source"]
    words = f"{what} for {who} by {source}"
    return _until((words, each["expires"]))


def _passed(each: dict[str, Any]) -> tuple[str, float | None]:
    return f"{each['address']} {each['reason']}", each["until"]


def _class(each: dict[str, Any]) -> str:
    whose = "its reservation" if each["by"] == "reservation" else "the storage"
    missing = "" if each["known"] else f"; but there is no [class {each['name']}]"
    return f"{each['name']}, named by {whose}{missing}"


def _way(to: dict[str, Any]) -> str:
    frame = f" (hardware address {to['hardware']})" if to["hardware"] else ""
    return (
        f"to {to['address']}{frame}, port {to['port']}, on {to['interface']}:"
        f" {to['reason']}"
    )


def _missing(reply: dict[str, Any]) -> str:
    lines: Iterable[tuple[str, list[str]]] = (
        ("no room for", reply["left_out"]),
        ("set, but not asked for", reply["not_asked"]),
        ("asked for, but not set", reply["not_set"]),
    )
    return "\n".join(
        printable(f"{words}: {', '.join(names)}".encode())
        for words, names in lines
        if names
    )


COMMANDS = {"explain": _explain}
