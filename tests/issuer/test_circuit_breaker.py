"""The circuit: closed, open, half open."""

import pytest

from sidecar.decision.token import TokenDigest
from sidecar.issuer.circuit_breaker import Blame, CircuitBreaker, CircuitOpen
from sidecar.issuer.configuration import CircuitBreakerSettings
from tests.support.issuer_events import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(CircuitBreakerSettings(failures=3, open_for=5.0, probes=1), clock.clock)


def asked(
    breaker: CircuitBreaker, source: str, blame: Blame | None = None, token: bytes | None = None
) -> None:
    """A question that `source` has about a token of its own, and how it ends; `blame` of None: well."""
    admission = breaker.admit(source, TokenDigest(token or source.encode()))
    if blame is None:
        breaker.succeed()
    else:
        breaker.fail(admission, blame)


def failing(breaker: CircuitBreaker, times: int, first: int = 0) -> None:
    for number in range(first, first + times):
        asked(breaker, f"client-{number}", Blame.UNCLEAR)


def passes(breaker: CircuitBreaker, source: str, token: bytes = b"fresh") -> bool:
    try:
        breaker.check(source, TokenDigest(token))
    except CircuitOpen:
        return False
    return True


def test_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    failing(breaker, 2)
    asked(breaker, "client")
    failing(breaker, 2)
    assert breaker.is_closed
    failing(breaker, 1)
    assert not breaker.is_closed
    with pytest.raises(CircuitOpen) as refused:
        asked(breaker, "client")
    assert refused.value.retry_after == 5


def test_open_circuit_says_when_to_come_back(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(4.2)
    with pytest.raises(CircuitOpen) as refused:
        breaker.check("client", TokenDigest(b"token"))
    assert refused.value.retry_after == 1


def test_one_probe_passes_when_it_is_half_open(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(5)
    breaker.admit("client", TokenDigest(b"probe"))
    with pytest.raises(CircuitOpen):
        breaker.admit("client", TokenDigest(b"beside"))
    breaker.succeed()
    assert breaker.is_closed
    breaker.admit("client", TokenDigest(b"one"))
    breaker.admit("client", TokenDigest(b"two"))


def test_failed_probe_opens_it_again(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(5)
    failing(breaker, 1, first=3)
    with pytest.raises(CircuitOpen):
        asked(breaker, "client")
    clock.advance(5)
    asked(breaker, "client")
    assert breaker.is_closed


def test_late_failures_of_questions_admitted_before_do_not_count_as_probes(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    admitted = [breaker.admit(f"client-{number}", TokenDigest(b"%d" % number)) for number in range(4)]
    for admission in admitted:
        breaker.fail(admission, Blame.UNCLEAR)
    clock.advance(5)
    assert passes(breaker, "client")
    breaker.admit("client", TokenDigest(b"probe"))
    assert not passes(breaker, "client")


# --- what one client sends shuts out no other


def test_one_source_opens_it_with_no_number_of_tokens(breaker: CircuitBreaker) -> None:
    for number in range(100):
        asked(breaker, "hostile", Blame.UNCLEAR, b"%d" % number)
    assert breaker.is_closed


def test_failure_of_another_beside_a_hostile_source_is_not_enough(clock: ManualClock) -> None:
    breaker = CircuitBreaker(CircuitBreakerSettings(failures=5), clock.clock)
    for number in range(100):
        asked(breaker, "hostile", Blame.UNCLEAR, b"%d" % number)
    asked(breaker, "honest", Blame.UNCLEAR)
    assert breaker.is_closed
    asked(breaker, "another", Blame.UNCLEAR)
    assert not breaker.is_closed


def test_what_a_front_says_of_a_token_counts_for_nothing(breaker: CircuitBreaker) -> None:
    for number in range(100):
        asked(breaker, f"client-{number}", Blame.TOKEN)
    assert breaker.is_closed


def test_what_no_token_can_cause_needs_no_second_source(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        asked(breaker, "client", Blame.ENDPOINT)
    assert not breaker.is_closed


def test_first_probes_are_not_spent_on_a_token_that_failed_before(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    failing(breaker, 3)
    clock.advance(5)
    assert not passes(breaker, "client", b"client-0")
    assert passes(breaker, "client-0", b"another token")
    clock.advance(5)
    assert passes(breaker, "client", b"client-0")  # perhaps it is the only one that comes


def test_source_whose_probe_failed_lets_others_try_first(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(5)
    asked(breaker, "hostile", Blame.UNCLEAR, b"first")
    clock.advance(5)
    assert not passes(breaker, "hostile", b"second")
    asked(breaker, "honest")
    assert breaker.is_closed


def test_probe_whose_token_is_disliked_leaves_room_for_another(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    failing(breaker, 3)
    clock.advance(5)
    asked(breaker, "hostile", Blame.TOKEN, b"huge")
    assert not breaker.is_closed
    asked(breaker, "honest")
    assert breaker.is_closed


def test_remembered_tokens_are_bounded(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for number in range(2000):
        asked(breaker, "hostile", Blame.UNCLEAR, b"%d" % number)
    failing(breaker, 1)
    assert not breaker.is_closed
    clock.advance(5)
    assert passes(breaker, "client", b"0")
    assert not passes(breaker, "client", b"1999")
