"""A tunnel after a 101: bytes in both directions, until one side closes or the permission expires.

A WebSocket that must end gets a close frame (RFC 6455 §5.5.1): 1008 if the token or the certificate expired, 1001 if
the sidecar stops. A frame can be inserted only between frames, so the lengths of the upstream's frames are tracked.
"""

from sidecar.http.fields import RequestFields
from sidecar.proxy.exchange.stream import ClientStream
from sidecar.proxy.upstream import http1_writer
from sidecar.proxy.upstream.connection import UpstreamConnection
from sidecar.telemetry.record import AuditRecord


def objection_to(
    upstream: UpstreamConnection | None, protocol: bytes, asked_for: RequestFields | None
) -> str:
    """What is wrong with a 101 to `protocol`; empty if nothing is. `asked_for` are the fields of a request that asked
    for another protocol.
    """
    if upstream is None or asked_for is None or upstream.reader.after_upgrade is None:
        return "101 to a request that asked for no other protocol"
    if not http1_writer.has_asked_for(protocol, asked_for):
        return "101 to a protocol that was not asked for"
    return ""


class FrameTracker:
    """Tracks whether a stream of WebSocket frames is between two frames (RFC 6455 §5.2)."""

    __slots__ = ("_header", "_remaining")

    def __init__(self) -> None:
        self._header = b""
        """The beginning of an incomplete frame header."""
        self._remaining = 0
        """Number of bytes of mask and payload that are still to come."""

    @property
    def is_between_frames(self) -> bool:
        """Whether a frame may be inserted here."""
        return self._remaining == 0 and not self._header

    def feed(self, data: bytes) -> None:
        """Process the next bytes of the stream, frame by frame."""
        if self._header:
            data, self._header = self._header + data, b""
        at, size = self._remaining, len(data)
        while at + 2 <= size:
            first = data[at + 1]
            length, header = first & 0x7F, 2
            if length > 125:
                header = 4 if length == 126 else 10
                if at + header > size:
                    break
                length = int.from_bytes(data[at + 2 : at + header], "big")
            at += header + length + (4 if first & 0x80 else 0)
        if at < size:
            self._header, self._remaining = data[at:], 0
        else:
            self._remaining = at - size


def close_frame(code: int, reason: str, *, masked: bool) -> bytes:
    """A close frame. `masked` towards a server (RFC 6455 §5.3), with a mask of zeros, because nothing in it is
    secret.
    """
    payload = code.to_bytes(2, "big") + reason.encode("utf-8")[:123]
    if masked:
        return bytes((0x88, 0x80 | len(payload), 0, 0, 0, 0)) + payload
    return bytes((0x88, len(payload))) + payload


class Tunnel:
    """The two byte streams of one upgraded connection."""

    __slots__ = (
        "_from_client",
        "_from_upstream",
        "_silence",
        "_stream",
        "_upstream",
        "bytes_in",
        "bytes_out",
    )

    def __init__(
        self, stream: ClientStream, upstream: UpstreamConnection, protocol: bytes, silence: float
    ) -> None:
        """`silence` is the number of seconds that may pass without a byte; 0: no limit."""
        is_websocket = protocol.lower() == b"websocket"
        self._stream = stream
        self._upstream = upstream
        self._silence = silence
        self._from_upstream = FrameTracker() if is_websocket else None
        self._from_client = FrameTracker() if is_websocket else None
        self.bytes_in = 0
        self.bytes_out = 0

    def begin(self, early: bytes) -> None:
        """Pass on what followed the heads: `early` of the client, and what the upstream sent."""
        if early:
            self.from_client(early)
        self._stream.release()
        self._stream.expect_more(self._silence)
        early = self._upstream.open_tunnel()
        if early:
            self.from_upstream(early)

    def from_client(self, data: bytes) -> None:
        """Pass bytes on to the upstream."""
        self.bytes_in += len(data)
        if self._from_client is not None:
            self._from_client.feed(data)
        self._upstream.write(data)
        self._stream.expect_more(self._silence)

    def from_upstream(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self.bytes_out += len(data)
        if self._from_upstream is not None:
            self._from_upstream.feed(data)
        self._stream.body(data, None)
        self._stream.expect_more(self._silence)

    def client_ended(self) -> None:
        """The client sends no more, but may still read."""
        self._upstream.end_writing()

    def close(self, record: AuditRecord) -> None:
        """Close. Data of the client still goes to the upstream; `record` gets the number of bytes in each direction."""
        record.bytes_in, record.bytes_out = self.bytes_in, self.bytes_out
        self._upstream.finish_writing()

    def say_goodbye(self, cause: str) -> None:
        """Send close frames in both directions, if the protocol has them and a frame may be inserted here."""
        code = 1008 if cause.endswith("_expired") else 1001
        if self._from_upstream is not None and self._from_upstream.is_between_frames:
            self._stream.body(close_frame(code, cause.replace("_", " "), masked=False), None)
        if self._from_client is not None and self._from_client.is_between_frames:
            self._upstream.write(close_frame(code, cause.replace("_", " "), masked=True))
