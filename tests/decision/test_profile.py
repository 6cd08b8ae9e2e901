from typing import Any

import pytest

from sidecar.decision import profile
from sidecar.decision.claim_names import ClaimNames
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
        ("iat", False), ("aud", 1), ("aud", {}), ("aud", [AUDIENCE, 1]), ("aud", [[AUDIENCE]]),
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


@pytest.mark.parametrize("name", ["sub", "client_id", "jti", "scope", "nbf", "iat"])
def test_null_is_absent_where_nothing_must_be_there(name: str, validate: Any) -> None:
    token = validate(**{name: None})
    found = {
        "sub": token.subject, "client_id": token.client_id, "jti": token.token_id, "nbf": token.not_before,
        "iat": token.issued_at, "scope": token.scope or None,
    }  # fmt: skip
    assert found[name] is None
    assert name == "sub" or token.subject == "alice"


@pytest.mark.parametrize("name", ["exp", "iss"])
def test_null_is_never_absent_where_something_must_be_there(name: str, validate: Any) -> None:
    assert refused(validate, **{name: None}).failure.check == name


def test_null_is_never_an_absent_confirmation(validate: Any) -> None:
    assert validate(cnf=None).confirmation.refusal is not None


@pytest.mark.parametrize("value", [["a"], {}, True, 1.5])
@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
def test_a_name_that_is_none_names_nobody_and_fails_no_token(name: str, value: object, validate: Any) -> None:
    token = validate(**{name: value})
    assert {"sub": token.subject, "client_id": token.client_id, "jti": token.token_id}[name] is None


@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
def test_a_name_may_be_an_integer(name: str, validate: Any) -> None:
    token = validate(**{name: 42})
    assert {"sub": token.subject, "client_id": token.client_id, "jti": token.token_id}[name] == "42"


@pytest.mark.parametrize(
    ("scope", "tokens"),
    [
        (["a", "b c"], {"a", "b c"}), ([], set()), ("a b", {"a", "b"}), (["a", 1], set()), ({"a": 1}, set()),
        (7, set()), (True, set()), ([["a"]], set()),
    ],
)  # fmt: skip
def test_a_list_of_strings_is_a_set_of_scopes_and_anything_else_grants_nothing(
    scope: object, tokens: set[str], validate: Any
) -> None:
    assert validate(scope=scope).scope == tokens


def test_the_first_claim_that_is_present_counts_and_never_a_union(validate: Any) -> None:
    named = issuer_policy(claim_names=ClaimNames(scope=("scope", "scp"), client_id=("azp", "client_id")))
    both = validate(policy=named, scope="a", scp="b", azp="first", client_id="second")
    assert (both.scope, both.client_id) == ({"a"}, "first")
    assert both.claims["client_id"] == "first"
    other = validate(policy=named, scope=None, scp=["b", "c"], azp=None)
    assert (other.scope, other.client_id) == ({"b", "c"}, "client-1")
    assert other.claims["scope"] == ["b", "c"]
    # Present and of another type: it is the one, and says nothing.
    wrong = validate(policy=named, azp={}, scope=7, scp="b")
    assert (wrong.scope, wrong.client_id, wrong.claims["client_id"]) == (frozenset(), None, None)


def test_another_claim_may_take_the_place_of_the_audience(validate: Any) -> None:
    by_client = issuer_policy(audience=frozenset({"client-1"}), claim_names=ClaimNames(audience="client_id"))
    assert validate(policy=by_client, without="aud").audience == ("client-1",)
    assert validate(policy=by_client, aud=None).audience == ("client-1",)
    assert validate(policy=by_client).audience == (AUDIENCE,)
    assert refused(validate, policy=by_client, without="aud", client_id=None).failure.check == "aud"


def test_a_token_without_an_audience_passes_where_that_is_allowed(validate: Any) -> None:
    assert refused(validate, aud=None).failure.presented == "no audience"
    assert validate(policy=issuer_policy(audience_missing=True), without="aud").audience == ()


def agreement(signed: dict[str, Any], answer: dict[str, Any], **policy: Any) -> ValidatedToken:
    issuer = issuer_policy(**policy)
    token = profile.introspected({"active": True, **signed}, ISSUER, DIGEST)
    return profile.agreed(token, profile.introspected({"active": True, **answer}, ISSUER, DIGEST), issuer)


@pytest.mark.parametrize(
    ("answer", "scope"),
    [
        ({}, "a b"),
        ({"scope": None}, "a b"),
        ({"scope": "b c"}, "b"),
        ({"scope": ""}, ""),
        ({"scope": "a b c"}, "a b"),
    ],
)
def test_scopes_of_a_token_and_of_the_answer_about_it_intersect(
    answer: dict[str, object], scope: str
) -> None:
    token = agreement({"scope": "a b"}, answer)
    assert token.scope == frozenset(scope.split())
    assert token.claims["scope"] == scope


@pytest.mark.parametrize("name", ["sub", "client_id"])
def test_a_token_and_an_answer_about_another_do_not_agree(name: str) -> None:
    for value in ("b", 7):
        with pytest.raises(Denied) as caught:
            agreement({name: "a"}, {name: value})
        assert (caught.value.reason, caught.value.failure.check) == (Reason.TOKEN_INACTIVE, name)
    for signed, answer in [({name: "a"}, {name: "a"}), ({name: "a"}, {}), ({}, {name: "a"})]:
        assert agreement(signed, answer).issuer == ISSUER


def test_subjects_may_differ_where_identifiers_are_pairwise() -> None:
    assert agreement({"sub": "a"}, {"sub": "b"}, same_subject=False).subject == "a"


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
