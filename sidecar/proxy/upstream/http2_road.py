"""One HTTP/2 connection to the upstream, and the requests on it (RFC 9113).

Theory of operation. A lane opens a stream here and receives its events, as many at once as a turn of the event loop
allows; until the next turn nothing more is read. The engine's output is collected and sent once, at the end of the
turn. If nothing arrives for a while although a response is due, a PING is sent; without an answer to it, the connection
is closed.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final, cast

from sidecar.decision.denial import Reason
from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.upstream.http2_lane import Http2Lane, Road
from sidecar.proxy.upstream.http2_noise import NoiseAllowance
from sidecar.proxy.upstream.pool import NO_HTTP2, UpstreamPool

STREAMS: Final = 100
"""Concurrent requests on one connection: the number until the upstream announces its own, and the maximum."""
_REST_AFTER: Final = 1.0
"""Seconds without a request after which a connection keeps nothing of the last."""
_SILENCE: Final = 10.0
"""Seconds without data, while a response is due, after which PING is sent."""
_SILENCE_AFTER_SIGN: Final = 301.0
"""Seconds until the next PING: a gRPC server may close connections that ping again within five minutes (gRFC A8)."""
_FAULT: Final = "an internal error"
_SETTINGS: Final = b"\4"
"""Type of the first frame of a server (RFC 9113 §3.4); it is the fourth byte."""
_TURN: Final = 1024
"""Units of work in one turn of the event loop: small answers to all requests, or a thousand frames for nothing."""
_WINDOWS: Final = 2 * STREAMS
"""Windows of streams that make the window of the connection: a client that takes nothing holds its own streams, and no
others. Twice their number, because the connection's window is returned when half of it was taken.
"""


class Roads(UpstreamPool):
    """The pool, as its connections use it."""

    limits: tuple[int, int]
    """Bytes and number of the fields that a response may have."""
    streams_at_first: int
    """Assumed number of streams until the upstream announces it: the last announced one, at least one."""

    @abstractmethod
    def taken(self, lane: Http2Lane) -> None:
        """A stream carries a request."""

    @abstractmethod
    def freed(self, lane: Http2Lane) -> None:
        """A stream carries no request any more."""

    @abstractmethod
    def told(self, streams: int) -> None:
        """The number of concurrent streams that a connection allows."""

    @abstractmethod
    def is_no_http2(self) -> None:
        """The server on a new connection does not speak HTTP/2."""

    @abstractmethod
    def forget_road(self, road: "Http2Road") -> None:
        """Remove a closed connection."""


class Http2Road(Road):
    """The requests on one connection."""

    __slots__ = (
        "_asked_at", "_call_soon", "_filled", "_flushes", "_has_heard", "_has_settled", "_latest", "_lingering",
        "_loop", "_lost", "_noise", "_pool", "_waits", "heard_at", "idle_until", "is_blocked",
        "is_leaving", "lanes", "most", "ponged_at", "transport",
    )  # fmt: skip

    def __init__(self, pool: Roads, loop: asyncio.AbstractEventLoop, scheme: bytes) -> None:
        super().__init__(scheme, pool.limits[0])
        self._pool = pool
        self._loop = loop
        self._call_soon: Callable[[Callable[[], object]], object] = loop.call_soon
        self._flushes = False
        self._asked_at = 0.0
        self._has_heard = False
        """Data has arrived since the last check."""
        self.heard_at = loop.time()
        self.ponged_at = 0.0
        """Time of the last data, and of the last PING."""
        self.idle_until = 0.0
        self.is_blocked = False
        """The transport accepts no more data for now."""
        self.is_leaving = False
        """No new request uses this connection."""
        self._waits = False
        """Received data waits for the next turn."""
        self._lost = ""
        """Why the connection was closed while data waited."""
        self._noise = NoiseAllowance(self.heard_at)
        self.lanes: dict[int, Http2Lane] = {}
        self._latest: Http2Lane | None = None
        """The lane of the latest event: the next is often for the same."""
        self._filled: list[Http2Lane] = []
        """Lanes whose content may wait for the upstream: those whose `is_filled` is set, each once."""
        self._lingering: dict[int, float] = {}
        """Streams that have their response, but not sent all of the request → time until which they may."""
        self.most = pool.streams_at_first
        self._has_settled = False
        """The first SETTINGS of the upstream have arrived."""
        self.transport: asyncio.Transport | None = None
        size, number = pool.limits
        self.engine = Http2Engine(
            self, is_server=False, streams=0, window=pool.buffered_bytes, header_bytes=size, headers=number
        )
        self.engine.widen(_WINDOWS * pool.buffered_bytes)

    @property
    def has_room(self) -> bool:
        """Whether another request may use this connection."""
        return not self.is_leaving and self.transport is not None and len(self.lanes) < self.most

    # --- what is sent --------------------------------------------------------------------------------

    def begin(self, lane: Http2Lane, fields: list[Field], *, ends: bool) -> int:
        number = 0 if self.is_leaving else self.engine.request(fields, ends=ends)
        if number:
            if not self.lanes:
                self.heard_at = self._loop.time()
            self.lanes[number] = lane
            self._pool.taken(lane)
            self.flush_soon()
        else:
            self.is_leaving = True
        return number

    def flush_soon(self) -> None:
        if not self._flushes:
            self._flushes = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        try:
            self._send()
        except BaseException:
            self.fail(_FAULT)  # the loop calls it: nobody else would end the connection
            raise

    def _send(self) -> None:
        """Send the output, and find the lanes that can continue."""
        transport = self.transport
        if transport is None:
            return
        if not self.is_blocked:
            data = self.engine.outgoing()
            if data:
                transport.write(data)
            if not self._waits:
                self._deliver()
        if self._filled:
            filled, self._filled = self._filled, []
            buffered = self._pool.buffered_bytes
            for lane in filled:
                lane.is_filled = False
            for lane in filled:
                if not lane.is_filled and lane.look(buffered):
                    self._mark(lane)
        if self.is_leaving and not self.lanes:
            self._pool.part_with(transport)

    def filled(self, lane: Http2Lane) -> None:
        self._mark(lane)
        self.flush_soon()

    def _mark(self, lane: Http2Lane) -> None:
        if not lane.is_filled:
            lane.is_filled = True
            self._filled.append(lane)

    def lingers(self, lane: Http2Lane) -> None:
        self._lingering[lane.number] = self._loop.time() + self._pool.settings.idle_timeout

    def left(self, lane: Http2Lane) -> None:
        if self.lanes.pop(lane.number, None) is None:
            return
        if self._lingering:
            self._lingering.pop(lane.number, None)
        self._latest = None
        if not self.lanes:
            self.idle_until = self._loop.time() + self._pool.settings.idle_timeout
        self._pool.freed(lane)

    # --- what comes ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Process bytes of the upstream."""
        self.heard_at, self._asked_at = self._loop.time(), 0.0
        if not self._has_heard:
            self._has_heard = True
            if data[3:4] not in (b"", _SETTINGS):
                self._pool.is_no_http2()
                self.fail(NO_HTTP2, Reason.UPSTREAM_REFUSED)
                return
        self.engine.receive(data)
        if not self._waits:
            self._deliver()
        self.flush_soon()

    def _deliver(self) -> None:
        """Deliver the events that a turn allows."""
        try:
            left = self.engine.deliver(_TURN)
        except Http2Failure as failure:
            self.fail(f"HTTP/2: {failure}"[:200])
            return
        if left <= 0 and self.engine.has_events and not self._waits:
            self._waits = True
            if self.transport is not None:
                self.transport.pause_reading()
            self._call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Continue after all others have had their turn."""
        self._waits = False
        if self.transport is None and not self._lost:
            return
        try:
            self._deliver()
        except BaseException:
            self.fail(_FAULT)
            raise
        if self._waits:
            return
        if self._lost:
            self.fail(self._lost)
        elif self.transport is not None:
            self.transport.resume_reading()
            self.flush_soon()

    def _lane(self, stream: int) -> Http2Lane | None:
        lane = self._latest
        if lane is None or lane.number != stream:
            lane = self._latest = self.lanes.get(stream)
        return lane

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        lane = self._lane(stream)
        if lane is not None:
            lane.head(fields, ends=ends)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        self.head(stream, fields, ends=False)

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        if not data and not ends:
            self.noise(of_window=0)
            return
        lane = self._lane(stream)
        if lane is not None:
            lane.data(data, ends=ends)
        else:
            self.engine.took(stream, len(data))

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        lane = self._lane(stream)
        if lane is not None:
            lane.trailers(fields)

    def reset(self, stream: int, code: int) -> None:
        pass  # `closed` follows, with the code

    def closed(self, stream: int, code: int) -> None:
        lane = self._lane(stream)
        if lane is not None:
            lane.closed(code, unseen=False)

    def goaway(self, last: int, code: int) -> None:
        self.is_leaving = True
        for number, lane in tuple(self.lanes.items()):
            if number > last:
                lane.left_over(last)

    def settled(self, streams: int) -> None:
        if streams >= 0 or not self._has_settled:
            # RFC 9113 §6.5.2: without this setting there is no limit.
            self.most = STREAMS if streams < 0 else min(streams, STREAMS)
            self._has_settled = True
            self._pool.told(self.most)

    def pong(self) -> None:
        self.ponged_at = self.heard_at

    def noise(self, *, of_window: int) -> None:
        if self._noise.takes():
            return
        engine = self.engine
        if self._noise.grow(self._loop.time(), engine.opened, engine.sent):
            engine.sent = 0
        else:
            engine.stop()
            self.fail("HTTP/2: frames that ask for nothing")

    def ended(self, code: int, detail: str) -> None:
        data = self.engine.outgoing()
        if data and self.transport is not None:
            self.transport.write(data)
        self.fail("the upstream ended its connection" if not code else f"HTTP/2: {detail}"[:200])

    # --- the end -------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection if it does not answer PING, or if it is unused; an idle one forgets its last request. A
        stream for which nobody waits ends: like an unused connection of HTTP/1.1, it may have a part of a request left.
        """
        for number, until in tuple(self._lingering.items()):
            if now >= until:
                self.lanes[number].discard()
        if not self.lanes:
            if now >= self.idle_until:
                self.leave()
            elif now >= self.idle_until - self._pool.settings.idle_timeout + _REST_AFTER:
                self.engine.rest()
        elif self._asked_at and now - self._asked_at > self._pool.settings.connect_timeout:
            self.fail("the upstream gives no sign of life")
        elif not self._asked_at and now - self.heard_at > (
            _SILENCE_AFTER_SIGN if self.ponged_at == self.heard_at else _SILENCE
        ):
            self._asked_at = now
            self.engine.ping()
            self.flush_soon()

    def lose(self, detail: str) -> None:
        """The connection is closed. What arrived before is still processed."""
        if self._waits and self.transport is not None:
            self.transport, self.is_leaving, self._lost = None, True, detail
        else:
            self.fail(detail)

    def leave(self) -> None:
        """Accept no new requests; close when those in progress are done."""
        if not self.is_leaving:
            self.is_leaving = True
            self.engine.go_away()
            self.flush_soon()

    def fail(self, detail: str, reason: Reason = Reason.UPSTREAM_BROKEN) -> None:
        """The connection has failed: report it to each request on it."""
        self.is_leaving, self._lost = True, ""
        self._filled = []
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        try:
            for lane in tuple(self.lanes.values()):
                lane.torn(detail, reason)
        finally:
            self._pool.forget_road(self)


class Http2Connection(asyncio.Protocol):
    """The transport of a connection."""

    def __init__(self, road: Http2Road) -> None:
        self.road = road

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.road.transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit it
        self.road.flush_soon()

    def data_received(self, data: bytes) -> None:
        self.road.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.road.lose("connection closed" if exc is None else type(exc).__name__)

    def pause_writing(self) -> None:
        self.road.is_blocked = True

    def resume_writing(self) -> None:
        self.road.is_blocked = False
        self.road.flush_soon()
