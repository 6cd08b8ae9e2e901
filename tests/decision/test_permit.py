from sidecar.decision.match import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule


def test_permit_denies_nothing_unless_it_says_so() -> None:
    rule = Rule("r", RequestMatch())
    permit = Permit(rule, None, ("x5t#S256",), 7.0)
    assert (permit.rule, permit.token, permit.confirmed) == (rule, None, ("x5t#S256",))
    assert permit.valid_until == 7.0
    assert permit.would_deny is None
