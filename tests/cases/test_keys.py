"""Mistakes that products of this kind have made with issuers' keys, and what this one does."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.policy import IssuerPolicy
from sidecar.issuer.configuration import Discovery, IssuersSettings, KeyOrigin, RefreshSettings
from sidecar.issuer.issuers import Issuers
from tests.support.gate import PERMITTED, Gate, policy_for
from tests.support.issuer import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    METADATA_PATHS,
    ScriptedIssuer,
    answer,
    drop,
    endless,
    redirect,
)
from tests.support.issuer_events import QUICK, IssuerEvents, issuer_settings, until
from tests.support.mint import SigningKey
from tests.support.pki import Pki, make_key
from tests.support.weak_keys import integer, roca_key, rsa_jwk
from tests.support.world import issuer_policy

Scenario = Callable[[Gate], Awaitable[None]]


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


@pytest.fixture
def events() -> IssuerEvents:
    return IssuerEvents()


def token(issuer: ScriptedIssuer, key: SigningKey, pki: Pki, **header: object) -> str:
    """A right token of this issuer for the rightful client."""
    return key.token(pki.client, header or None, iss=issuer.url)


def gated(
    issuer: ScriptedIssuer,
    events: IssuerEvents,
    pki: Pki,
    scenario: Scenario,
    *,
    refresh: RefreshSettings = QUICK,
    origin: KeyOrigin | None = None,
) -> None:
    """Runs `scenario` once the first fetch of keys is over."""

    async def run() -> None:
        settings = IssuersSettings((issuer_settings(issuer, origin, refresh),))
        async with Issuers(settings, events) as issuers:
            await until(lambda: events.refreshed != [])
            await scenario(Gate(issuers, [policy_for(issuer)], pki.client))

    asyncio.run(run())


# --- how often, how soon


def test_unknown_kids_do_not_each_download_the_key_set(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/zmartzone/lua-resty-openidc/issues/468"""
    forged = [token(issuer, signing_key.with_kid(f"unknown-{number}"), pki) for number in range(300)]

    async def scenario(gate: Gate) -> None:
        answers = await asyncio.gather(*(gate.answer(one) for one in forged))
        assert set(answers) == {"key_unknown"}
        assert await gate.answer(token(issuer, signing_key, pki)) == PERMITTED

    gated(issuer, events, pki, scenario, refresh=replace(QUICK, waiting_requests=50))
    assert len(events.begun) >= 2
    late = 0.1  # by which the moment that a fetch began may be noted late on a busy machine
    assert all(later - earlier >= QUICK.cool_down - late for earlier, later in pairwise(events.begun[1:]))


def test_tokens_under_a_rotated_key_pass_at_once(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/istio/istio/issues/10547, https://github.com/nginx/kubernetes-ingress/issues/7414,
    https://github.com/openfga/openfga/issues/3099
    """
    fresh = SigningKey.create("ES256", "next")

    async def scenario(gate: Gate) -> None:
        old = token(issuer, signing_key, pki)
        assert await gate.answer(old) == PERMITTED
        issuer.keys[:] = [fresh]
        assert await gate.answer(token(issuer, fresh, pki)) == PERMITTED
        assert await gate.answer(old) == "key_unknown"  # a removed key takes its cached tokens with it

    gated(issuer, events, pki, scenario)


def test_new_key_material_under_the_old_kid_is_fetched(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/DataZooDE/quack-oauth/pull/15"""
    fresh = SigningKey.create("ES256", signing_key.kid)

    async def scenario(gate: Gate) -> None:
        old = token(issuer, signing_key, pki)
        assert await gate.answer(old) == PERMITTED
        issuer.keys[:] = [fresh]
        assert await gate.answer(token(issuer, fresh, pki)) == PERMITTED
        assert await gate.answer(old) == "signature_invalid"
        before = issuer.count(JWKS_PATH)
        for _ in range(50):
            assert await gate.answer(token(issuer, signing_key, pki)) == "signature_invalid"
        assert issuer.count(JWKS_PATH) <= before + 1

    gated(issuer, events, pki, scenario)


# --- out of reach


def test_key_set_out_of_reach_is_no_fault_of_the_client(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/envoyproxy/envoy/issues/13705"""
    issuer.answers[JWKS_PATH] = answer(status=500)

    async def scenario(gate: Gate) -> None:
        decision = await gate.decision(token(issuer, signing_key, pki))
        assert isinstance(decision, Denial)
        assert decision.reason is Reason.ISSUER_UNAVAILABLE
        assert decision.retry_after is not None
        assert decision.retry_after >= 1

    gated(issuer, events, pki, scenario)


def test_last_good_keys_serve_while_the_issuer_is_down(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/envoyproxy/envoy/issues/14557"""
    settings = replace(QUICK, minimum_interval=0.05, default_interval=0.05)

    async def scenario(gate: Gate) -> None:
        issuer.answers[JWKS_PATH] = drop()
        await until(lambda: events.results.count("connect") >= 2)
        assert await gate.answer(token(issuer, signing_key, pki)) == PERMITTED
        unknown = token(issuer, SigningKey.create("ES256", "next"), pki)
        assert await gate.answer(unknown) == "issuer_unavailable"  # nobody can tell now

    gated(issuer, events, pki, scenario, refresh=settings)


def test_connection_closed_while_idle_fails_no_fetch(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """https://github.com/kgateway-dev/kgateway/issues/4838, https://github.com/kgateway-dev/kgateway/issues/4771"""

    async def scenario(gate: Gate) -> None:
        issuer.stop()  # closes every connection it holds
        issuer.start()
        fresh = SigningKey.create("ES256", "next")
        issuer.keys[:] = [fresh]
        assert await gate.answer(token(issuer, fresh, pki)) == PERMITTED

    gated(issuer, events, pki, scenario)
    assert set(events.results) == {"success"}


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        (answer(status=503), "status"),
        (answer(b"not json"), "parse"),
        (drop(), "connect"),
        (endless(50 << 20), "size"),
    ],
)
def test_failed_fetch_is_named_by_its_phase(
    fault: Any, phase: str, issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki
) -> None:
    """https://github.com/envoyproxy/envoy/issues/41891, https://github.com/envoyproxy/envoy/issues/26500"""
    issuer.answers[JWKS_PATH] = fault

    async def scenario(_gate: Gate) -> None:
        assert events.refreshed[0].result == phase
        assert events.refreshed[0].detail

    gated(issuer, events, pki, scenario)


# --- what is in the set


def test_set_of_every_kind_of_key_is_bounded_and_the_good_one_is_used(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 7517 §4 and §5: private keys, `use: enc`, two keys under one `kid`, no `kid`, RSA 512, and 5,000 more."""
    nameless = {name: v for name, v in SigningKey.create("ES384", "x").jwk.items() if name != "kid"}
    issuer.keys[:] = [
        {**SigningKey.create("ES256", "leaked").jwk, "d": "AQ"},
        {**SigningKey.create("ES256", "for-encryption").jwk, "use": "enc"},
        SigningKey.create("ES256", "twice"),
        SigningKey.create("ES256", "twice"),
        nameless,
        {"kty": "RSA", "n": integer((1 << 511) | 1), "e": "AQAB", "kid": "short"},
        signing_key,
        *({**signing_key.jwk, "kid": f"more-{number}"} for number in range(5000)),
    ]

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(token(issuer, signing_key, pki)) == PERMITTED
        assert await gate.answer(token(issuer, signing_key.with_kid("more-4999"), pki)) == "key_unknown"

    gated(issuer, events, pki, scenario)
    assert events.refreshed[0].skipped == {
        "private": 1,
        "wrong_use": 1,
        "duplicate_kid": 2,
        "weak_rsa": 1,
        "over_the_cap": 4907,
    }
    assert {(event.key, event.reason) for event in events.skipped} >= {
        ("leaked", "private"),
        ("for-encryption", "wrong_use"),
        ("twice", "duplicate_kid"),
        ("short", "weak_rsa"),
    }


@pytest.mark.parametrize("which", ["leaked", "for-encryption", "twice"])
def test_token_signed_with_a_key_that_is_not_used_is_refused(
    which: str, issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki
) -> None:
    key = SigningKey.create("ES256", which)
    entries: dict[str, list[SigningKey | dict[str, Any]]] = {
        "leaked": [{**key.jwk, "d": "AQ"}],
        "for-encryption": [{**key.jwk, "use": "enc"}],
        "twice": [key, SigningKey.create("ES256", which)],
    }
    issuer.keys += entries[which]

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(token(issuer, key, pki)) == "key_unknown"

    gated(issuer, events, pki, scenario)


def test_weak_flawed_and_malformed_keys_verify_nothing(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki
) -> None:
    """RSA-1024, CVE-2017-15361 (ROCA), exponent 1, a point off its curve, `key_ops` without verify, a symmetric key:
    JOSE libraries accept the first three.
    """
    short = SigningKey.create("PS256", "short", make_key("RSA-1024"))
    flawed = roca_key(random.Random(1))
    point = SigningKey.create("ES256", "off-curve").jwk
    issuer.keys += [
        short,
        flawed,
        rsa_jwk(2048, kid="exponent", e="AQ"),
        {**point, "x": point["y"], "y": point["x"]},
        {**SigningKey.create("ES256", "wrong-ops").jwk, "key_ops": ["sign"]},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "mac", "alg": "HS256"},
    ]

    async def scenario(gate: Gate) -> None:
        for key in (short, flawed):
            assert await gate.answer(token(issuer, key, pki)) == "key_unknown"

    gated(issuer, events, pki, scenario)
    assert {event.key: event.reason for event in events.skipped} == {
        "short": "weak_rsa",
        "roca": "roca",
        "exponent": "bad_exponent",
        "off-curve": "off_curve",
        "wrong-ops": "wrong_key_ops",
        "mac": "symmetric",
    }


@pytest.mark.parametrize("name", ["Ed25519", "EdDSA"])
def test_ed25519_by_either_name_is_one_algorithm(
    name: str,
    issuer: ScriptedIssuer,
    events: IssuerEvents,
    pki: Pki,
    signing_keys: Callable[[str], SigningKey],
) -> None:
    """RFC 9864 §2.2; npm oidc-provider 9 publishes and signs as `Ed25519`."""
    key = signing_keys("Ed25519")
    issuer.keys[:] = [{**key.jwk, "alg": name}]

    async def scenario(gate: Gate) -> None:
        for header in ("Ed25519", "EdDSA"):
            assert await gate.answer(token(issuer, key, pki, alg=header)) == PERMITTED

    gated(issuer, events, pki, scenario)


# --- whose set it is


@pytest.mark.parametrize("suffix", ["/", "/x", "x"])
def test_metadata_that_names_another_issuer_gives_no_keys(
    suffix: str, issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 8414 §3.3"""
    issuer.metadata["issuer"] = issuer.url + suffix

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(token(issuer, signing_key, pki)) == "issuer_unavailable"

    gated(issuer, events, pki, scenario, origin=Discovery())
    assert issuer.count(JWKS_PATH) == 0


LOCATIONS = ["https://evil.example/jwks", "file:///etc/passwd", "http://169.254.169.254/latest", "/other"]


@pytest.mark.parametrize(
    "faults",
    [{path: redirect(to) for path in paths} for paths in ([JWKS_PATH], METADATA_PATHS) for to in LOCATIONS],
)
def test_redirects_are_not_followed(
    faults: dict[str, Any], issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 8725 §3.10"""
    issuer.answers.update(faults)

    async def scenario(gate: Gate) -> None:
        assert await gate.answer(token(issuer, signing_key, pki)) == "issuer_unavailable"

    gated(issuer, events, pki, scenario, origin=Discovery())
    assert events.results[0] == "status"
    assert {request.path for request in issuer.requests} <= {JWKS_PATH, *METADATA_PATHS}


def test_token_chooses_among_configured_issuers_and_brings_none(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki
) -> None:
    """RFC 8725 §3.10: `iss`, `jku`, `x5u` and `kid` of a token make nobody fetch anything."""
    with ScriptedIssuer(keys=[key := SigningKey.create("ES256", "evil")]) as evil:

        async def scenario(gate: Gate) -> None:
            assert await gate.answer(key.token(pki.client, iss=evil.url)) == "issuer_unknown"
            header = {"jku": evil.jwks_url, "x5u": evil.jwks_url, "kid": evil.jwks_url}
            assert await gate.answer(key.token(pki.client, header, iss=issuer.url)) == "key_unknown"

        gated(issuer, events, pki, scenario)
        assert evil.requests == []


def test_keys_of_one_issuer_verify_no_token_of_another(
    issuer: ScriptedIssuer, events: IssuerEvents, pki: Pki, signing_key: SigningKey
) -> None:
    with ScriptedIssuer(keys=[other_key := SigningKey.create("ES256", "other")]) as other:

        async def run() -> None:
            settings = IssuersSettings((issuer_settings(issuer), issuer_settings(other)))
            async with Issuers(settings, events) as issuers:
                await until(lambda: issuers.readiness().is_ready)
                policies: list[IssuerPolicy] = [issuer_policy(one.url) for one in (issuer, other)]
                gate = Gate(issuers, policies, pki.client)
                assert await gate.answer(token(issuer, signing_key, pki)) == PERMITTED
                assert await gate.answer(token(other, other_key, pki)) == PERMITTED
                assert await gate.answer(token(other, signing_key, pki)) == "key_unknown"
                stolen_name = signing_key.with_kid("other")
                assert await gate.answer(token(other, stolen_name, pki)) == "signature_invalid"

        asyncio.run(run())
    assert INTROSPECTION_PATH not in {request.path for request in issuer.requests + other.requests}
