"""Nonces for DPoP proofs (RFC 9449 §8, §9): authenticated by a key, so none has to be stored.

`v1.<bucket>.<HMAC-SHA256(key, "v1." bucket)>`: a bucket is a stretch of time. A nonce is good in its own bucket and in
the next one. Every replica that has the key accepts the nonces of the others, so a client never gets a new nonce from
each replica in turn.
"""

import hmac
from hashlib import sha256
from typing import Final

from sidecar.decision.strict import base64url_text

BUCKET: Final = 60
"""Seconds; a nonce is good for one to two of them."""
SHORTEST_KEY: Final = 32
"""Bytes."""
_AHEAD: Final = 1
"""Buckets by which another replica's clock may be ahead of ours."""
_LONGEST: Final = 80


class Nonces:
    """Makes and knows nonces under a current key, and knows those under a previous one."""

    def __init__(self, current: bytes, previous: bytes | None = None) -> None:
        """Raises `ValueError` for a key of fewer than `SHORTEST_KEY` bytes."""
        keys = [current] if previous is None else [current, previous]
        if any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(f"a nonce key has at least {SHORTEST_KEY} bytes")
        self._keys = keys
        self._fresh = (-1, "")

    def fresh(self, now: float) -> str:
        """The nonce to give at `now`, seconds since the epoch."""
        bucket = int(now // BUCKET)
        if self._fresh[0] != bucket:
            self._fresh = bucket, _nonce(self._keys[0], bucket)
        return self._fresh[1]

    def renewal(self, nonce: str, now: float) -> str | None:
        """What to give in the place of a `nonce` that `is_current`: the fresh one, once it is another and not older.

        RFC 9449 §8.2: a server gives a new nonce with any response, before the one in use ends.
        """
        fresh = self.fresh(now)
        is_ahead = nonce.startswith(f"v1.{self._fresh[0] + _AHEAD}.")
        return None if nonce == fresh or is_ahead else fresh

    def is_current(self, nonce: object, now: float) -> bool:
        """Whether `nonce` was given under one of the keys, in this bucket or the one before."""
        if type(nonce) is not str or len(nonce) > _LONGEST or not nonce.isascii():
            return False
        bucket = int(now // BUCKET)
        # All are compared, so that the time taken reveals nothing.
        same = [
            hmac.compare_digest(_nonce(key, at), nonce)
            for key in self._keys
            for at in (bucket, bucket - 1, bucket + _AHEAD)
        ]
        return any(same)


def _nonce(key: bytes, bucket: int) -> str:
    text = f"v1.{bucket}"
    return f"{text}.{base64url_text(hmac.new(key, text.encode(), sha256).digest())}"
