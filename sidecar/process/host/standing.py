"""Tasks that stand as long as the process does: one that fails is told, counted and begun again.

An exception of an asyncio task stays unseen until the task is awaited. What keeps workers alive or watches files is
awaited at the end only.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before work that failed begins again: doubled each time, back to the first after a quiet minute."""
QUIET = 60.0

Work = Callable[[], Coroutine[Any, Any, None]]
"""Begins the work; it returns only when there is no more to do."""


class StandingTasks:
    """Runs each piece of work until it returns or `close` is called."""

    def __init__(self, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: dict[str, tuple[float, str]] = {}
        """Name of the work → when it last failed, by the monotonic clock, and how."""

    def begin(self, name: str, work: Work) -> None:
        """Begin `work` on the running event loop."""
        self._tasks.append(asyncio.create_task(self._stand(name, work), name=name))

    async def close(self) -> None:
        """Cancel all, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failed(self) -> Iterator[tuple[str, str]]:
        """Name and failure of each piece of work that failed within the last quiet minute."""
        since = time.monotonic() - QUIET
        for name, (at, how) in self._failed.items():
            if at > since:
                yield name, how

    async def _stand(self, name: str, work: Work) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            how = await _failure(work)
            if how is None:
                return
            if time.monotonic() - began > QUIET:
                pause = FIRST_PAUSE
            self._failed[name] = (time.monotonic(), how)
            self._metrics.increment("sidecar_incidents_total", "task_failed")
            self._journal.error("task failed", task=name, detail=how, again_in=pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)


async def _failure(work: Work) -> str | None:
    """How the work failed, or None when it returned. Raises CancelledError when it is this task that is cancelled."""
    try:
        await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return "cancelled from inside"  # something that it awaited was cancelled: not the end of its work
    except Exception as error:  # noqa: BLE001 — whatever it was, it must not pass unseen
        return kind_and_place(error)
    return None


def kind_and_place(error: BaseException) -> str:
    """Class and place of an unexpected error. Not its message: that may quote what a peer or a file said."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{where}"
