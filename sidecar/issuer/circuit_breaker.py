"""Stops asking an endpoint that keeps failing, and probes with few questions whether it works again.

Theory of operation. Closed: all questions pass, failures in a row are counted. Open: none passes for a while. Half
open: after that while a few probes pass; the first success closes the circuit, a failed probe opens it again.

A question carries a token that a client chose, so a client can make one fail: a server in front of the issuer may
answer 413 to a long one, drop the connection at a strange one, or take its time. What no token can cause (no
connection, our own credentials refused) counts alone. What a token may cause counts only when two sources meet it, and
one source never for more than half, rounded up. The first `open_for` of the half-open state belongs to others than a
token that failed before and the source whose probe failed.
"""

import math
from collections import OrderedDict
from enum import Enum
from typing import Final

from sidecar.decision.token import TokenDigest
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import CircuitBreakerSettings

_REMEMBERED_TOKENS: Final = 1024
"""Tokens that failed: digests, the oldest out first."""


class Blame(Enum):
    """What a failed question says about the endpoint."""

    ENDPOINT = "endpoint"
    """It is out of reach, or refuses us: whoever asks, and whatever about."""
    UNCLEAR = "unclear"
    """It is slow or broken, or the token makes it so."""
    TOKEN = "token"  # noqa: S105 — whose fault it is, not a password
    """Nothing: the endpoint works, and refuses this token."""


class CircuitOpen(Exception):
    """The circuit is open: the endpoint is not asked now."""

    def __init__(self, remaining: float) -> None:
        super().__init__("the circuit is open")
        self.retry_after = max(1, math.ceil(remaining))
        """Seconds."""


class Passage:
    """One question that was let through. It is reported once: `succeed` or `fail`."""

    __slots__ = ("is_probe", "source", "token")

    def __init__(self, source: str, token: TokenDigest, *, is_probe: bool) -> None:
        self.source = source
        self.token = token
        self.is_probe = is_probe


class CircuitBreaker:
    """The circuit of one endpoint."""

    def __init__(self, settings: CircuitBreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._most_of_one = (settings.failures + 1) // 2
        self._refusals = 0
        """Failures in a row that are the endpoint's alone."""
        self._unclear: dict[str, int] = {}
        """The other failures in a row, by source. At most as many as `failures`, and two."""
        self._failed_tokens: OrderedDict[TokenDigest, None] = OrderedDict()
        self._open_until: float | None = None
        """Monotonic; None: closed."""
        self._probing = 0
        self._last_probe: str | None = None
        """The source whose probe failed."""

    @property
    def is_closed(self) -> bool:
        """Whether every question passes."""
        return self._open_until is None

    def check(self, source: str, token: TokenDigest) -> None:
        """Raises `CircuitOpen` when this question could not pass now. Admits nothing."""
        if self._open_until is None:
            return
        remaining = self._open_until - self._clock.monotonic()
        if source == self._last_probe or token in self._failed_tokens:
            remaining += self._settings.open_for  # others first; but perhaps there are none
        if remaining > 0 or self._probing >= self._settings.probes:
            raise CircuitOpen(remaining)

    def admit(self, source: str, token: TokenDigest) -> Passage:
        """Let one question pass, perhaps as a probe. Raises `CircuitOpen`."""
        self.check(source, token)
        is_probe = self._open_until is not None
        self._probing += is_probe
        return Passage(source, token, is_probe=is_probe)

    def succeed(self) -> None:
        """An admitted question was answered."""
        self._refusals, self._open_until, self._probing, self._last_probe = 0, None, 0, None
        self._unclear.clear()
        self._failed_tokens.clear()

    def fail(self, admission: Passage, blame: Blame) -> None:
        """An admitted question was not answered."""
        if blame is not Blame.ENDPOINT:
            self._remember(admission.token)
        if admission.is_probe:
            self._probing = max(0, self._probing - 1)
            if blame is not Blame.TOKEN and self._open_until is not None:
                self._last_probe = None if blame is Blame.ENDPOINT else admission.source
                self._open()
        elif self._open_until is None:  # else it began before the circuit opened, and tells nothing new
            self._count(admission.source, blame)

    def _count(self, source: str, blame: Blame) -> None:
        if blame is Blame.ENDPOINT:
            self._refusals += 1
        elif blame is Blame.UNCLEAR:
            self._unclear[source] = self._unclear.get(source, 0) + 1
        counted = self._refusals + sum(min(times, self._most_of_one) for times in self._unclear.values())
        if counted >= self._settings.failures and (self._refusals or len(self._unclear) > 1):
            self._open()

    def _open(self) -> None:
        self._refusals = 0
        self._unclear.clear()
        self._open_until = self._clock.monotonic() + self._settings.open_for

    def _remember(self, token: TokenDigest) -> None:
        self._failed_tokens[token] = None
        self._failed_tokens.move_to_end(token)
        while len(self._failed_tokens) > _REMEMBERED_TOKENS:
            self._failed_tokens.popitem(last=False)
