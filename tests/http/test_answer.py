"""The sidecar's own answers: one maker, free of any wire; and how HTTP/1.1 writes them down."""

import ast
import json
from pathlib import Path

import pytest

import sidecar
from sidecar.decision.challenge import DESCRIPTIONS
from sidecar.decision.denial import Denial, Reason, shape
from sidecar.decision.token_error import BASIC, CODES, TokenErrorCode
from sidecar.http.answer import Answers, Wording, document
from sidecar.http.message import Request
from sidecar.proxy.client import http1_writer

PACKAGE = Path(sidecar.__file__).parent
ID = "0123456789abcdef00000001"
WORDING = Wording("api", "https://api.example.com/.well-known/oauth-protected-resource")


def calls_of(name: str) -> set[str]:
    """The modules of the package that call something of this name."""
    return {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    }


@pytest.mark.parametrize(
    ("thing", "maker"),
    [
        ("RequestHead", "http/intake.py"),
        ("Answer", "http/answer.py"),
        ("problem", "http/answer.py"),
        ("challenges", "http/answer.py"),
    ],
)
def test_only_one_place_makes_it(thing: str, maker: str) -> None:
    assert calls_of(thing) == {maker}


@pytest.mark.parametrize("reason", [one for one in Reason if one not in CODES])
def test_every_denial_has_an_answer_whose_body_names_the_request(reason: Reason) -> None:
    answer = Answers(WORDING).to(Denial(reason))
    body = json.loads(answer.body(ID))
    assert (answer.status, answer.closes) == (shape(reason).status, shape(reason).closes)
    assert (body["reason"], body["status"], body["request_id"]) == (reason.value, answer.status, ID)
    assert (answer.challenge is not None) is shape(reason).challenge
    assert (answer.field(b"Retry-After") == "1") is (answer.status == 503)


@pytest.mark.parametrize("reason", CODES)
def test_denial_at_an_endpoint_of_the_authorization_server_is_an_oauth_error(reason: Reason) -> None:
    """RFC 6749 §5.2."""
    answer = Answers(WORDING).to(Denial(reason))
    body = json.loads(answer.body(ID))
    assert body == {"error": CODES[reason].value, "error_description": DESCRIPTIONS[reason], "request_id": ID}
    assert (answer.status, answer.challenge) == (shape(reason).status, None)
    assert answer.field(b"Content-Type") == "application/json"
    assert (answer.field(b"Cache-Control"), answer.field(b"Pragma")) == ("no-store", "no-cache")


def test_client_that_sent_authorization_is_challenged() -> None:
    """RFC 6749 §5.2: 401 and `WWW-Authenticate` "matching the authentication scheme used by the client"."""
    answer = Answers(WORDING).to(Denial(Reason.CLIENT_UNKNOWN, schemes=BASIC))
    assert (answer.status, answer.challenge) == (401, 'Basic realm="api"')
    assert (
        Answers(Wording()).to(Denial(Reason.CLIENT_UNKNOWN, schemes=BASIC)).challenge
        == 'Basic realm="client"'
    )
    assert Answers(WORDING).to(Denial(Reason.FORM_MALFORMED, schemes=BASIC)).status == 400


def test_all_clients_that_are_not_authenticated_get_the_same_bytes() -> None:
    """Neither who is registered nor what is wrong can be told from the answer, whatever is disclosed otherwise."""
    refused = [one for one, code in CODES.items() if code is TokenErrorCode.INVALID_CLIENT]
    for disclose in (True, False):
        made = [Answers(Wording(disclose=disclose)).to(Denial(one)) for one in refused]
        assert len({(one.status, one.fields, one.body(ID)) for one in made}) == 1
    assert len(refused) == 7


def test_what_is_wrong_with_a_form_is_said_unless_it_is_not_to_be() -> None:
    told = Answers(Wording(disclose=False)).to(Denial(Reason.PARAMETER_REPEATED))
    assert json.loads(told.body(ID)) == {"error": "invalid_request", "request_id": ID}


def test_what_a_configuration_says_is_in_its_answers() -> None:
    denial = Denial(Reason.TOKEN_EXPIRED)
    said = Answers(WORDING).to(denial).challenge
    assert said == (
        'Bearer realm="api", error="invalid_token", error_description="The access token expired", '
        f'resource_metadata="{WORDING.resource_metadata}"'
    )
    silent = Answers(Wording(disclose=False)).to(denial)
    assert silent.challenge == 'Bearer error="invalid_token"'
    assert json.loads(silent.body(ID)).keys() == {"type", "title", "status", "request_id"}
    typed = Answers(Wording(problem_types="https://docs.example.com/?v=100%25#")).to(denial)
    assert json.loads(typed.body(ID))["type"] == "https://docs.example.com/?v=100%25#token_expired"
    assert json.loads(typed.body(ID))["request_id"] == ID


def test_denials_that_say_the_same_share_an_answer_and_the_number_kept_is_bounded() -> None:
    answers = Answers(WORDING)
    first = answers.to(Denial(Reason.RULE_UNMATCHED))
    assert answers.to(Denial(Reason.RULE_UNMATCHED, rule="other")) is first
    for number in range(2000):
        answers.to(Denial(Reason.SCOPE_INSUFFICIENT, scope=(str(number),)))
    assert len(answers._made) <= 512


def written(answer_to: Denial, *, close: bool = False, minor_version: int = 1, method: str = "GET") -> bytes:
    request = Request()
    request.method, request.minor_version = method, minor_version
    return http1_writer.own_answer(Answers(WORDING).to(answer_to), ID, request, close=close)


def test_http_1_1_writes_an_answer_down() -> None:
    body = (
        b'{"type": "about:blank", "title": "Service Unavailable", "status": 503, '
        b'"detail": "The access token cannot be checked now", "reason": "issuer_unavailable", '
        b'"request_id": "0123456789abcdef00000001"}'
    )
    head = (
        b"HTTP/1.1 503 Service Unavailable\r\nDate: %b\r\nContent-Type: application/problem+json\r\n"
        b"Content-Length: %d\r\nCache-Control: no-store\r\nRetry-After: 7\r\n%bX-Request-Id: %b\r\n\r\n"
    )
    outage = Denial(Reason.ISSUER_UNAVAILABLE, retry_after=7)
    for connection, closes, minor_version in (
        (b"", False, 1),
        (b"Connection: close\r\n", True, 1),
        (b"Connection: close\r\n", True, 0),
        (b"Connection: keep-alive\r\n", False, 0),
    ):
        expected = head % (http1_writer.date(), len(body), connection, ID.encode())
        assert written(outage, close=closes, minor_version=minor_version) == expected + body
        assert written(outage, close=closes, minor_version=minor_version, method="HEAD") == expected


def test_http_1_1_writes_a_document_down() -> None:
    request, answer = Request(), document(b'{"resource": "https://api.example.com"}')
    expected = (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: 39\r\n%b\r\n"
    )
    for connection, close in ((b"", False), (b"Connection: close\r\n", True)):
        whole = http1_writer.own_answer(answer, ID, request, close=close)
        assert whole == expected % (http1_writer.date(), connection) + answer.body(ID)
