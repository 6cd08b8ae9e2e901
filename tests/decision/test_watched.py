"""The same checks as `terms`, told: what came of each, in order."""

import contextlib
import time
from typing import Any

import pytest

from sidecar.decision.claim import ClaimCondition, Equals
from sidecar.decision.condition import Facts
from sidecar.decision.confirmation import parse
from sidecar.decision.explanation import Trace
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.policy import Binding
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof_header import CHECKS
from sidecar.decision.reason import Reason
from sidecar.decision.terms import IssuerTerms, PolicyTerms, RuleTerms
from sidecar.decision.token import UNBOUND, AccessToken
from sidecar.decision.watched import WatchedPolicyTerms
from tests.decision.test_terms import NOW, token
from tests.support.mint import AUDIENCE, ISSUER, SigningKey
from tests.support.pki import Pki
from tests.support.proofs import Prover
from tests.support.world import BOTH, Keys, head, policy, presentation, presenter, proving, rule


def watched(**facts: Any) -> tuple[RuleTerms, IssuerTerms, Trace]:
    """A rule with a trace that has been told of no check but that of the rule, which is forgotten."""
    trace = Trace()
    terms, _ = WatchedPolicyTerms(PolicyTerms(policy(rule(**facts))), trace).first(head(), "main")
    trace.restart()
    return terms, terms.issuer(ISSUER), trace


def outline(trace: Trace) -> list[tuple[str, str, str]]:
    return [(step.check, step.expected, step.presented) for step in trace.steps]


def test_rule_that_decides_begins_the_trace_anew() -> None:
    trace = Trace()
    trace.passed("exp", "", "")
    terms, _ = WatchedPolicyTerms(PolicyTerms(policy(rule("all"))), trace).first(head(), "main")
    assert terms.explains
    assert outline(trace) == [("rule", "a rule that fits", "all")]


def test_what_ends_the_decision_is_told() -> None:
    trace = Trace()
    terms = WatchedPolicyTerms(PolicyTerms(policy()), trace)
    terms.refused(Failure("rule", Reason.RULE_UNMATCHED, "a", "b"))
    assert outline(trace) == [("rule", "a", "b")]


def test_every_step_from_the_credentials_to_the_type_is_told(signing_key: SigningKey) -> None:
    terms, _, trace = watched()
    credentials = AccessToken(signing_key.token(), b"key")
    assert not terms.is_opaque(credentials)
    jws = terms.parse(credentials)
    issuer = terms.accepted(jws.claimed_issuer)
    issuer.validate(issuer.verify(jws, Keys.of(signing_key).keys(ISSUER)), credentials.digest)
    assert [step.check for step in trace.steps] == ["credentials", "token", "iss", "signature", "typ"]
    assert trace.steps[1].presented.startswith("alg ES256, kid ")


def test_issuer_that_vouches_is_named() -> None:
    _, issuer, trace = watched()
    given = token()
    assert issuer.active(given) is given
    assert outline(trace) == [("active", "true", f"true, says {ISSUER}")]


def test_time_and_audience_are_told_with_what_the_token_says() -> None:
    _, issuer, trace = watched()
    issuer.check_time(token(), NOW)
    issuer.check_audience(token(audience=(AUDIENCE, "urn:c")))
    assert outline(trace) == [
        ("exp", f"after {NOW}, ± 30 s", f"{NOW + 300}"), ("aud", AUDIENCE, f"{AUDIENCE} urn:c"),
    ]  # fmt: skip
    with pytest.raises(Denied) as caught:
        issuer.check_audience(token(audience=("urn:x", "urn:y")))
    assert caught.value.failure.presented == "urn:x urn:y"


def test_binding_is_told_whether_it_holds_or_not(pki: Pki) -> None:
    bound = parse({"x5t#S256": pki.client.thumbprint})
    _, required, trace = watched()
    required.check_binding(bound, presentation(pki.client))
    with pytest.raises(Denied):
        required.check_binding(bound, presentation(None))
    assert [(step.check, step.expected, step.verdict.value) for step in trace.steps] == [
        ("cnf.x5t#S256", "required", "passed"), ("cnf.x5t#S256", pki.client.thumbprint, "failed"),
    ]  # fmt: skip
    _, optional, trace = watched(binding=Binding.IF_BOUND)
    optional.check_binding(UNBOUND, presentation(None))
    assert outline(trace) == [("cnf", "not required", "no cnf")]


def facts(**given: Any) -> Facts:
    return Facts(head(), token(**given), presenter(), {}, NOW, reveals=True)


def test_every_condition_is_told_in_order() -> None:
    conditions = tuple(ClaimCondition((name,), Equals(at)) for at, name in enumerate("abc", 1))
    terms, _, trace = watched(scopes=("s",), conditions=conditions)
    failures = terms.failures(facts(claims={"b": 2}))
    assert [failure.check for failure in failures] == ["scope", "claims.a", "claims.c"]
    assert [(step.check, step.verdict.value) for step in trace.steps] == [
        ("scope", "failed"), ("claims.a", "failed"), ("claims.b", "passed"), ("claims.c", "failed"),
    ]  # fmt: skip


def test_granted_scope_is_told_where_one_was_asked_for() -> None:
    terms, _, trace = watched()
    terms.failures(facts())
    assert outline(trace) == []
    terms, _, trace = watched(scopes=("a",))
    terms.failures(facts(scope=frozenset({"a", "b"})))
    assert outline(trace) == [("scope", "a", "a b")]


def test_checks_of_a_proof_are_told_up_to_the_one_that_failed() -> None:
    prover = Prover.create()
    trace = Trace()
    terms, _ = WatchedPolicyTerms(PolicyTerms(proving()), trace).first(head(), "main")
    trace.restart()
    bound, token = parse(prover.cnf, BOTH), AccessToken("token", b"key", "DPoP")
    names = [name for name, _, _ in CHECKS]
    for method, told in (("GET", [*names, "cnf.jkt"]), ("POST", names[: names.index("dpop.htm")])):
        issuer = terms.issuer(ISSUER)
        request = head(proofs=(prover.proof("token", method),))
        given = Presentation(request, presenter(), token, time.time(), issuer.proofs)
        with contextlib.suppress(Denied):
            issuer.check_binding(bound, given)
        assert [step.check for step in trace.steps] == told
        trace.restart()


def test_proof_is_held_against_the_token_as_it_was_sent_where_another_stands_for_it() -> None:
    prover = Prover.create()
    trace = Trace(as_sent="sent")
    terms, _ = WatchedPolicyTerms(PolicyTerms(proving()), trace).first(head(), "main")
    issuer, stands = terms.issuer(ISSUER), AccessToken("stands for it", b"key", "DPoP")
    bound = parse(prover.cnf, BOTH)

    def presented(token: str) -> Presentation:
        request = head(proofs=(prover.proof(token),))
        return Presentation(request, presenter(), stands, time.time(), issuer.proofs)

    (confirmed,) = issuer.check_binding(bound, presented("sent"))
    assert confirmed.member == "jkt"
    with pytest.raises(Denied) as caught:
        issuer.check_binding(bound, presented("stands for it"))
    assert caught.value.reason is Reason.PROOF_TOKEN_MISMATCH
