"""What an HTTP/2 client may do without asking for anything, and how often it may take a request back.

Theory of operation. Each frame costs a server work, and the standard bounds none of them: pings, settings, updates of
windows by a byte, empty content (CVE-2019-9512 and its siblings), streams that are reset as soon as they are open
(CVE-2023-44487) or that make the server reset them (CVE-2025-8671). Here they are counted against an allowance, which
grows with time and with what is really transferred, so that who downloads a file may update its windows.
"""

from typing import Final

from sidecar.telemetry.record import Observer

_NOISE: Final = 2000.0
"""Frames that ask for nothing, in a burst. A kilobyte of content allows one more."""
_NOISE_RATE: Final = 200.0
"""How many more of them each second allows."""
_RESETS_RATE: Final = 0.1
"""How much of the resets each second allows anew."""
_CONTENT: Final = 1024


class Allowance:
    """That of one connection."""

    __slots__ = ("_counted_at", "_noise", "_resets", "noise", "resets")

    def __init__(self, resets: int, now: float) -> None:
        self._noise = _NOISE
        self._resets = float(resets)
        self._counted_at = now
        self.noise = 0
        self.resets = 0
        """How many there were since they were told."""

    def grow(self, now: float, resets: int) -> None:
        """Time has passed; `resets` is how many there may be in a burst."""
        passed, self._counted_at = now - self._counted_at, now
        self._noise = min(self._noise + passed * _NOISE_RATE, _NOISE)
        self._resets = min(self._resets + passed * resets * _RESETS_RATE, float(resets))

    def transferred(self, size: int) -> None:
        """So many bytes were of use."""
        self._noise = min(self._noise + size / _CONTENT, _NOISE)

    def tell(self, observer: Observer) -> None:
        """How many there were since this was told last."""
        if self.resets:
            observer.http2_glitches("reset", self.resets)
        if self.noise:
            observer.http2_glitches("noise", self.noise)
        self.resets = self.noise = 0

    def takes_noise(self) -> bool:
        """A frame that asks for nothing; whether it is within the allowance."""
        self.noise += 1
        self._noise -= 1
        return self._noise >= 0

    def takes_reset(self) -> bool:
        """A request that was taken back, or that the engine had to refuse; whether it is within the allowance."""
        self.resets += 1
        self._resets -= 1
        return self._resets >= 0
