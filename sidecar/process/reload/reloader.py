"""Takes changed configuration while requests flow: validated whole, swapped at once, the old kept on any error.

Theory of operation: there is one reload at a time. A request for one that comes meanwhile is remembered, however often
it comes, and leads to exactly one more; so the last change is never missed and a storm of signals costs two reloads.
A certificate and a key that do not match were most likely read in the middle of their rotation: that is logged at a
lower level for `PAIR_PATIENCE` seconds. While what is on disk is refused,
it is tried again now and then, less often each time: it may name a file that appears later. The same problems are told
once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sidecar.process.host.standing import kind_and_place
from sidecar.process.reload.loader import load_apart
from sidecar.process.reload.watch import Watcher
from sidecar.settings.configuration import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics

PAIR_PATIENCE = 30.0
"""Time to wait for a key that matches its certificate, in seconds."""
RETRY = 5.0
"""Seconds until a configuration that was refused is tried again; twice as long after each try."""
SLOWEST_RETRY = 60.0
"""Longest time between two tries, in seconds: each costs a child process."""
_RETRY = "retry"
_UNPAIRED = ("is not the key of", "key values mismatch")
"""What the reader of settings says of half a pair, and what OpenSSL says when the other half came meanwhile."""

Take = Callable[[Loaded], Awaitable[None]]
"""Puts a configuration into force. Raises `SettingsError` and changes nothing."""


@dataclass(slots=True)
class ReloadOutcome:
    """The result of the last attempt, for the admin page."""

    at: float
    """Seconds since the epoch."""
    trigger: str
    result: str
    """`success`, `failure`, `waiting` (for the other half of a pair)."""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Reloader:
    """Runs reloads one after the other."""

    def __init__(self, path: Path, loaded: Loaded, take: Take, journal: Journal, metrics: Metrics) -> None:
        self.loaded = loaded
        """The configuration in force."""
        self.last = ReloadOutcome(time.time(), "start", "success")
        self._known = loaded.client_cache
        self._path = path
        self._began_with = loaded
        self._take = take
        self._journal = journal
        self._metrics = metrics
        self._asked: str | None = None
        self._wake = asyncio.Event()
        self._unpaired_since: float | None = None
        self._pause = RETRY
        self._next_try: asyncio.TimerHandle | None = None
        self._watcher = Watcher(
            watched(loaded), self._changed, loaded.service.watch_interval, loaded.read_since
        )
        self._record(self.last)

    @property
    def generation(self) -> int:
        """The generation of the configuration in force."""
        return self.loaded.policy.generation

    def request(self, trigger: str) -> None:
        """Reload as soon as possible."""
        self._asked = trigger
        self._wake.set()

    def _changed(self) -> None:
        if self.loaded.service.watch_files:
            self.request("file change")

    async def run(self) -> None:
        """Watch and reload until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watcher.run())
            tasks.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            trigger, self._asked = self._asked or "", None
            # A retry that fell due during a reload that succeeded has nothing left to do.
            if trigger != _RETRY or self.last.result != "success":
                await self.reload(trigger)

    async def reload(self, trigger: str) -> ReloadOutcome:
        """One reload, now."""
        try:
            loaded = await self._read_and_taken()
        except SettingsError as error:
            self._try_again_after(trigger)
            outcome = self._refused(trigger, error)
        else:
            outcome = self._taken(trigger, loaded)
        is_news = (outcome.result, outcome.problems) != (self.last.result, self.last.problems)
        self.last = outcome
        if trigger != _RETRY or is_news:
            self._record(outcome)
        return outcome

    async def _read_and_taken(self) -> Loaded:
        """Raises `SettingsError`, whatever went wrong: a change that is not taken must be told and tried again."""
        try:
            loaded = await asyncio.to_thread(load_apart, self._path, self.generation + 1, self._known)
            await self._take(loaded)
        except SettingsError:
            raise
        except Exception as error:
            message = f"it could not be taken: {kind_and_place(error)}"
            raise SettingsError([Problem(str(self._path), 0, 0, message)]) from error
        return loaded

    def _try_again_after(self, trigger: str) -> None:
        """One try is due at a time, however many were refused."""
        self._pause = min(2 * self._pause, SLOWEST_RETRY) if trigger == _RETRY else RETRY
        if self._next_try is not None:
            self._next_try.cancel()
        self._next_try = asyncio.get_running_loop().call_later(self._pause, self._retry)

    def _retry(self) -> None:
        if self.last.result != "success" and self._asked is None:
            self.request(_RETRY)

    def _taken(self, trigger: str, loaded: Loaded) -> ReloadOutcome:
        self.loaded = loaded
        self._known = loaded.client_cache
        self._unpaired_since = None
        self._watcher.follow(watched(loaded), loaded.read_since)
        self._journal.info("configuration reloaded", generation=self.generation, trigger=trigger)
        notes = restart_notes(loaded, self._began_with)
        for note in notes:
            self._journal.warning("restart needed", note=note)
        for danger in loaded.dangers:
            self._journal.warning("dangerous setting", setting=str(danger))
        return ReloadOutcome(time.time(), trigger, "success", notes=tuple(notes))

    def _refused(self, trigger: str, error: SettingsError) -> ReloadOutcome:
        problems = tuple(str(problem) for problem in error.problems)
        waiting = self._waits_for_pair(error.problems)
        told = trigger == _RETRY and problems == self.last.problems
        if waiting and not told:
            self._journal.info("configuration waits for the other half of a pair", problems=list(problems))
        elif not waiting and not (told and self.last.result == "failure"):
            kept = self.generation
            self._journal.error(
                "configuration refused", trigger=trigger, generation_kept=kept, problems=list(problems)
            )
        return ReloadOutcome(time.time(), trigger, "waiting" if waiting else "failure", problems)

    def _waits_for_pair(self, problems: tuple[Problem, ...]) -> bool:
        if not all(any(words in problem.message for words in _UNPAIRED) for problem in problems):
            return False
        now = time.monotonic()
        if self._unpaired_since is None:
            self._unpaired_since = now
        return now - self._unpaired_since < PAIR_PATIENCE

    def _record(self, outcome: ReloadOutcome) -> None:
        metrics = self._metrics
        if outcome.trigger != "start":
            metrics.increment("sidecar_configuration_reload_total", outcome.result)
        if outcome.result == "success":
            metrics.set("sidecar_configuration_last_reload_seconds", value=outcome.at)
        metrics.set("sidecar_configuration_stale", value=float(outcome.result == "failure"))


def watched(loaded: Loaded) -> list[Path | str]:
    """What to watch: every file that was read, and the patterns of policy files."""
    return [*loaded.files, *loaded.policy_patterns]


def restart_notes(wanted: Loaded, running: Loaded) -> list[str]:
    """The changes that need a restart. `running` is the configuration at the start of the process."""
    old = {one.name: one for one in running.proxy.listeners}
    new = {one.name: one for one in wanted.proxy.listeners}
    notes = [f"listener {name} stays open until then" for name in old if name not in new]
    notes += [f"listener {name} opens then" for name in new if name not in old]
    notes += [
        f"listener {name} moves to {one.place()} then"
        for name, one in new.items()
        if name in old and one.place() != old[name].place()
    ]
    for key in ("health", "admin", "workers", "logging", "tracing", "hardening"):
        if getattr(wanted.service, key) != getattr(running.service, key):
            notes.append(f"the change of `{key}` comes into force then")
    return notes
