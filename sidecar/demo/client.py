"""The demo's TLS client: each request uses a new connection."""

import asyncio
import ssl
from dataclasses import dataclass

from sidecar.trust.certification import Identity
from sidecar.trust.client_context import ServerTrust, client_context

SECONDS = 60.0
"""Seconds until an answer must be complete."""
_STEP = 262144


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    head: str
    body: bytes
    """The beginning of the body."""
    size: int
    """Length of the whole body, in bytes."""

    def field(self, name: str) -> str:
        """The value of a header field; empty if it is missing."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def context(authority: Identity, identity: Identity | None) -> ssl.SSLContext:
    """A context that trusts the demo's authority and presents `identity` if given."""
    if identity is None:
        return client_context(ServerTrust(authority.certificate_file, strict=True))
    own = (identity.certificate_file, identity.key_file)
    return client_context(ServerTrust(authority.certificate_file, *own, strict=True))


async def ask(port: int, settings: ssl.SSLContext, head: str, body_size: int = 0) -> Reply:
    """Send one request with a body of `body_size` bytes, and read the whole response."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=settings, server_hostname="localhost"
        )
        try:
            writer.write(head.encode("ascii"))
            while body_size:
                step = min(body_size, _STEP)
                writer.write(b"x" * step)
                await writer.drain()
                body_size -= step
            received = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, size = b"", 0
            while data := await reader.read(_STEP):
                size += len(data)
                first = first or data[:65536]
            return Reply(int(received.split(" ", 2)[1]), received, first, size)
        finally:
            writer.close()
