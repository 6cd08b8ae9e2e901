"""A JWK set (RFC 7517 §5) → the keys in force; unusable entries are skipped and reported.

RFC 7517 §5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" values that are not understood by
them, that are missing required members, or for which values are out of the supported ranges." A bad entry does not
affect the others; a document that is not a JWK set is refused as a whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sidecar.decision.jwk import ParsedKey, Unusable, UnusableKey, parse_jwk
from sidecar.decision.ports import VerificationKey


class NotAKeySet(Exception):
    """The document is not a JWK set."""


@dataclass(frozen=True, slots=True)
class SkippedKey:
    """An unused entry."""

    name: str
    """Its `kid` in ASCII with escapes, truncated to 64 characters, or `#` and its index: safe in a log."""
    reason: Unusable
    detail: str


class PublishedKeys:
    """The usable keys of one issuer's set. Implements `decision.ports.KeySet`; immutable."""

    def __init__(
        self, keys: Sequence[tuple[ParsedKey, VerificationKey]], skipped: Sequence[SkippedKey] = ()
    ) -> None:
        self._parsed = tuple(keys)
        self.number = len(self._parsed)
        self.current = frozenset(key for _, key in keys)
        self._by_kid: dict[str, list[VerificationKey]] = {}
        for _, key in keys:
            if key.kid is not None:
                self._by_kid.setdefault(key.kid, []).append(key)
        self.skipped = tuple(skipped)

    def __len__(self) -> int:
        return len(self._parsed)

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys to verify with: at most one for a `kid`; without `kid`, all keys of that algorithm."""
        keys = [key for _, key in self._parsed] if kid is None else self._by_kid.get(kid, ())
        return [key for key in keys if algorithm in key.algorithms]

    def find(self, kid: str, algorithm: str) -> VerificationKey | None:
        """The one key with this `kid` for an algorithm."""
        return next(iter(self.fitting(kid, algorithm)), None)

    def named(self, kid: str | None) -> VerificationKey | None:
        """The first key with this `kid`, for any algorithm."""
        return None if kid is None else next(iter(self._by_kid.get(kid, ())), None)

    def is_current(self, key: object) -> bool:
        """Whether `key` is still in force."""
        return key in self.current

    def identities(self) -> "Mapping[ParsedKeyIdentity, VerificationKey]":
        """Each key by its identity."""
        return {_identity(parsed): key for parsed, key in self._parsed}

    def document(self) -> dict[str, Any]:
        """A JWK set of the usable keys only, with public members only, for the state file."""
        return {"keys": [jwk for parsed, _ in self._parsed for jwk in _jwks(parsed)]}

    def skipped_by_reason(self) -> dict[str, int]:
        """Reason → number of keys."""
        return dict(Counter(entry.reason.value for entry in self.skipped))


ParsedKeyIdentity = tuple[str | None, frozenset[str], tuple[tuple[str, str], ...]]

NO_KEYS = PublishedKeys(())


def load_key_set(document: object, maximum: int, previous: PublishedKeys = NO_KEYS) -> PublishedKeys:
    """The keys of a parsed JWK set document.

    A key that is also in `previous` stays the same object, so that tokens verified with it stay cached. Raises
    `NotAKeySet`.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise NotAKeySet("no JSON object with a list `keys`")
    usable: list[ParsedKey] = []
    skipped: list[SkippedKey] = []
    for place, entry in enumerate(entries[:maximum]):
        try:
            usable.append(parse_jwk(entry))
        except UnusableKey as unusable:
            skipped.append(SkippedKey(_name(entry, place), unusable.reason, unusable.detail))
    kept, ambiguous = _without_duplicates(usable)
    surplus = [
        SkippedKey(f"#{place}", Unusable.OVER_THE_CAP, f"more than {maximum} keys in one set")
        for place in range(maximum, len(entries))
    ]
    known = previous.identities()
    keys = [(key, known.get(_identity(key)) or _made(key)) for key in kept]
    return PublishedKeys(keys, [*skipped, *ambiguous, *surplus])


def _without_duplicates(keys: Sequence[ParsedKey]) -> tuple[list[ParsedKey], list[SkippedKey]]:
    """RFC 7517 §4.5: "different keys within the JWK Set SHOULD use distinct "kid" values." But keys of different
    types may share one if they are "considered to be equivalent alternatives": `kid` and algorithm then identify the
    key.

    If two different keys have the same `kid` and algorithm, neither is used, because the intended one is unknown. The
    same key listed twice is one key, for the algorithms of both entries.
    """
    distinct: dict[tuple[object, ...], ParsedKey] = {}
    for key in keys:
        place = (key.kid, key.members)
        known = distinct.get(place, key)
        distinct[place] = replace(known, algorithms=known.algorithms | key.algorithms)
    uses = Counter((key.kid, name) for key in distinct.values() for name in key.algorithms)
    kept, ambiguous = [], []
    for key in distinct.values():
        if key.kid is None or all(uses[key.kid, name] == 1 for name in key.algorithms):
            kept.append(key)
        else:
            detail = "another key has the same kid and algorithm"
            ambiguous.append(SkippedKey(ascii(key.kid)[1:-1][:64], Unusable.DUPLICATE_KID, detail))
    return kept, ambiguous


def _identity(key: ParsedKey) -> ParsedKeyIdentity:
    return key.kid, key.algorithms, key.members


def _made(key: ParsedKey) -> VerificationKey:
    return VerificationKey(key.kid, key.algorithms, key.key)


def _jwks(key: ParsedKey) -> list[dict[str, Any]]:
    """JWKs with the key and its algorithms: one, or one per algorithm if they are named."""
    jwk: dict[str, Any] = dict(key.members)
    if key.kid is not None:
        jwk["kid"] = key.kid
    if parse_jwk(jwk).algorithms == key.algorithms:
        return [jwk]
    return [{**jwk, "alg": algorithm} for algorithm in sorted(key.algorithms)]


def _name(entry: object, place: int) -> str:
    kid = entry.get("kid") if isinstance(entry, dict) else None
    return ascii(kid[:64])[1:-1][:64] if isinstance(kid, str) and kid else f"#{place}"
