"""The data plane: listeners, connections and the upstream pool, under one generation of configuration at a time."""

import asyncio
import os
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace as replace_fields
from typing import Any

from sidecar.proxy.admission import Admission
from sidecar.proxy.client import deadlines
from sidecar.proxy.client.backlog import Backlog
from sidecar.proxy.client.connection import ClientConnection
from sidecar.proxy.client.host import IDLE_GRACE, MakesEngines
from sidecar.proxy.configuration import HTTP2, ListenerSettings, ProxySettings
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from sidecar.proxy.exchange.occupancy import Occupancy, UnderWay
from sidecar.proxy.exchange.snapshot import Authorizes, Serving
from sidecar.proxy.listener import Listener
from sidecar.proxy.turns import PATIENCE, Turns
from sidecar.proxy.upstream.http2 import Http2Pool
from sidecar.proxy.upstream.pool import UpstreamPool
from sidecar.proxy.upstream.transports import TRANSPORTS, Connect
from sidecar.proxy.vouching.hop_tls import listener_tls
from sidecar.telemetry.record import Observer
from sidecar.telemetry.trace_context import UNTRACED, TraceIds

_SWEEP = 0.25
"""Seconds between two checks of the deadlines."""
_SURPLUS = 64
"""Connections above the limit that get a 503 instead of a reset."""
_JUDGED_AT_ONCE = 16
"""Connections whose certificates are verified again in one turn of the event loop: some 5 ms."""


class Server:
    """Serves until closed. All methods are called on the event loop."""

    def __init__(
        self,
        settings: ProxySettings,
        authorizer: Authorizes,
        observer: Observer,
        *,
        generation: int = 1,
        documents: Mapping[str, bytes] | None = None,
        resource_metadata: str | None = None,
        clock: Callable[[], float] = time.time,
        tls_factory: Callable[[ListenerSettings], MakesEngines] = listener_tls,
        connect: Connect | None = None,
        trace: TraceIds = UNTRACED,
        endpoints: ServerEndpoints | None = None,
    ) -> None:
        """Reads certificates and keys, so it raises what `listener_tls` raises; opens no port yet.

        `documents` maps a path to a JSON document that the sidecar itself serves there, and `resource_metadata` is
        the URL in challenges (RFC 9728). `endpoints` are those of the authorization server behind the sidecar.
        """
        self.settings = settings
        self.observer = observer
        self.under_way = UnderWay()
        """Requests in progress."""
        self.occupancy = Occupancy()
        """Requests in progress under rules that limit their number."""
        self.draining = False
        self._loop = loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        """The clock of deadlines, in seconds."""
        self.backlog = Backlog(lambda: loop.call_soon(self.relieve))
        self._turns = Turns(loop.call_soon)
        self._turns_of_refused = Turns(loop.call_soon)
        self._last_refused: ClientConnection | None = None
        self._clock = clock
        self._tls_factory = tls_factory
        self._connect = connect
        self._trace = trace
        self.short_of_memory = False
        """Set by the monitor of the process: new connections get a 503."""
        self._admission = Admission()
        self._connections: dict[ClientConnection, bool] = {}
        self._most = 0
        self._shed = 0
        """Number of them that only get a 503."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None
        self.listeners = [Listener(self, each, tls_factory(each)) for each in settings.listeners]
        self._pool = self._make_pool(settings)
        self._retired: list[UpstreamPool] = []
        """Pools of earlier settings that still have connections."""
        self.serving = self._make_serving(
            settings,
            authorizer,
            generation,
            documents,
            resource_metadata=resource_metadata,
            endpoints=endpoints,
        )

    def _make_pool(self, settings: ProxySettings) -> UpstreamPool:
        connect = self._connect or TRANSPORTS[settings.upstream.scheme](settings.upstream)
        limits, buffered = settings.limits, settings.limits.buffered_bytes
        if settings.upstream.protocol == HTTP2:
            return Http2Pool(
                settings.upstream,
                connect,
                self.observer,
                buffered_bytes=buffered,
                header_bytes=limits.header_bytes,
                headers=limits.headers,
            )
        return UpstreamPool(
            settings.upstream,
            connect,
            self.observer,
            buffered_bytes=buffered,
            call_soon=self._turns.wait,
        )

    def _make_serving(
        self,
        settings: ProxySettings,
        authorizer: Authorizes,
        generation: int,
        documents: Mapping[str, bytes] | None,
        *,
        resource_metadata: str | None,
        endpoints: ServerEndpoints | None,
    ) -> Serving:
        return Serving(
            settings,
            authorizer,
            self._pool,
            self.observer,
            occupancy=self.occupancy,
            spawn=self.spawn,
            report_bug=self.report_bug,
            generation=generation,
            documents=documents,
            resource_metadata=resource_metadata,
            clock=self._clock,
            trace=self._trace,
            endpoints=endpoints,
        )

    @property
    def exchanges(self) -> int:
        """Number of requests in progress."""
        return self.under_way.count

    @property
    def streams(self) -> int:
        """Number of requests in progress that are HTTP/2 streams."""
        return self.under_way.streams

    # --- life ----------------------------------------------------------------------------------------

    async def start(self, *, reuse_port: bool = False) -> None:
        """Open every port. Raises `OSError` naming the address; then none is open."""
        for listener in self.listeners:
            try:
                await listener.open(reuse_port=reuse_port)
            except OSError as error:
                self.close()
                where = listener.settings.place()
                # The system's message, without the text that the event loop adds.
                why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
                raise OSError(error.errno, f"cannot listen on {where}: {why}") from error
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def replace(
        self,
        settings: ProxySettings,
        authorizer: Authorizes,
        *,
        generation: int,
        documents: Mapping[str, bytes] | None = None,
        resource_metadata: str | None = None,
        endpoints: ServerEndpoints | None = None,
    ) -> None:
        """Use another configuration for the next requests, handshakes and upstream connections.

        The listening addresses do not change. Raises what `listener_tls` raises, and then nothing has changed.
        """
        by_name = {each.name: each for each in settings.listeners}
        fresh = {
            listener: self._tls_factory(by_name[listener.settings.name])
            for listener in self.listeners
            if listener.settings.name in by_name
        }
        if settings.upstream != self.settings.upstream or settings.upstream.scheme == "https":
            # With TLS, the files may have new content under the same names.
            old, self._pool = self._pool, self._make_pool(settings)
            old.retire()
            self._retired.append(old)
        changed = {listener for listener, tls in fresh.items() if listener.tls is not tls}
        for listener, tls in fresh.items():
            told = by_name[listener.settings.name]
            before = listener.settings
            listener.settings = replace_fields(told, host=before.host, port=before.port, path=before.path)
            listener.take(tls)
        self._judge_again([one for one in self._connections if one.listener in changed])
        self.settings = settings
        self.serving = self._make_serving(
            settings,
            authorizer,
            generation,
            documents,
            resource_metadata=resource_metadata,
            endpoints=endpoints,
        )

    def _judge_again(self, connections: list[ClientConnection]) -> None:
        """Check whether those listeners still accept these clients; a few at a time, because each has a chain to
        verify.
        """
        now, later = connections[:_JUDGED_AT_ONCE], connections[_JUDGED_AT_ONCE:]
        for connection in now:
            try:
                connection.judge_again()
            except Exception as error:  # noqa: BLE001 — a bug must not keep others from being judged
                self.report_bug(error)
                connection.abort()
        if later:
            self.call_soon(lambda: self._judge_again(later))

    def begin_drain(self) -> None:
        """Accept no more connections; answers say `Connection: close`; tunnels get a close frame."""
        self.draining = True
        for listener in self.listeners:
            listener.close()
        deadline = self.now() + IDLE_GRACE
        for connection in tuple(self._connections):
            connection.drain(deadline)

    async def drained(self, timeout: float) -> bool:  # noqa: ASYNC109 — a budget over many connections
        """Wait until all connections are closed, at most `timeout` seconds; returns whether they are."""
        if self._connections:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=timeout)
        return not self._connections

    def close(self) -> None:
        """End everything immediately."""
        for listener in self.listeners:
            listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for task in tuple(self._tasks):
            task.cancel()
        for connection in tuple(self._connections):
            connection.abort()
        for pool in (self._pool, *self._retired):
            pool.close()

    # --- what connections ask ------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Number of open client connections."""
        return len(self._connections)

    def peak(self) -> int:
        """Largest number of open client connections since the last call."""
        most, self._most = self._most, len(self._connections)
        return most

    @property
    def upstream_connections(self) -> int:
        """Number of upstream connections that are open or opening."""
        return self._pool.connections

    def admit(self, connection: ClientConnection) -> bool:
        """Register a new connection; above the limit some get a 503, and further ones are closed at once."""
        sheds = self.short_of_memory or not (self._has_room() or self._makes_room())
        if sheds and self._shed >= _SURPLUS:
            self.observer.incident("connection_refused", "too many connections")
            return False
        self._connections[connection] = sheds
        self._most = max(self._most, len(self._connections))
        self._shed += sheds
        self.observer.connection_opened()
        return True

    def _has_room(self) -> bool:
        return len(self._connections) - self._shed < self.settings.limits.connections

    def _makes_room(self) -> bool:
        given_up = self._admission.dispensable(self._connections, self.now())
        if given_up:
            address = given_up[0].peer[0]
            self._give_up(given_up, f"{address} had the most idle connections without a permitted token")
        return self._has_room()

    def relieve(self) -> None:
        """Memory is short: close connections that hold much of it and have never had a permitted request."""
        given_up = self._admission.hoards(self._connections)
        if given_up:
            count = len(given_up)
            self._give_up(given_up, f"{count} connections without a permitted token held much of the memory")

    def _give_up(self, connections: list[ClientConnection], detail: str) -> None:
        for connection in connections:
            connection.abort()
            self.connection_gone(connection)
        self.observer.incident("connections_given_up", detail)

    def knows_address(self, connection: ClientConnection) -> bool:
        """The address of a connection is known; returns whether that address may have another connection."""
        if self._admission.enter(connection, self.settings.limits.connections_per_address):
            return True
        self.observer.incident("connection_refused", f"too many connections of {connection.peer[0]}")
        return False

    def is_shedding(self, connection: ClientConnection) -> bool:
        """Whether a connection exceeds the limit, so that its request gets a 503."""
        return self._connections.get(connection, False)

    def is_alone(self, connection: ClientConnection) -> bool:
        """Whether, among connections that are always refused, no other has sent a request since this one did."""
        alone = self._last_refused is connection and not self._turns_of_refused.is_awaited
        self._last_refused = connection
        return alone

    def connection_gone(self, connection: ClientConnection) -> None:
        """A client connection is closed."""
        if self._last_refused is connection:
            self._last_refused = None
        sheds = self._connections.pop(connection, None)
        if sheds is not None:
            self._shed -= sheds
            self._admission.leave(connection)
            self.observer.connection_closed()
            if not self._connections and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; it ends with the server."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def call_soon(self, call: Callable[[], object], refusals: int = 0) -> None:
        """Run `call` after all others have had their turn, in the queue that `refusals` of its connection selects."""
        (self._turns if refusals < PATIENCE else self._turns_of_refused).wait(call)

    def report_bug(self, error: Exception) -> None:
        """Report an unexpected exception by place and type; its text may contain data of a client."""
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-4:])
        self.observer.incident("internal_error", f"{type(error).__name__} at {where}")

    def _sweep(self) -> None:
        now, wall = self.now(), self._clock()
        for connection in tuple(self._connections):
            try:
                deadlines.check(connection, now, wall, self.settings.timeouts)
            except Exception as error:  # noqa: BLE001 — a bug of one connection must not stop the deadlines of all others
                self.report_bug(error)
                connection.abort()
        ended = {one for one in self.listeners if one.a_list_ended(wall)}
        if ended:
            self._judge_again([one for one in self._connections if one.listener in ended])
        try:
            self._retired = [pool for pool in self._retired if pool.connections or pool.waiting]
            for pool in (self._pool, *self._retired):
                pool.close_idle(now)
        except Exception as error:  # noqa: BLE001 — as above
            self.report_bug(error)
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
