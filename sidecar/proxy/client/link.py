"""The transport and the TLS under one client connection: how it is written to, held, and ended."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.proxy.tls import TlsFailure

if TYPE_CHECKING:
    from sidecar.proxy.listener import Listener

_LINGER: Final = 2.0
"""Seconds a client gets to read a final answer while the rest of what it sends is thrown away."""
NEVER: Final = float("inf")


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


class Link(asyncio.Protocol):
    """One client's TCP connection, with TLS in it."""

    __slots__ = ("_engine", "_held", "_listener", "_transport", "deadline", "phase", "server")

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self.server = listener.server
        self._engine = listener.tls.engine()
        self._transport: asyncio.Transport | None = None
        self._held = False
        self.phase: Phase = HANDSHAKE
        self.deadline = NEVER

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
            self._transport.write(self._engine.send(plaintext))
        except TlsFailure:
            self.abort()

    def _send(self, ciphertext: bytes) -> None:
        if ciphertext and self._transport is not None:
            self._transport.write(ciphertext)

    @property
    def is_held(self) -> bool:
        """Reading from the client is paused: it is not the client that is slow."""
        return self._held

    def hold_reading(self) -> None:
        """Read no more from the client for now."""
        if not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def release_reading(self) -> None:
        """Read on."""
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    def expect_answer(self, seconds: float) -> None:
        """The upstream owes an answer within `seconds`."""
        self.deadline = self.server.now() + seconds

    def expect_more(self, silence: float) -> None:
        """The upstream owes the next part of a response, or either side the next part of a tunnel, within `silence`
        seconds; 0: some time.
        """
        self.deadline = self.server.now() + silence if silence else NEVER

    def linger(self) -> None:
        """The client may still be sending what nobody reads: closing now would reset the connection and take the
        answer with it (RFC 9112 §9.6).
        """
        if self._transport is None:
            return
        self._send(self._engine.shutdown())
        self.phase = LINGER
        unsent = self._transport.get_write_buffer_size()
        self.deadline = self.server.now() + (self.server.settings.timeouts.write if unsent else _LINGER)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.release_reading()

    def close(self) -> None:
        """End in good order: nothing is under way, or its answer is complete."""
        if self._transport is not None and self.phase is not CLOSED:
            self._send(self._engine.shutdown())
            self.phase = CLOSED
            self.deadline = self.server.now() + self.server.settings.timeouts.write
            self._transport.close()

    def abort(self) -> None:
        """End at once, visibly: what was under way is not complete."""
        self.phase = CLOSED
        if self._transport is not None:
            self._transport.abort()
