"""What storages around storages have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..client import Client
from ..lease import Silence


class Around:
    """A storage around a storage; several may be around one.

    Args:
        storage: The inner one.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def layers(self) -> Iterator[Around]:
        """This one, and those inside."""
        yield self
        if isinstance(self._storage, Around):
            yield from self._storage.layers()

    def own_figures(self) -> dict[str, int]:
        """Numbers of this one alone."""
        return {}

    def figures(self) -> dict[str, int]:
        """Numbers for `Status`, of this and of those inside."""
        inner = self._storage
        within = inner.figures() if isinstance(inner, Around) else {}
        return {**self.own_figures(), **within}

    def refusal(self, client: Client, when: float) -> tuple[Silence, str] | None:
        """Why a client would not be asked for now, with a sentence; nothing counts."""
        inner = self._storage
        return inner.refusal(client, when) if isinstance(inner, Around) else None

    def clock_stepped(self, by: float) -> None:
        """The wall clock was set by so many seconds."""
        if isinstance(self._storage, Around):
            self._storage.clock_stepped(by)

    def stop(self) -> None:
        """The inner storage is about to finish what it has; wait for it."""
        if isinstance(self._storage, Around):
            self._storage.stop()
