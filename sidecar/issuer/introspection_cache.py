"""A cache of introspection answers, limited in seconds and in bytes.

RFC 7662 §4: "If the response contains the "exp" parameter (expiration), the response MUST NOT be cached beyond the
time indicated therein." The cache has facts, not decisions: time, audience, binding and rule are checked again on
each use. The least recently used answer is removed first. While answers without a token take more than a quarter, it
is one of those: anybody can make up tokens that an issuer calls inactive, and these must not displace the others.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from sidecar.decision.denial import Denied
from sidecar.decision.token import ValidatedToken
from sidecar.decision.weight import weight
from sidecar.issuer.clock import Clock

Answer = ValidatedToken | Denied | bool
"""A token; False for inactive; a denial for a response that describes a token which cannot be checked."""

_ENTRY_BYTES = 1400
"""Size of the cache's own objects and those of an answer, without its claims, in bytes."""
_STRANGERS_PART = 4
"""Divisor: the share of the cache for answers without a token, if both kinds need space."""
_RENDERING_BYTES = 700
"""Size of the header blocks that the data plane adds to the token."""


@dataclass(slots=True, eq=False)
class _Entry:
    answer: Answer
    expires: float
    """Monotonic: a lifetime does not depend on the wall clock."""
    exp: float
    """Seconds since the epoch, from the token."""
    size: int


class IntrospectionCache:
    """A bounded map from a keyed digest to an answer."""

    def __init__(self, limit: int, clock: Clock) -> None:
        """`limit` in bytes."""
        self._limit = limit
        self._clock = clock
        self._tokens: OrderedDict[bytes, _Entry] = OrderedDict()
        self._strangers: OrderedDict[bytes, _Entry] = OrderedDict()
        """Answers without a token."""
        self._strangers_size = 0
        self.size = 0
        """Estimated size in bytes, rounded up."""

    def __len__(self) -> int:
        return len(self._tokens) + len(self._strangers)

    def find(self, key: bytes) -> Answer | None:
        """The answer, or None if there is no valid one."""
        entries = self._tokens if key in self._tokens else self._strangers
        entry = entries.get(key)
        if entry is None:
            return None
        if self._clock.monotonic() >= entry.expires or self._clock.wall() >= entry.exp:
            self._drop(key)
            return None
        entries.move_to_end(key)
        return entry.answer

    def keep(self, key: bytes, answer: Answer, lifetime: float) -> None:
        """Cache an answer for `lifetime` seconds, or less if its `exp` comes first."""
        token = answer if isinstance(answer, ValidatedToken) else None
        exp = math.inf if token is None else token.expires_at
        if lifetime <= 0 or self._clock.wall() >= exp:
            return
        size = _ENTRY_BYTES + (0 if token is None else _RENDERING_BYTES + weight(token.claims))
        if size > self._limit:
            return
        self._drop(key)
        strange = size if token is None else 0
        while self.size + size > self._limit:
            self._drop(self._least_used(self._strangers_size + strange))
        entries = self._strangers if token is None else self._tokens
        entries[key] = _Entry(answer, self._clock.monotonic() + lifetime, exp, size)
        self.size += size
        self._strangers_size += strange

    def _least_used(self, strangers_size: int) -> bytes:
        takes_its_part = strangers_size * _STRANGERS_PART > self._limit
        entries = (
            self._strangers if self._strangers and (takes_its_part or not self._tokens) else self._tokens
        )
        return next(iter(entries))

    def clear(self) -> None:
        """Remove everything."""
        self._tokens.clear()
        self._strangers.clear()
        self.size = self._strangers_size = 0

    def _drop(self, key: bytes) -> None:
        stranger = self._strangers.pop(key, None)
        if stranger is not None:
            self._strangers_size -= stranger.size
        entry = stranger or self._tokens.pop(key, None)
        if entry is not None:
            self.size -= entry.size
