"""The AMP commands: the contract, nothing else; their errors are in `errors`.

A value ends at 65,535 bytes, so lists come in pages: ask again with ``after`` set to the
``next`` of the answer until there is none.  What has many fields is one JSON value.

``verbs`` of a command are those that a role needs for it, or ``admin``; ``fails`` names the
errors that it has beside those that any command may have.  What they and each ``doc`` say is
made into docs/control-reference.md.
"""

from __future__ import annotations

from typing import ClassVar

from .errors import ERRORS, InvalidConfiguration, NotFound
from .fields import (
    JSON,
    LIMIT,
    NEXT,
    PAGE,
    WHO,
    WHOSE,
    Bytes,
    Command,
    Flag,
    Float,
    Integer,
    Number,
    Object,
    Text,
    Time,
    Unicode,
)
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
    "Reload",
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
    verbs: ClassVar = ("list",)
    fails: ClassVar = (NotFound,)
    arguments: ClassVar = [
        *PAGE,
        (b"subnet", Text(optional=True, doc="A subnet's name: only its leases.")),
    ]
    response: ClassVar = [
        (
            b"leases",
            JSON(
                doc="A list of objects, each with address, state, hardware, client_id, "
                "hostname, since, expires, relay (option 82, hexadecimal) and "
                "subnet."
            ),
        ),
        NEXT,
    ]
    errors = ERRORS


class FindLease(Command):
    """All leases and reservations of an address, hardware address or client identifier."""

    commandName = b"FindLease"
    verbs: ClassVar = ("list",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        *WHOSE,
    ]
    response: ClassVar = [
        (b"leases", JSON(doc="A list, each as in `ListLeases`.")),
        (b"reservations", JSON(doc="A list, each as in `ListReservations`.")),
    ]
    errors = ERRORS


class RevokeLease(Command):
    """End a lease now.

    Its holder learns of it at its next contact; until then, or until a probe finds it
    silent, the address rests.
    """

    commandName = b"RevokeLease"
    verbs: ClassVar = ("revoke",)
    fails: ClassVar = (NotFound,)
    arguments: ClassVar = [(b"address", Text(doc="Whose lease."))]
    response: ClassVar = [
        (b"lease", JSON(doc="What became of it, as in `ListLeases`."))
    ]
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
    verbs: ClassVar = ("import",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        (b"leases", Object(doc="A list of up to 1000 objects.")),
        (b"dry_run", Flag(optional=True, doc="Only say what would be; absent: no.")),
    ]
    response: ClassVar = [(b"verdicts", JSON(doc="A list of texts."))]
    errors = ERRORS


class LeaseHistory(Command):
    """What happened to an address or a client, the latest first.

    ``next`` is the number to give as ``before``.  Times are seconds since 1970.  If there
    is nothing until the time that was asked for, ``begins`` is when the journal does: the
    time of the oldest event that is kept of anybody, or now.
    """

    commandName = b"LeaseHistory"
    verbs: ClassVar = ("list",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        *WHOSE,
        (b"before", Number(optional=True, doc="Go on with events before this number.")),
        LIMIT,
        (b"until", Time(optional=True, doc="Only what happened until then.")),
    ]
    response: ClassVar = [
        (b"events", JSON(doc="A list, each as in `Events`.")),
        (
            b"next",
            Integer(
                optional=True,
                doc="Give it as ``before`` for the next page; absent: there is none.",
            ),
        ),
        (b"begins", Float(optional=True, doc="Seconds since 1970.")),
    ]
    errors = ERRORS


class WatchEvents(Command):
    """Be told of what happens, in the order in which it happens, with `Events`.

    ``number`` is that of the last event before the first that will come: ``after``, or
    the latest there is.  Each connection watches once; it watches until it ends.
    """

    commandName = b"WatchEvents"
    verbs: ClassVar = ("list",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        (
            b"after",
            Number(
                optional=True,
                doc="The number of the last event that is known, 0 for none; absent: "
                "from now on.",
            ),
        ),
        (
            b"kinds",
            Object(
                optional=True,
                doc='Only these, like ["bound", "released"]; absent: all.',
            ),
        ),
    ]
    response: ClassVar = [
        (b"number", Integer(doc="Of the last event before the first that will come."))
    ]
    errors = ERRORS


class Events(Command):
    """What happened; it is the server that calls, and the watcher that answers.

    The next ones come when this is answered, so a slow watcher is never flooded.  A
    watcher that comes back gives ``number`` as ``after``, and misses nothing; if some are
    no longer kept, ``lost`` says how many, before these.
    """

    commandName = b"Events"
    verbs: ClassVar = ()
    fails: ClassVar = ()
    arguments: ClassVar = [
        (
            b"events",
            JSON(
                doc="A list, each with number, when, kind, address (or null), hardware,"
                " client_id, hostname, circuit_id, remote_id, since, expires (null "
                "for never) and by."
            ),
        ),
        (b"number", Integer(doc="Of the last one looked at.")),
        (
            b"lost",
            Integer(
                optional=True, doc="How many events before these are no longer kept."
            ),
        ),
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
    verbs: ClassVar = ("explain",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        (
            b"packet",
            Bytes(
                optional=True,
                doc="The payload of a datagram; then nothing beside it but the next three.",
            ),
        ),
        (b"source", Text(optional=True, doc="The address that the packet came from.")),
        (b"destination", Text(optional=True, doc="The address that it was sent to.")),
        (
            b"interface",
            Text(
                optional=True, doc="The server's interface; absent: the one that fits."
            ),
        ),
        *WHO,
        (b"kind", Text(optional=True, doc="What the client does; absent: discover.")),
        (b"address", Text(optional=True, doc="That it asks for, or has.")),
        (b"relay", Text(optional=True, doc="The relay's address (giaddr).")),
        (
            b"options",
            Object(
                optional=True,
                doc="The client's: name or number to its value, as text or as JSON has "
                "it.",
            ),
        ),
    ]
    response: ClassVar = [(b"explanation", JSON(doc="An object."))]
    errors = ERRORS


class Status(Command):
    """What the server is and does, in numbers.

    The subnets come in pages: ``next`` is the name to give as ``after``.
    """

    commandName = b"Status"
    verbs: ClassVar = ("status",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        (
            b"after",
            Text(optional=True, doc="The name of the last subnet that is known."),
        )
    ]
    response: ClassVar = [
        (
            b"status",
            JSON(doc="An object; ``subnets`` has those of this page, by name."),
        ),
        NEXT,
    ]
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
    verbs: ClassVar = ("reload",)
    fails: ClassVar = (InvalidConfiguration,)
    arguments: ClassVar = [
        (b"plan", Flag(optional=True, doc="Only say what it would do; absent: no."))
    ]
    response: ClassVar = [(b"result", JSON(doc="An object."))]
    errors = ERRORS


class NewIdentity(Command):
    """Make a certificate for a name; for ``admin`` only.

    ``pem`` has the certificate, its key, which is kept nowhere else, and the authority's
    certificate.  ``identity`` is as in `ListIdentities`.  Earlier ones of the same name
    are accepted until they end or are revoked.
    """

    commandName = b"NewIdentity"
    verbs: ClassVar = ("admin",)
    fails: ClassVar = ()
    arguments: ClassVar = [
        (b"name", Text(doc="Whose: a role's name.")),
        (b"lifetime", Number(optional=True, doc="Seconds; absent: for ever.")),
    ]
    response: ClassVar = [
        (b"pem", Unicode(doc="What the file of its holder must have.")),
        (b"identity", JSON(doc="An object.")),
    ]
    errors = ERRORS


class ListIdentities(Command):
    """A page of the certificates that this server's authority has made; for ``admin``.

    Each has name, serial (hexadecimal), issued, expires, by, revoked, revoked_by, and
    role: what it may do, or null.  Times are seconds since 1970, or null.
    """

    commandName = b"ListIdentities"
    verbs: ClassVar = ("admin",)
    fails: ClassVar = ()
    arguments: ClassVar = [*PAGE]
    response: ClassVar = [(b"identities", JSON(doc="A list of objects.")), NEXT]
    errors = ERRORS


class RevokeIdentity(Command):
    """Take a certificate back, or all of a name; for ``admin`` only.

    Connections under it are closed, and none is accepted again.  A serial may be that of
    a certificate which this server has not made.  ``revoked`` lists them, as far as one
    answer can hold them; those that were revoked before, too.
    """

    commandName = b"RevokeIdentity"
    verbs: ClassVar = ("admin",)
    fails: ClassVar = (NotFound,)
    arguments: ClassVar = [
        (b"name", Text(optional=True, doc="All certificates of a name; or")),
        (b"serial", Text(optional=True, doc="one by its number, hexadecimal.")),
    ]
    response: ClassVar = [
        (b"revoked", JSON(doc="A list, each as in `ListIdentities`."))
    ]
    errors = ERRORS
