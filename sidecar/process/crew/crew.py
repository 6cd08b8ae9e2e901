"""Several worker processes under one supervisor.

Theory of operation: every worker binds the same addresses with SO_REUSEPORT and the kernel spreads connections over
them. The supervisor serves no request: it reads changed configuration once and hands it to all, gathers figures for one
health and metrics endpoint, and starts a worker again that has ended on its own, later and later if it keeps ending.

Every worker that serves obeys the newest configuration. A change is prepared by all, which takes its time and may fail,
and then adopted by all, which does neither: a worker that does not adopt it is killed. One that starts meanwhile binds
its ports only when it is told to, and by then it has the newest: changes and beginnings take turns (`_changing`).
"""

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.decision.replay import ReplayMemory
from sidecar.process.crew.channel import AskingEnd, ChannelClosed
from sidecar.process.crew.crew_inspection import CrewInspection
from sidecar.process.crew.figures import Figures
from sidecar.process.crew.ports import check_ports
from sidecar.process.crew.seat import Seat
from sidecar.process.endpoints.admin.inspection import Inspection
from sidecar.process.host.pulse import Pulse
from sidecar.process.host.standing import StandingTasks
from sidecar.process.reload.reloader import Reloader
from sidecar.settings import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics, Sample, Snapshot, merged

START_WITHIN = 30.0
"""Time in which a worker must serve, in seconds."""
PREPARE_WITHIN = 30.0
"""Time in which a worker must prepare a configuration, in seconds."""
ADOPT_WITHIN = 10.0
"""Time in which a worker must adopt the configuration that it has prepared, in seconds."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker that ended is started again: doubled each time, back to the first after a quiet minute."""
QUIET = 60.0


class Crew:
    """The supervisor's part of the process. Implements `Body`."""

    def __init__(self, path: Path, loaded: Loaded, journal: Journal, workers: int) -> None:
        self._journal = journal
        self._metrics = Metrics()
        self.memory = ReplayMemory(os.urandom(32), time.monotonic)
        """Used DPoP proofs of all workers; kept when a worker ends."""
        self.seats = [Seat(number, self.memory) for number in range(workers)]
        self._figures = Figures(self.seats, journal)
        self.pulse = Pulse(self._metrics)
        self.reloader = Reloader(path, loaded, self._take, journal, self._metrics)
        self.stopping = False
        self.inspection: Inspection = CrewInspection(self)
        self.tasks = StandingTasks(journal, self._metrics)
        self._newest = loaded
        """The configuration that all workers use."""
        self._changing = asyncio.Lock()
        self._reopening: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._metrics.sources.extend((self._samples, self.pulse.samples))

    # --- life

    async def start(self) -> None:
        """Start every worker. Raises OSError when one cannot serve."""
        check_ports(self.reloader.loaded)
        try:
            await asyncio.gather(*(self._begin(seat) for seat in self.seats))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        for seat in self.seats:
            self.tasks.begin(f"worker {seat.number}", partial(self._keep, seat))
        self.tasks.begin("reloads", self.reloader.run)
        self.tasks.begin("pulse", self.pulse.run)
        self.tasks.begin("figures", self._figures.watch)

    def listening(self) -> list[str]:
        """Name and address of each listener; with several workers, no listener has port 0."""
        return [f"{one.name} {one.place()}" for one in self.reloader.loaded.proxy.listeners]

    def reopen_log(self) -> None:
        """The log file was moved away."""
        self._journal.sink.reopen()
        self._reopening = self._run_apart(self._told("reopen"))

    async def drain(self) -> None:
        """Drain: let requests in progress finish, in every worker."""
        self.stopping = True
        within = self.reloader.loaded.proxy.timeouts.drain
        await self._told("drain", within=within + 2)
        await self._figures.gather(self.seats)

    async def close(self) -> None:
        """End everything immediately."""
        self.stopping = True
        await self.tasks.close()
        await self._figures.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(seat.finish() for seat in self.seats))

    def _run_apart(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a task that ends by itself."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _begin(self, seat: Seat) -> None:
        """A serving worker in its seat. Raises RuntimeError with the worker's message."""
        end = await seat.begin()
        listening = self._run_apart(end.run())
        try:
            await self._seated(seat, end)
        except (ChannelClosed, TimeoutError, RuntimeError) as error:
            listening.cancel()
            seat.kill()
            await seat.ended()
            raise RuntimeError(str(error) or "the worker did not start in time") from None
        listening.add_done_callback(lambda _: seat.left(end))

    async def _seated(self, seat: Seat, end: AskingEnd) -> None:
        """Prepares the worker, gives it the newest configuration, and only then lets it serve."""
        given = self._newest
        await end.ask("start", given, START_WITHIN)
        async with self._changing:
            if self._newest is not given:
                await end.ask("prepare", self._newest, PREPARE_WITHIN)
                await end.ask("adopt", self._newest.policy.generation, ADOPT_WITHIN)
            await end.ask("serve", None, START_WITHIN)
            seat.take(end)

    async def _keep(self, seat: Seat) -> None:
        """Wait until the worker ends; if that was not intended, start another."""
        pause, began = FIRST_PAUSE, time.monotonic()
        while True:
            code = await seat.ended()
            if self.stopping:
                return
            pid = seat.process.pid if seat.process is not None else 0
            self._figures.keep_counts(seat)
            seat.clear()
            if time.monotonic() - began > QUIET:
                pause = FIRST_PAUSE
            self._metrics.increment("sidecar_worker_restarts_total")
            self._journal.error("worker ended", pid=pid, code=code, again_in=pause)
            await asyncio.sleep(pause)
            pause, began = min(LONGEST_PAUSE, pause * 2), time.monotonic()
            await self._began_again(seat)

    async def _began_again(self, seat: Seat) -> None:
        try:
            await self._begin(seat)
        except (RuntimeError, OSError) as error:  # OSError: no process could be started; it is tried again
            self._journal.error("worker did not start", detail=str(error))

    # --- all of them

    async def _told(self, method: str, argument: Any = None, within: float | None = None) -> None:
        """Send to all workers; `_keep` handles a worker that is gone or slow."""
        asked = [seat.ask(method, argument, within) for seat in self.seats]
        await asyncio.gather(*asked, return_exceptions=True)

    async def _take(self, loaded: Loaded) -> None:
        """Put a configuration into force in all workers; if one refuses it, name the worker and change nothing."""
        async with self._changing:
            asked = [seat.ask("prepare", loaded, PREPARE_WITHIN) for seat in self.seats]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            refusals = {_refusal(one) for one in answers if isinstance(one, RuntimeError | TimeoutError)}
            if refusals:
                await self._told("abandon")
                raise SettingsError([Problem(str(loaded.files[0]), 0, 0, refusal) for refusal in refusals])
            self._newest = loaded
            await asyncio.gather(*(self._adopted(seat, loaded.policy.generation) for seat in self.seats))

    async def _adopted(self, seat: Seat, generation: int) -> None:
        """The worker adopts this generation, or it is ended."""
        pid = seat.pid
        try:
            await seat.ask("adopt", generation, ADOPT_WITHIN)
        except ChannelClosed:
            pass  # it is gone; the next one starts with the newest configuration
        except (RuntimeError, TimeoutError) as error:
            self._journal.error("worker keeps an old configuration", pid=pid, detail=_refusal(error))
            seat.kill()

    async def snapshot(self) -> Snapshot:
        """The figures of all workers, including ended workers and the supervisor."""
        return merged([await self._figures.gathered(), self._metrics.snapshot()])

    def _samples(self) -> Iterator[Sample]:
        yield Sample("sidecar_configuration_generation", (), self._newest.policy.generation)
        yield Sample("sidecar_workers", (), sum(seat.end is not None for seat in self.seats))
        yield Sample("sidecar_dpop_used_proofs", (), len(self.memory))
        yield Sample("sidecar_log_lines_dropped_total", (), self._journal.sink.dropped)


def _refusal(error: BaseException) -> str:
    return str(error) or "a worker did not answer in time"
