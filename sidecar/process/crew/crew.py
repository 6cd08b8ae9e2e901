"""Several worker processes under one supervisor.

Theory of operation: every worker binds the same addresses with SO_REUSEPORT and the kernel spreads connections over
them. The supervisor serves no request: it reads changed configuration once and hands it to all, gathers figures for one
health and metrics endpoint, and starts a worker again that has ended on its own, later and later if it keeps ending.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.process.crew.channel import AskingEnd, ChannelClosed
from sidecar.process.crew.crew_inspection import CrewInspection
from sidecar.process.endpoints.admin.inspection import Inspection
from sidecar.process.host.pulse import Pulse
from sidecar.process.reload.reloader import Reloader
from sidecar.settings import Loaded
from sidecar.settings.problem import Problem, SettingsError
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics, Sample, Snapshot, merged, only_counts, restored

_CHILD = "import sys; from sidecar.process.crew.member import main; main(sys.argv[1])"
START_WITHIN = 30.0
"""Seconds a worker may take until it serves."""
TAKE_WITHIN = 30.0
"""Seconds a worker may take to put a configuration into force."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker that ended is started again: doubled each time, back to the first after a quiet minute."""
QUIET = 60.0
SILENT_TOO_LONG = 4
"""Questions in a row that a worker may leave unanswered."""
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
        """Questions in a row that were not answered in time."""
        self.figures: Snapshot = {}
        """The last ones of the worker that sits here."""

    @property
    def pid(self) -> int:
        """Of the worker, or 0."""
        return self.process.pid if self.process is not None and self.end is not None else 0

    async def ask(self, method: str, argument: Any = None, within: float = 5.0) -> Any:
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
        self._tasks: list[asyncio.Task[None]] = []
        self._metrics.sources.extend((self._samples, self.pulse.samples))

    # --- life

    async def start(self) -> None:
        """Start every worker. Raises OSError when one cannot serve."""
        _check_ports(self.reloader.loaded)
        try:
            await asyncio.gather(*(self._begin(seat) for seat in self.seats))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self._tasks += [asyncio.create_task(self._keep(seat)) for seat in self.seats]
        self._tasks += [asyncio.create_task(self.reloader.run()), asyncio.create_task(self.pulse.run())]
        self._tasks.append(asyncio.create_task(self._gather_for_ever()))

    def listening(self) -> list[str]:
        """Name and address of each listener; with several workers none has port 0."""
        return [f"{one.name} {one.host}:{one.port}" for one in self.reloader.loaded.proxy.listeners]

    def reopen_log(self) -> None:
        """The log file was moved away."""
        self._journal.sink.reopen()
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._told("reopen")))

    async def drain(self) -> None:
        """Let the requests under way finish, in every worker."""
        self.stopping = True
        within = self.reloader.loaded.proxy.timeouts.drain
        await self._told("drain", within=within + 2)
        await self._gather()

    async def close(self) -> None:
        """End everything now."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(seat) for seat in self.seats))

    async def _begin(self, seat: Seat) -> None:
        """One worker in its seat, serving. Raises RuntimeError with what it said."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-c", _CHILD, str(theirs.fileno())]
            seat.process = subprocess.Popen(  # noqa: S603, ASYNC220 — fork and exec take a millisecond
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        end = await AskingEnd.over(ours)
        listening = asyncio.create_task(end.run())
        self._tasks.append(listening)
        try:
            await end.ask("start", self.reloader.loaded, START_WITHIN)
        except (ChannelClosed, TimeoutError, RuntimeError) as error:
            listening.cancel()
            seat.process.kill()
            await asyncio.to_thread(seat.process.wait)
            raise RuntimeError(str(error) or "the worker did not start in time") from None
        seat.end = end
        listening.add_done_callback(lambda _: self._left(seat, end))

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
            with contextlib.suppress(OSError):  # no process to be had: the old one stays waited for
                await self._began_again(seat)

    async def _began_again(self, seat: Seat) -> None:
        try:
            await self._begin(seat)
        except RuntimeError as error:
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

    async def _told(self, method: str, argument: Any = None, within: float = 5.0) -> None:
        """Tell all; a worker that is gone or slow is the business of `_keep`."""
        asked = [seat.ask(method, argument, within) for seat in self.seats]
        await asyncio.gather(*asked, return_exceptions=True)

    async def _take(self, loaded: Loaded) -> None:
        """Put a configuration into force everywhere, or say who refused it."""
        asked = [seat.ask("take", loaded, TAKE_WITHIN) for seat in self.seats if seat.end is not None]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refusals = {str(answer) for answer in answers if isinstance(answer, RuntimeError | TimeoutError)}
        if refusals:
            raise SettingsError([Problem(str(loaded.files[0]), 0, 0, refusal) for refusal in refusals])

    async def _gather_for_ever(self) -> None:
        while True:
            await asyncio.sleep(GATHER)
            await self._gather()

    async def _gather(self) -> None:
        """The figures of every worker."""
        serving = [seat for seat in self.seats if seat.end is not None]
        answers = await asyncio.gather(*(seat.ask("snapshot") for seat in serving), return_exceptions=True)
        for seat, answer in zip(serving, answers, strict=True):
            if not isinstance(answer, BaseException):
                self._heard(seat, answer)
            elif isinstance(answer, TimeoutError):
                self._heard_nothing(seat)

    def _heard(self, seat: Seat, answer: object) -> None:
        """Its figures; a worker that says what no worker says is not one of ours any more."""
        try:
            seat.figures, seat.silent = restored(answer), 0
        except ValueError as error:
            self._journal.error("worker talks nonsense", pid=seat.pid, detail=str(error))
            if seat.process is not None:
                seat.process.kill()

    def _heard_nothing(self, seat: Seat) -> None:
        """A worker whose loop is stuck serves nobody; another one will."""
        seat.silent += 1
        if seat.silent >= SILENT_TOO_LONG and seat.process is not None:
            self._journal.error("worker does not answer", pid=seat.process.pid)
            seat.process.kill()

    async def snapshot(self) -> Snapshot:
        """The figures of all workers, past ones and the supervisor included."""
        await self._gather()
        return merged([self._metrics.snapshot(), self.departed, *(seat.figures for seat in self.seats)])

    def _samples(self) -> Iterator[Sample]:
        yield Sample("sidecar_workers", (), sum(seat.end is not None for seat in self.seats))
        yield Sample("sidecar_log_lines_dropped_total", (), self._journal.sink.dropped)


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
