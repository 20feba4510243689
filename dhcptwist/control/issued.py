"""Which identities there are, and which of them are worth nothing any more.

A certificate is a promise that cannot be taken back; what was taken back stands here,
in ``control/identities.json`` of the state directory, and is looked at for each command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from . import tls
from .errors import InvalidRequest, NotFound, NotSupported, StorageFailed


#: The longest lifetime in seconds; longer is for ever.
_LONGEST = 0xFFFFFFFF

#: Certificates that end within so many seconds are warned of.
SOON = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate.

    Attributes:
        name: Its common name; empty if it was made elsewhere.
        serial: Its serial number.
        authority: Which authority made it: `authority_of`.
        issued: When it was made, in seconds since 1970; None if it was elsewhere.
        expires: When it ends by itself; None for never, or if we cannot know.
        by: Who asked for it.
        revoked: When it was taken back; None if it was not.
        revoked_by: Who did it.
    """

    name: str
    serial: int
    authority: str
    issued: float | None = None
    expires: float | None = None
    by: str = ""
    revoked: float | None = None
    revoked_by: str = ""


class Identities:
    """The certificates that an authority has made, and those that are revoked.

    Nothing is known, and none can be made, until `open` has been called.

    Attributes:
        ends: When certificates of the server's own end, in seconds since 1970, by what
            they are; those that do not end are not in it.
    """

    def __init__(self) -> None:
        self.ends: dict[str, float] = {}
        self._path: Path | None = None
        self._has_key = False
        self._authority = ""
        self._known: dict[tuple[str, int], Identity] = {}
        self._listeners: list[Callable[[frozenset[int]], None]] = []

    def open(
        self,
        directory: Path,
        authority: x509.Certificate | None,
        *,
        has_key: bool,
    ) -> None:
        """Read what is known; the ``admin`` that `tls.prepare` makes becomes known.

        Args:
            directory: ``control`` in the state directory.
            authority: Whose certificates are accepted; None for nobody's.
            has_key: Whether that is the directory's ``authority.pem``, or would be.

        Raises:
            OSError: The file cannot be written.
            UnusableIdentity: It says nothing that we understand.
        """
        self.ends = {}
        self._path = path = directory / "identities.json"
        self._authority = "" if authority is None else authority_of(authority)
        self._has_key = has_key
        self._known = {(each.authority, each.serial): each for each in _load(path)}
        if has_key and authority is not None:
            self._adopt(directory / "admin.pem", authority)

    def add_listener(self, revoked: Callable[[frozenset[int]], None]) -> None:
        """Call ``revoked`` with the serial numbers of what is revoked from now on."""
        self._listeners.append(revoked)

    def remove_listener(self, revoked: Callable[[frozenset[int]], None]) -> None:
        """Do not call it any more."""
        self._listeners.remove(revoked)

    def all(self) -> list[Identity]:
        """Those of our authority, in the order in which they became known."""
        mine = self._authority
        return [each for (whose, _), each in self._known.items() if whose == mine]

    def is_revoked(self, serial: int) -> bool:
        """Whether the certificate of our authority with this number is worth nothing."""
        known = self._known.get((self._authority, serial))
        return known is not None and known.revoked is not None

    def issue(
        self, name: str, lifetime: int | None, when: float, by: str
    ) -> tuple[Identity, str]:
        """Make a certificate; those of the same name stay as they are.

        Args:
            name: Its common name, as `values.check_name` has it.
            lifetime: Seconds; None for ever.
            when: Now, in seconds since 1970.
            by: Who wants it.

        Returns:
            What it is, and itself: certificate, key and authority in PEM form.

        Raises:
            InvalidRequest: There can be none like that.
            NotSupported: The authority's key is not here.
            StorageFailed: It could not be written down, so there is none.
        """
        if lifetime is not None and lifetime < 1:
            raise InvalidRequest("lifetime: must be at least one second")
        expires = None
        if lifetime is not None and lifetime < _LONGEST:
            expires = float(int(when) + lifetime)
        issuer = self._issuer()
        try:
            if authority_of(tls.read_certificate(issuer)) != self._authority:
                raise NotSupported(f"{issuer} is new: start the server again first")
            pem = tls.issue(issuer, name, expires)
        except tls.UnusableIdentity as error:
            raise NotSupported(str(error)) from None
        serial = x509.load_pem_x509_certificate(pem).serial_number
        made = Identity(name, serial, self._authority, when, expires, by)
        self._write_down([made])
        return made, pem.decode("ascii")

    def _issuer(self) -> Path:
        """File of the authority's certificate and key."""
        directory = self._opened().parent
        if not self._has_key:
            raise NotSupported(
                "this server has no authority of its own: who made the certificates"
                " that [control] names makes identities, too"
            )
        return directory / "authority.pem"

    def _opened(self) -> Path:
        """File of what is known."""
        if self._path is None or not self._authority:
            raise NotSupported(
                "this server has no authority, and needs no identities: it makes one"
                " when it listens on tcp:"
            )
        return self._path

    def revoke(
        self,
        name: str | None,
        serial: int | None,
        when: float,
        by: str,
        mine: int | None,
    ) -> list[Identity]:
        """Take certificates back: all of a name, or one.

        Args:
            name: The name.
            serial: Or the number; it may be of one that was made elsewhere.
            when: Now, in seconds since 1970.
            by: Who wants it.
            mine: The number of the certificate that who wants it has shown.

        Returns:
            What is worth nothing now; what was so before is among them.

        Raises:
            InvalidRequest: It would take away the way in of who wants it.
            NotFound: There is none of that name.
            NotSupported: No certificates are accepted here at all.
            StorageFailed: It could not be written down; nothing changed.
        """
        self._opened()
        if serial is not None:
            known = self._known.get((self._authority, serial))
            found = [known or Identity("", serial, self._authority)]
        elif name == tls.ADMIN:
            raise InvalidRequest(
                f"certificates of {name!r} are revoked one by one, by their serial"
                " numbers, so that nobody is locked out unawares"
            )
        else:
            found = [each for each in self.all() if each.name == name]
        if not found:
            raise NotFound(f"this server has made no identity {name!r}")
        if any(each.serial == mine for each in found):
            raise InvalidRequest(
                "that is the certificate that asks for it: use another admin's"
            )
        revoked = [replace(each, revoked=when, revoked_by=by) for each in found]
        changed = [
            after
            for before, after in zip(found, revoked, strict=True)
            if before.revoked is None
        ]
        if changed:
            self._write_down(changed)
            numbers = frozenset(each.serial for each in changed)
            for tell in list(self._listeners):
                tell(numbers)
        return [self._known[each.authority, each.serial] for each in found]

    def ending(self, when: float) -> list[tuple[str, float]]:
        """What ends soon or has ended, and when: our own, and names nobody renewed."""
        soon = [(what, end) for what, end in self.ends.items() if end < when + SOON]
        last: dict[str, float | None] = {}
        for each in self.all():
            if each.revoked is None:
                known = last.get(each.name, 0.0)
                end = each.expires
                last[each.name] = (
                    None if known is None or end is None else max(known, end)
                )
        soon += [
            (f"identity {name!r}", end)
            for name, end in last.items()
            if end is not None and when <= end < when + SOON
        ]
        return soon

    def _adopt(self, path: Path, authority: x509.Certificate) -> None:
        try:
            made = tls.read_certificate(path)
            made.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return  # somebody has put something else in its place
        if (self._authority, made.serial_number) not in self._known:
            issued, ends = path.stat().st_mtime, tls.end_of(made)
            name = tls.name_in(made)
            each = Identity(name, made.serial_number, self._authority, issued, ends)
            self._keep([each])

    def _write_down(self, changed: Iterable[Identity]) -> None:
        try:
            self._keep(changed)
        except OSError as error:
            raise StorageFailed(
                f"{self._path} cannot be written, so nothing changed: {error.strerror}"
            ) from None

    def _keep(self, changed: Iterable[Identity]) -> None:
        path = self._opened()
        known = dict(self._known)
        for each in changed:
            known[each.authority, each.serial] = each
        rows = [
            {**asdict(each), "serial": f"{each.serial:x}"} for each in known.values()
        ]
        tls.write(path, json.dumps({"identities": rows}, indent=1).encode())
        self._known = known


def authority_of(certificate: x509.Certificate) -> str:
    """What tells an authority from others: a hash of its key.

    It stays the same when only the certificate is renewed, and so do revocations.
    """
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    return digest.finalize().hex()


def _load(path: Path) -> list[Identity]:
    try:
        rows = json.loads(path.read_bytes())["identities"]
        return [_identity(row) for row in rows]
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"is damaged ({type(error).__name__}: {error})"
    raise tls.UnusableIdentity(
        f"{path} {reason}; it says which certificates are revoked, so no control channel"
        " opens without it: put it back from a backup, or remove it and authority.pem"
        " beside it, which makes all identities void"
    )


def _identity(row: Any) -> Identity:
    each = Identity(**{**row, "serial": int(row["serial"], 16)})
    texts = (each.name, each.authority, each.by, each.revoked_by)
    times = (each.issued, each.expires, each.revoked)
    if not all(isinstance(text, str) for text in texts) or not all(
        time is None or (isinstance(time, int | float) and isfinite(time))
        for time in times
    ):
        raise ValueError("a value of the wrong kind")
    return each
