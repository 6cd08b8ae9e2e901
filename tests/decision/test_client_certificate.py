import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from sidecar.decision.client_certificate import ClientCertificate
from tests.support.pki import Pki, Profile, make_key, self_signed, subject_alternative_names, utc_now


def test_thumbprint_is_the_sha_256_of_the_der_encoding(pki: Pki) -> None:
    certificate = ClientCertificate(pki.client.der)
    assert certificate.thumbprint == hashlib.sha256(pki.client.der).digest()
    assert certificate.thumbprint_text == pki.client.thumbprint
    assert repr(certificate) == f"ClientCertificate({certificate.thumbprint.hex()[:16]}…)"


def test_validity_is_in_seconds_since_the_epoch() -> None:
    start, end = utc_now() - dt.timedelta(days=1), utc_now() + dt.timedelta(days=1)
    certificate = ClientCertificate(self_signed(Profile(not_before=start, not_after=end)).der)
    assert (certificate.not_before, certificate.not_after) == (start.timestamp(), end.timestamp())


def test_names_are_those_of_the_certificate(pki: Pki) -> None:
    names = subject_alternative_names(dns=["a.example"], uris=["spiffe://a/b"], emails=["a@b.example"])
    certificate = ClientCertificate(pki.client_authority.issue(Profile("c", "o", names=tuple(names))).der)
    assert certificate.subject == "CN=c,O=o"
    assert certificate.issuer == "CN=test client CA"
    assert certificate.san_dns == ("a.example",)
    assert certificate.san_uri == ("spiffe://a/b",)
    assert certificate.san_email == ("a@b.example",)


def test_certificate_without_alternative_names_has_none(pki: Pki) -> None:
    certificate = ClientCertificate(pki.other_client.der)
    assert certificate.san_dns == certificate.san_uri == certificate.san_email == ()


@pytest.mark.parametrize("content", [b"", b"\x30\x03\x02\x01", b"\xff" * 8])
def test_alternative_names_that_cannot_be_read_are_none(content: bytes) -> None:
    key = make_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now())
        .not_valid_after(utc_now() + dt.timedelta(days=1))
        .add_extension(
            x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content), critical=False
        )
    )
    certificate = builder.sign(key, hashes.SHA256())
    from cryptography.hazmat.primitives.serialization import Encoding

    assert ClientCertificate(certificate.public_bytes(Encoding.DER)).san_dns == ()
