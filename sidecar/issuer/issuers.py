"""All configured issuers at once: the `KeySource` and `TokenIntrospector` that the composition root hands out.

Each issuer has its own connections, keys, caches and limits; nothing is shared, and nothing is ever sent to an issuer
that the configuration did not name.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

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
    """Settings that may be adopted, with the issuers that are new or changed under them."""

    settings: IssuersSettings
    generation: int
    made: dict[str, Issuer]

    async def close(self) -> None:
        """They will not be adopted."""
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

        `reload_waits`: seconds in which the first keys of new issuers may come before a reload takes effect.
        """
        self._settings = settings
        self._observer = observer
        self._generation = generation
        self._clock = clock
        self._reload_waits = reload_waits
        self._issuers: dict[str, Issuer] = {}
        self._retiring: dict[asyncio.Task[None], Issuer] = {}
        self._was_ready = False

    # --- life cycle

    async def start(self) -> None:
        """Load what is on disk and begin to fetch; does not wait for issuers.

        Raises `OSError` and `ValueError` when a file that the settings name cannot be used.
        """
        made = await self._all_assembled(self._settings, self._generation)
        for issuer in made.values():
            await issuer.start()
        self._issuers = made

    async def close(self) -> None:
        """Stop fetching and close all connections."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        issuers, self._issuers = [*self._issuers.values(), *retiring.values()], {}
        await asyncio.gather(*(issuer.close() for issuer in issuers))

    async def reconfigure(self, settings: IssuersSettings, generation: int) -> None:
        """Take new settings, in both steps: see `prepared`."""
        self.adopt(await self.prepared(settings, generation))

    async def prepared(self, settings: IssuersSettings, generation: int) -> PreparedIssuers:
        """New settings, ready to be adopted with the policy that goes with them, or to be closed.

        An issuer whose settings are the same goes on undisturbed. One whose settings changed goes on with its keys
        when they still come from the same place; else its first fetch is waited for, within reason, so that a
        reload by itself refuses nobody. Raises as `start` does; nothing has changed until `adopt`.
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
        """Use what was prepared from now on, at once. Requests under way get their answers."""
        settings, generation, made = prepared.settings, prepared.generation, prepared.made
        before = self._issuers
        self._issuers = {one.issuer: made.get(one.issuer) or before[one.issuer] for one in settings.issuers}
        self._settings, self._generation = settings, generation
        for issuer in self._issuers.values():
            if issuer.introspection is not None:
                issuer.introspection.adopt(generation)
        kept = set(self._issuers.values())
        for issuer in before.values():
            if issuer not in kept:
                self._retire(issuer)

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
        """The keys in force; raises `IssuerUnavailable`. An issuer without keys has none in force."""
        found = self._issuers.get(issuer) or self._named(issuer)
        return NO_KEYS if found.keys is None else found.keys.current()

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        """Whether `refreshed` could bring something new."""
        found = self._issuers.get(issuer)
        return found is not None and found.keys is not None and found.keys.may_refresh(kid, source)

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> PublishedKeys:
        """The keys after a fetch that began after this call, when that may help; raises `IssuerUnavailable`."""
        keys = self._named(issuer).keys
        return NO_KEYS if keys is None else await keys.refreshed(kid, source)

    # --- TokenIntrospector

    def cached(self, token: AccessToken, issuer: str) -> ValidatedToken | bool | None:
        """The answer that is already here: a token, False for inactive, None for not asked yet; no I/O.

        Raises `Denied` as `introspect` does, and `IssuerUnavailable` when this issuer is not asked about tokens.
        """
        return self._introspection(issuer).cached(token)

    async def introspect(self, token: AccessToken, issuer: str, source: str = "") -> ValidatedToken | bool:
        """Ask; False means inactive. Raises `IssuerUnavailable` and `Denied`."""
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
        if found is None:  # a request that was under way when a reload took the issuer out
            raise IssuerUnavailable(issuer, "not_configured", 1)
        return found

    def remembered(self) -> Iterator[tuple[str, int]]:
        """Issuers that are asked about tokens, and how many answers of each are in its cache."""
        for issuer in self._issuers.values():
            if issuer.introspection is not None:
                yield issuer.settings.issuer, issuer.introspection.remembered

    def _introspection(self, issuer: str) -> IssuerIntrospection:
        introspection = self._named(issuer).introspection
        if introspection is None:
            raise IssuerUnavailable(issuer, "not_configured", 1)
        return introspection


async def _first_attempts(issuers: Iterable[Issuer], within: float) -> None:
    """Until each has tried to fetch its keys, at most `within` seconds."""
    attempts = [
        asyncio.create_task(issuer.keys.first_attempt()) for issuer in issuers if issuer.keys is not None
    ]
    if not attempts:
        return
    _, late = await asyncio.wait(attempts, timeout=within)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
