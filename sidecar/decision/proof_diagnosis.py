"""Names the probable mistake of whoever made a DPoP proof that was refused (RFC 9449 §4.2)."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from sidecar.decision.diagnosis import Diagnosis
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason
from sidecar.decision.request import RequestHead
from sidecar.decision.strict import Malformed, base64url, base64url_text, json_object


def diagnose_proof(failure: Failure, head: RequestHead) -> Diagnosis | None:
    """What was probably done instead of what should be, when a check of the proof of `head` came to `failure`."""
    match failure.reason:
        case Reason.SCHEME_MISMATCH | Reason.PROOF_MISSING:
            return Diagnosis(
                "bearer",
                "The token is bound to a key. Present it as `Authorization: DPoP`, with a proof made for this "
                "request in the field `DPoP` (RFC 9449 §7.1).",
            )
        case Reason.PROOF_KEY_MISMATCH:
            return Diagnosis(
                "another_key",
                f"The proof is signed with the key {failure.presented}, and the token is bound to "
                f"{failure.expected}. Sign with the key with which the token was asked for (RFC 9449 §6.1).",
            )
        case Reason.PROOF_TARGET_MISMATCH:
            return _target(failure)
        case Reason.PROOF_TOKEN_MISMATCH:
            return _hash(head)
        case Reason.PROOF_SIGNATURE_INVALID:
            return _signature(head)
        case Reason.PROOF_EXPIRED | Reason.PROOF_NOT_YET_VALID:
            return Diagnosis(
                "clock",
                f"The proof was made {failure.presented} by the clock of the client, and counts when made "
                f"{failure.expected}. Make one for each request, and set the clock; or require nonces "
                "(RFC 9449 §11.1).",
            )
        case Reason.PROOF_MALFORMED if _iat(head) > 10**11:
            return Diagnosis("milliseconds", "iat is in milliseconds. It should be in seconds (RFC 7519 §2).")
        case _:
            return None


def _target(failure: Failure) -> Diagnosis:
    origins = [one.partition("://") for one in failure.expected.split(" or ")]
    _, _, said = failure.presented.partition("://")
    host, _, path = said.partition("/")
    if any(place.partition("/")[2] == path for _, _, place in origins):
        return Diagnosis(
            "another_origin",
            f"The path is right, and the proof names {host}. Clients must name the place that they call: "
            f"{failure.expected}. If they rightly call it by that name, it is missing from "
            "`protected_resource.origins` (RFC 9449 §4.3).",
        )
    return Diagnosis(
        "another_target",
        f"The proof is for {failure.presented}. If a proxy changes the path before it comes here, say so: "
        "`origins: [{origin: …, prefix: …}]` (RFC 9449 §4.3).",
    )


def _hash(head: RequestHead) -> Diagnosis:
    payload = _object(head, 1)
    said = payload.get("ath")
    for mistake, what, value in _hashes(head):
        if said == value:
            return Diagnosis(
                mistake,
                f"ath is {what}. It should be the SHA-256 of the token as it is sent, in base64url without "
                "padding (RFC 9449 §4.2).",
            )
    return Diagnosis("another_token", "ath is of another token than the one that came with the proof.")


def _hashes(head: RequestHead) -> Iterator[tuple[str, str, str]]:
    field = head.authorization[0] if head.authorization else ""
    token = field.partition(" ")[2].strip(" ")
    digest = sha256(token.encode("latin-1")).digest()
    yield "ath_in_hex", "in hexadecimal", digest.hex()
    yield "ath_padded", "padded", urlsafe_b64encode(digest).decode()
    yield "ath_of_hex", "the encoding of hexadecimal text", base64url_text(digest.hex().encode())
    yield (
        "ath_of_field",
        "the hash of the whole field",
        base64url_text(sha256(field.encode("latin-1")).digest()),
    )
    try:
        decoded = b"".join(base64url(part) for part in token.split("."))
        yield "ath_of_decoded", "the hash of the decoded token", base64url_text(sha256(decoded).digest())
        claims = base64url(token.split(".")[1]) if "." in token else b""
        yield "ath_of_decoded", "the hash of the token's claims", base64url_text(sha256(claims).digest())
    except Malformed:
        return


def _signature(head: RequestHead) -> Diagnosis | None:
    header = _object(head, 0)
    try:
        signature = base64url(head.proofs[0].rpartition(".")[2])
    except Malformed:
        return None
    if (
        str(header.get("alg")).startswith("ES")
        and signature[:1] == b"\x30"
        and len(signature) not in (64, 96, 132)
    ):
        return Diagnosis(
            "der_signature",
            "The signature is in DER. It should be r and s, one behind the other (RFC 7518 §3.4).",
        )
    return None


def _iat(head: RequestHead) -> float:
    value = _object(head, 1).get("iat")
    return value if isinstance(value, int | float) else 0.0


def _object(head: RequestHead, part: int) -> dict[str, Any]:
    """The header (0) or the claims (1) of the first proof, not verified; empty when there are none."""
    parts = head.proofs[0].split(".") if head.proofs else []
    try:
        return json_object(base64url(parts[part])) if len(parts) == 3 else {}
    except Malformed:
        return {}
