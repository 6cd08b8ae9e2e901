"""What a condition is that a rule may set beyond scope, issuer and binding. One frozen dataclass each.

A condition owns everything that is to be said of it: its clause, the captures of the path that it takes values from,
where it stands in a rule, and what it adds to a challenge. Who checks, explains or reviews conditions names none.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

from sidecar.decision.facts import Facts
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason
from sidecar.decision.strict import Malformed, numeric_date

__all__ = ["CLAUSES", "AuthenticationContext", "BoundBy", "Condition", "Facts"]

CLAUSES: Final[dict[str, str]] = {}
"""Subject of a condition → the clause behind it, of every kind of condition that was imported."""


class Condition(ABC):
    """One thing a rule requires. `failure` may answer None for "holds" because its one caller collects what
    failed; every other check raises. Its `str` says what is expected.
    """

    __slots__ = ()

    subject: ClassVar[str] = ""
    """Where it stands in a rule's `require`, and how its name in records begins."""
    clause: ClassVar[str] = ""
    """The RFC and section that it comes from, or `the policy`."""
    names_holder: ClassVar[bool] = False
    """Whether it relies on what a certificate says of its holder."""
    acr_values: tuple[str, ...] = ()
    """What a challenge asks for when it fails (RFC 9470 §3)."""
    max_age: int | None = None
    """Seconds; what a challenge asks for when it fails (RFC 9470 §3)."""

    def __init_subclass__(cls) -> None:
        if cls.subject:
            CLAUSES[cls.subject] = cls.clause

    @property
    @abstractmethod
    def check(self) -> str:
        """Its name in records and explanations."""

    @property
    def captures(self) -> frozenset[str]:
        """The captures of the path that it takes values from; the rule's template must have them all."""
        return frozenset()

    @property
    def place(self) -> tuple[str, ...]:
        """Its place in a rule's `require`."""
        return (self.subject,)

    @abstractmethod
    def failure(self, facts: Facts) -> Failure | None:
        """What did not hold, or None."""


@dataclass(frozen=True, slots=True)
class AuthenticationContext(Condition):
    """How and how recently the user was authenticated (RFC 9470 §4, §5)."""

    acr_values: tuple[str, ...] = ()
    """One of these must be `acr`; empty: any will do."""
    max_age: int | None = None
    """The most seconds since `auth_time`; None: no matter."""

    subject = "authentication_context"
    clause = "RFC 9470 §5"

    @property
    def check(self) -> str:
        """The same for every instance."""
        return self.subject

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


@dataclass(frozen=True, slots=True)
class BoundBy(Condition):
    """The token is bound by each of these members of `cnf`: a key alone satisfies no rule that was written for
    certificates.
    """

    members: tuple[str, ...]

    subject = "confirmation"
    clause = "RFC 7800 §3.1"

    @property
    def check(self) -> str:
        """The same for every instance."""
        return self.subject

    def failure(self, facts: Facts) -> Failure | None:
        """The members that are there; whether they are confirmed is another check, of every token."""
        bound_by = facts.token.confirmation.members
        if bound_by.keys() >= set(self.members):
            return None
        return Failure(self.check, Reason.BINDING_MISSING, str(self), " ".join(bound_by) or "no cnf")

    def __str__(self) -> str:
        return " and ".join(self.members)
