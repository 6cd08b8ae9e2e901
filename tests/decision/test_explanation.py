import pytest

from sidecar.decision import certificate_condition, tls_condition
from sidecar.decision.claim import ClaimCondition, Equals
from sidecar.decision.condition import CLAUSES, Facts
from sidecar.decision.denial import Failure, Reason
from sidecar.decision.explanation import STAGES, Trace, Verdict, clause
from tests.decision.test_terms import NOW, token
from tests.support.world import head, presenter


def outline(trace: Trace) -> list[tuple[str, str]]:
    return [(step.check, step.verdict.value) for step in trace.complete()]


def test_checks_are_kept_in_order_with_their_clauses() -> None:
    trace = Trace()
    trace.passed("rule", "a rule", "all")
    trace.passed("exp", "after 1", "2")
    assert outline(trace) == [("rule", "passed"), ("exp", "passed")]
    assert [step.clause for step in trace.complete()] == ["the policy", "RFC 9068 §4"]


def test_stages_after_the_failure_were_not_reached() -> None:
    trace = Trace()
    trace.passed("rule", "", "")
    trace.failed(Failure("crit", Reason.HEADER_REFUSED, "no extension", "present"))
    steps = trace.complete()
    assert (steps[1].expected, steps[1].presented, steps[1].verdict) == (
        "no extension",
        "present",
        Verdict.FAILED,
    )
    assert [step.check for step in steps[2:]] == ["iss", "signature", "typ", "exp", "aud", "cnf", "scope"]
    assert {step.verdict for step in steps[2:]} == {Verdict.NOT_REACHED}


def test_nothing_is_reached_by_a_request_that_cannot_be_read() -> None:
    trace = Trace()
    trace.failed(Failure("request", Reason.REQUEST_MALFORMED, "clean HTTP", "Content-Length"))
    assert outline(trace) == [("request", "failed"), *((name, "not reached") for name, *_ in STAGES)]


@pytest.mark.parametrize("check", ["cnf.x5t#S256", "scope", "claims.tenant", "client_certificate.san_uri"])
def test_failures_that_are_collected_cut_nothing_off(check: str) -> None:
    trace = Trace()
    trace.failed(Failure(check, Reason.CONDITION_FAILED))
    facts = Facts(head(), token(claims={"a": "x"}), presenter(), {}, NOW)
    for name in "ab":
        watched = trace.watching(ClaimCondition((name,), Equals("x")))
        assert watched.check == f"claims.{name}"
        watched.failure(facts)
    assert outline(trace) == [(check, "failed"), ("claims.a", "passed"), ("claims.b", "failed")]


def test_restarted_trace_has_forgotten() -> None:
    trace = Trace()
    trace.passed("rule", "", "")
    trace.restart()
    assert trace.complete() == []


@pytest.mark.parametrize(
    ("check", "expected"),
    [("cnf.x5t#S256", "RFC 8705 §3"), ("cnf", "RFC 7800 §3.1"), ("claims.a.b", "the policy"), ("nobody", "the policy"),
     ("tls.groups", "RFC 8446 §4.2"), ("client_certificate.san_dns", "RFC 5280 §4")],
)  # fmt: skip
def test_clause_is_found_by_name_or_by_family(check: str, expected: str) -> None:
    assert clause(check) == expected


def test_conditions_bring_their_clauses() -> None:
    assert clause("client_certificate.thumbprint") == certificate_condition.CertificateLasts.clause
    assert clause("tls.groups") == tls_condition.TlsCondition.clause
    assert {clause(f"{subject}.x") for subject in CLAUSES} == set(CLAUSES.values())


def test_every_stage_has_a_clause() -> None:
    for names in STAGES:
        for name in names:
            assert name == "certificate" or clause(name), name
