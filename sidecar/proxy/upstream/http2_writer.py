"""Requests → HTTP/2 fields for the upstream (RFC 9113 §8.3.1). Pure.

A request head has one maker (`http1_writer`), so that the forwarded fields do not depend on the upstream's version;
this module translates it. No field can contain a line end: that was checked on receipt.
"""

from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.http2.fields import bare_value, lower_name

_NOT_HERE: Final = frozenset(
    {b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection"}
)
"""Connection-specific fields (RFC 9113 §8.2.2)."""
_SPECIAL: Final = _NOT_HERE | {b"host"}


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
