from typing import Any

import pytest

from sidecar.decision import profile
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.jose import VerifiedClaims
from sidecar.decision.strict import Malformed
from sidecar.decision.token import TokenDigest, ValidatedToken
from tests.support.mint import AUDIENCE, ISSUER, SigningKey, claims_set
from tests.support.world import issuer_policy, verification_key

DIGEST = TokenDigest(b"digest")


@pytest.fixture(scope="session")
def validate(signing_key: SigningKey) -> Any:
    key = verification_key(signing_key)

    def validated(
        kind: str = "at+jwt", without: str = "", policy: Any = None, **claims: object
    ) -> ValidatedToken:
        given = claims_set(None, **claims)
        given.pop(without, None)
        return profile.validate(VerifiedClaims(given, kind, key), policy or issuer_policy(), DIGEST)

    return validated


def refused(validate: Any, **arguments: Any) -> Denied:
    with pytest.raises(Denied) as caught:
        validate(**arguments)
    return caught.value


def test_access_token_becomes_a_validated_token(validate: Any) -> None:
    token = validate(
        exp=2000.5, nbf=1000, iat=1000, scope="a b", jti="1", aud=[AUDIENCE, "https://b.example"]
    )
    assert (token.issuer, token.subject, token.client_id) == (ISSUER, "alice", "client-1")
    assert token.audience == (AUDIENCE, "https://b.example")
    assert token.scope == {"a", "b"}
    assert (token.expires_at, token.not_before, token.issued_at) == (2000.5, 1000, 1000)
    assert (token.token_id, token.digest) == ("1", DIGEST)
    assert token.key_id is not None
    assert not token.confirmation.is_bound


@pytest.mark.parametrize("name", ["sub", "client_id", "jti", "scope", "iat"])
def test_claims_that_rfc_9068_does_not_validate_may_be_missing(name: str, validate: Any) -> None:
    token = validate(without=name)
    assert token.subject == (None if name == "sub" else "alice")
    assert token.scope == (frozenset() if name == "scope" else {"accounts:read"})


@pytest.mark.parametrize("name", ["iss", "aud", "exp"])
def test_token_without_a_claim_that_must_be_validated_is_refused(name: str, validate: Any) -> None:
    denied = refused(validate, without=name)
    assert denied.reason is Reason.CLAIM_MISSING
    assert denied.failure.check == name


@pytest.mark.parametrize("kind", ["jwt", "", "id_token+jwt", "dpop+jwt", "at+jwt ", "xat+jwt"])
def test_another_type_of_token_is_refused(kind: str, validate: Any) -> None:
    assert refused(validate, kind=kind).reason is Reason.TOKEN_TYPE_REFUSED


@pytest.mark.parametrize("kind", ["jwt", ""])
def test_type_that_the_issuer_is_allowed_by_name_passes(kind: str, validate: Any) -> None:
    relaxed = issuer_policy(token_types=frozenset({kind}))
    assert validate(kind=kind, policy=relaxed).subject == "alice"


@pytest.mark.parametrize(
    "issuer", ["https://as.example.com/", "https://AS.example.com", "", 1, None, [ISSUER]]
)
def test_issuer_is_compared_exactly(issuer: object, validate: Any) -> None:
    assert refused(validate, iss=issuer).reason is Reason.ISSUER_UNKNOWN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", True), ("exp", "1"), ("exp", 1e308), ("exp", -1), ("exp", None), ("exp", [1]), ("nbf", "0"),
        ("iat", False), ("aud", 1), ("aud", None), ("aud", {}), ("aud", [AUDIENCE, 1]), ("aud", [[AUDIENCE]]),
        ("sub", 1), ("sub", None), ("client_id", ["a"]), ("jti", {}), ("scope", ["a"]), ("scope", None), ("scope", 1),
    ],
)  # fmt: skip
def test_claim_of_the_wrong_type_is_refused(name: str, value: object, validate: Any) -> None:
    denied = refused(validate, **{name: value})
    assert denied.reason is Reason.CLAIM_MALFORMED
    assert denied.failure.check == name


@pytest.mark.parametrize(
    ("scope", "tokens"), [("", set()), (" ", set()), ("a", {"a"}), ("a  b ", {"a", "b"}), ("a\tb", {"a\tb"})]
)
def test_scope_is_separated_by_spaces_only(scope: str, tokens: set[str], validate: Any) -> None:
    assert validate(scope=scope).scope == tokens


@pytest.mark.parametrize("cnf", [None, "text", [], {}, {"jkt": "x"}, {"x5t#S256": 1}])
def test_confirmation_that_nobody_can_confirm_is_bound_to_nobody(cnf: object, validate: Any) -> None:
    confirmation = validate(cnf=cnf).confirmation
    assert confirmation.is_bound
    assert confirmation.refusal is not None


def introspect(**response: object) -> ValidatedToken:
    return profile.introspected(response, ISSUER, DIGEST)


def test_active_response_becomes_a_validated_token() -> None:
    token = introspect(
        active=True, aud=AUDIENCE, exp=2000, client_id="c", scope="a", cnf={"x5t#S256": "A" * 43}
    )
    assert (token.issuer, token.audience, token.expires_at) == (ISSUER, (AUDIENCE,), 2000)
    assert token.key_id is None
    assert token.confirmation.members == {"x5t#S256": bytes(32)}


def test_active_response_that_says_nothing_more_is_for_no_audience() -> None:
    token = introspect(active=True)
    assert token.audience == ()
    assert token.expires_at == float("inf")


def test_inactive_token_is_refused() -> None:
    with pytest.raises(Denied) as caught:
        introspect(active=False, aud=AUDIENCE)
    assert caught.value.reason is Reason.TOKEN_INACTIVE


@pytest.mark.parametrize("active", ["true", 1, None, [], "false", 0])
def test_response_whose_active_is_no_boolean_says_nothing(active: object) -> None:
    with pytest.raises(Malformed):
        introspect(active=active)


def test_response_without_active_says_nothing() -> None:
    with pytest.raises(Malformed):
        introspect(aud=AUDIENCE)


def test_response_about_another_issuers_token_is_refused() -> None:
    with pytest.raises(Denied) as caught:
        introspect(active=True, iss="https://other.example.com")
    assert caught.value.reason is Reason.ISSUER_UNKNOWN
