"""`sidecar_dpop_proofs_total`: accepted proofs, and the others by the reason that a request was refused for."""

from sidecar.decision.confirmation import OF_PROOFS
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.proofs import proof_samples


def told(metrics: Metrics, accepted: int = 0) -> dict[str, float]:
    return {one.labels[0]: one.value for one in proof_samples(metrics, accepted)}


def test_every_reason_is_there_before_it_ever_occurred() -> None:
    found = told(Metrics())
    assert set(found) == {"accepted", "replay_unknown", *(reason.value for reason in OF_PROOFS)}
    assert set(found.values()) == {0}


def test_refusals_are_added_over_rules_and_outcomes_and_others_are_left_out() -> None:
    metrics = Metrics()
    for rule, outcome, reason in (
        ("a", "deny", "proof_replayed"), ("b", "deny", "proof_replayed"), ("a", "report", "proof_missing"),
        ("a", "deny", "scope_insufficient"), ("a", "permit", "none"), ("a", "deny", "replay_unknown"),
    ):  # fmt: skip
        metrics.increment("sidecar_requests_total", rule, outcome, reason)
    found = told(metrics, accepted=7)
    assert {name: count for name, count in found.items() if count} == {
        "accepted": 7, "proof_replayed": 2, "proof_missing": 1, "replay_unknown": 1,
    }  # fmt: skip
