"""One memory of used proofs for all workers of a Pod: who asks, who answers, and what is between them."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from sidecar.decision.proof import Claim
from sidecar.decision.replay import ReplayMemory, ReplayUnknown
from sidecar.process.replay import shared_memory
from sidecar.process.replay.claims_desk import ClaimsDesk
from sidecar.process.replay.claims_wire import ANSWER, CLAIM, ClaimAnswer, written
from sidecar.process.replay.shared_memory import SharedMemory

KEY = b"k" * 32


def claim(jti: str = "a", key: bytes = KEY, **changed: float) -> Claim:
    return Claim(key, jti, changed.get("made_at", time.time()), changed.get("lifetime", 90.0))


def memory(entries: int = 1000) -> ReplayMemory:
    return ReplayMemory(b"digest", time.monotonic, entries)


async def worker(shared: ReplayMemory | None) -> tuple[SharedMemory, socket.socket | asyncio.Transport]:
    """A worker's guard and the supervisor's end: a desk, or with no memory a socket that says nothing."""
    ours, theirs = socket.socketpair()
    loop, guard = asyncio.get_running_loop(), SharedMemory()
    await loop.create_unix_connection(lambda: guard, sock=theirs)
    if shared is None:
        ours.setblocking(False)
        return guard, ours
    transport, _ = await loop.create_unix_connection(lambda: ClaimsDesk(shared), sock=ours)
    return guard, transport


def run(play: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(cast("Any", play()))


async def unknown(waiter: Awaitable[bool]) -> str:
    with pytest.raises(ReplayUnknown) as caught:
        await waiter
    return caught.value.why


def test_of_200_claims_of_one_proof_by_two_workers_one_is_first() -> None:
    async def play() -> None:
        shared = memory()
        guards = [(await worker(shared))[0] for _ in range(2)]
        made = claim("one", made_at=time.time())
        answers = await asyncio.gather(*(guards[at % 2].claim(made) for at in range(200)))
        assert answers.count(True) == 1
        assert len(shared) == 1
        for one in guards:
            one.close()

    run(play)


def test_another_key_and_another_jti_are_other_proofs() -> None:
    async def play() -> None:
        guard, _ = await worker(memory())
        now = time.time()
        asked = [("a", KEY), ("a", KEY), ("b", KEY), ("a", b"x" * 32), ("\ud800", KEY), ("a" * 512, KEY)]
        answers = [await guard.claim(claim(jti, key, made_at=now)) for jti, key in asked]
        assert answers == [True, False, True, True, True, True]
        guard.close()

    run(play)


def test_greedy_key_and_a_full_memory_are_told_apart_over_the_wire() -> None:
    async def play() -> None:
        guard, _ = await worker(memory(entries=16))
        assert [await guard.claim(claim(f"{at}")) for at in range(2)] == [True, True]
        assert await unknown(guard.claim(claim("more"))) == "too many of one key"
        for at in range(14):
            assert await guard.claim(claim("other", bytes([at]) * 32))
        assert await unknown(guard.claim(claim("other", b"z" * 32))) == "full"
        guard.close()

    run(play)


def test_supervisor_that_is_gone_is_out_of_reach_for_who_waits_and_who_comes() -> None:
    async def play() -> None:
        told: list[tuple[str, str]] = []
        guard, end = await worker(None)
        guard.incident = lambda *said: told.append(said)
        waiting = guard.claim(claim())
        cast("socket.socket", end).close()
        assert await unknown(waiting) == "out of reach"
        with pytest.raises(ReplayUnknown, match="out of reach"):
            await guard.claim(claim())
        assert told == [("replay_unknown", "out of reach")] * 2

    run(play)


def test_guard_that_was_never_connected_is_out_of_reach() -> None:
    async def play() -> None:
        with pytest.raises(ReplayUnknown, match="out of reach"):
            await SharedMemory().claim(claim())

    run(play)


def test_late_verdict_is_none_and_takes_nothing_from_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        guard, end = await worker(None)
        loop, wire = asyncio.get_running_loop(), cast("socket.socket", end)
        with monkeypatch.context() as short:
            short.setattr(shared_memory, "DEADLINE", 0.05)
            first = guard.claim(claim("a"))
            assert await unknown(first) == "no answer in time"
        second = guard.claim(claim("b"))
        third = guard.claim(claim("c"))
        third.cancel()
        said = (
            ANSWER.pack(1, ClaimAnswer.FIRST)
            + ANSWER.pack(3, ClaimAnswer.FIRST)
            + ANSWER.pack(2, ClaimAnswer.USED)
        )
        for at in range(0, len(said), 4):  # in pieces that are no whole verdicts
            await loop.sock_sendall(wire, said[at : at + 4])
        assert await second is False
        guard.close()
        wire.close()

    run(play)


@pytest.mark.usefixtures("real_deadline")
def test_claims_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "MOST", 3)

    async def play() -> None:
        guard, end = await worker(None)
        waiting = [guard.claim(claim(f"{at}")) for at in range(3)]
        with pytest.raises(ReplayUnknown, match="out of reach"):
            await guard.claim(claim("more"))
        assert [await unknown(one) for one in waiting] == ["no answer in time"] * 3
        again = guard.claim(claim("again"))  # there is room once the others have given up
        guard.close()
        assert await unknown(again) == "out of reach"
        cast("socket.socket", end).close()

    run(play)


@pytest.mark.parametrize(
    ("made_at", "lifetime"),
    [
        (1e18, 90.0), (0.0, 90.0), (float("nan"), 90.0), (float("inf"), 90.0), (None, 1e9), (None, -1.0),
        (None, float("nan")),
    ],
)  # fmt: skip
def test_worker_that_claims_what_cannot_be_is_told_so_and_harms_no_other(
    made_at: float | None, lifetime: float
) -> None:
    """What is far ahead would, once it is dropped, make every proof before it one that was used."""

    async def play() -> None:
        shared = memory()
        mad, _ = await worker(shared)
        asked = mad.claim(claim(made_at=time.time() if made_at is None else made_at, lifetime=lifetime))
        assert await unknown(asked) == "the clock was set"
        assert len(shared) == 0
        sane, _ = await worker(shared)
        assert await sane.claim(claim())
        mad.close()
        sane.close()

    run(play)


def test_desk_reads_no_more_from_a_worker_that_takes_no_answers() -> None:
    """A worker cannot make the supervisor hold answers without end."""

    async def play() -> None:
        ours, theirs = socket.socketpair()
        loop, desk = asyncio.get_running_loop(), ClaimsDesk(memory(entries=1 << 20))
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport, _ = await loop.create_unix_connection(lambda: desk, sock=ours)
        transport.set_write_buffer_limits(high=1024)
        theirs.setblocking(False)
        record, sent = written(1, claim()), 0
        while transport.is_reading():
            try:
                sent += theirs.send(record)
            except BlockingIOError:
                await asyncio.sleep(0)
        answers, heard = sent // CLAIM.size * ANSWER.size, 0
        assert answers > 0
        async with asyncio.timeout(60):
            while heard < answers or not transport.is_reading():
                some = await loop.sock_recv(theirs, 65536)
                assert some
                heard += len(some)
        assert heard == answers
        transport.close()
        theirs.close()

    run(play)


def test_records_have_one_length_whatever_the_jti() -> None:
    assert {len(written(2**64 - 1, claim(jti))) for jti in ("a", "\ud800" * 512)} == {CLAIM.size}
    with pytest.raises(struct.error):
        written(2**64, claim())
