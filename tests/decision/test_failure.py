from sidecar.decision.failure import Denied, Failure
from sidecar.decision.reason import Reason


def test_denied_carries_the_failure_and_can_be_raised_from_one() -> None:
    denied = Denied(Reason.SCOPE_INSUFFICIENT, "scope", "a", "b")
    assert denied.failure == Failure("scope", Reason.SCOPE_INSUFFICIENT, "a", "b")
    assert Denied.of(denied.failure).failure == denied.failure
    assert Denied(Reason.TOKEN_EXPIRED).failure.check == "token_expired"
    assert str(denied) == "scope_insufficient"


def test_failures_that_say_the_same_are_one() -> None:
    one, same = Failure("aud", Reason.AUDIENCE_MISMATCH), Failure("aud", Reason.AUDIENCE_MISMATCH)
    other = Failure("aud", Reason.AUDIENCE_MISMATCH, "a")
    assert {one, same, other} == {one, other}
    assert one != "aud"
    assert repr(other) == "Failure('aud', 'audience_mismatch', 'a', '')"
