"""How an exchange ends when the upstream's answer is not its end: refusals, faults of whoever, answers of our own.

Each way out goes through `_finish` or `abandon`, which alone report the audit record, so that none can forget it or do
it twice.
"""

from time import perf_counter
from typing import TYPE_CHECKING, Final

from sidecar.decision.denial import Denial, Reason
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.message import Request
from sidecar.proxy import refusal
from sidecar.proxy.exchange.occupancy import Place
from sidecar.proxy.exchange.tunnel import Tunnel
from sidecar.proxy.upstream.connection import UpstreamConnection
from sidecar.telemetry.record import AuditRecord

if TYPE_CHECKING:
    from sidecar.proxy.client.connection import ClientConnection
    from sidecar.proxy.exchange.snapshot import Serving

_DISCARDED_BODY: Final = 65536
"""A refused body of up to this size is read and thrown away, which is cheaper than a new TLS handshake."""


class Answerable:
    """A request to which there is one answer, and one audit record."""

    # Attributes that start the same for all stand on the class: setting them on each instance costs more.
    abandoned = False
    """Over, or the client is gone: nobody waits for an answer."""
    tunnel: Tunnel | None = None
    _upstream: UpstreamConnection | None = None
    _request_bytes = 0
    _head_sent = False
    _refused = False
    _place: Place | None = None
    """Among the requests that may be under way under the rule, where the rule says how many."""

    def __init__(self, client: "ClientConnection", request: Request, serving: "Serving") -> None:
        self.client = client
        self.request = request
        self.started = perf_counter()
        self.record = AuditRecord(client.presenter, serving.clock(), serving.next_id(), serving.generation)
        self.keep_alive = request.keep_alive
        self._serving = serving
        self._fields = RequestFields()

    @property
    def is_over(self) -> bool:
        """Whether what comes late comes to nothing: there was an answer, or nobody waits for one."""
        return self.abandoned or self._refused

    def _serve_document(self, document: Answer) -> None:
        """One of the sidecar's own documents (RFC 9728)."""
        record, client = self.record, self.client
        self.keep_alive = keep = self.keep_alive and self._body_is_harmless() and client.may_continue()
        record.status, record.bytes_out = document.status, len(document.beginning)
        self._head_sent = self._refused = True
        client.write(refusal.render(document, record.request_id, self.request, close=not keep))
        self._after_own_answer(keep=keep)

    def _after_own_answer(self, *, keep: bool) -> None:
        if keep and not self.request.complete:
            # The rest of the body is read and thrown away (`request_arrived`).
            self.client.release_reading()
            self.client.expect_answer(self._serving.timeouts.idle)
        else:
            self._finish()

    def fail(self, reason: Reason, detail: str) -> None:
        """No (whole) response will come of this, for a reason that is no decision."""
        if self._head_sent:
            self._cut(reason, detail)
        else:
            self._refuse(Denial(reason), detail)

    def broke(self, error: Exception) -> None:
        """A fault of ours: 500 where that can still be said, and never a pass."""
        self.client.server.report_bug(error)
        if not self.abandoned:
            self.fail(Reason.INTERNAL_ERROR, "")

    def _refuse(self, denial: Denial, detail: str) -> None:
        record, request, client = self.record, self.request, self.client
        answer = self._serving.answers.to(denial)
        record.reason, record.detail, record.status = denial.reason, detail, answer.status
        self._refused = True
        self._drop_upstream()
        if self._place is not None:
            self._leave_place()
        keep = self.keep_alive and not answer.closes and self._body_is_harmless() and client.may_continue()
        self.keep_alive = keep
        self._head_sent = True
        client.write(refusal.render(answer, record.request_id, request, close=not keep))
        self._after_own_answer(keep=keep)

    def _body_is_harmless(self) -> bool:
        request = self.request
        if request.complete:
            return not request.upgrade
        length = request.content_length
        return length is not None and length <= _DISCARDED_BODY and not self._fields.expect

    def _cut(self, reason: Reason, detail: str) -> None:
        """The response has begun and cannot be completed: the client must see that it is not whole."""
        if not self._refused:  # a client that is slow after its answer does not change why it got it
            self.record.reason, self.record.detail = reason, detail
        self._drop_upstream()
        self.keep_alive = False
        self.client.abort()
        self._finish()

    def abandon(self, cause: str = "client") -> None:
        """The client is gone: nobody waits for the answer."""
        if not self.abandoned:
            self.abandoned = True
            self.record.ended_by = self.record.ended_by or cause
            if self.record.decision is None and not self._refused:
                # Only an issuer's answer is waited for, and there was none for as long as the client would wait.
                self.record.reason = Reason.ISSUER_UNAVAILABLE
            if self.tunnel is not None:
                self.record.bytes_in, self.record.bytes_out = self.tunnel.bytes_in, self.tunnel.bytes_out
                upstream, self._upstream = self._upstream, None
                if upstream is not None:
                    # What the client sent before it left is still the upstream's.
                    upstream.finish_writing()
            self._drop_upstream()
            self._report()
            self.tunnel = None

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()

    def _finish(self) -> None:
        if not self.abandoned:
            self.abandoned = True
            self._report()
            self.client.exchange_over(self)
            self.tunnel = None  # it refers to us, and nobody should have to wait for the collector

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()

    def _report(self) -> None:
        record = self.record
        if self._place is not None:
            self._leave_place()
        if not record.upgraded:
            record.bytes_in = self._request_bytes
        record.duration = perf_counter() - self.started
        self._serving.observer.observe(record)
