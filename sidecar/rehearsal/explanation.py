"""One decision, observed and described as text; for the command line and for the admin page."""

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sidecar.authorizer import Authorizer
from sidecar.decision.certificate import Certificate
from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.confirmation import METHODS
from sidecar.decision.denial import Denial
from sidecar.decision.diagnosis import Diagnosis
from sidecar.decision.explanation import Step, Trace
from sidecar.decision.permit import Permit
from sidecar.decision.policy import RuleLimits
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import Malformed, base64url, json_object
from sidecar.http import grpc
from sidecar.http.answer import Answer
from sidecar.proxy.configuration import HTTP1
from sidecar.proxy.exchange.bounds import Bounds
from sidecar.rehearsal.moments import untimely
from sidecar.rehearsal.request import Received, Reception

SIGNATURE = "signature"
"""The check that is assumed to pass if there are no keys."""
_OF_BINDING = frozenset({"cnf", "dpop"})
"""Groups of checks about the binding of the token."""


def help_place(reason: Reason) -> str:
    """The section of the documentation that says who must act, and how."""
    return f"docs/troubleshooting.md#{reason.value}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The checks, the result, and its probable cause."""

    steps: Sequence[Step]
    decision: Permit | Denial | None
    """None if the sidecar itself answers, with one of its own documents."""
    answer: Answer | None
    """The answer to the client; None if the request is forwarded."""
    diagnosis: Diagnosis | None
    """The probable mistake behind a thumbprint that does not match, or the error of a time."""
    bounds: Bounds | None
    """The limits of the exchange, if the request is forwarded."""
    stripped: tuple[str, ...] = ()
    """Headers that are not forwarded, since they claim an identity and no listed proxy sent them."""
    told: tuple[str, ...] = ()
    """Header fields that tell an authorization server the client."""
    assumes_signature: bool = False
    """The signature was not verified, because keys are missing; the rest was checked as if it were valid."""
    protocol: str = HTTP1
    """The protocol of the request, by its ALPN name."""
    is_grpc: bool = False
    """The request is a gRPC call, so the answer is gRPC too."""

    @property
    def is_permit(self) -> bool:
        """Whether the request is forwarded."""
        return isinstance(self.decision, Permit)

    @property
    def is_refused(self) -> bool:
        """Whether the client is refused."""
        return isinstance(self.decision, Denial)

    @property
    def denial(self) -> Denial | None:
        """The refusal; or the one that the policy only reports."""
        return self.decision.would_deny if isinstance(self.decision, Permit) else self.decision

    @property
    def challenge(self) -> str | None:
        """The value of `WWW-Authenticate`, if the answer has one."""
        return self.answer.challenge if self.answer is not None else None

    @property
    def grpc_status(self) -> int | None:
        """The gRPC status; 0 if the call is forwarded and the API decides it. None: not a gRPC call."""
        if not self.is_grpc:
            return None
        return 0 if self.answer is None else grpc.status(self.answer)

    @property
    def grpc_message(self) -> str | None:
        """`grpc-message` as encoded; None if there is none."""
        return grpc.message(self.answer.said).decode("ascii") if self.is_grpc and self.answer else None

    @property
    def rule(self) -> str | None:
        """The rule that decided."""
        if isinstance(self.decision, Permit):
            return self.decision.rule.name
        return self.decision.rule if self.decision is not None else None

    def verdict(self, step: Step) -> str:
        """The result of a check: passed, failed, not reached, or assumed."""
        return "assumed" if self.assumes_signature and step.check == SIGNATURE else step.verdict.value

    def document(self) -> dict[str, Any]:
        """The explanation as data. Contains claim values, but not the token."""
        denial = self.denial
        return {
            "permit": self.is_permit,
            "answered_here": self.decision is None,
            "rule": self.rule,
            "status": 200 if self.answer is None else self.answer.status,
            "protocol": self.protocol,
            "grpc_status": self.grpc_status,
            "grpc_message": self.grpc_message,
            "reason": None if denial is None else denial.reason.value,
            "detail": None if denial is None else DESCRIPTIONS[denial.reason],
            "help": None if denial is None else help_place(denial.reason),
            "signature_assumed": self.assumes_signature,
            "would_deny": self.is_permit and denial is not None,
            "challenge": self.challenge,
            "diagnosis": None
            if self.diagnosis is None
            else {"mistake": self.diagnosis.mistake, "sentence": self.diagnosis.sentence},
            "stripped_headers": list(self.stripped),
            "told_headers": list(self.told),
            "limits": None if self.bounds is None else asdict(self.bounds),
            "steps": [
                {
                    "check": step.check,
                    "clause": step.clause,
                    "expected": step.expected,
                    "presented": step.presented,
                    "verdict": self.verdict(step),
                }
                for step in self.steps
            ],
        }


async def explain(
    authorizer: Authorizer,
    reception: Reception,
    received: Received,
    presenter: Presenter,
    now: float,
    *,
    others: Sequence[Certificate] = (),
    as_sent: RequestHead | None = None,
) -> Explanation:
    """Decide one request at `now` (seconds since the epoch), and observe the decision.

    `reception` has received it. `others` are certificates to which the token may have been bound by mistake.
    `as_sent` is the client's request, if the token was replaced in the received one. Raises `Unverifiable`.
    """
    received, presenter = reception.identified(received, presenter, now)
    head = received.head
    trace = Trace(as_sent=None if as_sent is None else first_token(as_sent))
    if head is None:
        found = _undecided(received, reception, trace)
        return replace(found, protocol=presenter.protocol, is_grpc=received.is_grpc)
    decision = authorizer.authorize(head, presenter, now, trace)
    if inspect.isawaitable(decision):
        decision = await decision
    permitted, decision = decision, reception.outcome(received, decision)
    if isinstance(decision, Denial) and decision is not permitted:
        trace.failed(decision.failures[0])
    return Explanation(
        steps=trace.complete(),
        decision=decision,
        answer=reception.answers.to(decision) if isinstance(decision, Denial) else None,
        diagnosis=_diagnosis(as_sent or head, presenter, _denial(decision), others)
        or untimely(_denial(decision), now),
        bounds=reception.bounds.under(decision.rule.limits or RuleLimits())
        if isinstance(decision, Permit)
        else None,
        stripped=tuple([name.decode("latin-1") for name, _ in received.fields.claims]),
        protocol=presenter.protocol,
        is_grpc=received.is_grpc,
    )


def _undecided(received: Received, reception: Reception, trace: Trace) -> Explanation:
    """No check was made: the request is invalid, or it is for a document of the sidecar's own."""
    denial = received.denial
    if denial is None:
        return Explanation((), None, received.document, None, None)
    for failure in denial.failures:
        trace.failed(failure)
    return Explanation(trace.complete(), denial, reception.answers.to(denial), None, None)


def _denial(decision: Permit | Denial) -> Denial | None:
    return decision.would_deny if isinstance(decision, Permit) else decision


def _diagnosis(
    head: RequestHead, presenter: Presenter, denial: Denial | None, others: Sequence[Certificate]
) -> Diagnosis | None:
    """The real binding of the token, or how its proof was made, if a check of the binding failed."""
    # The members of the unverified token, valid or not; nothing else of it is read.
    confirmation = unverified_claims(head).get("cnf")
    if denial is None or not isinstance(confirmation, dict):
        return None
    failed = [one for one in denial.failures if one.check.partition(".")[0] in _OF_BINDING]
    for failure in failed:
        for name, method in METHODS.items():
            found = method.diagnose(confirmation.get(name), failure, head, presenter, others)
            if found is not None:
                return found
    return None


def unverified_claims(head: RequestHead | None) -> dict[str, Any]:
    """The claims of the first token in a request, not verified; empty if there are none."""
    parts = first_token(head).split(".") if head is not None else []
    try:
        return json_object(base64url(parts[1])) if len(parts) == 3 else {}
    except Malformed:
        return {}


def first_token(head: RequestHead) -> str:
    """The first token in a request; empty if there is none."""
    tokens = [field.partition(" ")[2].strip() for field in head.authorization]
    return next((token for token in tokens if token.count(".") == 2), "")
