"""What every `dhcpctl` command does alike: what it is told, what it prints, how it ends."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from typing import Any


#: Exit codes, for scripts.
DONE, REFUSED, USAGE, NO_SERVER = 0, 1, 2, 3


def fail(error: Exception | str, code: int) -> None:
    """Say why, and exit."""
    sys.stderr.write(f"dhcpctl: {error}\n")
    raise SystemExit(code) from None


def show(
    options: argparse.Namespace,
    found: Any,
    text: Callable[[Any], str],
    nothing: str = "",
) -> None:
    """Print what was found: JSON for programs, ``text`` of it for people."""
    if options.json:
        print_json(found)
    else:
        sys.stdout.write((text(found) or nothing) + "\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """One document."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


async def everything(pages: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of all pages."""
    return [each async for each in pages]


def who(options: argparse.Namespace) -> dict[str, Any]:
    """The client that the options name."""
    names = ("hardware", "client_id", "circuit_id", "remote_id")
    return {name: getattr(options, name) for name in names}


def what(text: str) -> dict[str, str]:
    """What a person names: an address, a hardware address, or a client identifier."""
    try:
        return {"address": str(IPv4Address(text))}
    except ValueError:
        pass
    if re.fullmatch(r"[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}", text):
        digits = text.replace(".", "")
        return {"hardware": ":".join(digits[n : n + 2] for n in range(0, 12, 2))}
    if re.fullmatch(r"(\d+/)?[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2})+", text):
        return {"hardware": text}
    return {"client_id": text}
