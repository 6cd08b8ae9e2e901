"""In front of Debian's glewlwyd: it reads the certificate from a field and compares the name itself."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.e2e.test_authorization_server import claims
from tests.real.glewlwyd import FIELD, Glewlwyd, in_front_of
from tests.support.pki import Authority, Identity, Pki, Profile, certificate_pem, subject_alternative_names
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar
from tests.support.tls_client import Response

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]  # the first may have to install it


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Sidecar]:
    with (
        Glewlwyd(tmp_path_factory.mktemp("glewlwyd"), pki) as server,
        in_front_of(tmp_path_factory.mktemp("front"), server) as running,
    ):
        yield running


def asked(
    one: Sidecar, client_id: str, identity: Identity | None, path: str = "/api/oidc/token", **more: str
) -> Response:
    form = {"grant_type": "client_credentials", "scope": "accounts:read", "client_id": client_id, **more}
    fields = {"Host": f"localhost:{one.port}", "Content-Type": "application/x-www-form-urlencoded"}
    with one.connect(identity) as wire:
        return wire.request("POST", path, fields, urlencode(form).encode())


@pytest.mark.parametrize(("client_id", "who"), [("client-1", "client"), ("lone", "self_signed_client")])
def test_client_gets_a_token_that_is_bound_to_its_certificate(
    client_id: str, who: str, front: Sidecar, pki: Pki
) -> None:
    identity = getattr(pki, who)
    granted = asked(front, client_id, identity)
    assert granted.status == 200, granted.body
    assert claims(granted.json()["access_token"])["cnf"] == {"x5t#S256": identity.thumbprint}


def test_translated_client_gets_a_token_and_the_auditor_says_that_it_is_not_bound(
    front: Sidecar, pki: Pki
) -> None:
    """It binds tokens to certificates that it was shown to authenticate a client, and to no others."""
    granted = asked(front, "basic", pki.client)
    assert "cnf" not in claims(granted.json()["access_token"])

    def verdicts() -> list[str | None]:
        return [line.get("issued_token") for line in front.access_log() if line.get("client_id") == "basic"]

    eventually(lambda: bool(verdicts()), what="the record")
    assert verdicts() == ["unbound"]


@pytest.mark.parametrize("who", ["other_client", "stranger", "self_signed_client", None])
def test_thief_gets_nothing(who: str | None, front: Sidecar, pki: Pki) -> None:
    refused = asked(front, "client-1", getattr(pki, who) if who else None)
    assert (refused.status, refused.json()["error"]) == (400, "invalid_client")


def test_certificate_of_another_authority_with_the_same_name_would_pass_the_server_and_does_not_pass_us(
    front: Sidecar, pki: Pki
) -> None:
    names = tuple(subject_alternative_names(dns=["client-1.example"]))
    twin = Authority.root("another").issue(Profile("client-1", names=names))
    assert asked(front, "client-1", twin).status == 400


def test_forged_field_is_taken_out(front: Sidecar, pki: Pki) -> None:
    line = certificate_pem(pki.client.certificate).decode().strip().replace("\n", " ")
    fields = {"Host": "localhost", "Content-Type": "application/x-www-form-urlencoded", FIELD: line}
    with front.connect(pki.other_client) as wire:
        form = b"grant_type=client_credentials&client_id=client-1"
        assert wire.request("POST", "/api/oidc/token", fields, form).status == 400


@pytest.mark.parametrize("path", ["//api//oidc//token", "/API/oidc/token", "/api/oidc/token/"])
def test_spelling_that_it_would_take_for_its_endpoint_is_not_found(
    path: str, front: Sidecar, pki: Pki
) -> None:
    assert asked(front, "client-1", pki.client, path).status == 404


def test_token_is_revoked_through_the_sidecar(front: Sidecar, pki: Pki) -> None:
    token = asked(front, "client-1", pki.client).json()["access_token"]
    path = "/api/oidc/introspect"
    assert asked(front, "client-1", pki.client, path, token=token).json()["active"] is True
    assert asked(front, "client-1", pki.client, "/api/oidc/revoke", token=token).status == 200
    assert asked(front, "client-1", pki.client, path, token=token).json()["active"] is False
