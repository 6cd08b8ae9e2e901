"""All configured issuers: the `KeySource` and `TokenIntrospector` of the composition root.

Each issuer has its own connections, keys, caches and limits. Nothing is shared, and nothing is ever sent to an issuer
that is not configured.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from sidecar.decision.keys_in_force import KeyRegister
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import AccessToken, ValidatedToken
from sidecar.issuer.assembly import Issuer, Shared, assemble
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import IssuerSettings, IssuersSettings
from sidecar.issuer.introspection import IssuerIntrospection
from sidecar.issuer.keys import NO_KEYS, PublishedKeys
from sidecar.issuer.readiness import Readiness, readiness
from sidecar.telemetry.issuer_observer import IssuerObserver


@dataclass(frozen=True, slots=True)
class PreparedIssuers:
    """Settings ready to be adopted, with the issuers that are new or changed."""

    settings: IssuersSettings
    generation: int
    made: dict[str, Issuer]

    async def close(self) -> None:
        """Close the issuers: they will not be adopted."""
        await asyncio.gather(*(issuer.close() for issuer in self.made.values()))


class Issuers:
    """Implements `decision.ports.KeySource` and `decision.ports.TokenIntrospector`."""

    def __init__(
        self,
        settings: IssuersSettings,
        observer: IssuerObserver,
        *,
        generation: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        reload_waits: float = 5.0,
    ) -> None:
        """`generation` is that of the configuration: answers of one are never used under another.

        `reload_waits`: seconds for which a reload waits for the first keys of new issuers before it takes effect.
        """
        self._settings = settings
        self._observer = observer
        self._generation = generation
        self._clock = clock
        self._reload_waits = reload_waits
        self._issuers: dict[str, Issuer] = {}
        self.in_force = KeyRegister()
        """What `keys` would say is in force, for each request."""
        self._retiring: dict[asyncio.Task[None], Issuer] = {}
        self._was_ready = False

    # --- life cycle

    async def start(self) -> None:
        """Load saved keys and begin to fetch; does not wait for issuers.

        Raises `OSError` and `ValueError` for unusable files.
        """
        made = await self._all_assembled(self._settings, self._generation)
        for issuer in made.values():
            await issuer.start()
        self._employ(made)

    async def close(self) -> None:
        """Stop fetching and close all connections."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        issuers = [*self._issuers.values(), *retiring.values()]
        self._employ({})
        await asyncio.gather(*(issuer.close() for issuer in issuers))

    async def reconfigure(self, settings: IssuersSettings, generation: int) -> None:
        """Prepare and adopt new settings: see `prepared`."""
        self.adopt(await self.prepared(settings, generation))

    async def prepared(self, settings: IssuersSettings, generation: int) -> PreparedIssuers:
        """New settings, ready to be adopted with their policy, or to be closed.

        An issuer with unchanged settings continues. One with changed settings keeps its keys if their origin is the
        same; otherwise its first fetch is waited for, up to `reload_waits`, so that a reload alone refuses no
        request. Raises as `start` does; nothing changes until `adopt`.
        """
        made = await self._all_assembled(settings, generation)
        prepared = PreparedIssuers(settings, generation, made)
        try:
            for name, issuer in made.items():
                self._hand_over(self._issuers.get(name), issuer)
                await issuer.start()
            await _first_attempts(made.values(), self._reload_waits)
        except BaseException:
            await prepared.close()
            raise
        return prepared

    def adopt(self, prepared: PreparedIssuers) -> None:
        """Use the prepared issuers from now on. Requests in progress get their results from the old ones."""
        settings, generation, made = prepared.settings, prepared.generation, prepared.made
        before = self._issuers
        self._employ({one.issuer: made.get(one.issuer) or before[one.issuer] for one in settings.issuers})
        self._settings, self._generation = settings, generation
        for issuer in self._issuers.values():
            if issuer.introspection is not None:
                issuer.introspection.adopt(generation)
        kept = set(self._issuers.values())
        for issuer in before.values():
            if issuer not in kept:
                self._retire(issuer)

    def _employ(self, issuers: dict[str, Issuer]) -> None:
        self._issuers = issuers
        self.in_force.adopt(
            {name: issuer.keys.in_force for name, issuer in issuers.items() if issuer.keys is not None}
        )

    def _hand_over(self, old: Issuer | None, new: Issuer) -> None:
        if old is not None and old.keys is not None and new.keys is not None:
            new.keys.inherit(old.keys)

    def _retire(self, issuer: Issuer) -> None:
        task = asyncio.create_task(issuer.retire(), name=f"end of {issuer.settings.issuer}")
        self._retiring[task] = issuer
        task.add_done_callback(self._retiring.pop)

    async def _all_assembled(self, settings: IssuersSettings, generation: int) -> dict[str, Issuer]:
        """The issuers that are new or changed."""
        made: dict[str, Issuer] = {}
        try:
            for one in settings.issuers:
                if not self._is_kept(one, settings):
                    made[one.issuer] = await self._assembled(one, settings, generation)
        except BaseException:
            await asyncio.gather(*(issuer.close() for issuer in made.values()))
            raise
        return made

    def _is_kept(self, one: IssuerSettings, settings: IssuersSettings) -> bool:
        known = self._issuers.get(one.issuer)
        same_place = settings.state_directory == self._settings.state_directory
        return known is not None and known.settings == one and same_place

    async def _assembled(self, one: IssuerSettings, settings: IssuersSettings, generation: int) -> Issuer:
        if one.http.insecure_plain_http_anyone_can_forge_keys:
            self._observer.issuer_incident(
                one.issuer, "insecure_http", "http is allowed: whoever is on the path chooses the keys"
            )
        given = Shared(self._observer, self._clock, settings.state_directory, generation)
        return await assemble(one, given)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    # --- KeySource

    def keys(self, issuer: str) -> PublishedKeys:
        """The keys in force. Raises `IssuerUnavailable`. An issuer without keys has none in force."""
        found = self._issuers.get(issuer) or self._named(issuer)
        return NO_KEYS if found.keys is None else found.keys.current()

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """Whether `refreshed` could return something new."""
        found = self._issuers.get(issuer)
        return found is not None and found.keys is not None and found.keys.may_refresh(kid, source)

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> PublishedKeys:
        """The keys after a fetch that began after this call, if a fetch may help. Raises `IssuerUnavailable`."""
        keys = self._named(issuer).keys
        return NO_KEYS if keys is None else await keys.refreshed(kid, source)

    # --- TokenIntrospector

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """The cached answer: a token, False for inactive, None if there is none; no I/O.

        Raises `Denied` as `introspect` does, and `IssuerUnavailable` if this issuer has no introspection.
        """
        return self._introspection(issuer).cached(token)

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Ask the issuer; False means inactive. Raises `IssuerUnavailable` and `Denied`."""
        return await self._introspection(issuer).introspect(token, source)

    # --- readiness

    def readiness(self, needed: frozenset[str] | None = None) -> Readiness:
        """For `/readyz` and metrics. `needed`: issuers that some rule accepts; None: all that have keys."""
        states = [issuer.keys.state() for issuer in self._issuers.values() if issuer.keys is not None]
        wanted = frozenset(state.issuer for state in states) if needed is None else needed
        found = readiness(states, wanted, was_ready=self._was_ready)
        self._was_ready = found.is_ready
        return found

    # --- inside

    def _named(self, issuer: str) -> Issuer:
        found = self._issuers.get(issuer)
        if found is None:  # a request in progress when a reload removed the issuer
            raise IssuerUnavailable(issuer, "not_configured", 1)
        return found

    def remembered(self) -> Iterator[tuple[str, int]]:
        """Issuers with introspection, and the number of cached answers of each."""
        for issuer in self._issuers.values():
            if issuer.introspection is not None:
                yield issuer.settings.issuer, issuer.introspection.remembered

    def _introspection(self, issuer: str) -> IssuerIntrospection:
        introspection = self._named(issuer).introspection
        if introspection is None:
            raise IssuerUnavailable(issuer, "not_configured", 1)
        return introspection


async def _first_attempts(issuers: Iterable[Issuer], within: float) -> None:
    """Wait until each has tried to fetch its keys, at most `within` seconds."""
    attempts = [
        asyncio.create_task(issuer.keys.first_attempt()) for issuer in issuers if issuer.keys is not None
    ]
    if not attempts:
        return
    _, late = await asyncio.wait(attempts, timeout=within)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
