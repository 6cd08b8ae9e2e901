"""Places that many use: none can take them all, whoever waits takes turns, and nothing is lost with one who leaves."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

import pytest

from sidecar.issuer.shares import NoPlaceToWait, Places, Shares
from tests.support.issuer_events import until


def filled(shares: Shares, source: str) -> int:
    """Takes all that `source` may have."""
    taken = 0
    while shares.fits(source):
        shares.take(source)
        taken += 1
    return taken


def test_one_source_gets_three_quarters_and_the_next_three_quarters_of_the_rest() -> None:
    shares = Shares(32)
    assert [filled(shares, source) for source in ("one", "two", "three")] == [24, 6, 2]


def test_new_source_finds_a_place_beside_many_greedy_ones() -> None:
    shares = Shares(256)
    for number in range(4):
        filled(shares, f"greedy-{number}")
    assert shares.fits("honest")


def test_only_place_is_anybodys() -> None:
    shares = Shares(1)
    shares.take("one")
    assert not shares.fits("other")
    shares.give_back("one")
    assert shares.fits("other")
    assert not shares.is_used


class Office:
    """Callers who hold a place until they are let go."""

    def __init__(self, capacity: int, waiting: int) -> None:
        self.places = Places(capacity, waiting)
        self.served: list[str] = []
        self._held: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.last: asyncio.Future[None] | None = None

    async def _visit(self, source: str) -> None:
        async with self.places.place(source):
            self.served.append(source)
            self._held.append(done := asyncio.Event())
            await done.wait()

    async def comes(self, source: str) -> None:
        self.last = await self.calls(source)

    async def calls(self, source: str) -> asyncio.Future[None]:
        task = asyncio.create_task(self._visit(source))
        self._tasks.add(task)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    async def ends_one(self) -> None:
        before = len(self.served)
        self._held.pop(0).set()
        with suppress(TimeoutError):
            await until(lambda: len(self.served) > before, 0.1)

    async def ends_all(self) -> None:
        while self._held:
            await self.ends_one()
        assert all(task.done() for task in self._tasks)


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


def test_sources_that_wait_take_turns() -> None:
    async def scenario() -> None:
        office = Office(1, 20)
        for source in ("greedy", "greedy", "greedy", "honest"):
            await office.comes(source)
        await office.ends_one()
        await office.ends_one()
        assert office.served == ["greedy", "greedy", "honest"]
        await office.ends_all()
        assert office.served == ["greedy", "greedy", "honest", "greedy"]

    run(scenario())


def test_room_to_wait_is_shared_too() -> None:
    async def scenario() -> None:
        office = Office(1, 4)
        for _ in range(4):
            await office.comes("greedy")
        with pytest.raises(NoPlaceToWait):
            await (await office.calls("greedy"))
        assert not (await office.calls("honest")).done()
        await office.ends_one()
        await office.ends_one()
        assert office.served == ["greedy", "greedy", "honest"]

    run(scenario())


def test_one_who_leaves_takes_no_place_along() -> None:
    async def scenario() -> None:
        office = Office(1, 4)
        await office.comes("first")
        waiting, behind = await office.calls("waiting"), await office.calls("behind")
        waiting.cancel()
        await office.ends_one()
        assert office.served == ["first", "behind"]
        assert waiting.cancelled()
        assert not behind.done()
        await office.ends_all()
        await office.comes("last")
        assert office.served == ["first", "behind", "last"]

    run(scenario())


def test_place_that_comes_together_with_the_end_goes_to_the_next() -> None:
    async def scenario() -> None:
        places = Places(1, 4)
        served: list[str] = []

        async def visit(source: str) -> None:
            async with places.place(source):
                served.append(source)

        async with places.place("first"):
            waiting, behind = asyncio.create_task(visit("waiting")), asyncio.create_task(visit("behind"))
            await asyncio.sleep(0)
        waiting.cancel()  # it was given the place a moment ago, and has not run since
        await behind
        assert served == ["behind"]

    run(scenario())
