"""Access lines: complete, one line each, and nothing in them that should not be."""

import base64
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter
from sidecar.telemetry.access import LONGEST, AccessLine, decimal, readable, timestamp
from sidecar.telemetry.configuration import Access, Format
from sidecar.telemetry.outcome import outcome_of
from sidecar.telemetry.record import ClientNotes
from sidecar.telemetry.trace_context import TraceIds
from tests.support.pki import Pki, Profile, self_signed
from tests.support.records import RULE, RecordedTelemetry, denial, permit, presenter, record, token

HOSTILE = 'x"\\\n{"event":"request","outcome":"permit"}\r\x00\x1b[2J \u2028 \ud800 é'


def test_line_of_a_permit_names_everyone_and_everything(pki: Pki) -> None:
    thumbprint = base64.urlsafe_b64decode(pki.client.thumbprint + "=")
    validated = token(bound_to=thumbprint)
    request = record(
        permit(validated), presenter=presenter(pki.client), trace_id="0af7651916cd43dd8448eb211c80319c"
    )
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert line == {
        "time": "2027-01-15T08:00:00.250Z",
        "event": "request",
        "outcome": "permit",
        "reason": "none",
        "status": 200,
        "rule": "read-accounts",
        "method": "GET",
        "host": "api.example.com",
        "path": "/accounts/1",
        "request_id": "request-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "peer": "192.0.2.7:50000",
        "listener": "main",
        "protocol": "http/1.1",
        "presented_thumbprint": pki.client.thumbprint,
        "certificate_subject": "CN=client-1",
        "certificate_not_after": timestamp(pki.client.certificate.not_valid_after_utc.timestamp()),
        "issuer": "https://as.example.com",
        "subject": "alice",
        "client_id": "client-1",
        "jti": "jti-1",
        "expected_thumbprint": pki.client.thumbprint,
        "duration": 0.0015,
        "decision_duration": 0.00002,
        "upstream_duration": 0.0012,
        "bytes_in": 0,
        "bytes_out": 512,
        "generation": 3,
    }


def test_lines_for_long_hosts_are_complete_and_not_remembered() -> None:
    lines = AccessLine()
    for number in range(10):
        request = record(permit(token()), host=f"{number}." + "a" * 20_000)
        line = json.loads(lines.render(request, outcome_of(request)))
        assert line["host"] == request.host[:LONGEST] + "…"
    assert lines._kinds == {}


def test_document_of_our_own_is_no_failure() -> None:
    request = record(decision=None)
    request.decision = None
    assert outcome_of(request) == ("none", "permit", "none")
    request.status = 0
    assert outcome_of(request) == ("none", "fail", "internal_error")


@given(st.floats(min_value=0, max_value=1e300))
@example(0.9999995)
@example(0.9999994999999999)
@example(0.0000005)
@example(999999.9999995)
def test_seconds_have_six_decimals_and_are_right_up_to_the_last(seconds: float) -> None:
    text, exact = decimal(seconds), f"{seconds:.6f}"
    assert re.fullmatch(r"[0-9]+\.[0-9]{6}", text)
    assert text == exact or abs(Decimal(text) - Decimal(exact)) == Decimal("0.000001")


def test_line_of_a_denial_names_every_failed_condition() -> None:
    refused = Denial(
        Reason.BINDING_MISMATCH,
        (
            Failure("cnf.x5t#S256", Reason.BINDING_MISMATCH, "AAAA", "BBBB"),
            Failure("scope", Reason.SCOPE_INSUFFICIENT, "accounts:write", "accounts:read"),
        ),
        RULE.name,
        token(),
    )
    request = record(refused)
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert (line["outcome"], line["reason"], line["status"]) == ("deny", "binding_mismatch", 401)
    assert [failure["check"] for failure in line["failures"]] == ["cnf.x5t#S256", "scope"]
    assert line["failures"][1] == {
        "check": "scope",
        "reason": "scope_insufficient",
        "expected": "accounts:write",
        "presented": "accounts:read",
    }


def test_request_without_a_decision_has_a_line_too() -> None:
    request = record(reason=Reason.REQUEST_MALFORMED, status=400, detail="two Content-Length fields")
    request.decision = None
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert (line["outcome"], line["rule"], line["detail"]) == ("deny", "none", "two Content-Length fields")


def test_upstream_failure_after_a_permit_is_a_failure_and_not_a_denial() -> None:
    request = record(permit(), reason=Reason.UPSTREAM_TIMEOUT, status=504)
    assert outcome_of(request) == ("read-accounts", "fail", "upstream_timeout")


def test_tunnel_says_what_ended_it() -> None:
    request = record(permit(), upgraded=True, ended_by="token_expired", status=101)
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert (line["upgraded"], line["ended_by"]) == (True, "token_expired")


@pytest.mark.parametrize("member", ["method", "path", "host", "request_id", "trace_id", "detail", "ended_by"])
def test_no_part_of_a_request_can_break_out_of_its_line(member: str) -> None:
    request = record(None, **{member: HOSTILE})
    line = AccessLine().render(request, outcome_of(request))
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line)[member] == HOSTILE


@pytest.mark.parametrize(
    "sent", [b"", b'00-0af7651916cd43dd8448eb211c80319"-b7ad6b7169203331-01', b"00-" + b'"' * 32 + b"-1-01"]
)
def test_ids_that_are_not_escaped_are_hex_digits_whatever_a_caller_sends(sent: bytes) -> None:
    request = record(permit(), request_id="0123456789abcdef00000a42", trace_id="")
    TraceIds().place(sent, request)
    assert request.has_plain_ids
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert line["request_id"] == "0123456789abcdef00000a42"
    assert line["trace_id"] == "000000000123456789abcdef00000a42"[-32:]


def test_lines_of_several_generations_name_each_its_own() -> None:
    line = AccessLine()
    requests = [record(permit(), generation=number) for number in (1, 2, 2, 1)]
    found = [json.loads(line.render(one, outcome_of(one)))["generation"] for one in requests]
    assert found == [1, 2, 2, 1]


def test_line_does_not_depend_on_the_lines_before() -> None:
    """What a line has in common with the one before is not made again."""
    notes = [
        ClientNotes("one", "tls_client_auth", "san_dns=a"),
        ClientNotes("one", "tls_client_auth", "san_dns=b"),
        ClientNotes("two", "other", ""),
    ]
    issued = ClientNotes("one", "tls_client_auth", "san_dns=a")
    issued.issued, issued.issued_detail = "mismatch", "why"
    given = [
        record(permit()),
        record(permit(), path="/accounts/2"),
        record(permit(), path="/" + "p" * 600),
        record(permit(), path="/" + "p" * 600 + "q"),
        record(permit(), method="PUT"),
        record(permit(), host="other.example", status=404),
        record(permit(), grpc_status=0),
        record(permit(), grpc_status=16, detail="why"),
        record(permit(), grpc_status=4711),
        record(denial(Reason.BINDING_MISMATCH)),
        *[record(permit(), client=one) for one in (*notes, issued)],
        record(permit(), client=issued, grpc_status=3, upgraded=True),
    ]
    line = AccessLine()
    for one in given:
        for each in (*given, one, one):
            labels = outcome_of(each)
            assert line.render(each, labels) == AccessLine().render(each, labels)


def test_no_claim_certificate_or_rule_can_break_out_of_its_line() -> None:
    hostile_rule = Rule(HOSTILE, RULE.match)
    validated = token(client_id=HOSTILE, subject=HOSTILE, issuer=HOSTILE, token_id=HOSTILE)
    certificate = self_signed(Profile('evil"\n\\,+=<>;é'))
    request = record(
        permit(validated, rule=hostile_rule),
        presenter=Presenter(presenter(certificate).client_certificate, "l", HOSTILE),
    )
    line = AccessLine().render(request, outcome_of(request))
    assert line.count("\n") == 1
    parsed = json.loads(line)
    assert [parsed[name] for name in ("rule", "client_id", "subject", "issuer", "jti", "peer")] == [
        HOSTILE
    ] * 6


def test_a_value_a_stranger_chose_is_cut() -> None:
    request = record(permit(token(subject="s" * 100_000)), path="/" + "p" * 100_000)
    line = AccessLine().render(request, outcome_of(request))
    assert json.loads(line)["subject"] == "s" * LONGEST + "…"
    assert len(line) < 4 * LONGEST


def test_line_for_a_terminal_shows_control_characters_instead_of_sending_them() -> None:
    request = record(
        denial(Reason.BINDING_MISMATCH), path=HOSTILE, method=HOSTILE, request_id=HOSTILE, detail=HOSTILE
    )
    line = readable(request, outcome_of(request))
    assert line.count("\n") == 1
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert "DENY" in line
    assert "reason=binding_mismatch" in line
    assert "expected AAAA, presented BBBB" in line


def test_line_for_a_terminal_names_what_would_have_refused_it() -> None:
    reported = record(permit(would_deny=denial(Reason.BINDING_MISMATCH)))
    line = readable(reported, outcome_of(reported))
    assert "REPORT" in line
    assert "[cnf.x5t#S256: expected AAAA, presented BBBB]" in line


def test_a_moment_that_no_calendar_holds_is_empty() -> None:
    assert timestamp(1e300) == ""
    assert timestamp(253402300799) == "9999-12-31T23:59:59.000Z"


def test_two_requests_of_one_connection_share_the_rendering_of_its_certificate(pki: Pki) -> None:
    line, connection = AccessLine(), presenter(pki.client)
    request = record(presenter=connection)
    first = line.render(request, outcome_of(request))
    assert connection.lines
    assert line.render(request, outcome_of(request)) == first


def test_access_all_logs_every_request(tmp_path: Path) -> None:
    recorder = RecordedTelemetry(tmp_path)
    for _ in range(5):
        recorder.telemetry.observe(record())
    assert len(recorder.lines()) == 5


def test_access_denied_logs_what_did_not_simply_pass(tmp_path: Path) -> None:
    recorder = RecordedTelemetry(tmp_path, access=Access.DENIED)
    would = permit(would_deny=denial(Reason.BINDING_MISSING))
    for request in (
        record(),
        record(denial()),
        record(would),
        record(permit(), reason=Reason.UPSTREAM_BROKEN),
    ):
        recorder.telemetry.observe(request)
    assert [line["outcome"] for line in recorder.lines()] == ["deny", "report", "fail"]


def test_access_sampled_logs_one_permit_in_so_many_and_every_denial(tmp_path: Path) -> None:
    recorder = RecordedTelemetry(tmp_path, access=Access.SAMPLED, sample=10)
    for _ in range(30):
        recorder.telemetry.observe(record())
        recorder.telemetry.observe(record(denial()))
    outcomes = [line["outcome"] for line in recorder.lines()]
    assert (outcomes.count("permit"), outcomes.count("deny")) == (3, 30)


def test_text_format_is_for_people(tmp_path: Path) -> None:
    recorder = RecordedTelemetry(tmp_path, Format.TEXT)
    recorder.telemetry.observe(record())
    assert recorder.text() == (
        "08:00:00.250 PERMIT 200     1.50ms GET /accounts/1 rule=read-accounts client=client-1"
        " peer=192.0.2.7:50000 id=request-1\n"
    )


def test_a_record_says_what_the_handshake_came_to() -> None:
    client = Presenter(None, "l", "192.0.2.1:1", tls_version="1.3", tls_group="X25519MLKEM768")
    request = record(permit(), presenter=client)
    line = json.loads(AccessLine().render(request, outcome_of(request)))
    assert (line["tls_version"], line["tls_group"]) == ("1.3", "X25519MLKEM768")
