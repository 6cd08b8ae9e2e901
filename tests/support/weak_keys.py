"""JWKs that no verifier may use, and keys of issuers that made them badly."""

import random
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

from tests.support.mint import SigningKey, base64url

_FIRST_PRIMES = [number for number in range(2, 702) if all(number % d for d in range(2, number))]


def integer(value: int) -> str:
    """base64urlUInt (RFC 7518 §2)."""
    return base64url(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def roca_key(rng: random.Random) -> SigningKey:
    """An RSA-2048 key as the flawed generator made them: primes of the form `k·M + (65537^a mod M)`.

    M is the product of the first 126 primes (971 bits), so only 53 bits of each prime are random.
    """
    modulus = 1
    for prime in _FIRST_PRIMES[:126]:
        modulus *= prime
    while True:
        p, q = _roca_prime(modulus, rng), _roca_prime(modulus, rng)
        totient = (p - 1) * (q - 1)
        if (p * q).bit_length() == 2048 and totient % 65537:
            d = pow(65537, -1, totient)
            numbers = RSAPrivateNumbers(
                p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), RSAPublicNumbers(65537, p * q)
            )
            return SigningKey.create("PS256", "roca", numbers.private_key())


def _roca_prime(modulus: int, rng: random.Random) -> int:
    while True:
        candidate = rng.getrandbits(53) * modulus + pow(65537, rng.getrandbits(64), modulus)
        if candidate.bit_length() == 1024 and _is_prime(candidate, rng):
            return candidate


def _is_prime(number: int, rng: random.Random) -> bool:
    """Miller and Rabin's test, 20 rounds."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(20):
        power = pow(rng.randrange(2, number - 1), odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def rsa_jwk(bits: int, **members: object) -> dict[str, Any]:
    """A well-formed RSA public key of that size."""
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()
    jwk = {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e), "kid": f"rsa-{bits}"}
    return {**jwk, **members}
