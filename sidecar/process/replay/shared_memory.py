"""A worker's side of the memory that its supervisor keeps for all workers of the Pod (RFC 9449 §11.1).

Theory of operation: claims go out at once, and verdicts come back by number. Without a verdict within `DEADLINE`, or
without a supervisor to ask, it is unknown whether the proof was used: `ReplayUnknown`. All claims wait equally long, so
one timer is enough: it looks at the oldest.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from sidecar.decision.proof import Claim
from sidecar.decision.replay import ReplayGuard, ReplayUnknown
from sidecar.process.replay.claims_wire import ANSWER, WORDS, ClaimAnswer, written

DEADLINE: Final = 0.5
"""Seconds for one claim."""
MOST: Final = 4096
"""Claims in progress at a time; the next one gets `ReplayUnknown`."""
_OUT_OF_REACH: Final = "out of reach"


class SharedMemory(ReplayGuard, asyncio.Protocol):
    """Asks the supervisor."""

    def __init__(self) -> None:
        self.incident: Callable[[str, str], None] | None = None
        """Gets the name and the cause of each failure that is not an answer."""
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, tuple[float, asyncio.Future[bool]]] = {}
        """Number → deadline and waiter. The oldest first."""
        self._next = 0
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def claim(self, claim: Claim) -> "asyncio.Future[bool]":
        """Raises `ReplayUnknown`, at once or from the future."""
        transport, loop = self._transport, self._loop
        if transport is None or loop is None or len(self._waiting) >= MOST:
            raise self._unknown(_OUT_OF_REACH)
        self._next += 1
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiting[self._next] = (loop.time() + DEADLINE, waiter)
        transport.write(written(self._next, claim))
        if self._timer is None:
            self._timer = loop.call_later(DEADLINE, self._look)
        return waiter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The supervisor is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The supervisor is gone."""
        self._transport = None
        self._fail(list(self._waiting), _OUT_OF_REACH)

    def data_received(self, data: bytes) -> None:
        """Verdicts, whole or in part."""
        received = self._received + data
        whole = len(received) - len(received) % ANSWER.size
        self._received = received[whole:]
        for number, verdict in ANSWER.iter_unpack(received[:whole]):
            _, waiter = self._waiting.pop(number, (0.0, None))
            if waiter is None or waiter.done():  # too late, or nobody waits any more
                continue
            why = WORDS.get(verdict)
            if why is None:
                waiter.set_result(verdict == ClaimAnswer.FIRST)
            else:
                waiter.set_exception(ReplayUnknown(why))

    def close(self) -> None:
        """No more claims."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        assert self._loop is not None  # noqa: S101 — it was set with the connection
        now = self._loop.time()
        self._fail(
            [number for number, (until, _) in self._waiting.items() if until <= now], "no answer in time"
        )
        self._timer = None
        if self._waiting:
            until, _ = next(iter(self._waiting.values()))
            self._timer = self._loop.call_at(until, self._look)

    def _fail(self, numbers: list[int], why: str) -> None:
        for number in numbers:
            _, waiter = self._waiting.pop(number)
            if not waiter.done():
                waiter.set_exception(self._unknown(why))

    def _unknown(self, why: str) -> ReplayUnknown:
        if self.incident is not None:
            self.incident("replay_unknown", why)
        return ReplayUnknown(why)
