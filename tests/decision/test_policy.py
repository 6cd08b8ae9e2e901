import pytest

from sidecar.decision.confirmable import Confirmable
from sidecar.decision.denial import Denied
from sidecar.decision.policy import Policy
from tests.support.world import head, issuer_policy, policy, rule


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


def test_issuers_that_some_rule_accepts_are_needed() -> None:
    a, b = issuer_policy("https://a.example"), issuer_policy("https://b.example")
    narrow = rule("narrow", issuers=frozenset({"https://a.example"}))
    public = rule("public", public=True)
    assert policy(public, issuers=[a, b]).needed_issuers() == frozenset()
    assert policy(public, narrow, issuers=[a, b]).needed_issuers() == {"https://a.example"}
    assert policy(narrow, rule(), issuers=[a, b]).needed_issuers() == {
        "https://a.example",
        "https://b.example",
    }


def test_schemes_are_those_of_any_issuer_and_their_other_names() -> None:
    bearer = {"bearer": "Bearer", "mtls_pop": "MTLS_POP"}
    assert policy().schemes == bearer
    assert policy(issuers=[]).schemes == {"bearer": "Bearer"}
    proofs = issuer_policy("https://b.example", confirmable=Confirmable(("DPoP",)))
    assert policy(issuers=[proofs]).schemes == {"dpop": "DPoP"}
    assert policy(issuers=[proofs, issuer_policy()]).schemes == {**bearer, "dpop": "DPoP"}
