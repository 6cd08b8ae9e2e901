"""Places of a rule: as many as it says, each free again, and none of them another rule's."""

import pytest

from sidecar.proxy.exchange.occupancy import Full, Occupancy


def test_there_are_as_many_places_as_the_rule_says() -> None:
    occupancy = Occupancy()
    for _ in range(3):
        occupancy.enter("a", 3)
    with pytest.raises(Full):
        occupancy.enter("a", 3)
    assert occupancy.taken() == {"a": 3}


def test_a_place_that_was_left_is_free() -> None:
    occupancy = Occupancy()
    place = occupancy.enter("a", 1)
    place.leave()
    occupancy.enter("a", 1)
    assert occupancy.taken() == {"a": 1}


def test_rules_have_places_of_their_own() -> None:
    occupancy = Occupancy()
    occupancy.enter("a", 1)
    occupancy.enter("b", 1)
    assert occupancy.taken() == {"a": 1, "b": 1}


def test_a_rule_with_no_request_under_way_takes_no_memory() -> None:
    occupancy = Occupancy()
    for number in range(100):
        occupancy.enter(f"rule-{number}", 1).leave()
    assert occupancy.taken() == {}
