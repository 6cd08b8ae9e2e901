"""Mistakes that products of this kind have made with introspection, and what this one does: over real HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.policy import IntrospectWhen
from sidecar.issuer.configuration import IntrospectionSettings, IssuerSettings, IssuersSettings, JwksUrl
from sidecar.issuer.issuers import Issuers
from tests.support.asking import active, introspection_settings, questions
from tests.support.gate import PERMITTED, Gate, policy_for
from tests.support.issuer import INTROSPECTION_PATH, ScriptedIssuer, answer, endless, slow
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents, until
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.world import presenter

Scenario = Callable[[Gate], Awaitable[None]]


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


@pytest.fixture
def settings(issuer: ScriptedIssuer, tmp_path: Path) -> IntrospectionSettings:
    return introspection_settings(issuer, tmp_path)


def gated(
    issuer: ScriptedIssuer,
    settings: IntrospectionSettings,
    pki: Pki,
    scenario: Scenario,
    when: IntrospectWhen = IntrospectWhen.OPAQUE,
) -> None:
    """Runs `scenario` in front of an issuer that is asked about tokens."""
    one = IssuerSettings(issuer.url, JwksUrl(issuer.jwks_url), QUICK, PLAIN, settings)

    async def run() -> None:
        async with Issuers(IssuersSettings((one,)), IssuerEvents()) as issuers:
            await until(lambda: issuers.readiness().is_ready)
            await scenario(Gate(issuers, [policy_for(issuer, when)], pki.client))

    asyncio.run(run())


def test_cnf_of_the_answer_is_compared_with_the_certificate(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    """RFC 8705 §3.2"""
    issuer.tokens["t"] = active(issuer, pki.client)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer("t") == PERMITTED
        assert await gate.answer("t", presenter(pki.other_client)) == "binding_mismatch"
        assert await gate.answer("t", presenter(None)) == "certificate_missing"

    gated(issuer, settings, pki, scenario)
    assert len(questions(issuer)) == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com"}, "audience_mismatch"),
        ({"aud": None}, "audience_mismatch"),
        ({"iss": "https://evil.example"}, "issuer_unknown"),
        ({"exp": 1_000_000_000}, "token_expired"),
        ({"exp": "2100"}, "claim_malformed"),
        ({"nbf": 4_000_000_000}, "token_not_yet_valid"),
        ({"scope": 7}, "permitted"),
        ({"client_id": ["a"]}, "permitted"),
        ({"cnf": None}, "binding_missing"),
        ({"cnf": {}}, "confirmation_malformed"),
        ({"cnf": {"x5t#S256": "short"}}, "confirmation_malformed"),
        ({"cnf": {"kid": "a"}}, "confirmation_unsupported"),
    ],
)
def test_what_an_active_answer_says_is_checked_by_us(
    claims: dict[str, Any], reason: str, issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    """https://github.com/keycloak/keycloak/issues/49113"""
    response = active(issuer, pki.client) | claims
    issuer.tokens["t"] = {name: value for name, value in response.items() if value is not None}

    async def scenario(gate: Gate) -> None:
        for _ in range(2):  # asked, then remembered
            assert await gate.answer("t") == reason

    gated(issuer, settings, pki, scenario)


@pytest.mark.parametrize(
    "fault",
    [
        answer({}),
        answer({"active": "true"}),
        answer({"active": 1}),
        answer({"active": True}, 400),
        answer({"active": True}, 500),
        answer(b"<html>active</html>", content_type="text/html"),
        endless(1 << 30, b'{"active": true, "x": "' + b"a" * 65536),
    ],
    ids=["missing", "string", "number", "400", "500", "html", "gigabyte"],
)
def test_answer_that_says_nothing_is_a_503_and_never_a_pass(
    fault: Any, issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    """https://github.com/Kuadrant/authorino/pull/652"""
    issuer.answers[INTROSPECTION_PATH] = fault

    async def scenario(gate: Gate) -> None:
        decision = await gate.decision("t")
        assert isinstance(decision, Denial)
        assert decision.reason is Reason.ISSUER_UNAVAILABLE
        assert decision.retry_after

    gated(issuer, settings, pki, scenario)


def test_one_request_with_a_strange_token_shuts_nobody_out(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    """Some issuers answer 400 to what they cannot read."""
    issuer.answers[INTROSPECTION_PATH] = answer({"error": "invalid_request"}, 400)

    async def scenario(gate: Gate) -> None:
        for number in range(20):
            assert await gate.answer(f"strange-{number}") == "issuer_unavailable"
        issuer.answers.clear()
        issuer.tokens["t"] = active(issuer, pki.client)
        assert await gate.answer("t") == PERMITTED

    gated(issuer, settings, pki, scenario)


def test_remembered_answer_does_not_outlive_exp(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    """RFC 7662 §4"""
    issuer.tokens["t"] = active(issuer, pki.client, exp=int(time.time()) + 2)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer("t") == PERMITTED
        await asyncio.sleep(2.1)
        issuer.tokens.clear()
        assert await gate.answer("t") == "token_inactive"  # asked again, clock skew notwithstanding

    gated(issuer, settings, pki, scenario)
    assert len(questions(issuer)) == 2


def test_answers_of_one_issuer_count_at_no_other(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki, tmp_path: Path
) -> None:
    """https://github.com/ory/oathkeeper/security/advisories/GHSA-4mq7-pvjg-xp2r"""
    issuer.tokens["t"] = active(issuer, pki.client)
    with ScriptedIssuer() as other:
        other_folder = tmp_path / "other"
        other_folder.mkdir()
        sections = tuple(
            IssuerSettings(one.url, None, QUICK, PLAIN, introspection_settings(one, folder))
            for one, folder in ((issuer, tmp_path), (other, other_folder))
        )

        async def run() -> None:
            async with Issuers(IssuersSettings(sections), IssuerEvents()) as issuers:
                both = [policy_for(one, IntrospectWhen.OPAQUE) for one in (issuer, other)]
                assert await Gate(issuers, both, pki.client).answer("t") == PERMITTED
                assert await Gate(issuers, both[1:], pki.client).answer("t") == "token_inactive"
                assert await Gate(issuers, both[::-1], pki.client).answer("t") == PERMITTED

        asyncio.run(run())
        assert len(questions(other)) == 1


def test_jwt_is_verified_here_before_anybody_is_asked_about_it(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki, signing_key: SigningKey
) -> None:
    token = signing_key.token(pki.client, iss=issuer.url)
    forged = SigningKey.create("ES256", "es256").token(pki.client, iss=issuer.url)
    issuer.tokens[token] = issuer.tokens[forged] = active(issuer, pki.client)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(forged) == "signature_invalid"
        assert questions(issuer) == []
        assert await gate.answer(token) == PERMITTED
        assert await gate.answer(token) == PERMITTED

    gated(issuer, settings, pki, scenario, IntrospectWhen.ALWAYS)
    assert len(questions(issuer)) == 1


def test_revoked_jwt_is_refused_once_the_answer_is_old(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki, signing_key: SigningKey
) -> None:
    token = signing_key.token(pki.client, iss=issuer.url)
    issuer.tokens[token] = active(issuer, pki.client)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(token) == PERMITTED
        issuer.tokens.clear()
        await asyncio.sleep(0.3)
        assert await gate.answer(token) == "token_inactive"
        issuer.answers[INTROSPECTION_PATH] = answer(status=500)
        await asyncio.sleep(0.3)
        assert await gate.answer(token) == "issuer_unavailable"

    brief = replace(settings, active_lifetime=0.2, inactive_lifetime=0.2)
    gated(issuer, brief, pki, scenario, IntrospectWhen.ALWAYS)


def test_200_requests_with_one_new_token_cause_one_question(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    issuer.once[INTROSPECTION_PATH].append(slow(0.1, answer(active(issuer, pki.client))))

    async def scenario(gate: Gate) -> None:
        answers = await asyncio.gather(*(gate.answer("t") for _ in range(200)))
        assert answers == [PERMITTED] * 200

    gated(issuer, settings, pki, scenario)
    assert len(questions(issuer)) == 1


def test_hit_is_decided_without_waiting_for_anything(
    issuer: ScriptedIssuer, settings: IntrospectionSettings, pki: Pki
) -> None:
    issuer.tokens["t"] = active(issuer, pki.client)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer("t") == PERMITTED
        issuer.stop()
        for _ in range(1000):
            assert gate.at_once("t") == PERMITTED
        issuer.start()

    gated(issuer, settings, pki, scenario)
    assert len(questions(issuer)) == 1
