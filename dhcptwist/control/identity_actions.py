"""The `dhcpctl` commands about identities, and what is said of one's own."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from ..wire.message import printable
from . import tables, tls
from .client import ControlClient
from .errors import CommandError
from .issued import SOON
from .shell import everything, show
from .values import parse_serial


async def _identity(client: ControlClient, options: argparse.Namespace) -> None:
    await _ACTIONS[options.action](client, options)


async def _new(client: ControlClient, options: argparse.Namespace) -> None:
    path = options.out or Path(f"{options.name}.pem")
    # The file comes first: an identity that could not be written would be lost.
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(
            f"{path} is there already; name another with --out"
        ) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            made, pem = await client.new_identity(options.name, lifetime=options.lasts)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    show(options, {**made, "file": str(path)}, _made)


def _made(made: dict[str, Any]) -> str:
    name, role = made["name"], made["role"]
    ends = "does not end" if made["expires"] is None else _ends(made["expires"])
    lines = [f"{made['file']}: the identity {name}, which {ends}"]
    if role is None:
        lines.append(
            f"it may do nothing yet: the ini file's [control] needs a line"
            f" role {name} = VERB, …"
        )
    else:
        lines.append(f"it may do {role}")
    return "\n".join(lines)


async def _list(client: ControlClient, options: argparse.Namespace) -> None:
    found = await everything(client.identities())
    show(options, found, _table, "this server has made no identities")


async def _revoke(client: ControlClient, options: argparse.Namespace) -> None:
    serial = parse_serial(options.which)
    if serial is None:
        revoked = await client.revoke_identity(options.which)
    else:
        revoked = await client.revoke_identity(serial=f"{serial:x}")
    show(options, revoked, _table)
    if any(each["issued"] is None for each in revoked):
        sys.stderr.write(
            "dhcpctl: this server has not made that certificate; should there be one"
            " with this number, it is refused from now on\n"
        )


def _table(found: list[dict[str, Any]]) -> str:
    return tables.table(
        ("name", "issued", "ends", "revoked", "may do", "serial"),
        (
            (
                each["name"],
                "" if each["issued"] is None else tables.clock(each["issued"]),
                "never" if each["expires"] is None else tables.clock(each["expires"]),
                "" if each["revoked"] is None else tables.clock(each["revoked"]),
                "nothing" if each["role"] is None else each["role"],
                each["serial"],
            )
            for each in found
        ),
    )


def _ends(when: float) -> str:
    words = "ended" if when < time.time() else "ends"
    return f"{words} {tables.moment(when)}, on {tables.clock(when)}"


def warn_of_end(path: Path) -> None:
    """Say on the error output if an identity ends soon, or has ended.

    Raises:
        UnusableIdentity: The file cannot be used.
    """
    certificate = tls.read_certificate(path)
    end = tls.end_of(certificate)
    if end is None or end > time.time() + SOON:
        return
    name = printable(tls.name_in(certificate).encode())
    sys.stderr.write(
        f"dhcpctl: the certificate of {name} in {path} {_ends(end)}; `dhcpctl identity"
        f" new` makes another\n"
    )


_ACTIONS = {"new": _new, "list": _list, "revoke": _revoke}

COMMANDS = {"identity": _identity}
