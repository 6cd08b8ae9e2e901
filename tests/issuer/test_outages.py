"""Keys while their issuer is out of reach: kept, aged, saved, and told apart from a client's fault."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.http import FetchFailed
from sidecar.issuer.issuers import Issuers
from sidecar.issuer.jwks import IssuerKeys
from sidecar.issuer.origin import FetchedKeys
from tests.support.issuer import JWKS_PATH, Held, ScriptedIssuer, answer, drop, endless
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, until
from tests.support.live_issuer import found, has, live
from tests.support.mint import SigningKey, jwks
from tests.support.timed_keys import TimedKeys


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
        key = issuers.keys(issuer.url).find("es256", "ES256")
        clock.advance(0.1)
        assert not issuers.in_force.holds(issuer.url, key)
        with pytest.raises(IssuerUnavailable) as unavailable:
            issuers.keys(issuer.url)
        assert unavailable.value.phase == "stale"
        issuer.answers.clear()
        await until(lambda: issuers.readiness().states[0].is_ready)  # the refused request woke the fetcher
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario, clock=clock)


def test_short_budget_is_not_spent_between_two_fetches_that_succeed(signing_key: SigningKey) -> None:
    settings = replace(QUICK, minimum_interval=0.1, default_interval=30.0, staleness_budget=0.6)
    with TimedKeys(settings, lambda: FetchedKeys(jwks(signing_key), None)) as timed:
        for _ in range(1000):
            assert timed.keys.current().find("es256", "ES256") is not None
            timed.passes(0.02)
    assert len(timed.fetched_at) > 20 / 0.6


def test_mistake_of_ours_in_one_fetch_ends_no_fetching(
    issuer: ScriptedIssuer, events: IssuerEvents, signing_key: SigningKey
) -> None:
    class Broken:
        """An origin with a mistake in it."""

        name, interval = "broken", 0.02
        fetches = 0

        async def fetch(self) -> FetchedKeys:
            self.fetches += 1
            if self.fetches < 3:
                raise AttributeError("a mistake")
            return FetchedKeys(jwks(signing_key), None)

    async def run() -> None:
        keys = IssuerKeys("https://as.example.com", Broken(), QUICK, events)
        await keys.start()
        await until(lambda: "success" in events.results)
        assert keys.current().find("es256", "ES256") is not None
        await keys.close()

    asyncio.run(run())
    assert events.results[:2] == ["internal", "internal"]
    assert events.refreshed[0].detail == "AttributeError"


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
        held = issuer.answers[JWKS_PATH] = Held(answer(status=503))
        waiting = [
            asyncio.create_task(issuers.refreshed(issuer.url, f"u{number}", f"client-{number}"))
            for number in range(3)
        ]
        await until(lambda: held.arrived == 1)
        assert issuers.may_refresh(issuer.url, "late")
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "late")
        assert not any(task.done() for task in waiting)
        held.release()
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


def out_of_reach() -> FetchedKeys:
    raise FetchFailed("status", "the answer is 500", 500)


def test_issuer_that_comes_back_is_noticed_in_seconds(signing_key: SigningKey) -> None:
    with TimedKeys(QUICK, out_of_reach) as timed:
        timed.passes(60)
        assert not timed.keys.state().is_ready
        timed.answer = lambda: FetchedKeys(jwks(signing_key), None)
        timed.passes(QUICK.retry_maximum)
        assert timed.keys.state().is_ready


def test_attempts_during_an_outage_keep_their_distance() -> None:
    """However many requests ask for these keys meanwhile."""
    with TimedKeys(QUICK, out_of_reach) as timed:
        for _ in range(10_000):
            with pytest.raises(IssuerUnavailable):
                timed.keys.current()
            timed.passes(0.001)
    assert len(timed.gaps) > 30
    assert min(timed.gaps) >= 0.8 * QUICK.retry_maximum - 1e-6


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
