"""The hostile clients of `bench.hostile` that speak HTTP/1.1, or nothing at all."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_HEAD = b"Host: api\r\n"
_POST = b"POST /public/upload HTTP/1.1\r\n" + _HEAD


class Wire:
    """TLS over a socket, with the records in our own hands."""

    def __init__(self, port: int, protocol: str = "http/1.1") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._held = b""
        self._tls = context.wrap_bio(self._in, self._out)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self._out.read())
                data = self.socket.recv(65536)
                if not data:
                    raise ConnectionResetError("the sidecar ended the connection in the handshake") from None
                self._in.write(data)
        self.socket.sendall(self._out.read())

    def swallow(self) -> None:
        """Reads what comes, on a thread of its own, and looks at none of it."""

        def read() -> None:
            with suppress(OSError):
                while self.socket.recv(1 << 20):
                    pass

        threading.Thread(target=read, daemon=True).start()

    def hold(self, plaintext: bytes) -> None:
        """Sends what the socket takes at once; the rest is kept for the next call, which adds nothing to it."""
        self._held = self._held or self.seal(plaintext)
        while self._held:
            self._held = self._held[self.socket.send(self._held) :]

    def open(self, data: bytes) -> bytes:
        """What the records hold that are whole with `data`."""
        self._in.write(data)
        opened = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self._tls.read(1 << 16):
                opened += piece
        return opened

    def seal(self, *pieces: bytes) -> bytes:
        """Each piece a record of its own."""
        for piece in pieces:
            self._tls.write(piece)
        return self._out.read()


def _upload(port: int, head: bytes, block: Callable[[Wire], bytes]) -> None:
    wire = Wire(port)
    wire.swallow()
    wire.socket.sendall(wire.seal(head))
    while True:
        wire.socket.sendall(block(wire))


def pipelined(port: int) -> None:
    """Requests of 26 bytes, as fast as they are taken."""
    requests = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 600
    _upload(port, b"", lambda wire: wire.seal(requests))


def chunks(port: int) -> None:
    """A body of chunks of one byte."""
    body = b"1\r\nx\r\n" * 2500
    _upload(port, _POST + b"Transfer-Encoding: chunked\r\n\r\n", lambda wire: wire.seal(body))


def records(port: int) -> None:
    """A body of TLS records of one byte."""
    pieces = [b"x"] * 2000
    _upload(port, _POST + b"Content-Length: 1000000000\r\n\r\n", lambda wire: wire.seal(*pieces))


def frames(port: int) -> None:
    """WebSocket frames without content."""
    head = b"GET /public/chat HTTP/1.1\r\n" + _HEAD + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    empty = b"\x81\x80abcd" * 2600
    _upload(port, head, lambda wire: wire.seal(empty))


def trailers(port: int) -> None:
    """Asks for answers whose trailer field does not end."""
    while True:
        wire = Wire(port)
        wire.socket.sendall(wire.seal(b"GET /public/trailer HTTP/1.1\r\n" + _HEAD + b"\r\n"))
        with suppress(OSError):
            while wire.socket.recv(1 << 20):
                pass


def handshakes(port: int) -> None:
    """One full handshake after another."""
    while True:
        with suppress(OSError):
            Wire(port).socket.close()


def connects(port: int) -> None:
    """One TCP connection after another, without a byte."""
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 10).close()


def crowd(port: int) -> None:
    """Requests of 26 bytes as fast as they are taken, on a hundred connections."""
    wires = [Wire(port) for _ in range(100)]
    requests = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 20
    while True:
        for wire in wires:
            wire.socket.setblocking(False)
            with suppress(BlockingIOError):
                while wire.socket.recv(1 << 20):
                    pass
            with suppress(BlockingIOError):
                wire.hold(requests)


def heads(port: int) -> None:
    """A hundred heads, of each of which a byte comes now and then."""
    wires = [Wire(port) for _ in range(100)]
    for wire in wires:
        wire.socket.sendall(wire.seal(b"GET /public/a HTTP/1.1\r\nX: "))
    while True:
        for wire in wires:
            with suppress(OSError):
                wire.socket.sendall(wire.seal(b"y"))
        time.sleep(0.02)


def fields(port: int) -> None:
    """Heads with as many fields as one read can hold, never complete."""
    block = b"GET /public/a HTTP/1.1\r\n" + b"a:b\r\n" * 6000
    while True:
        wire = Wire(port)
        with suppress(OSError):
            wire.socket.sendall(wire.seal(block))
            wire.socket.recv(1)


ATTACKS = {
    each.__name__: each
    for each in (pipelined, crowd, chunks, records, frames, trailers, handshakes, connects, heads, fields)
}
