"""The life of one issuer's keys, against a scripted issuer."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp import web

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.http import Fetched
from sidecar.issuer.issuers import Issuers
from sidecar.issuer.origin import FetchedKeys, max_age
from tests.support.issuer import JWKS_PATH, Held, ScriptedIssuer, answer
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, until
from tests.support.live_issuer import found, has, is_current, live
from tests.support.mint import SigningKey, jwks
from tests.support.timed_keys import TimedKeys

TICK = 1e-6
"""Seconds that a sum of floating-point times may be off by."""
LATE = 0.1
"""Seconds by which the moment that a fetch began may be noted late on a busy machine."""


# --- fetching


@pytest.mark.parametrize("discovery", [False, True])
def test_keys_are_there_after_the_first_fetch(
    discovery: bool, issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        assert has(issuers, issuer, "es256")
        assert issuers.readiness().is_ready

    live(issuer, events, scenario, discovery=discovery)
    assert events.results == ["success"]
    assert events.refreshed[0].usable == 1


def test_keys_are_fetched_from_the_jwks_uri_of_the_metadata(
    issuer: ScriptedIssuer, events: IssuerEvents, signing_key: SigningKey
) -> None:
    issuer.metadata["jwks_uri"] = f"{issuer.url}/elsewhere"
    issuer.answers["/elsewhere"] = answer(jwks(signing_key.with_kid("there")))

    async def scenario(issuers: Issuers) -> None:
        assert has(issuers, issuer, "there")

    live(issuer, events, scenario, discovery=True)
    assert issuer.count(JWKS_PATH) == 0


def test_moved_jwks_uri_is_followed_after_it_stopped_working(
    issuer: ScriptedIssuer, events: IssuerEvents, signing_key: SigningKey
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.metadata["jwks_uri"] = f"{issuer.url}/moved"
        issuer.answers["/moved"] = answer(jwks(signing_key.with_kid("moved")))
        issuer.answers[JWKS_PATH] = answer(status=410)
        with pytest.raises(IssuerUnavailable):
            await issuers.refreshed(issuer.url, "moved")
        await asyncio.sleep(QUICK.cool_down)
        assert await found(issuers, issuer, "moved")

    live(issuer, events, scenario, discovery=True)


def test_metadata_without_jwks_uri_is_named_parse(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.metadata["jwks_uri"] = None

    async def scenario(issuers: Issuers) -> None:
        assert events.refreshed[0].result == "parse"
        assert "jwks_uri" in events.refreshed[0].detail

    live(issuer, events, scenario, discovery=True)


def test_metadata_of_another_issuer_gives_no_keys(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.metadata["issuer"] = "https://evil.example"

    async def scenario(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable):
            issuers.keys(issuer.url)

    live(issuer, events, scenario, discovery=True)
    assert events.results[0] == "parse"
    assert issuer.count(JWKS_PATH) == 0


def test_refresh_comes_before_max_age_runs_out(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    times: list[float] = []
    issuer.answers[JWKS_PATH] = lambda request: web_response(request, times, issuer)
    settings = replace(QUICK, minimum_interval=0.05, maximum_interval=90.0, jitter=0.5)

    async def scenario(issuers: Issuers) -> None:
        await until(lambda: len(times) >= 3)  # the default interval would take half a minute

    live(issuer, events, scenario, refresh=settings)


def test_refresh_comes_before_its_time_by_no_more_than_the_jitter(signing_key: SigningKey) -> None:
    settings = replace(QUICK, minimum_interval=0.05, maximum_interval=9.0, jitter=0.5)
    with TimedKeys(settings, lambda: FetchedKeys(jwks(signing_key), 1.0)) as timed:
        timed.passes(60)
    assert len(timed.gaps) >= 60
    assert all(0.5 <= gap <= 1.0 + TICK for gap in timed.gaps)


async def web_response(_request: web.Request, times: list[float], issuer: ScriptedIssuer) -> web.Response:
    times.append(time.monotonic())
    return web.json_response(jwks(*issuer.keys), headers={"Cache-Control": "max-age=1"})


@pytest.mark.parametrize(
    ("cache_control", "minimum", "maximum"),
    [("no-store", 0.2, 9.0), ("max-age=0", 0.2, 9.0), ("max-age=86400", 0.1, 0.2), ("", 0.1, 9.0)],
)
def test_interval_stays_within_its_bounds(
    cache_control: str, minimum: float, maximum: float, signing_key: SigningKey
) -> None:
    said = max_age(Fetched(b"", "", {"Cache-Control": cache_control}))
    settings = replace(
        QUICK, minimum_interval=minimum, maximum_interval=maximum, default_interval=0.2, jitter=0.1
    )
    with TimedKeys(settings, lambda: FetchedKeys(jwks(signing_key), said)) as timed:
        timed.passes(20)
    assert len(timed.gaps) >= 99
    assert all(0.9 * 0.2 <= gap <= 0.2 + TICK for gap in timed.gaps)


# --- rotation


def test_rotated_key_is_found_by_its_first_user(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario(issuers: Issuers) -> None:
        old = issuers.keys(issuer.url).find("es256", "ES256")
        issuer.keys[:] = [SigningKey.create("ES256", "next")]
        assert await found(issuers, issuer, "next")
        assert not is_current(issuers, issuer, old)

    live(issuer, events, scenario)


def test_key_that_rotates_during_the_cool_down_costs_a_pause_and_no_refusal(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        for number in range(3):
            issuer.keys[:] = [SigningKey.create("ES256", f"next-{number}")]
            answers = await asyncio.gather(*(found(issuers, issuer, f"next-{number}") for _ in range(20)))
            assert all(answers)

    live(issuer, events, scenario)
    forced = events.begun[1:]
    assert len(forced) == 3
    assert all(later - earlier >= QUICK.cool_down - LATE for earlier, later in pairwise(forced))


def test_key_published_while_a_fetch_is_under_way_is_found(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    # The answer under way was made before the key was: only a fetch that begins after the question can tell.
    async def scenario(issuers: Issuers) -> None:
        held = Held(answer(jwks(*issuer.keys)))
        issuer.once[JWKS_PATH].append(held)
        early = asyncio.create_task(found(issuers, issuer, "never"))
        await until(lambda: held.arrived == 1)
        issuer.keys[:] = [SigningKey.create("ES256", "next")]
        late = asyncio.create_task(found(issuers, issuer, "next"))
        await asyncio.sleep(0)
        held.release()
        assert await late
        assert not await early

    live(issuer, events, scenario)


def test_new_key_material_under_an_old_kid_is_found_after_one_signature_failure(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        old = issuers.keys(issuer.url).find("es256", "ES256")
        issuer.keys[:] = [SigningKey.create("ES256", "es256")]
        assert issuers.may_refresh(issuer.url, "es256")
        fresh = (await issuers.refreshed(issuer.url, "es256")).find("es256", "ES256")
        assert fresh is not None
        assert fresh is not old
        assert not is_current(issuers, issuer, old)

    live(issuer, events, scenario)


def test_bad_signatures_under_a_known_kid_cause_one_fetch(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        await issuers.refreshed(issuer.url, "es256")
        for _ in range(100):
            assert not issuers.may_refresh(issuer.url, "es256")
            await issuers.refreshed(issuer.url, "es256")

    live(issuer, events, scenario)
    assert issuer.count(JWKS_PATH) == 2


def test_removed_key_is_not_current_at_once(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.keys.append(SigningKey.create("ES256", "second"))
        assert await found(issuers, issuer, "second")
        stays = issuers.keys(issuer.url).find("second", "ES256")
        goes = issuers.keys(issuer.url).find("es256", "ES256")
        del issuer.keys[0]
        await asyncio.sleep(QUICK.cool_down)
        assert not await found(issuers, issuer, "third")
        assert is_current(issuers, issuer, stays)
        assert not is_current(issuers, issuer, goes)

    live(issuer, events, scenario)


def test_set_without_a_usable_key_is_the_issuers_fault(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.keys.clear()
        with pytest.raises(IssuerUnavailable) as unavailable:
            await issuers.refreshed(issuer.url, "next")
        assert unavailable.value.phase == "no_usable_key"

    live(issuer, events, scenario)
    assert events.refreshed[-1].usable == 0


# --- clients that ask for more than there is


def test_thousand_unknown_kids_cause_one_fetch_per_cool_down(signing_key: SigningKey) -> None:
    cool_down = 1.0
    with TimedKeys(
        replace(QUICK, cool_down=cool_down), lambda: FetchedKeys(jwks(signing_key), None)
    ) as timed:
        asked = []
        for number in range(1000):
            asked.append(timed.asks_for(f"unknown-{number}"))
            timed.passes(0.001)
        timed.passes(3 * cool_down)
        assert not any(task.result() for task in asked)
        forced = timed.gaps[1:]
    print(f"1,000 unknown kids in a second: {len(forced) + 1} fetches, gaps {forced} s")
    assert 1 <= len(forced) <= 3
    assert all(gap >= cool_down - TICK for gap in forced)


def test_unknown_kid_is_remembered_and_causes_no_second_fetch(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        assert not await found(issuers, issuer, "unknown")
        clock.advance(QUICK.unknown_kid_lifetime - 0.1)
        for _ in range(100):
            assert not await found(issuers, issuer, "unknown")
        assert issuer.count(JWKS_PATH) == 2
        clock.advance(0.2)
        assert issuers.may_refresh(issuer.url, "unknown")

    live(issuer, events, scenario, clock=clock)


def test_remembered_unknown_kid_is_accepted_as_soon_as_it_is_published(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        assert not await found(issuers, issuer, "next")
        issuer.keys.append(SigningKey.create("ES256", "next"))
        assert not await found(issuers, issuer, "other")  # its fetch brings the other key too
        assert await found(issuers, issuer, "next")

    live(issuer, events, scenario)


def test_kid_that_one_client_sends_before_its_time_is_refused_to_no_other(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        assert not await found(issuers, issuer, "next", "hostile")
        issuer.keys.append(SigningKey.create("ES256", "next"))
        assert not await found(issuers, issuer, "next", "hostile")
        assert await found(issuers, issuer, "next", "honest")

    live(issuer, events, scenario)


def test_unknown_kids_of_one_client_take_no_room_from_others(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        held = Held(answer(jwks(*issuer.keys, next_key := SigningKey.create("ES256", "next"))))
        issuer.once[JWKS_PATH].append(held)
        hostile = [
            asyncio.create_task(found(issuers, issuer, f"unknown-{number}", "hostile"))
            for number in range(50)
        ]
        await until(lambda: held.arrived == 1)
        assert not issuers.may_refresh(issuer.url, "unknown-50", "hostile")
        issuer.keys.append(next_key)
        honest = asyncio.create_task(found(issuers, issuer, "next", "honest"))
        await asyncio.sleep(0)
        held.release()
        assert await honest
        assert not any(await asyncio.gather(*hostile))

    live(issuer, events, scenario, refresh=replace(QUICK, waiting_requests=8))


def test_remembered_kids_are_bounded(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario(issuers: Issuers) -> None:
        await asyncio.gather(*(found(issuers, issuer, f"unknown-{number}") for number in range(50)))
        refusable = sum(not issuers.may_refresh(issuer.url, f"unknown-{number}") for number in range(50))
        assert refusable == 10

    live(issuer, events, scenario, refresh=replace(QUICK, unknown_kids=10))


def test_past_the_bound_of_waiting_requests_an_unknown_kid_is_refused_at_once(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        held = Held(answer(jwks(*issuer.keys)))
        issuer.once[JWKS_PATH].append(held)
        waiting = [
            asyncio.create_task(found(issuers, issuer, f"unknown-{number}", f"client-{number}"))
            for number in range(5)
        ]
        await until(lambda: held.arrived == 1)
        assert not issuers.may_refresh(issuer.url, "unknown-6")
        assert not (await issuers.refreshed(issuer.url, "unknown-6")).find("unknown-6", "ES256")
        assert not any(task.done() for task in waiting)
        held.release()
        assert not any(await asyncio.gather(*waiting))
        assert issuers.may_refresh(issuer.url, "unknown-6")

    live(issuer, events, scenario, refresh=replace(QUICK, waiting_requests=5))


def test_client_that_leaves_takes_no_fetch_from_the_others(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario(issuers: Issuers) -> None:
        issuer.keys[:] = [SigningKey.create("ES256", "next")]
        held = Held(answer(jwks(*issuer.keys)))
        issuer.once[JWKS_PATH].append(held)
        first, second = (asyncio.create_task(found(issuers, issuer, "next")) for _ in range(2))
        await until(lambda: held.arrived == 1)
        first.cancel()
        held.release()
        assert await second

    live(issuer, events, scenario)
    assert issuer.count(JWKS_PATH) == 2


def test_kid_of_lone_surrogates_is_just_unknown(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario(issuers: Issuers) -> None:
        assert not await found(issuers, issuer, "\ud800")
        assert not issuers.may_refresh(issuer.url, "\ud800")

    live(issuer, events, scenario)


# --- keys that cannot be used


def test_unusable_keys_are_named_with_their_reason_once(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.keys += [{"kty": "oct", "k": "c2VjcmV0", "kid": "mac"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]

    async def scenario(issuers: Issuers) -> None:
        await issuers.refreshed(issuer.url, "unknown")
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario)
    assert [(event.key, event.reason) for event in events.skipped] == [
        ("mac", "symmetric"),
        ("#2", "weak_rsa"),
    ]
    assert [event.skipped for event in events.refreshed] == [{"symmetric": 1, "weak_rsa": 1}] * 2


def test_log_of_a_huge_set_is_bounded(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.keys += [{"kty": "oct", "kid": f"mac-{number}"} for number in range(5000)]

    async def scenario(issuers: Issuers) -> None:
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario)
    assert len(events.skipped) == 20
    assert events.refreshed[0].skipped == {"symmetric": 99, "over_the_cap": 4901}
