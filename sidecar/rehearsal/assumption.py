"""Without an issuer's keys, the signature is assumed to be valid, and the explanation says so.

The token is signed again with a temporary key; header and claims are unchanged. All other checks are therefore the
real ones, on the same bytes.
"""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.ports import IssuerUnavailable, KeySet, VerificationKey
from sidecar.decision.strict import Malformed, base64url, base64url_text, json_object
from sidecar.decision.token import AccessToken, ValidatedToken

_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


def _private_key(algorithm: str) -> Any:
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm in _RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else None


class AssumedKeys:
    """Implements `decision.ports.KeySource`, `KeySet` and `TokenIntrospector` for one token."""

    def __init__(self, token: str) -> None:
        self.token = token
        """The token signed again; unchanged if it cannot be signed."""
        self._found: VerificationKey | None = None
        header, _, rest = token.partition(".")
        payload, _, signature = rest.partition(".")
        algorithm = _algorithm(header)
        key = _private_key(algorithm)
        if key is not None and signature:
            made = get_default_algorithms()[algorithm].sign(f"{header}.{payload}".encode(), key)
            self.token = f"{header}.{payload}.{base64url_text(made)}"
            self._found = VerificationKey(None, frozenset({algorithm}), key.public_key())

    def keys(self, issuer: str) -> KeySet:
        """The temporary key, for any issuer."""
        return self

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        """The temporary key."""
        return self

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """False: there are no other keys."""
        return False

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The temporary key, for any `kid`."""
        return [self._found] if self._found is not None and algorithm in self._found.algorithms else []

    def is_current(self, key: object) -> bool:
        """True: the key is always in force."""
        return True

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """Raises `IssuerUnavailable`: the answer of an issuer cannot be assumed."""
        raise IssuerUnavailable(issuer, "not asked, offline")

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Raises `IssuerUnavailable`, as `cached`."""
        raise IssuerUnavailable(issuer, "not asked, offline")


def _algorithm(header: str) -> str:
    try:
        found = json_object(base64url(header)).get("alg")
    except Malformed:
        return ""
    return canonical_algorithm(found) if isinstance(found, str) else ""
