"""Several issuers at once, reloads, both event loops, and readiness."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from blockbuster import blockbuster_ctx

from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import ValidatedToken
from sidecar.issuer.configuration import Discovery, IssuerSettings, IssuersSettings, JwksFile, JwksUrl
from sidecar.issuer.issuers import Issuers
from tests.support.asking import active, introspection_settings, opaque
from tests.support.issuer import INTROSPECTION_PATH, JWKS_PATH, Held, ScriptedIssuer, answer, slow
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents, issuer_settings, until
from tests.support.live_issuer import is_current
from tests.support.mint import SigningKey, jwks

Run = Callable[[Coroutine[Any, Any, None]], None]


def on_uvloop(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)


@pytest.fixture
def other() -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[SigningKey.create("ES256", "other")]) as running:
        yield running


@pytest.mark.parametrize("run", [asyncio.run, on_uvloop])
def test_keys_and_answers_come_on_either_event_loop(
    run: Run, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)
    settings = replace(issuer_settings(issuer), introspection=introspection_settings(issuer, tmp_path))

    async def scenario() -> None:
        async with Issuers(IssuersSettings((settings,), tmp_path), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            issuer.keys.append(SigningKey.create("ES256", "next"))
            assert (await issuers.refreshed(issuer.url, "next")).find("next", "ES256")
            assert isinstance(await issuers.introspect(opaque("t"), issuer.url), ValidatedToken)

    run(scenario())


def test_each_issuer_has_keys_of_its_own(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario() -> None:
        settings = IssuersSettings((issuer_settings(issuer), issuer_settings(other)))
        async with Issuers(settings, events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            assert issuers.keys(issuer.url).find("other", "ES256") is None
            assert issuers.keys(other.url).find("other", "ES256") is not None
            other.answers[JWKS_PATH] = answer(status=500)
            with pytest.raises(IssuerUnavailable):
                await issuers.refreshed(other.url, "x")
            assert (await issuers.refreshed(issuer.url, "x")).find("es256", "ES256") is not None

    asyncio.run(scenario())


def test_token_is_asked_about_at_the_named_issuer_alone(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    other.tokens["t"] = active(other)

    async def scenario() -> None:
        settings = tuple(
            replace(issuer_settings(one), keys=None, introspection=introspection_settings(one, tmp_path))
            for one in (issuer, other)
        )
        async with Issuers(IssuersSettings(settings), events) as issuers:
            assert await issuers.introspect(opaque("t"), issuer.url) is False
            assert other.requests == []
            assert issuers.cached(opaque("t"), other.url) is None
            assert isinstance(await issuers.introspect(opaque("t"), other.url), ValidatedToken)

    asyncio.run(scenario())


def test_nothing_is_sent_to_an_issuer_that_is_not_configured(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            assert not issuers.may_refresh(other.url, "x")
            for ask in (issuers.refreshed(other.url, "x"), issuers.introspect(opaque("t"), other.url)):
                with pytest.raises(IssuerUnavailable) as caught:
                    await ask
                assert caught.value.phase == "not_configured"
            with pytest.raises(IssuerUnavailable):
                issuers.keys(other.url)
            with pytest.raises(IssuerUnavailable):
                issuers.cached(opaque("t"), issuer.url)  # known, yet never asked about tokens

    asyncio.run(scenario())
    assert other.requests == []


def test_issuer_without_keys_has_none_in_force(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def scenario() -> None:
        one = IssuerSettings(issuer.url, None, introspection=introspection_settings(issuer, tmp_path))
        async with Issuers(IssuersSettings((one,)), events) as issuers:
            assert issuers.keys(issuer.url).find("es256", "ES256") is None
            assert (await issuers.refreshed(issuer.url, "es256")).find("es256", "ES256") is None
            assert not issuers.may_refresh(issuer.url, "es256")
            assert issuers.readiness().is_ready

    asyncio.run(scenario())
    assert issuer.requests == []


# --- reloads


def test_reload_keeps_the_keys_of_an_unchanged_issuer(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            before = issuers.keys(issuer.url).find("es256", "ES256")
            await issuers.reconfigure(IssuersSettings((issuer_settings(other), issuer_settings(issuer))), 2)
            assert is_current(issuers, issuer, before)
            assert issuer.count(JWKS_PATH) == 1
            await until(lambda: issuers.readiness().states[0].is_ready)
            await issuers.reconfigure(IssuersSettings((issuer_settings(other),)), 3)
            with pytest.raises(IssuerUnavailable):
                issuers.keys(issuer.url)
            assert not issuers.in_force.holds(issuer.url, before)
            await issuers.reconfigure(IssuersSettings((issuer_settings(issuer),)), 4)
            assert not is_current(issuers, issuer, before), "read anew, it is another"
            after = issuers.keys(issuer.url).find("es256", "ES256")
            assert is_current(issuers, issuer, after)
        assert not issuers.in_force.holds(issuer.url, after)

    asyncio.run(scenario())


def test_changed_settings_go_on_with_the_keys_from_the_same_place(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            before = issuers.keys(issuer.url).find("es256", "ES256")
            issuer.answers[JWKS_PATH] = answer(status=500)
            changed = issuer_settings(issuer, refresh=replace(QUICK, cool_down=0.2))
            await issuers.reconfigure(IssuersSettings((changed,)), 2)
            assert is_current(issuers, issuer, before)

    asyncio.run(scenario())


def test_keys_from_another_place_are_there_when_the_reload_is_over(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            held = other.answers[JWKS_PATH] = Held(answer(jwks(*other.keys)))
            moved = issuer_settings(issuer, JwksUrl(other.jwks_url))
            reload = asyncio.create_task(issuers.reconfigure(IssuersSettings((moved,)), 2))
            await until(lambda: held.arrived == 1)
            assert issuers.keys(issuer.url).find("es256", "ES256") is not None  # the old ones meanwhile
            held.release()
            await reload
            assert issuers.keys(issuer.url).find("es256", "ES256") is None
            assert issuers.keys(issuer.url).find("other", "ES256") is not None

    asyncio.run(scenario())


def test_reload_does_not_wait_for_ever_for_an_issuer_that_says_nothing(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    other.answers[JWKS_PATH] = slow(30.0, answer({}))

    async def scenario() -> None:
        settings = IssuersSettings((issuer_settings(issuer),))
        async with Issuers(settings, events, reload_waits=0.2) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            await issuers.reconfigure(IssuersSettings((issuer_settings(issuer), issuer_settings(other))), 2)
            assert issuers.keys(issuer.url).find("es256", "ES256") is not None
            with pytest.raises(IssuerUnavailable):
                issuers.keys(other.url)
            await until(lambda: other.count(JWKS_PATH) == 1)

    asyncio.run(scenario())


def test_requests_that_wait_for_a_replaced_issuer_get_their_answers(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    fresh = SigningKey.create("ES256", "next")

    async def scenario() -> None:
        one = replace(issuer_settings(issuer), introspection=introspection_settings(issuer, tmp_path))
        async with Issuers(IssuersSettings((one,)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            held = Held(answer(jwks(fresh))), Held(answer(active(issuer)))
            issuer.once[JWKS_PATH].append(held[0])
            issuer.once[INTROSPECTION_PATH].append(held[1])
            key = asyncio.create_task(issuers.refreshed(issuer.url, "next"))
            question = asyncio.create_task(issuers.introspect(opaque("t"), issuer.url))
            await until(lambda: issuer.count(JWKS_PATH) == 2 and issuer.count(INTROSPECTION_PATH) == 1)
            changed = replace(one, refresh=replace(QUICK, jitter=0.1))
            await issuers.reconfigure(IssuersSettings((changed,)), 2)
            for one_held in held:
                one_held.release()
            assert (await key).find("next", "ES256") is not None
            assert isinstance(await question, ValidatedToken)

    asyncio.run(scenario())


def test_reload_that_fails_leaves_everything_as_it_was(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            before = issuers.keys(issuer.url)
            broken = replace(issuer_settings(issuer), http=replace(PLAIN, ca_file=tmp_path / "missing.pem"))
            with pytest.raises(OSError, match="No such file"):
                await issuers.reconfigure(IssuersSettings((broken,)), 2)
            assert issuers.keys(issuer.url) is before

    asyncio.run(scenario())


def test_request_under_way_during_a_reload_gets_its_answer(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    held = issuer.answers[INTROSPECTION_PATH] = Held(answer(active(issuer)))
    one = IssuerSettings(issuer.url, None, QUICK, PLAIN, introspection_settings(issuer, tmp_path))

    async def scenario() -> None:
        async with Issuers(IssuersSettings((one,)), events) as issuers:
            question = asyncio.create_task(issuers.introspect(opaque("t"), issuer.url))
            await until(lambda: held.arrived == 1)
            await issuers.reconfigure(IssuersSettings((one,)), 2)
            held.release()
            assert isinstance(await question, ValidatedToken)
            assert issuers.cached(opaque("t"), issuer.url) is None

    asyncio.run(scenario())


# --- readiness


def test_ready_once_the_keys_of_every_needed_issuer_are_there(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    other.answers[JWKS_PATH] = answer(status=503)

    async def scenario() -> None:
        settings = IssuersSettings((issuer_settings(issuer), issuer_settings(other)))
        async with Issuers(settings, events) as issuers:
            await until(lambda: {event.issuer for event in events.refreshed} == {issuer.url, other.url})
            assert not issuers.readiness().is_ready
            assert issuers.readiness().waiting_for == (other.url,)
            other.answers.clear()
            await until(lambda: issuers.readiness().is_ready)

    asyncio.run(scenario())


def test_issuer_that_no_rule_needs_does_not_delay_readiness(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    other.answers[JWKS_PATH] = answer(status=503)

    async def scenario() -> None:
        settings = IssuersSettings((issuer_settings(issuer), issuer_settings(other)))
        async with Issuers(settings, events) as issuers:
            await until(lambda: issuers.readiness(frozenset({issuer.url})).is_ready)

    asyncio.run(scenario())


def test_reload_that_adds_an_issuer_out_of_reach_leaves_it_ready(
    issuer: ScriptedIssuer, other: ScriptedIssuer, events: IssuerEvents
) -> None:
    other.answers[JWKS_PATH] = answer(status=503)

    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            await issuers.reconfigure(IssuersSettings((issuer_settings(issuer), issuer_settings(other))), 2)
            assert issuers.readiness().is_ready
            assert issuers.readiness().waiting_for == (other.url,)

    asyncio.run(scenario())


def test_insecure_switch_is_reported_at_start(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario() -> None:
        async with Issuers(IssuersSettings((issuer_settings(issuer),)), events):
            pass

    asyncio.run(scenario())
    assert [name for _, name, _ in events.incidents] == ["insecure_http"]


def test_http_url_without_the_switch_is_never_asked(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    async def scenario() -> None:
        settings = IssuerSettings(issuer.url, JwksUrl(issuer.jwks_url), QUICK)
        async with Issuers(IssuersSettings((settings,)), events):
            await until(lambda: events.refreshed != [])

    asyncio.run(scenario())
    assert issuer.requests == []
    assert events.refreshed[0].result == "connect"


def test_missing_key_file_is_named_and_waited_for(events: IssuerEvents, tmp_path: Path) -> None:
    name = "https://as.example.com"

    async def scenario() -> None:
        settings = IssuerSettings(name, JwksFile(tmp_path / "jwks.json", 0.02), QUICK)
        async with Issuers(IssuersSettings((settings,)), events) as issuers:
            assert not issuers.readiness().is_ready
            (tmp_path / "jwks.json").write_text('{"keys": []}')
            await until(lambda: "success" in events.results)
            assert not issuers.readiness().is_ready  # no usable key is no key

    asyncio.run(scenario())
    assert events.results[0] == "connect"


def test_nothing_blocks_the_event_loop(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    """Files are read in threads; the loop serves everybody else meanwhile."""
    issuer.tokens["t"] = active(issuer)
    state, file = tmp_path / "state", tmp_path / "jwks.json"
    state.mkdir()
    file.write_text(json.dumps(jwks(signing_key)))
    remote = replace(
        issuer_settings(issuer, Discovery()),
        introspection=introspection_settings(issuer, tmp_path, active_lifetime=0.0),
    )
    local = IssuerSettings("https://local.example.com", JwksFile(file, 0.1), QUICK)

    async def scenario() -> None:
        with blockbuster_ctx(scanned_modules="sidecar"):
            async with Issuers(IssuersSettings((remote, local), state), events) as issuers:
                await until(lambda: issuers.readiness().is_ready)
                await issuers.refreshed(issuer.url, "unknown")
                await asyncio.sleep(1.1)  # certificates and secrets are looked at again
                assert await issuers.introspect(opaque("t"), issuer.url)
                await issuers.reconfigure(IssuersSettings((remote,), state), 2)

    asyncio.run(scenario())
