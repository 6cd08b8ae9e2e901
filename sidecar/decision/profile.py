"""From what an issuer vouches for to a `ValidatedToken`: a JWT access token (RFC 9068 §4) or an introspection
response (RFC 7662 §2.2).

Only what never changes is settled here: types, presence, the issuer's name. Time, audience and binding are checked
on every request, in `authorizer`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sidecar.decision import confirmation
from sidecar.decision.claim_names import CLAIM_NAMES, ClaimNames, found, told
from sidecar.decision.confirmable import CONFIRMABLE, Confirmable
from sidecar.decision.failure import Denied
from sidecar.decision.jose import VerifiedClaims
from sidecar.decision.policy import IssuerPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, numeric_date
from sidecar.decision.token import Claims, TokenDigest, ValidatedToken

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
    for name in ("iss", "exp"):
        if name not in claims:
            raise Denied(Reason.CLAIM_MISSING, name, "present", "missing")
    token = _token(
        claims, issuer.issuer, digest, verified.key, confirmable=issuer.confirmable, names=issuer.claim_names
    )
    if not token.audience and token.claims.get("aud") is None and not issuer.audience_missing:
        raise Denied(Reason.CLAIM_MISSING, "aud", " ".join(sorted(issuer.audience)), "no audience")
    return token


def introspected(
    response: Mapping[str, Any],
    issuer: str,
    digest: TokenDigest,
    confirmable: Confirmable = CONFIRMABLE,
    names: ClaimNames = CLAIM_NAMES,
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
    return _token({"iss": issuer, **response}, issuer, digest, None, confirmable=confirmable, names=names)


def agreed(token: ValidatedToken, vouched: ValidatedToken, issuer: IssuerPolicy) -> ValidatedToken:
    """What a signed token and its issuer's answer about it say together: of scopes those that both have. What the
    answer does not mention, it leaves as it is. Raises `Denied` (token_inactive) when they speak of different tokens.
    """
    names = issuer.claim_names
    if _differ(token.client_id, vouched.client_id):
        raise _another("client_id")
    if issuer.same_subject and _differ(token.subject, vouched.subject):
        raise _another("sub")
    if found(vouched.claims, names.scope) is None or token.scope <= vouched.scope:
        return token
    scope = token.scope & vouched.scope
    claims = {**token.claims, "scope": " ".join(sorted(scope))}
    return replace(token, scope=scope, claims=claims, renderings={}, lines={})


def _differ(signed: str | None, answered: str | None) -> bool:
    return signed is not None and answered is not None and signed != answered


def _another(name: str) -> Denied:
    return Denied(Reason.TOKEN_INACTIVE, name, "the one that the token names", "another, says the issuer")


def _token(
    claims: Claims,
    issuer: str,
    digest: TokenDigest,
    key: object,
    *,
    confirmable: Confirmable,
    names: ClaimNames,
) -> ValidatedToken:
    # RFC 9068 §4: the issuer identifier "MUST exactly match the value of the "iss" claim".
    if claims["iss"] != issuer:
        raise Denied(Reason.ISSUER_UNKNOWN, "iss", issuer, _shown(claims["iss"]))
    if "exp" in claims and claims["exp"] is None:
        raise Denied(Reason.CLAIM_MALFORMED, "exp", "a NumericDate", "null")
    expires_at = _time(claims, "exp")
    client_id = _name(found(claims, names.client_id))
    return ValidatedToken(
        issuer=issuer,
        subject=_name(claims.get("sub")),
        client_id=client_id,
        audience=_audience(claims, names),
        scope=_scope(found(claims, names.scope)),
        expires_at=_FOREVER if expires_at is None else expires_at,
        not_before=_time(claims, "nbf"),
        issued_at=_time(claims, "iat"),
        confirmation=confirmation.parse(claims["cnf"], confirmable)
        if "cnf" in claims
        else confirmation.UNBOUND,
        token_id=_name(claims.get("jti")),
        claims=told(claims, names, client_id),
        key_id=key,
        digest=digest,
    )


def _name(value: object) -> str | None:
    """A name as text: integers as JSON has them. Any other value names nobody: a check that needs the name fails, and
    no other.
    """
    if type(value) is str:
        return value
    return str(value) if type(value) is int else None


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        return numeric_date(value)
    except Malformed as problem:
        raise Denied(Reason.CLAIM_MALFORMED, name, "a NumericDate", str(problem)) from None


def _audience(claims: Claims, names: ClaimNames) -> tuple[str, ...]:
    # RFC 7519 §4.1.3: an array of strings or, for one audience, the string itself.
    name, value = "aud", claims.get("aud")
    if value is None and names.audience is not None:
        name, value = names.audience, claims.get(names.audience)
    if value is None:
        return ()
    if type(value) is str:
        return (value,)
    if type(value) is list and all(type(one) is str for one in value):
        return tuple(value)
    raise Denied(Reason.CLAIM_MALFORMED, name, "a string or strings", type(value).__name__)


def _scope(value: object) -> frozenset[str]:
    """RFC 8693 §4.2, RFC 7662 §2.2: one string of scope-tokens separated by spaces (RFC 6749 §3.3); many servers write
    a list of them. Any other value grants nothing.
    """
    if type(value) is str:
        return frozenset(value.split(" ")) - {""}
    if type(value) is list and all(type(one) is str for one in value):
        return frozenset(value)
    return frozenset()


def _shown(value: object) -> str:
    return f"another issuer: {ascii(value)[1:-1][:200]}" if type(value) is str else "no issuer"
