"""The data plane between a client and an upstream in memory: a test reads as the bytes exchanged.

    with Conversation() as talk:
        client = talk.client()
        client.says(b"GET /a HTTP/1.1\\r\\nHost: api\\r\\n\\r\\n")
        upstream = talk.upstream()
        assert upstream.hears() == b"GET /a HTTP/1.1\\r\\nHost: api\\r\\n\\r\\n"
        upstream.says(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
        assert client.hears() == b"HTTP/1.1 204 No Content\\r\\n\\r\\n"

`Server` and everything under it are the real ones. In memory are: the loop and its clock, the transports, TLS (whose
records are not encrypted), who decides (`Gate`) and who is told (`Observed`). Nothing waits: each line of a test
returns when nothing more can happen without the next.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecar.proxy.configuration import (
    HTTP1,
    HTTP2,
    Limits,
    ListenerSettings,
    ProxySettings,
    Timeouts,
    TlsSettings,
    UpstreamSettings,
)
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from sidecar.proxy.exchange.snapshot import Authorizes
from sidecar.proxy.server import Server
from sidecar.telemetry.record import AuditRecord
from sidecar.telemetry.sink import LineSink
from tests.support.cleartext import ALERT, CLOSE_NOTIFY, DATA, HANDSHAKE, CleartextTls, Unsealing, seal
from tests.support.deciding import Decision, Gate, Observed
from tests.support.memory_transport import MemoryTransport
from tests.support.pki import Identity
from tests.support.recorder import Inbound, Seen
from tests.support.records import STARTED
from tests.support.tls_client import Response, Truncated
from tests.support.virtual_time import VirtualTime

LISTENER = ListenerSettings(
    "main", "127.0.0.1", 0, TlsSettings(Path("unused"), Path("unused")), protocols=(HTTP2, HTTP1)
)
UPSTREAM = UpstreamSettings("http", "upstream.test", 80, identity_headers={"X-Auth-Subject": "sub"})
PORT = 8443
_OUR_FIELDS = re.compile(
    rb"(?:X-Forwarded-For|X-Forwarded-Proto|X-Forwarded-Host|Forwarded|Via|traceparent|X-Request-Id): [^\r]*\r\n"
)
_DATE = re.compile(rb"Date: [^\r]*\r\n")


class _Replay(Inbound):
    """Reads messages from bytes that are here."""

    def __init__(self, data: bytes, *, ended: bool) -> None:
        self._buffer = data
        self._ended = ended

    def _receive(self) -> bytes:
        return b""

    @property
    def rest(self) -> bytes:
        return self._buffer


class FarEnd:
    """One end of a connection, in the test's hands."""

    def __init__(self, loop: VirtualTime, transport: MemoryTransport) -> None:
        self._loop = loop
        self.transport = transport

    def stops_reading(self) -> None:
        self.transport.appetite = 0
        self._loop.settle()

    def reads(self, size: float = float("inf")) -> None:
        """Reads on: so many bytes, or from now on all."""
        self.transport.eat(size)
        self._loop.settle()

    def leaves(self) -> None:
        """Ends the TCP connection without a word."""
        self.transport.arrive(None)
        self._loop.settle()

    def resets(self) -> None:
        self.transport.reset()
        self._loop.settle()

    @property
    def is_closed(self) -> bool:
        """The sidecar has ended the connection."""
        return self.transport.is_lost

    @property
    def is_read(self) -> bool:
        """The sidecar reads from this connection."""
        return self.transport.is_reading()


class Client(FarEnd):
    """A client's end of one connection."""

    def __init__(self, loop: VirtualTime, transport: MemoryTransport) -> None:
        super().__init__(loop, transport)
        self._records = Unsealing()
        self._heard = b""
        self.alerts: list[bytes] = []

    def says(self, *plaintext: bytes) -> None:
        """Sends plaintext, each piece a record of its own that is read by itself."""
        for piece in plaintext:
            self.sends(seal(DATA, piece))

    def sends(self, ciphertext: bytes) -> None:
        self.transport.arrive(ciphertext)
        self._loop.settle()

    def shakes_hands(self) -> None:
        self.sends(seal(HANDSHAKE, b"hello"))

    def says_no_more(self) -> None:
        """Half-closes: close_notify, and reads on."""
        self.sends(seal(ALERT, CLOSE_NOTIFY))

    def closes(self) -> None:
        """As most clients do: close_notify, and TCP ends with it."""
        self.transport.arrive(seal(ALERT, CLOSE_NOTIFY))
        self.leaves()

    def hears(self) -> bytes:
        """The plaintext that came since the last call, without the Date that the sidecar adds."""
        self._unseal()
        heard, self._heard = self._heard, b""
        return _DATE.sub(b"", heard)

    def answer(self, to: str = "GET") -> Response:
        """The next response, taken apart. Raises `Truncated` when it is not whole."""
        self._unseal()
        replay = _Replay(self._heard, ended=self.is_closed or bool(self.alerts))
        response = replay.response(to)
        self._heard = replay.rest
        return response

    def statuses(self) -> list[int]:
        """The status of each response in what was heard, none of which answers HEAD."""
        found: list[int] = []
        while True:
            self._unseal()
            if not self._heard:
                return found
            found.append(self.answer().status)

    def _unseal(self) -> None:
        data = bytes(self.transport.taken)
        self.transport.taken.clear()
        for kind, payload in self._records.feed(data):
            if kind == DATA:
                self._heard += payload
            elif kind == ALERT:
                self.alerts.append(payload)

    @property
    def got_goodbye(self) -> bool:
        """The sidecar ended its stream in good order, with close_notify."""
        self._unseal()
        return CLOSE_NOTIFY in self.alerts and self.transport.got_eof

    @property
    def was_cut(self) -> bool:
        """The connection ended without close_notify: what was under way is visibly not whole (RFC 8446 §6.1)."""
        self._unseal()
        return self.is_closed and CLOSE_NOTIFY not in self.alerts


class Upstream(FarEnd):
    """The upstream's end of one connection."""

    def __init__(self, loop: VirtualTime, transport: MemoryTransport) -> None:
        super().__init__(loop, transport)
        self._unread = b""

    def says(self, *data: bytes) -> None:
        """Sends bytes, each piece read by itself."""
        for piece in data:
            self.transport.arrive(piece)
            self._loop.settle()

    def hears_all(self) -> bytes:
        """The bytes that came since the last call."""
        self._unread += bytes(self.transport.taken)
        self.transport.taken.clear()
        heard, self._unread = self._unread, b""
        return heard

    def hears(self) -> bytes:
        """The same without the fields that the sidecar adds to every request."""
        return _OUR_FIELDS.sub(b"", self.hears_all())

    def request(self) -> Seen | None:
        """The next request, taken apart; None when none came. Raises `Truncated` when it is not whole yet."""
        data = self.hears_all()
        replay = _Replay(data, ended=True)
        try:
            seen = replay.request_message()
        except Truncated:
            self._unread = data
            raise
        self._unread = replay.rest
        return seen

    def requests(self) -> list[Seen]:
        return list(iter(self.request, None))


class Conversation:
    """A `Server` with everything around it in memory. A context manager."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 — immutable
        timeouts: Timeouts = Timeouts(),  # noqa: B008 — immutable
        upstream: UpstreamSettings = UPSTREAM,
        listener: ListenerSettings = LISTENER,
        expected_bugs: int = 0,
        decides: Authorizes | None = None,
        places: LineSink | None = None,
        endpoints: Callable[[Gate, Observed], ServerEndpoints] | None = None,
        **others: bool | str | frozenset[str],
    ) -> None:
        """`expected_bugs` is how many faults of our own the test provokes; any other fails it in the end."""
        self.loop = VirtualTime()
        self.wall = STARTED
        self.gate = Gate()
        self.observed = Observed()
        self.observed.places = places
        self.upstreams: list[Upstream] = []
        self.attempts = 0
        """Connections to the upstream that were tried."""
        self.reachable: bool | None = True
        """False: the upstream refuses connections; None: it leaves them unanswered."""
        self.latency = 0.0
        """Seconds until the upstream takes a connection."""
        self.new_upstreams_read = True
        self.tls = CleartextTls()
        self._taken = 0
        self._expected_bugs = expected_bugs
        self._endpoints = endpoints
        self.settings = ProxySettings((listener,), upstream, limits, timeouts, **others)  # type: ignore[arg-type]
        # The rest are switches of ProxySettings; it says what it does not know.
        self.server = self.loop.run_until_complete(self._serve(decides or self.gate))

    async def _serve(self, authorizer: Authorizes) -> Server:
        server = Server(
            self.settings,
            authorizer,
            self.observed,
            clock=self._clock,
            tls_factory=lambda _settings: self.tls.again(),
            connect=self._connect,
            endpoints=self._endpoints(self.gate, self.observed) if self._endpoints is not None else None,
        )
        await server.start()
        return server

    def _clock(self) -> float:
        return self.wall + self.loop.time() - 1000.0

    async def _connect(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Callable[[], asyncio.Protocol],
        settings: UpstreamSettings,
    ) -> asyncio.Protocol:
        self.attempts += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.reachable is None:
            await loop.create_future()
        if not self.reachable:
            raise ConnectionRefusedError(111, "Connection refused")
        transport = MemoryTransport(loop, (settings.host, settings.port))
        if not self.new_upstreams_read:
            transport.appetite = 0
        protocol = factory()
        transport.connect(protocol)
        self.upstreams.append(Upstream(self.loop, transport))
        return protocol

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
        self.loop.settle()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        if kind is None:
            assert not self.loop.faults, self.loop.faults
            bugs = [detail for name, detail in self.observed.incidents if name == "internal_error"]
            assert len(bugs) == self._expected_bugs, bugs
            assert self.server.exchanges == 0, "an exchange was never over"
            assert self.server.occupancy.taken() == {}, "a place of a rule was never left"
            assert self.observed.open == 0, "a connection was never closed"

    def client(
        self,
        identity: Identity | None = None,
        peer: tuple[str, int] = ("192.0.2.7", 50000),
        *,
        shakes_hands: bool = True,
    ) -> Client:
        """A new connection of a client that has, unless told otherwise, finished its handshake."""
        self.tls.identity = identity
        (accepting,) = self.loop.accepting.values()
        transport = MemoryTransport(self.loop, peer)
        self.loop.call_soon(lambda: transport.connect(accepting.factory()))
        self.loop.settle()
        client = Client(self.loop, transport)
        if shakes_hands:
            client.shakes_hands()
        return client

    def upstream(self) -> Upstream:
        """The next connection that the sidecar opened to the upstream; there must be one."""
        assert self._taken < len(self.upstreams), "no new connection to the upstream"
        self._taken += 1
        return self.upstreams[self._taken - 1]

    @property
    def untouched(self) -> bool:
        """No connection to the upstream was opened but those that the test has taken."""
        return self._taken == len(self.upstreams)

    def later(self, seconds: float) -> None:
        """Time passes, on every clock."""
        self.loop.pass_time(seconds)

    def ponders(self, path: str) -> None:
        """The decision about `path` comes when the test says so, with `decide`."""
        self.gate.verdicts[path] = self.loop.create_future()

    def decide(self, path: str, decision: Decision | None = None) -> None:
        """It comes: a permit unless given."""
        future = self.gate.verdicts[path]
        assert isinstance(future, asyncio.Future)
        future.set_result(decision or self.gate.permit())
        self.loop.settle()

    def fail(self, path: str, error: Exception) -> None:
        """It comes to nothing: deciding raises `error`."""
        future = self.gate.verdicts[path]
        assert isinstance(future, asyncio.Future)
        future.set_exception(error)
        self.loop.settle()

    def reload(self, settings: ProxySettings, decides: Authorizes | None = None, generation: int = 2) -> None:
        """Another configuration from now on."""

        async def replace() -> None:
            self.server.replace(settings, decides or self.gate, generation=generation)

        self.loop.run_until_complete(replace())
        self.loop.settle()

    @property
    def record(self) -> AuditRecord:
        """The one audit record there is."""
        (record,) = self.observed.records
        return record

    @property
    def outcomes(self) -> list[tuple[str, int, str]]:
        """Path, status and reason of each record."""
        return [
            (record.path, record.status, record.reason.value if record.reason else "")
            for record in self.observed.records
        ]
