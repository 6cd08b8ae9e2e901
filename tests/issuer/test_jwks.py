"""The life of one issuer's keys, against a scripted issuer."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.configuration import IssuersSettings
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.issuer_events import QUICK, IssuerEvents, issuer_settings, until
from tests.support.mint import SigningKey


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


@pytest.fixture
def events() -> IssuerEvents:
    return IssuerEvents()


def is_ready(issuers: Issuers) -> bool:
    return issuers.readiness().is_ready


def test_keys_are_there_after_the_first_fetch(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: is_ready(issuers))
            key = issuers.keys(issuer.url).find("es256", "ES256")
            assert key is not None
            assert issuers.keys(issuer.url).is_current(key)

    asyncio.run(scenario())
    assert events.results == ["success"]


def test_rotated_key_is_found_by_its_first_user(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: is_ready(issuers))
            old = issuers.keys(issuer.url).find("es256", "ES256")
            issuer.keys[:] = [SigningKey.create("ES256", "next")]
            assert issuers.may_refresh(issuer.url, "next")
            fresh = await issuers.refreshed(issuer.url, "next")
            assert fresh.find("next", "ES256") is not None
            assert not fresh.is_current(old)

    asyncio.run(scenario())


def test_thousand_unknown_kids_cause_one_fetch_per_cool_down(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    settings = replace(QUICK, cool_down=1.0, waiting_requests=100)

    async def ask(issuers: Issuers, kid: str) -> bool:
        if not issuers.may_refresh(issuer.url, kid):
            return False
        return (await issuers.refreshed(issuer.url, kid)).find(kid, "ES256") is not None

    async def scenario() -> list[bool]:
        async with Issuers(IssuersSettings((issuer_settings(issuer, refresh=settings),)), events) as issuers:
            await until(lambda: is_ready(issuers))
            before = issuer.count(JWKS_PATH)
            asked = []
            for number in range(1000):
                asked.append(asyncio.create_task(ask(issuers, f"unknown-{number}")))
                await asyncio.sleep(0.0005)
            answers = await asyncio.gather(*asked)
            print(f"1,000 unknown kids: {issuer.count(JWKS_PATH) - before} fetches")
            return answers

    assert not any(asyncio.run(scenario()))
    assert issuer.count(JWKS_PATH) - 1 <= 3  # cool-downs begun in the time that the questions took


def test_keys_that_never_came_are_the_issuers_fault(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.answers[JWKS_PATH] = answer(status=500)

    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: events.results != [])
            with pytest.raises(IssuerUnavailable) as unavailable:
                issuers.keys(issuer.url)
            assert unavailable.value.phase == "never_loaded"
            assert unavailable.value.retry_after >= 1
            assert not is_ready(issuers)

    asyncio.run(scenario())
    assert events.results[0] == "status"
