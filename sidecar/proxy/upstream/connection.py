"""One connection to the upstream: carries one exchange at a time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, cast

from sidecar.decision.denial import Reason
from sidecar.http.lines import NO_TRAILERS, field_lines
from sidecar.http.message import Field, MalformedResponse, Response
from sidecar.proxy.native import mypyc_attr
from sidecar.proxy.upstream.http1_reader import ResponseReader

_FINAL_CHUNK: Final = b"0\r\n"
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""The idempotent methods (RFC 9110 §9.2.2) whose requests may be sent again."""
_PIECE: Final = 16384
"""Bytes of a response that are parsed at once."""
_TURN: Final = 65536
"""Bytes of a tunnel for one turn of the event loop."""
_CHUNKS: Final = 256
"""Chunks of content for one turn, to the end of a piece."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Passenger(ABC):
    """The interface of what an upstream connection carries: an exchange."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """The client has disconnected or has its answer: nobody waits for a response."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The source of the request, for limits on shared resources."""

    @abstractmethod
    def attach(self, upstream: "UpstreamConnection") -> None:
        """Send the request on `upstream`."""

    @abstractmethod
    def response_arrived(self, heads: list[Response], body: list[bytes], response: Response) -> None:
        """A part of the response has arrived."""

    @abstractmethod
    def tunnelled(self, data: bytes) -> None:
        """Bytes from the upstream through a tunnel."""

    @abstractmethod
    def upstream_failed(self, reason: Reason, detail: str) -> None:
        """There will be no response, or no complete one."""

    @abstractmethod
    def broke(self, error: Exception) -> None:
        """A fault of the sidecar occurred."""

    @abstractmethod
    def upstream_blocked(self) -> None:
        """The upstream accepts no more bytes for now."""

    @abstractmethod
    def upstream_ready(self) -> None:
        """The upstream accepts bytes again."""

    def is_put_on(self, upstream: "UpstreamConnection") -> None:
        """`attach` by someone else: what it raises is its own fault, and affects no other exchange."""
        try:
            self.attach(upstream)
        except Exception as error:  # noqa: BLE001 — as above
            upstream.discard()
            self.broke(error)

    def is_told(self, reason: Reason, detail: str) -> None:
        """`upstream_failed`, of which others are told as well: what it raises affects no other exchange."""
        try:
            self.upstream_failed(reason, detail)
        except Exception as error:  # noqa: BLE001 — as above
            self.broke(error)


@mypyc_attr(allow_interpreted_subclasses=True)
class Pool(ABC):
    """Where an upstream connection comes from."""

    __slots__ = ("buffered_bytes", "call_soon")

    def __init__(self, buffered_bytes: int, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self.buffered_bytes = buffered_bytes
        """Bytes that may wait for the upstream to take them."""
        self.call_soon = call_soon
        """Schedules a call after all others have had their turn of the event loop."""

    @abstractmethod
    def release(self, connection: "UpstreamConnection") -> None:
        """A connection has become free."""

    @abstractmethod
    def forget(self, connection: "UpstreamConnection") -> None:
        """A connection was closed."""

    @abstractmethod
    def part_with(self, transport: asyncio.Transport) -> None:
        """Close once buffered bytes are sent, or when the upstream has not read them for a while."""


class UpstreamConnection(asyncio.Protocol):
    """Bytes to and from the upstream for one exchange after another."""

    __slots__ = (
        "_chunked",
        "_ended",
        "_half_closed",
        "_held",
        "_passenger",
        "_pool",
        "_tunnel",
        "_unread",
        "blocked",
        "idle_until",
        "is_unseen",
        "reader",
        "served",
        "stays_open",
        "transport",
        "tries",
    )

    def __init__(self, pool: Pool, reader: ResponseReader | None = None) -> None:
        self._pool = pool
        self._chunked = False
        """The request in progress has a body of unknown length."""
        self._passenger: Passenger | None = None
        self._tunnel = False
        self._ended = False
        self._half_closed = False
        self.transport: asyncio.Transport | None = None
        self.reader = ResponseReader() if reader is None else reader
        self._held = False
        self._unread = b""
        """Bytes that are too many for one turn; meanwhile nothing is read from the socket."""
        self.blocked = False
        """The upstream accepts no more bytes for now."""
        self.is_unseen = False
        """The upstream said that it did not process the request."""
        self.tries = 1
        """How often a request that is lost here may be sent again."""
        self.served = 0
        """Exchanges carried before the present one: a reused connection may have gone stale."""
        self.idle_until = 0.0
        """When it has been unused for too long, in the loop's time."""
        self.stays_open = -1.0
        """Seconds for which the API keeps an unused connection; negative: unknown."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's has no such ancestor
        self.transport = transport
        transport.set_write_buffer_limits(high=self._pool.buffered_bytes)

    @property
    def passenger(self) -> Passenger | None:
        """The exchange that it carries now, or None."""
        return self._passenger

    @property
    def is_usable(self) -> bool:
        """Whether it can carry another exchange."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_stale(self) -> bool:
        """Whether a close now is that of an idle connection: it has carried an exchange before, and no response has
        begun.
        """
        return self.served > 0 and not self.reader.is_started

    def may_try_again(self, method: str, tries: int) -> bool:
        """Whether this connection was closed before a response, and sending the request again after so many `tries` is
        harmless.
        """
        return self.is_stale and tries < self.tries and (method in _IDEMPOTENT or self.is_unseen)

    def carry(
        self,
        passenger: Passenger,
        head: bytes,
        body: bytes = b"",
        end: list[Field] | None = NO_TRAILERS,
        *,
        fields: list[Field] | None = None,
        chunked: bool = False,
        bodiless: bool,
    ) -> None:
        """Begin an exchange: `head` is the request head, `body` and `end` as for `send`.

        `fields` is the head for HTTP/2, if the exchange has made it; `head` is not used then.
        """
        assert self.transport is not None  # noqa: S101 — only usable connections carry
        self._passenger = passenger
        self._chunked = chunked
        self.reader.begin(bodiless=bodiless)
        if self._held:
            self.resume()
        self.transport.write(head + self._framed(body, end) if chunked else head + body)

    def send(self, body: bytes, end: list[Field] | None) -> bool:
        """More of the request; `end` holds its trailers once it is complete, else None.

        Returns whether anything had to be sent.
        """
        data = self._framed(body, end) if self._chunked else body
        if data:
            self.write(data)
        return bool(data)

    @staticmethod
    def _framed(body: bytes, end: list[Field] | None) -> bytes:
        """RFC 9112 §7.1."""
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk if end is None else chunk + _FINAL_CHUNK + field_lines(end) + b"\r\n"

    def hold(self) -> None:
        """Stop reading, because the client reads slowly."""
        if self.transport is not None and not self._held:
            self._held = True
            if not self._unread:
                self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None and self._held:
            self._held = False
            if self._unread:
                self._pool.call_soon(self._take_turn)
            else:
                self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """More of the request body, or of a tunnel whose half towards the upstream is open."""
        if self.transport is not None and not self._half_closed:
            self.transport.write(data)

    def open_tunnel(self) -> bytes:
        """From now on the bytes are a tunnel's; returns those received after the response head."""
        self._tunnel = True
        return self.reader.after_upgrade or b""

    def release(self) -> None:
        """The exchange is over and the connection can carry another."""
        self._passenger = None
        self.resume()  # so that it is noticed when the upstream closes it
        self.served += 1
        if self.transport is not None:  # else its last bytes were read when it was gone
            self._pool.release(self)

    def discard(self) -> None:
        """The exchange is over and the connection with it."""
        self._passenger, self._unread = None, b""
        if self.transport is not None:
            self.transport.abort()

    def end_writing(self) -> None:
        """Half-close a tunnel, where the transport can."""
        if self.transport is not None and self.transport.can_write_eof():
            self._half_closed = True
            self.transport.write_eof()

    def finish_writing(self) -> None:
        """End a tunnel in good order: buffered bytes are sent first."""
        self._passenger = None
        if self.transport is not None:
            self._pool.part_with(self.transport)

    def data_received(self, data: bytes) -> None:
        passenger = self._passenger
        if passenger is None:
            # No request is in progress: this data would be read as the response to the next one.
            self.discard()
            return
        if len(data) > _PIECE or self._unread:
            self._receive_much(passenger, data)
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
        except Exception as error:  # noqa: BLE001 — one exchange's bug must not take others
            self.give_up(passenger, error)

    def give_up(self, passenger: Passenger, error: Exception) -> None:
        """Received data could not be processed: a malformed response is the upstream's fault, anything else an
        internal error.
        """
        if self._passenger is None or self._passenger is passenger:
            self.discard()  # otherwise it was released, and carries another request by now
        if isinstance(error, MalformedResponse):
            passenger.upstream_failed(Reason.UPSTREAM_BROKEN, str(error))
        else:
            passenger.broke(error)

    def _receive_much(self, passenger: Passenger, data: bytes) -> None:
        """Process as much as one turn may cost: large chunks at once, small ones a piece at a time."""
        data = self._unread + data
        if self._tunnel:
            self._keep(data[_TURN:])
            passenger.tunnelled(data[:_TURN])
            return
        reader, heads, at = self.reader, list[Response](), 0
        try:
            while at < len(data) and len(reader.body) < _CHUNKS:
                heads += reader.feed(data[at : at + _PIECE])
                at += _PIECE
                if reader.response.complete:
                    break
            if reader.after_upgrade is not None:
                reader.after_upgrade += data[at:]
                at = len(data)
            elif at < len(data) and reader.response.complete:
                # The response is complete; the data after it belongs to no request.
                reader.response.keep_alive, at = False, len(data)
            self._keep(data[at:])
            body, reader.body = reader.body, []
            passenger.response_arrived(heads, body, reader.response)
        except Exception as error:  # noqa: BLE001 — one exchange's bug must not take others
            self.give_up(passenger, error)

    def _keep(self, data: bytes) -> None:
        """What was read is too much for one turn: this is for later. Nothing: it is read up."""
        rested, self._unread = bool(self._unread), data
        transport = self.transport
        if transport is None or self._held:
            return
        if data:
            self._pool.call_soon(self._take_turn)
        if rested is not bool(data):
            if data:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _take_turn(self) -> None:
        """Continue with the bytes that were left, unless the client reads slowly."""
        passenger = self._passenger
        if self._unread and not self._held and passenger is not None:
            self._receive_much(passenger, b"")

    def eof_received(self) -> bool:
        # Over TLS this is close_notify; a bare end of TCP comes as `connection_lost` alone (RFC 9112 §9.8).
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        reader, self.transport = self.reader, None
        while self._unread and self._passenger is not None:
            self._receive_much(self._passenger, b"")  # it arrived before the end
        passenger, self._passenger = self._passenger, None
        self._pool.forget(self)
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
