"""What a configuration is once it is read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from ..lease import Reservation, Settings
from ..network import Subnet
from .ini import Problem


#: The verbs that a role may have.
VERBS = frozenset(
    {
        "reserve",
        "cancel",
        "import",
        "list",
        "revoke",
        "reload",
        "status",
        "explain",
    }
)


class ConfigError(ValueError):
    """The configuration cannot be used.

    Attributes:
        problems: Every mistake, in the order of the file.
        name: The file; empty if there is none.
    """

    def __init__(self, problems: list[Problem], name: str = "") -> None:
        self.name = name
        self.problems = sorted(problems, key=lambda each: each.line)
        where = f"{name}: " if name else ""
        count = len(problems)
        super().__init__(
            "\n".join(
                [
                    f"{where}{count} mistake{'s' if count > 1 else ''}; nothing starts",
                    *(f"  {problem}" for problem in self.problems),
                ]
            )
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds.

    Attributes:
        count: Requests that may come at once; as many come back in ``seconds``.
        seconds: How long that takes.
    """

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Role:
    """What the holder of a certificate may do.

    Attributes:
        name: The certificate's common name.
        verbs: Of `VERBS`.
        networks: Where; empty for everywhere.
        sources: Whose reservations it may write, the first unless it says otherwise;
            empty for those of its own name.
        rate: How often it may ask; None for no limit.
    """

    name: str
    verbs: frozenset[str]
    networks: tuple[IPv4Network, ...] = ()
    sources: tuple[str, ...] = ()
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """The control channel.

    Attributes:
        listen: An endpoint, ``tcp:…`` or ``unix:…``; empty for none.
        certificate: File of the server's certificate and key; None for the state's.
        authority: File of the authority's certificate; None for the state's.
        roles: Who may do what, beside ``admin``.
    """

    listen: str = "tcp:6768:interface=127.0.0.1"
    certificate: str | None = None
    authority: str | None = None
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """What surrounds the storage, and what the embedded ones want to know.

    Attributes:
        history: Seconds for which the journal is kept; ``math.inf`` for ever.
        deadline: Seconds that a storage may take to answer; late answers are dropped.
        outstanding: Requests that may wait for the storage at once.
        stale: Whether a client renews for the time it still has when the storage is
            late or gone.
        client_limit: How often one client may ask; None for no limit.
        port_limit: How often all clients of one relay port (option 82) may; or None.
        reservations: URL of a web service that says who a client is, while the pool
            does the rest; empty for none.
        token: File of the secret that HTTP requests carry; empty for none.  In the ini
            file, relative paths begin in the state directory; here they are whole.
        authority: File of the certificates that may sign the web service's; empty for
            the system's.
    """

    history: float = 180 * 86400.0
    deadline: float = 3.0
    outstanding: int = 5000
    stale: bool = False
    client_limit: Rate | None = None
    port_limit: Rate | None = None
    reservations: str = ""
    token: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, checked.

    Attributes:
        subnets: The subnets, in order.
        reservations: The file's own.
        interfaces: Names; ``("*",)`` for all that have an address.
        port: The server's port; clients are answered on the next one.
        authoritative: Whether to NAK what is unknown.
        state: The directory of storage, certificates and sockets.
        storage: Which storage, ``SCHEME:ARGUMENT``.
        control: The control channel.
        around: The ``[storage]`` section.
        classes: Settings by the name of their ``[class NAME]``.
    """

    subnets: tuple[Subnet, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    interfaces: tuple[str, ...] = ("*",)
    port: int = 67
    authoritative: bool = True
    state: Path = Path("/var/lib/dhcptwist")
    storage: str = "sqlite:leases.sqlite"
    control: ControlConfig = field(default_factory=ControlConfig)
    around: StorageConfig = field(default_factory=StorageConfig)
    classes: Mapping[str, Settings] = field(default_factory=dict)
