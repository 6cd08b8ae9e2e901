"""What the core needs from outside. `issuer/` implements these; tests have small honest doubles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.decision.token import AccessToken, ValidatedToken


class IssuerUnavailable(Exception):
    """The issuer's keys or its introspection endpoint are out of reach: 503, never 401, never a pass."""

    def __init__(self, issuer: str, phase: str, retry_after: int = 5) -> None:
        super().__init__(f"{issuer}: {phase}")
        self.issuer = issuer
        self.phase = phase
        """What failed: dns, connect, tls, status, size, parse, timeout; overload, circuit_open; never_loaded,
        no_usable_key, stale; not_configured."""
        self.retry_after = retry_after
        """Seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One usable public key of an issuer (RFC 7517). The loader refused every weak or malformed one.

    Compared by identity: new key material under an old `kid` is another key.
    """

    kid: str | None
    algorithms: frozenset[str]
    """JWS algorithms this key may verify. One when the JWK names `alg`, else those of its type and curve: a
    key is used with exactly one algorithm per signature family (RFC 8725 §3.1). Names are canonical:
    `Ed25519` (RFC 9864) is stored as `EdDSA` (`jose.canonical_algorithm`)."""
    key: Any
    """The public key object of pyca/cryptography."""


class KeySet(Protocol):
    """The keys of one issuer now in force."""

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have made a signature with `algorithm` (canonical): the one with this `kid`, or without
        `kid` each that fits.
        """

    def is_current(self, key: object) -> bool:
        """Whether `key` is still in force: asked on every token cache hit."""


class KeySource(Protocol):
    """Keys of the configured issuers. Never fetches on the synchronous path."""

    def keys(self, issuer: str) -> KeySet:
        """The keys in force; raises `IssuerUnavailable` when there are none or they are too old."""

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        """The keys after at most one forced refresh; limited by a cool-down, so it may return the same ones.

        `source` is whoever sent the token (`Presenter.source`), for limits of which nobody may use up all.
        Raises `IssuerUnavailable`.
        """

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """Whether a forced refresh could bring something new to `source` now (cool-down, negative cache)."""


class TokenIntrospector(Protocol):
    """Asks an issuer about a token (RFC 7662)."""

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """The answer that is already here: a token, False for inactive, None for not asked yet.

        May raise `Denied` as `introspect` does.
        """

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Ask for `source`; False means inactive.

        Raises `IssuerUnavailable`, and `Denied` for a response whose claims are malformed (`profile.introspected`).
        """
