"""`explain`, policy cases and the admin page's question where a proxy tells the client's certificate (RFC 9440)."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.command.cli import main
from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from tests.support.configuration import SERVICE, Configuration
from tests.support.mint import SigningKey, jwks
from tests.support.pki import Identity, Pki, certificate_pem

POLICY = """\
issuers:
  - {issuer: https://as.example.com, audience: https://api.example.com, keys: {jwks_file: jwks.json}}
rules:
  - {name: read, match: {path: /accounts/7}}
"""
TOLD = """\
    client_certificate:
      source: header
      header: {format: rfc9440}
      proxies: [{network: 192.0.2.0/24}]
"""
Explain = Callable[..., dict[str, Any]]


@pytest.fixture
def explain(tmp_path: Path, pki: Pki, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]) -> Explain:
    """`sidecar explain` of a token bound to `pki.client`, with fields; `more` goes into `client_certificate`."""
    configuration = Configuration.create(tmp_path, pki)
    configuration.write_policy(POLICY)
    (tmp_path / "ca.crt").write_bytes(certificate_pem(pki.client_authority.certificate))
    (tmp_path / "policies" / "jwks.json").write_text(json.dumps(jwks(signing_key)))

    def explained(*fields: str, more: str = "", options: tuple[str, ...] = ()) -> dict[str, Any]:
        service = SERVICE.replace("upstream:", f"{TOLD}{more}upstream:")
        configuration.write_service(service)
        given = [part for field in fields for part in ("--header", field)]
        token = signing_key.token(pki.client)
        config = ["explain", "--config", str(configuration.file), "--token", token]
        main([*config, "--url", "/accounts/7", "--format", "json", *given, *options])
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return explained


def field(identity: Identity, form: CertificateFormat = CertificateFormat.RFC9440) -> str:
    return f"Client-Cert: {emit(form, FieldCertificates(identity.der))[0].decode()}"


def test_certificate_of_the_requests_own_field_counts(explain: Explain, pki: Pki) -> None:
    assert explain(field(pki.client))["permit"]
    assert explain(field(pki.other_client))["reason"] == "binding_mismatch"
    assert explain()["reason"] == "certificate_missing"


def test_certificate_that_is_named_stands_for_one_that_was_told(
    explain: Explain, pki: Pki, tmp_path: Path
) -> None:
    (tmp_path / "client.crt").write_bytes(pki.client.pem)
    assert explain(options=("--certificate", str(tmp_path / "client.crt")))["permit"]


def test_likely_mistake_of_a_field_is_named(explain: Explain, pki: Pki) -> None:
    mistakes = {
        field(pki.client, CertificateFormat.PEM_URLENCODED): "as nginx and AWS send",
        field(pki.client, CertificateFormat.XFCC): "Envoy's x-forwarded-client-cert",
        f"Client-Cert: {pki.client.thumbprint}": "not one Byte Sequence",
        f"Client-Cert: {b64encode(pki.client.der).decode()}": "as HAProxy and Traefik send",
    }
    for sent, mistake in mistakes.items():
        said = explain(sent)
        assert (said["reason"], said["status"]) == ("certificate_header_malformed", 400)
        assert mistake in said["steps"][0]["presented"]
        assert said["steps"][0]["clause"] == "RFC 9440 §2"


def test_chain_is_verified_as_on_the_listener(explain: Explain, pki: Pki) -> None:
    more = "      trust: ca\n      ca_file: ca.crt\n"
    assert explain(field(pki.client), more=more)["permit"]
    said = explain(field(pki.stranger), more=more)
    assert (said["reason"], said["status"]) == ("certificate_refused", 400)
    assert "unable to get local issuer" in said["steps"][0]["presented"]
