"""Compact JWS (RFC 7515 §7.1): parse, choose a key, verify.

Rules of this file: the algorithm comes from the issuer's list, the key from the issuer's key set, and nothing that
the token says of itself adds to either; claims leave this module only as `VerifiedClaims`, after the signature.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms

from sidecar.decision.failure import Denied
from sidecar.decision.ports import KeySet, VerificationKey
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, base64url, json_object
from sidecar.decision.token import AccessToken, Claims

KID_LENGTH = 256
"""The longest `kid` that is looked up, in characters."""

MOST_TRIED = 8
"""The most keys that one signature is held against: without a `kid` each that fits is tried, for anybody."""

VALUES = 1024
"""The most values that the header or the claims set may have, as their commas and brackets tell.

Anybody can have them decoded: it comes before the signature.
"""

_VERIFIERS: dict[str, Any] = get_default_algorithms()
_RSA = {f"{family}{size}" for family in ("RS", "PS") for size in (256, 384, 512)}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = frozenset({*_RSA, *_CURVES, "EdDSA"})
"""What can be verified: asymmetric signatures only (RFC 7518 §3.1, RFC 8037 §3.1). `EdDSA` is that of Ed25519."""
SYNONYMS = {"Ed25519": "EdDSA"}
"""RFC 9864 §2.2: `Ed25519` is `EdDSA` with that curve. Policies, keys and tokens may use either name."""


def canonical_algorithm(name: str) -> str:
    """The one name under which an algorithm is listed, stored and looked up here."""
    return SYNONYMS.get(name, name)


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A well-formed JWS, not verified. Its claims stay in this module."""

    algorithm: str
    kid: str | None
    type: str
    """`typ`, lower case and without `application/` (RFC 7515 §4.1.9); empty when there is none."""
    _claims: dict[str, Any] = field(repr=False)
    _signed: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @property
    def claimed_issuer(self) -> str:
        """`iss`, not verified: used only to choose among configured issuers."""
        if "iss" not in self._claims:
            raise Denied(Reason.CLAIM_MISSING, "iss", "the issuer", "none")
        issuer = self._claims["iss"]
        if type(issuer) is not str:
            raise Denied(Reason.CLAIM_MALFORMED, "iss", "a string", type(issuer).__name__)
        return issuer


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """The claims set of a token whose signature was verified with `key`."""

    claims: Claims = field(repr=False)
    type: str
    key: VerificationKey


def is_opaque(token: AccessToken) -> bool:
    """Whether a token has neither the form of a compact JWS nor that of a JWE: only its issuer can read it."""
    return token.reveal().count(".") not in {2, 4}


def parse(token: AccessToken) -> UnverifiedJws:
    """Decodes a compact JWS, strictly. Raises `Denied`: token_malformed, token_encrypted, header_refused."""
    parts = token.reveal().split(".")
    if len(parts) == 5:
        raise Denied(Reason.TOKEN_ENCRYPTED, "token", "a signed token", "an encrypted token")
    if len(parts) != 3:
        raise Denied(
            Reason.TOKEN_UNRECOGNISED, "token", "a signed token of three parts", f"{len(parts)} parts"
        )
    header = _decoded_object(parts[0], "header")
    claims = _decoded_object(parts[1], "payload")
    try:
        signature = base64url(parts[2])
    except Malformed as problem:
        raise Denied(Reason.TOKEN_MALFORMED, "signature", "base64url", str(problem)) from None
    return UnverifiedJws(
        _algorithm(header), _kid(header), _type(header), claims, f"{parts[0]}.{parts[1]}".encode(), signature
    )


def verify(jws: UnverifiedJws, algorithms: AbstractSet[str], keys: KeySet) -> VerifiedClaims:
    """Verifies the signature with the issuer's key.

    `algorithms` is the issuer's list, in canonical names. Raises `Denied`: algorithm_refused, key_unknown,
    signature_invalid.
    """
    name = canonical_algorithm(jws.algorithm)
    # RFC 8725 §3.1: "Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use
    # any other algorithms". RFC 9068 §4: "MUST reject any JWT in which the value of "alg" is "none"".
    if name not in algorithms or name not in ALGORITHMS:
        raise Denied(Reason.ALGORITHM_REFUSED, "alg", " ".join(sorted(algorithms)), _printable(jws.algorithm))
    found = keys.fitting(jws.kid, name)
    if not found:
        raise Denied(Reason.KEY_UNKNOWN, "kid", "a key of the issuer", _printable(jws.kid or "no kid"))
    for key in found[:MOST_TRIED]:
        if name not in key.algorithms or not _fits(key.key, name):
            raise Denied(Reason.ALGORITHM_REFUSED, "alg", " ".join(sorted(key.algorithms)), name)
        if is_signature(name, jws._signed, key.key, jws._signature):  # noqa: SLF001 — the same module
            return VerifiedClaims(jws._claims, jws.type, key)  # noqa: SLF001 — see above
    raise Denied(Reason.SIGNATURE_INVALID, "signature", "a signature by the issuer's key", "another")


def is_signature(algorithm: str, signed: bytes, key: object, signature: bytes) -> bool:
    """Whether `signature` is that of `signed` by the public `key`; `algorithm` is canonical and fits the key."""
    return bool(_VERIFIERS[algorithm].verify(signed, key, signature))


def _fits(key: object, algorithm: str) -> bool:
    # RFC 8725 §3.1: "each key MUST be used with exactly one algorithm". The loader of keys sees to that; here it
    # costs a microsecond to be sure that no key of one kind is ever used as one of another.
    if algorithm in _CURVES:
        return isinstance(key, EllipticCurvePublicKey) and key.curve.name == _CURVES[algorithm]
    return isinstance(key, RSAPublicKey if algorithm in _RSA else Ed25519PublicKey)


def _decoded_object(part: str, name: str) -> dict[str, Any]:
    try:
        return json_object(base64url(part), VALUES)
    except Malformed as problem:
        raise Denied(Reason.TOKEN_MALFORMED, name, "a JSON object in base64url", str(problem)) from None


def _algorithm(header: dict[str, Any]) -> str:
    # RFC 7515 §4.1.11: whoever does not understand an extension that `crit` names must refuse; none is understood
    # here. RFC 7797 §3 changes what is signed.
    for member in ("crit", "b64"):
        if member in header:
            raise Denied(Reason.HEADER_REFUSED, member, "no extension", "present")
    algorithm = header.get("alg")
    if type(algorithm) is not str:
        raise Denied(Reason.HEADER_REFUSED, "alg", "a string", type(algorithm).__name__)
    return algorithm


def _kid(header: dict[str, Any]) -> str | None:
    # RFC 7515 §4.1.4: the structure of `kid` is unspecified. It is compared, never a path, URL or query.
    # `jwk`, `jku`, `x5u`, `x5c` (§4.1.2 to §4.1.6) are not read at all: a token never brings its own key.
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if type(kid) is not str or len(kid) > KID_LENGTH:
        raise Denied(Reason.HEADER_REFUSED, "kid", f"a string of at most {KID_LENGTH}", "something else")
    return kid


def _type(header: dict[str, Any]) -> str:
    value = header.get("typ", "")
    if type(value) is not str:
        raise Denied(Reason.HEADER_REFUSED, "typ", "a string", type(value).__name__)
    return value.lower().removeprefix("application/")


def _printable(text: str) -> str:
    """Client input made safe for a record: printable ASCII, bounded."""
    return ascii(text[:64])[1:-1]
