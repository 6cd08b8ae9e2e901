from sidecar.decision.confirmation import Confirmed
from sidecar.decision.match import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule


def test_permit_denies_nothing_unless_it_says_so() -> None:
    rule = Rule("r", RequestMatch())
    evidence = Confirmed("x5t#S256")
    permit = Permit(rule, None, (evidence,), 7.0)
    assert (permit.rule, permit.token, permit.confirmed) == (rule, None, (evidence,))
    assert permit.valid_until == 7.0
    assert permit.would_deny is None
