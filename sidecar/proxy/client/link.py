"""The transport and the TLS of one client connection: writing, holding and closing."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from sidecar.proxy.client.host import Host
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.tls import Engine, TlsFailure

_LINGER: Final = 2.0
"""Seconds that a client has for reading a final answer while the rest of its request is discarded."""
_STUCK: Final = 1.0
"""Seconds without reading after which what a client does not take counts as held."""

PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS: the request came without TLS"
)
"""Answer in plaintext to a client that did not begin with TLS: it could not read an alert."""


class Phase(Enum):
    """What the connection waits for."""

    PREFACE = "preface"
    HANDSHAKE = "handshake"
    IDLE = "idle"
    HEAD = "head"
    EXCHANGE = "exchange"
    TUNNEL = "tunnel"
    LINGER = "linger"
    CLOSED = "closed"


# Module constants, because looking up an enum member through its metaclass costs more.
PREFACE: Final = Phase.PREFACE
HANDSHAKE: Final = Phase.HANDSHAKE
IDLE: Final = Phase.IDLE
HEAD: Final = Phase.HEAD
EXCHANGE: Final = Phase.EXCHANGE
TUNNEL: Final = Phase.TUNNEL
LINGER: Final = Phase.LINGER
CLOSED: Final = Phase.CLOSED


class Link:
    """One client's TCP connection, with TLS in it."""

    __slots__ = (
        "_host", "_rests", "_transport", "blocked_since", "deadline", "ends_after", "engine", "is_held", "phase",
        "unread", "when_released",
    )  # fmt: skip

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self.engine = engine
        self.is_held = False
        """The wire accepts no data for now."""
        self._rests = False
        """Reading from the socket is paused."""
        self.unread = b""
        """Ciphertext that waits for a later turn of the event loop; reading stops above a small amount."""
        self.ends_after = False
        """The client has ended its half of a plaintext connection: it is told to the wire after `unread`."""
        self.when_released: Callable[[], None] | None = None
        """Continues with `unread` when the wire accepts data again."""
        self.phase: Phase = HANDSHAKE
        self.deadline = NEVER
        """Time by which the handshake, or the closing of the connection, must be complete."""
        self.blocked_since = NEVER
        """Time since which the client has not read and the send buffer is full."""

    def open(self, transport: asyncio.Transport) -> None:
        """Set the transport of an accepted connection."""
        self._transport = transport

    def lose(self) -> None:
        """The connection is closed."""
        self.phase = CLOSED
        self._host.backlog.change(-len(self.unread))
        self.unread, self.when_released = b"", None
        self._transport = None

    @property
    def held_bytes(self) -> int:
        """Number of bytes that wait: `unread`, and what a client that has not read for a while does not take."""
        transport = self._transport
        if transport is None or self._host.now() - self.blocked_since < _STUCK:
            return len(self.unread)
        return len(self.unread) + transport.get_write_buffer_size()

    @property
    def is_ending(self) -> bool:
        """Whether no new request may begin."""
        phase = self.phase
        return phase is CLOSED or phase is LINGER

    def write(self, plaintext: bytes) -> None:
        """Send plaintext to the client."""
        if self._transport is None or not plaintext:
            return
        try:
            self._transport.write(self.engine.send(plaintext))
        except TlsFailure:
            self.abort()

    def send(self, ciphertext: bytes) -> None:
        """Send records that TLS itself produced."""
        if ciphertext and self._transport is not None:
            self._transport.write(ciphertext)

    def hold(self) -> None:
        """Pause reading from the client."""
        if not self.is_held and self._transport is not None:
            self.is_held = True
            self._rest(self._transport, rests=True)

    def release(self) -> None:
        """Resume reading."""
        if self.is_held and self._transport is not None and not self._transport.is_closing():
            self.is_held = False
            if not self.unread:
                self._rest(self._transport, rests=False)
            elif self.when_released is not None:
                self._host.call_soon(self.when_released)
                self.when_released = None

    def keep(self, ciphertext: bytes, little: int = 0) -> None:
        """Keep `ciphertext` for a later turn; empty means that everything was processed. Reading continues while no
        more than `little` bytes are kept, which saves two system calls.
        """
        self._host.backlog.change(len(ciphertext) - len(self.unread))
        self.unread = ciphertext
        transport = self._transport
        if transport is not None and not self.is_held and not transport.is_closing():
            self._rest(transport, rests=len(ciphertext) > little)

    def _rest(self, transport: asyncio.Transport, *, rests: bool) -> None:
        if rests is not self._rests:
            self._rests = rests
            if rests:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def linger(self) -> None:
        """Close later: the client may still be sending data that nobody reads. An immediate close would reset the
        connection and discard the answer (RFC 9112 §9.6).
        """
        if self._transport is None:
            return
        self.send(self.engine.shutdown())
        self.phase = LINGER
        unsent = self._transport.get_write_buffer_size()
        self.deadline = self._host.now() + (self._host.settings.timeouts.write if unsent else _LINGER)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.release()

    def close(self) -> None:
        """Close with close_notify: no request is in progress, or its answer is complete."""
        if self._transport is not None and self.phase is not CLOSED:
            self.send(self.engine.shutdown())
            self.phase = CLOSED
            self.deadline = self._host.now() + self._host.settings.timeouts.write
            self._transport.close()

    def abort(self) -> None:
        """Close at once and without close_notify, so that the client sees that the answer is incomplete."""
        self.phase = CLOSED
        if self._transport is not None:
            self._transport.abort()
