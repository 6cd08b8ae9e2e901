"""Makes all certificates: for the demo, for policy cases, and for `sidecar certificate`.

They are for trials. Production certificates come from an authority whose private key is protected.
"""

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sidecar.decision.strict import base64url_text

_COMMON_NAME_LIMIT = 64
"""Maximum characters of a common name (RFC 5280, Appendix A: ub-common-name)."""


class Use(Enum):
    """The permitted use of a certificate's key."""

    AUTHORITY = "authority"
    SERVER = "server"
    CLIENT = "client"
    BOTH = "server and client"

    @property
    def extended(self) -> list[ObjectIdentifier]:
        """Values of `extKeyUsage` (RFC 5280 §4.2.1.12)."""
        server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
        return {Use.AUTHORITY: [], Use.SERVER: [server], Use.CLIENT: [client], Use.BOTH: [client, server]}[
            self
        ]


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject, use and validity period of a certificate."""

    common_name: str
    use: Use
    not_before: datetime
    not_after: datetime
    names: tuple[x509.GeneralName, ...] = ()
    """Subject alternative names."""
    attributes: tuple[x509.NameAttribute[str], ...] = ()
    """The whole distinguished name, if it has more than a common name."""

    @property
    def name(self) -> x509.Name:
        """The distinguished name: the attributes, or a common name alone, truncated to the X.509 limit."""
        return x509.Name(self.attributes) if self.attributes else distinguished(self.common_name)


@dataclass(frozen=True, slots=True)
class Signer:
    """The issuer of a certificate: name and key."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def distinguished(common_name: str) -> x509.Name:
    """A distinguished name with a common name only, truncated to the X.509 limit."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])])


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def certify(
    subject: Subject, key: ec.EllipticCurvePrivateKey, signer: Signer | None = None
) -> x509.Certificate:
    """A certificate for `key` according to RFC 5280 §4.2; self-signed without `signer`."""
    by = signer or Signer(subject.name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject.name)
        .issuer_name(by.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(subject.not_before)
        .not_valid_after(subject.not_after)
    )
    for extension, critical in _extensions(subject, key, by.key):
        builder = builder.add_extension(extension, critical)
    return builder.sign(by.key, SHA256())


def _extensions(
    subject: Subject, key: ec.EllipticCurvePrivateKey, signing: ec.EllipticCurvePrivateKey
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    is_authority = subject.use is Use.AUTHORITY
    yield x509.BasicConstraints(ca=is_authority, path_length=None), True
    yield _key_usage(is_authority=is_authority), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False
    if subject.use.extended:
        yield x509.ExtendedKeyUsage(subject.use.extended), False
    if subject.names:
        yield x509.SubjectAlternativeName(subject.names), False


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """RFC 5280 §4.2.1.3: an authority signs certificates and lists, other keys sign handshakes."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def server_name(text: str) -> x509.GeneralName:
    """The subject alternative name of a host: an IP address, or a DNS name. Raises `ValueError`."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


# --- with its private key, in files


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, and their files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: Path
    key_file: Path

    @property
    def thumbprint(self) -> str:
        """`x5t#S256` (RFC 8705 §3.1)."""
        return base64url_text(self.certificate.fingerprint(SHA256()))

    @property
    def signer(self) -> Signer:
        """The issuer of other certificates that this identity can be."""
        return Signer(self.certificate.subject, self.key)


def write_identity(folder: Path, name: str, subject: Subject, authority: Identity | None = None) -> Identity:
    """Make a key and its certificate; write `name.crt` and `name.key` (mode 0600). Raises `OSError`."""
    key = new_key()
    certificate = certify(subject, key, None if authority is None else authority.signer)
    files = folder / f"{name}.crt", folder / f"{name}.key"
    _write_private(files[1], private_pem(key))
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Identity(certificate, key, *files)


def read_identity(folder: Path, name: str) -> Identity:
    """Read the files of `write_identity`. Raises `OSError`, and `ValueError` for files of another kind."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key is not the certificate's")
    return Identity(certificate, key, *files)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
