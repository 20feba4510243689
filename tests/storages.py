"""Storages that have a bad day, for tests of what is around them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from dhcptwist.client import ClientState
from dhcptwist.interfaces import IStorage
from dhcptwist.lease import Lease, Silence
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.testing import FakeClient, answer, ip, network


FIRST = ip("192.0.2.10")
NET = network()
LATE, BUSY = Silence.STORAGE_LATE, Silence.STORAGE_BUSY
RENEWING = ClientState.RENEWING
A, B = FakeClient("02:00:00:00:00:0a"), FakeClient("02:00:00:00:00:0b")
WHOLE = 3600


class Trouble(Exception):  # noqa: N818 - it is any
    """What a storage fails with."""


@implementer(IStorage)
class Slow:
    """A storage whose answers are in the test's hands.

    Attributes:
        asked: The Deferreds that it has given.
        verbs: What it was asked.
        answer: What it answers, or raises, at once; None for a Deferred.
    """

    def __init__(self, answer=None):
        self.asked = []
        self.verbs = []
        self.answer = answer

    def _ask(self, verb):
        self.verbs.append(verb)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        self.asked.append(Deferred())
        return self.asked[-1]

    def offer(self, client, when):
        """See `IStorage`."""
        return self._ask("offer")

    def commit(self, client, address, when):
        """See `IStorage`."""
        return self._ask("commit")

    def release(self, client, address, when):
        """See `IStorage`."""
        return self._ask("release")

    def decline(self, client, address, when):
        """See `IStorage`."""
        return self._ask("decline")

    def configure(self, client, when):
        """See `IStorage`."""
        return self._ask("configure")


def ask(storage, verb="offer", who=None, address=FIRST, when=1000.0):
    """Ask, and give a list that the answer will be in."""
    client = (FakeClient() if who is None else who).client(NET, RENEWING)
    method = getattr(storage, verb)
    if verb in {"offer", "configure"}:
        result = method(client, when)
    else:
        result = method(client, address, when)
    if not isinstance(result, Deferred):
        return [result]
    found = []
    result.addBoth(found.append)
    return found


class Pool(Slow):
    """A storage that grants what it is asked for, unless it is told otherwise."""

    def __init__(self, duration=WHOLE, settings=None):
        super().__init__()
        self.duration = duration
        self.settings = settings
        self.gone = None

    def _ask(self, verb):
        self.verbs.append(verb)
        if isinstance(self.gone, Exception):
            raise self.gone
        if self.gone is not None:
            return self.gone
        return {"release": True, "decline": True}.get(verb, self.answer)

    def commit(self, client, address, when):
        """Grant it."""
        self.answer = Lease(
            address,
            key=client.key,
            duration=self.duration,
            settings=self.settings,
            expires=when + 9 * WHOLE,  # which is nobody else's business
        )
        return self._ask("commit")


def left_of(found):
    """The seconds that an answer grants; None if it grants nothing."""
    [answered] = found
    return answered.duration if isinstance(answered, Lease) else None


class Held(MemoryStorage):
    """A pool that is sometimes gone, after or before it has decided."""

    gone = None
    decides = False

    def commit(self, client, address, when):
        """See `IStorage`."""
        if self.gone is None:
            return super().commit(client, address, when)
        if self.decides:
            super().commit(client, address, when)
        if isinstance(self.gone, Exception):
            raise self.gone
        return self.gone


def bound(storage, who, when=1000.0):
    """Bind an address without anything around the storage."""
    offer = answer(storage.offer(who.client(NET), when))
    asks = who.client(NET, ClientState.SELECTING)
    return answer(MemoryStorage.commit(storage, asks, offer.address, when))
