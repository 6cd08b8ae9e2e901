"""Who would break: per client, what report-only rules let pass that they will refuse one day."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sidecar.decision.permit import Permit
from sidecar.decision.policy import Policy
from sidecar.telemetry.access import bounded
from sidecar.telemetry.outcome import PERMIT, REPORT, denial_of
from sidecar.telemetry.record import AuditRecord

MOST = 1000
"""Clients remembered per process; later ones are counted as one."""
OTHERS = "(others)"


@dataclass(slots=True)
class Client:
    """What one client did under one report-only rule."""

    rule: str
    client: str
    """`client_id`, else the certificate's subject."""
    passing: int = 0
    """Requests that enforcement would let through."""
    failing: dict[str, int] = field(default_factory=dict)
    """Reason → requests that enforcement would refuse."""
    last_failed: float = 0.0
    """Seconds since the epoch."""


class Adoption:
    """Counts per rule and client."""

    def __init__(self) -> None:
        self.rules: AbstractSet[str] = frozenset()
        """Rules that report instead of enforcing."""
        self.clients: dict[tuple[str, str], Client] = {}

    def adopt(self, policy: Policy, now: float) -> None:
        """A policy comes into force: forget the rules that no longer report."""
        issuers = [one.report_only for one in policy.issuers.values()]
        everywhere = any(one is not None and one.until > now for one in (policy.report_only, *issuers))
        self.rules = frozenset(
            rule.name
            for rule in policy.rules
            if not rule.public
            and (everywhere or (rule.report_only is not None and rule.report_only.until > now))
        )
        self.clients = {key: one for key, one in self.clients.items() if one.rule in self.rules}

    def count(self, record: AuditRecord, labels: tuple[str, str, str]) -> None:
        """One request under a report-only rule is over."""
        rule, outcome, reason = labels
        if outcome == PERMIT:
            self._client(rule, record).passing += 1
        elif outcome == REPORT:
            client = self._client(rule, record)
            client.failing[reason] = client.failing.get(reason, 0) + 1
            client.last_failed = record.started

    def _client(self, rule: str, record: AuditRecord) -> Client:
        key = (rule, _name(record))
        found = self.clients.get(key)
        if found is None:
            if len(self.clients) >= MOST:
                key = (rule, OTHERS)
            found = self.clients.setdefault(key, Client(*key))
        return found


def _name(record: AuditRecord) -> str:
    decision = record.decision
    token = decision.token if isinstance(decision, Permit) else None
    if token is None:
        refused = denial_of(record)
        token = refused.token if refused is not None else None
    if token is not None and (token.client_id or token.subject):
        return bounded(token.client_id or token.subject or "")
    certificate = record.presenter.client_certificate
    return bounded(certificate.subject) if certificate is not None else "(unknown)"
