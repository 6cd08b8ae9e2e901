from sidecar.decision.keys_in_force import KeyRegister, KeysInForce

OLD, NEW, OTHER = "old", "new", "other"


class Hand:
    """A clock in the test's hand."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


class One:
    """One issuer, and what the register says of its keys."""

    def __init__(self) -> None:
        self.clock = Hand()
        self.keys = KeysInForce(self.clock, 60)
        self.register = KeyRegister()
        self.register.adopt({"one": self.keys})

    def holds(self, key: str) -> bool:
        return self.register.holds("one", key)


def test_nothing_is_in_force_before_the_issuer_has_published() -> None:
    one = One()
    assert (one.keys.is_fresh, one.holds(OLD), one.keys.confirmed_at) == (False, False, float("-inf"))


def test_keys_are_in_force_until_others_are_published() -> None:
    one = One()
    one.keys.confirm(frozenset({OLD}), 100.0)
    assert (one.holds(OLD), one.holds(NEW)) == (True, False)
    one.keys.confirm(frozenset({NEW}), 100.0)
    assert (one.holds(OLD), one.holds(NEW)) == (False, True)


def test_keys_count_for_the_budget_after_they_were_confirmed_and_again_after_the_next_time() -> None:
    one = One()
    one.keys.confirm(frozenset({OLD}), 90.0)
    one.clock.time = 150.0
    assert (one.keys.is_fresh, one.holds(OLD)) == (True, True)
    one.clock.time = 150.5
    assert (one.keys.is_fresh, one.holds(OLD)) == (False, False)
    one.keys.confirm(frozenset({OLD}), 150.0)
    assert (one.keys.is_fresh, one.holds(OLD)) == (True, True)


def test_key_of_one_issuer_is_none_of_another() -> None:
    one, another = One(), KeysInForce(Hand(), 60)
    one.keys.confirm(frozenset({OLD}), 100.0)
    another.confirm(frozenset({OTHER}), 100.0)
    one.register.adopt({"one": one.keys, "another": another})
    assert [one.register.holds(name, OLD) for name in ("one", "another", "third")] == [True, False, False]
    one.register.adopt({"another": another})
    assert not one.holds(OLD)
