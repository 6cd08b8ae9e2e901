"""TCP, TLS and Unix sockets: the contract of each, and what only one of them does."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from sidecar.proxy.configuration import UpstreamSettings, UpstreamTlsSettings
from sidecar.proxy.upstream.transports import tcp
from tests.contracts.upstream_transport import Peer, UpstreamTransportContract, connected, echo, serving
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.virtual_time import VirtualTime


class TestTcp(UpstreamTransportContract):
    @contextlib.contextmanager
    def upstream(self, peer: Peer) -> Iterator[UpstreamSettings]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with serving(listener, peer):
            yield UpstreamSettings("http", "127.0.0.1", port)


class TestUnix(UpstreamTransportContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "api.sock"

    @contextlib.contextmanager
    def upstream(self, peer: Peer) -> Iterator[UpstreamSettings]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        with serving(listener, peer):
            yield UpstreamSettings("unix", "", 0, path=str(self.path))


class TestTls(UpstreamTransportContract):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, pki: Pki) -> None:
        self.pki, self.authority = pki, tmp_path / "ca.crt"
        self.authority.write_bytes(certificate_pem(pki.server_authority.certificate))

    def server_context(self, identity: Identity | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            files = (identity or self.pki.server).write(Path(folder), "upstream")
            context.load_cert_chain(files.certificate, files.private_key)
        return context

    @contextlib.contextmanager
    def upstream(self, peer: Peer, context: ssl.SSLContext | None = None) -> Iterator[UpstreamSettings]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        tls = UpstreamTlsSettings(ca_file=self.authority, server_name="localhost")
        with serving(listener, peer, context or self.server_context()):
            yield UpstreamSettings("https", "127.0.0.1", port, tls=tls)

    def attempt(self, context: ssl.SSLContext, peer: Peer = echo, **tls: object) -> None:
        """One connection to a server with `context`; raises what connecting raises."""

        async def stage(settings: UpstreamSettings) -> None:
            heard = await connected(settings)
            heard.transport.write(b"hello")
            await heard.arrived.wait()
            heard.transport.abort()
            await heard.lost

        with self.upstream(peer, context) as settings:
            changed = replace(settings.tls, **tls)  # type: ignore[arg-type]  # replace checks the names
            uvloop.run(stage(replace(settings, tls=changed)))

    def test_certificate_of_another_authority_is_refused(self) -> None:
        with pytest.raises(ssl.SSLError):
            self.attempt(self.server_context(self.pki.self_signed_client))

    def test_certificate_of_another_name_is_refused(self) -> None:
        with pytest.raises(ssl.SSLError):
            self.attempt(self.server_context(), server_name="other.example")

    def test_certificate_that_has_expired_is_refused(self) -> None:
        with pytest.raises(ssl.SSLError):
            self.attempt(self.server_context(self.pki.server_authority.expired()))

    def test_address_is_verified_where_no_name_is_given(self) -> None:
        self.attempt(self.server_context(), server_name=None)

    def test_name_is_sent_to_the_server(self) -> None:
        context, names = self.server_context(), []
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        self.attempt(context, server_name="api.example.com")
        assert names == ["api.example.com"]

    def test_certificate_of_ours_is_presented(self, tmp_path: Path) -> None:
        context, subjects = self.server_context(), []
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=certificate_pem(self.pki.client_authority.certificate).decode())

        def asks(connection: socket.socket) -> None:
            assert isinstance(connection, ssl.SSLSocket)
            subjects.append((connection.getpeercert() or {})["subject"])
            connection.sendall(b"x")
            connection.recv(10)

        files = self.pki.client.write(tmp_path, "ours")
        self.attempt(context, asks, certificate_file=files.certificate, private_key_file=files.private_key)
        assert subjects == [((("commonName", "client-1"),),)]

    def test_protocol_is_http_1_1(self) -> None:
        context, protocols = self.server_context(), []
        context.set_alpn_protocols(["h2", "http/1.1"])

        def asks(connection: socket.socket) -> None:
            assert isinstance(connection, ssl.SSLSocket)
            protocols.append(connection.selected_alpn_protocol())
            connection.sendall(b"x")
            connection.recv(10)

        self.attempt(context, asks)
        assert protocols == ["http/1.1"]


# --- names and addresses


class Resolver:
    """The parts of an event loop that look names up, with the clock in the test's hand."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        self.answers = list(answers)
        self.now = 0.0
        self.lookups = 0

    def time(self) -> float:
        return self.now

    async def getaddrinfo(self, host: str, port: int, **_options: object) -> list[tuple[object, ...]]:
        self.lookups += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]


def addresses(host: str = "api.test") -> tcp.Addresses:
    return tcp.Addresses(UpstreamSettings("http", host, 80, resolve_interval=30.0))


def get(known: tcp.Addresses, resolver: Resolver) -> tuple[str, ...]:
    return asyncio.run(known.get(resolver))  # type: ignore[arg-type]  # the parts that are used


def test_name_is_looked_up_again_when_its_addresses_are_old() -> None:
    known, resolver = addresses(), Resolver(["10.0.0.1"], ["10.0.0.2", "10.0.0.3", "10.0.0.2"])
    assert get(known, resolver) == ("10.0.0.1",)
    resolver.now = 29
    assert get(known, resolver) == ("10.0.0.1",)
    resolver.now = 31
    assert get(known, resolver) == ("10.0.0.2", "10.0.0.3")
    assert resolver.lookups == 2


def test_last_good_addresses_outlive_a_failing_look_up() -> None:
    known, resolver = addresses(), Resolver(["10.0.0.1"], socket.gaierror(-3, "try again"), ["10.0.0.9"])
    assert get(known, resolver) == ("10.0.0.1",)
    resolver.now = 31
    assert get(known, resolver) == ("10.0.0.1",)
    resolver.now = 62
    assert get(known, resolver) == ("10.0.0.9",)


def test_name_that_never_had_an_address_is_an_os_error() -> None:
    with pytest.raises(OSError, match="unknown"):
        get(addresses(), Resolver(socket.gaierror(-2, "unknown")))


def test_literal_address_is_never_looked_up() -> None:
    known, resolver = addresses("2001:db8::1"), Resolver(OSError("asked"))
    assert get(known, resolver) == ("2001:db8::1",)
    known.expire()
    assert get(known, resolver) == ("2001:db8::1",)


def test_address_that_answers_is_tried_first_next_time() -> None:
    known, resolver = addresses(), Resolver(["10.0.0.1", "10.0.0.2"])
    tried: list[str] = []

    async def connect(address: str) -> tuple[object, asyncio.Protocol]:
        tried.append(address)
        if address == "10.0.0.1":
            raise ConnectionRefusedError(111, "refused")
        return None, asyncio.Protocol()

    for _ in range(2):
        asyncio.run(tcp.reach(known, resolver, 1.0, connect))  # type: ignore[arg-type]
    assert tried == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]
    assert resolver.lookups == 1


def test_dead_address_does_not_use_up_the_time_of_the_next() -> None:
    known, resolver = addresses(), Resolver(["10.0.0.1", "10.0.0.2"])

    async def connect(address: str) -> tuple[object, asyncio.Protocol]:
        if address == "10.0.0.1":
            await asyncio.sleep(30)
        return None, asyncio.Protocol()

    with contextlib.closing(VirtualTime()) as loop:
        reached = loop.create_task(tcp.reach(known, resolver, 0.2, connect))  # type: ignore[arg-type]
        loop.settle()
        loop.pass_time(0.19)
        assert isinstance(reached.result(), asyncio.Protocol)


def test_name_is_looked_up_at_once_when_no_address_answers() -> None:
    known, resolver = addresses(), Resolver(["10.0.0.1"], ["10.0.0.2"])
    tried: list[str] = []

    async def connect(address: str) -> tuple[object, asyncio.Protocol]:
        tried.append(address)
        if address == "10.0.0.1":
            raise ConnectionRefusedError(111, "refused")
        return None, asyncio.Protocol()

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(tcp.reach(known, resolver, 1.0, connect))  # type: ignore[arg-type]
    asyncio.run(tcp.reach(known, resolver, 1.0, connect))  # type: ignore[arg-type]
    assert tried == ["10.0.0.1", "10.0.0.2"]
