"""What holds while a storage does not answer: the leases that were granted."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from types import CoroutineType
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..client import Client, ClientState
from ..interfaces import ILeases, IStorage
from ..lease import Lease, LeaseState, Settings, Silence
from ..wire.codes import INFINITE
from .around import Around


_log = Logger()

#: Leases that `Stale` remembers; of more than so many the least recent are forgotten.
MOST_REMEMBERED = 100_000

#: Seconds between two log lines about a storage that fails.
COMPLAIN_EVERY = 10.0


class _Granted(NamedTuple):
    """What was granted of an address last.

    Attributes:
        key: To whom; empty for nobody, or nobody knows.
        hardware: Its hardware address.
        ends: Until when, by the clock as it was when all began.
        settings: What the lease had beside the address.
        is_open: Whether the storage was asked and has not really answered since: what
            it shows may be more than it has promised.
    """

    key: bytes
    hardware: bytes
    ends: float
    settings: Settings | None
    is_open: bool = False


_NOBODY = _Granted(b"", b"", -inf, None)
_UNKNOWN = _NOBODY._replace(is_open=True)


class _Question:
    """A REQUEST that the storage is thinking about.

    Attributes:
        client: Who asks.
        key: Its key when it asked; the storage may find it a better one.
        address: What for.
        then: When, by the clock as it was when all began.
        asked: When, by the reactor's.
        is_void: Whether something else has been heard of the address meanwhile.
    """

    __slots__ = ("address", "asked", "client", "is_void", "key", "then")

    def __init__(self, client: Client, address: int, then: float, asked: float) -> None:
        self.client = client
        self.key = client.key
        self.address = address
        self.then = then
        self.asked = asked
        self.is_void = False


@implementer(IStorage)
class Stale(Around):
    """A storage around one that may be gone: what it has granted holds while it lasts.

    ``fallback = stale``: a client that asks for the lease it has is given what is left of
    it, not a second more, when the storage fails, is late or busy.  Nobody gets an
    address anew, so it does not matter in which state the client asks.  What was granted
    is remembered from the answers seen here.  A storage that shows its leases
    (`ILeases`) is looked at, too: at an address's first REQUEST, for what it has promised
    before; and again before something is granted, whether it was taken away.

    Args:
        storage: Asked first.
        clock: The reactor: waiting for the storage takes from what is left.
        most: Leases to remember.
    """

    def __init__(
        self, storage: IStorage, clock: IReactorTime, most: int = MOST_REMEMBERED
    ) -> None:
        super().__init__(storage)
        self._clock = clock
        self._most = most
        self._shown: Any = None
        # By address, so that one has one holder at most; and the addresses of each.
        self._granted: OrderedDict[int, _Granted] = OrderedDict()
        self._addresses: dict[bytes, tuple[int, ...]] = {}
        # What waits, by address and by client.
        self._questions: dict[int | bytes, list[_Question]] = {}
        self._trusts_shown = False
        self._stepped = 0.0  # by how much the clock was set since all began
        self._complained = -inf
        self._figures = {"stale": 0}

    def show(self, leases: Any) -> None:
        """Look for leases there as well, if it has any to show; before all else."""
        self._shown = leases if ILeases.providedBy(leases) else None
        self._trusts_shown = self._shown is not None

    def offer(self, client: Client, when: float) -> Any:
        """See `IStorage.offer`; nothing is offered for a storage that is gone."""
        return self._storage.offer(client, when)

    def configure(self, client: Client, when: float) -> Any:
        """See `IStorage.configure`."""
        return self._storage.configure(client, when)

    def commit(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.commit`."""
        question = _Question(client, address, when - self._stepped, 0.0)
        if self._trusts_shown:
            self._look_up(question)
        result: Any
        try:
            result = self._storage.commit(client, address, when)
        except Exception:  # noqa: BLE001 - it is raised again, or told
            result = Failure()
        if isinstance(result, CoroutineType):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            question.asked = self._clock.seconds()
            for place in (address, question.key):
                self._questions.setdefault(place, []).append(question)
            return result.addBoth(self._answered, question)
        result = self._settled(result, question, question.then)
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def release(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.release`; what is given back is no longer granted."""
        self._give_up(client, address)
        return self._storage.release(client, address, when)

    def decline(self, client: Client, address: int, when: float) -> Any:
        """See `IStorage.decline`."""
        self._give_up(client, address)
        return self._storage.decline(client, address, when)

    def clock_stepped(self, by: float) -> None:
        """See `Around.clock_stepped`: what is left of each lease stays the same."""
        super().clock_stepped(by)
        self._stepped += by

    def own_figures(self) -> dict[str, int]:
        """How many leases are remembered, and how often what was left was given."""
        return {"remembered": len(self._granted), **self._figures}

    # --- answers ------------------------------------------------------------------

    def _answered(self, result: Any, question: _Question) -> Any:
        for place in (question.address, question.key):
            waiting = self._questions[place]
            waiting.remove(question)
            if not waiting:
                del self._questions[place]
        passed = self._clock.seconds() - question.asked
        # If the clock was set back meanwhile, nobody knows how long it took.
        return self._settled(
            result, question, question.then + passed if passed >= 0 else inf
        )

    def _settled(self, result: Any, question: _Question, now: float) -> Any:
        """What an answer means for what is granted, and what is answered."""
        address, client = question.address, question.client
        if result.__class__ is Lease or isinstance(result, Lease):
            if result.address == address:
                self._leave_others(question)
                if question.is_void:
                    # Who has it in the end, nobody knows here.
                    self._note(address, _UNKNOWN)
                else:
                    self._grant(question, result)
                return result
        elif _is_gone(result):
            left = self._left(question, now)
            if result is not Silence.STORAGE_BUSY:  # else it was not even asked
                self._note_unknown(question)
            if left is None:
                return result
            if isinstance(result, Failure):
                self._complain(result)
            return left
        # Refused, unknown, not allowed: that was its last word.
        self._forget(question.key, address)
        self._forget(client.key, address)
        return result

    def _left(self, question: _Question, now: float) -> Lease | None:
        """What is left of the lease that the client has, or None."""
        client, address = question.client, question.address
        granted = self._granted.get(address, _NOBODY)
        if granted.key not in (question.key, client.key) or granted.ends < now + 1:
            return None
        ends = granted.ends
        if self._shown is not None:
            shown = self._shown_lease(client, address)
            if shown is None:
                return None  # somebody has taken it away
            ends = min(ends, shown.expires - self._stepped)
            if ends < now + 1:
                return None
        self._figures["stale"] += 1
        return Lease(
            address,
            key=client.key,
            hardware=client.hardware,
            expires=ends + self._stepped,
            duration=INFINITE if ends == inf else min(int(ends - now), INFINITE - 1),
            settings=granted.settings,
        )

    def _note_unknown(self, question: _Question) -> None:
        """The storage may have done what it was asked, and not said so."""
        client, address = question.client, question.address
        granted = self._granted.get(address)
        if granted is None:
            if self._shown is not None:
                self._note(address, _UNKNOWN)
        elif granted.key in (question.key, client.key):
            self._granted[address] = granted._replace(is_open=True)
        elif client.state == ClientState.SELECTING:
            # This one may have been given what another had.
            self._note(address, _UNKNOWN)

    def _complain(self, failure: Failure) -> None:
        """Nobody else hears of a failure that a client does not feel."""
        now = self._clock.seconds()
        if getattr(failure.value, "is_logged", False):
            return
        if not 0 <= now - self._complained < COMPLAIN_EVERY:
            self._complained = now
            _log.failure("The storage failed; its clients keep what they have", failure)

    # --- what was granted ---------------------------------------------------------

    def _look_up(self, question: _Question) -> None:
        """Remember what the storage has promised, before it is asked for more.

        While it has been asked and has not answered, it may show what it is still about
        to promise.
        """
        client, address = question.client, question.address
        granted = self._granted.get(address, _NOBODY)
        if granted.key == client.key or granted.is_open or address in self._questions:
            return
        lease = self._shown_lease(client, address)
        if lease is not None and lease.expires - self._stepped > question.then:
            ends = lease.expires - self._stepped
            self._note(
                address, _Granted(client.key, client.hardware, ends, lease.settings)
            )

    def _shown_lease(self, client: Client, address: int) -> Lease | None:
        """What the storage shows as this client's."""
        try:
            for lease in self._shown.find_leases(address, None, None):
                if lease.state == LeaseState.BOUND and (
                    lease.key == client.key
                    or (not client.identifier and lease.hardware == client.hardware)
                ):
                    found: Lease = lease
                    return found
        except Exception:  # noqa: BLE001 - a stranger's may raise anything
            return None  # it is gone, too
        return None

    def _grant(self, question: _Question, lease: Lease) -> None:
        address, client = question.address, question.client
        # What the client is told, which may be less than the storage keeps.
        duration = lease.duration
        ends = inf if duration == INFINITE else question.then + duration
        granted = _Granted(client.key, client.hardware, ends, lease.settings)
        self._note(address, granted)

    def _leave_others(self, question: _Question) -> None:
        """A client has an ACK: others have nothing there, nor it elsewhere on its link.

        What they, or it, still wait for was asked before; whether it was done before or
        behind this, nobody knows here.
        """
        address, client = question.address, question.client
        mine = {question.key, client.key}
        places: tuple[int | bytes, ...] = (address, *mine)
        for place in places:
            for other in self._questions.get(place, ()):
                same = other.key in mine or other.client.key in mine
                if same != (other.address == address) and (
                    not same or _on_link(client, other.address)
                ):
                    other.is_void = True
        for key in mine:
            for each in self._addresses.get(key, ()):
                if each != address and _on_link(client, each):
                    self._forget(key, each)

    def _note(self, address: int, granted: _Granted) -> None:
        self._unlink(address, self._granted.get(address, _NOBODY))
        self._granted[address] = granted
        self._granted.move_to_end(address)
        key = granted.key
        if key:
            self._addresses[key] = (*self._addresses.get(key, ()), address)
        if len(self._granted) > self._most:
            oldest, forgotten = self._granted.popitem(last=False)
            self._unlink(oldest, forgotten)
            if forgotten.is_open or oldest in self._questions:
                # Looked up again, it might be more than was promised.
                self._trusts_shown = False

    def _unlink(self, address: int, granted: _Granted) -> None:
        mine = self._addresses.pop(granted.key, ())
        rest = tuple(each for each in mine if each != address)
        if rest:
            self._addresses[granted.key] = rest

    def _give_up(self, client: Client, address: int) -> None:
        """The client has no use for the address any more."""
        self._forget(client.key, address)
        granted = self._granted.get(address, _NOBODY)
        # Some clients' last words have no identifier.
        if not client.identifier and granted.hardware == client.hardware:
            self._forget(granted.key, address)

    def _forget(self, key: bytes, address: int) -> None:
        """What this client has of the address, if anything, no longer counts."""
        questions = self._questions.get(address, ())
        for question in questions:
            if key in (question.key, question.client.key):
                question.is_void = True
        granted = self._granted.get(address, _NOBODY)
        if granted.key != key or address not in self._granted:
            return
        if granted.is_open or questions:
            self._note(address, _UNKNOWN)
        else:
            self._unlink(address, self._granted.pop(address))


def _on_link(client: Client, address: int) -> bool:
    """Whether a client can have only one of this address and another that it has."""
    return not client.subnets or client.subnet_of(address) is not None


def _is_gone(result: Any) -> bool:
    """Whether an answer says nothing of the client: the storage was not there."""
    return (
        isinstance(result, Failure)
        or result is Silence.STORAGE_LATE
        or result is Silence.STORAGE_BUSY
        or result is Silence.STORAGE_FAILED
    )
