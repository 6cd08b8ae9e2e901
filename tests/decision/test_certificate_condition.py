from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sidecar.decision.certificate import NEVER_VALID
from sidecar.decision.certificate_condition import (
    CertificateLasts,
    CertificateName,
    CertificateNameIsClaim,
    CertificateThumbprintIs,
    NameField,
    NamePattern,
    OtherName,
    SubjectAttribute,
    is_spiffe_id,
    names_of,
)
from sidecar.decision.client_certificate import ClientCertificate, Unreadable
from sidecar.decision.condition import Condition, Facts
from sidecar.decision.denial import Failure, Reason
from sidecar.decision.request import Presenter
from sidecar.decision.token import UNBOUND, ValidatedToken
from tests.support.named_certificates import UPN, named_certificate, utf8
from tests.support.odd_certificates import READABLE, UNREADABLE_NAMES, UNREADABLE_SUBJECT
from tests.support.pki import Pki, Profile, self_signed, subject_alternative_names
from tests.support.world import head


def certificate(common_name: str = "client", **names: Any) -> ClientCertificate:
    profile = Profile(common_name, names=tuple(subject_alternative_names(**names)))
    return self_signed(profile).presented


def judge(
    condition: Condition, given: ClientCertificate | None, now: float = 0, **claims: object
) -> Failure | None:
    token = ValidatedToken("i", None, None, (), frozenset(), 0, None, None, UNBOUND, None, claims)
    return condition.failure(Facts(head(), token, Presenter(given, "main", "192.0.2.1:1"), {}, now))


@pytest.fixture(scope="module")
def named() -> ClientCertificate:
    return certificate(
        "app-1",
        dns=["App-1.example.com", "app-1.internal"],
        uris=["spiffe://prod/ns/web/sa/app", "https://example.com/app"],
        emails=["app@example.com"],
    )


@pytest.mark.parametrize(
    ("field", "pattern", "fits"),
    [
        ("san_dns", "app-1.example.com", True),
        ("san_dns", "APP-1.example.com", True),
        ("san_dns", "*.example.com", True),
        ("san_dns", "**.com", True),
        ("san_dns", "*.com", False),
        ("san_dns", "example.com", False),
        ("san_dns", "app-1xexample.com", False),
        ("san_uri", "spiffe://prod/**", True),
        ("san_uri", "spiffe://prod/ns/*/sa/app", True),
        ("san_uri", "spiffe://prod/*", False),
        ("san_uri", "spiffe://*/ns/web/sa/app", True),
        ("san_uri", "spiffe://PROD/**", False),
        ("san_uri", "https://example.com/app", True),
        ("san_uri", "https://example.com/app/**", False),
        ("san_email", "app@example.com", True),
        ("san_email", "*@example.com", True),
        ("san_email", "*", False),
        ("subject", "CN=app-1", True),
        ("subject", "CN=*", False),
        ("subject", "CN=app", False),
        ("issuer", "CN=app-1", True),
        ("spiffe_id", "spiffe://prod/**", False),  # two URIs: no X.509-SVID
    ],
)
def test_name_fits_its_pattern(field: str, pattern: str, *, fits: bool, named: ClientCertificate) -> None:
    kind = NameField(field)
    condition = CertificateName(kind, (NamePattern("nothing", kind), NamePattern(pattern, kind)))
    assert (judge(condition, named) is None) is fits


def test_failure_shows_the_names_that_came(named: ClientCertificate) -> None:
    kind = NameField.SAN_DNS
    failure = judge(CertificateName(kind, (NamePattern("a", kind), NamePattern("b", kind))), named)
    assert failure == Failure(
        "client_certificate.san_dns", Reason.CONDITION_FAILED, "a or b", "app-1.example.com app-1.internal"
    )


def test_without_a_certificate_nothing_holds() -> None:
    kind = NameField.SAN_URI
    for condition in (
        CertificateName(kind, (NamePattern("**", kind),)),
        CertificateNameIsClaim(kind, ("client_id",)),
        CertificateThumbprintIs(frozenset({bytes(32)})),
        CertificateLasts(0),
    ):
        failure = judge(condition, None)
        assert failure is not None
        assert failure.presented == "no client certificate"
        assert failure.expected == str(condition) != ""


def test_certificate_without_names_has_none(pki: Pki) -> None:
    kind = NameField.SAN_DNS
    failure = judge(CertificateName(kind, (NamePattern("**", kind),)), pki.other_client.presented)
    assert failure is not None
    assert failure.presented == "no such name"


@pytest.mark.parametrize("name", ["good.example\x00.evil.example", "good.example\n"])
def test_name_with_a_control_character_makes_all_names_of_its_field_void(name: str) -> None:
    given = certificate(dns=["good.example", name])
    assert isinstance(names_of(given, NameField.SAN_DNS), Unreadable)
    assert (
        judge(CertificateName(NameField.SAN_DNS, (NamePattern("**", NameField.SAN_DNS),)), given) is not None
    )


@pytest.mark.field_cases
@pytest.mark.parametrize("field", [NameField.SUBJECT, NameField.ISSUER])
@pytest.mark.parametrize("kind", UNREADABLE_SUBJECT)
def test_a_condition_on_a_name_that_cannot_be_read_fails_and_says_why(field: NameField, kind: str) -> None:
    given = UNREADABLE_SUBJECT[kind].presented
    for text in ("CN=client", "CN=M\\FCller", "CN=M\xfcller"):
        failure = judge(CertificateName(field, (NamePattern(text, field),)), given)
        assert failure is not None
        assert failure.presented.startswith("unreadable (")
    joined = judge(CertificateNameIsClaim(field, ("sub",)), given, sub=str(given.subject))
    assert joined is not None
    assert joined.presented.startswith("unreadable (")


@pytest.mark.field_cases
@pytest.mark.parametrize("kind", UNREADABLE_NAMES)
def test_a_condition_on_alternative_names_that_cannot_be_read_fails_and_says_why(kind: str) -> None:
    given, field = UNREADABLE_NAMES[kind].presented, NameField.SAN_DNS
    for condition in (
        CertificateName(field, (NamePattern("client.example", field),)),
        CertificateNameIsClaim(field, ("client_id",)),
    ):
        failure = judge(condition, given, client_id="client.example")
        assert failure is not None
        assert failure.presented.startswith("unreadable (")


def test_an_empty_subject_equals_no_claim() -> None:
    given = READABLE["an empty subject"].presented
    assert given.subject == ""
    for value in ("", None):
        assert judge(CertificateNameIsClaim(NameField.SUBJECT, ("sub",)), given, sub=value) is not None


def test_a_certificate_whose_dates_cannot_be_read_does_not_last(named: ClientCertificate) -> None:
    failure = judge(CertificateLasts(1), ClientCertificate(named.der, NEVER_VALID))
    assert failure is not None
    assert failure.presented == "unreadable dates"


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("spiffe://prod/ns/web", True), ("spiffe://prod", True), ("spiffe://a-b_c.d/x.y-Z_1", True),
        ("spiffe:///x", False), ("spiffe://Prod/x", False), ("SPIFFE://prod/x", False), ("https://prod/x", False),
        ("spiffe://prod/", False), ("spiffe://prod//x", False), ("spiffe://prod/../x", False),
        ("spiffe://prod/x/.", False),
        ("spiffe://prod/%2e", False), ("spiffe://prod/x?y", False), ("spiffe://prod:80/x", False), ("prod", False),
        ("spiffe://prod/" + "x" * 2048, False),
    ],
)  # fmt: skip
def test_spiffe_id_is_well_formed(uri: str, *, good: bool) -> None:
    assert is_spiffe_id(uri) is good


def test_svid_has_exactly_one_uri() -> None:
    kind = NameField.SPIFFE_ID
    condition = CertificateName(kind, (NamePattern("spiffe://prod/ns/*/sa/app", kind),))
    assert judge(condition, certificate(uris=["spiffe://prod/ns/web/sa/app"])) is None
    assert judge(condition, certificate(uris=["spiffe://prod/ns/web/sa/app", "spiffe://x/y"])) is not None
    assert judge(condition, certificate(uris=["spiffe://prod/ns/../sa/app"])) is not None


def test_claim_may_name_the_holder(named: ClientCertificate) -> None:
    condition = CertificateNameIsClaim(NameField.SAN_DNS, ("client_id",))
    assert judge(condition, named, client_id="app-1.example.com") is None
    assert judge(condition, named, client_id="APP-1.EXAMPLE.COM") is None
    failure = judge(condition, named, client_id="secret-client")
    assert failure is not None
    assert failure.expected == "the claim client_id"
    assert "secret" not in failure.presented


@pytest.mark.parametrize(
    "claims", [{}, {"client_id": None}, {"client_id": ["app-1.internal"]}, {"client_id": ""}]
)
def test_claim_that_is_no_text_names_nobody(claims: dict[str, Any], named: ClientCertificate) -> None:
    assert judge(CertificateNameIsClaim(NameField.SAN_DNS, ("client_id",)), named, **claims) is not None
    assert (
        judge(CertificateNameIsClaim(NameField.SAN_URI, ("client_id",)), certificate(), **claims) is not None
    )


def test_certificate_is_one_of_those_listed(named: ClientCertificate) -> None:
    assert judge(CertificateThumbprintIs(frozenset({named.thumbprint, bytes(32)})), named) is None
    failure = judge(CertificateThumbprintIs(frozenset({bytes(32)})), named)
    assert failure is not None
    assert failure.expected == "0" * 16
    assert failure.presented == named.thumbprint.hex()[:16]


def test_certificate_lasts_long_enough(named: ClientCertificate) -> None:
    assert judge(CertificateLasts(60), named, now=named.not_after - 60) is None
    failure = judge(CertificateLasts(60), named, now=named.not_after - 59)
    assert failure is not None
    assert failure.presented == "in 59 s"


ADA = "ada@bank.example"
OU = SubjectAttribute("OU", "2.5.4.11", ("payments", "accounts"))
BY_CLAIM = OtherName("UPN", UPN, (), ("upn",))


def test_one_value_of_an_attribute_is_held_to_the_letter() -> None:
    def of(*units: str) -> ClientCertificate:
        return named_certificate(
            [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        )

    assert judge(OU, of("staff", "accounts")) is None
    failure = judge(OU, of("Accounts"))
    assert failure is not None
    assert failure.check == "client_certificate.subject_attributes.OU"
    assert (failure.expected, failure.presented) == ("payments or accounts", "Accounts")
    missing = judge(OU, None)
    assert missing is not None
    assert missing.presented == "no client certificate"


def test_an_other_name_may_be_what_a_claim_says() -> None:
    certificate = named_certificate(other_names=[(UPN, utf8(ADA))])
    assert judge(BY_CLAIM, certificate, upn=ADA) is None
    other: list[dict[str, Any]] = [{"upn": ADA.upper()}, {"upn": ""}, {}]
    for claims in other:
        failure = judge(BY_CLAIM, certificate, **claims)
        assert failure is not None
        assert failure.check == "client_certificate.san_other_name.UPN"
        assert (failure.expected, failure.presented) == ("the claim upn", ADA)
    assert judge(OtherName("UPN", UPN, (ADA,)), certificate) is None


def test_a_value_that_takes_a_guess_fails_who_asks_for_it() -> None:
    failure = judge(OtherName("UPN", UPN, (ADA,)), named_certificate(other_names=[(UPN, b"\x30\x00")]))
    assert failure is not None
    assert failure.presented.startswith("unreadable (a value that is no string)")
