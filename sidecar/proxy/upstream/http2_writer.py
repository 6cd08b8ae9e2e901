"""Requests → HTTP/2 fields for the upstream (RFC 9113 §8.3.1). Pure.

The forwarded fields do not depend on the upstream's version: `fields_of` makes what `request_fields` makes of the head
that `http1_writer` writes, without writing it first. No field can contain a line end: that was checked on receipt.
"""

from typing import Final

from sidecar.decision.request import RequestHead
from sidecar.http.fields import RequestFields
from sidecar.http.message import Field, Request
from sidecar.proxy.http2.fields import bare_value, line_fields, lower_name

_NOT_HERE: Final = frozenset(
    {b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection"}
)
"""Connection-specific fields (RFC 9113 §8.2.2)."""
_SPECIAL: Final = _NOT_HERE | {b"host"}
_BLOCKS: Final[dict[bytes, list[Field]]] = {}
"""Blocks of lines → fields: the origin of the requests of each connection, in bounded number."""
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 1024


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
    said: tuple[bytes, bytes],
    *,
    token: bool,
) -> list[Field]:
    """The fields of a request. `said` are the lines that the sidecar sets: first the block that most requests of a
    connection have in common, then the others; `token` lets `Authorization` through.
    """
    pairs: list[Field] = [
        (b":method", request.method.encode("ascii")),
        (b":scheme", scheme),
        (b":path", head.target.encode("latin-1")),
    ]
    if fields.hosts and fields.hosts[0]:
        pairs.append((b":authority", fields.hosts[0]))
    kept = fields.kept
    pairs += [(lower_name(kept[at]), bare_value(kept[at + 2])) for at in range(0, len(kept), 4)]
    if token:
        pairs += [(b"authorization", value) for value in fields.authorization]
    known = _BLOCKS.get(said[0])
    pairs += _known(said[0]) if known is None else known
    pairs += _lines(said[1])
    if not request.chunked and request.content_length is not None:
        pairs.append((b"content-length", b"%d" % request.content_length))
    if fields.expect:
        pairs.append((b"expect", b"100-continue"))
    if fields.takes_trailers:
        pairs.append((b"te", b"trailers"))
    return pairs


def _lines(block: bytes) -> list[Field]:
    return [pair for pair in line_fields(block) if pair[0] not in _SPECIAL]


def _known(block: bytes) -> list[Field]:
    made = _lines(block)
    if len(block) <= _LONGEST_KNOWN:
        if len(_BLOCKS) >= _MOST_KNOWN:
            _BLOCKS.clear()  # else a few clients could fill it, and no further block would ever be cached
        _BLOCKS[block] = made
    return made
