"""One condition that did not hold, as a value (`Failure`) and as it is raised (`Denied`)."""

from typing import Self

from sidecar.decision.reason import NAMES, Reason


class Failure:
    """One condition that did not hold, for the audit record and `explain`; never for the client.

    Treat as immutable, as a `Denial`. No dataclass: an attack must not cost more than what is permitted.
    """

    __slots__ = ("check", "expected", "presented", "reason")

    def __init__(self, check: str, reason: Reason, expected: str = "", presented: str = "") -> None:
        self.check = check
        """What was checked, by its name in the policy or the RFC: `scope`, `claims.tenant`, `cnf.x5t#S256`."""
        self.reason = reason
        self.expected = expected
        """What the policy or the token asks for."""
        self.presented = presented
        """What came; a claim's value only where the policy says that it may be logged."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def _members(self) -> tuple[str, str, str, str]:
        return self.check, NAMES[self.reason], self.expected, self.presented

    def __repr__(self) -> str:
        return f"Failure{self._members()}"


class Denied(Exception):
    """Raised by a check that did not find its evidence. `authorizer` and `entry` make a `Denial` of it."""

    def __init__(self, reason: Reason, check: str = "", expected: str = "", presented: str = "") -> None:
        self.reason = reason
        self.failure = Failure(check or NAMES[reason], reason, expected, presented)

    def __str__(self) -> str:
        return NAMES[self.reason]

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The same failure, raised."""
        return cls(failure.reason, failure.check, failure.expected, failure.presented)
