"""The reference of the control channel says what the answering code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.python.failure import Failure

from dhcptwist.config import ConfigError, parse
from dhcptwist.config.ini import Problem
from dhcptwist.config.model import VERBS
from dhcptwist.control import blocking, commands, tls
from dhcptwist.control.answering import ControlServer
from dhcptwist.control.caller import Caller
from dhcptwist.control.fields import Command, Documented
from dhcptwist.control.server import Answers
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import network


ROOT = Path(__file__).resolve().parents[1]
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
PLACE, TAKEN = "192.0.2.10", "192.0.2.11"
COMMANDS = [getattr(commands, name) for name in commands.__all__]
ASKED = [command for command in COMMANDS if command is not commands.Events]

#: What a command needs so that it comes to the question of who asks, or beyond.
GIVEN = {
    "RevokeLease": {"address": PLACE},
    "FindLease": {"address": PLACE},
    "ImportLeases": {"leases": []},
    "LeaseHistory": {"address": PLACE},
    "NewIdentity": {"name": "x"},
    "RevokeIdentity": {"name": "x"},
    "Reserve": {"address": PLACE, "hardware": MAC},
    "CancelReservation": {"address": PLACE},
    "ChangeReservations": {
        "changes": [
            {"reserve": {"address": PLACE, "hardware": MAC}},
            {"cancel": {"address": PLACE}},
        ],
        "dry_run": True,
    },
    "StageReservations": {"reservations": []},
}


class World:
    """A server without a wire; what it is asked goes through boxes all the same."""

    def __init__(self, verbs=()):
        self.clock = Clock()
        roles = ()
        if verbs:
            text = f"[control]\nrole netbox = {', '.join(sorted(verbs))}\n"
            roles = parse(text).control.roles
        self.storage = MemoryStorage(network())
        self.server = ControlServer(
            self.storage,
            network(),
            lambda: 1000.0,
            dict,
            roles,
            reactor=self.clock,
            reload=_no_good,
        )

    def caller(self, name="netbox"):
        """Its commands."""
        return Answers(self.server, lambda: Caller(name, self.server.roles.get(name)))

    def ask(self, who, command, **given):
        """Give an answer's fields, or an error's code."""
        box = command.makeArguments(given, None)
        box[amp.ASK] = b"1"
        came = []
        who.locateResponder(command.commandName)(box).addBoth(came.append)
        while not came:
            self.clock.advance(0)
        if isinstance(came[0], Failure):
            return came[0].value.errorCode
        return command.parseResponse(came[0], None)


async def _no_good(_name, _plan):
    raise ConfigError([Problem(1, "server", "port", "is no number")])


def is_refused(answer):
    """Whether an answer says that the caller may not do it, or a part of it."""
    if isinstance(answer, bytes):
        return answer == b"NOT_PERMITTED"
    results = answer.get("results", ())
    return any(each.get("error") == "NOT_PERMITTED" for each in results)


def test_page_is_that_of_the_code():
    """The reference is made by the script beside it, and up to date."""
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_control.py"],
        capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    ).stdout.decode()
    assert made == (ROOT / "docs" / "control-reference.md").read_text("utf-8")


def test_links_within_the_page():
    """Whatever names a command or an error leads to it."""
    page = (ROOT / "docs" / "control-reference.md").read_text("utf-8")
    heads = {head.lower() for head in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    targets = set(re.findall(r"\]\(#([^)]+)\)", page))
    assert "reserve" in targets
    assert targets <= heads


def test_the_box_that_is_shown():
    """It is what AMP makes of it."""
    page = (ROOT / "docs" / "control-reference.md").read_text("utf-8")
    (shown,) = re.findall(r'^    (00 04 "_ask".*)$', page, re.MULTILINE)
    words = [
        word[1:-1].encode() if word[0] == '"' else bytes.fromhex(word)
        for word in shown.split()
    ]
    box = amp.AmpBox({b"_ask": b"1", b"_command": b"Status"})
    assert b"".join(words) == box.serialize()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.__name__)
def test_every_field_says_what_it_is(command):
    """None is without a meaning, for the reference is made of it."""
    for name, kind in (*command.arguments, *command.response):
        assert isinstance(kind, Documented), name
        assert kind.doc, name


def test_every_command_is_in_the_page():
    """None is forgotten, neither in the list nor by who answers."""
    there = {
        each.__name__
        for each in vars(commands).values()
        if isinstance(each, type)
        and issubclass(each, amp.Command)
        and each is not Command
    }
    assert there == set(commands.__all__)


@pytest.mark.parametrize("command", ASKED, ids=lambda each: each.__name__)
def test_verbs_are_those_that_are_asked_for(command):
    """A role without one of them may not; one that has them, and no other, may."""
    given = GIVEN.get(command.__name__, {})
    if command.verbs == ("admin",):
        world = World(VERBS)
        assert is_refused(world.ask(world.caller(), command, **given))
        assert not is_refused(world.ask(world.caller("admin"), command, **given))
        return
    assert command.verbs
    for verb in command.verbs:
        world = World(VERBS - {verb})
        assert is_refused(world.ask(world.caller(), command, **given)), verb
    world = World(command.verbs)
    assert not is_refused(world.ask(world.caller(), command, **given))


def test_flags_are_true_or_false():
    """Anything else is an error that names it, and nothing that has to be logged."""
    world = World()
    who = world.caller("admin")
    box = amp.AmpBox({b"plan": b"yes", amp.ASK: b"1"})
    came = []
    who.locateResponder(b"Reload")(box).addErrback(came.append)
    assert came[0].value.errorCode == b"INVALID_REQUEST"
    assert "plan: must be True or False" in came[0].value.description


class TestFails:
    """What a command may fail with, beside what any may."""

    @pytest.fixture
    def world(self, tmp_path):
        """One with identities."""
        world = World()
        directory = tmp_path / "control"
        tls.prepare(directory, [])
        authority = tls.read_certificate(directory / "authority.pem")
        world.server.identities.open(directory, authority, has_key=True)
        return world

    CASES = (
        ("ListLeases", "NotFound", {"subnet": "nowhere"}),
        ("RevokeLease", "NotFound", {"address": PLACE}),
        ("RevokeIdentity", "NotFound", {"name": "nobody"}),
        ("Reload", "InvalidConfiguration", {}),
        ("Reserve", "NotFound", {"address": PLACE, "for_holder": "hardware"}),
        (
            "Reserve",
            "RevisionChanged",
            {"address": PLACE, "hardware": MAC, "expect_revision": "x"},
        ),
        ("Reserve", "ReservedByOther", {"address": "192.0.2.20", "hardware": MAC}),
        (
            "Reserve",
            "AddressInUse",
            {"address": TAKEN, "hardware": MAC, "on_conflict": "refuse"},
        ),
        ("CancelReservation", "NotFound", {"address": PLACE}),
        (
            "CancelReservation",
            "RevisionChanged",
            {"address": PLACE, "expect_revision": "x"},
        ),
        (
            "CancelReservation",
            "ReservedByOther",
            {"address": "192.0.2.20", "source": "mine"},
        ),
        (
            "ChangeReservations",
            "RevisionChanged",
            {"changes": [{"cancel": {"address": PLACE}}], "expect_revision": "x"},
        ),
        ("BeginReplace", "RevisionChanged", {"expect_revision": "x"}),
        ("CommitReplace", "RevisionChanged", {}),
    )

    @pytest.mark.parametrize(("name", "error", "given"), CASES)
    def test_it_does(self, world, name, error, given):
        """Each of them can come."""
        who, command = world.caller("admin"), getattr(commands, name)
        world.ask(
            who, commands.Reserve, address="192.0.2.20", hardware=OTHER, source="dns"
        )
        lease = {
            "address": TAKEN,
            "state": "bound",
            "hardware": "02:00:00:00:00:03",
            "since": 900.0,
            "expires": 2000.0,
        }
        taken = world.ask(who, commands.ImportLeases, leases=[lease])
        assert taken["verdicts"] == ["taken"]
        if name == "CommitReplace":
            world.ask(who, commands.BeginReplace)
            world.ask(who, commands.Reserve, address=PLACE, hardware=MAC)
        code = world.ask(who, command, **given)
        (kind,) = [each for each in command.fails if each.__name__ == error]
        assert code == kind.code

    def test_all_of_them_are_tried(self):
        """Whatever a command says of itself is tried above."""
        said = {
            (each.__name__, error.__name__) for each in ASKED for error in each.fails
        }
        assert said == {(name, error) for name, error, _ in self.CASES}


class TestPlainClient:
    """The example in nothing but Python's own modules."""

    PROGRAM = ROOT / "docs" / "examples" / "plain_client.py"

    def run(self, *words):
        """Give its lines; nothing that is installed can be imported."""
        done = subprocess.run(
            [sys.executable, "-I", "-S", self.PROGRAM, *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    @pytest.mark.parametrize(
        "listen", ["tcp:0:interface=127.0.0.1", "unix:c.sock:mode=600"]
    )
    def test_it_speaks(self, make_site, listen):
        """It reserves, hears why not, and lists; over TLS as over a socket's file."""
        site = make_site(listen=listen)
        site.ini = site.ini.replace("127.7.0.0/16", "192.0.0.0/16").replace(
            "127.7.0", "192.0.2"
        )
        site.start()
        where = (site.state / "control" / "endpoint").read_text("utf-8").strip()
        said = self.run(where, str(site.state / "control" / "admin.pem"))
        mac = "00:11:22:33:44:66"
        assert said[0] == "applied"
        assert said[1].startswith("RESERVED_BY_OTHER 192.0.2.60")
        assert said[2:] == [f"192.0.2.60 {mac} admin"]

    def test_pages(self, make_site):
        """It reads all pages of a list."""
        site = make_site(listen="tcp:0:interface=127.0.0.1")
        site.ini = site.ini.replace("127.7.0.0/16", "192.0.0.0/16").replace(
            "127.7.0", "192.0.2"
        )
        site.start()
        where = (site.state / "control" / "endpoint").read_text("utf-8").strip()
        identity = site.state / "control" / "admin.pem"
        rows = [
            {
                "address": f"192.0.{n >> 8 | 8}.{n & 255}",
                "hardware": f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}",
            }
            for n in range(1, 1202)
        ]
        with blocking.connect(where, identity) as client:
            assert client.replace(rows, source="many").added == len(rows)
        said = self.run(where, str(identity))
        assert len(said) == 2 + len(rows) + 1
        assert len(set(said)) == len(said)

    def test_what_is_not_known(self, make_site, monkeypatch):
        """A command is an error with a text, an argument is passed over."""
        monkeypatch.syspath_prepend(str(self.PROGRAM.parent))
        import plain_client

        site = make_site(listen="unix:c.sock:mode=600")
        site.start()
        line, stream = connection = plain_client.connect(f"unix:{site.state}/c.sock")
        with line, stream:
            with pytest.raises(RuntimeError) as caught:
                plain_client.ask(connection, "Fly")
            code, details = caught.value.args
            assert code == "UNHANDLED"
            assert "no command" in details["message"]
            assert "status" in plain_client.ask(connection, "Status", higher="yes")
            with pytest.raises(RuntimeError, match="NOT_FOUND"):
                plain_client.ask(connection, "RevokeLease", address="127.7.0.10")
