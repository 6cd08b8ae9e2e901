"""The upstream over TLS: its certificate is always verified, against its own CA when one is named."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.transports.tcp import Addresses, reach


def client_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """TLS 1.2 or later, name and chain verified; with our own certificate when there is one.

    Raises `OSError` or `ssl.SSLError` for unusable files.
    """
    context = ssl.create_default_context(cafile=settings.tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.tls.certificate_file is not None:
        context.load_cert_chain(settings.tls.certificate_file, settings.tls.private_key_file)
    return context


def connector(
    settings: UpstreamSettings,
) -> Callable[
    [asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol], UpstreamSettings], Awaitable[asyncio.Protocol]
]:
    """A `Connect` for one upstream."""
    context, addresses = client_context(settings), Addresses(settings)

    async def connect(
        loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], settings: UpstreamSettings
    ) -> asyncio.Protocol:
        name = settings.tls.server_name or settings.host
        return await reach(
            addresses,
            loop,
            settings.connect_timeout,
            lambda address: loop.create_connection(
                factory, address, settings.port, ssl=context, server_hostname=name
            ),
        )

    return connect
