"""From the words behind ``storage =`` to a storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.plugin import getPlugins
from zope.interface import implementer
from zope.interface.verify import verifyObject

from .. import plugins
from ..config import StorageConfig
from ..interfaces import IProber, IStorage, IStorageFactory
from ..lease import Reservation, Settings
from ..network import Network
from .memory import MemoryStorage
from .pool import PoolStorage
from .sqlite import SQLiteStorage


_log = Logger()


@dataclass(frozen=True, slots=True)
class StorageContext:
    """What a storage may need to be made.

    Attributes:
        network: The subnets.
        reservations: Those of the configuration.
        state: The state directory; relative paths begin there.
        reactor: The reactor.
        prober: Finds out whether an address is used; None if nothing can here.
        around: The ``[storage]`` section.
        classes: Settings by the name of their ``[class NAME]``.
    """

    network: Network
    reservations: tuple[Reservation, ...]
    state: Path
    reactor: Any
    prober: IProber | None = None
    around: StorageConfig = field(default_factory=StorageConfig)
    classes: Mapping[str, Settings] = field(default_factory=dict)


@implementer(IStorageFactory)
@dataclass(frozen=True, slots=True)
class Scheme:
    """One of our own schemes.

    Attributes:
        scheme, description: See `IStorageFactory`.
        maker: Makes the storage of an argument and a context.
    """

    scheme: str
    description: str
    maker: Callable[[str, StorageContext], IStorage]

    def make(self, argument: str, context: StorageContext) -> IStorage:
        """See `IStorageFactory.make`."""
        return self.maker(argument, context)


def make_storage(text: str, context: StorageContext) -> IStorage:
    """The storage that a configuration names.

    Raises:
        ValueError: There is no such storage, or its words do not fit.
    """
    scheme, _, argument = text.partition(":")
    scheme = scheme.strip().lower()
    factory: Any = OUR_SCHEMES.get(scheme)
    if factory is None:
        # Only now: whoever has no plug-ins need not look for them, nor keep a cache.
        others = _plugged_in()
        factory = others.get(scheme)
        if factory is None:
            raise ValueError(_no_such_storage(text, scheme, others))
    return _provided(factory.make(argument.strip(), context), f"{scheme}:")


def _no_such_storage(text: str, scheme: str, others: Mapping[str, Any]) -> str:
    known = sorted([*OUR_SCHEMES.values(), *others.values()], key=lambda f: f.scheme)
    return "\n".join(
        [
            f"storage = {text}: there is no storage {scheme!r}; there are",
            *(f"  {each.scheme + ':':<10} {each.description}" for each in known),
            "and those of plug-ins that can be imported; the log tells which cannot",
        ]
    )


def _plugged_in() -> dict[str, Any]:
    """What other packages offer, by scheme; what is broken is told and left out."""
    found: dict[str, Any] = {}
    # Twisted itself logs those that cannot be imported.
    for each in getPlugins(IStorageFactory, plugins):
        try:
            scheme = _checked(each)
        except Exception:  # noqa: BLE001 - a stranger's attributes may do anything
            _log.failure("The storage plug-in {each!r} is of no use", each=each)
            continue
        if scheme in found:
            _log.warn(
                "Two plug-ins are for {scheme}: {first!r} is used, {second!r} is not",
                scheme=scheme,
                first=found[scheme],
                second=each,
            )
        found.setdefault(scheme, each)
    return found


def _checked(factory: Any) -> str:
    """The scheme of a factory that has what it needs."""
    verifyObject(IStorageFactory, factory)
    scheme, description = factory.scheme, factory.description
    if not isinstance(scheme, str) or not isinstance(description, str):
        raise TypeError("its scheme and description must be strings")
    return scheme


def _provided(storage: Any, name: str) -> IStorage:
    if not IStorage.providedBy(storage):
        raise ValueError(
            f"{name} made a {type(storage).__name__}, which does not provide"
            " dhcptwist.interfaces.IStorage (is @implementer missing?)"
        )
    made: IStorage = storage
    return made


# --- our own ----------------------------------------------------------------------


def _members(context: StorageContext) -> Any:
    """The web service that says who clients are, while a pool does the rest."""
    if not context.around.reservations:
        return None
    # Only who asks a web service pays for an HTTP client with TLS.
    from .http import make_registry  # noqa: PLC0415

    return make_registry(context.around.reservations, context)


def _memory(
    argument: str,
    context: StorageContext,
    made: Any = MemoryStorage,
    name: str = "memory",
) -> IStorage:
    if argument:
        raise ValueError(f"{name}: takes nothing behind its colon")
    storage: IStorage = made(
        context.network,
        context.reservations,
        prober=context.prober,
        members=_members(context),
    )
    return storage


def _sqlite(
    argument: str,
    context: StorageContext,
    made: Any = SQLiteStorage,
    name: str = "sqlite",
) -> IStorage:
    if not argument:
        raise ValueError(f"{name}: needs a file, as in {name}:leases.sqlite")
    storage: IStorage = made(
        context.network,
        context.state / argument,
        context.reactor,
        context.reservations,
        context.prober,
        _members(context),
        context.around.history,
    )
    return storage


def _web(scheme: str) -> Callable[[str, StorageContext], IStorage]:
    def make(argument: str, context: StorageContext) -> IStorage:
        from .http import make_http  # noqa: PLC0415 - as above

        storage: IStorage = make_http(f"{scheme}:{argument}", context)
        return storage

    return make


def _python(argument: str, context: StorageContext) -> IStorage:
    factory, where, argument = _found(argument)
    return _provided(_called(factory, argument, where, context), where)


def _found(argument: str) -> tuple[Any, str, str]:
    """What ``python:module:name:argument`` names, with its name and its argument."""
    words = [each.strip() for each in argument.split(":", 2)]
    module, name, argument = [*words, "", ""][:3]
    where = f"python:{module}:{name}"
    if not module or module.startswith(".") or not name:
        raise ValueError("python: needs package.module:name")
    if "/" in module or module.endswith(".py"):
        raise ValueError(f"{where}: a module's name is wanted, not its file")
    try:
        return getattr(import_module(module), name), where, argument
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{where}: {error}; modules are looked for where Python looks:"
            " PYTHONPATH=/where/it/is twistd dhcp ..."
        ) from error
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ValueError(f"{where}: {error}") from error


def check_storage(text: str) -> None:
    """See that there is such a storage, as far as that can be seen without making it.

    Raises:
        ValueError: There is none.
    """
    scheme, _, argument = text.partition(":")
    scheme = scheme.strip().lower()
    if scheme == "python":
        factory, where, _ = _found(argument)
        if not callable(factory) and not IStorageFactory.providedBy(factory):
            raise _useless(factory, where)
    elif scheme not in OUR_SCHEMES:
        others = _plugged_in()
        if scheme not in others:
            raise ValueError(_no_such_storage(text, scheme, others))


def _called(factory: Any, argument: str, where: str, context: StorageContext) -> Any:
    """What somebody's factory, class or function makes."""
    if isinstance(factory, type) and issubclass(factory, PoolStorage):
        # One that differs in what it decides is made of the same things.
        made_of: Any = factory.__init__
        if made_of == SQLiteStorage.__init__:
            return _sqlite(argument, context, factory, where)
        if made_of == PoolStorage.__init__:
            return _memory(argument, context, factory, where)
    if isinstance(factory, type) and IStorageFactory.implementedBy(factory):
        factory = factory()  # type: ignore[call-arg] # it is a class of somebody's
    if IStorageFactory.providedBy(factory):
        return factory.make(argument, context)
    if argument:
        raise ValueError(f"{where} is no IStorageFactory and takes no {argument!r}")
    if not callable(factory):
        raise _useless(factory, where)
    try:
        signature(factory).bind(context)
    except TypeError as error:
        raise ValueError(
            f"{where} is called with the context alone, and cannot be: {error}"
        ) from None
    except ValueError:  # it does not say what it takes
        pass
    return factory(context)


def _useless(factory: Any, where: str) -> ValueError:
    return ValueError(
        f"{where} is a {type(factory).__name__}: neither a function or class to call with"
        " the context, nor an IStorageFactory"
    )


OUR_SCHEMES: Mapping[str, IStorageFactory] = {
    each.scheme: each
    for each in (
        Scheme("memory", "one pool of static and dynamic addresses; no file", _memory),
        Scheme("sqlite", "the same in a file, as in sqlite:leases.sqlite", _sqlite),
        Scheme(
            "http", "a web service decides, as in http://localhost:8080/", _web("http")
        ),
        Scheme("https", "the same over TLS", _web("https")),
        Scheme("python", "yours, as in python:package.module:name", _python),
    )
}
