"""The upstreams do what the tests of the sidecar rely on, asked directly."""

import asyncio
import hashlib
import os

import pytest
from websockets.asyncio.client import connect

from tests.real.upstreams import Upstream
from tests.support.tls_client import Wire, chunked

pytestmark = pytest.mark.real


def test_flask_shows_what_wsgi_makes_of_a_request(flask_upstream: Upstream) -> None:
    before = flask_upstream.count()
    with Wire.plain(flask_upstream.port) as wire:
        seen = wire.request("POST", "/a?b=c", {"X_Auth_Subject": "mallory"}, b"body").json()
    assert (seen["method"], seen["path"], seen["body"]["text"]) == ("POST", "/a?b=c", "body")
    assert seen["environ"]["HTTP_X_AUTH_SUBJECT"] == "mallory"
    assert flask_upstream.count() == before + 1


def test_flask_reads_chunks_and_streams(flask_upstream: Upstream) -> None:
    with Wire.plain(flask_upstream.port) as wire:
        wire.send(
            b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two")
        )
        assert wire.response().json()["body"]["sha256"] == hashlib.sha256(b"onetwo").hexdigest()
        assert len(wire.request(target="/x?stream=1000001").body) == 1000001
        assert wire.request(target="/x?events=3").body.count(b"data: ") == 3
        assert wire.request(target="/x?status=418").status == 418


def test_node_speaks_all_of_http(node_upstream: Upstream) -> None:
    with Wire.plain(node_upstream.port) as wire:
        assert len(wire.request(target="/x?stream=100001").body) == 100001
        assert wire.request(target="/x?trailers").trailers == (("X-Digest", "of the body"),)
        assert [early.status for early in wire.request(target="/x?hints").informational] == [103]
        assert wire.request("POST", "/x", body=b"abc").json()["body"]["size"] == 3
        assert wire.request(target="/x?events=2&every=0.01").body.count(b"data: ") == 2
        assert wire.request(target="/x?open").body == b"until the end"


def test_node_upgrades_to_an_echo(node_upstream: Upstream) -> None:
    before = node_upstream.count("upgrades")
    with Wire.plain(node_upstream.port) as wire:
        assert wire.request(headers={"Connection": "Upgrade", "Upgrade": "echo"}).status == 101
        wire.send(b"hello")
        assert wire.read_some() == b"hello"
    assert node_upstream.count("upgrades") == before + 1


def test_nginx_serves_files_and_echoes(nginx_upstream: Upstream) -> None:
    path = nginx_upstream.folder / "files" / "sparse.bin"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 31)
    with Wire.plain(nginx_upstream.port) as wire:
        assert wire.request("HEAD", "/files/sparse.bin").header("content-length") == str(1 << 31)
        assert wire.request(target="/a//b?c").json()["path"] == "/a//b?c"
    path.unlink()


def test_websocket_server_echoes_and_pushes(websocket_upstream: Upstream) -> None:
    async def converse() -> None:
        address = f"ws://127.0.0.1:{websocket_upstream.port}"
        async with connect(f"{address}/echo", proxy=None, open_timeout=60) as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
        async with connect(f"{address}/push?messages=3", proxy=None, open_timeout=60) as connection:
            assert [message async for message in connection] == ["message 0", "message 1", "message 2"]

    asyncio.run(converse())
