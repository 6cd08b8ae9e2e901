"""The protocols of a client connection after its handshake: a table from the protocol's name to its wire.

A wire is made from its link and what is known of the client. It must have what `ClientConnection` calls: `receive`,
`blocked`, `unblocked`, `says_no_more`, `gone`, `lost`; `shed`, `drain`, `retire`, `distrust`; `check`, `rest`,
`exchanges`; the attributes `deadline`, `hop`, `was_permitted` and `refusals`. The type is a union of classes, not a
`Protocol`: compiled code then calls the method of the class directly.
"""

from typing import Final, TypeAlias

from sidecar.decision.request import Presenter
from sidecar.http.forwarding import Forwarding
from sidecar.proxy.client.host import IDLE_GRACE, Host
from sidecar.proxy.client.http1 import Http1Stream
from sidecar.proxy.client.http2 import Http2Wire
from sidecar.proxy.client.link import Link
from sidecar.proxy.configuration import HTTP1, HTTP2
from sidecar.proxy.vouching.hop import Hop

Wire: TypeAlias = Http1Stream | Http2Wire

_WIRES: Final[dict[str, tuple[type[Http1Stream] | type[Http2Wire], bytes]]] = {
    HTTP1: (Http1Stream, b"1.1"),
    HTTP2: (Http2Wire, b"2.0"),
}
"""ALPN name (RFC 7301 §6) → wire, and the version for Via (RFC 9110 §7.6.3)."""


def wire_for(
    link: Link,
    host: Host,
    presenter: Presenter,
    certificate_until: float,
    peer: str,
    *,
    believed: bool,
    hop: Hop | None,
) -> Wire:
    """The wire for `presenter.protocol`. `peer` is the client's IP address, `believed` whether its forwarded fields
    are used; `certificate_until` and `hop` as in `ClientStream`.
    """
    made, version = _WIRES[presenter.protocol]
    forwarding = Forwarding(peer, believed=believed, received=version)
    wire = made(link, host, presenter, certificate_until, forwarding)
    wire.hop = hop
    if hop is not None and hop.proxy and isinstance(wire, Http2Wire):
        wire.widen()
    if host.draining:  # its handshake was under way
        wire.drain(host.now() + IDLE_GRACE)
    return wire


def kept_bytes(wire: Wire) -> int:
    """Bytes of incomplete frames and field blocks of HTTP/2. HTTP/1.1 has what was read of a head in its parser, and
    limits it.
    """
    return wire.engine.kept_bytes if isinstance(wire, Http2Wire) else 0
