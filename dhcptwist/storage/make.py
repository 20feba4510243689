"""From the words behind ``storage =`` to a storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..interfaces import IProber, IStorage
from ..lease import Reservation
from ..network import Network
from .memory import MemoryStorage
from .sqlite import SQLiteStorage


@dataclass(frozen=True, slots=True)
class StorageContext:
    """What a storage may need to be made.

    Attributes:
        network: The subnets.
        reservations: Those of the configuration.
        state: The state directory; relative paths begin there.
        reactor: The reactor.
        prober: Finds out whether an address is used; None if nothing can here.
    """

    network: Network
    reservations: tuple[Reservation, ...]
    state: Path
    reactor: Any
    prober: IProber | None = None


def _memory(argument: str, context: StorageContext) -> IStorage:
    if argument:
        raise ValueError("memory: takes nothing behind its colon")
    return MemoryStorage(context.network, context.reservations, prober=context.prober)


def _sqlite(argument: str, context: StorageContext) -> IStorage:
    if not argument:
        raise ValueError("sqlite: needs a file, as in sqlite:leases.sqlite")
    return SQLiteStorage(
        context.network,
        context.state / argument,
        context.reactor,
        context.reservations,
        context.prober,
    )


def _python(argument: str, context: StorageContext) -> IStorage:
    module, colon, name = argument.partition(":")
    if not colon:
        raise ValueError("python: needs package.module:factory")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"python:{argument}: {error}") from error
    storage = factory(context)
    if not IStorage.providedBy(storage):
        raise ValueError(
            f"python:{argument} made a {type(storage).__name__}, which does not provide"
            " dhcptwist.interfaces.IStorage (is @implementer missing?)"
        )
    made: IStorage = storage
    return made


SCHEMES: dict[str, Callable[[str, StorageContext], IStorage]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "python": _python,
}


def make_storage(text: str, context: StorageContext) -> IStorage:
    """The storage that a configuration names.

    Raises:
        ValueError: There is no such storage, or its words do not fit.
    """
    scheme, _, argument = text.partition(":")
    make = SCHEMES.get(scheme.strip())
    if make is None:
        raise ValueError(
            f"storage = {text}: there is no storage {scheme!r}; there are"
            f" {', '.join(f'{known}:' for known in SCHEMES)}"
        )
    return make(argument.strip(), context)
