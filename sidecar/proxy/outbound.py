"""Heads as they leave: the request towards the upstream, the response towards the client. Pure.

What the sidecar says comes after what the client said, so that nothing of it can be removed or repeated.
"""

from typing import Final

from sidecar.decision.request import RequestHead
from sidecar.http.fields import RequestFields
from sidecar.http.message import Request, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.refusal import date

BODILESS_STATUS: Final = frozenset({204, 304})


def request_head(
    request: Request, fields: RequestFields, head: RequestHead, *, said: bytes, token: bool
) -> bytes:
    """The request head towards the upstream.

    `said` are the fields the sidecar sets; `token` lets `Authorization` through.
    """
    host = fields.hosts[0] if fields.hosts else b""
    method, path = request.method.encode("ascii"), head.target.encode("latin-1")
    pieces = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, path, host)]
    pieces += fields.kept
    if token:
        pieces += [b"Authorization: %b\r\n" % value for value in fields.authorization]
    pieces.append(said)
    if request.chunked:
        pieces.append(b"Transfer-Encoding: chunked\r\n")
    elif request.content_length is not None:
        pieces.append(b"Content-Length: %d\r\n" % request.content_length)
    if fields.expect:
        pieces.append(b"Expect: 100-continue\r\n")
    if fields.takes_trailers:
        # RFC 9110 §10.1.4: TE goes from hop to hop, and its sender MUST name it in Connection.
        pieces.append(b"TE: trailers\r\nConnection: TE\r\n")
    if asks_to_upgrade(request, fields):
        pieces.append(b"Upgrade: %b\r\nConnection: upgrade\r\n" % fields.upgrade)
    pieces.append(b"\r\n")
    return b"".join(pieces)


def asks_to_upgrade(request: Request, fields: RequestFields) -> bool:
    """Whether the upstream is asked for another protocol: never for one that carries requests of its own."""
    return request.upgrade and bool(fields.upgrade) and not fields.upgrade_carries_http


def interim_head(head: Response, fields: ResponseFields) -> bytes:
    """A 1xx response (RFC 9110 §15.2)."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.phrase, b"".join(fields.kept))


def needs_chunks(request: Request, head: Response, fields: ResponseFields) -> bool:
    """Whether the response has a body whose length nobody has said."""
    if request.method == "HEAD" or head.status in BODILESS_STATUS:
        return False
    return fields.chunked or fields.content_length is None


def response_head(
    request: Request, head: Response, fields: ResponseFields, *, chunked: bool, keep_alive: bool
) -> list[bytes]:
    """The response head towards the client, in pieces."""
    if head.status == 204:
        # RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code
        # of 1xx (Informational) or 204 (No Content)."
        fields.drop((b"content-length",))
    pieces = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase)]
    pieces += fields.kept
    if not fields.has_date:
        # RFC 9110 §6.6.1: a recipient with a clock appends Date when it forwards a response without.
        pieces.append(b"Date: %b\r\n" % date())
    if chunked:
        pieces.append(b"Transfer-Encoding: chunked\r\n")
    if not keep_alive:
        pieces.append(b"Connection: close\r\n\r\n")
    elif request.minor_version == 0:
        pieces.append(b"Connection: keep-alive\r\n\r\n")
    else:
        pieces.append(b"\r\n")
    return pieces


def switching_head(head: Response, fields: ResponseFields) -> bytes:
    """A 101 response (RFC 9110 §15.2.2)."""
    return b"HTTP/1.1 101 %b\r\n%bUpgrade: %b\r\nConnection: upgrade\r\n\r\n" % (
        head.phrase,
        b"".join(fields.kept),
        fields.upgrade,
    )
