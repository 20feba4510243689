"""A limit for those who ask too often: per client, and per port of a relay."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from ..client import Client
from ..config import Rate
from ..interfaces import IStorage
from ..lease import Silence, port_of
from .around import Around


#: Keys that are remembered at once; of more than so many the oldest are forgotten.
MOST_KEYS = 100_000

_NO_PORT = b"", b""


class Bucket:
    """How often each of many keys may come, with one number for a key.

    The number is when the key will have waited out all it has had (the generic cell rate
    algorithm): so many may come at once, and they come back evenly.

    Args:
        rate: How many at once, and in how many seconds they come back.

    Attributes:
        rate: The same.
        refused: How many were too many.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._seconds = rate.seconds
        self._each = rate.seconds / rate.count
        self._began = 0.0
        # Who has not come for as long as a whole rate takes is as good as new.  So two
        # generations are enough, and forgetting costs nothing.
        self._young: dict[Any, float] = {}
        self._old: dict[Any, float] = {}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def admits(self, key: Any, when: float) -> bool:
        """Whether this one may come now; then it counts."""
        young = self._young
        if not 0 <= when - self._began < self._seconds or len(young) >= MOST_KEYS:
            if not 0 <= when - self._began < 2 * self._seconds:
                young = {}  # long ago, or the clock was set
            self._old, self._young = young, {}
            young = self._young
            self._began = when
        even = young.get(key)
        if even is None:
            even = self._old.get(key, when)
        even = max(even, when) + self._each
        # A hundredth of one is for the rounding of floats.
        if even - when > self._seconds + self._each / 100:
            self.refused += 1
            return False
        young[key] = even
        return True

    def wait(self, key: Any, when: float) -> float:
        """Seconds until `admits` would let this one come; nothing counts."""
        age = when - self._began
        known: list[dict[Any, float]] = []
        if 0 <= age < 2 * self._seconds:
            known.append(self._young)
            if age < self._seconds and len(self._young) < MOST_KEYS:
                known.append(self._old)
        even = next((each[key] for each in known if key in each), when)
        over = max(even, when) + self._each - when - self._seconds
        return over if over > self._each / 100 else 0.0


@implementer(IStorage)
class FloodLimit(Around):
    """A storage around a storage that does not ask it for those who ask too often.

    They get no answer, and are counted.  A limit per client stops one that has gone mad;
    one per port stops somebody who makes up clients, as far as the relay says where he
    is.  Who keeps to the retransmission times of RFC 2131 section 4.1 asks at most four
    times in half a minute.

    Args:
        storage: Asked for everybody else.
        client: The limit of one client; None for none.
        port: The limit of one relay port (option 82), all its clients together; or None.
    """

    def __init__(
        self, storage: IStorage, client: Rate | None, port: Rate | None = None
    ) -> None:
        super().__init__(storage)
        self._clients = None if client is None else Bucket(client)
        self._ports = None if port is None else Bucket(port)

    def refusal(self, client: Client, when: float) -> tuple[Silence, str] | None:
        """See `Around.refusal`."""
        port = port_of(client.relay)
        limits = [("the client asks", "client-limit", self._clients, hash(client.key))]
        if port != _NO_PORT:
            place = hash((client.message.raw[24:28], port))
            limits.append(("those of its port ask", "port-limit", self._ports, place))
        for who, name, bucket, key in limits:
            seconds = 0.0 if bucket is None else bucket.wait(key, when)
            if seconds:
                words = f"{who} more often than {name} allows, for {seconds:.1f} s more"
                return Silence.FLOOD, words
        return super().refusal(client, when)

    def remember(self, before: FloodLimit | None) -> None:
        """Go on counting where another has ended, as far as the limits are the same."""
        if before is None:
            return
        self._clients = _same(self._clients, before._clients)  # noqa: SLF001 - of a kind
        self._ports = _same(self._ports, before._ports)  # noqa: SLF001

    def _admits(self, client: Client, when: float) -> bool:
        if self._clients is not None and not self._clients.admits(
            hash(client.key), when
        ):
            return False
        if self._ports is None:
            return True
        port = port_of(client.relay)
        if port == _NO_PORT:
            return True
        # Ports of different relays may have the same name.  Numbers stand for the names,
        # which may be long.
        return self._ports.admits(hash((client.message.raw[24:28], port)), when)

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`."""
        if self._admits(client, when):
            return self._storage.offer(client, when)
        return Silence.FLOOD

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        if self._admits(client, when):
            return self._storage.commit(client, address, when)
        return Silence.FLOOD

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`."""
        if self._admits(client, when):
            return self._storage.release(client, address, when)
        return Silence.FLOOD

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        if self._admits(client, when):
            return self._storage.decline(client, address, when)
        return Silence.FLOOD

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        if self._admits(client, when):
            return self._storage.configure(client, when)
        return Silence.FLOOD

    def own_figures(self) -> dict[str, int]:
        """What was refused so far."""
        limits = (("clients", self._clients), ("ports", self._ports))
        return {
            f"flood {name}": each.refused for name, each in limits if each is not None
        }


def _same(bucket: Bucket | None, before: Bucket | None) -> Bucket | None:
    """The one from before, if it has the same limit."""
    if bucket is None or before is None or bucket.rate != before.rate:
        return bucket
    return before
