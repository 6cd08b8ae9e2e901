"""Proofs that were used, so that none is used twice (RFC 9449 §11.1): a bounded memory, and the port to any other.

Theory of operation. What is kept of a proof is a keyed digest of its key and its `jti`, among those of the second of
its `iat`: a proof that comes again has the same `iat`, so one look-up finds it. A second is dropped once no proof of
it can pass any more. An entry that is still needed is never evicted for another: a full memory refuses.

No key fills more than an eighth of the memory. How many of its proofs are here is counted in a slot chosen by a keyed
digest of the key; so a key that has too many is refused, and another key with it only when both share a slot, one
chance in `SLOTS`.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from sys import getsizeof
from typing import Final

from sidecar.decision.proof import Claim

ENTRIES: Final = 500_000
"""Proofs that are remembered at a time, unless told otherwise."""
SLOTS: Final = 1 << 20
_SHARE: Final = 8
_SLOT_BYTES: Final = 3
_DIGEST_BYTES: Final = 12
_TURN: Final = 1000
_ENTRY: Final = getsizeof(bytes(_SLOT_BYTES + _DIGEST_BYTES))


class ReplayUnknown(Exception):
    """Nobody can tell whether a proof was used before: 503, never a pass."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        """In words, for the record: `full`, `too many of one key`, `out of reach`."""


class ReplayGuard(ABC):
    """Where proofs are claimed."""

    @abstractmethod
    def claim(self, claim: Claim) -> bool | Awaitable[bool]:
        """Claim a proof, once and for all: False when it was claimed before. Atomic. Raises `ReplayUnknown`."""


class Rehearsal(ReplayGuard):
    """For explanations without side effects: every proof counts as new, and none is remembered."""

    def claim(self, claim: Claim) -> bool:
        """Always."""
        return True


class _Second:
    """The proofs that say that they were made in one second."""

    __slots__ = ("entries", "until")

    def __init__(self) -> None:
        self.entries: dict[bytes, None] = {}
        """A dict of no values: at half a million entries it takes half of what a set does."""
        self.until = 0.0
        """When they can be dropped, by the monotonic clock."""


class ReplayMemory(ReplayGuard):
    """The proofs that this process has seen."""

    def __init__(self, key: bytes, monotonic: Callable[[], float], entries: int = ENTRIES) -> None:
        """`key` is random, at most 64 bytes. `monotonic` is a monotonic clock, in seconds."""
        self._key = key
        self._monotonic = monotonic
        self._entries = entries
        self._share = max(1, entries // _SHARE)
        self._lifetime = 0.0
        """The longest of any proof so far: a second is kept as long as the proofs of the slowest issuer can pass."""
        self._seconds: dict[int, _Second] = {}
        self._counts = array("I")
        """Made with the first proof: most deployments never see one."""
        self._dropped = -1
        """The latest second that was dropped: whatever is not later may have been used."""
        self._size = 0

    def __len__(self) -> int:
        """Proofs remembered."""
        return self._size

    @property
    def size(self) -> int:
        """What the proofs take, in bytes."""
        entries = sum(getsizeof(one.entries) for one in self._seconds.values())
        return entries + self._size * _ENTRY + getsizeof(self._counts)

    def claim(self, claim: Claim) -> bool:
        """Raises `ReplayUnknown`."""
        now = self._monotonic()
        self._drop(now)
        second = int(claim.made_at)
        if second <= self._dropped:  # our clock was set back: whether it was used is not known any more
            return False
        entry = self._entry(claim)
        kept = self._seconds.get(second)
        if kept is not None and entry in kept.entries:
            return False
        if not self._counts:
            self._counts = array("I", bytes(4 * SLOTS))
        slot = _slot(entry)
        if self._size >= self._entries:
            raise ReplayUnknown("full")
        if self._counts[slot] >= self._share:
            raise ReplayUnknown("too many of one key")
        if kept is None:
            kept = self._seconds[second] = _Second()
        self._lifetime = max(self._lifetime, claim.lifetime)
        kept.entries[entry] = None
        kept.until = now + self._lifetime + 1
        self._counts[slot] += 1
        self._size += 1
        return True

    def _entry(self, claim: Claim) -> bytes:
        of_key = blake2b(claim.key, digest_size=_SLOT_BYTES, key=self._key).digest()
        of_proof = blake2b(
            claim.key + claim.token_id.encode("utf-8", "surrogatepass"),
            digest_size=_DIGEST_BYTES,
            key=self._key,
        )
        return of_key + of_proof.digest()

    def _drop(self, now: float) -> None:
        """Seconds go in the order in which they came, and not more than `_TURN` entries at a time."""
        budget = _TURN
        while self._seconds and budget:
            second, kept = next(iter(self._seconds.items()))
            if kept.until > now:
                return
            self._dropped = max(self._dropped, second)
            while kept.entries and budget:
                self._counts[_slot(kept.entries.popitem()[0])] -= 1
                self._size -= 1
                budget -= 1
            if not kept.entries:
                del self._seconds[second]


def _slot(entry: bytes) -> int:
    return int.from_bytes(entry[:_SLOT_BYTES], "big") & (SLOTS - 1)
