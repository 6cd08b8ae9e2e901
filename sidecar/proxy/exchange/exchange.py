"""One request: head → decision → forward or refuse → exactly one audit record.

Theory of operation. An exchange is driven from three sides, always on the event loop and never re-entered: the client
connection says that more of the request is here (`request_arrived`), the authorizer's answer comes (`_decided`; at
once when all it needs is in memory), and the upstream connection says that more of the response is here. How it
ends is `Answerable`'s business.

Nothing is written towards the upstream but by `_forward`, whose first argument is the `Permit`.
"""

from collections.abc import Awaitable
from time import perf_counter
from typing import Final

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import RequestHead
from sidecar.http import intake
from sidecar.http.fields import trailers
from sidecar.http.message import Fault, MalformedResponse, Response
from sidecar.http.response_fields import sort_response
from sidecar.proxy import outbound
from sidecar.proxy.client.link import NEVER
from sidecar.proxy.exchange.bounds import Bounds
from sidecar.proxy.exchange.ending import Answerable
from sidecar.proxy.exchange.occupancy import Full
from sidecar.proxy.exchange.tunnel import Tunnel
from sidecar.proxy.upstream.connection import UpstreamConnection

Decision = Permit | Denial

_DECISIONS: Final = (Permit, Denial)
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 §9.2.2, of those that may be sent again."""
_FINAL_CHUNK: Final = b"0\r\n"
_ENDED_FOR: Final = {
    "token_expired": Reason.TOKEN_EXPIRED,
    "certificate_expired": Reason.CERTIFICATE_EXPIRED,
    "timeout": Reason.UPSTREAM_TIMEOUT,
}


class Exchange(Answerable):
    """One request and its response."""

    # Attributes that start the same for all stand on the class: setting them on each instance costs more.
    awaits_continue = False
    """The client has not been told to send its body (RFC 9110 §10.1.1)."""
    valid_until = float("inf")
    """Seconds since the epoch: when the authority under which this exchange runs ends."""
    bounds: Bounds
    """Set when the rule is known; without a rule nothing is forwarded."""
    _head: RequestHead | None = None
    _permit: Permit | None = None
    _replay: bytes | None = None
    """The request head, for as long as it may have to be sent again."""
    _body_limit = 0
    _chunk_request = False
    _chunk_response = False
    _request_ended = False
    _retried = False
    _asked_to_upgrade = False
    _dispatched = 0.0

    # --- the request ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Decide, as soon as the head is here."""
        head = self._received()
        if isinstance(head, Fault):
            self.fail(head.reason, head.detail)
            return
        serving, record, self._head = self._serving, self.record, head
        record.path, record.host = head.path, head.host
        if head.path in serving.documents and head.method in ("GET", "HEAD"):
            self._serve_document(serving.documents[head.path])
            return
        decision = serving.authorizer.authorize(head, self.client.presenter, record.started)
        if isinstance(decision, _DECISIONS):
            self._decided(decision)
        else:
            self.client.expect_answer(serving.upstream.response_timeout)
            self.client.server.spawn(self._await_decision(decision))

    def _received(self) -> RequestHead | Fault:
        """Everything the decision may look at, or why there is no telling."""
        request, fields, record, serving = self.request, self._fields, self.record, self._serving
        record.method = request.method
        head = intake.request_head(request, fields, serving.field_rules)
        serving.trace.place(fields.traceparent, record)
        if fields.dropped:
            serving.observer.incident("header_dropped")
        return head

    async def _await_decision(self, decision: Awaitable[Decision]) -> None:
        try:
            outcome = await decision
            if not self.is_over:
                self._decided(outcome)
        except Exception as error:  # noqa: BLE001 — whatever it is, it is ours, and it is never a pass
            self.broke(error)
        if not self.abandoned:
            self.client.release_reading()

    def _decided(self, decision: Decision) -> None:
        self.record.decision = decision
        self.record.decision_seconds = perf_counter() - self.started
        if isinstance(decision, Permit):
            self._forward(decision)
        else:
            self._refuse(decision, "")

    # --- forwarding ----------------------------------------------------------------------------------

    def _forward(self, permit: Permit) -> None:
        self._permit = permit
        request, serving, client = self.request, self._serving, self.client
        if permit.token is not None:
            self.valid_until = min(permit.valid_until, client.certificate_until)
            client.was_permitted = True
        rule = permit.rule
        self.bounds = bounds = serving.bounds if rule.limits is None else serving.bounds_under(rule)
        self._body_limit = limit = bounds.body_bytes
        if limit and max(request.content_length or 0, request.body_bytes) > limit:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {limit} bytes")
            return
        head = self._request_head(permit)
        if head is None:
            self.fail(Reason.CONDITION_FAILED, "identity headers over the limit")
            return
        if rule.limits is not None and not self._may_begin(rule.name, bounds):
            return
        self._replay = head
        self._dispatched = perf_counter()
        client.expect_answer(bounds.response_timeout if request.complete else self._patience())
        serving.pool.submit(self)

    def _may_begin(self, rule: str, bounds: Bounds) -> bool:
        """For rules with limits of their own: whether there is time and room for one more; if not, it is refused."""
        total = bounds.total_timeout
        left = total - self.record.decision_seconds if total else NEVER
        if left <= 0:
            self.fail(Reason.ISSUER_UNAVAILABLE, "no decision in time")
            return False
        self.client.expect_end(left)
        if bounds.concurrent_requests:
            try:
                self._place = self.client.server.occupancy.enter(rule, bounds.concurrent_requests)
            except Full:
                self.fail(Reason.RULE_BUSY, f"{bounds.concurrent_requests} under way under this rule")
                return False
        return True

    def _request_head(self, permit: Permit) -> bytes | None:
        request, fields, head, serving = self.request, self._fields, self._head, self._serving
        assert head is not None  # noqa: S101 — a decision was made about it
        identity = serving.identity_block(permit)
        if identity is None:
            return None
        self._chunk_request = request.chunked
        self._asked_to_upgrade = request.upgrade and outbound.asks_to_upgrade(request, fields)
        self.awaits_continue = bool(fields.expect) and not request.complete
        said = self.client.forwarding(fields) + serving.tracing(fields, self.record) + identity
        return outbound.request_head(request, fields, head, said=said, token=serving.upstream.forward_token)

    def attach(self, upstream: UpstreamConnection) -> None:
        """Send the request on `upstream`."""
        self._upstream = upstream
        head = self._replay
        assert head is not None  # noqa: S101 — only forwarded exchanges are attached
        if self.request.complete and not self.request.chunks and not self._chunk_request:
            self._request_ended = True
            upstream.carry(self, head, bodiless=self.request.method == "HEAD")
            return
        upstream.carry(self, head + self._body(), bodiless=self.request.method == "HEAD")
        self.client.release_reading()

    def _body(self) -> bytes:
        """What arrived of the body since last time, framed for the upstream."""
        request = self.request
        data = request.take_body()
        self._request_bytes += len(data)
        if not self._chunk_request:
            self._request_ended = request.complete
            return data
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if request.complete and not self._request_ended:
            self._request_ended = True
            framed += _FINAL_CHUNK + trailers(request.trailers, self._serving.field_rules) + b"\r\n"
        return framed

    def request_arrived(self) -> None:
        """More of the request is here, or it is complete, or it turned out to be malformed."""
        request = self.request
        if self.tunnel is not None:
            return
        if self._refused:
            request.chunks.clear()
            if request.complete:
                self._finish()
            return
        if request.fault is not None:
            self.fail(request.fault.reason, request.fault.detail)
            return
        if self._body_limit and request.body_bytes > self._body_limit:
            self.fail(Reason.BODY_TOO_LARGE, f"body over {self._body_limit} bytes")
            return
        upstream = self._upstream
        if upstream is None or self._request_ended:
            if request.chunks:
                self.client.hold_reading()
            return
        data = self._body()
        if data:
            self._replay = None
            upstream.write(data)
            self.client.expect_answer(self.bounds.response_timeout if request.complete else self._patience())

    def _patience(self) -> float:
        """Seconds that a request under way may pause: a rule's shorter deadline for its answer begins at its end."""
        return max(self.bounds.response_timeout, self._serving.upstream.response_timeout)

    def upstream_blocked(self) -> None:
        """The upstream takes no more for now."""
        self.client.hold_reading()

    def upstream_ready(self) -> None:
        """The upstream takes more again."""
        self.client.release_reading()

    # --- the response --------------------------------------------------------------------------------

    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        """Part of the response is here."""
        out: list[bytes] = []
        for head in heads:
            if head.interim:
                out.append(self._interim(head))
            elif head.status == 101:
                self._switch_protocols(head)
                return
            else:
                out += self._response_head(head, is_whole=response.complete)
        if body:
            data = body[0] if len(body) == 1 else b"".join(body)
            self.record.bytes_out += len(data)
            out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunk_response else data)
        if response.complete and self._chunk_response:
            out.append(_FINAL_CHUNK + trailers(response.trailers, self._serving.field_rules) + b"\r\n")
        if out:
            self.client.write(out[0] if len(out) == 1 else b"".join(out))
        if response.complete:
            self._complete(response)
        elif self._head_sent and (heads or body):
            self.client.expect_more(self.bounds.stream_timeout)

    def _interim(self, head: Response) -> bytes:
        """RFC 9110 §15.2: a 1xx goes on, but not to a client of HTTP/1.0, which knows none."""
        if head.status == 100 and self.awaits_continue:
            self.awaits_continue = False
            self.client.expect_body()
        if self.request.minor_version == 0:
            return b""
        return outbound.interim_head(head, sort_response(head.fields, self._serving.response_names))

    def _response_head(self, head: Response, *, is_whole: bool) -> list[bytes]:
        record, request = self.record, self.request
        fields = sort_response(head.fields, self._serving.response_names)
        if fields.chunked and head.minor_version == 0:
            # RFC 9112 §6.1: such a message's framing is faulty.
            raise MalformedResponse("Transfer-Encoding in HTTP/1.0")
        record.status = head.status
        record.upstream_seconds = perf_counter() - self._dispatched
        self._head_sent = True
        self._replay = None
        chunked = False
        if outbound.needs_chunks(request, head, fields):
            chunked = self._chunk_response = request.minor_version == 1
            self.keep_alive = self.keep_alive and chunked
        if self.keep_alive and (
            request.upgrade or (is_whole and not request.complete) or not self.client.may_continue()
        ):
            # Once the upstream has answered in full nobody reads the rest of the request.
            self.keep_alive = False
        return outbound.response_head(request, head, fields, chunked=chunked, keep_alive=self.keep_alive)

    def _complete(self, response: Response) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if response.keep_alive and self._request_ended and not upstream.blocked:
                upstream.release()
            else:
                upstream.discard()
        if not self.request.complete:
            # The upstream has answered and will not read the rest; neither will we.
            self.keep_alive = False
        self._finish()

    def _switch_protocols(self, head: Response) -> None:
        upstream, fields = self._upstream, sort_response(head.fields, self._serving.response_names)
        if upstream is None or not self._asked_to_upgrade or upstream.reader.after_upgrade is None:
            self.upstream_failed(Reason.UPSTREAM_BROKEN, "101 to a request that asked for no other protocol")
            return
        self._head_sent = True
        self.record.status, self.record.upgraded = 101, True
        self.record.upstream_seconds = perf_counter() - self._dispatched
        self.client.write(outbound.switching_head(head, fields))
        self.tunnel = Tunnel(self, upstream, is_websocket=fields.upgrade.lower() == b"websocket")
        self.client.tunnel_opened(self.tunnel, self.bounds.stream_timeout)
        early = upstream.open_tunnel()
        if early:
            self.tunnelled(early)

    def tunnelled(self, data: bytes) -> None:
        """Bytes from the upstream through a tunnel."""
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)

    def upstream_failed(self, reason: Reason, detail: str) -> None:
        """The upstream refused, broke or left."""
        upstream, self._upstream = self._upstream, None
        if self.tunnel is not None:
            self.end_stream("upstream")
            return
        if self._may_retry(upstream, reason):
            self._retried = True
            self._serving.pool.submit_fresh(self)
            return
        if upstream is not None:
            upstream.discard()
        self.fail(reason, detail)

    def _may_retry(self, upstream: UpstreamConnection | None, reason: Reason) -> bool:
        """Once, when a reused connection was closed under us before it answered, and sending again is harmless."""
        if upstream is None or reason is not Reason.UPSTREAM_BROKEN or upstream.served == 0 or self._retried:
            return False
        if self._replay is None or upstream.reader.is_started or self._request_bytes or self._chunk_request:
            return False
        return self.request.method in _IDEMPOTENT

    # --- the end -------------------------------------------------------------------------------------

    def end_stream(self, cause: str) -> None:
        """End what is under way, for a reason of time or order: `token_expired`, `drain`, `client` …"""
        self.record.ended_by = self.record.ended_by or cause
        if self.tunnel is not None:
            self.record.bytes_in, self.record.bytes_out = self.tunnel.bytes_in, self.tunnel.bytes_out
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.finish_writing()
            self.keep_alive = False
            self._finish()
        else:
            self.fail(_ENDED_FOR[cause], cause)

    def authority_ended(self, cause: str) -> None:
        """The token or the certificate has expired: `token_expired` or `certificate_expired`.

        A request that the upstream has in full may have been acted on already. Its answer is waited for, since a 401
        would ask the client to send it again; what takes longer than its head is then cut.
        """
        if self.tunnel is not None:
            self.tunnel.end(cause)
        elif self._head_sent or not self._request_ended:
            self.end_stream(cause)

    def timed_out(self, *, in_total: bool) -> None:
        """The answer, or the next part of it, did not come in time; `in_total`: the whole took too long."""
        if self._head_sent:
            self.record.ended_by = "timeout"
            late = "the exchange took too long: total_timeout" if in_total else "the response stalled"
            self._cut(Reason.UPSTREAM_TIMEOUT, late)
        elif self.record.decision is None:
            self.fail(Reason.ISSUER_UNAVAILABLE, "no decision in time")
        elif self.request.complete or self.awaits_continue or self.client.is_held:
            late = "total_timeout" if in_total else "response_timeout"
            self.fail(Reason.UPSTREAM_TIMEOUT, f"no response in time: {late}")
        else:
            self.fail(Reason.REQUEST_TIMEOUT, "the request body stalled")

    def hold_upstream(self) -> None:
        """The client takes no more for now."""
        if self._upstream is not None:
            self._upstream.hold()

    def release_upstream(self) -> None:
        """The client takes more again."""
        if self._upstream is not None:
            self._upstream.resume()
