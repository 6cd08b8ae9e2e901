"""The header of a DPoP proof (RFC 9449 §4.2): its type, its algorithm, and the key that signs it.

Theory of operation. A client sends the same header with each of its proofs, byte for byte. So what was read from one is
kept by its text, once a proof with it was good: a fact about text, never a verdict about a proof. A header is kept only
for a sender who holds the key that a token names.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Any, Final

from sidecar.decision import jose
from sidecar.decision.failure import Denied
from sidecar.decision.jwk import ParsedKey, UnusableKey, parse_jwk
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, base64url, json_object

CHECKS: Final[tuple[tuple[str, str, str], ...]] = (
    ("dpop.field", "RFC 9449 §4.3 (1)", "one DPoP field with one proof"),
    ("dpop.jwt", "RFC 9449 §4.3 (2)", "a well-formed JWT"),
    ("dpop.typ", "RFC 9449 §4.3 (4)", "dpop+jwt"),
    ("dpop.alg", "RFC 9449 §4.3 (5)", "an asymmetric algorithm that is accepted"),
    ("dpop.jwk", "RFC 9449 §4.3 (7)", "a public key and nothing else"),
    ("dpop.jkt", "RFC 9449 §4.3 (12)", "the key that the token is bound to"),
    ("dpop.claims", "RFC 9449 §4.3 (3)", "jti, htm, htu, iat and ath"),
    ("dpop.htm", "RFC 9449 §4.3 (8)", "the method of the request"),
    ("dpop.htu", "RFC 9449 §4.3 (9)", "the URI of the request at a configured origin"),
    ("dpop.nonce", "RFC 9449 §4.3 (10)", "a nonce that was given here, where one is required"),
    ("dpop.iat", "RFC 9449 §4.3 (11)", "made just now"),
    ("dpop.ath", "RFC 9449 §4.3 (12)", "the hash of the token"),
    ("dpop.signature", "RFC 9449 §4.3 (6)", "a signature by the key in jwk"),
)
"""Every check in order: its name, its clause, what it asks for."""
ASKED: Final = {name: expected for name, _, expected in CHECKS}
"""What each check asks for."""
KEPT: Final = 1024
"""Headers that are kept at a time."""
LONGEST_KEPT: Final = 2048
"""Characters of one that is kept. A key of RSA with 4096 bits makes 1,000."""
_MEMBERS: Final[Mapping[str, frozenset[str]]] = {
    "EC": frozenset({"kty", "crv", "x", "y"}),
    "OKP": frozenset({"kty", "crv", "x"}),
    "RSA": frozenset({"kty", "n", "e"}),
}
"""RFC 7638 §3.2, RFC 8037 §2: the members that make the key, and no other; private members are not among them."""


class ProofHeader:
    """What the header of a proof says."""

    __slots__ = ("_jwk", "_key", "algorithm", "thumbprint")

    def __init__(self, algorithm: str, jwk: Mapping[str, Any], thumbprint: bytes) -> None:
        self.algorithm = algorithm
        """`alg` by its canonical name."""
        self.thumbprint = thumbprint
        """RFC 7638: 32 bytes."""
        self._jwk = jwk
        self._key: ParsedKey | None = None

    def key(self) -> ParsedKey:
        """The key; made when it is first needed. Raises `Denied`: proof_key_refused, proof_algorithm_refused."""
        key = self._key
        if key is None:
            try:
                key = parse_jwk(self._jwk)
            except UnusableKey as problem:
                raise _refused_key(f"{problem.reason.value}: {problem.detail}") from None
            if self.algorithm not in key.algorithms:
                expected = " ".join(sorted(key.algorithms))
                raise Denied(Reason.PROOF_ALGORITHM_REFUSED, "dpop.alg", expected, self.algorithm)
            self._key = key
        return key


_KEPT: Final[dict[str, ProofHeader]] = {}


def proof_header(text: str, accepted: AbstractSet[str]) -> ProofHeader:
    """What the first part of a proof says, where its algorithm is one of those `accepted`, by canonical names.

    Raises `Denied`: proof_malformed, proof_algorithm_refused, proof_key_refused.
    """
    header = _KEPT.get(text)
    if header is None:
        return _read(text, accepted)
    if header.algorithm not in accepted:
        raise _refused_algorithm(header.algorithm, accepted)
    return header


def keep(text: str, header: ProofHeader) -> None:
    """Remember what `text` says: a proof with it was good."""
    if len(text) <= LONGEST_KEPT and text not in _KEPT:
        if len(_KEPT) >= KEPT:
            _KEPT.clear()
        _KEPT[text] = header


def thumbprint_of(jwk: Mapping[str, Any]) -> bytes:
    """The SHA-256 thumbprint of a JWK (RFC 7638 §3); raises `Malformed` unless it is a key of a kind known here."""
    kty = jwk.get("kty")
    members = _MEMBERS.get(kty) if isinstance(kty, str) else None
    if members is None:
        raise Malformed("kty is none of EC, OKP, RSA")
    if not all(type(jwk.get(name)) is str for name in members):
        raise Malformed(f"{kty} needs {', '.join(sorted(members))}")
    text = json.dumps(
        {name: jwk[name] for name in sorted(members)}, separators=(",", ":"), ensure_ascii=False
    )
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def malformed(check: str, presented: str) -> Denied:
    """The refusal of a malformed proof: proof_malformed."""
    return Denied(Reason.PROOF_MALFORMED, check, ASKED[check], presented)


def _read(text: str, accepted: AbstractSet[str]) -> ProofHeader:
    try:
        header = json_object(base64url(text))
    except Malformed as problem:
        raise malformed("dpop.jwt", str(problem)) from None
    for name in ("crit", "b64"):  # RFC 7515 §4.1.11: no extension is understood here
        if name in header:
            raise malformed("dpop.jwt", f"{name} is present")
    if header.get("typ") != "dpop+jwt":
        raise malformed("dpop.typ", "another typ" if "typ" in header else "no typ")
    algorithm = header.get("alg")
    name = jose.canonical_algorithm(algorithm) if isinstance(algorithm, str) else ""
    if name not in accepted or name not in jose.ALGORITHMS:
        raise _refused_algorithm(algorithm, accepted)
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise _refused_key("no jwk")
    return ProofHeader(name, jwk, _public(jwk))


def _public(jwk: Mapping[str, Any]) -> bytes:
    """The thumbprint, where nothing but the public key is there."""
    try:
        thumbprint = thumbprint_of(jwk)
    except Malformed as problem:
        raise _refused_key(str(problem)) from None
    # RFC 9449 §4.3 (7): "The jwk JOSE Header Parameter does not contain a private key." Nor anything else.
    if jwk.keys() != _MEMBERS[jwk["kty"]]:
        raise _refused_key("members that make no public key")
    return thumbprint


def _refused_algorithm(algorithm: object, accepted: AbstractSet[str]) -> Denied:
    shown = ascii(algorithm[:32])[1:-1] if isinstance(algorithm, str) else "no alg"
    return Denied(Reason.PROOF_ALGORITHM_REFUSED, "dpop.alg", " ".join(sorted(accepted)), shown)


def _refused_key(presented: str) -> Denied:
    return Denied(Reason.PROOF_KEY_REFUSED, "dpop.jwk", ASKED["dpop.jwk"], presented)
