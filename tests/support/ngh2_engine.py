"""libnghttp2 through ngh2, behind the interface of `sidecar.proxy.http2.engine`: what our engine is compared with.

It reports all that it was given at once, so it must be given one frame at a time if the receiver answers events.
"""

from contextlib import suppress
from typing import Final

import ngh2

from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Failure
from sidecar.proxy.http2.events import NO_ERROR, Http2Events
from sidecar.proxy.http2.frames import (
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
)

_FOREVER: Final = 1 << 40
"""A rate that is never reached."""
_FIELD_OVERHEAD: Final = 32
_late = suppress(ngh2.NGH2Error)
"""Calls for a stream that has ended have no effect."""


class Ngh2Engine:
    """One endpoint of one connection."""

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
        self._events = events
        self._pending: list[ngh2.Event] = []
        listed = header_bytes + headers * _FIELD_OVERHEAD
        configuration = ngh2.Configuration(
            auto_window_update=False,
            max_inbound_header_list_size=2 * listed,
            max_inbound_header_count=2 * headers,
            max_continuations=16,
            stream_reset_rate_limit=(_FOREVER, _FOREVER),
            glitch_rate_limit=(_FOREVER, _FOREVER),
        )
        self._connection = ngh2.Connection(ngh2.Role.SERVER if is_server else ngh2.Role.CLIENT, configuration)
        settings = {INITIAL_WINDOW_SIZE: window, MAX_HEADER_LIST_SIZE: listed}
        if is_server:
            settings |= {MAX_CONCURRENT_STREAMS: streams, NO_RFC7540_PRIORITIES: 1}
        else:
            settings |= {ENABLE_PUSH: 0}
        self._connection.initiate_connection(settings)

    def widen(self, window: int) -> None:
        self._connection.set_local_window_size(window)

    # --- what the peer sends -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Decode data from the peer. Raises `Http2Failure`."""
        try:
            self._connection.receive_data(data)
        except ngh2.NGH2Error as error:
            raise Http2Failure(str(error)) from None
        finally:
            self._pending += self._connection.events()

    @property
    def has_events(self) -> bool:
        return bool(self._pending)

    def deliver(self, work: int) -> int:
        """Deliver all events."""
        while self._pending:
            self._tell(self._pending.pop(0))
        return work

    def _tell(self, event: ngh2.Event) -> None:
        events = self._events
        match event:
            case ngh2.DataReceived():
                events.data(event.stream_id, event.data, ends=event.end_stream)
            case ngh2.RequestReceived() | ngh2.ResponseReceived():
                events.head(event.stream_id, event.headers, ends=event.end_stream)
            case ngh2.StreamClosed():
                events.closed(event.stream_id, event.error_code)
            case ngh2.TrailersReceived():
                events.trailers(event.stream_id, event.headers)
            case ngh2.StreamReset():
                events.reset(event.stream_id, event.error_code)
            case ngh2.InformationalResponseReceived():
                events.interim(event.stream_id, event.headers)
            case _:
                self._tell_of_connection(event)

    def _tell_of_connection(self, event: ngh2.Event) -> None:
        events = self._events
        match event:
            case ngh2.WindowUpdated():
                events.noise(of_window=event.increment)
            case ngh2.SettingsReceived():
                events.settled(event.settings.get(MAX_CONCURRENT_STREAMS, -1))
            case ngh2.PingAcknowledged():
                events.pong()
            case ngh2.GoAwayReceived():
                events.goaway(event.last_stream_id, event.error_code)
            case ngh2.ConnectionClosed():
                events.ended(event.error_code, event.debug_data.decode("ascii", "replace"))
            case _:
                pass  # what our engine reports as noise without a window

    # --- what is said to it --------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        """The bytes that must be sent to the peer now; the call may create events."""
        try:
            return self._connection.data_to_send()
        except ngh2.NGH2Error:
            return b""
        finally:
            self._pending += self._connection.events()

    def request(self, fields: list[Field], *, ends: bool) -> int:
        try:
            return self._connection.send_request(fields, end_stream=ends)
        except ngh2.NGH2Error:
            return 0

    def respond(self, stream: int, fields: list[Field], *, ends: bool) -> None:
        with _late:
            self._connection.send_response(stream, fields, end_stream=ends)

    def inform(self, stream: int, fields: list[Field]) -> None:
        with _late:
            self._connection.send_informational_response(stream, fields)

    def send(self, stream: int, data: bytes, *, ends: bool) -> None:
        with _late:
            self._connection.send_data(stream, data, end_stream=ends)

    def trail(self, stream: int, fields: list[Field]) -> None:
        with _late:
            self._connection.send_trailers(stream, fields)

    def reset(self, stream: int, code: int) -> None:
        with _late:
            self._connection.reset_stream(stream, code)

    def took(self, stream: int, size: int) -> None:
        with _late:
            self._connection.acknowledge_received_data(size, stream)

    def ping(self) -> None:
        with _late:
            self._connection.ping()

    def go_away(self, code: int = NO_ERROR, said: bytes = b"") -> None:
        with _late:
            self._connection.send_goaway(code, debug_data=said)
