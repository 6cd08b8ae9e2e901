"""The simulated issuers of a policy: generated keys, tokens signed with them, introspection answers.

Implements `decision.ports.KeySource` and `decision.ports.TokenIntrospector`: everything between a token and the
decision is real.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.decision import profile
from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.policy import IssuerPolicy, Policy
from sidecar.decision.ports import KeySet
from sidecar.decision.token import AccessToken, ValidatedToken
from sidecar.issuer.keys import load_key_set
from sidecar.rehearsal.trial.signing import PrivateKey, new_key, public_jwk, signed_jwt, usual
from sidecar.settings.case_sections import CaseToken

_LIFETIME = 300.0


@dataclass(slots=True)
class PlayedIssuers:
    """All issuers of one policy."""

    policy: Policy
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Token → its introspection answer."""
    _keys: dict[tuple[str, str], PrivateKey] = field(default_factory=dict)
    """Keys by owner and algorithm."""
    _sets: dict[tuple[str, tuple[str, ...]], KeySet] = field(default_factory=dict)
    """Keys so far, by issuer and algorithm."""

    # --- KeySource

    def keys(self, issuer: str) -> KeySet:
        """The keys of an issuer: those that signed a token, or should have."""
        algorithms = tuple(algorithm for owner, algorithm in self._keys if owner == issuer)
        found = self._sets.get((issuer, algorithms))
        if found is None:
            jwks = {"keys": [self._jwk(issuer, algorithm) for algorithm in algorithms]}
            found = self._sets[issuer, algorithms] = load_key_set(jwks, len(algorithms))
        return found

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        """The same keys: there are no others."""
        return self.keys(issuer)

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """False: there are no other keys."""
        return False

    # --- TokenIntrospector

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """The introspection answer. Raises `Denied` as the real one does."""
        answer = self._answers.get(token.reveal(), {"active": False})
        if answer.get("active") is not True:
            return False
        return profile.introspected(answer, issuer, token.digest, self.policy.issuers[issuer].confirmable)

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """The same."""
        return self.cached(token, issuer) or False

    # --- tokens

    def token(
        self, wanted: CaseToken, issuer: IssuerPolicy, confirmation: Mapping[str, str], now: float
    ) -> str:
        """An access token according to the case; `confirmation` is its binding (RFC 7800 §3.1)."""
        if wanted.raw is not None:
            return wanted.raw
        claims = self._claims(wanted, issuer, confirmation, now)
        answer = {**claims, "active": wanted.active is not False}
        token = f"opaque-{len(self._answers)}" if wanted.opaque else self._signed(wanted, issuer, claims)
        self._answers[token] = answer
        return token

    def _claims(
        self, wanted: CaseToken, issuer: IssuerPolicy, confirmation: Mapping[str, str], now: float
    ) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "iss": issuer.issuer,
            "aud": min(issuer.audience),
            "sub": "subject",
            "iat": int(min(now, now + (wanted.expires_in or 0) - 1)),
            "exp": int(now + (_LIFETIME if wanted.expires_in is None else wanted.expires_in)),
            "jti": f"case-{len(self._answers)}",
        }
        if confirmation:
            claims["cnf"] = dict(confirmation)
        if not wanted.claims.keys() & set(issuer.claim_names.client_id):
            claims[issuer.claim_names.client_id[0]] = "client"  # where this issuer's tokens name it
        claims |= wanted.claims
        return {name: value for name, value in claims.items() if name not in wanted.without}

    def _signed(self, wanted: CaseToken, issuer: IssuerPolicy, claims: dict[str, Any]) -> str:
        algorithm = wanted.algorithm or usual(issuer.algorithms)
        canonical = canonical_algorithm(algorithm)
        key = self._key(issuer.issuer, canonical)
        if wanted.signed_by == "stranger":
            key = self._key("a stranger", canonical)
        header = {"typ": "at+jwt" if wanted.type is None else wanted.type, "alg": algorithm, "kid": canonical}
        if not header["typ"]:
            del header["typ"]
        return signed_jwt(header, claims, key, canonical)

    def _key(self, owner: str, algorithm: str) -> PrivateKey:
        found = self._keys.get((owner, algorithm))
        if found is None:
            found = self._keys[owner, algorithm] = new_key(algorithm)
        return found

    def _jwk(self, issuer: str, algorithm: str) -> dict[str, Any]:
        key = self._key(issuer, algorithm)
        return {**public_jwk(key, algorithm), "kid": algorithm, "alg": algorithm}
