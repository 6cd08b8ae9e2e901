"""Tokens whose verification need not be repeated: facts, never verdicts.

Theory of operation. Two generations of entries. New ones are young; when the young reach half of either bound, the
old ones go and the young become the old. An old entry that is asked for is young again. So what is used stays, what
is not goes, and a hit on a young entry writes nothing. Each entry is known by its token's keyed digest; the token
itself is not kept.
"""

from sidecar.decision.token import TokenDigest, ValidatedToken

ENTRY_BYTES = 3072
"""What an entry takes besides its claims: the objects around them and the header block rendered from them."""
CLAIM_FACTOR = 4
"""How much larger decoded claims are than the token they came in."""


class VerifiedTokens:
    """A bounded map from digest to verified token."""

    def __init__(self, count: int, size: int) -> None:
        """At most `count` entries (at least 2) and about `size` bytes."""
        self._count = max(1, count // 2)
        self._size = size // 2
        self._young: dict[TokenDigest, tuple[ValidatedToken, int]] = {}
        self._old: dict[TokenDigest, tuple[ValidatedToken, int]] = {}
        self._young_size = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, digest: TokenDigest) -> ValidatedToken | None:
        """The verified token, if it is here."""
        entry = self._young.get(digest)
        if entry is not None:
            return entry[0]
        entry = self._old.pop(digest, None)
        if entry is None:
            return None
        self._put(digest, entry)
        return entry[0]

    def keep(self, token: ValidatedToken, length: int) -> None:
        """Remembers `token`, which came in `length` bytes."""
        self._put(token.digest, (token, ENTRY_BYTES + CLAIM_FACTOR * length))

    def drop(self, digest: TokenDigest) -> None:
        """Forgets a token: it expired, or its key left the key set."""
        entry = self._young.pop(digest, None)
        if entry is not None:
            self._young_size -= entry[1]
        else:
            self._old.pop(digest, None)

    def _put(self, digest: TokenDigest, entry: tuple[ValidatedToken, int]) -> None:
        if len(self._young) >= self._count or self._young_size + entry[1] > self._size:
            self._old, self._young, self._young_size = self._young, {}, 0
        self._young[digest] = entry
        self._young_size += entry[1]
