"""Conditions on one attribute of a certificate's subject (RFC 5280 §4.1.2.6), whatever the others are."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from sidecar.decision.certificate import Certificate
from sidecar.decision.certificate_condition import SubjectAttribute
from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.distinguished_name import ATTRIBUTES, Unreadable
from tests.decision.test_certificate_condition import judge
from tests.support.named_certificates import named_certificate

pytestmark = pytest.mark.field_cases

TPP = "PSDDE-BAFIN-125314"


def made(*attributes: tuple[x509.ObjectIdentifier, str]) -> ClientCertificate:
    return named_certificate([x509.NameAttribute(kind, value) for kind, value in attributes])


@pytest.fixture(scope="module")
def eidas() -> ClientCertificate:
    return made(
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "A, B & C"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "payments"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "accounts"),
        (NameOID.ORGANIZATION_IDENTIFIER, TPP),
        (NameOID.USER_ID, "tpp-1"),
    )


def asks(name: str, *values: str, claim: str | None = None) -> SubjectAttribute:
    return SubjectAttribute(name, ATTRIBUTES.get(name, name), values, (claim,) if claim else None)


@pytest.mark.parametrize(
    ("name", "values", "fits"),
    [
        ("organizationIdentifier", (TPP,), True),
        ("2.5.4.97", (TPP,), True),
        ("organizationIdentifier", ("other", TPP), True),
        ("organizationIdentifier", (TPP.lower(),), False),
        ("organizationIdentifier", (TPP[:-1],), False),
        ("OU", ("accounts",), True),
        ("OU", ("payments",), True),
        ("OU", ("admin",), False),
        ("O", ("A, B & C",), True),
        ("O", (TPP,), False),
        ("UID", ("tpp-1",), True),
        ("CN", ("tpp-1",), False),
        ("CN", ("",), False),
    ],
)
def test_value_is_held_to_the_letter(
    eidas: ClientCertificate, name: str, values: tuple[str, ...], fits: bool
) -> None:
    failure = judge(asks(name, *values), eidas)
    assert (failure is None) is fits
    if failure is not None:
        assert failure.check == f"client_certificate.subject_attributes.{name}"
        assert failure.expected == " or ".join(values)


@pytest.mark.parametrize(
    ("claims", "fits"), [({"tpp": TPP}, True), ({"tpp": "x"}, False), ({"tpp": ""}, False), ({}, False)]
)
def test_value_may_be_what_a_claim_says(eidas: ClientCertificate, claims: dict[str, Any], fits: bool) -> None:
    failure = judge(asks("organizationIdentifier", claim="tpp"), eidas, **claims)
    assert (failure is None) is fits
    if failure is not None:
        assert (failure.expected, failure.presented) == ("the claim tpp", TPP)


def test_no_certificate_has_no_attribute() -> None:
    failure = judge(asks("OU", "a"), None)
    assert failure is not None
    assert failure.presented == "no client certificate"


def test_what_takes_a_guess_fails_only_who_asks_for_it() -> None:
    latin = x509.NameAttribute(NameOID.COMMON_NAME, "Müller", _ASN1Type.T61String, _validate=False)
    certificate = named_certificate([x509.NameAttribute(NameOID.USER_ID, "u1"), latin])
    assert isinstance(certificate.subject, Unreadable)
    assert judge(asks("UID", "u1"), certificate) is None
    failure = judge(asks("CN", "Müller"), certificate)
    assert failure is not None
    assert failure.presented.startswith("unreadable")


def test_attribute_is_read_once(eidas: ClientCertificate) -> None:
    assert eidas.subject_attribute("2.5.4.11") is eidas.subject_attribute("2.5.4.11")


@pytest.mark.parametrize("cut", [0, 40])
def test_certificate_that_cannot_be_read_has_no_attribute(eidas: ClientCertificate, cut: int) -> None:
    broken = Certificate(eidas.der[:cut], (0.0, 1.0))
    assert isinstance(broken.subject_attribute("2.5.4.11"), Unreadable)
