import random

from sidecar.decision.roca import is_roca_modulus
from tests.support.weak_keys import roca_key


def test_modulus_of_the_flawed_generator_bears_its_fingerprint() -> None:
    modulus = roca_key(random.Random(20171016)).key.public_key().public_numbers().n  # type: ignore[union-attr]
    assert is_roca_modulus(modulus)


def test_no_honest_modulus_bears_the_roca_fingerprint() -> None:
    rng = random.Random(1)
    assert not any(is_roca_modulus(rng.getrandbits(2048) | 1 | 1 << 2047) for _ in range(20_000))
