"""Mints JWT access tokens and JWKS documents, right ones and every kind of wrong one.

The signing here shares no code with the product nor with its JOSE library, so that a mistake in either shows.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.pki import Identity, PrivateKey, make_key, public_key_pem

ISSUER = "https://as.example.com"
AUDIENCE = "https://api.example.com"

DIGESTS: Mapping[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
KEY_KINDS: Mapping[str, str] = {
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
}
"""Which key an algorithm needs; RS* and PS* take RSA-2048."""


def base64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def signature(algorithm: str, key: PrivateKey, data: bytes) -> bytes:
    """The JWS signature of `data` (RFC 7518 §3, RFC 8037 §3.1, RFC 9864 §2.2)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    digest = DIGESTS[algorithm[2:]]()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if algorithm.startswith("PS"):
        return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(data, padding.PKCS1v15(), digest)


def segment(value: object) -> str:
    """One segment of a compact JWS: bytes and text as they are, anything else as JSON, all in base64url."""
    if isinstance(value, bytes):
        return base64url(value)
    if isinstance(value, str):
        return base64url(value.encode())
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """The public members of a JWK (RFC 7518 §6, RFC 8037 §2)."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(public.public_bytes_raw())}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
    name = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[public.curve.name]
    return {"kty": "EC", "crv": name, "x": _integer(point.x, size), "y": _integer(point.y, size)}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An issuer's key: signs any header and payload, and knows its own public JWK."""

    algorithm: str
    kid: str
    key: PrivateKey

    @classmethod
    def create(cls, algorithm: str = "ES256", kid: str | None = None, key: PrivateKey | None = None) -> Self:
        """A new key for `algorithm`; its `kid` is the algorithm's name unless told otherwise."""
        return cls(algorithm, kid or algorithm.lower(), key or make_key(KEY_KINDS.get(algorithm, "RSA-2048")))

    @property
    def jwk(self) -> dict[str, Any]:
        return {**public_jwk(self.key), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        return public_key_pem(self.key)

    def with_kid(self, kid: str) -> Self:
        return replace(self, kid=kid)

    def sign(self, payload: object, header: object | None = None) -> str:
        """A compact JWS. `payload` and `header` may be objects, or bytes that are no JSON at all."""
        protected = {"typ": "at+jwt", "alg": self.algorithm, "kid": self.kid} if header is None else header
        signed = f"{segment(protected)}.{segment(payload)}"
        return f"{signed}.{base64url(signature(self.algorithm, self.key, signed.encode()))}"

    def token(
        self,
        presenter: Identity | str | None = None,
        header: Mapping[str, object] | None = None,
        without: Sequence[str] = (),
        **claims: object,
    ) -> str:
        """An access token as RFC 9068 has it, bound to `presenter`'s certificate when one is given.

        `header` adds to the JOSE header (a value of None removes a member); `without` names claims to omit.
        """
        protected = {"typ": "at+jwt", "alg": self.algorithm, "kid": self.kid, **(header or {})}
        payload = claims_set(presenter, **claims)
        for name in without:
            payload.pop(name, None)
        return self.sign(payload, {name: value for name, value in protected.items() if value is not None})


def claims_set(presenter: Identity | str | None = None, **claims: object) -> dict[str, object]:
    """The claims of RFC 9068 §2.2, valid for five minutes from now, and `cnf` for `presenter`.

    `presenter` is an identity or a thumbprint; a claim given by name replaces the default.
    """
    now = int(time.time())
    payload: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "client-1",
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid.uuid4()),
        "scope": "accounts:read",
    }
    if presenter is not None:
        digest = presenter.thumbprint if isinstance(presenter, Identity) else presenter
        payload["cnf"] = {"x5t#S256": digest}
    return payload | claims


def jwks(*keys: SigningKey | Mapping[str, object]) -> dict[str, object]:
    """A JWK Set (RFC 7517 §5) of signing keys or of ready-made, perhaps broken, JWKs."""
    return {"keys": [key.jwk if isinstance(key, SigningKey) else dict(key) for key in keys]}


def unsigned(payload: object, header: object | None = None, tail: str = "") -> str:
    """`alg: none` (RFC 7518 §3.6); `tail` is what stands in the signature's place."""
    protected = {"typ": "at+jwt", "alg": "none"} if header is None else header
    return f"{segment(protected)}.{segment(payload)}.{tail}"


def keyed_by_public_key(key: SigningKey, payload: object, algorithm: str = "HS256") -> str:
    """The key-confusion forgery: an HMAC whose secret is the issuer's public key in PEM."""
    header = {"typ": "at+jwt", "alg": algorithm, "kid": key.kid}
    signed = f"{segment(header)}.{segment(payload)}"
    mac = hmac.new(key.public_pem, signed.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
    return f"{signed}.{base64url(mac.digest())}"


def tampered(token: str, **claims: object) -> str:
    """The same token with other claims under the old signature."""
    header, payload, mac = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{header}.{segment(decoded | claims)}.{mac}"
