"""An API as a process of its own, which can be stopped and started on one port.

`python -m tests.support.plain_upstream PORT`
"""

import asyncio
import signal
import sys


class Api(asyncio.Protocol):
    """Answers every request without a body at once, keep-alive."""

    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while b"\r\n\r\n" in self._seen:
            _, _, self._seen = self._seen.partition(b"\r\n\r\n")
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Api, "127.0.0.1", port, reuse_address=True)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with server:
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
