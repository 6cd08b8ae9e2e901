"""Why a request is refused: the closed list of reasons. Every way to refuse a request is a `Reason`."""

from enum import Enum
from typing import Final


class ErrorCode(Enum):
    """The `error` values of a challenge (RFC 6750 §3.1, RFC 9470 §3, RFC 9449 §12.2)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 — an OAuth error code, not a password
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INSUFFICIENT_USER_AUTHENTICATION = "insufficient_user_authentication"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"
    USE_DPOP_NONCE = "use_dpop_nonce"


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
    SCHEME_MISMATCH = "scheme_mismatch"
    # The proof (RFC 9449 §4.3)
    PROOF_MISSING = "proof_missing"
    PROOF_REPEATED = "proof_repeated"
    PROOF_MALFORMED = "proof_malformed"
    PROOF_ALGORITHM_REFUSED = "proof_algorithm_refused"
    PROOF_KEY_REFUSED = "proof_key_refused"
    PROOF_KEY_MISMATCH = "proof_key_mismatch"
    PROOF_METHOD_MISMATCH = "proof_method_mismatch"
    PROOF_TARGET_MISMATCH = "proof_target_mismatch"
    PROOF_TOKEN_MISMATCH = "proof_token_mismatch"  # noqa: S105 — a reason, not a password
    PROOF_NONCE_REQUIRED = "proof_nonce_required"
    PROOF_EXPIRED = "proof_expired"
    PROOF_NOT_YET_VALID = "proof_not_yet_valid"
    PROOF_SIGNATURE_INVALID = "proof_signature_invalid"
    PROOF_REPLAYED = "proof_replayed"
    # The request to an authorization server's endpoint (RFC 6749 §3.2)
    ENDPOINT_UNKNOWN = "endpoint_unknown"
    FORM_MALFORMED = "form_malformed"
    PARAMETER_REPEATED = "parameter_repeated"
    # The client that sends it (RFC 6749 §2.3, RFC 8705 §2)
    CLIENT_ID_MISSING = "client_id_missing"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    CLIENT_AUTHENTICATION_REPEATED = "client_authentication_repeated"
    CLIENT_UNKNOWN = "client_unknown"
    CLIENT_METHOD_MISMATCH = "client_method_mismatch"
    CLIENT_CERTIFICATE_MISSING = "client_certificate_missing"
    CLIENT_CERTIFICATE_UNFIT = "client_certificate_unfit"
    CLIENT_CERTIFICATE_EXPIRED = "client_certificate_expired"
    CLIENT_CERTIFICATE_MISMATCH = "client_certificate_mismatch"
    CLIENT_CERTIFICATE_UNTRUSTED = "client_certificate_untrusted"
    # What the authorization server did with it
    SERVER_CREDENTIALS_REFUSED = "server_credentials_refused"
    ISSUED_TOKEN_UNBOUND = "issued_token_unbound"  # noqa: S105 — a reason, not a password
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
    GRPC_UNSUPPORTED = "grpc_unsupported"
    EXPECTATION_FAILED = "expectation_failed"
    TARGET_TOO_LONG = "target_too_long"
    HEADER_TOO_LARGE = "header_too_large"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    # The client certificate in a header field (RFC 9440)
    CERTIFICATE_HEADER_UNTRUSTED = "certificate_header_untrusted"
    CERTIFICATE_HEADER_MALFORMED = "certificate_header_malformed"
    CERTIFICATE_REFUSED = "certificate_refused"
    # Others than the client
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    REPLAY_UNKNOWN = "replay_unknown"
    OVERLOADED = "overloaded"
    RULE_BUSY = "rule_busy"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL_ERROR = "internal_error"

    # Members are singletons, so identity hashing suffices; the `__hash__` of `Enum` is written in Python and slow.
    __hash__ = object.__hash__


NAMES: Final = {reason: reason.value for reason in Reason}
"""Reason → its name. `value` is a property written in Python, too slow to be read for each refusal."""
