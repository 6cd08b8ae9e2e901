"""The sidecar's own answers in HTTP/1.1 (RFC 9112 §4). What they say is the business of `http.answer`."""

import time
from email.utils import formatdate
from typing import Final

from sidecar.decision.challenge import TITLES
from sidecar.http.answer import Answer
from sidecar.http.message import Request

_date = (0, b"")


def date() -> bytes:
    """The Date field's value (RFC 9110 §6.6.1), made once a second."""
    global _date  # noqa: PLW0603 — a memo of one value
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]


_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"


def render(answer: Answer, request_id: str, request: Request, *, close: bool) -> bytes:
    """The whole answer to `request`; without content for HEAD (RFC 9110 §9.3.2)."""
    connection = _CLOSE if close else _KEEP if request.minor_version == 0 else b""
    name = request_id.encode("ascii") if answer.is_identified else b""
    key = (connection, len(name))  # the length grows with the number of requests
    form = answer.written.get(key)
    if form is None:
        form = answer.written[key] = _form(answer, *key)
    status, fields, end, body = form
    head = status + date() + fields + name + end
    return head if request.method == "HEAD" else head + body + name + answer.end


def _form(answer: Answer, connection: bytes, id_size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """What always stands in it, in the pieces between which date and request id stand."""
    status = b"HTTP/1.1 %d %b\r\nDate: " % (answer.status, TITLES.get(answer.status, "OK").encode("ascii"))
    length = (b"Content-Length", b"%d" % (len(answer.beginning) + id_size + len(answer.end)))
    lines = [b"%b: %b\r\n" % field for field in (answer.fields[0], length, *answer.fields[1:])]
    fields = b"\r\n" + b"".join(lines) + connection
    if answer.is_identified:
        return status, fields + b"X-Request-Id: ", b"\r\n\r\n", answer.beginning
    return status, fields, b"\r\n", answer.beginning
