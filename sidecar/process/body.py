"""What `serving` runs: one worker in this process, or a supervisor and its crew."""

from pathlib import Path
from typing import Protocol

from sidecar.process.endpoints.admin.inspection import Inspection
from sidecar.process.host.pulse import Pulse
from sidecar.process.reload.reloader import Reloader
from sidecar.process.worker.local_inspection import LocalInspection
from sidecar.process.worker.worker import Worker
from sidecar.settings import Loaded
from sidecar.telemetry.journal import Journal


class Body(Protocol):
    """The serving part of the process."""

    reloader: Reloader
    pulse: Pulse
    inspection: Inspection

    async def start(self) -> None:
        """Bind and serve. Raises OSError."""

    def listening(self) -> list[str]:
        """Name and address of each listener, with the port in use."""

    def reopen_log(self) -> None:
        """The log file was moved away."""

    async def drain(self) -> None:
        """Drain: let requests in progress finish."""

    async def close(self) -> None:
        """End everything immediately."""


class Solo:
    """One worker, in this process."""

    def __init__(self, path: Path, loaded: Loaded, journal: Journal) -> None:
        """To be made on the event loop. Raises `SettingsError`."""
        self._worker = worker = Worker(loaded, journal)
        self._journal = journal
        self.pulse = worker.pulse
        self.reloader = Reloader(path, loaded, worker.take, journal, worker.metrics)
        self.inspection: Inspection = LocalInspection(worker, self.reloader)

    async def start(self) -> None:
        """Bind and serve. Raises OSError."""
        await self._worker.start()
        self._worker.tasks.begin("reloads", self.reloader.run)

    def listening(self) -> list[str]:
        """Name and address of each listener, with the port in use."""
        listeners = self._worker.server.listeners
        return [f"{one.settings.name} {one.settings.place(one.port)}" for one in listeners]

    def reopen_log(self) -> None:
        """The log file was moved away."""
        self._journal.sink.reopen()

    async def drain(self) -> None:
        """Drain: let requests in progress finish."""
        await self._worker.drain()

    async def close(self) -> None:
        """End everything immediately."""
        await self._worker.close()
