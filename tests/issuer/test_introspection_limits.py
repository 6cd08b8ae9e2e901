"""How many questions an issuer is asked, and when it is left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import ValidatedToken
from sidecar.issuer.configuration import (
    CircuitBreakerSettings,
)
from sidecar.issuer.issuers import Issuers
from tests.support.asking import active, asking, introspection_settings, opaque, questions
from tests.support.issuer import (
    INTROSPECTION_PATH,
    ScriptedIssuer,
    answer,
    slow,
)
from tests.support.issuer_events import IssuerEvents

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def unavailable(issuers: Issuers, issuer: ScriptedIssuer, token: str = "t") -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as caught:
        await issuers.introspect(opaque(token), issuer.url)
    return caught.value


@pytest.mark.parametrize("endpoint", ["configured", "discovered"])
def test_200_requests_with_one_new_token_cause_one_question(
    endpoint: str, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)
    issuer.once[INTROSPECTION_PATH].append(slow(0.1, answer(active(issuer))))
    settings = introspection_settings(issuer, tmp_path)

    async def scenario(issuers: Issuers) -> None:
        tokens = await asyncio.gather(*(issuers.introspect(opaque("t"), issuer.url) for _ in range(200)))
        assert all(isinstance(token, ValidatedToken) for token in tokens)

    asking(
        issuer, events, settings if endpoint == "configured" else replace(settings, endpoint=None), scenario
    )
    print(f"200 concurrent requests with one new opaque token: {len(questions(issuer))} introspection")
    assert len(questions(issuer)) == 1


def test_one_outage_is_told_to_all_who_wait(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(0.1, answer(status=500))

    async def scenario(issuers: Issuers) -> None:
        outcomes = await asyncio.gather(
            *(issuers.introspect(opaque("t"), issuer.url) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(outcome, IssuerUnavailable) for outcome in outcomes)

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert len(questions(issuer)) == 1


def test_client_that_leaves_takes_no_answer_from_the_others(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(0.2, answer(active(issuer)))

    async def scenario(issuers: Issuers) -> None:
        first, second = (asyncio.create_task(issuers.introspect(opaque("t"), issuer.url)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        assert isinstance(await second, ValidatedToken)

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert len(questions(issuer)) == 1


def test_no_more_questions_are_under_way_than_allowed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    running, most = 0, 0

    async def counting(_request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.json_response({"active": False})

    issuer.answers[INTROSPECTION_PATH] = counting

    async def scenario(issuers: Issuers) -> None:
        await asyncio.gather(*(issuers.introspect(opaque(f"t{n}"), issuer.url) for n in range(40)))

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=4), scenario)
    assert most == 4


def test_question_that_finds_no_place_to_wait_is_refused_at_once(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(0.3, answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        waiting = [asyncio.create_task(issuers.introspect(opaque(f"t{n}"), issuer.url)) for n in range(3)]
        await asyncio.sleep(0.05)
        assert (await unavailable(issuers, issuer, "late")).phase == "overload"
        assert await asyncio.gather(*waiting) == [False] * 3

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=1, waiting=2), scenario)


def test_time_spent_waiting_counts_towards_the_deadline(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(0.4, answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        outcomes = await asyncio.gather(
            *(issuers.introspect(opaque(f"t{n}"), issuer.url) for n in range(3)), return_exceptions=True
        )
        assert [isinstance(one, IssuerUnavailable) and one.phase for one in outcomes] == [
            False,
            "timeout",
            "timeout",
        ]

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=1, deadline=0.6), scenario)


# --- the circuit

BREAKER = CircuitBreakerSettings(failures=3, open_for=0.4, probes=1)


def test_endpoint_that_keeps_failing_is_left_alone_and_probed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = answer(status=503)

    async def scenario(issuers: Issuers) -> None:
        for number in range(3):
            assert (await unavailable(issuers, issuer, f"t{number}")).phase == "status"
        for number in range(50):
            assert (await unavailable(issuers, issuer, f"u{number}")).phase == "circuit_open"
        assert len(questions(issuer)) == 3
        await asyncio.sleep(BREAKER.open_for)
        issuer.once[INTROSPECTION_PATH].append(slow(0.2, answer({"active": False})))
        issuer.answers.clear()
        probe = asyncio.create_task(issuers.introspect(opaque("probe"), issuer.url))
        await asyncio.sleep(0.05)
        assert (await unavailable(issuers, issuer, "beside")).phase == "circuit_open"
        assert await probe is False
        assert await issuers.introspect(opaque("after"), issuer.url) is False

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario)
    assert [name for _, name, _ in events.incidents if "circuit" in name] == [
        "circuit_opened",
        "circuit_closed",
    ]


def test_remembered_answers_serve_while_the_circuit_is_open(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)

    async def scenario(issuers: Issuers) -> None:
        await issuers.introspect(opaque("t"), issuer.url)
        issuer.answers[INTROSPECTION_PATH] = answer(status=503)
        for number in range(4):
            await unavailable(issuers, issuer, f"u{number}")
        assert isinstance(issuers.cached(opaque("t"), issuer.url), ValidatedToken)

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario)


def test_400_to_strange_tokens_opens_no_circuit(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    # Some issuers answer 400 to a JWT. It is no answer about the token, yet no client may shut others out with it.
    issuer.answers[INTROSPECTION_PATH] = answer({"error": "invalid_request"}, 400)

    async def scenario(issuers: Issuers) -> None:
        for number in range(20):
            assert (await unavailable(issuers, issuer, f"t{number}")).phase == "status"
        issuer.answers.clear()
        assert await issuers.introspect(opaque("t"), issuer.url) is False

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario)


def test_deadlines_missed_open_the_circuit(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(5.0, answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        phases = [(await unavailable(issuers, issuer, f"t{number}")).phase for number in range(4)]
        assert phases == ["timeout", "timeout", "timeout", "circuit_open"]

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER, deadline=0.1), scenario)
