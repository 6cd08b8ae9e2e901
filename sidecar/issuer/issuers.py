"""All configured issuers at once: the `KeySource` and `TokenIntrospector` that the composition root hands out.

Each issuer has its own connections, keys, caches and limits; nothing is shared and nothing is ever sent to an issuer
that the configuration did not name.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import (
    Discovery,
    IssuerSettings,
    IssuersSettings,
    JwksFile,
    JwksUrl,
)
from sidecar.issuer.http import HttpClient
from sidecar.issuer.jwks import IssuerKeys
from sidecar.issuer.keys import NO_KEYS, PublishedKeys
from sidecar.issuer.metadata import MetadataSource
from sidecar.issuer.origin import DiscoveredOrigin, FileOrigin, Origin, UrlOrigin
from sidecar.issuer.readiness import Readiness, readiness
from sidecar.issuer.state import StateFile
from sidecar.telemetry.issuer_observer import IssuerObserver


@dataclass(slots=True, eq=False)
class _Issuer:
    """What belongs to one issuer."""

    settings: IssuerSettings
    http: HttpClient
    keys: IssuerKeys | None

    async def start(self) -> None:
        if self.keys is not None:
            await self.keys.start()

    async def close(self) -> None:
        if self.keys is not None:
            await self.keys.close()
        await self.http.close()


class Issuers:
    """Implements `decision.ports.KeySource` for all configured issuers."""

    def __init__(
        self, settings: IssuersSettings, observer: IssuerObserver, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}
        self._ever_ready: frozenset[str] = frozenset()

    # --- life cycle

    async def start(self) -> None:
        """Load what is on disk and begin to fetch; does not wait for issuers.

        Raises `OSError` and `ssl.SSLError` when a file that the settings name cannot be used.
        """
        for settings in self._settings.issuers:
            self._issuers[settings.issuer] = issuer = await self._made(settings)
            await issuer.start()

    async def close(self) -> None:
        """Stop fetching and close all connections."""
        issuers, self._issuers = self._issuers, {}
        await asyncio.gather(*(issuer.close() for issuer in issuers.values()))

    async def reconfigure(self, settings: IssuersSettings, generation: int) -> None:
        """Take new settings; an issuer whose settings are the same keeps its keys.

        `generation` is that of the configuration. On any error everything stays as it was. Raises as `start` does.
        """
        kept = {
            one.issuer: self._issuers[one.issuer]
            for one in settings.issuers
            if one.issuer in self._issuers
            and self._issuers[one.issuer].settings == one
            and settings.state_directory == self._settings.state_directory
        }
        made: dict[str, _Issuer] = {}
        try:
            for one in settings.issuers:
                if one.issuer not in kept:
                    made[one.issuer] = await self._made(one)
        except BaseException:
            await asyncio.gather(*(issuer.close() for issuer in made.values()))
            raise
        for issuer in made.values():
            await issuer.start()
        gone = [issuer for issuer in self._issuers.values() if issuer not in kept.values()]
        self._settings, self._issuers = settings, kept | made
        await asyncio.gather(*(issuer.close() for issuer in gone))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    # --- KeySource

    def keys(self, issuer: str) -> PublishedKeys:
        """The keys in force; raises `IssuerUnavailable`."""
        keys = self._named(issuer).keys
        return NO_KEYS if keys is None else keys.current()

    def may_refresh(self, issuer: str, kid: str | None) -> bool:
        """Whether `refreshed` could bring something new now."""
        found = self._issuers.get(issuer)
        return found is not None and found.keys is not None and found.keys.may_refresh(kid)

    async def refreshed(self, issuer: str, kid: str | None) -> PublishedKeys:
        """The keys after at most one forced fetch; raises `IssuerUnavailable`."""
        keys = self._named(issuer).keys
        return NO_KEYS if keys is None else await keys.refreshed(kid)

    # --- readiness

    def readiness(self, needed: frozenset[str] | None = None) -> Readiness:
        """For `/readyz` and metrics. `needed`: issuers that some rule accepts; None: all with keys."""
        states = [issuer.keys.state() for issuer in self._issuers.values() if issuer.keys is not None]
        self._ever_ready |= {state.issuer for state in states if state.is_ready}
        wanted = frozenset(state.issuer for state in states) if needed is None else needed
        return readiness(states, wanted, self._ever_ready)

    # --- construction

    def _named(self, issuer: str) -> _Issuer:
        found = self._issuers.get(issuer)
        if found is None:  # a request that was under way when a reload took the issuer out
            raise IssuerUnavailable(issuer, "not_configured", 1)
        return found

    async def _made(self, settings: IssuerSettings) -> _Issuer:
        http = await asyncio.to_thread(HttpClient.create, settings.http)
        if settings.http.insecure_plain_http_anyone_can_forge_keys:
            self._observer.issuer_incident(
                settings.issuer,
                "insecure_http",
                "http URLs are allowed: whoever is on the path chooses the keys",
            )
        return _Issuer(settings, http, self._keys_of(settings, http))

    def _keys_of(self, settings: IssuerSettings, http: HttpClient) -> IssuerKeys | None:
        origin = self._origin_of(settings, http)
        if origin is None:
            return None
        directory = self._settings.state_directory
        state = (
            StateFile(directory, settings.issuer, origin.name)
            if directory is not None and origin.interval is None
            else None
        )
        return IssuerKeys(
            settings.issuer, origin, settings.refresh, self._observer, state=state, clock=self._clock
        )

    def _origin_of(self, settings: IssuerSettings, http: HttpClient) -> Origin | None:
        match settings.keys:
            case JwksFile():
                return FileOrigin(settings.keys, settings.http.document_bytes)
            case JwksUrl():
                return UrlOrigin(settings.keys.url, http)
            case Discovery():
                lifetime = settings.refresh.maximum_interval
                metadata = MetadataSource(settings.issuer, settings.keys, http, lifetime, self._clock)
                return DiscoveredOrigin(settings.issuer, metadata, http)
            case None:
                return None
