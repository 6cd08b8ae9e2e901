"""One client connection: TCP in, TLS, requests one after another.

Theory of operation. Ciphertext goes into the TLS engine, plaintext into the request reader, and completed heads
become exchanges, one at a time and in order: a pipelined request waits in the reader, with reading paused, until the
one before it is over, and then is decided on its own. `deadline` is when the present phase must be over; the server
looks at it a few times a second, so that no request costs a timer.
"""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from sidecar.decision.denial import Reason
from sidecar.decision.request import Presenter
from sidecar.http.fields import RequestFields
from sidecar.http.forwarding import Forwarding
from sidecar.http.message import Fault, Request
from sidecar.proxy.client.http1_reader import RequestReader
from sidecar.proxy.client.link import (
    CLOSED,
    EXCHANGE,
    HANDSHAKE,
    HEAD,
    IDLE,
    LINGER,
    NEVER,
    PREFACE,
    TUNNEL,
    Link,
)
from sidecar.proxy.client.proxy_protocol import Incomplete, NotProxyProtocol, read_preface
from sidecar.proxy.exchange.ending import Answerable
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.tls import TlsFailure

if TYPE_CHECKING:
    from sidecar.proxy.exchange.tunnel import Tunnel
    from sidecar.proxy.listener import Listener

_LINGER_BYTES: Final = 1 << 20
"""What a client may still send after its last answer."""


class ClientConnection(Link):
    """The server side of one connection."""

    __slots__ = (
        "_body_mark", "_client_ended", "_fault", "_forwarding", "_lingered", "_must_end", "_preface", "_reader",
        "_requests", "blocked_since", "certificate_until", "counted_as", "distrusted", "exchange", "peer",
        "presenter", "retired", "since", "unjudged", "was_permitted",
    )  # fmt: skip

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener)
        self._reader = RequestReader(self.server.settings.limits)
        self._forwarding: Forwarding | None = None
        self._preface: bytes | None = None
        self._fault: Fault | None = None
        self._requests = 0
        self._lingered = 0
        self._body_mark = (0.0, 0)
        self._client_ended = False
        self._must_end = NEVER
        self.peer: tuple[str, int] = ("", 0)
        self.exchange: Exchange | None = None
        self.distrusted = False
        """The client certificate no longer chains: nothing new begins here."""
        self.unjudged = False
        """Whom the listener trusts has changed since the handshake began."""
        self.retired = False
        """Older than a connection may become: the next answer is its last."""
        self.blocked_since = NEVER
        """Since when the client has left a full buffer unread."""
        self.certificate_until = NEVER
        """Seconds since the epoch: not_after of the client certificate, when it was valid in the handshake."""
        self.presenter = Presenter(None, listener.settings.name, "")
        self.since = NEVER
        """When it came, by the clock of deadlines."""
        self.was_permitted = False
        """A request with a token was permitted here."""
        self.counted_as: str | None = None
        """The address that it counts for (`Admission`); None while it is not known."""

    # --- bytes in ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's has no such ancestor
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            # An IPv4 client on a socket for both families is an IPv4 client.
            self.peer = (str(peer[0]).removeprefix("::ffff:"), int(peer[1]))
        if not self.server.admit(self):
            self.phase = CLOSED
            transport.abort()
            return
        transport.set_write_buffer_limits(high=self.server.settings.limits.buffered_bytes)
        self.since = self.server.now()
        self.deadline = self.since + self.server.settings.timeouts.handshake
        if self._listener.expects_preface(self.peer[0]):
            self.phase, self._preface = PREFACE, b""
        elif not self.server.knows_address(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._receive(data)
        except Exception as error:  # noqa: BLE001 — one connection's bug must not take others, and is never a pass
            self.server.report_bug(error)
            self.abort()

    def _receive(self, data: bytes) -> None:
        phase = self.phase
        if phase is CLOSED:
            return
        if phase is LINGER:
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES:
                self.abort()
            return
        if phase is PREFACE:
            rest = self._read_preface(data)
            if not rest:
                return
            data = rest
        engine = self._engine
        try:
            plaintext = engine.receive(data)
        except TlsFailure as failure:
            self._tls_failed(failure)
            return
        if self.phase is HANDSHAKE:
            self._continue_handshake()
        elif not plaintext:
            self._send(engine.outgoing())  # what TLS itself answers: no renegotiation, a key update
        if plaintext and self.phase is not CLOSED:
            self._receive_plaintext(plaintext)
        if engine.eof and self.phase is not CLOSED:
            self._client_says_no_more()

    def _read_preface(self, data: bytes) -> bytes:
        """PROXY protocol: who is really there (only for listed peers, and then always)."""
        self._preface = preface = (self._preface or b"") + data
        try:
            peer, rest = read_preface(preface)
        except Incomplete:
            return b""
        except NotProxyProtocol as error:
            self.server.observer.handshake("proxy_protocol", self.peer[0], str(error))
            self.abort()
            return b""
        if peer is not None:
            self.peer = peer
            if not self.server.knows_address(self):
                self.abort()
                return b""
        self._preface, self.phase = None, HANDSHAKE
        return rest

    def _continue_handshake(self) -> None:
        self._send(self._engine.outgoing())
        if not self._engine.established:
            return
        engine, listener = self._engine, self._listener
        try:
            certificate = engine.client_certificate()
            listener.check_validity(certificate, self.server.serving.clock())
            if self.unjudged and not listener.tls.accepts(engine.chain()):
                raise TlsFailure("certificate_refused", "no longer accepted")
        except TlsFailure as failure:
            self._tls_failed(failure)
            return
        now = self.server.serving.clock()
        if certificate is not None and certificate.not_after > now:
            self.certificate_until = float(certificate.not_after)
        self.presenter = Presenter(
            certificate,
            listener.settings.name,
            f"{self.peer[0]}:{self.peer[1]}",
            certificate_must_be_valid=listener.requires_valid_certificate,
        )
        self._forwarding = Forwarding(self.peer[0], believed=listener.believes(self.peer[0]))
        self.server.observer.handshake("resumed" if engine.is_resumed() else "full", self.peer[0])
        if engine.is_unchecked():
            self.server.observer.incident("crl_missing", f"an authority of {self.peer[0]}'s chain has no CRL")
        engine.settle()
        self._become_idle()

    def _tls_failed(self, failure: TlsFailure) -> None:
        self._send(self._engine.outgoing())  # the alert
        if self.phase is HANDSHAKE:
            self.server.observer.handshake(failure.result, self.peer[0], failure.detail)
        self.close()

    def _receive_plaintext(self, plaintext: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.from_client(plaintext)
            self.expect_more(exchange.bounds.stream_timeout)
            return
        reader = self._reader
        fault = reader.feed(plaintext)
        if fault is not None and self._fault is None:
            self._fault = fault
        if exchange is None:
            self._advance()
            return
        exchange.request_arrived()
        if self.exchange is not None and (reader.messages or reader.after_upgrade):
            self.hold_reading()

    def _advance(self) -> None:
        """Begin the next request that is here, if the one before it is over."""
        reader = self._reader
        while reader.messages and self.exchange is None and not self.is_ending:
            if self.blocked_since != NEVER:
                # Answers that nobody reads must not pile up: the next request waits for its reader.
                self.hold_reading()
                return
            self._begin(reader.messages.popleft())
        if self.exchange is not None or self.is_ending:
            return
        if self._fault is not None:
            self.answer_fault(self._fault)
        elif reader.in_head and self.phase is not HEAD:
            self._expect_head()

    def _expect_head(self) -> None:
        self.phase = HEAD
        self.deadline = self.server.now() + self.server.settings.timeouts.request_head

    def _begin(self, request: Request) -> None:
        server = self.server
        self._requests += 1
        exchange = Exchange(self, request, server.serving)
        self.exchange = exchange
        self.phase = EXCHANGE
        if not request.complete:
            self._body_mark = (self.server.now(), 0)
        server.exchanges += 1
        total = server.settings.upstream.total_timeout
        self._must_end = server.now() + total if total else NEVER
        if server.is_shedding(self):
            exchange.keep_alive = False
            exchange.fail(Reason.OVERLOADED, "too many connections")
            return
        try:
            exchange.begin()
        except Exception as error:  # noqa: BLE001 — a fault of ours is a 500, and never a pass
            exchange.broke(error)

    def answer_fault(self, fault: Fault) -> None:
        """Bytes that are no request: they get an answer all the same, and an audit record."""
        request = Request()
        request.complete = True
        request.fault = fault
        self._fault = None
        self._begin(request)

    # --- what an exchange asks of its connection -----------------------------------------------------

    def forwarding(self, fields: RequestFields) -> bytes:
        """Via, Forwarded and X-Forwarded-* for a request on this connection."""
        assert self._forwarding is not None  # noqa: S101 — made when the handshake ended
        return self._forwarding.block(fields)

    def may_continue(self) -> bool:
        """Whether another request may follow on this connection."""
        limit = self.server.settings.limits.requests_per_connection
        return not (
            self.server.draining or self.distrusted or self.retired or (limit and self._requests >= limit)
        )

    def release_reading(self) -> None:
        """Read on; the client is not to blame for the time that it was held."""
        if self._held:
            self.expect_body()
            super().release_reading()

    def expect_body(self) -> None:
        """The client owes the body from now on."""
        self._body_mark = (self.server.now(), 0)

    def expect_end(self, seconds: float) -> None:
        """The exchange is over within `seconds`."""
        self._must_end = self.server.now() + seconds

    def tunnel_opened(self, tunnel: "Tunnel", silence: float) -> None:
        """From now on bytes are not HTTP; `silence` is how many seconds may pass without one, 0: any."""
        self.phase = TUNNEL
        early, self._reader.after_upgrade = self._reader.after_upgrade, b""
        if early:
            tunnel.from_client(early)
        self.release_reading()
        self.expect_more(silence)

    def exchange_over(self, exchange: Answerable) -> None:
        """The exchange is finished: the next request, or the end."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        self.server.exchanges -= 1
        if self.phase is CLOSED:
            return
        if not exchange.keep_alive:
            request = exchange.request
            if request.complete and not request.upgrade and request.fault is None and exchange.tunnel is None:
                self.close()
            else:
                self.linger()
            return
        reader = self._reader
        if self.distrusted or (self._client_ended and not reader.messages):
            self.close()
            return
        self._become_idle()
        if reader.in_head and not reader.messages:
            self._expect_head()
        if self._held and not reader.messages:
            self.release_reading()
        if reader.messages or self._fault is not None:
            # Not from here: a thousand pipelined requests must not become a thousand stack frames.
            self.server.call_soon(self._advance)

    def _become_idle(self) -> None:
        self.phase = IDLE
        self.deadline = self.server.now() + self.server.settings.timeouts.idle

    # --- the end -------------------------------------------------------------------------------------

    @property
    def listener(self) -> "Listener":
        """Where it was accepted."""
        return self._listener

    def judge_again(self) -> None:
        """After a change of whom the listener trusts: a client that it would refuse now has to leave.

        What it is in the middle of ends as if its certificate had expired.
        """
        if self.phase is CLOSED or not self._listener.settings.tls.closes_on_ca_change:
            return
        self.unjudged = self.phase is HANDSHAKE or self.phase is PREFACE
        if not self.unjudged and not self._listener.tls.accepts(self._engine.chain()):
            self.distrusted, self.certificate_until = True, 0.0
            if self.exchange is not None:
                self.exchange.valid_until = 0.0
            self.close_if_idle()

    def retire(self, within: float) -> None:
        """It is old enough: one more request may be on its way, for `within` seconds; a tunnel ends now."""
        if not self.retired:
            self.retired = True
            exchange = self.exchange
            if exchange is not None and exchange.tunnel is not None:
                exchange.tunnel.end("connection_age")
        if self.exchange is None and self.phase is IDLE:
            self.deadline = min(self.deadline, self.server.now() + within)

    def close_if_idle(self) -> None:
        """For a drain: nothing is under way here, so the connection ends now."""
        if self.exchange is None and self.phase in (IDLE, HEAD):
            self.close()

    def _client_left(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.abandon()
            self.server.exchanges -= 1
            self.exchange = None
        self.close()

    def _client_says_no_more(self) -> None:
        """close_notify ends one direction only (RFC 8446 §6.1): what was asked for is still answered."""
        exchange = self.exchange
        if self._client_ended or self.phase is LINGER:
            return
        self._client_ended = True
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.client_ended()
        elif exchange is None or not exchange.request.complete:
            self._client_left()

    def eof_received(self) -> bool:
        if self.phase is not CLOSED:
            if self.phase in (HANDSHAKE, PREFACE):
                self.server.observer.handshake("client_left", self.peer[0])
            self._client_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.server.exchanges -= 1
            exchange.abandon()
        self.phase = CLOSED
        self._transport = None
        self._reader.close()
        self.server.connection_gone(self)

    def pause_writing(self) -> None:
        self.blocked_since = self.server.now()
        if self.exchange is not None:
            self.exchange.hold_upstream()

    def resume_writing(self) -> None:
        self.blocked_since = NEVER
        if self.exchange is not None:
            self.exchange.release_upstream()
        elif not self.is_ending:
            if not self._reader.messages:
                self.release_reading()
            self._advance()

    # --- time (see `deadlines`) ----------------------------------------------------------------------

    def is_past_total(self, now: float) -> bool:
        """Whether the exchange takes longer than any may."""
        return now >= self._must_end and self.exchange is not None and self.exchange.tunnel is None

    def body_is_slow(self, now: float) -> bool:
        """Whether the request body came slower than it must, over the last window."""
        timeouts, exchange = self.server.settings.timeouts, self.exchange
        if exchange is None or exchange.request.complete or self._held:
            return False
        received = exchange.request.body_bytes
        since, mark = self._body_mark
        if (exchange.awaits_continue and not received) or now - since < timeouts.body_rate_window:
            return False
        self._body_mark = (now, received)
        return received - mark < timeouts.body_rate_bytes * (now - since)
