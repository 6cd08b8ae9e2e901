"""Finds the one access token in a request, or says why there is none (RFC 6750 §2).

Only the `Authorization` field counts: FAPI 2.0 §5.3.4 forbids the query parameter, and a body is not read before
the decision.
"""

import re
from collections.abc import Container
from typing import Final

from sidecar.decision.access_token import AccessToken, TokenDigest
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.request import RequestHead

# RFC 6750 §2.1: credentials = "Bearer" 1*SP b64token; RFC 9110 §11.1: the scheme is case-insensitive.
_SCHEME: Final = "bearer"
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_EXPECTED: Final = "Authorization: Bearer"


def access_token(
    head: RequestHead, digest_key: bytes, limit: int, verified: Container[TokenDigest] = ()
) -> AccessToken:
    """The access token of a request.

    `limit` is in bytes. What is among `verified` was well-formed when it was verified, and is not looked through
    again. Raises `Denied`: credentials_missing, credentials_repeated, credentials_malformed, token_too_large,
    target_too_long.
    """
    fields = head.authorization
    if len(fields) != 1:
        raise _none_or_several(head)
    scheme, space, rest = fields[0].partition(" ")
    value = rest if rest[:1] != " " else rest.lstrip(" ")
    if not space or not value.isascii() or (scheme != "Bearer" and scheme.lower() != _SCHEME):
        raise _not_bearer(scheme)
    token = AccessToken(value, digest_key)
    if token.digest not in verified and not _B64TOKEN.fullmatch(value):
        raise _not_bearer(scheme)
    if head.query and "access_token" in head.query_names:
        # RFC 6750 §2: "Clients MUST NOT use more than one method to transmit the token in each request."
        raise Denied(Reason.CREDENTIALS_REPEATED, "credentials", "one method", "Authorization and the query")
    if len(value) > limit:
        raise Denied(Reason.TOKEN_TOO_LARGE, "credentials", f"at most {limit} bytes", f"{len(value)} bytes")
    return token


def _none_or_several(head: RequestHead) -> Denied:
    if head.authorization:
        count = len(head.authorization)
        return Denied(Reason.CREDENTIALS_REPEATED, "credentials", "one Authorization", f"{count} of them")
    return Denied(Reason.CREDENTIALS_MISSING, "credentials", _EXPECTED, "no Authorization")


def _not_bearer(scheme: str) -> Denied:
    scheme = scheme.lower()
    if scheme == _SCHEME:
        return Denied(
            Reason.CREDENTIALS_MALFORMED, "credentials", "Bearer, a space, a token", "something else"
        )
    # RFC 6750 §3.1 counts "an unsupported authentication method" with a request that lacks any authentication
    # information. So does the scheme DPoP: no token bound by `jkt` is accepted here, and none in another scheme.
    named = scheme if scheme in _SCHEMES else "another scheme"
    return Denied(Reason.CREDENTIALS_MISSING, "credentials", _EXPECTED, named)


_SCHEMES: Final = frozenset({"basic", "digest", "dpop", "negotiate", "mutual", "gnap"})
"""Registered schemes that may be named in a record; anything else could be a misplaced token."""
