"""What was checked, in what order, by which clause, and how it came out.

A `Trace` is handed to the running decision, which tells it of every check that passed; nothing is checked twice or
elsewhere for the sake of an explanation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sidecar.decision.condition import CLAUSES as CONDITIONS
from sidecar.decision.condition import Condition
from sidecar.decision.confirmation import METHODS
from sidecar.decision.diagnosis import Diagnosis, diagnose_thumbprint
from sidecar.decision.facts import Facts
from sidecar.decision.failure import Failure

__all__ = ["CLAUSES", "STAGES", "Diagnosis", "Step", "Trace", "Verdict", "clause", "diagnose_thumbprint"]

CLAUSES: Mapping[str, str] = {
    "request": "RFC 9110 §2",
    "request.certificate": "RFC 9440 §2",
    "rule": "the policy",
    "path": "RFC 3986 §6",
    "public": "the policy",
    "credentials": "RFC 6750 §2.1",
    "token": "RFC 7515 §7.1",
    "header": "RFC 7515 §4",
    "payload": "RFC 7519 §7.2",
    "crit": "RFC 7515 §4.1.11",
    "b64": "RFC 7797 §3",
    "iss": "RFC 9068 §4",
    "alg": "RFC 8725 §3.1",
    "kid": "RFC 7515 §4.1.4",
    "signature": "RFC 7515 §5.2",
    "typ": "RFC 9068 §4",
    "active": "RFC 7662 §2.2",
    "exp": "RFC 9068 §4",
    "nbf": "RFC 7519 §4.1.5",
    "iat": "RFC 7519 §4.1.6",
    "aud": "RFC 9068 §4",
    "sub": "RFC 9068 §2.2",
    "client_id": "RFC 9068 §2.2",
    "jti": "RFC 9068 §2.2",
    "issuer": "RFC 9110 §15.6.4",
    "cnf": "RFC 7800 §3.1",
    **{f"cnf.{member}": method.clause for member, method in METHODS.items()},
    **{name: clause for method in METHODS.values() for name, clause, _ in method.checks},
    "certificate.not_after": "RFC 5280 §4.1.2.5",
    "scope": "RFC 6750 §3.1",
}
"""The clause behind each check of every token, by its name or by what stands before the first dot of it. A condition
brings its own.
"""

STAGES = (
    ("rule", "path"),
    ("credentials",),
    ("token", "header", "payload", "crit", "b64"),
    ("iss", "issuer"),
    ("signature", "alg", "kid", "active"),
    ("typ",),
    ("exp", "nbf", "iat", "sub", "client_id", "jti"),
    ("aud",),
    ("cnf", "certificate", "dpop"),
    ("scope",),
)
"""What every token goes through, in order; each stage goes by its first name. All failures of the last two are
collected, those before end the decision.
"""


class Verdict(Enum):
    """How a check came out."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Step:
    """One check."""

    check: str
    clause: str
    """The RFC and section, or `the policy`."""
    expected: str
    presented: str
    verdict: Verdict


@dataclass(slots=True)
class Trace:
    """Records one decision. Its steps hold claim values: they are for whoever holds the token already."""

    steps: list[Step] = field(default_factory=list)
    as_sent: str | None = None
    """The token as it was sent, where another stands for it: a proof is for that one."""

    def restart(self) -> None:
        """The issuer was asked and the same checks run again."""
        self.steps.clear()

    def passed(self, check: str, expected: str, presented: str) -> None:
        """A check found its evidence."""
        self.steps.append(Step(check, clause(check), expected, presented, Verdict.PASSED))

    def failed(self, failure: Failure) -> None:
        """A check did not."""
        step = Step(failure.check, clause(failure.check), failure.expected, failure.presented, Verdict.FAILED)
        self.steps.append(step)

    def watching(self, condition: Condition) -> Condition:
        """The same condition; each time it is asked, this is told how it came out."""
        return _Watched(condition, self)

    def complete(self) -> list[Step]:
        """Every step and, after the one that ended the decision, the stages that it never came to."""
        failed = [_stage(step.check) for step in self.steps if step.verdict is Verdict.FAILED]
        rest = STAGES[failed[0] + 1 :] if failed and failed[0] < _COLLECTED else ()
        return self.steps + [Step(name, clause(name), "", "", Verdict.NOT_REACHED) for name, *_ in rest]


class _Watched(Condition):
    """A condition that tells how it came out."""

    def __init__(self, condition: Condition, trace: Trace) -> None:
        self._condition = condition
        self._trace = trace

    @property
    def check(self) -> str:
        return self._condition.check

    def failure(self, facts: Facts) -> Failure | None:
        failure = self._condition.failure(facts)
        if failure is None:
            self._trace.passed(self.check, str(self._condition), "as expected")
        else:
            self._trace.failed(failure)
        return failure


_COLLECTED = len(STAGES) - 2


def _stage(check: str) -> int:
    name = check.partition(".")[0]
    if name == "request":
        return -1  # it could not be read: no stage was reached
    return next((at for at, names in enumerate(STAGES) if name in names), len(STAGES))


def clause(check: str) -> str:
    """The clause behind a check."""
    subject = check.partition(".")[0]
    return CLAUSES.get(check) or CLAUSES.get(subject) or CONDITIONS.get(subject, "the policy")
