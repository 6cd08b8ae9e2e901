"""What is over leaves nothing behind: no memory until the collector comes, no port, no task, no exchange."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.http.message import NO_HEAD, Request
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.http1_reader import RequestReader
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.exchange.tunnel import Tunnel
from sidecar.proxy.server import Server
from sidecar.proxy.upstream.connection import UpstreamConnection
from sidecar.proxy.upstream.http1_reader import ResponseReader
from tests.proxy.conftest import Converse
from tests.support.cleartext import CleartextEngine
from tests.support.conversation import Conversation
from tests.support.live_server import LiveServer, tls_settings
from tests.support.pki import Pki

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
OURS = (ClientConnection, Exchange, Request, RequestReader, ResponseReader, Tunnel, UpstreamConnection)
SCENES: dict[str, tuple[bytes, bytes]] = {
    "plain": (GET, EMPTY),
    "HEAD": (GET.replace(b"GET", b"HEAD"), EMPTY),
    "upload": (
        b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        EMPTY,
    ),
    "refused": (GET.replace(b"/a", b"/refused"), b""),
    "malformed": (b"nonsense\r\n\r\n", b""),
    "malformed body": (b"POST /a HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
    "malformed response": (GET, b"nonsense\r\n\r\n"),
    "half a request": (b"GET /a HT", b""),
    "half a response": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    "no response": (GET, b""),
    "tunnel": (
        b"GET /a HTTP/1.1\r\nHost: api\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc",
    ),
}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is freed meanwhile is freed because nothing refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> list[str]:
    ours = [each for each in gc.get_objects() if type(each) in OURS and each is not NO_HEAD]
    return sorted(type(each).__name__ for each in ours)


@pytest.mark.parametrize("way", ["closes", "leaves", "resets"])
@pytest.mark.parametrize("scene", SCENES)
def test_closed_connection_is_freed_without_the_collector(
    uncollected: None, talk: Conversation, scene: str, way: str
) -> None:
    said, answered = SCENES[scene]
    talk.gate.refuse("/refused")
    client = talk.client()
    client.says(said)
    for upstream in talk.upstreams:
        upstream.says(answered)
    getattr(client, way)()
    talk.later(62)
    assert client.is_closed
    assert alive() == []


def test_idle_connection_keeps_neither_head_nor_token(uncollected: None, talk: Conversation) -> None:
    client = talk.client()
    client.says(GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer t.t.t\r\n\r\n"))
    talk.upstream().says(EMPTY)
    assert client.answer().status == 200
    assert not client.is_closed
    assert "Request" not in alive()


def test_fault_of_ours_in_a_connection_ends_that_one_alone(converse: Converse) -> None:
    class Faulty(CleartextEngine):
        def receive(self, data: bytes) -> bytes:
            if b"boom" in data:
                raise RuntimeError("secret")
            return super().receive(data)

    talk = converse(expected_bugs=1)
    other = talk.client()
    talk.tls.make = Faulty
    client = talk.client()
    client.says(b"boom")
    assert client.was_cut
    assert "secret" not in str(talk.observed.incidents)
    other.says(GET)
    talk.upstream().says(EMPTY)
    assert other.answer().status == 200


def test_port_in_use_is_named_and_no_other_port_stays_open(tmp_path: Path, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        live = LiveServer(tls_settings(tmp_path, pki), tls_settings(tmp_path, pki))
        busy = taken.getsockname()[1]
        first, second = live.settings.listeners
        settings = replace(live.settings, listeners=(first, replace(second, port=busy)))

        async def start() -> int:
            server = Server(settings, live.gate, live.observed)
            with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{busy}: .*in use"):
                await server.start()
            return server.listeners[0].port

        port = asyncio.run(start())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_closed_server_serves_nobody(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki)) as server:
        port = server.port()
        server.call(server.server.close)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
