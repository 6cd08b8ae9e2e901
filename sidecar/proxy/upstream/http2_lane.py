"""One request over HTTP/2 to the upstream; its exchange uses it like a connection of HTTP/1.1."""

from abc import abstractmethod
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http.lines import NO_TRAILERS
from sidecar.http.message import Field, MalformedResponse, Response
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import CANCEL, NO_ERROR, REFUSED_STREAM, Http2Events
from sidecar.proxy.http2.fields import http2_fields
from sidecar.proxy.native import mypyc_attr
from sidecar.proxy.upstream import http2_writer
from sidecar.proxy.upstream.connection import Passenger, Pool, UpstreamConnection
from sidecar.proxy.upstream.http1_reader import ResponseReader

_NO_HEADS: Final[list[Response]] = []
_NO_CONTENT: Final[list[bytes]] = []
"""Shared empty lists, which are never changed."""
_STATUS: Final = {b"%d" % status: status for status in range(100, 600)}
_INTERIMS_MOST: Final = 100
"""1xx responses to one request: no window limits them, so a client that does not read cannot hold them back. A large
one counts as several.
"""
_TRIES_LEFT_OVER: Final = 10
"""How often a request is sent again when successive connections end before they process it: an API may close each
connection after a number of requests.
"""


@mypyc_attr(allow_interpreted_subclasses=True)
class Road(Http2Events):
    """The connection of lanes."""

    __slots__ = ("engine", "header_bytes", "reader", "scheme")

    def __init__(self, scheme: bytes, header_bytes: int) -> None:
        self.engine: Http2Engine
        self.reader = ResponseReader()
        """One parser for all lanes of a connection: a lane never reads HTTP/1.1."""
        self.scheme = scheme
        """`https` or `http`: the scheme of the upstream."""
        self.header_bytes = header_bytes
        """Bytes of the fields of a response, and of all 1xx responses to one request together."""

    @abstractmethod
    def begin(self, lane: "Http2Lane", fields: list[Field], *, ends: bool) -> int:
        """Open a stream; returns 0 if the upstream accepts none."""

    @abstractmethod
    def flush_soon(self) -> None:
        """The engine has output: it is sent at the end of this turn of the event loop."""

    @abstractmethod
    def filled(self, lane: "Http2Lane") -> None:
        """Mark a lane whose content may wait for the upstream."""

    @abstractmethod
    def lingers(self, lane: "Http2Lane") -> None:
        """A lane has its response, and the upstream may still take the rest of the request."""

    @abstractmethod
    def left(self, lane: "Http2Lane") -> None:
        """Forget a lane that is done."""


class Http2Lane(UpstreamConnection):
    """One stream."""

    __slots__ = (
        "_held_back",
        "_interims",
        "_is_held",
        "_is_torn",
        "_response",
        "_road",
        "is_closed",
        "is_filled",
        "number",
        "sent_all",
        "source",
    )

    def __init__(self, pool: Pool, road: Road) -> None:
        super().__init__(pool, road.reader)
        self._road = road
        self._response = Response()
        self._is_held = False
        self._is_torn = False
        """The connection is closed."""
        self._held_back = 0
        """Bytes for which no new window was given to the upstream, because nobody takes them."""
        self._interims = 0
        """1xx responses that have arrived, by what they count."""
        self.number = 0
        self.is_closed = False
        """The stream is closed in the engine."""
        self.is_filled = False
        """The connection looks at this lane after it has sent output."""
        self.sent_all = False
        self.source: str | None = None
        """The source of its request, where the pool has counted it."""

    @property
    def is_usable(self) -> bool:
        return not self.is_closed

    @property
    def is_stale(self) -> bool:
        """Whether the upstream did not process the request (RFC 9113 §8.7), or closed before it responded."""
        return self.is_unseen or (self._is_torn and not self._response.status)

    # --- the request ---------------------------------------------------------------------------------

    def carry(
        self,
        passenger: Passenger,
        head: bytes,
        body: bytes = b"",
        end: list[Field] | None = NO_TRAILERS,
        *,
        fields: list[Field] | None = None,
        chunked: bool = False,
        bodiless: bool,
    ) -> None:
        self._passenger = passenger
        if fields is None:
            fields = http2_writer.request_fields(head, self._road.scheme)
        is_all = not body and end is not None and not end
        self.number = self._road.begin(self, fields, ends=is_all)
        if not self.number:
            self.is_closed = self.is_unseen = True
            passenger.upstream_failed(Reason.UPSTREAM_BROKEN, "the upstream takes no more requests")
        elif not is_all:
            self.send(body, end)

    def send(self, body: bytes, end: list[Field] | None) -> bool:
        engine = self._road.engine
        if self.is_closed or self.sent_all:
            return False
        if end:
            if body:
                engine.send(self.number, body, ends=False)
            engine.trail(self.number, http2_fields(end))
        elif body or end is not None:
            engine.send(self.number, body, ends=end is not None)
        self.sent_all = end is not None
        self._road.filled(self)
        return bool(body) or end is not None

    def look(self, buffered: int) -> bool:
        """Called after output was sent; returns whether a part of the request is left and may be sent."""
        waiting = 0 if self.is_closed else self._road.engine.waiting(self.number)
        is_full = waiting > buffered
        if is_full is not self.blocked:
            self._tell_blocked(is_full=is_full)
        return waiting > 0

    def _tell_blocked(self, *, is_full: bool) -> None:
        passenger = self._passenger
        try:
            if is_full:
                self.pause_writing()
            else:
                self.resume_writing()
        except Exception as error:  # noqa: BLE001 — a bug of one exchange must not affect others
            if passenger is not None:
                self.give_up(passenger, error)

    # --- the response --------------------------------------------------------------------------------

    def hold(self) -> None:
        self._is_held = True

    def resume(self) -> None:
        self._is_held = False
        if self._held_back:
            size, self._held_back = self._held_back, 0
            self._road.engine.took(self.number, size)
            self._road.flush_soon()

    def head(self, fields: tuple[Field, ...], *, ends: bool) -> None:
        """The head of a response, interim or not."""
        said = fields[0][1]
        status = 200 if said == b"200" else _STATUS.get(said, 0) or int(said)
        passenger = self._passenger
        if status < 200 and passenger is not None:
            size = sum([len(name) + len(value) for name, value in fields])
            self._interims += max(1, size * _INTERIMS_MOST // self._road.header_bytes)
            if self._interims > _INTERIMS_MOST:
                error = MalformedResponse(f"more than {_INTERIMS_MOST} interim responses, or larger ones")
                self.give_up(passenger, error)
                return
        response = self._response if status >= 200 else Response()
        response.status, response.interim = status, status < 200
        response.fields = received = list(fields)
        del received[0]  # RFC 9113 §8.3.2: `:status` is the only pseudo-header field of a response
        response.keep_alive, response.complete = True, ends
        self._tell([response], _NO_CONTENT)

    def data(self, data: bytes, *, ends: bool) -> None:
        """Content."""
        self._response.complete = ends
        self._held_back += len(data)
        if self._passenger is None:
            self._is_held = False
        else:
            self._tell(_NO_HEADS, [data] if len(data) > 0 else _NO_CONTENT)
        if not self._is_held:
            self.resume()

    def trailers(self, fields: tuple[Field, ...]) -> None:
        """The trailers, which end the response."""
        self._response.trailers, self._response.complete = list(fields), True
        self._tell(_NO_HEADS, _NO_CONTENT)

    def _tell(self, heads: list[Response], body: list[bytes]) -> None:
        passenger = self._passenger
        if passenger is None:
            return
        try:
            passenger.response_arrived(heads, body, self._response)
        except Exception as error:  # noqa: BLE001 — a bug of one exchange must not affect others
            self.give_up(passenger, error)

    # --- the end -------------------------------------------------------------------------------------

    def release(self) -> None:
        self._passenger = None
        self._end(NO_ERROR)

    def discard(self) -> None:
        self._passenger = None
        self._end(CANCEL)

    def _end(self, code: int) -> None:
        if not self.is_closed and self.number:
            if code != NO_ERROR or not self.sent_all:
                self._road.engine.reset(self.number, code)
            elif self._road.engine.waiting(self.number):
                self._road.lingers(self)
        self.resume()
        self._road.flush_soon()

    def left_over(self, last: int) -> None:
        """The upstream sent GOAWAY and processes no stream above `last` (RFC 9113 §6.8)."""
        if last:
            self.tries = _TRIES_LEFT_OVER
        self.closed(NO_ERROR, unseen=True)

    def closed(self, code: int, *, unseen: bool) -> None:
        """The stream is closed; `unseen`: the upstream did not process it."""
        self.is_unseen = unseen or code == REFUSED_STREAM
        if self._passenger is None:
            self._lost("")  # the usual end: no exchange is left to be told
        else:
            self._lost("stream refused" if self.is_unseen else f"stream ended with error {code}")

    def torn(self, detail: str, reason: Reason) -> None:
        """The connection is closed."""
        self._is_torn = True
        self._lost(detail, reason)

    def _lost(self, detail: str, reason: Reason = Reason.UPSTREAM_BROKEN) -> None:
        self.is_closed = True
        passenger, self._passenger = self._passenger, None
        self.resume()
        self._road.left(self)
        if passenger is not None:
            passenger.is_told(reason, detail)
