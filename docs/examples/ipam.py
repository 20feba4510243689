"""Keep a source of reservations in step with a CSV file, or with NetBox.

python ipam.py csv hosts.csv --server localhost:6768 --identity admin.pem
python ipam.py netbox https://netbox.example.org --token-file token --every 60 …
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ipam_netbox import NetBox, Unreadable

from dhcptwist.control import blocking
from dhcptwist.control.client import CommandError, InvalidRequest, NoServer
from dhcptwist.control.reservation_files import UnusableLine, read


class Step:
    """What is done again and again.

    Args:
        options: The command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._source: str = options.source or options.kind
        self._last: tuple[list[dict[str, Any]], str] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """All that is to be reserved; read to its end before anything is changed."""
        options = self._options
        if options.kind == "netbox":
            token = options.token_file.read_text("ascii").strip()
            found = NetBox(options.url, token, options.field, options.rows)
            return found.reservations(options.filter)
        with options.file.open(encoding="utf-8-sig", newline="") as file:
            try:
                return [row for _, row in read(file, "csv")]
            except UnusableLine as error:
                raise Unreadable(f"{options.file}:{error.line}: {error}") from None

    def take(self) -> bool:
        """Read, and replace what the server has; whether all of it is reserved now."""
        options = self._options
        with blocking.connect(options.server, options.identity) as client:
            # Before it is read: who changes the source meanwhile is not undone.
            revisions = {row["source"]: row["revision"] for row in client.sources()}
            revision = revisions.get(self._source)
            rows = self.rows()
            if self._last == (rows, revision):
                return True
            if not rows and revision and not options.may_be_empty:
                raise Unreadable("there is nothing to reserve; --may-be-empty if so")
            try:
                found = client.replace(
                    rows, source=self._source, expect_revision=revision
                )
            except InvalidRequest as error:
                if "number" not in error.details:
                    raise
                raise Unreadable(
                    f"{rows[error.details['number']]}: {error.message}"
                ) from None
            print(
                f"{found.added} added, {found.changed} changed, {found.removed} removed,"
                f" {found.same} same, {found.refused} refused, {found.waiting} waiting",
                flush=True,
            )
            for row in client.replaced(["refused", "waiting"]):
                client_of = row["hardware"] or row["client_id"] or row["circuit_id"]
                if row["change"] == "refused":
                    why = f"refused: {row['message']}"
                else:
                    why = f"waiting: {row['holder']} has it still"
                print(f"{row['address']} {client_of} {why}", flush=True)
            # What was refused may not be, the next time.
            self._last = None if found.refused else (rows, found.revision)
            return not found.refused


def main(words: list[str]) -> int:
    """Do it once, or again and again."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--server", default="localhost:6768")
    common.add_argument("--identity", type=Path)
    common.add_argument("--source", help="default: csv or netbox")
    common.add_argument("--every", type=float, metavar="SECONDS")
    common.add_argument("--may-be-empty", action="store_true")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("csv", parents=[common]).add_argument("file", type=Path)
    netbox = kinds.add_parser("netbox", parents=[common])
    netbox.add_argument("url")
    netbox.add_argument("--token-file", type=Path, required=True)
    netbox.add_argument("--filter", default="", help="such as status=dhcp&tag=office")
    netbox.add_argument("--field", default="", help="a custom field with the MAC")
    netbox.add_argument("--rows", type=int, default=500, help="of one page")
    options = parser.parse_args(words)
    step = Step(options)
    while True:
        try:
            is_done = step.take()
        except (CommandError, NoServer, OSError, ValueError, Unreadable) as error:
            print(f"nothing changed: {error}", file=sys.stderr, flush=True)
            is_done = False
        if options.every is None:
            return 0 if is_done else 1
        time.sleep(options.every)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
