"""One endpoint of an HTTP/2 connection: frames, compression, states and flow control (RFC 9113).

Theory of operation. The engine has no socket and no clock. `receive` keeps bytes from the peer. `deliver` reads frame
after frame and reports them to the `Http2Events`, up to a number of units of work; what is behind that is not even
decoded. Calls such as `respond`, `send` and `reset` become bytes that `outgoing` returns (`outbound`). Windows are not
updated automatically: `took` reports that content from `data` was taken. Content is reported as it arrives, also when
its frame is incomplete.

The engine has both roles. A server receives requests by `head` and answers with `respond`. A client sends requests
with `request` and receives responses by `interim` and `head`. Both send content with `send` and end with `send(…,
ends=True)` or `trail`. A stream is over when `closed` was called, and not before; calls for a stream that has ended
meanwhile have no effect. After `Http2Failure` only `farewell` may be called.

An error of a stream resets it, and `closed` has the error code. An error of the connection ends it with GOAWAY, and
`ended` has the cause.
"""

from typing import Final

from sidecar.http.http2_field import MalformedField
from sidecar.http.message import Field
from sidecar.proxy.http2 import frames
from sidecar.proxy.http2.control import Broken
from sidecar.proxy.http2.events import (
    COMPRESSION_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Http2Events,
)
from sidecar.proxy.http2.hpack import HeaderDecoder, HpackError
from sidecar.proxy.http2.hpack_names import REQUESTS, RESPONSES
from sidecar.proxy.http2.inbound import DATA_WORK, HEAD_WORK, Http2Failure, Inbound
from sidecar.proxy.http2.messages import Messages
from sidecar.proxy.http2.streams import NORMAL, Stream

__all__ = ["DATA_WORK", "HEAD_WORK", "Http2Engine", "Http2Failure"]

_FIELD_OVERHEAD: Final = 32
"""Bytes that a field counts in addition to its name and value (RFC 9113 §6.5.2)."""


class Http2Engine(Inbound):
    """One endpoint of one connection."""

    __slots__ = ("_decoder", "_messages", "_streams_most", "extra_work")

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
        listed = header_bytes + headers * _FIELD_OVERHEAD
        super().__init__(events, is_server=is_server, window=window, block_most=2 * listed)
        self._streams_most = streams
        self._decoder = HeaderDecoder(2 * listed, 2 * headers, REQUESTS if is_server else RESPONSES)
        self._messages = Messages()
        self.extra_work = 0
        """Additional units of work for the event that is being delivered; its receiver sets them."""
        settings = {
            frames.INITIAL_WINDOW_SIZE: window,
            frames.MAX_HEADER_LIST_SIZE: min(listed, frames.SETTING_MOST),
        }
        if is_server:
            settings[frames.MAX_CONCURRENT_STREAMS] = streams
            settings[frames.NO_RFC7540_PRIORITIES] = 1
        else:
            settings[frames.ENABLE_PUSH] = 0
        self._out.append(frames.frame(frames.SETTINGS, 0, 0, frames.settings_payload(settings)))

    # --- what the peer sends -------------------------------------------------------------------------

    @property
    def has_events(self) -> bool:
        """Whether there is something to deliver; an incomplete frame is nothing."""
        if self._over:
            return True
        if self._final and not self._streams and not self._is_done:
            return True
        return self._at < len(self._data) and self._is_whole()

    def deliver(self, work: int) -> int:
        """Deliver events until `work` units are used up; returns the units left, or less than 0.

        Raises `Http2Failure`.
        """
        if self._failure:
            raise Http2Failure(self._failure, self._failure_code)
        while work > 0:
            if self._over:
                work = self._tell_closed(work)
                continue
            used = self._read() if self._at < len(self._data) else 0
            if not used:
                self._tell_end()
                break
            work -= used
            if self.extra_work:
                work -= self.extra_work
                self.extra_work = 0
        return work

    def _tell_closed(self, work: int) -> int:
        """Report which streams are closed; returns the units of work that are left."""
        over, self._over = self._over, []
        told = 0
        try:
            while told < len(over) and work > 0 and not self._is_done:  # its receiver may stop the engine
                stream = over[told]
                told += 1
                self._events.closed(stream.number, stream.code)
                if self.extra_work:
                    work -= self.extra_work
                    self.extra_work = 0
        finally:  # a receiver that fails must not keep the end of the others from theirs
            if told < len(over) and not self._is_done:
                self._over = over[told:] + self._over
        return work

    def _tell_end(self) -> None:
        """Report that the connection has ended with its last stream."""
        if self._final and not self._streams and not self._is_done:
            self._is_done = True
            self._events.ended(NO_ERROR, "")

    def farewell(self, code: int) -> bytes:
        """A GOAWAY frame for a connection whose engine has failed or was stopped. Requests that were reported may have
        been processed, and must not be sent again.
        """
        return frames.goaway(self._last_accepted, code)

    def stop(self) -> None:
        """Report nothing more, and return no output."""
        self._drop_all()
        self._out, self._is_done = [], True

    def rest(self) -> None:
        super().rest()
        self._decoder.rest()
        self._messages.rest()

    def _read(self) -> int:
        """Read the next frame, or its content that has arrived; returns its units of work, 0 if there is none yet."""
        try:
            if self._preface:
                return self._read_preface()
            return self._read_content() if self._rest else self._read_frame()
        except Broken as broken:
            self._break(broken)
        except HpackError as error:
            self._break(Broken(COMPRESSION_ERROR, str(error)))
        return 1

    def _break(self, broken: Broken) -> None:
        """End the connection (RFC 9113 §5.4.1). That is reported at once: the peer may be gone by the next turn."""
        self._drop_all()
        self._say_goaway(self._last_accepted, broken.code, str(broken).encode("ascii", "replace"))
        self._is_done = True
        self._events.ended(broken.code, str(broken))

    def _drop_all(self) -> None:
        """Forget all streams, and what has arrived."""
        self._streams, self._ready, self._over = {}, [], []
        self._latest = None
        self._discard()

    # --- content -------------------------------------------------------------------------------------

    def _take_content(self, number: int, piece: bytes, *, ends: bool) -> int:
        stream, size = self._find(number), len(piece)
        if stream is None:
            self.took(number, size)  # RFC 9113 §5.1: it may have been on its way when the stream was reset
            if not size:
                self._events.noise(of_window=0)
        elif not stream.count(size, ends=ends):
            self.took(number, size)
            self._refuse(stream, PROTOCOL_ERROR)
        else:
            stream.is_open_in = not ends
            self._events.data(number, piece, ends=ends)
            if ends:
                self._heard_end(stream)
        return DATA_WORK

    def _heard_end(self, stream: Stream) -> None:
        """The peer has said all on this stream, and that was reported."""
        if not stream.is_open_out and self._find(stream.number) is stream:
            self._close(stream, NO_ERROR)

    # --- fields --------------------------------------------------------------------------------------

    def _take_block(self, number: int, block: bytes, *, ends: bool, is_bad: bool) -> int:
        # It is decoded even if nobody is told of it (RFC 9113 §4.3).
        is_new = number > self._last and self._is_server
        if is_new and not number & 1:
            raise Broken(PROTOCOL_ERROR, "a client opens an even stream")
        stream = None if is_new else self._find(number)
        fields = self._decoder.decode(block)
        if fields is None:
            raise self._fail("fields whose count or size is twice the limit")
        if stream is not None:
            if not stream.is_open_in:
                raise Broken(STREAM_CLOSED, "fields after the end of a stream")
            if is_bad:
                self._refuse(stream, PROTOCOL_ERROR)
            elif stream.has_head:
                self._trailers(stream, fields, ends=ends)
            else:
                self._response(stream, fields, ends=ends)
        elif is_new:
            self._request(number, fields, ends=ends, is_bad=is_bad)
        else:
            self._check_not_idle(number)
            self._events.noise(of_window=0)
        return HEAD_WORK

    def _request(self, number: int, fields: tuple[Field, ...], *, ends: bool, is_bad: bool) -> None:
        """The head of a new stream."""
        self._last = number
        if number > self._accepts:
            self._events.noise(of_window=0)
            return  # RFC 9113 §6.8: it is ignored after GOAWAY
        messages = self._messages
        if len(self._streams) >= self._streams_most:
            self._turn_down(number, REFUSED_STREAM)  # RFC 9113 §5.1.2
            return
        try:
            messages.request(fields)
            if is_bad or (ends and messages.length > 0):
                raise MalformedField("")
        except MalformedField:
            self._turn_down(number, PROTOCOL_ERROR)
            return
        stream = self._streams[number] = Stream(number, self._initial_in, self._initial_out)
        stream.has_head, stream.left = True, messages.length
        if messages.urgency != NORMAL:
            stream.urgency, self._has_urgency = messages.urgency, True
        stream.is_open_in = not ends
        self._events.head(number, fields, ends=ends)
        if ends:
            self._heard_end(stream)

    def _turn_down(self, number: int, code: int) -> None:
        """Refuse a stream of which nobody was told. It is reported at once, like a head: its receiver knows nothing of
        it, and could not miss it if the peer goes before the next turn.
        """
        self._say_reset(number.to_bytes(4, "big"), code)
        self._events.closed(number, code)

    def _response(self, stream: Stream, fields: tuple[Field, ...], *, ends: bool) -> None:
        try:
            status = self._messages.response(fields)
            if status < 200:
                if ends:
                    raise MalformedField("an interim response that ends the stream")
            else:
                stream.has_head = True
                stream.left = 0 if stream.bodiless or status in (204, 304) else self._messages.length
                if ends and stream.left > 0:
                    raise MalformedField("Content-Length without content")
        except MalformedField:
            self._refuse(stream, PROTOCOL_ERROR)
            return
        if status < 200:
            self._events.interim(stream.number, fields)
        else:
            stream.is_open_in = not ends
            self._events.head(stream.number, fields, ends=ends)
            if ends:
                self._heard_end(stream)

    def _trailers(self, stream: Stream, fields: tuple[Field, ...], *, ends: bool) -> None:
        try:
            self._messages.trailers(fields)
            if not ends or not stream.count(0, ends=True):
                raise MalformedField("")
        except MalformedField:
            self._refuse(stream, PROTOCOL_ERROR)
            return
        stream.is_open_in = False
        self._events.trailers(stream.number, fields)
        self._heard_end(stream)
