"""What the server asks of others: the contracts, and nothing else.

The packets' rooms and the control rooms know a storage by these alone, so a storage of
your own is a class with five methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface


# The contracts name Twisted's Deferred; importing it here would make everybody who
# looks at a contract load Twisted.
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from twisted.internet.defer import Deferred

    from .client import Client
    from .lease import Lease, Reservation, Verdict
    from .network import Subnet


class IStorage(Interface):
    """Decides who gets which address: one verb for each step of the protocol.

    Every verb may answer at once, with a Deferred, or be an ``async def``.  An answer
    that fails is silence towards the client, who will ask again; it is logged and
    counted.  ``when`` is the present in seconds since 1970; a storage reads no clock.

    A storage need not know any subnet: it may return whatever it likes.
    """

    def offer(client: Client, when: float) -> Any:
        """DISCOVER: the lease to propose, or silence.

        Returns:
            A `Lease` of which ``address`` and ``duration`` (seconds) matter, and
            ``settings`` if it has options of its own.  The address must be kept for
            this client for a while (30 seconds is usual), or another may be offered
            it too.  None for silence, or the `Silence` that says why.
        """

    def commit(client: Client, address: int, when: float) -> Any:
        """REQUEST: bind the address to the client, durably.

        The answer is sent as an ACK the moment it is returned: whatever must survive
        a crash has to be on disk by then (RFC 2131 section 3.1 step 4).  Asked again
        for what the client has, it extends the lease.

        ``client.state`` says what is asked: SELECTING may create a binding; the others
        confirm one that exists.

        Returns:
            The `Lease`; `Refused` for a NAK: this client may not have this address;
            None if nothing is known of it: the server's ``authoritative`` decides
            then.
        """

    def release(client: Client, address: int, when: float) -> Any:
        """RELEASE: the client gives its address back.

        Address 0 in state SELECTING: the client chose another server; what was offered
        to it is free again, what it has bound stays.

        Returns:
            True if it was the client's to give back.
        """

    def decline(client: Client, address: int, when: float) -> Any:
        """DECLINE: the client found the address in use; it should rest a while.

        Returns:
            True if it was the client's to decline; anything else may be an attack.
        """

    def configure(client: Client, when: float) -> Any:
        """INFORM: settings for a client that has its address already.

        Returns:
            `Settings` (may be empty), or None for silence.
        """


class IReservations(Interface):
    """Reservations that can be changed while the server runs."""

    def reserve(reservation: Reservation, when: float) -> Deferred[Verdict]:
        """Put a reservation into the live pool; in force before the answer.

        The same client in the same subnet again is a change; the answer means that it
        is on disk.

        Raises:
            AddressInUse: ``on_conflict`` is ``refuse`` and somebody has the address.
            ReservationConflict: The address or the client is reserved by another
                source, or the address for another client.
            ValueError: The address is in no subnet, or is one of our own.
        """

    def cancel(reservation: Reservation, when: float) -> Deferred[None]:
        """Take a reservation out.  Its client keeps the lease it has, to its end."""

    def reservation_of(
        address: int | None, who: tuple[str, bytes, bytes] | None
    ) -> list[Reservation]:
        """The reservations of an address, or of a client (`Reservation.who`)."""

    def reservations(
        after: tuple[int, str, bytes, bytes] | None, limit: int, source: str | None
    ) -> list[Reservation]:
        """A page of reservations in the order of `Reservation.place`, from behind one.

        Args:
            after: The place of the last one of the page before; None to begin.
            limit: How many at most; fewer mean that there are no more.
            source: Whose; None for all.
        """


class ILeases(Interface):
    """Looking at leases, and taking them away."""

    def leases(after: int, limit: int, subnet: Subnet | None) -> list[Lease]:
        """A page of leases with addresses above ``after``, by address."""

    def find_leases(
        address: int | None, hardware: bytes | None, client_id: bytes | None
    ) -> list[Lease]:
        """The leases of an address, a hardware address or a client identifier."""

    def revoke(address: int, when: float) -> Deferred[Lease | None]:
        """End a lease now; None if there is none.

        The holder is not told before its next contact, so the address rests until
        the lease would have ended or until it is found silent.
        """

    def figures(when: float) -> dict[str, Any]:
        """Numbers for `Status`: sizes, states, the storage's own."""


class IStorageService(Interface):
    """A storage that must be opened and closed."""

    def start(when: float) -> Deferred[None] | None:
        """Open files and connections; read what there is."""

    def stop() -> Deferred[None] | None:
        """Finish what is under way and close."""


class IClockListener(Interface):
    """A storage that keeps times of the wall clock."""

    def clock_stepped(by: float) -> Deferred[None] | None:
        """The wall clock was set: move every time by so many seconds.

        So nobody's remaining time changes when a machine without a clock of its own
        learns the date.
        """


class IProber(Interface):
    """Finds out whether somebody uses an address."""

    def probe(address: int, subnet: Subnet) -> Awaitable[bool]:
        """True if somebody answered; takes about a second if nobody does."""
