"""``dhcpctl`` as people and scripts use it: tables, JSON, exit codes, words."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from dhcptwist import __version__, ctl
from dhcptwist.control import tables, tls
from dhcptwist.control.shell import what
from dhcptwist.service import DHCPService


# Twisted hands its own certificates to pyOpenSSL in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[1]
TCP = "tcp:0:interface=127.0.0.1"
UNIX = "unix:control.sock:mode=600"
OWNER = "02:00:00:00:00:0b"
FIRST = "127.7.0.10"

MORE = """
role netbox = status

[reservation printer]
hardware = 02:00:00:00:00:99
address = 127.7.0.99
"""


class Done:
    """What a command has said, and how it ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        """Its output, which must be one JSON document."""
        return json.loads(self.out)

    @property
    def rows(self):
        """The words of each line of its table, without the heads."""
        return [line.split() for line in self.out.splitlines()[1:]]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A directory to be in, where no server of this machine is found by chance."""
    monkeypatch.delenv("DHCPTWIST_STATE", raising=False)
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setattr(
        ctl.arguments, "STATES", (Path("dhcptwist-state"), tmp_path / "none")
    )
    return directory


@pytest.fixture
def dhcpctl(monkeypatch, capsys):
    """Run ``dhcpctl`` in this process, over its reactor."""
    from twisted.internet import reactor

    running = []
    monkeypatch.setattr(
        "twisted.internet.task.react",
        lambda main: running.append(ensureDeferred(main(reactor))),
    )

    async def run(*arguments):
        capsys.readouterr()
        code = 0
        try:
            ctl.main([str(each) for each in arguments])
            await running.pop()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def serve(make_site):
    """Start servers in this process; they are stopped in the end."""
    from twisted.internet import reactor

    services = []

    def serve(**keys):
        site = make_site(**{"storage": "memory:", "listen": TCP, **keys})
        listen = f"listen = {keys.get('listen', TCP)}\n"
        role, _, rest = MORE.strip().partition("\n")
        site.ini = site.ini.replace(listen, f"{listen}{role}\n") + rest
        service = DHCPService(reactor, site.config)
        service.startService()
        services.append(service)
        site.service = service
        return site

    yield serve
    for service in services:
        if service.running:
            pytest_twisted.blockon(service.stopService())


@pytest.fixture
def site(serve):
    """A server that runs."""
    return serve()


@pytest.fixture
def ask(site, dhcpctl):
    """Run ``dhcpctl`` for the server that runs."""

    async def ask(*arguments):
        return await dhcpctl("--state", site.state, *arguments)

    return ask


@pytest.fixture
def bind(site):
    """Get a lease as a client behind the relay."""
    relay = site.relay()

    async def bind(number, name=b""):
        who = site.client(number)
        if name:
            who.options[12] = name
        ack = await deferToThread(relay.bind, who)
        return socket.inet_ntoa(ack.raw[16:20])

    return bind


def program(*arguments, cwd, **keys):
    """Run ``dhcpctl`` as a program of its own."""
    keys = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **keys}
    done = subprocess.run(
        [sys.executable, "-m", "dhcptwist.ctl", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=30,
        check=False,
        **keys,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class TestStatus:
    """``dhcpctl status``."""

    @pytest_twisted.ensureDeferred
    async def test_table(self, ask, bind, site):
        """Version, port, packets and subnets, below each other."""
        await bind(1)
        done = await ask("status")
        assert (done.code, done.err) == (0, "")
        lines = dict(
            line.split(":  ", 1) for line in done.out.splitlines() if ":  " in line
        )
        lines = {name: value.strip() for name, value in lines.items()}
        assert lines["version"] == __version__
        assert lines["port"] == str(site.port)
        assert lines["packets received"] == "discover 1, request 1"
        assert lines["packets sent"] == "offer 1, ack 1"
        assert lines["packets silent"] == "none"
        assert lines["reservations"] == "1"
        heads, far = [
            line.split()
            for line in done.out.splitlines()
            if "127.7" in line or "SUBNET" in line
        ]
        assert dict(zip(heads, far, strict=True)) == {
            "SUBNET": "far",
            "NETWORK": "127.7.0.0/16",
            "POOL": "241",
            "RESERVED": "1",
            "BOUND": "1",
            "EXPIRED": "0",
            "RELEASED": "0",
            "DECLINED": "0",
            "REVOKED": "0",
        }

    @pytest_twisted.ensureDeferred
    async def test_json(self, ask, site):
        """All numbers in one document."""
        done = await ask("--json", "status")
        assert done.code == 0
        assert done.json["version"] == __version__
        assert done.json["port"] == site.port
        assert done.json["packets"]["received"] == {}
        assert done.json["subnets"]["far"]["pool"] == 241
        assert done.json["uptime"] >= 0

    def test_storage_of_ones_own(self):
        """A storage that tells nothing of itself leaves out its part."""
        figures = {"version": "1", "uptime": 90061, "port": 67, "packets": {}}
        text = tables.status({**figures, "subnets": {}})
        assert text.splitlines() == [
            "version:      1",
            "running for:  1d 1h",
            "port:         67",
        ]
        assert tables.status(figures) == text
        assert tables.status({**figures, "storage": {}}) == text
        more = tables.status({**figures, "offers": 3, "storage": {"rows": 7}})
        assert more == f"{text}\n\noffers:        3\nstorage rows:  7"


class TestReserve:
    """``dhcpctl reserve``."""

    @pytest_twisted.ensureDeferred
    async def test_applied(self, ask):
        """What it will do is said in words, or in a document."""
        done = await ask("reserve", FIRST, "--hardware", OWNER)
        assert (done.code, done.err) == (0, "")
        assert done.out == "applied: in force with the next packet\n"
        done = await ask("--json", "reserve", FIRST, "--hardware", OWNER)
        document = done.json
        assert document.pop("revision").startswith("1-")
        assert document == {"verdict": "applied", "holder": "", "until": None}

    @pytest_twisted.ensureDeferred
    async def test_waiting(self, ask, bind, site):
        """Who has it, and for how long."""
        assert await bind(1, b"laptop") == FIRST
        done = await ask("reserve", FIRST, "--hardware", OWNER)
        assert done.code == 0
        assert re.fullmatch(
            r"waiting: 02:00:00:00:00:01 \(laptop\) has the address; that ends in"
            r" (1h|59m \d+s)\n",
            done.out,
        )
        document = (await ask("--json", "reserve", FIRST, "--hardware", OWNER)).json
        assert document["verdict"] == "waiting"
        assert document["holder"] == "02:00:00:00:00:01 (laptop)"
        [lease] = (await ask("--json", "leases")).json
        assert document["until"] == lease["expires"]

    @pytest_twisted.ensureDeferred
    async def test_refused(self, ask, bind):
        """Somebody has it: exit 1, who and for how long; nothing changed."""
        await bind(1, b"laptop")
        command = ("reserve", FIRST, "--hardware", OWNER, "--on-conflict", "refuse")
        done = await ask(*command)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("dhcpctl: ")
        assert "02:00:00:00:00:01 (laptop)" in done.err
        assert "; that ends in " in done.err
        done = await ask("--json", *command)
        assert done.code == 1
        assert done.json["error"] == "AddressInUse"
        assert done.json["holder"] == "02:00:00:00:00:01 (laptop)"
        assert done.json["until"] > 0
        assert done.json["message"]
        assert len((await ask("--json", "reservations")).json) == 1

    @pytest_twisted.ensureDeferred
    async def test_everything(self, ask):
        """Every word of the command line arrives."""
        done = await ask(
            "reserve",
            FIRST,
            "--circuit-id",
            "eth7",
            "--remote-id",
            "hex:00ff",
            "--hostname",
            "printer",
            "--option",
            "domain-name-servers=192.0.2.53, 192.0.2.54",
            "--option",
            "option.224 = hex:0102",
            "--next-server",
            "192.0.2.7",
            "--boot-file",
            "pxelinux.0",
            "--server-name",
            "boot",
            "--source",
            "netbox",
            "--on-conflict",
            "move",
            "--lifetime",
            "1h",
        )
        assert (done.code, done.err) == (0, "")
        [made] = (await ask("--json", "reservations", "--source", "netbox")).json
        assert made.pop("expires") > 0
        assert made.pop("in_force")
        assert made == {
            "address": FIRST,
            "hardware": "",
            "client_id": "",
            "circuit_id": "eth7",
            "remote_id": "hex:00ff",
            "hostname": "printer",
            "options": {
                "domain-name-servers": "192.0.2.53, 192.0.2.54",
                "option-224": "hex:0102",
            },
            "next_server": "192.0.2.7",
            "boot_file": "pxelinux.0",
            "server_name": "boot",
            "source": "netbox",
            "on_conflict": "move",
        }

    @pytest_twisted.ensureDeferred
    async def test_without_address(self, ask):
        """An address may be left out: names and options only."""
        assert (
            await ask("reserve", "--client-id", "pc", "--hostname", "pc7")
        ).code == 0
        done = await ask("reservations", "--source", "admin")
        assert done.rows == [["-", "pc", "pc7", "admin", "never", "-"]]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--option", "routers"], "'routers' is not NAME=VALUE"),
            (["--option", "=x"], "'=x' is not NAME=VALUE"),
            (["--lifetime", "soon"], "'soon' is not a time like 30s"),
            (["--lifetime", "0"], "is not between 1 second"),
            (["--on-conflict", "fight"], "invalid choice: 'fight'"),
            (["another"], "unrecognized arguments: another"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_usage(self, ask, arguments, words):
        """What the command line alone shows to be wrong is exit 2, and why."""
        done = await ask("reserve", FIRST, "--hardware", OWNER, *arguments)
        assert (done.code, done.out) == (2, "")
        assert words in done.err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([FIRST], "for whom?"),
            (["127.7.0.300", "--hardware", OWNER], "address: '127.7.0.300'"),
            (["192.0.2.1", "--hardware", OWNER], "in no subnet"),
            ([FIRST, "--hardware", "pc"], "hardware: 'pc'"),
            ([FIRST, "--hardware", OWNER, "--option", "colour=red"], "option colour"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_invalid(self, ask, arguments, words):
        """What the server refuses is exit 1, and why."""
        done = await ask("reserve", *arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("dhcpctl: ")
        assert words in done.err
        document = (await ask("--json", "reserve", *arguments)).json
        assert document["error"] == "InvalidRequest"
        assert words in document["message"]

    @pytest_twisted.ensureDeferred
    async def test_of_the_file(self, ask):
        """The file's reservations are changed in the file: exit 1, and whose it is."""
        command = ("reserve", "127.7.0.99", "--hardware", OWNER)
        done = await ask("--json", *command)
        assert done.code == 1
        assert done.json["error"] == "ReservedByOther"
        assert done.json["source"] == "file"
        assert "'file'" in (await ask(*command)).err


class TestCancel:
    """``dhcpctl cancel``."""

    @pytest_twisted.ensureDeferred
    async def test_table(self, ask):
        """What was taken out is shown."""
        await ask("reserve", FIRST, "--hardware", OWNER, "--hostname", "pc")
        done = await ask("cancel", FIRST)
        assert (done.code, done.err) == (0, "")
        assert done.rows == [[FIRST, OWNER, "pc", "admin", "never", "-"]]

    @pytest_twisted.ensureDeferred
    async def test_json(self, ask):
        """As a list in a document."""
        await ask("reserve", FIRST, "--hardware", OWNER)
        done = await ask("--json", "cancel", "--hardware", OWNER, "--source", "admin")
        assert [each["address"] for each in done.json] == [FIRST]

    @pytest_twisted.ensureDeferred
    async def test_not_found(self, ask):
        """What is not there is exit 1."""
        done = await ask("cancel", FIRST)
        assert (done.code, done.out) == (1, "")
        assert done.err == "dhcpctl: there is no such reservation\n"
        assert (await ask("--json", "cancel", FIRST)).json["error"] == "NotFound"

    @pytest_twisted.ensureDeferred
    async def test_of_the_file(self, ask):
        """What stands in the file cannot be cancelled here."""
        done = await ask("cancel", "127.7.0.99")
        assert done.code == 1
        assert "change it there" in done.err


class TestLists:
    """``dhcpctl reservations``, ``leases``, ``find`` and ``revoke``."""

    @pytest_twisted.ensureDeferred
    async def test_reservations(self, ask):
        """A table with what people want to know."""
        await ask(
            "reserve",
            FIRST,
            "--circuit-id",
            "eth7",
            "--remote-id",
            "switch",
            "--option",
            "routers=127.7.0.1",
        )
        done = await ask("reservations")
        assert (done.code, done.err) == (0, "")
        heads, *lines = done.out.splitlines()
        assert heads.split() == [
            "ADDRESS",
            "CLIENT",
            "NAME",
            "SOURCE",
            "ENDS",
            "OPTIONS",
        ]
        assert [re.split(" {2,}", line) for line in lines] == [
            [FIRST, "eth7 switch", "-", "admin", "never", "routers 127.7.0.1"],
            ["127.7.0.99", "02:00:00:00:00:99", "-", "file", "never", "-"],
        ]
        assert len((await ask("reservations", "--source", "file")).rows) == 1

    @pytest_twisted.ensureDeferred
    async def test_nothing(self, ask):
        """Empty lists are said in words, or an empty document."""
        done = await ask("reservations", "--source", "nobody")
        assert (done.code, done.out) == (0, "there are no reservations\n")
        assert (await ask("leases")).out == "there are no leases\n"
        assert (await ask("--json", "leases")).json == []

    @pytest_twisted.ensureDeferred
    async def test_leases(self, ask, bind):
        """Who has what, and until when."""
        await bind(1, b"laptop")
        await bind(2)
        done = await ask("leases")
        assert (done.code, done.err) == (0, "")
        heads, one, two = (re.split(" {2,}", line) for line in done.out.splitlines())
        assert heads == ["ADDRESS", "STATE", "CLIENT", "NAME", "ENDS", "SUBNET"]
        assert one[:4] == [FIRST, "bound", "02:00:00:00:00:01", "laptop"]
        assert re.fullmatch(r"in (1h|59m \d+s)", one[4])
        assert one[5] == "far"
        assert two[:4] == ["127.7.0.11", "bound", "02:00:00:00:00:02", "-"]
        document = (await ask("--json", "leases", "--subnet", "far")).json
        assert [each["hostname"] for each in document] == ["laptop", ""]

    @pytest_twisted.ensureDeferred
    async def test_unknown_subnet(self, ask):
        """A subnet that there is not is exit 1, and those there are."""
        done = await ask("leases", "--subnet", "near")
        assert (done.code, done.out) == (1, "")
        assert "no subnet 'near'; there are far" in done.err

    @pytest.mark.parametrize("what", [FIRST, "02:00:00:00:00:01", "02-00-00-00-00-01"])
    @pytest_twisted.ensureDeferred
    async def test_find(self, ask, bind, what):
        """By address and by hardware address, however it is written."""
        await bind(1)
        done = await ask("find", what)
        assert (done.code, done.err) == (0, "")
        assert done.rows[0][:3] == [FIRST, "bound", "02:00:00:00:00:01"]

    @pytest_twisted.ensureDeferred
    async def test_find_reserved(self, ask):
        """Reservations are found, too; by a client's identifier."""
        await ask("reserve", FIRST, "--client-id", "printer")
        done = await ask("find", "printer")
        assert done.code == 0
        _, title, _, row = (
            done.out.splitlines()
            if done.out[0] == "\n"
            else (
                "",
                *done.out.splitlines(),
            )
        )
        assert title == "reserved:"
        assert row.split()[:2] == [FIRST, "printer"]
        document = (await ask("--json", "find", "printer")).json
        assert document["leases"] == []
        assert [each["address"] for each in document["reservations"]] == [FIRST]

    @pytest_twisted.ensureDeferred
    async def test_find_both(self, ask, bind):
        """The lease comes first."""
        await bind(1)
        await ask("reserve", "127.7.0.50", "--hardware", "02:00:00:00:00:01")
        out = (await ask("find", "02:00:00:00:00:01")).out
        assert out.index(FIRST) < out.index("reserved:") < out.index("127.7.0.50")

    @pytest_twisted.ensureDeferred
    async def test_find_nothing(self, ask):
        """Nothing is exit 1; the document is there all the same."""
        done = await ask("find", "nobody")
        assert (done.code, done.out) == (1, "")
        assert done.err == "dhcpctl: nothing is known of nobody\n"
        done = await ask("--json", "find", "nobody")
        assert (done.code, done.err) == (1, "")
        assert done.json == {"leases": [], "reservations": []}

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("192.0.2.1", {"address": "192.0.2.1"}),
            ("02:00:00:00:00:01", {"hardware": "02:00:00:00:00:01"}),
            ("02-00-00-00-00-01", {"hardware": "02-00-00-00-00-01"}),
            ("0200.0000.0aF1", {"hardware": "02:00:00:00:0a:F1"}),
            ("0200.0000", {"client_id": "0200.0000"}),
            ("32/02:00:1", {"hardware": "32/02:00:1"}),
            ("printer", {"client_id": "printer"}),
            ("hex:00ff", {"client_id": "hex:00ff"}),
            ("192.0.2.300", {"client_id": "192.0.2.300"}),
            ("cafe", {"client_id": "cafe"}),
        ],
    )
    def test_what_is_meant(self, text, meant):
        """An address, a hardware address, else an identifier."""
        assert what(text) == meant

    @pytest_twisted.ensureDeferred
    async def test_revoke(self, ask, bind):
        """What has become of the lease is shown."""
        await bind(1)
        done = await ask("revoke", FIRST)
        assert (done.code, done.err) == (0, "")
        assert done.rows[0][:3] == [FIRST, "revoked", "02:00:00:00:00:01"]
        done = await ask("revoke", FIRST)  # again: is it silent now?
        assert (done.code, done.rows[0][1]) == (0, "revoked")
        done = await ask("--json", "revoke", "127.7.0.99")
        assert done.code == 1
        assert done.json["error"] == "NotFound"
        await bind(2)
        assert (await ask("--json", "revoke", "127.7.0.11")).json["state"] == "revoked"

    @pytest_twisted.ensureDeferred
    async def test_control_characters(self, ask, bind, site):
        """What a client calls itself moves nobody's cursor."""
        await bind(1, b"\x1b[2Jevil\x07\xc2\x9b")
        await ask(
            "reserve", "127.7.0.50", "--hardware", OWNER, "--hostname", "a\x1b[2Jb"
        )
        for command in (
            ("leases",),
            ("reservations",),
            ("find", FIRST),
            ("find", OWNER),
            ("reserve", FIRST, "--hardware", "02:00:00:00:00:0c"),
            ("--json", "leases"),
            ("--json", "reservations"),
            ("revoke", FIRST),
        ):
            done = await ask(*command)
            text = done.out + done.err
            assert text.replace("\n", "").isprintable(), command
        assert r"a\x1b[2Jb" in (await ask("reservations")).out
        assert r"\x1b[2Jevil" in (await ask("find", FIRST)).out


class TestWhere:
    """Which server is meant."""

    @pytest_twisted.ensureDeferred
    async def test_state(self, site, dhcpctl):
        """The state directory that --state names."""
        assert (await dhcpctl("--state", site.state, "status")).code == 0

    @pytest_twisted.ensureDeferred
    async def test_environment(self, site, dhcpctl, monkeypatch):
        """Or the environment; --state wins."""
        monkeypatch.setenv("DHCPTWIST_STATE", str(site.state))
        assert (await dhcpctl("status")).code == 0
        assert (await dhcpctl("--state", "nowhere", "status")).code == 3

    @pytest_twisted.ensureDeferred
    async def test_here(self, site, dhcpctl, here):
        """Or the one in the current directory."""
        (here / "dhcptwist-state").symlink_to(site.state)
        assert (await dhcpctl("status")).code == 0

    @pytest_twisted.ensureDeferred
    async def test_known_places(self, site, dhcpctl, tmp_path):
        """Or the usual one of this machine."""
        (tmp_path / "none").symlink_to(site.state)
        assert (await dhcpctl("status")).code == 0

    @pytest_twisted.ensureDeferred
    async def test_nowhere(self, dhcpctl, tmp_path):
        """No server is known: exit 3, where was looked, and what to do."""
        done = await dhcpctl("status")
        assert (done.code, done.out) == (3, "")
        assert f"in dhcptwist-state, {tmp_path / 'none'}." in done.err
        assert "--state" in done.err
        assert "--server" in done.err
        assert done.err.count("\n") == 1
        assert "in nowhere." in (await dhcpctl("--state", "nowhere", "leases")).err

    @pytest_twisted.ensureDeferred
    async def test_server(self, site, dhcpctl):
        """A server that is named, with an identity that is named."""
        where = (site.state / "control" / "endpoint").read_text().strip()
        mine = site.state / "control" / "admin.pem"
        assert (
            await dhcpctl("--server", where, "--identity", mine, "status")
        ).code == 0

    @pytest_twisted.ensureDeferred
    async def test_server_with_states_identity(self, site, dhcpctl):
        """Without one, the state's."""
        where = (site.state / "control" / "endpoint").read_text().strip()
        assert (
            await dhcpctl("--server", where, "--state", site.state, "status")
        ).code == 0

    @pytest_twisted.ensureDeferred
    async def test_server_without_identity(self, dhcpctl):
        """Without any it is said that one is needed."""
        done = await dhcpctl("--server", "127.0.0.1:1", "status")
        assert (done.code, done.out) == (3, "")
        assert "a certificate is needed: name one with --identity" in done.err

    @pytest_twisted.ensureDeferred
    async def test_unix(self, serve, dhcpctl):
        """A socket needs no identity; both by its state and by its name."""
        site = serve(listen=UNIX)
        assert (await dhcpctl("--state", site.state, "status")).code == 0
        done = await dhcpctl(
            "--server", f"unix:{site.state / 'control.sock'}", "status"
        )
        assert done.code == 0

    @pytest_twisted.ensureDeferred
    async def test_not_ours_to_read(self, dhcpctl, monkeypatch):
        """A state directory of another user: exit 3, and what to do."""

        def forbidden(path, **_):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "exists", forbidden)
        done = await dhcpctl("status")
        assert (done.code, done.out) == (3, "")
        assert "use sudo, or name --server and --identity" in done.err

    @pytest_twisted.ensureDeferred
    async def test_unreadable_endpoint(self, dhcpctl, here):
        """An endpoint that cannot be read is named."""
        (here / "dhcptwist-state" / "control" / "endpoint").mkdir(parents=True)
        done = await dhcpctl("status")
        assert done.code == 3
        assert "control/endpoint cannot be read: Is a directory" in done.err

    @pytest.mark.parametrize("server", ["dhcp:0", "dhcp:many", ":1"])
    @pytest_twisted.ensureDeferred
    async def test_nonsense(self, site, dhcpctl, server):
        """What is no server's name is wrong usage: exit 2."""
        done = await dhcpctl("--state", site.state, "--server", server, "status")
        assert (done.code, done.out) == (2, "")
        assert f"{server!r} is neither HOST:PORT nor unix:PATH" in done.err


class TestExitCodes:
    """What scripts rely on."""

    @pytest_twisted.ensureDeferred
    async def test_no_server(self, site, ask):
        """A server that has stopped: exit 3, where it was, and why not."""
        await site.service.stopService()
        done = await ask("status")
        assert (done.code, done.out) == (3, "")
        where = (site.state / "control" / "endpoint").read_text().strip()
        assert done.err == (
            f"dhcpctl: there is no server at {where}: Connection refused\n"
        )

    @pytest_twisted.ensureDeferred
    async def test_no_socket(self, dhcpctl, tmp_path):
        """The same of a socket."""
        done = await dhcpctl("--server", f"unix:{tmp_path / 'none'}", "status")
        assert done.code == 3
        assert "No such file or directory" in done.err

    @pytest_twisted.ensureDeferred
    async def test_wrong_name(self, site, ask):
        """A server by another name than its certificate's: exit 3, and what to use."""
        where = (site.state / "control" / "endpoint").read_text().strip()
        port = where.rpartition(":")[2]
        done = await ask("--server", f"127.0.0.77:{port}", "status")
        assert done.code == 3  # nobody is there, for it listens on 127.0.0.1 only
        theirs = site.state / "control" / "server.pem"
        theirs.unlink()
        await site.service.stopService()
        pem = tls._issue(site.state / "control" / "authority.pem", "x", ["a.example"])
        theirs.write_bytes(pem)
        site.service.startService()
        done = await ask("status")
        assert (done.code, done.out) == (3, "")
        assert "has a certificate for another name" in done.err
        assert done.err.count("\n") == 1

    @pytest_twisted.ensureDeferred
    async def test_not_permitted(self, site, ask):
        """What a role may not: exit 3, and who may not what."""
        identity = site.directory / "netbox.pem"
        identity.write_bytes(
            tls._issue(site.state / "control" / "authority.pem", "netbox", [])
        )
        mine = ("--identity", identity)
        assert (await ask(*mine, "status")).code == 0
        done = await ask(*mine, "leases")
        assert (done.code, done.out) == (3, "")
        assert done.err == "dhcpctl: 'netbox' may not list on this server\n"
        assert (await ask(*mine, "--json", "revoke", FIRST)).code == 3

    @pytest_twisted.ensureDeferred
    async def test_not_accepted(self, site, ask):
        """An identity of another authority: exit 3, in one sentence."""
        other = site.directory / "other"
        tls.prepare(other, [])
        pem = (other / "admin.pem").read_bytes()
        mine = pem[: pem.rindex(b"-----BEGIN CERTIFICATE")]
        ours = (site.state / "control" / "authority.pem").read_bytes()
        identity = site.directory / "mine.pem"
        identity.write_bytes(mine + ours[: ours.index(b"-----BEGIN PRIVATE")])
        done = await ask("--identity", identity, "status")
        assert (done.code, done.out) == (3, "")
        assert "does not accept this certificate" in done.err
        assert done.err.count("\n") == 1

    @pytest_twisted.ensureDeferred
    async def test_wrong_authority(self, site, ask):
        """A server of another authority: exit 3, in one sentence."""
        other = site.directory / "other"
        tls.prepare(other, [])
        done = await ask("--identity", other / "admin.pem", "status")
        assert (done.code, done.out) == (3, "")
        assert "from another authority than ours" in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize("content", [None, "garbage"])
    @pytest_twisted.ensureDeferred
    async def test_unusable_identity(self, site, ask, content):
        """A file that is none: exit 3, and which."""
        identity = site.directory / "mine.pem"
        if content is not None:
            identity.write_text(content)
        done = await ask("--identity", identity, "status")
        assert (done.code, done.out) == (3, "")
        assert str(identity) in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["explode"],
            ["find"],
            ["revoke"],
            ["--colour", "status"],
            ["leases", "extra"],
            ["probe", "--port", "0"],
            ["probe", "--port", "65536"],
            ["probe", "--port", "x"],
            ["probe", "--to", "here"],
            ["probe", "--relay", "::1"],
            ["probe", "--hardware", "pc"],
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_usage(self, dhcpctl, arguments):
        """What makes no sense is exit 2, and shows the usage."""
        done = await dhcpctl(*arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("usage: dhcpctl")

    @pytest_twisted.ensureDeferred
    async def test_help(self, dhcpctl):
        """--help and --version are exit 0; the help names commands and exit codes."""
        done = await dhcpctl("--help")
        assert (done.code, done.err) == (0, "")
        for word in (
            "probe",
            "status",
            "reserve",
            "cancel",
            "reservations",
            "leases",
            "find",
            "revoke",
            "Exit codes",
            "$DHCPTWIST_STATE",
        ):
            assert word in done.out
        assert (await dhcpctl("--version")).out == f"{__version__}\n"
        assert "Discover" in (await dhcpctl("probe", "--help")).out.title()


class TestPipe:
    """Who reads our output may go away."""

    @pytest_twisted.ensureDeferred
    async def test_gone(self, ask, monkeypatch, tmp_path):
        """It ends at once, with exit 0 and without a word."""
        with (tmp_path / "out").open("w") as out:

            class Gone:
                fileno = out.fileno

                def write(self, _):
                    raise BrokenPipeError(32, "Broken pipe")

            monkeypatch.setattr(sys, "stdout", Gone())
            done = await ask("status")
            monkeypatch.undo()
        assert (done.code, done.err) == (0, "")
        assert (tmp_path / "out").read_text() == ""


class TestProgram:
    """The program itself, and a server in another process."""

    @pytest.fixture
    def site(self, make_site):
        """A server of its own."""
        site = make_site(listen=TCP)
        site.start()
        return site

    def test_all_of_it(self, site):
        """What a person does with it in the server's directory."""
        state = ("--state", site.state)
        status = program("--json", *state, "status", cwd=site.directory)
        assert (status.code, status.err) == (0, "")
        assert status.json["port"] == site.port
        done = program(
            *state, "reserve", FIRST, "--hardware", OWNER, cwd=site.directory
        )
        assert (done.code, done.err) == (0, "")
        assert done.out == "applied: in force with the next packet\n"
        done = program(*state, "find", FIRST, cwd=site.directory)
        assert done.code == 0
        assert OWNER in done.out
        ack = site.relay().bind(site.client(0x0B))
        assert socket.inet_ntoa(ack.raw[16:20]) == FIRST
        done = program("--json", *state, "leases", cwd=site.directory)
        assert [each["hardware"] for each in done.json] == [OWNER]
        assert program(*state, "cancel", "127.7.0.77", cwd=site.directory).code == 1
        assert program(*state, "cancel", FIRST, cwd=site.directory).code == 0
        site.stop()
        done = program(*state, "status", cwd=site.directory)
        assert (done.code, done.out) == (3, "")
        assert "Connection refused" in done.err
        assert done.err.count("\n") == 1

    def test_not_accepted(self, site):
        """No traceback reaches the terminal of who is thrown out."""
        theirs = site.state / "control" / "server.pem"
        done = program(
            "--state", site.state, "--identity", theirs, "status", cwd=site.directory
        )
        assert (done.code, done.out) == (3, "")
        assert "does not accept this certificate" in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize(
        "command",
        [["leases"], ["--json", "leases"], ["status"], ["find", FIRST], ["probe"]],
    )
    def test_broken_pipe(self, site, command):
        """Whoever reads its output may have seen enough, as head has: it ends quietly."""
        site.relay().bind(site.client(1))
        reads, writes = os.pipe()
        os.close(reads)
        try:
            done = program(
                "--state", site.state, *command, cwd=site.directory, stdout=writes
            )
        finally:
            os.close(writes)
        assert (done.code, done.err) == (0, "")

    def test_usage(self, tmp_path):
        """Wrong usage, and nobody there."""
        assert program(cwd=tmp_path).code == 2
        done = program("--state", "nowhere", "status", cwd=tmp_path)
        assert (done.code, done.out) == (3, "")
        assert done.err.count("\n") == 1


class TestTables:
    """What people read."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0s"),
            (-5, "0s"),
            (0.9, "0s"),
            (1, "1s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m 1s"),
            (3599, "59m 59s"),
            (3600, "1h"),
            (3601, "1h 1s"),
            (3660, "1h 1m"),
            (86400, "1d"),
            (90061, "1d 1h"),
            (10**9, "11574d 1h"),
        ],
    )
    def test_duration(self, seconds, text):
        """Seconds in the two largest units there are."""
        assert tables.duration(seconds) == text

    @pytest.mark.parametrize(
        ("when", "text"),
        [
            (None, "never"),
            (1000.0, "in 0s"),
            (1090.5, "in 1m 30s"),
            (999.0, "1s ago"),
            (1000.0 - 7200, "2h ago"),
        ],
    )
    def test_moment(self, when, text):
        """When something ends, seen from now."""
        assert tables.moment(when, 1000.0) == text

    def test_moment_now(self, monkeypatch):
        """Now is the present unless another is given."""
        monkeypatch.setattr("time.time", lambda: 5000.0)
        assert tables.moment(5060.0) == "in 1m"

    def test_table(self):
        """Columns as wide as they must be, nothing behind the last word."""
        text = tables.table(("a", "long head"), [("wide cell", 1), ("", None)])
        assert text == "A          LONG HEAD\nwide cell  1\n-          None"
        assert tables.table(("a", "b"), []) == ""

    def test_table_is_safe(self):
        """No cell has a control character, nor a line of its own."""
        text = tables.table(("a",), [("x\x1b[2J\ny\r\u202e\u2028",)])
        head, line = text.split("\n")
        assert head == "A"
        assert line.isprintable()

    def test_pairs(self):
        """Names with their values below each other, and as safe."""
        text = tables.pairs([("a", 1), ("long name", "x\x1b\n")])
        lines = text.split("\n")
        assert lines[0] == "a:          1"
        assert len(lines) == 2
        assert lines[1].isprintable()

    @pytest.mark.parametrize(
        ("state", "ends"),
        [("bound", "never"), ("released", "-"), ("revoked", "never")],
    )
    def test_lease(self, state, ends):
        """A lease's identifier stands in for its hardware; released ends no more."""
        lease = {
            "address": FIRST,
            "state": state,
            "hardware": "",
            "client_id": "printer",
            "hostname": "",
            "since": 0.0,
            "expires": None,
            "subnet": "far",
        }
        _, row = tables.leases([lease]).splitlines()
        assert row.split() == [FIRST, state, "printer", "-", ends, "far"]
