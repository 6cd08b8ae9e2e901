"""What each client's requests were: counted as they end, told like `sidecar report` tells it of the log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.command.report import Report
from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter
from sidecar.decision.token import Confirmation
from sidecar.telemetry.access import AccessLine, bounded, timestamp
from sidecar.telemetry.adoption import MOST, OTHERS, RULES, STRANGERS, UNKNOWN, Client, rows
from sidecar.telemetry.outcome import outcome_of
from sidecar.telemetry.record import AuditRecord
from tests.support.odd_certificates import OddCertificate, tlv
from tests.support.odd_certificates import name as odd_name
from tests.support.pki import Identity, Pki
from tests.support.records import RULE, STARTED, RecordedTelemetry, denial, permit, presenter, record, token

COUNTS = ("bound", "by_key", "unbound", "mismatched", "would_deny", "denied")


@pytest.fixture
def recorder(tmp_path: Path) -> RecordedTelemetry:
    return RecordedTelemetry(tmp_path)


def told(recorder: RecordedTelemetry) -> dict[str, dict[str, Any]]:
    return {row["client"]: row for row in recorder.telemetry.adoption.rows()}


def counts(row: dict[str, Any]) -> dict[str, int]:
    """Those that are not 0."""
    return {name: row[name] for name in COUNTS if row[name]}


def digest(identity: Identity) -> bytes:
    return identity.presented.thumbprint


def refused(reason: Reason, bound_to: bytes | None = None, client: str | None = "client-1") -> Denial:
    """With a verified token."""
    return Denial(reason, (Failure("check", reason),), RULE.name, token(client, bound_to))


def test_each_request_counts_in_its_columns(recorder: RecordedTelemetry, pki: Pki) -> None:
    ours, other = digest(pki.client), digest(pki.other_client)
    mismatch, scope = Reason.BINDING_MISMATCH, Reason.SCOPE_INSUFFICIENT
    mutual = presenter(pki.client)
    ended: list[tuple[Permit | Denial, Reason | None, Presenter]] = [
        (permit(token("ready", ours)), None, mutual),
        (permit(token("bearer")), None, mutual),
        (permit(token("reported", other), refused(mismatch, other)), None, mutual),
        (permit(token("forgetful", ours), refused(Reason.CERTIFICATE_MISSING)), None, presenter()),
        (refused(mismatch, other, "refused"), mismatch, mutual),
        (refused(scope, ours, "poor"), scope, mutual),
        (permit(token("unlucky"), refused(Reason.BINDING_MISSING)), Reason.UPSTREAM_BROKEN, mutual),
        (permit(token("down", ours)), Reason.UPSTREAM_REFUSED, mutual),
    ]
    for decision, reason, came in ended:
        recorder.telemetry.observe(record(decision, reason=reason, presenter=came))
    assert {name: counts(row) for name, row in told(recorder).items()} == {
        "ready": {"bound": 1},
        "bearer": {"unbound": 1},
        "reported": {"mismatched": 1, "would_deny": 1},
        "forgetful": {"mismatched": 1, "would_deny": 1},
        "refused": {"mismatched": 1, "denied": 1},
        "poor": {"bound": 1, "denied": 1},
        "unlucky": {"unbound": 1, "would_deny": 1},
        "down": {"bound": 1},
    }


def test_last_seen_is_when_the_latest_request_began_whatever_became_of_it(
    recorder: RecordedTelemetry,
) -> None:
    observe = recorder.telemetry.observe
    observe(record(permit(token("a"))))
    observe(record(permit(token("a"), denial()), started=STARTED + 1))
    observe(record(permit(token("a")), started=STARTED + 9))
    # Streams end long after they began.
    observe(record(permit(token("a")), started=STARTED - 3600))
    observe(record(permit(token("a"), denial()), started=STARTED - 3600))
    observe(record(permit(token("b"))))
    rows = told(recorder)
    assert rows["a"]["last_seen"] == timestamp(STARTED + 9) == "2027-01-15T08:00:09.250Z"
    assert rows["a"]["last_refused"] == timestamp(STARTED + 1)
    assert (rows["b"]["last_seen"], rows["b"]["last_refused"]) == (timestamp(STARTED), "")


def test_reasons_and_rules_of_refusals_are_named_the_most_frequent_first(recorder: RecordedTelemetry) -> None:
    payments = Rule("payments", RULE.match)
    recorder.telemetry.observe(record(permit(token("a"), denial(Reason.SCOPE_INSUFFICIENT), payments)))
    for _ in range(2):
        recorder.telemetry.observe(record(permit(token("a"), denial(Reason.BINDING_MISSING))))
    row = told(recorder)["a"]
    assert list(row["reasons"].items()) == [("binding_missing", 2), ("scope_insufficient", 1)]
    assert list(row["rules"].items()) == [(RULE.name, 2), ("payments", 1)]


def test_client_is_named_by_its_token_else_by_its_certificate(recorder: RecordedTelemetry, pki: Pki) -> None:
    observe, mutual = recorder.telemetry.observe, presenter(pki.client)
    public = Permit(RULE, None, (), float("inf"))
    observe(record(permit(token("client")), presenter=mutual))
    observe(record(permit(token(None, subject="alice")), presenter=mutual))
    observe(record(permit(token("", subject=None)), presenter=mutual))
    observe(record(public, presenter=mutual))
    observe(record(public))
    observe(malformed())
    found = {name: counts(row) for name, row in told(recorder).items()}
    assert found == {
        "client": {"unbound": 1},
        "alice": {"unbound": 1},
        "CN=client-1": {"unbound": 1},
        UNKNOWN: {"denied": 1},
    }


def malformed() -> AuditRecord:
    """Bytes that were no request."""
    over = AuditRecord(presenter(), STARTED, "id", 1)
    over.reason, over.status = Reason.REQUEST_MALFORMED, 400
    return over


def test_name_that_comes_with_and_without_a_token_is_one_client(
    recorder: RecordedTelemetry, pki: Pki
) -> None:
    recorder.telemetry.observe(record(permit(token("CN=client-1"))))
    recorder.telemetry.observe(
        record(Permit(RULE, None, (), 0), presenter=presenter(pki.client), started=1.0)
    )
    for _ in range(2):  # to ask changes nothing
        row = told(recorder)["CN=client-1"]
        assert (counts(row), row["last_seen"]) == ({"unbound": 1}, timestamp(STARTED))


def test_whom_to_call_first_comes_first(recorder: RecordedTelemetry, pki: Pki) -> None:
    for name, would_be in [("z", 2), ("y", 1), ("ready", 0), ("bearer", 0)]:
        for _ in range(would_be):
            recorder.telemetry.observe(record(permit(token(name), denial(Reason.BINDING_MISSING))))
        bound_to = digest(pki.client) if name == "ready" else None
        recorder.telemetry.observe(record(permit(token(name, bound_to)), presenter=presenter(pki.client)))
    recorder.telemetry.observe(record(refused(Reason.TOKEN_EXPIRED, client="late")))
    assert list(told(recorder)) == ["z", "y", "late", "bearer", "ready"]


def test_requests_that_are_bound_by_the_key_of_a_proof_are_told_apart(recorder: RecordedTelemetry) -> None:
    by_key = Confirmation({"jkt": bytes(32)})
    wallet, both = (
        token("wallet", confirmation=by_key),
        token("both", confirmation=Confirmation({**by_key.members, "x5t#S256": bytes(32)})),
    )
    missing = Failure("dpop.field", Reason.PROOF_MISSING)
    refusal = Denial(Reason.PROOF_MISSING, (missing,), RULE.name, wallet)
    for decision in (permit(wallet), permit(both), permit(wallet, refusal), refusal):
        recorder.telemetry.observe(record(decision, presenter=presenter()))
    assert {name: counts(row) for name, row in told(recorder).items()} == {
        "wallet": {"bound": 1, "by_key": 1, "mismatched": 2, "would_deny": 1, "denied": 1},
        "both": {"bound": 1, "by_key": 1},
    }


def test_only_so_many_clients_are_told_apart_and_the_rest_are_counted_as_one(
    recorder: RecordedTelemetry,
) -> None:
    for number in range(MOST + 50):
        recorder.telemetry.observe(record(permit(token(f"client-{number}"))))
    recorder.telemetry.observe(record(permit(token("client-0"), denial())))
    rows = told(recorder)
    assert len(rows) == MOST + 1
    assert rows[OTHERS]["unbound"] == 50
    assert (rows["client-0"]["unbound"], rows["client-0"]["would_deny"]) == (2, 1)


def test_names_from_certificates_cannot_crowd_out_the_clients_of_an_issuer(
    recorder: RecordedTelemetry, pki: Pki
) -> None:
    for number in range(STRANGERS + 20):
        made_up = OddCertificate(odd_name(tlv(0x0C, f"made-up-{number}".encode())))
        stranger = Presenter(made_up.presented, "main", "192.0.2.7:50000")
        recorder.telemetry.observe(record(Denial(Reason.CREDENTIALS_MISSING), presenter=stranger))
    recorder.telemetry.observe(record(permit(token("honest"))))
    rows = told(recorder)
    assert len(rows) == STRANGERS + 2
    assert counts(rows[OTHERS]) == {"denied": 20}
    assert counts(rows["honest"]) == {"unbound": 1}


def test_long_name_is_cut_and_stays_one_client(recorder: RecordedTelemetry) -> None:
    for _ in range(3):
        recorder.telemetry.observe(record(permit(token("x" * 600))))
    assert {name: row["unbound"] for name, row in told(recorder).items()} == {bounded("x" * 600): 3}


def test_only_so_many_rules_of_a_client_are_told_apart(recorder: RecordedTelemetry) -> None:
    for number in range(RULES + 5):
        rule = Rule(f"r{number}", RULE.match)
        recorder.telemetry.observe(record(permit(token("a"), denial(), rule)))
    rules = told(recorder)["a"]["rules"]
    assert (len(rules), rules[OTHERS]) == (RULES + 1, 5)


def test_rows_of_several_workers_are_put_together() -> None:
    first = Client(
        "a", "2027-01-15T08:00:00.000Z", "", bound=1, unbound=2, mismatched=3, would_deny=4, denied=5,
        reasons={"x": 1}, rules={"r": 1}, by_key=1,
    )  # fmt: skip
    second = Client(
        "a", "2027-01-14T08:00:00.000Z", "2027-01-14T08:00:00.000Z", bound=1, unbound=1, mismatched=1, would_deny=1,
        denied=1, reasons={"x": 2, "y": 9},
    )  # fmt: skip
    assert rows([first, second, Client("b", "", ""), Client("a", "", "", bound=1)]) == [
        {
            "client": "a", "bound": 3, "by_key": 1, "unbound": 3, "mismatched": 4, "would_deny": 5, "denied": 6,
            "reasons": {"y": 9, "x": 3}, "rules": {"r": 1},
            "last_seen": "2027-01-15T08:00:00.000Z", "last_refused": "2027-01-14T08:00:00.000Z",
        },
        Client("b", "", "").row(),
    ]  # fmt: skip
    assert (first.bound, first.reasons) == (1, {"x": 1})


def requests(pki: Pki) -> list[AuditRecord]:
    """Every way to end, with each kind of binding."""
    ours, other = digest(pki.client), digest(pki.other_client)
    mutual = presenter(pki.client)
    found = [malformed(), record(Permit(RULE, None, (), 0)), record(Denial(Reason.RULE_UNMATCHED))]
    for bound_to in (None, ours):
        for reason in (None, *Reason):
            changes: dict[str, Any] = {"presenter": mutual, "reason": reason}
            found.append(record(permit(token("permitted", bound_to)), **changes))
    for at, reason in enumerate(Reason):
        for bound_to in (None, ours, other):
            changes = {"presenter": mutual, "started": STARTED + at / 7}
            denied = refused(reason, bound_to, "denied")
            found.append(record(denied, **changes))
            found.append(record(permit(token(f"r{at % 5}", bound_to), denied), **changes))
            broken = {**changes, "reason": Reason.UPSTREAM_BROKEN}
            found.append(record(permit(token("broken", bound_to), denied), **broken))
            found.append(
                record(permit(token("large", bound_to), denied), **changes, reason=Reason.BODY_TOO_LARGE)
            )
            found.append(
                record(permit(token(None, bound_to, subject=None), denied), started=STARTED + at / 3)
            )
    keyed, both = (token("keyed", confirmation=Confirmation(one)) for one in by_key(ours))
    for reason in Reason:
        for bound in (keyed, both):
            denied = Denial(reason, (Failure("check", reason),), RULE.name, bound)
            found += [record(permit(bound), presenter=mutual), record(denied), record(permit(bound, denied))]
    return found


def by_key(certificate: bytes) -> Iterator[dict[str, bytes]]:
    """What tokens are bound to: a key, and a key beside a certificate."""
    yield {"jkt": bytes(32)}
    yield {"jkt": bytes(32), "x5t#S256": certificate}


def test_live_figures_are_those_that_the_report_makes_of_the_log(
    recorder: RecordedTelemetry, pki: Pki
) -> None:
    report, line = Report(), AccessLine()
    for one in requests(pki):
        recorder.telemetry.observe(one)
        report.add(line.render(one, outcome_of(one)))
    live = recorder.telemetry.adoption.rows()
    assert live == [one.row() for one in report.ordered()]
    assert {name for row in live for name in counts(row)} == set(COUNTS)
