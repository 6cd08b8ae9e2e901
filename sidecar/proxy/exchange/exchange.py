"""One request: head → decision → forward or refuse → exactly one audit record.

Theory of operation. Three sources drive an exchange, always on the event loop and never re-entered. The wire reports
more of the request (`request_arrived`), the authorizer decides (`_decided`; at once if all it needs is in memory), and
the upstream connection reports more of the response. `Ending` handles how it ends. Only `_forward` writes to the
upstream, and its first argument is the `Permit`.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import RequestHead
from sidecar.http import intake
from sidecar.http.fields import RequestFields, trailers
from sidecar.http.http2_request import Http2Request
from sidecar.http.lines import NO_FIELDS, NO_TRAILERS
from sidecar.http.message import Fault, Field, Request, Response
from sidecar.http.response_fields import sort_response
from sidecar.proxy.exchange.ending import ENDED_FOR, Ending
from sidecar.proxy.exchange.snapshot import BoundsInForce, Serving
from sidecar.proxy.exchange.stream import NEVER, ClientStream
from sidecar.proxy.exchange.tunnel import Tunnel, objection_to
from sidecar.proxy.upstream import http1_writer, http2_writer
from sidecar.proxy.upstream.connection import Passenger, UpstreamConnection

Decision = Permit | Denial
_seconds: Final[Callable[[], float]] = perf_counter
"""The clock of durations."""


class Exchange(Passenger):
    """One request and its response."""

    # Attributes with a common initial value are class attributes: setting them on each instance costs more.
    awaits_continue = False
    """The client waits for 100 before it sends its body (RFC 9110 §10.1.1)."""
    valid_until = NEVER
    """Seconds since the epoch: when the token or certificate that permits this exchange expires."""
    tunnel: Tunnel | None = None
    bounds: BoundsInForce
    """Set when the rule is known; without a rule nothing is forwarded."""
    _head: RequestHead | None = None
    _upstream: UpstreamConnection | None = None
    _replay: bytes | None = None
    """The request head, kept while it may have to be sent again."""
    _fields: list[Field] | None = None
    """The same for an upstream that speaks HTTP/2; None: it is made from the head."""
    _body_limit = 0
    is_sent = False
    """The whole request was sent to the upstream."""
    _tries = 0
    _nonce: str | None = None
    _asked_to_upgrade = False
    _has_waited = False
    """The decision was not made at once: what it permits may have ended meanwhile."""
    _dispatched = 0.0

    def __init__(self, stream: ClientStream, request: Request, serving: Serving) -> None:
        self.stream = stream
        self.request = request
        self.ending = ending = Ending(stream, serving)
        self.record = ending.record
        self._serving, self._lowers, self.fields = serving, isinstance(request, Http2Request), RequestFields()

    @property
    def is_over(self) -> bool:
        """Whether later events are ignored: the answer is complete, or nobody waits for one."""
        return self.ending.is_over or self.ending.is_answered

    @property
    def source(self) -> str:
        """The source of the request, for limits on shared resources."""
        return self.record.presenter.source

    # --- the request ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Decide: the head is complete."""
        head = self._received()
        if isinstance(head, Fault):
            self.fail(head.reason, head.detail)
            return
        serving, record, self._head = self._serving, self.record, head
        record.path, record.host = head.path, head.host
        if head.path in serving.documents and head.method in ("GET", "HEAD"):
            document = serving.documents[head.path]
            record.bytes_out = len(document.beginning)
            self.ending.answer(document)
            return
        decision = serving.authorizer.authorize(head, record.presenter, record.started)
        if isinstance(decision, (Permit, Denial)):
            self._decided(decision)
        else:
            self.stream.expect_answer(serving.upstream.response_timeout)
            serving.spawn(self._await_decision(decision))

    def _received(self) -> RequestHead | Fault:
        """The input of the decision, or the fault that prevents one."""
        request, fields, record, serving = self.request, self.fields, self.record, self._serving
        record.method = request.method
        head = intake.request_head(request, fields, serving.field_rules)
        serving.trace.place(fields.traceparent, record)
        if fields.dropped:
            serving.observer.incident("header_dropped")
        hop = self.stream.hop
        return head if hop is None or isinstance(head, Fault) else hop.identify(head, fields, record) or head

    async def _await_decision(self, decision: Awaitable[Decision]) -> None:
        try:
            outcome = await decision
            self._has_waited = True
            if not self.is_over:
                self._decided(outcome)
        except Exception as error:  # noqa: BLE001 — any exception is an internal error and permits nothing
            self.broke(error)
        if not self.ending.is_over:
            self.stream.release()

    def _decided(self, decision: Decision) -> None:
        self.record.decision = decision
        self.record.decision_seconds = _seconds() - self.ending.started
        if isinstance(decision, Permit):
            self._forward(decision)
        else:
            self.ending.refuse(decision, "")

    # --- forwarding ----------------------------------------------------------------------------------

    def _forward(self, permit: Permit) -> None:
        request, serving, stream = self.request, self._serving, self.stream
        if permit.token is not None:
            until, ends = permit.valid_until, stream.certificate_until
            self.valid_until = min(until if until < ends else ends, self.record.presenter.ends)  # noqa: FURB136 — a call more
            self._nonce, stream.was_permitted = permit.nonce, True
            if self._has_waited and self._is_late():
                self.end_stream("certificate_expired" if ends <= until else "token_expired")
                return
        rule = permit.rule
        limits = rule.limits
        self.bounds = bounds = serving.bounds if limits is None else serving.bounds_under(rule)
        self._body_limit = limit = bounds.body_bytes
        if limit and max(request.content_length or 0, request.body_bytes) > limit:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {limit} bytes")
            return
        head = self._request_head(permit)
        if head is None:
            self.fail(Reason.CONDITION_FAILED, "identity headers or the client certificate over the limit")
            return
        if limits is not None or serving.places is not None:
            hindrance = self.ending.hindrance(rule, bounds.bounds)
            if hindrance is not None:
                self.fail(hindrance[0], hindrance[1])
                return
        self._replay, self._dispatched = head, _seconds()
        stream.expect_answer(bounds.response_timeout if request.complete else bounds.patience)
        serving.pool.submit(self)

    def _request_head(self, permit: Permit) -> bytes | None:
        request, fields, head, serving = self.request, self.fields, self._head, self._serving
        assert head is not None  # noqa: S101 — a decision was made about it
        header, identity = serving.certificate_header, serving.identity_block(permit)
        certificate = NO_FIELDS if header is None else header.block(self.record.presenter)
        if identity is None or certificate is None:
            return None
        self._asked_to_upgrade = upgrades = request.upgrade and http1_writer.asks_to_upgrade(
            request, fields, permit.rule.upgrade
        )
        self.awaits_continue = bool(fields.expect) and not request.complete
        via = self.stream.forwarding(fields)
        for name, _ in fields.claims:  # those that no client may send
            serving.observer.header_stripped(name.decode("latin-1"))
        token, scheme = serving.forwards_token, serving.http2_scheme
        if scheme:
            said = (via, serving.trace_fields(fields, self.record), identity, certificate)
            self._fields = http2_writer.fields_of(request, fields, head, scheme, said, token=token)
            return b""
        tracing = serving.tracing(fields, self.record)
        lines = b"%b%b%b%b" % (via.lines, tracing, identity.lines, certificate.lines)
        return http1_writer.request_head(request, fields, head, said=lines, token=token, upgrades=upgrades)

    def attach(self, upstream: UpstreamConnection) -> None:
        """Send the request on `upstream`."""
        self._upstream = upstream
        request, head, fields = self.request, self._replay, self._fields
        assert head is not None  # noqa: S101 — only forwarded exchanges are attached
        if request.complete and not request.chunks and not request.chunked:
            self.is_sent = True
            upstream.carry(self, head, fields=fields, bodiless=request.method == "HEAD")
            return
        data = request.take_body()
        end, is_head = self._end(data), request.method == "HEAD"
        upstream.carry(self, head, data, end, fields=fields, chunked=request.chunked, bodiless=is_head)
        if not upstream.blocked:
            self.stream.release()

    def _end(self, data: bytes) -> list[Field] | None:
        """Count `data` as sent. Returns None if more of the request follows, else the trailers."""
        request = self.request
        self.record.bytes_in += len(data)
        if not request.complete:
            return None
        self.is_sent = True
        return trailers(request.trailers, self._serving.field_rules)

    def request_arrived(self) -> None:
        """More of the request has arrived, or it is complete, or it is malformed."""
        request = self.request
        if self.ending.is_answered:
            request.chunks.clear()
            if request.complete:
                self.ending.finish()
            return
        if request.fault is not None:
            self.fail(request.fault.reason, request.fault.detail)
            return
        if self._body_limit and request.body_bytes > self._body_limit:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {self._body_limit} bytes")
            return
        upstream = self._upstream
        if upstream is None or self.is_sent:
            if request.chunks:
                self.stream.hold()
            return
        data = request.take_body()
        if upstream.send(data, self._end(data)):
            self._replay = None
            bounds = self.bounds
            self.stream.expect_answer(bounds.response_timeout if request.complete else bounds.patience)

    def upstream_blocked(self) -> None:
        self.stream.hold()

    def upstream_ready(self) -> None:
        self.stream.release()

    # --- the response --------------------------------------------------------------------------------

    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        """A part of the response has arrived."""
        end: list[Field] | None = None
        if response.complete:
            end = trailers(response.trailers, self._serving.field_rules) if response.trailers else NO_TRAILERS
        pieces = len(body)
        data = b"" if not pieces else body[0] if pieces == 1 else b"".join(body)
        self.record.bytes_out += len(data)
        for head in heads:
            if head.interim:
                self._interim(head)
            elif head.status == 101:
                self._switch_protocols(head)
                return
            else:
                self._respond(head, data, end)
                data = b""
                break
        else:
            if self.ending.has_begun and (data or end is not None):
                self.stream.body(data, end)
        if response.complete:
            self._complete(response)
        elif self.ending.has_begun and (heads or body):
            self.stream.expect_more(self.bounds.stream_timeout)

    def _interim(self, head: Response) -> None:
        if head.status == 100 and self.awaits_continue:
            self.awaits_continue = False
            self.stream.expect_body()
        names = self._serving.response_names
        self.stream.interim(head, sort_response(head.fields, names, lowers=self._lowers))

    def _respond(self, head: Response, data: bytes, end: list[Field] | None) -> None:
        fields = sort_response(head.fields, self._serving.response_names, self._nonce, lowers=self._lowers)
        record = self.record
        if fields.stays_open >= 0 and self._upstream is not None:
            self._upstream.stays_open = fields.stays_open
        if fields.is_located and self._serving.redirects is not None:
            self._serving.redirects.bring_back(fields, self.fields, self.stream.origin(self.fields))
        header = self._serving.certificate_header
        if header is not None:  # RFC 9440 §2.4: the response varies with the field, or is not cached
            fields.add(b"Vary", header.selects)
        record.status = head.status
        record.upstream_seconds = _seconds() - self._dispatched
        self.ending.has_begun = True
        self._replay = None
        self.stream.head(head, fields, data, end)

    def _complete(self, response: Response) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if response.keep_alive and self.is_sent and not upstream.blocked:
                upstream.release()
            else:
                upstream.discard()
        self.ending.finish()

    def _switch_protocols(self, head: Response) -> None:
        upstream = self._upstream
        fields = sort_response(head.fields, self._serving.response_names, self._nonce)
        objection = objection_to(upstream, fields.upgrade, self.fields if self._asked_to_upgrade else None)
        if upstream is None or objection:
            self.upstream_failed(Reason.UPSTREAM_BROKEN, objection)
            return
        self.ending.has_begun = True
        self.record.status, self.record.upgraded = 101, True
        self.record.upstream_seconds = _seconds() - self._dispatched
        early = self.stream.switch(head, fields)
        self.tunnel = Tunnel(self.stream, upstream, fields.upgrade, self.bounds.stream_timeout)
        self.tunnel.begin(early)

    def tunnelled(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)

    def upstream_failed(self, reason: Reason, detail: str) -> None:
        """The upstream refused or closed the connection, or failed."""
        upstream, self._upstream = self._upstream, None
        if self.tunnel is not None:
            self.end_stream("upstream")
        elif self._may_retry(upstream, reason):
            self._tries += 1
            self.is_sent = False  # its authority may end before it is sent again
            self._serving.pool.submit_fresh(self)
        else:
            if upstream is not None:
                upstream.discard()
            self.fail(reason, detail)

    def _may_retry(self, upstream: UpstreamConnection | None, reason: Reason) -> bool:
        """Whether a reused connection was closed before a response, and sending the request again is harmless."""
        if upstream is None or reason is not Reason.UPSTREAM_BROKEN or self._is_late():
            return False
        is_whole = self._replay is not None and not self.record.bytes_in and not self.request.chunked
        return is_whole and upstream.may_try_again(self.request.method, self._tries)

    def _is_late(self) -> bool:
        """Whether the token or the certificate has ended, or the client would be refused now."""
        return self.valid_until + self._serving.timeouts.expiry_grace <= self._serving.clock()

    # --- the end -------------------------------------------------------------------------------------

    def fail(self, reason: Reason, detail: str) -> None:
        """End without a complete response, for a reason that is not a decision."""
        self._drop_upstream()
        if self.ending.has_begun:
            self.ending.cut(reason, detail)
            self.tunnel = None
        else:
            self.ending.refuse(Denial(reason), detail)

    def broke(self, error: Exception) -> None:
        """An internal error: answer 500 if no answer has begun; it must not permit anything."""
        self._serving.report_bug(error)
        if not self.ending.is_over:
            self.fail(Reason.INTERNAL_ERROR, "")

    def abandon(self, cause: str = "client") -> None:
        """The client has disconnected: nobody waits for the answer."""
        if not self.ending.is_over:
            if self.tunnel is not None:
                self._close_tunnel(self.tunnel)  # the upstream still gets what the client sent
            self._drop_upstream()
            self.ending.abandon(cause)

    def end_tunnel(self, cause: str) -> None:
        """End a tunnel in order: close frames if its protocol has them, then both sides."""
        if self.tunnel is not None:
            self.tunnel.say_goodbye(cause)
            self.end_stream(cause)

    def end_stream(self, cause: str) -> None:
        """End the request in progress because of time or shutdown: `token_expired`, `drain`, `client` …"""
        self.record.ended_by = self.record.ended_by or cause
        if self.tunnel is not None:
            self._close_tunnel(self.tunnel)
            self.ending.finish()
        else:
            self.fail(ENDED_FOR[cause], cause)

    def _close_tunnel(self, tunnel: Tunnel) -> None:
        tunnel.close(self.record)
        self.tunnel = self._upstream = None  # breaks a reference cycle: no garbage collection needed

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()

    def hold_upstream(self) -> None:
        """The client accepts no more data for now."""
        if self._upstream is not None:
            self._upstream.hold()

    def release_upstream(self) -> None:
        """The client accepts data again."""
        if self._upstream is not None:
            self._upstream.resume()
