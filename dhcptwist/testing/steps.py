"""What a storage's contract is made of: hooks for the storage, and steps of its clients."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, NoReturn
from unittest import SkipTest

from zope.interface.interface import InterfaceClass

from ..client import ClientState
from ..interfaces import IClockListener, IStorage
from ..lease import Lease, Refused, Reservation, format_hardware
from ..network import Network
from .parts import FakeClient, answer, begun


#: Questions that a broken rule shows, the last ones.
SHOWN = 12


class Steps:
    """A contract's hooks, which you write, and its steps, which its rules are told in.

    A rule that is broken says which one it is, and what was asked and answered before.

    Attributes:
        patience: Seconds within which every question must be answered, or fail.
        clock: What the storage has for a reactor, if it needs one: a
            `twisted.internet.task.Clock` is moved on, the real reactor is turned, while
            an answer is waited for.
    """

    patience = 10.0
    clock: Any = None

    def make(
        self, network: Network, reservations: Iterable[Reservation] = ()
    ) -> IStorage:
        """The storage to prove, empty."""
        raise AssertionError(
            "a contract needs a storage: write make(self, network, reservations=())"
        )

    def wait(self, result: Any) -> Any:
        """The answer behind what a verb returned, or the exception it failed with.

        Override it where more than `clock` has to move before there is one, and give up
        after `patience` seconds.
        """
        return answer(result, self.clock, self.patience)

    # --- rules --------------------------------------------------------------------

    def must(self, holds: object, rule: str) -> None:
        """A rule that has to hold.

        Raises:
            AssertionError: It does not; also where Python leaves ``assert`` out.
        """
        if not holds:
            self._broken(rule)

    def must_be_given(self, found: Any, rule: str) -> Lease:
        """The lease that the answer has to be."""
        if not isinstance(found, Lease):
            self._broken(rule)
        return found

    def must_not_be_given(self, found: Any, rule: str) -> None:
        """The answer may be silence or a refusal, and no lease."""
        if isinstance(found, Lease):
            self._broken(rule)

    def needs(self, storage: Any, *interfaces: InterfaceClass) -> None:
        """Pass over a rule about what a storage does not claim to provide.

        Raises:
            SkipTest: It does not; the reason says which interface.
        """
        for each in interfaces:
            if not each.providedBy(storage):
                raise SkipTest(
                    f"{type(storage).__name__} does not provide {each.__name__}"
                )

    def _broken(self, rule: str) -> NoReturn:
        raise AssertionError("\n    ".join([rule, *self._told()[-SHOWN:]]))

    def _told(self) -> list[str]:
        """What was asked and answered so far, for whoever reads a broken rule."""
        # A test class has no __init__ that could be relied on.
        told: list[str] = self.__dict__.setdefault("_told_so_far", [])
        return told

    def tell(self, asked: str, when: float, found: Any = None) -> None:
        """Remember a question and its answer, should a rule be broken."""
        self._told().append(f"at {when:.0f}: {asked} -> {_words(found)}")

    # --- steps --------------------------------------------------------------------

    def asks(
        self,
        storage: Any,
        net: Network,
        verb: str,
        who: FakeClient,
        when: float,
        address: int | None = None,
        state: ClientState = ClientState.BOUND,
        wish: str = "",
        **fields: Any,
    ) -> Any:
        """Ask, and do not wait: what `IStorage`'s verb returned."""
        if address is not None and state != ClientState.BOUND:
            wish = str(IPv4Address(address))
        client = who.client(net, state, wish, **fields)
        given = (client, when) if address is None else (client, address, when)
        return begun(getattr(storage, verb)(*given))

    def answered(
        self,
        storage: Any,
        net: Network,
        verb: str,
        who: FakeClient,
        when: float,
        address: int | None = None,
        state: ClientState = ClientState.BOUND,
        wish: str = "",
        **fields: Any,
    ) -> Any:
        """Ask, and wait for the answer."""
        asked = self.asks(storage, net, verb, who, when, address, state, wish, **fields)
        at = "" if address is None else f" of {_text(address)}"
        hoped = f" hoping for {wish}" if wish else ""
        words = f"{verb}{at} by {format_hardware(who.hardware)} in {state.name}{hoped}"
        return self.called(words, asked, when)

    def called(self, words: str, asked: Any, when: float) -> Any:
        """Wait for an answer, and remember the question in these words."""
        try:
            found = self.wait(asked)
        except BaseException as error:
            self.tell(words, when, error)
            error.add_note("\n    ".join(["after:", *self._told()[-SHOWN:]]))
            raise
        self.tell(words, when, found)
        return found

    def _offer(
        self,
        storage: Any,
        net: Network,
        who: FakeClient,
        when: float,
        wish: str = "",
    ) -> Any:
        return self.answered(
            storage, net, "offer", who, when, state=ClientState.INIT, wish=wish
        )

    def _commit(
        self,
        storage: Any,
        net: Network,
        who: FakeClient,
        address: int,
        when: float,
        state: ClientState = ClientState.SELECTING,
    ) -> Any:
        return self.answered(storage, net, "commit", who, when, address, state)

    def _release(
        self, storage: Any, net: Network, who: FakeClient, address: int, when: float
    ) -> Any:
        return self.answered(storage, net, "release", who, when, address)

    def _decline(
        self, storage: Any, net: Network, who: FakeClient, address: int, when: float
    ) -> Any:
        return self.answered(storage, net, "decline", who, when, address)

    def _bind(self, storage: Any, net: Network, who: FakeClient, when: float) -> Lease:
        offer = self.must_be_given(
            self._offer(storage, net, who, when),
            "a client is offered an address while there is one (RFC 2131 section 4.3.1)",
        )
        lease = self.must_be_given(
            self._commit(storage, net, who, offer.address, when),
            "a client gets what it was offered (invariant 5, RFC 2131 section 4.3.2)",
        )
        self.must(
            lease.address == offer.address,
            "an ACK is for the address that was asked for (RFC 2131 section 4.3.2)",
        )
        return lease

    def _given(
        self, storage: Any, net: Network, clients: Iterable[FakeClient], when: float
    ) -> set[int]:
        """The addresses that some clients are offered together."""
        offers = [self._offer(storage, net, who, when) for who in clients]
        return {each.address for each in offers if isinstance(each, Lease)}

    def pass_time(self, storage: Any, when: float) -> None:
        """Let a storage see what time it is, if it wants to."""
        if IClockListener.providedBy(storage):
            storage.clock_ticked(when)
            self.tell("clock_ticked", when)

    @staticmethod
    def _clients(count: int, row: int = 1) -> list[FakeClient]:
        """So many clients; those of another row are others."""
        return [FakeClient(f"02:00:00:00:{row:02x}:{n:02x}") for n in range(count)]


def _text(address: int) -> str:
    return str(IPv4Address(address)) if 0 <= address < 1 << 32 else str(address)


def _words(found: Any) -> str:
    """An answer, for people."""
    if isinstance(found, Lease):
        return f"{_text(found.address)} for {found.duration} s"
    if isinstance(found, Refused):
        return f"refused: {found.reason}"
    return "silence" if found is None else repr(found)
