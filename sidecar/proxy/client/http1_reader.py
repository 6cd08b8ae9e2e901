"""Client bytes → requests (RFC 9112), with the parser llhttp through httptools.

Theory of operation. A reader receives plaintext and turns it into messages, one piece per call. A piece completes at
most one head and ends where a head ends, so that the cost of a call is bounded however much a client sends at once.
Data that is not read yet stays unparsed. The reader never calls outward: its owner checks `message` after each call,
because llhttp reports a bad Transfer-Encoding only *after* it has reported the complete head, and such a message must
not be acted on. A message grows while its body arrives: `take_body` returns what arrived since the last call.

llhttp accepts the following and this module rejects it: versions other than 1.0 and 1.1, Transfer-Encoding in
HTTP/1.0 or other than exactly `chunked`, anything over its limit, and the request lines of RTSP and ICE. llhttp does
not report the protocol of a request line. If one piece holds the whole head, the protocol is found after method and
target; otherwise the first line is kept.
"""

from typing import Final

from httptools import HttpParserError, HttpParserInvalidURLError, HttpParserUpgrade, HttpRequestParser

from sidecar.decision.denial import Reason
from sidecar.http.fields import RequestFields
from sidecar.http.message import NO_HEAD, Fault, Request
from sidecar.proxy.configuration import Limits

_METHODS: Final = {b"GET": "GET", b"HEAD": "HEAD", b"POST": "POST", b"PUT": "PUT", b"DELETE": "DELETE"}
"""Common names, so that they are not decoded for each request."""
_END: Final = b"\r\n\r\n"
_LEAST: Final = 1024
_PIECE: Final = 16384
"""Bytes of chunks, or of a head, that are parsed at once: the minimum for small chunks, more for larger ones."""
_AS_LONG_AS_LENGTH: Final = len(b"content-length")
_AS_LONG_AS_CODING: Final = len(b"transfer-encoding")
_SMALL: Final = 64
"""Bytes: if chunks are smaller than this, the next piece has the minimum size."""
_CHUNK_WORK: Final = 512
"""Cost of one chunk, expressed in bytes."""
_DISCARDED_BODY: Final = 65536
"""Bytes: a refused body of up to this size is read and discarded, which is cheaper than a new TLS handshake."""
_CHUNK_OVERHEAD: Final = 26
"""Bytes of framing that a chunk may need without an extension: 16 digits, two line ends, and the last chunk."""


class RequestReader:
    """Client bytes → requests."""

    __slots__ = (
        "_at", "_chunks", "_head", "_head_bytes", "_limits", "_line", "_most", "_open", "_parser", "_piece", "_rests",
        "_tail", "fault", "in_head", "is_upgraded", "message", "unread", "work",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.message: Request | None = None
        """A request whose head is complete and which has not been taken yet."""
        self.fault: Fault | None = None
        """The error in what was received; the connection cannot continue after it."""
        self.is_upgraded = False
        """A request asks for another protocol: the bytes after it are not parsed here."""
        self.in_head = False
        """Part of a head has arrived."""
        self.work = 0
        """Cost of the last piece: its size in bytes, with a surcharge for expensive elements."""
        self.unread = b""
        """Received data that is not read, preceded by the part that is. Assign to it if it is empty, else call
        `give`.
        """
        self._limits = limits
        self._at = 0
        """Offset in `unread` at which the next piece begins."""
        self._piece = b""
        """The bytes being parsed, if a head may begin in them."""
        self._line: bytes | None = None
        """The first line of a head that arrived in several pieces, as far as it has arrived."""
        self._tail = b""
        """The last bytes of the previous piece, if it ended within a message."""
        self._most = _LEAST
        """Size of the next piece of chunks, in bytes."""
        self._chunks = 0
        """Chunks that began in this piece."""
        self._head_bytes = 0
        """Bytes received of the head that is arriving."""
        self._head = NO_HEAD
        self._open: Request | None = None
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._rests = False
        """The parser was released, and the next data gets a new one."""

    def close(self) -> None:
        """Release the parser: parser and reader refer to each other."""
        self._parser, self._rests = None, False

    def rest(self) -> None:
        """Release the parser if no message is in progress. The connection must be one that persists after the last
        request (RFC 9112 §9.3): a parser that expects a request line has no other state than a new one.
        """
        is_between = self._open is None and self.message is None and not self.in_head and not self.unread
        if is_between and self.fault is None and self._parser is not None and not self.is_upgraded:
            self._parser, self._rests = None, True

    def take_unread(self) -> bytes:
        """Remove and return the data that was not read."""
        data, self.unread, self._at = self.unread[self._at :], b"", 0
        return data

    def give(self, data: bytes) -> None:
        """Take plain bytes."""
        self.unread = self.take_unread() + data

    def read(self) -> None:
        """Read the next piece of the received data.

        Afterwards `message` may be a new request. If `fault` is set, the request before it is valid. The faulty one
        is not returned, unless its head was complete in an earlier piece: then its own `fault` is set, too.
        """
        parser, request, data = self._parser, self._open, self.unread
        size = self.work = len(data)
        if parser is None:
            if not self._rests:
                self.take_unread()
                self.fault = self.fault or Fault(Reason.REQUEST_MALFORMED, "data after the end")
                return
            parser, self._rests = HttpRequestParser(self), False
            self._parser = parser
        if request is None and not self._at and not self.in_head and data.find(_END) + 4 == size:
            self.unread = b""
        else:
            data = self._next(request)
            size = self.work = len(data)
        if request is not None:
            request.overhead += size
        else:
            if self._head_bytes:
                self._follow_line(data)
            else:
                self._piece = data
            self._head_bytes += size
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            self.is_upgraded = True
        except HttpParserError as error:
            self._fail(error)
            return
        self._piece = b""
        if self.in_head or self._open is not None:
            self._check_limits(data)
        else:
            self._tail, self._head_bytes = b"", 0

    def _next(self, request: Request | None) -> bytes:
        """The next bytes to parse in one call."""
        unread, at = self.unread, self._at
        left = _length(request) - request.body_bytes if request is not None else -1
        if left >= 0:
            end = at + left
        else:
            # The end of a head or of chunked trailers. Content may contain the same bytes, which does no harm.
            tail = self._tail
            most = _PIECE if request is None else self._most
            found = (tail + unread[at : at + most]).find(_END)
            end = at + (found + 4 - len(tail) if found >= 0 else most)
        if end >= len(unread):
            return self.take_unread()
        self._at = end
        return unread[at:end]

    def _follow_line(self, data: bytes) -> None:
        """Keep the first line: `data` is part of a head that is not complete."""
        line = self._line
        if line is None or b"\r\n" not in line:
            self._line = _first_line((line or b"") + data)

    def _fail(self, error: HttpParserError) -> None:
        fault = Fault(Reason.REQUEST_MALFORMED, f"{type(error).__name__}: {error}"[:200])
        if isinstance(error, HttpParserInvalidURLError):
            line = (self._line or _first_line(self._piece)).partition(b"\r\n")[0]
            if not line.isascii():
                fault = Fault(
                    Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII"
                )
        self.fault = fault = self.fault or fault
        request, self._parser = self._open, None
        if request is not None:
            request.fault = fault
            if self.message is request:
                self.message = None

    def _check_limits(self, data: bytes) -> None:
        """Check a message that is not complete; `data` came last."""
        self._tail = (self._tail + data)[-3:]
        if self._open is not None:
            self._most = _LEAST if self._chunks * _SMALL > len(data) else min(self._most * 4, _PIECE)
            self._chunks = 0
            self._check_body_limits(self._open)
            return
        if self._line is None:
            self._follow_line(data)
        self._check_head_limits()

    def _check_body_limits(self, request: Request) -> None:
        limits = self._limits
        # Unused framing allowance of one chunk must not be available to the next.
        request.overhead = max(request.overhead, 0)
        if request.overhead > limits.chunk_extension_bytes and request.chunked:
            request.fault = Fault(Reason.REQUEST_MALFORMED, "chunk extensions over the limit")
        elif request.trailer_bytes > limits.trailer_bytes:
            request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {limits.trailer_bytes} bytes")
        self.fault = self.fault or request.fault

    def _check_head_limits(self) -> None:
        """Check a head that is not complete, so that it is refused as soon as it exceeds a limit."""
        head, limits = self._head, self._limits
        if len(head.fields) > limits.headers:
            self.fault = Fault(Reason.HEADER_TOO_LARGE, f"more than {limits.headers} header fields")
        elif self._head_bytes <= min(limits.target_bytes, limits.header_bytes):
            return
        elif not head.target or len(head.target) > limits.target_bytes:
            self.fault = Fault(Reason.TARGET_TOO_LONG, f"target over {limits.target_bytes} bytes")
        elif self._head_bytes > limits.header_bytes:
            self.fault = Fault(Reason.HEADER_TOO_LARGE, f"head over {limits.header_bytes} bytes")
        if self.fault is not None:
            self._parser = None

    def _head_too_large(self, request: Request) -> Fault | None:
        """Check the exact sizes, which count the fields alone."""
        limits = self._limits
        if len(request.fields) > limits.headers:
            return Fault(Reason.HEADER_TOO_LARGE, f"more than {limits.headers} header fields")
        size = sum(len(name) + len(value) + 4 for name, value in request.fields)
        if size > limits.header_bytes:
            return Fault(Reason.HEADER_TOO_LARGE, f"header over {limits.header_bytes} bytes")
        return None

    def _check_protocol(self, request: Request, version: str) -> None:
        """Check a request line that may name another version or protocol."""
        if version != "1.1":
            request.minor_version = 0
            if version != "1.0":
                request.fault = Fault(Reason.VERSION_UNSUPPORTED, "HTTP/1.0 and HTTP/1.1 only")
        line = (self._line or _first_line(self._piece)).partition(b"\r\n")[0]
        if not line.rpartition(b" ")[2].startswith(b"HTTP/"):
            request.fault = Fault(Reason.REQUEST_MALFORMED, "not HTTP")

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._head = Request()
        self.in_head = True

    def on_url(self, part: bytes) -> None:
        self._head.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._open
        if request is None:
            self._head.fields.append((name, value))
        else:
            request.trailers.append((name, value))
            size = len(name) + len(value) + 4
            request.trailer_bytes += size
            request.overhead -= size

    def on_headers_complete(self) -> None:
        request, parser, limits = self._head, self._parser, self._limits
        if parser is None:
            return
        method = parser.get_method()
        request.method = _METHODS[method] if method in _METHODS else method.decode("ascii")
        request.keep_alive = parser.should_keep_alive()
        request.upgrade = parser.should_upgrade()
        size = len(request.target)
        at = len(method) + 1 + size
        if self._piece[at : at + 10] != b" HTTP/1.1\r":
            self._check_protocol(request, parser.get_http_version())
        if size > limits.target_bytes:
            request.fault = Fault(Reason.TARGET_TOO_LONG, f"target over {limits.target_bytes} bytes")
        elif self._head_bytes > limits.header_bytes or len(request.fields) > limits.headers:
            request.fault = self._head_too_large(request) or request.fault
        self._line, self._head_bytes = None, 0
        self.in_head = False
        # An idle connection keeps nothing of the last head, in particular no token.
        self._open, self._head, self._tail = request, NO_HEAD, b""
        self._most, self._chunks = _LEAST // 4, 0  # it grows at the end of this piece
        if self.message is not None:
            raise RuntimeError("a piece holds two heads")
        self.message = request

    def on_chunk_header(self) -> None:
        if self._open is not None:
            self._open.overhead -= _CHUNK_OVERHEAD
            self.work += _CHUNK_WORK
            self._chunks += 1

    def on_body(self, data: bytes) -> None:
        request = self._open
        if request is not None:
            request.chunks.append(data)
            request.body_bytes += len(data)
            request.overhead -= len(data)

    def on_message_complete(self) -> None:
        request, limit = self._open, self._limits.trailer_bytes
        if request is not None:
            request.complete = True
            if request.trailer_bytes > limit:
                request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {limit} bytes")
            self._open = None


def rest_is_harmless(request: Request, fields: RequestFields) -> bool:
    """Whether the rest of the request can be read and discarded."""
    if request.complete:
        return not request.upgrade
    length = request.content_length
    return length is not None and length <= _DISCARDED_BODY and not fields.expect


def _length(request: Request) -> int:
    """The `Content-Length` that determines the body of a request (RFC 9112 §6.3), whether or not it has been checked;
    less than 0 if another rule applies.
    """
    if request.content_length is not None and not request.chunked:
        return request.content_length
    length = b""
    for name, value in request.fields:
        size = len(name)  # most names need not be looked at
        if size == _AS_LONG_AS_LENGTH and name.lower() == b"content-length":
            length = value
        elif size == _AS_LONG_AS_CODING and name.lower() == b"transfer-encoding":
            return -1
    return int(length) if length.isdigit() else -1


def _first_line(data: bytes) -> bytes:
    """The first line with its line end, without the empty lines that may precede it (RFC 9112 §2.2)."""
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n")
    return data[: end + 2] if end >= 0 else data
