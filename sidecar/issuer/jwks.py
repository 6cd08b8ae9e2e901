"""The keys of one issuer: fetched, refreshed, kept during outages, dropped when too old.

Theory of operation. One background task fetches the set before it expires, according to the issuer's `max-age` within
configured limits, at a random time slightly before; after a failure it tries again with growing pauses. Requests use
the keys in memory and do not fetch. A request whose `kid` is unknown, or whose signature fails, may ask for a forced
fetch.

There is one fetch at a time for all requests. Forced fetches are separated by a cool-down. A request during the
cool-down waits for its end and shares the next fetch, so that a rotated key causes a pause and not a refusal for its
first user; the number of waiting requests is limited. A `kid` that is missing even in a set fetched after the request
is refused for a while without a new fetch.

When fetching fails, the last good keys are used until the staleness budget ends, even after a restart (from a state
file). After that, or if there never were any, `IssuerUnavailable` is raised. It is also raised for an unknown `kid`
while the issuer cannot be reached, because the issuer may have published that key in the meantime.
"""

import asyncio
import contextlib
import math
import random
from collections import OrderedDict
from hashlib import blake2b
from typing import Self

from sidecar.decision.keys_in_force import KeysInForce
from sidecar.decision.ports import IssuerUnavailable, VerificationKey
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import RefreshSettings
from sidecar.issuer.http import FetchFailed
from sidecar.issuer.keys import NO_KEYS, NotAKeySet, PublishedKeys, load_key_set
from sidecar.issuer.origin import FetchedKeys, KeyOrigin
from sidecar.issuer.readiness import KeyState
from sidecar.issuer.shares import Shares
from sidecar.issuer.state import StateFile, StateUnusable
from sidecar.telemetry.issuer_observer import IssuerObserver, KeySkipped, KeysRefreshed

_NAMED_SKIPPED_KEYS = 20
"""Maximum number of skipped keys that one fetch names in the log; all are counted."""


class RefusedKids:
    """`kid` values that a fresh set did not contain, remembered for a while: bounded, the oldest removed first.

    Each applies to the source that sent it only, so that no client can have a future `kid` refused to others.
    """

    def __init__(self, capacity: int, lifetime: float) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._entries: OrderedDict[bytes, tuple[float, VerificationKey | None]] = OrderedDict()

    def add(self, kid: str | None, key: VerificationKey | None, source: str, now: float) -> None:
        """Remember that a fetch did not change `kid`, which `source` sent; `key` is its key, None if there is none."""
        name = self._name(kid, source)
        self._entries[name] = (now + self._lifetime, key)
        self._entries.move_to_end(name)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def holds(self, kid: str | None, key: VerificationKey | None, source: str, now: float) -> bool:
        """Whether a fetch for `kid` is pointless; `key` is its present key."""
        expires, known = self._entries.get(self._name(kid, source), (0.0, None))
        return now < expires and known is key

    @staticmethod
    def _name(kid: str | None, source: str) -> bytes:
        """A digest: values from clients are not kept, and all entries have the same size."""
        named = f"{source}\n" if kid is None else f"{source}\n={kid}"
        return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class IssuerKeys:
    """The keys of one issuer. Call `start`, read `current`, call `close`."""

    def __init__(
        self,
        issuer: str,
        origin: KeyOrigin,
        settings: RefreshSettings,
        observer: IssuerObserver,
        *,
        state: StateFile | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._issuer = issuer
        self._origin = origin
        self._settings = settings
        self._observer = observer
        self._state = state
        self._clock = clock
        self._keys = NO_KEYS
        self.in_force = KeysInForce(clock.monotonic, settings.staleness_budget)
        """What the authorizer looks at."""
        self._failure: FetchFailed | None = None
        self._failures = 0
        self._next_attempt = 0.0
        self._last_attempt = -math.inf
        self._forced_at = -math.inf
        self._begun = 0
        self._completed = 0
        """Number of the last completed fetch; the lock keeps fetches in order."""
        self._fetching = asyncio.Lock()
        self._forced: asyncio.Task[None] | None = None
        self._waiting = Shares(settings.waiting_requests)
        self._refused = RefusedKids(settings.unknown_kids, settings.unknown_kid_lifetime)
        self._wake = asyncio.Event()
        self._attempted = asyncio.Event()
        self._background: asyncio.Task[None] | None = None

    # --- life cycle

    async def start(self) -> None:
        """Load saved keys, then fetch in the background. Returns without waiting for the issuer."""
        await self._load_state()
        if self._origin.interval is not None:  # a local origin, which takes no time
            await self._attempt()
        self._background = asyncio.create_task(self._refresh_for_ever(), name=f"keys of {self._issuer}")

    def inherit(self, predecessor: Self) -> None:
        """Take over the keys of `predecessor`, which has the same origin, with their age."""
        if predecessor._origin.name == self._origin.name:
            self._confirm(predecessor._keys, predecessor.in_force.confirmed_at)

    async def first_attempt(self) -> None:
        """Wait until the first fetch is over, with or without success; returns at once if there are keys."""
        if not len(self._keys):
            await self._attempted.wait()

    async def idle(self) -> None:
        """Wait until no request waits for a fetch."""
        while self._waiting.is_used and self._forced is not None:
            await asyncio.wait({self._forced})
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stop fetching. Waiting requests get `IssuerUnavailable`."""
        tasks = [task for task in (self._background, self._forced) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what requests see

    def current(self) -> PublishedKeys:
        """The keys in force. Raises `IssuerUnavailable`. Never waits."""
        if self._keys.number and self.in_force.is_fresh:
            return self._keys
        raise self._unavailable()

    def may_refresh(self, kid: str | None, source: str = "") -> bool:
        """Whether `refreshed` could return something new to `source`, or would report an outage."""
        key = self._keys.named(kid)
        if self._refused.holds(kid, key, source, self._clock.monotonic()):
            return False
        return self._waiting.fits(source) or (key is None and self._failure is not None)

    async def refreshed(self, kid: str | None, source: str = "") -> PublishedKeys:
        """The keys after a fetch that began after this call, or those in force if a fetch is pointless.

        Raises `IssuerUnavailable` if there are none, or if `kid` is unknown and the issuer cannot be reached.
        """
        if not self.may_refresh(kid, source):
            return self.current()
        if not self._waiting.fits(source):
            raise self._unavailable()
        before = self._keys.named(kid)
        self._waiting.take(source)
        try:
            await self._fetched_after(self._begun)
        finally:
            self._waiting.give_back(source)
        after = self._keys.named(kid)
        if self._failure is not None and after is None:
            raise self._unavailable()
        if self._failure is None and after is before:
            self._refused.add(kid, after, source, self._clock.monotonic())
        return self.current()

    def state(self) -> KeyState:
        """For readiness and metrics."""
        age = self._clock.monotonic() - self.in_force.confirmed_at
        return KeyState(
            issuer=self._issuer,
            usable=len(self._keys),
            age=age if math.isfinite(age) else None,
            staleness_budget=self._settings.staleness_budget,
            is_ready=len(self._keys) > 0 and age <= self._settings.staleness_budget,
            failed_phase=None if self._failure is None else self._failure.phase,
            failures=self._failures,
            skipped=self._keys.skipped_by_reason(),
        )

    def _unavailable(self) -> IssuerUnavailable:
        now = self._clock.monotonic()
        if now - self._last_attempt >= self._settings.cool_down:
            self._wake.set()  # a request needs these keys: end a long pause now
        wait = min(self._next_attempt - now, self._settings.cool_down)
        return IssuerUnavailable(self._issuer, self._outage(), max(1, math.ceil(wait)))

    def _outage(self) -> str:
        """The phase that explains why there are no keys now."""
        if not math.isfinite(self.in_force.confirmed_at):
            return "never_loaded"
        if not len(self._keys):
            return "no_usable_key"
        if not self.in_force.is_fresh:
            return "stale"
        return self._failure.phase if self._failure is not None else "unknown"

    def _confirm(self, keys: PublishedKeys, at: float) -> None:
        """The issuer published `keys` at `at`, monotonic seconds: they are in force from now on."""
        self._keys = keys
        self.in_force.confirm(keys.current, at)

    # --- forced fetches

    async def _fetched_after(self, begun: int) -> None:
        """Wait until a fetch that began after number `begun` is over."""
        while self._completed <= begun:
            if self._forced is None or self._forced.done():
                self._forced = asyncio.create_task(self._force(), name=f"forced fetch of {self._issuer}")
            # Not awaited directly: a cancelled request must not cancel the fetch for the others.
            await asyncio.wait({self._forced})
            if self._forced.cancelled():
                raise self._unavailable()

    async def _force(self) -> None:
        pause = self._forced_at + self._settings.cool_down - self._clock.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        self._forced_at = self._clock.monotonic()
        await self._attempt()

    # --- the background

    async def _refresh_for_ever(self) -> None:
        while True:
            max_age = await self._attempt()
            pause = self._pause(max_age)
            self._next_attempt = self._clock.monotonic() + pause
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it loses a cancellation that coincides with the wake-up.
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _pause(self, max_age: float | None) -> float:
        settings = self._settings
        if self._origin.interval is not None:
            return self._origin.interval
        if self._failure is not None:
            grown = settings.cool_down * 2.0 ** min(self._failures - 1, 16)
            return min(grown, settings.retry_maximum) * random.uniform(0.8, 1.0)  # noqa: S311 — spreads load
        wanted = settings.default_interval if max_age is None else max_age
        # Half of a short staleness budget leaves time for an attempt that fails.
        longest = min(settings.maximum_interval, settings.staleness_budget / 2)
        bounded = min(max(wanted, settings.minimum_interval), longest)
        return bounded * random.uniform(1 - settings.jitter, 1.0)  # noqa: S311 — spreads load

    # --- one fetch

    async def _attempt(self) -> float | None:
        """Fetch once; returns the issuer's `max-age`. Failures are recorded, never raised."""
        async with self._fetching:
            self._begun += 1
            started = self._last_attempt = self._clock.monotonic()
            try:
                fetched = await self._origin.fetch()
                self._note_success(fetched, started)
            except FetchFailed as failed:
                self._note_failure(failed, started)
                return None
            except Exception as error:  # noqa: BLE001 — an internal error in one fetch must not end all fetching
                self._note_failure(FetchFailed("internal", type(error).__name__), started)
                return None
            finally:
                self._completed = self._begun
                self._attempted.set()
            if fetched is not None:
                await self._save_state()
            return None if fetched is None else fetched.max_age

    def _note_success(self, fetched: FetchedKeys | None, started: float) -> None:
        now = self._clock.monotonic()
        if fetched is None:  # unchanged since the last fetch, valid or not
            if self._failure is None:
                self._confirm(self._keys, now)
            return
        try:
            keys = load_key_set(fetched.document, self._settings.maximum_keys, self._keys)
        except NotAKeySet as wrong:
            raise FetchFailed("parse", str(wrong)) from wrong
        self._name_skipped(keys)
        self._confirm(keys, now)
        self._failure, self._failures = None, 0
        self._observer.keys_refreshed(
            KeysRefreshed(self._issuer, "success", "", now - started, len(keys), keys.skipped_by_reason())
        )

    def _note_failure(self, failed: FetchFailed, started: float) -> None:
        self._failure, self._failures = failed, self._failures + 1
        self._observer.keys_refreshed(
            KeysRefreshed(
                self._issuer, failed.phase, failed.detail, self._clock.monotonic() - started, len(self._keys)
            )
        )

    def _name_skipped(self, keys: PublishedKeys) -> None:
        """Report each skipped key once, not at every refresh."""
        known = set(self._keys.skipped)
        fresh = [entry for entry in keys.skipped if entry not in known]
        for entry in fresh[:_NAMED_SKIPPED_KEYS]:
            self._observer.key_skipped(KeySkipped(self._issuer, entry.name, entry.reason.value, entry.detail))

    # --- the state file

    async def _load_state(self) -> None:
        if self._state is None:
            return
        try:
            saved = await asyncio.to_thread(self._state.load, self._clock.wall())
            if saved is None or saved.age > self._settings.staleness_budget:
                return
            # A key listed once per algorithm is saved that way: at most six entries for an RSA key.
            keys = load_key_set(saved.document, 6 * self._settings.maximum_keys)
            self._confirm(keys, self._clock.monotonic() - saved.age)
        except (StateUnusable, NotAKeySet) as unusable:
            self._observer.issuer_incident(self._issuer, "state_unreadable", str(unusable))

    async def _save_state(self) -> None:
        if self._state is None or not len(self._keys):
            return
        try:
            await asyncio.to_thread(self._state.save, self._keys.document(), self._clock.wall())
        except OSError as error:
            self._observer.issuer_incident(self._issuer, "state_unwritable", error.strerror or "error")
