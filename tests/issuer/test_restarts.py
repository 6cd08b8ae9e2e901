"""Keys that come from a disk: those saved before a restart, and a key set in a file."""

import asyncio
import json
from pathlib import Path

import pytest

from sidecar.decision.ports import IssuerUnavailable
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import IssuerSettings, IssuersSettings, JwksFile
from sidecar.issuer.issuers import Issuers
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.issuer_events import QUICK, IssuerEvents, ManualClock, until
from tests.support.live_issuer import has, live
from tests.support.mint import SigningKey, jwks

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

    live(issuer, events, scenario, state_directory=tmp_path / "missing" / "state")


# --- keys from a file


def file_issuers(issuer: str, path: Path, events: IssuerEvents, clock: Clock = SYSTEM_CLOCK) -> Issuers:
    settings = IssuerSettings(issuer, JwksFile(path, poll_interval=0.05), QUICK)
    return Issuers(IssuersSettings((settings,)), events, clock=clock)


def replace_file(path: Path, text: str) -> None:
    """As deployments do it: never half a file under the name."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def test_changed_file_is_taken_up_within_a_poll(
    tmp_path: Path, events: IssuerEvents, signing_key: SigningKey
) -> None:
    path, name = tmp_path / "jwks.json", "https://as.example.com"
    path.write_text(json.dumps(jwks(signing_key)))

    async def run() -> None:
        async with file_issuers(name, path, events) as issuers:
            assert issuers.readiness().is_ready  # without waiting: a file is there or not
            replace_file(path, "{")
            await until(lambda: "parse" in events.results)
            assert issuers.keys(name).find("es256", "ES256") is not None
            replace_file(path, json.dumps(jwks(SigningKey.create("ES256", "next"))))
            await until(lambda: issuers.keys(name).find("next", "ES256") is not None)
            assert issuers.keys(name).find("es256", "ES256") is None

    asyncio.run(run())
    assert events.results == ["success", "parse", "success"]


def test_good_file_never_grows_stale(tmp_path: Path, events: IssuerEvents, signing_key: SigningKey) -> None:
    path, name = tmp_path / "jwks.json", "https://as.example.com"
    path.write_text(json.dumps(jwks(signing_key)))
    clock = ManualClock()

    async def run() -> None:
        async with file_issuers(name, path, events, clock.clock) as issuers:
            for _ in range(3):
                clock.advance(QUICK.staleness_budget - 1)
                assert issuers.keys(name).find("es256", "ES256") is not None
                await until(lambda: issuers.readiness().states[0].age == 0)  # looked at again, and as it was

    asyncio.run(run())
