"""The command line of ``dhcpctl``: its words, and what each of them must look like."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import parse_duration
from ..lease import EventKind, OnConflict, parse_hardware
from ..leasefiles.kinds import READERS
from .asked import KINDS
from .values import check_name


#: Where a server's state may be, beside ``--state`` and ``$DHCPTWIST_STATE``.
STATES = (Path("dhcptwist-state"), Path("/var/lib/dhcptwist"))


def parser() -> argparse.ArgumentParser:
    """The whole of it; ``command`` is the command's name."""
    whole = argparse.ArgumentParser(
        prog="dhcpctl",
        description="Look into a running dhcptwist, and change its reservations.",
        epilog="Exit codes: 0 done, 1 refused or not found, 2 wrong usage, 3 no server"
        " or no permission.",
    )
    whole.add_argument("--version", action="version", version=__version__)
    whole.add_argument("--server", metavar="HOST:PORT", help="or unix:PATH")
    whole.add_argument(
        "--identity",
        metavar="FILE.pem",
        help="certificate and key to show; default: the state directory's admin",
    )
    whole.add_argument(
        "--state",
        metavar="DIR",
        help="the server's state directory; default: $DHCPTWIST_STATE, or"
        f" {' or '.join(map(str, STATES))}",
    )
    whole.add_argument("--json", action="store_true", help="JSON instead of tables")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_probe(commands)
    add = _adder(commands)
    add("status", "what the server is and does, in numbers")
    _add_reserve(add("reserve", "put a reservation into the live pool"))
    each = add("cancel", "take reservations out")
    each.add_argument("address", nargs="?", help="the reserved address")
    _add_who(each)
    each.add_argument("--source", metavar="NAME", help="only one of this source")
    _add_expect(each)
    _add_replace(add("replace", "put a file's reservations in place of a source's"))
    add("sources", "who has reservations, how many, and at which revision")
    each = add("reservations", "list reservations")
    each.add_argument("--source", metavar="NAME", help="only those of this source")
    _add_leases(add("leases", "list leases, ended ones too; write and read files"))
    each = add("find", "the leases and reservations of an address or a client")
    each.add_argument("what", metavar="ADDRESS|MAC|CLIENT-ID")
    each = add("revoke", "end a lease now")
    each.add_argument("address")
    _add_watch(add("watch", "tell what happens, as it happens"))
    each = add("history", "what happened to an address or a client")
    each.add_argument("what", metavar="ADDRESS|MAC|CLIENT-ID")
    each.add_argument(
        "--at",
        metavar="TIME",
        type=_moment,
        help="who had it then: 14:03 (today), 2026-11-24 14:03, or with a zone, or @SECONDS",
    )
    _add_explain(add("explain", "what a client would be answered, and why"))
    each = add("reload", "read the configuration again, and say what that changes")
    each.add_argument("--plan", action="store_true", help="only say what it would")
    _add_identity(add("identity", "make, list and revoke identities; admin only"))
    return whole


def _adder(commands: Any) -> Callable[..., argparse.ArgumentParser]:
    def add(name: str, text: str) -> argparse.ArgumentParser:
        each: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        return each

    return add


def _add_probe(commands: Any) -> None:
    each = commands.add_parser(
        "probe",
        help="get a lease as a relayed client would, and give it back",
        description="Get a lease as a client behind a relay would, and give it back:"
        " DISCOVER, OFFER, REQUEST, ACK, RELEASE.  Needs no root on a high port.",
    )
    each.add_argument("--to", metavar="ADDRESS", type=_address, help="the server")
    each.add_argument("--port", metavar="N", type=_port, help="its port (67)")
    each.add_argument(
        "--relay",
        metavar="ADDRESS",
        type=_address,
        help="the address of this machine to speak from; it tells the subnet",
    )
    each.add_argument(
        "--hardware", metavar="MAC", type=_hardware, help="the client to be"
    )
    each.add_argument("--keep", action="store_true", help="do not give it back")


def _add_expect(each: argparse.ArgumentParser) -> None:
    each.add_argument(
        "--expect-revision",
        metavar="REVISION",
        help="do nothing if the source is not at this one, as `sources` shows it",
    )


def _add_replace(each: argparse.ArgumentParser) -> None:
    each.add_argument("file", metavar="FILE", type=Path, help="- is the input")
    each.add_argument(
        "--source", metavar="NAME", required=True, help="whose reservations they are"
    )
    each.add_argument(
        "--format",
        choices=["jsonl", "csv"],
        help="JSON lines, or comma-separated values; default: as FILE ends, or jsonl",
    )
    each.add_argument(
        "--strict",
        action="store_true",
        help="change nothing if one of them cannot be reserved",
    )
    each.add_argument("--dry-run", action="store_true", help="only say what would be")
    _add_expect(each)


def _add_reserve(each: argparse.ArgumentParser) -> None:
    each.add_argument(
        "address", nargs="?", help="what to reserve; without, only names and options"
    )
    _add_who(each)
    each.add_argument(
        "--for-holder",
        nargs="?",
        const="hardware",
        choices=["hardware", "client_id", "port"],
        help="for the client that has the address now, known by its hardware address,"
        " client_id or relay port from now on",
    )
    each.add_argument("--hostname", metavar="NAME", help="what the client is called")
    each.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="as option.NAME = VALUE in the ini file; as often as you like",
    )
    each.add_argument("--next-server", metavar="ADDRESS")
    each.add_argument("--boot-file", metavar="NAME")
    each.add_argument("--server-name", metavar="NAME")
    each.add_argument("--source", metavar="NAME", help="who makes it; default: you")
    each.add_argument(
        "--on-conflict",
        choices=[choice.value for choice in OnConflict],
        default=OnConflict.WAIT.value,
        help="what to do if somebody has the address (wait)",
    )
    each.add_argument(
        "--lifetime", metavar="TIME", type=_duration, help="ends after 1h, 7d, …"
    )
    _add_expect(each)


def _add_leases(each: argparse.ArgumentParser) -> None:
    each.add_argument("--subnet", metavar="NAME", help="only those of this subnet")
    each.set_defaults(action="list")
    actions = each.add_subparsers(dest="action", metavar="list|export|import")
    add = _adder(actions)
    subnet: dict[str, Any] = {
        "metavar": "NAME",
        "default": argparse.SUPPRESS,  # what stands before the action counts, too
        "help": "only those of this subnet",
    }
    add("list", "list them, as without a word").add_argument("--subnet", **subnet)
    action = add("export", "write them to FILE")
    action.add_argument("--subnet", **subnet)
    action.add_argument(
        "--format",
        metavar="jsonl|csv",
        type=_export_format,
        help="JSON lines (jsonl), or comma-separated values; default: as FILE ends, or"
        " jsonl",
    )
    action.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="default: the output"
    )
    action = add("import", "take over those of another server's lease file")
    action.add_argument("file", metavar="FILE", type=Path)
    action.add_argument(
        "--format",
        choices=["auto", *READERS],
        default="auto",
        help="whose file it is; seen by itself (auto)",
    )
    action.add_argument("--dry-run", action="store_true", help="only say what would be")


def _add_watch(each: argparse.ArgumentParser) -> None:
    each.add_argument(
        "--after",
        metavar="N",
        type=int,
        help="begin behind the event of this number; 0: with the oldest that is kept",
    )
    each.add_argument(
        "--kind",
        action="append",
        choices=[kind.name.lower() for kind in EventKind],
        metavar="KIND",
        help="only these, as often as you like: "
        + ", ".join(kind.name.lower() for kind in EventKind),
    )
    each.add_argument(
        "--count", metavar="N", type=_count, help="end after so many events"
    )
    each.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        default=1,
        help="programs that --exec runs at once (1: one after the other, in order)",
    )
    each.add_argument(
        "--exec",
        metavar="PROGRAM …",
        nargs=argparse.REMAINDER,
        help="run this for each event, with DHCPTWIST_KIND, …_ADDRESS and so on in its"
        " environment; the rest of the line is its arguments",
    )


def _add_identity(each: argparse.ArgumentParser) -> None:
    actions = each.add_subparsers(
        dest="action", required=True, metavar="new|list|revoke"
    )
    add = _adder(actions)
    action = add("new", "make one: a certificate and its key in a file")
    action.add_argument("name", metavar="NAME", type=_identity_name)
    action.add_argument(
        "--out", metavar="FILE", type=Path, help="a new file; default: NAME.pem"
    )
    action.add_argument(
        "--lasts", metavar="TIME", type=_lasting, help="ends after 90d, 1y, …"
    )
    add("list", "list those that the server's authority has made")
    action = add("revoke", "take one back, or all of a name: at once")
    action.add_argument("which", metavar="NAME|SERIAL")


def _add_explain(each: argparse.ArgumentParser) -> None:
    each.add_argument("hardware", metavar="MAC", nargs="?", help="the client")
    each.add_argument("--client-id", metavar="ID", help="option 61: text or hex:…")
    each.add_argument(
        "--relay", metavar="GIADDR", type=_address, help="its relay's address"
    )
    each.add_argument("--circuit-id", metavar="ID", help="the relay's port (option 82)")
    each.add_argument("--remote-id", metavar="ID", help="the relay (option 82)")
    each.add_argument("--interface", metavar="NAME", help="where its message comes in")
    each.add_argument(
        "--request", metavar="ADDRESS", type=_address, help="what it asks for, or has"
    )
    each.add_argument("--kind", choices=list(KINDS), help="what it sends (discover)")
    each.add_argument(
        "--renew", dest="kind", action="store_const", const="renew", help="--kind renew"
    )
    each.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="what it sends besides, as vendor-class-identifier=PXEClient",
    )
    each.add_argument(
        "--packet",
        metavar="FILE",
        type=Path,
        help="its message instead: a capture (pcap, pcapng), hexadecimal or base64",
    )
    each.add_argument(
        "--number",
        metavar="N",
        type=_count,
        help="the frame of the capture, or the message in the file; default: the first"
        " of a client",
    )


def _add_who(each: argparse.ArgumentParser) -> None:
    each.add_argument("--hardware", metavar="MAC", help="00:11:22:33:44:55")
    each.add_argument("--client-id", metavar="ID", help="text or hex:…")
    each.add_argument("--circuit-id", metavar="ID", help="the relay's port (option 82)")
    each.add_argument("--remote-id", metavar="ID", help="the relay (option 82)")


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader whose reasons argparse shows."""

    def typed(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


def _read_address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None


def _read_port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def _read_option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name.strip().removeprefix("option."), value


def _read_moment(text: str) -> float:
    """Seconds since 1970 from a time as people write it, here and now.

    Raises:
        ValueError: It is none.
    """
    try:
        if text.startswith("@"):
            when = float(text[1:])
            datetime.fromtimestamp(when).astimezone()  # can it be shown?
            return when
        whole = text
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text, re.ASCII):
            today = datetime.now().astimezone().date()
            whole = f"{today} {text if text[2] == ':' else '0' + text}"
        return datetime.fromisoformat(whole).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is not a time like 14:03, 2026-11-24 14:03 or @1763992980"
        ) from None


def _read_export_format(text: str) -> str:
    if text not in {"jsonl", "csv"}:
        raise ValueError(f"leases are exported as jsonl or csv, not as {text!r}")
    return text


def _read_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number above 0")
    return int(text)


def _read_lasting(text: str) -> int:
    """A time that may begin with years of 365 days."""
    years = re.fullmatch(r"(\d{1,3})y(.*)", text.strip().lower(), re.ASCII)
    if years is None:
        return parse_duration(text)
    return parse_duration(f"{int(years[1]) * 365}d{years[2]}")


_moment = _typed(_read_moment)
_count = _typed(_read_count)
_identity_name = _typed(check_name)
_lasting = _typed(_read_lasting)
_export_format = _typed(_read_export_format)
_address = _typed(_read_address)
_port = _typed(_read_port)
_option = _typed(_read_option)
_hardware = _typed(parse_hardware)
_duration = _typed(parse_duration)
