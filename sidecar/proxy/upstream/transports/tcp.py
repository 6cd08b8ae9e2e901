"""The upstream over TCP.

Names are looked up again every `resolve_interval`, and at once when no address answers. The address that answered
last is tried first; each gets its share of the time, so that a dead one cannot use it up.
"""

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
        self._is_literal = False
        try:
            self._known = (str(ipaddress.ip_address(self._host)),)
            self._fresh_until = float("inf")
            self._is_literal = True
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

    def demote(self, address: str) -> None:
        """An address did not answer: it is tried last from now on."""
        others = tuple(known for known in self._known if known != address)
        if len(others) < len(self._known):
            self._known = (*others, address)

    def expire(self) -> None:
        """No address answered: the next connection looks them up again."""
        if not self._is_literal:
            self._fresh_until = 0.0


async def reach(
    addresses: Addresses,
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    connect: Callable[[str], Awaitable[tuple[object, asyncio.Protocol]]],
) -> asyncio.Protocol:
    """The protocol on the first address where `connect` succeeds. Raises `OSError`, of which `TimeoutError` is one."""
    failure: OSError | None = None
    found = await addresses.get(loop)
    for address in found:
        try:
            async with asyncio.timeout(seconds / len(found)):
                _, protocol = await connect(address)
        except OSError as error:
            failure = error
            addresses.demote(address)
        else:
            return protocol
    addresses.expire()
    raise failure or OSError("the host has no address")


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
        return await reach(
            addresses,
            loop,
            settings.connect_timeout,
            lambda address: loop.create_connection(factory, address, settings.port),
        )

    return connect
