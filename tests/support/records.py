"""Audit records of made-up requests, and a telemetry that writes to a file."""

import json
from pathlib import Path
from typing import Any

from sidecar.decision.confirmation import Confirmed
from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.matching import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter
from sidecar.decision.token import UNBOUND, Confirmation, ValidatedToken
from sidecar.telemetry.configuration import Format, LoggingSettings
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.observer import Telemetry
from sidecar.telemetry.record import AuditRecord
from sidecar.telemetry.sink import LineSink
from tests.support.pki import Identity

STARTED = 1_800_000_000.25
RULE = Rule("read-accounts", RequestMatch(path="/accounts/**"))


def token(
    client_id: str | None = "client-1", bound_to: bytes | None = None, **changes: Any
) -> ValidatedToken:
    """A verified token of client-1 for alice."""
    facts: dict[str, Any] = {
        "issuer": "https://as.example.com",
        "subject": "alice",
        "client_id": client_id,
        "audience": ("https://api.example.com",),
        "scope": frozenset({"accounts:read"}),
        "expires_at": STARTED + 300,
        "not_before": None,
        "issued_at": STARTED,
        "confirmation": Confirmation({"x5t#S256": bound_to}) if bound_to else UNBOUND,
        "token_id": "jti-1",
        "claims": {},
    }
    return ValidatedToken(**facts | changes)


def presenter(identity: Identity | None = None, peer: str = "192.0.2.7:50000") -> Presenter:
    """A connection to the listener `main`."""
    certificate = identity.presented if identity is not None else None
    return Presenter(certificate, "main", peer)


def permit(
    validated: ValidatedToken | None = None, would_deny: Denial | None = None, rule: Rule = RULE
) -> Permit:
    return Permit(rule, validated or token(), (Confirmed("x5t#S256"),), STARTED + 300, would_deny)


def denial(
    reason: Reason = Reason.BINDING_MISMATCH, *failures: Failure, rule: str | None = RULE.name
) -> Denial:
    return Denial(reason, failures or (Failure("cnf.x5t#S256", reason, "AAAA", "BBBB"),), rule, token())


def record(decision: Permit | Denial | None = None, **changes: Any) -> AuditRecord:
    """One request that is over: permitted unless told otherwise."""
    facts: dict[str, Any] = {
        "presenter": presenter(),
        "started": STARTED,
        "request_id": "request-1",
        "generation": 3,
        "method": "GET",
        "path": "/accounts/1",
        "host": "api.example.com",
        "decision": decision or permit(),
        "reason": decision.reason if isinstance(decision, Denial) else None,
        "status": 401 if isinstance(decision, Denial) else 200,
        "bytes_out": 512,
        "decision_seconds": 0.00002,
        "upstream_seconds": 0.0012,
        "duration": 0.0015,
    }
    facts |= changes
    over = AuditRecord(*[facts.pop(name) for name in ("presenter", "started", "request_id", "generation")])
    for name, value in facts.items():
        setattr(over, name, value)
    return over


class RecordedTelemetry:
    """A telemetry whose lines go to a file that can be read back."""

    def __init__(self, folder: Path, format: Format = Format.JSON, **logging: Any) -> None:  # noqa: A002
        self.path = folder / "lines.log"
        self.sink = LineSink(path=self.path)
        self.metrics = Metrics()
        self.now = STARTED
        """The wall clock."""
        self.monotonic = 1000.0
        self.journal = Journal(self.sink, format, clock=lambda: self.now)
        self.telemetry = Telemetry(
            self.metrics,
            self.journal,
            LoggingSettings(**logging),
            clock=lambda: self.now,
            monotonic=lambda: self.monotonic,
        )

    def pass_time(self, seconds: float) -> None:
        """Time passes, on both clocks; `now` alone may be set as well."""
        self.now += seconds
        self.monotonic += seconds

    def text(self) -> str:
        """Everything written; the sink is closed."""
        self.sink.close(20)
        return self.path.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Every line as JSON; the sink is closed."""
        return [json.loads(line) for line in self.text().splitlines()]
