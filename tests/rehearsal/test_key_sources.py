"""Where an explanation takes keys from when the policy names an issuer to be asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.command.cli import main
from tests.support.configuration import Configuration
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.mint import AUDIENCE, SigningKey, claims_set
from tests.support.pki import Pki

POLICY = """\
issuers:
  - issuer: {url}
    audience: https://api.example.com
    keys: {{discovery: true}}
    http: {{ca_file: issuer-ca.crt}}
    introspection:
      when: opaque
      client_id: api
      client_authentication: {{method: client_secret_basic, client_secret_file: secret}}
rules:
  - name: read
    match: {{path: /accounts}}
"""


@pytest.fixture
def issuer(pki: Pki, signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer([signing_key], certificate=pki.server) as issuer:
        yield issuer


class Scene:
    """A configuration that trusts the scripted issuer."""

    def __init__(
        self, folder: Path, pki: Pki, issuer: ScriptedIssuer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.configuration = Configuration.create(folder, pki)
        policies = folder / "policies"
        (policies / "issuer-ca.crt").write_bytes(pki.server_authority.pem)
        (policies / "secret").write_text("s3cret")
        (policies / "secret").chmod(0o600)
        self.configuration.write_policy(POLICY.format(url=issuer.url))
        (folder / "client.crt").write_bytes(pki.client.pem)
        self._capsys = capsys

    def explain(self, token: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, the explanation, and what went to standard error."""
        certificate = str(self.configuration.folder / "client.crt")
        command = [
            "explain",
            "--config",
            str(self.configuration.file),
            "--url",
            "/accounts",
            "--format",
            "json",
        ]
        code = main([*command, "--token", token, "--certificate", certificate, *words])
        said = self._capsys.readouterr()
        return code, json.loads(said.out), said.err


@pytest.fixture
def scene(tmp_path: Path, pki: Pki, issuer: ScriptedIssuer, capsys: pytest.CaptureFixture[str]) -> Scene:
    return Scene(tmp_path, pki, issuer, capsys)


def test_the_issuer_is_asked_for_its_keys(
    scene: Scene, issuer: ScriptedIssuer, pki: Pki, signing_key: SigningKey
) -> None:
    code, found, _ = scene.explain(signing_key.token(pki.client, iss=issuer.url))
    assert (code, found["permit"], found["signature_assumed"]) == (0, True, False)
    assert issuer.count(JWKS_PATH) == 1


def test_a_signature_of_another_key_is_refused_by_the_issuers_keys(
    scene: Scene, issuer: ScriptedIssuer, pki: Pki
) -> None:
    stranger = SigningKey.create("ES256")
    code, found, _ = scene.explain(stranger.token(pki.client, iss=issuer.url))
    assert (code, found["reason"], found["signature_assumed"]) == (1, "signature_invalid", False)


def test_offline_nobody_is_asked(
    scene: Scene, issuer: ScriptedIssuer, pki: Pki, signing_key: SigningKey
) -> None:
    code, found, _ = scene.explain(signing_key.token(pki.client, iss=issuer.url), "--offline")
    assert (code, found["permit"], found["signature_assumed"]) == (1, True, True)
    assert issuer.requests == []


def test_an_issuer_that_does_not_answer_leaves_the_signature_assumed_and_says_why(
    scene: Scene, issuer: ScriptedIssuer, pki: Pki, signing_key: SigningKey
) -> None:
    issuer.answers[JWKS_PATH] = answer(status=500)
    code, found, said = scene.explain(signing_key.token(pki.client, iss=issuer.url))
    assert (code, found["signature_assumed"]) == (1, True)
    assert f"keys of {issuer.url}: status: " in said


def test_a_token_of_an_unknown_issuer_asks_nobody(
    scene: Scene, issuer: ScriptedIssuer, pki: Pki, signing_key: SigningKey
) -> None:
    code, found, _ = scene.explain(signing_key.token(pki.client, iss="https://evil.example.com"))
    assert (code, found["reason"]) == (1, "issuer_unknown")
    assert issuer.requests == []


def test_an_opaque_token_is_introspected(scene: Scene, issuer: ScriptedIssuer, pki: Pki) -> None:
    claims = claims_set(pki.client, iss=issuer.url, aud=AUDIENCE)
    issuer.tokens["opaque-token"] = {**claims, "active": True}
    code, found, said = scene.explain("opaque-token")
    assert (code, found["permit"]) == (0, True)
    assert "active" in {step["check"] for step in found["steps"]}
    assert f"introspection at {issuer.url}: active" in said


def test_an_opaque_token_is_not_introspected_offline(scene: Scene, issuer: ScriptedIssuer) -> None:
    code, found, _ = scene.explain("opaque-token", "--offline")
    assert (code, found["reason"], found["status"]) == (1, "issuer_unavailable", 503)
    assert issuer.requests == []
