import pytest

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.policy import Policy
from tests.support.world import head, issuer_policy, policy, rule


def test_first_rule_that_fits_is_the_rule() -> None:
    matched = policy(rule("a", "/accounts/{id}"), rule("b")).rule_for(head(target="/accounts/7"))
    assert matched.rule.name == "a"
    assert dict(matched.captures) == {"id": "7"}


def test_empty_policy_denies_everything() -> None:
    with pytest.raises(Denied) as caught:
        Policy({}, ()).rule_for(head())
    assert caught.value.reason is Reason.RULE_UNMATCHED


def test_allowance_is_that_of_the_rule() -> None:
    request = head(target="/a//b")
    lax = rule("lax", allow_ambiguous_paths=frozenset({"double_slash"}))
    assert policy(lax).rule_for(request).rule is lax
    with pytest.raises(Denied) as caught:
        policy(rule("strict")).rule_for(request)
    assert caught.value.reason is Reason.PATH_AMBIGUOUS


def test_needed_issuers_are_those_whose_tokens_some_rule_accepts() -> None:
    issuers = [issuer_policy(name) for name in ("a", "b", "c")]
    named = rule("named", issuers=frozenset({"a"}))
    assert policy(named, rule("open", public=True), issuers=issuers).needed_issuers() == {"a"}
    assert policy(named, rule("any"), issuers=issuers).needed_issuers() == {"a", "b", "c"}
    assert policy(rule("open", public=True), issuers=issuers).needed_issuers() == frozenset()
