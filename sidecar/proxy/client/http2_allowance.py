"""Limits how many HTTP/2 frames without a request a client may send, and how often it may cancel a request.

Theory of operation. Each frame costs a server work, and the standard does not limit their number: pings, settings,
window updates of one byte, empty content (CVE-2019-9512 and related), streams that are reset as soon as they are open
(CVE-2023-44487) or that make the server reset them (CVE-2025-8671). Such frames are counted against an allowance. It
grows with time, with requests, and with the amount of content transferred, so that a client which downloads a file may
send window updates. The frames around content do not count: a client that opens the windows of all streams by one byte
makes the server send ten times as much.
"""

from typing import Final

from sidecar.telemetry.record import Observer

_NOISE: Final = 2000.0
"""Burst of frames that request nothing. A kilobyte of content allows one more."""
_NOISE_RATE: Final = 200.0
"""Number of such frames by which the allowance grows per second."""
_RESETS_RATE: Final = 0.1
"""Fraction of the resets by which that allowance grows per second."""
_CONTENT: Final = 1024


class Allowance:
    """The allowance of one connection."""

    __slots__ = ("_counted_at", "_noise", "_resets", "noise", "requests", "resets")

    def __init__(self, resets: int, now: float) -> None:
        self._noise = _NOISE
        self._resets = float(resets)
        self._counted_at = now
        self.requests = 0
        """Number of requests that have not been counted; each allows one frame, for gRPC clients send PING as often."""
        self.noise = 0
        self.resets = 0
        """Number of frames since the last report to the observer."""

    def grow(self, now: float, resets: int) -> None:
        """Add what the elapsed time allows; `resets` is the largest number in a burst."""
        passed, self._counted_at = now - self._counted_at, now
        self._noise = min(self._noise + passed * _NOISE_RATE, _NOISE)
        self._resets = min(self._resets + passed * resets * _RESETS_RATE, float(resets))

    def transferred(self, size: int) -> None:
        """Add what `size` bytes of transferred content allow, and the requests since."""
        self._noise = min(self._noise + self.requests + size / _CONTENT, _NOISE)
        self.requests = 0

    def tell(self, observer: Observer) -> None:
        """Report the number of frames since the last report."""
        if self.resets:
            observer.http2_glitches("reset", self.resets)
        if self.noise:
            observer.http2_glitches("noise", self.noise)
        self.resets = self.noise = 0

    def takes_noise(self) -> bool:
        """Count a frame that requests nothing; returns whether it is within the allowance."""
        self.noise += 1
        self._noise -= 1
        return self._noise >= 0

    def takes_reset(self) -> bool:
        """Count a request that was cancelled, or that the engine had to refuse; returns whether it is within the
        allowance.
        """
        self.resets += 1
        self._resets -= 1
        return self._resets >= 0
