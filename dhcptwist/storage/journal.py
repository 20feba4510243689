"""Keeping what was decided: the boundary between the rules and a disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..lease import Lease, Reservation
from .index import Change


T = TypeVar("T")


class Journal:
    """Keeps nothing; the base of those that do.

    Attributes:
        log: Where the index writes down its changes so that they can be undone; None
            where nothing can fail.
    """

    log: list[Change] | None = None

    def keep(
        self,
        result: T,
        leases: Sequence[Lease] = (),
        added: Sequence[Reservation] = (),
        removed: Sequence[Reservation] = (),
    ) -> Any:
        """Keep changes that have been made in the index.

        Args:
            result: What to answer once they are kept.
            leases: Leases that changed, each with its new state.
            added: Reservations put in.
            removed: Reservations taken out.

        Returns:
            The result, or a Deferred of it that fails if the changes could not be
            kept; the index is then as it was before.
        """
        return result

    def unfinished(self) -> list[Change]:
        """Changes of the index that may still have to be undone."""
        return []

    def figures(self) -> dict[str, Any]:
        """Numbers for `Status`."""
        return {}
