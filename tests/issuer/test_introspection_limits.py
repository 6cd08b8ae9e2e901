"""How many questions an issuer is asked, and when it is left alone."""

import asyncio
import socket
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
    Held,
    ScriptedIssuer,
    answer,
    drop,
    slow,
)
from tests.support.issuer_events import IssuerEvents, ManualClock, until

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def unavailable(
    issuers: Issuers, issuer: ScriptedIssuer, token: str = "t", source: str = ""
) -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as caught:
        await issuers.introspect(opaque(token), issuer.url, source)
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
    held = issuer.answers[INTROSPECTION_PATH] = Held(answer(active(issuer)))

    async def scenario(issuers: Issuers) -> None:
        first, second = (asyncio.create_task(issuers.introspect(opaque("t"), issuer.url)) for _ in range(2))
        await until(lambda: held.arrived == 1)
        first.cancel()
        held.release()
        assert isinstance(await second, ValidatedToken)

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert len(questions(issuer)) == 1


def test_no_more_questions_are_under_way_than_allowed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    running: list[int] = []
    all_at_once = Held(answer({"active": False}))

    async def counting(request: web.Request) -> web.StreamResponse:
        running.append((running[-1] if running else 0) + 1)
        response = await all_at_once(request)
        running.append(running[-1] - 1)
        return response

    issuer.answers[INTROSPECTION_PATH] = counting

    async def scenario(issuers: Issuers) -> None:
        asked = [
            asyncio.create_task(issuers.introspect(opaque(f"t{n}"), issuer.url, f"client-{n}"))
            for n in range(40)
        ]
        await until(lambda: all_at_once.arrived == 4)
        all_at_once.release()
        assert await asyncio.gather(*asked) == [False] * 40

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=4), scenario)
    assert max(running) == 4


def test_question_that_finds_no_place_to_wait_is_refused_at_once(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    held = issuer.answers[INTROSPECTION_PATH] = Held(answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        waiting = [asyncio.create_task(issuers.introspect(opaque(f"t{n}"), issuer.url)) for n in range(3)]
        await until(lambda: held.arrived == 1)
        assert (await unavailable(issuers, issuer, "late")).phase == "overload"
        held.release()
        assert await asyncio.gather(*waiting) == [False] * 3

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=1, waiting=2), scenario)


def test_time_spent_waiting_counts_towards_the_deadline(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    held = issuer.answers[INTROSPECTION_PATH] = Held(answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        outcomes = await asyncio.gather(
            *(issuers.introspect(opaque(f"t{n}"), issuer.url) for n in range(10)), return_exceptions=True
        )
        assert [isinstance(one, IssuerUnavailable) and one.phase for one in outcomes] == ["timeout"] * 10
        # Else each would have had its turn. One whose time began a moment after another's may have had that moment.
        assert held.arrived < 6

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=1, deadline=0.6), scenario)


# --- the circuit

BREAKER = CircuitBreakerSettings(failures=3, open_for=0.4, probes=1)


def test_endpoint_that_keeps_failing_is_left_alone_and_probed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = answer(status=503)
    clock = ManualClock()

    async def scenario(issuers: Issuers) -> None:
        for number in range(3):
            assert (await unavailable(issuers, issuer, f"t{number}", f"client-{number}")).phase == "status"
        for number in range(50):
            assert (await unavailable(issuers, issuer, f"u{number}")).phase == "circuit_open"
        assert len(questions(issuer)) == 3
        clock.advance(BREAKER.open_for)
        held = Held(answer({"active": False}))
        issuer.once[INTROSPECTION_PATH].append(held)
        issuer.answers.clear()
        probe = asyncio.create_task(issuers.introspect(opaque("probe"), issuer.url))
        await until(lambda: held.arrived == 1)
        assert (await unavailable(issuers, issuer, "beside")).phase == "circuit_open"
        held.release()
        assert await probe is False
        assert await issuers.introspect(opaque("after"), issuer.url) is False

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario, clock=clock)
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
            await unavailable(issuers, issuer, f"u{number}", f"client-{number}")
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


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "fault",
    [answer({}, 413), answer({}, 403), answer({}, 500), answer({}, 429), drop(), answer({"active": "x"})],
    ids=["413", "403", "500", "429", "dropped", "no clean answer"],
)
def test_tokens_of_one_client_that_a_front_dislikes_shut_out_no_other(
    fault: Fault, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    """Seen with a front that answers 413: five tokens of 12 KB, and all others got 503."""
    issuer.answers[INTROSPECTION_PATH] = fault

    async def scenario(issuers: Issuers) -> None:
        for number in range(20):
            assert (await unavailable(issuers, issuer, f"t{number}", "hostile")).phase != "circuit_open"
        issuer.answers.clear()
        for number in range(27):
            assert await issuers.introspect(opaque(f"u{number}"), issuer.url, f"client-{number}") is False

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario)


def test_refusals_of_our_own_credentials_open_the_circuit(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    """RFC 7662 §2.3: 401 when the protected resource's credentials are not valid."""
    issuer.answers[INTROSPECTION_PATH] = answer({"error": "invalid_client"}, 401)

    async def scenario(issuers: Issuers) -> None:
        phases = [(await unavailable(issuers, issuer, f"t{number}")).phase for number in range(4)]
        assert phases == ["status", "status", "status", "circuit_open"]

    asking(issuer, events, introspection_settings(issuer, tmp_path, breaker=BREAKER), scenario)


def test_failures_to_connect_open_the_circuit(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def scenario(issuers: Issuers) -> None:
        phases = [(await unavailable(issuers, issuer, f"t{number}")).phase for number in range(4)]
        assert phases == ["connect", "connect", "connect", "circuit_open"]

    with socket.socket() as nobody:  # bound, not listening
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}/introspect"
        settings = introspection_settings(issuer, tmp_path, breaker=BREAKER, endpoint=endpoint)
        asking(issuer, events, settings, scenario)


def test_questions_of_one_client_leave_places_to_others(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    held = issuer.answers[INTROSPECTION_PATH] = Held(answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        hostile = [
            asyncio.create_task(issuers.introspect(opaque(f"t{n}"), issuer.url, "hostile")) for n in range(40)
        ]
        await until(lambda: held.arrived == 6)
        honest = asyncio.create_task(issuers.introspect(opaque("u"), issuer.url, "honest"))
        await until(lambda: held.arrived == 7)
        held.release()
        assert await honest is False
        assert await asyncio.gather(*hostile) == [False] * 40

    asking(issuer, events, introspection_settings(issuer, tmp_path, concurrency=8), scenario)


def test_deadlines_missed_open_the_circuit(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(5.0, answer({"active": False}))

    async def scenario(issuers: Issuers) -> None:
        phases = [
            (await unavailable(issuers, issuer, f"t{number}", f"client-{number}")).phase
            for number in range(4)
        ]
        assert phases == ["timeout", "timeout", "timeout", "circuit_open"]

    settings = introspection_settings(issuer, tmp_path, breaker=BREAKER, deadline=0.1)
    asking(issuer, events, settings, scenario, clock=ManualClock())
