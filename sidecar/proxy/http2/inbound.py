"""Cuts what the peer sent into frames and field blocks, and checks what these are (RFC 9113 §4).

Theory of operation. Bytes are kept until a frame is complete. Only content is read before: a DATA frame without padding
is passed on as it arrives. Nothing is read ahead: what waits costs no work.
"""

from abc import abstractmethod
from typing import Final

from sidecar.proxy.http2 import frames
from sidecar.proxy.http2.control import Broken, Control
from sidecar.proxy.http2.events import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Http2Events,
)
from sidecar.proxy.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_MOST,
    HEADER,
    HEADERS,
    PADDED,
    WINDOW_MOST,
    WINDOW_UPDATE,
)
from sidecar.proxy.native import i64, mypyc_attr

HEAD_WORK: Final = 8
DATA_WORK: Final = 2
"""Units of work for a frame with fields and for a piece of content; the end of a stream counts none, any other frame
one.
"""
_CONTINUATIONS_MOST: Final = 16


class Http2Failure(Exception):
    """The connection must end because of what the peer sent; the text is for the log, the code for the peer."""

    def __init__(self, detail: str, code: int = ENHANCE_YOUR_CALM) -> None:
        super().__init__(detail)
        self.code = code


def _is_plain_data(data: bytes, at: int) -> bool:
    """Whether a frame is DATA without padding, which is reported as it arrives."""
    return data[at + 3] == frames.DATA and not data[at + 4] & frames.PADDED


def _unpadded(payload: bytes) -> bytes:
    """A payload without its padding (RFC 9113 §6.1, §6.2)."""
    if not payload:
        raise Broken(FRAME_SIZE_ERROR, "a frame without the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise Broken(PROTOCOL_ERROR, "as much padding as content, or more")
    return payload[1 : len(payload) - padding]


@mypyc_attr(allow_interpreted_subclasses=False)
class Inbound(Control):
    """The part of an endpoint that reads frames."""

    __slots__ = (
        "_at", "_block", "_block_flags", "_block_is_bad", "_block_most", "_block_stream", "_continuations", "_data",
        "_failure", "_failure_code", "_preface", "_rest", "_rest_ends", "_rest_stream",
    )  # fmt: skip

    def __init__(self, events: Http2Events, *, is_server: bool, window: int, block_most: int) -> None:
        super().__init__(events, is_server=is_server, window=window)
        self._block_most = block_most
        """Bytes of an encoded field block that are kept: one whose fields are within the limits needs no more."""
        self._data = b""
        self._at = 0
        self._preface = len(frames.PREFACE) if is_server else 0
        """Bytes of the connection preface that have not been read."""
        self._rest = self._rest_stream = 0
        self._rest_ends = False
        """Bytes of a DATA frame that have not been read, its stream, and whether it ends that."""
        self._block: list[bytes] | None = None
        """The field block of which not all has arrived."""
        self._block_stream = self._block_flags = self._continuations = 0
        self._block_is_bad = False
        self._failure, self._failure_code = "", ENHANCE_YOUR_CALM

    @abstractmethod
    def stop(self) -> None:
        """Report nothing more, and return no output."""

    @abstractmethod
    def _take_content(self, number: int, piece: bytes, *, ends: bool) -> int:
        """Content of a stream, which may be closed by now; returns the units of work."""

    @abstractmethod
    def _take_block(self, number: int, block: bytes, *, ends: bool, is_bad: bool) -> int:
        """A whole field block. `is_bad`: its frame is malformed, but it has to be decoded; returns the units of
        work.
        """

    def receive(self, data: bytes) -> None:
        """Add data from the peer."""
        if not self._is_done:
            self._data = self._data[self._at :] + data if self._at < len(self._data) else data
            self._at = 0

    @property
    def is_within(self) -> bool:
        """Whether something has begun to arrive of which the rest is missing."""
        return self._at < len(self._data) or self._rest > 0 or self._block is not None

    @property
    def kept_bytes(self) -> int:
        """Bytes that have arrived and were not read."""
        kept = len(self._data) - self._at
        return kept if self._block is None else kept + sum([len(piece) for piece in self._block])

    @property
    def open_block(self) -> int:
        """Stream of the field block whose last frame is missing; 0 if there is none."""
        return 0 if self._block is None else self._block_stream

    @property
    def is_within_head(self) -> bool:
        """Whether a head or trailers have begun to arrive, and the rest is missing."""
        is_read = self._rest > 0 or len(self._data) < self._at + HEADER
        return self._block is not None or not (is_read or self._data[self._at + 3] != HEADERS)

    def _is_whole(self) -> bool:
        """Whether a frame has arrived, or some of its content."""
        left = len(self._data) - self._at
        if self._preface:
            return left >= self._preface or not frames.PREFACE.startswith(self._data)
        return left > 0 if self._rest else left >= HEADER and self._has_frame(left)

    def _has_frame(self, left: int) -> bool:
        """Whether the frame whose header is there can be read."""
        data, at = self._data, self._at
        size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
        return left >= HEADER + size or size > FRAME_MOST or (left > HEADER and _is_plain_data(data, at))

    def _discard(self) -> None:
        """Read no more of what has arrived."""
        self._data, self._at, self._rest = b"", 0, 0

    def _fail(self, detail: str, code: int = ENHANCE_YOUR_CALM) -> Http2Failure:
        self.stop()
        self._failure, self._failure_code = detail, code
        return Http2Failure(detail, code)

    def _read_preface(self) -> int:
        if not self._is_whole():
            return 0
        if not self._data.startswith(frames.PREFACE):
            raise self._fail("no connection preface of HTTP/2", PROTOCOL_ERROR)
        size, self._preface = self._preface, 0
        self._move_to(size)
        return 1

    def _move_to(self, at: int) -> None:
        if at >= len(self._data):
            self._data, self._at = b"", 0  # an idle connection keeps nothing of its last request
        else:
            self._at = at

    def _read_frame(self) -> int:
        data, at = self._data, self._at
        begin: i64 = at + HEADER
        left: i64 = len(data) - begin
        if left < 0:
            return 0
        size = i64(data[at]) << 16 | i64(data[at + 1]) << 8 | data[at + 2]
        kind: i64 = data[at + 3]
        flags: i64 = data[at + 4]
        stream = (
            i64(data[at + 5] & 0x7F) << 24 | i64(data[at + 6]) << 16 | i64(data[at + 7]) << 8 | data[at + 8]
        )
        if size > FRAME_MOST:
            raise Broken(FRAME_SIZE_ERROR, "a frame larger than SETTINGS_MAX_FRAME_SIZE")
        if left < size and (kind != DATA or flags & PADDED or not left):
            return 0
        if self._block is not None and (kind != CONTINUATION or stream != self._block_stream):
            raise Broken(PROTOCOL_ERROR, "another frame within a field block")
        if not self._has_settings and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Broken(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == DATA:
            return self._read_data(stream, flags, begin, size)
        payload = data[begin : begin + size]
        self._move_to(begin + size)
        if kind == HEADERS:
            return self._headers(stream, flags, payload)
        if kind == WINDOW_UPDATE:
            self._window_update(stream, payload)
        elif kind == CONTINUATION:
            return self._continuation(flags, payload)
        else:
            self._rare(kind, stream, flags, payload)
        return 1

    def _read_data(self, number: int, flags: int, begin: int, size: int) -> int:
        """The header of a DATA frame."""
        if not number:
            raise Broken(PROTOCOL_ERROR, "DATA of stream 0")
        if size > self._in_window:
            raise Broken(FLOW_CONTROL_ERROR, "content beyond the window of the connection")
        stream = self._find(number)
        if stream is None:
            self._check_not_idle(number)
        elif not stream.is_open_in:
            raise Broken(STREAM_CLOSED, "content after the end of a stream")
        elif not stream.has_head:
            self._refuse(stream, PROTOCOL_ERROR)
        elif size > stream.in_window and size:  # RFC 9113 §6.9.1: an empty frame needs no window
            self._refuse(stream, FLOW_CONTROL_ERROR)
        else:
            stream.in_window -= size
        self._in_window -= size
        ends = flags & END_STREAM != 0
        if flags & frames.PADDED:
            return self._read_padded(number, begin, size, ends=ends)
        if not size:
            self._move_to(begin)
            return self._take_content(number, b"", ends=ends)
        self._rest, self._rest_stream, self._rest_ends = size, number, ends
        self._move_to(begin)
        return self._read_content()

    def _read_padded(self, number: int, begin: int, size: int, *, ends: bool) -> int:
        """Content with padding, of which the whole frame has arrived."""
        end = begin + size
        piece = _unpadded(self._data[begin:end])
        self._move_to(end)
        self.took(number, size - len(piece))
        return self._take_content(number, piece, ends=ends)

    def _read_content(self) -> int:
        """The part of a DATA frame that has arrived."""
        data, at = self._data, self._at
        end = min(at + self._rest, len(data))
        piece = data if at == 0 and end == len(data) else data[at:end]
        self._rest -= end - at
        self._move_to(end)
        return self._take_content(self._rest_stream, piece, ends=self._rest_ends and not self._rest)

    def _headers(self, number: int, flags: int, payload: bytes) -> int:
        if not number:
            raise Broken(PROTOCOL_ERROR, "HEADERS of stream 0")
        is_bad = False
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise Broken(FRAME_SIZE_ERROR, "HEADERS without the priority that they announce")
            is_bad = int.from_bytes(payload[:4], "big") & WINDOW_MOST == number
            payload = payload[5:]
        if flags & END_HEADERS:
            return self._take_block(number, payload, ends=flags & END_STREAM != 0, is_bad=is_bad)
        self._block, self._block_stream, self._block_flags = [payload], number, flags
        self._block_is_bad, self._continuations = is_bad, 0
        return HEAD_WORK

    def _continuation(self, flags: int, payload: bytes) -> int:
        block = self._block
        if block is None:
            raise Broken(PROTOCOL_ERROR, "CONTINUATION outside of a field block")
        block.append(payload)
        self._continuations += 1
        if self._continuations > _CONTINUATIONS_MOST:
            raise self._fail("too many CONTINUATION frames")
        if sum([len(piece) for piece in block]) > self._block_most:
            raise self._fail("a field block that is larger than twice the limit of its fields")
        if flags & END_HEADERS:
            self._block = None
            ends = self._block_flags & END_STREAM != 0
            return self._take_block(self._block_stream, b"".join(block), ends=ends, is_bad=self._block_is_bad)
        return HEAD_WORK
