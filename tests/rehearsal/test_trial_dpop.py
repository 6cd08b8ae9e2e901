"""`sidecar test` with DPoP: cases mint proofs, right ones and each kind of wrong one."""

from pathlib import Path

import pytest

from sidecar.command.cli import main
from tests.support.configuration import SERVICE, Configuration
from tests.support.pki import Pki

RESOURCE = """\
protected_resource:
  resource: https://api.example.com
  origins: [{origin: https://api.example.com, prefix: /v1}]
"""
POLICY = """\
issuers:
  - issuer: https://as.example.com
    audience: https://api.example.com
    keys: {discovery: true}
    schemes: [Bearer, DPoP]
  - issuer: https://strict.example.com
    audience: https://api.example.com
    keys: {discovery: true}
    schemes: [DPoP]
    dpop: {nonce: required, algorithms: [PS256]}
rules:
  - name: read
    match: {path: "/accounts/{id}"}
  - name: both
    match: {path: /both}
    require: {confirmation: [x5t#S256, jkt]}
"""


class Trial:
    def __init__(self, configuration: Configuration, capsys: pytest.CaptureFixture[str]) -> None:
        self.configuration = configuration
        self._capsys = capsys
        key = configuration.folder / "nonce"
        key.write_text("n" * 40)
        key.chmod(0o600)
        configuration.write_service(SERVICE + RESOURCE + "dpop: {nonce_key_file: nonce}\n")
        configuration.write_policy(POLICY)

    def run(self, *cases: str, head: str = "") -> tuple[int, str]:
        """Exit code and output; each case is the inside of a flow mapping."""
        text = "".join(f"  - {{name: c{index}, {case}}}\n" for index, case in enumerate(cases))
        path = self.configuration.folder / "cases.yaml"
        path.write_text(f"{head}cases:\n{text}")
        code = main(["test", "--config", str(self.configuration.file), str(path)])
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture
def trial(tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]) -> Trial:
    return Trial(Configuration.create(tmp_path, pki), capsys)


GET = "request: {target: '/accounts/7?x=1'}, certificate: none"
STRICT = "token: {issuer: https://strict.example.com}"


OWN = "{htu: 'HTTPS://API.example.com:443/v1/accounts/7'}"
INNER = "{htu: 'https://api.example.com/accounts/7'}"
BOTH = "request: {target: /both}"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (f"{GET}, proof: {{}}", "status: 200, rule: read"),
        (f"{GET}, proof: {{algorithm: EdDSA}}", "status: 200"),
        (f"{GET}, proof: {{key: other}}, token: {{bound_to_key: other}}", "status: 200"),
        (f"{GET}, proof: {{made_in: -50s, claims: {{extra: 1}}}}", "status: 200"),
        (f"{GET}, proof: {{claims: {OWN}}}", "status: 200"),
        (
            f"{GET}, proof: {{claims: {{htm: POST}}}}",
            "reason: proof_method_mismatch, error: invalid_dpop_proof",
        ),
        (f"{GET}, proof: {{claims: {INNER}}}", "reason: proof_target_mismatch"),
        (f"{GET}, proof: {{claims: {{ath: AAAA}}}}", "reason: proof_token_mismatch, failures: [dpop.ath]"),
        (f"{GET}, proof: {{claims: {{jti: ''}}}}", "reason: proof_malformed"),
        (f"{GET}, proof: {{made_in: -2m}}", "status: 401, reason: proof_expired"),
        (f"{GET}, proof: {{made_in: 2m}}", "reason: proof_not_yet_valid"),
        (
            f"{GET}, proof: {{key: thief}}, token: {{bound_to_key: client}}",
            "reason: proof_key_mismatch, error: invalid_token",
        ),
        (f"{GET}, proof: {{signed_by: stranger}}", "reason: proof_signature_invalid"),
        (f"{GET}, proof: {{without: [jti]}}", "reason: proof_malformed, failures: [dpop.claims]"),
        (f"{GET}, proof: {{without: [jwk]}}", "reason: proof_key_refused"),
        (f"{GET}, proof: {{without: [alg]}}", "reason: proof_algorithm_refused"),
        (f"{GET}, proof: {{algorithm: ES384}}", "reason: proof_algorithm_refused"),
        (f"{GET}, proof: {{type: JWT}}", "failures: [dpop.typ]"),
        (f"{GET}, proof: {{times: 2}}", "reason: proof_repeated"),
        (f"{GET}, token: {{bound_to_key: client, scheme: DPoP}}", "reason: proof_missing"),
        (f"{GET}, proof: {{}}, token: {{scheme: Bearer}}", "reason: scheme_mismatch"),
        (f"{GET}, proof: {{}}, token: {{bound_to_key: nothing}}", "status: 401, reason: binding_missing"),
        (f"{GET}, {STRICT}, proof: {{}}", "status: 200"),
        (
            f"{GET}, {STRICT}, proof: {{without: [nonce]}}",
            "reason: proof_nonce_required, error: use_dpop_nonce",
        ),
        (f"{GET}, {STRICT}, proof: {{claims: {{nonce: old}}}}", "reason: proof_nonce_required"),
        (f"{BOTH}, token: {{bound_to: client}}, proof: {{}}", "status: 200, rule: both"),
        (f"{BOTH}, proof: {{}}", "status: 401, failures: [confirmation]"),
        (f"{BOTH}, token: {{bound_to: client}}", "status: 401, failures: [confirmation]"),
        (f"{BOTH}, token: {{bound_to: client}}, certificate: thief, proof: {{}}", "reason: binding_mismatch"),
        (f"{GET}, token: none, proof: {{}}", "reason: credentials_missing, error: none"),
        (f"{GET}, token: {{raw: a.b}}, proof: {{}}", "reason: token_unrecognised"),
        (
            "request: {target: /accounts/7, headers: {Authorization: DPoP x}}, proof: {}",
            "reason: token_unrecognised",
        ),
    ],
)
def test_case_comes_as_expected(trial: Trial, case: str, expected: str) -> None:
    code, said = trial.run(f"{case}, expect: {{{expected}}}")
    assert code == 0, said


def test_proof_of_a_case_is_never_used_up(trial: Trial) -> None:
    """RFC 9449 §11.1 is of the running process: cases say what a first use comes to, in any order and number."""
    same = f"{GET}, proof: {{claims: {{jti: one}}}}, expect: {{status: 200}}"
    assert trial.run(same, same)[0] == 0


def test_defaults_of_the_file_hold_for_proofs_and_a_case_can_do_without(trial: Trial) -> None:
    code, said = trial.run(
        f"{GET}, expect: {{reason: proof_expired}}",
        f"{GET}, proof: {{made_in: 0s}}, expect: {{status: 200}}",
        f"{GET}, proof: none, token: {{scheme: DPoP, bound_to_key: client}}, expect: {{reason: proof_missing}}",
        head="defaults: {proof: {made_in: -1h, claims: {extra: 1}}}\n",
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("proof: {algorithm: RS256}", "got `RS256`"),
        ("proof: {times: 3}", "less than or equal to 2, got 3"),
        ("proof: {iat: 1}", "unknown key `iat`"),
        ("proof: never", "got `never`"),
    ],
)
def test_mistake_in_a_case_is_named(trial: Trial, case: str, expected: str) -> None:
    code, said = trial.run(f"{GET}, {case}, expect: {{status: 200}}")
    assert code != 0
    assert expected in said
