"""An issuer behind a forward proxy that the settings name."""

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.issuer.configuration import HttpSettings
from sidecar.issuer.http import Fetched, FetchFailed, HttpClient
from tests.support.issuer import (
    JWKS_PATH,
    ScriptedIssuer,
    answer,
    server_context,
)
from tests.support.issuer_events import PLAIN
from tests.support.pki import Pki
from tests.support.processes import free_port

JSON = "application/json"


def fetched(url: str, settings: HttpSettings = PLAIN) -> Fetched:
    async def scenario() -> Fetched:
        client = HttpClient.create(settings)
        try:
            return await client.get(url, JSON)
        finally:
            await client.close()

    return asyncio.run(scenario())


def failed(url: str, settings: HttpSettings = PLAIN) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        fetched(url, settings)
    return caught.value


class ForwardProxy:
    """A proxy that relays CONNECT and refuses whoever does not authenticate, when told to."""

    def __init__(self, context: ssl.SSLContext | None = None, credentials: str | None = None) -> None:
        self.context = context
        self.expected = credentials and f"Basic {b64encode(credentials.encode()).decode()}"
        self.heads: list[str] = []
        self.relays: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        return int(self.server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_exc: object) -> None:
        self.server.close()
        if self.relays:  # both directions of a relay see the end of the other
            await asyncio.wait(self.relays, timeout=20)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.relays.add(task)
        try:
            await self.converse(reader, writer)
        finally:
            await ended(writer)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.expected is not None and self.expected not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = head.split()[1].rpartition(":")
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(relay(reader, upstream_writer), relay(upstream_reader, writer))
        finally:
            await ended(upstream_writer)


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def ended(writer: asyncio.StreamWriter) -> None:
    """Closes a connection and waits for its end: a TLS goodbye takes the other side's answer."""
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


def through_proxy(
    secure: ScriptedIssuer, settings: HttpSettings, proxy: ForwardProxy, runner: Callable[..., None]
) -> None:
    secure.answers[JWKS_PATH] = answer({})

    async def scenario() -> None:
        async with proxy as port:
            scheme = "http" if proxy.context is None else "https"
            client = HttpClient.create(replace(settings, proxy=f"{scheme}://localhost:{port}"))
            try:
                assert (await client.get(secure.jwks_url, JSON)).body == b"{}"
            finally:
                await client.close()

    runner(scenario())
    assert proxy.heads[0].startswith(f"CONNECT localhost:{secure.port} HTTP/1.1")


def run_on_uvloop(scenario: object) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)  # type: ignore[arg-type] # a coroutine


@pytest.mark.parametrize("runner", [asyncio.run, run_on_uvloop])
def test_https_issuer_is_reached_through_a_proxy(
    runner: Callable[..., None], secure: ScriptedIssuer, trusting: HttpSettings
) -> None:
    through_proxy(secure, trusting, ForwardProxy(), runner)


@pytest.mark.parametrize("runner", [asyncio.run, run_on_uvloop])
def test_https_issuer_is_reached_through_an_https_proxy(
    runner: Callable[..., None], secure: ScriptedIssuer, trusting: HttpSettings, pki: Pki
) -> None:
    through_proxy(secure, trusting, ForwardProxy(server_context(pki.server)), runner)


def test_proxy_credentials_come_from_a_file(
    secure: ScriptedIssuer, trusting: HttpSettings, tmp_path: Path
) -> None:
    credentials = tmp_path / "proxy-credentials"
    credentials.write_text("user:pass:word\n")
    settings = replace(trusting, proxy_credentials_file=credentials)
    through_proxy(secure, settings, ForwardProxy(credentials="user:pass:word"), asyncio.run)


def test_proxy_that_refuses_us_is_named_status(secure: ScriptedIssuer, trusting: HttpSettings) -> None:
    proxy = ForwardProxy(credentials="user:other")
    with pytest.raises(FetchFailed) as caught:
        through_proxy(secure, trusting, proxy, asyncio.run)
    assert caught.value.phase == "status"
    assert "407" in caught.value.detail


def test_proxy_that_is_down_is_named_connect(secure: ScriptedIssuer, trusting: HttpSettings) -> None:
    failure = failed(secure.jwks_url, replace(trusting, proxy=f"http://127.0.0.1:{free_port()}"))
    assert failure.phase == "connect"
    assert "proxy" in failure.detail
