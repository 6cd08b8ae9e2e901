from sidecar.decision.confirmable import CONFIRMABLE, Confirmable


def test_without_a_word_tokens_come_as_bearer_tokens_and_no_member_is_for_information_only() -> None:
    assert Confirmable(("Bearer",), frozenset()) == CONFIRMABLE
