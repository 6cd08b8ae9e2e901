"""Standing tasks: none ends unseen, and what failed is begun again."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.process.host import standing
from sidecar.process.host.standing import StandingTasks, kind_and_place
from tests.support.records import RecordedTelemetry


class Work:
    """Fails in each given way, one way a run, then waits to be cancelled."""

    def __init__(self, *failures: Callable[[], object]) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.stands = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.failures:
            self.failures.pop(0)()
        self.stands.set()
        await asyncio.Event().wait()


def fails(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedTelemetry]:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 0.001)
    recorder = RecordedTelemetry(tmp_path)
    yield recorder
    recorder.sink.close()


def test_what_fails_is_told_counted_and_begun_again(recorder: RecordedTelemetry) -> None:
    async def main() -> list[tuple[str, str]]:
        tasks = StandingTasks(recorder.journal, recorder.metrics)
        work = Work(fails(ValueError("a secret")), fails(asyncio.CancelledError()))
        tasks.begin("watch", work.run)
        await asyncio.wait_for(work.stands.wait(), 10)
        told = list(tasks.failed())
        await tasks.close()
        assert work.runs == 3
        return told

    assert asyncio.run(main()) == [("watch", "cancelled from inside")]
    assert recorder.metrics.counters["sidecar_incidents_total"] == {("task_failed",): 2}
    first, second = recorder.lines()
    assert (first["level"], first["event"], first["task"]) == ("error", "task failed", "watch")
    assert first["detail"].startswith("ValueError at fails.<locals>.fail:")
    assert "a secret" not in str(first)
    assert second["detail"] == "cancelled from inside"
    assert second["again_in"] == 2 * first["again_in"]


def test_work_that_returns_has_ended_well(recorder: RecordedTelemetry) -> None:
    async def main() -> None:
        tasks = StandingTasks(recorder.journal, recorder.metrics)
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        tasks.begin("once", work)
        await asyncio.wait_for(done.wait(), 10)
        await tasks.close()
        assert list(tasks.failed()) == []

    asyncio.run(main())
    assert recorder.lines() == []


def test_closing_ends_work_that_fails_and_work_that_stands(recorder: RecordedTelemetry) -> None:
    async def main() -> None:
        tasks = StandingTasks(recorder.journal, recorder.metrics)
        work = Work()
        tasks.begin("stands", work.run)
        tasks.begin("fails", Work(*[fails(OSError())] * 10_000).run)
        await asyncio.wait_for(work.stands.wait(), 10)
        await tasks.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_place_of_a_failure_is_that_of_its_first_cause_in_a_group() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(Work(fails(LookupError("x"))).run())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert kind_and_place(caught.value).startswith("LookupError at fails.<locals>.fail:")
