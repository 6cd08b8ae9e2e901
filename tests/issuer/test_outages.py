"""Keys while their issuer is out of reach: kept, aged, saved, and told apart from a client's fault."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.configuration import IssuersSettings, JwksFile
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer, drop, endless
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, until
from tests.support.live_issuer import found, has, live
from tests.support.mint import SigningKey, jwks


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        (answer(status=500), "status"),
        (answer(b"<html>", content_type="text/html"), "parse"),
        (answer({"keys": "none"}), "parse"),
        (drop(), "connect"),
        (endless(8 << 20), "size"),
    ],
    ids=["status", "html", "no-set", "drop", "endless"],
)
def test_keys_that_never_came_are_the_issuers_fault(
    fault: Callable[[web.Request], Awaitable[web.StreamResponse]],
    phase: str,
    issuer: ScriptedIssuer,
    events: IssuerEvents,
) -> None:
    issuer.answers[JWKS_PATH] = fault

    async def scenario(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable) as unavailable:
            issuers.keys(issuer.url)
        assert unavailable.value.phase == "never_loaded"
        assert unavailable.value.retry_after >= 1
        assert issuers.readiness().waiting_for == (issuer.url,)
        assert not issuers.readiness().is_ready
        assert issuers.readiness().states[0].failed_phase == phase

    live(issuer, events, scenario)
    assert events.results[0] == phase


def test_last_good_keys_serve_until_the_budget_is_spent(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        clock.advance(QUICK.staleness_budget)
        assert has(issuers, issuer, "es256")
        clock.advance(0.1)
        with pytest.raises(IssuerUnavailable) as unavailable:
            issuers.keys(issuer.url)
        assert unavailable.value.phase == "stale"
        issuer.answers.clear()
        await until(lambda: issuers.readiness().states[0].is_ready)  # the refused request woke the fetcher
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario, clock=clock)


def test_wall_clock_that_jumps_changes_no_age(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        for jump in (10 * 365 * 86400, -20 * 365 * 86400):
            clock.jump(jump)
            assert has(issuers, issuer, "es256")
            assert issuers.readiness().states[0].age == 0

    live(issuer, events, scenario, clock=clock)


def test_unknown_kid_during_an_outage_is_the_issuers_fault(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        with pytest.raises(IssuerUnavailable) as unavailable:
            await issuers.refreshed(issuer.url, "next")
        assert unavailable.value.phase == "status"
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "other")  # after the cool-down: it might be back
        assert has(issuers, issuer, "es256")  # the rest goes on
        issuer.answers.clear()
        issuer.keys.append(SigningKey.create("ES256", "next"))
        await asyncio.sleep(QUICK.cool_down)
        assert await found(issuers, issuer, "next")

    live(issuer, events, scenario)


def test_issuer_that_comes_back_during_the_cool_down_costs_a_pause_and_no_refusal(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.once[JWKS_PATH].append(answer(status=503))
        issuer.keys.append(SigningKey.create("ES256", "next"))
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "next")
        assert await found(issuers, issuer, "next")

    live(issuer, events, scenario)


def test_outage_stays_the_issuers_fault_when_there_is_no_room_to_wait(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "first")
        waiting = [asyncio.create_task(issuers.refreshed(issuer.url, f"u{number}")) for number in range(3)]
        await asyncio.sleep(0.05)
        assert issuers.may_refresh(issuer.url, "late")
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "late")
        assert not any(task.done() for task in waiting)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, IssuerUnavailable) for outcome in outcomes)

    live(issuer, events, scenario, refresh=replace(QUICK, waiting_requests=3))


def test_bad_signature_under_a_known_kid_stays_the_clients_fault_during_an_outage(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        keys = await issuers.refreshed(issuer.url, "es256")
        assert keys.find("es256", "ES256") is not None

    live(issuer, events, scenario)


def test_issuer_that_comes_back_is_noticed_in_seconds(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.answers[JWKS_PATH] = answer(status=500)

    async def scenario(issuers: Issuers) -> None:
        await until(lambda: len(events.refreshed) >= 3)
        issuer.answers.clear()
        started = time.monotonic()
        await until(lambda: issuers.readiness().is_ready)
        assert time.monotonic() - started < 3 * QUICK.retry_maximum + 1

    live(issuer, events, scenario)


def test_attempts_during_an_outage_keep_their_distance(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.answers[JWKS_PATH] = answer(status=500)

    async def scenario(issuers: Issuers) -> None:
        ends = time.monotonic() + 1.2
        while time.monotonic() < ends:
            with pytest.raises(IssuerUnavailable):
                issuers.keys(issuer.url)
            await asyncio.sleep(0.001)

    live(issuer, events, scenario)
    assert issuer.count(JWKS_PATH) <= 7  # 1.2 s in steps of at least 0.24 s, requests notwithstanding


def test_flapping_issuer_never_loses_good_keys(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    settings = replace(
        QUICK, minimum_interval=0.02, default_interval=0.02, cool_down=0.02, retry_maximum=0.02
    )

    async def scenario(issuers: Issuers) -> None:
        for number in range(20):
            if number % 2:
                issuer.answers.clear()
            else:
                issuer.answers[JWKS_PATH] = [answer(status=502), drop(), answer(b"{"), answer([])][
                    number // 2 % 4
                ]
            seen = len(events.refreshed)
            await until(lambda seen=seen: len(events.refreshed) > seen + 1)  # type: ignore[misc] # bound now
            assert has(issuers, issuer, "es256")
        assert {"success", "status", "connect", "parse"} <= set(events.results)

    live(issuer, events, scenario, refresh=settings)


def test_outage_after_readiness_leaves_it_ready_and_shows_in_the_state(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        assert issuers.readiness().is_ready
        issuer.answers[JWKS_PATH] = answer(status=500)
        clock.advance(QUICK.staleness_budget + 1)
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "next")
        known = issuers.readiness()
        assert known.is_ready
        assert known.waiting_for == (issuer.url,)
        assert known.states[0].failed_phase == "status"
        assert known.states[0].age is not None
        assert known.states[0].age > QUICK.staleness_budget

    live(issuer, events, scenario, clock=clock)


# --- restarts


def test_restart_during_an_outage_still_serves(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def first(issuers: Issuers) -> None:
        await until(lambda: any(tmp_path.iterdir()))

    live(issuer, events, first, state_directory=tmp_path)
    issuer.answers[JWKS_PATH] = answer(status=500)
    again = IssuerEvents()

    async def second(issuers: Issuers) -> None:
        assert again.results == ["status"]
        assert has(issuers, issuer, "es256")
        assert issuers.readiness().is_ready

    live(issuer, again, second, state_directory=tmp_path)


def test_restart_after_the_budget_does_not_serve(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    clock = ManualClock()

    async def first(issuers: Issuers) -> None:
        await until(lambda: any(tmp_path.iterdir()))

    live(issuer, events, first, state_directory=tmp_path, clock=clock)
    issuer.answers[JWKS_PATH] = answer(status=500)
    clock.advance(QUICK.staleness_budget + 1)
    again = IssuerEvents()

    async def second(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable):
            issuers.keys(issuer.url)

    live(issuer, again, second, state_directory=tmp_path, clock=clock)


def test_age_goes_on_through_a_restart(issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path) -> None:
    clock = ManualClock()

    async def first(issuers: Issuers) -> None:
        await until(lambda: any(tmp_path.iterdir()))

    live(issuer, events, first, state_directory=tmp_path, clock=clock)
    issuer.answers[JWKS_PATH] = answer(status=500)
    clock.advance(QUICK.staleness_budget - 1)

    async def second(issuers: Issuers) -> None:
        assert issuers.readiness().states[0].age == QUICK.staleness_budget - 1
        clock.advance(2)
        with pytest.raises(IssuerUnavailable):
            issuers.keys(issuer.url)

    live(issuer, IssuerEvents(), second, state_directory=tmp_path, clock=clock)


def test_weak_key_in_the_state_file_is_skipped_like_any_other(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def first(issuers: Issuers) -> None:
        await until(lambda: any(tmp_path.iterdir()))

    live(issuer, events, first, state_directory=tmp_path)
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text())
    content["jwks"]["keys"].append({"kty": "oct", "k": "c2VjcmV0", "kid": "mac"})
    path.write_text(json.dumps(content))
    issuer.answers[JWKS_PATH] = answer(status=500)

    async def second(issuers: Issuers) -> None:
        assert has(issuers, issuer, "es256")
        assert issuers.readiness().states[0].skipped == {"symmetric": 1}

    live(issuer, IssuerEvents(), second, state_directory=tmp_path)


def test_broken_state_file_is_reported_and_replaced(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def first(issuers: Issuers) -> None:
        await until(lambda: any(tmp_path.iterdir()))

    live(issuer, events, first, state_directory=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    again = IssuerEvents()

    async def second(issuers: Issuers) -> None:
        assert [name for _, name, _ in again.incidents if name.startswith("state")] == ["state_unreadable"]
        await until(lambda: path.read_text() != "{")

    live(issuer, again, second, state_directory=tmp_path)


def test_unwritable_state_directory_is_reported_and_serving_goes_on(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def scenario(issuers: Issuers) -> None:
        await until(lambda: "state_unwritable" in [name for _, name, _ in events.incidents])
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario, state_directory=tmp_path / "missing")


# --- keys from a file


def file_issuers(issuer: str, path: Path, events: IssuerEvents) -> Issuers:
    from sidecar.issuer.configuration import IssuerSettings

    settings = IssuerSettings(issuer, JwksFile(path, poll_interval=0.05), QUICK)
    return Issuers(IssuersSettings((settings,)), events)


def test_changed_file_is_taken_up_within_a_poll(
    tmp_path: Path, events: IssuerEvents, signing_key: SigningKey
) -> None:
    path, name = tmp_path / "jwks.json", "https://as.example.com"
    path.write_text(json.dumps(jwks(signing_key)))

    async def run() -> None:
        async with file_issuers(name, path, events) as issuers:
            assert issuers.readiness().is_ready  # without waiting: a file is there or not
            path.write_text("{")
            await until(lambda: "parse" in events.results)
            assert issuers.keys(name).find("es256", "ES256") is not None
            path.write_text(json.dumps(jwks(SigningKey.create("ES256", "next"))))
            await until(lambda: issuers.keys(name).find("next", "ES256") is not None)
            assert issuers.keys(name).find("es256", "ES256") is None

    asyncio.run(run())
    assert events.results == ["success", "parse", "success"]


def test_good_file_never_grows_stale(tmp_path: Path, events: IssuerEvents, signing_key: SigningKey) -> None:
    path, name = tmp_path / "jwks.json", "https://as.example.com"
    path.write_text(json.dumps(jwks(signing_key)))

    async def run() -> None:
        async with file_issuers(name, path, events) as issuers:
            await asyncio.sleep(0.3)
            age = issuers.readiness().states[0].age
            assert age is not None
            assert age < 0.25

    asyncio.run(run())
