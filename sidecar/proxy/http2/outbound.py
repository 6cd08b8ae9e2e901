"""What an endpoint of HTTP/2 sends: frames in their order, as far as the peer's windows allow (RFC 9113 §5.2).

Theory of operation. Frames that no window limits are written at once, for compression needs the order in which they are
sent (RFC 7541 §2.2). Content waits with its stream, and with it what comes behind it: trailers, or the end. `outgoing`
takes all that is written and adds the content that the windows allow. Streams that have content queue: one is served
as far as its window reaches, or, if its content is shared, by one frame in turn with the others. A more urgent one goes
first (RFC 9218 §10).
"""

from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.http2 import frames
from sidecar.proxy.http2.events import NO_ERROR
from sidecar.proxy.http2.frames import (
    DATA_LAST,
    DATA_MORE,
    FRAME_MOST,
    INITIAL_WINDOW,
    WINDOW_MOST,
    block_frames,
    frame,
    size_bytes,
)
from sidecar.proxy.http2.hpack_encoder import HeaderEncoder
from sidecar.proxy.http2.hpack_names import REQUESTS, RESPONSES
from sidecar.proxy.http2.streams import Stream
from sidecar.proxy.native import mypyc_attr

_URGENCIES: Final = 8
_SMALL: Final = 1024
"""Bytes of content from which on it is not copied into its frame."""
_HEAD: Final = (b":method", b"HEAD")
_CONNECTION: Final = b"\0\0\0\0"
"""In place of a stream: the frame is about the connection."""


@mypyc_attr(allow_interpreted_subclasses=False)
class Outbound:
    """The streams of one connection, and the output."""

    __slots__ = (
        "_accepts", "_encoder", "_final", "_has_urgency", "_in_most", "_in_taken", "_in_window", "_initial_in",
        "_initial_out", "_is_done", "_last", "_latest", "_next", "_out", "_over", "_pings", "_ready", "_replies",
        "_streams", "_window", "sent",
    )  # fmt: skip

    def __init__(self, *, is_server: bool) -> None:
        self._out: list[bytes] = []
        self._over: list[Stream] = []
        """Streams that are closed, which was not reported."""
        self._streams: dict[int, Stream] = {}
        self._latest: Stream | None = None
        """The open stream that was asked for last: the next call is often about the same."""
        self._ready: list[Stream] = []
        self._encoder = HeaderEncoder(RESPONSES if is_server else REQUESTS)
        self._has_urgency = False
        """Some stream is not as urgent as others."""
        self._window = INITIAL_WINDOW
        """Bytes of content that the peer still accepts on this connection."""
        self.sent = 0
        """Bytes of content that were sent; its reader may set it back."""
        self._initial_out = INITIAL_WINDOW
        self._initial_in = INITIAL_WINDOW
        """The window of a new stream, in each direction."""
        self._in_window = self._in_most = INITIAL_WINDOW
        """Bytes of content that the peer may still send on this connection, and may send at most."""
        self._in_taken = 0
        self._next = 1
        """Number of the next stream that a client opens."""
        self._last = 0
        """The highest number of a stream that the peer has opened."""
        self._accepts = WINDOW_MOST
        """The highest number of a stream that the peer may open."""
        self._pings = 0
        self._replies = 0
        """Frames that only answer others, since the last output."""
        self._final = False
        """GOAWAY was sent or received: the connection ends with its last stream."""
        self._is_done = False
        """Nothing more is sent."""
        if not is_server:
            self._out.append(frames.PREFACE)

    def widen(self, window: int) -> None:
        """Set the connection window: how many bytes of all streams together the peer may send before they are taken;
        never more than a window can have (RFC 9113 §6.9.1).
        """
        more = min(window, WINDOW_MOST) - self._in_most
        if more > 0:
            self._in_most += more
            self._in_window += more
            self._say_window(_CONNECTION, more)

    def outgoing(self) -> bytes:
        """The bytes that must be sent to the peer now; the call may create events."""
        if self._ready:
            self._write_ready()
        out = self._out
        if not out:
            return b""
        self._out, self._replies = [], 0
        return out[0] if len(out) == 1 else b"".join(out)

    def _find(self, number: int) -> Stream | None:
        """An open stream."""
        latest = self._latest
        if latest is not None and latest.number == number:
            return latest
        found = self._streams.get(number)
        if found is not None:
            self._latest = found
        return found

    # --- heads ---------------------------------------------------------------------------------------

    @property
    def opened(self) -> int:
        """Number of requests that were sent."""
        return self._next >> 1

    def request(self, fields: list[Field], *, ends: bool) -> int:
        """Open a stream; returns its number, or 0 if the connection accepts no more."""
        number = self._next
        if self._is_done or self._final or number > WINDOW_MOST:
            return 0
        self._next = number + 2
        stream = self._streams[number] = Stream(number, self._initial_in, self._initial_out)
        stream.bodiless = fields[0] == _HEAD
        self._out.append(block_frames(self._encoder.encode(fields), stream.name, ends=ends))
        if ends:
            stream.is_open_out = False
        return number

    def respond(self, stream: int, fields: list[Field], *, ends: bool) -> None:
        """Send the head of the final response, `:status` first."""
        found = self._find(stream)
        if found is not None and found.is_open_out:
            self._out.append(block_frames(self._encoder.encode(fields), found.name, ends=ends))
            if ends:
                self._said_end(found)

    def inform(self, stream: int, fields: list[Field]) -> None:
        """Send the head of a 1xx response."""
        self.respond(stream, fields, ends=False)

    # --- content -------------------------------------------------------------------------------------

    def send(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Send content."""
        found = self._find(stream)
        if found is None or not found.is_open_out or found.says_end:
            return
        if data:
            found.add(data)
        found.says_end = ends
        self._make_ready(found)

    def trail(self, stream: int, fields: list[Field]) -> None:
        """Send trailer fields; they end this half of the stream."""
        found = self._find(stream)
        if found is not None and found.is_open_out and not found.says_end:
            found.trailers, found.says_end = fields, True
            self._make_ready(found)

    def share(self, stream: int) -> None:
        """Send the content of this stream in turn with that of others of equal urgency (RFC 9218 §4.2), not before
        it.
        """
        found = self._find(stream)
        if found is not None:
            found.is_shared = True

    def waiting(self, stream: int) -> int:
        """Number of bytes of a stream that have not been sent."""
        found = self._find(stream)
        return 0 if found is None else found.queued

    def _make_ready(self, stream: Stream) -> None:
        """Let a stream queue, unless it already does or has no window."""
        if not stream.is_ready and (stream.out_window > 0 or not stream.queued):
            stream.is_ready = True
            self._ready.append(stream)

    def _write_ready(self) -> None:
        ready, self._ready = self._ready, []
        if self._has_urgency:
            for urgency in range(_URGENCIES):
                self._write_turns([stream for stream in ready if stream.urgency == urgency])
        else:
            self._write_turns(ready)

    def _write_turns(self, turns: list[Stream]) -> None:
        at = 0
        while at < len(turns):
            stream = turns[at]
            at += 1
            if stream.is_ready and self._write_content(stream):
                turns.append(stream)

    def _write_content(self, stream: Stream) -> bool:
        """Write what the windows allow; returns whether it is now the turn of others."""
        while stream.queued:
            room = self._room(stream)
            if room <= 0:
                stream.is_ready = stream.out_window > 0
                if stream.is_ready:
                    self._ready.append(stream)  # it waits for the window of the connection
                return False
            piece = stream.next(room)
            size = len(piece)
            self._window -= size
            self.sent += size
            stream.out_window -= size
            is_last = stream.says_end and not stream.queued and stream.trailers is None
            kind = DATA_LAST if is_last else DATA_MORE
            if size < _SMALL:
                self._out.append(b"%b%b%b%b" % (size_bytes(size), kind, stream.name, piece))
            else:
                self._out.append(b"%b%b%b" % (size_bytes(size), kind, stream.name))
                self._out.append(piece)
            if is_last:
                self._said_end(stream)
                return False
            if stream.is_shared and stream.queued:
                return True
        stream.is_ready = False
        if stream.says_end:
            self._write_end(stream)
        return False

    def _room(self, stream: Stream) -> int:
        """Bytes of content that the next frame of a stream may have."""
        room = stream.out_window
        room = min(room, self._window)
        return min(FRAME_MOST, room)

    def _write_end(self, stream: Stream) -> None:
        """Write what comes behind all content."""
        if stream.trailers is None:
            self._out.append(size_bytes(0) + DATA_LAST + stream.name)
        else:
            self._out.append(block_frames(self._encoder.encode(stream.trailers), stream.name, ends=True))
        self._said_end(stream)

    # --- the end of a stream -------------------------------------------------------------------------

    def _said_end(self, stream: Stream) -> None:
        stream.is_open_out = stream.is_ready = False
        if not stream.is_open_in:
            self._close(stream, NO_ERROR)

    def _close(self, stream: Stream, code: int) -> None:
        """Forget a stream, and report that."""
        stream.is_open_out = stream.is_ready = stream.is_open_in = False
        stream.code = code
        if self._latest is stream:
            self._latest = None
        del self._streams[stream.number]
        self._over.append(stream)
        if not self._streams:
            self._has_urgency = False

    def reset(self, stream: int, code: int) -> None:
        """Reset a stream. Its data that `outgoing` has not returned yet is discarded."""
        found = self._find(stream)
        # A stream that has ended both ways closes as soon as its owner returns from that event.
        if found is not None and (found.is_open_in or found.is_open_out):
            self._say_reset(found.name, code)
            self._close(found, code)

    def _say_reset(self, name: bytes, code: int) -> None:
        self._out.append(size_bytes(4) + b"\3\0" + name + code.to_bytes(4, "big"))

    # --- windows -------------------------------------------------------------------------------------

    def took(self, stream: int, size: int) -> None:
        """Report `size` bytes of content as taken: the peer may send as many more."""
        self._in_taken += size
        if self._in_taken * 2 >= self._in_most:
            self._in_window += self._in_taken
            self._say_window(_CONNECTION, self._in_taken)
            self._in_taken = 0
        found = self._find(stream)
        if found is not None and found.is_open_in:
            found.in_taken += size
            if found.in_taken * 2 >= self._initial_in:
                found.in_window += found.in_taken
                self._say_window(found.name, found.in_taken)
                found.in_taken = 0

    def _say_window(self, name: bytes, more: int) -> None:
        if more and not self._is_done:
            self._out.append(size_bytes(4) + b"\x08\0" + name + more.to_bytes(4, "big"))

    # --- the connection ------------------------------------------------------------------------------

    def ping(self) -> None:
        """Send PING; `pong` is called after a round trip. PING overtakes data that `outgoing` has not returned yet."""
        if not self._is_done:
            self._pings += 1
            self._out.append(frame(frames.PING, 0, 0, bytes(8)))

    def announce_end(self) -> None:
        """Send a GOAWAY that includes all streams which may be on their way (RFC 9113 §6.8)."""
        self._say_goaway(self._accepts, NO_ERROR, b"")

    def go_away(self, code: int = NO_ERROR, said: bytes = b"") -> None:
        """Send GOAWAY: streams that were reported continue, no others begin."""
        if not self._is_done:
            self._accepts = self._last_accepted
            self._say_goaway(self._accepts, code, said)
            self._final = True

    @property
    def _last_accepted(self) -> int:
        """The highest number of a stream that was not ignored; never more than was said before (RFC 9113 §6.8)."""
        return min(self._accepts, self._last)

    def _say_goaway(self, last: int, code: int, said: bytes) -> None:
        if not self._is_done:
            self._out.append(frames.goaway(last, code, said))

    def rest(self) -> None:
        """The connection is idle: keep nothing of its last request but what compression needs."""
        if not self._streams:
            self._streams = {}  # an empty dictionary keeps the room that its entries needed
        self._encoder.rest()
