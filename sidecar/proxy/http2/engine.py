"""Frames, HPACK and flow control of one HTTP/2 connection (RFC 9113), by libnghttp2 through ngh2.

Theory of operation. The engine has no socket and no clock. `receive` takes bytes from the peer; `deliver` then
reports events to the `Http2Events`, up to a number of units of work, and keeps the rest. Data from a client is kept
as received and decoded a few frames at a time (`pieces`), each time after the earlier events were delivered. Calls
such as `respond`, `send` and `reset` become bytes that `outgoing` returns, as far as the peer's windows allow.
`waiting` counts the bytes of a stream for which the peer has no window. Windows are not updated automatically: `took`
reports that content from `data` was taken.

The engine has both roles. A server receives requests by `head` and answers with `respond`. A client sends requests
with `request` and receives responses by `interim` and `head`. Both send content with `send` and end with `send(…,
ends=True)` or `trail`. A stream is over when `closed` was called, and not before; calls for a stream that has ended
meanwhile have no effect. After `Http2Failure` only `farewell` may be called.

Only this module uses ngh2, which the extra `http2` installs: `load` checks whether it is installed.
"""

from functools import lru_cache
from typing import Any, Final

from sidecar.http.message import Field
from sidecar.proxy.http2.events import NO_ERROR, Http2Events
from sidecar.proxy.http2.free_pages import release_free_pages
from sidecar.proxy.http2.pieces import PIECE, PREFACE_BYTES, Pieces

HEAD_WORK: Final = 8
DATA_WORK: Final = 2
"""Units of work for a head and for a piece of content; the end of a stream counts none, any other event one."""

_MAX_CONCURRENT_STREAMS: Final = 0x3
_INITIAL_WINDOW_SIZE: Final = 0x4
_MAX_HEADER_LIST_SIZE: Final = 0x6
_ENABLE_PUSH: Final = 0x2
_NO_RFC7540_PRIORITIES: Final = 0x9
_FIELD_OVERHEAD: Final = 32
"""Bytes that a field counts in addition to its name and value (RFC 9113 §6.5.2)."""
_FOREVER: Final = 1 << 40
"""A rate that is never reached: the owner of the engine counts instead."""
_library: Any = None
_types: Any = None
"""The types of rare events, in the order in which `Http2Engine` looks for them."""
_shared: Any = None
"""The priority of a stream whose content is sent in turn with that of others."""


class Http2Missing(Exception):
    """The extra `http2` is not installed."""


class Http2Failure(Exception):
    """The connection must end because of what the peer sent; the text is for the log."""


def load() -> None:
    """Load the library: it takes 10 ms and 800 kB, and only processes that use HTTP/2 pay for it.

    Raises `Http2Missing`.
    """
    global _library, _types, _shared  # noqa: PLW0603 — cached after the first call
    if _library is None:
        try:
            import ngh2  # noqa: PLC0415 — see above
        except ImportError:
            raise Http2Missing("HTTP/2 needs the package's extra http2, which brings ngh2") from None
        _library = ngh2
        _shared = ngh2.Priority(3, True)
        _types = (
            ngh2.WindowUpdated, ngh2.StreamReset, ngh2.SettingsReceived, ngh2.InformationalResponseReceived,
            ngh2.PingAcknowledged, ngh2.GoAwayReceived, ngh2.ConnectionClosed, ngh2.SettingsAcknowledged,
        )  # fmt: skip


@lru_cache(maxsize=8)
def _configuration(*, is_server: bool, header_bytes: int, headers: int) -> Any:
    """The library's options: one object for all connections with these limits."""
    return _library.Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=2 * (header_bytes + headers * _FIELD_OVERHEAD),
        max_inbound_header_count=2 * headers,
        max_continuations=16,
        stream_reset_rate_limit=(_FOREVER, _FOREVER),
        glitch_rate_limit=(1000, 33) if is_server else (_FOREVER, _FOREVER),
    )


def farewell(code: int) -> bytes:
    """A GOAWAY frame for a connection whose engine has failed: no stream gets a response."""
    return b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0" + code.to_bytes(4, "big")


class Http2Engine:
    """One endpoint of one connection."""

    __slots__ = (
        "_at", "_connection", "_data_received", "_errors", "_events", "_pending", "_request_received",
        "_response_received", "_shared", "_stream_closed", "_trailers_received", "_types", "_undecoded", "extra_work",
    )  # fmt: skip

    def __init__(
        self,
        events: Http2Events,
        *,
        is_server: bool,
        streams: int,
        window: int,
        header_bytes: int,
        headers: int,
    ) -> None:
        """`streams` is how many concurrent streams the peer may open (a server opens none towards a client). `window`
        is how many bytes of each stream it may send before they are taken. `header_bytes` and `headers` limit a head
        or trailers; the engine reads twice as much, so that a larger head can be answered.
        """
        library = _library
        self._events = events
        self._errors: Any = library.NGH2Error
        self._data_received: Any = library.DataReceived  # an attribute costs less than a look-up in a tuple
        self._request_received: Any = library.RequestReceived
        self._response_received: Any = library.ResponseReceived
        self._trailers_received: Any = library.TrailersReceived
        self._stream_closed: Any = library.StreamClosed
        self._types: Any = _types
        self._shared: Any = _shared
        self._pending: list[Any] = []
        self._at = 0
        self._undecoded = Pieces(PREFACE_BYTES, PIECE) if is_server else Pieces(0, _FOREVER)
        self.extra_work = 0
        """Additional units of work for the event that is being delivered; its receiver sets them."""
        configuration = _configuration(is_server=is_server, header_bytes=header_bytes, headers=headers)
        if is_server:
            release_free_pages()
        self._connection: Any = library.Connection(
            library.Role.SERVER if is_server else library.Role.CLIENT, configuration
        )
        settings = {
            _INITIAL_WINDOW_SIZE: window,
            _MAX_HEADER_LIST_SIZE: header_bytes + headers * _FIELD_OVERHEAD,
        }
        if is_server:
            settings[_MAX_CONCURRENT_STREAMS] = streams
            settings[_NO_RFC7540_PRIORITIES] = 1
        else:
            settings[_ENABLE_PUSH] = 0
        self._connection.initiate_connection(settings)

    def widen(self, window: int) -> None:
        """Set the connection window: how many bytes of all streams together the peer may send before they are taken."""
        self._connection.set_local_window_size(window)

    # --- what the peer sends -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Add data from the peer, and decode a piece of it. Raises `Http2Failure`."""
        waits = self.has_events
        self._undecoded.add(data)
        if not waits:
            self._decode()

    def _decode(self) -> None:
        data = self._undecoded.next()
        try:
            self._connection.receive_data(data)
        except self._errors as error:
            self._undecoded.clear()
            raise Http2Failure(str(error)) from None
        finally:
            self._collect()

    def _collect(self) -> None:
        found: list[Any] = self._connection.events()
        if found:
            if self._at < len(self._pending):
                self._pending += found
            else:
                self._pending, self._at = found, 0

    @property
    def has_events(self) -> bool:
        """Whether there are events to deliver."""
        return self._at < len(self._pending) or self._undecoded.has_more

    def deliver(self, work: int) -> int:
        """Deliver events until `work` units are used up; returns the units left, or less than 0.

        Raises `Http2Failure`; the next call still delivers the events before the failure.
        """
        while work > 0:
            if self._at >= len(self._pending):
                if not self._undecoded.has_more:
                    break
                self._decode()
                if self._at >= len(self._pending):
                    work -= 1  # frames without an event
                continue
            event = self._pending[self._at]
            self._at += 1
            work -= self._tell(event, type(event))
            if self.extra_work:
                work -= self.extra_work
                self.extra_work = 0
        if self._at >= len(self._pending):
            self._pending, self._at = [], 0
        return work

    def _tell(self, event: Any, kind: Any) -> int:
        events = self._events
        if kind is self._data_received:
            events.data(event.stream_id, event.data, ends=event.end_stream)
            return DATA_WORK
        if kind is self._request_received or kind is self._response_received:
            events.head(event.stream_id, event.headers, ends=event.end_stream)
            return HEAD_WORK
        if kind is self._stream_closed:
            events.closed(event.stream_id, event.error_code)
            return 0
        if kind is self._trailers_received:
            events.trailers(event.stream_id, event.headers)
        else:
            self._tell_rare(event, kind, self._types)
        return 1

    def _tell_rare(self, event: Any, kind: Any, types: Any) -> None:
        events = self._events
        if kind is types[0]:
            events.noise(of_window=event.increment)
        elif kind is types[1]:
            events.reset(event.stream_id, event.error_code)
        elif kind is types[2]:
            events.settled(event.settings.get(_MAX_CONCURRENT_STREAMS, -1))
        elif kind is types[3]:
            events.interim(event.stream_id, event.headers)
        elif kind is types[4]:
            events.pong()
        elif kind is types[5]:
            events.goaway(event.last_stream_id, event.error_code)
        elif kind is types[6]:
            events.ended(event.error_code, event.debug_data.decode("ascii", "replace"))
        elif kind is not types[7]:
            events.noise(of_window=0)

    def stop(self) -> None:
        """Discard the remaining events."""
        self._pending, self._at = [], 0
        self._undecoded.clear()

    # --- what is said to it --------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        """The bytes that must be sent to the peer now; the call may create events."""
        try:
            data: bytes = self._connection.data_to_send()
        except self._errors:
            return b""
        self._collect()
        return data

    def request(self, fields: list[Field], *, ends: bool) -> int:
        """Open a stream; returns its number, or 0 if the connection accepts no more."""
        try:
            stream: int = self._connection.send_request(fields, end_stream=ends)
        except self._errors:
            return 0
        return stream

    def respond(self, stream: int, fields: list[Field], *, ends: bool) -> None:
        """Send the head of the final response, `:status` first."""
        try:
            self._connection.send_response(stream, fields, end_stream=ends)
        except self._errors:
            pass  # the stream has ended, and `closed` reports it

    def inform(self, stream: int, fields: list[Field]) -> None:
        """Send the head of a 1xx response."""
        try:
            self._connection.send_informational_response(stream, fields)
        except self._errors:
            pass

    def send(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Send content."""
        try:
            self._connection.send_data(stream, data, end_stream=ends)
        except self._errors:
            pass

    def share(self, stream: int) -> None:
        """Send the content of this stream in turn with that of others of equal urgency (RFC 9218 §4.2), not before
        it.
        """
        try:
            self._connection.set_stream_priority(stream, self._shared)
        except self._errors:
            pass

    def trail(self, stream: int, fields: list[Field]) -> None:
        """Send trailer fields; they end this half of the stream."""
        try:
            self._connection.send_trailers(stream, fields)
        except self._errors:
            pass

    def reset(self, stream: int, code: int) -> None:
        """Reset a stream. Its data that `outgoing` has not returned yet is discarded."""
        try:
            self._connection.reset_stream(stream, code)
        except self._errors:
            pass

    def took(self, stream: int, size: int) -> None:
        """Report `size` bytes of content as taken: the peer may send as many more."""
        try:
            self._connection.acknowledge_received_data(size, stream)
        except self._errors:
            pass

    def waiting(self, stream: int) -> int:
        """Number of bytes of a stream that have not been sent."""
        size: int = self._connection.queued_body_size(stream)
        return size

    def ping(self) -> None:
        """Send PING; `pong` is called after a round trip. PING overtakes data that `outgoing` has not returned yet."""
        try:
            self._connection.ping()
        except self._errors:
            pass

    def announce_end(self) -> None:
        """Send a GOAWAY that includes all streams which may be on their way (RFC 9113 §6.8)."""
        try:
            self._connection.send_shutdown_notice()
        except self._errors:
            pass

    def go_away(self, code: int = NO_ERROR, said: bytes = b"") -> None:
        """Send GOAWAY: streams that were reported continue, no others begin."""
        try:
            self._connection.send_goaway(code, debug_data=said)
        except self._errors:
            pass
