"""Where an issuer's tokens say what RFC 9068 §2.2 gives names to: scopes and the client."""

from dataclasses import dataclass
from typing import Any, Final

from sidecar.decision.token import Claims


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The claims that are looked at, in order: the first that is present is the one, and never a union."""

    scope: tuple[str, ...] = ("scope",)
    """RFC 8693 §4.2; `scp` in the tokens of some."""
    client_id: tuple[str, ...] = ("client_id",)
    """RFC 8693 §4.3; `azp`, `cid` or `appid` in the tokens of some."""
    audience: str | None = None
    """The claim that takes the place of `aud` where there is none; None: nothing does."""


CLAIM_NAMES: Final = ClaimNames()


def found(claims: Claims, names: tuple[str, ...]) -> Any:
    """The value of the first claim that is present; null is absent, and None is the answer when none is present."""
    for name in names:
        value = claims.get(name)
        if value is not None:
            return value
    return None


def told(claims: Claims, names: ClaimNames, client_id: str | None) -> Claims:
    """The claims with what was found under the names that policies and identity headers know."""
    changed: dict[str, Any] = {}
    if names.client_id != CLAIM_NAMES.client_id and claims.get("client_id") != client_id:
        changed["client_id"] = client_id
    if names.scope != CLAIM_NAMES.scope and claims.get("scope") != found(claims, names.scope):
        changed["scope"] = found(claims, names.scope)
    return {**claims, **changed} if changed else claims
