"""A WebSocket API on the `websockets` library: echoes every message; `/push?messages=N` sends N and closes.

usage: python websocket_server.py PORT
"""

import asyncio
import signal
import sys

from websockets.asyncio.server import ServerConnection, serve


async def converse(connection: ServerConnection) -> None:
    request = connection.request
    path = request.path if request is not None else ""
    if path.startswith("/push?messages="):
        for number in range(int(path.rpartition("=")[2])):
            await connection.send(f"message {number}")
        return
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(converse, "127.0.0.1", port, max_size=1 << 24, close_timeout=1):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
