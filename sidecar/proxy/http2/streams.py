"""One stream of an engine: its state and windows, and the content that waits for them (RFC 9113 §5)."""

from typing import Final

from sidecar.http.message import Field
from sidecar.proxy.http2.events import NO_ERROR

NORMAL: Final = 3
"""The urgency of a request that does not say one (RFC 9218 §4.1)."""
_MORE_MOST: Final = 64
"""Pieces of content that wait one by one: many small ones need more memory than their bytes."""


class Stream:
    """A stream that is open in at least one direction."""

    __slots__ = (
        "at", "bodiless", "chunk", "code", "has_head", "in_taken", "in_window", "is_open_in", "is_open_out", "is_ready",
        "is_shared", "left", "more", "name", "number", "out_window", "queued", "says_end", "trailers", "urgency",
    )  # fmt: skip

    def __init__(self, number: int, in_window: int, out_window: int) -> None:
        self.number = number
        self.name = number.to_bytes(4, "big")
        """The number, as a frame has it."""
        self.is_open_in = True
        """The peer may still send."""
        self.is_open_out = True
        """The end was not sent."""
        self.has_head = False
        """The head of the request, or of the final response, has arrived."""
        self.bodiless = False
        """The request is HEAD: Content-Length of its response says nothing about content (RFC 9110 §8.6)."""
        self.left = -1
        """Bytes of content that Content-Length still lets expect; negative: it is not known."""
        self.in_window = in_window
        """Bytes that the peer may still send."""
        self.in_taken = 0
        """Bytes that were taken, and for which the peer has no new window yet."""
        self.out_window = out_window
        """Bytes that the peer still accepts; less than 0 after it has lowered SETTINGS_INITIAL_WINDOW_SIZE."""
        self.chunk = b""
        """Content to send, of which `at` bytes were sent."""
        self.at = 0
        self.more: list[bytes] | None = None
        """Further content."""
        self.queued = 0
        """Bytes that were not sent."""
        self.says_end = False
        """The stream ends after this content and `trailers`."""
        self.trailers: list[Field] | None = None
        self.is_ready = False
        """It stands in the queue of those that have something to send, and window for it."""
        self.is_shared = False
        """Its content is sent in turn with that of others (RFC 9218 §4.2)."""
        self.urgency = NORMAL
        self.code = NO_ERROR
        """The error code with which the stream was closed."""

    def add(self, data: bytes) -> None:
        """Add content to send."""
        if not self.queued:
            self.chunk, self.at = data, 0
        elif self.more is None:
            self.more = [data]
        else:
            self.more.append(data)
            if len(self.more) >= _MORE_MOST:
                self._join(self.more)
        self.queued += len(data)

    def _join(self, more: list[bytes]) -> None:
        """Make one chunk of all."""
        self.chunk = b"".join([self.chunk[self.at :], *more])
        self.at, self.more = 0, None

    def next(self, most: int) -> bytes:
        """Take the next piece of content, of at most so many bytes."""
        if self.more is not None:
            self._join(self.more)
        chunk, begin = self.chunk, self.at
        end = begin + most
        if end >= len(chunk):
            self.chunk, self.queued = b"", 0
            return chunk if begin == 0 else chunk[begin:]
        self.at = end
        self.queued -= most
        return chunk[begin:end]

    def count(self, size: int, *, ends: bool) -> bool:
        """Count content that has arrived; returns whether it can be as much as Content-Length says (RFC 9113
        §8.1.1).
        """
        if self.left < 0:
            return True
        self.left -= size
        return self.left == 0 if ends else self.left >= 0
