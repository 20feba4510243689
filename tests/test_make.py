"""``storage = …``: which storage a configuration names, ours or anybody's."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path
from types import ModuleType

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dhcptwist.config import StorageConfig
from dhcptwist.interfaces import IStorage, IStorageFactory
from dhcptwist.lease import Reservation, Settings
from dhcptwist.storage import make as room
from dhcptwist.storage.make import (
    OUR_SCHEMES,
    StorageContext,
    check_storage,
    make_storage,
)
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.pool import PoolStorage
from dhcptwist.storage.sqlite import SQLiteStorage
from dhcptwist.testing import FakeClient, ip, network


ROOT = Path(__file__).resolve().parents[1]
RESERVED = (Reservation(ip("192.0.2.12"), FakeClient().hardware),)


@pytest.fixture
def context(tmp_path):
    """What a storage is made of."""
    return StorageContext(network(), RESERVED, tmp_path, Clock(), prober=object())


@implementer(IStorage)
class Fixed:
    """A storage of somebody's."""

    def __init__(self, *given):
        self.given = given


@implementer(IStorageFactory)
class Factory:
    """A factory of somebody's, who may use it as a class or as an object."""

    scheme = "fixed"
    description = "always the same"

    def make(self, argument, context):
        """See `IStorageFactory`."""
        return Fixed(argument, context)


class Members(MemoryStorage):
    """A pool that decides something itself."""


class Filed(SQLiteStorage):
    """The same in a file."""


class Much:
    """What wants more than it is given."""

    def __init__(self, context, table):
        raise AssertionError("it is not called")


class Special(PoolStorage):
    """A pool that is made in its own way."""

    def __init__(self, context):
        super().__init__(context.network)


@pytest.fixture(autouse=True)
def shop(monkeypatch):
    """A module that can be imported, with all of these."""
    module = ModuleType("shop")
    module.factory = Factory()
    module.Factory = Factory
    module.Fixed = Fixed
    module.Members = Members
    module.Filed = Filed
    module.Special = Special
    module.plain = lambda context: Fixed("plain", context)
    module.nothing = lambda _: None
    module.alone = lambda: None
    module.Much = Much
    module.number = 7
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


class TestOurs:
    """The schemes that come with the server."""

    @pytest.mark.parametrize("scheme", OUR_SCHEMES)
    def test_factories(self, scheme):
        """Each is what anybody's is, and says what it does."""
        factory = OUR_SCHEMES[scheme]
        verifyObject(IStorageFactory, factory)
        assert factory.scheme == scheme
        assert factory.description

    def test_all_of_them(self):
        """People's files depend on these."""
        assert set(OUR_SCHEMES) == {"memory", "sqlite", "http", "https", "python"}

    @pytest.mark.parametrize("text", ["memory:", " Memory : ", "memory"])
    def test_memory(self, context, text):
        """A pool with what the context has."""
        storage = make_storage(text, context)
        assert type(storage) is MemoryStorage
        assert storage.network is context.network
        assert storage.prober is context.prober
        assert storage.reservation_of(ip("192.0.2.12"), None) == [*RESERVED]
        assert storage.members is None

    def test_memory_takes_nothing(self, context):
        """It has no file, and whoever names one believes that it has."""
        with pytest.raises(ValueError, match="memory: takes nothing behind its colon"):
            make_storage("memory:leases", context)

    def test_sqlite(self, context):
        """The same in a file of the state directory; the journal's time is passed on."""
        storage = make_storage("sqlite: a/b.sqlite ", context)
        assert type(storage) is SQLiteStorage
        assert storage.network is context.network
        assert storage.prober is context.prober
        assert storage.reservation_of(ip("192.0.2.12"), None) == [*RESERVED]
        assert storage.journal.figures()["file"] == str(context.state / "a/b.sqlite")
        assert storage.members is None

    @pytest.mark.parametrize("history", [60.0, inf])
    def test_history(self, context, monkeypatch, history):
        """How long the journal is kept is what [storage] says."""
        given = []
        monkeypatch.setattr(
            SQLiteStorage, "__init__", lambda _, *arguments: given.extend(arguments)
        )
        around = StorageConfig(history=history)
        make_storage("sqlite:a", StorageContext(*_three(context), None, None, around))
        assert given[-1] == history

    def test_sqlite_needs_a_file(self, context):
        """No name, no file."""
        with pytest.raises(ValueError, match=r"needs a file, as in sqlite:leases"):
            make_storage("sqlite:", context)

    @pytest.mark.parametrize("text", ["memory:", "sqlite:a"])
    def test_members(self, context, monkeypatch, text):
        """A web service that says who clients are is asked by the pool."""
        asked = []

        def make_registry(url, given):
            asked.append((url, given))
            return asked

        web(monkeypatch, make_registry=make_registry)
        around = StorageConfig(reservations="http://a/who")
        context = StorageContext(*_three(context), context.reactor, None, around)
        assert make_storage(text, context).members is asked
        assert asked == [("http://a/who", context)]

    @pytest.mark.parametrize("url", ["http://a:8/b", "https://a/b?c=d:e"])
    def test_web(self, context, monkeypatch, url):
        """A web service that decides everything is given its URL as it stands."""
        web(monkeypatch, make_http=Fixed)
        storage = make_storage(url, context)
        assert type(storage) is Fixed
        assert storage.given == (url, context)


def _three(context):
    """The first three things of a context, for another one."""
    return context.network, context.reservations, context.state


class TestCheck:
    """What can be seen of ``storage = …`` before there is a storage."""

    @pytest.mark.parametrize(
        "text",
        [
            "memory:",
            "sqlite:leases.sqlite",
            "http://localhost:1/",
            "HTTPS://localhost:1/",
            "python:shop:factory",
            "python:shop:Factory:words",
            "python: shop : plain",
            "python:shop:Much",
        ],
    )
    def test_good(self, text, monkeypatch):
        """None is made, and no plug-in is looked for."""
        monkeypatch.setattr(room, "_plugged_in", lambda: pytest.fail("looked"))
        check_storage(text)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("sqllite:x", "there is no storage 'sqllite'"),
            ("", "there is no storage"),
            ("python:", "python: needs package.module:name"),
            ("python:no_such_module:make", "No module named 'no_such_module'"),
            ("python:shop:lost", "has no attribute 'lost'"),
            ("python:shop:number", "a int: neither a function or class"),
            ("python:shop:Sub", "has no attribute 'Sub'"),
        ],
    )
    def test_bad(self, text, reason):
        """The same words as at the start."""
        with pytest.raises(ValueError, match=reason):
            check_storage(text)

    def test_plugged_in(self, monkeypatch):
        """A stranger's scheme is one, too."""
        monkeypatch.setattr(room, "_plugged_in", lambda: {"shop": Factory()})
        check_storage("shop:x")


def web(monkeypatch, **names):
    """Put something in the place of the storage that asks a web service."""
    module = ModuleType("http")
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "dhcptwist.storage.http", module)


class TestPython:
    """``python:package.module:name``."""

    def test_function(self, context):
        """It is called with the context."""
        storage = make_storage("python:shop:plain", context)
        assert storage.given == ("plain", context)

    def test_class(self, context):
        """So is a class that is a storage."""
        assert make_storage("python: shop : Fixed ", context).given == (context,)

    @pytest.mark.parametrize("name", ["factory", "Factory"])
    @pytest.mark.parametrize("argument", ["", "a:b"])
    def test_factory(self, context, name, argument):
        """An `IStorageFactory`, or its class, gets what stands behind a colon."""
        text = f"python:shop:{name}" + (f":{argument}" if argument else "")
        assert make_storage(text, context).given == (argument, context)

    def test_pool(self, context):
        """A pool that only decides otherwise is made as ours is."""
        storage = make_storage("python:shop:Members", context)
        assert type(storage) is Members
        assert storage.network is context.network
        assert storage.reservation_of(ip("192.0.2.12"), None) == [*RESERVED]

    def test_pool_in_a_file(self, context):
        """Likewise one in a file, which has to be named."""
        storage = make_storage("python:shop:Filed:a.sqlite", context)
        assert type(storage) is Filed
        assert storage.journal.figures()["file"] == str(context.state / "a.sqlite")

    def test_pool_of_its_own_kind(self, context):
        """One that has its own way of being made is called as any class is."""
        assert make_storage("python:shop:Special", context).network is context.network

    @pytest.mark.parametrize(
        ("argument", "reason"),
        [
            ("", "python: needs package.module:name"),
            ("shop", "python: needs package.module:name"),
            ("shop:", "python: needs package.module:name"),
            (":plain", "python: needs package.module:name"),
            (".shop:plain", "python: needs package.module:name"),
            ("no_such_module:make", "python:no_such_module:make: No module named"),
            ("no_such_module:make", "looked for where Python looks: PYTHONPATH="),
            (
                "/srv/shop.py:make",
                r"/srv/shop\.py:make: a module's name is wanted, not",
            ),
            ("shop.py:make", r"shop\.py:make: a module's name is wanted, not its file"),
            ("shop:alone", "is called with the context alone, and cannot be: too many"),
            ("shop:Much", "shop:Much is called with .* cannot be: missing .*'table'"),
            ("shop:lost", "python:shop:lost: module 'shop' has no attribute 'lost'"),
            (
                "shop:plain:x",
                "python:shop:plain is no IStorageFactory and takes no 'x'",
            ),
            ("shop:number", "python:shop:number is a int: neither a function or class"),
            (
                "shop:nothing",
                r"made a NoneType, which does not provide .*IStorage .*@implementer",
            ),
            ("shop:Members:x", "python:shop:Members: takes nothing behind its colon"),
            ("shop:Filed", "needs a file, as in python:shop:Filed:leases.sqlite"),
        ],
    )
    def test_mistakes(self, context, argument, reason):
        """Each says what is wrong with the words, and where."""
        with pytest.raises(ValueError, match=reason):
            make_storage(f"python:{argument}", context)

    def test_what_does_not_say_what_it_takes(self, context, shop):
        """It is called, and its own error is shown."""
        shop.builtin = type
        with pytest.raises(ValueError, match="made a type, which does not provide"):
            make_storage("python:shop:builtin", context)

    def test_bad_syntax(self, context, tmp_path, monkeypatch):
        """A module that is no Python is a sentence with its line."""
        (tmp_path / "crooked.py").write_text("x = 1\nif\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ValueError, match=r"crooked:make: .*line 2"):
            make_storage("python:crooked:make", context)

    def test_its_own_errors_are_not_ours(self, context, shop):
        """What a factory raises is shown as it is: its author wants the traceback."""

        def broken(_):
            raise RuntimeError("the database is locked")

        shop.broken = broken
        with pytest.raises(RuntimeError, match="the database is locked"):
            make_storage("python:shop:broken", context)


class TestPlugIns:
    """Storages of other packages."""

    @pytest.fixture
    def plugged(self, monkeypatch):
        """A function that says which plug-ins there are."""

        def plug(*factories):
            monkeypatch.setattr(room, "getPlugins", lambda *_: iter(factories))

        return plug

    def test_found(self, context, plugged):
        """By its scheme; it gets what stands behind the colon."""
        plugged(Factory())
        assert make_storage("fixed: a:b ", context).given == ("a:b", context)

    def test_ours_first(self, context, plugged):
        """Nobody's plug-in takes the place of one of ours."""
        other = Factory()
        other.scheme = "memory"
        plugged(other)
        assert type(make_storage("memory:", context)) is MemoryStorage

    def test_ours_do_not_look(self, context, monkeypatch):
        """A server that uses none loads none, and leaves no cache behind."""

        def forbidden(*_):
            raise AssertionError("nobody asked for a plug-in")

        monkeypatch.setattr(room, "getPlugins", forbidden)
        for text in ("memory:", "sqlite:a", "python:shop:plain"):
            assert IStorage.providedBy(make_storage(text, context))

    def test_unknown(self, context, plugged):
        """The reason lists all there are, a line each."""
        plugged(Factory())
        with pytest.raises(ValueError, match="csv") as told:
            make_storage("csv:leases.csv", context)
        first, *rest = str(told.value).splitlines()
        assert first == (
            "storage = csv:leases.csv: there is no storage 'csv'; there are"
        )
        listed = [line.split(None, 1) for line in rest[:-1]]
        assert ["fixed:", "always the same"] in listed
        for scheme, factory in OUR_SCHEMES.items():
            assert [f"{scheme}:", factory.description] in listed
        assert [name for name, _ in listed] == sorted(name for name, _ in listed)
        assert len(listed) == len(OUR_SCHEMES) + 1
        assert rest[-1].startswith("and those of plug-ins that can be imported")

    def test_made_nothing(self, context, plugged):
        """What is no storage is none, whoever made it."""
        other = Factory()
        other.make = lambda *_: Settings()
        plugged(other)
        with pytest.raises(ValueError, match="fixed: made a Settings, which does not"):
            make_storage("fixed:", context)

    def test_refuses(self, context, plugged):
        """A plug-in says itself what it wants."""

        def make(*_):
            raise ValueError("fixed: wants a name")

        other = Factory()
        other.make = make
        plugged(other)
        with pytest.raises(ValueError, match=r"^fixed: wants a name$"):
            make_storage("fixed:", context)

    def test_broken_ones_are_passed_over(self, context, plugged, logged_failures):
        """A stranger's plug-in that is of no use costs a line in the log."""

        @implementer(IStorageFactory)
        class Nameless:
            def make(self, argument, context):
                raise AssertionError("it has no scheme")

        @implementer(IStorageFactory)
        class Exploding(Nameless):
            description = "x"

            @property
            def scheme(self):
                raise OSError(5, "Input/output error")

        @implementer(IStorageFactory)
        class Idle:
            scheme = "idle"
            description = "makes nothing"

        numbered = Factory()
        numbered.scheme = 7
        plugged(Nameless(), Exploding(), Idle(), numbered, Factory())
        assert make_storage("fixed:", context).given == ("", context)
        assert len(logged_failures) == 4
        with pytest.raises(ValueError, match="there is no storage 'idle'"):
            make_storage("idle:", context)
        logged_failures.clear()

    def test_two_of_one_scheme(self, context, plugged):
        """The first is used, not a matter of chance."""
        one, two = Factory(), Factory()
        two.make = lambda *_: Fixed("two")
        plugged(one, two)
        assert make_storage("fixed:", context).given == ("", context)


PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer

from dhcptwist.interfaces import IStorageFactory
from dhcptwist.storage.memory import MemoryStorage


@implementer(IPlugin, IStorageFactory)
class Ours:
    scheme = "shop"
    description = "the shop's database"

    def make(self, argument, context):
        print("made of", argument)
        return MemoryStorage(context.network)


shop = Ours()
"""

ASKS = """
import sys
from twisted.logger import globalLogBeginner, textFileLogObserver
globalLogBeginner.beginLoggingTo(
    [textFileLogObserver(sys.stderr)], redirectStandardIO=False
)
from pathlib import Path
from dhcptwist.storage.make import StorageContext, make_storage
from dhcptwist.testing import network
try:
    print(make_storage(sys.argv[1], StorageContext(network(), (), Path(), None)))
except ValueError as error:
    print(error)
"""


class TestInstalled:
    """A plug-in as another package brings it: a folder on the way of imports."""

    @pytest.fixture
    def folder(self, tmp_path):
        """Where the plug-ins of a distribution lie."""
        folder = tmp_path / "site" / "dhcptwist" / "plugins"
        folder.mkdir(parents=True)
        return folder

    def ask(self, folder, text):
        """What a new process says to a storage's name, and what it logs."""
        site = folder.parents[1]
        done = subprocess.run(
            [sys.executable, "-c", ASKS, text],
            cwd=site,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def test_found(self, folder):
        """Nothing has to be registered anywhere."""
        (folder / "the_shop.py").write_text(PLUGIN)
        said, logged = self.ask(folder, "shop:a:b")
        assert "made of a:b" in said
        assert "MemoryStorage object" in said
        assert "Traceback" not in logged

    def test_listed(self, folder):
        """It stands beside ours where a scheme is not found."""
        (folder / "the_shop.py").write_text(PLUGIN)
        said, _ = self.ask(folder, "csv:")
        assert "shop:      the shop's database" in said
        assert "sqlite:" in said

    @pytest.mark.parametrize(
        "broken", ["raise RuntimeError('no licence')", "import no_such_thing", "if"]
    )
    def test_broken_neighbour(self, folder, broken):
        """A module that cannot be imported stops nobody, and the log says why."""
        (folder / "the_shop.py").write_text(PLUGIN)
        (folder / "broken.py").write_text(broken + "\n")
        said, logged = self.ask(folder, "shop:")
        assert "MemoryStorage object" in said
        assert "broken" in logged
        said, logged = self.ask(folder, "csv:")
        assert "the log tells which cannot" in said

    def test_nothing_to_do_with_it(self, folder):
        """A server with a storage of ours does not even import it."""
        (folder / "broken.py").write_text("raise RuntimeError('no licence')\n")
        said, logged = self.ask(folder, "memory:")
        assert "MemoryStorage object" in said
        assert "licence" not in logged
        assert not (folder / "dropin.cache").exists()
