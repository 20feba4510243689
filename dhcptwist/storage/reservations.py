"""Finding reservations: by address, by client, by source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from math import inf

from ..client import Client
from ..lease import Lease, Reservation, port_of


class ReservationIndex:
    """All reservations, found at once by whatever identifies them.

    ``by_address`` is a plain mapping because the search for a free address looks there.
    """

    def __init__(self) -> None:
        self.by_address: dict[int, Reservation] = {}
        self._by_who: dict[tuple[str, bytes, bytes], tuple[Reservation, ...]] = {}
        self._lifetimes: list[tuple[float, int, Reservation]] = []
        self._added = 0
        self._sorted: list[Reservation] | None = None

    def __bool__(self) -> bool:
        return bool(self._by_who)

    def __len__(self) -> int:
        return sum(map(len, self._by_who.values()))

    def add(self, reservation: Reservation) -> None:
        """Put one in; the caller has taken out what stood in its place."""
        self._sorted = None
        if reservation.address is not None:
            self.by_address[reservation.address] = reservation
        if reservation.expires != inf:
            self._added += 1
            heappush(self._lifetimes, (reservation.expires, self._added, reservation))
        who = reservation.who
        self._by_who[who] = (*self._by_who.get(who, ()), reservation)

    def remove(self, reservation: Reservation) -> None:
        """Take one out, whatever its end is by now."""
        self._sorted = None
        who = reservation.who
        place = reservation.place
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

    def page(
        self,
        after: tuple[int, str, bytes, bytes] | None,
        limit: int,
        source: str | None,
    ) -> list[Reservation]:
        """A page in the order of `Reservation.place`, from behind ``after``."""
        if self._sorted is None:
            every = [each for mine in self._by_who.values() for each in mine]
            self._sorted = sorted(every, key=_place)
        begin = 0 if after is None else bisect_right(self._sorted, after, key=_place)
        found = (
            each
            for each in islice(self._sorted, begin, None)
            if source in (None, each.source)
        )
        return list(islice(found, limit))


def _place(reservation: Reservation) -> tuple[int, str, bytes, bytes]:
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
