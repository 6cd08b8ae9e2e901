"""The demo's TLS client: one request on a connection of its own."""

import asyncio
import ssl
from dataclasses import dataclass

from sidecar.trust.certification import Identity
from sidecar.trust.client_context import ServerTrust, client_context

SECONDS = 60.0
"""That an answer may take."""
_STEP = 262144


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    head: str
    body: bytes
    """The beginning of the body."""
    size: int
    """Bytes of the whole body."""

    def field(self, name: str) -> str:
        """A header field's value; empty when it is not there."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def context(authority: Identity, identity: Identity | None) -> ssl.SSLContext:
    """Trusts the demo's authority; presents `identity` when there is one."""
    if identity is None:
        return client_context(ServerTrust(authority.certificate_file, strict=True))
    own = (identity.certificate_file, identity.key_file)
    return client_context(ServerTrust(authority.certificate_file, *own, strict=True))


async def ask(port: int, settings: ssl.SSLContext, head: str, body_size: int = 0) -> Reply:
    """Send one request, with a body of `body_size` bytes, and read the whole answer."""
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
