"""One connection to the upstream: carries one exchange at a time."""

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from sidecar.decision.denial import Reason
from sidecar.http.message import MalformedResponse, Response
from sidecar.proxy.upstream.http1_reader import ResponseReader

if TYPE_CHECKING:
    from sidecar.proxy.upstream.pool import UpstreamPool


class Passenger(Protocol):
    """What an upstream connection carries: an exchange."""

    @property
    def is_over(self) -> bool:
        """The client is gone or has its answer; nobody waits for one."""

    def attach(self, upstream: "UpstreamConnection") -> None:
        """Send the request on `upstream`."""

    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        """Part of the response is here."""

    def tunnelled(self, data: bytes) -> None:
        """Bytes from the upstream through a tunnel."""

    def upstream_failed(self, reason: Reason, detail: str) -> None:
        """There will be no (whole) response."""

    def broke(self, error: Exception) -> None:
        """A fault of ours came up on the way."""

    def upstream_blocked(self) -> None:
        """The upstream takes no more for now."""

    def upstream_ready(self) -> None:
        """The upstream takes more again."""


class UpstreamConnection(asyncio.Protocol):
    """Bytes to and from the upstream for one exchange after another."""

    __slots__ = (
        "_ended",
        "_half_closed",
        "_held",
        "_passenger",
        "_pool",
        "_tunnel",
        "blocked",
        "idle_since",
        "reader",
        "served",
        "transport",
    )

    def __init__(self, pool: "UpstreamPool") -> None:
        self._pool = pool
        self._passenger: Passenger | None = None
        self._tunnel = False
        self._ended = False
        self._half_closed = False
        self.transport: asyncio.Transport | None = None
        self.reader = ResponseReader()
        self._held = False
        self.blocked = False
        """The upstream takes no more for now."""
        self.served = 0
        """Exchanges carried before the present one: a reused connection may have gone stale."""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's has no such ancestor
        self.transport = transport
        transport.set_write_buffer_limits(high=self._pool.buffered_bytes)

    @property
    def is_usable(self) -> bool:
        """Whether an exchange may be put on it."""
        return self.transport is not None and not self.transport.is_closing()

    def carry(self, passenger: Passenger, head: bytes, *, bodiless: bool) -> None:
        """Begin an exchange: `head` is the request head with what is there of the body."""
        assert self.transport is not None  # noqa: S101 — only usable connections carry
        self._passenger = passenger
        self.reader.begin(bodiless=bodiless)
        if self._held:
            self.resume()
        self.transport.write(head)

    def hold(self) -> None:
        """Read no more: whoever reads the response is slow."""
        if self.transport is not None and not self._held:
            self._held = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None and self._held:
            self._held = False
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """More of the request body, or of a tunnel whose half towards the upstream is open."""
        if self.transport is not None and not self._half_closed:
            self.transport.write(data)

    def open_tunnel(self) -> bytes:
        """From now on bytes are not HTTP; returns those that came behind the response head."""
        self._tunnel = True
        return self.reader.after_upgrade or b""

    def release(self) -> None:
        """The exchange is over and the connection can carry another."""
        self._passenger = None
        self.resume()  # so that it is noticed when the upstream closes it
        self.served += 1
        self._pool.release(self)

    def discard(self) -> None:
        """The exchange is over and the connection with it."""
        self._passenger = None
        if self.transport is not None:
            self.transport.abort()

    def end_writing(self) -> None:
        """Half-close a tunnel, where the transport can."""
        if self.transport is not None and self.transport.can_write_eof():
            self._half_closed = True
            self.transport.write_eof()

    def finish_writing(self) -> None:
        """End a tunnel in good order: what is buffered goes out first."""
        self._passenger = None
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        passenger = self._passenger
        if passenger is None:
            # Nothing was asked: an answer now would be taken for the next request's.
            self.discard()
            return
        if self._tunnel:
            passenger.tunnelled(data)
            return
        reader = self.reader
        try:
            heads = reader.feed(data)
            body = reader.body
            if body:
                reader.body = []
            passenger.response_arrived(heads, body, reader.response)
        except MalformedResponse as malformed:
            self.discard()
            passenger.upstream_failed(Reason.UPSTREAM_BROKEN, str(malformed))
        except Exception as error:  # noqa: BLE001 — one exchange's bug must not take others
            self.discard()
            passenger.broke(error)

    def eof_received(self) -> bool:
        # Over TLS this is close_notify; a bare end of TCP comes as `connection_lost` alone (RFC 9112 §9.8).
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        passenger, self._passenger = self._passenger, None
        self._pool.forget(self)
        reader, self.transport = self.reader, None
        if passenger is not None:
            response = reader.response
            if (
                self._ended
                and exc is None
                and not self._tunnel
                and reader.is_started
                and self._ends_with_connection(response)
            ):
                # RFC 9112 §6.3 case 8: the response ends where the connection ends.
                response.complete = True
                passenger.response_arrived([], [], response)
            else:
                detail = "connection closed" if exc is None else f"{type(exc).__name__}"
                passenger.upstream_failed(Reason.UPSTREAM_BROKEN, detail)
        reader.close()

    @staticmethod
    def _ends_with_connection(response: Response) -> bool:
        if response.complete or response.status < 200:
            return False
        return not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in response.fields
        )

    def pause_writing(self) -> None:
        self.blocked = True
        if self._passenger is not None:
            self._passenger.upstream_blocked()

    def resume_writing(self) -> None:
        self.blocked = False
        if self._passenger is not None:
            self._passenger.upstream_ready()
