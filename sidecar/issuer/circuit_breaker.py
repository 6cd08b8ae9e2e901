"""Leaves an endpoint alone that keeps failing, and finds out carefully whether it is back.

Theory of operation. Closed: all questions pass, failures in a row are counted. Open: none passes for a while. Half
open: after that while a few probes pass; the first success closes the circuit, a failure opens it again. A question
is admitted, then reported once as a success or a failure.
"""

import math

from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import CircuitBreakerSettings


class CircuitOpen(Exception):
    """The endpoint is being left alone."""

    def __init__(self, remaining: float) -> None:
        super().__init__("the circuit is open")
        self.retry_after = max(1, math.ceil(remaining))
        """Seconds."""


class CircuitBreaker:
    """The circuit of one endpoint."""

    def __init__(self, settings: CircuitBreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        """Monotonic; None: closed."""
        self._probing = 0

    @property
    def is_closed(self) -> bool:
        """Whether every question passes."""
        return self._open_until is None

    def check(self) -> None:
        """Raises `CircuitOpen` when a question could not pass now. Admits nothing."""
        if self._open_until is None:
            return
        remaining = self._open_until - self._clock.monotonic()
        if remaining > 0 or self._probing >= self._settings.probes:
            raise CircuitOpen(remaining)

    def admit(self) -> None:
        """Let one question pass, perhaps as a probe. Raises `CircuitOpen`."""
        self.check()
        if self._open_until is not None:
            self._probing += 1

    def succeed(self) -> None:
        """An admitted question was answered."""
        self._failures, self._open_until, self._probing = 0, None, 0

    def fail(self) -> None:
        """An admitted question was not answered."""
        self._failures += 1
        self._probing = max(0, self._probing - 1)
        if self._open_until is not None or self._failures >= self._settings.failures:
            self._open_until = self._clock.monotonic() + self._settings.open_for
