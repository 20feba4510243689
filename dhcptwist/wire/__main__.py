"""``python -m dhcptwist.wire``: what a packet says, and the packet for what one says.

Exit codes, for scripts: 0 done, 1 something is no message (or is odd, with
``--strict``), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from .capture import (
    Captured,
    CaptureError,
    MissingReader,
    captured,
    is_capture,
)
from .document import from_json, to_document
from .dumps import datagrams
from .message import MalformedMessage, Message
from .text import from_text, to_text
from .values import visible


DONE, MALFORMED, USAGE = 0, 1, 2


class Found(NamedTuple):
    """A message, or why there is none, and what is known of it besides."""

    title: str
    message: Message | None
    malformed: MalformedMessage | None = None
    beside: dict[str, Any] | None = None


def main(
    words: Sequence[str], stdin: BinaryIO, stdout: TextIO, stderr: TextIO | None = None
) -> int:
    """Run the command, and give its exit code.

    Args:
        words: The arguments.
        stdin: What is read where no path is named.
        stdout: Where the messages are printed.
        stderr: Where it is said what is wrong; the process's own if not given.

    Raises:
        BrokenPipeError: Nobody reads the output any more.
    """
    stderr = stderr or sys.stderr
    options = _parser().parse_args(words)
    with ExitStack() as stack:
        try:
            source = stdin
            if options.path != "-":
                source = stack.enter_context(Path(options.path).open("rb"))
            if options.encode:
                return _encode(source.read(), stdout, stderr)
            return _show(source, options, stdout, stderr)
        except BrokenPipeError:
            raise
        except (MissingReader, OSError) as error:
            print(f"{options.path}: {error}", file=stderr)
            return USAGE
        except CaptureError as error:
            print(f"{options.path}: {error}", file=stderr)
            return MALFORMED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dhcptwist.wire",
        description="Show the DHCP messages in hexadecimal, base64, a hex dump, a"
        " capture (pcap, pcapng) or bytes as they are.",
        epilog="Exit codes: 0 done, 1 something is no message, 2 wrong usage.",
    )
    parser.add_argument("path", nargs="?", default="-", help="a file; - is the input")
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    parser.add_argument("--strict", action="store_true", help="let what is odd fail")
    parser.add_argument(
        "--encode",
        action="store_true",
        help="the other way round: read the text or the JSON, print hexadecimal",
    )
    return parser


def _encode(data: bytes, stdout: TextIO, stderr: TextIO) -> int:
    try:
        text = data.decode()
        read = from_json if text.lstrip().startswith("{") else from_text
        print(read(text).raw.hex(), file=stdout, flush=True)
    except ValueError as error:
        print(error, file=stderr)
        return MALFORMED
    return DONE


def _show(
    source: BinaryIO, options: argparse.Namespace, stdout: TextIO, stderr: TextIO
) -> int:
    head = source.read(4)
    if is_capture(head):
        return _print(_capture(source, head), options, stdout, stderr)
    messages = [*datagrams(head + source.read())]
    found = [_found(data, at, len(messages)) for at, data in enumerate(messages, 1)]
    return _print(iter(found), options, stdout, stderr)


def _print(
    messages: Iterator[Found],
    options: argparse.Namespace,
    stdout: TextIO,
    stderr: TextIO,
) -> int:
    code = DONE
    begun = False
    for title, message, malformed, beside in messages:
        if message is None:
            code = MALFORMED
            print(f"{title}: {malformed}", file=stderr)
            continue
        odd = message.diagnostics
        if odd and options.strict:
            code = MALFORMED
            print(f"{title}: {odd[0]}", file=stderr)
        if options.json:
            document = ({"capture": beside} if beside else {}) | to_document(message)
            if odd:
                document["diagnostics"] = [each._asdict() for each in odd]
            indent = None if beside else 2
            print(json.dumps(document, indent=indent), file=stdout, flush=True)
            continue
        lines = [] if not begun else [""]
        lines += [f"# {title}"] if beside else []
        lines.append(to_text(message).rstrip("\n"))
        lines += [f"# {visible(str(each))}" for each in odd]
        print("\n".join(lines), file=stdout, flush=True)
        begun = True
    return code


def _capture(source: BinaryIO, head: bytes) -> Iterator[Found]:
    for each in captured(source, head):
        yield Found(_title(each), each.message, each.malformed, _beside(each))


def _beside(each: Captured) -> dict[str, Any]:
    """What the capture knows of a message."""
    known = {
        "frame": each.frame,
        "time": each.time,
        "source": each.source,
        "destination": each.destination,
        "vlans": list(each.vlans),
        "interface": each.interface,
    }
    return {key: value for key, value in known.items() if value not in ("", [])}


def _title(each: Captured) -> str:
    words = [f"frame {each.frame}", _time(each.time)]
    words += [visible(each.interface)] if each.interface else []
    words += [f"vlan {vlan}" for vlan in each.vlans]
    return f"{', '.join(words)}: {each.source} > {each.destination}"


def _time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S.%f}Z"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.6f} s"  # nobody's clock, but the file says so


def _found(data: bytes, number: int, count: int) -> Found:
    title = f"message {number}"
    beside = {"message": number} if count > 1 else None
    try:
        return Found(title, Message.decode(data), None, beside)
    except MalformedMessage as error:
        return Found(title, None, error, beside)


def run() -> None:
    """Run the command on the process's own files, and exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names in any alphabet
    try:
        code = main(sys.argv[1:], sys.stdin.buffer, sys.stdout)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":  # pragma: no cover - in a process of its own
    run()
