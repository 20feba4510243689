"""What the server asks of others: the contracts, and nothing else.

The packets' rooms and the control rooms know a storage by these alone, so a storage of
your own is a class with five methods.

Times are seconds since 1970 as floats, ``math.inf`` for never; durations are whole
seconds, ``0xFFFFFFFF`` for infinite; addresses are integers; hardware addresses are bytes
with their type in front.  ``when`` is the present: a storage reads no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface


# The contracts name Twisted's Deferred; importing it here would make everybody who
# looks at a contract load Twisted.
if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from typing import Any

    from twisted.internet.defer import Deferred

    from .client import Client
    from .lease import Event, Lease, Reservation, Verdict
    from .network import Network, Subnet


class WrongAnswer(TypeError):  # noqa: N818 - it says what it is
    """A storage's verb has answered with something that it may not.

    Args:
        verb: Which.
        answer: With what.
        expected: What it may.
    """

    def __init__(self, verb: str, answer: object, expected: str) -> None:
        super().__init__(
            f"the storage answered {verb} with {repr(answer)[:200]}; {expected} was"
            " expected"
        )


class IStorage(Interface):
    """Decides who gets which address: one verb for each step of the protocol.

    Every verb may answer at once, with a Deferred, or be an ``async def``.  Whatever it
    raises, or its Deferred fails with, is silence towards the client, who will ask again;
    it is counted as ``storage-failed`` and logged, now and then; an exception with a true
    attribute ``is_logged`` is only counted, for the storage has said it.  Clients retransmit: the same question
    may come twice, and must then have the same answer.

    A storage need not know any subnet: it may return whatever it likes.  What is missing
    in its answer comes from the class it names, then from the client's subnet.
    """

    def offer(client: Client, when: float) -> Any:
        """DISCOVER: the lease to propose, or silence.

        The address must be kept for this client for a while (30 seconds is usual), or
        another may be offered it too.  Nothing needs to be on disk yet.

        Returns:
            A `Lease` of which ``address`` and ``duration`` (seconds) matter, and
            ``settings`` if it has options, boot file, hostname, class or T1 and T2 of its
            own.  None for silence, or the `Silence` that says why.
        """

    def commit(client: Client, address: int, when: float) -> Any:
        """REQUEST: bind the address to the client, durably.

        The answer is sent as an ACK the moment it is returned: whatever must survive
        a crash has to be on disk by then (RFC 2131 section 3.1 step 4).  Asked again
        for what the client has, it extends the lease.

        ``client.state`` says what is asked: SELECTING may create a binding; the others
        confirm one that exists.

        Returns:
            The `Lease`, whose ``address`` must be the one that was asked for; `Refused`
            for a NAK: this client may not have this address; None if nothing is known of
            it: the server's ``authoritative`` decides then.
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


class IStorageFactory(Interface):
    """Makes the storages of one scheme: the word before the colon in ``storage =``.

    A package of yours offers one as a plug-in: a module in a folder ``dhcptwist/plugins``
    (without ``__init__.py``) of its distribution, with an instance at module level that
    also provides ``twisted.plugin.IPlugin``.
    """

    scheme: str = Attribute("""The word before the colon, in lower case.""")

    description: str = Attribute(
        """One line for people: what stands behind the colon."""
    )

    def make(argument: str, context: Any) -> IStorage:
        """The storage that ``storage = SCHEME:ARGUMENT`` names.

        Nothing is opened yet: that is for `IStorageService.start`.

        Args:
            argument: What stands behind the first colon.
            context: A `dhcptwist.storage.make.StorageContext`: subnets, reservations,
                state directory, reactor.

        Raises:
            ValueError: The argument does not fit; the message says what would.
        """


class IReservations(Interface):
    """Reservations that can be changed while the server runs.

    ``by`` is the name of who asks, for the journal.
    """

    def reserve(
        reservation: Reservation, when: float, by: str = ""
    ) -> Deferred[Verdict]:
        """Put a reservation into the live pool; in force before the answer.

        The same client in the same subnet again is a change; the answer means that it
        is on disk.

        Raises:
            AddressInUse: ``on_conflict`` is ``refuse`` and somebody has the address.
            ReservationConflict: The address or the client is reserved by another
                source, or the address for another client.
            ValueError: The address is in no subnet, or is one of our own.
        """

    def cancel(reservation: Reservation, when: float, by: str = "") -> Deferred[None]:
        """Take a reservation out.  Its client keeps the lease it has, to its end."""

    def change(
        added: Sequence[Reservation],
        removed: Sequence[Reservation],
        when: float,
        by: str = "",
        *,
        strict: bool = True,
        dry_run: bool = False,
    ) -> Deferred[list[Verdict | Exception]]:
        """Change many at once: in force, and on disk, together or not at all.

        Those that are removed go first, so clients can exchange addresses.

        Args:
            added: As for `reserve`; each client at most once in a subnet.
            removed: As they are known; what is not there is passed over.
            when: Now.
            by: Who asks.
            strict: If one cannot be reserved, nothing changes; else the others do.
            dry_run: Change nothing, and say what would be.

        Returns:
            For each one added, in order, its verdict or what `reserve` would raise.
        """

    def set_aside() -> list[Reservation]:
        """Those that are kept and not in force: the configuration's are in their way.

        They are nobody's to find by `reservation_of` or `reservations`; `cancel` and
        `change` take them out, and they are part of their source's `revision`.
        """

    def sources() -> dict[str, int]:
        """Everybody who has reservations here, by name, and how many."""

    def revision(source: str) -> str:
        """What tells one state of a source's reservations from another.

        It is the same again when the reservations are, also after a restart; when they
        end by themselves is no part of it.
        """

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
    """Looking at leases, taking them away, and taking them over from elsewhere."""

    def leases(after: int, limit: int, subnet: Subnet | None) -> list[Lease]:
        """A page of leases with addresses above ``after``, by address."""

    def find_leases(
        address: int | None, hardware: bytes | None, client_id: bytes | None
    ) -> list[Lease]:
        """The leases of an address, a hardware address or a client identifier."""

    def revoke(address: int, when: float, by: str = "") -> Deferred[Lease | None]:
        """End a lease now; None if there is none.

        The holder is not told before its next contact, so the address rests until
        the lease would have ended or until it is found silent.
        """

    def import_leases(
        leases: Sequence[Lease], when: float, by: str = "", dry_run: bool = False
    ) -> Deferred[list[str]]:
        """Take over leases that another server has given.

        Args:
            leases: BOUND, DECLINED or RELEASED ones; of one address at most one.
            when: Now.
            by: Who asks.
            dry_run: Change nothing, and say what would be.

        Returns:
            For each lease, in order: ``taken``; ``known`` if we have that already, or
            better; ``ended`` if nothing of it is left to keep; or why not, as a
            sentence.  On disk before it fires.
        """

    def figures(when: float) -> dict[str, Any]:
        """Numbers for `Status`: sizes, states, the storage's own."""

    def last_event() -> int:
        """The number of the latest event; one that keeps none counts from 0 anew."""

    def add_listener(listener: ILeaseListener) -> None:
        """Tell somebody of every change from now on."""

    def remove_listener(listener: ILeaseListener) -> None:
        """Tell it no more."""


class ILeaseListener(Interface):
    """Is told what happens to leases and reservations."""

    def lease_changed(event: Event) -> None:
        """Something happened, and is on disk; in the order in which it happened.

        It is called on the path of packets: whatever takes time has to be put off.
        An error is logged and changes nothing.
        """


class IHistory(Interface):
    """Looking back: who had which address when."""

    def history(
        address: int | None,
        key: bytes | None,
        before: int,
        limit: int,
        until: float | None = None,
    ) -> Deferred[list[Event]]:
        """What happened to an address or a client, the latest first.

        Args:
            address: The address; None for any.
            key: A client identifier, or hardware type and address; None for any.
            before: Only events with smaller numbers; 0 for the latest.
            limit: How many at most; fewer mean that there are no more.
            until: Only what happened at this time or before; None for everything.
        """

    def events(after: int, limit: int) -> Deferred[list[Event]]:
        """Everything that happened, from behind the event with number ``after``."""


class IExplainer(Interface):
    """A storage that can say what it would answer, and why."""

    def explain(client: Client, address: int, when: float) -> Any:
        """What the verb for the client's message would return, and by which rule.

        Nothing comes of it: nothing is held, kept, probed or ended.  The verb is
        ``offer`` in the state INIT, ``commit`` in the states of a REQUEST; in BOUND the
        message's type says which of the others.

        Returns:
            An `dhcptwist.explanation.Explanation`, or a Deferred or awaitable of it.
        """


class IStorageService(Interface):
    """A storage that must be opened and closed."""

    def start(when: float) -> Deferred[None] | None:
        """Open files and connections; read what there is."""

    def stop() -> Deferred[None] | None:
        """Finish what is under way and close."""


class INetworkListener(Interface):
    """A storage that keeps the subnets it was made with, or the file's reservations.

    One that looks at ``client.subnets`` alone needs none of this: a client's subnets are
    always those that the configuration has when it asks.
    """

    def network_changed(
        network: Network,
        added: Sequence[Reservation],
        removed: Sequence[Reservation],
        when: float,
    ) -> Deferred[None] | None:
        """The configuration was read again: have these subnets from now on.

        What it returns has been done, or will be when its Deferred fires; until then
        packets come with the old subnets, and with the new ones right after.  If it
        raises, or its Deferred fails, everything must be as it was: the old
        configuration stays in force, and whoever asked is told why.

        An answer that is still under way may be about a subnet that is no more.

        Args:
            network: All subnets and classes there are.
            added: Reservations that are new in the configuration.
            removed: Those that have gone from it; one that was changed is in both.
            when: Now.
        """


class IClockListener(Interface):
    """A storage that keeps times of the wall clock."""

    def clock_ticked(when: float) -> None:
        """About once a second: end what has ended."""

    def clock_stepped(by: float) -> Deferred[None] | None:
        """The wall clock was set: move every time by so many seconds.

        So nobody's remaining time changes when a machine without a clock of its own
        learns the date.
        """


class IProber(Interface):
    """Finds out whether somebody uses an address."""

    def probe(address: int, subnet: Subnet) -> Awaitable[bool]:
        """True if somebody answered; takes about a second if nobody does."""
