"""The transport and the TLS under one client connection: how it is written to, held, and ended."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from sidecar.proxy.client.host import Host
from sidecar.proxy.exchange.stream import NEVER
from sidecar.proxy.tls import Engine, TlsFailure

_LINGER: Final = 2.0
"""Seconds a client gets to read a final answer while the rest of what it sends is thrown away."""


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


# Each under a name of its own: a member is looked up through the metaclass of its enumeration, which costs more.
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
        "_host", "_rests", "_transport", "blocked_since", "deadline", "engine", "is_held", "phase", "unread",
        "when_released",
    )  # fmt: skip

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self.engine = engine
        self.is_held = False
        """The wire takes no more for now."""
        self._rests = False
        """Nothing is read from the socket."""
        self.unread = b""
        """Ciphertext that waits for a later turn of the event loop; more than a little stops the reading."""
        self.when_released: Callable[[], None] | None = None
        """Goes on with `unread` when the wire takes more."""
        self.phase: Phase = HANDSHAKE
        self.deadline = NEVER
        """When the handshake, or the end of the connection, must be over."""
        self.blocked_since = NEVER
        """Since when the client has left a full buffer unread."""

    def open(self, transport: asyncio.Transport) -> None:
        """The connection is accepted."""
        self._transport = transport

    def lose(self) -> None:
        """The connection is gone."""
        self.phase = CLOSED
        self.unread, self.when_released = b"", None
        self._transport = None

    @property
    def is_ending(self) -> bool:
        """No request begins any more."""
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
        """What TLS itself has to say."""
        if ciphertext and self._transport is not None:
            self._transport.write(ciphertext)

    def hold(self) -> None:
        """Read no more from the client for now."""
        if not self.is_held and self._transport is not None:
            self.is_held = True
            self._rest(self._transport, rests=True)

    def release(self) -> None:
        """Read on."""
        if self.is_held and self._transport is not None and not self._transport.is_closing():
            self.is_held = False
            if not self.unread:
                self._rest(self._transport, rests=False)
            elif self.when_released is not None:
                self._host.call_soon(self.when_released)
                self.when_released = None

    def keep(self, ciphertext: bytes, little: int = 0) -> None:
        """What was read and has to wait for a later turn; nothing: it is read up. While it is no more than a `little`,
        reading goes on, which spares two calls of the system.
        """
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
        """The client may still be sending what nobody reads: closing now would reset the connection and take the
        answer with it (RFC 9112 §9.6).
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
        """End in good order: nothing is under way, or its answer is complete."""
        if self._transport is not None and self.phase is not CLOSED:
            self.send(self.engine.shutdown())
            self.phase = CLOSED
            self.deadline = self._host.now() + self._host.settings.timeouts.write
            self._transport.close()

    def abort(self) -> None:
        """End at once, visibly: what was under way is not complete."""
        self.phase = CLOSED
        if self._transport is not None:
            self._transport.abort()
