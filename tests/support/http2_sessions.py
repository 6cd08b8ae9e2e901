"""Memory of idle HTTP/2 sessions. To be run in a process of its own, in which nothing else uses memory meanwhile."""

from sidecar.http.message import Field
from sidecar.process.host.hardening import resident_bytes
from sidecar.proxy.http2.engine import Http2Engine
from sidecar.proxy.http2.events import Unheeded
from tests.support.http2_frames import OPENING, asked, request

_REQUEST = OPENING + asked(request())
_RESPONSE: list[Field] = [(b":status", b"200"), (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]


def _shake_hands() -> None:
    """As a TLS handshake does: memory is written, and freed again."""
    for size in (60_000, 33_000, 17_000):
        bytearray(b"x") * size


def _session() -> Http2Engine:
    """One that has answered a request."""
    made = Http2Engine(Unheeded(), is_server=True, streams=100, window=65536, header_bytes=32768, headers=100)
    made.outgoing()
    made.receive(_REQUEST)
    made.deliver(100)
    made.respond(1, _RESPONSE, ends=False)
    made.send(1, b"content", ends=True)
    made.outgoing()
    made.deliver(100)
    made.outgoing()
    return made


def grown_by_a_session(count: int) -> float:
    """Resident bytes for each of so many sessions that stay."""
    held = [_session()]
    _shake_hands()
    before = resident_bytes()
    for _ in range(count):
        _shake_hands()
        held.append(_session())
    return (resident_bytes() - before) / count
