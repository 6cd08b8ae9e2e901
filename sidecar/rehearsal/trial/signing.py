"""Keys generated for a run, and their signatures."""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.strict import base64url_text

_PREFERRED: Final = ("ES256", "EdDSA", "Ed25519", "ES384", "ES512")
"""Algorithms whose keys are cheap to generate; RSA only if no other is accepted."""
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def new_key(algorithm: str) -> PrivateKey:
    """A key for a JWS algorithm."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm in {"EdDSA", "Ed25519"}:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def usual(accepted: AbstractSet[str]) -> str:
    """The algorithm to sign with; each of `accepted` is possible."""
    return next((name for name in _PREFERRED if name in accepted), min(accepted))


def public_jwk(key: PrivateKey, algorithm: str) -> dict[str, Any]:
    """The members of the public key (RFC 7638 §3.2, RFC 8037 §2), and no others."""
    jwk = json.loads(get_default_algorithms()[canonical_algorithm(algorithm)].to_jwk(key.public_key()))
    return {member: jwk[member] for member in jwk if member != "key_ops"}


def signed_jwt(header: Mapping[str, Any], claims: Mapping[str, Any], key: PrivateKey, algorithm: str) -> str:
    """A compact JWS (RFC 7515 §7.1), signed with `algorithm`, whatever its header says."""
    signed = f"{_segment(header)}.{_segment(claims)}"
    signature = get_default_algorithms()[canonical_algorithm(algorithm)].sign(signed.encode(), key)
    return f"{signed}.{base64url_text(signature)}"


def _segment(value: object) -> str:
    return base64url_text(json.dumps(value, separators=(",", ":")).encode())
