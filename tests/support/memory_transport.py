"""One TCP connection in memory: a transport for a protocol of ours, and the far end in the test's hands."""

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """A transport whose far end is the test.

    What the far end does not read stays in the write buffer, and the protocol is told at the watermarks. What the
    far end sends while reading is paused waits, as it would in a socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer})
        self._loop = loop
        self._protocol: Any = None
        self._high, self._low = 65536, 16384
        self._blocked = False
        self._paused = False
        self._arriving: list[bytes | None] = []
        self._closing = False
        self._ending = False
        self.buffer = bytearray()
        """Written and not yet read by the far end."""
        self.taken = bytearray()
        """Read by the far end."""
        self.appetite: float = float("inf")
        """How many bytes the far end still reads."""
        self.most_buffered = 0
        self.rests = 0
        """How often reading was paused."""
        self.got_eof = False
        """The far end saw the end of our stream."""
        self.is_lost = False
        self.was_aborted = False

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    # -- asyncio.Transport

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes), type(data)
        if self._closing or self.is_lost:
            return
        if self._ending:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.buffer += data
        self._flow()
        self.most_buffered = max(self.most_buffered, len(self.buffer))
        if len(self.buffer) > self._high and not self._blocked:
            self._blocked = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._ending = True
        self._flow()

    def pause_reading(self) -> None:
        self._paused = True
        self.rests += 1

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._flow()

    def abort(self) -> None:
        if not self.is_lost:
            self.was_aborted = True
            self._lose(None)

    # -- the far end

    def arrive(self, data: bytes | None) -> None:
        """The far end sends bytes, or ends its stream (None)."""
        self._arriving.append(data)
        self._loop.call_soon(self._deliver)

    def eat(self, size: float) -> None:
        """The far end reads on, so many bytes."""
        self.appetite = size
        self._loop.call_soon(self._flow)

    def reset(self) -> None:
        """The far end resets the connection."""
        if not self.is_lost:
            self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def _deliver(self) -> None:
        while self._arriving and not self._paused and not self._closing:
            data = self._arriving.pop(0)
            if data is None:
                if not self._protocol.eof_received():
                    self.close()
            elif data:
                self._protocol.data_received(data)

    def _flow(self) -> None:
        size = int(min(self.appetite, len(self.buffer)))
        self.taken += self.buffer[:size]
        del self.buffer[:size]
        self.appetite -= size
        if self._blocked and len(self.buffer) <= self._low and not self._closing:
            self._blocked = False
            self._protocol.resume_writing()
        if not self.buffer and (self._ending or self._closing):
            self.got_eof = True
            if self._closing and not self.is_lost:
                self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self._closing = self.is_lost = True
        self.buffer.clear()
        self._arriving.clear()
        self._loop.call_soon(self._protocol.connection_lost, error)
        self._protocol = None
