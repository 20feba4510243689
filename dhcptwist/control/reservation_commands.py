"""The AMP commands about reservations; `commands` has them all."""

from __future__ import annotations

from typing import ClassVar

from twisted.protocols import amp

from .errors import ERRORS
from .fields import GUARD, JSON, WHO, Command, Number, Object, Text


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
    arguments: ClassVar = [
        (b"address", Text(optional=True)),
        *WHO,
        (b"hostname", Text(optional=True)),
        # Option name or number to its text, as behind option.NAME = in the ini file.
        (b"options", Object(optional=True)),
        (b"next_server", Text(optional=True)),
        (b"boot_file", Text(optional=True)),
        (b"server_name", Text(optional=True)),
        (b"source", Text(optional=True)),  # absent: the certificate's name
        (b"on_conflict", Text(optional=True)),  # absent: wait
        (b"lifetime", Number(optional=True)),  # seconds; absent: for ever
        (b"for_holder", Text(optional=True)),
        (b"while_connected", amp.Boolean(optional=True)),
        *GUARD,
    ]
    response: ClassVar = [
        (b"verdict", amp.Unicode()),
        (b"holder", amp.Unicode()),
        (b"until", amp.Float(optional=True)),  # seconds since 1970
        (b"revision", amp.Unicode()),  # of the source, from now on
    ]
    errors = ERRORS


class CancelReservation(Command):
    """Take the reservations of an address or a client out.

    Their clients keep the leases they have, to their end.  ``cancelled`` lists them,
    as far as one answer can hold them.
    """

    commandName = b"CancelReservation"
    arguments: ClassVar = [
        (b"address", Text(optional=True)),
        *WHO,
        (b"source", Text(optional=True)),
        *GUARD,  # a revision is that of ``source``, which must be named then
    ]
    response: ClassVar = [(b"cancelled", JSON())]
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
    arguments: ClassVar = [
        (b"changes", Object()),
        (b"source", Text(optional=True)),  # absent: the certificate's name
        (b"strict", amp.Boolean(optional=True)),  # absent: yes
        (b"dry_run", amp.Boolean(optional=True)),
        *GUARD,
    ]
    response: ClassVar = [
        (b"results", JSON()),
        (b"done", amp.Boolean()),
        (b"revision", amp.Unicode()),
    ]
    errors = ERRORS


class BeginReplace(Command):
    """Begin to put a new set of reservations in the place of all that a source has.

    Then come `StageReservations`, as often as needed, and `CommitReplace`.  Until that,
    nothing changes; a connection that ends, or begins another one, leaves nothing behind.
    """

    commandName = b"BeginReplace"
    arguments: ClassVar = [
        (b"source", Text(optional=True)),  # absent: the certificate's name
        (b"expect_revision", Text(optional=True)),
    ]
    response: ClassVar = [(b"revision", amp.Unicode())]
    errors = ERRORS


class StageReservations(Command):
    """Some more of the new set; each is an object with the arguments of `Reserve`.

    If one makes no sense, `InvalidRequest` names its place in this list, and none of the
    list is taken.  ``staged`` counts all so far.
    """

    commandName = b"StageReservations"
    arguments: ClassVar = [(b"reservations", Object())]
    response: ClassVar = [(b"staged", amp.Integer())]
    errors = ERRORS


class CommitReplace(Command):
    """Make the set that was staged the source's own, all in one transaction.

    `RevisionChanged` says that the source was changed by somebody else since
    `BeginReplace`; nothing changes then.  What cannot be reserved (another source's, a
    holder with ``refuse``, an address that cannot be) is left out; with ``strict`` nothing
    changes if there is any such.

    ``added``, ``changed``, ``removed``, ``same``, ``refused`` and ``waiting`` count; the
    last are among the first two.  ``done`` is false if nothing changed.  `ListReplaced`
    tells of each.
    """

    commandName = b"CommitReplace"
    arguments: ClassVar = [
        (b"strict", amp.Boolean(optional=True)),  # absent: no
        (b"dry_run", amp.Boolean(optional=True)),
    ]
    response: ClassVar = [
        (b"added", amp.Integer()),
        (b"changed", amp.Integer()),
        (b"removed", amp.Integer()),
        (b"same", amp.Integer()),
        (b"refused", amp.Integer()),
        (b"waiting", amp.Integer()),
        (b"done", amp.Boolean()),
        (b"revision", amp.Unicode()),
    ]
    errors = ERRORS


class ListReplaced(Command):
    """A page of what the last `CommitReplace` of this connection came to.

    Each row is a reservation as in `ListReservations`, with ``change`` (``added``,
    ``changed``, ``removed`` or ``refused``) and what `ChangeReservations` says in
    ``results``; ``reserved_by`` is the source that is in the way of it.  ``only`` picks some, like ``["refused", "waiting"]``.
    """

    commandName = b"ListReplaced"
    arguments: ClassVar = [
        (b"only", Object(optional=True)),
        (b"after", Number(optional=True)),
        (b"limit", Number(optional=True)),
    ]
    response: ClassVar = [(b"replaced", JSON()), (b"next", amp.Integer(optional=True))]
    errors = ERRORS


class ListSources(Command):
    """Everybody who has reservations, with ``reservations`` (how many) and ``revision``.

    As many as one answer can hold.
    """

    commandName = b"ListSources"
    arguments: ClassVar = []
    response: ClassVar = [(b"sources", JSON())]
    errors = ERRORS


class ListReservations(Command):
    """A page of reservations, by address; those without an address come first.

    With ``source``, ``revision`` is that of its reservations.  The first page has, beside
    them, those that are ``set_aside``: pushed, and not in force, for one of the
    configuration's own is in their way; as many as fit.
    """

    commandName = b"ListReservations"
    arguments: ClassVar = [
        (b"after", Text(optional=True)),
        (b"limit", Number(optional=True)),
        (b"source", Text(optional=True)),
    ]
    response: ClassVar = [
        (b"reservations", JSON()),
        (b"next", amp.Unicode(optional=True)),
        (b"revision", amp.Unicode(optional=True)),
        (b"set_aside", JSON(optional=True)),
    ]
    errors = ERRORS
