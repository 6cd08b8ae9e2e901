"""What a rule requires becomes the conditions of the core."""

from typing import Any

import pytest

from sidecar.decision.certificate_condition import (
    CertificateLasts,
    CertificateName,
    CertificateNameIsClaim,
    CertificateThumbprintIs,
    NameField,
    NamePattern,
    OtherName,
    SubjectAttribute,
)
from sidecar.decision.claim import (
    AuthorizationDetail,
    Captured,
    ClaimCondition,
    Comparison,
    Contains,
    Equals,
    Exists,
    OneOf,
    Prefix,
)
from sidecar.decision.condition import AuthenticationContext
from sidecar.decision.policy import Rule
from sidecar.decision.tls_condition import TlsGroup, TlsVersion
from tests.support.configuration import Configuration


def rule(configuration: Configuration, text: str) -> Rule:
    """The one rule whose members are `text`."""
    configuration.write_rule(text)
    (found,) = configuration.load().policy.rules
    return found


def named(field: NameField, *texts: str) -> CertificateName:
    return CertificateName(field, tuple(NamePattern(text, field) for text in texts))


THUMBPRINT = "A" * 42 + "E"

CONDITIONS: list[tuple[str, list[Any]]] = [
    ("client_id: app", [ClaimCondition(("client_id",), OneOf(("app",)))]),
    ("client_id: [a, b]", [ClaimCondition(("client_id",), OneOf(("a", "b")))]),
    ("acr: [urn:mfa]", [AuthenticationContext(("urn:mfa",), None)]),
    ("max_authentication_age: 1h", [AuthenticationContext((), 3600)]),
    ("{acr: urn:mfa, max_authentication_age: 5m}", [AuthenticationContext(("urn:mfa",), 300)]),
    ("claims: {tenant: acme}", [ClaimCondition(("tenant",), Equals("acme"))]),
    ("claims: {level: 3}", [ClaimCondition(("level",), Equals(3))]),
    ("claims: {level: 1.5}", [ClaimCondition(("level",), Equals(1.5))]),
    ("claims: {staff: true}", [ClaimCondition(("staff",), Equals(value=True))]),
    ('claims: {level: "3"}', [ClaimCondition(("level",), Equals("3"))]),
    ("claims: {region: [eu, us]}", [ClaimCondition(("region",), OneOf(("eu", "us")))]),
    ("claims: {a: {equals: x}}", [ClaimCondition(("a",), Equals("x"))]),
    ("claims: {a: {one_of: [x, 1]}}", [ClaimCondition(("a",), OneOf(("x", 1)))]),
    ("claims: {roles: {contains: reader}}", [ClaimCondition(("roles",), Contains(("reader",)))]),
    ("claims: {roles: {all: [a, b]}}", [ClaimCondition(("roles",), Contains(("a", "b")))]),
    ("claims: {a: {prefix: x-}}", [ClaimCondition(("a",), Prefix("x-"))]),
    ("claims: {a: {at_least: 3}}", [ClaimCondition(("a",), Comparison("at_least", 3))]),
    ("claims: {a: {at_most: 3.5}}", [ClaimCondition(("a",), Comparison("at_most", 3.5))]),
    (
        "claims: {a: {more_than: 1, less_than: 9}}",
        [
            ClaimCondition(("a",), Comparison("more_than", 1)),
            ClaimCondition(("a",), Comparison("less_than", 9)),
        ],
    ),
    ("claims: {a: {exists: true}}", [ClaimCondition(("a",), Exists(wanted=True))]),
    ("claims: {a: {exists: false}}", [ClaimCondition(("a",), Exists(wanted=False))]),
    ("claims: {a: {equals: x, may_log: true}}", [ClaimCondition(("a",), Equals("x"), may_log=True)]),
    (
        "claims: {realm_access.roles: {contains: x}}",
        [ClaimCondition(("realm_access", "roles"), Contains(("x",)))],
    ),
    (
        'claims: {"https://example.com/tenant": acme}',
        [ClaimCondition(("https://example.com/tenant",), Equals("acme"))],
    ),
    ('claims: {account: "{id}"}', [ClaimCondition(("account",), Equals(Captured("{id}")))]),
    ('claims: {account: {prefix: "u-{id}"}}', [ClaimCondition(("account",), Prefix(Captured("u-{id}")))]),
    (
        'claims: {accounts: {contains: "{id}"}}',
        [ClaimCondition(("accounts",), Contains((Captured("{id}"),)))],
    ),
    ("authorization_details: [{type: payment}]", [AuthorizationDetail("payment")]),
    (
        "authorization_details: [{type: payment, fields: {actions: {contains: read}, amount.value: {at_most: 5}}}]",
        [
            AuthorizationDetail(
                "payment",
                ((("actions",), Contains(("read",))), (("amount", "value"), Comparison("at_most", 5))),
            )
        ],
    ),
    ("client_certificate: {san_dns: a.example.com}", [named(NameField.SAN_DNS, "a.example.com")]),
    ('client_certificate: {san_dns: ["*.a.com", b.com]}', [named(NameField.SAN_DNS, "*.a.com", "b.com")]),
    ('client_certificate: {san_uri: "spiffe://prod/**"}', [named(NameField.SAN_URI, "spiffe://prod/**")]),
    ("client_certificate: {san_email: a@b.com}", [named(NameField.SAN_EMAIL, "a@b.com")]),
    (
        'client_certificate: {spiffe_id: "spiffe://prod/api"}',
        [named(NameField.SPIFFE_ID, "spiffe://prod/api")],
    ),
    ('client_certificate: {subject: "CN=a,O=b"}', [named(NameField.SUBJECT, "CN=a,O=b")]),
    ('client_certificate: {issuer: "CN=ca"}', [named(NameField.ISSUER, "CN=ca")]),
    (
        "client_certificate: {san_dns: {claim: client_id}}",
        [CertificateNameIsClaim(NameField.SAN_DNS, ("client_id",))],
    ),
    (
        f"client_certificate: {{thumbprint: {THUMBPRINT}}}",
        [CertificateThumbprintIs(frozenset({bytes(31) + b"\1"}))],
    ),
    ("client_certificate: {not_after_margin: 24h}", [CertificateLasts(86400)]),
    (
        "client_certificate: {subject_attributes: {OU: [a, b], 2.5.4.97: {claim: tpp}}}",
        [
            SubjectAttribute("OU", "2.5.4.11", ("a", "b")),
            SubjectAttribute("2.5.4.97", "2.5.4.97", (), ("tpp",)),
        ],
    ),
    (
        "client_certificate: {san_other_name: {UPN: [a], 1.2.3: {claim: x}}}",
        [OtherName("UPN", "1.3.6.1.4.1.311.20.2.3", ("a",)), OtherName("1.2.3", "1.2.3", (), ("x",))],
    ),
    ('tls: {minimum_version: "1.3"}', [TlsVersion("1.3")]),
    ("tls: {groups: X25519MLKEM768}", [TlsGroup(("X25519MLKEM768",))]),
    (
        'tls: {groups: [X25519, P-256], minimum_version: "1.2"}',
        [TlsVersion("1.2"), TlsGroup(("X25519", "P-256"))],
    ),
]


@pytest.mark.parametrize(("text", "expected"), CONDITIONS, ids=[text for text, _ in CONDITIONS])
def test_a_requirement_becomes_its_conditions(
    configuration: Configuration, text: str, expected: list[Any]
) -> None:
    require = text if text.startswith("{") else f"{{{text}}}"
    found = rule(configuration, f'match: {{path: "/a/{{id}}"}}\n    require: {require}')
    assert list(found.conditions) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{organisationIdentifier: a}", "did you mean `organizationIdentifier`?"),
        ("{1.2.03: a}", "is neither a known attribute of a subject nor an object identifier"),
        ("{}", "has no condition on the certificate"),
        ("{OU: []}", "expected a name, a list of names, or {claim: NAME}"),
    ],
)
def test_an_attribute_that_nobody_knows_is_a_problem(
    configuration: Configuration, text: str, expected: str
) -> None:
    require = f"{{client_certificate: {{subject_attributes: {text}}}}}"
    configuration.write_rule(f'match: {{path: "/a"}}\n    require: {require}')
    (problem,) = configuration.problems()
    assert expected in problem.message


GROUPS = "X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, X448, P-256, P-384, P-521"


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{minimum_version: 1.3}", "8:38: expected text, got 1.3: put it in quotes"),
        ('{minimum_version: "1.1"}', "8:38: expected one of 1.2, 1.3, got `1.1`; did you mean `1.3`?"),
        (
            "{groups: [X25519, X25519MLKEM]}",
            f"8:38: expected one of {GROUPS}, got `X25519MLKEM`; did you mean `X25519MLKEM768`?",
        ),
        ("{groups: x25519}", f"8:29: expected one of {GROUPS}, got `x25519`; did you mean `X25519`?"),
        ("{groups: []}", "8:29: must not be empty"),
        ("{}", "8:20: has no condition on TLS: use `minimum_version`, `groups`"),
        ("{group: P-256}", "8:21: unknown key `group`; did you mean `groups`?"),
        ("X25519", "8:20: expected a mapping of keys to values, got `X25519`"),
    ],
)
def test_a_mistake_in_what_is_asked_of_tls_is_named_at_its_place(
    configuration: Configuration, text: str, expected: str
) -> None:
    configuration.write_rule(f'match: {{path: "/a"}}\n    require: {{tls: {text}}}')
    assert configuration.said() == [expected]
