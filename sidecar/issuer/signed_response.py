"""Signed introspection responses (RFC 9701): the issuer's signature protects the answer beyond the TLS connection."""

from collections.abc import Mapping
from typing import Any, Protocol

from sidecar.decision import jose
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.ports import IssuerUnavailable, KeySet
from sidecar.decision.strict import Malformed, numeric_date
from sidecar.decision.token import AccessToken
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import SignedResponse
from sidecar.issuer.http import FetchFailed

MEDIA_TYPE = "application/token-introspection+jwt"
_TYPE = "token-introspection+jwt"
_CURED_BY_NEW_KEYS = frozenset({Reason.KEY_UNKNOWN, Reason.SIGNATURE_INVALID})


class SigningKeys(Protocol):
    """The keys of the issuer that answered."""

    def current(self) -> KeySet:
        """Raises `IssuerUnavailable`."""

    async def refreshed(self, kid: str | None) -> KeySet:
        """Raises `IssuerUnavailable`."""


class SignedResponseVerifier:
    """Verifies a JWT that the issuer signed for us recently, and extracts the introspection response."""

    def __init__(
        self, settings: SignedResponse, issuer: str, client_id: str, keys: SigningKeys, clock: Clock
    ) -> None:
        self._algorithms = frozenset(jose.canonical_algorithm(name) for name in settings.algorithms)
        self._audience = settings.audience or client_id
        self._maximum_age = settings.maximum_age
        self._issuer = issuer
        self._keys = keys
        self._clock = clock

    async def verify(self, body: bytes) -> Mapping[str, Any]:
        """The `token_introspection` member (RFC 9701 §5). Raises `FetchFailed` (parse)."""
        try:
            verified = await self._verified(body)
        except (Denied, UnicodeDecodeError) as denied:
            raise _refused(f"the signed response does not verify: {denied}") from None
        except IssuerUnavailable as outage:
            raise _refused(f"no keys to verify the signed response with: {outage.phase}") from None
        # §5: "typ": "token-introspection+jwt". Without this check, another JWT of this issuer could be used (§8.1).
        if verified.type != _TYPE:
            raise _refused("the signed response has another typ")
        self._check(verified.claims)
        response = verified.claims.get("token_introspection")
        if not isinstance(response, dict):
            raise _refused("the signed response has no token_introspection")
        return response

    async def _verified(self, body: bytes) -> jose.VerifiedClaims:
        jws = jose.parse(AccessToken(body.decode("ascii").strip(), b""))
        try:
            return jose.verify(jws, self._algorithms, self._keys.current())
        except Denied as denied:
            if denied.reason not in _CURED_BY_NEW_KEYS:
                raise
        return jose.verify(jws, self._algorithms, await self._keys.refreshed(jws.kid))

    def _check(self, claims: Mapping[str, Any]) -> None:
        """RFC 9701 §5: iss, aud and iat are REQUIRED."""
        if claims.get("iss") != self._issuer:
            raise _refused("the signed response is another issuer's")
        audience = claims.get("aud")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise _refused("the signed response is for another audience")
        try:
            age = self._clock.wall() - numeric_date(claims.get("iat"))
        except Malformed:
            raise _refused("the signed response has no iat") from None
        if abs(age) > self._maximum_age:
            raise _refused("the signed response is not of now")


def _refused(detail: str) -> FetchFailed:
    return FetchFailed("parse", detail)
