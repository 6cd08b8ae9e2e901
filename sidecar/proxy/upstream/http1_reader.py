"""Bytes of the upstream → responses (RFC 9112), with the parser llhttp through httptools.

As for requests, the reader never calls outward: the caller examines the result after `feed` has returned.
"""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sidecar.http.message import MalformedResponse, Response

MAX_INTERIM_RESPONSES: Final = 32
"""Largest number of 1xx responses before a final one; more is a fault of the upstream."""
MAX_RESPONSE_HEAD: Final = 1 << 18
"""Bytes of a response's head with the interim ones before it, and again of its trailers."""

MAX_RESPONSE_FIELDS: Final = 1000
"""Maximum fields of a response's head, plus those of the piece in which it ends; the same for its trailers."""

_NO_CONTENT: Final = frozenset({204, 304})
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LONGEST_SHOWN: Final = 64


def unreadable_field(data: bytes) -> str:
    """Which header field cannot be read, for the message to the API's owner: its name, bounded and escaped.

    `data` is the part of the head that the parser was fed last; empty when nothing is wrong with any field in it.
    """
    name = b""
    for number, line in enumerate(data.split(b"\r\n")):
        if not line:
            break
        if line[:1] in (b" ", b"\t") and name:
            return f", in the field {_shown(name)}, which is folded (RFC 9112 §5.2)"
        if number == 0 and line.startswith(b"HTTP/"):
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.match(name) or _NO_VALUE.search(value):
            return f", in the field {_shown(name)}"
    return ""


def _shown(name: bytes) -> str:
    return ascii(name[:_LONGEST_SHOWN].decode("latin-1"))


def _announces_content(response: Response) -> bool:
    for name, value in response.fields:
        lower = name.lower()
        if lower == b"transfer-encoding" or (lower == b"content-length" and value.strip() != b"0"):
            return True
    return False


class ResponseReader:
    """Upstream bytes → one response, with its interim ones before it. A new reader for each exchange would cost
    more than it explains; `begin` makes it ready for the next.
    """

    __slots__ = (
        "_barren", "_begins", "_bodiless", "_current", "_head_bytes", "_heads", "_parser", "_ready", "after_upgrade",
        "body", "interims",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = None
        self.begin(bodiless=False)

    def begin(self, *, bodiless: bool) -> None:
        """Be ready for the response to one request; `bodiless` when that is HEAD (RFC 9110 §9.3.2)."""
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._bodiless, self._current = bodiless, Response()
        self._ready, self._begins, self._head_bytes = False, False, 0
        self._barren = 0
        """Bytes since the last content."""
        self._heads: list[Response] = []
        self.body: list[bytes] = []
        """Content that arrived since the reader was last fed."""
        self.after_upgrade: bytes | None = None
        """The bytes after a 101; None before a 101."""
        self.interims = 0

    def close(self) -> None:
        """Release the parser."""
        self._parser = None

    @property
    def is_started(self) -> bool:
        """Whether any byte of a response has arrived."""
        return self._ready or self._head_bytes > 0

    @property
    def response(self) -> Response:
        """The final response now arriving."""
        return self._current

    def feed(self, data: bytes) -> list[Response]:
        """Parse bytes; returns the heads that are complete now, interim ones first. Raises `MalformedResponse`."""
        if self._parser is None or self._current.complete:
            raise MalformedResponse("data after the response")
        if not self._ready:
            # Data received with the end of the head may be content: the limit leaves room for one read.
            if self._head_bytes > MAX_RESPONSE_HEAD:
                raise MalformedResponse("response head too large")
            self._begins = not self._head_bytes and data.startswith(b"HTTP/1.1 ")
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.after_upgrade = data[upgrade.args[0] :]
            self._parser = None
        except HttpParserError as error:
            if not (self._ready and (self._bodiless or self._current.complete)):
                said = f"{type(error).__name__}: {error}"[:200]
                raise MalformedResponse(said + ("" if self._ready else unreadable_field(data))) from None
            # The response is complete; the data after it belongs to no request.
            self._current.keep_alive = False
            self._parser = None
        if self._bodiless and self._ready:
            # llhttp does not know that this response has no content; data that it reads as content is ignored.
            self._current.complete = True
            if self.body or self._parser is None:
                self._current.keep_alive = False
            self._parser = None
            self.body.clear()
        elif not self._current.complete:
            self._check_limits(len(data))
        heads = self._heads
        if heads:
            self._heads = []
        return heads

    def _check_limits(self, size: int) -> None:
        """Check an incomplete response; `size` bytes were received last."""
        if not self._ready:
            self._check_number(self._current.fields)
            return
        # Neither the extension of a chunk nor a trailer field ends of itself.
        self._barren = 0 if self.body else self._barren + size
        if self._barren > 2 * MAX_RESPONSE_HEAD:
            raise MalformedResponse("framing or trailers too large")

    @staticmethod
    def _check_number(fields: list[tuple[bytes, bytes]]) -> None:
        if len(fields) > MAX_RESPONSE_FIELDS:
            raise MalformedResponse(f"more than {MAX_RESPONSE_FIELDS} fields")

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._ready:
            # A second final response: it belongs to no request.
            raise MalformedResponse("two responses to one request")
        self._current = Response()

    def on_status(self, phrase: bytes) -> None:
        self._current.phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self._current
        if not self._ready:
            response.fields.append((name, value))
            return
        response.trailers.append((name, value))
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > 2 * MAX_RESPONSE_HEAD:
            raise MalformedResponse("trailers too large")
        self._check_number(response.trailers)

    def on_headers_complete(self) -> None:
        response, parser = self._current, self._parser
        if parser is None:
            return
        response.status = status = parser.get_status_code()
        if status < 100:
            raise MalformedResponse(f"status {status}")
        # Content that the response must not have may come all the same, after the next request was sent, and would
        # be read as its response.
        response.keep_alive = parser.should_keep_alive() and not (
            (self._bodiless or status in _NO_CONTENT) and _announces_content(response)
        )
        if not self._begins and (version := parser.get_http_version()) != "1.1":
            if version != "1.0":
                raise MalformedResponse(f"version {version}")
            if any(name.lower() == b"transfer-encoding" for name, _ in response.fields):
                raise MalformedResponse(
                    "Transfer-Encoding in HTTP/1.0"
                )  # RFC 9112 §6.1: its framing is faulty
        self._begins = False
        self._heads.append(response)
        if response.status < 200 and response.status != 101:
            response.interim = True
            self.interims += 1
            if self.interims > MAX_INTERIM_RESPONSES:
                raise MalformedResponse("too many interim responses")
        else:
            self._ready = True

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        if not self._current.interim:
            self._current.complete = True
