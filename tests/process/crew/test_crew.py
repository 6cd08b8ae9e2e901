"""The supervisor alone, over workers that are as slow, stubborn or mad as a test wants them."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.process.crew import crew as crew_module
from sidecar.process.crew import figures, seat
from sidecar.process.crew.channel import AskingEnd, answer_all
from sidecar.process.crew.crew import Crew
from sidecar.process.endpoints import health
from sidecar.process.reload.loader import load_apart
from sidecar.settings import Loaded, SettingsError
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.records import RecordedTelemetry
from tests.support.sidecar import Sidecar


class Worker:
    """Answers as it was told to, over a real channel, with a process that can be killed."""

    def __init__(self, **answers: Any) -> None:
        """An exception is raised, seconds or an event are waited for, anything else is the answer."""
        self.answers = answers
        self.asked: list[str] = []
        self.process = subprocess.Popen(["sleep", "600"])

    async def sits(self, place: seat.Seat) -> list[asyncio.Task[Any]]:
        ours, theirs = socket.socketpair()
        place.process = self.process
        end = await AskingEnd.over(ours)
        place.take(end)
        return [asyncio.create_task(end.run()), asyncio.create_task(answer_all(theirs, self.answer))]

    async def answer(self, method: str, argument: Any) -> Any:
        self.asked.append(method if not isinstance(argument, int) else f"{method} {argument}")
        found = self.answers.get(method, {} if method == "snapshot" else None)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, float):
            await asyncio.sleep(found)
        if isinstance(found, asyncio.Event):
            await found.wait()
            return None
        return found

    @property
    def was_killed(self) -> bool:
        return self.process.poll() == -signal.SIGKILL


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


class Bench:
    """A crew whose seats are taken by made-up workers."""

    def __init__(self, folder: Path, pki: Pki, key: SigningKey) -> None:
        self.path = Sidecar(folder, pki, "http://127.0.0.1:9", keys=[key]).config
        self.recorder = RecordedTelemetry(folder)
        self.workers: list[Worker] = []

    def loaded(self, generation: int) -> Loaded:
        return load_apart(self.path, generation)

    def run(self, work: Callable[[Crew], Awaitable[None]], *workers: Worker) -> None:
        async def main() -> None:
            crew = Crew(self.path, self.loaded(1), self.recorder.journal, len(workers))
            self.workers = list(workers)
            tasks = [
                task for place, one in zip(crew.seats, workers, strict=True) for task in await one.sits(place)
            ]
            try:
                await asyncio.wait_for(work(crew), 120)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await crew.close()

        asyncio.run(main())

    def told(self) -> list[str]:
        return [line["event"] for line in self.recorder.lines()]


@pytest.fixture
def bench(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """Good workers have all the time that a busy machine takes; only those that never end are not waited for."""
    monkeypatch.setattr(crew_module, "ADOPT_WITHIN", 20.0)
    monkeypatch.setattr(seat, "ANSWER_WITHIN", 20.0)
    monkeypatch.setattr(seat, "END_WITHIN", 20.0)
    monkeypatch.setattr(figures, "GATHER", 0.0)
    bench = Bench(tmp_path, pki, signing_key)
    yield bench
    for worker in bench.workers:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture
def impatient(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """For tests whose worker never answers in time: its questions are soon given up."""
    monkeypatch.setattr(seat, "ANSWER_WITHIN", 0.3)
    return bench


def test_nobody_adopts_what_one_cannot_prepare(bench: Bench) -> None:
    good, bad = Worker(), Worker(prepare=ValueError("tls.key: no such file"))

    async def work(crew: Crew) -> None:
        outcome = await crew.reloader.reload("SIGHUP")
        assert (outcome.result, crew.reloader.generation) == ("failure", 1)
        assert "tls.key: no such file" in outcome.problems[0]

    bench.run(work, good, bad)
    assert good.asked == ["prepare", "abandon"]
    assert not good.was_killed
    assert not bad.was_killed


def test_worker_that_does_not_prepare_in_time_keeps_all_where_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "PREPARE_WITHIN", 1.0)
    good = Worker()

    async def work(crew: Crew) -> None:
        outcome = await crew.reloader.reload("SIGHUP")
        assert "a worker did not answer in time" in outcome.problems[0]

    bench.run(work, good, Worker(prepare=60.0))
    assert good.asked == ["prepare", "abandon"]


@pytest.mark.parametrize("stubborn", [60.0, ValueError("generation 2 was not prepared"), KeyError("a bug")])
def test_worker_that_does_not_adopt_what_the_others_obey_is_killed(
    bench: Bench, stubborn: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "ADOPT_WITHIN", 1.0)
    good, bad = Worker(), Worker(adopt=stubborn)

    async def work(crew: Crew) -> None:
        assert (await crew.reloader.reload("SIGHUP")).result == "success"

    bench.run(work, good, bad)
    assert good.asked == ["prepare", "adopt 2"]
    assert (good.was_killed, bad.was_killed) == (False, True)
    assert "worker keeps an old configuration" in bench.told()


def test_worker_that_goes_away_meanwhile_holds_nothing_up(bench: Bench) -> None:
    good = Worker()

    async def work(crew: Crew) -> None:
        crew.seats[1].clear()
        assert (await crew.reloader.reload("SIGHUP")).result == "success"

    bench.run(work, good, Worker())
    assert good.asked == ["prepare", "adopt 2"]


def test_worker_that_begins_during_a_change_serves_only_under_the_newest(bench: Bench) -> None:
    """Its start was under the old configuration; `serve`, which binds its ports, comes after it has the new one."""
    changed = asyncio.Event()
    late = Worker(start=changed)

    async def work(crew: Crew) -> None:
        end = crew.seats[0].end
        assert end is not None
        crew.seats[0].left(end)
        beginning = asyncio.create_task(crew._seated(crew.seats[0], end))
        await until(lambda: late.asked == ["start"])
        await crew._take(bench.loaded(2))
        changed.set()
        await beginning

    bench.run(work, late)
    assert late.asked == ["start", "prepare", "adopt 2", "serve"]


def test_many_scrapes_at_once_ask_once_and_bring_no_watchdog_nearer(impatient: Bench) -> None:
    slow = Worker(snapshot=60.0)

    async def work(crew: Crew) -> None:
        await asyncio.gather(*(crew.snapshot() for _ in range(4 * figures.SILENT_TOO_LONG)))
        assert crew.seats[0].silent == 0

    impatient.run(work, slow)
    assert slow.asked == ["snapshot"]
    assert not slow.was_killed


def test_worker_that_says_nothing_for_some_looks_is_killed_and_not_waited_for_meanwhile(
    impatient: Bench,
) -> None:
    silent = Worker(snapshot=60.0, readiness=60.0)

    async def work(crew: Crew) -> None:
        watching = asyncio.create_task(crew._figures.watch())
        await until(lambda: crew.seats[0].silent > 0)
        asked = len(silent.asked)
        await crew.snapshot()
        assert not (await crew.inspection.readiness())[0].ok
        assert set(silent.asked[asked:]) <= {"snapshot"}, "asked by the watch alone"
        await until(lambda: silent.was_killed)
        watching.cancel()

    impatient.run(work, silent)
    assert len(silent.asked) >= figures.SILENT_TOO_LONG
    assert "worker does not answer" in impatient.told()


def test_worker_that_is_late_with_every_answer_lives(impatient: Bench) -> None:
    late = Worker(snapshot=0.45)

    async def work(crew: Crew) -> None:
        watching = asyncio.create_task(crew._figures.watch())
        await until(lambda: len(late.asked) > 2 * figures.SILENT_TOO_LONG)
        watching.cancel()

    impatient.run(work, late)
    assert not late.was_killed


def test_worker_that_talks_nonsense_is_killed(bench: Bench) -> None:
    mad = Worker(snapshot={"sidecar_connections": "many"})

    async def work(crew: Crew) -> None:
        await crew.snapshot()

    bench.run(work, mad)
    assert mad.was_killed
    assert bench.told() == ["worker talks nonsense"]


def test_worker_that_cannot_tell_its_figures_is_told_of(bench: Bench) -> None:
    """A bug in one answer costs that answer, not the worker: it serves."""
    broken = Worker(snapshot=KeyError("a secret"), readiness=[])

    async def work(crew: Crew) -> None:
        await crew.snapshot()
        assert (await crew.inspection.readiness())[0].ok

    bench.run(work, broken)
    assert not broken.was_killed
    (line,) = bench.recorder.lines()
    assert (line["event"], line["detail"]) == ("worker tells no figures", "the worker failed at it: KeyError")


def test_process_is_alive_while_one_worker_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(crew: Crew) -> None:
        def alive() -> tuple[bool, str]:
            (check,) = crew.inspection.liveness()
            return check.ok, check.detail

        assert alive() == (True, "")
        now = time.monotonic()
        for place in crew.seats:
            assert place.end is not None
            place.end.heard_at = now - health.HEARTBEAT_AGE - 1
        assert alive() == (False, "no worker has answered for 11 s")
        await crew.seats[1].ask("snapshot")
        assert alive() == (True, "")
        for place in crew.seats:
            place.clear()
        assert alive() == (False, "no worker serves")
        crew.stopping = True
        assert alive() == (True, ""), "while it drains it will end by itself"

    bench.run(work, Worker(), Worker())


def test_refused_change_leaves_the_generation_of_new_workers_as_it_was(bench: Bench) -> None:
    async def work(crew: Crew) -> None:
        with pytest.raises(SettingsError):
            await crew._take(bench.loaded(2))
        assert crew._newest.policy.generation == 1

    bench.run(work, Worker(prepare=ValueError("no")))
