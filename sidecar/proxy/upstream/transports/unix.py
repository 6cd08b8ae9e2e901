"""The upstream over a Unix domain socket: nothing else in the Pod's network can reach it."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.proxy.configuration import UpstreamSettings


def connector(
    _settings: UpstreamSettings,
) -> Callable[
    [asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol], UpstreamSettings], Awaitable[asyncio.Protocol]
]:
    """A `Connect` for one upstream."""

    async def connect(
        loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], settings: UpstreamSettings
    ) -> asyncio.Protocol:
        _, protocol = await loop.create_unix_connection(factory, settings.path)
        return protocol

    return connect
