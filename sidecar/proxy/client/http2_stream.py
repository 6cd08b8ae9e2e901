"""One request over HTTP/2 and its answer: one stream of its connection (RFC 9113 §5).

Theory of operation. The wire passes the parts of the request to the stream, and the exchange answers through it.
Received content is acknowledged when the exchange has taken it: holding a stream uses up only that stream's window.
Output that the client does not take waits in the engine. Above the limit, the upstream is held; a stream without
progress for `timeouts.write` is reset.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.request import Presenter
from sidecar.http import grpc
from sidecar.http.answer import Answer, Answers
from sidecar.http.fields import RequestFields
from sidecar.http.forwarding import Forwarding
from sidecar.http.http2_request import Http2Request
from sidecar.http.lines import FieldBlock
from sidecar.http.message import Fault, Field, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.client import http2_writer
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange import overdue
from sidecar.proxy.exchange.endpoint_exchange import exchange_for
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.exchange.stream import NEVER, ClientStream
from sidecar.proxy.exchange.unspoken_call import UnspokenCall
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import CANCEL, INTERNAL_ERROR, NO_ERROR, Http2Events
from sidecar.proxy.http2.fields import http2_fields
from sidecar.proxy.native import mypyc_attr
from sidecar.proxy.vouching.hop import Hop

_OPENING_WORK: Final = 24
"""Additional units of work for a request that needs a new connection to the upstream: a turn holds 2 of those."""
NOT_AS_LONG: Final = "the content is not as long as Content-Length says"


@mypyc_attr(allow_interpreted_subclasses=True)
class Carrier(Http2Events):
    """The connection of a stream."""

    __slots__ = ("certificate_until", "engine", "forwarding", "hop", "now", "presenter", "refusals")

    def __init__(
        self, presenter: Presenter, certificate_until: float, forwarding: Forwarding, now: Callable[[], float]
    ) -> None:
        self.engine: Http2Engine
        self.presenter = presenter
        self.certificate_until = certificate_until
        """As in `ClientStream`."""
        self.forwarding = forwarding
        self.hop: Hop | None = None
        """As in `ClientStream`."""
        self.now = now
        self.refusals = 0
        """Number of consecutive requests, including the last, that were answered without the API."""

    @abstractmethod
    def flush_soon(self) -> None:
        """The engine has output: it is sent at the end of this turn of the event loop."""

    @abstractmethod
    def filled(self, stream: "Http2Stream") -> None:
        """Mark a stream whose content may wait for the client."""

    @abstractmethod
    def left(self, stream: "Http2Stream") -> None:
        """Forget the stream of an exchange that is over."""

    @abstractmethod
    def gone(self) -> None:
        """The client has disconnected: nobody waits for an answer."""

    def lost(self) -> None:
        """The connection is closed."""
        self.gone()

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        """A client sends no interim response; the engine treats one as a malformed request."""

    def goaway(self, last: int, code: int) -> None:
        self.noise(of_window=0)  # it concerns pushed streams, which are not used here


class Http2Stream(ClientStream):
    """The client's side of one exchange."""

    __slots__ = (
        "_answers", "_carrier", "_held", "_last", "_may_trail", "_untaken", "_waiting", "_waits_until", "_was_reset",
        "exchange", "has_begun_content", "has_said_all", "is_closed", "is_filled", "is_full", "is_shared", "number",
        "request", "stalled_since",
    )  # fmt: skip

    def __init__(self, carrier: Carrier, number: int, request: Http2Request) -> None:
        super().__init__(carrier.presenter, carrier.certificate_until, carrier.now)
        self.hop = carrier.hop
        self._carrier = carrier
        self._held = False
        self._untaken = 0
        """Bytes of content for which no new window was given to the client."""
        self._last = b""
        """The end of the content, kept while more may arrive than Content-Length says."""
        self._waiting = 0
        """Bytes that waited for the client at the last check."""
        self._answers: Answers | None = None
        self._waits_until = NEVER
        """Time until which the client waits for the complete answer."""
        self._may_trail = False
        """An answer that is cut off can still carry the cause."""
        self._was_reset = False
        self.number = number
        self.request = request
        self.exchange: Exchange | None = None
        self.has_begun_content = False
        """Some content of a longer answer was given to the engine."""
        self.has_said_all = False
        """The end of the answer was given to the engine."""
        self.is_closed = False
        """The stream is closed in the engine."""
        self.is_filled = False
        """The connection looks at this stream after it has sent output."""
        self.is_full = False
        """More data waits for the client than is allowed, so the upstream is held."""
        self.is_shared = False
        """The engine knows that this stream's content is sent in turn with that of others."""
        self.stalled_since = NEVER
        """Time since which the client has taken none of the waiting data."""

    # --- the request ---------------------------------------------------------------------------------

    def begin(self, serving: Serving, *, sheds: bool) -> int:
        """Begin the exchange of a complete head. `sheds`: its connection exceeds the limit. Returns the additional
        work units.
        """
        request, endpoints = self.request, serving.endpoints
        is_covered = request.is_grpc and endpoints is not None and endpoints.covers(request.target)
        if request.is_grpc and not serving.http2_scheme and not is_covered:
            exchange: Exchange = UnspokenCall(self, request, serving)
        elif endpoints is not None:
            exchange = exchange_for(self, request, serving, endpoints)
        else:
            exchange = Exchange(self, request, serving)
        self.exchange = exchange
        if not request.complete:
            self.expect_body()
        self._answers = serving.answers
        if request.grpc_timeout:
            self._waits_until = self._must_end = self._now() + request.grpc_timeout
        if serving.total_timeout:
            self.expect_end(serving.total_timeout)
        if sheds:
            exchange.fail(Reason.OVERLOADED, "too many connections")
            return 0
        opened = serving.pool.opened
        try:
            exchange.begin()
        except Exception as error:  # noqa: BLE001 — an internal error is a 500, and must not permit anything
            exchange.broke(error)
        return 0 if serving.pool.opened == opened else _OPENING_WORK

    def take(self, data: bytes, *, ends: bool) -> None:
        """Content of the request."""
        request, exchange = self.request, self.exchange
        self._untaken += len(data)
        request.body_bytes += len(data)
        request.complete = ends
        if exchange is None:
            self._acknowledge()
            return
        if self._last:
            request.chunks.append(self._last)
            self._last = b""
        length = request.content_length
        if length is not None and not self._is_as_long(length, ends=ends):
            request.fault = Fault(Reason.REQUEST_MALFORMED, NOT_AS_LONG)
        elif request.body_bytes == length and not ends:
            self._last = data
            self._acknowledge()
            return
        request.chunks.append(data)
        exchange.request_arrived()
        if not self._held:
            self._acknowledge()

    def end(self) -> None:
        """The request is complete, with the trailers received by now, or faulty because of them."""
        length, request = self.request.content_length, self.request
        if length is not None and not self._is_as_long(length, ends=True):
            request.fault = Fault(Reason.REQUEST_MALFORMED, NOT_AS_LONG)
        if self._last:
            request.chunks.append(self._last)
            self._last = b""
        if self.exchange is not None:
            self.exchange.request_arrived()

    def _is_as_long(self, length: int, *, ends: bool) -> bool:
        """Whether the length of the content is that of Content-Length; otherwise the request is malformed (RFC 9113
        §8.1.1). This may be known only at the end, so the last part is kept until then: the upstream never has a
        malformed request in full.
        """
        seen = self.request.body_bytes
        return seen == length if ends else seen <= length

    def _acknowledge(self) -> None:
        if self._untaken:
            size, self._untaken = self._untaken, 0
            self._carrier.engine.took(self.number, size)
            self._carrier.flush_soon()

    def close(self, reason: Reason | None = None, detail: str = "") -> None:
        """The stream is closed. If its exchange is not over, the client has cancelled it, unless `reason` is given."""
        self.is_closed, self._held = True, False
        exchange = self.exchange
        if exchange is not None:
            if reason is not None and exchange.record.reason is None:
                exchange.record.reason, exchange.record.detail = reason, detail
            try:
                exchange.abandon()
            finally:
                self._over()
        self._acknowledge()

    def _over(self) -> None:
        self.exchange = None
        self._carrier.left(self)

    def expect_end(self, seconds: float) -> None:
        self._must_end = min(self._now() + seconds, self._waits_until)

    def distrust(self) -> None:
        """End the request as if the client's certificate had expired."""
        self.certificate_until = 0.0
        if self.exchange is not None:
            overdue.distrust(self.exchange)

    def check(self, now: float, wall: float, timeouts: Timeouts, *, is_blocked: bool) -> None:
        """Act on expired limits. `is_blocked`: the client does not read, and the send buffer of its connection is
        full.
        """
        if now - self.stalled_since > timeouts.write:
            self.give_up()
        elif self.exchange is not None:
            overdue.check(self.exchange, now, wall, timeouts, is_blocked=self.is_full or is_blocked)

    # --- what the client takes -----------------------------------------------------------------------

    def look(self, buffered: int) -> bool:
        """Called after output was sent; returns whether this stream has more. `buffered` is how many bytes may wait."""
        waiting = 0 if self.is_closed else self._carrier.engine.waiting(self.number)
        if not waiting and not self._waiting and not self.is_full:
            self.stalled_since = NEVER
            return False
        if waiting < self._waiting or self.stalled_since == NEVER:
            self.stalled_since = self._now()
        self._waiting = waiting
        if not waiting:
            self.stalled_since = NEVER
        if (waiting > buffered) is not self.is_full:
            self.is_full = not self.is_full
            if self.exchange is not None:
                if self.is_full:
                    self.exchange.hold_upstream()
                else:
                    self.exchange.release_upstream()
        return waiting > 0

    # --- the stream ----------------------------------------------------------------------------------

    def forwarding(self, fields: RequestFields) -> FieldBlock:
        return self._carrier.forwarding.block(fields)

    def origin(self, fields: RequestFields) -> bytes:
        return self._carrier.forwarding.origin(fields)

    def is_held(self) -> bool:
        return self._held

    def hold(self) -> None:
        self._held = True
        self.request.gather()

    def release(self) -> None:
        if self._held:
            self.expect_body()
            self._held = False
        self._acknowledge()

    def interim(self, head: Response, fields: ResponseFields) -> None:
        self._carrier.engine.inform(self.number, http2_writer.interim_head(head, fields))
        self._carrier.flush_soon()

    def head(self, head: Response, fields: ResponseFields, data: bytes, end: list[Field] | None) -> None:
        self._carrier.refusals = 0
        if self.is_closed:
            return
        is_all = not data and end is not None and not end
        self._may_trail = self.request.is_grpc and not fields.has_length
        self._carrier.engine.respond(self.number, http2_writer.response_head(head, fields), ends=is_all)
        if is_all:
            self.has_said_all = True
            self._carrier.filled(self)
        else:
            self.body(data, end)

    def body(self, data: bytes, end: list[Field] | None) -> None:
        carrier, number, has_data = self._carrier, self.number, len(data) > 0
        if self.is_closed:
            return
        if end:
            if has_data:
                carrier.engine.send(number, data, ends=False)
            trailers = http2_fields(end)
            if self.request.is_grpc and self.exchange is not None:
                self.exchange.record.grpc_status = grpc.said_status(trailers)
            carrier.engine.trail(number, trailers)
        elif has_data or end is not None:
            carrier.engine.send(number, data, ends=end is not None)
        if end is None:
            # On the second piece: most answers have only one, and other streams have waited for at most one piece.
            if has_data and self.has_begun_content and not self.is_shared and not self.request.is_prioritized:
                self.is_shared = True
                carrier.engine.share(number)
            self.has_begun_content |= has_data
        self.has_said_all = end is not None
        carrier.filled(self)

    def answer(self, answer: Answer, request_id: str) -> bool:
        """RFC 9113 §8.1: an answer may be complete before the request is; the rest of the request is then refused."""
        exchange = self.exchange
        self._carrier.refusals += 1
        if self.is_closed:
            if exchange is not None:
                exchange.record.status = 0
            return True
        if self.request.is_grpc and exchange is not None:
            fields = grpc.trailers_only(answer, request_id)
            exchange.record.grpc_status = grpc.said_status(fields)
            self._carrier.engine.respond(self.number, fields, ends=True)
            self.has_said_all = True
            self._carrier.filled(self)
            return True
        body, is_bodiless = answer.body(request_id), self.request.method == "HEAD"
        self._carrier.engine.respond(
            self.number, http2_writer.own_answer(answer, request_id, body), ends=is_bodiless
        )
        if not is_bodiless:
            self._carrier.engine.send(self.number, body, ends=True)
        self.has_said_all = True
        self._carrier.filled(self)
        return True

    def switch(self, head: Response, fields: ResponseFields) -> bytes:
        """Never called: HTTP/2 has no Upgrade (RFC 9113 §8.6), and a request with that field is malformed."""
        self.cut()
        return b""

    def cut(self) -> None:
        exchange = self.exchange
        reason = exchange.record.reason if exchange is not None else None
        if (
            exchange is None
            or reason is None
            or self._answers is None
            or self.is_closed
            or not self._may_trail
        ):
            self.reset(INTERNAL_ERROR)
            return
        fields = grpc.trailers(self._answers.to(Denial(reason)))
        exchange.record.grpc_status = grpc.said_status(fields)
        self._carrier.engine.trail(self.number, fields)
        self.has_said_all = True
        self._carrier.filled(self)

    def reset(self, code: int) -> None:
        """Reset the stream, so that the client sees that the answer is incomplete."""
        if not self.is_closed and not self._was_reset:
            self.has_said_all = self._was_reset = True
            self._carrier.engine.reset(self.number, code)
            self._carrier.flush_soon()

    def give_up(self) -> None:
        """Reset the stream: the client takes none of the waiting data."""
        if self.exchange is not None:
            self.exchange.abandon()
            self._over()
        self.reset(CANCEL)

    def settle(self) -> None:
        """All output was sent. If it was the complete answer, the rest of the request is not read."""
        if self.has_said_all and not self.request.complete:
            self.reset(NO_ERROR)  # RFC 9113 §8.1

    def over(self) -> None:
        if self.exchange is not None:
            self._over()
