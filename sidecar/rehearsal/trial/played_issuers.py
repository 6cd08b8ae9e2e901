"""The issuers of a policy, played for cases: keys made for the run, tokens signed with them, introspection answered.

Implements `decision.ports.KeySource` and `decision.ports.TokenIntrospector`: what is real between a token and a
decision stays real.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidecar.decision import profile
from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.policy import IssuerPolicy, Policy
from sidecar.decision.ports import KeySet
from sidecar.decision.request import ClientCertificate
from sidecar.decision.strict import base64url_text
from sidecar.decision.token import AccessToken, ValidatedToken
from sidecar.issuer.keys import load_key_set
from sidecar.settings.case_sections import CaseToken

_LIFETIME = 300.0
_PREFERRED = ("ES256", "EdDSA", "Ed25519", "ES384", "ES512")
"""Cheap to make; RSA only when nothing else is accepted."""
_CURVES: Mapping[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _made(algorithm: str) -> PrivateKey:
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm in {"EdDSA", "Ed25519"}:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(slots=True)
class PlayedIssuers:
    """All issuers of one policy."""

    policy: Policy
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Token → what introspection says of it."""
    _keys: dict[tuple[str, str], PrivateKey] = field(default_factory=dict)
    """By owner and algorithm."""
    _sets: dict[tuple[str, tuple[str, ...]], KeySet] = field(default_factory=dict)
    """By issuer and the algorithms of its keys so far."""

    # --- KeySource

    def keys(self, issuer: str) -> KeySet:
        """The keys of an issuer: those that a token was signed with, or should have been."""
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
        """Never: there are no other keys."""
        return False

    # --- TokenIntrospector

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """What introspection says; raises `Denied` as the real one does."""
        answer = self._answers.get(token.reveal(), {"active": False})
        if answer.get("active") is not True:
            return False
        return profile.introspected(answer, issuer, token.digest, self.policy.issuers[issuer].confirmable)

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """The same."""
        return self.cached(token, issuer) or False

    # --- tokens

    def token(
        self, wanted: CaseToken, issuer: IssuerPolicy, bound_to: ClientCertificate | None, now: float
    ) -> str:
        """An access token as the case wants it."""
        if wanted.raw is not None:
            return wanted.raw
        claims = self._claims(wanted, issuer, bound_to, now)
        answer = {**claims, "active": wanted.active is not False}
        token = f"opaque-{len(self._answers)}" if wanted.opaque else self._signed(wanted, issuer, claims)
        self._answers[token] = answer
        return token

    def _claims(
        self, wanted: CaseToken, issuer: IssuerPolicy, bound_to: ClientCertificate | None, now: float
    ) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "iss": issuer.issuer,
            "aud": min(issuer.audience),
            "sub": "subject",
            "iat": int(min(now, now + (wanted.expires_in or 0) - 1)),
            "exp": int(now + (_LIFETIME if wanted.expires_in is None else wanted.expires_in)),
            "jti": f"case-{len(self._answers)}",
        }
        if bound_to is not None:
            claims["cnf"] = {"x5t#S256": base64url_text(bound_to.thumbprint)}
        if not wanted.claims.keys() & set(issuer.claim_names.client_id):
            claims[issuer.claim_names.client_id[0]] = "client"  # where this issuer's tokens name it
        claims |= wanted.claims
        return {name: value for name, value in claims.items() if name not in wanted.without}

    def _signed(self, wanted: CaseToken, issuer: IssuerPolicy, claims: dict[str, Any]) -> str:
        algorithm = wanted.algorithm or _usual(issuer)
        canonical = canonical_algorithm(algorithm)
        key = self._key(issuer.issuer, canonical)
        if wanted.signed_by == "stranger":
            key = self._key("a stranger", canonical)
        header = {"typ": "at+jwt" if wanted.type is None else wanted.type, "alg": algorithm, "kid": canonical}
        if not header["typ"]:
            del header["typ"]
        signed = f"{_segment(header)}.{_segment(claims)}"
        signature = get_default_algorithms()[canonical].sign(signed.encode(), key)
        return f"{signed}.{base64url_text(signature)}"

    def _key(self, owner: str, algorithm: str) -> PrivateKey:
        found = self._keys.get((owner, algorithm))
        if found is None:
            found = self._keys[owner, algorithm] = _made(algorithm)
        return found

    def _jwk(self, issuer: str, algorithm: str) -> dict[str, Any]:
        key = self._key(issuer, algorithm)
        jwk = json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key()))
        return {
            **{member: jwk[member] for member in jwk if member != "key_ops"},
            "kid": algorithm,
            "alg": algorithm,
        }


def _segment(value: object) -> str:
    return base64url_text(json.dumps(value, separators=(",", ":")).encode())


def _usual(issuer: IssuerPolicy) -> str:
    accepted = issuer.algorithms
    return next((name for name in _PREFERRED if name in accepted), min(accepted))
