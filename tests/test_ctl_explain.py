"""``dhcpctl explain``: what it prints, how it exits, which files it reads."""

# ruff: noqa: F811 - a fixture that comes from another module is named like the argument

from __future__ import annotations

import base64
from pathlib import Path

import dpkt
import pytest
import pytest_twisted
from test_ctl import (  # noqa: F401 - fixtures
    TCP,
    UNIX,
    ask,
    bind,
    dhcpctl,
    here,
    program,
    serve,
    site,
)

from dhcptwist.control import explain_actions
from dhcptwist.testing import FakeClient
from dhcptwist.wire import Message, MessageType


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

MAC = "02:00:00:00:00:07"
RELAY = ("--relay", "127.0.0.2")
DISCOVER, OFFER = MessageType.DISCOVER, MessageType.OFFER


def packet(kind=DISCOVER, giaddr="127.0.0.2", **keys):
    """A message of a client behind the relay."""
    return FakeClient(MAC, giaddr=giaddr).message(kind, **keys)


def write(name, data):
    """Put a file into the working directory."""
    Path(name).write_bytes(data)


def pairs(done):
    """The names and values before the table."""
    lines = done.out.partition("\n\n")[0].splitlines()
    return {
        name: text.strip() for name, text in (line.split(": ", 1) for line in lines)
    }


class TestText:
    """What people read."""

    @pytest_twisted.ensureDeferred
    async def test_offer(self, ask, site):
        """All of it, for a client that gets the next address."""
        done = await ask("explain", MAC, *RELAY)
        assert (done.code, done.err) == (0, "")
        assert done.out == (
            "answer:   OFFER of 127.7.0.10 for 1h\n"
            "because:  the next address of the pool that nobody has had\n"
            "message:  DISCOVER, through the relay 127.0.0.2, on lo\n"
            f"client:   {MAC}, known by its hardware address\n"
            "subnet:   far (127.7.0.0/16), by its relay's address (giaddr)\n"
            f"goes:     to 127.0.0.2, port {site.port}, on lo: to the relay (giaddr)\n"
            "\n"
            "OPTION                       VALUE          FROM\n"
            "dhcp-message-type (53)       offer          server\n"
            "dhcp-server-identifier (54)  127.0.0.1      server\n"
            "dhcp-lease-time (51)         3600           subnet far\n"
            "dhcp-renewal-time (58)       1800           server\n"
            "dhcp-rebinding-time (59)     3150           server\n"
            "subnet-mask (1)              255.255.0.0    subnet far\n"
            "broadcast-address (28)       127.7.255.255  subnet far\n"
        )

    @pytest_twisted.ensureDeferred
    async def test_reserved(self, ask):
        """Whose reservation it is, and what else it gives."""
        await ask(
            *("reserve", "127.7.0.20", "--hardware", MAC, "--source", "netbox"),
            *("--lifetime", "1h", "--boot-file", "x.0", "--hostname", "pc"),
        )
        done = await ask(
            *("explain", MAC, *RELAY, "--circuit-id", "p5", "--remote-id", "sw"),
            *("--option", "host-name=laptop"),
            *("--option", "dhcp-parameter-request-list=12, 1, 42"),
        )
        assert done.code == 0
        said = pairs(done)
        assert said["answer"] == "OFFER of 127.7.0.20 for 1h"
        assert said["because"] == f"reserved for hardware address {MAC} by netbox"
        assert said["reserved"].startswith(
            f"127.7.0.20 for {MAC} by netbox; that ends in"
        )
        assert said["client"] == f"{MAC} (laptop), known by its hardware address"
        assert "circuit-id p5, remote-id sw, on lo" in said["message"]
        assert ["boot", "file", "x.0", "reservation"] in [
            line.split() for line in done.out.splitlines()
        ]
        assert done.out.endswith(
            "\n\nset, but not asked for: broadcast-address\n"
            "asked for, but not set: ntp-servers\n"
        )

    @pytest_twisted.ensureDeferred
    async def test_waiting(self, ask, bind):
        """What is reserved, who has it and for how long; and what comes of it."""
        held = await bind(1, b"tv")
        await ask("reserve", held, "--hardware", MAC)
        said = pairs(await ask("explain", MAC, *RELAY))
        assert said["answer"].startswith("OFFER of 127.7.0.11 for ")
        assert said["reserved"] == f"{held} for {MAC} by admin"
        assert said["passed over"].startswith(
            f"{held} is reserved for it, and is leased to 02:00:00:00:00:01 (tv); that ends"
            " in "
        )
        assert said["note"].startswith("the lease is short")
        said = pairs(await ask("explain", "02:00:00:00:00:01", "--renew"))
        assert said["because"].startswith(f"it is reserved for hardware address {MAC}")
        assert "renews its lease (RENEWING), from 127.7.0.10" in said["message"]
        assert said["subnet"].endswith("by the address it has (ciaddr)")

    @pytest_twisted.ensureDeferred
    async def test_nak(self, ask):
        """A NAK is exit 1, with its words."""
        done = await ask(
            "explain", MAC, *RELAY, "--kind", "reboot", "--request", "10.1.2.3"
        )
        assert done.code == 1
        said = pairs(done)
        assert said["answer"] == "NAK"
        assert "not on its link, and this server is authoritative" in said["because"]
        assert "comes back (INIT-REBOOT), for 10.1.2.3" in said["message"]
        assert "dhcp-message (56)            wrong network  server" in done.out

    @pytest_twisted.ensureDeferred
    async def test_silence(self, ask):
        """A silence is exit 1, with its counter's name and the reason."""
        done = await ask("explain", MAC, "--relay", "10.9.9.9")
        assert (done.code, done.err) == (1, "")
        assert done.out == (
            "answer:   none (no-subnet)\n"
            "because:  no subnet has the relay 10.9.9.9: it lies in none, and no relays ="
            " names it\n"
            "message:  DISCOVER, through the relay 10.9.9.9, on lo\n"
            f"client:   {MAC}\n"
        )
        said = pairs(await ask("explain", MAC))
        assert said["because"].startswith("no subnet is on lo: ")

    @pytest_twisted.ensureDeferred
    async def test_full_pool(self, serve, dhcpctl):
        """Where all the addresses are."""
        site = serve(pools="127.7.0.10 - 127.7.0.11")
        command = ("--state", site.state, "reserve")
        await dhcpctl(*command, "127.7.0.10", "--hardware", "02:00:00:00:00:97")
        await dhcpctl(*command, "127.7.0.11", "--hardware", "02:00:00:00:00:98")
        done = await dhcpctl("--state", site.state, "explain", MAC, *RELAY)
        said = pairs(done)
        assert (done.code, said["answer"]) == (1, "none (pool-exhausted)")
        assert "of 2 addresses in the pools of far 0 are leased" in said["because"]

    @pytest_twisted.ensureDeferred
    async def test_client_identifier(self, ask):
        """Who is known by one, and has a hardware address beside it."""
        said = pairs(await ask("explain", MAC, "--client-id", "hex:ff01", *RELAY))
        assert said["client"] == (
            f"hex:ff01, its client identifier (option 61); hardware address {MAC}"
        )
        said = pairs(await ask("explain", "--client-id", "me", *RELAY))
        assert said["client"] == "me, its client identifier (option 61)"

    def test_the_rest(self):
        """What is rarely there: a class, a client known again, an answer not known."""
        found = {
            "answer": "unknown",
            "reason": "the storage decides",
            "message": {"type": None, "interface": "eth0"},
            "client": None,
            "subnets": [{"name": "a", "network": "n"}, {"name": "b", "network": "m"}],
            "subnets_by": "interface",
            "storage": None,
            "class": {"name": "pxe", "by": "storage", "known": False},
            "reply": None,
        }
        text = explain_actions._text(found)
        assert "answer:   not known\n" in text
        assert "message:  on eth0\n" in text
        assert "subnet:   a (n) and b (m), by the interface eth0\n" in text
        assert text.endswith(
            "class:    pxe, named by the storage; but there is no [class pxe]"
        )
        known = {"name": "pxe", "by": "reservation", "known": True}
        text = explain_actions._text({**found, "class": known})
        assert text.endswith("class:    pxe, named by its reservation")
        message = {"type": "DISCOVER", "hardware": MAC, "hostname": "", "ciaddr": None}
        message |= {"requested": None, "relay": None, "circuit_id": "", "remote_id": ""}
        client = {
            "known_by": "hardware",
            "key": MAC,
            "taken_for": "me",
            "state": "INIT",
        }
        found |= {"message": message | {"interface": "eth0"}, "client": client}
        text = explain_actions._text(found)
        assert "; taken for me, who has the same hardware address\n" in text

    @pytest_twisted.ensureDeferred
    async def test_no_cursor_is_moved(self, ask):
        """What a client calls itself is shown, and does nothing else."""
        hostile = packet(options={12: b"\x1b[2J", 82: b"\1\4\x1b[2J", 61: b"\x1b[2J"})
        write("hostile", hostile.raw)
        done = await ask("explain", "--packet", "hostile")
        assert done.code == 0
        assert "\x1b" not in done.out


class TestJSON:
    """What programs read."""

    @pytest_twisted.ensureDeferred
    async def test_document(self, ask):
        """One document, whatever the answer; the exit code says which."""
        done = await ask("--json", "explain", MAC, *RELAY)
        assert (done.code, done.json["answer"]) == (0, "OFFER")
        assert done.json["reply"]["address"] == "127.7.0.10"
        done = await ask("--json", "explain", MAC)
        assert (done.code, done.json["silence"]) == (1, "no-subnet")

    @pytest_twisted.ensureDeferred
    async def test_errors(self, ask):
        """What the server refuses is exit 1 and a document of the error."""
        done = await ask("--json", "explain", "zz")
        assert (done.code, done.json["error"]) == (1, "InvalidRequest")
        done = await ask("explain", MAC, "--renew", *RELAY)
        assert done.code == 1
        assert done.err.startswith("dhcpctl: relay: a client that sends a renew")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([MAC, "--number", "2"], "--number goes with --packet"),
            ([MAC, "--packet", "x"], "only --interface goes with it"),
            (["--packet", "x", "--request", "127.7.0.1"], "only --interface goes"),
            (["--packet", "x", "--option", "12=x"], "only --interface goes with it"),
            ([MAC, "--relay", "zz"], "'zz' is not an IPv4 address"),
            ([MAC, "--kind", "offer"], "invalid choice: 'offer'"),
            ([MAC, "--option", "x"], "'x' is not NAME=VALUE"),
            (["--packet", "x", "--number", "0"], "not a whole number above 0"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_usage(self, ask, arguments, words):
        """What the command line alone shows to be wrong is exit 2."""
        done = await ask("explain", *arguments)
        assert (done.code, done.out) == (2, "")
        assert words in done.err


def captured(path, *datagrams, kind=dpkt.pcap.Writer):
    """A capture of datagrams: bytes, source and destination of each."""
    with path.open("wb") as file:
        writer = kind(file)
        for data, source, destination in datagrams:
            udp = dpkt.udp.UDP(sport=68, dport=67, data=data)
            udp.ulen = len(udp)
            ends = [bytes(map(int, each.split("."))) for each in (source, destination)]
            ip = dpkt.ip.IP(p=17, src=ends[0], dst=ends[1], data=udp)
            ip.len = len(ip)
            writer.writepkt(bytes(dpkt.ethernet.Ethernet(data=ip)), ts=1)
    return path


class TestPacket:
    """``--packet``: a message from a file."""

    @pytest.mark.parametrize(
        "written",
        [
            lambda raw: raw,
            lambda raw: raw.hex().encode(),
            lambda raw: raw.hex(":").encode(),
            base64.b64encode,
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_forms(self, ask, written):
        """Bytes, hexadecimal, base64."""
        write("packet", written(packet().raw))
        done = await ask("--json", "explain", "--packet", "packet")
        assert (done.code, done.json["answer"]) == (0, "OFFER")
        assert done.json["message"]["hardware"] == MAC

    @pytest.mark.parametrize("kind", [dpkt.pcap.Writer, dpkt.pcapng.Writer])
    @pytest_twisted.ensureDeferred
    async def test_captures(self, ask, kind):
        """The first of a client, or the one with the number, and how it came."""
        inform = packet(MessageType.INFORM, giaddr=0)
        reply = Message.build(op=2, options={53: bytes([OFFER])})
        captured(
            Path("capture"),
            (reply.raw, "127.0.0.1", "127.0.0.2"),
            (packet().raw, "127.0.0.2", "127.0.0.1"),
            (inform.replace(ciaddr="127.7.0.9").raw, "127.7.0.9", "127.0.0.1"),
            kind=kind,
        )
        first = (await ask("--json", "explain", "--packet", "capture")).json
        assert (first["message"]["type"], first["answer"]) == ("DISCOVER", "OFFER")
        assert first["message"]["to_us"]
        command = ("--json", "explain", "--packet", "capture", "--number")
        third = (await ask(*command, 3)).json
        assert (third["message"]["type"], third["answer"]) == ("INFORM", "ACK")
        assert third["subnets_by"] == "ciaddr"
        done = await ask(*command, 1)
        assert (done.code, done.json["silence"]) == (1, "not-a-request")
        done = await ask(*command, 4)
        assert (done.code, done.json["error"]) == (1, "CommandError")
        assert "4 is no DHCP message; there is 1, 2, 3" in done.json["message"]

    @pytest_twisted.ensureDeferred
    async def test_broadcast(self, ask):
        """What was sent to everybody was not sent to us."""
        asked = packet(MessageType.REQUEST, giaddr=0, ciaddr="127.7.0.9").raw
        captured(Path("capture"), (asked, "127.7.0.9", "255.255.255.255"))
        found = (await ask("--json", "explain", "--packet", "capture")).json
        assert (found["message"]["to_us"], found["silence"]) == (False, "no-subnet")

    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("missing", None, "missing cannot be read: No such file"),
            ("words", b"these are words", "neither hexadecimal nor base64"),
            ("reply", Message.build(op=2, options={}).raw, "no client's message in it"),
            ("cut", b"\xd4\xc3\xb2\xa1", "cut: "),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_files_of_another_kind(self, ask, name, data, words):
        """What is no message is exit 1, and the file's name."""
        if data is not None:
            write(name, data)
        done = await ask("explain", "--packet", name)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("dhcpctl: ")
        assert words in done.err

    @pytest_twisted.ensureDeferred
    async def test_number_in_a_text(self, ask):
        """Messages in a text are counted from 1."""
        lines = [packet().raw.hex(), packet(MessageType.INFORM).raw.hex()]
        write("packets", "\n".join(lines).encode())
        command = ("--json", "explain", "--packet", "packets", "--number")
        assert (await ask(*command, 2)).json["message"]["type"] == "INFORM"
        done = await ask("explain", "--packet", "packets", "--number", 3)
        assert (done.code, "3 is no DHCP message; there is 1, 2" in done.err) == (
            1,
            True,
        )


@pytest.mark.parametrize("listen", [TCP, UNIX])
def test_process(make_site, listen, here):
    """A real server and a real command, over TLS and over a socket."""
    site = make_site(listen=listen)
    site.start()
    command = ("--state", site.state, "--json")
    before = program(*command, "status", cwd=here).json
    done = program(*command, "explain", MAC, *RELAY, cwd=here)
    assert (done.code, done.err) == (0, "")
    told = Message.decode(bytes.fromhex(done.json["reply"]["packet"]))
    again = program(*command, "explain", MAC, *RELAY, cwd=here)
    assert again.out == done.out
    now = program(*command, "status", cwd=here).json
    for name in ("packets", "subnets", "reservations", "offers"):
        assert now[name] == before[name]
    who = FakeClient(MAC, giaddr="127.0.0.2")
    relay = site.relay()
    real = relay.ask(who.message(DISCOVER))
    assert real.replace(xid=0, hops=0).raw == told.replace(xid=0, hops=0).raw
    relay.bind(who)
    text = program("--state", site.state, "explain", MAC, "--renew", cwd=here)
    assert (text.code, text.err) == (0, "")
    assert "its lease of this address goes on" in text.out
    gone = program(
        "--state", site.state, "explain", MAC, "--relay", "10.1.1.1", cwd=here
    )
    assert gone.code == 1
    assert "none (no-subnet)" in gone.out
