"""`explain`, the admin page's question and policy cases about calls of gRPC: what a caller gets of the data plane."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sidecar.authorizer import Authorizer
from sidecar.command.cli import main
from sidecar.decision.permit import Permit
from sidecar.http.message import Field
from sidecar.rehearsal.question import BadQuestion, answer
from sidecar.rehearsal.trial.run import Stage
from sidecar.settings.case_sections import Case, CaseExpectation, CaseRequest
from sidecar.settings.cases import PolicyCase
from tests.rehearsal.test_one_reading import Published
from tests.settings.test_grpc import SPOKEN
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.conversation import Conversation
from tests.support.http2_client import Http2Client
from tests.support.http2_upstream import Http2Api
from tests.support.mint import SigningKey, jwks
from tests.support.pki import Identity, Pki
from tests.support.records import STARTED
from tests.support.world import Keys

RULES = """\
rules:
  - {name: health, match: {grpc: {service: grpc.health.v1.Health}}, public: true}
  - {name: transfer, match: {grpc: {service: bank.Accounts, method: Transfer}}, require: {scopes: [payments:write]}}
  - {name: accounts, match: {grpc: {service: "bank.*"}}, require: {scopes: [accounts:read]}}
"""
UNSPOKEN = SPOKEN.replace(", protocol: h2}", "}")
BOTH = SPOKEN.replace("[h2]", "[h2, http/1.1]")
AT = "2027-01-15T08:00:00Z"
GET, TRANSFER = "bank.Accounts/Get", "bank.Accounts/Transfer"


@dataclass
class Bank:
    """A policy for calls, and four ways to ask what becomes of one."""

    configuration: Configuration
    pki: Pki
    key: SigningKey
    capsys: pytest.CaptureFixture[str]

    def token(self, presenter: Identity | None = None, **claims: Any) -> str:
        times = {"iat": int(STARTED) - 10, "exp": int(STARTED) + 600}
        return self.key.token(presenter or self.pki.client, **(times | claims))

    def words(self, *words: str) -> tuple[int, str]:
        certificate = str(self.configuration.folder / "client.crt")
        code = main(
            [
                "explain",
                "--config",
                str(self.configuration.file),
                "--at",
                AT,
                "--certificate",
                certificate,
                *words,
            ]
        )
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def explained(self, call: str, token: str) -> dict[str, Any]:
        _, said = self.words("--format", "json", "--grpc", call, "--token", token)
        found: dict[str, Any] = json.loads(said)
        return found

    def asked(self, call: str, token: str, **more: str) -> dict[str, Any]:
        loaded = self.configuration.load()
        authorizer = Authorizer(loaded.policy, Keys.of(self.key), digest_key=b"x" * 32, elapsing=float)
        form = {"grpc": call, "token": token, "certificate": self.pki.client.pem.decode(), **more}
        return asyncio.run(answer(form, authorizer, loaded, STARTED))

    def live(self, call: str, token: str) -> tuple[dict[str, Any], dict[str, str]]:
        """What the data plane does: as the document of an explanation has it, and the fields of its answer."""
        loaded = self.configuration.load()
        with Conversation(listener=loaded.proxy.listeners[0], upstream=loaded.proxy.upstream) as talk:
            authorizer = Authorizer(loaded.policy, Keys.of(self.key), digest_key=b"x" * 32, elapsing=float)

            async def serve() -> None:
                talk.server.replace(loaded.proxy, authorizer, generation=1)

            talk.loop.run_until_complete(serve())
            client = Http2Client(talk, self.pki.client)
            fields: list[Field] = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
            if token:
                fields.append((b"authorization", f"Bearer {token}".encode()))
            number = client.asks(f"/{call}", "POST", *fields, ends=False)
            client.sends(number, b"", ends=True)
            if not talk.untouched:
                Http2Api(talk.upstream()).says(1, 200, (b"grpc-status", b"0"))
            got, record = client.got(number), talk.record
            decision, reason = record.decision, record.reason
            assert decision is not None
            assert got.status == 200, "whatever became of it"
            return {
                "permit": isinstance(decision, Permit) and reason is None,
                "status": record.status,
                "reason": reason.value if reason is not None else None,
                "rule": decision.rule.name if isinstance(decision, Permit) else decision.rule,
                "grpc_status": int(got.fields["grpc-status"]),
                "grpc_message": got.fields.get("grpc-message"),
                "challenge": got.fields.get("www-authenticate"),
            }, got.fields

    def played(self, call: str, authorization: str) -> dict[str, Any]:
        """What a case with this header field comes to."""
        service, _, method = call.partition("/")
        asked = CaseRequest.model_validate({"grpc": {"service": service, "method": method}})
        headers: dict[str, str | list[str]] = {"Authorization": authorization} if authorization else {}
        request = CaseRequest.model_construct(
            grpc=asked.grpc, method="POST", target=f"/{call}", headers=headers
        )
        expected = CaseExpectation(status=200)
        case = PolicyCase(
            Case.model_construct(name="one", expect=expected),
            "here:1",
            None,
            request,
            "client",
            None,
            None,
            {},
        )
        loaded = self.configuration.load()
        issuers = Published(loaded.policy)
        issuers.own = Keys.of(self.key).keys("https://as.example.com")
        stage = Stage(loaded, issuers)
        came = asyncio.run(stage.play(case, lambda _name: self.pki.client.presented, STARTED))
        return {
            "permit": came.bounds is not None,
            "status": came.status,
            "reason": came.reason,
            "rule": came.rule,
            "grpc_status": came.grpc_status,
            "challenge": came.challenge,
        }

    def cases(self, *cases: str, head: str = "") -> tuple[int, str]:
        text = "".join(f"  - {{name: c{index}, {case}}}\n" for index, case in enumerate(cases))
        path = self.configuration.folder / "cases.yaml"
        path.write_text(f"{head}cases:\n{text}")
        code = main(["test", "--config", str(self.configuration.file), str(path)])
        said = self.capsys.readouterr()
        return code, (said.out + said.err).replace(f"{self.configuration.folder}/", "")


@pytest.fixture
def bank(tmp_path: Path, pki: Pki, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]) -> Bank:
    made = Configuration.create(tmp_path, pki)
    made.write_service(SPOKEN)
    made.write_policy(ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}") + RULES)
    (tmp_path / "policies" / "jwks.json").write_text(json.dumps(jwks(signing_key)))
    (tmp_path / "client.crt").write_bytes(pki.client.pem)
    return Bank(made, pki, signing_key, capsys)


class Call(NamedTuple):
    """One call of the corpus, and what its caller gets."""

    name: str
    method: str
    token: Callable[[Bank], str]
    code: int
    reason: str | None


CALLS = [
    Call("permitted", GET, Bank.token, 0, None),
    Call("public", "grpc.health.v1.Health/Check", lambda _: "", 0, None),
    Call("no token", GET, lambda _: "", 16, "credentials_missing"),
    Call("stolen", GET, lambda bank: bank.token(bank.pki.other_client), 16, "binding_mismatch"),
    Call("expired", GET, lambda bank: bank.token(exp=int(STARTED) - 400), 16, "token_expired"),
    Call("of another API", GET, lambda bank: bank.token(aud="https://other"), 16, "audience_mismatch"),
    Call("without the scope", TRANSFER, Bank.token, 7, "scope_insufficient"),
    Call("no rule", "shop.Orders/Get", Bank.token, 7, "rule_unmatched"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "service",
    [SPOKEN, UNSPOKEN, SPOKEN + "disclose_reasons: false\n"],
    ids=["gRPC upstream", "HTTP/1.1 upstream", "nothing disclosed"],
)
def test_four_ways_say_the_same_of_a_call(bank: Bank, service: str, call: Call) -> None:
    bank.configuration.write_service(service)
    token, code, reason = call.token(bank), call.code, call.reason
    live, fields = bank.live(call.method, token)
    if service is UNSPOKEN and reason is None:
        code, reason = 12, "grpc_unsupported"
    assert (live["grpc_status"], live["reason"]) == (code, reason)
    assert ("grpc-message" in fields) is (reason is not None)
    for found in (bank.explained(call.method, token), bank.asked(call.method, token)):
        assert {name: found[name] for name in live} == live
        assert found["protocol"] == "h2"
    played = bank.played(call.method, f"Bearer {token}" if token else "")
    assert {name: live[name] for name in played} == played


def test_a_refused_call_is_shown_as_its_caller_sees_it(bank: Bank) -> None:
    code, said = bank.words("--grpc", GET, "--token", bank.token(exp=int(STARTED) - 400))
    assert code == 1
    assert (
        "verdict  deny: token_expired (rule accounts)\n"
        "answer   200 with grpc-status 16 UNAUTHENTICATED, all in one head (trailers-only)\n"
        "         grpc-message: token_expired: The access token expired\n"
        "         WWW-Authenticate: Bearer " in said
    )


def test_a_permitted_call_that_the_api_is_not_asked_is_shown_with_the_cause(bank: Bank) -> None:
    bank.configuration.write_service(UNSPOKEN)
    code, said = bank.words("--grpc", GET, "--token", bank.token())
    assert code == 1
    assert "verdict  deny: grpc_unsupported (rule accounts)" in said
    assert "grpc-status 12 UNIMPLEMENTED" in said
    assert "FAIL  upstream" in said
    assert "expected   h2" in said
    assert "presented  http/1.1" in said


def test_content_type_and_protocol_make_a_call_of_any_request(bank: Bank) -> None:
    words = (
        "--method",
        "POST",
        "--url",
        f"https://api.example.com/{GET}",
        "--header",
        "Content-Type: application/grpc+proto",
    )
    assert "grpc-status 16 UNAUTHENTICATED" in bank.words(*words)[1]
    bank.configuration.write_service(BOTH)
    assert "answer   401 Unauthorized" in bank.words(*words)[1], "HTTP/1.1, unless h2 is asked for"
    assert "grpc-status 16 UNAUTHENTICATED" in bank.words(*words, "--protocol", "h2")[1]


def test_what_http_2_calls_malformed_is_refused_as_that(bank: Bank) -> None:
    _, said = bank.words("--grpc", GET, "--header", "Connection: close")
    assert "a field that only HTTP/1.1 knows: connection" in said
    assert "verdict  deny: request_malformed" in said
    assert "two" not in bank.words("--grpc", GET, "--header", "Host: a")[1]
    assert "more than one Host" in bank.words("--grpc", GET, "--header", "Host: a", "--header", "Host: b")[1]
    assert "method_refused" in bank.words("--method", "CONNECT", "--header", "Host: a")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--grpc", "bank.Accounts"),
            "--grpc 'bank.Accounts' is not a service and its method: bank.v1.Accounts/Get",
        ),
        (("--grpc", GET, "--method", "PUT"), "--grpc sets method and path: leave out --method"),
        (("--grpc", GET, "--url", "/a"), "--grpc sets method and path"),
        (
            ("--grpc", GET, "--protocol", "http/1.1"),
            "--protocol http/1.1: http/1.1 has no gRPC calls: use h2",
        ),
        (
            ("--protocol", "http/1.1"),
            "http/1.1 is not offered by the listener 127.0.0.1:8443: `protocols: [h2]`",
        ),
    ],
)
def test_a_question_about_no_call_says_what_is_right(bank: Bank, words: tuple[str, ...], said: str) -> None:
    code, came = bank.words(*words)
    assert code == 1
    assert said in came
    assert came.count("\n") == 1


def test_a_listener_that_takes_no_calls_says_so(bank: Bank) -> None:
    bank.configuration.write_service(SERVICE)
    assert (
        "h2 is not offered by the listener 127.0.0.1:8443: `protocols: [http/1.1]`"
        in bank.words("--grpc", GET)[1]
    )
    with pytest.raises(BadQuestion, match="protocol: h2 is not offered"):
        bank.asked(GET, "")
    code, said = bank.cases("request: {grpc: {service: a.B, method: c}}, expect: {grpc_status: 7}")
    assert code == 1
    assert "h2 is not offered by the listener" in said


@pytest.mark.parametrize(
    ("call", "more", "said"),
    [
        ("bank", {}, "grpc: not a service"),
        (GET, {"url": "/a"}, "url: a gRPC call"),
        (GET, {"protocol": "h3"}, "protocol: h3"),
    ],
)
def test_the_admin_question_about_no_call_says_what_is_right(
    bank: Bank, call: str, more: dict[str, str], said: str
) -> None:
    with pytest.raises(BadQuestion, match=said):
        bank.asked(call, "", **more)


ASKS = "request: {grpc: {service: bank.Accounts, method: Get}}"


@pytest.mark.parametrize(
    "case",
    [
        f"{ASKS}, expect: {{status: 200, rule: accounts, grpc_status: 0}}",
        f"{ASKS}, expect: {{grpc_status: OK, upstream_headers: {{Content-Type: application/grpc}}}}",
        f"{ASKS}, token: none, expect: {{status: 401, grpc_status: UNAUTHENTICATED}}",
        f"{ASKS}, token: {{bound_to: bob}}, expect: {{reason: binding_mismatch, grpc_status: 16}}",
        "request: {grpc: {service: bank.Accounts, method: Transfer}}, expect: {grpc_status: PERMISSION_DENIED}",
        "request: {grpc: {service: shop.Orders, method: Get}}, expect: {status: 403, grpc_status: 7}",
        "request: {protocol: h2, target: /a}, expect: {status: 403, reason: rule_unmatched}",
    ],
)
def test_a_case_of_a_call_goes_through_the_real_decision(bank: Bank, case: str) -> None:
    head = "defaults: {token: {claims: {scope: accounts:read}}}\n"
    code, said = bank.cases(case, head=head)
    assert code == 0, said


def test_a_case_that_comes_out_otherwise_shows_the_status_of_its_caller(bank: Bank) -> None:
    code, said = bank.cases(
        f"{ASKS}, token: none, expect: {{grpc_status: OK}}", "request: {target: /a}, expect: {grpc_status: 7}"
    )
    assert code == 1
    assert "POST /bank.Accounts/Get  401 credentials_missing (grpc-status 16 UNAUTHENTICATED)" in said
    assert "- grpc_status: 0\n      + grpc_status: 16" in said
    assert "- grpc_status: 7\n      + grpc_status: none" in said, "it is no call"


def test_defaults_of_calls_and_of_other_requests_do_not_mix(bank: Bank) -> None:
    bank.configuration.write_service(BOTH)
    head = "defaults: {request: {grpc: {service: grpc.health.v1.Health, method: Check}}}\n"
    code, said = bank.cases(
        "expect: {rule: health, grpc_status: 0}",
        "request: {target: /a}, expect: {status: 403}",
        f"{ASKS}, token: none, expect: {{rule: accounts, grpc_status: 16}}",
        head=head,
    )
    assert code == 0, said
    assert "GET /a " in said


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            "request: {grpc: {service: a.B, method: c}, target: /a}, expect: {status: 200}",
            "contradicts `grpc`",
        ),
        (
            "request: {grpc: {service: 'a.*', method: c}}, expect: {status: 200}",
            "is not the full name of a service",
        ),
        ("request: {grpc: {service: a.B}}, expect: {status: 200}", "missing key `method`"),
        (f"{ASKS}, expect: {{grpc_status: UNAUTHORIZED}}", "`UNAUTHORIZED` is not a status of the sidecar"),
        (f"{ASKS}, expect: {{grpc_status: 17}}", "17"),
    ],
)
def test_a_mistake_in_a_case_is_said(bank: Bank, case: str, said: str) -> None:
    code, came = bank.cases(case)
    assert code != 0
    assert said in came
