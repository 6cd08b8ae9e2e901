from typing import Any

import pytest

from sidecar.decision.claim import ClaimCondition, Equals
from sidecar.decision.condition import AuthenticationContext, Facts
from sidecar.decision.confirmation import Confirmed, parse
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.policy import Binding, IntrospectWhen, ReportOnly
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof_policy import ProofPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.terms import IssuerTerms, PolicyTerms, RuleTerms
from sidecar.decision.token import UNBOUND, AccessToken, ValidatedToken
from tests.support.mint import AUDIENCE, ISSUER, SigningKey
from tests.support.pki import Pki
from tests.support.world import BOTH, Keys, head, issuer_policy, policy, presentation, presenter, rule

NOW = 1_000_000


def token(**facts: Any) -> ValidatedToken:
    given: dict[str, Any] = {
        "issuer": ISSUER, "subject": None, "client_id": None, "audience": (AUDIENCE,), "scope": frozenset(),
        "expires_at": NOW + 300, "not_before": None, "issued_at": None, "confirmation": UNBOUND, "token_id": None,
        "claims": {}, **facts,
    }  # fmt: skip
    return ValidatedToken(**given)


def issuer_terms(issuer: dict[str, Any] | None = None, **facts: Any) -> IssuerTerms:
    return RuleTerms(rule(**facts), policy(issuers=[issuer_policy(**(issuer or {}))])).issuer(ISSUER)


def reason(check: Any, *arguments: Any) -> Reason:
    with pytest.raises(Denied) as caught:
        check(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("facts", "at", "expected"),
    [
        ({}, NOW, None),
        ({"expires_at": NOW}, NOW + 29.9, None),
        ({"expires_at": NOW}, NOW + 30, Reason.TOKEN_EXPIRED),
        ({"not_before": NOW + 30}, NOW, None),
        ({"not_before": NOW + 31}, NOW, Reason.TOKEN_NOT_YET_VALID),
        ({"issued_at": NOW + 30}, NOW, None),
        ({"issued_at": NOW + 31}, NOW, Reason.TOKEN_NOT_YET_VALID),
        ({"not_before": NOW - 1, "issued_at": NOW - 1}, NOW, None),
    ],
)
def test_time_is_checked_with_the_issuers_skew(
    facts: dict[str, Any], at: float, expected: Reason | None
) -> None:
    terms = issuer_terms()
    if expected is None:
        terms.check_time(token(**facts), at)
    else:
        assert reason(terms.check_time, token(**facts), at) is expected


def test_audience_is_one_of_the_issuers_and_one_of_the_rules() -> None:
    terms = issuer_terms(audience=frozenset({"urn:b", "urn:c"}))
    terms.check_audience(token(audience=(AUDIENCE, "urn:c")))
    assert reason(terms.check_audience, token(audience=(AUDIENCE,))) is Reason.AUDIENCE_MISMATCH
    assert reason(terms.check_audience, token(audience=("urn:c",))) is Reason.AUDIENCE_MISMATCH
    assert reason(issuer_terms().check_audience, token(audience=())) is Reason.AUDIENCE_MISMATCH


def test_a_missing_audience_passes_where_that_is_allowed_unless_the_rule_names_one() -> None:
    lenient = {"audience_missing": True}
    issuer_terms(lenient).check_audience(token(audience=(), claims={}))
    issuer_terms(lenient).check_audience(token(audience=(), claims={"aud": None}))
    for audience in ((), ("urn:b",)):
        given = token(audience=audience, claims={"aud": list(audience)})
        assert reason(issuer_terms(lenient).check_audience, given) is Reason.AUDIENCE_MISMATCH
    strict = issuer_terms(lenient, audience=frozenset({"urn:b"}))
    assert reason(strict.check_audience, token(audience=(), claims={})) is Reason.AUDIENCE_MISMATCH


def test_the_audience_of_an_answer_must_fit_where_it_has_one() -> None:
    terms, signed = issuer_terms(), token()
    for claims, audience in [({}, ()), ({"aud": None}, ()), ({"aud": AUDIENCE}, (AUDIENCE,))]:
        assert terms.agreed(signed, token(audience=audience, claims=claims)) is signed
    for claims, audience in [({"aud": []}, ()), ({"aud": "urn:b"}, ("urn:b",))]:
        other = token(audience=audience, claims=claims)
        assert reason(terms.agreed, signed, other) is Reason.AUDIENCE_MISMATCH


@pytest.mark.parametrize(
    ("issuer", "given", "required"),
    [
        (Binding.REQUIRED, None, True), (Binding.IF_BOUND, None, False), (Binding.NOT_REQUIRED, None, False),
        (Binding.REQUIRED, Binding.IF_BOUND, False), (Binding.REQUIRED, Binding.NOT_REQUIRED, False),
        (Binding.NOT_REQUIRED, Binding.REQUIRED, True), (Binding.IF_BOUND, Binding.REQUIRED, True),
    ],
)  # fmt: skip
def test_rules_word_on_binding_replaces_its_issuers(
    issuer: Binding, given: Binding | None, *, required: bool, pki: Pki
) -> None:
    terms = issuer_terms({"binding": issuer}, binding=given)
    if required:
        assert reason(terms.check_binding, UNBOUND, presentation(pki.client)) is Reason.BINDING_MISSING
    else:
        assert terms.check_binding(UNBOUND, presentation(pki.client)) == ()


@pytest.mark.parametrize("binding", list(Binding))
def test_bound_token_must_confirm_in_every_mode(binding: Binding, pki: Pki) -> None:
    terms = issuer_terms(binding=binding)
    bound = parse({"x5t#S256": pki.client.thumbprint})
    assert [one.member for one in terms.check_binding(bound, presentation(pki.client))] == ["x5t#S256"]
    assert reason(terms.check_binding, bound, presentation(pki.other_client)) is Reason.BINDING_MISMATCH
    assert reason(terms.check_binding, bound, presentation(None)) is Reason.CERTIFICATE_MISSING


def test_certificate_counts_until_it_ends_where_a_chain_is_asked_for(pki: Pki) -> None:
    terms, end = issuer_terms(), pki.client.presented.not_after
    bound = parse({"x5t#S256": pki.client.thumbprint})
    assert terms.check_binding(bound, presentation(pki.client, end - 1, certificate_must_be_valid=True))
    strict = presentation(pki.client, end, certificate_must_be_valid=True)
    assert reason(terms.check_binding, bound, strict) is Reason.CERTIFICATE_EXPIRED
    assert terms.check_binding(bound, presentation(pki.client, end + 1))


def test_permit_ends_with_the_token_or_with_the_certificate(pki: Pki) -> None:
    terms, end = issuer_terms(), pki.client.presented.not_after
    strict = presenter(pki.client, certificate_must_be_valid=True)
    assert terms.valid_until(end - 100, strict) == end - 70
    assert terms.valid_until(end + 100, strict) == end
    assert terms.valid_until(end + 100, presenter(pki.client)) == end + 130
    assert terms.valid_until(end + 100, presenter(None)) == end + 130
    assert terms.valid_until(end + 100, strict, (Confirmed("a", end - 7), Confirmed("b"))) == end - 7


def test_rule_accepts_its_own_issuers_only() -> None:
    both = policy(issuers=[issuer_policy(), issuer_policy("https://b.example")])
    assert RuleTerms(rule(), both).issuer("https://b.example").name == "https://b.example"
    narrow = RuleTerms(rule(issuers=frozenset({"https://b.example"})), both)
    with pytest.raises(Denied) as caught:
        narrow.issuer(ISSUER)
    assert caught.value.reason is Reason.ISSUER_UNKNOWN


def test_algorithms_go_by_their_canonical_names() -> None:
    assert issuer_terms({"algorithms": frozenset({"Ed25519", "ES256"})}).algorithms == {"EdDSA", "ES256"}


@pytest.mark.parametrize(
    ("when", "asks", "always"),
    [
        (IntrospectWhen.NEVER, False, False),
        (IntrospectWhen.OPAQUE, True, False),
        (IntrospectWhen.ALWAYS, True, True),
    ],
)
def test_introspection_is_the_issuers_choice(when: IntrospectWhen, *, asks: bool, always: bool) -> None:
    terms = issuer_terms({"introspect": when})
    assert (terms.introspects, terms.introspects_all) == (asks, always)


def test_last_of_the_three_ends_of_reporting_counts() -> None:
    given = policy(issuers=[issuer_policy(report_only=ReportOnly(2))], report_only=ReportOnly(3))
    assert RuleTerms(rule(report_only=ReportOnly(1)), given).issuer(ISSUER).reports_until == 3
    assert issuer_terms().reports_until == float("-inf")


def facts(given: ValidatedToken) -> Facts:
    return Facts(head(), given, presenter(), {}, NOW)


def test_scopes_are_all_of_these_and_one_of_those() -> None:
    terms = RuleTerms(rule(scopes=("a", "b"), any_scope=("c", "d")), policy())
    assert terms.failures(facts(token(scope=frozenset({"a", "b", "d"})))) == []
    failures = terms.failures(facts(token(scope=frozenset({"a"}))))
    assert [failure.expected for failure in failures] == ["b", "one of c d"]
    assert {failure.reason for failure in failures} == {Reason.SCOPE_INSUFFICIENT}


def test_explanation_shows_what_was_granted() -> None:
    terms = RuleTerms(rule(scopes=("a",), any_scope=("b",)), policy())
    revealing = Facts(head(), token(scope=frozenset({"y", "x"})), presenter(), {}, NOW, reveals=True)
    assert {failure.presented for failure in terms.failures(revealing)} == {"x y"}


def test_every_failure_is_collected() -> None:
    conditions = (
        ClaimCondition(("a",), Equals(1)),
        ClaimCondition(("b",), Equals(2)),
        ClaimCondition(("c",), Equals(3)),
    )
    terms = RuleTerms(rule(scopes=("s",), conditions=conditions), policy())
    failures = terms.failures(facts(token(claims={"b": 2})))
    assert [failure.check for failure in failures] == ["scope", "claims.a", "claims.c"]


def test_denial_says_what_the_challenge_needs() -> None:
    conditions = (
        AuthenticationContext(("mfa",), 600), AuthenticationContext(max_age=60), ClaimCondition(("a",), Equals(1)),
    )  # fmt: skip
    terms = RuleTerms(rule("r", scopes=("s",), any_scope=("t",), conditions=conditions), policy())
    given = token()
    denial = terms.denial(terms.failures(facts(given)), given)
    assert denial.reason is Reason.SCOPE_INSUFFICIENT
    assert (denial.rule, denial.token, denial.scope) == ("r", given, ("s", "t"))
    assert (denial.acr_values, denial.max_age) == (("mfa",), 60)
    plain = RuleTerms(rule(), policy()).denial(list(denial.failures), given)
    assert (plain.acr_values, plain.max_age) == ((), None)


def test_token_is_read_verified_and_validated_under_the_terms_of_its_issuer(signing_key: SigningKey) -> None:
    credentials = AccessToken(signing_key.token(), b"key")
    terms = RuleTerms(rule(), policy())
    assert not terms.is_opaque(credentials)
    assert terms.is_opaque(AccessToken("opaque", b"key"))
    jws = terms.parse(credentials)
    issuer = terms.accepted(jws.claimed_issuer)
    verified = issuer.verify(jws, Keys.of(signing_key).keys(ISSUER))
    assert issuer.validate(verified, credentials.digest).digest == credentials.digest


def test_token_that_its_issuer_calls_inactive_is_refused() -> None:
    given = token()
    assert issuer_terms().active(given) is given
    assert reason(issuer_terms().active, None) is Reason.TOKEN_INACTIVE


def test_first_rule_that_fits_gives_the_terms() -> None:
    terms = PolicyTerms(policy(rule("a", path="/a"), rule("b", path="/{id}")))
    found, captures = terms.first(head(target="/b"), "main")
    assert (found.rule.name, dict(captures)) == ("b", {"id": "b"})
    assert reason(terms.first, head(target="/b/c"), "main") is Reason.RULE_UNMATCHED
    terms.refused(Failure("rule", Reason.RULE_UNMATCHED))


def test_challenge_names_first_the_scheme_in_which_the_error_is_said() -> None:
    both = issuer_policy(confirmable=BOTH, proof=ProofPolicy(algorithms=frozenset({"ES256"})))
    terms = RuleTerms(rule(), policy(issuers=[both]))
    bearer, dpop = ("Bearer", ""), ("DPoP", "ES256")
    assert terms.schemes == (bearer, dpop)
    assert terms.challenges("Bearer", Reason.TOKEN_EXPIRED) == (bearer, dpop)
    assert terms.challenges("MTLS_POP", Reason.TOKEN_EXPIRED) == (bearer, dpop)
    assert terms.challenges("DPoP", Reason.TOKEN_EXPIRED) == (dpop, bearer)
    assert terms.challenges("Bearer", Reason.PROOF_MISSING) == (dpop, bearer)
    assert RuleTerms(rule(), policy()).challenges("DPoP", Reason.TOKEN_EXPIRED) == (bearer,)


def test_scheme_other_than_bearer_needs_what_it_stands_for(pki: Pki) -> None:
    given = Presentation(head(), presenter(pki.client), AccessToken("t", b"key", "MTLS_POP"), NOW)
    bound = parse({"x5t#S256": pki.client.thumbprint})
    assert issuer_terms().check_binding(bound, given)
    assert (
        reason(issuer_terms(binding=Binding.IF_BOUND).check_binding, UNBOUND, given) is Reason.SCHEME_MISMATCH
    )


def test_opaque_token_is_bounded() -> None:
    terms = issuer_terms()
    terms.check_opaque_size(terms.opaque_token_bytes)
    assert reason(terms.check_opaque_size, terms.opaque_token_bytes + 1) is Reason.TOKEN_TOO_LARGE
