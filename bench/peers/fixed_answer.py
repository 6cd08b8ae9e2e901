"""A server that reads each request to its end, waits, and gives the JSON it was started with.

It plays the issuer's introspection endpoint (RFC 7662; every token is known), and the part of the API that
takes uploads: a server that answers before the body has come would make proxies close connections.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import uvloop


class Conversation(asyncio.Protocol):
    """One keep-alive connection; bodies are counted by Content-Length and thrown away."""

    def __init__(self, answer: bytes, delay: float) -> None:
        self._answer = answer
        self._delay = delay
        self._head = b""
        self._body_left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            self._body_left -= len(data)
        else:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = b""
            self._body_left = _content_length(head) - len(body)
        if self._body_left == 0:
            asyncio.get_running_loop().call_later(self._delay, self._respond)

    def _respond(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._answer)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve(port: int, delay: float, document: bytes) -> None:
    """Serves until killed; `delay` is in seconds."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    answer = head.encode() + document
    server = await asyncio.get_running_loop().create_server(
        lambda: Conversation(answer, delay), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    answer = json.loads(Path(sys.argv[3]).read_text())
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), json.dumps(answer).encode()))
