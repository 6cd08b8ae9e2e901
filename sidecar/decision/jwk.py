"""One JSON Web Key (RFC 7517 §4) → a public key that may verify signatures, or the reason why it may not.

No JOSE library refuses short RSA keys, flawed ones, or keys meant for something else; a signature is worth what
its key is worth, so this is done here, once, when keys are loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sidecar.decision.jose import canonical_algorithm
from sidecar.decision.roca import is_roca_modulus
from sidecar.decision.strict import Malformed, base64url

MINIMUM_RSA_BITS = 2048
"""RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used with these algorithms." """
MAXIMUM_RSA_BITS = 8192
"""Verification time grows with the square; nobody signs access tokens with more."""
MAXIMUM_KID_LENGTH = 256

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class Unusable(Enum):
    """Why a key is skipped. The values are stable: logs and metrics name them."""

    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    SYMMETRIC = "symmetric"
    PRIVATE = "private"
    WRONG_USE = "wrong_use"
    WRONG_KEY_OPS = "wrong_key_ops"
    WEAK_RSA = "weak_rsa"
    OVERSIZED_RSA = "oversized_rsa"
    ROCA = "roca"
    BAD_EXPONENT = "bad_exponent"
    OFF_CURVE = "off_curve"
    DUPLICATE_KID = "duplicate_kid"
    OVER_THE_CAP = "over_the_cap"


class UnusableKey(Exception):
    """A JWK that cannot verify access tokens."""

    def __init__(self, reason: Unusable, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A JWK that may be used."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey
    members: tuple[tuple[str, str], ...]
    """The public members that define the key, sorted: its identity, and what is kept on disk."""


_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EDDSA = frozenset({"EdDSA"})
"""Algorithms of Ed25519 alone: RFC 9864 §2.2 gives that a name of its own, and `EdDSA` is how it is stored here."""
_CURVES: Mapping[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def parse_jwk(jwk: object) -> ParsedKey:
    """The usable key in `jwk`; raises `UnusableKey` with the reason."""
    if not isinstance(jwk, dict):
        raise UnusableKey(Unusable.MALFORMED, "not a JSON object")
    # Some servers write every member of their class: a null or empty member counts as absent.
    jwk = {name: value for name, value in jwk.items() if value is not None and value not in ("", [])}
    kty = jwk.get("kty")
    if kty == "oct" or "k" in jwk:
        # RFC 8725 §3.2: a MAC key that everybody can download authenticates nobody.
        raise UnusableKey(Unusable.SYMMETRIC, "a symmetric key in a public set")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise UnusableKey(Unusable.PRIVATE, "holds private members: whoever reads the set can sign with it")
    parser = _PARSERS.get(kty) if isinstance(kty, str) else None
    if parser is None:
        raise UnusableKey(Unusable.UNSUPPORTED, "kty is none of RSA, EC, OKP")
    _check_purpose(jwk)
    key, algorithms, names = parser(jwk)
    return ParsedKey(
        _kid(jwk),
        _narrowed(jwk, algorithms),
        key,
        tuple(sorted((name, jwk[name]) for name in ("kty", *names))),
    )


def _kid(jwk: Mapping[str, Any]) -> str | None:
    """RFC 7517 §4.5: "The "kid" value is a case-sensitive string."; here also a short one."""
    kid = jwk.get("kid")
    if kid is None and "kid" not in jwk:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= MAXIMUM_KID_LENGTH:
        raise UnusableKey(Unusable.MALFORMED, f"kid is no string of 1 to {MAXIMUM_KID_LENGTH} characters")
    return kid


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    """RFC 7517 §4.2 and §4.3: what the issuer says that the key is for."""
    if "use" in jwk and jwk["use"] != "sig":
        raise UnusableKey(Unusable.WRONG_USE, "use is not sig")
    if "key_ops" not in jwk:
        return
    operations = jwk["key_ops"]
    if not isinstance(operations, list) or not all(isinstance(name, str) for name in operations):
        raise UnusableKey(Unusable.MALFORMED, "key_ops is no list of strings")
    # RFC 7517 §4.3: "Duplicate key operation values MUST NOT be present in the array."
    if len(set(operations)) != len(operations):
        raise UnusableKey(Unusable.MALFORMED, "key_ops names an operation twice")
    if "verify" not in operations:
        raise UnusableKey(Unusable.WRONG_KEY_OPS, "key_ops does not include verify")


def _narrowed(jwk: Mapping[str, Any], algorithms: frozenset[str]) -> frozenset[str]:
    """RFC 8725 §3.1: a key is used with one algorithm, the one that its `alg` names."""
    if "alg" not in jwk:
        return algorithms
    name = jwk["alg"]
    if not isinstance(name, str) or canonical_algorithm(name) not in algorithms:
        raise UnusableKey(Unusable.UNSUPPORTED, "alg is no signature algorithm of this key type and curve")
    return frozenset({canonical_algorithm(name)})


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    """A base64url member (RFC 7515 §2)."""
    value = jwk.get(name)
    if not isinstance(value, str) or not value:
        raise UnusableKey(Unusable.MALFORMED, f"{name} is missing or no string")
    try:
        return base64url(value)
    except Malformed as problem:
        raise UnusableKey(Unusable.MALFORMED, f"{name} is {problem}") from None


_Parsed = tuple[PublicKey, frozenset[str], tuple[str, ...]]


def _made(
    numbers: rsa.RSAPublicNumbers | ec.EllipticCurvePublicNumbers, flaw: Unusable, detail: str
) -> PublicKey:
    try:
        return numbers.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(flaw, detail) from None


def _parse_rsa(jwk: Mapping[str, Any]) -> _Parsed:
    """RFC 7518 §6.3.1, with the checks of FIPS 186-5 §A.1.1 on the exponent."""
    modulus, exponent = (int.from_bytes(_octets(jwk, name), "big") for name in ("n", "e"))
    bits = modulus.bit_length()
    if bits < MINIMUM_RSA_BITS:
        raise UnusableKey(Unusable.WEAK_RSA, f"{bits} bits, fewer than {MINIMUM_RSA_BITS}")
    if bits > MAXIMUM_RSA_BITS:
        raise UnusableKey(Unusable.OVERSIZED_RSA, f"{bits} bits, more than {MAXIMUM_RSA_BITS}")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 64:
        raise UnusableKey(Unusable.BAD_EXPONENT, "the exponent is 1, even or absurdly large")
    if modulus % 2 == 0:
        raise UnusableKey(Unusable.MALFORMED, "the modulus is even")
    if is_roca_modulus(modulus):
        raise UnusableKey(Unusable.ROCA, "made by the flawed generator of CVE-2017-15361")
    numbers = rsa.RSAPublicNumbers(exponent, modulus)
    return _made(numbers, Unusable.MALFORMED, "no RSA key that OpenSSL takes"), _RSA, ("n", "e")


def _parse_ec(jwk: Mapping[str, Any]) -> _Parsed:
    """RFC 7518 §6.2.1; RFC 8725 §3.4: inputs to elliptic curve operations MUST be validated."""
    name = jwk.get("crv")
    if not isinstance(name, str) or name not in _CURVES:
        raise UnusableKey(Unusable.UNSUPPORTED, "crv is none of P-256, P-384, P-521")
    curve, algorithm = _CURVES[name]
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    size = (curve.key_size + 7) // 8
    # RFC 7518 §6.2.1.2: "The length of this octet string MUST be the full size of a coordinate"
    if (len(x), len(y)) != (size, size):
        raise UnusableKey(Unusable.MALFORMED, f"x and y are not {size} octets each")
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    key = _made(numbers, Unusable.OFF_CURVE, f"the point is not on {name}")
    return key, frozenset({algorithm}), ("crv", "x", "y")


_P25519 = 2**255 - 19
_D25519 = -121665 * pow(121666, -1, _P25519) % _P25519


def _is_on_ed25519(encoded: bytes) -> bool:
    """Whether RFC 8032 §5.1.3 decodes this to a point that is not of small order."""
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    if y >= _P25519:
        return False
    numerator, denominator = (y * y - 1) % _P25519, (_D25519 * y * y + 1) % _P25519
    x_squared = numerator * pow(denominator, -1, _P25519) % _P25519
    is_square = pow(x_squared, (_P25519 - 1) // 2, _P25519) in (0, 1)
    # The eight points of small order: x or y is 0, or x² = -y² (order 8). Under such a "key" forgeries verify.
    is_small = 0 in (x_squared, y) or (x_squared + y * y) % _P25519 == 0
    return is_square and not is_small


def _parse_okp(jwk: Mapping[str, Any]) -> _Parsed:
    """RFC 8037 §2."""
    if jwk.get("crv") != "Ed25519":
        raise UnusableKey(Unusable.UNSUPPORTED, "crv is not Ed25519")
    x = _octets(jwk, "x")
    if len(x) != 32:
        raise UnusableKey(Unusable.MALFORMED, "x is not 32 octets")
    if not _is_on_ed25519(x):
        raise UnusableKey(Unusable.OFF_CURVE, "x is no point of Ed25519, or one of small order")
    return ed25519.Ed25519PublicKey.from_public_bytes(x), _EDDSA, ("crv", "x")


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], _Parsed]] = {
    "RSA": _parse_rsa,
    "EC": _parse_ec,
    "OKP": _parse_okp,
}
