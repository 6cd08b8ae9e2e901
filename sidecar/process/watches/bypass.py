"""Checks whether the API can be reached past the sidecar, at the start and then once a minute.

Theory of operation: containers of a Pod share one network. An API that listens on 127.0.0.1 is reached through the
sidecar only; one that listens on 0.0.0.0 answers on the Pod's own address, too, and voids every check. So the
sidecar does what an attacker would do: it opens the API's port on each of its own addresses that is not loopback.
The look is taken by a task; `/readyz` and `/metrics` report the last one and never wait.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.process.endpoints.health import Check
from sidecar.proxy.configuration import ListenerSettings, UpstreamSettings
from sidecar.settings.configuration import Loaded
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Sample

OPENS_WITHIN = 1.0
"""Time in which an address must answer to count, in seconds."""
ADDRESSES = 64
"""Largest number of addresses to try in one look."""
METRIC = "sidecar_upstream_bypassable"
CHECK = "bypass"

_FIB_TRIE = Path("/proc/net/fib_trie")
_IF_INET6 = Path("/proc/net/if_inet6")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the addresses tried, and those where the API's port answered."""

    port: int
    tried: tuple[str, ...]
    answered: tuple[str, ...]

    @property
    def is_bypassable(self) -> bool:
        """Whether others can reach the API directly."""
        return bool(self.answered)

    def __str__(self) -> str:
        if not self.answered:
            return ""
        places = ", ".join(f"{address} port {self.port}" for address in self.answered)
        return f"the API answers on {places}, past the sidecar: let it listen on 127.0.0.1 only"


async def look(
    upstream: UpstreamSettings, listeners: Sequence[ListenerSettings], addresses: Sequence[str]
) -> Look:
    """Try the upstream's port on `addresses`, save where a listener of ours has it.

    An upstream on another host or on a Unix socket has nothing to try: who may reach it is not for a Pod to say.
    """
    if upstream.scheme == "unix" or not _is_here(upstream.host, addresses):
        return Look(upstream.port, (), ())
    ours = {one.host for one in listeners if one.port == upstream.port}
    tried = tuple(one for one in addresses[:ADDRESSES] if not ours & {one, "*", "", "0.0.0.0", "::"})  # noqa: S104  # compared
    found = await asyncio.gather(*(_answers(one, upstream.port) for one in tried))
    return Look(
        upstream.port,
        tried,
        tuple(one for one, answered in zip(tried, found, strict=True) if answered),
    )


class BypassWatch:
    """Looks periodically, keeps the last result, and logs a change."""

    def __init__(
        self,
        loaded: Callable[[], Loaded],
        journal: Journal,
        addresses: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """`loaded` is the configuration in force, asked for at each look."""
        self._loaded = loaded
        self._journal = journal
        self._addresses = addresses or own_addresses
        self.last: Look | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            settings = self._loaded().service.bypass
            if settings.enabled:
                await self.look_now()
            else:
                self.last = None
            await asyncio.sleep(settings.interval)

    async def look_now(self) -> Look:
        """Take one look, and log when the answer is new."""
        proxy = self._loaded().proxy
        addresses = await asyncio.to_thread(self._addresses)
        found = await look(proxy.upstream, proxy.listeners, addresses)
        before, self.last = self.last, found
        if found.is_bypassable and (before is None or before.answered != found.answered):
            self._journal.warning("upstream is bypassable", addresses=list(found.answered), port=found.port)
        elif before is not None and before.is_bypassable and not found.is_bypassable:
            self._journal.info("upstream is no longer bypassable", port=found.port)
        return found

    def checks(self) -> Iterator[Check]:
        """For `/readyz`: a warning, or with `refuse_when_bypassable` a reason not to be ready.

        With `refuse_when_bypassable` nothing is ready before the first look either.
        """
        settings = self._loaded().service.bypass
        if not settings.enabled:
            return
        if self.last is None:
            detail = "not looked yet" if settings.refuse_when_bypassable else ""
            yield Check(CHECK, ok=not settings.refuse_when_bypassable, detail=detail)
            return
        ok = not (self.last.is_bypassable and settings.refuse_when_bypassable)
        yield Check(CHECK, ok=ok, detail=str(self.last))

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`: 1 while the API can be reached past the sidecar."""
        if self.last is not None:
            yield Sample(METRIC, (), float(self.last.is_bypassable))


def own_addresses() -> list[str]:
    """The host's own addresses that a stranger could use: neither loopback nor link-local.

    From the kernel's tables; where it shows none (some sandboxes), from the host's own name.
    """
    found = dict.fromkeys((*_ipv4_addresses(), *_ipv6_addresses()))
    if not found:
        found = dict.fromkeys(_addresses_of_own_name())
    return [one for one in found if _is_reachable(one)]


def _ipv4_addresses() -> Iterator[str]:
    """`/32 host LOCAL` entries of the routing trie (the kernel's Documentation/networking/fib_trie.rst)."""
    last = ""
    for line in _lines(_FIB_TRIE):
        if line.startswith("|-- "):
            last = line.removeprefix("|-- ")
        elif line == "/32 host LOCAL":
            yield last


def _ipv6_addresses() -> Iterator[str]:
    for line in _lines(_IF_INET6):
        digits = line.split(" ", 1)[0]
        if len(digits) == 32:
            yield str(ipaddress.IPv6Address(int(digits, 16)))


def _addresses_of_own_name() -> Iterator[str]:
    try:
        entries = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return
    yield from (str(entry[4][0]) for entry in entries)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return []


def _is_reachable(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast)


def _is_here(host: str, addresses: Sequence[str]) -> bool:
    """Whether the upstream is on this host: on loopback, or on one of its own addresses."""
    if host.rstrip(".").lower() == "localhost" or host in addresses:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _answers(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(OPENS_WITHIN):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
