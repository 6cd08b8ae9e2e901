"""What a worker and its supervisor say to each other of used proofs: records of one length each, and no pickles.

A worker faces the network and could be compromised. So the supervisor reads only numbers and digests from it: these
can fill the worker's share of the memory, and cannot make the supervisor forget a proof or refuse all.
"""

import struct
from enum import IntEnum
from hashlib import blake2b
from math import isfinite
from typing import Final

from sidecar.decision.proof import Claim

CLAIM: Final = struct.Struct("!Q32s32sdd")
"""Number, thumbprint of the key, digest of the `jti`, `iat` and lifetime in seconds."""
ANSWER: Final = struct.Struct("!QB")
"""The number of the claim, and its result."""
LONGEST_LIFETIME: Final = 3600.0
"""Seconds. The settings allow a window and a future of five minutes each."""


class ClaimAnswer(IntEnum):
    """The result of a claim."""

    USED = 0
    FIRST = 1
    FULL = 2
    SHARE = 3
    UNTIMELY = 4
    """The `iat` is far from the supervisor's clock: one of the clocks was set meanwhile, or the worker is faulty."""


WORDS: Final = {
    ClaimAnswer.FULL: "full",
    ClaimAnswer.SHARE: "too many of one key",
    ClaimAnswer.UNTIMELY: "the clock was set",
}
"""Why the result is unknown, in the words of `ReplayUnknown`."""
ANSWERS: Final = {why: verdict for verdict, why in WORDS.items()}


def written(number: int, claim: Claim) -> bytes:
    """The claim as a record for the wire."""
    digest = blake2b(claim.token_id.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return CLAIM.pack(number, claim.key, digest, claim.made_at, claim.lifetime)


def claim_in(record: bytes, now: float) -> tuple[int, Claim | None]:
    """Number and claim of a record; no claim when no proof that passes at `now` (seconds since the epoch) is so."""
    number, key, digest, made_at, lifetime = CLAIM.unpack(record)
    is_timely = isfinite(made_at) and abs(now - made_at) <= LONGEST_LIFETIME
    if not is_timely or not 0 <= lifetime <= LONGEST_LIFETIME:
        return number, None
    return number, Claim(key, digest.hex(), made_at, lifetime)
