"""``dhcpctl probe``: a whole exchange as a relayed client, and what it says if not."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from dhcptwist import ctl
from dhcptwist.control import probe
from dhcptwist.lease import LeaseState
from dhcptwist.testing import ip
from dhcptwist.wire import Message, MessageType


DISCOVER, OFFER = MessageType.DISCOVER, MessageType.OFFER
REQUEST, ACK, NAK = MessageType.REQUEST, MessageType.ACK, MessageType.NAK
RELEASE = MessageType.RELEASE
ROOT = Path(__file__).resolve().parents[1]
US, RELAY = "127.0.0.1", "127.0.0.2"
SERVER = bytes([127, 0, 0, 1])
MINE = "02:00:00:00:00:05"
SHORT = (0.02, 0.02, 0.02)

OPTIONS = """
option.routers = 127.7.0.1
option.domain-name-servers = 192.0.2.53, 192.0.2.54
option.domain-name = office.example
"""


class Done:
    """What a probe has said, and how it ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        """Its output, which must be one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self):
        """What it says for people, by name."""
        pairs = (line.split(":", 1) for line in self.out.splitlines())
        return {name: value.strip() for name, value in pairs}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """No server of this machine is found by chance."""
    monkeypatch.delenv("DHCPTWIST_STATE", raising=False)
    monkeypatch.setattr(ctl.arguments, "STATES", (tmp_path / "none",))


@pytest.fixture
def dhcpctl(capsys):
    """Run ``dhcpctl`` in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            ctl.main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Done(ended.value.code, out, err)

    return run


@pytest.fixture
def site(make_site):
    """A server in a process of its own."""
    site = make_site(pools="127.7.0.10 - 127.7.0.13")
    site.ini += OPTIONS
    site.start()
    return site


@pytest.fixture
def ask(site, dhcpctl):
    """Probe the server that runs; JSON."""
    return lambda *more: dhcpctl("--json", "--state", site.state, "probe", *more)


def states(site):
    """What the server has on its disk: each client's hardware, and its lease's state."""
    path = site.state / "leases.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT hardware, state FROM lease").fetchall()
    return {hardware[1:].hex(":"): LeaseState(state) for hardware, state in rows}


def becomes(site, hardware, state):
    """Wait until a client's lease is in a state on the server's disk."""
    for _ in range(1000):
        if states(site).get(hardware) == state:
            return
        Event().wait(0.01)
    raise AssertionError(f"{hardware} is not {state.name}: {states(site)}")


class FakeServer:
    """A server in a thread that answers as the test says.

    Args:
        port: Where, on 127.0.0.1.
        answers: Gives the datagrams to answer a message with; None for one last answer
            when the port is closed already.
    """

    def __init__(self, port, answers):
        self.heard = []
        self._answers = answers
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((US, port))
        self._where = self._socket.getsockname()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while True:
            data, source = self._socket.recvfrom(65536)
            if data == b"stop":
                return
            message = Message.decode(data)
            self.heard.append(message)
            for each in self._answers(message):
                if each is None:
                    self._socket.close()
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                        last.sendto(*plain(message), source)
                    return
                self._socket.sendto(each, source)

    def close(self):
        """Hear what has come, then stop."""
        if self._thread.is_alive():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"stop", self._where)
        self._thread.join(20)
        self._socket.close()

    @property
    def kinds(self):
        """The types of what it has heard."""
        return [each.type for each in self.heard]


def reply(message, kind, options=None, **fields):
    """An answer to a message."""
    given = {53: bytes([kind]), 54: SERVER, 51: (3600).to_bytes(4, "big")}
    given |= {1: bytes([255, 255, 0, 0])}
    given |= options or {}
    return Message.build(
        **{
            "op": 2,
            "xid": message.xid,
            "htype": 1,
            "chaddr": message.raw[28:34],
            "yiaddr": 0 if kind == NAK else ip("127.7.0.50"),
            "giaddr": ip(RELAY),
            **fields,
        },
        options={code: data for code, data in given.items() if data is not None},
    ).encode()


def plain(message):
    """What a server answers that does nothing strange."""
    kinds = {DISCOVER: OFFER, REQUEST: ACK}
    return [reply(message, kinds[message.type])] if message.type in kinds else []


@pytest.fixture
def fake(make_site, dhcpctl):
    """Probe a server that answers as the test says; gives what was said, and heard."""
    servers = []

    def run(answers, *more):
        port = make_site().port
        servers.append(FakeServer(port, answers))
        done = dhcpctl(*more, "probe", "--to", US, "--port", port)
        servers[-1].close()
        return done, servers[-1]

    yield run
    for server in servers:
        server.close()


@pytest.fixture
def impatient(monkeypatch):
    """Wait for next to nothing."""
    monkeypatch.setattr(probe, "PATIENCE", SHORT)


@pytest.fixture
def patient(monkeypatch):
    """Wait longer than any test may take: what ends, ends for another reason."""
    monkeypatch.setattr(probe, "PATIENCE", (600.0,))


class TestRunning:
    """Against a server that runs."""

    def test_whole(self, ask, site):
        """DISCOVER to ACK: what the client was told, and by whom."""
        done = ask()
        assert (done.code, done.err) == (0, "")
        document = done.json
        assert document.pop("offer_ms") >= 0
        assert document.pop("ack_ms") >= 0
        hardware = document.pop("hardware")
        assert hardware.startswith("02:")
        assert document == {
            "address": "127.7.0.10",
            "server": US,
            "relay": RELAY,
            "lease_time": 3600,
            "subnet_mask": "255.255.0.0",
            "routers": "127.7.0.1",
            "domain_name_servers": "192.0.2.53, 192.0.2.54",
            "host_name": "",
            "domain_name": "office.example",
            "released": True,
        }
        becomes(site, hardware, LeaseState.RELEASED)

    def test_keep(self, ask, site):
        """With --keep the lease stays bound."""
        document = ask("--keep").json
        assert document["released"] is False
        assert states(site) == {document["hardware"]: LeaseState.BOUND}

    def test_for_people(self, site, dhcpctl):
        """The same in words."""
        done = dhcpctl("--state", site.state, "probe")
        assert (done.code, done.err) == (0, "")
        lines = done.lines
        assert lines["address"] == "127.7.0.10"
        assert lines["subnet mask"] == "255.255.0.0"
        assert lines["routers"] == "127.7.0.1"
        assert lines["name servers"] == "192.0.2.53, 192.0.2.54"
        assert lines["domain"] == "office.example"
        assert lines["lease time"] == "1h"
        assert lines["server"] == US
        assert lines["client"].endswith(f"as if behind the relay {RELAY}")
        assert "ms to the offer" in lines["took"]
        assert lines["now"] == "released again"
        done = dhcpctl("--state", site.state, "probe", "--keep")
        assert done.lines["now"] == "kept"

    def test_same_client_each_time(self, ask, site):
        """A probe each minute uses one address of the pool, not all of them."""
        done = [ask().json for _ in range(6)]
        assert len({(each["hardware"], each["address"]) for each in done}) == 1
        # Another process on this machine is the same client, too.
        program = subprocess.run(
            [sys.executable, "-m", "dhcptwist.ctl", "--json", "probe"],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DHCPTWIST_STATE": str(site.state),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        again = json.loads(program.stdout)
        assert again["hardware"] == done[0]["hardware"]
        assert again["address"] == done[0]["address"]
        becomes(site, again["hardware"], LeaseState.RELEASED)
        assert len(states(site)) == 1

    def test_hardware(self, ask, site):
        """With --hardware it is the client that one wants to know about."""
        document = ask("--hardware", "02-00-00-00-00-05", "--keep").json
        assert document["hardware"] == MINE
        assert states(site) == {MINE: LeaseState.BOUND}
        # Its address is given back, though it was another's probe that kept it.
        assert ask("--hardware", MINE).json["address"] == document["address"]
        becomes(site, MINE, LeaseState.RELEASED)

    def test_named(self, site, dhcpctl):
        """A server may be named, instead of its state."""
        done = dhcpctl("--json", "probe", "--to", US, "--port", site.port)
        assert (done.code, done.err) == (0, "")
        assert done.json["relay"] == RELAY
        named = ("--to", US, "--port", site.port, "--relay", RELAY)
        assert dhcpctl("--json", "probe", *named).code == 0

    def test_another_relay(self, ask, impatient):
        """The relay tells the subnet: with one that is in none there is silence."""
        done = ask("--relay", "127.0.0.3")
        assert (done.code, done.out) == (3, "")
        assert "no OFFER from 127.0.0.1" in done.err
        assert "has 127.0.0.3 as a relay" in done.err

    def test_pool_is_full(self, ask, monkeypatch):
        """So is a pool that is full; the words say that it may be."""
        for number in range(4):
            assert ask("--keep", "--hardware", f"02:00:00:00:01:0{number}").code == 0
        monkeypatch.setattr(probe, "PATIENCE", SHORT)
        done = ask()
        assert (done.code, done.out) == (3, "")
        assert "the pool is full" in done.err

    def test_stopped(self, ask, site, patient):
        """A server that has stopped: told at once, for the port is refused."""
        site.stop()
        done = ask()
        assert (done.code, done.out) == (3, "")
        assert done.err == f"dhcpctl: there is no server on port {site.port} of {US}\n"


class TestSaid:
    """What is said to the server."""

    def test_messages(self, fake):
        """DISCOVER, REQUEST and RELEASE of one client behind one relay."""
        done, server = fake(plain, "--json")
        assert done.code == 0
        assert server.kinds == [DISCOVER, REQUEST, RELEASE]
        for message in server.heard:
            assert message.raw[24:28] == bytes([127, 0, 0, 2])
            assert message.raw[3] == 1  # hops
            assert message.raw[28:34].hex(":") == done.json["hardware"]
        discover, request, release = server.heard
        assert discover.xid == request.xid != release.xid
        assert request.options[50] == bytes([127, 7, 0, 50])
        assert request.options[54] == release.options[54] == SERVER
        assert release.raw[12:16] == bytes([127, 7, 0, 50])  # ciaddr
        assert 50 not in release.options

    def test_keep(self, make_site, dhcpctl):
        """With --keep there is no RELEASE."""
        port = make_site().port
        server = FakeServer(port, plain)
        done = dhcpctl("probe", "--to", US, "--port", port, "--keep")
        server.close()
        assert done.code == 0
        assert server.kinds == [DISCOVER, REQUEST]

    def test_own_hardware(self):
        """The hardware that it has by itself is a local one, and always the same."""
        mine = probe.own_hardware()
        assert mine == probe.own_hardware()
        assert len(mine) == 7
        assert mine[:2] == b"\x01\x02"

    def test_another_machine(self, monkeypatch):
        """Another machine is another client."""
        mine = probe.own_hardware()
        monkeypatch.setattr(socket, "gethostname", lambda: "another.example")
        assert probe.own_hardware() != mine


class TestHeard:
    """What a server may answer."""

    def test_strangers_are_passed_over(self, fake, patient):
        """Garbage, answers to others and of other kinds are not taken for ours."""

        def answers(message):
            if message.type not in {DISCOVER, REQUEST}:
                return []
            [good] = plain(message)
            foreign = Message.decode(good)
            others = reply(message, ACK, xid=message.xid ^ 1)
            refusal = reply(message, NAK, xid=message.xid ^ 1)
            wrong = reply(message, ACK if message.type == DISCOVER else OFFER)
            return [
                b"",
                b"garbage",
                os.urandom(300),
                foreign.encode()[:239],
                good[:236] + b"\0\0\0\0" + good[240:],
                others,
                refusal,
                wrong,
                good,
            ]

        done, server = fake(answers, "--json")
        assert (done.code, done.err) == (0, "")
        assert done.json["address"] == "127.7.0.50"
        assert server.kinds == [DISCOVER, REQUEST, RELEASE]

    def test_only_others(self, fake, impatient):
        """If there is nothing else, there is no answer."""
        done, _ = fake(lambda message: [reply(message, OFFER, xid=message.xid ^ 1)])
        assert (done.code, done.out) == (3, "")
        assert "no OFFER from" in done.err

    def test_nak(self, fake, patient):
        """A server that says no: exit 1, and why it says it does."""

        def answers(message):
            if message.type == DISCOVER:
                return plain(message)
            return [reply(message, NAK, {56: b"not today"})]

        done, server = fake(answers)
        assert (done.code, done.out) == (1, "")
        assert done.err == "dhcpctl: the server refused: not today\n"
        assert server.kinds == [DISCOVER, REQUEST]

    def test_nak_at_once(self, fake, patient):
        """Also if it says so to the DISCOVER, and gives no reason."""
        done, _ = fake(lambda message: [reply(message, NAK, {54: None})])
        assert done.code == 1
        assert "the server refused" in done.err

    @pytest.mark.parametrize(
        "reason", [b"\x1b[2J\x07\r\n\xc2\x9b", b"\xff\xfe", "\u202e".encode()]
    )
    def test_nak_is_safe(self, fake, patient, reason):
        """Its words move nobody's cursor."""
        done, _ = fake(lambda message: [reply(message, NAK, {56: reason})])
        assert done.code == 1
        assert done.err.endswith("\n")
        assert done.err[:-1].isprintable()

    @pytest.mark.parametrize("json_too", [True, False])
    @pytest.mark.parametrize(
        "options",
        [
            {51: None},
            {1: b"\xff\xff"},
            {3: b"\x01"},
            {6: b"\x01\x02\x03\x04\x05"},
            {15: b"\x1b[2J\xff\0"},
            {51: b"\x00\x01"},
            {1: None, 3: b"", 6: b"", 15: b""},
        ],
    )
    def test_strange_options(self, fake, patient, options, json_too):
        """Options that are missing or not as they should be: no traceback, no escape."""

        def answers(message):
            kinds = {DISCOVER: OFFER, REQUEST: ACK}
            if message.type not in kinds:
                return []
            return [reply(message, kinds[message.type], options)]

        done, _ = fake(answers, *(["--json"] if json_too else []))
        assert (done.code, done.err) == (0, "")
        assert done.out.replace("\n", "").isprintable()
        assert "127.7.0.50" in done.out

    @pytest.mark.parametrize("server", [None, b"\x7f\x00\x00", b""])
    def test_no_server_identifier(self, fake, server):
        """Such an OFFER cannot be taken (RFC 2131 table 5), and the reason is said."""
        done, heard = fake(lambda message: [reply(message, OFFER, {54: server})])
        assert done.code == 3
        assert "no server identifier" in done.err
        assert heard.kinds == [DISCOVER]

    def test_infinite(self, fake):
        """An infinite lease is called one."""

        def answers(message):
            kinds = {DISCOVER: OFFER, REQUEST: ACK}
            if message.type not in kinds:
                return []
            return [reply(message, kinds[message.type], {51: b"\xff" * 4})]

        done, _ = fake(answers)
        assert done.lines["lease time"] == "infinite"
        assert "routers" not in done.lines

    def test_late_answer(self, fake, monkeypatch):
        """It asks again, with the same message; the answer to that is as good."""
        monkeypatch.setattr(probe, "PATIENCE", (0.02, 0.02, 600.0))
        asked = []

        def answers(message):
            asked.append(message.encode())
            return plain(message) if len(asked) >= 3 else []

        done, server = fake(answers)
        assert done.code == 0
        assert server.kinds[:3] == [DISCOVER] * 3
        assert asked[0] == asked[1] == asked[2]


class TestNobody:
    """No answer at all."""

    def test_refused(self, make_site, dhcpctl, patient):
        """Nobody on the port: exit 3 at once, not after all patience."""
        port = make_site().port
        done = dhcpctl("probe", "--to", US, "--port", port)
        assert (done.code, done.out) == (3, "")
        assert done.err == f"dhcpctl: there is no server on port {port} of {US}\n"

    def test_gone_meanwhile(self, fake, patient):
        """The same if it goes away in the middle."""
        done, server = fake(lambda _: [None])
        assert (done.code, done.out) == (3, "")
        assert "there is no server on port" in done.err
        assert server.kinds == [DISCOVER]

    def test_silence(self, fake, impatient):
        """Somebody who says nothing: exit 3, what may be wrong; asked several times."""
        done, server = fake(lambda _: [])
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith(f"dhcpctl: no OFFER from {US} port ")
        for words in ("not running", RELAY, "pool is full", "dhcpctl status"):
            assert words in done.err
        assert server.kinds == [DISCOVER] * 3
        assert len({each.xid for each in server.heard}) == 1

    def test_silence_after_the_offer(self, fake, patient, monkeypatch):
        """How far it came is said: the disk may be full."""

        def answers(message):
            monkeypatch.setattr(probe, "PATIENCE", SHORT)
            return plain(message) if message.type == DISCOVER else []

        done, server = fake(answers)
        assert (done.code, done.out) == (3, "")
        assert f"{US} made an offer, and did not confirm it" in done.err
        assert server.kinds == [DISCOVER, *[REQUEST] * 3]

    def test_json(self, fake, impatient):
        """A program finds no document where there is no lease."""
        done, _ = fake(lambda _: [], "--json")
        assert (done.code, done.out) == (3, "")
        assert "no OFFER from" in done.err

    def test_no_time(self, fake, monkeypatch):
        """What comes after all patience is no answer any more."""
        monkeypatch.setattr(probe, "PATIENCE", (0.0, 0.0))
        done, _ = fake(plain)
        assert (done.code, done.out) == (3, "")
        assert "no OFFER from" in done.err


class TestWhere:
    """Whom to ask, and from where."""

    def test_no_state(self, dhcpctl):
        """Nothing is known of a server: exit 3, and what to do."""
        done = dhcpctl("probe")
        assert (done.code, done.out) == (3, "")
        assert "name one with --to" in done.err

    def test_what_the_server_wrote(self, site):
        """The server says in its state directory where it may be probed."""
        assert (site.state / "probe").read_text() == f"{US} {site.port} {RELAY}\n"

    def test_command_line_wins(self, fake, tmp_path, dhcpctl, patient, make_site):
        """What is named wins over what the state says."""
        state = tmp_path / "state"
        state.mkdir()
        (state / "probe").write_text("192.0.2.1 67 192.0.2.2\n")
        port = make_site().port
        server = FakeServer(port, plain)
        named = ("--to", US, "--port", port)
        done = dhcpctl("--state", state, "--json", "probe", *named)
        server.close()
        assert done.json["relay"] == RELAY

    def test_relay_on_loopback(self):
        """A server on loopback is asked from another address of loopback."""
        assert probe.relay_towards("127.0.0.1") == RELAY
        assert probe.relay_towards("127.0.0.53") == RELAY

    class Socket:
        """Stands in for a socket towards another machine."""

        name = ("192.0.2.77", 5)
        error = None

        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def connect(self, _):
            """Fail, if that is wanted."""
            if self.error is not None:
                raise self.error

        def setsockopt(self, *_):
            """Nothing."""

        def bind(self, _):
            """Fail, if that is wanted."""
            self.connect(_)

        def sendto(self, *_):
            """Fail as a socket does that has heard of a closed port."""
            raise ConnectionRefusedError(111, "Connection refused")

        def getsockname(self):
            """Our address towards it."""
            return self.name

    def test_relay_towards_another(self, monkeypatch):
        """Another machine is asked from the address that faces it."""
        monkeypatch.setattr(socket, "socket", self.Socket)
        assert probe.relay_towards("192.0.2.1") == "192.0.2.77"

    def test_this_machine(self, monkeypatch, capsys):
        """This machine's own address would answer to itself: that is explained."""
        monkeypatch.setattr(socket, "socket", self.Socket)
        with pytest.raises(SystemExit) as ended:
            ctl.main(["probe", "--to", "192.0.2.77"])
        assert ended.value.code == 3
        err = capsys.readouterr().err
        assert "192.0.2.77 is this machine" in err
        assert "relays = 127.0.0.2" in err

    def test_no_route(self, monkeypatch, capsys):
        """No way to it: exit 3, and why."""
        monkeypatch.setattr(
            self.Socket, "error", OSError(101, "Network is unreachable")
        )
        monkeypatch.setattr(socket, "socket", self.Socket)
        with pytest.raises(SystemExit) as ended:
            ctl.main(["probe", "--to", "192.0.2.1"])
        assert ended.value.code == 3
        assert "192.0.2.1 cannot be reached" in capsys.readouterr().err

    def test_no_right(self, monkeypatch, capsys):
        """A port below 1024 is root's: exit 3, and what to do."""
        error = PermissionError(13, "Permission denied")
        monkeypatch.setattr(self.Socket, "error", error)
        monkeypatch.setattr(socket, "socket", self.Socket)
        with pytest.raises(SystemExit) as ended:
            ctl.main(["probe", "--to", US, "--port", "67"])
        assert ended.value.code == 3
        err = capsys.readouterr().err
        assert "port 67 may be used by root only" in err
        assert "use sudo" in err

    def test_refused_before(self, monkeypatch, capsys):
        """The kernel may know that nobody is there before anything is sent."""
        monkeypatch.setattr(socket, "socket", self.Socket)
        with pytest.raises(SystemExit) as ended:
            ctl.main(["probe", "--to", US, "--port", "6767"])
        assert ended.value.code == 3
        assert "there is no server on port 6767" in capsys.readouterr().err

    def test_broken_pipe(self, fake, monkeypatch, tmp_path):
        """Whoever reads the output may have gone: exit 0, and no word."""
        with (tmp_path / "out").open("w") as out:

            class Gone:
                fileno = out.fileno

                def write(self, _):
                    raise BrokenPipeError(32, "Broken pipe")

            monkeypatch.setattr(sys, "stdout", Gone())
            done, server = fake(plain)
        assert (done.code, done.err) == (0, "")
        assert server.kinds == [DISCOVER, REQUEST, RELEASE]

    def test_not_our_address(self, make_site, dhcpctl):
        """A relay's address that this machine has not: exit 3, and why."""
        port = make_site().port
        done = dhcpctl("probe", "--to", US, "--port", port, "--relay", "192.0.2.77")
        assert (done.code, done.out) == (3, "")
        assert f"192.0.2.77 port {port} cannot be used: Cannot assign" in done.err

    def test_address_in_use(self, make_site, dhcpctl):
        """A real relay is there already: exit 3, and why."""
        port = make_site().port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
            relay.bind((RELAY, port))
            done = dhcpctl("probe", "--to", US, "--port", port)
        assert (done.code, done.out) == (3, "")
        assert "cannot be used: Address already in use" in done.err

    def test_cannot_be_sent(self, make_site, dhcpctl):
        """What the kernel does not send: exit 3, and why."""
        port = make_site().port
        named = ("--to", "255.255.255.255", "--port", port, "--relay", RELAY)
        done = dhcpctl("probe", *named)
        assert (done.code, done.out) == (3, "")
        assert "255.255.255.255 cannot be reached: Permission denied" in done.err
