import pytest

from sidecar.decision.denial import Denied
from sidecar.decision.policy import Policy
from tests.support.world import head, policy, rule


def test_matcher_goes_by_the_index_of_the_rules() -> None:
    given = policy(rule("a", "/accounts/{id}"), rule("b"))
    found = given.matcher.first(head(target="/accounts/7"))
    assert found is not None
    assert given.rules[found[0]].name == "a"
    assert dict(found[1]) == {"id": "7"}


def test_empty_policy_has_a_rule_for_nothing() -> None:
    assert Policy({}, ()).matcher.first(head()) is None


def test_allowance_is_that_of_the_rule() -> None:
    request = head(target="/a//b")
    lax = rule("lax", allow_ambiguous_paths=frozenset({"double_slash"}))
    assert policy(lax).matcher.first(request) is not None
    with pytest.raises(Denied):
        policy(rule("strict")).matcher.first(request)
