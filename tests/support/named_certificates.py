"""Certificates with the subject and the otherNames that a test is about."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.proxy.certificates import client_certificate
from tests.support.pki import DAY, certificate_der, make_key, utc_now

UPN = "1.3.6.1.4.1.311.20.2.3"
"""Type of a user principal name."""


def utf8(text: str) -> bytes:
    """A UTF8String of up to 127 octets."""
    return b"\x0c" + bytes([len(text)]) + text.encode()


def named_certificate(
    attributes: Sequence[x509.NameAttribute[str]] = (), other_names: Sequence[tuple[str, bytes]] = ()
) -> ClientCertificate:
    """Self-signed; `other_names` are type and value, the value an element of DER."""
    key, subject = make_key(), x509.Name(attributes)
    others = [x509.OtherName(x509.ObjectIdentifier(kind), value) for kind, value in other_names]
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now())
        .not_valid_after(utc_now() + 365 * DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("a.example"), *others]), critical=not attributes
        )
        .sign(key, hashes.SHA256())
    )
    return client_certificate(certificate_der(built))
