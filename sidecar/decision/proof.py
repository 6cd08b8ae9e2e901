"""A DPoP proof (RFC 9449 §4.2) and the twelve checks of §4.3, cheapest first.

Rules of this file. A proof is read once and judged against one request; nothing of it is remembered but its header.
Nothing in it is trusted before its signature is verified, and even then it only proves that the sender has the key.
 Each check returns nothing or raises `Denied`, by the name that it has in `proof_header.CHECKS`.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from sidecar.decision import jose
from sidecar.decision.failure import Denied
from sidecar.decision.nonce import Nonces
from sidecar.decision.origin import Origin, normalised, normalised_path
from sidecar.decision.proof_header import ASKED, keep, malformed, proof_header
from sidecar.decision.proof_policy import ProofPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.request import RequestHead
from sidecar.decision.strict import Malformed, base64url, base64url_text, json_object, numeric_date
from sidecar.decision.token import AccessToken

LONGEST: Final = 8192
"""Bytes of a `DPoP` field. An RSA key of 4096 bits and its signature take 1.5 kB of it."""
JTI_LENGTH: Final = 512
"""Characters of a `jti`."""


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


class Claim:
    """What of a proof is claimed, so that it cannot be used again (RFC 9449 §11.1). Never holds the proof."""

    __slots__ = ("key", "lifetime", "made_at", "renewal", "token_id")

    def __init__(
        self, key: bytes, token_id: str, made_at: float, lifetime: float, renewal: str | None = None
    ) -> None:
        self.key = key
        """Thumbprint of the proof's key (RFC 7638), 32 bytes."""
        self.token_id = token_id
        """`jti`, decoded."""
        self.made_at = made_at
        """`iat`, seconds since the epoch."""
        self.lifetime = lifetime
        """Seconds for which a proof made then can pass, by any of our clocks."""
        self.renewal = renewal
        """The nonce that the client should use from now on, when the proof's is about to end (RFC 9449 §8.2)."""


def judge(head: RequestHead, token: AccessToken, value: bytes, terms: ProofTerms, now: float) -> Claim:
    """What is to be claimed for the one proof of a request, once all of it holds.

    `value` is the token's `jkt`. Raises `Denied`: proof_missing, proof_repeated, proof_malformed,
    proof_algorithm_refused, proof_key_refused, proof_key_mismatch, proof_method_mismatch, proof_target_mismatch,
    proof_nonce_required, proof_expired, proof_not_yet_valid, proof_token_mismatch, proof_signature_invalid.
    """
    proof = _only(head.proofs)
    parts = proof.split(".")
    if len(parts) != 3:
        raise malformed("dpop.jwt", f"{len(parts)} parts")
    try:
        payload, signature = json_object(base64url(parts[1])), base64url(parts[2])
    except Malformed as problem:
        raise malformed("dpop.jwt", str(problem)) from None
    header = proof_header(parts[0], terms.algorithms)
    if not compare_digest(header.thumbprint, value):
        shown = base64url_text(header.thumbprint)
        raise Denied(Reason.PROOF_KEY_MISMATCH, "dpop.jkt", base64url_text(value), shown)
    token_id, made_at = _claims(payload)
    _check_request(payload, head, terms)
    if terms.nonces is not None and not terms.nonces.is_current(payload.get("nonce"), now):
        came = "another" if "nonce" in payload else "none"
        raise Denied(Reason.PROOF_NONCE_REQUIRED, "dpop.nonce", ASKED["dpop.nonce"], came)
    _check_time(made_at, terms, now)
    # RFC 9449 §4.2: `ath` is the hash of the ASCII encoding of the access token's value: of the token as it came.
    hashed = base64url_text(sha256(token.reveal().encode("ascii")).digest())
    if payload["ath"] != hashed:
        raise Denied(Reason.PROOF_TOKEN_MISMATCH, "dpop.ath", hashed, payload["ath"][:64])
    signed = proof[: len(parts[0]) + 1 + len(parts[1])].encode()
    if not jose.is_signature(header.algorithm, signed, header.key().key, signature):
        raise Denied(Reason.PROOF_SIGNATURE_INVALID, "dpop.signature", ASKED["dpop.signature"], "another")
    keep(parts[0], header)
    renewal = None if terms.nonces is None else terms.nonces.renewal(payload["nonce"], now)
    return Claim(header.thumbprint, token_id, made_at, float(terms.window + terms.future), renewal)


def _only(fields: tuple[str, ...]) -> str:
    # RFC 9449 §4.3 (1): "There is not more than one DPoP HTTP request header field." Some proxies join two fields
    # with a comma; no JWS has one.
    if not fields:
        raise Denied(Reason.PROOF_MISSING, "dpop.field", ASKED["dpop.field"], "no DPoP field")
    if len(fields) > 1 or "," in fields[0]:
        raise Denied(Reason.PROOF_REPEATED, "dpop.field", ASKED["dpop.field"], "several proofs")
    if len(fields[0]) > LONGEST:
        said = f"{len(fields[0])} bytes"
        raise Denied(Reason.PROOF_MALFORMED, "dpop.field", f"at most {LONGEST} bytes", said)
    return fields[0]


def _claims(payload: Mapping[str, Any]) -> tuple[str, float]:
    """`jti` and `iat`, once every claim of §4.2 is there and of its type."""
    for name in ("jti", "htm", "htu", "ath"):
        if type(payload.get(name)) is not str:
            raise malformed("dpop.claims", f"{name} is missing or no string")
    token_id = payload["jti"]
    if not 0 < len(token_id) <= JTI_LENGTH:
        raise malformed("dpop.claims", f"a jti of {len(token_id)} characters")
    try:
        return token_id, numeric_date(payload.get("iat"))
    except Malformed as problem:
        raise malformed("dpop.claims", f"iat is {problem}") from None


def _check_request(payload: Mapping[str, Any], head: RequestHead, terms: ProofTerms) -> None:
    if payload["htm"] != head.method:
        shown = ascii(payload["htm"][:32])[1:-1]
        raise Denied(Reason.PROOF_METHOD_MISMATCH, "dpop.htm", head.method, shown)
    try:
        htu, path = normalised(payload["htu"]), normalised_path(head.path)
    except Malformed as problem:
        raise _another_target(head, terms, str(problem)) from None
    for origin in terms.origins:
        if origin.is_target(htu, path):
            return
    raise _another_target(head, terms, "".join(htu)[:200])


def _another_target(head: RequestHead, terms: ProofTerms, presented: str) -> Denied:
    expected = " or ".join(one.origin + one.prefix + head.path for one in terms.origins)
    return Denied(Reason.PROOF_TARGET_MISMATCH, "dpop.htu", expected, presented)


def _check_time(made_at: float, terms: ProofTerms, now: float) -> None:
    age = now - made_at
    if age > terms.window:
        said = f"{age:.0f} s ago"
        raise Denied(Reason.PROOF_EXPIRED, "dpop.iat", f"at most {terms.window} s ago", said)
    if age < -terms.future:
        said = f"{-age:.0f} s from now"
        raise Denied(Reason.PROOF_NOT_YET_VALID, "dpop.iat", f"at most {terms.future} s from now", said)
