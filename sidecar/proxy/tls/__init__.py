"""TLS towards clients.

Theory of operation. A `ServerTls` is made from one listener's settings; a reload makes another. Each connection gets an
`Engine` that turns ciphertext into plaintext and back, so that the event loop's transport stays plain TCP. Two things
follow that asyncio's own TLS cannot do: a client certificate without a chain is accepted when possession alone counts
(RFC 8705 §6.2), and the alert of a failed handshake reaches the client.
"""

from sidecar.proxy.tls.abstract import Engine
from sidecar.proxy.tls.engine import OpenSslEngine, TlsFailure
from sidecar.proxy.tls.server import ServerTls

__all__ = ["Engine", "OpenSslEngine", "ServerTls", "TlsFailure"]
