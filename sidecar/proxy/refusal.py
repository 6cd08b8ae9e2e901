"""The bytes of the answers that the sidecar itself gives. What they say is `decision.challenge`'s business."""

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.decision.challenge import TITLES, challenge, problem
from sidecar.decision.denial import Answer, Denial
from sidecar.http.message import Request

if TYPE_CHECKING:
    from sidecar.proxy.exchange.snapshot import Serving

_date = (0, b"")


def date() -> bytes:
    """The Date field's value (RFC 9110 §6.6.1), made once a second."""
    global _date  # noqa: PLW0603 — a memo of one value
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]


class Form(NamedTuple):
    """What one kind of refusal always says, in the pieces between which date and request id stand."""

    status: bytes
    fields: bytes
    end: bytes
    body: bytes


_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"
_FORMS_KEPT: Final = 512
_REQUEST_ID: Final = "%"
"""Stands for the request id in a form; the last one is meant, as the id is the body's last member."""


def render(
    denial: Denial, shape: Answer, serving: "Serving", request_id: str, request: Request, *, close: bool
) -> bytes:
    """A refusal: problem details (RFC 9457), and the challenge where there is one (RFC 6750 §3)."""
    connection = _CLOSE if close else _KEEP if request.minor_version == 0 else b""
    size = len(request_id)  # which grows with the number of requests
    key = (
        denial.reason,
        denial.scope,
        denial.acr_values,
        denial.max_age,
        denial.retry_after,
        connection,
        size,
    )
    form = serving.refusals.get(key)
    if form is None:
        if len(serving.refusals) >= _FORMS_KEPT:
            serving.refusals.clear()
        form = serving.refusals[key] = _form(denial, shape, serving, size, connection)
    name = request_id.encode("ascii")
    head = form.status + date() + form.fields + name + form.end
    return head if request.method == "HEAD" else head + form.body + name + b'"}'


def _form(denial: Denial, shape: Answer, serving: "Serving", id_size: int, connection: bytes) -> Form:
    settings = serving.settings
    body = problem(denial.reason, _REQUEST_ID, disclose=settings.disclose_reasons)
    beginning, _, rest = body.rpartition(_REQUEST_ID.encode("ascii"))
    assert rest == b'"}'  # noqa: S101 — the request id is the last member
    fields = (
        b"\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
        % (len(beginning) + id_size + len(rest))
    )
    value = challenge(denial, settings.realm, serving.resource_metadata, disclose=settings.disclose_reasons)
    if value is not None:
        fields += b"WWW-Authenticate: %b\r\n" % value.encode("latin-1", "replace")
    if shape.status == 503:
        fields += b"Retry-After: %d\r\n" % (denial.retry_after or 1)
    fields += connection
    status = b"HTTP/1.1 %d %b\r\nDate: " % (shape.status, TITLES[shape.status].encode("ascii"))
    return Form(status, fields + b"X-Request-Id: ", b"\r\n\r\n", beginning)


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
