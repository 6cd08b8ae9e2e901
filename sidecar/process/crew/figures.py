"""Collects the figures of all workers. A worker that does not send its figures is considered hung."""

import asyncio
import time
from collections.abc import Sequence

from sidecar.process.crew.seat import Seat
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Snapshot, merged, only_counts, restored

GATHER = 2.0
"""Seconds between two looks: what a worker counted after the last one is lost if it is killed."""
SILENT_TOO_LONG = 4
"""Looks in a row at which a worker may be found to have said nothing since the last one."""


class Figures:
    """Asks for the figures periodically and on demand."""

    def __init__(self, seats: Sequence[Seat], journal: Journal) -> None:
        self._seats = seats
        self._journal = journal
        self._departed: Snapshot = {}
        """The counts of workers that have ended."""
        self._gathering: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Watch until cancelled; kill a worker that is silent for too long. Only the questions of this watch count."""
        while True:
            await asyncio.sleep(GATHER)
            asked_at = time.monotonic()
            asked = [(seat, seat.end) for seat in self._seats if seat.end is not None]
            await self.gather(self._seats)
            for seat, end in asked:
                if seat.end is end:
                    self._listened(seat, heard=end.heard_at >= asked_at)

    def _listened(self, seat: Seat, *, heard: bool) -> None:
        """Kill a worker whose event loop is stuck; another one is started."""
        seat.silent = 0 if heard else seat.silent + 1
        if seat.silent >= SILENT_TOO_LONG:
            self._journal.error("worker does not answer", pid=seat.pid)
            seat.kill()

    async def gather(self, seats: Sequence[Seat]) -> None:
        """The figures of these workers."""
        serving = [seat for seat in seats if seat.end is not None]
        answers = await asyncio.gather(*(seat.ask("snapshot") for seat in serving), return_exceptions=True)
        for seat, answer in zip(serving, answers, strict=True):
            if isinstance(answer, RuntimeError):
                self._journal.error("worker tells no figures", pid=seat.pid, detail=str(answer))
            elif not isinstance(answer, BaseException):
                self._heard(seat, answer)

    def _heard(self, seat: Seat, answer: object) -> None:
        """The worker's figures. A worker that answers with anything else is no longer trusted and is killed."""
        try:
            seat.figures = restored(answer)
        except ValueError as error:
            self._journal.error("worker talks nonsense", pid=seat.pid, detail=str(error))
            seat.kill()

    async def gathered(self) -> Snapshot:
        """Those of all workers, past ones included.

        However many ask at a time, the workers are asked once; one that was silent lately is not waited for.
        """
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self.gather([seat for seat in self._seats if seat.answers]))
        await asyncio.shield(self._gathering)
        return merged([self._departed, *(seat.figures for seat in self._seats)])

    def keep_counts(self, seat: Seat) -> None:
        """The worker of this seat has ended; its counts are kept."""
        self._departed = merged([self._departed, only_counts(seat.figures)])

    async def close(self) -> None:
        """Stop asking."""
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.gather(self._gathering, return_exceptions=True)
