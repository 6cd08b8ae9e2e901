"""The API behind the sidecar in `bench.hostile`: answers GET at once, PUT with chunks when they end, lets uploads run,
switches protocols when asked, has something large, and under `/trailer` begins a trailer field that does not end.

`python -m bench.hostile_api PORT`
"""

import asyncio
import sys

import uvloop

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
_LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n" + b"x" * 262144
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
_TRAILER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: "
_PIECE = b"y" * 65536


class Api(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._seen = b""
        self._swallows = False
        self._in_chunks = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # the event loop's own class

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if self._swallows or transport is None:
            return
        self._seen += data
        while b"\r\n\r\n" in self._seen and not self._swallows:
            head, _, self._seen = self._seen.partition(b"\r\n\r\n")
            if self._in_chunks:
                self._in_chunks = False
                transport.write(_ANSWER)
            elif b"Upgrade:" in head:
                self._swallows = True
                transport.write(_SWITCH)
            elif head.startswith(b"GET /public/trailer"):
                self._swallows = True
                transport.write(_TRAILER)
                self._go_on(transport, 128)
            elif head.startswith(b"GET /public/large"):
                transport.write(_LARGE)
            elif head.startswith(b"PUT"):
                self._in_chunks = True
            elif head.startswith(b"GET"):
                transport.write(_ANSWER)
            else:
                self._swallows = True
                self._seen = b""

    def _go_on(self, transport: asyncio.Transport, pieces: int) -> None:
        """A piece in each turn: an API that is busy with one answer would keep the others waiting by itself."""
        if pieces and not transport.is_closing():
            transport.write(_PIECE)
            asyncio.get_running_loop().call_soon(self._go_on, transport, pieces - 1)


async def main(port: int) -> None:
    """Serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", port, reuse_address=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
