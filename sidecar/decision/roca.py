"""Finds RSA moduli made by the flawed generator of CVE-2017-15361 ("ROCA").

Its primes have the form `k·M + (65537^a mod M)` with M a product of the first primes. So, modulo each of these
small primes, such a modulus is a power of 65537; a random modulus is one for all of them about once in 2^27 (the
published fingerprint of Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, §3.3).
"""

_GENERATOR = 65537
_PRIMES = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
    109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip


def _powers(prime: int) -> frozenset[int]:
    """The subgroup that the generator spans modulo `prime`: where a discrete logarithm exists."""
    found, power = {1}, _GENERATOR % prime
    while power != 1:
        found.add(power)
        power = power * _GENERATOR % prime
    return frozenset(found)


_SUBGROUPS = tuple((prime, _powers(prime)) for prime in _PRIMES)


def is_roca_modulus(modulus: int) -> bool:
    """Whether `modulus` bears the fingerprint: a discrete logarithm to base 65537 exists modulo every prime."""
    return all(modulus % prime in subgroup for prime, subgroup in _SUBGROUPS)
