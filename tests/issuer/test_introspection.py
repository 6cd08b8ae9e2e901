"""Asking an issuer about a token: what is sent, what is believed, what is remembered, and when it is left alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import ValidatedToken
from sidecar.issuer.configuration import (
    Discovery,
    IssuerSettings,
    IssuersSettings,
    SelfSignedTlsClientAuth,
    TlsClientAuth,
)
from sidecar.issuer.issuers import Issuers
from tests.support.asking import active, asking, introspection_settings, opaque, questions
from tests.support.issuer import (
    INTROSPECTION_PATH,
    METADATA_PATHS,
    ScriptedIssuer,
    answer,
    drop,
    endless,
    half,
    redirect,
    slow,
)
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents, ManualClock, http_settings, until
from tests.support.pki import Pki, certificate_pem

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def unavailable(issuers: Issuers, issuer: ScriptedIssuer, token: str = "t") -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as caught:
        await issuers.introspect(opaque(token), issuer.url)
    return caught.value


# --- the question and the answer


def test_question_is_a_form_with_token_and_hint(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    async def scenario(issuers: Issuers) -> None:
        assert await issuers.introspect(opaque("t/+="), issuer.url) is False

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert questions(issuer) == [
        {
            "token": "t/+=",
            "token_type_hint": "access_token",
            "client_id": "api",
            "client_secret": "client-password",
        }
    ]
    sent = issuer.requests[0]
    assert (sent.method, sent.headers["Accept"]) == ("POST", "application/json")
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_active_answer_becomes_a_token(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, pki: Pki
) -> None:
    issuer.tokens["t"] = active(issuer, pki.client, scope="a b", extra={"x": [1]})

    async def scenario(issuers: Issuers) -> None:
        token = await issuers.introspect(opaque("t"), issuer.url)
        assert isinstance(token, ValidatedToken)
        assert token.issuer == issuer.url
        assert token.scope == {"a", "b"}
        assert token.confirmation.members["x5t#S256"] is not None
        assert token.claims["extra"] == {"x": [1]}
        assert token.key_id is None
        assert token.digest == opaque("t").digest

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert [event.result for event in events.introspections] == ["active"]


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, Reason.ISSUER_UNKNOWN),
        ({"exp": "soon"}, Reason.CLAIM_MALFORMED),
        ({"nbf": True}, Reason.CLAIM_MALFORMED),
        ({"aud": {"a": 1}}, Reason.CLAIM_MALFORMED),
    ],
)
def test_answer_with_a_malformed_claim_is_a_refusal_and_remembered_as_one(
    claims: dict[str, object], reason: Reason, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer) | claims

    async def scenario(issuers: Issuers) -> None:
        for _ in range(2):
            with pytest.raises(Denied) as denied:
                await issuers.introspect(opaque("t"), issuer.url)
            assert denied.value.reason is reason
            with pytest.raises(Denied):
                issuers.cached(opaque("t"), issuer.url)

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert len(questions(issuer)) == 1
    assert events.introspections[0].result == "refused"


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        (answer({}), "parse"),
        (answer({"active": "true"}), "parse"),
        (answer({"active": 1}), "parse"),
        (answer({"active": None}), "parse"),
        (answer([True]), "parse"),
        (answer(b'{"active": true, "active": false}'), "parse"),
        (answer(b'{"active": true', headers={}), "parse"),
        (answer(b"<html>", content_type="text/html"), "parse"),
        (answer({"active": True}, content_type="text/plain"), "parse"),
        (answer({"active": True}, 201), "status"),
        (answer({"active": False}, 400), "status"),
        (answer({"error": "invalid_client"}, 401), "status"),
        (answer(b"", 500), "status"),
        (redirect("https://evil.example/introspect", 307), "status"),
        (drop(), "connect"),
        (half(b'{"active": true, "sub": "alice"}'), "size"),
        (endless(1 << 30), "size"),
        (slow(30.0, answer({"active": True})), "timeout"),
    ],
)
def test_whatever_is_no_clean_answer_says_nothing_about_the_token(
    fault: Fault, phase: str, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = fault

    async def scenario(issuers: Issuers) -> None:
        assert (await unavailable(issuers, issuer)).phase == phase
        assert issuers.cached(opaque("t"), issuer.url) is None

    deadline = 0.5 if phase == "timeout" else 20.0
    asking(issuer, events, introspection_settings(issuer, tmp_path, deadline=deadline), scenario)
    assert events.introspections[0].result == phase


def test_retry_after_of_an_overloaded_issuer_is_passed_on(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = answer(status=429, headers={"Retry-After": "17"})

    async def scenario(issuers: Issuers) -> None:
        assert (await unavailable(issuers, issuer)).retry_after == 17

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)


# --- what is remembered


def test_hit_costs_no_question(issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path) -> None:
    issuer.tokens["t"] = active(issuer)

    async def scenario(issuers: Issuers) -> None:
        assert issuers.cached(opaque("t"), issuer.url) is None
        first = await issuers.introspect(opaque("t"), issuer.url)
        issuer.stop()
        for _ in range(1000):
            assert issuers.cached(opaque("t"), issuer.url) is first
            assert await issuers.introspect(opaque("t"), issuer.url) is first
        issuer.start()

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario)
    assert len(questions(issuer)) == 1


def test_inactive_is_remembered_for_less_time(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    clock = ManualClock(time.time())
    issuer.tokens["t"] = active(issuer)

    async def scenario(issuers: Issuers) -> None:
        for token in ("t", "unknown"):
            await issuers.introspect(opaque(token), issuer.url)
        clock.advance(10)
        assert issuers.cached(opaque("unknown"), issuer.url) is None
        assert issuers.cached(opaque("t"), issuer.url)
        clock.advance(50)
        assert issuers.cached(opaque("t"), issuer.url) is None

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario, clock=clock)


def test_answer_without_exp_is_remembered_for_the_cap(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    clock = ManualClock(time.time())
    issuer.tokens["t"] = active(issuer, exp=None)

    async def scenario(issuers: Issuers) -> None:
        await issuers.introspect(opaque("t"), issuer.url)
        clock.advance(59)
        assert issuers.cached(opaque("t"), issuer.url)
        clock.advance(1)
        assert issuers.cached(opaque("t"), issuer.url) is None

    asking(issuer, events, introspection_settings(issuer, tmp_path), scenario, clock=clock)


def test_revoked_token_is_inactive_once_the_answer_is_old(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)

    async def scenario(issuers: Issuers) -> None:
        assert await issuers.introspect(opaque("t"), issuer.url)
        del issuer.tokens["t"]
        await asyncio.sleep(0.2)
        assert await issuers.introspect(opaque("t"), issuer.url) is False

    asking(issuer, events, introspection_settings(issuer, tmp_path, active_lifetime=0.2), scenario)


def test_another_configuration_remembers_nothing_of_the_old(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)
    one = IssuerSettings(issuer.url, None, QUICK, PLAIN, introspection_settings(issuer, tmp_path))

    async def run() -> None:
        async with Issuers(IssuersSettings((one,)), events) as issuers:
            await issuers.introspect(opaque("t"), issuer.url)
            await issuers.reconfigure(IssuersSettings((one,)), 2)
            assert issuers.cached(opaque("t"), issuer.url) is None
            await issuers.introspect(opaque("t"), issuer.url)

    asyncio.run(run())
    assert len(questions(issuer)) == 2


def test_endpoint_that_moves_takes_no_answers_along(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)
    clock = ManualClock(time.time())

    async def scenario(issuers: Issuers) -> None:
        await issuers.introspect(opaque("t"), issuer.url)
        assert issuers.cached(opaque("t"), issuer.url)
        issuer.metadata["introspection_endpoint"] = f"{issuer.url}/moved"
        issuer.answers["/moved"] = answer({"active": False})
        clock.advance(QUICK.maximum_interval)
        assert await issuers.introspect(opaque("other"), issuer.url) is False
        assert issuers.cached(opaque("t"), issuer.url) is None
        assert await issuers.introspect(opaque("t"), issuer.url) is False

    settings = introspection_settings(issuer, tmp_path, endpoint=None, active_lifetime=1e6)
    asking(issuer, events, settings, scenario, clock=clock)


# --- where the question goes


def test_endpoint_comes_from_the_metadata(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.metadata["introspection_endpoint"] = f"{issuer.url}/elsewhere"
    issuer.metadata["mtls_endpoint_aliases"] = {"introspection_endpoint": f"{issuer.url}/mtls"}
    issuer.answers["/elsewhere"] = answer({"active": False})

    async def scenario(issuers: Issuers) -> None:
        assert await issuers.introspect(opaque("t"), issuer.url) is False

    settings = introspection_settings(issuer, tmp_path, endpoint=None)
    asking(issuer, events, settings, scenario, keys=Discovery())
    assert issuer.count("/elsewhere") == 1


@pytest.mark.parametrize("method", [TlsClientAuth, SelfSignedTlsClientAuth])
@pytest.mark.parametrize("has_alias", [True, False])
def test_certificate_methods_prefer_the_mtls_alias_and_show_their_certificate_there(
    method: type[TlsClientAuth | SelfSignedTlsClientAuth],
    has_alias: bool,
    events: IssuerEvents,
    tmp_path: Path,
    pki: Pki,
) -> None:
    # RFC 8705 §5
    with ScriptedIssuer(certificate=pki.server, client_trust=[pki.client_authority.certificate]) as issuer:
        if has_alias:
            issuer.metadata["mtls_endpoint_aliases"] = {"introspection_endpoint": f"{issuer.url}/mtls"}
            issuer.answers["/mtls"] = answer({"active": False})
        bundle = tmp_path / "ca.pem"
        bundle.write_bytes(certificate_pem(pki.server_authority.certificate))
        files = pki.client.write(tmp_path, "client")
        settings = introspection_settings(
            issuer, tmp_path, method("api", files.certificate, files.private_key), endpoint=None
        )
        http = replace(http_settings(issuer, tmp_path), ca_file=bundle)
        one = IssuerSettings(issuer.url, None, QUICK, http, settings)

        async def run() -> None:
            async with Issuers(IssuersSettings((one,)), events) as issuers:
                assert await issuers.introspect(opaque("t"), issuer.url) is False

        asyncio.run(run())
        metadata, question = issuer.requests
    assert metadata.path in METADATA_PATHS
    assert metadata.client_certificate is None
    assert question.path == ("/mtls" if has_alias else INTROSPECTION_PATH)
    assert question.form["client_id"] == "api"
    assert question.client_certificate == pki.client.der


def test_metadata_without_an_endpoint_is_the_issuers_fault(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.metadata["introspection_endpoint"] = None

    async def scenario(issuers: Issuers) -> None:
        assert (await unavailable(issuers, issuer)).phase == "parse"

    asking(issuer, events, introspection_settings(issuer, tmp_path, endpoint=None), scenario)


def test_metadata_of_another_issuer_is_never_asked_about_a_token(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.metadata["issuer"] = "https://evil.example"

    async def scenario(issuers: Issuers) -> None:
        assert (await unavailable(issuers, issuer)).phase == "parse"

    asking(issuer, events, introspection_settings(issuer, tmp_path, endpoint=None), scenario)
    assert questions(issuer) == []


def test_closing_tells_those_who_wait_for_an_answer(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.answers[INTROSPECTION_PATH] = slow(30.0, answer({"active": False}))
    waiting: list[asyncio.Task[ValidatedToken | bool]] = []

    async def scenario(issuers: Issuers) -> None:
        waiting.append(asyncio.create_task(issuers.introspect(opaque("t"), issuer.url)))
        await until(lambda: questions(issuer) != [])

    asking(issuer, events, introspection_settings(issuer, tmp_path, deadline=50.0), scenario)
    assert isinstance(waiting[0].exception(), IssuerUnavailable)
    assert [event.result for event in events.introspections] == [], "told by the end, not by a deadline"
