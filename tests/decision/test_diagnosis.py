import base64
import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.decision.certificate import Certificate
from sidecar.decision.diagnosis import Diagnosis
from sidecar.decision.diagnosis import diagnose_thumbprint as diagnose
from tests.support.pki import (
    Authority,
    Pki,
    Profile,
    certificate_der,
    certificate_pem,
    make_key,
    presented,
    thumbprint,
)

Write = Callable[[bytes], str]


def diagnose_thumbprint(
    expected: str, certificate: x509.Certificate, others: Sequence[x509.Certificate] = ()
) -> Diagnosis:
    return diagnose(expected, presented(certificate), [presented(one) for one in others])


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def plain(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def padded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode()


def hexadecimal(digest: bytes) -> str:
    return digest.hex()


def colons(digest: bytes) -> str:
    return digest.hex(":").upper()


def hex_in_base64(digest: bytes) -> str:
    return base64.b64encode(digest.hex().encode()).decode()


@pytest.fixture(scope="module")
def certificate(pki: Pki) -> x509.Certificate:
    return pki.client.certificate


@pytest.fixture(scope="module")
def slashed() -> x509.Certificate:
    """A certificate whose digest shows in which base64 it is written."""
    authority, key = Authority.root(), make_key()
    while True:
        certificate = authority.issue(Profile("client-1"), key).certificate
        written = base64.b64encode(sha256(certificate_der(certificate))).decode()
        if "+" in written and "/" in written:
            return certificate


def spki(certificate: x509.Certificate, encoding: Encoding = Encoding.DER) -> bytes:
    return certificate.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("write", "mistake"),
    [
        (plain, "none"),
        (padded, "padded"),
        (lambda digest: f" {plain(digest)}\n", "padded"),
        (hexadecimal, "hex"),
        (colons, "hex"),
        (hex_in_base64, "hex_in_base64"),
        (lambda digest: plain(digest.hex().encode()), "hex_in_base64"),
    ],
)
def test_right_digest_written_wrongly_is_named(
    write: Write, mistake: str, certificate: x509.Certificate
) -> None:
    diagnosis = diagnose_thumbprint(write(sha256(certificate_der(certificate))), certificate)
    assert diagnosis.mistake == mistake
    assert "the certificate" in diagnosis.sentence


def test_plain_base64_is_named(slashed: x509.Certificate) -> None:
    digest = sha256(certificate_der(slashed))
    assert diagnose_thumbprint(base64.b64encode(digest).decode(), slashed).mistake == "base64"


@pytest.mark.parametrize("write", [plain, padded, hexadecimal])
@pytest.mark.parametrize(
    ("mistake", "hashed"),
    [
        ("sha1", lambda one: hashlib.sha1(certificate_der(one)).digest()),
        ("pem_text", lambda one: sha256(certificate_pem(one))),
        ("pem_text", lambda one: sha256(certificate_pem(one).strip())),
        ("pem_text", lambda one: sha256(certificate_pem(one).replace(b"\n", b"\r\n"))),
        ("pem_text", lambda one: sha256(b"".join(certificate_pem(one).splitlines()[1:-1]))),
        ("public_key", lambda one: sha256(spki(one))),
        ("public_key", lambda one: sha256(spki(one, Encoding.PEM))),
        ("to_be_signed", lambda one: sha256(one.tbs_certificate_bytes)),
    ],
)
def test_digest_of_something_else_is_named(
    mistake: str, hashed: Callable[[x509.Certificate], bytes], write: Write, certificate: x509.Certificate
) -> None:
    assert diagnose_thumbprint(write(hashed(certificate)), certificate).mistake == mistake


@pytest.mark.parametrize("text", [b"", b"(null)"])
def test_digest_of_no_certificate_is_named(text: bytes, certificate: x509.Certificate) -> None:
    assert diagnose_thumbprint(plain(sha256(text)), certificate).mistake == "nothing"


def test_digest_of_what_a_header_field_said_is_named(certificate: x509.Certificate) -> None:
    said = b":" + base64.b64encode(certificate_der(certificate)) + b":"
    found = diagnose(plain(sha256(said)), presented(certificate), header_texts=[b"other", said])
    assert (found.mistake, "as it stands" in found.sentence) == ("header_text", True)


def test_digest_of_a_related_certificate_is_named(pki: Pki) -> None:
    authority = pki.client_authority
    renewed = authority.issue(Profile("client-1")).certificate
    others = [pki.client.certificate, pki.server.certificate, renewed, authority.certificate]

    def mistake_of(bound_to: x509.Certificate) -> str:
        return diagnose_thumbprint(thumbprint(bound_to), pki.client.certificate, others).mistake

    assert mistake_of(authority.certificate) == "issuing_ca"
    assert mistake_of(renewed) == "renewed"
    assert mistake_of(pki.server.certificate) == "another_certificate"
    assert mistake_of(pki.client.certificate) == "none"
    assert mistake_of(pki.stranger.certificate) == "unknown"


@pytest.mark.parametrize("text", ["", "?", "not a digest", "\u00e9", "A" * 43, "0" * 64, "é" * 43])
def test_digest_of_nothing_known_is_said_to_be_so(text: str, certificate: x509.Certificate) -> None:
    assert diagnose_thumbprint(text, certificate).mistake == "unknown"


def test_sentence_says_what_the_value_is_and_should_be(certificate: x509.Certificate) -> None:
    sentence = diagnose_thumbprint(hexadecimal(sha256(spki(certificate))), certificate).sentence
    assert sentence == (
        "The value is the SHA-256 of the public key, written in hexadecimal. It should be the SHA-256 of the client's "
        "certificate in DER, written in base64url without padding (RFC 8705 §3.1)."
    )
    sha1 = diagnose_thumbprint(plain(hashlib.sha1(certificate_der(certificate)).digest()), certificate)
    assert sha1.sentence.startswith("The value is the SHA-1 of the certificate (x5t, not x5t#S256)")


def test_certificates_whose_fields_cannot_be_read_are_compared_as_a_whole(
    certificate: x509.Certificate,
) -> None:
    ours, broken = presented(certificate), Certificate(b"\x30\x00", (0.0, 1.0))
    found = diagnose(broken.thumbprint_text, ours, [broken])
    assert found.mistake == "another_certificate"
    assert f"another certificate, that of {broken.called}" in found.sentence
    assert diagnose(ours.thumbprint_text, broken, [ours]).mistake == "another_certificate"
