"""The connections to one upstream: kept alive, bounded in number, with a bounded queue before them.

Theory of operation. An exchange is put on the connection that was used last (it is the least likely to be stale).
With none idle, one more is opened while there are fewer than `max_connections`; after that the exchange waits in
line, and past `max_waiting` it is refused at once, because a queue that cannot drain only adds to the delay. After
a refused connect the upstream counts as down for a moment that doubles up to a second: meanwhile requests are
refused without a connect each. One source may have three quarters of the connections, and of the line: whoever else
comes finds the rest. That is looked at only when there are so many, and counted only then, a request at a time.
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
_FAREWELL: Final = 10.0
"""Seconds that the upstream has to read what was written to a connection that ends."""

NO_HTTP2: Final = "the upstream speaks no HTTP/2 (upstream.protocol is h2)"


def _why(refused: OSError) -> str:
    said = refused.strerror or type(refused).__name__
    # RFC 7301 §3.2: a server that has no protocol in common says so with this alert, and only HTTP/2 is offered to one.
    return NO_HTTP2 if "no application protocol" in said else f"connect: {said}"


def share_of(of: int) -> int:
    """The share of one source of this many places; all if there are three or fewer."""
    return of - of // 4


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
        self._now: Callable[[], float] = loop.time
        self._idle_timeout = float(settings.idle_timeout)
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening: dict[asyncio.Task[None], Passenger] = {}
        self._waiting: deque[Passenger] = deque()
        self._share = share_of(settings.max_connections)
        self._is_crowded = False
        """Whether there are so many connections that one source could have more than its share."""
        self._charged: dict[object, str] = {}
        """While it is crowded: each connection in use, and each task that opens one → the source that has it."""
        self._by_source: dict[str, int] = {}
        """How many of these each source has."""
        self.opened = 0
        """Total number of connections that were opened or tried."""
        self._pause = 0.0
        self._down_until = 0.0
        self._retired = False
        """A reload has replaced this pool."""

    @property
    def connections(self) -> int:
        """Connections open or opening."""
        return len(self._open) + len(self._opening)

    @property
    def waiting(self) -> int:
        """Exchanges in line."""
        return len(self._waiting)

    def submit(self, passenger: Passenger) -> None:
        """Put an exchange on a connection, now or when one is free, or fail it."""
        idle = self._idle
        if self._is_crowded and self._by_source.get(passenger.source, 0) >= self._share:
            self._queue(passenger)
            return
        if idle:
            now = self._now()
            while idle:
                connection = idle.pop()
                if connection.idle_until <= now:
                    # The API may be closing it at this moment, and what is lost with it may not be sent again.
                    connection.discard()
                elif connection.is_usable:
                    if self._is_crowded:
                        self._charge(connection, passenger.source)
                    passenger.attach(connection)
                    return
        if self.connections >= self.settings.max_connections:
            self._queue(passenger)
        elif self._now() < self._down_until:
            passenger.upstream_failed(Reason.UPSTREAM_REFUSED, "the upstream is down")
        else:
            self._open_for(passenger)

    def submit_fresh(self, passenger: Passenger) -> None:
        """Like `submit`, but only on a new connection: for a retry after a stale one."""
        if self.connections >= self.settings.max_connections:
            self._waiting.appendleft(passenger)
        else:
            self._open_for(passenger)

    def _queue(self, passenger: Passenger) -> None:
        room, share = self.settings.max_waiting, share_of(self.settings.max_waiting)
        if len(self._waiting) >= share:
            # Those that have their answer or whose client has left still stand in line; they are the first to go.
            self._waiting = deque(each for each in self._waiting if not each.is_over)
        if len(self._waiting) >= room or (len(self._waiting) >= share and self._in_line(passenger) >= share):
            passenger.upstream_failed(Reason.OVERLOADED, "every connection is busy and the queue is full")
        else:
            self._waiting.append(passenger)

    def _open_for(self, passenger: Passenger) -> None:
        task = self._loop.create_task(self._open_connection(passenger))
        self._opening[task] = passenger
        if self._is_crowded:
            self._charge(task, passenger.source)
        self.opened += 1
        task.add_done_callback(self._is_opened)
        self._count()

    def _is_opened(self, task: asyncio.Task[None]) -> None:
        del self._opening[task]
        self._discharge(task)
        self._count()

    # --- one source and the others -------------------------------------------------------------------

    def _count(self) -> None:
        was_crowded, self._is_crowded = self._is_crowded, self.connections >= self._share
        if self._is_crowded and not was_crowded:
            for connection in self._open:
                if connection.passenger is not None:
                    self._charge(connection, connection.passenger.source)
            for task, passenger in self._opening.items():
                self._charge(task, passenger.source)
        elif was_crowded and not self._is_crowded:
            self._charged, self._by_source = {}, {}

    def _charge(self, what: object, source: str) -> None:
        if what not in self._charged:
            self._charged[what] = source
            self._one_more(source)

    def _discharge(self, what: object) -> None:
        source = self._charged.pop(what, None)
        if source is not None:
            self._one_less(source)

    def _one_more(self, source: str) -> None:
        self._by_source[source] = self._by_source.get(source, 0) + 1

    def _one_less(self, source: str) -> None:
        left = self._by_source[source] - 1
        if left:
            self._by_source[source] = left
        else:
            del self._by_source[source]

    def _board(self, passenger: Passenger, connection: UpstreamConnection) -> None:
        """Put an exchange on a connection."""
        if self._is_crowded:
            self._charge(connection, passenger.source)
        passenger.is_put_on(connection)

    def _in_line(self, passenger: Passenger) -> int:
        """How many requests of its source wait."""
        source, count = passenger.source, 0
        for each in self._waiting:
            count += each.source == source
        return count

    def _next_in_line(self) -> Passenger | None:
        """The first waiting exchange whose source has less than its share."""
        held, is_crowded = self._by_source, self._is_crowded
        passed: list[Passenger] = []
        found: Passenger | None = None
        while self._waiting and found is None:
            passenger = self._waiting.popleft()
            if passenger.is_over:
                continue
            if is_crowded and held.get(passenger.source, 0) >= self._share:
                passed.append(passenger)
            else:
                found = passenger
        self._waiting.extendleft(reversed(passed))
        return found

    async def _connected(
        self, passenger: Passenger, factory: Callable[[], asyncio.Protocol]
    ) -> asyncio.Protocol | None:
        """A new connection; None if it fails, and then `passenger` was notified."""
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                connection = await self._connect(self._loop, factory, self.settings)
        except TimeoutError:
            self._failed(passenger, Reason.UPSTREAM_TIMEOUT, "connect")
            return None
        except OSError as refused:
            self._failed(passenger, Reason.UPSTREAM_REFUSED, _why(refused))
            return None
        except Exception as error:  # noqa: BLE001 — for example a name that IDNA cannot encode
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
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — for the type checker
        self._discharge(task)  # it has the connection itself now
        if passenger.is_over:
            connection.served = 1  # it has been idle, so it may be stale for any exchange
            self.release(connection)
        else:
            self._board(passenger, connection)

    def _failed(self, passenger: Passenger, reason: Reason, detail: str) -> None:
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
        self._down_until = self._now() + self._pause
        self._observer.incident("upstream_down", detail)
        # The requests in the queue would fail one by one for the same reason: they fail now, and may be retried.
        waiting, self._waiting = self._waiting, deque()
        for each in (passenger, *waiting):
            if not each.is_over:
                each.is_told(reason, detail)

    def release(self, connection: UpstreamConnection) -> None:
        """A connection has become free: the next exchange in the queue gets it."""
        if self._is_crowded:
            self._discharge(connection)
        if self._waiting:
            passenger = self._next_in_line()
            if passenger is not None:
                self._board(passenger, connection)
                return
        if self._retired:
            connection.discard()
            return
        lifetime, told = self._idle_timeout, connection.stays_open
        if 0 <= told < lifetime + _MARGIN:
            lifetime = told - _MARGIN
        if lifetime <= 0:
            connection.discard()
            return
        connection.idle_until = self._now() + lifetime
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection was closed."""
        self._open.discard(connection)
        self._discharge(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._count()
        passenger = self._next_in_line()
        if passenger is not None:
            self._open_for(passenger)

    def part_with(self, transport: asyncio.Transport) -> None:
        """Close once buffered bytes are sent. An upstream that does not read them would keep its place for ever: it
        has `_FAREWELL`. The size of the buffer is not asked: over TLS it leaves out what the socket did not take.
        """
        if not transport.is_closing():
            transport.close()
            self._loop.call_later(_FAREWELL, transport.abort)

    def close_idle(self, now: float) -> None:
        """Close connections that were unused for `idle_timeout`, or for as long as the API keeps them."""
        for connection in [each for each in self._idle if each.idle_until <= now]:
            connection.discard()

    def retire(self) -> None:
        """Exchanges in progress or in the queue finish; no connection is kept after that."""
        self._retired = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.discard()

    def close(self) -> None:
        """End everything immediately."""
        self.retire()
        self._waiting.clear()
        for task in tuple(self._opening):
            task.cancel()
        for connection in tuple(self._open):
            connection.discard()
