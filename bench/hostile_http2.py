"""The hostile clients of `bench.hostile` that speak HTTP/2: each has one connection, and another when that is ended.

What they send for nothing is what the standard does not bound (RFC 9113 §10.5): the floods of CVE-2019-9511 to 9518,
rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671) and endless heads (CVE-2024-27316 and its siblings).
"""

import time
from collections.abc import Callable, Iterator

from bench.hostile_client import Wire
from sidecar.http.message import Field
from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)

_STREAMS = 100
"""`limits.concurrent_streams`."""
_PRIORITY_UPDATE = 16
_WHOLE = END_HEADERS | END_STREAM
_GET = block(request("/public/a"))
_UPLOAD = block(request("/public/upload", "POST"))
_MANY = 16_000
"""Bytes of one write, about."""
_WIDE = (1 << 31) - 1 - 65535


class Http2Wire(Wire):
    """A connection on which frames are written by hand."""

    def __init__(self, port: int, window: int = 65535) -> None:
        super().__init__(port, "h2")
        self._rest = b""
        self.next = 1
        """The number of the next stream."""
        settings = frame(SETTINGS, 0, 0, b"\0\4" + window.to_bytes(4))
        self.says(PREFACE, settings, frame(WINDOW_UPDATE, 0, 0, _WIDE.to_bytes(4)))

    def says(self, *frames: bytes) -> None:
        """As one record, or as few as can be."""
        self.socket.sendall(self.seal(b"".join(frames)))

    def streams(self, count: int) -> Iterator[int]:
        """So many numbers of new streams."""
        first, self.next = self.next, self.next + 2 * count
        yield from range(first, self.next, 2)

    def await_ends(self, count: int) -> None:
        """Reads until so many streams are over. Raises `OSError` when the connection is first."""
        while count > 0:
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            self._rest += self.open(data)
            at = 0
            while len(self._rest) >= at + 9:
                size = int.from_bytes(self._rest[at : at + 3])
                if len(self._rest) < at + 9 + size:
                    break
                kind, flags = self._rest[at + 3], self._rest[at + 4]
                count -= kind == RST_STREAM or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
                at += 9 + size
            self._rest = self._rest[at:]


def _floods(port: int, some: bytes, before: bytes = b"") -> None:
    """`before` opens stream 1, then frames that ask for nothing, as fast as they are taken."""
    wire = Http2Wire(port)
    wire.swallow()
    wire.says(before)
    many = some * max(1, _MANY // len(some))
    while True:
        wire.says(many)


def _begins(port: int, stream: Callable[[int], bytes]) -> None:
    """Streams as fast as they are taken, whatever becomes of them."""
    wire = Http2Wire(port)
    wire.swallow()
    while True:
        wire.says(*map(stream, wire.streams(_STREAMS)))


def _waves(port: int, stream: Callable[[int], bytes], *, before: bytes = b"") -> None:
    """As many streams at once as may be, again and again."""
    wire = Http2Wire(port)
    wire.says(before)
    while True:
        wire.says(*map(stream, wire.streams(_STREAMS)))
        wire.await_ends(_STREAMS)


def _upload(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS, number, _UPLOAD)


def requests(port: int) -> None:
    """Requests, a hundred at once."""
    _waves(port, lambda number: frame(HEADERS, _WHOLE, number, _GET))


def too_many_streams(port: int) -> None:
    """More streams at once than may be."""
    _begins(port, _upload)


def rapid_resets(port: int) -> None:
    """Requests that are taken back at once."""
    reset = bytes(4)
    _begins(port, lambda number: frame(HEADERS, _WHOLE, number, _GET) + frame(RST_STREAM, 0, number, reset))


def spoiled_streams(port: int) -> None:
    """Requests that the sidecar has to reset, because their content is too long."""
    head = block(request("/public/upload", "POST", (b"content-length", b"1")))
    _begins(port, lambda number: frame(HEADERS, END_HEADERS, number, head) + frame(DATA, 0, number, b"xx"))


def malformed_requests(port: int) -> None:
    """Requests that no HTTP/2 is, each reset."""
    head = block([*request("/public/a"), (b"X", b"y")])
    _begins(port, lambda number: frame(HEADERS, _WHOLE, number, head))


def settings(port: int) -> None:
    """SETTINGS that want to be acknowledged."""
    _floods(port, frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1"))


def pings(port: int) -> None:
    """PING that wants an answer."""
    _floods(port, frame(PING, 0, 0, bytes(8)))


def window_updates(port: int) -> None:
    """Windows wider by a byte."""
    _floods(port, frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), _upload(1))


def priorities(port: int) -> None:
    """PRIORITY and PRIORITY_UPDATE."""
    _floods(
        port, frame(PRIORITY, 0, 1, b"\0\0\0\0\1") + frame(_PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"), _upload(1)
    )


def unknown_frames(port: int) -> None:
    """Frames of a type that nobody knows."""
    _floods(port, frame(0x77, 0xFF, 1, b"?"))


def continuations(port: int) -> None:
    """A head that does not end."""
    _floods(port, frame(CONTINUATION, 0, 1, b"\0\1x\1y"), frame(HEADERS, 0, 1, _GET))


def empty_data(port: int) -> None:
    """DATA without content."""
    _floods(port, frame(DATA, 0, 1), _upload(1))


def padding(port: int) -> None:
    """DATA of nothing but padding."""
    _floods(port, frame(DATA, 8, 1, b"\xff" + bytes(255)), _upload(1))


def crumbs(port: int) -> None:
    """Content in pieces of one byte."""
    _floods(port, frame(DATA, 0, 1, b"x"), _upload(1))


def header_bombs(port: int) -> None:
    """Heads of a few bytes that become 30,000 each (RFC 7541 §7.3)."""
    large: list[Field] = [(b"x-a", b"x" * 3900)]
    # Literal with indexing in place of without (RFC 7541 §6.2.1): from then on a byte means the whole field.
    indexed = b"\x40" + block(large)[1:]
    bomb = frame(HEADERS, _WHOLE, 1, _GET + indexed)
    heads = _GET + b"\xbe" * 7
    _waves(port, lambda number: bomb if number == 1 else frame(HEADERS, _WHOLE, number, heads))


def trailer_fields(port: int) -> None:
    """Requests with as many trailer fields as may be."""
    fields: list[Field] = [(b"x-%d" % number, b"y" * 50) for number in range(90)]
    end = block(fields)

    def stream(number: int) -> bytes:
        return (
            frame(HEADERS, END_HEADERS, number, block(request("/public/b", "PUT")))
            + frame(DATA, 0, number, b"x")
            + frame(HEADERS, _WHOLE, number, end)
        )

    _waves(port, stream)


def stalled_windows(port: int) -> None:
    """Asks for large answers, a hundred at once, and takes a byte of one of them now and then."""
    wire = Http2Wire(port, window=0)
    wire.swallow()
    head = block(request("/public/large"))
    wire.says(*(frame(HEADERS, _WHOLE, number, head) for number in wire.streams(_STREAMS)))
    while True:
        for number in range(1, 2 * _STREAMS, 2):
            wire.says(frame(WINDOW_UPDATE, 0, number, b"\0\0\0\1"))
            time.sleep(0.01)


ATTACKS = {
    each.__name__: each
    for each in (
        requests, too_many_streams, rapid_resets, spoiled_streams, malformed_requests, settings, pings,
        window_updates, priorities, unknown_frames, continuations, empty_data, padding, crumbs, header_bombs,
        trailer_fields, stalled_windows,
    )
}  # fmt: skip
