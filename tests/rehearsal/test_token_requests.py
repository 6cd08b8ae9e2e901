"""Token requests that nobody sent: explained, and as policy cases, by what the data plane decides with."""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.command.cli import main
from tests.support.client_files import SECTION, Clients, jwk
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.pki import Authority, Identity, Pki, Profile, self_signed, subject_alternative_names

NAMED = Profile("tpp-1", names=tuple(subject_alternative_names(["tpp-1.example"])))
FORM = "grant_type=client_credentials&client_id=tpp-1"


class Asked:
    """Runs `explain --token-request` and `test` against a configuration in front of an authorization server."""

    def __init__(self, clients: Clients, capsys: pytest.CaptureFixture[str]) -> None:
        self.clients = clients
        self._capsys = capsys

    def explain(self, form: str, *words: str, identity: Identity | None = None) -> tuple[int, str]:
        """Exit code and what was printed."""
        if identity is not None:
            (self.clients.folder / "client.crt").write_bytes(identity.pem)
            words = (*words, "--certificate", str(self.clients.folder / "client.crt"))
        return self._run("explain", "--token-request", form, *words)

    def document(self, form: str, *words: str, identity: Identity | None = None) -> dict[str, Any]:
        _, said = self.explain(form, "--format", "json", *words, identity=identity)
        found: dict[str, Any] = json.loads(said)
        return found

    def test(self, *cases: str, head: str = "") -> tuple[int, str]:
        """Each case is the inside of a flow mapping."""
        text = "".join(f"  - {{name: c{index}, {case}}}\n" for index, case in enumerate(cases))
        (self.clients.folder / "cases.yaml").write_text(f"{head}cases:\n{text}")
        return self._run("test", str(self.clients.folder / "cases.yaml"))

    def _run(self, command: str, *words: str) -> tuple[int, str]:
        code = main([command, "--config", str(self.clients.configuration.file), *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture
def asked(tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]) -> Asked:
    return Asked(Clients.create(tmp_path, pki), capsys)


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {step["check"]: step["verdict"] for step in document["steps"]}


# --- explain


def test_each_check_of_a_client_is_shown(asked: Asked) -> None:
    client = asked.clients.authority.issue(NAMED)
    code, said = asked.explain(FORM, identity=client)
    assert code == 0
    for expected in (
        "ok    client_id", "presented  tpp-1", "presented  tls_client_auth", "presented  san_dns=tpp-1.example",
        "ok    chain", "verdict  permit (rule authorization_server.token)", "told     Client-Cert",
    ):  # fmt: skip
        assert expected in said, said


def test_certificates_above_the_clients_come_along(asked: Asked) -> None:
    below = asked.clients.authority.intermediate()
    client = below.issue(NAMED)
    assert asked.document(FORM, identity=client)["permit"] is True
    alone = Identity(client.certificate, client.key)
    assert verdicts(asked.document(FORM, identity=alone))["chain"] == "failed"


@pytest.mark.parametrize(
    ("form", "words", "failed", "reason", "status"),
    [
        (FORM, (), "certificate", "client_certificate_missing", 400),
        ("grant_type=x", (), "client_id", "client_id_missing", 400),
        ("client_id=nobody", (), "client_id", "client_unknown", 400),
        (FORM + "&client_secret=x", (), "method", "client_method_mismatch", 400),
        (FORM, ("--header", "Authorization: Basic dHBwLTE6eA=="), "method", "client_method_mismatch", 401),
        (FORM + "&client_id=tpp-1", (), "form", "parameter_repeated", 400),
        (FORM, ("--header", "Content-Type: application/json"), "form", "form_malformed", 400),
        (FORM, ("--url", "/TOKEN"), "endpoint", "endpoint_unknown", 404),
    ],
)
def test_first_check_that_fails_is_shown_and_the_rest_is_not_reached(  # noqa: PLR0917 — a row of a table
    asked: Asked, form: str, words: tuple[str, ...], failed: str, reason: str, status: int
) -> None:
    document = asked.document(form, *words)
    assert (document["reason"], document["status"]) == (reason, status)
    found = verdicts(document)
    assert [check for check, verdict in found.items() if verdict == "failed"] == [failed]
    after = list(found.values())[list(found).index(failed) + 1 :]
    assert set(after) <= {"not reached"}
    assert set(list(found.values())[: list(found).index(failed)]) <= {"passed"}


def test_certificate_of_another_is_shown_with_its_names(asked: Asked) -> None:
    other = asked.clients.authority.issue(Profile(names=tuple(subject_alternative_names(["tpp-2.example"]))))
    code, said = asked.explain(FORM, identity=other)
    assert code == 1
    assert "expected   tpp-1.example" in said
    assert "presented  tpp-2.example" in said
    assert "verdict  deny: client_certificate_mismatch" in said
    assert "answer   400" in said


def test_authority_of_another_is_named(asked: Asked) -> None:
    document = asked.document(FORM, identity=Authority.root("other").issue(NAMED))
    assert (document["reason"], verdicts(document)["chain"]) == ("client_certificate_untrusted", "failed")


def test_client_that_the_server_authenticates_is_shown_as_such(asked: Asked) -> None:
    asked.clients.write_client("client_id: old, method: other")
    code, said = asked.explain("client_id=old&client_secret=s3cret")
    assert code == 0
    assert "presented  other: the server authenticates it" in said
    assert "s3cret" not in said
    assert "certificate" not in verdicts(asked.document("client_id=old"))


def test_registered_certificate_has_no_chain(asked: Asked) -> None:
    asked.clients.write_client(
        "client_id: own, method: self_signed_tls_client_auth, certificate_files: [../own.crt]"
    )
    document = asked.document("client_id=own", identity=asked.clients.own)
    assert document["permit"] is True
    assert "chain" not in verdicts(document)
    assert document["told_headers"] == ["Client-Cert"]


def test_report_only_is_said(asked: Asked) -> None:
    asked.clients.write_section(SECTION + "  report_only: {until: 2099-01-01}\n")
    code, said = asked.explain(FORM)
    assert code == 0
    assert "only because the policy reports: will be refused for client_certificate_missing" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--url", "/accounts"), "/accounts is not the path of an endpoint"),
        (
            ("--url", "/token", "--token", "-", "--proof", "-"),
            "only one of them can be read from standard input",
        ),
    ],
)
def test_request_to_no_endpoint_is_told(asked: Asked, words: tuple[str, ...], expected: str) -> None:
    code, said = asked.explain(FORM, *words)
    assert (code, expected in said) == (1, True), said


def test_configuration_without_a_server_is_told(asked: Asked) -> None:
    asked.clients.write_section("")
    code, said = asked.explain(FORM)
    assert (code, said) == (1, "--token-request: this configuration has no `authorization_server`\n")


def test_file_of_an_authority_that_is_missing_is_told(asked: Asked) -> None:
    (asked.clients.folder / "ca.crt").unlink()
    code, said = asked.explain(FORM)
    assert code == 1
    assert "No such file" in said


def test_request_that_is_no_http_is_answered_as_everywhere(asked: Asked) -> None:
    document = asked.document(FORM, "--header", "Content-Length: x")
    assert (document["reason"], document["steps"]) == ("request_malformed", [])


def test_client_is_asked_for_what_it_publishes_unless_offline(asked: Asked, tmp_path: Path, pki: Pki) -> None:
    own = self_signed()
    with ScriptedIssuer(certificate=pki.server) as running:
        running.answers[JWKS_PATH] = answer({"keys": [jwk(own)]})
        (asked.clients.folder / "web.crt").write_bytes(pki.server_authority.pem)
        asked.clients.write_section(SECTION + "  clients_ca_file: web.crt\n")
        client = f'client_id: own, method: self_signed_tls_client_auth, jwks_url: "{running.jwks_url}"'
        asked.clients.write_client(client)
        assert asked.document("client_id=own", identity=own)["permit"] is True
        assert asked.document("client_id=own", "--offline", identity=own)["permit"] is False
        assert running.count(JWKS_PATH) == 1


# --- cases

HEAD = """\
certificates:
  good: {san_dns: [tpp-1.example]}
  trusted: {san_dns: [tpp-1.example], issued_by: tpp root}
  twin: {san_dns: [tpp-1.example], issued_by: another root}
  other: {san_dns: [tpp-2.example]}
  own: {file: own.crt}
"""
REQUEST = "request: {form: {grant_type: client_credentials, client_id: tpp-1}}"


def test_cases_of_clients_come_as_expected(asked: Asked) -> None:
    asked.clients.write(
        "clients:\n  - {client_id: own, method: self_signed_tls_client_auth, certificate_files: [../own.crt]}\n"
        "  - {client_id: url, method: self_signed_tls_client_auth, jwks_url: https://tpp.example/jwks}\n"
        "  - {client_id: old, method: other, certificate: true}\n",
        "b.yaml",
    )
    own = "request: {form: {client_id: own}}"
    mismatch = "status: 400, reason: client_certificate_mismatch, error: invalid_client"
    code, said = asked.test(
        f"{REQUEST}, certificate: good, expect: {{status: 200, rule: authorization_server.token}}",
        f"{REQUEST}, certificate: trusted, expect: {{status: 200}}",
        f"{REQUEST}, certificate: twin, expect: {{status: 400, reason: client_certificate_untrusted}}",
        f"{REQUEST}, certificate: other, expect: {{{mismatch}}}",
        f"{REQUEST}, certificate: none, expect: {{reason: client_certificate_missing}}",
        f"{own}, certificate: own, expect: {{status: 200}}",
        f"{own}, certificate: good, expect: {{{mismatch}, failures: [client_authentication]}}",
        f"request: {{form: {{client_id: url}}}}, certificate: good, expect: {{{mismatch}}}",
        "request: {form: {client_id: nobody}}, certificate: good, expect: {reason: client_unknown}",
        "request: {form: {client_id: old, client_secret: x}}, certificate: none, "
        "expect: {upstream_headers: {client-cert: []}}",
        "request: {form: {resource: [a, b], client_id: tpp-1}}, certificate: good, expect: {status: 200}",
        "request: {form: {client_id: tpp-1}, target: /Token}, expect: {status: 404, reason: endpoint_unknown}",
        "request: {form: {client_id: tpp-1}, method: GET}, expect: {reason: form_malformed, error: invalid_request}",
        f"{REQUEST}, certificate: good, token: {{}}, expect: {{status: 401, reason: client_method_mismatch}}",
        "request: {target: /token}, expect: {reason: form_malformed}",
        "request: {target: /elsewhere}, expect: {reason: rule_unmatched}",
        head=HEAD,
    )  # fmt: skip
    assert code == 0, said
    assert "POST /token" in said


def test_case_shows_what_the_server_is_told(asked: Asked) -> None:
    section = SECTION.replace("rfc9440}", 'rfc9440, verified: {name: X-Verified, "yes": SUCCESS}}')
    asked.clients.write_section(section)
    code, said = asked.test(
        f"{REQUEST}, certificate: good, expect: {{upstream_headers: {{x-verified: FAILED}}}}", head=HEAD
    )
    assert code == 1
    assert "SUCCESS" in said


def test_case_that_is_only_reported_says_what_would_be(asked: Asked) -> None:
    asked.clients.write_section(SECTION + "  report_only: {until: 2099-01-01}\n")
    code, said = asked.test(
        f"{REQUEST}, certificate: other, "
        "expect: {status: 200, would_deny: client_certificate_mismatch, upstream_headers: {client-cert: []}}",
        head=HEAD,
    )
    assert code == 0, said


def test_certificate_from_a_file_is_verified_by_its_authority(asked: Asked) -> None:
    below = asked.clients.authority.intermediate().issue(NAMED)
    (asked.clients.folder / "direct.crt").write_bytes(asked.clients.authority.issue(NAMED).pem)
    (asked.clients.folder / "below.crt").write_bytes(below.pem)
    head = "certificates: {direct: {file: direct.crt}, below: {file: below.crt}}\n"
    code, said = asked.test(
        f"{REQUEST}, certificate: direct, expect: {{status: 200}}",
        f"{REQUEST}, certificate: below, expect: {{reason: client_certificate_untrusted}}",
        head=head,
    )
    assert code == 0, said


def test_cases_need_no_file_of_an_authority(asked: Asked) -> None:
    (asked.clients.folder / "ca.crt").unlink()
    code, said = asked.test(
        f"{REQUEST}, certificate: good, expect: {{status: 200}}",
        f"{REQUEST}, certificate: trusted, expect: {{reason: client_certificate_untrusted}}",
        head=HEAD,
    )
    assert code == 0, said
