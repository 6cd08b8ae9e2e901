"""RFC 8705 whole, over HTTP/2 at both ends that the sidecar has: token endpoint and API, by httpx, curl and Node, in
front of a server that knows neither HTTP/2 nor mutual TLS.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.real.clients import Curl, node_http2
from tests.real.fronted import FrontedProvider, api, both_protocols, credentials_form, in_front
from tests.real.upstreams import Upstream
from tests.support.pki import Identity, Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar
from tests.support.tls_client import client_context

pytestmark = pytest.mark.real

TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, provider: FrontedProvider) -> Iterator[Sidecar]:
    with both_protocols(in_front(tmp_path_factory.mktemp("front"), provider)) as running:
        yield running


@pytest.fixture(scope="module")
def protected(
    tmp_path_factory: pytest.TempPathFactory, provider: FrontedProvider, flask_upstream: Upstream
) -> Iterator[Sidecar]:
    made = api(tmp_path_factory.mktemp("api"), provider, flask_upstream.url)
    with both_protocols(made) as running:
        yield running


def client(one: Sidecar, pki: Pki, identity: Identity | None) -> httpx.Client:
    """Speaks nothing but HTTP/2."""
    return httpx.Client(
        base_url=f"https://localhost:{one.port}",
        verify=client_context(identity, pki.server_authority.certificate),
        http2=True,
        http1=False,
        trust_env=False,
        timeout=60,
    )


def token(one: Sidecar, pki: Pki, identity: Identity | None, client_id: str = "client-1") -> httpx.Response:
    with client(one, pki, identity) as speaking:
        answer = speaking.post("/token", data=credentials_form(client_id))
    assert answer.http_version == "HTTP/2"
    return answer


def reaches(one: Sidecar, pki: Pki, identity: Identity | None, bearer: str) -> httpx.Response:
    with client(one, pki, identity) as speaking:
        answer = speaking.get("/accounts/1", headers={"Authorization": f"Bearer {bearer}"})
    assert answer.http_version == "HTTP/2"
    return answer


@pytest.mark.parametrize("client_id", ["client-1", "basic", "post", "assertion"])
def test_client_gets_a_bound_token_and_reaches_the_api_and_a_thief_neither(
    front: Sidecar, protected: Sidecar, pki: Pki, flask_upstream: Upstream, client_id: str
) -> None:
    """With the certificate in a field alone, and with each translation."""
    granted = token(front, pki, pki.client, client_id)
    assert granted.status_code == 200, granted.text
    bearer = granted.json()["access_token"]
    assert reaches(protected, pki, pki.client, bearer).status_code == 200
    before = flask_upstream.count()
    stolen = reaches(protected, pki, pki.other_client, bearer)
    assert (stolen.status_code, stolen.json()["reason"]) == (401, "binding_mismatch")
    assert reaches(protected, pki, None, bearer).json()["reason"] == "certificate_missing"
    assert flask_upstream.count() == before
    for thief in (pki.other_client, pki.stranger, None):
        refused = token(front, pki, thief, client_id)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client")


def test_record_says_that_it_was_http_2_who_it_was_and_that_the_token_is_bound(
    front: Sidecar, pki: Pki
) -> None:
    token(front, pki, pki.self_signed_client, "lone")

    def records() -> list[dict[str, Any]]:
        """Of what it was granted: another test is refused under this name."""
        lines = front.access_log()
        return [line for line in lines if (line.get("client_id"), line["outcome"]) == ("lone", "permit")]

    eventually(lambda: bool(records()), what="the record")
    record = records()[0]
    thumbprint = f"x5t#S256={pki.self_signed_client.thumbprint}"
    assert (record["protocol"], record["client_matched"], record["issued_token"]) == (
        "h2",
        thumbprint,
        "bound",
    )


def test_curl_does_so_too(front: Sidecar, protected: Sidecar, pki: Pki, curl: Curl) -> None:
    form = urlencode(credentials_form("client-1"))
    granted = curl(f"{front.url}/token", "--http2", "--data", form)
    assert granted.headers.startswith("HTTP/2 200"), granted.headers
    bearer = granted.json()["access_token"]
    answer = curl(f"{protected.url}/accounts/1", "--http2", token=bearer)
    assert answer.headers.startswith("HTTP/2 200")
    thief = replace(curl, identity=pki.other_client)
    assert thief(f"{front.url}/token", "--http2", "--data", form).json()["error"] == "invalid_client"
    assert (
        thief(f"{protected.url}/accounts/1", "--http2", token=bearer).json()["reason"] == "binding_mismatch"
    )


def test_many_token_requests_at_once_on_one_connection_are_each_their_own(front: Sidecar, pki: Pki) -> None:
    """Node sends all of them before any answer: forms, clients and answers do not mix."""
    clients = ["client-1", "nobody", "basic", "client-1", "post", "lone", "assertion", "forgetful"]
    requests: list[dict[str, Any]] = [
        {"method": "POST", "path": "/token", "headers": TYPE, "body": urlencode(credentials_form(one))}
        for one in clients
    ]
    answers = node_http2(f"https://localhost:{front.port}", pki, pki.client, requests)
    assert [one["status"] for one in answers] == [
        400 if one in {"nobody", "lone"} else 200 for one in clients
    ]
