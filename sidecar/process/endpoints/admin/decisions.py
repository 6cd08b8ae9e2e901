"""A finished request as the admin page shows it: what its log line says, and the checks it went through."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.denial import Denial
from sidecar.decision.explanation import STAGES, Verdict, clause
from sidecar.decision.permit import Permit
from sidecar.entry.authorization_server import RULE
from sidecar.telemetry.access import AccessLine, bounded, incomplete
from sidecar.telemetry.live import Entry
from sidecar.telemetry.outcome import Labels, denial_of
from sidecar.telemetry.record import AuditRecord

Decision = dict[str, Any]

_COLLECTED = len(STAGES) - 2
"""From this stage on failures are collected; before it, the first one ends the decision."""


def described(entries: Iterable[Entry]) -> list[Decision]:
    """Each request as JSON: the members of its log line, its number and its steps."""
    line = AccessLine()
    return [
        {"number": number, **_described(line, record, labels), "sentence": _sentence(record)}
        for number, record, labels in entries
    ]


def _described(line: AccessLine, record: AuditRecord, labels: Labels) -> Decision:
    try:
        return {**json.loads(line.render(record, labels)), "steps": list(steps(record))}
    except Exception:  # noqa: BLE001 — one record must not take the others from the page; the log has told of it
        return {**json.loads(incomplete(record, labels)), "steps": []}


def _sentence(record: AuditRecord) -> str:
    denial = denial_of(record)
    reason = record.reason or (denial.reason if denial is not None else None)
    return DESCRIPTIONS[reason] if reason is not None else ""


def steps(record: AuditRecord) -> Iterator[dict[str, str]]:
    """What was checked, in order, as far as the record tells."""
    decision, denial = record.decision, denial_of(record)
    if decision is None:
        yield _step("request", Verdict.FAILED, "clean HTTP", record.detail)
        return
    rule = decision.rule.name if isinstance(decision, Permit) else decision.rule or ""
    if rule.startswith(RULE):
        yield from _client_steps(record, denial)
    elif isinstance(decision, Permit) and decision.token is None:
        yield _step("rule", Verdict.PASSED, "a rule that fits", rule)
        yield _step("public", Verdict.PASSED, "no token needed", "")
    else:
        yield from _token_steps(denial, rule)
    if record.reason is not None and not isinstance(decision, Denial):
        yield _step("upstream", Verdict.FAILED, "an answer in full", record.detail or record.reason.value)


def _client_steps(record: AuditRecord, denial: Denial | None) -> Iterator[dict[str, str]]:
    """Those of a request to an authorization server's endpoint (RFC 8705 §2)."""
    notes = record.client
    for one in denial.failures if denial is not None else ():
        yield _step(one.check, Verdict.FAILED, one.expected, one.presented)
    if denial is None and notes is not None:
        yield _step("client", Verdict.PASSED, notes.method, notes.matched or notes.client_id)
    if notes is not None and notes.issued:
        is_bound = notes.issued in ("bound", "jkt")
        verdict = Verdict.PASSED if is_bound else Verdict.FAILED
        yield _step(
            "issued token", verdict, "bound to the client certificate", notes.issued_detail or notes.issued
        )


def _token_steps(denial: Denial | None, rule: str) -> Iterator[dict[str, str]]:
    failures = denial.failures if denial is not None else ()
    failed = {_stage(one.check) for one in failures}
    last = min(failed, default=len(STAGES))
    ended = last if last < _COLLECTED else len(STAGES)
    for number, (name, *_) in enumerate(STAGES):
        if number in failed:
            for one in failures:
                if _stage(one.check) == number:
                    yield _step(one.check, Verdict.FAILED, one.expected, one.presented)
        elif number < ended:
            yield _step(name, Verdict.PASSED, "", rule if name == "rule" else "")
        else:
            yield _step(name, Verdict.NOT_REACHED, "", "")
    for one in failures:
        if _stage(one.check) == len(STAGES):
            yield _step(one.check, Verdict.FAILED, one.expected, one.presented)


def _stage(check: str) -> int:
    name = check.partition(".")[0]
    return next((number for number, names in enumerate(STAGES) if name in names), len(STAGES))


def _step(check: str, verdict: Verdict, expected: str, presented: str) -> dict[str, str]:
    return {
        "check": bounded(check),
        "clause": clause(check),
        "verdict": verdict.value,
        "expected": bounded(expected),
        "presented": bounded(presented),
    }
