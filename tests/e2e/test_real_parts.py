"""Ordinary servers and clients work through the sidecar unchanged."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from tests.real.clients import Curl, httpx_client, undici
from tests.real.streams import GIB, MIB, download, measured, upload
from tests.real.upstreams import Upstream
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.sidecar import Sidecar
from tests.support.tls_client import Wire, client_context

pytestmark = pytest.mark.real

Start = Callable[[Upstream], Sidecar]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Start]:
    """A sidecar in front of an upstream; one for each, stopped at the end."""
    started: dict[str, Sidecar] = {}

    def of(upstream: Upstream) -> Sidecar:
        if upstream.name not in started:
            folder = tmp_path_factory.mktemp(f"sidecar-{upstream.name}")
            started[upstream.name] = Sidecar(folder, pki, upstream.url, keys=[signing_key]).start()
        return started[upstream.name]

    yield of
    codes = {name: sidecar.stop() for name, sidecar in started.items()}
    assert set(codes.values()) == {0}, codes


@pytest.fixture(params=["flask", "node", "nginx"])
def served(request: pytest.FixtureRequest, start: Start) -> Sidecar:
    """A sidecar in front of each HTTP server."""
    return start(request.getfixturevalue(f"{request.param}_upstream"))


@pytest.fixture(params=["flask", "node"])
def reading(request: pytest.FixtureRequest, start: Start) -> Sidecar:
    """A sidecar in front of each server that tells what body it read."""
    return start(request.getfixturevalue(f"{request.param}_upstream"))


@pytest.fixture
def node(start: Start, node_upstream: Upstream) -> Sidecar:
    return start(node_upstream)


@pytest.fixture
def nginx(start: Start, nginx_upstream: Upstream) -> Sidecar:
    return start(nginx_upstream)


@pytest.fixture
def token(pki: Pki, signing_key: SigningKey) -> str:
    return signing_key.token(pki.client)


# -- clients --------------------------------------------------------------------------------------


def test_curl_is_served_by_every_upstream(served: Sidecar, curl: Curl, token: str) -> None:
    answer = curl(f"{served.url}/accounts/1?a=b%20c", token=token)
    assert (answer.code, answer.status) == (0, 200), answer.errors
    assert (answer.json()["method"], answer.json()["path"]) == ("GET", "/accounts/1?a=b%20c")


def test_httpx_is_served_by_every_upstream(served: Sidecar, pki: Pki, token: str) -> None:
    with httpx_client(served.url, pki.server_authority.certificate, pki.client, token) as client:
        for number in range(20):
            answer = client.get(f"/accounts/{number}")
            assert (answer.status_code, answer.json()["path"]) == (200, f"/accounts/{number}")


def test_undici_is_served_by_every_upstream(served: Sidecar, pki: Pki, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    requests = [{"path": f"/accounts/{number}", "headers": headers} for number in range(20)]
    answers = undici(served.url, pki.server_authority.certificate, pki.client, requests, connections=4)
    assert [answer["status"] for answer in answers] == [200] * 20
    assert '"path"' in answers[0]["text"]


# -- bodies ---------------------------------------------------------------------------------------

BODY = os.urandom(3_000_001)
DIGEST = hashlib.sha256(BODY).hexdigest()


def test_curl_uploads_in_chunks(reading: Sidecar, curl: Curl, token: str, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(BODY)
    answer = curl(
        f"{reading.url}/accounts/1",
        *("--header", "Transfer-Encoding: chunked", "--upload-file", str(path)),
        token=token,
    )
    assert (answer.code, answer.status) == (0, 200), answer.errors
    assert answer.json()["body"]["sha256"] == DIGEST


def test_httpx_uploads_in_chunks(reading: Sidecar, pki: Pki, token: str) -> None:
    pieces = (BODY[start : start + 10_007] for start in range(0, len(BODY), 10_007))
    with httpx_client(reading.url, pki.server_authority.certificate, pki.client, token) as client:
        answer = client.post("/accounts/1", content=pieces)
    assert answer.json()["body"]["sha256"] == DIGEST


def test_undici_uploads_in_chunks(reading: Sidecar, pki: Pki, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    request = {"method": "PUT", "path": "/accounts/1", "headers": headers, "upload": 3_000_001}
    (answer,) = undici(reading.url, pki.server_authority.certificate, pki.client, [request])
    assert answer["status"] == 200
    assert hashlib.sha256(bytes(3_000_001)).hexdigest() in answer["text"]


def test_download_arrives_whole(reading: Sidecar, curl: Curl, token: str) -> None:
    answer = curl(f"{reading.url}/accounts/1?stream=5000001", token=token)
    assert (answer.code, len(answer.body)) == (0, 5000001)
    assert answer.body[:256] == bytes(range(256))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_gibibytes_down_take_constant_memory(
    nginx: Sidecar, nginx_upstream: Upstream, curl: Curl, token: str
) -> None:
    measured(nginx.process, lambda: download(nginx, nginx_upstream, curl, token, 64 * MIB))
    long = measured(nginx.process, lambda: download(nginx, nginx_upstream, curl, token, 2 * GIB))
    assert long.moved == 2 * GIB
    assert long.growth < 8 * MIB, long


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_gibibytes_up_take_constant_memory(node: Sidecar, curl: Curl, token: str) -> None:
    measured(node.process, lambda: upload(node, curl, token, 64 * MIB))
    long = measured(node.process, lambda: upload(node, curl, token, 2 * GIB))
    assert long.moved == 2 * GIB
    assert long.growth < 8 * MIB, long


# -- the rest of HTTP/1.1 -------------------------------------------------------------------------


def test_head_and_conditional_and_range_requests_work(
    nginx: Sidecar, nginx_upstream: Upstream, pki: Pki, token: str
) -> None:
    (nginx_upstream.folder / "files" / "page.bin").write_bytes(b"0123456789")
    with httpx_client(nginx.url, pki.server_authority.certificate, pki.client, token) as client:
        head = client.head("/files/page.bin")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
        same = client.get("/files/page.bin", headers={"If-None-Match": head.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        part = client.get("/files/page.bin", headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert client.get("/files/missing").status_code == 404


def test_informational_response_and_trailers_pass(node: Sidecar, pki: Pki, token: str) -> None:
    with node.connect(pki.client) as wire:
        hinted = wire.request(target="/accounts/1?hints", token=token)
        assert [early.status for early in hinted.informational] == [103]
        assert hinted.informational[0].header("link") == "</style.css>; rel=preload; as=style"
        trailing = wire.request(target="/accounts/1?trailers", headers={"TE": "trailers"}, token=token)
        assert (trailing.body, trailing.trailers) == (b"body", (("X-Digest", "of the body"),))


def test_body_that_ends_with_the_connection_arrives_whole(node: Sidecar, curl: Curl, token: str) -> None:
    answer = curl(f"{node.url}/accounts/1?open", token=token)
    assert (answer.code, answer.body) == (0, b"until the end")


def test_early_response_is_passed_on_before_the_body_is_sent(node: Sidecar, pki: Pki, token: str) -> None:
    with node.connect(pki.client) as wire:
        head = f"POST /accounts/1?early HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n"
        wire.send(f"{head}Content-Length: 1000000\r\n\r\n".encode() + bytes(1000))
        assert wire.response().json() == {"early": True}


def test_events_arrive_one_by_one_as_they_are_sent(
    node: Sidecar, node_upstream: Upstream, pki: Pki, token: str
) -> None:
    """The server sends the next event only once the client has the one before: a proxy that waits would hang."""
    with node.connect(pki.client) as wire, Wire.plain(node_upstream.port) as gate:
        wire.send(
            f"GET /accounts/1?gated HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        assert wire.head().header("content-type") == "text/event-stream"
        for _ in range(20):
            event = b""
            while not event.endswith(b"\n\n\r\n"):
                event += wire.read_some()
            assert event.count(b"data: ") == 1
            gate.request(target="/next")


# -- WebSocket ------------------------------------------------------------------------------------


def websocket(sidecar: Sidecar, pki: Pki, token: str | None, path: str = "/accounts/echo") -> connect:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    context = client_context(pki.client, pki.server_authority.certificate)
    address = f"wss://localhost:{sidecar.port}{path}"
    return connect(
        address,
        ssl=context,
        additional_headers=headers,
        proxy=None,
        compression=None,
        open_timeout=60,
        ping_timeout=60,
    )


async def echoed(connection: ClientConnection, messages: list[str | bytes]) -> list[str | bytes]:
    """Sends them all while it reads what comes back."""

    async def send() -> None:
        for message in messages:
            await connection.send(message)

    sending = asyncio.create_task(send())
    answers: list[Any] = [await connection.recv() for _ in messages]
    await sending
    return answers


def test_a_thousand_websocket_messages_come_back_in_order(
    start: Start, websocket_upstream: Upstream, pki: Pki, token: str
) -> None:
    sizes = [0, 1, 125, 126, 65535, 65536]
    messages: list[str | bytes] = [
        f"message {number}" if number % 2 else bytes([number % 256]) * sizes[number % 6]
        for number in range(1000)
    ]

    async def converse() -> list[str | bytes]:
        async with websocket(start(websocket_upstream), pki, token) as connection:
            return await echoed(connection, messages)

    assert asyncio.run(converse()) == messages


def test_websocket_server_that_closes_is_seen_to_close(
    start: Start, websocket_upstream: Upstream, pki: Pki, token: str
) -> None:
    async def converse() -> list[str | bytes]:
        async with websocket(start(websocket_upstream), pki, token, "/push?messages=1000") as connection:
            received = [await connection.recv() for _ in range(1000)]
            with pytest.raises(ConnectionClosedOK):
                await connection.recv()
            return received

    assert asyncio.run(converse()) == [f"message {number}" for number in range(1000)]


def test_websocket_without_a_token_never_reaches_the_upstream(
    node: Sidecar, node_upstream: Upstream, pki: Pki
) -> None:
    before = node_upstream.count("upgrades")

    async def converse() -> int:
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(node, pki, None):
                pass
        return refused.value.response.status_code

    assert asyncio.run(converse()) == 401
    assert node_upstream.count("upgrades") == before


def test_any_other_upgrade_becomes_a_tunnel(node: Sidecar, pki: Pki, token: str) -> None:
    with node.connect(pki.client) as wire:
        headers = {"Connection": "Upgrade", "Upgrade": "echo"}
        assert wire.request(target="/accounts/1", headers=headers, token=token).status == 101
        for number in range(100):
            wire.send(b"line %d\n" % number)
            assert wire.read_some() == b"line %d\n" % number
