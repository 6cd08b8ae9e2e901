"""Requests to an authorization server's endpoint, and calls of gRPC, as the admin's question: over its API, and on the
page.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from sidecar.command.cli import main
from tests.process.endpoints.test_admin import ask
from tests.process.world import fast, figures, sidecar
from tests.support.client_files import jwk
from tests.support.debian import program
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.mint import SigningKey
from tests.support.pki import Pki, self_signed
from tests.support.processes import eventually
from tests.support.proofs import Prover
from tests.support.sidecar import Sidecar, listener

FORM = "grant_type=client_credentials&client_id=tpp-1"
OWN, PUBLISHED = self_signed(), self_signed()
RFC9440 = {"format": "rfc9440", "verified": {"name": "X-Verified", "yes": "SUCCESS", "no": "NONE"}}


def clients(jwks_url: str) -> list[dict[str, Any]]:
    by_ca, own = {"method": "tls_client_auth", "ca_file": "tls/client-ca.crt"}, "self_signed_tls_client_auth"
    return [
        by_ca | {"client_id": "tpp-1", "san_dns": "client-1.example"},
        {"client_id": "own", "method": own, "certificate_files": ["own.crt"]},
        {"client_id": "url", "method": own, "jwks_url": jwks_url},
        {"client_id": "old", "method": "other"},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("admin-token-requests")
    with ScriptedIssuer(certificate=pki.server) as publishing:
        publishing.answers[JWKS_PATH] = answer({"keys": [jwk(PUBLISHED)]})
        (folder / "own.crt").write_bytes(OWN.pem)
        (folder / "web.crt").write_bytes(pki.server_authority.pem)
        (folder / "clients.yaml").write_text(yaml.safe_dump({"clients": clients(publishing.jwks_url)}))
        section = {
            "issuer": "https://as.example.com",
            "endpoints": {"token": {"public": "/token", "upstream": "/oauth2/token"}},
            "client_files": ["clients.yaml"],
            "clients_ca_file": "web.crt",
            "hand_over": {"header": RFC9440},
        }
        service = fast({"authorization_server": section})
        with sidecar(folder, pki, signing_key, service) as (running, _):
            document = yaml.safe_load(running.config.read_text())
            document["listeners"] = [listener(running.port) | {"protocols": ["h2", "http/1.1"]}]
            running.stop()
            running.write_service(document)
            with running:
                yield running


def explained(one: Sidecar, **question: object) -> dict[str, Any]:
    status, _, body = ask(one, "/explain", "POST", question)
    found: dict[str, Any] = json.loads(body)
    assert status == 200, found
    return found


def complaint(one: Sidecar, **question: object) -> str:
    status, _, body = ask(one, "/explain", "POST", question)
    assert status == 400
    return str(json.loads(body)["error"])


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {step["check"]: step["verdict"] for step in document["steps"]}


def test_each_check_of_a_client_is_shown_and_nothing_is_sent_or_counted(one: Sidecar, pki: Pki) -> None:
    before = figures(one)
    found = explained(one, token_request=FORM, certificate=pki.client.pem.decode())
    assert (found["permit"], found["rule"], found["status"]) == (True, "authorization_server.token", 200)
    assert set(verdicts(found).values()) == {"passed"}
    assert [step["presented"] for step in found["steps"] if step["check"] == "registered"] == [
        "san_dns=client-1.example"
    ]
    assert found["told_headers"] == ["Client-Cert", "X-Verified"]
    after = figures(one)
    counted = [name for name in after if name[0] == "sidecar_requests_total"]
    assert {name: after[name] for name in counted} == {name: before.get(name, 0) for name in counted}


@pytest.mark.parametrize(
    ("form", "more", "failed", "reason", "status"),
    [
        (FORM, {}, "certificate", "client_certificate_missing", 400),
        ("client_id=own", {"certificate": "client"}, "registered", "client_certificate_mismatch", 400),
        (FORM, {"certificate": "other"}, "registered", "client_certificate_mismatch", 400),
        ("client_id=nobody", {"certificate": "client"}, "client_id", "client_unknown", 400),
        (f"{FORM}&client_secret=s3cret", {}, "method", "client_method_mismatch", 400),
        (FORM, {"token": "Basic dHBwLTE6czNjcmV0"}, "method", "client_method_mismatch", 401),
        (f"{FORM}&client_id=tpp-1", {}, "form", "parameter_repeated", 400),
        (FORM, {"headers": ["Content-Type: application/json"]}, "form", "form_malformed", 400),
        (FORM, {"method": "PUT"}, "form", "form_malformed", 400),
        (FORM, {"url": "/TOKEN"}, "endpoint", "endpoint_unknown", 404),
        (FORM, {"url": "/oauth2/token"}, "endpoint", "endpoint_unknown", 404),
        (FORM, {"protocol": "h2"}, "certificate", "client_certificate_missing", 400),
    ],
)  # fmt: skip
def test_first_check_that_fails_is_shown_as_the_command_shows_it(  # noqa: PLR0917 — a row of a table
    one: Sidecar,
    pki: Pki,
    capsys: pytest.CaptureFixture[str],
    form: str,
    more: dict[str, Any],
    failed: str,
    reason: str,
    status: int,
) -> None:
    certificates = {"client": pki.client, "other": pki.other_client}
    words = ["--token-request", form, "--format", "json", "--offline"]
    asked = dict(more)
    if name := asked.pop("certificate", None):
        asked["certificate"] = certificates[name].pem.decode()
        (one.folder / "asked.crt").write_bytes(certificates[name].pem)
        words += ["--certificate", str(one.folder / "asked.crt")]
    for option in ("token", "method", "url", "protocol"):
        words += [f"--{option}", asked[option]] if option in asked else []
    words += [word for line in asked.get("headers", ()) for word in ("--header", line)]
    found = explained(one, token_request=form, **asked)
    assert (found["permit"], found["reason"], found["status"]) == (False, reason, status)
    assert [check for check, verdict in verdicts(found).items() if verdict == "failed"] == [failed]
    assert "s3cret" not in json.dumps(found)
    assert main(["explain", "--config", str(one.config), *words]) == 1
    assert json.loads(capsys.readouterr().out) == found


def test_proof_of_a_client_goes_along(one: Sidecar, pki: Pki) -> None:
    """RFC 9449 §5: it is the server's to check."""
    proof = Prover.create().proof("", url="https://as.example.com/token", method="POST")
    found = explained(one, token_request=FORM, certificate=pki.client.pem.decode(), proof=proof)
    assert found["permit"] is True
    assert proof not in json.dumps(found)


def test_client_is_asked_about_with_what_the_running_sidecar_knows_of_it(one: Sidecar) -> None:
    def permitted() -> bool:
        found = explained(one, token_request="client_id=url", certificate=PUBLISHED.pem.decode())
        return bool(found["permit"])

    eventually(permitted)
    stranger = explained(one, token_request="client_id=url", certificate=OWN.pem.decode())
    assert stranger["reason"] == "client_certificate_mismatch"


def test_client_that_the_server_authenticates_is_shown_as_such(one: Sidecar) -> None:
    basic = base64.b64encode(b"old:s3cret").decode()
    found = explained(one, token_request="grant_type=refresh_token", token=f"Basic {basic}")
    assert found["permit"] is True
    assert [step["presented"] for step in found["steps"] if step["check"] == "method"] == [
        "other: the server authenticates it"
    ]


@pytest.mark.parametrize(
    ("asked", "reason", "status"),
    [
        ({"url": "/token", "method": "GET"}, "form_malformed", 400),
        ({"url": "/token", "method": "POST"}, "form_malformed", 400),
        ({"url": "https://as.example.com/token/"}, "endpoint_unknown", 404),
        ({"url": "/token", "headers": ["Content-Length: x"]}, "request_malformed", 400),
        ({"url": "/elsewhere"}, "credentials_missing", 401),
    ],
)
def test_question_about_the_path_of_an_endpoint_is_answered_as_a_request_there(
    one: Sidecar, capsys: pytest.CaptureFixture[str], asked: dict[str, Any], reason: str, status: int
) -> None:
    """Whether or not it comes with a form: what the data plane does depends on the path."""
    found = explained(one, **asked)
    assert (found["reason"], found["status"]) == (reason, status)
    words = ["--url", asked["url"], "--method", asked.get("method", "GET"), "--offline", "--format", "json"]
    words += [word for line in asked.get("headers", ()) for word in ("--header", line)]
    assert main(["explain", "--config", str(one.config), *words]) == 1
    of_command = json.loads(capsys.readouterr().out)
    assert (of_command["reason"], of_command["status"]) == (reason, status)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"token_request": FORM, "url": "/accounts/1"},
            "token_request: /accounts/1 is not the path of an endpoint",
        ),
        ({"token_request": FORM, "grpc": "a.B/c"}, "token_request: a gRPC call is not a form"),
        ({"token_request": 7}, "token_request: expected text"),
        ({"token_request": "x" * 70_000}, "token_request: expected text of at most 65536"),
        ({"grpc": "a.B/c", "method": "PUT"}, "method: a gRPC call is a POST"),
        ({"grpc": "a.B"}, "grpc: not a service and its method"),
        ({"protocol": "h3"}, "protocol: h3 is not offered"),
    ],
)
def test_question_that_makes_no_request_is_told(one: Sidecar, asked: dict[str, Any], said: str) -> None:
    assert complaint(one, **asked).startswith(said)


def test_call_of_grpc_is_answered_as_its_caller_sees_it(one: Sidecar) -> None:
    found = explained(one, grpc="bank.Accounts/Get")
    assert (found["protocol"], found["grpc_status"], found["reason"]) == ("h2", 16, "credentials_missing")


def test_page_asks_about_a_token_request_and_a_call(one: Sidecar, pki: Pki) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium", "chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(one.admin_link)
        expect(page.locator("#server-panel")).to_be_visible()
        page.get_by_label("Token request").fill(FORM)
        page.get_by_label("Client certificate (PEM)").fill(pki.client.pem.decode())
        page.locator("#explain button[type=submit]").click()
        expect(page.locator("#answer .verdict")).to_contain_text("permitted")
        expect(page.locator("#answer .verdict")).to_contain_text("rule authorization_server.token")
        expect(page.locator("#answer")).to_contain_text("the server is told: Client-Cert, X-Verified")
        page.get_by_label("Client certificate (PEM)").fill(pki.other_client.pem.decode())
        page.locator("#explain button[type=submit]").click()
        expect(page.locator("#answer .verdict")).to_contain_text("refused 400")
        expect(page.locator("#answer .steps")).to_contain_text("RFC 8705 §2.1.2")
        page.get_by_label("Token request").fill("")
        page.get_by_label("Call of gRPC").fill("bank.Accounts/Get")
        page.get_by_label("Protocol").select_option("h2")
        page.locator("#explain button[type=submit]").click()
        expect(page.locator("#answer")).to_contain_text("grpc-status: 16")
        page.get_by_label("Protocol").select_option("http/1.1")
        page.locator("#explain button[type=submit]").click()
        expect(page.locator("#answer")).to_contain_text("http/1.1 has no gRPC calls")
        browser.close()
