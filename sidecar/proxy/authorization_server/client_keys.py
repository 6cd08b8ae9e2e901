"""The certificates that clients publish at a URL (RFC 8705 §2.2.2: `jwks_uri`): fetched, renewed, kept through outages.

Theory of operation. It is the life cycle of an issuer's keys (`issuer.jwks`), once for each URL: fetched in the
background, renewed as `max-age` says, kept for a while when the URL is out of reach. What is looked for in a set is
its certificates, by thumbprint. A certificate that is not there is refused at once and the set is fetched again after
the refusal, under the cool-down of that URL: the client's next attempt finds it. So nobody waits, and nobody can have a
URL asked more often than the cool-down lets them, nor another client's.
"""

import asyncio
from collections.abc import Iterable
from math import inf
from typing import Final, Self

from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.strict import base64url_text
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import HttpSettings, RefreshSettings
from sidecar.issuer.http import FetchFailed, HttpClient
from sidecar.issuer.jwks import IssuerKeys
from sidecar.issuer.origin import FetchedKeys, KeyOrigin, UrlOrigin
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.authorization_server.published import published_certificates
from sidecar.telemetry.issuer_observer import IssuerObserver, KeySkipped

REFRESH: Final = RefreshSettings()
_AT_ONCE: Final = 8
"""URLs that are fetched at the same time, so that a start with thousands of clients is no flood."""


class CertificateOrigin:
    """A JWK set at a URL, and the certificates that it held last. Implements `issuer.origin.KeyOrigin`."""

    interval = None

    def __init__(self, inner: KeyOrigin, turns: asyncio.Semaphore, observer: IssuerObserver) -> None:
        self.name = inner.name
        self.thumbprints: frozenset[bytes] = frozenset()
        self.ends = -inf
        """When the last of them ends, seconds since the epoch."""
        self._inner = inner
        self._turns = turns
        self._observer = observer
        self._skipped: tuple[str, ...] = ()

    async def fetch(self) -> FetchedKeys | None:
        """Raises `FetchFailed`, also for a set that holds no certificate: the last good ones stay in force."""
        async with self._turns:
            fetched = await self._inner.fetch()
        if fetched is None:
            return None
        try:
            found = await asyncio.to_thread(published_certificates, fetched.document)
        except ValueError as problem:
            raise FetchFailed("parse", str(problem)) from problem
        if found.skipped != self._skipped:
            self._skipped = found.skipped
            for one in found.skipped:
                self._observer.key_skipped(KeySkipped(self.name, one.partition(":")[0], "x5c", one))
        if not found.certificates:
            raise FetchFailed("parse", "no key has a certificate (`x5c`) that can be used")
        self.thumbprints = found.thumbprints
        self.ends = max(one.not_after for one in found.certificates)
        return FetchedKeys({"keys": list(found.keys)}, fetched.max_age)

    def inherit(self, predecessor: Self) -> None:
        """Know what `predecessor` knew of the same URL."""
        self.thumbprints, self.ends = predecessor.thumbprints, predecessor.ends


class ClientKeys:
    """What one URL publishes. Implements `decision.registered_client.method.RegisteredCertificates`."""

    def __init__(
        self, origin: CertificateOrigin, settings: RefreshSettings, observer: IssuerObserver, clock: Clock
    ) -> None:
        self._origin = origin
        self._keys = IssuerKeys(origin.name, origin, settings, observer, clock=clock)
        self._asking: asyncio.Task[None] | None = None

    @property
    def ends(self) -> float:
        """When the last certificate ends, seconds since the epoch; `-inf` when none is known."""
        return self._origin.ends

    def holds(self, thumbprint: bytes) -> bool:
        """See `RegisteredCertificates`. False, too, once what is known is too old to count."""
        try:
            self._keys.current()
        except IssuerUnavailable:
            return False
        return thumbprint in self._origin.thumbprints

    def missed(self, thumbprint: bytes) -> None:
        """See `RegisteredCertificates`."""
        if self._asking is None or self._asking.done():
            name = base64url_text(thumbprint)
            if self._keys.may_refresh(name):
                self._asking = asyncio.get_running_loop().create_task(self._ask(name))

    async def _ask(self, name: str) -> None:
        try:
            await self._keys.refreshed(name)
        except IssuerUnavailable:
            return  # told by the fetch itself

    async def start(self) -> None:
        """Begin to fetch; does not wait."""
        await self._keys.start()

    async def idle(self) -> None:
        """Until nothing that was missed is being asked for."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def first_attempt(self) -> None:
        """Until the first fetch is over, well or badly."""
        await self._keys.first_attempt()

    def inherit(self, predecessor: Self) -> None:
        """Go on with what an earlier configuration knew of the same URL."""
        self._keys.inherit(predecessor._keys)
        self._origin.inherit(predecessor._origin)

    async def close(self) -> None:
        """Stop fetching."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._keys.close()


class PublishedByClients:
    """All URLs of one configuration."""

    def __init__(self, keys: dict[str, ClientKeys], http: HttpClient | None) -> None:
        self.keys = keys
        """By URL: what `clients.registry` is given."""
        self._http = http

    async def start(self, predecessor: Self | None = None) -> None:
        """Begin to fetch; what `predecessor` knew counts on. Does not wait for any client."""
        for url, one in self.keys.items():
            before = None if predecessor is None else predecessor.keys.get(url)
            if before is not None:
                one.inherit(before)
            await one.start()

    async def close(self) -> None:
        """Stop fetching, close connections."""
        for one in self.keys.values():
            await one.close()
        if self._http is not None:
            await self._http.close()


def published_by_clients(
    settings: AuthorizationServerSettings,
    observer: IssuerObserver,
    clock: Clock = SYSTEM_CLOCK,
    refresh: RefreshSettings = REFRESH,
    http: HttpSettings | None = None,
) -> PublishedByClients:
    """Not started. Reads `clients_ca_file`: not on the event loop. Raises `OSError`, `ValueError`."""
    urls = dict.fromkeys(_urls(settings))
    if not urls:
        return PublishedByClients({}, None)
    client = HttpClient.create(http or HttpSettings(ca_file=settings.clients_ca_file))
    turns = asyncio.Semaphore(_AT_ONCE)
    return PublishedByClients(
        {
            url: ClientKeys(
                CertificateOrigin(UrlOrigin(url, client), turns, observer), refresh, observer, clock
            )
            for url in urls
        },
        client,
    )


def _urls(settings: AuthorizationServerSettings) -> Iterable[str]:
    return (one.jwks_url for one in settings.clients if one.jwks_url is not None)
