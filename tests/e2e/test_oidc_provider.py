"""The main job on real parts: tokens that npm `oidc-provider` bound to a client's certificate, through the sidecar,
to a Flask app under gunicorn, with curl and httpx."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.trust import sidecar_trusting
from tests.real.clients import Curl, httpx_client
from tests.real.provider import OidcProvider
from tests.real.upstreams import Upstream
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.real

ALGORITHMS = ["ES256", "PS256"]


@pytest.fixture(scope="module")
def sidecar(
    tmp_path_factory: pytest.TempPathFactory, flask_upstream: Upstream, oidc_provider: OidcProvider
) -> Iterator[Sidecar]:
    with sidecar_trusting(oidc_provider, tmp_path_factory.mktemp("sidecar"), flask_upstream) as running:
        yield running


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "EdDSA", "Ed25519"])
def test_curl_with_its_own_bound_token_reaches_the_api(
    sidecar: Sidecar, oidc_provider: OidcProvider, curl: Curl, algorithm: str
) -> None:
    token = oidc_provider.token("client-1", algorithm)
    answer = curl(f"{sidecar.url}/accounts/1?a=b", "--data", "amount=1", token=token)
    assert (answer.code, answer.status) == (0, 200), answer.errors
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["body"]["text"]) == ("POST", "/accounts/1?a=b", "amount=1")
    assert seen["environ"]["HTTP_X_AUTH_CLIENT"] == "client-1"
    assert seen["environ"]["HTTP_X_AUTH_SCOPE"] == "accounts:read"
    assert "HTTP_AUTHORIZATION" not in seen["environ"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_httpx_with_its_own_bound_token_reaches_the_api(
    sidecar: Sidecar, oidc_provider: OidcProvider, pki: Pki, algorithm: str
) -> None:
    token = oidc_provider.token("client-1", algorithm)
    with httpx_client(sidecar.url, pki.server_authority.certificate, pki.client, token) as client:
        for number in range(3):
            answer = client.put(f"/accounts/{number}", json={"number": number})
            assert answer.status_code == 200
            assert answer.json()["body"]["text"] == f'{{"number":{number}}}'


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_stolen_by_another_client_is_refused_and_never_arrives(
    sidecar: Sidecar, oidc_provider: OidcProvider, flask_upstream: Upstream, curl: Curl, algorithm: str
) -> None:
    before = flask_upstream.count()
    thief = replace(curl, identity=oidc_provider.pki.other_client)
    answer = thief(f"{sidecar.url}/accounts/1", token=oidc_provider.token("client-1", algorithm))
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers
    assert answer.json()["reason"] == "binding_mismatch"
    assert flask_upstream.count() == before


def test_bound_token_without_a_certificate_is_refused(
    sidecar: Sidecar, oidc_provider: OidcProvider, pki: Pki
) -> None:
    token = oidc_provider.token("client-1")
    with httpx_client(sidecar.url, pki.server_authority.certificate, None, token) as client:
        answer = client.get("/accounts/1")
    assert (answer.status_code, answer.json()["reason"]) == (401, "certificate_missing")


def test_client_that_authenticates_by_a_self_signed_certificate_is_served(
    sidecar: Sidecar, oidc_provider: OidcProvider, curl: Curl
) -> None:
    lone = replace(curl, identity=oidc_provider.clients["self-signed"].identity)
    answer = lone(f"{sidecar.url}/accounts/1", token=oidc_provider.token("self-signed"))
    assert answer.json()["environ"]["HTTP_X_AUTH_CLIENT"] == "self-signed"


def test_unbound_token_is_refused_where_binding_is_required(
    sidecar: Sidecar, oidc_provider: OidcProvider, curl: Curl
) -> None:
    answer = curl(f"{sidecar.url}/accounts/1", token=oidc_provider.token("unbound"))
    assert (answer.status, answer.json()["reason"]) == (401, "binding_missing")


def test_token_without_the_scope_is_told_which_one_it_needs(
    sidecar: Sidecar, oidc_provider: OidcProvider, curl: Curl
) -> None:
    token = oidc_provider.token("client-1", scope="accounts:write")
    answer = curl(f"{sidecar.url}/accounts/1", token=token)
    assert answer.status == 403
    assert 'error="insufficient_scope"' in answer.headers
    assert 'scope="accounts:read"' in answer.headers


def test_public_rule_needs_neither_token_nor_certificate(sidecar: Sidecar, pki: Pki) -> None:
    with httpx_client(sidecar.url, pki.server_authority.certificate, None, None) as client:
        assert client.get("/public/page").status_code == 200
        refused = client.get("/accounts/1")
    assert refused.status_code == 401
    assert "error=" not in refused.headers["www-authenticate"]


def test_forged_identity_headers_never_reach_wsgi(
    sidecar: Sidecar, oidc_provider: OidcProvider, curl: Curl
) -> None:
    forged = ["X-Auth-Subject: mallory", "X_Auth_Subject: mallory", "x-auth_subject: mallory"]
    arguments = [part for header in forged for part in ("--header", header)]
    answer = curl(f"{sidecar.url}/accounts/1", *arguments, token=oidc_provider.token("client-1"))
    assert answer.json()["environ"]["HTTP_X_AUTH_SUBJECT"] == "client-1"


def test_key_rotation_at_the_provider_breaks_no_client(
    tmp_path: Path, pki: Pki, flask_upstream: Upstream, curl: Curl
) -> None:
    with (
        OidcProvider(tmp_path / "provider", pki) as provider,
        sidecar_trusting(provider, tmp_path / "sidecar", flask_upstream) as sidecar,
    ):

        def status(token: str) -> int:
            return curl(f"{sidecar.url}/accounts/1", token=token).status

        old = provider.token("client-1")
        assert status(old) == 200
        provider.rotate(keep_old=True)
        assert status(provider.token("client-1")) == 200
        assert status(old) == 200
        provider.rotate()
        new = provider.token("client-1")
        eventually(lambda: status(new) == 200, what="a token under the new key passes")
        assert status(old) == 401, "the old key left the key set"
