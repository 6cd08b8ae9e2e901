"""The reloader alone: what it calls waiting, failure and success, and what it says how often."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.process.reload import reloader as module
from sidecar.process.reload.loader import load_apart
from sidecar.process.reload.reloader import Reloader, ReloadOutcome
from sidecar.settings import Loaded, SettingsError
from sidecar.settings.problem import Problem
from tests.support.issuer_events import until
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.records import RecordedTelemetry
from tests.support.sidecar import Sidecar


class Taking:
    """Takes configurations, or refuses them for what it was told."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.bug: Exception | None = None
        self.taken: list[int] = []

    async def take(self, loaded: Loaded) -> None:
        if self.refusal is not None:
            raise SettingsError([Problem("tls", 0, 0, self.refusal)])
        if self.bug is not None:
            raise self.bug
        self.taken.append(loaded.policy.generation)


class Bench:
    """A reloader over a real configuration folder."""

    def __init__(self, folder: Path, pki: Pki, key: SigningKey) -> None:
        self.path = Sidecar(folder, pki, "http://127.0.0.1:9", keys=[key]).config
        self.recorder = RecordedTelemetry(folder)
        self.taking = Taking()
        self.generation = 1

    def run(self, *triggers: str) -> list[ReloadOutcome]:
        """One reload for each trigger."""

        async def main() -> list[ReloadOutcome]:
            loaded = load_apart(self.path, 1)
            reloader = Reloader(
                self.path, loaded, self.taking.take, self.recorder.journal, self.recorder.metrics
            )
            outcomes = [await reloader.reload(trigger) for trigger in triggers]
            self.generation = reloader.generation
            return outcomes

        return asyncio.run(main())

    def counted(self, result: str) -> float:
        children = self.recorder.metrics.counters.get("sidecar_configuration_reload_total", {})
        return children.get((result,), 0)


@pytest.fixture
def bench(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Bench:
    return Bench(tmp_path, pki, signing_key)


def test_generations_count_what_was_taken(bench: Bench) -> None:
    assert [outcome.result for outcome in bench.run("SIGHUP", "SIGHUP")] == ["success", "success"]
    assert bench.taking.taken == [2, 3]
    assert bench.generation == 3


@pytest.mark.parametrize("words", ["`a.key` is not the key of `a.crt`", "TLS files: key values mismatch"])
def test_half_a_pair_is_waited_for_in_a_quiet_voice(
    bench: Bench, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "PAIR_PATIENCE", 600.0
    )  # a busy machine may take longer than 30 s to read twice
    bench.taking.refusal = words
    assert [outcome.result for outcome in bench.run("file change", "retry")] == ["waiting", "waiting"]
    assert (bench.counted("waiting"), bench.counted("failure")) == (1, 0)
    assert bench.recorder.metrics.counters["sidecar_configuration_stale"] == {(): 0}
    (line,) = bench.recorder.lines()
    assert (line["level"], line["event"]) == ("info", "configuration waits for the other half of a pair")


def test_half_a_pair_that_stays_half_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.taking.refusal = "TLS files: key values mismatch"
    monkeypatch.setattr(module, "PAIR_PATIENCE", 0.0)
    assert bench.run("file change")[0].result == "failure"
    (line,) = bench.recorder.lines()
    assert (line["level"], line["generation_kept"]) == ("error", 1)


def test_refusal_that_is_retried_is_told_and_counted_once(bench: Bench) -> None:
    bench.taking.refusal = "not today"
    assert {outcome.result for outcome in bench.run("SIGHUP", "retry", "retry")} == {"failure"}
    assert bench.counted("failure") == 1
    assert bench.recorder.metrics.counters["sidecar_configuration_stale"] == {(): 1}
    assert len(bench.recorder.lines()) == 1


def test_refusal_that_a_person_asks_for_again_is_told_again(bench: Bench) -> None:
    bench.taking.refusal = "not today"
    bench.run("SIGHUP", "SIGHUP")
    assert bench.counted("failure") == 2
    assert len(bench.recorder.lines()) == 2


def test_refusals_leave_one_try_to_come_and_each_try_comes_later_than_the_last(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    due: list[tuple[float, asyncio.TimerHandle]] = []
    call_later = asyncio.BaseEventLoop.call_later

    def noted(loop: asyncio.BaseEventLoop, delay: float, callback: Any, *rest: Any) -> asyncio.TimerHandle:
        handle = call_later(loop, delay, callback, *rest)
        if getattr(callback, "__name__", "") == "_retry":
            due.append((delay, handle))
        return handle

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", noted)
    bench.taking.refusal = "not today"
    bench.run("SIGHUP", "file change", *["retry"] * 5, "SIGHUP")
    assert [delay for delay, _ in due] == [5, 5, 10, 20, 40, 60, 60, 5]
    assert [handle.cancelled() for _, handle in due] == [True] * 7 + [False]


def test_retry_that_falls_due_during_a_reload_that_succeeds_is_none(bench: Bench) -> None:
    """It would take what changed meanwhile, and count as no reload."""

    async def main() -> None:
        loaded = load_apart(bench.path, 1)

        async def take(loaded: Loaded) -> None:
            await bench.taking.take(loaded)
            if len(bench.taking.taken) == 1:
                reloader.last = ReloadOutcome(0, "SIGHUP", "failure", ("as before",))
                reloader._retry()

        reloader = Reloader(bench.path, loaded, take, bench.recorder.journal, bench.recorder.metrics)
        running = asyncio.create_task(reloader.run())
        reloader.request("SIGHUP")
        await until(lambda: reloader.last.result == "success" and reloader.last.trigger == "SIGHUP")
        await until(lambda: not reloader._wake.is_set())
        reloader.request("SIGHUP")
        await until(lambda: bench.counted("success") == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.taking.taken == [2, 3]

    asyncio.run(main())


def test_fault_of_ours_is_told_as_a_refusal_and_ends_no_reloader(bench: Bench) -> None:
    bench.taking.bug = KeyError("a secret")
    assert [outcome.result for outcome in bench.run("file change", "SIGHUP")] == ["failure", "failure"]
    (line, _) = bench.recorder.lines()
    assert "it could not be taken: KeyError at Taking.take:" in line["problems"][0]
    assert "a secret" not in json.dumps(line)
    assert (bench.taking.taken, bench.generation) == ([], 1)
