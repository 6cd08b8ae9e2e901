"""How a refusal is said: `WWW-Authenticate` (RFC 6750 §3) and the problem details (RFC 9457).

Rules of this file: nothing that a client sent and nothing that a token says is ever repeated; what is said of a
reason is in one table.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from sidecar.decision.confirmation import METHODS
from sidecar.decision.denial import Denial, ErrorCode, Reason, shape

# RFC 6750 §3: error and error_description are %x20-21 / %x23-5B / %x5D-7E; scope leaves the space between tokens.
_OUTSIDE = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")

INVALID_CLIENT: Final = "Client authentication failed"
"""One sentence for all, so that nobody can find out which clients exist or what is registered for them."""

DESCRIPTIONS: dict[Reason, str] = {
    Reason.CREDENTIALS_MISSING: "An access token is required",
    Reason.CREDENTIALS_REPEATED: "More than one access token, or more than one way to present it",
    Reason.CREDENTIALS_MALFORMED: "The Authorization header is malformed",
    Reason.TOKEN_TOO_LARGE: "The access token is too large",
    Reason.TOKEN_MALFORMED: "The access token is malformed",
    Reason.TOKEN_ENCRYPTED: "Encrypted access tokens are not accepted",
    Reason.TOKEN_UNRECOGNISED: "The access token is of a kind that is not accepted here",
    Reason.TOKEN_TYPE_REFUSED: "The token is not an access token",
    Reason.TOKEN_EXPIRED: "The access token expired",
    Reason.TOKEN_NOT_YET_VALID: "The access token is not valid yet",
    Reason.TOKEN_INACTIVE: "The access token is not active",
    Reason.HEADER_REFUSED: "The header of the access token is not acceptable",
    Reason.ALGORITHM_REFUSED: "The signature algorithm of the access token is not accepted",
    Reason.KEY_UNKNOWN: "The access token is signed with an unknown key",
    Reason.SIGNATURE_INVALID: "The signature of the access token is invalid",
    Reason.ISSUER_UNKNOWN: "The issuer of the access token is not accepted",
    Reason.AUDIENCE_MISMATCH: "The access token is for another audience",
    Reason.CLAIM_MISSING: "The access token lacks a required claim",
    Reason.CLAIM_MALFORMED: "A claim of the access token is malformed",
    Reason.BINDING_MISSING: "The access token must be bound to the client certificate",
    Reason.CONFIRMATION_MALFORMED: "The confirmation claim of the access token is malformed",
    Reason.CONFIRMATION_UNSUPPORTED: "The access token is bound in a way that is not supported",
    Reason.ENDPOINT_UNKNOWN: "There is no endpoint of this name",
    Reason.FORM_MALFORMED: "The request is not a form of the type application/x-www-form-urlencoded",
    Reason.PARAMETER_REPEATED: "A parameter occurs more than once",
    Reason.CLIENT_ID_MISSING: "The parameter client_id is missing",
    Reason.CLIENT_ID_MISMATCH: "The client_id differs within the request, or is in the wrong place",
    Reason.CLIENT_AUTHENTICATION_REPEATED: "More than one way to authenticate the client",
    Reason.CLIENT_UNKNOWN: INVALID_CLIENT,
    Reason.CLIENT_METHOD_MISMATCH: INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_MISSING: INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_UNFIT: INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_EXPIRED: INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_MISMATCH: INVALID_CLIENT,
    Reason.CLIENT_CERTIFICATE_UNTRUSTED: INVALID_CLIENT,
    Reason.SERVER_CREDENTIALS_REFUSED: "The authorization server cannot be asked now",
    Reason.ISSUED_TOKEN_UNBOUND: "The authorization server issued a token that is not bound to the certificate",
    Reason.RULE_UNMATCHED: "Not allowed",
    Reason.SCOPE_INSUFFICIENT: "The access token lacks a required scope",
    Reason.AUTHENTICATION_INSUFFICIENT: "A stronger or more recent authentication is required",
    Reason.CONDITION_FAILED: "The access token or client certificate does not meet the conditions",
    Reason.REQUEST_MALFORMED: "The request is malformed",
    Reason.PATH_AMBIGUOUS: "The request path can be read in more than one way",
    Reason.VERSION_UNSUPPORTED: "The HTTP version is not supported",
    Reason.METHOD_REFUSED: "The method is not supported",
    Reason.GRPC_UNSUPPORTED: "The protected resource does not speak gRPC",
    Reason.EXPECTATION_FAILED: "The expectation cannot be met",
    Reason.TARGET_TOO_LONG: "The request target is too long",
    Reason.HEADER_TOO_LARGE: "The request header is too large",
    Reason.BODY_TOO_LARGE: "The request body is too large",
    Reason.REQUEST_TIMEOUT: "The request took too long to arrive",
    Reason.CERTIFICATE_HEADER_UNTRUSTED: "The client certificate field is not accepted from this peer",
    Reason.CERTIFICATE_HEADER_MALFORMED: "The field with the client certificate is malformed",
    Reason.CERTIFICATE_REFUSED: "The client certificate is not accepted",
    Reason.ISSUER_UNAVAILABLE: "The access token cannot be checked now",
    Reason.REPLAY_UNKNOWN: "It is unknown now whether the DPoP proof was used before",
    Reason.OVERLOADED: "Too many requests are waiting",
    Reason.RULE_BUSY: "Too many requests of this kind are in progress",
    Reason.AUDIT_UNAVAILABLE: "The request cannot be recorded now",
    Reason.UPSTREAM_REFUSED: "The protected resource is out of reach",
    Reason.UPSTREAM_BROKEN: "The protected resource broke off its answer",
    Reason.UPSTREAM_TIMEOUT: "The protected resource took too long",
    Reason.INTERNAL_ERROR: "Internal error",
}
for _method in METHODS.values():
    DESCRIPTIONS |= _method.reasons
"""What a client may be told of each reason."""

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
"""Reason phrases (RFC 9110 §15): the title of a problem of type `about:blank` (RFC 9457 §4.2.1)."""


def challenges(
    denial: Denial, realm: str | None = None, resource_metadata: str | None = None, *, disclose: bool = True
) -> list[str]:
    """The values of `WWW-Authenticate`, one for each scheme that is accepted; none when the answer carries none.

    `resource_metadata` is the URL of RFC 9728 §5.1. `disclose` adds `error_description`. RFC 9449 §7.1: the error
    stands in the challenge of the scheme that was used, and `algs` in that of DPoP.
    """
    row = shape(denial.reason)
    if not row.challenge:
        return []
    said: list[str] = []
    for scheme, algorithms in denial.schemes:
        parameters = [f"realm={quoted(realm)}"] if realm is not None else []
        if not said:
            parameters += _said(denial, row.error, disclose=disclose)
        if algorithms:
            parameters.append(f"algs={quoted(algorithms)}")
        if resource_metadata is not None:
            parameters.append(f"resource_metadata={quoted(resource_metadata)}")
        said.append(f"{scheme} {', '.join(parameters)}".rstrip())
    return said


def _said(denial: Denial, error: ErrorCode | None, *, disclose: bool) -> Iterator[str]:
    """What is wrong, and what would be right."""
    if error is not None:
        yield f'error="{error.value}"'
        if disclose:
            yield f'error_description="{DESCRIPTIONS[denial.reason]}"'
    if denial.reason is Reason.SCOPE_INSUFFICIENT and denial.scope:
        yield f'scope="{_printable(" ".join(denial.scope))}"'
    if denial.reason is Reason.AUTHENTICATION_INSUFFICIENT:
        # RFC 9470 §3
        if denial.acr_values:
            yield f'acr_values="{_printable(" ".join(denial.acr_values))}"'
        if denial.max_age is not None:
            yield f'max_age="{denial.max_age}"'


def problem(reason: Reason, request_id: str, *, disclose: bool = True, types: str | None = None) -> bytes:
    """The body of a refusal: `application/problem+json` (RFC 9457 §3), in UTF-8.

    `types` and the reason make the URI of the problem's type; a type of its own has a title of its own (§3.1.3).
    """
    status = shape(reason).status
    body: dict[str, object] = {"type": "about:blank", "title": TITLES[status], "status": status}
    if disclose and types is not None:
        body |= {"type": f"{types}{reason.value}", "title": DESCRIPTIONS[reason]}
    if disclose:
        body |= {"detail": DESCRIPTIONS[reason], "reason": reason.value}
    return json.dumps(body | {"request_id": request_id}).encode()


def quoted(text: str) -> str:
    """A quoted-string (RFC 9110 §5.6.4) of printable ASCII; what is neither is left out."""
    kept = re.sub(r"[^\x20-\x7E]", "", text)
    return '"' + re.sub(r'(["\\])', r"\\\1", kept) + '"'


def _printable(text: str) -> str:
    return _OUTSIDE.sub("", text)
