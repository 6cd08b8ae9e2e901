"""RFC 8705 whole, on real parts: a client authenticates by its certificate at a token endpoint that cannot do mutual
TLS, gets a token that is bound to it, and reaches the API with it; a thief gets nowhere at either.
"""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.process.world import get
from tests.real.fronted import FrontedProvider, api, in_front, token_request
from tests.real.upstreams import Upstream
from tests.support.client_files import jwk
from tests.support.issuer import ScriptedIssuer
from tests.support.pki import Identity, Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar
from tests.support.tls_client import Response

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, provider: FrontedProvider) -> Iterator[Sidecar]:
    with in_front(tmp_path_factory.mktemp("front"), provider) as running:
        yield running


@pytest.fixture(scope="module")
def protected(
    tmp_path_factory: pytest.TempPathFactory, provider: FrontedProvider, flask_upstream: Upstream
) -> Iterator[Sidecar]:
    with api(tmp_path_factory.mktemp("api"), provider, flask_upstream.url) as running:
        yield running


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def reaches(one: Sidecar, identity: Identity, token: str) -> int:
    with one.connect(identity) as wire:
        fields = {"Host": "localhost", "Authorization": f"Bearer {token}"}
        return wire.request("GET", "/accounts/1", fields).status


def recorded(
    one: Sidecar, client_id: str, identity: Identity, token_format: str = "ES256"
) -> tuple[Response, dict[str, Any]]:
    """What the client got, and the record of its request."""
    trace = uuid.uuid4().hex
    fields = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = token_request(one, client_id, identity, token_format, headers=fields)

    def record() -> list[dict[str, Any]]:
        return [line for line in one.access_log() if line["trace_id"] == trace]

    eventually(lambda: bool(record()), what="the record")
    return answer, record()[0]


def test_client_gets_a_bound_token_and_reaches_the_api_and_a_thief_neither(
    front: Sidecar, protected: Sidecar, pki: Pki, flask_upstream: Upstream
) -> None:
    granted = token_request(front, "client-1", pki.client)
    assert granted.status == 200, granted.body
    token = granted.json()["access_token"]
    assert claims(token)["cnf"] == {"x5t#S256": pki.client.thumbprint}
    assert reaches(protected, pki.client, token) == 200
    before = flask_upstream.count()
    assert reaches(protected, pki.other_client, token) == 401
    assert flask_upstream.count() == before
    for thief in (pki.other_client, pki.stranger, None):
        refused = token_request(front, "client-1", thief)
        assert (refused.status, refused.json()["error"]) == (400, "invalid_client")


def test_self_signed_certificate_binds_as_well(front: Sidecar, pki: Pki) -> None:
    granted = token_request(front, "lone", pki.self_signed_client)
    assert claims(granted.json()["access_token"])["cnf"] == {"x5t#S256": pki.self_signed_client.thumbprint}
    assert token_request(front, "lone", pki.client).status == 400


@pytest.mark.parametrize("client_id", ["basic", "post", "assertion"])
def test_translated_client_gets_a_bound_token_too(
    client_id: str, front: Sidecar, protected: Sidecar, pki: Pki
) -> None:
    for _ in range(2):  # an assertion is good for once
        granted = token_request(front, client_id, pki.client)
        assert granted.status == 200, granted.body
        assert reaches(protected, pki.client, granted.json()["access_token"]) == 200


def test_client_of_the_server_s_own_gets_its_token_and_no_certificate(front: Sidecar, pki: Pki) -> None:
    pair = base64.b64encode(b"old:old+s%2Bcret%25").decode()
    refused = token_request(front, "old", pki.client, headers={"Authorization": f"Basic {pair}"})
    assert refused.json()["error"] == "invalid_grant", (
        "its tokens must be bound, and the server sees no certificate"
    )


def test_forged_field_of_a_client_never_arrives(front: Sidecar, pki: Pki) -> None:
    forged = {"Client-Cert": f":{base64.b64encode(pki.client.der).decode()}:", "X-Client-Verified": "SUCCESS"}
    assert token_request(front, "client-1", pki.other_client, headers=forged).status == 400
    pair = base64.b64encode(b"old:old+s%2Bcret%25").decode()
    refused = token_request(front, "old", pki.client, headers={"Authorization": f"Basic {pair}", **forged})
    assert refused.json()["error"] == "invalid_grant"


def test_record_says_who_was_authenticated_by_what_and_what_was_issued(front: Sidecar, pki: Pki) -> None:
    _, record = recorded(front, "client-1", pki.client)
    assert (record["rule"], record["outcome"]) == ("authorization_server.token", "permit")
    assert (record["client_id"], record["client_method"]) == ("client-1", "tls_client_auth")
    assert (record["client_matched"], record["issued_token"]) == ("san_dns=client-1.example", "bound")
    _, record = recorded(front, "client-1", pki.other_client)
    assert (record["reason"], record["client_id"]) == ("client_certificate_mismatch", "client-1")


def test_admin_server_counts_what_was_issued(front: Sidecar, pki: Pki) -> None:
    token_request(front, "client-1", pki.client)
    state = json.loads(get(f"{front.admin_url}/state", **front.admin_headers)[1])
    assert dict(state["counts"]["issued"])["bound"] >= 1
    server = state["authorization_server"]
    assert (server["issuer"], server["endpoints"]["token"]) == (f"https://localhost:{front.port}", "/token")
    assert server["clients"] == {"tls_client_auth": 5, "self_signed_tls_client_auth": 1, "other": 1}
    entries = json.loads(get(f"{front.admin_url}/decisions", **front.admin_headers)[1])["entries"]
    steps = [one["steps"] for one in entries if one.get("client_id") == "client-1"][-1]
    assert [one["check"] for one in steps] == ["client", "issued token"]


def test_auditor_catches_a_server_that_lost_the_binding(front: Sidecar, pki: Pki) -> None:
    granted, record = recorded(front, "forgetful", pki.client)
    assert "cnf" not in claims(granted.json()["access_token"])
    assert record["issued_token"] == "unbound"


def test_auditor_catches_a_server_that_hashed_the_text_of_the_field(
    front: Sidecar, provider: FrontedProvider, pki: Pki
) -> None:
    with provider.hashing("as_it_stands"):
        granted, record = recorded(front, "client-1", pki.client)
    assert granted.status == 200, "the server itself sees nothing wrong"
    assert record["issued_token"] == "mismatch"
    assert "the header field that told of the certificate, as it stands" in record["issued_token_detail"]


def test_opaque_token_is_audited_by_introspection(front: Sidecar, pki: Pki) -> None:
    for client_id, verdict in (("client-1", "bound"), ("forgetful", "unbound")):
        granted, record = recorded(front, client_id, pki.client, "opaque")
        assert (granted.status, record["issued_token"]) == (200, verdict)


def test_where_the_audit_refuses_a_token_of_the_wrong_kind_is_not_given_and_revoked(
    tmp_path: Path, pki: Pki
) -> None:
    with (
        FrontedProvider(tmp_path / "server", pki) as provider,
        in_front(tmp_path / "front", provider, audit_binding="refuse") as front,
    ):
        assert token_request(front, "client-1", pki.client).status == 200
        refused, record = recorded(front, "forgetful", pki.client, "opaque")
        assert (refused.status, refused.json()["error"]) == (502, "server_error")
        assert (record["reason"], record["issued_token"]) == ("issued_token_unbound", "unbound")

        def revoked() -> bool:
            incidents = [one for one in front.records() if one.get("event") == "incident"]
            return any(one["name"] == "token_revoked" for one in incidents)

        eventually(revoked, what="the token is revoked")


@pytest.mark.parametrize(
    "path", ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
)
def test_metadata_names_the_endpoints_and_methods_of_mutual_tls(path: str, front: Sidecar) -> None:
    with front.connect() as wire:
        answer = wire.request("GET", path, {"Host": "another.example"})
    if answer.status == 404:
        assert path.endswith("server")  # oidc-provider has the one of OpenID alone
        return
    document = answer.json()
    origin = f"https://localhost:{front.port}"
    assert (document["issuer"], document["token_endpoint"]) == (origin, f"{origin}/token")
    assert document["mtls_endpoint_aliases"]["token_endpoint"] == f"{origin}/token"
    assert {"tls_client_auth", "self_signed_tls_client_auth"} <= {
        *document["token_endpoint_auth_methods_supported"]
    }
    assert document["tls_client_certificate_bound_access_tokens"] is True


@pytest.mark.parametrize("path", ["/TOKEN", "/token/", "//token"])
def test_spelling_that_the_server_would_take_for_its_endpoint_is_not_found(
    path: str, front: Sidecar, pki: Pki
) -> None:
    with front.connect(pki.client) as wire:
        fields = {"Host": "localhost", "Content-Type": "application/x-www-form-urlencoded"}
        assert wire.request("POST", path, fields, b"client_id=client-1").status == 404


def test_certificate_that_a_client_publishes_counts_once_it_is_there_and_after_a_reload(
    tmp_path: Path, pki: Pki
) -> None:
    with (
        ScriptedIssuer([jwk(pki.other_client)], certificate=pki.server) as publisher,
        FrontedProvider(tmp_path / "server", pki) as provider,
    ):
        front = in_front(tmp_path / "front", provider, clients_ca_file="clients/server-ca.pem")
        clients = front.folder / "clients"
        (clients / "server-ca.pem").write_bytes(pki.server_authority.pem)
        method = {"method": "self_signed_tls_client_auth", "jwks_url": publisher.jwks_url}
        (clients / "clients.yaml").write_text(yaml.safe_dump({"clients": [{"client_id": "lone", **method}]}))

        def granted() -> bool:
            return token_request(front, "lone", pki.self_signed_client).status == 200

        with front:
            assert not granted(), "the certificate is not published"
            publisher.keys.append(jwk(pki.self_signed_client))
            eventually(granted, what="it is published, and fetched")
            more = [{"client_id": "lone", **method}, {"client_id": "old", "method": "other"}]
            (clients / "clients.yaml").write_text(yaml.safe_dump({"clients": more}))
            eventually(lambda: reloaded(front), what="the reload")
            assert granted(), "what was known counts on"


def reloaded(one: Sidecar) -> bool:
    return any(line.get("event") == "configuration reloaded" for line in one.records())
