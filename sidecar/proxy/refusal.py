"""The bytes of the answers that the sidecar itself gives. What they say is `decision.challenge`'s business."""

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from sidecar.decision.challenge import TITLES, challenge, problem
from sidecar.decision.denial import Answer, Denial
from sidecar.proxy.http1 import Request

if TYPE_CHECKING:
    from sidecar.proxy.serving import Serving

_date = (0, b"")


def date() -> bytes:
    """The Date field's value (RFC 9110 §6.6.1), made once a second."""
    global _date  # noqa: PLW0603 — a memo of one value
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]


def render(
    denial: Denial, shape: Answer, serving: "Serving", request_id: str, request: Request, *, close: bool
) -> bytes:
    """A refusal: problem details (RFC 9457), and the challenge where there is one (RFC 6750 §3)."""
    settings = serving.settings
    body = problem(denial.reason, request_id, disclose=settings.disclose_reasons)
    pieces = [
        b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
        b"Cache-Control: no-store\r\nX-Request-Id: %b\r\n"
        % (shape.status, TITLES[shape.status].encode("ascii"), date(), len(body), request_id.encode("ascii"))
    ]
    value = challenge(denial, settings.realm, serving.resource_metadata, disclose=settings.disclose_reasons)
    if value is not None:
        pieces.append(b"WWW-Authenticate: %b\r\n" % value.encode("latin-1", "replace"))
    if shape.status == 503:
        pieces.append(b"Retry-After: %d\r\n" % (denial.retry_after or 1))
    if close:
        pieces.append(b"Connection: close\r\n")
    elif request.minor_version == 0:
        pieces.append(b"Connection: keep-alive\r\n")
    pieces.append(b"\r\n")
    if request.method != "HEAD":
        pieces.append(body)
    return b"".join(pieces)


def document(body: bytes, *, head_only: bool, close: bool) -> bytes:
    """One of the sidecar's own JSON documents."""
    return (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
        % (
            date(),
            len(body),
            b"Connection: close\r\n" if close else b"",
            b"" if head_only else body,
        )
    )
