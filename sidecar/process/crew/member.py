"""One worker process of a crew: it serves what the supervisor tells it to and answers what the supervisor asks.

It takes no signal of the terminal's; SIGTERM makes it drain and end, and so does a supervisor that is gone.
"""

import asyncio
import os
import signal
import socket
from dataclasses import asdict
from typing import Any

from sidecar.process.crew.channel import answer_all
from sidecar.process.endpoints.admin.inspection import Refused
from sidecar.process.host import hardening
from sidecar.process.host.log_output import open_journal
from sidecar.process.host.loop import event_loop
from sidecar.process.replay.shared_memory import SharedMemory
from sidecar.process.worker.local_inspection import LocalInspection
from sidecar.process.worker.worker import Worker
from sidecar.settings import Loaded
from sidecar.settings.problem import SettingsError
from sidecar.telemetry.configuration import Level
from sidecar.telemetry.journal import Journal

NOT_STARTED = "the worker has not started"


class Member:
    """Answers the supervisor."""

    def __init__(self, end: socket.socket, claims: socket.socket) -> None:
        self._end = end
        self._claims = claims
        self._memory = SharedMemory()
        self._worker: Worker | None = None
        self._inspection: LocalInspection | None = None
        self._journal: Journal | None = None
        self._leave = asyncio.Event()

    async def run(self) -> None:
        """Serve until drained or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave.set)
        await loop.create_unix_connection(lambda: self._memory, sock=self._claims)
        answering = asyncio.create_task(answer_all(self._end, self.answer))
        leaving = asyncio.create_task(self._leave.wait())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if self._worker is not None and not self._worker.draining:
                await self._worker.drain()
        finally:
            leaving.cancel()
            answering.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
            if self._worker is not None:
                await self._worker.close()
            self._memory.close()
            if self._journal is not None:
                self._journal.sink.close()

    async def answer(self, method: str, argument: Any) -> Any:
        """JSON for the supervisor; raises ValueError with one line for it."""
        try:
            return await self._answer(method, argument)
        except SettingsError as error:
            raise ValueError("\n".join(str(problem) for problem in error.problems)) from None
        except (Refused, OSError, hardening.HardeningError) as error:
            raise ValueError(str(error)) from None

    async def _answer(self, method: str, argument: Any) -> Any:
        if method == "start":
            return await self._start(argument)
        worker, inspection = self._worker, self._inspection
        if worker is None or inspection is None:
            raise Refused(NOT_STARTED)
        match method:
            case "serve":
                return await self._serve(worker)
            case "prepare":
                return await worker.prepare(argument)
            case "abandon":
                return await worker.abandon()
            case "adopt":
                return worker.adopt(argument)
            case "snapshot":
                return await worker.snapshot()
            case "readiness":
                return [asdict(check) for check in await worker.readiness()]
            case "startup":
                return [asdict(check) for check in await worker.startup()]
            case "reopen":
                return worker.journal.sink.reopen()
            case "drain":
                return await worker.drain()
            case _:
                return await self._inspect(inspection, method, argument)

    @staticmethod
    async def _inspect(inspection: LocalInspection, method: str, argument: Any) -> Any:
        match method:
            case "state":
                return await inspection.state()
            case "decisions":
                return await inspection.decisions(*argument)
            case "clients":
                return await inspection.clients()
            case "configuration":
                return await inspection.configuration()
            case "explain":
                return await inspection.explain(argument)
            case "grpc_health":
                found = await inspection.grpc_health(argument)
                return None if found is None else asdict(found)
            case "log_level":
                return (await inspection.log_level(None if argument is None else Level(argument))).value
            case _:
                raise Refused(f"unknown question {method}")

    async def _start(self, loaded: Loaded) -> int:
        self._journal = journal = open_journal(loaded, is_shared=True)
        journal.sink.attach(asyncio.get_running_loop().call_later)
        worker = Worker(loaded, journal, self._memory)
        self._memory.incident = worker.telemetry.incident
        await worker.begin()
        self._worker, self._inspection = worker, LocalInspection(worker)
        return os.getpid()

    @staticmethod
    async def _serve(worker: Worker) -> None:
        await worker.serve(reuse_port=True)
        run_as = worker.assembly.loaded.service.hardening.run_as
        if run_as is not None:
            hardening.drop_root(hardening.account(run_as))
        hardening.settle_memory()


def main(descriptor: str, claims: str) -> None:
    """The worker process."""
    hardening.occupy_standard_descriptors()
    hardening.forbid_core_dumps()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end, desk = socket.socket(fileno=int(descriptor)), socket.socket(fileno=int(claims))
    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(_run(end, desk))


async def _run(end: socket.socket, claims: socket.socket) -> None:
    await Member(end, claims).run()
