"""`sidecar explain` and the admin page's question with a DPoP proof: the twelve checks, and the usual mistakes."""

import asyncio
import hashlib
import io
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from sidecar.authorizer import Authorizer
from sidecar.command.cli import main
from sidecar.decision.proof_header import CHECKS
from sidecar.decision.replay import ReplayMemory
from sidecar.rehearsal import question
from tests.support.configuration import SERVICE, Configuration
from tests.support.mint import SigningKey, base64url, jwks
from tests.support.pki import Pki
from tests.support.proofs import Prover
from tests.support.world import Keys

PROVER = Prover.create()
RESOURCE = """\
protected_resource:
  resource: https://api.example.com
  origins: [{origin: https://api.example.com, prefix: /v1}]
"""
POLICY = """\
issuers:
  - issuer: https://as.example.com
    audience: https://api.example.com
    keys: {jwks_file: jwks.json}
    schemes: [Bearer, DPoP]
rules:
  - name: read
    match: {path: /accounts/7}
"""
URL = "https://api.example.com/v1/accounts/7"
TWELVE = [name for name, _, _ in CHECKS]


class Explainer:
    """Explains one request with a token and a proof, in three ways."""

    def __init__(self, folder: Path, pki: Pki, key: SigningKey, capsys: pytest.CaptureFixture[str]) -> None:
        self.configuration = Configuration.create(folder, pki)
        self.configuration.write_service(SERVICE + RESOURCE)
        self.configuration.write_policy(POLICY)
        (folder / "policies" / "jwks.json").write_text(json.dumps(jwks(key)))
        self.folder = folder
        self.key = key
        self.token = key.token(cnf=PROVER.cnf)
        self._capsys = capsys

    def proof(self, **given: Any) -> str:
        return PROVER.proof(self.token, **({"url": URL} | given))

    def command(self, *words: str) -> tuple[int, str]:
        code = main(["explain", "--config", str(self.configuration.file), "--url", "/accounts/7", *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def document(self, proof: str, *words: str, token: str | None = None) -> dict[str, Any]:
        given = ("--token", self.token if token is None else token, "--proof", proof, "--format", "json")
        found: dict[str, Any] = json.loads(self.command(*given, *words)[1])
        return found

    def offline(self, proof: str) -> dict[str, Any]:
        """Without the issuer's keys: another token stands for the one that was sent."""
        (self.folder / "policies" / "jwks.json").unlink()
        self.configuration.write_policy(POLICY.replace("{jwks_file: jwks.json}", "{discovery: true}"))
        return self.document(proof, "--offline")

    def asked(self, proof: str, memory: ReplayMemory | None = None, **form: str) -> dict[str, Any]:
        """The admin page's form, answered by the authorizer that serves."""
        loaded = self.configuration.load()
        used = ReplayMemory(b"key", time.monotonic) if memory is None else memory
        serving = Authorizer(
            loaded.policy, Keys.of(self.key), None, used, digest_key=b"x" * 32, elapsing=float
        )
        given = {"token": self.token, "proof": proof, "url": "/accounts/7"} | form
        return asyncio.run(question.answer(given, serving, loaded, time.time()))


@pytest.fixture
def explainer(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> Explainer:
    return Explainer(tmp_path, pki, signing_key, capsys)


def of_proof(found: dict[str, Any]) -> list[str]:
    return [step["check"] for step in found["steps"] if step["check"].startswith("dpop.")]


def test_permit_shows_the_twelve_checks_with_their_clauses(explainer: Explainer) -> None:
    for found in (explainer.document(explainer.proof()), explainer.asked(explainer.proof())):
        assert (found["permit"], found["rule"]) == (True, "read")
        assert of_proof(found) == TWELVE
        assert all(
            step["clause"].startswith("RFC 9449 §4.3") and step["verdict"] == "passed"
            for step in found["steps"]
            if step["check"].startswith("dpop.")
        )


def test_proof_is_no_more_used_after_it_was_explained(explainer: Explainer) -> None:
    memory, proof = ReplayMemory(b"key", time.monotonic), explainer.proof()
    for _ in range(3):
        assert explainer.asked(proof, memory)["permit"]
    assert len(memory) == 0
    for _ in range(2):
        assert explainer.document(proof)["permit"]


def test_proof_is_of_the_token_that_was_sent_also_where_its_signature_is_assumed(
    explainer: Explainer,
) -> None:
    found = explainer.offline(explainer.proof())
    assert (found["permit"], found["signature_assumed"]) == (True, True)
    assert of_proof(found) == TWELVE


def der(explainer: Explainer) -> str:
    """Signed as OpenSSL does it, and not as RFC 7518 §3.4 says."""
    signed = explainer.proof().rpartition(".")[0]
    key = PROVER.signer.key
    assert isinstance(key, EllipticCurvePrivateKey)
    return f"{signed}.{base64url(key.sign(signed.encode(), ECDSA(SHA256())))}"


def of_decoded(explainer: Explainer) -> str:
    decoded = b"".join(urlsafe_b64decode(part + "==") for part in explainer.token.split("."))
    return explainer.proof(ath=base64url(hashlib.sha256(decoded).digest()))


MISTAKES: dict[str, tuple[Callable[[Explainer], str], str, str]] = {
    "the host by which the cluster knows it": (
        lambda one: one.proof(url="http://api.svc.cluster.local:8080/v1/accounts/7"), "another_origin", "dpop.htu",
    ),
    "the path that the ingress takes off": (
        lambda one: one.proof(url="https://api.example.com/accounts/7"), "another_target", "dpop.htu",
    ),
    "the decoded token": (of_decoded, "ath_of_decoded", "dpop.ath"),
    "another token": (lambda one: one.proof(ath="A" * 43), "another_token", "dpop.ath"),
    "a signature in DER": (der, "der_signature", "dpop.signature"),
    "a clock that is behind": (lambda one: one.proof(iat=int(time.time()) - 900), "clock", "dpop.iat"),
    "a clock that is ahead": (lambda one: one.proof(iat=int(time.time()) + 900), "clock", "dpop.iat"),
    "milliseconds": (lambda one: one.proof(iat=int(time.time() * 1000)), "milliseconds", "dpop.claims"),
    "another key": (lambda one: Prover.create().proof(one.token, url=URL), "another_key", "dpop.jkt"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_usual_mistake_is_named(name: str, explainer: Explainer) -> None:
    make, mistake, check = MISTAKES[name]
    proof = make(explainer)
    for found in (explainer.document(proof), explainer.asked(proof)):
        assert not found["permit"]
        assert (found["diagnosis"] or {}).get("mistake") == mistake, found
        failed = [step for step in found["steps"] if step["verdict"] == "failed"]
        assert [step["check"] for step in failed] == [check]
        assert of_proof(found) == TWELVE[: TWELVE.index(check) + 1]


@pytest.mark.parametrize("name", ["the decoded token", "a signature in DER"])
def test_usual_mistake_is_named_without_the_keys_of_the_issuer(name: str, explainer: Explainer) -> None:
    make, mistake, _ = MISTAKES[name]
    assert explainer.offline(make(explainer))["diagnosis"]["mistake"] == mistake


def test_token_is_presented_with_the_scheme_that_it_was_pasted_with(explainer: Explainer) -> None:
    proof = explainer.proof()
    assert explainer.document(proof, token=f"DPoP {explainer.token}")["permit"]
    downgraded = explainer.document(proof, token=f"Bearer {explainer.token}")
    assert (downgraded["reason"], downgraded["diagnosis"]["mistake"]) == ("scheme_mismatch", "bearer")
    assert explainer.asked(proof, token=f"Bearer {explainer.token}")["reason"] == "scheme_mismatch"
    assert explainer.asked(proof, token=f"DPoP {explainer.token}")["permit"]


def test_proof_comes_from_a_file_or_from_standard_input(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = explainer.folder / "proof.jwt"
    file.write_text(explainer.proof() + "\n")
    assert explainer.document(f"@{file}")["permit"]
    monkeypatch.setattr("sys.stdin", io.StringIO(explainer.proof()))
    assert explainer.document("-")["permit"]
    code, said = explainer.command("--token", "-", "--proof", "-")
    assert (code, "only one of them can be read from standard input" in said) == (1, True)
    assert "cannot be read" in explainer.command("--token", "x", "--proof", "@absent")[1]
