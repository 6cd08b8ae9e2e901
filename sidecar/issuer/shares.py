"""Fair sharing of a limited number of places among sources.

Theory of operation. A source is the sender of what takes a place (`Presenter.source`). It may take another place
while it holds fewer than `GREED` times the number of free places. A single source gets three quarters of all; each
further source with the same demand finds some free (the dynamic threshold of Choudhury and Hahne, 1998).
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

GREED: Final = 3


class Shares:
    """Counts how many of `capacity` places each source holds."""

    def __init__(self, capacity: int) -> None:
        self.free = capacity
        self._held: dict[str, int] = {}
        """Places held, by source; sources without a place have no entry."""

    @property
    def is_used(self) -> bool:
        """Whether any place is taken."""
        return bool(self._held)

    def fits(self, source: str) -> bool:
        """Whether `source` may take another place now."""
        return self.free > 0 and self._held.get(source, 0) < max(1, GREED * self.free)

    def take(self, source: str) -> None:
        """Take a place for `source`; `fits` must be true."""
        self.free -= 1
        self._held[source] = self._held.get(source, 0) + 1

    def give_back(self, source: str) -> None:
        """Return a place of `source`."""
        self.free += 1
        held = self._held.pop(source) - 1
        if held:
            self._held[source] = held


class NoPlaceToWait(Exception):
    """Too many callers wait already, in total or of this source."""


class Places:
    """Places with a queue; waiting sources take turns."""

    def __init__(self, capacity: int, waiting: int) -> None:
        """`capacity` places; at most `waiting` callers wait for one."""
        self._shares = Shares(capacity)
        self._room = Shares(waiting)
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Waiting callers, by source; the next source is first."""

    @asynccontextmanager
    async def place(self, source: str) -> AsyncIterator[None]:
        """Hold a place. Raises `NoPlaceToWait`."""
        await self._acquire(source)
        try:
            yield
        finally:
            self._shares.give_back(source)
            self._wake()

    async def _acquire(self, source: str) -> None:
        if source not in self._queues and self._shares.fits(source):
            self._shares.take(source)
            return
        if not self._room.fits(source):
            raise NoPlaceToWait
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.take(source)
        self._queues.setdefault(source, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(source, turn)
            else:  # the place was assigned together with the cancellation
                self._shares.give_back(source)
                self._wake()
            raise
        finally:
            self._room.give_back(source)

    def _leave(self, source: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(source, deque())
        if turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[source]

    def _wake(self) -> None:
        """Give free places to the sources that may have them, in turn."""
        while (source := next(filter(self._shares.fits, self._queues), None)) is not None:
            queue = self._queues[source]
            turn = queue.popleft()
            if queue:
                self._queues.move_to_end(source)
            else:
                del self._queues[source]
            if not turn.cancelled():  # a cancelled one may not have left yet
                self._shares.take(source)
                turn.set_result(None)
