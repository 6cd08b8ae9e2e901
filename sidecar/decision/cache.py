"""Tokens whose verification need not be repeated: facts, never verdicts.

Theory of operation. Two generations of entries. New ones are young; when the young reach half of either bound, the
old ones go and the young become the old. Reading an old entry makes it young again. So entries in use stay,
unused ones are dropped, and a hit on a young entry writes nothing. Each entry is known by its token's keyed digest; the
token itself is not kept. An expired token is not dropped early: a client that goes on sending it must not cause a
verification each time.
"""

from typing import Final

from sidecar.decision.token import TokenDigest, ValidatedToken
from sidecar.decision.weight import weight

ENTRY_BYTES: Final = 2560
"""What an entry takes besides its claims, as measured: the objects around them, a rendered header block."""


class _Generation:
    """Entries and what they weigh."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: dict[TokenDigest, tuple[ValidatedToken, int]] = {}
        self.size = 0

    def put(self, digest: TokenDigest, entry: tuple[ValidatedToken, int]) -> None:
        self.entries[digest] = entry
        self.size += entry[1]

    def take(self, digest: TokenDigest) -> tuple[ValidatedToken, int] | None:
        entry = self.entries.pop(digest, None)
        if entry is not None:
            self.size -= entry[1]
        return entry


class VerifiedTokens:
    """A bounded map from digest to verified token."""

    def __init__(self, count: int, size: int) -> None:
        """At most `count` entries (2 at least) and `size` bytes, as weighed."""
        self._half_count = max(1, count // 2)
        self._half_size = size // 2
        self._young = _Generation()
        self._old = _Generation()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._young.entries) + len(self._old.entries)

    def __contains__(self, digest: object) -> bool:
        return digest in self._young.entries or digest in self._old.entries

    @property
    def size(self) -> int:
        """What the entries take, in bytes, as weighed."""
        return self._young.size + self._old.size

    def find(self, digest: TokenDigest) -> ValidatedToken | None:
        """The verified token, if it is here."""
        entry = self._young.entries.get(digest)
        if entry is None:
            entry = self._old.take(digest)
            if entry is None:
                self.misses += 1
                return None
            self._put(digest, entry)
        self.hits += 1
        return entry[0]

    def keep(self, token: ValidatedToken) -> None:
        """Remembers `token`, unless it alone is past the bound."""
        self.drop(token.digest)
        size = ENTRY_BYTES + weight(token.claims) + weight(token.scope) + weight(token.audience)
        if size <= self._half_size:
            self._put(token.digest, (token, size))

    def drop(self, digest: TokenDigest) -> None:
        """Forgets a token: its key left the key set."""
        if self._young.take(digest) is None:
            self._old.take(digest)

    def _put(self, digest: TokenDigest, entry: tuple[ValidatedToken, int]) -> None:
        young = self._young
        if len(young.entries) >= self._half_count or young.size + entry[1] > self._half_size:
            self._old, self._young = young, _Generation()
        self._young.put(digest, entry)
