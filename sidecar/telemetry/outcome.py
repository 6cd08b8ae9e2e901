"""The outcome of a request: a label of `requests_total`, of log lines and of the dashboard."""

from typing import Final, TypeAlias

from sidecar.decision.denial import NAMES, Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.telemetry.record import AuditRecord

Labels: TypeAlias = tuple[str, ...]
"""Rule, outcome and reason of one request, in this order. The length is open in the type only: compiled code keeps a
tuple of three as three values, and would make an object of them at each look-up.
"""

PERMIT: Final = "permit"
"""Forwarded, and the response was sent to the client; or a document of the sidecar's own was served."""
REPORT: Final = "report"
"""Forwarded only because the policy reports instead of enforcing; `reason` says what would have refused it."""
DENY: Final = "deny"
"""Refused because of the client: not authorized, or a faulty request."""
FAIL: Final = "fail"
"""No response of the upstream, and not because of the client: issuer, upstream, overload, internal error."""

NONE: Final = "none"
"""The label value if there is no rule or no reason."""

_FAILURES: Final = frozenset(
    reason.value
    for reason in (
        Reason.ISSUER_UNAVAILABLE,
        Reason.OVERLOADED,
        Reason.RULE_BUSY,
        Reason.AUDIT_UNAVAILABLE,
        Reason.UPSTREAM_REFUSED,
        Reason.UPSTREAM_BROKEN,
        Reason.UPSTREAM_TIMEOUT,
        Reason.SERVER_CREDENTIALS_REFUSED,
        Reason.ISSUED_TOKEN_UNBOUND,
        Reason.INTERNAL_ERROR,
    )
)


_PERMITTED: Final[dict[str, Labels]] = {}
"""Rule → the labels of its permitted requests: look-ups by the same object are faster. There are few rules."""


def outcome_of(record: AuditRecord) -> Labels:
    """Rule, outcome and reason of one request, in this order."""
    decision = record.decision
    reason = record.reason
    if isinstance(decision, Permit):
        rule = decision.rule.name
        if reason is None:
            if decision.would_deny is None:
                return _PERMITTED.get(rule) or _permitted(rule)
            return rule, REPORT, NAMES[decision.would_deny.reason]
    elif decision is None:
        rule = NONE
    else:
        rule = decision.rule or NONE
        reason = reason or decision.reason
    if reason is None and record.status:  # a document of the sidecar's own: no decision is made about it
        return rule, PERMIT, NONE
    if reason is None:  # ended without a decision and without a reason: an internal error
        return rule, FAIL, Reason.INTERNAL_ERROR.value
    name = NAMES[reason]
    return rule, FAIL if name in _FAILURES else DENY, name


def _permitted(rule: str) -> Labels:
    labels = _PERMITTED[rule] = (rule, PERMIT, NONE)
    return labels


def denial_of(record: AuditRecord) -> Denial | None:
    """The reason why the request was, or would be, refused."""
    decision = record.decision
    return decision.would_deny if isinstance(decision, Permit) else decision
