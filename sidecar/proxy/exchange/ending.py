"""How an exchange ends: an answer of the sidecar's own, and exactly one audit record.

Only `finish` and `abandon` report the record, and every end calls one of them, so that a record is neither missing
nor duplicated.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.policy import Rule
from sidecar.http.answer import Answer
from sidecar.proxy.exchange.bounds import Bounds
from sidecar.proxy.exchange.occupancy import Full, Place
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.exchange.stream import NEVER, ClientStream
from sidecar.telemetry.record import AuditRecord

_seconds: Final[Callable[[], float]] = perf_counter
"""The clock of durations."""

ENDED_FOR: Final = {
    "token_expired": Reason.TOKEN_EXPIRED,
    "certificate_expired": Reason.CERTIFICATE_EXPIRED,
    "timeout": Reason.UPSTREAM_TIMEOUT,
}
"""Cause of an early end → the reason of the refusal, if no answer has begun."""


class Ending:
    """What every exchange has to produce: an answer and an audit record."""

    __slots__ = ("_serving", "_stream", "has_begun", "is_answered", "is_over", "place", "record", "started")

    def __init__(self, stream: ClientStream, serving: Serving) -> None:
        self.started = _seconds()
        self.record = AuditRecord(stream.presenter, serving.clock(), serving.next_id(), serving.generation)
        self.has_begun = False
        """The head of a final answer was sent."""
        self.is_answered = False
        """The answer is the sidecar's own; the rest of the request may still arrive."""
        self.is_over = False
        """The record is reported: the exchange is finished, or the client has disconnected."""
        self.place: Place | None = None
        """The place of the request under its rule, if the rule limits the number of concurrent requests."""
        self._stream = stream
        self._serving = serving

    def hindrance(self, rule: Rule, bounds: Bounds) -> tuple[Reason, str] | None:
        """The reason why a permitted request cannot be forwarded now: no time left, rule limit reached, or no place
        in the log.

        None if it can be forwarded; then it holds its places.
        """
        if rule.limits is not None:
            left = bounds.total_timeout - self.record.decision_seconds if bounds.total_timeout else NEVER
            if left <= 0:
                return Reason.ISSUER_UNAVAILABLE, "no decision in time"
            self._stream.expect_end(left)
            if bounds.concurrent_requests:
                try:
                    self.place = self._serving.occupancy.enter(rule.name, bounds.concurrent_requests)
                except Full:
                    return Reason.RULE_BUSY, f"{bounds.concurrent_requests} under way under this rule"
        if self._serving.places is not None:
            if not self._serving.places.reserve():
                return Reason.AUDIT_UNAVAILABLE, "the log has no place for another record"
            self.record.has_place = True
        return None

    def refuse(self, denial: Denial, detail: str) -> None:
        """End without a response of the upstream: answer with the denial."""
        record, answer = self.record, self._serving.answers.to(denial)
        record.reason, record.detail = denial.reason, detail
        if self.place is not None:
            self._leave_place()
        self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Send an answer of the sidecar's own."""
        self.record.status = answer.status
        self.has_begun = self.is_answered = True
        if self._stream.answer(answer, self.record.request_id):
            self.finish()

    def cut(self, reason: Reason, detail: str) -> None:
        """End a response that has begun and cannot be completed: the client must see that it is incomplete."""
        if not self.is_answered:  # what the client does after its answer does not change its reason
            self.record.reason, self.record.detail = reason, detail
        self._stream.cut()
        self.finish()

    def finish(self) -> None:
        """Finish: nothing more will happen, and the client has its answer."""
        if not self.is_over:
            self.is_over = True
            if self.place is not None:
                self._leave_place()
            self._stream.over()
            self._report()

    def abandon(self, cause: str) -> None:
        """The client has disconnected: nobody waits for the answer."""
        if not self.is_over:
            self.is_over = True
            record = self.record
            record.ended_by = record.ended_by or cause
            if record.decision is None and record.reason is None and not self.is_answered:
                # Before an answer, only an issuer is waited for, and it did not answer while the client waited.
                record.reason = Reason.ISSUER_UNAVAILABLE
            self._report()

    def _leave_place(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            place.leave()

    def _report(self) -> None:
        self.record.duration = _seconds() - self.started
        try:
            self._serving.observer.observe(self.record)
        except Exception as error:  # noqa: BLE001 — an observer's fault must not break the exchange
            self._serving.report_bug(error)
        if self.place is not None:
            self._leave_place()
