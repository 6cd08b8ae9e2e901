"""Signed introspection responses (RFC 9701): the issuer's, for us, of now; and nothing unsigned instead."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import ValidatedToken
from sidecar.issuer.configuration import IssuerSettings, IssuersSettings, JwksUrl, SignedResponse
from sidecar.issuer.issuers import Issuers
from sidecar.issuer.signed_response import MEDIA_TYPE
from tests.support.asking import active, asking, introspection_settings, opaque, questions
from tests.support.issuer import INTROSPECTION_PATH, JWKS_PATH, ScriptedIssuer, answer
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents
from tests.support.mint import SigningKey, tampered, unsigned

TYPE = "token-introspection+jwt"


def signed(
    issuer: ScriptedIssuer,
    key: SigningKey,
    response: Mapping[str, object] | None = None,
    header: Mapping[str, object] | None = None,
    **claims: Any,
) -> str:
    """A response as RFC 9701 §5 has it; a claim of None is left out."""
    payload = {
        "iss": issuer.url,
        "aud": "api",
        "iat": int(time.time()),
        "token_introspection": active(issuer) if response is None else response,
        **claims,
    }
    protected = {"typ": TYPE, "alg": key.algorithm, "kid": key.kid, **(header or {})}
    return key.sign({name: value for name, value in payload.items() if value is not None}, protected)


def asked(issuer: ScriptedIssuer, events: IssuerEvents, folder: Path, body: str) -> ValidatedToken | bool:
    """What comes of a signed response."""
    issuer.answers[INTROSPECTION_PATH] = answer(body.encode(), content_type=MEDIA_TYPE)
    answers: list[ValidatedToken | bool] = []

    async def scenario(issuers: Issuers) -> None:
        answers.append(await issuers.introspect(opaque("t"), issuer.url))

    given = introspection_settings(issuer, folder, signed=SignedResponse())
    asking(issuer, events, given, scenario, keys=JwksUrl(issuer.jwks_url))
    return answers[0]


def test_signed_response_is_asked_for_and_believed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    token = asked(issuer, events, tmp_path, signed(issuer, signing_key))
    assert isinstance(token, ValidatedToken)
    assert token.client_id == "client-1"
    (question,) = [request for request in issuer.requests if request.path == INTROSPECTION_PATH]
    assert question.headers["Accept"] == MEDIA_TYPE


@pytest.mark.parametrize("audience", ["api", ["other", "api"]])
def test_audience_may_be_a_list_and_typ_a_media_type(
    audience: object, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    body = signed(issuer, signing_key, {"active": False}, {"typ": MEDIA_TYPE}, aud=audience)
    assert asked(issuer, events, tmp_path, body) is False


def test_response_signed_with_a_key_published_just_now_is_believed(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    fresh = SigningKey.create("ES256", "next")
    issuer.answers[INTROSPECTION_PATH] = answer(
        signed(issuer, fresh, {"active": False}).encode(), content_type=MEDIA_TYPE
    )

    async def scenario(issuers: Issuers) -> None:
        issuer.keys[:] = [fresh]
        assert await issuers.introspect(opaque("t"), issuer.url) is False

    given = introspection_settings(issuer, tmp_path, signed=SignedResponse())
    asking(issuer, events, given, scenario, keys=JwksUrl(issuer.jwks_url))


@pytest.mark.parametrize(
    "wrong",
    [
        ({"typ": "at+jwt"}, {}, "typ"),
        ({"typ": None}, {}, "verify"),
        ({"alg": "none"}, {}, "verify"),
        ({"crit": ["b64"], "b64": False}, {}, "verify"),
        ({}, {"iss": "https://evil.example"}, "another issuer"),
        ({}, {"iss": None}, "another issuer"),
        ({}, {"aud": "someone-else"}, "audience"),
        ({}, {"aud": ["someone-else"]}, "audience"),
        ({}, {"aud": None}, "audience"),
        ({}, {"iat": None}, "iat"),
        ({}, {"iat": "now"}, "iat"),
        ({}, {"iat": time.time() - 3600}, "of now"),
        ({}, {"iat": time.time() + 3600}, "of now"),
        ({}, {"token_introspection": None}, "token_introspection"),
        ({}, {"token_introspection": "active"}, "token_introspection"),
        ({}, {"token_introspection": {"active": "true"}}, "active"),
    ],
)
def test_response_that_is_not_the_issuers_for_us_and_of_now_says_nothing(
    wrong: tuple[Mapping[str, object], dict[str, Any], str],
    issuer: ScriptedIssuer,
    events: IssuerEvents,
    tmp_path: Path,
    signing_key: SigningKey,
) -> None:
    header, claims, why = wrong
    body = signed(issuer, signing_key, header=header, **claims)
    with pytest.raises(IssuerUnavailable) as caught:
        asked(issuer, events, tmp_path, body)
    assert caught.value.phase == "parse"
    assert why in events.introspections[0].detail


@pytest.mark.parametrize("forgery", ["tampered", "unsigned", "stranger", "mac", "text", "bytes"])
def test_forged_response_says_nothing(
    forgery: str, issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    right = signed(issuer, signing_key)
    body = {
        "tampered": tampered(right, aud=["api"]),
        "unsigned": unsigned({"iss": issuer.url, "aud": "api"}, {"typ": TYPE, "alg": "none"}),
        "stranger": signed(issuer, SigningKey.create("ES256", "es256")),
        "mac": right.rpartition(".")[0] + ".AAAA",
        "text": "active",
        "bytes": "é",
    }[forgery]
    with pytest.raises(IssuerUnavailable) as caught:
        asked(issuer, events, tmp_path, body)
    assert caught.value.phase == "parse"


def test_plain_json_is_not_taken_instead_of_a_signed_response(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    issuer.tokens["t"] = active(issuer)

    async def scenario(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable) as caught:
            await issuers.introspect(opaque("t"), issuer.url)
        assert caught.value.phase == "parse"

    given = introspection_settings(issuer, tmp_path, signed=SignedResponse())
    asking(issuer, events, given, scenario, keys=JwksUrl(issuer.jwks_url))
    assert len(questions(issuer)) == 1
    assert events.introspections[0].detail == "the response is not signed"


def test_algorithm_that_was_not_configured_is_refused(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    issuer.answers[INTROSPECTION_PATH] = answer(signed(issuer, signing_key).encode(), content_type=MEDIA_TYPE)

    async def scenario(issuers: Issuers) -> None:
        with pytest.raises(IssuerUnavailable):
            await issuers.introspect(opaque("t"), issuer.url)

    given = introspection_settings(issuer, tmp_path, signed=SignedResponse(frozenset({"PS256"})))
    asking(issuer, events, given, scenario, keys=JwksUrl(issuer.jwks_url))


def test_response_cannot_be_verified_while_the_keys_are_out_of_reach(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path, signing_key: SigningKey
) -> None:
    issuer.answers[JWKS_PATH] = answer(status=500)
    with pytest.raises(IssuerUnavailable):
        asked(issuer, events, tmp_path, signed(issuer, signing_key))
    assert "no keys" in events.introspections[0].detail


def test_signed_responses_without_keys_are_an_error_at_start(
    issuer: ScriptedIssuer, events: IssuerEvents, tmp_path: Path
) -> None:
    settings = introspection_settings(issuer, tmp_path, signed=SignedResponse())
    one = IssuerSettings(issuer.url, None, QUICK, PLAIN, settings)
    with pytest.raises(ValueError, match="need the issuer's keys"):
        asyncio.run(Issuers(IssuersSettings((one,)), events).start())
