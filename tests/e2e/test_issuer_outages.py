"""What a client, a probe, a metric and the log say while an issuer is out of reach; and where to get a token at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.process.world import checks, figures, get
from tests.support.asking import active
from tests.support.issuer import INTROSPECTION_PATH, JWKS_PATH, ScriptedIssuer, answer, drop
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, policy
from tests.support.sidecar import issuer as issuer_section

PLAIN = {"insecure_plain_http_anyone_can_forge_keys": True}


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key]) as running:
        yield running


def section(issuer: ScriptedIssuer, **changes: object) -> dict[str, Any]:
    """Trusts a scripted issuer, whose keys are found by discovery."""
    document = issuer_section(issuer=issuer.url, http=PLAIN, keys={"jwks_file": None})
    return {**document, "keys": {"discovery": True, "cool_down": "200ms"}, **changes}


@contextmanager
def running(
    folder: Path, pki: Pki, *sections: dict[str, Any], service: dict[str, Any] | None = None
) -> Iterator[tuple[Sidecar, Recorder]]:
    with Recorder() as upstream:
        one = Sidecar(
            folder, pki, upstream.url, policy_document=policy(issuers=sections), service=service or {}
        )
        one.start_unready()  # some of these are never ready
        try:
            yield one, upstream
        finally:
            one.stop()


def is_ready(one: Sidecar) -> bool:
    return get(f"{one.health_url}/readyz")[0] == 200


def logged(one: Sidecar, event: str) -> dict[str, Any]:
    """The first line about `event`, waited for."""
    eventually(lambda: any(line.get("event") == event for line in one.records()), what=event)
    return next(line for line in one.records() if line.get("event") == event)


def test_keys_that_never_came_are_a_503_told_by_phase_and_end_when_they_come(
    tmp_path: Path, pki: Pki, issuer: ScriptedIssuer, signing_key: SigningKey
) -> None:
    issuer.answers[JWKS_PATH] = answer(status=502)
    token = signing_key.token(pki.client, iss=issuer.url)
    with running(tmp_path, pki, section(issuer)) as (one, upstream):
        with one.connect(pki.client) as wire:
            refused = wire.request("GET", "/accounts/1", token=token)
        assert refused.status == 503
        assert int(refused.header("Retry-After") or 0) >= 1
        assert refused.header("WWW-Authenticate") is None
        assert refused.json()["reason"] == "issuer_unavailable"
        assert token not in refused.body.decode()
        line = logged(one, "issuer keys not fetched")
        assert (line["phase"], line["detail"]) == ("status", "the answer is 502")
        assert not is_ready(one)
        held, detail = checks(one)[f"issuer keys {issuer.url}"]
        assert not held
        assert "status" in detail
        assert figures(one)[("sidecar_jwks_refresh_total", issuer.url, "status")] >= 1
        issuer.answers.clear()
        eventually(lambda: is_ready(one), what="the issuer is noticed to be back")
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/accounts/1", token=token).status == 200
        assert len(upstream.seen) == 1


def test_unusable_keys_are_named_in_the_log_and_counted(
    tmp_path: Path, pki: Pki, issuer: ScriptedIssuer
) -> None:
    issuer.keys.append({"kty": "oct", "k": "c2VjcmV0", "kid": "mac"})
    with running(tmp_path, pki, section(issuer)) as (one, _):
        eventually(lambda: is_ready(one))
        found = figures(one)
        assert found[("sidecar_jwks_keys", issuer.url)] == 1
        assert found[("sidecar_jwks_keys_skipped", issuer.url, "symmetric")] == 1
        line = logged(one, "issuer key skipped")
        assert (line["key"], line["reason"]) == ("mac", "symmetric")
        assert "c2VjcmV0" not in one.log.read_text() + one.output.read_text()


def test_failed_introspection_is_a_503_and_remembered_answers_go_on(
    tmp_path: Path, pki: Pki, issuer: ScriptedIssuer
) -> None:
    secret = tmp_path / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text("password-of-the-api")
    introspection = {
        "when": "opaque",
        "client_id": "api",
        "client_authentication": {"method": "client_secret_basic", "client_secret_file": str(secret)},
    }
    issuer.tokens["opaque-1"] = active(issuer, pki.client)
    with running(tmp_path / "sidecar", pki, section(issuer, introspection=introspection)) as (one, upstream):
        eventually(lambda: is_ready(one))
        with one.connect(pki.client) as wire:
            assert wire.request("GET", "/accounts/1", token="opaque-1").status == 200
            issuer.answers[INTROSPECTION_PATH] = drop()
            assert wire.request("GET", "/accounts/1", token="opaque-1").status == 200
            refused = wire.request("GET", "/accounts/1", token="opaque-2")
        assert refused.status == 503
        assert refused.header("Retry-After") is not None
        assert len(upstream.seen) == 2
        assert figures(one)[("sidecar_introspection_total", issuer.url, "connect")] == 1
        written = one.log.read_text() + one.output.read_text()
        for hidden in ("opaque-1", "opaque-2", "password-of-the-api"):
            assert hidden not in written


def test_metadata_of_the_protected_resource_is_served_and_named_in_challenges(
    tmp_path: Path, pki: Pki, issuer: ScriptedIssuer
) -> None:
    """RFC 9728 §3 and §5.1"""
    service = {"protected_resource": {"resource": "https://api.example.com/v1"}}
    path = "/.well-known/oauth-protected-resource/v1"
    with (
        running(tmp_path, pki, section(issuer), service=service) as (one, upstream),
        one.connect(pki.client) as wire,
    ):
        document = wire.request("GET", path)
        assert document.status == 200
        assert document.header("Content-Type") == "application/json"
        assert json.loads(document.body) == {
            "resource": "https://api.example.com/v1",
            "authorization_servers": [issuer.url],
            "scopes_supported": ["accounts:read"],
            "bearer_methods_supported": ["header"],
            "tls_client_certificate_bound_access_tokens": True,
        }
        refused = wire.request("GET", "/accounts/1")
        assert f'resource_metadata="https://api.example.com{path}"' in (
            refused.header("WWW-Authenticate") or ""
        )
        assert upstream.seen == []


def test_metadata_is_not_served_unless_it_is_asked_for(
    tmp_path: Path, pki: Pki, issuer: ScriptedIssuer
) -> None:
    with running(tmp_path, pki, section(issuer)) as (one, _), one.connect(pki.client) as wire:
        refused = wire.request("GET", "/.well-known/oauth-protected-resource")
        assert refused.status == 401
        assert "resource_metadata" not in (refused.header("WWW-Authenticate") or "")
