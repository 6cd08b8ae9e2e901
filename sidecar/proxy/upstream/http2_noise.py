"""Limits how many HTTP/2 frames that ask for nothing an API may send: PING, SETTINGS, WINDOW_UPDATE, empty content."""

from typing import Final

_BURST: Final = 20_000
_RATE: Final = 10_000
"""Number of such frames by which the allowance grows per second."""
_REQUEST: Final = 8
_KILOBYTE: Final = 1024
"""Each request, and each kilobyte of content, allows more of them. A connection carries the requests of many clients,
and a gRPC server may send PING and WINDOW_UPDATE for each message.
"""


class NoiseAllowance:
    """The allowance of one connection."""

    __slots__ = ("_counted_at", "_left", "_requests")

    def __init__(self, now: float) -> None:
        self._counted_at = now
        self._left = _BURST
        self._requests = 0
        """Number of requests that were counted."""

    def takes(self) -> bool:
        """Count a frame; returns whether it is within what `grow` allowed."""
        self._left -= 1
        return self._left >= 0

    def grow(self, now: float, requests: int, sent: int) -> bool:
        """Replace what is left by what was earned since the last call: with time, with requests (`requests` were sent
        on this connection in all), and with `sent` bytes of content. Returns whether that is something.
        """
        earned = int((now - self._counted_at) * _RATE)
        earned += (requests - self._requests) * _REQUEST + sent // _KILOBYTE
        self._left, self._counted_at, self._requests = min(earned, _BURST), now, requests
        return earned > 0
