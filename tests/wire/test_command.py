"""``python -m dhcptwist.wire``: what it reads, what it prints, and its exit codes."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dhcptwist.wire import Message
from dhcptwist.wire.__main__ import DONE, MALFORMED, USAGE, main, run
from dhcptwist.wire.document import from_document
from dhcptwist.wire.text import from_text, to_text


ROOT = Path(__file__).resolve().parents[2]

DISCOVER = Message.build(
    xid=7,
    chaddr=bytes.fromhex("020000000001"),
    options={53: "discover", "host-name": "pc-1"},
)
ODD = Message(DISCOVER.raw[:10] + b"\0\1" + DISCOVER.raw[12:])
RAW = DISCOVER.raw
CUT = RAW[:100]


def dump(data: bytes, head: str, tail: str = "", each: int = 16) -> str:
    """Write bytes as a dump: an offset, and so many bytes in hexadecimal."""
    return "".join(
        head.format(at)
        + data[at : at + each].hex(" ")
        + (tail and f"  {tail.format('.' * each)}")
        + "\n"
        for at in range(0, len(data), each)
    )


def squeezed(data: bytes) -> str:
    """Write a dump as `hexdump -C` does: rows like the one before become a star."""
    shown: list[str] = []
    rows = dump(data, "{:08x}  ", "|{}|").splitlines()
    for before, row in zip(["", *rows], rows, strict=False):
        if before[10:] != row[10:]:
            shown.append(row)
        elif shown[-1] != "*":
            shown.append("*")
    return "\n".join([*shown, f"{len(data):08x}"])


def packet(payload: bytes) -> bytes:
    """Make an IPv4 packet from a client to a server."""
    head = b"\x45\0" + (28 + len(payload)).to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0"
    addresses = b"\0\0\0\0\xff\xff\xff\xff"
    ports = b"\0\x44\0\x43" + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
    return head + addresses + ports + payload


def capture(*payloads: bytes) -> bytes:
    """Make a pcap file of datagrams."""
    parts = [bytes.fromhex("a1b2c3d4 00020004 00000000 00000000 0000ffff 00000065")]
    for payload in payloads:
        frame = packet(payload)
        size = len(frame).to_bytes(4, "big")
        parts += [bytes.fromhex("65920080 0007a120"), size, size, frame]
    return b"".join(parts)


def command(*words: str, given: str | bytes = b"") -> tuple[int, str, str]:
    """Run the command; give its exit code, its output and its complaints."""
    stdin = io.BytesIO(given.encode() if isinstance(given, str) else given)
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(words, stdin, stdout, stderr)
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.parametrize(
    "given",
    [
        RAW,
        RAW.hex(),
        RAW.hex().upper(),
        RAW.hex(":"),
        RAW.hex(" ") + "\n",
        "0x" + RAW.hex(),
        "hex:" + RAW.hex(),
        ", ".join(f"0x{each:02x}" for each in RAW),
        "\n".join(RAW.hex()[at : at + 64] for at in range(0, 600, 64)),
        base64.b64encode(RAW),
        base64.encodebytes(RAW),
        dump(RAW, "{:08x}: ", "{}"),  # xxd
        dump(RAW, "{:04x}  "),
        dump(RAW, "0x{:04x}:  ", "{}"),
        dump(RAW, "{:06x} "),  # od
        squeezed(RAW),
        packet(RAW).hex(),
        b"\xff" * 12 + b"\x08\0" + packet(RAW),
        "12:00:00.1 IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request\n"
        + dump(packet(RAW), "\t0x{:04x}:  ", "{}"),  # tcpdump
    ],
)
def test_bytes_in_any_disguise(given):
    """The same message is found however its bytes are written."""
    code, shown, wrong = command(given=given)
    assert (code, wrong) == (DONE, "")
    assert shown == to_text(DISCOVER)


def test_paths(tmp_path):
    """A path is read as the input is."""
    path = tmp_path / "message"
    path.write_text(RAW.hex())
    assert command(str(path)) == (DONE, to_text(DISCOVER), "")
    code, shown, wrong = command(str(tmp_path / "none"))
    assert (code, shown) == (USAGE, "")
    assert "none" in wrong


def test_several_messages():
    """A message a line; each has a heading, and the output is text all the same."""
    code, shown, wrong = command(given=f"{RAW.hex()}\n\n{ODD.raw.hex()}\n")
    assert (code, wrong) == (DONE, "")
    first, second = shown.split("\n\n")
    assert first.splitlines()[0] == "# message 1"
    assert second.splitlines()[0] == "# message 2"
    assert from_text(first) == DISCOVER
    assert from_text(second) == ODD
    lines = f"{RAW.hex()}\n{CUT.hex()}\n{RAW.hex()}"
    code, shown, wrong = command(given=lines)
    assert code == MALFORMED
    assert wrong.startswith("message 2: 100 bytes; a message has 236 to 65535")
    assert shown.count("discover") == 2
    code, shown, _ = command("--json", given=lines)
    assert [json.loads(each)["capture"] for each in shown.splitlines()] == [
        {"message": 1},
        {"message": 3},
    ]


def test_several_packets_of_a_dump():
    """Offsets that begin again begin another message."""
    both = dump(RAW, "{:04x}  ") + dump(ODD.raw, "{:04x}  ")
    code, shown, _ = command(given=both)
    assert code == DONE
    assert [from_text(each) for each in shown.split("\n\n")] == [DISCOVER, ODD]


def test_captures():
    """Each message has a heading that says when, and from whom to whom."""
    code, shown, wrong = command(given=capture(RAW, b"\1", ODD.raw))
    assert code == MALFORMED
    title = "2024-01-01 00:00:00.500000Z: 0.0.0.0:68 > 255.255.255.255:67"
    first, second = shown.split("\n\n")
    assert first.startswith("# frame 1, ")
    assert second.startswith("# frame 3, ")
    assert title.partition(" ")[2] in first
    assert wrong.startswith("frame 2, ")
    assert wrong.endswith(": 1 bytes; a message has 236 to 65535 (offset 1)\n")
    assert from_text(first) == DISCOVER


def test_captures_as_json():
    """A document a line, with what the capture knows beside the message."""
    code, shown, _ = command("--json", given=capture(RAW, ODD.raw))
    assert code == DONE
    first, second = map(json.loads, shown.splitlines())
    assert first["capture"]["frame"] == 1
    assert first["capture"]["source"] == "0.0.0.0:68"
    assert first["capture"]["destination"] == "255.255.255.255:67"
    assert "diagnostics" not in first
    assert second["diagnostics"][0]["offset"] == 10
    assert from_document(first) == DISCOVER
    assert from_document(second) == ODD


def test_a_broken_capture_is_no_success():
    """What could be read is printed, and the rest is told of."""
    code, _, wrong = command("-", given=capture(RAW)[:-20])
    assert code == MALFORMED
    assert "only 280 of 300 bytes were captured" in wrong
    code, shown, wrong = command(given=capture(RAW) + b"\0")
    assert code == MALFORMED
    assert from_text(shown) == DISCOVER
    assert wrong.startswith("-: after frame 1: the file is broken")


def test_times_that_nobody_has():
    """A clock that is far off is printed as the number it is."""
    whole = capture(RAW)
    size = len(packet(RAW)).to_bytes(4, "little")
    number = b"\xff" * 8
    frame = b"\0\0\0\0" + number + size + size + packet(RAW)
    length = (len(frame) + 12).to_bytes(4, "little")
    blocks = (
        bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 01000000 ffffffff ffffffff 1c000000")
        + bytes.fromhex("01000000 14000000 65000000 00000000 14000000")
        + b"\6\0\0\0"
        + length
        + frame
        + length
    )
    code, shown, _ = command(given=blocks)
    assert (code, from_text(shown)) == (DONE, DISCOVER)
    assert " s: 0.0.0.0:68 >" in shown.splitlines()[0]
    assert command(given=whole)[0] == DONE


def test_json_of_one_message():
    """One message is a document with an indent, for people."""
    code, shown, _ = command("--json", given=RAW)
    assert code == DONE
    assert shown.startswith('{\n  "op": "request"')
    assert from_document(json.loads(shown)) == DISCOVER


def test_what_is_odd_is_said():
    """Diagnostics are comments below the text; only --strict makes them a failure."""
    code, shown, wrong = command(given=ODD.raw)
    assert (code, wrong) == (DONE, "")
    assert "# offset 10: flags are 0x0001" in shown
    assert from_text(shown) == ODD
    code, shown, wrong = command("--strict", given=ODD.raw)
    assert code == MALFORMED
    assert wrong.startswith("message 1: offset 10: flags are 0x0001")
    assert from_text(shown) == ODD
    assert command("--strict", given=RAW)[0] == DONE


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"", "message 1: 0 bytes"),
        ("abcd", "message 1: 2 bytes"),
        (CUT, "message 1: 100 bytes"),
        (RAW[:2] + b"\x11" + RAW[3:], "message 1: hlen is 17"),
        ("what is this?", "-: neither hexadecimal nor base64 nor a capture"),
        ("0000 01\n0001 z!", "-: neither hexadecimal nor base64 nor a capture"),
    ],
)
def test_what_is_malformed(given, reason):
    """It is told on the other stream, with an exit code for scripts."""
    code, shown, wrong = command(given=given)
    assert (code, shown) == (MALFORMED, "")
    assert wrong.startswith(reason)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_encode_goes_the_other_way(form):
    """What the command printed it turns into the same bytes."""
    _, shown, _ = command(*form, given=ODD.raw)
    assert command("--encode", given=shown) == (DONE, ODD.raw.hex() + "\n", "")


@pytest.mark.parametrize("given", ["nonsense", "{", b"\xff\xfe"])
def test_encode_says_what_is_wrong(given):
    """Neither text nor JSON is a failure, and no traceback."""
    code, shown, wrong = command("--encode", given=given)
    assert (code, shown) == (MALFORMED, "")
    assert wrong


def test_wrong_usage():
    """An argument that nobody knows is wrong usage."""
    with pytest.raises(SystemExit) as caught:
        command("--nonsense")
    assert caught.value.code == USAGE


def test_without_dpkt_it_says_what_to_install(monkeypatch):
    """A capture without its reader is no malformed message."""
    monkeypatch.setitem(sys.modules, "dpkt.pcap", None)
    monkeypatch.setitem(sys.modules, "dpkt", None)
    code, _, wrong = command(given=capture(RAW))
    assert code == USAGE
    assert 'pip install "dhcptwist[pcap]"' in wrong


def process(*words: str, **options) -> subprocess.Popen:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dhcptwist.wire", *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_terminal_gets_what_it_can_print(monkeypatch):
    """Characters that its encoding lacks are escaped."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["wire"])
    monkeypatch.setattr(sys, "stdin", _Files(Message.build(sname="пк").raw, None))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii"))
    with pytest.raises(SystemExit):
        run()
    assert rb"sname   \u043f\u043a" in printed.getvalue()


def test_as_a_process():
    """It reads a pipe and prints, from beginning to end."""
    shown, wrong = (begun := process()).communicate(capture(RAW))
    assert (begun.returncode, wrong) == (DONE, b"")
    assert from_text(shown.decode()) == DISCOVER


def test_a_closed_pipe_ends_quietly():
    """`head` may have seen enough."""
    with process() as begun:
        begun.stdout.close()
        begun.stdin.write(capture(*[RAW] * 200))
        try:
            begun.stdin.close()
        except BrokenPipeError:
            begun.stdin = None  # it was gone before it had read everything
        assert begun.stderr.read() == b""
        assert begun.wait() == DONE


def test_an_alphabet_that_the_terminal_lacks():
    """A name that cannot be printed there is escaped, and stops nothing."""
    name = Message.build(options={"host-name": "пк"})
    begun = process(env={**os.environ, "PYTHONIOENCODING": "ascii"})
    shown, wrong = begun.communicate(name.raw)
    assert (begun.returncode, wrong) == (DONE, b"")
    assert rb"host-name  \u043f\u043a" in shown


class _Files:
    """The files of a process that a test may look into."""

    def __init__(self, given: bytes, error: type[BaseException] | None) -> None:
        self.buffer = self
        self._given = io.BytesIO(given)
        self._error = error

    def read(self, *size: int) -> bytes:
        if self._error:
            raise self._error
        return self._given.read(*size)


@pytest.mark.parametrize(
    ("error", "code"), [(None, DONE), (KeyboardInterrupt, 130), (BrokenPipeError, DONE)]
)
def test_how_a_process_ends(monkeypatch, error, code):
    """With the exit code of the command, or quietly if it was stopped."""
    monkeypatch.setattr(sys, "argv", ["wire"])
    monkeypatch.setattr(sys, "stdin", _Files(RAW, error))
    replaced = []
    monkeypatch.setattr(os, "dup2", lambda *files: replaced.append(files))
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(stdout, "fileno", lambda: 1)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == code
    assert bool(replaced) == (error is BrokenPipeError)
