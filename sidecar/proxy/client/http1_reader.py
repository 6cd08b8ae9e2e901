"""Bytes of a client → requests (RFC 9112), by the parser llhttp through httptools.

Theory of operation. A reader is fed plain bytes and turns them into messages. It never calls outward: whoever feeds
it looks at `messages` when `feed` has returned, because llhttp reports a bad Transfer-Encoding only *after* it has
said that the head is complete, and nothing of such a message may have been acted on. A message grows while its body
arrives: `take_body` hands over what came since the last call.

What llhttp lets pass and this module does not: versions other than 1.0 and 1.1, Transfer-Encoding in HTTP/1.0 or
other than exactly `chunked`, anything over its limit, and the request lines of RTSP and ICE. Of these llhttp does not
tell, nor where a head began. A head that what was read begins with has its protocol where method and target say; for
any other, the bytes since it began are looked through for its target with one of these names behind it.
"""

from collections import deque
from typing import Final

from httptools import HttpParserError, HttpParserInvalidURLError, HttpParserUpgrade, HttpRequestParser

from sidecar.decision.denial import Reason
from sidecar.http.message import NO_HEAD, Fault, Request
from sidecar.proxy.configuration import Limits

_METHODS: Final = {b"GET": "GET", b"HEAD": "HEAD", b"POST": "POST", b"PUT": "PUT", b"DELETE": "DELETE"}
"""The common ones, that none of them is decoded again and again."""
METHODS: Final = frozenset(
    {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK",
        "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE",
        "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    }
)  # fmt: skip
"""The methods that a request can have: those that the parser knows, without TRACE and CONNECT."""
_CHUNK_OVERHEAD: Final = 26
"""Bytes of framing a chunk may need without any extension: 16 digits, two line ends, and the last chunk."""


class RequestReader:
    """Client bytes → requests."""

    __slots__ = (
        "_begins", "_fed", "_head", "_held", "_limits", "_open", "_other_targets", "_parser", "_seen",
        "after_upgrade", "head_bytes", "in_head", "messages",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.messages: deque[Request] = deque()
        """Requests whose head is complete and which nobody has taken yet, in order."""
        self.after_upgrade: bytes | None = None
        """What came behind a request that asks for another protocol; None while no request did."""
        self.head_bytes = 0
        """Bytes received while a head was arriving."""
        self.in_head = False
        """Part of a head has arrived."""
        self._limits = limits
        self._fed = 0
        self._held = b""
        """What was read since a head began that is not complete."""
        self._seen = b""
        """The same with what is being read."""
        self._begins = False
        """What is being read begins with the next head."""
        self._other_targets: frozenset[bytes] | None = None
        """Targets that stand there before the name of another protocol; None while nobody has looked."""
        self._head = NO_HEAD
        self._open: Request | None = None
        self._parser: HttpRequestParser | None = HttpRequestParser(self)

    def close(self) -> None:
        """Let go of the parser: it and this reader refer to each other."""
        self._parser = None

    def feed(self, data: bytes) -> Fault | None:
        """Take plain bytes. Returns what is wrong, if anything is: the connection cannot go on after that.

        Requests completed before the fault are in `messages` and are good; the faulty one is not, unless it was
        handed over in an earlier call, in which case its `fault` is set.
        """
        if self._parser is None:
            return Fault(Reason.REQUEST_MALFORMED, "data after the end")
        if self.after_upgrade is not None:
            self.after_upgrade += data
            return None
        self._fed = size = len(data)
        if self._open is None:
            self.head_bytes += size
        else:
            self._open.overhead += size
        self._begins = self._open is None and not self._held
        self._seen = seen = self._held + data if self._held else data
        self._other_targets = None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.after_upgrade = data[upgrade.args[0] :]
        except HttpParserError as error:
            return self._fail(error)
        self._held, self._seen = seen if self.in_head else b"", b""
        return self._check_limits()

    def _fail(self, error: HttpParserError) -> Fault:
        fault = Fault(Reason.REQUEST_MALFORMED, f"{type(error).__name__}: {error}"[:200])
        if isinstance(error, HttpParserInvalidURLError) and not self._seen.partition(b"\r\n")[0].isascii():
            fault = Fault(Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII")
        request, self._parser = self._open, None
        if request is not None:
            request.fault = fault
            if self.messages and self.messages[-1] is request:
                self.messages.pop()
        return fault

    def _check_limits(self) -> Fault | None:
        limits, request = self._limits, self._open
        if request is None:
            if not self.in_head or self.head_bytes <= min(limits.target_bytes, limits.header_bytes):
                return None
            head, fault = self._head, None
            if not head.target or len(head.target) > limits.target_bytes:
                fault = Fault(Reason.TARGET_TOO_LONG, f"target over {limits.target_bytes} bytes")
            elif self.head_bytes > limits.header_bytes:
                fault = Fault(Reason.HEADER_TOO_LARGE, f"head over {limits.header_bytes} bytes")
            if fault is not None:
                self._parser = None
            return fault
        if request.overhead > limits.chunk_extension_bytes and request.chunked:
            request.fault = Fault(Reason.REQUEST_MALFORMED, "chunk extensions over the limit")
        elif request.trailer_bytes > limits.trailer_bytes:
            request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {limits.trailer_bytes} bytes")
        return request.fault

    def _head_too_large(self, request: Request) -> Fault | None:
        """Exact sizes, as what was read may hold more than one head."""
        limits = self._limits
        if len(request.fields) > limits.headers:
            return Fault(Reason.HEADER_TOO_LARGE, f"more than {limits.headers} header fields")
        size = sum(len(name) + len(value) + 4 for name, value in request.fields)
        if size > limits.header_bytes:
            return Fault(Reason.HEADER_TOO_LARGE, f"header over {limits.header_bytes} bytes")
        return None

    def _check_protocol(self, request: Request, version: str) -> None:
        """Of a request line that may name another version or protocol: if it does not, the same target does nearby."""
        if version != "1.1":
            request.minor_version = 0
            if version != "1.0":
                request.fault = Fault(Reason.VERSION_UNSUPPORTED, "HTTP/1.0 and HTTP/1.1 only")
        if self._other_targets is None:
            before = [*self._seen.split(b" RTSP/")[:-1], *self._seen.split(b" ICE/")[:-1]]
            self._other_targets = frozenset(text.rstrip(b" ").rpartition(b" ")[2] for text in before)
        if request.target in self._other_targets:
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
        if not (self._begins and self._seen[at : at + 10] == b" HTTP/1.1\r"):
            self._check_protocol(request, parser.get_http_version())
        self._begins = False
        if size > limits.target_bytes:
            request.fault = Fault(Reason.TARGET_TOO_LONG, f"target over {limits.target_bytes} bytes")
        elif self.head_bytes + self._fed > limits.header_bytes or len(request.fields) > limits.headers:
            # An upper bound only, as a head may begin in the middle of what was read: now it is counted exactly.
            request.fault = self._head_too_large(request) or request.fault
        self.head_bytes = 0
        self.in_head = False
        # An idle connection keeps nothing of the last head, its token least of all.
        self._open, self._head = request, NO_HEAD
        self.messages.append(request)

    def on_chunk_header(self) -> None:
        if self._open is not None:
            self._open.overhead -= _CHUNK_OVERHEAD

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
