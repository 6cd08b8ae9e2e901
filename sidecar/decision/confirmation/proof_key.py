"""`jkt`: the token is bound to the key of a DPoP proof (RFC 9449 §6.1)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.confirmation.certificate import sha256_digest
from sidecar.decision.confirmation.method import FOREVER, ConfirmationMethod, Confirmed
from sidecar.decision.diagnosis import Diagnosis
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof import judge
from sidecar.decision.proof_diagnosis import diagnose_proof
from sidecar.decision.proof_header import CHECKS
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import base64url_text

MEMBER: Final = "jkt"
SCHEME: Final = "DPoP"
_CHECK: Final = f"cnf.{MEMBER}"
_RECORDED: Final = "expected_key_thumbprint"

_UNPROVEN: Final[Mapping[Reason, str]] = {
    Reason.SCHEME_MISMATCH: "The access token must be presented with the scheme for which it was issued",
    Reason.PROOF_MISSING: "The access token is bound to a key and no DPoP proof was presented",
    Reason.PROOF_KEY_MISMATCH: "The access token is bound to another key than that of the DPoP proof",
}
"""The token is not shown to be its presenter's: that may be reported in place of enforced."""
_BROKEN: Final[Mapping[Reason, str]] = {
    Reason.PROOF_REPEATED: "More than one DPoP proof",
    Reason.PROOF_MALFORMED: "The DPoP proof is malformed",
    Reason.PROOF_ALGORITHM_REFUSED: "The signature algorithm of the DPoP proof is not accepted",
    Reason.PROOF_KEY_REFUSED: "The key of the DPoP proof is not acceptable",
    Reason.PROOF_METHOD_MISMATCH: "The DPoP proof is for another method",
    Reason.PROOF_TARGET_MISMATCH: "The DPoP proof is for another URI",
    Reason.PROOF_TOKEN_MISMATCH: "The DPoP proof is for another access token",
    Reason.PROOF_NONCE_REQUIRED: "The DPoP proof must contain the nonce of this response",
    Reason.PROOF_EXPIRED: "The DPoP proof was made too long ago",
    Reason.PROOF_NOT_YET_VALID: "The DPoP proof was made in the future",
    Reason.PROOF_SIGNATURE_INVALID: "The signature of the DPoP proof is invalid",
    Reason.PROOF_REPLAYED: "The DPoP proof was used before",
}


class ProofKeyThumbprint(ConfirmationMethod):
    """SHA-256 thumbprint (RFC 7638) of the public key with which each request's proof is signed."""

    def __init__(self) -> None:
        self.member = MEMBER
        self.expected = "the SHA-256 thumbprint of a JWK in base64url"
        self.scheme = SCHEME
        self.clause = "RFC 9449 §7.1"
        self.reasons = {**_UNPROVEN, **_BROKEN}
        self.broken = frozenset(_BROKEN)
        self.checks = CHECKS

    def is_accepted(self, schemes: Collection[str]) -> bool:
        """Only with the scheme that brings proofs."""
        return SCHEME in schemes

    def parse(self, value: object) -> bytes:
        """32 bytes. RFC 9449 §6.1: "the base64url encoding of the JWK SHA-256 Thumbprint"."""
        return sha256_digest(value)

    def confirm(self, value: bytes, presentation: Presentation) -> Confirmed:
        """RFC 9449 §7.1: the protected resource "MUST check that" the proof is valid, and that the token is bound to
        its key. §7.2: a token bound to a key is no bearer token.
        """
        token, terms = presentation.token, presentation.proofs
        if token.scheme != SCHEME or terms is None:
            raise Denied(Reason.SCHEME_MISMATCH, _CHECK, f"Authorization: {SCHEME}", token.scheme)
        claim = judge(presentation.head, token, value, terms, presentation.now)
        return Confirmed(MEMBER, FOREVER, claim)

    def metadata(self, schemes: Collection[str], algorithms: Collection[str]) -> Mapping[str, object]:
        """RFC 9728 §2."""
        if SCHEME not in schemes:
            return {}
        return {
            "dpop_signing_alg_values_supported": sorted(algorithms),
            "dpop_bound_access_tokens_required": set(schemes) == {SCHEME},
        }

    def record(self, value: bytes | None) -> str:
        """The thumbprint that the token names; nothing where it names none."""
        return "" if value is None else f'"{_RECORDED}":"{base64url_text(value)}",'

    def holds(self, value: bytes, presenter: Presenter, failures: Sequence[Failure]) -> bool:
        """Whether no check of the proof failed: the key itself is not of the connection."""
        return not any(failure.reason in self.reasons for failure in failures)

    def held(self, line: Mapping[str, object], failed: Collection[str]) -> bool | None:
        """The same."""
        if not line.get(_RECORDED):
            return None
        return not any(reason.value in failed for reason in self.reasons)

    def diagnose(
        self,
        value: object,
        failure: Failure,
        head: RequestHead,
        presenter: Presenter,
        others: Sequence[Certificate],
    ) -> Diagnosis | None:
        """What the maker of the proof probably did instead of what RFC 9449 §4.2 says."""
        return diagnose_proof(failure, head) if isinstance(value, str) else None
