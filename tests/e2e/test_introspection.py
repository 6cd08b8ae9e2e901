"""Opaque tokens on real parts: the sidecar asks npm `oidc-provider` about them (RFC 7662), in every way it may say who
it is itself, and enforces the binding that the answer names."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.trust import sidecar_trusting
from tests.real.clients import Curl
from tests.real.provider import OidcProvider
from tests.real.upstreams import Upstream
from tests.support.pki import Identity, private_key_pem

pytestmark = pytest.mark.real


def client_authentication(provider: OidcProvider, client_id: str, folder: Path) -> dict[str, object]:
    """The sidecar's own credentials at the provider, written into its configuration folder."""
    client = provider.clients[client_id]
    document: dict[str, object] = {"method": client.method}
    if client.secret is not None:
        document["client_secret_file"] = private_file(folder, "secret", client.secret.encode())
    elif client.assertion_key is not None:
        key = private_key_pem(client.assertion_key.key)
        document |= {"key_file": private_file(folder, "assertion.key", key), "algorithm": "ES256"}
    else:
        document |= written_identity(client.identity, folder)
    return document


def private_file(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def written_identity(identity: Identity | None, folder: Path) -> dict[str, object]:
    assert identity is not None
    files = identity.write(folder, "introspection")
    return {"certificate_file": str(files.certificate), "private_key_file": str(files.private_key)}


@pytest.mark.parametrize("client_id", ["basic", "post", "assertion", "client-2", "self-signed"])
def test_opaque_token_is_introspected_with_each_client_authentication(
    tmp_path: Path, flask_upstream: Upstream, oidc_provider: OidcProvider, curl: Curl, client_id: str
) -> None:
    introspection = {
        "when": "opaque",
        "client_id": client_id,
        "client_authentication": client_authentication(oidc_provider, client_id, tmp_path),
        "inactive_lifetime": "0s",
        "active_lifetime": "0s",
    }
    token = oidc_provider.token("client-1", "opaque")
    thief = replace(curl, identity=oidc_provider.pki.other_client)
    with sidecar_trusting(
        oidc_provider, tmp_path / "sidecar", flask_upstream, introspection=introspection
    ) as sidecar:
        answer = curl(f"{sidecar.url}/accounts/1", token=token)
        assert (answer.status, answer.json().get("reason")) == (200, None)
        assert answer.json()["environ"]["HTTP_X_AUTH_CLIENT"] == "client-1"
        stolen = thief(f"{sidecar.url}/accounts/1", token=token)
        assert (stolen.status, stolen.json()["reason"]) == (401, "binding_mismatch")
        oidc_provider.revoke("client-1", token)
        revoked = curl(f"{sidecar.url}/accounts/1", token=token)
        assert (revoked.status, revoked.json()["reason"]) == (401, "token_inactive")


def test_opaque_token_is_introspected_by_a_signed_response(
    tmp_path: Path, flask_upstream: Upstream, oidc_provider: OidcProvider, curl: Curl
) -> None:
    """RFC 9701"""
    introspection = {
        "when": "opaque",
        "client_id": "basic",
        "client_authentication": client_authentication(oidc_provider, "basic", tmp_path),
        "signed": {"algorithms": ["ES256"]},
    }
    thief = replace(curl, identity=oidc_provider.pki.other_client)
    token = oidc_provider.token("client-1", "opaque")
    with sidecar_trusting(
        oidc_provider, tmp_path / "sidecar", flask_upstream, introspection=introspection
    ) as sidecar:
        answer = curl(f"{sidecar.url}/accounts/1", token=token)
        assert (answer.status, answer.json().get("reason")) == (200, None)
        stolen = thief(f"{sidecar.url}/accounts/1", token=token)
        assert (stolen.status, stolen.json()["reason"]) == (401, "binding_mismatch")
        unknown = curl(f"{sidecar.url}/accounts/1", token="no-token-of-anybody")
        assert (unknown.status, unknown.json()["reason"]) == (401, "token_inactive")


def test_issuer_that_answers_400_to_a_jwt_says_nothing_about_it(
    tmp_path: Path, flask_upstream: Upstream, oidc_provider: OidcProvider, curl: Curl
) -> None:
    """oidc-provider refuses to introspect JWTs. With `when: always` that is a 503: never a pass, never a 401."""
    introspection = {
        "when": "always",
        "client_id": "basic",
        "client_authentication": client_authentication(oidc_provider, "basic", tmp_path),
    }
    before = flask_upstream.count()
    with sidecar_trusting(
        oidc_provider, tmp_path / "sidecar", flask_upstream, introspection=introspection
    ) as sidecar:
        answer = curl(f"{sidecar.url}/accounts/1", token=oidc_provider.token("client-1"))
    assert (answer.status, answer.json()["reason"]) == (503, "issuer_unavailable")
    assert "retry-after" in answer.headers.lower()
    assert flask_upstream.count() == before
