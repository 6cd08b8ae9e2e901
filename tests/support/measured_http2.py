"""A `World` whose client speaks HTTP/2, to an API that speaks HTTP/1.1 or, for gRPC, HTTP/2.

Both ends write their frames beforehand, so that what is counted is the sidecar's. The client asks on `each` streams at
once, as often as it is told to; the fields of its head are in the table of HPACK after the first request, as are those
of a client that asks the same all the time.
"""

import struct
from collections.abc import Callable

from hpack import Encoder
from OpenSSL import SSL

from sidecar.http.message import Field
from sidecar.proxy.client.http2 import Http2Wire
from sidecar.proxy.configuration import HTTP1, HTTP2
from sidecar.proxy.upstream.http2_road import Http2Connection
from tests.support.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.support.measured import World

_MESSAGE = b"\0\0\0\0\x64" + b"x" * 100
_WIDE = frame(SETTINGS, 0, 0, struct.pack(">HL", 4, (1 << 31) - 1)) + frame(
    WINDOW_UPDATE, 0, 0, struct.pack(">L", 1 << 30)
)
"""Windows that never end."""


class Http2World(World):
    """Requests on several streams at once."""

    protocols = (HTTP2, HTTP1)
    each = 1
    """Streams at once."""

    async def start(self) -> None:
        self._soon: list[Callable[[], object]] = []
        self._number = 1
        self._heads: list[bytes] = []
        await super().start()

    async def begin(self) -> None:
        await super().begin()
        await self.settle()
        # As many connections to the API as there will be streams.
        self.connection.data_received(self.sealed())
        await self.settle()
        self.respond()
        await self.settle()
        wire = self.connection.wire
        assert isinstance(wire, Http2Wire)
        assert not wire.streams
        wire._call_soon = self.server._turns._call_soon = self._soon.append

    def greets(self, context: SSL.Context) -> None:
        context.set_alpn_protos([b"h2"])

    def fields(self) -> list[Field]:
        """Those of the head, as h2load writes them."""
        return [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/accounts/1"),
            (b":authority", b"api.test"),
            (b"user-agent", b"h2load nghttp2/1.59.0"),
            (b"authorization", b"Bearer " + self.token.encode()),
        ]

    def request(self, head: bytes, number: int) -> bytes:
        """The frames of one."""
        return frame(HEADERS, END_HEADERS | END_STREAM, number, head)

    def plaintext(self) -> bytes:
        if not self._heads:
            encoder = Encoder()
            self._heads = [encoder.encode(self.fields()), encoder.encode(self.fields())]
            number = self._number
            self._number += 2
            return PREFACE + _WIDE + frame(SETTINGS, ACK, 0) + self.request(self._heads[0], number)
        first, self._number = self._number, self._number + 2 * self.each
        return b"".join([self.request(self._heads[1], one) for one in range(first, self._number, 2)])

    def one(self, plaintext: bytes | None = None) -> None:
        """As many as there are streams at once, with what the event loop would call at the end of each turn."""
        wire = self.connection.wire
        assert wire is not None
        wire.refusals = 0
        self.connection.data_received(self.sealed(plaintext))
        self.turn()
        self.respond()
        self.turn()
        self.transport.written.clear()

    def turn(self) -> None:
        """What waits for the end of the turn."""
        while self._soon:
            self._soon.pop(0)()


class GrpcWorld(Http2World):
    """Unary calls of 100 bytes, answered with as many, to an API that speaks HTTP/2."""

    upstream_protocol = HTTP2

    async def begin(self) -> None:
        encoder = Encoder()
        self._answers: list[tuple[bytes, bytes]] = [
            (encoder.encode(self.answer_fields()), encoder.encode([(b"grpc-status", b"0")])) for _ in range(2)
        ]
        self._asked = -1
        await super().begin()
        upstream = self.upstreams[0].protocol
        assert isinstance(upstream, Http2Connection)
        assert not upstream.road.lanes
        upstream.road._call_soon = self._soon.append

    def answer_fields(self) -> list[Field]:
        return [
            (b":status", b"200"),
            (b"server", b"nghttpd nghttp2/1.59.0"),
            (b"date", b"Mon, 23 Nov 2026 05:39:23 GMT"),
            (b"content-type", b"application/grpc"),
            (b"trailer", b"grpc-status"),
        ]

    def fields(self) -> list[Field]:
        fields = super().fields()
        fields[0] = (b":method", b"POST")
        return [*fields, (b"content-type", b"application/grpc"), (b"te", b"trailers")]

    def request(self, head: bytes, number: int) -> bytes:
        return frame(HEADERS, END_HEADERS, number, head) + frame(DATA, END_STREAM, number, _MESSAGE)

    def _answer(self, number: int, blocks: tuple[bytes, bytes]) -> bytes:
        head, trailers = blocks
        return (
            frame(HEADERS, END_HEADERS, number, head)
            + frame(DATA, 0, number, _MESSAGE)
            + frame(HEADERS, END_HEADERS | END_STREAM, number, trailers)
        )

    def respond(self) -> None:
        upstream = self.upstreams[0]
        assert upstream.protocol is not None
        assert upstream.written
        if self._asked < 0:
            self._asked = 1
            data = _WIDE + frame(SETTINGS, ACK, 0) + self._answer(1, self._answers[0])
        else:
            first, self._asked = self._asked + 2, self._asked + 2 * self.each
            data = b"".join([self._answer(one, self._answers[1]) for one in range(first, self._asked + 1, 2)])
        upstream.protocol.data_received(data)
        self.turn()
        upstream.written.clear()
