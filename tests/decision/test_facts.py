from sidecar.decision.facts import Facts
from tests.support.records import token
from tests.support.world import head


def test_facts_reveal_nothing_unless_told_to() -> None:
    request, presented = head(), token()
    facts = Facts(request, presented, None, {"id": "7"}, 1000)
    assert (facts.head, facts.token, facts.client_certificate) == (request, presented, None)
    assert (facts.captures, facts.now, facts.reveals) == ({"id": "7"}, 1000, False)
