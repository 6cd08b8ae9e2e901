from sidecar.decision.confirmation.method import Confirmed


def test_evidence_holds_for_ever_unless_it_says_until_when() -> None:
    assert Confirmed("a").until == float("inf")
    assert (Confirmed("a", 7).member, Confirmed("a", 7).until) == ("a", 7)
    assert repr(Confirmed("a")) == "Confirmed(a)"
