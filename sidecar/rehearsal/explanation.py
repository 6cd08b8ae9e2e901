"""One decision, watched and put into words; for the command line and for the admin page."""

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
"""The check that is assumed to pass when there are no keys."""
_OF_BINDING = frozenset({"cnf", "dpop"})
"""Families of checks that say whose the token is."""


def help_place(reason: Reason) -> str:
    """Where the documentation says who must act, and how."""
    return f"docs/troubleshooting.md#{reason.value}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was checked, what came of it, and why probably."""

    steps: Sequence[Step]
    decision: Permit | Denial | None
    """None when the sidecar itself answers, with one of its own documents."""
    answer: Answer | None
    """What the client gets; None when the request is forwarded."""
    diagnosis: Diagnosis | None
    """The probable mistake behind a thumbprint that does not match; or by how much a time is wrong."""
    bounds: Bounds | None
    """What bounds the exchange, when the request is forwarded."""
    stripped: tuple[str, ...] = ()
    """Headers that are not passed on, since they claim an identity and no listed proxy said it."""
    told: tuple[str, ...] = ()
    """Header fields by which an authorization server is told the client."""
    assumes_signature: bool = False
    """The signature was not verified, for want of keys; the rest was checked as if it were good."""
    protocol: str = HTTP1
    """In which the request comes, by its name in the handshake."""
    is_grpc: bool = False
    """It is a call of gRPC, and so is the answer."""

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
        """The value of `WWW-Authenticate`, when the answer carries one."""
        return self.answer.challenge if self.answer is not None else None

    @property
    def grpc_status(self) -> int | None:
        """What the caller of gRPC gets; 0 where the call is forwarded, and the API says. None: it is no call."""
        if not self.is_grpc:
            return None
        return 0 if self.answer is None else grpc.status(self.answer)

    @property
    def grpc_message(self) -> str | None:
        """`grpc-message`, as it is written; None where there is none."""
        return grpc.message(self.answer.said).decode("ascii") if self.is_grpc and self.answer else None

    @property
    def rule(self) -> str | None:
        """The rule that decided."""
        if isinstance(self.decision, Permit):
            return self.decision.rule.name
        return self.decision.rule if self.decision is not None else None

    def verdict(self, step: Step) -> str:
        """How a check came out: passed, failed, not reached, or assumed."""
        return "assumed" if self.assumes_signature and step.check == SIGNATURE else step.verdict.value

    def document(self) -> dict[str, Any]:
        """All of it, for machines. Holds claim values and never the token."""
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
    """Decide about one request at `now` (seconds since the epoch), watching.

    `reception` has received it. `others` are certificates that the token may have been bound to by mistake. `as_sent`
    is the request as its client sent it, when what was received has another token in the place of the one there.
    Raises `Unverifiable`.
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
    """No check was made: the request cannot be read, or it asks for a document of our own."""
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
    """What the token is really bound to, or how its proof was made, when a check of the binding failed."""
    # The members as the token has them, right or wrong; nothing else of an unverified token is looked at.
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
    """The claims of the first token in a request, not verified; empty when there are none."""
    parts = first_token(head).split(".") if head is not None else []
    try:
        return json_object(base64url(parts[1])) if len(parts) == 3 else {}
    except Malformed:
        return {}


def first_token(head: RequestHead) -> str:
    """The first token in a request; empty when there is none."""
    tokens = [field.partition(" ")[2].strip() for field in head.authorization]
    return next((token for token in tokens if token.count(".") == 2), "")
