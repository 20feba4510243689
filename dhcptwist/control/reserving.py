"""Answers the commands that change reservations one by one, and those that show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any

from ..lease import (
    FILE,
    Lease,
    LeaseState,
    Reservation,
    Verdict,
    format_hardware,
    format_identifier,
    port_of,
)
from . import commands
from .answering import PAGE_BYTES, Answering, fitting, page_length, paged
from .caller import Caller
from .errors import InvalidRequest, NotFound, ReservedByOther, RevisionChanged
from .holding import LIFETIME, Place
from .values import (
    format_place,
    parse_place,
    read_fields,
    read_reservation,
    read_who,
    reservation_fields,
)


#: Bytes of those set aside that a list has beside its first page.
MOST_SET_ASIDE = 12 << 10

#: How a holder is known again, to which of our fields of a reservation that is.
_KNOWN_BY = ("hardware", "client_id", "port")


class ReservingAnswers(Answering):
    """The commands about single reservations."""

    @commands.Reserve.responder
    async def reserve(self, **given: Any) -> dict[str, Any]:
        """See `commands.Reserve`."""
        caller = self.permitted("reserve")
        # One that ends with its connection is made anew on another.
        if not given.get("key") or given.get("while_connected"):
            return await self._reserve(caller, given)
        return await self.server.repeating.once(
            caller.name, "Reserve", given, lambda: self._reserve(caller, given)
        )

    async def _reserve(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        storage = self.server.reserving()
        when = self.server.clock()
        source = caller.source(given.get("source"))
        self.expect(source, given)
        if given.get("for_holder"):
            given = {**given, **self.holder(given, when)}
        reservation = read_reservation(given, source, when)
        caller.must_reach(reservation.address)
        is_held = given.get("while_connected")
        if is_held:
            reservation = self.for_now(reservation, when)
        verdict = await storage.reserve(reservation, when, caller.name)
        self.took([reservation.place], [reservation] if is_held else [], caller)
        return {**verdict_fields(verdict), "revision": storage.revision(source)}

    def holder(self, given: dict[str, Any], when: float) -> dict[str, str]:
        """The client that has an address, as the arguments that name it.

        Raises:
            NotFound: Nobody has it.
            InvalidRequest: It cannot be known again like that.
        """
        kind = given["for_holder"]
        if kind not in _KNOWN_BY:
            raise InvalidRequest(
                f"for_holder: {kind!r} is none of {', '.join(_KNOWN_BY)}"
            )
        address = read_fields({"address": given.get("address")}).get("address")
        if address is None or read_who(read_fields(given)) is not None:
            raise InvalidRequest("for_holder: needs an address, and no other client")
        found = self.server.leasing().find_leases(address, None, None)
        for lease in found:
            if lease.state == LeaseState.BOUND and lease.bound(when):
                return _named(lease, kind)
        raise NotFound(f"{given['address']} is not leased to anybody now")

    @commands.CancelReservation.responder
    async def cancel(self, **given: Any) -> dict[str, Any]:
        """See `commands.CancelReservation`."""
        caller = self.permitted("cancel")
        return await self.server.repeating.once(
            caller.name, "CancelReservation", given, lambda: self._cancel(caller, given)
        )

    async def _cancel(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        storage = self.server.reserving()
        if given.get("expect_revision") is not None:
            self.expect(caller.source(given.get("source")), given)
        found = self.to_cancel(caller, given)
        await storage.change([], found, self.server.clock(), caller.name)
        self.took((each.place for each in found), [], caller)
        return {"cancelled": fitting(map(reservation_fields, found), PAGE_BYTES)}

    def to_cancel(self, caller: Caller, given: dict[str, Any]) -> list[Reservation]:
        """The reservations that arguments name, if the caller may take them out.

        Raises:
            NotFound: There are none.
            NotPermitted, ReservedByOther: It may not.
            InvalidRequest: The arguments name nothing.
        """
        values = read_fields(given)
        address, who = values.get("address"), read_who(values)
        if address is None and who is None:
            raise InvalidRequest("cancel what? give an address or a client")
        found: list[Reservation] = self.server.reserving().reservation_of(
            address, who.who if who else None
        )
        found += [
            each
            for each in self.server.reserving().set_aside()
            if each.address == address or (who is not None and each.who == who.who)
        ]
        if address is not None and who is not None:
            found = [r for r in found if r.address == address and r.who == who.who]
        if address is None:
            found = [each for each in found if caller.reaches(each.address)]
        if not found:
            raise NotFound("there is no such reservation")
        # Without a source, admin cancels whoever's it is, others only their own.
        wanted = given.get("source")
        sources = (caller.source(wanted),) if wanted else caller.sources
        any_source = caller.is_admin and not wanted
        if len({each.source for each in found}) > 1 and FILE not in sources:
            # One that is set aside, and the configuration's that is in its way.
            found = [each for each in found if each.source != FILE]
        for each in found:
            caller.must_reach(each.address)
            if each.source == FILE or not (any_source or each.source in sources):
                where = (
                    "the configuration file: change it there"
                    if each.source == FILE
                    else f"{each.source!r}: only that source or admin may cancel it"
                )
                raise ReservedByOther(
                    f"{name_of(each)} is a reservation of {where}", source=each.source
                )
        return found

    def expect(self, source: str, given: dict[str, Any]) -> None:
        """See that a source is what the caller takes it for.

        Raises:
            RevisionChanged: It is not.
        """
        expected = given.get("expect_revision")
        if expected is None:
            return
        revision = self.server.reserving().revision(source)
        if expected != revision:
            raise RevisionChanged(
                f"the reservations of {source!r} are at revision {revision}",
                revision=revision,
            )

    @commands.ListReservations.responder
    def list_reservations(
        self,
        after: str | None = None,
        limit: int | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        """See `commands.ListReservations`."""
        caller = self.permitted("list")
        storage = self.server.reserving()
        place = None
        if after:
            try:
                place = parse_place(after)
            except ValueError:
                raise InvalidRequest(f"after: {after!r} was never a next") from None
        page = storage.reservations(place, page_length(limit), source)
        rows = [(format_place(each), _visible(caller, each)) for each in page]
        answer = paged("reservations", rows, len(page) == page_length(limit))
        if source:
            answer["revision"] = storage.revision(source)
        aside = [] if after else storage.set_aside()
        rows = [
            (format_place(each), _visible(caller, each))
            for each in aside
            if source in (None, each.source)
        ]
        if rows:
            shown = (fields for _, fields in rows if fields is not None)
            answer["set_aside"] = fitting(shown, MOST_SET_ASIDE)
        return answer

    @commands.ListSources.responder
    def list_sources(self) -> dict[str, Any]:
        """See `commands.ListSources`."""
        self.permitted("list")
        storage = self.server.reserving()
        rows = (
            {"source": name, "reservations": count, "revision": storage.revision(name)}
            for name, count in storage.sources().items()
        )
        return {"sources": fitting(rows, PAGE_BYTES)}

    # --- those that end with the connection -----------------------------------------

    def for_now(self, reservation: Reservation, when: float) -> Reservation:
        """A reservation that has to be made longer, or it ends.

        Raises:
            InvalidRequest: It has a lifetime of its own.
        """
        if reservation.expires != inf:
            raise InvalidRequest("while_connected: leaves no room for a lifetime")
        return replace(reservation, expires=when + LIFETIME)

    def took(
        self, places: Iterable[Place], held: Iterable[Reservation], caller: Caller
    ) -> None:
        """These places have changed hands; some end with this connection."""
        holding = self.server.holding
        holding.let_go(places)
        for each in held:
            holding.hold(each, self, caller.name)
        if self.is_closed:
            holding.end(self)

    def closed(self) -> None:
        """See `Answering.closed`."""
        super().closed()
        self.server.holding.end(self)


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """A verdict for other programs; without ``until`` there is no end."""
    fields: dict[str, Any] = {"verdict": verdict.outcome, "holder": verdict.holder}
    if verdict.until is not None and verdict.until != inf:
        fields["until"] = verdict.until
    return fields


def name_of(reservation: Reservation) -> str:
    """A reservation in a line of the log."""
    fields = reservation_fields(reservation)
    keys = ("hardware", "client_id", "circuit_id", "remote_id")
    who = " ".join(fields[key] for key in keys if fields[key])
    return f"{fields['address'] or 'settings'} for {who}"


def _visible(caller: Caller, each: Reservation) -> dict[str, Any] | None:
    return reservation_fields(each) if caller.reaches(each.address) else None


def _named(lease: Lease, kind: str) -> dict[str, str]:
    """A lease's client as arguments of `Reserve`.

    Raises:
        InvalidRequest: It cannot be known like that.
    """
    if kind == "hardware" and lease.hardware:
        return {"hardware": format_hardware(lease.hardware)}
    if kind == "client_id":
        return {"client_id": format_identifier(lease.key)}
    if kind == "port" and lease.relay:
        circuit, remote = port_of(lease.relay)
        if circuit or remote:
            return {
                name: format_identifier(data)
                for name, data in (("circuit_id", circuit), ("remote_id", remote))
                if data
            }
    what = "relay's port" if kind == "port" else "hardware address"
    raise InvalidRequest(f"for_holder: the holder has no {what}")
