"""The upstream over TLS: its certificate is always verified, against its own CA when one is named."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.transports.tcp import Addresses, reach
from sidecar.trust.client_context import ServerTrust, client_context


def upstream_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """With our own certificate when there is one. Raises `OSError` for unusable files."""
    tls = settings.tls
    trust = ServerTrust(tls.ca_file, tls.certificate_file, tls.private_key_file, tls.strict_certificates)
    return client_context(trust, (settings.protocol,))


def connector(
    settings: UpstreamSettings,
) -> Callable[
    [asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol], UpstreamSettings], Awaitable[asyncio.Protocol]
]:
    """A `Connect` for one upstream."""
    context, addresses = upstream_context(settings), Addresses(settings)

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
