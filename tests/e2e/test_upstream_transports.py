"""APIs on a Unix socket and behind TLS of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import upstreams
from tests.support.mint import SigningKey
from tests.support.pki import Authority, Pki, Profile, certificate_pem
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tls_upstream(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[str]:
    """An API that answers only to certificates of the clients' authority."""
    folder = tmp_path_factory.mktemp("tls-upstream")
    with upstreams.nginx_behind_tls(folder, pki.server, pki.client_authority) as port:
        yield f"https://localhost:{port}"


def upstream_tls(folder: Path, pki: Pki, trust: Authority, *, own: bool = True) -> dict[str, str]:
    """`upstream.tls`, with its files: whom to trust and, with `own`, the sidecar's certificate."""
    authority = folder / "upstream-ca.crt"
    authority.write_bytes(certificate_pem(trust.certificate))
    files = pki.client_authority.issue(Profile("sidecar")).write(folder, "sidecar")
    section = {"ca_file": str(authority)}
    if own:
        section |= {"certificate_file": str(files.certificate), "private_key_file": str(files.private_key)}
    return section


def sidecar_to(
    url: str, folder: Path, pki: Pki, key: SigningKey, tls: dict[str, str] | None = None
) -> Sidecar:
    upstream = {"tls": tls} if tls else {}
    return Sidecar(folder / "sidecar", pki, url, keys=[key], service={"upstream": upstream})


def test_api_on_a_unix_socket_is_served(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with (
        upstreams.flask_on_a_socket(tmp_path) as path,
        sidecar_to(f"unix://{path}", tmp_path, pki, signing_key) as sidecar,
        sidecar.connect(pki.client) as wire,
    ):
        for body in [b"one", b"two" * 100_000]:
            answer = wire.request("POST", "/accounts/1", body=body, token=signing_key.token(pki.client))
            assert answer.json()["body"]["size"] == len(body)


def test_api_behind_tls_sees_the_certificate_of_the_sidecar(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, tls_upstream: str
) -> None:
    tls = upstream_tls(tmp_path, pki, pki.server_authority)
    with (
        sidecar_to(tls_upstream, tmp_path, pki, signing_key, tls) as sidecar,
        sidecar.connect(pki.client) as wire,
    ):
        token = signing_key.token(pki.client)
        answers = [wire.request(target="/accounts/1", token=token).json() for _ in range(3)]
    assert {answer["caller"] for answer in answers} == {"CN=sidecar"}
    assert {answer["asked_for"] for answer in answers} == {"localhost"}
    assert [answer["reused"] for answer in answers] == ["1", "2", "3"], "one connection carries them all"


def test_api_that_the_sidecar_cannot_verify_gets_nothing(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, tls_upstream: str
) -> None:
    tls = upstream_tls(tmp_path, pki, Authority.root("another CA"))
    sidecar = sidecar_to(tls_upstream, tmp_path, pki, signing_key, tls)
    try:
        sidecar.start_unready()
        with sidecar.connect(pki.client) as wire:
            answer = wire.request(target="/accounts/1", token=signing_key.token(pki.client))
        assert (answer.status, answer.json()["reason"]) == (502, "upstream_refused")
    finally:
        assert sidecar.stop() == 0


def test_api_under_another_name_is_refused_unless_it_is_configured(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, tls_upstream: str
) -> None:
    """The certificate is for localhost and api.example.com."""
    tls = upstream_tls(tmp_path, pki, pki.server_authority) | {"server_name": "api.example.com"}
    with (
        sidecar_to(tls_upstream, tmp_path, pki, signing_key, tls) as sidecar,
        sidecar.connect(pki.client) as wire,
    ):
        answer = wire.request(target="/accounts/1", token=signing_key.token(pki.client))
        assert answer.json()["asked_for"] == "api.example.com"
    other = tls | {"server_name": "other.example.com"}
    (tmp_path / "other").mkdir()
    sidecar = sidecar_to(tls_upstream, tmp_path / "other", pki, signing_key, other)
    try:
        sidecar.start_unready()
        with sidecar.connect(pki.client) as wire:
            refused = wire.request(target="/accounts/1", token=signing_key.token(pki.client))
        assert refused.status == 502
    finally:
        assert sidecar.stop() == 0
