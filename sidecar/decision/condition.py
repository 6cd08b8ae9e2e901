"""The conditions that a rule may set beyond scope, issuer and binding. One frozen dataclass each."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from sidecar.decision.facts import Facts
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, numeric_date

__all__ = ["AuthenticationContext", "Condition", "Facts"]


class Condition(Protocol):
    """One thing a rule requires. `failure` may answer None for "holds" because its one caller collects what
    failed; every other check raises. Its `str` says what is expected.
    """

    @property
    def check(self) -> str:
        """Its name in records and explanations."""

    def failure(self, facts: Facts) -> Failure | None:
        """What did not hold, or None."""


@dataclass(frozen=True, slots=True)
class AuthenticationContext:
    """How and how recently the user was authenticated (RFC 9470 §4, §5)."""

    acr_values: tuple[str, ...] = ()
    """One of these must be `acr`; empty: any will do."""
    max_age: int | None = None
    """The most seconds since `auth_time`; None: no matter."""

    check: ClassVar[str] = "authentication_context"

    def failure(self, facts: Facts) -> Failure | None:
        """RFC 9470 §5: the resource server determines whether the authentication event meets its requirements."""
        claims = facts.token.claims
        if self.acr_values and claims.get("acr") not in self.acr_values:
            return self._failed("acr is another, or there is none")
        if self.max_age is None:
            return None
        try:
            age = facts.now - numeric_date(claims.get("auth_time"))
        except Malformed:
            return self._failed("auth_time is missing or no NumericDate")
        return self._failed(f"{age:.0f} s ago") if age > self.max_age else None

    def _failed(self, presented: str) -> Failure:
        return Failure(self.check, Reason.AUTHENTICATION_INSUFFICIENT, str(self), presented)

    def __str__(self) -> str:
        context = [f"acr {' or '.join(self.acr_values)}"] if self.acr_values else []
        age = [f"at most {self.max_age} s ago"] if self.max_age is not None else []
        return ", ".join(context + age)
