"""The conditions that a rule may set beyond scope, issuer and binding. One frozen dataclass each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sidecar.decision.denial import Failure, Reason
from sidecar.decision.request import ClientCertificate, RequestHead
from sidecar.decision.strict import Malformed, numeric_date
from sidecar.decision.token import ValidatedToken


@dataclass(slots=True)
class Facts:
    """Everything a condition may look at."""

    head: RequestHead
    token: ValidatedToken
    client_certificate: ClientCertificate | None
    captures: Mapping[str, str]
    now: float
    """Seconds since the epoch."""


class Condition(Protocol):
    """One thing a rule requires. `failure` may answer None for "holds" because `authorizer` is its one caller
    and collects what failed; every other check raises.
    """

    def failure(self, facts: Facts) -> Failure | None:
        """What did not hold, or None."""


@dataclass(frozen=True, slots=True)
class AuthenticationContext:
    """How and how recently the user was authenticated (RFC 9470 §4, §5)."""

    acr_values: tuple[str, ...] = ()
    """One of these must be `acr`; empty: any will do."""
    max_age: int | None = None
    """The most seconds since `auth_time`; None: no matter."""

    def failure(self, facts: Facts) -> Failure | None:
        """RFC 9470 §5: the resource server determines whether the authentication event meets its requirements."""
        claims = facts.token.claims
        if self.acr_values and claims.get("acr") not in self.acr_values:
            expected = " ".join(self.acr_values)
            return Failure("acr", Reason.AUTHENTICATION_INSUFFICIENT, expected, "another or none")
        if self.max_age is None:
            return None
        expected = f"at most {self.max_age} s ago"
        try:
            age = facts.now - numeric_date(claims.get("auth_time"))
        except Malformed:
            return Failure("auth_time", Reason.AUTHENTICATION_INSUFFICIENT, expected, "no NumericDate")
        if age > self.max_age:
            return Failure("auth_time", Reason.AUTHENTICATION_INSUFFICIENT, expected, f"{age:.0f} s ago")
        return None
