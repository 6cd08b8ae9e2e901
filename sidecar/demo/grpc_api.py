"""An ordinary gRPC API without a gRPC library: it answers with the caller's subject that it received."""

import asyncio

from sidecar.http.grpc import OK, TYPE, text_message
from sidecar.http.message import Field
from sidecar.proxy.http2.engine import Http2Engine, Http2Failure
from sidecar.proxy.http2.events import Unheeded

SERVICE, METHOD = "bank.v1.Accounts", "Owner"
_STEP = 65536


async def serve() -> asyncio.Server:
    """Serve on a free loopback port, in plaintext. Raises `OSError`."""
    return await asyncio.start_server(_serve, "127.0.0.1", 0)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = _Connection()
    try:
        while data := await reader.read(_STEP):
            writer.write(connection.receive(data))
            await writer.drain()
    except (OSError, Http2Failure):
        pass  # the sidecar reports the broken connection
    finally:
        writer.close()


class _Connection(Unheeded):
    """One connection: the answer to every call, of any method, is the subject that was sent with it."""

    def __init__(self) -> None:
        self._subjects: dict[int, bytes] = {}
        self._engine = Http2Engine(
            self, is_server=True, streams=100, window=_STEP, header_bytes=8192, headers=100
        )

    def receive(self, data: bytes) -> bytes:
        """Process received bytes, and send the output. Raises `Http2Failure`."""
        self._engine.receive(data)
        while self._engine.has_events:
            self._engine.deliver(_STEP)
        return self._engine.outgoing()

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self._subjects[stream] = dict(fields).get(b"x-auth-subject", b"")

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self._engine.took(stream, len(data))
        if ends:
            head = [(b":status", b"200"), (b"content-type", TYPE)]
            self._engine.respond(stream, head, ends=False)
            self._engine.send(stream, text_message(self._subjects[stream]), ends=False)
            self._engine.trail(stream, [(b"grpc-status", b"%d" % OK)])

    def closed(self, stream: int, code: int) -> None:
        self._subjects.pop(stream, None)
