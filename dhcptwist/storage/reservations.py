"""Finding reservations: by address, by client, by source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush, merge
from itertools import islice
from math import inf

from sortedcontainers import SortedDict

from ..client import Client
from ..lease import Lease, Reservation, port_of


Place = tuple[int, str, bytes, bytes]


class ReservationIndex:
    """All reservations, found at once by whatever identifies them.

    ``by_address`` is a plain mapping because the search for a free address looks there.
    """

    def __init__(self) -> None:
        self.by_address: dict[int, Reservation] = {}
        self._by_who: dict[tuple[str, bytes, bytes], tuple[Reservation, ...]] = {}
        self._lifetimes: list[tuple[float, int, Reservation]] = []
        self._added = 0
        self._of_source: dict[str, SortedDict[Place, Reservation]] = {}
        self._sums: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._by_who)

    def __len__(self) -> int:
        return sum(map(len, self._of_source.values()))

    def add(self, reservation: Reservation) -> None:
        """Put one in; the caller has taken out what stood in its place."""
        source = reservation.source
        mine = self._of_source.get(source)
        if mine is None:
            mine = self._of_source[source] = SortedDict()
        mine[reservation.place] = reservation
        self._sums[source] = self._sums.get(source, 0) + reservation.weight
        if reservation.address is not None:
            self.by_address[reservation.address] = reservation
        if reservation.expires != inf:
            self._added += 1
            heappush(self._lifetimes, (reservation.expires, self._added, reservation))
        who = reservation.who
        its = (*self._by_who.get(who, ()), reservation)
        # Of two on one wire the first is meant: whichever came first, so that a restart
        # or a reload changes nothing.
        self._by_who[who] = its if len(its) == 1 else tuple(sorted(its, key=_place))

    def remove(self, reservation: Reservation) -> None:
        """Take one out, whatever its end is by now."""
        who = reservation.who
        place = reservation.place
        source = reservation.source
        mine = self._of_source.get(source)
        there = None if mine is None else mine.pop(place, None)
        if there is not None:
            self._sums[source] -= there.weight
            if not mine:
                del self._of_source[source], self._sums[source]
        left = tuple(each for each in self._by_who.get(who, ()) if each.place != place)
        if left:
            self._by_who[who] = left
        else:
            self._by_who.pop(who, None)
        if reservation.address is not None:
            self.by_address.pop(reservation.address, None)

    def of(self, who: tuple[str, bytes, bytes]) -> tuple[Reservation, ...]:
        """Those of one client (`Reservation.who`)."""
        return self._by_who.get(who, ())

    def for_client(
        self, client: Client, previous: Lease | None, when: float
    ) -> Reservation | None:
        """The reservation for a client on its link, or None.

        The client identifier comes first, then the relay's port, then the hardware
        address: what is said most precisely wins.

        Args:
            client: Who asks.
            previous: Its lease: a renewal by unicast carries no option 82, so the
                port is the one it was last seen on.
            when: Now; a reservation that has ended is none.
        """
        if not self._by_who:
            return None
        found = self._by_who.get(("client-id", client.key, b""))
        if found:
            chosen = _on_link(found, client, when)
            if chosen:
                return chosen
        relay = client.relay or (previous.relay if previous else b"")
        if relay:
            circuit, remote = port_of(relay)
            for who in (
                ("port", circuit, remote),
                ("port", circuit, b""),
                ("port", b"", remote),
            ):
                chosen = _on_link(self._by_who.get(who, ()), client, when)
                if chosen:
                    return chosen
        found = self._by_who.get(("hardware", client.hardware, b""))
        return _on_link(found, client, when) if found else None

    def shift(self, by: float) -> list[Reservation]:
        """Move the ends of those that have one by so many seconds; what was moved."""
        every = [r for mine in self._by_who.values() for r in mine]
        lasting = [moved(each, by) for each in every if each.expires != inf]
        for each in lasting:
            self.remove(each)
            self.add(each)
        return lasting

    def ended(self, when: float) -> list[Reservation]:
        """Those whose own time has ended, in the order of their end."""
        heap = self._lifetimes
        found = []
        while heap and heap[0][0] <= when:
            _, _, each = heappop(heap)
            # It may have been put in twice, and have been taken out since.
            if each not in found and each in self._by_who.get(each.who, ()):
                found.append(each)
        return found

    def ending(self, when: float) -> list[Reservation]:
        """What `ended` would find; nothing changes."""
        found = []
        for _, _, each in sorted(row for row in self._lifetimes if row[0] <= when):
            if each not in found and each in self._by_who.get(each.who, ()):
                found.append(each)
        return found

    def page(
        self,
        after: Place | None,
        limit: int,
        source: str | None,
    ) -> list[Reservation]:
        """A page in the order of `Reservation.place`, from behind ``after``."""
        if source is not None:
            found = self._behind(self._of_source.get(source, SortedDict()), after)
        else:
            found = merge(
                *(self._behind(mine, after) for mine in self._of_source.values()),
                key=_place,
            )
        return list(islice(found, limit))

    @staticmethod
    def _behind(
        mine: SortedDict[Place, Reservation], after: Place | None
    ) -> Iterator[Reservation]:
        places = mine.irange(after, inclusive=(False, False))
        return (mine[place] for place in places)

    def sources(self) -> dict[str, int]:
        """Everybody who has some, by name, and how many."""
        return {name: len(self._of_source[name]) for name in sorted(self._of_source)}

    def revision(self, source: str, more: Sequence[Reservation] = ()) -> str:
        """What tells one state of a source from another: how many, and what they say.

        The same reservations have the same revision, also after a restart.  When they
        end by themselves is no part of it.

        Args:
            source: Whose.
            more: Others that are its own as well.
        """
        total = self._sums.get(source, 0) + sum(each.weight for each in more)
        count = len(self._of_source.get(source, ())) + len(more)
        return f"{count}-{total & 0xFFFFFFFFFFFFFFFF:016x}"


def _place(reservation: Reservation) -> Place:
    return reservation.place


def _on_link(
    found: Iterable[Reservation], client: Client, when: float
) -> Reservation | None:
    """The one whose address is on the client's link, else one without an address."""
    without = None
    for each in found:
        if each.expires <= when:
            continue
        if each.address is None:
            without = each
        elif client.subnet_of(each.address) is not None:
            return each
    return without


def moved(reservation: Reservation, by: float) -> Reservation:
    """A reservation whose end is told by a clock that was set by so many seconds."""
    if not by or reservation.expires == inf:
        return reservation
    return replace(reservation, expires=reservation.expires + by)
