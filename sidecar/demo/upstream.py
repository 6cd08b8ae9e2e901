"""Checks an existing API that the demo is to protect."""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

from sidecar.settings.problem import sanitize
from sidecar.settings.service_sections import upstream_url

_SECONDS = 3.0
_ANSWER_SECONDS = 10.0


class DemoFailed(Exception):
    """A part of the demo did not start: one sentence that says which, why, and the cure."""


async def reach(url: str, path: str) -> None:
    """Request `path` from the API. Raises `DemoFailed` if nothing serves there, or something that does not speak
    HTTP.

    Over TLS only the TCP connection is tried: the sidecar itself reports whether the API's certificate is trusted.
    """
    try:
        upstream_url(url)
    except ValueError as error:
        raise DemoFailed(f"--upstream: {error}") from None
    name = sanitize(url)
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await _connection(url)
    except TimeoutError:
        why = f"no answer in {_SECONDS:.0f} seconds"
    except ssl.SSLError as error:
        why = f"no TLS there: {(error.reason or 'the handshake failed').replace('_', ' ').lower()}"
    except OSError as error:
        why = _why(error)
    else:
        try:
            if urlsplit(url).scheme != "https":
                await _speaks_http(reader, writer, name, path)
        finally:
            writer.close()
        return
    raise DemoFailed(f"--upstream: nothing serves at {name}: {why}: start the API first, or give its address")


async def _connection(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    return await asyncio.open_connection(
        parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    )


async def _speaks_http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, path: str
) -> None:
    """Send the HEAD request of the path that the demo will use. Raises `DemoFailed`."""
    writer.write(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            first = await reader.readexactly(5)
    except TimeoutError:
        why = f"it gave no answer to HEAD {path} in {_ANSWER_SECONDS:.0f} seconds"
        raise DemoFailed(f"--upstream: {name}: {why}: give a --path that it answers at once") from None
    except (OSError, asyncio.IncompleteReadError):
        first = b""
    if first != b"HTTP/":
        raise DemoFailed(
            f"--upstream: {name} does not answer in HTTP/1.1: give the URL of an API that does,"
            " or https:// if it uses TLS"
        )


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if error.errno:
        return os.strerror(error.errno).lower()
    return "none of its addresses answers"  # asyncio: one failure for several addresses
