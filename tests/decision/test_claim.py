from typing import Any

import pytest

from sidecar.decision.claim import (
    AuthorizationDetail,
    Captured,
    ClaimCondition,
    Comparison,
    Contains,
    Equals,
    Exists,
    OneOf,
    Predicate,
    Prefix,
    claim_path,
    text_at,
    value_at,
)
from sidecar.decision.condition import Facts
from sidecar.decision.denial import Reason
from sidecar.decision.token import UNBOUND, ValidatedToken
from tests.support.world import head, presenter


def facts(**claims: object) -> Facts:
    token = ValidatedToken("i", None, None, (), frozenset(), 0, None, None, UNBOUND, None, claims)
    return Facts(head(), token, presenter(), {"id": "7", "tenant": "acme"}, 1000)


def holds(predicate: Predicate, **claims: object) -> bool:
    return ClaimCondition(("a",), predicate).failure(facts(**claims)) is None


@pytest.mark.parametrize(
    ("predicate", "right", "wrong"),
    [
        (Equals("x"), ["x"], ["X", "", ["x"], {"x": 1}, None]),
        (Equals(1), [1, 1.0], [True, "1", 2]),
        (Equals(True), [True], [1, "true", False]),
        (Equals(False), [False], [0, None, ""]),
        (Equals(None), [None], [False, 0, ""]),
        (Equals(Captured("{id}")), ["7"], [7, "8", "{id}"]),
        (Equals(Captured("{tenant}-{id}")), ["acme-7"], ["acme-8"]),
        (OneOf(("x", 1)), ["x", 1], [True, "1", ["x"]]),
        (OneOf((Captured("{id}"), "x")), ["7", "x"], ["8"]),
        (OneOf(()), [], ["x", None]),
        (Contains(("x",)), [["x"], ["y", "x"]], ["x", "xy", [], [["x"]], {"x": 1}, None]),
        (Contains(("x", "y")), [["x", "y"], ["y", "z", "x"]], [["x"], ["y"], "xy"]),
        (Contains((1,)), [[1]], [[True], ["1"]]),
        (Contains((Captured("{id}"),)), [["7"]], [["8"]]),
        (Prefix("ab"), ["ab", "abc"], ["a", "AB", ["ab"], None, 1]),
        (Prefix(Captured("{tenant}/")), ["acme/x"], ["other/x", "acme"]),
        (Comparison("at_least", 2), [2, 2.5, 3], [1, "3", True, None, [3]]),
        (Comparison("at_most", 2), [2, 1.5], [3, "1", False]),
        (Comparison("more_than", 2), [2.1, 3], [2, 1]),
        (Comparison("less_than", 2), [1, 1.9], [2, 3]),
        (Exists(), ["x", None, 0, [], False], []),
        (Exists(wanted=False), [], ["x", None, 0]),
    ],
)
def test_predicate_accepts_these_values_and_not_those(
    predicate: Predicate, right: list[object], wrong: list[object]
) -> None:
    for value in right:
        assert holds(predicate, a=value), value
    for value in wrong:
        assert not holds(predicate, a=value), value
    assert str(predicate) or predicate == Equals("")


def test_missing_claim_is_nothing_but_absent() -> None:
    for predicate in (
        Equals(None),
        OneOf((None, "")),
        Contains(()),
        Prefix(""),
        Comparison("less_than", 9),
        Exists(),
    ):
        assert not holds(predicate, b=1)
    assert holds(Exists(wanted=False), b=1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("a",), {"b": [{"c": 1}, {"c": 2}, {"d": 3}, 4], "e": [{"c": [5, 6]}, {"c": 7}], "f": []}),
        (("a", "b", "c"), [1, 2]),
        (("a", "e", "c"), [5, 6, 7]),
        (("a", "f"), []),
        (("x.y",), 1),
    ],
)
def test_path_leads_through_objects_and_arrays(path: tuple[str, ...], value: object) -> None:
    claims = {
        "a": {"b": [{"c": 1}, {"c": 2}, {"d": 3}, 4], "e": [{"c": [5, 6]}, {"c": 7}], "f": []},
        "x.y": 1,
    }
    assert value_at(claims, path) == value


@pytest.mark.parametrize(
    "path", [("z",), ("a", "z"), ("a", "b", "z"), ("a", "f", "c"), ("x.y", "z"), ("a", "b", "c", "d")]
)
def test_path_that_leads_nowhere_finds_nothing(path: tuple[str, ...]) -> None:
    claims = {"a": {"b": [{"c": 1}], "f": []}, "x.y": 1}
    assert ClaimCondition(path, Exists(wanted=False)).failure(facts(**claims)) is None


@pytest.mark.parametrize(
    ("text", "path"),
    [("tenant", ("tenant",)), ("realm_access.roles", ("realm_access", "roles")),
     ("https://example.com/roles", ("https://example.com/roles",))],
)  # fmt: skip
def test_path_is_written_with_dots(text: str, path: tuple[str, ...]) -> None:
    assert claim_path(text) == path


def test_claim_behind_an_array_can_be_required_of_one_element() -> None:
    condition = ClaimCondition(("groups", "name"), Contains(("admin",)))
    assert condition.failure(facts(groups=[{"name": "staff"}, {"name": "admin"}])) is None
    assert condition.failure(facts(groups=[{"name": "staff"}])) is not None


@pytest.mark.parametrize(
    ("value", "shown"),
    [("secret", "other text"), (["secret"], "an array"), ({"k": "secret"}, "an object"), (True, "another boolean"),
     (4711, "another value"), (None, "another value")],
)  # fmt: skip
def test_failure_names_the_claim_and_never_its_value(value: object, shown: str) -> None:
    failure = ClaimCondition(("a",), Equals("x")).failure(facts(a=value))
    assert failure is not None
    assert (failure.check, failure.reason) == ("claims.a", Reason.CONDITION_FAILED)
    assert (failure.expected, failure.presented) == ("x", shown)


def test_value_is_shown_where_the_policy_says_so() -> None:
    failure = ClaimCondition(("a", "b"), Equals("x"), may_log=True).failure(facts(a={"b": "y\n" + "z" * 500}))
    assert failure is not None
    assert failure.check == "claims.a.b"
    assert failure.presented.startswith("'y\\nzzz")
    assert len(failure.presented) == 200
    asked = facts(a="secret")
    asked.reveals = True
    explained = ClaimCondition(("a",), Equals("x")).failure(asked)
    assert explained is not None
    assert explained.presented == "'secret'"
    missing = ClaimCondition(("a",), Equals("x"), may_log=True).failure(facts())
    assert missing is not None
    assert missing.presented == "nothing"


def test_captured_names_what_it_takes() -> None:
    assert Captured("{tenant}/{id}").names == {"tenant", "id"}
    assert Captured("plain").fill({}) == "plain"


def details(*given: Any) -> Facts:
    return facts(authorization_details=list(given))


PAYMENT = {"type": "payment", "amount": {"currency": "EUR", "value": 10}, "actions": ["initiate"]}


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        (AuthorizationDetail("payment"), True),
        (AuthorizationDetail("account"), False),
        (AuthorizationDetail("payment", ((("amount", "currency"), Equals("EUR")),)), True),
        (AuthorizationDetail("payment", ((("amount", "value"), Comparison("at_most", 9)),)), False),
        (
            AuthorizationDetail(
                "payment", ((("actions",), Contains(("initiate",))), (("x",), Exists(wanted=False)))
            ),
            True,
        ),
    ],
)
def test_authorization_detail_has_its_type_and_fields(condition: AuthorizationDetail, *, fits: bool) -> None:
    assert (condition.failure(details({"type": "other"}, PAYMENT)) is None) is fits


def test_fields_count_within_one_detail_only() -> None:
    condition = AuthorizationDetail("payment", ((("a",), Equals(1)), (("b",), Equals(2))))
    assert condition.failure(details({"type": "payment", "a": 1}, {"type": "payment", "b": 2})) is not None
    assert condition.failure(details({"type": "payment", "a": 1, "b": 2})) is None
    assert condition.failure(details({"type": "x", "a": 1, "b": 2}, "text", None)) is not None


@pytest.mark.parametrize("claim", [None, "payment", {"type": "payment"}, 1])
def test_authorization_details_that_are_no_array_grant_nothing(claim: object) -> None:
    failure = AuthorizationDetail("payment", ((("a",), Equals(1)),)).failure(
        facts(authorization_details=claim)
    )
    assert failure is not None
    assert failure.check == "authorization_details"
    assert failure.expected == "type payment, a 1"


def test_missing_authorization_details_grant_nothing() -> None:
    assert AuthorizationDetail("payment").failure(facts()) is not None


def test_text_at_a_path_is_text_or_nothing() -> None:
    assert text_at({"a": {"b": "x"}}, ("a", "b")) == "x"
    assert text_at({"a": 1}, ("a",)) is None
    assert text_at({}, ("a",)) is None


def test_condition_says_where_it_stands_and_what_it_takes_from_the_path() -> None:
    claim = ClaimCondition(("a", "b"), OneOf((Captured("{id}"), "x")))
    assert (claim.place, claim.clause) == (("claims", "a.b"), "the policy")
    assert claim.captures == {"id"}
    detail = AuthorizationDetail("t", ((("a",), Equals(Captured("{x}"))), (("b",), Prefix(Captured("{y}-")))))
    assert (detail.place, detail.check) == (("authorization_details",), "authorization_details")
    assert detail.captures == {"x", "y"}
    assert Contains((Captured("{z}"),)).captures == {"z"}
    assert Exists().captures == Equals(1).captures == frozenset()
