"""HTTP/2 on a client connection (RFC 9113): concurrent requests, each on its own stream.

Theory of operation. Plaintext goes into the engine, which reports events to this object, as many at once as the
connection's turn allows (`http2_turns`). Each head becomes an exchange with its own decision, bounds and record. The
engine's output is collected and sent once, at the end of the turn.

A client that exceeds its `Allowance` gets GOAWAY with ENHANCE_YOUR_CALM and has to connect again.
"""

from typing import Final

from sidecar.decision.denial import Reason
from sidecar.decision.request import Presenter
from sidecar.http.forwarding import Forwarding
from sidecar.http.http2_request import HeadReader, Http2Request, refuse
from sidecar.http.http2_trailers import read_trailers
from sidecar.http.message import Fault, Field
from sidecar.proxy.client.host import Host
from sidecar.proxy.client.http2_allowance import Allowance
from sidecar.proxy.client.http2_deferred import Http2Deferred
from sidecar.proxy.client.http2_stream import NOT_AS_LONG, Http2Stream
from sidecar.proxy.client.link import EXCHANGE, IDLE, Link
from sidecar.proxy.configuration import Timeouts
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.http2.engine import HEAD_WORK, Http2Engine, Http2Failure
from sidecar.proxy.http2.events import ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM

_HEAD_BYTES: Final = 1024
"""Bytes of a decoded head, or of trailers, per additional unit of work."""
_ENDING_WORK: Final = 3
"""Units of work for ending an exchange whose request the client has cancelled."""
_NOT_AS_LONG: Final = Fault(Reason.REQUEST_MALFORMED, NOT_AS_LONG)
_STREAMS_HELD: Final = 16
"""Number of streams with a full window that may be held before the connection is held."""


class Http2Wire(Http2Deferred):
    """The streams of one connection."""

    __slots__ = (
        "_allowance", "_announced_at", "_filled", "_heads", "_is_leaving", "_requests",
        "_sheds", "deadline", "streams",
    )  # fmt: skip

    def __init__(
        self, link: Link, host: Host, presenter: Presenter, certificate_until: float, forwarding: Forwarding
    ) -> None:
        super().__init__(link, host, presenter, certificate_until, forwarding)
        limits = host.settings.limits
        self.streams: dict[int, Http2Stream] = {}
        """The streams that are open in the engine."""
        self._filled: list[Http2Stream] = []
        """Streams that may have output waiting for the client: those whose `is_filled` is set, each once."""
        self._heads = HeadReader()
        self._announced_at = NEVER
        """Time at which GOAWAY was announced; after one round trip, no new stream is accepted."""
        self._is_leaving = False
        """No new stream is accepted."""
        self._sheds = False
        self._requests = 0
        self._allowance = Allowance(limits.stream_resets, host.now())
        self.deadline = NEVER
        """Time at which the connection ends if it stays idle."""
        self.engine = Http2Engine(
            self,
            is_server=True,
            streams=limits.concurrent_streams,
            window=limits.buffered_bytes,
            header_bytes=limits.header_bytes,
            headers=limits.headers,
        )
        self.engine.widen(_STREAMS_HELD * limits.buffered_bytes)
        link.phase = IDLE
        self._become_idle()
        self.flush_soon()

    def widen(self) -> None:
        """The client is a proxy with many clients: the connection's window has room for what all its streams may hold,
        so that no client of the proxy holds the content of another. It is returned when half of it was taken.
        """
        limits = self._host.settings.limits
        self.engine.widen(2 * limits.concurrent_streams * limits.buffered_bytes)

    def exchanges(self) -> list[Exchange]:
        """The exchanges in progress."""
        return [one.exchange for one in self.streams.values() if one.exchange is not None]

    def shed(self) -> None:
        """The connection exceeds the limit: every request on it gets a 503."""
        self._sheds = True

    # --- the client ----------------------------------------------------------------------------------

    def flush(self) -> None:
        link = self._link
        if link.is_ending:
            return
        if link.blocked_since != NEVER:
            self._filled = [stream for stream in self._filled if not stream.is_closed]
            for stream in self._filled[:]:
                stream.look(self._host.serving.buffered_bytes)
            return
        filled, self._filled = self._filled, []
        for stream in filled:
            stream.is_filled = False
        data = self.engine.outgoing()
        if data:
            self._allowance.transferred(self.engine.sent)
            self.engine.sent = 0
            link.write(data)
        self._see_ends()  # before the streams are examined: most of them ended with this output
        for stream in filled:
            if not stream.is_closed and not stream.is_filled:
                if stream.look(self._host.serving.buffered_bytes):
                    stream.is_filled = True
                    self._filled.append(stream)
                else:
                    stream.settle()
        if self._is_leaving and not (self.streams or self._deferred or link.is_ending):
            link.close()

    def filled(self, stream: Http2Stream) -> None:
        """Mark a stream whose content may wait for the client."""
        if not stream.is_filled:
            stream.is_filled = True
            self._filled.append(stream)
        self.flush_soon()

    def left(self, stream: Http2Stream) -> None:
        """Forget the stream of an exchange that is over."""
        under_way = self._all_under_way
        under_way.count -= 1
        under_way.streams -= 1
        self.under_way -= 1
        self.was_permitted |= stream.was_permitted
        if not self.under_way:
            self._become_idle()

    def _become_idle(self) -> None:
        if self._link.phase is EXCHANGE:
            self._link.phase = IDLE
        self.deadline = self.now() + self._host.serving.idle_timeout

    # --- what the engine tells -----------------------------------------------------------------------

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        serving = self._host.serving
        target, size, count = serving.target_bytes, serving.header_bytes, serving.headers
        request = self._heads.read(fields, ends=ends, target_bytes=target, header_bytes=size, headers=count)
        if request.defers:
            self._deferred[stream] = (request, self._host.now())
        else:
            self._begin(stream, request, serving, is_closed=False)

    def _begin(self, number: int, request: Http2Request, serving: Serving, *, is_closed: bool) -> None:
        link = self._link
        stream = Http2Stream(self, number, request)
        stream.is_closed = is_closed
        if not is_closed:
            self.streams[number] = stream
        under_way = self._all_under_way
        under_way.count += 1
        under_way.streams += 1
        self.under_way += 1
        self._requests += 1
        self._allowance.requests += 1
        if link.phase is IDLE:
            link.phase = EXCHANGE
        most = serving.requests_per_connection
        if most and self._requests >= most:
            self._go_away()
        self.engine.extra_work = request.head_bytes // _HEAD_BYTES + stream.begin(serving, sheds=self._sheds)

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        found = self.streams.get(stream)
        if not data and not ends:
            self.noise(of_window=0)
        elif self._deferred and stream in self._deferred:
            self._begin_deferred(stream, _NOT_AS_LONG if data else None, ends=ends)
            self.engine.took(stream, len(data))
        elif found is not None:
            self._allowance.transferred(len(data))
            found.take(data, ends=ends)
        elif data:
            self.engine.took(stream, len(data))

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        found = self.streams.get(stream)
        if self._deferred and stream in self._deferred:
            limit = self._host.settings.limits.trailer_bytes
            read_trailers(self._deferred[stream][0], fields, limit)
            self._begin_deferred(stream, None, ends=True)
        elif found is not None:
            read_trailers(found.request, fields, self._host.settings.limits.trailer_bytes)
            self.engine.extra_work = found.request.trailer_bytes // _HEAD_BYTES
            found.end()

    def reset(self, stream: int, code: int) -> None:
        found = self.streams.get(stream)
        if found is not None and found.exchange is not None:
            found.close()
            self._count_reset()
        else:
            self.noise(of_window=0)

    def closed(self, stream: int, code: int) -> None:
        found = self.streams.pop(stream, None)
        if found is None:
            # Nobody was told of a complete request. It counts as one, and has a record.
            if self._deferred and stream in self._deferred:
                self._take_back(stream)
            else:
                request = Http2Request()
                refuse(request, is_one_too_many=code == REFUSED_STREAM)
                self._begin(stream, request, self._host.serving, is_closed=True)
            self.engine.extra_work = HEAD_WORK
            self._count_reset()
            return
        if found.exchange is not None:
            self._count_reset()
        found.close(Reason.REQUEST_MALFORMED, "content or trailers are malformed (RFC 9113 §8.1.1)")

    def settled(self, streams: int) -> None:
        self.noise(of_window=0)

    def pong(self) -> None:
        if self._announced_at != NEVER:
            self._go_away()

    def noise(self, *, of_window: int) -> None:
        if not self._allowance.takes_noise():
            self._break_off(ENHANCE_YOUR_CALM, "frames that ask for nothing")

    def ended(self, code: int, detail: str) -> None:
        if code != NO_ERROR:
            self._tell(code, detail)
        self.gone()
        if data := self.engine.outgoing():
            self._link.write(data)
        if code == NO_ERROR:
            self._link.close()
        else:
            self._link.linger()

    def _tell(self, code: int, detail: str) -> None:
        incident = "http2_flood" if code == ENHANCE_YOUR_CALM else "http2_broken"
        self._host.observer.incident(incident, f"{self.presenter.peer}: {detail}"[:200])

    def _count_reset(self) -> None:
        self.engine.extra_work += _ENDING_WORK
        self.refusals += 1  # it produced no answer of the API, like a refused request
        if not self._allowance.takes_reset():
            self._break_off(ENHANCE_YOUR_CALM, "streams reset before they had an answer")

    def failed(self, failure: Http2Failure) -> None:
        self._break_off(failure.code, str(failure))

    # --- the end -------------------------------------------------------------------------------------

    def _break_off(self, code: int, detail: str) -> None:
        """End everything in progress and the connection."""
        link = self._link
        if link.is_ending:
            return
        self._tell(code, detail)
        self.engine.stop()
        self.gone()
        link.write(self.engine.farewell(code))
        link.linger()

    def _leave(self) -> None:
        """Accept no new stream after one round trip; streams that are on their way are still served."""
        if self._announced_at == NEVER and not self._is_leaving:
            self._announced_at = self._host.now()
            self.engine.announce_end()
            self.flush()  # otherwise PING would overtake it
            self.engine.ping()
            self.flush_soon()

    def _go_away(self) -> None:
        """Accept no new stream."""
        if not self._is_leaving:
            self._is_leaving = True
            self.engine.go_away()
            self.flush_soon()

    def drain(self, deadline: float) -> None:
        """The server stops soon: requests in progress, and those that arrive within a round trip, are served."""
        self._leave()
        if not self.under_way:
            self.deadline = min(self.deadline, deadline)

    def retire(self, within: float) -> None:
        """The connection has reached its maximum age; streams may still arrive for `within` seconds."""
        self._leave()
        if not self.under_way:
            self.deadline = min(self.deadline, self._host.now() + within)

    def distrust(self) -> None:
        """The client would be refused now. Requests in progress end as if the client's certificate had expired."""
        self.certificate_until = 0.0
        for stream in tuple(self.streams.values()):
            stream.distrust()
        self._distrust_deferred()
        self._go_away()

    def says_no_more(self) -> bool:
        """The client sent close_notify, which ends one direction only (RFC 8446 §6.1): requests already sent are
        answered. Returns whether there are none.
        """
        self._client_ended = True
        if self.engine.has_events:
            return False  # it is checked after they were processed
        return self.end_halves()

    def end_halves(self) -> bool:
        for stream in tuple(self.streams.values()):
            if not stream.request.complete:
                stream.give_up()
        self._is_leaving = True
        self._take_all_back()
        self.flush_soon()
        return not (self.streams or self._deferred)

    def blocked(self) -> None:
        """The client does not read, and the send buffer is full."""
        for exchange in self.exchanges():
            exchange.hold_upstream()

    def unblocked(self) -> None:
        """The client reads again."""
        for stream in self.streams.values():
            if stream.exchange is not None and not stream.is_full:
                stream.exchange.release_upstream()
        self.flush_soon()
        if not self._waits:
            self._read_on()

    def lost(self) -> None:
        self.gone()
        self._allowance.tell(self._host.observer)

    def gone(self) -> None:
        """The client has disconnected: nobody waits for an answer. A few exchanges are ended in each turn."""
        waits = bool(self._leavers)
        self._leavers.extend(self.streams.values())
        self.streams, self._filled = {}, []
        self._is_leaving = self._is_gone = True
        for stream in self._leavers:
            stream.is_closed = True
        if not waits:
            self._end_some()
        self._take_all_back()

    # --- time ----------------------------------------------------------------------------------------

    def rest(self) -> None:
        """The connection is idle: release the memory that its requests needed."""
        if not self.streams and not self._deferred:
            # An empty dictionary keeps the room that its entries needed.
            self.streams, self._deferred = {}, {}
            self._heads.rest()
            self.engine.rest()

    def check(self, now: float, wall: float, timeouts: Timeouts) -> None:
        """Act on expired limits. `now` is monotonic seconds, `wall` seconds since the epoch."""
        self._allowance.grow(now, self._host.settings.limits.stream_resets)
        self._allowance.tell(self._host.observer)
        link = self._link
        for stream in tuple(self.streams.values()):
            stream.check(now, wall, timeouts, is_blocked=link.blocked_since != NEVER)
        if self._has_stalled():
            self._host.call_soon(self._end_more_stalled, self.refusals)
        if now - self._announced_at >= timeouts.request_head:
            self._go_away()  # the client does not answer PING
        if link.blocked_since != NEVER:
            return
        is_overdue = now - self._unanswered_since >= timeouts.request_head
        if self.streams:
            if is_overdue and self.engine.is_within_head:  # content has the time limits of its stream
                self._break_off(ENHANCE_YOUR_CALM, "fields that did not end in time")
        elif is_overdue or now >= self.deadline:
            self._go_away()
            self.flush()
