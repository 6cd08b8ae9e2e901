"""Stops asking an endpoint that keeps failing, and probes with a few questions whether it works again.

Theory of operation. Closed: all questions pass, and consecutive failures are counted. Open: no question passes for a
while. Half open: after that a few probes pass; the first success closes the circuit, a failed probe opens it again.

A question contains a token that a client chose, so a client can make it fail: a server in front of the issuer may
answer 413 to a long one, drop the connection, or respond slowly. Failures that no token can cause (no connection, our
own credentials refused) are always counted. Failures that a token may cause count only if two sources have them, and
those of one source count for half at most, rounded up. During the first `open_for` of the half-open state, tokens
that failed before and the source whose probe failed are not admitted.
"""

import math
from collections import OrderedDict
from enum import Enum
from typing import Final

from sidecar.decision.token import TokenDigest
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import CircuitBreakerSettings

_REMEMBERED_TOKENS: Final = 1024
"""Number of tokens that failed which are remembered: digests, the oldest removed first."""


class Blame(Enum):
    """What a failed question shows about the endpoint."""

    ENDPOINT = "endpoint"
    """It cannot be reached, or refuses the sidecar, whatever the token or its source."""
    UNCLEAR = "unclear"
    """It is slow or broken, or the token makes it so."""
    TOKEN = "token"  # noqa: S105 — an enumeration value, not a password
    """Nothing: the endpoint works, and refuses this token."""


class CircuitOpen(Exception):
    """The circuit is open: the endpoint is not asked now."""

    def __init__(self, remaining: float) -> None:
        super().__init__("the circuit is open")
        self.retry_after = max(1, math.ceil(remaining))
        """Seconds."""


class Passage:
    """An admitted question. Its result is reported once: `succeed` or `fail`."""

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
        """Consecutive failures that only the endpoint can cause."""
        self._unclear: dict[str, int] = {}
        """The other consecutive failures, by source. At most as many as `failures`, and two."""
        self._failed_tokens: OrderedDict[TokenDigest, None] = OrderedDict()
        self._open_until: float | None = None
        """End of the open state, monotonic; None: closed."""
        self._probing = 0
        self._last_probe: str | None = None
        """The source whose probe failed."""

    @property
    def is_closed(self) -> bool:
        """Whether all questions pass."""
        return self._open_until is None

    def check(self, source: str, token: TokenDigest) -> None:
        """Raises `CircuitOpen` if this question would not pass now. Does not admit it."""
        if self._open_until is None:
            return
        remaining = self._open_until - self._clock.monotonic()
        if source == self._last_probe or token in self._failed_tokens:
            remaining += self._settings.open_for  # other sources first, but perhaps there are none
        if remaining > 0 or self._probing >= self._settings.probes:
            raise CircuitOpen(remaining)

    def admit(self, source: str, token: TokenDigest) -> Passage:
        """Admit one question, possibly as a probe. Raises `CircuitOpen`."""
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
        """An admitted question failed."""
        if blame is not Blame.ENDPOINT:
            self._remember(admission.token)
        if admission.is_probe:
            self._probing = max(0, self._probing - 1)
            if blame is not Blame.TOKEN and self._open_until is not None:
                self._last_probe = None if blame is Blame.ENDPOINT else admission.source
                self._open()
        elif self._open_until is None:  # otherwise it began before the circuit opened, and is no new evidence
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
