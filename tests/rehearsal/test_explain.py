"""`sidecar explain`: each check, its clause, the verdict, and the mistake behind a thumbprint that does not match."""

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.command.cli import main
from sidecar.rehearsal.request import split
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.mint import SigningKey, jwks, tampered
from tests.support.pki import Identity, Pki, Profile

RULES = """\
rules:
  - name: health
    match: {path: /healthz}
    public: true
  - name: read
    match: {methods: [GET], path: "/accounts/{id}"}
    require: {scopes: [accounts:read], claims: {tenant: acme}}
"""


class Explainer:
    """Runs the command against a small configuration whose issuer's keys are in a file."""

    def __init__(self, folder: Path, pki: Pki, key: SigningKey, capsys: pytest.CaptureFixture[str]) -> None:
        self.configuration = Configuration.create(folder, pki)
        self.configuration.write_policy(ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}") + RULES)
        (folder / "policies" / "jwks.json").write_text(json.dumps(jwks(key)))
        self.folder = folder
        self.pki = pki
        self.key = key
        self._capsys = capsys

    def token(self, presenter: Identity | str | None = None, **claims: Any) -> str:
        return self.key.token(presenter, **({"tenant": "acme"} | claims))

    def run(self, *words: str, certificate: bytes | None = None) -> tuple[int, str]:
        """Exit code and what was printed."""
        if certificate is not None:
            (self.folder / "client.crt").write_bytes(certificate)
            words = (*words, "--certificate", str(self.folder / "client.crt"))
        code = main(["explain", "--config", str(self.configuration.file), "--url", "/accounts/7", *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def document(self, *words: str, certificate: bytes | None = None) -> dict[str, Any]:
        _, said = self.run("--format", "json", *words, certificate=certificate)
        found: dict[str, Any] = json.loads(said)
        return found


@pytest.fixture
def explainer(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> Explainer:
    return Explainer(tmp_path, pki, signing_key, capsys)


def test_a_permit_shows_every_check_and_its_clause(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client)
    code, _ = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert code == 0
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    assert (found["permit"], found["rule"], found["status"], found["reason"]) == (True, "read", 200, None)
    assert {step["check"]: step["clause"] for step in found["steps"]} == {
        "rule": "the policy",
        "credentials": "RFC 6750 §2.1",
        "token": "RFC 7515 §7.1",
        "iss": "RFC 9068 §4",
        "signature": "RFC 7515 §5.2",
        "typ": "RFC 9068 §4",
        "exp": "RFC 9068 §4",
        "aud": "RFC 9068 §4",
        "cnf.x5t#S256": "RFC 8705 §3",
        "scope": "RFC 6750 §3.1",
        "claims.tenant": "the policy",
    }
    assert all(step["verdict"] == "passed" for step in found["steps"])


def test_a_permit_shows_the_limits_and_whose_they_are(explainer: Explainer) -> None:
    limits = "    limits: {response_timeout: 90s, body_bytes: 100MiB, concurrent_requests: 4}\n"
    issuer = ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}")
    explainer.configuration.write_policy(issuer + RULES + limits)
    token = explainer.token(explainer.pki.client)
    _, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    shown = """verdict  permit (rule read)
limits   body_bytes 104857600 (the rule's)
         response_timeout 90s (the rule's)
         stream_timeout 300s (the service's)
         total_timeout none (the service's)
         concurrent_requests 4 (the rule's)
"""
    assert shown in said
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    assert found["limits"] == {
        "body_bytes": 100 << 20,
        "response_timeout": 90.0,
        "stream_timeout": 300.0,
        "total_timeout": 0.0,
        "concurrent_requests": 4,
    }


def test_limits_of_the_service_alone_are_shown_to_machines_only(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client)
    _, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert "limits" not in said
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    assert (found["limits"]["response_timeout"], found["limits"]["concurrent_requests"]) == (60.0, 0)
    assert explainer.document()["limits"] is None, "a refusal is not bounded"


def test_a_denial_shows_the_answer_that_the_client_gets(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client, scope="other")
    code, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert code == 1
    assert "FAIL  scope" in said
    assert "verdict  deny: scope_insufficient (rule read)" in said
    assert "answer   403 Forbidden: The access token lacks a required scope" in said
    assert 'WWW-Authenticate: Bearer error="insufficient_scope"' in said


def test_what_was_not_reached_is_said_so(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client, aud="https://elsewhere.example.com")
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    verdicts = {step["check"]: step["verdict"] for step in found["steps"]}
    assert (verdicts["exp"], verdicts["aud"], verdicts["cnf"]) == ("passed", "failed", "not reached")


def test_a_failed_condition_is_shown_beside_a_binding_that_holds(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client, tenant="other")
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    verdicts = {step["check"]: step["verdict"] for step in found["steps"]}
    assert (verdicts["cnf.x5t#S256"], verdicts["claims.tenant"]) == ("passed", "failed")


@pytest.mark.parametrize(
    ("words", "presented", "verdict"),
    [
        ((), "unknown: the client's TLS ended elsewhere, or nobody said what it was", "failed"),
        (("--tls", "1.3"), "none in TLS 1.3", "failed"),
        (("--tls", "1.3/X25519"), "X25519", "failed"),
        (("--tls", "1.3/X25519MLKEM768"), "X25519MLKEM768", "passed"),
    ],
)
def test_the_tls_of_the_client_is_what_the_arguments_say(
    explainer: Explainer, words: tuple[str, ...], presented: str, verdict: str
) -> None:
    explainer.configuration.write_policy(
        ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}")
        + "rules:\n  - name: modern\n    match: {path: /**}\n    require: {tls: {groups: X25519MLKEM768}}\n"
    )
    token = explainer.token(explainer.pki.client)
    found = explainer.document("--token", token, *words, certificate=explainer.pki.client.pem)
    (step,) = [step for step in found["steps"] if step["check"] == "tls.groups"]
    assert step["clause"] == "RFC 8446 §4.2"
    assert (step["expected"], step["verdict"]) == ("X25519MLKEM768", verdict)
    assert verdict == "passed" or step["presented"] == presented


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def spki(identity: Identity) -> bytes:
    return identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


MISTAKES: dict[str, Callable[[Pki], str]] = {
    "hex": lambda pki: digest(pki.client.der).hex(),
    "padded": lambda pki: base64url(digest(pki.client.der)) + "=",
    "sha1": lambda pki: base64url(hashlib.sha1(pki.client.der).digest()),
    "pem_text": lambda pki: base64url(digest(pki.self_signed_client.pem)),
    "public_key": lambda pki: base64url(digest(spki(pki.client))),
    "issuing_ca": lambda pki: pki.client_authority.thumbprint,
    "another_certificate": lambda pki: pki.server.thumbprint,
    "hex_in_base64": lambda pki: base64url(digest(pki.client.der).hex().encode()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_behind_a_thumbprint_is_named(explainer: Explainer, mistake: str) -> None:
    pki = explainer.pki
    presented = pki.self_signed_client if mistake == "pem_text" else pki.client
    token = explainer.token(MISTAKES[mistake](pki))
    # The file holds the client's chain, as files do; the server's own certificate is known from the configuration.
    certificate = presented.pem + pki.client_authority.pem
    code, said = explainer.run("--token", token, certificate=certificate)
    assert code == 1
    assert f"mistake  {mistake}: " in said
    found = explainer.document("--token", token, certificate=certificate)
    assert found["diagnosis"]["mistake"] == mistake
    assert found["reason"] in {"binding_mismatch", "confirmation_malformed"}


def sentence(explainer: Explainer, bound_to: Identity, *others: Identity) -> tuple[str, str]:
    """The mistake and its sentence, when client-1 presents a token that is bound to `bound_to`."""
    certificate = explainer.pki.client.pem + b"".join(other.pem for other in others)
    found = explainer.document("--token", explainer.token(bound_to), certificate=certificate)["diagnosis"]
    assert (
        f"The client presents that of CN=client-1, whose thumbprint is {explainer.pki.client.thumbprint}. "
        in (found["sentence"])
    )
    return found["mistake"], found["sentence"]


def test_a_renewed_certificate_of_the_same_subject_is_named(explainer: Explainer) -> None:
    before = explainer.pki.client_authority.issue(Profile("client-1"))
    mistake, said = sentence(explainer, before, before)
    assert mistake == "renewed"
    serial = f"{before.certificate.serial_number:x}"
    assert said.startswith(
        f"The token is bound to another certificate of the same subject, serial number {serial}."
    )
    assert "After a renewal, ask for a new token" in said


def test_another_certificate_that_is_known_is_named_with_what_to_do(explainer: Explainer) -> None:
    other = explainer.pki.other_client
    mistake, said = sentence(explainer, other, other)
    assert mistake == "another_certificate"
    name = other.certificate.subject.rfc4514_string()
    assert said.startswith(f"The token is bound to another certificate, that of {name}. ")
    assert (
        "Present the certificate with which the token was asked for, or ask for a new token with this one"
        in said
    )


def test_a_thumbprint_of_nothing_known_is_another_certificates(explainer: Explainer) -> None:
    mistake, said = sentence(explainer, explainer.pki.stranger)
    assert mistake == "unknown"
    assert said.startswith("The token is bound to another certificate, none of those known here. ")


def test_a_token_bound_to_the_authority_is_the_authorization_servers_mistake(explainer: Explainer) -> None:
    authority = explainer.pki.client_authority
    certificate = explainer.pki.client.pem + authority.pem
    token = explainer.token(authority.thumbprint)
    found = explainer.document("--token", token, certificate=certificate)["diagnosis"]
    assert found["mistake"] == "issuing_ca"
    assert "must take the client's own certificate" in found["sentence"]


def test_a_value_that_is_no_thumbprint_of_any_certificate_is_said_so(explainer: Explainer) -> None:
    for value, words in (
        ("0123abcd", "the digest of nothing known here"),
        ("!", "no digest in any usual encoding"),
    ):
        token = explainer.token(value)
        found = explainer.document("--token", token, certificate=explainer.pki.client.pem)["diagnosis"]
        assert found["mistake"] == "unknown"
        assert words in found["sentence"]


def test_a_missing_certificate_has_no_mistake_but_a_reason(explainer: Explainer) -> None:
    found = explainer.document("--token", explainer.token(explainer.pki.client))
    assert (found["reason"], found["diagnosis"]) == ("certificate_missing", None)


def test_without_keys_at_hand_the_signature_is_assumed_and_that_is_no_permit(explainer: Explainer) -> None:
    explainer.configuration.write_policy(ISSUER + RULES)
    token = tampered(explainer.token(explainer.pki.client), sub="mallory")
    code, said = explainer.run("--token", token, "--offline", certificate=explainer.pki.client.pem)
    assert code == 1
    assert "?     signature" in said
    assert "NOT VERIFIED: no keys available" in said
    assert "verdict  permit, if the signature is valid (rule read)" in said
    found = explainer.document("--token", token, "--offline", certificate=explainer.pki.client.pem)
    assert found["signature_assumed"]
    assert [step["verdict"] for step in found["steps"] if step["check"] == "signature"] == ["assumed"]


def test_a_bad_algorithm_is_refused_with_and_without_keys(explainer: Explainer) -> None:
    header, payload, _ = explainer.token(explainer.pki.client).split(".")
    unsigned = base64url(b'{"alg":"none","typ":"at+jwt"}')
    assert header != unsigned
    for word in ("--offline", "--format=text"):
        code, said = explainer.run(
            "--token", f"{unsigned}.{payload}.AA", word, certificate=explainer.pki.client.pem
        )
        assert code == 1
        assert "algorithm_refused" in said


def test_a_forged_signature_is_refused_when_the_keys_are_at_hand(explainer: Explainer) -> None:
    token = tampered(explainer.token(explainer.pki.client), sub="mallory")
    code, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert code == 1
    assert "verdict  deny: signature_invalid" in said


def test_keys_may_come_from_a_file_of_ones_own(explainer: Explainer) -> None:
    explainer.configuration.write_policy(ISSUER + RULES)
    path = explainer.folder / "keys.json"
    path.write_text(json.dumps(jwks(explainer.key)))
    token = explainer.token(explainer.pki.client)
    code, said = explainer.run("--token", token, "--jwks", str(path), certificate=explainer.pki.client.pem)
    assert (code, "verdict  permit (rule read)" in said) == (0, True)
    path.write_text("[]")
    code, said = explainer.run("--token", token, "--jwks", str(path))
    assert (code, said) == (1, f"{path}: is not a JWK set\n")


def test_the_clock_can_be_set(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client)
    code, said = explainer.run(
        "--token", token, "--at", "2047-01-01T00:00:00Z", certificate=explainer.pki.client.pem
    )
    assert (code, "deny: token_expired" in said) == (1, True)
    with pytest.raises(SystemExit) as caught:
        explainer.run("--at", "noon")
    assert caught.value.code == 2


def test_report_only_passes_and_says_what_it_will_be_refused_for(explainer: Explainer) -> None:
    year = time.gmtime().tm_year + 2
    explainer.configuration.write_policy(
        ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}")
        + f"    report_only: {{until: {year}-01-31}}\n"
        + RULES
    )
    token = explainer.token()
    code, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert code == 0
    assert "only because the policy reports: will be refused for binding_missing" in said
    found = explainer.document("--token", token, certificate=explainer.pki.client.pem)
    assert (found["permit"], found["would_deny"], found["reason"]) == (True, True, "binding_missing")


def test_no_token_and_a_public_rule(explainer: Explainer) -> None:
    code, said = explainer.run("--url", "https://api.example.com/healthz")
    assert (code, "verdict  permit (rule health)" in said) == (0, True)
    code, said = explainer.run()
    assert (code, "deny: credentials_missing" in said) == (1, True)
    code, said = explainer.run("--url", "https://api.example.com")
    assert (code, "deny: rule_unmatched (no rule)" in said) == (1, True)


def test_a_token_may_come_from_a_file_or_standard_input(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = explainer.token(explainer.pki.client)
    path = explainer.folder / "token"
    path.write_text(f"{token}\n")
    assert explainer.run("--token", f"@{path}", certificate=explainer.pki.client.pem)[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    assert explainer.run("--token", "-", certificate=explainer.pki.client.pem)[0] == 0
    assert explainer.run("--token", f"Bearer {token}", certificate=explainer.pki.client.pem)[0] == 0
    code, said = explainer.run("--token", f"@{path}.none")
    assert (code, said) == (1, f"{path}.none: cannot be read as text\n")


def test_header_fields_are_sorted_as_the_data_plane_sorts_them(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client)
    field = f"Authorization: Bearer {token}"
    code, said = explainer.run("--header", field, "--token", token, certificate=explainer.pki.client.pem)
    assert (code, "deny: credentials_repeated" in said) == (1, True)
    code, said = explainer.run("--header", "Connection: authorization")
    assert (code, "verdict  deny: request_malformed (no rule)" in said) == (1, True)
    assert "presented  Connection names a field that is end-to-end" in said
    assert "answer   400 Bad Request: The request is malformed" in said
    words = ("--header", "X-Forwarded-User: root", "--token", token)
    code, said = explainer.run(*words, certificate=explainer.pki.client.pem)
    assert code == 0
    assert (
        "stripped X-Forwarded-User: it claims an identity, and only a peer in `forwarded_from` may say it"
        in said
    )
    assert explainer.document(*words, certificate=explainer.pki.client.pem)["stripped_headers"] == [
        "X-Forwarded-User"
    ]
    code, said = explainer.run("--header", "X-HTTP-Method-Override: DELETE")
    assert (code, "a method override, where rules name methods" in said) == (1, True)
    code, said = explainer.run("--header", "nonsense")
    assert (code, said) == (1, "'nonsense' is not 'Name: value'\n")


GROUPS = "P-256, P-384, P-521, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, X25519MLKEM768, X448"
WANTED = "write https://api.example.com/accounts/1, or /accounts/1"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--listener", "inside"), "there is no listener named inside (known: 127.0.0.1:8443)\n"),
        (
            ("--url", "ftp://x/y"),
            f"'ftp://x/y' is neither a URL nor a path: {WANTED}\n",
        ),
        (
            ("--url", "accounts/7"),
            f"'accounts/7' is neither a URL nor a path: {WANTED}\n",
        ),
        (
            ("--url", ""),
            f"'' is neither a URL nor a path: {WANTED}\n",
        ),
        (
            ("--tls", "1.1"),
            "--tls '1.1' is not a version of TLS with, perhaps, a group: 1.2 or 1.3, 1.3/X25519\n",
        ),
        (("--tls", "1.3/x25519"), f"--tls '1.3/x25519' is not a known group: {GROUPS}\n"),
        (("--certificate", "/nowhere/at/all"), "cannot be read: No such file or directory\n"),
    ],
)
def test_arguments_that_make_no_request_are_one_line(
    explainer: Explainer, words: tuple[str, ...], expected: str
) -> None:
    code, said = explainer.run(*words)
    assert code == 1
    assert said.endswith(expected)


@pytest.mark.parametrize(
    "token", ["x", "a.b.c", "...", "a.b.c.d.e", "é", "x" * 20_000, "eyJ.eyJ.x", " ", "a b"]
)
def test_any_token_is_explained_without_a_crash(explainer: Explainer, token: str) -> None:
    for words in ((), ("--offline",)):
        code, said = explainer.run("--token", token, *words)
        assert code == 1
        assert "verdict  deny" in said


def test_the_token_itself_is_never_printed(explainer: Explainer) -> None:
    token = explainer.token(explainer.pki.client)
    for words in ((), ("--format", "json")):
        _, said = explainer.run("--token", token, *words)
        assert token not in said
        assert token.split(".")[2] not in said


def test_what_a_token_says_cannot_move_the_cursor(explainer: Explainer) -> None:
    token = explainer.key.token(explainer.pki.client, header={"kid": "\x1b[2J"}, tenant="acme")
    _, said = explainer.run("--token", token, certificate=explainer.pki.client.pem)
    assert "\x1b" not in said


def test_document_of_our_own_is_explained_as_one(explainer: Explainer) -> None:
    explainer.configuration.write_service(
        SERVICE + "protected_resource: {resource: https://api.example.com}\n"
    )
    code, said = explainer.run("--url", "/.well-known/oauth-protected-resource")
    assert (code, "answer   200: the sidecar's own metadata" in said) == (0, True)
    found = explainer.document("--url", "/.well-known/oauth-protected-resource")
    assert (found["answered_here"], found["permit"], found["status"], found["reason"]) == (
        True,
        False,
        200,
        None,
    )
    assert explainer.document("--url", "/healthz")["answered_here"] is False


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("https://api.example.com", "api.example.com", "/"),
        ("https://api.example.com?x=/", "api.example.com", "/?x=/"),
        ("HTTP://[::1]:8443/a?b", "[::1]:8443", "/a?b"),
        ("/a?b=https://c", "localhost", "/a?b=https://c"),
        ("//a", "localhost", "//a"),
    ],
)
def test_url_is_taken_apart(url: str, host: str, target: str) -> None:
    assert split(url) == (host, target)
