"""The certificates that clients publish at a URL (RFC 8705 §2.2.2: `jwks_uri`): fetched, refreshed, kept during
outages.

Theory of operation. Each URL has the life cycle of an issuer's keys (`issuer.jwks`): it is fetched in the background,
refreshed according to `max-age`, and its last result is kept for a while if the URL cannot be reached. Certificates
are looked up in a set by thumbprint. An unknown certificate is refused at once, and the set is fetched again after
the refusal, within the cool-down of that URL: the client's next attempt finds it. No request waits, and no client can
cause more fetches of its own or another client's URL than the cool-down allows.
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
"""Maximum number of concurrent fetches, so that a start with thousands of clients does not send a burst."""


class CertificateOrigin:
    """A JWK set at a URL, and the certificates that it last contained. Implements `issuer.origin.KeyOrigin`."""

    interval = None

    def __init__(self, inner: KeyOrigin, turns: asyncio.Semaphore, observer: IssuerObserver) -> None:
        self.name = inner.name
        self.thumbprints: frozenset[bytes] = frozenset()
        self.ends = -inf
        """Seconds since the epoch: the end of the last certificate to expire."""
        self._inner = inner
        self._turns = turns
        self._observer = observer
        self._skipped: tuple[str, ...] = ()

    async def fetch(self) -> FetchedKeys | None:
        """Raises `FetchFailed`, also for a set without a certificate: the last good certificates stay in force."""
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
        """Take over the state of `predecessor`, which has the same URL."""
        self.thumbprints, self.ends = predecessor.thumbprints, predecessor.ends


class ClientKeys:
    """The certificates at one URL. Implements `decision.registered_client.method.RegisteredCertificates`."""

    def __init__(
        self, origin: CertificateOrigin, settings: RefreshSettings, observer: IssuerObserver, clock: Clock
    ) -> None:
        self._origin = origin
        self._keys = IssuerKeys(origin.name, origin, settings, observer, clock=clock)
        self._asking: asyncio.Task[None] | None = None

    @property
    def ends(self) -> float:
        """Seconds since the epoch: the end of the last certificate to expire; `-inf` if none is known."""
        return self._origin.ends

    def holds(self, thumbprint: bytes) -> bool:
        """See `RegisteredCertificates`. Also False if the known certificates are too old."""
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
            return  # the fetch itself reports it

    async def start(self) -> None:
        """Begin to fetch; does not wait."""
        await self._keys.start()

    async def idle(self) -> None:
        """Wait until no fetch for an unknown certificate is in progress."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def first_attempt(self) -> None:
        """Wait until the first fetch is over, with or without success."""
        await self._keys.first_attempt()

    def inherit(self, predecessor: Self) -> None:
        """Take over the state of an earlier configuration for the same URL."""
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
        """By URL, for `clients.registry`."""
        self._http = http

    async def start(self, predecessor: Self | None = None) -> None:
        """Begin to fetch, starting from the state of `predecessor`. Does not wait for any client."""
        for url, one in self.keys.items():
            before = None if predecessor is None else predecessor.keys.get(url)
            if before is not None:
                one.inherit(before)
            await one.start()

    async def close(self) -> None:
        """Stop fetching and close connections."""
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
    """Makes it, not started. Reads `clients_ca_file`: call it off the event loop. Raises `OSError`, `ValueError`."""
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
