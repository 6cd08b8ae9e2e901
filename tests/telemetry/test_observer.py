"""The observer counts and tells every way a request, a handshake or a connection can end."""

import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.decision.certificate import NEVER_VALID
from sidecar.decision.client_certificate import ClientCertificate, Unreadable
from sidecar.decision.denial import Denial, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter
from sidecar.telemetry.allowance import BURST, MOST_DETAILS, PERIOD
from sidecar.telemetry.configuration import Level
from sidecar.telemetry.journal import adopt_library_logs
from sidecar.telemetry.live import KEPT
from sidecar.telemetry.metrics import total
from tests.support.pki import Pki
from tests.support.records import RULE, RecordedTelemetry, denial, permit, record


@pytest.fixture
def recorder(tmp_path: Path) -> RecordedTelemetry:
    return RecordedTelemetry(tmp_path)


def test_requests_are_counted_by_rule_outcome_and_reason(recorder: RecordedTelemetry) -> None:
    observe = recorder.telemetry.observe
    observe(record())
    observe(record(denial(Reason.TOKEN_EXPIRED)))
    observe(record(permit(), reason=Reason.UPSTREAM_REFUSED, status=502))
    assert recorder.metrics.counters["sidecar_requests_total"] == {
        ("read-accounts", "permit", "none"): 1,
        ("read-accounts", "deny", "token_expired"): 1,
        ("read-accounts", "fail", "upstream_refused"): 1,
    }


def test_every_reason_has_an_outcome_and_is_counted(recorder: RecordedTelemetry) -> None:
    for reason in Reason:
        recorder.telemetry.observe(record(denial(reason)))
    outcomes = {labels[2]: labels[1] for labels in recorder.metrics.counters["sidecar_requests_total"]}
    assert set(outcomes) == {reason.value for reason in Reason}
    failures = {name for name, outcome in outcomes.items() if outcome == "fail"}
    assert failures == {
        "issuer_unavailable", "overloaded", "rule_busy", "audit_unavailable",
        "upstream_refused", "upstream_broken", "upstream_timeout",
        "internal_error", "server_credentials_refused", "issued_token_unbound",
    }  # fmt: skip


def test_durations_and_bytes_are_counted(recorder: RecordedTelemetry) -> None:
    recorder.telemetry.observe(record(bytes_in=100, bytes_out=900))
    recorder.telemetry.observe(record(denial(), upstream_seconds=0.0))
    snapshot = recorder.metrics.snapshot()
    assert total(snapshot, "sidecar_request_body_bytes_total") == 100
    assert total(snapshot, "sidecar_response_body_bytes_total") == 1412
    assert sum(recorder.metrics.histogram("sidecar_request_duration_seconds").counts) == 2
    assert sum(recorder.metrics.histogram("sidecar_upstream_duration_seconds").counts) == 1


def test_connections_and_handshakes_are_counted(recorder: RecordedTelemetry) -> None:
    telemetry = recorder.telemetry
    for _ in range(3):
        telemetry.connection_opened()
    telemetry.connection_closed()
    telemetry.handshake("full")
    telemetry.handshake("certificate_refused", "192.0.2.7:50000", "unable to get local issuer certificate")
    snapshot = recorder.metrics.snapshot()
    assert total(snapshot, "sidecar_connections") == 2
    assert total(snapshot, "sidecar_connections_accepted_total") == 3
    assert total(snapshot, "sidecar_tls_handshakes_total", {"result": "certificate_refused"}) == 1
    (line,) = recorder.lines()
    assert (line["name"], line["peer"]) == ("certificate_refused", "192.0.2.7:50000")


def test_upstream_that_is_down_is_a_warning(recorder: RecordedTelemetry) -> None:
    recorder.telemetry.incident("upstream_down", "connection refused")
    recorder.telemetry.incident("header_dropped")
    assert [(line["name"], line["level"]) for line in recorder.lines()] == [
        ("upstream_down", "warning"),
        ("header_dropped", "info"),
    ]


def test_header_that_is_stripped_is_counted_and_named_once(recorder: RecordedTelemetry) -> None:
    for name in ["X-Forwarded-User", "x-forwarded-user", "Remote-User", "X-Forwarded-User"]:
        recorder.telemetry.header_stripped(name)
    assert [line["name"] for line in recorder.lines()] == ["x-forwarded-user", "remote-user"]
    assert recorder.metrics.counters["sidecar_incidents_total"] == {("header_stripped",): 4}
    for number in range(200):
        recorder.telemetry.header_stripped(f"X-Original-{number}")
    assert len(recorder.lines()) <= 64


def test_a_storm_of_one_incident_is_a_few_lines_and_their_sum(recorder: RecordedTelemetry) -> None:
    for _ in range(100):
        recorder.telemetry.incident("upstream_down", "connection refused")
    recorder.pass_time(11)
    recorder.telemetry.incident("upstream_down", "connection refused")
    lines = recorder.lines()
    assert [line["event"] for line in lines] == ["incident"] * 5 + ["lines suppressed", "incident"]
    assert lines[5]["count"] == 95
    assert recorder.metrics.counters["sidecar_incidents_total"] == {("upstream_down",): 101}


def test_failed_handshakes_are_told_apart_by_what_failed(recorder: RecordedTelemetry) -> None:
    telemetry = recorder.telemetry
    for _ in range(100):
        telemetry.handshake("certificate_refused", "192.0.2.7", "unknown ca")
    telemetry.handshake("certificate_refused", "192.0.2.8", "certificate has expired")
    recorder.pass_time(PERIOD)
    telemetry.handshake("certificate_refused", "192.0.2.7", "unknown ca")
    told = [(line["event"], line["detail"], line.get("count")) for line in recorder.lines()]
    unknown, expired = [
        ("TLS handshake failed", which, None) for which in ("unknown ca", "certificate has expired")
    ]
    assert told == [*[unknown] * BURST, expired, ("lines suppressed", "unknown ca", 100 - BURST), unknown]


def test_only_so_many_details_are_told_apart_and_the_rest_share_their_names_lines(
    recorder: RecordedTelemetry,
) -> None:
    for number in range(1000):
        recorder.telemetry.handshake("protocol_error", "192.0.2.7", f"oddity {number}")
    assert len(recorder.lines()) == MOST_DETAILS + BURST


def test_details_whose_time_is_over_make_room_and_their_sums_are_told(recorder: RecordedTelemetry) -> None:
    telemetry = recorder.telemetry
    for number in range(MOST_DETAILS):
        for _ in range(BURST + 2):
            telemetry.handshake("protocol_error", "192.0.2.7", f"oddity {number}")
    recorder.pass_time(PERIOD)
    for _ in range(BURST + 1):
        telemetry.handshake("certificate_refused", "192.0.2.8", "certificate has expired")
    lines = recorder.lines()
    sums = {line["detail"]: line["count"] for line in lines if line["event"] == "lines suppressed"}
    assert sums == {f"oddity {number}": 2 for number in range(MOST_DETAILS)}
    assert [line["detail"] for line in lines[-BURST:]] == ["certificate has expired"] * BURST


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_clock_that_is_set_neither_silences_incidents_nor_opens_the_gates_to_them(
    recorder: RecordedTelemetry, jump: float
) -> None:
    for _ in range(10):
        recorder.telemetry.incident("upstream_down")
        recorder.now += jump
    recorder.pass_time(11)
    recorder.telemetry.incident("upstream_down")
    lines = recorder.lines()
    assert [line["event"] for line in lines] == ["incident"] * 5 + ["lines suppressed", "incident"]
    assert lines[5]["count"] == 5


def test_streams_are_counted_by_what_ended_them(recorder: RecordedTelemetry) -> None:
    recorder.telemetry.observe(record(upgraded=True, ended_by="token_expired"))
    assert recorder.metrics.counters["sidecar_streams_ended_total"] == {("token_expired",): 1}


def test_last_decisions_are_remembered_and_numbered(recorder: RecordedTelemetry) -> None:
    live = recorder.telemetry.live
    for _ in range(KEPT + 10):
        recorder.telemetry.observe(record())
    assert [entry[0] for entry in live.since()] == list(range(11, KEPT + 11))
    assert [entry[0] for entry in live.since(KEPT + 8)] == [KEPT + 9, KEPT + 10]
    assert live.since(KEPT + 10) == []


def test_request_that_is_only_reported_is_counted_by_rule_and_reason(recorder: RecordedTelemetry) -> None:
    recorder.telemetry.observe(record(permit(would_deny=denial(Reason.BINDING_MISSING))))
    recorder.telemetry.observe(record(permit(would_deny=denial(Reason.BINDING_MISSING))))
    recorder.telemetry.observe(record(denial(Reason.BINDING_MISSING)))
    assert recorder.metrics.counters["sidecar_report_only_total"] == {(RULE.name, "binding_missing"): 2}


def test_journal_speaks_from_its_level_on_and_the_level_may_change(recorder: RecordedTelemetry) -> None:
    recorder.journal.debug("quiet")
    recorder.journal.level = Level.DEBUG
    recorder.journal.debug("loud", port=8443)
    (line,) = recorder.lines()
    assert line == {"time": "2027-01-15T08:00:00.250Z", "event": "loud", "level": "debug", "port": 8443}


def test_what_libraries_log_becomes_one_line_each(recorder: RecordedTelemetry) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    adopt_library_logs(recorder.journal)
    try:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("some.library").exception("went %s\n{}", "wrong")
        logging.getLogger("some.library").warning("%d", "not a number")
    finally:
        root.handlers = before
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    (line,) = recorder.lines()
    assert (line["event"], line["level"], line["logger"]) == ("went wrong\n{}", "error", "some.library")
    assert "ValueError: two" in line["traceback"]
    assert recorder.sink.dropped == 1


def test_on_a_terminal_lines_are_for_people_and_elsewhere_for_machines() -> None:
    code = (
        "from sidecar.telemetry.configuration import Format\n"
        "from sidecar.telemetry.journal import Journal\n"
        "from sidecar.telemetry.sink import LineSink\n"
        "sink = LineSink()\n"
        "Journal(sink, Format.AUTO, clock=lambda: 1800000000.25).info('started', port=8443)\n"
        "sink.close(20)\n"
    )
    master, slave = os.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=slave, timeout=30, check=True)
    assert os.read(master, 1000) == b"08:00:00.250 INFO    started port=8443\r\n"
    os.close(slave)
    os.close(master)
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert json.loads(piped.stdout)["port"] == 8443


class Unprintable(ClientCertificate):
    """A certificate whose subject raises: a fault of ours, and no reason to lose the record."""

    @property
    def subject(self) -> str | Unreadable:
        raise ValueError("subject")


@pytest.mark.parametrize("decision", [permit(), denial()])
def test_a_line_that_cannot_be_made_is_there_all_the_same(
    tmp_path: Path, pki: Pki, decision: Permit | Denial
) -> None:
    one = RecordedTelemetry(tmp_path)
    broken = record(
        decision, presenter=Presenter(Unprintable(pki.client.der, NEVER_VALID), "main", "192.0.2.1:1")
    )
    with contextlib.suppress(ValueError):  # what else it is asked for is another's to guard
        one.telemetry.observe(broken)
    (line,) = [text for text in one.text().splitlines() if "request-1" in text]
    said = json.loads(line)
    assert (said["incomplete"], said["request_id"], said["generation"]) == (True, "request-1", 3)
    assert said["status"] == broken.status
    assert one.metrics.counter("sidecar_incidents_total")[("internal_error",)] == 1


def test_negotiations_are_counted_by_labels_of_a_closed_list(recorder: RecordedTelemetry) -> None:
    for version, group in (("1.3", "X25519MLKEM768"), ("1.3", "ffdhe2048"), ("1.3", "ffdhe3072"), ("", "")):
        recorder.telemetry.negotiated(version, group, "h2")
    assert recorder.metrics.counter("sidecar_tls_handshakes_negotiated_total") == {
        ("1.3", "X25519MLKEM768", "h2"): 1,
        ("1.3", "other", "h2"): 2,
        ("none", "none", "h2"): 1,
    }
