from sidecar.decision.reason import NAMES, Reason


def test_every_reason_has_a_name_of_its_own_and_can_be_looked_up_by_itself() -> None:
    assert [NAMES[reason] for reason in Reason] == [reason.value for reason in Reason]
    assert len(set(NAMES.values())) == len(Reason)
