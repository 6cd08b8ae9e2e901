"""The circuit: closed, open, half open."""

import pytest

from sidecar.issuer.circuit_breaker import CircuitBreaker, CircuitOpen
from sidecar.issuer.configuration import CircuitBreakerSettings
from tests.support.issuer_events import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(CircuitBreakerSettings(failures=3, open_for=5.0, probes=1), clock.clock)


def failing(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.fail()


def test_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    failing(breaker, 2)
    breaker.admit()
    breaker.succeed()
    failing(breaker, 2)
    assert breaker.is_closed
    failing(breaker, 1)
    assert not breaker.is_closed
    with pytest.raises(CircuitOpen) as refused:
        breaker.admit()
    assert refused.value.retry_after == 5


def test_open_circuit_says_when_to_come_back(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(4.2)
    with pytest.raises(CircuitOpen) as refused:
        breaker.check()
    assert refused.value.retry_after == 1


def test_one_probe_passes_when_it_is_half_open(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(5)
    breaker.admit()
    with pytest.raises(CircuitOpen):
        breaker.admit()
    breaker.succeed()
    assert breaker.is_closed
    breaker.admit()
    breaker.admit()


def test_failed_probe_opens_it_again(breaker: CircuitBreaker, clock: ManualClock) -> None:
    failing(breaker, 3)
    clock.advance(5)
    failing(breaker, 1)
    with pytest.raises(CircuitOpen):
        breaker.admit()
    clock.advance(5)
    breaker.admit()
    breaker.succeed()
    assert breaker.is_closed


def test_late_failures_of_questions_admitted_before_do_not_count_as_probes(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    for _ in range(4):
        breaker.admit()
    for _ in range(4):
        breaker.fail()
    clock.advance(5)
    breaker.admit()
    with pytest.raises(CircuitOpen):
        breaker.admit()
