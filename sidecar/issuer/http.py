"""HTTP exchanges with one issuer, limited in size and time, without redirects and environment variables; every
failure names its phase.

Theory of operation. Documents (metadata, JWKS) are fetched minutes apart, so each uses a new connection: a pooled one
would be closed by then. Questions (introspection) are frequent and use a pool. If a pooled connection turns out to be
closed, the question is sent once more on a new connection (RFC 9110 §9.2.2: a question about a token changes
nothing). There are no other retries here.
"""

import asyncio
import os
import socket
import ssl
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

from sidecar.issuer.configuration import HttpSettings
from sidecar.issuer.trust import TrustFiles, TrustNow

_LOOK: Final = 0.005
"""Seconds between checks whether the connections have closed."""
_LOOKS: Final = 100


def quoted(text: str) -> str:
    """Text from a peer for display: printable ASCII, truncated, in quotes."""
    return f'"{ascii(text[:200])[1:-1]}{"…" if len(text) > 200 else ""}"'


class FetchFailed(Exception):
    """An exchange with an issuer failed in a named phase."""

    def __init__(
        self,
        phase: str,
        detail: str,
        status: int = 0,
        retry_after: int | None = None,
        *,
        was_sent: bool = True,
    ) -> None:
        super().__init__(f"{phase}: {detail}")
        self.phase = phase
        """`dns`, `connect`, `tls`, `status`, `size`, `parse`, `timeout`."""
        self.detail = detail
        """One plain sentence without secrets."""
        self.status = status
        """The HTTP status if the phase is `status`."""
        self.retry_after = retry_after
        """Seconds to wait that the issuer asked for (RFC 9110 §10.2.3)."""
        self.was_sent = was_sent
        """False: it failed before the request was sent, so the request cannot be the cause."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response of the issuer with status 200."""

    body: bytes
    media_type: str
    """Lower case, without parameters."""
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str] | None
    limit: int
    """Maximum bytes of the response."""


@dataclass(slots=True)
class _Trace:
    """The progress of an exchange, to name the phase of its failure."""

    stage: str = "connect"
    reused: bool = False

    @property
    def was_sent(self) -> bool:
        """Whether the server may have received a part of the request."""
        return self.stage in {"request", "answer"}


@dataclass(slots=True, eq=False)
class _Sessions:
    fresh: aiohttp.ClientSession
    pooled: aiohttp.ClientSession


class HttpClient:
    """HTTP client for one issuer. Create it with `HttpClient.create` (which reads files), close it with `close`.

    Certificates and credentials are read again when their files change. While a changed file is invalid, the last
    valid content is used.
    """

    def __init__(self, settings: HttpSettings, files: TrustFiles, trust: TrustNow) -> None:
        self.settings = settings
        self._files = files
        self._trust = trust
        self._sessions: _Sessions | None = None
        self._retired: list[_Sessions] = []
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    @classmethod
    def create(
        cls,
        settings: HttpSettings,
        certificate_file: Path | None = None,
        private_key_file: Path | None = None,
    ) -> Self:
        """Reads the CA bundle, the client certificate and the proxy credentials.

        The two files replace those of `settings`: the certificate of RFC 8705 §2 client authentication. Raises
        `OSError` and `ValueError` (`ssl.SSLError` is an `OSError`). Blocks: call it off the event loop.
        """
        files = TrustFiles(
            settings.ca_file,
            certificate_file or settings.certificate_file,
            private_key_file or settings.private_key_file,
            settings.proxy_credentials_file,
            settings.strict_certificates,
        )
        return cls(settings, files, files.read())

    async def close(self) -> None:
        """Close all connections; waits half a second at most until they are closed."""
        if self._sessions is not None:
            self._retired.append(self._sessions)
        self._sessions = None
        while self._retired:
            last = self._retired[-1]
            await last.fresh.close()
            await last.pooled.close()
            if last in self._retired:  # after the wait, so that an interrupted close can be repeated
                self._retired.remove(last)
        # A session waits for its connections; a released connection may still be in TLS shutdown.
        for _ in range(_LOOKS):
            if all(one.fileno() < 0 for one in self._sockets):
                return
            await asyncio.sleep(_LOOK)

    async def get(self, url: str, accept: str) -> Fetched:
        """Fetch a document on a new connection. Raises `FetchFailed`."""
        request = _Request("GET", url, {"Accept": accept}, None, self.settings.document_bytes)
        return await self._bounded(request, is_pooled=False)

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str], limit: int
    ) -> Fetched:
        """Post a form, on a pooled connection; at most `limit` bytes are read. Raises `FetchFailed`."""
        return await self._bounded(_Request("POST", url, headers, form, limit), is_pooled=True)

    async def _bounded(self, request: _Request, *, is_pooled: bool) -> Fetched:
        trace = _Trace()
        try:
            self._check_scheme(request.url)
            async with asyncio.timeout(self.settings.timeout):
                await self._renew_trust()
                try:
                    return await self._exchange(request, trace, is_pooled=is_pooled)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    if not trace.reused:
                        raise
                    trace = _Trace()
                    return await self._exchange(request, trace, is_pooled=False)
        except TimeoutError:
            failed = FetchFailed("timeout", f"no answer in time; last stage: {trace.stage}")
            failed.was_sent = trace.was_sent
            raise failed from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failed = _named(error, trace)
            failed.was_sent = trace.was_sent
            raise failed from error

    def _check_scheme(self, url: str) -> None:
        """RFC 8414 §6.1, RFC 7662 §4: only TLS ensures that the answer is the issuer's."""
        scheme = urlsplit(url).scheme
        if scheme == "https" or (
            scheme == "http" and self.settings.insecure_plain_http_anyone_can_forge_keys
        ):
            return
        raise FetchFailed("connect", "the URL is not https", was_sent=False)

    async def _renew_trust(self) -> None:
        """Use new certificates for new connections; exchanges in progress end on the old ones."""
        if not self._trust.is_due:
            return
        trust = await asyncio.to_thread(self._files.changed_since, self._trust)
        if trust is self._trust:
            return
        self._trust = trust
        if self._sessions is not None:
            self._retired.append(self._sessions)
        self._sessions = None

    async def _exchange(self, request: _Request, trace: _Trace, *, is_pooled: bool) -> Fetched:
        sessions = self._open()
        session = sessions.pooled if is_pooled else sessions.fresh
        async with session.request(
            request.method,
            request.url,
            data=request.form,
            headers={"Accept-Encoding": "identity", **request.headers},
            allow_redirects=False,
            proxy=self.settings.proxy,
            proxy_headers=self._trust.proxy_headers,
            trace_request_ctx=trace,
        ) as response:
            trace.stage = "answer"
            if response.status != 200:
                target = response.headers.get("Location") if 300 <= response.status < 400 else None
                detail = f", to {quoted(target)}: not followed" if target is not None else ""
                raise FetchFailed(
                    "status",
                    f"the answer is {response.status}{detail}",
                    response.status,
                    _retry_after(response.headers),
                )
            return Fetched(
                await _read(response, request.limit), response.content_type.lower(), response.headers
            )

    def _open(self) -> _Sessions:
        if self._sessions is None:
            self._sessions = _Sessions(self._session(is_pooled=False), self._session(is_pooled=True))
        return self._sessions

    def _session(self, *, is_pooled: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._trust.context,
            limit=0,
            socket_factory=self._socket,
            force_close=not is_pooled,
            keepalive_timeout=30 if is_pooled else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=self.settings.connect_timeout),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[_tracing()],
            headers={"User-Agent": "bound-token-sidecar"},
        )

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for one connection, known to `close`."""
        opened = socket.socket(*address[:3])
        opened.setblocking(False)
        self._sockets.add(opened)
        return opened


def _tracing() -> aiohttp.TraceConfig:
    """Records the progress of each exchange."""
    config = aiohttp.TraceConfig()

    def moving_to(stage: str, *, reused: bool = False) -> object:
        async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
            trace: _Trace = context.trace_request_ctx
            trace.stage, trace.reused = stage, reused

        return note

    config.on_dns_resolvehost_start.append(moving_to("dns"))  # type: ignore[arg-type] # one note for all signals
    config.on_dns_resolvehost_end.append(moving_to("connect"))  # type: ignore[arg-type] # as above
    config.on_connection_create_end.append(moving_to("request"))  # type: ignore[arg-type] # as above
    config.on_connection_reuseconn.append(moving_to("request", reused=True))  # type: ignore[arg-type] # as above
    return config


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; at most `limit` bytes and one buffer are held."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("parse", "the answer is compressed though identity was asked for")
    if response.content_length is not None and response.content_length > limit:
        raise FetchFailed("size", f"the answer announces more than {limit} bytes")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise FetchFailed("size", f"the answer has more than {limit} bytes")
    return bytes(body)


def _retry_after(headers: Mapping[str, str]) -> int | None:
    value = headers.get("Retry-After", "")
    return min(int(value), 300) if value.isascii() and value.isdigit() and len(value) < 9 else None


def _named(error: Exception, trace: _Trace) -> FetchFailed:
    """Convert a library exception to its phase. Text from the peer is not part of the detail."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return FetchFailed("status", f"the proxy answered {error.status}")
        case aiohttp.ClientConnectorDNSError():
            return FetchFailed("dns", "the name does not resolve")
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "verification failed"
            return FetchFailed("tls", f"the certificate is not trusted: {reason}")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return FetchFailed("tls", f"the handshake failed: {_ssl_reason(error)}")
        case aiohttp.ClientProxyConnectionError():
            return FetchFailed("connect", f"the proxy cannot be reached: {_os_reason(error)}")
        case aiohttp.ClientConnectorError():
            return FetchFailed("connect", _os_reason(error))
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError):
            # TLS 1.3: the server checks our certificate after our side of the handshake is complete.
            return FetchFailed("tls", f"the handshake failed: {_ssl_reason(error.__cause__)}")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | OSError():
            return FetchFailed("connect", "the connection was closed before the answer")
        case aiohttp.ClientPayloadError():
            return FetchFailed("size", "the answer ended before its announced length")
        case aiohttp.InvalidURL():
            return FetchFailed("connect", "the URL is not valid")
        case _:
            return FetchFailed(
                "parse", f"no clean HTTP answer ({type(error).__name__}) at stage {trace.stage}"
            )


def _ssl_reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    return str(getattr(cause, "reason", "") or "closed by the other end")


def _os_reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number) if number else "the connection was refused"
