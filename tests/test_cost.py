"""What a request costs, without a clock: the calls that the sidecar's own code makes for one request.

The same on every machine, so it can gate a change where a time could not. A number here is lowered when a change brings
less, and raised only by a commit that says what the calls buy. `make bench` says what they take.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import cast

import pytest
from OpenSSL import SSL

import sidecar
from sidecar.proxy.configuration import ListenerSettings, ProxySettings, TlsSettings, UpstreamSettings
from sidecar.proxy.connection import ClientConnection
from sidecar.proxy.server import Server
from sidecar.telemetry.configuration import Format, LoggingSettings
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.observer import Telemetry
from sidecar.telemetry.sink import LineSink
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki
from tests.support.world import Keys, authorizer, policy, rule

PACKAGE = str(Path(sidecar.__file__).parent)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: api\r\nDate: Mon, 23 Nov 2026 05:39:23 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
)
REQUESTS = 20
MOST_CALLS = {"permitted": 223, "denied": 185}
"""Calls of Python functions and of C functions from the sidecar's code, for one request with a known token on a
connection that is kept alive, access log and metrics on, twenty rules."""


class Transport:
    """Takes what is written; nothing is ever slow."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.protocol: asyncio.Protocol | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return "127.0.0.1", 4711

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


class World:
    """A server, one client connection with a finished handshake, and the upstream connections it opened."""

    def __init__(self, pki: Pki, key: SigningKey, folder: Path, bound_to: Identity) -> None:
        self.pki, self.key, self.folder = pki, key, folder
        self.upstreams: list[Transport] = []
        self.token = key.token(bound_to)

    async def start(self) -> None:
        files = self.pki.server.write(self.folder, "server")
        rules = [rule(f"r{number}", f"/api/{number}/**", scopes=("accounts:read",)) for number in range(19)]
        logging = LoggingSettings(format=Format.JSON)
        sink = LineSink(os.open(os.devnull, os.O_WRONLY))
        sink.attach(lambda _seconds, _call: None)
        settings = ProxySettings(
            (ListenerSettings("main", "127.0.0.1", 0, TlsSettings(files.certificate, files.private_key)),),
            UpstreamSettings("http", "127.0.0.1", 1, identity_headers={"X-Auth-Subject": "sub"}),
        )
        telemetry = Telemetry(Metrics(), Journal(sink, Format.JSON), logging)
        decides = authorizer(policy(*rules, rule()), Keys.of(self.key))
        self.server = Server(settings, decides, telemetry, connect=self._connect)
        self.connection = ClientConnection(self.server.listeners[0])
        self.transport = Transport()
        self.connection.connection_made(cast("asyncio.Transport", self.transport))
        self._shake_hands(self.pki.client)

    async def _connect(
        self,
        _loop: asyncio.AbstractEventLoop,
        factory: Callable[[], asyncio.Protocol],
        _settings: UpstreamSettings,
    ) -> asyncio.Protocol:
        transport, protocol = Transport(), factory()
        transport.protocol = protocol
        protocol.connection_made(cast("asyncio.Transport", transport))
        self.upstreams.append(transport)
        return protocol

    def _shake_hands(self, identity: Identity) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        self._client = SSL.Connection(context, None)
        self._client.set_connect_state()
        for _ in range(3):
            try:
                self._client.do_handshake()
            except SSL.WantReadError:
                pass
            self._deliver()
            for data in self.transport.written:
                self._client.bio_write(data)
            self.transport.written.clear()

    def _deliver(self) -> None:
        try:
            self.connection.data_received(self._client.bio_read(65536))
        except SSL.WantReadError:
            pass

    def sealed(self) -> bytes:
        """The next request, as it comes off the wire."""
        head = (
            f"GET /accounts/1 HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\nAuthorization: Bearer {self.token}"
        )
        self._client.send(f"{head}\r\n\r\n".encode())
        return self._client.bio_read(65536)

    def many(self) -> None:
        """As many as are counted."""
        for _ in range(REQUESTS):
            self.one()

    def one(self) -> None:
        """One request and, when it was permitted, its response."""
        self.connection.data_received(self.sealed())
        for upstream in self.upstreams:
            assert upstream.protocol is not None
            upstream.protocol.data_received(RESPONSE)
            upstream.written.clear()
        self.transport.written.clear()


def calls(of: Callable[[], None]) -> Counter[str]:
    """Calls made by code of the package while `of` runs, by the name of the function that makes them."""
    counted: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        code: CodeType = frame.f_code
        if event in ("call", "c_call") and code.co_filename.startswith(PACKAGE):
            counted[f"{Path(code.co_filename).name}:{code.co_name}"] += 1

    sys.setprofile(profile)
    try:
        of()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("kind", MOST_CALLS)
def test_a_request_costs_no_more_calls_than_it_did(
    kind: str, pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    bound_to = pki.client if kind == "permitted" else pki.other_client
    world = World(pki, signing_key, tmp_path, bound_to)

    async def measured() -> Counter[str]:
        await world.start()
        world.connection.data_received(world.sealed())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for upstream in world.upstreams:
            assert upstream.protocol is not None
            upstream.protocol.data_received(RESPONSE)
        for _ in range(3):
            world.one()
        counted = calls(world.many)
        world.server.close()
        return counted

    counted = asyncio.run(measured())
    assert bool(world.upstreams) is (kind == "permitted")
    each = sum(counted.values()) / REQUESTS
    dearest = ", ".join(f"{name} {count / REQUESTS:.1f}" for name, count in counted.most_common(12))
    print(f"{kind}: {each:.1f} calls a request; {dearest}")
    assert each <= MOST_CALLS[kind], dearest
    # A number far above what is needed guards nothing.
    assert each >= MOST_CALLS[kind] * 0.9, f"{each:.1f}: lower the number"
