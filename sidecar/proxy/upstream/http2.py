"""HTTP/2 to the upstream: a few connections, each with many concurrent requests.

Theory of operation. An exchange gets a lane on a connection that has room. If there is none, another connection is
opened, and requests that arrive meanwhile queue. After a GOAWAY from the upstream, a connection takes no new
requests: those in progress continue, those that were not processed are sent again on another connection (RFC 9113
§6.8, §8.7).

One source may use three quarters of the streams, as with connections of HTTP/1.1. The streams of each source are
counted only while so many are in use, and until these are half as many: otherwise counting would begin anew with each
request at the limit. The number of streams depends on the upstream, which announces it for each connection; a
connection that is still opening is assumed to have the last number.
"""

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import HTTP2, UpstreamSettings
from sidecar.proxy.upstream.connection import Passenger
from sidecar.proxy.upstream.http2_lane import Http2Lane
from sidecar.proxy.upstream.http2_road import STREAMS, Http2Connection, Http2Road, Roads
from sidecar.proxy.upstream.pool import NO_HTTP2, share_of
from sidecar.proxy.upstream.transports import Connect
from sidecar.telemetry.record import Observer


class Http2Pool(Roads):
    """Gives each exchange a lane."""

    def __init__(
        self,
        settings: UpstreamSettings,
        connect: Connect,
        observer: Observer,
        *,
        buffered_bytes: int = 65536,
        header_bytes: int = 32768,
        headers: int = 100,
    ) -> None:
        super().__init__(settings, connect, observer, buffered_bytes=buffered_bytes)
        self.limits = (2 * header_bytes, 2 * headers)
        self._roads: dict[Http2Road, bool] = {}
        self._carried = 0
        """Number of requests that are on a connection."""
        self.streams_at_first = STREAMS
        self._count()

    @property
    def connections(self) -> int:
        return len(self._roads) + len(self._opening)

    # --- one source and the others -------------------------------------------------------------------

    def taken(self, lane: Http2Lane) -> None:
        self._carried += 1
        if self._is_crowded:
            self._charge_to_source(lane)
        elif self._carried >= self._share:
            self._look_around()

    def freed(self, lane: Http2Lane) -> None:
        self._carried -= 1
        if self._is_crowded:
            if lane.source is not None:
                self._one_less(lane.source)
            self._look_around()
        self.has_room_again()

    def _look_around(self) -> None:
        """Begin or end to count by source."""
        if self._carried >= self._share and not self._is_crowded:
            self._is_crowded = True
            for road in self._roads:
                for lane in road.lanes.values():
                    self._charge_to_source(lane)
        elif self._is_crowded and 2 * self._carried < self._share:
            self._is_crowded, self._by_source = False, {}

    def _charge_to_source(self, lane: Http2Lane) -> None:
        passenger = lane.passenger
        lane.source = None
        if passenger is not None:
            lane.source = source = passenger.source
            self._one_more(source)

    def told(self, streams: int) -> None:
        self.streams_at_first = max(1, streams)
        self._count()
        self.has_room_again()

    def _count(self) -> None:
        open_ones = sum(road.most for road in self._roads)
        to_come = max(0, self.settings.max_connections - len(self._roads)) * self.streams_at_first
        self._share = max(1, share_of(open_ones + to_come))
        self._look_around()

    def _charge(self, what: object, source: str) -> None:
        """Streams are counted, not connections: `taken`."""

    def _with_room(self) -> Http2Road | None:
        """A connection that accepts another request; None if there is none."""
        for road in self._roads:
            if road.has_room:
                return road
        return None

    # --- requests ------------------------------------------------------------------------------------

    def submit(self, passenger: Passenger) -> None:
        if self._is_crowded and self._by_source.get(passenger.source, 0) >= self._share:
            self._queue(passenger)
            return
        road = self._with_room()
        if road is not None:
            passenger.attach(Http2Lane(self, road))
        elif self._opening or self.connections >= self.settings.max_connections:
            self._queue(passenger)
        elif self._loop.time() < self._down_until:
            passenger.upstream_failed(Reason.UPSTREAM_REFUSED, "the upstream is down")
        else:
            self._open_for(passenger)

    def submit_fresh(self, passenger: Passenger) -> None:
        self.submit(passenger)

    async def _open_connection(self, passenger: Passenger) -> None:
        scheme = b"https" if self.settings.scheme == "https" else b"http"
        road = Http2Road(self, self._loop, scheme)
        connection = await self._connected(passenger, lambda: Http2Connection(road))
        if connection is None:
            return
        transport = road.transport
        secured = transport.get_extra_info("ssl_object") if transport is not None else None
        if transport is None or (secured is not None and secured.selected_alpn_protocol() != HTTP2):
            if transport is not None:
                transport.abort()
            self._failed(passenger, Reason.UPSTREAM_REFUSED, NO_HTTP2)
            return
        assert isinstance(connection, Http2Connection)  # noqa: S101 — for the type checker
        transport.set_write_buffer_limits(high=self.buffered_bytes)
        self._roads[road] = True
        self._count()
        road.idle_until = self._loop.time() + self.settings.idle_timeout
        self._waiting.appendleft(passenger)
        self.has_room_again()

    def has_room_again(self) -> None:
        """Dispatch queued requests, as many as there is room for."""
        while self._waiting:
            road = self._with_room()
            if road is None and (self._opening or self.connections >= self.settings.max_connections):
                return
            passenger = self._next_in_line()
            if passenger is None:
                return
            if road is None:
                self._open_for(passenger)
                return
            passenger.is_put_on(Http2Lane(self, road))

    def is_no_http2(self) -> None:
        self._observer.incident("upstream_down", NO_HTTP2)

    def forget_road(self, road: Http2Road) -> None:
        """Remove a closed connection."""
        if self._roads.pop(road, None) is not None:
            self._count()
            self._loop.call_soon(self.has_room_again)

    def close_idle(self, now: float) -> None:
        for road in tuple(self._roads):
            road.check(now)

    def retire(self) -> None:
        self._retired = True
        for road in tuple(self._roads):
            road.leave()

    def close(self) -> None:
        self._waiting.clear()
        for task in tuple(self._opening):
            task.cancel()
        for road in tuple(self._roads):
            road.fail("closed")
