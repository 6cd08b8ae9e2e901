"""Requests → HTTP/2 fields for the upstream (RFC 9113 §8.3.1). Pure.

The forwarded fields do not depend on the upstream's version: `fields_of` makes what `request_fields` makes of the head
that `http1_writer` writes, without writing it first. No field can contain a line end: that was checked on receipt.
"""

from typing import Final

from sidecar.decision.request import RequestHead
from sidecar.http.fields import RequestFields
from sidecar.http.http2_request import Http2Request
from sidecar.http.lines import FieldBlock, bare_value
from sidecar.http.message import Field, Request
from sidecar.proxy.http2.fields import http2_fields, line_fields, lower_name

_NOT_HERE: Final = frozenset(
    {b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection"}
)
"""Connection-specific fields (RFC 9113 §8.2.2)."""
_SPECIAL: Final = _NOT_HERE | {b"host"}

Said = tuple[FieldBlock, list[Field], FieldBlock, FieldBlock]
"""The fields that the sidecar sets, in their order: where the request comes from, those of its trace, those of its
token, and the certificate.
"""


def request_fields(head: bytes, scheme: bytes) -> list[Field]:
    """The fields of a head that was written for HTTP/1.1."""
    first, *lines = head[:-4].split(b"\r\n")
    method, target, _ = first.split(b" ")
    authority = b""
    regular: list[Field] = []
    for line in lines:
        name, _, value = line.partition(b": ")
        name = lower_name(name)
        if name not in _SPECIAL:
            regular.append((name, bare_value(value)))
        elif name == b"host":
            authority = value
    pseudo: list[Field] = [(b":method", method), (b":scheme", scheme), (b":path", target)]
    if authority:
        pseudo.append((b":authority", authority))
    return pseudo + regular


def fields_of(
    request: Request,
    fields: RequestFields,
    head: RequestHead,
    scheme: bytes,
    said: Said,
    *,
    token: bool,
) -> list[Field]:
    """The fields of a request; `token` lets `Authorization` through."""
    pairs: list[Field] = [
        (b":method", request.method.encode("ascii")),
        (b":scheme", scheme),
        (b":path", head.target.encode("latin-1")),
    ]
    if fields.hosts and fields.hosts[0]:
        pairs.append((b":authority", fields.hosts[0]))
    # What HTTP/2 brought was checked to be as HTTP/2 has it.
    pairs += fields.kept if isinstance(request, Http2Request) else http2_fields(fields.kept)
    if token:
        pairs += [(b"authorization", value) for value in fields.authorization]
    origin, trace, identity, certificate = said
    pairs += _pairs(origin)
    pairs += trace
    pairs += _pairs(identity)
    if certificate.lines:
        pairs += _pairs(certificate)
    if not request.chunked and request.content_length is not None:
        pairs.append((b"content-length", b"%d" % request.content_length))
    if fields.expect:
        pairs.append((b"expect", b"100-continue"))
    if fields.takes_trailers:
        pairs.append((b"te", b"trailers"))
    return pairs


def _pairs(block: FieldBlock) -> list[Field]:
    made = block.pairs
    if made is None:
        made = block.pairs = [pair for pair in line_fields(block.lines) if pair[0] not in _SPECIAL]
    return made
