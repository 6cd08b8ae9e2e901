"""HTTP/1.1 on a client connection (RFC 9112): consecutive requests, each with one stream.

Theory of operation. Plaintext goes into the request reader. Complete heads become exchanges, one at a time and in
order: a pipelined request waits in the reader, with reading paused, until the one before it is over. Each is decided
separately. The wire itself is the stream of the current exchange, which saves one object per request. This module
handles what only HTTP/1.1 has: persistence, chunks, the minor version, and request bodies that nobody reads.
"""

from typing import Final

from sidecar.decision.denial import Reason
from sidecar.decision.request import Presenter
from sidecar.http.answer import Answer
from sidecar.http.fields import RequestFields
from sidecar.http.forwarding import Forwarding
from sidecar.http.lines import FieldBlock
from sidecar.http.message import Fault, Field, Request, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.client import http1_writer
from sidecar.proxy.client.host import IDLE_GRACE, Host
from sidecar.proxy.client.http1_reader import RequestReader, rest_is_harmless
from sidecar.proxy.client.link import CLOSED, EXCHANGE, HEAD, IDLE, LINGER, TUNNEL, Link
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange import overdue
from sidecar.proxy.exchange.endpoint_exchange import exchange_for
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.stream import NEVER, ClientStream

_WORK: Final = 65536
"""Bytes read in one turn of the event loop. A turn begins at most one request, because others are waiting."""
_PIECE_WORK: Final = 512
"""Fixed cost of reading a piece, in bytes."""


class Http1Stream(ClientStream):
    """The requests of one connection, and the answer to the current one."""

    __slots__ = (
        "_chunked", "_client_ended", "_forwarding", "_held", "_host", "_keep_alive", "_link", "_reader", "_requests",
        "_serving", "_sheds", "_under_way", "_waits", "distrusted", "exchange", "refusals", "retired",
    )  # fmt: skip

    def __init__(
        self, link: Link, host: Host, presenter: Presenter, certificate_until: float, forwarding: Forwarding
    ) -> None:
        super().__init__(presenter, certificate_until, host.now)
        self._link = link
        self._host = host
        self._serving = host.serving
        self._under_way = host.under_way
        self._forwarding = forwarding
        self._reader = RequestReader(host.settings.limits)
        self._held = False
        """The exchange accepts no more data for now."""
        self._waits = False
        """Unread data waits for the next turn of the event loop."""
        self._requests = 0
        self._client_ended = self._keep_alive = False
        self._chunked = False
        """The current response is sent in chunks."""
        self._sheds = False
        self.exchange: Exchange | None = None
        self.refusals = 0
        """Number of consecutive requests, including the last, that were answered without the API."""
        self.distrusted = False
        """The client certificate is no longer trusted: no new request begins."""
        self.retired = False
        """The connection has reached its maximum age, or the server stops: the next answer is the last."""
        self._become_idle()

    def shed(self) -> None:
        """The connection exceeds the limit: every request on it gets a 503."""
        self._sheds = True

    # --- the client ----------------------------------------------------------------------------------

    def receive(self, plaintext: bytes) -> None:
        """Process what the client sent."""
        exchange = self.exchange
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.from_client(plaintext)
            return
        reader = self._reader
        if reader.unread:
            reader.give(plaintext)
        else:
            reader.unread = plaintext
        if not self._waits:
            self._read_on()

    def _read_on(self) -> None:
        """Read and process received data, as far as one turn of the event loop allows."""
        reader, link, left, begun = self._reader, self._link, _WORK, False
        while True:
            phase, exchange, message = link.phase, self.exchange, reader.message
            if self._waits or phase is CLOSED or phase is LINGER:
                return
            if exchange is not None:
                if exchange.request.complete or self._held or not reader.unread:
                    break
            elif message is None and reader.fault is None and not reader.unread:
                break
            if left <= 0 or (begun and exchange is None):
                self._next_turn()
                return
            if exchange is not None:
                reader.read()
                left -= reader.work + _PIECE_WORK
                exchange.request_arrived()
            elif message is not None:
                if link.blocked_since != NEVER:
                    # Unread answers must not accumulate: the next request waits until the client reads.
                    link.hold()
                    return
                reader.message, begun = None, True
                self._begin(message)
            elif reader.fault is not None:
                self.answer_fault(reader.fault)
            else:
                left -= self._read_head()
        if reader.unread or reader.in_head or link.is_held or self._client_ended:
            self._settle()

    def _read_head(self) -> int:
        """Read a piece of a head; returns its cost. If the head is complete, the beginning of its body is read too."""
        reader = self._reader
        reader.read()
        work = reader.work + _PIECE_WORK
        if reader.unread and reader.message is not None and not reader.message.complete:
            reader.read()
            work += reader.work
        return work

    def _next_turn(self) -> None:
        """Continue after all others have had their turn."""
        if not self._waits:
            self._waits = True
            self._link.hold()
            self._host.call_soon(self._take_turn, self.refusals)

    def _take_turn(self) -> None:
        self._waits = False
        try:
            self._read_on()
        except Exception as error:  # noqa: BLE001 — a bug must not affect other connections or permit a request
            self._host.report_bug(error)
            self._link.abort()

    def _settle(self) -> None:
        """All received data is processed as far as possible: resume reading, or not."""
        reader, link, exchange = self._reader, self._link, self.exchange
        if not reader.unread and self._client_ended and (exchange is None or not exchange.request.complete):
            self.gone()
            link.close()
            return
        if exchange is None and reader.in_head and link.phase is not HEAD:
            self._expect_head()
        if reader.unread:
            link.hold()
        elif not self._held:
            link.release()

    def _expect_head(self) -> None:
        self._link.phase = HEAD
        self.deadline = self._now() + self._host.settings.timeouts.request_head

    def _begin(self, request: Request) -> None:
        self._requests += 1
        serving = self._serving = self._host.serving
        endpoints = serving.endpoints
        if endpoints is not None:
            exchange = exchange_for(self, request, serving, endpoints)
        else:
            exchange = Exchange(self, request, serving)
        self.exchange = exchange
        self._link.phase = EXCHANGE
        self._keep_alive, self._chunked = request.keep_alive, False
        if not request.complete:
            self.expect_body()
        self._under_way.count += 1
        total = serving.total_timeout
        self._must_end = self._now() + total if total else NEVER
        if self._sheds:
            self._keep_alive = False
            exchange.fail(Reason.OVERLOADED, "too many connections")
            return
        try:
            exchange.begin()
        except Exception as error:  # noqa: BLE001 — an internal error is a 500, and must not permit anything
            exchange.broke(error)

    def answer_fault(self, fault: Fault) -> None:
        """Answer bytes that are not a valid request; they get an audit record too."""
        request = Request()
        request.complete, request.fault = True, fault
        self._reader.fault = None
        self._begin(request)

    def blocked(self) -> None:
        """The client does not read, and the send buffer is full."""
        if self.exchange is not None:
            self.exchange.hold_upstream()

    def unblocked(self) -> None:
        """The client reads again."""
        if self.exchange is not None:
            self.exchange.release_upstream()
        else:
            self._read_on()

    def says_no_more(self) -> bool:
        """The client sent close_notify (RFC 8446 §6.1). Returns whether no request is left to be answered."""
        exchange, reader = self.exchange, self._reader
        if self._client_ended:
            return False
        self._client_ended = True
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.client_ended()
            return False
        if reader.unread or reader.message is not None:
            return False  # `_settle` handles it
        return exchange is None or not exchange.request.complete

    def gone(self) -> None:
        """The client has disconnected: nobody waits for an answer."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self._under_way.count -= 1
            exchange.abandon()

    def lost(self) -> None:
        """The connection is closed."""
        self.gone()
        self._reader.take_unread()
        self._reader.close()

    # --- order ---------------------------------------------------------------------------------------

    def exchanges(self) -> list[Exchange]:
        """The exchanges in progress: at most one."""
        return [] if self.exchange is None else [self.exchange]

    def check(self, now: float, wall: float, timeouts: Timeouts) -> None:
        """Act on expired limits. `now` is monotonic seconds, `wall` seconds since the epoch."""
        is_blocked = self._link.blocked_since != NEVER
        if self.exchange is not None:
            overdue.check(self.exchange, now, wall, timeouts, is_blocked=is_blocked)
        elif now >= self.deadline and not is_blocked:
            if self._link.phase is HEAD:
                self.answer_fault(Fault(Reason.REQUEST_TIMEOUT, "the request head took too long"))
            else:
                self._link.close()

    def rest(self) -> None:
        """The connection is idle: release the memory that its requests needed."""
        if self._keep_alive:
            self._reader.rest()

    def drain(self, deadline: float) -> None:
        """The server stops soon: end a tunnel now; an idle connection stays open until `deadline` at most."""
        self.retired = True
        if self.exchange is None:
            self.deadline = min(self.deadline, deadline)
        else:
            self.exchange.end_tunnel("drain")

    def retire(self, within: float) -> None:
        """The connection has reached its maximum age: end a tunnel now, and an idle connection in `within` seconds."""
        if not self.retired:
            self.retired = True
            if self.exchange is not None:
                self.exchange.end_tunnel("connection_age")
        if self.exchange is None and self._link.phase is IDLE:
            self.deadline = min(self.deadline, self._now() + within)

    def distrust(self) -> None:
        """The client would be refused now. A request in progress ends as if the client's certificate had expired."""
        self.distrusted, self.certificate_until = True, 0.0
        if self.exchange is not None:
            overdue.distrust(self.exchange)
        elif self._link.phase in (IDLE, HEAD):
            self._link.close()

    def _may_continue(self) -> bool:
        """Whether another request may follow on this connection."""
        limit = self._serving.requests_per_connection
        return not (self.distrusted or self.retired or (limit and self._requests >= limit))

    def _become_idle(self) -> None:
        self._link.phase = IDLE
        # Retired while its answer was under way, whose head said that the connection persists: nothing else ends it.
        self.deadline = self._now() + (IDLE_GRACE if self.retired else self._serving.idle_timeout)

    # --- the stream ----------------------------------------------------------------------------------

    def forwarding(self, fields: RequestFields) -> FieldBlock:
        return self._forwarding.block(fields)

    def origin(self, fields: RequestFields) -> bytes:
        return self._forwarding.origin(fields)

    def is_held(self) -> bool:
        return self._link.is_held

    def hold(self) -> None:
        self._held = True
        self._link.hold()

    def release(self) -> None:
        if self._link.is_held:
            self.expect_body()
        self._held = False
        if self._reader.unread:
            self._next_turn()
        else:
            self._link.release()

    def interim(self, head: Response, fields: ResponseFields) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.request.minor_version:
            self._link.write(http1_writer.interim_head(head, fields))

    def head(self, head: Response, fields: ResponseFields, data: bytes, end: list[Field] | None) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        self.refusals = 0
        request, chunked, keep = exchange.request, False, self._keep_alive
        if http1_writer.needs_chunks(request, head, fields):
            chunked = self._chunked = request.minor_version == 1
            keep = keep and chunked
        if keep and (
            request.upgrade or (end is not None and not request.complete) or not self._may_continue()
        ):
            # After a complete response from the upstream, the rest of the request is not read.
            keep = False
        self._keep_alive = keep
        begun = http1_writer.response_head(request, head, fields, chunked=chunked, keep_alive=keep)
        self._link.write(begun + (http1_writer.chunk(data, end) if chunked else data))

    def body(self, data: bytes, end: list[Field] | None) -> None:
        self._link.write(http1_writer.chunk(data, end) if self._chunked else data)

    def answer(self, answer: Answer, request_id: str) -> bool:
        exchange = self.exchange
        if exchange is None:
            return True
        self.refusals += 1
        keep = self._keep_alive and not answer.closes and rest_is_harmless(exchange.request, exchange.fields)
        self._keep_alive = keep = keep and self._may_continue()
        self._link.write(http1_writer.own_answer(answer, request_id, exchange.request, close=not keep))
        if not keep or exchange.request.complete:
            return True
        self.release()
        self.expect_answer(self._serving.idle_timeout)
        return False

    def switch(self, head: Response, fields: ResponseFields) -> bytes:
        self._link.write(http1_writer.switching_head(head, fields))
        self._link.phase = TUNNEL
        return self._reader.take_unread()

    def cut(self) -> None:
        self._keep_alive = False
        self._link.abort()

    def over(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self._under_way.count -= 1
        phase = self._link.phase
        if phase is CLOSED:
            return
        request = exchange.request
        if phase is TUNNEL or not (self._keep_alive and request.complete):
            if phase is TUNNEL or not request.complete or request.upgrade or request.fault is not None:
                self._link.linger()
            else:
                self._link.close()
            return
        self._go_on()

    def _go_on(self) -> None:
        """Continue with the next request, or end the connection."""
        reader, link = self._reader, self._link
        waiting = bool(reader.unread) or reader.message is not None or reader.fault is not None
        self._held = False
        if self.distrusted or (self._client_ended and not waiting):
            link.close()
            return
        self._become_idle()
        if waiting:
            # A direct call would need a stack frame for each of a thousand pipelined requests.
            self._next_turn()
            return
        if reader.in_head:
            self._expect_head()
        if link.is_held:
            link.release()
