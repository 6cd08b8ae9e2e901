"""How an exchange ends: its answer when that is not the upstream's, and its one audit record.

Each way out goes through `finish` or `abandon`, which alone report the record, so that none can forget it or do it
twice.
"""

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

ENDED_FOR: Final = {
    "token_expired": Reason.TOKEN_EXPIRED,
    "certificate_expired": Reason.CERTIFICATE_EXPIRED,
    "timeout": Reason.UPSTREAM_TIMEOUT,
}
"""Why what is under way ends → the reason of its refusal, where no answer has begun."""


class Ending:
    """What an exchange owes its client and its operator."""

    __slots__ = ("_serving", "_stream", "has_begun", "is_answered", "is_over", "place", "record", "started")

    def __init__(self, stream: ClientStream, serving: Serving) -> None:
        self.started = perf_counter()
        self.record = AuditRecord(stream.presenter, serving.clock(), serving.next_id(), serving.generation)
        self.has_begun = False
        """The head of a final answer has gone out."""
        self.is_answered = False
        """The answer is one of our own; the rest of the request may still be on its way."""
        self.is_over = False
        """Reported: finished, or the client is gone."""
        self.place: Place | None = None
        """Among the requests that may be under way under the rule, where the rule says how many."""
        self._stream = stream
        self._serving = serving

    def hindrance(self, rule: Rule, bounds: Bounds) -> tuple[Reason, str] | None:
        """Why a permitted request cannot be forwarded now: no time, no room under its rule, no place in the log.

        None when it can; then it has its places.
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
        """No response of the upstream will come of this."""
        record, answer = self.record, self._serving.answers.to(denial)
        record.reason, record.detail = denial.reason, detail
        if self.place is not None:
            self._leave_place()
        self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Answer for ourselves."""
        self.record.status = answer.status
        self.has_begun = self.is_answered = True
        if self._stream.answer(answer, self.record.request_id):
            self.finish()

    def cut(self, reason: Reason, detail: str) -> None:
        """The response has begun and cannot be completed: the client must see that it is not whole."""
        if not self.is_answered:  # what the client does after its answer does not change its reason
            self.record.reason, self.record.detail = reason, detail
        self._stream.cut()
        self.finish()

    def finish(self) -> None:
        """Nothing more will happen, and the client has what it gets."""
        if not self.is_over:
            self.is_over = True
            if self.place is not None:
                self._leave_place()
            self._stream.over()
            self._report()

    def abandon(self, cause: str) -> None:
        """The client is gone: nobody waits for the answer."""
        if not self.is_over:
            self.is_over = True
            record = self.record
            record.ended_by = record.ended_by or cause
            if record.decision is None and record.reason is None and not self.is_answered:
                # Only an issuer's answer is waited for, and there was none for as long as the client would wait.
                record.reason = Reason.ISSUER_UNAVAILABLE
            self._report()

    def _leave_place(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            place.leave()

    def _report(self) -> None:
        if self.place is not None:
            self._leave_place()
        self.record.duration = perf_counter() - self.started
        try:
            self._serving.observer.observe(self.record)
        except Exception as error:  # noqa: BLE001 — an observer's fault must not break the exchange
            self._serving.report_bug(error)
