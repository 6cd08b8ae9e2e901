"""The refusal of a request, and one total function from its reason to the shape of the answer.

Rules of this file: `shape()` is the only place that knows a status code; a reason without a row does not type-check.
"""

from typing import Final, NamedTuple, assert_never

from sidecar.decision.failure import Denied, Failure
from sidecar.decision.reason import NAMES, ErrorCode, Reason
from sidecar.decision.token import ValidatedToken

__all__ = ["NAMES", "Denial", "Denied", "ErrorCode", "Failure", "Reason", "Shape", "shape"]


class Shape(NamedTuple):
    """What the answer to a reason is, but for its words."""

    status: int
    """The HTTP status code."""
    error: ErrorCode | None
    """The OAuth error code of the challenge, or None."""
    challenge: bool
    """Whether the answer carries `WWW-Authenticate`."""
    closes: bool
    """Whether the connection is closed after the answer."""


_CHALLENGED = (True, False)
_PLAIN = (False, False)
_CLOSING = (False, True)


def shape(reason: Reason) -> Shape:
    """The shape of the answer to a reason."""
    return _SHAPES[reason]


def _shape(reason: Reason) -> Shape:  # noqa: C901, PLR0912 — one row a reason; that is the point of it
    """The one table from reason to shape."""
    match reason:
        # RFC 6750 §3.1: "If the request lacks any authentication information ... the resource server
        # SHOULD NOT include an error code or other error information."
        case Reason.CREDENTIALS_MISSING:
            return Shape(401, None, *_CHALLENGED)
        case Reason.CREDENTIALS_REPEATED | Reason.CREDENTIALS_MALFORMED | Reason.TOKEN_TOO_LARGE:
            return Shape(400, ErrorCode.INVALID_REQUEST, *_CHALLENGED)
        # RFC 9068 §4: "in case of any failure in the validation checks listed above, the authorization
        # server response MUST include the error code "invalid_token""
        case (
            Reason.TOKEN_MALFORMED
            | Reason.TOKEN_ENCRYPTED
            | Reason.TOKEN_UNRECOGNISED
            | Reason.TOKEN_TYPE_REFUSED
            | Reason.TOKEN_EXPIRED
            | Reason.TOKEN_NOT_YET_VALID
            | Reason.TOKEN_INACTIVE
            | Reason.HEADER_REFUSED
            | Reason.ALGORITHM_REFUSED
            | Reason.KEY_UNKNOWN
            | Reason.SIGNATURE_INVALID
            | Reason.ISSUER_UNKNOWN
            | Reason.AUDIENCE_MISMATCH
            | Reason.CLAIM_MISSING
            | Reason.CLAIM_MALFORMED
        ):
            return Shape(401, ErrorCode.INVALID_TOKEN, *_CHALLENGED)
        # RFC 8705 §3: "the resource access attempt MUST be rejected with an error, per [RFC6750], using
        # an HTTP 401 status code and the invalid_token error code."
        case (
            Reason.BINDING_MISMATCH
            | Reason.BINDING_MISSING
            | Reason.CERTIFICATE_MISSING
            | Reason.CERTIFICATE_EXPIRED
            | Reason.CONFIRMATION_MALFORMED
            | Reason.CONFIRMATION_UNSUPPORTED
            # RFC 9449 §7.1 and §7.2: so does a token that is bound to the key of a proof, and is not proven.
            | Reason.SCHEME_MISMATCH
            | Reason.PROOF_KEY_MISMATCH
        ):
            return Shape(401, ErrorCode.INVALID_TOKEN, *_CHALLENGED)
        # RFC 9449 §7.1: "the error code invalid_dpop_proof" says that the proof is invalid by the criteria of §4.3.
        case (
            Reason.PROOF_MISSING
            | Reason.PROOF_REPEATED
            | Reason.PROOF_MALFORMED
            | Reason.PROOF_ALGORITHM_REFUSED
            | Reason.PROOF_KEY_REFUSED
            | Reason.PROOF_METHOD_MISMATCH
            | Reason.PROOF_TARGET_MISMATCH
            | Reason.PROOF_TOKEN_MISMATCH
            | Reason.PROOF_EXPIRED
            | Reason.PROOF_NOT_YET_VALID
            | Reason.PROOF_SIGNATURE_INVALID
            | Reason.PROOF_REPLAYED
        ):
            return Shape(401, ErrorCode.INVALID_DPOP_PROOF, *_CHALLENGED)
        # RFC 9449 §9: the resource server answers with 401 and the error code use_dpop_nonce.
        case Reason.PROOF_NONCE_REQUIRED:
            return Shape(401, ErrorCode.USE_DPOP_NONCE, *_CHALLENGED)
        case Reason.ENDPOINT_UNKNOWN:
            return Shape(404, None, *_PLAIN)
        # RFC 6749 §5.2; what the body says, and when it is 401: `token_error`.
        case (
            Reason.FORM_MALFORMED
            | Reason.PARAMETER_REPEATED
            | Reason.CLIENT_ID_MISSING
            | Reason.CLIENT_ID_MISMATCH
            | Reason.CLIENT_AUTHENTICATION_REPEATED
            | Reason.CLIENT_UNKNOWN
            | Reason.CLIENT_METHOD_MISMATCH
            | Reason.CLIENT_CERTIFICATE_MISSING
            | Reason.CLIENT_CERTIFICATE_UNFIT
            | Reason.CLIENT_CERTIFICATE_EXPIRED
            | Reason.CLIENT_CERTIFICATE_MISMATCH
            | Reason.CLIENT_CERTIFICATE_UNTRUSTED
        ):
            return Shape(400, None, *_PLAIN)
        case Reason.SERVER_CREDENTIALS_REFUSED | Reason.ISSUED_TOKEN_UNBOUND:
            return Shape(502, None, *_PLAIN)
        case Reason.SCOPE_INSUFFICIENT:
            return Shape(403, ErrorCode.INSUFFICIENT_SCOPE, *_CHALLENGED)
        # RFC 9470 §3
        case Reason.AUTHENTICATION_INSUFFICIENT:
            return Shape(401, ErrorCode.INSUFFICIENT_USER_AUTHENTICATION, *_CHALLENGED)
        case Reason.RULE_UNMATCHED | Reason.CONDITION_FAILED:
            return Shape(403, None, *_PLAIN)
        case Reason.PATH_AMBIGUOUS | Reason.REQUEST_MALFORMED:
            return Shape(400, None, *_CLOSING)
        # The connection is a proxy's, and the next request on it another client's.
        case (
            Reason.CERTIFICATE_HEADER_UNTRUSTED
            | Reason.CERTIFICATE_HEADER_MALFORMED
            | Reason.CERTIFICATE_REFUSED
        ):
            return Shape(400, None, *_PLAIN)
        case Reason.VERSION_UNSUPPORTED:
            return Shape(505, None, *_CLOSING)
        case Reason.METHOD_REFUSED:
            return Shape(501, None, *_CLOSING)
        case Reason.GRPC_UNSUPPORTED:
            return Shape(501, None, *_PLAIN)
        case Reason.EXPECTATION_FAILED:
            return Shape(417, None, *_CLOSING)
        case Reason.TARGET_TOO_LONG:
            return Shape(414, None, *_CLOSING)
        case Reason.HEADER_TOO_LARGE:
            return Shape(431, None, *_CLOSING)
        case Reason.BODY_TOO_LARGE:
            return Shape(413, None, *_CLOSING)
        case Reason.REQUEST_TIMEOUT:
            return Shape(408, None, *_CLOSING)
        case Reason.ISSUER_UNAVAILABLE:
            return Shape(503, None, *_PLAIN)
        case Reason.OVERLOADED | Reason.RULE_BUSY | Reason.AUDIT_UNAVAILABLE | Reason.REPLAY_UNKNOWN:
            return Shape(503, None, *_PLAIN)
        case Reason.UPSTREAM_REFUSED | Reason.UPSTREAM_BROKEN:
            return Shape(502, None, *_PLAIN)
        case Reason.UPSTREAM_TIMEOUT:
            return Shape(504, None, *_PLAIN)
        case Reason.INTERNAL_ERROR:
            return Shape(500, None, *_CLOSING)
        case _:
            assert_never(reason)


_SHAPES: Final = {reason: _shape(reason) for reason in Reason}


BEARER_ONLY: Final[tuple[tuple[str, str], ...]] = (("Bearer", ""),)
"""The schemes of a challenge unless told otherwise."""


class Denial:
    """A refusal: the first reason, everything that failed, and what the challenge must say."""

    __slots__ = (
        "acr_values", "failures", "max_age", "nonce", "reason", "retry_after", "rule", "schemes", "scope", "token",
    )  # fmt: skip

    def __init__(
        self,
        reason: Reason,
        failures: tuple[Failure, ...] = (),
        rule: str | None = None,
        token: ValidatedToken | None = None,
        *,
        scope: tuple[str, ...] = (),
        acr_values: tuple[str, ...] = (),
        max_age: int | None = None,
        retry_after: int | None = None,
        schemes: tuple[tuple[str, str], ...] = BEARER_ONLY,
        nonce: str | None = None,
    ) -> None:
        self.reason = reason
        self.failures = failures
        self.rule = rule
        """Name of the rule that decided, or None when none did."""
        self.token = token
        """The verified token, when verification came so far: who was refused."""
        self.scope = scope
        """Scopes the challenge names (RFC 6750 §3)."""
        self.acr_values = acr_values
        """RFC 9470 §3."""
        self.max_age = max_age
        """Seconds, RFC 9470 §3."""
        self.retry_after = retry_after
        """Seconds, for a 503."""
        self.schemes = schemes
        """The schemes that the challenges name, that of the refused credentials first; each with its `algs`, which
        are empty for one that has none.
        """
        self.nonce = nonce
        """What `DPoP-Nonce` says (RFC 9449 §8.2); None: nothing."""

    def __repr__(self) -> str:
        return f"Denial({NAMES[self.reason]}, {self.failures}, rule={self.rule})"
