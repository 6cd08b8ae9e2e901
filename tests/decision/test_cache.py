from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.cache import ENTRY_BYTES, VerifiedTokens
from sidecar.decision.token import UNBOUND, TokenDigest, ValidatedToken

ROOM = 1 << 40


def token(number: int, length: int = 100, scope: frozenset[str] = frozenset()) -> ValidatedToken:
    digest = TokenDigest(number.to_bytes(16, "big"))
    claims = {"text": "x" * length}
    return ValidatedToken("i", None, None, (), scope, 0, None, None, UNBOUND, None, claims, None, digest)


def test_token_that_was_kept_is_found_by_its_digest() -> None:
    cache, kept = VerifiedTokens(10, ROOM), token(1)
    cache.keep(kept)
    assert cache.find(kept.digest) is kept
    assert cache.find(token(2).digest) is None


def test_digest_of_a_kept_token_is_in_the_cache_whether_young_or_old() -> None:
    cache, kept = VerifiedTokens(4, ROOM), token(1)
    assert kept.digest not in cache
    cache.keep(kept)
    assert kept.digest in cache
    for number in (2, 3):
        cache.keep(token(number))
    assert kept.digest in cache
    assert cache.misses == cache.hits == 0


def test_token_that_is_asked_for_outlives_those_that_are_not() -> None:
    cache, favourite = VerifiedTokens(8, ROOM), token(0)
    cache.keep(favourite)
    for number in range(1, 100):
        cache.keep(token(number))
        assert cache.find(favourite.digest) is favourite
    assert cache.find(token(1).digest) is None


def test_dropped_token_is_gone_whichever_generation_it_was_in() -> None:
    cache = VerifiedTokens(4, ROOM)
    tokens = [token(number) for number in range(4)]
    for one in tokens:
        cache.keep(one)
    for one in tokens:
        cache.drop(one.digest)
        cache.drop(one.digest)
        assert cache.find(one.digest) is None
    assert len(cache) == 0


def test_token_kept_again_counts_once() -> None:
    cache = VerifiedTokens(100, ROOM)
    for _ in range(10):
        cache.keep(token(1))
    cache.keep(token(2))
    assert len(cache) == 2
    one, size = VerifiedTokens(100, ROOM), cache.size
    one.keep(token(2))
    assert size == 2 * one.size


def test_token_weighs_what_its_claims_take_in_memory_not_on_the_wire() -> None:
    """A scope of 10 KB in words of two letters is many strings."""
    words = frozenset(f"{number:x}" for number in range(3000))
    cache = VerifiedTokens(100, ROOM)
    cache.keep(token(1, scope=words))
    assert cache.size > 200_000


def test_token_past_the_bound_is_not_kept() -> None:
    cache = VerifiedTokens(100, 10 * ENTRY_BYTES)
    cache.keep(token(1, 10 * ENTRY_BYTES))
    assert cache.find(token(1).digest) is None


@given(
    count=st.integers(2, 20),
    size=st.integers(0, 20 * ENTRY_BYTES),
    kept=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4000)), max_size=60),
    asked=st.lists(st.integers(0, 30), max_size=60),
)
def test_cache_stays_within_both_bounds(
    count: int, size: int, kept: list[tuple[int, int]], asked: list[int]
) -> None:
    cache = VerifiedTokens(count, size)
    for number, length in kept:
        cache.keep(token(number, length))
        for one in asked:
            cache.find(token(one).digest)
        assert len(cache) <= count
        assert cache.size <= size
    for number in range(31):
        cache.drop(token(number).digest)
    assert (len(cache), cache.size) == (0, 0)
