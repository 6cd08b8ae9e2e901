"""What every way to the upstream does; each transport's tests inherit from `UpstreamTransportContract`."""

import asyncio
import contextlib
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

import pytest
import uvloop

from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.transports import TRANSPORTS

T = TypeVar("T")
Peer = Callable[[socket.socket], None]
SIZE = 8 << 20


class Heard(asyncio.Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.made: asyncio.Transport | None = None
        self.got_eof = False
        self.blocked = asyncio.Event()
        self.free = asyncio.Event()
        self.arrived = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    @property
    def transport(self) -> asyncio.Transport:
        assert self.made is not None
        return self.made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The event loop's own class says the same methods without inheriting them.
        self.made = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.arrived.set()

    def eof_received(self) -> bool:
        self.got_eof = True
        return False

    def pause_writing(self) -> None:
        self.blocked.set()

    def resume_writing(self) -> None:
        self.free.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@contextlib.contextmanager
def serving(listener: socket.socket, peer: Peer, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """A server whose connections `peer` converses on, each on a thread of its own."""
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError):
            if context is None:
                peer(connection)
                return
            with context.wrap_socket(connection, server_side=True) as secured:
                peer(secured)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=converse, args=[connection]))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)
        for thread in threads:
            thread.join(10)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def says_bye(connection: socket.socket) -> None:
    connection.sendall(b"bye")
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()


def breaks_off(connection: socket.socket) -> None:
    """Says bye and, once that was heard, ends with a reset, or under TLS without a word."""
    connection.sendall(b"bye")
    connection.recv(1)
    linger_none = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    if not isinstance(connection, ssl.SSLSocket):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)


async def connected(settings: UpstreamSettings) -> Heard:
    """One connection, as the pool makes it."""
    connect = TRANSPORTS[settings.scheme](settings)
    protocol = await connect(asyncio.get_running_loop(), Heard, settings)
    assert isinstance(protocol, Heard)
    return protocol


class UpstreamTransportContract(ABC):
    """Subclasses say where the upstream is."""

    @abstractmethod
    def upstream(self, peer: Peer) -> contextlib.AbstractContextManager[UpstreamSettings]:
        """A server of this kind that converses as `peer`, and the settings that lead to it."""

    def play(self, peer: Peer, scene: Callable[[Heard], Coroutine[Any, Any, T]]) -> T:
        """`scene` on a connection to `peer`."""

        async def stage(settings: UpstreamSettings) -> T:
            async with asyncio.timeout(15):
                heard = await connected(settings)
                try:
                    return await scene(heard)
                finally:
                    heard.transport.abort()
                    await heard.lost

        with self.upstream(peer) as settings:
            return uvloop.run(stage(settings))

    def test_bytes_pass_both_ways(self) -> None:
        async def scene(heard: Heard) -> bytes:
            heard.transport.write(b"hello")
            await heard.arrived.wait()
            return bytes(heard.data)

        assert self.play(echo, scene) == b"hello"

    def test_end_in_good_order_is_said(self) -> None:
        async def scene(heard: Heard) -> tuple[bytes, Exception | None, bool]:
            error = await heard.lost
            return bytes(heard.data), error, heard.got_eof

        assert self.play(says_bye, scene) == (b"bye", None, True)

    def test_broken_connection_does_not_look_like_one_that_ended(self) -> None:
        async def scene(heard: Heard) -> tuple[bytes, bool]:
            while bytes(heard.data) != b"bye":
                heard.arrived.clear()
                await heard.arrived.wait()
            heard.transport.write(
                b"xy"
            )  # of which one byte is never read: that ends a Unix socket by a reset
            error = await heard.lost
            return bytes(heard.data), heard.got_eof and error is None

        assert self.play(breaks_off, scene) == (b"bye", False)

    def test_writer_is_paused_while_the_peer_does_not_read(self) -> None:
        awake = threading.Event()

        def sleepy(connection: socket.socket) -> None:
            awake.wait(10)
            while connection.recv(1 << 20):
                pass

        async def scene(heard: Heard) -> int:
            written = 0
            while not heard.blocked.is_set():
                heard.transport.write(b"x" * 65536)
                written += 65536
                await asyncio.sleep(0)
            awake.set()
            await heard.free.wait()
            return written

        assert self.play(sleepy, scene) < 2 * SIZE

    def test_reading_pauses_and_goes_on(self) -> None:
        def talks(connection: socket.socket) -> None:
            connection.sendall(b"x" * SIZE)

        async def scene(heard: Heard) -> tuple[bool, int]:
            await heard.arrived.wait()
            heard.transport.pause_reading()
            before = len(heard.data)
            await asyncio.sleep(0.1)
            is_held = len(heard.data) == before < SIZE
            heard.transport.resume_reading()
            await heard.lost
            return is_held, len(heard.data)

        assert self.play(talks, scene) == (True, SIZE)

    def test_what_was_written_before_the_close_arrives(self) -> None:
        received: list[int] = []

        def counts(connection: socket.socket) -> None:
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
            received.append(total)

        async def scene(heard: Heard) -> None:
            heard.transport.write(b"x" * SIZE)
            heard.transport.close()
            await heard.lost

        self.play(counts, scene)
        assert received == [SIZE]

    def test_nobody_there_is_an_os_error(self) -> None:
        with self.upstream(echo) as settings:
            pass
        with pytest.raises(OSError, match=r".+"):
            uvloop.run(connected(settings))

    def test_connections_are_independent(self) -> None:
        async def stage(settings: UpstreamSettings) -> list[bytes]:
            connections = [await connected(settings) for _ in range(8)]
            for number, heard in enumerate(connections):
                heard.transport.write(b"%d" % number)
            for heard in connections:
                await heard.arrived.wait()
                heard.transport.abort()
                await heard.lost
            return [bytes(heard.data) for heard in connections]

        with self.upstream(echo) as settings:
            assert uvloop.run(stage(settings)) == [b"%d" % number for number in range(8)]
