"""How a request to an authorization server's endpoint is refused (RFC 6749 §5.2): JSON with an `error`.

Rules of this file: a client that is not authenticated gets the same sentence whatever the reason is. Which clients
exist, and what is registered for them, stands only in the record.
"""

import json
from enum import Enum
from typing import Final

from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.denial import Denial, shape
from sidecar.decision.reason import Reason

BASIC: Final[tuple[tuple[str, str], ...]] = (("Basic", ""),)
"""`Denial.schemes` of a client that tried to authenticate by `Authorization`: 401 names the scheme (RFC 6749 §5.2)."""


class TokenErrorCode(Enum):
    """The `error` values of RFC 6749 §5.2 (and, of a server that failed, §4.1.2.1)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    SERVER_ERROR = "server_error"


CODES: Final = {
    Reason.FORM_MALFORMED: TokenErrorCode.INVALID_REQUEST,
    Reason.PARAMETER_REPEATED: TokenErrorCode.INVALID_REQUEST,
    Reason.CLIENT_ID_MISSING: TokenErrorCode.INVALID_REQUEST,
    Reason.CLIENT_ID_MISMATCH: TokenErrorCode.INVALID_REQUEST,
    Reason.CLIENT_AUTHENTICATION_REPEATED: TokenErrorCode.INVALID_REQUEST,
    Reason.CLIENT_UNKNOWN: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_METHOD_MISMATCH: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_MISSING: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_UNFIT: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_EXPIRED: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_MISMATCH: TokenErrorCode.INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_UNTRUSTED: TokenErrorCode.INVALID_CLIENT,
    Reason.SERVER_CREDENTIALS_REFUSED: TokenErrorCode.SERVER_ERROR,
    Reason.ISSUED_TOKEN_UNBOUND: TokenErrorCode.SERVER_ERROR,
}
"""The reasons that are answered so; the others are answered as everywhere."""


def is_challenged(denial: Denial) -> bool:
    """Whether the answer is 401 with `WWW-Authenticate: Basic` (RFC 6749 §5.2): only for a client that sent
    `Authorization`. Client libraries take any other 401 for something that it is not.
    """
    return CODES.get(denial.reason) is TokenErrorCode.INVALID_CLIENT and denial.schemes == BASIC


def status(denial: Denial) -> int:
    """The HTTP status code."""
    return 401 if is_challenged(denial) else shape(denial.reason).status


def body(reason: Reason, request_id: str, *, disclose: bool = True) -> bytes:
    """The body, in UTF-8. `disclose`: say what is wrong with the request. Raises `KeyError` for another reason."""
    said: dict[str, object] = {"error": CODES[reason].value}
    if disclose or CODES[reason] is TokenErrorCode.INVALID_CLIENT:
        said["error_description"] = DESCRIPTIONS[reason]
    return json.dumps(said | {"request_id": request_id}).encode()
