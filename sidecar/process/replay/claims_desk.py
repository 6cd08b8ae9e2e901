"""The supervisor's side: workers claim proofs here, and one memory has the proofs of all (RFC 9449 §11.1)."""

import asyncio
import time
from typing import cast

from sidecar.decision.replay import ReplayMemory, ReplayUnknown
from sidecar.process.replay.claims_wire import ANSWER, ANSWERS, CLAIM, ClaimAnswer, claim_in


class ClaimsDesk(asyncio.Protocol):
    """Answers one worker's claims, each in the turn in which it is read: there is no moment between look and claim."""

    def __init__(self, memory: ReplayMemory) -> None:
        self._memory = memory
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A worker has begun."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Claims, whole or in part."""
        assert self._transport is not None  # noqa: S101 — data comes over a connection
        received = self._received + data
        whole = len(received) - len(received) % CLAIM.size
        self._received = received[whole:]
        now = time.time()
        answers = [self._answer(received[at : at + CLAIM.size], now) for at in range(0, whole, CLAIM.size)]
        self._transport.write(b"".join(answers))

    def _answer(self, record: bytes, now: float) -> bytes:
        number, claim = claim_in(record, now)
        if claim is None:
            return ANSWER.pack(number, ClaimAnswer.UNTIMELY)
        try:
            verdict = ClaimAnswer.FIRST if self._memory.claim(claim) else ClaimAnswer.USED
        except ReplayUnknown as unknown:
            verdict = ANSWERS[unknown.why]
        return ANSWER.pack(number, verdict)

    def pause_writing(self) -> None:
        """The worker takes no answers: nothing more is read from it."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes them again."""
        if self._transport is not None:
            self._transport.resume_reading()
