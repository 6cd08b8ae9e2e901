"""Runs the serving process: event loop, signals, endpoints, and the drain."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import sidecar
from sidecar.process.body import Body, Solo
from sidecar.process.endpoints.endpoints import Endpoints
from sidecar.process.host import hardening
from sidecar.process.host.build import build
from sidecar.process.host.early_signals import EarlySignals
from sidecar.process.host.log_output import open_journal
from sidecar.process.host.loop import available_processors, event_loop
from sidecar.process.host.notify import Notifier
from sidecar.settings import Loaded
from sidecar.telemetry.journal import Journal


def serve(path: Path, loaded: Loaded, early: EarlySignals, *, has_output: bool = True) -> int:
    """Run until told to end, which may have been `early`. Raises OSError and `HardeningError`."""
    hardening.forbid_core_dumps()
    hardening.raise_file_limit(loaded.service.hardening.open_files)
    journal = open_journal(loaded, has_output=has_output, is_shared=loaded.service.workers != 1)
    try:
        with asyncio.Runner(loop_factory=event_loop) as runner:
            return runner.run(_main(path, loaded, journal, early))
    finally:
        journal.sink.close()


def _body(path: Path, loaded: Loaded, journal: Journal) -> Body:
    workers = loaded.service.workers or available_processors()
    if workers == 1:
        return Solo(path, loaded, journal)
    from sidecar.process.crew.crew import Crew  # noqa: PLC0415 — one worker needs no supervisor

    return Crew(path, loaded, journal, workers)


async def _main(path: Path, loaded: Loaded, journal: Journal, early: EarlySignals) -> int:
    return await _Run(path, loaded, journal).main(early)


class _Run:
    """One worker, its endpoints, and the signals."""

    def __init__(self, path: Path, loaded: Loaded, journal: Journal) -> None:
        self._journal = journal
        self._service = loaded.service
        self._body = _body(path, loaded, journal)
        self._endpoints = Endpoints(loaded.service, self._body.inspection)
        self._notifier = Notifier()
        self._term = asyncio.Event()
        self._again = asyncio.Event()

    async def main(self, early: EarlySignals) -> int:
        loop = asyncio.get_running_loop()
        self._journal.sink.attach(loop.call_later)
        for number, action in self._signals().items():
            loop.add_signal_handler(number, action)
        if early.reload:
            self._on_hangup()
        if early.end:
            self._on_term()
        started = False
        try:
            started = await self._started()
            if started:
                await self._term.wait()
                await self._end()
        finally:
            await self._body.close()
            await self._endpoints.close()
            if started or self._term.is_set():
                self._journal.info("stopped")
            self._journal.sink.attach(None)
        return 0

    async def _started(self) -> bool:
        """Whether it serves now; False if it is told to end meanwhile. Raises what `_start` raises."""
        starting = asyncio.create_task(self._start())
        told = asyncio.create_task(self._term.wait())
        done, _ = await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
        for task in (starting, told):
            task.cancel()
        await asyncio.gather(starting, told, return_exceptions=True)
        if starting in done:
            await starting
        return starting in done

    def _signals(self) -> dict[signal.Signals, Callable[[], None]]:
        return {signal.SIGTERM: self._on_term, signal.SIGINT: self._on_term, signal.SIGHUP: self._on_hangup}

    def _on_term(self) -> None:
        (self._again if self._term.is_set() else self._term).set()

    def _on_hangup(self) -> None:
        self._body.reopen_log()
        self._body.reloader.request("SIGHUP")

    async def _start(self) -> None:
        await self._body.start()
        await self._endpoints.start()
        run_as = self._service.hardening.run_as
        if run_as is not None and hardening.drop_root(hardening.account(run_as)):
            self._journal.info("gave up root", run_as=run_as)
        if self._notifier.watchdog_interval:
            self._body.pulse.every(self._notifier.watchdog_interval, self._tell_alive)
        hardening.settle_memory()
        self._notifier.tell("READY=1", "STATUS=serving")
        self._journal.info(
            "started",
            version=sidecar.__version__,
            build=build(),
            listeners=self._body.listening(),
            **self._endpoints.addresses(),
        )

    def _tell_alive(self) -> None:
        """Sends a sign of life to the service manager if `/livez` would answer 200."""
        if all(check.ok for check in self._body.inspection.liveness()):
            self._notifier.tell("WATCHDOG=1")

    async def _end(self) -> None:
        """Drain; a second signal ends it at once."""
        self._notifier.tell("STOPPING=1", "STATUS=draining")
        drain = asyncio.create_task(self._body.drain())
        again = asyncio.create_task(self._again.wait())
        await asyncio.wait((drain, again), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, again):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
