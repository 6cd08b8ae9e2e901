"""`sidecar test`: cases that mint what they need and go through the real decision."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sidecar.command.cli import main
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]

RULES = """\
rules:
  - name: health
    match: {path: /healthz}
    public: true
  - name: read
    match: {methods: [GET], path: "/accounts/{id}"}
    require: {scopes: [accounts:read], claims: {account: "{id}"}}
    identity_headers: {X-Account: account, X-Who: sub}
    limits: {body_bytes: 1MiB, response_timeout: 90s, stream_timeout: 0s, concurrent_requests: 4}
  - name: partner
    match: {path: /partner}
    require: {client_certificate: {san_uri: "spiffe://prod/**"}}
  - name: strong
    match: {path: /strong}
    require: {acr: urn:mfa, max_authentication_age: 5m}
"""


class Trial:
    """Runs cases against a small configuration."""

    def __init__(self, configuration: Configuration, capsys: pytest.CaptureFixture[str]) -> None:
        self.configuration = configuration
        self._capsys = capsys
        configuration.write_policy(ISSUER + RULES)

    def run(self, *cases: str, head: str = "", words: tuple[str, ...] = ()) -> tuple[int, str]:
        """Exit code and output; each case is the inside of a flow mapping."""
        text = "".join(f"  - {{name: c{index}, {case}}}\n" for index, case in enumerate(cases))
        path = self.configuration.folder / "cases.yaml"
        path.write_text(f"{head}cases:\n{text}")
        code = main(["test", "--config", str(self.configuration.file), str(path), *words])
        said = self._capsys.readouterr()
        return code, (said.out + said.err).replace(f"{self.configuration.folder}/", "")


@pytest.fixture
def trial(tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]) -> Trial:
    return Trial(Configuration.create(tmp_path, pki), capsys)


GET = "request: {target: /accounts/7}"
MINE = "claims: {scope: accounts:read, account: '7'}"


@pytest.mark.parametrize(
    "case",
    [
        f"{GET}, token: {{{MINE}}}, expect: {{status: 200, rule: read}}",
        f"{GET}, token: {{{MINE}}}, expect: {{upstream_headers: {{X-Account: '7', X-Who: subject}}}}",
        f"{GET}, token: {{{MINE}}}, expect: {{upstream_headers: {{Authorization: []}}}}",
        f"{GET}, token: {{claims: {{scope: accounts:read}}}}, expect: {{failures: [claims.account], error: none}}",
        f"{GET}, token: {{{MINE}, bound_to: other}}, expect: {{status: 401, reason: binding_mismatch}}",
        f"{GET}, token: {{{MINE}, bound_to: nothing}}, expect: {{reason: binding_missing, error: invalid_token}}",
        f"{GET}, token: {{{MINE}}}, certificate: none, expect: {{reason: binding_missing}}",
        f"{GET}, token: {{{MINE}, bound_to: a}}, certificate: none, expect: {{reason: certificate_missing}}",
        f"{GET}, token: {{{MINE}, expires_in: -1h}}, expect: {{reason: token_expired}}",
        f"{GET}, token: {{{MINE}, without: [exp]}}, expect: {{reason: claim_missing}}",
        f"{GET}, token: {{{MINE}, type: JWT}}, expect: {{reason: token_type_refused}}",
        f"{GET}, token: {{{MINE}, type: ''}}, expect: {{reason: token_type_refused}}",
        f"{GET}, token: {{{MINE}, signed_by: stranger}}, expect: {{reason: signature_invalid}}",
        f"{GET}, token: {{{MINE}, algorithm: RS512}}, expect: {{reason: algorithm_refused}}",
        f"{GET}, token: {{{MINE}, algorithm: Ed25519}}, expect: {{status: 200}}",
        f"{GET}, token: {{{MINE}, algorithm: PS256}}, expect: {{status: 200}}",
        f"{GET}, token: {{{MINE}, issuer: https://evil.example.com}}, expect: {{reason: issuer_unknown}}",
        f"{GET}, token: {{raw: nonsense}}, expect: {{reason: token_unrecognised}}",
        f"{GET}, token: {{opaque: true}}, expect: {{reason: token_unrecognised}}",
        f"{GET}, token: none, expect: {{status: 401, reason: credentials_missing, error: none}}",
        "request: {target: /accounts/7, headers: {Authorization: Basic eA==}}, expect: {status: 401}",
        "request: {target: /accounts/7, headers: {Authorization: [a, b]}}, expect: {error: invalid_request}",
        "request: {target: /accounts/7, headers: {Authorization: [a, b]}}, expect: {reason: credentials_repeated}",
        "request: {target: /nowhere}, expect: {status: 403, reason: rule_unmatched}",
        "request: {method: POST, target: /accounts/7}, expect: {reason: rule_unmatched}",
        "request: {target: /accounts/..%2f7}, expect: {status: 400, reason: path_ambiguous}",
        "request: {target: accounts}, expect: {status: 400, reason: request_malformed}",
        "request: {target: /healthz, headers: {Connection: authorization}}, expect: {status: 400}",
        "request: {target: /healthz, host: 'a b'}, expect: {status: 400}",
        "request: {target: /healthz, headers: {X_Who: forged}}, expect: {upstream_headers: {X-Who: [], X_Who: []}}",
        "request: {target: /healthz, headers: {X-Account: x}}, expect: {upstream_headers: {X-Account: []}}",
        "request: {target: /healthz, headers: {X-Keep: me}}, expect: {upstream_headers: {X-Keep: me}}",
        "request: {target: /partner}, certificate: svid, expect: {status: 200, rule: partner}",
        "request: {target: /partner}, expect: {reason: condition_failed, failures: [client_certificate.san_uri]}",
        f"{GET}, token: {{{MINE}}}, expect: {{limits: {{body_bytes: 1MiB, response_timeout: 90s}}}}",
        f"{GET}, token: {{{MINE}}}, expect: {{limits: {{stream_timeout: 0s, concurrent_requests: 4}}}}",
        "request: {target: /healthz}, expect: {limits: {response_timeout: 1m, concurrent_requests: 0}}",
        "request: {target: /strong}, expect: {status: 401, error: insufficient_user_authentication}",
    ],
)
def test_a_case_goes_through_the_real_decision(trial: Trial, case: str) -> None:
    head = "certificates: {svid: {san_uri: [spiffe://prod/payments]}}\n"
    code, said = trial.run(case, head=head)
    assert code == 0, said
    assert said.endswith("1 passed, 0 failed\n")


FOREIGN = """\
rules:
  - name: tpp
    match: {path: /tpp}
    require:
      client_certificate:
        subject_attributes: {organizationIdentifier: {claim: tpp}, OU: [payments, accounts]}
        san_other_name: {UPN: {claim: upn}}
  - name: modern
    match: {path: /modern}
    require: {tls: {minimum_version: "1.3", groups: X25519MLKEM768}}
"""
NAMED = """\
certificates:
  bank:
    subject_attributes: {C: DE, OU: [x, accounts], organizationIdentifier: PSDDE-1, UID: u1, 2.5.4.5: "7"}
    san_dns: bank.example
    san_other_name: {UPN: ada@bank.example, 1.2.3.4: LONG}
""".replace("LONG", "x" * 200).replace("san_dns: bank.example", "san_dns: [bank.example]")
TPP = "request: {target: /tpp}, token: {claims: {tpp: PSDDE-1, upn: ada@bank.example}}"


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "case",
    [
        f"{TPP}, certificate: bank, expect: {{status: 200, rule: tpp}}",
        (
            "request: {target: /tpp}, token: {claims: {tpp: PSDDE-2, upn: ada@bank.example}}, certificate: bank,"
            " expect: {failures: [client_certificate.subject_attributes.organizationIdentifier]}"
        ),
        (
            "request: {target: /tpp}, token: {claims: {tpp: PSDDE-1, upn: bob@bank.example}}, certificate: bank,"
            " expect: {failures: [client_certificate.san_other_name.UPN]}"
        ),
        f"{TPP}, certificate: another, expect: {{reason: condition_failed}}",
        "request: {target: /modern}, tls: {group: X25519MLKEM768}, expect: {status: 200, rule: modern}",
        "request: {target: /modern}, expect: {status: 403, failures: [tls.groups]}",
        (
            "request: {target: /modern}, tls: {version: '1.2', group: P-256},"
            " expect: {reason: condition_failed, failures: [tls.groups, tls.minimum_version]}"
        ),
        "request: {target: /modern}, tls: unknown, expect: {failures: [tls.groups, tls.minimum_version]}",
    ],
)
def test_a_client_has_the_names_and_the_tls_that_the_case_says(trial: Trial, case: str) -> None:
    trial.configuration.write_policy(ISSUER + FOREIGN)
    code, said = trial.run(case, head=NAMED)
    assert code == 0, said


@pytest.mark.field_cases
def test_tls_of_the_defaults_is_completed_by_the_case(trial: Trial) -> None:
    trial.configuration.write_policy(ISSUER + FOREIGN)
    head = "defaults: {tls: {group: X25519MLKEM768}, request: {target: /modern}}\n"
    code, said = trial.run(
        "expect: {status: 200}",
        "tls: {version: '1.2'}, expect: {failures: [tls.minimum_version]}",
        "tls: unknown, expect: {status: 403}",
        head=head,
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("subject_attributes: {C: Germany}", "1:25: no certificate can say that: Attribute's length must be"),
        ("subject_attributes: {organisationIdentifier: x}", "did you mean `organizationIdentifier`?"),
        ("subject_attributes: {0.99.1: x}", "no certificate can say that: "),
        ("common_name: a, subject_attributes: {CN: b}", "`common_name` is the CN already"),
        ("san_other_name: {upn: x}", "neither a known type of an otherName nor an object identifier"),
        ("san_other_name: {0.99.1: x}", "no certificate can say that: "),
        ("san_dns: [müller.example]", "1:25: no certificate can say that: DNSName values"),
        ("san_uri: ['https://müller.example']", "no certificate can say that: URI values"),
        ("san_email: [ada@müller.example]", "no certificate can say that: RFC822Name values"),
    ],
)
def test_names_that_no_certificate_can_have_are_a_mistake(trial: Trial, names: str, expected: str) -> None:
    code, said = trial.run("expect: {status: 403}", head=f"certificates: {{client: {{{names}}}}}\n")
    assert code == 1
    assert said.startswith("cases.yaml:1:")
    assert expected in said


@pytest.mark.parametrize("at", ["9999-12-31", "1900-01-01"])
def test_dates_that_no_certificate_can_have_fail_the_case_alone(trial: Trial, at: str) -> None:
    code, said = trial.run(f"at: {at}, expect: {{status: 200}}", "expect: {status: 403}")
    assert code == 1
    assert "the certificate `client` cannot be made: " in said
    assert said.endswith("1 passed, 1 failed\n")


def test_a_flipped_expectation_fails_with_a_diff(trial: Trial) -> None:
    code, said = trial.run(
        f"{GET}, token: {{{MINE}, bound_to: other}},"
        " expect: {status: 200, rule: read, upstream_headers: {X-Who: bob}}"
    )
    assert code == 1
    lines = said.splitlines()
    assert lines[0] == "FAIL  c0  GET /accounts/7  401 binding_mismatch"
    assert lines[1] == "      cases.yaml:2: GET /accounts/7: 401 binding_mismatch"
    assert lines[2:6] == [
        "      - status: 200",
        "      + status: 401",
        "      - upstream header X-Who: bob",
        "      + upstream header X-Who: none",
    ]
    assert lines[6].startswith("        cnf.x5t#S256: expected ")
    assert lines[-1] == "0 passed, 1 failed"


def test_a_limit_that_is_another_is_shown(trial: Trial) -> None:
    wanted = "{body_bytes: 2MiB, response_timeout: 90s, total_timeout: 1h}"
    code, said = trial.run(
        f"{GET}, token: {{{MINE}}}, expect: {{limits: {wanted}}}",
        f"{GET}, token: none, expect: {{limits: {{concurrent_requests: 4}}}}",
    )
    assert code == 1
    assert [line.strip() for line in said.splitlines() if line.startswith("      - ")] == [
        "- limit body_bytes: 2097152",
        "- limit total_timeout: 3600s",
        "- limit concurrent_requests: 4",
    ]
    assert [line.strip() for line in said.splitlines() if line.startswith("      + ")] == [
        "+ limit body_bytes: 1048576",
        "+ limit total_timeout: 0s",
        "+ limit concurrent_requests: not forwarded",
    ]


def test_report_only_ends_on_its_day(trial: Trial) -> None:
    """The clock moves over the date: the same request passes, reported, and a second later it is refused."""
    trial.configuration.write_policy(ISSUER + "    report_only: {until: 2027-01-31}\n" + RULES)
    unbound = f"{GET}, token: {{{MINE}, bound_to: nothing}}"
    code, said = trial.run(
        f"at: 2027-01-30T23:59:59Z, {unbound}, expect: {{status: 200, would_deny: binding_missing, failures: [cnf]}}",
        f"at: 2027-01-31T00:00:00Z, {unbound}, expect: {{status: 401, reason: binding_missing}}",
        f"at: 2027-01-30, {unbound}, expect: {{status: 200, would_deny: binding_missing}}",
        f"at: 2027-01-30, {GET}, token: {{{MINE}, expires_in: -1h}}, expect: {{status: 401, reason: token_expired}}",
        f"at: 2027-01-30, {GET}, token: {{{MINE}, signed_by: stranger}}, expect: {{reason: signature_invalid}}",
    )
    assert code == 0, said
    assert "c0  GET /accounts/7  200 (would deny: binding_missing)" in said


def test_report_only_of_a_rule_leaves_other_rules_alone(trial: Trial) -> None:
    rules = RULES.replace(
        "    require: {client_cert", "    report_only: {until: 2027-01-31}\n    require: {client_cert"
    )
    trial.configuration.write_policy(ISSUER + rules)
    code, said = trial.run(
        "at: 2027-01-30, request: {target: /partner}, expect: {status: 200, would_deny: condition_failed}",
        "at: 2027-01-31, request: {target: /partner}, expect: {status: 403, reason: condition_failed}",
        "at: 2027-01-30, request: {target: /strong}, expect: {status: 401}",
    )
    assert code == 0, said


def test_defaults_are_taken_over_and_merged(trial: Trial) -> None:
    head = (
        "defaults:\n  certificate: alice\n  request: {target: /accounts/7, headers: {X-A: a}}\n"
        "  token: {claims: {scope: accounts:read, account: '7'}}\n"
    )
    code, said = trial.run(
        "expect: {status: 200, upstream_headers: {X-A: a}}",
        "request: {headers: {X-B: b}}, expect: {status: 200, upstream_headers: {X-A: a, X-B: b}}",
        "token: {claims: {account: '8'}}, expect: {status: 403}",
        "token: {bound_to: alice}, certificate: bob, expect: {reason: binding_mismatch}",
        "token: none, expect: {reason: credentials_missing}",
        head=head,
    )
    assert code == 0, said


def test_opaque_tokens_are_introspected(trial: Trial) -> None:
    (trial.configuration.folder / "policies" / "secret").write_text("x")
    (trial.configuration.folder / "policies" / "secret").chmod(0o600)
    trial.configuration.write_policy(
        ISSUER
        + "    introspection: {when: opaque, client_id: api, client_authentication:"
        + " {method: client_secret_basic, client_secret_file: secret}}\n"
        + RULES
    )
    code, said = trial.run(
        f"{GET}, token: {{opaque: true, {MINE}}}, expect: {{status: 200}}",
        f"{GET}, token: {{opaque: true, {MINE}, active: false}}, expect: {{reason: token_inactive}}",
        f"{GET}, token: {{opaque: true, {MINE}, bound_to: other}}, expect: {{reason: binding_mismatch}}",
        f"{GET}, token: {{raw: unheard-of}}, expect: {{reason: token_inactive}}",
    )
    assert code == 0, said


def test_a_certificate_may_come_from_a_file(trial: Trial, pki: Pki) -> None:
    (trial.configuration.folder / "alice.crt").write_bytes(pki.client.pem)
    head = "certificates: {alice: {file: alice.crt}}\n"
    claims = f"claims: {{scope: accounts:read, account: '7', cnf: {{'x5t#S256': {pki.client.thumbprint}}}}}"
    code, said = trial.run(
        f"{GET}, certificate: alice, token: {{{claims}}}, expect: {{status: 200}}", head=head
    )
    assert code == 0, said


def test_junit_has_each_case_and_each_failure(trial: Trial) -> None:
    path = trial.configuration.folder / "junit.xml"
    code, _ = trial.run(
        "token: none, expect: {status: 403}",
        "token: none, expect: {status: 200}",
        words=("--junit", str(path)),
    )
    assert code == 1
    suite = ET.parse(path).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["c0", "c1"]
    assert suite[1][0].get("message") == "status: expected 200, got 403"
    code, said = trial.run("token: none, expect: {status: 403}", words=("--junit", f"{path}/x"))
    assert (code, said.endswith("cannot be written: Not a directory\n")) == (1, True)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("expect: {}", "cases.yaml:2:24: expects nothing"),
        ("expect: {statuss: 200}", "unknown key `statuss`; did you mean `status`?"),
        (
            "expect: {reason: binding_mismach}",
            "`binding_mismach` is not a reason; did you mean `binding_mismatch`?",
        ),
        ("expect: {status: 200, reason: token_expired}", "a forwarded request has no reason"),
        ("token: {raw: x, claims: {}}, expect: {status: 401}", "stands alone"),
        ("at: noon, expect: {status: 401}", "`noon` is not of the form 2027-01-31T12:00:00Z or 2027-01-31"),
        ("token: {expires_in: 5}, expect: {status: 401}", "a duration needs a unit: 5s?"),
        ("token: some, expect: {status: 401}", "expected a mapping of keys to values, got `some`"),
    ],
)
def test_a_mistake_in_a_case_file_is_named_at_its_place(trial: Trial, case: str, expected: str) -> None:
    code, said = trial.run(case)
    assert code == 1
    assert expected in said
    assert said.startswith("cases.yaml:2:")


def test_a_case_that_names_what_does_not_exist_fails_and_the_others_run(trial: Trial) -> None:
    code, said = trial.run(
        "request: {listener: inside}, expect: {status: 200}",
        "request: {target: /healthz}, expect: {status: 200}",
    )
    assert code == 1
    assert "+ case: there is no listener named inside" in said
    assert said.endswith("1 passed, 1 failed\n")


def test_two_cases_of_one_name_are_a_mistake(trial: Trial) -> None:
    path = trial.configuration.folder / "cases.yaml"
    code, said = trial.run("expect: {status: 200}")
    assert code == 1
    path.write_text("cases:\n- {name: a, expect: {status: 403}}\n- {name: a, expect: {status: 403}}\n")
    assert main(["test", "--config", str(trial.configuration.file), str(path)]) == 1
    assert "failed" in said


def test_the_shipped_cases_pass_against_the_shipped_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    cases = sorted(str(path) for path in (ROOT / "config" / "cases").glob("*.yaml"))
    assert cases
    assert main(["test", "--config", str(ROOT / "config" / "sidecar.yaml"), *cases]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" passed, 0 failed")


def test_a_case_sees_the_certificate_that_the_api_is_told(trial: Trial) -> None:
    header = "client_certificate_header: {format: der_base64, name: X-Cert}"
    trial.configuration.write_service(SERVICE.replace(':8080"}', f':8080", {header}}}'))
    forged = "request: {target: /healthz, headers: {x-cert: forged}}"
    code, said = trial.run(
        f"{forged}, certificate: none, expect: {{upstream_headers: {{X-Cert: []}}}}",
        f"{forged}, expect: {{upstream_headers: {{X-Cert: []}}}}",
    )
    assert code == 1
    assert said.endswith("1 passed, 1 failed\n")
    assert "      + upstream header X-Cert: MII" in said
