"""One client connection to a server in this process, TLS and all, without sockets: what a request costs can be
looked at piece by piece, or counted."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from OpenSSL import SSL

from sidecar.authorizer import Authorizer
from sidecar.decision.proof_policy import ProofPolicy
from sidecar.decision.replay import ReplayGuard
from sidecar.http.certificate_field import FieldCertificates, emit
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.configuration import (
    HTTP1,
    ListenerSettings,
    ProxySettings,
    TlsSettings,
    ToldCertificateSettings,
    UpstreamSettings,
)
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from sidecar.proxy.server import Server
from sidecar.telemetry.configuration import Format, LoggingSettings
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.observer import Telemetry
from sidecar.telemetry.sink import LineSink
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki
from tests.support.proofs import Prover
from tests.support.world import Keys, authorizer, policy, proving, registered, rule

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: api\r\nDate: Mon, 23 Nov 2026 05:39:23 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
)
REQUESTS = 20
_TURNS = 50
"""Turns of the event loop: more than it takes to open eight connections to the API."""


class Transport:
    """Takes what is written; nothing is ever slow."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.protocol: asyncio.Protocol | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("127.0.0.1", 4711) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass


class World:
    """A server, one client connection with a finished handshake, and the upstream connections it opened."""

    def __init__(
        self,
        pki: Pki,
        key: SigningKey,
        folder: Path,
        bound_to: Identity,
        *,
        told: ToldCertificateSettings | None = None,
        sink: LineSink | None = None,
        prover: Prover | None = None,
        proofs: int = 0,
        replay: ReplayGuard | None = None,
    ) -> None:
        """With `told` the client certificate comes in a field, over the connection of a proxy.

        With `prover` the token is bound to its key; each of `proofs` requests brings a proof, claimed at `replay`.
        """
        self.pki, self.key, self.folder, self.told = pki, key, folder, told
        self.sink = sink or LineSink(os.open(os.devnull, os.O_WRONLY))
        self.upstreams: list[Transport] = []
        self.token = key.token(bound_to) if prover is None else key.token(cnf=prover.cnf)
        self.replay = replay
        self.proofs = () if prover is None else self._proofs(prover, proofs)
        self._next = iter(self.proofs)

    hand_over_headers: frozenset[str] = frozenset()
    response = RESPONSE
    """What the API answers."""
    protocols: tuple[str, ...] = (HTTP1,)
    """What the listener offers."""
    upstream_protocol = HTTP1
    """What the API speaks."""

    def greets(self, context: SSL.Context) -> None:
        """What the client's TLS says of itself."""

    def endpoints(self, _decides: Authorizer) -> ServerEndpoints | None:
        """Those of an authorization server, if there is one."""
        return None

    async def start(self) -> None:
        files = self.pki.server.write(self.folder, "server")
        rules = [rule(f"r{number}", f"/api/{number}/**", scopes=("accounts:read",)) for number in range(19)]
        logging = LoggingSettings(format=Format.JSON)
        self.sink.attach(lambda _seconds, _call: None)
        tls = TlsSettings(files.certificate, files.private_key)
        settings = ProxySettings(
            (ListenerSettings("main", "127.0.0.1", 0, tls, told=self.told, protocols=self.protocols),),
            # Never idle for too long, however slowly the machine turns: a connection made anew would need the loop.
            UpstreamSettings(
                "http",
                "127.0.0.1",
                1,
                idle_timeout=3600,
                identity_headers={"X-Auth-Subject": "sub"},
                protocol=self.upstream_protocol,
            ),
            hand_over_headers=self.hand_over_headers,
        )
        telemetry = Telemetry(Metrics(), Journal(self.sink, Format.JSON), logging)
        every = (*rules, rule())
        decides = authorizer(
            policy(*every) if self.replay is None else proving(*every, proof=ProofPolicy(window=300)),
            keys := Keys.of(self.key),
            None,
            self.replay,
            in_force=registered(keys),
        )
        endpoints = self.endpoints(decides)
        self.server = Server(settings, decides, telemetry, connect=self._connect, endpoints=endpoints)
        self.connection = ClientConnection(self.server.listeners[0], self.server)
        self.transport = Transport()
        self.connection.connection_made(cast("asyncio.Transport", self.transport))
        await self._shake_hands(self.pki.client if self.told is None else self.pki.server)

    async def begin(self) -> None:
        """Start, and let one request pass: its token is known then, and so is a connection to the API."""
        await self.start()
        self.connection.data_received(self.sealed())
        await self.settle()
        self.respond()

    @staticmethod
    async def settle() -> None:
        """Let the event loop do what it has to."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def respond(self) -> None:
        """The API answers whatever it was asked."""
        for upstream in self.upstreams:
            assert upstream.protocol is not None
            if upstream.written:
                upstream.written.clear()
                upstream.protocol.data_received(self.response)

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

    async def _shake_hands(self, identity: Identity) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        self.greets(context)
        self._client = SSL.Connection(context, None)
        self._client.set_connect_state()
        for _ in range(3):
            try:
                self._client.do_handshake()
            except SSL.WantReadError:
                pass
            self._deliver()
            await asyncio.sleep(0)  # a handshake waits for its turn
            for data in self.transport.written:
                self._client.bio_write(data)
            self.transport.written.clear()

    def _deliver(self) -> None:
        try:
            self.connection.data_received(self._client.bio_read(65536))
        except SSL.WantReadError:
            pass

    def _proofs(self, prover: Prover, count: int) -> tuple[str, ...]:
        """Made beforehand: what their maker takes is not the sidecar's."""
        url = "https://api.example.com/accounts/1"
        return tuple(prover.proof(self.token, url=url) for _ in range(count))

    def plaintext(self) -> bytes:
        """The request."""
        if self.proofs:
            head = (
                "GET /accounts/1 HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\n"
                f"Authorization: DPoP {self.token}\r\nDPoP: {next(self._next)}\r\n\r\n"
            )
            return head.encode()
        head = (
            f"GET /accounts/1 HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\nAuthorization: Bearer {self.token}"
        )
        return b"%b%b\r\n\r\n" % (head.encode(), self._field())

    def _field(self) -> bytes:
        if self.told is None:
            return b""
        value, _ = emit(self.told.format, FieldCertificates(self.pki.client.der))
        return b"\r\n%b: %b" % (self.told.name.encode(), value)

    def sealed(self, plaintext: bytes | None = None) -> bytes:
        """The next request, as it comes off the wire."""
        self._client.send(self.plaintext() if plaintext is None else plaintext)
        return self._client.bio_read(65536)

    def many(self) -> None:
        """As many as are counted."""
        for _ in range(REQUESTS):
            self.one()

    def one(self, plaintext: bytes | None = None) -> None:
        """One request and, when it was permitted, its response; its client is none that is refused again and again."""
        assert self.connection.wire is not None
        self.connection.wire.refusals = 0
        self.connection.data_received(self.sealed(plaintext))
        self.respond()
        self.transport.written.clear()
