"""Finds the one access token in a request, or says why there is none (RFC 6750 §2).

Only the `Authorization` field counts: FAPI 2.0 §5.3.4 forbids the query parameter, and a body is not read before
the decision.
"""

import re
from collections.abc import Container, Mapping
from typing import Final

from sidecar.decision.access_token import AccessToken, LastPresented, TokenDigest
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead

# RFC 6750 §2.1: credentials = "Bearer" 1*SP b64token; RFC 9449 §7.1 the same with "DPoP"; RFC 9110 §11.1: the scheme
# is case-insensitive.
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_EXPECTED: Final = "Authorization: Bearer"
BEARER: Final[Mapping[str, str]] = {"bearer": "Bearer"}
"""Schemes that are accepted: in lower case → as registered."""


def access_token(
    head: RequestHead,
    digest_key: bytes,
    limit: int,
    verified: Container[TokenDigest] = (),
    schemes: Mapping[str, str] = BEARER,
) -> AccessToken:
    """The access token of a request.

    `limit` is in bytes, `schemes` are those that some issuer accepts. What is among `verified` was well-formed when
    it was verified, and is not looked through again. Raises `Denied`: credentials_missing, credentials_repeated,
    credentials_malformed, token_too_large, target_too_long.
    """
    fields = head.authorization
    if len(fields) != 1:
        raise _none_or_several(head)
    scheme, space, rest = fields[0].partition(" ")
    value = rest if rest[:1] != " " else rest.lstrip(" ")
    if scheme != "Bearer" or "bearer" not in schemes:
        scheme = _accepted(scheme, schemes)
    if not space or not value.isascii():
        raise _malformed(scheme)
    token = AccessToken(value, digest_key, scheme)
    if token.digest not in verified and not _B64TOKEN.fullmatch(value):
        raise _malformed(scheme)
    if head.query:
        _check_query(head)
    if len(value) > limit:
        raise Denied(Reason.TOKEN_TOO_LARGE, "credentials", f"at most {limit} bytes", f"{len(value)} bytes")
    return token


class TokenReader:
    """Finds the access tokens of requests, by one digest key, one limit and one set of schemes."""

    __slots__ = ("_digest_key", "_limit", "_mark", "_schemes", "_verified")

    def __init__(
        self, digest_key: bytes, limit: int, verified: Container[TokenDigest], schemes: Mapping[str, str]
    ) -> None:
        """As for `access_token`."""
        self._digest_key = digest_key
        self._limit = limit
        self._verified = verified
        self._schemes = schemes
        self._mark = object()
        """Stands for this reader where it must not be kept alive."""

    def read(self, head: RequestHead, presenter: Presenter) -> AccessToken:
        """As `access_token`, without reading again what `presenter` presented last. Raises `Denied`."""
        last, fields = presenter.last_presented, head.authorization
        if last is not None and len(fields) == 1 and last.is_of(fields[0], self._mark):
            if head.query:
                _check_query(head)
            return last.token
        return access_token(head, self._digest_key, self._limit, self._verified, self._schemes)

    def remember(self, head: RequestHead, presenter: Presenter, token: AccessToken) -> None:
        """Keep what `head` presented, `token`, until `presenter` presents another or is idle.

        Only for a token that was verified before: values that are refused must not fill the memory.
        """
        value = head.authorization[0]
        if LastPresented.may_hold(value, token):
            presenter.last_presented = LastPresented(value, token, self._mark)


def _check_query(head: RequestHead) -> None:
    if "access_token" in head.query_names:
        # RFC 6750 §2: "Clients MUST NOT use more than one method to transmit the token in each request."
        raise Denied(Reason.CREDENTIALS_REPEATED, "credentials", "one method", "Authorization and the query")


def _none_or_several(head: RequestHead) -> Denied:
    if head.authorization:
        count = len(head.authorization)
        return Denied(Reason.CREDENTIALS_REPEATED, "credentials", "one Authorization", f"{count} of them")
    return Denied(Reason.CREDENTIALS_MISSING, "credentials", _EXPECTED, "no Authorization")


def _accepted(scheme: str, schemes: Mapping[str, str]) -> str:
    """The scheme as registered; raises `Denied` (credentials_missing) for one that nobody accepts here."""
    lower = scheme.lower()
    if lower in schemes:
        return schemes[lower]
    # RFC 6750 §3.1 counts "an unsupported authentication method" with a request that lacks any authentication
    # information.
    named = lower if lower in _SCHEMES else "another scheme"
    raise Denied(Reason.CREDENTIALS_MISSING, "credentials", _EXPECTED, named)


def _malformed(scheme: str) -> Denied:
    return Denied(
        Reason.CREDENTIALS_MALFORMED, "credentials", f"{scheme}, a space, a token", "something else"
    )


_SCHEMES: Final = frozenset({"basic", "bearer", "digest", "dpop", "negotiate", "mutual", "gnap", "mtls_pop"})
"""Schemes that may be named in a record; anything else could be a misplaced token."""
