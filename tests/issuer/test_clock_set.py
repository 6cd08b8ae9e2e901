"""The wall clock is set, forward and back: keys age as before, and the issuer is asked as often as before."""

import asyncio
from pathlib import Path

import pytest

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, until
from tests.support.live_issuer import found, has, live

YEAR = 365 * 86400.0
JUMPS = [YEAR, -YEAR]


def saved(folder: Path) -> str:
    """What the state file holds; empty when there is none."""
    return "".join(file.read_text() for file in folder.glob("keys-*"))


@pytest.mark.parametrize("jump", JUMPS)
def test_keys_of_an_issuer_in_an_outage_last_their_budget_whatever_the_wall_clock_says(
    issuer: ScriptedIssuer, events: IssuerEvents, jump: float
) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        clock.jump(jump)
        clock.advance(QUICK.staleness_budget - 1)
        assert has(issuers, issuer, "es256")
        clock.advance(2)
        for further in (jump, -2 * jump):
            with pytest.raises(IssuerUnavailable) as unavailable:
                issuers.keys(issuer.url)
            assert unavailable.value.phase == "stale"
            clock.jump(further)
        issuer.answers.clear()
        await until(lambda: events.results[-1] == "success" and len(events.results) > 1)
        assert has(issuers, issuer, "es256")

    live(issuer, events, scenario, clock=clock)


def test_clock_that_is_set_again_and_again_makes_no_request_to_the_issuer(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        for jump in 50 * JUMPS + 50 * JUMPS[::-1]:
            clock.jump(jump)
            assert has(issuers, issuer, "es256")
            await asyncio.sleep(0)
        await asyncio.sleep(2 * QUICK.cool_down)

    live(issuer, events, scenario, clock=clock)
    assert issuer.count(JWKS_PATH) == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_refused_kid_stays_refused_for_its_time_whatever_the_wall_clock_says(
    issuer: ScriptedIssuer, events: IssuerEvents, jump: float
) -> None:
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        assert not await found(issuers, issuer, "made-up")
        asked = issuer.count(JWKS_PATH)
        clock.jump(jump)
        assert not await found(issuers, issuer, "made-up")
        assert issuer.count(JWKS_PATH) == asked
        clock.advance(QUICK.unknown_kid_lifetime + 1)
        assert issuers.may_refresh(issuer.url, "made-up")

    live(issuer, events, scenario, clock=clock)


@pytest.mark.parametrize("jump", JUMPS)
def test_keys_saved_under_a_wrong_clock_are_not_trusted_and_the_issuer_puts_it_right(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, jump: float
) -> None:
    clock = ManualClock()

    async def saves(_issuers: Issuers) -> None:
        await until(lambda: saved(tmp_path) != "")

    async def has_none(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable):
            issuers.keys(issuer.url)

    async def has_them(issuers: Issuers) -> None:
        assert has(issuers, issuer, "es256")

    live(issuer, events, saves, clock=clock, state_directory=tmp_path)
    clock.jump(jump)
    issuer.answers[JWKS_PATH] = answer(status=503)
    live(issuer, IssuerEvents(), has_none, clock=clock, state_directory=tmp_path)
    issuer.answers.clear()
    wrong = saved(tmp_path)

    async def saves_again(_issuers: Issuers) -> None:
        await until(lambda: saved(tmp_path) != wrong)

    live(issuer, IssuerEvents(), saves_again, clock=clock, state_directory=tmp_path)
    issuer.answers[JWKS_PATH] = answer(status=503)
    live(issuer, IssuerEvents(), has_them, clock=clock, state_directory=tmp_path)
