"""The ways to the upstream. A new one is one module with `connect`, and a row here."""

import asyncio
from collections.abc import Awaitable, Callable
from types import MappingProxyType

from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.transports import tcp, tls, unix

Connect = Callable[
    [asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol], UpstreamSettings], Awaitable[asyncio.Protocol]
]
"""Opens one connection and returns its protocol; raises `OSError` (and `ssl.SSLError`, which is one)."""

TRANSPORTS: MappingProxyType[str, Callable[[UpstreamSettings], Connect]] = MappingProxyType(
    {"http": tcp.connector, "https": tls.connector, "unix": unix.connector}
)
