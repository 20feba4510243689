"""The AMP commands about reservations; `commands` has them all."""

from __future__ import annotations

from typing import ClassVar

from .errors import ERRORS, AddressInUse, NotFound, ReservedByOther, RevisionChanged
from .fields import (
    EXPECT,
    GUARD,
    JSON,
    LIMIT,
    NEXT,
    PAGE,
    REVISION,
    SOURCE,
    WHO,
    Boolean,
    Command,
    Flag,
    Float,
    Integer,
    Number,
    Object,
    Text,
    Unicode,
)


class Reserve(Command):
    """Put a reservation into the live pool; the answer means that it is on disk.

    ``verdict`` is ``applied`` or ``waiting``; then ``holder`` says who has the address,
    and ``until`` when that ends (absent: never, or applied).

    Instead of naming a client, ``for_holder`` takes the one who has the address now, and
    says how to know it again: ``hardware``, ``client_id`` or ``port``.  With
    ``while_connected`` the reservation ends with the connection that made it, at most
    five minutes after it if the server itself ends first.
    """

    commandName = b"Reserve"
    verbs: ClassVar = ("reserve",)
    fails: ClassVar = (AddressInUse, ReservedByOther, RevisionChanged, NotFound)
    arguments: ClassVar = [
        (
            b"address",
            Text(optional=True, doc="What to reserve; absent: names and options only."),
        ),
        *WHO,
        (b"hostname", Text(optional=True, doc="What the client is called.")),
        (
            b"options",
            Object(
                optional=True,
                doc="Option name or number to its text, as behind option.NAME = in the "
                "ini file.",
            ),
        ),
        (
            b"next_server",
            Text(optional=True, doc="The address of the server to boot from."),
        ),
        (b"boot_file", Text(optional=True, doc="The name of the file to boot.")),
        (
            b"server_name",
            Text(optional=True, doc="The name of the server to boot from."),
        ),
        *SOURCE,
        (
            b"on_conflict",
            Text(
                optional=True,
                doc="If another client has the address: wait, move, preempt or refuse; "
                "absent: wait.",
            ),
        ),
        (b"lifetime", Number(optional=True, doc="Seconds; absent: for ever.")),
        (
            b"for_holder",
            Text(
                optional=True, doc="hardware, client_id or port; then name no client."
            ),
        ),
        (
            b"while_connected",
            Flag(
                optional=True,
                doc="End it with this connection; then without a lifetime; absent: no.",
            ),
        ),
        *GUARD,
    ]
    response: ClassVar = [
        (b"verdict", Unicode(doc="applied or waiting.")),
        (b"holder", Unicode(doc="Who has the address still; empty if applied.")),
        (b"until", Float(optional=True, doc="When that ends, in seconds since 1970.")),
        REVISION,
    ]
    errors = ERRORS


class CancelReservation(Command):
    """Take the reservations of an address or a client out.

    Their clients keep the leases they have, to their end.  ``cancelled`` lists them,
    as far as one answer can hold them.
    """

    commandName = b"CancelReservation"
    verbs: ClassVar = ("cancel",)
    fails: ClassVar = (NotFound, ReservedByOther, RevisionChanged)
    arguments: ClassVar = [
        (b"address", Text(optional=True, doc="Of this address; or")),
        *WHO,
        (
            b"source",
            Text(
                optional=True,
                doc="Only those of this source; absent: of any that the caller may "
                "write.",
            ),
        ),
        *GUARD,
    ]
    response: ClassVar = [
        (b"cancelled", JSON(doc="A list, each as in `ListReservations`."))
    ]
    errors = ERRORS


class ChangeReservations(Command):
    """Make several changes at once: all, or (``strict`` false) all that can be made.

    ``changes`` is a list of objects, ``{"reserve": {…}}`` with the arguments of `Reserve`
    or ``{"cancel": {…}}`` with those of `CancelReservation`, all for one ``source``.  What
    is cancelled goes first, so clients can exchange addresses.

    ``results`` has an object for each, in order: ``verdict`` (``applied``, ``waiting`` with
    ``holder`` and ``until``, or ``cancelled``), or ``error``, an error's code, with
    ``message``.  ``done`` is false if nothing changed: one could not be made, or it was on
    trial (``dry_run``).
    """

    commandName = b"ChangeReservations"
    verbs: ClassVar = ("reserve", "cancel")
    fails: ClassVar = (RevisionChanged,)
    arguments: ClassVar = [
        (b"changes", Object(doc="A list of 1 to 1000 objects.")),
        *SOURCE,
        (
            b"strict",
            Flag(
                optional=True, doc="Change nothing if one cannot be made; absent: yes."
            ),
        ),
        (b"dry_run", Flag(optional=True, doc="Only say what would be; absent: no.")),
        *GUARD,
    ]
    response: ClassVar = [
        (b"results", JSON(doc="A list of objects.")),
        (b"done", Boolean(doc="Whether anything was changed.")),
        REVISION,
    ]
    errors = ERRORS


class BeginReplace(Command):
    """Begin to put a new set of reservations in the place of all that a source has.

    Then come `StageReservations`, as often as needed, and `CommitReplace`.  Until that,
    nothing changes; a connection that ends, or begins another one, leaves nothing behind.
    """

    commandName = b"BeginReplace"
    verbs: ClassVar = ("reserve", "cancel")
    fails: ClassVar = (RevisionChanged,)
    arguments: ClassVar = [*SOURCE, EXPECT]
    response: ClassVar = [(b"revision", Unicode(doc="Of the source, now."))]
    errors = ERRORS


class StageReservations(Command):
    """Some more of the new set; each is an object with the arguments of `Reserve`.

    If one makes no sense, `InvalidRequest` names its place in this list, and none of the
    list is taken.  ``staged`` counts all so far.
    """

    commandName = b"StageReservations"
    verbs: ClassVar = ("reserve", "cancel")
    fails: ClassVar = ()
    arguments: ClassVar = [(b"reservations", Object(doc="A list of objects."))]
    response: ClassVar = [
        (b"staged", Integer(doc="How many there are so far, of 500,000 at most."))
    ]
    errors = ERRORS


class CommitReplace(Command):
    """Make the set that was staged the source's own, all in one transaction.

    `RevisionChanged` says that the source was changed by somebody else since
    `BeginReplace`; nothing changes then.  What cannot be reserved (another source's, a
    holder with ``refuse``, an address that cannot be) is left out; with ``strict`` nothing
    changes if there is any such.

    ``added``, ``changed``, ``removed``, ``same`` and ``refused`` count; so does
    ``waiting``, those of the first two whose address somebody else has still.  ``done`` is
    false if nothing changed.  `ListReplaced` tells of each.
    """

    commandName = b"CommitReplace"
    verbs: ClassVar = ("reserve", "cancel")
    fails: ClassVar = (RevisionChanged,)
    arguments: ClassVar = [
        (
            b"strict",
            Flag(
                optional=True,
                doc="Change nothing if one cannot be reserved; absent: no.",
            ),
        ),
        (b"dry_run", Flag(optional=True, doc="Only say what would be; absent: no.")),
    ]
    response: ClassVar = [
        (b"added", Integer(doc="How many are new.")),
        (b"changed", Integer(doc="How many say something else than before.")),
        (b"removed", Integer(doc="How many there are no longer.")),
        (b"same", Integer(doc="How many are as they were.")),
        (b"refused", Integer(doc="How many could not be reserved.")),
        (b"waiting", Integer(doc="How many wait for the holder of their address.")),
        (b"done", Boolean(doc="Whether anything was changed.")),
        REVISION,
    ]
    errors = ERRORS


class ListReplaced(Command):
    """A page of what the last `CommitReplace` of this connection came to.

    Each row is a reservation as in `ListReservations`, with ``change`` (``added``,
    ``changed``, ``removed`` or ``refused``) and what `ChangeReservations` says in
    ``results``; ``reserved_by`` is the source that is in the way of it.  ``only`` picks some, like ``["refused", "waiting"]``.
    """

    commandName = b"ListReplaced"
    verbs: ClassVar = ("reserve", "cancel")
    fails: ClassVar = ()
    arguments: ClassVar = [
        (
            b"only",
            Object(
                optional=True,
                doc="A list of added, changed, removed, refused and waiting; absent: "
                "all.",
            ),
        ),
        (
            b"after",
            Number(
                optional=True,
                doc="``next`` of the page before; absent: the first page.",
            ),
        ),
        LIMIT,
    ]
    response: ClassVar = [
        (b"replaced", JSON(doc="A list of objects.")),
        (
            b"next",
            Integer(
                optional=True, doc="Where the next page begins; absent: there is none."
            ),
        ),
    ]
    errors = ERRORS


class ListSources(Command):
    """Everybody who has reservations, with ``reservations`` (how many) and ``revision``.

    As many as one answer can hold.
    """

    commandName = b"ListSources"
    verbs: ClassVar = ("list",)
    fails: ClassVar = ()
    arguments: ClassVar = []
    response: ClassVar = [
        (
            b"sources",
            JSON(doc="A list of objects with source, reservations and revision."),
        )
    ]
    errors = ERRORS


class ListReservations(Command):
    """A page of reservations, by address; those without an address come first.

    With ``source``, ``revision`` is that of its reservations.  The first page has, beside
    them, those that are ``set_aside``: pushed, and not in force, for one of the
    configuration's own is in their way; as many as fit.
    """

    commandName = b"ListReservations"
    verbs: ClassVar = ("list",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        *PAGE,
        (b"source", Text(optional=True, doc="Only those of this source.")),
    ]
    response: ClassVar = [
        (
            b"reservations",
            JSON(
                doc="A list of objects: address (null for none), hardware, client_id, "
                "circuit_id, remote_id, hostname, options, next_server (or null), "
                "boot_file, server_name, source, on_conflict and expires (seconds "
                "since 1970; null for never). What is not said is empty."
            ),
        ),
        NEXT,
        (b"revision", Unicode(optional=True, doc="Of the source, if one is named.")),
        (
            b"set_aside",
            JSON(
                optional=True,
                doc="On the first page: those that are kept and not in force, for one of"
                " the configuration's own is in their way; as many as fit.",
            ),
        ),
    ]
    errors = ERRORS
