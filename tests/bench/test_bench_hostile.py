"""The attacks of `make hostile` are each something that a client can send, and the API answers as they need it."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import hostile_client, hostile_http2
from bench.hostile_one import ATTACKS
from tests.support.processes import Child, free_port, is_listening


@pytest.fixture
def api(tmp_path: Path) -> Iterator[int]:
    """The port of a running API."""
    port = free_port()
    child = Child([sys.executable, "-m", "bench.hostile_api", str(port)], tmp_path / "log")
    child.wait_ready(lambda: is_listening(port))
    yield port
    child.stop()


def answer(port: int, request: bytes, size: int) -> bytes:
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
        client.sendall(request)
        data = b""
        while len(data) < size and (more := client.recv(65536)):
            data += more
        return data


@pytest.mark.parametrize(
    ("request_line", "begins"),
    [
        ("GET /public/a HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3"),
        ("GET /public/large HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\nxxx"),
        ("GET /public/chat HTTP/1.1\r\nUpgrade: websocket\r\n", b"HTTP/1.1 101 "),
        (
            "GET /public/trailer HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: yyy",
        ),
    ],
)
def test_api_answers_as_the_attacks_need_it(api: int, request_line: str, begins: bytes) -> None:
    request = f"{request_line}Host: a\r\n\r\n".encode()
    assert answer(api, request, len(begins)).startswith(begins)


def test_every_attack_says_what_it_does() -> None:
    assert len(hostile_client.ATTACKS) == 10
    assert len(hostile_http2.ATTACKS) == 17
    assert len(ATTACKS) == 27, "no two have one name"
    assert all((attack.__doc__ or "").endswith(".") for attack in ATTACKS.values())
