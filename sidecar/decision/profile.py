"""From what an issuer vouches for to a `ValidatedToken`: a JWT access token (RFC 9068 §4) or an introspection
response (RFC 7662 §2.2).

Only what never changes is settled here: types, presence, the issuer's name. Time, audience and binding are checked
on every request, in `authorizer`.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.decision import confirmation
from sidecar.decision.failure import Denied
from sidecar.decision.jose import VerifiedClaims
from sidecar.decision.policy import IssuerPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, numeric_date
from sidecar.decision.token import CONFIRMABLE, Claims, Confirmable, TokenDigest, ValidatedToken

_FOREVER = float("inf")


def validate(verified: VerifiedClaims, issuer: IssuerPolicy, digest: TokenDigest) -> ValidatedToken:
    """A JWT access token as RFC 9068 §4 wants it.

    Raises `Denied`: token_type_refused, issuer_unknown, claim_missing, claim_malformed.
    """
    # "The resource server MUST verify that the "typ" header value is "at+jwt" or "application/at+jwt" and reject
    # tokens carrying any other value." So an ID token never passes for an access token (RFC 8725 §3.12).
    if verified.type not in issuer.token_types:
        expected = " ".join(sorted(issuer.token_types))
        raise Denied(Reason.TOKEN_TYPE_REFUSED, "typ", expected, ascii(verified.type[:64]))
    claims = verified.claims
    for name in ("iss", "aud", "exp"):
        if name not in claims:
            raise Denied(Reason.CLAIM_MISSING, name, "present", "missing")
    return _token(claims, issuer.issuer, digest, verified.key, issuer.confirmable)


def introspected(
    response: Mapping[str, Any], issuer: str, digest: TokenDigest, confirmable: Confirmable = CONFIRMABLE
) -> ValidatedToken:
    """The token that an introspection response describes (RFC 7662 §2.2).

    `issuer` is the one that was asked. A response without `exp` holds until it is asked for again. Raises `Denied`
    (token_inactive, issuer_unknown, claim_malformed) for the token's fault, and `Malformed` for the issuer's: an
    `active` that is missing or not a boolean says nothing.
    """
    active = response.get("active")
    if type(active) is not bool:
        raise Malformed("active is not a boolean")
    if not active:
        raise Denied(Reason.TOKEN_INACTIVE, "active", "true", "false")
    return _token({"iss": issuer, **response}, issuer, digest, None, confirmable)


def _token(
    claims: Claims, issuer: str, digest: TokenDigest, key: object, confirmable: Confirmable
) -> ValidatedToken:
    # RFC 9068 §4: the issuer identifier "MUST exactly match the value of the "iss" claim".
    if claims["iss"] != issuer:
        raise Denied(Reason.ISSUER_UNKNOWN, "iss", issuer, "another issuer")
    expires_at = _time(claims, "exp")
    return ValidatedToken(
        issuer=issuer,
        subject=_string(claims, "sub"),
        client_id=_string(claims, "client_id"),
        audience=_audience(claims),
        scope=_scope(claims),
        expires_at=_FOREVER if expires_at is None else expires_at,
        not_before=_time(claims, "nbf"),
        issued_at=_time(claims, "iat"),
        confirmation=confirmation.parse(claims["cnf"], confirmable)
        if "cnf" in claims
        else confirmation.UNBOUND,
        token_id=_string(claims, "jti"),
        claims=claims,
        key_id=key,
        digest=digest,
    )


def _string(claims: Claims, name: str) -> str | None:
    value = claims.get(name)
    if type(value) is str:
        return value
    if name not in claims:
        return None
    raise Denied(Reason.CLAIM_MALFORMED, name, "a string", type(value).__name__)


def _time(claims: Claims, name: str) -> float | None:
    if name not in claims:
        return None
    try:
        return numeric_date(claims[name])
    except Malformed as problem:
        raise Denied(Reason.CLAIM_MALFORMED, name, "a NumericDate", str(problem)) from None


def _audience(claims: Claims) -> tuple[str, ...]:
    # RFC 7519 §4.1.3: an array of strings or, for one audience, the string itself.
    value = claims.get("aud", [])
    if type(value) is str:
        return (value,)
    if type(value) is list and all(type(one) is str for one in value):
        return tuple(value)
    raise Denied(Reason.CLAIM_MALFORMED, "aud", "a string or strings", type(value).__name__)


def _scope(claims: Claims) -> frozenset[str]:
    # RFC 8693 §4.2, RFC 7662 §2.2: one string of scope-tokens separated by spaces (RFC 6749 §3.3).
    value = _string(claims, "scope")
    return frozenset(value.split(" ")) - {""} if value else frozenset()
