"""When which address has to be looked at: the ends of leases, in order."""

from __future__ import annotations

from array import array
from heapq import heappop, heappush


#: The addresses of one second, behind the second itself.
Page = array  # of "q": eight bytes for an address instead of an object and its place


class Calendar:
    """One page for each second in which something ends.

    A million leases that end within twelve hours share 43,200 pages; noting one costs an
    append.  Nothing is ever struck out: whoever reads a page sees for itself what is
    still true.

    Attributes:
        pages: The page of each second, for those who note very many.
    """

    __slots__ = ("_seconds", "pages")

    def __init__(self) -> None:
        self.pages: dict[int, Page[int]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return sum(len(page) - 1 for page in self.pages.values())

    def note(self, second: int, address: int) -> Page[int]:
        """Put an address on the page of a second, and give the page."""
        page = self.pages.get(second) or self.new(second)
        page.append(address)
        return page

    def new(self, second: int) -> Page[int]:
        """The page of a second that has none."""
        page = self.pages[second] = array("q", (second,))
        heappush(self._seconds, second)
        return page

    def due(self, when: float, most: int) -> tuple[Page[int], list[int]] | None:
        """The earliest page that is due, with at most so many of its addresses.

        They are no longer on it.  None if nothing is due.
        """
        seconds = self._seconds
        if not seconds or seconds[0] > when:
            return None
        page = self.pages[seconds[0]]
        found = page[1 : 1 + most].tolist()
        del page[1 : 1 + most]
        if len(page) == 1:
            del self.pages[heappop(seconds)]
        return page, found

    def seconds(self, when: float) -> list[int]:
        """The seconds until now that have a page, the earliest first."""
        return sorted(each for each in self._seconds if each <= when)
