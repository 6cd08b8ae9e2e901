"""An API that is there already, for the demo to stand in front of."""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

from sidecar.settings.problem import sanitize
from sidecar.settings.service_sections import upstream_url

_SECONDS = 3.0


class DemoFailed(Exception):
    """A part of the demo did not start: one sentence that says which, why, and what helps."""


async def reach(url: str) -> None:
    """Open a connection to the API, and close it. Raises `DemoFailed` when nobody answers there."""
    try:
        upstream_url(url)
    except ValueError as error:
        raise DemoFailed(f"--upstream: {error}") from None
    name = sanitize(url)
    try:
        async with asyncio.timeout(_SECONDS):
            writer = await _connection(url)
            writer.close()
    except TimeoutError:
        why = f"no answer in {_SECONDS:.0f} seconds"
    except ssl.SSLError as error:
        why = f"no TLS there: {(error.reason or 'the handshake failed').replace('_', ' ').lower()}"
    except OSError as error:
        why = _why(error)
    else:
        return
    raise DemoFailed(
        f"--upstream: nothing serves at {name}: {why}: start the API first, or name where it listens"
    )


async def _connection(url: str) -> asyncio.StreamWriter:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        _, writer = await asyncio.open_unix_connection(parts.path)
        return writer
    _, writer = await asyncio.open_connection(
        parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    )
    return writer


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if error.errno:
        return os.strerror(error.errno).lower()
    return "none of its addresses answers"  # asyncio: one failure for several addresses
