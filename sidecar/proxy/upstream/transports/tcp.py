"""The upstream over TCP. Names are looked up again every `resolve_interval`, and each address is tried in turn."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from sidecar.proxy.configuration import UpstreamSettings


class Addresses:
    """The addresses of one host, looked up again when they are old; the last good ones outlive a failing look-up."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._host, self._port = settings.host, settings.port
        self._interval = settings.resolve_interval
        self._known: tuple[str, ...] = ()
        self._fresh_until = 0.0
        try:
            self._known = (str(ipaddress.ip_address(self._host)),)
            self._fresh_until = float("inf")
        except ValueError:
            pass

    async def get(self, loop: asyncio.AbstractEventLoop) -> tuple[str, ...]:
        """Addresses to try, in order. Raises `OSError` when there never were any."""
        if loop.time() < self._fresh_until:
            return self._known
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._known = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        except OSError:
            if not self._known:
                raise
        self._fresh_until = loop.time() + self._interval
        return self._known


def connector(
    settings: UpstreamSettings,
) -> Callable[
    [asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol], UpstreamSettings], Awaitable[asyncio.Protocol]
]:
    """A `Connect` for one upstream."""
    addresses = Addresses(settings)

    async def connect(
        loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], settings: UpstreamSettings
    ) -> asyncio.Protocol:
        last: OSError | None = None
        for address in await addresses.get(loop):
            try:
                _, protocol = await loop.create_connection(factory, address, settings.port)
            except OSError as error:
                last = error
            else:
                return protocol
        raise last or OSError(f"{settings.host} has no address")

    return connect
