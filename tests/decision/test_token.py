from sidecar.decision.denial import Failure, Reason
from sidecar.decision.token import UNBOUND, Confirmation


def test_confirmation_is_bound_by_a_member_or_by_what_cannot_be_confirmed() -> None:
    assert not UNBOUND.is_bound
    assert Confirmation({"x5t#S256": bytes(32)}).is_bound
    assert Confirmation({}, Failure("cnf", Reason.CONFIRMATION_MALFORMED)).is_bound
