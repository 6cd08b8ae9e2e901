import pytest

from sidecar.decision.nonce import BUCKET, Nonces

KEY, OLD, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
NOW = 1_000_000 * BUCKET


def test_nonce_is_good_for_its_bucket_and_the_next() -> None:
    nonces = Nonces(KEY)
    nonce = nonces.fresh(NOW)
    assert nonce == nonces.fresh(NOW + BUCKET - 1)
    assert [nonces.is_current(nonce, NOW + at * BUCKET) for at in (-2, -1, 0, 1, 2)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_replicas_with_the_same_key_take_each_others_nonces() -> None:
    nonce = Nonces(KEY).fresh(NOW)
    assert Nonces(KEY).is_current(nonce, NOW)
    assert Nonces(OTHER, KEY).is_current(nonce, NOW)
    assert not Nonces(OTHER).is_current(nonce, NOW)
    assert Nonces(KEY, OLD).fresh(NOW) == nonce


@pytest.mark.parametrize("nonce", [None, 1, "", "v1", "v1.1.x", "ä", "v1." + "9" * 200])
def test_anything_else_is_no_nonce(nonce: object) -> None:
    assert not Nonces(KEY).is_current(nonce, NOW)


def test_characters_are_those_that_a_nonce_may_have() -> None:
    """RFC 9449 §8.1: `nonce = 1*NQCHAR`."""
    assert all(char == "!" or "#" <= char <= "[" or "]" <= char <= "~" for char in Nonces(KEY).fresh(NOW))


def test_short_key_is_refused() -> None:
    for keys in ((b"k" * 31,), (KEY, b"short")):
        with pytest.raises(ValueError, match="32 bytes"):
            Nonces(*keys)


def test_nonce_that_ages_is_renewed_and_a_newer_one_is_not_taken_back() -> None:
    """RFC 9449 §8.2."""
    nonces, old = Nonces(KEY, OLD), Nonces(OLD).fresh(NOW)
    nonce = nonces.fresh(NOW)
    assert nonces.renewal(nonce, NOW + BUCKET - 1) is None
    assert nonces.renewal(nonce, NOW + BUCKET) == nonces.fresh(NOW + BUCKET) != nonce
    assert nonces.renewal(nonces.fresh(NOW + BUCKET), NOW) is None
    assert nonces.renewal(old, NOW) == nonce
