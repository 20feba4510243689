"""``twistd dhcp`` as people run it: its words, its exit status, its start and its end."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest
import pytest_twisted
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python import usage

from dhcptwist import tap
from dhcptwist.config import parse
from dhcptwist.service import DHCPService
from dhcptwist.wire import MessageType


ROOT = Path(__file__).resolve().parents[1]

# A storage of somebody else, named in the configuration.
STRANGE = """
from twisted.internet import reactor
from twisted.internet.task import deferLater
from zope.interface import implementer
from dhcptwist.interfaces import IStorage, IStorageService
from dhcptwist.storage.sqlite_schema import StorageUnusable

@implementer(IStorage, IStorageService)
class Late:
    def __init__(self, context):
        pass
    async def start(self, when):
        await deferLater(reactor, 0.01)
        raise StorageUnusable("the members' database is gone")
    def stop(self):
        pass
    def offer(self, client, when):
        pass
    commit = release = decline = configure = offer

def wrong(context):
    return 42
"""

# A server whose wall clock is set back once it runs.
SET_BACK = """
import sys, time
real, behind = time.time, 0
time.time = lambda: real() - behind
from twisted.internet import reactor
from twisted.scripts import twistd
from dhcptwist import heartbeat

def set_back():
    global behind
    behind = 3600

heartbeat.CLOCK_WATCH = 0.2
reactor.callWhenRunning(reactor.callLater, 0.5, set_back)
sys.argv = ["twistd", "-n", "--pidfile=", "dhcp", "--config", sys.argv[1]]
twistd.run()
"""


def twistd(*arguments, program="twistd", cwd=None):
    """Run it until it ends."""
    options = ["--nodaemon", "--pidfile="] if program == "twistd" else []
    return subprocess.run(
        [Path(sys.executable).with_name(program), *options, "dhcp", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(cwd)])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def run():
    """Run ``twistd dhcp`` on a site's configuration."""

    def run(site, *arguments, program="twistd"):
        path = site.directory / "dhcp.ini"
        path.write_text(site.ini, encoding="utf-8")
        (site.directory / "strange.py").write_text(STRANGE, encoding="utf-8")
        return twistd("--config", path, *arguments, program=program, cwd=site.directory)

    return run


def assert_one_sentence(done, *words):
    """It ended in vain, and said why in one line for people."""
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if "dhcptwist cannot start:" in line]
    assert len(lines) == 1, told
    for word in words:
        assert word in lines[0]


class TestCheck:
    """``--check`` tells every mistake, and starts nothing."""

    def test_good(self, make_site, run):
        """No mistakes: exit status 0, and nothing was made or bound."""
        site = make_site()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", site.port))
            done = run(site, "--check")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{site.directory / 'dhcp.ini'}: no mistakes\n"
        assert not site.state.exists()

    @pytest.mark.parametrize("arguments", [("--check",), ()])
    def test_bad(self, make_site, run, arguments):
        """All mistakes at once, each with its place; checked or started, status 1."""
        site = make_site()
        site.ini = site.ini.replace("127.7.0.10 -", "127.8.0.10 -")
        site.ini += "speed = fast\nlease-time = soon\n[printer]\n"
        done = run(site, *arguments)
        assert done.returncode == 1
        told = done.stdout + done.stderr
        assert "Traceback" not in told
        assert f"{site.directory / 'dhcp.ini'}: 4 mistakes; nothing starts" in told
        assert ("Usage:" in told) is not bool(arguments)
        for place in (
            "[subnet far] pools: '127.8.0.10 - 127.7.0.250'",
            "[subnet far] speed: there is no such key",
            "[subnet far] lease-time: is set twice",
            "[printer] there is no such section",
        ):
            assert place in told
        assert told.count("  line ") == 4
        assert not site.state.exists()

    def test_storage(self, make_site, run):
        """A storage that cannot be is a mistake as well."""
        site = make_site(storage="sqllite:leases.sqlite")
        done = run(site, "--check")
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"{site.directory / 'dhcp.ini'}: storage = sqllite:leases.sqlite: there is"
            " no storage 'sqllite'; there are\n"
        )
        assert done.stderr.count("\n") < 10

    def test_missing(self, tmp_path):
        """A file that is not there is named."""
        done = twistd("--config", tmp_path / "no.ini")
        told = done.stdout + done.stderr
        assert done.returncode == 1
        assert f"{tmp_path / 'no.ini'}: 1 mistake" in told
        assert "cannot be read: No such file or directory" in told
        assert "Traceback" not in told

    def test_not_text(self, tmp_path):
        """A file of another kind is no traceback."""
        path = tmp_path / "dhcp.ini"
        path.write_bytes(b"\x7fELF\xff\xfe")
        done = twistd("--config", path, "--check")
        assert done.returncode == 1
        assert "cannot be read" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    def test_unknown_option(self):
        """What there is no such option for."""
        done = twistd("--cheque")
        assert done.returncode == 1
        assert "--cheque" in done.stdout + done.stderr


class TestExample:
    """``--example-config`` is where people begin."""

    def test_is_a_configuration(self, tmp_path):
        """What it prints has a subnet, and is accepted as it stands."""
        done = twistd("--example-config")
        assert (done.returncode, done.stderr) == (0, "")
        assert parse(done.stdout).subnets
        path = tmp_path / "dhcp.ini"
        path.write_text(done.stdout, encoding="utf-8")
        checked = twistd("--config", path, "--check")
        assert checked.returncode == 0, checked.stdout + checked.stderr


class TestFails:
    """A start that fails is one sentence and an exit status."""

    def test_port_in_use(self, make_site, run):
        """Another server is there."""
        site = make_site()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", site.port))
            done = run(site)
        assert_one_sentence(done, f"port {site.port} on lo", "another program has it")

    def test_no_interface(self, make_site, run):
        """A name that was mistyped."""
        site = make_site()
        site.ini = site.ini.replace("interfaces = lo", "interfaces = l0")
        assert_one_sentence(run(site), "there is no interface l0")

    @pytest.mark.parametrize(
        ("storage", "why"),
        [
            ("csv:leases", "there is no storage 'csv'"),
            ("memory:much", "takes nothing behind its colon"),
            ("python:nowhere:make", "No module named 'nowhere'"),
            ("python:strange:make", "no attribute 'make'"),
            ("python:strange:wrong", "made a int, which does not provide"),
        ],
    )
    def test_no_storage(self, make_site, run, storage, why):
        """Storages that cannot be made."""
        assert_one_sentence(run(make_site(storage=storage)), why)

    def test_storage_unusable(self, make_site, run):
        """A file that is somebody else's."""
        site = make_site()
        site.state.mkdir()
        (site.state / "leases.sqlite").write_text("by hand, for years\n" * 100)
        assert_one_sentence(run(site), "leases.sqlite is no SQLite file")

    def test_storage_fails_later(self, make_site, run):
        """A storage that needs a while to find out ends the process no less."""
        site = make_site(storage="python:strange:Late")
        assert_one_sentence(run(site), "the members' database is gone")

    def test_control_in_use(self, make_site, run):
        """The control channel's port is another program's."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            site = make_site(listen=f"tcp:{port}:interface=127.0.0.1")
            assert_one_sentence(run(site), str(port))

    def test_with_twist(self, make_site, run):
        """The other runner says it no less."""
        site = make_site()
        site.ini = site.ini.replace("interfaces = lo", "interfaces = l0")
        assert_one_sentence(run(site, program="twist"), "there is no interface l0")


class TestRuns:
    """A start that does not fail."""

    def test_whole_life(self, make_site):
        """It says what it serves, serves, and ends when it is told to."""
        site = make_site()
        site.start()
        served = f"dhcptwist is serving 1 subnets on lo, port {site.port}"
        assert served in site.log
        ack = site.relay().bind(site.client(1))
        assert ack.type == MessageType.ACK
        # Once all has been closed, twistd dies of the signal that ended it.
        assert site.stop() in {0, -signal.SIGTERM}
        assert "Server Shut Down" in site.log
        assert "Traceback" not in site.log

    def test_the_clock_is_set_back(self, make_site):
        """By an hour: that is noticed now, and not an hour later (invariant 8)."""
        site = make_site()
        path = site.directory / "dhcp.ini"
        path.write_text(site.ini, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-c", SET_BACK, path],
            env=site.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        timer = Timer(20, process.terminate)
        timer.start()
        try:
            told = "The wall clock was set by -3600 seconds"
            assert any(told in line for line in process.stdout)
        finally:
            timer.cancel()
            process.terminate()
            process.communicate(timeout=20)

    def test_in_use_by_another_server(self, make_site, run):
        """Two servers on one state directory would give an address twice."""
        site, second = make_site(), make_site()
        site.start()
        second.ini = second.ini.replace(str(second.state), str(site.state))
        assert_one_sentence(run(second), "in use by another server")


class TestInProcess:
    """The same without a process around it."""

    @pytest.fixture
    def path(self, make_site, monkeypatch):
        """A site's configuration file."""
        monkeypatch.setattr(reactor, "seconds", reactor.seconds)
        site = make_site()
        path = site.directory / "dhcp.ini"
        path.write_text(site.ini, encoding="utf-8")
        return path

    @staticmethod
    def _service(path):
        options = tap.Options()
        options.parseOptions(["--config", str(path)])
        return tap.makeService(options)

    def test_makes_the_service(self, path):
        """The command line's service has the file's configuration; nothing is open."""
        service = self._service(path)
        assert isinstance(service, DHCPService)
        assert IService.providedBy(service)
        assert service.config.port == parse(path.read_text("utf-8")).port
        assert not service.running

    @pytest_twisted.ensureDeferred
    async def test_starts(self, path):
        """It serves; what there is by then is left alone by the garbage collector."""
        service = self._service(path)
        threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
        service.privilegedStartService()
        service.startService()
        try:
            assert service.running
            assert gc.get_freeze_count() > frozen
            assert gc.get_threshold() > threshold
        finally:
            gc.set_threshold(*threshold)
            await service.stopService()

    @pytest.mark.parametrize("step", ["privilegedStartService", "startService"])
    def test_cannot_start(self, path, step):
        """The process is told to end, with one sentence."""
        service = self._service(path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", service.config.port))
            with pytest.raises(SystemExit, match=r"^dhcptwist cannot start: port "):
                getattr(service, step)()

    def test_check(self, path, capsys):
        """It ends well, before there is a service."""
        with pytest.raises(SystemExit) as ends:
            tap.Options().parseOptions(["--check", "--config", str(path)])
        assert ends.value.code == 0
        assert capsys.readouterr().out == f"{path}: no mistakes\n"

    def test_mistakes(self, path):
        """Mistakes are wrong usage, which every runner shows in its way."""
        path.write_text("[server]\nport = none\n", encoding="utf-8")
        with pytest.raises(usage.UsageError, match=r"line 2: \[server\] port: 'none'"):
            self._service(path)

    def test_example(self, capsys):
        """No configuration is needed to be shown one."""
        with pytest.raises(SystemExit) as ends:
            tap.Options().parseOptions(["--example-config", "--config", "/no/where"])
        assert ends.value.code == 0
        assert parse(capsys.readouterr().out).subnets
