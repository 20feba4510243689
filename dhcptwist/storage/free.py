"""The free addresses of one subnet, in the order in which they should be given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator


class FreeAddresses:
    """Finds an address in a time that does not grow with the pool.

    Never used ones come first, in order; then the one unused longest.  Nothing is kept
    for an address that was never touched, so a /8 costs no more than a /24.

    Args:
        ranges: First and last address of each pool.
        known: The addresses that were ever leased.
    """

    __slots__ = ("_known", "_lapsed", "_next", "_range", "_ranges", "_used")

    def __init__(
        self, ranges: tuple[tuple[int, int], ...], known: Container[int]
    ) -> None:
        self._ranges = ranges
        self._known = known
        self._range = 0
        self._next = ranges[0][0] if ranges else 0
        # Offered once and never taken.  They go first, so that a flood of DISCOVERs
        # cannot walk through the whole pool and leave a trace of each address.
        self._lapsed: OrderedDict[int, None] = OrderedDict()
        self._used: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, address: int) -> bool:
        """Whether it was given back, and nobody has it."""
        return address in self._used or address in self._lapsed

    def take(self, usable: Callable[[int], bool]) -> int | None:
        """The next address to give, or None.

        It is no longer kept here; nor is one that ``usable`` refuses: that comes back
        with `give_back` when what stands in its way has ended.
        """
        lapsed = self._lapsed
        while lapsed:
            address = lapsed.popitem(last=False)[0]
            if usable(address):
                return address
        ranges = self._ranges
        while self._range < len(ranges):
            address = self._next
            if address > ranges[self._range][1]:
                self._range += 1
                if self._range < len(ranges):
                    self._next = ranges[self._range][0]
                continue
            self._next = address + 1
            if address not in self._known and usable(address):
                return address
        used = self._used
        while used:
            address = used.popitem(last=False)[0]
            if usable(address):
                return address
        return None

    def remove(self, address: int) -> None:
        """The address is somebody's now."""
        self._used.pop(address, None)
        self._lapsed.pop(address, None)

    def give_back(self, address: int) -> None:
        """The address is nobody's any more; one outside the pools is passed over."""
        for number, (first, last) in enumerate(self._ranges):  # noqa: B007 - see below
            if first <= address <= last:
                break
        else:
            return
        if address in self._known:
            self._used[address] = None
            self._used.move_to_end(address)
        elif number < self._range or (number == self._range and address < self._next):
            self._lapsed[address] = None

    def order(self, returned: Iterable[int] = ()) -> Iterator[int]:
        """The addresses in the order in which `take` comes to them; nothing changes.

        Args:
            returned: What would be given back before, in this order.
        """
        used: dict[int, None] = {}
        lapsed: dict[int, None] = {}
        for address in returned:
            if address in self._known:
                used.pop(address, None)
                used[address] = None
            elif address not in self._lapsed:
                lapsed[address] = None
        last = self._ranges[self._range : self._range + 1]
        begun = [(self._next, last[0][1])] if last else []
        fresh = [*begun, *self._ranges[self._range + 1 :]]
        passed = [*self._ranges[: self._range], *((a, self._next - 1) for a, _ in last)]
        yield from self._lapsed
        yield from (each for each in lapsed if _within(each, passed))
        for first, final in fresh:
            yield from (a for a in range(first, final + 1) if a not in self._known)
        yield from (each for each in self._used if each not in used)
        yield from (each for each in used if _within(each, self._ranges))


def _within(address: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= address <= last for first, last in ranges)
