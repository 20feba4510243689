"""The AMP commands: the contract, nothing else; their errors are in `errors`.

A value ends at 65,535 bytes, so lists come in pages: ask again with ``after`` set to the
``next`` of the answer until there is none.  What has many fields is one JSON value.
"""

from __future__ import annotations

from typing import ClassVar

from twisted.protocols import amp

from .errors import ERRORS
from .fields import JSON, WHO, Bytes, Command, Number, Object, Text, Time
from .reservation_commands import (
    BeginReplace,
    CancelReservation,
    ChangeReservations,
    CommitReplace,
    ListReplaced,
    ListReservations,
    ListSources,
    Reserve,
    StageReservations,
)


__all__ = [
    "BeginReplace",
    "CancelReservation",
    "ChangeReservations",
    "CommitReplace",
    "Events",
    "Explain",
    "FindLease",
    "ImportLeases",
    "LeaseHistory",
    "ListIdentities",
    "ListLeases",
    "ListReplaced",
    "ListReservations",
    "ListSources",
    "NewIdentity",
    "Reserve",
    "RevokeIdentity",
    "RevokeLease",
    "StageReservations",
    "Status",
    "WatchEvents",
]


class ListLeases(Command):
    """A page of leases, by address; ended ones too, for their clients come back."""

    commandName = b"ListLeases"
    arguments: ClassVar = [
        (b"after", Text(optional=True)),
        (b"limit", Number(optional=True)),
        (b"subnet", Text(optional=True)),
    ]
    response: ClassVar = [(b"leases", JSON()), (b"next", amp.Unicode(optional=True))]
    errors = ERRORS


class FindLease(Command):
    """All leases and reservations of an address, hardware address or client identifier."""

    commandName = b"FindLease"
    arguments: ClassVar = [
        (b"address", Text(optional=True)),
        (b"hardware", Text(optional=True)),
        (b"client_id", Text(optional=True)),
    ]
    response: ClassVar = [(b"leases", JSON()), (b"reservations", JSON())]
    errors = ERRORS


class RevokeLease(Command):
    """End a lease now.

    Its holder learns of it at its next contact; until then, or until a probe finds it
    silent, the address rests.
    """

    commandName = b"RevokeLease"
    arguments: ClassVar = [(b"address", Text())]
    response: ClassVar = [(b"lease", JSON())]
    errors = ERRORS


class ImportLeases(Command):
    """Take over leases that another server has given.

    Each is an object with the fields of a lease in `ListLeases`: address, state (bound,
    expired, released, declined), hardware, client_id, hostname, since, expires (null for
    never), relay.  ``verdicts`` has a text for each, in order: ``taken``; ``known`` if we
    have it already, or better; ``ended`` if it has ended and nobody comes back for it; or
    why not.  The answer means that it is on disk; an error, that none of these is.
    """

    commandName = b"ImportLeases"
    arguments: ClassVar = [
        (b"leases", Object()),
        (b"dry_run", amp.Boolean(optional=True)),
    ]
    response: ClassVar = [(b"verdicts", JSON())]
    errors = ERRORS


class LeaseHistory(Command):
    """What happened to an address or a client, the latest first.

    ``next`` is the number to give as ``before``.  Times are seconds since 1970.  If there
    is nothing until the time that was asked for, ``begins`` is when the journal does: the
    time of the oldest event that is kept of anybody, or now.
    """

    commandName = b"LeaseHistory"
    arguments: ClassVar = [
        (b"address", Text(optional=True)),
        (b"hardware", Text(optional=True)),
        (b"client_id", Text(optional=True)),
        (b"before", Number(optional=True)),
        (b"limit", Number(optional=True)),
        (b"until", Time(optional=True)),  # only what happened until then
    ]
    response: ClassVar = [
        (b"events", JSON()),
        (b"next", amp.Integer(optional=True)),
        (b"begins", amp.Float(optional=True)),
    ]
    errors = ERRORS


class WatchEvents(Command):
    """Be told of what happens, in the order in which it happens, with `Events`.

    ``number`` is that of the last event before the first that will come: ``after``, or
    the latest there is.  Each connection watches once; it watches until it ends.
    """

    commandName = b"WatchEvents"
    arguments: ClassVar = [
        (b"after", Number(optional=True)),  # absent: from now on
        # Only these, like ["bound", "released"]; absent: all.
        (b"kinds", Object(optional=True)),
    ]
    response: ClassVar = [(b"number", amp.Integer())]
    errors = ERRORS


class Events(Command):
    """What happened; it is the server that calls, and the watcher that answers.

    The next ones come when this is answered, so a slow watcher is never flooded.  A
    watcher that comes back gives ``number`` as ``after``, and misses nothing; if some are
    no longer kept, ``lost`` says how many, before these.
    """

    commandName = b"Events"
    arguments: ClassVar = [
        (b"events", JSON()),
        (b"number", amp.Integer()),  # of the last one looked at
        (b"lost", amp.Integer(optional=True)),
    ]
    response: ClassVar = []


class Explain(Command):
    """What the server would answer to a message, and why; nothing changes.

    The message is a ``packet``, the payload of a datagram that came from ``source`` and
    was sent to ``destination``; or it is made of the rest.  ``kind`` is discover
    (absent), request (of an offer), reboot, renew, rebind, inform, decline or release.
    Without an ``address`` a client asks for what it would be offered, or has.

    ``explanation`` is an object.  ``answer`` is OFFER, ACK, NAK, silence, or unknown if
    the storage cannot tell without a change; ``reason`` says why in a sentence, and
    ``silence`` has the counter's name.  The rest says how it comes to that, as far as it
    comes: ``message``; ``client``: its state, and what it is known by; ``subnets`` of its
    link, and the field that tells them; ``storage``: the rule, the reservation, addresses
    that were passed over, and what else has a part in it; the ``class`` and who names it;
    ``reply``: what it says, from whom each option comes, and where it goes.
    """

    commandName = b"Explain"
    arguments: ClassVar = [
        (b"packet", Bytes(optional=True)),
        (b"source", Text(optional=True)),
        (b"destination", Text(optional=True)),
        (b"interface", Text(optional=True)),  # absent: the one that fits
        *WHO,
        (b"kind", Text(optional=True)),
        (b"address", Text(optional=True)),  # that it asks for, or has
        (b"relay", Text(optional=True)),  # giaddr
        # The client's: name or number to its value, as text or as JSON has it.
        (b"options", Object(optional=True)),
    ]
    response: ClassVar = [(b"explanation", JSON())]
    errors = ERRORS


class Status(Command):
    """What the server is and does, in numbers.

    The subnets come in pages: ``next`` is the name to give as ``after``.
    """

    commandName = b"Status"
    arguments: ClassVar = [(b"after", Text(optional=True))]
    response: ClassVar = [(b"status", JSON()), (b"next", amp.Unicode(optional=True))]
    errors = ERRORS


class Reload(Command):
    """Read the configuration again; or, with ``plan``, only say what that would do.

    ``result`` has applied; source: the file, or empty; changes: each with section, what
    (added, removed, changed) and keys, each with key, old and new (null for none);
    restart: the same of what needs a restart, and is as it was until then; notes; and
    four kinds of who is affected, each with count and named, the first of them:
    stranded (leases that cannot be renewed any more), moved (clients that are sent to an
    address now reserved for them), waiting (reservations whose address another client
    has), conflicts (pushed reservations that the file's are in the way of).  ``left_out``
    is how many changes did not fit into the answer.
    """

    commandName = b"Reload"
    arguments: ClassVar = [(b"plan", amp.Boolean(optional=True))]
    response: ClassVar = [(b"result", JSON())]
    errors = ERRORS


class NewIdentity(Command):
    """Make a certificate for a name; for ``admin`` only.

    ``pem`` has the certificate, its key, which is kept nowhere else, and the authority's
    certificate.  ``identity`` is as in `ListIdentities`.  Earlier ones of the same name
    are accepted until they end or are revoked.
    """

    commandName = b"NewIdentity"
    arguments: ClassVar = [
        (b"name", Text()),
        (b"lifetime", Number(optional=True)),  # seconds; absent: for ever
    ]
    response: ClassVar = [(b"pem", amp.Unicode()), (b"identity", JSON())]
    errors = ERRORS


class ListIdentities(Command):
    """A page of the certificates that this server's authority has made; for ``admin``.

    Each has name, serial (hexadecimal), issued, expires, by, revoked, revoked_by, and
    role: what it may do, or null.  Times are seconds since 1970, or null.
    """

    commandName = b"ListIdentities"
    arguments: ClassVar = [
        (b"after", Text(optional=True)),
        (b"limit", Number(optional=True)),
    ]
    response: ClassVar = [
        (b"identities", JSON()),
        (b"next", amp.Unicode(optional=True)),
    ]
    errors = ERRORS


class RevokeIdentity(Command):
    """Take a certificate back, or all of a name; for ``admin`` only.

    Connections under it are closed, and none is accepted again.  A serial may be that of
    a certificate which this server has not made.  ``revoked`` lists them, as far as one
    answer can hold them; those that were revoked before, too.
    """

    commandName = b"RevokeIdentity"
    arguments: ClassVar = [
        (b"name", Text(optional=True)),
        (b"serial", Text(optional=True)),  # hexadecimal
    ]
    response: ClassVar = [(b"revoked", JSON())]
    errors = ERRORS
