import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sidecar.decision.certificate import NEVER_VALID, AlternativeNames, Certificate, Unreadable
from tests.support.named_certificates import UPN, named_certificate, utf8
from tests.support.odd_certificates import (
    CLIENT_AUTH,
    DNS,
    READABLE,
    SAN,
    UNREADABLE_NAMES,
    UNREADABLE_SUBJECT,
    OddCertificate,
    alternative_names,
    extension,
    tlv,
)
from tests.support.pki import Pki, Profile, self_signed, subject_alternative_names, utc_now


def test_thumbprint_is_the_sha_256_of_the_der_encoding(pki: Pki) -> None:
    certificate = pki.client.presented
    assert certificate.thumbprint == hashlib.sha256(pki.client.der).digest()
    assert certificate.thumbprint_text == pki.client.thumbprint
    assert repr(certificate).startswith(f"ClientCertificate({certificate.thumbprint.hex()[:16]}")


def test_validity_is_in_seconds_since_the_epoch() -> None:
    start, end = utc_now() - dt.timedelta(days=1), utc_now() + dt.timedelta(days=1)
    certificate = self_signed(Profile(not_before=start, not_after=end)).presented
    assert (certificate.not_before, certificate.not_after) == (start.timestamp(), end.timestamp())


def test_names_are_those_of_the_certificate(pki: Pki) -> None:
    names = subject_alternative_names(dns=["a.example"], uris=["spiffe://a/b"], emails=["a@b.example"])
    certificate = pki.client_authority.issue(Profile("c", "o", names=tuple(names))).presented
    assert certificate.subject == "CN=c,O=o"
    assert certificate.issuer == "CN=test client CA"
    found = certificate.alternative_names
    assert isinstance(found, AlternativeNames)
    assert (found.dns, found.uri, found.email) == (("a.example",), ("spiffe://a/b",), ("a@b.example",))


def test_a_name_is_read_once(pki: Pki) -> None:
    certificate = pki.client.presented
    for read in (
        lambda: certificate.subject,
        lambda: certificate.issuer,
        lambda: certificate.alternative_names,
    ):
        assert read() is read()


def test_certificate_without_alternative_names_has_none(pki: Pki) -> None:
    certificate = pki.other_client.presented
    found = certificate.alternative_names
    assert isinstance(found, AlternativeNames)
    assert found.dns == found.uri == found.email == ()


@pytest.mark.parametrize("kind", UNREADABLE_SUBJECT)
def test_a_subject_that_cannot_be_read_is_shown_escaped_and_hides_nothing_else(kind: str) -> None:
    certificate = UNREADABLE_SUBJECT[kind].presented
    for name in (certificate.subject, certificate.issuer):
        assert isinstance(name, Unreadable)
        assert name.why
        assert str(name).isascii()
        assert str(name).isprintable()
    assert certificate.called == str(certificate.subject)
    found = certificate.alternative_names
    assert isinstance(found, AlternativeNames)
    assert found.dns == ("client.example",)


@pytest.mark.parametrize("kind", UNREADABLE_NAMES)
def test_alternative_names_that_cannot_be_read_are_said_to_be_so(kind: str) -> None:
    found = UNREADABLE_NAMES[kind].presented.alternative_names
    assert isinstance(found, Unreadable)
    assert found.shown.startswith("#3") or kind == "names that are no sequence"


@pytest.mark.parametrize("kind", READABLE)
def test_what_is_odd_and_clear_is_read(kind: str) -> None:
    certificate = READABLE[kind].presented
    assert isinstance(certificate.subject, str)
    found = certificate.alternative_names
    assert isinstance(found, AlternativeNames)
    assert found.dns == (() if kind == "explicit version 1" else ("client.example",))
    assert certificate.not_before < utc_now().timestamp() < certificate.not_after


def test_what_has_no_subject_is_called_by_its_serial_number() -> None:
    assert READABLE["an empty subject"].presented.called == "serial number 1"
    assert READABLE["serial number 0"].presented.serial_number == "0"
    assert READABLE["a negative serial number"].presented.serial_number == "-1"


@pytest.mark.parametrize(
    ("der", "why"),
    [
        (b"", "cut short"),
        (b"\x30", "cut short"),
        (b"\x30\x00", "no certificate"),
        (b"\x30\x02\x30\x00", "fields are missing"),
        (b"\x31\x00", "no certificate"),
        (b"\x30\x00\x00", "bytes after the end"),
        (b"\x30\x80\x00\x00", "a length that is not DER"),
        (b"\x30\x02\x31\x00", "no certificate"),
    ],
)
def test_what_is_no_certificate_has_neither_names_nor_number(der: bytes, why: str) -> None:
    certificate = Certificate(der, NEVER_VALID)
    for field in (certificate.fields, certificate.subject, certificate.issuer, certificate.alternative_names):
        assert isinstance(field, Unreadable)
        assert field.why == why
    assert certificate.serial_number.startswith(f"unreadable ({why})")
    assert certificate.called.startswith(f"unreadable ({why})")


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ((tlv(0x30),), "no extension"),
        ((tlv(0x31),), "no extension"),
        ((tlv(0x30, tlv(0x06, b"\x55"), tlv(0x01, b"\0"), tlv(0x04), tlv(0x04)),), "no extension"),
        ((tlv(0x30, tlv(0x04), tlv(0x04)),), "no extension"),
        ((tlv(0x30, tlv(0x06, bytes.fromhex(SAN)), tlv(0x02, b"\0")),), "no extension's value"),
        ((extension(SAN, tlv(0x31)),), "no sequence of names"),
        ((alternative_names(tlv(0x87, b"\x7f\0\0")),), "an address that is none"),
        ((alternative_names(tlv(0x89, b"x")),), "a name of an unknown kind"),
        ((alternative_names(*[DNS] * 257),), "more than 256 names of one kind"),
    ],
)
def test_an_extension_that_is_none_makes_all_of_them_doubtful(
    extensions: tuple[bytes, ...], why: str
) -> None:
    # The reader alone: OpenSSL takes few of these for a certificate.
    certificate = Certificate(OddCertificate(extensions=extensions).der, NEVER_VALID)
    found = certificate.alternative_names
    assert isinstance(found, Unreadable)
    assert found.why == why


def test_names_of_kinds_that_no_condition_asks_for_are_passed_over() -> None:
    other = tlv(0xA0, tlv(0x06, b"\x55"), tlv(0xA0, tlv(0x0C, b"upn")))
    directory, registered = tlv(0xA4, tlv(0x30)), tlv(0x88, b"\x55")
    names = alternative_names(other, directory, registered, tlv(0x87, bytes(4)), tlv(0x87, bytes(16)), DNS)
    found = OddCertificate(extensions=(CLIENT_AUTH, names)).presented.alternative_names
    assert isinstance(found, AlternativeNames)
    assert found.dns == ("client.example",)


def test_addresses_are_octets_and_any_number_of_them_leaves_the_other_names_readable() -> None:
    names = alternative_names(DNS, tlv(0x87, bytes(16)), *[tlv(0x87, b"\xc0\0\2\1")] * 300)
    found = OddCertificate(extensions=(names,)).presented.alternative_names
    assert isinstance(found, AlternativeNames)
    assert (found.dns, found.ip[:2], len(found.ip)) == (("client.example",), (bytes(16), b"\xc0\0\2\1"), 301)


def test_canonical_subject_is_made_once_and_is_unreadable_where_there_is_no_certificate(pki: Pki) -> None:
    certificate = pki.client.presented
    assert certificate.canonical_subject is certificate.canonical_subject
    assert not isinstance(certificate.canonical_subject, Unreadable)
    assert isinstance(Certificate(b"", NEVER_VALID).canonical_subject, Unreadable)


def test_an_attribute_of_the_subject_is_read_once() -> None:
    certificate = named_certificate([x509.NameAttribute(NameOID.USER_ID, "u1")])
    assert certificate.subject_attribute("0.9.2342.19200300.100.1.1") == ("u1",)
    assert certificate.subject_attribute("2.5.4.11") is certificate.subject_attribute("2.5.4.11")


@pytest.mark.parametrize("der", [b"", b"\x30\x00"])
def test_what_is_no_certificate_has_neither_attributes_nor_other_names(der: bytes) -> None:
    broken = Certificate(der, (0.0, 1.0))
    assert isinstance(broken.subject_attribute("2.5.4.11"), Unreadable)
    assert isinstance(broken.other_name(UPN), Unreadable)


def test_other_names_are_told_by_their_type() -> None:
    certificate = named_certificate(other_names=[(UPN, utf8("a")), ("1.2.3", utf8("b")), (UPN, utf8("c"))])
    assert certificate.other_name(UPN) == ("a", "c")
    assert certificate.other_name("1.2.3") == ("b",)
    assert certificate.other_name("1.2.4") == ()


def test_an_other_name_that_is_no_text_concerns_only_who_asks_for_its_type() -> None:
    """A Kerberos name, a SEQUENCE, stands beside the user principal name in many a certificate."""
    certificate = named_certificate(other_names=[("1.3.6.1.5.2.2", b"\x30\x00"), (UPN, utf8("a"))])
    assert certificate.other_name(UPN) == ("a",)
    names = certificate.alternative_names
    assert isinstance(names, AlternativeNames)
    assert names.dns == ("a.example",)
    found = certificate.other_name("1.3.6.1.5.2.2")
    assert isinstance(found, Unreadable)
    assert found.why == "a value that is no string"


@pytest.mark.parametrize(
    ("of", "by", "why"),
    [
        (b"\xa0\x03" + utf8("a"), b"\xa1\x03" + utf8("a"), "no value of an otherName"),
        (
            b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37",
            b"\x04\x0a\x2b\x06\x01\x04\x01\x82\x37",
            "no type of an otherName",
        ),
        (b"\xa0\x03\x0c\x01a", b"\x0c\x00\x0c\x01a", "no type and value"),
    ],
)
def test_an_other_name_that_cannot_be_read_is_no_match_for_anybody(of: bytes, by: bytes, why: str) -> None:
    der = named_certificate(other_names=[(UPN, utf8("a"))]).der
    assert der.count(of) == 1
    found = Certificate(der.replace(of, by), (0.0, 1.0)).other_name(UPN)
    assert isinstance(found, Unreadable)
    assert found.why == why


def test_more_other_names_than_a_condition_looks_at_are_unreadable() -> None:
    certificate = named_certificate(other_names=[(UPN, utf8(f"u{number}")) for number in range(257)])
    assert "more than 256 names of one kind" in str(certificate.other_name(UPN))
