"""A scripted authorization server: metadata, JWKS and introspection, every request recorded, every fault on demand.

It is an aiohttp server on its own thread. `answers` maps a path to a behaviour that replaces the right answer until
taken out again; `once` holds behaviours for the next requests to a path, one each. A behaviour is an async function
from request to response; the functions below make the usual ones.
"""

import asyncio
import json
import ssl
import tempfile
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web
from cryptography import x509

from tests.support.mint import SigningKey, jwks
from tests.support.pki import Identity, certificate_pem

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
JWKS_PATH = "/jwks"
INTROSPECTION_PATH = "/introspect"


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as the issuer saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    client_certificate: bytes | None
    """DER of the certificate the client presented in TLS."""

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


# -- behaviours -----------------------------------------------------------------------------------


def answer(
    body: object = b"",
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """Answers just that; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def behave(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data, status=status, content_type=content_type, headers=headers)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    return answer(b"", status, headers={"Location": location})


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """Says nothing for that long, then does `then`."""

    async def behave(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await then(request)

    return behave


def drop() -> Behaviour:
    """Closes the connection without an answer."""

    async def behave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return behave


def half(body: bytes) -> Behaviour:
    """Promises the whole body, sends half of it and closes the connection."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    return behave


def endless(size: int = 1 << 30, piece: bytes = b" " * 65536) -> Behaviour:
    """Streams `size` bytes of `piece` over and over, with no length announced; stops when the client leaves."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            for _ in range(size // len(piece)):
                await response.write(piece)
        except ConnectionError:  # the client had enough: what a bounded reader does
            pass
        return response

    return behave


def trickle(body: bytes, seconds_per_byte: float) -> Behaviour:
    """Sends the body one byte at a time."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            for byte in body:
                await response.write(bytes([byte]))
                await asyncio.sleep(seconds_per_byte)
        except ConnectionError:  # as above
            pass
        return response

    return behave


class Held:
    """Keeps its requests waiting until the test lets them go, then does `then`.

    What must happen meanwhile happens meanwhile, however long the machine takes: where `slow` would be a race.
    """

    def __init__(self, then: Behaviour) -> None:
        self._then = then
        self._released = threading.Event()
        self.arrived = 0
        """Requests that came so far."""

    def release(self) -> None:
        self._released.set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        while not self._released.is_set():
            await asyncio.sleep(0.005)
        return await self._then(request)


# -- the server -----------------------------------------------------------------------------------


def server_context(identity: Identity, client_trust: Sequence[x509.Certificate] = ()) -> ssl.SSLContext:
    """A TLS server as `identity`; it asks for a client certificate when it has someone to trust for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        files = identity.write(Path(folder), "server")
        context.load_cert_chain(files.certificate, files.private_key)
    if client_trust:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata="".join(certificate_pem(one).decode() for one in client_trust))
    return context


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that can end what is still open."""

    _transports: Any  # Of the base class, and known to its type only as private: every connection.

    async def stop_accepting(self, server: asyncio.Server) -> None:
        """What has been accepted by now becomes a connection; `close` in between would leave a socket to nobody."""
        for listening in server.sockets:
            self.remove_reader(listening)
        await asyncio.sleep(0)
        server.close()

    async def abort_all(self) -> None:
        """TLS waits for the other side's close_notify before it ends; here nobody does."""
        while still_open := [one for one in self._transports.values() if one._sock is not None]:
            for transport in still_open:
                transport.abort()
            await asyncio.sleep(0)


@dataclass
class ScriptedIssuer:
    """One issuer on 127.0.0.1. Use as a context manager; everything but `start` may be changed while it runs."""

    keys: list[SigningKey | Mapping[str, object]] = field(default_factory=list)
    """What the JWKS serves."""
    tokens: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Introspection responses by token; any other token is `{"active": false}` (RFC 7662 §2.2)."""
    certificate: Identity | None = None
    """Serves https with it; plain http without."""
    client_trust: Sequence[x509.Certificate] = ()
    path: str = ""
    """The path component of the issuer identifier, `/tenant`."""
    metadata: dict[str, object] = field(default_factory=dict)
    """Replaces members of the metadata document; a member of None is left out."""
    port: int = 0
    answers: dict[str, Behaviour] = field(default_factory=dict)
    once: defaultdict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[RecordedRequest] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The issuer identifier."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://localhost:{self.port}{self.path}"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}{JWKS_PATH}"

    @property
    def introspection_url(self) -> str:
        return f"{self.url}{INTROSPECTION_PATH}"

    def count(self, path: str) -> int:
        """How many requests ended in that path."""
        return sum(request.path.endswith(path) for request in self.requests)

    def document(self) -> dict[str, object]:
        """The metadata (RFC 8414 §2)."""
        document: dict[str, object] = {
            "issuer": self.url,
            "jwks_uri": self.jwks_url,
            "introspection_endpoint": self.introspection_url,
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            "tls_client_certificate_bound_access_tokens": True,
        }
        return {name: value for name, value in (document | self.metadata).items() if value is not None}

    # -- life cycle

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, on the port it had before if it ran before."""
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="issuer", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)

    def stop(self) -> None:
        """Closes the port and every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        await self._loop.stop_accepting(self._server)
        await self._runner.cleanup()
        await self._loop.abort_all()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = None if self.certificate is None else server_context(self.certificate, self.client_trust)
        connection = self._runner.server
        assert connection is not None
        self._server = await self._loop.create_server(
            connection, "127.0.0.1", self.port, ssl=context, reuse_address=True
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    # -- one request

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await self._record(request))
        plain = request.path.replace(self.path, "", 1) if self.path else request.path
        if self.once[plain]:
            return await self.once[plain].popleft()(request)
        if plain in self.answers:
            return await self.answers[plain](request)
        return self._right_answer(plain, self.requests[-1])

    async def _record(self, request: web.Request) -> RecordedRequest:
        tls: Any = request.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        return RecordedRequest(
            request.method, request.path, dict(request.headers), await request.read(), certificate
        )

    def _right_answer(self, path: str, request: RecordedRequest) -> web.Response:
        if path in METADATA_PATHS:
            return web.json_response(self.document())
        if path == JWKS_PATH:
            return web.json_response(jwks(*self.keys), content_type="application/jwk-set+json")
        if path == INTROSPECTION_PATH and request.method == "POST":
            return web.json_response(self.tokens.get(request.form.get("token", ""), {"active": False}))
        return web.json_response({"error": "not_found"}, status=404)
