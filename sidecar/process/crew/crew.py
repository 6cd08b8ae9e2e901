"""Several worker processes under one supervisor.

Theory of operation: every worker binds the same addresses with SO_REUSEPORT and the kernel spreads connections over
them. The supervisor serves no request: it reads changed configuration once and hands it to all, gathers figures for one
health and metrics endpoint, and starts a worker again that has ended on its own, later and later if it keeps ending.

Every worker that serves obeys the newest configuration. A change is prepared by all, which takes its time and may fail,
and then adopted by all, which does neither: a worker that does not adopt it is killed. One that starts meanwhile binds
its ports only when it is told to, and by then it has the newest: changes and beginnings take turns (`_changing`).
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.process.crew.channel import AskingEnd, ChannelClosed
from sidecar.process.crew.crew_inspection import CrewInspection
from sidecar.process.endpoints.admin.inspection import Inspection
from sidecar.process.host.pulse import Pulse
from sidecar.process.host.standing import StandingTasks
from sidecar.process.reload.reloader import Reloader
from sidecar.settings import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics, Sample, Snapshot, merged, only_counts, restored

_CHILD = "import sys; from sidecar.process.crew.member import main; main(sys.argv[1])"
START_WITHIN = 30.0
"""Seconds a worker may take until it serves."""
PREPARE_WITHIN = 30.0
"""Seconds a worker may take to prepare a configuration."""
ADOPT_WITHIN = 10.0
"""Seconds a worker may take to serve under the configuration that it has prepared."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker that ended is started again: doubled each time, back to the first after a quiet minute."""
QUIET = 60.0
SILENT_TOO_LONG = 4
"""Looks in a row at which a worker may be found to have said nothing since the last one."""
ANSWER_WITHIN = 5.0
"""Seconds a worker may take to answer a small question."""
GATHER = 2.0
"""Seconds between two gatherings of figures: what a worker counted after the last one is lost if it is killed."""


class Seat:
    """The place of one worker; processes come and go."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.end: AskingEnd | None = None
        """None while no worker serves here."""
        self.silent = 0
        """Looks in a row at which it had said nothing since the last one."""
        self.figures: Snapshot = {}
        """The last ones of the worker that sits here."""

    @property
    def pid(self) -> int:
        """Of the worker, or 0."""
        return self.process.pid if self.process is not None and self.end is not None else 0

    @property
    def answers(self) -> bool:
        """Whether a worker serves here that can be expected to answer."""
        return self.end is not None and not self.silent

    def kill(self) -> None:
        """End the worker; `Crew` starts another."""
        if self.process is not None:
            self.process.kill()

    async def ask(self, method: str, argument: Any = None, within: float = ANSWER_WITHIN) -> Any:
        """Raises `ChannelClosed`, TimeoutError, RuntimeError."""
        if self.end is None:
            raise ChannelClosed("no worker")
        return await self.end.ask(method, argument, within)


class Crew:
    """The supervisor's part of the process. Implements `Body`."""

    def __init__(self, path: Path, loaded: Loaded, journal: Journal, workers: int) -> None:
        self._journal = journal
        self._metrics = Metrics()
        self.seats = [Seat(number) for number in range(workers)]
        self.departed: Snapshot = {}
        """What workers that are gone had counted."""
        self.pulse = Pulse(self._metrics)
        self.reloader = Reloader(path, loaded, self._take, journal, self._metrics)
        self.stopping = False
        self.inspection: Inspection = CrewInspection(self)
        self.tasks = StandingTasks(journal, self._metrics)
        self._newest = loaded
        """The configuration that every worker obeys."""
        self._changing = asyncio.Lock()
        self._gathering: asyncio.Task[None] | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._metrics.sources.extend((self._samples, self.pulse.samples))

    # --- life

    async def start(self) -> None:
        """Start every worker. Raises OSError when one cannot serve."""
        _check_ports(self.reloader.loaded)
        try:
            await asyncio.gather(*(self._begin(seat) for seat in self.seats))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        for seat in self.seats:
            self.tasks.begin(f"worker {seat.number}", partial(self._keep, seat))
        self.tasks.begin("reloads", self.reloader.run)
        self.tasks.begin("pulse", self.pulse.run)
        self.tasks.begin("figures", self._gather_for_ever)

    def listening(self) -> list[str]:
        """Name and address of each listener; with several workers none has port 0."""
        return [f"{one.name} {one.host}:{one.port}" for one in self.reloader.loaded.proxy.listeners]

    def reopen_log(self) -> None:
        """The log file was moved away."""
        self._journal.sink.reopen()
        self._reopening = self._run_apart(self._told("reopen"))

    async def drain(self) -> None:
        """Let the requests under way finish, in every worker."""
        self.stopping = True
        within = self.reloader.loaded.proxy.timeouts.drain
        await self._told("drain", within=within + 2)
        await self._gather(self.seats)

    async def close(self) -> None:
        """End everything now."""
        self.stopping = True
        await self.tasks.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(self._end(seat) for seat in self.seats))

    def _run_apart(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Something that ends by itself."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _begin(self, seat: Seat) -> None:
        """One worker in its seat, serving. Raises RuntimeError with what it said."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-c", _CHILD, str(theirs.fileno())]
            seat.process = subprocess.Popen(  # noqa: S603, ASYNC220 — fork and exec take a millisecond
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        end = await AskingEnd.over(ours)
        listening = self._run_apart(end.run())
        try:
            await self._seated(seat, end)
        except (ChannelClosed, TimeoutError, RuntimeError) as error:
            listening.cancel()
            seat.process.kill()
            await asyncio.to_thread(seat.process.wait)
            raise RuntimeError(str(error) or "the worker did not start in time") from None
        listening.add_done_callback(lambda _: self._left(seat, end))

    async def _seated(self, seat: Seat, end: AskingEnd) -> None:
        """The worker made ready, brought up to date, and only then serving."""
        given = self._newest
        await end.ask("start", given, START_WITHIN)
        async with self._changing:
            if self._newest is not given:
                await end.ask("prepare", self._newest, PREPARE_WITHIN)
                await end.ask("adopt", self._newest.policy.generation, ADOPT_WITHIN)
            await end.ask("serve", None, START_WITHIN)
            seat.end, seat.silent = end, 0

    @staticmethod
    def _left(seat: Seat, end: AskingEnd) -> None:
        if seat.end is end:
            seat.end = None

    async def _keep(self, seat: Seat) -> None:
        """Wait for the worker to end; unless that was meant, start another."""
        pause, began = FIRST_PAUSE, time.monotonic()
        while True:
            assert seat.process is not None  # noqa: S101 — `start` saw to it
            code = await asyncio.to_thread(seat.process.wait)
            if self.stopping:
                return
            self.departed = merged([self.departed, only_counts(seat.figures)])
            seat.figures, seat.end, seat.silent = {}, None, 0
            if time.monotonic() - began > QUIET:
                pause = FIRST_PAUSE
            self._metrics.increment("sidecar_worker_restarts_total")
            self._journal.error("worker ended", pid=seat.process.pid, code=code, again_in=pause)
            await asyncio.sleep(pause)
            pause, began = min(LONGEST_PAUSE, pause * 2), time.monotonic()
            await self._began_again(seat)

    async def _began_again(self, seat: Seat) -> None:
        try:
            await self._begin(seat)
        except (RuntimeError, OSError) as error:  # OSError: no process to be had; it is tried again
            self._journal.error("worker did not start", detail=str(error))

    async def _end(self, seat: Seat) -> None:
        process = seat.process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if seat.end is not None else signal.SIGKILL)
        try:
            await asyncio.to_thread(process.wait, 2)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    # --- all of them

    async def _told(self, method: str, argument: Any = None, within: float = ANSWER_WITHIN) -> None:
        """Tell all; a worker that is gone or slow is the business of `_keep`."""
        asked = [seat.ask(method, argument, within) for seat in self.seats]
        await asyncio.gather(*asked, return_exceptions=True)

    async def _take(self, loaded: Loaded) -> None:
        """Put a configuration into force everywhere, or say who refused it and leave all as they were."""
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
        """The worker obeys this generation from now on, or it serves no more."""
        pid = seat.pid
        try:
            await seat.ask("adopt", generation, ADOPT_WITHIN)
        except ChannelClosed:
            pass  # it is gone; the next one starts with the newest configuration
        except (RuntimeError, TimeoutError) as error:
            self._journal.error("worker keeps an old configuration", pid=pid, detail=_refusal(error))
            seat.kill()

    async def _gather_for_ever(self) -> None:
        while True:
            await asyncio.sleep(GATHER)
            asked_at = time.monotonic()
            asked = [(seat, seat.end) for seat in self.seats if seat.end is not None]
            await self._gather(self.seats)
            for seat, end in asked:
                if seat.end is end:
                    self._listened(seat, heard=end.heard_at >= asked_at)

    def _listened(self, seat: Seat, *, heard: bool) -> None:
        """A worker whose loop is stuck serves nobody; another one will."""
        seat.silent = 0 if heard else seat.silent + 1
        if seat.silent >= SILENT_TOO_LONG:
            self._journal.error("worker does not answer", pid=seat.pid)
            seat.kill()

    async def _gather(self, seats: Sequence[Seat]) -> None:
        """The figures of these workers."""
        serving = [seat for seat in seats if seat.end is not None]
        answers = await asyncio.gather(*(seat.ask("snapshot") for seat in serving), return_exceptions=True)
        for seat, answer in zip(serving, answers, strict=True):
            if isinstance(answer, RuntimeError):
                self._journal.error("worker tells no figures", pid=seat.pid, detail=str(answer))
            elif not isinstance(answer, BaseException):
                self._heard(seat, answer)

    def _heard(self, seat: Seat, answer: object) -> None:
        """Its figures; a worker that says what no worker says is not one of ours any more."""
        try:
            seat.figures = restored(answer)
        except ValueError as error:
            self._journal.error("worker talks nonsense", pid=seat.pid, detail=str(error))
            seat.kill()

    async def snapshot(self) -> Snapshot:
        """The figures of all workers, past ones and the supervisor included.

        However many ask at a time, the workers are asked once; one that was silent lately is not waited for.
        """
        if self._gathering is None or self._gathering.done():
            self._gathering = self._run_apart(self._gather([seat for seat in self.seats if seat.answers]))
        await asyncio.shield(self._gathering)
        return merged([self._metrics.snapshot(), self.departed, *(seat.figures for seat in self.seats)])

    def _samples(self) -> Iterator[Sample]:
        yield Sample("sidecar_configuration_generation", (), self._newest.policy.generation)
        yield Sample("sidecar_workers", (), sum(seat.end is not None for seat in self.seats))
        yield Sample("sidecar_log_lines_dropped_total", (), self._journal.sink.dropped)


def _refusal(error: BaseException) -> str:
    return str(error) or "a worker did not answer in time"


def _check_ports(loaded: Loaded) -> None:
    """Whether the ports are free: with SO_REUSEPORT the kernel would let two instances share one unnoticed."""
    for listener in loaded.proxy.listeners:
        if listener.port == 0:
            raise OSError(
                errno.EINVAL, f"listener {listener.name}: several workers need a port that is not 0"
            )
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listener.host, listener.port))
            except OSError as error:
                where = f"{listener.host}:{listener.port}"
                raise OSError(
                    error.errno, f"cannot listen on {where}: {os.strerror(error.errno or 0).lower()}"
                ) from None
