import pytest

from sidecar.decision.condition import CLAUSES, AuthenticationContext, BoundBy, Facts
from sidecar.decision.denial import Reason
from sidecar.decision.token import UNBOUND, Confirmation, ValidatedToken
from tests.support.world import head, presenter

NOW = 1_000_000


def failure_of(condition: AuthenticationContext, **claims: object) -> str | None:
    token = ValidatedToken("i", None, None, (), frozenset(), 0, None, None, UNBOUND, None, claims)
    failure = condition.failure(Facts(head(), token, presenter(), {}, NOW))
    if failure is None:
        return None
    assert failure.reason is Reason.AUTHENTICATION_INSUFFICIENT
    assert failure.check == "authentication_context"
    assert failure.expected == str(condition)
    return failure.presented


def test_acr_is_one_of_those_asked_for() -> None:
    condition = AuthenticationContext(("mfa", "phr"))
    assert failure_of(condition, acr="phr") is None
    assert failure_of(condition, acr="pwd") == "acr is another, or there is none"
    assert str(condition) == "acr mfa or phr"


@pytest.mark.parametrize("acr", [None, 1, ["mfa"], {"mfa": 1}, "MFA"])
def test_acr_of_another_shape_is_not_enough(acr: object) -> None:
    assert failure_of(AuthenticationContext(("mfa",)), acr=acr) is not None


def test_authentication_is_recent_enough_up_to_the_second() -> None:
    condition = AuthenticationContext(max_age=60)
    assert failure_of(condition, auth_time=NOW - 60) is None
    assert failure_of(condition, auth_time=NOW - 61) == "61 s ago"
    assert str(condition) == "at most 60 s ago"


@pytest.mark.parametrize("auth_time", [None, "1", True, -1, 1e308])
def test_authentication_at_no_known_time_is_not_recent(auth_time: object) -> None:
    condition = AuthenticationContext(("mfa",), 60)
    assert failure_of(condition, acr="mfa", auth_time=auth_time) == "auth_time is missing or no NumericDate"
    assert str(condition) == "acr mfa, at most 60 s ago"


def test_missing_auth_time_is_not_recent() -> None:
    assert failure_of(AuthenticationContext(max_age=60)) is not None


def test_condition_brings_its_clause_and_takes_nothing_from_the_path_unless_it_says_so() -> None:
    condition = AuthenticationContext(("mfa",))
    assert CLAUSES["authentication_context"] == condition.clause == "RFC 9470 §5"
    assert (condition.place, condition.captures) == (("authentication_context",), frozenset())
    assert not condition.names_holder


@pytest.mark.parametrize(
    ("asked", "members", "presented"),
    [
        (("x5t#S256",), {"x5t#S256": b""}, None), (("x5t#S256",), {"x5t#S256": b"", "jkt": b""}, None),
        (("x5t#S256",), {"jkt": b""}, "jkt"), (("x5t#S256", "jkt"), {"jkt": b""}, "jkt"), (("jkt",), {}, "no cnf"),
    ],
)  # fmt: skip
def test_rule_says_by_what_a_token_must_be_bound(
    asked: tuple[str, ...], members: dict[str, bytes], presented: str | None
) -> None:
    """A key alone would otherwise do for a rule that was written for certificates."""
    token = ValidatedToken("i", None, None, (), frozenset(), 1, None, None, Confirmation(members), None, {})
    condition = BoundBy(asked)
    failure = condition.failure(Facts(head(), token, presenter(), {}, 0))
    assert (failure and failure.presented) == presented
    assert condition.check == "confirmation"
    assert failure is None or failure.reason is Reason.BINDING_MISSING
