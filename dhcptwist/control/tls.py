"""Certificates: who the server is, and who may talk to it.

A first start makes a private authority, the server's certificate and one identity,
``admin``, in the state directory.  None of them ends by itself: a control channel that
stops working on a date helps nobody, and a board without a clock may make them in 1970.
Trust in one ends when it is revoked (see `issued`), in all when the authority's file is
taken away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Error as SSLError
from twisted.internet import ssl
from twisted.internet.error import VerifyError


_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 5280 section 4.1.2.5: what "has no well-defined expiration date" ends then.
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

#: What pyOpenSSL and cryptography raise for a file that is something else.
_UNREADABLE = (ValueError, TypeError, CryptoError, SSLError, VerifyError)

#: Everything may be done by who has this common name, or uses a unix: socket.
ADMIN = "admin"


class UnusableIdentity(ValueError):  # noqa: N818 - it says what, not that
    """A file of certificates cannot be used; the message names it and says why."""


def prepare(directory: Path, names: Iterable[str]) -> None:
    """Make what is not there yet: ``authority.pem``, ``server.pem``, ``admin.pem``.

    Args:
        directory: ``control`` in the state directory.
        names: Host names and addresses the server is reached by.

    Raises:
        OSError: They cannot be written.
        UnusableIdentity: The authority that is there cannot sign.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = directory / "authority.pem"
    if not authority.exists():
        # What one signed that is gone is worth nothing.
        for stale in ("server.pem", "admin.pem"):
            (directory / stale).unlink(missing_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(key, "dhcptwist authority", None)
        write(authority, _pem(certificate, key))
    server, admin = directory / "server.pem", directory / "admin.pem"
    if not server.exists():
        names = dict.fromkeys(["localhost", "127.0.0.1", "::1", *names])
        write(server, _issue(authority, "dhcptwist server", list(names)))
    if not admin.exists():
        write(admin, _issue(authority, ADMIN, []))


def server_options(certificate: Path, authority: Path) -> Any:
    """What a TLS server needs: its certificate, and whose clients it trusts.

    Raises:
        UnusableIdentity: A file cannot be used.
    """
    try:
        mine = ssl.PrivateCertificate.loadPEM(_read(certificate))
        trusted = ssl.Certificate.loadPEM(_read(authority))
        return ssl.CertificateOptions(
            privateKey=mine.privateKey.original,
            certificate=mine.original,
            trustRoot=ssl.trustRootFromCertificates([trusted]),
            # The oldest Twisted that we run on would take less.
            raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        )
    except _UNREADABLE as error:
        raise _unusable(f"{certificate} or {authority}", error) from None


def client_options(identity: Path, host: str) -> Any:
    """What a TLS client needs to talk to a server of this name, and no other.

    Args:
        identity: The client's certificate and key, and the authority's certificate.
        host: The server's name or address, as it must stand in its certificate.

    Raises:
        UnusableIdentity: The file cannot be used.
    """
    pem = _read(identity)
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        mine = ssl.PrivateCertificate.loadPEM(pem)
    except _UNREADABLE as error:
        raise _unusable(identity, error) from None
    if len(certificates) < 2:
        raise UnusableIdentity(
            f"{identity} has no authority's certificate behind its own; append the one"
            " that signed the server's"
        )
    trusted = certificates[-1].public_bytes(serialization.Encoding.PEM)
    return ssl.optionsForClientTLS(
        host,
        trustRoot=ssl.Certificate.loadPEM(trusted),
        clientCertificate=mine,
    )


def common_name(certificate: Any) -> str:
    """The name in a peer's certificate, as Twisted's transport gives it."""
    return name_in(certificate.to_cryptography())


def name_in(certificate: x509.Certificate) -> str:
    """The common name of a certificate; empty for none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def end_of(certificate: x509.Certificate) -> float | None:
    """When a certificate ends, in seconds since 1970; None for never."""
    end = certificate.not_valid_after_utc
    return None if end >= _END else end.timestamp()


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a file.

    Raises:
        UnusableIdentity: There is none.
    """
    pem = _read(path)
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise _unusable(path, error) from None


def issue(authority: Path, name: str, ends: float | None) -> bytes:
    """A client's identity: its certificate and key, and the authority's certificate.

    Args:
        authority: File of the authority's certificate and key.
        name: The common name.
        ends: When it ends, in seconds since 1970; None for never.

    Raises:
        UnusableIdentity: The authority cannot sign.
        ValueError: There is no such time.
    """
    try:
        end = _END if ends is None else datetime.fromtimestamp(ends, UTC)
    except (OverflowError, OSError):
        raise ValueError(f"no certificate can end at {ends}") from None
    return _issue(authority, name, [], end)


def _issue(authority: Path, name: str, names: list[str], end: datetime = _END) -> bytes:
    pem = _read(authority)
    try:
        signer = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise _unusable(authority, error) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableIdentity(f"{authority}: its key is of another kind than EC")
    mine = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(mine, name, (signer, key), names, end)
    return _pem(certificate, mine) + signer.public_bytes(serialization.Encoding.PEM)


def _sign(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    names: list[str] | None = None,
    end: datetime = _END,
) -> x509.Certificate:
    """A certificate: the authority's own if there is no signer, else an identity's.

    With names it is a server's, without a client's.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_key = signer[1] if signer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(end)
        .add_extension(
            x509.BasicConstraints(ca=signer is None, path_length=None if signer else 0),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=signer is not None,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=signer is None,
                crl_sign=signer is None,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if signer is not None:
        use = (
            ExtendedKeyUsageOID.SERVER_AUTH
            if names
            else ExtendedKeyUsageOID.CLIENT_AUTH
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(each) for each in names]),
            critical=False,
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write(path: Path, data: bytes) -> None:
    """A file that only its owner reads, and that is there whole or not at all.

    When this returns, it is on disk.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableIdentity(f"{path} cannot be read: {error.strerror}") from None


def _unusable(path: Path | str, error: Exception) -> UnusableIdentity:
    return UnusableIdentity(
        f"{path}: not a certificate with its key in PEM form ({error})"
    )
