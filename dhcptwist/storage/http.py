"""``http://…`` and ``https://…``: a web service in any language decides.

`docs/http.md` is for those who write one.  It is asked with one POST for each verb
(`asking`), of JSON (`questions`, `answers`).  What has to be durable before an ACK leaves is
the service's duty: its answer to ``commit`` is taken as "it is on disk".
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from ..client import Client
from ..config.values import parse_url
from ..interfaces import IStorage, IStorageService
from .answers import ANSWERS
from .asking import WebService
from .connecting import Way


_log = Logger()


@implementer(IStorage, IStorageService)
class HTTPStorage:
    """A service decides everything.

    Args:
        service: Whom to ask.
    """

    def __init__(self, service: WebService) -> None:
        self._service = service
        self._ask = service.ask

    def offer(self, client: Client, when: float) -> Deferred[Any]:
        """See `IStorage.offer`."""
        return self._ask("offer", client, when)

    def commit(self, client: Client, address: int, when: float) -> Deferred[Any]:
        """See `IStorage.commit`; what has to be on disk is on the service's."""
        return self._ask("commit", client, when, address)

    def release(self, client: Client, address: int, when: float) -> Deferred[Any]:
        """See `IStorage.release`; address 0 is none in the question."""
        return self._ask("release", client, when, address or None)

    def decline(self, client: Client, address: int, when: float) -> Deferred[Any]:
        """See `IStorage.decline`."""
        return self._ask("decline", client, when, address)

    def configure(self, client: Client, when: float) -> Deferred[Any]:
        """See `IStorage.configure`."""
        return self._ask("configure", client, when)

    def start(self, when: float) -> None:
        """See `IStorageService.start`; connections are made when they are needed."""

    def stop(self) -> Deferred[None]:
        """See `IStorageService.stop`."""
        return self._service.stop()


class WebRegistry:
    """A service says who clients are; a pool of ours does the rest.

    Args:
        service: Whom to ask.
        clock: The present, in seconds since 1970.
    """

    def __init__(
        self, service: WebService, clock: Callable[[], float] = time.time
    ) -> None:
        self._service = service
        self._clock = clock

    def reservation_for(self, client: Client) -> Deferred[Any]:
        """See `PoolStorage.reservation_for`."""
        return self._service.ask("reservation", client, self._clock())

    def stop(self) -> Deferred[None]:
        """Wait for the answers that are still to come, and close the connections."""
        return self._service.stop()


def make_http(url: str, context: Any) -> HTTPStorage:
    """``storage = http://…``, from a `StorageContext`.

    Raises:
        ValueError: The URL or a file makes no sense; the message says what would.
    """
    return HTTPStorage(_service(url, context))


def make_registry(url: str, context: Any) -> WebRegistry:
    """``reservations = http://…`` of the ``[storage]`` section.

    Raises:
        ValueError: The URL or a file makes no sense; the message says what would.
    """
    return WebRegistry(_service(url, context))


def _service(url: str, context: Any) -> WebService:
    parts = urlsplit(parse_url(url))
    host = parts.hostname or ""
    is_secure = parts.scheme == "https"
    around, reactor = context.around, context.reactor
    tls = None
    if is_secure:
        trusted = (
            _trusted(context.state / around.authority) if around.authority else None
        )
        tls = optionsForClientTLS(host, trustRoot=trusted)
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": "dhcptwist",
    }
    if around.token:
        headers["Authorization"] = f"Bearer {_token(context.state / around.token)}"
        if not is_secure and not _is_here(host):
            _log.warn(
                "The token goes to {host} for everybody on the way to read: use https://",
                host=host,
            )
    # A connection gets half of the time, so that who waits for one hears why in vain.
    way = Way(
        reactor,
        host,
        parts.port or (443 if is_secure else 80),
        around.deadline / 2,
        tls,
    )
    urls = {verb: _url(parts, verb) for verb in ANSWERS}
    return WebService(urls, way, reactor, around.deadline, headers)


def _url(base: SplitResult, verb: str) -> str:
    """Where a verb is asked; what stands behind a question mark stays at the end."""
    return base._replace(path=f"{base.path.rstrip('/')}/{verb}").geturl()


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(path: Path) -> str:
    """The secret of a file."""
    mode = 0
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(65536).strip()
    except OSError as error:
        raise ValueError(
            f"token-file {path} cannot be read: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        token = ""
    if not re.fullmatch("[!-~]+", token):
        raise ValueError(
            f"token-file {path} holds no token: one line of letters, digits and signs"
        )
    if mode & stat.S_IROTH:
        _log.warn(
            "Everybody on this machine can read {path}: chmod 640, or 600", path=path
        )
    return token


def _trusted(path: Path) -> Any:
    """Whose certificates are believed, as Twisted wants it."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"authority {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(
            f"authority {path} holds no certificates in PEM form"
        ) from None
    return trustRootFromCertificates(
        [Certificate.loadPEM(each.public_bytes(Encoding.PEM)) for each in found]
    )
