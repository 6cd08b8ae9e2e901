"""Requests → bytes for the upstream (RFC 9112). Pure.

The sidecar's fields come after the client's, so that none of them can be removed or repeated.
"""

from sidecar.decision.request import RequestHead
from sidecar.http.fields import RequestFields
from sidecar.http.lines import field_lines
from sidecar.http.message import Request


def request_head(
    request: Request, fields: RequestFields, head: RequestHead, *, said: bytes, token: bool, upgrades: bool
) -> bytes:
    """The request head towards the upstream.

    `said` are the fields the sidecar sets; `token` lets `Authorization` through, `upgrades` lets `Upgrade`.
    """
    host = fields.hosts[0] if fields.hosts else b""
    method, path = request.method.encode("ascii"), head.target.encode("latin-1")
    kept = field_lines(fields.kept)
    if token:
        kept += b"".join([b"Authorization: %b\r\n" % value for value in fields.authorization])
    if request.chunked:
        said += b"Transfer-Encoding: chunked\r\n"
    elif request.content_length is not None:
        said += b"Content-Length: %d\r\n" % request.content_length
    if fields.expect:
        said += b"Expect: 100-continue\r\n"
    if fields.takes_trailers:
        # RFC 9110 §10.1.4: TE goes from hop to hop, and its sender MUST name it in Connection.
        said += b"TE: trailers\r\nConnection: TE\r\n"
    if upgrades:
        said += b"Upgrade: %b\r\nConnection: upgrade\r\n" % fields.upgrade
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (method, path, host, kept, said)


def has_asked_for(protocol: bytes, fields: RequestFields) -> bool:
    """RFC 9110 §7.8: whether the server switches to a protocol that the client requested."""
    return protocol.lower() in [each.strip(b" \t").lower() for each in fields.upgrade.split(b",")]


def asks_to_upgrade(request: Request, fields: RequestFields, allowed: frozenset[str]) -> bool:
    """Whether the upstream is asked for another protocol: only for those of the rule, in lower case, and never for one
    that carries requests of its own.
    """
    if not request.upgrade or not fields.upgrade or fields.upgrade_carries_http:
        return False
    protocols = fields.upgrade.decode("latin-1").lower().split(",")
    return all(protocol.strip(" \t") in allowed for protocol in protocols)
