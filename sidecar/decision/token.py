"""What an access token is, before and after it is verified. The two never share a type.

`AccessToken` is the opaque string a client sent; `ValidatedToken` is what an issuer vouches for. Only
`decision.jose` and `decision.profile` turn the first into the second.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.decision.access_token import AccessToken, TokenDigest
from sidecar.decision.failure import Failure

__all__ = ["UNBOUND", "AccessToken", "Claims", "Confirmation", "TokenDigest", "ValidatedToken"]

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Confirmation:
    """The `cnf` claim (RFC 7800 §3): how a presenter confirms that the token is theirs.

    `members` maps each member's name to its decoded value; empty means that the token is not bound, unless
    `refusal` is set.
    """

    members: Mapping[str, bytes]
    """`x5t#S256` → 32 bytes."""
    refusal: Failure | None = None
    """Why nobody can confirm this `cnf`: it is malformed, or has a member that is not verified here."""

    @property
    def is_bound(self) -> bool:
        """Whether the token asks its presenter for proof of possession, in whatever way."""
        return bool(self.members) or self.refusal is not None


UNBOUND: Final = Confirmation({})


@dataclass(frozen=True, slots=True, eq=False)
class ValidatedToken:
    """A token whose signature was verified, or which its issuer called active: facts that do not change.

    What changes with time, rule or connection (expiry, audience, binding) is checked against these facts on
    every request, on a cache hit too.
    """

    issuer: str
    subject: str | None
    client_id: str | None
    audience: tuple[str, ...]
    scope: frozenset[str]
    expires_at: float
    """`exp`, seconds since the epoch."""
    not_before: float | None
    issued_at: float | None
    confirmation: Confirmation
    token_id: str | None
    """`jti`."""
    claims: Claims = field(repr=False)
    """The whole verified claims set, or introspection response."""
    key_id: Hashable = None
    """Identity of the verification key, for eviction when the key leaves the key set; None if introspected."""
    digest: TokenDigest = field(default=TokenDigest(b""), repr=False)
    renderings: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    """Header blocks that the data plane made from this token; they die with it."""
    lines: dict[str, str] = field(default_factory=dict, repr=False)
    """What telemetry made of this token's constants; it dies with the token."""
