"""What it takes to claim a DPoP proof where several processes must know of it: `python -m bench.claims`.

Process time of many claims, forty under way at a time, beside one verification of an ES256 signature in the same run.
Of the memory that a supervisor keeps for its workers both sides are in this process; of a server of the Redis protocol
only ours is counted.
"""

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.decision.jose import is_signature
from sidecar.decision.jwk import parse_jwk
from sidecar.decision.proof import Claim
from sidecar.decision.replay import ReplayGuard, ReplayMemory
from sidecar.decision.strict import base64url
from sidecar.process.replay.claims_desk import ClaimsDesk
from sidecar.process.replay.redis_guard import RedisGuard
from sidecar.process.replay.shared_memory import SharedMemory
from sidecar.settings.redis_place import RedisPlace
from tests.support.proofs import Prover
from tests.support.redis import RedisServer

_REPEATS: Final = 5
_CLAIMS: Final = 4000
_AT_ONCE: Final = 40


def _claims(store: str) -> Iterator[Claim]:
    number = 0
    while True:
        number += 1
        yield Claim((number // 1000).to_bytes(32, "big"), f"{store}-{number}", time.time(), 90.0)


async def _each(guard: ReplayGuard, claims: Iterator[Claim]) -> float:
    """Microseconds of one claim, the best of several runs."""

    async def claim() -> None:
        answer = guard.claim(next(claims))
        assert answer if isinstance(answer, bool) else await answer

    best = float("inf")
    for _ in range(_REPEATS):
        before = time.process_time()
        for _ in range(_CLAIMS // _AT_ONCE):
            await asyncio.gather(*(claim() for _ in range(_AT_ONCE)))
        best = min(best, time.process_time() - before)
    return best / _CLAIMS * 1e6


def _verification() -> float:
    prover = Prover.create()
    signed, _, signature = prover.proof("token").rpartition(".")
    data, key, raw = signed.encode(), parse_jwk(prover.jwk).key, base64url(signature)
    best = float("inf")
    for _ in range(_REPEATS):
        before = time.process_time()
        for _ in range(_CLAIMS):
            is_signature("ES256", data, key, raw)
        best = min(best, time.process_time() - before)
    return best / _CLAIMS * 1e6


async def _shared() -> SharedMemory:
    ours, theirs = socket.socketpair()
    loop, guard = asyncio.get_running_loop(), SharedMemory()
    desk = ClaimsDesk(ReplayMemory(b"key", time.monotonic))
    await loop.create_unix_connection(lambda: desk, sock=ours)
    await loop.create_unix_connection(lambda: guard, sock=theirs)
    return guard


async def main() -> int:
    """Print the table."""
    rows = {"one ES256 verification": _verification()}
    rows["memory, one worker"] = await _each(ReplayMemory(b"key", time.monotonic), _claims("m"))
    rows["the supervisor's memory, both sides"] = await _each(await _shared(), _claims("s"))
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        guard = RedisGuard(RedisPlace.parse(server.url))
        rows["Redis, our side"] = await _each(guard, _claims("r"))
        guard.close()
        await asyncio.sleep(0)
    for name, cost in rows.items():
        print(f"{name:36}{cost:7.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
