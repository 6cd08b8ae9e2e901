"""Tokens as issuers write them: each row was met in the field, with what is right in the test's name."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.authorizer import Authorizer
from sidecar.decision import profile
from sidecar.decision.certificate_condition import CertificateNameIsClaim, NameField
from sidecar.decision.claim_names import ClaimNames
from sidecar.decision.confirmable import Confirmable
from sidecar.decision.denial import Denial, Reason
from sidecar.decision.policy import Binding, IntrospectWhen
from sidecar.decision.token import TokenDigest, ValidatedToken
from sidecar.http.identity import identity_block
from sidecar.settings import load
from tests.support.configuration import Configuration
from tests.support.mint import AUDIENCE, ISSUER, SigningKey
from tests.support.pki import Pki
from tests.support.world import (
    Introspection,
    Keys,
    authorizer,
    decide,
    denied,
    head,
    issuer_policy,
    permitted,
    presenter,
    rule,
)
from tests.support.world import policy as rules


def gate(key: SigningKey, *, scopes: tuple[str, ...] = (), **issuer: Any) -> Authorizer:
    return authorizer(rules(rule(scopes=scopes), issuers=[issuer_policy(**issuer)]), Keys.of(key))


def passes(gate: Authorizer, key: SigningKey, pki: Pki, **claims: Any) -> bool:
    decision = decide(gate, head(key.token(pki.client, **claims)), presenter(pki.client))
    return not isinstance(decision, Denial)


def _claim(name: str, value: object) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize("scope", [["accounts:read"], "accounts:read", ["other", "accounts:read"]])
def test_a_list_of_scopes_is_a_set_of_scopes(signing_key: SigningKey, pki: Pki, scope: object) -> None:
    assert passes(gate(signing_key, scopes=("accounts:read",)), signing_key, pki, scope=scope)
    assert not passes(gate(signing_key, scopes=("admin",)), signing_key, pki, scope=scope)


@pytest.mark.parametrize("scp", ["accounts:read", ["accounts:read"]])
def test_scopes_are_read_from_the_claims_that_the_issuer_uses(
    signing_key: SigningKey, pki: Pki, scp: object
) -> None:
    named = gate(signing_key, scopes=("accounts:read",), claim_names=ClaimNames(scope=("scope", "scp")))
    assert passes(named, signing_key, pki, scope=None, scp=scp)
    assert not passes(gate(signing_key, scopes=("accounts:read",)), signing_key, pki, scope=None, scp=scp)
    # Never a union: a `scope` that is there is the one.
    assert not passes(named, signing_key, pki, scope="other", scp=scp)


@pytest.mark.parametrize("name", ["azp", "cid", "appid"])
def test_the_client_is_read_from_the_claim_that_the_issuer_uses(
    signing_key: SigningKey, pki: Pki, name: str
) -> None:
    condition = CertificateNameIsClaim(NameField.SAN_DNS, ("client_id",))
    issuer = issuer_policy(claim_names=ClaimNames(client_id=("client_id", name)))
    named = authorizer(rules(rule(conditions=(condition,)), issuers=[issuer]), Keys.of(signing_key))
    token = signing_key.token(pki.client, client_id=None, **_claim(name, "client-1.example"))
    permit = permitted(decide(named, head(token), presenter(pki.client)))
    assert permit.token is not None
    assert permit.token.client_id == permit.token.claims["client_id"] == "client-1.example"
    other = signing_key.token(pki.client, client_id="another", **_claim(name, "client-1.example"))
    assert denied(decide(named, head(other), presenter(pki.client))).reason is Reason.CONDITION_FAILED


def test_an_answer_of_introspection_is_read_by_the_same_names_and_so_are_identity_headers(pki: Pki) -> None:
    names = ClaimNames(scope=("scope", "scp"), client_id=("client_id", "azp"))
    bound = {"x5t#S256": pki.client.thumbprint}
    answer = profile.introspected(
        {"active": True, "aud": AUDIENCE, "scp": ["accounts:read"], "azp": "client-1", "cnf": bound},
        ISSUER,
        TokenDigest(b"d"),
        names=names,
    )
    one = issuer_policy(introspect=IntrospectWhen.OPAQUE, claim_names=names)
    opaque = authorizer(
        rules(rule(scopes=("accounts:read",)), issuers=[one]),
        Keys.of(),
        Introspection({(ISSUER, "opaque"): answer}),
    )
    permit = permitted(decide(opaque, head("opaque"), presenter(pki.client)))
    assert permit.token is not None
    headers = identity_block(permit.token.claims, {"X-Client": "client_id", "X-Scope": "scope"})
    assert headers == b"X-Client: client-1\r\nX-Scope: accounts:read\r\n"


@pytest.mark.parametrize("informs", [False, True])
def test_a_member_of_cnf_that_nobody_knows_is_refused_unless_it_only_informs(
    signing_key: SigningKey, pki: Pki, *, informs: bool
) -> None:
    """The shape of a server that says how the token's client holds its key."""
    named = frozenset({"kc-jkt-type"} if informs else ())
    one = gate(signing_key, confirmable=Confirmable(("Bearer",), named))
    token = signing_key.token(cnf={"x5t#S256": pki.client.thumbprint, "kc-jkt-type": "jkt"})
    decision = decide(one, head(token), presenter(pki.client))
    assert (decision.reason if isinstance(decision, Denial) else None) is (
        None if informs else Reason.CONFIRMATION_UNSUPPORTED
    )


def test_no_audience_is_refused_and_said_to_be_none(signing_key: SigningKey, pki: Pki) -> None:
    plain = gate(signing_key)
    token = signing_key.token(pki.client, aud=None)
    (failure,) = denied(decide(plain, head(token), presenter(pki.client))).failures
    assert (failure.check, failure.presented) == ("aud", "no audience")
    assert passes(gate(signing_key, audience_missing=True), signing_key, pki, aud=None)
    assert not passes(gate(signing_key, audience_missing=True), signing_key, pki, aud="urn:another")
    assert not passes(gate(signing_key, audience_missing=True), signing_key, pki, aud=[])
    by_client = gate(
        signing_key, audience=frozenset({"client-1"}), claim_names=ClaimNames(audience="client_id")
    )
    assert passes(by_client, signing_key, pki, aud=None)
    assert not passes(by_client, signing_key, pki, aud=None, client_id="client-2")


def test_an_answer_without_audience_is_refused_and_said_to_have_none(pki: Pki) -> None:
    settings: list[tuple[dict[str, Any], Reason | None]] = [
        ({}, Reason.AUDIENCE_MISMATCH),
        ({"audience_missing": True}, None),
    ]
    for issuer, reason in settings:
        answer = vouched(client_id="c")
        one = issuer_policy(introspect=IntrospectWhen.OPAQUE, binding=Binding.NOT_REQUIRED, **issuer)
        opaque = authorizer(
            rules(rule(), issuers=[one]), Keys.of(), Introspection({(ISSUER, "opaque"): answer})
        )
        decision = decide(opaque, head("opaque"), presenter(pki.client))
        assert (decision.reason if isinstance(decision, Denial) else None) is reason
        if isinstance(decision, Denial):
            assert decision.failures[0].presented == "no audience"


def test_the_audience_that_was_refused_is_shown_bounded_and_escaped(
    signing_key: SigningKey, pki: Pki
) -> None:
    for audience, shown in [
        ("https://other.example", "another audience: https://other.example"),
        ("a\nb\u00fc", "another audience: a\\nb\\xfc"),
        ("x" * 1000, "another audience: " + "x" * 200),
    ]:
        token = signing_key.token(pki.client, aud=audience)
        (failure,) = denied(decide(gate(signing_key), head(token), presenter(pki.client))).failures
        assert (failure.expected, failure.presented) == (AUDIENCE, shown)


@pytest.mark.parametrize(
    "claims",
    [{"nbf": None}, {"client_id": None}, {"jti": 7}, {"sub": 42}, {"iat": None}, {"scope": {}}, {"jti": []}],
)
def test_a_claim_that_no_check_needs_kills_no_token(
    signing_key: SigningKey, pki: Pki, claims: dict[str, object]
) -> None:
    assert passes(gate(signing_key), signing_key, pki, **claims)


@pytest.mark.parametrize("name", ["cnf", "exp", "iss"])
def test_null_is_no_absence_where_it_would_loosen_a_check(
    signing_key: SigningKey, pki: Pki, name: str
) -> None:
    relaxed = gate(signing_key, binding=Binding.NOT_REQUIRED)
    assert not passes(relaxed, signing_key, pki, **{name: None})


def test_an_integer_subject_is_told_as_text(signing_key: SigningKey, pki: Pki) -> None:
    permit = permitted(
        decide(gate(signing_key), head(signing_key.token(pki.client, sub=42)), presenter(pki.client))
    )
    assert permit.token is not None
    assert (permit.token.subject, permit.token.claims["sub"]) == ("42", 42)


def vouched(**answer: object) -> ValidatedToken:
    return profile.introspected({"active": True, **answer}, ISSUER, TokenDigest(b"d"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, None),
        ({"scope": "accounts:read more", "aud": AUDIENCE}, None),
        ({"scope": None, "aud": None, "sub": None, "client_id": None}, None),
        ({"scope": ""}, Reason.SCOPE_INSUFFICIENT),
        ({"scope": []}, Reason.SCOPE_INSUFFICIENT),
        ({"scope": "other"}, Reason.SCOPE_INSUFFICIENT),
        ({"aud": "other"}, Reason.AUDIENCE_MISMATCH),
        ({"aud": []}, Reason.AUDIENCE_MISMATCH),
        ({"sub": "mallory"}, Reason.TOKEN_INACTIVE),
        ({"client_id": "another"}, Reason.TOKEN_INACTIVE),
        ({"exp": 1}, Reason.TOKEN_EXPIRED),
        ({"exp": 4_000_000_000, "nbf": 3_900_000_000}, Reason.TOKEN_NOT_YET_VALID),
    ],
)
def test_what_a_token_and_its_issuers_answer_say_must_agree_and_the_narrower_holds(
    signing_key: SigningKey, pki: Pki, answer: dict[str, object], reason: Reason | None
) -> None:
    token = signing_key.token(pki.client)
    issuer = issuer_policy(introspect=IntrospectWhen.ALWAYS)
    asking = authorizer(
        rules(rule(scopes=("accounts:read",)), issuers=[issuer]),
        Keys.of(signing_key),
        Introspection({(ISSUER, token): vouched(**answer)}),
    )
    decision = decide(asking, head(token), presenter(pki.client))
    assert (decision.reason if isinstance(decision, Denial) else None) is reason


def test_the_earlier_end_of_the_two_holds(signing_key: SigningKey, pki: Pki) -> None:
    token = signing_key.token(pki.client, exp=4_000_000_000)
    issuer = issuer_policy(introspect=IntrospectWhen.ALWAYS)
    for end in (3_000_000_000, 5_000_000_000):
        answer = Introspection({(ISSUER, token): vouched(exp=end)})
        asking = authorizer(rules(rule(), issuers=[issuer]), Keys.of(signing_key), answer)
        permit = permitted(decide(asking, head(token), presenter(pki.client)))
        assert permit.valid_until == min(end, 4_000_000_000) + issuer.clock_skew


def test_types_of_tokens_are_compared_without_case(configuration: Configuration) -> None:
    written = "issuers:\n  - issuer: https://as.example.com\n    audience: a\n    keys: {discovery: true}\n"
    configuration.write_policy(written + "    token_types: [JWT, application/AT+JWT]\nrules: []\n")
    issuer = configuration.load().policy.issuers["https://as.example.com"]
    assert issuer.token_types == {"jwt", "at+jwt"}


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    return Configuration.create(tmp_path, pki)


CLAIMS: dict[str, dict[str, Any]] = {
    "Microsoft Entra ID": {"scope": None, "scp": "accounts:read", "client_id": None, "azp": "client-1"},
    "Amazon Cognito": {"aud": None, "token_use": "access", "client_id": "client-1"},
    "Okta": {"scope": None, "scp": ["accounts:read"], "client_id": None, "cid": "client-1"},
    "Auth0": {"client_id": None, "azp": "client-1"},
    "Keycloak": {"client_id": None, "azp": "client-1"},
    "Spring Authorization Server": {"scope": ["accounts:read"], "client_id": None},
    "Duende IdentityServer": {"scope": ["accounts:read"]},
}
"""What a default access token of each looks like, beyond what all have."""
PAGE = Path(__file__).parents[2] / "docs" / "issuers.md"


def documented() -> dict[str, str]:
    """Heading → the YAML under it."""
    found: dict[str, str] = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, _, rest = section.partition("\n")
        if "```yaml" in rest:
            found[title.strip()] = rest.split("```yaml\n")[1].split("```")[0]
    return found


@pytest.mark.parametrize("product", CLAIMS)
def test_the_documented_settings_take_a_default_token_of(
    product: str, configuration: Configuration, signing_key: SigningKey, pki: Pki
) -> None:
    configuration.write_policy(documented()[product])
    loaded = load(configuration.file).policy
    (issuer,) = loaded.issuers.values()
    kind = max(issuer.token_types)
    claims = {"iss": issuer.issuer, "aud": min(issuer.audience), "scope": "accounts:read", **CLAIMS[product]}
    header = {"typ": kind or None}
    token = signing_key.token(
        pki.client, header, [name for name, value in claims.items() if value is None], **claims
    )
    gate = authorizer(loaded, Keys.of(signing_key, issuer=issuer.issuer))
    permit = permitted(decide(gate, head(token), presenter(pki.client)))
    assert permit.token is not None
    assert permit.token.client_id == (None if product == "Spring Authorization Server" else "client-1")
    assert permit.token.scope == {"accounts:read"}
    for wrong in ({"scope": "other", "scp": "other"}, {"iss": "https://other.example"}):
        refused = signing_key.token(pki.client, header, **{**claims, **wrong})
        assert isinstance(decide(gate, head(refused), presenter(pki.client)), Denial)
