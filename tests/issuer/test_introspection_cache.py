"""Answers remembered: in seconds, in bytes, never past `exp`."""

import json
import math
import tracemalloc
from dataclasses import replace

import pytest

from sidecar.decision import profile
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.token import TokenDigest, ValidatedToken
from sidecar.issuer.introspection_cache import IntrospectionCache
from tests.support.issuer_events import ManualClock
from tests.support.mint import ISSUER, claims_set

MIB = 1 << 20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def token(exp: float = math.inf, **claims: object) -> ValidatedToken:
    body = json.dumps({"active": True, **claims_set("A" * 43, exp=2e9), **claims})
    return replace(profile.introspected(json.loads(body), ISSUER, TokenDigest(b"d" * 16)), expires_at=exp)


def test_answer_is_remembered_for_its_lifetime(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    active = token()
    cache.keep(b"a", active, 60)
    cache.keep(b"b", False, 10)
    clock.advance(9.9)
    assert cache.find(b"a") is active
    assert cache.find(b"b") is False
    clock.advance(0.2)
    assert cache.find(b"b") is None
    clock.advance(50)
    assert cache.find(b"a") is None
    assert (len(cache), cache.size) == (0, 0)


def test_nothing_is_remembered_past_exp(clock: ManualClock) -> None:
    # RFC 7662 §4
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(exp=clock.wall + 5), 60)
    clock.advance(4.9)
    assert cache.find(b"a") is not None
    clock.advance(0.1)
    assert cache.find(b"a") is None


def test_expired_answer_is_not_remembered_at_all(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(exp=clock.wall), 60)
    assert len(cache) == 0


def test_wall_clock_set_back_prolongs_no_lifetime(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(exp=clock.wall + 600), 60)
    clock.jump(-86400)
    clock.advance(60)
    assert cache.find(b"a") is None


def test_wall_clock_set_forward_ends_what_it_makes_expired(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(exp=clock.wall + 600), 60)
    clock.jump(3600)
    assert cache.find(b"a") is None


def test_lifetime_of_zero_remembers_nothing(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(), 0)
    assert len(cache) == 0


def test_least_recently_used_answer_goes_first(clock: ManualClock) -> None:
    cache = IntrospectionCache(5000, clock.clock)
    for name in (b"a", b"b", b"c"):
        cache.keep(name, False, 60)
    assert cache.find(b"a") is False
    cache.keep(b"d", False, 60)
    assert cache.find(b"b") is None
    assert [cache.find(name) for name in (b"a", b"c", b"d")] == [False] * 3


def test_answers_that_anybody_can_cause_push_out_no_tokens(clock: ManualClock) -> None:
    cache = IntrospectionCache(40_000, clock.clock)
    for number in range(6):
        cache.keep(b"token %d" % number, token(), 60)
    for number in range(1000):
        cache.keep(b"made up %d" % number, False, 60)
    assert [cache.find(b"token %d" % number) is None for number in range(6)] == [False] * 6
    assert cache.find(b"made up 999") is False
    for number in range(100):
        cache.keep(b"new token %d" % number, token(), 60)
    assert cache.find(b"new token 99") is not None
    assert cache.size <= 40_000
    cache.clear()
    cache.keep(b"made up", Denied(Reason.CLAIM_MALFORMED), 60)
    cache.keep(b"made up", token(), 60)
    assert isinstance(cache.find(b"made up"), ValidatedToken)
    assert len(cache) == 1


def test_answer_larger_than_the_cache_is_not_remembered(clock: ManualClock) -> None:
    cache = IntrospectionCache(20_000, clock.clock)
    cache.keep(b"a", False, 60)
    cache.keep(b"b", token(roles=["x" * 50] * 1000), 60)
    assert cache.find(b"b") is None
    assert cache.find(b"a") is False


def test_replaced_answer_is_counted_once(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(), 60)
    cache.keep(b"a", False, 60)
    size = cache.size
    cache.keep(b"a", Denied(Reason.CLAIM_MALFORMED), 60)
    assert cache.size == size
    assert isinstance(cache.find(b"a"), Denied)


def test_cleared_cache_is_empty(clock: ManualClock) -> None:
    cache = IntrospectionCache(MIB, clock.clock)
    cache.keep(b"a", token(), 60)
    cache.clear()
    assert (cache.find(b"a"), len(cache), cache.size) == (None, 0, 0)


@pytest.mark.timeout(300)  # under tracemalloc and coverage
def test_100000_tokens_stay_within_the_byte_bound(clock: ManualClock) -> None:
    limit = 16 * MIB
    cache = IntrospectionCache(limit, clock.clock)

    shared = token()
    for number in range(90_000):
        cache.keep(number.to_bytes(16, "big"), replace(shared, subject=f"user-{number}"), 600)
    tracemalloc.start()  # slow: so only while all that is kept in the end is put there
    try:
        for number in range(90_000, 100_000):
            # As from the wire: every string is an object of its own.
            cache.keep(number.to_bytes(16, "big"), token(sub=f"user-{number}"), 600)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    print(
        f"100,000 tokens through a cache of {limit / MIB:.0f} MiB: {len(cache)} kept, "
        f"{held / MIB:.1f} MiB held, {cache.size / MIB:.1f} MiB by its own count"
    )
    assert len(cache) < 10_000
    assert cache.size <= limit
    assert held <= limit
    assert cache.find((99_999).to_bytes(16, "big")) is not None
