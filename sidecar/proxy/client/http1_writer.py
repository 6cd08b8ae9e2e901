"""Responses → bytes to the client (RFC 9112): responses of the API and the sidecar's own answers."""

import time
from email.utils import formatdate
from typing import Final

from sidecar.decision.challenge import TITLES
from sidecar.http.answer import Answer
from sidecar.http.lines import field_lines
from sidecar.http.message import Field, Request, Response
from sidecar.http.response_fields import ResponseFields

BODILESS_STATUS: Final = frozenset({204, 304})
NO_LENGTH: Final = (b"content-length",)
"""What is removed from some responses. RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any
response with a status code of 1xx (Informational) or 204 (No Content)."
"""
_FINAL_CHUNK: Final = b"0\r\n"
_clock: Final = time.time


class _Date:
    """The value of a Date field, and its second."""

    __slots__ = ("second", "text")

    def __init__(self) -> None:
        self.second = 0
        self.text = b""


_DATE: Final = _Date()


def date() -> bytes:
    """The value of the Date field (RFC 9110 §6.6.1), made once a second."""
    now = int(_clock())
    if _DATE.second != now:
        _DATE.second, _DATE.text = now, formatdate(now, usegmt=True).encode("ascii")
    return _DATE.text


_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"


def own_answer(answer: Answer, request_id: str, request: Request, *, close: bool) -> bytes:
    """The whole answer to `request`; no content if the method is HEAD (RFC 9110 §9.3.2)."""
    connection = _CLOSE if close else _KEEP if request.minor_version == 0 else b""
    name = request_id.encode("ascii") if answer.is_identified else b""
    key = (connection, len(name))  # the id gets longer as the number of requests grows
    form = answer.written.get(key)
    if form is None:
        form = answer.written[key] = _form(answer, *key)
    status, fields, end, body = form
    head = status + date() + fields + name + end
    return head if request.method == "HEAD" else head + body + name + answer.end


def _form(answer: Answer, connection: bytes, id_size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """The constant parts of the answer; date and request id are put between them."""
    status = b"HTTP/1.1 %d %b\r\nDate: " % (answer.status, TITLES.get(answer.status, "OK").encode("ascii"))
    length = (b"Content-Length", b"%d" % (len(answer.beginning) + id_size + len(answer.end)))
    lines = [b"%b: %b\r\n" % field for field in (answer.fields[0], length, *answer.fields[1:])]
    fields = b"\r\n" + b"".join(lines) + connection
    if answer.is_identified:
        return status, fields + b"X-Request-Id: ", b"\r\n\r\n", answer.beginning
    return status, fields, b"\r\n", answer.beginning


def interim_head(head: Response, fields: ResponseFields) -> bytes:
    """A 1xx response (RFC 9110 §15.2)."""
    fields.drop(NO_LENGTH)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.phrase, field_lines(fields.kept))


def needs_chunks(request: Request, head: Response, fields: ResponseFields) -> bool:
    """Whether the response has a body of unknown length."""
    if request.method == "HEAD" or head.status in BODILESS_STATUS:
        return False
    return fields.chunked or not fields.has_length


def response_head(
    request: Request, head: Response, fields: ResponseFields, *, chunked: bool, keep_alive: bool
) -> bytes:
    """The response head for the client."""
    if head.status == 204:
        fields.drop(NO_LENGTH)
    # RFC 9110 §6.6.1: a recipient with a clock adds Date to a forwarded response that has none.
    dated = b"" if fields.has_date else b"Date: %b\r\n" % date()
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    end = b"\r\n"
    if not keep_alive:
        end = b"Connection: close\r\n\r\n"
    elif request.minor_version == 0:
        end = b"Connection: keep-alive\r\n\r\n"
    kept = field_lines(fields.kept)
    return b"HTTP/1.1 %d %b\r\n%b%b%b%b" % (head.status, head.phrase, kept, dated, framing, end)


def chunk(data: bytes, end: list[Field] | None) -> bytes:
    """One chunk of content (RFC 9112 §7.1). If `end` is given, it is the last, and `end` are the trailers."""
    framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return framed if end is None else framed + _FINAL_CHUNK + field_lines(end) + b"\r\n"


def switching_head(head: Response, fields: ResponseFields) -> bytes:
    """A 101 response (RFC 9110 §15.2.2)."""
    fields.drop(NO_LENGTH)
    return b"HTTP/1.1 101 %b\r\n%bUpgrade: %b\r\nConnection: upgrade\r\n\r\n" % (
        head.phrase,
        field_lines(fields.kept),
        fields.upgrade,
    )
