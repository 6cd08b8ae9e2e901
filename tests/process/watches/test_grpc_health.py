"""What the API says of its gRPC services, and what is made of an API that says something else."""

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sidecar.http.message import Field
from sidecar.process.watches import grpc_health
from sidecar.process.watches.grpc_health import GrpcHealth
from sidecar.process.watches.probes import UpstreamProbe
from sidecar.proxy.configuration import HTTP2, UpstreamSettings
from sidecar.proxy.http2.engine import Http2Engine
from tests.real.grpc_api import SERVICE, GrpcApi
from tests.support.http2_peer import Http2Peer

OK: list[Field] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
Script = tuple[list[Field], bytes, list[Field]] | str
"""Head, content and trailers of the answer; or what happens instead."""
SERVING = b"\0\0\0\0\x02\x08\x01"


def at(port: int) -> UpstreamSettings:
    return UpstreamSettings(scheme="http", host="127.0.0.1", port=port, protocol=HTTP2)


def said(port: int, service: str = "") -> tuple[bool, str]:
    check = asyncio.run(GrpcHealth().check(service, at(port)))
    return check.ok, check.detail


@pytest.mark.real
def test_a_service_is_as_well_as_the_api_says() -> None:
    with GrpcApi() as api:
        api.health.set("down", 2)
        api.health.set("starting", 0)
        assert said(api.port) == (True, "")
        assert said(api.port, "down") == (False, "NOT_SERVING")
        assert said(api.port, "starting") == (False, "UNKNOWN")
        assert said(api.port, SERVICE) == (False, "grpc-status NOT_FOUND")
        port = api.port
    assert said(port)[0] is False


@pytest.mark.real
def test_each_is_asked_at_most_once_a_second_however_many_ask() -> None:
    async def many(port: int) -> set[tuple[bool, str]]:
        one, settings = GrpcHealth(), at(port)
        found = await asyncio.gather(*(one.check("", settings) for _ in range(50)))
        return {(check.ok, check.detail) for check in found}

    with scripted((OK, SERVING, [(b"grpc-status", b"0")])) as (port, asked):
        assert asyncio.run(many(port)) == {(True, "")}
        assert len(asked) == 1


class Scripted(Http2Peer):
    """A server of HTTP/2 that gives one answer, whatever it is asked; or ends the stream or connection instead."""

    def __init__(self, sock: Any, script: Script) -> None:
        super().__init__()
        self._socket, self._script = sock, script
        self.asked: list[dict[bytes, bytes]] = []
        self.engine = Http2Engine(
            self, is_server=True, streams=10, window=65536, header_bytes=65536, headers=200
        )

    def hears(self) -> bytes:
        return bytes(self._socket.recv(65536))

    def writes_out(self, data: bytes) -> None:
        self._socket.sendall(data)

    def head(self, stream: int, fields: tuple[Field, ...], *, ends: bool) -> None:
        self.asked.append(dict(fields))
        if self._script == "reset":
            self.engine.reset(stream, 2)
        elif self._script == "goaway":
            self.engine.go_away(11)
        elif not isinstance(self._script, str):
            head, content, trailers = self._script
            self.engine.respond(stream, head, ends=not content and not trailers)
            if content:
                self.engine.send(stream, content, ends=not trailers)
            if trailers:
                self.engine.trail(stream, trailers)

    def data(self, stream: int, data: bytes, *, ends: bool) -> None:
        self.taken(stream, data)

    def interim(self, stream: int, fields: tuple[Field, ...]) -> None:
        raise AssertionError("a client sends none")

    def trailers(self, stream: int, fields: tuple[Field, ...]) -> None:
        raise AssertionError("the question has none")

    def reset(self, stream: int, code: int) -> None: ...

    def closed(self, stream: int, code: int) -> None: ...

    def goaway(self, last: int, code: int) -> None: ...

    def settled(self, streams: int) -> None: ...

    def pong(self) -> None: ...

    def noise(self, *, of_window: int) -> None: ...

    def ended(self, code: int, detail: str) -> None: ...

    def serve(self) -> None:
        self.writes_out(self.engine.outgoing())
        while data := self.hears():
            self.engine.receive(data)
            self.engine.deliver(1 << 20)
            self.writes_out(self.engine.outgoing())


@contextmanager
def scripted(script: Script) -> Iterator[tuple[int, list[dict[bytes, bytes]]]]:
    """Port, and what was asked there."""
    asked: list[dict[bytes, bytes]] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if script == "HTTP/1.1":
                self.request.recv(1024)
                self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            elif script == "nothing":
                self.request.recv(1024)
            elif script == "silence":
                while self.request.recv(1024):
                    pass
            else:
                peer = Scripted(self.request, script)
                peer.asked = asked
                try:
                    peer.serve()
                except OSError:
                    pass  # the visitor has left

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield int(server.server_address[1]), asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (([(b":status", b"404")], b"", []), "the answer is none of gRPC"),
        (([*OK, (b"grpc-status", b"12")], b"", []), "grpc-status UNIMPLEMENTED"),
        (([*OK, (b"grpc-status", b"16")], b"", []), "grpc-status UNAUTHENTICATED"),
        ((OK, SERVING, []), "grpc-status -1"),
        ((OK, b"\0\0\0\0\x02\x08\x02", [(b"grpc-status", b"0")]), "NOT_SERVING"),
        ((OK, b"", [(b"grpc-status", b"0")]), "the answer is not one message of gRPC"),
        ((OK, b"x" * 5000, [(b"grpc-status", b"0")]), "its answer is too large"),
        ("reset", "it gave the request up (error 2)"),
        ("goaway", "it ended the connection (error 11)"),
        ("HTTP/1.1", "it speaks no HTTP/2"),
        ("nothing", "it speaks no HTTP/2"),
    ],
)
def test_an_api_that_says_anything_else_is_not_well(script: Script, detail: str) -> None:
    with scripted(script) as (port, _):
        assert said(port) == (False, detail)


def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_health, "WITHIN", 0.05)
    with scripted("silence") as (port, _):
        assert said(port) == (False, "no answer within 0.05 s")


def test_the_api_of_http2_is_ready_when_it_greets_and_not_when_it_speaks_something_else() -> None:
    def probed(port: int) -> tuple[bool, str]:
        check = asyncio.run(UpstreamProbe().check(at(port)))
        return check.ok, check.detail

    with scripted((OK, SERVING, [])) as (port, asked):
        assert probed(port) == (True, "")
        assert asked == []
    with scripted("HTTP/1.1") as (port, _):
        assert probed(port) == (False, "it speaks no HTTP/2")
    assert probed(port)[0] is False
