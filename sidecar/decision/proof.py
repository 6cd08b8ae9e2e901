"""A DPoP proof (RFC 9449 §4.2) and the twelve checks of §4.3, cheapest first.

Rules of this file. A proof is read once and judged against one request; nothing of it is remembered but its key. What
it says is believed by nobody before its signature is good, and even then it only says that whoever sent it has the
key. Each check returns nothing or raises `Denied`, by the name that it has in `CHECKS`.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from sidecar.decision import jose
from sidecar.decision.failure import Denied
from sidecar.decision.jwk import ParsedKey, UnusableKey, parse_jwk
from sidecar.decision.nonce import Nonces
from sidecar.decision.origin import Origin, normalised, normalised_path
from sidecar.decision.proof_policy import ProofPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.request import RequestHead
from sidecar.decision.strict import Malformed, base64url, base64url_text, json_object, numeric_date
from sidecar.decision.token import AccessToken

LONGEST: Final = 8192
"""Bytes of a `DPoP` field. An RSA key of 4096 bits and its signature take 1.5 kB of it."""
JTI_LENGTH: Final = 512
"""Characters of a `jti`."""
_KEYS_KEPT: Final = 1024
_MEMBERS: Final[Mapping[str, frozenset[str]]] = {
    "EC": frozenset({"kty", "crv", "x", "y"}),
    "OKP": frozenset({"kty", "crv", "x"}),
    "RSA": frozenset({"kty", "n", "e"}),
}
"""RFC 7638 §3.2, RFC 8037 §2: the members that make the key, and no other. A private member is none of them."""

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


class ProofTerms:
    """The same, worked out, with where the protected resource is and how nonces are made."""

    __slots__ = ("algorithms", "future", "nonces", "origins", "window")

    def __init__(
        self, policy: ProofPolicy, origins: tuple[Origin, ...], nonces: Nonces | None = None
    ) -> None:
        self.window = policy.window
        self.future = policy.future
        self.algorithms: AbstractSet[str] = frozenset(map(jose.canonical_algorithm, policy.algorithms))
        self.origins = origins
        self.nonces = nonces if policy.requires_nonce else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What of a proof is claimed, so that it cannot be used again (RFC 9449 §11.1). Never holds the proof."""

    key: bytes
    """Thumbprint of the proof's key (RFC 7638), 32 bytes."""
    token_id: str
    """`jti`, decoded."""
    made_at: float
    """`iat`, seconds since the epoch."""
    lifetime: float
    """Seconds for which a proof made then can pass, by any of our clocks."""
    renewal: str | None = None
    """The nonce that the client should use from now on, when the proof's is about to end (RFC 9449 §8.2)."""


class _Keys:
    """Keys that came in proofs, by their thumbprint: making one out of a JWK costs a tenth of a verification."""

    def __init__(self) -> None:
        self._kept: dict[bytes, ParsedKey] = {}

    def key(self, thumbprint: bytes, jwk: Mapping[str, Any]) -> ParsedKey:
        """Raises `Denied` (proof_key_refused)."""
        found = self._kept.get(thumbprint)
        if found is None:
            try:
                found = parse_jwk(jwk)
            except UnusableKey as problem:
                said = f"{problem.reason.value}: {problem.detail}"
                raise Denied(Reason.PROOF_KEY_REFUSED, "dpop.jwk", _expected("dpop.jwk"), said) from None
            if len(self._kept) >= _KEYS_KEPT:
                self._kept.clear()
            self._kept[thumbprint] = found
        return found


_KEYS: Final = _Keys()


def judge(head: RequestHead, token: AccessToken, value: bytes, terms: ProofTerms, now: float) -> Claim:
    """What is to be claimed for the one proof of a request, once all of it holds.

    `value` is the token's `jkt`. Raises `Denied`: proof_missing, proof_repeated, proof_malformed,
    proof_algorithm_refused, proof_key_refused, proof_key_mismatch, proof_method_mismatch, proof_target_mismatch,
    proof_nonce_required, proof_expired, proof_not_yet_valid, proof_token_mismatch, proof_signature_invalid.
    """
    header, payload, signature, signed = _parts(_only(head.proofs))
    algorithm = _algorithm(header, terms)
    jwk, thumbprint = _jwk(header)
    if not compare_digest(thumbprint, value):
        shown = base64url_text(thumbprint)
        raise Denied(Reason.PROOF_KEY_MISMATCH, "dpop.jkt", base64url_text(value), shown)
    token_id, made_at = _claims(payload)
    _check_request(payload, head, terms)
    if terms.nonces is not None and not terms.nonces.is_current(payload.get("nonce"), now):
        came = "another" if "nonce" in payload else "none"
        raise Denied(Reason.PROOF_NONCE_REQUIRED, "dpop.nonce", _expected("dpop.nonce"), came)
    _check_time(made_at, terms, now)
    # RFC 9449 §4.2: `ath` is the hash of the ASCII encoding of the access token's value: of the token as it came.
    hashed = sha256(token.reveal().encode("ascii")).digest()
    if payload["ath"] != base64url_text(hashed):
        raise Denied(Reason.PROOF_TOKEN_MISMATCH, "dpop.ath", base64url_text(hashed), payload["ath"][:64])
    key = _KEYS.key(thumbprint, jwk)
    if algorithm not in key.algorithms:
        raise Denied(Reason.PROOF_ALGORITHM_REFUSED, "dpop.alg", " ".join(sorted(key.algorithms)), algorithm)
    if not jose.is_signature(algorithm, signed, key.key, signature):
        raise Denied(Reason.PROOF_SIGNATURE_INVALID, "dpop.signature", _expected("dpop.signature"), "another")
    renewal = None if terms.nonces is None else terms.nonces.renewal(payload["nonce"], now)
    return Claim(thumbprint, token_id, made_at, float(terms.window + terms.future), renewal)


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


def _only(fields: tuple[str, ...]) -> str:
    # RFC 9449 §4.3 (1): "There is not more than one DPoP HTTP request header field." Some proxies join two fields
    # with a comma; no JWS has one.
    if not fields:
        raise Denied(Reason.PROOF_MISSING, "dpop.field", _expected("dpop.field"), "no DPoP field")
    if len(fields) > 1 or "," in fields[0]:
        raise Denied(Reason.PROOF_REPEATED, "dpop.field", _expected("dpop.field"), "several proofs")
    if len(fields[0]) > LONGEST:
        said = f"{len(fields[0])} bytes"
        raise Denied(Reason.PROOF_MALFORMED, "dpop.field", f"at most {LONGEST} bytes", said)
    return fields[0]


def _parts(proof: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = proof.split(".")
    if len(parts) != 3:
        raise _malformed("dpop.jwt", f"{len(parts)} parts")
    try:
        header, payload = json_object(base64url(parts[0])), json_object(base64url(parts[1]))
        signature = base64url(parts[2])
    except Malformed as problem:
        raise _malformed("dpop.jwt", str(problem)) from None
    for name in ("crit", "b64"):  # RFC 7515 §4.1.11: no extension is understood here
        if name in header:
            raise _malformed("dpop.jwt", f"{name} is present")
    if header.get("typ") != "dpop+jwt":
        raise _malformed("dpop.typ", "another typ" if "typ" in header else "no typ")
    return header, payload, signature, f"{parts[0]}.{parts[1]}".encode()


def _algorithm(header: Mapping[str, Any], terms: ProofTerms) -> str:
    algorithm = header.get("alg")
    name = jose.canonical_algorithm(algorithm) if isinstance(algorithm, str) else ""
    if name not in terms.algorithms or name not in jose.ALGORITHMS:
        expected = " ".join(sorted(terms.algorithms))
        shown = ascii(algorithm[:32])[1:-1] if isinstance(algorithm, str) else "no alg"
        raise Denied(Reason.PROOF_ALGORITHM_REFUSED, "dpop.alg", expected, shown)
    return name


def _jwk(header: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise Denied(Reason.PROOF_KEY_REFUSED, "dpop.jwk", _expected("dpop.jwk"), "no jwk")
    try:
        thumbprint = thumbprint_of(jwk)
    except Malformed as problem:
        raise Denied(Reason.PROOF_KEY_REFUSED, "dpop.jwk", _expected("dpop.jwk"), str(problem)) from None
    # RFC 9449 §4.3 (7): "The jwk JOSE Header Parameter does not contain a private key." Nor anything else.
    if jwk.keys() != _MEMBERS[jwk["kty"]]:
        raise Denied(
            Reason.PROOF_KEY_REFUSED, "dpop.jwk", _expected("dpop.jwk"), "members that make no public key"
        )
    return jwk, thumbprint


def _claims(payload: Mapping[str, Any]) -> tuple[str, float]:
    """`jti` and `iat`, once every claim of §4.2 is there and of its type."""
    for name in ("jti", "htm", "htu", "ath"):
        if type(payload.get(name)) is not str:
            raise _malformed("dpop.claims", f"{name} is missing or no string")
    token_id = payload["jti"]
    if not 0 < len(token_id) <= JTI_LENGTH:
        raise _malformed("dpop.claims", f"a jti of {len(token_id)} characters")
    try:
        return token_id, numeric_date(payload.get("iat"))
    except Malformed as problem:
        raise _malformed("dpop.claims", f"iat is {problem}") from None


def _check_request(payload: Mapping[str, Any], head: RequestHead, terms: ProofTerms) -> None:
    if payload["htm"] != head.method:
        shown = ascii(payload["htm"][:32])[1:-1]
        raise Denied(Reason.PROOF_METHOD_MISMATCH, "dpop.htm", head.method, shown)
    expected = " or ".join(one.origin + one.prefix + head.path for one in terms.origins)
    try:
        htu, path = normalised(payload["htu"]), normalised_path(head.path)
    except Malformed as problem:
        raise Denied(Reason.PROOF_TARGET_MISMATCH, "dpop.htu", expected, str(problem)) from None
    for origin in terms.origins:
        if origin.is_target(htu, path):
            return
    raise Denied(Reason.PROOF_TARGET_MISMATCH, "dpop.htu", expected, "".join(htu)[:200])


def _check_time(made_at: float, terms: ProofTerms, now: float) -> None:
    age = now - made_at
    if age > terms.window:
        said = f"{age:.0f} s ago"
        raise Denied(Reason.PROOF_EXPIRED, "dpop.iat", f"at most {terms.window} s ago", said)
    if age < -terms.future:
        said = f"{-age:.0f} s from now"
        raise Denied(Reason.PROOF_NOT_YET_VALID, "dpop.iat", f"at most {terms.future} s from now", said)


_ASKED: Final = {name: expected for name, _, expected in CHECKS}


def _expected(check: str) -> str:
    return _ASKED[check]


def _malformed(check: str, presented: str) -> Denied:
    return Denied(Reason.PROOF_MALFORMED, check, _expected(check), presented)
