"""Why a request is refused: a closed list of reasons, and one total function from reason to answer.

Rules of this file: every way to refuse a request is a `Reason`; `answer()` is the only place that knows a status
code; a reason without a row does not type-check.
"""

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Self, assert_never

if TYPE_CHECKING:
    from sidecar.decision.token import ValidatedToken


class ErrorCode(Enum):
    """The `error` values of a challenge (RFC 6750 §3.1, RFC 9470 §3)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 — an OAuth error code, not a password
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INSUFFICIENT_USER_AUTHENTICATION = "insufficient_user_authentication"


class Reason(Enum):
    """Why a request was refused. The values are stable: logs, metrics, answers and tests name them."""

    # The credentials (RFC 6750 §2)
    CREDENTIALS_MISSING = "credentials_missing"
    CREDENTIALS_REPEATED = "credentials_repeated"
    CREDENTIALS_MALFORMED = "credentials_malformed"
    TOKEN_TOO_LARGE = "token_too_large"  # noqa: S105 — a reason, not a password
    # The token (RFC 7515, RFC 7519, RFC 9068 §4, RFC 7662)
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    TOKEN_ENCRYPTED = "token_encrypted"  # noqa: S105
    TOKEN_UNRECOGNISED = "token_unrecognised"  # noqa: S105
    TOKEN_TYPE_REFUSED = "token_type_refused"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105
    TOKEN_INACTIVE = "token_inactive"  # noqa: S105
    HEADER_REFUSED = "header_refused"
    ALGORITHM_REFUSED = "algorithm_refused"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    ISSUER_UNKNOWN = "issuer_unknown"
    AUDIENCE_MISMATCH = "audience_mismatch"
    CLAIM_MISSING = "claim_missing"
    CLAIM_MALFORMED = "claim_malformed"
    # The binding (RFC 7800, RFC 8705 §3)
    BINDING_MISMATCH = "binding_mismatch"
    BINDING_MISSING = "binding_missing"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CONFIRMATION_MALFORMED = "confirmation_malformed"
    CONFIRMATION_UNSUPPORTED = "confirmation_unsupported"
    # What the rule asks for
    RULE_UNMATCHED = "rule_unmatched"
    SCOPE_INSUFFICIENT = "scope_insufficient"
    AUTHENTICATION_INSUFFICIENT = "authentication_insufficient"
    CONDITION_FAILED = "condition_failed"
    # The request itself (RFC 9110, RFC 9112)
    REQUEST_MALFORMED = "request_malformed"
    PATH_AMBIGUOUS = "path_ambiguous"
    VERSION_UNSUPPORTED = "version_unsupported"
    METHOD_REFUSED = "method_refused"
    EXPECTATION_FAILED = "expectation_failed"
    TARGET_TOO_LONG = "target_too_long"
    HEADER_TOO_LARGE = "header_too_large"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    # Others than the client
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    OVERLOADED = "overloaded"
    RULE_BUSY = "rule_busy"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL_ERROR = "internal_error"

    # Members are single: who they are tells them apart. The method that Python has for an enumeration is slow.
    __hash__ = object.__hash__


NAMES: Final = {reason: reason.value for reason in Reason}
"""Reason → its name. `value` is a property written in Python, too slow for the way of each refusal."""


class Answer(NamedTuple):
    """The shape of a refusal."""

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


def answer(reason: Reason) -> Answer:
    """The answer to a reason."""
    return _ANSWERS[reason]


def _answer(reason: Reason) -> Answer:  # noqa: C901, PLR0912 — one row a reason; that is the point of it
    """The one table from reason to answer."""
    match reason:
        # RFC 6750 §3.1: "If the request lacks any authentication information ... the resource server
        # SHOULD NOT include an error code or other error information."
        case Reason.CREDENTIALS_MISSING:
            return Answer(401, None, *_CHALLENGED)
        case Reason.CREDENTIALS_REPEATED | Reason.CREDENTIALS_MALFORMED | Reason.TOKEN_TOO_LARGE:
            return Answer(400, ErrorCode.INVALID_REQUEST, *_CHALLENGED)
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
            return Answer(401, ErrorCode.INVALID_TOKEN, *_CHALLENGED)
        # RFC 8705 §3: "the resource access attempt MUST be rejected with an error, per [RFC6750], using
        # an HTTP 401 status code and the invalid_token error code."
        case (
            Reason.BINDING_MISMATCH
            | Reason.BINDING_MISSING
            | Reason.CERTIFICATE_MISSING
            | Reason.CERTIFICATE_EXPIRED
            | Reason.CONFIRMATION_MALFORMED
            | Reason.CONFIRMATION_UNSUPPORTED
        ):
            return Answer(401, ErrorCode.INVALID_TOKEN, *_CHALLENGED)
        case Reason.SCOPE_INSUFFICIENT:
            return Answer(403, ErrorCode.INSUFFICIENT_SCOPE, *_CHALLENGED)
        # RFC 9470 §3
        case Reason.AUTHENTICATION_INSUFFICIENT:
            return Answer(401, ErrorCode.INSUFFICIENT_USER_AUTHENTICATION, *_CHALLENGED)
        case Reason.RULE_UNMATCHED | Reason.CONDITION_FAILED:
            return Answer(403, None, *_PLAIN)
        case Reason.PATH_AMBIGUOUS | Reason.REQUEST_MALFORMED:
            return Answer(400, None, *_CLOSING)
        case Reason.VERSION_UNSUPPORTED:
            return Answer(505, None, *_CLOSING)
        case Reason.METHOD_REFUSED:
            return Answer(501, None, *_CLOSING)
        case Reason.EXPECTATION_FAILED:
            return Answer(417, None, *_CLOSING)
        case Reason.TARGET_TOO_LONG:
            return Answer(414, None, *_CLOSING)
        case Reason.HEADER_TOO_LARGE:
            return Answer(431, None, *_CLOSING)
        case Reason.BODY_TOO_LARGE:
            return Answer(413, None, *_CLOSING)
        case Reason.REQUEST_TIMEOUT:
            return Answer(408, None, *_CLOSING)
        case Reason.ISSUER_UNAVAILABLE:
            return Answer(503, None, *_PLAIN)
        case Reason.OVERLOADED | Reason.RULE_BUSY:
            return Answer(503, None, *_PLAIN)
        case Reason.UPSTREAM_REFUSED | Reason.UPSTREAM_BROKEN:
            return Answer(502, None, *_PLAIN)
        case Reason.UPSTREAM_TIMEOUT:
            return Answer(504, None, *_PLAIN)
        case Reason.INTERNAL_ERROR:
            return Answer(500, None, *_CLOSING)
        case _:
            assert_never(reason)


_ANSWERS: Final = {reason: _answer(reason) for reason in Reason}


class Failure:
    """One condition that did not hold, for the audit record and `explain`; never for the client.

    Treat as immutable, as a `Denial`. No dataclass: an attack must not cost more than what is permitted.
    """

    __slots__ = ("check", "expected", "presented", "reason")

    def __init__(self, check: str, reason: Reason, expected: str = "", presented: str = "") -> None:
        self.check = check
        """What was checked, by its name in the policy or the RFC: `scope`, `claims.tenant`, `cnf.x5t#S256`."""
        self.reason = reason
        self.expected = expected
        """What the policy or the token asks for."""
        self.presented = presented
        """What came; a claim's value only where the policy says that it may be logged."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def _members(self) -> tuple[str, str, str, str]:
        return self.check, NAMES[self.reason], self.expected, self.presented

    def __repr__(self) -> str:
        return f"Failure{self._members()}"


class Denial:
    """A refusal: the first reason, everything that failed, and what the challenge must say."""

    __slots__ = ("acr_values", "failures", "max_age", "reason", "retry_after", "rule", "scope", "token")

    def __init__(
        self,
        reason: Reason,
        failures: tuple[Failure, ...] = (),
        rule: str | None = None,
        token: "ValidatedToken | None" = None,
        *,
        scope: tuple[str, ...] = (),
        acr_values: tuple[str, ...] = (),
        max_age: int | None = None,
        retry_after: int | None = None,
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

    def __repr__(self) -> str:
        return f"Denial({NAMES[self.reason]}, {self.failures}, rule={self.rule})"


class Denied(Exception):
    """Raised by a check that did not find its evidence. `authorizer` is the one place that catches it."""

    def __init__(self, reason: Reason, check: str = "", expected: str = "", presented: str = "") -> None:
        self.reason = reason
        self.failure = Failure(check or NAMES[reason], reason, expected, presented)

    def __str__(self) -> str:
        return NAMES[self.reason]

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The same failure, raised."""
        return cls(failure.reason, failure.check, failure.expected, failure.presented)
