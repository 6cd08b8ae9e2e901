"""What the webhook takes in: how many connections, how much of all bodies together, and from whom.

Anybody in the cluster reaches the webhook, and while it is busy with others no Pod that asks for protection can start.
So the oldest unfinished body, and the oldest connection of the address that has most of them, give way to new
ones. An API server sends a review within milliseconds and has few connections.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

MAXIMUM_BODY = 8 * 1024 * 1024
"""Bytes. An object in etcd is at most 1.5 MiB; a review carries it at most twice, with room to spare."""
BODIES = 24 * 1024 * 1024
"""Bytes of all bodies that are being received."""
REQUEST_SECONDS = 15.0
CONNECTIONS = 128
"""At a time."""
HANDSHAKE_SECONDS = 3.0
"""For TLS; a connection that has not finished it is in no list yet."""


class Overloaded(Exception):
    """The body was given up for newer ones."""


@dataclass(eq=False, slots=True)
class _Body:
    """One that is being received."""

    task: asyncio.Task[Any]
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    is_given_up: bool = False


class Bodies:
    """Receives bodies, within a bound for all of them together."""

    def __init__(self, total: int = BODIES) -> None:
        self._total = total
        self._open: dict[_Body, None] = {}
        """Oldest first."""

    async def received(self, request: web.Request) -> bytes:
        """The whole body. Raises `web.HTTPRequestEntityTooLarge`, `TimeoutError` and `Overloaded`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — a handler runs in one
        body = _Body(task)
        self._open[body] = None
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                async for chunk in request.content.iter_any():
                    self._grow(body, chunk)
            return b"".join(body.chunks)
        except asyncio.CancelledError:
            if not body.is_given_up:
                raise
            task.uncancel()
            raise Overloaded from None
        finally:
            self._open.pop(body, None)

    def _grow(self, body: _Body, chunk: bytes) -> None:
        body.chunks.append(chunk)
        body.size += len(chunk)
        if body.size > MAXIMUM_BODY:
            raise web.HTTPRequestEntityTooLarge(MAXIMUM_BODY, body.size)
        while sum(one.size for one in self._open) > self._total:
            oldest = next(iter(self._open))
            del self._open[oldest]
            if oldest is body:
                raise Overloaded
            oldest.is_given_up = True
            oldest.chunks.clear()
            oldest.task.cancel()


def admitted(server: web.Server) -> asyncio.Protocol:
    """A new connection; past the bound the oldest of the address that has most of them leaves for it."""
    open_now = server.connections
    if len(open_now) >= CONNECTIONS:
        addresses = [_address(one.transport) for one in open_now]
        ((greedy, _),) = Counter(addresses).most_common(1)
        leaving = open_now[addresses.index(greedy)].transport
        if isinstance(leaving, asyncio.Transport):
            leaving.abort()  # a close over TLS would wait for the other side
    return server()


def _address(transport: asyncio.BaseTransport | None) -> str:
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


class Callers:
    """Whose reviews are answered: anybody's, or that of who presents a certificate of an authority."""

    def __init__(self, client_ca: Path | None, names: Collection[str] = ()) -> None:
        """`names`: common or DNS names of which the certificate must have one; none: any certificate will do."""
        self._client_ca = client_ca
        self._names = frozenset(names)

    def ask_for_certificates(self, context: ssl.SSLContext) -> None:
        """Raises OSError. Optional in the handshake, because the kubelet's probes present none."""
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL

    def refusal(self, request: web.Request) -> str | None:
        """Why this caller gets no answer."""
        if self._client_ca is None:
            return None
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if not certificate:
            return "the API server's client certificate is required"
        if self._names and self._names.isdisjoint(_names(certificate)):
            return "the client certificate has another name than the API server's"
        return None


def _names(certificate: Any) -> set[str]:
    """Common names and DNS names, as `ssl.SSLSocket.getpeercert` tells them."""
    subject = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return subject | {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
