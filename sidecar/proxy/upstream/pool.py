"""The connections to one upstream: kept alive, bounded in number, with a bounded queue before them.

Theory of operation. An exchange is put on the connection that was used last (it is the least likely to be stale).
With none idle, one more is opened while there are fewer than `max_connections`; after that the exchange waits in
line, and past `max_waiting` it is refused at once, because a queue that cannot drain only adds to the delay. After
a refused connect the upstream counts as down for a moment that doubles up to a second: meanwhile requests are
refused without a connect each.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import UpstreamSettings
from sidecar.proxy.upstream.connection import Passenger, Pool, UpstreamConnection
from sidecar.proxy.upstream.transports import Connect
from sidecar.telemetry.record import Observer

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_MARGIN: Final = 1.0
"""Seconds before the API's own time in which a connection is not used any more: a request takes time to arrive."""


class UpstreamPool(Pool):
    """Gives each exchange a connection."""

    def __init__(
        self,
        settings: UpstreamSettings,
        connect: Connect,
        observer: Observer,
        *,
        buffered_bytes: int = 65536,
        call_soon: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """`call_soon` calls when all others have had their turn; by default the loop's."""
        self._loop = loop = asyncio.get_running_loop()
        super().__init__(buffered_bytes, call_soon or loop.call_soon)
        self.settings = settings
        self._connect = connect
        self._observer = observer
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Passenger] = deque()
        self._pause = 0.0
        self._down_until = 0.0
        self._retired = False
        """A reload has put another pool in this one's place."""

    @property
    def connections(self) -> int:
        """Connections open or opening."""
        return len(self._open) + len(self._opening)

    @property
    def waiting(self) -> int:
        """Exchanges in line."""
        return len(self._waiting)

    def submit(self, passenger: Passenger) -> None:
        """Put an exchange on a connection, now or when one is free; or tell it that there is none."""
        idle = self._idle
        if idle:
            now = self._loop.time()
            while idle:
                connection = idle.pop()
                if connection.idle_until <= now:
                    # The API may be closing it at this moment, and what is lost with it may not be sent again.
                    connection.discard()
                elif connection.is_usable:
                    passenger.attach(connection)
                    return
        if self.connections >= self.settings.max_connections:
            self._queue(passenger)
        elif self._loop.time() < self._down_until:
            passenger.upstream_failed(Reason.UPSTREAM_REFUSED, "the upstream is down")
        else:
            self._open_for(passenger)

    def submit_fresh(self, passenger: Passenger) -> None:
        """As `submit`, not on a connection that was idle: for a retry after a stale one."""
        if self.connections >= self.settings.max_connections:
            self._waiting.appendleft(passenger)
        else:
            self._open_for(passenger)

    def _queue(self, passenger: Passenger) -> None:
        if len(self._waiting) >= self.settings.max_waiting:
            # Those that have their answer or whose client has left still stand in line; they are the first to go.
            self._waiting = deque(each for each in self._waiting if not each.is_over)
        if len(self._waiting) >= self.settings.max_waiting:
            passenger.upstream_failed(Reason.OVERLOADED, "every connection is busy and the queue is full")
        else:
            self._waiting.append(passenger)

    def _open_for(self, passenger: Passenger) -> None:
        task = self._loop.create_task(self._open_connection(passenger))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connected(
        self, passenger: Passenger, factory: Callable[[], asyncio.Protocol]
    ) -> asyncio.Protocol | None:
        """A new connection; None when there is none, and `passenger` was told so."""
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                connection = await self._connect(self._loop, factory, self.settings)
        except TimeoutError:
            self._failed(passenger, Reason.UPSTREAM_TIMEOUT, "connect")
            return None
        except OSError as refused:
            self._failed(
                passenger, Reason.UPSTREAM_REFUSED, f"connect: {refused.strerror or type(refused).__name__}"
            )
            return None
        except Exception as error:  # noqa: BLE001 — a name that IDNA cannot encode, say: nobody else would tell
            self._failed(passenger, Reason.UPSTREAM_REFUSED, f"connect: {type(error).__name__}")
            return None
        self._pause = self._down_until = 0.0
        return connection

    async def _open_connection(self, passenger: Passenger) -> None:
        connection = await self._connected(passenger, lambda: UpstreamConnection(self))
        if connection is None:
            return
        assert isinstance(connection, UpstreamConnection)  # noqa: S101 — for the type checker
        self._open.add(connection)
        if passenger.is_over:
            connection.served = 1  # whoever gets it, it has been idle and may be stale
            self.release(connection)
        else:
            passenger.attach(connection)

    def _failed(self, passenger: Passenger, reason: Reason, detail: str) -> None:
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
        self._down_until = self._loop.time() + self._pause
        self._observer.incident("upstream_down", detail)
        # The requests in the queue would fail one by one for the same reason: they fail now, and may be retried.
        waiting, self._waiting = self._waiting, deque()
        for each in (passenger, *waiting):
            if not each.is_over:
                each.upstream_failed(reason, detail)

    def release(self, connection: UpstreamConnection) -> None:
        """A connection carries nothing any more: the next in line gets it."""
        while self._waiting:
            passenger = self._waiting.popleft()
            if not passenger.is_over:
                passenger.attach(connection)
                return
        if self._retired:
            connection.discard()
            return
        lifetime, told = self.settings.idle_timeout, connection.stays_open
        if 0 <= told < lifetime + _MARGIN:
            lifetime = told - _MARGIN
        if lifetime <= 0:
            connection.discard()
            return
        connection.idle_until = self._loop.time() + lifetime
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        while self._waiting:
            passenger = self._waiting.popleft()
            if not passenger.is_over:
                self._open_for(passenger)
                return

    def close_idle(self, now: float) -> None:
        """Close connections that nobody used for `idle_timeout`, or for as long as the API keeps them."""
        for connection in [each for each in self._idle if each.idle_until <= now]:
            connection.discard()

    def retire(self) -> None:
        """What is in flight or in line finishes; no connection is kept after that."""
        self._retired = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.discard()

    def close(self) -> None:
        """End everything now."""
        self.retire()
        self._waiting.clear()
        for task in tuple(self._opening):
            task.cancel()
        for connection in tuple(self._open):
            connection.discard()
