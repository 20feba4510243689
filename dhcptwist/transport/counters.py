"""What happened to packets, counted."""

from __future__ import annotations

from collections import Counter

from ..lease import Silence
from ..wire.codes import MessageType


class Counters:
    """Counts instead of log lines: one addition for a packet.

    Attributes:
        received: Messages by option 53; index 0 is everything without one.
        sent: Replies by option 53.
        silences: What got no answer, by reason.
        unsendable: Replies that the system would not take.
    """

    __slots__ = ("received", "sent", "silences", "unsendable")

    def __init__(self) -> None:
        self.received = [0] * 256
        self.sent = [0] * 9
        self.silences = dict.fromkeys(Silence, 0)
        self.unsendable = 0

    def figures(self) -> dict[str, dict[str, int]]:
        """The counters that are not zero, by their names."""
        return {
            "received": _named(self.received),
            "sent": _named(self.sent),
            "silent": {
                reason.value: count for reason, count in self.silences.items() if count
            },
            "failed": {"unsendable": self.unsendable} if self.unsendable else {},
        }


def _named(counts: list[int]) -> dict[str, int]:
    names = {kind.value: kind.name.lower() for kind in MessageType}
    named: Counter[str] = Counter()
    for number, count in enumerate(counts):
        if count:
            named[names.get(number, "other")] += count
    return dict(named)
